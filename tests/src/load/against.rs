//! Two builds held against each other, by turns: a machine that drifts, drifts for both.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::figures::float;
use super::{Plan, child};
use crate::stage::StageError;

/// The figures of both builds in one round.
#[derive(Debug, Clone)]
struct Pair {
    this: Value,
    other: Value,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Comparison {
    plan: Plan,
    pairs: Vec<Pair>,
}

/// One figure of both builds.
#[derive(Debug, Clone, PartialEq)]
struct Compared {
    name: String,
    this: f64,
    other: f64,
    /// This over the other: of the medians, and in each pair.
    ratio: f64,
    ratios: Vec<f64>,
}

/// Measures this build and another, `rounds` times each: this, other, other, this, this, other and so on. `tell` is told
/// each step.
///
/// # Errors
/// The first measurement that fails.
pub fn run(
    plan: &Plan,
    other: &Path,
    rounds: usize,
    tell: &mut dyn FnMut(&str),
) -> Result<Comparison, StageError> {
    let this = std::env::current_exe()?;
    let mut pairs = Vec::new();
    for round in 0..rounds {
        let mut measure = |name: &str, load: &Path| {
            tell(&format!("round {} of {rounds}: {name}", round + 1));
            child::measure(load, plan)
        };
        let pair = if this_goes_first(round) {
            let this = measure("this", &this)?;
            Pair { this, other: measure("other", other)? }
        } else {
            let other = measure("other", other)?;
            Pair { this: measure("this", &this)?, other }
        };
        pairs.push(pair);
    }
    Ok(Comparison { plan: plan.clone(), pairs })
}

/// Whoever went second goes first in the next round: what changes steadily is as much for one as against it.
const fn this_goes_first(round: usize) -> bool {
    round.is_multiple_of(2)
}

impl Comparison {
    fn compared(&self) -> Vec<Compared> {
        let both: Vec<_> =
            self.pairs.iter().map(|pair| (numbers(&pair.this), numbers(&pair.other))).collect();
        let Some((first, _)) = both.first() else { return Vec::new() };
        let compared = first.keys().filter_map(|name| {
            let of = both.iter().map(|(this, other)| Some((*this.get(name)?, *other.get(name)?)));
            compare(name, &of.collect::<Option<Vec<_>>>()?)
        });
        compared.collect()
    }

    /// For machines: the comparison, and the figures of every run.
    pub fn to_json(&self) -> Value {
        let compared = self.compared().into_iter().map(|one| {
            let (least, most) = ends(&one.ratios);
            json!({
                "figure": one.name, "this": one.this, "other": one.other, "ratio": one.ratio,
                "ratio_least": least, "ratio_most": most, "higher_in": higher(&one.ratios),
                "lower_in": lower(&one.ratios), "pairs": one.ratios.len(),
            })
        });
        json!({
            "plan": self.plan.to_json(), "rounds": self.pairs.len(), "compared": compared.collect::<Vec<_>>(),
            "runs": self.pairs.iter().map(|pair| json!({ "this": pair.this, "other": pair.other })).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn to_table(&self) -> String {
        let mut out = String::from(
            "Medians of both builds; this over the other, of the medians and from the least to the most of the pairs.\n\n",
        );
        _ = writeln!(
            out,
            "{:<40} {:>12} {:>12} {:>7}  {:<15} in the pairs",
            "figure", "this", "other", "ratio", "least – most"
        );
        for one in self.compared() {
            let (least, most) = ends(&one.ratios);
            _ = writeln!(
                out,
                "{:<40} {:>12} {:>12} {:>7.3}  {:<15} {}",
                one.name,
                short(one.this),
                short(one.other),
                one.ratio,
                format!("{least:.3} – {most:.3}"),
                verdict(&one.ratios)
            );
        }
        out
    }
}

/// Every figure by its place, such as `full/packets_per_second`. What the plan says is no figure, nor how many
/// there were of something.
fn numbers(figures: &Value) -> BTreeMap<String, f64> {
    fn walk(at: &str, value: &Value, into: &mut BTreeMap<String, f64>) {
        if let Some(number) = value.as_f64() {
            into.insert(at.to_owned(), number);
        }
        for (name, below) in value.as_object().into_iter().flatten() {
            match (at, name.as_str()) {
                ("", "plan") | (_, "count" | "packets") => {}
                ("", _) => walk(name, below, into),
                _ => walk(&format!("{at}/{name}"), below, into),
            }
        }
    }
    let mut found = BTreeMap::new();
    walk("", figures, &mut found);
    found
}

/// One figure in every pair, this build's first; none when it is nought somewhere, so that there is no ratio.
fn compare(name: &str, pairs: &[(f64, f64)]) -> Option<Compared> {
    let (this, other): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (this, other) = (median(this)?, median(other)?);
    let ratios: Vec<f64> = pairs.iter().map(|(this, other)| this / other).collect();
    let sound = ratios.iter().chain([&(this / other)]).all(|ratio| ratio.is_finite());
    sound.then(|| Compared { name: name.to_owned(), this, other, ratio: this / other, ratios })
}

/// The middle one, or the mean of the middle two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (upper, lower) = (values.len() / 2, values.len().checked_sub(1)? / 2);
    Some(f64::midpoint(*values.get(lower)?, *values.get(upper)?))
}

fn ends(ratios: &[f64]) -> (f64, f64) {
    ratios.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), ratio| {
        (least.min(*ratio), most.max(*ratio))
    })
}

fn higher(ratios: &[f64]) -> usize {
    ratios.iter().filter(|ratio| **ratio > 1.0).count()
}

fn lower(ratios: &[f64]) -> usize {
    ratios.iter().filter(|ratio| **ratio < 1.0).count()
}

/// What the signs of the pairs say. That all of n agree by chance alone happens once in 2ⁿ⁻¹ times.
fn verdict(ratios: &[f64]) -> String {
    let (all, higher, lower) = (ratios.len(), higher(ratios), lower(ratios));
    match (higher, lower) {
        _ if higher == all => format!("higher in all {all}"),
        _ if lower == all => format!("lower in all {all}"),
        _ => format!("higher in {higher}, lower in {lower} of {all}: not told apart"),
    }
}

/// A number with as many digits as say something.
fn short(number: f64) -> String {
    match number.abs() {
        n if n >= float(100) => format!("{number:.0}"),
        n if n >= 1.0 => format!("{number:.2}"),
        _ => format!("{number:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(pairs: &[(f64, f64)]) -> Comparison {
        let figures = |rate: f64| {
            json!({
                "plan": { "pairs": 4 },
                "full": { "packets": 7, "packets_per_second": rate, "end_to_end": { "p50_us": 10, "count": 3 } },
            })
        };
        let pairs = pairs.iter().map(|(this, other)| Pair { this: figures(*this), other: figures(*other) });
        Comparison { plan: Plan::default(), pairs: pairs.collect() }
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_middle_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![7.0]), Some(7.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn turns_are_this_other_other_this() {
        let turns: String = (0..4).map(|round| if this_goes_first(round) { "AB" } else { "BA" }).collect();
        assert_eq!(turns, "ABBAABBA");
    }

    #[test]
    fn a_figure_is_compared_by_medians_and_by_pairs() {
        let compared = comparison(&[(110.0, 100.0), (90.0, 100.0), (120.0, 100.0)]).compared();
        let names: Vec<&str> = compared.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["full/end_to_end/p50_us", "full/packets_per_second"], "no plan, no counts");
        let rate = &compared[1];
        assert_eq!((rate.this, rate.other, rate.ratio), (110.0, 100.0, 1.1));
        assert_eq!(ends(&rate.ratios), (0.9, 1.2));
        assert_eq!(verdict(&rate.ratios), "higher in 2, lower in 1 of 3: not told apart");
    }

    #[test]
    fn only_signs_that_all_agree_tell_two_builds_apart() {
        assert_eq!(verdict(&[1.1, 1.2]), "higher in all 2");
        assert_eq!(verdict(&[0.9, 0.8]), "lower in all 2");
        assert_eq!(verdict(&[1.0, 1.2]), "higher in 1, lower in 0 of 2: not told apart");
    }

    #[test]
    fn a_figure_that_a_build_does_not_have_or_that_is_nought_is_left_out() {
        assert!(compare("x", &[(1.0, 0.0)]).is_none());
        assert!(compare("x", &[(0.0, 0.0)]).is_none());
        let mut one = comparison(&[(110.0, 100.0)]);
        one.pairs[0].other["full"]["packets_per_second"] = Value::Null;
        assert_eq!(one.compared().len(), 1);
    }

    #[test]
    fn both_forms_tell_every_figure() {
        let one = comparison(&[(110.0, 100.0), (105.0, 100.0)]);
        let (json, table) = (one.to_json(), one.to_table());
        assert_eq!(json["compared"].as_array().unwrap().len(), 2);
        assert_eq!(json["compared"][1]["higher_in"], 2);
        assert_eq!(json["runs"].as_array().unwrap().len(), 2);
        assert!(table.contains("full/packets_per_second") && table.contains("higher in all 2"), "{table}");
    }
}
