//! Beheer: what was done to the broker, its partners and its covenants, and by whom.
//!
//! The log has every act; it has no names of people. Who did it on the console, and the reason in words, stands in a book
//! of the broker's own, of which the log has the hash of the reason. What the configuration says is for two people waits
//! for a second one, who has the same right and is not the first.

mod asked;
mod book;
mod deed;

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_broker_core::{Answer, Command};
use seinhuis_monitor::{Act, Board};
use seinhuis_shared::signing::sha256;
use seinhuis_shell::clock;
use seinhuis_shell::web::form::{Form, fresh_key, is_key};

pub(super) use self::asked::Asked;
use self::asked::Request;
pub(super) use self::book::{Book, Done};
pub(super) use self::deed::{Deed, NAMES};
use super::guard::Visit;
use super::layout::{self, table};
use super::trouble::Trouble;
use super::words::Ctx;
use super::{Desk, Shown, exports};

/// Most acts that are shown.
const ROWS: usize = 100;
/// Most characters of a reason.
const REASON_MAX: usize = 500;

/// The reason in a form.
pub(super) fn reason(form: &Form) -> Result<&str, Trouble> {
    let reason = form.text("reason").trim();
    let fits = !reason.is_empty() && reason.chars().count() <= REASON_MAX;
    if fits { Ok(reason) } else { Err(Trouble::no_reason()) }
}

/// Does what is asked, once for each form, in the name of who asks; or keeps it for a second person, where two are
/// asked. Every act with a reason goes this way. Where its page is.
pub(super) async fn carry_out<'a>(
    desk: &Desk,
    visit: &Visit,
    form: &Form,
    (deed, reason): (Deed, &str),
    page: &'a str,
) -> Result<&'a str, Trouble> {
    if !visit.role.may(deed.right()) {
        return Err(Trouble::not_allowed());
    }
    once(desk, visit, form, async {
        if desk.four_eyes.iter().any(|name| name == deed.name()) {
            return ask(desk, visit, deed, reason).map(|()| ASKED);
        }
        let done = Done::of(&visit.name, &deed, reason);
        // The book first: an act that is in the log and not in the book has nobody who did it.
        desk.book.write(&done)?;
        perform(desk, deed, reason, done).await.map(|()| page)
    })
    .await
}

/// Does something once for each form. What did not come about may be sent once more.
async fn once<T>(
    desk: &Desk,
    visit: &Visit,
    form: &Form,
    act: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let key = form.text("key");
    if !is_key(key) || !desk.sessions.first(&visit.cookie, key) {
        return Err(Trouble::done_before());
    }
    act.await.inspect_err(|_| desk.sessions.forget(&visit.cookie, key))
}

/// Has it done, and writes what came of it.
async fn perform(desk: &Desk, deed: Deed, reason: &str, done: Done) -> Result<(), Trouble> {
    let (act, reason) = (deed.name(), sha256(reason.as_bytes()));
    let answer = match deed {
        Deed::Suspend(what) => desk.service.command(Command::Suspend { what, reason }).await,
        Deed::Resume(what) => desk.service.command(Command::Resume { what, reason }).await,
        Deed::Revoke(oin) => desk.service.command(Command::RevokePartner { oin, reason: Some(reason) }).await,
        Deed::Requeue(oin) => desk.service.command(Command::Requeue { oin, reason }).await,
        Deed::TakeUp { code, subject } => desk.service.take_up(code, &subject, reason).await,
        Deed::Export { log, question } => return exports::begin(desk, log, *question, done).await,
    };
    desk.service.look_again().await;
    tracing::warn!(act, ?answer, "an act was carried out on the console");
    let came = match &answer {
        Ok(Answer::Recorded { index }) => format!("entry {index}"),
        Ok(_) => "unchanged".to_owned(),
        Err(complaint) => format!("failed: {}", complaint.what.en),
    };
    note(desk, &done.came(came));
    answer.map(|_| ()).map_err(Trouble::from)
}

/// Writes what came of something; that it happened stays as it is without that.
pub(super) fn note(desk: &Desk, done: &Done) {
    if let Err(complaint) = desk.book.write(done) {
        tracing::error!("{}", complaint.what.en);
    }
}

/// Where acts are that wait for a second person.
const ASKED: &str = "/acts/asked";

/// Keeps it for a second person.
fn ask(desk: &Desk, visit: &Visit, deed: Deed, reason: &str) -> Result<(), Trouble> {
    let (id, now) = (fresh_key(), clock::now());
    desk.book.write(&Done::of(&visit.name, &deed, reason).saying(&id, "asked"))?;
    let (who, person, reason) = (visit.name.clone(), visit.person.clone(), reason.to_owned());
    let kept = desk.asked.add(Request { id, at: now, who, person, deed, reason }, now)?;
    if kept { Ok(()) } else { Err(Trouble::busy()) }
}

/// A second person agrees to something, or turns it down; who asked may only take it back.
pub(super) async fn answer(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Extension(form): Extension<Form>,
) -> Shown {
    let (id, now) = (form.text("id"), clock::now());
    let request = desk.asked.find(id, now).ok_or_else(Trouble::nothing)?;
    let own = request.person == visit.person;
    let agrees = match form.text("do") {
        "agree" => true,
        "turn-down" => false,
        _ => return Err(Trouble::nothing()),
    };
    if !own && !visit.role.may(request.deed.right()) {
        return Err(Trouble::not_allowed());
    }
    if own && agrees {
        return Err(Trouble::own_request());
    }
    let said = if agrees { "agreed" } else { "turned-down" };
    let done = Done::of(&visit.name, &request.deed, reason(&form)?).saying(id, said);
    once(&desk, &visit, &form, async {
        desk.book.write(&done)?;
        // Whoever comes first: of two who agree at one time one finds nothing.
        let request = desk.asked.take(id, now)?.ok_or_else(Trouble::nothing)?;
        if agrees { perform(&desk, request.deed, &request.reason, done).await } else { Ok(()) }
    })
    .await?;
    Ok(layout::see_other(ASKED))
}

/// What waits for a second person.
pub(super) async fn waiting(State(desk): State<Desk>, Extension(visit): Extension<Visit>) -> Shown {
    let board = desk.service.board().await?;
    let ctx = Ctx::new(&board, &visit);
    let title = ctx.t("Wacht op een tweede", "Waits for a second");
    let all = desk.asked.open_at(clock::now());
    let main = html! {
        h1 { (title) }
        p { (ctx.t(
            "Sommige daden doen twee mensen: de een vraagt, een ander met hetzelfde recht gaat akkoord. Na een dag vervalt de vraag. Welke dat zijn staat in console.four_eyes.",
            "Some acts are done by two people: one asks, another with the same right agrees. After a day the request is over. Which those are stands in console.four_eyes.",
        )) }
        @if all.is_empty() { p { (ctx.t("Er wacht niets op een tweede.", "Nothing waits for a second person.")) } }
        @for request in &all { (one(request, &visit, &ctx)) }
        p { a href="/acts" { (ctx.t("Laatste daden van beheer", "Last acts of operation")) } }
    };
    Ok(layout::shown(&desk, &visit, title, &main))
}

/// One that waits, with what can be said of it.
fn one(request: &Request, visit: &Visit, ctx: &Ctx) -> Markup {
    let own = request.person == visit.person;
    let may = visit.role.may(request.deed.right());
    let (agree, down) = (ctx.t("Akkoord, voer uit", "Agree, do it"), ctx.t("Wijs af", "Turn down"));
    let down = if own { ctx.t("Trek in", "Take back") } else { down };
    let id = |does: &str| format!("{does}-{}", request.id);
    let hidden = html! { input type="hidden" name="id" value=(request.id); };
    let subject = html! {
        @if let Some(oin) = request.deed.subject() { (ctx.partner(oin)) }
        @else if let Some(flow) = request.deed.flow() { (flow) }
        @else { "–" }
        @if let Some(alarm) = request.deed.alarm() { " " code { (alarm) } }
    };
    html! {
        section {
            h2 { (request.deed.words(ctx)) }
            (layout::facts(&[
                (ctx.t("Over", "About"), subject),
                (ctx.t("Gevraagd door", "Asked by"), html! { (request.who) }),
                (ctx.t("Wanneer", "When"), ctx.ago(request.at)),
                (ctx.t("Vervalt", "Is over"), ctx.until(request.ends())),
                (ctx.t("Waarom", "Why"), html! { (request.reason) }),
            ]))
            @if may && !own {
                (form(Asking { id: &id("agree"), does: "agree", button: agree, danger: true }, &hidden, visit, ctx))
            }
            @if own || may {
                details {
                    summary { (down) }
                    (form(Asking { id: &id("down"), does: "turn-down", button: down, danger: false }, &hidden, visit, ctx))
                }
            }
        }
    }
}

/// A form that asks for something with a reason.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    /// Apart from every other form of the page.
    pub(super) id: &'a str,
    /// What it asks for, as the page takes it.
    pub(super) does: &'a str,
    /// What its button says.
    pub(super) button: &'a str,
    /// Whether that cannot be taken back here.
    pub(super) danger: bool,
}

/// Such a form; `more` is what it asks besides.
pub(super) fn form(asking: Asking<'_>, more: &Markup, visit: &Visit, ctx: &Ctx) -> Markup {
    let Asking { id, does, button, danger } = asking;
    let hint = format!("{id}-hint");
    html! {
        form method="post" {
            (layout::token(&visit.token))
            input type="hidden" name="key" value=(fresh_key());
            input type="hidden" name="do" value=(does);
            (more)
            div class="field" {
                label for=(id) { (ctx.t("Waarom", "Why")) }
                textarea id=(id) name="reason" rows="2" maxlength=(REASON_MAX) required aria-describedby=(hint) {}
                p class="hint" id=(hint) { (ctx.t(
                    "Een zin, zonder namen van betrokkenen. Ze staat in het boek van de console; in het logboek staat haar hash.",
                    "A sentence, without names of data subjects. It stands in the console's book; its hash is in the log.",
                )) }
            }
            button type="submit" class=[danger.then_some("danger")] { (button) }
        }
    }
}

pub(super) fn live(board: &Board, ctx: &Ctx, _: &Uri) -> Markup {
    let rows: Vec<Vec<Markup>> = board.acts.iter().take(ROWS).map(|act| row(act, ctx)).collect();
    let heads = [
        ctx.t("Wanneer", "When"),
        ctx.t("Wat", "What"),
        ctx.t("Over", "About"),
        ctx.t("In het logboek", "In the log"),
    ];
    html! {
        p { (ctx.t(
            "Elke daad van beheer is een regel in het logboek. Wie iets op deze console deed, en waarom, staat in console-acts.jsonl in de map van de broker.",
            "Every act of operation is an entry of the log. Who did something on this console, and why, stands in console-acts.jsonl in the broker's folder.",
        )) }
        p { a href=(ASKED) { (ctx.t("Wat op een tweede wacht", "What waits for a second person")) } }
        (table(ctx.t("Laatste daden van beheer", "Last acts of operation"), &heads, &rows))
    }
}

fn row(act: &Act, ctx: &Ctx) -> Vec<Markup> {
    vec![
        ctx.ago(act.place.at),
        html! { (words(act, ctx)) },
        about(act, ctx),
        html! { a href={ "/log/" (act.place.position) } { (act.place.position) } },
    ]
}

fn about(act: &Act, ctx: &Ctx) -> Markup {
    html! {
        @if let Some(oin) = act.subject { (ctx.partner(oin)) }
        @else if let Some(flow) = &act.flow { (flow) }
        @else { "–" }
    }
}

/// An act in words; its codes when it is another.
fn words(act: &Act, ctx: &Ctx) -> String {
    let known = match (act.kind.as_str(), act.detail.as_str()) {
        ("start", _) => Some(("De broker startte", "The broker started")),
        ("stop", _) => Some(("De broker stopte", "The broker stopped")),
        ("partner", "added") => Some(("Partner toegelaten", "Partner added")),
        ("partner", "revoked") => Some(("Toegang ingetrokken", "Access revoked")),
        ("partner", "suspended") => Some(("Toegang opgeschort", "Access suspended")),
        ("partner", "requeued") => Some(("Opnieuw aangeboden wat wacht", "What waits offered again")),
        ("partner", "resumed") => Some(("Toegang hervat", "Access resumed")),
        ("covenant", "proposed") => Some(("Convenant voorgesteld", "Covenant proposed")),
        ("covenant", "accept") => Some(("Convenant aanvaard", "Covenant accepted")),
        ("covenant", "reject") => Some(("Convenant verworpen", "Covenant rejected")),
        ("covenant", "withdraw") => Some(("Convenant opgezegd", "Covenant withdrawn from")),
        ("export", "complete") => Some(("Periode geëxporteerd", "Period exported")),
        ("export", "selection") => Some(("Selectie geëxporteerd", "Selection exported")),
        ("key-rotated", _) => Some(("Tekensleutel vervangen", "Signing key replaced")),
        ("opening", _) => Some(("Logboek begonnen", "Log begun")),
        ("closing", _) => Some(("Logboek gesloten", "Log closed")),
        ("purged", _) => Some(("Teksten na hun termijn verwijderd", "Texts removed at their term")),
        ("operator", "suspended") if act.flow.is_none() => Some(("Aanname stilgelegd", "Intake suspended")),
        ("operator", "resumed") if act.flow.is_none() => Some(("Aanname hervat", "Intake resumed")),
        ("operator", "suspended") => Some(("Stroom opgeschort", "Flow suspended")),
        ("operator", "resumed") => Some(("Stroom hervat", "Flow resumed")),
        ("operator", "account-changed") => Some(("Account gewijzigd", "Account changed")),
        ("operator", "self-check-failed") => Some(("Zelfcontrole vond schade", "Self-check found damage")),
        ("operator", "started-without-witnesses") => {
            Some(("Gestart zonder op getuigen te wachten", "Started without waiting for witnesses"))
        }
        _ => None,
    };
    if let Some(alarm) = act.detail.strip_prefix("alarm:") {
        return format!("{} {alarm}", ctx.t("In behandeling genomen: alarm", "Taken up: alarm"));
    }
    known.map_or_else(|| format!("{} {}", act.kind, act.detail), |(nl, en)| ctx.lang.pick(nl, en).to_owned())
}
