//! How far an export is, while it is waited for: a bar on a terminal, else a line now and then.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use seinhuis_shell::cli::Ui;

use crate::export::{look, progress_of};

const PACE: Duration = Duration::from_millis(250);

/// Does something that writes its progress beside `out`, and shows that meanwhile on standard error.
pub(super) fn while_waiting<T>(ui: Ui, out: &Path, act: impl FnOnce() -> T) -> T {
    if ui.json {
        return act();
    }
    let (done, ended) = mpsc::channel::<()>();
    let path = progress_of(out);
    let watcher = thread::spawn(move || watch(ui, &path, &ended));
    let result = act();
    drop(done);
    // What it shows is lost with it, and nothing else.
    _ = watcher.join();
    result
}

fn watch(ui: Ui, path: &Path, ended: &mpsc::Receiver<()>) {
    let message = ui.lang.pick("logregels gelezen", "entries read");
    let bar = std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new(0).with_message(message);
        if let Ok(style) = ProgressStyle::with_template("   {bar:30} {percent} % {msg}, nog {eta}") {
            bar.set_style(style);
        }
        bar
    });
    let mut told = 0;
    while ended.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
        let Some((done, total)) = look(path) else { continue };
        if let Some(bar) = &bar {
            bar.set_length(total);
            bar.set_position(done);
        } else if let Some(tenth) = tenth(done, total).filter(|tenth| *tenth > told) {
            told = tenth;
            // Nobody is there to read it when standard error is closed.
            _ = writeln!(std::io::stderr().lock(), "{tenth}0 % {message}");
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// How many tenths are done.
fn tenth(done: u64, total: u64) -> Option<u64> {
    done.saturating_mul(10).checked_div(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_are_of_what_there_is() {
        assert_eq!(
            [tenth(0, 0), tenth(0, 5), tenth(9, 90), tenth(90, 90)],
            [None, Some(0), Some(1), Some(10)]
        );
    }
}
