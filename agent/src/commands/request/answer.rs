//! The answers to commands: by the running agent, or on the store itself.

use seinhuis_agent_core::{Input, PushRequest, Pushed, Rejection, Release};
use seinhuis_shared::ids::MsgId;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use seinhuis_shell::{answer, clock};
use serde_json::Value;

use super::text::{
    correct, decide, erase, field, granted, moment, named, optional, parse, propose, source, speak, telling,
};
use super::{Look, PushText, Request, TellText};
use crate::agent::{AgentHandle, PushError, stopped};
use crate::commands::register::view as register;
use crate::commands::{correct, entries, log, present, receipt};
use crate::engine::{Engine, Say, View, store_complaint};
use crate::link::LinkStatus;

pub(super) fn directly(mut engine: Engine, request: Request) -> Result<Value, Complaint> {
    let result = match request {
        Request::Grant(text) => {
            let request = granted(&engine.view(), &text)?;
            push_directly(&mut engine, request)
        }
        Request::Push(push) => {
            let request = to_push(&engine.view(), push)?;
            push_directly(&mut engine, request)
        }
        Request::Look(look) => {
            let value = see(&engine.view(), &look, None)?;
            if let Some(position) = handed_out(&look, &value) {
                say_directly(&mut engine, Say::Read(position))?;
            }
            Ok(value)
        }
        Request::Propose { document } => agree_directly(&mut engine, propose(&document)?),
        Request::Speak { covenant, word, reason } => {
            agree_directly(&mut engine, speak(&covenant, &word, reason)?)
        }
        Request::Decide { case, act, covenant } => {
            let (case, say) = decide(&case, &act, covenant.as_ref())?;
            say_directly(&mut engine, say).map(|()| present::case(&engine.view(), case))
        }
        Request::Release { msg_id, approve, role, reason } => {
            let release = Release { msg_id: field("ID", &msg_id)?, approved: approve, role, reason };
            let msg_id = release.msg_id;
            say_directly(&mut engine, Say::Release(release))
                .and_then(|()| present::message(&engine.view(), msg_id))
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
                .and_then(|()| present::message(&engine.view(), msg_id))
        }
        Request::Consumed { id } => {
            let position = present::position_of(&engine.view(), &id)?;
            say_directly(&mut engine, Say::Consume(position))
                .and_then(|()| present::received(&engine.view(), position))
        }
        Request::Tell(text) => tell_directly(&mut engine, text),
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
            .map(|()| present::key(&engine.view())),
    };
    engine.close().map_err(|error| store_complaint(&error))?;
    result
}

/// A push as text, with what the store says of it: its id, and the message it passes on.
fn to_push(view: &View<'_>, mut push: Box<PushText>) -> Result<PushRequest, Complaint> {
    named(view, &mut push);
    let mut request = parse(&push)?;
    request.source = source(view, push.source.as_ref())?;
    Ok(request)
}

fn push_directly(engine: &mut Engine, request: PushRequest) -> Result<Value, Complaint> {
    let msg_id = request.msg_id;
    let push = Input::Push { token: 0, request: Box::new(request) };
    let turn = engine.step([push]).map_err(|error| store_complaint(&error))?;
    let reply = turn.replies.into_iter().next().ok_or_else(|| Complaint::bug("no answer to a push"))?;
    pushed(&engine.view(), msg_id, reply.result)
}

fn say_directly(engine: &mut Engine, say: Say) -> Result<(), Complaint> {
    let input =
        say.input(0, &engine.view()).ok_or_else(|| Complaint::from_refusal(Refusal::UnknownMessage))?;
    let turn = engine.step([input]).map_err(|error| store_complaint(&error))?;
    let (_, result) = turn.answers.into_iter().next().ok_or_else(|| Complaint::bug("no answer"))?;
    result.map_err(|rejection| rejected(&rejection))
}

/// Keeps a decision about telling a person, and shows that person.
fn tell_directly(engine: &mut Engine, text: TellText) -> Result<Value, Complaint> {
    let telling = telling(text)?;
    let person = telling.person;
    say_directly(engine, Say::Tell(telling))?;
    register::of(&engine.view(), &[person], Timestamp(0), false)
}

/// Says something about covenants, and shows them.
fn agree_directly(engine: &mut Engine, say: Say) -> Result<Value, Complaint> {
    say_directly(engine, say).map(|()| present::covenants(&engine.view()))
}

async fn agree(agent: &AgentHandle, about: Say) -> Result<Value, Complaint> {
    say(agent, about).await?;
    agent.query(present::covenants).await
}

async fn say(agent: &AgentHandle, say: Say) -> Result<(), Complaint> {
    match agent.say(say).await {
        Ok(()) => Ok(()),
        Err(PushError::Rejected(rejection)) => Err(rejected(&rejection)),
        Err(PushError::Stopped) => Err(stopped()),
    }
}

/// Answers a request of the control socket.
pub(crate) async fn serve(agent: &AgentHandle, value: Value) -> Value {
    let answer = match serde_json::from_value::<Request>(value) {
        Ok(request) => respond(agent, request).await,
        Err(error) => Err(Complaint::bug(format!("a command of another version: {error}"))),
    };
    answer::encode(answer)
}

/// Does what a request asks of the running agent.
pub(crate) async fn respond(agent: &AgentHandle, request: Request) -> Result<Value, Complaint> {
    match request {
        Request::Propose { document } => agree(agent, propose(&document)?).await,
        Request::Speak { covenant, word, reason } => agree(agent, speak(&covenant, &word, reason)?).await,
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
        Request::Tell(text) => {
            let telling = telling(text)?;
            let person = telling.person;
            say(agent, Say::Tell(telling)).await?;
            agent.query(move |view| register::of(view, &[person], Timestamp(0), false)).await?
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
        Request::Push(push) if push.key.is_none() && push.source.is_none() => {
            hand_over(agent, parse(&push)?).await
        }
        Request::Push(push) => {
            let request = agent.query(move |view| to_push(view, push)).await??;
            hand_over(agent, request).await
        }
        Request::Look(look) => show(agent, look).await,
    }
}

async fn show(agent: &AgentHandle, look: Look) -> Result<Value, Complaint> {
    if let Look::Case { case } = &look {
        agent.look_at(field("CASE", case)?);
    }
    let (link, asked) = (agent.link(), look.clone());
    let mut value = agent.query(move |view| see(view, &look, Some(&link))).await??;
    if let (Look::Status, Some(object)) = (&asked, value.as_object_mut()) {
        object.insert("renewing".into(), agent.renewing().to_json());
        object.insert("ways".into(), agent.ways());
    }
    if let Some(position) = handed_out(&asked, &value) {
        say(agent, Say::Read(position)).await?;
    }
    Ok(value)
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
pub(crate) fn rejected(rejection: &Rejection) -> Complaint {
    let mut complaint = Complaint::from_refusal(rejection.refusal);
    if let Some((nl, en)) = &rejection.detail {
        let numbered = |text: &str| format!("{} ({})", text.trim_end_matches('.'), rejection.refusal);
        complaint.what = Text::new(numbered(nl), numbered(en));
    }
    complaint
}

/// The position of the received message whose body is in this answer: that it is read is on record before the answer
/// goes out.
fn handed_out(look: &Look, value: &Value) -> Option<u64> {
    let read = matches!(look, Look::Read { .. }) && value.get("body").is_some();
    value.get("position").filter(|_| read)?.as_u64()
}

fn see(view: &View<'_>, look: &Look, link: Option<&LinkStatus>) -> Result<Value, Complaint> {
    match look {
        Look::Outbox { lines } => present::outbox(view, *lines),
        Look::Inbox { lines } => present::inbox(view, *lines),
        Look::Good { from, open, flows } => Ok(present::good(view, *from, *open, flows)),
        Look::Consents => Ok(present::consents(view)),
        Look::Held => Ok(present::held(view)),
        Look::HeldBody { msg_id } => present::held_body(view, field("ID", msg_id)?),
        Look::Message { msg_id } => present::message(view, field("ID", msg_id)?),
        Look::Read { id, withdrawn } => present::read(view, id, *withdrawn),
        Look::Corrections { lines, open } => correct::list(view, *lines, *open),
        Look::Register { all } => Ok(register::persons(view, *all)),
        Look::Search { fields, case } => register::search(view, fields, optional("--case", case.as_ref())?),
        Look::Persons { persons, since, proofs } => {
            let persons: Result<Vec<_>, _> = persons.iter().map(|one| field("PERSON", one)).collect();
            register::of(view, &persons?, moment(since)?, *proofs)
        }
        Look::Covenants => Ok(present::covenants(view)),
        Look::Cases => Ok(present::cases(view)),
        Look::Case { case } => Ok(present::case(view, field("CASE", case)?)),
        Look::ReceiptFile { msg_id } => receipt::file(view, field("ID", msg_id)?),
        Look::Pinned { covenant } => Ok(receipt::pinned_text(view, &field("--covenant", covenant)?)),
        Look::Key => Ok(present::key(view)),
        Look::Policies => Ok(present::policies(view)),
        Look::Logs => Ok(serde_json::json!(log::view(view))),
        Look::Document { covenant } => present::document(view, field("--covenant", covenant)?),
        Look::Status => {
            let status = view.core.status(clock::now());
            let mut value = present::status(&status, &view.store.stats(), view.room, link);
            value["register"] = register::status(view);
            Ok(value)
        }
    }
}
