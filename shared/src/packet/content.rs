//! The sealed content: salt, media type, body and padding, and the commitment to them.

use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::padding::padding_for;
use crate::cbor::{self, Bytes};
use crate::ids::Digest;
use crate::limits::{BODY_MAX, MEDIA_TYPE_MAX};
use crate::onward::Provenance;
use crate::refusal::Refusal;
use crate::signing::sha256;

/// What a sender puts into a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Plain<'a> {
    /// The body's media type (RFC 6838).
    pub media_type: &'a str,
    /// Where the body comes from.
    pub provenance: &'a Provenance,
    /// The body.
    pub body: &'a [u8],
}

impl core::fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Plain({}, {} bytes)", self.media_type, self.body.len())
    }
}

/// What a recipient finds when it opens a packet: `[salt, media_type, provenance, body, pad]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Content {
    /// 32 random bytes that keep the commitment from being guessed.
    pub salt: Digest,
    /// The body's media type (RFC 6838).
    pub media_type: String,
    /// Where the body comes from.
    pub provenance: Provenance,
    /// The sender's plaintext.
    pub body: Bytes,
    /// Zeros up to a Padmé length.
    pad: Bytes,
}

impl Content {
    /// Pads a body.
    pub fn new(salt: [u8; 32], plain: Plain<'_>) -> Self {
        let mut content = Self {
            salt: Digest(salt),
            media_type: plain.media_type.to_owned(),
            provenance: plain.provenance.clone(),
            body: Bytes::from(plain.body),
            pad: Bytes::default(),
        };
        content.pad = Bytes(vec![0; padding_for(content.bare_length())]);
        content
    }

    /// Length of the encoding without the padding and its header.
    fn bare_length(&self) -> usize {
        cbor::encode(&(&self.salt, &self.media_type, &self.provenance, &self.body)).len()
    }

    /// The encoded content, whose length is a Padmé length.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads decrypted content and checks the padding.
    ///
    /// # Errors
    /// [`Refusal::CannotOpen`]: whoever sealed this did not follow the format.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let content: Self = cbor::strict(bytes, bytes.len()).map_err(|_| Refusal::CannotOpen)?;
        let padded = content.pad.len() == padding_for(content.bare_length());
        let zeros = content.pad.iter().all(|byte| *byte == 0);
        let sized = content.body.len() <= BODY_MAX && content.media_type.len() <= MEDIA_TYPE_MAX;
        let sized = sized && content.provenance.is_sound();
        if padded && zeros && sized { Ok(content) } else { Err(Refusal::CannotOpen) }
    }

    /// The commitment the sender signs: SHA-256 of `["seinhuis/commit/1", salt, media_type, provenance, body]`.
    pub fn commitment(&self) -> Digest {
        let Self { salt, media_type, provenance, body, .. } = self;
        sha256(&cbor::encode(&("seinhuis/commit/1", salt, media_type, provenance, body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::covenant::Handling;

    fn content(salt: u8, media_type: &str, body: &[u8]) -> Content {
        let provenance = Provenance::own("00000099000000001000".parse().unwrap(), Handling::Partners);
        Content::new([salt; 32], Plain { media_type, provenance: &provenance, body })
    }

    #[test]
    fn content_survives_and_hides_its_length() {
        let short = content(1, "application/json", b"{}");
        let longer = content(1, "application/json", &[b'x'; 130]);
        assert_eq!(short.to_bytes().len(), longer.to_bytes().len());
        assert_eq!(Content::parse(&short.to_bytes()), Ok(short));
    }

    #[test]
    fn other_padding_is_refused() {
        let good = content(1, "application/json", b"{}");
        let mut dirty = good.clone();
        dirty.pad.0[3] = 1;
        let mut long = good.clone();
        long.pad.0.push(0);
        let mut none = good;
        none.pad.0.clear();
        for (name, content) in [("dirty", dirty), ("long", long), ("none", none)] {
            assert_eq!(Content::parse(&content.to_bytes()), Err(Refusal::CannotOpen), "{name}");
        }
    }

    #[test]
    fn the_commitment_binds_every_part() {
        let base = content(1, "application/json", b"{}").commitment();
        for other in [
            content(2, "application/json", b"{}"),
            content(1, "application/jsom", b"{}"),
            content(1, "application/json", b"[]"),
            {
                let mut other = content(1, "application/json", b"{}");
                other.provenance.handling = Handling::Consent;
                other
            },
            {
                let mut other = content(1, "application/json", b"{}");
                other.provenance.source = Some(Digest([1; 32]));
                other
            },
        ] {
            assert_ne!(other.commitment(), base);
        }
    }
}
