//! Which persons a body is about, as far as its schema says by what they are known.

use std::collections::{BTreeMap, BTreeSet};

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

/// A person in a body, with what stands beside the marks.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    /// By what the person is known.
    pub subject: Subject,
    /// The texts of every object about that person.
    pub details: Vec<Detail>,
    /// Where those objects stand, as JSON pointers (RFC 6901), and the names of the fields in each.
    pub places: Vec<(String, Vec<String>)>,
}

impl core::fmt::Debug for Person {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Person({}, {} details)", self.subject.kind, self.details.len())
    }
}

/// A text that stands in the object of a person.
#[derive(Clone, PartialEq, Eq)]
pub struct Detail {
    /// The name of its field.
    pub field: String,
    /// The code of its data category.
    pub category: String,
    /// What stands there.
    pub text: Zeroizing<String>,
}

impl core::fmt::Debug for Detail {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Detail({})", self.field)
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

    /// The data categories of the fields that identify persons.
    pub fn identifying(&self) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        self.identify(&self.root, &mut found);
        found
    }

    fn identify<'s>(&'s self, node: &Node, found: &mut BTreeSet<&'s str>) {
        match node {
            Node::Object(properties) => {
                for property in properties.values() {
                    self.identify(&property.node, found);
                }
            }
            Node::List { item, .. } => self.identify(item, found),
            Node::Leaf { category, subject, .. } => {
                found.extend(subject.and_then(|_| self.categories.get(*category)).map(String::as_str));
            }
        }
    }

    /// The persons a body is about, each once, in the order in which they stand in it first. What the schema does not
    /// know is passed over: hold the body against it first.
    pub fn subjects(&self, body: &[u8]) -> Vec<Subject> {
        self.persons(body).into_iter().map(|person| person.subject).collect()
    }

    /// The same persons, each with what stands beside the marks in every object that is about that person.
    pub fn persons(&self, body: &[u8]) -> Vec<Person> {
        let mut found = Vec::new();
        if let Ok(value) = json::parse(body, BODY_DEPTH) {
            self.collect(&self.root, &value, "", &mut found);
        }
        found
    }

    fn collect(&self, node: &Node, value: &Json, at: &str, found: &mut Vec<Person>) {
        match (node, value) {
            (Node::Object(properties), Json::Object(fields)) => {
                if let Some(subject) = subject(properties, fields) {
                    self.meet((subject, at), (properties, fields), found);
                }
                for (name, property) in properties {
                    if let Some(value) = fields.get(name) {
                        // A field's name in a schema needs no escape in a pointer.
                        self.collect(&property.node, value, &format!("{at}/{name}"), found);
                    }
                }
            }
            (Node::List { item, .. }, Json::List(items)) => {
                for (number, value) in items.iter().enumerate() {
                    self.collect(item, value, &format!("{at}/{number}"), found);
                }
            }
            (Node::Object(_) | Node::List { .. } | Node::Leaf { .. }, _) => {}
        }
    }

    /// Adds what an object says of a person, who may have been met before.
    fn meet(
        &self,
        (subject, at): (Subject, &str),
        (properties, fields): (&BTreeMap<String, Property>, &BTreeMap<String, Json>),
        found: &mut Vec<Person>,
    ) {
        let mut details: Vec<Detail> = Vec::new();
        for (name, property) in properties {
            let Node::Leaf { category, .. } = &property.node else { continue };
            let (Some(category), Some(text)) =
                (self.categories.get(*category), fields.get(name).and_then(Json::as_text))
            else {
                continue;
            };
            let text = Zeroizing::new(text.to_owned());
            details.push(Detail { field: name.clone(), category: category.clone(), text });
        }
        let place = (at.to_owned(), fields.keys().cloned().collect());
        let Some(known) = found.iter_mut().find(|person| person.subject == subject) else {
            return found.push(Person { subject, details, places: vec![place] });
        };
        known.places.push(place);
        for detail in details {
            if !known.details.contains(&detail) {
                known.details.push(detail);
            }
        }
    }
}

fn marked(node: &Node) -> bool {
    match node {
        Node::Object(properties) => properties.values().any(|property| marked(&property.node)),
        Node::List { item, .. } => marked(item),
        Node::Leaf { subject, .. } => subject.is_some(),
    }
}

/// The person whom the marked fields of one object identify.
fn subject(properties: &BTreeMap<String, Property>, fields: &BTreeMap<String, Json>) -> Option<Subject> {
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
    fn a_person_comes_with_what_stands_beside_the_marks_in_every_object_about_that_person() {
        let schema = Schema::parse(SCHEMA).unwrap();
        assert_eq!(schema.identifying(), BTreeSet::from(["identiteit"]));
        let body = r#"{"personen":[{"zaakpersoon":"P03","naam":"A"},{"zaakpersoon":"p03"},{"zaakpersoon":"P03 ","naam":"B"}]}"#;
        let persons = schema.persons(body.as_bytes());
        let [person] = persons.as_slice() else { panic!("{persons:?}") };
        let names = person.details.iter().filter(|detail| detail.field == "naam");
        assert_eq!(names.map(|detail| detail.text.as_str()).collect::<Vec<_>>(), ["A", "B"]);
        assert!(person.details.iter().all(|detail| detail.category == "identiteit"));
        let places: Vec<&str> = person.places.iter().map(|(at, _)| at.as_str()).collect();
        assert_eq!(places, ["/personen/0", "/personen/1", "/personen/2"]);
        assert_eq!(person.places[1].1, ["zaakpersoon"]);
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
        let persons = schema.persons(br#"{"verzoeker":{"naam":"Geheim"}}"#);
        assert_eq!(format!("{persons:?}"), "[Person(naam, 1 details)]");
        assert_eq!(format!("{:?}", persons[0].details), "[Detail(naam)]");
    }
}
