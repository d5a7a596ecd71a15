//! `cargo demo`: the main job end to end, with real processes, in a folder of its own.
//!
//! The binary is also the three programs: when its first argument is `broker`, `agent` or `certs`, it is
//! that program, so that it can start itself and so that people can type the same commands. Every line
//! that is printed with a ✓ was checked just before; what cannot be checked is not told.

mod burst;
mod control;
mod export;
mod keep;
mod partnership;
mod place;
mod receipts;
mod refusals;
mod running;
mod search;
mod show;
mod signals;
mod story;
mod teller;
mod trouble;
mod ways;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use seinhuis_shell::cli;
use seinhuis_shell::lang::{self, Lang};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use place::Place;
use running::Running;
use teller::Teller;
use trouble::{Told, Trouble};

/// Shows a partnership at work: a broker, four partners, real signals, refusals and proofs.
///
/// With `broker`, `agent` or `certs` as first argument this binary is that program; see its own --help.
#[derive(Debug, Clone, Parser)]
#[command(name = "seinhuis-demo", version)]
struct Args {
    /// Leave everything running at the end, print commands to try, and wait for Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Language of what is printed: nl or en [default: `SEINHUIS_LANG`, else LANG]
    #[arg(long, value_name = "nl|en", value_parser = lang::parse)]
    lang: Option<Lang>,
    /// Packets in the burst
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    burst: u32,
    /// Make everything in this folder, which must be empty or absent, and leave it there
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// The exit code after Ctrl-C, as shells have it: 128 and the signal's number.
const INTERRUPTED: u8 = 130;
/// How long a story that was interrupted may take to notice: without its processes it soon does.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for one that makes the partnership: it ends what it starts by itself, and has to come to that.
const PATIENCE_AT_FIRST: Duration = Duration::from_mins(1);

/// How the demo ended, if nothing was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Everything was told.
    Well,
    /// Somebody asked it to stop before that.
    Interrupted,
}

fn main() -> ExitCode {
    if let Some(code) = seinhuis_tests::process::dispatch(std::env::args_os()) {
        return code;
    }
    let args = Args::parse();
    let teller = Teller::new(lang::choose(args.lang));
    let place = match Place::make(args.dir.as_deref()) {
        Ok(place) => place,
        Err(complaint) => {
            seinhuis_shell::complaint::report(&complaint, teller.lang(), false);
            return ExitCode::from(2);
        }
    };
    let running = Running::default();
    let ended = perform(&args, &teller, &place, &running);
    running.close();
    match ended {
        Ok(Ended::Well) => {
            place.leave(&teller);
            ExitCode::SUCCESS
        }
        Ok(Ended::Interrupted) => {
            teller.line("Onderbroken; alles is gestopt.", "Interrupted; everything is stopped.");
            place.leave(&teller);
            ExitCode::from(INTERRUPTED)
        }
        Err(trouble) => {
            teller.trouble(&trouble);
            place.keep(&teller);
            ExitCode::from(1)
        }
    }
}

/// Tells the story on a thread of its own, so that a signal is heard whatever the story waits for.
fn perform(args: &Args, teller: &Teller, place: &Place, running: &Running) -> Told<Ended> {
    let runtime = cli::runtime_here()?;
    let (tell, told) = oneshot::channel();
    let (keep, burst) = (args.keep, args.burst);
    let scene = (teller.clone(), place.dir().to_path_buf(), running.clone());
    let story = std::thread::spawn(move || {
        let (teller, dir, running) = scene;
        // Nobody listens any more when a signal came first.
        _ = tell.send(story::tell(&teller, &dir, &running, burst, keep));
    });
    let ended = runtime.block_on(async {
        tokio::select! {
            told = told => Some(told.unwrap_or_else(|_| Err(Trouble::bug()))),
            () = asked_to_stop() => None,
        }
    });
    match ended {
        None => {
            let patience = if running.alive().is_empty() {
                teller.line(
                    "Onderbroken; wat voor het inrichten is gestart, wordt nog gestopt.",
                    "Interrupted; what was started for setting up is being stopped.",
                );
                PATIENCE_AT_FIRST
            } else {
                PATIENCE
            };
            running.close();
            // Until it ends the story may still make files.
            let begun = Instant::now();
            while !story.is_finished() && begun.elapsed() < patience {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(Ended::Interrupted)
        }
        Some(Err(trouble)) => Err(trouble),
        Some(Ok(())) => {
            if keep {
                runtime.block_on(asked_to_stop());
                teller.line("Alles wordt gestopt.", "Stopping everything.");
            }
            Ok(Ended::Well)
        }
    }
}

/// Waits for Ctrl-C, a request to end, or the end of the terminal.
async fn asked_to_stop() {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return cli::asked_to_stop().await };
    tokio::select! {
        () = cli::asked_to_stop() => {}
        _ = hangup.recv() => {}
    }
}
