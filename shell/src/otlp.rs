//! Spans told to an OpenTelemetry collector: OTLP over HTTP (opentelemetry.io/docs/specs/otlp).

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use seinhuis_shared::time::Timestamp;
use serde::Deserialize;

use std::path::Path;
use std::time::Duration;

use crate::complaint::Complaint;
use crate::http::{Answer, Http};
use crate::lang::Text;

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const ANSWER_MAX: usize = 64 * 1024;

/// How spans are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// OTLP in protobuf.
    #[default]
    Protobuf,
    /// OTLP/JSON.
    Json,
}

/// What one request came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// The collector has the batch, but for so many spans that it rejected.
    Taken(u64),
    /// No answer, or one that says to come back later.
    Later,
    /// The collector does not take this, now or later; why.
    Refused(String),
}

/// Whether spans can be sent to this address, as the configuration has it under this key.
///
/// # Errors
/// What to write instead.
pub fn check(key: &str, endpoint: &str) -> Result<(), Complaint> {
    Http::check(endpoint).map_err(|error| {
        Complaint::usage(
            Text::new(
                format!("{key} {endpoint:?} is geen adres om naar te sturen."),
                format!("{key}: {error}."),
            ),
            Text::new(
                "Schrijf https://…/v1/traces, of http://127.0.0.1:4318/v1/traces voor deze machine zelf.",
                "Write https://…/v1/traces, or http://127.0.0.1:4318/v1/traces for this machine itself.",
            ),
        )
    })
}

/// The way to a collector.
#[derive(Debug)]
pub struct Collector {
    http: Http,
    endpoint: String,
    encoding: Encoding,
}

impl Collector {
    /// The one at `endpoint`. Trusts the authorities in a PEM file, or those of the machine when its name is empty.
    ///
    /// # Errors
    /// When those cannot be read.
    pub fn new(endpoint: &str, encoding: Encoding, authorities: &Path) -> Result<Self, Complaint> {
        let authorities = Some(authorities).filter(|path| !path.as_os_str().is_empty());
        Ok(Self { http: Http::new(authorities)?, endpoint: endpoint.to_owned(), encoding })
    }

    /// Tells these spans of what has these attributes: once, so that whoever calls decides when again.
    pub async fn tell(&self, scope: &str, attributes: Vec<KeyValue>, spans: Vec<Span>) -> Told {
        let request = request(scope, attributes, spans);
        let (content_type, body) = match self.encoding {
            Encoding::Protobuf => ("application/x-protobuf", request.encode_to_vec()),
            Encoding::Json => match serde_json::to_vec(&request) {
                Ok(body) => ("application/json", body),
                Err(error) => return Told::Refused(error.to_string()),
            },
        };
        match self.http.post(&self.endpoint, content_type, body, ANSWER_MAX, DEADLINE).await {
            Ok(answer) => self.understand(&answer),
            Err(error) => {
                tracing::warn!(%error, "the collector is told again later");
                Told::Later
            }
        }
    }

    /// What an answer says (OTLP/HTTP, *Responses*). An answer without a body that reads took everything in.
    fn understand(&self, answer: &Answer) -> Told {
        match answer.status {
            200..300 => {
                let rejected = match self.encoding {
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
}

fn request(scope: &str, attributes: Vec<KeyValue>, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope { name: scope.to_owned(), ..InstrumentationScope::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
}

/// How many spans an answer in JSON says were rejected: a 64-bit number, which may be written as text (`ProtoJSON`).
fn rejected_in_json(body: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let rejected = value.pointer("/partialSuccess/rejectedSpans")?;
    rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok())
}

/// An attribute with a text.
pub fn attribute(key: &str, value: impl Into<String>) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// A moment as spans have it.
pub const fn nanos(at: Timestamp) -> u64 {
    at.0.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    fn collector(encoding: Encoding) -> Collector {
        Collector::new("http://127.0.0.1:1/v1/traces", encoding, Path::new("")).unwrap()
    }

    #[test]
    fn answers_are_understood_as_otlp_says() {
        let answer = |status, body: &[u8]| Answer { status, content_type: None, body: body.to_vec() };
        let partial = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: "x".into() }),
        };
        let protobuf = collector(Encoding::Protobuf);
        assert_eq!(protobuf.understand(&answer(200, &partial.encode_to_vec())), Told::Taken(3));
        assert_eq!(protobuf.understand(&answer(200, b"")), Told::Taken(0));
        assert_eq!(protobuf.understand(&answer(202, b"\xff")), Told::Taken(0));
        let json = collector(Encoding::Json);
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

    #[test]
    fn an_address_elsewhere_in_the_clear_is_none() {
        assert!(check("x.endpoint", "http://127.0.0.1:4318/v1/traces").is_ok());
        assert!(
            check("x.endpoint", "http://log.example/v1/traces").unwrap_err().what.en.contains("x.endpoint")
        );
    }
}
