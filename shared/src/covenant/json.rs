//! JSON as read from outside: no duplicate keys, bounded depth, and one canonical text.
//!
//! The general JSON reader keeps the last of two equal keys, so that two readers can see different
//! documents in the same bytes; here that is a fault. Faults never repeat a value.

use core::cell::Cell;
use core::fmt;
use std::collections::BTreeMap;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess};

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number within 64 bits.
    Integer(i64),
    /// Any other number; no rule here accepts one, so its value is not kept.
    OtherNumber,
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, ordered by key.
    Object(BTreeMap<String, Json>),
}

/// Why bytes are not the JSON they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonFault {
    /// Not UTF-8.
    Utf8,
    /// Not JSON, at this line and column.
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// An object has one key twice, at this line and column.
    Duplicate {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// Nested deeper than allowed.
    TooDeep,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Syntax,
    Duplicate,
    TooDeep,
}

#[derive(Clone, Copy)]
struct Seed<'c> {
    depth: usize,
    cause: &'c Cell<Cause>,
}

impl Seed<'_> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| {
            self.cause.set(Cause::TooDeep);
            E::custom("too deep")
        })?;
        Ok(Self { depth, cause: self.cause })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::OtherNumber, Json::Integer))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut fields = BTreeMap::new();
        while let Some(key) = access.next_key::<String>()? {
            if fields.contains_key(&key) {
                self.cause.set(Cause::Duplicate);
                return Err(de::Error::custom("duplicate"));
            }
            let value = access.next_value_seed(inner)?;
            fields.insert(key, value);
        }
        Ok(Json::Object(fields))
    }
}

/// Reads exactly one JSON value, with at most `depth` arrays and objects inside each other.
///
/// # Errors
/// [`JsonFault`]; positions count bytes of the line.
pub fn parse(bytes: &[u8], depth: usize) -> Result<Json, JsonFault> {
    let text = core::str::from_utf8(bytes).map_err(|_| JsonFault::Utf8)?;
    let cause = Cell::new(Cause::Syntax);
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Seed { depth, cause: &cause }.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match cause.get() {
            Cause::Syntax => JsonFault::Syntax { line, column },
            Cause::Duplicate => JsonFault::Duplicate { line, column },
            Cause::TooDeep => JsonFault::TooDeep,
        }
    })
}

impl Json {
    /// The text of a string; `None` for anything else.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The value of a whole number; `None` for anything else.
    pub fn as_integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }

    /// The one text for this value: keys by code point, no white space, shortest escapes.
    /// A number that is not whole has no canonical text here and becomes `null`.
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null | Self::OtherNumber => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Integer(value) => out.push_str(&value.to_string()),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                for (index, (key, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    // Serialising a string cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn each_fault_has_its_name_and_place() {
        let deep = "[".repeat(5) + &"]".repeat(5);
        assert_eq!(parse(deep.as_bytes(), 4), Err(JsonFault::TooDeep));
        assert!(parse(deep.as_bytes(), 5).is_ok());
        assert_eq!(parse(b"\xff", 4), Err(JsonFault::Utf8));
        assert_eq!(parse(b"{\n\"a\":}", 4), Err(JsonFault::Syntax { line: 2, column: 5 }));
        assert!(matches!(parse(br#"{"a":1,"a":2}"#, 4), Err(JsonFault::Duplicate { line: 1, .. })));
        // The same key written differently is the same key.
        assert!(matches!(parse(br#"{"a":1,"\u0061":2}"#, 4), Err(JsonFault::Duplicate { .. })));
        assert!(parse(b"1 2", 4).is_err());
        assert!(parse(b"", 4).is_err());
        let bomb = "[".repeat(1_000_000);
        assert_eq!(parse(bomb.as_bytes(), 16), Err(JsonFault::TooDeep));
    }

    #[test]
    fn canonical_text_reads_back_as_itself() {
        let text = r#" { "b" : [1, true, null, "é\n"], "a": {} } "#;
        let value = parse(text.as_bytes(), 4).unwrap();
        let canonical = value.canonical();
        assert_eq!(canonical, "{\"a\":{},\"b\":[1,true,null,\"é\\n\"]}");
        assert_eq!(parse(canonical.as_bytes(), 4), Ok(value));
        assert_eq!(parse(b"1.5", 4), Ok(Json::OtherNumber));
        assert_eq!(parse(b"18446744073709551615", 4), Ok(Json::OtherNumber));
    }
}
