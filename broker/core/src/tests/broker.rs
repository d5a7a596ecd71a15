//! A broker that runs turns like the shell does, with its store in memory, and checks after every turn
//! what must hold after every turn (`checks`).

mod checks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seinhuis_shared::acknowledgement::Batch;
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::{Standing, Word};
use seinhuis_shared::covenant::{Compiled, Covenant, Fate};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::packet::{Context, Packet};
use seinhuis_shared::receipt::{CheckpointCache, LogKey, ProvedEntry, Receipt};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::{ED25519, KeyText, VerifierKey};
use seinhuis_shared::tlog::subset::subset_proof;
use seinhuis_shared::tlog::tree::{Frontier, inclusion_proof};
use seinhuis_shared::wire::{Acknowledged, Acknowledgement, Hello, Notices, VERSION};

use super::fixture::{Org, compiled, vote};
use crate::admission::{Authentic, Received, Rejected};
use crate::{
    Answer, Ask, Change, Command, CommandId, Config, ConnId, Core, Heard, Input, LaneId, NoticeRow, Overview,
    PartRow, ReceiptSource, RequestId, Send, Table, Turn,
};

pub(super) const ORIGIN: &str = "broker.example/uitwisseling/2026";
pub(super) const LANE: LaneId = LaneId(1);

pub(super) fn log_signer() -> SigningKey {
    SigningKey::from_seed(&[99; 32])
}

pub(super) fn log_key() -> LogKey {
    log_key_of(ORIGIN)
}

pub(super) fn log_key_of(origin: &str) -> LogKey {
    let text = KeyText::new(origin, ED25519, &log_signer().public().to_bytes()).unwrap();
    let key = VerifierKey::new(origin, text.ed25519(ED25519).unwrap()).unwrap();
    LogKey { origin: origin.into(), key }
}

/// The nodes of a tree, by height and index.
type Nodes = BTreeMap<(u8, u64), Digest>;

/// What one turn did.
#[derive(Debug)]
pub(super) struct Did {
    pub(super) sends: Vec<Send>,
    pub(super) entries: Vec<Entry>,
    pub(super) directory_changed: bool,
}

/// A packet's outcome as its sender got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) packet: Digest,
    pub(super) outcome: u16,
    pub(super) receipt: Vec<u8>,
}

/// A packet as its recipient got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) conn: ConnId,
    pub(super) packet: Digest,
    pub(super) receipt: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Broker {
    pub(super) core: Core,
    pub(super) config: Config,
    pub(super) now: Timestamp,
    pub(super) rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub(super) blobs: BTreeMap<[u8; 32], Arc<Vec<u8>>>,
    pub(super) log: Vec<Vec<u8>>,
    /// The nodes of each log's tree.
    nodes: Vec<Nodes>,
    /// Everything ever submitted, to check receipts against.
    submitted: BTreeMap<Digest, Vec<u8>>,
    peers: BTreeMap<ConnId, Oin>,
    next: u64,
}

impl Broker {
    /// A broker without partners or covenant.
    pub(super) fn bare(now: Timestamp) -> Self {
        Self::with(Config::new(ORIGIN, log_signer().public(), "broker/1"), now)
    }

    pub(super) fn with(config: Config, now: Timestamp) -> Self {
        Self {
            core: Core::new(config.clone()),
            config,
            now,
            rows: BTreeMap::new(),
            blobs: BTreeMap::new(),
            log: Vec::new(),
            nodes: vec![BTreeMap::new()],
            submitted: BTreeMap::new(),
            peers: BTreeMap::new(),
            next: 0,
        }
    }

    /// A broker with the fixture's covenant and its four parties, and a stranger who is party to nothing.
    pub(super) fn started(now: Timestamp) -> Self {
        Self::bare(now).populated()
    }

    /// The same with another covenant between them.
    pub(super) fn with_covenant(now: Timestamp, covenant: Covenant) -> Self {
        Self::bare(now).populated_under(Arc::new(Compiled::new(covenant).unwrap()))
    }

    pub(super) fn populated(self) -> Self {
        self.populated_under(compiled())
    }

    /// The same under a version that is compiled already.
    pub(super) fn populated_with(self, compiled: Arc<Compiled>) -> Self {
        self.populated_under(compiled)
    }

    /// Another broker on a copy of the store.
    pub(super) fn copy(&self) -> Self {
        let mut copy = Self::with(self.config.clone(), self.now);
        (copy.rows, copy.blobs) = (self.rows.clone(), self.blobs.clone());
        (copy.log, copy.nodes) = (self.log.clone(), self.nodes.clone());
        copy.next = self.next;
        copy.core = copy.restored();
        copy
    }

    fn populated_under(mut self, compiled: Arc<Compiled>) -> Self {
        let hash = compiled.hash();
        self.command(Command::LoadCovenant { compiled });
        for org in Org::PARTIES.into_iter().chain([Org::Stranger]) {
            self.add(org);
        }
        self.agree(hash);
        self
    }

    /// Every party that is registered accepts a version.
    pub(super) fn agree(&mut self, hash: Digest) {
        for org in Org::PARTIES {
            self.say(org, hash, Word::Accept).unwrap();
        }
    }

    /// A party gives its word about a version, on a connection of its own.
    pub(super) fn say(&mut self, org: Org, hash: Digest, word: Word) -> Result<Did, u16> {
        let conn = self.connect(org);
        let ask = Ask::Vote(vote(hash, org, word, self.now));
        let did = self.turn([Input::Request { conn, request: RequestId(9), ask }]);
        let refused = did.sends.iter().find_map(|send| match send {
            Send::Refuse { refuse, .. } => Some(refuse.reason),
            _ => None,
        });
        self.turn([Input::Disconnected { conn }]);
        refused.map_or(Ok(did), Err)
    }

    pub(super) fn add(&mut self, org: Org) -> Answer {
        let name = format!("{org:?}");
        self.command(Command::AddPartner { oin: org.oin(), name, key: org.key().public() })
    }

    pub(super) fn fresh_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Runs a turn: handle, seal, sign, make durable, send.
    pub(super) fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) -> Did {
        let mut turn = Turn::new(sha256(&self.fresh_number().to_be_bytes()).0);
        for input in inputs {
            self.core.handle(input, self.now, &mut turn);
        }
        let mut did = self.finish(turn);
        while self.core.succession_due() {
            let next = self.succeed();
            did.sends.extend(next.sends);
            did.entries.extend(next.entries);
        }
        did
    }

    /// Runs the next turn of a succession.
    pub(super) fn succeed(&mut self) -> Did {
        let mut turn = Turn::new(sha256(&self.fresh_number().to_be_bytes()).0);
        assert!(self.core.succession(self.now, &mut turn), "there is one to run");
        self.finish(turn)
    }

    fn finish(&mut self, mut turn: Turn) -> Did {
        let directory_changed = turn.directory_changed();
        let durable = turn.is_durable();
        let entries = turn.entry_count();
        let before = self.log.len();
        let sealed = self.core.seal(&mut turn);
        let note = if sealed.has_entries() {
            sign_for(sealed.origin(), sealed.size(), sealed.root())
        } else {
            Vec::new()
        };
        let writes = self.core.sign(&mut turn, &sealed, &note);
        assert_eq!(durable, !writes.is_empty(), "a turn is durable when it has writes or entries");
        self.nodes.resize_with(self.core.shards().len(), BTreeMap::new);
        self.nodes.last_mut().unwrap().extend(sealed.tree.new_nodes());
        for write in writes {
            self.store(write.change());
        }
        assert_eq!(self.log.len(), before + entries, "every entry is written");
        let sends = self.core.committed(turn, &sealed, &note);
        let entries = self.log[before..].iter().map(|bytes| Entry::parse(bytes).unwrap()).collect();
        self.check();
        self.check_sends(&sends);
        Did { sends, entries, directory_changed }
    }

    fn store(&mut self, change: Change) {
        let table = |number| Table::ALL.into_iter().find(|table| table.number() == number).unwrap();
        match change {
            Change::Put { table: number, key, value } => {
                if table(number) == Table::Entries {
                    let row = crate::Write::from_row(Table::Entries, &key, &value);
                    let Some(crate::Write::Entries { first, entries }) = row else {
                        panic!("a row of entries")
                    };
                    assert_eq!(first, u64::try_from(self.log.len()).unwrap(), "the log only grows");
                    self.log.extend(entries);
                }
                self.rows.insert((table(number), key), value);
            }
            Change::Delete { table: number, key } => {
                assert!(
                    self.rows.remove(&(table(number), key)).is_some(),
                    "only rows that exist are deleted"
                );
            }
            Change::Keep { blob, bytes } => {
                assert_eq!(sha256(&bytes).0, blob);
                assert!(self.blobs.insert(blob, bytes).is_none(), "a packet is kept once");
            }
            Change::Erase { blob } => {
                assert!(self.blobs.remove(&blob).is_some(), "only what is kept is erased");
            }
        }
    }

    /// The nodes and the size of the log of this origin, as far as it is stored.
    fn tree_of(&self, origin: &str) -> Option<(&Nodes, u64)> {
        let shards = self.core.shards();
        let place = shards.iter().position(|shard| shard.origin == origin)?;
        let end = shards[place].end().unwrap_or(u64::try_from(self.log.len()).unwrap());
        Some((&self.nodes[place], end - shards[place].base))
    }

    /// The proof that a log continues its first `old` entries up to `size`.
    pub(super) fn continues(&self, origin: &str, old: u64, size: u64) -> Vec<Digest> {
        if old == 0 || old == size {
            return Vec::new();
        }
        let (nodes, _) = self.tree_of(origin).unwrap();
        seinhuis_shared::tlog::tree::consistency_proof(old, size, nodes).unwrap()
    }

    /// What a checkpoint says about the log it is of, as the shell finds it out.
    pub(super) fn hear(&self, cosigned: &[u8]) -> Heard {
        let Some(origin) = core::str::from_utf8(cosigned).unwrap().lines().next() else {
            return Heard::Nothing;
        };
        let Ok(text) = KeyText::new(origin, ED25519, &log_signer().public().to_bytes()) else {
            return Heard::Unreadable;
        };
        let key = text.to_string().parse().unwrap();
        match self.tree_of(origin) {
            Some((nodes, size)) => {
                let root = |size| Ok::<_, ()>(seinhuis_shared::tlog::tree::root(size, nodes).unwrap());
                crate::hear(cosigned, (origin, &key), size, root).unwrap()
            }
            None => crate::hear_unknown(cosigned, (origin, &key)),
        }
    }

    /// Says hello with the checkpoint that was cosigned last.
    pub(super) fn connect_having(&mut self, org: Org, cosigned: &[u8]) -> (ConnId, Did) {
        let (conn, input) = self.hello(org);
        let Input::Connected { peer, hello, .. } = input else { panic!("a hello") };
        let heard = self.hear(cosigned);
        let did = self.turn([Input::Connected { conn, peer, hello, heard }]);
        (conn, did)
    }

    /// A core made from what is stored, as at start-up.
    pub(super) fn restored(&self) -> Core {
        let size = u64::try_from(self.log.len()).unwrap() - self.base();
        let frontier = Frontier::load(size, self.nodes.last().unwrap()).unwrap();
        Core::restore(self.config.clone(), self.stored(), frontier).unwrap()
    }

    /// The position of the first entry of the log that grows, as far as it is stored.
    pub(super) fn base(&self) -> u64 {
        let mut shards = self.rows.iter().filter(|((table, _), _)| *table == Table::Shards);
        let read = |((table, key), value): (&(Table, Vec<u8>), &Vec<u8>)| match crate::Write::from_row(
            *table, key, value,
        ) {
            Some(crate::Write::Shard { shard, .. }) => shard.base,
            other => panic!("{other:?} is no log"),
        };
        shards.next_back().map_or(0, read)
    }

    /// All rows, in the order in which a store gives them back.
    pub(super) fn stored(&self) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
        Table::ALL
            .into_iter()
            .flat_map(|table| self.rows.iter().filter(move |((own, _), _)| *own == table))
            .map(|((table, key), value)| (*table, key.clone(), value.clone()))
            .collect()
    }

    /// Stops and starts again: sessions are gone, everything else is read back.
    pub(super) fn restart(&mut self) {
        self.core = self.restored();
        self.peers.clear();
        self.check();
    }

    // What happens to it.

    pub(super) fn command(&mut self, command: Command) -> Answer {
        self.try_command(command).unwrap()
    }

    pub(super) fn try_command(&mut self, command: Command) -> Result<Answer, Refusal> {
        let did = self.turn([Input::Operator { id: CommandId(7), command }]);
        let answer = did.sends.into_iter().find_map(|send| match send {
            Send::Answer { id: CommandId(7), answer } => Some(answer),
            _ => None,
        });
        answer.unwrap()
    }

    pub(super) fn overview(&mut self) -> Overview {
        match self.command(Command::Overview) {
            Answer::Overview(overview) => overview,
            other => panic!("{other:?} is no overview"),
        }
    }

    pub(super) fn hello(&mut self, org: Org) -> (ConnId, Input) {
        let conn = ConnId(self.fresh_number());
        self.peers.insert(conn, org.oin());
        let software = format!("agent of {org:?}");
        let hello = Hello { version: VERSION, software, cosigned: Bytes::default() };
        (conn, Input::Connected { conn, peer: org.oin(), hello, heard: Heard::Nothing })
    }

    /// Connects; gives what came with the welcome too.
    pub(super) fn connect_with(&mut self, org: Org) -> (ConnId, Did) {
        let (conn, input) = self.hello(org);
        let did = self.turn([input]);
        let welcomed = matches!(did.sends.first(), Some(Send::Welcome { conn: own, .. }) if *own == conn);
        assert!(welcomed, "{org:?} is welcome: {:?}", did.sends);
        (conn, did)
    }

    pub(super) fn connect(&mut self, org: Org) -> ConnId {
        self.connect_with(org).0
    }

    pub(super) fn examine(&mut self, org: Org, bytes: &[u8]) -> Result<Box<Authentic>, Box<Rejected>> {
        self.submitted.insert(sha256(bytes), bytes.to_vec());
        Received::new(bytes.to_vec(), org.oin()).authenticate(&self.core.directory())
    }

    pub(super) fn submission(&mut self, conn: ConnId, org: Org, bytes: &[u8]) -> Input {
        Input::Submitted { conn, lane: LANE, examined: self.examine(org, bytes) }
    }

    /// Submits in a turn of its own.
    pub(super) fn submit(&mut self, conn: ConnId, org: Org, bytes: &[u8]) -> Did {
        let input = self.submission(conn, org, bytes);
        self.turn([input])
    }

    /// Submits what has to be accepted; gives the verdict.
    pub(super) fn accept(&mut self, conn: ConnId, org: Org, bytes: &[u8]) -> Got {
        let did = self.submit(conn, org, bytes);
        let [got] = self.verdicts(&did).try_into().unwrap();
        assert_eq!(got.outcome, 0, "{:?}", did.entries);
        got
    }

    pub(super) fn ack(&self, org: Org, packets: &[(&[u8], u16)]) -> Acknowledgement {
        let item = |(bytes, outcome): &(&[u8], u16)| {
            let packet = Packet::parse(bytes).unwrap();
            let (msg_id, digest) = (packet.context().msg_id, packet.digest());
            Acknowledged::stored(msg_id, digest, *outcome, self.link(org, &digest))
        };
        Acknowledgement { recipient: org.oin(), issued: self.now, items: packets.iter().map(item).collect() }
    }

    /// The hash of the entry with which a packet was accepted for `org`; of nothing when it was not.
    pub(super) fn link(&self, org: Org, packet: &Digest) -> Digest {
        let accepted = |bytes: &&Vec<u8>| {
            let entry = Entry::parse(bytes).unwrap();
            (entry.kind, entry.to, entry.packet) == (Kind::Accepted, Some(org.oin()), Some(*packet))
        };
        self.log.iter().find(accepted).map_or(Digest([0; 32]), |bytes| leaf_hash(bytes))
    }

    /// An acknowledgement as its connection verified it.
    pub(super) fn batch(org: Org, ack: &Acknowledgement) -> Batch {
        Acknowledgement::verify(&ack.sign(&org.key()), &[org.key().public()]).unwrap()
    }

    /// Acknowledges in a turn of its own, signed by `org`.
    pub(super) fn acknowledge(&mut self, conn: ConnId, org: Org, packets: &[(&[u8], u16)]) -> Did {
        let signed = self.ack(org, packets).sign(&org.key());
        let examined = Acknowledgement::verify(&signed, &[org.key().public()]);
        self.turn([Input::Acknowledged { conn, examined }])
    }

    pub(super) fn tick_until(&mut self, now: Timestamp) -> Did {
        self.now = now;
        self.turn([Input::Tick])
    }

    /// Ticks when the log has come to `now` too, with an entry about a connection of another version.
    pub(super) fn log_and_tick(&mut self, now: Timestamp) -> Did {
        self.now = now;
        let conn = ConnId(self.fresh_number());
        let software = "another version".into();
        let hello = Hello { version: VERSION + 1, software, cosigned: Bytes::default() };
        let heard = Heard::Nothing;
        self.turn([Input::Connected { conn, peer: Org::Stranger.oin(), hello, heard }, Input::Tick])
    }

    // What came of it.

    /// A receipt's bytes, put together from the log if need be.
    pub(super) fn receipt(&self, source: &ReceiptSource) -> Vec<u8> {
        match source {
            ReceiptSource::Fresh(bytes) => bytes.to_vec(),
            ReceiptSource::Stored { first, count, end, note } => {
                let shards = self.core.shards();
                let place = shards.iter().rposition(|shard| shard.base <= *first).unwrap();
                let base = shards[place].base;
                let entries = (*first..*first + u64::from(*count))
                    .map(|position| ProvedEntry {
                        index: position - base,
                        entry: Bytes(self.log[usize::try_from(position).unwrap()].clone()),
                        path: inclusion_proof(position - base, end - base, &self.nodes[place]).unwrap(),
                    })
                    .collect();
                Receipt { version: 1, checkpoint: Bytes(note.to_vec()), entries }.to_bytes()
            }
        }
    }

    pub(super) fn verdicts(&self, did: &Did) -> Vec<Got> {
        did.sends
            .iter()
            .filter_map(|send| match send {
                Send::Verdict { packet, outcome, receipt, .. } => {
                    Some(Got { packet: *packet, outcome: *outcome, receipt: self.receipt(receipt) })
                }
                _ => None,
            })
            .collect()
    }

    pub(super) fn offers(&self, did: &Did) -> Vec<Offered> {
        did.sends
            .iter()
            .filter_map(|send| match send {
                Send::Offer { conn, item, receipt, .. } => {
                    Some(Offered { conn: *conn, packet: item.packet, receipt: self.receipt(receipt) })
                }
                _ => None,
            })
            .collect()
    }

    /// What partners are told, put together from the log as the shell does it.
    pub(super) fn notices(&self, did: &Did) -> Vec<(ConnId, Notices)> {
        let made = did.sends.iter().filter_map(|send| match send {
            Send::Notices { conn, cursor, row } => Some((*conn, self.made(*cursor, row))),
            _ => None,
        });
        made.collect()
    }

    fn made(&self, cursor: u64, row: &NoticeRow) -> Notices {
        let shards = self.core.shards();
        let place = shards.iter().rposition(|shard| shard.base <= cursor).unwrap();
        let base = shards[place].base;
        let indexes: Vec<u64> = row.positions.iter().map(|position| position - base).collect();
        let (size, nodes) = (row.end - base, &self.nodes[place]);
        let mut proof = Vec::new();
        subset_proof(indexes.iter().copied(), size, nodes, &mut |hash| proof.push(hash)).unwrap();
        let entry = |position: &u64| Bytes(self.log[usize::try_from(*position).unwrap()].clone());
        Notices {
            cursor,
            checkpoint: row.note.clone(),
            indexes,
            entries: row.positions.iter().map(entry).collect(),
            proof,
            parts: row.parts.iter().map(PartRow::part).collect(),
        }
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.log.iter().map(|bytes| Entry::parse(bytes).unwrap()).collect()
    }

    /// Packets waiting for `org`.
    pub(super) fn waiting(&self, org: Org) -> usize {
        self.core.state.mailboxes.get(&org.oin()).map_or(0, crate::mailbox::Mailbox::len)
    }
}

pub(super) fn sign(size: u64, root: Digest) -> Vec<u8> {
    sign_for(ORIGIN, size, root)
}

pub(super) fn sign_for(origin: &str, size: u64, root: Digest) -> Vec<u8> {
    let checkpoint = Checkpoint::new(origin, size, root).unwrap();
    checkpoint
        .sign_with(&log_key_of(origin).key, |bytes| log_signer().sign(bytes))
        .unwrap()
        .to_string()
        .into_bytes()
}
