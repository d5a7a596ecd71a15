//! Nu: one sentence of how it is, and the numbers behind it.

use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_monitor::alarms::{Alarm, Code, Severity};
use seinhuis_monitor::{Board, Minute};
use seinhuis_shared::time::{Span, Timestamp};

use super::layout::{State, sparkline, state, tile};
use super::words::{Ctx, bytes, number, span};

/// Something that asks attention: how much, what it is, what to do, and where to look.
struct Finding {
    how: State,
    what: String,
    advice: String,
    href: String,
}

/// How bad an alarm is.
pub(super) const fn how(severity: Severity) -> State {
    match severity {
        Severity::Ticket => State::Attention,
        Severity::Page => State::Bad,
    }
}

/// How bad the worst of these alarms is.
fn worst(board: &Board, codes: &[Code]) -> State {
    let own = board.alarms.iter().filter(|alarm| codes.contains(&alarm.code));
    own.map(|alarm| how(alarm.severity)).max().unwrap_or(State::Good)
}

/// Where the numbers behind an alarm are.
pub(super) const fn behind(code: Code) -> &'static str {
    match code {
        Code::RecipientSilent | Code::OldestWaiting => "/queues",
        Code::RefusalBurst => "/refusals",
        Code::CertificateEnds => "/agents",
        Code::FlushSlow | Code::DiskScarce | Code::DiskFilling => "/storage",
        Code::QuorumOld
        | Code::WitnessesAwaited
        | Code::WitnessRefuses
        | Code::WitnessContradicts
        | Code::SelfCheckFailed
        | Code::YearRefused
        | Code::ClockBehind
        | Code::CountingBehind => "/log",
        Code::BrokerStopped | Code::ChannelFailed => "/acts",
    }
}

/// How old the oldest quorum is, if any covenant asks one.
fn quorum(board: &Board) -> Option<Span> {
    board.quorums.iter().map(|one| Span(one.age_ms)).max()
}

/// How long ago something was, in words.
fn ago(board: &Board, ctx: &Ctx, at: Timestamp) -> String {
    format!("{} {}", span(board.now.since(at), ctx.lang), ctx.t("geleden", "ago"))
}

/// Everything that asks attention, the worst first.
fn findings(board: &Board, ctx: &Ctx) -> Vec<Finding> {
    let alarm = |alarm: &Alarm| Finding {
        how: how(alarm.severity),
        what: alarm.what.in_lang(ctx.lang).to_owned(),
        advice: alarm.acknowledged.map_or_else(
            || alarm.advice.in_lang(ctx.lang).to_owned(),
            |at| {
                let taken = ctx.t("Iemand nam dit in behandeling", "Somebody took this up");
                format!("{taken}, {}.", ago(board, ctx, at))
            },
        ),
        href: behind(alarm.code).to_owned(),
    };
    let mut all: Vec<Finding> = board.alarms.iter().map(alarm).collect();
    all.extend(away(board, ctx));
    all.extend(suspended(board, ctx));
    all.sort_by_key(|one| std::cmp::Reverse(one.how));
    all
}

/// Recipients that are not connected while something waits for them, before that is an alarm.
fn away<'a>(board: &'a Board, ctx: &'a Ctx) -> impl Iterator<Item = Finding> + 'a {
    board.queues.iter().filter_map(|queue| {
        let agent = board.agents.iter().find(|agent| agent.oin == queue.oin)?;
        let told = board.alarms.iter().any(|alarm| alarm.subject == queue.oin.as_str());
        let away = !agent.is_connected() && agent.suspended.is_none() && agent.revoked.is_none();
        (away && !told).then(|| Finding {
            how: State::Attention,
            what: format!(
                "{} {}: {} {}.",
                agent.name,
                ctx.t("is niet verbonden", "is not connected"),
                number(queue.packets),
                ctx.t("pakketten wachten", "packets wait")
            ),
            advice: ctx
                .t(
                    "Wacht even: een agent komt vanzelf terug. Blijft hij weg, bel dan de partner.",
                    "Wait a moment: an agent comes back by itself. If it does not, call the partner.",
                )
                .to_owned(),
            href: "/queues".into(),
        })
    })
}

/// What the operator suspended: somebody has to think of resuming it.
fn suspended(board: &Board, ctx: &Ctx) -> Vec<Finding> {
    let finding = |what: String, at: Timestamp, href: String| Finding {
        how: State::Attention,
        what: format!("{what}: {}, {}.", ctx.t("opgeschort", "suspended"), ago(board, ctx, at)),
        advice: ctx.t("Hervat het als de reden voorbij is.", "Resume it when the reason is over.").to_owned(),
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
    let intake = board
        .suspended_intake
        .map(|at| finding(ctx.t("De aanname", "Intake").to_owned(), at, "/flows".into()));
    partners.chain(flows).chain(intake).collect()
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
                @for one in &findings {
                    li { a href=(one.href) { (state(one.how, &one.what)) } p { (one.advice) } }
                }
            }
        }
        ul class="tiles" { (traffic(board, ctx)) (standing(board, ctx)) }
        (minutes(board, ctx))
        (quarters(board, ctx))
    }
}

/// A line with how long it is above it, and what it shows in words.
fn line(values: &[u64], long: &str, before: &str, after: &str) -> Markup {
    let most = number(values.iter().copied().max().unwrap_or_default());
    html! {
        div class="line" {
            span class="long" aria-hidden="true" { (long) }
            (sparkline(values, &format!("{before} {most} {after}")))
        }
    }
}

/// What came and went.
fn traffic(board: &Board, ctx: &Ctx) -> Markup {
    let last = board.minutes.last().copied().unwrap_or_default();
    let lines = |of: fn(&Minute) -> u32| {
        let hour: Vec<u64> = board.minutes.iter().map(|one| of(one).into()).collect();
        let day: Vec<u64> = board.quarters.iter().map(|one| of(&one.all).into()).collect();
        html! {
            (line(&hour, ctx.t("1 uur", "1 hour"), ctx.t("laatste uur, hoogstens", "last hour, at most"), ctx.t("per minuut", "a minute")))
            (line(&day, ctx.t("24 uur", "24 hours"), ctx.t("laatste 24 uur, hoogstens", "last 24 hours, at most"), ctx.t("per kwartier", "a quarter of an hour")))
        }
    };
    let (accepted, refused) = (lines(|one| one.accepted), lines(|one| one.refused));
    let per_minute = ctx.t("in de laatste hele minuut", "in the last whole minute");
    let today = |count: u32| {
        format!("{per_minute}; {} {}", number(u64::from(count)), ctx.t("in 24 uur", "in 24 hours"))
    };
    html! {
        (tile("/flows", ctx.t("Aangenomen", "Accepted"), &number(last.accepted.into()), State::Good, &today(board.day.accepted), &accepted))
        (tile("/refusals", ctx.t("Geweigerd", "Refused"), &number(last.refused.into()),
            worst(board, &[Code::RefusalBurst]), &today(board.day.refused), &refused))
    }
}

/// How everything stands.
fn standing(board: &Board, ctx: &Ctx) -> Markup {
    let (now, none) = (board.now, html! {});
    let oldest = board.oldest.map(|at| now.since(at));
    let (up, all) = board.connected();
    let waited: Vec<u64> = board.quarters.iter().map(|one| one.waiting).collect();
    let waited = line(
        &waited,
        ctx.t("24 uur", "24 hours"),
        ctx.t("laatste 24 uur, hoogstens", "last 24 hours, at most"),
        ctx.t("aan het eind van een kwartier", "at the end of a quarter of an hour"),
    );
    let left = board.disk_left();
    let quorum = quorum(board);
    let free = board.storage.free_bytes;
    let waits = worst(board, &[Code::RecipientSilent, Code::OldestWaiting]);
    let witnessed = worst(
        board,
        &[Code::QuorumOld, Code::WitnessesAwaited, Code::WitnessRefuses, Code::WitnessContradicts],
    );
    let disk = worst(board, &[Code::DiskScarce, Code::DiskFilling, Code::FlushSlow]);
    let age = |age: Option<Span>| age.map_or_else(|| "–".to_owned(), |age| span(age, ctx.lang));
    html! {
        (tile("/queues", ctx.t("Wachtend", "Waiting"), &number(board.waiting), State::Good,
            ctx.t("pakketten in alle wachtrijen", "packets in all queues"), &waited))
        (tile("/queues", ctx.t("Oudste", "Oldest"), &age(oldest), waits,
            ctx.t("wacht het langst", "waits longest"), &none))
        (tile("/agents", ctx.t("Agenten", "Agents"), &format!("{up} / {all}"),
            if up < all { State::Attention } else { State::Good }, ctx.t("verbonden", "connected"), &none))
        (tile("/log", ctx.t("Quorum", "Quorum"), &age(quorum), witnessed,
            if quorum.is_some() { ctx.t("sinds getuigen meetekenden", "since witnesses cosigned") }
            else { ctx.t("geen convenant vraagt het", "no covenant asks it") }, &none))
        (tile("/storage", ctx.t("Schijf vrij", "Disk free"), &free.map_or_else(|| "?".to_owned(), bytes), disk,
            &format!("{} {}", ctx.t("vrij te houden:", "to be kept free:"), bytes(board.storage.keep_free_bytes)), &none))
        (tile("/storage", ctx.t("Dagen ruimte", "Days of room"), &left.days().unwrap_or_else(|| "–".to_owned()),
            worst(board, &[Code::DiskScarce, Code::DiskFilling]), left.said(ctx.lang), &none))
    }
}

/// What each number of a minute or a quarter is.
fn counted(ctx: &Ctx) -> [&'static str; 4] {
    [
        ctx.t("aangenomen", "accepted"),
        ctx.t("geweigerd", "refused"),
        ctx.t("bezorgd", "delivered"),
        ctx.t("beëindigd", "ended"),
    ]
}

/// Those numbers.
fn counts(all: &Minute) -> [u64; 4] {
    [all.accepted, all.refused, all.delivered, all.ended].map(u64::from)
}

/// The numbers of the lines of an hour, for who reads them as a table.
fn minutes(board: &Board, ctx: &Ctx) -> Markup {
    let first = board.minutes.len();
    let rows = board.minutes.iter().enumerate().rev();
    twin(
        ctx.t("Het laatste uur per minuut, als tabel", "The last hour by minute, as a table"),
        &[&[ctx.t("minuten geleden", "minutes ago")][..], &counted(ctx)].concat(),
        rows.map(|(at, one)| (html! { (first - at) }, counts(one).to_vec())),
        &html! {},
    )
}

/// The numbers of the lines of a day.
fn quarters(board: &Board, ctx: &Ctx) -> Markup {
    let rows = board.quarters.iter().rev().map(|one| {
        let begins = one.begins.to_string();
        let time = begins.split('T').nth(1).and_then(|time| time.get(..5)).unwrap_or_default();
        (html! { time datetime=(begins) { (time) } }, [&counts(&one.all)[..], &[one.waiting]].concat())
    });
    // A log that is very busy, or a broker that is new, is not counted from a day ago on.
    let since = board.since.filter(|since| board.quarters.first().is_some_and(|first| first.begins < *since));
    twin(
        ctx.t(
            "De laatste 24 uur per kwartier, als tabel",
            "The last 24 hours by quarter of an hour, as a table",
        ),
        &[
            &[ctx.t("vanaf (UTC)", "from (UTC)")][..],
            &counted(ctx),
            &[ctx.t("wachtend aan het eind", "waiting at the end")],
        ]
        .concat(),
        rows,
        &html! { @if let Some(since) = since { p { (ctx.t("Er is geteld vanaf", "Counting began at")) " " time datetime=(since) { (since) } "." } } },
    )
}

/// A table that says in numbers what lines show; opened by who wants it.
fn twin(
    summary: &str,
    heads: &[&str],
    rows: impl Iterator<Item = (Markup, Vec<u64>)>,
    note: &Markup,
) -> Markup {
    html! {
        details {
            summary { (summary) }
            (note)
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody {
                    @for (head, values) in rows {
                        tr {
                            th scope="row" { (head) }
                            @for value in values { td { (value) } }
                        }
                    }
                }
            }
        }
    }
}
