//! Nu: one sentence of how it is, and the numbers behind it.

use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_monitor::Board;
use seinhuis_shared::time::{Span, Timestamp};

use super::layout::{State, sparkline, state, tile};
use super::words::{Ctx, bytes, number, span};

/// How old the oldest waiting packet may be before it asks attention, and before it is bad.
const OLDEST: (Span, Span) = (Span::minutes(15), Span::hours(4));
/// How old a quorum may be.
const QUORUM: (Span, Span) = (Span::minutes(15), Span::hours(1));
/// How soon a certificate ends.
const CERTIFICATE: (Span, Span) = (Span::days(30), Span::days(7));

/// Something that asks attention: how much, what it is, and where to look.
pub(super) struct Finding {
    pub(super) how: State,
    pub(super) what: String,
    pub(super) href: String,
}

fn over(age: Span, limits: (Span, Span)) -> State {
    if age > limits.1 {
        State::Bad
    } else if age > limits.0 {
        State::Attention
    } else {
        State::Good
    }
}

fn before(at: Timestamp, now: Timestamp, limits: (Span, Span)) -> State {
    if at <= now.plus(limits.1) {
        State::Bad
    } else if at <= now.plus(limits.0) {
        State::Attention
    } else {
        State::Good
    }
}

/// How old the oldest quorum is, if any covenant asks one.
fn quorum(board: &Board) -> Option<Span> {
    board.quorums.iter().map(|one| Span(one.age_ms)).max()
}

/// Partners that may take part, and how many of them are connected.
fn up(board: &Board) -> (usize, usize) {
    let all = board.agents.iter().filter(|agent| agent.revoked.is_none());
    let up = all.clone().filter(|agent| agent.software.is_some()).count();
    (up, all.count())
}

/// Everything that asks attention, the worst first.
pub(super) fn findings(board: &Board, ctx: &Ctx) -> Vec<Finding> {
    let mut all = broken(board, ctx);
    all.extend(waiting(board, ctx));
    all.extend(ending(board, ctx));
    all.extend(suspended(board, ctx));
    all.retain(|one| one.how != State::Good);
    all.sort_by_key(|one| std::cmp::Reverse(one.how));
    all
}

/// What is wrong with the broker itself.
fn broken(board: &Board, ctx: &Ctx) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut add = |how, what: String, href: &str| all.push(Finding { how, what, href: href.to_owned() });
    if !board.waiting_for.is_empty() {
        let names = board.waiting_for.join(", ");
        let words = ctx.t(
            "Er wordt nog niets aangenomen: er wordt gewacht op getuigen",
            "Nothing is taken in yet: witnesses are waited for",
        );
        add(State::Bad, format!("{words}: {names}."), "/log");
    }
    if board.storage.scarce {
        let words = ctx.t(
            "De schijf is bijna vol; er wordt niets nieuws aangenomen. Maak ruimte.",
            "The disk is nearly full; nothing new is taken in. Make room.",
        );
        add(State::Bad, words.to_owned(), "/storage");
    }
    if let Some((nl, en)) = board.log.failures.first() {
        add(State::Bad, ctx.lang.pick(nl, en).to_owned(), "/log");
    }
    if board.log.year_refused {
        let words = ctx.t(
            "De klok is meer dan een jaar verder dan het logboek. Zet de klok gelijk.",
            "The clock is more than a year past the log. Set the clock.",
        );
        add(State::Bad, words.to_owned(), "/log");
    }
    for witness in board.witnesses.iter().filter_map(|one| Some((&one.name, one.suspect.as_ref()?))) {
        let words = ctx.t(
            "kan een tweede geschiedenis van het logboek hebben gezien",
            "may have seen a second history of the log",
        );
        add(State::Bad, format!("{} {words}: {}", witness.0, witness.1), "/log");
    }
    if let Some(age) = quorum(board) {
        let words = ctx.t("Getuigen tekenden het logboek het laatst mee", "Witnesses last cosigned the log");
        add(
            over(age, QUORUM),
            format!("{words}: {} {}.", span(age, ctx.lang), ctx.t("geleden", "ago")),
            "/log",
        );
    }
    all
}

/// Recipients for whom too much waits.
fn waiting(board: &Board, ctx: &Ctx) -> Vec<Finding> {
    let finding = |queue: &seinhuis_monitor::QueueRow| {
        let age = board.now.since(queue.oldest?.at);
        let agent = board.agents.iter().find(|one| one.oin == queue.oin);
        let why = if agent.is_some_and(|one| one.suspended.is_some()) {
            ctx.t("de toegang is opgeschort", "its access is suspended")
        } else if agent.is_some_and(|one| one.software.is_none()) {
            ctx.t("de agent is niet verbonden", "its agent is not connected")
        } else {
            ctx.t("de agent is verbonden en neemt niet af", "its agent is connected and takes nothing")
        };
        Some(Finding {
            how: over(age, OLDEST),
            what: format!(
                "{}: {} {} {}; {why}.",
                ctx.name(queue.oin),
                number(queue.packets),
                ctx.t("wachtend, de oudste", "waiting, the oldest for"),
                span(age, ctx.lang)
            ),
            href: "/queues".into(),
        })
    };
    board.queues.iter().filter_map(finding).collect()
}

/// What the operator suspended: somebody has to think of resuming it.
fn suspended(board: &Board, ctx: &Ctx) -> Vec<Finding> {
    let finding = |what: String, at: Timestamp, href: String| Finding {
        how: State::Attention,
        what: format!(
            "{what}: {}, {} {}.",
            ctx.t("opgeschort", "suspended"),
            span(board.now.since(at), ctx.lang),
            ctx.t("geleden", "ago")
        ),
        href,
    };
    let partners = board
        .agents
        .iter()
        .filter_map(|one| Some(finding(one.name.clone(), one.suspended?, format!("/agents/{}", one.oin))));
    let flows = board
        .suspended_flows
        .iter()
        .map(|(flow, at)| finding(format!("{} {flow}", ctx.t("Stroom", "Flow")), *at, "/flows".into()));
    partners.chain(flows).collect()
}

/// Certificates that end soon.
fn ending(board: &Board, ctx: &Ctx) -> Vec<Finding> {
    let ends = ctx.t("Het certificaat eindigt binnenkort", "The certificate ends soon");
    let own = board.certificate_ends.map(|at| Finding {
        how: before(at, board.now, CERTIFICATE),
        what: format!("{ends}: {}.", ctx.t("van deze broker", "of this broker")),
        href: "/agents".into(),
    });
    let partners = board.agents.iter().filter_map(|agent| {
        let at = agent.links.iter().map(|link| link.certificate_ends).max()?;
        let what = format!("{ends}: {}.", agent.name);
        Some(Finding {
            how: before(at, board.now, CERTIFICATE),
            what,
            href: format!("/agents/{}", agent.oin),
        })
    });
    own.into_iter().chain(partners).collect()
}

/// The sentence on top.
fn sentence(board: &Board, ctx: &Ctx, findings: &[Finding]) -> (State, String) {
    let Some(worst) = findings.first() else {
        let words = if board.hour.accepted == 0 {
            ctx.t(
                "Alles staat klaar; er was dit uur geen verkeer.",
                "Everything is ready; there was no traffic this hour.",
            )
        } else {
            ctx.t("Alles stroomt.", "Everything flows.")
        };
        return (State::Good, words.to_owned());
    };
    let count = findings.len();
    let words = match worst.how {
        State::Bad => ctx.t("Er is iets mis", "Something is wrong"),
        State::Good | State::Attention => {
            ctx.t("Het stroomt, en er vraagt iets aandacht", "It flows, and something asks attention")
        }
    };
    (
        worst.how,
        if count == 1 {
            format!("{words}.")
        } else {
            format!("{words}: {count} {}.", ctx.t("punten", "points"))
        },
    )
}

pub(super) fn live(board: &Board, ctx: &Ctx, _: &Uri) -> Markup {
    let findings = findings(board, ctx);
    let (how, words) = sentence(board, ctx, &findings);
    html! {
        p class={ "sentence " @match how { State::Good => "good", State::Attention => "attention", State::Bad => "bad" } } role="status" {
            (state(how, &words))
        }
        @if !findings.is_empty() {
            ul class="findings" {
                @for one in &findings { li { a href=(one.href) { (state(one.how, &one.what)) } } }
            }
        }
        ul class="tiles" { (traffic(board, ctx)) (standing(board, ctx)) }
        (minutes(board, ctx))
    }
}

/// What came and went.
fn traffic(board: &Board, ctx: &Ctx) -> Markup {
    let last = board.minutes.last().copied().unwrap_or_default();
    let line = |values: Vec<u32>| {
        let most = values.iter().copied().max().unwrap_or_default();
        sparkline(
            &values,
            &format!(
                "{} {most} {}",
                ctx.t("laatste uur, hoogstens", "last hour, at most"),
                ctx.t("per minuut", "a minute")
            ),
        )
    };
    let accepted = line(board.minutes.iter().map(|one| one.accepted).collect());
    let refused = line(board.minutes.iter().map(|one| one.refused).collect());
    let per_minute = ctx.t("in de laatste hele minuut", "in the last whole minute");
    let today = |count: u32| {
        format!("{per_minute}; {} {}", number(u64::from(count)), ctx.t("in 24 uur", "in 24 hours"))
    };
    let many =
        last.refused > 0 && last.refused.saturating_mul(20) > last.accepted.saturating_add(last.refused);
    html! {
        (tile("/flows", ctx.t("Aangenomen", "Accepted"), &number(last.accepted.into()), State::Good, &today(board.day.accepted), &accepted))
        (tile("/refusals", ctx.t("Geweigerd", "Refused"), &number(last.refused.into()),
            if many { State::Attention } else { State::Good }, &today(board.day.refused), &refused))
    }
}

/// How everything stands.
fn standing(board: &Board, ctx: &Ctx) -> Markup {
    let (now, none) = (board.now, html! {});
    let oldest = board.oldest.map(|at| now.since(at));
    let (up, all) = up(board);
    let quorum = quorum(board);
    let free = board.storage.free_bytes;
    let disk = if board.storage.scarce {
        State::Bad
    } else if free.is_some_and(|free| free < board.storage.keep_free_bytes.saturating_mul(4)) {
        State::Attention
    } else {
        State::Good
    };
    let age = |age: Option<Span>| age.map_or_else(|| "–".to_owned(), |age| span(age, ctx.lang));
    html! {
        (tile("/queues", ctx.t("Wachtend", "Waiting"), &number(board.waiting), State::Good,
            ctx.t("pakketten in alle wachtrijen", "packets in all queues"), &none))
        (tile("/queues", ctx.t("Oudste", "Oldest"), &age(oldest), oldest.map_or(State::Good, |age| over(age, OLDEST)),
            ctx.t("grens 15 minuten", "limit 15 minutes"), &none))
        (tile("/agents", ctx.t("Agenten", "Agents"), &format!("{up} / {all}"),
            if up < all { State::Attention } else { State::Good }, ctx.t("verbonden", "connected"), &none))
        (tile("/log", ctx.t("Quorum", "Quorum"), &age(quorum), quorum.map_or(State::Good, |age| over(age, QUORUM)),
            if quorum.is_some() { ctx.t("sinds getuigen meetekenden", "since witnesses cosigned") }
            else { ctx.t("geen convenant vraagt het", "no covenant asks it") }, &none))
        (tile("/storage", ctx.t("Schijf vrij", "Disk free"), &free.map_or_else(|| "?".to_owned(), bytes), disk,
            &format!("{} {}", ctx.t("vrij te houden:", "to be kept free:"), bytes(board.storage.keep_free_bytes)), &none))
    }
}

/// The numbers of the lines above, for who reads them as a table.
fn minutes(board: &Board, ctx: &Ctx) -> Markup {
    let first = board.minutes.len();
    html! {
        details {
            summary { (ctx.t("Het laatste uur per minuut, als tabel", "The last hour by minute, as a table")) }
            table {
                thead { tr {
                    @for head in [ctx.t("minuten geleden", "minutes ago"), ctx.t("aangenomen", "accepted"), ctx.t("geweigerd", "refused"),
                        ctx.t("bezorgd", "delivered"), ctx.t("beëindigd", "ended")] { th scope="col" { (head) } }
                } }
                tbody {
                    @for (at, one) in board.minutes.iter().enumerate().rev() {
                        tr {
                            th scope="row" { (first - at) }
                            @for value in [one.accepted, one.refused, one.delivered, one.ended] { td { (value) } }
                        }
                    }
                }
            }
        }
    }
}
