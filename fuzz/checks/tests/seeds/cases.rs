//! Decisions about cases.

use seinhuis_fuzz_checks::{case, known};
use seinhuis_shared::case::{Act, CaseDecision};
use seinhuis_shared::cbor;
use seinhuis_shared::covenant::Step;
use seinhuis_shared::ids::Digest;

use super::{Seed, cut, longer, no, ok};

/// The decision that follows on the first.
fn next(act: Act) -> CaseDecision {
    CaseDecision { seq: 1, previous: Some(case::begun().head()), act, ..case::first() }
}

pub(super) fn all() -> Vec<Seed> {
    let signed = |decision: &CaseDecision| decision.sign(&known::signer());
    let condition = |code: &str, holds| Act::Condition { code: code.into(), holds };
    let good = signed(&case::first());
    let payload = cbor::encode(&next(Act::Step(Step::S2A)));
    let other = CaseDecision { format: 2, ..case::first() };
    let orphan = CaseDecision { seq: 1, ..case::first() };
    let twice = CaseDecision { seq: 0, ..next(Act::Close) };
    let stranger = CaseDecision { previous: Some(Digest([9; 32])), ..next(Act::Close) };
    vec![
        ok("case_decision", "first", &*good),
        ok("case_decision", "step", signed(&next(Act::Step(Step::S2A)))),
        ok("case_decision", "step-too-far", signed(&next(Act::Step(Step::S7)))),
        ok("case_decision", "close", signed(&next(Act::Close))),
        ok("case_decision", "condition", signed(&next(condition("strafrechtelijk", true)))),
        ok("case_decision", "payload-step", &*payload),
        ok("case_decision", "payload-withdrawn", cbor::encode(&next(condition("strafrechtelijk", false)))),
        ok("case_decision", "payload-of-another-chain", cbor::encode(&stranger)),
        no("case_decision", "other-format", cbor::encode(&other)),
        no("case_decision", "later-without-previous", cbor::encode(&orphan)),
        no("case_decision", "first-with-previous", cbor::encode(&twice)),
        no("case_decision", "no-code", cbor::encode(&next(condition("Geen Code", true)))),
        no("case_decision", "longer-payload", longer(&payload)),
        no("case_decision", "cut", cut(&good)),
        no("case_decision", "empty", []),
    ]
}
