//! Runs of this program under callgrind, and what it counted.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{COUNTED, Case};

/// Instructions, and apart from them those of SHA-256: valgrind's processor has no instructions for it, so that a library
/// takes its portable code, several times as long as what runs elsewhere, in which everything else would be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) instructions: u64,
    pub(crate) sha256: u64,
}

/// Where the profile of the longer run is left.
pub(crate) fn profile(of: &str, case: &Case) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{of}.{}.callgrind", case.name))
}

/// What one operation takes.
pub(crate) fn count(of: &str, case: &Case) -> Result<Count, String> {
    let long = profile(of, case);
    let short = long.with_extension("shorter");
    let runs = [(&short, case.rounds), (&long, 2 * case.rounds)];
    let runs = runs.map(|(file, rounds)| start(case.name, rounds, file).map(|child| (child, file)));
    let [fewer, more] = runs.map(|run| run.and_then(|(child, file)| finish(child, file)));
    let (fewer, more) = (fewer?, more?);
    fs::remove_file(&short).map_err(|error| format!("{}: {error}", short.display()))?;
    let operations = case.operations * u64::try_from(case.rounds).unwrap_or(u64::MAX);
    let each = |fewer: u64, more: u64| Some((more.checked_sub(fewer)? + operations / 2) / operations);
    let instructions = each(fewer.instructions, more.instructions).filter(|each| *each > 0);
    let both = instructions.zip(each(fewer.sha256, more.sha256));
    let (instructions, sha256) =
        both.ok_or_else(|| format!("{}: twice the rounds took no more: is it optimised away?", case.name))?;
    Ok(Count { instructions, sha256 })
}

/// Nothing of the surroundings goes along: variables and arguments stand on the stack and move what comes after them.
fn start(name: &str, rounds: usize, file: &Path) -> Result<Child, String> {
    let own = env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    let mut output = std::ffi::OsString::from("--callgrind-out-file=");
    output.push(file);
    Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(output)
        .arg(own)
        .args([COUNTED, name, &format!("{rounds:06}")])
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("valgrind does not start: {error}"))
}

fn finish(child: Child, file: &Path) -> Result<Count, String> {
    let done = child.wait_with_output().map_err(|error| format!("valgrind: {error}"))?;
    if !done.status.success() {
        return Err(format!("under valgrind, {}: {}", done.status, String::from_utf8_lossy(&done.stderr)));
    }
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    read(&text)
        .ok_or_else(|| format!("{} is not as callgrind 3.19 writes it: is this another?", file.display()))
}

/// Adds up a profile. `fn=(number) name` begins a function and names it the first time; a line that begins with a place
/// in the source ends with what was executed there, unless it follows `calls=`: then it is what a call took in all.
fn read(text: &str) -> Option<Count> {
    let mut hashing = Vec::new();
    let (mut of_hash, mut of_call) = (false, false);
    let (mut total, mut sha256, mut stated) = (0, 0, None);
    for line in text.lines() {
        if let Some(function) = line.strip_prefix("fn=") {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            learn(&mut hashing, number, name);
            of_hash = hashing.contains(&number);
        } else if let Some(function) = line.strip_prefix("cfn=") {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            learn(&mut hashing, number, name);
        } else if line.starts_with("calls=") {
            of_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost: u64 = line.split(' ').nth(1)?.parse().ok()?;
            if !std::mem::take(&mut of_call) {
                total += cost;
                sha256 += if of_hash { cost } else { 0 };
            }
        } else if let Some(all) = line.strip_prefix("totals:") {
            stated = all.trim().parse().ok();
        }
    }
    (stated == Some(total)).then(|| Count { instructions: total - sha256, sha256 })
}

/// Remembers the number of a function that is SHA-256.
fn learn<'a>(hashing: &mut Vec<&'a str>, number: &'a str, name: &str) {
    if name.starts_with("sha2::sha256::") {
        hashing.push(number);
    }
}
