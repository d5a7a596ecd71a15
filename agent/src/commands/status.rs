//! How things stand.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use seinhuis_shell::cli::{Outcome, Ui, aligned};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use seinhuis_shell::{keys, renewal, room};
use serde_json::{Value, json};

use super::register::acts::to_tell;
use super::request::{Look, Request, ask};
use crate::config::Config;
use crate::home::Home;

pub(super) fn status(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let config = home.load_config()?;
    let key = HEXLOWER.encode(&keys::load_signing(&home.signing_key())?.public().to_bytes());
    let mut value = if home.card().exists() && home.grant().exists() {
        ask(home, Request::Look(Look::Status))?.0
    } else {
        json!({ "running": false, "enrolled": false })
    };
    if let Some(object) = value.as_object_mut() {
        object.insert("oin".into(), config.oin.to_string().into());
        object.insert("name".into(), config.name.clone().into());
        object.insert("signing_key".into(), key.clone().into());
    }
    if let (Ok(grant), Some(object)) = (home.load_grant(), value.as_object_mut()) {
        let renewing = object.remove("renewing");
        object
            .insert("certificate".into(), renewal::value(&grant, config.renewal.is_on(), renewing.as_ref())?);
    }
    let text = |nl: bool| describe(&value, &config, &key, nl);
    ui.answer(&Text::new(text(true), text(false)), &value);
    let forked = value.pointer("/log/forked").and_then(Value::as_bool) == Some(true);
    Ok(if forked { Outcome::No } else { Outcome::Done })
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

fn word(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned()
}

fn describe(value: &Value, config: &Config, key: &str, nl: bool) -> String {
    let pick = |dutch: &'static str, english: &'static str| if nl { dutch } else { english };
    let mut rows: Vec<(&str, String)> = vec![
        (pick("organisatie", "organisation"), format!("{} ({})", config.name, config.oin)),
        (pick("ondertekensleutel", "signing key"), key.to_owned()),
    ];
    if value.get("enrolled").and_then(Value::as_bool) == Some(false) {
        rows.push((pick("aanmelding", "enrolment"), pick("nog niet aangemeld", "not enrolled yet").into()));
        return aligned(&rows);
    }
    rows.push((pick("broker", "broker"), link(value, nl)));
    rows.extend(certificate(value, nl));
    if let Some(room) = value.get("room").and_then(room::row) {
        rows.push((pick("schijf", "disk"), if nl { room.nl } else { room.en }));
    }
    rows.push(("outbox", outbox(value, nl)));
    rows.push((
        "inbox",
        format!(
            "{} {}, {} {}",
            number(value, "/inbox/stored"),
            pick("ontvangen", "received"),
            number(value, "/inbox/quarantined"),
            pick("in quarantaine", "quarantined"),
        ),
    ));
    rows.extend(bodies(value, nl));
    rows.extend(ways(value, nl));
    rows.extend(corrections(value, nl));
    rows.extend(records(value, nl));
    rows.extend(register(value, config, nl));
    rows.push((
        pick("uitwisselingslog", "exchange log"),
        format!(
            "{} {}, {} {}",
            number(value, "/log/size"),
            pick("regels bewezen", "entries proved"),
            number(value, "/log/unproven"),
            pick("stand(en) wachten op bewijs", "checkpoint(s) waiting for proof"),
        ),
    ));
    rows.extend(caught(value, nl));
    rows.extend(quorums(value, nl));
    rows.push((pick("ontvangstsleutels tot", "prekeys until"), word(value, "/prekeys/until")));
    for partner in value.get("partners").and_then(Value::as_array).into_iter().flatten() {
        rows.push((
            pick("partner", "partner"),
            format!(
                "{} {} {}",
                word(partner, "/oin"),
                pick("sleutels tot", "keys until"),
                word(partner, "/until")
            ),
        ));
    }
    format!("{}{}", aligned(&rows), alarms(value, nl))
}

/// Whom messages were about, and whether they were told.
fn register(value: &Value, config: &Config, nl: bool) -> Option<(&'static str, String)> {
    let pick = |dutch: &'static str, english: &'static str| if nl { dutch } else { english };
    let persons = number(value, "/register/persons");
    if persons == 0 {
        return None;
    }
    let (open, late) = to_tell(&value["register"], &config.subjects);
    let text = format!(
        "{persons} {}, {open} {}, {late} {}",
        pick("in het register", "in the register"),
        pick("hier nog te informeren", "still to be told here"),
        pick("te laat (register list)", "overdue (register list)"),
    );
    Some((pick("betrokkenen", "data subjects"), text))
}

/// How many messages stand where, and how full the outbox is.
fn outbox(value: &Value, nl: bool) -> String {
    let pick = |dutch: &'static str, english: &'static str| if nl { dutch } else { english };
    format!(
        "{} {}, {} {}, {} {}, {} {}, {} {}, {} {}, {} {} ({} {})",
        number(value, "/outbox/held"),
        pick("wacht op vrijgave", "waiting for release"),
        number(value, "/outbox/drafts").saturating_add(number(value, "/outbox/queued")),
        pick("in de wachtrij", "queued"),
        number(value, "/outbox/in_flight").saturating_add(number(value, "/outbox/deferred")),
        pick("onderweg", "on their way"),
        number(value, "/outbox/accepted"),
        pick("aangenomen", "accepted"),
        number(value, "/outbox/refused"),
        pick("geweigerd", "refused"),
        number(value, "/outbox/expired"),
        pick("verlopen", "expired"),
        number(value, "/outbox/denied"),
        pick("tegengehouden", "denied"),
        number(value, "/outbox/percent_full"),
        pick("% vol", "% full"),
    )
}

/// When the certificate ends and what is done about it.
fn certificate(value: &Value, nl: bool) -> Option<(&'static str, String)> {
    let (lang, name) = if nl { (Lang::Nl, "certificaat") } else { (Lang::En, "certificate") };
    value.get("certificate").map(|ends| (name, renewal::row(ends, lang)))
}

/// The logs before this one that were caught; nothing when none was.
fn caught(value: &Value, nl: bool) -> Option<(&'static str, String)> {
    let pick = |dutch: &'static str, english: &'static str| if nl { dutch } else { english };
    let logs = value.pointer("/log/caught").and_then(Value::as_array)?;
    let logs: Vec<&str> = logs.iter().filter_map(Value::as_str).collect();
    let kept = pick("het bewijs is bewaard", "the evidence is kept");
    let text = format!("{}; {kept}", logs.join(", "));
    (!logs.is_empty()).then(|| (pick("eerder gesplitst", "forked before"), text))
}

/// How old the newest quorum of witnesses is, of each covenant that asks one.
fn quorums(value: &Value, nl: bool) -> Vec<(&'static str, String)> {
    let pick = |dutch: &'static str, english: &'static str| if nl { dutch } else { english };
    let mut rows = Vec::new();
    for quorum in value.pointer("/log/quorums").and_then(Value::as_array).into_iter().flatten() {
        let old = quorum.get("stale").and_then(Value::as_bool) == Some(true);
        let stale = if old { pick("; LET OP: te oud", "; NOTE: too old") } else { "" };
        let text = if quorum.get("size").is_some_and(Value::is_u64) {
            let (size, at) = (number(quorum, "/size"), word(quorum, "/at"));
            let (of, entries) = (pick("van", "of"), pick("regels", "entries"));
            format!("{} {of} {at}, {size} {entries}{stale}", pick("het jongste", "the newest"))
        } else {
            format!("{}{stale}", pick("nog niet gezien", "not seen yet"))
        };
        rows.push((pick("quorum van getuigen", "quorum of witnesses"), text));
    }
    rows
}

/// The ways in and out besides the command line, and since when which of them does not work.
fn ways(value: &Value, nl: bool) -> Vec<(&'static str, String)> {
    let pick = |dutch: &'static str, english: &'static str| if nl { dutch } else { english };
    let all = value.get("ways").and_then(Value::as_array).into_iter().flatten();
    let row = |way: &Value| {
        let what = match way.get("kind").and_then(Value::as_str) {
            Some("api") => pick("lokale API", "local API"),
            Some("folder-out") => pick("map uit", "folder out"),
            Some("folder-in") => pick("map in", "folder in"),
            _ => "webhook",
        };
        let at = if nl { "0" } else { "1" };
        let [problem, advice] = ["problem", "advice"].map(|text| word(way, &format!("/{text}/{at}")));
        let does = if way.get("since").is_some_and(Value::is_string) {
            let since = pick("LET OP: werkt niet sinds", "NOTE: does not work since");
            format!("{since} {}. {problem} {advice}", word(way, "/since"))
        } else {
            pick("werkt", "works").to_owned()
        };
        (what, format!("{} ({}): {does}", word(way, "/name"), word(way, "/place")))
    };
    all.map(row).collect()
}

/// What was said of own messages and is not confirmed; nothing when there is none.
fn corrections(value: &Value, nl: bool) -> Option<(&'static str, String)> {
    let pick = |dutch: &'static str, english: &'static str| if nl { dutch } else { english };
    let [open, refused] = ["/corrections/open", "/corrections/refused"].map(|at| number(value, at));
    let text = format!(
        "{open} {}, {refused} {}",
        pick("nog niet bevestigd", "not confirmed yet"),
        pick("geweigerd (corrections list)", "refused (corrections list)"),
    );
    (open > 0 || refused > 0).then(|| (pick("correcties", "corrections"), text))
}

/// What the log of processings does not have yet; nothing when it has all.
fn records(value: &Value, nl: bool) -> Option<(&'static str, String)> {
    let pick = |dutch: &'static str, english: &'static str| if nl { dutch } else { english };
    let waiting = number(value, "/ldv/waiting");
    let text = format!(
        "{waiting} {} {}",
        pick("wachten, oudste van", "waiting, oldest of"),
        word(value, "/ldv/oldest")
    );
    (waiting > 0).then(|| (pick("logboek verwerkingen", "processing log"), text))
}

/// What is kept and erased of bodies; nothing when none ever came.
fn bodies(value: &Value, nl: bool) -> Option<(&'static str, String)> {
    let pick = |dutch: &'static str, english: &'static str| if nl { dutch } else { english };
    let [kept, erased, held] =
        ["/bodies/kept", "/bodies/erased", "/bodies/held_back"].map(|at| number(value, at));
    let mut text = format!("{kept} {}, {erased} {}", pick("bewaard", "kept"), pick("gewist", "erased"));
    if held > 0 {
        _ = write!(
            text,
            ". {held} {}",
            pick(
                "over de termijn volgens deze klok, niet volgens het log: controleer de klok of wacht op een sessie",
                "past their term by this clock, not by the log: check the clock or wait for a session"
            ),
        );
    }
    (kept > 0 || erased > 0).then(|| (pick("inhoud", "bodies"), text))
}

fn alarms(value: &Value, nl: bool) -> String {
    let mut out = String::new();
    if value.pointer("/log/forked").and_then(Value::as_bool) == Some(true) {
        out.push_str(if nl {
            "\n\nALARM: het uitwisselingslog van de broker spreekt zichzelf tegen. De agent biedt niets meer aan. Bewaar de map van de agent en neem contact op met de andere partners en de beheerder."
        } else {
            "\n\nALARM: the broker's exchange log contradicts itself. The agent submits nothing more. Keep the agent's folder and contact the other partners and the operator."
        });
    }
    for alarm in value.get("alarms").and_then(Value::as_array).into_iter().flatten() {
        let [at, kind, detail] = ["/at", "/kind", "/detail"].map(|pointer| word(alarm, pointer));
        // Writing to a string cannot fail.
        _ = write!(out, "\n! {at} {kind}: {detail}");
    }
    out
}

/// What the session goes over, and why, when that is not QUIC.
fn over(link: &Value, nl: bool) -> String {
    let pick = |dutch: &'static str, english: &'static str| if nl { dutch } else { english };
    if word(link, "/transport") != "tcp" {
        return String::new();
    }
    let why = match link.pointer("/quic_again").and_then(Value::as_str) {
        Some(again) => format!(
            "{} {again}",
            pick(
                "UDP geeft geen antwoord; QUIC wordt opnieuw geprobeerd vanaf",
                "UDP gives no answer; QUIC is tried again from"
            )
        ),
        None => pick("zo ingesteld", "as configured").to_owned(),
    };
    format!(" over TCP ({why})")
}

fn link(value: &Value, nl: bool) -> String {
    let pick = |dutch: &'static str, english: &'static str| if nl { dutch } else { english };
    let Some(link) = value.get("link").filter(|link| !link.is_null()) else {
        return pick(
            "de agent draait niet (seinhuis-agent run)",
            "the agent is not running (seinhuis-agent run)",
        )
        .into();
    };
    let mut text = if link.get("connected").and_then(Value::as_bool) == Some(true) {
        format!("{} {}{}", pick("verbonden sinds", "connected since"), word(link, "/since"), over(link, nl))
    } else {
        let problem = link.pointer(if nl { "/problem/0" } else { "/problem/1" }).and_then(Value::as_str);
        let state =
            pick("niet verbonden; de agent blijft het proberen", "not connected; the agent keeps trying");
        problem.map_or_else(|| state.to_owned(), |problem| format!("{state}. {problem}"))
    };
    let ahead = link.get("clock_ahead_ms").and_then(Value::as_i64).unwrap_or_default();
    if ahead.unsigned_abs() > seinhuis_shared::limits::CLOCK_SKEW.0 {
        let minutes = ahead.unsigned_abs() / 60_000;
        _ = write!(
            text,
            ". {} {minutes} {}",
            pick("LET OP: de klok van deze machine wijkt", "NOTE: this machine's clock differs"),
            pick(
                "minuten af van die van de broker; zet hem gelijk (NTP)",
                "minutes from the broker's; set it (NTP)"
            ),
        );
    }
    text
}
