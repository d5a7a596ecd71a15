//! The page for people: signals made, read, released and followed in a browser on this machine.
//!
//! HTML made here, with forms and one style sheet and no script. What is asked is asked of the agent as a command asks it;
//! docs/page.md says what there is, docs/decisions/0022 why it is so.

mod cases;
mod correct;
mod entered;
mod fields;
mod flows;
mod guard;
mod inbox;
mod layout;
mod makers;
pub mod person;
mod push;
mod receipt;
mod release;
mod sent;
mod settings;
mod shape;
mod sign_in;
mod start;
mod subjects;
mod trouble;
mod words;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use hyper_util::service::TowerToHyperService;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::serve::{self, Bounds};
use seinhuis_shell::web::origin::Strangers;
use seinhuis_shell::web::sessions::{Sessions, Wrong};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::makers::Makers;
use self::person::Persons;
pub use self::settings::Settings;
use self::trouble::Trouble;
use crate::agent::AgentHandle;
use crate::config::{Config, Subjects};
use crate::ways::api;

/// What a browser on this machine may ask of the server.
const BOUNDS: Bounds = Bounds {
    connections: 64,
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

/// A page, or why there is none.
type Shown = Result<Response, Trouble>;

/// What every page is made from.
#[derive(Debug, Clone)]
struct Desk {
    agent: AgentHandle,
    /// The organisation, as people know it.
    name: String,
    persons: Persons,
    sessions: Sessions,
    makers: Makers,
    wrong: Wrong,
    strangers: Strangers,
    /// Who tells persons that there are data about them.
    subjects: Subjects,
    /// The address that is listened on.
    address: SocketAddr,
}

/// Serves the page if the configuration asks for it, on a task of `tasks`, until `stopping` says so. Its address.
///
/// # Errors
/// A sentence naming the address or the file.
pub(super) fn start(
    agent: &AgentHandle,
    config: &Config,
    stopping: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<Option<SocketAddr>, Complaint> {
    let Some(address) = config.page.address()? else { return Ok(None) };
    let listener = api::listen(address)?;
    let home = agent.home();
    let bug = |error: std::io::Error| Complaint::bug(format!("a socket without an address: {error}"));
    let address = listener.local_addr().map_err(bug)?;
    let desk = Desk {
        agent: agent.clone(),
        name: config.name.clone(),
        persons: Persons::new(&home.persons()),
        sessions: Sessions::default(),
        makers: Makers::open(&home.makers())?,
        wrong: Wrong::default(),
        strangers: Strangers::default(),
        subjects: config.subjects.clone(),
        address,
    };
    let listener = TcpListener::from_std(listener)
        .map_err(|error| Complaint::bug(format!("a socket that the runtime does not take: {error}")))?;
    let service = TowerToHyperService::new(router(desk));
    let mut stopping = stopping.clone();
    tasks.spawn(async move {
        serve::serve(&listener, service, BOUNDS, async move { _ = stopping.wait_for(|stop| *stop).await })
            .await;
    });
    Ok(Some(address))
}

/// What there is: each path with its methods.
fn routes() -> Vec<(&'static str, MethodRouter<Desk>)> {
    vec![
        ("/", get(start::show)),
        ("/style.css", get(style)),
        ("/sign-in", post(sign_in::sign_in)),
        ("/sign-out", post(sign_in::sign_out)),
        ("/language", post(sign_in::language)),
        ("/inbox", get(inbox::list)),
        ("/inbox/{position}", get(inbox::one)),
        ("/inbox/{position}/consumed", post(inbox::consumed)),
        ("/new", get(flows::list)),
        ("/new/{covenant}/{flow}/{type}", get(push::show).post(push::send)),
        ("/sent", get(sent::list)),
        ("/sent/{id}", get(sent::one)),
        ("/sent/{id}/take-back", post(sent::take_back)),
        ("/sent/{id}/correction", get(correct::show_correction).post(correct::correct)),
        ("/sent/{id}/withdrawal", get(correct::show_withdrawal).post(correct::withdraw)),
        ("/sent/{id}/receipt", get(receipt::show)),
        ("/sent/{id}/receipt/file", get(receipt::file)),
        ("/corrections", get(correct::list)),
        ("/release", get(release::list)),
        ("/release/{id}", get(release::one).post(release::decide)),
        ("/cases", get(cases::list).post(cases::open)),
        ("/cases/{case}", get(cases::one).post(cases::decide)),
        ("/subjects", get(subjects::list)),
        ("/subjects/search", get(subjects::show_search).post(subjects::search)),
        ("/subjects/{person}", get(subjects::one)),
        ("/subjects/{person}/letter", get(subjects::show_letter).post(subjects::letter)),
        ("/subjects/{person}/answer", get(subjects::show_answer).post(subjects::answer)),
        ("/subjects/{person}/{act}", get(subjects::show_act).post(subjects::act)),
    ]
}

fn router(desk: Desk) -> Router {
    let all = routes().into_iter().fold(Router::new(), |all, (path, methods)| all.route(path, methods));
    all.layer(axum::middleware::from_fn_with_state(desk.clone(), guard::guard)).with_state(desk)
}

async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}
