//! Tells this organisation's log of processings what was sent, received, read and erased: OTLP over HTTP, in the background.
//!
//! The engine never waits for it. What is told comes out of the store and leaves it when the log has said that it took
//! it in; after a crash it is told again, with the same span ids.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use seinhuis_agent_core::{Input, Operation, RecordRow, SubjectRow};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::operation;
use seinhuis_shared::signing::sha256;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::otlp::{Collector, Told, attribute, nanos};
use tokio::sync::{oneshot, watch};

use crate::config::Ldv;
use crate::engine::Job;

/// How often it is looked whether there is something to tell.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait after a failure; it doubles from [`LOOK`] on.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Most spans in one request, but for a single message with more.
const BATCH_SPANS: usize = 512;
/// The way to the log.
pub(crate) struct Teller {
    oin: Oin,
    config: Ldv,
    collector: Collector,
}

impl Teller {
    /// # Errors
    /// When the authorities that are trusted cannot be read.
    pub(crate) fn new(oin: Oin, config: Ldv) -> Result<Self, Complaint> {
        let collector = Collector::new(&config.endpoint, config.encoding, Path::new(&config.authorities))?;
        Ok(Self { oin, config, collector })
    }

    /// Tells what there is to tell until it is time to stop.
    pub(crate) async fn run(self, jobs: Sender<Job>, mut stopping: watch::Receiver<bool>) {
        let teller = Arc::new(self);
        let mut wait = LOOK;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            let round = teller.round(&jobs);
            let told = tokio::select! {
                told = round => told,
                _ = stopping.wait_for(|stop| *stop) => return,
            };
            wait = match told {
                None => return,
                Some(true) => LOOK,
                Some(false) => wait.saturating_mul(2).min(LONGEST_WAIT),
            };
        }
    }

    /// Tells all that is due; whether all went well, or nothing when the engine has ended.
    async fn round(&self, jobs: &Sender<Job>) -> Option<bool> {
        loop {
            let (answer, answered) = oneshot::channel();
            // Who asked may have gone.
            let query = Job::Query(Box::new(move |view| _ = answer.send(view.core.records_due(BATCH_SPANS))));
            jobs.send(query).ok()?;
            let due = answered.await.ok()?;
            if due.is_empty() {
                return Some(true);
            }
            let told = self.tell(due.iter().map(|(_, row)| row)).await;
            let input = match told {
                Told::Taken(rejected) => {
                    Input::Recorded { numbers: due.iter().map(|(number, _)| *number).collect(), rejected }
                }
                Told::Later => return Some(false),
                Told::Refused(why) => {
                    jobs.send(Job::Input(Input::RecordsRefused(why))).ok()?;
                    return Some(false);
                }
            };
            // The next question comes after this in the engine's queue, and so sees what is left.
            jobs.send(Job::Input(input)).ok()?;
        }
    }

    async fn tell(&self, rows: impl Iterator<Item = &RecordRow>) -> Told {
        let attributes = vec![
            attribute("service.name", self.config.service_name.clone()),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
            attribute("seinhuis.organisation", self.oin.as_str()),
        ];
        let spans = rows.flat_map(|row| self.spans(row)).collect();
        self.collector.tell("seinhuis-agent", attributes, spans).await
    }

    /// A span for each other organisation and person; one without a person when the message is about none.
    fn spans(&self, row: &RecordRow) -> Vec<Span> {
        let subjects: Vec<Option<&SubjectRow>> =
            if row.subjects.is_empty() { vec![None] } else { row.subjects.iter().map(Some).collect() };
        let of = |other: &Oin| {
            let other = *other;
            (0..)
                .zip(&subjects)
                .map(move |(place, subject)| self.span(row, other, place, *subject))
                .collect::<Vec<_>>()
        };
        row.others.iter().flat_map(of).collect()
    }

    /// The other side's span about the same person.
    fn foreign(&self, row: &RecordRow, other: Oin, place: u32) -> [KeyValue; 3] {
        let page = self.config.partners.get(other.as_str()).cloned();
        let foreign = operation::span_id(&row.packet, other, self.oin, place);
        [
            attribute("dpl.core.foreign_operation.trace_id", HEXLOWER.encode(&row.trace.0)),
            attribute("dpl.core.foreign_operation.span_id", HEXLOWER.encode(&foreign)),
            attribute(
                "dpl.core.foreign_operation.processor",
                page.unwrap_or_else(|| operation::organisation(other)),
            ),
        ]
    }

    fn span(&self, row: &RecordRow, other: Oin, place: u32, subject: Option<&SubjectRow>) -> Span {
        let activities = &self.config.activities;
        let activity = activities
            .get(&row.flow)
            .or(Some(&self.config.processing_activity))
            .filter(|uri| !uri.is_empty());
        let activity =
            activity.cloned().unwrap_or_else(|| operation::activity(Some(&row.covenant), Some(&row.flow)));
        let mut attributes = vec![attribute("dpl.core.processing_activity_id", activity)];
        let kind = match row.operation {
            Operation::Sent => SpanKind::Producer,
            Operation::Received => SpanKind::Consumer,
            // Nobody else has part in it.
            Operation::Read | Operation::Erased => SpanKind::Internal,
        };
        let received = operation::span_id(&row.packet, self.oin, other, place);
        let (span_id, parent) = if kind == SpanKind::Internal {
            (operation::span_id(&occasion(row), self.oin, other, place), received.to_vec())
        } else {
            attributes.extend(self.foreign(row, other, place));
            (received, Vec::new())
        };
        if let Some(subject) = subject {
            attributes.push(attribute("dpl.core.data_subject_id", subject.pseudonym.to_string()));
            attributes.push(attribute("dpl.core.data_subject_id_type", subject.kind.clone()));
        }
        Span {
            trace_id: row.trace.0.to_vec(),
            span_id: span_id.to_vec(),
            parent_span_id: parent,
            name: format!("{} {}", row.operation, row.flow),
            kind: kind.into(),
            start_time_unix_nano: nanos(row.start),
            end_time_unix_nano: nanos(row.end),
            attributes,
            status: Some(Status::default()),
            ..Span::default()
        }
    }
}

/// What stands for the packet in the span ids of an operation that can happen to it more than once.
fn occasion(row: &RecordRow) -> Digest {
    sha256(&[&row.packet.0[..], &[row.operation.into()], &row.start.0.to_be_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use seinhuis_shared::ids::{Digest, MsgId, TraceId};
    use seinhuis_shared::time::Timestamp;

    use super::*;

    const GEMEENTE: &str = "00000099000000001000";
    const POLITIE: &str = "00000099000000002000";

    fn teller(oin: &str) -> Teller {
        let partners = [(POLITIE.to_owned(), "https://politie.example".to_owned())].into();
        let activities = [("F09".to_owned(), "https://register.example/9".to_owned())].into();
        let config = Ldv { activities, partners, ..Ldv::default() };
        Teller::new(oin.parse().unwrap(), config).unwrap()
    }

    fn row(operation: Operation, subjects: u8, others: &[&str]) -> RecordRow {
        RecordRow {
            msg_id: MsgId([1; 16]),
            packet: Digest([2; 32]),
            operation,
            due: true,
            covenant: Digest([0; 32]),
            flow: "F09".into(),
            others: others.iter().map(|oin| oin.parse().unwrap()).collect(),
            trace: TraceId([3; 16]),
            start: Timestamp(1),
            end: Timestamp(2),
            subjects: (0..subjects)
                .map(|fill| SubjectRow { kind: "zaakpersoon".into(), pseudonym: Digest([fill; 32]) })
                .collect(),
        }
    }

    fn text(span: &Span, key: &str) -> Option<String> {
        let found = span.attributes.iter().find(|one| one.key == key)?;
        let Value::StringValue(text) = found.value.as_ref()?.value.as_ref()? else {
            panic!("a text: {found:?}")
        };
        Some(text.clone())
    }

    #[test]
    fn the_spans_of_both_sides_name_each_other() {
        let sent = teller(POLITIE).spans(&row(Operation::Sent, 2, &[GEMEENTE]));
        let received = teller(GEMEENTE).spans(&row(Operation::Received, 2, &[POLITIE]));
        assert_eq!((sent.len(), received.len()), (2, 2), "one for each person");
        for (sent, received) in sent.iter().zip(&received) {
            assert_eq!(sent.trace_id, received.trace_id);
            let foreign = |span: &Span| text(span, "dpl.core.foreign_operation.span_id").unwrap();
            assert_eq!(foreign(received), HEXLOWER.encode(&sent.span_id));
            assert_eq!(foreign(sent), HEXLOWER.encode(&received.span_id));
        }
        let processor = |span: &Span| text(span, "dpl.core.foreign_operation.processor").unwrap();
        assert_eq!(processor(&received[0]), "https://politie.example");
        assert_eq!(processor(&sent[0]), format!("urn:nld:oin:{GEMEENTE}"));
        assert_eq!(text(&sent[0], "dpl.core.processing_activity_id").unwrap(), "https://register.example/9");
        assert_eq!(sent[0].status, Some(Status::default()));
    }

    #[test]
    fn a_message_about_nobody_is_one_span_a_recipient_without_a_subject() {
        let spans = teller(POLITIE).spans(&row(Operation::Sent, 0, &[GEMEENTE, "00000099000000003000"]));
        assert_eq!(spans.len(), 2);
        assert_ne!(spans[0].span_id, spans[1].span_id);
        assert!(spans.iter().all(|span| text(span, "dpl.core.data_subject_id").is_none()));
    }

    #[test]
    fn reading_and_erasing_are_spans_of_their_own_below_the_one_of_receiving() {
        let teller = teller(GEMEENTE);
        let received = teller.spans(&row(Operation::Received, 2, &[POLITIE]));
        let read = teller.spans(&row(Operation::Read, 2, &[POLITIE]));
        let later = teller.spans(&RecordRow { start: Timestamp(9), ..row(Operation::Read, 2, &[POLITIE]) });
        let erased = teller.spans(&row(Operation::Erased, 0, &[POLITIE]));
        assert_eq!((read[0].name.as_str(), erased[0].name.as_str()), ("raadplegen F09", "vernietigen F09"));
        for (received, read) in received.iter().zip(&read) {
            assert_eq!((&read.trace_id, &read.parent_span_id), (&received.trace_id, &received.span_id));
            assert_eq!(read.kind, i32::from(SpanKind::Internal));
            let subject = "dpl.core.data_subject_id";
            assert_eq!(text(read, subject), text(received, subject));
            assert_eq!(text(read, "dpl.core.foreign_operation.span_id"), None, "nobody else has part in it");
        }
        assert_eq!(erased[0].parent_span_id, received[0].span_id);
        let ids: std::collections::BTreeSet<_> =
            [&received, &read, &later, &erased].into_iter().flatten().map(|span| &span.span_id).collect();
        assert_eq!(ids.len(), 7, "each occasion its own");
        assert_eq!(teller.spans(&row(Operation::Read, 2, &[POLITIE])), read, "the same when told again");
    }
}
