//! Running the agent.

use clap::Args;
use seinhuis_shell::cli::{self, Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::control::Control;
use seinhuis_shell::lang::Text;
use serde_json::json;
use tokio::sync::oneshot;

use super::request::serve;
use crate::agent::{Agent, AgentOptions};
use crate::home::Home;

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Do not connect to the broker; what is pushed waits
    #[arg(long)]
    offline: bool,
}

pub(super) fn run(home: &Home, options: &Run, ui: Ui) -> Result<Outcome, Complaint> {
    let config = home.load_config()?;
    cli::start_log(&config.telemetry.level, config.telemetry.json)?;
    // Checked here as well, so that what is wrong ends the program instead of being tried for ever.
    home.load_grant()?.trust()?;
    let runtime = cli::runtime()?;
    let ended = runtime.block_on(async {
        let control = Control::bind(&home.socket())?;
        let agent =
            Agent::start(&AgentOptions { home: home.dir().to_path_buf(), connect: !options.offline })?;
        let (stop, stopping) = oneshot::channel::<()>();
        let answering = tokio::spawn({
            let agent = agent.clone();
            async move {
                let handler = move |value| {
                    let agent = agent.clone();
                    async move { serve(&agent, value).await }
                };
                // The sender goes when the program ends, which is a sign to stop as well.
                control.serve(handler, async move { _ = stopping.await }).await;
            }
        });
        let dir = home.dir().display();
        ui.answer(
            &Text::new(
                format!("De agent van {} draait ({dir}).", config.name),
                format!("The agent of {} is running ({dir}).", config.name),
            ),
            &json!({ "running": true, "home": home.dir(), "oin": config.oin.to_string() }),
        );
        let failed = tokio::select! {
            failed = agent.ended() => failed,
            () = cli::asked_to_stop() => {
                tracing::info!("stopping");
                None
            }
        };
        // Nobody waits any more when serving has ended already.
        _ = stop.send(());
        if answering.await.is_err() {
            tracing::warn!("the control socket ended badly");
        }
        let ended = agent.shutdown().await;
        match failed {
            Some(complaint) => Err(complaint),
            None => ended.map(|()| Outcome::Done),
        }
    });
    // What still waits for a drive that hangs does not keep the program from ending: all that counts is closed.
    runtime.shutdown_background();
    ended
}
