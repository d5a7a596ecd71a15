//! Packets with one thing wrong and everything else right: signatures, digests and encryptions are made
//! anew around the defect, so that nothing but the defect can be what is refused.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use ciborium::Value;
use seinhuis_shared::cbor;
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::cose::{content_aad, wrap_info};
use seinhuis_shared::covenant::Handling;
use seinhuis_shared::onward::Provenance;
use seinhuis_shared::packet::{Content, Context, Hpke, Plain};
use seinhuis_shared::signing::{SigningKey, sha256};

use crate::common::{DetHpke, GEM, Org, POL, chance, context};

/// A change to a decoded value.
pub(crate) type Edit = fn(&mut Value);

/// A packet about to be made, as [`Kit::make`] puts it together.
pub(crate) struct Kit {
    pub(crate) to: Vec<Org>,
    pub(crate) context: Context,
    pub(crate) content: Vec<u8>,
    pub(crate) signer: SigningKey,
    /// What the signature says it is for.
    pub(crate) purpose: &'static [u8],
    /// The context that the content, and that the wraps are bound to, if not the packet's own.
    pub(crate) content_context: Option<Context>,
    pub(crate) wrap_context: Option<Context>,
    pub(crate) edit_context: Option<Edit>,
    pub(crate) edit_sealed: Option<Edit>,
    /// The sealed half after the statement about it was signed.
    pub(crate) edit_sealed_bytes: Option<fn(&mut Vec<u8>)>,
    pub(crate) edit_payload: Option<Edit>,
    pub(crate) edit_payload_bytes: Option<fn(&mut Vec<u8>)>,
    pub(crate) edit_protected: Option<fn(&mut Vec<u8>)>,
    pub(crate) edit_statement: Option<Edit>,
    pub(crate) edit_packet: Option<Edit>,
    pub(crate) edit_bytes: Option<fn(&mut Vec<u8>)>,
}

/// Content of the police, without anything special about it.
pub(crate) fn content_of(salt: [u8; 32], media_type: &str, body: &[u8]) -> Content {
    let provenance = Provenance::own(POL.oin(), Handling::Partners);
    Content::new(salt, Plain { media_type, provenance: &provenance, body })
}

impl Kit {
    /// A right packet from the police to these.
    pub(crate) fn new(to: &[Org]) -> Self {
        let content = content_of(chance(9).salt, "application/json", br#"{"plaats":"plein"}"#);
        let mut context = context(POL, to);
        context.commitment = content.commitment();
        Self {
            to: to.to_vec(),
            context,
            content: content.to_bytes(),
            signer: POL.key(),
            purpose: b"seinhuis/packet/1",
            content_context: None,
            wrap_context: None,
            edit_context: None,
            edit_sealed: None,
            edit_sealed_bytes: None,
            edit_payload: None,
            edit_payload_bytes: None,
            edit_protected: None,
            edit_statement: None,
            edit_packet: None,
            edit_bytes: None,
        }
    }

    pub(crate) fn one() -> Self {
        Self::new(&[GEM])
    }

    pub(crate) fn with(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    /// The packet's bytes.
    pub(crate) fn make(&self) -> Vec<u8> {
        let context = edited(&self.context.to_bytes(), self.edit_context);
        let mut sealed = edited(&encode(&self.sealed(&context)), self.edit_sealed);
        let payload = Value::Array(vec![
            Value::Bytes(context),
            Value::Bytes(sha256(&sealed).0.to_vec()),
            Value::from(u64::try_from(sealed.len()).unwrap()),
        ]);
        let mut payload = edited(&encode(&payload), self.edit_payload);
        if let Some(edit) = self.edit_payload_bytes {
            edit(&mut payload);
        }
        let statement = edited(&encode(&self.statement(payload)), self.edit_statement);
        if let Some(edit) = self.edit_sealed_bytes {
            edit(&mut sealed);
        }
        let packet = Value::Array(vec![Value::from(1), Value::Bytes(statement), Value::Bytes(sealed)]);
        let mut bytes = edited(&encode(&packet), self.edit_packet);
        if let Some(edit) = self.edit_bytes {
            edit(&mut bytes);
        }
        bytes
    }

    /// COSE_Sign1 over what stands in its headers, right or wrong (RFC 9052 §4.4).
    fn statement(&self, payload: Vec<u8>) -> Value {
        let mut protected = [&[0xa2, 0x01, 0x32, 0x04, 0x58, 0x20][..], &self.context.signer.0].concat();
        if let Some(edit) = self.edit_protected {
            edit(&mut protected);
        }
        let signed = cbor::encode(&(
            "Signature1",
            Bytes::from(&protected[..]),
            Bytes::from(self.purpose),
            Bytes::from(&payload[..]),
        ));
        let parts = vec![
            Value::Bytes(protected),
            Value::Map(vec![]),
            Value::Bytes(payload),
            Value::Bytes(self.signer.sign(&signed).to_vec()),
        ];
        Value::Tag(18, Box::new(Value::Array(parts)))
    }

    /// COSE_Encrypt of the content to each recipient.
    fn sealed(&self, context: &[u8]) -> Value {
        let bound = |other: &Option<Context>| other.as_ref().map_or(context.to_vec(), Context::to_bytes);
        let chance = chance(9);
        let aad = content_aad(&bound(&self.content_context));
        let ciphertext = Aes256Gcm::new(&Key::<Aes256Gcm>::from(chance.key))
            .encrypt(&Nonce::from(chance.iv), Payload { msg: &self.content, aad: &aad })
            .unwrap();
        let hpke = DetHpke::new(9);
        let wrap = |org: &Org| {
            let prekey = org.prekey();
            let info = wrap_info(prekey.id(), &bound(&self.wrap_context));
            let (ek, wrapped) = hpke.seal(&prekey, &info, &chance.key).unwrap();
            let protected = [&[0xa2, 0x01, 0x18, 0x39, 0x04, 0x48][..], &prekey.id().0].concat();
            Value::Array(vec![
                Value::Bytes(protected),
                Value::Map(vec![(Value::from(-4), Value::Bytes(ek.to_vec()))]),
                Value::Bytes(wrapped.to_vec()),
            ])
        };
        let parts = vec![
            Value::Bytes(vec![0xa1, 0x01, 0x03]),
            Value::Map(vec![(Value::from(5), Value::Bytes(chance.iv.to_vec()))]),
            Value::Bytes(ciphertext),
            Value::Array(self.to.iter().map(wrap).collect()),
        ];
        Value::Tag(96, Box::new(Value::Array(parts)))
    }
}

pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).unwrap();
    out
}

fn edited(bytes: &[u8], edit: Option<Edit>) -> Vec<u8> {
    let Some(edit) = edit else { return bytes.to_vec() };
    let mut value: Value = ciborium::from_reader(bytes).unwrap();
    edit(&mut value);
    encode(&value)
}

/// The elements of an array, tagged or not.
pub(crate) fn items(value: &mut Value) -> &mut Vec<Value> {
    if let Value::Tag(_, inner) = value { items(inner) } else { value.as_array_mut().unwrap() }
}

pub(crate) fn entries(value: &mut Value) -> &mut Vec<(Value, Value)> {
    value.as_map_mut().unwrap()
}

pub(crate) fn bytes(value: &mut Value) -> &mut Vec<u8> {
    value.as_bytes_mut().unwrap()
}

/// The declaration inside a context.
pub(crate) fn declared(context: &mut Value) -> &mut Vec<Value> {
    items(&mut items(context)[5])
}

/// The wraps inside a COSE_Encrypt.
pub(crate) fn wraps(sealed: &mut Value) -> &mut Vec<Value> {
    items(&mut items(sealed)[3])
}

/// The parts of the first wrap.
pub(crate) fn wrap(sealed: &mut Value) -> &mut Vec<Value> {
    items(&mut wraps(sealed)[0])
}
