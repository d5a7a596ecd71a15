//! Wachtrijen: what waits for whom, for how long, and when it ends.

use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_monitor::{AgentRow, Board, QueueRow};
use seinhuis_shared::time::Timestamp;

use super::layout::{State, state, table};
use super::words::{Ctx, bytes, number};

/// Most rows that are shown; the oldest come first.
const ROWS: usize = 200;

pub(super) fn live(board: &Board, ctx: &Ctx, _: &Uri) -> Markup {
    let mut all: Vec<&QueueRow> = board.queues.iter().collect();
    all.sort_by_key(|queue| queue.oldest.map_or(Timestamp(u64::MAX), |place| place.at));
    let rows: Vec<Vec<Markup>> = all.iter().take(ROWS).map(|queue| row(queue, board, ctx)).collect();
    let heads = [
        ctx.t("Ontvanger", "Recipient"),
        ctx.t("Verbonden", "Connected"),
        ctx.t("Pakketten", "Packets"),
        ctx.t("Omvang", "Bytes"),
        ctx.t("Oudste", "Oldest"),
        ctx.t("Vervalt", "Expires"),
        ctx.t("Onderweg", "Under way"),
        ctx.t("Opnieuw aangeboden", "Offered again"),
        ctx.t("Vastgehouden", "Held"),
    ];
    html! {
        @if rows.is_empty() {
            p { (state(State::Good, ctx.t("Er wacht niets: alles is bezorgd.", "Nothing waits: everything was delivered."))) }
        } @else {
            (table(ctx.t("Wat wacht, de oudste eerst", "What waits, the oldest first"), &heads, &rows))
            @if all.len() > ROWS { p class="quiet" { (number(all.len() as u64)) " " (ctx.t("wachtrijen; de oudste staan hier", "queues; the oldest are here")) } }
            (advice(ctx))
        }
    }
}

fn row(queue: &QueueRow, board: &Board, ctx: &Ctx) -> Vec<Markup> {
    let agent = board.agents.iter().find(|agent| agent.oin == queue.oin);
    let connected = agent.is_some_and(AgentRow::is_connected);
    let suspended = agent.is_some_and(|agent| agent.suspended.is_some());
    let said = if connected {
        ctx.t("ja", "yes")
    } else if suspended {
        ctx.t("nee, toegang opgeschort", "no, access suspended")
    } else {
        ctx.t("nee", "no")
    };
    vec![
        ctx.partner(queue.oin),
        state(if connected { State::Good } else { State::Attention }, said),
        html! { (number(queue.packets)) },
        html! { (bytes(queue.bytes)) },
        ctx.place(queue.oldest),
        queue.expires.map_or_else(|| html! { "–" }, |at| ctx.until(at)),
        html! { (number(queue.inflight)) },
        html! { (number(agent.map_or(0, |agent| agent.redelivered))) },
        html! { (number(queue.frozen)) },
    ]
}

fn advice(ctx: &Ctx) -> Markup {
    html! {
        h2 { (ctx.t("Wat te doen", "What to do")) }
        ul {
            li { (ctx.t(
                "Niet verbonden: bel de partner. Zijn agent komt vanzelf terug als proces en netwerk er zijn; daar zegt seinhuis-agent doctor wat er mis is.",
                "Not connected: call the partner. Its agent comes back by itself when process and network are there; seinhuis-agent doctor says what is wrong.",
            )) }
            li { (ctx.t(
                "Toegang opgeschort: alles wacht tot u de toegang hervat, bij Agenten.",
                "Access suspended: everything waits until you resume its access, under Agents.",
            )) }
            li { (ctx.t(
                "Verbonden en het loopt niet leeg: de agent kan niet opslaan, of een pakket is hier beschadigd (seinhuis-broker mailbox list).",
                "Connected and not emptying: the agent cannot store, or a packet is damaged here (seinhuis-broker mailbox list).",
            )) }
            li { (ctx.t(
                "Opnieuw aangeboden, sinds de start van de broker: de ontvanger bevestigde niet voordat zijn verbinding eindigde. Loopt het op, dan vallen verbindingen weg of slaat de agent niets op.",
                "Offered again, since the broker started: the recipient did not acknowledge before its connection ended. When it rises, connections break or the agent stores nothing.",
            )) }
            li { (ctx.t(
                "Vastgehouden: de grondslag viel weg, zoals bij een opzegging. Het komt vrij of vervalt vanzelf.",
                "Held: what it rests on fell away, as with a withdrawal. It is freed or expires by itself.",
            )) }
        }
    }
}
