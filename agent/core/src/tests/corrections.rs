//! Corrections and withdrawals: everybody who got the message is told, each is followed until it confirms, and
//! only who sent a message can say that it is wrong.

use std::collections::BTreeMap;

use seinhuis_shared::acknowledgement::{Acknowledged, Acknowledgement, Part};
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::MsgId;
use seinhuis_shared::limits::TTL_MAX;
use seinhuis_shared::packet::Packet;
use seinhuis_shared::receipt::Receipt;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};

use crate::corrections::text_of;
use crate::fixture::{Broker, NOW, Node, after, inquiry, oin, partnership, request, signal, signer};
use crate::rows::{OutboxRow, table};
use crate::{
    CorrectRequest, CorrectionKind, CorrectionRow, CorrectionState, Input, MarkRow, Rejection, Stage, Write,
};

/// Carries packets and answers until nothing moves any more; to who is `away` nothing is offered.
pub(super) fn exchange(broker: &mut Broker, nodes: &mut [Node], away: &[u8], now: Timestamp) -> usize {
    let mut carried = 0;
    loop {
        let before = carried;
        for node in nodes.iter_mut() {
            for packet in node.submitted() {
                let verdict = broker.accept(&packet, now);
                node.step([Input::Verdict(verdict)], now);
                carried += 1;
            }
        }
        for node in nodes.iter_mut().filter(|node| !away.contains(&node.number)) {
            for offer in broker.mailboxes.remove(&oin(node.number)).unwrap_or_default() {
                node.step([Input::Offer(Box::new(offer))], now);
                carried += 1;
            }
        }
        if carried == before {
            return carried;
        }
        assert!(carried < 200, "they never stop answering each other");
    }
}

fn read<T>(node: &Node, of: u8, pick: impl Fn(Write) -> Option<T>) -> Vec<T> {
    let rows = node.rows.iter().filter(|((own, _), _)| *own == of);
    rows.filter_map(|((of, key), value)| pick(Write::read(*of, key, value).unwrap())).collect()
}

fn corrections(node: &Node) -> Vec<CorrectionRow> {
    read(
        node,
        table::CORRECTION,
        |write| if let Write::Correction(_, row) = write { Some(*row) } else { None },
    )
}

fn marks(node: &Node) -> BTreeMap<u64, MarkRow> {
    let marks =
        read(
            node,
            table::MARK,
            |write| if let Write::Mark(at, row) = write { Some((at, *row)) } else { None },
        );
    marks.into_iter().collect()
}

fn states(node: &Node) -> Vec<CorrectionState> {
    corrections(node).iter().map(|row| row.state).collect()
}

fn sent_row(node: &Node, about: MsgId) -> Option<OutboxRow> {
    read(node, table::OUTBOX, |write| {
        let Write::Outbox(_, row) = write else { return None };
        (row.msg_id == about).then_some(*row)
    })
    .pop()
}

fn body(about: MsgId, kind: CorrectionKind) -> Vec<u8> {
    let more = match kind {
        Correction => r#""velden":["/plaats"],"reden":"onjuist""#,
        Withdrawal => r#""reden":"onrechtmatig""#,
    };
    format!(r#"{{"bericht":"{about}",{more},"bevestigen_voor":"2026-07-01"}}"#).into_bytes()
}

pub(super) fn say(node: &mut Node, id: u8, kind: CorrectionKind, now: Timestamp) -> Result<(), Rejection> {
    let about = MsgId([id; 16]);
    say_with(node, about, kind, body(about, kind), now)
}

fn say_with(
    node: &mut Node,
    about: MsgId,
    kind: CorrectionKind,
    body: Vec<u8>,
    now: Timestamp,
) -> Result<(), Rejection> {
    let sent = sent_row(node, about).map(Box::new);
    let request = Box::new(CorrectRequest { about, kind, body, sent });
    let turn = node.step([Input::Correct { token: 9, request }], now);
    turn.answers.into_iter().next().unwrap().1
}

use CorrectionKind::{Correction, Withdrawal};
use CorrectionState::{Done, NotNeeded, Open, Refused, Waiting};

/// The municipality's inquiry reached police and youth work.
fn told() -> (Broker, [Node; 4]) {
    let (mut broker, mut nodes) = partnership();
    nodes[0].push(inquiry(1, &[2, 3]), NOW).unwrap();
    exchange(&mut broker, &mut nodes, &[], NOW);
    (broker, nodes)
}

#[test]
fn every_recipient_is_told_in_one_turn_and_each_is_followed_until_it_confirms() {
    let (mut broker, mut nodes) = told();
    say(&mut nodes[0], 1, Correction, NOW).unwrap();
    assert_eq!(states(&nodes[0]), [Open, Open], "durable in the turn that answered");
    assert_eq!(nodes[0].core.status(NOW).corrections_open, 2);
    exchange(&mut broker, &mut nodes, &[3], NOW);
    assert_eq!(states(&nodes[0]), [Done, Open], "one of them is away");
    nodes[0].restart(NOW);
    assert_eq!(nodes[0].core.status(NOW).corrections_open, 1, "it is not forgotten");
    broker.connect(&mut nodes[0], NOW);
    exchange(&mut broker, &mut nodes, &[], after(Span::minutes(1)));
    assert_eq!(states(&nodes[0]), [Done, Done], "{:?} {:?}", marks(&nodes[2]), nodes[2].core.status(NOW));
    let rows = corrections(&nodes[0]);
    assert_eq!(rows.iter().map(|row| row.recipient).collect::<Vec<_>>(), [oin(2), oin(3)]);
    assert!(rows.iter().all(|row| row.code == "verwerkt" && row.settled.is_some() && row.times == 1));
    assert!(!nodes[0].rows.keys().any(|(of, _)| *of == table::CORRECTION_BODY), "no body is kept");
    for node in &mut nodes[1..3] {
        let mark = &marks(node)[&0];
        assert_eq!((mark.corrected.len(), mark.withdrawn), (1, None));
        assert_eq!(marks(node)[&1].effect, Some(0), "and what said so took effect");
        node.restart(NOW);
        assert_eq!(node.core.mark(0), Some(&marks(node)[&0]));
    }
    assert!(marks(&nodes[3]).is_empty(), "who did not get it hears nothing");
}

#[test]
fn a_correction_answers_the_message_and_names_no_case() {
    let (_, mut nodes) = told();
    say(&mut nodes[0], 1, Withdrawal, NOW).unwrap();
    let packets = nodes[0].submitted();
    assert_eq!(packets.len(), 2, "each recipient has a packet of its own");
    for packet in packets {
        let packet = Packet::parse(&packet).unwrap();
        let context = packet.context();
        assert_eq!((context.in_reply_to, context.case), (Some(MsgId([1; 16])), None));
        assert_eq!((context.declared.message_type.as_str(), context.recipients.len()), ("intrekking", 1));
        assert_eq!(context.expires, NOW.plus(TTL_MAX), "as long as a packet can wait");
    }
}

#[test]
fn a_withdrawal_is_marked_and_a_second_one_is_refused() {
    let (mut broker, mut nodes) = told();
    say(&mut nodes[0], 1, Withdrawal, NOW).unwrap();
    exchange(&mut broker, &mut nodes, &[], NOW);
    assert_eq!(states(&nodes[0]), [Done, Done]);
    assert!(marks(&nodes[1])[&0].withdrawn.is_some());
    for kind in [Withdrawal, Correction] {
        assert_eq!(say(&mut nodes[0], 1, kind, NOW).unwrap_err().refusal, Refusal::AlreadyWithdrawn);
        nodes[0].restart(NOW);
    }
}

#[test]
fn a_draft_is_taken_back_and_nobody_is_told() {
    let mut alone = Node::new(3);
    alone.push(signal(1), NOW).unwrap();
    assert_eq!(alone.core.find(&MsgId([1; 16])).unwrap().1, Stage::Draft);
    say(&mut alone, 1, Withdrawal, NOW).unwrap();
    let row = sent_row(&alone, MsgId([1; 16])).unwrap();
    assert_eq!((row.stage, row.outcome), (Stage::Refused, Refusal::TakenBack.number()));
    assert!(!alone.rows.keys().any(|(of, _)| *of == table::DRAFT), "its body is gone");
    Broker::new().connect(&mut alone, NOW);
    assert!(alone.submitted().is_empty() && corrections(&alone).is_empty());
    assert_eq!(say(&mut alone, 1, Withdrawal, NOW).unwrap_err().refusal, Refusal::NothingToCorrect);
    assert_eq!(say(&mut alone, 7, Withdrawal, NOW).unwrap_err().refusal, Refusal::UnknownMessage);
}

#[test]
fn what_is_under_way_is_corrected_once_it_is_known_that_it_arrived() {
    let (mut broker, mut nodes) = partnership();
    nodes[0].push(inquiry(1, &[2, 3]), NOW).unwrap();
    say(&mut nodes[0], 1, Withdrawal, NOW).unwrap();
    assert_eq!(states(&nodes[0]), [Waiting, Waiting]);
    nodes[0].restart(NOW);
    assert_eq!(nodes[0].core.status(NOW).corrections_open, 2);
    broker.connect(&mut nodes[0], NOW);
    let packet = nodes[0].submitted().remove(0);
    let verdict = broker.accept(&packet, NOW);
    let turn = nodes[0].step([Input::Verdict(verdict)], NOW);
    let corrected = turn.writes.iter().filter(|write| matches!(write, Write::Correction(..))).count();
    assert_eq!((states(&nodes[0]), corrected), (vec![Open, Open], 2), "in the turn of the verdict");
    exchange(&mut broker, &mut nodes, &[], NOW);
    assert_eq!(states(&nodes[0]), [Done, Done]);
}

#[test]
fn what_the_broker_refused_needs_no_correction() {
    let (mut broker, mut nodes) = partnership();
    nodes[0].push(inquiry(1, &[2, 3]), NOW).unwrap();
    say(&mut nodes[0], 1, Correction, NOW).unwrap();
    let packet = nodes[0].submitted().remove(0);
    let verdict = broker.refuse(&packet, oin(1), Refusal::WrongStep, NOW);
    nodes[0].step([Input::Verdict(verdict)], NOW);
    assert_eq!(states(&nodes[0]), [NotNeeded, NotNeeded]);
    assert!(nodes[0].submitted().is_empty());
    assert_eq!(say(&mut nodes[0], 1, Correction, NOW).unwrap_err().refusal, Refusal::NothingToCorrect);
}

/// A partner pushes a withdrawal of somebody else's message by hand.
fn withdrawal_by_hand(id: u8, about: MsgId, to: u8) -> crate::PushRequest {
    let mut push = request(id, "F36", &[to], crate::fixture::SIGNAL);
    push.message_type = Some("intrekking".into());
    push.in_reply_to = Some(about);
    push.body = body(about, Withdrawal);
    push
}

#[test]
fn only_who_sent_a_message_can_withdraw_it() {
    let (mut broker, mut nodes) = told();
    // The officers say that the municipality's message to the police is withdrawn.
    nodes[3].push(withdrawal_by_hand(50, MsgId([1; 16]), 2), NOW).unwrap();
    exchange(&mut broker, &mut nodes, &[], NOW);
    let marks = marks(&nodes[1]);
    assert!(!marks.contains_key(&0), "the message stands: {marks:?}");
    assert_eq!(marks[&1].effect, Some(Refusal::UnknownMessage.number()));
    let answers = broker_answers(&nodes[3]);
    assert_eq!(answers, [("afwijzing".to_owned(), Some("niet_te_verwerken".to_owned()))]);
}

/// What came back about own messages: type, and the code in it.
fn broker_answers(node: &Node) -> Vec<(String, Option<String>)> {
    let rows = read(node, table::INBOX, |write| {
        if let Write::Inbox(_, row) = write { Some(row.message_type) } else { None }
    });
    let codes = node.bodies().into_iter().map(|body| text_of(&body, "code"));
    rows.into_iter().zip(codes).collect()
}

#[test]
fn a_message_that_never_came_is_rejected_in_the_same_words() {
    let (mut broker, mut nodes) = told();
    nodes[0].push(withdrawal_by_hand(50, MsgId([99; 16]), 2), NOW).unwrap();
    exchange(&mut broker, &mut nodes, &[], NOW);
    assert_eq!(marks(&nodes[1])[&1].effect, Some(Refusal::UnknownMessage.number()));
    let answers = broker_answers(&nodes[0]);
    assert_eq!(answers, [("afwijzing".to_owned(), Some("niet_te_verwerken".to_owned()))]);
}

#[test]
fn a_body_about_another_message_than_the_packet_answers_takes_no_effect() {
    let (mut broker, mut nodes) = told();
    let mut push = withdrawal_by_hand(50, MsgId([1; 16]), 2);
    push.in_reply_to = Some(MsgId([2; 16]));
    nodes[0].push(push, NOW).unwrap();
    exchange(&mut broker, &mut nodes, &[], NOW);
    assert!(!marks(&nodes[1]).contains_key(&0));
    let refused = say_with(&mut nodes[0], MsgId([1; 16]), Correction, body(MsgId([2; 16]), Correction), NOW);
    assert_eq!(refused.unwrap_err().refusal, Refusal::FieldInvalid, "and one's own agent does not say it");
}

#[test]
fn answers_and_corrections_themselves_stay_as_they_are() {
    let (mut broker, mut nodes) = told();
    say(&mut nodes[0], 1, Correction, NOW).unwrap();
    exchange(&mut broker, &mut nodes, &[], NOW);
    let own = corrections(&nodes[0])[0].message.unwrap();
    let refused = say_with(&mut nodes[0], own, Withdrawal, body(own, Withdrawal), NOW);
    assert_eq!(refused.unwrap_err().refusal, Refusal::NothingToCorrect);
    nodes[0].push(withdrawal_by_hand(51, own, 2), NOW).unwrap();
    exchange(&mut broker, &mut nodes, &[], NOW);
    let marks = marks(&nodes[1]);
    assert_eq!(marks[&1].withdrawn, None, "the correction stands");
    assert_eq!(marks[&2].effect, Some(Refusal::NothingToCorrect.number()));
}

#[test]
fn an_acknowledgement_is_never_answered() {
    let (mut broker, mut nodes) = told();
    let mut push = request(60, "F41", &[1], crate::fixture::SIGNAL);
    push.message_type = Some("ontvangstbevestiging".into());
    push.in_reply_to = Some(MsgId([1; 16]));
    push.body = format!(r#"{{"bericht":"{}","code":"verwerkt"}}"#, MsgId([1; 16])).into_bytes();
    nodes[1].push(push, NOW).unwrap();
    assert_eq!(exchange(&mut broker, &mut nodes, &[], NOW), 2, "one packet, one offer, and that is all");
    assert!(nodes[0].submitted().is_empty());
}

/// An answer by hand to the correction that the police got.
fn answer(from: &mut Node, id: u8, about: MsgId, kind: &str, code: &str) {
    let mut push = request(id, "F41", &[1], crate::fixture::SIGNAL);
    push.message_type = Some(kind.into());
    push.in_reply_to = Some(about);
    push.body = format!(r#"{{"bericht":"{about}","code":"{code}"}}"#).into_bytes();
    from.push(push, NOW).unwrap();
}

#[test]
fn only_the_recipient_confirms_and_only_what_it_was_told() {
    let (mut broker, mut nodes) = told();
    say(&mut nodes[0], 1, Correction, NOW).unwrap();
    exchange(&mut broker, &mut nodes, &[2, 3], NOW);
    let to_police = corrections(&nodes[0])[0].message.unwrap();
    answer(&mut nodes[3], 61, to_police, "ontvangstbevestiging", "verwerkt");
    answer(&mut nodes[1], 62, MsgId([1; 16]), "ontvangstbevestiging", "verwerkt");
    answer(&mut nodes[1], 63, to_police, "ontvangstbevestiging", "ontvangen");
    exchange(&mut broker, &mut nodes, &[2, 3], NOW);
    let rows = corrections(&nodes[0]);
    assert_eq!((rows[0].state, rows[1].state), (Open, Open), "{rows:?}");
    assert_eq!(rows[0].code, "ontvangen", "received is not dealt with");
    answer(&mut nodes[1], 64, to_police, "afwijzing", "niet_te_verwerken");
    exchange(&mut broker, &mut nodes, &[2, 3], NOW);
    assert_eq!(states(&nodes[0]), [Refused, Open]);
    assert_eq!(nodes[0].core.status(NOW).corrections_refused, 1);
    answer(&mut nodes[1], 65, to_police, "ontvangstbevestiging", "gecorrigeerd");
    exchange(&mut broker, &mut nodes, &[2, 3], NOW);
    assert_eq!(states(&nodes[0]), [Done, Open], "who thinks better of it is heard");
}

fn retry(node: &mut Node, now: Timestamp) -> Result<(), Refusal> {
    let turn = node.step([Input::RetryCorrections { token: 4, about: None }], now);
    turn.answers.into_iter().next().unwrap().1.map_err(|rejection| rejection.refusal)
}

#[test]
fn what_expires_is_said_again_by_itself_and_what_is_refused_when_asked() {
    let (mut broker, mut nodes) = told();
    say(&mut nodes[0], 1, Correction, NOW).unwrap();
    let packets = nodes[0].submitted();
    assert_eq!(retry(&mut nodes[0], NOW), Err(Refusal::NothingToCorrect), "open ones are not doubled");
    // To the police it is refused; youth work is away until the packet's time is over.
    let verdict = broker.refuse(&packets[0], oin(1), Refusal::MailboxFull, NOW);
    nodes[0].step([Input::Verdict(verdict)], NOW);
    let verdict = broker.accept(&packets[1], NOW);
    nodes[0].step([Input::Verdict(verdict)], NOW);
    assert_eq!(states(&nodes[0]), [Refused, Open]);
    assert_eq!(corrections(&nodes[0])[0].outcome, Refusal::MailboxFull.number());
    nodes[0].restart(NOW);
    assert_eq!(nodes[0].core.status(NOW).corrections_refused, 1);
    broker.connect(&mut nodes[0], NOW);
    nodes[0].step([Input::Tick], after(Span::days(29)));
    assert!(nodes[0].submitted().is_empty(), "not before its time ends");
    let later = NOW.plus(TTL_MAX);
    broker.mailboxes.clear();
    nodes[0].step([Input::Tick], later);
    let rows = corrections(&nodes[0]);
    assert_eq!((rows[1].times, rows[1].state, rows[1].earlier.len()), (2, Open, 1));
    assert_eq!(rows[0].times, 1, "what was refused waits for a person");
    retry(&mut nodes[0], later).unwrap();
    assert_eq!((states(&nodes[0]), corrections(&nodes[0])[0].outcome), (vec![Open, Open], 0));
    assert_eq!(marks(&nodes[2]).len(), 0);
}

#[test]
fn what_the_broker_finds_expired_or_under_an_old_key_is_said_again_at_once() {
    for refusal in [Refusal::Expired, Refusal::KeyGivenUp] {
        let (mut broker, mut nodes) = told();
        say(&mut nodes[0], 1, Correction, NOW).unwrap();
        let packets = nodes[0].submitted();
        let verdict = broker.refuse(&packets[0], oin(1), refusal, NOW);
        nodes[0].step([Input::Verdict(verdict)], NOW);
        assert_eq!((states(&nodes[0]), corrections(&nodes[0])[0].times), (vec![Open, Open], 2), "{refusal}");
        assert_eq!(nodes[0].submitted().len(), 1);
    }
}

/// The log says of the correction to youth work what became of its packet there.
fn reached(broker: &mut Broker, node: &mut Node, accepted: u64, kind: Kind, now: Timestamp) {
    let index = broker.log(kind, accepted, None, now);
    let notices = broker.notices(&[index], vec![]);
    node.step([Input::Notices(Box::new(notices))], now);
}

/// A tick at everybody, and what follows from it: prekeys are made and fetched.
fn tick(broker: &mut Broker, nodes: &mut [Node], now: Timestamp) {
    for node in nodes.iter_mut().rev() {
        node.step([Input::Tick], now);
        broker.serve(node, now);
    }
}

/// Has the second of two corrections accepted; the position of its entry.
fn accepted(broker: &mut Broker, node: &mut Node, packet: &[u8], now: Timestamp) -> u64 {
    let verdict = broker.accept(packet, now);
    let receipt = Receipt::parse(&verdict.receipt).unwrap();
    node.step([Input::Verdict(verdict)], now);
    receipt.entries[0].index
}

#[test]
fn what_is_destroyed_on_its_way_is_said_again_by_itself_until_the_recipient_is_back() {
    let (mut broker, mut nodes) = told();
    say(&mut nodes[0], 1, Withdrawal, NOW).unwrap();
    let packets = nodes[0].submitted();
    let at = accepted(&mut broker, &mut nodes[0], &packets[1], NOW);
    broker.mailboxes.clear();
    reached(&mut broker, &mut nodes[0], at, Kind::Shredded, NOW);
    nodes[0].restart(NOW);
    broker.connect(&mut nodes[0], NOW);
    nodes[0].submitted();
    tick(&mut broker, &mut nodes, NOW);
    let rows = corrections(&nodes[0]);
    assert_eq!((rows[1].state, rows[1].times), (Open, 2), "at once, also after a restart");
    // The recipient has no access yet: that is shown, and said again a day later, then two days later.
    let mut now = NOW;
    for (times, days) in [(2, 2), (3, 4)] {
        let packet = nodes[0].submitted().pop().unwrap();
        let verdict = broker.refuse(&packet, oin(1), Refusal::RecipientRevoked, now);
        nodes[0].step([Input::Verdict(verdict)], now);
        let row = corrections(&nodes[0])[1].clone();
        assert_eq!((row.state, row.outcome, row.times), (Refused, Refusal::RecipientRevoked.number(), times));
        now = now.plus(Span::days(days));
        tick(&mut broker, &mut nodes, now.minus(Span(1)));
        assert!(nodes[0].submitted().is_empty(), "not sooner");
        tick(&mut broker, &mut nodes, now);
        assert_eq!((corrections(&nodes[0])[1].state, corrections(&nodes[0])[1].times), (Open, times + 1));
    }
    let packet = nodes[0].submitted().pop().unwrap();
    accepted(&mut broker, &mut nodes[0], &packet, now);
    exchange(&mut broker, &mut nodes, &[], now);
    // After days it needs new prekeys to answer.
    now = now.plus(Span::minutes(10));
    tick(&mut broker, &mut nodes, now);
    exchange(&mut broker, &mut nodes, &[], now);
    assert_eq!(
        states(&nodes[0])[1],
        Done,
        "it is back: {:?} {:?}",
        marks(&nodes[2]),
        nodes[2].core.status(now)
    );
}

#[test]
fn what_is_stored_and_has_no_answer_is_said_again_after_a_day_and_less_often_then() {
    let (mut broker, mut nodes) = told();
    say(&mut nodes[0], 1, Correction, NOW).unwrap();
    let packets = nodes[0].submitted();
    let verdict = broker.accept(&packets[0], NOW);
    nodes[0].step([Input::Verdict(verdict)], NOW);
    // Youth work stores it, and what it answers is destroyed with the mail of a partner that lost its access.
    let at = accepted(&mut broker, &mut nodes[0], &packets[1], NOW);
    let offer = broker.mailboxes.remove(&oin(3)).unwrap().pop().unwrap();
    nodes[2].step([Input::Offer(Box::new(offer))], NOW);
    let item = Acknowledged::stored(
        corrections(&nodes[0])[1].message.unwrap(),
        sha256(&packets[1]),
        0,
        broker.leaf(at),
    );
    let index = broker.log(Kind::Delivered, at, Some(item.hash()), NOW);
    let one = Acknowledgement::sign_one(oin(3), NOW, item, &signer(3));
    let part = Part { signed: one.signed, places: vec![0], items: vec![item], proof: vec![] };
    let notices = broker.notices(&[index], vec![part]);
    nodes[0].step([Input::Notices(Box::new(notices))], NOW);
    nodes[2].submitted();
    tick(&mut broker, &mut nodes, after(Span(Span::days(1).0 - 1)));
    assert_eq!(corrections(&nodes[0])[1].times, 1, "an answer may still come");
    let now = after(Span::days(1));
    tick(&mut broker, &mut nodes, now);
    assert_eq!((corrections(&nodes[0])[1].times, corrections(&nodes[0])[0].times), (2, 1));
    broker.mailboxes.remove(&oin(2));
    exchange(&mut broker, &mut nodes, &[], now);
    assert_eq!(states(&nodes[0]), [Open, Done], "answered anew");
    assert_eq!(marks(&nodes[2])[&0].corrected.len(), 2);
}

#[test]
fn who_has_a_clock_from_before_the_covenant_answers_all_the_same() {
    let (mut broker, mut nodes) = told();
    let behind = NOW.minus(Span::hours(25));
    assert!(!nodes[1].core.agreed().all().any(|one| one.in_force(behind)));
    say(&mut nodes[0], 1, Correction, NOW).unwrap();
    for packet in nodes[0].submitted() {
        let verdict = broker.accept(&packet, NOW);
        nodes[0].step([Input::Verdict(verdict)], NOW);
    }
    for offer in broker.mailboxes.remove(&oin(2)).unwrap() {
        nodes[1].step([Input::Offer(Box::new(offer))], behind);
    }
    assert_eq!(marks(&nodes[1])[&1].effect, Some(0));
    broker.serve(&mut nodes[1], behind);
    assert_eq!(nodes[1].alarms(), []);
    // To that clock the partners' prekeys are of later days: the answer waits until it is set right.
    nodes[1].step([Input::Tick], NOW);
    broker.serve(&mut nodes[1], NOW);
    exchange(&mut broker, &mut nodes, &[3], NOW);
    assert_eq!(states(&nodes[0]), [Done, Open]);
}

#[test]
fn a_body_that_does_not_fit_its_schema_leaves_nothing_behind() {
    let (_, mut nodes) = told();
    let about = MsgId([1; 16]);
    let bad = format!(r#"{{"bericht":"{about}","reden":"zomaar","bevestigen_voor":"2026-07-01"}}"#);
    let before = nodes[0].rows.clone();
    let refused = say_with(&mut nodes[0], about, Withdrawal, bad.into_bytes(), NOW).unwrap_err();
    assert_eq!(refused.refusal, Refusal::FieldInvalid);
    assert_eq!(nodes[0].rows, before);
    nodes[0].break_lock(true);
    assert_eq!(say(&mut nodes[0], 1, Withdrawal, NOW).unwrap_err().refusal, Refusal::TooBusy);
    assert_eq!((nodes[0].rows.clone(), states(&nodes[0])), (before, vec![]));
}

#[test]
fn the_body_of_a_correction_is_kept_locked_and_not_printed() {
    let (_, mut nodes) = told();
    say(&mut nodes[0], 1, Correction, NOW).unwrap();
    let about = MsgId([1; 16]);
    let request = CorrectRequest { about, kind: Correction, body: body(about, Correction), sent: None };
    assert!(!format!("{request:?}").contains("velden"));
    let (_, locked) = nodes[0].rows.iter().find(|((of, _), _)| *of == table::CORRECTION_BODY).unwrap();
    assert_eq!(locked[8..], body(about, Correction), "the toy lock puts eight bytes before it");
}
