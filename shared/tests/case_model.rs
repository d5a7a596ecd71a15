//! Random chains by random parties, against a slow and obvious reference; and signed decisions, mutated.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod case_kit;
mod covenant_kit;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use case_kit::*;
use covenant_kit::now;
use proptest::prelude::*;
use seinhuis_shared::case::{Act, Applied, CaseDecision, CaseState, Stage, apply};
use seinhuis_shared::covenant::{Compiled, Step};
use seinhuis_shared::ids::{CaseId, Digest, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};

/// Two versions of the kit's covenant, and a covenant of another name.
static VERSIONS: LazyLock<[Compiled; 3]> = LazyLock::new(|| {
    let one = compiled();
    let two = successor(&one, |covenant| covenant.title.push('!'));
    let other = successor(&one, |covenant| covenant.id = "elders".into());
    [one, two, other]
});

/// A decision to be made: most follow on the head by somebody who may, some do not.
#[derive(Debug, Clone)]
struct Plan {
    org: Org,
    act: Act,
    version: usize,
    link: Link,
    case: CaseId,
    /// Milliseconds between signing and logging; negative when logged before it was signed.
    lag: i64,
    /// Milliseconds since the decision before.
    wait: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Link {
    Head,
    Stale,
    Ahead,
    Invented,
    Beginning,
    Repeat,
}

fn acts() -> impl Strategy<Value = Act> {
    let step = prop::sample::select(Step::ALL.to_vec()).prop_map(Act::Step);
    let code = prop::sample::select(vec![ONE, TWO, "onbekend"]);
    let condition = (code, any::<bool>()).prop_map(|(code, holds)| state(code, holds));
    prop_oneof![30 => step, 1 => Just(Act::Close), 12 => condition]
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let org = prop_oneof![6 => Just(GEM), 2 => Just(POL), 1 => Just(POL2), 1 => Just(OM), 1 => Just(JW)];
    let version = prop_oneof![8 => Just(0), 3 => Just(1_usize), 1 => Just(2)];
    let link = prop_oneof![
        20 => Just(Link::Head), 1 => Just(Link::Stale), 1 => Just(Link::Ahead), 1 => Just(Link::Invented),
        1 => Just(Link::Beginning), 2 => Just(Link::Repeat),
    ];
    let case = prop_oneof![30 => Just(CASE), 1 => Just(CaseId([1; 16]))];
    let lag = prop_oneof![20 => -1000_i64..1000, 1 => Just(300_001_i64), 1 => Just(-300_001_i64)];
    let plan = (org, acts(), version, link, case, lag, 0_u64..3);
    let plan = plan.prop_map(|(org, act, version, link, case, lag, wait)| Plan {
        org,
        act,
        version,
        link,
        case,
        lag,
        wait,
    });
    prop::collection::vec(plan, 1..60)
}

/// What has been accepted, and nothing derived from it.
#[derive(Debug, Default)]
struct Reference(Vec<(CaseDecision, Digest, Timestamp)>);

const ORDER: [&str; 7] = ["1", "2B", "3", "4", "5", "6", "7"];

impl Reference {
    /// The place in [`ORDER`] after the decisions logged by `at`; 7 when closed.
    fn place(&self, at: Timestamp) -> Option<usize> {
        let moves = self.0.iter().filter(|(_, _, logged)| *logged <= at);
        let places = moves.filter_map(|(decision, ..)| match &decision.act {
            Act::Step(step) => ORDER.iter().position(|one| *one == step.as_str()),
            Act::Close => Some(ORDER.len()),
            Act::Condition { .. } => None,
        });
        places.collect::<Vec<_>>().last().copied()
    }

    /// The parties whose last word on `code` by `at` is that it holds.
    fn stating(&self, code: &str, at: Timestamp) -> BTreeSet<Oin> {
        let last_word = |org: &Org| {
            let words = self.0.iter().filter(|(_, _, logged)| *logged <= at).filter_map(|(decision, ..)| {
                let Act::Condition { code: said, holds } = &decision.act else { return None };
                (said == code && decision.party == org.oin()).then_some(*holds)
            });
            words.collect::<Vec<_>>().last() == Some(&true)
        };
        [GEM, POL, POL2, OM, JW].iter().filter(|org| last_word(org)).map(|org| org.oin()).collect()
    }

    fn next(
        &self,
        plan: &Plan,
        bytes: &[u8],
        decision: &CaseDecision,
        at: Timestamp,
    ) -> Result<Applied, Refusal> {
        if self.0.iter().any(|(_, digest, _)| *digest == sha256(bytes)) {
            return Ok(Applied::Before);
        }
        if plan.lag > 300_000 {
            return Err(Refusal::Expired);
        }
        if plan.lag < -300_000 {
            return Err(Refusal::FromTheFuture);
        }
        if self.0.is_empty() && decision.seq > 0 {
            return Err(Refusal::UnknownCase);
        }
        if let Some((first, ..)) = self.0.first() {
            let other = |version: usize| version == 2;
            let begun = VERSIONS.iter().position(|version| version.hash() == first.covenant).unwrap();
            if decision.case != first.case || other(plan.version) != other(begun) {
                return Err(Refusal::UnknownCase);
            }
        }
        let (gem, police, om) = (plan.org == GEM, plan.org == POL || plan.org == POL2, plan.org == OM);
        let may = match &plan.act {
            Act::Close
            | Act::Step(Step::S1 | Step::S2B | Step::S3 | Step::S4 | Step::S5 | Step::S6 | Step::S7) => gem,
            Act::Condition { code, .. } if code == ONE => gem || police,
            Act::Condition { code, .. } if code == TWO => gem || police || om,
            Act::Step(Step::S2A) | Act::Condition { .. } => return Err(Refusal::BadTransition),
        };
        if !may {
            return Err(Refusal::NotTheMover);
        }
        let target = match &plan.act {
            Act::Step(step) => ORDER.iter().position(|one| *one == step.as_str()),
            Act::Close | Act::Condition { .. } => None,
        };
        let Some(place) = self.place(at) else {
            return if target == Some(0) { Ok(Applied::Now) } else { Err(Refusal::BadTransition) };
        };
        if place == ORDER.len() {
            return Err(Refusal::CaseClosed);
        }
        let (_, head, _) = self.0.last().unwrap();
        if decision.previous != Some(*head) || usize::try_from(decision.seq).unwrap() != self.0.len() {
            return Err(Refusal::CaseMoved);
        }
        let fits = match &plan.act {
            Act::Step(_) => target.is_some_and(|target| target < place || target == place + 1),
            Act::Close => true,
            Act::Condition { code, holds } => self.stating(code, at).contains(&plan.org.oin()) != *holds,
        };
        if fits { Ok(Applied::Now) } else { Err(Refusal::BadTransition) }
    }
}

/// The decision a plan makes of what has been accepted so far.
fn decide(plan: &Plan, reference: &Reference, at: Timestamp) -> (Vec<u8>, CaseDecision) {
    let accepted = &reference.0;
    let count = u32::try_from(accepted.len()).unwrap();
    let linked = |seq: u32, previous: Option<Digest>| (seq, if seq == 0 { None } else { previous });
    let digest = |back: usize| accepted.iter().rev().nth(back).map(|(_, digest, _)| *digest);
    let (seq, previous) = match plan.link {
        Link::Head | Link::Repeat => linked(count, digest(0)),
        Link::Stale => linked(count.saturating_sub(1), digest(1)),
        Link::Ahead => (count + 1, Some(digest(0).unwrap_or(Digest([7; 32])))),
        Link::Invented => linked(count, Some(Digest([9; 32]))),
        Link::Beginning => (0, None),
    };
    let decision = CaseDecision {
        seq,
        previous,
        case: plan.case,
        party: plan.org.oin(),
        act: plan.act.clone(),
        issued: Timestamp(at.0.checked_add_signed(-plan.lag).unwrap()),
        ..first(&VERSIONS[plan.version], at)
    };
    match (plan.link, accepted.get(accepted.len() / 2)) {
        (Link::Repeat, Some((earlier, ..))) => (resigned(earlier), earlier.clone()),
        _ => (decision.sign(&plan.org.key()), decision),
    }
}

/// Signatures are deterministic: the same decision has the same bytes.
fn resigned(decision: &CaseDecision) -> Vec<u8> {
    let org = [GEM, POL, POL2, OM, JW].into_iter().find(|org| org.oin() == decision.party).unwrap();
    decision.sign(&org.key())
}

fn compare(case: &CaseState, reference: &Reference, at: Timestamp) -> Result<(), TestCaseError> {
    let standing = case.at(at);
    let place = standing.as_ref().map(|standing| match standing.stage() {
        Stage::In(step) => ORDER.iter().position(|one| *one == step.as_str()).unwrap(),
        Stage::Closed => ORDER.len(),
    });
    prop_assert_eq!(place, reference.place(at));
    let Some(standing) = standing else { return Ok(()) };
    for (code, wanted) in [(ONE, 1), (TWO, 2), ("onbekend", 1)] {
        let stating = reference.stating(code, at);
        prop_assert_eq!(standing.stating(code).collect::<BTreeSet<_>>(), stating.clone());
        prop_assert_eq!(standing.holds(code, &VERSIONS[0]), stating.len() >= wanted);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_chain_is_what_the_reference_says(plans in plans()) {
        let mut case = None;
        let mut reference = Reference::default();
        let mut at = now();
        // Most chains begin as they should.
        let opening = Plan {
            org: GEM, act: Act::Step(Step::S1), version: plans[0].version, link: Link::Head, case: CASE,
            lag: 0, wait: 0,
        };
        let skip = usize::from(plans[0].wait == 0);
        for plan in core::iter::once(&opening).skip(skip).chain(&plans) {
            at = at.plus(Span(plan.wait));
            let (bytes, decision) = decide(plan, &reference, at);
            let wanted = reference.next(plan, &bytes, &decision, at);
            let version = VERSIONS.iter().find(|version| version.hash() == decision.covenant).unwrap();
            let before = case.clone();
            let key = |oin, kid| version.signing_key(oin, kid).copied();
            let got = apply(&mut case, &bytes, key, version, at);
            prop_assert_eq!(got, wanted, "{:?} after {:?}", plan, reference);
            if got == Ok(Applied::Now) {
                reference.0.push((decision, sha256(&bytes), at));
            } else {
                prop_assert_eq!(&case, &before);
            }
        }
        let Some(case) = case else { return Ok(()) };
        prop_assert_eq!(case.events().count(), reference.0.len());
        for at in now().0 - 1..=at.0 + 1 {
            compare(&case, &reference, Timestamp(at))?;
        }
    }

    #[test]
    fn a_mutated_decision_is_no_decision(
        act in acts(),
        place: prop::sample::Index,
        change in prop_oneof![
            (1_u8..).prop_map(|bit| (0, bit)), Just((1, 0)), any::<u8>().prop_map(|byte| (2, byte))
        ],
    ) {
        let decision = CaseDecision { act, ..first(&VERSIONS[0], now()) };
        let good = decision.sign(&GEM.key());
        let mut bytes = good.clone();
        let at = place.index(bytes.len());
        match change {
            (0, bits) => bytes[at] ^= bits,
            (1, _) => _ = bytes.remove(at),
            (_, byte) => bytes.insert(at, byte),
        }
        let key = |oin, kid| VERSIONS[0].signing_key(oin, kid).copied();
        prop_assert!(CaseDecision::verify(&good, key).is_ok());
        prop_assert!(bytes == good || CaseDecision::verify(&bytes, key).is_err());
    }
}
