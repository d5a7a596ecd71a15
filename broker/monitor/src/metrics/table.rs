//! Every metric there is.

use prometheus_client::registry::Unit;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};

use super::{Facts, Metric, Rows, UNKNOWN, Values, float};
use crate::board::{AgentRow, PacketsRow, QueueRow};
use crate::distribution::{BATCH_ENTRIES, FLUSH_MILLIS};

/// Milliseconds in a second.
const MILLIS: f64 = 1000.0;
/// Microseconds in a second.
const MICROS: f64 = 1_000_000.0;

const NONE: &[&str] = &[];
const FLOW: &[&str] = &["from", "to", "flow"];
const TO: &[&str] = &["to"];
const AGENT: &[&str] = &["agent"];
const KIND: &[&str] = &["kind"];
const WITNESS: &[&str] = &["witness"];

/// Every metric, in the order of the text.
pub const METRICS: &[Metric] = &[
    // The broker itself.
    Metric {
        base: "build",
        unit: None,
        labels: &["version"],
        nl: "De versie van het programma.",
        en: "The version of the program.",
        values: Values::Info(|board| vec![board.software.clone()]),
    },
    Metric {
        base: "start_timestamp",
        unit: Some(Unit::Seconds),
        labels: NONE,
        nl: "Wanneer de broker startte.",
        en: "When the broker started.",
        values: Values::Gauge(|facts| one(seconds(facts.board.started))),
    },
    Metric {
        base: "clock_timestamp",
        unit: Some(Unit::Seconds),
        labels: NONE,
        nl: "De klok van de broker, hooguit een halve seconde geleden.",
        en: "The broker's clock, half a second ago at most.",
        values: Values::Gauge(|facts| one(seconds(facts.board.now))),
    },
    Metric {
        base: "serving",
        unit: None,
        labels: NONE,
        nl: "Of de broker pakketten aanneemt (1), of na de start nog op getuigen wacht of te weinig schijfruimte heeft (0).",
        en: "Whether the broker takes packets in (1), or still waits for witnesses after its start or has too little disk (0).",
        values: Values::Gauge(|facts| one(flag(facts.board.serves()))),
    },
    Metric {
        base: "backpressure",
        unit: None,
        labels: KIND,
        nl: "Of niets nieuws wordt aangenomen (1), en waarom: `disk`, te weinig ruimte; `witnesses`, na de start is nog niet van genoeg getuigen gehoord.",
        en: "Whether nothing new is taken in (1), and why: `disk`, too little room; `witnesses`, not enough witnesses were heard since the start.",
        values: Values::Gauge(|facts| {
            [("disk", facts.board.storage.scarce), ("witnesses", facts.board.awaiting)]
                .map(|(kind, holds)| (vec![kind.to_owned()], flag(holds)))
                .into()
        }),
    },
    // Packets.
    Metric {
        base: "packets_accepted",
        unit: None,
        labels: &["from", "to", "flow", "type"],
        nl: "Aangenomen pakketten, per ontvanger geteld.",
        en: "Packets accepted, once for each recipient.",
        values: Values::Counter(accepted),
    },
    Metric {
        base: "packets_refused",
        unit: None,
        labels: &["from", "reason"],
        nl: "Weigeringen in het log, van pakketten en van hele verbindingen, met de reden uit de tabel van weigeringen.",
        en: "Refusals in the log, of packets and of whole connections, with the reason from the table of refusals.",
        values: Values::Counter(refused),
    },
    Metric {
        base: "packets_delivered",
        unit: None,
        labels: FLOW,
        nl: "Pakketten waarvan de ontvanger bevestigde dat hij ze bewaart.",
        en: "Packets of which the recipient acknowledged that it stored them.",
        values: Values::Counter(|facts| flows(facts, |row| row.stored)),
    },
    Metric {
        base: "packets_quarantined",
        unit: None,
        labels: FLOW,
        nl: "Pakketten die de ontvanger kreeg en niet kon overnemen.",
        en: "Packets that the recipient got and could not take in.",
        values: Values::Counter(|facts| flows(facts, |row| row.quarantined)),
    },
    Metric {
        base: "packets_expired",
        unit: None,
        labels: FLOW,
        nl: "Pakketten waarvan de geldigheid eindigde voordat de ontvanger ze had.",
        en: "Packets whose validity ended before the recipient had them.",
        values: Values::Counter(|facts| flows(facts, |row| row.expired)),
    },
    Metric {
        base: "packets_withdrawn",
        unit: None,
        labels: FLOW,
        nl: "Pakketten die de afzender terugnam voordat ze bezorgd waren.",
        en: "Packets that their sender took back before they were delivered.",
        values: Values::Counter(|facts| flows(facts, |row| row.withdrawn)),
    },
    Metric {
        base: "packets_shredded",
        unit: None,
        labels: FLOW,
        nl: "Pakketten die vóór bezorging zijn vernietigd, omdat waarop ze rustten wegviel of ze op schijf beschadigd waren.",
        en: "Packets destroyed before delivery, because what they rested on fell away or they were damaged on disk.",
        values: Values::Counter(|facts| flows(facts, |row| row.shredded)),
    },
    Metric {
        base: "packets_redelivered",
        unit: None,
        labels: TO,
        nl: "Hoe vaak een pakket opnieuw is aangeboden, omdat de ontvanger het niet bevestigde voordat zijn verbinding eindigde.",
        en: "How often a packet was offered once more, because its recipient had not acknowledged it before its connection ended.",
        values: Values::Counter(|facts| {
            let all = facts.board.agents.iter();
            all.map(|agent| (vec![agent.oin.to_string()], agent.redelivered)).collect()
        }),
    },
    Metric {
        base: "flow_accepted_timestamp",
        unit: Some(Unit::Seconds),
        labels: FLOW,
        nl: "Wanneer over deze stroom het laatst een pakket is aangenomen; ook van vóór de start, tot een dag.",
        en: "When a packet was last accepted over this flow; also from before the start, up to a day.",
        values: Values::Gauge(|facts| lanes(facts, |lane| lane.last_accepted.map(|place| place.at))),
    },
    Metric {
        base: "flow_delivered_timestamp",
        unit: Some(Unit::Seconds),
        labels: FLOW,
        nl: "Wanneer over deze stroom het laatst een pakket is bezorgd; ook van vóór de start, tot een dag.",
        en: "When a packet was last delivered over this flow; also from before the start, up to a day.",
        values: Values::Gauge(|facts| lanes(facts, |lane| lane.last_delivered.map(|place| place.at))),
    },
    // What waits.
    Metric {
        base: "queue_packets",
        unit: None,
        labels: &["to", "state"],
        nl: "Wat voor een partner ligt: `waiting` wacht, `inflight` is aangeboden en niet bevestigd, `frozen` wordt vastgehouden omdat waarop het rust wegviel.",
        en: "What lies ready for a partner: `waiting` waits, `inflight` is offered and not acknowledged, `frozen` is held because what it rests on fell away.",
        values: Values::Gauge(waiting),
    },
    Metric {
        base: "queue",
        unit: Some(Unit::Bytes),
        labels: TO,
        nl: "Hoeveel bytes dat zijn.",
        en: "How many bytes that is.",
        values: Values::Gauge(|facts| queues(facts, |queue| Some(float(queue.bytes)), Some(0.0))),
    },
    Metric {
        base: "queue_oldest_timestamp",
        unit: Some(Unit::Seconds),
        labels: TO,
        nl: "Wanneer het oudste daarvan is aangenomen; er niet als er niets ligt.",
        en: "When the oldest of it was accepted; absent when nothing lies there.",
        values: Values::Gauge(|facts| {
            queues(facts, |queue| queue.oldest.map(|place| seconds(place.at)), None)
        }),
    },
    Metric {
        base: "queue_expiry_timestamp",
        unit: Some(Unit::Seconds),
        labels: TO,
        nl: "Wanneer de geldigheid van het oudste daarvan eindigt; er niet als er niets ligt.",
        en: "When the validity of the oldest of it ends; absent when nothing lies there.",
        values: Values::Gauge(|facts| queues(facts, |queue| queue.expires.map(seconds), None)),
    },
    // Agents and connections.
    Metric {
        base: "agent_connected",
        unit: None,
        labels: AGENT,
        nl: "Of de agent van deze partner verbonden is; er niet als de toegang is ingetrokken.",
        en: "Whether this partner's agent is connected; absent when its access was taken away.",
        values: Values::Gauge(|facts| agents(facts, |agent| Some(flag(agent.is_connected())))),
    },
    Metric {
        base: "agent_last_seen_timestamp",
        unit: Some(Unit::Seconds),
        labels: AGENT,
        nl: "Wanneer de agent het laatst verbonden was: nu, als hij dat is. Er niet als hij dat sinds de start niet was.",
        en: "When the agent was last connected: now, when it is. Absent when it was not since the start.",
        values: Values::Gauge(|facts| {
            let now = facts.board.now;
            agents(facts, |agent| match agent.links.as_slice() {
                [] => agent.last_seen.map(seconds),
                _ => Some(seconds(now)),
            })
        }),
    },
    Metric {
        base: "agent_certificate_expiry_timestamp",
        unit: Some(Unit::Seconds),
        labels: AGENT,
        nl: "Wanneer het certificaat eindigt waarmee de agent sinds de start verbonden was, het laatste van meer.",
        en: "When the certificate ends with which the agent was connected since the start, the last of several.",
        values: Values::Gauge(|facts| agents(facts, |agent| agent.certificate_ends.map(seconds))),
    },
    Metric {
        base: "agent_prekey_expiry_timestamp",
        unit: Some(Unit::Seconds),
        labels: AGENT,
        nl: "Wanneer de laatste van de prekeys eindigt die de agent publiceerde; daarna kan niemand hem iets sturen.",
        en: "When the last of the prekeys ends that the agent published; after that nobody can send it anything.",
        values: Values::Gauge(|facts| agents(facts, |agent| agent.prekeys_end.map(seconds))),
    },
    Metric {
        base: "agent_clock_offset",
        unit: Some(Unit::Seconds),
        labels: AGENT,
        nl: "Hoeveel de klok van een verbonden agent voorloopt op die van de broker; achter is onder nul. Er niet zolang zijn antwoorden van het laatste uur het niet zeggen.",
        en: "By how much the clock of a connected agent is ahead of the broker's; behind is below zero. Absent while its answers of the last hour do not say.",
        values: Values::Gauge(|facts| agents(facts, |agent| Some(signed(agent.clock?.middle_ms()) / MILLIS))),
    },
    Metric {
        base: "agent_clock_margin",
        unit: Some(Unit::Seconds),
        labels: AGENT,
        nl: "Hoeveel dat er hoogstens naast kan zitten.",
        en: "By how much that can be wrong at most.",
        values: Values::Gauge(|facts| agents(facts, |agent| Some(float(agent.clock?.margin_ms()) / MILLIS))),
    },
    Metric {
        base: "agent_round_trip",
        unit: Some(Unit::Seconds),
        labels: AGENT,
        nl: "Hoe lang een pakketje heen en terug duurt, over de snelste verbinding met QUIC.",
        en: "How long a datagram takes there and back, over the fastest connection by QUIC.",
        values: Values::Gauge(|facts| {
            agents(facts, |agent| {
                let fastest = agent.links.iter().filter_map(|link| link.rtt_us).min();
                fastest.map(|micros| float(micros) / MICROS)
            })
        }),
    },
    Metric {
        base: "certificate_expiry_timestamp",
        unit: Some(Unit::Seconds),
        labels: NONE,
        nl: "Wanneer het eigen certificaat van de broker eindigt.",
        en: "When the broker's own certificate ends.",
        values: Values::Gauge(|facts| maybe(facts.board.certificate_ends.map(seconds))),
    },
    Metric {
        base: "connections",
        unit: None,
        labels: KIND,
        nl: "Verbindingen, over `quic` of `tcp`.",
        en: "Connections, over `quic` or `tcp`.",
        values: Values::Gauge(connections),
    },
    Metric {
        base: "handshakes",
        unit: None,
        labels: KIND,
        nl: "Handshakes die tot een verbinding leidden, over `quic` of `tcp`.",
        en: "Handshakes that led to a connection, over `quic` or `tcp`.",
        values: Values::Counter(|facts| {
            let all = facts.board.run.handshakes.iter();
            all.map(|row| (vec![row.transport.clone()], row.done)).collect()
        }),
    },
    Metric {
        base: "handshake_failures",
        unit: None,
        labels: KIND,
        nl: "Handshakes die mislukten of te lang duurden; wie het was, is dan niet bekend.",
        en: "Handshakes that failed or took too long; who it was is not known then.",
        values: Values::Counter(|facts| {
            let all = facts.board.run.handshakes.iter();
            all.map(|row| (vec![row.transport.clone()], row.failed)).collect()
        }),
    },
    // The exchange log.
    Metric {
        base: "log_entries",
        unit: None,
        labels: KIND,
        nl: "Regels die in het log zijn geschreven, per soort.",
        en: "Entries written to the log, by kind.",
        values: Values::Counter(|facts| {
            facts.board.run.kinds.iter().map(|(kind, count)| (vec![kind.clone()], *count)).collect()
        }),
    },
    Metric {
        base: "log_size_entries",
        unit: None,
        labels: NONE,
        nl: "Regels in het log dat groeit.",
        en: "Entries in the log that grows.",
        values: Values::Gauge(|facts| one(float(facts.board.log.size))),
    },
    Metric {
        base: "log_last_entry_timestamp",
        unit: Some(Unit::Seconds),
        labels: NONE,
        nl: "Wanneer de laatste regel is geschreven.",
        en: "When the last entry was written.",
        values: Values::Gauge(|facts| maybe(facts.board.since.map(|_| seconds(facts.board.log.last_entry)))),
    },
    Metric {
        base: "log_uncounted_entries",
        unit: None,
        labels: NONE,
        nl: "Regels die geschreven en hier nog niet meegeteld zijn.",
        en: "Entries that are written and not counted here yet.",
        values: Values::Gauge(|facts| one(float(facts.board.behind))),
    },
    Metric {
        base: "log_cosigned_size_entries",
        unit: None,
        labels: NONE,
        nl: "Hoeveel regels genoeg getuigen meetekenden, voor het convenant dat het verst achterloopt.",
        en: "How many entries enough witnesses cosigned, for the covenant that is furthest behind.",
        values: Values::Gauge(|facts| {
            let sizes = facts.board.quorums.iter().map(|quorum| quorum.size.unwrap_or_default());
            maybe(sizes.min().map(float))
        }),
    },
    Metric {
        base: "log_quorum_timestamp",
        unit: Some(Unit::Seconds),
        labels: NONE,
        nl: "Wanneer genoeg getuigen voor het laatst meetekenden, voor het convenant dat het verst achterloopt.",
        en: "When enough witnesses last cosigned, for the covenant that is furthest behind.",
        values: Values::Gauge(|facts| {
            let ages = facts.board.quorums.iter().map(|quorum| quorum.age_ms).max();
            maybe(ages.map(|age| seconds(facts.board.now.minus(Span(age)))))
        }),
    },
    Metric {
        base: "log_witness_size_entries",
        unit: None,
        labels: WITNESS,
        nl: "Hoeveel regels deze getuige het laatst meetekende.",
        en: "How many entries this witness cosigned last.",
        values: Values::Gauge(|facts| {
            let all = facts.board.witnesses.iter();
            all.filter_map(|one| Some((vec![one.name.clone()], float(one.size?)))).collect()
        }),
    },
    Metric {
        base: "log_witness_reachable",
        unit: None,
        labels: WITNESS,
        nl: "Of deze getuige nu gevraagd kan worden.",
        en: "Whether this witness can be asked now.",
        values: Values::Gauge(|facts| {
            let all = facts.board.witnesses.iter();
            all.map(|one| (vec![one.name.clone()], flag(one.reachable))).collect()
        }),
    },
    Metric {
        base: "log_witness_suspect",
        unit: None,
        labels: WITNESS,
        nl: "Of deze getuige iets zei dat op twee geschiedenissen van het log kan wijzen.",
        en: "Whether this witness said something that may mean that the log has two histories.",
        values: Values::Gauge(|facts| {
            let all = facts.board.witnesses.iter();
            all.map(|one| (vec![one.name.clone()], flag(one.suspect.is_some()))).collect()
        }),
    },
    Metric {
        base: "log_witness_refusals",
        unit: None,
        labels: WITNESS,
        nl: "Antwoorden van deze getuige waar niets aan was.",
        en: "Answers of this witness that were of no use.",
        values: Values::Counter(|facts| {
            facts.board.witnesses.iter().map(|one| (vec![one.name.clone()], one.refused)).collect()
        }),
    },
    Metric {
        base: "log_selfcheck_timestamp",
        unit: Some(Unit::Seconds),
        labels: NONE,
        nl: "Wanneer alle bestanden van het log voor het laatst helemaal zijn nagerekend.",
        en: "When all files of the log were last checked in full.",
        values: Values::Gauge(|facts| maybe(facts.board.log.checked.map(seconds))),
    },
    Metric {
        base: "log_selfcheck_failures",
        unit: None,
        labels: NONE,
        nl: "Wat daarbij niet klopt, tot een ronde waarin alles klopt.",
        en: "What of it does not hold, until a round in which all does.",
        values: Values::Gauge(|facts| one(float(count(facts.board.log.failures.len())))),
    },
    Metric {
        base: "log_year_refused",
        unit: None,
        labels: NONE,
        nl: "Of de klok te ver voor op het log is om het volgende jaar vanzelf te beginnen.",
        en: "Whether the clock is too far past the log for the next year to begin by itself.",
        values: Values::Gauge(|facts| one(flag(facts.board.log.year_refused))),
    },
    // Storage.
    Metric {
        base: "commit_duration",
        unit: Some(Unit::Seconds),
        labels: NONE,
        nl: "Hoe lang het duurde tot een beurt vastlag op schijf, in hele milliseconden gemeten.",
        en: "How long it took for a turn to be on stable storage, measured in whole milliseconds.",
        values: Values::Histogram(|board| board.storage.flush, FLUSH_MILLIS, MILLIS),
    },
    Metric {
        base: "commit_batch_entries",
        unit: None,
        labels: NONE,
        nl: "Hoeveel regels van het log een beurt had.",
        en: "How many log entries a turn had.",
        values: Values::Histogram(|board| board.storage.batch, BATCH_ENTRIES, 1.0),
    },
    Metric {
        base: "flushes",
        unit: None,
        labels: NONE,
        nl: "Hoe vaak het journaal naar stabiele opslag is geschreven.",
        en: "How often the journal was flushed to stable storage.",
        values: Values::Counter(|facts| [(Vec::new(), facts.board.storage.flushes)].into()),
    },
    Metric {
        base: "storage",
        unit: Some(Unit::Bytes),
        labels: KIND,
        nl: "Bytes van het journaal op schijf (`journal`), en wat daarvan nog nodig is (`live`).",
        en: "Bytes of the journal on disk (`journal`), and what of it is still needed (`live`).",
        values: Values::Gauge(|facts| {
            let storage = &facts.board.storage;
            [("journal", storage.disk_bytes), ("live", storage.live_bytes)]
                .map(|(kind, bytes)| (vec![kind.to_owned()], float(bytes)))
                .into()
        }),
    },
    Metric {
        base: "storage_free",
        unit: Some(Unit::Bytes),
        labels: NONE,
        nl: "Vrije bytes op de schijf van opslag en log.",
        en: "Free bytes on the disk of store and log.",
        values: Values::Gauge(|facts| maybe(facts.board.storage.free_bytes.map(float))),
    },
    Metric {
        base: "storage_keep_free",
        unit: Some(Unit::Bytes),
        labels: NONE,
        nl: "Bytes die vrij blijven: met minder wordt niets nieuws aangenomen (`store.keep_free_mib`).",
        en: "Bytes that are kept free: with less nothing new is taken in (`store.keep_free_mib`).",
        values: Values::Gauge(|facts| one(float(facts.board.storage.keep_free_bytes))),
    },
];

fn seconds(at: Timestamp) -> f64 {
    float(at.0) / MILLIS
}

/// The nearest float of what may be below zero.
fn signed(value: i64) -> f64 {
    let size = float(value.unsigned_abs());
    if value < 0 { -size } else { size }
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn count(many: usize) -> u64 {
    u64::try_from(many).unwrap_or(u64::MAX)
}

/// A value without labels.
fn one(value: f64) -> Rows<f64> {
    [(Vec::new(), value)].into()
}

/// A value without labels, when there is one.
fn maybe(value: Option<f64>) -> Rows<f64> {
    value.map(one).unwrap_or_default()
}

/// Adds up what has the same labels: organisations that are no partners are one.
fn sum(all: impl Iterator<Item = (Vec<String>, u64)>) -> Rows<u64> {
    all.fold(Rows::new(), |mut rows, (labels, value)| {
        let row = rows.entry(labels).or_default();
        *row = row.saturating_add(value);
        rows
    })
}

fn accepted(facts: &Facts<'_>) -> Rows<u64> {
    sum(facts.board.run.packets.iter().flat_map(|row| {
        row.accepted.iter().map(|(of, count)| {
            (vec![facts.party(&row.from), facts.party(&row.to), row.flow.clone(), of.clone()], *count)
        })
    }))
}

fn flows(facts: &Facts<'_>, of: impl Fn(&PacketsRow) -> u64) -> Rows<u64> {
    let labels = |row: &PacketsRow| vec![facts.party(&row.from), facts.party(&row.to), row.flow.clone()];
    sum(facts.board.run.packets.iter().map(|row| (labels(row), of(row))))
}

fn refused(facts: &Facts<'_>) -> Rows<u64> {
    sum(facts.board.run.refusals.iter().map(|(from, reason, count)| {
        let from = from.map_or_else(|| UNKNOWN.to_owned(), |oin| facts.party(&oin));
        let reason = Refusal::from_number(*reason).map_or(UNKNOWN, Refusal::slug);
        (vec![from, reason.to_owned()], *count)
    }))
}

fn lanes(facts: &Facts<'_>, at: impl Fn(&crate::LaneRow) -> Option<Timestamp>) -> Rows<f64> {
    let all = facts.board.lanes.iter();
    all.filter_map(|lane| {
        let labels = vec![facts.party(&lane.from), facts.party(&lane.to), lane.flow.clone()];
        Some((labels, seconds(at(lane)?)))
    })
    .collect()
}

/// A value of each mailbox; `empty` for partners of whom nothing waits, so that they do not come and go.
fn queues(facts: &Facts<'_>, value: impl Fn(&QueueRow) -> Option<f64>, empty: Option<f64>) -> Rows<f64> {
    let nothing = agents(facts, |_| empty);
    let all = facts.board.queues.iter();
    nothing
        .into_iter()
        .chain(all.filter_map(|queue| Some((vec![facts.party(&queue.oin)], value(queue)?))))
        .collect()
}

fn waiting(facts: &Facts<'_>) -> Rows<f64> {
    let state = |state: &str, of: fn(&QueueRow) -> u64| {
        let rows = queues(facts, |queue| Some(float(of(queue))), Some(0.0));
        let state = state.to_owned();
        rows.into_iter().map(move |(mut labels, value)| {
            labels.push(state.clone());
            (labels, value)
        })
    };
    state("waiting", |queue| queue.packets.saturating_sub(queue.inflight).saturating_sub(queue.frozen))
        .chain(state("inflight", |queue| queue.inflight))
        .chain(state("frozen", |queue| queue.frozen))
        .collect()
}

/// A value of each partner that has access.
fn agents(facts: &Facts<'_>, value: impl Fn(&AgentRow) -> Option<f64>) -> Rows<f64> {
    let all = facts.board.agents.iter().filter(|agent| agent.revoked.is_none());
    all.filter_map(|agent| Some((vec![agent.oin.to_string()], value(agent)?))).collect()
}

fn connections(facts: &Facts<'_>) -> Rows<f64> {
    let links = || facts.board.agents.iter().flat_map(|agent| &agent.links);
    let of = |kind: &str| links().filter(|link| link.transport == kind).count();
    ["quic", "tcp"].map(|kind| (vec![kind.to_owned()], float(count(of(kind))))).into()
}
