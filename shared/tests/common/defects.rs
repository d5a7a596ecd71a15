//! Every way in which a packet can be wrong that has a name, with the stage and number it fails with.

use ciborium::Value;
use seinhuis_shared::ids::{Digest, PrekeyId};
use seinhuis_shared::packet::Recipient;
use seinhuis_shared::refusal::Refusal::{
    self, BadSignature, CannotOpen, CommitmentMismatch, HiddenRecipient, Malformed, NotCanonical,
    RecipientCount, SealMismatch, TooLarge, UnknownKey, UnknownVersion,
};

use crate::common::Stage::{self, Open, Parse, Verify};
use crate::common::{GEM, JW, OM, Org, POL, chance, context};
use crate::forge::{Kit, bytes, content_of, declared, entries, items, wrap, wraps};

/// A packet that must be refused.
pub(crate) struct Defect {
    pub(crate) name: &'static str,
    pub(crate) stage: Stage,
    pub(crate) refusal: Refusal,
    pub(crate) packet: Vec<u8>,
}

fn defect(name: &'static str, stage: Stage, refusal: Refusal, packet: Vec<u8>) -> Defect {
    Defect { name, stage, refusal, packet }
}

/// All of them.
pub(crate) fn all() -> Vec<Defect> {
    let groups = [encoding(), statement_form(), context_form(), binding(), sealed_form(), wrap_form()];
    groups.into_iter().flatten().chain(signature()).chain(opening()).chain(content()).collect()
}

/// Where the statement's byte-string header begins: after the array header and the version.
const STATEMENT_AT: usize = 2;

fn encoding() -> Vec<Defect> {
    let raw = |name, refusal, edit: fn(&mut Vec<u8>)| {
        defect(name, Parse, refusal, Kit::one().with(|kit| kit.edit_bytes = Some(edit)).make())
    };
    let outer = |name, refusal, edit: fn(&mut Value)| {
        defect(name, Parse, refusal, Kit::one().with(|kit| kit.edit_packet = Some(edit)).make())
    };
    vec![
        raw("empty", Malformed, Vec::clear),
        raw("truncated-half", Malformed, |b| b.truncate(b.len() / 2)),
        raw("truncated-last-byte", Malformed, |b| _ = b.pop()),
        raw("trailing-byte", NotCanonical, |b| b.push(0)),
        raw("packet-twice", NotCanonical, |b| b.extend(b.clone())),
        raw("indefinite-array", NotCanonical, |b| {
            b[0] = 0x9f;
            b.push(0xff);
        }),
        raw("indefinite-bytes", NotCanonical, |b| {
            b.insert(STATEMENT_AT, 0x5f);
            let end = STATEMENT_AT + 4 + usize::from(u16::from_be_bytes([b[4], b[5]]));
            b.insert(end, 0xff);
        }),
        raw("non-shortest-int", NotCanonical, |b| _ = b.splice(1..2, [0x18, 0x01])),
        raw("non-shortest-length", NotCanonical, |b| {
            b[STATEMENT_AT] = 0x5a;
            b.splice(3..3, [0, 0]);
        }),
        raw("length-bomb", Malformed, |b| {
            b.truncate(STATEMENT_AT);
            b.extend([0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        }),
        raw("nested-arrays", Malformed, |b| *b = vec![0x81; 4096]),
        outer("packet-tagged", NotCanonical, |v| *v = Value::Tag(55799, Box::new(v.clone()))),
        outer("packet-map", Malformed, |v| {
            *v = Value::Map(items(v).drain(..).map(|item| (Value::from(0), item)).collect());
        }),
        outer("packet-two-elements", Malformed, |v| _ = items(v).pop()),
        outer("packet-four-elements", NotCanonical, |v| items(v).push(Value::Null)),
        outer("version-2", UnknownVersion, |v| items(v)[0] = Value::from(2)),
        outer("version-0", UnknownVersion, |v| items(v)[0] = Value::from(0)),
        outer("version-text", Malformed, |v| items(v)[0] = Value::from("1")),
        outer("version-bignum", NotCanonical, |v| {
            items(v)[0] = Value::Tag(2, Box::new(Value::Bytes(vec![1])));
        }),
        outer("version-float", Malformed, |v| items(v)[0] = Value::from(1.0)),
        outer("statement-not-wrapped-in-bytes", Malformed, |v| {
            items(v)[1] = ciborium::from_reader(bytes(&mut items(v)[1]).as_slice()).unwrap();
        }),
        outer("sealed-null", Malformed, |v| items(v)[2] = Value::Null),
    ]
}

fn statement_form() -> Vec<Defect> {
    let form = |name, edit: fn(&mut Value)| {
        defect(name, Parse, Malformed, Kit::one().with(|kit| kit.edit_statement = Some(edit)).make())
    };
    let header = |name, edit: fn(&mut Vec<u8>)| {
        defect(name, Parse, Malformed, Kit::one().with(|kit| kit.edit_protected = Some(edit)).make())
    };
    let too_large = Kit::one().with(|kit| kit.context.flow = "F".repeat(4000));
    let payload_twice = Kit::one().with(|kit| kit.edit_payload_bytes = Some(|b| b.push(0)));
    let payload_short = Kit::one().with(|kit| kit.edit_payload = Some(|v| _ = items(v).pop()));
    let tag_twice = Kit::one().with(|kit| {
        kit.edit_statement = Some(|v| *v = Value::Tag(18, Box::new(v.clone())));
    });
    let trailing = Kit::one().with(|kit| {
        kit.edit_packet = Some(|v| bytes(&mut items(v)[1]).push(0));
    });
    vec![
        form("statement-untagged", |v| *v = Value::Array(items(v).clone())),
        form("statement-tag-mac0", |v| *v = Value::Tag(17, Box::new(Value::Array(items(v).clone())))),
        form("statement-tag-sign", |v| *v = Value::Tag(98, Box::new(Value::Array(items(v).clone())))),
        form("statement-three-elements", |v| _ = items(v).pop()),
        form("statement-payload-nil", |v| items(v)[2] = Value::Null),
        form("statement-unprotected-alg", |v| {
            entries(&mut items(v)[1]).push((Value::from(1), Value::from(-19)));
        }),
        form("statement-unprotected-kid", |v| {
            entries(&mut items(v)[1]).push((Value::from(4), Value::Bytes(vec![0; 32])));
        }),
        form("statement-protected-empty", |v| bytes(&mut items(v)[0]).clear()),
        form("statement-protected-map", |v| items(v)[0] = Value::Map(vec![])),
        form("signature-63", |v| _ = bytes(&mut items(v)[3]).pop()),
        form("signature-65", |v| bytes(&mut items(v)[3]).push(0)),
        header("statement-alg-minus-8", |b| b[2] = 0x27),
        header("statement-alg-es256", |b| b[2] = 0x26),
        header("statement-alg-missing", |b| *b = [&[0xa1][..], &b[3..]].concat()),
        header("statement-alg-twice", |b| *b = [&[0xa3, 0x01, 0x32][..], &b[1..]].concat()),
        header("statement-crit", |b| {
            b[0] = 0xa3;
            b.extend([0x02, 0x81, 0x04]);
        }),
        header("statement-content-type", |b| {
            b[0] = 0xa3;
            b.extend([0x03, 0x00]);
        }),
        header("statement-header-order", |b| *b = [&[0xa2][..], &b[3..], &[0x01, 0x32]].concat()),
        header("statement-kid-missing", |b| *b = vec![0xa1, 0x01, 0x32]),
        header("statement-kid-31", |b| {
            b[5] = 0x1f;
            b.pop();
        }),
        header("statement-kid-33", |b| {
            b[5] = 0x21;
            b.push(0);
        }),
        defect("statement-tag-twice", Parse, NotCanonical, tag_twice.make()),
        defect("statement-too-large", Parse, TooLarge, too_large.make()),
        defect("statement-trailing-byte", Parse, NotCanonical, trailing.make()),
        defect("payload-trailing-byte", Parse, NotCanonical, payload_twice.make()),
        defect("payload-two-elements", Parse, Malformed, payload_short.make()),
    ]
}

fn context_form() -> Vec<Defect> {
    let form = |name, refusal, edit: fn(&mut Value)| {
        defect(name, Parse, refusal, Kit::one().with(|kit| kit.edit_context = Some(edit)).make())
    };
    let with = |name, refusal, edit: fn(&mut Kit)| defect(name, Parse, refusal, Kit::one().with(edit).make());
    vec![
        form("context-version-2", UnknownVersion, |v| items(v)[0] = Value::from(2)),
        form("context-field-missing", Malformed, |v| _ = items(v).pop()),
        form("context-field-extra", NotCanonical, |v| items(v).push(Value::Null)),
        form("context-version-negative", Malformed, |v| items(v)[0] = Value::from(-1)),
        form("msg-id-15", Malformed, |v| _ = bytes(&mut items(v)[1]).pop()),
        form("msg-id-text", Malformed, |v| items(v)[1] = Value::from("019ca980-4000-7001-8002-030405060708")),
        form("covenant-31", Malformed, |v| _ = bytes(&mut items(v)[2]).pop()),
        form("covenant-null", Malformed, |v| items(v)[2] = Value::Null),
        form("flow-bytes", Malformed, |v| items(v)[3] = Value::Bytes(b"F01".to_vec())),
        form("flow-not-utf8", Malformed, |_| ()),
        form("case-empty", Malformed, |v| items(v)[4] = Value::Bytes(vec![])),
        form("declared-type-upper-case", Malformed, |v| declared(v)[0] = Value::from("Signaal")),
        form("declared-step-unknown", Malformed, |v| declared(v)[1] = Value::from("8")),
        form("declared-level-unknown", Malformed, |v| declared(v)[2] = Value::from("P9")),
        form("declared-category-order", Malformed, |v| items(&mut declared(v)[3]).reverse()),
        form("declared-category-twice", Malformed, |v| {
            let one = items(&mut declared(v)[3])[1].clone();
            items(&mut declared(v)[3]).push(one);
        }),
        form("declared-33-categories", Malformed, |v| {
            declared(v)[3] = Value::Array((10..43).map(|n| Value::from(format!("c{n}"))).collect());
        }),
        form("declared-purpose-empty", Malformed, |v| declared(v)[4] = Value::from("")),
        form("declared-basis-missing", Malformed, |v| _ = declared(v).pop()),
        form("oin-lowercase", Malformed, |v| items(v)[6] = Value::from("0000009900000000200a")),
        form("oin-19", Malformed, |v| items(v)[6] = Value::from("0000009900000000200")),
        form("oin-number", Malformed, |v| items(v)[6] = Value::from(99_u64)),
        form("recipient-oin-lowercase", Malformed, |v| {
            items(&mut items(&mut items(v)[8])[0])[0] = Value::from("0000009900000000100a");
        }),
        form("recipient-prekey-7", Malformed, |v| {
            _ = bytes(&mut items(&mut items(&mut items(v)[8])[0])[1]).pop();
        }),
        form("seq-negative", Malformed, |v| items(v)[9] = Value::from(-1)),
        form("seq-null", Malformed, |v| items(v)[9] = Value::Null),
        form("prev-33", Malformed, |v| items(v)[10] = Value::Bytes(vec![0; 33])),
        form("issued-float", Malformed, |v| items(v)[11] = Value::from(1.5)),
        form("expires-text", Malformed, |v| items(v)[12] = Value::from("2026-03-15")),
        form("trace-15", Malformed, |v| _ = bytes(&mut items(v)[14]).pop()),
        form("commitment-null", Malformed, |v| items(v)[15] = Value::Null),
        with("context-trailing-byte", NotCanonical, |kit| {
            kit.edit_payload = Some(|v| bytes(&mut items(v)[0]).push(0));
        }),
        with("flow-empty", Malformed, |kit| kit.context.flow.clear()),
        with("flow-65", Malformed, |kit| kit.context.flow = "F".repeat(65)),
        with("no-recipient", RecipientCount, |kit| {
            kit.to.clear();
            kit.context.recipients.clear();
        }),
        with("17-recipients", RecipientCount, |kit| {
            let one = |n: u8| Recipient { oin: Org(n).oin(), prekey: PrekeyId([n; 8]) };
            kit.context.recipients = (10..27).map(one).collect();
        }),
        with("recipient-twice", RecipientCount, |kit| {
            *kit = Kit::new(&[GEM, JW, GEM]);
        }),
        with("recipient-twice-with-two-prekeys", RecipientCount, |kit| {
            *kit = Kit::new(&[GEM, JW]);
            kit.context.recipients[1].oin = GEM.oin();
        }),
    ]
    .into_iter()
    .map(spoil_flow)
    .collect()
}

/// Text that is not UTF-8 cannot be made from values: it is put into the finished bytes, where the flow
/// stands. Its signature is then wrong too, but form comes first.
fn spoil_flow(mut defect: Defect) -> Defect {
    if defect.name == "flow-not-utf8" {
        let at = defect.packet.windows(4).position(|four| four == b"\x63F01").unwrap();
        defect.packet[at + 2] = 0xff;
    }
    defect
}

fn binding() -> Vec<Defect> {
    let payload = |name, edit: fn(&mut Value)| {
        defect(name, Parse, SealMismatch, Kit::one().with(|kit| kit.edit_payload = Some(edit)).make())
    };
    let after = |name, edit: fn(&mut Vec<u8>)| {
        defect(name, Parse, SealMismatch, Kit::one().with(|kit| kit.edit_sealed_bytes = Some(edit)).make())
    };
    let own_kid = Kit::one().with(|kit| {
        kit.edit_context = Some(|v| items(v)[7] = Value::Bytes(vec![7; 32]));
    });
    vec![
        payload("sealed-len-wrong", |v| items(v)[2] = Value::from(1)),
        payload("sealed-digest-wrong", |v| bytes(&mut items(v)[1])[0] ^= 1),
        after("sealed-changed", |b| *b.last_mut().unwrap() ^= 1),
        after("sealed-longer", |b| b.push(0)),
        after("sealed-of-another-packet", |b| {
            let other = Kit::one().with(|kit| kit.context.seq = 2).make();
            *b = crate::common::halves(&other).1;
        }),
        defect("kid-not-signer", Parse, UnknownKey, own_kid.make()),
    ]
}

fn sealed_form() -> Vec<Defect> {
    let form = |name, edit: fn(&mut Value)| {
        defect(name, Parse, Malformed, Kit::one().with(|kit| kit.edit_sealed = Some(edit)).make())
    };
    let three = |name, edit: fn(&mut Value)| {
        let kit = Kit::new(&[GEM, JW, OM]).with(|kit| kit.edit_sealed = Some(edit));
        defect(name, Parse, HiddenRecipient, kit.make())
    };
    vec![
        form("sealed-untagged", |v| *v = Value::Array(items(v).clone())),
        form("sealed-tag-encrypt0", |v| *v = Value::Tag(16, Box::new(Value::Array(items(v).clone())))),
        form("sealed-without-recipients", |v| _ = items(v).pop()),
        form("content-alg-a128gcm", |v| bytes(&mut items(v)[0])[2] = 1),
        form("content-alg-unprotected", |v| {
            bytes(&mut items(v)[0]).clear();
            entries(&mut items(v)[1]).insert(0, (Value::from(1), Value::from(3)));
        }),
        form("iv-13", |v| bytes(&mut entries(&mut items(v)[1])[0].1).push(0)),
        form("iv-11", |v| _ = bytes(&mut entries(&mut items(v)[1])[0].1).pop()),
        form("iv-missing", |v| entries(&mut items(v)[1]).clear()),
        form("iv-partial", |v| entries(&mut items(v)[1])[0].0 = Value::from(6)),
        form("sealed-unprotected-extra", |v| {
            entries(&mut items(v)[1]).push((Value::from(6), Value::Bytes(vec![])));
        }),
        form("ciphertext-nil", |v| items(v)[2] = Value::Null),
        three("wrap-missing", |v| _ = wraps(v).pop()),
        three("wraps-none", |v| wraps(v).clear()),
        three("wrap-order", |v| wraps(v).swap(0, 1)),
        three("wrap-twice", |v| {
            let one = wraps(v)[0].clone();
            wraps(v)[1] = one;
        }),
        three("wrap-extra", |v| {
            let one = wraps(v)[0].clone();
            wraps(v).push(one);
        }),
        three("wrap-of-another-prekey", |v| bytes(&mut wrap(v)[0])[6] ^= 1),
        defect("hidden-recipient", Parse, HiddenRecipient, {
            // Sealed to two, declared to one.
            let mut kit = Kit::one();
            kit.to.push(OM);
            kit.make()
        }),
        defect("sealed-not-canonical", Parse, NotCanonical, {
            let kit = Kit::one().with(|kit| {
                kit.edit_sealed = Some(|v| {
                    let map = entries(&mut items(v)[1]);
                    let one = map[0].clone();
                    map.push(one);
                });
            });
            kit.make()
        }),
    ]
}

fn wrap_form() -> Vec<Defect> {
    let form = |name, edit: fn(&mut Value)| {
        defect(name, Parse, Malformed, Kit::one().with(|kit| kit.edit_sealed = Some(edit)).make())
    };
    vec![
        form("ek-short", |v| _ = bytes(&mut entries(&mut wrap(v)[1])[0].1).pop()),
        form("ek-long", |v| bytes(&mut entries(&mut wrap(v)[1])[0].1).push(0)),
        form("ek-missing", |v| entries(&mut wrap(v)[1]).clear()),
        form("ek-under-another-label", |v| entries(&mut wrap(v)[1])[0].0 = Value::from(-1)),
        form("wrapped-47", |v| _ = bytes(&mut wrap(v)[2]).pop()),
        form("wrapped-49", |v| bytes(&mut wrap(v)[2]).push(0)),
        form("wrapped-nil", |v| wrap(v)[2] = Value::Null),
        form("wrap-alg-hpke-4", |v| bytes(&mut wrap(v)[0])[3] = 0x2a),
        form("wrap-alg-missing", |v| {
            let kid = bytes(&mut wrap(v)[0])[4..].to_vec();
            wrap(v)[0] = Value::Bytes([vec![0xa1], kid].concat());
        }),
        form("wrap-kid-7", |v| {
            let protected = bytes(&mut wrap(v)[0]);
            protected[5] = 0x47;
            protected.pop();
        }),
        form("wrap-unprotected-extra", |v| {
            entries(&mut wrap(v)[1]).push((Value::from(1), Value::Bytes(vec![])));
        }),
        form("wrap-two-elements", |v| _ = wrap(v).pop()),
        defect("wrap-nested-recipients", Parse, NotCanonical, {
            let kit = Kit::one().with(|kit| {
                kit.edit_sealed = Some(|v| wrap(v).push(Value::Array(vec![])));
            });
            kit.make()
        }),
    ]
}

fn signature() -> Vec<Defect> {
    let form =
        |name, refusal, edit: fn(&mut Kit)| defect(name, Verify, refusal, Kit::one().with(edit).make());
    vec![
        form("signature-changed", BadSignature, |kit| {
            kit.edit_statement = Some(|v| bytes(&mut items(v)[3])[5] ^= 1);
        }),
        form("signature-zero", BadSignature, |kit| {
            kit.edit_statement = Some(|v| items(v)[3] = Value::Bytes(vec![0; 64]));
        }),
        form("signature-s-not-reduced", BadSignature, |kit| {
            kit.edit_statement = Some(|v| add_order(&mut bytes(&mut items(v)[3])[32..]));
        }),
        form("signature-by-another-key", BadSignature, |kit| kit.signer = JW.key()),
        form("signature-for-prekeys", BadSignature, |kit| kit.purpose = b"seinhuis/prekeys/1"),
        form("signature-for-nothing", BadSignature, |kit| kit.purpose = b""),
        form("foreign-key", UnknownKey, |kit| {
            kit.signer = JW.key();
            kit.context.signer = JW.key().public().thumbprint();
        }),
    ]
}

/// Adds the group order to a scalar: the same scalar, in a form that RFC 8032 §5.1.7 does not allow.
fn add_order(scalar: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, add) in scalar.iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        carry = sum >> 8;
        *byte = sum.to_le_bytes()[0];
    }
}

fn opening() -> Vec<Defect> {
    let form = |name, edit: fn(&mut Kit)| defect(name, Open, CannotOpen, Kit::one().with(edit).make());
    vec![
        form("content-changed", |kit| kit.edit_sealed = Some(|v| bytes(&mut items(v)[2])[0] ^= 1)),
        form("content-tag-changed", |kit| {
            kit.edit_sealed = Some(|v| *bytes(&mut items(v)[2]).last_mut().unwrap() ^= 1);
        }),
        form("content-empty", |kit| kit.edit_sealed = Some(|v| bytes(&mut items(v)[2]).clear())),
        form("iv-changed", |kit| {
            kit.edit_sealed = Some(|v| bytes(&mut entries(&mut items(v)[1])[0].1)[0] ^= 1);
        }),
        form("wrapped-changed", |kit| kit.edit_sealed = Some(|v| bytes(&mut wrap(v)[2])[0] ^= 1)),
        form("ek-changed", |kit| {
            kit.edit_sealed = Some(|v| bytes(&mut entries(&mut wrap(v)[1])[0].1)[0] ^= 1);
        }),
        form("wrap-for-another-context", |kit| {
            kit.wrap_context = Some(context(POL, &[GEM]));
        }),
        form("content-for-another-context", |kit| {
            kit.content_context = Some(context(POL, &[GEM]));
        }),
        form("wraps-exchanged-under-right-names", |kit| {
            *kit = Kit::new(&[GEM, JW]);
            kit.edit_sealed = Some(|v| {
                let other = items(&mut wraps(v)[1])[1..].to_vec();
                wrap(v).splice(1.., other);
            });
        }),
    ]
}

fn content() -> Vec<Defect> {
    let inside = |name, refusal, edit: fn(&mut Vec<u8>)| {
        defect(name, Open, refusal, Kit::one().with(|kit| edit(&mut kit.content)).make())
    };
    let long_type = content_of(chance(9).salt, &"a".repeat(65), b"{}");
    vec![
        inside("content-bad-padding", CannotOpen, |b| *b.last_mut().unwrap() = 1),
        inside("content-padding-short", CannotOpen, |b| repad(b, |pad| _ = pad.pop())),
        inside("content-padding-long", CannotOpen, |b| repad(b, |pad| pad.push(0))),
        inside("content-padding-none", CannotOpen, |b| repad(b, Vec::clear)),
        inside("content-trailing-byte", CannotOpen, |b| b.push(0)),
        inside("content-not-cbor", CannotOpen, |b| b.fill(0xff)),
        inside("content-field-missing", CannotOpen, |b| {
            let mut value: Value = ciborium::from_reader(b.as_slice()).unwrap();
            items(&mut value).pop();
            *b = crate::forge::encode(&value);
        }),
        defect("media-type-65", Open, CannotOpen, {
            let mut kit = Kit::one();
            kit.context.commitment = long_type.commitment();
            kit.content = long_type.to_bytes();
            kit.make()
        }),
        defect("commitment-wrong", Open, CommitmentMismatch, {
            Kit::one().with(|kit| kit.context.commitment = Digest([5; 32])).make()
        }),
        defect("commitment-to-another-body", Open, CommitmentMismatch, {
            let other = content_of(chance(9).salt, "application/json", br#"{"plaats":"plien"}"#);
            Kit::one().with(|kit| kit.content = other.to_bytes()).make()
        }),
        defect("commitment-to-another-salt", Open, CommitmentMismatch, {
            let other = content_of([0; 32], "application/json", br#"{"plaats":"plein"}"#);
            Kit::one().with(|kit| kit.content = other.to_bytes()).make()
        }),
    ]
}

fn repad(content: &mut Vec<u8>, edit: fn(&mut Vec<u8>)) {
    let mut value: Value = ciborium::from_reader(content.as_slice()).unwrap();
    edit(bytes(&mut items(&mut value)[4]));
    *content = crate::forge::encode(&value);
}
