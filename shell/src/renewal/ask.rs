//! Asking the renewal service, and believing nothing of its answer that the CA did not sign.

use std::time::Duration;

use data_encoding::BASE64;
use rustls_pki_types::CertificateDer;
use seinhuis_shared::sealed_key::pem;
use seinhuis_shared::time::{Span, Timestamp};
use serde_json::Value;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Failed, plan};
use crate::complaint::Complaint;
use crate::enrolment::build_csr;
use crate::grant::{CRL_MAX, Grant};
use crate::http::{Answer, Http, HttpError};
use crate::keys::TlsKey;
use crate::lang::Text;
use crate::tls::{self, Identity, Trust};

/// How long one exchange with the service may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of an answer with certificates.
const CHAIN_MAX: usize = 64 * 1024;
/// Longest wait the service can ask for: no node waits longer for anything.
const AFTER_MAX: Span = plan::ROUND;

/// The word of a service that knows a later certificate of this node than the one it was asked with.
pub const NOT_NEWEST: &str = "not-newest";

/// One node's way to the service.
#[derive(Debug)]
pub(super) struct Asker {
    http: Http,
    service: String,
}

impl Asker {
    pub(super) fn new(service: &str, identity: &Identity, trust: &Trust) -> Result<Self, Complaint> {
        let http = Http::with_tls(tls::renewal_client_config(identity, trust)?)?;
        Ok(Self { http, service: service.to_owned() })
    }

    /// The CA's revocation list of the moment, in PEM; who made it is not checked here.
    pub(super) async fn list(&self) -> Result<String, Failed> {
        let address = format!("{}/crl.pem", self.service);
        let answer = self.http.get(&address, CRL_MAX, PATIENCE).await.map_err(|error| no_answer(&error))?;
        if answer.status != 200 {
            return Err(declined(&answer));
        }
        String::from_utf8(answer.body).map_err(|_| strange("the revocation list is no text").into())
    }

    /// Asks for the certificate of `grant` anew, for this key.
    pub(super) async fn renew(&self, grant: &Grant, key: &TlsKey, at: Timestamp) -> Result<Grant, Failed> {
        let body = BASE64.encode(&build_csr(key)?).into_bytes();
        let address = format!("{}/.well-known/est/simplereenroll", self.service);
        let asked = self.http.post(&address, "application/pkcs10", body, CHAIN_MAX, PATIENCE);
        let answer = asked.await.map_err(|error| no_answer(&error))?;
        if answer.status != 200 {
            return Err(declined(&answer));
        }
        if answer.content_type.as_deref() != Some("application/pem-certificate-chain") {
            return Err(strange("the answer holds no chain of certificates").into());
        }
        let text = String::from_utf8(answer.body).map_err(|_| strange("the chain is no text"))?;
        Ok(renewed(grant, &text, key, at)?)
    }
}

/// The grant with the first certificate of `chain` in the place of its own, when that says the same about this key,
/// lasts longer, and is signed by the CA that is trusted already. Nothing else of the answer is used.
fn renewed(grant: &Grant, chain: &str, key: &TlsKey, at: Timestamp) -> Result<Grant, Complaint> {
    let (old, new) = (tls::certificates(&grant.chain)?, tls::certificates(chain)?);
    let unreadable = || strange("a certificate cannot be read");
    let (old, new) = (old.first().ok_or_else(unreadable)?, new.first().ok_or_else(unreadable)?);
    let ca = grant.trust()?.ca;
    let [before, after, ca] = [old, new, &ca].map(|der: &CertificateDer<'_>| X509Certificate::from_der(der));
    let ((_, before), (_, after), (_, ca)) =
        (before.map_err(|_| unreadable())?, after.map_err(|_| unreadable())?, ca.map_err(|_| unreadable())?);
    if after.issuer().as_raw() != ca.subject().as_raw()
        || after.verify_signature(Some(ca.public_key())).is_err()
    {
        return Err(strange("the certificate is not signed by the partnership's CA"));
    }
    let usage = |cert: &X509Certificate<'_>| {
        let usage = cert.extended_key_usage().ok().flatten();
        usage.map(|usage| (usage.value.client_auth, usage.value.server_auth, usage.value.any))
    };
    let names = |cert: &X509Certificate<'_>| {
        let names = cert.subject_alternative_name().ok().flatten();
        names.map(|names| format!("{:?}", names.value.general_names))
    };
    if before.subject().as_raw() != after.subject().as_raw()
        || usage(&before) != usage(&after)
        || names(&before) != names(&after)
    {
        return Err(strange("the certificate says something else than the one before it"));
    }
    let leaf = tls::peer(std::slice::from_ref(new))?;
    if leaf.not_after <= grant.not_after {
        return Err(strange("the certificate does not last longer than the one before it"));
    }
    let grant =
        Grant { chain: pem("CERTIFICATE", new), not_after: leaf.not_after, issued: at, ..grant.clone() };
    grant.identity(key)?;
    // As it will be read back.
    Grant::parse(&grant.to_bytes())
}

fn no_answer(error: &HttpError) -> Failed {
    Complaint::usage(
        Text::new(
            format!("De vernieuwingsdienst van de CA antwoordt niet: {error}."),
            format!("The CA's renewal service does not answer: {error}."),
        ),
        Text::new(
            "Controleer renewal.service en het netwerk; het wordt vanzelf opnieuw geprobeerd.",
            "See to renewal.service and the network; it is tried again by itself.",
        ),
    )
    .into()
}

fn strange(what: &str) -> Complaint {
    Complaint::refused(
        Text::new(
            format!("Het antwoord van de vernieuwingsdienst is niet bruikbaar ({what})."),
            format!("The answer of the renewal service cannot be used ({what})."),
        ),
        Text::new(
            "Niets is gewijzigd. Neem contact op met de beheerder van de CA.",
            "Nothing was changed. Contact the CA's operator.",
        ),
    )
}

/// What the service said no with, in words of this program: those of the other side are not shown.
fn declined(answer: &Answer) -> Failed {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let after = said.get("retry_after").and_then(Value::as_u64);
    let after = after.map(|seconds| Span(seconds.saturating_mul(1000)).min(AFTER_MAX));
    let (nl, en, advice) = match said.get("reason").and_then(Value::as_str) {
        Some(NOT_NEWEST) => (
            "De CA gaf voor deze node al een later certificaat uit, op een andere sleutel.".to_owned(),
            "The CA issued a later certificate for this node already, for another key.".to_owned(),
            Text::new(
                "Is de map niet uit een oude kopie teruggezet, dan heeft een ander de sleutels: volg docs/stolen-agent.md.",
                "Unless the folder was put back from an old copy, somebody else has the keys: follow docs/stolen-agent.md.",
            ),
        ),
        Some("revoked" | "unknown") => (
            "De CA kent dit certificaat niet als geldig.".to_owned(),
            "The CA does not know this certificate as valid.".to_owned(),
            Text::new(
                "Bel de beheerder van de CA; vraag zo nodig opnieuw aan.",
                "Call the CA's operator; make a new request if needed.",
            ),
        ),
        Some("too-early") => (
            "De CA vernieuwt dit certificaat nog niet.".to_owned(),
            "The CA does not renew this certificate yet.".to_owned(),
            Text::new("Controleer de klok van deze machine.", "Check this machine's clock."),
        ),
        _ => (
            format!("De vernieuwingsdienst weigert (HTTP {}).", answer.status),
            format!("The renewal service refuses (HTTP {}).", answer.status),
            Text::new(
                "Het wordt vanzelf opnieuw geprobeerd; bel de beheerder van de CA als het blijft.",
                "It is tried again by itself; call the CA's operator if it stays.",
            ),
        ),
    };
    Failed { why: Complaint::refused(Text::new(nl, en), advice), after }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::{GrantFormat, Kind};
    use crate::tls::tests::Ca;

    fn grant(ca: &Ca, oin: &str, key: &TlsKey, days: i64) -> Grant {
        let chain = ca.agent(oin, key, days);
        let not_after = tls::peer(&tls::certificates(&chain).unwrap()).unwrap().not_after;
        Grant {
            format: GrantFormat::V1,
            oin: oin.parse().unwrap(),
            name: "Politie".into(),
            kind: Kind::Agent,
            chain,
            ca: ca.pem(),
            crl: ca.list(&[], 30),
            issued: Timestamp::default(),
            not_after,
        }
    }

    const OWN: &str = "00000001003214345000";

    #[test]
    fn only_a_longer_certificate_of_the_same_ca_name_and_key_is_taken() {
        let (ca, other) = (Ca::new("CA"), Ca::new("CA"));
        let (key, next) = (TlsKey::generate().unwrap(), TlsKey::generate().unwrap());
        let old = grant(&ca, OWN, &key, 20);
        let good = ca.agent(OWN, &next, 90);
        let new = renewed(&old, &good, &next, Timestamp(7)).unwrap();
        assert!(new.identity(&next).is_ok() && new.identity(&key).is_err());
        assert_eq!((&new.ca, new.issued), (&old.ca, Timestamp(7)));
        let with_ca = format!("{good}{}", other.pem());
        assert_eq!(renewed(&old, &with_ca, &next, Timestamp(7)).unwrap(), new, "no other CA comes in");
        for (chain, key, what) in [
            (other.agent(OWN, &next, 90), &next, "signed by"),
            (ca.agent("00000003273229500000", &next, 90), &next, "something else"),
            (ca.broker(OWN, &next, 90), &next, "something else"),
            (ca.agent(OWN, &next, 20), &next, "last longer"),
            (good.clone(), &key, "does not belong"),
            (String::new(), &next, "certificate"),
            (ca.list(&[], 30), &next, "certificate"),
        ] {
            let error = renewed(&old, &chain, key, Timestamp(7)).unwrap_err();
            assert!(error.what.en.contains(what), "{what}: {error}");
        }
    }

    #[test]
    fn what_the_service_says_is_told_in_own_words_and_its_wait_is_bounded() {
        let answer = |body: &str| {
            declined(&Answer { status: 403, content_type: None, body: body.as_bytes().to_vec() })
        };
        let newer = answer(r#"{"reason":"not-newest","retry_after":99999999}"#);
        assert!(newer.why.advice.en.contains("stolen-agent") && newer.after == Some(AFTER_MAX));
        for odd in ["", "{}", "\u{7}<html>", r#"{"reason":7,"retry_after":-1}"#] {
            let failed = answer(odd);
            assert!(failed.why.what.en.contains("403") && failed.after.is_none(), "{odd}");
        }
    }
}
