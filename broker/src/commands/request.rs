//! Commands that need the broker's state: through the running broker, or on the store itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use seinhuis_broker_core::{Answer, Command};
use seinhuis_shared::covenant::{Compiled, Covenant};
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::limits::COVENANT_MAX;
use seinhuis_shared::signing::PublicKey;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::control::{self, Answered};
use seinhuis_shell::lang::Text;
use seinhuis_shell::standing::CovenantView;
use seinhuis_shell::{answer, clock, covenants, files};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::export::{self, How, Question, Source, Witnessed};
use crate::home::Home;
use crate::service::{EngineThread, Service};

/// How long a command waits for the running broker.
const PATIENCE: Duration = Duration::from_mins(1);
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
    },
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
    /// The log's last entries.
    Tail {
        /// How many.
        lines: u64,
    },
    /// Checks the whole log.
    Verify,
    /// Writes an export of the log.
    Export {
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
            // A large log is read from disk twice.
            Self::Export { .. } | Self::Verify => Duration::from_hours(6),
            Self::AddPartner { .. }
            | Self::RevokePartner { .. }
            | Self::LoadCovenant { .. }
            | Self::Partners
            | Self::Covenants
            | Self::Status
            | Self::Tail { .. } => PATIENCE,
        }
    }
}

/// Has a request answered: by the running broker, else directly.
pub(crate) fn ask(home: &Home, request: &Request) -> Result<Value, Complaint> {
    let open = || Service::open(home, &home.load_config()?);
    match control::call_or_open(("seinhuis-broker", &home.socket()), request, request.patience(), open)? {
        Answered::Running(value) => answer::decode(value),
        Answered::Opened((service, thread)) => directly(service, thread, request.clone()),
    }
}

fn directly(service: Service, thread: EngineThread, request: Request) -> Result<Value, Complaint> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Complaint::bug(error.to_string()))?;
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
        Request::RevokePartner { oin } => Command::RevokePartner { oin },
        Request::LoadCovenant { file } => Command::LoadCovenant { compiled: compile(&file)? },
        Request::Partners => Command::Partners,
        Request::Covenants => Command::Covenants,
        Request::Status => return status(service).await,
        Request::Tail { lines } => return tail(service, lines).await,
        Request::Verify => return verify(service).await,
        Request::Export { question, out, resume, views } => {
            return export(service, question, out, How { resume, views }).await;
        }
    };
    service.command(command).await.map(|answer| show(service, answer))
}

/// How things stand, with the witnesses.
async fn status(service: &Service) -> Result<Value, Complaint> {
    let mut value = show(service, service.command(Command::Overview).await?);
    let watch = show(service, service.command(Command::Witnesses).await?);
    if let Some(object) = value.as_object_mut() {
        object.insert("witnesses".into(), watch);
    }
    Ok(value)
}

fn compile(file: &Path) -> Result<Arc<Compiled>, Complaint> {
    let bytes = files::read(file, COVENANT_MAX)?;
    let compiled = Covenant::from_bytes(&bytes).and_then(Compiled::new);
    compiled.map(Arc::new).map_err(|error| covenants::wrong(&error.to_string()))
}

async fn tail(service: &Service, lines: u64) -> Result<Value, Complaint> {
    let log = service.log.clone();
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
    let log = service.log.clone();
    let checked = tokio::task::spawn_blocking(move || log.recheck())
        .await
        .map_err(|error| Complaint::bug(error.to_string()))??;
    Ok(json!({ "checked": checked }))
}

/// Logs that part of the log is exported, then exports it: that entry is the last it can hold. What goes on with an
/// interrupted one is logged again, as it hands out again; the bundle is the one that was begun.
async fn export(
    service: &Service,
    question: Question,
    out: std::path::PathBuf,
    how: How,
) -> Result<Value, Complaint> {
    export::check(&out, how.resume)?;
    let purpose = seinhuis_shared::signing::sha256(question.purpose.as_bytes());
    service.command(Command::Export { complete: question.is_period(), purpose }).await?;
    let service = service.clone();
    let write = move || {
        let directory = service.engine.directory();
        let covenant = |hash: &Digest| Some(directory.covenant(hash).ok()?.compiled().covenant().to_bytes());
        let source = Source {
            log: &service.log,
            key: &service.log_key,
            covenant: &covenant,
            witnessed: Witnessed::default(),
            begin: &|_| None,
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
                    "connected": row.connected,
                    "bundle": row.bundle,
                })
            })
            .collect(),
        Answer::Covenants(all) => {
            json!(all.iter().map(|one| CovenantView::new(one, clock::now())).collect::<Vec<_>>())
        }
        Answer::Witnesses(watch) => json!({
            "covenants": watch.covenants.iter().map(|one| json!({
                "covenant": one.covenant.to_string(), "id": one.id, "version": one.version,
                "wanted": one.wanted, "of": one.of, "age_s": one.age.0 / 1000,
                "size": one.newest.as_ref().map(|row| row.size),
                "reached": one.newest.as_ref().map(|row| row.reached.to_string()),
            })).collect::<Vec<_>>(),
            "witnesses": watch.witnesses.iter().map(|one| json!({
                "name": one.name, "size": one.size, "reachable": one.reachable, "refused": one.refused,
                "remark": one.remark, "suspect": one.suspect,
            })).collect::<Vec<_>>(),
            "waiting_for": watch.waiting_for,
        }),
        Answer::Overview(overview) => {
            let counts = service.engine.counts();
            json!({
                "log": { "size": overview.log_size, "root": overview.log_root.map(|root| root.to_string()) },
                "partners": overview.partners,
                "connected": overview.connected,
                "covenants": overview.covenants,
                "remembered": overview.remembered,
                "queues": overview.queues.iter().map(|queue| json!({
                    "oin": queue.oin, "packets": queue.packets, "bytes": queue.bytes, "inflight": queue.inflight,
                    "frozen": queue.frozen,
                })).collect::<Vec<_>>(),
                "turns": counts.turns,
                "inputs": counts.inputs,
                "fsyncs": counts.store.syncs,
                "disk_bytes": counts.store.disk_bytes,
                "live_bytes": counts.store.live_bytes,
                "segments": counts.store.segments,
            })
        }
    }
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
            ("revoke-partner", Request::RevokePartner { oin }),
            ("load-covenant", Request::LoadCovenant { file: "covenant.cbor".into() }),
            ("tail", Request::Tail { lines: 1 }),
            (
                "export",
                Request::Export {
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
