//! A partnership in memory for tests: the model covenant with four parties, a broker that keeps a real
//! tree, toy encryption, and agents whose rows survive a restart.

mod broker;
mod node;

use std::sync::{Arc, LazyLock};

use seinhuis_shared::case::{Act, CaseDecision};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::{Cast, Vote, Word};
use seinhuis_shared::covenant::{Compiled, Covenant, Part, Step};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::rotation::{Rotated, Rotation};
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shared::wire::Decided;

pub(crate) use self::broker::Broker;
pub(crate) use self::node::Node;
pub(crate) use crate::toy::{Toy, ToyNames};
use crate::{Input, PushRequest, Target};

pub(crate) const ORIGIN: &str = "broker.example/uitwisseling/2026";
/// The case of the tests.
pub(crate) const CASE: CaseId = CaseId([7; 16]);
pub(crate) const NOW: Timestamp = Timestamp(1_780_000_000_000);

pub(crate) fn after(span: Span) -> Timestamp {
    NOW.plus(span)
}

/// Organisations by number: 1 municipality, 2 police, 3 youth work, 4 enforcement officers.
pub(crate) fn oin(number: u8) -> Oin {
    format!("0000009900000000{number}000").parse().unwrap()
}

pub(crate) fn signer(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

/// With which an organisation cosigns the log.
pub(crate) fn witness(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number + 100; 32])
}

fn folder() -> String {
    format!("{}/../../covenants", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", folder())).unwrap()
}

/// The model covenant between the four with a witness key for each: two of them have to cosign.
pub(crate) static WATCHED: LazyLock<Arc<Compiled>> = LazyLock::new(|| {
    let mut covenant = COVENANT.covenant().clone();
    for (number, party) in (1..).zip(&mut covenant.parties) {
        party.witness_key = Some(Bytes(witness(number).public().to_bytes().to_vec()));
    }
    covenant.id = "watched".into();
    Arc::new(Compiled::new(covenant).unwrap())
});

/// The model covenant between the four, valid between these dates.
pub(crate) fn covenant(version: u32, from: &str, until: &str) -> Arc<Compiled> {
    use std::fmt::Write as _;
    let mut own = format!(
        "[partnership]\nid = \"test\"\nversion = {version}\ntitle = \"Test\"\nowner = \"{}\"\nvalid_from = \"{from}\"\nvalid_until = \"{until}\"\nevaluation = \"{from}\"\ncontact = \"x@x.example\"\n",
        oin(1)
    );
    if version > 1 {
        let version = u8::try_from(version).unwrap();
        _ = writeln!(own, "previous = \"{}\"", Digest([version; 32]));
    }
    for (number, role) in [(1, "gemeente"), (2, "politie"), (3, "jongerenwerk"), (4, "boa")] {
        let key = data_encoding::HEXLOWER.encode(&signer(number).public().to_bytes());
        _ = writeln!(
            own,
            "[[parties]]\noin = \"{}\"\nrole = \"{role}\"\nname = \"{role}\"\ncontact = \"x@x.example\"\nsigning_keys = [\"{key}\"]",
            oin(number)
        );
    }
    let model = read("model.toml");
    let parts = [Part { name: "model.toml", text: &model }, Part { name: "own.toml", text: &own }];
    let covenant = Covenant::from_toml_parts(&parts, &mut |name| Ok(read(name))).unwrap();
    Arc::new(Compiled::new(covenant).unwrap())
}

pub(crate) static COVENANT: LazyLock<Arc<Compiled>> =
    LazyLock::new(|| covenant(1, "2026-01-01", "2028-01-01"));

/// A party's word about a version, as the broker logged it.
pub(crate) fn cast(compiled: &Compiled, number: u8, word: Word, at: Timestamp) -> Cast {
    let vote = Vote {
        format: 1,
        covenant: compiled.hash(),
        party: oin(number),
        word,
        issued: at,
        reason: String::new(),
    };
    Cast { vote: Bytes(vote.sign(&signer(number))), at }
}

/// The rotation of an organisation's first key to another, as the broker logged it.
pub(crate) fn rotated(number: u8, new: &SigningKey, at: Timestamp) -> Rotated {
    let old = signer(number);
    let rotation = Rotation {
        party: oin(number),
        seq: 1,
        previous: None,
        old: old.public(),
        new: new.public(),
        issued: at,
    };
    Rotated { rotation: Bytes(rotation.sign(&old, new)), at }
}

/// A version that all four accepted.
pub(crate) fn accepted(compiled: &Arc<Compiled>) -> Input {
    let at = NOW.minus(Span::days(1));
    let casts = (1..=4).map(|number| cast(compiled, number, Word::Accept, at)).collect();
    Input::Covenant { had: (0, 0), compiled: Arc::clone(compiled), casts, rotations: vec![] }
}

/// How much the last question for a version says is here.
pub(crate) fn version_asked(node: &mut Node) -> crate::Extent {
    let all = node.take_sends().into_iter().filter_map(|send| {
        let crate::Send::FetchCovenant(_, had) = send else { return None };
        Some(had)
    });
    all.last().unwrap()
}

/// The body of a sample.
pub(crate) fn sample(name: &str) -> Vec<u8> {
    let text = read(&format!("samples/{name}"));
    let (_, body) = text.split_once("\"body\": ").unwrap();
    body.trim_end().strip_suffix('}').unwrap().trim_end().as_bytes().to_vec()
}

pub(crate) const SIGNAL: &str = "01-F01-jongerenwerk-signaal.json";
pub(crate) const REQUEST: &str = "04-F04-verzoek-aan-drie-partijen.json";

/// A push on F01 (youth work to municipality), with an id of its own.
pub(crate) fn signal(id: u8) -> PushRequest {
    request(id, "F01", &[1], SIGNAL)
}

/// A push on F04 (municipality to police, youth work, officers).
pub(crate) fn inquiry(id: u8, to: &[u8]) -> PushRequest {
    request(id, "F04", to, REQUEST)
}

pub(crate) fn request(id: u8, flow: &str, to: &[u8], body: &str) -> PushRequest {
    let to = to.iter().map(|number| Target::Oin(oin(*number))).collect();
    PushRequest { step: Some(Step::S1), ..PushRequest::new(MsgId([id; 16]), flow, to, sample(body)) }
}

pub(crate) fn log_signer(fill: u8) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[fill; 32])
}

pub(crate) fn log_key() -> LogKey {
    let key = VerifierKey::new(ORIGIN, log_signer(99).verifying_key()).unwrap();
    LogKey { origin: ORIGIN.into(), key }
}

/// A decision about a case that follows on `chain`, signed by a party.
pub(crate) fn decision(chain: &[Decided], number: u8, act: Act, at: Timestamp) -> Decided {
    let previous = chain.last().map(|last| sha256(&last.decision));
    let decision = CaseDecision {
        format: 1,
        covenant: COVENANT.hash(),
        case: CASE,
        seq: u32::try_from(chain.len()).unwrap(),
        previous,
        party: oin(number),
        act,
        issued: at,
    };
    Decided { decision: Bytes(decision.sign(&signer(number))), at }
}

/// The case that is moved to a step, one second for each.
pub(crate) fn moved(until: Step) -> Vec<Decided> {
    let mut chain = vec![];
    for step in [Step::S1, Step::S2A, Step::S2B, Step::S3].into_iter().take_while(|step| *step <= until) {
        let at = NOW.minus(Span::minutes(1)).plus(Span::seconds(u64::try_from(chain.len()).unwrap()));
        let next = decision(&chain, 1, Act::Step(step), at);
        chain.push(next);
    }
    chain
}

/// All four agents connected to one broker, each with everybody's prekeys.
pub(crate) fn partnership() -> (Broker, [Node; 4]) {
    let mut broker = Broker::new();
    let mut nodes = [1, 2, 3, 4].map(Node::new);
    for _ in 0..2 {
        for node in &mut nodes {
            broker.connect(node, NOW);
        }
    }
    for node in &mut nodes {
        node.events.clear();
    }
    (broker, nodes)
}
