//! A receiver of webhooks that does what a test says, over HTTP or TLS, and an inbox for an agent without a broker.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use seinhuis_agent_core::Locker as _;
use seinhuis_agent_core::rows::{InboxRow, Remark, position_key, table};
use seinhuis_journal::{JournalStore, RowChange, Store as _, Turn};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::{CaseId, Digest, MsgId};
use seinhuis_shared::receipt::{ProvedEntry, Receipt};
use seinhuis_shell::clock;
use serde_json::Value;

use crate::office::{Office, TOWN};

/// What nobody but the receiver may see.
pub(crate) const CONTENT: &str = "{\"naam\":  \"Jansen-van-de-test\", \"getal\": 1.0}";

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
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
    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, String::new())
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) line: String,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn id(&self) -> String {
        self.fields["webhook-id"].clone()
    }

    pub(crate) fn is_ping(&self) -> bool {
        self.json()["type"] == "nl.seinhuis.webhook.ping"
    }

    /// The place in the inbox of the message it tells of.
    pub(crate) fn position(&self) -> u64 {
        self.json()["data"]["position"].as_u64().unwrap()
    }
}

type Script = Box<dyn FnMut(&Got) -> Act + Send>;

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    script: Arc<Mutex<Script>>,
}

impl Receiver {
    pub(crate) fn new(script: impl FnMut(&Got) -> Act + Send + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), None, script)
    }

    pub(crate) fn on(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        script: impl FnMut(&Got) -> Act + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
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
        receiver
    }

    /// Does something else from now on.
    pub(crate) fn act(&self, script: impl FnMut(&Got) -> Act + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// What was told of messages so far.
    pub(crate) fn messages(&self) -> Vec<Got> {
        let all = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|got| !got.is_ping()).cloned().collect()
    }

    pub(crate) fn pings(&self) -> usize {
        let all = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|got| got.is_ping()).count()
    }

    pub(crate) fn positions(&self) -> Vec<u64> {
        self.messages().iter().map(Got::position).collect()
    }

    fn serve(&self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        match tls {
            None => self.talk(stream),
            Some(config) => {
                let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
                self.talk(StreamOwned::new(connection, stream))
            }
        }
    }

    fn talk(&self, mut stream: impl Read + Write) -> std::io::Result<()> {
        let got = read(&mut stream)?;
        let act = (*self.script.lock().unwrap())(&got);
        self.got.lock().unwrap().push(got);
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

fn read(stream: &mut impl Read) -> std::io::Result<Got> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let mut some = [0; 4096];
        match stream.read(&mut some)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&some[..count]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let fields: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = fields.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(end);
    let rest = length.saturating_sub(body.len());
    let mut more = vec![0; rest];
    stream.read_exact(&mut more)?;
    body.extend_from_slice(&more);
    Ok(Got { line, fields, body })
}

/// Messages received, as a broker would have brought them, from a place of the inbox on: the flow and the case of each. The
/// agent must not run.
pub(crate) fn fill(office: &Office, from: u64, messages: &[(&str, u8)]) {
    let home = office.home();
    let options = home.load_config().unwrap().store.options();
    let (mut store, _) = JournalStore::open(&home.store(), options).unwrap();
    let vault = home.vault().unwrap();
    let mut rows = Vec::new();
    for (position, (flow, case)) in (from..).zip(messages) {
        let key = position_key(position);
        let body = vault.lock(table::BODY, &key, CONTENT.as_bytes()).unwrap();
        let row = seinhuis_agent_core::Write::Inbox(position, Box::new(row(position, flow, *case)));
        let body = seinhuis_agent_core::Write::Body(position, Some(body));
        rows.extend([row.row(), body.row()].map(|row| RowChange {
            table: row.table,
            key: row.key,
            value: row.value,
        }));
    }
    store.commit(Turn { rows, ..Turn::default() }).unwrap();
    Box::new(store).close().unwrap();
}

fn row(position: u64, flow: &str, case: u8) -> InboxRow {
    let number = u8::try_from(position).unwrap() + 1;
    let proved = ProvedEntry { index: 0, entry: Bytes(vec![1]), path: vec![] };
    let receipt =
        Receipt { version: 1, checkpoint: Bytes(b"localhost/log\n1\n".to_vec()), entries: vec![proved] };
    let now = clock::now();
    InboxRow {
        msg_id: MsgId([number; 16]),
        packet: Digest([number; 32]),
        outcome: 0,
        sender: Some(TOWN.parse().unwrap()),
        flow: flow.to_owned(),
        covenant: None,
        case: (case > 0).then_some(CaseId([case; 16])),
        message_type: "signaal".into(),
        step: "1".into(),
        level: "groep".into(),
        in_reply_to: None,
        media_type: "application/json".into(),
        issued: now,
        accepted: now,
        stored: now,
        trace: None,
        index: position,
        link: Digest([number; 32]),
        remark: Remark::InOrder,
        retention_days: Some(30),
        receipt: Bytes(receipt.to_bytes()),
    }
}
