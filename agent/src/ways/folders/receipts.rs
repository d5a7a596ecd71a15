//! What became of each file: a receipt beside it, completed when the broker's verdict comes.
//!
//! The receipts in `sent` are the list of what is open: who tidies that folder ends the following of what was in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use seinhuis_agent_core::Stage;
use seinhuis_shared::ids::MsgId;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use serde_json::{Map, Value, json};

use super::Agent;
use super::place::{Looked, Name, Place, at, cannot_write, exists, explained, is_itself};
use crate::commands::request::{Look, Request};

/// Most bytes of a receipt.
const RECEIPT_MAX: usize = 64 * 1024;
/// What a receipt is called beside its file.
const RECEIPT: &str = "receipt.json";
/// The parts of a message that a receipt has.
const PARTS: [&str; 10] =
    ["msg_id", "state", "flow", "step", "case", "to", "decided", "packet", "refusal", "receipt"];

/// The files of which more is to become, by what they are called in `sent`.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    open: BTreeMap<String, (String, MsgId)>,
}

impl Receipts {
    /// Reads which are open.
    pub(super) fn restore(place: &Place) -> Result<Self, Complaint> {
        let mut open = BTreeMap::new();
        for entry in fs::read_dir(&place.sent).map_err(at(&place.sent))? {
            let name = entry.map_err(at(&place.sent))?.file_name();
            let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".receipt.json")) else {
                continue;
            };
            if let Some((ending, id)) = read(place, stem).as_ref().and_then(is_open) {
                open.insert(stem.to_owned(), (ending, id));
            }
        }
        Ok(Self { open })
    }

    /// Puts a file that was handed over in `sent`, with its receipt. One that was replaced meanwhile has its receipt
    /// alone: what stands in its place is another.
    pub(super) fn sent(
        &mut self,
        place: &Place,
        file: Looked<'_>,
        value: &Value,
        repeated: bool,
    ) -> Result<(), Complaint> {
        is_itself(&place.sent)?;
        let id = text(value, "msg_id");
        // One that was written just before the agent stopped is of this very file.
        let own = |name: &Name| {
            let same = read(place, &name.stem)
                .is_some_and(|it| it.get("msg_id").and_then(Value::as_str) == Some(id));
            Ok(name.is_free(&place.sent)? || (same && !exists(&place.sent.join(name.file()))?))
        };
        let name = file.name.free(own).map_err(at(&place.sent))?;
        let mut receipt = Map::new();
        receipt.insert("file".into(), name.file().into());
        receipt.insert("taken".into(), clock::now().to_string().into());
        receipt.insert("repeated".into(), repeated.into());
        if repeated {
            let note = Text::new(
                "Deze inhoud was al eerder aangeboden; er is niets nogmaals verstuurd.",
                "This content was handed over before; nothing was sent again.",
            );
            receipt.insert("note".into(), json!({ "nl": note.nl, "en": note.en }));
        }
        let receipt = with(receipt, value);
        write(place, &name.stem, &receipt)?;
        place.take_away(file.path, &place.sent.join(name.file()), file.seen).map_err(at(&place.sent))?;
        if let Some((ending, id)) = is_open(&receipt) {
            self.open.insert(name.stem, (ending, id));
        }
        Ok(())
    }

    /// Completes the receipts of what has its verdict by now.
    pub(super) fn follow(&mut self, place: &Place, agent: &Agent) -> Result<(), Complaint> {
        if self.open.is_empty() {
            return Ok(());
        }
        let ids: Vec<MsgId> = self.open.values().map(|(_, id)| *id).collect();
        let stages = agent.query(move |view| {
            ids.iter().map(|id| view.core.find(id).map(|(_, stage)| stage)).collect::<Vec<_>>()
        })?;
        let all: Vec<String> = self.open.keys().cloned().collect();
        let mut wrong = None;
        for (stem, stage) in all.iter().zip(stages) {
            if matches!(stage, Some(Stage::Draft | Stage::Held | Stage::Sealed)) || agent.stopping() {
                continue;
            }
            let Some((ending, id)) = self.open.get(stem) else { continue };
            // A message that this agent does not know is of another agent that had this folder.
            if stage.is_some()
                && let Err(complaint) = complete(place, (stem, ending), id, agent)
            {
                // It is tried again; the others do not wait for it.
                wrong.get_or_insert(complaint);
                continue;
            }
            self.open.remove(stem);
        }
        wrong.map_or(Ok(()), Err)
    }
}

fn complete(place: &Place, (stem, ending): (&str, &str), id: &MsgId, agent: &Agent) -> Result<(), Complaint> {
    let value = agent.ask(Request::Look(Look::Message { msg_id: id.to_string() }))?;
    is_itself(&place.sent).and_then(|()| is_itself(&place.refused))?;
    // One that was taken away meanwhile is not missed.
    let Some(receipt) = read(place, stem) else { return Ok(()) };
    let receipt = with(receipt, &value);
    write(place, stem, &receipt)?;
    let Some(why) = refusal(&value) else { return Ok(()) };
    let name = Name { stem: stem.to_owned(), ending: ending.to_owned() };
    let free = name.free(|name| name.is_free(&place.refused)).map_err(at(&place.refused))?;
    explained(&place.refused, &free, &why, || aside(place, &name, &free).map(|()| true)).map(|_| ())
}

/// Moves a file of `sent` and its receipt to `refused`: both or neither.
fn aside(place: &Place, name: &Name, free: &Name) -> io::Result<()> {
    let (from, to) = (place.sent.join(name.file()), place.refused.join(free.file()));
    // Who tidies `sent` may have left the receipt.
    let there = exists(&from)?;
    if there {
        files::move_new(&from, &to)?;
    }
    let receipt =
        files::move_new(&place.sent.join(name.beside(RECEIPT)), &place.refused.join(free.beside(RECEIPT)));
    if there && receipt.is_err() {
        files::move_new(&to, &from)?;
    }
    receipt
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A receipt with how the message stands now.
fn with(mut receipt: Map<String, Value>, value: &Value) -> Map<String, Value> {
    for key in PARTS {
        receipt.insert(key.into(), value.get(key).cloned().unwrap_or_default());
    }
    receipt
}

fn read(place: &Place, stem: &str) -> Option<Map<String, Value>> {
    let path = place.sent.join(format!("{stem}.{RECEIPT}"));
    serde_json::from_slice(&files::read_itself(&path, RECEIPT_MAX).ok()?).ok()
}

fn write(place: &Place, stem: &str, receipt: &Map<String, Value>) -> Result<(), Complaint> {
    let text = serde_json::to_string_pretty(receipt).map_err(|error| Complaint::bug(error.to_string()))?;
    files::write_shared(&place.sent.join(format!("{stem}.{RECEIPT}")), text.as_bytes(), Existing::Replace)
        .map_err(|_| cannot_write(&place.sent))
}

/// The ending of the file and the message of a receipt in `sent`, if there is more to become of it: a verdict, or its way
/// to `refused`, which a stop of the agent may have cut off.
fn is_open(receipt: &Map<String, Value>) -> Option<(String, MsgId)> {
    let text = |key: &str| receipt.get(key).and_then(Value::as_str);
    let open = text("state")
        .is_some_and(|state| matches!(state, "draft" | "held" | "sealed" | "refused" | "expired" | "denied"));
    let ending = Path::new(text("file")?).extension().unwrap_or_default().to_str()?;
    let id = text("msg_id")?.parse().ok()?;
    open.then(|| (ending.to_owned(), id))
}

/// Why a message of the outbox did not get through, if it did not.
pub(crate) fn refusal(value: &Value) -> Option<Complaint> {
    let number = value.pointer("/refusal/number").and_then(Value::as_u64);
    let known = number.and_then(|number| u16::try_from(number).ok()).and_then(Refusal::from_number);
    match (text(value, "state"), known) {
        ("denied", _) => {
            let id = text(value, "msg_id");
            Some(Complaint::refused(
                Text::new(
                    "Een mens in uw organisatie heeft dit bericht tegengehouden.",
                    "A person in your organisation denied this message.",
                ),
                Text::new(
                    format!("`seinhuis-agent outbox show {id}` zegt wie en waarom."),
                    format!("`seinhuis-agent outbox show {id}` says who and why."),
                ),
            ))
        }
        ("refused" | "expired", Some(refusal)) => Some(Complaint::from_refusal(refusal)),
        ("refused" | "expired", None) => Some(Complaint::from_refusal(Refusal::Expired)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ways::folders::place::Seen;

    const ID: &str = "01a20c7a-7b9f-7ad8-aa06-85eefba62cd3";

    fn ready() -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        place.ready().unwrap();
        (dir, place)
    }

    #[test]
    fn a_file_and_its_receipt_go_to_what_was_refused_together_or_not_at_all() {
        let (_dir, place) = ready();
        let name = Name::of("a.json".as_ref());
        let here = ["a.json", "a.receipt.json"].map(|name| place.sent.join(name));
        let there = ["a.json", "a.receipt.json"].map(|name| place.refused.join(name));
        for path in here.iter().chain([&there[1]]) {
            fs::write(path, "x").unwrap();
        }
        assert!(aside(&place, &name, &name).is_err(), "its place is taken");
        assert!(here.iter().all(|path| path.exists()) && !there[0].exists());
        fs::remove_file(&there[1]).unwrap();
        aside(&place, &name, &name).unwrap();
        assert!(there.iter().all(|path| path.exists()) && !here.iter().any(|path| path.exists()));
    }

    #[test]
    fn a_receipt_that_is_a_link_is_not_read() {
        let (dir, place) = ready();
        let key = dir.path().join("key");
        fs::write(&key, "{}").unwrap();
        std::os::unix::fs::symlink(&key, place.sent.join("a.receipt.json")).unwrap();
        assert!(read(&place, "a").is_none(), "what is in it would be written to the receipt");
        fs::rename(&key, place.sent.join("b.receipt.json")).unwrap();
        assert!(read(&place, "b").is_some());
    }

    #[test]
    fn a_file_that_was_replaced_while_it_was_handed_over_has_a_receipt_and_the_other_stays() {
        let (dir, place) = ready();
        let (from, name) = (dir.path().join("a.json"), Name::of("a.json".as_ref()));
        fs::write(&from, "new").unwrap();
        let mut receipts = Receipts::default();
        let value = json!({ "msg_id": ID, "state": "draft" });
        let file = Looked { path: &from, name: &name, seen: Seen::Bytes(b"old") };
        receipts.sent(&place, file, &value, false).unwrap();
        assert_eq!(fs::read_to_string(&from).unwrap(), "new");
        assert!(!place.sent.join("a.json").exists() && place.sent.join("a.receipt.json").exists());
        assert!(receipts.open.contains_key("a"), "its verdict is waited for");
    }
}
