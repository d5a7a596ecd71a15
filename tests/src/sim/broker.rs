//! The broker's core with its disk and its log, driven as its shell drives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use seinhuis_agent_core::{Input as ToCore, Send as Asked};
use seinhuis_broker_core::{
    Ask, Change, Command, CommandId, Config, ConnId, Core, Heard, Input, NoticeRow, PartRow, Pick,
    ReceiptSource, RequestId, Sealed, Send, Table, TakeBack, Turn, Write,
};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::receipt::{LogKey, ProvedEntry, Receipt};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::subset::subset_proof;
use seinhuis_shared::tlog::tree::{BatchTree, Frontier, consistency_proof, inclusion_proof};
use seinhuis_shared::wire::{Entries, Hello, Notices, VERSION};

use super::cast;
use super::disk::{Disk, State};
use super::oracle::{Broken, Violation};

/// The log's entries and the nodes of its tree.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Vec<u8>>,
    tip: Frontier,
    nodes: BTreeMap<(u8, u64), Digest>,
}

impl Log {
    fn extend(&mut self, entries: &[Vec<u8>]) -> Result<(), Violation> {
        let mut tree = BatchTree::new(self.tip.clone());
        for entry in entries {
            tree.append(leaf_hash(entry)).map_err(cast::setup)?;
        }
        self.nodes.extend(tree.new_nodes());
        self.tip = tree.tip().clone();
        self.entries.extend_from_slice(entries);
        Ok(())
    }

    fn entry(&self, index: u64) -> Result<Bytes, Violation> {
        let found = usize::try_from(index).ok().and_then(|index| self.entries.get(index));
        found.map(|bytes| Bytes(bytes.clone())).ok_or_else(|| cast::setup("no such entry"))
    }

    fn proved(&self, index: u64, size: u64) -> Result<ProvedEntry, Violation> {
        let path = inclusion_proof(index, size, &self.nodes).map_err(cast::setup)?;
        Ok(ProvedEntry { index, entry: self.entry(index)?, path })
    }

    pub(super) fn receipt(&self, source: ReceiptSource) -> Result<Bytes, Violation> {
        match source {
            ReceiptSource::Fresh(bytes) => Ok(Bytes(bytes.to_vec())),
            ReceiptSource::Stored { first, count, end, note } => {
                let entries = (first..first + u64::from(count)).map(|index| self.proved(index, end));
                let entries = entries.collect::<Result<_, _>>()?;
                Ok(Bytes(Receipt { version: 1, checkpoint: Bytes(note.to_vec()), entries }.to_bytes()))
            }
        }
    }

    pub(super) fn notices(&self, cursor: u64, row: &NoticeRow) -> Result<Notices, Violation> {
        let mut proof = Vec::new();
        subset_proof(row.positions.iter().copied(), row.end, &self.nodes, &mut |hash| proof.push(hash))
            .map_err(cast::setup)?;
        Ok(Notices {
            cursor,
            checkpoint: row.note.clone(),
            indexes: row.positions.clone(),
            entries: row.positions.iter().map(|index| self.entry(*index)).collect::<Result<_, _>>()?,
            proof,
            parts: row.parts.iter().map(PartRow::part).collect(),
        })
    }
}

/// A turn that waits for its flush.
#[derive(Debug)]
struct Pending {
    turn: Turn,
    sealed: Sealed,
    note: Vec<u8>,
    changes: Vec<Change>,
}

/// The broker.
#[derive(Debug)]
pub(super) struct Broker {
    key: LogKey,
    /// None while it does not run.
    pub(super) core: Option<Core>,
    pub(super) disk: Disk,
    pub(super) log: Log,
    pub(super) inbox: Vec<Input>,
    pending: Option<Pending>,
}

impl Broker {
    /// A broker that knows the partners, whose covenant all of them accepted; not started.
    pub(super) fn new(compiled: &Arc<Compiled>, lies: bool) -> Result<Self, Violation> {
        let mut broker = Self {
            key: cast::log_key()?,
            core: None,
            disk: Disk::default(),
            log: Log::default(),
            inbox: Vec::new(),
            pending: None,
        };
        broker.core = Some(Core::new(broker.config()));
        let command = |command| Input::Operator { id: CommandId(1), command };
        let mut inputs = vec![command(Command::LoadCovenant { compiled: Arc::clone(compiled) })];
        for (number, role) in cast::ROLES {
            let (oin, key) = (cast::oin(number)?, cast::signer(number).public());
            inputs.push(command(Command::AddPartner { oin, name: role.into(), key }));
        }
        for (number, _) in cast::ROLES {
            let conn = ConnId(u64::from(number));
            let hello = Hello { version: VERSION, software: "setup".into(), cosigned: Bytes::default() };
            let peer = cast::oin(number)?;
            inputs.push(Input::Connected { conn, peer, hello, heard: Heard::Nothing });
            let ask = Ask::Vote(cast::vote(compiled, number)?);
            inputs.push(Input::Request { conn, request: RequestId(u64::from(number)), ask });
            inputs.push(Input::Disconnected { conn });
        }
        for input in inputs {
            broker.begin([input], cast::NOW, [7; 32])?;
            broker.finish()?;
        }
        let state: State = std::mem::take(&mut broker.disk.live);
        broker.disk = Disk::new(state, lies);
        broker.core = None;
        Ok(broker)
    }

    fn config(&self) -> Config {
        Config::new(&self.key.origin, cast::log_public(), "broker/1")
    }

    /// Starts from what the disk holds.
    pub(super) fn start(&mut self, now: Timestamp) -> Result<(), Violation> {
        let failed = |what: String| Violation::new(Broken::Start, format!("the broker: {what}"));
        let mut rows = Vec::new();
        let mut entries = Vec::new();
        for table in Table::ALL {
            for (key, value) in self.disk.live.table(table.number()) {
                if let Some(Write::Entries { entries: more, .. }) = Write::from_row(table, key, value) {
                    entries.extend(more);
                }
                rows.push((table, key.to_vec(), value.to_vec()));
            }
        }
        self.log = Log::default();
        self.log.extend(&entries)?;
        let core = Core::restore(self.config(), rows, self.log.tip.clone());
        let mut core = core.map_err(|error| failed(error.to_string()))?;
        core.begin(now);
        self.core = Some(core);
        let command = Command::Started { without_witnesses: false };
        self.inbox.push(Input::Operator { id: CommandId(1), command });
        Ok(())
    }

    /// The process is gone; a turn that waited for its flush is on the disk or is not.
    pub(super) fn crash(&mut self, written: bool) {
        if let Some(pending) = self.pending.take().filter(|_| written) {
            self.disk.flush(pending.changes);
        }
        self.disk.crash();
        self.core = None;
        self.inbox.clear();
    }

    /// Runs the inputs of one turn. Tells whether the turn has to be flushed before [`Self::finish`].
    pub(super) fn begin(
        &mut self,
        inputs: impl IntoIterator<Item = Input>,
        now: Timestamp,
        entropy: [u8; 32],
    ) -> Result<bool, Violation> {
        let core = self.core.as_mut().ok_or_else(|| cast::setup("the broker does not run"))?;
        let mut turn = Turn::new(entropy);
        for input in inputs {
            core.handle(input, now, &mut turn);
        }
        if turn.is_empty() {
            return Ok(false);
        }
        let sealed = core.seal(&mut turn);
        let note = if sealed.has_entries() {
            cast::sign(&self.key, sealed.size(), sealed.root())?
        } else {
            Vec::new()
        };
        let changes: Vec<Change> =
            core.sign(&mut turn, &sealed, &note).into_iter().map(Write::change).collect();
        let durable = !changes.is_empty();
        self.pending = Some(Pending { turn, sealed, note, changes });
        Ok(durable)
    }

    /// The turn is flushed: what it sends.
    pub(super) fn finish(&mut self) -> Result<Vec<Send>, Violation> {
        let (Some(core), Some(pending)) = (self.core.as_mut(), self.pending.take()) else {
            return Ok(Vec::new());
        };
        self.disk.flush(pending.changes);
        self.log.extend(pending.sealed.entries())?;
        Ok(core.committed(pending.turn, &pending.sealed, &pending.note))
    }

    /// The root of the newest head.
    pub(super) fn root(&self) -> Option<Digest> {
        self.core.as_ref().and_then(Core::head).map(|head| head.root)
    }

    /// A request as the shell brings it to the core; none for one that nobody makes here.
    pub(super) fn ask(&self, asked: &Asked, peer: Oin) -> Option<Ask> {
        let directory = self.core.as_ref()?.directory();
        match asked {
            Asked::Publish { bundle, .. } => {
                let bytes = bundle.clone();
                let bundle = directory.prekeys(&bytes, &peer);
                Some(Ask::PublishPrekeys { bytes, bundle })
            }
            Asked::FetchPrekeys(oins) => Some(Ask::FetchPrekeys(oins.clone())),
            Asked::FetchCovenant(hash) => Some(Ask::FetchCovenant(*hash)),
            Asked::Withdraw { bytes, .. } => {
                Some(Ask::Withdraw(TakeBack::examine(bytes, &peer, &directory).map(Box::new)))
            }
            Asked::FetchConsistency(origin, sizes) => {
                Some(Ask::FetchConsistency(origin.clone(), sizes.clone()))
            }
            Asked::Submit { .. }
            | Asked::Acknowledge(_)
            | Asked::NoticesTaken(_)
            | Asked::Consume { .. }
            | Asked::FetchEntries { .. }
            | Asked::Propose { .. }
            | Asked::Vote { .. }
            | Asked::Rotate(_)
            | Asked::Decide { .. }
            | Asked::FetchCase(_)
            | Asked::FetchSuccession { .. }
            | Asked::Cosigned(_) => None,
        }
    }

    /// The answer to a request, as the agent's shell brings it to its core.
    pub(super) fn answer(&self, asked: &Asked, answer: Send) -> Result<Option<ToCore>, Violation> {
        Ok(match (asked, answer) {
            (Asked::Publish { seq, .. }, Send::Done { .. }) => Some(ToCore::Published(*seq)),
            (Asked::Publish { .. }, Send::Refuse { refuse, .. }) => {
                Some(ToCore::PublishRefused(refuse.reason))
            }
            (Asked::FetchPrekeys(_), Send::Prekeys { bundles, .. }) => {
                let bundles = bundles.into_iter().map(|(oin, bytes)| (oin, Bytes(bytes)));
                Some(ToCore::Prekeys(bundles.collect()))
            }
            (Asked::FetchCovenant(_), Send::Covenant { agreement, rotations, .. }) => {
                let (compiled, casts) = (Arc::clone(agreement.compiled()), agreement.casts().to_vec());
                Some(ToCore::Covenant { compiled, casts, rotations })
            }
            (Asked::Withdraw { position, .. }, Send::Entries { pick: Pick::These(positions), .. }) => {
                Some(ToCore::TakenBack(*position, Ok(Box::new(self.entries(&positions)?))))
            }
            (Asked::Withdraw { position, .. }, Send::Refuse { refuse, .. }) => {
                Some(ToCore::TakenBack(*position, Err(refuse.reason)))
            }
            (Asked::FetchConsistency(origin, _), Send::Consistency { sizes, .. }) => {
                let pairs = sizes.windows(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?)));
                let proofs = pairs.map(|(old, new)| consistency_proof(old, new, &self.log.nodes));
                let proofs = proofs.collect::<Result<_, _>>().map_err(cast::setup)?;
                Some(ToCore::Consistency { origin: origin.clone(), sizes, proofs })
            }
            (Asked::FetchConsistency(..), _) => Some(ToCore::ConsistencyFailed),
            _ => None,
        })
    }

    fn entries(&self, positions: &[u64]) -> Result<Entries, Violation> {
        let head = self.core.as_ref().and_then(Core::head).ok_or_else(|| cast::setup("no head"))?;
        let entries = positions.iter().map(|index| self.log.proved(*index, head.size));
        let entries = entries.collect::<Result<_, _>>()?;
        Ok(Entries { checkpoint: head.note.clone(), entries, next: None })
    }
}
