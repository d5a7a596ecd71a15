//! What the operator suspended: put off, never refused; kept, and delivered when it is resumed.

use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::Deferred;

use super::admission::signal;
use super::broker::{Broker, Did};
use super::fixture::{Absent, Draft, Gem, Jw, NOON, Org, Pol};
use crate::{Answer, Command, CommandId, Input, Send, Suspendable};

const REASON: Digest = Digest([8; 32]);

fn partner(org: Org) -> Suspendable {
    Suspendable::Partner(org.oin())
}

fn flow(id: &str) -> Suspendable {
    Suspendable::Flow(id.into())
}

fn suspend(broker: &mut Broker, what: Suspendable) -> Did {
    let command = Command::Suspend { what, reason: REASON };
    broker.turn([Input::Operator { id: CommandId(7), command }])
}

fn resume(broker: &mut Broker, what: Suspendable) -> Answer {
    broker.command(Command::Resume { what, reason: REASON })
}

/// A hello that is put off: told when to come back, closed, without a session and without an entry.
fn put_off(broker: &mut Broker, org: Org) {
    let (conn, hello) = broker.hello(org);
    let did = broker.turn([hello]);
    let [Send::Refuse { conn: told, request: None, refuse }, close] = did.sends.as_slice() else {
        panic!("put off and closed: {:?}", did.sends);
    };
    assert_eq!((*told, refuse.reason), (conn, Refusal::Suspended.number()));
    assert_eq!(refuse.retry_after, Some(broker.config.retry_after.0));
    assert_eq!(*close, Send::Close { conn, reason: Refusal::Suspended });
    assert!(did.entries.is_empty(), "that it is suspended is in the log already");
    let did = broker.submit(conn, org, &signal().seal());
    assert!(did.sends.is_empty() && did.entries.is_empty(), "there is no session");
}

fn is_deferred(did: &Did, bytes: &[u8], after: Span) {
    let reason = Refusal::Suspended.number();
    let expected = Deferred { packet: sha256(bytes), reason, retry_after: after.0 };
    assert!(
        matches!(did.sends.as_slice(), [Send::Deferred { deferred, .. }] if *deferred == expected),
        "{did:?}"
    );
    assert!(did.entries.is_empty(), "{did:?}");
}

fn signals(count: u64) -> Vec<Vec<u8>> {
    (1..=count).map(|number| Draft::new(Pol, &[Gem], "F01", number, NOON).seal()).collect()
}

#[test]
fn a_suspended_partner_has_no_session_and_all_that_comes_for_it_waits_until_it_is_resumed() {
    let mut broker = Broker::started(NOON);
    let (pol, one, two) = (broker.connect(Pol), broker.connect(Gem), broker.connect(Gem));
    let packets = signals(3);
    broker.accept(pol, Pol, &packets[0]);
    let did = suspend(&mut broker, partner(Gem));
    for conn in [one, two] {
        assert!(did.sends.contains(&Send::Close { conn, reason: Refusal::Suspended }));
    }
    assert_eq!(did.sends.len(), 3, "two closed sessions and the answer: {:?}", did.sends);
    assert!(Refusal::Suspended.is_passing(), "an agent comes back by itself");
    // What it still said on a closed session counts for nothing; it is offered again.
    let did = broker.acknowledge(two, Gem, &[(&packets[0], 0)]);
    assert!(did.sends.is_empty() && did.entries.is_empty());
    put_off(&mut broker, Gem);
    broker.accept(pol, Pol, &packets[1]);
    broker.restart();
    put_off(&mut broker, Gem);
    let pol = broker.connect(Pol);
    broker.accept(pol, Pol, &packets[2]);
    assert_eq!(broker.waiting(Gem), 3);
    assert!(matches!(resume(&mut broker, partner(Gem)), Answer::Recorded { .. }));
    let (_, did) = broker.connect_with(Gem);
    let offered: Vec<Digest> = broker.offers(&did).iter().map(|offer| offer.packet).collect();
    assert_eq!(offered, packets.iter().map(|bytes| sha256(bytes)).collect::<Vec<_>>());
}

#[test]
fn what_waits_for_a_suspended_partner_expires_as_ever() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    suspend(&mut broker, partner(Gem));
    broker.accept(pol, Pol, &signal().seal());
    let did = broker.tick_until(NOON.plus(Span::days(2)));
    assert_eq!(did.entries[0].kind, Kind::Expired);
    assert_eq!(broker.waiting(Gem), 0);
}

#[test]
fn on_a_suspended_flow_packets_are_put_off_and_what_was_accepted_is_delivered() {
    let mut broker = Broker::started(NOON);
    let (pol, gem) = (broker.connect(Pol), broker.connect(Gem));
    let (packets, after) = (signals(3), broker.config.retry_after);
    broker.accept(pol, Pol, &packets[0]);
    let did = suspend(&mut broker, flow("F01"));
    assert_eq!(did.sends.len(), 1, "nobody's session is closed: {:?}", did.sends);
    let stored = broker.stored();
    is_deferred(&broker.submit(pol, Pol, &packets[1]), &packets[1], after);
    is_deferred(&broker.submit(pol, Pol, &packets[2]), &packets[2], after);
    assert_eq!(broker.stored(), stored, "nothing is recorded");
    // What has its outcome is answered as it was, and its recipient's acknowledgement counts.
    broker.accept(pol, Pol, &packets[0]);
    assert_eq!(broker.acknowledge(gem, Gem, &[(&packets[0], 0)]).entries[0].kind, Kind::Delivered);
    // Other flows go on.
    broker.accept(gem, Gem, &Draft::new(Gem, &[Jw], "F04", 1, NOON).seal());
    broker.restart();
    let pol = broker.connect(Pol);
    is_deferred(&broker.submit(pol, Pol, &packets[1]), &packets[1], after);
    assert!(matches!(resume(&mut broker, flow("F01")), Answer::Recorded { .. }));
    broker.now = broker.now.plus(after);
    for bytes in &packets[1..] {
        broker.accept(pol, Pol, bytes);
    }
}

#[test]
fn what_is_refused_for_good_is_refused_on_a_suspended_flow_too() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    suspend(&mut broker, flow("F01"));
    let late = Draft::new(Pol, &[Gem], "F01", 1, NOON.minus(Span::days(3))).seal();
    let did = broker.submit(pol, Pol, &late);
    assert_eq!(broker.verdicts(&did)[0].outcome, Refusal::Expired.number());
}

#[test]
fn each_suspension_is_an_entry_once_with_its_reason() {
    let mut broker = Broker::started(NOON);
    let before = broker.log.len();
    for what in [partner(Pol), flow("F04")] {
        let now = |broker: &mut Broker, suspends: bool| {
            let what = what.clone();
            let (suspend, resume) = (
                Command::Suspend { what: what.clone(), reason: REASON },
                Command::Resume { what, reason: REASON },
            );
            broker.command(if suspends { suspend } else { resume })
        };
        assert_eq!(now(&mut broker, false), Answer::Unchanged);
        assert!(matches!(now(&mut broker, true), Answer::Recorded { .. }));
        assert_eq!(now(&mut broker, true), Answer::Unchanged);
        let index = u64::try_from(broker.log.len()).unwrap();
        assert_eq!(now(&mut broker, false), Answer::Recorded { index });
        assert_eq!(now(&mut broker, false), Answer::Unchanged);
    }
    let told = |entry: &Entry| {
        assert_eq!(entry.statement, Some(REASON));
        (entry.kind, entry.subject, entry.flow.clone(), entry.detail.clone().unwrap())
    };
    let (of_partner, of_flow) = ((Kind::Partner, Some(Pol.oin()), None), (Kind::Operator, None, Some("F04")));
    let expected = |(kind, subject, flow): (_, _, Option<&str>), detail: &str| {
        (kind, subject, flow.map(str::to_owned), detail.to_owned())
    };
    assert_eq!(
        broker.entries()[before..].iter().map(told).collect::<Vec<_>>(),
        [
            expected(of_partner, "suspended"),
            expected(of_partner, "resumed"),
            expected(of_flow, "suspended"),
            expected(of_flow, "resumed"),
        ]
    );
}

#[test]
fn what_is_not_there_cannot_be_suspended() {
    let mut broker = Broker::started(NOON);
    broker.command(Command::RevokePartner { oin: Jw.oin(), reason: None });
    let before = broker.stored();
    for (what, refusal) in [
        (partner(Absent), Refusal::UnknownPartner),
        (partner(Jw), Refusal::PartnerRevoked),
        (flow("F99"), Refusal::UnknownFlow),
        (flow(""), Refusal::UnknownFlow),
    ] {
        let command = Command::Suspend { what: what.clone(), reason: REASON };
        assert_eq!(broker.try_command(command), Err(refusal), "{what:?}");
        let was = if what == partner(Jw) { Ok(Answer::Unchanged) } else { Err(refusal) };
        assert_eq!(broker.try_command(Command::Resume { what, reason: REASON }), was);
    }
    assert_eq!(broker.stored(), before);
}

#[test]
fn a_revocation_ends_a_suspension_and_who_is_added_again_is_back_as_a_whole() {
    let mut broker = Broker::started(NOON);
    suspend(&mut broker, partner(Pol));
    // Another name or key is no way back.
    let (oin, key) = (Pol.oin(), Pol.key().public());
    broker.command(Command::AddPartner { oin, name: "Anders".into(), key });
    put_off(&mut broker, Pol);
    broker.command(Command::RevokePartner { oin, reason: None });
    let (conn, hello) = broker.hello(Pol);
    let did = broker.turn([hello]);
    assert!(did.sends.contains(&Send::Close { conn, reason: Refusal::PartnerRevoked }));
    assert_eq!(resume(&mut broker, partner(Pol)), Answer::Unchanged);
    broker.restart();
    broker.add(Pol);
    let pol = broker.connect(Pol);
    broker.accept(pol, Pol, &signal().seal());
}

#[test]
fn the_operator_sees_what_is_suspended_and_since_when() {
    let mut broker = Broker::started(NOON);
    suspend(&mut broker, partner(Pol));
    suspend(&mut broker, flow("F01"));
    let overview = broker.overview();
    assert_eq!(overview.suspended_partners, [(Pol.oin(), NOON)]);
    assert_eq!(overview.suspended_flows, [("F01".to_owned(), NOON)]);
    let Answer::Partners(rows) = broker.command(Command::Partners) else { panic!("the partners") };
    let suspended: Vec<_> = rows.iter().filter_map(|row| Some((row.oin, row.suspended?))).collect();
    assert_eq!(suspended, [(Pol.oin(), NOON)]);
}

#[test]
fn a_row_that_suspends_nobody_that_takes_part_stops_a_start() {
    let mut broker = Broker::started(NOON);
    suspend(&mut broker, partner(Pol));
    broker.rows.retain(|(table, key), _| {
        *table != crate::Table::Partners || key.as_slice() != Pol.oin().as_str().as_bytes()
    });
    let rows = broker.stored();
    let frontier = broker.core.state.log.frontier.clone();
    let restored = crate::Core::restore(broker.config.clone(), rows, frontier);
    assert_eq!(restored.err(), Some(crate::RestoreError::Row { table: crate::Table::Suspended }));
}

#[test]
fn while_intake_is_suspended_every_flow_is_put_off_and_mailboxes_run_empty() {
    let mut broker = Broker::started(NOON);
    let (pol, gem) = (broker.connect(Pol), broker.connect(Gem));
    let (packets, after) = (signals(2), broker.config.retry_after);
    broker.accept(pol, Pol, &packets[0]);
    let did = suspend(&mut broker, Suspendable::Intake);
    let [entry] = did.entries.as_slice() else { panic!("{did:?}") };
    assert_eq!((entry.kind, entry.detail.as_deref()), (Kind::Operator, Some("suspended")));
    assert_eq!((&entry.flow, entry.subject, entry.statement), (&None, None, Some(REASON)));
    is_deferred(&broker.submit(pol, Pol, &packets[1]), &packets[1], after);
    let other = Draft::new(Gem, &[Jw], "F04", 1, NOON).seal();
    is_deferred(&broker.submit(gem, Gem, &other), &other, after);
    assert_eq!(broker.acknowledge(gem, Gem, &[(&packets[0], 0)]).entries[0].kind, Kind::Delivered);
    assert_eq!(broker.waiting(Gem), 0);
    broker.restart();
    let pol = broker.connect(Pol);
    is_deferred(&broker.submit(pol, Pol, &packets[1]), &packets[1], after);
    assert!(matches!(resume(&mut broker, Suspendable::Intake), Answer::Recorded { .. }));
    assert_eq!(resume(&mut broker, Suspendable::Intake), Answer::Unchanged);
    let pol = broker.connect(Pol);
    broker.accept(pol, Pol, &packets[1]);
}

#[test]
fn what_waits_is_offered_again_from_the_oldest_after_a_requeue() {
    let mut broker = Broker::started(NOON);
    let (pol, gem) = (broker.connect(Pol), broker.connect(Gem));
    let packets = signals(3);
    for packet in &packets {
        broker.accept(pol, Pol, packet);
    }
    let requeue = |broker: &mut Broker, org: Org| {
        let command = Command::Requeue { oin: org.oin(), reason: REASON };
        broker.turn([Input::Operator { id: CommandId(7), command }])
    };
    let did = requeue(&mut broker, Gem);
    let [entry] = did.entries.as_slice() else { panic!("{did:?}") };
    assert_eq!((entry.kind, entry.detail.as_deref()), (Kind::Partner, Some("requeued")));
    assert_eq!((entry.subject, entry.statement), (Some(Gem.oin()), Some(REASON)));
    assert!(did.sends.contains(&Send::Close { conn: gem, reason: Refusal::Requeued }));
    assert!(Refusal::Requeued.is_passing(), "an agent comes back by itself");
    let did = requeue(&mut broker, Gem);
    assert!(did.entries.is_empty(), "nobody is connected: {did:?}");
    let (gem, did) = broker.connect_with(Gem);
    let offered: Vec<Digest> = broker.offers(&did).iter().map(|offer| offer.packet).collect();
    assert_eq!(offered, packets.iter().map(|bytes| sha256(bytes)).collect::<Vec<_>>());
    // What it had stored before is acknowledged once.
    assert_eq!(broker.acknowledge(gem, Gem, &[(&packets[0], 0)]).entries.len(), 1);
    assert_eq!(broker.waiting(Gem), 2);
}

#[test]
fn that_somebody_took_up_an_alarm_is_an_entry() {
    let mut broker = Broker::started(NOON);
    let command = Command::NoteAlarm { code: "oldest-waiting", subject: Some(Gem.oin()), reason: REASON };
    let did = broker.turn([Input::Operator { id: CommandId(7), command }]);
    let [entry] = did.entries.as_slice() else { panic!("{did:?}") };
    assert_eq!((entry.kind, entry.detail.as_deref()), (Kind::Operator, Some("alarm:oldest-waiting")));
    assert_eq!((entry.subject, entry.statement), (Some(Gem.oin()), Some(REASON)));
}
