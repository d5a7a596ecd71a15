//! Canonical JSON (RFC 8785) of one level, whose values are strings and integers: read in the one way it is written.

use crate::manifest::MOST;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A string without escapes, as it stands.
    Plain(&'a str),
    /// A string that had escapes.
    Text(String),
    /// From 0 to 2⁵³ − 1.
    Number(u64),
}

impl Value<'_> {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Text(text) => Some(text),
            Self::Number(_) => None,
        }
    }
}

/// Reads the pairs of an object in rising order of keys and gives each to `each`.
///
/// # Errors
/// What is not canonical, or what `each` says.
pub(crate) fn object<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(&'a str, Value<'a>) -> Result<(), String>,
) -> Result<(), String> {
    let text = core::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let mut rest = text.strip_prefix('{').ok_or("does not begin with {")?;
    let mut before = "";
    loop {
        rest = rest.strip_prefix('"').ok_or("has no key where one belongs")?;
        let (key, after) = rest.split_once('"').ok_or("has a key without end")?;
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            return Err("has a key that may not be".to_owned());
        }
        if key <= before {
            return Err(format!("has the key {key:?} twice or out of order"));
        }
        before = key;
        rest = after.strip_prefix(':').ok_or("has a key without a value")?;
        let (value, after) = if rest.starts_with('"') { string(rest)? } else { number(rest)? };
        each(key, value).map_err(|problem| format!("{key}: {problem}"))?;
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after == "}" => return Ok(()),
            None => return Err("does not end after its last value, or has white space".to_owned()),
        }
    }
}

fn number(rest: &str) -> Result<(Value<'_>, &str), String> {
    let end = rest.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let number = decimal(digits.as_bytes()).filter(|n| *n <= MOST);
    Ok((
        Value::Number(number.ok_or("has a value that is no string and no integer from 0 to 2^53 - 1")?),
        after,
    ))
}

/// A number in decimal digits without leading zeros.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 || (digits.len() > 1 && digits.first() == Some(&b'0')) {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, digit| {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
        n.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn string(rest: &str) -> Result<(Value<'_>, &str), String> {
    let inside = rest.get(1..).unwrap_or_default();
    let end =
        inside.bytes().position(|b| b < 0x20 || b == b'"' || b == b'\\').ok_or("has a string without end")?;
    let (plain, after) = inside.split_at_checked(end).unwrap_or((inside, ""));
    if let Some(after) = after.strip_prefix('"') {
        return Ok((Value::Plain(plain), after));
    }
    let mut text = plain.to_owned();
    let mut chars = after.chars();
    loop {
        match chars.next().ok_or("has a string without end")? {
            '"' => return Ok((Value::Text(text), chars.as_str())),
            '\\' => text.push(escaped(&mut chars).ok_or("has an escape that is not written so")?),
            control if control < ' ' => return Err("has a control character".to_owned()),
            other => text.push(other),
        }
    }
}

/// RFC 8785 section 3.2.2.2: seven short escapes, and `\u00` with lower-case digits for the other control characters.
fn escaped(chars: &mut core::str::Chars<'_>) -> Option<char> {
    Some(match chars.next()? {
        '"' => '"',
        '\\' => '\\',
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'f' => '\u{c}',
        'r' => '\r',
        'u' => {
            let digits = chars.as_str().get(..4)?;
            if digits.bytes().any(|b| !b.is_ascii_digit() && !(b'a'..=b'f').contains(&b)) {
                return None;
            }
            let code = u8::from_str_radix(digits.strip_prefix("00")?, 16).ok()?;
            if code >= 0x20 || matches!(code, 8 | 9 | 10 | 12 | 13) {
                return None;
            }
            *chars = chars.as_str().get(4..)?.chars();
            char::from(code)
        }
        _ => return None,
    })
}
