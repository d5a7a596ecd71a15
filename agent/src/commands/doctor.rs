//! Explaining the whole set-up.

use std::path::Path;
use std::time::Duration;

use seinhuis_agent_core::carrier::Carrier;
use seinhuis_shared::covenant::Role;
use seinhuis_shared::limits::CLOCK_SKEW;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::cli::{self, Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::control::{self, CallError};
use seinhuis_shell::lang::Text;
use seinhuis_shell::standing::OwnView;
use seinhuis_shell::{answer, clock, files, owner, renewal, room};
use serde_json::{Value, json};

use super::enrol::check_grant;
use super::request::{Look, Request};
use crate::config::{Config, Subjects};
use crate::home::Home;
use crate::link::End;

/// How long processings may wait for their log before somebody should look.
const RECORDS_WAIT: Span = Span::minutes(5);

/// One finding: what was looked at, and what is right or wrong with it.
type Finding = (Text, Result<Text, Complaint>);

pub(super) fn doctor(home: &Home, ui: Ui) -> Outcome {
    // By another user than the folder's everything else would be wrong too, and nothing of it the cause.
    let findings = match owner::check(home.dir(), "seinhuis-agent") {
        Err(other) => vec![(Text::new("Map", "Folder"), Err(other))],
        Ok(()) => look(home, clock::now()),
    };
    tell(&findings, ui)
}

fn look(home: &Home, now: Timestamp) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        vec![(Text::new("Map", "Folder"), folder(home)), (Text::new("Sleutels", "Keys"), own_keys(home))];
    let config = home.load_config();
    let path = || Text::same(home.config().display().to_string());
    findings.push((
        Text::new("Configuratie", "Configuration"),
        config.as_ref().map(|_| path()).map_err(Clone::clone),
    ));
    if let Ok(config) = &config {
        // Before the first start the folder is all there is.
        let store =
            Some(home.store()).filter(|store| store.exists()).unwrap_or_else(|| home.dir().to_path_buf());
        let disk = room::finding(config.store.keep_free_mib, &store);
        findings.push((Text::new("Schijf", "Disk"), disk));
        findings.push((Text::new("Certificaat", "Certificate"), certificate(home, config, now)));
        findings.push((Text::new("Brokerkaart", "Broker card"), card(home)));
        let bound = bound(home, config);
        let informs = bound.as_ref().ok().filter(|bound| !bound.is_empty());
        let informs = informs.map(|bound| Ok(who_informs(bound, &config.subjects)));
        findings.push((Text::new("Convenant", "Covenant"), bound.and_then(|bound| covenant(&bound))));
        findings.extend(informs.map(|told| (Text::new("Betrokkenen", "Data subjects"), told)));
        findings.extend(running(home));
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
        .map(|(what, finding)| {
            let problem = finding.as_ref().err().map(|complaint| complaint.to_json(ui.lang));
            json!({ "what": what.en, "right": finding.is_ok(), "problem": problem })
        })
        .collect();
    ui.answer(&Text::same(lines.join("\n")), &Value::Array(json));
    if wrong == 0 { Outcome::Done } else { Outcome::No }
}

fn folder(home: &Home) -> Result<Text, Complaint> {
    files::check_private_dir(home.dir())?;
    let probe = home.dir().join(".doctor");
    files::write_private(&probe, b"writable\n", files::Existing::Replace)?;
    std::fs::remove_file(&probe)
        .map_err(|error| Complaint::io(seinhuis_shell::complaint::Doing::Remove, &probe, &error))?;
    let dir = home.dir().display();
    Ok(Text::new(format!("{dir}, beschrijfbaar"), format!("{dir}, writable")))
}

fn own_keys(home: &Home) -> Result<Text, Complaint> {
    home.vault()?;
    seinhuis_shell::keys::load_tls(&home.tls_key())?;
    Ok(Text::new("drie, alleen leesbaar voor de eigenaar", "three, readable by the owner alone"))
}

/// Whether certificate and revocation list are this agent's and last.
fn certificate(home: &Home, config: &Config, now: Timestamp) -> Result<Text, Complaint> {
    let grant = home.load_grant()?;
    let advice = if config.renewal.is_on() {
        Text::new(
            "Kijk met `seinhuis-agent status` wat er misgaat, en bel de beheerder van de CA.",
            "See with `seinhuis-agent status` what goes wrong, and call the CA's operator.",
        )
    } else {
        Text::new(
            format!(
                "Maak een aanvraag (enrol --request), laat de CA vernieuwen (seinhuis-certs renew) en geef enrol --accept. Vraag om een verse lijst en zet die neer als {}.",
                home.crl().display()
            ),
            format!(
                "Make a request (enrol --request), have the CA renew (seinhuis-certs renew) and give enrol --accept. Ask for a fresh list and put it at {}.",
                home.crl().display()
            ),
        )
    };
    let valid = renewal::finding(&grant, config.renewal.is_on(), now, &advice)?;
    check_grant(home, config, &grant)?;
    Ok(valid)
}

fn card(home: &Home) -> Result<Text, Complaint> {
    let card = home.load_card()?;
    home.log_key(&card)?;
    Ok(Text::same(format!("{} ({}), {}", card.name, card.address, card.log_origin)))
}

/// The covenants in force by which this organisation is bound.
fn bound(home: &Home, config: &Config) -> Result<Vec<OwnView>, Complaint> {
    let mut known = super::covenant::known(home)?;
    known.retain(|one| {
        let own = one.covenant.parties.iter().find(|party| party.oin == config.oin);
        matches!(one.covenant.state.as_str(), "in-force" | "overlapping")
            && own.is_some_and(|party| party.standing == "accepted")
    });
    Ok(known)
}

fn named(one: &OwnView) -> String {
    format!("{} v{}", one.covenant.id, one.covenant.version)
}

/// Who tells persons that there are data about them: what each covenant says, and whether agent.toml is used.
fn who_informs(bound: &[OwnView], subjects: &Subjects) -> Text {
    let fallback: Vec<Role> = subjects.informs.iter().copied().collect();
    let (mut nl, mut en) = (Vec::new(), Vec::new());
    for one in bound {
        let (name, said) = (named(one), &one.covenant.informs);
        let informs = if said.is_empty() { &fallback } else { said };
        let informs = informs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if said.is_empty() {
            nl.push(format!("{name} zegt niet wie informeert; volgens agent.toml: {informs}"));
            en.push(format!("{name} does not say who informs; by agent.toml: {informs}"));
        } else {
            nl.push(format!("{name} zegt wie informeert: {informs}"));
            en.push(format!("{name} says who informs: {informs}"));
        }
    }
    let says_otherwise = |one: &OwnView| !one.covenant.informs.is_empty() && one.covenant.informs != fallback;
    if bound.iter().any(says_otherwise) {
        nl.push("informs onder [subjects] in agent.toml telt daar niet: het convenant zegt het".to_owned());
        en.push(
            "informs under [subjects] in agent.toml does not count there: the covenant says it".to_owned(),
        );
    }
    Text::new(nl.join("; "), en.join("; "))
}

/// Whether there is such a covenant.
fn covenant(bound: &[OwnView]) -> Result<Text, Complaint> {
    let names: Vec<String> = bound.iter().map(named).collect();
    if names.is_empty() {
        return Err(Complaint::usage(
            Text::new(
                "Er is geen geldend convenant dat deze organisatie heeft ondertekend.",
                "There is no covenant in force that this organisation has signed.",
            ),
            Text::new(
                "Bekijk `seinhuis-agent covenant list`; onderteken met `covenant accept`, of stel er een voor.",
                "See `seinhuis-agent covenant list`; sign with `covenant accept`, or propose one.",
            ),
        ));
    }
    Ok(Text::same(names.join(", ")))
}

/// Asks the running agent how it does; without one, tries the broker directly.
fn running(home: &Home) -> Vec<Finding> {
    let socket = home.socket();
    let link = Text::new("Broker", "Broker");
    match control::call::<_, Value>(&socket, &Request::Look(Look::Status), Duration::from_secs(10)) {
        Ok(value) => match answer::decode(value) {
            Ok(status) => from_status(&status),
            Err(complaint) => vec![(Text::new("Agent", "Agent"), Err(complaint))],
        },
        Err(CallError::NotRunning) => vec![
            (
                Text::new("Agent", "Agent"),
                Ok(Text::new(
                    "draait niet (seinhuis-agent run; als dienst: systemctl start seinhuis-agent)",
                    "is not running (seinhuis-agent run; as a service: systemctl start seinhuis-agent)",
                )),
            ),
            (link, reach(home)),
        ],
        Err(error) => {
            vec![(Text::new("Agent", "Agent"), Err(error.complaint("seinhuis-agent", Path::new(&socket))))]
        }
    }
}

/// One handshake with the broker.
fn reach(home: &Home) -> Result<Text, Complaint> {
    let runtime = cli::runtime_here()?;
    match runtime.block_on(crate::link::reach(home)) {
        Ok(Carrier::Quic) => {
            Ok(Text::new("bereikbaar, met een geldig certificaat", "reachable, with a valid certificate"))
        }
        Ok(Carrier::Tcp) => Ok(Text::new(
            "alleen over TCP bereikbaar, met een geldig certificaat",
            "reachable over TCP alone, with a valid certificate",
        )),
        Err(End::Refused(refusal) | End::PutOff(refusal, _)) => Err(Complaint::from_refusal(refusal)),
        Err(End::Failed(problem) | End::Unreached(problem)) => Err(unreachable(problem)),
        Err(End::Stopped | End::Renewed | End::Anew) => Err(Complaint::bug("a stop nobody asked for")),
    }
}

fn unreachable(problem: Text) -> Complaint {
    Complaint::usage(
        problem,
        Text::new(
            "Berichten wachten zolang in de outbox; er gaat niets verloren.",
            "Messages wait in the outbox meanwhile; nothing is lost.",
        ),
    )
}

fn from_status(status: &Value) -> Vec<Finding> {
    let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut findings = Vec::new();
    let connected = status.pointer("/link/connected").and_then(Value::as_bool) == Some(true);
    findings.push((
        Text::new("Broker", "Broker"),
        if connected {
            let since = text("/link/since");
            Ok(Text::new(format!("verbonden sinds {since}"), format!("connected since {since}")))
        } else {
            let (nl, en) = (text("/link/problem/0"), text("/link/problem/1"));
            Err(unreachable(Text::new(format!("Niet verbonden. {nl}"), format!("Not connected. {en}"))))
        },
    ));
    let ahead = status.pointer("/link/clock_ahead_ms").and_then(Value::as_i64).unwrap_or_default();
    findings.push((Text::new("Klok", "Clock"), clock_difference(ahead)));
    let until = text("/prekeys/until");
    let published = status.pointer("/prekeys/published").and_then(Value::as_bool) == Some(true);
    findings.push((
        Text::new("Ontvangstsleutels", "Prekeys"),
        if published {
            Ok(Text::new(format!("gepubliceerd, tot {until}"), format!("published, until {until}")))
        } else {
            Err(unreachable(Text::new(
                "De ontvangstsleutels staan nog niet bij de broker.",
                "The prekeys are not with the broker yet.",
            )))
        },
    ));
    findings.extend(renewing(status));
    findings.extend(records(status));
    findings.extend(quorums(status));
    findings.extend(ways(status));
    for alarm in status.get("alarms").and_then(Value::as_array).into_iter().flatten() {
        let detail = alarm.get("detail").and_then(Value::as_str).unwrap_or_default();
        let kind = alarm.get("kind").and_then(Value::as_str).unwrap_or_default();
        findings.push((
            Text::new("Alarm", "Alarm"),
            Err(Complaint::refused(
                Text::same(format!("{kind}: {detail}")),
                Text::new(
                    "Bewaar de map van de agent als bewijs en neem contact op met partners en beheerder.",
                    "Keep the agent's folder as evidence and contact partners and operator.",
                ),
            )),
        ));
    }
    findings
}

/// Whether certificate and list are renewed by itself without trouble; nothing where nothing was tried.
fn renewing(status: &Value) -> Option<Finding> {
    let what = Text::new("Vernieuwing", "Renewal");
    let problem = status.pointer("/renewing/problem").and_then(Value::as_array);
    if let Some([nl, en]) = problem.map(Vec::as_slice) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let again = status.pointer("/renewing/again").and_then(Value::as_str).unwrap_or("-");
        let advice = Text::new(
            format!("Het wordt vanzelf opnieuw geprobeerd: {again}."),
            format!("It is tried again by itself: {again}."),
        );
        return Some((what, Err(Complaint::usage(Text::new(text(nl), text(en)), advice))));
    }
    let asked = status.pointer("/renewing/asked").and_then(Value::as_str)?;
    let told = Text::new(format!("dienst bereikt op {asked}"), format!("service reached at {asked}"));
    Some((what, Ok(told)))
}

/// How old what the log of processings does not have is; nothing when it has all.
fn records(status: &Value) -> Option<Finding> {
    let waiting = status.pointer("/ldv/waiting").and_then(Value::as_u64).filter(|waiting| *waiting > 0)?;
    let since = status.pointer("/ldv/oldest").and_then(Value::as_str)?;
    let age = clock::now().since(Timestamp::parse(since)?);
    let what = Text::new("Logboek verwerkingen", "Processing log");
    let told = Text::new(
        format!("{waiting} verwerkingen wachten, de oudste sinds {since}."),
        format!("{waiting} processings wait, the oldest since {since}."),
    );
    if age <= RECORDS_WAIT {
        return Some((what, Ok(told)));
    }
    let advice = Text::new(
        "Kijk of het logboek bereikbaar is en aanneemt ([ldv] in agent.toml); tot die tijd worden ze bewaard.",
        "See whether the log can be reached and takes them in ([ldv] in agent.toml); until then they are kept.",
    );
    Some((what, Err(Complaint::usage(told, advice))))
}

/// Whether the ways in and out besides the command line work.
fn ways(status: &Value) -> Vec<Finding> {
    let all = status.get("ways").and_then(Value::as_array).into_iter().flatten();
    let finding = |way: &Value| {
        let text =
            |pointer: &str| way.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, place) = (text("/name"), text("/place"));
        let what = match way.get("kind").and_then(Value::as_str) {
            Some("api") => Text::new("Lokale API", "Local API"),
            Some("folder-out") => Text::new(format!("Map uit, {name}"), format!("Folder out, {name}")),
            Some("folder-in") => Text::new(format!("Map in, {name}"), format!("Folder in, {name}")),
            _ => Text::same(format!("Webhook, {name}")),
        };
        let since = text("/since");
        if since.is_empty() {
            return (what, Ok(Text::new(format!("{place}, werkt"), format!("{place}, works"))));
        }
        let told = Text::new(
            format!("Werkt niet sinds {since}. {}", text("/problem/0")),
            format!("Does not work since {since}. {}", text("/problem/1")),
        );
        (what, Err(Complaint::usage(told, Text::new(text("/advice/0"), text("/advice/1")))))
    };
    all.map(finding).collect()
}

/// How old the quorums of witnesses are that covenants ask.
fn quorums(status: &Value) -> Vec<Finding> {
    let all = status.pointer("/log/quorums").and_then(Value::as_array).into_iter().flatten();
    let finding = |quorum: &Value| {
        let at = quorum.get("at").and_then(Value::as_str).unwrap_or("-").to_owned();
        let told = if quorum.get("stale").and_then(Value::as_bool) == Some(true) {
            Err(Complaint::refused(
                Text::new(
                    format!(
                        "Het logboek is te lang niet door genoeg partijen meegetekend; het laatst op {at}."
                    ),
                    format!(
                        "The log was not cosigned by enough parties for too long; the last time at {at}."
                    ),
                ),
                Text::new(
                    "Vraag de beheerder van de broker op wie gewacht wordt (seinhuis-broker status).",
                    "Ask the broker's operator who is waited for (seinhuis-broker status).",
                ),
            ))
        } else {
            Ok(Text::new(format!("het jongste van {at}"), format!("the newest of {at}")))
        };
        (Text::new("Quorum van getuigen", "Quorum of witnesses"), told)
    };
    all.map(finding).collect()
}

fn clock_difference(ahead: i64) -> Result<Text, Complaint> {
    let seconds = ahead.unsigned_abs() / 1000;
    if ahead.unsigned_abs() <= CLOCK_SKEW.0 {
        return Ok(Text::new(
            format!("{seconds} s verschil met de broker"),
            format!("{seconds} s from the broker's"),
        ));
    }
    Err(Complaint::usage(
        Text::new(
            format!("De klok van deze machine wijkt {} minuten af van die van de broker.", seconds / 60),
            format!("This machine's clock differs {} minutes from the broker's.", seconds / 60),
        ),
        Text::new(
            "Zet de klok gelijk (NTP); anders worden pakketten geweigerd.",
            "Set the clock (NTP); otherwise packets are refused.",
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use seinhuis_shell::standing::CovenantView;

    use super::*;

    fn view(id: &str, informs: &[Role]) -> OwnView {
        let covenant = CovenantView {
            hash: String::new(),
            id: id.into(),
            version: 1,
            title: String::new(),
            valid_from: String::new(),
            valid_until: String::new(),
            state: "in-force".into(),
            effective: None,
            parties: Vec::new(),
            flows: Vec::new(),
            informs: informs.to_vec(),
        };
        OwnView { covenant, waiting: None, proposal: None }
    }

    #[test]
    fn it_is_said_who_informs_and_that_the_configuration_does_not_count_where_a_covenant_says_so() {
        let subjects = Subjects { informs: BTreeSet::from([Role::Politie]) };
        let both = [view("a", &[Role::Gemeente, Role::Om]), view("b", &[])];
        let text = who_informs(&both, &subjects);
        for part in [
            "a v1 zegt wie informeert: gemeente, om",
            "b v1 zegt niet wie",
            "agent.toml: politie",
            "telt daar niet",
        ] {
            assert!(text.nl.contains(part), "{part}: {}", text.nl);
        }
        assert!(text.en.contains("does not count there"), "{}", text.en);
        // Where both say the same, or no covenant says anything, there is nothing to warn of.
        for one in [view("a", &[Role::Politie]), view("b", &[])] {
            let text = who_informs(&[one], &subjects);
            assert!(!text.nl.contains("telt daar niet") && text.nl.contains("politie"), "{}", text.nl);
        }
    }
}
