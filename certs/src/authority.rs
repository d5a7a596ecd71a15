//! The CA in its folder: every operation that signs or records something.

mod renewal;

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use rcgen::{Issuer, KeyPair, SubjectPublicKeyInfo};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::enrolment::check_name;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::grant::{CRL_MAX, Grant, GrantFormat, Kind};
use seinhuis_shell::keys::{self, TlsKey, random};
use seinhuis_shell::lang::Text;
use seinhuis_shell::tls::{self, Identity};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::certificate;
use crate::ledger::{Ledger, Reason, Record, Revoked};
use crate::request::{Confirmed, Proved};

pub use renewal::{Asked, Declined};

/// Days a node's certificate lasts when nothing else is asked.
pub const DAYS_DEFAULT: u16 = 90;
/// Most days a node's certificate lasts.
pub const DAYS_MAX: u16 = 398;
/// Days a revocation list counts when nothing else is asked. An expired list stops the whole partnership,
/// and it is carried by hand from an offline machine, so a missed week must not be fatal. It does not
/// delay a revocation: that counts as soon as a node loads the new list. It bounds how long a node that is
/// kept from the new list still begins sessions with who holds a revoked certificate. One that is open then goes on: nothing
/// holds it against the list's end.
pub const CRL_DAYS_DEFAULT: u16 = 30;
/// Most days a revocation list counts.
pub const CRL_DAYS_MAX: u16 = 90;

const CA_FILE_MAX: usize = 64 * 1024;
/// What the copy of a certificate ends in while it is not known to be on record.
const ASIDE: &str = "new";
/// How long a CA's folder that another process works in is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The CA of one partnership, opened for one operation at a time.
pub struct Authority {
    dir: PathBuf,
    ledger: Ledger,
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    ca_end: Timestamp,
    // Held while open; the operating system releases it when the process ends in whatever way.
    _lock: File,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("dir", &self.dir)
            .field("ca_end", &self.ca_end)
            .finish_non_exhaustive()
    }
}

/// A certificate just issued.
#[derive(Debug)]
pub struct Issued {
    /// What to hand to the applicant.
    pub grant: Grant,
    /// The CA's own copy of it.
    pub copy: PathBuf,
    /// The certificate's serial number.
    pub serial: String,
    /// Whether it is shorter than asked because the CA itself ends.
    pub shortened: bool,
}

/// What to revoke.
#[derive(Debug, Clone)]
pub enum Target {
    /// Every certificate of an organisation that has not ended.
    Oin(Oin),
    /// One certificate.
    Serial(String),
}

impl Authority {
    /// Makes a new CA in a new or empty folder, with an empty revocation list.
    ///
    /// # Errors
    /// A sentence: a CA is there already, the folder cannot be used, the name cannot be.
    pub fn init(dir: &Path, name: &str, crl_days: u16, now: Timestamp) -> Result<Self, Complaint> {
        check_name(name)?;
        check_days(crl_days, CRL_DAYS_MAX)?;
        files::make_private_dir(dir)?;
        let lock = lock(dir)?;
        if let Some(there) =
            ["ca.key", "ca.pem", "ledger.json"].map(|file| dir.join(file)).iter().find(|path| path.exists())
        {
            return Err(Complaint::usage(
                Text::new(
                    format!("In {} is al een CA gemaakt ({} bestaat).", dir.display(), there.display()),
                    format!("A CA has been made in {} already ({} exists).", dir.display(), there.display()),
                ),
                Text::new(
                    "Gebruik die CA, of kies voor een ander samenwerkingsverband een andere map.",
                    "Use that CA, or choose another folder for another partnership.",
                ),
            ));
        }
        files::make_private_dir(&dir.join("issued"))?;
        let now = whole_seconds(now);
        let key = keys::generate_tls(&dir.join("ca.key"))?;
        let cert = certificate::authority(name, key.pair(), &new_serial(), now)?;
        files::write(&dir.join("ca.pem"), cert.pem().as_bytes(), Existing::Keep)?;
        let mut ca = Self {
            dir: dir.to_path_buf(),
            ledger: Ledger::new(name, crl_days),
            issuer: issuer(cert.der(), &key)?,
            ca_pem: cert.pem(),
            ca_end: now.plus(certificate::CA_LIFE),
            _lock: lock,
        };
        ca.ledger.save(&ca.dir.join("ledger.json"), Existing::Keep)?;
        ca.refresh_crl(None, now)?;
        Ok(ca)
    }

    /// Opens an existing CA and checks that its files belong together.
    ///
    /// # Errors
    /// A sentence naming the file that is missing, readable by others, damaged, or in use.
    pub fn open(dir: &Path) -> Result<Self, Complaint> {
        files::check_private_dir(dir).map_err(|error| advise_init(dir, error))?;
        let lock = lock(dir)?;
        let ca_pem =
            files::read_text(&dir.join("ca.pem"), CA_FILE_MAX).map_err(|error| advise_init(dir, error))?;
        let key = keys::load_tls(&dir.join("ca.key")).map_err(|error| {
            error.advise(Text::new(
                "Herstel dit bestand en zijn rechten (chmod 600) uit de reservekopie van de CA.",
                "Restore this file and its mode (chmod 600) from the CA's backup.",
            ))
        })?;
        let named = |error: Complaint| error.about(&dir.join("ca.pem").display().to_string());
        let identity = Identity::new(&ca_pem, &key).map_err(named)?;
        let cert = identity.chain.first().ok_or_else(|| Complaint::bug("an empty chain"))?;
        let ca_end = end_of(cert)?;
        let ledger = Ledger::load(&dir.join("ledger.json"))?;
        finish_issues(dir, &ledger)?;
        Ok(Self { dir: dir.to_path_buf(), ledger, issuer: issuer(cert, &key)?, ca_pem, ca_end, _lock: lock })
    }

    /// What was issued and revoked.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// When the CA itself ends.
    pub const fn ca_end(&self) -> Timestamp {
        self.ca_end
    }

    /// The CA certificate in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The current revocation list in PEM.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub fn crl_pem(&self) -> Result<String, Complaint> {
        files::read_text(&self.dir.join("crl.pem"), CRL_MAX).map_err(|error| error.advise(remake_crl()))
    }

    /// When the current revocation list ends.
    ///
    /// # Errors
    /// A sentence when it cannot be read.
    pub fn crl_end(&self) -> Result<Timestamp, Complaint> {
        self.of_crl(tls::crl_next_update)
    }

    /// From when on the current revocation list counts.
    fn crl_begin(&self) -> Result<Timestamp, Complaint> {
        self.of_crl(tls::crl_this_update)
    }

    fn of_crl(
        &self,
        read: impl FnOnce(&CertificateRevocationListDer<'static>) -> Result<Timestamp, Complaint>,
    ) -> Result<Timestamp, Complaint> {
        let path = self.dir.join("crl.pem");
        tls::crls(&self.crl_pem()?)
            .and_then(|crls| crls.first().ok_or_else(|| Complaint::bug("no CRL")).and_then(read))
            .map_err(|error| error.about(&path.display().to_string()).advise(remake_crl()))
    }

    /// Accepts a renewal without a telephone call: the signing key is the one on record for this node, the
    /// certificate on record was not revoked, and the request is newer than the last.
    ///
    /// # Errors
    /// Exit 1, saying which of these fails.
    pub fn recognise(&self, proved: Proved) -> Result<Confirmed, Complaint> {
        let request = proved.request();
        let by_telephone = || {
            Text::new(
                "Vergelijk de vingerafdruk per telefoon en gebruik: seinhuis-certs issue .",
                "Compare the fingerprint by telephone and use: seinhuis-certs issue .",
            )
        };
        let refused = |nl: String, en: String, advice| Err(Complaint::refused(Text::new(nl, en), advice));
        let oin = request.oin;
        let Some(latest) = self.ledger.latest_of(oin, request.kind.into()) else {
            let (nl, en) = (
                format!("Voor {oin} is nog niets uitgegeven."),
                format!("Nothing has been issued for {oin} yet."),
            );
            return refused(nl, en, by_telephone());
        };
        if latest.signing_key != proved.signing_key() {
            let (nl, en) = (
                format!("De aanvraag is niet ondertekend met de sleutel die voor {oin} bekend is."),
                format!("The request is not signed by the key on record for {oin}."),
            );
            return refused(nl, en, by_telephone());
        }
        if latest.revoked.is_some() {
            let (nl, en) = (
                format!("Het laatste certificaat van {oin} is ingetrokken."),
                format!("The latest certificate of {oin} was revoked."),
            );
            return refused(nl, en, by_telephone());
        }
        if request.issued <= latest.requested {
            let (nl, en) = (
                "De aanvraag is niet nieuwer dan de vorige; misschien is het een oud bestand.".to_owned(),
                "The request is not newer than the previous one; it may be an old file.".to_owned(),
            );
            return refused(nl, en, Text::new("Vraag om een nieuwe aanvraag.", "Ask for a new request."));
        }
        Ok(proved.recognised())
    }

    /// Issues a certificate and records it before anybody gets it.
    ///
    /// # Errors
    /// Exit 1 when the node or its key is on record in another way; exit 2 for the CA's own trouble.
    pub fn issue(&mut self, confirmed: &Confirmed, days: u16, now: Timestamp) -> Result<Issued, Complaint> {
        check_days(days, DAYS_MAX)?;
        self.check_ca(now)?;
        let proved = confirmed.proved();
        self.check_record(proved, now)?;
        self.check_crl(now)?;
        let now = whole_seconds(now);
        let asked = now.plus(Span::days(u64::from(days)));
        let request = proved.request();
        let record = Record {
            serial: HEXLOWER.encode(&new_serial()),
            kind: request.kind.into(),
            oin: request.oin,
            name: request.name.clone(),
            hosts: request.hosts.clone(),
            signing_key: proved.signing_key(),
            request: proved.digest(),
            requested: request.issued,
            issued: now,
            not_after: asked.min(self.ca_end),
            revoked: None,
        };
        self.certify(record, confirmed.tls_key(), asked > self.ca_end)
    }

    /// Signs the certificate of a record, which is in the ledger before anybody gets it.
    fn certify(
        &mut self,
        record: Record,
        key: &SubjectPublicKeyInfo,
        shortened: bool,
    ) -> Result<Issued, Complaint> {
        let cert = certificate::node(&record, key, &self.issuer)?;
        let grant = Grant {
            format: GrantFormat::V1,
            oin: record.oin,
            name: record.name.clone(),
            kind: record.kind,
            chain: cert.pem(),
            ca: self.ca_pem.clone(),
            crl: self.crl_pem()?,
            issued: record.issued,
            not_after: record.not_after,
        };
        let serial = record.serial.clone();
        let copy = self.copy_of(&serial);
        // Kept aside first: without its copy a certificate that is on record could not be given to who missed it.
        let aside = copy.with_extension(ASIDE);
        files::write(&aside, &grant.to_bytes(), Existing::Keep)?;
        // Recorded before anybody gets it: a certificate that nobody knows of could never be revoked.
        self.change(|ledger| ledger.certificates.push(record))?;
        files::replace(&aside, &copy)?;
        Ok(Issued { grant, copy, serial, shortened })
    }

    fn copy_of(&self, serial: &str) -> PathBuf {
        self.dir.join("issued").join(format!("{serial}.json"))
    }

    fn check_record(&self, proved: &Proved, now: Timestamp) -> Result<(), Complaint> {
        let request = proved.request();
        let (oin, kind) = (request.oin, Kind::from(request.kind));
        let refused = |what, advice| Err(Complaint::refused(what, advice));
        for record in &self.ledger.certificates {
            let same_node = record.oin == oin && record.kind == kind;
            if record.request == proved.digest() {
                return refused(
                    Text::new(
                        format!("Op deze aanvraag is al een certificaat uitgegeven ({}).", record.serial),
                        format!("A certificate was issued for this request already ({}).", record.serial),
                    ),
                    Text::new(
                        format!(
                            "Geef issued/{}.json uit de CA-map, of vraag om een nieuwe aanvraag.",
                            record.serial
                        ),
                        format!(
                            "Hand out issued/{}.json of the CA folder, or ask for a new request.",
                            record.serial
                        ),
                    ),
                );
            }
            if same_node && record.is_valid(now) && record.signing_key != proved.signing_key() {
                return refused(
                    Text::new(
                        format!(
                            "Voor {oin} ({kind}) is een andere ondertekensleutel bekend: {}.",
                            record.signing_key
                        ),
                        format!(
                            "Another signing key is on record for {oin} ({kind}): {}.",
                            record.signing_key
                        ),
                    ),
                    Text::new(
                        format!(
                            "Is de oude sleutel verloren? Trek eerst in: seinhuis-certs revoke --oin {oin} ."
                        ),
                        format!("Is the old key lost? Revoke first: seinhuis-certs revoke --oin {oin} ."),
                    ),
                );
            }
            if !same_node && record.signing_key == proved.signing_key() {
                return refused(
                    Text::new(
                        format!("Deze ondertekensleutel is al van {} ({}).", record.oin, record.kind),
                        format!("This signing key belongs to {} ({}) already.", record.oin, record.kind),
                    ),
                    Text::new(
                        "Elke node heeft een eigen sleutel: laat de aanvrager opnieuw beginnen met init.",
                        "Every node has its own key: have the applicant start again with init.",
                    ),
                );
            }
        }
        Ok(())
    }

    /// Revokes and makes a new revocation list. Returns the serial numbers revoked.
    ///
    /// # Errors
    /// Exit 1 when there is nothing to revoke.
    pub fn revoke(
        &mut self,
        target: &Target,
        reason: Reason,
        now: Timestamp,
    ) -> Result<Vec<String>, Complaint> {
        self.check_ca(now)?;
        let hit = |record: &Record| {
            record.revoked.is_none()
                && match target {
                    Target::Oin(oin) => record.oin == *oin && now < record.not_after,
                    Target::Serial(serial) => record.serial == *serial,
                }
        };
        let serials: Vec<String> = self
            .ledger
            .certificates
            .iter()
            .filter(|record| hit(record))
            .map(|record| record.serial.clone())
            .collect();
        if serials.is_empty() {
            let asked = match target {
                Target::Oin(oin) => oin.to_string(),
                Target::Serial(serial) => serial.clone(),
            };
            return Err(Complaint::refused(
                Text::new(
                    format!("Voor {asked} is er geen certificaat dat nog kan worden ingetrokken."),
                    format!("There is no certificate for {asked} that can still be revoked."),
                ),
                Text::new("Bekijk: seinhuis-certs list .", "See: seinhuis-certs list ."),
            ));
        }
        let revoked = Some(Revoked { at: whole_seconds(now), reason });
        self.change(|ledger| {
            for record in ledger.certificates.iter_mut().filter(|record| hit(record)) {
                record.revoked = revoked;
            }
        })?;
        self.refresh_crl(None, now).map_err(|error| {
            error.advise(Text::new(
                "De intrekking is vastgelegd; maak de lijst alsnog met: seinhuis-certs crl .",
                "The revocation is recorded; make the list after all with: seinhuis-certs crl .",
            ))
        })?;
        Ok(serials)
    }

    /// Makes a new revocation list from the ledger, lasting `days` from now on when given.
    ///
    /// # Errors
    /// A sentence for an ended CA, an impossible number of days, a file that cannot be written.
    pub fn refresh_crl(&mut self, days: Option<u16>, now: Timestamp) -> Result<(), Complaint> {
        check_days(days.unwrap_or(self.ledger.crl_days), CRL_DAYS_MAX)?;
        self.check_ca(now)?;
        self.change(|ledger| {
            // The number is used up before the list exists: two lists never share one.
            ledger.crl_number = ledger.crl_number.saturating_add(1);
            ledger.crl_days = days.unwrap_or(ledger.crl_days);
        })?;
        // Where the last list cannot be read nothing is left out.
        let last = self.crl_begin().unwrap_or_default();
        let crl = certificate::revocations(&self.ledger, &self.issuer, last, whole_seconds(now))?;
        let pem = crl.pem().map_err(certificate::failed)?;
        files::write(&self.dir.join("crl.pem"), pem.as_bytes(), Existing::Replace)
    }

    /// Changes the ledger on disk first; memory follows only when that succeeded.
    fn change(&mut self, edit: impl FnOnce(&mut Ledger)) -> Result<(), Complaint> {
        let mut next = self.ledger.clone();
        edit(&mut next);
        next.save(&self.dir.join("ledger.json"), Existing::Replace)?;
        self.ledger = next;
        Ok(())
    }

    fn check_crl(&self, now: Timestamp) -> Result<(), Complaint> {
        let end = self.crl_end()?;
        if now < end {
            return Ok(());
        }
        Err(Complaint::refused(
            Text::new(
                format!(
                    "De intrekkingslijst is verlopen op {end}; wie haar krijgt kan geen verbinding maken."
                ),
                format!("The revocation list ended at {end}; nobody given it could connect."),
            ),
            remake_crl(),
        ))
    }

    fn check_ca(&self, now: Timestamp) -> Result<(), Complaint> {
        if now < self.ca_end {
            return Ok(());
        }
        Err(Complaint::refused(
            Text::new(
                format!("Het certificaat van de CA zelf is verlopen op {}.", self.ca_end),
                format!("The certificate of the CA itself ended at {}.", self.ca_end),
            ),
            Text::new(
                "Maak een nieuwe CA met init en geef alle partners een nieuw certificaat; controleer eerst de klok.",
                "Make a new CA with init and give all partners a new certificate; check the clock first.",
            ),
        ))
    }
}

/// Ends what a process that died left of the certificates it was issuing: one that is on record gets its copy, and one
/// that is not was given to nobody.
fn finish_issues(dir: &Path, ledger: &Ledger) -> Result<(), Complaint> {
    let issued = dir.join("issued");
    let fail = |error: io::Error| Complaint::io(Doing::OpenFolder, &issued, &error);
    let found = match std::fs::read_dir(&issued) {
        // Nothing was ever issued from here, and revoking goes on without.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(fail)?,
    };
    for entry in found {
        let aside = entry.map_err(fail)?.path();
        if aside.extension().is_none_or(|end| end != ASIDE) {
            continue;
        }
        let serial = aside.file_stem().unwrap_or_default();
        if ledger.certificates.iter().any(|record| serial == record.serial.as_str()) {
            files::replace(&aside, &aside.with_extension("json"))?;
        } else {
            std::fs::remove_file(&aside).map_err(|error| Complaint::io(Doing::Write, &aside, &error))?;
        }
    }
    Ok(())
}

fn remake_crl() -> Text {
    Text::new(
        "Maak de lijst opnieuw met seinhuis-certs crl en geef die aan de broker en alle partners.",
        "Make the list anew with seinhuis-certs crl and give it to the broker and all partners.",
    )
}

fn issuer(cert: &CertificateDer<'_>, key: &TlsKey) -> Result<Issuer<'static, KeyPair>, Complaint> {
    let pair = KeyPair::from_pkcs8_pem_and_sign_algo(&key.to_pem(), &rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(certificate::failed)?;
    Issuer::from_ca_cert_der(cert, pair).map_err(certificate::failed)
}

fn end_of(cert: &CertificateDer<'_>) -> Result<Timestamp, Complaint> {
    let (_, cert) =
        X509Certificate::from_der(cert).map_err(|_| Complaint::bug("CA certificate unreadable"))?;
    let seconds = u64::try_from(cert.validity().not_after.timestamp()).unwrap_or_default();
    Ok(Timestamp::default().plus(Span::seconds(seconds)))
}

/// 126 random bits; the first byte makes the number positive and of fixed length (RFC 5280 §4.1.2.2).
fn new_serial() -> [u8; 16] {
    let mut serial = random::<16>();
    serial[0] = (serial[0] & 0x3f) | 0x40;
    serial
}

/// Certificates count in seconds, so the ledger does too.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp(now.0 - now.0 % 1000)
}

pub(crate) fn check_days(days: u16, max: u16) -> Result<(), Complaint> {
    if (1..=max).contains(&days) {
        return Ok(());
    }
    Err(Complaint::usage(
        Text::new(format!("{days} dagen kan niet."), format!("{days} days is not possible.")),
        Text::new(format!("Kies 1 tot {max} dagen."), format!("Choose 1 to {max} days.")),
    ))
}

fn advise_init(dir: &Path, error: Complaint) -> Complaint {
    if dir.join("ca.pem").exists()
        || dir.metadata().is_err_and(|cause| cause.kind() != io::ErrorKind::NotFound)
    {
        return error;
    }
    if error.advice.en.contains("chmod") {
        return error;
    }
    error.advise(Text::new(
        "Controleer --dir, of maak eerst een CA: seinhuis-certs init .",
        "Check --dir, or make a CA first: seinhuis-certs init .",
    ))
}

/// Takes the folder for this process alone. The service works in it for an instant at a time, which is waited for.
fn lock(dir: &Path) -> Result<File, Complaint> {
    let path = dir.join("lock");
    let fail = |error: io::Error| Complaint::io(Doing::Write, &path, &error);
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(fail)?;
    let end = Instant::now() + PATIENCE;
    let mut locked = file.try_lock();
    while matches!(locked, Err(TryLockError::WouldBlock)) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(fail(error)),
        Err(TryLockError::WouldBlock) => Err(Complaint::usage(
            Text::new(
                format!("Een ander proces werkt in de CA-map {}.", dir.display()),
                format!("Another process is working in the CA folder {}.", dir.display()),
            ),
            Text::new(
                "Wacht tot het klaar is en probeer het opnieuw.",
                "Wait until it is done and try again.",
            ),
        )),
    }
}
