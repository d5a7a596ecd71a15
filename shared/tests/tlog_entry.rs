//! Entries of the exchange log: one way to write each, and no other that reads.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use seinhuis_shared::entry::{
    Entry, EntryError, Kind, MAX_CATEGORIES_BYTES, MAX_INTEGER, MAX_TEXT_BYTES, VERSION,
};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Thumbprint, TraceId};
use seinhuis_shared::limits::{CATEGORIES_MAX, ENTRY_MAX, TEXT_MAX};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::tile::{decode_bundle, encode_bundle};

fn bare() -> Entry {
    Entry::new(Kind::Start, Timestamp(1_772_366_400_000), [0xab; 16])
}

const BARE: &str = r#"{"kind":"start","salt":"abababababababababababababababab","time":1772366400000,"v":1}"#;

fn full() -> Entry {
    Entry {
        kind: Kind::Accepted,
        msg_id: Some(MsgId([1; 16])),
        from: Some("00000001003214345000".parse().unwrap()),
        to: Some("00000001823288444000".parse().unwrap()),
        recipients: Some(2),
        key: Some(Thumbprint([2; 32])),
        flow: Some("melding-gemeente".to_owned()),
        covenant: Some(Digest([3; 32])),
        case: Some(CaseId([4; 16])),
        message_type: Some("signaal/1".to_owned()),
        step: Some("weging".to_owned()),
        level: Some("2".to_owned()),
        categories: Some("adres contact".to_owned()),
        purpose: Some("\"preventie\" \\ é".to_owned()),
        basis: Some("art. 6 lid 1 onder e AVG".to_owned()),
        size_class: Some(1024),
        packet: Some(Digest([5; 32])),
        statement: Some(Digest([6; 32])),
        result: Some("ok".to_owned()),
        reason: Some(412),
        trace: Some(TraceId([7; 16])),
        activity: Some("https://register.example/activiteit/12".to_owned()),
        subject: Some("00000001003214345000".parse().unwrap()),
        detail: Some("prekey:next".to_owned()),
        ..bare()
    }
}

#[test]
fn the_bytes_are_frozen() {
    assert_eq!(bare().to_bytes().unwrap(), BARE.as_bytes());
    let want = concat!(
        r#"{"activity":"https://register.example/activiteit/12","basis":"art. 6 lid 1 onder e AVG","#,
        r#""case":"04040404-0404-0404-0404-040404040404","categories":"adres contact","#,
        r#""covenant":"0303030303030303030303030303030303030303030303030303030303030303","#,
        r#""detail":"prekey:next","flow":"melding-gemeente","from":"00000001003214345000","#,
        r#""key":"0202020202020202020202020202020202020202020202020202020202020202","#,
        r#""kind":"accepted","level":"2","message_type":"signaal/1","#,
        r#""msg_id":"01010101-0101-0101-0101-010101010101","#,
        r#""packet":"0505050505050505050505050505050505050505050505050505050505050505","#,
        r#""purpose":"\"preventie\" \\ é","reason":412,"recipients":2,"result":"ok","#,
        r#""salt":"abababababababababababababababab","size_class":1024,"#,
        r#""statement":"0606060606060606060606060606060606060606060606060606060606060606","#,
        r#""step":"weging","subject":"00000001003214345000","time":1772366400000,"#,
        r#""to":"00000001823288444000","trace":"07070707070707070707070707070707","v":1}"#,
    );
    let bytes = full().to_bytes().unwrap();
    assert_eq!(std::str::from_utf8(&bytes).unwrap(), want);
    assert_eq!(Entry::parse(&bytes), Ok(full()));
    assert_eq!(full().leaf_hash(), Ok(leaf_hash(&bytes)));
    // Another implementation of JSON reads the same facts, in the order RFC 8785 asks.
    let other: std::collections::BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&bytes).unwrap();
    assert_eq!(serde_json::to_vec(&other).unwrap(), bytes);
    assert_eq!(other["purpose"], "\"preventie\" \\ é");
}

#[test]
fn every_kind_has_its_word() {
    for kind in Kind::ALL {
        let entry = Entry { kind: *kind, ..bare() };
        let bytes = entry.to_bytes().unwrap();
        assert!(String::from_utf8(bytes.clone()).unwrap().contains(&format!("\"kind\":\"{kind}\"")));
        assert_eq!(Entry::parse(&bytes), Ok(entry));
        assert_eq!(kind.as_str().parse(), Ok(*kind));
    }
    assert_eq!(Kind::ALL.len(), 19);
    assert!("Accepted".parse::<Kind>().is_err());
}

#[test]
fn another_way_of_writing_is_refused() {
    assert!(Entry::parse(BARE.as_bytes()).is_ok());
    let salt = r#""salt":"abababababababababababababababab""#;
    for bad in [
        String::new(),
        "{}".to_owned(),
        "{".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        format!("{BARE}\n"),
        format!("{BARE} "),
        format!(" {BARE}"),
        format!("\u{feff}{BARE}"),
        format!("{BARE}{BARE}"),
        BARE.replace(':', ": "),
        BARE.replace(',', ", "),
        BARE.replace(',', ",,"),
        BARE.replace(r#""v":1}"#, r#""v":1,}"#),
        BARE.replace(r#""v":1"#, r#""v":01"#),
        BARE.replace(r#""v":1"#, r#""v":1.0"#),
        BARE.replace(r#""v":1"#, r#""v":1e0"#),
        BARE.replace(r#""v":1"#, r#""v":-1"#),
        BARE.replace(r#""v":1"#, r#""v":"1""#),
        BARE.replace(r#""v":1"#, r#""v":true"#),
        BARE.replace(r#""v":1"#, r#""v":null"#),
        BARE.replace(r#""v":1"#, r#""v":[1]"#),
        BARE.replace(r#""v":1"#, r#""v":"#),
        BARE.replace(r#""v":1"#, r#""v":1,"v":1"#),
        BARE.replace(r#""v":1"#, r#""v":1,"x":1"#),
        BARE.replace(r#""kind":"start","#, "").replace(r#""v":1"#, r#""v":1,"kind":"start""#),
        BARE.replace("start", r"\u0073tart"),
        BARE.replace("start", r"st\/art"),
        BARE.replace("start", "unheard-of"),
        BARE.replace("abab", "ABAB"),
        BARE.replace(salt, r#""salt":"abab""#),
        BARE.replace(salt, r#""salt":"""#),
        BARE.replace("1772366400000", "9007199254740992"),
        BARE.replace("1772366400000", "18446744073709551616"),
        BARE.replace(r#""salt""#, r#""reason":65536,"salt""#),
        BARE.replace(r#""salt""#, r#""reason":0,"salt""#),
        BARE.replace(r#""kind""#, r#""from":"1","kind""#),
        BARE.replace(r#""kind""#, r#""flow":"","kind""#),
        BARE.replace(r#""kind""#, r#""flow":7,"kind""#),
        BARE.replace(r#""kind""#, "\"flow\":\"a\tb\",\"kind\""),
        BARE.replace(r#""kind""#, r#""flow":"a\tb","kind""#),
        BARE.replace(r#""kind""#, r#""flow":"a\u000ab","kind""#),
        BARE.replace(r#""kind""#, r#""case":"04040404040404040404040404040404","kind""#),
    ] {
        assert!(Entry::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    assert_eq!(Entry::parse(b"{\"kind\":\"\xff\"}"), Err(EntryError::NotCanonical(9)));
}

#[test]
fn what_every_entry_has_cannot_be_left_out() {
    for (part, key) in [
        (r#""kind":"start","#, "kind"),
        (r#""salt":"abababababababababababababababab","#, "salt"),
        (r#""time":1772366400000,"#, "time"),
        (r#","v":1"#, "v"),
    ] {
        assert_eq!(Entry::parse(BARE.replace(part, "").as_bytes()), Err(EntryError::Missing(key)));
    }
    let newer = BARE.replace(r#""v":1"#, r#""v":2"#);
    assert_eq!(Entry::parse(newer.as_bytes()), Err(EntryError::UnknownVersion(VERSION + 1)));
    let unknown = BARE.replace(r#""kind""#, r#""name":"x","kind""#);
    assert_eq!(Entry::parse(unknown.as_bytes()), Err(EntryError::NotCanonical(26)));
    let unknown = BARE.replace(r#""salt""#, r#""name":"x","salt""#);
    assert_eq!(Entry::parse(unknown.as_bytes()), Err(EntryError::UnknownKey("name".to_owned())));
}

#[test]
fn texts_and_numbers_have_bounds() {
    let long = "é".repeat(MAX_TEXT_BYTES / 2);
    let entry = Entry { flow: Some(long.clone()), ..bare() };
    assert_eq!(Entry::parse(&entry.to_bytes().unwrap()), Ok(entry));
    for text in ["", "a\nb", "a\0", "\u{7f}", "\u{85}", "\u{2028}", "\u{2029}", &format!("{long}x")] {
        let entry = Entry { flow: Some(text.to_owned()), ..bare() };
        assert_eq!(entry.to_bytes(), Err(EntryError::BadValue("flow")), "{text:?}");
        let entry = Entry { activity: Some(text.to_owned()), ..bare() };
        assert_eq!(entry.to_bytes(), Err(EntryError::BadValue("activity")), "{text:?}");
    }
    for text in ["", "a b", "é", "a\n", &"x".repeat(65)] {
        let entry = Entry { detail: Some(text.to_owned()), ..bare() };
        assert_eq!(entry.to_bytes(), Err(EntryError::BadValue("detail")), "{text:?}");
    }
    assert_eq!(Entry { reason: Some(0), ..bare() }.to_bytes(), Err(EntryError::BadValue("reason")));
    let entry = Entry { reason: Some(1), ..bare() };
    assert_eq!(Entry::parse(&entry.to_bytes().unwrap()), Ok(entry));
    for text in ["", " a", "a ", "a  b", &"x".repeat(MAX_CATEGORIES_BYTES + 1)] {
        let entry = Entry { categories: Some(text.to_owned()), ..bare() };
        assert_eq!(entry.to_bytes(), Err(EntryError::BadValue("categories")), "{text:?}");
    }
    let entry = Entry { size_class: Some(MAX_INTEGER), ..bare() };
    assert_eq!(Entry::parse(&entry.to_bytes().unwrap()), Ok(entry));
    let entry = Entry { size_class: Some(MAX_INTEGER + 1), ..bare() };
    assert_eq!(entry.to_bytes(), Err(EntryError::BadValue("size_class")));
    let entry = Entry { time: Timestamp(u64::MAX), ..bare() };
    assert_eq!(entry.to_bytes(), Err(EntryError::BadValue("time")));
    let long = Some("\"".repeat(MAX_TEXT_BYTES));
    let entry = Entry {
        flow: long.clone(),
        step: long.clone(),
        level: long.clone(),
        purpose: long.clone(),
        basis: long.clone(),
        result: long.clone(),
        activity: long.clone(),
        message_type: long,
        ..full()
    };
    assert!(matches!(entry.to_bytes(), Err(EntryError::TooLong(length)) if length > ENTRY_MAX));
    assert_eq!(Entry::parse(&[b' '; ENTRY_MAX + 1]), Err(EntryError::TooLong(ENTRY_MAX + 1)));
}

#[test]
fn the_largest_packet_that_may_be_declared_fits() {
    let text = Some("x".repeat(TEXT_MAX));
    let entry = Entry {
        flow: text.clone(),
        step: text.clone(),
        level: text.clone(),
        purpose: text.clone(),
        basis: text.clone(),
        result: text.clone(),
        message_type: text,
        activity: Some("u".repeat(MAX_TEXT_BYTES)),
        categories: Some(vec!["c".repeat(TEXT_MAX); CATEGORIES_MAX].join(" ")),
        detail: Some("d".repeat(64)),
        recipients: Some(16),
        size_class: Some(MAX_INTEGER),
        reason: Some(u16::MAX),
        ..full()
    };
    let bytes = entry.to_bytes().unwrap();
    assert_eq!(Entry::parse(&bytes), Ok(entry));
    let bundle = encode_bundle(&vec![&bytes; 256]).unwrap();
    assert!(decode_bundle(&bundle).unwrap().iter().all(|read| *read == bytes));
}

#[test]
fn every_changed_byte_is_an_error_or_another_entry_written_the_one_right_way() {
    let bytes = full().to_bytes().unwrap();
    for place in 0..bytes.len() {
        // Every single bit, and every byte with a meaning in JSON.
        let flipped = (0..8).map(|bit| bytes[place] ^ 1 << bit);
        for byte in flipped.chain(*b"\"\\,:{}[] \n\t01-.eE") {
            let mut changed = bytes.clone();
            changed[place] = byte;
            if let Ok(entry) = Entry::parse(&changed) {
                assert_eq!(entry.to_bytes().as_ref(), Ok(&changed));
                assert_eq!(entry == full(), changed == bytes);
            }
        }
        let mut shorter = bytes.clone();
        shorter.remove(place);
        if let Ok(entry) = Entry::parse(&shorter) {
            assert_eq!(entry.to_bytes(), Ok(shorter));
        }
        assert!(Entry::parse(&bytes[..place]).is_err());
    }
}

/// A text that may be a value, or its absence.
fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[a-z\"\\\\ é☂]{1,20}")
}

/// A code, or its absence.
fn code() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[!-~]{1,64}")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_reads_back(
        kind in proptest::sample::select(Kind::ALL),
        (time, size_class) in (0..=MAX_INTEGER, proptest::option::of(0..=MAX_INTEGER)),
        (salt, reason) in any::<([u8; 16], Option<u16>)>(),
        [flow, step, purpose, activity] in [text(), text(), text(), text()],
        [categories, detail] in [code(), code()],
        (msg, case, trace) in any::<(Option<[u8; 16]>, Option<[u8; 16]>, Option<[u8; 16]>)>(),
        (key, packet) in any::<(Option<[u8; 32]>, Option<[u8; 32]>)>(),
    ) {
        let entry = Entry {
            reason, flow, step, purpose, categories, detail, activity, size_class,
            msg_id: msg.map(MsgId),
            case: case.map(CaseId),
            trace: trace.map(TraceId),
            key: key.map(Thumbprint),
            packet: packet.map(Digest),
            ..Entry::new(kind, Timestamp(time), salt)
        };
        let bytes = entry.to_bytes().unwrap();
        prop_assert!(!bytes.contains(&b'\n'));
        prop_assert_eq!(Entry::parse(&bytes), Ok(entry));
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200), tail in "[{}\":,a-z0-9\\\\]{0,60}") {
        prop_assert!(Entry::parse(&bytes).is_err());
        let object = format!("{{\"{tail}");
        prop_assert!(Entry::parse(object.as_bytes()).is_err());
    }
}
