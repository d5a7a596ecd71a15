//! The entries for a spreadsheet.

use seinhuis_shared::entry::Entry;

/// The names of the columns, after a mark that tells spreadsheets that the text is UTF-8.
pub(super) const HEAD: &str = "\u{feff}index;time;kind;from;to;flow;message_type;step;level;categories;purpose;basis;case;msg_id;result;reason;subject;detail;covenant;packet\r\n";

/// One entry as a row.
pub(super) fn row(index: u64, entry: &Entry) -> String {
    let id = |value: Option<String>| value.unwrap_or_default();
    let cells = [
        index.to_string(),
        entry.time.to_string(),
        entry.kind.as_str().to_owned(),
        id(entry.from.map(|oin| oin.to_string())),
        id(entry.to.map(|oin| oin.to_string())),
        id(entry.flow.clone()),
        id(entry.message_type.clone()),
        id(entry.step.clone()),
        id(entry.level.clone()),
        id(entry.categories.clone()),
        id(entry.purpose.clone()),
        id(entry.basis.clone()),
        id(entry.case.map(|case| case.to_string())),
        id(entry.msg_id.map(|msg| msg.to_string())),
        id(entry.result.clone()),
        id(entry.reason.map(|reason| reason.to_string())),
        id(entry.subject.map(|oin| oin.to_string())),
        id(entry.detail.clone()),
        id(entry.covenant.map(|hash| hash.to_string())),
        id(entry.packet.map(|digest| digest.to_string())),
    ];
    cells.map(|text| cell(&text)).join(";") + "\r\n"
}

/// A cell (RFC 4180). What a spreadsheet would take for a formula, or a long number that it would round, gets an
/// apostrophe in front.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let long = text.len() > 11 && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = if formula || long { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ';', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_becomes_a_formula_a_rounded_number_or_a_second_cell() {
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("-2"), "'-2");
        assert_eq!(cell("@SUM(A1)"), "'@SUM(A1)");
        assert_eq!(cell("00000099000000001000"), "'00000099000000001000");
        assert_eq!(cell("1024"), "1024");
        assert_eq!(cell("a;b"), "\"a;b\"");
        assert_eq!(cell("=\"x\";y"), "\"'=\"\"x\"\";y\"");
    }
}
