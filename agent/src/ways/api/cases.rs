//! Cases: how they stand, and this organisation's decisions about them.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use seinhuis_shared::covenant::Step;
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shell::lang::Text;
use serde::Deserialize;
use serde_json::{Value, json};

use super::input;
use super::problem::Problem;
use super::token::{Right, Token};
use super::{Desk, said};
use crate::commands::present;
use crate::commands::request::{ActText, Look, Request};

fn see(token: &Token) -> Result<(), Problem> {
    if token.may(&Right::Cases) { Ok(()) } else { Err(Problem::not_allowed("cases")) }
}

fn decides(token: &Token) -> Result<(), Problem> {
    if token.may(&Right::Decide) { Ok(()) } else { Err(Problem::not_allowed("decide")) }
}

pub(super) async fn list(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
) -> Result<Response, Problem> {
    see(&token)?;
    Ok(said(StatusCode::OK, &desk.agent.ask(Request::Look(Look::Cases)).await?))
}

/// How a case stands here; one that nobody told this agent of is not there, and the broker is not asked about it.
async fn known(desk: &Desk, case: CaseId) -> Result<Value, Problem> {
    let value = desk.agent.query(move |view| present::case(view, case)).await?;
    if value["state"].is_null() && value["waiting"].is_null() {
        return Err(Problem::nothing());
    }
    Ok(desk.agent.ask(Request::Look(Look::Case { case: case.to_string() })).await?)
}

/// What a token that decides may see of a case: all of it only with the right to see cases.
fn shown(token: &Token, mut value: Value) -> Value {
    if !token.may(&Right::Cases) {
        for hidden in ["state", "covenant"] {
            value[hidden] = Value::Null;
        }
        for hidden in ["conditions", "decisions"] {
            value[hidden] = json!([]);
        }
    }
    value
}

pub(super) async fn one(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    Path(case): Path<String>,
) -> Result<Response, Problem> {
    see(&token)?;
    let case = case.parse().map_err(|_| Problem::nothing())?;
    Ok(said(StatusCode::OK, &known(&desk, case).await?))
}

/// Under which version a case begins.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    covenant: Option<String>,
}

/// Begins a case under the pseudonym that the application drew: the same request again changes nothing.
pub(super) async fn open(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    Path(case): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    decides(&token)?;
    let case: CaseId = case.parse().map_err(|_| Problem::nothing())?;
    if !is_random(&case) {
        return Err(Problem::bad(Text::new(
            "Het pseudoniem is geen willekeurige UUID (versie 4).",
            "The pseudonym is no random UUID (version 4).",
        )));
    }
    let Opening { covenant } = input::json(&headers, &body)?;
    input::reads::<Digest>("covenant", covenant.as_ref())?;
    if let Ok(value) = known(&desk, case).await {
        return Ok(said(StatusCode::OK, &shown(&token, value)));
    }
    let begin = Request::Decide { case: case.to_string(), act: ActText::Open, covenant };
    Ok(said(StatusCode::ACCEPTED, &shown(&token, desk.agent.ask(begin).await?)))
}

/// Whether a pseudonym says that it is random (RFC 9562 §5.4).
fn is_random(case: &CaseId) -> bool {
    let [_, _, _, _, _, _, version, _, variant, ..] = case.as_bytes();
    version >> 4 == 4 && variant >> 6 == 2
}

/// A decision about a case.
#[derive(Deserialize)]
#[serde(tag = "act", rename_all = "lowercase", deny_unknown_fields)]
enum Decision {
    Step { step: String },
    Close {},
    Condition { condition: String, holds: bool },
}

pub(super) async fn decide(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    Path(case): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    decides(&token)?;
    let case: CaseId = case.parse().map_err(|_| Problem::nothing())?;
    let act = match input::json(&headers, &body)? {
        Decision::Step { step } => {
            input::reads::<Step>("step", Some(&step))?;
            ActText::Step(step)
        }
        Decision::Close {} => ActText::Close,
        Decision::Condition { condition, holds } => ActText::Condition { code: condition, holds },
    };
    let decision = Request::Decide { case: case.to_string(), act, covenant: None };
    Ok(said(StatusCode::ACCEPTED, &shown(&token, desk.agent.ask(decision).await?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_says_that_it_is_random() {
        let random = |text: &str| is_random(&text.parse().unwrap());
        assert!(random("6f1c2d3e-4a5b-4c6d-9e7f-8a9b0c1d2e3f"));
        assert!(!random("6f1c2d3e-4a5b-7c6d-9e7f-8a9b0c1d2e3f"), "a time is in it");
        assert!(!random("00000000-0000-0000-0000-000000000001"));
    }
}
