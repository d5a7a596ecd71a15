//! Which column is which field of a signal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::config;
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;
use serde::Deserialize;
use serde_json::Value;

use super::cells::is_formula;

/// The sample with every key.
pub(crate) const SAMPLE: &str = include_str!("../../../samples/mapping.toml");
/// Most parts of a pointer.
const DEPTH_MAX: usize = 8;
/// Most fields.
const FIELDS_MAX: usize = 500;

/// A mapping file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mapping {
    #[serde(default)]
    separator: String,
    #[serde(default)]
    pub(crate) encoding: Encoding,
    #[serde(default)]
    pub(crate) decimal: Decimal,
    #[serde(default)]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) addressing: Addressing,
    #[serde(rename = "field")]
    pub(crate) fields: Vec<Field>,
}

/// How text is written as bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Encoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "windows-1252")]
    Windows1252,
}

/// What stands before decimals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Decimal {
    #[default]
    #[serde(rename = ",")]
    Comma,
    #[serde(rename = ".")]
    Point,
}

/// Under what and to whom a row goes. What is left out is as the source of the rows says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Addressing {
    pub(crate) flow: Option<Given>,
    pub(crate) to: Option<Recipients>,
    pub(crate) step: Option<Given>,
    #[serde(rename = "type")]
    pub(crate) message_type: Option<Given>,
    pub(crate) case: Option<Given>,
    pub(crate) basis: Option<Given>,
}

/// A text, the same for all rows or in a column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a text, or { column = \"...\" }")]
pub(crate) enum Given {
    Fixed(String),
    Column(Column),
}

/// Recipients, the same for all rows or in a column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a list of texts, or { column = \"...\" }")]
pub(crate) enum Recipients {
    Fixed(Vec<String>),
    Column(Column),
}

/// A column by what stands in the header row.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    pub(crate) column: String,
}

/// A field of the body.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    #[serde(default)]
    pub(crate) column: String,
    pub(crate) to: String,
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    #[serde(default = "comma")]
    pub(crate) split: String,
    #[serde(default)]
    pub(crate) value: Value,
}

fn comma() -> String {
    ",".to_owned()
}

/// How a column is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Text,
    Integer,
    Boolean,
    Date,
    List,
    Fixed,
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// A sentence with file, line and key.
    pub(crate) fn load(path: &Path) -> Result<Self, Complaint> {
        Self::parse(&path.display().to_string(), &files::read_text(path, config::CONFIG_MAX)?)
    }

    /// Reads a mapping text; `name` is what the sentences call it.
    ///
    /// # Errors
    /// As [`Mapping::load`].
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, Complaint> {
        let mapping: Self = config::parse(name, text, SAMPLE)?;
        mapping.check().map_err(|complaint| complaint.about(name))?;
        Ok(mapping)
    }

    /// What separates cells, if the mapping says so.
    pub(crate) fn separator(&self) -> Option<u8> {
        self.separator.bytes().next()
    }

    /// The columns that have to be there.
    pub(crate) fn columns(&self) -> BTreeSet<&str> {
        let Addressing { flow, to, step, message_type, case, basis } = &self.addressing;
        let given = [flow.as_ref(), step.as_ref(), message_type.as_ref(), case.as_ref(), basis.as_ref()];
        let mut columns: BTreeSet<&str> = self.fields.iter().map(|field| field.column.as_str()).collect();
        for one in given.into_iter().flatten() {
            if let Given::Column(of) = one {
                columns.insert(&of.column);
            }
        }
        if let Some(Recipients::Column(of)) = to {
            columns.insert(&of.column);
        }
        columns.insert(&self.id);
        columns.remove("");
        columns
    }

    fn check(&self) -> Result<(), Complaint> {
        if !matches!(self.separator.as_str(), "" | ";" | "," | "\t") {
            return Err(wrong("separator", ("\";\", \",\" of \"\\t\"", "\";\", \",\" or \"\\t\"")));
        }
        if self.fields.is_empty() || self.fields.len() > FIELDS_MAX {
            return Err(wrong("field", ("1 tot 500 keer [[field]]", "1 to 500 times [[field]]")));
        }
        let mut pointers = BTreeMap::new();
        for field in &self.fields {
            let tokens = tokens(&field.to).ok_or_else(|| {
                wrong("to", ("een JSON-pointer zoals /locatie/wijk", "a JSON pointer such as /locatie/wijk"))
            })?;
            let fixed = field.kind == Kind::Fixed;
            if fixed != field.column.is_empty() || fixed == field.value.is_null() {
                return Err(wrong(
                    &field.to,
                    (
                        "een column, of type = \"fixed\" met een value",
                        "a column, or type = \"fixed\" with a value",
                    ),
                ));
            }
            if field.value.as_str().is_some_and(is_formula) {
                let text = ("een tekst die geen formule is", "a text that is no formula");
                return Err(wrong(&field.to, text));
            }
            if field.split.is_empty() {
                return Err(wrong("split", ("een teken dat de teksten scheidt", "what separates the texts")));
            }
            pointers.insert(tokens, &field.to);
        }
        // In order, so that what begins with another comes after it.
        let mut before: Option<&Vec<String>> = None;
        for tokens in pointers.keys() {
            if before.is_some_and(|before| tokens.starts_with(before)) {
                return Err(twice());
            }
            before = Some(tokens);
        }
        if pointers.len() < self.fields.len() { Err(twice()) } else { Ok(()) }
    }
}

fn wrong(key: &str, (nl, en): (&str, &str)) -> Complaint {
    Complaint::usage(
        Text::new(format!("{key:?} in de mapping klopt niet."), format!("{key:?} in the mapping is wrong.")),
        Text::new(format!("Verwacht wordt {nl}."), format!("Expected is {en}.")),
    )
}

fn twice() -> Complaint {
    Complaint::usage(
        Text::new(
            "Twee velden van de mapping gaan naar dezelfde plaats, of het ene ligt in het andere.",
            "Two fields of the mapping go to the same place, or one is in the other.",
        ),
        Text::new("Geef elk veld een eigen to.", "Give each field a to of its own."),
    )
}

/// The parts of a JSON pointer.
pub(crate) fn tokens(pointer: &str) -> Option<Vec<String>> {
    let rest = pointer.strip_prefix('/')?;
    let tokens: Vec<String> =
        rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
    let good = tokens.len() <= DEPTH_MAX && tokens.iter().all(|token| !token.is_empty());
    good.then_some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(from: &str, to: &str) -> Result<Mapping, String> {
        let text = include_str!("../../../../covenants/samples/csv/02-F02-politie.mapping.toml");
        assert!(text.contains(from), "{from}");
        Mapping::parse("m.toml", &text.replace(from, to)).map_err(|error| error.what.en)
    }

    #[test]
    fn the_example_is_right_and_mistakes_are_told() {
        let mapping = with("", "").unwrap();
        assert!(mapping.columns().contains("Wijk") && !mapping.columns().contains(""));
        for (from, to, said) in [
            ("type = \"integer\"", "type = \"getal\"", "\"type\""),
            ("to = \"/locatie/wijk\"", "to = \"locatie/wijk\"", "\"to\""),
            ("to = \"/locatie/wijk\"", "to = \"/locatie//wijk\"", "\"to\""),
            ("to = \"/locatie/wijk\"", "to = \"/locatie\"", "go to the same place"),
            ("to = \"/locatie/wijk\"", "to = \"/locatie/plek\"", "go to the same place"),
            ("to = \"/locatie/wijk\"", "naar = \"/locatie/wijk\"", "naar"),
            ("column = \"Wijk\"", "column = \"\"", "/locatie/wijk"),
            ("value = \"Voorbeeldstad\"", "column = \"Gemeente\"", "/locatie/gemeente"),
            ("value = \"Voorbeeldstad\"", "value = \"=1+1\"", "/locatie/gemeente"),
            ("flow = \"F02\"", "flow = 2", "flow"),
        ] {
            let error = with(from, to).unwrap_err();
            assert!(error.contains(said) && error.starts_with("m.toml"), "{to}: {error}");
        }
        assert!(
            Mapping::parse("m.toml", SAMPLE).is_err(),
            "the sample has a column and a value, to show both"
        );
        for wrong in ["separator = \"x\"", "encoding = \"latin1\"", "decimal = \"'\""] {
            assert!(with("[addressing]", &format!("{wrong}\n[addressing]")).is_err(), "{wrong}");
        }
    }
}
