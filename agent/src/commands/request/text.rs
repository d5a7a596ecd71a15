//! What commands say in text, read: where a value is wrong, the option is named.

use std::sync::Arc;

use data_encoding::BASE64;
use seinhuis_agent_core::{
    CorrectRequest, CorrectionKind, Duty, Grant, Ground, PushRequest, Source, Target, Telling,
};
use seinhuis_shared::case::Act;
use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::covenant::{Compiled, Covenant, Handling, Role, Step};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, TraceId};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;

use super::answer::rejected;
use super::{ActText, GrantText, PushText, TellText};
use crate::commands::present;
use crate::engine::{Say, View, outbox_row, provenance_row};

/// The received message that a push passes on.
pub(super) fn source(view: &View<'_>, id: Option<&String>) -> Result<Option<Source>, Complaint> {
    let Some(id) = id else { return Ok(None) };
    let (position, row) = present::find(view, id)?;
    let withdrawn = view.core.mark(position).is_some_and(|mark| mark.withdrawn.is_some());
    if withdrawn || view.core.erased(position).is_some() {
        return Err(Complaint::refused(
            Text::new(
                "Dit bericht is ingetrokken of gewist; het wordt niet meer doorgegeven.",
                "This message was withdrawn or erased; it is not passed on any more.",
            ),
            Text::new("Vraag de afzender om een nieuw bericht.", "Ask the sender for a new message."),
        )
        .about(id));
    }
    let said = provenance_row(view.store, position);
    let source = view.core.source(&row, said.as_ref());
    source.map(Some).ok_or_else(|| present::no_such_message(id))
}

/// Gives a push its message id, where a script's own key says which message it is.
pub(super) fn named(view: &View<'_>, push: &mut PushText) {
    if let Some(key) = &push.key {
        push.msg_id = view.vault.msg_id("lines", key.as_bytes()).to_string();
    }
}

/// A consent as something to push to its holder.
pub(super) fn granted(view: &View<'_>, text: &GrantText) -> Result<PushRequest, Complaint> {
    let about = field("MSG", &text.about)?;
    let row = view.core.find(&about).and_then(|(position, _)| outbox_row(view.store, position));
    let row = row.ok_or_else(|| present::no_such_message(&text.about))?;
    let grant = Grant {
        msg_id: field("--id", &text.msg_id)?,
        holder: target("--holder", &text.holder)?,
        to: text.to.iter().map(|one| target("--to", one)).collect::<Result<_, _>>()?,
        until: text.until.as_deref().map(moment).transpose()?,
        step: optional("--step", text.step.as_ref())?,
        reference: text.reference.clone(),
        reason: text.reason.clone(),
    };
    view.core.grant(&row, grant, clock::now(), view.vault.ports()).map_err(|rejection| rejected(&rejection))
}

/// A date or an instant of `--until`.
pub(crate) fn moment(text: &str) -> Result<Timestamp, Complaint> {
    Timestamp::parse(text).ok_or_else(|| {
        Complaint::usage(
            Text::new(format!("{text} is geen datum."), format!("{text} is no date.")),
            Text::new("Schrijf bijvoorbeeld 2026-12-31.", "Write for example 2026-12-31."),
        )
    })
}

/// An organisation by its OIN or its role.
pub(super) fn target(name: &str, text: &str) -> Result<Target, Complaint> {
    // A role never has the form of an OIN.
    text.parse::<Role>().map(Target::Role).or_else(|_| field(name, text).map(Target::Oin))
}

pub(super) fn propose(document: &str) -> Result<Say, Complaint> {
    let bytes = from_base64(document).ok_or_else(|| Complaint::bug("a document that is not base64"))?;
    let compiled = Covenant::from_bytes(&bytes).and_then(Compiled::new);
    let compiled = compiled.map_err(|error| seinhuis_shell::covenants::wrong(&error.to_string()))?;
    Ok(Say::Propose(Arc::new(compiled)))
}

pub(super) fn speak(covenant: &str, word: &str, reason: String) -> Result<Say, Complaint> {
    let words = [Word::Accept, Word::Reject, Word::Withdraw];
    let word = words.into_iter().find(|one| one.as_str() == word);
    let word = word.ok_or_else(|| Complaint::bug("a word of another version"))?;
    Ok(Say::Word(field("--covenant", covenant)?, word, reason))
}

pub(super) fn decide(
    case: &str,
    act: &ActText,
    covenant: Option<&String>,
) -> Result<(CaseId, Say), Complaint> {
    let case = field("CASE", case)?;
    let act = match act {
        ActText::Open => None,
        ActText::Step(step) => Some(Act::Step(field("STEP", step)?)),
        ActText::Close => Some(Act::Close),
        ActText::Condition { code, holds } => Some(Act::Condition { code: code.clone(), holds: *holds }),
    };
    Ok((case, Say::Decide(case, act, optional("--covenant", covenant)?)))
}

pub(super) fn correct(about: &str, kind: &str, body: &str) -> Result<(MsgId, Say), Complaint> {
    let about = field("MESSAGE", about)?;
    let kinds = [CorrectionKind::Correction, CorrectionKind::Withdrawal];
    let kind = kinds.into_iter().find(|one| one.as_str() == kind);
    let kind = kind.ok_or_else(|| Complaint::bug("a correction of another version"))?;
    let body = from_base64(body).ok_or_else(|| Complaint::bug("a body that is not base64"))?;
    Ok((about, Say::Correct(Box::new(CorrectRequest { about, kind, body, sent: None }))))
}

pub(super) fn erase(view: &View<'_>, id: &str, ground: &str) -> Result<(u64, Say), Complaint> {
    let known = Ground::ALL.map(Ground::as_str).join(", ");
    let ground = Ground::ALL.into_iter().find(|one| one.as_str() == ground).ok_or_else(|| {
        Complaint::usage(
            Text::new(format!("{ground} is geen grond."), format!("{ground} is not a ground.")),
            Text::new(format!("Kies uit: {known}."), format!("Choose one of: {known}.")),
        )
    })?;
    let position = present::position_of(view, id)?;
    Ok((position, Say::Erase(position, ground)))
}

pub(super) fn telling(text: TellText) -> Result<Telling, Complaint> {
    let TellText { person, duty, until, role, reason } = text;
    let known = [Duty::Open, Duty::Postponed, Duty::Informed, Duty::Exempt];
    let duty = known.into_iter().find(|one| one.as_str() == duty);
    let duty = duty.ok_or_else(|| Complaint::bug("a decision of another version"))?;
    let until = until.as_deref().map(moment).transpose()?;
    Ok(Telling { person: field("PERSON", &person)?, duty, until, role, reason })
}

pub(super) fn field<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Complaint>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| {
        Complaint::usage(
            Text::new(
                format!("De waarde van {name} klopt niet: {error}."),
                format!("The value of {name} is wrong: {error}."),
            ),
            Text::new("Verbeter de waarde en probeer het opnieuw.", "Correct the value and try again."),
        )
    })
}

pub(super) fn optional<T: std::str::FromStr>(
    name: &str,
    text: Option<&String>,
) -> Result<Option<T>, Complaint>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| field(name, text)).transpose()
}

/// Reads a push that arrived as text.
///
/// # Errors
/// A sentence naming the option whose value is wrong; a body that is not base64 is the program's own fault.
pub fn parse(push: &PushText) -> Result<PushRequest, Complaint> {
    let to = push.to.iter().map(|text| target("--to", text)).collect::<Result<Vec<_>, Complaint>>()?;
    Ok(PushRequest {
        msg_id: field::<MsgId>("--id", &push.msg_id)?,
        flow: push.flow.clone(),
        to,
        step: optional::<Step>("--step", push.step.as_ref())?,
        case: optional::<CaseId>("--case", push.case.as_ref())?,
        message_type: push.message_type.clone(),
        basis: push.basis.clone(),
        covenant: optional::<Digest>("--covenant", push.covenant.as_ref())?,
        ttl: push.ttl_ms.map(Span),
        in_reply_to: optional::<MsgId>("--reply-to", push.in_reply_to.as_ref())?,
        trace: optional::<TraceId>("--trace", push.trace.as_ref())?,
        source: None,
        handling: optional::<Handling>("--handling", push.handling.as_ref())?,
        body: from_base64(&push.body).ok_or_else(|| Complaint::bug("a body that is not base64"))?,
    })
}

/// Reads base64 in its one way of writing. The decoder alone also takes several padded texts in a row, so that
/// one body would have many texts.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok().filter(|bytes| BASE64.encode(bytes) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(body: &str) -> PushText {
        PushText {
            msg_id: "019a0001-7002-8003-8405-060708090a0b".into(),
            flow: "F01".into(),
            to: vec!["politie".into()],
            body: body.into(),
            ..PushText::default()
        }
    }

    #[test]
    fn a_body_has_one_text() {
        assert_eq!(parse(&push("eyJhIjoxfQ==")).unwrap().body, b"{\"a\":1}");
        // The same bytes as two padded texts, more bytes after padding, dirty last bits, no padding.
        for other in ["ew==ImEiOjF9", "eyJhIjoxfQ==true", "eyJhIjoxfR==", "eyJhIjoxfQ", "eyJhIjoxfQ== "] {
            let complaint = parse(&push(other)).unwrap_err();
            assert!(complaint.what.en.contains("base64"), "{other}: {complaint}");
        }
    }
}
