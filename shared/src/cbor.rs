//! Strict CBOR: exactly one encoding for every value (RFC 8949 §4.2.1), and no other accepted.
//!
//! Own structures are fixed arrays of integers, byte strings, text and null. The general decoder is
//! lenient (trailing bytes, longer integer forms, indefinite lengths, duplicate keys), so strictness
//! comes from the round trip: what does not re-encode to the very same bytes is refused.

use core::fmt;
use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::refusal::Refusal;

/// Room for a value of the usual length.
const USUAL_LENGTH: usize = 512;
/// How deep arrays may nest before decoding stops.
pub const RECURSION: usize = 16;

/// Why bytes are not the strict CBOR they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// Longer than the caller allows.
    #[error("{length} bytes where at most {limit} are allowed")]
    TooLarge {
        /// The length as given.
        length: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// Cut off, or not CBOR of the expected shape.
    #[error("truncated, or not CBOR of the expected shape")]
    Malformed,
    /// Decodes, but is not the one canonical encoding, or bytes follow it.
    #[error("not the canonical encoding")]
    NotCanonical,
}

impl From<CborError> for Refusal {
    fn from(error: CborError) -> Self {
        match error {
            CborError::TooLarge { .. } => Self::TooLarge,
            CborError::Malformed => Self::Malformed,
            CborError::NotCanonical => Self::NotCanonical,
        }
    }
}

/// Decodes exactly one canonical value that fills `bytes`, at most `limit` of them.
///
/// # Errors
/// [`CborError`], by what is wrong first: length, shape, canonical form.
pub fn strict<T: DeserializeOwned + Serialize>(bytes: &[u8], limit: usize) -> Result<T, CborError> {
    if bytes.len() > limit {
        return Err(CborError::TooLarge { length: bytes.len(), limit });
    }
    let mut rest = bytes;
    let value: T = ciborium::de::from_reader_with_recursion_limit(&mut rest, RECURSION)
        .map_err(|_| CborError::Malformed)?;
    let mut same = Same(bytes);
    if !rest.is_empty() || ciborium::into_writer(&value, &mut same).is_err() || !same.0.is_empty() {
        return Err(CborError::NotCanonical);
    }
    Ok(value)
}

/// Takes an encoding as long as it is the expected one; holds what is still to come of it.
struct Same<'a>(&'a [u8]);

impl io::Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Encodes a value canonically. Own types are fixed arrays, for which the encoder's output is canonical.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(USUAL_LENGTH);
    // Writing to a vector cannot fail, and no own type has a serialisation error.
    if ciborium::into_writer(value, &mut out).is_err() {
        out.clear();
    }
    out
}

/// A byte string of any length.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    /// Only the length: what is inside may be somebody's secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.0.len())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl core::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

struct BytesVisitor;

impl de::Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a byte string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes(bytes))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Byte buffers, not borrowed bytes: those fail above 4 KiB.
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pair = (u64, Bytes);

    fn check(bytes: &[u8]) -> Result<Pair, CborError> {
        strict(bytes, 100)
    }

    #[test]
    fn one_encoding_is_accepted() {
        let value: Pair = (500, Bytes(vec![1, 2, 3]));
        assert_eq!(check(&encode(&value)), Ok(value));
    }

    #[test]
    fn each_leniency_of_the_decoder_is_closed() {
        use CborError::{Malformed, NotCanonical};
        for (name, bytes, error) in [
            ("empty", &[][..], Malformed),
            ("truncated", &[0x82, 0x01], Malformed),
            ("wrong type", &[0x82, 0x41, 0x01, 0x40], Malformed),
            ("trailing byte", &[0x82, 0x01, 0x40, 0x00], NotCanonical),
            ("longer integer", &[0x82, 0x18, 0x01, 0x40], NotCanonical),
            ("indefinite array", &[0x9f, 0x01, 0x40, 0xff], NotCanonical),
            ("indefinite bytes", &[0x82, 0x01, 0x5f, 0x41, 0x00, 0xff], NotCanonical),
            ("tagged", &[0x82, 0xc9, 0x01, 0x40], NotCanonical),
            ("bignum", &[0x82, 0xc2, 0x41, 0x01, 0x40], NotCanonical),
            ("bomb", &[0x82, 0x01, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Malformed),
        ] {
            let got = check(bytes).unwrap_err();
            assert!(got == error || (name == "tagged" && got == Malformed), "{name}: {got:?}");
        }
        assert_eq!(strict::<Pair>(&[0; 5], 4), Err(CborError::TooLarge { length: 5, limit: 4 }));
    }

    #[test]
    fn byte_strings_over_four_kib_pass() {
        let value: Pair = (0, Bytes(vec![7; 5000]));
        assert_eq!(strict::<Pair>(&encode(&value), 6000), Ok(value));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_an_error_or_themselves(bytes: Vec<u8>) {
            if let Ok(value) = check(&bytes) {
                proptest::prop_assert_eq!(encode(&value), bytes);
            }
        }
    }
}
