//! Until when it is remembered what was decided about packets.
//!
//! An agent that has no verdict submits again, however late, and has to get the one there was: otherwise it takes a
//! packet for refused that its recipient has. What it has not been told of its packets shows that it was away. So an
//! outcome outlives the notices about its packet; these have an end of their own.

use seinhuis_shared::ids::{MsgId, Oin};
use seinhuis_shared::limits::NOTICE_TTL;
use seinhuis_shared::time::{Span, Timestamp};

use crate::core::Core;
use crate::mailbox::MailItem;
use crate::turn::Turn;
use crate::write::Write;

/// How much longer at a time outcomes are remembered, while one of their senders has something to be told.
const LONGER: Span = Span::days(1);
/// How long what a sender is told may be on its way to one that is there.
const TAKING: Span = Span::minutes(1);

impl Core {
    /// The time is over of the outcomes of the turn that begins at `first`: they are forgotten, or remembered longer.
    pub(crate) fn outcomes_end(&mut self, first: u64, turn: &mut Turn) {
        let Some((until, keys)) = self.state.decided.get(&first) else { return };
        if keys.iter().any(|key| self.is_untold(key, *until)) {
            let until = self.state.log.time.plus(LONGER);
            self.remember_until(first, until, turn);
        } else {
            self.record(turn, Write::Forget { first });
        }
    }

    /// Whether the sender of an accepted packet has not taken what there was to tell it between that and shortly before
    /// `until`: one that is always told something, and takes it, is not away.
    fn is_untold(&self, key: &(Oin, MsgId), until: Timestamp) -> bool {
        let accepted = self.state.seen.get(key).filter(|seen| seen.outcome == 0);
        let (Some(accepted), Some(untold)) = (accepted, self.state.untold.get(&key.0)) else { return false };
        let oldest = untold.rows.range(accepted.first..).next();
        oldest.is_some_and(|(_, row)| row.until <= until.minus(TAKING).plus(NOTICE_TTL))
    }

    /// A packet leaves a mailbox. Long after its time, as when the broker did not run at its end, its outcome would be
    /// forgotten before its sender can be told.
    pub(crate) fn outlive(&mut self, mail: &MailItem, turn: &mut Turn) {
        let now = self.state.log.time;
        if now <= mail.expires || !self.state.seen.contains_key(&(mail.from, mail.msg_id)) {
            return;
        }
        let decided = self.state.decided.range(..=mail.index).next_back();
        let Some((first, (until, _))) = decided else { return };
        let (first, least) = (*first, now.plus(TAKING));
        if *until < least {
            self.remember_until(first, least, turn);
        }
    }

    /// Remembers the outcomes of a turn, and the checkpoint that proves them, until then.
    fn remember_until(&mut self, first: u64, keep_until: Timestamp, turn: &mut Turn) {
        let Some((_, keys)) = self.state.decided.get(&first) else { return };
        let outcomes = keys.iter().filter_map(|key| self.state.seen.get(key).cloned()).collect();
        if let Some((end, note)) = self.state.log.note_for(first) {
            self.record(turn, Write::Note { end, note, keep_until });
        }
        self.record(turn, Write::Outcomes { first, keep_until, outcomes });
    }
}
