//! What happens, as it happens: server-sent events, each of `CloudEvents` (the NL GOV profile) without any content.
//!
//! Deliveries come out of the store by their position, so that who comes back misses none (`Last-Event-ID`). What became
//! of own signals is told to who listens at that moment; who was away asks for it.

use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, Uri};
use axum::response::{IntoResponse as _, Response};
use seinhuis_agent_core::Event;
use seinhuis_agent_core::rows::InboxRow;
use seinhuis_shared::ids::{MsgId, Oin};
use seinhuis_shell::clock;
use seinhuis_shell::web::pieces::Pieces;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, watch};

use super::Desk;
use super::input::Query;
use super::problem::Problem;
use super::token::{Right, Token};
use crate::commands::present;
use crate::engine::{View, inbox_row, outbox_row};
use crate::ways::event::{self, Occurrence};

/// How often something is said when nothing happens, so that both sides notice a connection that is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Deliveries that are looked up at a time.
const BATCH: usize = 100;
/// Pieces that wait for a client to read; beyond them nothing is looked up for it.
const AHEAD: usize = 4;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Who listens.
struct Listener {
    desk: Desk,
    token: Token,
    /// The position of the inbox that is looked at next.
    next: u64,
    out: mpsc::Sender<Bytes>,
}

/// The client does not listen any more.
struct Gone;

/// Waits until the agent stops, and holds nothing of the channel that says so.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // The channel ends with the agent.
    _ = stopping.wait_for(|stop| *stop).await;
}

pub(super) async fn listen(
    State(desk): State<Desk>,
    Extension(token): Extension<Token>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let hears = |right: &Right| matches!(right, Right::Send(_) | Right::Receive(_) | Right::Status);
    if !token.rights.iter().any(hears) {
        return Err(Problem::not_allowed("receive, send, status"));
    }
    let asked = Query::of(&uri, &["from"])?.from()?;
    let seen = headers.get(LAST_EVENT_ID).map(|id| id.to_str().ok()?.parse::<u64>().ok());
    let next = match seen {
        Some(None) => return Err(Problem::field("Last-Event-ID")),
        Some(Some(seen)) => Some(seen.saturating_add(1)),
        None => asked,
    };
    let news = desk.news.subscribe();
    let there = desk.agent.query(|view| view.core.received()).await?;
    let (out, pieces) = mpsc::channel(AHEAD);
    let listener = Listener { desk, token, next: next.unwrap_or(there), out };
    tokio::spawn(listener.run(news, there));
    Ok(([(CONTENT_TYPE, "text/event-stream")], Body::new(Pieces::new(pieces))).into_response())
}

impl Listener {
    /// Tells what there is and what happens, until the client, its token or the agent is gone.
    async fn run(mut self, mut news: broadcast::Receiver<Event>, there: u64) {
        let mut stopping = self.desk.stopping.clone();
        let mut beat = tokio::time::interval(HEARTBEAT);
        let begun = if self.next > there {
            // It comes from another store than this one: what is in this one is told from the beginning.
            self.next = 0;
            self.missed().await
        } else {
            self.deliveries().await
        };
        let mut going = begun.is_ok();
        while going {
            going = tokio::select! {
                () = stopped(&mut stopping) => return,
                () = self.out.closed() => return,
                // The first comes at once: that the stream is there is said before anything happens.
                _ = beat.tick() => self.say(": \n\n".to_owned()).await.is_ok(),
                told = news.recv() => match told {
                    Err(broadcast::error::RecvError::Closed) => return,
                    Err(broadcast::error::RecvError::Lagged(_)) => self.missed().await.is_ok(),
                    Ok(event) => self.tell(event).await.is_ok(),
                },
            };
        }
    }

    /// Says something to a client that is there, and whose token still counts.
    async fn say(&self, text: String) -> Result<(), Gone> {
        if self.desk.tokens.still(&self.token.id, clock::now()).is_none() {
            return Err(Gone);
        }
        self.out.send(Bytes::from(text)).await.map_err(|_| Gone)
    }

    /// News was lost because the client read too slowly: deliveries are in the store, of the rest it has to ask.
    async fn missed(&mut self) -> Result<(), Gone> {
        self.say("event: missed\ndata: {}\n\n".to_owned()).await?;
        self.deliveries().await
    }

    async fn tell(&mut self, event: Event) -> Result<(), Gone> {
        match event {
            Event::Received { .. } => self.deliveries().await,
            Event::Decided { msg_id, stage, outcome } => {
                let data = json!({ "state": stage.as_str(), "refusal": present::reason(outcome) });
                self.own(msg_id, "decided", format!("{msg_id}-{}", stage.as_str()), data).await
            }
            Event::Reached { msg_id, to, reached } => {
                let data = json!({ "to": to.to_string(), "reached": reached.as_str() });
                self.own(msg_id, "reached", format!("{msg_id}-{to}-{}", reached.as_str()), data).await
            }
            Event::Alarm(alarm) if self.token.may(&Right::Status) => {
                let (at, kind) = (alarm.at.to_string(), alarm.kind.as_str());
                let of = Occurrence {
                    id: format!("{kind}-{at}"),
                    name: "message.alarm".to_owned(),
                    subject: kind.to_owned(),
                    time: at,
                };
                let event = of.cloud(self.desk.agent.oin(), &json!({ "kind": kind }));
                self.say(format!("event: alarm\ndata: {event}\n\n")).await
            }
            Event::Alarm(_) | Event::KeyRotated(_) => Ok(()),
        }
    }

    /// Tells of an own signal, to who may see it.
    async fn own(&self, id: MsgId, name: &'static str, event: String, mut data: Value) -> Result<(), Gone> {
        let flow = move |view: &View<'_>| {
            let (position, _) = view.core.find(&id)?;
            outbox_row(view.store, position).map(|row| row.flow)
        };
        let Some(flow) = self.desk.agent.query(flow).await.map_err(|_| Gone)? else { return Ok(()) };
        if !self.token.sends(&flow) {
            return Ok(());
        }
        data["message"] = format!("/v1/messages/{id}").into();
        data["flow"] = flow.into();
        let of = Occurrence {
            id: event,
            name: format!("message.{name}"),
            subject: id.to_string(),
            time: clock::now().to_string(),
        };
        self.say(format!("event: {name}\ndata: {}\n\n", of.cloud(self.desk.agent.oin(), &data))).await
    }

    /// Tells of every delivery from the next position on.
    async fn deliveries(&mut self) -> Result<(), Gone> {
        loop {
            let (from, own, token) = (self.next, self.desk.agent.oin(), self.token.clone());
            let looked = move |view: &View<'_>| {
                let (mut text, mut next) = (String::new(), from);
                for _ in 0..BATCH {
                    let Some(row) = inbox_row(view.store, next) else { return (text, next, false) };
                    if token.receives(&row.flow) {
                        text.push_str(&delivery(own, next, &row));
                    }
                    next = next.saturating_add(1);
                }
                (text, next, true)
            };
            let (text, next, more) = self.desk.agent.query(looked).await.map_err(|_| Gone)?;
            self.next = next;
            if !text.is_empty() {
                self.say(text).await?;
            }
            if !more {
                return Ok(());
            }
            if self.out.is_closed() {
                return Err(Gone);
            }
        }
    }
}

/// An event about one delivery.
fn delivery(own: Oin, position: u64, row: &InboxRow) -> String {
    let data = json!({
        "inbox": format!("/v1/inbox/{position}"),
        "position": position,
        "state": if row.outcome == 0 { "stored" } else { "quarantined" },
        "from": row.sender.map(|oin| oin.to_string()),
        "flow": row.flow,
        "type": row.message_type,
        "case": row.case.map(|case| case.to_string()),
    });
    let event = event::received(format!("inbox-{position}"), own, row, &data);
    format!("id: {position}\nevent: received\ndata: {event}\n\n")
}
