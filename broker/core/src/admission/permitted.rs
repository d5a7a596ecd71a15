//! The covenant: whether this was agreed, and with whom.

use seinhuis_shared::case;
use seinhuis_shared::covenant::{Permit, Question, Size};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;

use super::authentic::Authentic;
use super::fresh::Fresh;
use super::received::Rejected;
use crate::cases::Cases;
use crate::directory::Directory;

/// A packet that may pass, with the rule that lets it.
#[derive(Debug)]
pub struct Permitted {
    packet: Box<Authentic>,
    permit: Permit,
}

impl Fresh {
    /// Judges under what was agreed, and in the light of the packet's case. The directory is asked again, since it may have changed after the
    /// packet was examined: what was revoked or withdrawn in between is not let through.
    ///
    /// # Errors
    /// A [`Rejected`] with a number from 201 to 209 or from 401; 430 for a key that was given up.
    pub fn permit(
        self,
        directory: &Directory,
        cases: &Cases,
        now: Timestamp,
    ) -> Result<Permitted, Box<Rejected>> {
        let Self(packet) = self;
        match judge(&packet, directory, cases, now) {
            Ok(permit) => Ok(Permitted { packet, permit }),
            Err(refusal) => Err(packet.reject(refusal)),
        }
    }
}

fn judge(
    packet: &Authentic,
    directory: &Directory,
    cases: &Cases,
    now: Timestamp,
) -> Result<Permit, Refusal> {
    let context = packet.context();
    directory.partner(&context.sender)?;
    let agreement = directory.covenant(&context.covenant)?;
    directory.agreements.keys().signing_key(agreement.compiled(), context.sender, context.signer, now)?;
    let recipients = context.recipient_oins();
    // Who is no party is refused as such below, so that nobody learns who else is registered here.
    let mut parties = recipients.iter().filter(|oin| agreement.compiled().role_of(**oin).is_some());
    parties.try_for_each(|oin| directory.recipient(oin))?;
    let question = Question {
        flow: &context.flow,
        sender: context.sender,
        recipients: &recipients,
        case: context.case,
        declared: &context.declared,
        now,
        issued: context.issued,
        expires: context.expires,
        size: Size::Sealed(u64::try_from(packet.bytes().len()).unwrap_or(u64::MAX)),
    };
    let permit = agreement.judge(&question)?;
    let state = context.case.and_then(|case| cases.state(&case));
    case::admits(state, agreement.compiled(), &question)?;
    Ok(permit)
}

impl Permitted {
    /// The packet.
    pub const fn packet(&self) -> &Authentic {
        &self.packet
    }

    /// The rule that lets it pass.
    pub const fn permit(&self) -> &Permit {
        &self.permit
    }
}
