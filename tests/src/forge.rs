//! Packets made by hand, right in all but what a test changes.

use seinhuis_agent::hpke::AwsHpke;
use seinhuis_shared::case::{self, Act, CaseDecision};
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::{Encrypt, Purpose, Sign1};
use seinhuis_shared::covenant::{Compiled, Covenant, Declared, Handling, Step};
use seinhuis_shared::frame::Kind;
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin, TraceId};
use seinhuis_shared::limits::{PACKET_MAX, TTL_DEFAULT};
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::{Context, Plain, Recipient, SealRandomness, VERSION, seal};
use seinhuis_shared::prekey::{Prekey, PrekeyBundle, PrekeyPublic, PrekeySecret, SUITE};
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::{clock, covenants, keys};

use crate::raw::{Raw, RawError};
use crate::samples::Sample;
use crate::stage::{Member, Stage};

/// A forger with somebody's signing key.
#[derive(Debug)]
pub struct Forge {
    /// The key packets are signed with.
    pub key: SigningKey,
    /// The organisation they say they are from.
    pub oin: Oin,
    /// The covenant they name.
    pub covenant: Compiled,
}

/// A prekey made for the occasion.
#[derive(Debug)]
pub struct Lock {
    /// The public half.
    pub public: PrekeyPublic,
    /// The private half.
    pub secret: PrekeySecret,
}

impl Lock {
    /// Makes one.
    ///
    /// # Errors
    /// When the library cannot.
    pub fn make() -> Result<Self, Complaint> {
        let (secret, public) = AwsHpke::generate().map_err(|error| Complaint::bug(error.to_string()))?;
        Ok(Self { public, secret })
    }

    /// A signed bundle with this prekey.
    pub fn bundle(&self, oin: Oin, key: &SigningKey, seq: u64) -> Vec<u8> {
        let now = clock::now();
        PrekeyBundle {
            version: 1,
            suite: SUITE,
            oin,
            signer: key.public().thumbprint(),
            seq,
            issued: now,
            prekeys: vec![Prekey {
                public: self.public.clone(),
                not_before: now.minus(Span::minutes(1)),
                not_after: now.plus(Span::hours(24)),
            }],
        }
        .sign(key)
    }
}

impl Forge {
    /// A forger with the key of a member of a stage.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn of(stage: &Stage, member: &Member) -> Result<Self, Complaint> {
        let oin = member.oin.parse().map_err(|_| Complaint::bug("the cast has wrong OINs"))?;
        let key = keys::load_signing(&member.home.join("keys/signing.key"))?;
        let parts = [crate::samples::covenants().join("model.toml"), stage.dir.join("partnership.toml")];
        let covenant: Covenant = covenants::load(&parts)?;
        let covenant = Compiled::new(covenant).map_err(|error| Complaint::bug(error.to_string()))?;
        Ok(Self { key, oin, covenant })
    }

    /// The context of a right packet with a sample's body, for these recipients.
    ///
    /// # Errors
    /// When the sample does not fit the covenant.
    pub fn context(&self, sample: &Sample, to: &[(Oin, &PrekeyPublic)]) -> Result<Context, Complaint> {
        let now = clock::now();
        let text = |key: &str| sample.value.get(key).and_then(serde_json::Value::as_str);
        let step =
            text("step").unwrap_or_default().parse().map_err(|_| Complaint::bug("a sample without step"))?;
        let declared: Declared = self
            .covenant
            .declare(&sample.flow, &sample.message_type, step, text("basis"), &body(sample))
            .map_err(|error| Complaint::bug(format!("{error:?}")))?;
        Ok(Context {
            version: VERSION,
            msg_id: clock::uuid_v7(now, keys::random()),
            covenant: self.covenant.hash(),
            flow: sample.flow.clone(),
            case: text("case").and_then(|case| case.parse().ok()),
            declared,
            sender: self.oin,
            signer: self.key.public().thumbprint(),
            recipients: to.iter().map(|(oin, key)| Recipient { oin: *oin, prekey: key.id() }).collect(),
            seq: 1,
            prev: None,
            issued: now,
            expires: now.plus(TTL_DEFAULT),
            in_reply_to: None,
            trace: TraceId(keys::random()),
            commitment: Digest([0; 32]),
        })
    }

    /// A decision about a case that follows on `chain`, the decisions as they were signed.
    pub fn decision(&self, case: CaseId, chain: &[Vec<u8>], act: Act) -> Vec<u8> {
        CaseDecision {
            format: case::FORMAT,
            covenant: self.covenant.hash(),
            case,
            seq: u32::try_from(chain.len()).unwrap_or(u32::MAX),
            previous: chain.last().map(|last| sha256(last)),
            party: self.oin,
            act,
            issued: clock::now(),
        }
        .sign(&self.key)
    }

    /// Begins a case and moves it through the steps up to `until`, on the coordinator's connection; the decisions
    /// it took.
    ///
    /// # Errors
    /// When the broker refuses one.
    pub async fn open_case(&self, raw: &Raw, until: Step) -> Result<(CaseId, Vec<Vec<u8>>), RawError> {
        let (case, mut chain) = (CaseId(keys::random()), Vec::new());
        for step in Step::ALL.iter().take_while(|step| **step <= until) {
            let decision = self.decision(case, &chain, Act::Step(*step));
            raw.request(Kind::Decide, &decision, Kind::Done).await?;
            chain.push(decision);
        }
        Ok((case, chain))
    }

    /// Seals a sample's body in `context`.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn seal(&self, context: Context, keys: &[&PrekeyPublic], body: &[u8]) -> Result<Vec<u8>, Complaint> {
        let mut flows = self.covenant.covenant().flows.iter();
        let handling = flows.find(|flow| flow.id == context.flow).map(|flow| flow.handling);
        let provenance = Provenance::own(context.sender, handling.unwrap_or(Handling::Partners));
        self.seal_from(context, keys, body, &provenance)
    }

    /// As [`Self::seal`], saying this about where the body comes from.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn seal_from(
        &self,
        mut context: Context,
        keys: &[&PrekeyPublic],
        body: &[u8],
        provenance: &Provenance,
    ) -> Result<Vec<u8>, Complaint> {
        let chance = SealRandomness { key: keys::random(), iv: keys::random(), salt: keys::random() };
        let plain = Plain { media_type: "application/json", provenance, body };
        seal(&AwsHpke, &mut context, keys, plain, &chance, &self.key)
            .map(|sealed| sealed.bytes)
            .map_err(Complaint::from_refusal)
    }

    /// A right packet but for what `edit` changes in its context before it is signed.
    ///
    /// # Errors
    /// As [`Self::context`] and [`Self::seal`].
    pub fn packet(
        &self,
        sample: &Sample,
        to: &[(Oin, &PrekeyPublic)],
        edit: impl FnOnce(&mut Context),
    ) -> Result<Vec<u8>, Complaint> {
        let mut context = self.context(sample, to)?;
        edit(&mut context);
        let keys: Vec<&PrekeyPublic> = to.iter().map(|(_, key)| *key).collect();
        self.seal(context, &keys, &body(sample))
    }
}

/// The parts of a packet, which a test puts together in ways no sender would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The format version.
    pub version: u8,
    /// The statement, a COSE_Sign1.
    pub statement: Vec<u8>,
    /// The sealed part, a COSE_Encrypt.
    pub sealed: Vec<u8>,
}

impl Parts {
    /// Takes a packet apart.
    ///
    /// # Errors
    /// When it is none.
    pub fn of(packet: &[u8]) -> Result<Self, Complaint> {
        let (version, statement, sealed): (u8, Bytes, Bytes) = cbor::strict(packet, PACKET_MAX)
            .map_err(|error| Complaint::bug(format!("not a packet: {error}")))?;
        Ok(Self { version, statement: statement.0, sealed: sealed.0 })
    }

    /// Puts it together.
    pub fn packet(&self) -> Vec<u8> {
        cbor::encode(&(self.version, Bytes::from(&self.statement[..]), Bytes::from(&self.sealed[..])))
    }

    /// Changes the sealed part and signs for the change: everything matches but what `edit` did.
    ///
    /// # Errors
    /// When the parts are not those of a packet.
    pub fn reseal(&mut self, key: &SigningKey, edit: impl FnOnce(&mut Encrypt)) -> Result<(), Complaint> {
        let mut sealed = Encrypt::parse(&self.sealed, PACKET_MAX).map_err(Complaint::from_refusal)?;
        edit(&mut sealed);
        self.sealed = sealed.to_bytes();
        let signed = Sign1::parse(&self.statement, PACKET_MAX).map_err(Complaint::from_refusal)?;
        let (context, _, _): (Bytes, Digest, u64) = cbor::strict(signed.unverified_payload(), PACKET_MAX)
            .map_err(|error| Complaint::bug(format!("not a statement: {error}")))?;
        let length = u64::try_from(self.sealed.len()).unwrap_or(u64::MAX);
        let payload = cbor::encode(&(context, sha256(&self.sealed), length));
        self.statement = Sign1::sign(key, Purpose::Packet, &payload);
        Ok(())
    }
}

/// A sample's body as it is sealed.
pub fn body(sample: &Sample) -> Vec<u8> {
    serde_json::to_vec(&sample.value["body"]).unwrap_or_default()
}

/// A message id of this moment.
pub fn new_id() -> MsgId {
    clock::uuid_v7(clock::now(), keys::random())
}

/// An instant relative to now, for expired and premature packets.
pub fn ago(span: Span) -> Timestamp {
    clock::now().minus(span)
}
