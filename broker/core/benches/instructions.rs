//! Instructions of the broker's decisions: `tests/benches/instructions/mod.rs` says how they are counted.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says so")]

#[path = "../src/tests/fixture.rs"]
mod fixture;
#[path = "../../../tests/benches/instructions/mod.rs"]
mod instructions;

use std::hint::black_box;
use std::process::ExitCode;

use fixture::{Draft, Gem, NOON, Org, Pol, Stranger, compiled, vote};
use instructions::{Case, Round};
use seinhuis_broker_core::admission::Received;
use seinhuis_broker_core::{
    Ask, Change, Command, CommandId, Config, ConnId, Core, Heard, Input, LaneId, RequestId, Send, Turn, Write,
};
use seinhuis_shared::acknowledgement::Batch;
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::packet::Packet;
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::{ED25519, KeyText, VerifierKey};
use seinhuis_shared::wire::{Acknowledged, Acknowledgement, Hello, VERSION};

const ORIGIN: &str = "broker.example/uitwisseling/2026";
const LANE: LaneId = LaneId(1);
/// Packets in a turn.
const TURN: u64 = 32;

const CASES: &[Case] = &[
    Case {
        name: "examine",
        what: "a packet from its bytes to its statement verified, beside the core",
        operations: TURN,
        rounds: 1,
        prepare: examine,
    },
    Case {
        name: "submissions",
        what: "an examined packet from its input to rows and sends, 32 a turn with its signed head",
        operations: TURN,
        rounds: 3,
        prepare: submissions,
    },
    Case {
        name: "acknowledgements",
        what: "a packet in a verified acknowledgement of 32, from its input to rows and sends",
        operations: TURN,
        rounds: 3,
        prepare: acknowledgements,
    },
];

fn main() -> ExitCode {
    instructions::main("broker-core", CASES)
}

/// The core and what its shell does around it, but for the disk.
struct Broker {
    core: Core,
    key: VerifierKey,
    signer: SigningKey,
    turns: u64,
}

/// What a turn leaves.
struct Did {
    changes: Vec<Change>,
    sends: Vec<Send>,
    entries: Vec<Vec<u8>>,
}

impl Broker {
    /// The partnership of the tests with all its parties connected, and a partner who is party to nothing.
    fn started() -> Self {
        let signer = SigningKey::from_seed(&[99; 32]);
        let text = KeyText::new(ORIGIN, ED25519, &signer.public().to_bytes()).unwrap();
        let key = VerifierKey::new(ORIGIN, text.ed25519(ED25519).unwrap()).unwrap();
        let core = Core::new(Config::new(ORIGIN, signer.public(), "broker/1"));
        let mut broker = Self { core, key, signer, turns: 0 };
        let compiled = compiled();
        let hash = compiled.hash();
        let command = |command| Input::Operator { id: CommandId(1), command };
        broker.turn([command(Command::LoadCovenant { compiled })]);
        for org in Org::PARTIES.into_iter().chain([Stranger]) {
            let (oin, name, key) = (org.oin(), format!("{org:?}"), org.key().public());
            broker.turn([command(Command::AddPartner { oin, name, key })]);
        }
        for (conn, org) in (1..).zip(Org::PARTIES) {
            let ask = Ask::Vote(vote(hash, org, Word::Accept, NOON));
            let request = Input::Request { conn: ConnId(conn), request: RequestId(1), ask };
            broker.turn([connected(conn, org), request]);
        }
        broker
    }

    /// Handle, seal, sign, encode; then it would be flushed; then the sends.
    fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) -> Did {
        self.turns += 1;
        let mut turn = Turn::new(sha256(&self.turns.to_be_bytes()).0);
        for input in inputs {
            self.core.handle(input, NOON, &mut turn);
        }
        let sealed = self.core.seal(&mut turn);
        let note = if sealed.has_entries() {
            let head = Checkpoint::new(ORIGIN, sealed.size(), sealed.root()).unwrap();
            let note = head.sign_with(&self.key, |bytes| self.signer.sign(bytes)).unwrap();
            note.to_string().into_bytes()
        } else {
            Vec::new()
        };
        let writes = self.core.sign(&mut turn, &sealed, &note);
        let changes = writes.into_iter().map(Write::change).collect();
        let sends = self.core.committed(turn, &sealed, &note);
        Did { changes, sends, entries: sealed.entries().to_vec() }
    }

    fn examined(&self, bytes: &[u8]) -> Input {
        let examined = Received::new(bytes.to_vec(), Pol.oin()).authenticate(&self.core.directory());
        Input::Submitted { conn: conn(Pol), lane: LANE, examined }
    }
}

fn conn(org: Org) -> ConnId {
    let place = Org::PARTIES.iter().position(|party| *party == org).unwrap();
    ConnId(u64::try_from(place + 1).unwrap())
}

fn connected(conn: u64, org: Org) -> Input {
    let hello = Hello { version: VERSION, software: "agent/1".into(), cosigned: Bytes::default() };
    Input::Connected { conn: ConnId(conn), peer: org.oin(), hello, heard: Heard::Nothing }
}

/// The packets of so many turns.
fn packets(rounds: usize) -> Vec<Vec<Vec<u8>>> {
    let packet = |number| {
        let body = [b'x'; 1024].to_vec();
        Draft::new(Pol, &[Gem], "F01", number, NOON).with(|draft| draft.body = body).seal()
    };
    (0..u64::try_from(rounds).unwrap())
        .map(|round| (1..=TURN).map(|at| packet(round * TURN + at)).collect())
        .collect()
}

fn examine(rounds: usize) -> Round {
    let (broker, packets) = (Broker::started(), packets(rounds));
    Box::new(move |round| {
        for bytes in &packets[round] {
            let examined = black_box(broker.examined(black_box(bytes)));
            assert!(matches!(examined, Input::Submitted { examined: Ok(_), .. }), "a good packet");
        }
    })
}

fn submissions(rounds: usize) -> Round {
    let mut broker = Broker::started();
    let packets = packets(rounds);
    let examine = |turn: &Vec<Vec<u8>>| turn.iter().map(|bytes| broker.examined(bytes)).collect::<Vec<_>>();
    let mut inputs: Vec<_> = packets.iter().map(examine).collect();
    Box::new(move |round| {
        let did = black_box(broker.turn(std::mem::take(&mut inputs[round])));
        let offers = did.sends.iter().filter(|send| matches!(send, Send::Offer { .. })).count();
        assert_eq!(u64::try_from(offers), Ok(TURN), "all are accepted and offered");
        black_box(did.changes);
    })
}

/// What the recipient says of the packets of a turn, as its connection verified it.
fn batch(packets: &[Vec<u8>], accepted: &[Vec<u8>]) -> Batch {
    let item = |(bytes, entry): (&Vec<u8>, &Vec<u8>)| {
        let packet = Packet::parse(bytes).unwrap();
        Acknowledged::stored(packet.context().msg_id, packet.digest(), 0, leaf_hash(entry))
    };
    let items = packets.iter().zip(accepted).map(item).collect();
    let said = Acknowledgement { recipient: Gem.oin(), issued: NOON, items };
    Acknowledgement::verify(&said.sign(&Gem.key()), &[Gem.key().public()]).unwrap()
}

fn acknowledgements(rounds: usize) -> Round {
    let mut broker = Broker::started();
    let mut batches = Vec::new();
    for packets in packets(rounds) {
        let inputs: Vec<_> = packets.iter().map(|bytes| broker.examined(bytes)).collect();
        let entries = broker.turn(inputs).entries;
        batches.push(Some(batch(&packets, &entries)));
    }
    Box::new(move |round| {
        let examined = Ok(batches[round].take().unwrap());
        let did = black_box(broker.turn([Input::Acknowledged { conn: conn(Gem), examined }]));
        let erased: Vec<Digest> = did.changes.iter().filter_map(erased).collect();
        assert_eq!(u64::try_from(erased.len()), Ok(TURN), "all are delivered");
        black_box(did.sends);
    })
}

fn erased(change: &Change) -> Option<Digest> {
    if let Change::Erase { blob } = change { Some(Digest(*blob)) } else { None }
}
