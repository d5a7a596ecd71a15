//! The rows of a CSV file, handed over a few at a time.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use data_encoding::HEXLOWER;
use seinhuis_agent_core::Pushed;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;

use super::decode::{Fault, Reader, Row, write_row};
use super::{Csv, Job, encoding};
use crate::commands::request::{Look, Request};
use crate::ways::folders::Agent;
use crate::ways::folders::place::{Place, at, cannot_add, exists, is_itself};
use crate::ways::folders::receipts::refusal;
use crate::ways::folders::taking::open;
use crate::ways::rows::cells::{Cell, neutral, text};
use crate::ways::rows::mapping::Mapping;
use crate::ways::rows::{Addressed, Named, about, begin, said, trimmed};

/// Most rows of one look, so that other files of the folder have their turn.
const LOOK_MAX: usize = 1000;
/// Most rows that are handed over together.
const ROWS_MAX: usize = 200;
/// Most bytes of those.
const BYTES_MAX: u64 = 4 << 20;

/// What became of a row.
struct Done {
    line: u64,
    /// As they were, for who is to correct them.
    cells: Vec<String>,
    result: Result<Pushed, Text>,
}

impl Csv {
    /// Hands over the next rows of the file that is under way. Whether there is more to do at once.
    pub(in super::super) fn go_on(&mut self, place: &Place, agent: &Agent) -> Result<bool, Complaint> {
        let mut left = LOOK_MAX;
        while left > 0 && !agent.stopping() {
            let Some(mut job) = self.state.as_ref().and_then(|state| state.job.clone()) else {
                return Ok(false);
            };
            let path = place.sent.join(job.file());
            // What stands there now, be it a link or a file that may not be read, is not what was put there.
            let changed = [ErrorKind::InvalidInput, ErrorKind::PermissionDenied];
            let opened = match open(&path, job.stamp) {
                Err(error) if changed.contains(&error.kind()) => None,
                opened => opened.map_err(at(&place.sent))?,
            };
            let Some(mut file) = opened else {
                let read = job.at >= job.stamp.size();
                let ended = if read { self.finish(place, job) } else { self.give_up(place, job, None) };
                return ended.map(|()| true);
            };
            file.seek(SeekFrom::Start(job.at)).map_err(at(&place.sent))?;
            let mut reader = Reader::resumed(BufReader::new(file), job.separator, job.at, job.line);
            let (mut rows, places) = chunk(&mut reader, left.min(ROWS_MAX)).map_err(at(&place.sent))?;
            let lost = rows.iter().zip(&places).position(|(row, (_, next))| row.is_lost(*next));
            let lost = lost.and_then(|at| rows.split_off(at).into_iter().next());
            if rows.is_empty() {
                match lost {
                    Some(row) => self.give_up(place, job, Some(&row))?,
                    None => self.finish(place, job)?,
                }
                return Ok(true);
            }
            left = left.saturating_sub(rows.len());
            let (done, held_up) = self.hand_over(&job, rows, agent)?;
            if let Some((at, line)) = done.len().checked_sub(1).and_then(|last| places.get(last)) {
                (job.at, job.line) = (*at, *line);
            }
            job.write(place, &done)?;
            self.state.get_or_insert_default().job = Some(job);
            self.keep()?;
            if let Some(complaint) = held_up {
                return Err(complaint);
            }
        }
        Ok(true)
    }

    /// What became of the first of these rows, and what holds up the rest.
    fn hand_over(
        &self,
        job: &Job,
        rows: Vec<Row>,
        agent: &Agent,
    ) -> Result<(Vec<Done>, Option<Complaint>), Complaint> {
        let read = rows.iter().map(|row| ready(&self.mapping, &self.otherwise, job, row)).collect();
        let begun = begin(agent, &format!("folder/{}", self.way), read)?;
        let mut done = Vec::new();
        for (row, begun) in rows.into_iter().zip(begun) {
            let result = match begun.map(|answer| agent.end(answer).and_then(|pushed| outcome(pushed, agent)))
            {
                Ok(Ok(result)) => result,
                Ok(Err(held_up)) => return Ok((done, Some(held_up))),
                Err(why) => Err(said(&why)),
            };
            let lossy = |cells: Vec<Vec<u8>>| {
                let shown = |cell: Vec<u8>| {
                    let good = text(&cell, encoding(&self.mapping, job.marked)).ok();
                    good.unwrap_or_else(|| String::from_utf8_lossy(&cell).into_owned())
                };
                cells.into_iter().map(shown).collect()
            };
            done.push(Done { line: row.line, cells: row.cells.map(lossy).unwrap_or_default(), result });
        }
        Ok((done, None))
    }

    /// All rows were read.
    fn finish(&mut self, place: &Place, mut job: Job) -> Result<(), Complaint> {
        let (sent, refused) = (job.accepted, job.refused);
        if refused > 0 {
            let text = format!(
                "\n{sent} rijen aangenomen, {refused} geweigerd. Verbeter de rijen in {0} en zet dat bestand opnieuw in de map.\n\
                 {sent} rows taken, {refused} refused. Correct the rows in {0} and put that file in the folder again.\n",
                job.file()
            );
            job.tell(place, &text)?;
        }
        if sent == 0 && refused > 0 {
            job.give_back(place)?;
        } else if sent == 0 {
            job.receipts(place, "")?;
        }
        tracing::info!(folder = self.way, sent, refused, "a CSV file is done");
        let state = self.state.get_or_insert_default();
        state.job = None;
        if sent > 0 {
            state.following.insert(job.stem);
        }
        self.keep()
    }

    /// Not all rows can be handed over: the file was changed or taken away, or it is lost in it where rows begin and end.
    fn give_up(&mut self, place: &Place, mut job: Job, lost: Option<&Row>) -> Result<(), Complaint> {
        let line = lost.map_or(job.line, |row| row.line);
        let given_back = lost.is_some() && job.accepted == 0;
        let (nl, en) = lost.and_then(|row| row.cells.as_ref().err()).map_or_else(
            || {
                (
                    "Het bestand in sent is gewijzigd of weggehaald terwijl het werd verstuurd.".to_owned(),
                    "The file in sent was changed or taken away while it was being sent.".to_owned(),
                )
            },
            |wrong| {
                let (why, stem) = (fault(*wrong), &job.stem);
                let file = if given_back {
                    format!("refused/{}", job.original())
                } else {
                    format!("sent/{stem}.csv")
                };
                (
                    format!("regel {line}: {}. Het hele bestand staat in {file}.", why.nl),
                    format!("line {line}: {}. The whole file is {file}.", why.en),
                )
            },
        );
        job.tell(
            place,
            &format!(
                "\n{nl} Vanaf regel {line} is niets verstuurd; zet die rijen in een nieuw bestand in de map.\n\
                 {en} From line {line} on nothing was sent; put those rows in the folder in a new file.\n"
            ),
        )?;
        if given_back {
            job.give_back(place)?;
        }
        let state = self.state.get_or_insert_default();
        state.job = None;
        if job.accepted > 0 {
            state.following.insert(job.stem);
        }
        self.keep()
    }
}

/// The next rows, and where each ends.
type Chunk = (Vec<Row>, Vec<(u64, u64)>);

fn chunk(reader: &mut Reader<BufReader<File>>, most: usize) -> io::Result<Chunk> {
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    let begun = reader.place().0;
    while rows.len() < most && reader.place().0.saturating_sub(begun) < BYTES_MAX {
        let Some(row) = reader.next()? else { break };
        rows.push(row);
        places.push(reader.place());
    }
    Ok((rows, places))
}

/// What became of a row that was handed over. One that is of a message that came to nothing before is refused: it is not
/// sent again.
fn outcome(pushed: Result<Pushed, Complaint>, agent: &Agent) -> Result<Result<Pushed, Text>, Complaint> {
    let pushed = match pushed {
        Ok(pushed) if pushed.repeated => pushed,
        pushed => return Ok(pushed.map_err(|why| said(&why))),
    };
    let value = agent.ask(Request::Look(Look::Message { msg_id: pushed.msg_id.to_string() }))?;
    Ok(refusal(&value).map_or(Ok(pushed), |why| {
        let why = said(&why);
        Err(Text::new(
            format!("deze rij is al eerder aangeboden en wordt niet nogmaals verstuurd; toen: {}", why.nl),
            format!("this row was handed over before and is not sent again; what became of it: {}", why.en),
        ))
    }))
}

fn fault(fault: Fault) -> Text {
    match fault {
        Fault::TooLong => Text::new("de rij is te lang", "the row is too long"),
        Fault::AfterQuote => Text::new(
            "na een aanhalingsteken dat een cel sluit staat nog tekst",
            "there is text after a quote that closes a cell",
        ),
        Fault::Unclosed => {
            Text::new("een aanhalingsteken wordt niet gesloten", "a quote is opened and never closed")
        }
    }
}

/// Reads a row as the mapping says, and what its message is called.
fn ready(mapping: &Mapping, otherwise: &Addressed, job: &Job, row: &Row) -> Named {
    let bytes = row.cells.as_ref().map_err(|wrong| fault(*wrong))?;
    if bytes.len() != job.header.len() {
        let (found, wanted) = (bytes.len(), job.header.len());
        return Err(Text::new(
            format!(
                "de rij heeft {found} cellen en de kopregel {wanted}; staat er ergens een scheidingsteken te veel?"
            ),
            format!("the row has {found} cells and the header {wanted}; is there a separator too many?"),
        ));
    }
    let cell = |column: &str| {
        let at = job.header.iter().position(|cell| cell == column);
        let bytes = at.and_then(|at| bytes.get(at)).map(Vec::as_slice).unwrap_or_default();
        text(bytes, encoding(mapping, job.marked)).map(Cell::Text).map_err(|why| about(column, &why))
    };
    let ready = crate::ways::rows::ready(mapping, mapping.decimal, otherwise, cell)?;
    let name = if mapping.id.is_empty() {
        let hash = HEXLOWER.decode(job.hash.as_bytes()).unwrap_or_default();
        [hash.as_slice(), &row.line.to_be_bytes()].concat()
    } else {
        let id = trimmed(cell, &mapping.id)?;
        if id.is_empty() {
            return Err(about(&mapping.id, &Text::new("is leeg", "is empty")));
        }
        [b"id:", id.as_bytes()].concat()
    };
    Ok((ready, name))
}

/// The body of a row, as it would be handed over.
pub(super) fn body(mapping: &Mapping, job: &Job, row: &Row) -> Result<Vec<u8>, Text> {
    ready(mapping, &Addressed::default(), job, row).map(|(ready, _)| ready.body)
}

impl Job {
    /// What the file is called in `refused`.
    fn original(&self) -> String {
        format!("{}.origineel.csv", self.stem)
    }

    /// A file of which nothing was sent does not stay among those that were.
    fn give_back(&self, place: &Place) -> Result<(), Complaint> {
        is_itself(&place.refused)?;
        let here = place.sent.join(self.file());
        if exists(&here).map_err(at(&place.sent))? {
            files::move_new(&here, &place.refused.join(self.original())).map_err(at(&place.refused))?;
        }
        Ok(())
    }

    /// Writes what became of rows to the files beside the file.
    fn write(&mut self, place: &Place, done: &[Done]) -> Result<(), Complaint> {
        let (mut receipts, mut rows, mut told) = (String::new(), String::new(), String::new());
        for done in done {
            match &done.result {
                Ok(pushed) => {
                    let repeated = if pushed.repeated { "ja" } else { "nee" };
                    let (id, state) = (pushed.msg_id.to_string(), pushed.stage.as_str().to_owned());
                    let cells = [done.line.to_string(), id, state, repeated.to_owned(), String::new()];
                    write_row(&mut receipts, b';', cells);
                    self.accepted = self.accepted.saturating_add(1);
                }
                Err(why) => {
                    let line = done.line;
                    let reason = format!("{} / {}", why.nl, why.en);
                    told.extend([
                        format!("regel {line}: {}\n", why.nl),
                        format!("line {line}: {}\n", why.en),
                    ]);
                    let cells = done.cells.iter().map(|cell| neutral(cell));
                    write_row(&mut rows, self.separator, cells.chain([reason]));
                    self.refused = self.refused.saturating_add(1);
                }
            }
        }
        self.receipts(place, &receipts)?;
        if rows.is_empty() {
            return Ok(());
        }
        if self.rows == 0 {
            let mut header = "\u{feff}".to_owned();
            let cells = self.header.iter().map(|cell| neutral(cell));
            write_row(&mut header, self.separator, cells.chain(["uitleg".to_owned()]));
            rows.insert_str(0, &header);
        }
        self.rows = add(&place.refused, &self.file(), self.rows, &rows)?;
        self.tell(place, &told)
    }

    /// Adds to what became of the rows that were taken.
    fn receipts(&mut self, place: &Place, text: &str) -> Result<(), Complaint> {
        if text.is_empty() && self.receipts > 0 {
            return Ok(());
        }
        let head = if self.receipts == 0 { super::follow::HEAD } else { "" };
        let name = format!("{}.receipt.csv", self.stem);
        self.receipts = add(&place.sent, &name, self.receipts, &format!("{head}{text}"))?;
        Ok(())
    }

    /// Adds to the explanation.
    fn tell(&mut self, place: &Place, text: &str) -> Result<(), Complaint> {
        let head = if self.told == 0 {
            format!("{}\n\nGeweigerde rijen, op regelnummer. Refused rows, by line number.\n\n", self.file())
        } else {
            String::new()
        };
        let name = format!("{}.uitleg.txt", self.stem);
        self.told = add(&place.refused, &name, self.told, &format!("{head}{text}"))?;
        Ok(())
    }
}

/// Adds to a file of a folder that was so long when that was last on record, and gives its length.
fn add(dir: &Path, name: &str, length: u64, text: &str) -> Result<u64, Complaint> {
    is_itself(dir)?;
    append(&dir.join(name), length, text).map_err(|error| cannot_add(dir, &error))
}

/// Others can write in the folder, and put links there: only what the agent made itself is written to.
fn append(path: &Path, length: u64, text: &str) -> io::Result<u64> {
    let mut file = files::open_own(path)?;
    files::share(&file, &files::parent(path))?;
    // Of one that was taken away what was in it is not missed.
    let length = length.min(file.metadata()?.len());
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(length.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;
    use crate::ways::rows::mapping::Encoding;

    fn parts() -> (Mapping, Job) {
        let text = include_str!("../../../../../covenants/samples/csv/02-F02-politie.mapping.toml");
        let header = "Kenmerk;Wijk;Plek;Dagdelen;Weekdagen;Sinds;Minimaal;Maximaal;Leeftijd;Gedrag;Meldingen;Toelichting";
        let job = Job {
            stem: "a".into(),
            stamp: crate::ways::folders::watch::Stamp::default(),
            hash: "00".repeat(32),
            header: header.split(';').map(str::to_owned).collect(),
            separator: b';',
            marked: false,
            at: 0,
            line: 2,
            accepted: 0,
            refused: 0,
            receipts: 0,
            rows: 0,
            told: 0,
        };
        (Mapping::parse("m.toml", text).unwrap(), job)
    }

    fn read(mapping: &Mapping, job: &Job, row: &Row) -> Named {
        ready(mapping, &Addressed::default(), job, row)
    }

    fn row(text: &str) -> Row {
        let cells = text.split(';').map(|cell| cell.as_bytes().to_vec()).collect();
        Row { line: 2, cells: Ok(cells) }
    }

    const GOOD: &str = "K1;Wijk A;Plein;avond,nacht;do;22-1-2026;10;20;16_17;geluid;17;Tekst";

    #[test]
    fn a_row_becomes_a_signal_as_the_mapping_says() {
        let (mapping, job) = parts();
        let (ready, name) = read(&mapping, &job, &row(GOOD)).unwrap();
        let body: Value = serde_json::from_slice(&ready.body).unwrap();
        assert_eq!(
            body["tijd"],
            json!({ "dagdelen": ["avond", "nacht"], "weekdagen": ["do"], "sinds": "2026-01-22" })
        );
        assert_eq!(body["locatie"]["gemeente"], json!("Voorbeeldstad"));
        let to = ready.addressed;
        assert_eq!((to.flow.as_str(), to.to.len(), to.case), ("F02", 1, None));
        assert_eq!(name, b"id:K1");
    }

    #[test]
    fn what_the_mapping_leaves_open_is_as_the_folder_says() {
        let (mut mapping, job) = parts();
        (mapping.addressing.flow, mapping.addressing.to) = (None, None);
        let otherwise = Addressed {
            flow: "F01".into(),
            to: vec!["om".into()],
            case: Some("c".into()),
            ..Addressed::default()
        };
        let (ready, _) = ready(&mapping, &otherwise, &job, &row(GOOD)).unwrap();
        assert_eq!(
            (ready.addressed.flow.as_str(), ready.addressed.to.as_slice()),
            ("F01", &["om".to_owned()][..])
        );
        assert_eq!(ready.addressed.case.as_deref(), Some("c"));
        let (ready, _) = read(&mapping, &job, &row(GOOD)).unwrap();
        assert_eq!((ready.addressed.flow.as_str(), ready.addressed.to.len()), ("", 0));
    }

    #[test]
    fn a_file_that_says_it_is_utf_8_is_read_so_whatever_the_mapping_says() {
        let (mut mapping, mut job) = parts();
        mapping.encoding = Encoding::Windows1252;
        let said = |mapping: &Mapping, job: &Job| {
            let (ready, _) = read(mapping, job, &row(&GOOD.replace("Tekst", "Café"))).unwrap();
            String::from_utf8(ready.body).unwrap()
        };
        assert!(said(&mapping, &job).contains("CafÃ©"));
        job.marked = true;
        assert!(said(&mapping, &job).contains("Café"));
    }

    #[test]
    fn without_a_number_of_its_own_a_row_is_known_by_file_and_line() {
        let (mut mapping, job) = parts();
        mapping.id = String::new();
        let name = |job: &Job, line: u64| read(&mapping, job, &Row { line, ..row(GOOD) }).unwrap().1;
        assert_eq!(name(&job, 2), name(&job, 2));
        assert_ne!(name(&job, 2), name(&job, 3));
        assert_ne!(name(&job, 2), name(&Job { hash: "11".repeat(32), ..job.clone() }, 2));
    }

    #[test]
    fn a_row_that_is_wrong_says_which_column_and_not_what_stands_there() {
        let (mapping, job) = parts();
        for (text, said) in [
            (GOOD.replace("22-1-2026", "22-1-26"), "Sinds"),
            (GOOD.replace("17", "zeventien"), "Meldingen"),
            (GOOD.replace("Tekst", "=Tekst"), "Toelichting"),
            (GOOD.replace("K1", ""), "Kenmerk"),
            (GOOD.replace("K1", "K1;extra"), "cells"),
        ] {
            let why = read(&mapping, &job, &row(&text.replace("16_zeventien", "16_17"))).unwrap_err();
            assert!(
                why.en.contains(said) && !why.en.contains("=Tekst") && !why.nl.contains("zeventien"),
                "{why:?}"
            );
        }
        let wrong = Row { line: 2, cells: Err(Fault::Unclosed) };
        assert!(read(&mapping, &job, &wrong).unwrap_err().en.contains("quote"));
    }

    #[test]
    fn what_was_not_on_record_is_written_again_and_not_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let length = append(&path, 0, "one\n").unwrap();
        append(&path, length, "lost when it stopped\n").unwrap();
        append(&path, length, "two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        fs::remove_file(&path).unwrap();
        append(&path, length, "three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n", "of one that was taken away");
    }

    #[test]
    fn a_link_that_is_put_in_the_place_of_a_file_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        place.ready().unwrap();
        let key = dir.path().join("key");
        fs::write(&key, "secret").unwrap();
        let (_, mut job) = parts();
        for path in ["refused/a.csv", "refused/a.uitleg.txt", "sent/a.receipt.csv"] {
            std::os::unix::fs::symlink(&key, dir.path().join(path)).unwrap();
        }
        let wrong = Done { line: 2, cells: Vec::new(), result: Err(Text::same("wrong")) };
        let told = job.write(&place, &[wrong]).unwrap_err();
        assert!(told.what.en.contains("replaced"), "{told}");
        assert!(job.tell(&place, "x").is_err() && job.receipts(&place, "x").is_err());
        assert_eq!(fs::read_to_string(&key).unwrap(), "secret");
    }
}
