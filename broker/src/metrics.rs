//! Metrics and health over HTTP, for the operator's monitoring.
//!
//! Plain HTTP/1.1 on an address of its own, off unless it is configured and on this machine alone unless the
//! configuration says otherwise. `/metrics` says who exchanges with whom and how much, and nothing of what. `/healthz` and
//! `/readyz` say yes or no: who may ask them may ask them often, so that they come from the same board as all else.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use hyper_util::service::TowerToHyperService;
use seinhuis_monitor::Board;
use seinhuis_monitor::metrics::{self, Format};
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::serve::{self, Bounds};
use seinhuis_shell::web::origin::{elsewhere, named};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::service::Service;

/// How long the engine may take to answer before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most connections at one time: monitoring needs a handful.
const CONNECTIONS: usize = 32;

/// A socket on which metrics are served.
#[derive(Debug)]
pub struct Exposition {
    listener: TcpListener,
    asked: Asked,
}

/// What requests are answered with.
#[derive(Debug, Clone)]
struct Asked {
    service: Service,
    /// Whether the broker stops.
    stopping: watch::Receiver<bool>,
    /// The address that is listened on, when only this machine itself can ask.
    local: Option<SocketAddr>,
}

impl Exposition {
    /// Listens.
    ///
    /// # Errors
    /// A sentence naming the address.
    pub async fn bind(
        address: SocketAddr,
        service: Service,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, Complaint> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| Complaint::io(Doing::Socket, Path::new(&address.to_string()), &error))?;
        let own = listener.local_addr().map_err(|error| Complaint::bug(error.to_string()))?;
        let local = Some(own).filter(|own| own.ip().is_loopback());
        Ok(Self { listener, asked: Asked { service, stopping, local } })
    }

    /// The address really listened on.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for as long as the engine runs.
    pub async fn run(self) {
        let engine = self.asked.service.engine.clone();
        let router = Router::new().fallback(answer).with_state(self.asked);
        let bounds = Bounds { connections: CONNECTIONS, arrivals: CONNECTIONS, ..Bounds::default() };
        serve::serve(&self.listener, TowerToHyperService::new(router), bounds, engine.stopped()).await;
    }
}

async fn answer(State(asked): State<Asked>, request: Request) -> Response {
    let (method, headers) = (request.method(), request.headers());
    // A browser can be led here by another site, or under another name.
    if elsewhere(headers) || asked.local.is_some_and(|own| !named(headers, Some(own))) {
        return told(StatusCode::MISDIRECTED_REQUEST);
    }
    if method != Method::GET && method != Method::HEAD {
        let mut refused = told(StatusCode::METHOD_NOT_ALLOWED);
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let brings = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    if brings || headers.contains_key(TRANSFER_ENCODING) {
        return told(StatusCode::BAD_REQUEST);
    }
    match request.uri().path() {
        "/metrics" => match board(&asked.service).await {
            Some(board) => write_down(board, wanted(headers)).await,
            None => told(StatusCode::SERVICE_UNAVAILABLE),
        },
        "/healthz" => told(yes(board(&asked.service).await.is_some())),
        "/readyz" => {
            let serves = board(&asked.service).await.is_some_and(|board| board.serves());
            told(yes(serves && !*asked.stopping.borrow()))
        }
        _ => told(StatusCode::NOT_FOUND),
    }
}

/// How everything stands; none when the engine does not answer.
async fn board(service: &Service) -> Option<Arc<Board>> {
    match tokio::time::timeout(PATIENCE, service.board()).await {
        Ok(Ok(board)) => Some(board),
        Ok(Err(complaint)) => {
            tracing::debug!("{}", complaint.what.en);
            None
        }
        Err(_) => {
            tracing::warn!("the engine does not answer who asks for metrics or health");
            None
        }
    }
}

async fn write_down(board: Arc<Board>, format: Format) -> Response {
    match tokio::task::spawn_blocking(move || metrics::render(&board, format)).await {
        Ok(text) => with(StatusCode::OK, format.content_type(), text),
        Err(error) => {
            tracing::error!(%error, "metrics could not be written");
            told(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

const fn yes(right: bool) -> StatusCode {
    if right { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// An answer that says no more than yes or no.
fn told(code: StatusCode) -> Response {
    let text = if code.is_success() { "ok\n" } else { "not ok\n" };
    with(code, "text/plain; charset=utf-8", text.to_owned())
}

fn with(code: StatusCode, kind: &'static str, text: String) -> Response {
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

/// The format that a request would rather have: `OpenMetrics` only when it is named.
fn wanted(headers: &HeaderMap) -> Format {
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<&str> = ranges.flat_map(|value| value.split(',')).collect();
    let best = |kind: &str, version: &str| {
        ranges.iter().filter_map(|range| weight(range, kind, version)).fold(0.0, f64::max)
    };
    let open = best("application/openmetrics-text", "1.0.0");
    if open > 0.0 && open >= best("text/plain", "0.0.4") { Format::OpenMetrics } else { Format::Prometheus }
}

/// How much a media range (RFC 9110, 12.5.1) asks for a media type in this version, from 0 to 1; none when it is another.
fn weight(range: &str, kind: &str, version: &str) -> Option<f64> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(kind) {
        return None;
    }
    let mut weight = 1.0;
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim_matches('"');
        match name.to_ascii_lowercase().as_str() {
            "version" if value != version => return None,
            "q" => weight = value.parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?,
            _ => {}
        }
    }
    Some(weight)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;
    use crate::logs::tests::{fill, home, stop};

    fn accepting(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (ACCEPT, HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn open_metrics_is_for_who_asks_for_it() {
        let format = |accept: &[&str]| wanted(&accepting(accept));
        // As Prometheus 2 and 3 ask.
        let two = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for open in [
            &[two][..],
            &[three],
            &["Application/OpenMetrics-Text"],
            &["text/html", "application/openmetrics-text; version=\"1.0.0\""],
        ] {
            assert_eq!(format(open), Format::OpenMetrics, "{open:?}");
        }
        for plain in [
            &[][..],
            &["*/*"],
            &["text/plain"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;version=2.0.0"],
            &["application/openmetrics-text;q=0.2, text/plain;q=0.8"],
            &["application/openmetrics-text;q=9"],
            &["application/openmetrics-text;q=nan"],
            &[";;;,,;q=,"],
        ] {
            assert_eq!(format(plain), Format::Prometheus, "{plain:?}");
        }
    }

    /// Status, head and body of what comes back on a connection of its own.
    fn ask(address: SocketAddr, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, head.to_lowercase(), body.to_owned())
    }

    fn get(address: SocketAddr, path: &str, more: &str) -> (u16, String, String) {
        ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n"))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn metrics_and_health_are_served_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (home, config) = home(dir.path());
        let (service, thread) = Service::open(&home, &config).unwrap();
        fill(&service, 3).await;
        let (stop_all, stopping) = watch::channel(false);
        let exposition =
            Exposition::bind("127.0.0.1:0".parse().unwrap(), service.clone(), stopping).await.unwrap();
        let at = exposition.address().unwrap();
        let serving = tokio::spawn(exposition.run());
        let (code, head, body) = get(at, "/metrics", "");
        assert!(code == 200 && body.contains("\nseinhuis_serving 1.0\n"), "{body}");
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
        assert!(!body.contains("# EOF"));
        let (code, head, body) =
            get(at, "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
        assert!(code == 200 && body.ends_with("# EOF\n"), "{body}");
        assert!(
            head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n")
        );
        assert!(head.contains("cache-control: no-store\r\n") && head.contains("nosniff"), "{head}");
        for path in ["/healthz", "/readyz"] {
            let (code, _, body) = get(at, path, "");
            assert_eq!((code, body.as_str()), (200, "ok\n"), "{path}");
            let head = format!("HEAD {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
            let (code, _, body) = ask(at, &head);
            assert_eq!((code, body.as_str()), (200, ""), "{path}");
        }
        for path in ["/", "/metrics/", "/healthz/x", "/%6detrics", "/../keys/log.key", "/2020/checkpoint"] {
            let (code, _, body) = get(at, path, "");
            assert_eq!((code, body.as_str()), (404, "not ok\n"), "{path}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let (code, head, _) =
                ask(at, &format!("{method} /metrics HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"));
            assert!(code == 405 && head.contains("allow: get, head"), "{method}: {head}");
        }
        assert_eq!(get(at, "/metrics", "Content-Length: 5\r\n").0, 400);
        let elsewhere = "GET /metrics HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n";
        assert_eq!(ask(at, elsewhere).0, 421);
        for led in ["Origin: http://other.example\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
            assert_eq!(get(at, "/metrics", led).0, 421, "{led}");
        }
        stop_all.send_replace(true);
        let (code, _, body) = get(at, "/readyz", "");
        assert_eq!((code, body.as_str()), (503, "not ok\n"), "it stops");
        assert_eq!(get(at, "/healthz", "").0, 200);
        serving.abort();
        _ = serving.await;
        stop(service, thread);
    }
}
