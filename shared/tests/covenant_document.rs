//! The covenant document: one canonical form, and errors a person can act on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod covenant_kit;

use std::sync::LazyLock;

use covenant_kit::{model, parse, read};
use proptest::prelude::*;
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::covenant::limits::{FLOWS_MAX, SOURCE_MAX};
use seinhuis_shared::covenant::{CaseRule, Compiled, Covenant, Handling, Level, Outside, Role};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::note::{KeyText, VerifierKey};
use seinhuis_shared::tlog::policy::Policy;

#[expect(clippy::panic, clippy::expect_used, reason = "the step of a test")]
/// Replaces `old` once and returns the error with the line, counted from 1, on which `old` begins.
fn edit(part: &str, old: &str, new: &str) -> (String, usize) {
    let (mut model, mut partnership) = (read("model.toml"), read("partnership.example.toml"));
    let target = if part == "model.toml" { &mut model } else { &mut partnership };
    let at = target.find(old).unwrap_or_else(|| panic!("{part} has no {old:?}"));
    let line = target[..at].matches('\n').count() + 1;
    *target = target.replacen(old, new, 1);
    let error = parse(&model, &partnership).expect_err(new);
    let place = error.place.clone().unwrap_or_else(|| panic!("no place: {error}"));
    assert_eq!(place.file, part, "{error}");
    assert!(!error.advice.is_empty(), "{error}");
    let offset = place.line.abs_diff(line);
    (error.to_string(), offset)
}

const MODEL: &str = "model.toml";
const OWN: &str = "partnership.toml";
/// Who informs data subjects, in the model.
const INFORMS: &str = "informs = [\"gemeente\"]";

/// Part, text, its replacement, and what the error says.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    (
        MODEL,
        "max_ttl_days = 30",
        "max_ttl_dagen = 30",
        "unknown field `max_ttl_dagen`, expected one of `max_ttl_days`",
    ),
    (
        MODEL,
        "max_ttl_days = 30",
        "max_ttl_days = 31",
        "`rules.max_ttl_days`: is out of range. Write 1 to 30 days.",
    ),
    (MODEL, "max_ttl_days = 30", "max_ttl_days = \"30\"", "`rules.max_ttl_days`: invalid type"),
    (MODEL, "max_ttl_days = 30", "max_ttl_days = ", "Correct the TOML at this place"),
    (MODEL, INFORMS, "informs = []", "`rules.informs`: has 0 entries. Write 1 to 8."),
    (MODEL, INFORMS, "informs = [\"om\", \"om\"]", "`rules.informs`: names something twice. Name each once."),
    (MODEL, INFORMS, "informs = \"gemeente\"", "`rules.informs`: invalid type"),
    (
        MODEL,
        INFORMS,
        "informs = [\"burgemeester\"]",
        "unknown variant `burgemeester`, expected one of `gemeente`",
    ),
    (MODEL, INFORMS, "informeert = [\"gemeente\"]", "unknown field `informeert`"),
    (
        MODEL,
        "from = [\"jongerenwerk\"]",
        "from = [\"jeugdwerk\"]",
        "unknown variant `jeugdwerk`, expected one of `gemeente`",
    ),
    (
        MODEL,
        "purpose = \"signalering\"",
        "purpose = \"nieuwsgierigheid\"",
        "purpose `nieuwsgierigheid` is not in [[purposes]]. Write one of: beveiliging",
    ),
    (MODEL, "steps = [\"1\"]", "steps = [\"8\"]", "a step between quotes"),
    (
        MODEL,
        "types = [\"signaal_groepsgedrag\"]",
        "types = [\"roddel\"]",
        "message type `roddel` is not in [[types]]",
    ),
    (
        MODEL,
        "movers = [\"gemeente\"]",
        "movers = [\"gemeente\", \"politie\"]",
        "`steps[0].movers`: step `1` would be moved by others than the municipality alone. Write [\"gemeente\"]",
    ),
    (MODEL, "id = \"F02\"", "id = \"F01\"", "flow `F01` stands twice"),
    (MODEL, "schemas/signaal_groepsgedrag.json", "schemas/weg.json", "cannot read schemas/weg.json"),
    (
        MODEL,
        "categories = [\"locatie\", ",
        "categories = [\"plaats\", ",
        "category `plaats` is not in [[categories]]",
    ),
    (
        MODEL,
        "categories = [\"locatie\", ",
        "categories = [",
        "no `signaal_groepsgedrag` fits: its required field /locatie/gemeente",
    ),
    (MODEL, "levels = [\"G\"]", "levels = [\"H\"]", "unknown variant `H`"),
    (OWN, "owner = \"00000099000000001000\"", "owner = 99000000001000", "an OIN between quotes"),
    (OWN, "owner = \"00000099000000001000\"", "owner = \"00000099000000009999\"", "is not a party"),
    (OWN, "version = 1", "version = 0", "`partnership.version`: is 0. Count from 1."),
    (OWN, "version = 1", "version = 2", "every later version has one"),
    (OWN, "valid_until = \"2028-01-01\"", "valid_until = \"2026-01-01\"", "is not after `valid_from`"),
    (OWN, "valid_until = \"2028-01-01\"", "valid_until = 2028-01-01", "a date between quotes"),
    (OWN, "evaluation = \"2027-01-01\"", "evaluation = \"2029-01-01\"", "lies outside the validity"),
    (
        OWN,
        "expires = \"2028-01-01\"",
        "expires = \"2026-01-01\"",
        "`decisions[0].expires`: is not after `date`",
    ),
    (
        OWN,
        "oin = \"00000099000000002000\"",
        "oin = \"00000099000000001000\"",
        "party 00000099000000001000 stands twice",
    ),
    (OWN, "role = \"politie\"", "rol = \"politie\"", "unknown field `rol`"),
    (OWN, "role = \"politie\"", "", "missing field `role`"),
];

#[test]
fn errors_name_part_line_and_field_and_say_what_to_write() {
    for (part, old, new, says) in MISTAKES {
        let (error, off) = edit(part, old, new);
        assert!(error.contains(says), "{new}: {error}");
        // A missing key is placed at its table, everything else at its own line.
        assert!(off == 0 || (new.is_empty() && off < 4), "{new}: {error}");
    }
}

#[test]
fn a_missing_table_and_ten_megabytes_are_refused() {
    let (model, own) = (read("model.toml"), read("partnership.example.toml"));
    let error = parse(&model, "").unwrap_err();
    assert!(error.what.contains("missing field `partnership`"), "{error}");
    let long = "# vol\n".repeat(10 * 1024 * 1024 / 6);
    let error = parse(&(model + &long), &own).unwrap_err();
    assert!(error.what.contains(&format!("at most {SOURCE_MAX}")), "{error}");
}

/// A witness that is no party, with a key of this type and seed.
fn outside(name: &str, signature_type: u8, seed: u8) -> Outside {
    let key = SigningKey::from_seed(&[seed; 32]).public().to_bytes();
    let vkey = KeyText::new("getuige.example", signature_type, &key).unwrap().to_string();
    Outside { name: name.into(), vkey, url: "https://getuige.example".into() }
}

#[test]
fn the_trust_policy_follows_from_the_document() {
    let log: VerifierKey =
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
    let mut covenant = model();
    covenant.witnesses.push(outside("inspectie", 4, 241));
    let policy = covenant.witness_policy(&log).unwrap();
    let text = String::from_utf8(policy.to_bytes()).unwrap();
    assert_eq!(Policy::parse(text.as_bytes()), Ok(policy.clone()));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + 8 + 1 + 2, "{text}");
    assert!(lines[1].starts_with("witness 00000099000000001000 seinhuis/witness/00000099000000001000+"));
    assert!(lines[9].starts_with("witness outside-inspectie getuige.example+"));
    assert!(lines[9].ends_with(" https://getuige.example"));
    assert!(
        lines[10].starts_with("group partners 2 00000099000000001000 ") && !lines[10].contains("outside")
    );
    assert_eq!(lines[11], "quorum partners");
    // One from outside takes nobody's place.
    assert!(policy.reached_by(&[0, 7]) && !policy.reached_by(&[0, 8]));
    // Without keys, or without a number, no quorum is asked.
    covenant.witness_quorum = 0;
    assert_eq!(covenant.witness_policy(&log), None);
    covenant.witness_quorum = 2;
    covenant.parties.iter_mut().for_each(|party| party.witness_key = None);
    assert_eq!(covenant.witness_policy(&log), None);
    assert!(Covenant::from_bytes(&covenant.to_bytes()).is_ok());
}

type Change = (&'static str, fn(&mut Covenant));

/// What makes a document wrong, and what is said of it.
const WRONG: &[Change] = &[
    ("canonical form 0 is unknown", |c| c.format = 0),
    ("canonical form 3 is unknown", |c| c.format = 3),
    ("`rules.informs`: does not stand in canonical form 1", |c| c.format = 1),
    ("`rules.informs`: has 0 entries", |c| c.informs.clear()),
    ("`rules.informs`: names something twice", |c| c.informs.push(Role::Gemeente)),
    ("`rules.informs`: is not in the order", |c| c.informs = vec![Role::Om, Role::Politie]),
    ("identifier", |c| c.id = "Met Spatie".into()),
    ("version 1 has no", |c| c.previous = Some(Digest([1; 32]))),
    ("empty or too long", |c| c.title = " ".into()),
    ("empty or too long", |c| c.contact = "x".repeat(2001)),
    ("control character", |c| c.title = "a\u{1b}[31m".into()),
    ("is not after", |c| c.valid_until = c.valid_from),
    ("out of range", |c| c.max_body = 0),
    ("out of range", |c| c.log_retention_days = 0),
    ("has 0 entries", |c| c.flows.clear()),
    ("has 0 entries", |c| c.parties.clear()),
    ("has 257 entries", |c| c.flows = vec![c.flows[0].clone(); FLOWS_MAX + 1]),
    ("stands twice", |c| c.purposes[1].code = c.purposes[0].code.clone()),
    ("stands twice", |c| c.bases[1].code = c.bases[0].code.clone()),
    ("stands twice", |c| c.categories[1].code = c.categories[0].code.clone()),
    ("stands twice", |c| c.types[1].code = c.types[0].code.clone()),
    ("names something twice", |c| c.steps[1].step = c.steps[0].step),
    ("names something twice", |c| c.decisions.push(c.decisions[0].clone())),
    ("level of this special kind", |c| c.categories.last_mut().unwrap().level = Level::P1),
    ("above every one of `levels`", |c| c.flows[0].categories.push("zorg".into())),
    ("names something twice", |c| c.flows[0].levels = vec![Level::G, Level::G]),
    ("against rule L09", |c| c.flows[0].levels.push(Level::P1)),
    ("against rule L02", |c| c.flows[23].routes[0].from = vec![Role::Om]),
    ("against rule L03", |c| {
        c.flows[29].categories.retain(|code| code != "bsn");
        c.flows[29].routes[0].from.push(Role::Jongerenwerk);
    }),
    ("against rule L01", |c| c.flows[7].categories.push("bsn".into())),
    ("against rule L04", |c| c.flows[24].levels.push(Level::Z)),
    ("without its origin's consent", |c| {
        let strict = c.flows.iter_mut().find(|flow| flow.id == "F11").unwrap();
        strict.handling = Handling::Partners;
    }),
    ("against rule L05", |c| c.flows[30].levels.push(Level::P3)),
    ("care data", |c| c.decisions[0].categories.push("zorg".into())),
    ("weak or impossible", |c| c.parties[0].signing_keys[0] = Bytes(vec![0; 32])),
    ("weak or impossible", |c| c.parties[0].signing_keys[0].0.push(0)),
    ("has 0 entries", |c| c.parties[0].signing_keys.clear()),
    ("a key twice", |c| c.parties[0].signing_keys = c.parties[1].signing_keys.clone()),
    ("schema", |c| c.types[0].schema = "{}".into()),
    ("canonical form", |c| c.types[0].schema.push(' ')),
    ("basis `geen`", |c| c.flows[0].bases.push("geen".into())),
    ("out of range", |c| c.flows[0].max_recipients = 17),
    ("out of range", |c| c.overlap_days = 367),
    ("asks for more witnesses", |c| c.witness_quorum = 200),
    ("more witnesses than the 1 that have", |c| {
        c.parties.iter_mut().skip(1).for_each(|party| party.witness_key = None);
    }),
    ("weak or impossible", |c| c.parties[0].witness_key = Some(Bytes(vec![0; 32]))),
    ("weak or impossible", |c| c.parties[0].witness_key = Some(Bytes(vec![1; 31]))),
    ("a key that signs packets", |c| {
        c.parties[0].witness_key = Some(c.parties[1].signing_keys[0].clone());
    }),
    ("stands twice", |c| c.parties[0].witness_key = c.parties[1].witness_key.clone()),
    ("no verifier key of a witness", |c| c.witnesses = vec![outside("inspectie", 1, 241)]),
    ("key of somebody else too", |c| c.witnesses = vec![outside("inspectie", 4, 201)]),
    ("key of somebody else too", |c| c.witnesses = vec![outside("inspectie", 4, 1)]),
    ("key of somebody else too", |c| {
        c.witnesses = vec![outside("inspectie", 4, 241), outside("accountant", 4, 241)];
    }),
    ("is no code, or stands twice", |c| {
        c.witnesses = vec![outside("inspectie", 4, 241), outside("inspectie", 4, 242)];
    }),
    ("is no code, or stands twice", |c| c.witnesses = vec![outside("De inspectie", 4, 241)]),
    ("is no address", |c| {
        c.witnesses = vec![Outside { url: "ftp://inspectie.example".into(), ..outside("inspectie", 4, 241) }];
    }),
    ("is no address", |c| {
        c.witnesses = vec![Outside { url: "https://a b".into(), ..outside("inspectie", 4, 241) }];
    }),
    ("is not after `joined`", |c| c.parties[0].left = Some(c.parties[0].joined)),
    ("moved by others than", |c| c.steps[0].movers = vec![Role::Politie]),
    ("moved by others than", |c| c.steps[7].movers.push(Role::Politie)),
    ("moved by others than", |c| c.steps[4].movers.push(Role::Gemeente)),
    ("moved by others than", |c| c.steps[2].movers.clear()),
    ("asks for 3 parties", |c| c.conditions[0].parties = 3),
    ("asks for 0 parties", |c| c.conditions[0].parties = 0),
    ("has 0 entries", |c| c.conditions[0].set_by.clear()),
    ("stands twice", |c| c.conditions.push(c.conditions[0].clone())),
    ("condition `geen`", |c| c.flows[11].conditions[0].condition = "geen".into()),
    ("has 0 entries", |c| c.flows[11].conditions[0].roles.clear()),
    ("this flow does without one", |c| c.flows[11].case = CaseRule::Optional),
];

#[test]
fn canonical_bytes_are_validated_like_toml() {
    for (index, (says, change)) in WRONG.iter().enumerate() {
        let mut covenant = model();
        change(&mut covenant);
        let error = Covenant::from_bytes(&covenant.to_bytes()).expect_err(says);
        assert!(error.to_string().contains(says), "{index} {says}: {error}");
        assert!(error.place.is_none() && !error.advice.is_empty(), "{index}: {error}");
        assert_eq!(Compiled::new(covenant).unwrap_err(), error, "{index}");
    }
}

#[test]
fn the_hash_is_of_the_canonical_bytes_and_of_every_field() {
    let covenant = model();
    let bytes = covenant.to_bytes();
    let again = Covenant::from_bytes(&bytes).unwrap();
    assert_eq!(again, covenant);
    assert_eq!(again.hash(), seinhuis_shared::signing::sha256(&bytes));
    assert_eq!(Compiled::new(again).unwrap().hash(), covenant.hash());
    let mut later = covenant.clone();
    later.valid_until = Timestamp(later.valid_until.0 + 1);
    assert_ne!(later.hash(), covenant.hash());
    let mut other = covenant.clone();
    other.flows.swap(0, 1);
    assert_ne!(other.hash(), covenant.hash());
    let mut trailing = bytes;
    trailing.push(0);
    assert!(Covenant::from_bytes(&trailing).is_err());
}

#[test]
fn a_text_that_does_not_say_who_informs_gives_the_form_and_the_hash_of_before() {
    let (text, own) = (read("model.toml"), read("partnership.example.toml"));
    let says = |line: &str| parse(&text.replacen(INFORMS, line, 1), &own).unwrap();
    let (with, without) = (model(), says(""));
    assert_eq!((with.format, without.format), (2, 1));
    assert_eq!((with.informs.as_slice(), without.informs.as_slice()), (&[Role::Gemeente][..], &[][..]));
    // The one is the other with an element more: 28 elements, form 2, and the list at the end.
    let (long, short) = (with.to_bytes(), without.to_bytes());
    assert_eq!((&short[..3], &long[..3]), (&[0x98, 27, 1][..], &[0x98, 28, 2][..]));
    assert_eq!([&short[3..], b"\x81\x68gemeente"].concat(), long[3..]);
    let again = Covenant::from_bytes(&short).unwrap();
    assert_eq!((again.to_bytes(), again.hash()), (short, without.hash()));
    // The order in the text says nothing.
    let order = [r#"informs = ["om", "politie"]"#, r#"informs = ["politie", "om"]"#].map(says);
    assert_eq!(order[0].hash(), order[1].hash());
    assert_eq!(order[0].informs, [Role::Politie, Role::Om]);
}

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| model().to_bytes());

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_mutated_covenant_gives_an_error_or_the_identical_bytes(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = BYTES.clone();
        for (at, value) in &edits {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(covenant) = Covenant::from_bytes(&bytes) {
            prop_assert_eq!(covenant.to_bytes(), bytes);
        }
    }

    #[test]
    fn any_bytes_and_any_text_are_answered(bytes: Vec<u8>, text: String) {
        if let Ok(covenant) = Covenant::from_bytes(&bytes) {
            prop_assert_eq!(cbor::encode(&covenant), bytes);
        }
        prop_assert!(Covenant::from_toml(&text, &mut |path| Ok(path.to_owned())).is_err());
    }

    #[test]
    fn mutated_toml_is_answered_with_a_place(at: prop::sample::Index, junk in "[\\[\\]=\"é.\n#a-z0-9]{0,6}") {
        let mut text = read("model.toml");
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.insert_str(at, &junk);
        if let Err(error) = parse(&text, &read("partnership.example.toml")) {
            prop_assert!(error.place.is_some() || error.field.is_empty(), "{}", error);
        }
    }
}
