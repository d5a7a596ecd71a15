//! Convenant: the versions, who signed them, and what each allows and changes in words.

use axum::Extension;
use axum::extract::{Path, State};
use maud::{Markup, html};
use seinhuis_broker_core::{Answer, Command};
use seinhuis_shared::covenant::agreement::Agreement;
use seinhuis_shared::covenant::difference;
use seinhuis_shared::covenant::review::Review;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::standing::CovenantView;

use super::guard::Visit;
use super::layout::{self, facts, table};
use super::trouble::Trouble;
use super::words::Ctx;
use super::{Desk, Shown};

/// Every version that is known.
pub(super) async fn all(desk: &Desk) -> Result<Vec<Agreement>, Complaint> {
    let answer = desk.service.command(Command::Covenants).await?;
    if let Answer::Covenants(all) = answer { Ok(all) } else { Err(Complaint::bug("another answer")) }
}

pub(super) async fn list(State(desk): State<Desk>, Extension(visit): Extension<Visit>) -> Shown {
    let board = desk.service.board().await?;
    let ctx = Ctx::new(&board, &visit);
    let rows: Vec<Vec<Markup>> = all(&desk)
        .await?
        .iter()
        .map(|agreement| {
            let view = CovenantView::new(agreement, ctx.now());
            let signed = view.parties.iter().filter(|party| party.standing == "accepted").count();
            vec![
                html! { a href={ "/covenants/" (view.hash) } { (view.title) " v" (view.version) } },
                html! { (view.state) },
                html! { (signed) " / " (view.parties.len()) },
                html! { (view.effective.as_deref().unwrap_or("–")) },
                html! { (view.valid_until) },
                html! { (view.flows.len()) },
            ]
        })
        .collect();
    let heads = [
        ctx.t("Versie", "Version"),
        ctx.t("Stand", "State"),
        ctx.t("Ondertekend", "Signed"),
        ctx.t("Van kracht sinds", "In force since"),
        ctx.t("Tot", "Until"),
        ctx.t("Stromen", "Flows"),
    ];
    let title = layout::title_of("/covenants", visit.lang);
    let main = html! {
        h1 { (title) }
        @if rows.is_empty() { p { (ctx.t("Er is nog geen convenant voorgesteld.", "No covenant was proposed yet.")) } }
        @else { (table(ctx.t("Versies van convenanten", "Versions of covenants"), &heads, &rows)) }
    };
    Ok(layout::shown(&desk, &visit, title, &main))
}

pub(super) async fn one(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(hash): Path<String>,
) -> Shown {
    let board = desk.service.board().await?;
    let ctx = Ctx::new(&board, &visit);
    let all = all(&desk).await?;
    let is = |one: &&Agreement| one.compiled().hash().to_string() == hash;
    let agreement = all.iter().find(is).ok_or_else(Trouble::nothing)?;
    let covenant = agreement.compiled().covenant();
    let before = all.iter().find(|one| covenant.previous == Some(one.compiled().hash()));
    let view = CovenantView::new(agreement, ctx.now());
    let parties: Vec<Vec<Markup>> = view
        .parties
        .iter()
        .map(|party| {
            vec![
                html! { (party.name) },
                html! { (party.role) },
                html! { (party.standing) },
                html! { (party.since.as_deref().unwrap_or("–")) },
            ]
        })
        .collect();
    let heads =
        [ctx.t("Partij", "Party"), ctx.t("Rol", "Role"), ctx.t("Stand", "Standing"), ctx.t("Sinds", "Since")];
    let title = format!("{} v{}", view.title, view.version);
    let main = html! {
        p { a href="/covenants" { (ctx.t("← Convenant", "← Covenant")) } }
        h1 { (title) }
        (facts(&[
            (ctx.t("Stand", "State"), html! { (view.state) }),
            (ctx.t("Hash", "Hash"), html! { code { (view.hash) } }),
            (ctx.t("Geldig", "Valid"), html! { (view.valid_from) " – " (view.valid_until) }),
        ]))
        (table(ctx.t("Partijen", "Parties"), &heads, &parties))
        @if let Some(before) = before {
            h2 { (ctx.t("Wat deze versie verandert", "What this version changes")) }
            ul { @for change in difference(before.compiled().covenant(), covenant) { li { (change.text(ctx.lang)) } } }
        }
        h2 { (ctx.t("Wat ze toestaat, in woorden", "What it allows, in words")) }
        pre class="words" tabindex="0" { (Review::new(covenant, None).text(ctx.lang)) }
    };
    Ok(layout::shown(&desk, &visit, &title, &main))
}
