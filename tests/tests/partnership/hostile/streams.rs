//! Streams that are refused or stall.

use super::*;

/// The police send this on a lane; the lane is refused, and another one works.
fn lane_refused(over: Over, bytes: &[u8], refusal: Refusal) {
    let town = town_over(over);
    let size = town.log_size();
    let mut raw = town.open("politie");
    let error = town.runtime.block_on(async {
        raw.send_raw(bytes).await.unwrap();
        raw.finish_lane();
        raw.answer().await.unwrap_err()
    });
    assert_eq!(error.refusal(), Some(refusal), "{error:?}");
    assert_eq!(town.log_size(), size, "what is no packet has no entry");
    raw.drop_lane();
    let packet = town.packet();
    town.accepts_on(&mut raw, &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

pub(crate) fn a_frame_over_the_bound_of_its_kind_is_101(over: Over) {
    let length = u32::try_from(FRAME_MAX + 2).unwrap().to_be_bytes();
    lane_refused(over, &[&length[..], &[Kind::Submit.code()]].concat(), Refusal::TooLarge);
    lane_refused(over, &[0xff, 0xff, 0xff, 0xff, Kind::Submit.code()], Refusal::TooLarge);
}

pub(crate) fn a_frame_that_breaks_off_is_102(over: Over) {
    lane_refused(over, &[0, 0, 1, 0, Kind::Submit.code(), 1, 2, 3], Refusal::Malformed);
    lane_refused(over, &[0, 0, 1], Refusal::Malformed);
    lane_refused(over, &[0, 0, 0, 0, Kind::Submit.code()], Refusal::Malformed);
}

pub(crate) fn a_frame_of_no_kind_or_that_the_broker_sends_is_108(over: Over) {
    lane_refused(over, &[0, 0, 0, 1, 0x7f], Refusal::UnexpectedMessage);
    lane_refused(over, &frame::encode(Kind::Verdict, &[0x80]).unwrap(), Refusal::UnexpectedMessage);
    lane_refused(over, &frame::encode(Kind::Acknowledge, &[0x80]).unwrap(), Refusal::UnexpectedMessage);
}

pub(crate) fn a_packet_that_breaks_off_after_a_whole_one_loses_only_itself(over: Over) {
    let town = town_over(over);
    let mut raw = town.open("politie");
    let packet = town.packet();
    let whole = frame::encode(Kind::Submit, &packet).unwrap();
    let half = &frame::encode(Kind::Submit, &town.packet()).unwrap()[..700];
    let answer = town.runtime.block_on(async {
        raw.send_raw(&[&whole[..], half].concat()).await.unwrap();
        raw.finish_lane();
        raw.answer().await
    });
    // The refusal of the lane may overtake the verdict, which then comes at the next submission.
    drop(answer);
    let mut again = town.open("politie");
    town.accepts_on(&mut again, &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
    assert_eq!(town.waiting(), 0);
}

pub(crate) fn streams_that_stall_hold_nobody_up(over: Over) {
    let town = town_over(over);
    let stalled: Vec<Raw> = (0..2).map(|_| town.open("jongerenwerk")).collect();
    let streams = town.runtime.block_on(async {
        let length = u32::try_from(FRAME_MAX).unwrap().to_be_bytes();
        let begun = [&length[..], &[Kind::Submit.code(), 0x83, 0x01]].concat();
        let length = u32::try_from(Kind::Propose.limit()).unwrap().to_be_bytes();
        let proposed = [&length[..], &[Kind::Propose.code(), 0x83, 0x01]].concat();
        let half = &begun[..3];
        let mut streams = Vec::new();
        for raw in &stalled {
            // One stream is the session's own.
            for number in 1..STREAMS_MAX {
                let (mut send, recv) = raw.conn.open_bi().await.unwrap();
                let bytes = [half, &begun, &proposed][usize::try_from(number).unwrap() % 3];
                send.write_all(bytes).await.unwrap();
                streams.push((send, recv));
            }
        }
        // Lets the broker read all beginnings; without it the test would only be weaker.
        tokio::time::sleep(Duration::from_millis(500)).await;
        streams
    });
    town.still_works();
    drop(streams);
    for raw in stalled {
        town.runtime.block_on(raw.close());
    }
}

#[test]
fn garbage_on_the_socket_is_nobodys_business() {
    let mut town = town_over(Over::Quic);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(&town.stage.address).unwrap();
    for round in 0..300_usize {
        let mut bytes = keys::random::<1400>();
        if round % 3 == 0 {
            // A long header of QUIC version 1, as an Initial would have.
            bytes[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
        }
        // A full buffer drops it, as a network would.
        _ = socket.send(&bytes[..=(round * 37) % 1399]);
    }
    town.still_works();
    assert!(town.stands());
}
