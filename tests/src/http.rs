//! A client of the agents' local API, as plain as can be: one request on a connection of its own.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for a byte of an answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status line and header fields, in lower case.
    pub head: String,
    /// The same as it came.
    pub raw_head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header field, in lower case; empty when it is not there.
    pub fn field(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default()
    }
}

/// An application with its token.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where the API is.
    pub address: SocketAddr,
    /// The token; none when it is empty.
    pub token: String,
}

impl Client {
    /// A request with these header fields besides those that every request has, of which each may be given anew.
    pub fn request(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> String {
        let host = self.address.to_string();
        let bearer = format!("Bearer {}", self.token);
        let length = body.len().to_string();
        let usual = [
            ("host", host.as_str()),
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("content-length", length.as_str()),
            ("connection", "close"),
        ];
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        let given = |name: &str| fields.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let empty = |name: &str| match name {
            "authorization" => self.token.is_empty(),
            "content-type" | "content-length" => body.is_empty(),
            _ => false,
        };
        for (name, value) in usual.iter().filter(|(name, _)| !given(name) && !empty(name)).chain(fields) {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text + "\r\n" + body
    }

    /// Asks and reads the whole answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> io::Result<Answer> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        exchange(stream, &self.request(method, path, fields, body))
    }

    /// Gets what is at a path.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn get(&self, path: &str) -> io::Result<Answer> {
        self.ask("GET", path, &[], "")
    }

    /// Hands a signal over under a key, and waits for the broker's word.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn push(&self, key: &str, signal: &Value) -> io::Result<Answer> {
        let fields = [("idempotency-key", key), ("prefer", "wait=60")];
        self.ask("POST", "/v1/messages", &fields, &signal.to_string())
    }

    /// Listens to events; each line as it comes.
    ///
    /// # Errors
    /// When there is no connection, or the answer is another.
    pub fn listen(&self, path: &str, fields: &[(&str, &str)]) -> io::Result<Events> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(self.request("GET", path, fields, "").as_bytes())?;
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(line));
        }
        Ok(Events { lines })
    }
}

/// Events as they come.
#[derive(Debug)]
pub struct Events {
    lines: BufReader<TcpStream>,
}

impl Events {
    /// The next event with this name: its `id` and what it says; none when the stream ends.
    ///
    /// # Errors
    /// When nothing comes for a long while.
    pub fn next(&mut self, name: &str) -> io::Result<Option<(String, Value)>> {
        let (mut id, mut of, mut line) = (String::new(), String::new(), String::new());
        loop {
            line.clear();
            if self.lines.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let text = line.trim_end();
            if let Some(value) = text.strip_prefix("id: ") {
                value.clone_into(&mut id);
            } else if let Some(value) = text.strip_prefix("event: ") {
                value.clone_into(&mut of);
            } else if let Some(value) = text.strip_prefix("data: ")
                && of == name
            {
                return Ok(Some((id, serde_json::from_str(value).map_err(io::Error::other)?)));
            }
        }
    }
}

/// Asks over a Unix socket.
///
/// # Errors
/// When there is no answer.
pub fn ask_unix(socket: &Path, request: &str) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(stream, request)
}

/// Asks over a connection that is there, and reads the whole answer.
///
/// # Errors
/// When there is no answer.
pub fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<Answer> {
    // Who is refused in the middle of a long request may find the connection reset; what was answered counts.
    _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    while !is_whole(&bytes) {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if bytes.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let body = bytes.split_off(end);
    let raw_head = String::from_utf8_lossy(&bytes).into_owned();
    let head = raw_head.to_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    Ok(Answer { status, head, raw_head, body })
}

/// Whether an answer says how long it is and all of it is here: some servers leave the connection open however they are
/// asked to close it.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let (head, rest) = bytes.split_at(end);
    let head = String::from_utf8_lossy(head).to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| rest.len() >= length + 4)
}
