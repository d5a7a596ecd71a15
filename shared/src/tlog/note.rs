//! Signed notes (C2SP signed-note): a text, a blank line, and signature lines.
//!
//! ```text
//! the text, ending in a newline
//!
//! — broker.example/uitwisseling/2026 <base64 of a 4-byte key id and the signature>
//! ```
//! Name and id together say which key signed, and how. Signatures of unknown keys are passed over; a wrong
//! signature of a known key spoils the note. Nothing of a text may be believed before [`Note::verify`].

use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey, ed25519::signature::Signer as _};
use sha2::{Digest as _, Sha256};

/// Bytes of a note at most: room for [`MAX_SIGNATURES`] of the largest post-quantum kind in use.
pub const MAX_NOTE_BYTES: usize = 256 * 1024;
/// Signatures on a note at most; the standard asks to accept 16 or more.
pub const MAX_SIGNATURES: usize = 64;
/// Bytes of a key's name, and of a log's origin, at most.
pub const MAX_NAME_BYTES: usize = 255;
/// The signature type of plain Ed25519 over the text.
pub const ED25519: u8 = 0x01;

/// Bytes of a verifier key in text at most: a name, an id and a post-quantum key.
const MAX_VKEY_BYTES: usize = 4096;
/// How a signature line starts.
const DASH: &str = "— ";

/// Why something is not a note, not a key, or not signed as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than a note may be.
    #[error("the note is {0} bytes long: at most {max} are read", max = MAX_NOTE_BYTES)]
    TooLong(
        /// Its length in bytes.
        usize,
    ),
    /// Not UTF-8, or with a control character other than newline.
    #[error(
        "the note is not plain text: it has bytes that are not UTF-8 or a control character; fetch it again"
    )]
    NotText,
    /// No blank line before the signatures, or the text or the last line does not end in a newline.
    #[error(
        "the note is cut off or has no signatures: a text, a blank line and signature lines are expected, each ending in a newline"
    )]
    NoSignatures,
    /// A signature line is not written as it should be.
    #[error("signature line {0} of the note is not \"— name base64\": fetch the note again")]
    BadSignatureLine(
        /// Which signature line, from 1.
        usize,
    ),
    /// More signatures than are read.
    #[error("the note has more than {MAX_SIGNATURES} signatures: leave out those nobody needs")]
    TooManySignatures,
    /// Not usable as the name of a key.
    #[error("{0:?} is not a key name: 1 to 255 bytes without spaces, plus signs or control characters")]
    BadName(
        /// The name, cut to 64 characters.
        String,
    ),
    /// Not a verifier key in text.
    #[error(
        "this is not a verifier key: name+hexid+base64 is expected, with the id that belongs to name and key"
    )]
    BadKey,
    /// A verifier key of a type that is not the one wanted.
    #[error(
        "the verifier key is of signature type {found:#04x} where {wanted:#04x} is needed: ask its owner for the other key"
    )]
    OtherKeyType {
        /// The type needed.
        wanted: u8,
        /// The type of the key.
        found: u8,
    },
    /// A public key that proves nothing, or is not written the one right way.
    #[error("the Ed25519 public key is weak or malformed: ask its owner for a proper key")]
    WeakKey,
    /// A known key's signature is wrong.
    #[error("the signature of {0} is wrong: the note was altered or forged; keep it as evidence")]
    WrongSignature(
        /// The name of the key.
        String,
    ),
    /// None of the known keys signed.
    #[error(
        "the note carries no signature of a known key: check which keys are configured, or fetch it elsewhere"
    )]
    NoKnownKey,
}

/// Checks that a name may stand in a signature line: not empty, no space of any kind, no plus, no control
/// character, at most [`MAX_NAME_BYTES`].
///
/// # Errors
/// [`NoteError::BadName`].
pub fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(bad) {
        Err(NoteError::BadName(name.chars().take(64).collect()))
    } else {
        Ok(())
    }
}

/// The id of a key: the first four bytes of SHA-256 over name, newline, signature type and public key.
pub fn key_id(name: &str, signature_type: u8, public_key: &[u8]) -> [u8; 4] {
    let hash = Sha256::new_with_prefix(name)
        .chain_update([b'\n', signature_type])
        .chain_update(public_key)
        .finalize();
    let [a, b, c, d, ..] = <[u8; 32]>::from(hash);
    [a, b, c, d]
}

/// A verifier key of any signature type, as it stands in text: `name+hexid+base64(type || public key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyText {
    name: String,
    signature_type: u8,
    public_key: Vec<u8>,
}

impl KeyText {
    /// A key in text form.
    ///
    /// # Errors
    /// [`NoteError::BadName`]; [`NoteError::BadKey`] if the public key is empty or too long to be one.
    pub fn new(name: &str, signature_type: u8, public_key: &[u8]) -> Result<Self, NoteError> {
        check_name(name)?;
        let key = Self { name: name.to_owned(), signature_type, public_key: public_key.to_vec() };
        if public_key.is_empty() || key.to_string().len() > MAX_VKEY_BYTES {
            return Err(NoteError::BadKey);
        }
        Ok(key)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id, as in the signature lines of the key.
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, self.signature_type, &self.public_key)
    }

    /// The signature type: [`ED25519`] or another of the registered ones.
    pub const fn signature_type(&self) -> u8 {
        self.signature_type
    }

    /// The public key, as its type encodes it.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The public key as an Ed25519 key, if the type is the wanted one.
    ///
    /// # Errors
    /// [`NoteError::OtherKeyType`]; [`NoteError::BadKey`] for the wrong length; [`NoteError::WeakKey`] for a
    /// key of small order or not in its canonical encoding.
    pub fn ed25519(&self, wanted: u8) -> Result<VerifyingKey, NoteError> {
        if self.signature_type != wanted {
            return Err(NoteError::OtherKeyType { wanted, found: self.signature_type });
        }
        let bytes: &[u8; 32] = self.public_key.as_slice().try_into().map_err(|_| NoteError::BadKey)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| NoteError::WeakKey)?;
        check_strength(&key)?;
        Ok(key)
    }
}

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed: Vec<u8> =
            core::iter::once(self.signature_type).chain(self.public_key.iter().copied()).collect();
        write!(f, "{}+{}+{}", self.name, HEXLOWER.encode(&self.id()), BASE64.encode(&typed))
    }
}

impl FromStr for KeyText {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        if text.len() > MAX_VKEY_BYTES {
            return Err(NoteError::BadKey);
        }
        // Base64 has plus signs of its own, names and ids have none.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(typed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::BadKey);
        };
        let typed = from_base64(typed).ok_or(NoteError::BadKey)?;
        let (signature_type, public_key) = typed.split_first().ok_or(NoteError::BadKey)?;
        let key = Self::new(name, *signature_type, public_key)?;
        if HEXLOWER.encode(&key.id()) == id { Ok(key) } else { Err(NoteError::BadKey) }
    }
}

fn check_strength(key: &VerifyingKey) -> Result<(), NoteError> {
    if key.is_weak() || key.to_edwards().compress().as_bytes() != key.as_bytes() {
        Err(NoteError::WeakKey)
    } else {
        Ok(())
    }
}

/// A named Ed25519 key that verifies notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl VerifierKey {
    /// Names an Ed25519 public key.
    ///
    /// # Errors
    /// [`NoteError::BadName`]; [`NoteError::WeakKey`] for a key of small order or not in canonical encoding.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        check_name(name)?;
        check_strength(&key)?;
        Ok(Self { name: name.to_owned(), id: key_id(name, ED25519, key.as_bytes()), key })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id.
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The public key.
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Signs a note's text. Give `sign` what makes this key's Ed25519 signature over the bytes it is handed.
    pub fn sign_with(&self, text: &str, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> NoteSignature {
        NoteSignature { name: self.name.clone(), id: self.id, signature: sign(text.as_bytes()).to_vec() }
    }

    fn made(&self, signature: &NoteSignature) -> bool {
        signature.id == self.id && signature.name == self.name
    }

    fn verify(&self, text: &str, signature: &NoteSignature) -> Result<(), NoteError> {
        let wrong = || NoteError::WrongSignature(self.name.clone());
        let bytes: &[u8; 64] = signature.signature.as_slice().try_into().map_err(|_| wrong())?;
        self.key.verify_strict(text.as_bytes(), &Signature::from_bytes(bytes)).map_err(|_| wrong())
    }
}

impl fmt::Display for VerifierKey {
    /// The text form: `name+hexid+base64(0x01 || public key)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        KeyText { name: self.name.clone(), signature_type: ED25519, public_key: self.key.as_bytes().to_vec() }
            .fmt(f)
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let text: KeyText = text.parse()?;
        Self::new(&text.name, text.ed25519(ED25519)?)
    }
}

/// One signature line, verified or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    id: [u8; 4],
    signature: Vec<u8>,
}

impl NoteSignature {
    /// A signature line of any type: the key's name and id, and the bytes its type calls for.
    ///
    /// # Errors
    /// [`NoteError::BadName`]; [`NoteError::BadSignatureLine`] if there are no bytes.
    pub fn new(name: &str, id: [u8; 4], signature: Vec<u8>) -> Result<Self, NoteError> {
        check_name(name)?;
        if signature.is_empty() {
            return Err(NoteError::BadSignatureLine(1));
        }
        Ok(Self { name: name.to_owned(), id, signature })
    }

    /// Signs a note's text with an Ed25519 key under a name.
    ///
    /// # Errors
    /// As [`VerifierKey::new`].
    pub fn sign(name: &str, key: &SigningKey, text: &str) -> Result<Self, NoteError> {
        let named = VerifierKey::new(name, key.verifying_key())?;
        Ok(named.sign_with(text, |bytes| key.sign(bytes).to_bytes()))
    }

    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// [`NoteError::BadSignatureLine`], with line number 1.
    pub fn parse_line(line: &str) -> Result<Self, NoteError> {
        parse_signature(line).ok_or(NoteError::BadSignatureLine(1))
    }

    /// The name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key.
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The signature itself, without the id.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

impl fmt::Display for NoteSignature {
    /// The line, without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.as_slice(), &self.signature].concat();
        write!(f, "{DASH}{} {}", self.name, BASE64.encode(&bytes))
    }
}

/// Reads base64 in its one way of writing. The decoder alone also takes several padded texts in a row, which
/// other implementations refuse.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok().filter(|bytes| BASE64.encode(bytes) == text)
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, text) = line.strip_prefix(DASH)?.split_once(' ')?;
    let bytes = from_base64(text)?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    NoteSignature::new(name, *id, signature.to_vec()).ok()
}

/// A text with signatures that are well-formed, and nothing more: see [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Puts text and signatures together.
    ///
    /// # Errors
    /// As [`Note::parse`], which is able to read back whatever this gives.
    pub fn new(text: &str, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        if !is_text(text) {
            return Err(NoteError::NotText);
        }
        if !text.ends_with('\n') || signatures.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let note = Self { text: text.to_owned(), signatures };
        let length = note.to_string().len();
        if length > MAX_NOTE_BYTES { Err(NoteError::TooLong(length)) } else { Ok(note) }
    }

    /// Reads a note. Verifies nothing.
    ///
    /// What is read prints ([`fmt::Display`]) as exactly the same bytes.
    ///
    /// # Errors
    /// A [`NoteError`] if the bytes are not a well-formed note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let note = core::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        if !is_text(note) {
            return Err(NoteError::NotText);
        }
        // The last blank line divides; the first of its two newlines belongs to the text.
        let lines = note.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let (text, lines) = lines.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        let mut signatures = Vec::new();
        for (number, line) in (1_usize..).zip(lines.split('\n')) {
            if number > MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(parse_signature(line).ok_or(NoteError::BadSignatureLine(number))?);
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The text, with its last newline. Not to be believed before [`Note::verify`].
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in order, verified or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line, unless the very same one is there already.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`] or [`NoteError::TooLong`]; the note is then unchanged.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        let mut signatures = self.signatures.clone();
        signatures.push(signature);
        *self = Self::new(&self.text, signatures)?;
        Ok(())
    }

    /// Verifies the signatures of the keys given, and gives those keys that signed, each once.
    ///
    /// # Errors
    /// [`NoteError::WrongSignature`] as soon as a line with name and id of a known key does not verify;
    /// [`NoteError::NoKnownKey`] if no known key signed.
    pub fn verify<'k>(&self, known: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut signed: Vec<&VerifierKey> = Vec::new();
        for signature in &self.signatures {
            // More than one known key may share name and id, by accident or by design: every one is tried.
            for key in known.iter().filter(|key| key.made(signature)) {
                key.verify(&self.text, signature)?;
                if !signed.contains(&key) {
                    signed.push(key);
                }
            }
        }
        if signed.is_empty() { Err(NoteError::NoKnownKey) } else { Ok(signed) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            writeln!(f, "{signature}")?;
        }
        Ok(())
    }
}

/// Whether there is no ASCII control character but newlines.
fn is_text(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' || byte == b'\n')
}
