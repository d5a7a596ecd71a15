//! One measurement in a process of its own: what it holds and takes is that of this measurement alone.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Plan;
use crate::stage::StageError;

/// Has a build's load generator measure a plan; its figures.
pub(super) fn measure(load: &Path, plan: &Plan) -> Result<Value, StageError> {
    let words = plan.words();
    let what = |said: &str| -> StageError {
        io::Error::other(format!("`{} {}`: {}", load.display(), words.join(" "), said.trim())).into()
    };
    let output = Command::new(load)
        .arg("--json")
        .args(&words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| what(&format!("it cannot be started: {error}")))?;
    if !output.status.success() {
        // Its steps stand before its complaint.
        let said = String::from_utf8_lossy(&output.stderr);
        let complaint: Vec<&str> = said.lines().filter(|line| !line.starts_with('·')).collect();
        return Err(what(&format!("it ended with {}: {}", output.status, complaint.join("\n"))));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| what(&format!("what it printed is not JSON: {error}; is it a load generator?")))
}
