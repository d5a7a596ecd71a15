//! The task that carries one connection: HTTP/2 is driven from here, and how it ends is noted here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Ping, PingPong, Reason};
use http::{Method, Request, Response};
use rustls_pki_types::CertificateDer;
use seinhuis_shared::limits::KEEP_ALIVE;
use seinhuis_shared::refusal::Refusal;
use tokio::sync::{mpsc, watch};

use super::socket::{Heard, Io};
use super::{
    ACKNOWLEDGEMENTS, Body, Closed, DELIVERIES, Inner, PARTING, STREAM, Side, TcpConnection, TcpRecv,
    TcpSend, note,
};

/// Where streams go that the agent opened.
pub(super) struct Doors {
    pub(super) both: mpsc::Sender<(TcpSend, TcpRecv)>,
    pub(super) up: mpsc::Sender<TcpRecv>,
    pub(super) down: mpsc::Sender<TcpSend>,
}

impl Doors {
    /// Takes in a stream. One for nothing known, or for which there is no place, is refused and not answered: an answer
    /// that ends at once would look like the orderly end of a stream.
    fn admit(&self, request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
        let (head, body) = request.into_parts();
        let (posted, path) = (head.method == Method::POST, head.uri.path());
        let recv = |body, other| TcpRecv { from: Body::Open(body), piece: Bytes::new(), _other: other };
        let answered = |mut respond: SendResponse<Bytes>| respond.send_response(Response::new(()), false);
        if posted
            && path == STREAM
            && let Ok(place) = self.both.try_reserve()
        {
            let Ok(stream) = answered(respond) else { return };
            place.send((TcpSend { stream, _other: None }, recv(body, None)));
        } else if posted
            && path == ACKNOWLEDGEMENTS
            && let Ok(place) = self.up.try_reserve()
        {
            let Ok(stream) = answered(respond) else { return };
            place.send(recv(body, Some(stream)));
        } else if head.method == Method::GET
            && path == DELIVERIES
            && let Ok(place) = self.down.try_reserve()
        {
            let Ok(stream) = answered(respond) else { return };
            place.send(TcpSend { stream, _other: Some(body) });
        } else {
            respond.send_reset(Reason::REFUSED_STREAM);
        }
    }
}

/// What carries a connection.
pub(super) struct Driver {
    heard: Heard,
    ended: watch::Sender<Option<Closed>>,
    closing: watch::Receiver<Option<Reason>>,
}

impl Driver {
    pub(super) fn new(
        heard: Heard,
        remote: SocketAddr,
        chain: Vec<CertificateDer<'static>>,
        side: Side,
    ) -> (Self, TcpConnection) {
        let ended = watch::Sender::new(None);
        let closing = watch::Sender::new(None);
        let driver = Self { heard, ended: ended.clone(), closing: closing.subscribe() };
        (driver, TcpConnection(Arc::new(Inner { remote, chain, ended, closing, side })))
    }

    /// Carries what an agent opened.
    pub(super) async fn serve(mut self, mut connection: h2::server::Connection<Io, Bytes>, doors: Doors) {
        let closed = loop {
            tokio::select! {
                accepted = connection.accept() => match accepted {
                    Some(Ok((request, respond))) => doors.admit(request, respond),
                    Some(Err(error)) => break self.heard.why().unwrap_or_else(|| ended_with(&error)),
                    None => break self.heard.why().unwrap_or(Closed::Remote(None)),
                },
                reason = asked(&mut self.closing) => {
                    connection.abrupt_shutdown(reason);
                    let said = async { while let Some(Ok(_)) = connection.accept().await {} };
                    // A peer that does not read must not hold this up.
                    _ = tokio::time::timeout(PARTING, said).await;
                    break Closed::Local;
                }
                () = self.heard.silence() => break Closed::Silent,
            }
        };
        note(&self.ended, closed);
    }

    /// Carries what this side opens towards a broker, and shows regularly that it is there.
    pub(super) async fn dial(mut self, mut connection: h2::client::Connection<Io, Bytes>) {
        let pings = connection.ping_pong();
        let closed = tokio::select! {
            ended = connection => match ended {
                Err(error) if error.is_go_away() && error.is_remote() => ended_with(&error),
                Err(error) => self.heard.why().unwrap_or_else(|| ended_with(&error)),
                Ok(()) => self.heard.why().unwrap_or(Closed::Remote(None)),
            },
            _ = asked(&mut self.closing) => Closed::Local,
            () = keep_alive(pings) => Closed::Silent,
            () = self.heard.silence() => Closed::Silent,
        };
        note(&self.ended, closed);
    }
}

/// That this side wants to close, or that nobody on this side holds the connection any more.
async fn asked(closing: &mut watch::Receiver<Option<Reason>>) -> Reason {
    match closing.wait_for(Option::is_some).await {
        Ok(reason) => reason.unwrap_or(Reason::NO_ERROR),
        Err(_) => Reason::NO_ERROR,
    }
}

/// Never ends: whether the other side answers shows in what is heard.
async fn keep_alive(pings: Option<PingPong>) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        tokio::time::sleep(Duration::from_millis(KEEP_ALIVE.0)).await;
        if pings.ping(Ping::opaque()).await.is_err() {
            // The connection is ending, and says how.
            return std::future::pending().await;
        }
    }
}

/// What an HTTP/2 error says about the end of a connection. Codes below 0x0e are HTTP/2's own (RFC 9113 §7).
pub(super) fn ended_with(error: &h2::Error) -> Closed {
    let code = error.reason().map(u32::from).filter(|_| error.is_remote() && error.is_go_away());
    match code.map(u16::try_from) {
        Some(Ok(0)) => Closed::Remote(None),
        Some(Ok(code)) if code > 0x0d => Closed::Remote(Refusal::from_number(code)),
        Some(_) | None => Closed::Broken(error.to_string()),
    }
}
