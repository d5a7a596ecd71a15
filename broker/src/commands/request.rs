//! Commands that need the broker's state: through the running broker, or on the store itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use seinhuis_broker_core::{Answer, Command, Overview, Suspendable};
use seinhuis_monitor::alarms::{Alarm, Code};
use seinhuis_shared::covenant::{Compiled, Covenant};
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::limits::COVENANT_MAX;
use seinhuis_shared::signing::PublicKey;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::control::{self, Answered};
use seinhuis_shell::lang::Text;
use seinhuis_shell::standing::CovenantView;
use seinhuis_shell::{answer, cli, clock, covenants, files};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::alerts::ChannelState;
use crate::export::{self, How, Question, Source};
use crate::fork;
use crate::home::Home;
use crate::logs::OneLog;
use crate::service::{EngineThread, Service};

/// How long a command waits for the running broker.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long it waits for what only a running broker knows.
const PATIENCE_LIVE: Duration = Duration::from_secs(10);
/// Most entries one `log tail` gives.
const TAIL_MAX: u64 = 10_000;

/// A command on its way to whoever has the store. An unknown field is refused: a broker of an older version
/// must not quietly do without what a newer command asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Registers an organisation.
    AddPartner {
        /// Which.
        oin: Oin,
        /// Its name.
        name: String,
        /// Its public signing key, Ed25519.
        key: [u8; 32],
    },
    /// Takes an organisation's access away.
    RevokePartner {
        /// Which.
        oin: Oin,
        /// SHA-256 of the reason, if one is given.
        #[serde(default)]
        reason: Option<[u8; 32]>,
    },
    /// Suspends a partner, a flow or intake.
    Suspend {
        /// Which.
        what: Suspendable,
        /// SHA-256 of the reason.
        reason: [u8; 32],
    },
    /// Ends that.
    Resume {
        /// Of which.
        what: Suspendable,
        /// SHA-256 of the reason.
        reason: [u8; 32],
    },
    /// Has all that waits for an organisation offered again.
    Requeue {
        /// For which.
        oin: Oin,
        /// SHA-256 of the reason.
        reason: [u8; 32],
    },
    /// Takes up an alarm.
    TakeUp {
        /// Its code.
        code: Code,
        /// What it is about.
        subject: String,
        /// SHA-256 of the reason.
        reason: [u8; 32],
    },
    /// Lists the flows of the covenants, and which are suspended.
    Flows,
    /// Loads a covenant from a file that the broker reads itself.
    LoadCovenant {
        /// Where it is.
        file: std::path::PathBuf,
    },
    /// Lists the partners.
    Partners,
    /// Lists the covenants.
    Covenants,
    /// How the broker is doing.
    Status,
    /// Everything an operator is shown at one moment.
    Board,
    /// The alarms that hold, and how the channels do over which they are told.
    Alarms,
    /// The log's last entries.
    Tail {
        /// How many.
        lines: u64,
    },
    /// Checks every log as a whole.
    Verify,
    /// The logs, from the first.
    Logs,
    /// Begins the log of this year, however many years are passed over.
    RollOver,
    /// Begins a log under another origin.
    NewOrigin {
        /// The origin.
        origin: String,
        /// SHA-256 of the reason.
        reason: [u8; 32],
    },
    /// Removes texts that are past their term.
    Purge {
        /// Only tells what is due.
        dry_run: bool,
    },
    /// Gives leave to read entries over HTTP.
    Grant {
        /// SHA-256 of the token.
        token: [u8; 32],
        /// SHA-256 of the purpose.
        purpose: [u8; 32],
        /// For how many days.
        days: u32,
    },
    /// Who may read entries over HTTP.
    Grants,
    /// Ends leave to read entries.
    RevokeGrant {
        /// Its number.
        number: u32,
    },
    /// What waits for each recipient, and what of it is damaged.
    Mailboxes,
    /// Ends a packet that is damaged.
    DropDamaged {
        /// Its digest.
        packet: [u8; 32],
        /// SHA-256 of the reason.
        reason: [u8; 32],
    },
    /// Writes a backup of store and logs.
    Backup {
        /// The folder, a path that does not depend on anybody's folder; it must not exist.
        out: std::path::PathBuf,
    },
    /// Writes an export of the log.
    Export {
        /// Of which log, by origin or folder; the one that grows when left out.
        log: Option<String>,
        /// What is asked.
        question: Question,
        /// Where to, a path that does not depend on anybody's folder.
        out: std::path::PathBuf,
        /// Whether it goes on with one that was interrupted.
        resume: bool,
        /// Whether it has the tables and the report.
        views: bool,
    },
}

impl Request {
    /// How long the running broker may take.
    const fn patience(&self) -> Duration {
        match self {
            // A large log is read from disk twice, and copied file by file; so is all that waits.
            Self::Export { .. }
            | Self::Backup { .. }
            | Self::Verify
            | Self::Purge { .. }
            | Self::Mailboxes
            | Self::DropDamaged { .. } => Duration::from_hours(6),
            Self::AddPartner { .. }
            | Self::RevokePartner { .. }
            | Self::Suspend { .. }
            | Self::Resume { .. }
            | Self::Requeue { .. }
            | Self::TakeUp { .. }
            | Self::Flows
            | Self::LoadCovenant { .. }
            | Self::Partners
            | Self::Covenants
            | Self::Status
            | Self::Board
            | Self::Alarms
            | Self::Logs
            | Self::RollOver
            | Self::NewOrigin { .. }
            | Self::Grant { .. }
            | Self::Grants
            | Self::RevokeGrant { .. }
            | Self::Tail { .. } => PATIENCE,
        }
    }
}

/// Has a request answered: by the running broker, else directly.
pub(crate) fn ask(home: &Home, request: &Request) -> Result<Value, Complaint> {
    // What lies beyond the store is set aside by nothing but this: it is how to go on after a backup was put back.
    let next = if let Request::NewOrigin { origin, .. } = request { Some(origin.as_str()) } else { None };
    let open = || Service::open_with(home, &home.load_config()?, next);
    match control::call_or_open(("seinhuis-broker", &home.socket()), request, request.patience(), open)? {
        Answered::Running(value) => answer::decode(value),
        Answered::Opened((service, thread)) => {
            let answer = directly(service, thread, request.clone())?;
            if next.is_some() {
                fork::settled(home)?;
            }
            Ok(answer)
        }
    }
}

/// Has a request answered by the running broker; there is no answer without one.
pub(super) fn ask_running(socket: &Path, request: &Request) -> Result<Value, Complaint> {
    let asked = control::call::<_, Value>(socket, request, PATIENCE_LIVE);
    answer::decode(asked.map_err(|error| error.complaint("seinhuis-broker", socket))?)
}

fn directly(service: Service, thread: EngineThread, request: Request) -> Result<Value, Complaint> {
    let runtime = cli::runtime_here()?;
    let answer = runtime.block_on(serve(&service, request));
    drop(service);
    let ended = thread.join().map_err(|_| Complaint::bug("the engine panicked"))?;
    ended.map_err(|error| super::run::stopped(&error))?;
    answer
}

/// Answers a request on an open store.
pub(crate) async fn serve(service: &Service, request: Request) -> Result<Value, Complaint> {
    let command = match request {
        Request::AddPartner { oin, name, key } => {
            let key = PublicKey::from_bytes(&key).ok_or_else(|| Complaint::bug("a weak key"))?;
            Command::AddPartner { oin, name, key }
        }
        Request::RevokePartner { oin, reason } => Command::RevokePartner { oin, reason: reason.map(Digest) },
        Request::Suspend { what, reason } => Command::Suspend { what, reason: Digest(reason) },
        Request::Resume { what, reason } => Command::Resume { what, reason: Digest(reason) },
        Request::Requeue { oin, reason } => Command::Requeue { oin, reason: Digest(reason) },
        Request::TakeUp { code, subject, reason } => {
            return service.take_up(code, &subject, Digest(reason)).await.map(|answer| show(service, answer));
        }
        Request::Flows => return flows(service).await,
        Request::LoadCovenant { file } => Command::LoadCovenant { compiled: compile(&file)? },
        Request::Partners => Command::Partners,
        Request::Covenants => Command::Covenants,
        Request::Status => return status(service).await,
        Request::Board => return board(service).await,
        Request::Alarms => return Ok(alarms(service)),
        Request::Logs => return Ok(logs(service)),
        Request::Purge { dry_run } => return service.purge(dry_run).await,
        Request::RollOver => Command::RollOver,
        Request::NewOrigin { origin, reason } => {
            service.logs.check_lost(&origin)?;
            Command::NewOrigin { origin, reason: Digest(reason) }
        }
        Request::Grant { token, purpose, days } => Command::Grant {
            token: Digest(token),
            purpose: Digest(purpose),
            until: clock::now().plus(Span::days(days.into())),
        },
        Request::Grants => Command::Grants,
        Request::RevokeGrant { number } => Command::RevokeGrant { number },
        Request::Tail { lines } => return tail(service, lines).await,
        Request::Verify => return verify(service).await,
        Request::Mailboxes => return service.mailboxes().await,
        Request::DropDamaged { packet, reason } => {
            let answer = service.drop_damaged(Digest(packet), Digest(reason)).await?;
            return Ok(show(service, answer));
        }
        Request::Backup { out } => return service.backup(out).await.map(|made| super::backup::show(&made)),
        Request::Export { log, question, out, resume, views } => {
            return export(service, log, question, out, How { resume, views }).await;
        }
    };
    service.command(command).await.map(|answer| show(service, answer))
}

/// The flows of all covenants that are known, and since when they are suspended.
async fn flows(service: &Service) -> Result<Value, Complaint> {
    let other = || Complaint::bug("another answer");
    let Answer::Overview(overview) = service.command(Command::Overview).await? else { return Err(other()) };
    let Answer::Covenants(all) = service.command(Command::Covenants).await? else { return Err(other()) };
    let suspended: BTreeMap<String, Timestamp> = overview.suspended_flows.into_iter().collect();
    // Of one that is in several versions, the words of the last.
    let flows = all.iter().flat_map(|one| &one.compiled().covenant().flows);
    let named: BTreeMap<&str, (&str, &str)> =
        flows.map(|flow| (flow.id.as_str(), (flow.nl.as_str(), flow.en.as_str()))).collect();
    let row = |(flow, (nl, en)): (&str, (&str, &str))| {
        let suspended = suspended.get(flow).map(Timestamp::to_string);
        json!({ "flow": flow, "nl": nl, "en": en, "suspended": suspended })
    };
    Ok(named.into_iter().map(row).collect())
}

/// How things stand, with the witnesses.
async fn status(service: &Service) -> Result<Value, Complaint> {
    let mut value = show(service, service.command(Command::Overview).await?);
    let watch = show(service, service.command(Command::Witnesses).await?);
    if let Some(object) = value.as_object_mut() {
        object.insert("witnesses".into(), watch);
        object.insert("renewing".into(), service.renewing.get().to_json());
    }
    Ok(value)
}

/// What the operator is shown.
async fn board(service: &Service) -> Result<Value, Complaint> {
    let board = service.board().await?;
    serde_json::to_value(&*board).map_err(|error| Complaint::bug(error.to_string()))
}

/// What is wrong, and how the channels do over which that is told.
fn alarms(service: &Service) -> Value {
    let judged = service.monitor.judged();
    let alarm = |alarm: &Alarm| {
        json!({
            "code": alarm.code, "subject": alarm.subject, "severity": alarm.severity,
            "since": alarm.since.to_string(), "what": alarm.what, "advice": alarm.advice,
        })
    };
    let at = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let channel = |one: &ChannelState| {
        json!({
            "name": one.name, "waiting": one.waiting, "arrived": at(one.arrived), "failing": at(one.failing),
            "error": one.error.as_ref().map(|(nl, en)| json!({ "nl": nl, "en": en })),
        })
    };
    json!({
        "alarms": judged.alarms.iter().map(alarm).collect::<Vec<_>>(),
        "channels": judged.channels.iter().map(channel).collect::<Vec<_>>(),
    })
}

/// Every log with its key, size and folder.
fn logs(service: &Service) -> Value {
    let row = |one: OneLog| {
        let key = service.logs.key(&one.origin).map(|(_, log)| log.key.to_string()).ok();
        json!({
            "origin": one.origin, "key": key, "folder": one.folder, "size": one.log.size(),
            "closed": one.closed, "removed": one.log.purged(),
        })
    };
    service.logs.all().into_iter().map(row).collect()
}

fn compile(file: &Path) -> Result<Arc<Compiled>, Complaint> {
    let bytes = files::read(file, COVENANT_MAX)?;
    let compiled = Covenant::from_bytes(&bytes).and_then(Compiled::new);
    compiled.map(Arc::new).map_err(|error| covenants::wrong(&error.to_string()))
}

async fn tail(service: &Service, lines: u64) -> Result<Value, Complaint> {
    let log = service.logs.current()?.log;
    let read = move || {
        let size = log.size();
        (size.saturating_sub(lines.min(TAIL_MAX))..size)
            .map(|index| {
                let entry = log.entry(index)?;
                let text = String::from_utf8_lossy(&entry).into_owned();
                Entry::parse(&entry).map_err(|error| unreadable(index, &error.to_string()))?;
                Ok(json!({ "index": index, "entry": text }))
            })
            .collect::<Result<Vec<_>, Complaint>>()
    };
    let entries =
        tokio::task::spawn_blocking(read).await.map_err(|error| Complaint::bug(error.to_string()))??;
    Ok(Value::Array(entries))
}

fn unreadable(index: u64, error: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("Logregel {index} is onleesbaar: {error}"),
            format!("Log entry {index} is unreadable: {error}"),
        ),
        Text::new("Draai `seinhuis-broker log verify`.", "Run `seinhuis-broker log verify`."),
    )
}

async fn verify(service: &Service) -> Result<Value, Complaint> {
    let logs = service.logs.all();
    let check = move || logs.iter().try_fold(0, |sum, one| Ok(sum + one.log.recheck()?));
    let checked: Result<u64, Complaint> =
        tokio::task::spawn_blocking(check).await.map_err(|error| Complaint::bug(error.to_string()))?;
    Ok(json!({ "checked": checked? }))
}

/// Logs that part of the log is exported, then exports it: in the log that grows that entry is the last it can hold,
/// and witnesses get a moment to cosign it. What goes on with an interrupted one is logged again, as it hands out
/// again; the bundle is the one that was begun.
pub(crate) async fn export(
    service: &Service,
    log: Option<String>,
    question: Question,
    out: std::path::PathBuf,
    how: How,
) -> Result<Value, Complaint> {
    export::check(&out, how.resume)?;
    let one = match &log {
        Some(name) => service.logs.named(name)?,
        None => service.logs.current()?,
    };
    let purpose = seinhuis_shared::signing::sha256(question.purpose.as_bytes());
    service.command(Command::Export { complete: question.is_period(), purpose }).await?;
    let (witnessed, earlier) = service.for_export(&one).await?;
    let begin =
        move |most: u64| earlier.iter().rev().find(|row| row.size <= most).map(|row| row.note.0.clone());
    let service = service.clone();
    let write = move || {
        let directory = service.engine.directory();
        let covenant = |hash: &Digest| Some(directory.covenant(hash).ok()?.compiled().covenant().to_bytes());
        let key = service.logs.key(&one.origin)?;
        let source = Source {
            log: &one.log,
            key: &key,
            covenant: &covenant,
            witnessed,
            begin: &begin,
            now: clock::now(),
        };
        export::write(&source, &question, &out, how)
    };
    let written =
        tokio::task::spawn_blocking(write).await.map_err(|error| Complaint::bug(error.to_string()))??;
    Ok(json!({ "entries": written.count, "size": written.size, "complete": written.complete }))
}

fn show(service: &Service, answer: Answer) -> Value {
    match answer {
        Answer::Recorded { index } => json!({ "entry": index }),
        Answer::Unchanged => json!({ "unchanged": true }),
        Answer::Partners(rows) => rows
            .into_iter()
            .map(|row| {
                json!({
                    "oin": row.oin,
                    "name": row.name,
                    "key": row.key.thumbprint().to_string(),
                    "added": row.added.to_string(),
                    "revoked": row.revoked.map(|at| at.to_string()),
                    "suspended": row.suspended.map(|at| at.to_string()),
                    "connected": row.connected,
                    "bundle": row.bundle,
                })
            })
            .collect(),
        Answer::WitnessHistory(rows) => rows.iter().map(|row| json!({ "size": row.1.size })).collect(),
        Answer::Purged(purged) => json!(purged),
        Answer::Mail(mail) => json!({ "waiting": mail.len() }),
        Answer::Retention(retention) => json!({ "days": retention.days }),
        Answer::Grants(grants) => (0_u32..)
            .zip(grants)
            .map(|(number, grant)| {
                json!({
                    "number": number,
                    "purpose": grant.purpose.to_string(),
                    "at": grant.at.to_string(),
                    "until": grant.until.to_string(),
                    "ended": grant.ended.map(|at| at.to_string()),
                    "holds": grant.holds(clock::now()),
                })
            })
            .collect(),
        Answer::Covenants(all) => {
            json!(all.iter().map(|one| CovenantView::new(one, clock::now())).collect::<Vec<_>>())
        }
        Answer::Witnesses(watch) => json!({
            "covenants": watch.covenants.iter().map(|one| json!({
                "covenant": one.covenant.to_string(), "id": one.id, "version": one.version,
                "wanted": one.wanted, "of": one.witnesses.len(), "age_s": one.age.0 / 1000,
                "size": one.newest.as_ref().map(|row| row.size),
                "reached": one.newest.as_ref().map(|row| row.reached.to_string()),
            })).collect::<Vec<_>>(),
            "witnesses": watch.witnesses.iter().map(|one| json!({
                "name": one.name, "size": one.size, "reachable": one.reachable, "refused": one.refused,
                "remark": one.remark, "suspect": one.suspect,
            })).collect::<Vec<_>>(),
            "finals": watch.finals.iter().map(|one| json!({
                "origin": one.origin, "size": one.size, "cosigned": one.cosigned, "reached": one.reached,
            })).collect::<Vec<_>>(),
            "waiting_for": watch.waiting_for,
        }),
        Answer::Overview(overview) => show_overview(service, &overview),
    }
}

fn show_overview(service: &Service, overview: &Overview) -> Value {
    let counts = service.engine.counts();
    json!({
        "log": {
            "origin": overview.logs.last().map(|log| log.origin.clone()),
            "logs": overview.logs.len(),
            "size": overview.log_size,
            "root": overview.log_root.map(|root| root.to_string()),
            "year_refused": overview.year_refused,
            "self_check": service.checker.show(),
        },
        "partners": overview.partners,
        "connected": overview.connected,
        "covenants": overview.covenants,
        "remembered": overview.remembered,
        "suspended": {
            "partners": overview.suspended_partners.iter().map(|(oin, at)| json!({
                "oin": oin, "since": at.to_string(),
            })).collect::<Vec<_>>(),
            "intake": overview.suspended_intake.map(|at| at.to_string()),
            "flows": overview.suspended_flows.iter().map(|(flow, at)| json!({
                "flow": flow, "since": at.to_string(),
            })).collect::<Vec<_>>(),
        },
        "queues": overview.queues.iter().map(|queue| json!({
            "oin": queue.oin, "packets": queue.packets, "bytes": queue.bytes, "inflight": queue.inflight,
            "frozen": queue.frozen,
        })).collect::<Vec<_>>(),
        "quotas": overview.quotas.iter().map(|quota| json!({
            "oin": quota.oin, "remembered": quota.remembered, "put_off": {
                "packets": quota.put_off.packets, "bytes": quota.put_off.bytes,
                "remembered": quota.put_off.remembered, "refusals": quota.put_off.refusals,
                "words": quota.put_off.words, "questions": quota.put_off.questions,
                "room": quota.put_off.room,
            },
        })).collect::<Vec<_>>(),
        "room": counts.room.to_json(),
        "turns": counts.turns,
        "inputs": counts.inputs,
        "fsyncs": counts.store.syncs,
        "disk_bytes": counts.store.disk_bytes,
        "live_bytes": counts.store.live_bytes,
        "segments": counts.store.segments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An older broker must not quietly do without what a newer command asks.
    #[test]
    fn a_request_with_an_unknown_field_is_refused() {
        let oin: Oin = "00000099000000001000".parse().unwrap();
        for (variant, request) in [
            ("add-partner", Request::AddPartner { oin, name: "Gemeente".into(), key: [1; 32] }),
            ("revoke-partner", Request::RevokePartner { oin, reason: Some([1; 32]) }),
            ("suspend", Request::Suspend { what: Suspendable::Intake, reason: [1; 32] }),
            ("resume", Request::Resume { what: Suspendable::Flow("F02".into()), reason: [1; 32] }),
            ("requeue", Request::Requeue { oin, reason: [1; 32] }),
            (
                "take-up",
                Request::TakeUp { code: Code::DiskScarce, subject: "broker".into(), reason: [1; 32] },
            ),
            ("load-covenant", Request::LoadCovenant { file: "covenant.cbor".into() }),
            ("tail", Request::Tail { lines: 1 }),
            ("new-origin", Request::NewOrigin { origin: "a/b".into(), reason: [1; 32] }),
            ("grant", Request::Grant { token: [1; 32], purpose: [2; 32], days: 3 }),
            ("revoke-grant", Request::RevokeGrant { number: 1 }),
            ("backup", Request::Backup { out: "copy".into() }),
            ("drop-damaged", Request::DropDamaged { packet: [1; 32], reason: [2; 32] }),
            ("purge", Request::Purge { dry_run: true }),
            (
                "export",
                Request::Export {
                    log: None,
                    question: Question::default(),
                    out: "x.zip".into(),
                    resume: false,
                    views: true,
                },
            ),
        ] {
            let mut value = serde_json::to_value(request).unwrap();
            assert!(serde_json::from_value::<Request>(value.clone()).is_ok(), "{value}");
            value[variant]["added_later"] = json!(true);
            assert!(serde_json::from_value::<Request>(value.clone()).is_err(), "{value}");
        }
        for value in
            [json!({ "status": { "added_later": true } }), json!({ "verify": null, "added_later": true })]
        {
            assert!(serde_json::from_value::<Request>(value.clone()).is_err(), "{value}");
        }
    }
}
