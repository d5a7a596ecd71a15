//! The scenes in their order.

use std::path::Path;

use seinhuis_shell::cli::aligned;
use seinhuis_shell::lang::Text;
use seinhuis_tests::Programs;

use crate::running::Running;
use crate::show::Show;
use crate::teller::Teller;
use crate::trouble::Told;
use crate::ways::Ways;
use crate::{burst, export, keep, partnership, receipts, refusals, search, signals, ways};

/// One scene.
type Scene<'a> = &'a dyn Fn(&mut Show) -> Told;

/// Plays everything in `dir`; ends with everything running when `keep`, with nothing running otherwise.
///
/// # Errors
/// The first thing that is not as it should be.
pub(crate) fn tell(teller: &Teller, dir: &Path, running: &Running, packets: u32, keep: bool) -> Told {
    let stage = partnership::set(teller, Programs(std::env::current_exe()?), dir)?;
    let ways = Ways::open(&stage, running)?;
    let mut show = Show::new(teller.clone(), (stage, ways), running.clone())?;
    show.running.open()?;
    let burst: Scene<'_> = &|show| burst::play(show, packets);
    let scenes: [Scene<'_>; 9] = [
        &partnership::compare,
        &partnership::start,
        &signals::play,
        &ways::play,
        &refusals::play,
        burst,
        &search::play,
        &receipts::play,
        &export::play,
    ];
    for play in scenes {
        play(&mut show)?;
        // What is told after an interruption would be told of processes that are being stopped.
        show.running.open()?;
    }
    summary(&show);
    if keep { keep::open(&show) } else { Ok(()) }
}

fn summary(show: &Show) {
    show.teller.scene(10, "Samenvatting", "Summary");
    let rows: Vec<(&str, String)> =
        show.summary.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    show.teller.text(&Text::same(aligned(&rows)));
    show.teller.right("Alles is nagerekend en klopt.", "Everything was checked and is right.");
}
