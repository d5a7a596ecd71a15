//! What happens, as it happens: the part of a page that is alive, made anew several times a second and sent when it is another.

use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::{IntoResponse as _, Response};
use seinhuis_shell::web::pieces::Pieces;
use tokio::sync::mpsc;

use super::guard::{self, Visit};
use super::trouble::Trouble;
use super::words::Ctx;
use super::{Desk, LIVE, Live, Shown, layout};

/// How often it is made: with the age of a board and the counting of entries, what happens is shown within a second.
const STEP: Duration = Duration::from_millis(300);
/// How often something is said when nothing changes, so that both sides notice a connection that is gone.
const BEATS: u32 = 50;
/// Pieces that wait for a browser to read; beyond them nothing is made for it.
const AHEAD: usize = 2;

/// Follows the part that the query names.
pub(super) async fn stream(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    uri: Uri,
) -> Shown {
    let path = layout::asked(&uri, "path");
    let of: Uri = path.parse().map_err(|_| Trouble::nothing())?;
    let made = LIVE.iter().find(|(own, _)| *own == of.path()).ok_or_else(Trouble::nothing)?.1;
    let (out, pieces) = mpsc::channel(AHEAD);
    tokio::spawn(Follower { desk, headers, path: of, made, visit, out }.run());
    let kind = HeaderValue::from_static("text/event-stream");
    // A web server in front passes on each piece as it comes.
    let through = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let response: Response =
        ([(CONTENT_TYPE, kind), through], Body::new(Pieces::new(pieces))).into_response();
    Ok(response)
}

struct Follower {
    desk: Desk,
    /// Who asked, to be looked at again each time.
    headers: HeaderMap,
    path: Uri,
    made: Live,
    visit: Visit,
    out: mpsc::Sender<Bytes>,
}

impl Follower {
    /// Until the browser, the session or the broker is gone.
    async fn run(mut self) {
        let mut pace = tokio::time::interval(STEP);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut last, mut quiet) = (String::new(), 0);
        loop {
            tokio::select! {
                () = self.out.closed() => return,
                _ = pace.tick() => {}
            }
            let Some(visit) = guard::visit(&self.desk, &self.headers, Some(&self.visit.path)) else {
                // The browser asks for the page again, and is asked who it is.
                _ = self.out.send(Bytes::from_static(b"event: over\ndata: \n\n")).await;
                return;
            };
            self.visit = visit;
            let Ok(board) = self.desk.service.board().await else { return };
            let part = (self.made)(&board, &Ctx::new(&board, &self.visit), &self.path).into_string();
            quiet += 1;
            let said = if part != last {
                event(&layout::clock(&board), &part)
            } else if quiet % BEATS == 0 {
                Bytes::from_static(b": \n\n")
            } else {
                continue;
            };
            last = part;
            if self.out.send(said).await.is_err() {
                return;
            }
        }
    }
}

/// An event with the time on its first line and the part on the rest (HTML, section 9.2).
fn event(time: &str, part: &str) -> Bytes {
    let mut text = format!("data: {time}\n");
    // A line of the stream ends at a carriage return too.
    for line in part.replace('\r', " ").lines() {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_each_line_as_data() {
        assert_eq!(event("12:00:00 UTC", "<p>\n</p>"), "data: 12:00:00 UTC\ndata: <p>\ndata: </p>\n\n");
    }
}
