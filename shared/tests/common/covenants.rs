//! Makes the vectors of covenants in their two canonical forms: who informs data subjects, said or not, and said wrongly.

use ciborium::Value;
use seinhuis_shared::cbor;
use seinhuis_shared::covenant::{Covenant, FORMAT_INFORMS, Role};

use crate::cases;
use crate::files::{CovenantFields, Covenants, hex};
use crate::forge::{encode, items};

/// Where `informs` stands.
const INFORMS: usize = 27;

fn says(informs: &[Role]) -> Covenant {
    Covenant { format: FORMAT_INFORMS, informs: informs.to_vec(), ..cases::covenant() }
}

fn valid(name: &str, covenant: &Covenant) -> CovenantFields {
    CovenantFields {
        name: name.into(),
        informs: Some(covenant.informs.iter().map(ToString::to_string).collect()),
        sha256: Some(covenant.hash().to_string()),
        covenant: hex(&covenant.to_bytes()),
    }
}

fn invalid(name: &str, bytes: &[u8]) -> CovenantFields {
    CovenantFields { name: name.into(), informs: None, sha256: None, covenant: hex(bytes) }
}

pub(crate) fn covenants() -> Covenants {
    let roles = [Role::Gemeente, Role::Politie, Role::Om];
    Covenants {
        valid: vec![
            valid("form-1", &cases::covenant()),
            valid("one-role", &says(&[Role::Gemeente])),
            valid("roles-in-their-order", &says(&roles)),
            valid("role-that-no-party-has", &says(&[Role::Zvh])),
            valid("every-role", &says(Role::ALL)),
        ],
        invalid: [forms(&says(&roles)), lists(&says(&roles)), encodings(&says(&roles))].concat(),
    }
}

/// The document with its elements changed.
fn edited(covenant: &Covenant, name: &str, edit: impl Fn(&mut Vec<Value>)) -> CovenantFields {
    let mut value: Value = ciborium::from_reader(&cbor::encode(covenant)[..]).unwrap();
    edit(items(&mut value));
    invalid(name, &encode(&value))
}

/// Forms that are not known, and elements that are not those of the form.
fn forms(good: &Covenant) -> Vec<CovenantFields> {
    let with = |name, edit: fn(&mut Vec<Value>)| edited(good, name, edit);
    let without = |name, edit: fn(&mut Vec<Value>)| edited(&cases::covenant(), name, edit);
    vec![
        with("form-0", |v| v[0] = Value::from(0)),
        with("form-3", |v| v[0] = Value::from(3)),
        with("form-3-with-an-element-more", |v| {
            v[0] = Value::from(3);
            v.push(Value::Null);
        }),
        with("form-256", |v| v[0] = Value::from(256)),
        with("form-as-text", |v| v[0] = Value::from("2")),
        with("form-negative", |v| v[0] = Value::from(-3)),
        with("form-1-with-roles", |v| v[0] = Value::from(1)),
        without("form-1-with-an-empty-list", |v| v.push(Value::Array(Vec::new()))),
        without("form-1-with-null", |v| v.push(Value::Null)),
        without("form-2-without-roles", |v| v[0] = Value::from(2)),
        with("element-extra", |v| v.push(Value::Array(Vec::new()))),
        with("element-missing-before", |v| _ = v.remove(INFORMS - 1)),
        with("roles-before-witnesses", |v| v.swap(INFORMS - 1, INFORMS)),
    ]
}

/// Lists that the form does not have.
fn lists(good: &Covenant) -> Vec<CovenantFields> {
    let to = |name, roles: &[&str]| {
        edited(good, name, |v| {
            v[INFORMS] = Value::Array(roles.iter().map(|role| Value::from(*role)).collect());
        })
    };
    let with = |name, value: Value| edited(good, name, |v| v[INFORMS] = value.clone());
    let all: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    vec![
        to("no-role", &[]),
        to("role-twice", &["gemeente", "gemeente"]),
        to("nine-roles", &[&all[..], &["lokaal_team"]].concat()),
        to("roles-not-in-their-order", &["politie", "gemeente"]),
        to("roles-in-the-order-of-the-alphabet", &["gemeente", "om", "politie"]),
        to("role-unknown", &["gemeente", "burgemeester"]),
        to("role-with-a-capital", &["Gemeente"]),
        to("role-empty", &[""]),
        with("role-as-number", Value::Array(vec![Value::from(0)])),
        with("role-in-bytes", Value::Array(vec![Value::Bytes(b"gemeente".to_vec())])),
        with("roles-in-a-list", Value::Array(vec![Value::Array(vec![Value::from("gemeente")])])),
        with("roles-as-text", Value::from("gemeente")),
        with("roles-null", Value::Null),
        with("party-instead-of-a-role", Value::Array(vec![Value::from("00000099000000001000")])),
    ]
}

/// The right elements, not in the one encoding.
fn encodings(good: &Covenant) -> Vec<CovenantFields> {
    let bytes = good.to_bytes();
    // Array of 28 elements (98 1c), form 2 (02); at the end an array of three texts, the last of two characters.
    assert!(bytes.starts_with(&[0x98, 0x1c, 0x02]) && bytes.ends_with(b"\x62om"));
    let list = b"\x83\x68gemeente\x67politie\x62om";
    let before = &bytes[..bytes.len() - list.len()];
    assert!(bytes.ends_with(list));
    let rest = &bytes[3..];
    vec![
        invalid("form-in-two-bytes", &[&[0x98, 0x1c, 0x18, 0x02], rest].concat()),
        invalid("length-in-three-bytes", &[&[0x99, 0x00, 0x1c, 0x02], rest].concat()),
        invalid("length-not-said", &[&[0x9f, 0x02], rest, &[0xff]].concat()),
        invalid("length-of-roles-not-said", &[before, &[0x9f], &list[1..], &[0xff]].concat()),
        invalid("length-of-roles-in-two-bytes", &[before, &[0x98, 0x03], &list[1..]].concat()),
        invalid("one-element-promised-more", &[&[0x98, 0x1d, 0x02], rest].concat()),
        invalid("truncated", &bytes[..bytes.len() - 1]),
        invalid("truncated-before-the-roles", before),
        invalid("trailing-byte", &[&bytes[..], &[0]].concat()),
    ]
}
