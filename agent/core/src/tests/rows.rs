//! Rows read back as they were written, and nothing else does.

use seinhuis_shared::case::Act;
use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::covenant::{Handling, Step};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::onward::Consent;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::succession::Cause;
use seinhuis_shared::time::Span;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::tlog::witness::Request;

use crate::fixture::{
    Broker, CASE, NOW, Node, covenant, inquiry, moved, oin, partnership, request, signal, signer,
};
use crate::rows::{FORMAT, RestoreError, Write, table};
use crate::{Core, CorrectionKind, Input, PushRequest, Settings};

fn settings() -> Settings {
    Settings { oin: oin(1), log: crate::fixture::log_key() }
}

/// Agents with something in every table.
fn used() -> Vec<Node> {
    let (mut broker, nodes) = partnership();
    let [mut town, mut police, mut youth, mut officers] = nodes;
    let names = request(4, "F09", &[1], "09-F09-politie-namen.json");
    police.push(PushRequest { step: Some(Step::S2B), case: Some(CASE), ..names }, NOW).unwrap();
    police.decide(4, false, NOW).unwrap();
    town.push(inquiry(1, &[2, 3]), NOW).unwrap();
    youth.push(signal(2), NOW).unwrap();
    let packet = youth.submitted()[0].clone();
    let verdict = broker.accept(&packet, NOW);
    youth.step([Input::Verdict(verdict)], NOW);
    let offer = broker.mailboxes[&oin(1)][0].clone();
    let mut spoiled = offer.clone();
    spoiled.receipt.0.pop();
    spoiled.packet.0.pop();
    town.step([Input::Offer(Box::new(offer)), Input::Offer(Box::new(spoiled))], NOW);
    let mut alone = Node::new(3);
    alone.push(signal(3), NOW).unwrap();
    Broker::new().connect(&mut alone, NOW);
    let compiled = covenant(2, "2026-02-01", "2028-01-01");
    let (hash, reason) = (compiled.hash(), "akkoord".to_owned());
    let speak = Input::Speak { token: 2, hash, word: Word::Accept, reason };
    alone.step([Input::Propose { token: 1, compiled }, speak], NOW);
    broker.cases.insert(CASE, moved(Step::S1));
    broker.connect(&mut town, NOW);
    town.step([Input::LookAtCase(CASE)], NOW);
    broker.serve(&mut town, NOW);
    let act = Some(Act::Step(Step::S2A));
    town.step([Input::Decide { token: 3, case: CASE, act, covenant: None }], NOW);
    // What says more of where it comes from than its flow, and a consent.
    let strict = PushRequest { handling: Some(Handling::Consent), ..signal(5) };
    youth.push(strict, NOW).unwrap();
    let packet = youth.submitted().pop().unwrap();
    let offer = broker.offer(&packet, oin(1), NOW);
    town.step([Input::Offer(Box::new(offer))], NOW);
    let consent = Consent {
        format: seinhuis_shared::onward::FORMAT,
        origin: oin(2),
        holder: oin(1),
        packet: Digest([1; 32]),
        recipients: vec![oin(3)],
        until: NOW,
        at: NOW.minus(Span::days(1)),
    };
    let bytes = consent.sign(&signer(2));
    town.rows.insert((table::CONSENT, sha256(&bytes).0.to_vec()), bytes);
    // What comes of it is recorded.
    town.recording = Some((10, true));
    // The inquiry is withdrawn, and somebody withdraws what nobody sent.
    let packet = town.submitted().remove(0);
    town.step([Input::Verdict(broker.accept(&packet, NOW))], NOW);
    super::corrections::say(&mut town, 1, CorrectionKind::Withdrawal, NOW).unwrap();
    for packet in town.submitted() {
        broker.accept(&packet, NOW);
    }
    for offer in broker.mailboxes.remove(&oin(2)).unwrap() {
        police.step([Input::Offer(Box::new(offer)), Input::Tick], NOW);
    }
    // Persons are named.
    town.rows.extend(super::register::entered());
    // The municipality is told, takes another message back, and the police consumed what it received.
    let (notices, consumed) = super::follow::told_and_consumed();
    town.rows.extend(notices);
    police.rows.extend(consumed);
    // One rotation is logged, the next under way.
    officers.turn_key(NOW);
    officers.next = Some(signer(45));
    officers.step([Input::Rotate { token: 4, urgent: false }], NOW);
    // A tree that was cosigned.
    let request = Request { old: 0, proof: vec![], note: Note::parse(&broker.checkpoint()).unwrap() };
    let mut watcher = Node::new(4);
    watcher.step([Input::AddCheckpoint(request.to_bytes().unwrap())], NOW);
    // Seen and not proved yet, in a log that has ended meanwhile too.
    broker.connect(&mut town, NOW);
    broker.connect(&mut police, NOW);
    broker.succeed("broker.example/uitwisseling/2027", Cause::Year, NOW);
    broker.connect(&mut police, NOW);
    vec![town, police, youth, officers, alone, watcher]
}

#[test]
fn every_row_reads_back_and_every_table_is_covered() {
    let mut seen = std::collections::BTreeSet::new();
    for node in used() {
        for ((of, key), value) in &node.rows {
            let write = Write::read(*of, key, value).unwrap();
            let row = write.row();
            assert_eq!((row.table, &row.key, row.value.as_ref()), (*of, key, Some(value)));
            seen.insert(*of);
        }
    }
    assert_eq!(seen, table::ALL.into());
}

#[test]
fn a_damaged_row_is_told_and_never_panics() {
    for node in used() {
        for ((of, key), value) in &node.rows {
            // Locked rows are opaque here; their lock notices.
            if matches!(*of, table::DRAFT | table::BODY | table::CORRECTION_BODY) {
                continue;
            }
            for cut in [0, value.len() / 2, value.len() - 1] {
                assert!(Write::read(*of, key, &value[..cut]).is_err(), "table {of}, cut at {cut}");
            }
            // A name of a flow or log, and an OIN with a flow behind it, remain such when the first character goes.
            if !key.is_empty() && !matches!(*of, table::CHAIN | table::SEEN | table::COSIGNED) {
                assert!(Write::read(*of, &key[1..], value).is_err(), "table {of}, key cut");
            }
        }
    }
}

#[test]
fn another_format_or_table_is_refused() {
    let restore = |of: u8, value: &[u8]| {
        Core::restore(settings(), std::iter::once((of, &b""[..], value))).map(|_| ()).unwrap_err()
    };
    assert_eq!(restore(table::META, &[FORMAT + 1]), RestoreError::Format { found: FORMAT + 1 });
    assert!(matches!(restore(200, &[]), RestoreError::Damaged { table: 200, .. }));
}
