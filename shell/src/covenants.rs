//! Reading a covenant from files: canonical bytes, or TOML parts with the schemas beside them; and the
//! commands that tell people what is in it, the same in every program.

use std::path::{Component, Path, PathBuf};

use clap::Args;
use seinhuis_shared::covenant::lint::lint as warnings;
use seinhuis_shared::covenant::review;
use seinhuis_shared::covenant::{Covenant, Part, difference};
use seinhuis_shared::limits::COVENANT_MAX;
use serde_json::{Value, json};

use crate::cli::{Outcome, Ui};
use crate::complaint::Complaint;
use crate::files::{self, Existing};
use crate::lang::Text;

/// Most bytes of one TOML part.
const PART_MAX: usize = 2 * COVENANT_MAX;
/// Most bytes of one schema file.
const SCHEMA_MAX: usize = 256 * 1024;

/// Reads a covenant. One file that is not TOML is taken as canonical bytes; otherwise the files are the
/// parts of one document, such as the model and the partnership's own parties, and schemas are looked for
/// in the folder of the first.
///
/// # Errors
/// A sentence naming file, line and fault.
pub fn load(paths: &[PathBuf]) -> Result<Covenant, Complaint> {
    if let [only] = paths
        && only.extension().is_none_or(|extension| extension != "toml")
    {
        let bytes = files::read(only, COVENANT_MAX)?;
        return Covenant::from_bytes(&bytes).map_err(|error| wrong(&error.to_string()));
    }
    let first = paths.first().ok_or_else(|| wrong("no file"))?;
    let folder = files::parent(first);
    let texts = paths
        .iter()
        .map(|path| Ok((path.display().to_string(), files::read_text(path, PART_MAX)?)))
        .collect::<Result<Vec<_>, Complaint>>()?;
    let parts: Vec<Part<'_>> = texts.iter().map(|(name, text)| Part { name, text }).collect();
    Covenant::from_toml_parts(&parts, &mut |name| schema(&folder, name))
        .map_err(|error| wrong(&error.to_string()))
}

/// What a covenant that is not in order means for whoever gave it.
pub fn wrong(error: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("Het convenant is niet in orde: {error}"),
            format!("The covenant is not in order: {error}"),
        ),
        Text::new(
            "Verbeter de genoemde plaats en probeer opnieuw.",
            "Correct the place named and try again.",
        ),
    )
}

/// A schema by its relative name; never outside the covenant's folder.
fn schema(folder: &Path, name: &str) -> Result<String, String> {
    let relative = Path::new(name);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!("{name} is not a path below the covenant's folder"));
    }
    files::read_text(&folder.join(relative), SCHEMA_MAX).map_err(|complaint| complaint.what.en)
}

/// What `covenant review` takes.
#[derive(Debug, Clone, Args)]
pub struct Review {
    /// The version: canonical bytes, or TOML files that make up one document
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The version before it, in the same way: what changes is then told first
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub against: Vec<PathBuf>,
    /// Write a page to read, print and sign from, instead of text; its name ends in .html
    #[arg(long, value_name = "OUT.html")]
    pub html: Option<PathBuf>,
}

/// What `covenant lint` takes.
#[derive(Debug, Clone, Args)]
pub struct Lint {
    /// The version: canonical bytes, or TOML files that make up one document
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Tells in words what a version allows and, against another, what it changes. Exit 0.
///
/// # Errors
/// As [`load`]; and when the page cannot be written, or would be written over something else.
pub fn review(args: &Review, ui: Ui) -> Result<Outcome, Complaint> {
    let covenant = load(&args.files)?;
    let previous = if args.against.is_empty() { None } else { Some(load(&args.against)?) };
    tell(&covenant, previous.as_ref(), args.html.as_deref(), ui)
}

/// As [`review()`], for documents that are at hand; with `html`, as a page in that file.
///
/// # Errors
/// When the page cannot be written.
pub fn tell(
    covenant: &Covenant,
    previous: Option<&Covenant>,
    html: Option<&Path>,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    let review = review::Review::new(covenant, previous);
    let hash = review.hash.to_string();
    let changes: Option<Vec<Value>> = previous.map(|previous| {
        let row = |change: &seinhuis_shared::covenant::Change| {
            json!({
                "about": change.about, "nl": change.words.nl, "en": change.words.en, "formal": change.formal,
            })
        };
        difference(previous, covenant).iter().map(row).collect()
    });
    let mut answer = json!({
        "id": covenant.id, "version": covenant.version, "hash": hash, "changes": changes,
    });
    let text = if let Some(path) = html {
        page(path, &review.html(ui.lang))?;
        let path = path.display();
        answer["html"] = path.to_string().into();
        Text::new(format!("Geschreven: {path}\nHash: {hash}"), format!("Written: {path}\nHash: {hash}"))
    } else {
        let text = review.text(ui.lang);
        answer["text"] = text.as_str().into();
        Text::same(text.trim_end())
    };
    ui.answer(&text, &answer);
    Ok(Outcome::Done)
}

/// Writes the page; a mistyped name must not cost the covenant itself.
fn page(path: &Path, html: &str) -> Result<(), Complaint> {
    if path.extension().is_none_or(|extension| extension != "html") {
        let path = path.display();
        return Err(Complaint::usage(
            Text::new(
                format!("Een pagina wordt niet naar {path} geschreven: die naam eindigt niet op .html."),
                format!("A page is not written to {path}: that name does not end in .html."),
            ),
            Text::new(
                "Geef bijvoorbeeld --html convenant.html op.",
                "Give for example --html covenant.html.",
            ),
        ));
    }
    files::write(path, html.as_bytes(), Existing::Replace)
}

/// Tells what a version allows and the law makes suspicious. Exit 0 without findings, 1 with.
///
/// # Errors
/// As [`load`].
pub fn lint(args: &Lint, ui: Ui) -> Result<Outcome, Complaint> {
    let covenant = load(&args.files)?;
    let findings = warnings(&covenant);
    let rows: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let words = finding.words();
            json!({ "code": finding.code(), "about": finding.about, "nl": words.nl, "en": words.en })
        })
        .collect();
    let (id, version, hash) = (&covenant.id, covenant.version, covenant.hash());
    let text = if findings.is_empty() {
        Text::new(
            format!("{id} versie {version} ({hash}): geen opmerkingen."),
            format!("{id} version {version} ({hash}): no findings."),
        )
    } else {
        let lines = findings
            .iter()
            .map(|finding| format!("{} {}\n  {}", finding.code(), finding.about, finding.text(ui.lang)));
        Text::same(lines.collect::<Vec<_>>().join("\n"))
    };
    let outcome = if findings.is_empty() { Outcome::Done } else { Outcome::No };
    ui.answer(&text, &json!({ "id": id, "version": version, "hash": hash.to_string(), "findings": rows }));
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::captured;
    use crate::lang::Lang;

    fn parts(folder: &Path) -> Vec<PathBuf> {
        vec![folder.join("model.toml"), folder.join("partnership.toml")]
    }

    /// A copy of the model with its schemas, and the example partnership changed by `edit`.
    fn folder(edit: impl Fn(String) -> String) -> tempfile::TempDir {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../covenants");
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("schemas")).unwrap();
        for entry in fs::read_dir(own.join("schemas")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join("schemas").join(path.file_name().unwrap())).unwrap();
        }
        fs::copy(own.join("model.toml"), dir.path().join("model.toml")).unwrap();
        let text = fs::read_to_string(own.join("partnership.example.toml")).unwrap();
        fs::write(dir.path().join("partnership.toml"), edit(text)).unwrap();
        dir
    }

    fn ui(json: bool) -> Ui {
        Ui { lang: Lang::Nl, json }
    }

    #[test]
    fn a_version_is_told_in_words_with_what_it_changes_first() {
        let old = folder(|text| text);
        let hash = load(&parts(old.path())).unwrap().hash();
        let new = folder(|text| {
            let version = format!("version = 2\nprevious = \"{hash}\"");
            text.replace("version = 1", &version).replace("Lokaal Team Noord", "Lokaal Team Zuid")
        });
        let bytes = old.path().join("old.cbor");
        fs::write(&bytes, load(&parts(old.path())).unwrap().to_bytes()).unwrap();
        let args = Review { files: parts(new.path()), against: vec![bytes], html: None };
        let (outcome, text) = captured(|| review(&args, ui(false)));
        assert_eq!(outcome.unwrap(), Outcome::Done);
        let sentence = text.find("De naam van partij 00000099000000008000 was").unwrap();
        assert!(sentence < text.find("Dit document").unwrap());
        let (outcome, line) = captured(|| review(&args, ui(true)));
        assert_eq!(outcome.unwrap(), Outcome::Done);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["version"], 2);
        assert_eq!(value["changes"].as_array().unwrap().len(), 1);
        let alone = Review { against: Vec::new(), ..args };
        let (_, line) = captured(|| review(&alone, ui(true)));
        assert!(serde_json::from_str::<Value>(&line).unwrap()["changes"].is_null());
    }

    #[test]
    fn a_page_is_written_and_never_over_something_else() {
        let dir = folder(|text| text);
        let args = |html: &str| Review {
            files: parts(dir.path()),
            against: Vec::new(),
            html: Some(dir.path().join(html)),
        };
        for _ in 0..2 {
            let (outcome, text) = captured(|| review(&args("review.html"), ui(false)));
            assert_eq!(outcome.unwrap(), Outcome::Done);
            assert!(text.contains("Geschreven: ") && text.contains("Hash: "), "{text}");
        }
        let page = fs::read_to_string(dir.path().join("review.html")).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"nl\">"));
        let before = fs::read(dir.path().join("model.toml")).unwrap();
        let complaint = review(&args("model.toml"), ui(false)).unwrap_err();
        assert!(complaint.what.nl.contains("eindigt niet op .html"), "{complaint:?}");
        assert_eq!(fs::read(dir.path().join("model.toml")).unwrap(), before);
    }

    #[test]
    fn findings_are_printed_and_end_in_no() {
        let lint_of = |dir: &tempfile::TempDir, json| {
            let args = Lint { files: parts(dir.path()) };
            let (outcome, text) = captured(|| lint(&args, ui(json)));
            (outcome.unwrap(), text)
        };
        let clean = folder(|text| text);
        let (outcome, text) = lint_of(&clean, false);
        assert!(outcome == Outcome::Done && text.contains("geen opmerkingen"), "{text}");
        let dirty = folder(|text| text.replace("expires = \"2028-01-01\"", "expires = \"2027-01-01\""));
        let (outcome, text) = lint_of(&dirty, false);
        assert!(outcome == Outcome::No && text.starts_with("W04 decisions[0] VB-2026-0017\n  "), "{text}");
        let (outcome, line) = lint_of(&dirty, true);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert!(outcome == Outcome::No && value["findings"][0]["code"] == "W04", "{line}");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        let dir = folder(|text| text.replace("role = \"politie\"", "role = \"polisie\""));
        let args = Lint { files: parts(dir.path()) };
        let complaint = lint(&args, ui(false)).unwrap_err();
        assert!(complaint.what.nl.contains("partnership.toml line"), "{complaint:?}");
        let whole = folder(|text| text);
        let gone = vec![whole.path().join("gone.cbor")];
        let args = Review { files: parts(whole.path()), against: gone, html: None };
        assert!(review(&args, ui(false)).unwrap_err().what.nl.contains("gone.cbor"));
    }
}
