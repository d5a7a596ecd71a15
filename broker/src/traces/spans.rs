//! Spans out of entries of the log.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::{Digest, Oin, TraceId};
use seinhuis_shared::operation;
use seinhuis_shared::time::{Span as Period, Timestamp};
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::otlp::{attribute, nanos};

use crate::log::row::{Field, Row};
use crate::logs::Logs;
use crate::monitor;

/// Most entries that are read at one time.
const CHUNK: u64 = 2048;
/// Most entries that wait to be told; older ones are passed over.
const BEHIND_MAX: u64 = 1_000_000;
/// Most packets under way whose beginning is remembered: about 200 bytes each.
const OPEN_MAX: usize = 100_000;
/// How far back beginnings are looked up at a start.
const BACK: Period = Period::days(1);

/// A packet for one recipient, from when it was accepted.
#[derive(Debug, Clone, Copy)]
struct Begun {
    position: u64,
    trace: [u8; 16],
    span: [u8; 8],
    at: Timestamp,
}

/// Packets under way, the oldest forgotten first where there are too many.
#[derive(Debug, Default)]
struct Open {
    all: BTreeMap<(Digest, Oin), Begun>,
    order: BTreeMap<u64, (Digest, Oin)>,
}

impl Open {
    fn insert(&mut self, key: (Digest, Oin), begun: Begun) {
        if self.all.len() >= OPEN_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.all.remove(&oldest);
        }
        self.all.insert(key, begun);
        self.order.insert(begun.position, key);
    }

    fn remove(&mut self, key: &(Digest, Oin)) -> Option<Begun> {
        let begun = self.all.remove(key)?;
        self.order.remove(&begun.position);
        Some(begun)
    }
}

/// Spans that are to be told.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) spans: Vec<Span>,
    entries: u64,
}

impl Batch {
    /// Whether there may be more at once.
    pub(super) const fn is_full(&self) -> bool {
        self.entries >= CHUNK
    }
}

/// Where in the logs the telling is.
#[derive(Debug)]
pub(super) struct Follower {
    next: u64,
    /// The first entry that is told; those before it are read for what began.
    first: u64,
    one_in: u64,
    open: Open,
}

impl Follower {
    /// Tells what is written from now on, one of so many traces.
    ///
    /// # Errors
    /// A sentence naming the file of the log that cannot be read.
    pub(super) fn new(logs: &Logs, one_in: u64) -> Result<Self, Complaint> {
        let next = monitor::begin(logs, clock::now().minus(BACK))?;
        Ok(Self { next, first: logs.current()?.end(), one_in, open: Open::default() })
    }

    /// The spans of what was written since.
    ///
    /// # Errors
    /// A sentence naming the file of the log that cannot be read.
    pub(super) fn next(&mut self, logs: &Logs) -> Result<Batch, Complaint> {
        let behind = logs.current()?.end().saturating_sub(self.next.max(self.first));
        if behind > BEHIND_MAX {
            tracing::warn!(
                entries = behind,
                "the collector was away for too long: these entries are told to nobody"
            );
            self.first = self.next.saturating_add(behind);
        }
        let from = self.next;
        let mut spans = Vec::new();
        self.next = logs.at(from)?.show(from, CHUNK, |position, bytes| {
            let span = bytes.and_then(|bytes| self.span(position, bytes));
            spans.extend(span.filter(|_| position >= self.first));
        });
        Ok(Batch { spans, entries: self.next.saturating_sub(from) })
    }

    /// The span of an entry, if it has one that is told.
    fn span(&mut self, position: u64, bytes: &[u8]) -> Option<Span> {
        let row = Row::read(bytes)?;
        let kind: Kind = row.raw(Field::Kind)?.parse().ok()?;
        let hash = leaf_hash(bytes);
        let own = row.raw(Field::Trace).and_then(|trace| trace.parse().ok()).map(|TraceId(trace)| trace);
        let packet = row.raw(Field::Packet).and_then(|packet| packet.parse::<Digest>().ok());
        let to = row.raw(Field::To).and_then(|to| to.parse::<Oin>().ok());
        let at = Timestamp(row.time()?);
        let own_span = operation::entry_span(&hash);
        let (trace, parent, start) = match kind {
            Kind::Accepted => {
                let (trace, key) = (own?, (packet?, to?));
                if self.is_told(&trace) {
                    self.open.insert(key, Begun { position, trace, span: own_span, at });
                }
                (trace, None, at)
            }
            Kind::Refused => (own.unwrap_or_else(|| operation::entry_trace(&hash)), None, at),
            Kind::Delivered | Kind::Expired | Kind::Shredded | Kind::Withdrawn => {
                let begun = self.open.remove(&(packet?, to?))?;
                (begun.trace, Some(begun.span), begun.at)
            }
            Kind::Consumed
            | Kind::Covenant
            | Kind::Case
            | Kind::Key
            | Kind::KeyRotated
            | Kind::Partner
            | Kind::Closing
            | Kind::Opening
            | Kind::Purged
            | Kind::Export
            | Kind::Operator
            | Kind::Start
            | Kind::Stop => return None,
        };
        self.is_told(&trace).then(|| Span {
            trace_id: trace.to_vec(),
            span_id: own_span.to_vec(),
            parent_span_id: parent.map(|span| span.to_vec()).unwrap_or_default(),
            name: name(kind, &row),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: nanos(start),
            end_time_unix_nano: nanos(at),
            attributes: attributes(position, &row),
            // A refusal is a decision that was made without a fault, so it is not `Error` either.
            status: Some(Status::default()),
            ..Span::default()
        })
    }

    /// Whether this trace is one of those that are told: by its last bytes, which are random (W3C Trace Context 2).
    fn is_told(&self, trace: &[u8; 16]) -> bool {
        let random = trace.last_chunk().copied().map_or(0, u64::from_be_bytes);
        random.checked_rem(self.one_in) == Some(0)
    }
}

/// The kind of entry, and the flow where the covenant has it: a refused packet may name anything.
fn name(kind: Kind, row: &Row<'_>) -> String {
    match row.raw(Field::Flow).filter(|_| kind != Kind::Refused) {
        Some(flow) => format!("{kind} {flow}"),
        None => kind.to_string(),
    }
}

/// What the log says of it, but for what leads to a case.
fn attributes(position: u64, row: &Row<'_>) -> Vec<KeyValue> {
    let of_entry = [
        ("seinhuis.from", Field::From),
        ("seinhuis.to", Field::To),
        ("seinhuis.flow", Field::Flow),
        ("seinhuis.type", Field::MessageType),
        ("seinhuis.step", Field::Step),
        ("seinhuis.size_class", Field::SizeClass),
        ("seinhuis.result", Field::Result),
        ("seinhuis.reason", Field::Reason),
    ];
    let of_entry = of_entry.into_iter().filter_map(|(key, field)| Some(attribute(key, row.get(field)?)));
    [attribute("seinhuis.entry", position.to_string())].into_iter().chain(of_entry).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use seinhuis_shared::entry::Entry;

    use super::*;

    fn follower(one_in: u64) -> Follower {
        Follower { next: 0, first: 0, one_in, open: Open::default() }
    }

    fn entry(kind: Kind, packet: u8, at: u64) -> Entry {
        let mut entry = Entry::new(kind, Timestamp(at), [packet; 16]);
        entry.msg_id = "019ca945-0a00-7001-8002-030405060708".parse().ok();
        entry.case = "019ca945-0a00-7001-8002-030405060709".parse().ok();
        entry.from = "00000099000000001000".parse().ok();
        entry.to = "00000099000000002000".parse().ok();
        entry.flow = Some("F09".into());
        entry.packet = Some(Digest([packet; 32]));
        entry.trace = (kind == Kind::Accepted).then_some(TraceId([packet; 16]));
        entry
    }

    fn span(follower: &mut Follower, position: u64, entry: &Entry) -> Option<Span> {
        follower.span(position, &entry.to_bytes().unwrap())
    }

    fn text(span: &Span, key: &str) -> Option<String> {
        let found = span.attributes.iter().find(|one| one.key == key)?;
        let Value::StringValue(text) = found.value.as_ref()?.value.as_ref()? else {
            panic!("a text: {found:?}")
        };
        Some(text.clone())
    }

    #[test]
    fn a_packet_is_a_trace_with_how_long_it_waited() {
        let mut follower = follower(1);
        let accepted = span(&mut follower, 7, &entry(Kind::Accepted, 1, 1000)).unwrap();
        let delivered = span(&mut follower, 9, &entry(Kind::Delivered, 1, 4000)).unwrap();
        assert_eq!((accepted.name.as_str(), delivered.name.as_str()), ("accepted F09", "delivered F09"));
        assert_eq!((&accepted.trace_id, &delivered.trace_id), (&vec![1; 16], &vec![1; 16]));
        assert_eq!((&delivered.parent_span_id, accepted.parent_span_id.len()), (&accepted.span_id, 0));
        assert_ne!(accepted.span_id, delivered.span_id);
        let waited = delivered.end_time_unix_nano - delivered.start_time_unix_nano;
        assert_eq!(waited, 3_000_000_000);
        assert_eq!(text(&delivered, "seinhuis.entry").as_deref(), Some("9"));
        assert!(span(&mut follower, 10, &entry(Kind::Delivered, 1, 5000)).is_none(), "it began nowhere");
        assert!(span(&mut follower, 11, &entry(Kind::Consumed, 1, 5000)).is_none());
    }

    #[test]
    fn what_leads_to_a_case_is_not_told() {
        let told = format!("{:?}", span(&mut follower(1), 7, &entry(Kind::Accepted, 1, 1000)).unwrap());
        assert!(!told.contains("019ca945"), "{told}");
    }

    #[test]
    fn a_refusal_is_named_by_its_kind_alone() {
        let refused =
            Entry { flow: Some("anything".into()), reason: Some(404), ..entry(Kind::Refused, 1, 1) };
        let refused = span(&mut follower(1), 7, &refused).unwrap();
        assert_eq!((refused.name.as_str(), refused.trace_id.len()), ("refused", 16));
        assert_eq!(text(&refused, "seinhuis.reason").as_deref(), Some("404"));
        assert_eq!(text(&refused, "seinhuis.flow").as_deref(), Some("anything"));
    }

    #[test]
    fn of_some_traces_all_is_told_and_of_others_nothing() {
        let mut follower = follower(2);
        let mut told = |packet: u8| {
            let accepted = span(&mut follower, u64::from(packet), &entry(Kind::Accepted, packet, 1));
            let delivered = span(&mut follower, 100, &entry(Kind::Delivered, packet, 2));
            assert_eq!(accepted.is_some(), delivered.is_some());
            accepted.is_some()
        };
        assert_eq!((1..=4).map(&mut told).collect::<Vec<_>>(), [false, true, false, true]);
        assert!(follower.open.all.is_empty() && follower.open.order.is_empty());
    }

    #[test]
    fn of_too_many_under_way_the_oldest_is_forgotten() {
        let mut open = Open::default();
        let to = "00000099000000002000".parse().unwrap();
        let key = |position: u64| {
            let mut packet = [0; 32];
            packet[..8].copy_from_slice(&position.to_le_bytes());
            (Digest(packet), to)
        };
        let most = u64::try_from(OPEN_MAX).unwrap();
        for position in 0..=most {
            open.insert(key(position), Begun { position, trace: [0; 16], span: [0; 8], at: Timestamp(0) });
        }
        assert_eq!((open.all.len(), open.order.len()), (OPEN_MAX, OPEN_MAX));
        assert!(open.remove(&key(0)).is_none() && open.remove(&key(1)).is_some());
    }
}
