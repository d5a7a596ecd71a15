//! Commands that need core or store: through the running agent, or on the store itself.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use seinhuis_agent_core::{
    CorrectRequest, CorrectionKind, Grant, Ground, Input, PushRequest, Pushed, Rejection, Release, Source,
    Target,
};
use seinhuis_shared::case::Act;
use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::covenant::{Compiled, Covenant, Handling, Role, Step};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, TraceId};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::control::{self, Answered};
use seinhuis_shell::lang::Text;
use seinhuis_shell::{answer, clock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::entries::LogText;
use super::{correct, entries, log, present, receipt};
use crate::agent::{AgentHandle, PushError, stopped};
use crate::engine::{Engine, Say, View, outbox_row, provenance_row, store_complaint};
use crate::home::Home;
use crate::link::LinkStatus;

/// How long a command waits for the running agent.
const PATIENCE: Duration = Duration::from_mins(1);

/// A push as text, on its way to whoever has the store. [`parse`] reads it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushText {
    /// The message id, a UUID.
    pub msg_id: String,
    /// The covenant's flow.
    pub flow: String,
    /// The recipients, each an OIN or a role.
    pub to: Vec<String>,
    /// The step.
    pub step: Option<String>,
    /// The case's pseudonym.
    pub case: Option<String>,
    /// The message type.
    pub message_type: Option<String>,
    /// The legal basis.
    pub basis: Option<String>,
    /// The covenant's digest, hexadecimal.
    pub covenant: Option<String>,
    /// How long the packet is valid, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// The message this answers, a UUID.
    pub in_reply_to: Option<String>,
    /// W3C trace id, hexadecimal.
    pub trace: Option<String>,
    /// The received message this passes on: its place in the inbox, or its message id.
    pub source: Option<String>,
    /// What recipients may do with it.
    pub handling: Option<String>,
    /// The plaintext body, in base64.
    pub body: String,
}

/// A consent as text, on its way to whoever has the store.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantText {
    /// The message id of the message that brings it, a UUID.
    pub msg_id: String,
    /// The message it is about, a UUID.
    pub about: String,
    /// Who may pass it on: an OIN or a role.
    pub holder: String,
    /// To whom: each an OIN or a role.
    pub to: Vec<String>,
    /// Until when, RFC 3339 or a date.
    pub until: Option<String>,
    /// The step.
    pub step: Option<String>,
    /// A reference of the organisation's own.
    pub reference: String,
    /// Why.
    pub reason: String,
}

/// A command on its way to whoever has the store. An unknown field is refused: an agent of an older version
/// must not quietly do without what a newer command asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Hands over a signal.
    Push(Box<PushText>),
    /// Shows something.
    Look(Look),
    /// Proposes a version of a covenant.
    Propose {
        /// Its canonical form, in base64.
        document: String,
    },
    /// Decides something about a case.
    Decide {
        /// Its pseudonym, a UUID.
        case: String,
        /// What.
        act: ActText,
        /// The covenant's digest, hexadecimal.
        covenant: Option<String>,
    },
    /// Allows somebody to pass on what this organisation sent.
    Grant(Box<GrantText>),
    /// Decides about a message that waits for release.
    Release {
        /// Its id, a UUID.
        msg_id: String,
        /// Whether it may leave.
        approve: bool,
        /// In which role.
        role: String,
        /// Why.
        reason: String,
    },
    /// Says that an own message is wrong, or withdraws it.
    Correct {
        /// The message, a UUID.
        about: String,
        /// `correction` or `withdrawal`.
        kind: String,
        /// The plaintext body, in base64.
        body: String,
    },
    /// Says again what was refused of corrections.
    RetryCorrections {
        /// The message they are about, a UUID; all when left out.
        about: Option<String>,
    },
    /// Takes an own message back.
    TakeBack {
        /// Its id, a UUID.
        msg_id: String,
        /// Why, as a code.
        reason: String,
    },
    /// Says that the own application took a received message over.
    Consumed {
        /// Its position or its message id.
        id: String,
    },
    /// Asks the broker for log entries this organisation is party to.
    Log(LogText),
    /// Has the body of a message received erased.
    Erase {
        /// Its position or its message id.
        id: String,
        /// Why: a ground of the covenant's confirmation of destruction.
        ground: String,
    },
    /// Gives this organisation's word about a version.
    Speak {
        /// Its hash, hexadecimal.
        covenant: String,
        /// `accept`, `reject` or `withdraw`.
        word: String,
        /// Why, for the other parties.
        reason: String,
    },
    /// Gives up the signing key for a new one.
    Rotate {
        /// At once, without waiting for verdicts on what is sealed.
        urgent: bool,
    },
    /// Goes on with a log that the broker's operator began by hand.
    AcceptOrigin {
        /// Its origin.
        origin: String,
    },
}

/// A decision about a case, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ActText {
    /// The case begins.
    Open,
    /// The case is in this step from now on.
    Step(String),
    /// The case ends.
    Close,
    /// A condition of the covenant holds, or does not any more.
    Condition {
        /// Its code.
        code: String,
        /// Whether it holds.
        holds: bool,
    },
}

impl std::convert::From<&Act> for ActText {
    fn from(act: &Act) -> Self {
        match act {
            Act::Step(step) => Self::Step(step.to_string()),
            Act::Close => Self::Close,
            Act::Condition { code, holds } => Self::Condition { code: code.clone(), holds: *holds },
        }
    }
}

/// A command that changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Look {
    /// The last messages sent.
    Outbox {
        /// How many.
        lines: u64,
    },
    /// One message sent.
    Message {
        /// Its id, a UUID.
        msg_id: String,
    },
    /// The messages that wait for release by a person.
    Held,
    /// One of them with its body.
    HeldBody {
        /// Its id, a UUID.
        msg_id: String,
    },
    /// The consents of others that this organisation holds.
    Consents,
    /// The last messages received.
    Inbox {
        /// How many.
        lines: u64,
    },
    /// One message received, with its body.
    Read {
        /// Its position or its message id.
        id: String,
        /// Also when its sender withdrew it.
        withdrawn: bool,
    },
    /// What was said of own messages, and who confirmed it.
    Corrections {
        /// How many.
        lines: u64,
        /// Only what is not settled.
        open: bool,
    },
    /// The covenants and how they stand.
    Covenants,
    /// The trust policies of those that ask a quorum of witnesses.
    Policies,
    /// The cases and how they stand.
    Cases,
    /// One case, of which the running agent asks the broker how it stands.
    Case {
        /// Its pseudonym, a UUID.
        case: String,
    },
    /// One covenant in canonical form, in base64.
    Document {
        /// Its hash, hexadecimal.
        covenant: String,
    },
    /// The receipt of one message sent, as a file's text.
    ReceiptFile {
        /// Its id, a UUID.
        msg_id: String,
    },
    /// One covenant and the rotations in its lines; null when it is not known.
    Pinned {
        /// Its hash, hexadecimal.
        covenant: String,
    },
    /// The signing key and how it came to be.
    Key,
    /// The exchange logs, and one that can be accepted.
    Logs,
    /// How the agent is doing.
    Status,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// The running agent.
    Agent,
    /// The store itself: no agent runs.
    Store,
}

/// Has a request answered: by the running agent, else on the store itself.
pub(crate) fn ask(home: &Home, request: Request) -> Result<(Value, From), Complaint> {
    let open = || {
        let options = home.load_config()?.store.options();
        Engine::open(&home.store(), options, home.settings()?, home.vault()?)
    };
    match control::call_or_open(("seinhuis-agent", &home.socket()), &request, PATIENCE, open)? {
        Answered::Running(value) => Ok((answer::decode(value)?, From::Agent)),
        Answered::Opened(engine) => Ok((directly(engine, request)?, From::Store)),
    }
}

/// Reads an answer as what the command expects.
pub(super) fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Complaint> {
    serde_json::from_value(answer).map_err(|error| Complaint::bug(error.to_string()))
}

fn directly(mut engine: Engine, request: Request) -> Result<Value, Complaint> {
    let result = match request {
        Request::Grant(text) => {
            let request = granted(&engine.view(), &text)?;
            push_directly(&mut engine, request)
        }
        Request::Push(push) => {
            let mut request = parse(&push)?;
            request.source = source(&engine.view(), push.source.as_ref())?;
            push_directly(&mut engine, request)
        }
        Request::Look(look) => see(&engine.view(), &look, None),
        Request::Propose { document } => say_directly(&mut engine, propose(&document)?),
        Request::Speak { covenant, word, reason } => {
            say_directly(&mut engine, speak(&covenant, &word, reason)?)
        }
        Request::Decide { case, act, covenant } => {
            let (case, say) = decide(&case, &act, covenant.as_ref())?;
            say_directly(&mut engine, say).map(|_| present::case(&engine.view(), case))
        }
        Request::Release { msg_id, approve, role, reason } => {
            let release = Release { msg_id: field("ID", &msg_id)?, approved: approve, role, reason };
            let msg_id = release.msg_id;
            say_directly(&mut engine, Say::Release(release))
                .and_then(|_| present::message(&engine.view(), msg_id))
        }
        Request::Correct { about, kind, body } => {
            let (about, say) = correct(&about, &kind, &body)?;
            say_directly(&mut engine, say)?;
            correct::said(&engine.view(), about)
        }
        Request::RetryCorrections { about } => {
            let about = optional("MESSAGE", about.as_ref())?;
            say_directly(&mut engine, Say::RetryCorrections(about))?;
            correct::list(&engine.view(), u64::MAX, true)
        }
        Request::TakeBack { msg_id, reason } => {
            let msg_id = field("ID", &msg_id)?;
            say_directly(&mut engine, Say::TakeBack(msg_id, reason))
                .and_then(|_| present::message(&engine.view(), msg_id))
        }
        Request::Consumed { id } => {
            let position = present::position_of(&engine.view(), &id)?;
            say_directly(&mut engine, Say::Consume(position))
                .and_then(|_| present::received(&engine.view(), position))
        }
        Request::Log(_) => Err(entries::not_connected()),
        Request::Erase { id, ground } => {
            let (position, say) = erase(&engine.view(), &id, &ground)?;
            say_directly(&mut engine, say)?;
            engine.overwrite().map_err(|error| store_complaint(&error))?;
            present::received(&engine.view(), position)
        }
        Request::AcceptOrigin { origin } => {
            say_directly(&mut engine, Say::AcceptOrigin(origin))?;
            see(&engine.view(), &Look::Logs, None)
        }
        Request::Rotate { urgent } => engine
            .make_next_key()
            .and_then(|()| say_directly(&mut engine, Say::Rotate { urgent }))
            .map(|_| present::key(&engine.view())),
    };
    engine.close().map_err(|error| store_complaint(&error))?;
    result
}

fn push_directly(engine: &mut Engine, request: PushRequest) -> Result<Value, Complaint> {
    let msg_id = request.msg_id;
    let push = Input::Push { token: 0, request: Box::new(request) };
    let turn = engine.step([push]).map_err(|error| store_complaint(&error))?;
    let reply = turn.replies.into_iter().next().ok_or_else(|| Complaint::bug("no answer to a push"))?;
    pushed(&engine.view(), msg_id, reply.result)
}

/// The received message that a push passes on.
fn source(view: &View<'_>, id: Option<&String>) -> Result<Option<Source>, Complaint> {
    let Some(id) = id else { return Ok(None) };
    let (position, row) = present::find(view, id)?;
    let withdrawn = view.core.mark(position).is_some_and(|mark| mark.withdrawn.is_some());
    if withdrawn || view.core.erased(position).is_some() {
        return Err(Complaint::refused(
            Text::new(
                "Dit bericht is ingetrokken of gewist; het wordt niet meer doorgegeven.",
                "This message was withdrawn or erased; it is not passed on any more.",
            ),
            Text::new("Vraag de afzender om een nieuw bericht.", "Ask the sender for a new message."),
        )
        .about(id));
    }
    let said = provenance_row(view.store, position);
    let source = view.core.source(&row, said.as_ref());
    source.map(Some).ok_or_else(|| present::no_such_message(id))
}

/// A consent as something to push to its holder.
fn granted(view: &View<'_>, text: &GrantText) -> Result<PushRequest, Complaint> {
    let about = field("MSG", &text.about)?;
    let row = view.core.find(&about).and_then(|(position, _)| outbox_row(view.store, position));
    let row = row.ok_or_else(|| present::no_such_message(&text.about))?;
    let grant = Grant {
        msg_id: field("--id", &text.msg_id)?,
        holder: target("--holder", &text.holder)?,
        to: text.to.iter().map(|one| target("--to", one)).collect::<Result<_, _>>()?,
        until: text.until.as_deref().map(moment).transpose()?,
        step: optional("--step", text.step.as_ref())?,
        reference: text.reference.clone(),
        reason: text.reason.clone(),
    };
    view.core.grant(&row, grant, clock::now(), view.vault.ports()).map_err(|rejection| rejected(&rejection))
}

/// A date or an instant of `--until`.
pub(super) fn moment(text: &str) -> Result<Timestamp, Complaint> {
    Timestamp::parse(text).ok_or_else(|| {
        Complaint::usage(
            Text::new(format!("{text} is geen datum."), format!("{text} is no date.")),
            Text::new("Schrijf bijvoorbeeld 2026-12-31.", "Write for example 2026-12-31."),
        )
    })
}

/// An organisation by its OIN or its role.
fn target(name: &str, text: &str) -> Result<Target, Complaint> {
    // A role never has the form of an OIN.
    text.parse::<Role>().map(Target::Role).or_else(|_| field(name, text).map(Target::Oin))
}

fn say_directly(engine: &mut Engine, say: Say) -> Result<Value, Complaint> {
    let input =
        say.input(0, &engine.view()).ok_or_else(|| Complaint::from_refusal(Refusal::UnknownMessage))?;
    let turn = engine.step([input]).map_err(|error| store_complaint(&error))?;
    let (_, result) = turn.answers.into_iter().next().ok_or_else(|| Complaint::bug("no answer"))?;
    result.map_err(|rejection| rejected(&rejection))?;
    Ok(present::covenants(&engine.view()))
}

async fn say(agent: &AgentHandle, say: Say) -> Result<Value, Complaint> {
    match agent.say(say).await {
        Ok(()) => agent.query(present::covenants).await,
        Err(PushError::Rejected(rejection)) => Err(rejected(&rejection)),
        Err(PushError::Stopped) => Err(stopped()),
    }
}

fn propose(document: &str) -> Result<Say, Complaint> {
    let bytes = from_base64(document).ok_or_else(|| Complaint::bug("a document that is not base64"))?;
    let compiled = Covenant::from_bytes(&bytes).and_then(Compiled::new);
    let compiled = compiled.map_err(|error| seinhuis_shell::covenants::wrong(&error.to_string()))?;
    Ok(Say::Propose(Arc::new(compiled)))
}

fn speak(covenant: &str, word: &str, reason: String) -> Result<Say, Complaint> {
    let words = [Word::Accept, Word::Reject, Word::Withdraw];
    let word = words.into_iter().find(|one| one.as_str() == word);
    let word = word.ok_or_else(|| Complaint::bug("a word of another version"))?;
    Ok(Say::Word(field("--covenant", covenant)?, word, reason))
}

fn decide(case: &str, act: &ActText, covenant: Option<&String>) -> Result<(CaseId, Say), Complaint> {
    let case = field("CASE", case)?;
    let act = match act {
        ActText::Open => None,
        ActText::Step(step) => Some(Act::Step(field("STEP", step)?)),
        ActText::Close => Some(Act::Close),
        ActText::Condition { code, holds } => Some(Act::Condition { code: code.clone(), holds: *holds }),
    };
    Ok((case, Say::Decide(case, act, optional("--covenant", covenant)?)))
}

fn correct(about: &str, kind: &str, body: &str) -> Result<(MsgId, Say), Complaint> {
    let about = field("MESSAGE", about)?;
    let kinds = [CorrectionKind::Correction, CorrectionKind::Withdrawal];
    let kind = kinds.into_iter().find(|one| one.as_str() == kind);
    let kind = kind.ok_or_else(|| Complaint::bug("a correction of another version"))?;
    let body = from_base64(body).ok_or_else(|| Complaint::bug("a body that is not base64"))?;
    Ok((about, Say::Correct(Box::new(CorrectRequest { about, kind, body, sent: None }))))
}

fn erase(view: &View<'_>, id: &str, ground: &str) -> Result<(u64, Say), Complaint> {
    let known = Ground::ALL.map(Ground::as_str).join(", ");
    let ground = Ground::ALL.into_iter().find(|one| one.as_str() == ground).ok_or_else(|| {
        Complaint::usage(
            Text::new(format!("{ground} is geen grond."), format!("{ground} is not a ground.")),
            Text::new(format!("Kies uit: {known}."), format!("Choose one of: {known}.")),
        )
    })?;
    let position = present::position_of(view, id)?;
    Ok((position, Say::Erase(position, ground)))
}

/// Answers a request of the control socket.
pub(crate) async fn serve(agent: &AgentHandle, value: Value) -> Value {
    let answer = match serde_json::from_value::<Request>(value) {
        Ok(request) => respond(agent, request).await,
        Err(error) => Err(Complaint::bug(format!("a command of another version: {error}"))),
    };
    answer::encode(answer)
}

async fn respond(agent: &AgentHandle, request: Request) -> Result<Value, Complaint> {
    match request {
        Request::Propose { document } => say(agent, propose(&document)?).await,
        Request::Speak { covenant, word, reason } => say(agent, speak(&covenant, &word, reason)?).await,
        Request::Decide { case, act, covenant } => {
            let (case, decision) = decide(&case, &act, covenant.as_ref())?;
            say(agent, decision).await?;
            agent.query(move |view| present::case(view, case)).await
        }
        Request::Release { msg_id, approve, role, reason } => {
            let release = Release { msg_id: field("ID", &msg_id)?, approved: approve, role, reason };
            let msg_id = release.msg_id;
            say(agent, Say::Release(release)).await?;
            agent.query(move |view| present::message(view, msg_id)).await?
        }
        Request::Grant(text) => {
            let request = agent.query(move |view| granted(view, &text)).await??;
            hand_over(agent, request).await
        }
        Request::Correct { about, kind, body } => {
            let (about, correction) = correct(&about, &kind, &body)?;
            say(agent, correction).await?;
            agent.query(move |view| correct::said(view, about)).await?
        }
        Request::RetryCorrections { about } => {
            say(agent, Say::RetryCorrections(optional("MESSAGE", about.as_ref())?)).await?;
            agent.query(|view| correct::list(view, u64::MAX, true)).await?
        }
        Request::TakeBack { msg_id, reason } => {
            let msg_id = field("ID", &msg_id)?;
            say(agent, Say::TakeBack(msg_id, reason)).await?;
            agent.query(move |view| present::message(view, msg_id)).await?
        }
        Request::Consumed { id } => {
            let position = agent.query(move |view| present::position_of(view, &id)).await??;
            say(agent, Say::Consume(position)).await?;
            agent.query(move |view| present::received(view, position)).await?
        }
        Request::Log(question) => entries::page(agent.fetch(question.into()).await),
        Request::Erase { id, ground } => {
            let (position, erasing) = agent.query(move |view| erase(view, &id, &ground)).await??;
            say(agent, erasing).await?;
            agent.query(move |view| present::received(view, position)).await?
        }
        Request::AcceptOrigin { origin } => {
            say(agent, Say::AcceptOrigin(origin)).await?;
            agent.query(|view| serde_json::json!(log::view(view))).await
        }
        Request::Rotate { urgent } => {
            say(agent, Say::Rotate { urgent }).await?;
            agent.query(present::key).await
        }
        Request::Push(push) => {
            let mut request = parse(&push)?;
            if let Some(id) = push.source {
                request.source = agent.query(move |view| source(view, Some(&id))).await??;
            }
            hand_over(agent, request).await
        }
        Request::Look(look) => {
            if let Look::Case { case } = &look {
                agent.look_at(field("CASE", case)?);
            }
            let link = agent.link();
            agent.query(move |view| see(view, &look, Some(&link))).await?
        }
    }
}

async fn hand_over(agent: &AgentHandle, request: PushRequest) -> Result<Value, Complaint> {
    let msg_id = request.msg_id;
    let result = match agent.push(request).await {
        Ok(outcome) => Ok(outcome),
        Err(PushError::Rejected(rejection)) => Err(rejection),
        Err(PushError::Stopped) => return Err(stopped()),
    };
    agent.query(move |view| pushed(view, msg_id, result)).await?
}

fn pushed(view: &View<'_>, msg_id: MsgId, result: Result<Pushed, Rejection>) -> Result<Value, Complaint> {
    let pushed = result.map_err(|rejection| rejected(&rejection))?;
    let mut value = present::message(view, msg_id)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("repeated".into(), pushed.repeated.into());
        object.insert("connected".into(), pushed.connected.into());
    }
    Ok(value)
}

/// A refusal before anything was stored, with the detail that names the field.
fn rejected(rejection: &Rejection) -> Complaint {
    let mut complaint = Complaint::from_refusal(rejection.refusal);
    if let Some((nl, en)) = &rejection.detail {
        let numbered = |text: &str| format!("{} ({})", text.trim_end_matches('.'), rejection.refusal);
        complaint.what = Text::new(numbered(nl), numbered(en));
    }
    complaint
}

fn see(view: &View<'_>, look: &Look, link: Option<&LinkStatus>) -> Result<Value, Complaint> {
    match look {
        Look::Outbox { lines } => present::outbox(view, *lines),
        Look::Inbox { lines } => present::inbox(view, *lines),
        Look::Consents => Ok(present::consents(view)),
        Look::Held => Ok(present::held(view)),
        Look::HeldBody { msg_id } => present::held_body(view, field("ID", msg_id)?),
        Look::Message { msg_id } => present::message(view, field("ID", msg_id)?),
        Look::Read { id, withdrawn } => present::read(view, id, *withdrawn),
        Look::Corrections { lines, open } => correct::list(view, *lines, *open),
        Look::Covenants => Ok(present::covenants(view)),
        Look::Cases => Ok(present::cases(view)),
        Look::Case { case } => Ok(present::case(view, field("CASE", case)?)),
        Look::ReceiptFile { msg_id } => receipt::file(view, field("ID", msg_id)?),
        Look::Pinned { covenant } => Ok(receipt::pinned_text(view, &field("--covenant", covenant)?)),
        Look::Key => Ok(present::key(view)),
        Look::Policies => Ok(present::policies(view)),
        Look::Logs => Ok(serde_json::json!(log::view(view))),
        Look::Document { covenant } => present::document(view, field("--covenant", covenant)?),
        Look::Status => Ok(present::status(&view.core.status(clock::now()), &view.store.stats(), link)),
    }
}

fn field<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Complaint>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| {
        Complaint::usage(
            Text::new(
                format!("De waarde van {name} klopt niet: {error}."),
                format!("The value of {name} is wrong: {error}."),
            ),
            Text::new("Verbeter de waarde en probeer het opnieuw.", "Correct the value and try again."),
        )
    })
}

fn optional<T: std::str::FromStr>(name: &str, text: Option<&String>) -> Result<Option<T>, Complaint>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| field(name, text)).transpose()
}

/// Reads a push that arrived as text.
///
/// # Errors
/// A sentence naming the option whose value is wrong; a body that is not base64 is the program's own fault.
pub fn parse(push: &PushText) -> Result<PushRequest, Complaint> {
    let to = push.to.iter().map(|text| target("--to", text)).collect::<Result<Vec<_>, Complaint>>()?;
    Ok(PushRequest {
        msg_id: field::<MsgId>("--id", &push.msg_id)?,
        flow: push.flow.clone(),
        to,
        step: optional::<Step>("--step", push.step.as_ref())?,
        case: optional::<CaseId>("--case", push.case.as_ref())?,
        message_type: push.message_type.clone(),
        basis: push.basis.clone(),
        covenant: optional::<Digest>("--covenant", push.covenant.as_ref())?,
        ttl: push.ttl_ms.map(Span),
        in_reply_to: optional::<MsgId>("--reply-to", push.in_reply_to.as_ref())?,
        trace: optional::<TraceId>("--trace", push.trace.as_ref())?,
        source: None,
        handling: optional::<Handling>("--handling", push.handling.as_ref())?,
        body: from_base64(&push.body).ok_or_else(|| Complaint::bug("a body that is not base64"))?,
    })
}

/// Reads base64 in its one way of writing. The decoder alone also takes several padded texts in a row, so that
/// one body would have many texts.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok().filter(|bytes| BASE64.encode(bytes) == text)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn push(body: &str) -> PushText {
        PushText {
            msg_id: "019a0001-7002-8003-8405-060708090a0b".into(),
            flow: "F01".into(),
            to: vec!["politie".into()],
            body: body.into(),
            ..PushText::default()
        }
    }

    #[test]
    fn a_body_has_one_text() {
        assert_eq!(parse(&push("eyJhIjoxfQ==")).unwrap().body, b"{\"a\":1}");
        // The same bytes as two padded texts, more bytes after padding, dirty last bits, no padding.
        for other in ["ew==ImEiOjF9", "eyJhIjoxfQ==true", "eyJhIjoxfR==", "eyJhIjoxfQ", "eyJhIjoxfQ== "] {
            let complaint = parse(&push(other)).unwrap_err();
            assert!(complaint.what.en.contains("base64"), "{other}: {complaint}");
        }
    }

    /// An older agent must not quietly do without what a newer command asks.
    #[test]
    fn a_request_with_an_unknown_field_is_refused() {
        let with = |request: Request, variant: &str, inner: Option<&str>| {
            let mut value = serde_json::to_value(request).unwrap();
            assert!(from_value::<Request>(value.clone()).is_ok(), "{value}");
            let mut at = &mut value[variant];
            if let Some(inner) = inner {
                at = &mut at[inner];
            }
            at["added_later"] = json!(true);
            value
        };
        for value in [
            with(Request::Push(Box::new(push(""))), "push", None),
            with(Request::Look(Look::Outbox { lines: 1 }), "look", Some("outbox")),
            with(Request::Look(Look::Message { msg_id: "a".into() }), "look", Some("message")),
            with(Request::Look(Look::Inbox { lines: 1 }), "look", Some("inbox")),
            with(Request::Look(Look::Read { id: "7".into(), withdrawn: true }), "look", Some("read")),
            with(Request::Look(Look::Corrections { lines: 1, open: true }), "look", Some("corrections")),
            with(
                Request::Correct { about: "a".into(), kind: "b".into(), body: String::new() },
                "correct",
                None,
            ),
            with(Request::TakeBack { msg_id: "a".into(), reason: "b".into() }, "take-back", None),
            with(Request::Consumed { id: "7".into() }, "consumed", None),
            with(Request::Log(LogText::default()), "log", None),
            with(Request::Look(Look::ReceiptFile { msg_id: "a".into() }), "look", Some("receipt-file")),
            with(Request::Look(Look::Pinned { covenant: "a".into() }), "look", Some("pinned")),
            with(Request::Erase { id: "7".into(), ground: "termijn".into() }, "erase", None),
            with(Request::RetryCorrections { about: None }, "retry-corrections", None),
            with(Request::Decide { case: "a".into(), act: ActText::Close, covenant: None }, "decide", None),
            with(Request::Look(Look::Case { case: "a".into() }), "look", Some("case")),
            with(Request::Grant(Box::default()), "grant", None),
            with(Request::Look(Look::HeldBody { msg_id: "a".into() }), "look", Some("held-body")),
            json!({ "release": { "msg_id": "", "approve": true, "role": "", "reason": "", "added_later": true } }),
            json!({ "look": { "status": { "added_later": true } } }),
            json!({ "propose": { "document": "", "added_later": true } }),
            json!({ "rotate": { "urgent": false, "added_later": true } }),
            json!({ "speak": { "covenant": "", "word": "", "reason": "", "added_later": true } }),
        ] {
            assert!(from_value::<Request>(value.clone()).is_err(), "{value}");
        }
    }
}
