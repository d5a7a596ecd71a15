//! A covenant whose steps and conditions differ in who may decide, and decisions under it.
#![allow(dead_code, reason = "each test binary uses its own half")]
#![expect(clippy::unwrap_used, reason = "a test kit: what it cannot make ends the test")]

use seinhuis_shared::case::{Act, Applied, CaseDecision, CaseState, FORMAT, Verified};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::{Compiled, Condition, Covenant, Party, Role, Step};
use seinhuis_shared::ids::{CaseId, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::{Span, Timestamp};

use crate::covenant_kit::{model, now, oin};

pub(crate) const CASE: CaseId = CaseId([0xca; 16]);
/// A condition one party of police or municipality may state.
pub(crate) const ONE: &str = "strafrechtelijk";
/// A condition two parties of police, municipality or prosecution have to state.
pub(crate) const TWO: &str = "ernstig";

/// A party, by the number its OIN and its key are made of. 1 to 8 are the model's, in the order of
/// [`Role::ALL`]; 9 is a second police force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Org(pub(crate) u8);

pub(crate) const GEM: Org = Org(1);
pub(crate) const POL: Org = Org(2);
pub(crate) const JW: Org = Org(3);
pub(crate) const OM: Org = Org(4);
pub(crate) const POL2: Org = Org(9);

impl Org {
    pub(crate) fn oin(self) -> Oin {
        format!("0000009900000000{}000", self.0).parse().unwrap()
    }

    pub(crate) fn key(self) -> SigningKey {
        SigningKey::from_seed(&[self.0; 32])
    }
}

/// The model without step 2A, with a second police force and a second condition.
pub(crate) fn covenant() -> Covenant {
    let mut covenant = model();
    covenant.steps.retain(|rule| rule.step != Step::S2A);
    for flow in &mut covenant.flows {
        flow.steps.retain(|step| *step != Step::S2A);
    }
    covenant.flows.retain(|flow| !flow.steps.is_empty());
    covenant.conditions.push(Condition {
        code: TWO.into(),
        nl: "er is ernstig gevaar".into(),
        en: "there is grave danger".into(),
        set_by: vec![Role::Politie, Role::Gemeente, Role::Om],
        parties: 2,
    });
    let police = covenant.parties.iter().find(|party| party.role == Role::Politie).unwrap();
    let second = Party {
        oin: POL2.oin(),
        signing_keys: vec![Bytes(POL2.key().public().to_bytes().to_vec())],
        witness_key: None,
        ..police.clone()
    };
    covenant.parties.push(second);
    covenant
}

/// The version after `before`, changed.
pub(crate) fn successor(before: &Compiled, edit: impl FnOnce(&mut Covenant)) -> Compiled {
    let mut covenant = before.covenant().clone();
    covenant.version += 1;
    covenant.previous = Some(before.hash());
    edit(&mut covenant);
    Compiled::new(covenant).unwrap()
}

pub(crate) fn compiled() -> Compiled {
    assert_eq!(POL.oin(), oin(Role::Politie), "the model's numbering");
    Compiled::new(covenant()).unwrap()
}

pub(crate) fn state(code: &str, holds: bool) -> Act {
    Act::Condition { code: code.into(), holds }
}

/// The instant `minutes` after the kit's noon.
pub(crate) fn minute(minutes: u64) -> Timestamp {
    now().plus(Span::minutes(minutes))
}

/// The first decision of a case.
pub(crate) fn first(compiled: &Compiled, at: Timestamp) -> CaseDecision {
    CaseDecision {
        format: FORMAT,
        covenant: compiled.hash(),
        case: CASE,
        seq: 0,
        previous: None,
        party: GEM.oin(),
        act: Act::Step(Step::S1),
        issued: at,
    }
}

/// The decision that follows on the head.
pub(crate) fn next(case: &CaseState, compiled: &Compiled, org: Org, act: Act, at: Timestamp) -> CaseDecision {
    CaseDecision {
        seq: case.seq() + 1,
        previous: Some(case.head()),
        party: org.oin(),
        act,
        ..first(compiled, at)
    }
}

/// Signed by its own party, and verified.
pub(crate) fn verified(decision: &CaseDecision) -> Verified {
    let org = (1..=9).map(Org).find(|org| org.oin() == decision.party).unwrap();
    CaseDecision::verify(&decision.sign(&org.key()), |oin, _| (oin == org.oin()).then(|| org.key().public()))
        .unwrap()
}

/// A case in step 1, begun at the kit's noon.
pub(crate) fn begun(compiled: &Compiled) -> CaseState {
    CaseState::open(&verified(&first(compiled, now())), compiled, now()).unwrap()
}

/// Applies an act that follows on the head.
pub(crate) fn act(
    case: &mut CaseState,
    compiled: &Compiled,
    org: Org,
    act: Act,
    at: Timestamp,
) -> Result<Applied, Refusal> {
    let decision = next(case, compiled, org, act, at);
    case.apply(&verified(&decision), compiled, at)
}

/// A case the municipality moved, a minute each, to `step`.
pub(crate) fn in_step(compiled: &Compiled, step: Step) -> CaseState {
    let mut case = begun(compiled);
    let steps = compiled.covenant().steps.iter().map(|rule| rule.step);
    for (minutes, step) in (1..).zip(steps.filter(|one| *one > Step::S1 && *one <= step)) {
        assert_eq!(act(&mut case, compiled, GEM, Act::Step(step), minute(minutes)), Ok(Applied::Now));
    }
    case
}
