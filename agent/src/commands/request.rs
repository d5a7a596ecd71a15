//! Commands that need core or store: through the running agent, or on the store itself.

mod answer;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seinhuis_shared::case::Act;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::control::{self, Answered, CallError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::answer::{rejected, respond, serve};
pub(crate) use self::text::moment;
pub use self::text::parse;
use super::entries::LogText;
use crate::engine::Engine;
use crate::home::Home;

/// How long a command waits for the running agent.
const PATIENCE: Duration = Duration::from_mins(1);

/// A push as text, on its way to whoever has the store. [`parse`] reads it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushText {
    /// The message id, a UUID; where there is a key, that says it.
    pub msg_id: String,
    /// What a script calls it: the message id follows from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
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

/// A decision about telling a person, as text.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TellText {
    /// The person's key in the register, hexadecimal.
    pub person: String,
    /// What was decided.
    pub duty: String,
    /// Until which day it is postponed.
    pub until: Option<String>,
    /// In which role.
    pub role: String,
    /// How, or why not.
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
    /// Keeps what was decided about telling a person that there are data about that person.
    Tell(TellText),
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
    /// Good messages received, oldest first, without their bodies.
    Good {
        /// The position in the inbox to begin at.
        from: u64,
        /// Only those that nobody took over yet.
        open: bool,
        /// Of these flows; of all when there are none.
        flows: BTreeSet<String>,
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
    /// The persons in the register of data subjects who are to be told.
    Register {
        /// Who was told, too.
        all: bool,
    },
    /// The persons in the register of whom fields have these values.
    Search {
        /// The values, by the names of the fields.
        fields: BTreeMap<String, String>,
        /// The case, a UUID.
        case: Option<String>,
    },
    /// Persons in the register, and the messages about them.
    Persons {
        /// Their keys, hexadecimal.
        persons: Vec<String>,
        /// From when on, RFC 3339 or a date.
        since: String,
        /// Whether the proofs come with them.
        proofs: bool,
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
        let store = home.load_config()?.store;
        let engine = Engine::open(&home.store(), store.options(), home.settings()?, home.vault()?)?;
        Ok(engine.keep_free(store.keeper(&home.store())))
    };
    match control::call_or_open(("seinhuis-agent", &home.socket()), &request, PATIENCE, open)? {
        Answered::Running(value) => Ok((seinhuis_shell::answer::decode(value)?, From::Agent)),
        Answered::Opened(engine) => Ok((answer::directly(engine, request)?, From::Store)),
    }
}

/// Has a request answered by the running agent, for who waits for what it has yet to do.
pub(crate) fn ask_running(home: &Home, request: &Request) -> Result<Value, Complaint> {
    let path = home.socket();
    let answered = control::call(&path, request, PATIENCE);
    let value = answered.map_err(|error: CallError| error.complaint("seinhuis-agent", &path))?;
    seinhuis_shell::answer::decode(value)
}

/// Reads an answer as what the command expects.
pub(super) fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Complaint> {
    serde_json::from_value(answer).map_err(|error| Complaint::bug(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

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
            with(Request::Push(Box::default()), "push", None),
            with(Request::Look(Look::Outbox { lines: 1 }), "look", Some("outbox")),
            with(Request::Look(Look::Message { msg_id: "a".into() }), "look", Some("message")),
            with(Request::Look(Look::Inbox { lines: 1 }), "look", Some("inbox")),
            with(
                Request::Look(Look::Good { from: 1, open: true, flows: BTreeSet::new() }),
                "look",
                Some("good"),
            ),
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
            with(Request::Look(Look::Register { all: true }), "look", Some("register")),
            with(
                Request::Look(Look::Persons { persons: vec![], since: "a".into(), proofs: true }),
                "look",
                Some("persons"),
            ),
            json!({ "look": { "search": { "fields": {}, "case": null, "added_later": true } } }),
            with(Request::Tell(TellText::default()), "tell", None),
            json!({ "look": { "status": { "added_later": true } } }),
            json!({ "propose": { "document": "", "added_later": true } }),
            json!({ "rotate": { "urgent": false, "added_later": true } }),
            json!({ "speak": { "covenant": "", "word": "", "reason": "", "added_later": true } }),
        ] {
            assert!(from_value::<Request>(value.clone()).is_err(), "{value}");
        }
    }
}
