//! Asking the witnesses: that the head has moved, those that are no party over HTTP, and whether a quorum grows old.

use std::time::Duration;

use seinhuis_broker_core::{Input, Send};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::tlog::witness::{CONFLICT, MAX_ANSWER_BYTES, SIZE_TYPE};
use seinhuis_shared::wire::Cosigned;
use seinhuis_shell::clock;
use seinhuis_shell::http::Http;
use tokio::sync::mpsc;

use crate::engine::Attach;
use crate::service::Service;

/// How often it is looked whether the head has moved.
const LOOK: Duration = Duration::from_millis(200);
/// Longest wait for the answer of a witness over HTTP.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often it is looked whether a quorum grows old.
const WARN: Duration = Duration::from_secs(30);

/// Tells the core that the head has moved, for as long as the engine runs.
pub(crate) async fn nudge(service: Service) {
    let mut pace = tokio::time::interval(LOOK);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = 0;
    loop {
        pace.tick().await;
        let Ok(current) = service.logs.current() else { return };
        let end = current.end();
        if end != told {
            told = end;
            if !service.engine.bring(None, Some(Input::HeadMoved)).await {
                return;
            }
        }
    }
}

/// Asks witnesses that are no party, each question on its own, for as long as the engine runs.
pub(crate) async fn outside(service: Service, http: Http) {
    let (out, mut questions) = mpsc::unbounded_channel();
    if !service.engine.bring(Some(Attach::Outside(out)), None).await {
        return;
    }
    while let Some(send) = questions.recv().await {
        if let Send::AskOutside { key, url, question } = send {
            let (service, http) = (service.clone(), http.clone());
            tokio::spawn(async move {
                let answer = match service.request(question).await {
                    Ok(request) => ask(&http, &url, request).await,
                    Err(complaint) => {
                        tracing::error!("{}", complaint.what.en);
                        None
                    }
                };
                service.engine.bring(None, Some(Input::OutsideAnswered { key, answer })).await
            });
        }
    }
}

async fn ask(http: &Http, url: &str, request: Vec<u8>) -> Option<Cosigned> {
    let address = format!("{}/add-checkpoint", url.trim_end_matches('/'));
    let posted = http.post(&address, "text/plain; charset=utf-8", request, MAX_ANSWER_BYTES, DEADLINE).await;
    let answer = posted.inspect_err(|error| tracing::warn!("a witness did not answer: {error}")).ok()?;
    // The size with 409 has a type of its own; without it the body is somebody else's.
    let typed = answer.content_type.as_deref().is_some_and(|of| of.split(';').next() == Some(SIZE_TYPE));
    let body = if answer.status == CONFLICT && !typed { Vec::new() } else { answer.body };
    Some(Cosigned { status: answer.status, body: Bytes(body) })
}

/// Warns of quorums that grow old and of witnesses that may have seen another history.
pub(crate) async fn warn(service: Service, after: Duration) {
    let mut pace = tokio::time::interval(WARN);
    loop {
        tokio::select! {
            () = service.engine.stopped() => return,
            _ = pace.tick() => {}
        }
        let now = clock::now();
        let watch = std::sync::Arc::clone(&service.engine.watch().borrow());
        for one in &watch.covenants {
            let age = one.newest.as_ref().map_or(one.age, |row| now.since(row.reached));
            if Duration::from_millis(age.0) > after {
                let age_s = age.0 / 1000;
                tracing::warn!(covenant = %one.id, wanted = one.wanted, age_s, "the quorum of witnesses is too old");
            }
        }
        for one in &watch.witnesses {
            if let Some(suspect) = &one.suspect {
                tracing::error!(witness = %one.name, "possible fork: {suspect}");
            }
        }
    }
}
