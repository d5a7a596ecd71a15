//! The record, `tests/instructions.toml`: one number a case, and with what they were counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Count;

const HEAD: &str = "\
# Instructions of one operation, counted by callgrind, those of SHA-256 apart: see docs/performance.md. A case that takes
# more than three per cent above its record fails. Written by SEINHUIS_BLESS=1; why a number rises, the commit says.
";

/// With what counts were made: others may give other counts of the same code.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Made {
    processor: String,
    rustc: String,
    valgrind: String,
}

impl Made {
    /// With what this run counts; says why it cannot.
    pub(crate) fn here() -> Result<Self, String> {
        if cfg!(debug_assertions) {
            return Err("this build is not optimised: run it with `cargo bench`".into());
        }
        let processor =
            processor().ok_or("the record is of 64-bit x86 with AVX2, which this machine is not")?;
        let valgrind = version("valgrind").ok_or(
            "valgrind is not there: install Debian's package `valgrind`, or what your system calls it",
        )?;
        let rustc = version("rustc").unwrap_or_else(|| "unknown".into());
        Ok(Self { processor: processor.into(), rustc, valgrind })
    }

    /// A sentence about what is not as it was when the record was made, if anything is.
    pub(crate) fn difference(&self, here: &Self) -> Option<String> {
        (self != here && *self != Self::default()).then(|| {
            format!(
                "the record was made with {}; here are {}. Counts may differ for that alone.",
                self.named(),
                here.named()
            )
        })
    }

    fn named(&self) -> String {
        format!("{}, {} and {}", self.rustc, self.valgrind, self.processor)
    }
}

/// The class of processor that decides which code libraries choose, as far as valgrind shows it to them.
#[cfg(target_arch = "x86_64")]
fn processor() -> Option<&'static str> {
    std::arch::is_x86_feature_detected!("avx2").then_some("x86_64 with AVX2")
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> Option<&'static str> {
    None
}

/// The first two words at most of what a program says of its version.
fn version(program: &str) -> Option<String> {
    let said = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    said.status.success().then(|| words.join(" "))
}

/// What is recorded.
#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) made: Made,
    /// By crate and case: `crate.case`.
    pub(crate) counts: BTreeMap<String, Count>,
}

/// Beside the benchmarks' common code, from whichever crate this is built.
fn path() -> Result<PathBuf, String> {
    let of_crate = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = of_crate.ancestors().find(|folder| folder.join("Cargo.lock").exists());
    Ok(root.ok_or("no workspace above this crate")?.join("tests/instructions.toml"))
}

impl Recorded {
    /// Reads the record: no more of TOML than what [`Self::write`] writes. Nothing is recorded in a file that is not there.
    pub(crate) fn read() -> Result<Self, String> {
        let path = path()?;
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut recorded = Self::default();
        let mut section = String::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
                continue;
            }
            recorded.take(&section, line).ok_or_else(|| {
                format!("{}, line {number} is not of a record: SEINHUIS_BLESS=1 writes it", path.display())
            })?;
        }
        Ok(recorded)
    }

    fn take(&mut self, section: &str, line: &str) -> Option<()> {
        let (key, value) = line.split_once(" = ")?;
        if section == "made" {
            let value = value.strip_prefix('"')?.strip_suffix('"')?.to_owned();
            match key {
                "processor" => self.made.processor = value,
                "rustc" => self.made.rustc = value,
                "valgrind" => self.made.valgrind = value,
                _ => return None,
            }
            return Some(());
        }
        let count = self.counts.entry(section.to_owned()).or_default();
        match key {
            "instructions" => count.instructions = value.parse().ok()?,
            "sha256" => count.sha256 = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// Writes the record, in the order of names.
    pub(crate) fn write(&self) -> Result<(), String> {
        let Made { processor, rustc, valgrind } = &self.made;
        let mut text = format!(
            "{HEAD}\n[made]\nprocessor = \"{processor}\"\nrustc = \"{rustc}\"\nvalgrind = \"{valgrind}\"\n"
        );
        for (name, Count { instructions, sha256 }) in &self.counts {
            _ = write!(text, "\n[{name}]\ninstructions = {instructions}\nsha256 = {sha256}\n");
        }
        let path = path()?;
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}
