//! A covenant's schema as a form follows it: its fields, their order, their bounds and what is said of them.

use serde_json::{Map, Value};

/// A field, or what is in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// Fields by name.
    Object(Vec<Field>),
    /// Rows of one shape.
    List {
        /// What a row is.
        item: Box<Shape>,
        /// Fewest rows.
        min: usize,
        /// Most rows.
        max: usize,
    },
    /// A single value.
    Leaf(Leaf),
}

/// What a single value may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaf {
    /// Text of at most so many characters.
    Text {
        /// Most characters.
        max: usize,
    },
    /// One of these texts.
    OneOf(Vec<String>),
    /// One of these numbers.
    NumberOf(Vec<i64>),
    /// A date.
    Date,
    /// An instant with its offset.
    DateTime,
    /// A whole number within bounds.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// True or false; only one of them when the schema says so.
    Flag(Option<bool>),
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Its name in the body.
    pub(super) name: String,
    /// What the schema says of it, in Dutch.
    pub(super) description: Option<String>,
    /// The data category that it says for itself and what is in it.
    pub(super) category: Option<String>,
    /// Whether it has to be there as far as what it is in is there.
    pub(super) required: bool,
    /// What it is.
    pub(super) shape: Shape,
}

impl Shape {
    /// Reads a schema that the covenant carries; none when it is not one.
    pub(super) fn read(text: &str) -> Option<Self> {
        Self::of(serde_json::from_str::<Value>(text).ok()?.as_object()?)
    }

    fn of(schema: &Map<String, Value>) -> Option<Self> {
        let listed = schema.get("enum").and_then(Value::as_array).cloned();
        let values = listed.or_else(|| schema.get("const").map(|value| vec![value.clone()]));
        Some(match (schema.get("type")?.as_str()?, values) {
            ("object", _) => {
                let required: Vec<&str> = schema
                    .get("required")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                let field = |(name, inner): (&String, &Value)| {
                    let inner = inner.as_object()?;
                    let text = |key: &str| inner.get(key).and_then(Value::as_str).map(str::to_owned);
                    Some(Field {
                        name: name.clone(),
                        description: text("description"),
                        category: text("x-category"),
                        required: required.contains(&name.as_str()),
                        shape: Self::of(inner)?,
                    })
                };
                let mut fields: Vec<Field> =
                    schema.get("properties")?.as_object()?.iter().map(field).collect::<Option<_>>()?;
                // Single fields before groups and lists: the covenant's form has them by name alone.
                fields.sort_by_key(|field| matches!(field.shape, Self::Object(_) | Self::List { .. }));
                Self::Object(fields)
            }
            ("array", _) => Self::List {
                item: Box::new(Self::of(schema.get("items")?.as_object()?)?),
                min: count(schema, "minItems").unwrap_or_default(),
                max: count(schema, "maxItems")?,
            },
            (kind, values) => Self::Leaf(Leaf::of(kind, schema, values)?),
        })
    }

    /// Whether a list of these is chosen from: boxes instead of rows.
    pub(super) const fn is_choice(&self) -> bool {
        matches!(self, Self::Leaf(Leaf::OneOf(_)))
    }

    /// The shape at a JSON pointer into a body.
    pub(super) fn at(&self, pointer: &str) -> Option<&Self> {
        pointer.split('/').skip(1).try_fold(self, |shape, token| match shape {
            Self::Object(fields) => fields.iter().find(|field| field.name == token).map(|field| &field.shape),
            Self::List { item, .. } => Some(item.as_ref()),
            Self::Leaf(_) => None,
        })
    }

    /// The same without a field of the root.
    pub(super) fn without(self, name: &str) -> Self {
        match self {
            Self::Object(fields) => {
                Self::Object(fields.into_iter().filter(|field| field.name != name).collect())
            }
            Self::List { .. } | Self::Leaf(_) => self,
        }
    }
}

impl Leaf {
    /// What a schema of this type says; `values` are those it lists.
    fn of(kind: &str, schema: &Map<String, Value>, values: Option<Vec<Value>>) -> Option<Self> {
        let number = |key: &str| schema.get(key).and_then(Value::as_i64);
        Some(match (kind, values) {
            ("string", Some(values)) => {
                let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
                Self::OneOf(texts.collect::<Option<_>>()?)
            }
            ("string", None) => match schema.get("format").and_then(Value::as_str) {
                Some("date") => Self::Date,
                Some(_) => Self::DateTime,
                None => Self::Text { max: count(schema, "maxLength")? },
            },
            ("integer", Some(values)) => {
                Self::NumberOf(values.iter().map(Value::as_i64).collect::<Option<_>>()?)
            }
            ("integer", None) => Self::Integer { min: number("minimum")?, max: number("maximum")? },
            ("boolean", values) => {
                Self::Flag(values.and_then(|values| values.first().and_then(Value::as_bool)))
            }
            _ => return None,
        })
    }

    /// A text as the type of this value; text when it does not read as that.
    pub(super) fn typed(&self, text: &str) -> Value {
        match self {
            Self::Integer { .. } | Self::NumberOf(_) => {
                text.parse::<i64>().map_or_else(|_| text.into(), Value::from)
            }
            Self::Flag(_) => text.parse::<bool>().map_or_else(|_| text.into(), Value::from),
            Self::Text { .. } | Self::OneOf(_) | Self::Date | Self::DateTime => text.into(),
        }
    }
}

fn count(schema: &Map<String, Value>, key: &str) -> Option<usize> {
    usize::try_from(schema.get(key)?.as_u64()?).ok()
}

/// A name of the covenant as people read it: `aantal_meldingen` is Aantal meldingen.
pub(super) fn readable(name: &str) -> String {
    let spaced = name.replace('_', " ");
    let mut rest = spaced.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use seinhuis_shared::covenant::schema::Schema;

    use super::*;

    /// Each pointer of a shape as the schema names it.
    fn pointers(shape: &Shape, at: &str, found: &mut Vec<String>) {
        match shape {
            Shape::Object(fields) => {
                for field in fields {
                    let at = format!("{at}/{}", field.name);
                    found.push(at.clone());
                    pointers(&field.shape, &at, found);
                }
            }
            Shape::List { item, .. } => {
                if matches!(**item, Shape::Object(_)) {
                    pointers(item, &format!("{at}/*"), found);
                }
            }
            Shape::Leaf(_) => {}
        }
    }

    #[test]
    fn every_schema_of_the_model_has_a_form_with_its_fields_and_no_others() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../covenants/schemas");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let shape = Shape::read(&Schema::canonical(&text).unwrap()).unwrap();
            let (mut own, schema) = (Vec::new(), Schema::parse(&text).unwrap());
            pointers(&shape, "", &mut own);
            let mut wanted: Vec<String> = schema.fields().into_iter().map(|field| field.pointer).collect();
            wanted.retain(|pointer| !pointer.ends_with("/*"));
            own.sort();
            wanted.sort();
            assert_eq!(own, wanted);
            count += 1;
        }
        assert!(count > 30, "{count}");
    }

    #[test]
    fn names_are_readable() {
        assert_eq!(readable("aantal_meldingen"), "Aantal meldingen");
        assert_eq!(readable(""), "");
    }
}
