//! What was entered in the fields of a schema.
//!
//! What was entered is kept as a tree of texts, so that a form that is not right yet comes back as it was.

use seinhuis_shell::web::form::Form;
use serde_json::{Map, Value};

use super::shape::Shape;

/// The name of the field that says how many rows a list has.
pub(super) fn rows_of(pointer: &str) -> String {
    format!("#{pointer}")
}

/// A form before anybody entered anything.
pub(super) fn blank(shape: &Shape) -> Value {
    match shape {
        Shape::Object(fields) => {
            fields.iter().map(|field| (field.name.clone(), blank(&field.shape))).collect()
        }
        Shape::List { item, .. } if item.is_choice() => Value::Array(Vec::new()),
        Shape::List { item, min, .. } => (0..*min).map(|_| blank(item)).collect(),
        Shape::Leaf(_) => Value::String(String::new()),
    }
}

/// What was entered in a form, of the fields that the schema knows and no others.
pub(super) fn entered(shape: &Shape, form: &Form, pointer: &str) -> Value {
    match shape {
        Shape::Object(fields) => {
            let of = |field: &super::shape::Field| {
                (field.name.clone(), entered(&field.shape, form, &format!("{pointer}/{}", field.name)))
            };
            fields.iter().map(of).collect()
        }
        Shape::List { item, max, .. } if item.is_choice() => {
            form.values(pointer).take(*max).map(|value| Value::String(value.to_owned())).collect()
        }
        Shape::List { item, min, max } => {
            let rows = form.text(&rows_of(pointer)).parse().unwrap_or(*min).min(*max);
            (0..rows).map(|row| entered(item, form, &format!("{pointer}/{row}"))).collect()
        }
        Shape::Leaf(_) => Value::String(form.text(pointer).to_owned()),
    }
}

/// Adds a row to a list or takes one away, as a button asks: `add:/list` or `drop:/list/3`. Whether it is such a button.
pub(super) fn rearrange(shape: &Shape, tree: &mut Value, button: &str) -> bool {
    if let Some(pointer) = button.strip_prefix("add:") {
        if let (Some(Shape::List { item, max, .. }), Some(Value::Array(rows))) =
            (shape.at(pointer), tree.pointer_mut(pointer))
            && rows.len() < *max
        {
            rows.push(blank(item));
        }
        return true;
    }
    let Some((list, row)) = button.strip_prefix("drop:").and_then(|pointer| pointer.rsplit_once('/')) else {
        return false;
    };
    if let (Some(Value::Array(rows)), Ok(row)) = (tree.pointer_mut(list), row.parse::<usize>())
        && row < rows.len()
    {
        rows.remove(row);
    }
    true
}

/// The body that was entered. A field left empty is left out, and so is an object that need not be there and of which all
/// is empty. What does not read as its type stays text, which the schema then says.
pub(super) fn body(shape: &Shape, tree: &Value) -> Value {
    made(shape, tree, true).unwrap_or_else(|| Value::Object(Map::new()))
}

fn made(shape: &Shape, tree: &Value, required: bool) -> Option<Value> {
    match (shape, tree) {
        (Shape::Object(fields), Value::Object(entered)) => {
            let of = |field: &super::shape::Field| {
                let value = made(&field.shape, entered.get(&field.name)?, field.required)?;
                Some((field.name.clone(), value))
            };
            let object: Map<String, Value> = fields.iter().filter_map(of).collect();
            let said =
                object.values().any(|value| !matches!(value, Value::Object(inner) if inner.is_empty()));
            (required || said).then_some(Value::Object(object))
        }
        (Shape::List { item, .. }, Value::Array(rows)) => {
            let row = |row| made(item, row, true).unwrap_or_else(|| Value::String(String::new()));
            (required || !rows.is_empty()).then(|| rows.iter().map(row).collect())
        }
        (Shape::Leaf(leaf), Value::String(text)) => {
            let text = text.trim();
            (!text.is_empty()).then(|| leaf.typed(text))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use seinhuis_shared::covenant::schema::Schema;
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"{"type":"object","additionalProperties":false,"required":["tekst","tijd","soort"],"properties":{
        "tekst":{"type":"string","minLength":1,"maxLength":20,"x-category":"a"},
        "tijd":{"type":"object","additionalProperties":false,"required":["sinds"],"x-category":"a","properties":{
            "sinds":{"type":"string","format":"date"},"keren":{"type":"integer","minimum":1,"maximum":9}}},
        "soort":{"type":"array","minItems":1,"maxItems":2,"x-category":"a","items":{"type":"string","enum":["x","y","z"]}},
        "extra":{"type":"object","additionalProperties":false,"required":["a"],"x-category":"a","properties":{
            "a":{"type":"string","minLength":1,"maxLength":5},"b":{"type":"boolean"}}},
        "rijen":{"type":"array","minItems":0,"maxItems":3,"x-category":"a","items":{"type":"object","additionalProperties":false,
            "required":["n"],"properties":{"n":{"type":"string","minLength":1,"maxLength":5}}}}}}"#;

    fn shape() -> Shape {
        Shape::read(&Schema::canonical(SCHEMA).unwrap()).unwrap()
    }

    fn form(fields: &[(&str, &str)]) -> Form {
        fields.iter().copied().collect()
    }

    #[test]
    fn what_is_entered_becomes_the_body_that_the_schema_asks() {
        let form = form(&[
            ("/tekst", " hallo "),
            ("/tijd/sinds", "2026-03-01"),
            ("/tijd/keren", "3"),
            ("/soort", "x"),
            ("/soort", "z"),
            ("/onbekend", "weg"),
            ("/extra/b", ""),
            ("#/rijen", "1"),
            ("/rijen/0/n", "een"),
            ("/rijen/1/n", "twee"),
        ]);
        let body = body(&shape(), &entered(&shape(), &form, ""));
        let wanted = json!({ "tekst": "hallo", "tijd": { "sinds": "2026-03-01", "keren": 3 }, "soort": ["x", "z"],
            "rijen": [{ "n": "een" }] });
        assert_eq!(body, wanted, "a field that the schema does not know is not there");
        assert!(Schema::parse(SCHEMA).unwrap().check(body.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn what_is_left_empty_is_told_field_by_field() {
        let tree = blank(&shape());
        let body = body(&shape(), &tree);
        assert_eq!(body, json!({ "tijd": {}, "soort": [] }));
        let faults = Schema::parse(SCHEMA).unwrap().faults(body.to_string().as_bytes(), 100);
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, ["/soort", "/tekst", "/tijd/sinds"]);
        let wrong = form(&[("/tekst", "x"), ("/tijd/keren", "drie"), ("/extra/b", "true")]);
        let body = super::body(&shape(), &entered(&shape(), &wrong, ""));
        let faults = Schema::parse(SCHEMA).unwrap().faults(body.to_string().as_bytes(), 2);
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, ["/extra/a", "/soort"], "no more than asked for");
    }

    #[test]
    fn rows_come_and_go_within_their_bounds() {
        let shape = shape();
        let mut tree = entered(&shape, &form(&[("#/rijen", "99"), ("/rijen/1/n", "b")]), "");
        assert_eq!(tree["rijen"].as_array().unwrap().len(), 3, "never more than the schema allows");
        assert!(rearrange(&shape, &mut tree, "add:/rijen"));
        assert_eq!(tree["rijen"].as_array().unwrap().len(), 3);
        assert!(rearrange(&shape, &mut tree, "drop:/rijen/0"));
        assert_eq!(tree["rijen"], json!([{ "n": "b" }, { "n": "" }]));
        assert!(rearrange(&shape, &mut tree, "add:/rijen"));
        assert_eq!(tree["rijen"].as_array().unwrap().len(), 3);
        let before = tree.clone();
        for odd in ["add:/tekst", "add:/x/y", "drop:/rijen/9", "drop:/rijen/-1", "drop:/tekst/0", "add:"] {
            assert!(rearrange(&shape, &mut tree, odd), "{odd}");
        }
        assert_eq!(tree, before);
        assert!(!rearrange(&shape, &mut tree, "send") && !rearrange(&shape, &mut tree, "drop:"));
    }
}
