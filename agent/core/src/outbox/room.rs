//! How much waits in the outbox, and how much may: an agent whose broker does not take anything for days fills neither
//! its disk nor its memory, and whoever pushes is told.

use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;

use super::Outbox;
use crate::engine::Core;
use crate::minimise::Rejection;

/// Most messages that wait for a verdict, sealed or not.
pub const OUTBOX_MAX: usize = 65_536;
/// Most bytes of them: sealed packets, and drafts.
pub const OUTBOX_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How many messages came to each end, over the life of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) done: u64,
    pub(crate) refused: u64,
    pub(crate) expired: u64,
    pub(crate) denied: u64,
}

/// How many messages are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) drafts: usize,
    pub(crate) held: usize,
    pub(crate) ready: usize,
    pub(crate) deferred: usize,
    pub(crate) flying: usize,
    pub(crate) totals: Totals,
    pub(crate) oldest: Option<Timestamp>,
    /// Hundredths of the room for what waits that are taken up.
    pub(crate) percent: u8,
}

/// What may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) messages: usize,
    pub(crate) bytes: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { messages: OUTBOX_MAX, bytes: OUTBOX_BYTES_MAX }
    }
}

impl Outbox {
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            drafts: self.drafts.len(),
            held: self.unreleased.len(),
            ready: self.ready.len(),
            deferred: self.deferred.len(),
            flying: self.flying.len(),
            totals: self.totals,
            oldest: self.open.values().next().map(|item| item.row.created),
            percent: self.percent(),
        }
    }

    /// What waits, but for a person: that has a bound of its own.
    fn waiting(&self) -> Room {
        let drafts = u64::try_from(self.draft_bytes).unwrap_or(u64::MAX);
        Room {
            messages: self.open.len().saturating_sub(self.unreleased.len()),
            bytes: self.sealed_bytes.saturating_add(drafts),
        }
    }

    fn percent(&self) -> u8 {
        let part = |of: u64, most: u64| of.saturating_mul(100).checked_div(most).unwrap_or(100).min(100);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let waiting = self.waiting();
        let messages = part(count(waiting.messages), count(self.most.messages));
        u8::try_from(messages.max(part(waiting.bytes, self.most.bytes))).unwrap_or(100)
    }
}

impl Core {
    /// Whether one more message of this length may wait.
    ///
    /// # Errors
    /// [`Refusal::AgentStorageLow`], [`Refusal::OutboxFull`].
    pub(super) fn room_to_wait(&self, bytes: usize) -> Result<(), Rejection> {
        if self.scarce {
            return Err(Refusal::AgentStorageLow.into());
        }
        let (waiting, most) = (self.outbox.waiting(), self.outbox.most);
        let after = waiting.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if waiting.messages < most.messages && after <= most.bytes {
            return Ok(());
        }
        let mib = waiting.bytes / (1024 * 1024);
        Err(Rejection::new(
            Refusal::OutboxFull,
            format!(
                "De wachtrij naar de broker is vol: er wachten {} berichten ({mib} MiB).",
                waiting.messages
            ),
            format!(
                "The queue to the broker is full: {} messages ({mib} MiB) are waiting.",
                waiting.messages
            ),
        ))
    }
}
