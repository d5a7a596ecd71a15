//! HPKE without chance, four organisations, and packets between them.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;

use hpke::aead::AesGcm256;
use hpke::kdf::KdfShake256;
use hpke::kem::{Kem, XWing};
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal_with_rng};
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::{EK_LEN, Encrypt, WRAPPED_LEN};
use seinhuis_shared::covenant::{Declared, Handling, Level, Step};
use seinhuis_shared::ids::{Digest, MsgId, Oin, TraceId};
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::{
    Context, Hpke, HpkeError, Opened, Packet, Plain, Recipient, SealRandomness, VERSION, open, seal,
};
use seinhuis_shared::prekey::{PrekeyPublic, PrekeySecret};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::{Span, Timestamp};
use zeroize::Zeroizing;

/// 2026-03-01T12:00:00Z.
pub(crate) const NOON: Timestamp = Timestamp(1_772_366_400_000);

/// HPKE whose encapsulations draw from a counter instead of from chance: the same calls, the same bytes.
#[derive(Debug)]
pub(crate) struct DetHpke {
    seed: u8,
    count: Cell<u8>,
    /// The 64 bytes each encapsulation took: ML-KEM's message and the X25519 private key.
    pub(crate) drawn: RefCell<Vec<[u8; 64]>>,
}

impl DetHpke {
    pub(crate) const fn new(seed: u8) -> Self {
        Self { seed, count: Cell::new(0), drawn: RefCell::new(Vec::new()) }
    }

    fn draw(&self) -> Fixed {
        let count = self.count.replace(self.count.get().wrapping_add(1));
        let mut bytes = [0; 64];
        for (half, part) in (0..).zip(bytes.chunks_mut(32)) {
            part.copy_from_slice(&sha256(&[self.seed, count, half]).0);
        }
        self.drawn.borrow_mut().push(bytes);
        Fixed(bytes)
    }
}

/// A source that gives out 64 known bytes, again and again.
struct Fixed([u8; 64]);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for (to, from) in out.iter_mut().zip(self.0.iter().cycle()) {
            *to = *from;
        }
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

impl Hpke for DetHpke {
    fn seal(
        &self,
        recipient: &PrekeyPublic,
        info: &[u8],
        key: &[u8; 32],
    ) -> Result<([u8; EK_LEN], [u8; WRAPPED_LEN]), HpkeError> {
        let public = <XWing as Kem>::PublicKey::from_bytes(recipient.as_bytes()).map_err(|_| HpkeError)?;
        let (ek, wrapped) = single_shot_seal_with_rng::<AesGcm256, KdfShake256, XWing>(
            &OpModeS::Base,
            &public,
            info,
            key,
            b"",
            &mut self.draw(),
        )
        .map_err(|_| HpkeError)?;
        Ok((
            ek.to_bytes().as_slice().try_into().map_err(|_| HpkeError)?,
            wrapped.as_slice().try_into().map_err(|_| HpkeError)?,
        ))
    }

    fn open(
        &self,
        secret: &PrekeySecret,
        ek: &[u8],
        info: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, HpkeError> {
        let secret = <XWing as Kem>::PrivateKey::from_bytes(&secret.0).map_err(|_| HpkeError)?;
        let ek = <XWing as Kem>::EncappedKey::from_bytes(ek).map_err(|_| HpkeError)?;
        single_shot_open::<AesGcm256, KdfShake256, XWing>(&OpModeR::Base, &secret, &ek, info, wrapped, b"")
            .ok()
            .and_then(|key| key.as_slice().try_into().ok())
            .map(Zeroizing::new)
            .ok_or(HpkeError)
    }
}

/// An organisation, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Org(pub(crate) u8);

pub(crate) const GEM: Org = Org(1);
pub(crate) const POL: Org = Org(2);
pub(crate) const JW: Org = Org(3);
pub(crate) const OM: Org = Org(4);

impl Org {
    pub(crate) fn oin(self) -> Oin {
        format!("000000990000000{:02}000", self.0).parse().unwrap()
    }

    pub(crate) fn seed(self) -> [u8; 32] {
        [self.0; 32]
    }

    pub(crate) fn key(self) -> SigningKey {
        SigningKey::from_seed(&self.seed())
    }

    /// The X-Wing private key: its 32-byte seed.
    pub(crate) fn prekey_seed(self) -> [u8; 32] {
        [0x50 + self.0; 32]
    }

    pub(crate) fn prekey(self) -> PrekeyPublic {
        let secret = <XWing as Kem>::PrivateKey::from_bytes(&self.prekey_seed()).unwrap();
        PrekeyPublic::from_slice(&XWing::sk_to_pk(&secret).to_bytes()).unwrap()
    }
}

/// The context of a packet; its commitment is set when it is sealed.
pub(crate) fn context(from: Org, to: &[Org]) -> Context {
    let categories = ["locatie", "tijdpatroon"].map(str::to_owned);
    let declared = Declared::new("signaal", Step::S1, Level::G, categories, "signalering", "avg_6_1_e");
    Context {
        version: VERSION,
        msg_id: MsgId([0x01, 0x9c, 0xa9, 0x80, 0x40, 0, 0x70, 1, 0x80, 2, 3, 4, 5, 6, 7, 8]),
        covenant: Digest([0xc0; 32]),
        flow: "F01".into(),
        case: None,
        declared: declared.unwrap(),
        sender: from.oin(),
        signer: from.key().public().thumbprint(),
        recipients: to.iter().map(|org| Recipient { oin: org.oin(), prekey: org.prekey().id() }).collect(),
        seq: 1,
        prev: None,
        issued: NOON,
        expires: NOON.plus(Span::days(14)),
        in_reply_to: None,
        trace: TraceId([0x7a; 16]),
        commitment: Digest([0; 32]),
    }
}

pub(crate) fn chance(number: u8) -> SealRandomness {
    SealRandomness {
        key: sha256(&[number, 1]).0,
        iv: *sha256(&[number, 2]).0.first_chunk().unwrap(),
        salt: sha256(&[number, 3]).0,
    }
}

/// Seals a body from `from` to `to`; sets the context's commitment.
pub(crate) fn sealed(
    hpke: &DetHpke,
    (from, to): (Org, &[Org]),
    context: &mut Context,
    (media_type, body): (&str, &[u8]),
    number: u8,
) -> Vec<u8> {
    let keys: Vec<PrekeyPublic> = to.iter().map(|org| org.prekey()).collect();
    let keys: Vec<&PrekeyPublic> = keys.iter().collect();
    let provenance = Provenance::own(context.sender, Handling::Partners);
    let plain = Plain { media_type, provenance: &provenance, body };
    seal(hpke, context, &keys, plain, &chance(number), &from.key()).unwrap().bytes
}

/// The two halves of a packet.
pub(crate) fn halves(packet: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (_, statement, sealed): (u8, Bytes, Bytes) = cbor::strict(packet, packet.len()).unwrap();
    (statement.0, sealed.0)
}

/// The sealed half, read.
pub(crate) fn encrypt_of(packet: &[u8]) -> Encrypt {
    Encrypt::parse(&halves(packet).1, packet.len()).unwrap()
}

/// How far a packet gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Parse,
    Verify,
    Open,
}

/// Everything a recipient does with a packet of `from`.
pub(crate) fn receive(from: Org, to: Org, packet: &[u8]) -> Result<Opened, (Stage, Refusal)> {
    receive_with(from, to, Some(to.prekey_seed()), packet)
}

pub(crate) fn receive_with(
    from: Org,
    to: Org,
    secret: Option<[u8; 32]>,
    packet: &[u8],
) -> Result<Opened, (Stage, Refusal)> {
    let packet = Packet::parse(packet).map_err(|refusal| (Stage::Parse, refusal))?;
    let packet = packet.verify(&from.key().public()).map_err(|refusal| (Stage::Verify, refusal))?;
    let secret = secret.map(|seed| PrekeySecret(seed.to_vec()));
    open(&DetHpke::new(0), &packet, &to.oin(), |_| secret.as_ref()).map_err(|refusal| (Stage::Open, refusal))
}
