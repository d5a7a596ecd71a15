//! `seinhuis-views`: what Dutch law and standards ask to see of the exchange log, from an export.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use seinhuis_verify::Key;
use seinhuis_views::{Made, View, ViewsError, write};

const USAGE: &str = "\
Usage: seinhuis-views BUNDLE.zip --key KEY --out FOLDER [--view NAME]... [--lang nl|en]

Verifies an export of the exchange log and makes views of it: ldv, adl, fsc, wpg, wjsg39j, register-art30 (docs/views.md);
all of them when none is named. KEY is the log's verifier key, from another source than the bundle.

Exit status: 0 made, 1 the bundle is not good and nothing was made, 2 they could not be made.
";

struct Arguments {
    bundle: OsString,
    key: Key,
    out: OsString,
    views: Vec<View>,
    dutch: bool,
}

/// Reads the command line; nothing when help was asked for.
fn arguments() -> Result<Option<Arguments>, String> {
    let (mut bundle, mut key, mut out, mut views, mut dutch) = (None, None, None, Vec::new(), false);
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let name = argument.to_str().unwrap_or_default().to_owned();
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        let text = |value: OsString| value.into_string().map_err(|_| format!("{name} is not text"));
        match name.as_str() {
            "-h" | "--help" => return Ok(None),
            "--key" => key = Some(Key::parse(&text(value()?)?).map_err(|error| error.to_string())?),
            "--out" => out = Some(value()?),
            "--view" => views.push(text(value()?)?.parse::<View>()?),
            "--lang" => {
                dutch = match text(value()?)?.as_str() {
                    "nl" => true,
                    "en" => false,
                    other => return Err(format!("{other:?} is no language: nl or en")),
                }
            }
            other if other.starts_with('-') => return Err(format!("{other:?} is no option")),
            _ if bundle.is_some() => return Err("one bundle at a time".to_owned()),
            _ => bundle = Some(argument),
        }
    }
    views.sort();
    views.dedup();
    if views.is_empty() {
        views.extend(View::ALL);
    }
    let bundle = bundle.ok_or("no bundle is named")?;
    let key = key.ok_or("no key is given: without it nothing is shown")?;
    let out = out.ok_or("no folder is named: --out FOLDER")?;
    Ok(Some(Arguments { bundle, key, out, views, dutch }))
}

fn told(made: &Made, dutch: bool) -> String {
    let mut text = String::new();
    for (name, count) in &made.files {
        let records = if dutch { "regels" } else { "records" };
        // Writing to a string cannot fail.
        _ = writeln!(text, "{name}: {count} {records}");
    }
    if made.without_covenant > 0 {
        let count = made.without_covenant;
        let note = if dutch {
            format!(
                "LET OP: van {count} aangenomen berichten staat het convenant niet in de export. Zij staan niet in wpg en wjsg39j: de rol van de afzender is niet bekend."
            )
        } else {
            format!(
                "NOTE: the covenant of {count} accepted messages is not in the export. They are not in wpg and wjsg39j: their sender's role is not known."
            )
        };
        _ = writeln!(text, "{note}");
    }
    text
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            return std::io::stdout()
                .write_all(USAGE.as_bytes())
                .map_or(ExitCode::from(2), |()| ExitCode::SUCCESS);
        }
        Err(problem) => {
            eprintln!("seinhuis-views: {problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let made =
        write(Path::new(&arguments.bundle), &arguments.key, Path::new(&arguments.out), &arguments.views);
    match made {
        Ok(made) => std::io::stdout()
            .write_all(told(&made, arguments.dutch).as_bytes())
            .map_or(ExitCode::from(2), |()| ExitCode::SUCCESS),
        Err(error) => {
            let nothing = if arguments.dutch { "er is niets gemaakt" } else { "nothing was made" };
            eprintln!("seinhuis-views: {error} ({nothing})");
            if matches!(error, ViewsError::NotGood(_)) { ExitCode::FAILURE } else { ExitCode::from(2) }
        }
    }
}
