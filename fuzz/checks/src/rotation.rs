//! Rotations of signing keys.

use seinhuis_shared::cose::{Purpose, Sign1};
use seinhuis_shared::limits::{ROTATION_MAX, ROTATIONS_MAX};
use seinhuis_shared::rotation::{Keys, Rotation, Taken};
use seinhuis_shared::signing::{SigningKey, sha256};

use crate::known;

/// The key that takes the place of the known one.
pub fn next() -> SigningKey {
    SigningKey::from_seed(&[0x31; 32])
}

/// A rotation: as signed by both keys, and as a statement that the two known keys sign.
pub fn rotation(data: &[u8]) -> bool {
    let (old, new) = (known::signer(), next());
    let signed = Sign1::sign(&old, Purpose::Rotation, &Sign1::sign(&new, Purpose::NewKey, data));
    let mut accepted = false;
    for bytes in [data, &signed] {
        let Ok(verified) = Rotation::verify(bytes) else { continue };
        let rotation = verified.rotation();
        assert!(bytes.len() <= ROTATION_MAX, "a rotation over its bound");
        assert!(
            (1..=ROTATIONS_MAX).contains(&usize::try_from(rotation.seq).unwrap_or(0)),
            "no place in a line"
        );
        assert_eq!(rotation.previous.is_none(), rotation.seq == 1, "a first that follows, or the reverse");
        assert_ne!(rotation.old, rotation.new, "one key twice");
        assert_eq!(verified.digest(), sha256(bytes), "another name");
        let both = [&old, &new].map(SigningKey::public);
        if both == [rotation.old, rotation.new] {
            assert_eq!(rotation.sign(&old, &new), bytes, "a rotation re-encodes otherwise");
        }
        let mut keys = Keys::default();
        let taken = keys.take(&verified, bytes, rotation.issued);
        assert_eq!(taken.is_ok(), rotation.seq == 1, "a line begins with 1");
        if taken == Ok(Taken::Now) {
            assert_eq!(keys.newest(rotation.old), rotation.new, "another key counts");
            assert_eq!(keys.given_up(rotation.old.thumbprint()), Some(rotation.issued));
            assert_eq!(keys.take(&verified, bytes, rotation.issued), Ok(Taken::Same), "not the same again");
        }
        accepted = true;
    }
    accepted
}
