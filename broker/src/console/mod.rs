//! The console: what the operator sees of every flow, in a browser, and never a word of content.
//!
//! HTML made here, one style sheet and one small script, without which everything can be read and done all the same.
//! Whoever looks shares one board of the moment; packets wait for nobody who looks. docs/operating.md says what there is.

pub(crate) mod accounts;
mod acts;
mod agents;
mod alarms;
mod covenants;
mod entries;
mod exports;
mod flows;
mod guard;
mod layout;
mod live;
mod log;
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
use seinhuis_shell::clock;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::serve::{self, Bounds};
use seinhuis_shell::web::sessions::{Sessions, Wrong};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use zeroize::Zeroizing;

use self::accounts::{Accounts, Role};
use self::guard::Visit;
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
    sessions: Sessions<Known>,
    wrong: Wrong,
    looking: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    whence: guard::Whence,
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
    acts::Book::new(&home.acts()).write(&acts::Done::new(
        "command line",
        act,
        None,
        &format!("account {account}"),
    ))
}

/// A console that listens.
#[derive(Debug)]
pub struct Console {
    listener: TcpListener,
    address: SocketAddr,
    desk: Desk,
}

impl Console {
    /// Listens, if the configuration asks for it.
    ///
    /// # Errors
    /// A sentence naming the address or the setting.
    pub async fn bind(home: &Home, config: &Config, service: Service) -> Result<Option<Self>, Complaint> {
        let Some(address) = config.console.address()? else { return Ok(None) };
        let fail = |error| Complaint::io(Doing::Socket, Path::new(&address.to_string()), &error);
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let desk = Desk {
            service,
            name: config.name.clone(),
            accounts: Accounts::new(&home.operators()),
            local: config.console.local,
            provider: oidc::Provider::open(home.dir(), &config.console.oidc)?,
            sessions: Sessions::default(),
            wrong: Wrong::default(),
            looking: Arc::new(Semaphore::new(LOOKED_AT)),
            reading: Arc::new(Semaphore::new(READ_AT)),
            whence: guard::Whence::new(address, config.console.origin()?),
            book: acts::Book::new(&home.acts()),
            four_eyes: config.console.four_eyes.clone().into(),
            asked: acts::Asked::open(&home.asked()),
            exports: exports::Exports::new(&home.exports()),
        };
        Ok(Some(Self { listener, address, desk }))
    }

    /// The address really listened on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stopping` says so.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let service = TowerToHyperService::new(router(self.desk));
        serve::serve(&self.listener, service, BOUNDS, async move {
            _ = stopping.wait_for(|stop| *stop).await;
        })
        .await;
    }
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
        ("/sign-in", post(sign_in::sign_in)),
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
