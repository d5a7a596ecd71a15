//! Pinning covenants.

use std::path::PathBuf;

use seinhuis_shared::covenant::Compiled;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use seinhuis_shell::{clock, keys};
use serde_json::{Value, json};

use super::request::{Request, reload};
use crate::home::Home;

pub(super) fn load(home: &Home, files: &[PathBuf], ui: Ui) -> Result<Outcome, Complaint> {
    let config = home.load_config()?;
    let covenant = seinhuis_shell::covenants::load(files)?;
    let compiled = home.pin_covenant(covenant)?;
    reload(home, &Request::Reload)?;
    let covenant = compiled.covenant();
    let own = keys::load_signing(&home.signing_key())?.public().thumbprint();
    let remark = if compiled.role_of(config.oin).is_none() {
        Text::new(
            format!("\nLet op: {} is geen partij bij dit convenant.", config.oin),
            format!("\nNote: {} is not a party to this covenant.", config.oin),
        )
    } else if compiled.signing_key(config.oin, own).is_none() {
        Text::new(
            "\nLet op: het convenant noemt de ondertekensleutel van deze agent niet; verzenden kan dan niet.",
            "\nNote: the covenant does not name this agent's signing key; sending is then not possible.",
        )
    } else {
        Text::same("")
    };
    let (id, version, hash) = (&covenant.id, covenant.version, compiled.hash());
    ui.answer(
        &Text::new(
            format!("Vastgezet: {id} versie {version}\nHash om te vergelijken: {hash}{}", remark.nl),
            format!("Pinned: {id} version {version}\nHash to compare: {hash}{}", remark.en),
        ),
        &json!({ "id": id, "version": version, "hash": hash.to_string(), "remark": remark.en.trim() }),
    );
    Ok(Outcome::Done)
}

pub(super) fn list(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let config = home.load_config()?;
    let covenants = home.load_covenants()?;
    let now = clock::now();
    let heading = ui.lang.pick("NAAM VERSIE GELDT ROL TOT HASH", "NAME VERSION IN-FORCE ROLE UNTIL HASH");
    let mut rows = vec![heading.split(' ').map(str::to_owned).collect::<Vec<_>>()];
    let role = |one: &Compiled| one.role_of(config.oin).map_or("-", |role| role.as_str());
    for one in &covenants {
        let covenant = one.covenant();
        let in_force = if one.in_force(now) { ui.lang.pick("ja", "yes") } else { ui.lang.pick("nee", "no") };
        rows.push(vec![
            covenant.id.clone(),
            covenant.version.to_string(),
            in_force.to_owned(),
            role(one).to_owned(),
            covenant.valid_until.to_string(),
            one.hash().to_string(),
        ]);
    }
    let json: Vec<Value> = covenants
        .iter()
        .map(|one| {
            let covenant = one.covenant();
            json!({
                "id": covenant.id, "version": covenant.version, "hash": one.hash().to_string(),
                "in_force": one.in_force(now), "role": role(one),
                "valid_from": covenant.valid_from.to_string(), "valid_until": covenant.valid_until.to_string(),
            })
        })
        .collect();
    ui.answer(&Text::same(ui.table(&rows)), &Value::Array(json));
    Ok(Outcome::Done)
}
