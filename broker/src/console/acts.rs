//! Beheer: what was done to the broker, its partners and its covenants, and by whom.
//!
//! The log has every act; it has no names of people. Who did it on the console, and the reason in words, stands in a book
//! of the broker's own, of which the log has the hash of the reason.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_broker_core::{Answer, Command};
use seinhuis_monitor::{Act, Board};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::signing::sha256;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::web::form::{Form, fresh_key, is_key};
use serde::{Deserialize, Serialize};

use super::Desk;
use super::accounts::Right;
use super::guard::Visit;
use super::layout::{self, table};
use super::trouble::Trouble;
use super::words::Ctx;

/// Most acts that are shown.
const ROWS: usize = 100;
/// Most characters of a reason.
const REASON_MAX: usize = 500;

/// Something that somebody is about to do on the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    at: String,
    who: String,
    act: String,
    subject: Option<Oin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flow: Option<String>,
    reason: String,
    /// Random, where the log has the hash of the whole line: that tells nothing to who guesses at names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
}

impl Done {
    pub(super) fn new(who: &str, act: &str, subject: Option<Oin>, reason: &str) -> Self {
        let (who, act, reason) = (who.to_owned(), act.to_owned(), reason.to_owned());
        Self { at: clock::now().to_string(), who, act, subject, flow: None, reason, salt: None }
    }

    /// The same, as a line of which the log has the hash.
    pub(super) fn salted(self) -> Self {
        Self { salt: Some(fresh_key()), ..self }
    }

    /// The same, about a flow.
    fn about_flow(self, flow: Option<&str>) -> Self {
        Self { flow: flow.map(str::to_owned), ..self }
    }
}

/// The book: a line of JSON for each.
#[derive(Debug, Clone)]
pub(super) struct Book {
    path: Arc<PathBuf>,
    alone: Arc<Mutex<()>>,
}

impl Book {
    /// The one at `path`, which is made when there is something to write.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: Arc::new(path.to_path_buf()), alone: Arc::default() }
    }

    /// Adds a line, which is on the disk after that.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub(super) fn write(&self, done: &Done) -> Result<(), Complaint> {
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = serde_json::to_vec(done).map_err(|error| Complaint::bug(error.to_string()))?;
        line.push(b'\n');
        let write = || {
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&*self.path)?;
            file.write_all(&line)?;
            file.sync_all()
        };
        write().map_err(|error| Complaint::io(Doing::Write, &self.path, &error))
    }
}

/// What somebody asks for with a form that has a reason.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// What it takes.
    pub(super) right: Right,
    /// The word for it in the book.
    pub(super) act: &'static str,
    /// The organisation it is about.
    pub(super) subject: Option<Oin>,
    /// The flow it is about.
    pub(super) flow: Option<&'a str>,
}

/// Has the core do what is asked, once for each form, in the name of who asks: every act with a reason goes this way.
/// `command` makes it of the hash of the reason.
pub(super) async fn carry_out(
    desk: &Desk,
    visit: &Visit,
    form: &Form,
    asked: Wanted<'_>,
    command: impl FnOnce(Digest) -> Command,
) -> Result<(), Trouble> {
    if !visit.role.may(asked.right) {
        return Err(Trouble::not_allowed());
    }
    let reason = form.text("reason").trim();
    if reason.is_empty() || reason.chars().count() > REASON_MAX {
        return Err(Trouble::no_reason());
    }
    let key = form.text("key");
    if !is_key(key) || !desk.sessions.first(&visit.cookie, key) {
        return Err(Trouble::done_before());
    }
    // The book first: an act that is in the log and not in the book has nobody who did it.
    let done = Done::new(&visit.name, asked.act, asked.subject, reason).about_flow(asked.flow);
    let carried = match desk.book.write(&done) {
        Ok(()) => desk.service.command(command(sha256(reason.as_bytes()))).await,
        Err(complaint) => Err(complaint),
    };
    // What did not come about may be sent once more.
    let answer = carried.inspect_err(|_| desk.sessions.forget(&visit.cookie, key))?;
    desk.service.look_again().await;
    let entry = if let Answer::Recorded { index } = answer { Some(index) } else { None };
    let (act, flow) = (asked.act, asked.flow);
    let partner = asked.subject.map(tracing::field::display);
    tracing::warn!(act, partner, flow, ?entry, "an act was carried out on the console");
    Ok(())
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
        ("operator", "suspended") => Some(("Stroom opgeschort", "Flow suspended")),
        ("operator", "resumed") => Some(("Stroom hervat", "Flow resumed")),
        ("operator", "account-changed") => Some(("Account gewijzigd", "Account changed")),
        ("operator", "self-check-failed") => Some(("Zelfcontrole vond schade", "Self-check found damage")),
        ("operator", "started-without-witnesses") => {
            Some(("Gestart zonder op getuigen te wachten", "Started without waiting for witnesses"))
        }
        _ => None,
    };
    known.map_or_else(|| format!("{} {}", act.kind, act.detail), |(nl, en)| ctx.lang.pick(nl, en).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_grows_by_a_line_for_each_act_that_others_cannot_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console-acts.jsonl");
        let book = Book::new(&path);
        let oin = "00000099000000001000".parse().ok();
        for reason in ["telefonisch\nbevestigd", "\"x\""] {
            book.write(&Done::new("Anna", "partner-revoke", oin, reason)).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let all: Vec<Done> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].who.as_str(), all[0].reason.as_str()), ("Anna", "telefonisch\nbevestigd"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            Book::new(dir.path()).write(&all[0]).is_err(),
            "a book that cannot be written lets nothing be done"
        );
    }
}
