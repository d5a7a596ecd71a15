//! A case's chain of decisions: what counts, and each way in which one does not.

mod case_kit;
mod covenant_kit;

use case_kit::*;
use covenant_kit::now;
use seinhuis_shared::case::{Act, Applied, CaseDecision, CaseState, Stage, Verified};
use seinhuis_shared::cbor;
use seinhuis_shared::cose::{Purpose, Sign1};
use seinhuis_shared::covenant::{Compiled, Role, Step};
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shared::limits::{CASE_DECISION_MAX, CASE_DECISIONS_MAX, CASE_STEPS_KEPT, CLOCK_SKEW};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};

const STEP: fn(Step) -> Act = Act::Step;

fn verify(bytes: &[u8]) -> Result<Verified, Refusal> {
    CaseDecision::verify(bytes, |oin, kid| {
        let key = GEM.key().public();
        (oin == GEM.oin() && kid == key.thumbprint()).then_some(key)
    })
}

#[test]
fn a_decision_counts_with_its_partys_signature_only() {
    let decision = first(&compiled(), now());
    let good = decision.sign(&GEM.key());
    let read = verify(&good).unwrap();
    assert_eq!((read.decision(), CaseDecision::claimed(&good).unwrap()), (&decision, decision.clone()));
    assert_eq!(read.digest(), seinhuis_shared::signing::sha256(&good));
    assert_eq!(verify(&decision.sign(&POL.key())), Err(Refusal::UnknownKey));
    let other = CaseDecision { party: POL.oin(), ..decision.clone() };
    assert_eq!(verify(&other.sign(&GEM.key())), Err(Refusal::UnknownKey), "in another's name");
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(verify(&forged), Err(Refusal::BadSignature));
    let packet = Sign1::sign(&GEM.key(), Purpose::Packet, &cbor::encode(&decision));
    assert_eq!(verify(&packet), Err(Refusal::BadSignature), "signed for something else");
    // A key of the right name that is not the one that signed.
    let swapped = CaseDecision::verify(&good, |_, _| Some(POL.key().public()));
    assert_eq!(swapped, Err(Refusal::UnknownKey));
}

#[test]
fn a_decision_with_a_wrong_form_is_refused() {
    let decision = first(&compiled(), now());
    let edited = |edit: fn(&mut CaseDecision)| {
        let mut changed = decision.clone();
        edit(&mut changed);
        verify(&changed.sign(&GEM.key())).map(|_| ())
    };
    assert_eq!(edited(|_| ()), Ok(()));
    assert_eq!(edited(|d| d.format = 2), Err(Refusal::UnknownVersion));
    assert_eq!(edited(|d| d.format = 0), Err(Refusal::UnknownVersion));
    assert_eq!(edited(|d| d.seq = 1), Err(Refusal::Malformed), "later without a previous");
    assert_eq!(edited(|d| d.previous = Some(Digest([0; 32]))), Err(Refusal::Malformed), "first with one");
    for code in ["", "Met Spatie", "é"] {
        let changed = CaseDecision { act: state(code, true), ..decision.clone() };
        assert_eq!(verify(&changed.sign(&GEM.key())), Err(Refusal::Malformed), "{code:?}");
    }
    let large = [decision.sign(&GEM.key()), vec![0; CASE_DECISION_MAX]].concat();
    assert_eq!(verify(&large), Err(Refusal::TooLarge));
    assert_eq!(CaseDecision::claimed(&large), Err(Refusal::TooLarge));
}

#[test]
fn the_largest_decision_is_within_its_bound() {
    let largest = CaseDecision {
        seq: u32::MAX,
        previous: Some(Digest([255; 32])),
        act: state(&"z".repeat(64), false),
        issued: Timestamp(u64::MAX),
        ..first(&compiled(), now())
    };
    assert!(verify(&largest.sign(&GEM.key())).is_ok());
}

#[test]
fn an_act_has_one_encoding() {
    let hex = data_encoding::HEXLOWER;
    for (act, bytes) in [
        (STEP(Step::S2A), "82647374657062".to_owned() + "3241"),
        (Act::Close, "8165636c6f7365".to_owned()),
        (state("ab", true), "8369636f6e646974696f6e626162f5".to_owned()),
        (state("ab", false), "8369636f6e646974696f6e626162f4".to_owned()),
    ] {
        assert_eq!(hex.encode(&cbor::encode(&act)), bytes);
        assert_eq!(cbor::strict(&hex.decode(bytes.as_bytes()).unwrap(), 100), Ok(act));
    }
    for (name, bytes) in [
        ("empty", "80"),
        ("text", "6473746570"),
        ("word cut", "816473"),
        ("unknown act", "816473746f70"),
        ("upper-case word", "8165436c6f7365"),
        ("unknown step", "8264737465706139"),
        ("step missing", "816473746570"),
        ("step twice", "83647374657061316131"),
        ("close with more", "8265636c6f73656131"),
        ("condition without holds", "8269636f6e646974696f6e626162"),
        ("holds a number", "8369636f6e646974696f6e62616201"),
        ("condition with more", "8469636f6e646974696f6e626162f5f5"),
        ("word as bytes", "8145636c6f7365"),
        ("indefinite", "9f65636c6f7365ff"),
        ("longer text length", "817805636c6f7365"),
        ("trailing byte", "8165636c6f736500"),
    ] {
        let bytes = hex.decode(bytes.as_bytes()).unwrap();
        assert!(cbor::strict::<Act>(&bytes, 100).is_err(), "{name}");
    }
}

fn open(edit: impl FnOnce(&mut CaseDecision)) -> Result<(), Refusal> {
    let compiled = compiled();
    let mut decision = first(&compiled, now());
    edit(&mut decision);
    CaseState::open(&verified(&decision), &compiled, now()).map(|_| ())
}

#[test]
fn a_case_begins_in_the_first_step_by_its_mover() {
    let compiled = compiled();
    let case = begun(&compiled);
    assert_eq!((case.case(), case.covenant()), (CASE, compiled.covenant().id.as_str()));
    assert_eq!((case.seq(), case.moved(), case.now().stage()), (0, now(), Stage::In(Step::S1)));
    assert_eq!(open(|d| d.act = STEP(Step::S2B)), Err(Refusal::BadTransition));
    assert_eq!(open(|d| d.act = STEP(Step::S2A)), Err(Refusal::BadTransition), "no step of the covenant");
    assert_eq!(open(|d| d.act = Act::Close), Err(Refusal::BadTransition));
    assert_eq!(open(|d| d.act = state(ONE, true)), Err(Refusal::BadTransition));
    assert_eq!(open(|d| d.party = POL.oin()), Err(Refusal::NotTheMover));
    let later = |d: &mut CaseDecision| (d.seq, d.previous) = (1, Some(Digest([1; 32])));
    assert_eq!(open(later), Err(Refusal::UnknownCase));
}

#[test]
fn a_case_begins_under_a_version_in_force_by_a_party_at_the_time_it_says() {
    assert_eq!(open(|d| d.covenant = Digest([1; 32])), Err(Refusal::UnknownCovenant));
    let skew = |d: &mut CaseDecision, span: Span| d.issued = now().minus(span);
    assert_eq!(open(|d| skew(d, CLOCK_SKEW)), Ok(()));
    assert_eq!(open(|d| skew(d, Span(CLOCK_SKEW.0 + 1))), Err(Refusal::Expired));
    assert_eq!(open(|d| d.issued = now().plus(CLOCK_SKEW)), Ok(()));
    assert_eq!(open(|d| d.issued = now().plus(Span(CLOCK_SKEW.0 + 1))), Err(Refusal::FromTheFuture));

    let compiled = compiled();
    for (at, ok) in [
        (compiled.covenant().valid_from, true),
        (compiled.covenant().valid_from.minus(Span(1)), false),
        (compiled.covenant().valid_until, false),
    ] {
        let got = CaseState::open(&verified(&first(&compiled, at)), &compiled, at).map(|_| ());
        assert_eq!(got, if ok { Ok(()) } else { Err(Refusal::CovenantNotInForce) });
    }
    let without = successor(&compiled, |c| c.parties.retain(|party| party.oin != POL2.oin()));
    let stranger = CaseDecision { party: POL2.oin(), ..first(&without, now()) };
    let got = CaseState::open(&verified(&stranger), &without, now());
    assert_eq!(got.map(|_| ()), Err(Refusal::NotAParty));
}

#[test]
fn a_step_goes_one_on_or_back_to_any() {
    let compiled = compiled();
    let steps: Vec<Step> = compiled.covenant().steps.iter().map(|rule| rule.step).collect();
    for (from, current) in steps.iter().enumerate() {
        for (to, target) in steps.iter().enumerate() {
            let mut case = in_step(&compiled, *current);
            let before = case.clone();
            let got = act(&mut case, &compiled, GEM, STEP(*target), minute(30));
            if to < from || to == from + 1 {
                assert_eq!(got, Ok(Applied::Now), "{current} to {target}");
                assert_eq!(case.now().stage(), Stage::In(*target));
                assert_eq!((case.seq(), case.moved()), (before.seq() + 1, minute(30)));
            } else {
                assert_eq!(got, Err(Refusal::BadTransition), "{current} to {target}");
                assert_eq!(case, before);
            }
        }
    }
    let mut case = begun(&compiled);
    let absent = act(&mut case, &compiled, GEM, STEP(Step::S2A), minute(1));
    assert_eq!(absent, Err(Refusal::BadTransition), "the covenant does without it");
}

#[test]
fn a_case_in_a_step_the_new_version_does_without_goes_on_and_back() {
    let old = compiled();
    let new = successor(&old, |covenant| {
        covenant.steps.retain(|rule| rule.step != Step::S4);
        covenant.flows.iter_mut().for_each(|flow| flow.steps.retain(|step| *step != Step::S4));
        covenant.flows.retain(|flow| !flow.steps.is_empty());
    });
    for (to, outcome) in [
        (Step::S5, Ok(Applied::Now)),
        (Step::S3, Ok(Applied::Now)),
        (Step::S6, Err(Refusal::BadTransition)),
        (Step::S4, Err(Refusal::BadTransition)),
    ] {
        let mut case = in_step(&old, Step::S4);
        assert_eq!(act(&mut case, &new, GEM, STEP(to), minute(30)), outcome, "{to}");
    }
}

#[test]
fn only_the_movers_of_the_target_step_move_a_case() {
    let compiled = compiled();
    for (from, to, by, outcome) in [
        (Step::S2B, Step::S3, GEM, Ok(Applied::Now)),
        (Step::S2B, Step::S3, POL, Err(Refusal::NotTheMover)),
        (Step::S2B, Step::S3, POL2, Err(Refusal::NotTheMover)),
        (Step::S2B, Step::S3, OM, Err(Refusal::NotTheMover)),
        (Step::S3, Step::S4, POL, Err(Refusal::NotTheMover)),
        (Step::S4, Step::S3, GEM, Ok(Applied::Now)),
        (Step::S3, Step::S1, JW, Err(Refusal::NotTheMover)),
        (Step::S6, Step::S7, OM, Err(Refusal::NotTheMover)),
        (Step::S7, Step::S6, OM, Err(Refusal::NotTheMover)),
    ] {
        let mut case = in_step(&compiled, from);
        let before = case.clone();
        let got = act(&mut case, &compiled, by, STEP(to), minute(30));
        assert_eq!(got, outcome, "{from} to {to} by {by:?}");
        assert_eq!(case == before, outcome.is_err());
    }
}

#[test]
fn the_movers_of_the_last_step_close_a_case_in_any_step_and_for_good() {
    let compiled = compiled();
    for step in [Step::S1, Step::S3, Step::S7] {
        for (by, outcome) in
            [(GEM, Ok(Applied::Now)), (OM, Err(Refusal::NotTheMover)), (POL, Err(Refusal::NotTheMover))]
        {
            let mut case = in_step(&compiled, step);
            assert_eq!(act(&mut case, &compiled, by, Act::Close, minute(30)), outcome, "{step} by {by:?}");
            assert_eq!(case.now().stage() == Stage::Closed, outcome.is_ok());
        }
    }
    let mut case = in_step(&compiled, Step::S3);
    act(&mut case, &compiled, GEM, Act::Close, minute(30)).unwrap();
    let before = case.clone();
    for next in [STEP(Step::S1), STEP(Step::S4), Act::Close, state(ONE, true)] {
        assert_eq!(
            act(&mut case, &compiled, GEM, next.clone(), minute(31)),
            Err(Refusal::CaseClosed),
            "{next:?}"
        );
    }
    assert_eq!(case, before);
}

#[test]
fn of_two_decisions_at_once_the_first_to_be_logged_counts() {
    let compiled = compiled();
    let start = in_step(&compiled, Step::S2B);
    let forth = next(&start, &compiled, GEM, STEP(Step::S3), minute(9));
    let back = next(&start, &compiled, GEM, STEP(Step::S1), minute(9));
    for (one, other, stage) in [(&forth, &back, Step::S3), (&back, &forth, Step::S1)] {
        let mut case = start.clone();
        assert_eq!(case.apply(&verified(one), &compiled, minute(9)), Ok(Applied::Now));
        assert_eq!(case.apply(&verified(other), &compiled, minute(9)), Err(Refusal::CaseMoved));
        assert_eq!(case.now().stage(), Stage::In(stage));
    }
}

#[test]
fn a_decision_that_does_not_follow_on_the_head_is_refused() {
    let compiled = compiled();
    let mut case = in_step(&compiled, Step::S3);
    let before = case.clone();
    let good = next(&case, &compiled, GEM, STEP(Step::S4), minute(9));
    for (name, edit) in [
        ("previous", (|d| d.previous = Some(Digest([0; 32]))) as fn(&mut CaseDecision)),
        ("seq too high", |d| d.seq += 1),
        ("seq too low", |d| d.seq -= 1),
        ("a second beginning", |d| (d.seq, d.previous, d.act) = (0, None, STEP(Step::S1))),
    ] {
        let mut changed = good.clone();
        edit(&mut changed);
        assert_eq!(case.apply(&verified(&changed), &compiled, minute(9)), Err(Refusal::CaseMoved), "{name}");
        assert_eq!(case, before, "{name}");
    }
    assert_eq!(case.apply(&verified(&good), &compiled, minute(9)), Ok(Applied::Now));
}

#[test]
fn the_same_bytes_again_change_nothing_whenever_they_come() {
    let compiled = compiled();
    let (opening, mut case) = (verified(&first(&compiled, now())), begun(&compiled));
    let step = verified(&next(&case, &compiled, GEM, STEP(Step::S2B), minute(1)));
    case.apply(&step, &compiled, minute(1)).unwrap();
    act(&mut case, &compiled, GEM, Act::Close, minute(2)).unwrap();
    let before = case.clone();
    let other = successor(&compiled, |c| c.title.push('!'));
    for (again, version, at) in [
        (&opening, &compiled, minute(3)),
        (&step, &compiled, minute(10_000)),
        (&step, &other, Timestamp(u64::MAX)),
    ] {
        assert_eq!(case.apply(again, version, at), Ok(Applied::Before));
        assert_eq!(case, before);
    }
}

#[test]
fn a_decision_is_about_one_case_under_one_covenant_in_any_version() {
    let compiled = compiled();
    let mut case = begun(&compiled);
    let good = next(&case, &compiled, GEM, STEP(Step::S2B), minute(1));
    let astray = CaseDecision { case: CaseId([1; 16]), ..good.clone() };
    assert_eq!(case.apply(&verified(&astray), &compiled, minute(1)), Err(Refusal::UnknownCase));
    let foreign = successor(&compiled, |covenant| covenant.id = "elders".into());
    let elsewhere = CaseDecision { covenant: foreign.hash(), ..good.clone() };
    assert_eq!(case.apply(&verified(&elsewhere), &foreign, minute(1)), Err(Refusal::UnknownCase));
    // Judged under another version than it names, even of the same covenant.
    let new = successor(&compiled, |_| ());
    assert_eq!(case.apply(&verified(&good), &new, minute(1)), Err(Refusal::UnknownCovenant));
    let renewed = CaseDecision { covenant: new.hash(), ..good };
    assert_eq!(case.apply(&verified(&renewed), &new, minute(1)), Ok(Applied::Now));
}

#[test]
fn later_decisions_are_held_to_party_validity_and_clock_as_well() {
    let compiled = compiled();
    let mut case = begun(&compiled);
    let at = minute(1);
    let mut apply = |version: &Compiled, at: Timestamp, edit: fn(&mut CaseDecision)| {
        let mut decision = next(&case, version, GEM, STEP(Step::S2B), at);
        edit(&mut decision);
        case.apply(&verified(&decision), version, at)
    };
    assert_eq!(
        apply(&compiled, at, |d| d.issued = d.issued.plus(Span::minutes(6))),
        Err(Refusal::FromTheFuture)
    );
    assert_eq!(apply(&compiled, at, |d| d.issued = d.issued.minus(Span::minutes(6))), Err(Refusal::Expired));
    let end = compiled.covenant().valid_until;
    assert_eq!(apply(&compiled, end, |_| ()), Err(Refusal::CovenantNotInForce));
    let without = successor(&compiled, |c| c.parties.retain(|party| party.oin != POL2.oin()));
    assert_eq!(apply(&without, at, |d| d.party = POL2.oin()), Err(Refusal::NotAParty));
    assert_eq!(apply(&compiled, at, |_| ()), Ok(Applied::Now));
}

#[test]
fn a_condition_holds_when_enough_different_parties_state_it() {
    let compiled = compiled();
    let mut case = begun(&compiled);
    let mut say = |org, code, holds| {
        let got = act(&mut case, &compiled, org, state(code, holds), minute(1));
        (got, case.now().holds(code, &compiled))
    };
    assert_eq!(say(OM, ONE, true), (Err(Refusal::NotTheMover), false));
    assert_eq!(say(JW, TWO, true), (Err(Refusal::NotTheMover), false));
    assert_eq!(say(GEM, "onbekend", true), (Err(Refusal::BadTransition), false));
    assert_eq!(say(POL, ONE, false), (Err(Refusal::BadTransition), false), "withdrawn, never stated");
    assert_eq!(say(POL, ONE, true), (Ok(Applied::Now), true));
    assert_eq!(say(POL, TWO, true), (Ok(Applied::Now), false));
    assert_eq!(say(POL, TWO, true), (Err(Refusal::BadTransition), false), "counts once per party");
    assert_eq!(say(POL2, TWO, true), (Ok(Applied::Now), true), "another party of the same role");
    assert_eq!(say(GEM, TWO, false), (Err(Refusal::BadTransition), true), "another's is not one's own");
    assert_eq!(say(POL, TWO, false), (Ok(Applied::Now), false));
    assert_eq!(say(OM, TWO, true), (Ok(Applied::Now), true));
    assert_eq!(case.now().stating(TWO).collect::<Vec<_>>(), [OM.oin(), POL2.oin()]);
    assert!(case.now().holds(ONE, &compiled), "the other condition is another");
    assert_eq!(case.now().stage(), Stage::In(Step::S1), "and the step is where it was");
}

#[test]
fn a_statement_counts_as_long_as_its_party_may_make_it() {
    let compiled = compiled();
    let mut case = begun(&compiled);
    for org in [POL2, OM] {
        act(&mut case, &compiled, org, state(TWO, true), minute(1)).unwrap();
    }
    assert!(case.now().holds(TWO, &compiled));
    let without = successor(&compiled, |c| c.parties.retain(|party| party.oin != POL2.oin()));
    assert!(!case.now().holds(TWO, &without), "one of the two takes part no longer");
    let others = successor(&compiled, |c| c.conditions[1].set_by = vec![Role::Politie]);
    assert!(!case.now().holds(TWO, &others), "the role of one of the two counts no longer");
    let fewer = successor(&compiled, |c| c.conditions[1].parties = 1);
    assert!(fewer.condition(TWO).is_some() && case.now().holds(TWO, &fewer));
    let gone = successor(&compiled, |c| _ = c.conditions.pop());
    assert!(!case.now().holds(TWO, &gone), "the version does not know it");
}

#[test]
fn a_case_stands_as_it_stood() {
    let compiled = compiled();
    let mut case = begun(&compiled);
    act(&mut case, &compiled, POL, state(ONE, true), minute(1)).unwrap();
    act(&mut case, &compiled, GEM, STEP(Step::S2B), minute(2)).unwrap();
    act(&mut case, &compiled, POL, state(ONE, false), minute(3)).unwrap();
    act(&mut case, &compiled, GEM, Act::Close, minute(4)).unwrap();
    let at = |instant| case.at(instant).map(|standing| (standing.stage(), standing.holds(ONE, &compiled)));
    let before = |minutes| minute(minutes).minus(Span(1));
    assert_eq!(at(before(0)), None);
    assert_eq!(at(minute(0)), Some((Stage::In(Step::S1), false)));
    assert_eq!(at(before(1)), Some((Stage::In(Step::S1), false)));
    assert_eq!(at(minute(1)), Some((Stage::In(Step::S1), true)));
    assert_eq!(at(before(2)), Some((Stage::In(Step::S1), true)));
    assert_eq!(at(minute(2)), Some((Stage::In(Step::S2B), true)));
    assert_eq!(at(minute(3)), Some((Stage::In(Step::S2B), false)));
    assert_eq!(at(before(4)), Some((Stage::In(Step::S2B), false)));
    assert_eq!(at(minute(4)), Some((Stage::Closed, false)));
    assert_eq!(at(Timestamp(u64::MAX)), Some((Stage::Closed, false)));
}

#[test]
fn the_time_of_a_chain_does_not_go_back() {
    let compiled = compiled();
    let mut case = begun(&compiled);
    act(&mut case, &compiled, GEM, STEP(Step::S2B), minute(4)).unwrap();
    act(&mut case, &compiled, GEM, STEP(Step::S3), minute(2)).unwrap();
    assert_eq!(case.moved(), minute(4));
    assert_eq!(case.at(minute(3)).unwrap().stage(), Stage::In(Step::S1));
    assert_eq!(case.at(minute(4)).unwrap().stage(), Stage::In(Step::S3));
}

#[test]
fn a_full_chain_takes_steps_last_and_its_close_last_of_all() {
    let compiled = compiled();
    let mut case = in_step(&compiled, Step::S2B);
    let at = minute(9);
    let mut holds = false;
    while case.events().count() < CASE_DECISIONS_MAX - CASE_STEPS_KEPT {
        holds = !holds;
        assert_eq!(act(&mut case, &compiled, POL, state(ONE, holds), at), Ok(Applied::Now));
    }
    assert_eq!(act(&mut case, &compiled, POL, state(ONE, !holds), at), Err(Refusal::BadTransition));
    while case.events().count() < CASE_DECISIONS_MAX - 1 {
        let to = if case.now().stage() == Stage::In(Step::S1) { Step::S2B } else { Step::S1 };
        assert_eq!(act(&mut case, &compiled, GEM, STEP(to), at), Ok(Applied::Now));
    }
    assert_eq!(case.now().stage(), Stage::In(Step::S1));
    assert_eq!(act(&mut case, &compiled, GEM, STEP(Step::S2B), at), Err(Refusal::BadTransition));
    assert_eq!(act(&mut case, &compiled, GEM, Act::Close, at), Ok(Applied::Now));
    assert_eq!(case.events().count(), CASE_DECISIONS_MAX);
    assert_eq!(usize::try_from(case.seq()).unwrap(), CASE_DECISIONS_MAX - 1);
}

#[test]
fn bytes_go_straight_into_a_case() {
    use seinhuis_shared::case::apply;
    let compiled = compiled();
    let key = |oin, kid| compiled.signing_key(oin, kid).copied();
    let mut case = None;
    let opening = first(&compiled, now()).sign(&GEM.key());
    assert_eq!(apply(&mut case, &opening, |_, _| None, &compiled, now()), Err(Refusal::UnknownKey));
    assert_eq!(case, None);
    assert_eq!(apply(&mut case, &opening, key, &compiled, now()), Ok(Applied::Now));
    assert_eq!(apply(&mut case, &opening, key, &compiled, now()), Ok(Applied::Before));
    let opened = case.clone().unwrap();
    let step = next(&opened, &compiled, GEM, STEP(Step::S2B), minute(1));
    assert_eq!(apply(&mut case, &step.sign(&POL.key()), key, &compiled, minute(1)), Err(Refusal::UnknownKey));
    assert_eq!(case.as_ref(), Some(&opened));
    assert_eq!(apply(&mut case, &step.sign(&GEM.key()), key, &compiled, minute(1)), Ok(Applied::Now));
    assert_eq!(case.unwrap().now().stage(), Stage::In(Step::S2B));
}
