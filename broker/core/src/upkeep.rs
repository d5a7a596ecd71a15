//! What becomes of the log over the years: texts that go at their term, and who else may read them until then.
//!
//! A term ends by three clocks, not by one: this machine's, the log's, and a partner's, whose signed time came with
//! a packet that was accepted since the start. A clock that jumps ahead removes nothing: at such a time no packet of
//! anybody's is accepted.

use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::core::Core;
use crate::operator::Answer;
use crate::turn::Turn;
use crate::write::Write;

/// Entries in a bundle: texts are removed a bundle at a time.
const BUNDLE: u64 = 256;
/// Most grants that are kept, ended ones too.
const GRANTS_MAX: usize = 4096;

/// Leave to read entries over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Grant {
    /// SHA-256 of its token, which is kept nowhere.
    pub token: Digest,
    /// SHA-256 of the purpose.
    pub purpose: Digest,
    /// Since when.
    pub at: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// When it was ended before that.
    pub ended: Option<Timestamp>,
}

impl Grant {
    /// Whether it counts at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.ended.is_none() && self.at <= now && now < self.until
    }
}

/// How long texts of entries are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The term in days; none as long as no covenant is known and none is configured.
    pub days: Option<u32>,
    /// What was logged before this instant is past its term by this machine's clock.
    pub by_clock: Timestamp,
    /// What was logged before this instant is past its term by every clock, and may be removed.
    pub by_all: Timestamp,
}

impl Core {
    /// The term of the log, and what is past it. The longest of every covenant that is known, and of the operator,
    /// who can only lengthen it.
    pub(crate) fn retention(&self, now: Timestamp) -> Retention {
        let covenants = self.state.directory.agreements.iter();
        let agreed = covenants.map(|one| one.compiled().covenant().log_retention_days).max();
        let days = agreed.max(self.config.log_retention_days);
        let before = |now: Timestamp| match days {
            Some(days) => now.minus(Span::days(days.into())),
            None => Timestamp(0),
        };
        let by_all = now.min(self.state.log.time).min(self.witnessed);
        Retention { days, by_clock: before(now), by_all: before(by_all) }
    }

    /// Up to which index the texts of each log are removed, by the log's number.
    pub fn purged(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.state.purged.iter().filter_map(|(log, entries)| Some((usize::try_from(*log).ok()?, *entries)))
    }

    /// Logs that the texts of a log's first `entries` entries, the last of which was logged at `last`, are removed;
    /// the shell removes them after that.
    pub(crate) fn purge(
        &mut self,
        (log, entries, last): (usize, u64, Timestamp),
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Answer, Refusal> {
        let number = u32::try_from(log).map_err(|_| Refusal::UnknownLog)?;
        let shard = self.state.log.shards.get(log).ok_or(Refusal::UnknownLog)?;
        let closed = shard.closing.as_ref().map(|closing| closing.size);
        let size = closed.unwrap_or_else(|| self.state.log.frontier.size());
        let from = self.state.purged.get(&number).copied().unwrap_or_default();
        let whole = (entries.is_multiple_of(BUNDLE) && entries <= size) || closed == Some(entries);
        let end = shard.base.saturating_add(entries);
        if !whole || entries <= from || last >= self.retention(now).by_all || !self.is_settled(end) {
            return Err(Refusal::NotDue);
        }
        let back = self.state.log.shards.len().saturating_sub(1).saturating_sub(log);
        let range = format!("{from}-{}", entries.saturating_sub(1));
        let index = self.next_index(turn);
        let mut entry = self.entry(Kind::Purged, now, turn);
        entry.detail = Some(if back == 0 { range } else { format!("{range}@{back}") });
        turn.entry(&entry);
        self.record(turn, Write::Purged { log: number, entries });
        Ok(Answer::Recorded { index })
    }

    /// Whether no receipt or notice has to be made any more of an entry before this position, no recipient's word may
    /// still be held against one, and it is in a file.
    fn is_settled(&self, end: u64) -> bool {
        let kept = |first: Option<u64>| first.is_none_or(|first| end <= first);
        kept(self.state.decided.keys().next().copied())
            && kept(self.state.log.unpublished.keys().next().copied())
            && self.state.mailboxes.values().all(|mailbox| kept(mailbox.from(0).map(|item| item.index)))
            && self.state.untold.values().all(|untold| kept(untold.rows.keys().next().copied()))
            && self.state.ends.keys().all(|(_, accepted)| kept(Some(*accepted)))
    }

    /// Whoever may read entries over HTTP, and who could.
    pub fn grants(&self) -> &[Grant] {
        &self.state.grants
    }

    pub(crate) fn grant(
        &mut self,
        (token, purpose): (Digest, Digest),
        until: Timestamp,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Answer, Refusal> {
        let number = u32::try_from(self.state.grants.len()).map_err(|_| Refusal::TooBusy)?;
        let known = self.state.grants.iter().any(|one| one.token == token);
        if until <= now || known || self.state.grants.len() >= GRANTS_MAX {
            return Err(Refusal::NotDue);
        }
        let index = self.note_access("grant", purpose, now, turn);
        turn.directory_changed = true;
        let grant = Grant { token, purpose, at: now, until, ended: None };
        self.record(turn, Write::Grant { number, grant });
        Ok(Answer::Recorded { index })
    }

    pub(crate) fn revoke_grant(
        &mut self,
        number: u32,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Answer, Refusal> {
        let place = usize::try_from(number).map_err(|_| Refusal::NotFound)?;
        let grant = self.state.grants.get(place).cloned().ok_or(Refusal::NotFound)?;
        if grant.ended.is_some() {
            return Ok(Answer::Unchanged);
        }
        let index = self.note_access("grant-ended", grant.purpose, now, turn);
        turn.directory_changed = true;
        self.record(turn, Write::Grant { number, grant: Grant { ended: Some(now), ..grant } });
        Ok(Answer::Recorded { index })
    }

    /// Logs who gets, or loses, a look at entries; gives the entry's index.
    pub(crate) fn note_access(
        &mut self,
        detail: &str,
        purpose: Digest,
        now: Timestamp,
        turn: &mut Turn,
    ) -> u64 {
        self.note_act((Kind::Export, None, detail.to_owned()), Some(purpose), now, turn)
    }
}
