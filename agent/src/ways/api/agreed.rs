//! What the covenants let this organisation send and receive, and in which form.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use seinhuis_shared::covenant::agreement::State as Standing;
use seinhuis_shared::covenant::{Compiled, Flow, Role};
use seinhuis_shared::ids::Digest;
use seinhuis_shell::clock;
use serde_json::{Value, json};

use super::problem::Problem;
use super::token::Token;
use super::{Desk, said};
use crate::commands::request::{Look, Request};
use crate::engine::View;

pub(super) async fn covenants(State(desk): State<Desk>) -> Result<Response, Problem> {
    Ok(said(StatusCode::OK, &desk.agent.ask(Request::Look(Look::Covenants)).await?))
}

/// The JSON Schema of a message type, in the form in which the covenant carries it.
pub(super) async fn schema(
    State(desk): State<Desk>,
    Path((hash, code)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let hash: Digest = hash.parse().map_err(|_| Problem::nothing())?;
    let find = move |view: &View<'_>| {
        let agreement = view.core.agreed().find(&hash).ok()?;
        let types = &agreement.compiled().covenant().types;
        types.iter().find(|one| one.code == code).map(|one| one.schema.clone())
    };
    let text = desk.agent.query(find).await?.ok_or_else(Problem::nothing)?;
    Ok(([(CONTENT_TYPE, "application/schema+json")], text).into_response())
}

/// The flows that are in force for this organisation and that this token has to do with.
pub(super) async fn flows(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
) -> Result<Response, Problem> {
    let listed = move |view: &View<'_>| {
        let (now, own) = (clock::now(), view.core.oin());
        let mut found = Vec::new();
        for agreement in view.core.agreed().all().filter(|one| one.state(now) == Standing::InForce) {
            let compiled = agreement.compiled();
            let Some(role) = compiled.role_at(own, now) else { continue };
            found.extend(
                compiled.covenant().flows.iter().filter_map(|flow| offered(compiled, flow, role, &token)),
            );
        }
        Value::Array(found)
    };
    Ok(said(StatusCode::OK, &desk.agent.query(listed).await?))
}

/// A flow as an organisation in this role has to do with it, for a token that may use it.
fn offered(compiled: &Compiled, flow: &Flow, role: Role, token: &Token) -> Option<Value> {
    let to = |one: &seinhuis_shared::covenant::Route| one.from.contains(&role).then(|| one.to.clone());
    let to: Vec<Role> = flow.routes.iter().filter_map(to).flatten().collect();
    let comes = flow.routes.iter().any(|route| route.to.contains(&role));
    let (sends, receives) = (!to.is_empty() && token.sends(&flow.id), comes && token.receives(&flow.id));
    if !sends && !receives {
        return None;
    }
    let (covenant, hash) = (compiled.covenant(), compiled.hash());
    let types = covenant.types.iter().filter(|one| flow.types.contains(&one.code)).map(|one| {
        json!({
            "type": one.code, "nl": one.nl, "en": one.en,
            "schema": format!("/v1/covenants/{hash}/schemas/{}", one.code),
        })
    });
    let steps: Vec<&str> = flow.steps.iter().map(|step| step.as_str()).collect();
    let levels: Vec<&str> = flow.levels.iter().map(|level| level.as_str()).collect();
    Some(json!({
        "flow": flow.id, "nl": flow.nl, "en": flow.en,
        "covenant": hash.to_string(), "covenant_id": covenant.id, "version": covenant.version,
        "send": sends, "receive": receives,
        "to": if sends { to.iter().map(|role| role.as_str()).collect::<Vec<_>>() } else { Vec::new() },
        "types": types.collect::<Vec<_>>(),
        "steps": steps, "levels": levels, "categories": flow.categories,
        "purpose": flow.purpose, "bases": flow.bases,
        "release": flow.release, "most_recipients": flow.max_recipients,
        "most_bytes": compiled.max_body(&flow.id),
        "retention_days": flow.retention_days,
    }))
}
