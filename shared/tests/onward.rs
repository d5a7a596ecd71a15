//! Consents and origins: one form, one signature, one purpose; and what may be said of where a body comes from.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod covenant_kit;

use covenant_kit::{model, now, oin};
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::{Purpose, Sign1};
use seinhuis_shared::covenant::{Compiled, Handling, Role};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::limits::{CONSENT_MAX, RECIPIENTS_MAX};
use seinhuis_shared::onward::{Consent, FORMAT, Provenance, admits, from_base64, to_base64};
use seinhuis_shared::packet::{Content, Plain};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::{Keys, Rotated, Rotation};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::Span;

fn police() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

/// The model covenant in which the police have a key that is known here.
fn covenant() -> Compiled {
    let mut covenant = model();
    let party = covenant.parties.iter_mut().find(|party| party.role == Role::Politie).unwrap();
    party.signing_keys = vec![Bytes(police().public().to_bytes().to_vec())];
    Compiled::new(covenant).unwrap()
}

fn consent() -> Consent {
    Consent {
        format: FORMAT,
        origin: oin(Role::Politie),
        holder: oin(Role::Gemeente),
        packet: Digest([7; 32]),
        recipients: vec![oin(Role::Jongerenwerk)],
        until: now().plus(Span::days(30)),
        at: now(),
    }
}

fn verify(bytes: &[u8], covenant: &Compiled) -> Result<Consent, Refusal> {
    Consent::verify(bytes, covenant, &Keys::default(), now())
}

#[test]
fn a_consent_reads_back_and_no_changed_byte_of_it_does() {
    let (covenant, bytes) = (covenant(), consent().sign(&police()));
    assert_eq!(verify(&bytes, &covenant), Ok(consent()));
    assert_eq!(Consent::read_kept(&bytes), Some(consent()));
    assert_eq!(from_base64(&to_base64(&bytes)), Some(bytes.clone()));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_eq!(verify(&changed, &covenant), Err(Refusal::ConsentInvalid), "byte {at}");
        assert_eq!(verify(&bytes[..at], &covenant), Err(Refusal::ConsentInvalid), "cut at {at}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(verify(&longer, &covenant), Err(Refusal::ConsentInvalid));
}

#[test]
fn only_the_origin_consents_and_only_for_this_purpose() {
    let covenant = covenant();
    let invalid = |bytes: &[u8]| assert_eq!(verify(bytes, &covenant), Err(Refusal::ConsentInvalid));
    invalid(&consent().sign(&SigningKey::from_seed(&[3; 32])));
    invalid(&Consent { origin: oin(Role::Om), ..consent() }.sign(&police()));
    for purpose in [Purpose::Packet, Purpose::Vote, Purpose::Case] {
        invalid(&Sign1::sign(&police(), purpose, &cbor::encode(&consent())));
    }
    invalid(&Consent { format: 2, ..consent() }.sign(&police()));
    invalid(&Consent { recipients: vec![], ..consent() }.sign(&police()));
    invalid(&Consent { recipients: vec![oin(Role::Pga); 2], ..consent() }.sign(&police()));
    invalid(&Consent { until: now(), ..consent() }.sign(&police()));
}

#[test]
fn the_largest_consent_fits_its_bound() {
    let recipients = (0..RECIPIENTS_MAX).map(|n| format!("{n:020}").parse().unwrap()).collect();
    let bytes = Consent { recipients, ..consent() }.sign(&police());
    assert!(bytes.len() <= CONSENT_MAX, "{}", bytes.len());
    assert!(verify(&bytes, &covenant()).is_ok());
    // In a packet, a longer one is no content at all.
    let with = |length: usize| {
        let consent = Some(Bytes(vec![1; length]));
        let source = Some(Digest([7; 32]));
        let own = Provenance::own(oin(Role::Gemeente), Handling::Consent);
        let provenance = Provenance { source, consent, ..own };
        Content::new([1; 32], Plain { media_type: "a/b", provenance: &provenance, body: b"" }).to_bytes()
    };
    assert!(Content::parse(&with(CONSENT_MAX)).is_ok());
    assert_eq!(Content::parse(&with(CONSENT_MAX + 1)), Err(Refusal::CannotOpen));
}

#[test]
fn a_consent_holds_in_its_time() {
    let (town, to) = (oin(Role::Gemeente), [oin(Role::Jongerenwerk)]);
    let at = |now| consent().covers(town, &Digest([7; 32]), &to, now);
    assert_eq!(at(consent().until.minus(Span(1))), Ok(()));
    assert_eq!(at(consent().until), Err(Refusal::ConsentExpired));
    assert_eq!(at(now().minus(Span::minutes(5))), Ok(()), "clocks differ");
    assert_eq!(at(now().minus(Span::minutes(6))), Err(Refusal::ConsentExpired));
}

#[test]
fn a_flow_that_is_not_there_admits_nothing() {
    let own = Provenance::own(oin(Role::Gemeente), Handling::Consent);
    let got = admits(
        &own,
        (&covenant(), &Keys::default()),
        "F99",
        oin(Role::Gemeente),
        &[oin(Role::Politie)],
        now(),
    );
    assert_eq!(got, Err(Refusal::UnknownFlow));
}

#[test]
fn a_consent_by_a_key_that_was_given_up_is_none_any_more() {
    let (covenant, bytes) = (covenant(), consent().sign(&police()));
    let next = SigningKey::from_seed(&[77; 32]);
    let rotation = Rotation {
        party: oin(Role::Politie),
        seq: 1,
        previous: None,
        old: police().public(),
        new: next.public(),
        issued: now().plus(Span::days(1)),
    };
    let logged = Rotated { rotation: rotation.sign(&police(), &next).into(), at: now().plus(Span::days(1)) };
    let mut keys = Keys::default();
    keys.learn(&covenant, &[logged], None).unwrap();
    assert_eq!(Consent::verify(&bytes, &covenant, &keys, now()), Ok(consent()));
    let later = now().plus(Span::days(2));
    assert_eq!(Consent::verify(&bytes, &covenant, &keys, later), Err(Refusal::ConsentInvalid));
    let again = consent().sign(&next);
    assert_eq!(Consent::verify(&again, &covenant, &keys, later), Ok(consent()));
}
