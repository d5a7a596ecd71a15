//! Making a broker's folder, and the card that partners get.

use std::net::SocketAddr;
use std::path::Path;

use clap::Args;
use seinhuis_shared::enrol::NodeKind;
use seinhuis_shared::ids::Oin;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::enrolment::{Applicant, make_request};
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use seinhuis_shell::{clock, grant, keys, renewal};
use serde_json::json;

use crate::config::{COMPLETE_SAMPLE, Config};
use crate::home::Home;

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The broker's name as people know it
    #[arg(long)]
    name: String,
    /// The organisation that runs it
    #[arg(long)]
    oin: Oin,
    /// The UDP address to listen on
    #[arg(long, default_value = "[::]:7443")]
    listen: SocketAddr,
    /// Where agents connect, as host:port
    #[arg(long)]
    advertise: String,
    /// The exchange log's name [default: HOST/uitwisseling/YEAR]
    #[arg(long)]
    log_origin: Option<String>,
}

pub(super) fn init(home: &Home, init: &Init, ui: Ui) -> Result<Outcome, Complaint> {
    let now = clock::now();
    let host = init.advertise.rsplit_once(':').map_or(init.advertise.as_str(), |(host, _)| host);
    let host = host.trim_matches(['[', ']']).to_owned();
    let year = now.to_string().chars().take(4).collect::<String>();
    let origin = init.log_origin.clone().unwrap_or_else(|| format!("{host}/uitwisseling/{year}"));
    let text = configuration(init, &origin);
    let _: Config = seinhuis_shell::config::parse("broker.toml", &text, COMPLETE_SAMPLE)?;
    files::make_private_dir(home.dir())?;
    files::make_private_dir(&home.keys())?;
    files::write(&home.config(), text.as_bytes(), Existing::Keep)?;
    let tls = keys::generate_tls(&home.tls_key())?;
    let signing = keys::generate_signing(&home.signing_key())?;
    keys::generate_signing(&home.log_key())?;
    let applicant = Applicant { kind: NodeKind::Broker, oin: init.oin, name: &init.name, hosts: &[host] };
    let request = make_request(&applicant, &signing, &tls, now)?;
    let request_file = home.dir().join("broker-request.cose");
    files::write(&request_file, &request, Existing::Keep)?;
    let fingerprint = grant::fingerprint(&request);
    home.load_config()?;
    let (path, dir) = (request_file.display(), home.dir().display());
    ui.answer(
        &Text::new(
            format!(
                "Gemaakt: {dir}\nAanvraag voor de partnerschaps-CA: {path}\nVingerafdruk om voor te lezen: {fingerprint}\nZet het antwoord neer als {}.",
                home.grant().display()
            ),
            format!(
                "Made: {dir}\nRequest for the partnership CA: {path}\nFingerprint to read out: {fingerprint}\nPut the answer at {}.",
                home.grant().display()
            ),
        ),
        &json!({ "home": home.dir(), "request": request_file, "fingerprint": fingerprint }),
    );
    Ok(Outcome::Done)
}

pub(super) fn renew(home: &Home, request: Option<&Path>, ui: Ui) -> Result<Outcome, Complaint> {
    let config = home.load_config()?;
    let grant = home.load_grant()?;
    home.renewal().settle(&grant)?;
    let (signing, tls) = (keys::load_signing(&home.signing_key())?, home.renewal().next_key()?);
    let hosts = renewal::hosts(&grant)?;
    let applicant = Applicant { kind: NodeKind::Broker, oin: config.oin, name: &grant.name, hosts: &hosts };
    let bytes = make_request(&applicant, &signing, &tls, clock::now())?;
    let path = request.map_or_else(|| home.dir().join("broker-renewal.cose"), Path::to_path_buf);
    files::write(&path, &bytes, Existing::Replace)?;
    let (file, answer) = (path.display(), home.grant());
    let fingerprint = grant::fingerprint(&bytes);
    ui.answer(
        &Text::new(
            format!(
                "Aanvraag voor de partnerschaps-CA: {file}\nLaat de CA vernieuwen (seinhuis-certs renew) en zet het antwoord neer als {}; een broker die draait neemt het vanzelf over.",
                answer.display()
            ),
            format!(
                "Request for the partnership CA: {file}\nHave the CA renew (seinhuis-certs renew) and put its answer at {}; a running broker takes it over by itself.",
                answer.display()
            ),
        ),
        &json!({ "request": path, "fingerprint": fingerprint }),
    );
    Ok(Outcome::Done)
}

fn configuration(init: &Init, origin: &str) -> String {
    let quoted = |text: &str| json!(text).to_string();
    format!(
        "# Seinhuis broker. Every key there is: see samples/complete.toml.\n\nname = {}\noin = \"{}\"\nlisten = \"{}\"\nadvertise = {}\nlog_origin = {}\n",
        quoted(&init.name),
        init.oin,
        init.listen,
        quoted(&init.advertise),
        quoted(origin)
    )
}

pub(super) fn card(home: &Home, out: Option<&Path>, ui: Ui) -> Result<Outcome, Complaint> {
    let config = home.load_config()?;
    let log = super::log::identities(home)?.pop().ok_or_else(|| Complaint::bug("a broker without a log"))?;
    let bytes = home.make_card(&config, &log).to_bytes();
    let path = out.map_or_else(|| home.card(), Path::to_path_buf);
    files::write(&path, &bytes, Existing::Replace)?;
    let fingerprint = grant::fingerprint(&bytes);
    ui.answer(
        &Text::new(
            format!("Brokerkaart: {}\nVingerafdruk om voor te lezen: {fingerprint}", path.display()),
            format!("Broker card: {}\nFingerprint to read out: {fingerprint}", path.display()),
        ),
        &json!({ "card": path, "fingerprint": fingerprint }),
    );
    Ok(Outcome::Done)
}
