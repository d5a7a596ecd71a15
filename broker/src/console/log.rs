//! Logboek: how the exchange log stands, who watches it, and how to look something up.

use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_monitor::Board;
use seinhuis_shared::entry::Kind;
use seinhuis_shared::time::Span;

use super::layout::{State, facts, state, table};
use super::words::{Ctx, number, span};

pub(super) fn live(board: &Board, ctx: &Ctx, _: &Uri) -> Markup {
    let log = &board.log;
    let check = match (log.failures.first(), log.checked) {
        (Some((nl, en)), _) => state(State::Bad, ctx.lang.pick(nl, en)),
        (None, Some(at)) => {
            html! { (state(State::Good, ctx.t("niets gevonden", "nothing found"))) ", " (ctx.ago(at)) }
        }
        (None, None) => html! { (ctx.t("nog niet rond", "not complete yet")) },
    };
    let last = (log.last_entry.0 > 0).then_some(log.last_entry);
    html! {
        (facts(&[
            (ctx.t("Naam", "Origin"), html! { code { (log.origin) } }),
            (ctx.t("Regels", "Entries"), html! { (number(log.size)) }),
            (ctx.t("Wortel", "Root"), html! { code { (log.root.as_deref().unwrap_or("–")) } }),
            (ctx.t("Laatste regel", "Last entry"), last.map_or_else(|| html! { "–" }, |at| ctx.ago(at))),
            (ctx.t("Zelfcontrole", "Self-check"), check),
            (ctx.t("Nog te tellen", "Still to be counted"), html! { (number(board.behind)) }),
        ]))
        (quorums(board, ctx))
        (witnesses(board, ctx))
        (search(ctx))
        (kinds(board, ctx))
    }
}

fn quorums(board: &Board, ctx: &Ctx) -> Markup {
    let rows: Vec<Vec<Markup>> = board
        .quorums
        .iter()
        .map(|one| {
            vec![
                html! { (one.id) " v" (one.version) },
                html! { (one.wanted) " / " (one.of) },
                one.size.map_or_else(
                    || html! { (ctx.t("nog nooit", "never yet")) },
                    |size| html! { (number(size)) },
                ),
                html! { (span(Span(one.age_ms), ctx.lang)) },
            ]
        })
        .collect();
    let heads = [
        ctx.t("Convenant", "Covenant"),
        ctx.t("Nodig / mogelijk", "Needed / possible"),
        ctx.t("Meegetekend tot", "Cosigned up to"),
        ctx.t("Zo lang geleden", "So long ago"),
    ];
    html! { @if !rows.is_empty() { (table(ctx.t("Quorums van getuigen", "Quorums of witnesses"), &heads, &rows)) } }
}

fn witnesses(board: &Board, ctx: &Ctx) -> Markup {
    let rows: Vec<Vec<Markup>> = board
        .witnesses
        .iter()
        .map(|one| {
            let behind = one.size.map(|size| board.log.size.saturating_sub(size));
            let how = match (&one.suspect, &one.remark, one.reachable) {
                (Some(suspect), ..) => state(State::Bad, suspect),
                (None, Some(remark), _) => state(State::Attention, remark),
                (None, None, true) => state(State::Good, ctx.t("bereikbaar", "reachable")),
                (None, None, false) => state(State::Attention, ctx.t("niet bereikbaar", "not reachable")),
            };
            let name = one.name.parse().map_or_else(|_| html! { (one.name) }, |oin| ctx.partner(oin));
            vec![
                name,
                how,
                behind.map_or_else(|| html! { "?" }, |behind| html! { (number(behind)) }),
                html! { (number(one.refused)) },
            ]
        })
        .collect();
    let heads = [
        ctx.t("Getuige", "Witness"),
        ctx.t("Stand", "State"),
        ctx.t("Regels achter", "Entries behind"),
        ctx.t("Onbruikbare antwoorden", "Useless answers"),
    ];
    html! { @if !rows.is_empty() { (table(ctx.t("Getuigen", "Witnesses"), &heads, &rows)) } }
}

fn search(ctx: &Ctx) -> Markup {
    html! {
        h2 { (ctx.t("Opzoeken", "Look up")) }
        form method="get" action="/log/find" class="inline" {
            div class="field" {
                label for="kind" { (ctx.t("Soort", "Kind")) }
                select id="kind" name="kind" {
                    option value="" { (ctx.t("alle", "all")) }
                    @for kind in Kind::ALL { option value=(kind) { (kind) } }
                }
            }
            div class="field" { label for="from" { (ctx.t("OIN van de afzender", "OIN of the sender")) } input id="from" name="from" type="text" maxlength="20"; }
            div class="field" { label for="to" { (ctx.t("OIN van de ontvanger", "OIN of the recipient")) } input id="to" name="to" type="text" maxlength="20"; }
            div class="field" { label for="reason" { (ctx.t("Reden (nummer)", "Reason (number)")) } input id="reason" name="reason" type="text" inputmode="numeric" maxlength="3"; }
            button type="submit" { (ctx.t("Zoek", "Search")) }
        }
    }
}

fn kinds(board: &Board, ctx: &Ctx) -> Markup {
    let rows: Vec<Vec<Markup>> = board
        .kinds
        .iter()
        .map(|(kind, count)| {
            vec![html! { a href={ "/log/find?kind=" (kind) } { (kind) } }, html! { (number(*count)) }]
        })
        .collect();
    table(
        ctx.t("Getelde regels per soort", "Entries counted, by kind"),
        &[ctx.t("Soort", "Kind"), ctx.t("Aantal", "Number")],
        &rows,
    )
}
