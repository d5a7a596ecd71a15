//! The local HTTP API of a running agent: for this organisation's own systems, on this machine.
//!
//! Loopback or a Unix socket, HTTP/1.1, JSON, a token for each application ([`token`]). What is asked is asked of the
//! agent as a command asks it; docs/api.md and `/v1/openapi.json` say what there is.

mod agreed;
mod cases;
mod events;
pub(crate) mod guard;
mod inbox;
mod input;
mod messages;
mod problem;
pub(crate) mod settings;
pub mod token;

use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use hyper_util::service::TowerToHyperService;
use seinhuis_agent_core::Event;
use seinhuis_shared::limits::BODY_MAX;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::serve::{self, Bounds};
use seinhuis_shell::web::origin::Strangers;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use self::problem::Problem;
pub use self::settings::Settings;
use self::token::Tokens;
use crate::agent::AgentHandle;

/// Most bytes of a request's body: that of a signal and its addressing.
const BODY_LONGEST: usize = BODY_MAX + 16 * 1024;
/// Most news that waits for who listens to events; who falls behind is told so.
const NEWS: usize = 4096;
/// What a client on this machine may ask of the server. A connection that listens to events is made anew each hour.
const BOUNDS: Bounds = Bounds {
    connections: 128,
    arrivals: 256,
    handshake: Duration::from_secs(3),
    wait: Duration::from_secs(10),
    stall: Duration::from_secs(30),
    connection: Duration::from_hours(1),
    head: 8 * 1024,
    fields: 64,
};
/// What there is, for machines.
const OPENAPI: &str = include_str!("../../../api/openapi.json");

/// What every request is answered from.
#[derive(Debug, Clone)]
struct Desk {
    agent: AgentHandle,
    tokens: Tokens,
    /// The address that is listened on; none for a Unix socket.
    address: Option<SocketAddr>,
    news: broadcast::Sender<Event>,
    strangers: Strangers,
    stopping: watch::Receiver<bool>,
}

/// The sockets of the API, bound and not served yet.
#[derive(Debug)]
pub(super) struct Api {
    tcp: Option<StdTcpListener>,
    unix: Option<UnixListener>,
}

impl Api {
    /// Binds what the settings name, for an agent in `home`.
    ///
    /// # Errors
    /// A sentence naming the address or path.
    pub(super) fn bind(settings: &Settings, home: &Path) -> Result<Self, Complaint> {
        let tcp = settings.address()?.map(listen).transpose()?;
        let unix = settings.socket_in(home).map(|path| listen_unix(&path)).transpose()?;
        Ok(Self { tcp, unix })
    }

    /// The address really listened on; none when there is none.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves on tasks of `tasks` until `stopping` says so.
    ///
    /// # Errors
    /// When the runtime does not take a socket.
    pub(super) fn serve(
        self,
        agent: &AgentHandle,
        stopping: &watch::Receiver<bool>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), Complaint> {
        let (news, _) = broadcast::channel(NEWS);
        let address = self.address();
        let desk = Desk {
            agent: agent.clone(),
            tokens: Tokens::new(&agent.home().api_tokens()),
            address: None,
            news: news.clone(),
            strangers: Strangers::default(),
            stopping: stopping.clone(),
        };
        let (mut happened, mut until) = (agent.subscribe(), stopping.clone());
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    _ = until.wait_for(|stop| *stop) => return,
                    event = happened.recv() => match event {
                        // Nobody may be listening.
                        Some(event) => _ = news.send(event.event),
                        None => return,
                    },
                }
            }
        });
        if let Some(listener) = self.tcp {
            let listener = TcpListener::from_std(listener).map_err(|error| {
                Complaint::bug(format!("a socket that the runtime does not take: {error}"))
            })?;
            tasks.spawn(answer(listener, Desk { address, ..desk.clone() }));
        }
        if let Some(listener) = self.unix {
            tasks.spawn(answer(listener, desk));
        }
        Ok(())
    }
}

pub(crate) fn listen(address: SocketAddr) -> Result<StdTcpListener, Complaint> {
    let fail = |error: std::io::Error| Complaint::io(Doing::Socket, Path::new(&address.to_string()), &error);
    let listener = StdTcpListener::bind(address).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(listener)
}

/// A socket that who may enter its folder and is of its group can use; what lets do anything is the token.
fn listen_unix(path: &Path) -> Result<UnixListener, Complaint> {
    seinhuis_shell::control::listen_at(path, 0o660)
}

async fn answer<L: serve::Listen>(listener: L, desk: Desk) {
    let mut stopping = desk.stopping.clone();
    let service = TowerToHyperService::new(router(desk));
    let stop = async move { _ = stopping.wait_for(|stop| *stop).await };
    serve::serve(&listener, service, BOUNDS, stop).await;
}

/// What there is: each path with its methods.
fn routes() -> Vec<(&'static str, MethodRouter<Desk>)> {
    vec![
        ("/v1/health", get(health)),
        ("/v1/openapi.json", get(openapi)),
        ("/v1/status", get(status)),
        ("/v1/messages", get(messages::list).post(messages::push)),
        ("/v1/messages/{id}", get(messages::one)),
        ("/v1/messages/{id}/receipt", get(messages::receipt)),
        ("/v1/messages/{id}/correction", post(messages::correct)),
        ("/v1/messages/{id}/withdrawal", post(messages::withdraw)),
        ("/v1/messages/{id}/take-back", post(messages::take_back)),
        ("/v1/inbox", get(inbox::list)),
        ("/v1/inbox/{position}", get(inbox::one)),
        ("/v1/inbox/{position}/body", get(inbox::body).head(unread)),
        ("/v1/inbox/{position}/consumed", post(inbox::consumed)),
        ("/v1/events", get(events::listen)),
        ("/v1/covenants", get(agreed::covenants)),
        ("/v1/covenants/{hash}/schemas/{type}", get(agreed::schema)),
        ("/v1/flows", get(agreed::flows)),
        ("/v1/cases", get(cases::list)),
        ("/v1/cases/{case}", get(cases::one).put(cases::open)),
        ("/v1/cases/{case}/decisions", post(cases::decide)),
    ]
}

fn router(desk: Desk) -> Router {
    let all = routes().into_iter().fold(Router::new(), |all, (path, methods)| all.route(path, methods));
    all.layer(axum::middleware::from_fn_with_state(desk.clone(), guard::guard)).with_state(desk)
}

/// JSON with a status.
fn said(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// A body that nobody gets is not read.
async fn unread() -> Problem {
    Problem::method()
}

/// That the agent answers; nothing else, since everybody on this machine may ask.
async fn health(State(desk): State<Desk>) -> Result<Response, Problem> {
    desk.agent.query(|_| ()).await?;
    Ok(said(StatusCode::OK, &json!({ "status": "ok" })))
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], Body::from(OPENAPI)).into_response()
}

async fn status(
    State(desk): State<Desk>,
    axum::Extension(token): axum::Extension<token::Token>,
) -> Result<Response, Problem> {
    use crate::commands::request::{Look, Request};
    if !token.may(&token::Right::Status) {
        return Err(Problem::not_allowed("status"));
    }
    Ok(said(StatusCode::OK, &desk.agent.ask(Request::Look(Look::Status)).await?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_names_what_there_is() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let described: BTreeSet<&str> =
            document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let there: BTreeSet<&str> = routes().into_iter().map(|(path, _)| path).collect();
        assert_eq!(described, there);
    }
}
