//! The listener, and who comes through its handshake.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use seinhuis_monitor::{List, Papers};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::signing::sha256;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::lang::Text;
use seinhuis_shell::serve::{self, Bounds};
use seinhuis_shell::tls::{self, Identity};
use seinhuis_shell::watched::{Stamp, Watched, stamp};
use seinhuis_shell::{files, sealing};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::settings::{Place, Settings};
use crate::config::Config;
use crate::console::BOUNDS;
use crate::home::Home;
use crate::monitor::Monitor;

/// Most bytes of a file with certificates.
const CERTIFICATES_MAX: usize = 1 << 20;
/// Most bytes of the file with revocation lists: those of authorities with many certificates are long.
const REVOCATIONS_MAX: usize = 64 << 20;
/// How often is looked whether the files are others.
const LOOK: Duration = Duration::from_secs(1);
/// How long a handshake may take. Some browsers let somebody choose a certificate, or a card ask for its PIN, meanwhile.
const HANDSHAKE: Duration = Duration::from_mins(1);

/// The files by which people are let in.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    authorities: PathBuf,
    revocations: Option<PathBuf>,
}

impl Files {
    /// Those of the settings, whose paths are as seen from the broker's folder.
    fn new(dir: &Path, settings: &Settings) -> Self {
        let revocations = Some(&settings.revocations).filter(|path| !path.as_os_str().is_empty());
        Self {
            certificate: dir.join(&settings.certificate),
            key: dir.join(&settings.key),
            authorities: dir.join(&settings.authorities),
            revocations: revocations.map(|path| dir.join(path)),
        }
    }

    fn all(&self) -> [PathBuf; 4] {
        let Self { certificate, key, authorities, revocations } = self.clone();
        [certificate, key, authorities, revocations.unwrap_or_default()]
    }

    fn revoked(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, Complaint> {
        let lists = self.revocations.as_deref().map(|path| read(path, REVOCATIONS_MAX, tls::crls));
        Ok(lists.transpose()?.unwrap_or_default())
    }

    /// Who is let in but for those that these lists revoke, as the files have it now.
    fn visitors(
        &self,
        revoked: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Arc<dyn ClientCertVerifier>, Complaint> {
        let authorities = read(&self.authorities, CERTIFICATES_MAX, tls::certificates)?;
        tls::visitors(&authorities, revoked)
            .map_err(|complaint| about(Path::new("console.certificates.authorities, revocations"), complaint))
    }

    /// What connections are accepted with, as the files have it now, and what of it ends.
    fn read(&self) -> Result<(Arc<ServerConfig>, Papers), Complaint> {
        let chain = read(&self.certificate, CERTIFICATES_MAX, tls::certificates)?;
        let key =
            tls::private_key(&sealing::read(&self.key)?).map_err(|complaint| about(&self.key, complaint))?;
        let ends = chain.first().map(tls::not_after).transpose();
        let certificate_ends =
            ends.map_err(|complaint| about(&self.certificate, complaint))?.unwrap_or_default();
        let identity = Identity { chain, key };
        let revoked = self.revoked()?;
        let list = self.first_to_end(&revoked)?;
        let config = tls::site_config(&identity, self.visitors(revoked)?);
        let config = config.map_err(|complaint| about(&self.certificate, complaint))?;
        Ok((Arc::new(config), Papers { certificate_ends, list }))
    }

    /// The revocation list that ends first.
    fn first_to_end(
        &self,
        revoked: &[CertificateRevocationListDer<'static>],
    ) -> Result<Option<List>, Complaint> {
        let bounds = |list: &CertificateRevocationListDer<'_>| {
            Ok(List { begins: tls::crl_this_update(list)?, ends: tls::crl_next_update(list)? })
        };
        let all: Result<Vec<List>, Complaint> = revoked.iter().map(bounds).collect();
        let path = self.revocations.as_deref().unwrap_or(Path::new("console.certificates.revocations"));
        Ok(all.map_err(|complaint| about(path, complaint))?.into_iter().min_by_key(|list| list.ends))
    }
}

fn read<T>(
    path: &Path,
    most: usize,
    parse: impl FnOnce(&str) -> Result<T, Complaint>,
) -> Result<T, Complaint> {
    parse(&files::read_text(path, most)?).map_err(|complaint| about(path, complaint))
}

/// The complaint about a file of the organisation's own.
fn about(path: &Path, complaint: Complaint) -> Complaint {
    complaint.about(&path.display().to_string()).advise(Text::new(
        "Vraag het bestand opnieuw aan wie het maakte, in PEM-vorm (docs/operating.md, Aanmelden).",
        "Ask who made the file for it again, in PEM form (docs/operating.md, Signing in).",
    ))
}

/// The listener for who comes with a certificate.
#[derive(Debug)]
pub(in crate::console) struct Gate {
    listener: TcpListener,
    place: Place,
    files: Files,
    monitor: Monitor,
    config: watch::Sender<Arc<ServerConfig>>,
    /// The files it started with.
    started_with: Stamp<4>,
}

impl Gate {
    /// Listens, if the settings ask for it.
    ///
    /// # Errors
    /// A sentence naming the setting, file or address.
    pub(in crate::console) async fn bind(
        dir: &Path,
        settings: &Settings,
        monitor: &Monitor,
    ) -> Result<Option<Self>, Complaint> {
        let Some(place) = settings.place()? else { return Ok(None) };
        let files = Files::new(dir, settings);
        // Before they are read: what is changed after that is taken in by who watches.
        let started_with = stamp(&files.all());
        let (config, papers) = files.read()?;
        monitor.lets_in(papers);
        let config = watch::Sender::new(config);
        let fail = |error| Complaint::io(Doing::Socket, Path::new(&place.address.to_string()), &error);
        let listener = TcpListener::bind(place.address).await.map_err(fail)?;
        tracing::info!(address = %place.address, "the console is served to who shows a certificate");
        let monitor = monitor.clone();
        Ok(Some(Self { listener, place, files, monitor, config, started_with }))
    }

    /// Serves until `stop` ends; `router` makes what answers for the certificate that a connection was made with.
    pub(in crate::console) async fn run(
        self,
        router: impl Fn(&str, Digest) -> Router + Clone + Send + 'static,
        stop: impl Future<Output = ()>,
    ) {
        let Self { listener, place, files, monitor, config, started_with } = self;
        let shown = config.subscribe();
        let accepted = move || Some(Arc::clone(&shown.borrow()));
        let service = move |chain: &[CertificateDer<'static>]| {
            let certificate = sha256(chain.first()?);
            Some(TowerToHyperService::new(router(&place.origin, certificate)))
        };
        let bounds = Bounds { handshake: HANDSHAKE, ..BOUNDS };
        tokio::select! {
            () = serve::serve_tls(&listener, accepted, service, bounds, stop) => {}
            () = keep(&files, &monitor, &config, started_with) => {}
        }
    }
}

/// Takes in the files whenever they are others. Until they can be used, what was in use stays in use.
async fn keep(
    files: &Files,
    monitor: &Monitor,
    config: &watch::Sender<Arc<ServerConfig>>,
    started_with: Stamp<4>,
) {
    let mut watched = Watched::new(files.all(), started_with);
    let mut pace = tokio::time::interval(LOOK);
    loop {
        pace.tick().await;
        let Some(now) = watched.changed() else { continue };
        let files = files.clone();
        let read = tokio::task::spawn_blocking(move || files.read()).await;
        match read.unwrap_or_else(|error| Err(Complaint::bug(error.to_string()))) {
            Ok((fresh, papers)) => {
                config.send_replace(fresh);
                monitor.lets_in(papers);
                watched.taken(now);
                tracing::info!("the console's certificates and revocation lists were taken in anew");
            }
            Err(complaint) => watched.failed(complaint),
        }
    }
}

/// Whether the files can be used by which people come in with certificates; nothing where nobody does.
pub(crate) fn in_order(home: &Home, config: &Config) -> Option<Result<Text, Complaint>> {
    let settings = &config.console.certificates;
    let found = Text::new(
        "de bestanden van [console.certificates] zijn bruikbaar",
        "the files of [console.certificates] can be used",
    );
    let place = settings.place().transpose()?;
    Some(place.and_then(|_| Files::new(home.dir(), settings).read()).map(|_| found))
}

/// The SHA-256 of the certificate in a file, with which an account signs in.
///
/// # Errors
/// A sentence: nobody comes in with certificates here, the file cannot be read, or its certificate would not be let in.
pub(crate) fn registrable(home: &Home, config: &Config, path: &Path) -> Result<Digest, Complaint> {
    let settings = &config.console.certificates;
    if settings.place()?.is_none() {
        return Err(Complaint::usage(
            Text::new(
                "[console.certificates] is niet ingevuld: niemand kan zich met een certificaat aanmelden.",
                "[console.certificates] is not filled in: nobody can sign in with a certificate.",
            ),
            Text::new(
                "Vul het in in broker.toml (docs/operating.md, Aanmelden) en geef de opdracht opnieuw.",
                "Fill it in in broker.toml (docs/operating.md, Signing in) and give the command again.",
            ),
        ));
    }
    let chain = read(path, CERTIFICATES_MAX, tls::certificates)?;
    let (Some(own), others) = (chain.first(), chain.get(1..).unwrap_or_default()) else {
        return Err(Complaint::bug("a file of certificates without one"));
    };
    let files = Files::new(home.dir(), settings);
    let visitors = files.visitors(files.revoked()?)?;
    visitors.verify_client_cert(own, others, UnixTime::now()).map_err(|error| {
        Complaint::refused(
            Text::new(
                format!("Met het certificaat in {} komt niemand binnen: {error}.", path.display()),
                format!("Nobody is let in with the certificate in {}: {error}.", path.display()),
            ),
            Text::new(
                "Neem het certificaat van de persoon zelf, voor clients, dat nu geldt en van een autoriteit in console.certificates.authorities is.",
                "Take the person's own certificate, for clients, that counts now and is of an authority in console.certificates.authorities.",
            ),
        )
    })?;
    Ok(sha256(own))
}
