//! A partner that submits what the covenant does not let it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use seinhuis_agent_core::toy::Toy;
use seinhuis_shared::covenant::{Compiled, Handling, Step};
use seinhuis_shared::ids::{Digest, MsgId, Oin, TraceId};
use seinhuis_shared::limits::TTL_DEFAULT;
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::{Context, Plain, Recipient, SealRandomness, VERSION, seal};
use seinhuis_shared::prekey::{PrekeyBundle, PrekeyPublic};
use seinhuis_shared::signing::{PublicKey, SigningKey};
use seinhuis_shared::time::{Span, Timestamp};

use super::cast;
use super::faults::FORGER;
use super::net::Stream;
use super::scenario::Dice;

/// What a forged packet is wrong in.
const WAYS: u64 = 5;
/// It is right, and made with another's key.
const STOLEN: u64 = 6;

/// How many requests of others are remembered.
const LEAKED: usize = 32;

/// What a forger has to forge with.
#[derive(Debug)]
pub(super) struct Forger {
    /// The place of its agent.
    me: usize,
    /// What others said in sessions of their own, on which kind of stream, and somebody leaked.
    leaked: VecDeque<(Stream, Vec<u8>)>,
    compiled: Arc<Compiled>,
    toy: Toy,
    prekeys: BTreeMap<Oin, PrekeyPublic>,
    heard: Option<Arc<[u8]>>,
    /// Whether it said, in another's words, that it keeps notices: what it misses then is its own doing.
    pub(super) gave_away: bool,
}

impl Forger {
    /// The forger at this agent.
    pub(super) fn new(compiled: Arc<Compiled>, me: usize) -> Self {
        let toy = Toy::starting((9 + u64::try_from(me).unwrap_or_default()) << 32);
        Self {
            me,
            leaked: VecDeque::new(),
            compiled,
            toy,
            prekeys: BTreeMap::new(),
            heard: None,
            gave_away: false,
        }
    }

    /// Another partner said this outside its lane, and somebody leaked it.
    pub(super) fn listen(&mut self, agent: usize, stream: Stream, frame: &[u8]) {
        if agent != self.me {
            self.leaked.truncate(LEAKED - 1);
            self.leaked.push_front((stream, frame.to_vec()));
        }
    }

    /// Something that was leaked.
    pub(super) fn leak(&self, dice: &mut Dice) -> Option<(Stream, Vec<u8>)> {
        let count = u64::try_from(self.leaked.len()).ok()?;
        self.leaked.get(usize::try_from(dice.between(0, count)).ok()?).cloned()
    }

    /// A bundle was published.
    pub(super) fn learn(&mut self, oin: Oin, key: PublicKey, bundle: &[u8]) {
        let read = PrekeyBundle::verify(bundle, &oin, &[key]).ok();
        if let Some(prekey) = read.and_then(|bundle| bundle.prekeys.into_iter().next()) {
            self.prekeys.insert(oin, prekey.public);
        }
    }

    /// Another partner submitted a packet, and somebody leaked it.
    pub(super) fn overhear(&mut self, agent: usize, packet: &Arc<[u8]>) {
        if agent != self.me {
            self.heard = Some(Arc::clone(packet));
        }
    }

    /// What was overheard last.
    pub(super) const fn heard(&self) -> Option<&Arc<[u8]>> {
        self.heard.as_ref()
    }

    /// A packet to submit as this partner, and whether it may never be accepted from anybody.
    pub(super) fn make(
        &self,
        own: &SigningKey,
        now: Timestamp,
        dice: &mut Dice,
    ) -> Option<(Arc<[u8]>, bool)> {
        let way = dice.between(0, WAYS + 1);
        if way == WAYS {
            // Another's packet as it is: its own sender may submit it.
            return self.heard.clone().map(|packet| (packet, false));
        }
        Some((self.seal(way, own, now, dice)?, true))
    }

    /// A packet of partner 3 that nothing is wrong with, but that partner did not seal it.
    pub(super) fn steal(&self, now: Timestamp, dice: &mut Dice) -> Option<Arc<[u8]>> {
        self.seal(STOLEN, &cast::signer(3), now, dice)
    }

    fn seal(&self, way: u64, own: &SigningKey, now: Timestamp, dice: &mut Dice) -> Option<Arc<[u8]>> {
        let me = cast::oin(u8::try_from(self.me + 1).ok()?).ok()?;
        let (own_sample, own_flow) = if self.me == FORGER {
            ("03-F03-boa-signaal.json", "F03")
        } else {
            ("02-F02-politie-signaal.json", "F02")
        };
        let (sample, flow, to) = match way {
            // A flow that is another role's, and one to a recipient that it does not have.
            0 | STOLEN => ("01-F01-jongerenwerk-signaal.json", "F01", cast::oin(1).ok()?),
            1 => (own_sample, own_flow, cast::oin(3).ok()?),
            _ => (own_sample, own_flow, cast::oin(1).ok()?),
        };
        let kind = self.compiled.covenant().flows.iter().find(|one| one.id == flow)?;
        let body = cast::body(sample).ok()?;
        let declared = self.compiled.declare(flow, kind.types.first()?, Step::S1, None, &body).ok()?;
        let prekey = self.prekeys.get(&to)?;
        let issued = if way == 4 { now.minus(Span::days(20)) } else { now };
        let mut context = Context {
            version: VERSION,
            msg_id: MsgId(dice.bytes().first_chunk().copied()?),
            covenant: if way == 3 { Digest(dice.bytes()) } else { self.compiled.hash() },
            flow: flow.into(),
            case: None,
            declared,
            sender: if way == 2 || way == STOLEN { cast::oin(3).ok()? } else { me },
            signer: own.public().thumbprint(),
            recipients: vec![Recipient { oin: to, prekey: prekey.id() }],
            seq: 1,
            prev: None,
            issued,
            expires: issued.plus(TTL_DEFAULT),
            in_reply_to: None,
            trace: TraceId(dice.bytes().first_chunk().copied()?),
            commitment: Digest([0; 32]),
        };
        let (key, iv, salt) = (dice.bytes(), dice.bytes(), dice.bytes());
        let chance = SealRandomness { key, iv: iv.first_chunk().copied()?, salt };
        let provenance = Provenance::own(context.sender, Handling::Partners);
        let plain = Plain { media_type: "application/json", provenance: &provenance, body: &body };
        let sealed = seal(&self.toy, &mut context, &[prekey], plain, &chance, own).ok()?;
        Some(sealed.bytes.into())
    }
}
