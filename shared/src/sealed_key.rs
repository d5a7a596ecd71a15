//! The form of a private key file that is sealed with a passphrase: PEM (RFC 7468) around deterministic CBOR.
//!
//! Reading one costs nothing: what it asks of memory and time to open is bounded here, before anything is derived, so
//! that a file of somebody else cannot ask for more. The rest (Argon2id, RFC 9106; AES-256-GCM) is the shell's.

use data_encoding::BASE64;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use zeroize::Zeroizing;

use crate::cbor::{self, Bytes};
use crate::refusal::Refusal;

/// Most bytes of a sealed key file.
pub const FILE_MAX: usize = 8192;
/// Bytes of the salt.
pub const SALT: usize = 16;
/// Bytes of the nonce.
pub const NONCE: usize = 12;
/// What the encryption is bound to besides the header, so that nothing else is taken for a sealed key.
pub const DOMAIN: &[u8] = b"seinhuis sealed key v1";

const LABEL: &str = "SEINHUIS SEALED KEY";
const BEGIN: &str = "-----BEGIN SEINHUIS SEALED KEY-----\n";
const END: &str = "-----END SEINHUIS SEALED KEY-----\n";

/// Characters of a line of PEM.
const LINE: usize = 64;

/// PEM text (RFC 7468) of `der` under `label`. It never moves while it is written: it may be a private key, and what it
/// left behind nobody would wipe.
pub fn pem(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(BASE64.encode(der));
    let [begin, end] = ["BEGIN", "END"].map(|word| format!("-----{word} {label}-----\n"));
    let lines = body.len().div_ceil(LINE);
    let mut text = String::with_capacity([begin.len(), body.len(), lines, end.len()].iter().sum());
    text.push_str(&begin);
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&end);
    text
}

/// What deriving the key from the passphrase costs (RFC 9106 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// The second recommended option of RFC 9106 §4: 64 MiB, three passes, four lanes.
    pub const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

    /// Whether it is worth the name and can be borne: 19 to 256 MiB, 1 to 10 passes, 1 to 8 lanes.
    pub const fn is_bearable(self) -> bool {
        self.memory_kib >= 19 * 1024
            && self.memory_kib <= 256 * 1024
            && self.passes >= 1
            && self.passes <= 10
            && self.lanes >= 1
            && self.lanes <= 8
    }
}

/// A sealed key as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// What opening it costs.
    pub cost: Cost,
    /// The salt.
    pub salt: [u8; SALT],
    /// The nonce.
    pub nonce: [u8; NONCE],
    /// The key file, encrypted, with its tag.
    pub sealed: Vec<u8>,
}

#[derive(Serialize_tuple, Deserialize_tuple)]
struct Header {
    version: u8,
    cost: Cost,
    salt: Bytes,
    nonce: Bytes,
}

#[derive(Serialize_tuple, Deserialize_tuple)]
struct File {
    header: Header,
    sealed: Bytes,
}

impl SealedKey {
    /// Whether a file says that it is one.
    pub fn is(file: &[u8]) -> bool {
        file.starts_with(BEGIN.as_bytes())
    }

    /// Reads a file; there is one way to write each.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and its kin for a wrong form, [`Refusal::UnknownVersion`], [`Refusal::TooLarge`] for a
    /// cost outside its bounds.
    pub fn parse(file: &[u8]) -> Result<Self, Refusal> {
        if file.len() > FILE_MAX {
            return Err(Refusal::TooLarge);
        }
        let text = std::str::from_utf8(file).map_err(|_| Refusal::Malformed)?;
        let body =
            text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(Refusal::Malformed)?;
        let plain: String = body.lines().collect();
        let bytes = BASE64.decode(plain.as_bytes()).map_err(|_| Refusal::Malformed)?;
        let File { header, sealed } = cbor::strict(&bytes, FILE_MAX)?;
        if header.version != 1 {
            return Err(Refusal::UnknownVersion);
        }
        if !header.cost.is_bearable() {
            return Err(Refusal::TooLarge);
        }
        let salt = <[u8; SALT]>::try_from(&header.salt[..]).map_err(|_| Refusal::Malformed)?;
        let nonce = <[u8; NONCE]>::try_from(&header.nonce[..]).map_err(|_| Refusal::Malformed)?;
        let key = Self { cost: header.cost, salt, nonce, sealed: sealed.0 };
        if key.to_file() == file { Ok(key) } else { Err(Refusal::Malformed) }
    }

    fn header(&self) -> Header {
        Header {
            version: 1,
            cost: self.cost,
            salt: Bytes(self.salt.to_vec()),
            nonce: Bytes(self.nonce.to_vec()),
        }
    }

    /// What the encryption is bound to: [`DOMAIN`] and the header's bytes.
    pub fn bound_to(&self) -> Vec<u8> {
        [DOMAIN, &cbor::encode(&self.header())].concat()
    }

    /// The exact bytes of the file.
    pub fn to_file(&self) -> Vec<u8> {
        let bytes = cbor::encode(&File { header: self.header(), sealed: Bytes(self.sealed.clone()) });
        pem(LABEL, &bytes).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(cost: Cost) -> SealedKey {
        SealedKey { cost, salt: [1; SALT], nonce: [2; NONCE], sealed: vec![3; 135] }
    }

    #[test]
    fn a_file_comes_back_and_is_the_only_one_for_it() {
        let file = key(Cost::DEFAULT).to_file();
        assert!(SealedKey::is(&file));
        assert_eq!(SealedKey::parse(&file), Ok(key(Cost::DEFAULT)));
        let text = String::from_utf8(file.clone()).unwrap();
        for other in [
            text.replace('\n', "\r\n"),
            text.trim_end().to_owned(),
            format!("{text}\n"),
            text.replacen('\n', "\n\n", 1),
        ] {
            assert!(SealedKey::parse(other.as_bytes()).is_err(), "{other:?}");
        }
        for end in 0..file.len() {
            assert!(SealedKey::parse(&file[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_text_is_written_in_its_place_at_once() {
        for length in [0, 1, 48, 49, 5000] {
            let text = pem("PRIVATE KEY", &vec![7; length]);
            assert_eq!(text.capacity(), text.len(), "{length}");
        }
    }

    #[test]
    fn a_file_cannot_ask_for_more_than_can_be_borne_nor_for_next_to_nothing() {
        let Cost { memory_kib, passes, lanes } = Cost::DEFAULT;
        for cost in [
            Cost { memory_kib: 256 * 1024 + 1, passes, lanes },
            Cost { memory_kib: u32::MAX, passes, lanes },
            Cost { memory_kib: 1024, passes, lanes },
            Cost { memory_kib, passes: 11, lanes },
            Cost { memory_kib, passes: 0, lanes },
            Cost { memory_kib, passes, lanes: 0 },
            Cost { memory_kib, passes, lanes: 9 },
        ] {
            assert_eq!(SealedKey::parse(&key(cost).to_file()), Err(Refusal::TooLarge), "{cost:?}");
        }
        let large = SealedKey { sealed: vec![0; FILE_MAX], ..key(Cost::DEFAULT) };
        assert_eq!(SealedKey::parse(&large.to_file()), Err(Refusal::TooLarge));
    }
}
