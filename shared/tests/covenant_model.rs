//! The model covenant does what `covenants/README.md` promises: every sample passes, and what must be
//! refused is refused.

mod covenant_kit;

use std::collections::BTreeSet;

use covenant_kit::{Ask, ask, compiled, declare, model, oin, samples};
use seinhuis_shared::covenant::{
    CaseRule, Compiled, Covenant, Level, Role, Size, Step, check_body, evaluate,
};
use seinhuis_shared::ids::CaseId;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};

#[expect(clippy::expect_used, reason = "the step of a test")]
fn refused(compiled: &Compiled, ask: &Ask) -> Refusal {
    evaluate(compiled, &ask.question()).expect_err("must be refused")
}

#[test]
fn every_sample_is_permitted_and_names_its_flow() {
    let compiled = compiled();
    let mut types = BTreeSet::new();
    let mut canaries = BTreeSet::new();
    for sample in samples() {
        let ask = sample.ask(&compiled);
        let permit = evaluate(&compiled, &ask.question())
            .unwrap_or_else(|refusal| panic!("{}: {refusal} {:?}", sample.file, ask.declared));
        assert_eq!((permit.flow(), permit.covenant()), (sample.flow.as_str(), compiled.hash()));
        assert_eq!(permit.level(), ask.declared.level, "{}", sample.file);
        check_body(&compiled, &ask.flow, &ask.declared, &sample.body).unwrap();
        assert!(String::from_utf8(sample.body).unwrap().contains(&sample.canary), "{}", sample.file);
        assert!(canaries.insert(sample.canary), "{}: a canary used twice", sample.file);
        types.insert((sample.flow, sample.message_type));
    }
    for flow in &compiled.covenant().flows {
        for own in &flow.types {
            assert!(types.contains(&(flow.id.clone(), own.clone())), "no sample of {} {own}", flow.id);
        }
    }
}

#[test]
fn the_model_has_the_flows_of_the_design() {
    let ids: Vec<String> = model().flows.iter().map(|flow| flow.id.clone()).collect();
    let wanted: Vec<String> = (1..=41).map(|number| format!("F{number:02}")).collect();
    assert_eq!(ids, wanted);
}

type Spoil = fn(&mut Ask, &Compiled);

#[test]
fn each_check_refuses_with_its_own_number() {
    let compiled = compiled();
    let at = |text| Timestamp::parse(text).unwrap();
    assert_eq!(compiled.covenant().valid_until, at("2028-01-01"));
    let rows: &[(&str, Refusal, Spoil)] = &[
        ("F01", Refusal::CovenantNotInForce, |a, _| {
            a.now = Timestamp::parse("2025-12-31T23:59:59.999Z").unwrap();
        }),
        ("F01", Refusal::CovenantNotInForce, |a, _| a.now = Timestamp::parse("2028-01-01").unwrap()),
        ("F01", Refusal::RecipientCount, |a, _| a.to.clear()),
        ("F01", Refusal::RecipientCount, |a, _| a.to.push(a.to[0])),
        ("F27", Refusal::RecipientCount, |a, _| a.to = vec![a.to[0]; 17]),
        ("F40", Refusal::RecipientCount, |a, _| a.to.push(oin(Role::Om))),
        ("F01", Refusal::NotAParty, |a, _| a.from = "00000099000000009000".parse().unwrap()),
        ("F01", Refusal::NotAParty, |a, _| a.to[0] = "00000099000000009000".parse().unwrap()),
        ("F01", Refusal::UnknownFlow, |a, _| a.flow = "F99".to_owned()),
        ("F01", Refusal::WrongType, |a, _| a.declared.message_type = "groepsbeeld".to_owned()),
        ("F01", Refusal::SenderRole, |a, _| a.from = oin(Role::Politie)),
        ("F01", Refusal::RecipientRole, |a, _| a.to[0] = oin(Role::Politie)),
        ("F27", Refusal::RecipientRole, |a, _| a.to.push(oin(Role::Gemeente))),
        ("F01", Refusal::WrongStep, |a, _| a.declared.step = Step::S2A),
        ("F01", Refusal::LevelNotAllowed, |a, c| declare(a, c, &["identiteit"])),
        ("F01", Refusal::LevelNotAllowed, |a, _| a.declared.level = Level::P1),
        ("F25", Refusal::LevelNotAllowed, |a, c| {
            declare(a, c, &["identiteit", "zaakpersoon"]);
            a.declared.level = Level::P2;
        }),
        ("F01", Refusal::CategoryNotAllowed, |a, _| a.declared.categories.push("zzz".to_owned())),
        ("F01", Refusal::CategoryNotAllowed, |a, c| declare(a, c, &["meldingen"])),
        ("F01", Refusal::PurposeMissing, |a, _| a.declared.purpose = "strafrecht".to_owned()),
        ("F01", Refusal::PurposeMissing, |a, _| a.declared.basis = "wgs".to_owned()),
        ("F08", Refusal::CaseRequired, |a, _| a.case = None),
        ("F01", Refusal::TtlTooLong, |a, _| a.ttl = Span(Span::days(30).0 + 1)),
        ("F01", Refusal::TtlTooLong, |a, _| a.ttl = Span(0)),
        ("F01", Refusal::TooLarge, |a, _| a.size = Size::Body(16 * 1024 + 1)),
        ("F01", Refusal::TooLarge, |a, _| a.size = Size::Sealed(64 * 1024)),
    ];
    for (index, (flow, refusal, spoil)) in rows.iter().enumerate() {
        let mut question = ask(&compiled, flow);
        assert!(evaluate(&compiled, &question.question()).is_ok(), "row {index}");
        spoil(&mut question, &compiled);
        assert_eq!(refused(&compiled, &question), *refusal, "row {index}, {flow}");
    }
}

#[test]
fn the_limits_themselves_pass() {
    let compiled = compiled();
    let mut question = ask(&compiled, "F01");
    question.ttl = Span::days(30);
    for size in [Size::Body(16 * 1024), Size::Sealed(18 * 1024 + 2000)] {
        question.size = size;
        assert!(evaluate(&compiled, &question.question()).is_ok());
    }
    question.now = compiled.covenant().valid_from;
    assert!(evaluate(&compiled, &question.question()).is_ok());
}

#[test]
fn a_forbidden_case_is_refused() {
    let mut covenant = model();
    covenant.flows[0].case = CaseRule::Forbidden;
    let compiled = Compiled::new(covenant).unwrap();
    let mut question = ask(&compiled, "F01");
    assert!(evaluate(&compiled, &question.question()).is_ok());
    question.case = Some(CaseId([7; 16]));
    assert_eq!(refused(&compiled, &question), Refusal::CaseRequired);
}

#[test]
fn youth_work_gets_the_name_list_only_under_a_decision_that_covers_it() {
    type Change = fn(&mut Covenant);
    let changes: [Change; 5] = [
        |c| c.decisions.clear(),
        |c| c.decisions[0].expires = covenant_kit::now(),
        |c| c.decisions[0].date = Timestamp(covenant_kit::now().0 + 1),
        |c| c.decisions[0].recipients.retain(|role| *role != Role::Jongerenwerk),
        |c| c.decisions[0].categories.retain(|code| code != "identiteit"),
    ];
    for change in changes {
        let mut covenant = model();
        change(&mut covenant);
        let compiled = Compiled::new(covenant).unwrap();
        let question = ask(&compiled, "F13");
        assert_eq!(refused(&compiled, &question), Refusal::DecisionMissing);
    }
}

/// What the police may send to PGA and local team hangs on the decision as well, by law and not by flow.
#[test]
fn police_data_about_a_person_needs_a_decision_outside_the_authorities() {
    for (flow, to) in [("F29", Role::Pga), ("F31", Role::LokaalTeam)] {
        let mut covenant = model();
        let mut question = ask(&Compiled::new(covenant.clone()).unwrap(), flow);
        question.from = oin(Role::Politie);
        question.declared.basis = "wpg_20".to_owned();
        question.to = vec![oin(to)];
        assert!(evaluate(&Compiled::new(covenant.clone()).unwrap(), &question.question()).is_ok());
        covenant.decisions.clear();
        let bare = Compiled::new(covenant).unwrap();
        assert_eq!(refused(&bare, &question), Refusal::DecisionMissing);
    }
}

#[test]
fn an_absent_role_closes_its_flows_and_no_others() {
    let mut covenant = model();
    covenant.parties.retain(|party| party.role != Role::Jongerenwerk);
    let compiled = Compiled::new(covenant).unwrap();
    assert_eq!(refused(&compiled, &ask(&compiled, "F01")), Refusal::NotAParty);
    assert!(evaluate(&compiled, &ask(&compiled, "F02").question()).is_ok());
}

/// The evaluator against the obvious reading of the document, over every role, role, step and type.
#[test]
fn every_combination_agrees_with_a_slow_reading_of_the_document() {
    let compiled = compiled();
    let covenant = compiled.covenant();
    let samples = samples();
    let (mut permitted, mut asked) = (0_u32, 0_u32);
    for sample in &samples {
        let base = sample.ask(&compiled);
        let flow = covenant.flows.iter().find(|flow| flow.id == sample.flow).unwrap();
        for from in Role::ALL {
            for to in Role::ALL {
                for step in Step::ALL {
                    for own in &covenant.types {
                        let mut question = base.clone();
                        question.from = oin(*from);
                        question.to = vec![oin(*to)];
                        question.declared.step = *step;
                        question.declared.message_type.clone_from(&own.code);
                        let wanted = flow.types.contains(&own.code)
                            && flow.routes.iter().any(|r| r.from.contains(from) && r.to.contains(to))
                            && flow.steps.contains(step)
                            && !(*from == Role::Politie
                                && [Role::Pga, Role::LokaalTeam, Role::Jongerenwerk, Role::Boa].contains(to)
                                && question.declared.level > Level::G
                                && !covenant.decisions[0].recipients.contains(to));
                        let got = evaluate(&compiled, &question.question());
                        assert_eq!(
                            got.is_ok(),
                            wanted,
                            "{} {from} {to} {step} {} {got:?}",
                            flow.id,
                            own.code
                        );
                        asked += 1;
                        permitted += u32::from(wanted);
                    }
                }
            }
        }
    }
    assert!(permitted > 400 && asked > 50 * permitted, "{permitted} of {asked}");
}

#[test]
fn closed_pairs_are_closed_on_every_flow_type_and_step() {
    let compiled = compiled();
    let closed =
        [(Role::Om, Role::Jongerenwerk), (Role::Jongerenwerk, Role::Om), (Role::Jongerenwerk, Role::Zvh)];
    for sample in samples() {
        let base = sample.ask(&compiled);
        for (from, to) in closed {
            for step in Step::ALL {
                let mut question = base.clone();
                question.from = oin(from);
                question.to = vec![oin(to)];
                question.declared.step = *step;
                let refusal = refused(&compiled, &question);
                assert!(matches!(refusal, Refusal::SenderRole | Refusal::RecipientRole), "{}", sample.file);
            }
        }
    }
}

#[test]
fn a_signing_key_is_found_by_party_and_name_only() {
    let compiled = compiled();
    let own = seinhuis_shared::signing::SigningKey::from_seed(&[2; 32]).public();
    let other = seinhuis_shared::signing::SigningKey::from_seed(&[3; 32]).public();
    assert_eq!(compiled.signing_key(oin(Role::Politie), own.thumbprint()), Some(&own));
    assert_eq!(compiled.signing_key(oin(Role::Politie), other.thumbprint()), None);
    assert_eq!(compiled.signing_key(oin(Role::Gemeente), own.thumbprint()), None);
}
