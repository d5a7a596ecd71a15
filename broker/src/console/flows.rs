//! Stromen: who sends to whom, whether that is allowed, and what of it arrives.

use std::collections::{BTreeMap, BTreeSet};

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_broker_core::Suspendable;
use seinhuis_monitor::{Board, LaneRow};
use seinhuis_shared::covenant::agreement::Agreement;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::web::form::Form;

use super::accounts::Right;
use super::acts::{self, Asking, Deed};
use super::guard::Visit;
use super::layout::{self, State as How, state, table};
use super::trouble::Trouble;
use super::words::{Ctx, number};
use super::{Desk, Shown, covenants};

/// Most organisations that stand in a matrix; with more of them it is a list.
const MATRIX: usize = 24;
/// Most rows of the list.
const ROWS: usize = 300;

/// What is asked for.
struct Asked {
    kind: String,
    step: String,
}

impl Asked {
    fn wants(&self, lane: &LaneRow) -> bool {
        let is = |asked: &str, own: &str| asked.is_empty() || asked == own;
        is(&self.kind, &lane.message_type) && is(&self.step, &lane.step)
    }
}

/// Between which organisations some flow of a covenant in force is open.
fn allowed(agreements: &[Agreement], now: Timestamp) -> BTreeSet<(Oin, Oin)> {
    let mut all = BTreeSet::new();
    for agreement in agreements.iter().filter(|one| one.in_force(now)) {
        let covenant = agreement.compiled().covenant();
        let of = |roles: &[_]| -> Vec<Oin> {
            covenant
                .parties
                .iter()
                .filter(|party| roles.contains(&party.role))
                .map(|party| party.oin)
                .collect()
        };
        if covenant.parties.len() > MATRIX {
            continue;
        }
        for route in covenant.flows.iter().flat_map(|flow| &flow.routes) {
            let to = of(&route.to);
            all.extend(of(&route.from).into_iter().flat_map(|from| to.iter().map(move |to| (from, *to))));
        }
    }
    all
}

pub(super) async fn show(State(desk): State<Desk>, Extension(visit): Extension<Visit>, uri: Uri) -> Shown {
    let board = desk.service.board().await?;
    let ctx = Ctx::new(&board, &visit);
    let agreements = covenants::all(&desk).await?;
    let allowed = allowed(&agreements, board.now);
    let asked = Asked { kind: layout::asked(&uri, "type"), step: layout::asked(&uri, "step") };
    let lanes: Vec<&LaneRow> = board.lanes.iter().filter(|lane| asked.wants(lane)).collect();
    let title = layout::title_of("/flows", visit.lang);
    let main = html! {
        h1 { (title) }
        (filter(&board, &asked, &ctx))
        (matrix(&lanes, &allowed, &board, &ctx))
        (picture(&lanes, &ctx))
        (list(&lanes, &ctx))
        (suspensions(&board, &agreements, &visit, &ctx))
        (intake(&board, &visit, &ctx))
    };
    Ok(layout::shown(&desk, &visit, title, &main))
}

fn filter(board: &Board, asked: &Asked, ctx: &Ctx) -> Markup {
    let of = |own: fn(&LaneRow) -> &str| -> BTreeSet<&str> {
        board.lanes.iter().map(own).filter(|text| !text.is_empty()).collect()
    };
    let choose = |id: &str, name: &str, chosen: &str, all: BTreeSet<&str>| {
        html! {
            div class="field" {
                label for=(id) { (name) }
                select id=(id) name=(id) {
                    option value="" { (ctx.t("alle", "all")) }
                    @for one in all { option value=(one) selected[one == chosen] { (one) } }
                }
            }
        }
    };
    html! {
        form method="get" action="/flows" class="inline" {
            (choose("type", ctx.t("Berichttype", "Message type"), &asked.kind, of(|lane| &lane.message_type)))
            (choose("step", ctx.t("Stap", "Step"), &asked.step, of(|lane| &lane.step)))
            button type="submit" { (ctx.t("Toon", "Show")) }
        }
    }
}

/// Everything between two organisations.
#[derive(Debug, Default)]
struct Cell {
    hour: u64,
    accepted: u64,
    last: Option<Timestamp>,
}

fn matrix(lanes: &[&LaneRow], allowed: &BTreeSet<(Oin, Oin)>, board: &Board, ctx: &Ctx) -> Markup {
    let mut cells: BTreeMap<(Oin, Oin), Cell> = BTreeMap::new();
    for lane in lanes {
        let cell = cells.entry((lane.from, lane.to)).or_default();
        cell.hour = cell.hour.saturating_add(lane.hour.into());
        cell.accepted = cell.accepted.saturating_add(lane.accepted);
        cell.last = cell.last.max(lane.last_accepted.map(|place| place.at));
    }
    let everybody: BTreeSet<Oin> = cells.keys().chain(allowed).flat_map(|(from, to)| [*from, *to]).collect();
    if everybody.is_empty() || everybody.len() > MATRIX {
        return html! {};
    }
    let caption = ctx.t("Wie stuurt (rij) aan wie (kolom)", "Who sends (row) to whom (column)");
    html! {
        div class="scroll" role="region" aria-label=(caption) tabindex="0" {
            table class="matrix" {
                caption { (caption) }
                thead { tr { th scope="col" { (ctx.t("Afzender", "Sender")) } @for to in &everybody { th scope="col" { (ctx.name(*to)) } } } }
                tbody {
                    @for from in &everybody {
                        tr {
                            th scope="row" { (ctx.partner(*from)) }
                            @for to in &everybody { td { (cell(cells.get(&(*from, *to)), allowed.contains(&(*from, *to)), from == to, ctx)) } }
                        }
                    }
                }
            }
        }
        p class="quiet" { (ctx.t(
            "Per vak: aangenomen in het laatste uur, en sinds het tellen begon",
            "In each cell: accepted in the last hour, and since counting began",
        )) @if let Some(since) = board.since { " (" (ctx.ago(since)) ")" } "." }
    }
}

fn cell(cell: Option<&Cell>, allowed: bool, own: bool, ctx: &Ctx) -> Markup {
    match cell {
        Some(cell) => html! {
            span class="hour" { (number(cell.hour)) } " / " (number(cell.accepted))
            @if let Some(at) = cell.last { br; span class="quiet" { (ctx.ago(at)) } }
        },
        None if own => html! { span class="quiet" aria-label=(ctx.t("zichzelf", "itself")) { "·" } },
        None if allowed => {
            html! { span class="quiet" { (ctx.t("mag, niets gezien", "allowed, nothing seen")) } }
        }
        None => html! { span class="quiet" { (ctx.t("mag niet", "not allowed")) } },
    }
}

/// Bands from senders to recipients, as thick as what went over them. What it shows stands in the list below.
fn picture(lanes: &[&LaneRow], ctx: &Ctx) -> Markup {
    let mut bands: BTreeMap<(Oin, Oin), u64> = BTreeMap::new();
    for lane in lanes {
        let band = bands.entry((lane.from, lane.to)).or_default();
        *band = band.saturating_add(lane.accepted);
    }
    bands.retain(|_, count| *count > 0);
    let total: u64 = bands.values().fold(0, |sum, count| sum.saturating_add(*count));
    let (senders, recipients): (BTreeSet<Oin>, BTreeSet<Oin>) = bands.keys().copied().unzip();
    if total == 0 || senders.len().max(recipients.len()) > MATRIX {
        return html! {};
    }
    let rows = senders.len().max(recipients.len()) as u64;
    // Bands share 320 units of height; a gap keeps organisations apart.
    let (gap, share) = (34, 320);
    let thick = |count: u64| (count.saturating_mul(share) / total).max(2);
    let place = |all: &BTreeSet<Oin>, side: fn(&(Oin, Oin)) -> Oin| {
        let mut at = 20_u64;
        let mut places = BTreeMap::new();
        for oin in all {
            places.insert(*oin, at);
            let own = bands.iter().filter(|(pair, _)| side(pair) == *oin).map(|(_, count)| thick(*count));
            at = at.saturating_add(own.sum::<u64>()).saturating_add(gap);
        }
        places
    };
    let (mut left, mut right) = (place(&senders, |pair| pair.0), place(&recipients, |pair| pair.1));
    let labels: Vec<(u64, u64, &str, Oin)> = left
        .iter()
        .map(|(oin, at)| (0, *at, "start", *oin))
        .chain(right.iter().map(|(oin, at)| (800, *at, "end", *oin)))
        .collect();
    let mut shapes = Vec::new();
    for ((from, to), count) in &bands {
        let (width, one, two) = (thick(*count), left.get_mut(from), right.get_mut(to));
        if let (Some(one), Some(two)) = (one, two) {
            let (a, b) = (*one + width / 2, *two + width / 2);
            shapes.push((format!("M0,{a} C400,{a} 400,{b} 800,{b}"), width));
            (*one, *two) = (*one + width, *two + width);
        }
    }
    let height = 60 + share + bands.len() as u64 * 2 + gap * rows;
    html! {
        h2 { (ctx.t("Van wie naar wie", "From whom to whom")) }
        div class="picture" {
            svg viewBox={ "0 0 800 " (height) } role="img" aria-label=(ctx.t(
                "Stromen van afzenders links naar ontvangers rechts; de getallen staan in de tabel hieronder",
                "Flows from senders on the left to recipients on the right; the numbers are in the table below")) {
                @for (path, width) in &shapes { path d=(path) stroke-width=(width) {} }
                @for (x, y, anchor, oin) in &labels { text x=(x) y=(y.saturating_sub(5)) text-anchor=(anchor) { (ctx.name(*oin)) } }
            }
        }
    }
}

/// What [`line`] has.
pub(super) fn heads(ctx: &Ctx) -> [&'static str; 9] {
    [
        ctx.t("Stroom", "Flow"),
        ctx.t("Van", "From"),
        ctx.t("Naar", "To"),
        ctx.t("Laatste uur", "Last hour"),
        ctx.t("Aangenomen", "Accepted"),
        ctx.t("Bezorgd", "Delivered"),
        ctx.t("Niet leesbaar", "Not readable"),
        ctx.t("Beëindigd", "Ended"),
        ctx.t("Laatste", "Last"),
    ]
}

/// One lane.
pub(super) fn line(lane: &LaneRow, ctx: &Ctx) -> Vec<Markup> {
    let bad = if lane.quarantined > 0 {
        state(How::Attention, &number(lane.quarantined))
    } else {
        html! { "0" }
    };
    vec![
        html! { (lane.flow) " " span class="quiet" { (lane.message_type) } },
        ctx.partner(lane.from),
        ctx.partner(lane.to),
        html! { (number(lane.hour.into())) },
        html! { (number(lane.accepted)) },
        html! { (number(lane.stored)) },
        bad,
        html! { (number(lane.ended)) },
        ctx.place(lane.last_accepted),
    ]
}

fn list(lanes: &[&LaneRow], ctx: &Ctx) -> Markup {
    let mut all = lanes.to_vec();
    all.sort_by_key(|lane| std::cmp::Reverse((lane.hour, lane.accepted)));
    let rows: Vec<Vec<Markup>> = all.iter().take(ROWS).map(|lane| line(lane, ctx)).collect();
    html! {
        @if rows.is_empty() { p { (ctx.t("Er is nog niets aangenomen.", "Nothing was accepted yet.")) } }
        @else { (table(ctx.t("Stromen, de drukste eerst", "Flows, the busiest first"), &heads(ctx), &rows)) }
    }
}

/// The flows of the covenants by id, with what each is for; of one that is in several versions, as the last says it.
fn named<'a>(agreements: &'a [Agreement], ctx: &Ctx) -> BTreeMap<&'a str, &'a str> {
    let flows = agreements.iter().flat_map(|one| &one.compiled().covenant().flows);
    flows.map(|flow| (flow.id.as_str(), ctx.lang.pick(&flow.nl, &flow.en))).collect()
}

/// Whether anything new is taken in, and the form for who may change that.
fn intake(board: &Board, visit: &Visit, ctx: &Ctx) -> Markup {
    let (may, none) = (visit.role.may(Right::Flows), html! {});
    let (stop, go) =
        (ctx.t("Aanname stilleggen", "Suspend intake"), ctx.t("Aanname hervatten", "Resume intake"));
    let asking = |id, does, button| Asking { id, does, button, danger: false };
    html! {
        @if let Some(at) = board.suspended_intake {
            h2 { (ctx.t("De aanname ligt stil", "Intake is suspended")) }
            p { (state(How::Attention, ctx.t("er wordt niets nieuws aangenomen", "nothing new is accepted"))) ", " (ctx.ago(at)) ". "
                (number(board.waiting)) " " (ctx.t("pakketten wachten nog.", "packets still wait.")) }
            @if may { (acts::form(asking("resume-intake", "resume-intake", go), &none, visit, ctx)) }
        } @else if may {
            h2 { (stop) }
            p { (ctx.t(
                "Voor onderhoud: op geen enkele stroom wordt nog iets aangenomen, en de wachtrijen lopen leeg. Wat wordt aangeboden wordt uitgesteld en komt na het hervatten vanzelf opnieuw.",
                "For maintenance: nothing more is accepted on any flow, and the queues run empty. What is submitted is put off, and comes again by itself once intake is resumed.",
            )) }
            (acts::form(asking("suspend-intake", "suspend-intake", stop), &none, visit, ctx))
        }
    }
}

/// What is suspended, and the forms for who may change that.
fn suspensions(board: &Board, agreements: &[Agreement], visit: &Visit, ctx: &Ctx) -> Markup {
    let (may, named) = (visit.role.may(Right::Flows), named(agreements, ctx));
    let is_suspended = |flow: &str| board.suspended_flows.iter().any(|(own, _)| own == flow);
    let open: Vec<(&str, &str)> =
        named.iter().map(|(flow, what)| (*flow, *what)).filter(|(flow, _)| !is_suspended(flow)).collect();
    let (resume, suspend) =
        (ctx.t("Stroom hervatten", "Resume flow"), ctx.t("Stroom opschorten", "Suspend flow"));
    html! {
        h2 { (ctx.t("Opgeschorte stromen", "Suspended flows")) }
        @if board.suspended_flows.is_empty() { p { (ctx.t("Geen stroom is opgeschort.", "No flow is suspended.")) } }
        @for (flow, at) in &board.suspended_flows {
            h3 { (flow) " " span class="quiet" { (named.get(flow.as_str()).copied().unwrap_or_default()) } }
            p { (state(How::Attention, ctx.t("opgeschort", "suspended"))) ", " (ctx.ago(*at)) }
            @if may {
                (acts::form(
                    Asking { id: &format!("resume-{flow}"), does: "resume", button: resume, danger: false },
                    &html! { input type="hidden" name="flow" value=(flow); }, visit, ctx,
                ))
            }
        }
        @if may && !open.is_empty() {
            h2 { (suspend) }
            p { (ctx.t(
                "Wat op deze stroom wordt aangeboden wordt uitgesteld, onder elk convenant, en komt vanzelf opnieuw. Wat al is aangenomen wordt bezorgd.",
                "What is submitted on this flow is put off, under every covenant, and comes again by itself. What was accepted already is delivered.",
            )) }
            (acts::form(Asking { id: "suspend-reason", does: "suspend", button: suspend, danger: false }, &html! {
                div class="field" {
                    label for="flow" { (ctx.t("Stroom", "Flow")) }
                    select id="flow" name="flow" required {
                        option value="" { (ctx.t("kies een stroom", "choose a flow")) }
                        @for (flow, what) in &open { option value=(flow) { (flow) " " (what) } }
                    }
                }
            }, visit, ctx))
        }
    }
}

/// The flow that a form names, if a covenant has it.
async fn flow(desk: &Desk, form: &Form) -> Result<Suspendable, Trouble> {
    let (flow, agreements) = (form.text("flow"), covenants::all(desk).await?);
    let known = agreements.iter().any(|one| one.compiled().flow(flow).is_some());
    if known { Ok(Suspendable::Flow(flow.to_owned())) } else { Err(Trouble::nothing()) }
}

/// Suspends a flow or intake, or resumes it.
pub(super) async fn act(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Extension(form): Extension<Form>,
) -> Shown {
    let deed = match form.text("do") {
        "suspend" => Deed::Suspend(flow(&desk, &form).await?),
        "resume" => Deed::Resume(flow(&desk, &form).await?),
        "suspend-intake" => Deed::Suspend(Suspendable::Intake),
        "resume-intake" => Deed::Resume(Suspendable::Intake),
        _ => return Err(Trouble::nothing()),
    };
    let reason = acts::reason(&form)?;
    let page = acts::carry_out(&desk, &visit, &form, (deed, reason), "/flows").await?;
    Ok(layout::see_other(page))
}
