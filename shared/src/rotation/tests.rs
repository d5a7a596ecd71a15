use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use ciborium::Value;
use proptest::prelude::*;

use super::*;
use crate::covenant::agreement::{Agreements, Cast, Counted, Vote, Word};
use crate::covenant::{Compiled, Covenant};
use crate::ids::Thumbprint;
use crate::limits::CLOCK_SKEW;
use crate::time::Span;

const GEMEENTE: usize = 0;
const POLITIE: usize = 1;
const JONGERENWERK: usize = 2;

fn text(file: &str) -> String {
    std::fs::read_to_string(format!("{}/../covenants/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The model covenant between the first three parties of the example, with keys that are known here.
static COVENANT: LazyLock<Covenant> = LazyLock::new(|| {
    let joined = text("model.toml") + &text("partnership.example.toml");
    let mut covenant = Covenant::from_toml(&joined, &mut |path| Ok(text(path))).unwrap();
    covenant.parties.truncate(3);
    for (index, party) in covenant.parties.iter_mut().enumerate() {
        party.signing_keys = vec![Bytes(key(index, 0).public().to_bytes().to_vec())];
    }
    covenant
});

static COMPILED: LazyLock<Arc<Compiled>> = LazyLock::new(|| compiled(COVENANT.clone()));

fn compiled(covenant: Covenant) -> Arc<Compiled> {
    Arc::new(Compiled::new(covenant).unwrap())
}

/// The version after the first, which pins this key for a party.
fn next(index: usize, pinned: &SigningKey) -> Arc<Compiled> {
    let mut next = Covenant { version: 2, previous: Some(COVENANT.hash()), ..COVENANT.clone() };
    next.parties[index].signing_keys = vec![Bytes(pinned.public().to_bytes().to_vec())];
    compiled(next)
}

/// The key of a party after so many rotations.
fn key(index: usize, rotations: usize) -> SigningKey {
    SigningKey::from_seed(&[u8::try_from(100 + 50 * index + rotations).unwrap(); 32])
}

fn oin(index: usize) -> Oin {
    COVENANT.parties[index].oin
}

fn thumb(index: usize, rotations: usize) -> Thumbprint {
    key(index, rotations).public().thumbprint()
}

fn minute(n: u64) -> Timestamp {
    Timestamp::parse("2026-06-01").unwrap().plus(Span::minutes(n))
}

/// The rotation of a party's key to its next, as it follows on what is known.
fn rotation(keys: &Keys, index: usize, rotations: usize, issued: Timestamp) -> Rotation {
    let (old, new) = (key(index, rotations).public(), key(index, rotations + 1).public());
    let (seq, previous) = keys.next(&old);
    Rotation { party: oin(index), seq, previous, old, new, issued }
}

fn signed(rotation: &Rotation, index: usize, rotations: usize) -> Vec<u8> {
    rotation.sign(&key(index, rotations), &key(index, rotations + 1))
}

fn take(keys: &mut Keys, bytes: &[u8], at: Timestamp) -> Result<Taken, Refusal> {
    keys.take(&Rotation::verify(bytes)?, bytes, at)
}

fn turn(keys: &mut Keys, index: usize, rotations: usize, at: Timestamp) -> Result<Taken, Refusal> {
    let bytes = signed(&rotation(keys, index, rotations, at), index, rotations);
    take(keys, &bytes, at)
}

/// The police after two rotations, at minutes 10 and 20, and the municipality after one, at minute 15.
fn turned() -> Keys {
    let mut keys = Keys::default();
    assert_eq!(turn(&mut keys, POLITIE, 0, minute(10)), Ok(Taken::Now));
    assert_eq!(turn(&mut keys, GEMEENTE, 0, minute(15)), Ok(Taken::Now));
    assert_eq!(turn(&mut keys, POLITIE, 1, minute(20)), Ok(Taken::Now));
    keys
}

#[test]
fn one_key_of_a_line_counts_at_any_time() {
    let keys = turned();
    let at = |rotations, at| keys.signing_key(&COMPILED, oin(POLITIE), thumb(POLITIE, rotations), minute(at));
    let table = [
        (0, 9, Ok(())),
        (0, 10, Err(Refusal::KeyGivenUp)),
        (1, 9, Err(Refusal::UnknownKey)),
        (1, 10, Ok(())),
        (1, 19, Ok(())),
        (1, 20, Err(Refusal::KeyGivenUp)),
        (2, 19, Err(Refusal::UnknownKey)),
        (2, 20, Ok(())),
        (3, 30, Err(Refusal::UnknownKey)),
    ];
    for (rotations, when, expected) in table {
        let got = at(rotations, when);
        assert_eq!(got.map(|_| ()), expected, "key {rotations} at {when}");
        if let Ok(public) = got {
            assert_eq!(public, key(POLITIE, rotations).public());
        }
    }
    let newest = keys.newest(key(POLITIE, 0).public());
    assert_eq!(newest, key(POLITIE, 2).public());
    assert_eq!(keys.current(&COMPILED, oin(POLITIE), thumb(POLITIE, 2)), Ok(newest));
    assert_eq!(keys.newest(key(JONGERENWERK, 0).public()), key(JONGERENWERK, 0).public());
    let other = keys.signing_key(&COMPILED, oin(GEMEENTE), thumb(POLITIE, 2), minute(30));
    assert_eq!(other, Err(Refusal::UnknownKey), "no other party's");
    assert!(keys.same_line(thumb(POLITIE, 0), thumb(POLITIE, 2)));
    assert!(!keys.same_line(thumb(POLITIE, 0), thumb(GEMEENTE, 1)));
    assert!(!keys.same_line(thumb(JONGERENWERK, 0), thumb(JONGERENWERK, 1)));
}

#[test]
fn a_version_is_joined_where_its_key_stands_in_the_line() {
    let keys = turned();
    let second = next(POLITIE, &key(POLITIE, 1));
    let at = |rotations, at| {
        keys.signing_key(&second, oin(POLITIE), thumb(POLITIE, rotations), minute(at)).map(|_| ())
    };
    assert_eq!(
        at(0, 5),
        Err(Refusal::UnknownKey),
        "what came before the pinned key is none of this version's"
    );
    assert_eq!(at(1, 5), Ok(()), "a pinned key is pinned");
    assert_eq!((at(1, 20), at(2, 20)), (Err(Refusal::KeyGivenUp), Ok(())));
    assert_eq!(keys.of(&second).len(), 3, "the whole line comes with it");
    assert_eq!(Keys::default().learn(&second, &keys.of(&second), None).unwrap().len(), 2);
}

#[test]
fn the_same_keys_again_change_nothing_however_newly_signed() {
    let mut keys = turned();
    let before = keys.clone();
    let again = Rotation { issued: minute(500), ..rotation(&Keys::default(), POLITIE, 0, minute(10)) };
    assert_eq!(take(&mut keys, &signed(&again, POLITIE, 0), minute(500)), Ok(Taken::Same));
    assert_eq!(keys, before);
    let elsewhere = Rotation { new: key(POLITIE, 7).public(), ..again };
    let bytes = elsewhere.sign(&key(POLITIE, 0), &key(POLITIE, 7));
    assert_eq!(take(&mut keys, &bytes, minute(500)), Err(Refusal::KeyGivenUp));
    assert_eq!(keys, before);
}

#[test]
fn a_rotation_follows_the_one_that_brought_its_key() {
    let keys = turned();
    let good = rotation(&keys, POLITIE, 2, minute(30));
    let check = |wrong: Rotation, at, refusal| {
        let bytes = signed(&wrong, POLITIE, 2);
        assert_eq!(take(&mut keys.clone(), &bytes, minute(at)), Err(refusal), "{wrong:?}");
    };
    assert_eq!((good.seq, good.previous.is_some()), (3, true));
    check(Rotation { seq: 2, ..good.clone() }, 30, Refusal::RotationOrder);
    check(Rotation { seq: 4, ..good.clone() }, 30, Refusal::RotationOrder);
    check(Rotation { seq: 1, previous: None, ..good.clone() }, 30, Refusal::RotationOrder);
    check(Rotation { previous: Some(Digest([7; 32])), ..good.clone() }, 30, Refusal::RotationOrder);
    check(Rotation { party: oin(GEMEENTE), ..good.clone() }, 30, Refusal::RotationOrder);
    check(Rotation { issued: minute(20), ..good.clone() }, 20, Refusal::RotationOrder);
    check(good.clone(), 24, Refusal::FromTheFuture);
    check(good.clone(), 36, Refusal::Expired);
    let edge = good.issued.plus(CLOCK_SKEW);
    assert_eq!(take(&mut keys.clone(), &signed(&good, POLITIE, 2), edge), Ok(Taken::Now));
    let orphan =
        Rotation { seq: 2, previous: Some(Digest([7; 32])), ..rotation(&keys, JONGERENWERK, 0, minute(30)) };
    let bytes = signed(&orphan, JONGERENWERK, 0);
    assert_eq!(
        take(&mut keys.clone(), &bytes, minute(30)),
        Err(Refusal::RotationOrder),
        "a line begins with 1"
    );
}

#[test]
fn a_key_that_was_ever_used_does_not_come_back() {
    let keys = turned();
    for (index, rotations) in [(POLITIE, 0), (POLITIE, 1), (GEMEENTE, 0), (GEMEENTE, 1)] {
        let new = key(index, rotations);
        let back = Rotation { new: new.public(), ..rotation(&keys, POLITIE, 2, minute(30)) };
        let bytes = back.sign(&key(POLITIE, 2), &new);
        assert_eq!(
            take(&mut keys.clone(), &bytes, minute(30)),
            Err(Refusal::KeyInUse),
            "{index} {rotations}"
        );
    }
    // Pinned, and never rotated: the versions know.
    let mut all = Agreements::default();
    all.propose(Arc::clone(&COMPILED)).unwrap();
    for index in [POLITIE, JONGERENWERK] {
        let pinned = key(index, 0);
        let back = Rotation { new: pinned.public(), ..rotation(&keys, GEMEENTE, 0, minute(30)) };
        let bytes = back.sign(&key(GEMEENTE, 0), &pinned);
        let verified = Rotation::verify(&bytes).unwrap();
        assert_eq!(all.rotate(&verified, &bytes, minute(30)), Err(Refusal::KeyInUse));
        let given = [Rotated { rotation: Bytes(bytes), at: minute(30) }];
        assert_eq!(all.learn_rotations(&COMPILED.hash(), &given, None), Err(Refusal::KeyInUse));
    }
    assert!(all.keys().is_empty());
}

#[test]
fn a_party_rotates_so_often_and_no_more() {
    let mut keys = Keys::default();
    let fresh = |n: usize| SigningKey::from_seed(&[u8::try_from(n).unwrap(); 32]);
    let mut old = key(POLITIE, 0);
    for n in 1..=ROTATIONS_MAX {
        let new = fresh(n);
        let (seq, previous) = keys.next(&old.public());
        let at = minute(u64::try_from(n).unwrap());
        let one =
            Rotation { party: oin(POLITIE), seq, previous, old: old.public(), new: new.public(), issued: at };
        assert_eq!(take(&mut keys, &one.sign(&old, &new), at), Ok(Taken::Now));
        old = new;
    }
    assert_eq!(keys.newest(key(POLITIE, 0).public()), old.public(), "the longest line is walked to its end");
    assert!(keys.current(&COMPILED, oin(POLITIE), old.public().thumbprint()).is_ok());
    // A line of another key of the same party counts too.
    let one = Rotation {
        old: key(POLITIE, 0).public(),
        new: key(POLITIE, 1).public(),
        ..rotation(&Keys::default(), POLITIE, 0, minute(99))
    };
    let other = SigningKey::from_seed(&[200; 32]);
    let one = Rotation { old: other.public(), ..one };
    let bytes = one.sign(&other, &key(POLITIE, 1));
    assert_eq!(take(&mut keys, &bytes, minute(99)), Err(Refusal::TooManyRotations));
}

#[test]
fn what_a_broker_gives_is_checked_from_the_pinned_key_on() {
    let keys = turned();
    let given = keys.of(&COMPILED);
    let mut fresh = Keys::default();
    assert_eq!(fresh.learn(&COMPILED, &given, None).unwrap(), [oin(GEMEENTE), oin(POLITIE)].into());
    assert_eq!(fresh, keys);
    assert_eq!(fresh.learn(&COMPILED, &given, None), Ok(BTreeSet::new()), "again is nothing new");
    let wrong = |known: &Keys, given: &[Rotated], refusal| {
        let mut fresh = known.clone();
        assert_eq!(fresh.learn(&COMPILED, given, None), Err(refusal));
        assert_eq!(fresh, *known, "nothing changes");
    };
    wrong(&keys, &given[..2], Refusal::RotationOrder);
    wrong(&keys, &[], Refusal::RotationOrder);
    let mut own = keys.clone();
    let police = Some(oin(POLITIE));
    assert_eq!(
        own.learn(&COMPILED, &given[1..2], police),
        Ok(BTreeSet::new()),
        "one's own may be on its way"
    );
    assert_eq!(own.learn(&COMPILED, &given[..1], police), Err(Refusal::RotationOrder), "another's may not");
    assert_eq!(own, keys);
    wrong(&Keys::default(), &given[1..], Refusal::RotationOrder);
    let mut moved = given.clone();
    moved[0].at = minute(11);
    wrong(&keys, &moved, Refusal::RotationOrder);
    let mut newer = given.clone();
    let again = Rotation { issued: minute(9), ..rotation(&Keys::default(), POLITIE, 0, minute(10)) };
    newer[0].rotation = Bytes(signed(&again, POLITIE, 0));
    wrong(&keys, &newer, Refusal::RotationOrder);
    // One that a broker makes up, of keys it has.
    let (mine, yours) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
    let made_up = Rotation {
        old: mine.public(),
        new: yours.public(),
        ..rotation(&Keys::default(), POLITIE, 0, minute(10))
    };
    let made_up = Rotated { rotation: Bytes(made_up.sign(&mine, &yours)), at: minute(10) };
    wrong(&Keys::default(), std::slice::from_ref(&made_up), Refusal::UnknownKey);
    // Of another party's key.
    let stolen = Rotation { party: oin(POLITIE), ..rotation(&Keys::default(), GEMEENTE, 0, minute(10)) };
    let stolen = Rotated { rotation: Bytes(signed(&stolen, GEMEENTE, 0)), at: minute(10) };
    wrong(&Keys::default(), &[stolen], Refusal::UnknownKey);
    let mut own = Keys::default();
    assert_eq!(own.extend(oin(POLITIE), thumb(POLITIE, 0), &[made_up]), Err(Refusal::UnknownKey));
    let line = keys.line(thumb(POLITIE, 1));
    assert_eq!(own.extend(oin(GEMEENTE), thumb(GEMEENTE, 0), &line), Err(Refusal::NotAParty));
    assert_eq!(own, Keys::default());
    own.extend(oin(POLITIE), thumb(POLITIE, 0), &line).unwrap();
    assert_eq!(own.line(thumb(POLITIE, 2)), line);
}

#[test]
fn what_is_read_back_is_what_was() {
    let keys = turned();
    let mut read = Keys::default();
    for index in [POLITIE, GEMEENTE] {
        let rows: Vec<Rotated> = keys.of_party(oin(index)).cloned().collect();
        read.restore(&rows).unwrap();
    }
    assert_eq!(read, keys);
}

fn vote(hash: Digest, rotations: usize, word: Word, issued: Timestamp) -> Vec<u8> {
    let vote = Vote { format: 1, covenant: hash, party: oin(POLITIE), word, issued, reason: String::new() };
    vote.sign(&key(POLITIE, rotations))
}

#[test]
fn a_vote_counts_by_the_key_of_its_time_and_keeps_counting() {
    let mut all = Agreements::default();
    all.propose(Arc::clone(&COMPILED)).unwrap();
    let hash = COMPILED.hash();
    let accept = vote(hash, 0, Word::Accept, minute(9));
    assert_eq!(all.cast(&accept, minute(9)), Ok(Counted::New(Word::Accept)));
    all.learn_rotations(&hash, &turned().of(&COMPILED), None).unwrap();
    let withdraw = |rotations, at| vote(hash, rotations, Word::Withdraw, minute(at));
    assert_eq!(all.clone().cast(&withdraw(0, 10), minute(10)), Err(Refusal::KeyGivenUp));
    assert_eq!(all.clone().cast(&withdraw(2, 19), minute(19)), Err(Refusal::UnknownKey));
    assert_eq!(
        all.clone().cast(&accept, minute(30)),
        Ok(Counted::Same),
        "what counted is answered as before"
    );
    assert_eq!(all.cast(&withdraw(2, 25), minute(25)), Ok(Counted::New(Word::Withdraw)));
    // Whoever learns it later, or reads it back, comes to the same.
    let casts: Vec<Cast> = all.get(&hash).unwrap().casts().to_vec();
    let mut later = Agreements::default();
    later.restore(Arc::clone(&COMPILED));
    assert_eq!(later.learn(&hash, &casts, |_| true), Err(Refusal::UnknownKey), "not without the rotations");
    later.learn_rotations(&hash, &all.keys().of(&COMPILED), None).unwrap();
    later.learn(&hash, &casts, |_| true).unwrap();
    assert_eq!(later.get(&hash).unwrap(), all.get(&hash).unwrap());
    let mut read = Agreements::default();
    for index in [GEMEENTE, POLITIE] {
        read.restore_rotations(&all.keys().of_party(oin(index)).cloned().collect::<Vec<_>>()).unwrap();
    }
    read.restore(Arc::clone(&COMPILED));
    read.restore_casts(&hash, &casts).unwrap();
    assert_eq!(read.get(&hash).unwrap(), all.get(&hash).unwrap());
    // A broker that logs a vote by a key that was given up does not get it counted.
    let mut backdated = casts;
    backdated[1] = Cast { vote: Bytes(withdraw(0, 25)), at: minute(25) };
    later.restore(Arc::clone(&COMPILED));
    let mut fresh = Agreements::default();
    fresh.restore(Arc::clone(&COMPILED));
    fresh.learn_rotations(&hash, &all.keys().of(&COMPILED), None).unwrap();
    assert_eq!(fresh.learn(&hash, &backdated, |_| true), Err(Refusal::KeyGivenUp));
}

#[test]
fn a_proposal_pins_keys_that_count() {
    let mut all = Agreements::default();
    all.propose(Arc::clone(&COMPILED)).unwrap();
    all.learn_rotations(&COMPILED.hash(), &turned().of(&COMPILED), None).unwrap();
    let both = |police: usize| {
        let mut document = next(POLITIE, &key(POLITIE, police)).covenant().clone();
        document.parties[GEMEENTE].signing_keys = vec![Bytes(key(GEMEENTE, 1).public().to_bytes().to_vec())];
        compiled(document)
    };
    assert!(!all.pins_current_keys(&both(0)) && !all.pins_current_keys(&both(1)));
    assert!(all.pins_current_keys(&both(2)) && all.pins_current_keys(&both(9)), "a new key is a new key");
    let mut swapped = both(2).covenant().clone();
    swapped.parties[JONGERENWERK].signing_keys = vec![Bytes(key(GEMEENTE, 1).public().to_bytes().to_vec())];
    swapped.parties[GEMEENTE].signing_keys = vec![Bytes(key(GEMEENTE, 9).public().to_bytes().to_vec())];
    assert!(!all.pins_current_keys(&compiled(swapped)), "another party's");
}

/// The statement inside both signatures, changed and signed again by both.
fn resigned(bytes: &[u8], edit: impl Fn(&mut Vec<Value>)) -> Vec<u8> {
    let outer = Sign1::parse(bytes, bytes.len()).unwrap();
    let inner = Sign1::parse(outer.unverified_payload(), bytes.len()).unwrap();
    let mut value: Value = ciborium::from_reader(inner.unverified_payload()).unwrap();
    edit(value.as_array_mut().unwrap());
    let mut payload = Vec::new();
    ciborium::into_writer(&value, &mut payload).unwrap();
    let inner = Sign1::sign(&key(POLITIE, 1), Purpose::NewKey, &payload);
    Sign1::sign(&key(POLITIE, 0), Purpose::Rotation, &inner)
}

#[test]
fn a_statement_that_is_not_in_form_is_none() {
    let good = signed(&rotation(&Keys::default(), POLITIE, 0, minute(1)), POLITIE, 0);
    assert!(good.len() <= ROTATION_MAX);
    assert_eq!(Rotation::verify(&resigned(&good, |_| ())).map(|_| ()), Ok(()));
    let refused = |edit: fn(&mut Vec<Value>), refusal| {
        assert_eq!(Rotation::verify(&resigned(&good, edit)), Err(refusal));
    };
    refused(|v| v[0] = Value::from(2), Refusal::UnknownVersion);
    refused(|v| v[2] = Value::from(0), Refusal::Malformed);
    refused(|v| v[2] = Value::from(2), Refusal::Malformed);
    refused(|v| v[3] = Value::Bytes(vec![1; 32]), Refusal::Malformed);
    refused(|v| (v[2], v[3]) = (Value::from(33), Value::Bytes(vec![1; 32])), Refusal::Malformed);
    refused(|v| v[4] = Value::Bytes(vec![0; 32]), Refusal::Malformed);
    refused(|v| v[5] = Value::Bytes(vec![0; 32]), Refusal::Malformed);
    refused(|v| v[5] = v[4].clone(), Refusal::Malformed);
    refused(|v| v[5] = Value::Bytes(vec![1; 31]), Refusal::Malformed);
    refused(|v| v.push(Value::Null), Refusal::NotCanonical);
    assert_eq!(Rotation::verify(&[&good[..], &[0]].concat()), Err(Refusal::NotCanonical));
    assert_eq!(Rotation::verify(&vec![0; ROTATION_MAX + 1]), Err(Refusal::TooLarge));
}

#[test]
fn both_keys_sign_and_each_its_own_part() {
    let one = rotation(&Keys::default(), POLITIE, 0, minute(1));
    let (old, new, thief) = (key(POLITIE, 0), key(POLITIE, 1), key(GEMEENTE, 0));
    assert_eq!(Rotation::verify(&one.sign(&thief, &new)), Err(Refusal::UnknownKey), "not by the old key");
    assert_eq!(Rotation::verify(&one.sign(&old, &thief)), Err(Refusal::UnknownKey), "not by the new key");
    assert_eq!(Rotation::verify(&one.sign(&new, &old)), Err(Refusal::UnknownKey));
    let good = one.sign(&old, &new);
    let inner = Sign1::parse(&good, good.len()).unwrap().unverified_payload().to_vec();
    let statement = Sign1::parse(&inner, inner.len()).unwrap().unverified_payload().to_vec();
    for (inside, outside) in [
        (Purpose::Rotation, Purpose::Rotation),
        (Purpose::NewKey, Purpose::NewKey),
        (Purpose::NewKey, Purpose::Vote),
    ] {
        let bytes = Sign1::sign(&old, outside, &Sign1::sign(&new, inside, &statement));
        assert_eq!(Rotation::verify(&bytes), Err(Refusal::BadSignature), "{inside:?} {outside:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_mutated_rotation_never_verifies(at in 0_usize..400, value: u8) {
        let good = signed(&rotation(&Keys::default(), POLITIE, 0, minute(1)), POLITIE, 0);
        let mut near = good.clone();
        let at = at % near.len();
        near[at] = value;
        prop_assert_eq!(Rotation::verify(&near).is_ok(), near == good);
    }

    /// Whatever is tried in whatever order, what counts is one line for each party, its times rise, no key is in
    /// it twice, and at every minute exactly one key of each party counts.
    #[test]
    fn any_attempts_leave_lines(attempts in prop::collection::vec((0_usize..3, 0_usize..5, 0_usize..6, 0_u64..60), 0..24)) {
        let mut keys = Keys::default();
        for (index, old, new, at) in attempts {
            let (seq, previous) = keys.next(&key(index, old).public());
            let one = Rotation {
                party: oin(index), seq, previous, old: key(index, old).public(),
                new: key((index + new / 5) % 3, new).public(), issued: minute(at),
            };
            let bytes = one.sign(&key(index, old), &key((index + new / 5) % 3, new));
            let before = keys.clone();
            if Rotation::verify(&bytes).and_then(|verified| keys.take(&verified, &bytes, minute(at))) != Ok(Taken::Now) {
                prop_assert_eq!(&keys, &before);
            }
        }
        for index in 0..3 {
            for at in 0..60 {
                let counts = |n: &usize| {
                    let all = [index, (index + 1) % 3].map(|owner| thumb(owner, *n));
                    all.into_iter().any(|key| keys.signing_key(&COMPILED, oin(index), key, minute(at)).is_ok())
                };
                prop_assert_eq!((0..6).filter(counts).count(), 1, "party {} at {}", index, at);
            }
        }
        let mut learned = Keys::default();
        learned.learn(&COMPILED, &keys.of(&COMPILED), None).unwrap();
        prop_assert_eq!(learned.of(&COMPILED), keys.of(&COMPILED));
    }
}
