//! Weigeringen: who was refused, why, and what to do about it.

use std::collections::BTreeMap;

use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_monitor::{Board, RefusalRow};
use seinhuis_shared::refusal::Refusal;

use super::layout::{State, facts, state, table};
use super::words::{Ctx, number};

pub(super) fn live(board: &Board, ctx: &Ctx, _: &Uri) -> Markup {
    let mut all: Vec<&RefusalRow> = board.refusals.iter().collect();
    all.sort_by_key(|row| std::cmp::Reverse((row.hour, row.count)));
    let mut reasons: BTreeMap<u16, u64> = BTreeMap::new();
    for row in &all {
        let count = reasons.entry(row.reason).or_default();
        *count = count.saturating_add(row.count);
    }
    let rows: Vec<Vec<Markup>> = all.iter().map(|row| line(row, ctx)).collect();
    let heads = [
        ctx.t("Reden", "Reason"),
        ctx.t("Afzender", "Sender"),
        ctx.t("Laatste uur", "Last hour"),
        ctx.t("Sinds het tellen", "Since counting"),
        ctx.t("Laatste", "Last"),
        ctx.t("Regels", "Entries"),
    ];
    html! {
        @if rows.is_empty() {
            p { (state(State::Good, ctx.t("Er is niets geweigerd.", "Nothing was refused."))) }
        } @else {
            (table(ctx.t("Geweigerd, per reden en afzender", "Refused, by reason and sender"), &heads, &rows))
            h2 { (ctx.t("Wat elke reden betekent", "What each reason means")) }
            @for (reason, count) in &reasons { (meaning(*reason, *count, ctx)) }
        }
    }
}

fn line(row: &RefusalRow, ctx: &Ctx) -> Vec<Markup> {
    let from = row.from.map_or_else(|| html! { (ctx.t("onbekend", "unknown")) }, |oin| ctx.partner(oin));
    vec![
        html! { a href={ "#r" (row.reason) } { (ctx.refusal(row.reason)) } },
        from,
        html! { (number(row.hour.into())) },
        html! { (number(row.count)) },
        ctx.place(row.last),
        html! {
            @if let Some(oin) = row.from {
                a href={ "/log/find?kind=refused&reason=" (row.reason) "&from=" (oin) } { (ctx.t("bekijk", "show")) }
            } @else { a href={ "/log/find?kind=refused&reason=" (row.reason) } { (ctx.t("bekijk alle afzenders", "show all senders")) } }
        },
    ]
}

fn meaning(reason: u16, count: u64, ctx: &Ctx) -> Markup {
    let advice = Refusal::from_number(reason).map_or("–", |refusal| refusal.advice(ctx.lang));
    html! {
        h3 id={ "r" (reason) } { (ctx.refusal(reason)) }
        (facts(&[
            (ctx.t("Hoe vaak", "How often"), html! { (number(count)) }),
            (ctx.t("Wat de afzender doet", "What the sender does"), html! { (advice) }),
        ]))
    }
}
