//! Makes the vectors of rotations: statements by themselves, and lines as a broker gives them with a version.

use ciborium::Value;
use seinhuis_shared::cbor;
use seinhuis_shared::cose::{Purpose, Sign1};
use seinhuis_shared::limits::ROTATIONS_MAX;
use seinhuis_shared::refusal::Refusal::{
    self, BadSignature, Expired, FromTheFuture, KeyGivenUp, KeyInUse, Malformed, NotCanonical, RotationOrder,
    UnknownKey, UnknownVersion,
};
use seinhuis_shared::rotation::{Keys, Rotated, Rotation};
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::{Span, Timestamp};

use crate::cases;
use crate::common::{GEM, NOON, Org, POL};
use crate::files::{LineFields, RotatedFields, Rotations, Signed, hex};
use crate::forge::{bytes, encode, items};
use crate::signed::edited;

/// The seeds of the keys that are taken, in order.
const NEW: [u8; 3] = [0x31, 0x32, 0x33];

fn new(place: usize) -> SigningKey {
    SigningKey::from_seed(&[NEW[place]; 32])
}

fn at(minutes: u64) -> Timestamp {
    NOON.plus(Span::minutes(minutes))
}

/// The first rotation of the police, at noon.
fn first() -> Rotation {
    let (old, new) = (POL.key().public(), new(0).public());
    Rotation { party: POL.oin(), seq: 1, previous: None, old, new, issued: NOON }
}

fn first_signed() -> Vec<u8> {
    first().sign(&POL.key(), &new(0))
}

/// The second, that follows on it, ten minutes later.
fn second() -> Rotation {
    Rotation {
        party: POL.oin(),
        seq: 2,
        previous: Some(sha256(&first_signed())),
        old: new(0).public(),
        new: new(1).public(),
        issued: at(10),
    }
}

/// The statement changed, and signed again by both keys.
fn resigned(edit: fn(&mut Value)) -> Vec<u8> {
    let good = first_signed();
    let outer = Sign1::parse(&good, good.len()).unwrap();
    let inner = Sign1::parse(outer.unverified_payload(), good.len()).unwrap();
    let mut statement: Value = ciborium::from_reader(inner.unverified_payload()).unwrap();
    edit(&mut statement);
    let proved = Sign1::sign(&new(0), Purpose::NewKey, &encode(&statement));
    Sign1::sign(&POL.key(), Purpose::Rotation, &proved)
}

fn vector(name: &str, refusal: Option<Refusal>, bytes: &[u8]) -> Signed {
    Signed {
        name: name.into(),
        by: POL.oin().to_string(),
        refusal: refusal.map_or(0, Refusal::number),
        fingerprint: None,
        bytes: hex(bytes),
    }
}

fn statements() -> Vec<Signed> {
    let good = first_signed();
    let again = |name, refusal, edit| vector(name, Some(refusal), &resigned(edit));
    let inner = Sign1::parse(&good, good.len()).unwrap().unverified_payload().to_vec();
    let statement = Sign1::parse(&inner, inner.len()).unwrap().unverified_payload().to_vec();
    let purposes =
        |inside, outside| Sign1::sign(&POL.key(), outside, &Sign1::sign(&new(0), inside, &statement));
    let weak: fn(&mut Value) = |v| items(v)[5] = Value::Bytes(vec![0; 32]);
    let beyond: fn(&mut Value) = |v| {
        items(v)[2] = Value::from(u64::try_from(ROTATIONS_MAX + 1).unwrap());
        items(v)[3] = Value::Bytes(vec![1; 32]);
    };
    vec![
        vector("first", None, &good),
        vector("second", None, &second().sign(&new(0), &new(1))),
        again("rotation-version-2", UnknownVersion, |v| items(v)[0] = Value::from(2)),
        again("party-lower-case", Malformed, |v| items(v)[1] = Value::from("0000009900000000200a")),
        again("seq-0", Malformed, |v| items(v)[2] = Value::from(0)),
        again("seq-2-without-previous", Malformed, |v| items(v)[2] = Value::from(2)),
        again("seq-1-with-previous", Malformed, |v| items(v)[3] = Value::Bytes(vec![1; 32])),
        again("seq-beyond-the-last", Malformed, beyond),
        again("weak-new-key", Malformed, weak),
        again("short-new-key", Malformed, |v| bytes(&mut items(v)[5]).truncate(31)),
        again("one-key-twice", Malformed, |v| items(v)[5] = items(v)[4].clone()),
        again("rotation-field-extra", NotCanonical, |v| items(v).push(Value::Null)),
        vector("not-by-the-old-key", Some(UnknownKey), &first().sign(&GEM.key(), &new(0))),
        vector("not-by-the-new-key", Some(UnknownKey), &first().sign(&POL.key(), &new(1))),
        vector("keys-swapped", Some(UnknownKey), &first().sign(&new(0), &POL.key())),
        vector(
            "no-proof-of-the-new-key",
            Some(Malformed),
            &Sign1::sign(&POL.key(), Purpose::Rotation, &statement),
        ),
        vector(
            "proof-for-another-purpose",
            Some(BadSignature),
            &purposes(Purpose::Rotation, Purpose::Rotation),
        ),
        vector("signed-as-vote", Some(BadSignature), &purposes(Purpose::NewKey, Purpose::Vote)),
        vector(
            "rotation-signature-changed",
            Some(BadSignature),
            &edited(&good, |v| bytes(&mut items(v)[3])[0] ^= 1),
        ),
        vector("rotation-trailing-byte", Some(NotCanonical), &[&good[..], &[0]].concat()),
        vector("rotation-truncated", Some(Malformed), &good[..good.len() - 1]),
    ]
}

fn logged(rotation: &Rotation, old: &SigningKey, new: &SigningKey, at: Timestamp) -> Rotated {
    Rotated { rotation: cbor::Bytes(rotation.sign(old, new)), at }
}

fn line(name: &str, refusal: Option<Refusal>, rotations: &[Rotated]) -> LineFields {
    let compiled = cases::compiled();
    let mut keys = Keys::default();
    let learned = keys.learn(&compiled, rotations, None);
    let current = learned.is_ok().then(|| keys.newest(POL.key().public()).thumbprint().to_string());
    let fields = |one: &Rotated| RotatedFields { rotation: hex(&one.rotation), at: one.at.0 };
    LineFields {
        name: name.into(),
        refusal: refusal.map_or(0, Refusal::number),
        rotations: rotations.iter().map(fields).collect(),
        current,
    }
}

fn lines() -> Vec<LineFields> {
    let (pol, one, two, three) = (POL.key(), new(0), new(1), new(2));
    let first = logged(&first(), &pol, &one, NOON);
    let good = logged(&second(), &one, &two, at(10));
    let after_first = |name, refusal, second: Rotated| line(name, Some(refusal), &[first.clone(), second]);
    let changed = |edit: fn(&mut Rotation)| {
        let mut rotation = second();
        edit(&mut rotation);
        logged(&rotation, &one, &two, at(10))
    };
    let back = Rotation { new: pol.public(), ..second() };
    let others = |party: Org, old: &SigningKey, new: &SigningKey| Rotation {
        party: party.oin(),
        old: old.public(),
        new: new.public(),
        ..self::first()
    };
    let forked = others(POL, &pol, &three);
    let taken = others(GEM, &GEM.key(), &one);
    let stolen = others(POL, &GEM.key(), &one);
    vec![
        line("none", None, &[]),
        line("one", None, std::slice::from_ref(&first)),
        line("two", None, &[first.clone(), good.clone()]),
        line("without-the-first", Some(RotationOrder), std::slice::from_ref(&good)),
        after_first("seq-skipped", RotationOrder, changed(|rotation| rotation.seq = 3)),
        after_first(
            "other-previous",
            RotationOrder,
            changed(|rotation| rotation.previous = Some(sha256(b""))),
        ),
        after_first("another-party", RotationOrder, changed(|rotation| rotation.party = GEM.oin())),
        after_first(
            "not-later",
            RotationOrder,
            Rotated { at: NOON, ..logged(&Rotation { issued: NOON, ..second() }, &one, &two, NOON) },
        ),
        after_first("signed-long-before", Expired, Rotated { at: at(16), ..good.clone() }),
        after_first("signed-long-after", FromTheFuture, Rotated { at: at(4), ..good }),
        after_first("the-old-key-back", KeyInUse, logged(&back, &one, &pol, at(10))),
        after_first(
            "the-old-key-again",
            KeyGivenUp,
            logged(&Rotation { issued: at(10), ..forked }, &pol, &three, at(10)),
        ),
        after_first(
            "another-partys-new-key",
            KeyInUse,
            logged(&Rotation { issued: at(10), ..taken }, &GEM.key(), &one, at(10)),
        ),
        line("another-partys-old-key", Some(UnknownKey), &[logged(&stolen, &GEM.key(), &one, NOON)]),
        line(
            "keys-nobody-pinned",
            Some(UnknownKey),
            &[logged(&others(POL, &two, &three), &two, &three, NOON)],
        ),
    ]
}

pub(crate) fn rotations() -> Rotations {
    Rotations {
        covenant: hex(&cases::covenant().to_bytes()),
        new_seeds: NEW.map(|seed| hex(&[seed; 32])).to_vec(),
        statements: statements(),
        lines: lines(),
    }
}
