//! The restricted canonical JSON of entries: one flat object of strings and integers (RFC 8785).

use core::fmt::Display;
use core::str::FromStr;
use std::collections::BTreeMap;

use super::{EntryError, MAX_INTEGER, MAX_TEXT_BYTES};
use crate::limits::ENTRY_MAX;

/// Whether a text may be a value.
///
/// Not empty, because absence already has a way to be written; at most `longest` bytes. Line separators are refused with the control characters: some readers would break an export's line there.
fn is_allowed(text: &str, longest: usize) -> bool {
    let bad = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    !text.is_empty() && text.len() <= longest && !text.chars().any(bad)
}

/// Writes members in the order given; absent ones leave no trace.
pub(super) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(super) const fn new() -> Self {
        Self { out: Vec::new() }
    }

    /// Starts a member. Keys are the crate's own and need no escaping.
    fn key(&mut self, key: &str) {
        self.out.push(if self.out.is_empty() { b'{' } else { b',' });
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(super) fn text(&mut self, key: &'static str, value: Option<&str>) -> Result<(), EntryError> {
        self.text_up_to(key, value, MAX_TEXT_BYTES)
    }

    pub(super) fn text_up_to(
        &mut self,
        key: &'static str,
        value: Option<&str>,
        longest: usize,
    ) -> Result<(), EntryError> {
        let Some(value) = value else { return Ok(()) };
        if !is_allowed(value, longest) {
            return Err(EntryError::BadValue(key));
        }
        self.key(key);
        self.out.push(b'"');
        for byte in value.bytes() {
            // All that RFC 8785 §3.2.2.2 escapes, once control characters are excluded.
            if matches!(byte, b'"' | b'\\') {
                self.out.push(b'\\');
            }
            self.out.push(byte);
        }
        self.out.push(b'"');
        Ok(())
    }

    pub(super) fn id(&mut self, key: &'static str, value: Option<&impl Display>) -> Result<(), EntryError> {
        self.text(key, value.map(ToString::to_string).as_deref())
    }

    pub(super) fn integer(&mut self, key: &'static str, value: Option<u64>) -> Result<(), EntryError> {
        let Some(value) = value else { return Ok(()) };
        if value > MAX_INTEGER {
            return Err(EntryError::BadValue(key));
        }
        self.key(key);
        self.out.extend_from_slice(value.to_string().as_bytes());
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, EntryError> {
        self.out.push(b'}');
        if self.out.len() > ENTRY_MAX {
            return Err(EntryError::TooLong(self.out.len()));
        }
        Ok(self.out)
    }
}

/// A value that was read.
enum Value {
    Text(String),
    Integer(u64),
}

/// The members of one object; each is taken out once.
pub(super) struct Reader {
    members: BTreeMap<String, Value>,
}

impl Reader {
    /// Reads an object without white space, its keys strictly ascending.
    ///
    /// Leading zeros, too large integers and bytes after the object are left to the caller, who compares what it
    /// would have written itself.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_MAX {
            return Err(EntryError::TooLong(bytes.len()));
        }
        let text = core::str::from_utf8(bytes).map_err(|e| EntryError::NotCanonical(e.valid_up_to()))?;
        let mut scanner = Scanner { rest: text };
        let members = scanner
            .object()
            .ok_or(EntryError::NotCanonical(text.len().saturating_sub(scanner.rest.len())))?;
        Ok(Self { members })
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, EntryError> {
        match self.members.remove(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Integer(_)) => Err(EntryError::BadValue(key)),
        }
    }

    pub(super) fn id<T: FromStr>(&mut self, key: &'static str) -> Result<Option<T>, EntryError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| EntryError::BadValue(key))
    }

    pub(super) fn integer(&mut self, key: &'static str) -> Result<Option<u64>, EntryError> {
        match self.members.remove(key) {
            None => Ok(None),
            Some(Value::Integer(value)) => Ok(Some(value)),
            Some(Value::Text(_)) => Err(EntryError::BadValue(key)),
        }
    }

    /// Refuses what nobody took out.
    pub(super) fn finish(self) -> Result<(), EntryError> {
        match self.members.into_keys().next() {
            None => Ok(()),
            Some(key) => Err(EntryError::UnknownKey(key.chars().take(64).collect())),
        }
    }
}

/// What is still to be read.
struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    fn object(&mut self) -> Option<BTreeMap<String, Value>> {
        let mut members = BTreeMap::new();
        self.expect('{')?;
        loop {
            let key = self.string()?;
            self.expect(':')?;
            let value = self.value()?;
            // Ascending keys also rule out a key twice.
            if members.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return None;
            }
            members.insert(key, value);
            match self.next()? {
                ',' => {}
                '}' => return Some(members),
                _ => return None,
            }
        }
    }

    fn value(&mut self) -> Option<Value> {
        if self.rest.starts_with('"') {
            return self.string().map(Value::Text);
        }
        let end = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at_checked(end)?;
        let value: u64 = digits.parse().ok()?;
        self.rest = rest;
        Some(Value::Integer(value))
    }

    fn string(&mut self) -> Option<String> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return is_allowed(&text, ENTRY_MAX).then_some(text),
                '\\' => text.push(self.next().filter(|c| matches!(c, '"' | '\\'))?),
                other => text.push(other),
            }
        }
    }

    fn expect(&mut self, wanted: char) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        Some(next)
    }
}
