//! Who takes part, the covenant between them, and what they send.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use seinhuis_agent_core::{PushRequest, Target};
use seinhuis_shared::covenant::agreement::{Vote, Word};
use seinhuis_shared::covenant::{Compiled, Covenant, Part, Role, Step};
use seinhuis_shared::ids::{Digest, MsgId, Oin};
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::note::{ED25519, KeyText, VerifierKey};

use super::oracle::{Broken, Violation};
use crate::samples;

/// When every history begins.
pub(super) const NOW: Timestamp = Timestamp(1_780_000_000_000);
/// The origin of the broker's log.
pub(super) const ORIGIN: &str = "broker.example/uitwisseling/2026";
/// The partners' roles, from partner 1 on.
pub(super) const ROLES: [(u8, &str); 4] = [(1, "gemeente"), (2, "politie"), (3, "jongerenwerk"), (4, "boa")];
/// What honest partners send: flow, sender, recipients, sample.
pub(super) const FLOWS: [(&str, u8, &[u8], &str); 4] = [
    ("F01", 3, &[1], "01-F01-jongerenwerk-signaal.json"),
    ("F02", 2, &[1], "02-F02-politie-signaal.json"),
    ("F03", 4, &[1], "03-F03-boa-signaal.json"),
    ("F04", 1, &[2, 3, 4], "04-F04-verzoek-aan-drie-partijen.json"),
];

/// Something in the set-up of a world that cannot be.
pub(super) fn setup(error: impl std::fmt::Display) -> Violation {
    Violation::new(Broken::Setup, error.to_string())
}

pub(super) fn oin(number: u8) -> Result<Oin, Violation> {
    format!("0000009900000000{number}000").parse().map_err(|_| setup("no OIN"))
}

pub(super) fn signer(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn log_signer() -> SigningKey {
    signer(99)
}

pub(super) fn log_public() -> seinhuis_shared::signing::PublicKey {
    log_signer().public()
}

pub(super) fn log_key() -> Result<LogKey, Violation> {
    let text = KeyText::new(ORIGIN, ED25519, &log_public().to_bytes()).map_err(setup)?;
    let key = VerifierKey::new(ORIGIN, text.ed25519(ED25519).map_err(setup)?).map_err(setup)?;
    Ok(LogKey { origin: ORIGIN.into(), key })
}

/// The signed checkpoint of a tree.
pub(super) fn sign(key: &LogKey, size: u64, root: Digest) -> Result<Vec<u8>, Violation> {
    let checkpoint = Checkpoint::new(ORIGIN, size, root).map_err(setup)?;
    let note = checkpoint.sign_with(&key.key, |bytes| log_signer().sign(bytes)).map_err(setup)?;
    Ok(note.to_string().into_bytes())
}

/// A covenant, ready for use.
type Ready = Result<Arc<Compiled>, Violation>;

/// The model covenant between the four.
static COVENANT: LazyLock<Ready> = LazyLock::new(|| covenant(false));
/// The same, with a flow open to one role more.
static WIDE: LazyLock<Ready> = LazyLock::new(|| covenant(true));

/// The covenant that the partners agreed, or the one with too much in it.
pub(super) fn compiled(wide: bool) -> Ready {
    if wide { WIDE.clone() } else { COVENANT.clone() }
}

fn covenant(wide: bool) -> Ready {
    let folder = samples::covenants();
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    let mut own = format!(
        "[partnership]\nid = \"simulation\"\nversion = 1\ntitle = \"Simulation\"\nowner = \"{}\"\nvalid_from = \"2026-01-01\"\nvalid_until = \"2028-01-01\"\nevaluation = \"2027-01-01\"\ncontact = \"x@x.example\"\n",
        oin(1)?
    );
    for (number, role) in ROLES {
        let mut key = String::new();
        for byte in signer(number).public().to_bytes() {
            write!(key, "{byte:02x}").map_err(setup)?;
        }
        writeln!(
            own,
            "[[parties]]\noin = \"{}\"\nrole = \"{role}\"\nname = \"{role}\"\ncontact = \"x@x.example\"\nsigning_keys = [\"{key}\"]",
            oin(number)?
        )
        .map_err(setup)?;
    }
    let model = read("model.toml").map_err(setup)?;
    let parts = [Part { name: "model.toml", text: &model }, Part { name: "own.toml", text: &own }];
    let mut load = |name: &str| read(name).map_err(|error| error.to_string());
    let mut covenant = Covenant::from_toml_parts(&parts, &mut load).map_err(setup)?;
    for flow in covenant.flows.iter_mut().filter(|flow| wide && flow.id == "F01") {
        for route in &mut flow.routes {
            route.from.push(Role::Boa);
        }
    }
    Ok(Arc::new(Compiled::new(covenant).map_err(setup)?))
}

/// A party's acceptance of the covenant.
pub(super) fn vote(compiled: &Compiled, number: u8) -> Result<Vec<u8>, Violation> {
    let vote = Vote {
        format: 1,
        covenant: compiled.hash(),
        party: oin(number)?,
        word: Word::Accept,
        issued: NOW,
        reason: String::new(),
    };
    Ok(vote.sign(&signer(number)))
}

/// The body of a sample.
pub(super) fn body(name: &str) -> Result<Vec<u8>, Violation> {
    let text = std::fs::read_to_string(samples::covenants().join("samples").join(name)).map_err(setup)?;
    let sample: serde_json::Value = serde_json::from_str(&text).map_err(setup)?;
    serde_json::to_vec(&sample["body"]).map_err(setup)
}

/// One push, as a person or system makes it.
pub(super) fn request(
    id: MsgId,
    (flow, _, to, sample): (&str, u8, &[u8], &str),
    ttl: Option<Span>,
) -> Result<PushRequest, Violation> {
    Ok(PushRequest {
        msg_id: id,
        flow: flow.into(),
        to: to.iter().map(|number| Ok(Target::Oin(oin(*number)?))).collect::<Result<_, Violation>>()?,
        step: Some(Step::S1),
        case: None,
        message_type: None,
        basis: None,
        covenant: None,
        ttl,
        in_reply_to: None,
        trace: None,
        source: None,
        handling: None,
        body: body(sample)?,
    })
}
