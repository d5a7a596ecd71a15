//! From a fault to the line a person has to change, and from a position to the field's name.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::error::{CovenantError, Place};
use super::Part;

/// Position in the joined text → part, line and column. Parts are joined with one line end each.
fn position(parts: &[Part<'_>], joined: &str, offset: usize) -> Option<Place> {
    let mut start = 0_usize;
    for (index, part) in parts.iter().enumerate() {
        let end = start.saturating_add(part.text.len());
        let last = index.saturating_add(1) == parts.len();
        if offset <= end || last {
            let before = joined.get(start..offset.min(joined.len()))?;
            let line_start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
            return Some(Place {
                file: part.name.to_owned(),
                line: before.matches('\n').count().saturating_add(1),
                column: before.get(line_start..)?.chars().count().saturating_add(1),
            });
        }
        start = end.saturating_add(1);
    }
    None
}

/// Adds the place of a semantic fault, found by its field; of the nearest table around it when the
/// field itself is absent.
pub(super) fn place(error: CovenantError, parts: &[Part<'_>], joined: &str) -> CovenantError {
    let Ok(table) = DeTable::parse(joined) else { return error };
    let offset = find(table.get_ref(), &error.field);
    let place = offset.and_then(|offset| position(parts, joined, offset));
    error.at(place)
}

/// The offset of the last element of `path` that exists.
fn find(root: &DeTable<'_>, path: &str) -> Option<usize> {
    let mut offset = None;
    let mut table = Some(root);
    for name in path.split('.').filter(|name| !name.is_empty()) {
        let (key, index) = match name.split_once('[') {
            Some((key, rest)) => (key, rest.strip_suffix(']').and_then(|index| index.parse::<usize>().ok())),
            None => (name, None),
        };
        let Some((own, value)) = table?.iter().find(|(own, _)| own.get_ref().as_ref() == key) else { break };
        let mut value: &Spanned<DeValue<'_>> = value;
        offset = Some(own.span().start);
        if let Some(index) = index {
            let Some(item) = value.get_ref().as_array().and_then(|items| items.get(index)) else { break };
            value = item;
            offset = Some(value.span().start);
        }
        table = value.get_ref().as_table();
        if table.is_none() {
            break;
        }
    }
    offset
}

/// The path of the innermost field whose value covers `offset`.
fn name_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    for (key, value) in table {
        let covers = key.span().contains(&offset) || value.span().contains(&offset);
        if let Some(inner) = inside(value, offset) {
            return Some(format!("{}{inner}", key.get_ref()));
        }
        if covers {
            return Some(key.get_ref().to_string());
        }
    }
    None
}

fn inside(value: &Spanned<DeValue<'_>>, offset: usize) -> Option<String> {
    if let Some(table) = value.get_ref().as_table() {
        return name_at(table, offset).map(|inner| format!(".{inner}"));
    }
    let items = value.get_ref().as_array()?;
    items.iter().enumerate().find_map(|(index, item)| {
        let inner = inside(item, offset);
        let covers = item.span().contains(&offset);
        (inner.is_some() || covers).then(|| format!("[{index}]{}", inner.unwrap_or_default()))
    })
}

/// A fault the TOML reader found: shape, unknown or missing keys, wrong types.
pub(super) fn syntax(error: &toml::de::Error, parts: &[Part<'_>], joined: &str) -> CovenantError {
    let what = error.message().lines().collect::<Vec<_>>().join("; ");
    let offset = error.span().map(|span| span.start);
    let field = DeTable::parse(joined)
        .ok()
        .zip(offset)
        .and_then(|(table, offset)| name_at(table.get_ref(), offset))
        .unwrap_or_default();
    let advice = if what.starts_with("unknown field") {
        "Correct the spelling of this key, or remove it."
    } else if what.starts_with("missing field") {
        "Add this key to the table named here."
    } else if what.starts_with("invalid type") || what.starts_with("invalid value") {
        "Write the value in the form named here."
    } else if what.starts_with("unknown variant") {
        "Write one of the values named here."
    } else if what.starts_with("duplicate") {
        "Keep one of the two."
    } else {
        "Correct the TOML at this place; texts stand between quotes, lists between [ and ]."
    };
    CovenantError::new(field, what).advise(advice).at(offset.and_then(|o| position(parts, joined, o)))
}
