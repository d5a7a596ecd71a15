//! Random sequences of what can happen. The broker fixture checks its invariants after every turn: no
//! verdict without its entry, the log only grows and its time with it, every entry parses, each packet is
//! accepted and ended at most once per recipient, nothing is offered that is to be frozen or shredded, a mailbox holds only what is addressed to it, what waits
//! is kept and nothing else, and a core read back from the rows is the same core.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shared::packet::Packet;
use seinhuis_shared::time::Span;

use super::broker::{Broker, ORIGIN, log_signer};
use super::cases::walk;
use super::fixture::{Draft, Gem, NOON, Org, Pol, covenant, vote};
use super::notices::{say_consumed, take_back, word};
use crate::{Ask, Command, Config, ConnId, Input, RequestId, Send};

#[derive(Debug, Clone)]
enum Step {
    Connect(usize),
    Disconnect(usize),
    /// Which party, which number, which of the defects or none, several times in one turn.
    Submit {
        org: usize,
        number: u64,
        defect: u8,
        times: usize,
    },
    /// Which party acknowledges which of the packets that were offered to it, the newest first, and how.
    Acknowledge {
        org: usize,
        which: usize,
        outcome: u16,
    },
    Tick(u64),
    Revoke(usize),
    Add(usize),
    /// Which party takes back one of its packets that wait, or another, and who says that it consumed one it was offered.
    TakeBack {
        org: usize,
        number: u64,
    },
    Consume {
        org: usize,
        which: usize,
    },
    /// Which party keeps everything it was told.
    Taken(usize),
    /// Which party withdraws, which ends the covenant.
    Withdraw(usize),
    /// The next log, by hand: what a new year is too.
    NextLog,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let org = 0..Org::PARTIES.len();
    prop_oneof![
        12 => org.clone().prop_map(Step::Connect),
        3 => org.clone().prop_map(Step::Disconnect),
        24 => (org.clone(), 0..6_u64, 0..12_u8, 1..3_usize)
            .prop_map(|(org, number, defect, times)| Step::Submit { org, number, defect, times }),
        18 => (org.clone(), 0..8_usize, prop_oneof![Just(0_u16), Just(504)])
            .prop_map(|(org, which, outcome)| Step::Acknowledge { org, which, outcome }),
        6 => (0..40_u64).prop_map(Step::Tick),
        3 => org.clone().prop_map(Step::Revoke),
        6 => org.clone().prop_map(Step::Add),
        4 => (org.clone(), 0..3_u64).prop_map(|(org, number)| Step::TakeBack { org, number }),
        6 => (org.clone(), 0..8_usize).prop_map(|(org, which)| Step::Consume { org, which }),
        3 => org.clone().prop_map(Step::Taken),
        1 => org.prop_map(Step::Withdraw),
        2 => Just(Step::NextLog),
        3 => Just(Step::Restart),
    ]
}

/// A packet of `org`: the first defects leave it right.
fn packet(org: Org, number: u64, defect: u8, broker: &Broker) -> Vec<u8> {
    let now = broker.now;
    let draft = match org {
        Gem => Draft::new(Gem, &[Pol, Org::Jw], "F04", number, now),
        Org::Om => Draft::new(Org::Om, &[Gem], "F16", number, now),
        other => Draft::new(other, &[Gem], "F01", number, now),
    };
    // Few instants, so that the same number often gives the same bytes.
    let made = NOON.plus(Span::days(now.since(NOON).0 / Span::days(2).0 * 2));
    let mut draft = draft.with(|draft| {
        draft.context.issued = made;
        draft.context.expires = made.plus(Span::days(3));
    });
    match defect {
        5 => draft.body = b"anders".to_vec(),
        6 => draft.context.flow = "F99".into(),
        7 => draft.context.expires = made.minus(Span(1)),
        8 => draft.context.covenant = Digest([1; 32]),
        9 => draft.signer = Org::Stranger.key(),
        10 => draft.context.flow = "\u{1}".into(),
        _ => {}
    }
    let mut bytes = draft.seal();
    if defect == 11 {
        bytes.pop();
    }
    bytes
}

#[derive(Debug, Default)]
struct Seen {
    conns: BTreeMap<Org, Vec<ConnId>>,
    offered: BTreeMap<Org, Vec<Vec<u8>>>,
    /// The first answer to each packet that was accepted.
    accepted: BTreeMap<Digest, Vec<u8>>,
}

impl Seen {
    /// A packet that was offered, counted from the newest, round and round.
    fn offered(&self, org: Org, which: usize) -> Option<Vec<u8>> {
        let all = self.offered.get(&org)?;
        all.iter().rev().nth(which % all.len()).cloned()
    }

    fn newest(&self, org: Org) -> Option<ConnId> {
        self.conns.get(&org).and_then(|conns| conns.last()).copied()
    }

    fn take_in(&mut self, broker: &Broker, did: &super::broker::Did) {
        for send in &did.sends {
            match send {
                Send::Close { conn, .. } => {
                    self.conns.values_mut().for_each(|conns| conns.retain(|own| own != conn));
                }
                Send::Offer { conn, item, bytes, .. } => {
                    let org = *self.conns.iter().find(|(_, conns)| conns.contains(conn)).unwrap().0;
                    assert_eq!(self.newest(org), Some(*conn), "only the newest session is served");
                    let bytes = bytes.as_ref().or_else(|| broker.blobs.get(&item.packet.0)).unwrap();
                    self.offered.entry(org).or_default().push(bytes.to_vec());
                }
                _ => {}
            }
        }
        for got in broker.verdicts(did).into_iter().filter(|got| got.outcome == 0) {
            let first = self.accepted.entry(got.packet).or_insert_with(|| got.receipt.clone());
            assert_eq!(*first, got.receipt, "the same answer, byte for byte");
        }
    }
}

fn run(broker: &mut Broker, seen: &mut Seen, step: &Step) {
    let org = |index: usize| Org::PARTIES[index];
    let did = match *step {
        Step::Connect(index) => {
            let (conn, input) = broker.hello(org(index));
            seen.conns.entry(org(index)).or_default().push(conn);
            broker.turn([input])
        }
        Step::Disconnect(index) => {
            let Some(conn) = seen.conns.get_mut(&org(index)).and_then(Vec::pop) else { return };
            broker.turn([Input::Disconnected { conn }])
        }
        Step::Submit { org: index, number, defect, times } => {
            let Some(conn) = seen.newest(org(index)) else { return };
            let bytes = packet(org(index), number, defect, broker);
            let inputs: Vec<_> = (0..times).map(|_| broker.submission(conn, org(index), &bytes)).collect();
            broker.turn(inputs)
        }
        Step::Acknowledge { org: index, which, outcome } => {
            let packet = seen.offered(org(index), which);
            let (Some(conn), Some(bytes)) = (seen.newest(org(index)), packet) else { return };
            broker.acknowledge(conn, org(index), &[(&bytes, outcome)])
        }
        Step::Tick(hours) => broker.tick_until(broker.now.plus(Span::hours(hours))),
        Step::Revoke(index) => {
            let command = Command::RevokePartner { oin: org(index).oin(), reason: None };
            broker.turn([Input::Operator { id: crate::CommandId(1), command }])
        }
        Step::Add(index) => {
            broker.add(org(index));
            return;
        }
        Step::TakeBack { org: index, number } => {
            let Some(conn) = seen.newest(org(index)) else { return };
            let own = |bytes: &&std::sync::Arc<Vec<u8>>| {
                Packet::parse(bytes).unwrap().context().sender == org(index).oin()
            };
            let mut found = broker.blobs.values().filter(own).cycle();
            let found = found.nth(usize::try_from(number).unwrap());
            let bytes = found.map_or_else(|| packet(org(index), number, 0, broker), |bytes| bytes.to_vec());
            let signed = word(org(index), &bytes, "onjuist");
            take_back(broker, conn, org(index), &signed)
        }
        Step::Consume { org: index, which } => {
            let packet = seen.offered(org(index), which);
            let (Some(conn), Some(bytes)) = (seen.newest(org(index)), packet) else { return };
            let did = broker.acknowledge(conn, org(index), &[(&bytes, 0)]);
            seen.take_in(broker, &did);
            say_consumed(broker, conn, org(index), &bytes)
        }
        Step::Taken(index) => {
            let Some(conn) = seen.newest(org(index)) else { return };
            broker.turn([Input::NoticesTaken { conn, cursor: u64::MAX }])
        }
        Step::Withdraw(index) => {
            let Some(conn) = seen.newest(org(index)) else { return };
            let ask = Ask::Vote(vote(covenant().hash(), org(index), Word::Withdraw, broker.now));
            broker.turn([Input::Request { conn, request: RequestId(2), ask }])
        }
        Step::NextLog => {
            let origin = format!("{ORIGIN}-{}", broker.core.shards().len());
            let command = Command::NewOrigin { origin, reason: Digest([1; 32]) };
            broker.turn([Input::Operator { id: crate::CommandId(1), command }])
        }
        Step::Restart => {
            broker.restart();
            seen.conns.clear();
            return;
        }
    };
    seen.take_in(broker, &did);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold(steps in vec(step(), 1..60)) {
        let mut config = Config::new(ORIGIN, log_signer().public(), "broker/1");
        config.mailbox_packets = 5;
        let mut broker = Broker::with(config, NOON).populated();
        walk(&mut broker, CaseId([9; 16]), seinhuis_shared::covenant::Step::S3);
        let mut seen = Seen::default();
        for step in &steps {
            run(&mut broker, &mut seen, step);
        }
        // Everything ends: after the last validity nothing waits, nothing is kept, nothing is remembered.
        for _ in 0..3 {
            broker.log_and_tick(broker.now.plus(Span::days(40)));
        }
        prop_assert!(broker.blobs.is_empty() && broker.core.state.endings.is_empty());
        let count = |kind| broker.entries().iter().filter(|entry| entry.kind == kind).count();
        let ended = count(Kind::Delivered) + count(Kind::Expired) + count(Kind::Shredded) + count(Kind::Withdrawn);
        prop_assert_eq!(count(Kind::Accepted), ended);
    }
}

/// The sequences above reach what they are meant to reach.
#[test]
fn the_steps_lead_to_every_outcome() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let steps = vec(step(), 2400..2401).new_tree(&mut runner).unwrap().current();
    let mut broker = Broker::with(Config::new(ORIGIN, log_signer().public(), "broker/1"), NOON).populated();
    walk(&mut broker, CaseId([9; 16]), seinhuis_shared::covenant::Step::S3);
    let mut seen = Seen::default();
    // One withdrawal ends the covenant, and with it what this test counts.
    for step in steps.iter().filter(|step| !matches!(step, Step::Withdraw(_))) {
        run(&mut broker, &mut seen, step);
    }
    let entries = broker.entries();
    for kind in [
        Kind::Accepted,
        Kind::Delivered,
        Kind::Consumed,
        Kind::Withdrawn,
        Kind::Expired,
        Kind::Shredded,
        Kind::Partner,
    ] {
        assert!(entries.iter().any(|entry| entry.kind == kind), "{kind}");
    }
    let reasons: std::collections::BTreeSet<_> = entries.iter().filter_map(|entry| entry.reason).collect();
    for reason in [102, 203, 209, 303, 305, 401, 404, 504] {
        assert!(reasons.contains(&reason), "{reason} in {reasons:?}");
    }
    assert!(seen.accepted.len() > 10, "{}", seen.accepted.len());
}
