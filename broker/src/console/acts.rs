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
use seinhuis_monitor::{Act, Board};
use seinhuis_shared::ids::Oin;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::{Complaint, Doing};
use serde::{Deserialize, Serialize};

use super::layout::table;
use super::words::Ctx;

/// Most acts that are shown.
const ROWS: usize = 100;

/// Something that somebody is about to do on the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    at: String,
    who: String,
    act: String,
    subject: Option<Oin>,
    reason: String,
}

impl Done {
    pub(super) fn new(who: &str, act: &str, subject: Option<Oin>, reason: &str) -> Self {
        let (who, act, reason) = (who.to_owned(), act.to_owned(), reason.to_owned());
        Self { at: clock::now().to_string(), who, act, subject, reason }
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
        act.subject.map_or_else(|| html! { "–" }, |oin| ctx.partner(oin)),
        html! { a href={ "/log/" (act.place.position) } { (act.place.position) } },
    ]
}

/// An act in words; its codes when it is another.
fn words(act: &Act, ctx: &Ctx) -> String {
    let known = match (act.kind.as_str(), act.detail.as_str()) {
        ("start", _) => Some(("De broker startte", "The broker started")),
        ("stop", _) => Some(("De broker stopte", "The broker stopped")),
        ("partner", "added") => Some(("Partner toegelaten", "Partner added")),
        ("partner", "revoked") => Some(("Toegang ingetrokken", "Access revoked")),
        ("covenant", "proposed") => Some(("Convenant voorgesteld", "Covenant proposed")),
        ("covenant", "accept") => Some(("Convenant aanvaard", "Covenant accepted")),
        ("covenant", "reject") => Some(("Convenant verworpen", "Covenant rejected")),
        ("covenant", "withdraw") => Some(("Convenant opgezegd", "Covenant withdrawn from")),
        ("export", "complete") => Some(("Periode uitgevoerd", "Period exported")),
        ("export", "selection") => Some(("Selectie uitgevoerd", "Selection exported")),
        ("key-rotated", _) => Some(("Tekensleutel vervangen", "Signing key replaced")),
        ("opening", _) => Some(("Logboek begonnen", "Log begun")),
        ("closing", _) => Some(("Logboek gesloten", "Log closed")),
        ("purged", _) => Some(("Teksten na hun termijn verwijderd", "Texts removed at their term")),
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
