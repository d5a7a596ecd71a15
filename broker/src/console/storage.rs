//! Opslag: the disk, and how fast what is accepted becomes durable.

use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_monitor::{BATCH_ENTRIES, Board, Distribution, FLUSH_MILLIS};

use super::layout::{State, facts, state, table};
use super::words::{Ctx, bytes, number};

/// A flush that takes longer than this for one turn in a hundred asks attention, in milliseconds.
const SLOW_MS: u64 = 250;

pub(super) fn live(board: &Board, ctx: &Ctx, _: &Uri) -> Markup {
    let storage = &board.storage;
    let free = storage.free_bytes.map_or_else(|| "?".to_owned(), bytes);
    let room = if storage.scarce {
        state(
            State::Bad,
            ctx.t("te weinig: er wordt niets nieuws aangenomen", "too little: nothing new is taken in"),
        )
    } else {
        state(State::Good, ctx.t("genoeg", "enough"))
    };
    let quantile = |per_mille| {
        storage.flush.quantile(per_mille, FLUSH_MILLIS).map_or_else(
            || if storage.flush.total() == 0 { "–".to_owned() } else { "> 2500 ms".to_owned() },
            |bound| format!("≤ {bound} ms"),
        )
    };
    let slow = storage.flush.total() > 0
        && storage.flush.quantile(990, FLUSH_MILLIS).is_none_or(|bound| bound > SLOW_MS);
    let speed = if slow {
        state(State::Attention, ctx.t("traag: kijk naar de schijf", "slow: look at the disk"))
    } else {
        state(State::Good, ctx.t("goed", "good"))
    };
    let left = board.disk_left();
    html! {
        h2 { (ctx.t("Schijf", "Disk")) }
        (facts(&[
            (ctx.t("Vrij", "Free"), html! { (free) " – " (room) }),
            (ctx.t("Dagen ruimte", "Days of room"), html! { @if let Some(days) = left.days() { (days) " " } (left.said(ctx.lang)) }),
            (ctx.t("Vrij te houden", "Kept free"), html! { (bytes(storage.keep_free_bytes)) " (store.keep_free_mib)" }),
            (ctx.t("Journaal op schijf", "Journal on disk"), html! { (bytes(storage.disk_bytes)) }),
            (ctx.t("Daarvan nog nodig", "Of that still needed"), html! { (bytes(storage.live_bytes)) }),
        ]))
        h2 { (ctx.t("Vastleggen", "Making durable")) }
        (facts(&[
            (ctx.t("Helft van de beurten", "Half of the turns"), html! { (quantile(500)) }),
            (ctx.t("99 van de 100 beurten", "99 of 100 turns"), html! { (quantile(990)) " – " (speed) }),
            (ctx.t("Beurten sinds de start", "Turns since the start"), html! { (number(storage.flush.total())) }),
        ]))
        (steps(&storage.flush, FLUSH_MILLIS, "ms", ctx.t("Hoe lang een beurt duurde", "How long a turn took"), ctx))
        (steps(&storage.batch, BATCH_ENTRIES, "", ctx.t("Hoeveel logregels een beurt had", "How many log entries a turn had"), ctx))
    }
}

fn steps(all: &Distribution, bounds: &[u64], unit: &str, caption: &str, ctx: &Ctx) -> Markup {
    let most = all.counts.iter().copied().max().unwrap_or_default().max(1);
    let row = |(at, count): (usize, &u64)| {
        let name = bounds.get(at).map_or_else(
            || format!("> {} {unit}", bounds.last().copied().unwrap_or_default()),
            |bound| format!("≤ {bound} {unit}"),
        );
        let width = count * 100 / most;
        vec![
            html! { (name) },
            html! { (number(*count)) },
            html! { svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" { rect width=(width) height="10" {} } },
        ]
    };
    let rows: Vec<Vec<Markup>> = all.counts.iter().enumerate().map(row).collect();
    table(caption, &[ctx.t("Stap", "Step"), ctx.t("Beurten", "Turns"), ctx.t("Aandeel", "Share")], &rows)
}
