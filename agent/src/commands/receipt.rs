//! Receipts as files: what is proved of an own packet, for whoever has the log's key and the covenant.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use data_encoding::BASE64;
use seinhuis_agent_core::Track;
use seinhuis_agent_core::rows::OutboxRow;
use seinhuis_shared::cbor;
use seinhuis_shared::covenant::{Compiled, Covenant};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, MsgId};
use seinhuis_shared::limits::{NOTICES_MAX, ROTATION_MAX};
use seinhuis_shared::receipt::file::{Block, FILE_MAX, FileError, Proved, ReceiptFile, Step};
use seinhuis_shared::receipt::{LogKey, ProvedEntry, Receipt};
use seinhuis_shared::refusal::{Lang, Refusal};
use seinhuis_shared::rotation::{Keys, Rotated};
use seinhuis_shared::succession;
use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shared::tlog::proof_file::ProofFile;
use seinhuis_shared::wire::Notices;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::covenants;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::request::{Look, Request, ask, read};
use super::{log, present};
use crate::engine::{View, notices_row, outbox_row};
use crate::home::Home;

/// What `receipt` does.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what is proved of a message sent, at each recipient
    Show {
        /// The message id
        message: String,
    },
    /// Write that to a file, with every proof
    Save {
        /// The message id
        message: String,
        /// The file
        #[arg(long)]
        out: PathBuf,
    },
    /// Check such a file, without a connection: with this agent's folder, or with `--log-key` and `--covenant`
    Verify {
        /// The file
        file: PathBuf,
        /// The exchange log's verifier key, instead of the logs this agent knows; again for each further log, in the
        /// order in which they followed one another. A key counts for every year of its log
        #[arg(long, value_name = "VKEY", requires = "covenant")]
        log_key: Vec<String>,
        /// The covenant the message was sent under: canonical bytes, or TOML files that make up one document
        #[arg(long, num_args = 1.., value_name = "FILE", requires = "log_key")]
        covenant: Vec<PathBuf>,
    },
}

pub(super) fn receipt(home: &Home, command: Command, ui: Ui) -> Result<Outcome, Complaint> {
    match command {
        Command::Show { message } => {
            let text = of_message(home, message)?;
            check(&text, &Pinned::of_home(home)?, ui)
        }
        Command::Save { message, out } => {
            let text = of_message(home, message)?;
            // Nothing is handed out that would not verify.
            verified(&text, &Pinned::of_home(home)?)?;
            files::write(&out, text.as_bytes(), Existing::Keep)?;
            let said = Text::new(
                format!("Het ontvangstbewijs staat in {}.", out.display()),
                format!("The receipt is in {}.", out.display()),
            );
            ui.answer(&said, &json!({ "file": out.display().to_string() }));
            Ok(Outcome::Done)
        }
        Command::Verify { file, log_key, covenant } => {
            let text = files::read_text(&file, FILE_MAX)?;
            let pinned = if log_key.is_empty() {
                Pinned::of_home(home)?
            } else {
                Pinned::of_files(&log_key, &covenant)?
            };
            check(&text, &pinned, ui)
        }
    }
}

fn of_message(home: &Home, message: String) -> Result<String, Complaint> {
    let (value, _) = ask(home, Request::Look(Look::ReceiptFile { msg_id: message }))?;
    read(value)
}

/// What a file is checked against.
struct Pinned {
    /// The logs, from the first.
    logs: Vec<LogKey>,
    covenants: Source,
}

enum Source {
    /// The agent's folder: the covenant the file names, and the rotations that are known.
    Home(Home),
    One(Arc<Compiled>),
}

/// A covenant and the rotations in its lines, as text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PinnedText {
    document: String,
    rotations: Vec<String>,
}

impl Pinned {
    fn of_home(home: &Home) -> Result<Self, Complaint> {
        let card = home.settings()?.log;
        let key = |origin: String| {
            succession::log_key(&origin, &card).map_err(|error| Complaint::bug(error.to_string()))
        };
        let logs = log::origins(home)?.into_iter().map(key).collect::<Result<_, _>>()?;
        Ok(Self { logs, covenants: Source::Home(home.clone()) })
    }

    fn of_files(keys: &[String], covenant: &[PathBuf]) -> Result<Self, Complaint> {
        let logs = keys.iter().map(|key| log_key(key)).collect::<Result<_, _>>()?;
        let compiled = Compiled::new(covenants::load(covenant)?);
        let compiled = compiled.map_err(|error| covenants::wrong(&error.to_string()))?;
        Ok(Self { logs, covenants: Source::One(Arc::new(compiled)) })
    }

    /// The covenant with this hash, if it is at hand, and the rotations that are known.
    fn covenant(&self, hash: Option<Digest>) -> Result<(Option<Arc<Compiled>>, Keys), Complaint> {
        match (&self.covenants, hash) {
            (Source::One(compiled), _) => Ok((Some(Arc::clone(compiled)), Keys::default())),
            (Source::Home(_), None) => Ok((None, Keys::default())),
            (Source::Home(home), Some(hash)) => {
                let look = Look::Pinned { covenant: hash.to_string() };
                let (value, _) = ask(home, Request::Look(look))?;
                let Some(text): Option<PinnedText> = read(value)? else {
                    return Ok((None, Keys::default()));
                };
                pinned(&text).map(|(compiled, keys)| (Some(Arc::new(compiled)), keys))
            }
        }
    }
}

/// A log by its verifier key.
fn log_key(text: &str) -> Result<LogKey, Complaint> {
    let key: VerifierKey = text.parse().map_err(|error| {
        Complaint::usage(
            Text::new(
                format!("De logsleutel is onbruikbaar: {error}"),
                format!("The log key cannot be used: {error}"),
            ),
            Text::new(
                "Neem hem over van de brokerkaart of van `seinhuis-broker log key --all`.",
                "Take it from the broker's card or from `seinhuis-broker log key --all`.",
            ),
        )
    })?;
    Ok(LogKey { origin: key.name().to_owned(), key })
}

fn pinned(text: &PinnedText) -> Result<(Compiled, Keys), Complaint> {
    let bug = || Complaint::bug("a covenant of another version");
    let bytes = |text: &String| BASE64.decode(text.as_bytes()).map_err(|_| bug());
    let covenant = Covenant::from_bytes(&bytes(&text.document)?).and_then(Compiled::new);
    let rotations = text
        .rotations
        .iter()
        .map(|one| cbor::strict::<Rotated>(&bytes(one)?, ROTATION_MAX.saturating_mul(2)).map_err(|_| bug()));
    let mut keys = Keys::default();
    keys.restore(&rotations.collect::<Result<Vec<_>, _>>()?).map_err(|_| bug())?;
    Ok((covenant.map_err(|_| bug())?, keys))
}

/// The covenant with this hash and the rotations in its lines; null when this agent does not know it.
pub(super) fn pinned_text(view: &View<'_>, hash: &Digest) -> Value {
    let agreed = view.core.agreed();
    let Ok(agreement) = agreed.find(hash) else { return Value::Null };
    let compiled = agreement.compiled();
    let rotations = agreed.keys().of(compiled);
    json!(PinnedText {
        document: BASE64.encode(&compiled.covenant().to_bytes()),
        rotations: rotations.iter().map(|one| BASE64.encode(&cbor::encode(one))).collect(),
    })
}

fn verified(text: &str, pinned: &Pinned) -> Result<(ReceiptFile, Proved), Complaint> {
    let file = ReceiptFile::parse(text).map_err(|error| wrong(&error))?;
    let (covenant, keys) = pinned.covenant(file.covenant())?;
    let proved = file.verify(&pinned.logs, covenant.as_deref(), &keys).map_err(|error| wrong(&error))?;
    Ok((file, proved))
}

/// What is proved of an own message, from what is kept here: checked as whoever gets the file checks it.
///
/// # Errors
/// When there is no such message, nothing of it is proved yet, or what is kept does not hold.
pub(crate) fn proved(
    view: &View<'_>,
    msg_id: MsgId,
    card: &LogKey,
) -> Result<(ReceiptFile, Proved), Complaint> {
    let file = receipt_of(view, msg_id)?;
    let key = |(origin, _): (&str, _)| {
        succession::log_key(origin, card).map_err(|error| Complaint::bug(error.to_string()))
    };
    let logs = view.core.logs().map(key).collect::<Result<Vec<_>, _>>()?;
    let agreed = view.core.agreed();
    let agreement = file.covenant().and_then(|hash| agreed.find(&hash).ok());
    let covenant = agreement.map(|agreement| agreement.compiled().as_ref());
    let proved = file.verify(&logs, covenant, agreed.keys()).map_err(|error| wrong(&error))?;
    Ok((file, proved))
}

fn wrong(error: &FileError) -> Complaint {
    Complaint::refused(
        Text::new(
            format!("Dit ontvangstbewijs bewijst niets: {}.", error.text(Lang::Nl)),
            format!("This receipt proves nothing: {}.", error.text(Lang::En)),
        ),
        Text::new(
            "Vraag het bestand opnieuw op; blijft het zo, bewaar het en onderzoek wie het gaf.",
            "Ask for the file again; if it stays so, keep it and investigate who gave it.",
        ),
    )
}

fn check(text: &str, pinned: &Pinned, ui: Ui) -> Result<Outcome, Complaint> {
    let (file, proved) = verified(text, pinned)?;
    let shown = |lang| report(&file, &proved, lang);
    ui.answer(&Text::new(shown(Lang::Nl), shown(Lang::En)), &to_json(&file, &proved));
    Ok(Outcome::Done)
}

/// What a step proves, in words.
pub(crate) fn words(entry: &Entry, lang: Lang) -> String {
    let reason =
        entry.reason.and_then(Refusal::from_number).map(|one| format!(" ({one})")).unwrap_or_default();
    let what = match (entry.kind, entry.reason) {
        (Kind::Accepted, _) => lang.pick("aangenomen door de broker", "accepted by the broker"),
        (Kind::Refused, _) => lang.pick("geweigerd door de broker", "refused by the broker"),
        (Kind::Delivered, None) => {
            lang.pick("opgeslagen, getekend door de ontvanger", "stored, signed by the recipient")
        }
        (Kind::Delivered, Some(_)) => {
            lang.pick("in quarantaine, getekend door de ontvanger", "quarantined, signed by the recipient")
        }
        (Kind::Consumed, _) => lang.pick(
            "overgenomen door zijn toepassing, getekend door de ontvanger",
            "taken over by its application, signed by the recipient",
        ),
        (Kind::Withdrawn, _) => lang.pick("teruggenomen door de afzender", "taken back by the sender"),
        (Kind::Expired, _) => lang.pick("verlopen, niet opgehaald", "expired, not fetched"),
        (Kind::Shredded, Some(reason)) if reason == Refusal::DamagedAtBroker.number() => lang.pick(
            "beschadigd bij de broker en beëindigd; stuur opnieuw",
            "damaged at the broker and ended; send again",
        ),
        (Kind::Shredded, _) => lang.pick(
            "vernietigd door de broker, de grond verviel",
            "shredded by the broker, its ground fell away",
        ),
        (
            Kind::Covenant
            | Kind::Case
            | Kind::Key
            | Kind::KeyRotated
            | Kind::Partner
            | Kind::Export
            | Kind::Operator
            | Kind::Purged
            | Kind::Closing
            | Kind::Opening
            | Kind::Start
            | Kind::Stop,
            _,
        ) => lang.pick("gelogd", "logged"),
    };
    format!("{what}{reason}")
}

/// The logs of all steps, each once, in the order in which they are met.
fn logs(proved: &Proved) -> Vec<&str> {
    let mut logs: Vec<&str> = Vec::new();
    for step in proved.blocks.iter().flat_map(|(_, steps)| steps) {
        if !logs.contains(&step.origin.as_str()) {
            logs.push(&step.origin);
        }
    }
    logs
}

fn report(file: &ReceiptFile, proved: &Proved, lang: Lang) -> String {
    let logs = logs(proved);
    let mut lines = vec![
        format!("{} {}", lang.pick("bericht ", "message "), file.message),
        format!("{} {}", lang.pick("pakket  ", "packet  "), file.packet),
        format!("{} {}", lang.pick("afzender", "sender  "), proved.sender),
        format!("log      {}", logs.join(", ")),
    ];
    for (to, steps) in &proved.blocks {
        lines.push(String::new());
        let to = to.map_or_else(|| "-".to_owned(), |to| to.to_string());
        lines.push(format!("{} {to}", lang.pick("ontvanger", "recipient")));
        for step in steps {
            let (time, what) = (step.entry.time, words(&step.entry, lang));
            // Numbers are of one log each.
            let of = if logs.len() > 1 {
                format!(" {} {}", lang.pick("van", "of"), step.origin)
            } else {
                String::new()
            };
            lines.push(format!(
                "  {time}  {what}, {} {}{of}",
                lang.pick("logregel", "log entry"),
                step.index
            ));
        }
    }
    lines.push(String::new());
    lines.push(
        lang.pick(
            "Alles hierboven is bewezen: elke regel staat in het log, elke verklaring is getekend en sluit aan.",
            "All of this is proved: each entry is in the log, each statement is signed and linked.",
        )
        .to_owned(),
    );
    lines.join("\n")
}

fn to_json(file: &ReceiptFile, proved: &Proved) -> Value {
    let steps = |steps: &Vec<seinhuis_shared::receipt::file::ProvedStep>| {
        let shown = steps.iter().map(|step| {
            json!({
                "kind": step.entry.kind.as_str(),
                "time": step.entry.time.to_string(),
                "log": step.origin,
                "entry": step.index,
                "refusal": present::reason(step.entry.reason.unwrap_or_default()),
                "signed": step.signed.map(|at| at.to_string()),
            })
        });
        shown.collect::<Vec<_>>()
    };
    let blocks =
        proved.blocks.iter().map(|(to, of)| json!({ "to": to.map(|to| to.to_string()), "steps": steps(of) }));
    json!({
        "verified": true,
        "message": file.message.to_string(),
        "packet": file.packet.to_string(),
        "sender": proved.sender.to_string(),
        "logs": logs(proved),
        "recipients": blocks.collect::<Vec<_>>(),
    })
}

/// The receipt of an own message, from what is kept.
pub(super) fn file(view: &View<'_>, msg_id: MsgId) -> Result<Value, Complaint> {
    receipt_of(view, msg_id).map(|made| Value::String(made.to_string()))
}

fn receipt_of(view: &View<'_>, msg_id: MsgId) -> Result<ReceiptFile, Complaint> {
    let (position, _) =
        view.core.find(&msg_id).ok_or_else(|| present::no_such_message(&msg_id.to_string()))?;
    let row = outbox_row(view.store, position);
    let row = row.ok_or_else(|| present::no_such_message(&msg_id.to_string()))?;
    made(view, &row).ok_or_else(|| {
        Complaint::refused(
            Text::new(
                "Van dit bericht is nog geen ontvangstbewijs.",
                "There is no receipt of this message yet.",
            ),
            Text::new(
                "Wacht tot de broker het heeft aangenomen of geweigerd; zie `outbox show`.",
                "Wait until the broker has accepted or refused it; see `outbox show`.",
            ),
        )
    })
}

fn made(view: &View<'_>, row: &OutboxRow) -> Option<ReceiptFile> {
    let (packet, receipt) = (row.packet?, Receipt::parse(&row.receipt).ok()?);
    let keys = view.core.agreed().keys();
    let tracks = view.core.tracks(&row.msg_id);
    let mut blocks = Vec::new();
    for (nth, proved) in receipt.entries.iter().enumerate() {
        let mut steps = vec![step(None, proved, &receipt.checkpoint)?];
        let track = tracks.get(nth);
        steps.extend(track.into_iter().flat_map(|track| told(view, track)));
        blocks.push(Block { to: track.map(|track| track.to), steps });
    }
    let rotations = tracks.iter().flat_map(|track| keys.of_party(track.to).cloned()).collect();
    Some(ReceiptFile { message: row.msg_id, packet, rotations, blocks })
}

/// The steps after acceptance, from the notices that are kept.
fn told(view: &View<'_>, track: &Track) -> Vec<Step> {
    let read = |one: &seinhuis_agent_core::Step| {
        let row = notices_row(view.store, one.row)?;
        let notices: Notices = cbor::strict(&row.notices, NOTICES_MAX).ok()?;
        let receipt = notices.receipt(usize::from(one.place))?;
        let proved = receipt.entries.first()?;
        let entry = Entry::parse(&proved.entry).ok()?;
        let signed = matches!(entry.kind, Kind::Delivered | Kind::Consumed);
        let statement = entry.statement.filter(|_| signed).and_then(|hash| notices.statement(&hash));
        step(statement, proved, &receipt.checkpoint)
    };
    track.steps.iter().filter_map(read).collect()
}

fn step(
    statement: Option<seinhuis_shared::acknowledgement::Statement>,
    proved: &ProvedEntry,
    checkpoint: &[u8],
) -> Option<Step> {
    let checkpoint = String::from_utf8(checkpoint.to_vec()).ok()?;
    let proof = ProofFile { extra: None, index: proved.index, path: proved.path.clone(), checkpoint };
    Some(Step { statement, entry: String::from_utf8(proved.entry.to_vec()).ok()?, proof })
}
