//! The model covenant with its example partnership, read from the repository.
#![allow(dead_code, reason = "each test binary uses its own half")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test kit: what it cannot read ends the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use seinhuis_shared::covenant::{
    Compiled, Covenant, CovenantError, Declared, Level, Part, Question, Role, Size, Step,
};
use seinhuis_shared::ids::{CaseId, Oin};
use seinhuis_shared::time::{Span, Timestamp};

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../covenants")
}

pub(crate) fn read(name: &str) -> String {
    let path = folder().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn load(path: &str) -> Result<String, String> {
    fs::read_to_string(folder().join(path)).map_err(|error| error.to_string())
}

pub(crate) fn parse(model: &str, partnership: &str) -> Result<Covenant, CovenantError> {
    let parts =
        [Part { name: "model.toml", text: model }, Part { name: "partnership.toml", text: partnership }];
    Covenant::from_toml_parts(&parts, &mut load)
}

static MODEL: LazyLock<Covenant> = LazyLock::new(|| {
    parse(&read("model.toml"), &read("partnership.example.toml")).unwrap_or_else(|error| panic!("{error}"))
});

/// The model with the example partnership, read once per test binary.
pub(crate) fn model() -> Covenant {
    MODEL.clone()
}

pub(crate) fn compiled() -> Compiled {
    Compiled::new(model()).unwrap()
}

/// The example partnership numbers its parties in the order of [`Role::ALL`].
pub(crate) fn oin(role: Role) -> Oin {
    let number = Role::ALL.iter().position(|one| *one == role).unwrap() + 1;
    format!("0000009900000000{number}000").parse().unwrap()
}

pub(crate) fn now() -> Timestamp {
    Timestamp::parse("2026-06-01").unwrap()
}

/// A question that owns what it asks.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) flow: String,
    pub(crate) from: Oin,
    pub(crate) to: Vec<Oin>,
    pub(crate) case: Option<CaseId>,
    pub(crate) declared: Declared,
    pub(crate) now: Timestamp,
    pub(crate) ttl: Span,
    pub(crate) size: Size,
}

impl Ask {
    pub(crate) fn question(&self) -> Question<'_> {
        Question {
            flow: &self.flow,
            sender: self.from,
            recipients: &self.to,
            case: self.case,
            declared: &self.declared,
            now: self.now,
            issued: self.now,
            expires: self.now.plus(self.ttl),
            size: self.size,
        }
    }
}

pub(crate) struct Sample {
    pub(crate) file: String,
    pub(crate) flow: String,
    pub(crate) message_type: String,
    pub(crate) from: Role,
    pub(crate) to: Vec<Role>,
    pub(crate) step: Step,
    pub(crate) case: Option<CaseId>,
    pub(crate) basis: String,
    pub(crate) canary: String,
    pub(crate) body: Vec<u8>,
}

fn text<'v>(value: &'v serde_json::Value, file: &str, name: &str) -> &'v str {
    value.get(name).and_then(|v| v.as_str()).unwrap_or_else(|| panic!("{file}: no text `{name}`"))
}

pub(crate) fn samples() -> Vec<Sample> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for entry in fs::read_dir(folder().join("samples")).unwrap() {
        let path = entry.unwrap().path();
        // Spreadsheets are in a folder of their own.
        if path.is_dir() {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        files.insert(name, fs::read_to_string(&path).unwrap());
    }
    files.iter().map(|(file, content)| sample(file, content)).collect()
}

fn sample(file: &str, content: &str) -> Sample {
    let value: serde_json::Value = serde_json::from_str(content).unwrap_or_else(|e| panic!("{file}: {e}"));
    let known = ["flow", "type", "from", "to", "step", "case", "basis", "canary", "body"];
    for key in value.as_object().unwrap().keys() {
        assert!(known.contains(&key.as_str()), "{file}: README.md does not name `{key}`");
    }
    let to = value["to"].as_array().unwrap().iter().map(|role| role.as_str().unwrap().parse().unwrap());
    Sample {
        file: file.to_owned(),
        flow: text(&value, file, "flow").to_owned(),
        message_type: text(&value, file, "type").to_owned(),
        from: text(&value, file, "from").parse().unwrap(),
        to: to.collect(),
        step: text(&value, file, "step").parse().unwrap(),
        case: value.get("case").map(|case| case.as_str().unwrap().parse().unwrap()),
        basis: text(&value, file, "basis").to_owned(),
        canary: text(&value, file, "canary").to_owned(),
        body: serde_json::to_vec(&value["body"]).unwrap(),
    }
}

impl Sample {
    pub(crate) fn ask(&self, compiled: &Compiled) -> Ask {
        let declared = compiled
            .declare(&self.flow, &self.message_type, self.step, Some(&self.basis), &self.body)
            .unwrap_or_else(|error| panic!("{}: {error}", self.file));
        Ask {
            flow: self.flow.clone(),
            from: oin(self.from),
            to: self.to.iter().map(|role| oin(*role)).collect(),
            case: self.case,
            declared,
            now: now(),
            ttl: Span::days(14),
            size: Size::Body(u64::try_from(self.body.len()).unwrap()),
        }
    }
}

/// The first sample of a flow, as a question that is permitted.
pub(crate) fn ask(compiled: &Compiled, flow: &str) -> Ask {
    let samples = samples();
    let sample = samples.iter().find(|sample| sample.flow == flow).unwrap();
    sample.ask(compiled)
}

/// Sets the declared categories and the level that belongs to them.
pub(crate) fn declare(ask: &mut Ask, compiled: &Compiled, categories: &[&str]) {
    let mut categories: Vec<String> = categories.iter().map(|code| (*code).to_owned()).collect();
    categories.sort();
    let levels = categories.iter().map(|code| compiled.level_of(code).unwrap());
    ask.declared.level = levels.max().unwrap_or(Level::G);
    ask.declared.categories = categories;
}
