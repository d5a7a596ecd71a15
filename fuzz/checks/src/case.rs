//! Decisions about cases, and the chain they may become part of.

use std::sync::LazyLock;

use seinhuis_shared::case::{Act, Applied, CaseDecision, CaseState, FORMAT, Stage, Verified};
use seinhuis_shared::cose::{Purpose, Sign1};
use seinhuis_shared::covenant::Step;
use seinhuis_shared::ids::CaseId;
use seinhuis_shared::limits::CASE_DECISION_MAX;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Timestamp;

use crate::{covenant, known};

/// The decision that begins a case under the model covenant.
pub fn first() -> CaseDecision {
    CaseDecision {
        format: FORMAT,
        covenant: covenant::model().hash(),
        case: CaseId([3; 16]),
        seq: 0,
        previous: None,
        party: known::oin(),
        act: Act::Step(Step::S1),
        issued: Timestamp(known::NOON),
    }
}

/// The case [`first`] begins.
pub fn begun() -> &'static CaseState {
    #[expect(clippy::expect_used, reason = "a constant")]
    static BEGUN: LazyLock<CaseState> = LazyLock::new(|| {
        let decision = verified(&first().sign(&known::signer())).expect("signed by its party");
        CaseState::open(&decision, covenant::model(), Timestamp(known::NOON)).expect("the first step")
    });
    &BEGUN
}

/// Every party signs with the known key.
fn verified(bytes: &[u8]) -> Result<Verified, Refusal> {
    CaseDecision::verify(bytes, |_, _| Some(known::signer().public()))
}

/// A decision: as signed, and as a payload that the known key signs; then as the next of a case that began.
pub fn decision(data: &[u8]) -> bool {
    let key = known::signer();
    let mut accepted = false;
    let signed = Sign1::sign(&key, Purpose::Case, data);
    for bytes in [data, &signed] {
        let Ok(verified) = verified(bytes) else { continue };
        let decision = verified.decision();
        assert!(bytes.len() <= CASE_DECISION_MAX, "a decision over its bound");
        assert_eq!(decision.sign(&key), bytes, "a decision re-encodes otherwise");
        assert_eq!(verified.digest(), sha256(bytes), "the digest is not the decision's");
        assert_eq!(CaseDecision::claimed(bytes).as_ref(), Ok(decision), "claims other than it says");
        assert_eq!(decision.previous.is_none(), decision.seq == 0, "a chain with two beginnings");
        follow(&verified);
        accepted = true;
    }
    accepted
}

fn follow(verified: &Verified) {
    let (mut case, decision) = (begun().clone(), verified.decision());
    let at = decision.issued;
    match case.apply(verified, covenant::model(), at) {
        Ok(Applied::Now) => {
            assert_eq!((case.seq(), case.head()), (1, verified.digest()), "not the head");
            let stage = match &decision.act {
                Act::Step(step) => Stage::In(*step),
                Act::Close => Stage::Closed,
                Act::Condition { code, holds } => {
                    assert_eq!(case.now().stating(code).count(), usize::from(*holds), "stated otherwise");
                    Stage::In(Step::S1)
                }
            };
            assert_eq!(case.now().stage(), stage, "another stage than decided");
            let (moved, again) = (case.clone(), case.apply(verified, covenant::model(), at));
            assert_eq!((again, case), (Ok(Applied::Before), moved), "the same bytes count twice");
        }
        Ok(Applied::Before) => assert_eq!(verified.digest(), begun().head(), "applied before, yet new"),
        Err(_) => assert_eq!(&case, begun(), "refused, yet changed"),
    }
}
