//! Covenants, schemas and bodies.

use seinhuis_fuzz_checks::covenant::{PART, SMALL_SCHEMA, model};
use seinhuis_shared::cbor;
use seinhuis_shared::covenant::{Covenant, FORMAT_INFORMS, Part, Role};

use super::{Seed, changed, cut, longer, no, ok};

const SMALL: &str = include_str!("small.toml");

const LAWFUL: &str = r#"from = ["politie"], to = ["gemeente"]"#;
const UNLAWFUL: &str = r#"from = ["om"], to = ["jongerenwerk"]"#;

const WIDE_SCHEMA: &str = r#"{
  "type": "object", "additionalProperties": false, "required": ["code", "list"],
  "properties": {
    "code": {"x-category": "a", "type": "string", "enum": ["x", "y"]},
    "day": {"x-category": "b", "type": "string", "format": "date", "description": "é"},
    "at": {"x-category": "b", "type": "string", "format": "date-time"},
    "list": {"type": "array", "minItems": 1, "maxItems": 3,
      "items": {"x-category": "c", "type": "object", "additionalProperties": false,
        "properties": {"n": {"type": "integer", "minimum": -1, "maximum": 9}, "b": {"type": "boolean"}}}}
  }
}"#;

fn small() -> Covenant {
    let (one, two) = SMALL.split_once(PART).unwrap();
    let parts = [Part { name: "one", text: one }, Part { name: "two", text: two }];
    Covenant::from_toml_parts(&parts, &mut |_| Ok(SMALL_SCHEMA.to_owned())).unwrap()
}

fn documents() -> Vec<Seed> {
    let bytes = small().to_bytes();
    let mut weak = small();
    weak.parties[0].signing_keys[0].0.fill(0);
    let mut loose = small();
    loose.types[0].schema.push(' ');
    let informs = [Role::Politie, Role::Gemeente];
    let disordered = Covenant { format: FORMAT_INFORMS, informs: informs.to_vec(), ..small() };
    let informed = Covenant { informs: informs[1..].to_vec(), ..disordered.clone() };
    let says = |line: &str| changed(SMALL, "overlap_days", &format!("{line}\noverlap_days"));
    vec![
        ok("covenant", "small", &*bytes),
        ok("covenant", "informs", informed.to_bytes()),
        no(
            "covenant",
            "informs-nobody",
            cbor::encode(&Covenant { informs: Vec::new(), ..disordered.clone() }),
        ),
        no("covenant", "informs-in-another-order", cbor::encode(&disordered)),
        no("covenant", "informs-in-format-1", cbor::encode(&Covenant { format: 1, ..informed.clone() })),
        no("covenant", "other-format", cbor::encode(&Covenant { format: 3, ..informed })),
        no("covenant", "trailing-byte", longer(&bytes)),
        no("covenant", "cut", cut(&bytes)),
        no("covenant", "weak-key", cbor::encode(&weak)),
        no("covenant", "loose-schema", cbor::encode(&loose)),
        ok("covenant_toml", "two-parts", SMALL),
        ok("covenant_toml", "one-part", changed(SMALL, PART, "\n")),
        ok("covenant_toml", "informs", says("informs = [\"politie\", \"gemeente\"]")),
        no("covenant_toml", "informs-nobody", says("informs = []")),
        no("covenant_toml", "informs-twice", says("informs = [\"gemeente\", \"gemeente\"]")),
        no("covenant_toml", "unknown-key", changed(SMALL, "max_ttl_days", "max_ttl_dagen")),
        no("covenant_toml", "out-of-range", changed(SMALL, "max_ttl_days = 30", "max_ttl_days = 31")),
        no("covenant_toml", "no-schema", changed(SMALL, "schemas/melding.json", "absent")),
        no("covenant_toml", "against-the-law", changed(SMALL, LAWFUL, UNLAWFUL)),
        no("covenant_toml", "broken", changed(SMALL, "[[parties]]", "[[parties]")),
        no("covenant_toml", "empty", []),
    ]
}

fn schemas() -> Vec<Seed> {
    vec![
        ok("schema", "small", SMALL_SCHEMA),
        ok("schema", "wide", WIDE_SCHEMA),
        no("schema", "unknown-keyword", changed(WIDE_SCHEMA, "\"minimum\"", "\"pattern\"")),
        no("schema", "open-object", changed(WIDE_SCHEMA, "false", "true")),
        no("schema", "no-category", changed(WIDE_SCHEMA, "\"x-category\": \"c\", ", "")),
        no("schema", "unbounded", changed(WIDE_SCHEMA, "\"maxItems\": 3", "\"maxItems\": 300000")),
        no("schema", "key-twice", changed(WIDE_SCHEMA, "\"day\"", "\"code\"")),
        ok("json", "values", r#"{"a": [1, -2.5e3, true, null, "é\n😀"], "b": {}}"#),
        ok("json", "large-numbers", "[9223372036854775807, -9223372036854775808, 18446744073709551616]"),
        ok("json", "deepest", "[".repeat(36) + &"]".repeat(36)),
        no("json", "too-deep", "[".repeat(37) + &"]".repeat(37)),
        no("json", "key-twice", r#"{"a":1,"\u0061":2}"#),
        no("json", "lone-surrogate", r#""\ud800""#),
        no("json", "no-text", [0xff]),
        no("json", "two-values", "1 2"),
    ]
}

/// A body under the flow with this identifier and its first type.
fn body(flow: &str, text: &str) -> Vec<u8> {
    let flows = &model().covenant().flows;
    let at = flows.iter().position(|own| own.id == flow).unwrap();
    [&[u8::try_from(at).unwrap(), 0], text.as_bytes()].concat()
}

fn bodies() -> Vec<Seed> {
    let good = r#"{"bericht":"019ca980-4000-7001-8002-030405060708","code":"ontvangen"}"#;
    vec![
        ok("body", "F41", body("F41", good)),
        ok("body", "F41-white-space", body("F41", &good.replace(',', " ,\n"))),
        no("body", "unknown-field", body("F41", &changed(good, "\"code\"", "\"naam\""))),
        no("body", "not-listed", body("F41", &changed(good, "ontvangen", "zoek"))),
        no("body", "field-twice", body("F41", &changed(good, "{", "{\"code\":\"gelezen\","))),
        no("body", "list", body("F41", "[]")),
        no("body", "other-flow", body("F01", good)),
    ]
}

pub(super) fn all() -> Vec<Seed> {
    [documents(), schemas(), bodies()].into_iter().flatten().collect()
}
