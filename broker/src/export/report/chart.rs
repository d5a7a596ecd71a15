//! Bars, as SVG that needs no style or script of its own. Every chart stands beside a table with the same numbers.

use std::fmt::Write as _;

use super::page::escaped;

const BARS: u64 = 360;
const ROW: u64 = 22;
const LABEL: u64 = 190;

/// A bar: its name, how long, and of that how much is refused.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) all: u64,
    pub(super) refused: u64,
}

/// Horizontal bars; refused is striped, so that no colour has to be told apart. Hidden from screen readers, which read
/// the table.
pub(super) fn bars(out: &mut String, title: &str, bars: &[Bar]) {
    let most = bars.iter().map(|bar| bar.all).max().unwrap_or(0).max(1);
    let height = ROW * u64::try_from(bars.len()).unwrap_or(0) + 4;
    let width = LABEL + BARS + 90;
    // An id is there once on a page.
    let stripes = format!("stripes-{}", out.matches("<svg").count());
    // Writing to a string cannot fail.
    _ = write!(
        out,
        "<svg aria-hidden=\"true\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\"><title>{}</title><defs><pattern id=\"{stripes}\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"#fff\"/><rect width=\"3\" height=\"6\" fill=\"#8a1c00\"/></pattern></defs>",
        escaped(title)
    );
    for (at, bar) in (0..).zip(bars) {
        let top = at * ROW + 3;
        let share =
            |part: u64| u64::try_from(u128::from(part) * u128::from(BARS) / u128::from(most)).unwrap_or(BARS);
        let (all, refused) = (share(bar.all), share(bar.refused));
        _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"{LABEL}\" y=\"{top}\" width=\"{all}\" height=\"16\" fill=\"#154273\"/>",
            LABEL - 8,
            top + 13,
            escaped(&bar.name)
        );
        if refused > 0 {
            _ = write!(
                out,
                "<rect x=\"{LABEL}\" y=\"{top}\" width=\"{refused}\" height=\"16\" fill=\"url(#{stripes})\" stroke=\"#8a1c00\"/>"
            );
        }
        _ = write!(out, "<text x=\"{}\" y=\"{}\">{}</text>", LABEL + all + 6, top + 13, bar.all);
    }
    out.push_str("</svg>\n");
}
