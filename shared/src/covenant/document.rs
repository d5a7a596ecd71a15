//! The covenant document in memory, and its canonical bytes.
//!
//! Everything in here is hashed and, later, signed. Lists keep the order in which they were written.

use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::error::CovenantError;
use super::limits::COVENANT_MAX;
use super::validate::validate;
use super::vocabulary::{Fate, Handling, Level, Role, Special, Step};
use crate::cbor::{self, Bytes};
use crate::ids::{Digest, Oin};
use crate::refusal::Lang;
use crate::signing::sha256;
use crate::time::{Span, Timestamp};

/// The version of the canonical form, its first element, of a document that does not say who informs data subjects.
pub const FORMAT: u8 = 1;
/// The same of a document that does, in its last element.
pub const FORMAT_INFORMS: u8 = 2;

/// One version of an agreement between partners.
///
/// A value made by [`Covenant::from_toml`] or [`Covenant::from_bytes`] has passed validation; one put
/// together by hand has not until [`super::Compiled::new`] accepts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Covenant {
    /// The canonical form's version: [`FORMAT`], or [`FORMAT_INFORMS`] with [`Covenant::informs`].
    pub format: u8,
    /// The agreement's name in machines; the same in all its versions.
    pub id: String,
    /// Counts from 1.
    pub version: u32,
    /// The hash of the version before; none for version 1, required after that.
    pub previous: Option<Digest>,
    /// The title for people.
    pub title: String,
    /// The party that keeps the text.
    pub owner: Oin,
    /// First instant at which it is in force.
    pub valid_from: Timestamp,
    /// First instant at which it is no longer in force.
    pub valid_until: Timestamp,
    /// When the parties look back together; within the validity.
    pub evaluation: Timestamp,
    /// Where a subject or an outsider turns to.
    pub contact: String,
    /// The longest validity of a packet.
    pub max_ttl: Span,
    /// The most bytes of any body; a flow may allow less.
    pub max_body: u32,
    /// How long the exchange log is kept, in days.
    pub log_retention_days: u32,
    /// What parties agreed on keeping and deleting, in words.
    pub retention: String,
    /// How long this version may still be used after the next one took its place, in days.
    pub overlap_days: u32,
    /// How many parties have to cosign the exchange log for it to count as witnessed.
    pub witness_quorum: u8,
    /// What becomes of packets that wait when their ground falls away.
    pub in_flight: InFlight,
    /// What data may be used for.
    pub purposes: Vec<Clause>,
    /// The laws that allow it.
    pub bases: Vec<Clause>,
    /// Data categories with their level.
    pub categories: Vec<Category>,
    /// Message types with their schema.
    pub types: Vec<MessageType>,
    /// The steps and who may move a case to them.
    pub steps: Vec<StepRule>,
    /// Facts about a case on which flows can depend.
    pub conditions: Vec<Condition>,
    /// What may be sent.
    pub flows: Vec<Flow>,
    /// Decisions under article 20 of the Wet politiegegevens.
    pub decisions: Vec<Decision>,
    /// Who takes part.
    pub parties: Vec<Party>,
    /// Who else watches the exchange log; none of them counts for the quorum.
    pub witnesses: Vec<Outside>,
    /// The roles whose parties tell data subjects that there are data about them (GDPR article 14, Wpg article 24b), in
    /// the order of [`Role::ALL`]. Empty, and then absent from the bytes, in [`FORMAT`]; never in [`FORMAT_INFORMS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub informs: Vec<Role>,
}

/// A witness of the exchange log that is no party: an auditor, an inspectorate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Outside {
    /// Its code, the same in all versions.
    pub name: String,
    /// Its verifier key (C2SP signed-note vkey, type 0x04).
    pub vkey: String,
    /// Where it answers: what `/add-checkpoint` is put after.
    pub url: String,
}

/// What becomes of packets that wait for a recipient when their ground falls away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct InFlight {
    /// Sender or recipient withdrew from the covenant.
    pub withdrawn: Fate,
    /// The version was superseded, and the overlap is over, or it expired.
    pub superseded: Fate,
    /// The sender's or the recipient's access was revoked.
    pub revoked: Fate,
}

/// A fact about a case on which flows can depend, such as that there is criminal information.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Condition {
    /// The code flows refer to.
    pub code: String,
    /// What it says, in Dutch.
    pub nl: String,
    /// What it says, in English.
    pub en: String,
    /// Whose signed statement counts.
    pub set_by: Vec<Role>,
    /// How many different parties have to state it before it holds.
    pub parties: u8,
}

/// A condition that must hold before a packet passes from or to certain roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Requirement {
    /// The condition's code.
    pub condition: String,
    /// The roles for which it counts, as sender or recipient.
    pub roles: Vec<Role>,
}

/// A purpose or a legal basis: a code and its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Clause {
    /// The code a packet declares.
    pub code: String,
    /// The text in Dutch, which is the authoritative one.
    pub nl: String,
    /// The text in English.
    pub en: String,
}

/// A data category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Category {
    /// The code schemas and flows refer to.
    pub code: String,
    /// How sensitive it is.
    pub level: Level,
    /// The law's special kind, if it is one.
    pub special: Option<Special>,
    /// What it is, in Dutch.
    pub nl: String,
    /// What it is, in English.
    pub en: String,
}

/// A message type and the schema of its bodies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct MessageType {
    /// The code a packet declares.
    pub code: String,
    /// What it is, in Dutch.
    pub nl: String,
    /// What it is, in English.
    pub en: String,
    /// The schema as canonical JSON text; see [`super::schema`] for the keywords.
    pub schema: String,
}

/// A step and the roles that may move a case to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct StepRule {
    /// Which step.
    pub step: Step,
    /// What it is for, in Dutch.
    pub nl: String,
    /// What it is for, in English.
    pub en: String,
    /// Whose signed decision moves a case here.
    pub movers: Vec<Role>,
}

/// Whether a packet on a flow names a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CaseRule {
    /// It must.
    #[serde(rename = "required")]
    Required,
    /// It may.
    #[serde(rename = "optional")]
    Optional,
    /// It must not.
    #[serde(rename = "forbidden")]
    Forbidden,
}

/// Any of these roles may send to any of those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Route {
    /// Senders.
    pub from: Vec<Role>,
    /// Recipients.
    pub to: Vec<Role>,
}

/// One permitted kind of packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Flow {
    /// Its identifier, such as `F11`.
    pub id: String,
    /// What it is for, in Dutch.
    pub nl: String,
    /// What it is for, in English.
    pub en: String,
    /// The message types it carries.
    pub types: Vec<String>,
    /// Who may send to whom. A packet with several recipients needs a route to each of them.
    pub routes: Vec<Route>,
    /// The steps in which it is open.
    pub steps: Vec<Step>,
    /// The levels a packet may declare.
    pub levels: Vec<Level>,
    /// The data categories a body may hold.
    pub categories: Vec<String>,
    /// The one purpose a packet must declare.
    pub purpose: String,
    /// The legal bases of which a packet declares one.
    pub bases: Vec<String>,
    /// Whether a packet names a case.
    pub case: CaseRule,
    /// Whether data about a person needs an article 20 decision that covers every recipient, also where
    /// the law table does not ask for one.
    pub decision: bool,
    /// What must hold of the case, for some roles.
    pub conditions: Vec<Requirement>,
    /// Whether a person at the sender has to release each packet before it is sealed.
    pub release: bool,
    /// What a recipient may do with it; a sender may ask for more, never for less.
    pub handling: Handling,
    /// The most recipients of one packet; data about a person goes to one whatever stands here.
    pub max_recipients: u8,
    /// The most bytes of a body.
    pub max_body: u32,
    /// How long a recipient keeps it, in days; none when it follows the case.
    pub retention_days: Option<u32>,
    /// How long a recipient keeps it, in words.
    pub retention: String,
}

/// A decision under article 20 of the Wet politiegegevens: police data to others than burgemeester or OM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Decision {
    /// Its reference at the authority that took it.
    pub reference: String,
    /// When it was taken; it covers nothing before.
    pub date: Timestamp,
    /// Who took it.
    pub authority: String,
    /// The roles it lets receive.
    pub recipients: Vec<Role>,
    /// The data categories it covers.
    pub categories: Vec<String>,
    /// First instant at which it no longer holds.
    pub expires: Timestamp,
}

/// A party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Party {
    /// Its identification.
    pub oin: Oin,
    /// What it is under this covenant.
    pub role: Role,
    /// Its name for people.
    pub name: String,
    /// How its people are reached.
    pub contact: String,
    /// Ed25519 public keys that sign its packets, 32 bytes each.
    pub signing_keys: Vec<Bytes>,
    /// Whether the covenant works without its signature (youth work cannot be obliged to sign).
    pub may_be_absent: bool,
    /// First instant at which it takes part.
    pub joined: Timestamp,
    /// First instant at which it no longer takes part, if that is known.
    pub left: Option<Timestamp>,
    /// The Ed25519 public key with which its agent cosigns the exchange log, 32 bytes; none if it does not.
    pub witness_key: Option<Bytes>,
}

impl Covenant {
    /// The canonical bytes: what is hashed, signed and sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// The version's name everywhere: the SHA-256 of its canonical bytes.
    pub fn hash(&self) -> Digest {
        sha256(&self.to_bytes())
    }

    /// Reads canonical bytes and validates what they say, as [`Covenant::from_toml`] does.
    ///
    /// # Errors
    /// [`CovenantError`] without a place in a file: not canonical, or which rule is broken where.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CovenantError> {
        if let Some(other) = form(bytes).filter(|form| !FORMATS.contains(form)) {
            return Err(unknown(other));
        }
        let covenant: Self = cbor::strict(bytes, COVENANT_MAX).map_err(|error| {
            CovenantError::new("", format!("these bytes are no covenant: {error}"))
                .advise("Fetch the covenant again; both sides need the same major version of Seinhuis.")
        })?;
        validate(&covenant)?;
        Ok(covenant)
    }

    /// Whether it is in force at `now`, looking at its dates only.
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.valid_from <= now && now < self.valid_until
    }
}

/// The forms that are read.
pub(super) const FORMATS: [u8; 2] = [FORMAT, FORMAT_INFORMS];

/// The version that canonical bytes give as their first element, whatever follows: another one has other elements.
const fn form(bytes: &[u8]) -> Option<u8> {
    // RFC 8949, section 3: an array of up to 23 elements, or of as many as the next byte says; then a number likewise.
    let ([0x80..=0x97, rest @ ..] | [0x98, _, rest @ ..]) = bytes else { return None };
    match rest {
        [form @ 0..=0x17, ..] | [0x18, form, ..] => Some(*form),
        _ => None,
    }
}

/// A document of a form that is not read.
pub(super) fn unknown(form: u8) -> CovenantError {
    CovenantError::new("", format!("canonical form {form} is unknown")).advise("Update Seinhuis.")
}

impl Clause {
    /// The text in `lang`.
    pub fn text(&self, lang: Lang) -> &str {
        lang.pick(&self.nl, &self.en)
    }
}

impl Decision {
    /// Whether it holds at `now` for data of these categories to this role.
    pub fn covers<'a>(
        &self,
        now: Timestamp,
        recipient: Role,
        mut categories: impl Iterator<Item = &'a str>,
    ) -> bool {
        self.date <= now
            && now < self.expires
            && self.recipients.contains(&recipient)
            && categories.all(|code| self.categories.iter().any(|own| own == code))
    }
}
