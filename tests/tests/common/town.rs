//! One partnership with a running broker, shared by tests of one file that attack it one at a time.
//!
//! There are no agents: tests speak for every organisation by hand, so that what waits at the broker is
//! exactly what a test let in.

use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use seinhuis_agent::hpke::AwsHpke;
use seinhuis_shared::case::Act;
use seinhuis_shared::covenant::agreement::{Vote, Word};
use seinhuis_shared::covenant::{Compiled, Step};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::frame;
use seinhuis_shared::ids::{CaseId, Digest, Oin};
use seinhuis_shared::packet::{self, Packet};
use seinhuis_shared::prekey::PrekeyPublic;
use seinhuis_shared::receipt::{CheckpointCache, Receipt, VerifiedReceipt};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::wire::{Acknowledged, Acknowledgement, Offer, Verdict};
use seinhuis_shell::{clock, covenants};
use seinhuis_tests::forge::{self, Lock};
use seinhuis_tests::process::Program;
use seinhuis_tests::raw::{Over, RawError};
use seinhuis_tests::samples::{self, Sample};
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Forge, Member, Process, Programs, Raw, Stage, process};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Roles with an organisation of their own; those after the first three are for tests that do them harm.
const CAST: [&str; 8] = ["gemeente", "politie", "jongerenwerk", "om", "boa", "zvh", "pga", "lokaal_team"];

pub(crate) struct Town {
    pub(crate) stage: Stage,
    pub(crate) runtime: Runtime,
    /// The prekey of every recipient here.
    pub(crate) lock: Lock,
    /// What its members connect over.
    over: Over,
    broker: Process,
}

/// A town of a file's own, with which its tests deal one at a time.
pub(crate) struct Square(LazyLock<Mutex<Town>>);

impl Square {
    /// One whose town is founded when a test first comes.
    pub(crate) const fn new() -> Self {
        Self(LazyLock::new(|| Mutex::new(Town::found())))
    }

    /// The town, for this test alone until it lets go.
    pub(crate) fn town(&self) -> MutexGuard<'_, Town> {
        self.town_over(Over::Quic)
    }

    /// As [`Self::town`], with members that connect over this.
    pub(crate) fn town_over(&self, over: Over) -> MutexGuard<'_, Town> {
        // A test that failed says nothing about the next.
        let mut town = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        town.over = over;
        town
    }
}

impl Town {
    fn found() -> Self {
        // Removed by the broker's leash when this process ends.
        let dir = tempfile::Builder::new().prefix("seinhuis-").tempdir().unwrap().keep();
        let programs = Programs(PathBuf::from(env!("CARGO_BIN_EXE_seinhuis-node")));
        let stage = Stage::unwatched(programs, &dir, &CAST).unwrap_or_else(|error| panic!("{error}"));
        stage.fall_back("").unwrap_or_else(|error| panic!("{error}"));
        let home = stage.broker_home().to_string_lossy().into_owned();
        let mut broker = stage
            .programs
            .start_leashed(Program::Broker, ["--home", &home, "run"], &stage.log_of("broker"), &dir)
            .unwrap();
        process::until("the broker answers", PATIENCE, || {
            !broker.runs()
                || (stage.broker_home().join("broker.sock").exists() && stage.broker(&["status"]).is_ok())
        })
        .unwrap();
        assert!(broker.runs(), "{}", std::fs::read_to_string(stage.log_of("broker")).unwrap_or_default());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { stage, runtime, lock: Lock::make().unwrap(), over: Over::Quic, broker }
    }

    pub(crate) fn member(&self, role: &str) -> &Member {
        self.stage.member(role)
    }

    pub(crate) fn oin(&self, role: &str) -> Oin {
        self.member(role).oin.parse().unwrap()
    }

    pub(crate) fn forge(&self, role: &str) -> Forge {
        Forge::of(&self.stage, self.member(role)).unwrap()
    }

    /// Connects as a member. A connection that a test before this one left may still be counted.
    pub(crate) fn open(&self, role: &str) -> Raw {
        let home = &self.member(role).home;
        for _ in 0..50 {
            match self.runtime.block_on(Raw::open_over(self.over, home)) {
                Ok(raw) => return raw,
                Err(RawError::Refused(Refusal::AlreadyConnected)) => {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
                Err(error) => panic!("{role} cannot connect: {error:?}"),
            }
        }
        panic!("connections of {role} never end");
    }

    /// How things stand at the broker.
    pub(crate) fn status(&self) -> Value {
        self.stage.broker(&["status"]).unwrap()
    }

    /// Entries in the log.
    pub(crate) fn log_size(&self) -> u64 {
        self.status()["log"]["size"].as_u64().unwrap()
    }

    /// Packets waiting for anybody.
    pub(crate) fn waiting(&self) -> u64 {
        let status = self.status();
        status["queues"].as_array().unwrap().iter().map(|queue| queue["packets"].as_u64().unwrap()).sum()
    }

    /// The entry with this index, as the broker's operator sees it.
    pub(crate) fn entry(&self, index: u64) -> Entry {
        let from_end = self.log_size() - index;
        self.stage.log_tail(from_end).unwrap().remove(0)
    }

    /// The last entry.
    pub(crate) fn last_entry(&self) -> Entry {
        self.stage.log_tail(1).unwrap().remove(0)
    }

    /// A right packet under the flow F02, from the police to the municipality.
    pub(crate) fn packet(&self) -> Vec<u8> {
        self.edited(|_| ())
    }

    /// The same with a change that the police sign.
    pub(crate) fn edited(&self, edit: impl FnOnce(&mut packet::Context)) -> Vec<u8> {
        self.forge("politie").packet(&sample("F02"), &self.to("gemeente"), edit).unwrap()
    }

    /// A member as the one recipient.
    pub(crate) fn to(&self, role: &str) -> [(Oin, &PrekeyPublic); 1] {
        [(self.oin(role), &self.lock.public)]
    }

    /// Submits as the police what has to be refused.
    pub(crate) fn refuses(&self, packet: &[u8], refusal: Refusal) -> VerifiedReceipt {
        let mut raw = self.open("politie");
        let receipt = self.refuses_on(&mut raw, "politie", packet, refusal);
        self.runtime.block_on(raw.close());
        receipt
    }

    /// Submits on an open session what has to be refused: the verdict has the number, its receipt proves
    /// the entry, the operator sees the same entry, and nothing waits for anybody.
    pub(crate) fn refuses_on(
        &self,
        raw: &mut Raw,
        role: &str,
        packet: &[u8],
        refusal: Refusal,
    ) -> VerifiedReceipt {
        let waiting = self.waiting();
        let (verdict, receipt) = self.runtime.block_on(raw.verdict(packet)).unwrap();
        assert_eq!(Refusal::from_number(verdict.outcome), Some(refusal));
        assert_eq!(verdict.packet, sha256(packet));
        receipt.says_refused(&sha256(packet), &self.oin(role), refusal.number()).unwrap();
        let (index, entry) = &receipt.entries[0];
        assert_eq!(&self.entry(*index), entry, "the operator sees what the receipt proves");
        assert_eq!(self.waiting(), waiting, "nothing waits for anybody");
        receipt
    }

    /// Submits what has to be accepted.
    pub(crate) fn accepts_on(&self, raw: &mut Raw, packet: &[u8]) -> (Verdict, VerifiedReceipt) {
        let (verdict, receipt) = self.runtime.block_on(raw.verdict(packet)).unwrap();
        assert_eq!(verdict.outcome, 0, "{:?}", Refusal::from_number(verdict.outcome));
        receipt.says_accepted(&Packet::parse(packet).unwrap()).unwrap();
        (verdict, receipt)
    }

    /// Takes one delivery, checks its receipt, opens it, and acknowledges it; gives the body.
    pub(crate) fn receives(&self, raw: &mut Raw, role: &str, packet: &[u8]) -> Vec<u8> {
        let offer = self.runtime.block_on(raw.offer()).unwrap();
        assert_eq!(offer.packet.0, packet, "the very bytes that were submitted");
        let body = self.read(raw, role, &offer);
        let acknowledgement = self.acknowledgement(role, &offer);
        self.runtime.block_on(raw.acknowledge(&acknowledgement.sign(&self.forge(role).key))).unwrap();
        process::until("the acknowledgement is logged", PATIENCE, || {
            let digest = sha256(packet);
            let tail = self.stage.log_tail(20).unwrap();
            tail.iter().any(|entry| entry.kind == Kind::Delivered && entry.packet == Some(digest))
        })
        .unwrap();
        body
    }

    fn read(&self, raw: &Raw, role: &str, offer: &Offer) -> Vec<u8> {
        let parsed = Packet::parse(&offer.packet).unwrap();
        let receipt = Receipt::parse(&offer.receipt).unwrap();
        let receipt = receipt.verify(raw.log(), &mut CheckpointCache::default()).unwrap();
        receipt.says_accepted_for(&parsed, &self.oin(role)).unwrap();
        let key = self.forge(role).covenant;
        let key = key.signing_key(parsed.context().sender, parsed.context().signer).unwrap();
        let verified = parsed.verify(key).unwrap();
        let find = |id| (id == self.lock.public.id()).then_some(&self.lock.secret);
        packet::open(&AwsHpke, &verified, &self.oin(role), find).unwrap().body
    }

    /// That a member has stored a packet that it was offered.
    pub(crate) fn acknowledgement(&self, role: &str, offer: &Offer) -> Acknowledgement {
        let msg_id = Packet::parse(&offer.packet).unwrap().context().msg_id;
        let link = leaf_hash(&Receipt::parse(&offer.receipt).unwrap().entries[0].entry);
        Acknowledgement {
            recipient: self.oin(role),
            issued: clock::now(),
            items: vec![Acknowledged::stored(msg_id, sha256(&offer.packet), 0, link)],
        }
    }

    /// A right packet still goes all the way, and the log still holds.
    pub(crate) fn still_works(&self) {
        let packet = self.packet();
        let (mut police, mut municipality) = (self.open("politie"), self.open("gemeente"));
        self.accepts_on(&mut police, &packet);
        let body = self.receives(&mut municipality, "gemeente", &packet);
        assert_eq!(body, forge::body(&sample("F02")));
        assert_eq!(self.waiting(), 0, "nothing else waits");
        assert!(self.stage.broker(&["log", "verify"]).unwrap()["checked"].as_u64().unwrap() > 0);
        self.runtime.block_on(police.close());
        self.runtime.block_on(municipality.close());
    }

    /// Another covenant that everybody signed: the partnership's with `edit` applied to its text.
    pub(crate) fn covenant(&self, name: &str, edit: impl FnOnce(String) -> String) -> Compiled {
        let text = std::fs::read_to_string(self.stage.dir.join("partnership.toml")).unwrap();
        let part = self.stage.dir.join(name);
        let own = format!("id = \"{}\"", name.trim_end_matches(".toml"));
        std::fs::write(&part, edit(text.replace("id = \"voorbeeldstad-jeugdgroepen\"", &own))).unwrap();
        let model = samples::covenants().join("model.toml");
        self.stage.broker(&["covenant", "load", &model.to_string_lossy(), &part.to_string_lossy()]).unwrap();
        let compiled = Compiled::new(covenants::load(&[model, part]).unwrap()).unwrap();
        for member in &self.stage.members {
            self.sign(member.role, compiled.hash());
        }
        compiled
    }

    /// A member accepts a covenant.
    fn sign(&self, role: &str, covenant: Digest) {
        let party = self.oin(role);
        let (word, issued, reason) = (Word::Accept, clock::now(), String::new());
        let vote = Vote { format: 1, covenant, party, word, issued, reason }.sign(&self.forge(role).key);
        // Who is revoked by a test before this one has no say any more.
        let Ok(raw) = self.runtime.block_on(Raw::open(&self.member(role).home)) else { return };
        self.runtime.block_on(raw.request(frame::Kind::Vote, &vote, frame::Kind::Done)).unwrap();
        self.runtime.block_on(raw.close());
    }

    /// A fresh case that the municipality moves through the steps up to `until`, by hand; its decisions.
    pub(crate) fn case(&self, until: Step) -> (CaseId, Vec<Vec<u8>>) {
        let raw = self.open("gemeente");
        let opened = self.runtime.block_on(self.forge("gemeente").open_case(&raw, until)).unwrap();
        self.runtime.block_on(raw.close());
        opened
    }

    /// A member decides something about a case, following on `chain`.
    pub(crate) fn decides(
        &self,
        role: &str,
        case: CaseId,
        chain: &mut Vec<Vec<u8>>,
        act: Act,
    ) -> Result<(), Refusal> {
        let decision = self.forge(role).decision(case, chain, act);
        self.asks(role, frame::Kind::Decide, &decision, frame::Kind::Done)?;
        chain.push(decision);
        Ok(())
    }

    /// One request of a member, by hand.
    pub(crate) fn asks(
        &self,
        role: &str,
        kind: frame::Kind,
        payload: &[u8],
        answer: frame::Kind,
    ) -> Result<Vec<u8>, Refusal> {
        let raw = self.open(role);
        let answered = self.runtime.block_on(raw.request(kind, payload, answer));
        self.runtime.block_on(raw.close());
        answered.map_err(|error| error.refusal().unwrap_or_else(|| panic!("{error:?}")))
    }

    /// Whether the broker's process is still the one that was started.
    pub(crate) fn stands(&mut self) -> bool {
        self.broker.runs()
    }
}

/// The sample of a flow.
pub(crate) fn sample(flow: &str) -> Sample {
    samples::all().unwrap().into_iter().find(|sample| sample.flow == flow).unwrap()
}
