//! Enrolment requests, from bytes to something that may be signed. Each step is a type that only its
//! check can make: [`Proved`] (both keys signed), then [`Confirmed`] (we know who asks).

use rcgen::SubjectPublicKeyInfo;
use seinhuis_shared::enrol::{self, EnrolRequest};
use seinhuis_shared::ids::{Digest, Thumbprint};
use seinhuis_shared::limits::CLOCK_SKEW;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::{Complaint, Exit};
use seinhuis_shell::enrolment::{check_hosts, check_name};
use seinhuis_shell::lang::Text;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY};
use x509_parser::prelude::FromDer as _;

/// Oldest request that is still accepted: handing over and telephoning takes days, not months.
pub const REQUEST_AGE_MAX: Span = Span::days(30);

/// A request whose two proofs hold: the signing key signed it, the TLS key signed the CSR in it.
#[derive(Debug)]
pub struct Proved {
    request: EnrolRequest,
    digest: Digest,
    fingerprint: String,
    tls_key: SubjectPublicKeyInfo,
}

impl Proved {
    /// Reads a request and checks both proofs, its names, and its age.
    ///
    /// # Errors
    /// Exit 1, a sentence naming the proof or the part that fails.
    pub fn read(bytes: &[u8], now: Timestamp) -> Result<Self, Complaint> {
        let request = EnrolRequest::verify(bytes)
            .map_err(|refusal| Complaint::from_refusal(refusal).advise(ask_again()))?;
        check_name(&request.name).map_err(as_refused)?;
        check_hosts(request.kind, &request.hosts).map_err(as_refused)?;
        check_age(request.issued, now)?;
        let tls_key = proved_tls_key(&request.csr)?;
        Ok(Self { request, digest: sha256(bytes), fingerprint: enrol::fingerprint(bytes), tls_key })
    }

    /// What the request says.
    pub const fn request(&self) -> &EnrolRequest {
        &self.request
    }

    /// SHA-256 of the request's bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The fingerprint to compare by telephone.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The name of the signing key.
    pub fn signing_key(&self) -> Thumbprint {
        self.request.signing_key.thumbprint()
    }

    /// Accepts the request because the applicant read out this fingerprint. Case, spaces and dashes do
    /// not count.
    ///
    /// # Errors
    /// Exit 1 when it is another fingerprint.
    pub fn confirm(self, fingerprint: &str) -> Result<Confirmed, Complaint> {
        let plain = |text: &str| -> String {
            text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
        };
        if plain(fingerprint) == plain(&self.fingerprint) {
            return Ok(Confirmed(self));
        }
        Err(Complaint::refused(
            Text::new(
                format!("De opgegeven vingerafdruk hoort niet bij deze aanvraag ({}).", self.fingerprint),
                format!("The given fingerprint is not that of this request ({}).", self.fingerprint),
            ),
            Text::new(
                "Bel de aanvrager op een bekend nummer en laat de vingerafdruk voorlezen; verschilt die, gebruik deze aanvraag niet.",
                "Call the applicant at a known number and have the fingerprint read out; if it differs, do not use this request.",
            ),
        ))
    }

    /// Accepts the request because its signing key is on record for this node; only the ledger decides so.
    pub(crate) const fn recognised(self) -> Confirmed {
        Confirmed(self)
    }
}

/// A proved request of which we know who made it: by telephone, or by a signing key on record.
#[derive(Debug)]
pub struct Confirmed(Proved);

impl Confirmed {
    /// The request.
    pub const fn proved(&self) -> &Proved {
        &self.0
    }

    pub(crate) const fn tls_key(&self) -> &SubjectPublicKeyInfo {
        &self.0.tls_key
    }
}

fn ask_again() -> Text {
    Text::new(
        "Vraag de aanvrager het bestand opnieuw te maken en te sturen.",
        "Ask the applicant to make and send the file again.",
    )
}

fn as_refused(mut complaint: Complaint) -> Complaint {
    complaint.exit = Exit::Refused;
    complaint.advise(ask_again())
}

fn check_age(issued: Timestamp, now: Timestamp) -> Result<(), Complaint> {
    if issued > now.plus(CLOCK_SKEW) {
        return Err(Complaint::refused(
            Text::new(
                format!("De aanvraag is van {issued}, maar hier is het pas {now}."),
                format!("The request is of {issued}, but here it is only {now}."),
            ),
            Text::new(
                "Zet de klok van deze machine of die van de aanvrager gelijk (NTP).",
                "Set the clock of this machine or of the applicant right (NTP).",
            ),
        ));
    }
    if now.since(issued) > REQUEST_AGE_MAX {
        return Err(Complaint::refused(
            Text::new(
                format!("De aanvraag van {issued} is ouder dan 30 dagen."),
                format!("The request of {issued} is more than 30 days old."),
            ),
            ask_again(),
        ));
    }
    Ok(())
}

/// The public key of a CSR that is signed by it. Nothing else of the CSR is used, so that an applicant
/// cannot ask for an extension.
pub(crate) fn proved_tls_key(csr: &[u8]) -> Result<SubjectPublicKeyInfo, Complaint> {
    let refused = |nl: &str, en: &str| Complaint::refused(Text::new(nl, en), ask_again());
    let unreadable =
        || refused("De CSR in de aanvraag is onleesbaar.", "The CSR in the request is unreadable.");
    let (rest, parsed) = X509CertificationRequest::from_der(csr).map_err(|_| unreadable())?;
    if !rest.is_empty() {
        return Err(unreadable());
    }
    let key = &parsed.certification_request_info.subject_pki;
    let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    if key.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY || curve != Some(OID_EC_P256) {
        return Err(refused(
            "De TLS-sleutel in de aanvraag is niet van het soort P-256.",
            "The TLS key in the request is not of the kind P-256.",
        ));
    }
    parsed.verify_signature().map_err(|_| {
        refused(
            "De CSR in de aanvraag is niet ondertekend met de TLS-sleutel die erin staat.",
            "The CSR in the request is not signed by the TLS key in it.",
        )
    })?;
    SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| unreadable())
}
