//! Warnings: the model gives none, and each one appears when the thing it warns of is there.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what they cannot find ends the test")]

mod covenant_kit;

use std::collections::BTreeSet;

use covenant_kit::model;
use seinhuis_shared::covenant::lint::{Finding, TABLE, Warning, lint};
use seinhuis_shared::covenant::{CaseRule, Category, Clause, Covenant, Fate, Handling, Level, Role, Special};
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::time::{Span, Timestamp};

fn told(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_model_with_the_example_partnership_gives_no_warning() {
    let findings = lint(&model());
    assert!(findings.is_empty(), "{}", told(&findings));
}

/// Index of a flow by its number in the model.
fn flow(covenant: &mut Covenant, id: &str) -> usize {
    covenant.flows.iter().position(|flow| flow.id == id).unwrap()
}

fn schema(covenant: &mut Covenant, kind: &str, old: &str, new: &str) {
    let own = covenant.types.iter_mut().find(|own| own.code == kind).unwrap();
    assert!(own.schema.contains(old), "{kind} has no {old}");
    own.schema = own.schema.replacen(old, new, 1);
}

type Row = (Warning, &'static str, &'static str, fn(&mut Covenant));

/// Warning, a part of its place, a part of its text, and what makes it appear.
const ROWS: &[Row] = &[
    (Warning::BsnToYouthWork, "F08", "category bsn", |c| {
        let at = flow(c, "F08");
        c.flows[at].categories.push("bsn".into());
    }),
    (Warning::BsnToYouthWork, "F26", "field for it: /zaakpersoon", |c| {
        schema(c, "voortgang_actie", "\"x-category\":\"zaakpersoon\"", "\"x-category\":\"bsn\"");
    }),
    (Warning::BsnToYouthWork, "F26", "field for it: /klant_bsn", |c| {
        schema(
            c,
            "voortgang_actie",
            "\"properties\":{",
            "\"properties\":{\"klant_bsn\":{\"type\":\"boolean\",\"x-category\":\"identiteit\"},",
        );
    }),
    (Warning::BsnUnmarked, "uitnodiging_om", "/burgerservicenummers", |c| {
        schema(
            c,
            "uitnodiging_om",
            "\"properties\":{",
            "\"properties\":{\"burgerservicenummers\":{\"type\":\"array\",\"minItems\":0,\"maxItems\":2,\"items\":\
             {\"type\":\"boolean\",\"x-category\":\"identiteit\"}},",
        );
    }),
    (Warning::StatementBare, "groepsscan", "/personen/*/registraties/*/tekst", |c| {
        schema(
            c,
            "groepsscan",
            "\"tekst\",\"aard\",\"peildatum\",\"betrouwbaarheid\",\"bron\",\"aantal\"",
            "\"tekst\",\"peildatum\"",
        );
    }),
    (Warning::StatementBare, "actie_toewijzing", "/persoon/aandacht", |c| {
        schema(
            c,
            "actie_toewijzing",
            "\"persoon\":{\"additionalProperties\":false,\"properties\":{",
            "\"persoon\":{\"additionalProperties\":false,\"properties\":{\"aandacht\":{\"maxLength\":9,\"minLength\":1,\"type\":\"string\",\"x-category\":\"gedrag_persoon\"},",
        );
    }),
    (Warning::StatementBare, "groepsscan", "/personen/*/namen/*", |c| {
        schema(
            c,
            "groepsscan",
            "\"personen\":{\"items\":{\"additionalProperties\":false,\"properties\":{",
            "\"personen\":{\"items\":{\"additionalProperties\":false,\"properties\":{\"namen\":{\"items\":{\"maxLength\":9,\"minLength\":1,\"type\":\"string\",\"x-category\":\"politiegegevens\"},\"maxItems\":2,\"minItems\":0,\"type\":\"array\"},",
        );
    }),
    (Warning::NobodyIdentified, "lid_verwijderd", "The field is /per", |c| {
        schema(c, "lid_verwijderd", ",\"x-subject\":\"case\"", "");
    }),
    (Warning::NoDecision, "F13", "youth work", |c| c.decisions.clear()),
    (Warning::NoDecision, "F29", "the person-centred approach", |c| {
        c.decisions[0].recipients.retain(|role| *role != Role::Pga);
    }),
    (Warning::NoDecision, "F31", "gedrag_persoon", |c| {
        c.decisions[0].categories.retain(|code| code != "gedrag_persoon");
    }),
    (Warning::NoDecision, "F25", "politiegegevens", |c| {
        let at = flow(c, "F25");
        c.flows[at].levels.push(Level::P3);
        c.flows[at].categories.push("politiegegevens".into());
    }),
    (Warning::DecisionEnds, "VB-2026-0017", "until 2027-12-31", |c| {
        c.decisions[0].expires = c.decisions[0].expires.minus(Span::days(1));
    }),
    (Warning::DecisionEnds, "VB-2026-0017", "has expired before", |c| {
        c.decisions[0].date = Timestamp::parse("2024-01-01").unwrap();
        c.decisions[0].expires = c.valid_from;
    }),
    (Warning::DecisionEnds, "VB-2026-0017", "from 2026-01-02", |c| {
        c.decisions[0].date = c.decisions[0].date.plus(Span::days(1));
    }),
    (Warning::RetentionVague, "F11", "zo lang als nodig", |c| {
        let at = flow(c, "F11");
        c.flows[at].retention = "zo lang als nodig".into();
    }),
    (Warning::RetentionVague, "F01", "zaak", |c| {
        let at = flow(c, "F01");
        c.flows[at].retention = "zolang de zaak loopt".into();
        c.flows[at].retention_days = None;
        c.flows[at].case = CaseRule::Optional;
    }),
    (Warning::RetentionLong, "F30", "2000 days", |c| {
        let at = flow(c, "F30");
        c.flows[at].retention_days = Some(2000);
    }),
    (Warning::BasisMisfit, "F11", "the police", |c| {
        let at = flow(c, "F11");
        c.flows[at].bases = vec!["avg_6_1_e".into()];
    }),
    (Warning::BasisMisfit, "F15", "the public prosecution service", |c| {
        let at = flow(c, "F15");
        c.flows[at].bases = vec!["wpg_16".into()];
    }),
    // The basis for the care and safety house does not serve elsewhere.
    (Warning::BasisMisfit, "F18", "wgs", |c| {
        let at = flow(c, "F18");
        c.flows[at].bases = vec!["wgs".into()];
    }),
    (Warning::PurposeVague, "groepsaanpak", "overige zaken", |c| c.purposes[1].nl = "overige zaken".into()),
    (Warning::PurposeVague, "signalering", "work", |c| c.purposes[0].en = "work".into()),
    (Warning::PartyUnused, "00000099000000005000", "Handhaving Voorbeeldstad", |c| {
        for route in c.flows.iter_mut().flat_map(|flow| &mut flow.routes) {
            route.from.retain(|role| *role != Role::Boa);
            route.to.retain(|role| *role != Role::Boa);
        }
    }),
    (Warning::RoleAbsent, "flows (boa)", "F03, F04", |c| c.parties.retain(|party| party.role != Role::Boa)),
    (Warning::PassedOnFreely, "F09", "level P1", |c| {
        let at = flow(c, "F09");
        c.flows[at].handling = Handling::Partners;
    }),
    (Warning::NoRelease, "F20", "levels G and P1", |c| {
        let at = flow(c, "F20");
        c.flows[at].release = false;
    }),
    (Warning::ConditionUnused, "strafrechtelijk", "criminal information", |c| {
        for flow in &mut c.flows {
            flow.conditions.clear();
        }
    }),
    (Warning::Unused, "purposes[7] feest", "a feast", |c| c.purposes.push(clause())),
    (Warning::Unused, "bases[8] feest", "a feast", |c| c.bases.push(clause())),
    (Warning::Unused, "categories[24] feest", "a feast", |c| {
        let Clause { code, nl, en } = clause();
        c.categories.push(Category { code, level: Level::P1, special: Some(Special::Bsn), nl, en });
    }),
    (Warning::Unused, "types[0] signaal_groepsgedrag", "signal about group behaviour", |c| {
        c.flows.retain(|flow| !flow.types.contains(&"signaal_groepsgedrag".to_owned()));
    }),
    (Warning::YouthWorkObliged, "00000099000000003000", "De Brug", |c| c.parties[2].may_be_absent = false),
    (Warning::FewWitnesses, "rules.witness_quorum", "says 1", |c| c.witness_quorum = 1),
    (Warning::QuorumWithoutKeys, "rules.witness_quorum", "no party has", |c| {
        c.parties.iter_mut().for_each(|party| party.witness_key = None);
    }),
    (Warning::NobodyInforms, "rules.informs", "F08, F09", |c| {
        (c.format, c.informs) = (1, Vec::new());
    }),
    (Warning::InformsAbsent, "rules.informs (zvh)", "care and safety house", |c| {
        c.informs.push(Role::Zvh);
        c.parties.retain(|party| party.role != Role::Zvh);
    }),
    (Warning::TooLong, "partnership.valid_until", "until 2031-01-03", |c| {
        c.valid_until = c.valid_from.plus(Span::days(1828));
    }),
    (Warning::EvaluationLate, "partnership.evaluation", "2027-12-01", |c| {
        c.evaluation = Timestamp::parse("2027-12-01").unwrap();
    }),
    (Warning::EvaluationLate, "partnership.evaluation", "2028-06-01", |c| {
        c.evaluation = Timestamp::parse("2028-06-01").unwrap();
        c.valid_until = Timestamp::parse("2030-01-01").unwrap();
    }),
    (Warning::LogTooShort, "rules.log_retention_days", "1460 days", |c| c.log_retention_days = 1460),
    (Warning::RevokedDelivers, "in_flight.revoked", "deliver", |c| c.in_flight.revoked = Fate::Deliver),
    (Warning::NeverTakesPart, "00000099000000004000", "until 2026-01-01", |c| {
        c.parties[3].joined = Timestamp::parse("2025-01-01").unwrap();
        c.parties[3].left = Some(c.valid_from);
    }),
    (Warning::NeverTakesPart, "00000099000000004000", "from 2028-01-01", |c| {
        c.parties[3].joined = c.valid_until;
    }),
];

fn clause() -> Clause {
    Clause { code: "feest".into(), nl: "een feest houden".into(), en: "have a feast".into() }
}

#[test]
fn each_warning_appears_at_its_place_and_says_what_to_do() {
    for (index, (warning, place, says, change)) in ROWS.iter().enumerate() {
        let mut covenant = model();
        change(&mut covenant);
        let findings = lint(&covenant);
        let own = findings.iter().find(|finding| {
            finding.warning == *warning
                && finding.about.contains(place)
                && finding.text(Lang::En).contains(says)
        });
        let own = own.unwrap_or_else(|| panic!("row {index} {warning:?}:\n{}", told(&findings)));
        let row = warning.row();
        assert!(own.text(Lang::En).ends_with(row.advice.1) && own.text(Lang::Nl).ends_with(row.advice.0));
        assert_eq!(own.code(), row.code);
    }
    let shown: BTreeSet<Warning> = ROWS.iter().map(|row| row.0).collect();
    let all: BTreeSet<Warning> = TABLE.iter().map(|row| row.warning).collect();
    assert_eq!(shown, all);
}

#[test]
fn what_is_right_is_not_warned_of() {
    let quiet: &[fn(&mut Covenant)] = &[
        // Four years, five years, three months: the bounds themselves.
        |c| c.log_retention_days = 1461,
        |c| c.valid_until = c.valid_from.plus(Span::days(730)),
        |c| c.flows[29].retention_days = Some(1827),
        |c| c.evaluation = c.valid_until.minus(Span::days(90)),
        |c| c.witness_quorum = 8,
        |c| c.decisions[0].expires = c.valid_until,
        |c| c.flows[10].retention = "follows the case".into(),
        // A longer word that only contains it is no case.
        |c| c.flows[0].retention = "zakelijk".into(),
        |c| c.parties[4].may_be_absent = false,
        |c| c.in_flight.revoked = Fate::Freeze,
        |c| c.informs = Role::ALL.to_vec(),
    ];
    for (index, change) in quiet.iter().enumerate() {
        let mut covenant = model();
        change(&mut covenant);
        assert!(lint(&covenant).is_empty(), "{index}: {}", told(&lint(&covenant)));
    }
}

#[test]
fn where_nothing_is_about_persons_nobody_has_to_be_informed() {
    let mut covenant = model();
    (covenant.format, covenant.informs) = (1, Vec::new());
    covenant.flows.retain(|flow| flow.levels == [Level::G]);
    assert!(!covenant.flows.is_empty());
    assert!(!lint(&covenant).iter().any(|finding| finding.warning == Warning::NobodyInforms));
}

#[test]
fn codes_are_unique_and_in_order_and_findings_follow_it() {
    for pair in TABLE.windows(2) {
        assert!(pair[0].code < pair[1].code && pair[0].warning < pair[1].warning);
    }
    let mut covenant = model();
    covenant.witness_quorum = 0;
    covenant.flows[7].categories.push("bsn".into());
    covenant.decisions.clear();
    let codes: Vec<_> = lint(&covenant).iter().map(Finding::code).collect();
    assert!(codes.is_sorted() && codes.first() == Some(&"W01") && codes.last() == Some(&"W15"), "{codes:?}");
}

#[test]
fn text_of_a_document_cannot_hide_in_a_warning() {
    let mut covenant = model();
    covenant.purposes[0].nl = "x\u{202e}\u{1b}[8m".into();
    let findings = lint(&covenant);
    let text = findings[0].text(Lang::Nl);
    assert!(!text.contains('\u{202e}') && !text.contains('\u{1b}'), "{text:?}");
}
