//! The rules of law, with the flow table opened wide: what a wrong document cannot open.

mod reference;

use super::*;
use crate::ids::{CaseId, Oin};
use crate::refusal::Refusal;
use crate::signing::SigningKey;
use crate::time::{Span, Timestamp};

fn text(file: &str) -> String {
    std::fs::read_to_string(format!("{}/../covenants/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn model() -> Covenant {
    let joined = text("model.toml") + &text("partnership.example.toml");
    Covenant::from_toml(&joined, &mut |path| Ok(text(path))).unwrap()
}

/// Every flow from everyone to everyone, in every step, on every level, with every category.
fn open() -> Covenant {
    let mut covenant = model();
    let categories: Vec<String> = covenant.categories.iter().map(|c| c.code.clone()).collect();
    for flow in &mut covenant.flows {
        flow.routes = vec![Route { from: Role::ALL.to_vec(), to: Role::ALL.to_vec() }];
        flow.steps = Step::ALL.to_vec();
        flow.levels = Level::ALL.to_vec();
        flow.categories.clone_from(&categories);
        flow.case = CaseRule::Optional;
        flow.decision = false;
        flow.max_recipients = 16;
    }
    covenant
}

fn oin(role: Role) -> Oin {
    let number = Role::ALL.iter().position(|one| *one == role).unwrap() + 1;
    format!("0000009900000000{number}000").parse().unwrap()
}

struct Try {
    flow: &'static str,
    from: Role,
    to: Vec<Role>,
    step: Step,
    categories: Vec<&'static str>,
}

fn attempt(compiled: &Compiled, attempt: &Try) -> Result<Permit, Refusal> {
    let flow = compiled.rule(attempt.flow).unwrap();
    let levels = attempt.categories.iter().map(|code| compiled.level_of(code).unwrap());
    let declared = Declared::new(
        &flow.types[0],
        attempt.step,
        levels.max().unwrap(),
        attempt.categories.iter().map(|code| (*code).to_owned()),
        &flow.purpose,
        &flow.bases[0],
    )
    .unwrap();
    let recipients: Vec<Oin> = attempt.to.iter().map(|role| oin(*role)).collect();
    let now = Timestamp::parse("2026-06-01").unwrap();
    let question = Question {
        flow: attempt.flow,
        sender: oin(attempt.from),
        recipients: &recipients,
        case: Some(CaseId([1; 16])),
        declared: &declared,
        now,
        issued: now,
        expires: now.plus(Span::days(1)),
        size: Size::Body(100),
    };
    evaluate(compiled, &question)
}

#[test]
fn a_covenant_that_breaks_the_law_does_not_load() {
    let error = Compiled::new(open()).unwrap_err();
    assert!(error.what.contains("against rule L"), "{error}");
    assert!(error.field.starts_with("flows[0].routes[0]"), "{error}");
}

fn row(flow: &'static str, from: Role, to: &[Role], step: Step, categories: &[&'static str]) -> Try {
    Try { flow, from, to: to.to_vec(), step, categories: categories.to_vec() }
}

#[test]
fn what_must_be_refused_is_refused_with_the_table_wide_open() {
    use Role::{Boa, Gemeente, Jongerenwerk, LokaalTeam, Om, Pga, Politie, Zvh};
    use Step::{S1, S2A, S2B, S3, S5};
    let compiled = Compiled::index(open()).unwrap();
    let category = Refusal::CategoryNotAllowed;
    let role = Refusal::RecipientRole;
    let level = Refusal::LevelNotAllowed;
    let step = Refusal::WrongStep;
    let several = Refusal::TooManyForPersonal;
    let decision = Refusal::DecisionMissing;
    let rows = [
        // BSN to or from youth work or enforcement officers.
        (row("F08", Jongerenwerk, &[Gemeente], S2B, &["bsn"]), category),
        (row("F13", Gemeente, &[Jongerenwerk], S2B, &["bsn", "identiteit"]), category),
        (row("F26", Boa, &[Gemeente], S5, &["bsn"]), category),
        (row("F25", Gemeente, &[Boa], S5, &["bsn"]), category),
        // OM and youth work; youth work to the care and safety house: no level, no flow.
        (row("F24", Om, &[Jongerenwerk], S5, &["besluit"]), role),
        (row("F01", Jongerenwerk, &[Om], S1, &["locatie"]), role),
        (row("F41", Jongerenwerk, &[Om], S1, &["verwijzing"]), role),
        (row("F30", Jongerenwerk, &[Zvh], S5, &["identiteit"]), role),
        (row("F27", Jongerenwerk, &[Gemeente, Zvh], S5, &["locatie"]), role),
        // Care data goes to the care and safety house from three roles, and nowhere else.
        (row("F32", Pga, &[Gemeente], S5, &["zorg"]), level),
        (row("F32", Zvh, &[Gemeente], S5, &["zorg"]), level),
        (row("F32", LokaalTeam, &[Gemeente], S5, &["zorg"]), level),
        (row("F32", Pga, &[Zvh], S5, &["zorg"]), level),
        (row("F25", Gemeente, &[Politie], S5, &["zorg"]), level),
        (row("F31", Gemeente, &[LokaalTeam], S5, &["zorg"]), level),
        // Police or prosecution data to a local team.
        (row("F31", Politie, &[LokaalTeam], S5, &["politiegegevens"]), level),
        (row("F31", Om, &[LokaalTeam], S5, &["strafvorderlijk"]), level),
        (row("F31", Gemeente, &[LokaalTeam], S5, &["politiegegevens"]), level),
        // Persons to several recipients.
        (row("F11", Politie, &[Gemeente, Om], S2B, &["politiegegevens"]), several),
        (row("F28", Gemeente, &[Politie, Jongerenwerk], S5, &["identiteit"]), several),
        // Police data to youth work outside article 20: the example decision names no police records.
        (row("F18", Politie, &[Jongerenwerk], S3, &["politiegegevens"]), decision),
        (row("F20", Gemeente, &[Jongerenwerk], S3, &["politiegegevens"]), decision),
        (row("F18", Politie, &[Boa], S3, &["identiteit"]), decision),
        // Persons in steps 1 and 2A.
        (row("F08", Jongerenwerk, &[Gemeente], S1, &["identiteit"]), step),
        (row("F08", Jongerenwerk, &[Gemeente], S2A, &["identiteit"]), step),
        (row("F11", Politie, &[Gemeente], S2A, &["politiegegevens"]), step),
        (row("F30", Gemeente, &[Zvh], S2A, &["identiteit"]), step),
    ];
    for (index, (one, refusal)) in rows.iter().enumerate() {
        assert_eq!(attempt(&compiled, one), Err(*refusal), "row {index}");
    }
}

#[test]
fn the_law_leaves_open_what_it_does_not_forbid() {
    use Role::{Gemeente, Jongerenwerk, LokaalTeam, Om, Pga, Politie, Zvh};
    let compiled = Compiled::index(open()).unwrap();
    for (index, one) in [
        row("F30", Gemeente, &[Zvh], Step::S5, &["bsn", "zorg", "politiegegevens"]),
        row("F31", Jongerenwerk, &[LokaalTeam], Step::S1, &["gedrag_persoon"]),
        row("F29", Jongerenwerk, &[Pga], Step::S2A, &["identiteit"]),
        row("F32", Pga, &[Jongerenwerk], Step::S2A, &["zaakpersoon"]),
        row("F37", Jongerenwerk, &[Gemeente], Step::S1, &["identiteit"]),
        row("F11", Politie, &[Gemeente], Step::S2B, &["bsn", "politiegegevens"]),
        row("F12", Politie, &[Om], Step::S2B, &["politiegegevens"]),
        row("F18", Politie, &[Jongerenwerk], Step::S3, &["identiteit"]),
        row("F27", Gemeente, &[Politie, Jongerenwerk, Om], Step::S5, &["locatie"]),
    ]
    .iter()
    .enumerate()
    {
        assert!(attempt(&compiled, one).is_ok(), "row {index}: {:?}", attempt(&compiled, one));
    }
}

/// Each rule alone carries something: no rule is covered by its neighbours.
#[test]
fn every_rule_of_law_is_the_only_one_to_stop_some_act() {
    let plain = law::Act {
        from: Role::Gemeente,
        to: Role::Politie,
        step: Step::S5,
        level: Level::P1,
        bsn: false,
        care: false,
        service: false,
        recipients: 1,
        decided: false,
    };
    assert!(law::broken(&plain).is_none());
    let (jw, om, zvh) = (Role::Jongerenwerk, Role::Om, Role::Zvh);
    let acts = [
        ("L01", law::Act { to: jw, bsn: true, ..plain }),
        ("L02", law::Act { from: om, to: jw, ..plain }),
        ("L03", law::Act { from: jw, to: zvh, ..plain }),
        ("L04", law::Act { level: Level::Z, ..plain }),
        ("L05", law::Act { to: Role::LokaalTeam, level: Level::P3, decided: true, ..plain }),
        ("L06", law::Act { recipients: 2, ..plain }),
        ("L07", law::Act { from: Role::Politie, to: Role::Pga, ..plain }),
        ("L08", law::Act { to: Role::Pga, level: Level::P3, ..plain }),
        ("L09", law::Act { step: Step::S2A, ..plain }),
    ];
    assert_eq!(acts.len(), law::TABLE.len());
    for (id, act) in acts {
        let broken: Vec<_> = law::TABLE.iter().filter(|r| (r.broken_by)(&act)).map(|r| r.id).collect();
        assert_eq!(broken, [id]);
    }
}

#[test]
fn the_example_keys_are_the_published_test_seeds() {
    for (index, party) in model().parties.iter().enumerate() {
        let seed = [u8::try_from(index + 1).unwrap(); 32];
        let key = SigningKey::from_seed(&seed).public();
        assert_eq!(party.signing_keys[0].0, key.to_bytes());
    }
}
