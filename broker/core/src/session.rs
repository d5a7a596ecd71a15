//! Sessions: who is connected, and how much has been offered without an answer.

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_shared::ids::{CaseId, Oin};
use seinhuis_shared::limits::{INFLIGHT_BYTES, INFLIGHT_MAX};
use seinhuis_shared::packet::Context;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;

use crate::input::ConnId;
use crate::past::Past;
use crate::quota::Off;

/// One usable connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) peer: Oin,
    pub(crate) software: String,
    /// Offered and not yet acknowledged, by index.
    inflight: BTreeMap<u64, Offer>,
    inflight_bytes: u64,
    /// Items below this index have been offered on this connection.
    pub(crate) cursor: u64,
    /// Flows and recipients for which a packet was put off.
    held: BTreeMap<(String, Oin), Held>,
    /// Cases that were asked for or decided about on this connection: it is told what happens to them.
    pub(crate) watched: BTreeSet<CaseId>,
    /// Acknowledgements under a key that was given up, since the last right one.
    stale: u8,
    /// Notices told here and not taken, by the index of their first entry.
    pub(crate) notices: BTreeSet<u64>,
    /// Notices below this were told here.
    pub(crate) next_notice: u64,
}

/// A packet that was offered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) size: u64,
    /// When, by the clock.
    pub(crate) at: Timestamp,
    /// Whether it had been offered before, on whichever session.
    pub(crate) again: bool,
}

/// A packet that was put off: those behind it wait.
#[derive(Debug)]
struct Held {
    /// Its number.
    seq: u64,
    until: Timestamp,
    reason: Refusal,
}

/// Most flows and recipients that are held on one session. Who names more in what is put off, which may be
/// anything when it is to be refused, has no order to keep in the rest.
const HELD_MAX: usize = 1024;

/// Most acknowledgements under a key that was given up: what may be under way when it is.
const STALE_MAX: u8 = 8;

impl Session {
    pub(crate) const fn new(peer: Oin, software: String) -> Self {
        Self {
            peer,
            software,
            inflight: BTreeMap::new(),
            inflight_bytes: 0,
            cursor: 0,
            held: BTreeMap::new(),
            watched: BTreeSet::new(),
            stale: 0,
            notices: BTreeSet::new(),
            next_notice: 0,
        }
    }

    /// An acknowledgement came, under a key that counts or one that was given up. `false` when there have been
    /// too many of the latter for a change of keys to explain.
    pub(crate) const fn acknowledged(&mut self, stale: bool) -> bool {
        self.stale = if stale { self.stale.saturating_add(1) } else { 0 };
        self.stale <= STALE_MAX
    }

    /// Notices are on their way.
    pub(crate) fn noticed(&mut self, first: u64) {
        self.notices.insert(first);
        self.next_notice = first.saturating_add(1);
    }

    /// Notices up to `cursor` are kept there; the newest of them that were told here.
    pub(crate) fn notices_taken(&mut self, cursor: u64) -> Option<u64> {
        let newest = self.notices.range(..=cursor).next_back().copied()?;
        self.notices.retain(|first| *first > newest);
        Some(newest)
    }

    /// A packet is put off: those behind it that are already under way must not overtake it.
    pub(crate) fn hold(&mut self, context: &Context, off: Off, now: Timestamp) {
        let until = now.plus(off.after);
        for recipient in &context.recipients {
            let key = (context.flow.clone(), recipient.oin);
            if let Some(held) = self.held.get_mut(&key) {
                held.seq = held.seq.min(context.seq);
            } else if self.held.len() < HELD_MAX {
                self.held.insert(key, Held { seq: context.seq, until, reason: off.reason });
            }
        }
    }

    /// Whether a packet has to wait for an earlier one, of its flow and for a recipient of its own, that was
    /// put off: why, and for how long. The sender resubmits that one when it was told to; if it does not, the
    /// rest goes on.
    pub(crate) fn is_held(&mut self, context: &Context, now: Timestamp) -> Option<Off> {
        self.held.retain(|_, held| now < held.until);
        let mut waits: Option<Off> = None;
        for recipient in &context.recipients {
            let key = (context.flow.clone(), recipient.oin);
            match self.held.get(&key) {
                Some(held) if context.seq > held.seq => {
                    let off = Off { reason: held.reason, after: held.until.since(now) };
                    waits = Some(waits.filter(|longest| longest.after >= off.after).unwrap_or(off));
                }
                Some(_) => drop(self.held.remove(&key)),
                None => {}
            }
        }
        waits
    }

    /// How many flows and recipients are held.
    #[cfg(test)]
    pub(crate) fn held_count(&self) -> usize {
        self.held.len()
    }

    /// Whether an item of `size` bytes may be offered. One item always may, however large.
    pub(crate) fn has_room(&self, size: u64) -> bool {
        let limit = u64::try_from(INFLIGHT_BYTES).unwrap_or(u64::MAX);
        self.inflight.is_empty()
            || (self.inflight.len() < INFLIGHT_MAX && self.inflight_bytes.saturating_add(size) <= limit)
    }

    pub(crate) fn offered(&mut self, index: u64, offer: Offer) {
        if self.inflight.insert(index, offer).is_none() {
            self.inflight_bytes = self.inflight_bytes.saturating_add(offer.size);
        }
        self.cursor = index.saturating_add(1);
    }

    /// An item makes room; how it was offered here, if it was.
    pub(crate) fn settled(&mut self, index: u64) -> Option<Offer> {
        let offer = self.inflight.remove(&index)?;
        self.inflight_bytes = self.inflight_bytes.saturating_sub(offer.size);
        Some(offer)
    }

    /// How an item was offered here that is not yet acknowledged.
    pub(crate) fn offer(&self, index: u64) -> Option<Offer> {
        self.inflight.get(&index).copied()
    }

    /// An item that is not to be offered now is passed over.
    pub(crate) const fn pass_over(&mut self, index: u64) {
        self.cursor = index.saturating_add(1);
    }

    pub(crate) fn inflight(&self) -> usize {
        self.inflight.len()
    }

    /// Whether an item was offered here and not yet acknowledged.
    pub(crate) fn is_inflight(&self, index: u64) -> bool {
        self.inflight.contains_key(&index)
    }

    /// What was offered here and not yet acknowledged.
    pub(crate) fn all_inflight(&self) -> Vec<u64> {
        self.inflight.keys().copied().collect()
    }
}

/// All sessions. A partner with several is served on the newest, so that each packet is offered once.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    all: BTreeMap<ConnId, Session>,
    by_peer: BTreeMap<Oin, Vec<ConnId>>,
    /// Of partners, which are so many and no more.
    past: BTreeMap<Oin, Past>,
}

impl Sessions {
    pub(crate) fn open(&mut self, conn: ConnId, session: Session) {
        self.by_peer.entry(session.peer).or_default().push(conn);
        self.all.insert(conn, session);
    }

    pub(crate) fn close(&mut self, conn: ConnId) -> Option<Oin> {
        let session = self.all.remove(&conn)?;
        if let Some(conns) = self.by_peer.get_mut(&session.peer) {
            conns.retain(|one| *one != conn);
            if conns.is_empty() {
                self.by_peer.remove(&session.peer);
            }
        }
        Some(session.peer)
    }

    pub(crate) fn get(&self, conn: ConnId) -> Option<&Session> {
        self.all.get(&conn)
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.all.get_mut(&conn)
    }

    pub(crate) fn of(&self, peer: &Oin) -> &[ConnId] {
        self.by_peer.get(peer).map_or(&[], Vec::as_slice)
    }

    /// The session on which a partner is served.
    pub(crate) fn serving(&mut self, peer: &Oin) -> Option<(ConnId, &mut Session)> {
        let conn = *self.by_peer.get(peer)?.last()?;
        self.all.get_mut(&conn).map(|session| (conn, session))
    }

    /// The same, with what is known of the partner.
    pub(crate) fn serving_known(&mut self, peer: &Oin) -> Option<(ConnId, &mut Session, &mut Past)> {
        let conn = *self.by_peer.get(peer)?.last()?;
        let session = self.all.get_mut(&conn)?;
        Some((conn, session, self.past.entry(*peer).or_default()))
    }

    /// What is known of a partner.
    pub(crate) fn past(&self, peer: &Oin) -> Option<&Past> {
        self.past.get(peer)
    }

    /// The same, to add to it.
    pub(crate) fn past_mut(&mut self, peer: &Oin) -> &mut Past {
        self.past.entry(*peer).or_default()
    }

    /// Takes an offer back that is not made after all.
    pub(crate) fn retract(&mut self, conn: ConnId, index: u64) {
        let Some(session) = self.all.get_mut(&conn) else { return };
        if let (Some(offer), Some(past)) = (session.settled(index), self.past.get_mut(&session.peer)) {
            past.retract(index, offer.again);
        }
    }

    /// A packet no longer waits: it makes room on every connection it was offered on, since the one it is
    /// acknowledged on need not be the one that is served next.
    pub(crate) fn settled(&mut self, peer: &Oin, index: u64) {
        for conn in self.by_peer.get(peer).into_iter().flatten() {
            if let Some(session) = self.all.get_mut(conn) {
                session.settled(index);
            }
        }
        if let Some(past) = self.past.get_mut(peer) {
            past.settled(index);
        }
    }

    /// Whether an item was offered to a partner, on any of its sessions, and not yet acknowledged.
    pub(crate) fn is_inflight(&self, peer: &Oin, index: u64) -> bool {
        self.of(peer).iter().filter_map(|conn| self.all.get(conn)).any(|session| session.is_inflight(index))
    }

    /// Takes what was offered to a partner and not acknowledged as not offered.
    pub(crate) fn reoffer(&mut self, peer: &Oin) {
        for conn in self.by_peer.get(peer).into_iter().flatten() {
            if let Some(session) = self.all.get_mut(conn) {
                for index in session.all_inflight() {
                    session.settled(index);
                }
                session.cursor = 0;
            }
        }
    }

    /// Lets a partner's sessions go through its mailbox again, for what was passed over.
    pub(crate) fn rewind(&mut self, peer: &Oin) {
        for conn in self.by_peer.get(peer).into_iter().flatten() {
            if let Some(session) = self.all.get_mut(conn) {
                session.cursor = 0;
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ConnId, &Session)> {
        self.all.iter()
    }
}
