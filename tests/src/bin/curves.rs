//! Draws the curves of docs/performance.md from `docs/curves/curves.json`, beside it.

use std::path::Path;
use std::process::ExitCode;

use seinhuis_tests::load::curves;

fn run(folder: &Path) -> Result<(), String> {
    let from = folder.join("curves.json");
    let figures = std::fs::read_to_string(&from).map_err(|error| format!("{}: {error}", from.display()))?;
    for drawn in curves::draw(&figures)? {
        let to = folder.join(&drawn.file);
        std::fs::write(&to, drawn.svg).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/curves"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}
