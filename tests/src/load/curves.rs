//! Curves of what grows with the size of a broker, drawn from figures that were measured.
//!
//! The figures are kept as JSON, so that whoever measures again replaces numbers and draws anew:
//!
//! ```json
//! [{ "file": "memory", "title": "…", "across": "connected agents", "up": "MiB", "at": [1000, 10000],
//!    "lines": [{ "name": "resident", "values": [120, null] }] }]
//! ```

use serde_json::Value;

use super::chart::{Chart, Line};
use super::scale::spread;

/// A drawing as a file.
#[derive(Debug)]
pub struct Drawn {
    /// Its name, with its ending.
    pub file: String,
    /// SVG that needs nothing else.
    pub svg: String,
}

/// Draws each curve; places on the horizontal axis are equally far apart where factors are equal.
///
/// # Errors
/// A sentence naming what is missing or is no figure.
pub fn draw(json: &str) -> Result<Vec<Drawn>, String> {
    let figures: Value = serde_json::from_str(json).map_err(|error| format!("not JSON: {error}"))?;
    list(&figures, "the file")?.iter().map(curve).collect()
}

fn curve(figures: &Value) -> Result<Drawn, String> {
    let file = format!("{}.svg", text(figures, "file")?);
    let at = list(field(figures, "at")?, "at")?;
    let at: Option<Vec<f64>> = at.iter().map(Value::as_f64).collect();
    let at = at.filter(|at| !at.is_empty() && at.iter().all(|place| *place > 0.0));
    let at = at.ok_or_else(|| format!("{file}: \"at\" is no list of numbers above nought"))?;
    let lines = list(field(figures, "lines")?, "lines")?.iter().map(|line| {
        let name = text(line, "name")?;
        let values = list(field(line, "values")?, "values")?;
        if values.len() != at.len() || values.iter().any(|value| !value.is_null() && !value.is_number()) {
            return Err(format!("{file}: {name} has not one number or null for each place"));
        }
        Ok(Line { name, values: values.iter().map(Value::as_f64).collect() })
    });
    let chart = Chart {
        title: text(figures, "title")?,
        about: String::new(),
        across: text(figures, "across")?.into(),
        up: text(figures, "up")?.into(),
        places: spread(&at).into_iter().zip(at.iter().map(|place| thousands(*place))).collect(),
        lines: lines.collect::<Result<_, _>>()?,
    };
    Ok(Drawn { file, svg: chart.svg() })
}

fn field<'a>(of: &'a Value, name: &str) -> Result<&'a Value, String> {
    of.get(name).ok_or_else(|| format!("\"{name}\" is missing in {of}"))
}

fn text(of: &Value, name: &str) -> Result<String, String> {
    field(of, name)?.as_str().map(str::to_owned).ok_or_else(|| format!("\"{name}\" is no text in {of}"))
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], String> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| format!("{name} is no list"))
}

/// A number with its thousands apart.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let from_end = |at: usize| digits.len() - at;
    let apart = digits.char_indices().map(|(at, digit)| match from_end(at) % 3 {
        0 if at > 0 => format!(",{digit}"),
        _ => digit.to_string(),
    });
    apart.collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn folder() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/curves"))
    }

    #[test]
    fn the_drawings_in_the_documents_are_those_of_the_figures_beside_them() {
        let figures = std::fs::read_to_string(folder().join("curves.json")).unwrap();
        let drawn = draw(&figures).unwrap();
        assert!(!drawn.is_empty());
        for drawn in drawn {
            let kept = std::fs::read_to_string(folder().join(&drawn.file)).unwrap_or_default();
            assert_eq!(kept, drawn.svg, "{}: cargo run -p seinhuis-tests --bin curves", drawn.file);
        }
    }

    #[test]
    fn figures_that_do_not_fit_are_named() {
        let with = |at: &str, values: &str| {
            draw(&format!(
                r#"[{{"file": "f", "title": "t", "across": "a", "up": "u", "at": {at},
                     "lines": [{{"name": "one", "values": {values}}}]}}]"#
            ))
        };
        assert_eq!(with("[1, 10]", "[2, null]").unwrap()[0].file, "f.svg");
        for (at, values) in
            [("[1, 10]", "[2]"), ("[1, 10]", r#"[2, "3"]"#), ("[0, 10]", "[2, 3]"), ("[]", "[]")]
        {
            assert!(with(at, values).unwrap_err().starts_with("f.svg: "), "{at} {values}");
        }
        assert!(draw("{}").is_err() && draw("[{}]").unwrap_err().contains("\"file\" is missing"));
    }

    #[test]
    fn thousands_are_apart() {
        let of = |number| thousands(number);
        assert_eq!([of(1.0), of(999.0), of(1000.0), of(1e8)], ["1", "999", "1,000", "100,000,000"]);
    }
}
