//! Warnings about the document as a whole: dates, decisions, parties, what nothing uses.

use std::collections::BTreeSet;

use super::{Finding, Warning};
use crate::covenant::document::{Clause, Covenant, Flow};
use crate::covenant::vocabulary::{Fate, Role};
use crate::covenant::words::{self, Words};
use crate::time::Span;

/// Four years, one of them a leap year.
const FOUR_YEARS_DAYS: u32 = 1461;
/// Five years with at most two leap days.
const FIVE_YEARS: Span = Span::days(1827);
const TWO_YEARS: Span = Span::days(731);
const THREE_MONTHS: Span = Span::days(90);
/// A purpose with fewer characters says too little.
const PURPOSE_MIN: usize = 12;
/// Words with which a purpose covers anything.
const VAGUE: &[&str] = &[
    "overig",
    "overige",
    "diversen",
    "algemeen",
    "algemene",
    "etc",
    "enz",
    "other",
    "miscellaneous",
    "general",
    "various",
];

pub(super) fn check(covenant: &Covenant, found: &mut Vec<Finding>) {
    dates(covenant, found);
    decisions(covenant, found);
    purposes(&covenant.purposes, found);
    parties(covenant, found);
    absent_roles(covenant, found);
    unused(covenant, found);
    informs(covenant, found);
    if covenant.witness_quorum < 2 {
        let number = covenant.witness_quorum;
        let detail = Words::new(format!("Er staat {number}."), format!("It says {number}."));
        found.push(Finding::new(Warning::FewWitnesses, "rules.witness_quorum", &detail));
    }
    if covenant.witness_quorum > 0 && !covenant.asks_quorum() {
        let number = covenant.witness_quorum;
        let detail = Words::new(
            format!("witness_quorum is {number} en geen partij heeft een witness_key."),
            format!("witness_quorum is {number} and no party has a witness_key."),
        );
        found.push(Finding::new(Warning::QuorumWithoutKeys, "rules.witness_quorum", &detail));
    }
    if covenant.log_retention_days < FOUR_YEARS_DAYS {
        let term = words::days(covenant.log_retention_days);
        let detail = Words::new(format!("De termijn is {}.", term.nl), format!("The term is {}.", term.en));
        found.push(Finding::new(Warning::LogTooShort, "rules.log_retention_days", &detail));
    }
    if covenant.in_flight.revoked == Fate::Deliver {
        let detail = Words::new("Er staat \"deliver\".", "It says \"deliver\".");
        found.push(Finding::new(Warning::RevokedDelivers, "in_flight.revoked", &detail));
    }
}

fn dates(covenant: &Covenant, found: &mut Vec<Finding>) {
    let (from, until) = (words::date(covenant.valid_from), words::date(covenant.valid_until));
    if covenant.valid_until.since(covenant.valid_from) > FIVE_YEARS {
        let detail = Words::new(format!("Van {from} tot {until}."), format!("From {from} until {until}."));
        found.push(Finding::new(Warning::TooLong, "partnership.valid_until", &detail));
    }
    let late = covenant.evaluation > covenant.valid_from.plus(TWO_YEARS)
        || covenant.evaluation > covenant.valid_until.minus(THREE_MONTHS);
    if late {
        let evaluation = words::date(covenant.evaluation);
        let detail = Words::new(
            format!("De evaluatie is op {evaluation}, de geldigheid van {from} tot {until}."),
            format!("The evaluation is on {evaluation}, the validity from {from} until {until}."),
        );
        found.push(Finding::new(Warning::EvaluationLate, "partnership.evaluation", &detail));
    }
}

fn decisions(covenant: &Covenant, found: &mut Vec<Finding>) {
    for (index, decision) in covenant.decisions.iter().enumerate() {
        if decision.date <= covenant.valid_from && decision.expires >= covenant.valid_until {
            continue;
        }
        let (from, until) = (words::date(decision.date), words::date(decision.expires));
        let expired = if decision.expires <= covenant.valid_from {
            Words::new(
                " Het is al verlopen als het convenant begint.",
                " It has expired before the covenant begins.",
            )
        } else {
            Words::same("")
        };
        let detail = Words::new(
            format!("Besluit {} geldt van {from} tot {until}.", decision.reference),
            format!("Decision {} holds from {from} until {until}.", decision.reference),
        );
        let about = format!("decisions[{index}] {}", decision.reference);
        found.push(Finding::new(Warning::DecisionEnds, &about, &detail.then("", &expired)));
    }
}

fn purposes(all: &[Clause], found: &mut Vec<Finding>) {
    for (index, purpose) in all.iter().enumerate() {
        let vague = |text: &str| {
            let lower = text.to_lowercase();
            text.trim().chars().count() < PURPOSE_MIN
                || lower.split(|c: char| !c.is_alphabetic()).any(|word| VAGUE.contains(&word))
        };
        if vague(&purpose.nl) || vague(&purpose.en) {
            let detail = Words::new(
                format!("Er staat: {:?}.", purpose.nl),
                format!("It says: {:?}, in Dutch: {:?}.", purpose.en, purpose.nl),
            );
            let about = format!("purposes[{index}] {}", purpose.code);
            found.push(Finding::new(Warning::PurposeVague, &about, &detail));
        }
    }
}

fn names(flow: &Flow, role: Role) -> bool {
    flow.routes.iter().any(|route| route.from.contains(&role) || route.to.contains(&role))
}

fn parties(covenant: &Covenant, found: &mut Vec<Finding>) {
    for (index, party) in covenant.parties.iter().enumerate() {
        let about = format!("parties[{index}] {}", party.oin);
        let label = words::role(party.role);
        let detail = Words::new(
            format!("{} is {}.", party.name, label.nl),
            format!("{} is {}.", party.name, label.en),
        );
        if !covenant.flows.iter().any(|flow| names(flow, party.role)) {
            found.push(Finding::new(Warning::PartyUnused, &about, &detail));
        }
        if party.role == Role::Jongerenwerk && !party.may_be_absent {
            found.push(Finding::new(Warning::YouthWorkObliged, &about, &detail));
        }
        let gone = party.left.is_some_and(|left| left <= covenant.valid_from);
        if gone || party.joined >= covenant.valid_until {
            let joined = words::date(party.joined);
            let left = party.left.map(words::date);
            let detail = Words::new(
                format!(
                    "{} neemt deel vanaf {joined}{}.",
                    party.name,
                    left.as_ref().map(|left| format!(" tot {left}")).unwrap_or_default()
                ),
                format!(
                    "{} takes part from {joined}{}.",
                    party.name,
                    left.as_ref().map(|left| format!(" until {left}")).unwrap_or_default()
                ),
            );
            found.push(Finding::new(Warning::NeverTakesPart, &about, &detail));
        }
    }
}

fn absent_roles(covenant: &Covenant, found: &mut Vec<Finding>) {
    for role in Role::ALL {
        let flows: Vec<&str> =
            covenant.flows.iter().filter(|flow| names(flow, *role)).map(|flow| flow.id.as_str()).collect();
        if flows.is_empty() || covenant.parties.iter().any(|party| party.role == *role) {
            continue;
        }
        let (label, flows) = (words::role(*role), words::and_same(flows));
        let detail = Words::new(
            format!("Niemand is {}; het gaat om {}.", label.nl, flows.nl),
            format!("Nobody is {}; it is about {}.", label.en, flows.en),
        );
        found.push(Finding::new(Warning::RoleAbsent, &format!("flows ({role})"), &detail));
    }
}

/// Who tells the persons that messages are about.
fn informs(covenant: &Covenant, found: &mut Vec<Finding>) {
    let personal = |flow: &&Flow| flow.levels.iter().any(|level| level.is_personal());
    let flows = words::and_same(covenant.flows.iter().filter(personal).map(|flow| &flow.id));
    if covenant.informs.is_empty() && covenant.flows.iter().any(|flow| personal(&flow)) {
        let detail = Words::new(format!("Het gaat om {}.", flows.nl), format!("It is about {}.", flows.en));
        found.push(Finding::new(Warning::NobodyInforms, "rules.informs", &detail));
    }
    for role in &covenant.informs {
        if !covenant.parties.iter().any(|party| party.role == *role) {
            let label = words::role(*role);
            let detail = Words::new(format!("Niemand is {}.", label.nl), format!("Nobody is {}.", label.en));
            found.push(Finding::new(Warning::InformsAbsent, &format!("rules.informs ({role})"), &detail));
        }
    }
}

/// Codes with their texts.
type Entries = Vec<(String, Words)>;

fn unused(covenant: &Covenant, found: &mut Vec<Finding>) {
    let flows = &covenant.flows;
    for (index, condition) in covenant.conditions.iter().enumerate() {
        let asked = flows.iter().flat_map(|flow| &flow.conditions).any(|one| one.condition == condition.code);
        if !asked {
            let detail = Words::new(
                format!("Het gaat om: {}.", condition.nl),
                format!("It is about: {}.", condition.en),
            );
            let about = format!("conditions[{index}] {}", condition.code);
            found.push(Finding::new(Warning::ConditionUnused, &about, &detail));
        }
    }
    let purposes: BTreeSet<&str> = flows.iter().map(|flow| flow.purpose.as_str()).collect();
    let all = |pick: fn(&Flow) -> &[String]| -> BTreeSet<&str> {
        flows.iter().flat_map(pick).map(String::as_str).collect()
    };
    let bases = all(|flow| &flow.bases);
    let categories = all(|flow| &flow.categories);
    let types = all(|flow| &flow.types);
    let own = |clause: &Clause| (clause.code.clone(), Words::new(clause.nl.clone(), clause.en.clone()));
    let tables: [(&str, &BTreeSet<&str>, Entries); 4] = [
        ("purposes", &purposes, covenant.purposes.iter().map(own).collect()),
        ("bases", &bases, covenant.bases.iter().map(own).collect()),
        (
            "categories",
            &categories,
            covenant.categories.iter().map(|c| (c.code.clone(), Words::new(&*c.nl, &*c.en))).collect(),
        ),
        (
            "types",
            &types,
            covenant.types.iter().map(|c| (c.code.clone(), Words::new(&*c.nl, &*c.en))).collect(),
        ),
    ];
    for (table, used, rows) in tables {
        for (index, (code, text)) in rows.into_iter().enumerate() {
            if !used.contains(code.as_str()) {
                let detail =
                    Words::new(format!("Het gaat om: {}.", text.nl), format!("It is about: {}.", text.en));
                found.push(Finding::new(Warning::Unused, &format!("{table}[{index}] {code}"), &detail));
            }
        }
    }
}
