//! A small partnership and its packets, right and wrong.

use std::sync::Arc;

use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::{EK_LEN, Encrypt, Purpose, Sign1, WRAPPED_LEN, Wrap};
use seinhuis_shared::covenant::agreement::{Vote, Word};
use seinhuis_shared::covenant::{
    CaseRule, Category, Clause, Compiled, Covenant, Declared, FORMAT, Fate, Flow, Handling, InFlight, Level,
    MessageType, Party, Role, Route, Step, StepRule,
};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin, TraceId};
use seinhuis_shared::packet::padding::padded_length;
use seinhuis_shared::packet::{Context, Recipient, VERSION};
use seinhuis_shared::prekey::{PUBLIC_LEN, PrekeyPublic};
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::{Span, Timestamp};

/// 2026-03-01T12:00:00Z.
pub(super) const NOON: Timestamp = Timestamp(1_772_366_400_000);

/// An organisation of the partnership, or one outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Org {
    Gem,
    Pol,
    Jw,
    Om,
    /// Registered with the broker, party to nothing.
    Stranger,
    /// Party to the covenant, not registered with the broker.
    Absent,
}

pub(super) use Org::{Absent, Gem, Jw, Om, Pol, Stranger};

impl Org {
    pub(super) const PARTIES: [Self; 4] = [Gem, Pol, Jw, Om];

    const fn number(self) -> u8 {
        match self {
            Gem => 1,
            Pol => 2,
            Jw => 3,
            Om => 4,
            Stranger => 5,
            Absent => 6,
        }
    }

    pub(super) fn oin(self) -> Oin {
        format!("0000009900000000{}000", self.number()).parse().unwrap()
    }

    pub(super) fn key(self) -> SigningKey {
        SigningKey::from_seed(&[self.number(); 32])
    }

    pub(super) fn prekey(self) -> PrekeyPublic {
        PrekeyPublic::from_slice(&[self.number(); PUBLIC_LEN]).unwrap()
    }

    pub(super) fn recipient(self) -> Recipient {
        Recipient { oin: self.oin(), prekey: self.prekey().id() }
    }
}

fn clause(code: &str) -> Clause {
    Clause { code: code.into(), nl: code.into(), en: code.into() }
}

fn flow(id: &str, from: &[Role], to: &[Role], steps: &[Step], case: CaseRule) -> Flow {
    Flow {
        id: id.into(),
        nl: "stroom".into(),
        en: "flow".into(),
        types: vec!["signaal".into()],
        routes: vec![Route { from: from.to_vec(), to: to.to_vec() }],
        steps: steps.to_vec(),
        levels: vec![Level::G],
        categories: vec!["locatie".into()],
        purpose: "signalering".into(),
        bases: vec!["avg_6_1_e".into()],
        case,
        decision: false,
        conditions: vec![],
        release: false,
        handling: Handling::Partners,
        max_recipients: 3,
        max_body: 4096,
        retention_days: Some(30),
        retention: "dertig dagen".into(),
    }
}

fn party(org: Org, role: Role) -> Party {
    Party {
        oin: org.oin(),
        role,
        name: format!("{org:?}"),
        contact: "test@example.org".into(),
        signing_keys: vec![Bytes(org.key().public().to_bytes().to_vec())],
        may_be_absent: false,
        joined: Timestamp::parse("2026-01-01").unwrap(),
        left: None,
        witness_key: None,
    }
}

/// F01 signals to the municipality, F04 its questions to one or more parties, F16 the prosecution's answer.
pub(super) fn covenant() -> Covenant {
    let schema = concat!(
        r#"{"additionalProperties":false,"properties":{"plaats":{"maxLength":100,"minLength":1,"#,
        r#""type":"string","x-category":"locatie"}},"required":["plaats"],"type":"object"}"#
    );
    let step = |step| StepRule { step, nl: "stap".into(), en: "step".into(), movers: vec![Role::Gemeente] };
    Covenant {
        format: FORMAT,
        id: "proef".into(),
        version: 1,
        previous: None,
        title: "Proefconvenant".into(),
        owner: Gem.oin(),
        valid_from: Timestamp::parse("2026-01-01").unwrap(),
        valid_until: Timestamp::parse("2028-01-01").unwrap(),
        evaluation: Timestamp::parse("2027-01-01").unwrap(),
        contact: "privacy@example.org".into(),
        max_ttl: Span::days(30),
        max_body: 4096,
        log_retention_days: 1826,
        retention: "zoals bij de stroom".into(),
        overlap_days: 14,
        witness_quorum: 2,
        in_flight: InFlight { withdrawn: Fate::Freeze, superseded: Fate::Deliver, revoked: Fate::Shred },
        purposes: vec![clause("signalering")],
        bases: vec![clause("avg_6_1_e")],
        categories: vec![Category {
            code: "locatie".into(),
            level: Level::G,
            special: None,
            nl: "plaats".into(),
            en: "place".into(),
        }],
        types: vec![MessageType {
            code: "signaal".into(),
            nl: "signaal".into(),
            en: "signal".into(),
            schema: schema.into(),
        }],
        steps: vec![step(Step::S1), step(Step::S2A), step(Step::S3)],
        conditions: vec![],
        flows: vec![
            flow(
                "F01",
                &[Role::Politie, Role::Jongerenwerk],
                &[Role::Gemeente],
                &[Step::S1],
                CaseRule::Forbidden,
            ),
            flow(
                "F04",
                &[Role::Gemeente],
                &[Role::Politie, Role::Jongerenwerk, Role::Om, Role::Boa],
                &[Step::S1, Step::S2A],
                CaseRule::Optional,
            ),
            flow("F16", &[Role::Om], &[Role::Gemeente], &[Step::S3], CaseRule::Required),
        ],
        decisions: vec![],
        witnesses: Vec::new(),
        informs: Vec::new(),
        parties: vec![
            party(Gem, Role::Gemeente),
            party(Pol, Role::Politie),
            party(Jw, Role::Jongerenwerk),
            party(Om, Role::Om),
            Party { may_be_absent: true, ..party(Absent, Role::Boa) },
        ],
    }
}

/// The covenant, ready to be put up.
pub(super) fn compiled() -> Arc<Compiled> {
    Arc::new(Compiled::new(covenant()).unwrap())
}

/// A party's word about a version, signed.
pub(super) fn vote(covenant: Digest, org: Org, word: Word, issued: Timestamp) -> Vec<u8> {
    Vote { format: 1, covenant, party: org.oin(), word, issued, reason: String::new() }.sign(&org.key())
}

/// A packet about to be sealed; every part can be made wrong first.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) context: Context,
    pub(super) body: Vec<u8>,
    pub(super) signer: SigningKey,
}

impl Draft {
    /// The `number`th packet of `from` on `flow`, made at `now` and valid for a day.
    pub(super) fn new(from: Org, to: &[Org], flow: &str, number: u64, now: Timestamp) -> Self {
        let step = if flow == "F16" { Step::S3 } else { Step::S1 };
        let categories = ["locatie".to_owned()];
        let declared =
            Declared::new("signaal", step, Level::G, categories, "signalering", "avg_6_1_e").unwrap();
        Self {
            context: Context {
                version: VERSION,
                msg_id: msg_id(number),
                covenant: covenant().hash(),
                flow: flow.into(),
                case: (flow == "F16").then_some(CaseId([9; 16])),
                declared,
                sender: from.oin(),
                signer: from.key().public().thumbprint(),
                recipients: to.iter().map(|org| org.recipient()).collect(),
                seq: number,
                prev: None,
                issued: now,
                expires: now.plus(Span::days(1)),
                in_reply_to: None,
                trace: TraceId([7; 16]),
                commitment: Digest([0; 32]),
            },
            body: br#"{"plaats":"plein"}"#.to_vec(),
            signer: from.key(),
        }
    }

    pub(super) fn with(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    /// The packet's bytes.
    pub(super) fn seal(&self) -> Vec<u8> {
        self.forge(&self.encrypt())
    }

    /// The sealed part: of the right form, with noise in place of cryptography. Nothing here ever opens it.
    pub(super) fn encrypt(&self) -> Encrypt {
        let noise = |what: &str, length: usize| {
            let seed = sha256(&[what.as_bytes(), &self.context.to_bytes(), &self.body].concat());
            Bytes(seed.0.iter().copied().cycle().take(length).collect())
        };
        let wrap = |recipient: &Recipient| Wrap {
            prekey: recipient.prekey,
            ek: noise("ek", EK_LEN),
            wrapped: noise("wrapped", WRAPPED_LEN),
        };
        Encrypt {
            iv: [2; 12],
            ciphertext: noise("content", padded_length(self.body.len()) + 16),
            wraps: self.context.recipients.iter().map(wrap).collect(),
        }
    }

    /// A packet signed over this context and this sealed part, whatever they are.
    pub(super) fn forge(&self, sealed: &Encrypt) -> Vec<u8> {
        let sealed = sealed.to_bytes();
        self.forge_bytes(&self.context.to_bytes(), &sealed, sha256(&sealed))
    }

    pub(super) fn forge_bytes(&self, context: &[u8], sealed: &[u8], digest: Digest) -> Vec<u8> {
        let payload = (Bytes::from(context), digest, u64::try_from(sealed.len()).unwrap());
        let statement = Sign1::sign(&self.signer, Purpose::Packet, &cbor::encode(&payload));
        cbor::encode(&(VERSION, Bytes(statement), Bytes::from(sealed)))
    }
}

pub(super) fn msg_id(number: u64) -> MsgId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    MsgId(id)
}
