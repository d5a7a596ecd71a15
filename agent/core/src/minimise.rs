//! The judgement over a body before it is sealed: only what the flow's schema knows, declared for what it
//! really holds. Nothing is dropped silently; an error names the field.

use seinhuis_shared::cbor;
use seinhuis_shared::covenant::schema::FieldError;
use seinhuis_shared::covenant::{Compiled, Declared, Flow, Handling, Permit, Question, Role, Size, Step};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin, TraceId};
use seinhuis_shared::limits::{TTL_DEFAULT, TTL_MAX};
use seinhuis_shared::refusal::{Lang, Refusal};
use seinhuis_shared::time::{Span, Timestamp};
use zeroize::Zeroizing;

use crate::agreed::Agreed;
use crate::onward::Source;

/// The media type of every body a covenant's schema describes.
pub const MEDIA_TYPE: &str = "application/json";

/// A recipient as a person names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// By its identification.
    Oin(Oin),
    /// By its role, when the covenant has one party in that role.
    Role(Role),
}

impl Target {
    /// What it is and which, for durable fingerprints.
    fn encoded(&self) -> (&'static str, String) {
        match self {
            Self::Oin(oin) => ("oin", oin.to_string()),
            Self::Role(role) => ("role", role.to_string()),
        }
    }
}

/// What a person or system asks to send.
#[derive(Clone, PartialEq, Eq)]
pub struct PushRequest {
    /// The message id, which is the idempotency key.
    pub msg_id: MsgId,
    /// The covenant's flow.
    pub flow: String,
    /// The recipients, in order.
    pub to: Vec<Target>,
    /// The step; may be left out when the flow is open in one step only.
    pub step: Option<Step>,
    /// The case's pseudonym.
    pub case: Option<CaseId>,
    /// The message type; may be left out when only one of the flow's schemas fits the body.
    pub message_type: Option<String>,
    /// The legal basis; the flow's first when left out.
    pub basis: Option<String>,
    /// The covenant version; may be left out when one version in force has the flow.
    pub covenant: Option<Digest>,
    /// How long the packet is valid.
    pub ttl: Option<Span>,
    /// The message this answers.
    pub in_reply_to: Option<MsgId>,
    /// W3C trace id; drawn when left out.
    pub trace: Option<TraceId>,
    /// The received message this passes on.
    pub source: Option<Source>,
    /// What recipients may do with it, when that is less than the flow lets them.
    pub handling: Option<Handling>,
    /// The plaintext body.
    pub body: Vec<u8>,
}

impl PushRequest {
    /// A message of this flow with this body, and nothing said that may be left out.
    pub fn new(msg_id: MsgId, flow: &str, to: Vec<Target>, body: Vec<u8>) -> Self {
        Self {
            msg_id,
            flow: flow.to_owned(),
            to,
            step: None,
            case: None,
            message_type: None,
            basis: None,
            covenant: None,
            ttl: None,
            in_reply_to: None,
            trace: None,
            source: None,
            handling: None,
            body,
        }
    }

    /// What makes two pushes the same push: everything but the trace, in an encoding of its own, because a
    /// keyed fingerprint of it is durable.
    pub(crate) fn identity(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.body.len().saturating_add(512)));
        let head = cbor::encode(&(
            "seinhuis/push/1",
            &self.flow,
            self.to.iter().map(Target::encoded).collect::<Vec<_>>(),
            self.step.map(Step::as_str),
            self.case,
            &self.message_type,
            &self.basis,
            self.covenant,
            self.ttl.map(|ttl| ttl.0),
            self.in_reply_to,
            self.source.as_ref().map(|source| (source.packet, source.origin)),
            self.handling,
        ));
        bytes.extend(u64::try_from(head.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend(head);
        bytes.extend(&self.body);
        bytes
    }
}

impl core::fmt::Debug for PushRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PushRequest({}, {}, {} bytes)", self.msg_id, self.flow, self.body.len())
    }
}

/// Why a body is not taken in. Nothing was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The reason's number.
    pub refusal: Refusal,
    /// What exactly, in Dutch and in English; names fields and codes, never values.
    pub detail: Option<(String, String)>,
}

impl Rejection {
    /// A refusal with a detail in both languages.
    pub fn new(refusal: Refusal, nl: impl Into<String>, en: impl Into<String>) -> Self {
        Self { refusal, detail: Some((nl.into(), en.into())) }
    }

    /// The detail in `lang`, or the table's text.
    pub fn text(&self, lang: Lang) -> &str {
        self.detail.as_ref().map_or(self.refusal.what(lang), |(nl, en)| lang.pick(nl, en))
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, detail: None }
    }
}

impl From<FieldError> for Rejection {
    fn from(error: FieldError) -> Self {
        Self::new(error.refusal(), error.message(Lang::Nl), error.message(Lang::En))
    }
}

/// A body that may be sealed.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The covenant version.
    pub covenant: Digest,
    /// What is declared about the body.
    pub declared: Declared,
    /// The recipients, in order.
    pub recipients: Vec<Oin>,
    /// When the packet stops being valid.
    pub expires: Timestamp,
    /// The rule that lets it pass.
    pub permit: Permit,
    /// Whether it has to wait, because it is not known here how its case stands.
    pub waits: bool,
}

/// Judges a request of `sender` and derives what has to be declared about its body.
///
/// # Errors
/// [`Rejection`] with the first reason that applies.
pub fn prepare(
    agreed: &Agreed,
    sender: Oin,
    request: &PushRequest,
    now: Timestamp,
) -> Result<Prepared, Rejection> {
    let compiled = choose_covenant(agreed, request, now)?;
    let flow = find_flow(compiled, &request.flow)?;
    let recipients = resolve(compiled, sender, &request.to)?;
    let message_type = choose_type(compiled, flow, request)?;
    let found = compiled.find(&flow.id, &message_type, &request.body)?;
    let step = match (request.step, flow.steps.as_slice()) {
        (Some(step), _) => step,
        (None, [only]) => *only,
        (None, steps) => {
            let steps = listed(steps.iter().map(|step| step.as_str()));
            return Err(Rejection::new(
                Refusal::WrongStep,
                format!("Geef de stap op; {} is open in stap {steps}.", flow.id),
                format!("Name the step; {} is open in step {steps}.", flow.id),
            ));
        }
    };
    let basis = request.basis.as_ref().or(flow.bases.first()).ok_or(Refusal::PurposeMissing)?;
    let declared = Declared::new(&message_type, step, found.level, found.categories, &flow.purpose, basis)
        .map_err(|error| {
            Rejection::new(
                Refusal::FieldInvalid,
                format!("De verklaring klopt niet: {error}."),
                error.to_string(),
            )
        })?;
    let longest = compiled.covenant().max_ttl.min(TTL_MAX);
    let expires = now.plus(request.ttl.unwrap_or(TTL_DEFAULT.min(longest)));
    let hash = compiled.hash();
    let (permit, waits) = agreed
        .judge_outgoing(
            &hash,
            &Question {
                flow: &flow.id,
                sender,
                recipients: &recipients,
                case: request.case,
                declared: &declared,
                now,
                issued: now,
                expires,
                size: Size::Body(u64::try_from(request.body.len()).unwrap_or(u64::MAX)),
            },
        )
        .map_err(|refusal| explain(refusal, flow, &declared))?;
    Ok(Prepared { covenant: hash, declared, recipients, expires, permit, waits })
}

/// Adds to a refusal which of the sender's choices it is about.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the table's own text says enough about every other reason"
)]
fn explain(refusal: Refusal, flow: &Flow, declared: &Declared) -> Rejection {
    let id = &flow.id;
    let (nl, en) = match refusal {
        Refusal::CategoryNotAllowed => {
            let extra = listed(
                declared.categories.iter().filter(|code| !flow.categories.contains(code)).map(String::as_str),
            );
            (format!("{id} laat deze categorieën niet toe: {extra}"), format!("{id} does not allow: {extra}"))
        }
        Refusal::LevelNotAllowed => {
            let allowed = listed(flow.levels.iter().map(|level| level.as_str()));
            (
                format!("de inhoud heeft niveau {}; {id} laat toe: {allowed}", declared.level),
                format!("the body is of level {}; {id} allows: {allowed}", declared.level),
            )
        }
        Refusal::WrongStep => {
            let allowed = listed(flow.steps.iter().map(|step| step.as_str()));
            (format!("{id} is open in stap {allowed}"), format!("{id} is open in step {allowed}"))
        }
        Refusal::PurposeMissing => {
            let allowed = listed(flow.bases.iter().map(String::as_str));
            (format!("grondslagen van {id}: {allowed}"), format!("bases of {id}: {allowed}"))
        }
        _ => return refusal.into(),
    };
    let whole = |lang: Lang, more: &str| format!("{} ({more})", refusal.what(lang).trim_end_matches('.'));
    Rejection::new(refusal, whole(Lang::Nl, &nl), whole(Lang::En, &en))
}

fn listed<'a>(items: impl Iterator<Item = &'a str>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn find_flow<'a>(compiled: &'a Compiled, id: &str) -> Result<&'a Flow, Rejection> {
    compiled.flow(id).ok_or_else(|| Refusal::UnknownFlow.into())
}

fn choose_covenant<'a>(
    agreed: &'a Agreed,
    request: &PushRequest,
    now: Timestamp,
) -> Result<&'a Compiled, Rejection> {
    if let Some(hash) = request.covenant {
        return Ok(agreed.get(&hash)?.compiled());
    }
    if agreed.mine().next().is_none() {
        return Err(Rejection::new(
            Refusal::NotSigned,
            "Deze organisatie heeft nog geen convenant aanvaard (seinhuis-agent covenant list).",
            "This organisation has not accepted a covenant yet (seinhuis-agent covenant list).",
        ));
    }
    if !agreed.is_bound(now) {
        return Err(Refusal::CovenantNotInForce.into());
    }
    let fitting = agreed.newest(now, |covenant| covenant.flows.iter().any(|flow| flow.id == request.flow));
    let names = listed(fitting.iter().map(|one| one.compiled().covenant().id.as_str()));
    let mut fitting = fitting.into_iter();
    match (fitting.next(), fitting.next()) {
        (None, _) => Err(Refusal::UnknownFlow.into()),
        (Some(one), None) => Ok(one.compiled()),
        (Some(_), Some(_)) => Err(Rejection::new(
            Refusal::UnknownCovenant,
            format!("Stroom {} staat in meer dan één convenant ({names}); noem het convenant.", request.flow),
            format!("Flow {} is in more than one covenant ({names}); name the covenant.", request.flow),
        )),
    }
}

pub(crate) fn resolve(compiled: &Compiled, sender: Oin, to: &[Target]) -> Result<Vec<Oin>, Rejection> {
    to.iter()
        .map(|target| match target {
            Target::Oin(oin) => Ok(*oin),
            Target::Role(role) => {
                let mut parties = compiled
                    .covenant()
                    .parties
                    .iter()
                    .filter(|party| party.role == *role && party.oin != sender)
                    .map(|party| party.oin);
                match (parties.next(), parties.next()) {
                    (Some(only), None) => Ok(only),
                    (None, _) => Err(Rejection::new(
                        Refusal::RecipientRole,
                        format!("Het convenant heeft geen andere partij met de rol {role}."),
                        format!("The covenant has no other party in the role {role}."),
                    )),
                    (Some(_), Some(_)) => Err(Rejection::new(
                        Refusal::RecipientRole,
                        format!("Het convenant heeft meer partijen met de rol {role}; noem het OIN."),
                        format!("The covenant has several parties in the role {role}; name the OIN."),
                    )),
                }
            }
        })
        .collect()
}

fn choose_type(compiled: &Compiled, flow: &Flow, request: &PushRequest) -> Result<String, Rejection> {
    if let Some(code) = &request.message_type {
        return if flow.types.contains(code) {
            Ok(code.clone())
        } else {
            let allowed = listed(flow.types.iter().map(String::as_str));
            Err(Rejection::new(
                Refusal::WrongType,
                format!("{} kent het berichttype {code} niet; wel: {allowed}.", flow.id),
                format!("{} does not know the message type {code}; it knows: {allowed}.", flow.id),
            ))
        };
    }
    if let [only] = flow.types.as_slice() {
        return Ok(only.clone());
    }
    let fits = |code: &&String| compiled.find(&flow.id, code, &request.body).is_ok();
    let mut fitting = flow.types.iter().filter(fits);
    if let (Some(only), None) = (fitting.next(), fitting.next()) {
        return Ok(only.clone());
    }
    let allowed = listed(flow.types.iter().map(String::as_str));
    Err(Rejection::new(
        Refusal::WrongType,
        format!("Noem het berichttype; {} kent: {allowed}.", flow.id),
        format!("Name the message type; {} knows: {allowed}.", flow.id),
    ))
}
