//! Logboek Dataverwerkingen: one span an entry, as OTLP/JSON. The broker knows no data subject.

use std::io::{self, Write};

use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use seinhuis_shared::operation;

use crate::book::Book;
use crate::{Draw, Leaf};

pub(crate) struct Ldv {
    origin: String,
}

impl Ldv {
    pub(crate) fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned() }
    }
}

/// The name of what the broker did; nothing for an entry that is no processing of a message.
fn name(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "accepted" => "aannemen",
        "refused" => "weigeren",
        "delivered" => "bezorgen",
        "consumed" => "verwerkt melden",
        "withdrawn" => "intrekken",
        "expired" => "laten verlopen",
        "shredded" => "vernietigen",
        _ => return None,
    })
}

fn attribute(key: &str, value: impl Into<String>) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

impl Draw for Ldv {
    fn entry(&mut self, leaf: &Leaf<'_>, book: &Book, out: &mut dyn Write) -> io::Result<u64> {
        let entry = leaf.entry;
        let Some(name) = name(entry.kind.as_str()) else { return Ok(0) };
        let trace = leaf.trace(book);
        let mut attributes = vec![attribute("dpl.core.processing_activity_id", activity(leaf))];
        if let (Some(from), "accepted") = (entry.from, entry.kind.as_str()) {
            attributes.push(attribute("dpl.core.foreign_operation.trace_id", HEXLOWER.encode(&trace)));
            let called_from =
                entry.packet.zip(entry.to).map(|(packet, to)| operation::span_id(&packet, from, to, 0));
            attributes.extend(
                called_from
                    .map(|span| attribute("dpl.core.foreign_operation.span_id", HEXLOWER.encode(&span))),
            );
            attributes.push(attribute("dpl.core.foreign_operation.processor", operation::organisation(from)));
        }
        let texts = [
            ("seinhuis.flow", entry.flow.clone()),
            ("seinhuis.result", entry.result.clone()),
            ("seinhuis.reason", entry.reason.map(|reason| reason.to_string())),
            ("seinhuis.from", entry.from.map(|oin| oin.to_string())),
            ("seinhuis.to", entry.to.map(|oin| oin.to_string())),
            ("seinhuis.leaf", Some(leaf.hash.to_string())),
        ];
        attributes.extend(texts.into_iter().filter_map(|(key, text)| Some(attribute(key, text?))));
        let at = entry.time.0.saturating_mul(1_000_000);
        let span = Span {
            trace_id: trace.to_vec(),
            span_id: leaf.span().to_vec(),
            name: name.to_owned(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: at,
            end_time_unix_nano: at,
            attributes,
            // A refusal is a decision that was made without a fault, so it is not `Error` either.
            status: Some(Status::default()),
            ..Span::default()
        };
        let request = ExportTraceServiceRequest { resource_spans: vec![self.resource(span)] };
        serde_json::to_writer(&mut *out, &request)?;
        out.write_all(b"\n")?;
        Ok(1)
    }
}

impl Ldv {
    fn resource(&self, span: Span) -> ResourceSpans {
        let attributes = vec![
            attribute("service.name", "seinhuis-broker"),
            attribute("seinhuis.log", self.origin.clone()),
        ];
        let scope =
            InstrumentationScope { name: "seinhuis-views".to_owned(), ..InstrumentationScope::default() };
        ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans: vec![span], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    }
}

/// The processing activity: what the entry names, else the flow of the covenant version.
fn activity(leaf: &Leaf<'_>) -> String {
    let entry = leaf.entry;
    entry
        .activity
        .clone()
        .unwrap_or_else(|| operation::activity(entry.covenant.as_ref(), entry.flow.as_deref()))
}
