//! What a partner later says of a message it sent: taken in, shown with the message, and answered.
//!
//! Only who sent a message can say that it is wrong: an earlier message is found by the sender of the
//! correction and the message id together, so that about anybody else's message there is nothing to find. The
//! answer is the same for a message that never came and for one of another sender: nobody learns from it what
//! others sent. An acknowledgement is never answered, so two agents cannot keep each other busy.

use std::collections::BTreeMap;

use seinhuis_shared::ids::Oin;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;

use crate::corrections::text_of;
use crate::engine::Core;
use crate::ports::Ports;
use crate::rows::{AlarmKind, CaseEnd, CorrectionKind, InboxRow, MarkRow, Noted, Write};
use crate::service::{Notice, is_evidence};
use crate::turn::Turn;

/// Most corrections of one message that are named with it; older ones are forgotten first.
const CORRECTED_MAX: usize = 16;

/// The message type that ends a case, when it scales down as a whole.
const SCALE_DOWN: &str = "besluit_afschalen";

/// Whether a message of this type says something of other messages.
pub(crate) fn says_more(message_type: &str) -> bool {
    message_type == SCALE_DOWN || is_evidence(message_type)
}

/// What later messages said of those in the inbox, by position.
#[derive(Debug, Default)]
pub(crate) struct Marks(BTreeMap<u64, MarkRow>);

impl Marks {
    pub(crate) fn restore(&mut self, position: u64, row: MarkRow) {
        self.0.insert(position, row);
    }

    pub(crate) fn get(&self, position: u64) -> Option<&MarkRow> {
        self.0.get(&position)
    }

    fn edit(&mut self, position: u64, turn: &mut Turn, edit: impl FnOnce(&mut MarkRow)) {
        let row = self.0.entry(position).or_default();
        edit(row);
        turn.writes.push(Write::Mark(position, Box::new(row.clone())));
    }
}

impl Core {
    /// What later messages said of the one at this position in the inbox.
    pub fn mark(&self, position: u64) -> Option<&MarkRow> {
        self.marks.get(position)
    }

    /// A good packet came in that says something of an earlier message.
    pub(crate) fn noticed(
        &mut self,
        position: u64,
        row: &InboxRow,
        body: &[u8],
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let Some(sender) = row.sender else { return };
        let kinds = [CorrectionKind::Correction, CorrectionKind::Withdrawal];
        if let Some(kind) = kinds.into_iter().find(|kind| kind.message_type() == row.message_type) {
            let effect = self.take_correction(sender, kind, (row, body), now, turn);
            let outcome = effect.err().map_or(0, Refusal::number);
            self.marks.edit(position, turn, |mark| mark.effect = Some(outcome));
            self.answer_correction(sender, row, outcome == 0, now, ports, turn);
        } else if row.message_type == SCALE_DOWN {
            let whole = text_of(body, "besluit").as_deref() == Some("afschalen");
            if let Some(case) = row.case.filter(|_| whole) {
                let end = CaseEnd { case, at: row.accepted };
                self.marks.edit(position, turn, |mark| mark.case_end = Some(end));
                self.retention.case_ended(position, end);
            }
        } else {
            self.correction_answered(sender, row, body, now, turn);
        }
    }

    /// Marks the earlier message, if it is one of this sender.
    fn take_correction(
        &mut self,
        sender: Oin,
        kind: CorrectionKind,
        (row, body): (&InboxRow, &[u8]),
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let about = row.in_reply_to.ok_or(Refusal::UnknownMessage)?;
        if text_of(body, "bericht") != Some(about.to_string()) {
            return Err(Refusal::UnknownMessage);
        }
        let earlier = self.inbox.claimed(sender, about).ok_or(Refusal::UnknownMessage)?;
        if earlier.evidence {
            return Err(Refusal::NothingToCorrect);
        }
        let noted = Noted { by: row.msg_id, at: row.accepted };
        self.marks.edit(earlier.position, turn, |mark| match kind {
            CorrectionKind::Correction => {
                mark.corrected.push(noted);
                let surplus = mark.corrected.len().saturating_sub(CORRECTED_MAX);
                mark.corrected.drain(..surplus);
            }
            CorrectionKind::Withdrawal => {
                mark.withdrawn.get_or_insert(noted);
            }
        });
        if kind == CorrectionKind::Withdrawal {
            self.goes(earlier.position, now, turn);
        }
        Ok(())
    }

    /// The body at this position goes, and what was to be passed on from it.
    fn goes(&mut self, position: u64, now: Timestamp, turn: &mut Turn) {
        let end = self.marks.get(position).and_then(|mark| mark.case_end);
        let source = self.retention.withdrawn(position, end);
        self.end_passed_on(&source.into_iter().collect(), now, turn);
    }

    /// The message at this position was taken back by its sender. Tells whether that was not known.
    pub(crate) fn withdrawn_here(
        &mut self,
        position: u64,
        by: Noted,
        now: Timestamp,
        turn: &mut Turn,
    ) -> bool {
        if self.mark(position).is_some_and(|mark| mark.withdrawn.is_some()) {
            return false;
        }
        self.marks.edit(position, turn, |mark| mark.withdrawn = Some(by));
        self.goes(position, now, turn);
        true
    }

    /// Tells the sender of a correction that it took effect here, or that it did not.
    fn answer_correction(
        &mut self,
        sender: Oin,
        row: &InboxRow,
        done: bool,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let Some(covenant) = row.covenant else { return };
        let (message_type, code) =
            if done { ("ontvangstbevestiging", "verwerkt") } else { ("afwijzing", "niet_te_verwerken") };
        let body = format!("{{\"bericht\":\"{}\",\"code\":\"{code}\"}}", row.msg_id);
        let notice = Notice {
            covenant,
            step: &row.step,
            message_type,
            to: sender,
            about: Some(row.msg_id),
            body: body.as_bytes(),
        };
        if let Err(rejection) = self.send_notice(&notice, now, ports, turn) {
            let detail = format!("{message_type} {sender}: {}", rejection.refusal);
            self.alarm(AlarmKind::CannotTell, detail, now, turn);
        }
    }
}
