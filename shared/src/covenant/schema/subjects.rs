//! Which persons a body is about, as far as its schema says by what they are known.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{BODY_DEPTH, Json, Node, Property, Schema, json};

/// Where a field identifies a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Within the case: another case may use the same for somebody else.
    Case,
    /// Everywhere.
    Always,
}

/// One person a body is about.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    /// The names of the fields that identify the person, with `+` between them.
    pub kind: String,
    /// Where they do: within the case if one of them does only there.
    pub scope: Scope,
    /// What stands in these fields, in the order of their names, in one normal form, each ended by a zero byte.
    pub identifier: Zeroizing<String>,
}

impl core::fmt::Debug for Subject {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Subject({})", self.kind)
    }
}

/// An identifier in the form in which the same person reads the same: lower case, without white space at its ends,
/// one space for any white space in it.
pub fn normal(text: &str) -> Zeroizing<String> {
    let words = text.split_whitespace().map(str::to_lowercase);
    Zeroizing::new(words.collect::<Vec<_>>().join(" "))
}

impl Schema {
    /// Whether a field of it identifies a person.
    pub fn identifies(&self) -> bool {
        marked(&self.root)
    }

    /// The persons a body is about, each once, in the order in which they stand in it first. What the schema does not
    /// know is passed over: hold the body against it first.
    pub fn subjects(&self, body: &[u8]) -> Vec<Subject> {
        let mut found = Vec::new();
        if let Ok(value) = json::parse(body, BODY_DEPTH) {
            collect(&self.root, &value, &mut found);
        }
        found
    }
}

fn marked(node: &Node) -> bool {
    match node {
        Node::Object(properties) => properties.values().any(|property| marked(&property.node)),
        Node::List { item, .. } => marked(item),
        Node::Leaf { subject, .. } => subject.is_some(),
    }
}

fn collect(node: &Node, value: &Json, found: &mut Vec<Subject>) {
    match (node, value) {
        (Node::Object(properties), Json::Object(fields)) => {
            if let Some(subject) = person(properties, fields)
                && !found.contains(&subject)
            {
                found.push(subject);
            }
            for (name, property) in properties {
                if let Some(value) = fields.get(name) {
                    collect(&property.node, value, found);
                }
            }
        }
        (Node::List { item, .. }, Json::List(items)) => {
            for value in items {
                collect(item, value, found);
            }
        }
        (Node::Object(_) | Node::List { .. } | Node::Leaf { .. }, _) => {}
    }
}

/// The person whom the marked fields of one object identify.
fn person(properties: &BTreeMap<String, Property>, fields: &BTreeMap<String, Json>) -> Option<Subject> {
    let (mut kind, mut scope) = (Vec::new(), Scope::Always);
    let mut identifier = Zeroizing::new(String::new());
    for (name, property) in properties {
        let Node::Leaf { subject: Some(own), .. } = &property.node else { continue };
        let Some(text) = fields.get(name).and_then(Json::as_text) else { continue };
        kind.push(name.as_str());
        scope = scope.min(*own);
        identifier.push_str(&normal(text));
        identifier.push('\0');
    }
    (!kind.is_empty()).then(|| Subject { kind: kind.join("+"), scope, identifier })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type":"object","additionalProperties":false,"required":[],"x-category":"identiteit","properties":{
        "verzoeker":{"type":"object","additionalProperties":false,"properties":{
            "naam":{"type":"string","maxLength":50,"x-subject":"always"},
            "geboortedatum":{"type":"string","format":"date","x-subject":"always"}}},
        "personen":{"type":"array","maxItems":9,"items":{"type":"object","additionalProperties":false,"properties":{
            "zaakpersoon":{"type":"string","maxLength":16,"x-subject":"case"},
            "naam":{"type":"string","maxLength":50}}}}}}"#;

    fn told(body: &str) -> Vec<(String, Scope, String)> {
        let schema = Schema::parse(SCHEMA).unwrap();
        assert!(schema.identifies());
        let of = |one: Subject| (one.kind, one.scope, one.identifier.replace('\0', "|"));
        schema.subjects(body.as_bytes()).into_iter().map(of).collect()
    }

    #[test]
    fn every_person_is_found_once_in_a_normal_form() {
        let body = r#"{"personen":[{"zaakpersoon":" P03 ","naam":"A"},{"zaakpersoon":"p03"},{"naam":"B"},{"zaakpersoon":"P04"}],
            "verzoeker":{"naam":"Jan  de\tVries","geboortedatum":"2009-01-02"}}"#;
        let case = |text: &str| ("zaakpersoon".to_owned(), Scope::Case, text.to_owned());
        let always = ("geboortedatum+naam".to_owned(), Scope::Always, "2009-01-02|jan de vries|".to_owned());
        assert_eq!(told(body), [case("p03|"), case("p04|"), always]);
        assert!(told("{}").is_empty() && told("no json").is_empty());
    }

    #[test]
    fn the_mark_stands_at_texts_and_dates_and_says_where() {
        for wrong in [
            r#""type":"string","maxLength":9,"x-subject":"somewhere""#,
            r#""type":"string","maxLength":9,"x-subject":true"#,
            r#""type":"string","enum":["a"],"x-subject":"case""#,
            r#""type":"boolean","x-subject":"case""#,
            r#""type":"integer","minimum":1,"maximum":2,"x-subject":"case""#,
        ] {
            let schema = format!(
                r#"{{"type":"object","additionalProperties":false,"x-category":"a","properties":{{"b":{{{wrong}}}}}}}"#
            );
            assert!(Schema::parse(&schema).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_subject_does_not_print_itself() {
        let schema = Schema::parse(SCHEMA).unwrap();
        let subjects = schema.subjects(br#"{"verzoeker":{"naam":"Geheim"}}"#);
        assert_eq!(format!("{subjects:?}"), "[Subject(naam)]");
    }
}
