//! What the state of a case lets pass, and the samples of the repository held against it.

mod case_kit;
mod covenant_kit;

use case_kit::*;
use covenant_kit::{Ask, ask, now, oin, samples};
use seinhuis_shared::case::{Act, CaseState, admits};
use seinhuis_shared::covenant::{Compiled, Role, Step, evaluate, law};
use seinhuis_shared::ids::CaseId;
use seinhuis_shared::refusal::Refusal;

/// The first sample of a flow, about the kit's case, judged half an hour after the kit's noon.
fn asked(compiled: &Compiled, flow: &str) -> Ask {
    Ask { case: Some(CASE), now: minute(30), ..ask(compiled, flow) }
}

fn judge(case: Option<&CaseState>, compiled: &Compiled, ask: &Ask) -> Result<(), Refusal> {
    admits(case, compiled, &ask.question())
}

#[test]
fn without_a_case_nothing_has_started_but_services() {
    let compiled = compiled();
    let without = |flow, step| {
        let mut ask = ask(&compiled, flow);
        (ask.case, ask.declared.step) = (None, step);
        judge(None, &compiled, &ask)
    };
    assert_eq!(without("F01", Step::S1), Ok(()));
    assert_eq!(without("F31", Step::S1), Ok(()));
    for step in Step::ALL.iter().copied().filter(|step| *step != Step::S1) {
        assert_eq!(without("F31", step), Err(Refusal::WrongStep), "{step}");
        assert_eq!(without("F32", step), Err(Refusal::WrongStep), "{step}");
    }
    for flow in ["F36", "F37", "F38", "F39", "F40", "F41"] {
        assert_eq!(without(flow, Step::S5), Ok(()), "{flow}");
    }
    assert_eq!(without("F12", Step::S1), Err(Refusal::ConditionNotMet), "no case of which it could hold");
}

#[test]
fn a_case_that_is_named_is_known_and_under_this_covenant() {
    let compiled = compiled();
    let case = in_step(&compiled, Step::S3);
    let good = asked(&compiled, "F17");
    assert_eq!(judge(Some(&case), &compiled, &good), Ok(()));
    assert_eq!(judge(None, &compiled, &good), Err(Refusal::UnknownCase));
    let other = Ask { case: Some(CaseId([1; 16])), ..good.clone() };
    assert_eq!(judge(Some(&case), &compiled, &other), Err(Refusal::UnknownCase));
    let early = Ask { now: now().minus(seinhuis_shared::time::Span(1)), ..good.clone() };
    assert_eq!(judge(Some(&case), &compiled, &early), Err(Refusal::UnknownCase), "before it began");
    let foreign = successor(&compiled, |covenant| covenant.id = "elders".into());
    assert_eq!(judge(Some(&case), &foreign, &good), Err(Refusal::UnknownCase));
    let newer = successor(&compiled, |covenant| covenant.title.push('!'));
    assert_eq!(judge(Some(&case), &newer, &good), Ok(()), "a later version of the same");
    // A service message is about a case as much as any other.
    assert_eq!(judge(None, &compiled, &asked(&compiled, "F41")), Err(Refusal::UnknownCase));
}

#[test]
fn the_declared_step_is_the_cases_at_that_instant() {
    let compiled = compiled();
    for step in [Step::S1, Step::S2B, Step::S3, Step::S7] {
        let case = in_step(&compiled, step);
        for declared in Step::ALL {
            for flow in ["F31", "F41"] {
                let mut ask = asked(&compiled, flow);
                ask.declared.step = *declared;
                let outcome = if *declared == step { Ok(()) } else { Err(Refusal::WrongStep) };
                assert_eq!(
                    judge(Some(&case), &compiled, &ask),
                    outcome,
                    "{flow} in {declared}, case in {step}"
                );
            }
        }
    }
    // Accepted while the case was in step 3, judged when it has long moved on.
    let case = in_step(&compiled, Step::S6);
    let mut ask = asked(&compiled, "F17");
    let instants: Vec<_> = case.events().map(|event| event.at).collect();
    let outcomes: Vec<_> = instants
        .iter()
        .map(|at| {
            ask.now = *at;
            judge(Some(&case), &compiled, &ask).is_ok()
        })
        .collect();
    assert_eq!(outcomes, [false, false, true, false, false, false]);
}

#[test]
fn a_closed_case_takes_services_only() {
    let compiled = compiled();
    let mut case = in_step(&compiled, Step::S3);
    act(&mut case, &compiled, GEM, Act::Close, minute(10)).unwrap();
    for flow in &compiled.covenant().flows {
        let mut ask = asked(&compiled, &flow.id);
        for step in [Step::S3, Step::S7] {
            ask.declared.step = step;
            let service = law::is_service(&ask.declared.message_type);
            let outcome = if service { Ok(()) } else { Err(Refusal::CaseClosed) };
            assert_eq!(judge(Some(&case), &compiled, &ask), outcome, "{} in {step}", flow.id);
        }
    }
    let open = Ask { now: minute(9), ..asked(&compiled, "F17") };
    assert_eq!(judge(Some(&case), &compiled, &open), Ok(()), "accepted before it was closed");
}

#[test]
fn a_condition_counts_for_the_roles_it_names() {
    let compiled = compiled();
    let mut case = in_step(&compiled, Step::S3);
    let to = |flow, recipient| Ask { to: vec![recipient], ..asked(&compiled, flow) };
    let invitation = to("F14", OM.oin());
    let from_om = to("F15", GEM.oin());
    let (plan_om, plan_police) = (to("F19", OM.oin()), to("F19", POL.oin()));
    let mut invitation = invitation;
    invitation.declared.step = Step::S3;
    for (name, ask) in [("recipient", &invitation), ("sender", &from_om), ("recipient", &plan_om)] {
        assert_eq!(judge(Some(&case), &compiled, ask), Err(Refusal::ConditionNotMet), "{name}");
    }
    assert_eq!(judge(Some(&case), &compiled, &plan_police), Ok(()), "it is about the prosecution only");
    let both = Ask { to: vec![POL.oin(), OM.oin()], ..plan_om.clone() };
    assert_eq!(judge(Some(&case), &compiled, &both), Err(Refusal::ConditionNotMet), "one of several");
    // Another condition does not help.
    for org in [POL, POL2] {
        act(&mut case, &compiled, org, state(TWO, true), minute(20)).unwrap();
    }
    assert_eq!(judge(Some(&case), &compiled, &plan_om), Err(Refusal::ConditionNotMet));
    act(&mut case, &compiled, POL, state(ONE, true), minute(25)).unwrap();
    for ask in [&invitation, &from_om, &plan_om, &plan_police, &both] {
        assert_eq!(judge(Some(&case), &compiled, ask), Ok(()), "{}", ask.flow);
    }
    let earlier = Ask { now: minute(24), ..plan_om.clone() };
    assert_eq!(judge(Some(&case), &compiled, &earlier), Err(Refusal::ConditionNotMet), "stated later");
    act(&mut case, &compiled, POL, state(ONE, false), minute(28)).unwrap();
    assert_eq!(judge(Some(&case), &compiled, &plan_om), Err(Refusal::ConditionNotMet), "withdrawn");
}

#[test]
fn every_condition_of_a_flow_has_to_hold() {
    let compiled = compiled();
    let strict = successor(&compiled, |covenant| {
        let flow = covenant.flows.iter_mut().find(|flow| flow.id == "F15").unwrap();
        let mut second = flow.conditions[0].clone();
        second.condition = TWO.into();
        flow.conditions.push(second);
    });
    let mut case = in_step(&compiled, Step::S3);
    act(&mut case, &compiled, POL, state(ONE, true), minute(20)).unwrap();
    let ask = asked(&compiled, "F15");
    assert_eq!(judge(Some(&case), &compiled, &ask), Ok(()));
    assert_eq!(judge(Some(&case), &strict, &ask), Err(Refusal::ConditionNotMet));
    for org in [POL, OM] {
        act(&mut case, &compiled, org, state(TWO, true), minute(21)).unwrap();
    }
    assert_eq!(judge(Some(&case), &strict, &ask), Ok(()));
}

#[test]
fn a_flow_and_parties_the_covenant_does_not_know_are_refused() {
    let compiled = compiled();
    let case = in_step(&compiled, Step::S3);
    let good = asked(&compiled, "F17");
    let stranger = "00000099000000099000".parse().unwrap();
    for (ask, refusal) in [
        (Ask { flow: "F99".into(), ..good.clone() }, Refusal::UnknownFlow),
        (Ask { from: stranger, ..good.clone() }, Refusal::NotAParty),
        (Ask { to: vec![GEM.oin(), stranger], ..good }, Refusal::NotAParty),
    ] {
        assert_eq!(judge(Some(&case), &compiled, &ask), Err(refusal));
    }
}

/// With the case where each sample says it is, and the prosecution's condition stated, all of them pass.
#[test]
fn every_sample_passes_when_its_case_stands_as_it_says() {
    let compiled = covenant_kit::compiled();
    let steps: Vec<Step> = compiled.covenant().steps.iter().map(|rule| rule.step).collect();
    assert_eq!(steps, Step::ALL);
    for sample in samples() {
        let mut case = begun(&compiled);
        act(&mut case, &compiled, POL, state(ONE, true), now()).unwrap();
        for step in steps.iter().copied().filter(|step| *step > Step::S1 && *step <= sample.step) {
            act(&mut case, &compiled, GEM, Act::Step(step), now()).unwrap();
        }
        let ask = Ask { case: Some(CASE), ..sample.ask(&compiled) };
        assert_eq!(judge(Some(&case), &compiled, &ask), Ok(()), "{}", sample.file);
        let bare = sample.ask(&compiled);
        assert!(evaluate(&compiled, &bare.question()).is_ok(), "{}", sample.file);
        let alone = judge(None, &compiled, &bare);
        match (bare.case, alone) {
            (Some(_), alone) => assert_eq!(alone, Err(Refusal::UnknownCase), "{}", sample.file),
            (None, Err(refusal)) => println!("{} without a case: {refusal}", sample.file),
            (None, Ok(())) => {}
        }
    }
    assert_eq!(oin(Role::Gemeente), GEM.oin());
}
