//! The register of data subjects: who is in it, who is still to be told, and what a person may know of it.

pub(crate) mod acts;
pub(crate) mod letter;
pub(crate) mod terms;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use seinhuis_agent_core::Duty;
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use serde_json::{Map, Value, json};

use self::acts::{Step, elsewhere, said};
use self::letter::To;
use super::messages::table;
use super::request::{Look, Request, TellText, ask};
use crate::home::Home;

/// Most bytes of a file that says who is meant.
const WHO_MAX: usize = 64 * 1024;

/// What `register` does.
#[derive(Debug, Subcommand)]
pub(super) enum Register {
    /// Show who is still to be told that there are data about them, longest waiting first
    List {
        /// Everybody in the register, also who was told
        #[arg(long)]
        all: bool,
    },
    /// Find a person by what identifies: all that are given have to fit
    Search(Who),
    /// Show one person: what is known, what was decided about telling, what was exchanged
    Show {
        /// The person's key in the register
        person: Digest,
    },
    /// Draft the letter that tells a person, or those who represent a child, that there are data and why
    Letter {
        /// The person's key in the register
        person: Digest,
        /// To whom; for who is under 16, or whose age is not known, the representatives unless said otherwise
        #[arg(long)]
        to: Option<To>,
        /// The file; only its owner can read it
        #[arg(long)]
        out: PathBuf,
        /// Although telling is postponed or left out
        #[arg(long)]
        despite_decision: bool,
    },
    /// Keep that a person was told
    Informed {
        /// The person's key in the register
        person: Digest,
        /// How, such as "brief van 3 maart"; no other personal data
        #[arg(long)]
        how: String,
        /// The role in which you say so
        #[arg(long = "as")]
        role: String,
    },
    /// Keep that a person is told later, and why
    Postpone {
        /// The person's key in the register
        person: Digest,
        /// Until which day
        #[arg(long)]
        until: String,
        /// Why telling would harm, such as "opsporing"; no other personal data
        #[arg(long)]
        reason: String,
        /// The role in which you decide
        #[arg(long = "as")]
        role: String,
    },
    /// Keep that the law lets a person not be told, and why
    Exempt {
        /// The person's key in the register
        person: Digest,
        /// Which ground of law
        #[arg(long)]
        reason: String,
        /// The role in which you decide
        #[arg(long = "as")]
        role: String,
    },
    /// Take back what was decided: the person is to be told
    Reopen {
        /// The person's key in the register
        person: Digest,
        /// Why
        #[arg(long)]
        reason: String,
        /// The role in which you decide
        #[arg(long = "as")]
        role: String,
    },
    /// Answer a person who asks what was exchanged: a letter, and the same as data with its proofs
    Answer {
        /// The keys of the person in the register, as `search` gives them
        #[arg(required = true)]
        persons: Vec<Digest>,
        /// From which day on; everything that is kept when left out
        #[arg(long)]
        since: Option<String>,
        /// A new folder for `letter.txt` and `data.json`; only its owner can read it
        #[arg(long)]
        out: PathBuf,
        /// Although telling is postponed or left out
        #[arg(long)]
        despite_decision: bool,
    },
    /// Tell every recipient of messages about a person that a field in them is wrong (F36)
    Rectify {
        /// The person's key in the register
        person: Digest,
        /// The field, such as woonplaats
        #[arg(long)]
        field: String,
        /// One of the reasons in the covenant's schema, such as onjuist
        #[arg(long)]
        reason: String,
        /// Explains it to the recipients; nothing about a person
        #[arg(long)]
        note: Option<String>,
    },
    /// Erase what is kept about a person here, which is confirmed (F39), and withdraw what was sent (F36)
    Erase {
        /// The person's key in the register
        person: Digest,
        /// One of the reasons in the covenant's schema for a withdrawal, such as onrechtmatig
        #[arg(long)]
        reason: String,
        /// Explains it to the recipients; nothing about a person
        #[arg(long)]
        note: Option<String>,
    },
}

/// Who is meant.
#[derive(Debug, Args)]
pub(super) struct Who {
    /// A field, as NAME=VALUE; what is given here may be seen by other users of this machine
    #[arg(long = "field", conflicts_with = "from")]
    fields: Vec<String>,
    /// A JSON object of fields and values; `-` reads standard input
    #[arg(long = "who", value_name = "FILE", required_unless_present_any = ["fields", "case"])]
    from: Option<PathBuf>,
    /// Only within this case
    #[arg(long)]
    case: Option<CaseId>,
}

impl Who {
    fn fields(&self) -> Result<BTreeMap<String, String>, Complaint> {
        if let Some(file) = &self.from {
            let bytes = files::read_or_stdin(file, WHO_MAX)?;
            return serde_json::from_slice(&bytes).map_err(|_| no_fields());
        }
        let pair = |field: &String| {
            let (name, value) = field.split_once('=').filter(|(name, _)| !name.is_empty())?;
            Some((name.to_owned(), value.to_owned()))
        };
        let mut all = BTreeMap::new();
        for field in &self.fields {
            let (name, value) = pair(field).ok_or_else(no_fields)?;
            if all.insert(name, value).is_some() {
                return Err(no_fields());
            }
        }
        Ok(all)
    }
}

fn no_fields() -> Complaint {
    Complaint::usage(
        Text::new(
            "Velden zijn NAAM=WAARDE, elk één keer, of een JSON-object van namen en teksten.",
            "Fields are NAME=VALUE, each once, or a JSON object of names and texts.",
        ),
        Text::new(
            r#"Bijvoorbeeld: {"naam": "…", "geboortedatum": "2009-01-02"}"#,
            r#"For instance: {"naam": "…", "geboortedatum": "2009-01-02"}"#,
        ),
    )
}

pub(super) fn register(home: &Home, command: Register, ui: Ui) -> Result<Outcome, Complaint> {
    match command {
        Register::List { all } => {
            let mut value = ask(home, Request::Look(Look::Register { all }))?.0;
            elsewhere(&mut value, &home.load_config()?.subjects);
            Ok(list(value, ui))
        }
        Register::Search(who) => {
            let case = who.case.map(|case| case.to_string());
            let mut value = ask(home, Request::Look(Look::Search { fields: who.fields()?, case }))?.0;
            elsewhere(&mut value, &home.load_config()?.subjects);
            Ok(list(value, ui))
        }
        Register::Show { person } => {
            let found = of(home, &[person], None, false)?;
            ui.answer(&letter::overview(&found), &found);
            Ok(Outcome::Done)
        }
        Register::Letter { person, to, out, despite_decision } => {
            let found = of(home, &[person], None, false)?;
            undecided(&found, despite_decision)?;
            let text = letter::file(&letter::telling(&home.load_config()?.name, &found, to, ui.lang));
            files::write_private(&out, text.as_bytes(), Existing::Keep)?;
            Ok(written(&out, ui))
        }
        Register::Informed { person, how, role } => tell(home, person, (Duty::Informed, None), how, role, ui),
        Register::Postpone { person, until, reason, role } => {
            tell(home, person, (Duty::Postponed, Some(until)), reason, role, ui)
        }
        Register::Exempt { person, reason, role } => {
            tell(home, person, (Duty::Exempt, None), reason, role, ui)
        }
        Register::Reopen { person, reason, role } => tell(home, person, (Duty::Open, None), reason, role, ui),
        Register::Answer { persons, since, out, despite_decision } => {
            let found = of(home, &persons, since, true)?;
            undecided(&found, despite_decision)?;
            answer(home, &found, &out, ui)
        }
        Register::Rectify { person, field, reason, note } => {
            rectify(home, person, &field, &said(&reason, note.as_deref()), ui)
        }
        Register::Erase { person, reason, note } => erase(home, person, &said(&reason, note.as_deref()), ui),
    }
}

/// Persons and what was exchanged about them, as whoever has the store says.
fn of(home: &Home, persons: &[Digest], since: Option<String>, proofs: bool) -> Result<Value, Complaint> {
    let persons = persons.iter().map(ToString::to_string).collect();
    let since = since.unwrap_or_else(|| Timestamp(0).to_string());
    let mut found = ask(home, Request::Look(Look::Persons { persons, since, proofs }))?.0;
    if let Some(persons) = found.get_mut("persons") {
        elsewhere(persons, &home.load_config()?.subjects);
    }
    Ok(found)
}

fn list(mut value: Value, ui: Ui) -> Outcome {
    if value.as_array().is_none_or(Vec::is_empty) {
        ui.answer(&Text::new("Niemand.", "Nobody."), &value);
        return Outcome::Done;
    }
    if !ui.json {
        for row in value.as_array_mut().into_iter().flatten() {
            let who = letter::who(row);
            row["who"] = who.into();
        }
    }
    let heading = ui.lang.pick(
        "PERSOON SINDS BERICHTEN STAND INFORMEERT UITERLIJK TE-LAAT WIE",
        "PERSON SINCE MESSAGES STATE INFORMS DUE OVERDUE WHO",
    );
    table(&value, heading, &["person", "first", "messages", "duty", "informs", "due", "overdue", "who"], ui);
    Outcome::Done
}

fn tell(
    home: &Home,
    person: Digest,
    (duty, until): (Duty, Option<String>),
    reason: String,
    role: String,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    let (person, duty) = (person.to_string(), duty.as_str().to_owned());
    let (value, _) = ask(home, Request::Tell(TellText { person, duty, until, role, reason }))?;
    let text = Text::new("Vastgelegd in het register.", "Kept in the register.");
    ui.answer(&text, &value);
    Ok(Outcome::Done)
}

fn written(path: &Path, ui: Ui) -> Outcome {
    let text = Text::new(
        format!("Concept geschreven: {}. Lees het na voordat u het verstuurt.", path.display()),
        format!("Draft written: {}. Read it before you send it.", path.display()),
    );
    ui.answer(&text, &json!({ "file": path.display().to_string() }));
    Outcome::Done
}

/// Nobody is told by a slip of the hand what was decided not to be told.
fn undecided(found: &Value, despite: bool) -> Result<(), Complaint> {
    if !acts::is_silent(found) || despite {
        return Ok(());
    }
    Err(Complaint::refused(
        Text::new(
            "Over deze persoon is besloten om het vertellen uit te stellen of achterwege te laten.",
            "It was decided about this person that telling is postponed or left out.",
        ),
        Text::new(
            "Zie `register show`. Mag het toch, geef dan --despite-decision op.",
            "See `register show`. If it may be done all the same, add --despite-decision.",
        ),
    ))
}

fn answer(home: &Home, found: &Value, out: &Path, ui: Ui) -> Result<Outcome, Complaint> {
    files::make_private_dir(out)?;
    let letter = letter::answer(&home.load_config()?.name, found, ui.lang);
    files::write_private(&out.join("letter.txt"), letter.as_bytes(), Existing::Keep)?;
    let data =
        serde_json::to_vec_pretty(&letter::data(found)).map_err(|error| Complaint::bug(error.to_string()))?;
    files::write_private(&out.join("data.json"), &data, Existing::Keep)?;
    Ok(written(out, ui))
}

fn rectify(
    home: &Home,
    person: Digest,
    field: &str,
    said: &Map<String, Value>,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    let found = of(home, &[person], None, false)?;
    let steps = acts::rectifying(&found, field, said);
    if steps.is_empty() {
        return Err(Complaint::usage(
            Text::new(
                format!("In geen bericht dat u over deze persoon verstuurde, staat een veld {field:?}."),
                format!("In no message that you sent about this person there is a field {field:?}."),
            ),
            Text::new("Zie `register show` voor de velden.", "See `register show` for the fields."),
        ));
    }
    Ok(told(carried_out(home, steps), ui))
}

fn erase(home: &Home, person: Digest, said: &Map<String, Value>, ui: Ui) -> Result<Outcome, Complaint> {
    let found = of(home, &[person], None, false)?;
    Ok(told(carried_out(home, acts::erasing(&found, said)), ui))
}

/// Does one after the other, whatever fails, and says what came of each.
fn carried_out(home: &Home, steps: Vec<Step>) -> Vec<Value> {
    let done = |step: Step| step.outcome(ask(home, step.request.clone()).map(|_| ()));
    steps.into_iter().map(done).collect()
}

/// Tells what was done with each message. One that failed leaves the others done, and is told as a failure.
fn told(done: Vec<Value>, ui: Ui) -> Outcome {
    let failed = done.iter().filter(|one| !one["problem"].is_null()).count();
    let mut lines = [String::new(), String::new()];
    for one in &done {
        let id = one["msg_id"].as_str().unwrap_or_default();
        let what = one["what"].as_str().unwrap_or_default();
        for (line, lang) in lines.iter_mut().zip(["nl", "en"]) {
            let problem = one["problem"][lang].as_str().map(|text| format!(": {text}")).unwrap_or_default();
            // Writing to a string cannot fail.
            _ = writeln!(line, "{id}  {what}{problem}");
        }
    }
    let [nl, en] = lines;
    let total = done.len();
    let text = Text::new(
        format!("{nl}{total} berichten, waarvan {failed} niet gelukt."),
        format!("{en}{total} messages, of which {failed} failed."),
    );
    ui.answer(&text, &done.into());
    if failed == 0 { Outcome::Done } else { Outcome::No }
}
