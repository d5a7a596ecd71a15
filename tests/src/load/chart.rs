//! Lines over an axis, as SVG without script, and the table with the same numbers.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::columns::rounded;
use super::scale::Scale;

/// How drawings look, on a page and by themselves.
pub(super) const STYLE: &str = include_str!("chart.css");

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
/// Room for what stands beside and below the axes.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 54.0;
/// Height of what a line is, below a drawing that is by itself.
const NAMED: f64 = 20.0;
/// As many lines can be told apart.
pub(super) const LINES: usize = 6;

/// A line: its name, and its number at each place of the horizontal axis where it has one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) values: Vec<Option<f64>>,
}

/// Lines with the same places.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chart {
    pub(super) title: String,
    /// What it is of, in a sentence.
    pub(super) about: String,
    pub(super) across: Cow<'static, str>,
    pub(super) up: Cow<'static, str>,
    /// The places on the horizontal axis: 0 to 1, and what stands below.
    pub(super) places: Vec<(f64, String)>,
    pub(super) lines: Vec<Line>,
}

/// A text where HTML and SVG expect one, also inside quotes.
pub(super) fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
        out
    })
}

impl Chart {
    /// Title, drawing, what each line is, and the table.
    pub(super) fn html(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        _ = write!(out, "<section><h2>{}</h2><p>{}</p>", escaped(&self.title), escaped(&self.about));
        out.push_str("<figure>");
        self.draw(&mut out);
        out.push_str("<figcaption><ul class=\"legend\">");
        for (number, line) in self.lines.iter().take(LINES).enumerate() {
            _ = write!(
                out,
                "<li><svg aria-hidden=\"true\" width=\"34\" height=\"14\" class=\"l{number}\"><path class=\"line\" d=\"M0 7H34\"/>{}</svg> {}</li>",
                mark(number, 17.0, 7.0, ""),
                escaped(&line.name)
            );
        }
        out.push_str("</ul></figcaption></figure>");
        self.table(&mut out);
        out.push_str("</section>\n");
        out
    }

    /// The drawing by itself, with what each line is: a file that a page shows beside the numbers.
    pub(super) fn svg(&self) -> String {
        let mut inside = String::new();
        self.inside(&mut inside);
        let mut high = HEIGHT;
        for (number, line) in self.lines.iter().take(LINES).enumerate() {
            let (y, foot) = (high + 4.0, high + 8.0);
            _ = write!(
                inside,
                "<g class=\"l{number}\"><path class=\"line\" d=\"M{LEFT} {y}h34\"/>{}<text class=\"name\" x=\"{}\" y=\"{foot}\">{}</text></g>",
                mark(number, LEFT + 17.0, y, ""),
                LEFT + 44.0,
                escaped(&line.name)
            );
            high += NAMED;
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {WIDTH} {high}\"><title>{}</title><style>\n{STYLE}</style><rect class=\"ground\" width=\"{WIDTH}\" height=\"{high}\"/>{inside}</svg>\n",
            escaped(&self.title)
        )
    }

    /// Hidden from screen readers, which read the table.
    fn draw(&self, out: &mut String) {
        _ = write!(
            out,
            "<svg aria-hidden=\"true\" viewBox=\"0 0 {WIDTH} {HEIGHT}\"><title>{}</title>",
            escaped(&self.title)
        );
        self.inside(out);
        out.push_str("</svg>");
    }

    /// Axes and lines.
    fn inside(&self, out: &mut String) {
        let values = self.lines.iter().take(LINES).flat_map(|line| line.values.iter().flatten().copied());
        let scale = Scale::over(values);
        let across = |place: f64| LEFT + 12.0 + place * (WIDTH - LEFT - RIGHT - 24.0);
        let up = |value: f64| HEIGHT - BOTTOM - scale.place(value) * (HEIGHT - TOP - BOTTOM);
        for tick in &scale.ticks {
            let (y, right, words) = (up(*tick), WIDTH - RIGHT, rounded(*tick, 0));
            _ = write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{words}</text>",
                LEFT - 8.0,
                y + 4.0
            );
        }
        for (place, label) in &self.places {
            let (x, y) = (across(*place), HEIGHT - BOTTOM);
            _ = write!(
                out,
                "<path class=\"axis\" d=\"M{x:.1} {y}v5\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                y + 20.0,
                escaped(label)
            );
        }
        let (middle, foot) = (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 10.0);
        _ = write!(
            out,
            "<path class=\"axis\" d=\"M{LEFT} {}H{}\"/><text class=\"name\" x=\"{middle}\" y=\"{foot}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - BOTTOM,
            WIDTH - RIGHT,
            escaped(&self.across)
        );
        let half = f64::midpoint(TOP, HEIGHT - BOTTOM);
        _ = write!(
            out,
            "<text class=\"name\" transform=\"translate(16 {half}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escaped(&self.up)
        );
        for (number, line) in self.lines.iter().take(LINES).enumerate() {
            self.line(out, number, line, &|at| self.places.get(at).map(|(place, _)| across(*place)), &up);
        }
    }

    fn line(
        &self,
        out: &mut String,
        number: usize,
        line: &Line,
        across: &dyn Fn(usize) -> Option<f64>,
        up: &dyn Fn(f64) -> f64,
    ) {
        let (mut path, mut marks) = (String::new(), String::new());
        for (at, value) in line.values.iter().enumerate() {
            let (Some(value), Some(x)) = (value, across(at)) else { continue };
            let y = up(*value);
            _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
            let label = self.places.get(at).map_or("", |(_, label)| label);
            marks.push_str(&mark(number, x, y, &format!("{}, {label}: {}", line.name, rounded(*value, 0))));
        }
        _ = write!(out, "<g class=\"l{number}\"><path class=\"line\" d=\"{path}\"/>{marks}</g>");
    }

    fn table(&self, out: &mut String) {
        _ = write!(
            out,
            "<div class=\"wide\"><table><caption>{}: {}</caption><thead><tr><th scope=\"col\">{}</th>",
            escaped(&self.title),
            escaped(&self.up),
            escaped(&self.across)
        );
        for line in &self.lines {
            _ = write!(out, "<th scope=\"col\">{}</th>", escaped(&line.name));
        }
        out.push_str("</tr></thead><tbody>");
        for (at, (_, label)) in self.places.iter().enumerate() {
            _ = write!(out, "<tr><th scope=\"row\">{}</th>", escaped(label));
            for line in &self.lines {
                let value = line.values.get(at).copied().flatten();
                let value = value.map_or_else(|| "–".to_owned(), |value| rounded(value, 0));
                _ = write!(out, "<td>{value}</td>");
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table></div>");
    }
}

/// A mark of its own for each line, so that no colour has to be told apart; a browser shows its title.
fn mark(number: usize, x: f64, y: f64, title: &str) -> String {
    let shape = match number {
        0 => format!("M{x:.1} {y:.1}m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0"),
        1 => format!("M{x:.1} {y:.1}m-4 -4h8v8h-8z"),
        2 => format!("M{x:.1} {y:.1}m0 -5l5 9h-10z"),
        3 => format!("M{x:.1} {y:.1}m0 -5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z"),
        4 => format!("M{x:.1} {y:.1}m0 5l5 -9h-10z"),
        _ => format!("M{x:.1} {y:.1}m-5 -2h3v-3h4v3h3v4h-3v3h-4v-3h-3z"),
    };
    let title = if title.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(title)) };
    format!("<path class=\"mark\" d=\"{shape}\">{title}</path>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        Chart {
            title: "Throughput <by> body".to_owned(),
            about: "one".to_owned(),
            across: "bytes".into(),
            up: "packets/s".into(),
            places: vec![(0.0, "256".to_owned()), (1.0, "1024".to_owned())],
            lines: vec![
                Line { name: "1 sender & more".to_owned(), values: vec![Some(100.0), Some(50.0)] },
                Line { name: "4".to_owned(), values: vec![None, Some(70.5)] },
            ],
        }
    }

    #[test]
    fn what_html_would_read_as_its_own_is_escaped() {
        assert_eq!(escaped(r#"<a href="x" o='y'>&"#), "&lt;a href=&quot;x&quot; o=&#39;y&#39;&gt;&amp;");
        assert_eq!(escaped("plain µs – ≤"), "plain µs – ≤");
        let html = chart().html();
        assert!(html.contains("Throughput &lt;by&gt; body") && html.contains("1 sender &amp; more"));
        assert!(!html.contains("<by>"));
    }

    #[test]
    fn every_number_stands_in_the_drawing_and_in_the_table() {
        let html = chart().html();
        assert_eq!(html.matches("class=\"mark\"").count(), 3 + 2, "one a number, one a line in the legend");
        for number in ["<td>100</td>", "<td>50</td>", "<td>–</td>", "<td>70</td>"] {
            assert!(html.contains(number), "{number} in {html}");
        }
    }

    #[test]
    fn a_higher_number_stands_higher_and_inside_the_drawing() {
        let html = chart().html();
        let path = html.split("class=\"l0\"><path class=\"line\" d=\"").nth(1).unwrap();
        let path = path.split('"').next().unwrap();
        assert_eq!(path, "M88.0 14.0L680.0 150.0", "the highest tick is the most, the middle half of it");
    }

    #[test]
    fn by_itself_a_drawing_says_what_it_is_of_and_how_it_looks() {
        let svg = chart().svg();
        for part in ["<title>Throughput &lt;by&gt; body</title>", ".l0 {", ">1 sender &amp; more</text>"] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let empty = Chart { places: Vec::new(), lines: Vec::new(), ..chart() };
        assert!(empty.html().contains("<tbody></tbody>"));
    }
}
