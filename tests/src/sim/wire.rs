//! What is said as bytes: framed and read again with the product's own code, where its shells do that.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use seinhuis_agent_core::{Extent, Input as ToCore, Send as Asked};
use seinhuis_broker_core::{Ask, Consumed, Core, Send, TakeBack};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::{Compiled, Covenant};
use seinhuis_shared::frame::{self, HEADER_LEN, Header, Kind};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::wire::{
    self, Agreements, Case, Cases, Consistency, Consume, Cosigned, Entries, FetchCase, FetchConsistency,
    FetchCovenant, FetchEntries, FetchPrekeys, FetchSuccession, Message as _, Notices, NoticesTaken, Offer,
    Prekeys, Refuse, Rotations, Succession, Witnessed,
};

use super::broker::Broker;
use super::cast;
use super::oracle::Violation;

/// Covenants that are kept read.
const MOST_READ: usize = 64;

/// A frame apart: its kind and payload.
///
/// # Errors
/// What a shell refuses it for.
pub(super) fn read(frame: &[u8]) -> Result<(Kind, &[u8]), Refusal> {
    let (head, payload) = frame.split_first_chunk::<HEADER_LEN>().ok_or(Refusal::Malformed)?;
    let header = Header::parse(*head)?;
    if payload.len() == header.length { Ok((header.kind, payload)) } else { Err(Refusal::Malformed) }
}

/// What an agent says, as its shell frames it; none for a packet that is not at hand, and for what is not said.
pub(super) fn of_agent(send: &Asked) -> Result<Option<Vec<u8>>, Refusal> {
    let framed = match send {
        Asked::Submit { packet: None, .. } | Asked::Reconnect => return Ok(None),
        Asked::Submit { packet: Some(packet), .. } => frame::encode(Kind::Submit, packet),
        Asked::Acknowledge(bytes) => frame::encode(Kind::Acknowledge, bytes),
        Asked::NoticesTaken(cursor) => NoticesTaken { cursor: *cursor }.to_frame(),
        Asked::Withdraw { bytes, .. } => frame::encode(Kind::Withdraw, bytes),
        Asked::Consume { consume, .. } => consume.to_frame(),
        Asked::FetchEntries { ask, .. } => ask.to_frame(),
        Asked::Publish { bundle, .. } => frame::encode(Kind::PublishPrekeys, bundle),
        Asked::FetchPrekeys(_, oins) => FetchPrekeys { oins: oins.clone() }.to_frame(),
        Asked::FetchCovenant(hash, _) => FetchCovenant { hash: *hash }.to_frame(),
        Asked::Propose { bytes, .. } => frame::encode(Kind::Propose, bytes),
        Asked::Vote { bytes, .. } => frame::encode(Kind::Vote, bytes),
        Asked::Decide { bytes, .. } => frame::encode(Kind::Decide, bytes),
        Asked::Rotate(bytes) => frame::encode(Kind::Rotate, bytes),
        Asked::FetchCase(case) => FetchCase { case: *case }.to_frame(),
        Asked::FetchConsistency(origin, sizes) => {
            FetchConsistency { origin: origin.clone(), sizes: sizes.clone() }.to_frame()
        }
        Asked::FetchSuccession { origin, size } => {
            FetchSuccession { origin: origin.clone(), size: *size }.to_frame()
        }
        Asked::Cosigned(answer) => answer.to_frame(),
    };
    framed.map(Some)
}

/// What the broker says on a session, lane or delivery stream, framed; none for what is no message of those.
pub(super) fn of_broker(broker: &Broker, send: Send) -> Result<Option<Vec<u8>>, Violation> {
    let frame = match send {
        Send::Welcome { welcome, .. } => welcome.to_frame(),
        Send::Refuse { refuse, request: None, .. } => refuse.to_frame(),
        Send::Verdict { packet, outcome, receipt, .. } => {
            let receipt = broker.logs.receipt(receipt)?;
            wire::Verdict { packet, outcome, receipt }.to_frame()
        }
        Send::Deferred { deferred, .. } => deferred.to_frame(),
        Send::Offer { item, bytes, receipt, .. } => {
            let bytes =
                bytes.map(|bytes| bytes.to_vec()).or_else(|| broker.disk.blob(&item.packet.0).ok().flatten());
            // What cannot be offered unharmed stays where it is.
            let Some(bytes) = bytes else { return Ok(None) };
            Offer { packet: Bytes(bytes), receipt: broker.logs.receipt(receipt)? }.to_frame()
        }
        Send::Agreements { agreements, .. } => Agreements { agreements }.to_frame(),
        Send::Cases { cases, .. } => Cases { cases }.to_frame(),
        Send::Notices { cursor, row, .. } => broker.logs.notices(cursor, &row)?.to_frame(),
        Send::Witnessed { witnessed, .. } => witnessed.to_frame(),
        Send::AddCheckpoint { question, .. } => {
            frame::encode(Kind::AddCheckpoint, &broker.logs.question(question)?)
        }
        Send::Refuse { request: Some(_), .. }
        | Send::Close { .. }
        | Send::Done { .. }
        | Send::Prekeys { .. }
        | Send::Covenant { .. }
        | Send::Case { .. }
        | Send::Rotations { .. }
        | Send::Entries { .. }
        | Send::Succession { .. }
        | Send::Consistency { .. }
        | Send::AskOutside { .. }
        | Send::Answer { .. } => return Ok(None),
    };
    frame.map(Some).map_err(cast::setup)
}

/// A covenant as it is read, and checked, from its bytes; the same bytes once for all histories of a process, as that
/// takes longer than most of what a history is about.
fn compile(document: &[u8]) -> Option<Arc<Compiled>> {
    static READ: LazyLock<Mutex<BTreeMap<Digest, Arc<Compiled>>>> = LazyLock::new(Mutex::default);
    let read = || READ.lock().unwrap_or_else(PoisonError::into_inner);
    let name = sha256(document);
    if let Some(known) = read().get(&name) {
        return Some(Arc::clone(known));
    }
    let compiled = Covenant::from_bytes(document).and_then(Compiled::new).map(Arc::new).ok()?;
    let mut read = read();
    if read.len() >= MOST_READ {
        read.clear();
    }
    read.insert(name, Arc::clone(&compiled));
    Some(compiled)
}

/// The broker's answer to a request, framed.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others answer no request")]
pub(super) fn answer(broker: &Broker, send: Send) -> Result<Vec<u8>, Violation> {
    let frame = match send {
        Send::Done { .. } => frame::encode(Kind::Done, &[]),
        Send::Prekeys { bundles, .. } => {
            let bundles = bundles.into_iter().map(|(oin, bytes)| (oin, Bytes(bytes))).collect();
            Prekeys { bundles }.to_frame()
        }
        Send::Covenant { agreement, rotations, .. } => {
            let document = Bytes(agreement.compiled().covenant().to_bytes());
            wire::Covenant { document, casts: agreement.casts().to_vec(), rotations }.to_frame()
        }
        Send::Rotations { rotations, .. } => Rotations { rotations }.to_frame(),
        Send::Case { decisions, .. } => Case { decisions }.to_frame(),
        Send::Entries { pick, .. } => {
            let core = broker.core.as_ref().ok_or_else(|| cast::setup("the broker does not run"))?;
            match broker.logs.picked(pick, core)? {
                Some(entries) => entries.to_frame(),
                None => Refuse { reason: Refusal::NotFound.number(), retry_after: None }.to_frame(),
            }
        }
        Send::Consistency { log, sizes, .. } => {
            let log = broker.logs.0.get(log).ok_or_else(|| cast::setup("no such log"))?;
            let pairs = sizes.windows(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?)));
            let proofs = pairs.map(|(old, new)| log.consistency(old, new)).collect::<Result<_, _>>()?;
            Consistency { proofs }.to_frame()
        }
        Send::Succession { log, proof, origin, closing, opening, .. } => {
            let log = broker.logs.0.get(log).ok_or_else(|| cast::setup("no such log"))?;
            let proof = proof.map(|(old, new)| log.consistency(old, new)).transpose()?.unwrap_or_default();
            Succession { origin, closing, opening, proof }.to_frame()
        }
        Send::Refuse { refuse, .. } => refuse.to_frame(),
        other => return Err(cast::setup(format!("{other:?} answers no request"))),
    };
    frame.map_err(cast::setup)
}

/// A request as the broker's shell reads it.
///
/// # Errors
/// What the shell refuses it for.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are no requests")]
pub(super) fn ask(
    (core, broker): (&Core, &Broker),
    (kind, payload): (Kind, &[u8]),
    peer: Oin,
) -> Result<Ask, Refusal> {
    let directory = core.directory();
    Ok(match kind {
        Kind::PublishPrekeys => {
            Ask::PublishPrekeys { bytes: payload.to_vec(), bundle: directory.prekeys(payload, &peer) }
        }
        Kind::FetchPrekeys => Ask::FetchPrekeys(FetchPrekeys::parse(payload)?.oins),
        Kind::FetchCovenant => Ask::FetchCovenant(FetchCovenant::parse(payload)?.hash),
        Kind::Propose => Ask::Propose(compile(payload).ok_or(Refusal::CovenantInvalid)),
        Kind::Vote => Ask::Vote(payload.to_vec()),
        Kind::Decide => Ask::Decide(payload.to_vec()),
        Kind::Rotate => Ask::Rotate(payload.to_vec()),
        Kind::FetchCase => Ask::FetchCase(FetchCase::parse(payload)?.case),
        Kind::Cosigned => Ask::Cosigned(Cosigned::parse(payload)?),
        Kind::FetchEntries => Ask::FetchEntries(FetchEntries::parse(payload)?),
        Kind::Withdraw => Ask::Withdraw(TakeBack::examine(payload, &peer, &directory).map(Box::new)),
        Kind::Consume => {
            let consume = Consume::parse(payload)?;
            let log = broker.logs.named(&consume.origin);
            let entry =
                log.and_then(|log| Some((log.base + consume.accepted, log.entry(consume.accepted).ok()?)));
            let entry = entry.as_ref().map(|(position, bytes)| (*position, bytes.0.as_slice()));
            Ask::Consume(Consumed::examine(consume, entry, &peer, &directory).map(Box::new))
        }
        Kind::FetchConsistency => {
            let FetchConsistency { origin, sizes } = FetchConsistency::parse(payload)?;
            Ask::FetchConsistency(origin, sizes)
        }
        Kind::FetchSuccession => {
            let FetchSuccession { origin, size } = FetchSuccession::parse(payload)?;
            Ask::FetchSuccession(origin, size)
        }
        _ => return Err(Refusal::UnexpectedMessage),
    })
}

/// A message of the stream of deliveries as the agent's shell reads it.
///
/// # Errors
/// What ends the session.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are no deliveries")]
pub(super) fn delivery((kind, payload): (Kind, &[u8])) -> Result<ToCore, Refusal> {
    Ok(match kind {
        Kind::Offer => ToCore::Offer(Box::new(Offer::parse(payload)?)),
        Kind::Notices => ToCore::Notices(Box::new(Notices::parse(payload)?)),
        Kind::Agreements => ToCore::Agreements(Agreements::parse(payload)?.agreements),
        Kind::Cases => ToCore::Cases(Cases::parse(payload)?.cases),
        Kind::AddCheckpoint => ToCore::AddCheckpoint(payload.to_vec()),
        Kind::Witnessed => ToCore::Witnessed(Witnessed::parse(payload)?),
        _ => return Err(Refusal::UnexpectedMessage),
    })
}

/// The version that was asked for, with the words that make it count.
fn covenant(payload: &[u8], hash: Digest, had: Extent) -> Option<ToCore> {
    let wire::Covenant { document, casts, rotations } = wire::Covenant::parse(payload).ok()?;
    let compiled = compile(&document)?;
    (compiled.hash() == hash).then_some(ToCore::Covenant { had, compiled, casts, rotations })
}

/// The answer to a request as the agent's shell brings it to its core; no frame is no answer in time.
pub(super) fn answered(asked: &Asked, answer: Option<(Kind, &[u8])>) -> Option<ToCore> {
    let refused = match answer {
        Some((Kind::Refuse, payload)) => Refuse::parse(payload).ok().map(|refuse| refuse.reason),
        Some(_) | None => None,
    };
    let entries = || match answer {
        Some((Kind::Entries, payload)) => Entries::parse(payload).map(Box::new).map_err(Refusal::number),
        _ => Err(refused.unwrap_or(Refusal::TooBusy.number())),
    };
    let done = || match answer {
        Some((Kind::Done, _)) => Some(0),
        _ => refused,
    };
    match asked {
        Asked::Withdraw { position, .. } => Some(ToCore::TakenBack(*position, entries())),
        Asked::Consume { position, .. } => Some(ToCore::ConsumeAnswered(*position, entries())),
        Asked::FetchEntries { token, ask } => {
            Some(ToCore::Entries { token: *token, ask: ask.clone(), answer: entries() })
        }
        Asked::Publish { seq, .. } => match done()? {
            0 => Some(ToCore::Published(*seq)),
            reason => Some(ToCore::PublishRefused(reason)),
        },
        Asked::FetchPrekeys(number, _) => match answer {
            Some((Kind::Prekeys, payload)) => {
                Some(ToCore::Prekeys(*number, Prekeys::parse(payload).ok()?.bundles))
            }
            _ => None,
        },
        Asked::FetchCovenant(hash, had) => match answer {
            Some((Kind::Covenant, payload)) => covenant(payload, *hash, *had),
            _ => None,
        },
        Asked::Propose { hash, .. } => Some(ToCore::ProposalAnswered(*hash, done()?)),
        Asked::Vote { hash, word, .. } => Some(ToCore::VoteAnswered(*hash, *word, done()?)),
        Asked::Decide { case, .. } => Some(ToCore::DecisionAnswered(*case, done()?)),
        Asked::Rotate(_) => match answer {
            Some((Kind::Rotations, payload)) => {
                let read = Rotations::parse(payload).map(|answer| answer.rotations);
                Some(ToCore::RotationAnswered(read.map_err(Refusal::number)))
            }
            _ => Some(ToCore::RotationAnswered(Err(refused?))),
        },
        Asked::FetchCase(case) => match answer {
            Some((Kind::Case, payload)) => {
                Some(ToCore::Case(*case, Some(Case::parse(payload).ok()?.decisions)))
            }
            _ if refused == Some(Refusal::NotFound.number()) => Some(ToCore::Case(*case, None)),
            _ => None,
        },
        Asked::FetchConsistency(origin, sizes) => Some(match answer {
            Some((Kind::Consistency, payload)) => match Consistency::parse(payload) {
                Ok(Consistency { proofs }) => {
                    ToCore::Consistency { origin: origin.clone(), sizes: sizes.clone(), proofs }
                }
                Err(_) => ToCore::ConsistencyFailed,
            },
            _ => ToCore::ConsistencyFailed,
        }),
        Asked::FetchSuccession { .. } => Some(ToCore::Succession(match answer {
            Some((Kind::Succession, payload)) => {
                Succession::parse(payload).map(Box::new).map_err(Refusal::number)
            }
            _ => Err(refused.unwrap_or(Refusal::TooBusy.number())),
        })),
        Asked::Submit { .. }
        | Asked::Acknowledge(_)
        | Asked::NoticesTaken(_)
        | Asked::Reconnect
        | Asked::Cosigned(_) => None,
    }
}
