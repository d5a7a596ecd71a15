//! A witness of exchange logs over HTTP (C2SP tlog-witness, `add-checkpoint` alone), for who is no party to a covenant.
//!
//! It answers with the handler the agents have ([`seinhuis_shared::tlog::witness`]), and keeps for each log that it knows
//! the largest checkpoint it cosigned, on stable storage before the answer goes out. Whoever can reach it may ask: a
//! request counts by the signature of its log.
//!
//! Plain HTTP: a cosignature proves itself and a request counts by its signature, so that TLS hides who asks and proves
//! nothing more. The web server that others reach it through brings TLS.

mod commands;
mod config;
mod state;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use axum::routing::post;
use hyper_util::service::TowerToHyperService;
use seinhuis_shared::tlog::witness::{MAX_REQUEST_BYTES, SIZE_TYPE};
use seinhuis_shell::clock;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

pub use commands::run;
pub use config::Config;
pub use seinhuis_shell::serve::Bounds;
pub use state::{Answer, Witness};

#[derive(Debug)]
struct Serving {
    // One request at a time: what is checked is what is kept.
    witness: Mutex<Witness>,
    wait: Duration,
}

/// Answers on this listener until the task ends. One connection has one request at a time, so that [`Bounds`] also say how
/// many bodies are in memory.
pub async fn serve(listener: TcpListener, witness: Witness, bounds: Bounds) {
    let serving = Arc::new(Serving { witness: Mutex::new(witness), wait: bounds.wait });
    let router = Router::new().route("/add-checkpoint", post(add_checkpoint)).with_state(serving);
    let service = TowerToHyperService::new(router);
    seinhuis_shell::serve::serve(&listener, service, bounds, std::future::pending()).await;
}

async fn add_checkpoint(State(serving): State<Arc<Serving>>, body: Body) -> Response<Body> {
    let read = tokio::time::timeout(serving.wait, to_bytes(body, MAX_REQUEST_BYTES)).await;
    let Ok(read) = read else { return plain(StatusCode::REQUEST_TIMEOUT) };
    let Ok(request) = read else { return plain(StatusCode::PAYLOAD_TOO_LARGE) };
    // Held while the state is written: the flush of one request is short, and no other may come between.
    let answer = serving.witness.lock().await.answer(&request, clock::now());
    match answer {
        Ok(Answer { status, body, is_size }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let of = if is_size { SIZE_TYPE } else { "text/plain; charset=utf-8" };
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = status;
            response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(of));
            response
        }
        Err(complaint) => {
            tracing::error!("{}", complaint.what.en);
            plain(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
