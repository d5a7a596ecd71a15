//! What stands in a cell, as a value of a body; and cells that would be run as a formula where somebody opens them.

use std::collections::BTreeMap;

use seinhuis_shared::time::Timestamp;
use seinhuis_shell::lang::Text;
use serde_json::{Map, Value};

use super::mapping::{Decimal, Encoding, Field, Kind, tokens};

/// What bytes 0x80 to 0x9f stand for in windows-1252; five of them for nothing.
const WINDOWS: [char; 32] = [
    '€', '\u{fffd}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{fffd}', 'Ž', '\u{fffd}',
    '\u{fffd}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{fffd}', 'ž', 'Ÿ',
];

/// Reads a cell as text.
///
/// # Errors
/// What is wrong with its bytes.
pub(crate) fn text(bytes: &[u8], encoding: Encoding) -> Result<String, Text> {
    let bad = || {
        Text::new(
            "de tekens zijn geen UTF-8; bewaar als \"CSV UTF-8\", of zet encoding = \"windows-1252\" in de mapping",
            "its characters are not UTF-8; save as \"CSV UTF-8\", or set encoding = \"windows-1252\" in the mapping",
        )
    };
    let text = match encoding {
        Encoding::Utf8 => String::from_utf8(bytes.to_vec()).map_err(|_| bad())?,
        Encoding::Windows1252 => bytes.iter().map(|byte| windows(*byte)).collect(),
    };
    if text.contains(['\0', '\u{fffd}']) {
        return Err(Text::new(
            "er staat een teken in dat in deze codering niet bestaat",
            "there is a character in it that this encoding does not have",
        ));
    }
    Ok(text)
}

fn windows(byte: u8) -> char {
    let high = byte.checked_sub(0x80).and_then(|at| WINDOWS.get(usize::from(at)));
    high.copied().unwrap_or(char::from(byte))
}

/// Whether a spreadsheet would run a text as a formula. Numbers with a sign are none.
pub(crate) fn is_formula(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = |text: &str| text.split(['.', ',']).all(digits);
    match first {
        '=' | '@' | '\t' | '\r' | '\n' => true,
        '+' | '-' => !number(text.get(1..).unwrap_or_default().trim_end()),
        _ => false,
    }
}

/// A text that no spreadsheet runs.
pub(crate) fn neutral(text: &str) -> String {
    if is_formula(text) || is_formula(text.trim_start()) { format!("'{text}") } else { text.to_owned() }
}

fn formula() -> Text {
    Text::new(
        "begint als een formule (=, +, -, @); die zou bij de ontvanger worden uitgevoerd",
        "begins as a formula (=, +, -, @), which would be run at the recipient",
    )
}

/// A text as it may go to others.
fn plain(text: &str) -> Result<&str, Text> {
    let trimmed = text.trim();
    if is_formula(text) || is_formula(trimmed) { Err(formula()) } else { Ok(trimmed) }
}

/// What stands in a column of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// A text, or what is written as one.
    Text(String),
    /// Several, which the source of the row keeps apart itself.
    List(Vec<String>),
}

impl Cell {
    /// A cell as one text.
    ///
    /// # Errors
    /// When it is several.
    pub(crate) fn text(&self) -> Result<&str, Text> {
        match self {
            Self::Text(text) => Ok(text),
            Self::List(_) => Err(Text::new("is een lijst en geen tekst", "is a list and no text")),
        }
    }
}

/// Reads a cell as a field says; nothing for an empty one.
///
/// # Errors
/// What is expected, without what stands there.
pub(crate) fn value(cell: &Cell, field: &Field, decimal: Decimal) -> Result<Option<Value>, Text> {
    if field.kind == Kind::Fixed {
        return Ok(Some(field.value.clone()));
    }
    if let (Kind::List, Cell::List(items)) = (field.kind, cell) {
        return list(items.iter().map(String::as_str)).map(Some);
    }
    let cell = cell.text()?;
    let trimmed = cell.trim();
    if trimmed.is_empty() {
        return Ok(None);
    }
    Ok(Some(match field.kind {
        Kind::Text | Kind::Fixed => plain(cell)?.into(),
        Kind::Integer => integer(trimmed, decimal)?.into(),
        Kind::Boolean => boolean(trimmed)?.into(),
        Kind::Date => date(trimmed)?.into(),
        Kind::List => {
            plain(cell)?;
            list(cell.split(&field.split))?
        }
    }))
}

/// The texts of a list, without those that are empty.
fn list<'a>(items: impl Iterator<Item = &'a str>) -> Result<Value, Text> {
    let items = items.filter(|item| !item.trim().is_empty());
    items.map(|item| plain(item).map(Value::from)).collect::<Result<_, _>>().map(Value::Array)
}

fn integer(text: &str, decimal: Decimal) -> Result<i64, Text> {
    let point = match decimal {
        Decimal::Comma => ',',
        Decimal::Point => '.',
    };
    // Spreadsheets may show a whole number with decimals.
    let whole = match text.split_once(point) {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    };
    whole.parse().map_err(|_| {
        Text::new(
            "is geen geheel getal (schrijf het zonder punten tussen duizendtallen)",
            "is not a whole number (write it without separators between thousands)",
        )
    })
}

fn boolean(text: &str) -> Result<bool, Text> {
    match text.to_lowercase().as_str() {
        "ja" | "j" | "waar" | "yes" | "true" => Ok(true),
        "nee" | "n" | "onwaar" | "no" | "false" => Ok(false),
        _ => Err(Text::new("is geen ja of nee", "is not ja or nee (yes or no)")),
    }
}

/// A date as people write it in Dutch, day first; or year first. A year of two digits may be anything.
fn date(text: &str) -> Result<String, Text> {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let written = match (parts.as_slice(), lengths.as_slice()) {
        ([day, month, year], [1 | 2, 1 | 2, 4]) if digits => format!("{year}-{month:0>2}-{day:0>2}"),
        ([year, month, day], [4, 2, 2]) if digits => format!("{year}-{month}-{day}"),
        ([_, _, _], [1 | 2, 1 | 2, 2]) if digits => {
            return Err(Text::new(
                "is een datum met een jaartal van twee cijfers; schrijf d-m-jjjj, zoals 1-3-2026",
                "is a date with a year of two digits; write d-m-yyyy, such as 1-3-2026",
            ));
        }
        _ => String::new(),
    };
    Some(written).filter(|date| Timestamp::parse(date).is_some()).ok_or_else(|| {
        Text::new(
            "is geen datum; schrijf d-m-jjjj, zoals 1-3-2026",
            "is not a date; write d-m-yyyy, such as 1-3-2026",
        )
    })
}

/// A body in the making.
#[derive(Debug, Default)]
pub(crate) struct Body(BTreeMap<Vec<String>, Value>);

impl Body {
    pub(crate) fn put(&mut self, pointer: &str, value: Value) {
        if let Some(tokens) = tokens(pointer) {
            self.0.insert(tokens, value);
        }
    }

    /// The body as JSON. Where all names of an object are numbers it is a list, without what was left out.
    pub(crate) fn into_json(self) -> Value {
        let mut whole = Map::new();
        for (tokens, value) in self.0 {
            let Some((last, parents)) = tokens.split_last() else { continue };
            let mut at = &mut whole;
            for token in parents {
                let inner = at.entry(token.clone()).or_insert_with(|| Value::Object(Map::new()));
                // The mapping was checked: nothing is both a value and what holds others.
                let Value::Object(inner) = inner else { return Value::Null };
                at = inner;
            }
            at.insert(last.clone(), value);
        }
        listed(Value::Object(whole))
    }
}

fn listed(value: Value) -> Value {
    let Value::Object(all) = value else { return value };
    let numbers: Option<BTreeMap<u32, String>> =
        all.keys().map(|key| key.parse().ok().map(|number| (number, key.clone()))).collect();
    let mut all: Map<String, Value> = all.into_iter().map(|(key, inner)| (key, listed(inner))).collect();
    match numbers.filter(|numbers| !numbers.is_empty() && numbers.len() == all.len()) {
        Some(numbers) => numbers.values().filter_map(|key| all.remove(key)).collect(),
        None => Value::Object(all),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(kind: Kind, cell: &str) -> Result<Option<Value>, Text> {
        let field =
            Field { column: "X".into(), to: "/x".into(), kind, split: ",".into(), value: Value::Null };
        value(&Cell::Text(cell.into()), &field, Decimal::Comma)
    }

    fn good(kind: Kind, cell: &str) -> Value {
        read(kind, cell).unwrap().unwrap()
    }

    #[test]
    fn cells_are_read_as_people_write_them() {
        assert_eq!(good(Kind::Text, " Plein "), json!("Plein"));
        assert_eq!(good(Kind::Integer, "17"), json!(17));
        assert_eq!(good(Kind::Integer, "-3,00"), json!(-3));
        assert_eq!(good(Kind::Boolean, "Ja"), json!(true));
        assert_eq!(good(Kind::Boolean, "ONWAAR"), json!(false));
        assert_eq!(good(Kind::Date, "1-3-2026"), json!("2026-03-01"));
        assert_eq!(good(Kind::Date, "2026-03-01"), json!("2026-03-01"));
        assert_eq!(good(Kind::List, "do, vr,,za"), json!(["do", "vr", "za"]));
        assert_eq!(read(Kind::Integer, " "), Ok(None));
    }

    #[test]
    fn what_is_not_what_it_should_be_is_told_without_what_it_is() {
        for (kind, cell) in [
            (Kind::Integer, "1.000"),
            (Kind::Integer, "17,5"),
            (Kind::Integer, "veel"),
            (Kind::Boolean, "misschien"),
            (Kind::Date, "1-3-26"),
            (Kind::Date, "31-2-2026"),
            (Kind::Date, "3/1/2026"),
            (Kind::Date, "1-é-2026"),
            (Kind::Text, "=1+1"),
            (Kind::List, "a,=b"),
        ] {
            let told = read(kind, cell).unwrap_err();
            assert!(!told.en.contains(cell) && !told.nl.contains(cell), "{cell}: {told:?}");
        }
        assert!(read(Kind::Date, "1-3-26").unwrap_err().nl.contains("twee cijfers"));
    }

    #[test]
    fn a_list_that_is_kept_apart_is_one_and_nothing_else() {
        let field =
            |kind| Field { column: "X".into(), to: "/x".into(), kind, split: ",".into(), value: Value::Null };
        let read = |kind, items: &[&str]| {
            let cell = Cell::List(items.iter().map(|item| (*item).to_owned()).collect());
            value(&cell, &field(kind), Decimal::Point)
        };
        assert_eq!(read(Kind::List, &["a,b", "", " c "]), Ok(Some(json!(["a,b", "c"]))));
        assert!(read(Kind::List, &["a", "=b"]).unwrap_err().en.contains("formula"));
        assert!(read(Kind::Text, &["a"]).unwrap_err().en.contains("list"));
    }

    #[test]
    fn formulas_are_seen_and_made_harmless() {
        for formula in ["=1", "@SUM(A1)", "+1+1", "-A1", "\t=1", "\r=1", "\n1", "--1", "+", "-1;2"] {
            assert!(is_formula(formula), "{formula:?}");
            assert!(!is_formula(&neutral(formula)));
            assert!(read(Kind::Text, formula).is_err(), "{formula:?}");
        }
        for fine in ["", "-1", "+31612345678", "-1.000,50", "a=b", "'=1", "1-2"] {
            assert!(!is_formula(fine), "{fine:?}");
            assert_eq!(neutral(fine), fine);
        }
        assert!(read(Kind::Text, " =1").is_err(), "also after a space, which is taken off");
    }

    #[test]
    fn bytes_are_text_in_the_encoding_that_the_mapping_says() {
        assert!(text(b"caf\xe9", Encoding::Utf8).unwrap_err().en.contains("UTF-8"));
        assert_eq!(text(b"caf\xe9 \x80", Encoding::Windows1252).unwrap(), "café €");
        assert!(text(b"\x81", Encoding::Windows1252).is_err());
        assert_eq!(text("é".as_bytes(), Encoding::Utf8).unwrap(), "é");
    }

    #[test]
    fn a_body_has_its_fields_where_the_pointers_say() {
        let mut body = Body::default();
        for (pointer, value) in
            [("/a/b", json!(1)), ("/a/c~1d", json!(2)), ("/l/10/x", json!(3)), ("/l/9/x", json!(4))]
        {
            body.put(pointer, value);
        }
        assert_eq!(body.into_json(), json!({ "a": { "b": 1, "c/d": 2 }, "l": [{ "x": 4 }, { "x": 3 }] }));
    }

    proptest! {
        #[test]
        fn no_cell_stops_the_reading(cell in any::<String>(), kind in 0..5_usize) {
            let kinds = [Kind::Text, Kind::Integer, Kind::Boolean, Kind::Date, Kind::List];
            let read = read(kinds[kind], &cell);
            if let Ok(Some(Value::String(text))) = read {
                prop_assert!(!is_formula(&text));
            }
            prop_assert!(!is_formula(&neutral(&cell)));
        }

        #[test]
        fn no_bytes_stop_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            for encoding in [Encoding::Utf8, Encoding::Windows1252] {
                if let Ok(text) = text(&bytes, encoding) {
                    prop_assert!(!text.contains(char::REPLACEMENT_CHARACTER));
                }
            }
        }
    }
}
