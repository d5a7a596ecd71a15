//! One log after another: how a log is closed, and how the next one is bound to it.
//!
//! A log has the name of its calendar year in UTC: its origin ends in `/` and four digits. When the year is over
//! its last entry is of kind `closing`, and the first of the next log, at index 0, of kind `opening`. The closing
//! entry names the next origin by hash, the opening entry the old log's final checkpoint, so that neither log can
//! have another successor or predecessor without a contradiction that anybody can see.
//!
//! A log can also be begun by hand, under any other origin, after a fork or a backup that was put back. That is
//! said in both entries, and no agent follows it before a person told it to.

use core::fmt;
use core::str::FromStr;

use crate::entry::Kind;
use crate::ids::Digest;
use crate::receipt::{CheckpointCache, LogKey, Receipt, ReceiptError, VerifiedReceipt};
use crate::signing::sha256;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::{NoteError, VerifierKey};

/// Why one log follows on another: `detail` of both entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The calendar year is over.
    Year,
    /// The operator began a log under another origin.
    NewOrigin,
}

impl Cause {
    /// The code in the entries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::NewOrigin => "new-origin",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Cause {
    type Err = SuccessionError;

    fn from_str(text: &str) -> Result<Self, SuccessionError> {
        [Self::Year, Self::NewOrigin]
            .into_iter()
            .find(|cause| cause.as_str() == text)
            .ok_or(SuccessionError::Opening)
    }
}

/// Why a log does not follow on another. The broker's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuccessionError {
    /// A receipt does not prove its entry.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The last entry of the old log does not close it in favour of this one.
    #[error("the last entry of the old log does not name this log as the next one")]
    Closing,
    /// The first entry of the log does not open it as the successor of that checkpoint.
    #[error("the first entry of the log does not bind the final checkpoint of the old one")]
    Opening,
    /// A year's log is followed by one whose name is not that of a later year.
    #[error("a year's log can only be followed by that of a later year under the same name")]
    Name,
}

/// What an origin says of its year: what is in front of it, and the year. `None` when it does not end in `/` and
/// the four digits of a year.
pub fn year_of(origin: &str) -> Option<(&str, u64)> {
    let (prefix, year) = origin.rsplit_once('/')?;
    let digits = year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !prefix.is_empty()).then_some(())?;
    Some((prefix, year.parse().ok()?))
}

/// The years of two origins that are of one log through the years; `None` for any other two.
pub fn years(one: &str, other: &str) -> Option<(u64, u64)> {
    let ((prefix, year), (same, next)) = year_of(one).zip(year_of(other))?;
    (prefix == same).then_some((year, next))
}

/// The origin of the same name for another year; `None` for an origin without one.
pub fn with_year(origin: &str, year: u64) -> Option<String> {
    let (prefix, _) = year_of(origin)?;
    (1000..=9999).contains(&year).then(|| format!("{prefix}/{year}"))
}

/// What an opening entry has as its `statement`: SHA-256 of the final checkpoint's text, which is its three lines
/// without signatures.
pub fn binding(last: &Checkpoint) -> Digest {
    sha256(last.to_string().as_bytes())
}

/// What a closing entry has as its `statement`: SHA-256 of the next origin.
pub fn naming(next: &str) -> Digest {
    sha256(next.as_bytes())
}

/// The identity of another log that is signed with the same key.
///
/// # Errors
/// [`NoteError`] for an origin that cannot name a key.
pub fn log_key(origin: &str, like: &LogKey) -> Result<LogKey, NoteError> {
    Ok(LogKey { origin: origin.to_owned(), key: VerifierKey::new(origin, *like.key.key())? })
}

/// A succession that both logs prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// Why.
    pub cause: Cause,
    /// The old log's final checkpoint.
    pub last: Checkpoint,
    /// The new log's checkpoint under which its first entry is proved.
    pub first: Checkpoint,
    /// The final checkpoint as signed.
    pub last_note: Vec<u8>,
    /// The new log's checkpoint as signed.
    pub first_note: Vec<u8>,
}

/// Checks that `new` follows on `old`: the closing entry is the last leaf of the old tree, the opening entry the
/// first of the new one, and each names the other. Says nothing about what was known of the old log before: whether
/// [`Succession::last`] extends that has to be proved apart.
///
/// # Errors
/// [`SuccessionError`], by what fails first.
pub fn verify(
    (closing, opening): (&[u8], &[u8]),
    old: &LogKey,
    new: &LogKey,
) -> Result<Succession, SuccessionError> {
    let (last, last_note) = read(closing, old)?;
    let (first, first_note) = read(opening, new)?;
    let [(index, closed)] = last.entries.as_slice() else { return Err(SuccessionError::Closing) };
    let final_leaf = index.checked_add(1) == Some(last.checkpoint.size());
    if !final_leaf || closed.kind != Kind::Closing || closed.statement != Some(naming(&new.origin)) {
        return Err(SuccessionError::Closing);
    }
    let [(0, opened)] = first.entries.as_slice() else { return Err(SuccessionError::Opening) };
    if opened.kind != Kind::Opening || opened.statement != Some(binding(&last.checkpoint)) {
        return Err(SuccessionError::Opening);
    }
    let cause: Cause = opened.detail.as_deref().unwrap_or_default().parse()?;
    if closed.detail.as_deref() != Some(cause.as_str()) {
        return Err(SuccessionError::Closing);
    }
    let later = years(&old.origin, &new.origin).is_some_and(|(year, next)| year < next);
    if (cause == Cause::Year && !later) || old.origin == new.origin {
        return Err(SuccessionError::Name);
    }
    Ok(Succession { cause, last: last.checkpoint, first: first.checkpoint, last_note, first_note })
}

fn read(receipt: &[u8], log: &LogKey) -> Result<(VerifiedReceipt, Vec<u8>), ReceiptError> {
    let receipt = Receipt::parse(receipt)?;
    let verified = receipt.verify(log, &mut CheckpointCache::default())?;
    Ok((verified, receipt.checkpoint.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor::Bytes;
    use crate::entry::Entry;
    use crate::receipt::ProvedEntry;
    use crate::time::Timestamp;
    use crate::tlog::hash::leaf_hash;
    use crate::tlog::tree::BatchTree;

    const OLD: &str = "broker.example/uitwisseling/2026";
    const NEW: &str = "broker.example/uitwisseling/2027";

    fn key() -> ed25519_dalek::SigningKey {
        ed25519_dalek::SigningKey::from_bytes(&[9; 32])
    }

    fn log(origin: &str) -> LogKey {
        LogKey { origin: origin.into(), key: VerifierKey::new(origin, key().verifying_key()).unwrap() }
    }

    fn entry(kind: Kind, cause: &str, statement: Digest) -> Entry {
        let mut entry = Entry::new(kind, Timestamp(5), [7; 16]);
        entry.detail = Some(cause.to_owned());
        entry.statement = Some(statement);
        entry
    }

    /// A receipt of the entry at `place` among others, and the checkpoint it rests on.
    fn receipt(origin: &str, entry: &Entry, place: u64, size: u64) -> (Vec<u8>, Checkpoint) {
        let bytes = entry.to_bytes().unwrap();
        let mut tree = BatchTree::default();
        for index in 0..size {
            let leaf = if index == place { leaf_hash(&bytes) } else { leaf_hash(&index.to_be_bytes()) };
            tree.append(leaf).unwrap();
        }
        let checkpoint = Checkpoint::new(origin, size, tree.root()).unwrap();
        let note = checkpoint.sign(&key()).unwrap().to_string().into_bytes();
        let proved =
            ProvedEntry { index: place, entry: Bytes(bytes), path: tree.inclusion_proof(place).unwrap() };
        (Receipt { version: 1, checkpoint: Bytes(note), entries: vec![proved] }.to_bytes(), checkpoint)
    }

    fn closing(cause: &str) -> (Vec<u8>, Checkpoint) {
        receipt(OLD, &entry(Kind::Closing, cause, naming(NEW)), 6, 7)
    }

    fn opening(cause: &str, last: &Checkpoint) -> Vec<u8> {
        receipt(NEW, &entry(Kind::Opening, cause, binding(last)), 0, 1).0
    }

    #[test]
    fn a_log_follows_on_the_one_it_binds() {
        for cause in [Cause::Year, Cause::NewOrigin] {
            let (closed, last) = closing(cause.as_str());
            let opened = opening(cause.as_str(), &last);
            let proved = verify((&closed, &opened), &log(OLD), &log(NEW)).unwrap();
            assert_eq!((proved.cause, proved.last, proved.first.size()), (cause, last, 1));
        }
    }

    #[test]
    fn every_other_pair_is_refused() {
        let (closed, last) = closing("year");
        let opened = opening("year", &last);
        let check = |closed: &[u8], opened: &[u8]| verify((closed, opened), &log(OLD), &log(NEW));
        let not_last = receipt(OLD, &entry(Kind::Closing, "year", naming(NEW)), 5, 7).0;
        assert_eq!(check(&not_last, &opened), Err(SuccessionError::Closing));
        let elsewhere = receipt(OLD, &entry(Kind::Closing, "year", naming("x.example/2027")), 6, 7);
        assert_eq!(check(&elsewhere.0, &opening("year", &elsewhere.1)), Err(SuccessionError::Closing));
        let other_kind = receipt(OLD, &entry(Kind::Operator, "year", naming(NEW)), 6, 7);
        assert_eq!(check(&other_kind.0, &opening("year", &other_kind.1)), Err(SuccessionError::Closing));
        let other = Checkpoint::new(OLD, 7, Digest([1; 32])).unwrap();
        assert_eq!(check(&closed, &opening("year", &other)), Err(SuccessionError::Opening));
        let second = receipt(NEW, &entry(Kind::Opening, "year", binding(&last)), 1, 2).0;
        assert_eq!(check(&closed, &second), Err(SuccessionError::Opening));
        assert_eq!(check(&closed, &opening("new-origin", &last)), Err(SuccessionError::Closing));
        assert_eq!(check(&closed, &opening("because", &last)), Err(SuccessionError::Opening));
        assert!(matches!(check(&opened, &closed), Err(SuccessionError::Receipt(_))));
    }

    #[test]
    fn a_year_is_followed_by_a_later_year_of_the_same_name() {
        for next in
            [OLD, "broker.example/uitwisseling/2025", "other.example/uitwisseling/2027", "broker.example/x"]
        {
            let (closed, last) = receipt(OLD, &entry(Kind::Closing, "year", naming(next)), 6, 7);
            let (opened, _) = receipt(next, &entry(Kind::Opening, "year", binding(&last)), 0, 1);
            assert_eq!(
                verify((&closed, &opened), &log(OLD), &log(next)),
                Err(SuccessionError::Name),
                "{next}"
            );
        }
    }

    #[test]
    fn the_year_is_read_from_the_origin() {
        assert_eq!(year_of(OLD), Some(("broker.example/uitwisseling", 2026)));
        for none in ["localhost/log", "2026", "/2026", "broker.example/20266", "broker.example/2o26"] {
            assert_eq!(year_of(none), None, "{none}");
        }
        assert_eq!(with_year(OLD, 2027).as_deref(), Some(NEW));
        assert_eq!(with_year(OLD, 10_000), None);
    }
}
