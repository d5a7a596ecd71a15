//! Deliveries: looked at, read, and taken over.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use data_encoding::BASE64;
use seinhuis_agent_core::rows::InboxRow;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde_json::Value;

use super::input::Query;
use super::messages::{LIMIT, paged};
use super::problem::Problem;
use super::token::Token;
use super::{Desk, said};
use crate::commands::present;
use crate::commands::request::{Look, Request};

/// Deliveries of the flows that this token receives, oldest first. With `open=true` only those with a body that counts
/// and that no application took over.
pub(super) async fn list(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::of(&uri, &["from", "limit", "flow", "case", "open"])?;
    let (from, limit) = (query.from()?.unwrap_or(0), query.limit(LIMIT.0, LIMIT.1)?);
    let open = query.read("open")?.unwrap_or(false);
    let case: Option<seinhuis_shared::ids::CaseId> = query.read("case")?;
    let flow = query.text("flow").map(str::to_owned);
    let wanted = move |row: &InboxRow| {
        token.receives(&row.flow)
            && flow.as_deref().is_none_or(|flow| flow == row.flow)
            && (case.is_none() || case == row.case)
    };
    let page = desk.agent.query(move |view| present::received_page(view, from, limit, open, wanted)).await?;
    paged(&page)
}

/// The delivery at this position, when this token may see it.
pub(super) async fn visible(desk: &Desk, token: &Token, position: u64) -> Result<Value, Problem> {
    let found = desk.agent.query(move |view| present::received(view, position)).await?;
    let value = found.map_err(|_| Problem::nothing())?;
    let flow = value["flow"].as_str().unwrap_or_default();
    if token.receives(flow) { Ok(value) } else { Err(Problem::nothing()) }
}

fn position(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Problem::nothing())
}

pub(super) async fn one(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    Path(at): Path<String>,
) -> Result<Response, Problem> {
    let value = visible(&desk, &token, position(&at)?).await?;
    Ok(said(StatusCode::OK, &value))
}

/// The body's exact bytes. That it was read is on record before they leave.
pub(super) async fn body(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    Path(at): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let withdrawn = Query::of(&uri, &["withdrawn"])?.read("withdrawn")?.unwrap_or(false);
    let at = position(&at)?;
    let row = visible(&desk, &token, at).await?;
    let about = |nl: &str, en: &str| Text::new(nl, en);
    if !row["erased"].is_null() {
        return Err(Problem::gone(about("De inhoud is gewist.", "The body is erased.")));
    }
    if row["state"] == "quarantined" {
        return Err(Problem::conflict(
            "quarantined",
            about(
                "Dit bericht is in quarantaine: het heeft geen inhoud die gelezen mag worden.",
                "This message is quarantined: it has no body that may be read.",
            ),
            about(
                "De reden staat bij het bericht; de afzender heeft haar gekregen.",
                "The reason stands with the message; the sender has got it.",
            ),
        ));
    }
    if row["revised"] == "withdrawn" && !withdrawn {
        return Err(Problem::conflict(
            "withdrawn",
            about(
                "De afzender heeft dit bericht ingetrokken; gebruik de inhoud niet meer.",
                "The sender withdrew this message; do not use its body any more.",
            ),
            about(
                "Wie de inhoud toch moet zien, vraagt haar met ?withdrawn=true.",
                "Who has to see the body all the same asks for it with ?withdrawn=true.",
            ),
        ));
    }
    let value = desk.agent.ask(Request::Look(Look::Read { id: at.to_string(), withdrawn })).await?;
    let encoded = value["body"].as_str().unwrap_or_default();
    let bytes = BASE64.decode(encoded.as_bytes()).map_err(|error| Complaint::bug(error.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// Says that the application took a delivery over; its sender is told, with this organisation's signature.
pub(super) async fn consumed(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    Path(at): Path<String>,
) -> Result<Response, Problem> {
    let at = position(&at)?;
    visible(&desk, &token, at).await?;
    let value = desk.agent.ask(Request::Consumed { id: at.to_string() }).await?;
    Ok(said(StatusCode::OK, &value))
}
