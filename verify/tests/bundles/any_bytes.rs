//! Any bytes get a verdict; changed bytes are never good.

use std::io::Cursor;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use seinhuis_verify::{Code, Key, verify};

use crate::build::{Parts, signer};
use crate::good;
use crate::zip::{self, Around, Member};

static KEY: LazyLock<Key> = LazyLock::new(|| Key::parse(&signer().vkey()).unwrap());
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| good::complete(40, None, None).file());

fn config(cases: u32) -> ProptestConfig {
    let rng_seed = RngSeed::Fixed(1);
    ProptestConfig { cases, failure_persistence: None, rng_seed, ..ProptestConfig::default() }
}

fn code(bytes: &[u8]) -> Code {
    verify(Cursor::new(bytes), &KEY, None).unwrap().code()
}

/// A bundle whose signed text members have other bytes at random places.
fn altered(parts: &Parts, which: usize, at: usize, to: &str) -> Vec<u8> {
    let mut parts = parts.clone();
    let mut change = |text: &mut String| {
        text.insert_str(text.floor_char_boundary(at % (text.len() + 1)), to);
    };
    match which {
        0 => change(&mut parts.runs),
        1 => change(&mut parts.checkpoint),
        2 => parts.manifest.iter_mut().for_each(|(_, value)| change(value)),
        3 => parts.lines.iter_mut().take(3).for_each(&mut change),
        _ => parts.proof.iter_mut().take(1).for_each(&mut change),
    }
    parts.file()
}

#[test]
fn every_cut_and_every_changed_byte_is_refused() {
    // Stored, as the last byte of a deflated member has bits that mean nothing.
    let mut members = good::complete(6, None, None).seal();
    for member in &mut members {
        let name = String::from_utf8(member.name.clone()).unwrap();
        *member = Member::stored(&name, &zip::unpacked(member));
    }
    let good = &zip::file(&members, &Around::default());
    assert_eq!(code(good), Code::Good);
    for at in 0..good.len() {
        assert_ne!(code(&good[..at]), Code::Good, "cut at {at}");
        let mut changed = good.clone();
        changed[at] ^= 0x20;
        let free = is_free(good, at);
        assert!(free || code(&changed) != Code::Good, "changed at {at}");
    }
}

/// Bytes of a ZIP that say nothing about its contents: versions, and in the directory the attributes.
fn is_free(good: &[u8], at: usize) -> bool {
    let starts = |sign: &[u8], first: usize, last: usize| {
        (first..last).any(|back| at >= back && good.get(at - back..at - back + 4) == Some(sign))
    };
    starts(b"PK\x03\x04", 4, 6) || starts(b"PK\x01\x02", 4, 8) || starts(b"PK\x01\x02", 36, 42)
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn any_bytes_get_a_verdict(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(code(&bytes), Code::BadArchive);
    }

    #[test]
    fn changed_bytes_get_a_verdict(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = GOOD.clone();
        let mut free = true;
        for (at, to) in changes {
            let at = at.index(bytes.len());
            let last = GOOD.get(at + 1..at + 3) == Some(b"PK");
            free &= last || is_free(&GOOD, at) || bytes[at] == to;
            bytes[at] = to;
        }
        prop_assert!(free || code(&bytes) != Code::Good);
    }

    #[test]
    fn keys_are_read_or_refused(text in "[a-z+/]{0,9}\\+[0-9a-f]{8}\\+[A-Za-z0-9+/]{44}") {
        prop_assert!(Key::parse(&text).is_err());
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn signed_nonsense_is_refused(which in 0_usize..5, at in any::<usize>(), to in "[ -~\\n]{1,3}") {
        let parts = good::selection(60, &[r#""flow":"F02""#], &[("flow", "\"F02\"")]);
        let file = altered(&parts, which, at, &to);
        // A digit more can be another good number or purpose; everything else is refused, and nothing panics.
        let verdict = code(&file);
        prop_assert!(which == 2 || which == 1 || verdict != Code::Good, "{which} {at} {to:?}");
    }
}

#[test]
fn weak_and_foreign_keys_are_refused() {
    let text = signer().vkey();
    assert!(Key::parse(&text).is_ok());
    assert!(Key::parse(&text.replace("2026", "2025")).is_err());
    assert!(Key::parse(&text.replacen('+', "", 1)).is_err());
    assert!(Key::parse("").is_err());
    for y in ["01", "00", "ec"] {
        let fill = if y == "ec" { "ff".repeat(30) + "7f" } else { "00".repeat(31) };
        let bytes = data_encoding::HEXLOWER.decode(format!("01{y}{fill}").as_bytes()).unwrap();
        let sum = <sha2::Sha256 as sha2::Digest>::digest([b"a\n".as_slice(), &bytes].concat());
        let id = data_encoding::HEXLOWER.encode(&sum[..4]);
        let key = format!("a+{id}+{}", data_encoding::BASE64.encode(&bytes));
        assert_eq!(
            Key::parse(&key).unwrap_err().to_string(),
            "not the key of a log: it is not a point of the curve in its one encoding, or of small order"
        );
    }
}
