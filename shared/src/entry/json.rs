//! The restricted canonical JSON of entries: one flat object of strings and integers (RFC 8785).

use core::fmt::{Display, Write as _};
use core::str::FromStr;
use std::borrow::Cow;

use super::{EntryError, MAX_INTEGER, MAX_TEXT_BYTES};
use crate::limits::ENTRY_MAX;

/// Whether a text may be a value.
///
/// Not empty, because absence already has a way to be written; at most `longest` bytes. Line separators are refused with the control characters: some readers would break an export's line there.
fn is_allowed(text: &str, longest: usize) -> bool {
    let bad = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    // Nearly every value is plain, which bytes tell faster than characters.
    let plain = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    !text.is_empty() && text.len() <= longest && (plain(text) || !text.chars().any(bad))
}

/// Whether a byte of a text is written behind a backslash.
const fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\')
}

/// Room for an entry of the usual length.
const USUAL_LENGTH: usize = 1024;
/// Room for as many members as an entry usually has.
const USUAL_MEMBERS: usize = 24;

/// Writes members in the order given; absent ones leave no trace.
pub(super) struct Writer {
    out: Vec<u8>,
    /// An identifier as text, on its way.
    text: String,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { out: Vec::with_capacity(USUAL_LENGTH), text: String::new() }
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
        // All that RFC 8785 §3.2.2.2 escapes, once control characters are excluded.
        for piece in value.as_bytes().split_inclusive(|byte| is_escaped(*byte)) {
            match piece.split_last() {
                Some((last, before)) if is_escaped(*last) => {
                    self.out.extend_from_slice(before);
                    self.out.extend_from_slice(&[b'\\', *last]);
                }
                _ => self.out.extend_from_slice(piece),
            }
        }
        self.out.push(b'"');
        Ok(())
    }

    pub(super) fn id(&mut self, key: &'static str, value: Option<&impl Display>) -> Result<(), EntryError> {
        let Some(value) = value else { return Ok(()) };
        let mut text = core::mem::take(&mut self.text);
        text.clear();
        let written = write!(text, "{value}").map_err(|_| EntryError::BadValue(key));
        let outcome = written.and_then(|()| self.text(key, Some(&text)));
        self.text = text;
        outcome
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
enum Value<'a> {
    Text(Cow<'a, str>),
    Integer(u64),
}

/// A member that was read; none once it is taken out.
type Member<'a> = Option<(Cow<'a, str>, Value<'a>)>;

/// The members of one object; each is taken out once.
pub(super) struct Reader<'a> {
    members: Vec<Member<'a>>,
}

impl<'a> Reader<'a> {
    /// Reads an object without white space, its keys strictly ascending.
    ///
    /// Leading zeros, too large integers and bytes after the object are left to the caller, who compares what it
    /// would have written itself.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, EntryError> {
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

    fn take(&mut self, key: &str) -> Option<Value<'a>> {
        let named = |member: &&mut Member<'a>| member.as_ref().is_some_and(|(name, _)| name == key);
        self.members.iter_mut().find(named)?.take().map(|(_, value)| value)
    }

    fn borrowed(&mut self, key: &'static str) -> Result<Option<Cow<'a, str>>, EntryError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Integer(_)) => Err(EntryError::BadValue(key)),
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, EntryError> {
        Ok(self.borrowed(key)?.map(Cow::into_owned))
    }

    pub(super) fn id<T: FromStr>(&mut self, key: &'static str) -> Result<Option<T>, EntryError> {
        let Some(text) = self.borrowed(key)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| EntryError::BadValue(key))
    }

    pub(super) fn integer(&mut self, key: &'static str) -> Result<Option<u64>, EntryError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Integer(value)) => Ok(Some(value)),
            Some(Value::Text(_)) => Err(EntryError::BadValue(key)),
        }
    }

    /// Refuses what nobody took out.
    pub(super) fn finish(self) -> Result<(), EntryError> {
        match self.members.into_iter().flatten().next() {
            None => Ok(()),
            Some((key, _)) => Err(EntryError::UnknownKey(key.chars().take(64).collect())),
        }
    }
}

/// What is still to be read.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn object(&mut self) -> Option<Vec<Member<'a>>> {
        let mut members: Vec<Member<'a>> = Vec::with_capacity(USUAL_MEMBERS);
        self.expect('{')?;
        loop {
            let key = self.string()?;
            self.expect(':')?;
            let value = self.value()?;
            // Ascending keys also rule out a key twice.
            if members.last().is_some_and(|last| last.as_ref().is_some_and(|(last, _)| *last >= key)) {
                return None;
            }
            members.push(Some((key, value)));
            match self.next()? {
                ',' => {}
                '}' => return Some(members),
                _ => return None,
            }
        }
    }

    fn value(&mut self) -> Option<Value<'a>> {
        if self.rest.starts_with('"') {
            return self.string().map(Value::Text);
        }
        let end = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at_checked(end)?;
        let value: u64 = digits.parse().ok()?;
        self.rest = rest;
        Some(Value::Integer(value))
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.expect('"')?;
        let mut text = Cow::Borrowed("");
        loop {
            let end = self.rest.as_bytes().iter().position(|byte| is_escaped(*byte))?;
            let (piece, rest) = self.rest.split_at_checked(end)?;
            self.rest = rest;
            if text.is_empty() {
                text = Cow::Borrowed(piece);
            } else {
                text.to_mut().push_str(piece);
            }
            if self.next()? == '"' {
                return is_allowed(&text, ENTRY_MAX).then_some(text);
            }
            text.to_mut().push(self.next().filter(|c| matches!(c, '"' | '\\'))?);
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
