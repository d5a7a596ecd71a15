//! The witness protocol (C2SP tlog-witness, `add-checkpoint`): both sides of one exchange, as pure functions.
//!
//! A log says which tree the witness cosigned last, proves that a larger one continues it, and gets a cosignature. Over
//! HTTP that is a POST; between a broker and its agents the same bytes go in frames.
//!
//! ```text
//! old 20852014
//! PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
//!
//! broker.example/uitwisseling/2026
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — broker.example/uitwisseling/2026 Az3grlgtzPICa5OS8npVmf1Myq…
//! ```

use data_encoding::BASE64;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::cosignature::WitnessKey;
use super::hash::empty_root;
use super::note::{Note, NoteError, NoteSignature, VerifierKey, from_base64};
use super::proof::{ProofError, verify_consistency};
use crate::ids::Digest;

/// Lines of a consistency proof at most.
pub const MAX_PROOF_LINES: usize = 63;
/// Bytes of a request at most: the proof, and a checkpoint with room for sixteen post-quantum signatures.
pub const MAX_REQUEST_BYTES: usize = 60 * 1024;
/// Bytes of an answer at most that a client reads.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// The content type of the body that comes with 409.
pub const SIZE_TYPE: &str = "text/x.tlog.size";
/// The status of an answer with cosignatures.
pub const OK: u16 = 200;
/// The status of an answer that tells which size was cosigned last.
pub const CONFLICT: u16 = 409;
/// The status of an answer to a tree that does not continue the one cosigned last.
pub const INCONSISTENT: u16 = 422;

/// A log that a witness knows: its origin, and the keys that count for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLog {
    /// Its origin.
    pub origin: String,
    /// The keys that sign for it.
    pub keys: Vec<VerifierKey>,
}

impl KnownLog {
    /// The log that is named after its key, as the standard recommends.
    pub fn of_key(key: VerifierKey) -> Self {
        Self { origin: key.name().to_owned(), keys: vec![key] }
    }
}

/// The largest tree that a witness cosigned for a log. Before the first that is the empty tree: [`Head::default`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Digest,
}

impl Default for Head {
    fn default() -> Self {
        Self { size: 0, root: empty_root() }
    }
}

/// Why a witness does not cosign; [`Refused::status`] is what it answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a request, or of an old tree larger than the new one.
    #[error(
        "this is no add-checkpoint request: an old size, at most 63 proof lines, an empty line and a checkpoint are expected"
    )]
    Malformed,
    /// No trusted key of the log signed, or its signature is wrong.
    #[error("the checkpoint is not signed by a key that counts for this log: {0}")]
    Unsigned(NoteError),
    /// A log the witness does not know.
    #[error("the witness does not know the log {0:?}: its operator has to add its key")]
    UnknownLog(
        /// The origin.
        String,
    ),
    /// The old size is not that of the tree cosigned last.
    #[error("the tree cosigned last has {0} entries: ask again with a proof from there")]
    Conflict(
        /// The size cosigned last.
        u64,
    ),
    /// The new tree does not continue the one cosigned last, or the proof does not show it.
    #[error("the checkpoint does not continue the tree cosigned last: {0}")]
    Inconsistent(ProofError),
}

impl Refused {
    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unsigned(_) => 403,
            Self::UnknownLog(_) => 404,
            Self::Conflict(_) => CONFLICT,
            Self::Inconsistent(_) => INCONSISTENT,
        }
    }

    /// The body of the answer: the size with 409, nothing with any other.
    pub fn body(&self) -> String {
        match self {
            Self::Conflict(size) => format!("{size}\n"),
            Self::Malformed | Self::Unsigned(_) | Self::UnknownLog(_) | Self::Inconsistent(_) => {
                String::new()
            }
        }
    }
}

/// A checkpoint that a witness found to continue what it cosigned last. It has to keep [`Accepted::head`] on stable storage
/// before it answers with [`Accepted::answer`], and no other request of the log may come between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What was said by the log.
    pub checkpoint: Checkpoint,
    /// The note: the text to cosign, and the log's own signature among what else was sent.
    pub note: Note,
    /// What to keep.
    pub head: Head,
}

impl Accepted {
    /// Cosigns: the body of the answer. None for a time that no cosignature can have; see [`WitnessKey::cosign_with`].
    pub fn answer(
        &self,
        key: &WitnessKey,
        seconds: u64,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Option<NoteSignature> {
        key.cosign_with(self.note.text(), seconds, sign)
    }

    /// The checkpoint with those signatures only that the log made itself: what a witness keeps, bounded.
    ///
    /// # Errors
    /// A [`NoteError`] if there is none; that cannot be, since one was verified.
    pub fn own_note(&self, known: &[KnownLog]) -> Result<Note, NoteError> {
        let keys =
            known.iter().filter(|log| log.origin == self.checkpoint.origin()).flat_map(|log| &log.keys);
        let keys: Vec<&VerifierKey> = keys.collect();
        let own = self.note.signatures().iter();
        let own = own.filter(|line| keys.iter().any(|k| k.name() == line.name() && k.id() == line.id()));
        Note::new(self.note.text(), own.cloned().collect())
    }
}

/// What a witness does with a request: everything but keeping and signing.
///
/// `latest` gives the largest tree cosigned for an origin that is known; the empty one if there is none.
///
/// # Errors
/// [`Refused`], whose status and body are the answer.
pub fn add_checkpoint(
    request: &[u8],
    known: &[KnownLog],
    latest: impl FnOnce(&str) -> Head,
) -> Result<Accepted, Refused> {
    let Request { old, proof, note } = Request::parse(request).ok_or(Refused::Malformed)?;
    let parsed = Checkpoint::parse(note.text());
    let (origin, size) = match &parsed {
        Ok(checkpoint) => (checkpoint.origin(), checkpoint.size()),
        // Well-formed, and judged below: an empty tree with a root it cannot have.
        Err(CheckpointError::EmptyTreeWithOtherRoot) => {
            (note.text().split('\n').next().unwrap_or_default(), 0)
        }
        Err(_) => return Err(Refused::Malformed),
    };
    let log = known.iter().find(|log| log.origin == origin);
    let log = log.ok_or_else(|| Refused::UnknownLog(origin.to_owned()))?;
    note.verify(&log.keys).map_err(Refused::Unsigned)?;
    if old > size {
        return Err(Refused::Malformed);
    }
    let latest = latest(origin);
    if old != latest.size {
        return Err(Refused::Conflict(latest.size));
    }
    let checkpoint = parsed.map_err(|_| Refused::Inconsistent(ProofError::WrongNewRoot))?;
    let head = Head { size, root: *checkpoint.root() };
    verify_consistency(old, size, &proof, &latest.root, &head.root).map_err(Refused::Inconsistent)?;
    Ok(Accepted { checkpoint, note, head })
}

/// A request to cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The size of the tree cosigned last.
    pub old: u64,
    /// The proof that the tree of the checkpoint continues it.
    pub proof: Vec<Digest>,
    /// The signed checkpoint.
    pub note: Note,
}

impl Request {
    /// Reads a request. Verifies nothing. None if it is malformed.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_REQUEST_BYTES {
            return None;
        }
        let text = core::str::from_utf8(bytes).ok()?;
        let (head, note) = text.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old = number(lines.next()?.strip_prefix("old ")?)?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() >= MAX_PROOF_LINES {
                return None;
            }
            proof.push(from_base64(line).and_then(|bytes| Digest::from_slice(&bytes))?);
        }
        Some(Self { old, proof, note: Note::parse(note.as_bytes()).ok()? })
    }

    /// The bytes of the request; none if they would be more than a witness reads.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            text.push_str(&BASE64.encode(hash.as_bytes()));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.note.to_string());
        (self.proof.len() <= MAX_PROOF_LINES && text.len() <= MAX_REQUEST_BYTES).then(|| text.into_bytes())
    }
}

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It cosigned: the line, and its time in seconds since 1970.
    Cosigned(NoteSignature, u64),
    /// It cosigned a tree of this size last.
    Conflict(u64),
    /// The checkpoint does not continue the tree that it cosigned last, or so it says.
    Inconsistent,
    /// It refused with this status.
    Refused(u16),
}

/// Why an answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Longer than is read, or not what its status calls for.
    #[error("the witness answered {status} with a body that does not belong to it")]
    Malformed {
        /// The status.
        status: u16,
    },
    /// No line of the key that was expected.
    #[error("the witness answered without a cosignature of {0}: check which key was configured for it")]
    OtherKey(
        /// The name of the key.
        String,
    ),
    /// The cosignature is wrong.
    #[error(transparent)]
    Wrong(#[from] NoteError),
}

/// Reads what a witness answered to a request for `note`; cosignatures of other keys are passed over.
///
/// # Errors
/// An [`AnswerError`].
pub fn read_answer(status: u16, body: &[u8], note: &Note, key: &WitnessKey) -> Result<Answer, AnswerError> {
    let malformed = AnswerError::Malformed { status };
    let text = core::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_ANSWER_BYTES);
    match (status, text) {
        (OK, Some(text)) => {
            let lines = text.strip_suffix('\n').ok_or(malformed.clone())?.split('\n');
            let lines = lines.map(NoteSignature::parse_line).collect::<Result<Vec<_>, _>>();
            let lines = lines.map_err(|_| malformed.clone())?;
            let cosigned = Note::new(note.text(), lines).map_err(|_| malformed)?;
            match key.cosigned(&cosigned)? {
                Some((line, seconds)) => Ok(Answer::Cosigned(line.clone(), seconds)),
                None => Err(AnswerError::OtherKey(key.name().to_owned())),
            }
        }
        (CONFLICT, Some(text)) => {
            text.strip_suffix('\n').and_then(number).map(Answer::Conflict).ok_or(malformed)
        }
        (OK | CONFLICT, None) => Err(malformed),
        (INCONSISTENT, _) => Ok(Answer::Inconsistent),
        (other, _) => Ok(Answer::Refused(other)),
    }
}

/// One way to write a number: no sign, no leading zeros.
fn number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}
