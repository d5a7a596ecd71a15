//! Identifiers: fixed-size byte strings on the wire, hexadecimal (or UUID) text for people.

use core::fmt;
use core::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::time::Timestamp;

/// Why a text is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct IdError {
    /// The text as given, cut to 64 characters.
    pub text: String,
    /// What was expected, as a noun phrase.
    pub what: &'static str,
}

impl IdError {
    fn new(text: &str, what: &'static str) -> Self {
        Self { text: text.chars().take(64).collect(), what }
    }
}

struct FixedBytes<const N: usize>;

impl<const N: usize> de::Visitor<'_> for FixedBytes<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a byte string of {N} bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

/// Lower-case hexadecimal of exactly `N` bytes.
pub(crate) fn read_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if HEXLOWER.decode_len(text.len()) != Ok(N) {
        return None;
    }
    HEXLOWER.decode_mut(text, &mut bytes).ok()?;
    Some(bytes)
}

/// A UUID in lower case, with its hyphens where they belong (RFC 9562 §4).
fn read_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut hex = [0; 32];
    let mut digits = hex.iter_mut();
    for (place, byte) in text.iter().enumerate() {
        match place {
            8 | 13 | 18 | 23 if *byte == b'-' => {}
            8 | 13 | 18 | 23 => return None,
            _ => *digits.next()? = *byte,
        }
    }
    if digits.next().is_some() { None } else { read_hex(&hex) }
}

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $size:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $size]);

        impl $name {
            /// The identifier as bytes.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }

            /// Takes a slice of exactly the right length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_bytes(FixedBytes::<$size>).map(Self)
            }
        }
    };
}

macro_rules! hex_text {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", HEXLOWER.encode_display(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                read_hex(text.as_bytes()).map(Self).ok_or_else(|| IdError::new(text, $what))
            }
        }
    };
}

macro_rules! uuid_text {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut hex = [0; 32];
                HEXLOWER.encode_mut(&self.0, &mut hex);
                let hex = core::str::from_utf8(&hex).unwrap_or_default();
                let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
                write!(f, "{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                read_uuid(text.as_bytes()).map(Self).ok_or_else(|| IdError::new(text, $what))
            }
        }
    };
}

fixed_bytes!(
    /// A message's identifier: a UUID (RFC 9562) of the sending agent's making; the idempotency key.
    MsgId, 16, "a message id"
);
uuid_text!(MsgId, "a message id (UUID, lower case)");

impl MsgId {
    /// A UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, then version, variant and 74 random bits.
    pub fn v7(now: Timestamp, random: [u8; 10]) -> Self {
        let mut id = [0; 16];
        let bytes = now.0.to_be_bytes().into_iter().skip(2).chain(random);
        for (to, from) in id.iter_mut().zip(bytes) {
            *to = from;
        }
        Self::versioned(id, 7)
    }

    /// A UUID of version 8 (RFC 9562 §5.8) from the first bytes of a digest, which has to be keyed where what it is of
    /// could be guessed.
    pub fn v8(digest: &Digest) -> Self {
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(digest.0) {
            *to = from;
        }
        Self::versioned(id, 8)
    }

    fn versioned(mut id: [u8; 16], number: u8) -> Self {
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut id;
        *version = (number << 4) | (*version & 0x0f);
        *variant = 0x80 | (*variant & 0x3f);
        Self(id)
    }
}

fixed_bytes!(
    /// The random pseudonym of a case. Never a name, never derived from one.
    CaseId, 16, "a case pseudonym"
);
uuid_text!(CaseId, "a case pseudonym (UUID, lower case)");

fixed_bytes!(
    /// A W3C trace id (Trace Context §3.2.2.3).
    TraceId, 16, "a trace id"
);
hex_text!(TraceId, "a trace id (32 hexadecimal digits, lower case)");

fixed_bytes!(
    /// A SHA-256 digest.
    Digest, 32, "a SHA-256 digest"
);
hex_text!(Digest, "a SHA-256 digest (64 hexadecimal digits, lower case)");

impl Digest {
    /// Whether two are the same, in a time that tells nothing about where they differ: for digests of secrets.
    pub fn is_same_secret(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |sum, (one, two)| sum | (one ^ two)) == 0
    }
}

fixed_bytes!(
    /// A signing key's identifier: the COSE key thumbprint with SHA-256 (RFC 9679).
    Thumbprint, 32, "a key thumbprint"
);
hex_text!(Thumbprint, "a key thumbprint (64 hexadecimal digits, lower case)");

fixed_bytes!(
    /// A prekey's identifier: the first 8 bytes of the SHA-256 of its public key.
    PrekeyId, 8, "a prekey id"
);
hex_text!(PrekeyId, "a prekey id (16 hexadecimal digits, lower case)");

/// An *Organisatie-identificatienummer*: 20 characters, digits or upper-case letters; leading zeros count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oin([u8; 20]);

impl Oin {
    /// The OIN as text.
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in, so this never falls back.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Oin {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError::new(text, "an OIN (20 characters, digits or upper-case letters)");
        let bytes: [u8; 20] = text.as_bytes().try_into().map_err(|_| error())?;
        bytes
            .iter()
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
            .then_some(Self(bytes))
            .ok_or_else(error)
    }
}

impl fmt::Display for Oin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Oin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oin({})", self.as_str())
    }
}

impl Serialize for Oin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Oin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oin_keeps_its_leading_zeros_and_refuses_the_rest() {
        let oin: Oin = "00000001003214345000".parse().unwrap();
        assert_eq!(oin.to_string(), "00000001003214345000");
        for text in [
            "",
            "1",
            "0000000100321434500",
            "000000010032143450000",
            "0000000100321434500a",
            "0000000100321434500 ",
        ] {
            assert!(text.parse::<Oin>().is_err(), "{text}");
        }
    }

    #[test]
    fn digests_of_secrets_are_the_same_in_every_byte_or_not_at_all() {
        let one = Digest([7; 32]);
        assert!(one.is_same_secret(&Digest([7; 32])));
        for at in 0..32 {
            let mut other = one;
            other.0[at] ^= 1;
            assert!(!one.is_same_secret(&other), "byte {at}");
        }
    }

    #[test]
    fn made_message_ids_say_their_version() {
        let id = MsgId::v7(Timestamp(0x0102_0304_0506), [0xff; 10]);
        assert_eq!(id.to_string(), "01020304-0506-7fff-bfff-ffffffffffff");
        let id = MsgId::v8(&Digest([0; 32]));
        assert_eq!(id.to_string(), "00000000-0000-8000-8000-000000000000");
        assert_ne!(MsgId::v8(&Digest([1; 32])), id);
    }

    #[test]
    fn a_message_id_reads_only_as_it_prints() {
        let id = MsgId([0x01, 0x9a, 0, 1, 0x70, 2, 0x80, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(id.to_string(), "019a0001-7002-8003-0405-060708090a0b");
        assert_eq!(id.to_string().parse::<MsgId>().unwrap(), id);
        for text in [
            "019a0001700280030405060708090a0b",
            "019A0001-7002-8003-0405-060708090a0b",
            "019a0001-7002-8003-0405",
            "",
        ] {
            assert!(text.parse::<MsgId>().is_err(), "{text}");
        }
    }
}
