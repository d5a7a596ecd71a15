//! The logs' files over HTTP, for whoever watches the log: C2SP tlog-tiles, read only.
//!
//! Plain HTTP/1.1, for behind the organisation's own reverse proxy, which brings TLS and what else it asks of its
//! web servers. Off unless it is configured.
//!
//! Checkpoints and tiles tell nobody anything: hashes of entries with a salt each. Bundles of entries say who sends
//! what to whom. They are for whoever has a token of a grant, and every grant is an entry of the log itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use hyper_util::service::TowerToHyperService;
use seinhuis_broker_core::Grant;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::tile::{FULL_WIDTH, TilePath};
use seinhuis_shell::clock;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files;
use seinhuis_shell::serve::{self, Bounds};
use tokio::net::TcpListener;

use crate::logs::OneLog;
use crate::service::Service;

/// Most bytes of a file that is served: a bundle of 256 of the longest entries.
const FILE_MAX: usize = 256 * (2 + 65_535);
/// Most characters of a token.
const TOKEN_MAX: usize = 128;

/// A socket on which the logs are served.
#[derive(Debug)]
pub struct Publication {
    listener: TcpListener,
    service: Service,
}

impl Publication {
    /// Listens.
    ///
    /// # Errors
    /// A sentence naming the address.
    pub async fn bind(address: SocketAddr, service: Service) -> Result<Self, Complaint> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Complaint::io(Doing::Socket, std::path::Path::new(&address.to_string()), &error)
        })?;
        Ok(Self { listener, service })
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
        let engine = self.service.engine.clone();
        let router = Router::new().fallback(answer).with_state(self.service);
        let service = TowerToHyperService::new(router);
        serve::serve(&self.listener, service, Bounds::default(), engine.stopped()).await;
    }
}

/// What a path names.
enum Wanted {
    Checkpoint,
    File(TilePath),
}

async fn answer(State(service): State<Service>, request: Request) -> Response {
    let (method, headers) = (request.method(), request.headers());
    if method != Method::GET && method != Method::HEAD {
        let mut refused = status(StatusCode::METHOD_NOT_ALLOWED);
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let brings = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    if brings || headers.contains_key(TRANSFER_ENCODING) {
        return status(StatusCode::BAD_REQUEST);
    }
    let logs = service.logs.all();
    let Some((one, wanted)) = find(&logs, request.uri().path()) else { return status(StatusCode::NOT_FOUND) };
    if let Wanted::File(TilePath::Entries(bundle)) = wanted {
        if let Err(refused) = admit(headers, &service.engine.grants(), clock::now()) {
            return *refused;
        }
        if bundle.index().saturating_mul(u64::from(FULL_WIDTH)) < one.log.purged() {
            return status(StatusCode::GONE);
        }
    }
    let path = match &wanted {
        Wanted::Checkpoint => one.log.dir().join("checkpoint"),
        Wanted::File(path) => one.log.dir().join(path.to_string()),
    };
    send(path, &wanted).await
}

/// The log and file that a path names, which is written in the one right way.
fn find<'a>(logs: &'a [OneLog], path: &str) -> Option<(&'a OneLog, Wanted)> {
    let (folder, rest) = path.strip_prefix('/')?.split_once('/')?;
    let one = logs.iter().find(|one| one.folder == folder)?;
    let wanted = if rest == "checkpoint" { Wanted::Checkpoint } else { Wanted::File(rest.parse().ok()?) };
    Some((one, wanted))
}

/// Lets in who has a token of a grant that counts. Every grant is compared, each in full, so that the time it takes
/// tells nothing about any of them.
fn admit(headers: &HeaderMap, grants: &[Grant], now: Timestamp) -> Result<(), Box<Response>> {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .filter(|token| token.len() <= TOKEN_MAX);
    let Some(token) = token else {
        let mut refused = status(StatusCode::UNAUTHORIZED);
        refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Err(Box::new(refused));
    };
    let digest = sha256(token.as_bytes());
    let admitted = grants
        .iter()
        .fold(false, |admitted, grant| admitted | (grant.token.is_same_secret(&digest) & grant.holds(now)));
    if admitted { Ok(()) } else { Err(Box::new(status(StatusCode::FORBIDDEN))) }
}

async fn send(path: PathBuf, wanted: &Wanted) -> Response {
    let (kind, cache) = match wanted {
        Wanted::Checkpoint => ("text/plain; charset=utf-8", "no-cache"),
        Wanted::File(TilePath::Hashes(tile)) if tile.is_full() => {
            ("application/octet-stream", "public, max-age=31536000, immutable")
        }
        // It never changes either, but goes when the log has grown.
        Wanted::File(TilePath::Hashes(_)) => ("application/octet-stream", "public, max-age=3600"),
        Wanted::File(TilePath::Entries(_)) => ("application/octet-stream", "private, no-store"),
    };
    let read =
        tokio::task::spawn_blocking(move || path.is_file().then(|| files::read(&path, FILE_MAX)).transpose());
    match read.await {
        Ok(Ok(Some(bytes))) => {
            let length = HeaderValue::from(bytes.len());
            let mut response = Response::new(Body::from(bytes));
            let headers = response.headers_mut();
            headers.insert(CONTENT_LENGTH, length);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }
        Ok(Ok(None)) => status(StatusCode::NOT_FOUND),
        Ok(Err(complaint)) => {
            tracing::error!("{}", complaint.what.en);
            status(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Err(error) => {
            tracing::error!(%error, "a file could not be read");
            status(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// An answer that says no more than its number.
fn status(code: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use seinhuis_broker_core::{Answer, Command};
    use seinhuis_shared::ids::Digest;
    use seinhuis_shared::time::Span;

    use super::*;
    use crate::logs::tests::{fill, home, publish, stop};

    /// What comes back on a connection of its own: status, head, body.
    fn exchange(address: SocketAddr, request: &str) -> (u16, String, Vec<u8>) {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // Who is refused in the middle of a long request may find the connection reset.
        _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let body = bytes.split_off(end);
        let head = String::from_utf8(bytes).unwrap();
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        (code, head.to_lowercase(), body)
    }

    fn get(address: SocketAddr, path: &str, more: &str) -> (u16, String, Vec<u8>) {
        exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: log\r\nConnection: close\r\n{more}\r\n"))
    }

    fn grant(token: &str, until: Timestamp) -> Command {
        Command::Grant { token: sha256(token.as_bytes()), purpose: Digest([1; 32]), until }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_files_of_a_log_are_served_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (home, config) = home(dir.path());
        let (service, thread) = Service::open(&home, &config).unwrap();
        fill(&service, 300).await;
        publish(&service).await;
        let publication = Publication::bind("127.0.0.1:0".parse().unwrap(), service.clone()).await.unwrap();
        let at = publication.address().unwrap();
        let serving = tokio::spawn(publication.run());
        let file = |name: &str| std::fs::read(home.log().join("2020").join(name)).unwrap();
        for (name, kind, cache) in [
            ("checkpoint", "text/plain; charset=utf-8", "no-cache"),
            ("tile/0/000", "application/octet-stream", "public, max-age=31536000, immutable"),
            ("tile/0/001.p/44", "application/octet-stream", "public, max-age=3600"),
            ("tile/1/000.p/1", "application/octet-stream", "public, max-age=3600"),
        ] {
            let (code, head, body) = get(at, &format!("/2020/{name}"), "");
            assert_eq!((code, &body), (200, &file(name)), "{name}");
            assert!(head.contains(&format!("content-type: {kind}\r\n")), "{name}: {head}");
            assert!(head.contains(&format!("cache-control: {cache}\r\n")), "{name}: {head}");
            let request = format!("HEAD /2020/{name} HTTP/1.1\r\nHost: log\r\nConnection: close\r\n\r\n");
            let (code, head, body) = exchange(at, &request);
            assert!(code == 200 && body.is_empty(), "{name}");
            assert!(head.contains(&format!("content-length: {}\r\n", file(name).len())), "{name}: {head}");
        }
        for path in [
            "/",
            "/2020",
            "/2020/",
            "/2021/checkpoint",
            "/2020/tile/0/999",
            "/2020/tile/0/0",
            "/2020/tile/0/000/",
            "/2020/tile/0/001.p/200",
            "/2020/../../broker.toml",
            "/2020/tile/../../../keys/log.key",
            "/2020/%2e%2e/self-check.json",
            "/../keys/log.key",
            "//2020/checkpoint",
            "/2020/checkpoint/",
            "/self-check.json",
            "/2020/tile/entries/../0/000",
        ] {
            let (code, _, body) = get(at, path, "");
            assert!(code == 404 && body.is_empty(), "{path}: {code}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
            let request =
                format!("{method} /2020/checkpoint HTTP/1.1\r\nHost: log\r\nConnection: close\r\n\r\n");
            let (code, head, _) = exchange(at, &request);
            assert!(code == 405 && head.contains("allow: get, head\r\n"), "{method}: {head}");
        }
        assert_eq!(get(at, "/2020/checkpoint", "Content-Length: 5\r\n").0, 400);
        assert_eq!(get(at, "/2020/checkpoint", "Transfer-Encoding: chunked\r\n").0, 400);
        let long = format!("X: {}\r\n", "x".repeat(2 * Bounds::default().head));
        assert!(matches!(get(at, "/2020/checkpoint", &long).0, 0 | 400..=499), "a head that is too long");
        let many: String = "X-Field: 1\r\n".repeat(Bounds::default().fields + 1);
        assert!(matches!(get(at, "/2020/checkpoint", &many).0, 0 | 400..=499), "too many fields");
        assert!(!matches!(get(at, &format!("/{}", "x".repeat(2 * Bounds::default().head)), "").0, 200..=399));
        serving.abort();
        _ = serving.await;
        stop(service, thread);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn entries_are_for_who_has_a_token_that_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (home, config) = home(dir.path());
        let (service, thread) = Service::open(&home, &config).unwrap();
        fill(&service, 300).await;
        publish(&service).await;
        let publication = Publication::bind("127.0.0.1:0".parse().unwrap(), service.clone()).await.unwrap();
        let at = publication.address().unwrap();
        let serving = tokio::spawn(publication.run());
        let path = "/2020/tile/entries/000";
        let with = |token: &str| get(at, path, &format!("Authorization: Bearer {token}\r\n"));
        let (code, head, body) = get(at, path, "");
        assert!(code == 401 && head.contains("www-authenticate: bearer\r\n") && body.is_empty(), "{head}");
        assert_eq!(get(at, path, "Authorization: Basic Zm9vOmJhcg==\r\n").0, 401);
        assert_eq!(with("guess").0, 403);
        let later = clock::now().plus(Span::days(1));
        service.command(grant("first", later)).await.unwrap();
        service.command(grant("second", later)).await.unwrap();
        let (code, head, body) = with("first");
        assert!(code == 200 && head.contains("cache-control: private, no-store\r\n"), "{head}");
        assert_eq!(body, std::fs::read(home.log().join("2020/tile/entries/000")).unwrap());
        for near in ["firs", "firstt", "First", "", &"first".repeat(100)] {
            assert!(matches!(with(near).0, 401 | 403), "{near}");
        }
        service.command(Command::RevokeGrant { number: 0 }).await.unwrap();
        assert_eq!((with("first").0, with("second").0), (403, 200), "ended, alone");
        let Answer::Grants(grants) = service.command(Command::Grants).await.unwrap() else {
            panic!("the grants")
        };
        assert!(admit(&bearer("second"), &grants, later.minus(Span(1))).is_ok());
        assert_eq!(admit(&bearer("second"), &grants, later).unwrap_err().status(), 403, "over");
        assert_eq!(get(at, "/2020/tile/entries/005", "Authorization: Bearer second\r\n").0, 404);
        service.logs.current().unwrap().log.purge(256).unwrap();
        assert_eq!(with("second").0, 410, "removed after its term");
        assert_eq!(get(at, path, "").0, 401, "which is told to nobody else");
        serving.abort();
        _ = serving.await;
        stop(service, thread);
    }

    fn bearer(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        headers
    }
}
