//! Checkpoints (C2SP tlog-checkpoint): the size and root of a log, signed as a [note](super::note).
//!
//! ```text
//! broker.example/uitwisseling/2026
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```

use core::fmt;

use data_encoding::BASE64;
use ed25519_dalek::{SigningKey, ed25519::signature::Signer as _};

use super::hash::empty_root;
use super::note::{MAX_NAME_BYTES, Note, NoteError, VerifierKey, from_base64};
use crate::ids::Digest;

/// Extension lines read at most; none are ever written.
pub const MAX_EXTENSION_LINES: usize = 16;

/// The origin that a checkpoint names, before anything is verified; empty when it cannot be read.
pub fn origin_of(note: &[u8]) -> &str {
    let line = note.split(|byte| *byte == b'\n').next().unwrap_or_default();
    core::str::from_utf8(line).unwrap_or_default()
}

/// Why something is not a checkpoint of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it is malformed or not signed as it should be.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The origin is empty, too long or not plain text.
    #[error(
        "the origin of a checkpoint is 1 to 255 bytes without control characters: check the log's configuration"
    )]
    BadOrigin,
    /// The lines are not origin, size and root.
    #[error(
        "this is not a checkpoint: three lines are expected (origin, size, root) and at most 16 more; fetch it again"
    )]
    BadLines,
    /// The size is not a decimal number without leading zeros.
    #[error("the size in the checkpoint is not a plain decimal number: whoever made it must correct it")]
    BadSize,
    /// The root is not the base64 of 32 bytes.
    #[error("the root in the checkpoint is not the base64 of 32 bytes: whoever made it must correct it")]
    BadRoot,
    /// A tree without leaves has only one root, and this is not it.
    #[error("the checkpoint is of an empty tree but has another root: whoever made it must correct it")]
    EmptyTreeWithOtherRoot,
    /// A checkpoint of another log.
    #[error("the checkpoint is of the log {found:?}, not of {wanted:?}: check which log it was fetched from")]
    OtherLog {
        /// The origin wanted.
        wanted: String,
        /// The origin found.
        found: String,
    },
}

/// What a log says about itself at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Digest,
}

impl Checkpoint {
    /// The checkpoint of a tree of `size` leaves with this root.
    ///
    /// # Errors
    /// [`CheckpointError::BadOrigin`]; [`CheckpointError::EmptyTreeWithOtherRoot`].
    pub fn new(origin: &str, size: u64, root: Digest) -> Result<Self, CheckpointError> {
        if origin.is_empty() || origin.len() > MAX_NAME_BYTES || origin.chars().any(char::is_control) {
            return Err(CheckpointError::BadOrigin);
        }
        if size == 0 && root != empty_root() {
            return Err(CheckpointError::EmptyTreeWithOtherRoot);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Which log: its unique name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub const fn root(&self) -> &Digest {
        &self.root
    }

    /// Reads the text of a checkpoint, without signatures. Verifies nothing.
    ///
    /// Extension lines are checked and left out of the result: no log monitor can audit them, and nothing here
    /// gives them a meaning. They remain in [`Note::text`], which is what is signed and cosigned.
    ///
    /// # Errors
    /// A [`CheckpointError`] saying which line is wrong.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::BadLines)?;
        if body.len() > super::note::MAX_NOTE_BYTES || body.chars().any(|c| c.is_control() && c != '\n') {
            return Err(CheckpointError::BadLines);
        }
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::BadLines);
        };
        let mut extensions = 0_usize;
        for line in lines {
            extensions = extensions.saturating_add(1);
            if line.is_empty() || extensions > MAX_EXTENSION_LINES {
                return Err(CheckpointError::BadLines);
            }
        }
        let number: u64 = size.parse().map_err(|_| CheckpointError::BadSize)?;
        // One way to write a number: no sign, no leading zeros.
        if number.to_string() != size {
            return Err(CheckpointError::BadSize);
        }
        let root =
            from_base64(root).and_then(|bytes| Digest::from_slice(&bytes)).ok_or(CheckpointError::BadRoot)?;
        Self::new(origin, number, root)
    }

    /// Signs with a key of any provenance; `sign` makes that key's Ed25519 signature over the bytes given.
    ///
    /// # Errors
    /// A [`NoteError`], wrapped, if the note would be too long.
    pub fn sign_with(
        &self,
        key: &VerifierKey,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<Note, CheckpointError> {
        let text = self.to_string();
        let signature = key.sign_with(&text, sign);
        Ok(Note::new(&text, vec![signature])?)
    }

    /// Signs with an Ed25519 key that is named after the origin, as the standard recommends.
    ///
    /// # Errors
    /// [`NoteError::BadName`], wrapped, if the origin has a space or a plus sign.
    pub fn sign(&self, key: &SigningKey) -> Result<Note, CheckpointError> {
        let named = VerifierKey::new(&self.origin, key.verifying_key())?;
        self.sign_with(&named, |bytes| key.sign(bytes).to_bytes())
    }

    /// Reads a signed checkpoint and verifies that it is of this log and signed by this key.
    ///
    /// # Errors
    /// A [`CheckpointError`]; nothing of the note may then be believed.
    pub fn verify(note: &[u8], origin: &str, key: &VerifierKey) -> Result<Self, CheckpointError> {
        Self::verify_note(&Note::parse(note)?, origin, key)
    }

    /// As [`Checkpoint::verify`], for a note that was read already.
    ///
    /// # Errors
    /// As [`Checkpoint::verify`].
    pub fn verify_note(note: &Note, origin: &str, key: &VerifierKey) -> Result<Self, CheckpointError> {
        note.verify(core::slice::from_ref(key))?;
        let checkpoint = Self::parse(note.text())?;
        if checkpoint.origin == origin {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::OtherLog { wanted: origin.to_owned(), found: checkpoint.origin })
        }
    }
}

impl fmt::Display for Checkpoint {
    /// The text that is signed: origin, size and root, each with a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, BASE64.encode(self.root.as_bytes()))
    }
}
