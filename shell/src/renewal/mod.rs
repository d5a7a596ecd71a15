//! Renewing this node's certificate and revocation list, by itself, at the partnership CA's renewal service.
//!
//! The service speaks HTTP after RFC 7030 (docs/certificates.md). A node asks with the certificate it has, for one that
//! says the same about a new key. The new key is in its file before it is asked for, and the grant is what counts: a
//! process that dies at any point of this leaves a certificate with its key.

mod ask;
mod plan;
mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seinhuis_shared::time::{Span, Timestamp};
use serde::Deserialize;
use tokio::sync::watch;

use crate::clock;
use crate::complaint::Complaint;
use crate::files::{self, Existing};
use crate::grant::{CRL_MAX, Grant};
use crate::http::check_origin;
use crate::keys::{self, TlsKey, random};
use crate::lang::Text;
use crate::tls::{self, Identity};
use crate::watched::{self, Watched};

pub use ask::NOT_NEWEST;
pub use report::{Ends, Report, finding, row, value};

/// `[renewal]` in a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the CA's renewal service is: `https://host:port`, or empty when there is none.
    pub service: String,
}

impl Settings {
    /// Whether there is a service.
    pub const fn is_on(&self) -> bool {
        !self.service.is_empty()
    }

    /// Checks the address.
    ///
    /// # Errors
    /// A sentence saying what to write.
    pub fn check(&self) -> Result<(), Complaint> {
        if !self.is_on() || check_origin(&self.service).is_ok() {
            return Ok(());
        }
        Err(Complaint::usage(
            Text::new(
                format!("renewal.service {:?} is geen adres van een vernieuwingsdienst.", self.service),
                format!("renewal.service {:?} is no address of a renewal service.", self.service),
            ),
            Text::new(
                "Schrijf https://host:poort, zonder pad, zoals de CA het opgeeft, of laat het leeg.",
                "Write https://host:port, without a path, as the CA tells it, or leave it empty.",
            ),
        ))
    }
}

/// The files a renewal reads and writes.
#[derive(Debug, Clone)]
pub struct Folder {
    /// What the CA issued.
    pub grant: PathBuf,
    /// The revocation list beside it.
    pub crl: PathBuf,
    /// The TLS key.
    pub key: PathBuf,
    /// The TLS key of a certificate that is being asked for.
    pub next: PathBuf,
}

/// By what a node's certificate and revocation list on disk are told from others.
pub type Stamp = watched::Stamp<2>;

impl Folder {
    fn marks(&self) -> [PathBuf; 2] {
        [self.grant.clone(), self.crl.clone()]
    }

    /// What certificate and revocation list are told from others by now.
    pub fn stamp(&self) -> Stamp {
        watched::stamp(&self.marks())
    }

    /// Looks after certificate and revocation list, from how they were at some time on.
    pub fn watched(&self, seen: Stamp) -> Watched<2> {
        Watched::new(self.marks(), seen)
    }

    /// The serial numbers of the certificates that the newest list here revokes, as [`tls::revoked_serials`] has them.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn revoked(&self) -> Result<BTreeSet<String>, Complaint> {
        tls::revoked_serials(&self.load()?.trust()?)
    }

    /// The grant, with the revocation list beside it when that was made later.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub fn load(&self) -> Result<Grant, Complaint> {
        let grant = Grant::load(&self.grant)?;
        if !self.crl.exists() {
            return Ok(grant);
        }
        let beside = files::read_text(&self.crl, CRL_MAX)?;
        grant.with_crl(beside).map_err(|complaint| complaint.about(&self.crl.display().to_string()))
    }

    /// The identity that a grant gives to the holder of the key in its place, or else of the next one: a renewal draws its
    /// key there, and puts it in its place after the grant. The certificate decides, not the files.
    ///
    /// # Errors
    /// When neither file holds its key; about the one in its place.
    pub fn identity(&self, grant: &Grant) -> Result<Identity, Complaint> {
        let first = keys::load_tls(&self.key).and_then(|key| grant.identity(&key));
        if first.is_err() && self.next.exists() {
            return keys::load_tls(&self.next).and_then(|key| grant.identity(&key)).or(first);
        }
        first
    }

    /// The key to ask a certificate for: drawn and on stable storage before anybody hears of it, and the same one for
    /// as long as its certificate is not here.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub fn next_key(&self) -> Result<TlsKey, Complaint> {
        if self.next.exists() { keys::load_tls(&self.next) } else { keys::generate_tls(&self.next) }
    }

    /// Puts the new key in its place when the grant is already its: a process that died before that left it so.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub fn settle(&self, grant: &Grant) -> Result<(), Complaint> {
        let theirs = |path: &Path| keys::load_tls(path).and_then(|key| grant.identity(&key)).is_ok();
        if self.next.exists() && !theirs(&self.key) && theirs(&self.next) {
            let replaced = files::replace(&self.next, &self.key);
            // Another task of this node may have put it in its place meanwhile.
            return if theirs(&self.key) { Ok(()) } else { replaced };
        }
        Ok(())
    }

    /// Takes in the CA's revocation list when it is newer than the one that is here by now: while it was asked for somebody
    /// may have put a newer one here. Gives the grant with the newest.
    fn take_list(&self, list: String) -> Result<Grant, Complaint> {
        let grant = self.load()?;
        tls::check_crls(&grant.trust()?, &tls::crls(&list)?)?;
        let before = grant.crl.clone();
        let grant = grant.with_crl(list)?;
        if grant.crl != before {
            files::write(&self.crl, grant.crl.as_bytes(), Existing::Replace)?;
            tracing::info!("a newer revocation list was fetched");
        }
        Ok(grant)
    }

    /// Takes in a renewed certificate: from the replacement of the grant on, the new key is this node's.
    ///
    /// # Errors
    /// A sentence naming the file; the old certificate then counts.
    fn take(&self, grant: &Grant) -> Result<(), Complaint> {
        files::write(&self.grant, &grant.to_bytes(), Existing::Replace)?;
        self.settle(grant)
    }
}

/// The host names and addresses a broker's certificate is for.
///
/// # Errors
/// When the certificate cannot be read.
pub fn hosts(grant: &Grant) -> Result<Vec<String>, Complaint> {
    let chain = tls::certificates(&grant.chain)?;
    let leaf = chain.first().ok_or_else(|| Complaint::bug("a grant without a certificate"))?;
    Ok(tls::hosts(leaf))
}

/// How the renewing goes, shared with whoever asks.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Mutex<Report>>);

impl Live {
    /// How it goes now.
    pub fn get(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Renews in the background.
#[derive(Debug)]
pub struct Renewer {
    folder: Folder,
    service: String,
    live: Live,
    renewed: watch::Sender<u64>,
}

impl Renewer {
    /// One for the node with these files. Each number that `renewed` gets is a certificate that was taken in.
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn new(
        folder: Folder,
        settings: &Settings,
        live: Live,
        renewed: watch::Sender<u64>,
    ) -> Result<Self, Complaint> {
        settings.check()?;
        Ok(Self { folder, service: settings.service.trim_end_matches('/').to_owned(), live, renewed })
    }

    /// Keeps certificate and revocation list fresh until `stop` changes.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut failures = 0_u32;
        loop {
            let at = clock::now();
            let wait = match self.round(at).await {
                Ok(next) => {
                    failures = 0;
                    self.live.change(Report::well);
                    next.since(clock::now())
                }
                Err(failed) => {
                    failures = failures.saturating_add(1);
                    let wait =
                        failed.after.unwrap_or_else(|| plan::retry(failures, u64::from_be_bytes(random())));
                    tracing::warn!(
                        problem = %failed.why.what.en, wait_ms = wait.0,
                        "certificate or revocation list could not be renewed"
                    );
                    self.live.change(|report| report.failed(at, &failed.why, at.plus(wait)));
                    wait
                }
            };
            // Never without pause, whatever the clocks say.
            let wait = Duration::from_millis(wait.0.clamp(plan::PAUSE.0, plan::ROUND.0));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stop.changed() => return,
            }
        }
    }

    /// Fetches the revocation list, and renews the certificate when it is time; when to look again. Neither waits for the
    /// other: a list that cannot be had keeps no certificate from being renewed.
    async fn round(&self, at: Timestamp) -> Result<Timestamp, Failed> {
        let grant = self.folder.load()?;
        self.folder.settle(&grant)?;
        let identity = self.folder.identity(&grant)?;
        let asker = ask::Asker::new(&self.service, &identity, &grant.trust()?)?;
        let listed = match asker.list().await {
            Ok(list) => self.folder.take_list(list).map_err(Failed::from),
            Err(failed) => Err(failed),
        };
        let (grant, unlisted) = match listed {
            Ok(grant) => {
                self.live.change(|report| report.fetched(at));
                (grant, None)
            }
            Err(failed) => (grant, Some(failed)),
        };
        let ends = Ends::of(&grant)?;
        if at >= ends.due {
            self.renew(&asker, &grant, at).await?;
        }
        if let Some(failed) = unlisted {
            return Err(failed);
        }
        let look_again = at.plus(plan::list_again(u64::from_be_bytes(random())));
        Ok(if at < ends.due { look_again.min(ends.due) } else { look_again })
    }

    /// Has the certificate of `grant` renewed, and takes in the new one.
    async fn renew(&self, asker: &ask::Asker, grant: &Grant, at: Timestamp) -> Result<(), Failed> {
        let key = self.folder.next_key()?;
        let renewed = asker.renew(grant, &key, at).await?;
        self.folder.take(&renewed)?;
        tracing::info!(until = %renewed.not_after, "the certificate was renewed");
        self.live.change(|report| report.renewed(at));
        self.renewed.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }
}

/// Why a round came to nothing.
#[derive(Debug)]
pub(crate) struct Failed {
    why: Complaint,
    /// How long to wait, when the service said so.
    after: Option<Span>,
}

impl From<Complaint> for Failed {
    fn from(why: Complaint) -> Self {
        Self { why, after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::Ca;

    #[test]
    fn a_list_that_was_asked_for_takes_no_newer_ones_place() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let folder = Folder { grant: at("grant"), crl: at("crl"), key: at("key"), next: at("next") };
        let ca = Ca::new("CA");
        let (grant, _) = ca.grant("00000001003214345000");
        files::write(&folder.grant, &grant.to_bytes(), Existing::Keep).unwrap();
        let [older, newer] = [31, 32].map(|last_day| ca.list(&[], last_day));
        assert_eq!(folder.take_list(older.clone()).unwrap().crl, older);
        assert_eq!(files::read_text(&folder.crl, CRL_MAX).unwrap(), older);
        // Somebody puts a newer one here while the older one is on its way.
        files::write(&folder.crl, newer.as_bytes(), Existing::Replace).unwrap();
        assert_eq!(folder.take_list(older).unwrap().crl, newer);
        assert_eq!(files::read_text(&folder.crl, CRL_MAX).unwrap(), newer);
        assert!(folder.take_list(Ca::new("CA").list(&[], 33)).is_err(), "another CA's");
    }

    #[test]
    fn what_could_not_be_taken_in_is_tried_again_until_it_is_and_what_came_meanwhile_too() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let folder = Folder { grant: at("grant"), crl: at("crl"), key: at("key"), next: at("next") };
        let put = |text: &str| files::write(&folder.crl, text.as_bytes(), Existing::Replace).unwrap();
        let mut watched = folder.watched(folder.stamp());
        assert_eq!(watched.changed(), None);
        put("broken");
        let broken = watched.changed().unwrap();
        watched.failed(Complaint::bug("broken"));
        assert_eq!(watched.changed(), Some(broken), "again");
        put("whole again");
        let whole = watched.changed().unwrap();
        put("another one, while that is being read");
        watched.taken(whole);
        let newest = watched.changed().unwrap();
        watched.taken(newest);
        assert_eq!(watched.changed(), None);
    }
}
