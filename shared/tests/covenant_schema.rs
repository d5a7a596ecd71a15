//! Bodies against schemas: faults name the field, never the value; categories come from the body.

mod covenant_kit;

use std::sync::LazyLock;

use covenant_kit::{Sample, compiled, samples};
use proptest::prelude::*;
use seinhuis_shared::covenant::schema::{FieldError, FieldFault, Schema};
use seinhuis_shared::covenant::{Compiled, Level, check_body};
use seinhuis_shared::refusal::{Lang, Refusal};

const SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["plek", "personen"],
  "properties": {
    "plek": {"type": "string", "maxLength": 5, "x-category": "locatie"},
    "dag": {"type": "string", "format": "date", "x-category": "tijd"},
    "uur": {"type": "string", "format": "date-time", "x-category": "tijd"},
    "soort": {"type": "string", "enum": ["a", "b"], "x-category": "tijd"},
    "vast": {"type": "boolean", "const": true, "x-category": "tijd"},
    "personen": {"type": "array", "minItems": 0, "maxItems": 2, "x-category": "wie", "items": {
      "type": "object", "additionalProperties": false, "required": ["naam"],
      "properties": {
        "naam": {"type": "string", "minLength": 2, "maxLength": 9},
        "leeftijd": {"type": "integer", "minimum": 0, "maximum": 120, "x-category": "leeftijd"}
      }}}
  }
}"#;

#[expect(clippy::unwrap_used, reason = "the step of a test")]
fn check(body: &str) -> Result<Vec<String>, FieldError> {
    Schema::parse(SCHEMA).unwrap().check(body.as_bytes())
}

#[test]
fn categories_come_from_what_is_in_the_body() {
    assert_eq!(check(r#"{"plek":"plein","personen":[]}"#).unwrap(), ["locatie"]);
    assert_eq!(check(r#"{"plek":"éééé€","personen":[{"naam":"Bo"}]}"#).unwrap(), ["locatie", "wie"]);
    let full = r#"{"plek":"p","dag":"1958-02-03","uur":"2026-03-01T22:15:00+01:00","soort":"b","vast":true,
        "personen":[{"naam":"Bo","leeftijd":16}]}"#;
    assert_eq!(check(full).unwrap(), ["leeftijd", "locatie", "tijd", "wie"]);
}

#[test]
fn each_fault_names_its_field_and_no_value() {
    use Refusal::{FieldInvalid, FieldNotAllowed, NotJson};
    for (body, path, refusal) in [
        ("", "", NotJson),
        ("[]", "", FieldInvalid),
        (r#"{"plek":"GEHEIM""#, "", NotJson),
        (r#"{"plek":"a","plek":"GEHEIM"}"#, "", NotJson),
        (r#"{"plek":"a","personen":[],"foto":"GEHEIM"}"#, "/foto", FieldNotAllowed),
        (r#"{"plek":"a","personen":[{"naam":"Bo","bsn":"GEHEIM"}]}"#, "/personen/0/bsn", FieldNotAllowed),
        (r#"{"plek":"a","personen":[],"a/b~c":1}"#, "/a~1b~0c", FieldNotAllowed),
        (r#"{"personen":[]}"#, "/plek", FieldInvalid),
        (r#"{"plek":null,"personen":[]}"#, "/plek", FieldInvalid),
        (r#"{"plek":"GEHEIM","personen":[]}"#, "/plek", FieldInvalid),
        (r#"{"plek":"a","personen":{}}"#, "/personen", FieldInvalid),
        (r#"{"plek":"a","personen":[{"naam":"Bo"},{"naam":"B"}]}"#, "/personen/1/naam", FieldInvalid),
        (r#"{"plek":"a","personen":[{"naam":"Bo"},{"naam":"Bo"},{"naam":"Bo"}]}"#, "/personen", FieldInvalid),
        (r#"{"plek":"a","personen":[{"naam":"Bo","leeftijd":121}]}"#, "/personen/0/leeftijd", FieldInvalid),
        (r#"{"plek":"a","personen":[{"naam":"Bo","leeftijd":1.0}]}"#, "/personen/0/leeftijd", FieldInvalid),
        (r#"{"plek":"a","personen":[{"naam":"Bo","leeftijd":"16"}]}"#, "/personen/0/leeftijd", FieldInvalid),
        (r#"{"plek":"a","personen":[],"dag":"GEHEIM"}"#, "/dag", FieldInvalid),
        (r#"{"plek":"a","personen":[],"uur":"2026-03-01"}"#, "/uur", FieldInvalid),
        (r#"{"plek":"a","personen":[],"soort":"GEHEIM"}"#, "/soort", FieldInvalid),
        (r#"{"plek":"a","personen":[],"vast":false}"#, "/vast", FieldInvalid),
    ] {
        let error = check(body).expect_err(body);
        assert_eq!((error.path.as_str(), error.refusal()), (path, refusal), "{body}");
        for lang in [Lang::Nl, Lang::En] {
            let message = error.message(lang);
            assert!(message.contains(path) && !message.contains("GEHEIM"), "{message}");
        }
    }
    let deep = format!(r#"{{"plek":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    assert_eq!(check(&deep).unwrap_err().fault, FieldFault::TooDeep { max: 16 });
}

#[test]
fn a_schema_with_anything_unknown_or_unbounded_is_refused() {
    for (old, new, says) in [
        (r#""maxLength": 5"#, r#""maxLength": 5, "pattern": "x""#, "keyword `pattern` is not allowed here"),
        (r#""maxLength": 5"#, r#""minLength": 5"#, "needs `maxLength`"),
        (r#""maxLength": 5"#, r#""maxLength": 5, "minLength": 6"#, "needs `maxLength`"),
        (r#""maxLength": 5"#, r#""maxLength": 999999"#, "needs `maxLength`"),
        (r#""maxItems": 2"#, r#""description": "x""#, "needs `maxItems`"),
        (r#", "maximum": 120"#, "", "needs `minimum` and `maximum`"),
        (r#""additionalProperties": false"#, r#""additionalProperties": true"#, "additionalProperties"),
        (r#""additionalProperties": false, "#, "", "additionalProperties"),
        (r#"["plek", "personen"]"#, r#"["plek", "foto"]"#, "`required` must list names"),
        (r#"["plek", "personen"]"#, r#"["plek", "plek"]"#, "`required` must list names"),
        (r#", "x-category": "locatie""#, "", "has no data category"),
        (r#""x-category": "locatie""#, r#""x-category": "Met Spatie""#, "must be a category code"),
        (r#"["a", "b"]"#, r#"["a", "a"]"#, "different values"),
        (r#"["a", "b"]"#, r#"["a", 1]"#, "must be text"),
        (r#"["a", "b"]"#, r#"["a"], "maxLength": 3"#, "goes without"),
        (r#""format": "date""#, r#""format": "email""#, "must be date or date-time"),
        (r#""type": "boolean""#, r#""type": "null""#, "`type` must be"),
        (r#""plek": {"#, r#""Plek": {"type":"string","maxLength":1}, "plek": {"#, "a field's name"),
        (
            r#""type": "object", "additional"#,
            r#""type": "object", "type": "object", "additional"#,
            "a key stands twice",
        ),
    ] {
        let text = SCHEMA.replacen(old, new, 1);
        assert_ne!(text, SCHEMA, "{old}");
        let error = Schema::parse(&text).expect_err(new);
        assert!(error.to_string().contains(says), "{new}: {error}");
    }
    assert!(Schema::parse(r#"{"type":"string","maxLength":1,"x-category":"a"}"#).is_err());
    assert!(Schema::parse(&format!("{SCHEMA}{}", " ".repeat(64 * 1024))).is_err());
}

#[test]
fn a_false_declaration_is_found_out() {
    let compiled = compiled();
    let samples = samples();
    let sample = samples.iter().find(|sample| sample.flow == "F25").unwrap();
    let declared = sample.ask(&compiled).declared;
    assert!(check_body(&compiled, "F25", &declared, &sample.body).is_ok());
    let mut less = declared.clone();
    less.categories.retain(|code| code != "gedrag_persoon");
    let error = check_body(&compiled, "F25", &less, &sample.body).unwrap_err();
    assert_eq!(error.refusal(), Refusal::CategoryNotAllowed);
    assert!(error.message(Lang::Nl).contains("gedrag_persoon"), "{error}");
    let mut more = declared.clone();
    more.categories.push("zorg".to_owned());
    assert_eq!(
        check_body(&compiled, "F25", &more, &sample.body).unwrap_err().refusal(),
        Refusal::CategoryNotAllowed
    );
    let mut lower = declared.clone();
    lower.level = Level::P1;
    assert_eq!(
        check_body(&compiled, "F25", &lower, &sample.body).unwrap_err().refusal(),
        Refusal::LevelNotAllowed
    );
    let mut other = declared.clone();
    other.message_type = "roddel".to_owned();
    assert_eq!(check_body(&compiled, "F25", &other, &sample.body).unwrap_err().refusal(), Refusal::WrongType);
    let large = vec![b' '; compiled.max_body("F25") + 1];
    assert_eq!(check_body(&compiled, "F25", &declared, &large).unwrap_err().refusal(), Refusal::TooLarge);
    assert_eq!(
        check_body(&compiled, "F99", &declared, &sample.body).unwrap_err().refusal(),
        Refusal::TooLarge
    );
}

#[test]
fn one_foreign_field_anywhere_in_any_sample_is_named() {
    let compiled = compiled();
    for sample in samples() {
        let schema = compiled.schema(&sample.message_type).unwrap();
        let text = String::from_utf8(sample.body).unwrap();
        for (at, _) in text.match_indices('{') {
            let mut spoiled = text.clone();
            spoiled.insert_str(at + 1, r#""foto_url":"GEHEIM","#);
            // A brace inside a text would not open an object; no sample has one.
            let error = schema.check(spoiled.as_bytes()).expect_err(&sample.file);
            assert_eq!(error.refusal(), Refusal::FieldNotAllowed, "{}: {error}", sample.file);
            assert!(error.path.ends_with("/foto_url"), "{error}");
        }
    }
}

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(samples);
static COMPILED: LazyLock<Compiled> = LazyLock::new(compiled);

proptest! {
    #[test]
    fn any_body_and_any_schema_are_answered(body: Vec<u8>, text: String) {
        let schema = Schema::parse(SCHEMA).unwrap();
        prop_assert!(schema.check(&body).is_err());
        prop_assert!(Schema::parse(&text).is_err());
    }

    #[test]
    fn a_mutated_body_never_breaks_the_check(at: prop::sample::Index, value: u8, which: prop::sample::Index) {
        let sample = &SAMPLES[which.index(SAMPLES.len())];
        let schema = COMPILED.schema(&sample.message_type).unwrap();
        let mut body = sample.body.clone();
        let at = at.index(body.len());
        body[at] = value;
        if let Ok(found) = schema.check(&body) {
            prop_assert!(found.is_sorted());
            prop_assert!(found.iter().all(|code| schema.categories().any(|own| own == code)));
        }
    }

    #[test]
    fn a_mutated_schema_is_refused_or_canonical(at: prop::sample::Index, value in 0_u8..128) {
        let mut bytes = SCHEMA.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        let text = String::from_utf8(bytes).unwrap();
        if let Ok(canonical) = Schema::canonical(&text) {
            prop_assert_eq!(Schema::canonical(&canonical), Ok(canonical.clone()));
        }
    }
}
