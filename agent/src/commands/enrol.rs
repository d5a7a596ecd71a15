//! Enrolling in a partnership: the request out, the CA's answer and the broker's card in.

use std::path::{Path, PathBuf};

use clap::Args;
use seinhuis_shared::enrol::NodeKind;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::enrolment::{Applicant, make_request};
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::grant::{BrokerCard, Grant, Kind, fingerprint};
use seinhuis_shell::lang::Text;
use seinhuis_shell::{clock, keys};
use serde_json::json;

use crate::config::Config;
use crate::home::Home;

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Enrol {
    /// Write the request for the partnership CA to this file
    #[arg(long, conflicts_with_all = ["accept", "broker"])]
    request: Option<PathBuf>,
    /// Accept what the CA issued
    #[arg(long)]
    accept: Option<PathBuf>,
    /// The broker's card; needed the first time, and whenever the broker changes
    #[arg(long)]
    broker: Option<PathBuf>,
}

pub(super) fn enrol(home: &Home, enrol: &Enrol, ui: Ui) -> Result<Outcome, Complaint> {
    match (&enrol.request, &enrol.accept) {
        (Some(path), _) => request(home, path, ui),
        (None, Some(grant)) => accept(home, grant, enrol.broker.as_deref(), ui),
        (None, None) => Err(Complaint::usage(
            Text::new("--broker hoort bij --accept.", "--broker goes with --accept."),
            Text::new(
                "Noem ook het bestand van de CA: enrol --accept BESTAND --broker KAART.",
                "Name the CA's file as well: enrol --accept FILE --broker CARD.",
            ),
        )),
    }
}

fn request(home: &Home, path: &Path, ui: Ui) -> Result<Outcome, Complaint> {
    let config = home.load_config()?;
    // Who has a certificate asks for the next one with a new key.
    let tls = if home.grant().exists() {
        let renewal = home.renewal();
        renewal.settle(&home.load_grant()?)?;
        renewal.next_key()?
    } else {
        keys::load_tls(&home.tls_key())?
    };
    let signing = keys::load_signing(&home.signing_key())?;
    let applicant = Applicant { kind: NodeKind::Agent, oin: config.oin, name: &config.name, hosts: &[] };
    let request = make_request(&applicant, &signing, &tls, clock::now())?;
    files::write(path, &request, Existing::Replace)?;
    let print = fingerprint(&request);
    let file = path.display();
    ui.answer(
        &Text::new(
            format!(
                "Aanvraag voor de partnerschaps-CA en de broker: {file}\nVingerafdruk om voor te lezen: {print}\nHierna: seinhuis-agent enrol --accept UITGIFTE --broker BROKERKAART"
            ),
            format!(
                "Request for the partnership CA and the broker: {file}\nFingerprint to read out: {print}\nNext: seinhuis-agent enrol --accept GRANT --broker CARD"
            ),
        ),
        &json!({ "request": path, "fingerprint": print }),
    );
    Ok(Outcome::Done)
}

fn accept(home: &Home, grant: &Path, card: Option<&Path>, ui: Ui) -> Result<Outcome, Complaint> {
    let config = home.load_config()?;
    let granted = Grant::load(grant)?;
    check_grant(home, &config, &granted)
        .map_err(|complaint| complaint.about(&grant.display().to_string()))?;
    let (card_bytes, card) = match card {
        Some(path) => {
            let card = BrokerCard::load(path)?;
            home.log_key(&card)?;
            (Some(card.to_bytes()), card)
        }
        None => (None, home.load_card()?),
    };
    if let Some(bytes) = card_bytes {
        files::write(&home.card(), &bytes, Existing::Replace)?;
    }
    files::write(&home.grant(), &granted.to_bytes(), Existing::Replace)?;
    home.renewal().settle(&granted)?;
    let (ca, broker) = (fingerprint(granted.ca.as_bytes()), fingerprint(&card.to_bytes()));
    let (end, log) = (granted.not_after, &card.log_key);
    ui.answer(
        &Text::new(
            format!(
                "Aangemeld; het certificaat geldt tot {end}.\nVergelijk telefonisch voordat u de agent start:\n  CA            {ca}\n  brokerkaart   {broker}\n  logsleutel    {log}\nHierna: seinhuis-agent run, en seinhuis-agent covenant list om het convenant te lezen en te ondertekenen"
            ),
            format!(
                "Enrolled; the certificate is valid until {end}.\nCompare by telephone before you start the agent:\n  CA            {ca}\n  broker card   {broker}\n  log key       {log}\nNext: seinhuis-agent run, and seinhuis-agent covenant list to read and sign the covenant"
            ),
        ),
        &json!({
            "not_after": end.to_string(),
            "ca_fingerprint": ca,
            "card_fingerprint": broker,
            "log_key": log,
        }),
    );
    Ok(Outcome::Done)
}

/// Checks that a grant is for this agent: its organisation, its key, and signed by the CA it names.
pub(super) fn check_grant(home: &Home, config: &Config, grant: &Grant) -> Result<(), Complaint> {
    let wrong = |nl: String, en: String| {
        Complaint::refused(
            Text::new(nl, en),
            Text::new(
                "Vraag de CA om de uitgifte die bij de laatste aanvraag van deze agent hoort.",
                "Ask the CA for the grant that belongs to this agent's latest request.",
            ),
        )
    };
    if grant.kind != Kind::Agent {
        return Err(wrong(
            "De uitgifte is niet voor een agent.".into(),
            "The grant is not for an agent.".into(),
        ));
    }
    if grant.oin != config.oin {
        return Err(wrong(
            format!("De uitgifte is voor {}, deze agent is van {}.", grant.oin, config.oin),
            format!("The grant is for {}, this agent is of {}.", grant.oin, config.oin),
        ));
    }
    let identity = home.renewal().identity(grant)?;
    verify_chain(grant, &identity).map_err(|error| {
        wrong(
            format!("Het certificaat in de uitgifte houdt geen stand tegen de CA erin: {error}."),
            format!("The certificate in the grant does not hold against the CA in it: {error}."),
        )
    })
}

/// The same check that the broker makes at every connection.
fn verify_chain(grant: &Grant, identity: &seinhuis_shell::tls::Identity) -> Result<(), String> {
    let trust = grant.trust().map_err(|complaint| complaint.what.en)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trust.ca.clone()).map_err(|error| error.to_string())?;
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
        .with_crls(trust.crls)
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| error.to_string())?;
    let (leaf, rest) = identity.chain.split_first().ok_or("no certificate")?;
    verifier
        .verify_client_cert(leaf, rest, rustls_pki_types::UnixTime::now())
        .map(|_| ())
        .map_err(|error| error.to_string())
}
