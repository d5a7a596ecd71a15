//! Entries of the exchange log: what a leaf holds.
//!
//! An entry is the exact bytes of one canonical JSON object (RFC 8785, restricted to ASCII keys, strings, and
//! integers of 0 to 2^53 − 1; no arrays, no null, no newline), so that every line of an export *is* the leaf.
//! A fact that is absent has no key. [`Entry::parse`] accepts bytes only if [`Entry::to_bytes`] gives
//! those same bytes back, so one fact has one entry and one entry has one hash.
//!
//! **No person data, ever.** Entries say which organisation sent what kind of packet to which other one under
//! which clause. They hold no content, no names, nothing derived from a person; the case is a random pseudonym.
//! Whoever fills in a text field puts a code there that comes from a covenant or from a closed list.
//!
//! The salt keeps a leaf's hash, which neighbours see in their proofs, from being guessed; and lets the text
//! of an entry be erased after its term while the hash, and with it the tree, remains.

use core::fmt;
use core::str::FromStr;

use data_encoding::HEXLOWER;

use crate::ids::{CaseId, Digest, MsgId, Oin, Thumbprint, TraceId, read_hex};
use crate::limits::{CATEGORIES_MAX, ENTRY_MAX, TEXT_MAX};
use crate::time::Timestamp;
use crate::tlog::hash;

mod json;

use json::{Reader, Writer};

// A bundle writes an entry's length in two bytes.
const _: () = assert!(ENTRY_MAX <= 65_535);

/// The version of the entry format that is written and read.
pub const VERSION: u64 = 1;
/// Bytes of a text value at most, before escaping.
pub const MAX_TEXT_BYTES: usize = 256;
/// Bytes of [`Entry::categories`] at most: as many codes as a statement may declare, with their spaces.
pub const MAX_CATEGORIES_BYTES: usize = CATEGORIES_MAX * (TEXT_MAX + 1) - 1;
/// Bytes of [`Entry::detail`] at most.
pub const MAX_DETAIL_BYTES: usize = 64;
/// The largest integer that every JSON reader keeps exactly (RFC 8785 §3.2.2.3, RFC 7493 §2.2).
pub const MAX_INTEGER: u64 = 9_007_199_254_740_991;

/// Why something is not an entry, or cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// More bytes than an entry may have.
    #[error("the entry is {0} bytes long: at most {max} fit; shorten its texts", max = ENTRY_MAX)]
    TooLong(
        /// Its length in bytes.
        usize,
    ),
    /// Not a JSON object of the restricted kind.
    #[error("the entry is not a canonical JSON object (byte {0}): take the exact line of the export")]
    NotCanonical(
        /// Where reading stopped, in bytes from the start.
        usize,
    ),
    /// A key that entries do not have.
    #[error("entries of version 1 have no key {0:?}: read this entry with a newer version of the software")]
    UnknownKey(
        /// The key, cut to 64 characters.
        String,
    ),
    /// A key that every entry has is absent.
    #[error("the entry lacks its {0:?}: it is cut off or not an entry of the exchange log")]
    Missing(
        /// The key.
        &'static str,
    ),
    /// Another version of the format.
    #[error(
        "the entry is of version {0}, this software reads version 1: use a newer version of the software"
    )]
    UnknownVersion(
        /// The version found.
        u64,
    ),
    /// A value that its key cannot have.
    #[error(
        "the value of {0:?} is not allowed there: see the list of fields; whoever wrote the entry must correct it"
    )]
    BadValue(
        /// The key.
        &'static str,
    ),
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal;)*) => {
        /// What happened, for which there is an entry.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word in the entry.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// A packet was accepted for a recipient.
    Accepted = "accepted";
    /// A packet was refused.
    Refused = "refused";
    /// A recipient acknowledged that it stored a packet.
    Delivered = "delivered";
    /// A recipient declared that its system took the packet in.
    Consumed = "consumed";
    /// A packet was not fetched before its validity ended.
    Expired = "expired";
    /// A packet was erased before its delivery, because what it rested on fell away.
    Shredded = "shredded";
    /// The sender took a packet back before it was delivered.
    Withdrawn = "withdrawn";
    /// A covenant version was loaded, came into force or ended.
    Covenant = "covenant";
    /// A decision about a case was logged.
    Case = "case";
    /// A signing key or prekey bundle was published, replaced or revoked.
    Key = "key";
    /// A party gave up its signing key for another, with its signature.
    KeyRotated = "key-rotated";
    /// A partner was added, changed or revoked.
    Partner = "partner";
    /// The last entry of a log: the next one is begun.
    Closing = "closing";
    /// The first entry of a log that follows on another.
    Opening = "opening";
    /// The texts of entries past the log's term were removed; their hashes stay.
    Purged = "purged";
    /// Part of the log was exported.
    Export = "export";
    /// The operator did something that others have to know of.
    Operator = "operator";
    /// The broker started.
    Start = "start";
    /// The broker stopped in an orderly way.
    Stop = "stop";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(EntryError::BadValue("kind"))
    }
}

/// One entry. Start from [`Entry::new`] and fill in what applies.
///
/// The version is not a field: it is [`VERSION`]. Nor is the index: it is the entry's place in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `kind`: what happened.
    pub kind: Kind,
    /// `time`: when, by the broker's clock, in milliseconds since 1970; never before the previous entry's.
    pub time: Timestamp,
    /// `salt`: 16 random bytes, in 32 hexadecimal digits; fresh for every entry.
    pub salt: [u8; 16],
    /// `msg_id`: the message the entry is about.
    pub msg_id: Option<MsgId>,
    /// `from`: the organisation that sent the packet, as the connection's certificate says.
    pub from: Option<Oin>,
    /// `to`: the recipient. One entry per packet and recipient; absent in a refusal that names none or several.
    pub to: Option<Oin>,
    /// `recipients`: how many recipients the packet names.
    pub recipients: Option<u64>,
    /// `key`: thumbprint of the key that signed the packet.
    pub key: Option<Thumbprint>,
    /// `flow`: the flow of the covenant.
    pub flow: Option<String>,
    /// `covenant`: hash of the covenant version.
    pub covenant: Option<Digest>,
    /// `case`: random pseudonym of the case.
    pub case: Option<CaseId>,
    /// `message_type`: the declared type of message.
    pub message_type: Option<String>,
    /// `step`: the declared step of the process.
    pub step: Option<String>,
    /// `level`: the declared level of the data.
    pub level: Option<String>,
    /// `categories`: the declared categories of data, as codes with one space between them.
    pub categories: Option<String>,
    /// `purpose`: the declared purpose.
    pub purpose: Option<String>,
    /// `basis`: the declared legal basis.
    pub basis: Option<String>,
    /// `size_class`: the padded length of the content, as a class: what it tells is no more than the padding.
    pub size_class: Option<u64>,
    /// `packet`: SHA-256 of the whole packet.
    pub packet: Option<Digest>,
    /// `statement`: SHA-256 of the signed statement.
    pub statement: Option<Digest>,
    /// `result`: outcome in one word from a closed list.
    pub result: Option<String>,
    /// `reason`: number of the refusal in the refusal table, never 0.
    pub reason: Option<u16>,
    /// `trace`: W3C trace id, the link to the partners' own processing logs.
    pub trace: Option<TraceId>,
    /// `activity`: URI of the processing activity in the register of the controller.
    pub activity: Option<String>,
    /// `subject`: the organisation an entry about a partner or a key is about.
    pub subject: Option<Oin>,
    /// `detail`: a short code, printable ASCII without spaces.
    pub detail: Option<String>,
}

impl Entry {
    /// An entry with nothing but what every entry has.
    pub const fn new(kind: Kind, time: Timestamp, salt: [u8; 16]) -> Self {
        Self {
            kind,
            time,
            salt,
            msg_id: None,
            from: None,
            to: None,
            recipients: None,
            key: None,
            flow: None,
            covenant: None,
            case: None,
            message_type: None,
            step: None,
            level: None,
            categories: None,
            purpose: None,
            basis: None,
            size_class: None,
            packet: None,
            statement: None,
            result: None,
            reason: None,
            trace: None,
            activity: None,
            subject: None,
            detail: None,
        }
    }

    /// The leaf: the canonical JSON, without a newline.
    ///
    /// # Errors
    /// [`EntryError::BadValue`] for a text that is empty, too long, or holds a control character or line
    /// separator, an integer over 2^53 − 1, or a `reason` of 0; [`EntryError::TooLong`] past [`ENTRY_MAX`] bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EntryError> {
        check_codes(self.categories.as_deref(), self.detail.as_deref())?;
        if self.reason == Some(0) {
            // No refusal has that number; what was not refused has no reason.
            return Err(EntryError::BadValue("reason"));
        }
        let mut out = Writer::new();
        // In the order of their names, as RFC 8785 §3.2.3 asks; the reader refuses any other.
        out.text("activity", self.activity.as_deref())?;
        out.text("basis", self.basis.as_deref())?;
        out.id("case", self.case.as_ref())?;
        out.text_up_to("categories", self.categories.as_deref(), MAX_CATEGORIES_BYTES)?;
        out.id("covenant", self.covenant.as_ref())?;
        out.text("detail", self.detail.as_deref())?;
        out.text("flow", self.flow.as_deref())?;
        out.id("from", self.from.as_ref())?;
        out.id("key", self.key.as_ref())?;
        out.text("kind", Some(self.kind.as_str()))?;
        out.text("level", self.level.as_deref())?;
        out.text("message_type", self.message_type.as_deref())?;
        out.id("msg_id", self.msg_id.as_ref())?;
        out.id("packet", self.packet.as_ref())?;
        out.text("purpose", self.purpose.as_deref())?;
        out.integer("reason", self.reason.map(u64::from))?;
        out.integer("recipients", self.recipients)?;
        out.text("result", self.result.as_deref())?;
        out.text("salt", Some(&HEXLOWER.encode(&self.salt)))?;
        out.integer("size_class", self.size_class)?;
        out.id("statement", self.statement.as_ref())?;
        out.text("step", self.step.as_deref())?;
        out.id("subject", self.subject.as_ref())?;
        out.integer("time", Some(self.time.0))?;
        out.id("to", self.to.as_ref())?;
        out.id("trace", self.trace.as_ref())?;
        out.integer("v", Some(VERSION))?;
        out.finish()
    }

    /// Reads a leaf, and only if it is written exactly as [`Entry::to_bytes`] writes it.
    ///
    /// # Errors
    /// An [`EntryError`] saying what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let mut fields = Reader::read(bytes)?;
        match fields.integer("v")? {
            None => return Err(EntryError::Missing("v")),
            Some(VERSION) => {}
            Some(other) => return Err(EntryError::UnknownVersion(other)),
        }
        let kind: Kind = fields.id("kind")?.ok_or(EntryError::Missing("kind"))?;
        let time = fields.integer("time")?.map(Timestamp).ok_or(EntryError::Missing("time"))?;
        let salt = fields.text("salt")?.ok_or(EntryError::Missing("salt"))?;
        let salt = read_hex(salt.as_bytes()).ok_or(EntryError::BadValue("salt"))?;
        let reason = fields.integer("reason")?.map(u16::try_from).transpose();
        let entry = Self {
            kind,
            time,
            salt,
            msg_id: fields.id("msg_id")?,
            from: fields.id("from")?,
            to: fields.id("to")?,
            recipients: fields.integer("recipients")?,
            key: fields.id("key")?,
            flow: fields.text("flow")?,
            covenant: fields.id("covenant")?,
            case: fields.id("case")?,
            message_type: fields.text("message_type")?,
            step: fields.text("step")?,
            level: fields.text("level")?,
            categories: fields.text("categories")?,
            purpose: fields.text("purpose")?,
            basis: fields.text("basis")?,
            size_class: fields.integer("size_class")?,
            packet: fields.id("packet")?,
            statement: fields.id("statement")?,
            result: fields.text("result")?,
            reason: reason.map_err(|_| EntryError::BadValue("reason"))?,
            trace: fields.id("trace")?,
            activity: fields.text("activity")?,
            subject: fields.id("subject")?,
            detail: fields.text("detail")?,
        };
        fields.finish()?;
        // The reader is lenient about numbers and the end: only the one right way of writing is accepted.
        let written = entry.to_bytes()?;
        match written.iter().zip(bytes).position(|(a, b)| a != b) {
            None if written.len() == bytes.len() => Ok(entry),
            position => Err(EntryError::NotCanonical(position.unwrap_or(written.len()))),
        }
    }

    /// The hash of the entry as a leaf of the tree.
    ///
    /// # Errors
    /// As [`Entry::to_bytes`].
    pub fn leaf_hash(&self) -> Result<Digest, EntryError> {
        Ok(hash::leaf_hash(&self.to_bytes()?))
    }
}

/// Checks the two fields that hold codes rather than free text.
fn check_codes(categories: Option<&str>, detail: Option<&str>) -> Result<(), EntryError> {
    if categories.is_some_and(|codes| codes.split(' ').any(str::is_empty)) {
        return Err(EntryError::BadValue("categories"));
    }
    let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if detail.is_some_and(|code| code.len() > MAX_DETAIL_BYTES || !printable(code)) {
        return Err(EntryError::BadValue("detail"));
    }
    Ok(())
}
