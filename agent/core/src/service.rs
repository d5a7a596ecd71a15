//! Messages an agent sends of itself about earlier ones: to whom, under which version and flow.

use seinhuis_shared::covenant::{Covenant, Flow, Role, Step};
use seinhuis_shared::ids::{Digest, MsgId, Oin};
use seinhuis_shared::limits::TTL_MAX;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;

use crate::engine::Core;
use crate::minimise::{PushRequest, Rejection, Target, prepare};
use crate::ports::Ports;
use crate::turn::Turn;

/// What says that an earlier message is wrong, and what answers that. Neither can be corrected itself.
const EVIDENCE: [&str; 5] =
    ["correctie", "intrekking", "vernietigingsbevestiging", "ontvangstbevestiging", "afwijzing"];

/// Whether a message type says something of an earlier message and therefore stays as it is.
pub(crate) fn is_evidence(message_type: &str) -> bool {
    EVIDENCE.contains(&message_type)
}

/// A message about an earlier one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notice<'a> {
    /// The covenant version of the earlier message.
    pub(crate) covenant: Digest,
    /// The step of the earlier message, as its code.
    pub(crate) step: &'a str,
    pub(crate) message_type: &'a str,
    pub(crate) to: Oin,
    pub(crate) about: Option<MsgId>,
    pub(crate) body: &'a [u8],
}

impl Core {
    /// Makes the push of a notice: under the newest version in force of the earlier message's covenant, on the
    /// flow of that version that carries the message type to this recipient. It names no case: a notice has to
    /// arrive whatever became of the case, and the broker need not see which case it is about.
    pub(crate) fn notice(
        &self,
        notice: &Notice<'_>,
        now: Timestamp,
        ports: Ports<'_>,
    ) -> Result<PushRequest, Rejection> {
        let id = &self.agreed.find(&notice.covenant)?.compiled().covenant().id;
        let (own, to) = (self.settings.oin, notice.to);
        let newest = self.agreed.newest(now, |covenant| covenant.id == *id);
        let compiled = newest.first().ok_or(Refusal::CovenantNotInForce)?.compiled();
        let role = |oin| compiled.role_at(oin, now).ok_or(Refusal::NotAParty);
        let flow = flow_for(compiled.covenant(), notice.message_type, role(own)?, role(to)?)?;
        let step = notice.step.parse().ok().filter(|step: &Step| flow.steps.contains(step));
        Ok(PushRequest {
            msg_id: MsgId::v7(now, ports.random()),
            flow: flow.id.clone(),
            to: vec![Target::Oin(to)],
            step: step.or(flow.steps.first().copied()),
            case: None,
            message_type: Some(notice.message_type.to_owned()),
            basis: None,
            covenant: Some(compiled.hash()),
            ttl: Some(compiled.covenant().max_ttl.min(TTL_MAX)),
            in_reply_to: notice.about,
            trace: None,
            source: None,
            handling: None,
            body: notice.body.to_vec(),
        })
    }

    /// Whether a notice could be sent now, as far as can be told before it is.
    pub(crate) fn check_notice(
        &self,
        notice: &Notice<'_>,
        now: Timestamp,
        ports: Ports<'_>,
    ) -> Result<(), Rejection> {
        let request = self.notice(notice, now, ports)?;
        prepare(&self.agreed, self.settings.oin, &request, now).map(|_| ())
    }

    /// Sends a notice, in this turn; its message id, and until when it is valid.
    pub(crate) fn send_notice(
        &mut self,
        notice: &Notice<'_>,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(MsgId, Timestamp), Rejection> {
        let request = self.notice(notice, now, ports)?;
        let pushed = self.try_push(&request, now, ports, turn)?;
        Ok((pushed.msg_id, now.plus(request.ttl.unwrap_or(TTL_MAX))))
    }
}

fn flow_for<'a>(
    covenant: &'a Covenant,
    message_type: &str,
    from: Role,
    to: Role,
) -> Result<&'a Flow, Refusal> {
    let carries = |flow: &&Flow| flow.types.iter().any(|code| code == message_type);
    let mut flows = covenant.flows.iter().filter(carries).peekable();
    if flows.peek().is_none() {
        return Err(Refusal::UnknownFlow);
    }
    let leads =
        |flow: &&Flow| flow.routes.iter().any(|route| route.from.contains(&from) && route.to.contains(&to));
    flows.find(leads).ok_or(Refusal::RecipientRole)
}
