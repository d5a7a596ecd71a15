//! What the law and the model covenant forbid, at the sender with everybody else's checks off, and at the
//! recipient with those of sender and broker off.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use seinhuis_shared::case::{Act, CaseDecision};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::covenant::{Compiled, Covenant, Declared, Handling, Part, Role, Step};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, TraceId};
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::{Context, Plain, Recipient, SealRandomness, VERSION, seal};
use seinhuis_shared::prekey::PrekeyBundle;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::Decided;

use super::rules::{At, CONTENT, Right, SERVICE, Wrong, forbidden};
use crate::fixture::{Broker, NOW, Node, Toy, cast, oin, read, signer};
use crate::minimise::MEDIA_TYPE;
use crate::{AlarmKind, Input, PushRequest, Rejection, Target};

fn load(edit: impl FnOnce(String) -> String) -> Arc<Compiled> {
    let (model, own) = (read("model.toml"), edit(read("partnership.example.toml")));
    let parts = [Part { name: "model.toml", text: &model }, Part { name: "own.toml", text: &own }];
    let covenant = Covenant::from_toml_parts(&parts, &mut |name| Ok(read(name))).unwrap();
    Arc::new(Compiled::new(covenant).unwrap())
}

/// The model covenant among all eight roles.
static LAW: LazyLock<Arc<Compiled>> = LazyLock::new(|| load(|text| text));

/// The example partnership numbers its parties, and the seeds of their keys, in the order of [`Role::ALL`].
fn number(role: Role) -> u8 {
    u8::try_from(Role::ALL.iter().position(|one| *one == role).unwrap() + 1).unwrap()
}

fn case_at(at: At) -> CaseId {
    match at {
        At::Closed => CaseId([99; 16]),
        At::Step(step) => {
            CaseId([u8::try_from(Step::ALL.iter().position(|one| *one == step).unwrap()).unwrap(); 16])
        }
    }
}

fn chain(covenant: &Compiled, at: At) -> Vec<Decided> {
    let until = if let At::Step(step) = at { step } else { Step::S7 };
    let mut acts: Vec<_> =
        Step::ALL.iter().take_while(|one| **one <= until).map(|one| Act::Step(*one)).collect();
    acts.insert(1, Act::Condition { code: "strafrechtelijk".into(), holds: true });
    if at == At::Closed {
        acts.push(Act::Close);
    }
    let mut chain: Vec<Decided> = Vec::new();
    for act in acts {
        chain.push(decided(covenant, case_at(at), &chain, Role::Gemeente, act));
    }
    chain
}

fn decided(covenant: &Compiled, case: CaseId, chain: &[Decided], role: Role, act: Act) -> Decided {
    let seq = u32::try_from(chain.len()).unwrap();
    let at = NOW.minus(Span::minutes(1)).plus(Span::seconds(u64::from(seq)));
    let decision = CaseDecision {
        format: 1,
        covenant: covenant.hash(),
        case,
        seq,
        previous: chain.last().map(|last| sha256(&last.decision)),
        party: oin(number(role)),
        act,
        issued: at,
    };
    Decided { decision: Bytes(decision.sign(&signer(number(role)))), at }
}

/// Eight agents, connected to a broker that checks nothing, under a covenant that these signed; each knows
/// every case.
fn partnership(covenant: &Arc<Compiled>, signed: &[Role]) -> (Broker, Vec<Node>) {
    let mut broker = Broker::new();
    let states: Vec<At> = Step::ALL.iter().map(|step| At::Step(*step)).chain([At::Closed]).collect();
    broker.cases = states.iter().map(|at| (case_at(*at), chain(covenant, *at))).collect();
    let mut nodes: Vec<Node> = (1..=8).map(Node::new).collect();
    let at = NOW.minus(Span::days(1));
    let casts: Vec<_> = signed.iter().map(|role| cast(covenant, number(*role), Word::Accept, at)).collect();
    for node in &mut nodes {
        node.step(
            [Input::Covenant {
                had: (0, 0),
                compiled: Arc::clone(covenant),
                casts: casts.clone(),
                rotations: vec![],
            }],
            NOW,
        );
    }
    for _ in 0..2 {
        for node in &mut nodes {
            broker.connect(node, NOW);
        }
    }
    for node in &mut nodes {
        node.step(states.iter().map(|at| Input::LookAtCase(case_at(*at))), NOW);
        broker.serve(node, NOW);
    }
    (broker, nodes)
}

fn everybody() -> (Broker, Vec<Node>) {
    partnership(&LAW, Role::ALL)
}

fn of(nodes: &mut [Node], role: Role) -> &mut Node {
    &mut nodes[usize::from(number(role)) - 1]
}

fn id(number: usize) -> [u8; 16] {
    let mut id = [1; 16];
    id[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
    id
}

fn request(right: &Right, case: At, body: Vec<u8>, number: usize) -> PushRequest {
    let to = right.to.iter().map(|role| Target::Role(*role)).collect();
    PushRequest {
        step: Some(right.step),
        case: right.case.then(|| case_at(case)),
        message_type: Some(right.message_type.clone()),
        basis: right.basis.clone(),
        covenant: Some(LAW.hash()),
        ..PushRequest::new(MsgId(id(number)), &right.flow, to, body)
    }
}

fn push(nodes: &mut [Node], role: Role, request: PushRequest) -> Result<(), Rejection> {
    of(nodes, role).push(request, NOW).map(|_| ())
}

fn bytes(right: &Right) -> Vec<u8> {
    serde_json::to_vec(&right.body).unwrap()
}

/// A packet that no agent would make.
fn sealed(
    broker: &Broker,
    covenant: &Compiled,
    wrong: &Wrong,
    declared: Declared,
    body: &[u8],
    n: usize,
) -> Vec<u8> {
    let right = &wrong.right;
    let keys: Vec<_> = right
        .to
        .iter()
        .map(|role| {
            let (oin, key) = (oin(number(*role)), signer(number(*role)).public());
            let bundle = PrekeyBundle::verify(&broker.bundles[&oin], &oin, &[key]).unwrap();
            (oin, bundle.usable(NOW).unwrap().public.clone())
        })
        .collect();
    let from = number(right.from);
    let mut context = Context {
        version: VERSION,
        msg_id: MsgId(id(n)),
        covenant: covenant.hash(),
        flow: right.flow.clone(),
        case: right.case.then(|| case_at(wrong.case)),
        declared,
        sender: oin(from),
        signer: signer(from).public().thumbprint(),
        recipients: keys.iter().map(|(oin, key)| Recipient { oin: *oin, prekey: key.id() }).collect(),
        seq: 1,
        prev: None,
        issued: NOW,
        expires: NOW.plus(Span::days(1)),
        in_reply_to: None,
        trace: TraceId(id(n)),
        commitment: Digest([0; 32]),
    };
    let chance = SealRandomness { key: [1; 32], iv: [2; 12], salt: [3; 32] };
    let keys: Vec<_> = keys.iter().map(|(_, key)| key).collect();
    let provenance = Provenance::own(oin(from), Handling::Consent);
    let plain = Plain { media_type: MEDIA_TYPE, provenance: &provenance, body };
    seal(&Toy::default(), &mut context, &keys, plain, &chance, &signer(from)).unwrap().bytes
}

/// What a recipient makes of a packet that broker and sender let through; its inbox has not one more body
/// when it refuses.
fn outcome(broker: &mut Broker, nodes: &mut [Node], to: Role, packet: &[u8]) -> Option<Refusal> {
    let offer = broker.offer(packet, oin(number(to)), NOW);
    let node = of(nodes, to);
    let before = node.bodies().len();
    node.step([Input::Offer(Box::new(offer))], NOW);
    broker.serve(node, NOW);
    let items = node.acknowledged();
    assert_eq!(items.len(), 1, "answered");
    let refusal = Refusal::from_number(items[0].outcome);
    assert_eq!(node.bodies().len() - before, usize::from(refusal.is_none()), "{refusal:?}");
    refusal
}

fn declare(right: &Right) -> Declared {
    let basis = right.basis.as_deref();
    LAW.declare(&right.flow, &right.message_type, right.step, basis, &bytes(right)).unwrap()
}

/// What the wrong statement declares.
fn declared(wrong: &Wrong) -> Declared {
    let mut declared = declare(&wrong.right);
    declared.level = wrong.level.unwrap_or(declared.level);
    let mut categories: BTreeSet<String> = declared.categories.into_iter().collect();
    categories.extend(wrong.category.map(str::to_owned));
    declared.categories = categories.into_iter().collect();
    declared
}

fn unspoiled(right: Right) -> Wrong {
    let case = At::Step(right.step);
    Wrong { rule: "none", right, case, level: None, category: None, field: None, declared: &[] }
}

#[test]
fn what_is_right_passes_sender_and_recipient() {
    let (mut broker, mut nodes) = everybody();
    for (n, right) in Right::all().into_iter().enumerate() {
        let case = At::Step(right.step);
        let pushed = push(&mut nodes, right.from, request(&right, case, bytes(&right), n));
        assert!(pushed.is_ok(), "{}: {pushed:?}", right.file);
        let (to, declared, body) = (right.to.clone(), declare(&right), bytes(&right));
        let packet = sealed(&broker, &LAW, &unspoiled(right), declared, &body, n);
        for to in to {
            assert_eq!(outcome(&mut broker, &mut nodes, to, &packet), None);
        }
    }
}

#[test]
fn the_sender_refuses_what_is_forbidden() {
    let (_, mut nodes) = everybody();
    for (n, wrong) in forbidden(&LAW).iter().enumerate() {
        let case = wrong.case;
        let pushed = push(&mut nodes, wrong.right.from, request(&wrong.right, case, wrong.body(), n));
        let rejection = pushed.expect_err(&format!("{} {}", wrong.rule, wrong.right.file));
        if let Some(field) = wrong.field {
            assert_eq!(rejection.refusal, CONTENT, "{} {}", wrong.rule, wrong.right.file);
            let (nl, en) = rejection.detail.unwrap();
            assert!(nl.contains(field) && en.contains(field), "the field is named: {en}");
        } else {
            let wanted = wrong.declared.contains(&rejection.refusal);
            assert!(wanted, "{} {}: {rejection:?}", wrong.rule, wrong.right.file);
        }
    }
    for node in &mut nodes {
        assert!(node.submitted().is_empty(), "nothing left");
    }
}

#[test]
fn the_recipient_quarantines_what_is_forbidden() {
    let (mut broker, mut nodes) = everybody();
    for (n, wrong) in forbidden(&LAW).iter().enumerate() {
        let says = |refusal: Option<Refusal>, allowed: &[Refusal]| {
            let good = refusal.is_some_and(|refusal| allowed.contains(&refusal));
            assert!(good, "{} {}: {refusal:?}", wrong.rule, wrong.right.file);
        };
        let to = wrong.right.to[0];
        // What the statement itself admits.
        if wrong.field.is_none() || wrong.level.is_some() {
            let body = bytes(&wrong.right);
            let packet = sealed(&broker, &LAW, wrong, declared(wrong), &body, 2 * n);
            says(outcome(&mut broker, &mut nodes, to, &packet), wrong.declared);
        }
        // What it hides.
        if wrong.field.is_some() {
            let right = declare(&wrong.right);
            let packet = sealed(&broker, &LAW, wrong, right, &wrong.body(), 2 * n + 1);
            says(outcome(&mut broker, &mut nodes, to, &packet), &[CONTENT]);
        }
    }
}

#[test]
fn only_messages_about_messages_reach_a_closed_case() {
    let (mut broker, mut nodes) = everybody();
    for (n, right) in
        Right::all().into_iter().enumerate().filter(|(_, one)| SERVICE.contains(&one.flow.as_str()))
    {
        let mut right = right;
        right.case = true;
        push(&mut nodes, right.from, request(&right, At::Closed, bytes(&right), n)).unwrap();
        let (to, declared, body) = (right.to[0], declare(&right), bytes(&right));
        let closed = Wrong { case: At::Closed, ..unspoiled(right) };
        let packet = sealed(&broker, &LAW, &closed, declared, &body, n);
        assert_eq!(outcome(&mut broker, &mut nodes, to, &packet), None);
    }
}

fn sample(flow: &str) -> Right {
    Right::all().into_iter().find(|right| right.flow == flow).unwrap()
}

/// Sender and recipient under another covenant.
fn under(covenant: &Arc<Compiled>, signed: &[Role], flow: &str) -> [Option<Refusal>; 2] {
    let (mut broker, mut nodes) = partnership(covenant, signed);
    let right = sample(flow);
    let mut asked = request(&right, At::Step(right.step), bytes(&right), 1);
    asked.covenant = Some(covenant.hash());
    let sent = push(&mut nodes, right.from, asked).err().map(|rejection| rejection.refusal);
    let (to, declared, body) = (right.to[0], declare(&right), bytes(&right));
    let packet = sealed(&broker, covenant, &unspoiled(right), declared, &body, 1);
    [sent, outcome(&mut broker, &mut nodes, to, &packet)]
}

#[test]
fn police_data_for_youth_work_stops_where_no_decision_covers_it() {
    assert_eq!(under(&LAW, Role::ALL, "F13"), [None, None]);
    let without = load(|text| {
        let (head, rest) = text.split_once("[[decisions]]").unwrap();
        format!("{head}[[parties]]{}", rest.split_once("[[parties]]").unwrap().1)
    });
    assert_eq!(under(&without, Role::ALL, "F13"), [Some(Refusal::DecisionMissing); 2]);
    let elsewhere = load(|text| text.replace("[\"jongerenwerk\", \"pga\", \"lokaal_team\"]", "[\"pga\"]"));
    assert_eq!(under(&elsewhere, Role::ALL, "F13"), [Some(Refusal::DecisionMissing); 2]);
    let over = load(|text| text.replace("expires = \"2028-01-01\"", "expires = \"2026-05-01\""));
    assert_eq!(under(&over, Role::ALL, "F13"), [Some(Refusal::DecisionMissing); 2]);
}

#[test]
fn nothing_passes_between_parties_of_which_one_has_not_signed() {
    let others = |absent: Role| Role::ALL.iter().copied().filter(|role| *role != absent).collect::<Vec<_>>();
    let covenant = load(|text| {
        text.replace("may_be_absent = true\n", "")
            .replace("\nsigning_keys", "\nmay_be_absent = true\nsigning_keys")
    });
    let youth = others(Role::Jongerenwerk);
    // The sender has not signed; its own agent then has no covenant at all.
    let [sent, received] = under(&covenant, &youth, "F01");
    assert!(matches!(sent, Some(Refusal::UnknownCovenant | Refusal::NotSigned)), "{sent:?}");
    assert_eq!(received, Some(Refusal::NotSigned));
    let [sent, received] = under(&covenant, &youth, "F13");
    assert_eq!(sent, Some(Refusal::NotSigned));
    assert!(matches!(received, Some(Refusal::UnknownCovenant | Refusal::NotSigned)), "{received:?}");
}

#[test]
fn nothing_passes_outside_the_time_of_covenant_and_packet() {
    let over = load(|text| {
        text.replace("valid_from = \"2026-01-01\"", "valid_from = \"2025-01-01\"")
            .replace("valid_until = \"2028-01-01\"", "valid_until = \"2026-05-01\"")
            .replace("evaluation = \"2027-01-01\"", "evaluation = \"2026-01-01\"")
    });
    assert_eq!(under(&over, Role::ALL, "F01"), [Some(Refusal::CovenantNotInForce); 2]);
    let (mut broker, mut nodes) = everybody();
    let right = sample("F01");
    let old = PushRequest { ttl: Some(Span(0)), ..request(&right, At::Step(Step::S1), bytes(&right), 1) };
    assert_eq!(push(&mut nodes, right.from, old).unwrap_err().refusal, Refusal::TtlTooLong);
    let packet = sealed(&broker, &LAW, &unspoiled(right.clone()), declare(&right), &bytes(&right), 1);
    let entered: Timestamp = NOW.plus(Span::days(2));
    let offer = broker.offer(&packet, oin(1), entered);
    let node = of(&mut nodes, Role::Gemeente);
    node.step([Input::Offer(Box::new(offer))], entered);
    assert_eq!(node.acknowledged()[0].outcome, Refusal::Expired.number());
}

#[test]
fn nobody_but_the_coordinator_moves_a_case() {
    let (mut broker, mut nodes) = everybody();
    let case = case_at(At::Step(Step::S2A));
    for role in Role::ALL.iter().copied().filter(|role| *role != Role::Gemeente) {
        for act in [Act::Step(Step::S2B), Act::Step(Step::S1), Act::Close] {
            let asked = Input::Decide { token: 1, case, covenant: Some(LAW.hash()), act: Some(act.clone()) };
            let turn = of(&mut nodes, role).step([asked], NOW);
            let (_, answer) = turn.answers.into_iter().next().unwrap();
            assert_eq!(answer.unwrap_err().refusal, Refusal::NotTheMover, "{role}");
            // A broker that lets it pass convinces nobody.
            let mut chain = chain(&LAW, At::Step(Step::S2A));
            chain.push(decided(&LAW, case, &chain, role, act));
            let node = of(&mut nodes, Role::Jongerenwerk);
            node.step([Input::Case(case, Some(chain))], NOW);
            let known = node.core.agreed().cases().state(&case).unwrap().events().count();
            assert_eq!(known, 3, "{role}");
            assert!(node.alarms().contains(&AlarmKind::CaseRefused), "{role}");
            broker.serve(node, NOW);
        }
    }
}
