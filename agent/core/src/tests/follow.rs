//! What becomes of own packets after their verdict, and the words about single packets.

use std::collections::BTreeSet;
use std::sync::Arc;

use seinhuis_shared::acknowledgement::{Acknowledged, Acknowledgement, Part, Said};
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::{Digest, MsgId};
use seinhuis_shared::receipt::Receipt;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::Rotated;
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{FetchEntries, Known, Notices, Withdrawal};

use crate::fixture::{
    Broker, COVENANT, NOW, Node, after, inquiry, oin, partnership, rotated, signal, signer,
};
use crate::rows::table;
use crate::{AlarmKind, Event, Input, Reached, Send, Stage, Unfetched, Write};

/// A message of the municipality to police and youth work that was accepted, with the accepted entries' indexes.
struct Sent {
    broker: Broker,
    nodes: [Node; 4],
    id: MsgId,
    packet: Vec<u8>,
    accepted: Vec<u64>,
}

fn sent() -> Sent {
    let (mut broker, mut nodes) = partnership();
    let request = inquiry(1, &[2, 3]);
    let id = request.msg_id;
    nodes[0].push(request, NOW).unwrap();
    let packet = nodes[0].submitted().remove(0).to_vec();
    let verdict = broker.accept(&packet, NOW);
    let receipt = Receipt::parse(&verdict.receipt).unwrap();
    let accepted = receipt.entries.iter().map(|one| one.index).collect();
    nodes[0].step([Input::Verdict(verdict)], NOW);
    nodes[0].events.clear();
    Sent { broker, nodes, id, packet, accepted }
}

impl Sent {
    fn item(&self, nth: usize, outcome: u16) -> Acknowledged {
        Acknowledged::stored(self.id, sha256(&self.packet), outcome, self.broker.leaf(self.accepted[nth]))
    }

    /// What recipient `nth` says, as `key` signs it in the name of `number`; logged and told.
    fn told(&mut self, nth: usize, item: Acknowledged, number: u8, key: &SigningKey) -> Notices {
        let kind = if item.said == Said::Stored { Kind::Delivered } else { Kind::Consumed };
        let index = self.broker.log(kind, self.accepted[nth], Some(item.hash()), NOW);
        let one = Acknowledgement::sign_one(oin(number), NOW, item, key);
        let part = Part { signed: one.signed, places: vec![0], items: vec![item], proof: vec![] };
        self.broker.notices(&[index], vec![part])
    }

    fn stored(&mut self, nth: usize) -> Notices {
        let number = [2, 3][nth];
        self.told(nth, self.item(nth, 0), number, &signer(number))
    }

    fn give(&mut self, notices: &Notices) {
        self.nodes[0].step([Input::Notices(Box::new(notices.clone()))], NOW);
    }

    fn reached(&self) -> Vec<Reached> {
        self.nodes[0].core.tracks(&self.id).iter().map(crate::Track::reached).collect()
    }

    fn kept(&self) -> usize {
        self.nodes[0].rows.keys().filter(|(of, _)| *of == table::NOTICES).count()
    }
}

fn taken(node: &mut Node) -> Vec<u64> {
    let sends = node.take_sends();
    let cursor = |send: &Send| if let Send::NoticesTaken(cursor) = send { Some(*cursor) } else { None };
    sends.iter().filter_map(cursor).collect()
}

#[test]
fn each_recipient_is_followed_from_accepted_to_consumed_also_over_a_restart() {
    let mut sent = sent();
    assert_eq!(sent.reached(), [Reached::Accepted, Reached::Accepted]);
    taken(&mut sent.nodes[0]);
    let stored = sent.stored(0);
    sent.give(&stored);
    assert_eq!(sent.reached(), [Reached::Stored, Reached::Accepted]);
    let reached = Event::Reached { msg_id: sent.id, to: oin(2), reached: Reached::Stored };
    assert!(sent.nodes[0].take_events().contains(&reached));
    assert_eq!(taken(&mut sent.nodes[0]), [stored.cursor], "kept, then confirmed");
    sent.nodes[0].restart(NOW);
    assert_eq!(sent.reached(), [Reached::Stored, Reached::Accepted], "read back");
    sent.broker.connect(&mut sent.nodes[0], NOW);
    let consumed = sent.told(0, sent.item(0, 0).consumed(), 2, &signer(2));
    sent.give(&consumed);
    assert_eq!(sent.reached(), [Reached::Consumed, Reached::Accepted]);
    assert!(sent.nodes[0].alarms().is_empty());
    let before = sent.kept();
    sent.give(&stored);
    sent.give(&consumed);
    assert_eq!((sent.kept(), sent.reached()[0]), (before, Reached::Consumed), "again changes nothing");
}

#[test]
fn what_ended_otherwise_is_followed_too() {
    for (kind, reached) in [
        (Kind::Expired, Reached::Expired),
        (Kind::Shredded, Reached::Shredded),
        (Kind::Withdrawn, Reached::TakenBack),
    ] {
        let mut sent = sent();
        let index = sent.broker.log(kind, sent.accepted[1], None, NOW);
        let notices = sent.broker.notices(&[index], vec![]);
        sent.give(&notices);
        assert_eq!(sent.reached(), [Reached::Accepted, reached]);
        // A second end contradicts the first.
        let stored = sent.stored(1);
        sent.give(&stored);
        assert_eq!(sent.reached()[1], reached);
        assert_eq!(sent.nodes[0].alarms(), [AlarmKind::FalseNotice], "{kind}");
    }
}

/// Notices that are an alarm, change nothing of what is known, are kept as evidence and are not asked for again.
fn alarming(name: &str, kind: AlarmKind, make: impl FnOnce(&mut Sent) -> Notices) {
    let mut sent = sent();
    let notices = make(&mut sent);
    taken(&mut sent.nodes[0]);
    let (before, kept) = (sent.reached(), sent.kept());
    sent.give(&notices);
    assert_eq!((sent.reached(), sent.nodes[0].alarms()), (before.clone(), vec![kind]), "{name}");
    assert_eq!(sent.kept(), kept + 1, "{name}: kept as evidence");
    assert_eq!(taken(&mut sent.nodes[0]), [notices.cursor], "{name}");
    sent.nodes[0].restart(NOW);
    assert_eq!(sent.reached(), before, "{name}: nor after a restart");
}

#[test]
fn a_statement_that_is_not_signed_linked_or_about_this_is_an_alarm() {
    use AlarmKind::FalseStatement;
    alarming("another's key", FalseStatement, |sent| sent.told(0, sent.item(0, 0), 2, &signer(3)));
    alarming("another's name", FalseStatement, |sent| sent.told(0, sent.item(0, 0), 3, &signer(3)));
    alarming("a link to another entry", FalseStatement, |sent| sent.told(0, sent.item(1, 0), 2, &signer(2)));
    alarming("an outcome the log does not say", FalseStatement, |sent| {
        sent.told(0, sent.item(0, 504), 2, &signer(2))
    });
    alarming("another packet", FalseStatement, |sent| {
        let item = Acknowledged { packet: Digest([1; 32]), ..sent.item(0, 0) };
        sent.told(0, item, 2, &signer(2))
    });
    alarming("no statement", FalseStatement, |sent| {
        let index = sent.broker.log(Kind::Delivered, sent.accepted[0], None, NOW);
        sent.broker.notices(&[index], vec![])
    });
    alarming("a statement that is not given", FalseStatement, |sent| Notices {
        parts: vec![],
        ..sent.stored(0)
    });
    alarming("consumed that links to what was not said", FalseStatement, |sent| {
        let stored = sent.stored(0);
        sent.give(&stored);
        let item = Acknowledged { previous: Digest([1; 32]), ..sent.item(0, 0).consumed() };
        sent.told(0, item, 2, &signer(2))
    });
}

#[test]
fn what_the_log_cannot_say_of_this_packet_is_an_alarm() {
    use AlarmKind::{FalseNotice, UnknownNotice};
    alarming("consumed before stored", FalseNotice, |sent| {
        sent.told(0, sent.item(0, 0).consumed(), 2, &signer(2))
    });
    alarming("accepted again", FalseNotice, |sent| {
        let index = sent.broker.log(Kind::Accepted, sent.accepted[0], None, NOW);
        sent.broker.notices(&[index], vec![])
    });
    alarming("a packet of this agent that it does not know", UnknownNotice, |sent| {
        let other = inquiry(9, &[2]);
        let [town, ..] = &mut sent.nodes;
        let mut twin = Node::new(1);
        sent.broker.connect(&mut twin, NOW);
        sent.broker.connect(&mut twin, NOW);
        twin.push(other, NOW).unwrap();
        let packet = twin.submitted().remove(0);
        let verdict = sent.broker.accept(&packet, NOW);
        let accepted = Receipt::parse(&verdict.receipt).unwrap().entries[0].index;
        town.events.clear();
        let index = sent.broker.log(Kind::Expired, accepted, None, NOW);
        sent.broker.notices(&[index], vec![])
    });
    alarming("another organisation's packet", FalseNotice, |sent| {
        sent.nodes[2].push(signal(5), NOW).unwrap();
        let packet = sent.nodes[2].submitted().remove(0);
        let verdict = sent.broker.accept(&packet, NOW);
        let accepted = Receipt::parse(&verdict.receipt).unwrap().entries[0].index;
        let index = sent.broker.log(Kind::Expired, accepted, None, NOW);
        sent.broker.notices(&[index], vec![])
    });
}

#[test]
fn what_is_not_proved_is_an_alarm_and_not_taken() {
    for (name, spoil) in [
        ("an entry", (|one: &mut Notices| one.entries[0].0[20] ^= 1) as fn(&mut Notices)),
        ("an index", |one| one.indexes[0] -= 1),
        ("a hash", |one| one.proof[0].0[0] ^= 1),
        ("a hash more", |one| one.proof.push(Digest([0; 32]))),
        ("no checkpoint", |one| one.checkpoint.0.clear()),
        ("no entries", |one| (one.entries, one.indexes) = (vec![], vec![])),
    ] {
        let mut sent = sent();
        taken(&mut sent.nodes[0]);
        let good = sent.stored(0);
        let mut bad = good.clone();
        spoil(&mut bad);
        sent.give(&bad);
        assert_eq!(sent.reached()[0], Reached::Accepted, "{name}");
        assert_eq!(sent.nodes[0].alarms(), [AlarmKind::FalseNotice], "{name}");
        // Nothing more of this session; in the next it is told again.
        sent.give(&good);
        assert_eq!((taken(&mut sent.nodes[0]), sent.kept()), (vec![], 0), "{name}");
        sent.broker.connect(&mut sent.nodes[0], NOW);
        sent.give(&good);
        assert_eq!((taken(&mut sent.nodes[0]), sent.reached()[0]), (vec![good.cursor], Reached::Stored));
    }
}

#[test]
fn a_notice_that_overtakes_its_verdict_waits_for_it() {
    let (mut broker, mut nodes) = partnership();
    let request = inquiry(1, &[2]);
    let id = request.msg_id;
    nodes[0].push(request, NOW).unwrap();
    let packet = nodes[0].submitted().remove(0);
    let verdict = broker.accept(&packet, NOW);
    let accepted = Receipt::parse(&verdict.receipt).unwrap().entries[0].index;
    let item = Acknowledged::stored(id, sha256(&packet), 0, broker.leaf(accepted));
    let index = broker.log(Kind::Delivered, accepted, Some(item.hash()), NOW);
    let one = Acknowledgement::sign_one(oin(2), NOW, item, &signer(2));
    let part = Part { signed: one.signed, places: vec![0], items: vec![item], proof: vec![] };
    let notices = broker.notices(&[index], vec![part]);
    nodes[0].step([Input::Notices(Box::new(notices.clone()))], NOW);
    assert!(taken(&mut nodes[0]).is_empty() && nodes[0].core.tracks(&id).is_empty());
    nodes[0].step([Input::Verdict(verdict)], NOW);
    assert_eq!(nodes[0].core.tracks(&id)[0].reached(), Reached::Stored);
    assert_eq!(taken(&mut nodes[0]), [notices.cursor]);
    assert!(nodes[0].alarms().is_empty());
}

#[test]
fn a_broker_that_floods_with_notices_is_not_listened_to_without_end() {
    let (mut broker, mut nodes) = partnership();
    nodes[0].push(inquiry(1, &[2]), NOW).unwrap();
    let packet = nodes[0].submitted().remove(0);
    let verdict = broker.accept(&packet, NOW);
    let accepted = Receipt::parse(&verdict.receipt).unwrap().entries[0].index;
    let index = broker.log(Kind::Expired, accepted, None, NOW);
    let notices = broker.notices(&[index], vec![]);
    for _ in 0..200 {
        nodes[0].step([Input::Notices(Box::new(notices.clone()))], NOW);
    }
    nodes[0].step([Input::Verdict(verdict)], NOW);
    assert_eq!(taken(&mut nodes[0]).len(), 1);
}

#[test]
fn a_statement_waits_for_the_key_it_is_signed_with_also_when_the_own_rotation_overtakes_word_of_it() {
    let mut sent = sent();
    let at = after(Span::seconds(1));
    let (mine, theirs) = (rotated(1, &signer(41), at), rotated(2, &signer(42), at));
    let [town, ..] = &mut sent.nodes;
    let casts = town.core.agreed().find(&COVENANT.hash()).unwrap().casts().to_vec();
    let given = |rotations: &[Rotated]| Input::Covenant {
        had: (0, 0),
        compiled: Arc::clone(&COVENANT),
        casts: casts.clone(),
        rotations: rotations.to_vec(),
    };
    let told = |rotations| {
        let votes = u32::try_from(casts.len()).unwrap();
        Input::Agreements(vec![Known { hash: COVENANT.hash(), votes, rotations }])
    };
    town.step([told(0)], NOW);
    town.next = Some(signer(41));
    town.step([Input::Rotate { token: 3, urgent: false }], NOW);
    town.take_sends();
    // The police rotated first, and so the broker tells of one rotation. It is not the one known here.
    let asks = |node: &Node| node.sends.iter().any(|send| matches!(send, Send::FetchCovenant(..)));
    town.step([Input::RotationAnswered(Ok(vec![mine.clone()]))], NOW);
    assert!(asks(town), "how many there are says no longer which");
    town.step([told(1)], NOW);
    let item = sent.item(0, 0);
    let index = sent.broker.log(Kind::Delivered, sent.accepted[0], Some(item.hash()), at);
    let one = Acknowledgement::sign_one(oin(2), at, item, &signer(42));
    let part = Part { signed: one.signed, places: vec![0], items: vec![item], proof: vec![] };
    let notices = sent.broker.notices(&[index], vec![part]);
    sent.give(&notices);
    assert_eq!((sent.reached()[0], sent.kept()), (Reached::Accepted, 0), "it waits");
    sent.nodes[0].take_sends();
    // An answer from before either rotation says nothing of this.
    sent.nodes[0].step([given(&[])], NOW);
    assert!(asks(&sent.nodes[0]));
    assert_eq!(sent.reached()[0], Reached::Accepted);
    sent.nodes[0].step([given(&[theirs, mine])], NOW);
    assert_eq!(sent.reached()[0], Reached::Stored);
    sent.nodes[0].take_sends();
    sent.nodes[0].step([told(2)], NOW);
    assert!(!asks(&sent.nodes[0]), "all is known");
    assert!(sent.nodes[0].alarms().is_empty());
}

fn row<T>(node: &Node, of: u8, pick: impl Fn(Write) -> Option<T>) -> Option<T> {
    let rows = node.rows.iter().filter(|((own, _), _)| *own == of);
    rows.filter_map(|((of, key), value)| pick(Write::read(*of, key, value).unwrap())).next_back()
}

fn outbox_row(node: &Node) -> Option<Box<crate::OutboxRow>> {
    row(node, table::OUTBOX, |write| if let Write::Outbox(_, row) = write { Some(row) } else { None })
}

fn take_back(node: &mut Node, id: MsgId, reason: &str) -> Result<(), Refusal> {
    let sent = outbox_row(node);
    let input = Input::TakeBack { token: 5, about: id, reason: reason.into(), sent };
    let turn = node.step([input], NOW);
    turn.answers.into_iter().next().unwrap().1.map_err(|rejection| rejection.refusal)
}

fn words(node: &mut Node) -> Vec<Vec<u8>> {
    let sends = node.take_sends();
    let word = |send: &Send| if let Send::Withdraw { bytes, .. } = send { Some(bytes.clone()) } else { None };
    sends.iter().filter_map(word).collect()
}

#[test]
fn a_packet_is_taken_back_with_the_same_signed_bytes_until_the_log_says_so() {
    let mut sent = sent();
    let [town, ..] = &mut sent.nodes;
    town.take_sends();
    assert_eq!(take_back(town, sent.id, "Te laat"), Err(Refusal::FieldInvalid));
    assert_eq!(take_back(town, MsgId([77; 16]), "onjuist"), Err(Refusal::UnknownMessage));
    take_back(town, sent.id, "onjuist").unwrap();
    let [bytes] = words(town).try_into().unwrap();
    let word = Withdrawal::verify(&bytes, |_| Ok(signer(1).public())).unwrap();
    assert_eq!((word.sender, word.msg_id, word.packet), (oin(1), sent.id, sha256(&sent.packet)));
    // Put off; a restart; a new session: the same bytes.
    town.step([Input::TakenBack(0, Err(Refusal::TooBusy.number()))], NOW);
    assert!(words(town).is_empty(), "not before the next tick");
    town.step([Input::Tick], after(Span::seconds(2)));
    assert_eq!(words(town), std::slice::from_ref(&bytes));
    town.restart(NOW);
    sent.broker.connect(town, NOW);
    assert_eq!(words(town), std::slice::from_ref(&bytes));
    // An answer about something else is not believed.
    let other = sent.broker.log(Kind::Expired, sent.accepted[1], None, NOW);
    town.step([Input::TakenBack(0, Ok(Box::new(sent.broker.proved(&[other], None))))], NOW);
    assert!(town.core.take_back_row(0).is_some_and(|row| !row.done));
    assert_eq!(town.alarms(), [AlarmKind::FalseNotice]);
    let index = sent.broker.log(Kind::Withdrawn, sent.accepted[1], None, NOW);
    town.step([Input::Tick], after(Span::seconds(4)));
    town.step([Input::TakenBack(0, Ok(Box::new(sent.broker.proved(&[index], None))))], NOW);
    assert!(town.core.take_back_row(0).is_some_and(|row| row.done));
    town.take_sends();
    town.step([Input::Tick], after(Span::seconds(6)));
    assert!(words(town).is_empty(), "it is said");
}

#[test]
fn what_no_broker_has_seen_is_taken_back_here_and_never_submitted() {
    let (mut broker, mut nodes) = partnership();
    let town = &mut nodes[0];
    town.step([Input::Disconnected], NOW);
    town.push(inquiry(1, &[2]), NOW).unwrap();
    take_back(town, inquiry(1, &[2]).msg_id, "onjuist").unwrap();
    assert_eq!(town.core.find(&inquiry(1, &[2]).msg_id).unwrap().1, Stage::Refused);
    assert!(town.blobs.is_empty());
    broker.connect(town, NOW);
    assert!(town.submitted().is_empty());
    // After a restart nobody knows whether it was submitted: its verdict comes first.
    town.step([Input::Disconnected], NOW);
    town.push(inquiry(2, &[2]), NOW).unwrap();
    town.restart(NOW);
    take_back(town, inquiry(2, &[2]).msg_id, "onjuist").unwrap();
    broker.connect(town, NOW);
    assert!(words(town).is_empty());
    town.restart(NOW);
    broker.connect(town, NOW);
    let packet = town.submitted().remove(0);
    let verdict = broker.accept(&packet, NOW);
    town.step([Input::Verdict(verdict)], NOW);
    assert_eq!(words(town).len(), 1);
}

#[test]
fn what_its_sender_took_back_goes_also_where_it_was_stored() {
    let mut sent = sent();
    let offer = sent.broker.mailboxes.remove(&oin(2)).unwrap().remove(0);
    let police = &mut sent.nodes[1];
    police.step([Input::Offer(Box::new(offer))], NOW);
    assert_eq!(police.bodies().len(), 1);
    let index = sent.broker.log(Kind::Withdrawn, sent.accepted[0], None, NOW);
    let notices = sent.broker.notices(&[index], vec![]);
    police.step([Input::Notices(Box::new(notices.clone()))], NOW);
    assert!(police.core.mark(0).unwrap().withdrawn.is_some());
    police.step([Input::Tick], after(Span::seconds(2)));
    assert!(police.bodies().is_empty(), "erased");
    assert!(police.alarms().is_empty());
    // Where it never came nothing happens.
    let youth = &mut sent.nodes[2];
    let other = sent.broker.log(Kind::Withdrawn, sent.accepted[1], None, NOW);
    let notices = sent.broker.notices(&[other], vec![]);
    youth.step([Input::Notices(Box::new(notices))], NOW);
    assert!(youth.alarms().is_empty() && youth.core.mark(0).is_none());
}

fn consume(node: &mut Node, position: u64) -> Result<(), Refusal> {
    let found =
        row(node, table::INBOX, |write| if let Write::Inbox(_, row) = write { Some(row) } else { None });
    let turn = node.step([Input::Consume { token: 6, position, row: found.unwrap() }], NOW);
    turn.answers.into_iter().next().unwrap().1.map_err(|rejection| rejection.refusal)
}

#[test]
fn what_was_consumed_is_said_once_linked_and_with_the_same_bytes() {
    let mut sent = sent();
    let offer = sent.broker.mailboxes.remove(&oin(2)).unwrap().remove(0);
    let (item, link) = (sent.item(0, 0), sent.accepted[0]);
    let police = &mut sent.nodes[1];
    police.step([Input::Offer(Box::new(offer))], NOW);
    assert_eq!(police.acknowledged(), [item], "stored links to the accepted entry");
    consume(police, 0).unwrap();
    let said = |node: &mut Node| {
        let sends = node.take_sends();
        let one = sends.into_iter().find_map(|send| {
            let Send::Consume { consume, .. } = send else { return None };
            Some(*consume)
        });
        one.unwrap()
    };
    let first = said(police);
    assert_eq!((first.statement.item, first.accepted), (item.consumed(), link));
    assert_eq!(first.statement.verify(|_| Ok(signer(2).public())).unwrap().recipient, oin(2));
    consume(police, 0).unwrap();
    police.restart(NOW);
    sent.broker.connect(police, NOW);
    assert_eq!(said(police), first, "byte for byte");
    let index = sent.broker.log(Kind::Consumed, link, Some(item.consumed().hash()), NOW);
    police.step([Input::ConsumeAnswered(0, Ok(Box::new(sent.broker.proved(&[index], None))))], NOW);
    assert_eq!(police.core.consumed_row(0).unwrap().entry, Some(index));
    police.restart(NOW);
    sent.broker.connect(police, NOW);
    assert!(!police.take_sends().iter().any(|send| matches!(send, Send::Consume { .. })), "it is said");
}

#[test]
fn what_is_quarantined_withdrawn_or_erased_cannot_be_consumed() {
    let mut sent = sent();
    let offer = sent.broker.mailboxes.remove(&oin(2)).unwrap().remove(0);
    let police = &mut sent.nodes[1];
    police.step([Input::Offer(Box::new(offer))], NOW);
    let ground = crate::Ground::ALL[0];
    police.step([Input::Erase { token: 1, position: 0, ground }], NOW);
    assert_eq!(consume(police, 0), Err(Refusal::NotStored));
    let bad = sent.broker.offer(b"no packet", oin(3), NOW);
    let youth = &mut sent.nodes[2];
    youth.step([Input::Offer(Box::new(bad))], NOW);
    assert_eq!(consume(youth, 0), Err(Refusal::NotStored));
}

#[test]
fn entries_count_only_when_proved_asked_for_and_own() {
    let mut sent = sent();
    sent.nodes[2].push(signal(5), NOW).unwrap();
    let packet = sent.nodes[2].submitted().remove(0);
    let verdict = sent.broker.accept(&packet, NOW);
    // Youth work's signal is for the municipality; the police's copy of the inquiry is not youth work's.
    let (own, foreign) = (Receipt::parse(&verdict.receipt).unwrap().entries[0].index, sent.accepted[0]);
    let ask =
        FetchEntries { origin: None, first: 1, one: false, from: None, until: None, kind: None, flow: None };
    let answer = |node: &mut Node, ask: &FetchEntries, entries| {
        let input = Input::Entries { token: 8, ask: ask.clone(), answer: Ok(Box::new(entries)) };
        node.step([input], NOW).fetched.remove(0).1
    };
    let youth = &mut sent.nodes[2];
    assert!(answer(youth, &ask, sent.broker.proved(&[own], Some(own + 1))).is_ok());
    assert!(youth.alarms().is_empty());
    let mut unproved = sent.broker.proved(&[own], None);
    unproved.entries[0].path[0].0[0] ^= 1;
    let only = FetchEntries { one: true, first: own, ..ask.clone() };
    let kind = FetchEntries { kind: Some("delivered".into()), ..ask.clone() };
    let late = FetchEntries { first: own + 1, ..ask.clone() };
    let elsewhere = FetchEntries { origin: Some("broker.example/uitwisseling/2025".into()), ..ask.clone() };
    let mut seen = BTreeSet::new();
    for (name, ask, entries) in [
        ("of another log", &elsewhere, sent.broker.proved(&[own], None)),
        ("somebody else's", &ask, sent.broker.proved(&[foreign], None)),
        ("not proved", &ask, unproved),
        ("another kind", &kind, sent.broker.proved(&[own], None)),
        ("another than the one", &only, sent.broker.proved(&[], None)),
        ("before the first", &late, sent.broker.proved(&[own], None)),
        ("twice", &ask, sent.broker.proved(&[own, own], None)),
        ("going back", &ask, sent.broker.proved(&[own], Some(own))),
    ] {
        let refused = answer(youth, ask, entries);
        assert!(matches!(refused, Err(Unfetched::False(_))), "{name}");
        seen.extend(youth.alarms());
    }
    assert_eq!(seen, BTreeSet::from([AlarmKind::FalseEntries]));
    youth.step([Input::Disconnected], NOW);
    let turn = youth.step([Input::FetchEntries { token: 9, ask }], NOW);
    assert_eq!(turn.fetched, [(9, Err(Unfetched::NotConnected))]);
}

/// Rows of a sender that was told and takes a message back, and of a recipient that consumed it.
pub(super) fn told_and_consumed() -> (Rows, Rows) {
    let mut sent = sent();
    let stored = sent.stored(0);
    sent.give(&stored);
    take_back(&mut sent.nodes[0], sent.id, "onjuist").unwrap();
    let offer = sent.broker.mailboxes.remove(&oin(2)).unwrap().remove(0);
    sent.nodes[1].step([Input::Offer(Box::new(offer))], NOW);
    consume(&mut sent.nodes[1], 0).unwrap();
    let [town, police, ..] = sent.nodes;
    let of = |node: Node, tables: &[u8]| {
        node.rows.into_iter().filter(|((of, _), _)| tables.contains(of)).collect::<Rows>()
    };
    (of(town, &[table::NOTICES, table::TAKE_BACK]), of(police, &[table::CONSUMED]))
}

type Rows = std::collections::BTreeMap<(u8, Vec<u8>), Vec<u8>>;
