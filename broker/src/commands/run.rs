//! Running the broker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use seinhuis_broker_core::Command;
use seinhuis_shell::answer;
use seinhuis_shell::cli::{self, Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::control::Control;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::http::Http;
use seinhuis_shell::lang::Text;
use seinhuis_shell::renewal::Renewer;
use tokio::sync::watch;

use super::request::{Request, serve};
use crate::alerts::Alerts;
use crate::console::{Console, note_accounts};
use crate::engine::EngineError;
use crate::fork;
use crate::home::Home;
use crate::link::Server;
use crate::metrics::Exposition;
use crate::publish::Publication;
use crate::service::Service;
use crate::traces::Traces;

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Write the address really listened on to this file, once it is
    #[arg(long)]
    address_file: Option<PathBuf>,
    /// Do not wait until enough witnesses told what they cosigned last. The log says that you did so
    #[arg(long)]
    without_witnesses: bool,
}

pub(super) fn run(home: &Home, options: &Run, ui: Ui) -> Result<Outcome, Complaint> {
    let config = home.load_config()?;
    cli::start_log(&config.telemetry.level, config.telemetry.json)?;
    let runtime = cli::runtime()?;
    runtime
        .block_on(async {
            let control = Control::bind(&home.socket())?;
            let authorities = &config.witnesses.authorities;
            let http = Http::new(Some(authorities.as_path()).filter(|path| !path.as_os_str().is_empty()))?;
            let (service, thread) = Service::open(home, &config)?;
            let alerts = Alerts::open(home, &config, service.clone())?;
            let server = Arc::new(Server::start(home, &config, service.clone())?);
            let (stop, stopping) = watch::channel(false);
            let alerting = tokio::spawn(alerts.run(stopping.clone()));
            beside(&service, http, Duration::from_secs(config.witnesses.warn_after));
            let period = Duration::from_hours(u64::from(config.log.self_check_hours));
            let started = tokio::spawn(start(service.clone(), home.clone(), options.without_witnesses, period));
            if let Some(address) = config.publish.listen {
                let publication = Publication::bind(address, service.clone()).await?;
                tracing::info!(%address, "the logs are published over HTTP");
                tokio::spawn(publication.run());
            }
            if let Some(console) = Console::bind(home, &config, service.clone()).await? {
                tokio::spawn(console.run(stopping.clone()));
            }
            if let Some(address) = config.metrics.listen {
                let exposition = Exposition::bind(address, service.clone(), stopping.clone()).await?;
                tracing::info!(%address, "metrics are served over HTTP");
                tokio::spawn(exposition.run());
            }
            if let Some(traces) = Traces::open(&config, service.clone())? {
                tokio::spawn(traces.run(stopping.clone()));
            }
            if config.renewal.is_on() {
                // What it takes in is seen by who watches the files, below.
                let (live, renewed) = (service.renewing.clone(), watch::Sender::new(0));
                let renewer = Renewer::new(home.renewal(), &config.renewal, live, renewed)?;
                tokio::spawn(renewer.run(stopping.clone()));
            }
            let watching = tokio::spawn({
                let (server, stopping) = (Arc::clone(&server), stopping.clone());
                async move { server.watch(stopping).await }
            });
            let answering = tokio::spawn(answer_commands(control, service.clone(), stopping));
            announce(&server, options, ui)?;
            let engine = service.engine.clone();
            tokio::select! {
                () = engine.stopped() => {}
                () = cli::asked_to_stop() => tracing::info!("stopping"),
            }
            started.abort();
            _ = stop.send(true);
            _ = tokio::join!(watching, answering, alerting);
            tokio::select! {
                () = server.stop() => {}
                () = cli::asked_to_stop() => tracing::warn!("asked again to stop: not waiting for partners any more"),
            }
            // The last entry, after all that was still accepted. An engine that stopped by itself records no more.
            _ = service.command(Command::Stopping).await;
            drop((engine, server, service));
            Ok(thread)
        })
        .and_then(|thread| {
            // Ends the tasks that still hold a handle on the engine, so that its thread can end.
            drop(runtime);
            match thread.join() {
                Ok(Ok(())) => Ok(Outcome::Done),
                Ok(Err(EngineError::Contradicted(contradiction))) => Err(fork::found(home, &contradiction)),
                Ok(Err(error)) => Err(stopped(&error)),
                Err(_) => Err(Complaint::bug("the engine panicked")),
            }
        })
}

/// Begins what goes on beside the engine for as long as it runs: its clock, counting, and asking witnesses, of whom a
/// quorum that is older than this is warned of.
fn beside(service: &Service, http: Http, warn_after: Duration) {
    tokio::spawn(service.clone().tick());
    tokio::spawn(service.clone().follow());
    tokio::spawn(crate::witness::nudge(service.clone()));
    tokio::spawn(crate::witness::outside(service.clone(), http));
    tokio::spawn(crate::witness::warn(service.clone(), warn_after));
}

/// Has the start logged once the broker may serve, and says who is waited for until then. From then on files of the log
/// are written, checked every `period` and removed at their term, and acts on accounts are logged: before, nothing can be.
async fn start(service: Service, home: Home, without_witnesses: bool, period: Duration) {
    let waiting = service.engine.watch().borrow().waiting_for.clone();
    if let Some(waiting) = waiting.filter(|_| !without_witnesses) {
        let waiting = waiting.join(", ");
        tracing::warn!(%waiting, "waiting for enough witnesses to say what they cosigned; nothing is served before");
    }
    match service.command(Command::Started { without_witnesses }).await {
        Ok(_) => {
            tracing::info!("serving");
            tokio::join!(
                service.clone().check(period),
                service.clone().retain(),
                note_accounts(service.clone(), home),
                service.publish()
            );
        }
        Err(complaint) => tracing::error!("{}", complaint.what.en),
    }
}

fn announce(server: &Server, options: &Run, ui: Ui) -> Result<(), Complaint> {
    let address = server.address().map_err(|error| Complaint::bug(error.to_string()))?;
    if let Some(path) = &options.address_file {
        files::write(path, address.to_string().as_bytes(), Existing::Replace)?;
    }
    tracing::info!(%address, "listening");
    let fallback = server.fallback().map(|tcp| tcp.to_string());
    let tcp = fallback.as_ref().map_or_else(String::new, |tcp| format!(", {tcp} (TCP)"));
    ui.answer(
        &Text::new(
            format!("De broker luistert op {address} (UDP){tcp}."),
            format!("The broker listens on {address} (UDP){tcp}."),
        ),
        &serde_json::json!({ "listening": address.to_string(), "fallback": fallback }),
    );
    Ok(())
}

async fn answer_commands(control: Control, service: Service, mut stopping: watch::Receiver<bool>) {
    let handler = move |value: serde_json::Value| {
        let service = service.clone();
        async move {
            let answer = match serde_json::from_value::<Request>(value) {
                Ok(request) => serve(&service, request).await,
                Err(error) => Err(Complaint::bug(format!("a command of another version: {error}"))),
            };
            answer::encode(answer)
        }
    };
    control
        .serve(handler, async move {
            _ = stopping.changed().await;
        })
        .await;
}

/// The engine stopped by itself.
pub(super) fn stopped(error: &EngineError) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("De broker kan niet meer vastleggen en is gestopt: {}", error.dutch()),
            format!("The broker can no longer record and has stopped: {error}"),
        ),
        Text::new(
            "Niets is aangenomen dat niet vastligt. Herstel de schijf en start opnieuw.",
            "Nothing was accepted that is not recorded. Repair the disk and start again.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::tests::{fill, home, publish, stop, watched};

    #[tokio::test]
    async fn what_the_self_check_finds_while_the_broker_waits_for_its_witnesses_is_logged_after_that() {
        let dir = tempfile::tempdir().unwrap();
        let (home, config) = home(dir.path());
        let (service, thread) = Service::open(&home, &config).unwrap();
        let mut parties = watched::parties();
        watched::agree(&service, dir.path(), &mut parties).await;
        fill(&service, 300).await;
        publish(&service).await;
        stop(service, thread);
        let (service, thread) = Service::open(&home, &config).unwrap();
        let bundle = home.log().join("2020/tile/entries/000");
        let mut bytes = std::fs::read(&bundle).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&bundle, bytes).unwrap();
        let started = tokio::spawn(start(service.clone(), home.clone(), false, Duration::from_secs(1)));
        let size = service.logs.current().unwrap().log.size();
        // Longer than the first step of a check takes.
        watched::until(&service, &mut [], || service.engine.counts().inputs > 60).await;
        assert_eq!(service.logs.current().unwrap().log.size(), size, "nothing is logged");
        for (party, conn) in parties.iter_mut().zip(21..) {
            party.join(&service, conn).await;
        }
        let log = service.logs.current().unwrap().log;
        let found = |at| log.parsed(at).is_ok_and(|one| one.detail.as_deref() == Some("self-check-failed"));
        watched::until(&service, &mut [], || (size..log.size()).any(found)).await;
        assert_eq!(log.parsed(size).unwrap().detail.as_deref(), Some("started"));
        started.abort();
        _ = started.await;
        stop(service, thread);
    }
}
