//! A partnership in memory for tests: the model covenant with four parties, a broker that keeps a real
//! tree, toy encryption, and agents whose rows survive a restart.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use seinhuis_shared::acknowledgement::Part as Told;
use seinhuis_shared::case::{Act, CaseDecision};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::cose::{EK_LEN, WRAPPED_LEN};
use seinhuis_shared::covenant::agreement::{Cast, Vote, Word};
use seinhuis_shared::covenant::{Compiled, Covenant, Part, Step};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shared::packet::{Hpke, HpkeError, Packet};
use seinhuis_shared::prekey::{PUBLIC_LEN, PrekeyPublic, PrekeySecret};
use seinhuis_shared::receipt::{LogKey, ProvedEntry, Receipt};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::{Rotated, Rotation};
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::succession::{self, Cause};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shared::tlog::subset::subset_proof;
use seinhuis_shared::tlog::tree::{BatchTree, consistency_proof};
use seinhuis_shared::wire::{
    self, Acknowledged, Acknowledgement, Decided, Entries, Notices, Offer, VERSION, Verdict, Welcome,
};
use zeroize::Zeroizing;

use crate::rows::table;
use crate::{
    Chance, Core, Crypto, Event, Input, Locker, Ports, Pseudonyms, PushRequest, Pushed, Recording, Rejection,
    Release, Send, Settings, Stage, Target, Turn,
};

pub(crate) const ORIGIN: &str = "broker.example/uitwisseling/2026";
/// The case of the tests.
pub(crate) const CASE: CaseId = CaseId([7; 16]);
pub(crate) const NOW: Timestamp = Timestamp(1_780_000_000_000);

pub(crate) fn after(span: Span) -> Timestamp {
    NOW.plus(span)
}

/// Organisations by number: 1 municipality, 2 police, 3 youth work, 4 enforcement officers.
pub(crate) fn oin(number: u8) -> Oin {
    format!("0000009900000000{number}000").parse().unwrap()
}

pub(crate) fn signer(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

/// With which an organisation cosigns the log.
pub(crate) fn witness(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number + 100; 32])
}

fn folder() -> String {
    format!("{}/../../covenants", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", folder())).unwrap()
}

/// The model covenant between the four with a witness key for each: two of them have to cosign.
pub(crate) static WATCHED: LazyLock<Arc<Compiled>> = LazyLock::new(|| {
    let mut covenant = COVENANT.covenant().clone();
    for (number, party) in (1..).zip(&mut covenant.parties) {
        party.witness_key = Some(Bytes(witness(number).public().to_bytes().to_vec()));
    }
    covenant.id = "watched".into();
    Arc::new(Compiled::new(covenant).unwrap())
});

/// The model covenant between the four, valid between these dates.
pub(crate) fn covenant(version: u32, from: &str, until: &str) -> Arc<Compiled> {
    use std::fmt::Write as _;
    let mut own = format!(
        "[partnership]\nid = \"test\"\nversion = {version}\ntitle = \"Test\"\nowner = \"{}\"\nvalid_from = \"{from}\"\nvalid_until = \"{until}\"\nevaluation = \"{from}\"\ncontact = \"x@x.example\"\n",
        oin(1)
    );
    if version > 1 {
        let version = u8::try_from(version).unwrap();
        _ = writeln!(own, "previous = \"{}\"", Digest([version; 32]));
    }
    for (number, role) in [(1, "gemeente"), (2, "politie"), (3, "jongerenwerk"), (4, "boa")] {
        let key = data_encoding::HEXLOWER.encode(&signer(number).public().to_bytes());
        _ = writeln!(
            own,
            "[[parties]]\noin = \"{}\"\nrole = \"{role}\"\nname = \"{role}\"\ncontact = \"x@x.example\"\nsigning_keys = [\"{key}\"]",
            oin(number)
        );
    }
    let model = read("model.toml");
    let parts = [Part { name: "model.toml", text: &model }, Part { name: "own.toml", text: &own }];
    let covenant = Covenant::from_toml_parts(&parts, &mut |name| Ok(read(name))).unwrap();
    Arc::new(Compiled::new(covenant).unwrap())
}

pub(crate) static COVENANT: LazyLock<Arc<Compiled>> =
    LazyLock::new(|| covenant(1, "2026-01-01", "2028-01-01"));

/// A party's word about a version, as the broker logged it.
pub(crate) fn cast(compiled: &Compiled, number: u8, word: Word, at: Timestamp) -> Cast {
    let vote = Vote {
        format: 1,
        covenant: compiled.hash(),
        party: oin(number),
        word,
        issued: at,
        reason: String::new(),
    };
    Cast { vote: Bytes(vote.sign(&signer(number))), at }
}

/// The rotation of an organisation's first key to another, as the broker logged it.
pub(crate) fn rotated(number: u8, new: &SigningKey, at: Timestamp) -> Rotated {
    let old = signer(number);
    let rotation = Rotation {
        party: oin(number),
        seq: 1,
        previous: None,
        old: old.public(),
        new: new.public(),
        issued: at,
    };
    Rotated { rotation: Bytes(rotation.sign(&old, new)), at }
}

/// A version that all four accepted.
pub(crate) fn accepted(compiled: &Arc<Compiled>) -> Input {
    let at = NOW.minus(Span::days(1));
    let casts = (1..=4).map(|number| cast(compiled, number, Word::Accept, at)).collect();
    Input::Covenant { compiled: Arc::clone(compiled), casts, rotations: vec![] }
}

/// The body of a sample.
pub(crate) fn sample(name: &str) -> Vec<u8> {
    let text = read(&format!("samples/{name}"));
    let (_, body) = text.split_once("\"body\": ").unwrap();
    body.trim_end().strip_suffix('}').unwrap().trim_end().as_bytes().to_vec()
}

pub(crate) const SIGNAL: &str = "01-F01-jongerenwerk-signaal.json";
pub(crate) const REQUEST: &str = "04-F04-verzoek-aan-drie-partijen.json";

/// A push on F01 (youth work to municipality), with an id of its own.
pub(crate) fn signal(id: u8) -> PushRequest {
    request(id, "F01", &[1], SIGNAL)
}

/// A push on F04 (municipality to police, youth work, officers).
pub(crate) fn inquiry(id: u8, to: &[u8]) -> PushRequest {
    request(id, "F04", to, REQUEST)
}

pub(crate) fn request(id: u8, flow: &str, to: &[u8], body: &str) -> PushRequest {
    PushRequest {
        msg_id: MsgId([id; 16]),
        flow: flow.into(),
        to: to.iter().map(|number| Target::Oin(oin(*number))).collect(),
        step: Some(Step::S1),
        case: None,
        message_type: None,
        basis: None,
        covenant: None,
        ttl: None,
        in_reply_to: None,
        trace: None,
        source: None,
        handling: None,
        body: sample(body),
    }
}

/// Encryption that keeps keys apart and hides nothing; chance is a counter. Says whether locking fails.
#[derive(Debug, Default)]
pub(crate) struct Toy(Cell<u64>, Cell<bool>);

impl Toy {
    fn next(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }
}

impl Chance for Toy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let random = sha256(&self.next().to_be_bytes());
            chunk.copy_from_slice(&random.0[..chunk.len()]);
        }
    }
}

fn pad(public: &[u8], info: &[u8], ek: &[u8]) -> [u8; 32] {
    sha256(&[public, info, ek].concat()).0
}

impl Hpke for Toy {
    fn seal(
        &self,
        recipient: &PrekeyPublic,
        info: &[u8],
        key: &[u8; 32],
    ) -> Result<([u8; EK_LEN], [u8; WRAPPED_LEN]), HpkeError> {
        let mut ek = [0; EK_LEN];
        ek[..8].copy_from_slice(&self.next().to_be_bytes());
        let pad = pad(recipient.as_bytes(), info, &ek);
        let mut wrapped = [0; WRAPPED_LEN];
        for (at, byte) in key.iter().enumerate() {
            wrapped[at] = byte ^ pad[at];
        }
        wrapped[32..].copy_from_slice(&sha256(&pad).0[..16]);
        Ok((ek, wrapped))
    }

    fn open(
        &self,
        secret: &PrekeySecret,
        ek: &[u8],
        info: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, HpkeError> {
        let pad = pad(&secret.0, info, ek);
        if wrapped[32..] != sha256(&pad).0[..16] {
            return Err(HpkeError);
        }
        let mut key = Zeroizing::new([0; 32]);
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = wrapped[at] ^ pad[at];
        }
        Ok(key)
    }
}

impl Crypto for Toy {
    fn generate(&self) -> Result<(PrekeySecret, PrekeyPublic), HpkeError> {
        let mut bytes = [0; PUBLIC_LEN];
        self.fill(&mut bytes);
        Ok((PrekeySecret(bytes.to_vec()), PrekeyPublic::from_slice(&bytes).unwrap()))
    }
}

/// No person would call it a pseudonym; equal for equal bytes.
pub(crate) struct ToyNames;

impl Pseudonyms for ToyNames {
    fn pseudonym(&self, bytes: &[u8]) -> Digest {
        sha256(&[b"toy", bytes].concat())
    }
}

impl Locker for Toy {
    fn lock(&self, table: u8, key: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        if self.1.get() {
            return None;
        }
        let tag = sha256(&[&[table], key, plain].concat());
        Some([&tag.0[..8], plain].concat())
    }

    fn unlock(&self, table: u8, key: &[u8], locked: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (_, plain) = locked.split_at_checked(8)?;
        let tag = sha256(&[&[table], key, plain].concat());
        (tag.0[..8] == locked[..8]).then(|| Zeroizing::new(plain.to_vec()))
    }

    fn fingerprint(&self, bytes: &[u8]) -> Digest {
        sha256(bytes)
    }
}

/// An agent with its disk.
pub(crate) struct Node {
    pub(crate) number: u8,
    pub(crate) core: Core,
    pub(crate) rows: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    pub(crate) blobs: BTreeMap<Digest, Arc<[u8]>>,
    pub(crate) sends: Vec<Send>,
    pub(crate) events: Vec<Event>,
    toy: Toy,
    pub(crate) signer: SigningKey,
    /// The key that is to take its place.
    pub(crate) next: Option<SigningKey>,
    /// How processings are recorded: how many at most, and whether what cannot be recorded is refused.
    pub(crate) recording: Option<(usize, bool)>,
    pub(crate) witness: SigningKey,
}

fn recording(how: Option<(usize, bool)>) -> Option<Recording<'static>> {
    how.map(|(most, required)| Recording { pseudonyms: &ToyNames, most, required })
}

fn settings(number: u8) -> Settings {
    Settings { oin: oin(number), log: log_key() }
}

impl Node {
    pub(crate) fn new(number: u8) -> Self {
        let toy = Toy(Cell::new(u64::from(number) << 32), Cell::new(false));
        let mut node = Self {
            number,
            core: Core::new(settings(number)),
            rows: BTreeMap::new(),
            blobs: BTreeMap::new(),
            sends: vec![],
            events: vec![],
            toy,
            signer: signer(number),
            next: None,
            recording: None,
            witness: witness(number),
        };
        node.step([accepted(&COVENANT), Input::Tick], NOW);
        node
    }

    pub(crate) fn ports(&self) -> Ports<'_> {
        Ports {
            crypto: &self.toy,
            chance: &self.toy,
            locker: &self.toy,
            signer: &self.signer,
            next: self.next.as_ref(),
            recording: recording(self.recording),
            witness: Some(&self.witness),
        }
    }

    /// From now on the cipher of the store fails, or works again.
    pub(crate) fn break_lock(&self, broken: bool) {
        self.toy.1.set(broken);
    }

    /// One turn; what it says becomes durable and its sends and events are gathered.
    pub(crate) fn step(&mut self, inputs: impl IntoIterator<Item = Input>, now: Timestamp) -> Turn {
        let mut turn = Turn::default();
        let ports = Ports {
            crypto: &self.toy,
            chance: &self.toy,
            locker: &self.toy,
            signer: &self.signer,
            next: self.next.as_ref(),
            recording: recording(self.recording),
            witness: Some(&self.witness),
        };
        for input in inputs {
            self.core.handle(input, now, ports, &mut turn);
        }
        self.core.finish(now, ports, &mut turn);
        for row in turn.writes.iter().map(crate::Write::row) {
            match row.value {
                Some(value) => self.rows.insert((row.table, row.key), value),
                None => self.rows.remove(&(row.table, row.key)),
            };
        }
        self.blobs.extend(turn.blobs.iter().cloned());
        for digest in &turn.drops {
            self.blobs.remove(digest);
        }
        self.sends.append(&mut turn.sends);
        self.events.append(&mut turn.events);
        turn
    }

    /// A core with nothing but what the disk holds.
    pub(crate) fn restored(&self) -> Core {
        let of_table = |of| self.rows.iter().filter(move |((own, _), _)| *own == of);
        let rows = table::ALL.into_iter().flat_map(of_table);
        let rows = rows.map(|((of, key), value)| (*of, key.as_slice(), value.as_slice()));
        Core::restore(settings(self.number), rows).unwrap()
    }

    /// The process dies and starts again.
    pub(crate) fn restart(&mut self, now: Timestamp) {
        self.core = self.restored();
        self.sends.clear();
        self.events.clear();
        self.step([], now);
    }

    /// This organisation gives up its key for another; the broker logs that.
    pub(crate) fn turn_key(&mut self, now: Timestamp) -> SigningKey {
        let new = signer(40 + self.number);
        self.next = Some(new.clone());
        self.step([Input::Rotate { token: 3, urgent: false }], now);
        let sends = self.take_sends();
        let said = sends.iter().find_map(|send| {
            let Send::Rotate(bytes) = send else { return None };
            Some(bytes.clone())
        });
        self.sends = sends.into_iter().filter(|send| !matches!(send, Send::Rotate(_))).collect();
        let rotated = Rotated { rotation: Bytes(said.unwrap()), at: now };
        self.step([Input::RotationAnswered(Ok(vec![rotated]))], now);
        self.signer = new.clone();
        self.next = None;
        new
    }

    pub(crate) fn push(&mut self, request: PushRequest, now: Timestamp) -> Result<Pushed, Rejection> {
        let turn = self.step([Input::Push { token: 1, request: Box::new(request) }], now);
        turn.replies.into_iter().next().unwrap().result
    }

    /// A person decides about a message that waits.
    pub(crate) fn decide(&mut self, id: u8, approved: bool, now: Timestamp) -> Result<(), Rejection> {
        let reason = "besproken".to_owned();
        let release = Release { msg_id: MsgId([id; 16]), approved, role: "teamchef".into(), reason };
        let turn = self.step([Input::Release { token: 9, release }], now);
        turn.answers.into_iter().next().unwrap().1
    }

    /// Pushes, and has a person approve what waits for that.
    pub(crate) fn pass(&mut self, request: PushRequest, now: Timestamp) -> Result<Pushed, Rejection> {
        let (id, pushed) = (request.msg_id, self.push(request, now)?);
        if pushed.stage != Stage::Held {
            return Ok(pushed);
        }
        self.decide(id.0[0], true, now)?;
        let (position, stage) = self.core.find(&id).unwrap();
        Ok(Pushed { position, stage, ..pushed })
    }

    pub(crate) fn take_sends(&mut self) -> Vec<Send> {
        std::mem::take(&mut self.sends)
    }

    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The packets submitted since the last look, as a broker gets them.
    pub(crate) fn submitted(&mut self) -> Vec<Arc<[u8]>> {
        let blobs = &self.blobs;
        let packets = self.sends.iter().filter_map(|send| {
            let Send::Submit { digest, packet } = send else { return None };
            let stored = Arc::clone(&blobs[digest]);
            assert!(packet.as_ref().is_none_or(|bytes| *bytes == stored), "sent is what is stored");
            Some(stored)
        });
        let packets = packets.collect();
        self.sends.retain(|send| !matches!(send, Send::Submit { .. }));
        packets
    }

    /// What was acknowledged since the last look.
    pub(crate) fn acknowledged(&mut self) -> Vec<Acknowledged> {
        let key = self.core.signer(self.ports()).public();
        let mut items = vec![];
        self.sends.retain(|send| {
            if let Send::Acknowledge(bytes) = send {
                items.extend(Acknowledgement::verify(bytes, &[key]).unwrap().acknowledgement.items);
            }
            !matches!(send, Send::Acknowledge(_))
        });
        items
    }

    pub(crate) fn alarms(&self) -> Vec<crate::AlarmKind> {
        self.core.status(NOW).alarms.iter().map(|alarm| alarm.kind).collect()
    }

    /// The plaintext bodies in the inbox, in order.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        let rows = self.rows.iter().filter(|((of, _), _)| *of == table::BODY);
        rows.map(|((of, key), locked)| self.toy.unlock(*of, key, locked).unwrap().to_vec()).collect()
    }
}

pub(crate) fn log_signer(fill: u8) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[fill; 32])
}

pub(crate) fn log_key() -> LogKey {
    let key = VerifierKey::new(ORIGIN, log_signer(99).verifying_key()).unwrap();
    LogKey { origin: ORIGIN.into(), key }
}

/// A broker that believes everybody, keeps a real tree and forgets nothing.
pub(crate) struct Broker {
    pub(crate) tree: BatchTree,
    entries: Vec<Vec<u8>>,
    verdicts: BTreeMap<Digest, Verdict>,
    pub(crate) mailboxes: BTreeMap<Oin, Vec<Offer>>,
    pub(crate) bundles: BTreeMap<Oin, Bytes>,
    pub(crate) signer: ed25519_dalek::SigningKey,
    pub(crate) origin: String,
    /// The logs that ended, with what is said of what followed.
    pub(crate) closed: BTreeMap<String, (BatchTree, wire::Succession)>,
    pub(crate) cases: BTreeMap<CaseId, Vec<Decided>>,
}

fn consistency(tree: &BatchTree, sizes: &[u64]) -> Vec<Vec<Digest>> {
    sizes.windows(2).map(|pair| consistency_proof(pair[0], pair[1], tree).unwrap()).collect()
}

/// A decision about a case that follows on `chain`, signed by a party.
pub(crate) fn decision(chain: &[Decided], number: u8, act: Act, at: Timestamp) -> Decided {
    let previous = chain.last().map(|last| sha256(&last.decision));
    let decision = CaseDecision {
        format: 1,
        covenant: COVENANT.hash(),
        case: CASE,
        seq: u32::try_from(chain.len()).unwrap(),
        previous,
        party: oin(number),
        act,
        issued: at,
    };
    Decided { decision: Bytes(decision.sign(&signer(number))), at }
}

/// The case that is moved to a step, one second for each.
pub(crate) fn moved(until: Step) -> Vec<Decided> {
    let mut chain = vec![];
    for step in [Step::S1, Step::S2A, Step::S2B, Step::S3].into_iter().take_while(|step| *step <= until) {
        let at = NOW.minus(Span::minutes(1)).plus(Span::seconds(u64::try_from(chain.len()).unwrap()));
        let next = decision(&chain, 1, Act::Step(step), at);
        chain.push(next);
    }
    chain
}

impl Broker {
    pub(crate) fn new() -> Self {
        let mut broker = Self {
            tree: BatchTree::default(),
            entries: vec![],
            verdicts: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            bundles: BTreeMap::new(),
            signer: log_signer(99),
            origin: ORIGIN.into(),
            closed: BTreeMap::new(),
            cases: BTreeMap::new(),
        };
        broker.append(&Entry::new(Kind::Start, NOW, [0; 16]));
        broker
    }

    pub(crate) fn append(&mut self, entry: &Entry) -> u64 {
        let bytes = entry.to_bytes().unwrap();
        let index = self.tree.append(leaf_hash(&bytes)).unwrap();
        self.entries.push(bytes);
        index
    }

    pub(crate) fn checkpoint(&self) -> Bytes {
        let checkpoint = Checkpoint::new(&self.origin, self.tree.size(), self.tree.root()).unwrap();
        Bytes(checkpoint.sign(&self.signer).unwrap().to_string().into_bytes())
    }

    pub(crate) fn receipt(&self, indexes: &[u64]) -> Bytes {
        let entries = indexes
            .iter()
            .map(|index| ProvedEntry {
                index: *index,
                entry: Bytes(self.entries[usize::try_from(*index).unwrap()].clone()),
                path: self.tree.inclusion_proof(*index).unwrap(),
            })
            .collect();
        Bytes(Receipt { version: 1, checkpoint: self.checkpoint(), entries }.to_bytes())
    }

    /// What the log says of packets, proved together, with what recipients signed.
    pub(crate) fn notices(&self, indexes: &[u64], parts: Vec<Told>) -> Notices {
        let mut proof = Vec::new();
        let size = self.tree.size();
        subset_proof(indexes.iter().copied(), size, &self.tree, &mut |hash| proof.push(hash)).unwrap();
        let entry = |index: &u64| Bytes(self.entries[usize::try_from(*index).unwrap()].clone());
        Notices {
            cursor: indexes[0],
            checkpoint: self.checkpoint(),
            entries: indexes.iter().map(entry).collect(),
            indexes: indexes.to_vec(),
            proof,
            parts,
        }
    }

    /// Entries that were asked for.
    pub(crate) fn proved(&self, indexes: &[u64], next: Option<u64>) -> Entries {
        let one = |index: &u64| ProvedEntry {
            index: *index,
            entry: Bytes(self.entries[usize::try_from(*index).unwrap()].clone()),
            path: self.tree.inclusion_proof(*index).unwrap(),
        };
        Entries { checkpoint: self.checkpoint(), entries: indexes.iter().map(one).collect(), next }
    }

    /// Logs what became of a packet of which `accepted` is the accepted entry's index.
    pub(crate) fn log(
        &mut self,
        kind: Kind,
        accepted: u64,
        statement: Option<Digest>,
        now: Timestamp,
    ) -> u64 {
        let bytes = &self.entries[usize::try_from(accepted).unwrap()];
        let accepted = Entry::parse(bytes).unwrap();
        let mut entry = Entry::new(kind, now, [4; 16]);
        entry.msg_id = accepted.msg_id;
        entry.from = accepted.from;
        entry.to = accepted.to;
        entry.packet = accepted.packet;
        entry.covenant = accepted.covenant;
        entry.flow = accepted.flow;
        entry.case = accepted.case;
        entry.statement = statement;
        self.append(&entry)
    }

    /// The hash of an entry.
    pub(crate) fn leaf(&self, index: u64) -> Digest {
        leaf_hash(&self.entries[usize::try_from(index).unwrap()])
    }

    pub(crate) fn welcome(&self, now: Timestamp) -> Welcome {
        Welcome {
            version: VERSION,
            software: "test".into(),
            origin: self.origin.clone(),
            log_key: succession::log_key(&self.origin, &log_key()).unwrap().key.to_string(),
            now,
            checkpoint: self.checkpoint(),
            agreements: vec![],
        }
    }

    /// Ends the log and begins the one of `origin`.
    pub(crate) fn succeed(&mut self, origin: &str, cause: Cause, now: Timestamp) {
        let mut closing = Entry::new(Kind::Closing, now, [2; 16]);
        closing.detail = Some(cause.as_str().into());
        closing.statement = Some(succession::naming(origin));
        let index = self.append(&closing);
        let last = Checkpoint::new(&self.origin, self.tree.size(), self.tree.root()).unwrap();
        let closing = self.receipt(&[index]);
        let old = core::mem::replace(&mut self.origin, origin.into());
        let tree = core::mem::take(&mut self.tree);
        self.entries.clear();
        let mut opening = Entry::new(Kind::Opening, now, [3; 16]);
        opening.detail = Some(cause.as_str().into());
        opening.statement = Some(succession::binding(&last));
        self.append(&opening);
        let opening = self.receipt(&[0]);
        let answer = wire::Succession { origin: origin.into(), closing, opening, proof: vec![] };
        self.closed.insert(old, (tree, answer));
    }

    pub(crate) fn succession(&self, origin: &str, size: u64) -> Option<wire::Succession> {
        let (tree, answer) = self.closed.get(origin)?;
        let proof = consistency_proof(size, tree.size(), tree).unwrap_or_default();
        Some(wire::Succession { proof, ..answer.clone() })
    }

    pub(crate) fn accepted_entry(packet: &Packet, to: Oin, now: Timestamp) -> Entry {
        let context = packet.context();
        let mut entry = Entry::new(Kind::Accepted, now, [1; 16]);
        entry.msg_id = Some(context.msg_id);
        entry.from = Some(context.sender);
        entry.to = Some(to);
        entry.packet = Some(packet.digest());
        entry.statement = Some(packet.statement_digest());
        entry.covenant = Some(context.covenant);
        entry.flow = Some(context.flow.clone());
        entry.case = context.case;
        entry.recipients = u64::try_from(context.recipients.len()).ok();
        entry
    }

    /// Accepts a packet, once: the same bytes get the same verdict.
    pub(crate) fn accept(&mut self, bytes: &[u8], now: Timestamp) -> Verdict {
        let packet = Packet::parse(bytes).unwrap();
        if let Some(verdict) = self.verdicts.get(&packet.digest()) {
            return verdict.clone();
        }
        let recipients = packet.context().recipient_oins();
        let indexes: Vec<u64> =
            recipients.iter().map(|to| self.append(&Self::accepted_entry(&packet, *to, now))).collect();
        for (to, index) in recipients.iter().zip(&indexes) {
            let offer = Offer { packet: Bytes::from(bytes), receipt: self.receipt(&[*index]) };
            self.mailboxes.entry(*to).or_default().push(offer);
        }
        let verdict = Verdict { packet: packet.digest(), outcome: 0, receipt: self.receipt(&indexes) };
        self.verdicts.insert(packet.digest(), verdict.clone());
        verdict
    }

    pub(crate) fn refuse(&mut self, bytes: &[u8], sender: Oin, refusal: Refusal, now: Timestamp) -> Verdict {
        let mut entry = Entry::new(Kind::Refused, now, [2; 16]);
        entry.from = Some(sender);
        entry.packet = Some(sha256(bytes));
        entry.reason = Some(refusal.number());
        let index = self.append(&entry);
        Verdict { packet: sha256(bytes), outcome: refusal.number(), receipt: self.receipt(&[index]) }
    }

    /// An offer of any bytes to `to`, with an entry that really is in the log.
    pub(crate) fn offer(&mut self, bytes: &[u8], to: Oin, now: Timestamp) -> Offer {
        let entry = if let Ok(packet) = Packet::parse(bytes) {
            Self::accepted_entry(&packet, to, now)
        } else {
            let mut entry = Entry::new(Kind::Accepted, now, [3; 16]);
            entry.msg_id = Some(MsgId([200; 16]));
            entry.to = Some(to);
            entry.packet = Some(sha256(bytes));
            entry
        };
        let index = self.append(&entry);
        Offer { packet: Bytes::from(bytes), receipt: self.receipt(&[index]) }
    }

    /// Opens a session and answers requests until the agent has no more.
    pub(crate) fn connect(&mut self, node: &mut Node, now: Timestamp) {
        node.step([Input::Connected(Box::new(self.welcome(now)))], now);
        self.serve(node, now);
    }

    /// Answers requests for prekeys, proofs and cases.
    pub(crate) fn serve(&mut self, node: &mut Node, now: Timestamp) {
        loop {
            let (requests, rest): (Vec<Send>, Vec<Send>) = node.take_sends().into_iter().partition(|send| {
                matches!(
                    send,
                    Send::Publish { .. }
                        | Send::FetchPrekeys(_)
                        | Send::FetchConsistency(..)
                        | Send::FetchSuccession { .. }
                        | Send::FetchCase(_)
                )
            });
            node.sends = rest;
            if requests.is_empty() {
                return;
            }
            for request in requests {
                let input = match request {
                    Send::Publish { seq, bundle } => {
                        self.bundles.insert(oin(node.number), Bytes(bundle));
                        Input::Published(seq)
                    }
                    Send::FetchPrekeys(oins) => {
                        let known = |oin: &Oin| Some((*oin, self.bundles.get(oin)?.clone()));
                        Input::Prekeys(oins.iter().filter_map(known).collect())
                    }
                    Send::FetchConsistency(origin, sizes) => {
                        let tree = self.closed.get(&origin).map_or(&self.tree, |(tree, _)| tree);
                        let proofs = consistency(tree, &sizes);
                        Input::Consistency { origin, sizes, proofs }
                    }
                    Send::FetchSuccession { origin, size } => {
                        let answer = self.succession(&origin, size).map(Box::new);
                        Input::Succession(answer.ok_or(Refusal::UnknownLog.number()))
                    }
                    Send::FetchCase(case) => Input::Case(case, self.cases.get(&case).cloned()),
                    Send::Submit { .. }
                    | Send::Acknowledge(_)
                    | Send::NoticesTaken(_)
                    | Send::Withdraw { .. }
                    | Send::Consume { .. }
                    | Send::FetchEntries { .. }
                    | Send::FetchCovenant(_)
                    | Send::Propose { .. }
                    | Send::Vote { .. }
                    | Send::Rotate(_)
                    | Send::Cosigned(_)
                    | Send::Decide { .. } => continue,
                };
                node.step([input], now);
            }
        }
    }
}

/// All four agents connected to one broker, each with everybody's prekeys.
pub(crate) fn partnership() -> (Broker, [Node; 4]) {
    let mut broker = Broker::new();
    let mut nodes = [1, 2, 3, 4].map(Node::new);
    for _ in 0..2 {
        for node in &mut nodes {
            broker.connect(node, NOW);
        }
    }
    for node in &mut nodes {
        node.events.clear();
    }
    (broker, nodes)
}
