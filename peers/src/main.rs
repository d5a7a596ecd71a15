//! Seinhuis beside other message brokers, in one run on one machine: the same packets, over TLS, sealed, signed, verified
//! and opened by the same code, from and to as many parties, with as many under way.
//!
//! What each server flushes before it confirms is counted at its system calls, not taken from its manual.

mod figures;
mod measure;
mod peer;
mod place;
mod seinhuis;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};

use figures::{Column, Confirm, Measured, Table};
use measure::Crowd;
use peer::Peer;
use peer::mosquitto::Mosquitto;
use peer::nats::Nats;
use peer::rabbitmq::RabbitMq;
use place::{Place, Server};
use seinhuis_tests::load::Usage;

/// Why something could not be measured.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A server that has just started is given this long, at full speed, before it is measured; Seinhuis has packets that wait.
const WARM_UP: Duration = Duration::from_secs(1);
/// Seconds of the run in which flushes are counted.
const TRACED_SECONDS: u64 = 3;

/// Measures Seinhuis beside other brokers: rates, latency of the confirm, CPU and flushes.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// Measure these alone
    #[arg(long, value_delimiter = ',')]
    only: Vec<System>,
    /// Do not count flushes
    #[arg(long)]
    no_trace: bool,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The server of NATS
    #[arg(long, value_name = "PATH", default_value = "nats-server")]
    nats_server: String,
    /// The server of `RabbitMQ`: the script that has its others beside it
    #[arg(long, value_name = "PATH", default_value = "/usr/lib/rabbitmq/bin/rabbitmq-server")]
    rabbitmq_server: String,
    /// The server of Mosquitto
    #[arg(long, value_name = "PATH", default_value = "/usr/sbin/mosquitto")]
    mosquitto: String,
}

/// What is measured, of every system alike.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Seconds of the run at full speed, and of the run at half that rate
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Senders, and as many recipients
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pairs: u8,
    /// Bytes of each body
    #[arg(long, default_value_t = 1024, value_parser = body)]
    body: usize,
    /// Packets each sender keeps under way at full speed, from publication to delivery
    #[arg(long, default_value_t = 256, value_parser = window)]
    window: usize,
}

fn body(text: &str) -> Result<usize, String> {
    within(text, 700, 2600)
}

fn window(text: &str) -> Result<usize, String> {
    within(text, 1, 1024)
}

fn within(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(format!("from {least} to {most}")) }
}

impl Default for Plan {
    fn default() -> Self {
        Self { seconds: 8, pairs: 4, body: 1024, window: 256 }
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seconds, pairs, body, window } = self;
        write!(
            f,
            "{pairs} senders → {pairs} recipients, bodies of {body} bytes, {window} under way for each sender, \
             {seconds} s, TLS on loopback"
        )
    }
}

impl Plan {
    /// Most packets of all senders under way at full speed.
    fn under_way(&self) -> f64 {
        // Both are small.
        f64::from(self.pairs) * f64::from(u16::try_from(self.window).unwrap_or(u16::MAX))
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The shorter run in which flushes are counted.
    fn traced(&self) -> Self {
        Self { seconds: self.seconds.min(TRACED_SECONDS), ..self.clone() }
    }

    /// The words of the command that measures it.
    fn words(&self) -> Vec<String> {
        let Self { seconds, pairs, body, window } = self;
        let words = format!("--seconds {seconds} --pairs {pairs} --body {body} --window {window}");
        words.split(' ').map(str::to_owned).collect()
    }

    fn to_json(&self) -> Value {
        json!({ "seconds": self.seconds, "pairs": self.pairs, "body_bytes": self.body, "window": self.window })
    }
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum System {
    Seinhuis,
    Nats,
    Rabbitmq,
    Mosquitto,
}

/// Runs a peer's server and gives back what `measure` says of it.
fn with<P: Peer, T>(
    program: &str,
    plan: &Plan,
    traced: bool,
    measure: impl AsyncFnOnce(&mut Crowd<P>, &[Server]) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let place = Place::new(traced)?;
    let (peer, servers) = P::start(program, &place)?;
    runtime.block_on(async {
        let mut crowd = Crowd::meet(&peer, plan.pairs, plan.body, plan.window).await?;
        measure(&mut crowd, &servers).await
    })
}

/// CPU seconds of the servers, and of this process.
fn cpu(servers: &[Server]) -> Result<(f64, f64), Failure> {
    let all = servers.iter().map(Server::cpu).sum::<Result<f64, _>>()?;
    Ok((all, Usage::of(std::process::id())?.cpu))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure<P: Peer>(program: &str, plan: &Plan) -> Result<Measured, Failure> {
    with::<P, _>(program, plan, false, async |crowd, servers| {
        crowd.full_speed(WARM_UP).await?;
        eprintln!("· full speed");
        let before = cpu(servers)?;
        let full = crowd.full_speed(plan.length()).await?;
        let after = cpu(servers)?;
        let per_second = full.delivered as f64 / full.seconds;
        eprintln!("· {:.0} a second, each at its time", per_second / 2.0);
        let half = crowd.paced(per_second / 2.0, plan.length()).await?;
        let per_packet = |seconds: f64| seconds * 1e6 / full.delivered as f64;
        Ok(Measured {
            packets: full.delivered,
            per_second,
            full: Confirm::of(&full.confirmed),
            half_rate: per_second / 2.0,
            half: Confirm::of(&half.confirmed),
            server_cpu: per_packet(after.0 - before.0),
            clients_cpu: per_packet(after.1 - before.1),
            flushes: None,
        })
    })
}

/// Flushes a packet of a peer's server at full speed, in a run of its own.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn count_flushes<P: Peer>(program: &str, plan: &Plan) -> Result<f64, Failure> {
    with::<P, _>(program, plan, true, async |crowd, servers| {
        let calls = servers.iter().find_map(|server| server.calls.as_deref()).ok_or("it is not traced")?;
        crowd.full_speed(WARM_UP).await?;
        let before = place::flushes(calls)?;
        let run = crowd.full_speed(plan.length()).await?;
        Ok((place::flushes(calls)? - before) as f64 / run.delivered as f64)
    })
}

impl Args {
    fn column(&self, system: System) -> Column {
        match system {
            System::Seinhuis => self.figures(
                seinhuis::FACTS,
                Ok(env!("CARGO_PKG_VERSION").to_owned()),
                &seinhuis::measure,
                &seinhuis::count_flushes,
            ),
            System::Nats => self.peer::<Nats>(&self.nats_server),
            System::Rabbitmq => self.peer::<RabbitMq>(&self.rabbitmq_server),
            System::Mosquitto => self.peer::<Mosquitto>(&self.mosquitto),
        }
    }

    fn peer<P: Peer>(&self, program: &str) -> Column {
        let version = P::version(program)
            .map_err(|error| format!("{program} cannot be started ({error}): {}", P::FACTS.install));
        self.figures(P::FACTS, version, &|plan| measure::<P>(program, plan), &|plan| {
            count_flushes::<P>(program, plan)
        })
    }

    fn figures(
        &self,
        facts: peer::Facts,
        version: Result<String, String>,
        measure: &dyn Fn(&Plan) -> Result<Measured, Failure>,
        count: &dyn Fn(&Plan) -> Result<f64, Failure>,
    ) -> Column {
        let version = match version {
            Ok(version) => version,
            Err(why) => return Column { facts, version: String::new(), measured: Err(why) },
        };
        eprintln!("{}", facts.name);
        let measured = measure(&self.plan).map_err(|error| error.to_string()).map(|mut measured| {
            if !self.no_trace {
                eprintln!("· flushes, counted");
                measured.flushes = count(&self.plan.traced())
                    .map_err(|error| eprintln!("flushes are not counted: {error}"))
                    .ok();
            }
            measured
        });
        Column { facts, version, measured }
    }

    fn run(&self) -> Result<(), Failure> {
        let systems = if self.only.is_empty() { System::value_variants() } else { &self.only };
        let columns = systems.iter().map(|system| self.column(*system)).collect();
        let table = Table { plan: &self.plan, columns };
        println!("{}", table.to_text());
        if let Some(path) = &self.json {
            std::fs::write(path, table.to_json().to_string())
                .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    if let Some(code) = seinhuis::dispatch() {
        return code;
    }
    let args = Args::parse();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("Another library has chosen the cryptography of TLS already.");
    }
    match args.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
