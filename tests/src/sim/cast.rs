//! Who takes part, the covenant between them, and what they send.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use seinhuis_agent_core::{PushRequest, Target};
use seinhuis_broker_core::Command;
use seinhuis_shared::covenant::agreement::{Vote, Word};
use seinhuis_shared::covenant::{Compiled, Covenant, Part, Role, Step};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::signing::{PublicKey, SigningKey};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::note::{ED25519, KeyText, VerifierKey};

use super::oracle::{Broken, Violation};
use crate::samples;

/// When most histories begin.
pub(super) const NOW: Timestamp = Timestamp(1_780_000_000_000);
/// When 2027 begins.
pub(super) const NEW_YEAR: Timestamp = Timestamp(1_798_761_600_000);
/// The origin of the broker's log.
pub(super) const ORIGIN: &str = "broker.example/uitwisseling/2026";
/// The partners' roles, from partner 1 on.
pub(super) const ROLES: [(u8, &str); 4] = [(1, "gemeente"), (2, "politie"), (3, "jongerenwerk"), (4, "boa")];
/// The case that some messages are about.
pub(super) const CASE: CaseId = CaseId([7; 16]);

/// What an honest partner sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    pub(super) name: &'static str,
    pub(super) from: u8,
    to: &'static [u8],
    step: Step,
    case: bool,
    sample: &'static str,
}

impl Flow {
    /// Whether a person has to release what is sent on it.
    pub(super) fn names_persons(&self) -> bool {
        self.step == Step::S2B
    }
}

const fn flow(name: &'static str, from: u8, to: &'static [u8], sample: &'static str) -> Flow {
    Flow { name, from, to, step: Step::S1, case: false, sample }
}

const YOUTH_WORK: Flow = flow("F01", 3, &[1], "01-F01-jongerenwerk-signaal.json");
const POLICE: Flow = flow("F02", 2, &[1], "02-F02-politie-signaal.json");
const OFFICERS: Flow = flow("F03", 4, &[1], "03-F03-boa-signaal.json");
const TO_THREE: Flow = flow("F04", 1, &[2, 3, 4], "04-F04-verzoek-aan-drie-partijen.json");

/// What honest partners send that is about no case.
pub(super) const FLOWS: [Flow; 4] = [YOUTH_WORK, POLICE, OFFICERS, TO_THREE];
/// What they send about a case. Each waits for the step of the case in which it may go; the last two, which name
/// persons, for a person's release as well.
pub(super) const CASE_FLOWS: [Flow; 4] = [
    Flow { case: true, ..YOUTH_WORK },
    Flow { case: true, ..TO_THREE },
    Flow { step: Step::S2B, case: true, ..flow("F08", 3, &[1], "08-F08-jongerenwerk-namen.json") },
    Flow { step: Step::S2B, case: true, ..flow("F09", 2, &[1], "09-F09-politie-namen.json") },
];

/// Something in the set-up of a world that cannot be.
pub(crate) fn setup(error: impl std::fmt::Display) -> Violation {
    Violation::new(Broken::Setup, error.to_string())
}

pub(super) fn oin(number: u8) -> Result<Oin, Violation> {
    format!("0000009900000000{number}000").parse().map_err(|_| setup("no OIN"))
}

pub(super) fn signer(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

/// The key with which a partner cosigns the log.
pub(super) fn witness(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number + 40; 32])
}

static LOG_SIGNER: LazyLock<SigningKey> = LazyLock::new(|| signer(99));

pub(super) fn log_public() -> PublicKey {
    LOG_SIGNER.public()
}

/// The command that lets a partner in.
pub(super) fn partner(number: u8, role: &str) -> Result<Command, Violation> {
    Ok(Command::AddPartner { oin: oin(number)?, name: role.into(), key: signer(number).public() })
}

/// The key of a log of this broker: all are signed with the same.
pub(super) fn log_key(origin: &str) -> Result<LogKey, Violation> {
    static OWN: LazyLock<Result<LogKey, Violation>> = LazyLock::new(|| key_of(ORIGIN));
    if origin == ORIGIN { OWN.clone() } else { key_of(origin) }
}

fn key_of(origin: &str) -> Result<LogKey, Violation> {
    let text = KeyText::new(origin, ED25519, &log_public().to_bytes()).map_err(setup)?;
    let key = VerifierKey::new(origin, text.ed25519(ED25519).map_err(setup)?).map_err(setup)?;
    Ok(LogKey { origin: origin.into(), key })
}

/// The signed checkpoint of a tree.
pub(super) fn sign(origin: &str, size: u64, root: Digest) -> Result<Vec<u8>, Violation> {
    let key = log_key(origin)?;
    let checkpoint = Checkpoint::new(origin, size, root).map_err(setup)?;
    let note = checkpoint.sign_with(&key.key, |bytes| LOG_SIGNER.sign(bytes)).map_err(setup)?;
    Ok(note.to_string().into_bytes())
}

/// A covenant, ready for use.
type Ready = Result<Arc<Compiled>, Violation>;

/// Which covenant the partners agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// The model covenant between the four.
    Plain,
    /// The same, with a flow open to one role more.
    Wide,
    /// The same as the first, and two of the four have to cosign the log.
    Witnessed,
    /// The same, and three of the four have to: so many that no two histories get a quorum, also when one of the four
    /// cosigns both.
    Guarded,
}

impl Model {
    /// Whether somebody has to cosign the log.
    pub(super) const fn has_witnesses(self) -> bool {
        matches!(self, Self::Witnessed | Self::Guarded)
    }
}

/// The first version of a covenant.
pub(super) fn compiled(model: Model) -> Ready {
    static ALL: LazyLock<[Ready; 4]> = LazyLock::new(|| {
        let keys = ROLES.map(|(number, _)| signer(number).public());
        [Model::Plain, Model::Wide, Model::Witnessed, Model::Guarded]
            .map(|model| covenant(model, None, &keys))
    });
    let place = match model {
        Model::Plain => 0,
        Model::Wide => 1,
        Model::Witnessed => 2,
        Model::Guarded => 3,
    };
    ALL[place].clone()
}

/// The version that takes the first one's place, with the keys that the partners sign with when it is drawn up.
pub(super) fn next(model: Model, keys: &[PublicKey]) -> Ready {
    covenant(model, Some(compiled(model)?.hash()), keys)
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

fn covenant(model: Model, previous: Option<Digest>, keys: &[PublicKey]) -> Ready {
    let folder = samples::covenants();
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    let version = if previous.is_some() { 2 } else { 1 };
    let mut own = format!(
        "[partnership]\nid = \"simulation\"\nversion = {version}\ntitle = \"Simulation\"\nowner = \"{}\"\nvalid_from = \"2026-01-01\"\nvalid_until = \"2028-01-01\"\nevaluation = \"2027-01-01\"\ncontact = \"x@x.example\"\n",
        oin(1)?
    );
    if let Some(previous) = previous {
        writeln!(own, "previous = \"{}\"", hex(previous.0)).map_err(setup)?;
    }
    for ((number, role), key) in ROLES.into_iter().zip(keys) {
        let key = hex(key.to_bytes());
        writeln!(
            own,
            "[[parties]]\noin = \"{}\"\nrole = \"{role}\"\nname = \"{role}\"\ncontact = \"x@x.example\"\nsigning_keys = [\"{key}\"]",
            oin(number)?
        )
        .map_err(setup)?;
        if model.has_witnesses() {
            let key = hex(witness(number).public().to_bytes());
            writeln!(own, "witness_key = \"{key}\"").map_err(setup)?;
        }
    }
    let text = read("model.toml").map_err(setup)?;
    let parts = [Part { name: "model.toml", text: &text }, Part { name: "own.toml", text: &own }];
    let mut load = |name: &str| read(name).map_err(|error| error.to_string());
    let mut covenant = Covenant::from_toml_parts(&parts, &mut load).map_err(setup)?;
    if model == Model::Guarded {
        covenant.witness_quorum = 3;
    }
    for flow in covenant.flows.iter_mut().filter(|flow| model == Model::Wide && flow.id == "F01") {
        for route in &mut flow.routes {
            route.from.push(Role::Boa);
        }
    }
    Ok(Arc::new(Compiled::new(covenant).map_err(setup)?))
}

/// A party's acceptance of the covenant.
pub(super) fn vote(compiled: &Compiled, number: u8, issued: Timestamp) -> Result<Vec<u8>, Violation> {
    let vote = Vote {
        format: 1,
        covenant: compiled.hash(),
        party: oin(number)?,
        word: Word::Accept,
        issued,
        reason: String::new(),
    };
    Ok(vote.sign(&signer(number)))
}

/// The body of a sample.
pub(super) fn body(name: &str) -> Result<Vec<u8>, Violation> {
    static READ: LazyLock<Mutex<BTreeMap<String, Vec<u8>>>> = LazyLock::new(Mutex::default);
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(body) = read.get(name) {
        return Ok(body.clone());
    }
    let text = std::fs::read_to_string(samples::covenants().join("samples").join(name)).map_err(setup)?;
    let sample: serde_json::Value = serde_json::from_str(&text).map_err(setup)?;
    let body = serde_json::to_vec(&sample["body"]).map_err(setup)?;
    read.insert(name.into(), body.clone());
    Ok(body)
}

/// One push, as a person or system makes it.
pub(super) fn request(id: MsgId, flow: &Flow, ttl: Option<Span>) -> Result<PushRequest, Violation> {
    let to = flow.to.iter().map(|number| Ok(Target::Oin(oin(*number)?))).collect::<Result<_, Violation>>()?;
    Ok(PushRequest {
        step: Some(flow.step),
        case: flow.case.then_some(CASE),
        ttl,
        ..PushRequest::new(id, flow.name, to, body(flow.sample)?)
    })
}
