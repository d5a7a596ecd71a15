//! Frames, messages, packets and what is in them.

use seinhuis_shared::acknowledgement::{Part, Statement};
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::cose::{EK_LEN, Encrypt, Purpose, Sign1, WRAPPED_LEN};
use seinhuis_shared::covenant::Handling;
use seinhuis_shared::enrol::{EnrolRequest, REQUEST_MAX};
use seinhuis_shared::frame::{self, HEADER_LEN, Header};
use seinhuis_shared::ids::Thumbprint;
use seinhuis_shared::limits::{
    ACK_MAX, BODY_MAX, BUNDLE_MAX, PACKET_MAX, PREKEYS_MAX, RECIPIENTS_MAX, STATEMENT_MAX, TEXT_MAX,
};
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::padding::padded_length;
use seinhuis_shared::packet::{Content, Packet, Plain, VERSION};
use seinhuis_shared::prekey::PrekeyBundle;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::{
    Acknowledgement, Agreements, Case, Cases, Consistency, Consume, Cosigned, Covenant, Deferred, Entries,
    FetchCase, FetchConsistency, FetchCovenant, FetchEntries, FetchPrekeys, FetchSuccession, Hello, Message,
    Notices, NoticesTaken, Offer, Prekeys, Refuse, Rotations, Succession, Verdict, Welcome, Withdrawal,
    Witnessed,
};

use crate::{Check, known};

const PURPOSES: [Purpose; 9] = [
    Purpose::Packet,
    Purpose::Prekeys,
    Purpose::Acknowledgement,
    Purpose::Withdrawal,
    Purpose::Enrolment,
    Purpose::Case,
    Purpose::Consent,
    Purpose::Rotation,
    Purpose::NewKey,
];

/// A frame: its header within the bound of its kind, its payload as a message.
pub fn frame(data: &[u8]) -> bool {
    let Some((head, rest)) = data.split_first_chunk::<HEADER_LEN>() else { return false };
    let Ok(header) = Header::parse(*head) else { return false };
    assert!(header.length <= header.kind.limit(), "a header over the bound of its kind");
    let Some(payload) = rest.get(..header.length) else { return false };
    let again = frame::encode(header.kind, payload);
    assert_eq!(again.as_deref(), Ok(&data[..HEADER_LEN + header.length]), "a frame re-encodes otherwise");
    wire(payload);
    true
}

fn message<M: Message>(payload: &[u8]) -> bool {
    let parsed = M::parse(payload);
    if let Ok(message) = &parsed {
        assert!(payload.len() <= M::KIND.limit(), "{:?} over its bound", M::KIND);
        assert_eq!(cbor::encode(message), payload, "{:?} re-encodes otherwise", M::KIND);
        let framed = message.to_frame();
        assert_eq!(framed.map(|frame| frame.len()), Ok(HEADER_LEN + payload.len()), "{:?}", M::KIND);
    }
    parsed.is_ok()
}

/// Every message; a withdrawal also as a payload that the known key signs.
pub fn wire(data: &[u8]) -> bool {
    let each: [Check; 26] = [
        message::<Hello>,
        message::<Welcome>,
        message::<Refuse>,
        message::<Verdict>,
        message::<Deferred>,
        message::<Offer>,
        message::<FetchPrekeys>,
        message::<Prekeys>,
        message::<FetchCovenant>,
        message::<Covenant>,
        message::<Agreements>,
        message::<FetchCase>,
        message::<Case>,
        message::<Cases>,
        message::<Rotations>,
        message::<FetchConsistency>,
        message::<Notices>,
        message::<NoticesTaken>,
        message::<Consume>,
        message::<FetchEntries>,
        message::<Entries>,
        message::<Consistency>,
        message::<FetchSuccession>,
        message::<Succession>,
        message::<Cosigned>,
        message::<Witnessed>,
    ];
    let mut accepted = each.iter().filter(|check| check(data)).count() > 0;
    if let Ok(batch) = Acknowledgement::verify(data, &[known::signer().public()]) {
        let ack = &batch.acknowledgement;
        assert!((1..=ACK_MAX).contains(&ack.items.len()), "an acknowledgement of too many packets");
        assert_eq!(ack.sign(&known::signer()), data, "an acknowledgement re-encodes otherwise");
        accepted = true;
    }
    if let Ok(statement) = Statement::parse(data) {
        assert_eq!(statement.to_bytes(), data, "a statement re-encodes otherwise");
        accepted = true;
    }
    if let Ok(part) = cbor::strict::<Part>(data, data.len())
        && part.verify(|_| Ok(known::signer().public())).is_ok()
    {
        for nth in 0..part.items.len() {
            let one = part.statement(nth);
            let stands = one.is_some_and(|one| one.verify(|_| Ok(known::signer().public())).is_ok());
            assert!(stands, "an item of a part does not stand by itself");
        }
    }
    let withdrawn = Sign1::sign(&known::signer(), Purpose::Withdrawal, data);
    if let Ok(word) = Withdrawal::verify(&withdrawn, |_| Ok(known::signer().public())) {
        assert_eq!(word.sign(&known::signer()), withdrawn, "a withdrawal re-encodes otherwise");
        accepted = true;
    }
    accepted
}

fn whole_packet(data: &[u8]) -> Option<Packet> {
    let packet = Packet::parse(data).ok()?;
    assert!(data.len() <= PACKET_MAX, "a packet over its bound");
    assert_eq!(packet.digest(), sha256(data), "the digest is not the packet's");
    assert!(packet.content_length() < data.len(), "more content than packet");
    let context = packet.context();
    let mut oins = context.recipient_oins();
    oins.sort_unstable();
    oins.dedup();
    assert_eq!(oins.len(), context.recipients.len(), "a recipient twice");
    assert!((1..=RECIPIENTS_MAX).contains(&oins.len()), "too many recipients");
    assert!(context.flow.len() <= TEXT_MAX, "a flow over its bound");
    assert_eq!(context.declared.check(), Ok(()), "a declaration that breaks its own rules");
    Some(packet)
}

/// A packet: canonical at every level, about the very sealed part that is in it.
pub fn packet(data: &[u8]) -> bool {
    let Some(packet) = whole_packet(data) else { return false };
    let parts = cbor::strict::<(u8, Bytes, Bytes)>(data, data.len());
    let Ok((version, statement, sealed)) = parts else { panic_with("a packet that is no array of three") };
    assert_eq!(version, VERSION, "another version");
    assert_eq!(packet.statement_digest(), sha256(&statement), "the digest is not the statement's");
    let read = Sign1::parse(&statement, STATEMENT_MAX);
    let read = read.as_ref().map(Sign1::unverified_payload).unwrap_or_default();
    let context = packet.context().to_bytes();
    let wanted = cbor::encode(&(Bytes(context), sha256(&sealed), sealed.len()));
    assert_eq!(read, wanted, "the statement re-encodes otherwise");
    if let Ok(sealed) = Encrypt::parse(&sealed, PACKET_MAX) {
        assert_eq!(sealed.wraps.len(), packet.context().recipients.len(), "a hidden recipient");
    }
    true
}

#[expect(clippy::panic, reason = "panicking is how a check reports")]
fn panic_with(what: &str) -> ! {
    panic!("{what}")
}

/// A packet out of two length bytes, a context of that length and a sealed part, with the digest and the
/// signature that belong to them.
pub fn packet_parts(data: &[u8]) -> bool {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return false };
    let length = usize::from(u16::from_be_bytes(*length));
    let Some((context, sealed)) = rest.split_at_checked(length) else { return false };
    let key = known::signer();
    let payload = cbor::encode(&(Bytes::from(context), sha256(sealed), sealed.len()));
    let statement = Sign1::sign(&key, Purpose::Packet, &payload);
    let bytes = cbor::encode(&(VERSION, Bytes(statement), Bytes::from(sealed)));
    let Some(packet) = whole_packet(&bytes) else { return false };
    assert_eq!(packet.context().to_bytes(), context, "a context re-encodes otherwise");
    assert_eq!(packet.context().signer, key.public().thumbprint(), "a signer who did not sign");
    let verified = packet.verify(&key.public());
    assert!(verified.is_ok(), "a right signature is refused");
    true
}

/// Decrypted content, and the same bytes as a body.
pub fn content(data: &[u8]) -> bool {
    let parsed = Content::parse(data);
    if let Ok(content) = &parsed {
        assert_eq!(content.to_bytes(), data, "content re-encodes otherwise");
        assert_eq!(data.len(), padded_length(data.len()), "content whose length is no Padmé length");
        assert!(content.body.len() <= BODY_MAX, "a body over its bound");
        let again = Content::new(
            content.salt.0,
            Plain { media_type: &content.media_type, provenance: &content.provenance, body: &content.body },
        );
        assert_eq!(again.commitment(), content.commitment(), "padding changes the commitment");
    }
    let own = Provenance::own(known::oin(), Handling::Consent);
    let made = Content::new([1; 32], Plain { media_type: "application/json", provenance: &own, body: data });
    if data.len() <= BODY_MAX {
        assert_eq!(Content::parse(&made.to_bytes()).as_ref(), Ok(&made), "own content is not read back");
    }
    parsed.is_ok()
}

/// A `COSE_Sign1`: one encoding, one purpose.
pub fn sign1(data: &[u8]) -> bool {
    let key = known::signer();
    let Ok(sign1) = Sign1::parse(data, STATEMENT_MAX) else { return false };
    assert!(data.len() <= STATEMENT_MAX, "a signed object over its bound");
    // RFC 9052 §4.2, written out: the only bytes that may stand before the signature.
    let head = [0xd2, 0x84, 0x58, 0x26, 0xa2, 0x01, 0x32, 0x04, 0x58, 0x20];
    let payload = cbor::encode(&Bytes::from(sign1.unverified_payload()));
    let wanted = [&head[..], sign1.kid().as_bytes(), &[0xa0], &payload, &[0x58, 0x40]].concat();
    assert!(data.starts_with(&wanted), "a signed object re-encodes otherwise");
    assert_eq!(data.len(), wanted.len() + 64, "bytes behind the signature");
    let fits = PURPOSES.iter().filter(|purpose| sign1.verify(&key.public(), **purpose).is_ok()).count();
    assert!(fits <= 1, "one signature for several purposes");
    let signed_by_us = fits == 1 && sign1.kid() != key.public().thumbprint();
    assert!(!signed_by_us, "a signature under another key's name");
    true
}

/// A `COSE_Encrypt`.
pub fn encrypt(data: &[u8]) -> bool {
    let parsed = Encrypt::parse(data, PACKET_MAX);
    if let Ok(encrypt) = &parsed {
        assert_eq!(encrypt.to_bytes(), data, "an encrypted object re-encodes otherwise");
        let least = encrypt.wraps.len() * (EK_LEN + WRAPPED_LEN) + encrypt.ciphertext.len();
        assert!(least < data.len(), "more out than in");
    }
    parsed.is_ok()
}

/// A prekey bundle: as signed, and as a payload that the known key signs.
pub fn prekeys(data: &[u8]) -> bool {
    let key = known::signer();
    let mut accepted = false;
    let signed = Sign1::sign(&key, Purpose::Prekeys, data);
    for bytes in [data, &signed] {
        let Ok(bundle) = PrekeyBundle::verify(bytes, &known::oin(), &[key.public()]) else { continue };
        assert!(bytes.len() <= BUNDLE_MAX, "a bundle over its bound");
        assert!((1..=PREKEYS_MAX).contains(&bundle.prekeys.len()), "too many prekeys");
        assert_eq!(bundle.sign(&key), bytes, "a bundle re-encodes otherwise");
        for now in [0, known::NOON, u64::MAX].map(Timestamp) {
            if let Some(prekey) = bundle.usable(now) {
                assert!(now < prekey.not_after, "a prekey past its end");
                assert!(bundle.find(prekey.public.id()).is_some(), "a prekey that is not found");
            }
        }
        accepted = true;
    }
    accepted
}

/// An enrolment request: as signed, and as a payload that the known key signs.
pub fn enrolment(data: &[u8]) -> bool {
    let key = known::signer();
    let mut accepted = false;
    let signed = Sign1::sign(&key, Purpose::Enrolment, data);
    for bytes in [data, &signed] {
        let Ok(request) = EnrolRequest::verify(bytes) else { continue };
        assert!(bytes.len() <= REQUEST_MAX, "a request over its bound");
        let proof = Sign1::parse(bytes, REQUEST_MAX).map(|signed| signed.kid());
        let named: Thumbprint = request.signing_key.thumbprint();
        assert_eq!(proof, Ok(named), "proved by another key");
        assert!(!request.name.chars().any(char::is_control), "a control character for the terminal");
        if request.signing_key == key.public() {
            assert_eq!(request.sign(&key), bytes, "a request re-encodes otherwise");
        }
        accepted = true;
    }
    accepted
}
