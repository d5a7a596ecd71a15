//! Notices: what a partner is told of what became of packets, after its verdict.
//!
//! A row holds what one turn has to tell one partner; its proof is made when it is sent, away from here, and is
//! the same each time. A row goes when the partner says that it is kept, when its time is over, or when there
//! are too many: the log still has every entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seinhuis_shared::acknowledgement::{Acknowledged, Batch, Part};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::limits::{NOTICE_ENTRIES_MAX, NOTICE_TTL, NOTICES_INFLIGHT};
use seinhuis_shared::time::Timestamp;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::core::Core;
use crate::input::ConnId;
use crate::sequencer::Sealed;
use crate::turn::{Send, Turn};
use crate::write::Write;

/// What one turn has to tell one partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct NoticeRow {
    /// Until when it is kept.
    pub until: Timestamp,
    /// The position after that turn's last entry.
    pub end: u64,
    /// The signed checkpoint with that turn.
    pub note: Bytes,
    /// The entries' positions, rising, in one log.
    pub positions: Vec<u64>,
    /// What recipients signed.
    pub parts: Vec<PartRow>,
}

/// Items of one acknowledgement that one partner is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct PartRow {
    signed: Bytes,
    /// The hashes of all items that were signed for; none when these are all.
    leaves: Vec<Digest>,
    places: Vec<u16>,
    items: Vec<Acknowledged>,
}

impl PartRow {
    /// As the partner gets it.
    pub fn part(&self) -> Part {
        let (places, items) = (self.places.clone(), self.items.clone());
        if self.leaves.is_empty() {
            let own: Vec<Digest> = items.iter().map(Acknowledged::hash).collect();
            Part::new(self.signed.clone(), &own, places, items)
        } else {
            Part::new(self.signed.clone(), &self.leaves, places, items)
        }
    }
}

/// One entry a partner is to be told of, with the item it rests on: acknowledgement of this turn, and place in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) index: u64,
    pub(crate) item: Option<(usize, u16)>,
}

/// What waits for one partner, by the position of the first entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Untold {
    pub(crate) rows: BTreeMap<u64, Arc<NoticeRow>>,
    /// Number of entries in them.
    pub(crate) count: usize,
}

impl Untold {
    pub(crate) fn insert(&mut self, first: u64, row: &Arc<NoticeRow>) {
        self.count = self.count.saturating_add(row.positions.len());
        self.rows.insert(first, Arc::clone(row));
    }

    pub(crate) fn remove(&mut self, first: u64) -> Option<Arc<NoticeRow>> {
        let row = self.rows.remove(&first)?;
        self.count = self.count.saturating_sub(row.positions.len());
        Some(row)
    }
}

fn parts(told: &[Told], batches: &[Batch]) -> Vec<PartRow> {
    let mut of: BTreeMap<usize, Vec<u16>> = BTreeMap::new();
    for (batch, place) in told.iter().filter_map(|one| one.item) {
        of.entry(batch).or_default().push(place);
    }
    of.into_iter()
        .filter_map(|(batch, mut places)| {
            let Batch { acknowledgement, signed, leaves } = batches.get(batch)?;
            places.sort_unstable();
            places.dedup();
            let items: Vec<_> = places
                .iter()
                .filter_map(|place| acknowledgement.items.get(usize::from(*place)).copied())
                .collect();
            let all = items.len() == leaves.len();
            let leaves = if all { Vec::new() } else { leaves.clone() };
            Some(PartRow { signed: signed.clone(), leaves, places, items })
        })
        .collect()
}

impl Core {
    /// Puts what this turn has to tell into rows, and drops what was taken or is too much.
    pub(crate) fn keep_notices(&mut self, turn: &mut Turn, sealed: &Sealed, note: &[u8]) {
        self.drop_taken(turn);
        let (notices, batches) = (core::mem::take(&mut turn.notices), core::mem::take(&mut turn.batches));
        for (to, told) in notices {
            for told in told.chunks(NOTICE_ENTRIES_MAX) {
                let Some(first) = told.first().map(|one| one.index) else { continue };
                let row = NoticeRow {
                    until: sealed.time.plus(NOTICE_TTL),
                    end: sealed.end(),
                    note: Bytes::from(note),
                    positions: told.iter().map(|one| one.index).collect(),
                    parts: parts(told, &batches),
                };
                self.record(turn, Write::Notice { to, first, row: Arc::new(row) });
            }
            self.drop_surplus(to, turn);
            turn.told.insert(to);
        }
    }

    fn drop_surplus(&mut self, to: Oin, turn: &mut Turn) {
        while let Some(first) = self.state.untold.get(&to).and_then(|untold| {
            let oldest = untold.rows.keys().next().copied();
            // The newest stays, however large it is.
            oldest.filter(|_| untold.count > self.config.notices_kept && untold.rows.len() > 1)
        }) {
            self.record(turn, Write::NoticeGone { to, first });
        }
    }

    /// Drops the rows that partners said they keep. Part of a turn that is made durable anyway: what is told a
    /// second time because this was not written changes nothing.
    pub(crate) fn drop_taken(&mut self, turn: &mut Turn) {
        for (to, cursor) in core::mem::take(&mut self.taken) {
            let rows: Vec<u64> = self
                .state
                .untold
                .get(&to)
                .into_iter()
                .flat_map(|untold| untold.rows.range(..=cursor).map(|(first, _)| *first))
                .collect();
            for first in rows {
                self.record(turn, Write::NoticeGone { to, first });
            }
        }
    }

    /// A partner says that it keeps the notices up to `cursor`.
    pub(crate) fn notices_taken(&mut self, conn: ConnId, cursor: u64, turn: &mut Turn) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let peer = session.peer;
        // Only what was told here can have been taken.
        let Some(cursor) = session.notices_taken(cursor) else { return };
        let taken = self.taken.entry(peer).or_default();
        *taken = (*taken).max(cursor);
        turn.told.insert(peer);
    }

    /// Tells the partners that a turn has news for what waits for them, as far as their sessions have room.
    pub(crate) fn tell(&mut self, peers: &BTreeSet<Oin>, sends: &mut Vec<Send>) {
        for peer in peers {
            if self.state.directory.partner(peer).is_err() {
                continue;
            }
            let from = self.taken.get(peer).map_or(0, |cursor| cursor.saturating_add(1));
            let (Some((conn, session)), Some(untold)) =
                (self.sessions.serving(peer), self.state.untold.get(peer))
            else {
                continue;
            };
            for (first, row) in untold.rows.range(session.next_notice.max(from)..) {
                if session.notices.len() >= NOTICES_INFLIGHT {
                    break;
                }
                session.noticed(*first);
                sends.push(Send::Notices { conn, cursor: *first, row: Arc::clone(row) });
            }
        }
    }
}
