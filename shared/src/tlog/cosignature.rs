//! Cosignatures (C2SP tlog-cosignature, the Ed25519 kind): what a witness says about a checkpoint.
//!
//! ```text
//! cosignature/v1
//! time 1679315147
//! broker.example/uitwisseling/2026
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```
//! These lines are what is signed: "at this time this was the largest tree of this log that I saw, and it continues every
//! one that I saw before". The signature line carries the time, big-endian, before the signature.

use core::fmt;
use core::str::FromStr;

use ed25519_dalek::{Signature, VerifyingKey};

use super::note::{KeyText, Note, NoteError, NoteSignature};

/// The signature type of a timestamped Ed25519 cosignature.
pub const COSIGNATURE: u8 = 0x04;
/// The latest time that can stand in a cosignature, in seconds since 1970.
pub const TIME_MAX: u64 = i64::MAX.unsigned_abs();

/// A named Ed25519 key that verifies cosignatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    text: KeyText,
    key: VerifyingKey,
}

impl WitnessKey {
    /// Names an Ed25519 public key. The same key must not cosign under two names: the signature does not cover the name.
    ///
    /// # Errors
    /// [`NoteError::BadName`]; [`NoteError::WeakKey`] for bytes that are no proper key.
    pub fn new(name: &str, public_key: &[u8; 32]) -> Result<Self, NoteError> {
        let text = KeyText::new(name, COSIGNATURE, public_key)?;
        let key = text.ed25519(COSIGNATURE)?;
        Ok(Self { text, key })
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.text.name()
    }

    /// The id.
    pub fn id(&self) -> [u8; 4] {
        self.text.id()
    }

    /// The public key.
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Cosigns the text of a checkpoint at a time in seconds since 1970. Give `sign` what makes this key's Ed25519
    /// signature over the bytes it is handed. A time of 0 or after [`TIME_MAX`] gives nothing: no cosignature has it.
    pub fn cosign_with(
        &self,
        text: &str,
        seconds: u64,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Option<NoteSignature> {
        if seconds == 0 || seconds > TIME_MAX {
            return None;
        }
        let signature = sign(message(text, seconds).as_bytes());
        let bytes = [seconds.to_be_bytes().as_slice(), &signature].concat();
        NoteSignature::new(self.name(), self.id(), bytes).ok()
    }

    /// Whether a signature line says that it is of this key.
    pub fn made(&self, signature: &NoteSignature) -> bool {
        signature.id() == self.id() && signature.name() == self.name()
    }

    /// Verifies a signature line of this key over the text of a checkpoint, and gives its time in seconds since 1970.
    ///
    /// # Errors
    /// [`NoteError::WrongSignature`], also for a time of 0 or after [`TIME_MAX`].
    pub fn verify(&self, text: &str, signature: &NoteSignature) -> Result<u64, NoteError> {
        let wrong = || NoteError::WrongSignature(self.name().to_owned());
        let (time, rest) = signature.signature().split_first_chunk::<8>().ok_or_else(wrong)?;
        let bytes: &[u8; 64] = rest.try_into().map_err(|_| wrong())?;
        let seconds = u64::from_be_bytes(*time);
        if !self.made(signature) || seconds == 0 || seconds > TIME_MAX {
            return Err(wrong());
        }
        self.key
            .verify_strict(message(text, seconds).as_bytes(), &Signature::from_bytes(bytes))
            .map_err(|_| wrong())?;
        Ok(seconds)
    }

    /// The newest cosignature of this key on a note: the line and its time; none if this key did not cosign.
    ///
    /// # Errors
    /// [`NoteError::WrongSignature`] as soon as a line with name and id of this key does not verify.
    pub fn cosigned<'n>(&self, note: &'n Note) -> Result<Option<(&'n NoteSignature, u64)>, NoteError> {
        let mut newest = None;
        for line in note.signatures().iter().filter(|line| self.made(line)) {
            let seconds = self.verify(note.text(), line)?;
            if newest.is_none_or(|(_, known)| known < seconds) {
                newest = Some((line, seconds));
            }
        }
        Ok(newest)
    }
}

impl fmt::Display for WitnessKey {
    /// The text form: `name+hexid+base64(0x04 || public key)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl FromStr for WitnessKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let text: KeyText = text.parse()?;
        let key = text.ed25519(COSIGNATURE)?;
        Ok(Self { text, key })
    }
}

/// What a cosignature signs.
fn message(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}
