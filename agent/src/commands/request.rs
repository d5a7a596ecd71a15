//! Commands that need core or store: through the running agent, or on the store itself.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use seinhuis_agent_core::{Input, PushRequest, Pushed, Rejection, Target};
use seinhuis_shared::case::Act;
use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::covenant::{Compiled, Covenant, Role, Step};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, TraceId};
use seinhuis_shared::time::Span;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::control::{self, Answered};
use seinhuis_shell::lang::Text;
use seinhuis_shell::{answer, clock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::present;
use crate::agent::{AgentHandle, PushError, stopped};
use crate::engine::{Engine, Say, View, store_complaint};
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
    /// The plaintext body, in base64.
    pub body: String,
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
    /// The last messages received.
    Inbox {
        /// How many.
        lines: u64,
    },
    /// One message received, with its body.
    Read {
        /// Its position or its message id.
        id: String,
    },
    /// The covenants and how they stand.
    Covenants,
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
    /// The signing key and how it came to be.
    Key,
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

fn directly(mut engine: Engine, request: Request) -> Result<Value, Complaint> {
    let result = match request {
        Request::Push(push) => {
            let request = parse(&push)?;
            let msg_id = request.msg_id;
            let push = Input::Push { token: 0, request: Box::new(request) };
            let turn = engine.step([push]).map_err(|error| store_complaint(&error))?;
            let reply =
                turn.replies.into_iter().next().ok_or_else(|| Complaint::bug("no answer to a push"))?;
            pushed(&engine.view(), msg_id, reply.result)
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
        Request::Rotate { urgent } => engine
            .make_next_key()
            .and_then(|()| say_directly(&mut engine, Say::Rotate { urgent }))
            .map(|_| present::key(&engine.view())),
    };
    engine.close().map_err(|error| store_complaint(&error))?;
    result
}

fn say_directly(engine: &mut Engine, say: Say) -> Result<Value, Complaint> {
    let turn = engine.step([say.input(0)]).map_err(|error| store_complaint(&error))?;
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
        Request::Rotate { urgent } => {
            say(agent, Say::Rotate { urgent }).await?;
            agent.query(present::key).await
        }
        Request::Push(push) => {
            let request = parse(&push)?;
            let msg_id = request.msg_id;
            let result = match agent.push(request).await {
                Ok(outcome) => Ok(outcome),
                Err(PushError::Rejected(rejection)) => Err(rejection),
                Err(PushError::Stopped) => return Err(stopped()),
            };
            agent.query(move |view| pushed(view, msg_id, result)).await?
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
        Look::Read { id } => present::read(view, id),
        Look::Message { msg_id } => present::message(view, field("--id", msg_id)?),
        Look::Covenants => Ok(present::covenants(view)),
        Look::Cases => Ok(present::cases(view)),
        Look::Case { case } => Ok(present::case(view, field("CASE", case)?)),
        Look::Key => Ok(present::key(view)),
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
    let to = push
        .to
        .iter()
        .map(|text| {
            // A role never has the form of an OIN.
            text.parse::<Role>().map(Target::Role).or_else(|_| field("--to", text).map(Target::Oin))
        })
        .collect::<Result<Vec<_>, Complaint>>()?;
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
            with(Request::Look(Look::Read { id: "7".into() }), "look", Some("read")),
            with(Request::Decide { case: "a".into(), act: ActText::Close, covenant: None }, "decide", None),
            with(Request::Look(Look::Case { case: "a".into() }), "look", Some("case")),
            json!({ "look": { "status": { "added_later": true } } }),
            json!({ "propose": { "document": "", "added_later": true } }),
            json!({ "rotate": { "urgent": false, "added_later": true } }),
            json!({ "speak": { "covenant": "", "word": "", "reason": "", "added_later": true } }),
        ] {
            assert!(from_value::<Request>(value.clone()).is_err(), "{value}");
        }
    }
}
