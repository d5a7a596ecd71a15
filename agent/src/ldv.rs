//! Tells this organisation's log of processings what was sent, received, read and erased: OTLP over HTTP, in the background.
//!
//! The engine never waits for it. What is told comes out of the store and leaves it when the log has said that it took
//! it in; after a crash it is told again, with the same span ids.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use seinhuis_agent_core::{Input, Operation, RecordRow, SubjectRow};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::operation;
use seinhuis_shared::signing::sha256;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::http::{Answer, Http};
use tokio::sync::{oneshot, watch};

use crate::config::{Encoding, Ldv};
use crate::engine::Job;

/// How often it is looked whether there is something to tell.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait after a failure; it doubles from [`LOOK`] on.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most spans in one request, but for a single message with more.
const BATCH_SPANS: usize = 512;
/// Most bytes of an answer.
const ANSWER_MAX: usize = 64 * 1024;

/// What one request came to.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// The log has the batch, but for so many spans that it rejected.
    Taken(u64),
    /// No answer, or one that says to come back later.
    Later,
    /// The log does not take this, now or later; why.
    Refused(String),
}

/// The way to the log.
pub(crate) struct Teller {
    oin: Oin,
    config: Ldv,
    http: Http,
}

impl Teller {
    /// # Errors
    /// When the authorities that are trusted cannot be read.
    pub(crate) fn new(oin: Oin, config: Ldv) -> Result<Self, Complaint> {
        let authorities = Some(config.authorities.as_str()).filter(|path| !path.is_empty());
        let http = Http::new(authorities.map(std::path::Path::new))?;
        Ok(Self { oin, config, http })
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
        let request = self.request(rows);
        let (content_type, body) = match self.config.encoding {
            Encoding::Protobuf => ("application/x-protobuf", request.encode_to_vec()),
            Encoding::Json => match serde_json::to_vec(&request) {
                Ok(body) => ("application/json", body),
                Err(error) => return Told::Refused(error.to_string()),
            },
        };
        let answer = self.http.post(&self.config.endpoint, content_type, body, ANSWER_MAX, DEADLINE).await;
        match answer {
            Ok(answer) => self.understand(&answer),
            Err(error) => {
                tracing::warn!(%error, "the log of processings is told again later");
                Told::Later
            }
        }
    }

    /// What an answer says (OTLP/HTTP, *Responses*). An answer without a body that reads took everything in.
    fn understand(&self, answer: &Answer) -> Told {
        match answer.status {
            200..300 => {
                let rejected = match self.config.encoding {
                    Encoding::Protobuf => ExportTraceServiceResponse::decode(answer.body.as_slice())
                        .ok()
                        .and_then(|read| read.partial_success)
                        .and_then(|part| u64::try_from(part.rejected_spans).ok()),
                    Encoding::Json => rejected_in_json(&answer.body),
                };
                Told::Taken(rejected.unwrap_or_default())
            }
            429 | 502..=504 => Told::Later,
            status => Told::Refused(format!("status {status}")),
        }
    }

    fn request<'a>(&self, rows: impl Iterator<Item = &'a RecordRow>) -> ExportTraceServiceRequest {
        let attributes = vec![
            attribute("service.name", self.config.service_name.clone()),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
            attribute("seinhuis.organisation", self.oin.as_str()),
        ];
        let scope =
            InstrumentationScope { name: "seinhuis-agent".to_owned(), ..InstrumentationScope::default() };
        let spans = rows.flat_map(|row| self.spans(row)).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let resource = Some(Resource { attributes, ..Resource::default() });
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
        }
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
        let nanos = |at: seinhuis_shared::time::Timestamp| at.0.saturating_mul(1_000_000);
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

/// How many spans an answer in JSON says were rejected: a 64-bit number, which may be written as text (`ProtoJSON`).
fn rejected_in_json(body: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let rejected = value.pointer("/partialSuccess/rejectedSpans")?;
    rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok())
}

fn attribute(key: &str, value: impl Into<String>) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
    use seinhuis_shared::ids::{Digest, MsgId, TraceId};
    use seinhuis_shared::time::Timestamp;

    use super::*;

    const GEMEENTE: &str = "00000099000000001000";
    const POLITIE: &str = "00000099000000002000";

    fn teller(oin: &str, encoding: Encoding) -> Teller {
        let partners = [(POLITIE.to_owned(), "https://politie.example".to_owned())].into();
        let activities = [("F09".to_owned(), "https://register.example/9".to_owned())].into();
        let config = Ldv { encoding, activities, partners, ..Ldv::default() };
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
        let sent = teller(POLITIE, Encoding::Json).spans(&row(Operation::Sent, 2, &[GEMEENTE]));
        let received = teller(GEMEENTE, Encoding::Json).spans(&row(Operation::Received, 2, &[POLITIE]));
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
        let spans = teller(POLITIE, Encoding::Protobuf).spans(&row(
            Operation::Sent,
            0,
            &[GEMEENTE, "00000099000000003000"],
        ));
        assert_eq!(spans.len(), 2);
        assert_ne!(spans[0].span_id, spans[1].span_id);
        assert!(spans.iter().all(|span| text(span, "dpl.core.data_subject_id").is_none()));
    }

    #[test]
    fn reading_and_erasing_are_spans_of_their_own_below_the_one_of_receiving() {
        let teller = teller(GEMEENTE, Encoding::Json);
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

    #[test]
    fn answers_are_understood_as_otlp_says() {
        let answer = |status, body: &[u8]| Answer { status, content_type: None, body: body.to_vec() };
        let partial = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: "x".into() }),
        };
        let protobuf = teller(POLITIE, Encoding::Protobuf);
        assert_eq!(protobuf.understand(&answer(200, &partial.encode_to_vec())), Told::Taken(3));
        assert_eq!(protobuf.understand(&answer(200, b"")), Told::Taken(0));
        assert_eq!(protobuf.understand(&answer(202, b"\xff")), Told::Taken(0));
        let json = teller(POLITIE, Encoding::Json);
        let body = br#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"x"}}"#;
        assert_eq!(json.understand(&answer(200, body)), Told::Taken(2));
        let number = br#"{"partialSuccess":{"rejectedSpans":4}}"#;
        assert_eq!(json.understand(&answer(200, number)), Told::Taken(4));
        for none in ["{}", "{\"partialSuccess\":null}", "no json"] {
            assert_eq!(json.understand(&answer(200, none.as_bytes())), Told::Taken(0));
        }
        for status in [429, 502, 503, 504] {
            assert_eq!(json.understand(&answer(status, b"")), Told::Later);
        }
        for status in [301, 400, 401, 404, 413, 500, 501] {
            assert_eq!(json.understand(&answer(status, b"")), Told::Refused(format!("status {status}")));
        }
    }
}
