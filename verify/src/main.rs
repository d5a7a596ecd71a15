//! `seinhuis-verify`: checks an export of the exchange log, without network and without the broker.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;

use seinhuis_verify::{Code, Key, Policy, say, say::Language, verify};

const USAGE: &str = "\
Usage: seinhuis-verify BUNDLE.zip --key KEY [--policy FILE] [--lang nl|en] [--json]

Checks an export of the exchange log. KEY is the log's verifier key, name+id+key, from another source than the
bundle: the grant of any agent, or `seinhuis-broker log key`. FILE says which witnesses have to have cosigned the
checkpoint (C2SP tlog-policy), from a partner; without it witnesses are not judged.

Exit status: 0 good, 1 not good, 2 it could not be checked.
";

struct Arguments {
    bundle: OsString,
    key: Key,
    policy: Option<Policy>,
    language: Language,
    json: bool,
}

/// Reads the command line; nothing when help was asked for.
fn arguments() -> Result<Option<Arguments>, String> {
    let (mut bundle, mut key, mut policy, mut language, mut json) =
        (None, None, None, Language::English, false);
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let text = argument.to_str().unwrap_or_default().to_owned();
        let (name, mut value) = match text.split_once('=') {
            Some((name, value)) if text.starts_with("--") => (name, Some(value.to_owned())),
            Some(_) | None => (text.as_str(), None),
        };
        let mut value = || {
            let next = || arguments.next().and_then(|next| next.into_string().ok());
            value.take().or_else(next).ok_or_else(|| format!("{name} needs a value"))
        };
        match name {
            "-h" | "--help" => return Ok(None),
            "--json" => json = true,
            "--key" => key = Some(Key::parse(&value()?).map_err(|error| error.to_string())?),
            "--policy" => {
                let path = value()?;
                let text = std::fs::read(&path).map_err(|error| format!("{path} cannot be read: {error}"))?;
                policy = Some(Policy::parse(&text).map_err(|error| format!("{path}: {error}"))?);
            }
            "--lang" => {
                language = match value()?.as_str() {
                    "nl" => Language::Dutch,
                    "en" => Language::English,
                    other => return Err(format!("{other:?} is no language: nl or en")),
                }
            }
            other if other.starts_with('-') => return Err(format!("{other:?} is no option")),
            _ if bundle.is_some() => return Err("one bundle at a time".to_owned()),
            _ => bundle = Some(argument),
        }
    }
    let bundle = bundle.ok_or("no bundle is named")?;
    let key = key.ok_or("no key is given: without it nothing is shown")?;
    Ok(Some(Arguments { bundle, key, policy, language, json }))
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return say(USAGE),
        Err(problem) => {
            eprintln!("seinhuis-verify: {problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let verdict = File::open(&arguments.bundle)
        .and_then(|file| verify(file, &arguments.key, arguments.policy.as_ref()));
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(error) => {
            eprintln!("seinhuis-verify: {} cannot be read: {error}", arguments.bundle.display());
            return ExitCode::from(2);
        }
    };
    let said = say(&if arguments.json {
        say::json(&verdict, arguments.language)
    } else {
        say::people(&verdict, arguments.language)
    });
    if said != ExitCode::SUCCESS || verdict.code() == Code::Good { said } else { ExitCode::FAILURE }
}
