//! Looking at the set-up: status, check-config, doctor.

use std::net::UdpSocket;

use seinhuis_shared::time::Timestamp;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::control::{self, CallError};
use seinhuis_shell::lang::{Lang, Text};
use seinhuis_shell::{answer, clock, files, keys, owner, renewal, room};
use serde_json::{Value, json};

use super::request::{Request, ask};
use crate::config::Config;
use crate::console;
use crate::home::Home;
use crate::upkeep::Checker;

pub(super) fn config(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    home.load_config()?;
    let path = home.config();
    ui.answer(
        &Text::new(format!("{} is in orde.", path.display()), format!("{} is in order.", path.display())),
        &json!({ "config": path, "valid": true }),
    );
    Ok(Outcome::Done)
}

pub(super) fn status(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let mut answer = ask(home, &Request::Status)?;
    let ends = certificate_of(home, &mut answer);
    let number = |pointer: &str| answer.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let waiting: u64 = answer
        .get("queues")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|queue| queue.get("packets").and_then(Value::as_u64))
        .sum();
    let (size, connected, partners) = (number("/log/size"), number("/connected"), number("/partners"));
    let (turns, disk) = (number("/turns"), number("/disk_bytes") >> 20);
    let (frozen, over, suspended) = (frozen(&answer), over(&answer), suspended(&answer));
    let (logs, witnesses) = (logs(&answer), witnesses(&answer));
    let room = answer
        .get("room")
        .and_then(room::row)
        .map_or_else(|| Text::same(""), |row| Text::new(format!("\n{}", row.nl), format!("\n{}", row.en)));
    ui.answer(
        &Text::new(
            format!("{connected} van {partners} partners verbonden; {waiting} pakketten wachten; {size} logregels; {turns} beurten vastgelegd; {disk} MiB opslag.{}{}{}{}{}{}{}", room.nl, suspended.nl, frozen.nl, over.nl, logs.nl, witnesses.nl, ends.nl),
            format!("{connected} of {partners} partners connected; {waiting} packets waiting; {size} log entries; {turns} turns recorded; {disk} MiB stored.{}{}{}{}{}{}{}", room.en, suspended.en, frozen.en, over.en, logs.en, witnesses.en, ends.en),
        ),
        &answer,
    );
    Ok(Outcome::Done)
}

/// When certificate and revocation list end, put into the answer, and as a line.
fn certificate_of(home: &Home, answer: &mut Value) -> Text {
    let by_itself = home.load_config().is_ok_and(|config| config.renewal.is_on());
    let renewing = answer.as_object_mut().and_then(|object| object.remove("renewing"));
    let Ok(ends) = home.load_grant().and_then(|grant| renewal::value(&grant, by_itself, renewing.as_ref()))
    else {
        return Text::same("");
    };
    let line = Text::new(
        format!("\nCertificaat {}.", renewal::row(&ends, Lang::Nl)),
        format!("\nCertificate {}.", renewal::row(&ends, Lang::En)),
    );
    if let Some(object) = answer.as_object_mut() {
        object.insert("certificate".into(), ends);
    }
    line
}

/// What there is to say of the logs: a year that is not begun, the last whole self-check, what it found.
fn logs(status: &Value) -> Text {
    let mut said = Text::new("", "");
    let mut say = |nl: String, en: String| {
        said.nl = format!("{}\n{nl}", said.nl);
        said.en = format!("{}\n{en}", said.en);
    };
    if status.pointer("/log/year_refused") == Some(&Value::Bool(true)) {
        say(
            "LET OP: de klok is meer dan een jaar verder dan het log; er begint vanzelf geen nieuw log. Zet de klok goed, of geef `seinhuis-broker log roll-over`.".into(),
            "MIND: the clock is more than a year past the log; no new log is begun by itself. Set the clock, or give `seinhuis-broker log roll-over`.".into(),
        );
    }
    if let Some(at) = status.pointer("/log/self_check/last_pass").and_then(Value::as_str) {
        say(
            format!("Logbestanden voor het laatst geheel nagelezen: {at}."),
            format!("Log files last read and checked as a whole: {at}."),
        );
    }
    for failure in status.pointer("/log/self_check/failures").and_then(Value::as_array).into_iter().flatten()
    {
        let text = |key| failure.get(key).and_then(Value::as_str).unwrap_or_default();
        say(format!("BESCHADIGD: {}", text("nl")), format!("DAMAGED: {}", text("en")));
    }
    said
}

/// What the self-check found wrong, from the running broker or as it was left.
fn self_check(home: &Home) -> Result<Text, Complaint> {
    let state = Checker::open(home.log().join("self-check.json")).state();
    if let Some(failure) = state.failures.first() {
        return Err(Complaint::usage(
            Text::new(failure.what.0.clone(), failure.what.1.clone()),
            Text::new(
                "Draai `seinhuis-broker log verify`; zet de bestanden terug uit een reservekopie en meld het de partners.",
                "Run `seinhuis-broker log verify`; put the files back from a backup and tell the partners.",
            ),
        ));
    }
    Ok(match state.last_pass {
        Some(at) => {
            Text::new(format!("geheel nagelezen op {at}"), format!("read and checked as a whole at {at}"))
        }
        None => Text::new("nog niet geheel nagelezen", "not yet read and checked as a whole"),
    })
}

/// A line for each partner and each flow that is suspended.
fn suspended(status: &Value) -> Text {
    let lines = |list: &str, key: &str, nl: &str, en: &str| -> (String, String) {
        let rows = status.pointer(list).and_then(Value::as_array).into_iter().flatten();
        rows.map(|row| {
            let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
            let (what, since) = (text(key), text("since"));
            (
                format!("\nOPGESCHORT: {nl} {what}, sinds {since}."),
                format!("\nSUSPENDED: {en} {what}, since {since}."),
            )
        })
        .unzip()
    };
    let (partners_nl, partners_en) = lines("/suspended/partners", "oin", "partner", "partner");
    let (flows_nl, flows_en) = lines("/suspended/flows", "flow", "stroom", "flow");
    Text::new(partners_nl + &flows_nl, partners_en + &flows_en)
}

/// A line for each mailbox of which packets are held back, as their covenant says of mail in flight.
fn frozen(status: &Value) -> Text {
    let queues = status.get("queues").and_then(Value::as_array).into_iter().flatten();
    let (nl, en): (Vec<String>, Vec<String>) = queues
        .filter_map(|queue| {
            let number = |key| queue.get(key).and_then(Value::as_u64).unwrap_or_default();
            let (packets, frozen) = (number("packets"), number("frozen"));
            let oin = queue.get("oin").and_then(Value::as_str).unwrap_or_default();
            (frozen > 0).then(|| {
                (
                    format!("\nVoor {oin} wachten {packets} pakketten, waarvan {frozen} bevroren."),
                    format!("\nFor {oin} {packets} packets are waiting, {frozen} of them frozen."),
                )
            })
        })
        .unzip();
    Text::new(nl.concat(), en.concat())
}

/// A line for each partner of which something was put off since the start.
fn over(status: &Value) -> Text {
    let quotas = status.get("quotas").and_then(Value::as_array).into_iter().flatten();
    let (nl, en): (Vec<String>, Vec<String>) = quotas
        .filter_map(|quota| {
            let number = |key| quota.pointer(key).and_then(Value::as_u64).unwrap_or_default();
            let (packets, bytes) = (number("/put_off/packets"), number("/put_off/bytes"));
            let (remembered, refusals) = (number("/put_off/remembered"), number("/put_off/refusals"));
            let (words, questions) = (number("/put_off/words"), number("/put_off/questions"));
            let room = number("/put_off/room");
            let oin = quota.get("oin").and_then(Value::as_str).unwrap_or_default();
            [packets, bytes, remembered, refusals, words, questions, room].iter().any(|count| *count > 0).then(|| {
                (
                    format!("\nVan {oin} is boven het quotum uitgesteld: {packets} keer om aantal, {bytes} om omvang, {remembered} om onthouden uitkomsten, {refusals} om weigeringen, {words} andere woorden, {questions} vragen; wegens een volle schijf: {room}."),
                    format!("\nPut off of {oin}, beyond its quota: {packets} times for number, {bytes} for size, {remembered} for outcomes remembered, {refusals} for refusals, {words} other words, {questions} questions; for a full disk: {room}."),
                )
            })
        })
        .unzip();
    Text::new(nl.concat(), en.concat())
}

/// Lines for the quorums that covenants ask, and for each witness.
fn witnesses(status: &Value) -> Text {
    let list = |key: &str| {
        let found = status.pointer(&format!("/witnesses/{key}")).and_then(Value::as_array);
        found.cloned().unwrap_or_default()
    };
    let number = |of: &Value, key: &str| of.get(key).and_then(Value::as_u64);
    let word = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    let (mut nl, mut en): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for one in list("waiting_for") {
        let name = one.as_str().unwrap_or_default();
        nl.push(format!("\nDe broker dient nog niet: {name} heeft niet gezegd wat het meetekende."));
        en.push(format!("\nThe broker does not serve yet: {name} has not said what it cosigned."));
    }
    for one in list("covenants") {
        let id = word(&one, "id").unwrap_or_default();
        let [wanted, of, version, age] =
            ["wanted", "of", "version", "age_s"].map(|key| number(&one, key).unwrap_or_default());
        let size = number(&one, "size").map_or_else(|| "-".to_owned(), |size| size.to_string());
        nl.push(format!(
            "\n{id} v{version}: quorum {wanted} van {of}, het jongste over {size} regels, {age} s oud."
        ));
        en.push(format!(
            "\n{id} v{version}: quorum {wanted} of {of}, the newest over {size} entries, {age} s old."
        ));
    }
    for one in list("finals").iter().filter(|one| one.get("reached") != Some(&Value::Bool(true))) {
        let origin = word(one, "origin").unwrap_or_default();
        let [size, cosigned] = ["size", "cosigned"].map(|key| number(one, key).unwrap_or_default());
        nl.push(format!("\nHet einde van {origin} ({size} regels) is nog niet door genoeg getuigen meegetekend: door {cosigned}."));
        en.push(format!(
            "\nThe end of {origin} ({size} entries) is not cosigned by enough witnesses yet: by {cosigned}."
        ));
    }
    for one in list("witnesses") {
        let name = word(&one, "name").unwrap_or_default();
        let size = number(&one, "size").map_or_else(|| "-".to_owned(), |size| size.to_string());
        let refused = number(&one, "refused").unwrap_or_default();
        let remark = word(&one, "remark").map(|remark| format!(" ({remark})")).unwrap_or_default();
        nl.push(format!("\n  getuige {name}: {size} regels, {refused} antwoorden niet bruikbaar{remark}"));
        en.push(format!("\n  witness {name}: {size} entries, {refused} answers of no use{remark}"));
        if let Some(fork) = word(&one, "suspect") {
            nl.push(format!("\n  ALARM mogelijk twee geschiedenissen: {fork}"));
            en.push(format!("\n  ALARM possible fork: {fork}"));
        }
    }
    Text::new(nl.concat(), en.concat())
}

/// One finding: what was looked at, and what is wrong with it.
type Finding = (Text, Result<Text, Complaint>);

pub(super) fn doctor(home: &Home, ui: Ui) -> Outcome {
    // By another user than the folder's everything else would be wrong too, and nothing of it the cause.
    let findings = match owner::check(home.dir(), "seinhuis-broker") {
        Err(other) => vec![(Text::new("Map", "Folder"), Err(other))],
        Ok(()) => look(home, clock::now()),
    };
    tell(&findings, ui)
}

fn look(home: &Home, now: Timestamp) -> Vec<Finding> {
    let mut findings: Vec<Finding> = vec![
        (
            Text::new("Map", "Folder"),
            files::check_private_dir(home.dir()).map(|()| Text::same(home.dir().display().to_string())),
        ),
        (
            Text::new("Sleutels", "Keys"),
            [home.signing_key(), home.log_key()]
                .iter()
                .try_for_each(|path| keys::load_signing(path).map(|_| ()))
                .and_then(|()| keys::load_tls(&home.tls_key()))
                .map(|_| {
                    Text::new("drie, alleen leesbaar voor de eigenaar", "three, readable by the owner alone")
                }),
        ),
        (Text::new("Certificaat", "Certificate"), certificate(home, now)),
    ];
    let config = home.load_config();
    findings.push((
        Text::new("Configuratie", "Configuration"),
        config.as_ref().map(|_| Text::same(home.config().display().to_string())).map_err(Clone::clone),
    ));
    findings.push((Text::new("Logbestanden", "Log files"), self_check(home)));
    if let Ok(config) = &config {
        findings.push((Text::new("Schijf", "Disk"), disk(home, config)));
        if let Some(finding) = console::certificates_in_order(home, config) {
            findings.push((Text::same("Console"), finding));
        }
        findings.push((Text::new("Broker", "Broker"), running(home, config)));
    }
    findings
}

fn tell(findings: &[Finding], ui: Ui) -> Outcome {
    let wrong = findings.iter().filter(|(_, finding)| finding.is_err()).count();
    let lines: Vec<String> = findings
        .iter()
        .map(|(what, finding)| {
            let what = what.in_lang(ui.lang);
            match finding {
                Ok(text) => format!("✓ {what}: {}", text.in_lang(ui.lang)),
                Err(complaint) => format!("✗ {what}: {}", complaint.show(ui.lang).replace('\n', "\n    ")),
            }
        })
        .collect();
    let json: Vec<Value> = findings
        .iter()
        .map(|(what, finding)| json!({ "what": what.en, "right": finding.is_ok(), "problem": finding.as_ref().err().map(|complaint| complaint.to_json(ui.lang)) }))
        .collect();
    ui.answer(&Text::same(lines.join("\n")), &Value::Array(json));
    if wrong == 0 { Outcome::Done } else { Outcome::No }
}

/// Whether the disks of store and logs have the room that is to be kept free.
fn disk(home: &Home, config: &Config) -> Result<Text, Complaint> {
    // Before the first start the folder is all there is.
    let folders = [home.dir().to_path_buf(), home.store(), home.log()];
    let mut said = Text::same("");
    for folder in folders.iter().filter(|folder| folder.exists()) {
        said = room::finding(config.store.keep_free_mib, folder)?;
    }
    Ok(said)
}

/// Whether certificate and revocation list are this broker's and last.
fn certificate(home: &Home, now: Timestamp) -> Result<Text, Complaint> {
    let grant = home.load_grant()?;
    home.renewal().identity(&grant)?;
    let by_itself = home.load_config().is_ok_and(|config| config.renewal.is_on());
    let advice = if by_itself {
        Text::new(
            "Kijk met `seinhuis-broker status` wat er misgaat, en bel de beheerder van de CA.",
            "See with `seinhuis-broker status` what goes wrong, and call the CA's operator.",
        )
    } else {
        Text::new(
            format!(
                "Maak een aanvraag (seinhuis-broker renew), laat de CA vernieuwen (seinhuis-certs renew) en zet het antwoord neer als {}. Zet een verse lijst (seinhuis-certs crl) neer als {}.",
                home.grant().display(),
                home.crl().display()
            ),
            format!(
                "Make a request (seinhuis-broker renew), have the CA renew (seinhuis-certs renew) and put its answer at {}. Put a fresh list (seinhuis-certs crl) at {}.",
                home.grant().display(),
                home.crl().display()
            ),
        )
    };
    renewal::finding(&grant, by_itself, now, &advice)
}

fn running(home: &Home, config: &Config) -> Result<Text, Complaint> {
    let socket = home.socket();
    match control::call::<_, Value>(&socket, &Request::Status, std::time::Duration::from_secs(10)) {
        Ok(value) => answer::decode(value).map(|_| Text::new("draait en antwoordt", "runs and answers")),
        Err(CallError::NotRunning) => UdpSocket::bind(config.listen)
            .map(|_| Text::new("draait niet; het adres is vrij", "does not run; the address is free"))
            .map_err(|error| {
                Complaint::io(Doing::Socket, std::path::Path::new(&config.listen.to_string()), &error)
            }),
        Err(error) => Err(error.complaint("seinhuis-broker", &socket)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_logs_gets_a_line() {
        let quiet =
            json!({ "log": { "year_refused": false, "self_check": { "last_pass": null, "failures": [] } } });
        assert_eq!(logs(&quiet), Text::new("", ""));
        let loud = json!({ "log": { "year_refused": true, "self_check": {
            "last_pass": "2026-03-01", "failures": [{ "nl": "bundel 1 klopt niet", "en": "bundle 1 is wrong" }],
        } } });
        let said = logs(&loud);
        assert!(said.nl.contains("roll-over") && said.nl.contains("BESCHADIGD: bundel 1"), "{}", said.nl);
        assert!(
            said.en.contains("whole: 2026-03-01") && said.en.contains("DAMAGED: bundle 1"),
            "{}",
            said.en
        );
    }

    #[test]
    fn what_is_suspended_gets_a_line() {
        let of = |partners: Value, flows: Value| {
            suspended(&json!({ "suspended": { "partners": partners, "flows": flows } }))
        };
        assert_eq!(of(json!([]), json!([])), Text::new("", ""));
        let since = "2026-03-01";
        let said = of(json!([{ "oin": "A", "since": since }]), json!([{ "flow": "F02", "since": since }]));
        let (nl, en) = ("OPGESCHORT: ", "SUSPENDED: ");
        assert_eq!(said.nl, format!("\n{nl}partner A, sinds {since}.\n{nl}stroom F02, sinds {since}."));
        assert_eq!(said.en, format!("\n{en}partner A, since {since}.\n{en}flow F02, since {since}."));
    }

    #[test]
    fn a_partner_of_which_something_was_put_off_gets_a_line() {
        let of = |refusals: u64| {
            let put_off = json!({ "packets": 0, "bytes": 0, "remembered": 0, "refusals": refusals });
            over(&json!({ "quotas": [{ "oin": "A", "remembered": 5, "put_off": put_off }] }))
        };
        assert_eq!(of(0), Text::new("", ""));
        let said = of(7);
        assert!(said.nl.contains("Van A") && said.nl.contains("7 om weigeringen"), "{}", said.nl);
        assert!(said.en.contains("of A") && said.en.contains("7 for refusals"), "{}", said.en);
    }

    #[test]
    fn the_end_of_a_log_gets_a_line_until_enough_cosigned_it() {
        let of = |reached| {
            let one = json!({ "origin": "a/2026", "size": 9, "cosigned": 1, "reached": reached });
            witnesses(&json!({ "witnesses": { "finals": [one] } }))
        };
        assert_eq!(of(true), Text::new("", ""));
        let said = of(false);
        assert!(
            said.nl.contains("a/2026 (9 regels)") && said.en.contains("a/2026 (9 entries)"),
            "{}",
            said.en
        );
    }

    #[test]
    fn a_mailbox_with_frozen_packets_gets_a_line() {
        let none = json!({ "queues": [{ "oin": "00000099000000002000", "packets": 3, "frozen": 0 }] });
        assert_eq!(frozen(&none), Text::new("", ""));
        let some = json!({ "queues": [{ "oin": "00000099000000001000", "packets": 3, "frozen": 2 }] });
        assert_eq!(
            frozen(&some),
            Text::new(
                "\nVoor 00000099000000001000 wachten 3 pakketten, waarvan 2 bevroren.",
                "\nFor 00000099000000001000 3 packets are waiting, 2 of them frozen."
            )
        );
    }
}
