//! As much of JSON Schema as the schemas here use. A keyword that is not known here fails: nothing goes unchecked.

use serde_json::{Map, Value};

/// What does not hold, with its place; nothing when all does.
pub(crate) fn fault(schema: &Value, value: &Value) -> Option<String> {
    walk(schema, value, "")
}

fn walk(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let keywords = schema.as_object().unwrap();
    let none = Map::new();
    let fields = value.as_object().unwrap_or(&none);
    let properties = keywords.get("properties").and_then(Value::as_object).unwrap_or(&none);
    for (name, rule) in keywords {
        let holds = match name.as_str() {
            "$schema" | "title" | "properties" | "items" => true,
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_i64() || value.is_u64(),
                "boolean" => value.is_boolean(),
                other => panic!("type {other}"),
            },
            "required" => {
                rule.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
            }
            "additionalProperties" => fields.keys().all(|name| properties.contains_key(name)),
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().unwrap()),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() >= limit(rule)),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() <= limit(rule)),
            "minItems" => value.as_array().is_none_or(|list| list.len() >= limit(rule)),
            "maxItems" => value.as_array().is_none_or(|list| list.len() <= limit(rule)),
            "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            other => panic!("keyword {other}"),
        };
        if !holds {
            return Some(format!("{at}: {name} {rule}"));
        }
    }
    let below = properties
        .iter()
        .filter_map(|(name, schema)| walk(schema, fields.get(name)?, &format!("{at}/{name}")));
    let items = keywords.get("items").into_iter().flat_map(|schema| {
        let list = value.as_array().into_iter().flatten().enumerate();
        list.filter_map(move |(index, item)| walk(schema, item, &format!("{at}/{index}")))
    });
    below.chain(items).next()
}

fn limit(rule: &Value) -> usize {
    usize::try_from(rule.as_u64().unwrap()).unwrap()
}

/// The two forms of pattern that are used: hexadecimal digits of one length, decimal digits of any.
fn matches(pattern: &str, text: &str) -> bool {
    if pattern == "^[0-9]+$" {
        return !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    }
    let length = pattern.strip_prefix("^[0-9a-f]{").and_then(|rest| rest.strip_suffix("}$"));
    let length: usize = length.unwrap_or_else(|| panic!("pattern {pattern}")).parse().unwrap();
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let schema = serde_json::json!({ "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": { "a": { "type": "array", "minItems": 1, "items": { "type": "string", "pattern": "^[0-9a-f]{2}$" } } } });
    let fault = |value: Value| fault(&schema, &value);
    assert_eq!(fault(serde_json::json!({ "a": ["0f"] })), None);
    for wrong in [
        serde_json::json!({}),
        serde_json::json!({ "a": [] }),
        serde_json::json!({ "a": ["0F"] }),
        serde_json::json!({ "a": [1] }),
        serde_json::json!({ "a": ["0f"], "b": 1 }),
        serde_json::json!([]),
    ] {
        assert!(fault(wrong.clone()).is_some(), "{wrong}");
    }
}
