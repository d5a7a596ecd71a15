//! What a covenant document must satisfy, whether it comes from TOML or from canonical bytes.
//!
//! The first fault found is reported, with its field written as in the TOML: `flows[3].purpose`.

use std::collections::{BTreeMap, BTreeSet};

use super::declared::is_code;
use super::document::{self, CaseRule, Category, Condition, Covenant, FORMAT_INFORMS, FORMATS, Flow};
use super::error::CovenantError;
use super::law::{self, Act};
use super::limits::{
    ALL_CATEGORIES_MAX, BODY_MAX, CATEGORIES_MAX, CLAUSES_MAX, CONDITIONS_MAX, DAYS_MAX, DECISIONS_MAX,
    FLOW_BASES_MAX, FLOW_TYPES_MAX, FLOWS_MAX, KEYS_MAX, OVERLAP_DAYS_MAX, PARTIES_MAX, PROSE_MAX,
    RECIPIENTS_MAX, ROUTES_MAX, TEXT_MAX, TTL_MAX, TYPES_MAX,
};
use super::schema::Schema;
use super::vocabulary::{Handling, Level, Role, Special, Step};
use crate::signing::PublicKey;

pub(super) type Checked = Result<(), CovenantError>;

pub(super) fn fault<T>(
    field: impl Into<String>,
    what: impl Into<String>,
    advice: &str,
) -> Result<T, CovenantError> {
    Err(CovenantError::new(field, what).advise(advice))
}

pub(super) fn validate(covenant: &Covenant) -> Checked {
    head(covenant)?;
    let purposes = clauses("purposes", covenant.purposes.iter().map(|c| (&c.code, &c.nl, &c.en)))?;
    let bases = clauses("bases", covenant.bases.iter().map(|c| (&c.code, &c.nl, &c.en)))?;
    let categories = categories(&covenant.categories)?;
    let types = types(covenant, &categories)?;
    steps(covenant)?;
    let conditions = conditions(&covenant.conditions)?;
    let known = Known { purposes, bases, categories, types, conditions };
    count("flows", covenant.flows.len(), 1, FLOWS_MAX)?;
    let mut ids = BTreeSet::new();
    for (index, flow) in covenant.flows.iter().enumerate() {
        let at = format!("flows[{index}]");
        let id_form = (1..=TEXT_MAX).contains(&flow.id.len())
            && flow.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !id_form {
            return fault(
                format!("{at}.id"),
                "is not 1 to 64 letters, digits, - or _",
                "Write for example \"F01\".",
            );
        }
        if !ids.insert(&flow.id) {
            return fault(
                format!("{at}.id"),
                format!("flow `{}` stands twice", flow.id),
                "Give each flow its own id.",
            );
        }
        known.flow(covenant, flow, &at)?;
        lawful(covenant, flow, &at)?;
        handling(flow, &at)?;
    }
    decisions(covenant, &known.categories)?;
    parties(covenant)?;
    super::witnesses::validate(covenant)
}

pub(super) fn count(field: &str, number: usize, min: usize, max: usize) -> Checked {
    if (min..=max).contains(&number) {
        return Ok(());
    }
    fault(field, format!("has {number} entries"), &format!("Write {min} to {max}."))
}

fn prose(field: String, text: &str) -> Checked {
    if text.trim().is_empty() || text.len() > PROSE_MAX {
        return fault(field, "is empty or too long", &format!("Write 1 to {PROSE_MAX} bytes of text."));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return fault(field, "has a control character", "Remove it; only line ends are allowed.");
    }
    Ok(())
}

fn code(field: String, text: &str) -> Checked {
    if is_code(text) {
        return Ok(());
    }
    fault(field, "is not a code", "Write 1 to 64 characters of a-z, 0-9 and _.")
}

fn unique<T: Ord>(field: &str, items: impl IntoIterator<Item = T>) -> Checked {
    let mut seen = BTreeSet::new();
    for item in items {
        if !seen.insert(item) {
            return fault(field, "names something twice", "Name each once.");
        }
    }
    Ok(())
}

fn head(covenant: &Covenant) -> Checked {
    if !FORMATS.contains(&covenant.format) {
        return Err(document::unknown(covenant.format));
    }
    let id_form = (1..=TEXT_MAX).contains(&covenant.id.len())
        && covenant.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !id_form {
        return fault(
            "partnership.id",
            "is not an identifier",
            "Write 1 to 64 characters of a-z, 0-9 and -.",
        );
    }
    if covenant.version == 0 {
        return fault("partnership.version", "is 0", "Count from 1.");
    }
    if covenant.previous.is_some() != (covenant.version > 1) {
        let field = if covenant.version > 1 { "partnership.version" } else { "partnership.previous" };
        return fault(
            field,
            "version 1 has no `previous`, every later version has one",
            "Write the hash of the version before, as `seinhuis-broker covenant show` prints it.",
        );
    }
    prose("partnership.title".to_owned(), &covenant.title)?;
    prose("partnership.contact".to_owned(), &covenant.contact)?;
    if covenant.valid_until <= covenant.valid_from {
        return fault("partnership.valid_until", "is not after `valid_from`", "Write a later date.");
    }
    if covenant.evaluation < covenant.valid_from || covenant.evaluation > covenant.valid_until {
        return fault("partnership.evaluation", "lies outside the validity", "Write a date within it.");
    }
    if covenant.max_ttl.0 == 0 || covenant.max_ttl > TTL_MAX {
        return fault("rules.max_ttl_days", "is out of range", "Write 1 to 30 days.");
    }
    body_size("rules.max_body".to_owned(), covenant.max_body)?;
    days("rules.log_retention_days".to_owned(), covenant.log_retention_days)?;
    if covenant.overlap_days > OVERLAP_DAYS_MAX {
        return fault(
            "rules.overlap_days",
            "is out of range",
            &format!("Write 0 to {OVERLAP_DAYS_MAX} days."),
        );
    }
    prose("rules.retention".to_owned(), &covenant.retention)?;
    informs(covenant)
}

/// Who informs data subjects: somebody in the form that says it, nobody in the form that does not.
fn informs(covenant: &Covenant) -> Checked {
    let (field, all) = ("rules.informs", &covenant.informs);
    if covenant.format != FORMAT_INFORMS {
        if all.is_empty() {
            return Ok(());
        }
        let what = format!("does not stand in canonical form {}", covenant.format);
        return fault(field, what, "Load the covenant from its TOML again.");
    }
    count(field, all.len(), 1, Role::ALL.len())?;
    unique(field, all)?;
    if all.is_sorted() {
        return Ok(());
    }
    let what = "is not in the order in which roles are listed";
    fault(field, what, "Load the covenant from its TOML again.")
}

fn body_size(field: String, bytes: u32) -> Checked {
    let within = usize::try_from(bytes).is_ok_and(|bytes| (1..=BODY_MAX).contains(&bytes));
    if within { Ok(()) } else { fault(field, "is out of range", &format!("Write 1 to {BODY_MAX} bytes.")) }
}

fn days(field: String, days: u32) -> Checked {
    if (1..=DAYS_MAX).contains(&days) {
        return Ok(());
    }
    fault(field, "is out of range", &format!("Write 1 to {DAYS_MAX} days."))
}

fn clauses<'a>(
    table: &str,
    rows: impl ExactSizeIterator<Item = (&'a String, &'a String, &'a String)>,
) -> Result<BTreeSet<&'a str>, CovenantError> {
    count(table, rows.len(), 1, CLAUSES_MAX)?;
    let mut codes = BTreeSet::new();
    for (index, (own, nl, en)) in rows.enumerate() {
        let at = format!("{table}[{index}]");
        code(format!("{at}.code"), own)?;
        prose(format!("{at}.nl"), nl)?;
        prose(format!("{at}.en"), en)?;
        if !codes.insert(own.as_str()) {
            return fault(format!("{at}.code"), format!("`{own}` stands twice"), "Give each its own code.");
        }
    }
    Ok(codes)
}

fn categories(all: &[Category]) -> Result<BTreeMap<&str, Level>, CovenantError> {
    count("categories", all.len(), 1, ALL_CATEGORIES_MAX)?;
    let mut levels = BTreeMap::new();
    for (index, category) in all.iter().enumerate() {
        let at = format!("categories[{index}]");
        code(format!("{at}.code"), &category.code)?;
        prose(format!("{at}.nl"), &category.nl)?;
        prose(format!("{at}.en"), &category.en)?;
        let fits = match category.special {
            Some(Special::Care) => category.level == Level::Z,
            Some(Special::Criminal) => category.level == Level::P3,
            Some(Special::Bsn) => matches!(category.level, Level::P1 | Level::P2 | Level::P3),
            None => category.level != Level::Z,
        };
        if !fits {
            return fault(
                format!("{at}.level"),
                format!("`{}` is not the level of this special kind of data", category.level),
                "zorg is Z and only zorg is Z; strafrechtelijk is P3; bsn is P1 to P3.",
            );
        }
        if levels.insert(category.code.as_str(), category.level).is_some() {
            let what = format!("`{}` stands twice", category.code);
            return fault(format!("{at}.code"), what, "Give each category its own code.");
        }
    }
    Ok(levels)
}

fn types<'a>(
    covenant: &'a Covenant,
    categories: &BTreeMap<&str, Level>,
) -> Result<BTreeMap<&'a str, Schema>, CovenantError> {
    count("types", covenant.types.len(), 1, TYPES_MAX)?;
    let mut schemas = BTreeMap::new();
    for (index, kind) in covenant.types.iter().enumerate() {
        let at = format!("types[{index}]");
        code(format!("{at}.code"), &kind.code)?;
        prose(format!("{at}.nl"), &kind.nl)?;
        prose(format!("{at}.en"), &kind.en)?;
        let field = format!("{at}.schema");
        let read = Schema::parse(&kind.schema).and_then(|s| Ok((s, Schema::canonical(&kind.schema)?)));
        let (schema, canonical) = read.map_err(|error| {
            CovenantError::new(&field, error.to_string()).advise("Correct the schema of this message type.")
        })?;
        if canonical != kind.schema {
            return fault(field, "is not in canonical form", "Load the covenant from its TOML again.");
        }
        if let Some(own) = schema.categories().find(|own| !categories.contains_key(own)) {
            let what = format!("the schema uses category `{own}`, which is not in [[categories]]");
            return fault(field, what, "Add the category, or use one that exists.");
        }
        if schemas.insert(kind.code.as_str(), schema).is_some() {
            let what = format!("`{}` stands twice", kind.code);
            return fault(format!("{at}.code"), what, "Give each message type its own code.");
        }
    }
    Ok(schemas)
}

fn steps(covenant: &Covenant) -> Checked {
    count("steps", covenant.steps.len(), 1, Step::ALL.len())?;
    unique("steps", covenant.steps.iter().map(|rule| rule.step))?;
    for (index, rule) in covenant.steps.iter().enumerate() {
        prose(format!("steps[{index}].nl"), &rule.nl)?;
        prose(format!("steps[{index}].en"), &rule.en)?;
        let field = format!("steps[{index}].movers");
        // The direction is the burgemeester's; a covenant that gives it to somebody else is no such covenant.
        if rule.movers != [Role::Gemeente] {
            let what = format!("step `{}` would be moved by others than the municipality alone", rule.step);
            return fault(field, what, "Write [\"gemeente\"]: only its regisseur moves a case.");
        }
    }
    Ok(())
}

struct Known<'a> {
    purposes: BTreeSet<&'a str>,
    bases: BTreeSet<&'a str>,
    categories: BTreeMap<&'a str, Level>,
    types: BTreeMap<&'a str, Schema>,
    conditions: BTreeSet<&'a str>,
}

impl Known<'_> {
    fn flow(&self, covenant: &Covenant, flow: &Flow, at: &str) -> Checked {
        let field = |name: &str| format!("{at}.{name}");
        prose(field("nl"), &flow.nl)?;
        prose(field("en"), &flow.en)?;
        prose(field("retention"), &flow.retention)?;
        count(&field("types"), flow.types.len(), 1, FLOW_TYPES_MAX)?;
        unique(&field("types"), &flow.types)?;
        routes(flow, at)?;
        count(&field("steps"), flow.steps.len(), 1, Step::ALL.len())?;
        unique(&field("steps"), &flow.steps)?;
        if let Some(step) = flow.steps.iter().find(|step| !covenant.steps.iter().any(|r| r.step == **step)) {
            return fault(
                field("steps"),
                format!("step `{step}` is not in [[steps]]"),
                "Add the step there.",
            );
        }
        count(&field("levels"), flow.levels.len(), 1, Level::ALL.len())?;
        unique(&field("levels"), &flow.levels)?;
        if !self.purposes.contains(flow.purpose.as_str()) {
            let what = format!("purpose `{}` is not in [[purposes]]", flow.purpose);
            return fault(field("purpose"), what, &one_of(self.purposes.iter().copied()));
        }
        count(&field("bases"), flow.bases.len(), 1, FLOW_BASES_MAX)?;
        unique(&field("bases"), &flow.bases)?;
        if let Some(basis) = flow.bases.iter().find(|basis| !self.bases.contains(basis.as_str())) {
            let what = format!("basis `{basis}` is not in [[bases]]");
            return fault(field("bases"), what, &one_of(self.bases.iter().copied()));
        }
        if !(1..=RECIPIENTS_MAX).contains(&usize::from(flow.max_recipients)) {
            return fault(
                field("max_recipients"),
                "is out of range",
                &format!("Write 1 to {RECIPIENTS_MAX}."),
            );
        }
        self.requirements(flow, &field("conditions"))?;
        body_size(field("max_body"), flow.max_body)?;
        if let Some(term) = flow.retention_days {
            days(field("retention_days"), term)?;
        }
        self.data(flow, at)
    }

    fn requirements(&self, flow: &Flow, at: &str) -> Checked {
        count(at, flow.conditions.len(), 0, CONDITIONS_MAX)?;
        for (index, one) in flow.conditions.iter().enumerate() {
            if !self.conditions.contains(one.condition.as_str()) {
                let what = format!("condition `{}` is not in [[conditions]]", one.condition);
                let advice = one_of(self.conditions.iter().copied());
                return fault(format!("{at}[{index}].condition"), what, &advice);
            }
            let roles = format!("{at}[{index}].roles");
            count(&roles, one.roles.len(), 1, Role::ALL.len())?;
            unique(&roles, &one.roles)?;
            if flow.case != CaseRule::Required {
                let what = "a condition holds of a case, and this flow does without one";
                return fault(at, what, "Write case = \"required\", or leave the conditions out.");
            }
        }
        Ok(())
    }

    fn data(&self, flow: &Flow, at: &str) -> Checked {
        let field = format!("{at}.categories");
        count(&field, flow.categories.len(), 0, CATEGORIES_MAX)?;
        unique(&field, &flow.categories)?;
        for own in &flow.categories {
            match self.categories.get(own.as_str()) {
                None => {
                    let what = format!("category `{own}` is not in [[categories]]");
                    return fault(field, what, "Add it there, or use one that exists.");
                }
                Some(level) if flow.levels.iter().all(|allowed| allowed < level) => {
                    let what = format!("category `{own}` has level {level}, above every one of `levels`");
                    return fault(field, what, "Add the level, or remove the category.");
                }
                Some(_) => {}
            }
        }
        for own in &flow.types {
            let Some(schema) = self.types.get(own.as_str()) else {
                let what = format!("message type `{own}` is not in [[types]]");
                return fault(format!("{at}.types"), what, "Add it there with its schema.");
            };
            for (category, pointer) in schema.required_categories() {
                if !flow.categories.iter().any(|code| code == category) {
                    let what =
                        format!("no `{own}` fits: its required field {pointer} has category `{category}`");
                    return fault(field, what, "Add the category here, or make the field optional.");
                }
            }
        }
        Ok(())
    }
}

fn one_of<'a>(codes: impl Iterator<Item = &'a str>) -> String {
    let list: Vec<_> = codes.take(12).collect();
    format!("Write one of: {}.", list.join(", "))
}

fn routes(flow: &Flow, at: &str) -> Checked {
    count(&format!("{at}.routes"), flow.routes.len(), 1, ROUTES_MAX)?;
    for (index, route) in flow.routes.iter().enumerate() {
        for (name, roles) in [("from", &route.from), ("to", &route.to)] {
            let field = format!("{at}.routes[{index}].{name}");
            count(&field, roles.len(), 1, Role::ALL.len())?;
            unique(&field, roles)?;
        }
    }
    Ok(())
}

/// Police, prosecution and care data are passed on with the consent of their origin only.
fn handling(flow: &Flow, at: &str) -> Checked {
    let strict = flow.levels.iter().any(|level| matches!(level, Level::P3 | Level::Z));
    if strict && flow.handling != Handling::Consent {
        let what = "lets police, prosecution or care data be passed on without its origin's consent";
        return fault(format!("{at}.handling"), what, "Write handling = \"consent\", or leave it out.");
    }
    Ok(())
}

/// No combination a flow opens may break a rule of law. An article 20 decision and the single recipient
/// are supposed here: they depend on the packet and are judged there.
fn lawful(covenant: &Covenant, flow: &Flow, at: &str) -> Checked {
    let special = |kind: Special| {
        let mut own = covenant.categories.iter().filter(|c| flow.categories.contains(&c.code));
        own.any(|category| category.special == Some(kind))
    };
    let (bsn, care) = (special(Special::Bsn), special(Special::Care));
    let service = !flow.types.is_empty() && flow.types.iter().all(|own| law::is_service(own));
    for (index, route) in flow.routes.iter().enumerate() {
        for (from, to) in route.from.iter().flat_map(|from| route.to.iter().map(move |to| (*from, *to))) {
            for (step, level) in
                flow.steps.iter().flat_map(|step| flow.levels.iter().map(move |level| (*step, *level)))
            {
                let act = Act { from, to, step, level, bsn, care, service, recipients: 1, decided: true };
                if let Some(rule) = law::broken(&act) {
                    let what = format!(
                        "opens {from} to {to}, step {step}, level {level}, against rule {} ({}): {}",
                        rule.id, rule.source, rule.en
                    );
                    let advice = "Narrow the routes, steps, levels or categories of this flow.";
                    return fault(format!("{at}.routes[{index}]"), what, advice);
                }
            }
        }
    }
    Ok(())
}

fn conditions(all: &[Condition]) -> Result<BTreeSet<&str>, CovenantError> {
    count("conditions", all.len(), 0, CONDITIONS_MAX)?;
    let mut codes = BTreeSet::new();
    for (index, condition) in all.iter().enumerate() {
        let at = format!("conditions[{index}]");
        code(format!("{at}.code"), &condition.code)?;
        prose(format!("{at}.nl"), &condition.nl)?;
        prose(format!("{at}.en"), &condition.en)?;
        count(&format!("{at}.set_by"), condition.set_by.len(), 1, Role::ALL.len())?;
        unique(&format!("{at}.set_by"), &condition.set_by)?;
        if !(1..=2).contains(&condition.parties) {
            let what = format!("asks for {} parties", condition.parties);
            return fault(
                format!("{at}.parties"),
                what,
                "Write 1, or 2 where one party may not decide alone.",
            );
        }
        if !codes.insert(condition.code.as_str()) {
            let what = format!("`{}` stands twice", condition.code);
            return fault(format!("{at}.code"), what, "Give each condition its own code.");
        }
    }
    Ok(codes)
}

fn decisions(covenant: &Covenant, categories: &BTreeMap<&str, Level>) -> Checked {
    count("decisions", covenant.decisions.len(), 0, DECISIONS_MAX)?;
    unique("decisions", covenant.decisions.iter().map(|decision| &decision.reference))?;
    for (index, decision) in covenant.decisions.iter().enumerate() {
        let field = |name: &str| format!("decisions[{index}].{name}");
        prose(field("reference"), &decision.reference)?;
        prose(field("authority"), &decision.authority)?;
        count(&field("recipients"), decision.recipients.len(), 1, Role::ALL.len())?;
        unique(&field("recipients"), &decision.recipients)?;
        count(&field("categories"), decision.categories.len(), 1, ALL_CATEGORIES_MAX)?;
        unique(&field("categories"), &decision.categories)?;
        for own in &decision.categories {
            match categories.get(own.as_str()) {
                None => {
                    let what = format!("category `{own}` is not in [[categories]]");
                    return fault(field("categories"), what, "Use one that exists.");
                }
                Some(Level::Z) => {
                    let what = format!("category `{own}` is care data, which no such decision covers");
                    return fault(field("categories"), what, "Remove it.");
                }
                Some(_) => {}
            }
        }
        if decision.expires <= decision.date {
            return fault(field("expires"), "is not after `date`", "Write a later date.");
        }
    }
    Ok(())
}

fn parties(covenant: &Covenant) -> Checked {
    count("parties", covenant.parties.len(), 1, PARTIES_MAX)?;
    let (mut oins, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for (index, party) in covenant.parties.iter().enumerate() {
        let field = |name: &str| format!("parties[{index}].{name}");
        if !oins.insert(party.oin) {
            let what = format!("party {} stands twice", party.oin);
            return fault(field("oin"), what, "Give each organisation one entry with one role.");
        }
        prose(field("name"), &party.name)?;
        prose(field("contact"), &party.contact)?;
        if party.left.is_some_and(|left| left <= party.joined) {
            return fault(field("left"), "is not after `joined`", "Write a later date, or leave it out.");
        }
        count(&field("signing_keys"), party.signing_keys.len(), 1, KEYS_MAX)?;
        for key in &party.signing_keys {
            let good = <[u8; 32]>::try_from(key.0.as_slice()).ok().and_then(|b| PublicKey::from_bytes(&b));
            if good.is_none() {
                return fault(
                    field("signing_keys"),
                    "holds a weak or impossible Ed25519 public key",
                    "Write the key that the party's own agent prints (seinhuis-agent status).",
                );
            }
            if !keys.insert(&key.0) {
                return fault(field("signing_keys"), "holds a key twice", "Every party has its own keys.");
            }
        }
    }
    if !oins.contains(&covenant.owner) {
        let what = format!("{} is not a party", covenant.owner);
        return fault("partnership.owner", what, "Write the OIN of one of the parties.");
    }
    Ok(())
}
