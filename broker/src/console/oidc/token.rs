//! The ID token: what the provider signed about somebody (OpenID Connect Core 1.0, sections 2 and 3.1.3.7).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How far the provider's clock may be off.
const SKEW: Span = Span::minutes(2);
/// Most bytes of a `sub` (OpenID Connect Core 1.0, section 2).
const SUBJECT_MAX: usize = 255;

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    #[error("it is no signed token")]
    Form,
    #[error("it is signed by another algorithm than RS256 or ES256")]
    Algorithm,
    #[error("none of the provider's keys is named in it")]
    Key,
    #[error("its signature is not right")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another client")]
    Audience,
    #[error("it is not of this moment: see to the clocks")]
    Time,
    #[error("it is of another sign-in")]
    Nonce,
    #[error("it does not say who it is about")]
    Subject,
}

/// What a token has to be about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client: &'a str,
    pub(super) nonce: &'a str,
    /// When the sign-in began that it is of.
    pub(super) begun: Timestamp,
}

/// What it says.
pub(super) type Claims = Map<String, Value>;

/// The keys of a JWK Set that tokens may be signed with: those for RS256 and ES256. Keys of other kinds, which providers
/// have beside them, are passed over.
///
/// # Errors
/// Why it is no JWK Set (RFC 7517, section 5).
pub(super) fn keys(bytes: &[u8]) -> Result<Vec<Jwk>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(bytes)?;
    let all = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    Ok(all.filter(|key| algorithm(key).is_some()).collect())
}

/// The one algorithm that a key is used with. What it is for is told by the key and never by the token.
fn algorithm(key: &Jwk) -> Option<Algorithm> {
    if key.common.public_key_use.as_ref().is_some_and(|of| *of != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, named) = if matches!(&key.algorithm, AlgorithmParameters::RSA(_)) {
        (Algorithm::RS256, KeyAlgorithm::RS256)
    } else if matches!(&key.algorithm, AlgorithmParameters::EllipticCurve(own) if own.curve == EllipticCurve::P256)
    {
        (Algorithm::ES256, KeyAlgorithm::ES256)
    } else {
        return None;
    };
    key.common.key_algorithm.is_none_or(|own| own == named).then_some(algorithm)
}

/// What a token says, when all of it is as it has to be.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn verify(
    token: &str,
    keys: &[Jwk],
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Claims, Wrong> {
    let claims = signed(token, keys)?;
    about(&claims, expected)?;
    timely(&claims, expected.begun, now)?;
    Ok(claims)
}

/// What a token says, when one of these keys signed it.
fn signed(token: &str, keys: &[Jwk]) -> Result<Claims, Wrong> {
    let header = decode_header(token).map_err(|_| Wrong::Form)?;
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
        return Err(Wrong::Algorithm);
    }
    // Nothing that has to be understood is understood here (RFC 7515, section 4.1.11).
    if header.crit.is_some() {
        return Err(Wrong::Form);
    }
    let mut fit = keys.iter().filter(|key| algorithm(key) == Some(header.alg));
    let key = match &header.kid {
        Some(name) => fit.find(|key| key.common.key_id.as_ref() == Some(name)),
        // A token need not name its key where there is one alone (OpenID Connect Core 1.0, section 10.1).
        None => fit.next().filter(|_| fit.next().is_none()),
    };
    let key = DecodingKey::from_jwk(key.ok_or(Wrong::Key)?).map_err(|_| Wrong::Key)?;
    let mut how = Validation::new(header.alg);
    // The library's part is the signature. What the token says is looked at below, on this program's clock.
    how.required_spec_claims.clear();
    (how.validate_exp, how.validate_nbf, how.validate_aud) = (false, false, false);
    decode::<Claims>(token, &key, &how).map(|data| data.claims).map_err(|_| Wrong::Signature)
}

/// Whether it is about what it has to be about.
fn about(claims: &Claims, expected: &Expected<'_>) -> Result<(), Wrong> {
    let client = Some(expected.client);
    if text(claims, "iss") != Some(expected.issuer) {
        return Err(Wrong::Issuer);
    }
    let (to_client, to_others) = match claims.get("aud") {
        Some(Value::Array(all)) => (all.iter().any(|one| one.as_str() == client), all.len() > 1),
        one => (one.and_then(Value::as_str) == client, false),
    };
    // Who else it is for may have asked for it: then it says who did (section 3.1.3.7, steps 4 and 5).
    let asked = match claims.get("azp") {
        Some(azp) => azp.as_str() == client,
        None => !to_others,
    };
    if !to_client || !asked {
        return Err(Wrong::Audience);
    }
    let nonce = text(claims, "nonce").unwrap_or_default();
    if !sha256(nonce.as_bytes()).is_same_secret(&sha256(expected.nonce.as_bytes())) {
        return Err(Wrong::Nonce);
    }
    let is_subject = |text: &str| !text.is_empty() && text.len() <= SUBJECT_MAX;
    text(claims, "sub").filter(|sub| is_subject(sub)).map(drop).ok_or(Wrong::Subject)
}

/// Whether it was made for this sign-in and still counts.
fn timely(claims: &Claims, begun: Timestamp, now: Timestamp) -> Result<(), Wrong> {
    let at = |name: &str| -> Result<Option<Timestamp>, Wrong> {
        let Some(value) = claims.get(name) else { return Ok(None) };
        let millis = value.as_u64().and_then(|seconds| seconds.checked_mul(1000));
        millis.map(|millis| Some(Timestamp(millis))).ok_or(Wrong::Time)
    };
    let (Some(ends), Some(made)) = (at("exp")?, at("iat")?) else { return Err(Wrong::Time) };
    let lasts = now < ends.plus(SKEW);
    let is_new = begun <= made.plus(SKEW) && made <= now.plus(SKEW);
    let begins = at("nbf")?.is_none_or(|from| from <= now.plus(SKEW));
    if lasts && is_new && begins { Ok(()) } else { Err(Wrong::Time) }
}

/// A claim that is a text.
pub(super) fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

#[cfg(test)]
pub(super) mod tests;
