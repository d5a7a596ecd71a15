//! Cases: moved by the coordinator's signed decisions alone, and what a packet that names one needs.

use std::sync::Arc;

use seinhuis_shared::case::{Act, CaseDecision, FORMAT, Stage};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::covenant::{Compiled, Condition, Covenant, Requirement, Role, Step};
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shared::limits::{CASES_OPEN_MAX, CASES_WATCHED_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{CaseHead, Decided};

use super::broker::{Broker, Did};
use super::fixture::{Draft, Gem, Jw, NOON, Om, Org, Pol, Stranger, covenant};
use crate::{Ask, Command, ConnId, Input, RequestId, Send, Table};

const CASE: CaseId = CaseId([9; 16]);

/// A decision that follows on what the broker knows of the case.
fn next(broker: &Broker, org: Org, case: CaseId, act: Act) -> CaseDecision {
    let state = broker.core.state.cases.state(&case);
    CaseDecision {
        format: FORMAT,
        covenant: covenant().hash(),
        case,
        seq: state.map_or(0, |state| state.seq() + 1),
        previous: state.map(seinhuis_shared::case::CaseState::head),
        party: org.oin(),
        act,
        issued: broker.now,
    }
}

fn ask(conn: ConnId, ask: Ask) -> Input {
    Input::Request { conn, request: RequestId(4), ask }
}

/// What came of a request: 0 when it is done.
fn answered(did: &Did) -> Vec<u16> {
    let answer = |send: &Send| match send {
        Send::Done { .. } => Some(0),
        Send::Refuse { refuse, .. } => Some(refuse.reason),
        _ => None,
    };
    did.sends.iter().filter_map(answer).collect()
}

fn decide(broker: &mut Broker, conn: ConnId, org: Org, decision: &CaseDecision) -> (u16, Did) {
    let did = broker.turn([ask(conn, Ask::Decide(decision.sign(&org.key())))]);
    (answered(&did)[0], did)
}

/// Opens a case and moves it to `step`.
pub(super) fn walk(broker: &mut Broker, case: CaseId, step: Step) {
    let conn = broker.connect(Gem);
    for on in [Step::S1, Step::S2A, Step::S3].into_iter().take_while(|on| *on <= step) {
        let decision = next(broker, Gem, case, Act::Step(on));
        assert_eq!(decide(broker, conn, Gem, &decision).0, 0);
    }
    broker.turn([Input::Disconnected { conn }]);
}

fn outcome(broker: &mut Broker, org: Org, draft: &Draft) -> u16 {
    let conn = broker.connect(org);
    let did = broker.submit(conn, org, &draft.seal());
    broker.turn([Input::Disconnected { conn }]);
    broker.verdicts(&did)[0].outcome
}

/// A question about the case in a step.
fn question(number: u64, step: Step, case: Option<CaseId>) -> Draft {
    Draft::new(Gem, &[Pol], "F04", number, NOON).with(|draft| {
        draft.context.case = case;
        draft.context.declared.step = step;
    })
}

fn fetched(broker: &mut Broker, conn: ConnId, case: CaseId) -> Result<Vec<Decided>, u16> {
    let did = broker.turn([ask(conn, Ask::FetchCase(case))]);
    assert!(did.entries.is_empty());
    match did.sends.into_iter().next() {
        Some(Send::Case { decisions, .. }) => Ok(decisions),
        Some(Send::Refuse { refuse, .. }) => Err(refuse.reason),
        other => panic!("{other:?}"),
    }
}

fn told(did: &Did) -> Vec<(ConnId, CaseHead)> {
    let told = |send: &Send| match send {
        Send::Cases { conn, cases } => Some(cases.iter().map(|one| (*conn, *one)).collect::<Vec<_>>()),
        _ => None,
    };
    did.sends.iter().filter_map(told).flatten().collect()
}

#[test]
fn a_packet_passes_in_the_step_of_its_case_alone() {
    let mut broker = Broker::started(NOON);
    let answer = |number| Draft::new(Om, &[Gem], "F16", number, NOON);
    assert_eq!(outcome(&mut broker, Om, &answer(1)), Refusal::UnknownCase.number());
    walk(&mut broker, CASE, Step::S2A);
    assert_eq!(outcome(&mut broker, Om, &answer(2)), Refusal::WrongStep.number());
    assert_eq!(outcome(&mut broker, Gem, &question(3, Step::S1, Some(CASE))), Refusal::WrongStep.number());
    assert_eq!(outcome(&mut broker, Gem, &question(4, Step::S2A, Some(CASE))), 0);
    assert_eq!(outcome(&mut broker, Gem, &question(5, Step::S2A, None)), Refusal::WrongStep.number());
    assert_eq!(outcome(&mut broker, Gem, &question(6, Step::S1, None)), 0);
    let conn = broker.connect(Gem);
    let on = next(&broker, Gem, CASE, Act::Step(Step::S3));
    assert_eq!(decide(&mut broker, conn, Gem, &on).0, 0);
    assert_eq!(outcome(&mut broker, Om, &answer(7)), 0);
    let close = next(&broker, Gem, CASE, Act::Close);
    assert_eq!(decide(&mut broker, conn, Gem, &close).0, 0);
    assert_eq!(outcome(&mut broker, Om, &answer(8)), Refusal::CaseClosed.number());
}

/// The covenant with a condition, which the police state and the prosecution's flow needs.
fn conditional() -> Covenant {
    let mut covenant = covenant();
    covenant.conditions = vec![Condition {
        code: "strafrechtelijk".into(),
        nl: "strafrechtelijk spoor".into(),
        en: "criminal track".into(),
        set_by: vec![Role::Politie],
        parties: 1,
    }];
    let flow = covenant.flows.iter_mut().find(|flow| flow.id == "F16").unwrap();
    flow.conditions = vec![Requirement { condition: "strafrechtelijk".into(), roles: vec![Role::Om] }];
    covenant
}

#[test]
fn a_condition_opens_its_flow_when_it_is_stated() {
    let covenant = conditional();
    let hash = covenant.hash();
    let mut broker = Broker::with_covenant(NOON, covenant);
    let under =
        |broker: &Broker, org: Org, act: Act| CaseDecision { covenant: hash, ..next(broker, org, CASE, act) };
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    for step in [Step::S1, Step::S2A, Step::S3] {
        let decision = under(&broker, Gem, Act::Step(step));
        assert_eq!(decide(&mut broker, gem, Gem, &decision).0, 0);
    }
    let answer =
        |number| Draft::new(Om, &[Gem], "F16", number, NOON).with(|draft| draft.context.covenant = hash);
    assert_eq!(outcome(&mut broker, Om, &answer(1)), Refusal::ConditionNotMet.number());
    let state = |holds| Act::Condition { code: "strafrechtelijk".into(), holds };
    let wrong = under(&broker, Gem, state(true));
    assert_eq!(decide(&mut broker, gem, Gem, &wrong).0, Refusal::NotTheMover.number());
    let stated = under(&broker, Pol, state(true));
    let (done, did) = decide(&mut broker, pol, Pol, &stated);
    assert_eq!((done, did.entries[0].detail.as_deref()), (0, Some("condition:strafrechtelijk")));
    assert_eq!(outcome(&mut broker, Om, &answer(2)), 0);
    let withdrawn = under(&broker, Pol, state(false));
    assert_eq!(decide(&mut broker, pol, Pol, &withdrawn).0, 0);
    assert_eq!(outcome(&mut broker, Om, &answer(3)), Refusal::ConditionNotMet.number());
}

#[test]
fn a_decision_is_logged_once_at_a_time_no_entry_has() {
    let mut broker = Broker::started(NOON);
    let conn = broker.connect(Gem);
    let before = broker.entries().last().unwrap().time;
    let first = next(&broker, Gem, CASE, Act::Step(Step::S1));
    let (done, did) = decide(&mut broker, conn, Gem, &first);
    let [entry] = did.entries.as_slice() else { panic!("{:?}", did.entries) };
    assert_eq!((done, entry.kind, entry.case), (0, Kind::Case, Some(CASE)));
    assert_eq!((entry.covenant, entry.subject), (Some(covenant().hash()), Some(Gem.oin())));
    assert_eq!(entry.detail.as_deref(), Some("step:1"));
    assert!(entry.time > before);
    let (again, did) = decide(&mut broker, conn, Gem, &first);
    assert!(again == 0 && did.entries.is_empty() && told(&did).is_empty());
    // In one turn, at one reading of the clock: before the decision, the decision, after it.
    let second = next(&broker, Gem, CASE, Act::Step(Step::S2A)).sign(&Gem.key());
    let early = broker.submission(conn, Gem, &question(1, Step::S1, Some(CASE)).seal());
    let late = broker.submission(conn, Gem, &question(2, Step::S1, Some(CASE)).seal());
    let did = broker.turn([early, ask(conn, Ask::Decide(second)), late]);
    let outcomes: Vec<u16> = broker.verdicts(&did).iter().map(|got| got.outcome).collect();
    assert_eq!(outcomes, [0, Refusal::WrongStep.number()]);
    let times: Vec<_> = did.entries.iter().map(|entry| entry.time).collect();
    assert!(times[0] < times[1] && times[1] <= times[2], "{times:?}");
}

#[test]
fn nobody_decides_for_another_and_only_a_mover_moves() {
    let mut broker = Broker::started(NOON);
    walk(&mut broker, CASE, Step::S1);
    let on = |broker: &Broker, org| next(broker, org, CASE, Act::Step(Step::S2A));
    let (pol, stranger, gem) = (broker.connect(Pol), broker.connect(Stranger), broker.connect(Gem));
    let size = broker.log.len();
    let others = on(&broker, Gem);
    let did = broker.turn([ask(pol, Ask::Decide(others.sign(&Gem.key())))]);
    assert_eq!(answered(&did), [Refusal::SenderNotConnection.number()]);
    let did = broker.turn([ask(pol, Ask::Decide(others.sign(&Pol.key())))]);
    assert_eq!(answered(&did), [Refusal::UnknownKey.number()]);
    let own = on(&broker, Pol);
    assert_eq!(decide(&mut broker, pol, Pol, &own).0, Refusal::NotTheMover.number());
    let close = next(&broker, Pol, CASE, Act::Close);
    assert_eq!(decide(&mut broker, pol, Pol, &close).0, Refusal::NotTheMover.number());
    let outside = on(&broker, Stranger);
    assert_eq!(decide(&mut broker, stranger, Stranger, &outside).0, Refusal::UnknownKey.number());
    let unknown = CaseDecision { covenant: Digest([7; 32]), ..on(&broker, Gem) };
    assert_eq!(decide(&mut broker, gem, Gem, &unknown).0, Refusal::UnknownCovenant.number());
    let old = CaseDecision { issued: NOON.minus(Span::minutes(6)), ..on(&broker, Gem) };
    assert_eq!(decide(&mut broker, gem, Gem, &old).0, Refusal::Expired.number());
    let skips = next(&broker, Gem, CASE, Act::Step(Step::S3));
    assert_eq!(decide(&mut broker, gem, Gem, &skips).0, Refusal::BadTransition.number());
    let nowhere = next(&broker, Gem, CaseId([1; 16]), Act::Step(Step::S2A));
    assert_eq!(decide(&mut broker, gem, Gem, &nowhere).0, Refusal::BadTransition.number());
    let garbage = broker.turn([ask(gem, Ask::Decide(vec![0xff; 40]))]);
    assert_eq!(answered(&garbage), [Refusal::Malformed.number()]);
    assert_eq!(broker.log.len(), size, "nothing of this is logged");
    assert_eq!(broker.core.state.cases.state(&CASE).unwrap().seq(), 0);
}

#[test]
fn who_has_withdrawn_decides_nothing_and_learns_nothing() {
    let mut covenant = conditional();
    let police = covenant.parties.iter_mut().find(|party| party.oin == Pol.oin()).unwrap();
    police.may_be_absent = true;
    let hash = covenant.hash();
    let mut broker = Broker::with_covenant(NOON, covenant);
    let under =
        |broker: &Broker, org: Org, act: Act| CaseDecision { covenant: hash, ..next(broker, org, CASE, act) };
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let first = under(&broker, Gem, Act::Step(Step::S1));
    assert_eq!(decide(&mut broker, gem, Gem, &first).0, 0);
    let state = |holds| Act::Condition { code: "strafrechtelijk".into(), holds };
    let stated = under(&broker, Pol, state(true));
    assert_eq!(decide(&mut broker, pol, Pol, &stated).0, 0);
    assert_eq!(fetched(&mut broker, pol, CASE).map(|all| all.len()), Ok(2));
    broker.now = NOON.plus(Span::seconds(1));
    broker.say(Pol, hash, Word::Withdraw).unwrap();
    let taken_back = under(&broker, Pol, state(false));
    assert_eq!(decide(&mut broker, pol, Pol, &taken_back).0, Refusal::NotSigned.number());
    assert_eq!(fetched(&mut broker, pol, CASE), Err(Refusal::NotFound.number()));
    let on = under(&broker, Gem, Act::Step(Step::S2A));
    let (done, did) = decide(&mut broker, gem, Gem, &on);
    assert_eq!(done, 0);
    assert_eq!(told(&did).iter().map(|(conn, _)| *conn).collect::<Vec<_>>(), [gem], "no longer the police");
}

#[test]
fn a_case_is_moved_under_a_covenant_that_holds_alone() {
    let mut broker = Broker::started(NOON);
    let gem = broker.connect(Gem);
    broker.now = NOON.plus(Span::seconds(1));
    let first = next(&broker, Gem, CASE, Act::Step(Step::S1));
    broker.say(Om, covenant().hash(), Word::Withdraw).unwrap();
    assert_eq!(decide(&mut broker, gem, Gem, &first).0, Refusal::CovenantNotInForce.number());
    assert!(broker.core.state.cases.state(&CASE).is_none());
}

#[test]
fn a_party_begins_no_more_than_so_many_cases_that_are_not_closed() {
    let mut broker = Broker::started(NOON);
    let gem = broker.connect(Gem);
    let numbered = |n: usize| {
        let mut case = [1; 16];
        case[..8].copy_from_slice(&u64::try_from(n).unwrap().to_be_bytes());
        CaseId(case)
    };
    let begin = |n| next(&broker, Gem, numbered(n), Act::Step(Step::S1)).sign(&Gem.key());
    let all: Vec<Input> = (0..CASES_OPEN_MAX).map(|n| ask(gem, Ask::Decide(begin(n)))).collect();
    let did = broker.turn(all);
    assert!(answered(&did).into_iter().all(|outcome| outcome == 0));
    let over = next(&broker, Gem, CASE, Act::Step(Step::S1));
    assert_eq!(decide(&mut broker, gem, Gem, &over).0, Refusal::TooBusy.number());
    let on = next(&broker, Gem, numbered(7), Act::Step(Step::S2A));
    assert_eq!(decide(&mut broker, gem, Gem, &on).0, 0, "one that is there goes on");
    let close = next(&broker, Gem, numbered(7), Act::Close);
    assert_eq!(decide(&mut broker, gem, Gem, &close).0, 0);
    assert_eq!(decide(&mut broker, gem, Gem, &over).0, 0, "and closed it makes room");
}

#[test]
fn of_two_decisions_at_once_the_first_counts() {
    let mut broker = Broker::started(NOON);
    walk(&mut broker, CASE, Step::S1);
    let (one, two) = (broker.connect(Gem), broker.connect(Gem));
    let on = next(&broker, Gem, CASE, Act::Step(Step::S2A)).sign(&Gem.key());
    let close = next(&broker, Gem, CASE, Act::Close).sign(&Gem.key());
    let did = broker.turn([ask(one, Ask::Decide(on)), ask(two, Ask::Decide(close))]);
    assert_eq!(answered(&did), [0, Refusal::CaseMoved.number()]);
    let state = broker.core.state.cases.state(&CASE).unwrap();
    assert_eq!((state.seq(), state.now().stage()), (1, Stage::In(Step::S2A)));
    assert_eq!(did.entries.len(), 1);
}

#[test]
fn who_asks_is_told_of_what_comes_before_the_packets_that_rest_on_it() {
    let mut broker = Broker::started(NOON);
    let (pol, jw, stranger) = (broker.connect(Pol), broker.connect(Jw), broker.connect(Stranger));
    // Asked before there is one: the answer is none, and what comes is told.
    assert_eq!(fetched(&mut broker, pol, CASE), Err(Refusal::NotFound.number()));
    assert_eq!(fetched(&mut broker, stranger, CASE), Err(Refusal::NotFound.number()));
    let gem = broker.connect(Gem);
    let first = next(&broker, Gem, CASE, Act::Step(Step::S1)).sign(&Gem.key());
    let packet = broker.submission(gem, Gem, &question(1, Step::S1, Some(CASE)).seal());
    let did = broker.turn([ask(gem, Ask::Decide(first.clone())), packet]);
    let head = CaseHead { case: CASE, decisions: 1 };
    assert_eq!(told(&did), [(pol, head), (gem, head)], "not the youth work, which did not ask");
    let place = |found: fn(&Send) -> bool| did.sends.iter().position(found).unwrap();
    assert!(
        place(|send| matches!(send, Send::Cases { .. })) < place(|send| matches!(send, Send::Offer { .. }))
    );
    let chain = fetched(&mut broker, jw, CASE).unwrap();
    assert_eq!(chain.iter().map(|one| &*one.decision).collect::<Vec<_>>(), [&first[..]]);
    assert_eq!(fetched(&mut broker, stranger, CASE), Err(Refusal::NotFound.number()), "not its covenant");
    let on = next(&broker, Gem, CASE, Act::Step(Step::S2A));
    let (_, did) = decide(&mut broker, gem, Gem, &on);
    let conns: Vec<ConnId> = told(&did).into_iter().map(|(conn, _)| conn).collect();
    assert_eq!(conns, [pol, jw, gem], "never the stranger");
}

#[test]
fn a_party_to_another_covenant_learns_nothing() {
    let mut broker = Broker::started(NOON);
    let mut other = covenant();
    other.id = "ander".into();
    other.parties.iter_mut().filter(|party| party.oin == Om.oin()).for_each(|party| {
        party.oin = Stranger.oin();
        party.signing_keys = vec![Bytes(Stranger.key().public().to_bytes().to_vec())];
    });
    let hash = other.hash();
    broker.command(Command::LoadCovenant { compiled: Arc::new(Compiled::new(other).unwrap()) });
    for org in [Gem, Pol, Jw, Stranger] {
        broker.say(org, hash, Word::Accept).unwrap();
    }
    walk(&mut broker, CASE, Step::S1);
    let stranger = broker.connect(Stranger);
    assert_eq!(fetched(&mut broker, stranger, CASE), Err(Refusal::NotFound.number()));
    let gem = broker.connect(Gem);
    let under_other = CaseDecision { covenant: hash, ..next(&broker, Gem, CASE, Act::Step(Step::S2A)) };
    assert_eq!(decide(&mut broker, gem, Gem, &under_other).0, Refusal::UnknownCase.number());
    let on = next(&broker, Gem, CASE, Act::Step(Step::S2A));
    let (_, did) = decide(&mut broker, gem, Gem, &on);
    assert!(told(&did).iter().all(|(conn, _)| *conn != stranger));
}

#[test]
fn a_session_watches_no_more_than_so_many_cases() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    let session = broker.core.sessions.get_mut(pol).unwrap();
    let numbered = |n: usize| {
        let mut case = [0; 16];
        case[..8].copy_from_slice(&u64::try_from(n).unwrap().to_be_bytes());
        CaseId(case)
    };
    session.watched.extend((0..CASES_WATCHED_MAX).map(numbered));
    assert_eq!(fetched(&mut broker, pol, CASE), Err(Refusal::TooBusy.number()));
    assert_eq!(fetched(&mut broker, pol, numbered(0)), Err(Refusal::NotFound.number()));
}

#[test]
fn everything_about_a_case_is_read_back() {
    let mut broker = Broker::started(NOON);
    walk(&mut broker, CASE, Step::S3);
    let before = broker.core.state.cases.state(&CASE).cloned();
    broker.restart();
    assert_eq!(broker.core.state.cases.state(&CASE), before.as_ref());
    assert_eq!(outcome(&mut broker, Om, &Draft::new(Om, &[Gem], "F16", 1, NOON)), 0);
    let pol = broker.connect(Pol);
    assert_eq!(fetched(&mut broker, pol, CASE).map(|all| all.len()), Ok(3));
    // A chain with a decision missing is no chain.
    let second = broker.rows.keys().filter(|(table, _)| *table == Table::Cases).nth(1).cloned().unwrap();
    broker.rows.remove(&second);
    let rows = broker.stored();
    let restored =
        crate::Core::restore(broker.config.clone(), rows, seinhuis_shared::tlog::tree::Frontier::empty());
    assert_eq!(restored.err(), Some(crate::RestoreError::Row { table: Table::Cases }));
}
