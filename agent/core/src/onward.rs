//! Passing on what was received: origin and handling code of what is pushed from a received message, and the
//! origins' consents that this agent holds.

use std::collections::BTreeMap;

use seinhuis_shared::case::Stage;
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::json::Json;
use seinhuis_shared::covenant::{Compiled, Handling, Step};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shared::limits::CLOCK_SKEW;
use seinhuis_shared::onward::{self, Consent, Provenance};
use seinhuis_shared::packet::Opened;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::Keys;
use seinhuis_shared::time::{Span, Timestamp};

use crate::corrections::text_of;
use crate::engine::Core;
use crate::minimise::{PushRequest, Rejection, Target, resolve};
use crate::ports::Ports;
use crate::rows::{InboxRow, OutboxRow, ProvenanceRow, Write};
use crate::turn::Turn;

/// The message type that carries a consent, and the field in which it stands, in base64.
pub const CONSENT_TYPE: &str = "toestemming_doorverstrekking";
/// See [`CONSENT_TYPE`].
pub const CONSENT_FIELD: &str = "toestemming";
/// The value of the field `soort` with which a body gives the consent it carries.
const GIVEN: &str = "verleend";
/// Most consents kept; what comes after is refused until some have ended.
pub const CONSENTS_MAX: usize = 4096;
/// Most consents kept of one origin, so that it does not shut out the others: a new one takes the place of its
/// oldest.
pub const CONSENTS_PER_ORIGIN: usize = 256;
/// Furthest end of a consent after the packet that brings it was accepted: its place is free again some day.
pub const UNTIL_MAX: Span = Span::days(366);

/// What the origin of a sent message allows somebody to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The message id of the message that brings the consent.
    pub msg_id: MsgId,
    /// Who may pass the message on.
    pub holder: Target,
    /// To whom.
    pub to: Vec<Target>,
    /// Until when, at most [`UNTIL_MAX`] ahead; 90 days when left out.
    pub until: Option<Timestamp>,
    /// The step of the message that brings it; that of the case when left out and known.
    pub step: Option<Step>,
    /// A reference of the organisation's own.
    pub reference: String,
    /// Why it consents.
    pub reason: String,
}

/// How long a consent holds when nothing else is said.
const UNTIL_DEFAULT: Span = Span::days(90);

/// A received message that is passed on, as far as it matters for what is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The covenant it came under.
    pub covenant: Digest,
    /// Its case.
    pub case: Option<CaseId>,
    /// The organisation its body is from.
    pub origin: Oin,
    /// What its origin lets a recipient do with it.
    pub handling: Handling,
    /// SHA-256 of the packet in which the origin sent it.
    pub packet: Digest,
}

impl Core {
    /// What a message in the inbox is as something to pass on; nothing for one that is quarantined. `said` is
    /// what is stored about where it comes from, if anything is.
    pub fn source(&self, row: &InboxRow, said: Option<&ProvenanceRow>) -> Option<Source> {
        let (sender, covenant) = (row.sender?, row.covenant?);
        let (0, Ok(agreement)) = (row.outcome, self.agreed.get(&covenant)) else { return None };
        let flow = agreement.compiled().flow(&row.flow)?;
        Some(Source {
            covenant,
            case: row.case,
            origin: said.map_or(sender, |said| said.origin),
            handling: said.map_or(flow.handling, |said| said.handling),
            packet: said.and_then(|said| said.source).unwrap_or(row.packet),
        })
    }

    /// Where the body of a push comes from, with the consent that lets it be passed on to `recipients`.
    ///
    /// # Errors
    /// [`Refusal::UnknownFlow`], [`Refusal::HandlingLoosened`], [`Refusal::OnwardElsewhere`],
    /// [`Refusal::ConsentMissing`].
    pub(crate) fn provenance(
        &self,
        request: &PushRequest,
        covenant: &Compiled,
        recipients: &[Oin],
        now: Timestamp,
    ) -> Result<Provenance, Rejection> {
        let document = covenant.covenant();
        let flow = covenant.flow(&request.flow).ok_or(Refusal::UnknownFlow)?;
        let inherited = request.source.as_ref().map_or(flow.handling, |source| source.handling);
        let least = inherited.max(flow.handling);
        let handling = request.handling.unwrap_or(least);
        if handling < least {
            return Err(Rejection::new(
                Refusal::HandlingLoosened,
                format!(
                    "`--handling {handling}` is ruimer dan `{least}`, dat de stroom of de herkomst vraagt."
                ),
                format!(
                    "`--handling {handling}` is wider than `{least}`, which the flow or the origin asks."
                ),
            ));
        }
        let own = self.settings.oin;
        // What comes back to its origin is the origin's own again.
        let Some(source) = request.source.as_ref().filter(|source| source.origin != own) else {
            return Ok(Provenance::own(own, handling));
        };
        let back = recipients.iter().all(|oin| *oin == source.origin);
        let same = self
            .agreed
            .get(&source.covenant)
            .is_ok_and(|one| one.compiled().covenant().id == document.id && source.case == request.case);
        // One that is not needed could only be in the way: a recipient checks whatever is attached.
        let needed = !back && (handling == Handling::Consent || !same);
        let find = || self.consents.find(source, own, recipients, (covenant, self.agreed.keys()), now);
        let consent = if needed { find() } else { None };
        if needed && consent.is_none() {
            let strict = handling == Handling::Consent;
            return Err(if strict { missing(source, recipients) } else { Refusal::OnwardElsewhere.into() });
        }
        Ok(Provenance { origin: source.origin, handling, source: Some(source.packet), consent })
    }

    /// The consent that a message carries, if it is of the type that does and gives it: checked, for this
    /// organisation, and with room for it.
    pub(crate) fn carried_consent(
        &self,
        message_type: &str,
        opened: &Opened,
        covenant: &Compiled,
        sender: Oin,
        accepted: Timestamp,
    ) -> Result<Option<Held>, Refusal> {
        let Some(held) = self.read_carried(message_type, &opened.body, covenant, accepted)? else {
            return Ok(None);
        };
        let Held(consent, bytes) = &held;
        if consent.origin != sender || consent.holder != self.settings.oin {
            return Err(Refusal::ConsentElsewhere);
        }
        if consent.until <= accepted {
            return Err(Refusal::ConsentExpired);
        }
        if !self.consents.has_room(&Consent::digest(bytes), sender, accepted) {
            return Err(Refusal::TooBusy);
        }
        Ok(Some(held))
    }

    /// Whether the consent in a body that is about to be sealed would be taken if it were accepted now: a key
    /// given up while it waited ends it here rather than at its holder.
    ///
    /// # Errors
    /// [`Refusal::ConsentInvalid`].
    pub(crate) fn judge_carried(
        &self,
        message_type: &str,
        body: &[u8],
        covenant: &Compiled,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.read_carried(message_type, body, covenant, now).map(|_| ())
    }

    /// The consent that a body gives, verified at `at`.
    fn read_carried(
        &self,
        message_type: &str,
        body: &[u8],
        covenant: &Compiled,
        at: Timestamp,
    ) -> Result<Option<Held>, Refusal> {
        if message_type != CONSENT_TYPE {
            return Ok(None);
        }
        let given = text_of(body, "soort").is_some_and(|kind| kind == GIVEN);
        let Some(consent) = text_of(body, CONSENT_FIELD).filter(|_| given) else { return Ok(None) };
        let bytes = onward::from_base64(&consent).ok_or(Refusal::ConsentInvalid)?;
        let consent = Consent::verify(&bytes, covenant, self.agreed.keys(), at)?;
        if consent.until > at.plus(UNTIL_MAX) {
            return Err(Refusal::ConsentInvalid);
        }
        Ok(Some(Held(consent, Bytes(bytes))))
    }

    /// Keeps a consent that was checked, at the time of that check.
    pub(crate) fn keep_consent(&mut self, held: Held, accepted: Timestamp, turn: &mut Turn) {
        let digest = Consent::digest(&held.1);
        for digest in self.consents.make_room(&digest, held.0.origin, accepted) {
            turn.writes.push(Write::Consent(digest, None));
        }
        turn.writes.push(Write::Consent(digest, Some(held.1.clone())));
        self.consents.all.insert(digest, held);
    }

    /// A consent to pass on what was sent in `row`, signed, as something to push to its holder.
    ///
    /// # Errors
    /// What [`crate::minimise::prepare`] says of the names; [`Refusal::ConsentInvalid`] when the message is not
    /// sealed yet, or the consent would have no time or too much; [`Refusal::TooBusy`] while the own key changes:
    /// which key will count is not known yet.
    pub fn grant(
        &self,
        row: &OutboxRow,
        grant: Grant,
        now: Timestamp,
        ports: Ports<'_>,
    ) -> Result<PushRequest, Rejection> {
        let compiled = self.agreed.get(&row.covenant)?.compiled();
        let own = self.settings.oin;
        let (packet, until) = self.may_grant(row, grant.until, now)?;
        let holders = resolve(compiled, own, core::slice::from_ref(&grant.holder))?;
        let recipients = resolve(compiled, own, &grant.to)?;
        let (Some(holder), Some(first)) = (holders.first().copied(), recipients.first()) else {
            return Err(Refusal::RecipientCount.into());
        };
        let document = compiled.covenant();
        let flow = document.flows.iter().find(|flow| flow.types.iter().any(|code| code == CONSENT_TYPE));
        let flow = flow.ok_or(Refusal::UnknownFlow)?;
        let party = document.parties.iter().find(|party| party.oin == *first).ok_or(Refusal::NotAParty)?;
        let case = row.case.and_then(|case| self.agreed.cases().state(&case));
        let step = case.and_then(|state| match state.now().stage() {
            Stage::In(step) => Some(step),
            Stage::Closed => None,
        });
        let role = party.role;
        let consent =
            Consent { format: onward::FORMAT, origin: own, holder, packet, recipients, until, at: now };
        let body = Json::Object(BTreeMap::from([
            ("bericht".to_owned(), Json::Text(row.msg_id.to_string())),
            ("soort".to_owned(), Json::Text(GIVEN.to_owned())),
            ("beoogde_ontvanger".to_owned(), Json::Text(role.to_string())),
            ("kenmerk".to_owned(), Json::Text(grant.reference)),
            ("motivering".to_owned(), Json::Text(grant.reason)),
            (CONSENT_FIELD.to_owned(), Json::Text(onward::to_base64(&consent.sign(self.signer(ports))))),
        ]));
        Ok(PushRequest {
            msg_id: grant.msg_id,
            flow: flow.id.clone(),
            to: vec![Target::Oin(holder)],
            step: grant.step.or(step),
            case: row.case,
            message_type: Some(CONSENT_TYPE.to_owned()),
            basis: None,
            covenant: Some(row.covenant),
            ttl: None,
            in_reply_to: Some(row.msg_id),
            trace: None,
            source: None,
            handling: None,
            body: body.canonical().into_bytes(),
        })
    }

    /// The packet that consent is given about, and until when.
    fn may_grant(
        &self,
        row: &OutboxRow,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(Digest, Timestamp), Rejection> {
        if self.is_turning() {
            return Err(Rejection::new(
                Refusal::TooBusy,
                "Er loopt een sleutelwissel; een toestemming zou met de oude sleutel getekend zijn. Geef haar opnieuw als de wissel klaar is (`seinhuis-agent status`).",
                "The signing key is being changed; a consent would be signed with the old one. Give it again once that is done (`seinhuis-agent status`).",
            ));
        }
        let until = until.unwrap_or(now.plus(UNTIL_DEFAULT));
        // The holder counts from when the broker accepts, whose clock may be behind.
        if until > now.plus(UNTIL_MAX).minus(CLOCK_SKEW) {
            return Err(Rejection::new(
                Refusal::ConsentInvalid,
                "`--until` ligt meer dan 366 dagen vooruit; zo lang geldt geen toestemming. Kies een eerdere datum.",
                "`--until` is more than 366 days ahead; no consent holds that long. Choose an earlier date.",
            ));
        }
        let packet = row.packet.filter(|_| until > now).ok_or_else(|| {
            Rejection::new(
                Refusal::ConsentInvalid,
                "Toestemming kan voor een verzegeld bericht, tot een moment dat nog komt.",
                "Consent can be given for a message that is sealed, until a time to come.",
            )
        })?;
        Ok((packet, until))
    }

    /// The consents that this agent holds and that are good at `now`: not over, and signed with a key that still
    /// counts under a version of its own.
    pub fn consents(&self, now: Timestamp) -> impl Iterator<Item = &Consent> {
        let keys = self.agreed.keys();
        let verifies = move |held: &&Held| {
            self.agreed.mine().any(|one| Consent::verify(&held.1, one.compiled(), keys, now).is_ok())
        };
        self.consents.all.values().filter(move |held| held.0.until > now).filter(verifies).map(|held| &held.0)
    }
}

fn missing(source: &Source, recipients: &[Oin]) -> Rejection {
    let to = recipients.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (origin, packet) = (source.origin, source.packet);
    Rejection::new(
        Refusal::ConsentMissing,
        format!(
            "`handling` is consent en er is geen geldige toestemming van {origin} om pakket {packet} door te geven aan {to}. Vraag {origin} om `seinhuis-agent consent give`; bied daarna opnieuw aan."
        ),
        format!(
            "`handling` is consent and there is no valid consent of {origin} to pass packet {packet} on to {to}. Ask {origin} for `seinhuis-agent consent give`; push again after that."
        ),
    )
}

/// A consent as it was read, and as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held(pub(crate) Consent, pub(crate) Bytes);

/// The consents this organisation holds of others.
#[derive(Debug, Default)]
pub(crate) struct Consents {
    all: BTreeMap<Digest, Held>,
}

impl Consents {
    /// Gives `None` for bytes that are no consent. Its signature was checked before it was kept.
    pub(crate) fn restore(&mut self, digest: Digest, bytes: Bytes) -> Option<()> {
        let consent = Consent::read_kept(&bytes)?;
        (Consent::digest(&bytes) == digest).then_some(())?;
        self.all.insert(digest, Held(consent, bytes));
        Some(())
    }

    /// The one that lets `holder` pass this on to these recipients, if there is one: the last that was given, of
    /// those whose key still counts.
    fn find(
        &self,
        source: &Source,
        holder: Oin,
        recipients: &[Oin],
        (covenant, keys): (&Compiled, &Keys),
        now: Timestamp,
    ) -> Option<Bytes> {
        let covers = |held: &&Held| {
            held.0.origin == source.origin
                && held.0.covers(holder, &source.packet, recipients, now).is_ok()
                && Consent::verify(&held.1, covenant, keys, now).is_ok()
        };
        self.all.values().filter(covers).max_by_key(|held| held.0.at).map(|held| held.1.clone())
    }

    /// Whether one of `origin` can be kept at `now`: it is held already, takes the place of another of its
    /// origin or of one that is over, or there is room.
    fn has_room(&self, digest: &Digest, origin: Oin, now: Timestamp) -> bool {
        let own = || self.all.values().filter(|held| held.0.origin == origin).count();
        self.all.len() < CONSENTS_MAX
            || self.all.contains_key(digest)
            || self.all.values().any(|held| held.0.until <= now)
            || own() >= CONSENTS_PER_ORIGIN
    }

    /// Drops what is over at `now`, and the oldest of `origin` beyond its share, to keep one more of it, unless
    /// that is held already. Gives what was dropped.
    fn make_room(&mut self, digest: &Digest, origin: Oin, now: Timestamp) -> Vec<Digest> {
        let over = |(digest, held): (&Digest, &Held)| (held.0.until <= now).then_some(*digest);
        let mut dropped: Vec<Digest> = self.all.iter().filter_map(over).collect();
        let mut own: Vec<(Timestamp, Digest)> = self
            .all
            .iter()
            .filter(|(one, held)| *one != digest && held.0.origin == origin && held.0.until > now)
            .map(|(one, held)| (held.0.at, *one))
            .collect();
        own.sort_unstable();
        let surplus = own.len().saturating_add(1).saturating_sub(CONSENTS_PER_ORIGIN);
        dropped.extend(own.into_iter().take(surplus).map(|(_, one)| one));
        for one in &dropped {
            self.all.remove(one);
        }
        dropped
    }
}
