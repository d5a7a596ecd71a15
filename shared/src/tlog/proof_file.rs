//! An inclusion proof as text (C2SP tlog-proof): `c2sp.org/tlog-proof@v1`, the index, the hashes, an empty line,
//! and the signed checkpoint.
//!
//! Strict: [`ProofFile::parse`] takes only what [`ProofFile`] displays as, byte for byte.

use core::fmt;

use data_encoding::BASE64;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::note::{Note, VerifierKey, from_base64};
use super::proof::{ProofError, verify_inclusion};
use crate::ids::Digest;
use crate::limits::{CHECKPOINT_MAX, PROOF_MAX};

/// The first line.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Most bytes of extra data.
const EXTRA_MAX: usize = 4096;

/// A proof as it stands in a file. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// Opaque data, which nothing vouches for.
    pub extra: Option<Vec<u8>>,
    /// The leaf's index.
    pub index: u64,
    /// Its siblings, lowest first.
    pub path: Vec<Digest>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

/// Why a text is no proof, or proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// A line is not what stands there.
    #[error("line {0} of the proof is not as C2SP tlog-proof says")]
    Line(
        /// Which, from 1.
        usize,
    ),
    /// The checkpoint is not the log's.
    #[error("the proof's checkpoint does not count: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The proof does not lead to the checkpoint.
    #[error("{0}")]
    Proof(#[from] ProofError),
}

impl ProofFile {
    /// Reads the text.
    ///
    /// # Errors
    /// [`ProofFileError::Line`].
    pub fn parse(text: &str) -> Result<Self, ProofFileError> {
        let (proof, checkpoint) = text.split_once("\n\n").ok_or(ProofFileError::Line(1))?;
        let mut lines = (1..).zip(proof.split('\n'));
        let mut next = || lines.next();
        if next().is_none_or(|(_, line)| line != HEADER) {
            return Err(ProofFileError::Line(1));
        }
        let (mut at, mut line) = next().ok_or(ProofFileError::Line(2))?;
        let mut extra = None;
        if let Some(data) = line.strip_prefix("extra ") {
            let data = from_base64(data).filter(|data| !data.is_empty() && data.len() <= EXTRA_MAX);
            extra = Some(data.ok_or(ProofFileError::Line(at))?);
            (at, line) = next().ok_or(ProofFileError::Line(3))?;
        }
        let number = line.strip_prefix("index ").ok_or(ProofFileError::Line(at))?;
        let index: u64 = number.parse().map_err(|_| ProofFileError::Line(at))?;
        if index.to_string() != number {
            return Err(ProofFileError::Line(at));
        }
        let mut path = Vec::new();
        for (at, line) in lines {
            let hash = from_base64(line).and_then(|bytes| Digest::from_slice(&bytes));
            path.push(hash.filter(|_| path.len() < PROOF_MAX).ok_or(ProofFileError::Line(at))?);
        }
        let note = Note::parse(checkpoint.as_bytes()).ok().filter(|_| checkpoint.len() <= CHECKPOINT_MAX);
        let whole = |note: Note| note.to_string() == checkpoint && Checkpoint::parse(note.text()).is_ok();
        if !note.is_some_and(whole) {
            return Err(ProofFileError::Line(at));
        }
        let read = Self { extra, index, path, checkpoint: checkpoint.to_owned() };
        // Whatever the readers above let pass, there is one way to write it.
        if read.to_string() == text { Ok(read) } else { Err(ProofFileError::Line(at)) }
    }

    /// Checks that a leaf with this hash stands at the index, in a tree whose head the log signed.
    ///
    /// # Errors
    /// [`ProofFileError`].
    pub fn verify(
        &self,
        leaf: &Digest,
        origin: &str,
        key: &VerifierKey,
    ) -> Result<Checkpoint, ProofFileError> {
        let checkpoint = Checkpoint::verify(self.checkpoint.as_bytes(), origin, key)?;
        verify_inclusion(self.index, checkpoint.size(), leaf, &self.path, checkpoint.root())?;
        Ok(checkpoint)
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", BASE64.encode(&hash.0))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::hash::leaf_hash;
    use crate::tlog::tree::BatchTree;

    const ORIGIN: &str = "broker.example/uitwisseling/2026";

    fn key() -> ed25519_dalek::SigningKey {
        ed25519_dalek::SigningKey::from_bytes(&[9; 32])
    }

    fn proof(index: u64) -> ProofFile {
        let mut tree = BatchTree::default();
        for leaf in 0..7_u8 {
            tree.append(leaf_hash(&[leaf])).unwrap();
        }
        let note = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap().sign(&key()).unwrap();
        let path = tree.inclusion_proof(index).unwrap();
        ProofFile { extra: None, index, path, checkpoint: note.to_string() }
    }

    fn named() -> VerifierKey {
        VerifierKey::new(ORIGIN, key().verifying_key()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_proves_its_leaf_alone() {
        for index in 0..7_u8 {
            for extra in [None, Some(vec![1, 2, 3])] {
                let one = ProofFile { extra, ..proof(index.into()) };
                let read = ProofFile::parse(&one.to_string()).unwrap();
                assert_eq!(read, one);
                assert!(read.verify(&leaf_hash(&[index]), ORIGIN, &named()).is_ok());
                assert!(read.verify(&leaf_hash(&[index + 1]), ORIGIN, &named()).is_err());
                assert!(read.verify(&leaf_hash(&[index]), "other.example/log", &named()).is_err());
            }
        }
    }

    #[test]
    fn there_is_one_way_to_write_it() {
        let good = proof(5).to_string();
        for (from, to) in [
            ("c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v2\n"),
            ("index 5", "index 05"),
            ("index 5", "index +5"),
            ("index 5", "index  5"),
            ("index 5", "extra \nindex 5"),
            ("index 5", "extra AQ=\nindex 5"),
            ("index 5", "extra AQ==\nextra AQ==\nindex 5"),
            ("index 5\n", "index 5\n\n"),
            ("\n\n", "\n"),
            ("index 5\n", "index 5\r\n"),
        ] {
            assert!(good.contains(from));
            assert!(ProofFile::parse(&good.replacen(from, to, 1)).is_err(), "{to:?}");
        }
        let many = good.replacen("index 5\n", &format!("index 5\n{}", "A".repeat(43) + "=\n").repeat(129), 1);
        assert!(ProofFile::parse(&many).is_err());
    }

    #[test]
    fn every_flipped_bit_takes_the_proof_away() {
        let good = proof(5).to_string().into_bytes();
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            let read = String::from_utf8(changed).ok().and_then(|text| ProofFile::parse(&text).ok());
            let proved = read.is_some_and(|one| one.verify(&leaf_hash(&[5]), ORIGIN, &named()).is_ok());
            assert!(!proved, "byte {at}");
        }
    }
}
