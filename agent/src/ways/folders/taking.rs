//! Files that are handed over: each a signal with its addressing, or a bare body.
//!
//! The message id follows from the content, so that a file that is taken again, because the agent stopped in between or
//! because somebody left it twice, is the same message and nothing is sent twice.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use std::time::Instant;

use seinhuis_shared::limits::BODY_MAX;
use seinhuis_shared::signing::sha256;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;

use super::Agent;
use super::csv::Csv;
use super::place::{Looked, Name, Place, Seen, at};
use super::receipts::{Receipts, refusal};
use super::watch::{Found, Stamp, Watch};
use crate::commands::request::{Look, PushText, Request};
use crate::commands::signal;
use crate::config::Folder;

/// Most bytes of a file with one signal: a body with its addressing.
const FILE_MAX: usize = BODY_MAX * 2;

/// A folder whose files are handed over.
#[derive(Debug)]
pub(super) struct Out {
    folder: Folder,
    place: Place,
    watch: Watch,
    receipts: Option<Receipts>,
    csv: Option<Csv>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Sent,
    Refused,
    /// It stays where it is until the next look.
    Later,
}

impl Taken {
    /// What becomes of a file that is refused, if it is still there.
    pub(super) const fn refused(there: bool) -> Self {
        if there { Self::Refused } else { Self::Later }
    }
}

/// What a file turns out to be.
enum Content {
    Bytes(Vec<u8>),
    /// Somebody is at it.
    Changing,
    Wrong(Complaint),
}

impl Out {
    pub(super) fn new(dir: &Path, folder: &Folder, csv: Option<Csv>) -> Self {
        let (folder, place) = (folder.clone(), Place::new(dir));
        Self { folder, place, watch: Watch::default(), receipts: None, csv }
    }

    /// Looks once: follows what was handed over, and takes what is whole. Whether there is more to do at once.
    ///
    /// # Errors
    /// What is wrong with the folder, or holds up a file in it. Nothing is lost by that.
    pub(super) fn look(&mut self, agent: &Agent) -> Result<bool, Complaint> {
        self.place.ready()?;
        if self.receipts.is_none() {
            self.place.clear()?;
            self.receipts = Some(Receipts::restore(&self.place)?);
        }
        // Neither kind of file holds up the other, nor what becomes of those before.
        let followed = self.receipts.as_mut().map_or(Ok(()), |receipts| receipts.follow(&self.place, agent));
        let rows = self.rows(agent);
        let more = self.take_whole(agent)?;
        let more = rows? || more;
        followed.map(|()| more)
    }

    /// Goes on with the CSV file that is under way. Whether there is more to do at once.
    fn rows(&mut self, agent: &Agent) -> Result<bool, Complaint> {
        let Some(csv) = &mut self.csv else { return Ok(false) };
        csv.restore(&self.place)?;
        let followed = csv.follow(&self.place, agent);
        let more = csv.go_on(&self.place, agent)?;
        followed.map(|()| more)
    }

    /// Takes the files that are whole. Whether there is more to do at once.
    fn take_whole(&mut self, agent: &Agent) -> Result<bool, Complaint> {
        let (whole, more) = self.watch.look(&self.place.dir, Instant::now()).map_err(at(&self.place.dir))?;
        if whole.is_empty() {
            return Ok(false);
        }
        self.place.probe()?;
        let (mut held_up, mut refused) = (None, 0_u64);
        for found in &whole {
            if agent.stopping() {
                return Ok(false);
            }
            match self.take(found, agent) {
                Ok(Taken::Refused) => refused = refused.saturating_add(1),
                Ok(Taken::Sent | Taken::Later) => {}
                Err(complaint) => {
                    // Another file may be fine, unless it is the agent that cannot take any.
                    let all = complaint.refusal.is_some_and(super::is_passing);
                    held_up = Some(complaint);
                    if all {
                        break;
                    }
                }
            }
        }
        if refused > 0 {
            tracing::warn!(folder = self.folder.name, refused, "files were refused; why is beside them");
        }
        held_up.map_or(Ok(more), Err)
    }

    fn refuse(&self, file: Looked<'_>, why: &Complaint) -> Result<Taken, Complaint> {
        self.place.refuse(file, why).map(Taken::refused)
    }

    fn take(&mut self, found: &Found, agent: &Agent) -> Result<Taken, Complaint> {
        let (path, name) = (self.place.dir.join(&found.name), Name::of(&found.name));
        if let Some(csv) = self.csv.as_mut().filter(|_| found.kind.is_file() && name.ending == "csv") {
            // One at a time; the others wait where they are.
            return if csv.is_busy() { Ok(Taken::Later) } else { csv.begin(&self.place, &path, found) };
        }
        let bytes = match self.content(&path, &name, found)? {
            Content::Changing => return Ok(Taken::Later),
            Content::Wrong(why) => {
                return self.refuse(Looked { path: &path, name: &name, seen: Seen::Outside(found) }, &why);
            }
            Content::Bytes(bytes) => bytes,
        };
        let file = Looked { path: &path, name: &name, seen: Seen::Bytes(&bytes) };
        let id = agent.msg_id(&self.folder.name, &sha256(&bytes).0)?;
        let pushed = match self.signal(&bytes, &id).and_then(|text| agent.begin(&text)) {
            Ok(answer) => agent.end(answer)?,
            Err(why) => Err(why),
        };
        let pushed = match pushed {
            Ok(pushed) => pushed,
            Err(why) => return self.refuse(file, &why),
        };
        let value = agent.ask(Request::Look(Look::Message { msg_id: id.clone() }))?;
        if let Some(why) = refusal(&value) {
            return self.refuse(file, &again(&why, &id));
        }
        let receipts = self.receipts.get_or_insert_default();
        receipts.sent(&self.place, file, &value, pushed.repeated)?;
        Ok(Taken::Sent)
    }

    fn content(&self, path: &Path, name: &Name, found: &Found) -> Result<Content, Complaint> {
        if !found.kind.is_file() {
            return Ok(Content::Wrong(not_a_file()));
        }
        if name.ending != "json" {
            return Ok(Content::Wrong(not_known(name.ending == "csv")));
        }
        let mut file = match open(path, found.stamp) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Content::Changing),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Ok(Content::Wrong(not_readable()));
            }
            Err(error) => return Err(at(&self.place.dir)(error)),
        };
        if found.stamp.size() > u64::try_from(FILE_MAX).unwrap_or(u64::MAX) {
            return Ok(Content::Wrong(too_large(FILE_MAX)));
        }
        let mut bytes = Vec::new();
        // One byte more than was seen tells that the file grew.
        let most = found.stamp.size().saturating_add(1);
        (&mut file).take(most).read_to_end(&mut bytes).map_err(at(&self.place.dir))?;
        let after = Stamp::of(&file.metadata().map_err(at(&self.place.dir))?);
        let whole = after == found.stamp && u64::try_from(bytes.len()) == Ok(found.stamp.size());
        Ok(if whole { Content::Bytes(bytes) } else { Content::Changing })
    }

    /// What a file says, addressed as the folder says where it is a bare body.
    fn signal(&self, bytes: &[u8], id: &str) -> Result<PushText, Complaint> {
        // Windows begins texts with a mark that JSON does not know.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut text = signal::read(bytes).map_err(|error| signal::wrong(&error))?;
        if text.flow.is_empty() {
            text = self.folder.defaults().addressed().push_text(id, bytes);
        }
        id.clone_into(&mut text.msg_id);
        addressed(text)
    }
}

/// A push that says under which flow and to whom.
pub(in crate::ways) fn addressed(text: PushText) -> Result<PushText, Complaint> {
    let missing = match (text.flow.is_empty(), text.to.is_empty()) {
        (true, _) => "flow",
        (_, true) => "to",
        (false, false) => return Ok(text),
    };
    Err(Complaint::usage(
        Text::new(format!("{missing} ontbreekt."), format!("{missing} is missing.")),
        Text::new(
            "Lever een seinbestand met flow, to, step en body, of zet flow en to in de mapping of bij deze bron in agent.toml.",
            "Supply a signal file with flow, to, step and body, or set flow and to in the mapping or of this source in agent.toml.",
        ),
    ))
}

/// Opens a file if it is still the one that was seen.
pub(super) fn open(path: &Path, seen: Stamp) -> io::Result<Option<File>> {
    let file = match files::open_itself(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    Ok(Some(file).filter(|_| meta.is_file() && Stamp::of(&meta) == seen))
}

fn not_a_file() -> Complaint {
    Complaint::usage(
        Text::new(
            "Dit is een verwijzing of iets anders dan een gewoon bestand; de agent volgt die nooit.",
            "This is a link, or something else than a regular file; the agent never follows those.",
        ),
        Text::new("Zet het bestand zelf in de map.", "Put the file itself in the folder."),
    )
}

fn not_known(csv: bool) -> Complaint {
    if csv {
        return Complaint::usage(
            Text::new(
                "Deze map neemt geen CSV aan: er staat niet bij welke kolom welk veld is.",
                "This folder takes no CSV: nothing says which column is which field.",
            ),
            Text::new(
                "Maak een mapping, noem hem bij deze [[folder]] in agent.toml en start de agent opnieuw (docs/folders.md).",
                "Make a mapping, name it with this [[folder]] in agent.toml and start the agent anew (docs/folders.md).",
            ),
        );
    }
    Complaint::usage(
        Text::new(
            "Alleen bestanden met de naam .json of .csv worden verstuurd.",
            "Only files whose name ends in .json or .csv are sent.",
        ),
        Text::new(
            "Lever het sein als JSON-bestand aan, met een naam die op .json eindigt.",
            "Supply the signal as a JSON file with a name that ends in .json.",
        ),
    )
}

pub(super) fn not_readable() -> Complaint {
    Complaint::usage(
        Text::new("De agent mag dit bestand niet lezen.", "The agent may not read this file."),
        Text::new(
            "Geef de gebruiker van de agent leesrecht en zet het bestand terug in de map.",
            "Give the agent's user permission to read, and put the file back in the folder.",
        ),
    )
}

fn too_large(most: usize) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("Het bestand is groter dan de toegestane {most} bytes."),
            format!("The file is larger than the allowed {most} bytes."),
        ),
        Text::new("Controleer of dit het juiste bestand is.", "Check that this is the right file."),
    )
}

/// The same file came before, and was refused then.
fn again(why: &Complaint, id: &str) -> Complaint {
    let mut why = why.clone().about(id);
    why.advice = Text::new(
        format!(
            "{} Dezelfde inhoud nogmaals neerzetten verstuurt niets; pas de inhoud aan, of verstuur met `seinhuis-agent push`.",
            why.advice.nl
        ),
        format!(
            "{} Leaving the same content again sends nothing; change the content, or send it with `seinhuis-agent push`.",
            why.advice.en
        ),
    );
    why
}

#[cfg(test)]
mod tests {
    use std::fs;

    use data_encoding::BASE64;

    use super::*;

    fn out(more: &Folder) -> Out {
        Out::new(Path::new("/nowhere"), more, None)
    }

    #[test]
    fn a_bare_body_is_addressed_as_its_folder_says_and_a_signal_as_it_says_itself() {
        let folder =
            Folder { flow: "F01".into(), to: vec!["gemeente".into()], step: "1".into(), ..Folder::default() };
        let text = out(&folder).signal(b"\xef\xbb\xbf{\"a\": 1}", "id").unwrap();
        assert_eq!((text.flow.as_str(), text.step.as_deref(), text.case), ("F01", Some("1"), None));
        assert_eq!(BASE64.decode(text.body.as_bytes()).unwrap(), b"{\"a\": 1}");
        assert_eq!(text.msg_id, "id");
        let file = br#"{"flow": "F02", "to": ["om"], "body": {}}"#;
        let text = out(&folder).signal(file, "id").unwrap();
        assert_eq!((text.flow.as_str(), text.to[0].as_str(), text.step), ("F02", "om", None));
        let none = Folder::default();
        assert!(out(&none).signal(b"{}", "id").unwrap_err().what.en.contains("flow"));
        let to = br#"{"flow": "F02", "body": {}}"#;
        assert!(out(&folder).signal(to, "id").unwrap_err().what.en.contains("to is missing"));
    }

    #[test]
    fn a_mistake_is_told_by_its_place_and_never_by_what_stands_there() {
        let file = b"{\"flow\": \"F02\",\n \"to\": \"Jan Jansen\", \"body\": {}}";
        let told = out(&Folder::default()).signal(file, "id").unwrap_err();
        assert!(told.what.en.contains("line 2"), "{told}");
        assert!(!format!("{told:?}").contains("Jan"), "{told}");
    }

    #[test]
    fn a_file_that_changed_since_it_was_seen_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, "1").unwrap();
        let seen = Stamp::of(&fs::metadata(&path).unwrap());
        assert!(open(&path, seen).unwrap().is_some());
        fs::write(&path, "12").unwrap();
        assert!(open(&path, seen).unwrap().is_none(), "longer");
        fs::remove_file(&path).unwrap();
        assert!(open(&path, seen).unwrap().is_none(), "gone");
    }

    #[test]
    fn what_is_not_one_signal_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let seen = |name: &str| {
            let meta = fs::symlink_metadata(place(name)).unwrap();
            Found { name: name.into(), stamp: Stamp::of(&meta), kind: meta.file_type() }
        };
        fs::write(place("a.json"), "{}").unwrap();
        fs::write(place("a.docx"), "x").unwrap();
        fs::write(place("large.json"), vec![b' '; FILE_MAX + 1]).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", place("link.json")).unwrap();
        let out = Out::new(dir.path(), &Folder::default(), None);
        let content = |name: &str| {
            let found = seen(name);
            match out.content(&place(name), &Name::of(&found.name), &found).unwrap() {
                Content::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
                Content::Changing => "changing".into(),
                Content::Wrong(why) => why.what.en,
            }
        };
        assert_eq!(content("a.json"), "{}");
        assert!(content("a.docx").contains(".json"));
        assert!(content("large.json").contains("larger than"));
        assert!(content("link.json").contains("link"));
    }
}
