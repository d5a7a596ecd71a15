//! Covenants: proposing, reading, and this organisation's word about them.

use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use seinhuis_shared::covenant::Covenant;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::covenants;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use seinhuis_shell::standing::{OwnView, Waiting};
use serde_json::json;

use super::request::{From, Look, Request, ask, read};
use super::wait;
use crate::home::Home;

/// Fewest digits by which a covenant is named.
const DIGITS: usize = 8;

pub(super) fn propose(home: &Home, files: &[PathBuf], ui: Ui) -> Result<Outcome, Complaint> {
    let covenant = covenants::load(files)?;
    let hash = covenant.hash().to_string();
    let document = BASE64.encode(&covenant.to_bytes());
    let (answer, from) = ask(home, Request::Propose { document })?;
    let view = settle(home, find(read(answer)?, &hash)?, from, |view| view.proposal.is_some())?;
    conclude(&view, view.proposal.as_ref(), ui)
}

/// Gives this organisation's word: `accept`, `reject` or `withdraw`.
pub(super) fn say(home: &Home, word: &str, id: &str, reason: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let covenant = find(known(home)?, id)?.covenant.hash;
    let request =
        Request::Speak { covenant: covenant.clone(), word: word.to_owned(), reason: reason.to_owned() };
    let (answer, from) = ask(home, request)?;
    let view = settle(home, find(read(answer)?, &covenant)?, from, |view| view.waiting.is_some())?;
    conclude(&view, view.waiting.as_ref(), ui)
}

/// Every covenant the agent knows.
pub(super) fn known(home: &Home) -> Result<Vec<OwnView>, Complaint> {
    read(ask(home, Request::Look(Look::Covenants))?.0)
}

pub(super) fn list(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let (answer, _) = ask(home, Request::Look(Look::Covenants))?;
    let mut lines: Vec<String> =
        read::<Vec<OwnView>>(answer.clone())?.iter().flat_map(|one| one.lines(ui.lang)).collect();
    if lines.is_empty() {
        lines.push(ui.lang.pick("Geen convenant bekend.", "No covenant is known.").to_owned());
    }
    ui.answer(&Text::same(lines.join("\n")), &answer);
    Ok(Outcome::Done)
}

/// Tells what a version allows: one in files, or one the agent knows, against its predecessor if it knows that.
pub(super) fn review(home: &Home, args: &covenants::Review, ui: Ui) -> Result<Outcome, Complaint> {
    let [only] = args.files.as_slice() else { return covenants::review(args, ui) };
    let id = only.to_string_lossy();
    if only.exists() || id.len() < DIGITS || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return covenants::review(args, ui);
    }
    let covenant = known_document(home, &id)?;
    let previous = if args.against.is_empty() {
        covenant.previous.and_then(|hash| known_document(home, &hash.to_string()).ok())
    } else {
        Some(covenants::load(&args.against)?)
    };
    covenants::tell(&covenant, previous.as_ref(), args.html.as_deref(), ui)
}

fn known_document(home: &Home, id: &str) -> Result<Covenant, Complaint> {
    Covenant::from_bytes(&document(home, id)?).map_err(|error| covenants::wrong(&error.to_string()))
}

pub(super) fn export(home: &Home, id: &str, out: &Path, ui: Ui) -> Result<Outcome, Complaint> {
    let bytes = document(home, id)?;
    files::write(out, &bytes, Existing::Keep)?;
    let hash = seinhuis_shared::signing::sha256(&bytes).to_string();
    ui.answer(
        &Text::new(
            format!("Geschreven: {}\nHash: {hash}", out.display()),
            format!("Written: {}\nHash: {hash}", out.display()),
        ),
        &json!({ "file": out, "hash": hash }),
    );
    Ok(Outcome::Done)
}

/// The canonical bytes of a version the agent knows.
fn document(home: &Home, id: &str) -> Result<Vec<u8>, Complaint> {
    let covenant = find(known(home)?, id)?.covenant.hash;
    let (answer, _) = ask(home, Request::Look(Look::Document { covenant }))?;
    let bytes = answer.as_str().and_then(|text| BASE64.decode(text.as_bytes()).ok());
    bytes.ok_or_else(|| Complaint::bug("an answer of another version"))
}

/// Waits until what was said has left the agent, or was refused.
fn settle(
    home: &Home,
    view: OwnView,
    from: From,
    waits: impl Fn(&OwnView) -> bool,
) -> Result<OwnView, Complaint> {
    let refused =
        |view: &OwnView| [&view.waiting, &view.proposal].into_iter().flatten().any(|one| one.refused != 0);
    let open = |view: &OwnView| from == From::Agent && waits(view) && !refused(view);
    wait::while_open(view, open, |view| find(known(home)?, &view.covenant.hash))
}

fn conclude(view: &OwnView, waiting: Option<&Waiting>, ui: Ui) -> Result<Outcome, Complaint> {
    if let Some(refusal) = waiting.and_then(|one| Refusal::from_number(one.refused)) {
        return Err(Complaint::from_refusal(refusal));
    }
    let text = wait::told(waiting.is_some(), |lang| view.lines(lang).join("\n"));
    ui.answer(&text, &json!(view));
    Ok(Outcome::Done)
}

/// The version whose hash begins with `id`.
fn find(known: Vec<OwnView>, id: &str) -> Result<OwnView, Complaint> {
    let mut fitting = known.into_iter().filter(|one| id.len() >= DIGITS && one.covenant.hash.starts_with(id));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (None | Some(_), _) => Err(Complaint::usage(
            Text::new(
                format!("Geen of meer dan een convenant waarvan de hash begint met {id:?}."),
                format!("No covenant, or more than one, has a hash that begins with {id:?}."),
            ),
            Text::new(
                format!("Kies er een uit `seinhuis-agent covenant list` en geef ten minste {DIGITS} tekens."),
                format!("Choose one of `seinhuis-agent covenant list` and give at least {DIGITS} digits."),
            ),
        )),
    }
}
