//! Scenes 1 and 2: a partnership is made, compared, and started.

use std::path::Path;

use seinhuis_shared::enrol::fingerprint;
use seinhuis_shared::entry::Kind;
use seinhuis_tests::stage::{FOUR, PATIENCE};
use seinhuis_tests::{Member, Program, Programs, Stage, process};
use serde_json::Value;

use crate::show::{Show, text};
use crate::teller::Teller;
use crate::trouble::{Told, check};

/// Makes CA, broker and agents with the commands people type.
///
/// # Errors
/// The first command that fails.
pub(crate) fn set(teller: &Teller, programs: Programs, dir: &Path) -> Told<Stage> {
    teller.scene(1, "Een partnerschap inrichten", "Setting up a partnership");
    let bar = teller.bar(
        7,
        "sleutels, aanvragen, certificaten, convenant",
        "keys, requests, certificates, covenant",
    );
    let stage = Stage::set(programs, dir, &FOUR, &mut |_| bar.inc(1));
    bar.finish_and_clear();
    Ok(stage?)
}

/// Compares what people compare by telephone, and shows that a difference is noticed.
///
/// # Errors
/// What differs.
pub(crate) fn compare(show: &mut Show) -> Told {
    let (teller, stage) = (&show.teller, &show.stage);
    teller.line(
        "Elke organisatie maakt haar eigen sleutels; die verlaten haar map nooit. Ze leest de vingerafdruk\nvan haar aanvraag door de telefoon voor, en pas dan geeft de CA een certificaat af.",
        "Each organisation makes its own keys, which never leave its folder. It reads out the fingerprint\nof its request over the telephone, and only then the CA issues a certificate.",
    );
    for member in &stage.members {
        let print = fingerprint(&std::fs::read(stage.request_of(member))?);
        let line = format!("{:12}  {}  {print}  {}", member.role, member.oin, teller.dim(&member.name));
        teller.right(line.clone(), line);
    }
    wrong_fingerprint(show)?;
    cards(show)?;
    covenants(show)
}

/// The CA must refuse a request whose fingerprint was read out differently.
fn wrong_fingerprint(show: &Show) -> Told {
    let [one, other, ..] = show.stage.members.as_slice() else { return Ok(()) };
    let heard = fingerprint(&std::fs::read(show.stage.request_of(other))?);
    let (request, ca) = (show.stage.request_of(one), show.stage.ca());
    let out = show.stage.dir.join("never.grant.json");
    let (ca, target) = (ca.to_string_lossy(), out.to_string_lossy());
    let args = ["issue", &request, "--fingerprint", &heard, "--out", &target, "--dir", &ca, "--json"];
    let ran = show.stage.programs.run(Program::Certs, args)?;
    check(
        ran.code == 1 && !out.exists(),
        format!("De CA had een verkeerde vingerafdruk moeten weigeren: {}{}", ran.stdout, ran.stderr),
        format!("The CA should have refused a wrong fingerprint: {}{}", ran.stdout, ran.stderr),
    )?;
    show.teller.right(
        "een aanvraag met een andere vingerafdruk krijgt geen certificaat",
        "a request with another fingerprint gets no certificate",
    );
    Ok(())
}

/// Every agent must have the broker's own card.
fn cards(show: &Show) -> Told {
    let card = std::fs::read(show.stage.broker_home().join("broker.json"))?;
    let print = fingerprint(&card);
    for member in &show.stage.members {
        let own = fingerprint(&std::fs::read(member.home.join("broker.json"))?);
        check(
            own == print,
            format!("{} heeft een andere brokerkaart: {own} in plaats van {print}.", member.role),
            format!("{} has another broker card: {own} instead of {print}.", member.role),
        )?;
    }
    show.teller.right(
        format!("de brokerkaart, met de sleutel van het uitwisselingslog, is overal dezelfde: {print}"),
        format!("the broker's card, with the exchange log's key, is the same everywhere: {print}"),
    );
    Ok(())
}

/// Broker and agents must have the same covenant, signed by every party, with each signature in the log.
fn covenants(show: &mut Show) -> Told {
    let hash = show.covenant.hash().to_string();
    let has = |listed: &Value| {
        let rows = listed.as_array().map(Vec::as_slice).unwrap_or_default();
        matches!(rows, [one] if text(one, "hash") == hash && text(one, "state") == "in-force")
    };
    let mut right = has(&show.stage.broker(&["covenant", "show"])?);
    for member in &show.stage.members {
        right &= has(&show.stage.agent(member, &["covenant", "list"])?);
    }
    check(
        right,
        format!("Niet overal is hetzelfde convenant geladen ({hash})."),
        format!("Not everybody has the same covenant ({hash})."),
    )?;
    let short = hash.get(..16).unwrap_or(&hash).to_owned();
    let (title, flows) = (show.document().title.clone(), show.document().flows.len());
    show.teller.right(
        format!("{title}: {flows} stromen, bij broker en agents dezelfde hash {short}…"),
        format!("{title}: {flows} flows, the same hash {short}… at broker and agents"),
    );
    let entries = show.stage.log_tail(1000)?;
    let signed = |oin: &str| {
        entries.iter().any(|entry| {
            entry.kind == Kind::Covenant
                && entry.detail.as_deref() == Some("accept")
                && entry.covenant.is_some_and(|own| own.to_string() == hash)
                && entry.subject.is_some_and(|own| own.as_str() == oin)
        })
    };
    check(
        show.stage.members.iter().all(|member| signed(&member.oin)),
        "Niet van elke partij staat de handtekening in het logboek.",
        "Not every party's signature is in the log.",
    )?;
    let names: Vec<&str> = show.stage.members.iter().map(|member| member.role).collect();
    let names = names.join(", ");
    show.teller.right(
        format!("voorgesteld en ondertekend met ieders eigen sleutel ({names}); elke handtekening staat in het logboek"),
        format!("proposed, and signed with each one's own key ({names}); every signature is in the log"),
    );
    show.sum(
        (
            "partnerschap",
            format!("{} organisaties, 1 convenant met {flows} stromen", show.stage.members.len()),
        ),
        ("partnership", format!("{} organisations, 1 covenant with {flows} flows", show.stage.members.len())),
    );
    Ok(())
}

/// Starts broker and agents and waits until all are connected and know each other's prekeys.
///
/// # Errors
/// The process that does not.
pub(crate) fn start(show: &mut Show) -> Told {
    show.teller.scene(2, "Broker en vier agents starten", "Starting the broker and four agents");
    let bar =
        show.teller.bar(9, "processen, verbindingen, ontvangstsleutels", "processes, connections, prekeys");
    show.running.add("broker", show.stage.start_broker()?)?;
    bar.inc(1);
    start_agents(show, &mut || bar.inc(1))?;
    bar.finish_and_clear();
    for (name, id) in show.running.alive() {
        let text = |what: &str, over: &str| format!("{name:12}  {what} {id}{over}");
        if name == "broker" {
            let over = format!(", UDP {}", show.stage.address);
            show.teller.right(text("proces", &over), text("process", &over));
        } else {
            show.teller.right(
                text("proces", ", verbonden over QUIC; kent de ontvangstsleutels van de drie anderen"),
                text("process", ", connected over QUIC; knows the prekeys of the three others"),
            );
        }
    }
    check(
        show.running.alive().len() == show.stage.members.len() + 1,
        "Niet alle processen draaien nog; zie de logs.",
        "Not all processes are still running; see their logs.",
    )
}

/// Starts every agent that does not run; `tell` is told of each that started and each that is ready.
///
/// # Errors
/// The agent that does not.
pub(crate) fn start_agents(show: &Show, tell: &mut dyn FnMut()) -> Told {
    for member in &show.stage.members {
        show.running.add(member.role, show.stage.start_agent(member)?)?;
        tell();
    }
    for member in &show.stage.members {
        process::until("all prekeys are known", PATIENCE, || ready(&show.stage, member))?;
        tell();
    }
    Ok(())
}

fn ready(stage: &Stage, member: &Member) -> bool {
    let Ok(status) = stage.agent(member, &["status"]) else { return false };
    let partners = status.get("partners").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let usable = partners.iter().filter(|partner| partner.get("usable") == Some(&Value::Bool(true))).count();
    status.pointer("/link/connected") == Some(&Value::Bool(true)) && usable + 1 >= stage.members.len()
}
