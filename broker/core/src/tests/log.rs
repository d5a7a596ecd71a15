//! The log and what is kept: time, receipts, and a core read back from its rows.

use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::{CheckpointCache, Receipt};
use seinhuis_shared::time::Span;
use seinhuis_shared::tlog::tree::Frontier;

use super::admission::{question, signal};
use super::broker::{Broker, log_key};
use super::fixture::{Draft, Gem, Jw, NOON, Pol, covenant};
use crate::{Change, Command, Core, Input, RestoreError, Table, Turn, Write};

#[test]
fn the_logs_time_does_not_go_back_with_the_clock() {
    let mut broker = Broker::started(NOON);
    broker.command(Command::Started { without_witnesses: false });
    broker.now = NOON.minus(Span::hours(1));
    broker.command(Command::Stopping);
    broker.restart();
    broker.command(Command::Started { without_witnesses: false });
    let times: Vec<_> = broker.entries().iter().rev().take(3).map(|entry| entry.time).collect();
    assert_eq!(times, [NOON; 3]);
    broker.now = NOON.plus(Span(1));
    broker.command(Command::Stopping);
    assert_eq!(broker.entries().last().unwrap().time, NOON.plus(Span(1)));
}

#[test]
fn a_receipt_proves_its_packet_and_no_other() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let packets = [question().seal(), signal().seal()];
    let inputs = [broker.submission(gem, Gem, &packets[0]), broker.submission(pol, Pol, &packets[1])];
    let did = broker.turn(inputs);
    let packets = packets.map(|bytes| seinhuis_shared::packet::Packet::parse(&bytes).unwrap());
    for (index, got) in broker.verdicts(&did).iter().enumerate() {
        let receipt = Receipt::parse(&got.receipt).unwrap();
        let proved = receipt.verify(&log_key(), &mut CheckpointCache::default()).unwrap();
        assert_eq!(proved.says_accepted(&packets[index]), Ok(()));
        assert!(proved.says_accepted(&packets[1 - index]).is_err());
    }
}

#[test]
fn a_turn_without_entries_needs_no_new_head() {
    let mut broker = Broker::started(NOON);
    let before = broker.core.head().cloned();
    let mut turn = Turn::new([0; 32]);
    broker.core.handle(Input::Tick, NOON, &mut turn);
    assert!(turn.is_empty() && !turn.is_durable());
    let sealed = broker.core.seal(&mut turn);
    assert!(!sealed.has_entries());
    assert!(broker.core.sign(&mut turn, &sealed, &[]).is_empty());
    assert!(broker.core.committed(turn, &sealed, &[]).is_empty());
    assert_eq!(broker.core.head().cloned(), before);
}

#[test]
fn an_entry_alone_makes_a_turn_durable() {
    let mut broker = Broker::started(NOON);
    let mut turn = Turn::new([0; 32]);
    let command = Command::Started { without_witnesses: false };
    broker.core.handle(Input::Operator { id: crate::CommandId(1), command }, NOON, &mut turn);
    assert!(turn.is_durable());
}

#[test]
fn published_entries_leave_the_rows_and_stay_in_the_log() {
    let mut broker = Broker::started(NOON);
    let rows = |broker: &Broker| broker.rows.keys().filter(|(table, _)| *table == Table::Entries).count();
    let before = rows(&broker);
    assert!(before > 1, "a row for each turn");
    broker.turn([Input::Published { end: 0 }]);
    assert_eq!(rows(&broker), before, "nothing is published yet");
    broker.turn([Input::Published { end: u64::try_from(broker.log.len()).unwrap() }]);
    assert_eq!(rows(&broker), 0);
    broker.restart();
    broker.command(Command::Started { without_witnesses: false });
}

#[test]
fn rows_that_were_changed_are_not_read_back() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    broker.accept(pol, Pol, &signal().seal());
    let size = u64::try_from(broker.log.len()).unwrap();
    let frontier = broker.core.state.log.frontier.clone();
    for changed in 0..broker.stored().len() {
        let mut rows = broker.stored();
        let table = rows[changed].0;
        if table == Table::Entries {
            continue;
        }
        rows[changed].2.push(0);
        let got = Core::restore(broker.config.clone(), rows, frontier.clone());
        assert_eq!(got.unwrap_err(), RestoreError::Row { table });
    }
    for frontier in [Frontier::empty(), other_frontier(size)] {
        let got = Core::restore(broker.config.clone(), broker.stored(), frontier);
        assert_eq!(got.unwrap_err(), RestoreError::Root);
    }
}

fn other_frontier(size: u64) -> Frontier {
    let mut frontier = Frontier::empty();
    for leaf in 0..size {
        frontier.append(Digest([u8::try_from(leaf).unwrap(); 32])).unwrap();
    }
    frontier
}

#[test]
fn a_covenant_row_under_another_hash_is_not_read_back() {
    let broker = Broker::started(NOON);
    let write = Write::Covenant { hash: Digest([1; 32]), bytes: covenant().to_bytes(), proposer: None };
    let Change::Put { key, value, .. } = write.change() else { panic!("a row") };
    let rows = [(Table::Covenants, key, value)];
    let got = Core::restore(broker.config, rows, Frontier::empty());
    assert_eq!(got.unwrap_err(), RestoreError::Row { table: Table::Covenants });
}

/// One script run twice: once by a core that keeps running, once by one that is read back before each
/// step. Connections end at each step in both.
#[test]
fn a_core_that_is_read_back_has_the_same_future() {
    let run = |restarting: bool| {
        let mut broker = Broker::started(NOON);
        let (mut told, mut overviews) = (Vec::new(), Vec::new());
        for step in 0..14_u64 {
            let gem = broker.connect(Gem);
            let (pol, jw) = (broker.connect(Pol), broker.connect(Jw));
            broker.now = NOON.plus(Span::hours(step * 3));
            let bytes = Draft::new(Pol, &[Gem], "F01", step / 2, NOON.plus(Span::hours(step / 2 * 6))).seal();
            let did = broker.submit(pol, Pol, &bytes);
            told.push((broker.verdicts(&did), broker.offers(&did)));
            let asked = Draft::new(Gem, &[Pol, Jw], "F04", step, NOON).seal();
            let did = broker.submit(gem, Gem, &asked);
            told.push((broker.verdicts(&did), broker.offers(&did)));
            if step % 3 == 0 {
                broker.acknowledge(jw, Jw, &[(&asked, 0)]);
                broker.acknowledge(gem, Gem, &[(&bytes, 505)]);
            }
            broker.turn([Input::Tick]);
            broker.turn([gem, pol, jw].map(|conn| Input::Disconnected { conn }));
            if restarting {
                broker.restart();
            }
            overviews.push(broker.overview());
        }
        (broker.log.clone(), broker.stored(), told, overviews)
    };
    let (one, other) = (run(false), run(true));
    assert_eq!(one.2, other.2, "the same answers");
    assert_eq!(one.3, other.3, "the same overviews");
    assert_eq!((one.0, one.1), (other.0, other.1), "the same log and rows");
}
