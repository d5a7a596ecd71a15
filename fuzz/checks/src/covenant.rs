//! Covenants, their schemas, and bodies held against them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use seinhuis_shared::cose::{Purpose, Sign1};
use seinhuis_shared::covenant::agreement::{Agreement, Vote, Word};
use seinhuis_shared::covenant::json::{self as reader, Json};
use seinhuis_shared::covenant::limits::{BODY_DEPTH, COVENANT_MAX, SCHEMA_DEPTH};
use seinhuis_shared::covenant::lint::lint;
use seinhuis_shared::covenant::review::Review;
use seinhuis_shared::covenant::schema::Schema;
use seinhuis_shared::covenant::{Compiled, Covenant, Part, Step, check_body, difference};
use seinhuis_shared::limits::{REASON_MAX, VOTE_MAX};
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::rotation::Keys;

use crate::known;

/// The schema of every message type in [`source`].
pub const SMALL_SCHEMA: &str = r#"{"type":"object","additionalProperties":false,"required":["code"],"properties":{"code":{"x-category":"verwijzing","type":"string","maxLength":8}}}"#;

/// Stands between the parts of a document in [`source`].
pub const PART: &str = "\n# part\n";

/// The repository's folder of covenants.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../covenants")
}

/// The model covenant with the example partnership.
pub fn model() -> &'static Compiled {
    #[expect(clippy::expect_used, reason = "without the model there is nothing to hold bodies against")]
    static MODEL: LazyLock<Compiled> = LazyLock::new(|| {
        let read = |name: &str| fs::read_to_string(folder().join(name)).map_err(|error| error.to_string());
        let texts = ["model.toml", "partnership.example.toml"]
            .map(|name| (name, read(name).expect("a file of the repository")));
        let parts = texts.each_ref().map(|(name, text)| Part { name, text });
        let covenant =
            Covenant::from_toml_parts(&parts, &mut |name| read(name)).expect("the model is in order");
        Compiled::new(covenant).expect("the model is in order")
    });
    &MODEL
}

/// A covenant's canonical bytes.
pub fn canonical(data: &[u8]) -> bool {
    let Ok(covenant) = Covenant::from_bytes(data) else { return false };
    assert!(data.len() <= COVENANT_MAX, "a covenant over its bound");
    assert_eq!(covenant.to_bytes(), data, "a covenant re-encodes otherwise");
    told(&covenant);
    let hash = covenant.hash();
    let compiled = Compiled::new(covenant);
    assert_eq!(compiled.map(|compiled| compiled.hash()).ok(), Some(hash), "valid, yet unfit to judge");
    true
}

/// What people read of a covenant says the same as the bytes, and cannot be steered by them.
fn told(covenant: &Covenant) {
    assert!(difference(covenant, covenant).is_empty(), "a covenant differs from itself");
    let old = model().covenant();
    let apart = Covenant { version: covenant.version, previous: covenant.previous, ..old.clone() };
    assert_eq!(difference(old, covenant).is_empty(), apart == *covenant, "what changes is not what is told");
    let review = Review::new(covenant, Some(old));
    for lang in [Lang::Nl, Lang::En] {
        let (text, page) = (review.text(lang), review.html(lang));
        for shown in [&text, &page] {
            assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "a control character is shown");
            assert!(shown.contains(&covenant.hash().to_string()), "a review without the hash");
        }
        assert!(!page.contains("<script") && !page.contains("<img"), "markup from a document");
    }
    assert!(lint(covenant).iter().all(|finding| !finding.about.is_empty()), "a finding about nothing");
}

/// A covenant as people write it, in one part or in two.
pub fn source(data: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(data) else { return false };
    let parts: Vec<Part<'_>> = match text.split_once(PART) {
        Some((one, two)) => {
            vec![Part { name: "one.toml", text: one }, Part { name: "two.toml", text: two }]
        }
        None => vec![Part { name: "one.toml", text }],
    };
    let mut load = |name: &str| match name {
        "absent" => Err("there is no such file".to_owned()),
        _ => Ok(SMALL_SCHEMA.to_owned()),
    };
    let read = Covenant::from_toml_parts(&parts, &mut load);
    match &read {
        Ok(covenant) => {
            let bytes = covenant.to_bytes();
            assert_eq!(Covenant::from_bytes(&bytes).as_ref(), Ok(covenant), "reads back otherwise");
            canonical(&bytes);
        }
        Err(error) => {
            assert!(!error.what.is_empty() && !error.to_string().is_empty(), "an error without a word");
            if let Some(place) = &error.place {
                let part = parts.iter().find(|part| part.name == place.file);
                let lines = part.map_or(0, |part| part.text.matches('\n').count());
                // One past the last: where the end of the text is what is wrong.
                assert!((1..=lines + 2).contains(&place.line), "{error}: no such line");
            }
        }
    }
    read.is_ok()
}

/// A schema of bodies.
pub fn schema(data: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(data) else { return false };
    let parsed = Schema::parse(text);
    let canonical = Schema::canonical(text);
    assert_eq!(parsed.as_ref().err(), canonical.as_ref().err(), "two answers about one schema");
    let (Ok(schema), Ok(canonical)) = (parsed, canonical) else { return false };
    assert_eq!(Schema::parse(&canonical).as_ref(), Ok(&schema), "canonical text means something else");
    assert_eq!(Schema::canonical(&canonical).as_ref(), Ok(&canonical), "canonical text is not canonical");
    let all: Vec<&str> = schema.categories().collect();
    assert!(all.is_sorted_by(|a, b| a < b), "categories out of order");
    let fields = schema.fields();
    let told: BTreeSet<&str> = fields.iter().filter_map(|field| field.category.as_deref()).collect();
    assert!(told.into_iter().eq(all.iter().copied()), "the fields told are not the schema's");
    assert!(schema.required_categories().keys().all(|own| all.contains(own)), "a category from nowhere");
    for body in ["{}", "[]", r#"{"code":"x"}"#, text] {
        found(&schema, body.as_bytes());
    }
    true
}

fn found(schema: &Schema, body: &[u8]) {
    match schema.check(body) {
        Ok(found) => {
            assert!(found.is_sorted_by(|a, b| a < b), "categories out of order");
            let all: Vec<&str> = schema.categories().collect();
            assert!(found.iter().all(|own| all.contains(&own.as_str())), "a category from nowhere");
            let mut required = schema.required_categories().into_keys();
            assert!(required.all(|own| found.iter().any(|code| code == own)), "a required one is missing");
            let again = reader::parse(body, BODY_DEPTH).map(|value| value.canonical());
            assert!(again.is_ok_and(|text| schema.check(text.as_bytes()) == Ok(found)), "form decides");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "an error without a word"),
    }
}

/// A body held against the model covenant; the first byte picks the flow, the second one of its types.
pub fn body(data: &[u8]) -> bool {
    let Some(([flow, kind], body)) = data.split_first_chunk::<2>() else { return false };
    let model = model();
    let flows = &model.covenant().flows;
    let Some(flow) = flows.get(usize::from(*flow) % flows.len()) else { return false };
    let Some(kind) = flow.types.get(usize::from(*kind) % flow.types.len()) else { return false };
    let schema = model.schema(kind);
    assert!(schema.is_some(), "a type without a schema");
    if let Some(schema) = schema {
        found(schema, body);
    }
    let step = flow.steps.first().copied().unwrap_or(Step::S1);
    let declared = model.declare(&flow.id, kind, step, None, body);
    if let Ok(mut declared) = declared.clone() {
        assert!(body.len() <= model.max_body(&flow.id), "a body over its bound");
        let found = check_body(model, &flow.id, &declared, body);
        assert!(found.is_ok_and(|found| found.level == declared.level), "what is declared is not found");
        declared.categories.push("zzz".into());
        assert!(check_body(model, &flow.id, &declared, body).is_err(), "a false declaration passes");
    }
    declared.is_ok()
}

/// JSON from outside.
pub fn json(data: &[u8]) -> bool {
    let Ok(value) = reader::parse(data, SCHEMA_DEPTH) else { return false };
    assert!(depth(&value) <= SCHEMA_DEPTH, "deeper than allowed");
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok(), "no JSON to others");
    let text = value.canonical();
    // A number that is not whole becomes `null`: only from there on is the text stable.
    let again = reader::parse(text.as_bytes(), SCHEMA_DEPTH).map(|value| value.canonical());
    assert_eq!(again.as_ref(), Ok(&text), "canonical text is not canonical");
    true
}

fn depth(value: &Json) -> usize {
    match value {
        Json::Null | Json::Bool(_) | Json::Integer(_) | Json::OtherNumber | Json::Text(_) => 0,
        Json::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
    }
}

/// The model covenant, for votes: the known key is that of one of its parties.
pub fn votable() -> &'static Arc<Compiled> {
    #[expect(clippy::expect_used, reason = "a constant")]
    static VOTABLE: LazyLock<Arc<Compiled>> =
        LazyLock::new(|| Arc::new(Compiled::new(model().covenant().clone()).expect("the model is in order")));
    &VOTABLE
}

/// A party's word about a covenant: as signed, and as a payload that the known key signs.
pub fn vote(data: &[u8]) -> bool {
    let signed = Sign1::sign(&known::signer(), Purpose::Vote, data);
    let mut accepted = false;
    for bytes in [data, &signed] {
        let Ok(vote) = Vote::verify(bytes, votable(), &Keys::default()) else { continue };
        assert!(bytes.len() <= VOTE_MAX && vote.reason.len() <= REASON_MAX, "a vote over its bound");
        assert_eq!(vote.sign(&known::signer()), bytes, "a vote re-encodes otherwise");
        let claimed = (vote.clone(), known::signer().public().thumbprint());
        assert_eq!(Vote::claimed(bytes), Ok(claimed), "claims other than it says");
        assert_eq!(vote.covenant, votable().hash(), "about another covenant");
        let mut agreement = Agreement::new(Arc::clone(votable()));
        let counted = agreement.cast(bytes, vote.issued);
        assert_eq!(
            counted.is_ok(),
            vote.word != Word::Withdraw,
            "nobody withdraws from what it did not accept"
        );
        assert_eq!(
            agreement.is_bound(vote.party, vote.issued),
            vote.word == Word::Accept,
            "bound by another word"
        );
        accepted = true;
    }
    accepted
}
