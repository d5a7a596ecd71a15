//! Signals handed over, and what became of them.

use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use data_encoding::BASE64;
use seinhuis_agent_core::CorrectionKind;
use seinhuis_shared::covenant::{Handling, Role, Step};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shell::lang::Text;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::input::{self, Query};
use super::problem::Problem;
use super::token::Token;
use super::{Desk, inbox, said};
use crate::commands::correct::completed;
use crate::commands::present::{self, Page};
use crate::commands::request::{Look, PushText, Request};

/// Rows on a page, unless asked otherwise, and at most.
pub(super) const LIMIT: (usize, usize) = (50, 200);

/// A signal as an application hands it over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signal<'a> {
    flow: String,
    to: Vec<String>,
    step: Option<String>,
    case: Option<String>,
    #[serde(rename = "type")]
    message_type: Option<String>,
    basis: Option<String>,
    covenant: Option<String>,
    #[serde(default, deserialize_with = "input::whole")]
    valid_seconds: Option<u64>,
    in_reply_to: Option<String>,
    #[serde(default, deserialize_with = "input::whole")]
    passes_on: Option<u64>,
    handling: Option<String>,
    #[serde(borrow)]
    body: &'a RawValue,
}

impl Signal<'_> {
    /// # Errors
    /// The first field whose value does not read.
    fn check(&self) -> Result<(), Problem> {
        let named = |one: &String| one.parse::<Role>().is_ok() || one.parse::<Oin>().is_ok();
        if !self.to.iter().all(named) {
            return Err(Problem::field("to"));
        }
        input::reads::<Step>("step", self.step.as_ref())?;
        input::reads::<CaseId>("case", self.case.as_ref())?;
        input::reads::<Digest>("covenant", self.covenant.as_ref())?;
        input::reads::<MsgId>("in_reply_to", self.in_reply_to.as_ref())?;
        input::reads::<Handling>("handling", self.handling.as_ref())
    }

    fn text(self, id: MsgId) -> PushText {
        PushText {
            msg_id: id.to_string(),
            key: None,
            flow: self.flow,
            to: self.to,
            step: self.step,
            case: self.case,
            message_type: self.message_type,
            basis: self.basis,
            covenant: self.covenant,
            ttl_ms: self.valid_seconds.map(|seconds| seconds.saturating_mul(1000)),
            in_reply_to: self.in_reply_to,
            trace: None,
            source: self.passes_on.map(|position| position.to_string()),
            handling: self.handling,
            body: BASE64.encode(self.body.get().as_bytes()),
        }
    }
}

/// Takes a signal in: when this answers with 200 or 202 it is on stable storage.
pub(super) async fn push(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let signal: Signal<'_> = input::json(&headers, &body)?;
    if !token.sends(&signal.flow) {
        return Err(Problem::not_allowed("send"));
    }
    signal.check()?;
    let key = input::idempotency_key(&headers)?;
    if let Some(about) = &signal.in_reply_to {
        answers(&desk, &token, about).await?;
    }
    if let Some(position) = signal.passes_on {
        inbox::visible(&desk, &token, position).await?;
    }
    let way = format!("api/{}", token.name);
    let id = desk.agent.msg_id(&way, key.as_bytes()).await?;
    let text = PushText { trace: input::trace(&headers).map(|trace| trace.to_string()), ..signal.text(id) };
    let mut value = desk.agent.ask(Request::Push(Box::new(text))).await?;
    let repeated = value["repeated"] == json!(true);
    let waited = input::wait(&headers);
    if let Some(seconds) = waited
        && matches!(value["state"].as_str(), Some("draft" | "sealed"))
        // What is not decided in time is told as it stands.
        && tokio::time::timeout(Duration::from_secs(seconds), desk.agent.wait_done(id)).await.is_ok()
    {
        value = desk.agent.ask(Request::Look(Look::Message { msg_id: id.to_string() })).await?;
    }
    let status = if repeated { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = said(status, &value);
    let location = HeaderValue::from_str(&format!("/v1/messages/{id}")).ok();
    response.headers_mut().extend(location.map(|location| (LOCATION, location)));
    if let Some(applied) = waited.and_then(|seconds| HeaderValue::from_str(&format!("wait={seconds}")).ok()) {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

/// A signal that says more of an earlier one of this organisation, as a correction does, needs the right to that one.
async fn answers(desk: &Desk, token: &Token, about: &str) -> Result<(), Problem> {
    match visible(desk, token, about).await {
        Ok(_) => Ok(()),
        Err(hidden) => {
            let id: MsgId = about.parse().map_err(|_| Problem::nothing())?;
            let own = desk.agent.query(move |view| view.core.find(&id).is_some()).await?;
            if own { Err(hidden) } else { Ok(()) }
        }
    }
}

/// Signals of the flows that this token sends, oldest first.
pub(super) async fn list(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::of(&uri, &["from", "limit", "flow"])?;
    let (from, limit) = (query.from()?.unwrap_or(0), query.limit(LIMIT.0, LIMIT.1)?);
    let flow = query.text("flow").map(str::to_owned);
    let wanted = move |of: &str| token.sends(of) && flow.as_deref().is_none_or(|flow| flow == of);
    let page = desk.agent.query(move |view| present::sent_page(view, from, limit, wanted)).await?;
    paged(&page)
}

/// A page as it is given.
pub(super) fn paged(page: &Page) -> Result<Response, Problem> {
    if page.beyond {
        return Err(Problem::beyond());
    }
    Ok(said(StatusCode::OK, &json!({ "items": page.items, "next": page.next, "more": page.more })))
}

/// The message of this id, when this token may see it. What it may not see is as what is not there.
async fn visible(desk: &Desk, token: &Token, id: &str) -> Result<(MsgId, Value), Problem> {
    let id: MsgId = id.parse().map_err(|_| Problem::nothing())?;
    let found = desk.agent.query(move |view| present::message(view, id)).await?;
    let value = found.map_err(|_| Problem::nothing())?;
    let flow = value["flow"].as_str().unwrap_or_default();
    if token.sends(flow) { Ok((id, value)) } else { Err(Problem::nothing()) }
}

pub(super) async fn one(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    visible(&desk, &token, &id).await.map(|(_, value)| said(StatusCode::OK, &value))
}

/// The receipt file: what proves to anybody that the message was accepted, stored and taken over.
pub(super) async fn receipt(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (id, _) = visible(&desk, &token, &id).await?;
    let made = desk.agent.ask(Request::Look(Look::ReceiptFile { msg_id: id.to_string() })).await?;
    let text = made.as_str().unwrap_or_default().to_owned();
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

pub(super) async fn correct(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    say(&desk, &token, &id, CorrectionKind::Correction, input::json(&headers, &body)?).await
}

pub(super) async fn withdraw(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    say(&desk, &token, &id, CorrectionKind::Withdrawal, input::json(&headers, &body)?).await
}

async fn say(
    desk: &Desk,
    token: &Token,
    id: &str,
    kind: CorrectionKind,
    body: Map<String, Value>,
) -> Result<Response, Problem> {
    let (id, _) = visible(desk, token, id).await?;
    let value = desk.agent.ask(completed(&id.to_string(), kind, body)).await?;
    Ok(said(StatusCode::ACCEPTED, &value))
}

/// Why a message is taken back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    reason: String,
}

/// Takes a message back from who does not have it yet.
pub(super) async fn take_back(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Reason { reason } = input::json(&headers, &body)?;
    if reason.is_empty() {
        return Err(Problem::bad(Text::new("reason is leeg.", "reason is empty.")));
    }
    let (id, _) = visible(&desk, &token, &id).await?;
    let value = desk.agent.ask(Request::TakeBack { msg_id: id.to_string(), reason }).await?;
    Ok(said(StatusCode::ACCEPTED, &value))
}
