//! Agenten: who is connected and how, and what can be done about a partner.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_broker_core::Suspendable;
use seinhuis_monitor::{AgentRow, Board, LinkRow};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::web::form::Form;

use super::accounts::Right;
use super::acts::{self, Asking, Deed};
use super::guard::Visit;
use super::layout::{self, State as How, facts, state, table};
use super::trouble::Trouble;
use super::words::{Ctx, number};
use super::{Desk, Shown};

/// Most rows that are shown; who is away comes first.
const ROWS: usize = 100;

pub(super) fn live(board: &Board, ctx: &Ctx, uri: &Uri) -> Markup {
    let wanted = layout::asked(uri, "name").to_lowercase();
    let is = |agent: &&AgentRow| {
        wanted.is_empty()
            || agent.name.to_lowercase().contains(&wanted)
            || agent.oin.as_str().contains(&wanted)
    };
    let mut all: Vec<&AgentRow> = board.agents.iter().filter(is).collect();
    all.sort_by_key(|agent| (agent.revoked.is_some(), agent.is_connected(), &agent.name));
    let rows: Vec<Vec<Markup>> = all.iter().take(ROWS).map(|agent| row(agent, board, ctx)).collect();
    let heads = [
        ctx.t("Partner", "Partner"),
        ctx.t("Verbonden", "Connected"),
        ctx.t("Programma", "Software"),
        ctx.t("Over", "Over"),
        ctx.t("Heen en weer", "Round trip"),
        ctx.t("Verlies", "Loss"),
        ctx.t("Certificaat", "Certificate"),
        ctx.t("Prekeys", "Prekeys"),
        ctx.t("Klok", "Clock"),
        ctx.t("Opnieuw aangeboden", "Offered again"),
        ctx.t("Als getuige", "As a witness"),
    ];
    html! {
        (facts(&own(board, ctx)))
        (table(ctx.t("Partners; wie weg is staat vooraan", "Partners; who is away comes first"), &heads, &rows))
        @if all.len() > ROWS {
            form method="get" action="/agents" class="inline" {
                div class="field" {
                    label for="name" { (number(all.len() as u64)) " " (ctx.t("partners; zoek op naam of OIN", "partners; search by name or OIN")) }
                    input id="name" name="name" type="text" maxlength="64" value=(wanted);
                }
                button type="submit" { (ctx.t("Zoek", "Search")) }
            }
        }
        (meaning(ctx))
    }
}

/// What ends of the broker's own.
fn own<'a>(board: &Board, ctx: &'a Ctx) -> Vec<(&'a str, Markup)> {
    let until = |at: Option<Timestamp>| at.map_or_else(|| html! { "–" }, |at| ctx.until(at));
    let mut all = vec![(
        ctx.t("Certificaat van de broker", "Certificate of the broker"),
        until(board.certificate_ends),
    )];
    if let Some(papers) = board.console {
        let ends = until(Some(papers.certificate_ends));
        all.push((ctx.t("Certificaat van de console", "Certificate of the console"), ends));
        let ends = until(papers.list.map(|list| list.ends));
        all.push((ctx.t("Intrekkingslijst van de console", "Revocation list of the console"), ends));
    }
    all
}

/// What the numbers rest on.
fn meaning(ctx: &Ctx) -> Markup {
    html! {
        h2 { (ctx.t("Wat de getallen zeggen", "What the numbers say")) }
        ul {
            li { (ctx.t(
                "Certificaat: het laatste waarmee de agent sinds de start van de broker verbonden was, ook als hij nu weg is.",
                "Certificate: the last one with which the agent was connected since the broker started, also when it is away now.",
            )) }
            li { (ctx.t(
                "Prekeys: tot wanneer anderen deze partner iets kunnen sturen. De agent vernieuwt ze zelf, als hij verbonden is.",
                "Prekeys: until when others can send this partner anything. The agent renews them itself, when it is connected.",
            )) }
            li { (ctx.t(
                "Klok: hoeveel die van de agent voorloopt (+) of achterloopt (−) op die van de broker, en hoeveel dat er hoogstens naast zit. Het volgt uit wat de agent het laatste uur met een tijd ondertekende: bevestigingen van pakketten (tot op milliseconden) en, als getuige, het log (tot op een seconde). Verder is er geen meting: zonder verkeer staat er een streepje.",
                "Clock: by how much the agent's is ahead of the broker's (+) or behind it (−), and by how much that can be wrong at most. It follows from what the agent signed with a time in the last hour: acknowledgements of packets (to milliseconds) and, as a witness, the log (to a second). There is no other measurement: without traffic there is a dash.",
            )) }
            li { (ctx.t(
                "Opnieuw aangeboden: hoe vaak sinds de start van de broker een pakket nog eens ging, omdat de agent het niet bevestigde voordat zijn verbinding eindigde.",
                "Offered again: how often a packet went once more since the broker started, because the agent had not acknowledged it before its connection ended.",
            )) }
            li { (ctx.t(
                "Als getuige: hoeveel regels het log voorligt op wat de agent het laatst meetekende, en hoe lang de eerste daarvan er al staat. Dat loopt op zolang hij weg is.",
                "As a witness: how many entries the log is ahead of what the agent cosigned last, and for how long the first of those has been there. It grows while the agent is away.",
            )) }
        }
    }
}

/// How far a partner is behind as a witness of the log.
fn witnessing(agent: &AgentRow, board: &Board, ctx: &Ctx) -> Markup {
    let Some(witness) = board.witness(&agent.oin) else { return html! { "–" } };
    html! {
        @match (board.lag(witness), witness.behind_since) {
            (None, _) => (ctx.t("nog niet gehoord", "not heard yet")),
            (Some(0), _) => (ctx.t("bij", "up to date")),
            (Some(lag), since) => {
                (number(lag)) " " (ctx.t("regels", "entries"))
                @if let Some(since) = since { ", " (ctx.ago(since)) }
            }
        }
    }
}

/// What is known of the clock of a partner.
fn clock(agent: &AgentRow) -> String {
    // A number is not apart from what it counts at the end of a line.
    agent.clock.map_or_else(|| "–".to_owned(), |clock| clock.to_string().replace(" ms", "\u{a0}ms"))
}

fn row(agent: &AgentRow, board: &Board, ctx: &Ctx) -> Vec<Markup> {
    let newest = agent.links.iter().max_by_key(|link| link.since);
    let none = || html! { "–" };
    vec![
        ctx.partner(agent.oin),
        connected(agent, ctx),
        agent.software.as_ref().map_or_else(none, |software| html! { (software) }),
        newest.map_or_else(none, |link| html! { (link.transport) }),
        newest
            .and_then(|link| link.rtt_us)
            .map_or_else(none, |rtt| html! { (rtt / 1000) "." (rtt % 1000 / 100) " ms" }),
        newest.map_or_else(none, loss),
        agent.certificate_ends.map_or_else(none, |at| ctx.until(at)),
        agent.prekeys_end.map_or_else(none, |at| ctx.until(at)),
        html! { (clock(agent)) },
        html! { (number(agent.redelivered)) },
        witnessing(agent, board, ctx),
    ]
}

fn loss(link: &LinkRow) -> Markup {
    html! {
        @match link.sent_lost {
            Some((sent, lost)) if sent > 0 => { (lost * 100 / sent) " %" }
            _ => "–",
        }
    }
}

fn connected(agent: &AgentRow, ctx: &Ctx) -> Markup {
    if let Some(at) = agent.suspended {
        let words = ctx.t("toegang opgeschort", "access suspended");
        return html! { (state(How::Attention, words)) ", " (ctx.ago(at)) };
    }
    match (agent.revoked, &agent.software, agent.last_seen) {
        (Some(at), ..) => {
            html! { (state(How::Bad, ctx.t("toegang ingetrokken", "access revoked"))) ", " (ctx.ago(at)) }
        }
        (None, Some(_), _) => {
            let since = agent.links.iter().map(|link| link.since).max();
            html! { (state(How::Good, ctx.t("ja", "yes"))) @if let Some(at) = since { ", " (ctx.t("sinds", "since")) " " (ctx.ago(at)) } }
        }
        (None, None, Some(at)) => {
            html! { (state(How::Attention, ctx.t("nee", "no"))) ", " (ctx.t("gezien", "seen")) " " (ctx.ago(at)) }
        }
        (None, None, None) => {
            html! { (state(How::Attention, ctx.t("nee, niet sinds de start van de broker", "no, not since the broker started"))) }
        }
    }
}

/// One partner.
pub(super) async fn one(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(oin): Path<String>,
) -> Shown {
    let (board, oin) = (desk.service.board().await?, oin.parse::<Oin>().map_err(|_| Trouble::nothing())?);
    let ctx = Ctx::new(&board, &visit);
    let agent = board.agents.iter().find(|agent| agent.oin == oin).ok_or_else(Trouble::nothing)?;
    let lanes = board.lanes.iter().filter(|lane| lane.from == oin || lane.to == oin);
    let lanes: Vec<Vec<Markup>> = lanes.map(|lane| super::flows::line(lane, &ctx)).collect();
    let queue = board.queues.iter().find(|queue| queue.oin == oin);
    let none = || html! { "–" };
    let main = html! {
        h1 { (agent.name) }
        (facts(&[
            ("OIN", html! { code { (agent.oin) } }),
            (ctx.t("Toegelaten", "Added"), ctx.ago(agent.added)),
            (ctx.t("Verbonden", "Connected"), connected(agent, &ctx)),
            (ctx.t("Programma", "Software"), html! { (agent.software.as_deref().unwrap_or("–")) }),
            (ctx.t("Certificaat", "Certificate"), agent.certificate_ends.map_or_else(none, |at| ctx.until(at))),
            (ctx.t("Prekeys", "Prekeys"), agent.prekeys_end.map_or_else(none, |at| ctx.until(at))),
            (ctx.t("Klok", "Clock"), html! { (clock(agent)) }),
            (ctx.t("Opnieuw aangeboden", "Offered again"), html! { (number(agent.redelivered)) }),
            (ctx.t("Als getuige", "As a witness"), witnessing(agent, &board, &ctx)),
            (ctx.t("Wacht voor deze partner", "Waits for this partner"), html! { (number(queue.map_or(0, |queue| queue.packets))) }),
        ]))
        @if !lanes.is_empty() { (table(ctx.t("Stromen van en naar deze partner", "Flows from and to this partner"), &super::flows::heads(&ctx), &lanes)) }
        p { a href={ "/log/find?from=" (oin) } { (ctx.t("Regels van deze afzender", "Entries of this sender")) } " · "
            a href={ "/log/find?to=" (oin) } { (ctx.t("Regels voor deze ontvanger", "Entries for this recipient")) } }
        @if agent.revoked.is_none() && visit.role.may(Right::Partners) { (forms(agent, &board, &visit, &ctx)) }
    };
    Ok(layout::shown(&desk, &visit, &agent.name, &main))
}

/// The forms of what can be done about a partner.
fn forms(agent: &AgentRow, board: &Board, visit: &Visit, ctx: &Ctx) -> Markup {
    let nothing = html! {};
    let (suspend, resume, requeue, revoke) = (
        ctx.t("Toegang opschorten", "Suspend access"),
        ctx.t("Toegang hervatten", "Resume access"),
        ctx.t("Opnieuw aanbieden", "Offer again"),
        ctx.t("Toegang intrekken", "Revoke access"),
    );
    html! {
        @if agent.suspended.is_some() {
            h2 { (resume) }
            p { (ctx.t(
                "De agent komt daarna vanzelf terug, en krijgt alles wat wacht.",
                "After that the agent comes back by itself, and gets all that waits.",
            )) }
            (acts::form(Asking { id: "resume-reason", does: "resume", button: resume, danger: false }, &nothing, visit, ctx))
        } @else {
            h2 { (suspend) }
            p { (ctx.t(
                "De verbindingen sluiten meteen en de agent wordt uitgesteld tot u de toegang hervat. Wat voor deze partner komt wordt aangenomen en wacht; het vervalt als altijd. Als getuige tekent hij zo lang niet mee.",
                "Its connections close at once and its agent is put off until you resume its access. What comes for this partner is accepted and waits; it expires as ever. As a witness it does not cosign meanwhile.",
            )) }
            (quorums(agent, board, ctx))
            (acts::form(Asking { id: "suspend-reason", does: "suspend", button: suspend, danger: false }, &nothing, visit, ctx))
        }
        @if agent.software.is_some() {
            h2 { (requeue) }
            p { (ctx.t(
                "De verbindingen sluiten; de agent komt vanzelf terug en krijgt alles wat wacht opnieuw aangeboden, het oudste eerst. Voor een agent die verbonden is en niets opslaat. Wat hij al opsloeg herkent hij.",
                "Its connections close; its agent comes back by itself and is offered all that waits again, the oldest first. For an agent that is connected and stores nothing. What it stored already it recognises.",
            )) }
            (acts::form(Asking { id: "requeue-reason", does: "requeue", button: requeue, danger: false }, &nothing, visit, ctx))
        }
        h2 { (revoke) }
        p { (ctx.t(
            "De verbindingen sluiten meteen, er wordt niets meer aangenomen van of voor deze partner, en wat wacht volgt het convenant. Toelaten kan weer met seinhuis-broker partner add.",
            "Its connections close at once, nothing is accepted from or for this partner any more, and what waits follows the covenant. It is let in again with seinhuis-broker partner add.",
        )) }
        (acts::form(Asking { id: "reason", does: "revoke", button: revoke, danger: true }, &nothing, visit, ctx))
    }
}

/// What the quorums of witnesses lose with a partner.
fn quorums(agent: &AgentRow, board: &Board, ctx: &Ctx) -> Markup {
    let all = board.without(agent.oin);
    html! {
        @if !all.is_empty() {
            ul {
                @for one in &all {
                    li {
                        @let left = format!(
                            "{} v{}: {} {}; {} {}.", one.quorum.id, one.quorum.version,
                            ctx.t("getuigen die overblijven:", "witnesses that remain:"), one.left,
                            ctx.t("nodig:", "needed:"), one.quorum.wanted,
                        );
                        @if one.is_enough() { (left) } @else {
                            (state(How::Bad, &left)) " "
                            (ctx.t(
                                "Het quorum is dan niet te halen: niemand tekent het log zo mee als dit convenant vraagt, en met witnesses.stop_after worden pakketten na een tijd uitgesteld.",
                                "The quorum cannot be reached then: nobody cosigns the log as this covenant asks, and with witnesses.stop_after packets are put off after a while.",
                            ))
                        }
                    }
                }
            }
        }
    }
}

/// Suspends a partner, resumes it, takes its access away, or has what waits for it offered again.
pub(super) async fn act(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Extension(form): Extension<Form>,
    Path(oin): Path<String>,
    uri: Uri,
) -> Shown {
    let (board, oin) = (desk.service.board().await?, oin.parse::<Oin>().map_err(|_| Trouble::nothing())?);
    if !board.agents.iter().any(|agent| agent.oin == oin) {
        return Err(Trouble::nothing());
    }
    let what = Suspendable::Partner(oin);
    let deed = match form.text("do") {
        "suspend" => Deed::Suspend(what),
        "resume" => Deed::Resume(what),
        "revoke" => Deed::Revoke(oin),
        "requeue" => Deed::Requeue(oin),
        _ => return Err(Trouble::nothing()),
    };
    let reason = acts::reason(&form)?;
    let page = acts::carry_out(&desk, &visit, &form, (deed, reason), uri.path()).await?;
    Ok(layout::see_other(page))
}
