//! Warnings about flows and the schemas they carry.

use std::collections::BTreeSet;

use super::{Finding, Warning};
use crate::covenant::document::{CaseRule, Clause, Covenant, Decision, Flow, MessageType};
use crate::covenant::schema::{Field, Schema};
use crate::covenant::vocabulary::{Handling, Level, Role, Special};
use crate::covenant::words::Words;
use crate::covenant::{law, words};

/// Five years with their leap days.
const FIVE_YEARS: u32 = 1827;

pub(super) fn check(covenant: &Covenant, found: &mut Vec<Finding>) {
    let context = Context::new(covenant);
    for (index, flow) in covenant.flows.iter().enumerate() {
        let about = format!("flows[{index}] {}", flow.id);
        let mut warn = |warning, detail: Words| found.push(Finding::new(warning, &about, &detail));
        context.bsn(flow, &mut warn);
        context.decision(flow, &mut warn);
        retention(flow, &mut warn);
        context.basis(flow, &mut warn);
        if personal(flow) && !flow.release {
            let detail = Words::new(
                format!("Het gaat om {}.", words::levels(&flow.levels).nl),
                format!("It is about {}.", words::levels(&flow.levels).en),
            );
            warn(Warning::NoRelease, detail);
        }
        let police = |role: &Role| matches!(role, Role::Politie | Role::Om);
        if personal(flow)
            && !service(flow)
            && flow.handling == Handling::Partners
            && flow.routes.iter().any(|route| route.from.iter().any(police))
        {
            let detail = Words::new(
                format!("Het gaat om {}.", words::levels(&flow.levels).nl),
                format!("It is about {}.", words::levels(&flow.levels).en),
            );
            warn(Warning::PassedOnFreely, detail);
        }
    }
    let mut warn = |warning, index: usize, code: &str, pointer: &str| {
        let detail = Words::new(format!("Het veld is {pointer}."), format!("The field is {pointer}."));
        found.push(Finding::new(warning, &format!("types[{index}] {code}"), &detail));
    };
    for (index, own) in context.schemas.iter().enumerate() {
        for pointer in &own.bare {
            warn(Warning::StatementBare, index, own.code, pointer);
        }
    }
    for (index, own) in context.schemas.iter().enumerate() {
        let personal = own.fields.iter().find(|field| {
            let level = field.category.as_deref().map(|code| context.level(code));
            level.is_some_and(Level::is_personal)
        });
        if let Some(field) = personal.filter(|_| !own.identifies) {
            warn(Warning::NobodyIdentified, index, own.code, &field.pointer);
        }
    }
    for (index, own) in context.schemas.iter().enumerate() {
        for field in own.fields.iter().filter(|field| looks_like_bsn(&field.pointer)) {
            let marked = field.category.as_deref().is_none_or(|code| context.is_bsn(code));
            if !marked {
                warn(Warning::BsnUnmarked, index, own.code, &field.pointer);
            }
        }
    }
}

fn personal(flow: &Flow) -> bool {
    flow.levels.iter().any(|level| level.is_personal())
}

/// Messages about earlier messages rest on the law about those, whoever sends them.
fn service(flow: &Flow) -> bool {
    flow.types.iter().all(|own| law::is_service(own))
}

fn looks_like_bsn(pointer: &str) -> bool {
    let name = pointer.rsplit('/').find(|token| *token != "*").unwrap_or_default();
    name.split('_').any(|part| part == "bsn")
        || name.contains("burgerservicenummer")
        || name.contains("sofinummer")
}

struct Context<'a> {
    covenant: &'a Covenant,
    bsn: BTreeSet<&'a str>,
    schemas: Vec<Own<'a>>,
}

/// What the schema of a message type has.
struct Own<'a> {
    code: &'a str,
    fields: Vec<Field>,
    /// Texts about behaviour, or with police, prosecution or care data, that do not say what they are worth.
    bare: Vec<String>,
    /// Whether a field says which person it is about.
    identifies: bool,
}

impl<'a> Context<'a> {
    fn new(covenant: &'a Covenant) -> Self {
        let special = covenant.categories.iter().filter(|own| own.special == Some(Special::Bsn));
        let weighty = |code: &str| {
            covenant.categories.iter().any(|category| category.code == code && category.level >= Level::P2)
        };
        let read = |text: &str| {
            Schema::parse(text)
                .map(|schema| (schema.fields(), schema.bare_statements(weighty), schema.identifies()))
                .unwrap_or_default()
        };
        let own = |kind: &'a MessageType| {
            let (fields, bare, identifies) = read(&kind.schema);
            Own { code: &kind.code, fields, bare, identifies }
        };
        Self {
            covenant,
            bsn: special.map(|own| own.code.as_str()).collect(),
            schemas: covenant.types.iter().map(own).collect(),
        }
    }

    fn is_bsn(&self, category: &str) -> bool {
        self.bsn.contains(category)
    }

    fn level(&self, category: &str) -> Level {
        let mut all = self.covenant.categories.iter();
        all.find(|own| own.code == category).map_or(Level::G, |own| own.level)
    }

    fn fields(&self, kind: &str) -> impl Iterator<Item = &Field> {
        self.schemas.iter().filter(move |own| own.code == kind).flat_map(|own| &own.fields)
    }

    fn bsn(&self, flow: &Flow, warn: &mut impl FnMut(Warning, Words)) {
        let near = |roles: &[Role]| roles.iter().any(|role| matches!(role, Role::Jongerenwerk | Role::Boa));
        if !flow.routes.iter().any(|route| near(&route.from) || near(&route.to)) {
            return;
        }
        for own in flow.categories.iter().filter(|own| self.is_bsn(own)) {
            let detail = Words::new(
                format!("De stroom laat categorie {own} toe."),
                format!("The flow allows category {own}."),
            );
            warn(Warning::BsnToYouthWork, detail);
        }
        for kind in &flow.types {
            let carries = |field: &&Field| {
                looks_like_bsn(&field.pointer)
                    || field.category.as_deref().is_some_and(|code| self.is_bsn(code))
            };
            if let Some(field) = self.fields(kind).find(carries) {
                let pointer = &field.pointer;
                let detail = Words::new(
                    format!("Berichttype {kind} heeft er een veld voor: {pointer}."),
                    format!("Message type {kind} has a field for it: {pointer}."),
                );
                warn(Warning::BsnToYouthWork, detail);
            }
        }
    }

    /// The data for which the law table or the flow asks a decision, held against every decision.
    fn decision(&self, flow: &Flow, warn: &mut impl FnMut(Warning, Words)) {
        let mut open: Vec<(Role, Vec<&str>)> = Vec::new();
        for (from, to) in pairs(flow) {
            let authority = matches!(to, Role::Gemeente | Role::Politie | Role::Om | Role::Zvh);
            let asked = |level: Level| {
                level.is_personal()
                    && flow.levels.contains(&level)
                    && (flow.decision || !authority && (level == Level::P3 || from == Role::Politie))
            };
            if !Level::ALL.iter().any(|level| asked(*level)) {
                continue;
            }
            let highest = flow.levels.iter().max().copied().unwrap_or(Level::G);
            // Together in one message: one decision has to cover all of it.
            let data: Vec<&str> = flow
                .categories
                .iter()
                .map(String::as_str)
                .filter(|code| self.level(code).is_personal() && self.level(code) <= highest)
                .collect();
            let covers = |decision: &&Decision| {
                decision.recipients.contains(&to)
                    && data.iter().all(|code| decision.categories.iter().any(|own| own == code))
            };
            if self.covenant.decisions.iter().find(covers).is_some()
                || open.iter().any(|(role, _)| *role == to)
            {
                continue;
            }
            open.push((to, data));
        }
        for (to, data) in open {
            let (to, data) = (words::role(to), words::and_same(data));
            let detail = Words::new(
                format!("Geen enkel besluit dekt {} voor {}.", to.nl, data.nl),
                format!("No single decision covers {} for {}.", to.en, data.en),
            );
            warn(Warning::NoDecision, detail);
        }
    }

    fn basis(&self, flow: &Flow, warn: &mut impl FnMut(Warning, Words)) {
        if !personal(flow) || service(flow) {
            return;
        }
        let mut told = BTreeSet::new();
        for (from, to) in pairs(flow) {
            let own = match from {
                Role::Politie => "wpg",
                Role::Om => "wjsg",
                Role::Gemeente
                | Role::Jongerenwerk
                | Role::Boa
                | Role::Pga
                | Role::Zvh
                | Role::LokaalTeam => continue,
            };
            let fits = flow
                .bases
                .iter()
                .any(|code| self.names_law(code, own) || (to == Role::Zvh && self.names_law(code, "wgs")));
            if !fits && told.insert(from) {
                let (from, bases) = (words::role(from), words::and_same(&flow.bases));
                let detail = Words::new(
                    format!("De afzender is {}; de grondslagen zijn {}.", from.nl, bases.nl),
                    format!("The sender is {}; the bases are {}.", from.en, bases.en),
                );
                warn(Warning::BasisMisfit, detail);
            }
        }
    }

    /// Whether a basis is of this law, by a word of its code or of its Dutch text.
    fn names_law(&self, code: &str, law: &str) -> bool {
        let has = |text: &str| {
            let lower = text.to_lowercase();
            lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == law)
        };
        let clause = |own: &&Clause| own.code == code;
        has(code) || self.covenant.bases.iter().find(clause).is_some_and(|own| has(&own.nl))
    }
}

fn pairs(flow: &Flow) -> impl Iterator<Item = (Role, Role)> {
    flow.routes
        .iter()
        .flat_map(|route| route.from.iter().flat_map(move |from| route.to.iter().map(move |to| (*from, *to))))
}

fn retention(flow: &Flow, warn: &mut impl FnMut(Warning, Words)) {
    let said = format!("Er staat: {:?}.", flow.retention);
    let says = format!("It says: {:?}.", flow.retention);
    match flow.retention_days {
        None => {
            let lower = flow.retention.to_lowercase();
            let follows =
                lower.split(|c: char| !c.is_alphanumeric()).any(|word| word == "zaak" || word == "case");
            if flow.case != CaseRule::Required || !follows {
                warn(Warning::RetentionVague, Words::new(said, says));
            }
        }
        Some(days) if days > FIVE_YEARS && personal(flow) => {
            let term = words::days(days);
            let detail =
                Words::new(format!("De termijn is {}.", term.nl), format!("The term is {}.", term.en));
            warn(Warning::RetentionLong, detail);
        }
        Some(_) => {}
    }
}
