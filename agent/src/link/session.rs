//! One session: hello and welcome, then packets, offers, acknowledgements and requests on their streams.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use seinhuis_agent_core::carrier::Policy;
use seinhuis_agent_core::{Extent, Input, Send};
use seinhuis_shared::cbor;
use seinhuis_shared::covenant::{Compiled, Covenant};
use seinhuis_shared::frame::{self, Kind};
use seinhuis_shared::limits::CLOCK_SKEW;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{
    self, Agreements, Cases, Consistency, Cosigned, Entries, FetchCase, FetchConsistency, FetchCovenant,
    FetchPrekeys, FetchSuccession, Hello, Message, Notices, NoticesTaken, Offer, Prekeys, Refuse, VERSION,
    Welcome, Witnessed,
};
use seinhuis_shell::clock::now;
use seinhuis_shell::keys::random;
use seinhuis_shell::lang::Text;
use seinhuis_shell::link::{Closed, Connection, RecvStream, SendStream};
use seinhuis_shell::quic::{self, FrameError};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::dial::Dialled;
use super::lane::{self, Flying, Submission};
use super::parting::Parting;
use super::{End, Memory, PATIENCE, Work, explain};
use crate::SOFTWARE;
use crate::engine::{self, Job, Room};

/// How often a request that is put off is made again within one session.
const RETRIES: usize = 5;

/// The engine's thread is gone.
#[derive(Debug)]
pub(crate) struct Gone;

pub(crate) fn post(jobs: &Sender<Job>, input: Input) -> Result<(), Gone> {
    jobs.send(Job::Input(input)).map_err(|_| Gone)
}

/// The stream broke off: the connection's own end says more, if there is one.
pub(crate) fn broke(error: &impl Display) -> End {
    End::Failed(Text::new(
        format!("De verbinding met de broker brak af: {error}."),
        format!("The connection with the broker broke off: {error}."),
    ))
}

/// The broker says something that does not belong in the conversation.
pub(crate) fn unexpected(refusal: Refusal) -> End {
    End::Failed(Text::new(
        format!("De broker houdt zich niet aan het protocol ({refusal}). Werk broker en agent bij."),
        format!("The broker does not keep to the protocol ({refusal}). Update broker and agent."),
    ))
}

/// A refusal on a stream.
pub(crate) fn refuse(bytes: &[u8]) -> End {
    let Ok(Refuse { reason, retry_after }) = Refuse::parse(bytes) else {
        return unexpected(Refusal::Malformed);
    };
    match (Refusal::from_number(reason), retry_after) {
        (Some(refusal), Some(after)) if refusal.is_passing() => End::PutOff(refusal, Span(after)),
        (Some(refusal), _) => End::Refused(refusal),
        (None, _) => unexpected(Refusal::Malformed),
    }
}

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    /// What the engine wants sent.
    pub(super) outgoing: UnboundedReceiver<Send>,
    /// Stays open, without more on it, for as long as the session lasts.
    pub(super) _stream: (SendStream, RecvStream),
}

/// Says hello on a fresh connection, and tells the engine of the session that comes of it.
///
/// # Errors
/// Why there is none.
pub(crate) async fn greet(
    dialled: &Dialled,
    work: &Work,
    policy: Policy,
    memory: &mut Memory,
    stop: &mut watch::Receiver<bool>,
) -> Result<Session, End> {
    let (connection, jobs) = (&dialled.connection, &work.jobs);
    let greeted = tokio::select! {
        greeted = tokio::time::timeout(PATIENCE, hello(connection, jobs)) => greeted,
        _ = stop.changed() => return Err(End::Stopped),
    };
    let (welcome, stream) = match greeted {
        Ok(Ok(welcomed)) => welcomed,
        Ok(Err(end)) => return Err(better(connection, end)),
        Err(_) => return Err(explain::silent(&connection.remote_address().to_string())),
    };
    let at = now();
    let ahead = i64::try_from(at.0)
        .unwrap_or(i64::MAX)
        .saturating_sub(i64::try_from(welcome.now.0).unwrap_or(i64::MAX));
    if ahead.unsigned_abs() > CLOCK_SKEW.0 {
        tracing::warn!(
            seconds = ahead.wrapping_div(1000),
            "this machine's clock differs from the broker's: set it (NTP)"
        );
    }
    tracing::info!(broker = %welcome.software, transport = connection.transport(), "session with the broker");
    memory.backoff.connected(at);
    memory.carriers.began(policy, dialled.carrier, at, u64::from_be_bytes(random()));
    let quic_again = memory.carriers.again(policy);
    work.status.change(|status| {
        status.connected = Some(at);
        status.carrier = Some(dialled.carrier);
        status.quic_again = quic_again;
        status.next_attempt = None;
        (status.problem, status.refusal) = (None, None);
        status.clock_ahead = Some(ahead);
        status.software = Some(welcome.software.clone());
    });
    let (sends, outgoing) = mpsc::unbounded_channel();
    if jobs.send(Job::Connected(Box::new(welcome), sends)).is_err() {
        return Err(End::Stopped);
    }
    Ok(Session { outgoing, _stream: stream })
}

/// Holds a session until it ends.
pub(crate) async fn hold(
    connection: &Connection,
    work: &Work,
    session: Session,
    stop: &mut watch::Receiver<bool>,
) -> End {
    let Session { outgoing, _stream } = session;
    let end = converse(connection, &work.jobs, &work.room, outgoing, stop).await;
    better(connection, end)
}

/// The reason the connection closed with, when that is why a stream broke.
fn better(connection: &Connection, end: End) -> End {
    match (end, connection.close_reason()) {
        (End::Failed(_), Some(reason)) => closed(connection, &reason),
        (end, _) => end,
    }
}

/// What this connection ended with.
pub(super) fn closed(connection: &Connection, reason: &Closed) -> End {
    explain::connection(reason, &connection.remote_address().to_string())
}

/// Says hello on the first stream. It stays open, without more on it, for as long as the session lasts.
async fn hello(
    connection: &Connection,
    jobs: &Sender<Job>,
) -> Result<(Welcome, (SendStream, RecvStream)), End> {
    let cosigned = engine::ask(jobs, |view| view.core.cosigned_note()).await.ok_or(End::Stopped)?;
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| closed(connection, &error))?;
    let hello = Hello { version: VERSION, software: SOFTWARE.into(), cosigned };
    let bytes = hello.to_frame().map_err(unexpected)?;
    send.write_all(&bytes).await.map_err(|error| broke(&error))?;
    match quic::frame(&mut receive).await {
        Ok(Some((Kind::Welcome, bytes))) => {
            let welcome = Welcome::parse(&bytes).map_err(unexpected)?;
            if welcome.version == VERSION {
                Ok((welcome, (send, receive)))
            } else {
                Err(End::Refused(Refusal::UnknownVersion))
            }
        }
        Ok(Some((Kind::Refuse, bytes))) => Err(refuse(&bytes)),
        Ok(Some(_)) => Err(unexpected(Refusal::UnexpectedMessage)),
        Ok(None) => Err(unexpected(Refusal::Malformed)),
        Err(FrameError::Refused(refusal)) => Err(unexpected(refusal)),
        Err(FrameError::Broken(error)) => Err(broke(&error)),
    }
}

async fn converse(
    connection: &Connection,
    jobs: &Sender<Job>,
    room: &Room,
    mut outgoing: UnboundedReceiver<Send>,
    stop: &mut watch::Receiver<bool>,
) -> End {
    let (packets, to_lane) = mpsc::unbounded_channel::<Submission>();
    let (acknowledgements, to_acknowledge) = mpsc::unbounded_channel::<(Kind, Vec<u8>)>();
    let mut tasks: JoinSet<End> = JoinSet::new();
    let flying = Flying::default();
    let lane = tasks.spawn(lane::run(connection.clone(), to_lane, flying.clone(), jobs.clone()));
    let receiving = tasks.spawn(deliveries(connection.clone(), jobs.clone(), room.clone()));
    tasks.spawn(acknowledge(connection.clone(), to_acknowledge));
    let mut requests: JoinSet<Option<Gone>> = JoinSet::new();
    let end = loop {
        tokio::select! {
            // Dropping the sets ends every task of this session.
            reason = connection.closed() => return closed(connection, &reason),
            Some(ended) = tasks.join_next() => {
                return ended.unwrap_or_else(|error| broke(&error));
            }
            Some(_) = requests.join_next() => {}
            _ = stop.changed() => break End::Stopped,
            send = outgoing.recv() => {
                let Some(send) = send else { return End::Stopped };
                if matches!(send, Send::Reconnect) {
                    break End::Anew;
                }
                dispatch(send, connection, jobs, &packets, &acknowledgements, &mut requests);
            }
        }
    };
    Parting { tasks, lane, flying, receiving, packets, acknowledgements, outgoing, room }.run().await;
    end
}

/// Says up to where notices are kept.
pub(super) fn notices_taken(cursor: u64) -> (Kind, Vec<u8>) {
    (Kind::NoticesTaken, cbor::encode(&NoticesTaken { cursor }))
}

pub(super) fn dispatch(
    send: Send,
    connection: &Connection,
    jobs: &Sender<Job>,
    packets: &UnboundedSender<Submission>,
    acknowledgements: &UnboundedSender<(Kind, Vec<u8>)>,
    requests: &mut JoinSet<Option<Gone>>,
) {
    // A task that is gone ends the session, which repeats all of this in the next.
    match send {
        Send::Acknowledge(bytes) => _ = acknowledgements.send((Kind::Acknowledge, bytes)),
        Send::NoticesTaken(cursor) => _ = acknowledgements.send(notices_taken(cursor)),
        // Whoever holds the session ends it.
        Send::Reconnect => {}
        Send::Submit { digest, packet: Some(packet) } => _ = packets.send((digest, packet)),
        Send::Submit { digest, packet: None } => {
            _ = post(jobs, Input::PacketMissing(digest));
        }
        Send::Withdraw { position, bytes } => {
            let answered = move |answer| Input::TakenBack(position, answer);
            requests.spawn(entries(connection.clone(), jobs.clone(), (Kind::Withdraw, bytes), answered));
        }
        Send::Consume { position, consume } => {
            let answered = move |answer| Input::ConsumeAnswered(position, answer);
            let request = (Kind::Consume, cbor::encode(&*consume));
            requests.spawn(entries(connection.clone(), jobs.clone(), request, answered));
        }
        Send::FetchEntries { token, ask } => {
            let request = (Kind::FetchEntries, cbor::encode(&ask));
            let answered = move |answer| Input::Entries { token, ask, answer };
            requests.spawn(entries(connection.clone(), jobs.clone(), request, answered));
        }
        Send::Publish { seq, bundle } => {
            requests.spawn(publish(connection.clone(), jobs.clone(), seq, bundle));
        }
        Send::FetchPrekeys(number, oins) => {
            let request = FetchPrekeys { oins };
            requests.spawn(fetch_prekeys(connection.clone(), jobs.clone(), number, request));
        }
        Send::FetchCovenant(hash, had) => {
            let request = FetchCovenant { hash };
            requests.spawn(fetch_covenant(connection.clone(), jobs.clone(), request, had));
        }
        Send::Propose { hash, bytes } => {
            let answered = move |outcome| Input::ProposalAnswered(hash, outcome);
            requests.spawn(say(connection.clone(), jobs.clone(), Kind::Propose, bytes, answered));
        }
        Send::Vote { hash, word, bytes } => {
            let answered = move |outcome| Input::VoteAnswered(hash, word, outcome);
            requests.spawn(say(connection.clone(), jobs.clone(), Kind::Vote, bytes, answered));
        }
        Send::Decide { case, bytes } => {
            let answered = move |outcome| Input::DecisionAnswered(case, outcome);
            requests.spawn(say(connection.clone(), jobs.clone(), Kind::Decide, bytes, answered));
        }
        Send::Rotate(bytes) => {
            requests.spawn(rotate(connection.clone(), jobs.clone(), bytes));
        }
        Send::FetchCase(case) => {
            requests.spawn(fetch_case(connection.clone(), jobs.clone(), FetchCase { case }));
        }
        Send::Cosigned(answer) => {
            requests.spawn(cosign(connection.clone(), answer));
        }
        Send::FetchConsistency(origin, sizes) => {
            let request = FetchConsistency { origin, sizes };
            requests.spawn(fetch_consistency(connection.clone(), jobs.clone(), request));
        }
        Send::FetchSuccession { origin, size } => {
            let request = FetchSuccession { origin, size };
            requests.spawn(fetch_succession(connection.clone(), jobs.clone(), request));
        }
    }
}

/// Frames other than offers that are read before the engine has come to them: a broker that tells more than is taken in
/// fills its own stream.
pub(super) const TOLD: usize = 16;

/// Reads offers, notices, and how covenants and cases stand, from the one stream the broker opens for them.
pub(super) async fn deliveries(connection: Connection, jobs: Sender<Job>, room: Room) -> End {
    let mut stream = match connection.accept_uni().await {
        Ok(stream) => stream,
        Err(error) => return closed(&connection, &error),
    };
    let mut told = 0_usize;
    loop {
        let (kind, bytes) = match quic::frame(&mut stream).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return unexpected(Refusal::Malformed),
            Err(FrameError::Refused(refusal)) => return unexpected(refusal),
            Err(FrameError::Broken(error)) => return broke(&error),
        };
        let taken = if kind == Kind::Offer {
            match Offer::parse(&bytes) {
                // The next is not read before there is room for this one.
                Ok(offer) => match room.admit(Box::new(offer)).await {
                    Some(job) => jobs.send(job).is_ok(),
                    None => false,
                },
                Err(refusal) => return unexpected(refusal),
            }
        } else {
            told = told.wrapping_add(1);
            match tidings(kind, bytes) {
                Ok(input) => {
                    // An answer says that the engine has come to what was posted before the question.
                    post(&jobs, input).is_ok()
                        && (!told.is_multiple_of(TOLD) || engine::ask(&jobs, |_| ()).await.is_some())
                }
                Err(refusal) => return unexpected(refusal),
            }
        };
        if !taken {
            return End::Stopped;
        }
    }
}

/// What a broker tells beside offers.
fn tidings(kind: Kind, bytes: Vec<u8>) -> Result<Input, Refusal> {
    if kind == Kind::Notices {
        Notices::parse(&bytes).map(|notices| Input::Notices(Box::new(notices)))
    } else if kind == Kind::Agreements {
        Agreements::parse(&bytes).map(|told| Input::Agreements(told.agreements))
    } else if kind == Kind::Cases {
        Cases::parse(&bytes).map(|told| Input::Cases(told.cases))
    } else if kind == Kind::AddCheckpoint {
        Ok(Input::AddCheckpoint(bytes))
    } else if kind == Kind::Witnessed {
        Witnessed::parse(&bytes).map(Input::Witnessed)
    } else {
        Err(Refusal::UnexpectedMessage)
    }
}

async fn acknowledge(connection: Connection, mut payloads: UnboundedReceiver<(Kind, Vec<u8>)>) -> End {
    let mut stream = match connection.open_uni().await {
        Ok(stream) => stream,
        Err(error) => return closed(&connection, &error),
    };
    while let Some((kind, payload)) = payloads.recv().await {
        let bytes = match frame::encode(kind, &payload) {
            Ok(bytes) => bytes,
            Err(refusal) => return End::Refused(refusal),
        };
        if let Err(error) = stream.write_all(&bytes).await {
            return broke(&error);
        }
    }
    if stream.finish().is_ok() {
        // Whether the broker read it to its end or not: the session is over.
        stream.stopped().await;
    }
    End::Stopped
}

/// What came back on a request stream.
enum Answer {
    Frame(Kind, Vec<u8>),
    Refused(Refuse),
    Nothing,
}

/// One request on a stream of its own.
async fn ask(connection: &Connection, bytes: &[u8]) -> Answer {
    let exchange = async {
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        send.write_all(bytes).await.ok()?;
        send.finish().ok()?;
        quic::frame(&mut receive).await.ok()?
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(Some((Kind::Refuse, bytes))) => Refuse::parse(&bytes).map_or(Answer::Nothing, Answer::Refused),
        Ok(Some((kind, bytes))) => Answer::Frame(kind, bytes),
        Ok(None) | Err(_) => Answer::Nothing,
    }
}

async fn publish(connection: Connection, jobs: Sender<Job>, seq: u64, bundle: Vec<u8>) -> Option<Gone> {
    let bytes = frame::encode(Kind::PublishPrekeys, &bundle).ok()?;
    for _ in 0..RETRIES {
        match ask(&connection, &bytes).await {
            Answer::Frame(Kind::Done, _) => return post(&jobs, Input::Published(seq)).err(),
            Answer::Refused(refuse) => {
                let passing = Refusal::from_number(refuse.reason).is_some_and(Refusal::is_passing);
                if !passing {
                    return post(&jobs, Input::PublishRefused(refuse.reason)).err();
                }
                let wait = refuse.retry_after.unwrap_or(1000).clamp(100, 60_000);
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            Answer::Frame(..) | Answer::Nothing => {
                tracing::warn!("the broker did not confirm the prekeys; they are published again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    None
}

async fn fetch_prekeys(
    connection: Connection,
    jobs: Sender<Job>,
    number: u64,
    request: FetchPrekeys,
) -> Option<Gone> {
    match ask(&connection, &request.to_frame().ok()?).await {
        Answer::Frame(Kind::Prekeys, bytes) => match Prekeys::parse(&bytes) {
            Ok(prekeys) => post(&jobs, Input::Prekeys(number, prekeys.bundles)).err(),
            Err(refusal) => {
                tracing::warn!(%refusal, "the broker's prekeys cannot be read; they are fetched again later");
                None
            }
        },
        Answer::Refused(refuse) => {
            tracing::warn!(
                reason = refuse.reason,
                "the broker gives no prekeys; they are fetched again later"
            );
            None
        }
        Answer::Frame(..) | Answer::Nothing => None,
    }
}

/// Asks for a version. What it says is read here, away from the engine; its votes are checked there. No answer
/// is asked for again by the core.
async fn fetch_covenant(
    connection: Connection,
    jobs: Sender<Job>,
    request: FetchCovenant,
    had: Extent,
) -> Option<Gone> {
    let Answer::Frame(Kind::Covenant, bytes) = ask(&connection, &request.to_frame().ok()?).await else {
        tracing::warn!(hash = %request.hash, "the broker gives no covenant; it is asked again later");
        return None;
    };
    let read = move || {
        let answer = wire::Covenant::parse(&bytes).map_err(|refusal| refusal.to_string())?;
        let covenant = Covenant::from_bytes(&answer.document).map_err(|error| error.to_string())?;
        let compiled = Compiled::new(covenant).map_err(|error| error.to_string())?;
        Ok::<_, String>((Arc::new(compiled), answer.casts, answer.rotations))
    };
    match tokio::task::spawn_blocking(read).await.ok()? {
        Ok((compiled, casts, rotations)) if compiled.hash() == request.hash => {
            post(&jobs, Input::Covenant { had, compiled, casts, rotations }).err()
        }
        Ok(_) => {
            tracing::warn!(hash = %request.hash, "the broker gave another covenant than was asked for");
            None
        }
        Err(error) => {
            tracing::warn!(hash = %request.hash, "the broker's covenant is not in order: {error}");
            None
        }
    }
}

/// Asks for a case. That there is none for this organisation is an answer; no answer is asked for again by the
/// core.
async fn fetch_case(connection: Connection, jobs: Sender<Job>, request: FetchCase) -> Option<Gone> {
    let case = request.case;
    match ask(&connection, &request.to_frame().ok()?).await {
        Answer::Frame(Kind::Case, bytes) => match wire::Case::parse(&bytes) {
            Ok(answer) => post(&jobs, Input::Case(case, Some(answer.decisions))).err(),
            Err(refusal) => {
                tracing::warn!(%case, %refusal, "the broker's case cannot be read; it is asked again later");
                None
            }
        },
        Answer::Refused(refuse) if refuse.reason == Refusal::NotFound.number() => {
            post(&jobs, Input::Case(case, None)).err()
        }
        Answer::Refused(_) | Answer::Frame(..) | Answer::Nothing => {
            tracing::warn!(%case, "the broker gives no case; it is asked again later");
            None
        }
    }
}

/// Says something about a covenant or a case, once. What was not answered, or only put off, the core says again.
async fn say(
    connection: Connection,
    jobs: Sender<Job>,
    kind: Kind,
    payload: Vec<u8>,
    answered: impl Fn(u16) -> Input,
) -> Option<Gone> {
    match ask(&connection, &frame::encode(kind, &payload).ok()?).await {
        Answer::Frame(Kind::Done, _) => post(&jobs, answered(0)).err(),
        Answer::Refused(refuse) => post(&jobs, answered(refuse.reason)).err(),
        Answer::Frame(..) | Answer::Nothing => None,
    }
}

/// Asks for log entries, or says something that is answered with them. Without an answer that can be read it is
/// as if the broker were too busy.
async fn entries(
    connection: Connection,
    jobs: Sender<Job>,
    (kind, payload): (Kind, Vec<u8>),
    answered: impl FnOnce(Result<Box<Entries>, u16>) -> Input,
) -> Option<Gone> {
    let answer = match ask(&connection, &frame::encode(kind, &payload).ok()?).await {
        Answer::Frame(Kind::Entries, bytes) => Entries::parse(&bytes).map(Box::new).map_err(Refusal::number),
        Answer::Refused(refuse) => Err(refuse.reason),
        Answer::Frame(..) | Answer::Nothing => Err(Refusal::TooBusy.number()),
    };
    post(&jobs, answered(answer)).err()
}

/// Gives up the own key, once. What was not answered the core says again.
async fn rotate(connection: Connection, jobs: Sender<Job>, rotation: Vec<u8>) -> Option<Gone> {
    let answer = match ask(&connection, &frame::encode(Kind::Rotate, &rotation).ok()?).await {
        Answer::Frame(Kind::Rotations, bytes) => match wire::Rotations::parse(&bytes) {
            Ok(answer) => Ok(answer.rotations),
            Err(refusal) => Err(refusal.number()),
        },
        Answer::Refused(refuse) => Err(refuse.reason),
        Answer::Frame(..) | Answer::Nothing => {
            tracing::warn!("the broker did not answer to the new signing key; it is told again");
            return None;
        }
    };
    post(&jobs, Input::RotationAnswered(answer)).err()
}

/// Answers as a witness, once. The broker asks again when it hears nothing.
async fn cosign(connection: Connection, answer: Cosigned) -> Option<Gone> {
    match ask(&connection, &answer.to_frame().ok()?).await {
        Answer::Frame(Kind::Done, _) => {}
        Answer::Refused(refuse) => {
            tracing::warn!(reason = refuse.reason, "the broker does not take the cosignature");
        }
        Answer::Frame(..) | Answer::Nothing => {
            tracing::debug!("the broker did not confirm the cosignature; it asks again");
        }
    }
    None
}

async fn fetch_consistency(
    connection: Connection,
    jobs: Sender<Job>,
    request: FetchConsistency,
) -> Option<Gone> {
    let answer = match request.to_frame() {
        Ok(frame) => ask(&connection, &frame).await,
        Err(_) => Answer::Nothing,
    };
    let input = match answer {
        Answer::Frame(Kind::Consistency, bytes) => match Consistency::parse(&bytes) {
            Ok(answer) => {
                Input::Consistency { origin: request.origin, sizes: request.sizes, proofs: answer.proofs }
            }
            Err(_) => Input::ConsistencyFailed,
        },
        Answer::Frame(..) | Answer::Refused(_) | Answer::Nothing => Input::ConsistencyFailed,
    };
    post(&jobs, input).err()
}

/// Asks what followed on a log. Without an answer that can be read it is as if the broker were too busy.
async fn fetch_succession(
    connection: Connection,
    jobs: Sender<Job>,
    request: FetchSuccession,
) -> Option<Gone> {
    let answer = match ask(&connection, &request.to_frame().ok()?).await {
        Answer::Frame(Kind::Succession, bytes) => {
            wire::Succession::parse(&bytes).map(Box::new).map_err(Refusal::number)
        }
        Answer::Refused(refuse) => Err(refuse.reason),
        Answer::Frame(..) | Answer::Nothing => Err(Refusal::TooBusy.number()),
    };
    post(&jobs, Input::Succession(answer)).err()
}
