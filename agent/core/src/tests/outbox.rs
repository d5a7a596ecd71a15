//! Outgoing messages: order, evidence, and a broker that is not believed.

use std::sync::Arc;

use seinhuis_shared::covenant::agreement::{Cast, Word};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::packet::Packet;
use seinhuis_shared::refusal::{Lang, Refusal};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::{Deferred, Verdict};

use crate::fixture::{
    Broker, COVENANT, NOW, Node, after, cast, inquiry, log_signer, oin, partnership, signal,
};
use crate::outbox::Room;
use crate::rows::table;
use crate::{AlarmKind, Event, Input, PushRequest, Stage, Target, WINDOW_PACKETS};

fn defer(packet: &[u8], millis: u64) -> Input {
    let packet = seinhuis_shared::signing::sha256(packet);
    Input::Deferred(Deferred { packet, reason: Refusal::MailboxFull.number(), retry_after: millis })
}

#[test]
fn what_is_put_off_for_a_quota_is_submitted_again_by_itself_when_the_broker_said() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    let packets = youth.submitted();
    let packet = seinhuis_shared::signing::sha256(&packets[0]);
    let over = |millis| Deferred { packet, reason: Refusal::OverQuota.number(), retry_after: millis };
    // Again and again, for as long as it takes.
    let mut now = NOW;
    for millis in [60_000, 1_000, 3_000] {
        youth.step([Input::Deferred(over(millis))], now);
        youth.step([Input::Tick], now.plus(Span(millis - 1)));
        assert!(youth.submitted().is_empty(), "not before its time");
        now = now.plus(Span(millis));
        youth.step([Input::Tick], now);
        assert_eq!(youth.submitted(), packets, "the same bytes");
        assert!(youth.alarms().is_empty() && stage(&youth, 1) == Stage::Sealed);
    }
    let answer = broker.accept(&packets[0], now);
    youth.step([Input::Verdict(answer)], now);
    assert_eq!(stage(&youth, 1), Stage::Done);
}

fn stage(node: &Node, id: u8) -> Stage {
    node.core.find(&seinhuis_shared::ids::MsgId([id; 16])).unwrap().1
}

fn ids(packets: &[Arc<[u8]>]) -> Vec<u8> {
    packets.iter().map(|bytes| Packet::parse(bytes).unwrap().context().msg_id.0[0]).collect()
}

fn bytes_at_rest(node: &Node) -> usize {
    node.blobs.len() + node.rows.keys().filter(|(of, _)| *of == table::DRAFT).count()
}

/// The votes a node knows, and one more.
fn known(node: &Node, one: Cast) -> Vec<Cast> {
    [node.core.agreed().find(&COVENANT.hash()).unwrap().casts().to_vec(), vec![one]].concat()
}

#[test]
fn an_accepted_packet_leaves_its_receipt_and_nothing_else() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    let pushed = youth.push(signal(1), NOW).unwrap();
    assert_eq!((pushed.stage, pushed.connected), (Stage::Sealed, true));
    let packets = youth.submitted();
    assert_eq!(ids(&packets), [1]);
    let context = Packet::parse(&packets[0]).unwrap().context().clone();
    assert_eq!((context.seq, context.prev, context.issued), (1, None, NOW));
    let answer = broker.accept(&packets[0], NOW);
    youth.step([Input::Verdict(answer.clone())], NOW);
    assert_eq!((stage(&youth, 1), bytes_at_rest(&youth)), (Stage::Done, 0));
    assert!(youth.alarms().is_empty());
    let decided = Event::Decided { msg_id: context.msg_id, stage: Stage::Done, outcome: 0 };
    assert_eq!(youth.take_events(), [decided]);
    let kept = youth.rows.values().any(|row| row.windows(64).any(|part| answer.receipt[..64] == *part));
    assert!(kept, "the receipt is in the row");
    youth.step([Input::Verdict(answer)], NOW);
    assert!(youth.take_events().is_empty(), "a repeated verdict changes nothing");
}

#[test]
fn packets_of_a_flow_are_chained() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    for id in 1..4 {
        youth.push(signal(id), NOW).unwrap();
    }
    let packets = youth.submitted();
    let parsed: Vec<Packet> = packets.iter().map(|bytes| Packet::parse(bytes).unwrap()).collect();
    assert_eq!(parsed.iter().map(|packet| packet.context().seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(parsed[2].context().prev, Some(parsed[1].digest()));
    youth.restart(NOW);
    broker.connect(&mut youth, NOW);
    youth.push(signal(4), NOW).unwrap();
    let last = Packet::parse(youth.submitted().last().unwrap()).unwrap();
    assert_eq!((last.context().seq, last.context().prev), (4, Some(parsed[2].digest())));
}

#[test]
fn the_same_push_again_sends_nothing_twice() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    assert_eq!(youth.submitted().len(), 1);
    let again = youth.push(signal(1), after(Span::hours(1))).unwrap();
    assert!(again.repeated && youth.submitted().is_empty());
    let other = PushRequest { to: vec![Target::Oin(oin(2))], ..signal(1) };
    assert_eq!(youth.push(other.clone(), NOW).unwrap_err().refusal, Refusal::Equivocation);
    youth.restart(NOW);
    assert!(youth.push(signal(1), NOW).unwrap().repeated, "after a restart as well");
    assert_eq!(youth.push(other, NOW).unwrap_err().refusal, Refusal::Equivocation);
    broker.connect(&mut youth, NOW);
    assert_eq!(youth.submitted().len(), 1);
}

#[test]
fn a_draft_waits_for_the_key_locked_and_is_then_sealed_in_order() {
    let mut broker = Broker::new();
    let (mut town, mut youth) = (Node::new(1), Node::new(3));
    for id in 1..3 {
        assert_eq!(youth.push(signal(id), NOW).unwrap().stage, Stage::Draft);
    }
    assert!(youth.blobs.is_empty());
    youth.restart(NOW);
    broker.connect(&mut youth, NOW);
    assert!(youth.submitted().is_empty(), "the municipality has no keys yet");
    broker.connect(&mut town, NOW);
    let later = after(Span::seconds(2));
    youth.step([Input::Tick], later);
    broker.serve(&mut youth, later);
    let packets = youth.submitted();
    assert_eq!(ids(&packets), [1, 2]);
    assert_eq!(Packet::parse(&packets[0]).unwrap().context().issued, later);
    assert_eq!(youth.rows.keys().filter(|(of, _)| *of == table::DRAFT).count(), 0, "drafts are erased");
}

#[test]
fn a_clock_that_is_put_back_makes_no_draft_valid_for_too_long() {
    let mut broker = Broker::new();
    let (mut town, mut youth) = (Node::new(1), Node::new(3));
    let longest = COVENANT.covenant().max_ttl;
    let fast = after(Span::minutes(2));
    assert_eq!(
        youth.push(PushRequest { ttl: Some(longest), ..signal(1) }, fast).unwrap().stage,
        Stage::Draft
    );
    broker.connect(&mut youth, NOW);
    broker.connect(&mut town, NOW);
    let later = after(Span::seconds(2));
    youth.step([Input::Tick], later);
    broker.serve(&mut youth, later);
    assert_eq!(stage(&youth, 1), Stage::Sealed, "not refused");
    let packets = youth.submitted();
    assert_eq!(Packet::parse(&packets[0]).unwrap().context().expires, later.plus(longest));
}

#[test]
fn a_draft_is_not_overtaken_and_holds_up_nobody_else() {
    let mut broker = Broker::new();
    let (mut town, mut police) = (Node::new(1), Node::new(2));
    broker.connect(&mut police, NOW);
    broker.connect(&mut town, NOW);
    // Police can be sealed for, youth work (3) has no keys.
    assert_eq!(town.push(inquiry(1, &[2, 3]), NOW).unwrap().stage, Stage::Draft);
    assert_eq!(town.push(inquiry(2, &[2]), NOW).unwrap().stage, Stage::Draft, "behind 1 to the police");
    let other = PushRequest { msg_id: seinhuis_shared::ids::MsgId([3; 16]), ..inquiry(3, &[2]) };
    let receipt =
        PushRequest { body: crate::fixture::sample("43-F41-ontvangst.json"), flow: "F41".into(), ..other };
    assert_eq!(town.push(receipt, NOW).unwrap().stage, Stage::Sealed, "another flow goes on");
    assert_eq!(ids(&town.submitted()), [3]);
    let mut youth = Node::new(3);
    broker.connect(&mut youth, NOW);
    let later = after(Span::seconds(2));
    town.step([Input::Tick], later);
    broker.serve(&mut town, later);
    assert_eq!(ids(&town.submitted()), [1, 2]);
}

#[test]
fn a_draft_ends_with_its_time_or_its_covenant() {
    let mut youth = Node::new(3);
    let short = PushRequest { ttl: Some(Span::hours(1)), ..signal(1) };
    youth.push(short, NOW).unwrap();
    youth.push(signal(2), NOW).unwrap();
    youth.step([Input::Tick], after(Span::minutes(59)));
    assert_eq!(stage(&youth, 1), Stage::Draft);
    youth.step([Input::Tick], after(Span::hours(1)));
    assert_eq!((stage(&youth, 1), stage(&youth, 2)), (Stage::Expired, Stage::Draft));
    let (mut broker, [mut town, ..]) = partnership();
    broker.connect(&mut town, NOW);
    let left = cast(&COVENANT, 4, Word::Withdraw, NOW);
    youth.step(
        [Input::Covenant {
            had: (0, 0),
            compiled: Arc::clone(&COVENANT),
            casts: known(&youth, left),
            rotations: vec![],
        }],
        NOW,
    );
    broker.connect(&mut youth, NOW);
    assert_eq!(stage(&youth, 2), Stage::Refused, "its covenant is gone");
    assert_eq!(bytes_at_rest(&youth), 0);
}

#[test]
fn after_a_break_everything_open_is_submitted_again_in_order_with_the_same_bytes() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    for id in 1..6 {
        youth.push(signal(id), NOW).unwrap();
    }
    let first = youth.submitted();
    let answer = broker.accept(&first[2], NOW);
    youth.step([Input::Verdict(answer)], NOW);
    let open = [0, 1, 3, 4].map(|at| Arc::clone(&first[at]));
    youth.step([Input::Disconnected, Input::Tick], after(Span::hours(5)));
    assert!(youth.submitted().is_empty(), "nothing without a session");
    broker.connect(&mut youth, NOW);
    assert_eq!(youth.submitted(), open);
    youth.restart(NOW);
    assert!(youth.submitted().is_empty());
    broker.connect(&mut youth, NOW);
    assert_eq!(youth.submitted(), open);
}

#[test]
fn what_a_clock_that_was_ahead_put_off_waits_no_longer_than_anything_else() {
    let (_, [_, _, mut youth, _]) = partnership();
    let ahead = after(Span::days(2));
    youth.push(signal(1), NOW).unwrap();
    let packets = youth.submitted();
    youth.step([defer(&packets[0], 600_000)], ahead);
    youth.step([Input::Tick], ahead);
    assert!(youth.submitted().is_empty());
    youth.step([Input::Tick], NOW);
    assert_eq!(youth.submitted(), packets);
    youth.step([defer(&packets[0], 600_000), Input::Tick], NOW);
    assert!(youth.submitted().is_empty(), "by a clock that is right it waits as it was told");
}

#[test]
fn a_deferred_packet_keeps_its_place_for_each_recipient() {
    let (mut broker, [mut town, ..]) = partnership();
    town.push(inquiry(1, &[2]), NOW).unwrap();
    let first = town.submitted();
    town.step([defer(&first[0], 10_000)], NOW);
    town.push(inquiry(2, &[2, 3]), NOW).unwrap();
    town.push(inquiry(3, &[3]), NOW).unwrap();
    town.push(inquiry(4, &[4]), NOW).unwrap();
    assert_eq!(ids(&town.submitted()), [4], "2 waits behind 1, and 3 behind 2");
    town.step([Input::Tick], after(Span::seconds(9)));
    assert!(town.submitted().is_empty());
    town.step([Input::Tick], after(Span::seconds(10)));
    let again = town.submitted();
    assert_eq!(ids(&again), [1, 2, 3]);
    assert_eq!(again[0], first[0], "the same bytes");
    for packet in &again {
        let answer = broker.accept(packet, NOW);
        town.step([Input::Verdict(answer)], NOW);
    }
    assert_eq!(town.core.status(NOW).accepted, 3);
}

#[test]
fn a_refusal_counts_with_its_receipt() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    let packets = youth.submitted();
    let answer = broker.refuse(&packets[0], oin(3), Refusal::UnknownCovenant, NOW);
    youth.step([Input::Verdict(answer)], NOW);
    assert_eq!((stage(&youth, 1), bytes_at_rest(&youth)), (Stage::Refused, 0));
    assert!(youth.alarms().is_empty());
}

/// A verdict that is false in one way must change nothing but raise an alarm.
fn disbelieved(name: &str, make: impl FnOnce(&mut Broker, &[Arc<[u8]>]) -> Verdict) {
    let (mut broker, [mut town, ..]) = partnership();
    town.push(inquiry(1, &[2, 3]), NOW).unwrap();
    town.push(inquiry(2, &[2, 3]), NOW).unwrap();
    let packets = town.submitted();
    let answer = make(&mut broker, &packets);
    assert_eq!(answer.packet, seinhuis_shared::signing::sha256(&packets[0]), "{name}");
    town.step([Input::Verdict(answer)], NOW);
    assert_eq!(stage(&town, 1), Stage::Sealed, "{name}");
    assert_eq!(town.blobs.len(), 2, "{name}: the packet is kept");
    assert_eq!(town.alarms(), [AlarmKind::FalseVerdict], "{name}");
    // The broker is asked again, with the same bytes, and believed when it proves what it says.
    town.step([Input::Tick], after(Span::minutes(10)));
    assert!(ids(&town.submitted()).contains(&1), "{name}");
    let honest = broker.accept(&packets[0], NOW);
    town.step([Input::Verdict(honest)], NOW);
    assert_eq!(stage(&town, 1), Stage::Done, "{name}");
}

#[test]
fn a_verdict_that_its_receipt_does_not_prove_is_not_believed() {
    let of = |packet: &[u8]| Packet::parse(packet).unwrap();
    let accepted = |packet: &[u8], to: Oin| Broker::accepted_entry(&of(packet), to, NOW);
    let says =
        |packet: &[u8], outcome: u16, receipt| Verdict { packet: of(packet).digest(), outcome, receipt };
    disbelieved("another packet's receipt", |broker, packets| {
        let other = broker.accept(&packets[1], NOW);
        says(&packets[0], 0, other.receipt)
    });
    disbelieved("an acceptance shown as a refusal", |broker, packets| {
        let index = broker.append(&accepted(&packets[0], oin(2)));
        says(&packets[0], 402, broker.receipt(&[index]))
    });
    disbelieved("another reason than recorded", |broker, packets| {
        let refused = broker.refuse(&packets[0], oin(1), Refusal::Expired, NOW);
        says(&packets[0], 402, refused.receipt)
    });
    disbelieved("a refusal of another sender", |broker, packets| {
        broker.refuse(&packets[0], oin(2), Refusal::Expired, NOW)
    });
    disbelieved("a refusal shown as an acceptance", |broker, packets| {
        let refused = broker.refuse(&packets[0], oin(1), Refusal::Expired, NOW);
        says(&packets[0], 0, refused.receipt)
    });
    disbelieved("one recipient left out", |broker, packets| {
        let index = broker.append(&accepted(&packets[0], oin(2)));
        says(&packets[0], 0, broker.receipt(&[index]))
    });
    disbelieved("recipients swapped", |broker, packets| {
        let [second, first] = [oin(3), oin(2)].map(|to| broker.append(&accepted(&packets[0], to)));
        says(&packets[0], 0, broker.receipt(&[second, first]))
    });
    disbelieved("another statement", |broker, packets| {
        let mut entries = [oin(2), oin(3)].map(|to| accepted(&packets[0], to));
        entries[1].statement = Some(Digest([7; 32]));
        let indexes = entries.map(|entry| broker.append(&entry));
        says(&packets[0], 0, broker.receipt(&indexes))
    });
    disbelieved("another flow", |broker, packets| {
        let mut entries = [oin(2), oin(3)].map(|to| accepted(&packets[0], to));
        entries[0].flow = Some("F99".into());
        let indexes = entries.map(|entry| broker.append(&entry));
        says(&packets[0], 0, broker.receipt(&indexes))
    });
    disbelieved("another log's signature", |broker, packets| {
        let indexes = [oin(2), oin(3)].map(|to| broker.append(&accepted(&packets[0], to)));
        let honest = std::mem::replace(&mut broker.signer, log_signer(98));
        let forged = broker.receipt(&indexes);
        broker.signer = honest;
        says(&packets[0], 0, forged)
    });
    disbelieved("no receipt", |_, packets| says(&packets[0], 0, vec![].into()));
}

#[test]
fn a_verdict_is_checked_against_the_packet_it_names() {
    let (mut broker, [mut town, ..]) = partnership();
    town.push(inquiry(1, &[2]), NOW).unwrap();
    town.push(inquiry(2, &[2]), NOW).unwrap();
    let packets = town.submitted();
    let mut answer = broker.accept(&packets[1], NOW);
    answer.packet = seinhuis_shared::signing::sha256(&packets[0]);
    town.step([Input::Verdict(answer)], NOW);
    assert_eq!((stage(&town, 1), stage(&town, 2)), (Stage::Sealed, Stage::Sealed));
    assert_eq!(town.alarms(), [AlarmKind::FalseVerdict]);
}

#[test]
fn a_verdict_about_nothing_that_waits_is_ignored() {
    let (mut broker, [mut town, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    let packets = youth.submitted();
    let answer = broker.accept(&packets[0], NOW);
    let turn = town.step([Input::Verdict(answer), defer(&packets[0], 5)], NOW);
    assert!(turn.writes.is_empty() && town.take_events().is_empty());
}

#[test]
fn no_more_is_in_flight_than_the_window() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    let request = |number: usize| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        PushRequest { msg_id: seinhuis_shared::ids::MsgId(id), ..signal(0) }
    };
    let pushes = (1..=WINDOW_PACKETS + 3)
        .map(|number| Input::Push { token: 0, request: Box::new(request(number)) })
        .collect::<Vec<_>>();
    youth.step(pushes, NOW);
    let first = youth.submitted();
    assert_eq!(first.len(), WINDOW_PACKETS);
    for packet in &first[..2] {
        let answer = broker.accept(packet, NOW);
        youth.step([Input::Verdict(answer)], NOW);
    }
    assert_eq!(youth.submitted().len(), 2, "two landed, two more leave");
}

#[test]
fn a_signing_key_the_covenant_does_not_name_cannot_send() {
    let mut node = Node::new(3);
    node.number = 3;
    let stranger = seinhuis_shared::signing::SigningKey::from_seed(&[77; 32]);
    let mut turn = crate::Turn::default();
    let toy = crate::fixture::Toy::default();
    let ports = crate::Ports {
        crypto: &toy,
        chance: &toy,
        locker: &toy,
        signer: &stranger,
        next: None,
        recording: None,
        witness: None,
    };
    let push = Input::Push { token: 1, request: Box::new(signal(1)) };
    node.core.handle(push, NOW, ports, &mut turn);
    let reply = turn.replies.pop().unwrap();
    assert_eq!(reply.result.unwrap_err().refusal, Refusal::UnknownKey);
    assert!(turn.is_read_only());
}

#[test]
fn a_wrong_clock_does_not_unseal_anything() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    let packets = youth.submitted();
    // Years later, a sealed packet is still the broker's to judge: it may have been accepted long ago.
    youth.step([Input::Tick], Timestamp(NOW.0 * 2));
    assert_eq!(stage(&youth, 1), Stage::Sealed);
    let answer = broker.accept(&packets[0], NOW);
    youth.step([Input::Verdict(answer)], NOW);
    assert_eq!(stage(&youth, 1), Stage::Done);
}

#[test]
fn a_draft_that_cannot_be_locked_is_rejected_and_not_half_kept() {
    let mut youth = Node::new(3);
    youth.break_lock(true);
    assert_eq!(youth.push(signal(1), NOW).unwrap_err().refusal, Refusal::TooBusy);
    assert_eq!(bytes_at_rest(&youth), 0);
    assert!(youth.core.find(&seinhuis_shared::ids::MsgId([1; 16])).is_none());
    assert_eq!(youth.alarms(), [AlarmKind::LockFailed]);
    youth.break_lock(false);
    let pushed = youth.push(signal(1), NOW).unwrap();
    assert_eq!((pushed.stage, pushed.repeated, pushed.position), (Stage::Draft, false, 0));
}

#[test]
fn a_verdict_whose_receipt_shows_a_fork_ends_nothing() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    let packets = youth.submitted();
    broker.append(&seinhuis_shared::entry::Entry::new(seinhuis_shared::entry::Kind::Operator, NOW, [1; 16]));
    broker.connect(&mut youth, NOW);
    let mut other = Broker::new();
    let answer = other.accept(&packets[0], NOW);
    youth.step([Input::Verdict(answer)], NOW);
    assert_eq!(youth.alarms(), [AlarmKind::LogForked]);
    assert_eq!((stage(&youth, 1), bytes_at_rest(&youth)), (Stage::Sealed, 1), "kept until proved");
}

#[test]
fn a_sealed_packet_that_is_gone_is_told_and_stays_in_order_until_its_time_ends() {
    let (_, [_, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    let digest = seinhuis_shared::signing::sha256(&youth.submitted()[0]);
    youth.step([Input::PacketMissing(digest)], NOW);
    youth.step([Input::PacketMissing(digest)], NOW);
    assert_eq!(youth.alarms(), [AlarmKind::PacketMissing]);
    assert_eq!((stage(&youth, 1), youth.core.status(NOW).deferred), (Stage::Sealed, 1));
    youth.push(signal(2), NOW).unwrap();
    assert!(youth.submitted().is_empty(), "what comes after does not overtake it");
    youth.step([Input::PacketMissing(digest)], after(Span::days(60)));
    assert_eq!(stage(&youth, 1), Stage::Expired);
    assert_eq!(ids(&youth.submitted()), [2]);
}

#[test]
fn a_push_with_another_validity_or_covenant_is_another_push() {
    let mut youth = Node::new(3);
    let first = PushRequest { ttl: Some(Span::days(1)), ..signal(1) };
    youth.push(first.clone(), NOW).unwrap();
    assert!(youth.push(first.clone(), NOW).unwrap().repeated);
    let longer = PushRequest { ttl: Some(Span::days(2)), ..first.clone() };
    assert_eq!(youth.push(longer, NOW).unwrap_err().refusal, Refusal::Equivocation);
    let pinned = PushRequest { covenant: Some(COVENANT.hash()), ..first.clone() };
    assert_eq!(youth.push(pinned, NOW).unwrap_err().refusal, Refusal::Equivocation);
    let target = |to| PushRequest { to: vec![to], ..signal(1) }.identity().to_vec();
    let encoded = target(Target::Oin(oin(1)));
    assert!(!encoded.windows(4).any(|part| part == b"Oin("), "not what Debug prints");
    assert_ne!(encoded, target(Target::Oin(oin(2))));
}

#[test]
fn what_waits_for_the_broker_is_bounded_and_the_bound_gives_way_again() {
    for by_bytes in [false, true] {
        let (mut broker, [_, _, mut youth, _]) = partnership();
        youth.push(signal(1), NOW).unwrap();
        let packets = youth.submitted();
        let size = u64::try_from(packets[0].len()).unwrap();
        youth.core.outbox.most = if by_bytes {
            Room { messages: 100, bytes: size }
        } else {
            Room { messages: 1, bytes: 100 * size }
        };
        let refused = youth.push(signal(2), NOW).unwrap_err();
        assert_eq!(refused.refusal, Refusal::OutboxFull);
        assert!(refused.refusal.is_passing() && refused.text(Lang::En).contains("1 messages"));
        assert!(youth.core.find(&seinhuis_shared::ids::MsgId([2; 16])).is_none(), "nothing is kept of it");
        assert!(youth.core.status(NOW).outbox_percent >= 50);
        // What was pushed before is answered as it was.
        assert!(youth.push(signal(1), NOW).unwrap().repeated);
        let most = youth.core.outbox.most;
        youth.restart(NOW);
        youth.core.outbox.most = most;
        assert_eq!(
            youth.push(signal(2), NOW).unwrap_err().refusal,
            Refusal::OutboxFull,
            "after a restart too"
        );
        let answer = broker.accept(&packets[0], NOW);
        youth.step([Input::Verdict(answer)], NOW);
        assert_eq!(youth.core.status(NOW).outbox_percent, 0);
        youth.push(signal(2), NOW).unwrap();
    }
}

#[test]
fn drafts_count_in_the_outbox_too() {
    let (_, [_, _, mut youth, _]) = partnership();
    youth.core.outbox.most = Room { messages: 2, bytes: 1 << 30 };
    let far = NOW.plus(Span::days(20));
    // Every prekey has ended by then.
    youth.push(signal(1), far).unwrap();
    youth.push(signal(2), far).unwrap();
    assert_eq!(stage(&youth, 2), Stage::Draft);
    assert_eq!(youth.push(signal(3), far).unwrap_err().refusal, Refusal::OutboxFull);
}
