//! The evaluator against a slow, obvious reference: section 8 of `docs/protocol.md` as loops over the document.
//!
//! Nothing in here uses the evaluator's indexes, sets or rule table. One question is one row of the tables in
//! sections 8.2 and 8.3, so that a new row is a new line in [`judge`] or [`LAW`].

mod make;

use std::collections::BTreeMap;

use proptest::test_runner::Config as ProptestConfig;

use super::super::*;
use crate::ids::Oin;
use crate::refusal::Refusal;
use crate::time::Span;

/// The row of a table that turned a packet down, and its number.
type No = (&'static str, Refusal);

/// What a permit has to say.
#[derive(Debug, PartialEq, Eq)]
struct Yes {
    flow: String,
    level: Level,
    sender: Role,
    retention_days: Option<u32>,
}

/// The role of `oin`. What decides whether a party takes part belongs here.
fn role_of(covenant: &Covenant, oin: Oin) -> Option<Role> {
    for party in &covenant.parties {
        if party.oin == oin {
            return Some(party.role);
        }
    }
    None
}

fn category<'a>(covenant: &'a Covenant, code: &str) -> Option<&'a Category> {
    covenant.categories.iter().find(|one| one.code == code)
}

fn has_special(covenant: &Covenant, codes: &[String], special: Special) -> bool {
    codes.iter().any(|code| category(covenant, code).is_some_and(|one| one.special == Some(special)))
}

/// Whether some route leads from `from` to `to`; with no `to`, to anybody.
fn leads(flow: &Flow, from: Role, to: Option<Role>) -> bool {
    for route in &flow.routes {
        if route.from.contains(&from) && to.is_none_or(|to| route.to.contains(&to)) {
            return true;
        }
    }
    false
}

/// Concerns a person: everything but a group.
fn personal(level: Level) -> bool {
    level != Level::G
}

/// One decision that is of now, lists the role, and lists every declared category that concerns a person.
fn decided(covenant: &Covenant, question: &Question<'_>, to: Role) -> bool {
    for decision in &covenant.decisions {
        let of_now = decision.date <= question.now && question.now < decision.expires;
        let for_role = decision.recipients.contains(&to);
        let mut for_data = true;
        for code in &question.declared.categories {
            let concerns_person = category(covenant, code).is_some_and(|one| personal(one.level));
            if concerns_person && !decision.categories.contains(code) {
                for_data = false;
            }
        }
        if of_now && for_role && for_data {
            return true;
        }
    }
    false
}

/// What a disclosure from one role to another looks like to the law.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each asked by a rule of its own")]
struct Disclosure {
    from: Role,
    to: Role,
    step: Step,
    level: Level,
    bsn: bool,
    care: bool,
    service: bool,
    recipients: usize,
    decided: bool,
}

/// Section 8.3: rule, whether it forbids this, number.
type Rule = (&'static str, fn(Disclosure) -> bool, Refusal);

const LAW: [Rule; 9] = [
    // A citizen service number from or to youth work or enforcement officers.
    (
        "L01",
        |d| d.bsn && [d.from, d.to].iter().any(|role| matches!(role, Role::Jongerenwerk | Role::Boa)),
        Refusal::CategoryNotAllowed,
    ),
    // Prosecution and youth work, either way.
    (
        "L02",
        |d| {
            (d.from == Role::Om && d.to == Role::Jongerenwerk)
                || (d.from == Role::Jongerenwerk && d.to == Role::Om)
        },
        Refusal::RecipientRole,
    ),
    // Youth work to the care and safety house.
    ("L03", |d| d.from == Role::Jongerenwerk && d.to == Role::Zvh, Refusal::RecipientRole),
    // Care data, unless from municipality, police or prosecution to the care and safety house.
    (
        "L04",
        |d| {
            let care = d.care || d.level == Level::Z;
            let may_send = d.from == Role::Gemeente || d.from == Role::Politie || d.from == Role::Om;
            care && !(may_send && d.to == Role::Zvh)
        },
        Refusal::LevelNotAllowed,
    ),
    // Police or prosecution data to a local team.
    ("L05", |d| d.level == Level::P3 && d.to == Role::LokaalTeam, Refusal::LevelNotAllowed),
    // A person to several at a time.
    ("L06", |d| personal(d.level) && d.recipients > 1, Refusal::TooManyForPersonal),
    // A person from the police, outside the authorities and the care and safety house, without a decision.
    (
        "L07",
        |d| d.from == Role::Politie && personal(d.level) && !knows_police(d.to) && !d.decided,
        Refusal::DecisionMissing,
    ),
    // Police or prosecution data from anybody, outside the same, without a decision.
    ("L08", |d| d.level == Level::P3 && !knows_police(d.to) && !d.decided, Refusal::DecisionMissing),
    // A person in step 1 or 2A, but for service messages, referrals and their answers.
    (
        "L09",
        |d| {
            let early = d.step == Step::S1 || d.step == Step::S2A;
            let referral = d.to == Role::Pga || d.to == Role::LokaalTeam;
            let answer = d.from == Role::Pga || d.from == Role::Zvh || d.from == Role::LokaalTeam;
            personal(d.level) && early && !d.service && !referral && !answer
        },
        Refusal::WrongStep,
    ),
];

/// Who may know police data without a decision.
fn knows_police(role: Role) -> bool {
    [Role::Gemeente, Role::Politie, Role::Om, Role::Zvh].contains(&role)
}

fn is_service(message_type: &str) -> bool {
    let types = "correctie intrekking verzoek_betrokkene melding_inbreuk vernietigingsbevestiging \
                 toestemming_doorverstrekking ontvangstbevestiging afwijzing";
    types.split(' ').any(|one| one == message_type)
}

/// Rows 2 and 3: the sender's role and the recipients', in the packet's order.
fn parties(covenant: &Covenant, question: &Question<'_>) -> Result<(Role, Vec<Role>), No> {
    let recipients = question.recipients;
    if recipients.is_empty() || recipients.len() > 16 {
        return Err(("2 number", Refusal::RecipientCount));
    }
    for one in recipients {
        if recipients.iter().filter(|other| *other == one).count() > 1 {
            return Err(("2 twice", Refusal::RecipientCount));
        }
    }
    let Some(sender) = role_of(covenant, question.sender) else {
        return Err(("3 sender", Refusal::NotAParty));
    };
    let mut roles = Vec::new();
    for one in recipients {
        let Some(role) = role_of(covenant, *one) else { return Err(("3 recipient", Refusal::NotAParty)) };
        roles.push(role);
    }
    Ok((sender, roles))
}

/// Rows 4 to 14, which know nothing of the law: what the flow says.
fn agreed(
    covenant: &Covenant,
    flow: &Flow,
    question: &Question<'_>,
    from: Role,
    to: &[Role],
) -> Result<(), No> {
    let declared = question.declared;
    if !flow.types.contains(&declared.message_type) {
        return Err(("5", Refusal::WrongType));
    }
    if !leads(flow, from, None) {
        return Err(("6", Refusal::SenderRole));
    }
    for role in to {
        if !leads(flow, from, Some(*role)) {
            return Err(("7", Refusal::RecipientRole));
        }
    }
    if to.len() > usize::from(flow.max_recipients) {
        return Err(("8", Refusal::RecipientCount));
    }
    if !flow.steps.contains(&declared.step) {
        return Err(("9", Refusal::WrongStep));
    }
    if !flow.levels.contains(&declared.level) {
        return Err(("10", Refusal::LevelNotAllowed));
    }
    let mut highest = Level::G;
    for code in &declared.categories {
        match category(covenant, code) {
            Some(defined) if flow.categories.contains(code) => highest = highest.max(defined.level),
            Some(_) => return Err(("11 flow", Refusal::CategoryNotAllowed)),
            None => return Err(("11 defined", Refusal::CategoryNotAllowed)),
        }
    }
    if declared.level != highest {
        return Err(("12", Refusal::LevelNotAllowed));
    }
    if declared.purpose != flow.purpose {
        return Err(("13 purpose", Refusal::PurposeMissing));
    }
    if !flow.bases.contains(&declared.basis) {
        return Err(("13 basis", Refusal::PurposeMissing));
    }
    match (flow.case, question.case) {
        (CaseRule::Required, None) => Err(("14 required", Refusal::CaseRequired)),
        (CaseRule::Forbidden, Some(_)) => Err(("14 forbidden", Refusal::CaseRequired)),
        (CaseRule::Required | CaseRule::Forbidden | CaseRule::Optional, _) => Ok(()),
    }
}

/// Row 15.
fn lawful(
    covenant: &Covenant,
    flow: &Flow,
    question: &Question<'_>,
    from: Role,
    to: &[Role],
) -> Result<(), No> {
    let declared = question.declared;
    for role in Role::ALL {
        if !to.contains(role) {
            continue;
        }
        let disclosure = Disclosure {
            from,
            to: *role,
            step: declared.step,
            level: declared.level,
            bsn: has_special(covenant, &declared.categories, Special::Bsn),
            care: has_special(covenant, &declared.categories, Special::Care),
            service: is_service(&declared.message_type),
            recipients: to.len(),
            decided: decided(covenant, question, *role),
        };
        for (rule, forbids, refusal) in LAW {
            if forbids(disclosure) {
                return Err((rule, refusal));
            }
        }
        if flow.decision && personal(declared.level) && !disclosure.decided {
            return Err(("15 decision", Refusal::DecisionMissing));
        }
    }
    Ok(())
}

fn fits(size: Size, max_body: u64) -> bool {
    match size {
        Size::Body(bytes) => bytes <= max_body,
        // At most nine eighths of the body and 26,112 bytes, without a fraction.
        Size::Sealed(bytes) => bytes * 8 <= max_body * 9 + 26_112 * 8,
    }
}

/// Section 8.2, row by row.
fn judge(covenant: &Covenant, question: &Question<'_>) -> Result<Yes, No> {
    if question.now < covenant.valid_from {
        return Err(("1 before", Refusal::CovenantNotInForce));
    }
    if question.now >= covenant.valid_until {
        return Err(("1 after", Refusal::CovenantNotInForce));
    }
    let (sender, recipients) = parties(covenant, question)?;
    let Some(flow) = covenant.flows.iter().find(|flow| flow.id == question.flow) else {
        return Err(("4", Refusal::UnknownFlow));
    };
    agreed(covenant, flow, question, sender, &recipients)?;
    lawful(covenant, flow, question, sender, &recipients)?;
    if question.expires <= question.issued {
        return Err(("16 never", Refusal::TtlTooLong));
    }
    let validity = question.expires.0 - question.issued.0;
    if validity > covenant.max_ttl.0 || validity > Span::days(30).0 {
        return Err(("16 long", Refusal::TtlTooLong));
    }
    if !fits(question.size, u64::from(flow.max_body).min(u64::from(covenant.max_body)).min(1 << 20)) {
        let row = if matches!(question.size, Size::Body(_)) { "17 body" } else { "17 sealed" };
        return Err((row, Refusal::TooLarge));
    }
    Ok(Yes {
        flow: flow.id.clone(),
        level: question.declared.level,
        sender,
        retention_days: flow.retention_days,
    })
}

/// Whether some flow opens what the law forbids, if every decision were there and each packet had one recipient.
fn opens_the_unlawful(covenant: &Covenant) -> bool {
    for flow in &covenant.flows {
        for route in &flow.routes {
            for (from, to) in route.from.iter().flat_map(|from| route.to.iter().map(move |to| (*from, *to))) {
                for (step, level) in flow.steps.iter().flat_map(|s| flow.levels.iter().map(move |l| (*s, *l)))
                {
                    let disclosure = Disclosure {
                        from,
                        to,
                        step,
                        level,
                        bsn: has_special(covenant, &flow.categories, Special::Bsn),
                        care: has_special(covenant, &flow.categories, Special::Care),
                        service: flow.types.iter().all(|one| is_service(one)),
                        recipients: 1,
                        decided: true,
                    };
                    if LAW.iter().any(|(_, forbids, _)| forbids(disclosure)) {
                        return true;
                    }
                }
            }
        }
    }
    false
}

/// The covenant as it is loaded; one that opens the unlawful is not, and is judged without that first lock.
fn compile(covenant: &Covenant) -> (Compiled, bool) {
    match Compiled::new(covenant.clone()) {
        Ok(compiled) => {
            assert!(!opens_the_unlawful(covenant), "loaded though it opens the unlawful: {covenant:#?}");
            (compiled, true)
        }
        Err(error) => {
            assert!(
                error.what.contains("against rule L"),
                "the generator makes a malformed covenant: {error}"
            );
            assert!(opens_the_unlawful(covenant), "{error}: {covenant:#?}");
            (Compiled::index(covenant.clone()).unwrap(), false)
        }
    }
}

/// Holds the evaluator against the reference; gives what the reference says.
fn hold(compiled: &Compiled, question: &Question<'_>) -> Result<Yes, No> {
    let covenant = compiled.covenant();
    let expected = judge(covenant, question);
    let got = evaluate(compiled, question);
    match (&expected, &got) {
        (Ok(yes), Ok(permit)) => {
            let said = Yes {
                flow: permit.flow().to_owned(),
                level: permit.level(),
                sender: permit.sender_role(),
                retention_days: permit.retention_days(),
            };
            assert_eq!(&said, yes, "the permit of {question:#?}");
            assert_eq!(permit.covenant(), covenant.hash(), "another covenant's permit");
        }
        (Err((row, refusal)), Err(other)) if refusal == other => {
            assert!(!row.is_empty());
        }
        (_, _) => panic!("reference {expected:?}, evaluator {got:?}: {question:#?}\n{covenant:#?}"),
    }
    expected
}

/// Judges `questions` questions under one covenant that `dice` makes; counts the rows.
fn play(dice: &mut make::Dice, questions: usize, rows: &mut BTreeMap<&'static str, usize>) {
    let covenant = make::covenant(dice);
    let (compiled, loads) = compile(&covenant);
    *rows.entry(if loads { "loaded" } else { "not loaded" }).or_default() += 1;
    for _ in 0..questions {
        let asked = make::question(dice, &covenant);
        let row = match hold(&compiled, &asked.as_question()) {
            Ok(yes) if personal(yes.level) => "permit, person",
            Ok(_) => "permit, group",
            Err((row, _)) => row,
        };
        *rows.entry(row).or_default() += 1;
    }
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_evaluator_says_what_the_reference_says(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2000)) {
        play(&mut make::Dice::of(bytes), 16, &mut BTreeMap::new());
    }
}

/// Every row of the tables decides often, in covenants that load and in ones that do not.
#[test]
fn every_row_turns_packets_down_and_some_pass() {
    let mut rows = BTreeMap::new();
    let mut dice = make::Dice::seeded(7);
    for _ in 0..1500 {
        play(&mut dice, 40, &mut rows);
    }
    let law = LAW.iter().map(|(rule, _, _)| *rule);
    let others = [
        "loaded",
        "not loaded",
        "permit, group",
        "permit, person",
        "1 before",
        "1 after",
        "2 number",
        "2 twice",
        "3 sender",
        "3 recipient",
        "4",
        "5",
        "6",
        "7",
        "8",
        "9",
        "10",
        "11 flow",
        "11 defined",
        "12",
        "13 purpose",
        "13 basis",
        "14 required",
        "14 forbidden",
        "15 decision",
        "16 never",
        "16 long",
        "17 body",
        "17 sealed",
    ];
    for row in law.chain(others) {
        let times = rows.get(row).copied().unwrap_or_default();
        assert!(times >= 20, "row {row} decided {times} times: {rows:?}");
    }
}
