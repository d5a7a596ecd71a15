//! Scene 3: the sample signals are sent, accepted, delivered and read.

use std::collections::BTreeSet;

use seinhuis_shared::covenant::law::is_service;
use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::cases::Moved;
use seinhuis_tests::samples::Sample;
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Member, process};
use serde_json::Value;

use crate::control;
use crate::refusals::pushed_in_vain;
use crate::show::{Show, moment, text};
use crate::trouble::{Told, Trouble, check};

/// Sends every sample these four partners can send, one after the other.
///
/// # Errors
/// The first that is not accepted, does not arrive, or arrives with another content.
pub(crate) fn play(show: &mut Show) -> Told {
    show.teller.scene(3, "Signalen onder het convenant", "Signals under the covenant");
    show.teller.line(
        "De afzender verzegelt en ondertekent; de broker toetst aan het convenant, legt vast en bewijst dat\nmet een logregel; de ontvanger toetst alles opnieuw, opent en bewaart. Personen zijn verzonnen.",
        "The sender seals and signs; the broker judges by the covenant, records, and proves that with a log\nentry; the recipient checks everything again, opens and keeps. All persons are invented.",
    );
    let samples = show.samples.clone();
    let (mut entries, mut deliveries) = (0, 0);
    let (mut closed, mut moved, mut released) = (false, 0, 0);
    for sample in &samples {
        if !closed {
            if sample.flow == "F12" {
                flag(show, sample)?;
            }
            (closed, moved) = case(show, sample, moved)?;
        }
        let (added, held) = send(show, sample)?;
        entries += added;
        released += usize::from(held);
        deliveries += sample.to.len();
    }
    check(
        closed && moved > 8,
        "De zaak is niet alle stappen doorgegaan.",
        "The case did not go through all steps.",
    )?;
    check(
        released > 10,
        "Berichten over personen zijn vertrokken zonder dat iemand ze vrijgaf.",
        "Messages about persons left without anybody releasing them.",
    )?;
    end(show)?;
    crate::burst::wait(show)?;
    let count = samples.len();
    check(count > 20, "Er ontbreken voorbeeldsignalen.", "Sample signals are missing.")?;
    show.sum(
        (
            "signalen",
            format!("{count} aangenomen in {entries} logregels, {deliveries} keer bezorgd en gelezen"),
        ),
        (
            "signals",
            format!("{count} accepted in {entries} log entries, delivered and read {deliveries} times"),
        ),
    );
    show.sum(
        ("vrijgave", format!("{released} berichten over personen wachtten tot een mens ze vrijgaf")),
        ("release", format!("{released} messages about persons waited until a person released them")),
    );
    Ok(())
}

/// The case is closed, so what follows it is erased everywhere, and the others confirm that to the municipality.
fn end(show: &mut Show) -> Told {
    let members = show.stage.members.clone();
    let (mut gone, mut confirmed) = (0, 0);
    for member in &members {
        let mut rows = Vec::new();
        process::until("bodies of a closed case are erased", PATIENCE, || {
            let listed = show.stage.agent(member, &["inbox", "list", "-n", "1000"]).unwrap_or_default();
            let all = listed.as_array().cloned().unwrap_or_default();
            let follows = |row: &Value| row["retention_days"].is_null() && !row["case"].is_null();
            rows = all.into_iter().filter(follows).collect();
            rows.iter().all(|row| !row["overwritten"].is_null())
        })?;
        gone += rows.len();
        let messages: BTreeSet<&str> = rows.iter().map(|row| text(row, "destruction_confirmed_by")).collect();
        for _ in messages.into_iter().filter(|id| !id.is_empty()) {
            confirmed += 1;
            show.expect(Some(member.role), &["gemeente".to_owned()]);
        }
    }
    check(
        gone > 5 && confirmed > 1,
        "Bij het einde van de zaak is niet gewist.",
        "Nothing was erased at the end of the case.",
    )?;
    show.teller.right(
        format!("de zaak is gesloten: {gone} inhouden gewist en overschreven, {confirmed} keer bevestigd aan de gemeente (F39)"),
        format!("the case is closed: {gone} bodies erased and overwritten, confirmed to the municipality {confirmed} times (F39)"),
    );
    Ok(())
}

/// Has decided what a sample needs of its case: the municipality moves it, the police state the condition. For a
/// message about earlier messages it is closed, since those pass all the same.
fn case(show: &Show, sample: &Sample, moved: usize) -> Told<(bool, usize)> {
    let Some(case) = sample.value.get("case").and_then(Value::as_str) else { return Ok((false, moved)) };
    if is_service(&sample.message_type) {
        show.stage.agent(show.stage.member("gemeente"), &["case", "close", case])?;
        show.teller.right(
            "besluit van de gemeente: de zaak is gesloten; alleen berichten over eerdere berichten mogen nog",
            "decision of the municipality: the case is closed; only messages about earlier ones may still pass",
        );
        return Ok((true, moved + 1));
    }
    let steps = show.stage.prepare(sample)?;
    for step in &steps {
        match step {
            Moved::Step(step) => show.teller.right(
                format!("besluit van de gemeente: de zaak gaat naar stap {step}"),
                format!("decision of the municipality: the case goes to step {step}"),
            ),
            Moved::Condition => show.teller.right(
                "de politie stelt vast: er is strafrechtelijke informatie; het OM sluit aan",
                "the police state: there is criminal information; the prosecution service joins",
            ),
        }
    }
    Ok((false, moved + steps.len()))
}

/// Before the condition is stated, nothing goes to the prosecution service.
fn flag(show: &Show, sample: &Sample) -> Told {
    let member = show.stage.member(&sample.from);
    let what = pushed_in_vain(show, member, &sample.value, Refusal::ConditionNotMet)?;
    show.teller.refused(&format!("{} {} → om: {what}", sample.flow, sample.from));
    Ok(())
}

/// Sends one sample and follows it to every recipient; the number of log entries it got, and whether it waited
/// for a person to release it.
fn send(show: &mut Show, sample: &Sample) -> Told<(usize, bool)> {
    let sender = show.stage.member(&sample.from);
    let pushed = show.stage.agent(sender, &["push", &sample.path.to_string_lossy()])?;
    let id = text(&pushed, "msg_id").to_owned();
    let held = text(&pushed, "state") == "held";
    if held {
        show.stage.agent(sender, &["release", "approve", &id, "--as", "teamchef"])?;
    }
    let pushed = decided(sender, &id)?;
    let entries = entries(&pushed);
    check(
        text(&pushed, "state") == "accepted" && entries.len() == sample.to.len(),
        format!("{} is niet aangenomen: {pushed}", sample.path.display()),
        format!("{} was not accepted: {pushed}", sample.path.display()),
    )?;
    let created = moment(&pushed, "created")?;
    let mut slowest = 0;
    for role in &sample.to {
        let recipient = show.stage.member(role);
        let row = show.arrival(recipient, &id)?;
        let read = show.stage.agent(recipient, &["inbox", "read", &id])?;
        check(
            read.get("body") == sample.value.get("body") && read.to_string().contains(&sample.canary),
            format!("{role} leest iets anders dan {} stuurde.", sample.from),
            format!("{role} reads something else than {} sent.", sample.from),
        )?;
        slowest = slowest.max(moment(&row, "stored")?.since(created).0);
    }
    tell(show, sample, held, &entries, slowest);
    show.expect_sample(sample);
    if show.known.is_empty() {
        show.known = id;
    }
    Ok((entries.len(), held))
}

/// Waits for what becomes of a message; its row in the outbox.
fn decided(sender: &Member, id: &str) -> Told<Value> {
    let mut row = Err(Trouble::bug());
    process::until("the broker's answer", PATIENCE, || {
        row = control::sent(&sender.home, id).map_err(Trouble::from);
        row.as_ref().map_or(true, |row| !matches!(text(row, "state"), "draft" | "sealed"))
    })?;
    row
}

/// The log entries in an outbox row's receipt.
pub(crate) fn entries(row: &Value) -> Vec<u64> {
    let listed = row.pointer("/receipt/entries").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(Value::as_u64).collect()
}

fn tell(show: &Show, sample: &Sample, held: bool, entries: &[u64], slowest: u64) {
    let step = text(&sample.value, "step");
    let numbers = entries.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let route = format!("{} → {}", sample.from, sample.to.join(", "));
    let what = show.type_name(&sample.message_type);
    let line = |step_word: &str, entry_word: &str, rest: &str| {
        let outcome = show.teller.dim(&format!("{entry_word} {numbers}, {rest} {slowest} ms"));
        format!("{} {step_word} {step:2}  {route:34}  {what:42}  {outcome}", sample.flow)
    };
    let (nl, en) = if held {
        ("vrijgegeven, aangenomen in logregel", "released, accepted in log entry")
    } else {
        ("aangenomen in logregel", "accepted in log entry")
    };
    show.teller.right(line("stap", nl, "bezorgd na"), line("step", en, "delivered after"));
}
