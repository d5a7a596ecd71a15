//! Names by which the processing records of partners and broker lead to each other (Logboek Dataverwerkingen).
//!
//! Nothing is sent for it: both sides of a message derive the same names from its packet.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest as _, Sha256};

use crate::ids::{Digest, Oin};

/// Separates these hashes from all others.
const DOMAIN: &[u8] = b"seinhuis/operation/1";

/// The span id of what `actor` did with a packet towards `other`, for the data subject at this place in the body
/// (0 as well when it concerns none): the first 8 bytes of SHA-256(domain ‖ packet ‖ actor ‖ other ‖ place in 4 bytes).
/// A packet's digest cannot be guessed from a person, so neither can this.
pub fn span_id(packet: &Digest, actor: Oin, other: Oin, place: u32) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    hash.update(packet.0);
    hash.update(actor.as_str());
    hash.update(other.as_str());
    hash.update(place.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// The span id of what the broker did in a log entry, by its leaf's hash: leaves hold a random salt, so these bytes are as
/// good as drawn.
pub fn entry_span(leaf: &Digest) -> [u8; 8] {
    leaf.0.first_chunk().copied().unwrap_or_default()
}

/// The trace id of an entry that belongs to no message whose trace is known.
pub fn entry_trace(leaf: &Digest) -> [u8; 16] {
    leaf.0.last_chunk().copied().unwrap_or_default()
}

/// An organisation as a URI (the form of the NL GOV profile for `CloudEvents`), where no page of it is known.
pub fn organisation(oin: Oin) -> String {
    format!("urn:nld:oin:{oin}")
}

/// A flow of a covenant version as a processing activity (RFC 6920), where no register names one.
pub fn activity(covenant: Option<&Digest>, flow: Option<&str>) -> String {
    let Some(covenant) = covenant else { return "about:unknown".to_owned() };
    let hash = BASE64URL_NOPAD.encode(&covenant.0);
    // A flow's name comes from a context that anybody may have signed: only what a URI may hold is taken over.
    let flow: String = flow.unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("ni:///sha-256;{hash}?flow={flow}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_recipient_and_subject_has_a_name_of_its_own() {
        let [a, b, c] = ["00000099000000001000", "00000099000000002000", "00000099000000003000"]
            .map(|oin| oin.parse::<Oin>().unwrap());
        let (one, two) = (Digest([1; 32]), Digest([2; 32]));
        let names = [
            span_id(&one, a, b, 0),
            span_id(&one, b, a, 0),
            span_id(&one, a, c, 0),
            span_id(&one, a, b, 1),
            span_id(&two, a, b, 0),
        ];
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len());
        assert_eq!(span_id(&one, a, b, 0), names[0]);
    }

    #[test]
    fn names_are_uris_whatever_a_context_says() {
        let covenant = Digest([0; 32]);
        assert_eq!(
            activity(Some(&covenant), Some("F02 \"<&#")),
            "ni:///sha-256;AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA?flow=F02"
        );
    }
}
