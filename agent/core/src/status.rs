//! How the agent is doing, for people and for monitoring.

use seinhuis_shared::covenant::agreement::State;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::time::Timestamp;

use crate::engine::Core;
use crate::rows::{AlarmRow, PinRow};
use crate::witness::Quorum;

/// A partner and until when packets to it can be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The organisation.
    pub oin: Oin,
    /// Whether one of its prekeys is usable now.
    pub usable: bool,
    /// Until when its newest bundle can be used.
    pub until: Option<Timestamp>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether a session with the broker is open and in order.
    pub connected: bool,
    /// Messages that wait for a recipient's prekey.
    pub drafts: usize,
    /// Messages that wait for release by a person.
    pub held: usize,
    /// Sealed packets that wait for their turn.
    pub queued: usize,
    /// Packets the broker put off.
    pub deferred: usize,
    /// Packets submitted and not yet answered.
    pub in_flight: usize,
    /// Hundredths of the outbox's room that what waits takes up: at 100 nothing more can be pushed.
    pub outbox_percent: u8,
    /// When the oldest message without an outcome was taken in.
    pub oldest: Option<Timestamp>,
    /// Messages accepted, refused and expired, over the life of the store.
    pub accepted: u64,
    /// See [`Status::accepted`].
    pub refused: u64,
    /// See [`Status::accepted`].
    pub expired: u64,
    /// Messages that a person did not let leave.
    pub denied: u64,
    /// Packets received and in order.
    pub received: u64,
    /// Packets received and quarantined.
    pub quarantined: u64,
    /// Corrections and withdrawals that a recipient still has to confirm.
    pub corrections_open: usize,
    /// Corrections and withdrawals that were refused and wait for a person.
    pub corrections_refused: usize,
    /// Bodies kept, erased, and of the kept those past their term by this clock and not by the log's time.
    pub bodies_kept: usize,
    /// See [`Status::bodies_kept`].
    pub bodies_erased: usize,
    /// See [`Status::bodies_kept`].
    pub bodies_held_back: usize,
    /// Records of processings that this organisation's log of them does not have.
    pub records: usize,
    /// Since when the oldest of them that can be told waits.
    pub records_since: Option<Timestamp>,
    /// The exchange log that grows.
    pub origin: String,
    /// What is believed of it.
    pub pin: Option<PinRow>,
    /// The logs that ended and were caught contradicting themselves, or that the broker does not know any more.
    pub caught: Vec<String>,
    /// For each covenant that asks a quorum of witnesses and binds this organisation, what is known of it.
    pub quorums: Vec<Quorum>,
    /// Signed checkpoints whose place in the log's history is not proved yet.
    pub unproven: usize,
    /// The own prekey bundle: number, whether the broker has it, until when it can be used.
    pub bundle: Option<(u64, bool, Timestamp)>,
    /// The partners.
    pub peers: Vec<Peer>,
    /// The covenants: hash, name, version, and how each stands.
    pub covenants: Vec<(Digest, String, u32, State)>,
    /// What a person has to look at.
    pub alarms: Vec<AlarmRow>,
}

impl Core {
    /// How things are at `now`.
    pub fn status(&self, now: Timestamp) -> Status {
        let counts = self.outbox.counts();
        let (received, quarantined) = self.inbox.counts();
        let (corrections_open, corrections_refused, _) = self.corrections.counts();
        let (bodies_kept, bodies_erased, bodies_held_back) = self.retention.counts(now);
        let (records, records_since) = self.records.counts();
        Status {
            connected: self.connected,
            drafts: counts.drafts,
            held: counts.held,
            queued: counts.ready,
            deferred: counts.deferred,
            in_flight: counts.flying,
            outbox_percent: counts.percent,
            oldest: counts.oldest,
            accepted: counts.totals.done,
            refused: counts.totals.refused,
            expired: counts.totals.expired,
            denied: counts.totals.denied,
            received,
            quarantined,
            corrections_open,
            corrections_refused,
            bodies_kept,
            bodies_erased,
            bodies_held_back,
            records,
            records_since,
            origin: self.trust.log().origin.clone(),
            pin: self.trust.pin(),
            caught: self.trust.caught().map(str::to_owned).collect(),
            quorums: self.quorums(now),
            unproven: self.trust.unproven(),
            bundle: self.prekeys.own_bundle(),
            peers: self
                .partners()
                .into_iter()
                .map(|oin| Peer {
                    oin,
                    usable: self.prekeys.usable(&oin, now).is_some(),
                    until: self.prekeys.usable_until(&oin),
                })
                .collect(),
            covenants: self
                .agreed
                .all()
                .map(|one| {
                    let covenant = one.compiled().covenant();
                    (one.compiled().hash(), covenant.id.clone(), covenant.version, one.state(now))
                })
                .collect(),
            alarms: self.alarms.values().cloned().collect(),
        }
    }
}
