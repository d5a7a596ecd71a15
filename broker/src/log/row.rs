//! An entry as it is read by the million: its fields, without a copy of any.
//!
//! What stands in the log was written by [`seinhuis_shared::entry::Entry`] and is canonical, so the fields can be found
//! without reading and writing it again; a million of them take a second less each time.

use std::borrow::Cow;

use seinhuis_shared::entry::Entry;

macro_rules! fields {
    ($($field:ident = $name:literal,)*) => {
        /// A field of an entry, in the order of their names.
        #[expect(dead_code, reason = "nobody looks for salt or version")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Field {
            $($field,)*
        }

        /// Every field's name.
        const NAMES: &[&str] = &[$($name,)*];
        const COUNT: usize = NAMES.len();
    };
}

fields! {
    Activity = "activity",
    Basis = "basis",
    Case = "case",
    Categories = "categories",
    Covenant = "covenant",
    Detail = "detail",
    Flow = "flow",
    From = "from",
    Key = "key",
    Kind = "kind",
    Level = "level",
    MessageType = "message_type",
    MsgId = "msg_id",
    Packet = "packet",
    Purpose = "purpose",
    Reason = "reason",
    Recipients = "recipients",
    Result = "result",
    Salt = "salt",
    SizeClass = "size_class",
    Statement = "statement",
    Step = "step",
    Subject = "subject",
    Time = "time",
    To = "to",
    Trace = "trace",
    Version = "v",
}

impl Field {
    /// Its name in the entry.
    pub(crate) const fn name(self) -> &'static str {
        NAMES[self as usize]
    }
}

/// The fields of one entry, as they stand in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a>([Option<&'a str>; COUNT]);

impl<'a> Row<'a> {
    /// Finds the fields of an entry of the log; nothing when it is none of those this version writes.
    pub(crate) fn read(entry: &'a [u8]) -> Option<Self> {
        let mut rest = core::str::from_utf8(entry).ok()?.strip_prefix('{')?;
        let mut values = [None; COUNT];
        let mut next = 0;
        loop {
            // No name has a quote in it.
            let (name, after) = rest.strip_prefix('"')?.split_once('"')?;
            let after = after.strip_prefix(':')?;
            let skipped = NAMES.get(next..)?.iter().position(|known| *known == name)?;
            let (value, after) = value(after)?;
            *values.get_mut(next + skipped)? = Some(value);
            next += skipped + 1;
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => return (after == "}").then_some(Self(values)),
            }
        }
    }

    /// A field's value.
    pub(crate) fn get(&self, field: Field) -> Option<Cow<'a, str>> {
        let raw = self.raw(field)?;
        Some(if raw.contains('\\') { Cow::Owned(unescaped(raw)) } else { Cow::Borrowed(raw) })
    }

    /// A field's value as it stands in the entry, with its escapes.
    pub(crate) const fn raw(&self, field: Field) -> Option<&'a str> {
        self.0[field as usize]
    }

    /// When it happened, in milliseconds since 1970.
    pub(crate) fn time(&self) -> Option<u64> {
        self.raw(Field::Time)?.parse().ok()
    }
}

/// A value without its quotes, and what follows it.
fn value(rest: &str) -> Option<(&str, &str)> {
    let Some(text) = rest.strip_prefix('"') else {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        return rest.split_at_checked(end);
    };
    let mut end = 0;
    loop {
        end += text.get(end..)?.bytes().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if text.as_bytes().get(end) == Some(&b'"') {
            return Some((text.get(..end)?, text.get(end + 1..)?));
        }
        // A backslash and what it stands before.
        end += 2;
    }
}

/// Entries hold no control characters, so that only quotes and backslashes are ever escaped.
fn unescaped(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(char) = chars.next() {
        text.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    text
}

/// Whether a line is an entry at all, said by the one who writes them.
pub(crate) fn problem(entry: &[u8]) -> String {
    Entry::parse(entry).map_or_else(|error| error.to_string(), |_| "its fields are not known here".to_owned())
}

#[cfg(test)]
mod tests {
    use seinhuis_shared::entry::Kind;
    use seinhuis_shared::ids::{CaseId, Digest, MsgId, Thumbprint, TraceId};
    use seinhuis_shared::time::Timestamp;

    use super::*;

    fn full() -> Entry {
        let text = || Some("a \"b\" \\ é, ;".to_owned());
        let uuid = "019ca945-0a00-7001-8002-030405060708";
        let mut entry = Entry::new(Kind::Accepted, Timestamp(1_780_000_000_000), [7; 16]);
        entry.msg_id = Some(uuid.parse::<MsgId>().unwrap());
        entry.case = Some("00000000-0000-4000-8000-000000000000".parse::<CaseId>().unwrap());
        entry.from = Some("00000099000000001000".parse().unwrap());
        (entry.to, entry.subject) = (entry.from, entry.from);
        (entry.recipients, entry.size_class, entry.reason) = (Some(2), Some(272), Some(404));
        entry.key = Some(Digest([1; 32]).to_string().parse::<Thumbprint>().unwrap());
        (entry.covenant, entry.packet) = (Some(Digest([2; 32])), Some(Digest([3; 32])));
        entry.statement = Some(Digest([4; 32]));
        entry.trace = Some("7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a".parse::<TraceId>().unwrap());
        (entry.flow, entry.message_type, entry.step) = (text(), text(), text());
        (entry.level, entry.purpose, entry.basis) = (text(), text(), text());
        (entry.result, entry.activity) = (text(), text());
        (entry.categories, entry.detail) = (Some("a b".into()), Some("complete".into()));
        entry
    }

    /// When an entry gets a field, the views have to get it too.
    #[test]
    fn every_field_of_an_entry_is_found() {
        let bytes = full().to_bytes().unwrap();
        let row = Row::read(&bytes).unwrap();
        assert!(row.0.iter().all(Option::is_some), "{row:?}");
        assert_eq!(row.get(Field::Flow).unwrap(), "a \"b\" \\ é, ;");
        assert_eq!((row.raw(Field::Reason), row.time()), (Some("404"), Some(1_780_000_000_000)));
        let small = Entry::new(Kind::Start, Timestamp(1), [0; 16]).to_bytes().unwrap();
        let row = Row::read(&small).unwrap();
        assert_eq!(row.0.iter().flatten().count(), 4);
        assert_eq!((row.raw(Field::Kind), row.raw(Field::To)), (Some("start"), None));
    }

    #[test]
    fn what_is_no_entry_is_none() {
        for line in
            ["", "{", "{}", "{\"v\":1", "{\"w\":1}", "{\"v\":1,\"time\":1}", "{\"v\":\"", "{\"v\":\"\\\""]
        {
            assert!(Row::read(line.as_bytes()).is_none(), "{line}");
        }
        assert!(problem(b"{}").contains("entry"));
    }
}
