//! What passed, told to the operator's OpenTelemetry collector as spans: who sent what kind of packet to whom, and how long it
//! waited. Made out of the log, beside the engine: who accepts packets waits for no collector.
//!
//! Traces are to look at and prove nothing. What a collector does not take in time is told later, out of the log, and where it
//! stays away for too long it is passed over.

mod spans;

use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use seinhuis_shared::ids::Oin;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use seinhuis_shell::otlp::{self, Collector, Encoding, Told, attribute};
use serde::Deserialize;
use tokio::sync::watch;

use crate::config::Config;
use crate::service::Service;
use spans::{Batch, Follower};

/// How often it is looked whether there is something to tell.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait after a failure; it doubles from [`LOOK`] on.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// `[traces]`: where spans of what passed go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where they go (OTLP over HTTP), or empty for nowhere.
    pub endpoint: String,
    /// How they are written.
    pub encoding: Encoding,
    /// A PEM file with the authorities that are trusted there; those of the machine when empty.
    pub authorities: PathBuf,
    /// Of how many traces one is told.
    pub one_in: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            encoding: Encoding::default(),
            authorities: PathBuf::new(),
            one_in: 1,
        }
    }
}

impl Settings {
    const fn is_on(&self) -> bool {
        !self.endpoint.is_empty()
    }

    /// # Errors
    /// What to write instead.
    pub(crate) fn check(&self) -> Result<(), Complaint> {
        if self.one_in == 0 {
            return Err(Complaint::usage(
                Text::new("traces.one_in moet minstens 1 zijn.", "traces.one_in must be at least 1."),
                Text::new("Schrijf 1 voor alle sporen.", "Write 1 for every trace."),
            ));
        }
        if self.is_on() { otlp::check("traces.endpoint", &self.endpoint) } else { Ok(()) }
    }
}

/// Tells a collector what passes.
#[derive(Debug)]
pub(crate) struct Traces {
    service: Service,
    oin: Oin,
    collector: Collector,
    follower: Follower,
}

impl Traces {
    /// When the configuration asks for it.
    ///
    /// # Errors
    /// When the authorities that are trusted cannot be read, or the log.
    pub(crate) fn open(config: &Config, service: Service) -> Result<Option<Self>, Complaint> {
        let settings = &config.traces;
        if !settings.is_on() {
            return Ok(None);
        }
        let collector = Collector::new(&settings.endpoint, settings.encoding, &settings.authorities)?;
        let follower = Follower::new(&service.logs, settings.one_in)?;
        Ok(Some(Self { service, oin: config.oin, collector, follower }))
    }

    /// Tells what is written from now on until it is time to stop.
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        tokio::select! {
            () = self.tell() => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }

    async fn tell(mut self) {
        loop {
            let (logs, mut follower) = (self.service.logs.clone(), self.follower);
            let read = move || {
                let batch = follower.next(&logs);
                (follower, batch)
            };
            let batch = match tokio::task::spawn_blocking(read).await {
                Ok((follower, batch)) => {
                    self.follower = follower;
                    batch
                }
                Err(error) => return tracing::error!(%error, "no more traces are told"),
            };
            let batch = batch.unwrap_or_else(|complaint| {
                tracing::error!("{}", complaint.what.en);
                Batch::default()
            });
            let mut wait = LOOK;
            while !self.told(&batch.spans).await {
                tokio::time::sleep(wait).await;
                wait = wait.saturating_mul(2).min(LONGEST_WAIT);
            }
            if !batch.is_full() {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Whether the collector has these.
    async fn told(&self, spans: &[Span]) -> bool {
        if spans.is_empty() {
            return true;
        }
        let attributes = vec![
            attribute("service.name", "seinhuis-broker"),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
            attribute("seinhuis.organisation", self.oin.as_str()),
        ];
        match self.collector.tell("seinhuis-broker", attributes, spans.to_vec()).await {
            Told::Taken(0) => true,
            Told::Taken(rejected) => {
                tracing::warn!(rejected, "the collector rejected spans");
                true
            }
            Told::Later => false,
            Told::Refused(why) => {
                tracing::warn!(
                    why,
                    "the collector does not take spans: see to traces.endpoint and traces.encoding"
                );
                false
            }
        }
    }
}
