//! Exports: parts of the log as bundles that an auditor checks by himself, asked for and fetched here.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_DISPOSITION;
use axum::response::IntoResponse as _;
use maud::{Markup, html};
use seinhuis_monitor::Board;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;
use seinhuis_shell::web::form::{Form, fresh_key};
use tower_http::services::ServeFile;

use super::accounts::Right;
use super::acts::{self, Deed, Done};
use super::guard::Visit;
use super::layout::{self, State as How, state, table};
use super::trouble::Trouble;
use super::words::{Ctx, bytes};
use super::{Desk, Shown};
use crate::commands::request;
use crate::export::{How as Way, Question, is_purpose};
use crate::logs::OneLog;

/// How many exports are made at one time: each reads the log from disk.
const AT_ONCE: usize = 1;
/// Most files that are kept: whoever fetched them removes them.
const KEPT: usize = 50;
/// Bytes that an entry takes in an export at most, on average: the line, its place in tables, and what is made meanwhile.
const ENTRY: u64 = 2 * 1024;
/// How every file is named that was made here.
const BEFORE: &str = "export-";
/// And how it ends.
const AFTER: &str = ".zip";

/// The folder of exports, and what is being made in it.
#[derive(Debug, Clone)]
pub(super) struct Exports {
    dir: Arc<PathBuf>,
    /// By file name: nothing while it is being made, and why it failed.
    making: Arc<Mutex<BTreeMap<String, Option<Text>>>>,
}

impl Exports {
    /// In this folder, which is made when there is something to put in it.
    pub(super) fn new(dir: &FilePath) -> Self {
        Self { dir: Arc::new(dir.to_path_buf()), making: Arc::default() }
    }

    fn making(&self) -> MutexGuard<'_, BTreeMap<String, Option<Text>>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of this name, if it was made here and is whole.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let plain = |c: char| c.is_ascii_digit() || matches!(c, 'T' | 'Z');
        let middle = name.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
        let whole = middle.chars().all(plain) && !self.making().contains_key(name);
        whole.then(|| self.dir.join(name)).filter(|path| path.is_file())
    }

    /// Every file that is whole, the newest first, with its length.
    fn all(&self) -> Vec<(String, u64)> {
        let Ok(folder) = std::fs::read_dir(&*self.dir) else { return Vec::new() };
        let mut all: Vec<(String, u64)> = folder
            .flatten()
            .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.len())))
            .filter(|(name, _)| self.file(name).is_some())
            .collect();
        all.sort_by(|one, other| other.0.cmp(&one.0));
        all
    }

    /// Takes the name of an export that is begun now, if no other is under way.
    fn begin(&self, now: Timestamp) -> Option<String> {
        let mut making = self.making();
        if making.values().filter(|state| state.is_none()).count() >= AT_ONCE {
            return None;
        }
        let plain: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
        let name = format!("{BEFORE}{plain}{AFTER}");
        making.insert(name.clone(), None);
        Some(name)
    }

    /// Removes what an export that did not end left behind.
    fn clear(&self, name: &str) {
        let Ok(folder) = std::fs::read_dir(&*self.dir) else { return };
        for entry in folder.flatten() {
            let file = entry.file_name();
            if file.to_string_lossy().strip_prefix(name).is_none_or(str::is_empty) {
                continue;
            }
            let path = entry.path();
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            if let Err(error) = removed {
                tracing::warn!(%error, "what an export left behind cannot be removed");
            }
        }
    }

    /// Says how the one of this name ended.
    fn end(&self, name: &str, failed: Option<Complaint>) {
        let mut making = self.making();
        match failed {
            None => drop(making.remove(name)),
            Some(complaint) => drop(making.insert(name.to_owned(), Some(complaint.what))),
        }
    }
}

pub(super) async fn list(State(desk): State<Desk>, Extension(visit): Extension<Visit>) -> Shown {
    let board = desk.service.board().await?;
    let ctx = Ctx::new(&board, &visit);
    let may = visit.role.may(Right::Export);
    let title = layout::title_of("/exports", visit.lang);
    let main = html! {
        h1 { (title) }
        p { (ctx.t(
            "Een export bevat logregels met hun bewijs: wie wat aan wie stuurde, volgens welke afspraak en met welke uitkomst. Iedereen kan hem narekenen met seinhuis-verify; er staat niets in van wat partners elkaar schreven.",
            "An export holds log entries with their proof: who sent what to whom, by which agreement and with what outcome. Anybody can check it with seinhuis-verify; nothing is in it of what partners wrote to each other.",
        )) }
        (made(&desk.exports, may, &ctx))
        @if may { (asking(&desk.service.logs.all(), &visit, &ctx)) }
        @else { p class="quiet" { (ctx.t("Uw rol vraagt geen exports aan.", "Your role asks for no exports.")) } }
    };
    Ok(layout::shown(&desk, &visit, title, &main))
}

fn made(exports: &Exports, may: bool, ctx: &Ctx) -> Markup {
    let name =
        |name: &str| html! { @if may { a href={ "/exports/" (name) } download { (name) } } @else { (name) } };
    let mut rows: Vec<Vec<Markup>> = exports
        .making()
        .iter()
        .map(|(file, failed)| {
            let how = failed.as_ref().map_or_else(
                || state(How::Attention, ctx.t("wordt gemaakt", "being made")),
                |what| state(How::Bad, what.in_lang(ctx.lang)),
            );
            vec![html! { (file) }, how, html! { "–" }]
        })
        .collect();
    let whole = exports.all();
    rows.extend(whole.iter().map(|(file, length)| {
        vec![name(file), state(How::Good, ctx.t("klaar", "ready")), html! { (bytes(*length)) }]
    }));
    let heads = [ctx.t("Bestand", "File"), ctx.t("Stand", "State"), ctx.t("Omvang", "Size")];
    html! { @if !rows.is_empty() { (table(ctx.t("Exports op deze broker", "Exports on this broker"), &heads, &rows)) } }
}

fn asking(logs: &[OneLog], visit: &Visit, ctx: &Ctx) -> Markup {
    html! {
        h2 { (ctx.t("Export aanvragen", "Ask for an export")) }
        form method="post" action="/exports" {
            (layout::token(&visit.token))
            input type="hidden" name="key" value=(fresh_key());
            div class="field" {
                label for="log" { (ctx.t("Van welk logboek", "Of which log")) }
                select id="log" name="log" {
                    @for (nth, one) in logs.iter().rev().enumerate() {
                        option value=(one.folder) selected[nth == 0] { (one.origin) }
                    }
                }
            }
            div class="field" {
                label for="from" { (ctx.t("Vanaf deze dag", "From this day on")) }
                input id="from" name="from" type="date";
            }
            div class="field" {
                label for="until" { (ctx.t("Tot en met deze dag", "Up to and with this day")) }
                input id="until" name="until" type="date";
            }
            div class="field" {
                label for="organisation" { (ctx.t("Alleen van of aan deze OIN", "Only from or to this OIN")) }
                input id="organisation" name="organisation" type="text" maxlength="20" aria-describedby="organisation-hint";
                p class="hint" id="organisation-hint" { (ctx.t(
                    "Leeg: alles van de periode in dit logboek, en dan is bewezen dat niets ontbreekt.",
                    "Empty: all of the period in this log, and then it is proved that nothing is missing.",
                )) }
            }
            div class="field" {
                label for="purpose" { (ctx.t("Waarvoor", "What for")) }
                textarea id="purpose" name="purpose" rows="2" minlength="10" maxlength="256" required aria-describedby="purpose-hint" {}
                p class="hint" id="purpose-hint" { (ctx.t(
                    "Een zin van 10 tot 256 tekens, zonder namen van personen. Ze staat in de export; haar hash in het logboek.",
                    "A sentence of 10 to 256 characters, without names of persons. It stands in the export; its hash in the log.",
                )) }
            }
            button type="submit" { (ctx.t("Export aanvragen", "Ask for an export")) }
        }
    }
}

/// Whether the disk has room for the largest export there can be, besides what is kept free for packets.
fn has_room(board: &Board) -> bool {
    let needed = board.storage.keep_free_bytes.saturating_add(board.log.size.saturating_mul(ENTRY));
    !board.storage.scarce && board.storage.free_bytes.is_none_or(|free| free > needed)
}

/// What a form asks; nothing when a day or number does not read.
fn question(form: &Form) -> Option<Question> {
    let day = |name: &str| match form.text(name) {
        "" => Some(None),
        text => Timestamp::parse(text).map(Some),
    };
    let organisation = match form.text("organisation").trim() {
        "" => None,
        text => Some(text.parse::<Oin>().ok()?),
    };
    let (from, until) = (day("from")?, day("until")?.map(|until| until.plus(Span::days(1))));
    let purpose = form.text("purpose").trim().to_owned();
    let ordered = from.zip(until).is_none_or(|(from, until)| from < until);
    (is_purpose(&purpose) && ordered).then(|| Question {
        purpose,
        from,
        until,
        organisation,
        ..Question::default()
    })
}

/// Asks for an export.
pub(super) async fn ask(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Extension(form): Extension<Form>,
) -> Shown {
    if !visit.role.may(Right::Export) {
        return Err(Trouble::not_allowed());
    }
    let question = question(&form).ok_or_else(Trouble::not_asked)?;
    let log = form.text("log").to_owned();
    if desk.service.logs.named(&log).is_err() {
        return Err(Trouble::not_asked());
    }
    let purpose = question.purpose.clone();
    let deed = Deed::Export { log, question: Box::new(question) };
    let page = acts::carry_out(&desk, &visit, &form, (deed, &purpose), "/exports").await?;
    Ok(layout::see_other(page))
}

/// Begins an export, of which `done` stands in the book.
pub(super) async fn begin(desk: &Desk, log: String, question: Question, done: Done) -> Result<(), Trouble> {
    let board = desk.service.board().await?;
    if !has_room(&board) || desk.exports.all().len() >= KEPT {
        return Err(Trouble::no_room());
    }
    files::make_private_dir(&desk.exports.dir)?;
    let name = desk.exports.begin(clock::now()).ok_or_else(Trouble::busy)?;
    let desk = desk.clone();
    tokio::spawn(async move {
        let out = desk.exports.dir.join(&name);
        let way = Way { resume: false, views: true };
        let made = request::export(&desk.service, Some(log), question, out.clone(), way).await;
        let came = match &made {
            Ok(_) => format!("made {name}"),
            Err(complaint) => {
                tracing::error!("{}", complaint.what.en);
                // Nobody goes on with it: the next one has another name.
                desk.exports.clear(&name);
                format!("failed: {}", complaint.what.en)
            }
        };
        acts::note(&desk, &done.came(came));
        desk.exports.end(&name, made.err());
    });
    Ok(())
}

/// Gives a file, or the part of it that is asked for (RFC 9110, 14): a connection lasts ten minutes at most, and who was cut
/// off goes on where that was.
pub(super) async fn fetch(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    request: Request,
) -> Shown {
    if !visit.role.may(Right::Export) {
        return Err(Trouble::not_allowed());
    }
    let path = desk.exports.file(&name).ok_or_else(Trouble::nothing)?;
    let fail = |error| Trouble::from(Complaint::io(Doing::Read, &path, &error));
    let given = ServeFile::new(&path).try_call(request).await.map_err(fail)?;
    let disposition = (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""));
    Ok(([disposition], given.map(Body::new)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&str, &str)]) -> Form {
        fields.iter().copied().collect()
    }

    #[test]
    fn a_question_has_whole_days_and_a_purpose() {
        let purpose = ("purpose", "Jaarlijkse controle door de auditor");
        let asked = question(&form(&[("from", "2026-01-01"), ("until", "2026-01-31"), purpose])).unwrap();
        assert_eq!(asked.from, Timestamp::parse("2026-01-01"));
        assert_eq!(asked.until, Timestamp::parse("2026-02-01"), "the last day is in it");
        assert!(asked.is_period());
        let one = question(&form(&[("organisation", "00000099000000001000"), purpose])).unwrap();
        assert!(!one.is_period());
        for wrong in [
            form(&[("from", "2026-02-01"), ("until", "2026-01-01"), purpose]),
            form(&[("from", "gisteren"), purpose]),
            form(&[("organisation", "x"), purpose]),
            form(&[("purpose", "kort")]),
            form(&[]),
        ] {
            assert!(question(&wrong).is_none());
        }
    }

    #[test]
    fn only_whole_files_that_were_made_here_are_given() {
        let dir = tempfile::tempdir().unwrap();
        let exports = Exports::new(dir.path());
        let name = exports.begin(Timestamp(1_800_000_000_000)).unwrap();
        std::fs::write(dir.path().join(&name), b"PK").unwrap();
        std::fs::write(dir.path().join("other.zip"), b"x").unwrap();
        assert!(exports.file(&name).is_none() && exports.all().is_empty(), "it is being made");
        assert!(exports.begin(Timestamp(1_900_000_000_000)).is_none(), "one at a time");
        exports.end(&name, None);
        assert_eq!(exports.all(), [(name.clone(), 2)]);
        for wrong in ["other.zip", "../operators.json", "export-../../x.zip", "export-.zip/..", ""] {
            assert!(exports.file(wrong).is_none(), "{wrong}");
        }
        let failed = exports.begin(Timestamp(1_900_000_000_000)).unwrap();
        exports.end(&failed, Some(Complaint::bug("x")));
        assert!(
            exports.begin(Timestamp(1_900_000_000_001)).is_some(),
            "one that failed is under way no more"
        );
    }
}
