//! Makes the vectors of cases: a chain of decisions under a small covenant, and decisions that do not count.

use ciborium::Value;
use seinhuis_shared::case::{Act, Applied, CaseDecision, CaseState, FORMAT, Stage, apply};
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::{Purpose, Sign1};
use seinhuis_shared::covenant::{
    self, CaseRule, Category, Clause, Compiled, Condition, Covenant, Fate, Flow, Handling, InFlight, Level,
    MessageType, Party, Role, Route, Step, StepRule,
};
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shared::refusal::Refusal::{
    self, BadSignature, BadTransition, CaseClosed, CaseMoved, CovenantNotInForce, Expired, FromTheFuture,
    Malformed, NotCanonical, NotTheMover, UnknownCase, UnknownCovenant, UnknownKey, UnknownVersion,
};
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};

use crate::common::{GEM, JW, NOON, OM, Org, POL};
use crate::files::{CaseChain, CaseFields, hex};
use crate::forge::{Edit, bytes, encode, items};
use crate::signed::{edited, resigned};

const CONDITION: &str = "strafrechtelijk";
const SCHEMA: &str = r#"{"additionalProperties":false,"properties":{"plaats":{"maxLength":80,"type":"string","x-category":"locatie"}},"required":["plaats"],"type":"object"}"#;

fn party(org: Org, role: Role) -> Party {
    Party {
        oin: org.oin(),
        role,
        name: role.as_str().into(),
        contact: "loket@voorbeeldstad.example".into(),
        signing_keys: vec![Bytes::from(&org.key().public().to_bytes()[..])],
        may_be_absent: false,
        joined: NOON.minus(Span::days(60)),
        left: None,
        witness_key: None,
    }
}

fn flow() -> Flow {
    Flow {
        id: "F02".into(),
        nl: "signaal".into(),
        en: "signal".into(),
        types: vec!["signaal".into()],
        routes: vec![Route { from: vec![Role::Politie], to: vec![Role::Gemeente] }],
        steps: vec![Step::S1],
        levels: vec![Level::G],
        categories: vec!["locatie".into()],
        purpose: "signalering".into(),
        bases: vec!["avg_6_1_e".into()],
        case: CaseRule::Optional,
        decision: false,
        conditions: vec![],
        release: false,
        handling: Handling::Partners,
        max_recipients: 1,
        max_body: 4096,
        retention_days: None,
        retention: "zolang de zaak loopt".into(),
    }
}

/// Four parties; steps 1, 2A, 3 and 7, the last moved by the prosecution too; a condition two must state.
pub(crate) fn covenant() -> Covenant {
    let clause = |code: &str| Clause { code: code.into(), nl: code.into(), en: code.into() };
    let step = |step: Step, movers: &[Role]| StepRule {
        step,
        nl: format!("stap {step}"),
        en: format!("step {step}"),
        movers: movers.to_vec(),
    };
    let gem = [Role::Gemeente];
    let condition = Condition {
        code: CONDITION.into(),
        nl: "er is strafrechtelijke informatie".into(),
        en: "there is criminal information".into(),
        set_by: vec![Role::Politie, Role::Gemeente],
        parties: 2,
    };
    let (nl, en) = ("plaats".to_owned(), "place".to_owned());
    let category = Category { code: "locatie".into(), level: Level::G, special: None, nl, en };
    let (nl, en) = ("signaal".to_owned(), "signal".to_owned());
    Covenant {
        format: covenant::FORMAT,
        id: "voorbeeldstad".into(),
        version: 1,
        previous: None,
        title: "Convenant Voorbeeldstad".into(),
        owner: GEM.oin(),
        valid_from: NOON.minus(Span::days(60)),
        valid_until: NOON.plus(Span::days(300)),
        evaluation: NOON.plus(Span::days(200)),
        contact: "loket@voorbeeldstad.example".into(),
        max_ttl: Span::days(30),
        max_body: 4096,
        log_retention_days: 1826,
        retention: "drie maanden".into(),
        overlap_days: 14,
        witness_quorum: 2,
        in_flight: InFlight { withdrawn: Fate::Freeze, superseded: Fate::Deliver, revoked: Fate::Shred },
        purposes: vec![clause("signalering")],
        bases: vec![clause("avg_6_1_e")],
        categories: vec![category],
        types: vec![MessageType { code: "signaal".into(), nl, en, schema: SCHEMA.into() }],
        steps: vec![step(Step::S1, &gem), step(Step::S2A, &gem), step(Step::S3, &gem), step(Step::S7, &gem)],
        conditions: vec![condition],
        flows: vec![flow()],
        decisions: vec![],
        witnesses: Vec::new(),
        informs: Vec::new(),
        parties: vec![
            party(GEM, Role::Gemeente),
            party(POL, Role::Politie),
            party(JW, Role::Jongerenwerk),
            party(OM, Role::Om),
        ],
    }
}

pub(crate) fn compiled() -> Compiled {
    Compiled::new(covenant()).unwrap()
}

/// The state after these decisions, or the refusal of the last.
pub(crate) fn fold(compiled: &Compiled, chain: &[(Vec<u8>, Timestamp)]) -> Result<CaseState, Refusal> {
    let mut state = None;
    let mut last = Ok(Applied::Now);
    for (bytes, at) in chain {
        last = apply(&mut state, bytes, |oin, kid| compiled.signing_key(oin, kid).copied(), compiled, *at);
    }
    last?;
    Ok(state.unwrap())
}

pub(crate) fn stage(state: &CaseState) -> String {
    match state.now().stage() {
        Stage::In(step) => step.to_string(),
        Stage::Closed => "closed".into(),
    }
}

fn at(place: usize) -> Timestamp {
    NOON.plus(Span::minutes(u64::try_from(place).unwrap()))
}

fn condition(holds: bool) -> Act {
    Act::Condition { code: CONDITION.into(), holds }
}

/// A chain being made: names, bytes and decisions so far.
struct Chain {
    covenant: Digest,
    made: Vec<(&'static str, Org, CaseDecision, Vec<u8>)>,
}

impl Chain {
    /// The decision that would follow on the first `after` of the chain, signed when it is logged.
    fn next(&self, after: usize, org: Org, act: Act) -> CaseDecision {
        let before = after.checked_sub(1).map(|place| &self.made[place].3);
        CaseDecision {
            format: FORMAT,
            covenant: self.covenant,
            case: CaseId([0xca; 16]),
            seq: u32::try_from(after).unwrap(),
            previous: before.map(|bytes| sha256(bytes)),
            party: org.oin(),
            act,
            issued: at(after),
        }
    }

    fn add(&mut self, name: &'static str, org: Org, act: Act) {
        let decision = self.next(self.made.len(), org, act);
        let bytes = decision.sign(&org.key());
        self.made.push((name, org, decision, bytes));
    }
}

fn chain(covenant: Digest) -> Chain {
    let mut chain = Chain { covenant, made: Vec::new() };
    chain.add("first-step", GEM, Act::Step(Step::S1));
    chain.add("condition-stated-by-one", POL, condition(true));
    chain.add("one-step-on", GEM, Act::Step(Step::S2A));
    chain.add("condition-stated-by-two", GEM, condition(true));
    chain.add("over-steps-the-covenant-does-without", GEM, Act::Step(Step::S3));
    chain.add("condition-withdrawn", POL, condition(false));
    chain.add("back-to-the-first", GEM, Act::Step(Step::S1));
    chain.add("closed-by-the-mover-of-the-last-step", GEM, Act::Close);
    chain
}

pub(crate) fn cases() -> CaseChain {
    let compiled = compiled();
    let chain = chain(compiled.hash());
    let logged: Vec<(Vec<u8>, Timestamp)> =
        chain.made.iter().enumerate().map(|(place, one)| (one.3.clone(), at(place))).collect();
    let valid = chain.made.iter().zip(1..).map(|((name, .., bytes), count)| {
        let state = fold(&compiled, &logged[..count]).unwrap();
        CaseFields {
            name: (*name).into(),
            after: count - 1,
            at: at(count - 1).0,
            refusal: 0,
            stage: Some(stage(&state)),
            stating: Some(state.now().stating(CONDITION).map(|oin| oin.to_string()).collect()),
            sha256: Some(state.head().to_string()),
            decision: hex(bytes),
        }
    });
    let valid = valid.collect();
    let groups = [ill_formed(&chain), ill_taken(&chain), ill_placed(&chain)];
    let invalid = groups.into_iter().flatten().collect();
    let covenant = hex(&compiled.covenant().to_bytes());
    CaseChain { covenant, covenant_sha256: compiled.hash().to_string(), valid, invalid }
}

fn vector(name: &str, after: usize, at: Timestamp, refusal: Refusal, bytes: &[u8]) -> CaseFields {
    CaseFields {
        name: name.into(),
        after,
        at: at.0,
        refusal: refusal.number(),
        stage: None,
        stating: None,
        sha256: None,
        decision: hex(bytes),
    }
}

/// Wrong by themselves: encoding, form, signature. All are the step that would follow on the first two.
fn ill_formed(chain: &Chain) -> Vec<CaseFields> {
    let decision = chain.next(2, GEM, Act::Step(Step::S2A));
    let good = decision.sign(&GEM.key());
    let raw = |name: &str, refusal, bytes: &[u8]| vector(name, 2, at(2), refusal, bytes);
    let again = |name: &str, refusal, edit: Edit| {
        raw(name, refusal, &resigned(&good, &GEM.key(), Purpose::Case, edit))
    };
    let act = |name: &str, refusal, edit: fn(&mut Vec<Value>)| {
        let mut payload: Value = ciborium::from_reader(&cbor::encode(&decision)[..]).unwrap();
        edit(items(&mut items(&mut payload)[6]));
        raw(name, refusal, &Sign1::sign(&GEM.key(), Purpose::Case, &encode(&payload)))
    };
    let long =
        CaseDecision { act: Act::Condition { code: "z".repeat(300), holds: true }, ..decision.clone() };
    vec![
        raw("too-large", Refusal::TooLarge, &long.sign(&GEM.key())),
        raw("trailing-byte", NotCanonical, &[&good[..], &[0]].concat()),
        raw("truncated", Malformed, &good[..good.len() - 1]),
        again("format-2", UnknownVersion, |v| items(v)[0] = Value::from(2)),
        again("field-extra", NotCanonical, |v| items(v).push(Value::Null)),
        again("field-missing", Malformed, |v| _ = items(v).pop()),
        again("seq-negative", Malformed, |v| items(v)[3] = Value::from(-1)),
        again("seq-33-bits", Malformed, |v| items(v)[3] = Value::from(1_u64 << 32)),
        again("first-with-previous", Malformed, |v| items(v)[3] = Value::from(0)),
        again("later-without-previous", Malformed, |v| items(v)[4] = Value::Null),
        again("previous-31-bytes", Malformed, |v| _ = bytes(&mut items(v)[4]).pop()),
        again("issued-before-1970", Malformed, |v| items(v)[7] = Value::from(-1)),
        act("act-empty", Malformed, Vec::clear),
        act("act-unknown", Malformed, |act| act[0] = Value::from("stop")),
        act("act-step-unknown", Malformed, |act| act[1] = Value::from("2C")),
        act("act-step-lower-case", Malformed, |act| act[1] = Value::from("2a")),
        act("act-step-as-number", Malformed, |act| act[1] = Value::from(3)),
        act("act-step-missing", Malformed, |act| _ = act.pop()),
        act("act-step-twice", Malformed, |act| act.push(Value::from("2A"))),
        act("act-close-with-step", Malformed, |act| act[0] = Value::from("close")),
        act("act-condition-without-holds", Malformed, |act| act[0] = Value::from("condition")),
        act("act-condition-no-code", Malformed, |act| {
            *act = vec![Value::from("condition"), Value::from("Geen Code"), Value::Bool(true)];
        }),
        act("act-condition-holds-1", Malformed, |act| {
            *act = vec![Value::from("condition"), Value::from(CONDITION), Value::from(1)];
        }),
        raw("signed-by-another-party", UnknownKey, &decision.sign(&JW.key())),
        raw("signature-changed", BadSignature, &edited(&good, |v| bytes(&mut items(v)[3])[0] ^= 1)),
        raw("signed-as-packet", BadSignature, &resigned(&good, &GEM.key(), Purpose::Packet, |_| ())),
    ]
}

/// Well formed and signed, by who may not, or for another time, covenant or case.
fn ill_taken(chain: &Chain) -> Vec<CaseFields> {
    let step = || chain.next(2, GEM, Act::Step(Step::S2A));
    let with = |name, refusal, edit: fn(&mut CaseDecision)| {
        let mut decision = step();
        edit(&mut decision);
        vector(name, 2, at(2), refusal, &decision.sign(&GEM.key()))
    };
    let by = |name, refusal, org: Org, act| {
        vector(name, 2, at(2), refusal, &chain.next(2, org, act).sign(&org.key()))
    };
    let unknown = Act::Condition { code: "onbekend".into(), holds: true };
    let mut late = step();
    let end = NOON.plus(Span::days(300));
    late.issued = end;
    vec![
        with("another-version-of-the-covenant", UnknownCovenant, |d| d.covenant = Digest([1; 32])),
        vector("after-the-covenant", 2, end, CovenantNotInForce, &late.sign(&GEM.key())),
        with("signed-too-early", Expired, |d| d.issued = at(2).minus(Span(300_001))),
        with("signed-in-the-future", FromTheFuture, |d| d.issued = at(2).plus(Span(300_001))),
        with("another-case", UnknownCase, |d| d.case = CaseId([1; 16])),
        by("step-by-police", NotTheMover, POL, Act::Step(Step::S2A)),
        by("step-by-the-prosecution", NotTheMover, OM, Act::Step(Step::S2A)),
        by("close-by-police", NotTheMover, POL, Act::Close),
        by("condition-by-youth-work", NotTheMover, JW, condition(true)),
        by("condition-unknown", BadTransition, POL, unknown),
        by("step-the-covenant-does-without", BadTransition, GEM, Act::Step(Step::S2B)),
    ]
}

/// Rightly taken, at the wrong place of the chain.
fn ill_placed(chain: &Chain) -> Vec<CaseFields> {
    let follow = |name, after: usize, refusal, org: Org, act| {
        vector(name, after, at(after), refusal, &chain.next(after, org, act).sign(&org.key()))
    };
    let with = |name, edit: fn(&mut CaseDecision)| {
        let mut decision = chain.next(3, GEM, Act::Step(Step::S3));
        edit(&mut decision);
        vector(name, 3, at(3), CaseMoved, &decision.sign(&GEM.key()))
    };
    let concurrent = chain.next(2, GEM, Act::Step(Step::S2A));
    let concurrent = CaseDecision { issued: at(3), ..concurrent };
    let begin = CaseDecision { issued: at(3), ..chain.next(0, GEM, Act::Step(Step::S1)) };
    let closed = chain.made.len();
    vec![
        vector("case-that-has-not-begun", 0, at(2), UnknownCase, &chain.made[2].3),
        follow("begins-in-the-second-step", 0, BadTransition, GEM, Act::Step(Step::S2A)),
        follow("begins-closed", 0, BadTransition, GEM, Act::Close),
        follow("begins-with-a-condition", 0, BadTransition, POL, condition(true)),
        follow("begun-by-police", 0, NotTheMover, POL, Act::Step(Step::S1)),
        vector("concurrent-and-logged-second", 3, at(3), CaseMoved, &concurrent.sign(&GEM.key())),
        vector("begun-again", 3, at(3), CaseMoved, &begin.sign(&GEM.key())),
        with("previous-of-no-decision", |d| d.previous = Some(Digest([0; 32]))),
        with("seq-skipped", |d| d.seq += 1),
        with("seq-repeated", |d| d.seq -= 1),
        follow("same-step", 3, BadTransition, GEM, Act::Step(Step::S2A)),
        follow("two-steps-on", 3, BadTransition, GEM, Act::Step(Step::S7)),
        follow("condition-stated-twice", 2, BadTransition, POL, condition(true)),
        follow("condition-withdrawn-by-who-did-not-state-it", 2, BadTransition, GEM, condition(false)),
        follow("step-in-a-closed-case", closed, CaseClosed, GEM, Act::Step(Step::S1)),
        follow("condition-in-a-closed-case", closed, CaseClosed, POL, condition(true)),
        follow("closed-twice", closed, CaseClosed, GEM, Act::Close),
    ]
}
