//! The sample signals of the model covenant.

use std::io;
use std::path::{Path, PathBuf};

use seinhuis_agent::{PushRequest, Target};
use seinhuis_shared::ids::MsgId;
use serde_json::Value;

use crate::forge::body;

/// The folder with the model covenant, its schemas and samples.
pub fn covenants() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../covenants")
}

/// One sample, in the form of `covenants/README.md`.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// The flow.
    pub flow: String,
    /// The message type.
    pub message_type: String,
    /// The sender's role.
    pub from: String,
    /// The recipients' roles.
    pub to: Vec<String>,
    /// A text in the body and nowhere else.
    pub canary: String,
    /// The whole file.
    pub value: Value,
}

impl Sample {
    /// It as an application pushes it, to the roles that it is for.
    pub fn request(&self, msg_id: MsgId) -> PushRequest {
        let word = |key: &str| self.value[key].as_str();
        let to = self.to.iter().filter_map(|role| role.parse().ok()).map(Target::Role).collect();
        PushRequest {
            step: word("step").and_then(|step| step.parse().ok()),
            message_type: Some(self.message_type.clone()),
            basis: word("basis").map(str::to_owned),
            ..PushRequest::new(msg_id, &self.flow, to, body(self))
        }
    }
}

/// All samples, in order of their file names.
///
/// # Errors
/// When the folder or a file cannot be read.
pub fn all() -> io::Result<Vec<Sample>> {
    let mut paths = std::fs::read_dir(covenants().join("samples"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> io::Result<Sample> {
    let value: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let to = value.get("to").and_then(Value::as_array).into_iter().flatten();
    Ok(Sample {
        flow: text("flow"),
        message_type: text("type"),
        from: text("from"),
        to: to.filter_map(|role| role.as_str().map(str::to_owned)).collect(),
        canary: text("canary"),
        path,
        value,
    })
}

/// Samples that a partnership of these roles can send.
///
/// # Errors
/// As [`all`].
pub fn among(roles: &[&str]) -> io::Result<Vec<Sample>> {
    let mut samples = all()?;
    samples.retain(|sample| {
        roles.contains(&sample.from.as_str()) && sample.to.iter().all(|role| roles.contains(&role.as_str()))
    });
    Ok(samples)
}
