//! The console: what the operator sees of every flow, in a browser, and never a word of content.
//!
//! HTML made here, one style sheet and one small script, without which everything can be read and done all the same.
//! Whoever looks shares one board of the moment; packets wait for nobody who looks. docs/operating.md says what there is.

pub(crate) mod accounts;
mod acts;
mod agents;
mod alarms;
mod certificates;
mod covenants;
mod entries;
mod exports;
mod flows;
mod guard;
mod layout;
mod live;
mod log;
mod noted;
mod now;
mod oidc;
mod queues;
mod refusals;
mod settings;
mod sign_in;
mod storage;
mod trouble;
mod words;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, middleware};
use hyper_util::service::TowerToHyperService;
use maud::Markup;
use seinhuis_monitor::Board;
use seinhuis_shared::ids::Digest;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::serve::{self, Bounds};
use seinhuis_shell::web::sessions::{Sessions, Wrong};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use zeroize::Zeroizing;

use self::accounts::{Accounts, Role};
use self::certificates::Gate;
pub use self::certificates::Settings as Certificates;
pub(crate) use self::certificates::{in_order as certificates_in_order, registrable};
use self::guard::{Visit, Whence};
pub(crate) use self::noted::note_accounts;
pub use self::oidc::Settings as Oidc;
pub use self::settings::Settings;
use self::trouble::Trouble;
use self::words::Ctx;
use crate::config::Config;
use crate::home::Home;
use crate::service::Service;

/// What browsers may ask of the server.
const BOUNDS: Bounds = Bounds {
    connections: 128,
    arrivals: 128,
    handshake: Duration::from_secs(3),
    wait: Duration::from_secs(10),
    stall: Duration::from_secs(30),
    connection: Duration::from_mins(10),
    head: 16 * 1024,
    fields: 64,
};
/// How everything looks.
const STYLE: &str = include_str!("style.css");
/// Puts what changed in its place.
const SCRIPT: &str = include_str!("live.js");
/// Passwords that are looked at at one time: each takes 19 MiB.
const LOOKED_AT: usize = 2;
/// Readings of the log at one time: who packets wait for reads from disk on the same threads.
const READ_AT: usize = 2;
/// How long a place among those may be waited for.
const PLACE: Duration = Duration::from_secs(5);

/// A place among so few, or that there is none for now.
async fn place(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Trouble> {
    let waited = tokio::time::timeout(PLACE, Arc::clone(of).acquire_owned()).await;
    waited.ok().and_then(Result::ok).ok_or_else(Trouble::busy)
}

/// What is known of somebody who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    /// There is an account, which is looked at for each request.
    Account {
        /// What the account had when somebody signed in, and has no more after a reset.
        mark: String,
    },
    /// The provider said it, when the session began.
    Provider {
        /// What people call them.
        name: String,
        role: Role,
    },
}

/// A page, or why there is none.
type Shown = Result<Response, Trouble>;

/// What a session has besides whose it is.
#[derive(Debug, Clone)]
struct Begun {
    known: Known,
    /// The certificate that the connection was made with over which it began.
    certificate: Option<Digest>,
}

/// What every page is made from.
#[derive(Debug, Clone)]
struct Desk {
    service: Service,
    /// The broker's name, as people know it.
    name: String,
    accounts: Accounts,
    /// Whether accounts count.
    local: bool,
    provider: Option<oidc::Provider>,
    sessions: Sessions<Begun>,
    wrong: Wrong,
    looking: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    whence: Whence,
    book: acts::Book,
    /// Acts that two people do.
    four_eyes: Arc<[String]>,
    asked: acts::Asked,
    exports: exports::Exports,
}

/// Makes a code with which an account signs in once, within ten minutes, without anything else.
///
/// # Errors
/// A sentence when there is no account of this name.
pub fn one_sign_in(home: &Home, name: &str) -> Result<Zeroizing<String>, Complaint> {
    Accounts::new(&home.operators()).once(name, clock::now())
}

/// Writes in the book of the console what was done to an account from the command line.
///
/// # Errors
/// A sentence naming the file.
pub(crate) fn note(home: &Home, act: &str, account: &str) -> Result<(), Complaint> {
    let done = acts::Done::new("command line", act, None, &format!("account {account}"));
    acts::Book::new(&home.acts()).write(&done.salted())
}

/// A console that listens.
#[derive(Debug)]
pub struct Console {
    /// On this machine itself, with the address really listened on.
    listener: Option<(TcpListener, SocketAddr)>,
    /// For who comes with a certificate.
    gate: Option<Gate>,
    desk: Desk,
}

impl Console {
    /// Listens, if the configuration asks for it: on this machine, for who comes with a certificate, or both.
    ///
    /// # Errors
    /// A sentence naming the address, the setting or the file.
    pub async fn bind(home: &Home, config: &Config, service: Service) -> Result<Option<Self>, Complaint> {
        let settings = &config.console;
        let listener = match settings.address()? {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let gate = Gate::bind(home.dir(), &settings.certificates, &service.monitor).await?;
        if listener.is_none() && gate.is_none() {
            return Ok(None);
        }
        let whence = Whence::here(listener.as_ref().map(|(_, address)| *address), settings.origin()?);
        let desk = Desk {
            service,
            name: config.name.clone(),
            accounts: Accounts::new(&home.operators()),
            local: settings.local,
            provider: oidc::Provider::open(home.dir(), &settings.oidc)?,
            sessions: Sessions::default(),
            wrong: Wrong::default(),
            looking: Arc::new(Semaphore::new(LOOKED_AT)),
            reading: Arc::new(Semaphore::new(READ_AT)),
            whence,
            book: acts::Book::new(&home.acts()),
            four_eyes: config.console.four_eyes.clone().into(),
            asked: acts::Asked::open(&home.asked()),
            exports: exports::Exports::new(&home.exports()),
        };
        Ok(Some(Self { listener, gate, desk }))
    }

    /// The address really listened on, on this machine itself.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().map(|(_, address)| *address)
    }

    /// Serves until `stopping` says so.
    pub async fn run(self, stopping: watch::Receiver<bool>) {
        let Self { listener, gate, desk } = self;
        let stop = || {
            let mut stopping = stopping.clone();
            async move {
                _ = stopping.wait_for(|stop| *stop).await;
            }
        };
        let here = async {
            let Some((listener, _)) = listener else { return };
            let service = TowerToHyperService::new(router(desk.clone()));
            serve::serve(&listener, service, BOUNDS, stop()).await;
        };
        let with_certificates = async {
            let Some(gate) = gate else { return };
            let desk = desk.clone();
            let own = move |origin: &str, certificate| {
                router(Desk { whence: Whence::with_certificate(origin, certificate), ..desk.clone() })
            };
            gate.run(own, stop()).await;
        };
        tokio::join!(here, with_certificates);
    }
}

/// Listens on an address of this machine itself.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Complaint> {
    let fail = |error| Complaint::io(Doing::Socket, Path::new(&address.to_string()), &error);
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    tracing::info!(%address, "the console is served");
    Ok((listener, address))
}

/// What is made of a board for one part of the console.
type Live = fn(&Board, &Ctx, &Uri) -> Markup;

/// The parts that follow what happens: path, and what makes them.
const LIVE: [(&str, Live); 7] = [
    ("/", now::live),
    ("/queues", queues::live),
    ("/refusals", refusals::live),
    ("/agents", agents::live),
    ("/storage", storage::live),
    ("/acts", acts::live),
    ("/log", log::live),
];

/// What there is: each path with its methods.
fn routes() -> Vec<(&'static str, MethodRouter<Desk>)> {
    let mut all: Vec<(&'static str, MethodRouter<Desk>)> = vec![
        ("/style.css", get(style)),
        ("/live.js", get(script)),
        ("/live", get(live::stream)),
        (sign_in::SIGN_IN, post(sign_in::sign_in)),
        (certificates::SIGN_IN, post(certificates::sign_in)),
        (oidc::START, get(oidc::start)),
        (oidc::BACK, get(oidc::back)),
        ("/sign-out", post(sign_in::sign_out)),
        ("/language", post(sign_in::language)),
        ("/flows", get(flows::show).post(flows::act)),
        ("/agents/{oin}", get(agents::one).post(agents::act)),
        ("/log/{position}", get(entries::one)),
        ("/log/find", get(entries::find)),
        ("/covenants", get(covenants::list)),
        ("/alarms", get(alarms::list).post(alarms::act)),
        ("/acts/asked", get(acts::waiting).post(acts::answer)),
        ("/exports", get(exports::list).post(exports::ask)),
        ("/exports/{name}", get(exports::fetch)),
        ("/covenants/{hash}", get(covenants::one)),
    ];
    all.extend(LIVE.map(|(path, _)| (path, get(show))));
    all
}

fn router(desk: Desk) -> Router {
    let all = routes().into_iter().fold(Router::new(), |all, (path, methods)| all.route(path, methods));
    all.layer(middleware::from_fn_with_state(desk.clone(), guard::guard)).with_state(desk)
}

/// A part that follows what happens.
async fn show(State(desk): State<Desk>, Extension(visit): Extension<Visit>, uri: Uri) -> Shown {
    let board = desk.service.board().await?;
    let ctx = Ctx::new(&board, &visit);
    let made = LIVE.iter().find(|(path, _)| *path == uri.path()).ok_or_else(Trouble::nothing)?.1;
    let title = layout::title_of(uri.path(), visit.lang);
    Ok(layout::live(&desk, &visit, title, &board, &made(&board, &ctx, &uri)))
}

async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

async fn script() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
}
