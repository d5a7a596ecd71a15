//! The logs of the broker, as its files hold them, and what is read from them.

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_broker_core::{
    Core, Heard, NoticeRow, PartRow, Pick, Question, ReceiptSource, Sealed, Table, Write, hear, hear_unknown,
};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::{LogKey, ProvedEntry, Receipt};
use seinhuis_shared::tlog::checkpoint::origin_of;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::subset::subset_proof;
use seinhuis_shared::tlog::tree::{BatchTree, Frontier, consistency_proof, inclusion_proof};
use seinhuis_shared::tlog::witness;
use seinhuis_shared::wire::{Entries, Notices};

use super::cast;
use super::disk::State;
use super::oracle::Violation;

/// One log.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) origin: String,
    /// The position of its first entry.
    pub(super) base: u64,
    pub(super) entries: Vec<Vec<u8>>,
    tip: Frontier,
    nodes: BTreeMap<(u8, u64), Digest>,
}

impl Log {
    pub(super) fn extend(&mut self, entries: &[Vec<u8>]) -> Result<(), Violation> {
        let mut tree = BatchTree::new(self.tip.clone());
        for entry in entries {
            tree.append(leaf_hash(entry)).map_err(cast::setup)?;
        }
        self.nodes.extend(tree.new_nodes());
        self.tip = tree.tip().clone();
        self.entries.extend_from_slice(entries);
        Ok(())
    }

    pub(super) fn size(&self) -> u64 {
        self.tip.size()
    }

    pub(super) fn root(&self) -> Digest {
        self.tip.root()
    }

    pub(super) fn entry(&self, index: u64) -> Result<Bytes, Violation> {
        let found = usize::try_from(index).ok().and_then(|index| self.entries.get(index));
        found.map(|bytes| Bytes(bytes.clone())).ok_or_else(|| cast::setup("no such entry"))
    }

    pub(super) fn proved(&self, index: u64, size: u64) -> Result<ProvedEntry, Violation> {
        let path = inclusion_proof(index, size, &self.nodes).map_err(cast::setup)?;
        Ok(ProvedEntry { index, entry: self.entry(index)?, path })
    }

    pub(super) fn consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, Violation> {
        consistency_proof(old, new, &self.nodes).map_err(cast::setup)
    }

    /// Whether its tree of so many entries has this root.
    pub(super) fn has(&self, size: u64, root: Digest) -> bool {
        size <= self.size() && self.root_of(size).is_ok_and(|own| own == root)
    }

    /// Every tree that it had.
    pub(super) fn trees(&self) -> Result<BTreeSet<(u64, Digest)>, Violation> {
        let mut tree = Frontier::default();
        let mut all = BTreeSet::from([(0, tree.root())]);
        for entry in &self.entries {
            tree.append(leaf_hash(entry)).map_err(cast::setup)?;
            all.insert((tree.size(), tree.root()));
        }
        Ok(all)
    }

    /// The root over the first so many entries.
    fn root_of(&self, size: u64) -> Result<Digest, Violation> {
        let mut tree = Frontier::default();
        for entry in self.entries.iter().take(usize::try_from(size).unwrap_or(usize::MAX)) {
            tree.append(leaf_hash(entry)).map_err(cast::setup)?;
        }
        Ok(tree.root())
    }
}

/// Every log, from the first.
#[derive(Debug, Clone, Default)]
pub(super) struct Logs(pub(super) Vec<Log>);

impl Logs {
    /// Each log's origin and entries.
    pub(super) fn seen(&self) -> Vec<(&str, &[Vec<u8>])> {
        self.0.iter().map(|log| (log.origin.as_str(), log.entries.as_slice())).collect()
    }

    /// Those that a store holds.
    pub(super) fn read(state: &State) -> Result<Self, Violation> {
        let mut logs: BTreeMap<u32, Log> = BTreeMap::new();
        for (key, value) in state.table(Table::Shards.number()) {
            if let Some(Write::Shard { number, shard }) = Write::from_row(Table::Shards, key, value) {
                logs.insert(number, Log { origin: shard.origin, base: shard.base, ..Log::default() });
            }
        }
        let mut logs = Self(logs.into_values().collect());
        if logs.0.is_empty() {
            logs.0.push(Log { origin: cast::ORIGIN.into(), ..Log::default() });
        }
        for (key, value) in state.table(Table::Entries.number()) {
            if let Some(Write::Entries { first, entries }) = Write::from_row(Table::Entries, key, value) {
                logs.at_mut(first)?.extend(&entries)?;
            }
        }
        Ok(logs)
    }

    pub(super) fn append(&mut self, sealed: &Sealed) -> Result<(), Violation> {
        if !sealed.has_entries() {
            return Ok(());
        }
        if self.0.last().is_none_or(|log| log.base != sealed.base() || log.origin != sealed.origin()) {
            self.0.push(Log { origin: sealed.origin().into(), base: sealed.base(), ..Log::default() });
        }
        self.at_mut(sealed.base())?.extend(sealed.entries())
    }

    fn at_mut(&mut self, position: u64) -> Result<&mut Log, Violation> {
        let found = self.0.iter_mut().rev().find(|log| log.base <= position);
        found.ok_or_else(|| cast::setup("no log at this position"))
    }

    pub(super) fn at(&self, position: u64) -> Result<&Log, Violation> {
        let found = self.0.iter().rev().find(|log| log.base <= position);
        found.ok_or_else(|| cast::setup("no log at this position"))
    }

    pub(super) fn named(&self, origin: &str) -> Option<&Log> {
        self.0.iter().find(|log| log.origin == origin)
    }

    /// The edge of the log that grows.
    pub(super) fn tip(&self) -> Frontier {
        self.0.last().map(|log| log.tip.clone()).unwrap_or_default()
    }

    /// Entries of all.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|log| log.entries.len()).sum()
    }

    pub(super) fn receipt(&self, source: ReceiptSource) -> Result<Bytes, Violation> {
        match source {
            ReceiptSource::Fresh(bytes) => Ok(Bytes(bytes.to_vec())),
            ReceiptSource::Stored { first, count, end, note } => {
                let log = self.at(first)?;
                let places = first - log.base..first - log.base + u64::from(count);
                let entries = places.map(|index| log.proved(index, end - log.base));
                let entries = entries.collect::<Result<_, _>>()?;
                Ok(Bytes(Receipt { version: 1, checkpoint: Bytes(note.to_vec()), entries }.to_bytes()))
            }
        }
    }

    pub(super) fn notices(&self, cursor: u64, row: &NoticeRow) -> Result<Notices, Violation> {
        let log = self.at(cursor)?;
        let indexes: Vec<u64> = row.positions.iter().map(|position| position - log.base).collect();
        let mut proof = Vec::new();
        let size = row.end - log.base;
        subset_proof(indexes.iter().copied(), size, &log.nodes, &mut |hash| proof.push(hash))
            .map_err(cast::setup)?;
        Ok(Notices {
            cursor,
            checkpoint: row.note.clone(),
            entries: indexes.iter().map(|index| log.entry(*index)).collect::<Result<_, _>>()?,
            indexes,
            proof,
            parts: row.parts.iter().map(PartRow::part).collect(),
        })
    }

    /// The entries that were picked; none for what is not there. Everything there is comes on one page.
    pub(super) fn picked(&self, pick: Pick, core: &Core) -> Result<Option<Entries>, Violation> {
        let (log, indexes): (&Log, Vec<u64>) = match pick {
            Pick::These(positions) => {
                let log = self.at(positions.last().copied().unwrap_or_default())?;
                (log, positions.iter().filter_map(|position| position.checked_sub(log.base)).collect())
            }
            Pick::Party(peer, ask) => {
                let log = match &ask.origin {
                    Some(origin) => self.named(origin),
                    None => self.0.last(),
                };
                let Some(log) = log else { return Ok(None) };
                let own = |(_, bytes): &(u64, &Vec<u8>)| {
                    Entry::parse(bytes).is_ok_and(|entry| ask.wants(&entry, peer))
                };
                let all = (0..).zip(&log.entries).filter(|(index, _)| *index >= ask.first);
                (log, all.filter(own).map(|(index, _)| index).collect())
            }
        };
        let head = core.head().ok_or_else(|| cast::setup("no head"))?;
        let (size, note) = if head.size == log.size() && core.origin() == log.origin {
            (head.size, head.note.clone())
        } else {
            (log.size(), Bytes(cast::sign(&log.origin, log.size(), log.root())?))
        };
        let entries = indexes.into_iter().map(|index| log.proved(index, size)).collect::<Result<_, _>>()?;
        Ok(Some(Entries { checkpoint: note, entries, next: None }))
    }

    /// What a checkpoint in a hello says about these logs.
    pub(super) fn hear(&self, cosigned: &[u8]) -> Result<Heard, Violation> {
        if cosigned.is_empty() {
            return Ok(Heard::Nothing);
        }
        let LogKey { origin, key } = cast::log_key(origin_of(cosigned))?;
        match self.named(&origin) {
            Some(log) => hear(cosigned, (&origin, &key), log.size(), |size| log.root_of(size)),
            None => Ok(hear_unknown(cosigned, (&origin, &key))),
        }
    }

    /// What a witness is asked.
    pub(super) fn question(&self, question: Question) -> Result<Vec<u8>, Violation> {
        let Question { old, size, note } = question;
        let log = self.named(note.text().lines().next().unwrap_or_default());
        let log = log.ok_or_else(|| cast::setup("a question about no log"))?;
        let proof = if old == 0 || old == size { Vec::new() } else { log.consistency(old, size)? };
        let request = witness::Request { old, proof, note };
        request.to_bytes().ok_or_else(|| cast::setup("a request to cosign is too large"))
    }
}
