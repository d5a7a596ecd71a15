//! Scene 5: four things that must not get through, and what is said about them.

use seinhuis_shared::entry::Kind as EntryKind;
use seinhuis_shared::frame::Kind;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::packet::Packet;
use seinhuis_shared::prekey::{PrekeyBundle, PrekeyPublic};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::wire::{FetchPrekeys, Message as _, Prekeys, Verdict};
use seinhuis_shell::clock;
use seinhuis_tests::raw::RawError;
use seinhuis_tests::samples::Sample;
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Forge, Member, Raw, process};
use serde_json::{Value, json};

use crate::control;
use crate::show::{Show, text};
use crate::trouble::{Told, Trouble, check};

/// Plays the four refusals.
///
/// # Errors
/// When something gets through, or is refused for another reason.
pub(crate) fn play(show: &mut Show) -> Told {
    show.teller.scene(5, "Vier weigeringen", "Four refusals");
    let runtime = seinhuis_shell::cli::runtime_here()?;
    field(show)?;
    flow_at_own_agent(show)?;
    runtime.block_on(async {
        flow_at_broker(show).await?;
        unknown_partner(show).await?;
        tampered(show).await
    })?;
    let numbers = [
        Refusal::FieldNotAllowed,
        Refusal::SenderRole,
        Refusal::RecipientRole,
        Refusal::UnknownPartner,
        Refusal::SealMismatch,
    ]
    .map(|refusal| refusal.number().to_string())
    .join(", ");
    show.sum(
        ("weigeringen", format!("{numbers}; wat de broker weigerde, staat ondertekend in het log")),
        ("refusals", format!("{numbers}; what the broker refused, stands in the log, signed")),
    );
    Ok(())
}

/// Tells a refusal with its number, its reason and what to do; `what` instead of the table's own reason.
fn tell(show: &Show, refusal: Refusal, what: Option<&str>) {
    let lang = show.teller.lang();
    let what = what
        .map_or_else(|| format!("{} ({refusal})", refusal.what(lang).trim_end_matches('.')), str::to_owned);
    show.teller.refused(&what);
    let next = show.teller.pick("Wat nu", "Next");
    show.teller
        .line(format!("{next}: {}", refusal.advice(lang)), format!("{next}: {}", refusal.advice(lang)));
}

fn note(show: &Show, nl: &str, en: &str) {
    show.teller.line(show.teller.dim(nl), show.teller.dim(en));
}

/// Pushes a signal that its own agent has to refuse; the agent's sentence.
///
/// # Errors
/// When the agent does not refuse it, or keeps it.
pub(crate) fn pushed_in_vain(show: &Show, member: &Member, signal: &Value, refusal: Refusal) -> Told<String> {
    let file = show.stage.dir.join("refused-signal.json");
    std::fs::write(&file, signal.to_string())?;
    let before = control::counts(&member.home)?;
    let lang = show.teller.pick("nl", "en");
    let ran = show.stage.try_agent(member, &["push", &file.to_string_lossy(), "--lang", lang])?;
    let answer: Value = serde_json::from_str(&ran.stderr).unwrap_or_default();
    let number = answer.pointer("/error/refusal").and_then(Value::as_u64);
    check(
        ran.code == 1 && number == Some(refusal.number().into()),
        format!(
            "De agent van {} had met {refusal} moeten weigeren: {}{}",
            member.role, ran.stdout, ran.stderr
        ),
        format!("{}'s agent should have refused with {refusal}: {}{}", member.role, ran.stdout, ran.stderr),
    )?;
    let outbox = show.stage.agent(member, &["outbox", "list", "-n", "10000"])?;
    let kept = outbox.as_array().map_or(0, Vec::len);
    check(
        control::counts(&member.home)? == before && u64::try_from(kept).ok() == Some(before.accepted),
        format!("De agent van {} bewaarde een geweigerd signaal.", member.role),
        format!("{}'s agent kept a refused signal.", member.role),
    )?;
    let what = answer.pointer("/error/what").and_then(Value::as_str).unwrap_or_default();
    Ok(what.to_owned())
}

/// A field the covenant does not know: the sending agent names it and seals nothing.
fn field(show: &Show) -> Told {
    let mut signal = show.sample("F01")?.value;
    if let Some(body) = signal.get_mut("body").and_then(Value::as_object_mut) {
        body.insert("naam".into(), json!("Timo Verzonnen"));
    }
    show.teller.line(
        "a. Jongerenwerk zet een naam in een groepssignaal (F01):",
        "a. Youth work puts a name (`naam`) in a signal about a group (F01):",
    );
    let sender = show.stage.member("jongerenwerk");
    let what = pushed_in_vain(show, sender, &signal, Refusal::FieldNotAllowed)?;
    check(
        what.contains("naam"),
        format!("De weigering noemt het veld niet: {what}"),
        format!("The refusal does not name the field: {what}"),
    )?;
    tell(show, Refusal::FieldNotAllowed, Some(&what));
    note(
        show,
        "De eigen agent zei dit, voor het verzegelen; er is niets verstuurd of bewaard.",
        "Its own agent said so, before sealing; nothing was sent or kept.",
    );
    Ok(())
}

/// Another organisation's flow: the sending agent refuses.
fn flow_at_own_agent(show: &Show) -> Told {
    show.teller.line(
        "b. Politie gebruikt de stroom van jongerenwerk (F01):",
        "b. The police use youth work's flow (F01):",
    );
    let signal = show.sample("F01")?.value;
    let what = pushed_in_vain(show, show.stage.member("politie"), &signal, Refusal::SenderRole)?;
    tell(show, Refusal::SenderRole, Some(&what));
    note(show, "Ook dit zei de eigen agent.", "This too was said by its own agent.");
    Ok(())
}

/// The number a member's inbox has.
fn inbox(show: &Show, role: &str) -> Told<u64> {
    Ok(control::counts(&show.stage.member(role).home)?.stored)
}

fn oin_of(member: &Member) -> Told<Oin> {
    member.oin.parse().map_err(|_| Trouble::bug())
}

/// A recipient's prekey as the broker hands it out, checked as an agent checks it.
async fn prekey(show: &Show, raw: &Raw, member: &Member) -> Told<PrekeyPublic> {
    let oin = oin_of(member)?;
    let wanted = FetchPrekeys { oins: vec![oin] }.to_frame().map_err(RawError::Refused)?;
    let payload = wanted.get(seinhuis_shared::frame::HEADER_LEN..).unwrap_or_default();
    let answer = raw.request(Kind::FetchPrekeys, payload, Kind::Prekeys).await?;
    let prekeys = Prekeys::parse(&answer).map_err(RawError::Refused)?;
    let (_, bundle) = prekeys.bundles.first().ok_or_else(Trouble::bug)?;
    let thumbprints = show.document().parties.iter().filter(|party| party.oin == oin);
    let keys: Vec<_> = thumbprints
        .flat_map(|party| &party.signing_keys)
        .filter_map(|key| key.0.as_slice().try_into().ok())
        .filter_map(|key| seinhuis_shared::signing::PublicKey::from_bytes(&key))
        .collect();
    let bundle = PrekeyBundle::verify(bundle, &oin, &keys).map_err(RawError::Refused)?;
    let prekey = bundle.usable(clock::now()).ok_or_else(Trouble::bug)?;
    Ok(prekey.public.clone())
}

/// Submits a packet that has to be refused for `reason`, and checks the receipt that says so.
async fn refused(raw: &mut Raw, packet: &[u8], sender: Oin, reason: Refusal) -> Told<u64> {
    let (verdict, receipt): (Verdict, _) = raw.verdict(packet).await?;
    check(
        verdict.outcome == reason.number() && verdict.packet == sha256(packet),
        format!("De broker had met {reason} moeten weigeren en antwoordde {}.", verdict.outcome),
        format!("The broker should have refused with {reason} and answered {}.", verdict.outcome),
    )?;
    let proved = receipt.says_refused(&sha256(packet), &sender, reason.number());
    check(
        proved.is_ok(),
        "Het ontvangstbewijs van de weigering bewijst haar niet.",
        "The receipt of the refusal does not prove it.",
    )?;
    receipt.entries.first().map(|(index, _)| *index).ok_or_else(Trouble::bug)
}

fn proved(show: &Show, entry: u64, nl: &str, en: &str) {
    note(
        show,
        &format!("De broker zei dit in logregel {entry}; ondertekening en bewijs zijn nagerekend.\n{nl}"),
        &format!("The broker said so in log entry {entry}; signature and proof were verified.\n{en}"),
    );
}

/// A flow that does not exist between two roles, sealed and signed past the sender's own agent.
async fn flow_at_broker(show: &Show) -> Told {
    show.teller.line(
        "   En met een agent die zijn werk niet doet: OM stuurt rechtstreeks aan jongerenwerk (F22):",
        "   And with an agent that does not do its work: OM sends directly to youth work (F22):",
    );
    let (om, youth) = (show.stage.member("om"), show.stage.member("jongerenwerk"));
    let before = inbox(show, youth.role)?;
    let forge = Forge::of(&show.stage, om)?;
    let mut raw = Raw::open(&om.home).await?;
    let key = prekey(show, &raw, youth).await?;
    let packet = forge.packet(&show.sample("F22")?, &[(oin_of(youth)?, &key)], |_| ())?;
    let entry = refused(&mut raw, &packet, forge.oin, Refusal::RecipientRole).await?;
    raw.close().await;
    check(
        inbox(show, youth.role)? == before,
        "Jongerenwerk ontving een geweigerd pakket.",
        "Youth work received a refused packet.",
    )?;
    tell(show, Refusal::RecipientRole, None);
    proved(show, entry, "Jongerenwerk ontving niets.", "Youth work received nothing.");
    Ok(())
}

/// An organisation with a good certificate of this partnership, but unknown to the broker.
async fn unknown_partner(show: &Show) -> Told {
    show.teller.line(
        "c. Handhaving heeft een certificaat van deze CA, maar is niet bij de broker aangemeld:",
        "c. The enforcement officers have a certificate of this CA, but are not registered at the broker:",
    );
    let name = "Handhaving Voorbeeldstad";
    let stranger = Member::new(&show.stage.dir, "boa", "boa", "00000099000000005000", name);
    show.stage.enrol(&stranger)?;
    let answer = Raw::open(&stranger.home).await;
    let refusal = answer.as_ref().err().and_then(RawError::refusal);
    check(
        refusal == Some(Refusal::UnknownPartner),
        format!("De broker had met {} moeten weigeren: {answer:?}", Refusal::UnknownPartner),
        format!("The broker should have refused with {}: {answer:?}", Refusal::UnknownPartner),
    )?;
    let oin = oin_of(&stranger)?;
    let logged = show.stage.log_tail(5)?.into_iter().any(|entry| {
        entry.kind == EntryKind::Refused
            && entry.from == Some(oin)
            && entry.reason == Some(Refusal::UnknownPartner.number())
    });
    check(logged, "De weigering staat niet in het log.", "The refusal is not in the log.")?;
    tell(show, Refusal::UnknownPartner, None);
    note(
        show,
        "Bij de begroeting, voor er een pakket was; de weigering staat in het log.",
        "At the greeting, before there was a packet; the refusal stands in the log.",
    );
    Ok(())
}

/// A packet with one bit flipped; the same packet untouched is accepted, so that it was the bit.
async fn tampered(show: &mut Show) -> Told {
    show.teller.line(
        "d. Onderweg van OM naar de gemeente wordt in een pakket één bit omgezet (F22):",
        "d. On the way from OM to the municipality one bit of a packet is flipped (F22):",
    );
    let (om, town) = (show.stage.member("om").clone(), show.stage.member("gemeente").clone());
    let forge = Forge::of(&show.stage, &om)?;
    let mut raw = Raw::open(&om.home).await?;
    let key = prekey(show, &raw, &town).await?;
    let sample: Sample = show.sample("F22")?;
    // The story's own case is closed by now.
    let opened = show.stage.agent(&town, &["case", "open"])?;
    let case = text(&opened, "case");
    show.stage.walk(case, "4")?;
    let case = case.parse().ok();
    let packet = forge.packet(&sample, &[(oin_of(&town)?, &key)], |context| context.case = case)?;
    let mut flipped = packet.clone();
    if let Some(last) = flipped.last_mut() {
        *last ^= 1;
    }
    let entry = refused(&mut raw, &flipped, forge.oin, Refusal::SealMismatch).await?;
    let (verdict, receipt) = raw.verdict(&packet).await?;
    raw.close().await;
    let whole = Packet::parse(&packet).map_err(RawError::Refused)?;
    let accepted = verdict.outcome == 0 && receipt.says_accepted(&whole).is_ok();
    check(
        accepted,
        format!("Het onveranderde pakket is ook geweigerd, met {}.", verdict.outcome),
        format!("The untouched packet was refused as well, with {}.", verdict.outcome),
    )?;
    let id = whole.context().msg_id.to_string();
    let row = show.arrival(&town, &id)?;
    check(text(&row, "msg_id") == id, "Het verkeerde bericht kwam aan.", "The wrong message arrived.")?;
    show.expect(None, &sample.to);
    tell(show, Refusal::SealMismatch, None);
    proved(
        show,
        entry,
        "Hetzelfde pakket zonder dat bit werd daarna aangenomen en bezorgd.",
        "The same packet without that flip was then accepted and delivered.",
    );
    let told = || control::was_impersonated(&om.home).unwrap_or_default();
    process::until("OM's agent notices", PATIENCE, told)?;
    note(
        show,
        "De agent van OM slaat alarm: de broker meldt de bezorging van een pakket dat hij niet zelf stuurde.",
        "OM's agent raises an alarm: the broker tells of the delivery of a packet that it did not send itself.",
    );
    Ok(())
}
