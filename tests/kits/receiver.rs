//! A receiver of webhooks that does what it is told to, over HTTP or TLS.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers with a status and these header lines.
    Status(u16, String),
    /// Sends these bytes and closes.
    Raw(Vec<u8>),
    /// Sends these bytes one by one, slowly, for as long as somebody reads them.
    Drip(Vec<u8>),
    /// Sends the first once and the second for ever.
    Flood(Vec<u8>, Vec<u8>),
    /// Keeps the connection and says nothing.
    Silence,
}

impl Act {
    /// Answers with a status and no more.
    pub fn status(status: u16) -> Self {
        Self::Status(status, String::new())
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Got {
    /// Its first line.
    pub line: String,
    /// The header fields, their names in lower case.
    pub fields: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Got {
    /// The event; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header field; empty when it is not there.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The event's id, which stays the same however often it comes.
    pub fn id(&self) -> &str {
        self.field("webhook-id")
    }

    /// Whether it asks only whether anybody is there.
    pub fn is_ping(&self) -> bool {
        self.json()["type"] == "nl.seinhuis.webhook.ping"
    }

    /// The place in the inbox of the message it tells of.
    pub fn position(&self) -> Option<u64> {
        self.json()["data"]["position"].as_u64()
    }

    /// Whether it is signed with this secret (Standard Webhooks 1.0, `v1`), as a receiver checks it.
    pub fn is_signed(&self, secret: &str) -> bool {
        let key = secret.strip_prefix("whsec_").and_then(|key| BASE64.decode(key.as_bytes()).ok());
        let Some(key) = key else { return false };
        let head = format!("{}.{}.", self.id(), self.field("webhook-timestamp"));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let tag = hmac::sign(&key, &[head.as_bytes(), &self.body].concat());
        let wanted = format!("v1,{}", BASE64.encode(tag.as_ref()));
        self.field("webhook-signature").split(' ').any(|signature| signature == wanted)
    }
}

type Script = Box<dyn FnMut(&Got) -> Act + Send>;

/// The receiver. It listens for as long as its process lives; clones are the same.
#[derive(Clone)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    script: Arc<Mutex<Script>>,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Receiver {
    /// One at a port of its own, over HTTP.
    ///
    /// # Errors
    /// When no port is free.
    pub fn new(script: impl FnMut(&Got) -> Act + Send + 'static) -> io::Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0")?, None, script)
    }

    /// One that takes what comes in at `listener`, over TLS if there are settings for that.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn on(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        script: impl FnMut(&Got) -> Act + Send + 'static,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let receiver = Self { address, got: Arc::default(), script };
        let serving = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (receiver, tls) = (serving.clone(), tls.clone());
                // A client that goes away is what some tests are about.
                thread::spawn(move || _ = receiver.serve(stream, tls));
            }
        });
        Ok(receiver)
    }

    /// Does something else from now on.
    pub fn act(&self, script: impl FnMut(&Got) -> Act + Send + 'static) {
        *held(&self.script) = Box::new(script);
    }

    /// What was told of messages so far.
    pub fn messages(&self) -> Vec<Got> {
        held(&self.got).iter().filter(|got| !got.is_ping()).cloned().collect()
    }

    /// How often it was asked whether anybody is there.
    pub fn pings(&self) -> usize {
        held(&self.got).iter().filter(|got| got.is_ping()).count()
    }

    /// The places in the inbox of the messages it was told of, in the order in which they came.
    pub fn positions(&self) -> Vec<u64> {
        self.messages().iter().filter_map(Got::position).collect()
    }

    fn serve(&self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        match tls {
            None => self.talk(stream),
            Some(config) => {
                let connection = ServerConnection::new(config).map_err(io::Error::other)?;
                self.talk(StreamOwned::new(connection, stream))
            }
        }
    }

    fn talk(&self, mut stream: impl Read + Write) -> io::Result<()> {
        let got = read(&mut stream)?;
        let act = (*held(&self.script))(&got);
        held(&self.got).push(got);
        match act {
            Act::Status(status, more) => {
                write!(
                    stream,
                    "HTTP/1.1 {status} x\r\n{more}content-length: 0\r\nconnection: close\r\n\r\n"
                )?;
                stream.flush()
            }
            Act::Raw(bytes) => {
                stream.write_all(&bytes)?;
                stream.flush()
            }
            Act::Drip(bytes) => {
                for byte in bytes {
                    stream.write_all(&[byte])?;
                    stream.flush()?;
                    thread::sleep(Duration::from_millis(200));
                }
                Ok(())
            }
            Act::Flood(once, again) => {
                stream.write_all(&once)?;
                loop {
                    stream.write_all(&again)?;
                }
            }
            Act::Silence => {
                // Until the other side is gone.
                stream.read(&mut [0]).map(drop)
            }
        }
    }
}

fn held<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(stream: &mut impl Read) -> io::Result<Got> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let mut some = [0; 4096];
        match stream.read(&mut some)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend(some.iter().take(count)),
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let fields: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = fields.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let rest = length.saturating_sub(body.len());
    let mut more = vec![0; rest];
    stream.read_exact(&mut more)?;
    body.extend_from_slice(&more);
    Ok(Got { line, fields, body })
}
