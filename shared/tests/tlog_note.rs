//! Signed notes and checkpoints: the published example, and everything that must not pass.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::checkpoint::{Checkpoint, CheckpointError};
use seinhuis_shared::tlog::hash::{empty_root, leaf_hash};
use seinhuis_shared::tlog::note::{
    KeyText, MAX_NOTE_BYTES, Note, NoteError, NoteSignature, VerifierKey, check_name, key_id,
};
use sha2::{Digest as _, Sha512};

/// The example that implementations of signed notes share: a verifier key and a note signed with it.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETERS_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\
    \n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

const ORIGIN: &str = "broker.example/uitwisseling/2026";

fn signer(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn verifier(name: &str, seed: u8) -> VerifierKey {
    VerifierKey::new(name, signer(seed).verifying_key()).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint::new(ORIGIN, 20_852_163, leaf_hash(b"root")).unwrap()
}

/// A note around any text, signed under [`ORIGIN`].
fn signed(text: &str) -> Vec<u8> {
    let signature = NoteSignature::sign(ORIGIN, &signer(1), text).unwrap();
    Note::new(text, vec![signature]).unwrap().to_string().into_bytes()
}

#[test]
fn the_shared_example_verifies() {
    let key: VerifierKey = PETER.parse().unwrap();
    assert_eq!(key.to_string(), PETER);
    assert_eq!((key.name(), key.id()), ("PeterNeumann", [0xc7, 0x4f, 0x20, 0xa3]));
    assert_eq!(key_id("PeterNeumann", 1, key.key().as_bytes()), key.id());
    let note = Note::parse(PETERS_NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify(std::slice::from_ref(&key)), Ok(vec![&key]));
    assert!(note.text().ends_with("problem is.\n"));
    assert_eq!(note.to_string(), PETERS_NOTE);
}

#[test]
fn every_bit_of_a_signed_note_counts() {
    let key: VerifierKey = PETER.parse().unwrap();
    for place in 0..PETERS_NOTE.len() {
        for bit in 0..8 {
            let mut bytes = PETERS_NOTE.as_bytes().to_vec();
            bytes[place] ^= 1 << bit;
            let verified =
                Note::parse(&bytes).and_then(|note| note.verify(std::slice::from_ref(&key)).map(|_| ()));
            assert!(verified.is_err(), "byte {place}, bit {bit}");
        }
    }
}

#[test]
fn every_bit_of_a_verifier_key_counts() {
    for place in 0..PETER.len() {
        for bit in 0..8 {
            let mut bytes = PETER.as_bytes().to_vec();
            bytes[place] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(text.parse::<VerifierKey>().is_err(), "{text}");
            }
        }
        assert!(PETER[..place].parse::<VerifierKey>().is_err());
        assert!(place == 0 || PETER[place..].parse::<VerifierKey>().is_err());
    }
}

#[test]
fn keys_that_prove_nothing_are_refused() {
    let text = |bytes: &[u8]| KeyText::new("log.example", 1, bytes).unwrap();
    // The neutral element, a point of order two, and the neutral element with y = p + 1.
    let mut one = [0_u8; 32];
    one[0] = 1;
    let mut minus_one = [0xff_u8; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    let mut p_plus_one = [0xff_u8; 32];
    (p_plus_one[0], p_plus_one[31]) = (0xee, 0x7f);
    for bytes in [one, minus_one, p_plus_one] {
        assert_eq!(text(&bytes).ed25519(1), Err(NoteError::WeakKey), "{bytes:?}");
    }
    // y = p + 3 is y = 3 in another writing: not weak, but not the one right way.
    let mut p_plus_three = [0xff_u8; 32];
    (p_plus_three[0], p_plus_three[31]) = (0xf0, 0x7f);
    assert!(ed25519_dalek::VerifyingKey::from_bytes(&p_plus_three).is_ok_and(|key| !key.is_weak()));
    assert_eq!(text(&p_plus_three).ed25519(1), Err(NoteError::WeakKey));
    assert_eq!(text(&[1; 31]).ed25519(1), Err(NoteError::BadKey));
    let cosigner = KeyText::new("log.example", 4, signer(1).verifying_key().as_bytes()).unwrap();
    assert_eq!(cosigner.to_string().parse(), Ok(cosigner.clone()));
    assert_eq!(
        cosigner.to_string().parse::<VerifierKey>(),
        Err(NoteError::OtherKeyType { wanted: 1, found: 4 })
    );
    assert_eq!(KeyText::new("log.example", 1, &[]), Err(NoteError::BadKey));
    assert_eq!(KeyText::new("log.example", 1, &[0; 4000]), Err(NoteError::BadKey));
}

#[test]
fn names_have_no_spaces_plus_signs_or_control_characters() {
    for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\u{2003}b", "a\u{85}", "\u{7f}", &"n".repeat(256)] {
        assert!(check_name(name).is_err(), "{name:?}");
        assert!(VerifierKey::new(name, signer(1).verifying_key()).is_err());
        assert!(NoteSignature::new(name, [0; 4], vec![1]).is_err());
        assert!(KeyText::new(name, 1, &[1; 32]).is_err());
    }
    assert_eq!(check_name(ORIGIN), Ok(()));
    assert_eq!(check_name(&"n".repeat(255)), Ok(()));
}

#[test]
fn unknown_signatures_are_passed_over_and_wrong_ones_of_known_keys_are_not() {
    let (alice, bob) = (verifier("alice.example", 1), verifier("bob.example", 2));
    let text = "text\n";
    let from = |name: &str, seed: u8| NoteSignature::sign(name, &signer(seed), text).unwrap();
    let mut note = Note::new(text, vec![from("alice.example", 1), from("bob.example", 2)]).unwrap();
    // Shares name or id with a known key, but not both.
    note.add(NoteSignature::new("alice.example", [1, 2, 3, 4], vec![9; 64]).unwrap()).unwrap();
    note.add(NoteSignature::new("eve.example", alice.id(), vec![9; 70]).unwrap()).unwrap();
    assert_eq!(note.verify(&[bob.clone(), alice.clone()]), Ok(vec![&alice, &bob]));
    assert_eq!(note.verify(std::slice::from_ref(&bob)), Ok(vec![&bob]));
    assert_eq!(note.verify(&[verifier("carol.example", 3)]), Err(NoteError::NoKnownKey));
    assert_eq!(note.verify(&[]), Err(NoteError::NoKnownKey));
    // Added twice, counted once.
    let lines = note.signatures().len();
    note.add(from("alice.example", 1)).unwrap();
    assert_eq!(note.signatures().len(), lines);
    // Under a known name and id, a signature is right or the note is refused, wherever the line stands.
    for length in [1, 63, 64, 65] {
        let mut bad = note.clone();
        bad.add(NoteSignature::new("bob.example", bob.id(), vec![9; length]).unwrap()).unwrap();
        assert_eq!(
            bad.verify(&[alice.clone(), bob.clone()]),
            Err(NoteError::WrongSignature("bob.example".to_owned()))
        );
        assert_eq!(bad.verify(std::slice::from_ref(&alice)), Ok(vec![&alice]));
    }
    // A signature over another text.
    let moved = Note::new("other\n", vec![from("alice.example", 1)]).unwrap();
    assert!(moved.verify(std::slice::from_ref(&alice)).is_err());
}

/// A note with a signature made from these 64 bytes, under a known key.
fn with_signature(text: &str, key: &VerifierKey, bytes: &[u8]) -> Note {
    Note::new(text, vec![NoteSignature::new(key.name(), key.id(), bytes.to_vec()).unwrap()]).unwrap()
}

#[test]
fn a_second_writing_of_a_right_signature_is_refused() {
    let (text, key) = ("text\n", verifier("a.example", 1));
    let mut bytes = signer(1).sign(text.as_bytes()).to_bytes();
    assert!(with_signature(text, &key, &bytes).verify(std::slice::from_ref(&key)).is_ok());
    // Adding the order of the group to the scalar leaves the equation true.
    let order = HEXLOWER.decode(b"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut carry = 0_u16;
    for (byte, add) in bytes[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        let [high, low] = carry.to_be_bytes();
        (*byte, carry) = (low, u16::from(high));
    }
    assert!(with_signature(text, &key, &bytes).verify(&[key]).is_err());
}

#[test]
fn a_signature_with_a_point_of_small_order_is_refused() {
    // The neutral element as R, and k·a as scalar: the equation holds, and only strict verification objects.
    let (text, key, secret) = ("text\n", verifier("a.example", 1), signer(1).to_scalar());
    let mut point = [0_u8; 32];
    point[0] = 1;
    let k = Sha512::new_with_prefix(point).chain_update(key.key().as_bytes()).chain_update(text).finalize();
    let mut scalar = secret - secret;
    for byte in k.iter().rev() {
        for bit in (0..8).rev() {
            scalar += scalar;
            if byte >> bit & 1 == 1 {
                scalar += secret;
            }
        }
    }
    let bytes = [point, scalar.to_bytes()].concat();
    let lax = ed25519_dalek::Signature::from_slice(&bytes).unwrap();
    assert!(ed25519_dalek::Verifier::verify(key.key(), text.as_bytes(), &lax).is_ok());
    assert!(with_signature(text, &key, &bytes).verify(&[key]).is_err());
}

#[test]
fn malformed_notes_are_refused() {
    let line = "— a.example AAAAAAE=\n";
    assert!(Note::parse(format!("text\n\n{line}").as_bytes()).is_ok());
    // The last blank line divides.
    let note = Note::parse(format!("one\n\ntwo\n\n\n{line}").as_bytes()).unwrap();
    assert_eq!(note.text(), "one\n\ntwo\n\n");
    for bad in [
        String::new(),
        "\n".to_owned(),
        "\n\n".to_owned(),
        "text\n".to_owned(),
        "text\n\n".to_owned(),
        line.to_owned(),
        format!("\n{line}"),
        format!("text\n{line}"),
        format!("text\n\n{line}\n"),
        format!("text\n\n{line}{line}x"),
        format!("text\n\n{}", line.trim_end()),
        format!("text\r\n\r\n{line}"),
        format!("te\u{1}xt\n\n{line}"),
        format!("te\0xt\n\n{line}"),
        format!("text\n\n{line}junk\n"),
        "text\n\n- a.example AAAAAAE=\n".to_owned(),
        "text\n\n—a.example AAAAAAE=\n".to_owned(),
        "text\n\n—  AAAAAAE=\n".to_owned(),
        "text\n\n— a.example\n".to_owned(),
        "text\n\n— a.example \n".to_owned(),
        "text\n\n— a.example AAAAAA==\n".to_owned(),
        "text\n\n— a.example AAAAAAE\n".to_owned(),
        "text\n\n— a.example AAAAAAF=\n".to_owned(),
        "text\n\n— a.example AAAAAAE= \n".to_owned(),
        "text\n\n— a.example x AAAAAAE=\n".to_owned(),
        "text\n\n— a+example AAAAAAE=\n".to_owned(),
        "text\n\n— a\u{a0}example AAAAAAE=\n".to_owned(),
        format!("text\n\n{}", line.repeat(65)),
    ] {
        assert!(Note::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert!(Note::parse(format!("text\n\n{}", line.repeat(64)).as_bytes()).is_ok());
    assert_eq!(Note::parse(b"te\xfft\n\n\xe2\x80\x94 a AAAAAAE=\n"), Err(NoteError::NotText));
    let long = format!("{}\n\n{line}", "t".repeat(MAX_NOTE_BYTES));
    assert_eq!(Note::parse(long.as_bytes()), Err(NoteError::TooLong(long.len())));
    // What cannot be read back cannot be made.
    let signature = NoteSignature::parse_line(line.trim_end()).unwrap();
    for text in ["", "text", "te\rxt\n"] {
        assert!(Note::new(text, vec![signature.clone()]).is_err(), "{text:?}");
    }
    assert_eq!(Note::new("text\n", vec![]), Err(NoteError::NoSignatures));
    assert_eq!(Note::new("text\n", vec![signature.clone(); 65]), Err(NoteError::TooManySignatures));
    assert!(Note::new(&format!("{}\n", "t".repeat(MAX_NOTE_BYTES)), vec![signature]).is_err());
}

#[test]
fn a_checkpoint_goes_round() {
    let key = verifier(ORIGIN, 1);
    let note = checkpoint().sign(&signer(1)).unwrap();
    let bytes = note.to_string().into_bytes();
    assert_eq!(Checkpoint::verify(&bytes, ORIGIN, &key), Ok(checkpoint()));
    assert_eq!(note.signatures()[0].name(), ORIGIN);
    assert_eq!(
        note.text(),
        format!("{ORIGIN}\n20852163\n{}\n", BASE64.encode(leaf_hash(b"root").as_bytes()))
    );
    // A key kept elsewhere, under a name of its own.
    let other = verifier("hsm.example/1", 2);
    let note = checkpoint().sign_with(&other, |text| signer(2).sign(text).to_bytes()).unwrap();
    assert_eq!(Checkpoint::verify_note(&note, ORIGIN, &other), Ok(checkpoint()));
    let empty = Checkpoint::new(ORIGIN, 0, empty_root()).unwrap();
    assert_eq!(Checkpoint::verify(&signed(&empty.to_string()), ORIGIN, &key), Ok(empty));
}

#[test]
fn a_checkpoint_of_another_log_or_key_is_refused() {
    let bytes = checkpoint().sign(&signer(1)).unwrap().to_string().into_bytes();
    let key = verifier(ORIGIN, 1);
    assert!(matches!(
        Checkpoint::verify(&bytes, "broker.example/uitwisseling/2025", &key),
        Err(CheckpointError::OtherLog { .. })
    ));
    assert_eq!(Checkpoint::verify(&bytes, ORIGIN, &verifier(ORIGIN, 2)), Err(NoteError::NoKnownKey.into()));
    assert_eq!(
        Checkpoint::verify(&bytes, ORIGIN, &verifier("other.example", 1)),
        Err(NoteError::NoKnownKey.into())
    );
    // A right id with a wrong key: the line claims to be known and is not.
    let claimed = NoteSignature::new(ORIGIN, key.id(), signer(2).sign(b"x").to_vec()).unwrap();
    let forged = Note::new(&checkpoint().to_string(), vec![claimed]).unwrap();
    assert_eq!(
        Checkpoint::verify_note(&forged, ORIGIN, &key),
        Err(NoteError::WrongSignature(ORIGIN.to_owned()).into())
    );
}

#[test]
fn malformed_checkpoints_are_refused_even_when_signed() {
    let key = verifier(ORIGIN, 1);
    let root = BASE64.encode(&[7; 32]);
    let extended = format!("{ORIGIN}\n5\n{root}\nextension\nanother one\n");
    let read = Checkpoint::verify(&signed(&extended), ORIGIN, &key).unwrap();
    assert_eq!(read, Checkpoint::new(ORIGIN, 5, Digest([7; 32])).unwrap());
    assert_eq!(read.to_string(), format!("{ORIGIN}\n5\n{root}\n"));
    for (text, want) in [
        (format!("{ORIGIN}\n5\n"), CheckpointError::BadLines),
        (format!("\n5\n{root}\n"), CheckpointError::BadOrigin),
        (format!("{ORIGIN}\n\n{root}\n"), CheckpointError::BadSize),
        (format!("{ORIGIN}\n05\n{root}\n"), CheckpointError::BadSize),
        (format!("{ORIGIN}\n+5\n{root}\n"), CheckpointError::BadSize),
        (format!("{ORIGIN}\n-5\n{root}\n"), CheckpointError::BadSize),
        (format!("{ORIGIN}\n5 \n{root}\n"), CheckpointError::BadSize),
        (format!("{ORIGIN}\n0x5\n{root}\n"), CheckpointError::BadSize),
        (format!("{ORIGIN}\n18446744073709551616\n{root}\n"), CheckpointError::BadSize),
        (format!("{ORIGIN}\n0\n{root}\n"), CheckpointError::EmptyTreeWithOtherRoot),
        (format!("{ORIGIN}\n5\n{}\n", BASE64.encode(&[7; 31])), CheckpointError::BadRoot),
        (format!("{ORIGIN}\n5\n{}\n", BASE64.encode(&[7; 33])), CheckpointError::BadRoot),
        (format!("{ORIGIN}\n5\n{}\n", root.trim_end_matches('=')), CheckpointError::BadRoot),
        (format!("{ORIGIN}\n5\n{root} \n"), CheckpointError::BadRoot),
        (format!("{ORIGIN}\n5\n{root}\n\n"), CheckpointError::BadLines),
        (format!("{ORIGIN}\n5\n{root}\none\n\ntwo\n"), CheckpointError::BadLines),
        (format!("{ORIGIN}\n5\n{root}\n{}", "x\n".repeat(17)), CheckpointError::BadLines),
        (format!("{ORIGIN}\n5\n{root}\nx\u{7f}\n"), CheckpointError::BadLines),
        (format!("{ORIGIN}\u{9f}\n5\n{root}\n"), CheckpointError::BadLines),
        (format!("{}\n5\n{root}\n", "o".repeat(256)), CheckpointError::BadOrigin),
    ] {
        assert_eq!(Checkpoint::verify(&signed(&text), ORIGIN, &key), Err(want), "{text:?}");
    }
    // Without a last newline a text is not even a note's.
    assert_eq!(Checkpoint::parse(&format!("{ORIGIN}\n5\n{root}")), Err(CheckpointError::BadLines));
    assert!(Checkpoint::parse(&format!("{ORIGIN}\n5\n{root}\n{}", "x\n".repeat(16))).is_ok());
    let max = format!("{ORIGIN}\n{}\n{root}\n", u64::MAX);
    assert_eq!(Checkpoint::parse(&max).unwrap().size(), u64::MAX);
    for origin in ["", "a\nb", "a\0", &"o".repeat(256)] {
        assert_eq!(Checkpoint::new(origin, 1, Digest([7; 32])), Err(CheckpointError::BadOrigin));
    }
    // An origin may have spaces, a key's name may not.
    assert!(Checkpoint::new("my log", 1, Digest([7; 32])).unwrap().sign(&signer(1)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in ".*") {
        prop_assert!(Note::parse(&bytes).is_err());
        prop_assert!(text.parse::<VerifierKey>().is_err());
        prop_assert!(Checkpoint::parse(&text).is_err());
        prop_assert!(NoteSignature::parse_line(&text).is_err());
    }

    #[test]
    fn what_reads_as_a_note_prints_as_it_was(
        text in "[ -~\n]{0,30}",
        lines in "(\n{0,2}(— [a-z+ ]{0,3} [A-Z=]{0,12}\n{0,2}|[a-z]{0,2})){0,3}\n?",
    ) {
        let note = format!("{text}{lines}");
        if let Ok(read) = Note::parse(note.as_bytes()) {
            prop_assert_eq!(read.to_string(), note);
        }
    }

    #[test]
    fn what_is_signed_reads_back(text in "[ -~\n—é]{0,60}\n", name in "[a-z./—é]{1,20}", seed: u8, size: u64) {
        let note = Note::new(&text, vec![NoteSignature::sign(&name, &signer(seed), &text).unwrap()]).unwrap();
        let read = Note::parse(note.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&read, &note);
        let key = verifier(&name, seed);
        prop_assert_eq!(key.to_string().parse::<VerifierKey>(), Ok(key.clone()));
        prop_assert!(read.verify(&[key]).is_ok());
        if size > 0 {
            let checkpoint = Checkpoint::new(&name, size, leaf_hash(&[seed])).unwrap();
            prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint));
        }
    }

    #[test]
    fn a_changed_checkpoint_is_an_error_or_the_same_bytes(place in any::<proptest::sample::Index>(), byte: u8) {
        let text = checkpoint().to_string();
        let mut bytes = text.clone().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(changed) = String::from_utf8(bytes)
            && let Ok(read) = Checkpoint::parse(&changed)
        {
            prop_assert_eq!(read.to_string(), changed);
        }
    }
}
