//! Packets under mutation: a packet that was changed in any way gives an error or is the packet itself.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::sync::LazyLock;

use common::{
    DetHpke, GEM, JW, OM, Org, POL, Stage, chance, context, encrypt_of, halves, receive, receive_with, sealed,
};
use proptest::collection::vec;
use proptest::prelude::*;
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::{Purpose, Sign1};
use seinhuis_shared::covenant::Handling;
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::{Plain, VERSION, seal};
use seinhuis_shared::prekey::PrekeyPublic;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;

/// A packet whose statement `from` signs over this context and this sealed half, whatever they are.
fn signed(from: Org, context: &[u8], sealed: &[u8]) -> Vec<u8> {
    let length = u64::try_from(sealed.len()).unwrap();
    let payload = cbor::encode(&(Bytes::from(context), sha256(sealed), length));
    let statement = Sign1::sign(&from.key(), Purpose::Packet, &payload);
    cbor::encode(&(VERSION, Bytes(statement), Bytes::from(sealed)))
}

fn packet(to: &[Org], body: &[u8], number: u8) -> Vec<u8> {
    sealed(&DetHpke::new(number), (POL, to), &mut context(POL, to), ("application/json", body), number)
}

static ONE: LazyLock<Vec<u8>> = LazyLock::new(|| packet(&[GEM], br#"{"plaats":"plein"}"#, 1));
static THREE: LazyLock<Vec<u8>> = LazyLock::new(|| packet(&[JW, GEM, OM], br#"{"plaats":"park"}"#, 2));

/// Whether a changed packet is as good as refused.
fn harmless(original: &[u8], changed: &[u8]) -> bool {
    changed == original || receive(POL, GEM, changed).is_err()
}

#[test]
fn the_packets_that_are_changed_open_when_they_are_not() {
    assert_eq!(receive(POL, GEM, &ONE).unwrap().body, br#"{"plaats":"plein"}"#);
    for org in [GEM, JW, OM] {
        assert_eq!(receive(POL, org, &THREE).unwrap().body, br#"{"plaats":"park"}"#);
    }
}

#[test]
fn every_single_flipped_bit_is_noticed() {
    for at in 0..ONE.len() {
        for bit in 0..8 {
            let mut changed = ONE.clone();
            changed[at] ^= 1 << bit;
            assert!(receive(POL, GEM, &changed).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    for length in 0..ONE.len() {
        let got = receive(POL, GEM, &ONE[..length]);
        assert_eq!(got, Err((Stage::Parse, Refusal::Malformed)), "{length} bytes");
    }
}

#[test]
fn every_removed_or_repeated_byte_is_noticed() {
    for at in 0..ONE.len() {
        let mut without = ONE.clone();
        without.remove(at);
        let mut twice = ONE.clone();
        twice.insert(at, ONE[at]);
        assert!(receive(POL, GEM, &without).is_err(), "without byte {at}");
        assert!(receive(POL, GEM, &twice).is_err(), "byte {at} twice");
    }
}

#[derive(Debug, Clone)]
enum Change {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
    Swap(usize, usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let (at, length) = (any::<prop::sample::Index>(), 1..64_usize);
    let at = at.prop_map(|index| index.index(1 << 20));
    prop_oneof![
        (at.clone(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at.clone(), vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at.clone(), length.clone()).prop_map(|(at, length)| Change::Remove(at, length)),
        (at.clone(), length.clone()).prop_map(|(at, length)| Change::Repeat(at, length)),
        (at.clone(), at, length).prop_map(|(one, other, length)| Change::Swap(one, other, length)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let range = |at: usize, length: usize| {
        let from = at % bytes.len();
        from..(from + length).min(bytes.len())
    };
    match change {
        Change::Set(at, byte) => {
            let at = range(*at, 1).start;
            bytes[at] = *byte;
        }
        Change::Insert(at, new) => {
            let at = range(*at, 0).start;
            bytes.splice(at..at, new.iter().copied());
        }
        Change::Remove(at, length) => {
            let gone = range(*at, *length);
            // Never all of it: the next change needs something to change.
            if gone.len() < bytes.len() {
                bytes.drain(gone);
            }
        }
        Change::Repeat(at, length) => {
            let copied = bytes[range(*at, *length)].to_vec();
            let at = range(*at, *length).end;
            bytes.splice(at..at, copied);
        }
        Change::Swap(one, other, length) => {
            let (one, other) = (range(*one, *length).start, range(*other, *length).start);
            for step in 0..*length {
                if one.max(other) + step < bytes.len() {
                    bytes.swap(one + step, other + step);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_packet_is_accepted(changes in vec(change(), 1..4)) {
        for original in [&*ONE, &*THREE] {
            let mut changed = original.clone();
            for change in &changes {
                apply(&mut changed, change);
            }
            prop_assert!(harmless(original, &changed));
        }
    }

    /// The same, past the statement's digest and signature: the sender itself signs a changed sealed half.
    #[test]
    fn no_changed_sealed_half_opens_though_its_sender_signs_it(changes in vec(change(), 1..3)) {
        let (_, original) = halves(&ONE);
        let mut changed = original.clone();
        for change in &changes {
            apply(&mut changed, change);
        }
        let context = context_bytes(&ONE);
        prop_assert!(receive(POL, GEM, &signed(POL, &context, &original)).is_ok());
        prop_assert!(changed == original || receive(POL, GEM, &signed(POL, &context, &changed)).is_err());
    }

    /// Nor does a changed context: every wrap and the content are bound to it.
    #[test]
    fn no_changed_context_opens_though_its_sender_signs_it(changes in vec(change(), 1..3)) {
        let original = context_bytes(&ONE);
        let mut changed = original.clone();
        for change in &changes {
            apply(&mut changed, change);
        }
        let forged = signed(POL, &changed, &halves(&ONE).1);
        prop_assert!(changed == original || receive(POL, GEM, &forged).is_err());
    }

    #[test]
    fn what_is_sealed_opens_for_each_recipient_and_nobody_else(
        body in vec(any::<u8>(), 0..3000),
        media_type in "[a-z]{1,20}/[a-z.+-]{1,40}",
        to in Just(vec![GEM, JW, OM]).prop_shuffle(),
        count in 1..=3_usize,
        number: u8,
    ) {
        let (to, others) = to.split_at(count);
        let hpke = DetHpke::new(number);
        let bytes = sealed(&hpke, (POL, to), &mut context(POL, to), (&media_type, &body), number);
        for org in to {
            let opened = receive(POL, *org, &bytes).unwrap();
            prop_assert_eq!((&opened.media_type, &opened.body), (&media_type, &body));
        }
        for org in others {
            prop_assert_eq!(receive(POL, *org, &bytes), Err((Stage::Open, Refusal::RecipientCount)));
            // Nor with a recipient's name and one's own key.
            let got = receive_with(POL, to[0], Some(org.prekey_seed()), &bytes);
            prop_assert_eq!(got, Err((Stage::Open, Refusal::CannotOpen)));
        }
        prop_assert_eq!(receive_with(POL, to[0], None, &bytes), Err((Stage::Open, Refusal::NoPrekey)));
    }

    #[test]
    fn wraps_of_one_packet_do_not_open_another(seq in 2..u64::MAX) {
        let mut other = context(POL, &[GEM]);
        other.seq = seq;
        let content = ("application/json", &br#"{"plaats":"plein"}"#[..]);
        // The same content key and nonce: only the context differs.
        let second = sealed(&DetHpke::new(1), (POL, &[GEM]), &mut other, content, 1);
        prop_assert!(receive(POL, GEM, &second).is_ok());
        let mut mixed = encrypt_of(&second);
        mixed.wraps = encrypt_of(&ONE).wraps;
        let forged = signed(POL, &other.to_bytes(), &mixed.to_bytes());
        prop_assert_eq!(receive(POL, GEM, &forged), Err((Stage::Open, Refusal::CannotOpen)));
        let mut mixed = encrypt_of(&second);
        mixed.ciphertext = encrypt_of(&ONE).ciphertext;
        let forged = signed(POL, &other.to_bytes(), &mixed.to_bytes());
        prop_assert_eq!(receive(POL, GEM, &forged), Err((Stage::Open, Refusal::CannotOpen)));
    }

    #[test]
    fn a_packet_taken_over_by_another_sender_does_not_open(number: u8) {
        let bytes = packet(&[GEM], b"{}", number);
        let mut own = context(JW, &[GEM]);
        own.commitment = seinhuis_shared::packet::Packet::parse(&bytes).unwrap().context().commitment;
        let forged = signed(JW, &own.to_bytes(), &halves(&bytes).1);
        prop_assert_eq!(receive(JW, GEM, &forged), Err((Stage::Open, Refusal::CannotOpen)));
    }
}

/// The context's bytes as they stand in a packet.
fn context_bytes(packet: &[u8]) -> Vec<u8> {
    seinhuis_shared::packet::Packet::parse(packet).unwrap().context().to_bytes()
}

fn own() -> Provenance {
    Provenance::own(POL.oin(), Handling::Partners)
}

fn plain<'a>(provenance: &'a Provenance, body: &'a [u8]) -> Plain<'a> {
    Plain { media_type: "a/b", provenance, body }
}

#[test]
fn sealing_asks_for_the_right_keys_in_the_right_order() {
    let mut context = context(POL, &[GEM, JW]);
    let (gem, jw) = (GEM.prekey(), JW.prekey());
    for keys in [&[&gem][..], &[&jw, &gem], &[&gem, &jw, &jw], &[]] {
        let got = seal(&DetHpke::new(0), &mut context, keys, plain(&own(), b""), &chance(0), &POL.key());
        assert_eq!(got, Err(Refusal::NoPrekey), "{} keys", keys.len());
    }
}

#[test]
fn an_impossible_prekey_is_refused() {
    let impossible = PrekeyPublic::from_slice(&[0xff; 1216]).unwrap();
    let mut context = context(POL, &[GEM]);
    context.recipients[0].prekey = impossible.id();
    let got =
        seal(&DetHpke::new(0), &mut context, &[&impossible], plain(&own(), b""), &chance(0), &POL.key());
    assert_eq!(got, Err(Refusal::NoPrekey));
}

#[test]
fn a_body_over_the_bound_is_not_sealed() {
    let mut context = context(POL, &[GEM]);
    let body = vec![0; seinhuis_shared::limits::BODY_MAX + 1];
    let got =
        seal(&DetHpke::new(0), &mut context, &[&GEM.prekey()], plain(&own(), &body), &chance(0), &POL.key());
    assert_eq!(got, Err(Refusal::TooLarge));
    let largest = seal(
        &DetHpke::new(0),
        &mut context,
        &[&GEM.prekey()],
        plain(&own(), &body[1..]),
        &chance(0),
        &POL.key(),
    );
    assert_eq!(receive(POL, GEM, &largest.unwrap().bytes).unwrap().body, body[1..]);
}
