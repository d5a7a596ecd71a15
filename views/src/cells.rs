//! Cells of a spreadsheet: separated by semicolons, after a mark that says UTF-8.

/// Tells spreadsheets that the text is UTF-8.
pub(crate) const MARK: &str = "\u{feff}";

/// A row (RFC 4180, with semicolons, as spreadsheets of this country read it).
pub(crate) fn row<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    cells.into_iter().map(cell).collect::<Vec<_>>().join(";") + "\r\n"
}

/// A cell. What a spreadsheet would take for a formula, or a long number that it would round, gets an apostrophe in
/// front; also where something invisible stands before it.
fn cell(text: &str) -> String {
    let visible = text.trim_start_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
    let formula = visible.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    let long = text.len() > 11 && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = if formula || long { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ';', ',', '\n', '\r', '\t']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_becomes_a_formula_a_rounded_number_or_a_second_cell() {
        for (text, shown) in [
            ("=1+1", "'=1+1"),
            (" @SUM(A1)", "' @SUM(A1)"),
            ("\t=1", "\"'\t=1\""),
            ("＝1", "'＝1"),
            ("00000099000000001000", "'00000099000000001000"),
            ("1024", "1024"),
            ("a;b", "\"a;b\""),
            ("een, twee", "\"een, twee\""),
            ("=\"x\";y", "\"'=\"\"x\"\";y\""),
        ] {
            assert_eq!(cell(text), shown);
        }
        assert_eq!(row(["a", "b\nc", ""]), "a;\"b\nc\";\r\n");
    }
}
