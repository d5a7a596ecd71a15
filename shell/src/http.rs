//! Requests to services of others, over HTTP/1.1: witnesses of the exchange log, collectors of processing records,
//! receivers of deliveries.
//!
//! Nothing is followed or guessed: no redirects, no proxy from the environment, no cookies, no compression. An
//! answer is read up to a limit, and the whole exchange has one deadline. TLS 1.3 with the same key exchange as
//! between agents and broker where the other side has it; plain HTTP to loopback addresses alone.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::complaint::Complaint;
use crate::files;
use crate::lang::Text;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Most bytes of a file with certificates of authorities.
const AUTHORITIES_MAX: usize = 1 << 20;

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Not an address requests are sent to.
    #[error(
        "{0:?} is not an address for requests: write https://…, or http://127.0.0.1… for this machine itself"
    )]
    BadAddress(
        /// The address.
        String,
    ),
    /// No connection, no TLS, no answer in time, or an answer that broke off.
    #[error(
        "no answer from {host}: {why}; it is tried again, see to the address and the network if it stays"
    )]
    NoAnswer {
        /// Whom it was asked of.
        host: String,
        /// What went wrong.
        why: String,
    },
    /// The answer is longer than it may be.
    #[error("the answer of {host} is longer than {limit} bytes: it is not what was asked for")]
    TooLong {
        /// Whom it was asked of.
        host: String,
        /// The limit in bytes.
        limit: usize,
    },
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The content type, when it is text.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// The head of an answer, of which nothing else is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// After how long to come back, where it says so (RFC 9110, 10.2.3).
    pub retry_after: Option<Duration>,
}

/// A way to ask services of others; cheap to clone, connections are kept and used again.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
}

impl Http {
    /// Trusts the authorities of this machine, or those in the PEM file given and no others.
    ///
    /// # Errors
    /// When the file cannot be read or holds no certificate, or the machine has no authorities.
    pub fn new(authorities: Option<&Path>) -> Result<Self, Complaint> {
        Self::with_tls(tls_towards(authorities)?)
    }

    /// Trusts whom these TLS settings trust, and shows what they show.
    ///
    /// # Errors
    /// When the library cannot use them.
    pub fn with_tls(config: ClientConfig) -> Result<Self, Complaint> {
        let client = Client::builder()
            .tls_backend_preconfigured(config)
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .build()
            .map_err(|error| Complaint::bug(error.to_string()))?;
        Ok(Self { client })
    }

    /// Whether requests may be sent to this address: HTTPS, or HTTP to this machine itself.
    ///
    /// # Errors
    /// [`HttpError::BadAddress`].
    pub fn check(address: &str) -> Result<(), HttpError> {
        url(address).map(drop)
    }

    /// Posts `body` and reads an answer of at most `limit` bytes, all within `deadline`.
    ///
    /// # Errors
    /// [`HttpError`]. A status that tells of a fault is an answer, not an error.
    pub async fn post(
        &self,
        address: &str,
        content_type: &str,
        body: Vec<u8>,
        limit: usize,
        deadline: Duration,
    ) -> Result<Answer, HttpError> {
        self.post_with(address, &[(CONTENT_TYPE.as_str(), content_type)], body, limit, deadline).await
    }

    /// As [`Self::post`], with these header fields.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn post_with(
        &self,
        address: &str,
        fields: &[(&str, &str)],
        body: Vec<u8>,
        limit: usize,
        deadline: Duration,
    ) -> Result<Answer, HttpError> {
        let url = url(address)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let request = self.client.post(url).body(body).timeout(deadline);
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answer(request, host, limit).await
    }

    /// Posts `body` with these header fields and reads the head of the answer, all within `deadline`. What follows the
    /// head is not read, so that nothing of it counts and none of it is too long.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn tell(
        &self,
        address: &str,
        fields: &[(&str, String)],
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<Head, HttpError> {
        let url = url(address)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let request = self.client.post(url).body(body).timeout(deadline);
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let answer = request.send().await;
        let answer = answer.map_err(|error| HttpError::NoAnswer { host, why: reason(&error) })?;
        let retry_after = retry_after(answer.headers(), SystemTime::now());
        Ok(Head { status: answer.status().as_u16(), retry_after })
    }

    /// Reads an answer of at most `limit` bytes, all within `deadline`.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn get(&self, address: &str, limit: usize, deadline: Duration) -> Result<Answer, HttpError> {
        let url = url(address)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        answer(self.client.get(url).timeout(deadline), host, limit).await
    }
}

/// TLS 1.3 towards servers of others: with whom the authorities of this machine trust, or those in the PEM file given and no
/// others.
///
/// # Errors
/// When the file cannot be read or holds no certificate.
pub fn tls_towards(authorities: Option<&Path>) -> Result<ClientConfig, Complaint> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let pem = files::read(path, AUTHORITIES_MAX)?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let added = certificate.ok().and_then(|der| roots.add(der).ok());
                added.ok_or_else(|| no_authorities(&path.display().to_string()))?;
            }
            if roots.is_empty() {
                return Err(no_authorities(&path.display().to_string()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| Complaint::bug(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Sends a request and reads the answer.
async fn answer(request: RequestBuilder, host: String, limit: usize) -> Result<Answer, HttpError> {
    let failed = |error: reqwest::Error| HttpError::NoAnswer { host: host.clone(), why: reason(&error) };
    let mut response = request.send().await.map_err(failed)?;
    let (status, content_type) = (response.status().as_u16(), content_type_of(&response));
    let mut read = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if read.len().saturating_add(chunk.len()) > limit {
            return Err(HttpError::TooLong { host: host.clone(), limit });
        }
        read.extend_from_slice(&chunk);
    }
    Ok(Answer { status, content_type, body: read })
}

/// Whether an address is `https` without path, query or user.
///
/// # Errors
/// [`HttpError::BadAddress`].
pub fn check_origin(address: &str) -> Result<(), HttpError> {
    let url = url(address)?;
    if url.scheme() == "https" && url.path() == "/" && url.query().is_none() && url.fragment().is_none() {
        Ok(())
    } else {
        Err(HttpError::BadAddress(address.chars().take(128).collect()))
    }
}

fn content_type_of(response: &Response) -> Option<String> {
    response.headers().get(CONTENT_TYPE)?.to_str().ok().map(str::to_owned)
}

/// How long `Retry-After` says to wait at `now`: in seconds or until a date; none when it is absent or neither.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// The host of an address that requests are sent to; none for another address.
pub fn host(address: &str) -> Option<String> {
    url(address).ok()?.host_str().map(str::to_owned)
}

fn url(address: &str) -> Result<Url, HttpError> {
    let bad = || HttpError::BadAddress(address.chars().take(128).collect());
    let url = Url::parse(address).map_err(|_| bad())?;
    let loopback = match url.host_str() {
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .map_or(host == "localhost", |ip| ip.is_loopback()),
        None => return Err(bad()),
    };
    let named = !url.username().is_empty() || url.password().is_some();
    match url.scheme() {
        "https" if !named => Ok(url),
        "http" if loopback && !named => Ok(url),
        _ => Err(bad()),
    }
}

/// What went wrong, down to the cause, without the address: it may hold what is nobody's business.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn no_authorities(place: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("In {place} staan geen bruikbare certificaten van autoriteiten."),
            format!("There are no usable certificates of authorities in {place}."),
        ),
        Text::new(
            "Geef een PEM-bestand met de certificaten van de autoriteiten die vertrouwd worden.",
            "Give a PEM file with the certificates of the authorities that are trusted.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A server that reads one request and answers with these bytes; its address.
    async fn server(answer: &'static [u8], hang: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).await.unwrap();
            stream.write_all(answer).await.unwrap();
            if hang {
                tokio::time::sleep(Duration::from_mins(1)).await;
            }
        });
        format!("http://{address}/add-checkpoint")
    }

    async fn ask(address: &str) -> Result<Answer, HttpError> {
        let http = Http::new(None).unwrap();
        http.post(address, "text/plain", b"old 0\n".to_vec(), 16, Duration::from_millis(500)).await
    }

    #[tokio::test]
    async fn an_answer_is_given_as_it_is_and_a_redirect_is_not_followed() {
        let address = server(
            b"HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-type: text/x.tlog.size\r\ncontent-length: 3\r\n\r\n12\n",
            false,
        )
        .await;
        let answer = ask(&address).await.unwrap();
        let content_type = Some("text/x.tlog.size".to_owned());
        assert_eq!(answer, Answer { status: 307, content_type, body: b"12\n".to_vec() });
    }

    #[tokio::test]
    async fn what_is_too_long_late_or_broken_off_is_no_answer() {
        let long = server(b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n0123456789abcdefg", false).await;
        assert!(matches!(ask(&long).await, Err(HttpError::TooLong { limit: 16, .. })));
        let late = server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n01", true).await;
        assert!(matches!(ask(&late).await, Err(HttpError::NoAnswer { why, .. }) if why.contains("too long")));
        let short = server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n01", false).await;
        assert!(matches!(ask(&short).await, Err(HttpError::NoAnswer { .. })));
        assert!(matches!(ask("http://127.0.0.1:1/x").await, Err(HttpError::NoAnswer { .. })));
    }

    #[tokio::test]
    async fn of_what_is_told_the_head_of_the_answer_counts_alone() {
        let http = Http::new(None).unwrap();
        let tell = async |address: &str, deadline: u64| {
            let fields = [("webhook-id", "x".to_owned())];
            http.tell(address, &fields, b"{}".to_vec(), Duration::from_millis(deadline)).await
        };
        let head =
            |status, seconds: Option<u64>| Head { status, retry_after: seconds.map(Duration::from_secs) };
        // The body never ends, and is not waited for.
        let long = server(b"HTTP/1.1 204 x\r\ncontent-length: 99999999999\r\n\r\n0123", true).await;
        assert_eq!(tell(&long, 20_000).await.unwrap(), head(204, None));
        for (said, seconds) in
            [("120", Some(120)), ("soon", None), ("-1", None), ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0))]
        {
            let answer = format!("HTTP/1.1 429 x\r\nretry-after: {said}\r\ncontent-length: 0\r\n\r\n");
            let address = server(answer.leak().as_bytes(), false).await;
            assert_eq!(tell(&address, 20_000).await.unwrap(), head(429, seconds), "{said}");
        }
        let silent = server(b"", true).await;
        assert!(
            matches!(tell(&silent, 300).await, Err(HttpError::NoAnswer { why, .. }) if why.contains("too long"))
        );
        let garbage = server(b"\x00\xffnot http\r\n\r\n", false).await;
        assert!(matches!(tell(&garbage, 20_000).await, Err(HttpError::NoAnswer { .. })));
    }

    #[test]
    fn a_date_to_come_back_at_is_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:47 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(10)));
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for good in
            ["https://witness.example/x", "http://127.0.0.1:8080/", "http://localhost/", "http://[::1]:80/"]
        {
            assert_eq!(Http::check(good), Ok(()), "{good}");
        }
        for bad in [
            "http://witness.example/",
            "http://10.0.0.1/",
            "http://127.0.0.1.example/",
            "https://user:secret@witness.example/",
            "ftp://127.0.0.1/",
            "https://",
            "witness.example",
            "",
        ] {
            assert!(Http::check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_without_authorities_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roots.pem");
        std::fs::write(&path, "nothing here").unwrap();
        assert!(Http::new(Some(&path)).is_err());
    }
}
