//! The judgement over one packet: pure, complete, in a fixed order.
//!
//! The order is part of the interface, because partners see which check came first:
//! 1 in force · 2 recipients counted, none twice; then all parties · 3 flow · 4 message type · 5 sender's role ·
//! 6 recipients' roles and number · 7 step · 8 level · 9 categories and that the level is theirs ·
//! 10 purpose and basis · 11 case · 12 rules of law · 13 article 20 decision asked by the flow ·
//! 14 validity of the packet · 15 size.

use super::compiled::{Compiled, FlowRule};
use super::declared::Declared;
use super::document::CaseRule;
use super::law;
use super::limits::{RECIPIENTS_MAX, TTL_MAX};
use super::vocabulary::{Level, Role, Special};
use crate::ids::{CaseId, Digest, Oin};
use crate::limits::PACKET_OVERHEAD_MAX;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// How large the thing is, as far as the one who asks can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Bytes of the plaintext body: at the sending and the receiving agent.
    Body(u64),
    /// Bytes of the sealed packet: at the broker, which sees no body. Padding and wrapped keys are
    /// allowed for, so this bound is coarser.
    Sealed(u64),
}

impl Size {
    fn within(self, max_body: u64) -> bool {
        match self {
            Self::Body(bytes) => bytes <= max_body,
            Self::Sealed(bytes) => {
                // Padmé adds at most 12 %, so an eighth; the rest is statement, wraps and framing.
                let overhead = u64::try_from(PACKET_OVERHEAD_MAX).unwrap_or(u64::MAX);
                bytes <= max_body.saturating_add(max_body.wrapping_div(8)).saturating_add(overhead)
            }
        }
    }
}

/// What is asked: may this packet pass?
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The flow it claims.
    pub flow: &'a str,
    /// The sender, already authenticated by the caller.
    pub sender: Oin,
    /// The recipients, in the packet's order.
    pub recipients: &'a [Oin],
    /// The case's pseudonym, if the packet names one.
    pub case: Option<CaseId>,
    /// What the sender declares about the body.
    pub declared: &'a Declared,
    /// The instant of the judgement. Who judges later what was accepted earlier, such as a recipient
    /// that was offline, passes the instant of acceptance.
    pub now: Timestamp,
    /// When the packet was made.
    pub issued: Timestamp,
    /// When its validity ends. Whether that has passed is the caller's freshness check, not asked here.
    pub expires: Timestamp,
    /// How large it is.
    pub size: Size,
}

/// Proof that a packet may pass, naming the rule that let it. Only [`evaluate`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    covenant: Digest,
    flow: String,
    level: Level,
    sender: Role,
    retention_days: Option<u32>,
}

impl Permit {
    /// The hash of the covenant version that was in force.
    pub fn covenant(&self) -> Digest {
        self.covenant
    }

    /// The flow that admitted the packet.
    pub fn flow(&self) -> &str {
        &self.flow
    }

    /// The level of data it may hold.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The role in which the sender sends.
    pub fn sender_role(&self) -> Role {
        self.sender
    }

    /// How long recipients keep the body, in days; `None` when that follows the case.
    pub fn retention_days(&self) -> Option<u32> {
        self.retention_days
    }
}

fn ensure(holds: bool, otherwise: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// Judges one packet under one covenant version.
///
/// # Errors
/// The refusal of the first check that fails, in the order given at the top of this module.
pub fn evaluate(compiled: &Compiled, question: &Question<'_>) -> Result<Permit, Refusal> {
    let covenant = compiled.covenant();
    let declared = question.declared;
    ensure(covenant.in_force(question.now), Refusal::CovenantNotInForce)?;
    let (sender, recipients) = roles(compiled, question)?;
    let flow = compiled.rule(question.flow).ok_or(Refusal::UnknownFlow)?;
    ensure(flow.types.contains(&declared.message_type), Refusal::WrongType)?;
    let reach = flow.reach(sender);
    ensure(reach != 0, Refusal::SenderRole)?;
    ensure(recipients & !reach == 0, Refusal::RecipientRole)?;
    ensure(question.recipients.len() <= flow.max_recipients, Refusal::RecipientCount)?;
    ensure(flow.steps & declared.step.bit() != 0, Refusal::WrongStep)?;
    ensure(flow.levels & declared.level.bit() != 0, Refusal::LevelNotAllowed)?;
    let specials = categories(compiled, flow, declared)?;
    ensure(
        declared.purpose == flow.purpose && flow.bases.contains(&declared.basis),
        Refusal::PurposeMissing,
    )?;
    ensure(
        match flow.case {
            CaseRule::Required => question.case.is_some(),
            CaseRule::Optional => true,
            CaseRule::Forbidden => question.case.is_none(),
        },
        Refusal::CaseRequired,
    )?;
    under_law(compiled, flow, question, sender, recipients, specials)?;
    let validity = question.expires.since(question.issued);
    ensure(
        question.expires > question.issued && validity <= covenant.max_ttl.min(TTL_MAX),
        Refusal::TtlTooLong,
    )?;
    ensure(question.size.within(flow.max_body), Refusal::TooLarge)?;
    Ok(Permit {
        covenant: compiled.hash(),
        flow: flow.id.clone(),
        level: declared.level,
        sender,
        retention_days: flow.retention_days,
    })
}

/// The sender's role and the set of the recipients' roles.
fn roles(compiled: &Compiled, question: &Question<'_>) -> Result<(Role, u8), Refusal> {
    let count = question.recipients.len();
    ensure((1..=RECIPIENTS_MAX).contains(&count), Refusal::RecipientCount)?;
    for (index, oin) in question.recipients.iter().enumerate() {
        ensure(!question.recipients.iter().take(index).any(|one| one == oin), Refusal::RecipientCount)?;
    }
    let role = |oin| compiled.role_at(oin, question.now).ok_or(Refusal::NotAParty);
    let sender = role(question.sender)?;
    let mut set = 0;
    for oin in question.recipients {
        set |= role(*oin)?.bit();
    }
    Ok((sender, set))
}

#[derive(Debug, Clone, Copy, Default)]
struct Specials {
    bsn: bool,
    care: bool,
}

/// Checks each declared category against the flow, and the declared level against theirs.
fn categories(compiled: &Compiled, flow: &FlowRule, declared: &Declared) -> Result<Specials, Refusal> {
    let mut specials = Specials::default();
    let mut highest = Level::G;
    for code in &declared.categories {
        ensure(flow.categories.contains(code), Refusal::CategoryNotAllowed)?;
        let kind = compiled.kind(code).ok_or(Refusal::CategoryNotAllowed)?;
        highest = highest.max(kind.level);
        match kind.special {
            Some(Special::Bsn) => specials.bsn = true,
            Some(Special::Care) => specials.care = true,
            Some(Special::Criminal) | None => {}
        }
    }
    // A level above what the categories hold is refused too: logs and disclosure lists rest on it.
    ensure(highest == declared.level, Refusal::LevelNotAllowed)?;
    Ok(specials)
}

fn under_law(
    compiled: &Compiled,
    flow: &FlowRule,
    question: &Question<'_>,
    from: Role,
    recipients: u8,
    specials: Specials,
) -> Result<(), Refusal> {
    let declared = question.declared;
    let service = law::is_service(&declared.message_type);
    for to in Role::ALL.iter().copied().filter(|role| role.bit() & recipients != 0) {
        let decided = declared.level.is_personal() && decided(compiled, question, to);
        let act = law::Act {
            from,
            to,
            step: declared.step,
            level: declared.level,
            bsn: specials.bsn,
            care: specials.care,
            service,
            recipients: question.recipients.len(),
            decided,
        };
        if let Some(rule) = law::broken(&act) {
            return Err(rule.refusal);
        }
        ensure(!flow.decision || !declared.level.is_personal() || decided, Refusal::DecisionMissing)?;
    }
    Ok(())
}

/// Whether one decision covers everything declared about a person, for this role, now.
fn decided(compiled: &Compiled, question: &Question<'_>, to: Role) -> bool {
    let personal = || {
        let codes = question.declared.categories.iter().map(String::as_str);
        codes.filter(|code| compiled.level_of(code).is_none_or(Level::is_personal))
    };
    compiled.covenant().decisions.iter().any(|decision| decision.covers(question.now, to, personal()))
}
