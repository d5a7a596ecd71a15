use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use aws_lc_rs::{hmac, signature};
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

use super::*;

pub(in crate::console::oidc) const NOW: Timestamp = Timestamp(1_800_000_000_000);
const ISSUER: &str = "https://login.example";
const EXPECTED: Expected<'static> = Expected { issuer: ISSUER, client: "seinhuis", nonce: "n", begun: NOW };

fn part(value: &Value) -> String {
    BASE64URL_NOPAD.encode(value.to_string().as_bytes())
}

/// A key of a provider, and its name.
pub(in crate::console::oidc) struct Signer {
    key: EcdsaKeyPair,
    name: &'static str,
}

impl Signer {
    pub(in crate::console::oidc) fn new(name: &'static str) -> Self {
        Self { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), name }
    }

    pub(in crate::console::oidc) fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| BASE64URL_NOPAD.encode(half));
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.name, "use": "sig", "alg": "ES256" })
    }

    pub(in crate::console::oidc) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({ "alg": "ES256", "kid": self.name, "typ": "JWT" }), claims)
    }

    fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

fn set(all: &[Value]) -> Vec<Jwk> {
    keys(json!({ "keys": all }).to_string().as_bytes()).unwrap()
}

fn claims() -> Value {
    let seconds = NOW.0 / 1000;
    json!({
        "iss": ISSUER, "sub": "24400320", "aud": "seinhuis", "nonce": "n", "iat": seconds, "exp": seconds + 300,
        "roles": ["beheer"],
    })
}

/// What comes of claims of which one is another, or is not there.
fn with(name: &str, value: Value) -> Result<Claims, Wrong> {
    let signer = Signer::new("a");
    let mut all = claims();
    if value.is_null() {
        all.as_object_mut().unwrap().remove(name);
    } else {
        all[name] = value;
    }
    verify(&signer.sign(&all), &set(&[signer.jwk()]), &EXPECTED, NOW)
}

#[test]
fn a_token_that_is_right_says_who_it_is_about() {
    let said = with("email", json!("anna@login.example")).unwrap();
    assert_eq!(text(&said, "sub"), Some("24400320"));
    assert_eq!(said["roles"], json!(["beheer"]));
}

#[test]
fn a_token_of_another_issuer_client_or_sign_in_is_wrong() {
    for iss in [json!("https://evil.example"), json!("https://login.example/"), json!([ISSUER]), Value::Null]
    {
        assert_eq!(with("iss", iss), Err(Wrong::Issuer));
    }
    for aud in
        [json!("other"), json!(["other"]), json!([]), json!(1), Value::Null, json!(["seinhuis", "other"])]
    {
        assert_eq!(with("aud", aud.clone()), Err(Wrong::Audience), "{aud}");
    }
    assert_eq!(with("azp", json!("other")), Err(Wrong::Audience), "somebody else asked for it");
    assert!(with("azp", json!("seinhuis")).is_ok() && with("aud", json!(["seinhuis"])).is_ok());
    for nonce in [json!("m"), json!(""), json!(1), Value::Null] {
        assert_eq!(with("nonce", nonce), Err(Wrong::Nonce));
    }
    for sub in [json!(""), json!("x".repeat(256)), json!(1), Value::Null] {
        assert_eq!(with("sub", sub), Err(Wrong::Subject));
    }
}

#[test]
fn several_audiences_name_who_asked() {
    let signer = Signer::new("a");
    let mut all = claims();
    all["aud"] = json!(["other", "seinhuis"]);
    all["azp"] = json!("seinhuis");
    assert!(verify(&signer.sign(&all), &set(&[signer.jwk()]), &EXPECTED, NOW).is_ok());
}

#[test]
fn a_token_counts_at_its_own_time() {
    let now = NOW.0 / 1000;
    for (name, good, wrong) in [
        ("exp", now - 119, now - 120),
        ("iat", now + 120, now + 121),
        ("iat", now - 120, now - 121),
        ("nbf", now + 120, now + 121),
    ] {
        assert!(with(name, json!(good)).is_ok(), "{name} {good}");
        assert_eq!(with(name, json!(wrong)), Err(Wrong::Time), "{name} {wrong}");
    }
    for name in ["exp", "iat"] {
        for wrong in [json!(-1), json!("1800000300"), json!(1e99), json!(u64::MAX), Value::Null] {
            assert_eq!(with(name, wrong.clone()), Err(Wrong::Time), "{name} {wrong}");
        }
    }
}

#[test]
fn what_is_not_signed_by_a_key_of_the_provider_is_wrong() {
    let (own, other) = (Signer::new("a"), Signer::new("b"));
    let keys = set(&[own.jwk()]);
    let said = |token: &str| verify(token, &keys, &EXPECTED, NOW);
    let right = own.sign(&claims());
    let (message, signature) = right.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let mut changed = claims();
    changed["roles"] = json!(["other"]);
    assert_eq!(said(&format!("{header}.{}.{signature}", part(&changed))), Err(Wrong::Signature));
    assert_eq!(said(&format!("{message}.")), Err(Wrong::Signature), "without one");
    assert_eq!(said(&other.sign(&claims())), Err(Wrong::Key), "a key that is not known");
    let as_own = json!({ "alg": "ES256", "kid": "a" });
    assert_eq!(
        said(&other.sign_as(&as_own, &claims())),
        Err(Wrong::Signature),
        "a key of another by this name"
    );
    for text in ["", ".", "..", "...", "a.b.c", message, &format!("{right}.x"), "\u{e9}.\u{e9}.\u{e9}"] {
        assert_eq!(said(text), Err(Wrong::Form), "{text}");
    }
    let crit = json!({ "alg": "ES256", "kid": "a", "crit": ["b64"], "b64": true });
    assert_eq!(said(&own.sign_as(&crit, &claims())), Err(Wrong::Form));
}

#[test]
fn no_token_chooses_how_it_is_checked() {
    let own = Signer::new("a");
    let keys = set(&[own.jwk()]);
    let body = part(&claims());
    for alg in ["none", "None", "NONE", ""] {
        let unsigned = format!("{}.{body}.", part(&json!({ "alg": alg, "kid": "a" })));
        assert_eq!(verify(&unsigned, &keys, &EXPECTED, NOW), Err(Wrong::Form), "{alg}");
    }
    // The public key as a secret: what a library that believes the header takes for right.
    let message = format!("{}.{body}", part(&json!({ "alg": "HS256", "kid": "a" })));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, own.key.public_key().as_ref());
    let tag = BASE64URL_NOPAD.encode(hmac::sign(&secret, message.as_bytes()).as_ref());
    assert_eq!(verify(&format!("{message}.{tag}"), &keys, &EXPECTED, NOW), Err(Wrong::Algorithm));
    for alg in ["RS256", "PS256", "ES384", "EdDSA"] {
        let token = own.sign_as(&json!({ "alg": alg, "kid": "a" }), &claims());
        assert!(verify(&token, &keys, &EXPECTED, NOW).is_err(), "{alg}");
    }
    // A key in the token itself is not looked at.
    let other = Signer::new("a");
    let brought = json!({ "alg": "ES256", "kid": "a", "jwk": other.jwk() });
    assert_eq!(verify(&other.sign_as(&brought, &claims()), &keys, &EXPECTED, NOW), Err(Wrong::Signature));
}

#[test]
fn a_token_need_not_name_its_key_where_there_is_one() {
    let (one, two) = (Signer::new("a"), Signer::new("b"));
    let token = one.sign_as(&json!({ "alg": "ES256" }), &claims());
    assert!(verify(&token, &set(&[one.jwk()]), &EXPECTED, NOW).is_ok());
    assert_eq!(verify(&token, &set(&[one.jwk(), two.jwk()]), &EXPECTED, NOW), Err(Wrong::Key));
}

#[test]
fn a_key_of_rsa_is_for_rs256_and_one_that_is_short_for_nothing() {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let jwk = |n: &[u8]| {
        let parts = PublicKeyComponents::<Vec<u8>>::from(key.public_key());
        json!({ "kty": "RSA", "kid": "r", "n": BASE64URL_NOPAD.encode(n), "e": BASE64URL_NOPAD.encode(&parts.e) })
    };
    let modulus = PublicKeyComponents::<Vec<u8>>::from(key.public_key()).n;
    let sign = |alg: &str, padding: &'static dyn signature::RsaEncoding| {
        let message = format!("{}.{}", part(&json!({ "alg": alg, "kid": "r" })), part(&claims()));
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(padding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", BASE64URL_NOPAD.encode(&signature))
    };
    let keys = set(&[jwk(&modulus)]);
    assert!(verify(&sign("RS256", &RSA_PKCS1_SHA256), &keys, &EXPECTED, NOW).is_ok());
    for (alg, padding) in [
        ("PS256", &signature::RSA_PSS_SHA256 as &'static dyn signature::RsaEncoding),
        ("RS512", &signature::RSA_PKCS1_SHA512),
        ("ES256", &RSA_PKCS1_SHA256),
    ] {
        assert!(verify(&sign(alg, padding), &keys, &EXPECTED, NOW).is_err(), "{alg}");
    }
    let short = set(&[jwk(&modulus[..128])]);
    assert_eq!(verify(&sign("RS256", &RSA_PKCS1_SHA256), &short, &EXPECTED, NOW), Err(Wrong::Signature));
}

#[test]
fn keys_that_are_for_something_else_are_passed_over() {
    let signer = Signer::new("a");
    let changed = |name: &str, value: Value| {
        let mut jwk = signer.jwk();
        jwk[name] = value;
        jwk
    };
    let others = [
        changed("use", json!("enc")),
        changed("alg", json!("ECDH-ES")),
        changed("crv", json!("P-521")),
        changed("kty", json!("AKP")),
        json!({ "kty": "oct", "k": "AAAA", "kid": "a", "alg": "HS256" }),
        json!({ "kty": "RSA", "kid": "a", "use": "enc", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB" }),
        json!("x"),
        json!(null),
    ];
    assert!(set(&others).is_empty());
    assert_eq!(set(&[&others[..], &[signer.jwk()]].concat()).len(), 1);
    for wrong in ["", "[]", "{}", "{\"keys\":1}"] {
        assert!(keys(wrong.as_bytes()).is_err(), "{wrong}");
    }
}
