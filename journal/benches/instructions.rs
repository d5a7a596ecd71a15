//! Instructions of the journal's records: `tests/benches/instructions/mod.rs` says how they are counted.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says so")]

#[path = "../../tests/benches/instructions/mod.rs"]
mod instructions;

use std::hint::black_box;
use std::process::ExitCode;

use instructions::{Case, Round};
use seinhuis_journal::BlobId;
use seinhuis_journal::record::{Body, Frame, Kind, RowRef, Salt, Sum, decode, encode};

/// Packets in a turn: each has a blob and three rows, one of them with a long value.
const TURN: u64 = 32;

const CASES: &[Case] = &[
    Case {
        name: "record_encode",
        what: "a packet in a record of a turn of 32: three rows and a blob of 2 KiB, as bytes with their sums",
        operations: TURN,
        rounds: 4,
        prepare: encoding,
    },
    Case {
        name: "record_decode",
        what: "the same read back, every sum checked",
        operations: TURN,
        rounds: 4,
        prepare: decoding,
    },
];

fn main() -> ExitCode {
    instructions::main("journal", CASES)
}

/// What one packet leaves in a record.
struct Kept {
    id: [u8; 32],
    blob: Vec<u8>,
    values: [Vec<u8>; 3],
}

fn turn() -> Vec<Kept> {
    let kept = |number: u64| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let filled = |length| vec![id[7]; length];
        Kept { id, blob: filled(2048), values: [filled(400), filled(100), filled(60)] }
    };
    (0..TURN).map(kept).collect()
}

fn body(turn: &[Kept]) -> Body<'_> {
    let rows = turn.iter().flat_map(|kept| {
        let numbered = (1..).zip(&kept.values);
        numbered.map(|(table, value)| RowRef { table, key: &kept.id, value: Some(value) })
    });
    let blobs = turn.iter().map(|kept| (BlobId(kept.id), kept.blob.as_slice()));
    Body { rows: rows.collect(), blobs: blobs.collect(), drops: &[] }
}

fn frame() -> Frame {
    Frame { kind: Kind::Turn, sequence: 7, oldest: 1, previous: Sum::default(), offset: 4096 }
}

fn salt() -> Salt {
    Salt::new(1, Sum::default())
}

fn encoding(_: usize) -> Round {
    let (turn, salt, mut out) = (turn(), salt(), Vec::new());
    Box::new(move |_| {
        black_box(encode(&body(black_box(&turn)), frame(), &salt, &mut out));
        black_box(&out);
    })
}

fn decoding(_: usize) -> Round {
    let (turn, salt, mut out) = (turn(), salt(), Vec::new());
    encode(&body(&turn), frame(), &salt, &mut out);
    Box::new(move |_| {
        black_box(decode(black_box(&out), &salt, frame().offset, true).unwrap());
    })
}
