//! What has to be known before a view is drawn: the covenants, and what became of each message.

use std::collections::BTreeMap;

use seinhuis_shared::covenant::{Covenant, Flow, Party};
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::{Digest, Oin, TraceId};
use seinhuis_shared::time::Timestamp;

/// How many messages of a flow there were in the period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) refused: u64,
}

/// What became of a message for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Delivered(Timestamp),
    Expired(Timestamp),
    Shredded(Timestamp),
    Withdrawn(Timestamp),
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    covenants: BTreeMap<Digest, Covenant>,
    traces: BTreeMap<Digest, TraceId>,
    ends: BTreeMap<(Digest, Oin), End>,
    counts: BTreeMap<(Digest, String), Counts>,
    /// Entries whose covenant is not there.
    pub(crate) without_covenant: u64,
}

impl Book {
    pub(crate) fn new(covenants: BTreeMap<Digest, Covenant>) -> Self {
        Self { covenants, ..Self::default() }
    }

    /// Takes note of an entry. Kinds are compared by their word: one that is not known here is no processing.
    pub(crate) fn note(&mut self, entry: &Entry) {
        let kind = entry.kind.as_str();
        if let (Some(packet), Some(trace), "accepted") = (entry.packet, entry.trace, kind) {
            self.traces.insert(packet, trace);
        }
        if let (Some(packet), Some(to)) = (entry.packet, entry.to) {
            let end = match kind {
                "delivered" => Some(End::Delivered(entry.time)),
                "expired" => Some(End::Expired(entry.time)),
                "shredded" => Some(End::Shredded(entry.time)),
                "withdrawn" => Some(End::Withdrawn(entry.time)),
                _ => None,
            };
            // The first counts: what was delivered stays so, whatever is said of it later.
            if let Some(end) = end {
                self.ends.entry((packet, to)).or_insert(end);
            }
        }
        if !matches!(kind, "accepted" | "delivered" | "refused") {
            return;
        }
        if kind == "accepted" && self.covenant(entry).is_none() {
            self.without_covenant = self.without_covenant.saturating_add(1);
        }
        if let (Some(covenant), Some(flow)) = (entry.covenant, &entry.flow) {
            let counts = self.counts.entry((covenant, flow.clone())).or_default();
            let count = match kind {
                "accepted" => &mut counts.accepted,
                "delivered" => &mut counts.delivered,
                _ => &mut counts.refused,
            };
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn covenants(&self) -> impl Iterator<Item = (&Digest, &Covenant)> {
        self.covenants.iter()
    }

    /// The covenant version an entry names.
    pub(crate) fn covenant(&self, entry: &Entry) -> Option<&Covenant> {
        self.covenants.get(&entry.covenant?)
    }

    /// The flow an entry names.
    pub(crate) fn flow(&self, entry: &Entry) -> Option<&Flow> {
        let id = entry.flow.as_ref()?;
        self.covenant(entry)?.flows.iter().find(|flow| flow.id == *id)
    }

    /// A party of the version an entry names.
    pub(crate) fn party(&self, entry: &Entry, oin: Option<Oin>) -> Option<&Party> {
        self.covenant(entry)?.parties.iter().find(|party| Some(party.oin) == oin)
    }

    pub(crate) fn trace(&self, packet: &Digest) -> Option<TraceId> {
        self.traces.get(packet).copied()
    }

    pub(crate) fn end(&self, entry: &Entry) -> Option<End> {
        self.ends.get(&(entry.packet?, entry.to?)).copied()
    }

    pub(crate) fn counts(&self, covenant: &Digest, flow: &str) -> Counts {
        self.counts.get(&(*covenant, flow.to_owned())).copied().unwrap_or_default()
    }
}
