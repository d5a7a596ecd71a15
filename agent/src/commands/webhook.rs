//! Webhooks: which there are, their secrets, and whether a receiver answers.

use std::path::PathBuf;

use clap::Subcommand;
use seinhuis_shared::time::Span;
use seinhuis_shell::cli::{self, Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use seinhuis_shell::webhook::{KEEP_MAX_H, Secret, Secrets};
use seinhuis_shell::{clock, files};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::messages;
use crate::config::{Config, Webhook};
use crate::home::Home;
use crate::ways::webhook::post::{Post, Verdict, ping};
use crate::ways::webhook::secrets as secrets_of;

/// Most bytes of a file with a secret.
const TEXT_MAX: usize = 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the webhooks: where each leads, of which flows, with or without content, and since when its secret counts
    List,
    /// Show the secret that the application checks signatures with; one is made when there is none
    Secret {
        /// The webhook
        name: String,
        /// Make a new one. The one before counts beside it for a while, so that the application can follow
        #[arg(long)]
        rotate: bool,
        /// Take the new one from a file, `-` for standard input, instead of making it
        #[arg(long, requires = "rotate", value_name = "FILE")]
        from: Option<PathBuf>,
        /// For how many hours the one before still counts; 0 for a secret that may be in wrong hands
        #[arg(long, requires = "rotate", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=i64::from(KEEP_MAX_H)))]
        keep: u32,
    },
    /// Send an event without content, signed, and tell what the application answers
    Test {
        /// The webhook
        name: String,
    },
}

pub(super) fn webhook(home: &Home, command: Command, ui: Ui) -> Result<Outcome, Complaint> {
    let config = home.load_config()?;
    match command {
        Command::List => list(home, &config, ui),
        Command::Secret { name, rotate, from, keep } => {
            let secrets = secrets_of(home.dir(), &find(&config, &name)?.name);
            if rotate {
                let secret = from.map_or_else(|| Ok(Secret::generate()), |path| read(&path))?;
                secrets.rotate(&secret, Span::hours(u64::from(keep)), clock::now())?;
            }
            show(&secrets, &name, ui)
        }
        Command::Test { name } => test(home, &config, &name, ui),
    }
}

fn find<'a>(config: &'a Config, name: &str) -> Result<&'a Webhook, Complaint> {
    config.webhook.iter().find(|webhook| webhook.name == name).ok_or_else(|| {
        Complaint::refused(
            Text::new(
                format!("Er is geen [[webhook]] {name:?}."),
                format!("There is no [[webhook]] {name:?}."),
            ),
            Text::new(
                "Kijk in de lijst: seinhuis-agent webhook list; of zet hem in agent.toml (docs/webhook.md).",
                "See the list: seinhuis-agent webhook list; or put it in agent.toml (docs/webhook.md).",
            ),
        )
    })
}

fn list(home: &Home, config: &Config, ui: Ui) -> Result<Outcome, Complaint> {
    let shown = |webhook: &Webhook| {
        let secrets = secrets_of(home.dir(), &webhook.name);
        let standing = secrets.exist().then(|| secrets.standing(clock::now())).transpose()?;
        Ok(json!({
            "name": webhook.name,
            "host": webhook.host(),
            "flows": webhook.flows,
            "content": webhook.content,
            "consume": webhook.consume,
            "secret": standing.as_ref().map(|standing| standing.made.clone()),
            "before_until": standing.map(|standing| standing.before_until).unwrap_or_default(),
        }))
    };
    let all = config.webhook.iter().map(shown).collect::<Result<Value, Complaint>>()?;
    let heading = ui.lang.pick(
        "NAAM ONTVANGER STROMEN INHOUD OVERNEMEN GEHEIM-VAN VORIGE-TOT",
        "NAME RECEIVER FLOWS CONTENT CONSUME SECRET-OF BEFORE-UNTIL",
    );
    let fields = ["name", "host", "flows", "content", "consume", "secret", "before_until"];
    messages::table(&all, heading, &fields, ui);
    Ok(Outcome::Done)
}

/// A secret that the application's maker drew.
fn read(path: &std::path::Path) -> Result<Secret, Complaint> {
    let bytes = Zeroizing::new(files::read_or_stdin(path, TEXT_MAX)?);
    let secret = std::str::from_utf8(&bytes).ok().and_then(|text| Secret::read(text.trim()));
    secret.ok_or_else(|| {
        Complaint::usage(
            Text::new("Dit is geen geheim van een webhook.", "This is no secret of a webhook."),
            Text::new(
                "Een geheim is whsec_ en 24 tot 64 bytes in base64.",
                "A secret is whsec_ and 24 to 64 bytes in base64.",
            ),
        )
    })
}

fn show(secrets: &Secrets, name: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let standing = secrets.ensure(clock::now())?;
    let text = standing.all.first().map(Secret::text).unwrap_or_default();
    let still = |nl: bool| match standing.before_until.iter().max() {
        Some(until) if nl => format!("\nTot {until} wordt ook met het vorige geheim ondertekend."),
        Some(until) => format!("\nUntil {until} it is signed with the secret before as well."),
        None => String::new(),
    };
    let said = Text::new(
        format!(
            "Geheim van webhook {name}, van {}:\n\n{}\n\nGeef het alleen aan de toepassing die de handtekening controleert.{}",
            standing.made,
            *text,
            still(true)
        ),
        format!(
            "Secret of webhook {name}, of {}:\n\n{}\n\nGive it to the application that checks the signature only.{}",
            standing.made,
            *text,
            still(false)
        ),
    );
    let value = json!({
        "name": name, "secret": text.as_str(), "made": standing.made, "before_until": standing.before_until,
    });
    ui.answer(&said, &value);
    Ok(Outcome::Done)
}

fn test(home: &Home, config: &Config, name: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let webhook = find(config, name)?;
    if !webhook.is_on() {
        return Err(Complaint::refused(
            Text::new(format!("Webhook {name:?} heeft geen url."), format!("Webhook {name:?} has no url.")),
            Text::new("Zet webhook.url in agent.toml.", "Put webhook.url in agent.toml."),
        ));
    }
    let (post, message) = (Post::new(webhook, home.dir())?, ping(config.oin));
    let verdict = cli::runtime_here()?.block_on(post.send(&message))?;
    match verdict {
        Verdict::Taken => {
            let host = webhook.host();
            let said = Text::new(
                format!("De ontvanger op {host} nam een ondertekende proefgebeurtenis aan ({}).", message.id),
                format!("The receiver at {host} took a signed event on trial ({}).", message.id),
            );
            ui.answer(&said, &json!({ "name": name, "taken": true, "id": message.id }));
            Ok(Outcome::Done)
        }
        Verdict::Refused(complaint) | Verdict::Down(complaint, _) => {
            Err(Complaint { exit: seinhuis_shell::complaint::Exit::Refused, ..complaint })
        }
    }
}
