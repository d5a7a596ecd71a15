//! A small, closed subset of JSON Schema: enough to say which fields a body may have, and no more.
//!
//! Keywords: `type` (object, array, string, integer, boolean), `properties`, `required`,
//! `additionalProperties` (must stand on every object, as `false`), `enum`, `const`, `minLength`,
//! `maxLength` (characters), `minimum`, `maximum`, `minItems`, `maxItems`, `items`, `format` (`date`,
//! `date-time`), `description`, and our own `x-category`: the data category of a field and of
//! everything below it, and `x-subject`: the texts of one object that bear it identify a person together, `case`
//! within the case, `always` everywhere. Any other keyword is refused, so that no rule is written that nothing enforces.
//! Every text, list and number must be bounded, and every leaf must have a category: the categories in
//! a body are derived from the body, not believed.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use super::declared::is_code;
use super::json::{self, Json, JsonFault};
use super::limits::{BODY_DEPTH, FIELD_ITEMS_MAX, FIELD_NAMES_MAX, FIELD_TEXT_MAX, SCHEMA_DEPTH, SCHEMA_MAX};

mod calendar;
mod fault;
mod fields;
mod read;
mod subjects;

pub use fault::{FieldError, FieldFault};
pub use fields::Field;
pub use subjects::{Detail, Person, Scope, Subject, normal};

/// A schema, parsed and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    root: Node,
    categories: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Object(BTreeMap<String, Property>),
    List { item: Box<Node>, min: u64, max: u64 },
    Leaf { category: usize, rule: Rule, subject: Option<Scope> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Property {
    required: bool,
    node: Node,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Text { min: u64, max: u64 },
    OneOf(Vec<String>),
    Date,
    DateTime,
    Integer { min: i64, max: i64 },
    OneNumberOf(Vec<i64>),
    Boolean(Option<bool>),
}

/// Why a schema is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// Where in the schema, as a JSON pointer.
    pub pointer: String,
    /// What is wrong and what to write.
    pub what: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            write!(f, "schema: {}", self.what)
        } else {
            write!(f, "schema at {}: {}", self.pointer, self.what)
        }
    }
}

impl core::error::Error for SchemaError {}

impl Schema {
    /// Reads a schema; its root must describe an object.
    ///
    /// # Errors
    /// [`SchemaError`] with the place: not JSON, an unknown keyword, a missing bound or category.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        read::read(text)
    }

    /// The canonical text of a schema, the form in which a covenant carries it.
    ///
    /// # Errors
    /// [`SchemaError`] when it is no valid schema.
    pub fn canonical(text: &str) -> Result<String, SchemaError> {
        Self::parse(text)?;
        read::json(text).map(|json| json.canonical())
    }

    /// Every category a body may hold, sorted.
    pub fn categories(&self) -> impl Iterator<Item = &str> {
        self.categories.iter().map(String::as_str)
    }

    /// The categories every valid body holds because its required fields do, with one such field.
    pub fn required_categories(&self) -> BTreeMap<&str, String> {
        let mut found = BTreeMap::new();
        self.collect_required(&self.root, "", &mut found);
        found
    }

    fn collect_required<'s>(&'s self, node: &Node, at: &str, found: &mut BTreeMap<&'s str, String>) {
        match node {
            Node::Object(properties) => {
                for (name, property) in properties.iter().filter(|(_, property)| property.required) {
                    self.collect_required(&property.node, &format!("{at}/{name}"), found);
                }
            }
            Node::List { item, min, .. } if *min > 0 => {
                self.collect_required(item, &format!("{at}/0"), found);
            }
            Node::List { .. } => {}
            Node::Leaf { category, .. } => {
                if let Some(code) = self.categories.get(*category) {
                    found.entry(code).or_insert_with(|| at.to_owned());
                }
            }
        }
    }

    /// Holds a body against the schema and tells which data categories are really in it, sorted.
    ///
    /// # Errors
    /// [`FieldError`]: the first fault, naming the field and never its value.
    pub fn check(&self, body: &[u8]) -> Result<Vec<String>, FieldError> {
        let walk = self.walk(body, 1);
        if let Some(fault) = walk.faults.into_iter().next() {
            return Err(fault);
        }
        // Indexes ascend as the codes do: `categories` is sorted.
        Ok(walk.found.iter().filter_map(|index| self.categories.get(*index).cloned()).collect())
    }

    /// The faults of a body, at most `most` of them: the first is the one of [`Schema::check`]. For a person who fills a
    /// form in and wants to know all at once.
    pub fn faults(&self, body: &[u8], most: usize) -> Vec<FieldError> {
        self.walk(body, most).faults
    }

    fn walk(&self, body: &[u8], most: usize) -> Walk {
        let mut walk = Walk { pointer: String::new(), found: BTreeSet::new(), faults: Vec::new(), most };
        match json::parse(body, BODY_DEPTH) {
            Ok(value @ Json::Object(_)) => walk.node(&self.root, &value),
            Ok(_) => walk.fail(FieldFault::NotAnObject),
            Err(fault) => walk.fail(fault.into()),
        }
        walk
    }
}

impl From<JsonFault> for FieldFault {
    fn from(fault: JsonFault) -> Self {
        match fault {
            JsonFault::Utf8 => Self::NotUtf8,
            JsonFault::Syntax { line, column } => Self::Syntax { line, column },
            JsonFault::Duplicate { line, column } => Self::Duplicate { line, column },
            JsonFault::TooDeep => Self::TooDeep { max: BODY_DEPTH },
        }
    }
}

struct Walk {
    pointer: String,
    found: BTreeSet<usize>,
    faults: Vec<FieldError>,
    /// As many faults are enough.
    most: usize,
}

impl Walk {
    fn fail(&mut self, fault: FieldFault) {
        if !self.is_full() {
            self.faults.push(FieldError { path: self.pointer.clone(), fault });
        }
    }

    fn is_full(&self) -> bool {
        self.faults.len() >= self.most
    }

    fn under(&mut self, name: &str, then: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        self.pointer.push('/');
        fault::push_escaped(&mut self.pointer, name);
        then(self);
        self.pointer.truncate(length);
    }

    fn node(&mut self, node: &Node, value: &Json) {
        if self.is_full() {
            return;
        }
        match (node, value) {
            (Node::Object(properties), Json::Object(fields)) => self.object(properties, fields),
            (Node::Object(_), _) => self.fail(FieldFault::NotAnObject),
            (Node::List { item, min, max }, Json::List(items)) => {
                let count = length(items.len());
                if count < *min {
                    return self.fail(FieldFault::TooFew { min: *min });
                }
                if count > *max {
                    return self.fail(FieldFault::TooMany { max: *max });
                }
                for (index, value) in items.iter().enumerate() {
                    self.under(&index.to_string(), |walk| walk.node(item, value));
                }
            }
            (Node::List { .. }, _) => self.fail(FieldFault::NotAList),
            (Node::Leaf { category, rule, .. }, value) => match rule.fault(value) {
                Some(fault) => self.fail(fault),
                None => _ = self.found.insert(*category),
            },
        }
    }

    fn object(&mut self, properties: &BTreeMap<String, Property>, fields: &BTreeMap<String, Json>) {
        for name in fields.keys().filter(|name| !properties.contains_key(*name)) {
            self.under(name, |walk| walk.fail(FieldFault::Unknown));
        }
        for (name, property) in properties {
            match fields.get(name) {
                Some(value) => self.under(name, |walk| walk.node(&property.node, value)),
                None if property.required => self.under(name, |walk| walk.fail(FieldFault::Missing)),
                None => {}
            }
        }
    }
}

impl Rule {
    fn fault(&self, value: &Json) -> Option<FieldFault> {
        match (self, value) {
            (Self::Text { min, max }, Json::Text(text)) => {
                let count = length(text.chars().count());
                if count < *min {
                    Some(FieldFault::TooShort { min: *min })
                } else if count > *max {
                    Some(FieldFault::TooLong { max: *max })
                } else {
                    None
                }
            }
            (Self::OneOf(values), Json::Text(text)) => {
                (!values.contains(text)).then(|| FieldFault::NotListed { allowed: values.clone() })
            }
            (Self::Date, Json::Text(text)) => (!calendar::is_date(text)).then_some(FieldFault::NotADate),
            (Self::DateTime, Json::Text(text)) => {
                (!calendar::is_date_time(text)).then_some(FieldFault::NotADateTime)
            }
            (Self::Text { .. } | Self::OneOf(_) | Self::Date | Self::DateTime, _) => {
                Some(FieldFault::NotText)
            }
            (Self::Integer { min, max }, Json::Integer(number)) => {
                (!(*min..=*max).contains(number)).then_some(FieldFault::OutOfRange { min: *min, max: *max })
            }
            (Self::OneNumberOf(values), Json::Integer(number)) => (!values.contains(number))
                .then(|| FieldFault::NotListed { allowed: values.iter().map(ToString::to_string).collect() }),
            (Self::Integer { .. } | Self::OneNumberOf(_), _) => Some(FieldFault::NotAnInteger),
            (Self::Boolean(constant), Json::Bool(value)) => constant
                .is_some_and(|constant| constant != *value)
                .then(|| FieldFault::NotListed { allowed: vec![(!value).to_string()] }),
            (Self::Boolean(_), _) => Some(FieldFault::NotABoolean),
        }
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
