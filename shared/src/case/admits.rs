//! The judgement over one packet in the light of its case.

use super::ensure;
use super::state::{CaseState, Stage};
use crate::covenant::{Compiled, Question, law};
use crate::refusal::Refusal;

/// Whether the state of its case lets a packet pass; asked beside [`crate::covenant::evaluate`], which
/// judges everything else. `state` is that of the case the packet names, if it is known; it is looked at as
/// of `question.now`, the instant of acceptance.
///
/// Without a case nothing has started: the declared step must be the covenant's first, unless the message
/// type is one of [`law::SERVICE_TYPES`]. With a case the declared step is the case's; once it is closed
/// only service types pass, in whatever step they declare. A condition of the flow that counts for the
/// sender's or a recipient's role must hold.
///
/// # Errors
/// In this order: [`Refusal::UnknownFlow`], [`Refusal::NotAParty`], [`Refusal::UnknownCase`],
/// [`Refusal::CaseClosed`], [`Refusal::WrongStep`], [`Refusal::ConditionNotMet`].
pub fn admits(
    state: Option<&CaseState>,
    compiled: &Compiled,
    question: &Question<'_>,
) -> Result<(), Refusal> {
    let flow = compiled.rule(question.flow).ok_or(Refusal::UnknownFlow)?;
    let mut roles = 0;
    for oin in question.recipients.iter().chain([&question.sender]) {
        roles |= compiled.role_of(*oin).ok_or(Refusal::NotAParty)?.bit();
    }
    let mut conditions =
        flow.conditions.iter().filter(|(_, affected)| affected & roles != 0).map(|(code, _)| code);
    let (step, service) = (question.declared.step, law::is_service(&question.declared.message_type));
    let Some(case) = question.case else {
        ensure(service || Some(step) == compiled.first_step(), Refusal::WrongStep)?;
        // Nobody can have stated anything of no case.
        return ensure(conditions.next().is_none(), Refusal::ConditionNotMet);
    };
    let standing = state
        .filter(|state| state.case() == case && state.covenant() == compiled.covenant().id)
        .and_then(|state| state.at(question.now))
        .ok_or(Refusal::UnknownCase)?;
    match standing.stage() {
        Stage::In(current) => ensure(step == current, Refusal::WrongStep)?,
        Stage::Closed => ensure(service, Refusal::CaseClosed)?,
    }
    ensure(conditions.all(|code| standing.holds(code, compiled)), Refusal::ConditionNotMet)
}
