//! Waiting for the broker's answer to what a command left with the agent.

use std::time::{Duration, Instant};

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};

/// How long a command waits for the broker's answer before it leaves the rest to the agent.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// Looks `again` for as long as what was seen is to be waited for, and patience lasts.
pub(super) fn while_open<T>(
    mut seen: T,
    open: impl Fn(&T) -> bool,
    again: impl Fn(&T) -> Result<T, Complaint>,
) -> Result<T, Complaint> {
    let since = Instant::now();
    while open(&seen) && since.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
        seen = again(&seen)?;
    }
    Ok(seen)
}

/// What is to be told under `shown` of something that was said: that it `waits`, or that the broker has it.
pub(super) fn told(waits: bool, shown: impl Fn(Lang) -> String) -> Text {
    let (nl, en) = if waits {
        (
            "Vastgelegd; de agent zegt het de broker zodra er verbinding is.",
            "Recorded; the agent tells the broker as soon as there is a connection.",
        )
    } else {
        ("De broker heeft het vastgelegd.", "The broker has logged it.")
    };
    Text::new(format!("{}\n{nl}", shown(Lang::Nl)), format!("{}\n{en}", shown(Lang::En)))
}
