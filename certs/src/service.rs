//! The renewal service: a node that has a certificate gets the next one, and everybody the newest revocation list.
//!
//! HTTP after RFC 7030, over TLS 1.3, for who shows a certificate of this CA that counts (docs/certificates.md). It
//! enrols nobody: the first certificate is handed over by people. The folder is opened for each request, so that the
//! operator can go on working in it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use data_encoding::BASE64;
use hyper_util::service::TowerToHyperService;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::Span;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files;
use seinhuis_shell::grant::CRL_MAX;
use seinhuis_shell::renewal::NOT_NEWEST;
use seinhuis_shell::serve::{self, Bounds};
use seinhuis_shell::tls::{self, Identity, Peer, Trust};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::authority::{Asked, Authority, Declined};

/// Most bytes of a request.
const BODY_MAX: usize = 8 * 1024;
/// How often the service looks after its own certificate and the revocation list.
const ROUND: Duration = Duration::from_hours(1);
/// Most connections at one time, and of one organisation among them: it needs one for each of its nodes.
const CONNECTIONS: usize = 32;
const SHARE: usize = 4;
/// How long the folder is left to others between two requests: longer than who waits for it sleeps between two looks.
const BREATH: Duration = Duration::from_millis(100);
/// How long to wait when the service itself has trouble.
const TROUBLE: Span = Span::minutes(5);

/// A socket on which certificates are renewed.
#[derive(Debug)]
pub struct Renewals {
    listener: TcpListener,
    desk: Desk,
    hosts: Vec<String>,
    identity: watch::Sender<Arc<Identity>>,
}

/// What answers need.
#[derive(Debug, Clone)]
struct Desk {
    dir: PathBuf,
    days: u16,
    /// Held by what is at work in the folder: one request at a time, in the order of arrival.
    turn: Arc<Mutex<()>>,
}

/// The places for connections that each organisation has; as many entries as the CA has organisations.
#[derive(Debug, Clone, Default)]
struct Shares(Arc<std::sync::Mutex<BTreeMap<Oin, Arc<Semaphore>>>>);

impl Shares {
    /// A place of this organisation; none when it has as many connections as one may have.
    fn place(&self, oin: Oin) -> Option<OwnedSemaphorePermit> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = shares.entry(oin).or_insert_with(|| Arc::new(Semaphore::new(SHARE)));
        Arc::clone(own).try_acquire_owned().ok()
    }
}

impl Renewals {
    /// Opens the CA once, so that what is wrong is told at once, and listens.
    ///
    /// # Errors
    /// A sentence naming folder, host or address.
    pub async fn bind(
        dir: &Path,
        address: SocketAddr,
        hosts: Vec<String>,
        days: u16,
    ) -> Result<Self, Complaint> {
        let mut ca = Authority::open(dir)?;
        ca.keep_crl(clock::now())?;
        let identity = ca.service(&hosts, clock::now())?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| Complaint::io(Doing::Socket, Path::new(&address.to_string()), &error))?;
        let desk = Desk { dir: dir.to_path_buf(), days, turn: Arc::default() };
        Ok(Self { listener, desk, hosts, identity: watch::Sender::new(Arc::new(identity)) })
    }

    /// The address really listened on.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` ends.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, desk, hosts, identity } = self;
        let shown = identity.subscribe();
        let dir = desk.dir.clone();
        let config = move || {
            let identity = Arc::clone(&shown.borrow());
            match trust(&dir).and_then(|trust| tls::renewal_server_config(&identity, &trust)) {
                Ok(config) => Some(Arc::new(config)),
                Err(complaint) => {
                    tracing::error!("{}", complaint.what.en);
                    None
                }
            }
        };
        let keeping = keep(desk.clone(), hosts, identity);
        let shares = Shares::default();
        let service = move |chain: &[_]| {
            let peer = tls::peer(chain).ok()?;
            // Goes with the connection's router.
            let place = Extension(Arc::new(shares.place(peer.oin)?));
            Some(TowerToHyperService::new(router(desk.clone(), peer).layer(place)))
        };
        let bounds =
            Bounds { connections: CONNECTIONS, connection: Duration::from_secs(30), ..Bounds::default() };
        tokio::select! {
            () = serve::serve_tls(&listener, config, service, bounds, stop) => {}
            () = keeping => {}
        }
    }
}

/// The CA and its list of this moment.
fn trust(dir: &Path) -> Result<Trust, Complaint> {
    let read = |name: &str| files::read_text(&dir.join(name), CRL_MAX);
    Trust::new(&read("ca.pem")?, &read("crl.pem")?)
}

/// Keeps the revocation list and the service's own certificate from ending.
async fn keep(desk: Desk, hosts: Vec<String>, identity: watch::Sender<Arc<Identity>>) {
    // The first of all was made before anybody was let in.
    let mut pace = tokio::time::interval_at(Instant::now() + ROUND, ROUND);
    loop {
        pace.tick().await;
        let hosts = hosts.clone();
        let kept = desk.clone().with(move |ca| {
            ca.keep_crl(clock::now())?;
            ca.service(&hosts, clock::now())
        });
        match kept.await {
            Ok(fresh) => _ = identity.send_replace(Arc::new(fresh)),
            Err(complaint) => tracing::error!("{}", complaint.what.en),
        }
    }
}

impl Desk {
    /// Works in the CA's folder, off the threads that serve, one after the other; waits a while for who works there already,
    /// and leaves room for the operator's command that waits too.
    async fn with<T, E>(
        self,
        work: impl FnOnce(&mut Authority) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Complaint> + Send + 'static,
    {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let done = Authority::open(&self.dir).map_err(E::from).and_then(|mut ca| work(&mut ca));
            tokio::spawn(async move {
                tokio::time::sleep(BREATH).await;
                drop(turn);
            });
            done
        });
        done.await.unwrap_or_else(|error| Err(Complaint::bug(error.to_string()).into()))
    }
}

fn router(desk: Desk, peer: Peer) -> Router {
    Router::new()
        .route("/.well-known/est/simplereenroll", post(reenrol))
        .route("/.well-known/est/cacerts", get(authorities))
        .route("/crl.pem", get(list))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state((desk, peer))
}

fn answer(content_type: &'static str, body: String) -> Response {
    ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")], body).into_response()
}

async fn authorities(State((desk, _)): State<(Desk, Peer)>) -> Response {
    file(&desk, "ca.pem", "application/pem-certificate-chain")
}

async fn list(State((desk, _)): State<(Desk, Peer)>) -> Response {
    file(&desk, "crl.pem", "application/x-pem-file")
}

fn file(desk: &Desk, name: &str, content_type: &'static str) -> Response {
    match files::read_text(&desk.dir.join(name), CRL_MAX) {
        Ok(text) => answer(content_type, text),
        Err(complaint) => refuse(&Declined::Trouble(complaint)),
    }
}

async fn reenrol(State((desk, peer)): State<(Desk, Peer)>, body: Bytes) -> Response {
    // RFC 8951: base64, whatever whitespace is in it.
    let plain: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let csr = BASE64.decode(&plain).unwrap_or_default();
    let (days, oin) = (desk.days, peer.oin);
    let renewed = match Asked::read(&csr) {
        Ok(asked) => desk.with(move |ca| ca.renew(&peer, &asked, days, clock::now())).await,
        Err(declined) => Err(declined),
    };
    match renewed {
        Ok(grant) => {
            tracing::info!(%oin, until = %grant.not_after, "a certificate was renewed");
            answer("application/pem-certificate-chain", grant.chain + &grant.ca)
        }
        Err(declined) => {
            match &declined {
                Declined::Trouble(complaint) => tracing::error!("{}", complaint.what.en),
                Declined::NotNewest => tracing::error!(
                    %oin,
                    "asked with a certificate that was renewed already, for another key: call this organisation"
                ),
                Declined::Unknown | Declined::Revoked | Declined::TooEarly(_) | Declined::BadRequest(_) => {
                    tracing::warn!(%oin, ?declined, "a certificate was not renewed");
                }
            }
            refuse(&declined)
        }
    }
}

/// A refusal, with a word and a wait and no more.
fn refuse(declined: &Declined) -> Response {
    let (status, reason, after) = match declined {
        Declined::Unknown => (StatusCode::FORBIDDEN, "unknown", None),
        Declined::Revoked => (StatusCode::FORBIDDEN, "revoked", None),
        Declined::NotNewest => (StatusCode::FORBIDDEN, NOT_NEWEST, None),
        Declined::TooEarly(wait) => (StatusCode::TOO_MANY_REQUESTS, "too-early", Some(*wait)),
        Declined::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad-request", None),
        Declined::Trouble(_) => (StatusCode::SERVICE_UNAVAILABLE, "trouble", Some(TROUBLE)),
    };
    let seconds = after.map(|after| after.0.div_ceil(1000));
    let body = json!({ "reason": reason, "retry_after": seconds }).to_string();
    let mut response = (status, answer("application/json", body)).into_response();
    if let Some(seconds) = seconds {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn however_many_ask_the_operator_comes_in() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("ca");
        drop(Authority::init(&dir, "Partnership", 30, clock::now()).unwrap());
        let desk = Desk { dir: dir.clone(), days: 90, turn: Arc::default() };
        let (begun, mut beginning) = watch::channel(());
        let flood = (0..32).map(|_| {
            let (desk, begun) = (desk.clone(), begun.clone());
            // As long as a sealed key takes to open.
            let work = move |_: &mut Authority| {
                begun.send_replace(());
                std::thread::sleep(Duration::from_millis(500));
                Ok::<_, Complaint>(())
            };
            tokio::spawn(async move { desk.with(work).await })
        });
        let flood: Vec<_> = flood.collect();
        beginning.changed().await.unwrap();
        let operator = tokio::task::spawn_blocking(move || Authority::open(&dir));
        assert!(operator.await.unwrap().is_ok());
        for one in flood {
            one.abort();
        }
    }
}
