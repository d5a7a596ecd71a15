//! Quotas: what a partner brings beyond them is put off, and nobody else is.

use std::collections::BTreeMap;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::{Deferred, FetchEntries, Hello, VERSION};

use super::broker::{Broker, Did, ORIGIN, log_signer};
use super::fixture::{Draft, Gem, Jw, NOON, Om, Org, Pol, Stranger};
use super::notices::{take, take_back, word};
use super::outcomes::cursor;
use crate::{Ask, Config, ConnId, Fair, Heard, Input, PutOff, Quota, QuotaRow, Rate, RequestId, Send};

const fn rate(per_minute: u64, burst: u64) -> Rate {
    Rate { per_minute, burst }
}

/// A broker with one quota made small.
fn with(edit: impl FnOnce(&mut Quota)) -> Broker {
    let mut config = Config::new(ORIGIN, log_signer().public(), "broker/1");
    edit(&mut config.quota);
    Broker::with(config, NOON).populated()
}

fn signal(from: Org, number: u64, now: Timestamp) -> Vec<u8> {
    Draft::new(from, &[Gem], "F01", number, now).seal()
}

fn signals(numbers: core::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(|number| signal(Pol, number, NOON)).collect()
}

/// Bytes that are no packet.
fn garbage(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn deferred(did: &Did) -> Vec<Deferred> {
    did.sends
        .iter()
        .filter_map(|send| match send {
            Send::Deferred { deferred, .. } => Some(deferred.clone()),
            _ => None,
        })
        .collect()
}

/// The packet is put off for a quota and leaves nothing: for how long.
fn put_off(broker: &mut Broker, conn: ConnId, bytes: &[u8]) -> Span {
    let stored = broker.stored();
    let did = broker.submit(conn, Pol, bytes);
    let [deferred] = deferred(&did).try_into().unwrap();
    assert_eq!((deferred.packet, deferred.reason), (sha256(bytes), Refusal::OverQuota.number()));
    assert!(Refusal::OverQuota.is_passing(), "an agent tries again");
    assert!(did.entries.is_empty() && did.sends.len() == 1);
    assert_eq!(broker.stored(), stored, "nothing is recorded");
    Span(deferred.retry_after)
}

fn pass(broker: &mut Broker, span: Span) {
    broker.now = broker.now.plus(span);
}

fn row(broker: &mut Broker, org: Org) -> QuotaRow {
    broker.overview().quotas.into_iter().find(|row| row.oin == org.oin()).unwrap()
}

// Each knob by itself; the others are as wide as by default.

#[test]
fn packets_beyond_the_quota_wait_until_it_is_back() {
    let mut broker = with(|quota| quota.packets = rate(20, 3));
    let pol = broker.connect(Pol);
    let packets = signals(1..6);
    for bytes in &packets[..3] {
        broker.accept(pol, Pol, bytes);
    }
    let wait = put_off(&mut broker, pol, &packets[3]);
    assert_eq!(wait, Span::seconds(3), "twenty a minute");
    pass(&mut broker, Span(wait.0 - 1));
    put_off(&mut broker, pol, &packets[3]);
    pass(&mut broker, Span(1));
    broker.accept(pol, Pol, &packets[3]);
    pass(&mut broker, Span::seconds(1));
    put_off(&mut broker, pol, &packets[4]);
    assert_eq!(row(&mut broker, Pol).put_off, PutOff { packets: 3, ..PutOff::default() });
    pass(&mut broker, Span::days(1));
    for number in 11..14 {
        let bytes = signal(Pol, number, broker.now);
        broker.accept(pol, Pol, &bytes);
    }
    let bytes = signal(Pol, 14, broker.now);
    put_off(&mut broker, pol, &bytes);
}

#[test]
fn bytes_beyond_the_quota_wait_until_they_are_back() {
    let packets = signals(1..4);
    let size = u64::try_from(packets[0].len()).unwrap();
    let mut broker = with(|quota| quota.bytes = rate(size * 6, 2 * size));
    let pol = broker.connect(Pol);
    for bytes in &packets[..2] {
        broker.accept(pol, Pol, bytes);
    }
    assert_eq!(put_off(&mut broker, pol, &packets[2]), Span::seconds(10), "six of them a minute");
    assert_eq!(row(&mut broker, Pol).put_off, PutOff { bytes: 1, ..PutOff::default() });
    pass(&mut broker, Span::seconds(10));
    broker.accept(pol, Pol, &packets[2]);
}

#[test]
fn a_packet_larger_than_the_quota_passes_when_all_of_it_is_there() {
    let packets = signals(1..3);
    let size = u64::try_from(packets[0].len()).unwrap();
    let mut broker = with(|quota| quota.bytes = rate(size, size / 2));
    let pol = broker.connect(Pol);
    broker.accept(pol, Pol, &packets[0]);
    let wait = put_off(&mut broker, pol, &packets[1]);
    pass(&mut broker, wait);
    broker.accept(pol, Pol, &packets[1]);
}

#[test]
fn more_outcomes_than_are_remembered_wait_until_some_are_forgotten() {
    let mut broker = with(|quota| quota.remembered = 2);
    let pol = broker.connect(Pol);
    let packets = signals(1..4);
    let did = {
        let inputs: Vec<_> = packets.iter().map(|bytes| broker.submission(pol, Pol, bytes)).collect();
        broker.turn(inputs)
    };
    assert_eq!((broker.verdicts(&did).len(), deferred(&did).len()), (2, 1), "within one turn too");
    assert_eq!(deferred(&did)[0].reason, Refusal::OverQuota.number());
    // A refusal whose outcome would be remembered waits as well; one that leaves none does not.
    pass(&mut broker, Span::minutes(1));
    let refused = Draft::new(Pol, &[Gem], "F99", 9, NOON).seal();
    let did = broker.submit(pol, Pol, &refused);
    assert_eq!(deferred(&did).len(), 1);
    let did = broker.submit(pol, Pol, &garbage(1));
    assert_eq!(broker.verdicts(&did).len(), 1);
    // It is what is kept that counts, also after a restart.
    broker.restart();
    let pol = broker.connect(Pol);
    put_off(&mut broker, pol, &packets[2]);
    assert_eq!(row(&mut broker, Pol).remembered, 2);
    let gem = broker.connect(Gem);
    broker.accept(gem, Gem, &Draft::new(Gem, &[Jw], "F04", 1, NOON).seal());
    let end = broker.now.plus(Span::days(1)).plus(Span::minutes(6));
    let did = broker.log_and_tick(end);
    take(&mut broker, pol, cursor(&did));
    let end = end.plus(Span::minutes(1));
    broker.log_and_tick(end);
    assert!(broker.overview().quotas.iter().all(|row| row.oin != Pol.oin() || row.remembered == 0));
    let fresh = signal(Pol, 4, end);
    broker.accept(pol, Pol, &fresh);
}

#[test]
fn refusals_beyond_the_quota_are_put_off_and_told_in_one_entry() {
    let mut broker = with(|quota| quota.refusals = rate(1, 3));
    let pol = broker.connect(Pol);
    for number in 1..4 {
        let did = broker.submit(pol, Pol, &garbage(number));
        assert_eq!((broker.verdicts(&did).len(), did.entries.len()), (1, 1), "each leaves its trace");
    }
    let did = broker.submit(pol, Pol, &garbage(4));
    let [deferred_one] = deferred(&did).try_into().unwrap();
    assert_eq!(deferred_one.reason, Refusal::OverQuota.number());
    assert_eq!(deferred_one.retry_after, 60_000);
    told(&did.entries, 1);
    // A refusal of another kind, of the signed and of the unsigned, costs no further entry.
    let unknown_flow = Draft::new(Pol, &[Gem], "F99", 9, NOON).seal();
    for bytes in [garbage(5), garbage(4), unknown_flow] {
        let did = broker.submit(pol, Pol, &bytes);
        assert_eq!((deferred(&did).len(), did.entries.len()), (1, 0));
    }
    // What is right goes on meanwhile, in a flow of its own.
    broker.accept(pol, Pol, &signal(Pol, 10, NOON));
    assert!(broker.tick_until(NOON.plus(Span::minutes(59))).entries.is_empty());
    told(&broker.tick_until(NOON.plus(Span::hours(1))).entries, 3);
    assert!(broker.tick_until(NOON.plus(Span::hours(3))).entries.is_empty(), "nothing more to tell");
    // Once there is room the same bytes are refused, with a proof.
    let did = broker.submit(pol, Pol, &garbage(4));
    assert_eq!((broker.verdicts(&did).len(), did.entries.len()), (1, 1));
    assert_eq!(row(&mut broker, Pol).put_off, PutOff { refusals: 4, ..PutOff::default() });
}

fn told(entries: &[Entry], count: u64) {
    let [entry] = entries else { panic!("one entry: {entries:?}") };
    assert_eq!((entry.kind, entry.from), (Kind::Refused, Some(Pol.oin())));
    assert_eq!(entry.reason, Some(Refusal::OverQuota.number()));
    assert_eq!(entry.detail.as_deref(), Some(format!("put-off:{count}").as_str()));
    assert_eq!((entry.packet, entry.msg_id), (None, None));
}

#[test]
fn refused_connections_and_acknowledgements_are_within_the_same_quota() {
    let mut broker = with(|quota| quota.refusals = rate(1, 2));
    let logged =
        |did: &Did| did.entries.iter().filter(|entry| entry.detail.as_deref() == Some("hello")).count();
    let hello = |broker: &mut Broker, org: Org| {
        let conn = ConnId(broker.fresh_number());
        let hello = Hello { version: VERSION + 1, software: "x".into(), cosigned: Bytes::default() };
        let did = broker.turn([Input::Connected { conn, peer: org.oin(), hello, heard: Heard::Nothing }]);
        assert!(did.sends.contains(&Send::Close { conn, reason: Refusal::UnknownVersion }), "still refused");
        did
    };
    let counts: Vec<usize> = (0..4).map(|_| logged(&hello(&mut broker, Stranger))).collect();
    assert_eq!(counts, [1, 1, 0, 0]);
    assert_eq!(logged(&hello(&mut broker, Pol)), 1, "another's quota is another's");
    let pol = broker.connect(Pol);
    broker.submit(pol, Pol, &garbage(1));
    let did = broker.turn([Input::Acknowledged { conn: pol, examined: Err(Refusal::BadSignature) }]);
    assert!(did.sends.contains(&Send::Close { conn: pol, reason: Refusal::BadSignature }));
    told(&did.entries, 1);
    // That a certificate was revoked is always there.
    let pol = broker.connect(Pol);
    let did = broker.turn([Input::CertificateRevoked { conn: pol }]);
    assert_eq!(did.entries[0].detail.as_deref(), Some("certificate"));
}

#[test]
fn late_words_about_what_was_taken_back_are_within_the_quota_of_refusals() {
    let mut broker = with(|quota| quota.refusals = rate(1, 2));
    let pol = broker.connect(Pol);
    let bytes = signal(Pol, 1, NOON);
    broker.accept(pol, Pol, &bytes);
    take_back(&mut broker, pol, Pol, &word(Pol, &bytes, "verkeerde_ontvanger"));
    let gem = broker.connect(Gem);
    let late = |broker: &mut Broker| {
        let entries = broker.acknowledge(gem, Gem, &[(&bytes, 0)]).entries;
        entries.into_iter().map(|entry| entry.reason.unwrap()).collect::<Vec<_>>()
    };
    let logged: Vec<_> = (0..5).map(|_| late(&mut broker)).collect();
    let (too_late, over) = (Refusal::PacketTakenBack.number(), Refusal::OverQuota.number());
    assert_eq!(logged, [vec![too_late], vec![too_late], vec![over], vec![], vec![]]);
}

/// A request is put off for a quota: for how long.
fn asked(broker: &mut Broker, conn: ConnId, ask: Ask) -> Option<Span> {
    let stored = broker.stored();
    let did = broker.turn([Input::Request { conn, request: RequestId(1), ask }]);
    let refused = did.sends.iter().find_map(|send| match send {
        Send::Refuse { request: Some(_), refuse, .. } if refuse.reason == Refusal::OverQuota.number() => {
            Some(refuse.retry_after.unwrap())
        }
        _ => None,
    })?;
    assert!(did.entries.is_empty() && did.sends.len() == 1);
    assert_eq!(broker.stored(), stored, "nothing is recorded");
    Some(Span(refused))
}

#[test]
fn words_beyond_their_quota_are_put_off_by_what_they_cost() {
    let words: [(u64, fn() -> Ask); 7] = [
        (100, || Ask::Vote(vec![0; 10])),
        (100, || Ask::Rotate(vec![0; 10])),
        (100, || Ask::Propose(Err(Refusal::CovenantInvalid))),
        (10, || Ask::PublishPrekeys { bytes: vec![0; 10], bundle: Err(Refusal::Malformed) }),
        (1, || Ask::Decide(vec![0; 10])),
        (1, || Ask::Withdraw(Err(Refusal::Malformed))),
        (1, || Ask::Consume(Err(Refusal::Malformed))),
    ];
    for (price, word) in words {
        let mut broker = with(|quota| quota.words = rate(60, 3 * price));
        // It voted when the covenant was agreed.
        pass(&mut broker, Span::hours(1));
        let pol = broker.connect(Pol);
        for _ in 0..3 {
            assert_eq!(asked(&mut broker, pol, word()), None);
        }
        assert_eq!(asked(&mut broker, pol, word()), Some(Span::seconds(price)), "one a second comes back");
        assert_eq!(row(&mut broker, Pol).put_off, PutOff { words: 1, ..PutOff::default() });
        let gem = broker.connect(Gem);
        assert_eq!(asked(&mut broker, gem, word()), None, "another's quota is another's");
        assert_eq!(asked(&mut broker, pol, Ask::FetchPrekeys(vec![Gem.oin()])), None, "questions are apart");
        pass(&mut broker, Span::seconds(price));
        assert_eq!(asked(&mut broker, pol, word()), None);
    }
}

#[test]
fn questions_beyond_their_quota_are_put_off_by_what_they_cost() {
    let questions: [(u64, fn() -> Ask); 6] = [
        (10, || Ask::FetchCovenant(Digest([0; 32]))),
        (10, || Ask::FetchConsistency(ORIGIN.into(), vec![1, 2])),
        (10, || {
            Ask::FetchEntries(FetchEntries {
                origin: None,
                first: 0,
                one: false,
                from: None,
                until: None,
                kind: None,
                flow: None,
            })
        }),
        (1, || Ask::FetchPrekeys(vec![Gem.oin()])),
        (1, || Ask::FetchCase(seinhuis_shared::ids::CaseId([1; 16]))),
        (1, || Ask::FetchSuccession(ORIGIN.into(), 1)),
    ];
    for (price, question) in questions {
        let mut broker = with(|quota| quota.questions = rate(60, 3 * price));
        let pol = broker.connect(Pol);
        for _ in 0..3 {
            assert_eq!(asked(&mut broker, pol, question()), None);
        }
        assert_eq!(asked(&mut broker, pol, question()), Some(Span::seconds(price)));
        assert_eq!(row(&mut broker, Pol).put_off, PutOff { questions: 1, ..PutOff::default() });
        assert_eq!(asked(&mut broker, pol, Ask::Decide(vec![0; 10])), None, "words are apart");
        pass(&mut broker, Span::seconds(price));
        assert_eq!(asked(&mut broker, pol, question()), None);
    }
}

// What must not cost anything, and what must not overtake.

#[test]
fn what_has_its_answer_or_is_put_off_takes_nothing_out_of_a_quota() {
    let mut broker = with(|quota| quota.packets = rate(60, 2));
    let pol = broker.connect(Pol);
    let packets = signals(1..4);
    let first = broker.accept(pol, Pol, &packets[0]);
    for _ in 0..5 {
        let did = broker.submit(pol, Pol, &packets[0]);
        assert_eq!(broker.verdicts(&did), std::slice::from_ref(&first), "the same answer");
    }
    broker.accept(pol, Pol, &packets[1]);
    for _ in 0..5 {
        put_off(&mut broker, pol, &packets[2]);
    }
    pass(&mut broker, Span::seconds(1));
    broker.accept(pol, Pol, &packets[2]);
}

#[test]
fn what_is_put_off_for_a_quota_is_not_overtaken() {
    let mut broker = with(|quota| quota.packets = rate(60, 1));
    let pol = broker.connect(Pol);
    let packets = signals(1..4);
    broker.accept(pol, Pol, &packets[0]);
    let wait = put_off(&mut broker, pol, &packets[1]);
    pass(&mut broker, Span(wait.0 - 1));
    // Under way already when the one before it was put off: it waits as long, and is told why.
    assert_eq!(put_off(&mut broker, pol, &packets[2]), Span(1));
    pass(&mut broker, Span(1));
    broker.accept(pol, Pol, &packets[1]);
}

#[test]
fn a_refusal_that_is_put_off_is_not_overtaken_either() {
    let mut broker = with(|quota| quota.refusals = rate(1, 1));
    let pol = broker.connect(Pol);
    broker.submit(pol, Pol, &garbage(1));
    let wrong = Draft::new(Pol, &[Gem], "F01", 1, NOON).with(|draft| draft.body = vec![b'x'; 200_000]).seal();
    let did = broker.submit(pol, Pol, &wrong);
    assert_eq!(deferred(&did).len(), 1, "it would be refused");
    assert_eq!(deferred(&broker.submit(pol, Pol, &signal(Pol, 2, NOON))).len(), 1);
}

#[test]
fn made_up_flows_do_not_fill_the_memory_of_a_session() {
    let mut broker = with(|quota| quota.refusals = rate(1, 1));
    let pol = broker.connect(Pol);
    broker.submit(pol, Pol, &garbage(1));
    let inputs: Vec<_> = (0..1500)
        .map(|number| {
            let made_up = Draft::new(Pol, &[Gem], &format!("X{number}"), number, NOON).seal();
            broker.submission(pol, Pol, &made_up)
        })
        .collect();
    let did = broker.turn(inputs);
    assert_eq!((deferred(&did).len(), did.entries.len()), (1500, 1));
    assert_eq!(broker.core.sessions.get(pol).unwrap().held_count(), 1024);
    broker.accept(pol, Pol, &signal(Pol, 2000, NOON));
}

#[test]
fn no_clock_keeps_anybody_waiting_for_longer_than_the_quota_does() {
    let mut broker = with(|quota| quota.packets = rate(60, 1));
    let pol = broker.connect(Pol);
    let ahead = NOON.plus(Span::days(100));
    broker.now = ahead;
    broker.accept(pol, Pol, &signal(Pol, 1, ahead));
    // Set right again: the log's time stays where it was, the quota does not.
    broker.now = NOON;
    let bytes = signal(Pol, 2, ahead);
    assert_eq!(put_off(&mut broker, pol, &bytes), Span::seconds(1));
    broker.now = NOON.plus(Span::seconds(1));
    broker.accept(pol, Pol, &bytes);
}

// One floods, the others notice nothing.

/// What a crowd at one broker came to.
#[derive(Debug, Default)]
struct Crowd {
    /// Most turns an honest packet waited for its verdict.
    longest: usize,
    /// Honest packets that were put off.
    put_off: usize,
    accepted: BTreeMap<Org, usize>,
    delivered: BTreeMap<Org, usize>,
    /// Most outcomes of the flooder in memory.
    remembered: usize,
}

const SECONDS: u64 = 8;
/// A hundred times the quota of [`crowded`].
const FLOOD: u64 = 200;
/// What shares a turn here, and how many turns there are in a second.
const TURN_INPUTS: usize = 64;
const TURNS: u64 = 4;

/// Three partners each send a packet a second, one sends two hundred; half of these are refused. Each stands in its own
/// line, as in the engine.
fn crowded(quota: Quota) -> (Broker, Crowd) {
    let mut config = Config::new(ORIGIN, log_signer().public(), "broker/1");
    (config.quota, config.mailbox_packets) = (quota, 80);
    let mut broker = Broker::with(config, NOON).populated();
    let conns: BTreeMap<Org, ConnId> =
        Org::PARTIES.into_iter().map(|org| (org, broker.connect(org))).collect();
    let mut crowd = Crowd::default();
    let mut queue: Fair<Org, (Org, Vec<u8>)> = Fair::default();
    let mut brought: BTreeMap<Digest, (Org, usize)> = BTreeMap::new();
    let mut packets: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    let mut at = 0;
    for second in 0..SECONDS {
        let now = NOON.plus(Span::seconds(second));
        for number in second * FLOOD..(second + 1) * FLOOD {
            let flow = if number % 2 == 0 { "F01" } else { "F99" };
            // All of one number, so that none of them waits behind another.
            let draft = Draft::new(Pol, &[Gem], flow, number, now).with(|draft| draft.context.seq = 1);
            queue.push(Pol, 1, (Pol, draft.seal()));
        }
        for (from, to, flow) in [(Jw, Gem, "F01"), (Gem, Jw, "F04"), (Gem, Om, "F04")] {
            let number = 10_000 * (u64::from(to == Om) + 1) + second;
            let bytes = Draft::new(from, &[to], flow, number, now).seal();
            brought.insert(sha256(&bytes), (from, at));
            queue.push(from, 1, (from, bytes));
        }
        for turn in 0..TURNS {
            broker.now = now.plus(Span(turn * 1000 / TURNS));
            let mine: Vec<_> = (0..TURN_INPUTS).map_while(|_| queue.pop()).collect();
            packets.extend(mine.iter().map(|(_, bytes)| (sha256(bytes), bytes.clone())));
            let inputs: Vec<_> =
                mine.iter().map(|(org, bytes)| broker.submission(conns[org], *org, bytes)).collect();
            let did = broker.turn(inputs);
            at += 1;
            for got in broker.verdicts(&did).iter().filter(|got| got.outcome == 0) {
                let (org, from) = brought.get(&got.packet).copied().unwrap_or((Pol, at));
                *crowd.accepted.entry(org).or_default() += 1;
                crowd.longest = crowd.longest.max(at - from);
            }
            let honest = deferred(&did).into_iter().filter(|one| brought.contains_key(&one.packet));
            crowd.put_off += honest.count();
            crowd.remembered =
                crowd.remembered.max(broker.core.state.remembered.get(&Pol.oin()).copied().unwrap_or(0));
            // Recipients take two packets a turn.
            for offered in broker.offers(&did).iter().take(2) {
                let org = *conns.iter().find(|(_, conn)| **conn == offered.conn).unwrap().0;
                broker.acknowledge(offered.conn, org, &[(&packets[&offered.packet], 0)]);
                *crowd.delivered.entry(org).or_default() += 1;
            }
        }
    }
    (broker, crowd)
}

const SMALL: Quota = Quota {
    packets: rate(120, 4),
    bytes: rate(1_000_000_000, 1_000_000_000),
    refusals: rate(120, 4),
    words: rate(120, 4),
    questions: rate(120, 4),
    remembered: 30,
};

#[test]
fn who_floods_starves_nobody_and_costs_no_more_than_its_quota() {
    let (broker, crowd) = crowded(SMALL);
    let seconds = usize::try_from(SECONDS).unwrap();
    assert_eq!(crowd.put_off, 0, "nobody else is put off");
    assert_eq!(
        (crowd.accepted[&Jw], crowd.accepted[&Gem]),
        (seconds, 2 * seconds),
        "nobody else loses anything"
    );
    assert_eq!(crowd.longest, 1, "each is in the very next turn");
    // The flood: what the quotas let through, in the log and in memory, and not nothing.
    let let_through = 4 + 2 * seconds;
    assert!(crowd.accepted[&Pol] > 4 && crowd.accepted[&Pol] <= let_through);
    let of_flood = broker.entries().into_iter().filter(|entry| entry.from == Some(Pol.oin()));
    let (refused, told): (Vec<_>, Vec<_>) = of_flood
        .filter(|entry| entry.kind == Kind::Refused)
        .partition(|entry| entry.reason != Some(Refusal::OverQuota.number()));
    assert!(refused.len() <= let_through, "{}", refused.len());
    assert_eq!(told.len(), 1);
    assert!(crowd.remembered <= SMALL.remembered, "{}", crowd.remembered);
}

#[test]
fn without_quotas_who_floods_costs_memory_and_still_starves_nobody() {
    let wide = rate(u64::MAX, u64::MAX);
    let quota = Quota {
        packets: wide,
        bytes: wide,
        refusals: wide,
        words: wide,
        questions: wide,
        remembered: usize::MAX,
    };
    let (_, crowd) = crowded(quota);
    // Turns and mailboxes have shares of their own.
    assert_eq!((crowd.put_off, crowd.longest), (0, 1));
    assert_eq!(crowd.accepted[&Jw], usize::try_from(SECONDS).unwrap());
    assert!(crowd.remembered > 10 * SMALL.remembered);
}
