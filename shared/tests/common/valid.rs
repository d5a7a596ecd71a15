//! Makes the packet vectors.

use seinhuis_shared::cose::{content_aad, wrap_info};
use seinhuis_shared::ids::{CaseId, Digest, MsgId};
use seinhuis_shared::limits::PACKET_MAX;
use seinhuis_shared::packet::{Context, Packet};
use seinhuis_shared::refusal::Refusal;

use crate::common::{DetHpke, GEM, JW, OM, Org, POL, chance, context, encrypt_of, sealed};
use crate::defects;
use crate::files::{ContextFields, InvalidPacket, Keys, ValidPacket, WrapFields, hex, stage};
use crate::forge::content_of;

const ALL: [Org; 4] = [GEM, POL, JW, OM];

/// The organisation with this OIN.
pub(crate) fn org(oin: &str) -> Org {
    ALL.into_iter().find(|org| org.oin().as_str() == oin).unwrap()
}

pub(crate) fn keys() -> Vec<Keys> {
    ALL.into_iter()
        .map(|org| Keys {
            oin: org.oin().to_string(),
            signing_seed: hex(&org.seed()),
            signing_public: hex(&org.key().public().to_bytes()),
            thumbprint: org.key().public().thumbprint().to_string(),
            prekey_seed: hex(&org.prekey_seed()),
            prekey_public: hex(org.prekey().as_bytes()),
            prekey_id: org.prekey().id().to_string(),
        })
        .collect()
}

/// A body with which the content is 256 bytes long before any padding but its one-byte header.
fn filling() -> Vec<u8> {
    let bare = |body: &[u8]| content_of([0; 32], "application/json", body).to_bytes();
    let length = (0..256).rev().find(|length| bare(&vec![b'x'; *length]).len() == 256).unwrap();
    vec![b'x'; length]
}

pub(crate) fn packets() -> Vec<ValidPacket> {
    let plain = |_: &mut Context| ();
    let signal: &[u8] = br#"{"plaats":"Marktplein","tijd":"vrijdagavond"}"#;
    let answer = |context: &mut Context| {
        context.flow = "F16".into();
        context.case = Some(CaseId([0xca; 16]));
        context.seq = 300;
        context.prev = Some(Digest([0x9e; 32]));
        context.in_reply_to = Some(MsgId([0x01; 16]));
    };
    let [filling, over] = [filling(), [filling(), vec![b'x']].concat()];
    let large = vec![b'y'; 70_000];
    let extremes = |context: &mut Context| {
        context.flow = "F".repeat(64);
        context.declared.categories.clear();
        context.seq = u64::MAX;
    };
    vec![
        packet("one-recipient", 1, &[GEM], plain, ("application/json", signal)),
        packet("three-recipients", 2, &[JW, GEM, OM], plain, ("application/json", signal)),
        packet("case-reply-prev", 3, &[GEM], answer, ("application/json", signal)),
        packet("empty-body", 4, &[GEM], plain, ("application/json", b"")),
        packet("body-fills-padme-length", 5, &[GEM], plain, ("application/json", &filling)),
        packet("body-one-over-padme-length", 6, &[GEM], plain, ("application/json", &over)),
        packet("body-over-64-kib", 7, &[GEM], plain, ("application/octet-stream", &large)),
        packet("longest-flow-no-categories", 8, &[GEM], extremes, ("text/plain", "één".as_bytes())),
    ]
}

fn packet(
    name: &str,
    number: u8,
    to: &[Org],
    edit: fn(&mut Context),
    (media_type, body): (&str, &[u8]),
) -> ValidPacket {
    let hpke = DetHpke::new(number);
    let mut context = context(POL, to);
    edit(&mut context);
    let bytes = sealed(&hpke, (POL, to), &mut context, (media_type, body), number);
    let parsed = Packet::parse(&bytes).unwrap();
    let chance = chance(number);
    let context_bytes = context.to_bytes();
    let wraps = to
        .iter()
        .zip(&encrypt_of(&bytes).wraps)
        .zip(hpke.drawn.borrow().iter())
        .map(|((org, wrap), randomness)| WrapFields {
            recipient: org.oin().to_string(),
            info: hex(&wrap_info(wrap.prekey, &context_bytes)),
            randomness: hex(randomness),
            ek: hex(&wrap.ek),
            wrapped: hex(&wrap.wrapped),
        })
        .collect();
    ValidPacket {
        name: name.into(),
        media_type: media_type.into(),
        body: hex(body),
        content_key: hex(&chance.key),
        iv: hex(&chance.iv),
        salt: hex(&chance.salt),
        context: ContextFields::new(&context),
        content: hex(&content_of(chance.salt, media_type, body).to_bytes()),
        content_aad: hex(&content_aad(&context_bytes)),
        context_bytes: hex(&context_bytes),
        wraps,
        statement_sha256: parsed.statement_digest().to_string(),
        packet_sha256: parsed.digest().to_string(),
        packet: hex(&bytes),
    }
}

pub(crate) fn defects() -> Vec<InvalidPacket> {
    let vector = |name: &str, stage: &str, refusal: Refusal, packet: &[u8], then_zeros| InvalidPacket {
        name: name.into(),
        stage: stage.into(),
        refusal: refusal.number(),
        reason: refusal.slug().into(),
        packet: hex(packet),
        then_zeros,
    };
    let mut all: Vec<_> = defects::all()
        .iter()
        .map(|defect| vector(defect.name, stage(defect.stage), defect.refusal, &defect.packet, 0))
        .collect();
    all.push(vector("packet-too-large", "parse", Refusal::TooLarge, &[0x83, 0x01], PACKET_MAX));
    all
}
