//! Configuration files in TOML, read strictly.
//!
//! Every program ships a *complete sample* that sets each key once. It is documentation, a test, and the
//! list of known keys: a key that is not in it is refused with file, line and the nearest key that is. A
//! table that is empty in the sample may have any keys (a mapping chosen by the user).

use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::complaint::Complaint;
use crate::files;
use crate::lang::Text;

/// Most bytes of a configuration file.
pub const CONFIG_MAX: usize = 256 * 1024;

/// Reads the configuration file at `path`.
///
/// # Errors
/// A sentence with file, line and key: no TOML, an unknown key, a wrong or missing value.
pub fn load<T: DeserializeOwned>(path: &Path, complete_sample: &str) -> Result<T, Complaint> {
    parse(&path.display().to_string(), &files::read_text(path, CONFIG_MAX)?, complete_sample)
}

/// Reads a configuration text; `name` is what the sentences call it.
///
/// # Errors
/// As [`load`].
pub fn parse<T: DeserializeOwned>(name: &str, text: &str, complete_sample: &str) -> Result<T, Complaint> {
    let place = Place { name, text };
    let document = DeTable::parse(text).map_err(|error| place.syntax(&error))?;
    let sample = DeTable::parse(complete_sample)
        .map_err(|error| Complaint::bug(format!("the complete sample of {name} is no TOML: {error}")))?;
    place.unknown_keys(document.get_ref(), &[sample.get_ref()], &mut Vec::new(), sample.get_ref())?;
    toml::from_str(text).map_err(|error| place.wrong_value(&error, document.get_ref(), sample.get_ref()))
}

struct Place<'a> {
    name: &'a str,
    text: &'a str,
}

impl Place<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count().saturating_add(1)
    }

    fn complaint(&self, at: Option<usize>, what: &Text, advice: Text) -> Complaint {
        let at = at.map(|at| self.line(at));
        let place =
            |word: &str| at.map_or(self.name.to_owned(), |line| format!("{}, {word} {line}", self.name));
        Complaint::usage(
            Text::new(format!("{}: {}", place("regel"), what.nl), format!("{}: {}", place("line"), what.en)),
            advice,
        )
    }

    fn syntax(&self, error: &toml::de::Error) -> Complaint {
        let message = error.message();
        self.complaint(
            error.span().map(|span| span.start),
            &Text::new(
                format!("dit is geen geldige TOML ({message})."),
                format!("this is not valid TOML ({message})."),
            ),
            Text::new(
                "Verbeter de regel; tekst staat tussen aanhalingstekens.",
                "Correct the line; text goes between quotes.",
            ),
        )
    }

    fn unknown_keys(
        &self,
        table: &DeTable<'_>,
        known: &[&DeTable<'_>],
        path: &mut Vec<String>,
        sample: &DeTable<'_>,
    ) -> Result<(), Complaint> {
        if known.iter().all(|table| table.is_empty()) {
            return Ok(());
        }
        for (key, value) in table {
            let name: &str = key.get_ref();
            let matching: Vec<&DeValue<'_>> =
                known.iter().filter_map(|table| table.get(name)).map(Spanned::get_ref).collect();
            if matching.is_empty() {
                return Err(self.unknown_key(key.span().start, name, known, path, sample));
            }
            path.push(name.to_owned());
            let inner: Vec<&DeTable<'_>> = matching.iter().flat_map(|value| tables(value)).collect();
            // A table where the sample has a plain value is a wrong type, told when reading the values.
            if !inner.is_empty() {
                for table in tables(value.get_ref()) {
                    self.unknown_keys(table, &inner, path, sample)?;
                }
            }
            path.pop();
        }
        Ok(())
    }

    fn unknown_key(
        &self,
        at: usize,
        key: &str,
        known: &[&DeTable<'_>],
        path: &[String],
        sample: &DeTable<'_>,
    ) -> Complaint {
        let mut here: Vec<String> =
            known.iter().flat_map(|table| table.keys()).map(|key| key.get_ref().to_string()).collect();
        here.sort();
        here.dedup();
        let section = if path.is_empty() { String::new() } else { format!(" [{}]", path.join(".")) };
        let what = Text::new(
            format!("onbekende sleutel {key:?}{section}."),
            format!("unknown key {key:?}{section}."),
        );
        let mut everywhere = Vec::new();
        sections(sample, &mut Vec::new(), &mut everywhere);
        let advice = if let Some(near) = nearest(key, here.iter().map(String::as_str)) {
            Text::new(format!("Bedoelt u {near:?}?"), format!("Did you mean {near:?}?"))
        } else if let Some((section, _)) = everywhere.iter().find(|(_, known)| known == key) {
            let shown = if section.is_empty() {
                "boven de eerste [sectie]".into()
            } else {
                format!("onder [{section}]")
            };
            let en = if section.is_empty() {
                "above the first [section]".into()
            } else {
                format!("under [{section}]")
            };
            Text::new(format!("Deze sleutel hoort {shown}."), format!("This key belongs {en}."))
        } else {
            let list = here.join(", ");
            Text::new(format!("Bekend zijn hier: {list}."), format!("Known here: {list}."))
        };
        self.complaint(Some(at), &what, advice)
    }

    fn wrong_value(&self, error: &toml::de::Error, table: &DeTable<'_>, sample: &DeTable<'_>) -> Complaint {
        let span = error.span();
        let found = span.as_ref().and_then(|span| at_span(table, &[sample], span, &mut Vec::new()));
        let message = error.message();
        let at = span.as_ref().map(|span| span.start);
        let Some((key, expected)) = found else {
            return self.complaint(
                at.filter(|at| *at > 0),
                &Text::new(
                    format!("de instellingen kloppen niet ({message})."),
                    format!("the settings are wrong ({message})."),
                ),
                Text::new(
                    "Vergelijk met het volledige voorbeeld in de documentatie.",
                    "Compare with the complete sample in the documentation.",
                ),
            );
        };
        let advice = match expected {
            Some(value) => {
                let (nl, en) = type_words(value);
                let example = example(value);
                Text::new(
                    format!("Verwacht wordt {nl}, zoals in het voorbeeld: {key} = {example} ."),
                    format!("Expected is {en}, as in the sample: {key} = {example} ."),
                )
            }
            None => Text::new("Vergelijk met het volledige voorbeeld.", "Compare with the complete sample."),
        };
        self.complaint(
            at,
            &Text::new(
                format!("de waarde van {key:?} klopt niet ({message})."),
                format!("the value of {key:?} is wrong ({message})."),
            ),
            advice,
        )
    }
}

/// The tables a value holds: itself, or the tables in an array.
fn tables<'v, 'i>(value: &'v DeValue<'i>) -> Vec<&'v DeTable<'i>> {
    if let Some(table) = value.as_table() {
        return vec![table];
    }
    let items = value.as_array().into_iter().flat_map(|array| array.iter());
    items.flat_map(|item| tables(item.get_ref())).collect()
}

/// Every (section, key) of the sample.
fn sections(table: &DeTable<'_>, path: &mut Vec<String>, out: &mut Vec<(String, String)>) {
    for (key, value) in table {
        out.push((path.join("."), key.get_ref().to_string()));
        path.push(key.get_ref().to_string());
        for inner in tables(value.get_ref()) {
            sections(inner, path, out);
        }
        path.pop();
    }
}

/// The innermost key whose value covers the place of an error, with the sample's value for it.
fn at_span<'s, 'i>(
    table: &DeTable<'_>,
    known: &[&'s DeTable<'i>],
    span: &Range<usize>,
    path: &mut Vec<String>,
) -> Option<(String, Option<&'s DeValue<'i>>)> {
    for (key, value) in table {
        let range = value.span();
        let name: &str = key.get_ref();
        let matching: Vec<&'s DeValue<'i>> =
            known.iter().filter_map(|table| table.get(name)).map(Spanned::get_ref).collect();
        let inner: Vec<&'s DeTable<'i>> = matching.iter().flat_map(|value| tables(value)).collect();
        path.push(name.to_owned());
        for table in tables(value.get_ref()) {
            if let Some(found) = at_span(table, &inner, span, path) {
                return Some(found);
            }
        }
        // A table's span is only its header, so it is never the place of a wrong value inside it.
        if range.start <= span.start
            && span.start < range.end.max(range.start.saturating_add(1))
            && tables(value.get_ref()).is_empty()
        {
            return Some((path.last().cloned().unwrap_or_default(), matching.first().copied()));
        }
        path.pop();
    }
    None
}

fn nearest<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let allowed = (key.chars().count() / 3).clamp(1, 3);
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    known
        .map(|candidate| (strsim::damerau_levenshtein(&plain(key), &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

fn type_words(value: &DeValue<'_>) -> (&'static str, &'static str) {
    match value {
        DeValue::String(_) => ("een tekst tussen aanhalingstekens", "a text between quotes"),
        DeValue::Integer(_) => ("een geheel getal", "a whole number"),
        DeValue::Float(_) => ("een getal", "a number"),
        DeValue::Boolean(_) => ("true of false", "true or false"),
        DeValue::Datetime(_) => ("een datum", "a date"),
        DeValue::Array(_) => ("een lijst tussen [ ]", "a list between [ ]"),
        DeValue::Table(_) => ("een sectie", "a section"),
    }
}

fn example(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(at) => at.to_string(),
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| example(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(_) => "{ ... }".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    const SAMPLE: &str = r#"
name = "Regio"
[link]
listen = "[::]:4433"
key_exchange = "hybrid"
streams = 64
[[partner]]
oin = "1"
[roles]
"#;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Config {
        name: String,
        #[serde(default)]
        link: Link,
        #[serde(default)]
        partner: Vec<Partner>,
        #[serde(default)]
        roles: BTreeMap<String, String>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Link {
        listen: String,
        streams: u16,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Partner {
        oin: String,
    }

    fn read(text: &str) -> Result<Config, Complaint> {
        parse("broker.toml", text, SAMPLE)
    }

    #[test]
    fn the_sample_itself_and_free_keys_in_its_empty_table_are_read() {
        assert_eq!(read(SAMPLE).unwrap().link.streams, 64);
        assert_eq!(read("name = 'a'\n[roles]\npolitie = 'x'").unwrap().roles["politie"], "x");
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_nearest_key() {
        for (text, line, key, advice) in [
            ("nmae = 'a'", 1, "nmae", "mean \"name\""),
            ("name = 'a'\n\n[link]\nlisten-on = 'a'\nlisen = 'x'", 5, "lisen", "mean \"listen\""),
            ("name = 'a'\n[link]\nKey-Exchange = 'x'", 3, "Key-Exchange", "mean \"key_exchange\""),
            ("name = 'a'\nstreams = 5", 2, "streams", "under [link]"),
            ("name = 'a'\n[link]\nname = 'x'", 3, "name", "above the first"),
            ("name = 'a'\n[[partner]]\noin = '1'\n[[partner]]\nzzzzzz = '1'", 5, "zzzzzz", "Known here: oin"),
            ("name = 'a'\n[brocker]\nx = 1", 2, "brocker", "Known here: link, name, partner, roles"),
        ] {
            let first_bad = text.replace("listen-on = 'a'\n", "\n");
            let error = read(&first_bad).unwrap_err();
            assert!(error.what.en.starts_with(&format!("broker.toml, line {line}:")), "{error}");
            assert!(error.what.nl.contains(key) && error.advice.en.contains(advice), "{error}");
        }
    }

    #[test]
    fn a_wrong_value_names_line_key_and_what_is_expected() {
        for (text, line, key, expected) in [
            ("name = 'a'\n[link]\nstreams = 'many'", 3, "streams", "whole number"),
            ("name = 'a'\n[link]\nstreams = 70000", 3, "streams", "whole number"),
            ("name = 5", 1, "name", "between quotes"),
            ("name = 'a'\n[[partner]]\noin = true", 3, "oin", "between quotes"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.what.en.starts_with(&format!("broker.toml, line {line}:")), "{error}");
            assert!(error.what.en.contains(key) && error.advice.en.contains(expected), "{error}");
            assert!(error.advice.nl.contains("voorbeeld"));
        }
    }

    #[test]
    fn a_missing_key_and_broken_toml_are_told() {
        assert!(read("[link]\n").unwrap_err().what.en.contains("missing field `name`"));
        let error = read("name = 'a'\nlink = [").unwrap_err();
        assert!(error.what.en.contains("line 2") && error.what.nl.contains("geen geldige TOML"), "{error}");
        assert!(
            parse::<Config>("x", "name = 'a'", "= broken").unwrap_err().what.en.contains("program itself")
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load::<Config>(Path::new("/nonexistent/b.toml"), SAMPLE).unwrap_err();
        assert!(error.what.en.contains("/nonexistent/b.toml"));
    }
}
