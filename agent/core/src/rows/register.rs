//! Rows of the register of data subjects: of whom messages were exchanged, and whether they were told.

use core::fmt;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::{Declared, Role};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shared::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

coded! {
    /// How the duty to inform a person stands (GDPR article 14).
    Duty {
        /// The person is to be told.
        Open = 0 "open",
        /// The person is to be told, and not before some day.
        Postponed = 1 "postponed",
        /// The person was told.
        Informed = 2 "informed",
        /// The law lets the person not be told.
        Exempt = 3 "exempt",
    }
}

/// A person of whom messages were exchanged. The key is a keyed fingerprint of what identifies the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct PersonRow {
    /// Since when the duty to tell is as it is, or counts anew.
    pub since: Timestamp,
    /// Whether the person was told.
    pub duty: Duty,
    /// Until when telling is postponed, if it is.
    pub until: Option<Timestamp>,
    /// The roles in which this organisation exchanged those messages, under covenants that do not say who tells.
    pub roles: Vec<Role>,
    /// A [`PersonFile`], locked.
    pub locked: Bytes,
    /// What the covenants of those messages say that do. Absent in rows from before they could.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreed: Vec<InformsRow>,
}

/// Who tells persons under a covenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize_tuple, Deserialize_tuple)]
pub struct InformsRow {
    /// The role of this organisation.
    pub role: Role,
    /// The roles that tell; not empty.
    pub informs: Vec<Role>,
}

/// What is known of a person: only ever encrypted at rest.
#[derive(Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct PersonFile {
    /// The names of the fields that identify, with `+` between them.
    pub kind: String,
    /// The case within which they do, if they do not everywhere.
    pub case: Option<CaseId>,
    /// What stood in fields, the latest last.
    pub details: Vec<DetailRow>,
    /// The purposes for which messages were exchanged.
    pub purposes: Vec<String>,
    /// What was decided about telling the person, in order.
    pub decisions: Vec<DutyRow>,
}

impl fmt::Debug for PersonFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PersonFile({}, {} decisions)", self.kind, self.decisions.len())
    }
}

/// What stood in a field about a person.
#[derive(Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct DetailRow {
    /// The field's name.
    pub field: String,
    /// What stood there.
    pub text: String,
    /// The last packets in which it did. It counts while one of them is in the register.
    pub packets: Vec<Digest>,
}

impl fmt::Debug for DetailRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DetailRow({}, {} packets)", self.field, self.packets.len())
    }
}

/// What somebody decided about telling a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct DutyRow {
    /// What.
    pub duty: Duty,
    /// Until when it is postponed.
    pub until: Option<Timestamp>,
    /// In which role.
    pub role: String,
    /// How the person was told, or why not.
    pub reason: String,
    /// When it was decided.
    pub at: Timestamp,
}

/// A message about persons. Its key begins with until when it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ExchangeRow {
    /// The keys of the persons it is about.
    pub persons: Vec<Digest>,
    /// SHA-256 of the packet.
    pub packet: Digest,
    /// When it was sealed here, or accepted for this organisation.
    pub at: Timestamp,
    /// Its place in the inbox; none when this organisation sent it.
    pub received: Option<u64>,
    /// Whether it was exchanged, or may have been: not while a sent packet has no verdict.
    pub settled: bool,
    /// An [`Exchange`], locked.
    pub locked: Bytes,
}

/// What was exchanged, with whom and on what ground.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Exchange {
    /// The message.
    pub msg_id: MsgId,
    /// The covenant version.
    pub covenant: Digest,
    /// The flow.
    pub flow: String,
    /// What its sender declares of it: type, level, categories, purpose and legal basis.
    pub declared: Declared,
    /// The case's pseudonym.
    pub case: Option<CaseId>,
    /// The recipients in order, or the sender.
    pub others: Vec<Oin>,
    /// Where in the body each person stands.
    pub places: Vec<PlaceRow>,
}

/// An object in a body that is about a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct PlaceRow {
    /// The person's key.
    pub person: Digest,
    /// Where it stands, as a JSON pointer (RFC 6901).
    pub at: String,
    /// The names of the fields in it.
    pub fields: Vec<String>,
}
