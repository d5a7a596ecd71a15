//! The files' form: JSON, bytes in hexadecimal.

use data_encoding::HEXLOWER;
use seinhuis_shared::packet::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::common::Stage;

pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

pub(crate) const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Parse => "parse",
        Stage::Verify => "verify",
        Stage::Open => "open",
    }
}

fn path(name: &str) -> String {
    format!("{}/vectors/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Holds a file against what it should be; writes it instead when that is asked for.
pub(crate) fn same<T: Serialize>(name: &str, value: &T) {
    let made = serde_json::to_string_pretty(value).unwrap() + "\n";
    #[expect(clippy::disallowed_methods, reason = "a switch for whoever changes the protocol")]
    let bless = std::env::var("SEINHUIS_BLESS").is_ok_and(|value| value == "1");
    if bless {
        std::fs::write(path(name), &made).unwrap();
    }
    let frozen = std::fs::read_to_string(path(name)).unwrap();
    let line = frozen.lines().zip(made.lines()).position(|(frozen, made)| frozen != made);
    assert!(
        frozen == made,
        "{name} differs from what the code makes, first in line {:?}: a change of the protocol? Then run \
         SEINHUIS_BLESS=1 cargo test -p seinhuis-shared --test vectors, and look at the difference",
        line.map(|line| line + 1)
    );
}

pub(crate) fn read<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(path(name)).unwrap()).unwrap()
}

/// An organisation's keys. The private ones are test values that protect nothing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Keys {
    pub(crate) oin: String,
    pub(crate) signing_seed: String,
    pub(crate) signing_public: String,
    pub(crate) thumbprint: String,
    pub(crate) prekey_seed: String,
    pub(crate) prekey_public: String,
    pub(crate) prekey_id: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeclaredFields {
    pub(crate) message_type: String,
    pub(crate) step: String,
    pub(crate) level: String,
    pub(crate) categories: Vec<String>,
    pub(crate) purpose: String,
    pub(crate) basis: String,
}

/// A context's fields in their order on the wire, identifiers as hexadecimal.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContextFields {
    pub(crate) version: u8,
    pub(crate) msg_id: String,
    pub(crate) covenant: String,
    pub(crate) flow: String,
    pub(crate) case: Option<String>,
    pub(crate) declared: DeclaredFields,
    pub(crate) sender: String,
    pub(crate) signer: String,
    pub(crate) recipients: Vec<(String, String)>,
    pub(crate) seq: u64,
    pub(crate) prev: Option<String>,
    pub(crate) issued: u64,
    pub(crate) expires: u64,
    pub(crate) in_reply_to: Option<String>,
    pub(crate) trace: String,
    pub(crate) commitment: String,
}

impl ContextFields {
    pub(crate) fn new(context: &Context) -> Self {
        let declared = &context.declared;
        Self {
            version: context.version,
            msg_id: hex(&context.msg_id.0),
            covenant: hex(&context.covenant.0),
            flow: context.flow.clone(),
            case: context.case.map(|case| hex(&case.0)),
            declared: DeclaredFields {
                message_type: declared.message_type.clone(),
                step: declared.step.to_string(),
                level: declared.level.to_string(),
                categories: declared.categories.clone(),
                purpose: declared.purpose.clone(),
                basis: declared.basis.clone(),
            },
            sender: context.sender.to_string(),
            signer: hex(&context.signer.0),
            recipients: context.recipients.iter().map(|to| (to.oin.to_string(), hex(&to.prekey.0))).collect(),
            seq: context.seq,
            prev: context.prev.map(|digest| hex(&digest.0)),
            issued: context.issued.0,
            expires: context.expires.0,
            in_reply_to: context.in_reply_to.map(|id| hex(&id.0)),
            trace: hex(&context.trace.0),
            commitment: hex(&context.commitment.0),
        }
    }
}

/// One encryption of the content key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WrapFields {
    pub(crate) recipient: String,
    pub(crate) info: String,
    /// The 64 bytes the encapsulation took: 32 for ML-KEM-768, 32 for X25519.
    pub(crate) randomness: String,
    pub(crate) ek: String,
    pub(crate) wrapped: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ValidPacket {
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) body: String,
    pub(crate) content_key: String,
    pub(crate) iv: String,
    pub(crate) salt: String,
    pub(crate) context: ContextFields,
    pub(crate) context_bytes: String,
    pub(crate) content: String,
    pub(crate) content_aad: String,
    pub(crate) wraps: Vec<WrapFields>,
    pub(crate) statement_sha256: String,
    pub(crate) packet_sha256: String,
    pub(crate) packet: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InvalidPacket {
    pub(crate) name: String,
    pub(crate) stage: String,
    pub(crate) refusal: u16,
    pub(crate) reason: String,
    pub(crate) packet: String,
    /// Zero bytes to be put after it.
    pub(crate) then_zeros: usize,
}

/// A signed object: 0 when it counts, otherwise the refusal's number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Signed {
    pub(crate) name: String,
    /// The organisation whose key it is checked with.
    pub(crate) by: String,
    pub(crate) refusal: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
    pub(crate) bytes: String,
}

/// Rotations: statements by themselves, and lines under a covenant.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rotations {
    pub(crate) covenant: String,
    pub(crate) new_seeds: Vec<String>,
    pub(crate) statements: Vec<Signed>,
    pub(crate) lines: Vec<LineFields>,
}

/// What a broker gives with a version: 0 when it counts, otherwise the refusal's number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LineFields {
    pub(crate) name: String,
    pub(crate) refusal: u16,
    pub(crate) rotations: Vec<RotatedFields>,
    /// The thumbprint of the key that counts afterwards in the place of the police's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RotatedFields {
    pub(crate) rotation: String,
    pub(crate) at: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogAndReceipts {
    pub(crate) origin: String,
    pub(crate) log_seed: String,
    pub(crate) log_key: String,
    /// Every entry of the log, in order: the leaves.
    pub(crate) entries: Vec<String>,
    pub(crate) checkpoint: String,
    /// The packet that was accepted.
    pub(crate) packet: String,
    /// The digest of the one that was refused, and why it was.
    pub(crate) refused_packet: String,
    pub(crate) refused_reason: u16,
    pub(crate) receipts: Vec<ReceiptFields>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReceiptFields {
    pub(crate) name: String,
    /// What it is held to say: accepted, accepted-for (the first recipient) or refused.
    pub(crate) about: String,
    pub(crate) error: Option<String>,
    pub(crate) receipt: String,
}

/// A case: the covenant it is under, its decisions in order, and decisions that do not count.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CaseChain {
    pub(crate) covenant: String,
    pub(crate) covenant_sha256: String,
    pub(crate) valid: Vec<CaseFields>,
    pub(crate) invalid: Vec<CaseFields>,
}

/// A decision, logged at `at` when `after` decisions of the chain have been.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CaseFields {
    pub(crate) name: String,
    pub(crate) after: usize,
    pub(crate) at: u64,
    pub(crate) refusal: u16,
    /// The step the case is in then, or `closed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<String>,
    /// The parties that state the condition then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stating: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    pub(crate) decision: String,
}

/// Covenants that count, and documents that do not.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Covenants {
    pub(crate) valid: Vec<CovenantFields>,
    pub(crate) invalid: Vec<CovenantFields>,
}

/// A covenant in canonical form.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CovenantFields {
    pub(crate) name: String,
    /// Who informs data subjects, of one that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) informs: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    pub(crate) covenant: String,
}
