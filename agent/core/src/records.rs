//! The processings of this organisation, kept until its log of them has them (Logboek Dataverwerkingen).
//!
//! A record is durable in the turn in which the message is sealed or stored, so that no crash loses one; it holds
//! pseudonyms and identifiers of messages, never a body. A sent message is told once its verdict says that it was
//! accepted, and not at all when it was not.

use std::collections::BTreeMap;

use seinhuis_shared::cbor;
use seinhuis_shared::covenant::schema::{Scope, Subject};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, TraceId};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;

use crate::engine::Core;
use crate::minimise::Rejection;
use crate::ports::{Ports, Pseudonyms};
use crate::retention::Kept;
use crate::rows::{AlarmKind, InboxRow, Operation, OutboxRow, RecordRow, Stage, SubjectRow, Write};
use crate::turn::Turn;

#[derive(Debug, Default)]
pub(crate) struct Records {
    next: u64,
    rows: BTreeMap<u64, RecordRow>,
    /// Sent packets without a verdict.
    waiting: BTreeMap<Digest, u64>,
}

impl Records {
    pub(crate) fn restore(&mut self, number: u64, row: RecordRow) {
        self.next = self.next.max(number.saturating_add(1));
        if !row.due {
            self.waiting.insert(row.packet, number);
        }
        self.rows.insert(number, row);
    }

    /// How many there are, and since when the oldest of those that are due waits.
    pub(crate) fn counts(&self) -> (usize, Option<Timestamp>) {
        (self.rows.len(), self.rows.values().find(|row| row.due).map(|row| row.end))
    }
}

/// The bytes that a pseudonym of a person is made over. What identifies within a case alone is bound to the case, or
/// without one to the message.
pub(crate) fn naming(subject: &Subject, case: Option<CaseId>, msg_id: &MsgId) -> zeroize::Zeroizing<Vec<u8>> {
    let within = match (subject.scope, case) {
        (Scope::Always, _) => (0_u8, Vec::new()),
        (Scope::Case, Some(case)) => (1, case.0.to_vec()),
        (Scope::Case, None) => (2, msg_id.0.to_vec()),
    };
    let text: &str = &subject.identifier;
    zeroize::Zeroizing::new(cbor::encode(&(
        "seinhuis/pseudonym/1",
        &subject.kind,
        within.0,
        cbor::Bytes(within.1),
        text,
    )))
}

/// The pseudonym of a person, as it stands in records.
pub fn pseudonym(subject: &Subject, case: Option<CaseId>, msg_id: &MsgId, with: &dyn Pseudonyms) -> Digest {
    with.pseudonym(&naming(subject, case, msg_id))
}

impl Core {
    /// The records that are due, oldest first, with at most about `most` spans in them.
    pub fn records_due(&self, most: usize) -> Vec<(u64, RecordRow)> {
        let mut spans = 0_usize;
        let due = self.records.rows.iter().filter(|(_, row)| row.due);
        due.take_while(|(_, row)| {
            let first = spans == 0;
            spans = spans.saturating_add(row.subjects.len().max(1).saturating_mul(row.others.len().max(1)));
            first || spans <= most
        })
        .map(|(number, row)| (*number, row.clone()))
        .collect()
    }

    /// Whether something may not be processed, because it could not be recorded.
    pub(crate) fn cannot_record(&self, ports: Ports<'_>) -> bool {
        ports.recording.is_some_and(|how| how.required && self.records.rows.len() >= how.most)
    }

    /// Refuses what could not be recorded.
    pub(crate) fn check_recording(&self, ports: Ports<'_>) -> Result<(), Rejection> {
        if self.cannot_record(ports) { Err(Refusal::NotRecordable.into()) } else { Ok(()) }
    }

    /// The persons in a body, under their pseudonyms; nothing for a version that is gone.
    fn subjects(
        &self,
        (covenant, message_type): (&Digest, &str),
        (case, msg_id): (Option<CaseId>, &MsgId),
        body: &[u8],
        with: &dyn Pseudonyms,
    ) -> Vec<SubjectRow> {
        let agreement = self.agreed.get(covenant).ok();
        let schema = agreement.and_then(|one| one.compiled().schema(message_type));
        let subjects = schema.map(|schema| schema.subjects(body)).unwrap_or_default();
        subjects
            .iter()
            .map(|one| SubjectRow { kind: one.kind.clone(), pseudonym: pseudonym(one, case, msg_id, with) })
            .collect()
    }

    /// Records a packet that was sealed in this turn; it is told once it was accepted.
    pub(crate) fn record_sent(
        &mut self,
        row: &OutboxRow,
        (packet, message_type): (Digest, &str),
        (trace, body): (TraceId, &[u8]),
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let Some(how) = ports.recording else { return };
        let about = (&row.covenant, message_type);
        let record = RecordRow {
            msg_id: row.msg_id,
            packet,
            operation: Operation::Sent,
            due: false,
            covenant: row.covenant,
            flow: row.flow.clone(),
            others: row.recipients.clone(),
            trace,
            start: now,
            end: now,
            subjects: self.subjects(about, (row.case, &row.msg_id), body, how.pseudonyms),
        };
        self.record(record, now, ports, turn);
    }

    /// The persons in the body of a received message, under their pseudonyms; nothing where processings are not recorded.
    pub fn subjects_in(&self, row: &InboxRow, body: &[u8], ports: Ports<'_>) -> Vec<SubjectRow> {
        let (Some(how), Some(covenant)) = (ports.recording, row.covenant) else { return Vec::new() };
        let about = (&covenant, row.message_type.as_str());
        self.subjects(about, (row.case, &row.msg_id), body, how.pseudonyms)
    }

    /// Records what is done in this turn with a message that was received, and of whom its body is.
    pub(crate) fn record_opened(
        &mut self,
        operation: Operation,
        (row, subjects): (&InboxRow, Vec<SubjectRow>),
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let (Some(_), Some(covenant), Some(trace)) = (ports.recording, row.covenant, row.trace) else {
            return;
        };
        let record = RecordRow {
            msg_id: row.msg_id,
            packet: row.packet,
            operation,
            due: true,
            covenant,
            flow: row.flow.clone(),
            others: row.sender.into_iter().collect(),
            trace,
            start: now,
            end: now,
            subjects,
        };
        self.record(record, now, ports, turn);
    }

    /// The body of a message is about to be handed to a person or an application.
    ///
    /// # Errors
    /// [`Refusal::NotRecordable`] when that has to be recorded and cannot be.
    pub(crate) fn read(
        &mut self,
        row: &InboxRow,
        subjects: Vec<SubjectRow>,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        self.check_recording(ports)?;
        self.record_opened(Operation::Read, (row, subjects), now, ports, turn);
        Ok(())
    }

    /// Records that a body is erased in this turn. The records of what was done with it before name its persons, in the
    /// same trace.
    pub(crate) fn record_erased(&mut self, kept: &Kept, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        let (Some(_), Some(covenant), Some(trace)) = (ports.recording, kept.covenant, kept.trace) else {
            return;
        };
        if kept.quarantined {
            return;
        }
        let record = RecordRow {
            msg_id: kept.msg_id,
            packet: kept.packet,
            operation: Operation::Erased,
            due: true,
            covenant,
            flow: kept.flow.clone(),
            others: kept.sender.into_iter().collect(),
            trace,
            start: now,
            end: now,
            subjects: Vec::new(),
        };
        self.record(record, now, ports, turn);
    }

    fn record(&mut self, row: RecordRow, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        let full = ports.recording.is_none_or(|how| !how.required && self.records.rows.len() >= how.most);
        if full {
            let waiting = format!("{} records wait", self.records.rows.len());
            return self.alarm(AlarmKind::RecordsFull, waiting, now, turn);
        }
        let number = self.records.next;
        self.records.restore(number, row.clone());
        turn.writes.push(Write::Record(number, Some(Box::new(row))));
    }

    /// A sent message has come to its end: its record is due, or there is nothing to tell.
    pub(crate) fn record_ended(&mut self, row: &OutboxRow, now: Timestamp, turn: &mut Turn) {
        let Some(number) = row.packet.and_then(|packet| self.records.waiting.remove(&packet)) else { return };
        if row.stage != Stage::Done {
            self.records.rows.remove(&number);
            turn.writes.push(Write::Record(number, None));
            return;
        }
        if let Some(record) = self.records.rows.get_mut(&number) {
            (record.due, record.end) = (true, now.max(record.start));
            turn.writes.push(Write::Record(number, Some(Box::new(record.clone()))));
        }
    }

    /// The log of processings has these records; so many of their spans it rejected.
    pub(crate) fn recorded(&mut self, numbers: &[u64], rejected: u64, now: Timestamp, turn: &mut Turn) {
        for number in numbers {
            if self.records.rows.remove(number).is_some() {
                turn.writes.push(Write::Record(*number, None));
            }
        }
        if rejected > 0 {
            let first = numbers.first().copied().unwrap_or_default();
            let detail = format!("{rejected} spans of the batch that began with record {first}");
            self.alarm(AlarmKind::RecordsRejected, detail, now, turn);
        }
    }
}
