//! A witness of exchange logs over HTTP (C2SP tlog-witness, `add-checkpoint` alone), for who is no party to a covenant.
//!
//! It answers with the handler the agents have ([`seinhuis_shared::tlog::witness`]), and keeps for each log that it knows
//! the largest checkpoint it cosigned, on stable storage before the answer goes out. Whoever can reach it may ask: a
//! request counts by the signature of its log.

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
use seinhuis_shared::tlog::witness::{MAX_REQUEST_BYTES, SIZE_TYPE};
use seinhuis_shell::clock;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};

pub use commands::run;
pub use config::Config;
pub use state::{Answer, Witness};

/// Longest wait for the body of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most requests at one time; those beyond are told to come back.
const AT_ONCE: usize = 64;

#[derive(Debug)]
struct Serving {
    // One request at a time: what is checked is what is kept.
    witness: Mutex<Witness>,
    places: Semaphore,
}

/// Answers on this listener until the task ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, witness: Witness) -> std::io::Result<()> {
    let serving = Arc::new(Serving { witness: Mutex::new(witness), places: Semaphore::new(AT_ONCE) });
    let router = Router::new().route("/add-checkpoint", post(add_checkpoint)).with_state(serving);
    axum::serve(listener, router).await
}

async fn add_checkpoint(State(serving): State<Arc<Serving>>, body: Body) -> Response<Body> {
    let Ok(_place) = serving.places.try_acquire() else { return plain(StatusCode::SERVICE_UNAVAILABLE) };
    let read = tokio::time::timeout(PATIENCE, to_bytes(body, MAX_REQUEST_BYTES)).await;
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
