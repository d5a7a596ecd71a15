//! The log's key, and notes signed by it (C2SP signed-note, checkpoint).

use core::fmt;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

/// The key of a log, and the log's name.
#[derive(Debug, Clone)]
pub struct Key {
    text: String,
    name: String,
    id: [u8; 4],
    public: VerifyingKey,
}

/// Why a text is not the key of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyError(&'static str);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not the key of a log: {}", self.0)
    }
}

impl core::error::Error for KeyError {}

/// 2²⁵⁵ − 19, little-endian.
const FIELD: [u8; 32] = {
    let mut prime = [0xff; 32];
    prime[0] = 0xed;
    prime[31] = 0x7f;
    prime
};

impl Key {
    /// Reads `name+hex(id)+base64(01 ‖ public key)`, as the grant of an agent and `seinhuis-broker log key` give it.
    ///
    /// # Errors
    /// Which part of it does not hold.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        Self::of_kind(text, 1)
    }

    /// Reads a verifier key for signatures of a type (C2SP signed-note).
    pub(crate) fn of_kind(text: &str, kind: u8) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError("it is not name+id+key"));
        };
        if !is_name(name) {
            return Err(KeyError("its name is empty or has white space"));
        }
        let bytes = BASE64.decode(key.as_bytes()).map_err(|_| KeyError("its last part is not base64"))?;
        let key: [u8; 32] = match bytes.split_first() {
            Some((own, key)) if *own == kind => {
                key.try_into().map_err(|_| KeyError("its last part is not 33 bytes"))?
            }
            _ => return Err(KeyError("it is not for Ed25519")),
        };
        let sum = Sha256::new().chain_update(name).chain_update([b'\n']).chain_update(&bytes).finalize();
        let expected = sum.first_chunk::<4>().copied().unwrap_or_default();
        if HEXLOWER.encode(&expected) != id {
            return Err(KeyError("its id is not that of the key and the name"));
        }
        let mut y = key;
        y[31] &= 0x7f;
        let reduced = y.iter().rev().lt(FIELD.iter().rev());
        let point = VerifyingKey::from_bytes(&key).ok().filter(|point| reduced && !point.is_weak());
        let point =
            point.ok_or(KeyError("it is not a point of the curve in its one encoding, or of small order"))?;
        Ok(Self { text: text.to_owned(), name: name.to_owned(), id: expected, public: point })
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether both are of the same public key, whatever they are called.
    pub(crate) fn is_same_point(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control())
}

/// A note: its text, and what stands below it.
pub(crate) struct Note<'a> {
    /// The text, with its last newline.
    pub(crate) text: &'a str,
    signatures: Vec<(&'a str, [u8; 4], Vec<u8>)>,
}

impl<'a> Note<'a> {
    /// Reads a note; verifies nothing.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let note = core::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err("has a control character");
        }
        let split = note.rfind("\n\n").ok_or("is not a note: it has no empty line before signatures")?;
        let text = note.get(..=split).unwrap_or_default();
        let lines = note.get(split + 2..).unwrap_or_default();
        let mut signatures = Vec::new();
        for line in lines.strip_suffix('\n').ok_or("does not end with a newline")?.split('\n') {
            let rest =
                line.strip_prefix("\u{2014} ").ok_or("has a line among its signatures that is none")?;
            let (name, signature) = rest.split_once(' ').ok_or("has a signature without a name")?;
            let bytes =
                BASE64.decode(signature.as_bytes()).map_err(|_| "has a signature that is not base64")?;
            let (id, signature) =
                bytes.split_first_chunk::<4>().ok_or("has a signature that is too short")?;
            if !is_name(name) || signature.is_empty() {
                return Err("has a signature that is too short or without a name");
            }
            signatures.push((name, *id, signature.to_vec()));
        }
        Ok(Self { text, signatures })
    }

    /// The signatures that claim to be by a key.
    fn claimed<'k>(&'k self, key: &'k Key) -> impl Iterator<Item = &'k [u8]> {
        let own = self.signatures.iter().filter(|(name, id, _)| *name == key.name && *id == key.id);
        own.map(|(_, _, signature)| signature.as_slice())
    }

    /// The text, when the key signed it.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) fn signed_by(&self, key: &Key) -> Result<&'a str, &'static str> {
        let mut found = false;
        for signature in self.claimed(key) {
            let signature =
                Signature::from_slice(signature).map_err(|_| "has a signature of the wrong length")?;
            key.public
                .verify_strict(self.text.as_bytes(), &signature)
                .map_err(|_| "its signature does not verify")?;
            found = true;
        }
        if found { Ok(self.text) } else { Err("has no signature by the log's key") }
    }

    /// Whether a witness cosigned the text (C2SP tlog-cosignature, Ed25519).
    ///
    /// # Errors
    /// When a line is the witness's by name and id, and does not verify.
    pub(crate) fn cosigned_by(&self, key: &Key) -> Result<bool, &'static str> {
        let mut found = false;
        for signature in self.claimed(key) {
            let (time, signature) =
                signature.split_first_chunk::<8>().ok_or("has a cosignature of the wrong length")?;
            let signature =
                Signature::from_slice(signature).map_err(|_| "has a cosignature of the wrong length")?;
            let time = u64::from_be_bytes(*time);
            if time > i64::MAX.unsigned_abs() {
                return Err("has a cosignature of a time that may not be");
            }
            let message = format!("cosignature/v1\ntime {time}\n{}", self.text);
            key.public
                .verify_strict(message.as_bytes(), &signature)
                .map_err(|_| "has a cosignature that does not verify")?;
            found = true;
        }
        Ok(found)
    }
}

/// A checkpoint: how many entries the log has, and the root over them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checkpoint {
    pub(crate) size: u64,
    pub(crate) root: [u8; 32],
}

impl Checkpoint {
    /// Reads a note that is a checkpoint of the log, signed by it.
    pub(crate) fn of(note: &Note<'_>, key: &Key) -> Result<Self, &'static str> {
        let text = note.signed_by(key)?;
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err("has fewer than three lines");
        };
        if origin != key.name {
            return Err("is of another log");
        }
        let size = crate::json::decimal(size.as_bytes()).ok_or("its size is no number")?;
        let root = BASE64.decode(root.as_bytes()).map_err(|_| "its root is not base64")?;
        let root: [u8; 32] = root.try_into().map_err(|_| "its root is not 32 bytes")?;
        let further: Vec<&str> = lines.collect();
        if further.len() > 16 || further.iter().any(|line| line.is_empty()) {
            return Err("has more than 16 further lines, or an empty one");
        }
        if size == 0 && root != <[u8; 32]>::from(Sha256::digest([])) {
            return Err("is of no entries but has a root");
        }
        Ok(Self { size, root })
    }
}
