//! The fields of a schema, told to people.

use super::{Node, Rule, Schema, Scope, fault};
use crate::covenant::words::{Words, list};

/// One field of the bodies a schema describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its JSON pointer (RFC 6901), with `*` for every item of a list.
    pub pointer: String,
    /// Whether a body without it is refused, as far as the field above it is there.
    pub required: bool,
    /// The data category; none for a field that only holds other fields.
    pub category: Option<String>,
    /// What may stand in it.
    pub kind: Words,
}

impl Schema {
    /// Every field, those that hold other fields before what they hold, by name.
    pub fn fields(&self) -> Vec<Field> {
        let mut found = Vec::new();
        if let Node::Object(properties) = &self.root {
            for (name, property) in properties {
                self.field(&property.node, &step("", name), property.required, &mut found);
            }
        }
        found
    }

    /// Free texts of categories that `asks` says yes to, and beside which a body need not say what they are
    /// worth: whether fact or judgement (`aard`), as of when (`peildatum`), how reliable (`betrouwbaarheid`).
    pub fn bare_statements(&self, asks: impl Fn(&str) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        self.statements(&self.root, "", &asks, false, &mut found);
        found
    }

    fn statements(
        &self,
        node: &Node,
        pointer: &str,
        asks: &impl Fn(&str) -> bool,
        flagged: bool,
        found: &mut Vec<String>,
    ) {
        match node {
            Node::Object(properties) => {
                let flagged = ["aard", "peildatum", "betrouwbaarheid"].iter().all(|flag| {
                    properties.get(*flag).is_some_and(|property| {
                        let told =
                            matches!(&property.node, Node::Leaf { rule: Rule::OneOf(_) | Rule::Date, .. });
                        property.required && told
                    })
                });
                for (name, property) in properties {
                    self.statements(&property.node, &step(pointer, name), asks, flagged, found);
                }
            }
            Node::List { item, .. } => self.statements(item, &format!("{pointer}/*"), asks, false, found),
            Node::Leaf { category, rule: Rule::Text { .. }, .. } => {
                if !flagged && self.categories.get(*category).is_some_and(|code| asks(code)) {
                    found.push(pointer.to_owned());
                }
            }
            Node::Leaf { .. } => {}
        }
    }

    fn field(&self, node: &Node, pointer: &str, required: bool, found: &mut Vec<Field>) {
        let category = match node {
            Node::Leaf { category, .. } => self.categories.get(*category).cloned(),
            Node::Object(_) | Node::List { .. } => None,
        };
        found.push(Field { pointer: pointer.to_owned(), required, category, kind: kind(node) });
        match node {
            Node::Object(properties) => {
                for (name, property) in properties {
                    self.field(&property.node, &step(pointer, name), property.required, found);
                }
            }
            Node::List { item, .. } => self.field(item, &format!("{pointer}/*"), true, found),
            Node::Leaf { .. } => {}
        }
    }
}

fn step(pointer: &str, name: &str) -> String {
    let mut longer = format!("{pointer}/");
    fault::push_escaped(&mut longer, name);
    longer
}

fn kind(node: &Node) -> Words {
    match node {
        Node::Object(_) => Words::new("velden bij elkaar", "fields together"),
        Node::List { min, max, .. } => {
            Words::new(format!("lijst van {min} tot {max}"), format!("list of {min} to {max}"))
        }
        Node::Leaf { rule, subject, .. } => identifying(leaf(rule), *subject),
    }
}

/// Says of a field that it identifies the person, if it does.
fn identifying(kind: Words, subject: Option<Scope>) -> Words {
    match subject {
        None => kind,
        Some(Scope::Case) => Words::new(
            format!("{}; wijst de persoon aan binnen de zaak", kind.nl),
            format!("{}; identifies the person within the case", kind.en),
        ),
        Some(Scope::Always) => Words::new(
            format!("{}; wijst de persoon aan", kind.nl),
            format!("{}; identifies the person", kind.en),
        ),
    }
}

fn leaf(rule: &Rule) -> Words {
    match rule {
        Rule::Text { min, max } => Words::new(
            format!("tekst van {min} tot {max} tekens"),
            format!("text of {min} to {max} characters"),
        ),
        // Quoted, so that a comma in a value does not read as two values.
        Rule::OneOf(values) => one_of(values.iter().map(|value| format!("{value:?}")).collect()),
        Rule::Date => Words::new("datum", "date"),
        Rule::DateTime => Words::new("tijdstip", "instant"),
        Rule::Integer { min, max } => {
            Words::new(format!("getal van {min} tot {max}"), format!("number from {min} to {max}"))
        }
        Rule::OneNumberOf(values) => one_of(values.iter().map(ToString::to_string).collect()),
        Rule::Boolean(None) => Words::new("ja of nee", "yes or no"),
        Rule::Boolean(Some(true)) => Words::new("altijd ja", "always yes"),
        Rule::Boolean(Some(false)) => Words::new("altijd nee", "always no"),
    }
}

fn one_of(values: Vec<String>) -> Words {
    let list = list(values.into_iter().map(Words::same), &Words::new("of", "or"));
    Words::new(format!("een van: {}", list.nl), format!("one of: {}", list.en))
}
