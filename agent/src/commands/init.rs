//! Making an agent's folder.

use clap::Args;
use data_encoding::HEXLOWER;
use seinhuis_shared::ids::Oin;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::keys;
use seinhuis_shell::lang::Text;
use serde_json::json;

use crate::config::Config;
use crate::home::Home;

#[derive(Debug, Args)]
pub(super) struct Init {
    /// This organisation's OIN, 20 characters
    #[arg(long)]
    oin: Oin,
    /// Its name as people know it
    #[arg(long)]
    name: String,
    /// Where to reach the broker instead of the address on its card, as host:port
    #[arg(long)]
    broker: Option<String>,
}

pub(super) fn init(home: &Home, init: &Init, ui: Ui) -> Result<Outcome, Complaint> {
    let text = configuration(init);
    Config::parse("agent.toml", &text)?;
    files::make_private_dir(home.dir())?;
    files::make_private_dir(&home.keys())?;
    files::write(&home.config(), text.as_bytes(), Existing::Keep)?;
    keys::generate_tls(&home.tls_key())?;
    keys::generate_symmetric(&home.store_key())?;
    let signing = keys::generate_signing(&home.signing_key())?;
    let key = HEXLOWER.encode(&signing.public().to_bytes());
    let witness = HEXLOWER.encode(&keys::generate_signing(&home.witness_key())?.public().to_bytes());
    let dir = home.dir().display();
    ui.answer(
        &Text::new(
            format!(
                "Gemaakt: {dir}\nVoor het convenant, bij deze partij:\n  signing_keys = [\"{key}\"]\n  witness_key = \"{witness}\"\nHierna: seinhuis-agent enrol --request aanvraag.cose"
            ),
            format!(
                "Made: {dir}\nFor the covenant, at this party:\n  signing_keys = [\"{key}\"]\n  witness_key = \"{witness}\"\nNext: seinhuis-agent enrol --request request.cose"
            ),
        ),
        &json!({ "home": home.dir(), "oin": init.oin.to_string(), "signing_key": key, "witness_key": witness }),
    );
    Ok(Outcome::Done)
}

fn configuration(init: &Init) -> String {
    let transport = init
        .broker
        .as_ref()
        .map_or_else(String::new, |at| format!("\n[transport]\nbroker = {}\n", json!(at)));
    format!(
        "# Seinhuis agent. Every key there is: see samples/complete.toml.\n\noin = \"{}\"\nname = {}\n{transport}",
        init.oin,
        json!(init.name)
    )
}
