//! After the last scene: everything runs on, and people try for themselves.

use std::path::Path;

use seinhuis_shell::cli::aligned;
use seinhuis_shell::lang::Text;

use crate::show::{Show, text};
use crate::trouble::{Told, check};
use crate::ways::{person, token};

/// A path as one types it: relative to where one is, when that is shorter.
fn typed(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf));
    relative.unwrap_or_else(|| path.to_path_buf()).display().to_string()
}

/// Prints commands to try, and how to reach pages and APIs.
///
/// # Errors
/// When a process has ended.
pub(crate) fn open(show: &Show) -> Told {
    check(
        show.running.alive().len() == show.stage.members.len() + 1,
        "Niet alle processen draaien nog.",
        "Not all processes are still running.",
    )?;
    show.teller.scene(11, "Zelf proberen", "Try it yourself");
    let demo = typed(&std::env::current_exe()?);
    let agent = |role: &str| format!("{demo} agent --home {}", show.stage.member(role).home.display());
    let broker = format!("{demo} broker --home {}", show.stage.broker_home().display());
    let sample = show.sample("F01")?.path.canonicalize()?;
    let commands = [
        format!("{} inbox list", agent("gemeente")),
        format!("{} inbox read 1", agent("gemeente")),
        format!("{} push {} --wait 10", agent("jongerenwerk"), typed(&sample)),
        format!("{} status", agent("politie")),
        format!("{} doctor", agent("om")),
        format!("{broker} log tail -n 10"),
        format!("{broker} partner list"),
        format!("{broker} covenant show"),
        format!("{broker} top"),
    ];
    for command in commands {
        show.teller.line(command.clone(), command);
    }
    doors(show)?;
    console(show)?;
    let alive = show.running.alive();
    let names: Vec<String> = alive.iter().map(|(name, id)| format!("{name} {id}")).collect();
    show.teller.line(
        format!("\nAlles draait ({}). Ctrl-C stopt het.", names.join(", ")),
        format!("\nEverything is running ({}). Ctrl-C stops it.", names.join(", ")),
    );
    Ok(())
}

/// Prints where the broker's console is, with a name and a code that lets in once.
fn console(show: &Show) -> Told {
    let name = show.teller.pick("Bezoeker", "Visitor");
    show.stage.broker(&["operator", "add", name, "--role", "operator"])?;
    let made = show.stage.broker(&["operator", "login", name])?;
    let (address, code) = (show.ways.console(), text(&made, "code"));
    show.teller.line(
        format!("\nDe console van de broker, in een browser:\nhttp://{address}/  naam: {name}  wachtwoord (eenmalig, tien minuten): {code}"),
        format!("\nThe broker's console, in a browser:\nhttp://{address}/  name: {name}  password (once, ten minutes): {code}"),
    );
    Ok(())
}

/// Prints where pages and APIs are, with a code and a token for whoever tries them.
fn doors(show: &Show) -> Told {
    let visitor = show.teller.pick("Bezoeker", "Visitor");
    let mut rows = Vec::new();
    for (role, address) in show.ways.pages() {
        let code = person(&show.stage, show.stage.member(role), visitor, "read,push,release,cases")?;
        rows.push((
            role,
            format!("http://{address}/  {}: {code}", show.teller.pick("toegangscode", "access code")),
        ));
    }
    show.teller.line("\nDe pagina voor mensen, in een browser:", "\nThe page for people, in a browser:");
    show.teller.text(&Text::same(aligned(&rows)));
    rows.clear();
    for (role, address) in show.ways.apis() {
        let made = token(&show.stage, show.stage.member(role), "demo", &["send:*", "receive:*"])?;
        rows.push((role, format!("curl -H 'Authorization: Bearer {made}' http://{address}/v1/inbox")));
    }
    show.teller.line("\nDe API voor systemen:", "\nThe API for systems:");
    show.teller.text(&Text::same(aligned(&rows)));
    Ok(())
}
