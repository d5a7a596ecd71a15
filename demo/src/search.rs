//! Scene 7: the broker's files hold no byte of any body, while everything keeps running.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use memchr::memmem::Finder;
use seinhuis_tests::process;
use seinhuis_tests::stage::PATIENCE;
use serde_json::Value;

use crate::show::Show;
use crate::trouble::{Told, Trouble, check};

/// Entries in one bundle of the log: as long as there are fewer, the log has no files yet.
const BUNDLE: u64 = 256;

/// Shortest text to look for, in bytes.
const TEXT_MIN: usize = 12;

/// What to look for: what it stands for, and the bytes.
struct Word {
    name: String,
    finder: Finder<'static>,
}

impl Word {
    fn new(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.to_owned(), finder: Finder::new(bytes).into_owned() }
    }

    /// A text as it is, in hexadecimal, and as it looks inside base64, whatever stands before it.
    fn forms(text: &str) -> Vec<Self> {
        let bytes = text.as_bytes();
        let mut all = vec![Self::new(text, bytes), Self::new(text, HEXLOWER.encode(bytes).as_bytes())];
        for skipped in 0..3 {
            let rest = bytes.get(skipped..).unwrap_or_default();
            let whole = rest.get(..rest.len() / 3 * 3).unwrap_or_default();
            all.push(Self::new(text, BASE64.encode(whole).as_bytes()));
        }
        all
    }
}

/// What a search found and how much it looked at.
#[derive(Debug, Default)]
struct Found {
    files: usize,
    bytes: u64,
    /// Word and file.
    hits: Vec<(String, PathBuf)>,
}

/// Every regular file below `dir`.
fn files(dir: &Path, all: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files(&entry.path(), all)?;
        } else if kind.is_file() {
            all.push(entry.path());
        }
    }
    Ok(())
}

fn search(paths: &[PathBuf], words: &[Word], mut tell: impl FnMut()) -> io::Result<Found> {
    let mut found = Found::default();
    for path in paths {
        // A running broker renames and removes files; one that is gone holds nothing.
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        found.files += 1;
        found.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        for word in words.iter().filter(|word| word.finder.find(&bytes).is_some()) {
            found.hits.push((word.name.clone(), path.clone()));
        }
        tell();
    }
    Ok(found)
}

/// The broker's folder and the logs of all processes.
fn everything(show: &Show) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    files(&show.stage.broker_home(), &mut paths)?;
    let names = show.stage.members.iter().map(|member| member.role);
    paths.extend(names.chain(["broker"]).map(|name| show.stage.log_of(name)));
    Ok(paths)
}

/// Searches, with two controls: the same search finds what has to be there.
///
/// # Errors
/// When a body is found, or the search does not work.
pub(crate) fn play(show: &mut Show) -> Told {
    show.teller.scene(7, "Geen byte inhoud bij de broker", "No byte of content at the broker");
    let texts = all_texts(show);
    let words: Vec<Word> = texts.iter().flat_map(|text| Word::forms(text)).collect();
    control(show, &texts, &words)?;
    let paths = everything(show)?;
    let length = u64::try_from(paths.len()).unwrap_or_default();
    let bar = show.teller.bar(length, "bestanden doorzoeken", "searching files");
    let found = search(&paths, &words, || bar.inc(1))?;
    bar.finish_and_clear();
    if let Some((word, path)) = found.hits.first() {
        let at = path.display();
        return Err(Trouble::new(
            format!("Tekst uit een inhoud staat leesbaar in {at}: {word}"),
            format!("Text of a body is readable in {at}: {word}"),
        ));
    }
    let (files, mib, count) = (found.files, found.bytes >> 20, texts.len());
    show.teller.right(
        format!(
            "{files} bestanden, {mib} MiB: de hele map van de draaiende broker en de logs van alle processen"
        ),
        format!(
            "{files} files, {mib} MiB: the whole folder of the running broker and the logs of all processes"
        ),
    );
    show.teller.right(
        format!("geen van de {count} zinnen en namen staat erin, ook niet als base64 of hexadecimaal"),
        format!("none of the {count} sentences and names is in there, nor as base64 or hexadecimal"),
    );
    metadata(show)?;
    show.sum(
        ("inhoud bij de broker", format!("0 van {count} teksten gevonden in {files} bestanden ({mib} MiB)")),
        ("content at the broker", format!("0 of {count} texts found in {files} files ({mib} MiB)")),
    );
    Ok(())
}

/// Every text in a body that says something: the canaries, and all others with a space in them. Codes of
/// one word are in the covenant as well and would be found there.
fn all_texts(show: &Show) -> BTreeSet<String> {
    let mut texts: BTreeSet<String> = show.samples.iter().map(|sample| sample.canary.clone()).collect();
    for sample in &show.samples {
        gather(sample.value.get("body").unwrap_or(&Value::Null), &mut texts);
    }
    texts
}

fn gather(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.len() >= TEXT_MIN && text.contains(' ') => _ = texts.insert(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| gather(item, texts)),
        Value::Object(fields) => fields.values().for_each(|field| gather(field, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The search finds every text where it is: in the sample files.
fn control(show: &Show, texts: &BTreeSet<String>, words: &[Word]) -> Told {
    let paths: Vec<PathBuf> = show.samples.iter().map(|sample| sample.path.clone()).collect();
    let found = search(&paths, words, || ())?;
    let seen: BTreeSet<&String> = found.hits.iter().map(|(word, _)| word).collect();
    let missed = texts.iter().find(|text| !seen.contains(text));
    if let Some(text) = missed {
        return Err(Trouble::new(
            format!("De zoekopdracht vindt {text:?} niet in de voorbeeldsignalen."),
            format!("The search does not find {text:?} in the sample signals."),
        ));
    }
    let (count, signals) = (texts.len(), show.samples.len());
    show.teller.right(
        format!("controle: de zoekopdracht vindt {count} zinnen en namen in de {signals} voorbeeldsignalen"),
        format!("control: the search finds {count} sentences and names in the {signals} sample signals"),
    );
    Ok(())
}

/// The search finds what the broker has to keep, the id of the first message: in the journal, and in the
/// log's files once the log is long enough to have any.
fn metadata(show: &Show) -> Told {
    let words = [Word::new("msg_id", show.known.as_bytes())];
    let home = show.stage.broker_home();
    let status = show.stage.broker(&["status"])?;
    let size = status.pointer("/log/size").and_then(Value::as_u64).unwrap_or_default();
    let wanted = size >= BUNDLE;
    let (mut journal, mut log) = (false, false);
    let waited = process::until("the log's files", PATIENCE, || {
        let paths = everything(show).unwrap_or_default();
        let hits = search(&paths, &words, || ()).map(|found| found.hits).unwrap_or_default();
        journal = hits.iter().any(|(_, path)| path.starts_with(home.join("store")));
        log = hits.iter().any(|(_, path)| path.starts_with(home.join("log")));
        journal && (log || !wanted)
    });
    let id = &show.known;
    check(
        waited.is_ok() && !id.is_empty(),
        format!("De zoekopdracht vindt bericht {id} niet (journaal: {journal}, log: {log})."),
        format!("The search does not find message {id} (journal: {journal}, log: {log})."),
    )?;
    let (nl, en) = if log { ("journaal en log", "journal and log") } else { ("het journaal", "the journal") };
    show.teller.right(
        format!("controle: het kenmerk van het eerste bericht, {id}, staat er wel: in {nl}"),
        format!("control: the first message's id, {id}, is in there: in {en}"),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(content: &[u8], text: &str) -> usize {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("below")).unwrap();
        std::fs::write(dir.path().join("below/file"), content).unwrap();
        let mut paths = Vec::new();
        files(dir.path(), &mut paths).unwrap();
        let found = search(&paths, &Word::forms(text), || ()).unwrap();
        assert_eq!((found.files, found.bytes), (1, content.len() as u64));
        found.hits.len()
    }

    #[test]
    fn texts_that_say_something_are_gathered_wherever_they_are() {
        let body =
            serde_json::json!({ "a": ["Timo Verzonnen", "code_van_een_woord"], "b": { "c": "kort x" } });
        let mut texts = BTreeSet::new();
        gather(&body, &mut texts);
        assert_eq!(texts.into_iter().collect::<Vec<_>>(), ["Timo Verzonnen"]);
    }

    #[test]
    fn a_text_is_found_in_every_form_and_at_every_offset() {
        let text = "het hek langs de oude melkfabriek";
        for before in 0..4 {
            let mut content = vec![b'x'; before];
            content.extend_from_slice(text.as_bytes());
            content.extend_from_slice(b"after");
            assert!(hits(&content, text) > 0, "plain at {before}");
            assert!(hits(BASE64.encode(&content).as_bytes(), text) > 0, "base64 at {before}");
            assert!(hits(HEXLOWER.encode(&content).as_bytes(), text) > 0, "hexadecimal at {before}");
        }
        assert_eq!(hits(b"het hek langs de oude melkfabrie", text), 0);
    }
}
