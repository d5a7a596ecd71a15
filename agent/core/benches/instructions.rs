//! Instructions of the agent's decisions: `tests/benches/instructions/mod.rs` says how they are counted.
//!
//! Two agents under the model covenant and the log of a broker that believes everybody. In place of HPKE and of encryption
//! at rest stands the toy of the tests, which hashes: what it takes is counted, most of it as SHA-256.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says so")]

#[path = "../../../tests/benches/instructions/mod.rs"]
mod instructions;

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use instructions::{Case, Round};
use seinhuis_agent_core::toy::Toy;
use seinhuis_agent_core::{Core, Input, Ports, PushRequest, Send, Settings, Target, Turn, Write};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::{Cast, Vote, Word};
use seinhuis_shared::covenant::{Compiled, Covenant, Part, Step};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{MsgId, Oin};
use seinhuis_shared::packet::Packet;
use seinhuis_shared::receipt::{LogKey, ProvedEntry, Receipt};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::succession;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shared::tlog::tree::BatchTree;
use seinhuis_shared::wire::{Offer, VERSION, Verdict, Welcome};

const ORIGIN: &str = "broker.example/uitwisseling/2026";
const NOW: Timestamp = Timestamp(1_780_000_000_000);
const SAMPLE: &str = "samples/01-F01-jongerenwerk-signaal.json";
/// The municipality, which receives, and youth work, which sends.
const TOWN: u8 = 1;
const YOUTH: u8 = 3;
/// Packets in a turn.
const TURN: u64 = 32;

const CASES: &[Case] = &[
    Case {
        name: "pushes",
        what: "a body of a sample pushed, judged, sealed, signed and its rows made, 32 a turn",
        operations: TURN,
        rounds: 2,
        prepare: pushes,
    },
    Case {
        name: "verdicts",
        what: "a verdict whose receipt is verified, and the outbox closed, 32 a turn",
        operations: TURN,
        rounds: 2,
        prepare: verdicts,
    },
    Case {
        name: "offers",
        what: "an offer taken in: receipt, every check again, opened, rows and acknowledgement, 32 a turn",
        operations: TURN,
        rounds: 2,
        prepare: offers,
    },
];

fn main() -> ExitCode {
    instructions::main("agent-core", CASES)
}

fn oin(number: u8) -> Oin {
    format!("0000009900000000{number}000").parse().unwrap()
}

fn signer(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../covenants/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The model covenant between municipality, police, youth work and officers, accepted by all.
fn accepted() -> Input {
    let mut own = format!(
        "[partnership]\nid = \"counted\"\nversion = 1\ntitle = \"Counted\"\nowner = \"{}\"\nvalid_from = \"2026-01-01\"\n\
         valid_until = \"2028-01-01\"\nevaluation = \"2027-01-01\"\ncontact = \"x@x.example\"\n",
        oin(TOWN)
    );
    for (number, role) in [(1, "gemeente"), (2, "politie"), (3, "jongerenwerk"), (4, "boa")] {
        let key = data_encoding::HEXLOWER.encode(&signer(number).public().to_bytes());
        _ = writeln!(
            own,
            "[[parties]]\noin = \"{}\"\nrole = \"{role}\"\nname = \"{role}\"\ncontact = \"x@x.example\"\n\
             signing_keys = [\"{key}\"]",
            oin(number)
        );
    }
    let model = read("model.toml");
    let parts = [Part { name: "model.toml", text: &model }, Part { name: "own.toml", text: &own }];
    let covenant = Covenant::from_toml_parts(&parts, &mut |name| Ok(read(name))).unwrap();
    let compiled = Arc::new(Compiled::new(covenant).unwrap());
    let at = NOW.minus(Span::days(1));
    let cast = |number| {
        let (covenant, party, word) = (compiled.hash(), oin(number), Word::Accept);
        let vote = Vote { format: 1, covenant, party, word, issued: at, reason: String::new() };
        Cast { vote: Bytes(vote.sign(&signer(number))), at }
    };
    Input::Covenant { had: (0, 0), casts: (1..=4).map(cast).collect(), compiled, rotations: vec![] }
}

/// The log, and the key that signs it.
struct Log {
    tree: BatchTree,
    key: LogKey,
    signer: SigningKey,
}

impl Log {
    fn new() -> Self {
        let public = ed25519_dalek::SigningKey::from_bytes(&[99; 32]).verifying_key();
        let key = LogKey { origin: ORIGIN.into(), key: VerifierKey::new(ORIGIN, public).unwrap() };
        let mut log = Self { tree: BatchTree::default(), key, signer: SigningKey::from_seed(&[99; 32]) };
        log.append(&Entry::new(Kind::Start, NOW, [0; 16]));
        log
    }

    fn append(&mut self, entry: &Entry) -> (u64, Vec<u8>) {
        let bytes = entry.to_bytes().unwrap();
        (self.tree.append(leaf_hash(&bytes)).unwrap(), bytes)
    }

    fn checkpoint(&self) -> Bytes {
        let head = Checkpoint::new(ORIGIN, self.tree.size(), self.tree.root()).unwrap();
        let note = head.sign_with(&self.key.key, |bytes| self.signer.sign(bytes)).unwrap();
        Bytes(note.to_string().into_bytes())
    }

    fn welcome(&self) -> Input {
        Input::Connected(Box::new(Welcome {
            version: VERSION,
            software: "broker/1".into(),
            origin: ORIGIN.into(),
            log_key: succession::log_key(ORIGIN, &self.key).unwrap().key.to_string(),
            now: NOW,
            checkpoint: self.checkpoint(),
            agreements: vec![],
        }))
    }

    /// Accepts packets in one turn.
    fn accept(&mut self, packets: &[Arc<[u8]>]) -> Told {
        let entries: Vec<_> = packets.iter().map(|bytes| self.append(&entry(bytes))).collect();
        let checkpoint = self.checkpoint();
        let told = packets.iter().zip(entries).map(|(bytes, (index, entry))| {
            let path = self.tree.inclusion_proof(index).unwrap();
            let entries = vec![ProvedEntry { index, entry: Bytes(entry), path }];
            let receipt = Receipt { version: 1, checkpoint: checkpoint.clone(), entries }.to_bytes();
            let receipt = Bytes(receipt);
            let packet = Packet::parse(bytes).unwrap().digest();
            let verdict = Verdict { packet, outcome: 0, receipt: receipt.clone() };
            let offer = Offer { packet: Bytes::from(&bytes[..]), receipt };
            (Input::Verdict(verdict), Input::Offer(Box::new(offer)))
        });
        told.unzip()
    }
}

fn entry(bytes: &[u8]) -> Entry {
    let packet = Packet::parse(bytes).unwrap();
    let context = packet.context();
    let mut entry = Entry::new(Kind::Accepted, NOW, [1; 16]);
    entry.msg_id = Some(context.msg_id);
    entry.from = Some(context.sender);
    entry.to = Some(oin(TOWN));
    entry.packet = Some(packet.digest());
    entry.statement = Some(packet.statement_digest());
    entry.covenant = Some(context.covenant);
    entry.flow = Some(context.flow.clone());
    entry.case = context.case;
    entry.recipients = Some(1);
    entry
}

/// An agent's core and what is lent to it.
struct Agent {
    core: Core,
    toy: Toy,
    signer: SigningKey,
}

impl Agent {
    fn new(number: u8, log: &LogKey) -> Self {
        Self {
            core: Core::new(Settings { oin: oin(number), log: log.clone() }),
            toy: Toy::starting(u64::from(number) << 32),
            signer: signer(number),
        }
    }

    /// One turn and its rows, which would be flushed.
    fn turn(&mut self, inputs: Vec<Input>) -> Turn {
        let ports = Ports {
            crypto: &self.toy,
            chance: &self.toy,
            locker: &self.toy,
            signer: &self.signer,
            next: None,
            recording: None,
            witness: None,
        };
        let mut turn = Turn::default();
        for input in inputs {
            self.core.handle(input, NOW, ports, &mut turn);
        }
        self.core.finish(NOW, ports, &mut turn);
        for write in &turn.writes {
            black_box(write.row());
        }
        turn
    }
}

/// The two agents, connected, and the sender with the recipient's prekeys.
fn partnership() -> (Log, Agent, Agent) {
    let log = Log::new();
    let [mut town, mut youth] = [TOWN, YOUTH].map(|number| Agent::new(number, &log.key));
    let mut bundle = Vec::new();
    let mut asked = 0;
    for agent in [&mut town, &mut youth] {
        let mut sends = agent.turn(vec![accepted(), Input::Tick]).sends;
        sends.extend(agent.turn(vec![log.welcome()]).sends);
        for send in sends {
            if let Send::Publish { seq, bundle: own } = send {
                agent.turn(vec![Input::Published(seq)]);
                if bundle.is_empty() {
                    bundle = own;
                }
            } else if let Send::FetchPrekeys(number, _) = send {
                asked = number;
            }
        }
    }
    youth.turn(vec![Input::Prekeys(asked, vec![(oin(TOWN), Bytes(bundle))])]);
    (log, town, youth)
}

/// The pushes of so many turns.
fn requests(rounds: usize) -> Vec<Vec<Input>> {
    let text = read(SAMPLE);
    let (_, body) = text.split_once("\"body\": ").unwrap();
    let body = body.trim_end().strip_suffix('}').unwrap().trim_end().as_bytes();
    let push = |number: u64| {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        let plain = PushRequest::new(MsgId(id), "F01", vec![Target::Oin(oin(TOWN))], body.to_vec());
        let request = PushRequest { step: Some(Step::S1), ..plain };
        Input::Push { token: number, request: Box::new(request) }
    };
    let turns = 0..u64::try_from(rounds).unwrap();
    turns.map(|turn| (1..=TURN).map(|at| push(turn * TURN + at)).collect()).collect()
}

/// The packets that a turn submits.
fn submitted(turn: &Turn) -> Vec<Arc<[u8]>> {
    assert!(turn.sends.iter().any(|send| matches!(send, Send::Submit { .. })), "sealed and sent");
    turn.blobs.iter().map(|(_, bytes)| Arc::clone(bytes)).collect()
}

fn pushes(rounds: usize) -> Round {
    let (_, _, mut youth) = partnership();
    let mut requests = requests(rounds);
    Box::new(move |round| {
        let turn = black_box(youth.turn(std::mem::take(&mut requests[round])));
        assert_eq!(u64::try_from(turn.blobs.len()), Ok(TURN), "all are sealed");
    })
}

/// What is told of a turn's packets: to their sender, and to their recipient.
type Told = (Vec<Input>, Vec<Input>);

/// Everything that is told of so many turns, and the two that are told: the recipient first.
fn exchanged(rounds: usize) -> (Agent, Agent, Vec<Told>) {
    let (mut log, town, mut youth) = partnership();
    let told = requests(rounds).into_iter().map(|requests| {
        let packets = submitted(&youth.turn(requests));
        log.accept(&packets)
    });
    let told = told.collect();
    (town, youth, told)
}

fn verdicts(rounds: usize) -> Round {
    let (_, mut youth, mut told) = exchanged(rounds);
    Box::new(move |round| {
        let turn = black_box(youth.turn(std::mem::take(&mut told[round].0)));
        assert_eq!(u64::try_from(turn.drops.len()), Ok(TURN), "all packets are let go");
    })
}

fn offers(rounds: usize) -> Round {
    let (mut town, _, mut told) = exchanged(rounds);
    Box::new(move |round| {
        let turn = black_box(town.turn(std::mem::take(&mut told[round].1)));
        let good = |write: &&Write| matches!(write, Write::Inbox(_, row) if row.outcome == 0);
        let good = turn.writes.iter().filter(good).count();
        assert_eq!(u64::try_from(good), Ok(TURN), "all are taken in");
    })
}
