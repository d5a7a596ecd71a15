//! Who stands beside: it keeps what is said of the log on the way, waits until all is settled, and collects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use seinhuis_agent_core::rows::Reached;
use seinhuis_shared::covenant::{Compiled, Covenant};
use seinhuis_shared::ids::{Digest, MsgId, Oin};
use seinhuis_shared::receipt::LogKey;
use serde_json::{Value, json};

use super::history::{Got, History, Party, Push, Seen, Sent};
use super::troupe::{Node, Troupe};
use crate::sim::{Violation, setup};
use crate::stage::text;

/// How long everything may take to settle after the last fault.
const SETTLED: Duration = Duration::from_mins(5);
/// Everything of a list.
const ALL: u64 = 10_000;

/// What was seen of the log on the way.
#[derive(Debug, Default)]
pub struct Bystander {
    seen: BTreeSet<Seen>,
    notes: BTreeSet<Vec<u8>>,
}

/// A value of an answer, read.
fn read<T: std::str::FromStr>(value: &Value, key: &str) -> Result<T, Violation> {
    text(value, key).parse().map_err(|_| setup(format!("{key} in {value}")))
}

impl Bystander {
    /// Looks at what broker and agents say of the log now; who cannot be asked says nothing.
    pub fn look(&mut self, troupe: &Troupe) {
        for node in troupe.nodes() {
            let Ok(status) = troupe.status(node) else { continue };
            let log = &status["log"];
            if let (Some(size), Ok(root)) = (log["size"].as_u64(), text(log, "root").parse()) {
                self.seen.insert(Seen { size, root, by: troupe.name(node).to_owned() });
            }
        }
        let logs = std::fs::read_dir(troupe.stage.broker_home().join("log"));
        for folder in logs.into_iter().flatten().flatten() {
            self.notes.extend(std::fs::read(folder.path().join("checkpoint")).ok());
        }
    }

    /// Waits until every push has its end at every recipient, without help.
    ///
    /// # Errors
    /// What is not settled by then, or who ended by itself.
    pub fn settle(&mut self, troupe: &Troupe, pushed: &[Push]) -> Result<(), Violation> {
        let mut open: BTreeSet<MsgId> = pushed.iter().map(|push| push.id).collect();
        troupe.until(SETTLED, || {
            for node in troupe.nodes().skip(1) {
                let rows = list(troupe, node, "outbox").map_err(|error| error.what)?;
                for row in rows.iter().filter(|row| is_over(row)) {
                    if let Ok(id) = text(row, "msg_id").parse() {
                        open.remove(&id);
                    }
                }
            }
            let first = open.first().map(ToString::to_string).unwrap_or_default();
            if open.is_empty() { Ok(()) } else { Err(format!("{} messages, such as {first}", open.len())) }
        })?;
        self.look(troupe);
        Ok(())
    }

    /// All that was told and is there, once it is settled.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn collect(&self, troupe: &Troupe, pushed: Vec<Push>) -> Result<History, Violation> {
        let agents = troupe.nodes().skip(1);
        let parties = agents.map(|node| party(troupe, node)).collect::<Result<_, _>>()?;
        let (log, root) = log(troupe)?;
        let card = troupe.stage.card().map_err(setup)?;
        let key = LogKey { origin: card.log_origin.clone(), key: card.log_key.parse().map_err(setup)? };
        Ok(History {
            key,
            agreed: Arc::new(agreed(troupe)?),
            pushed,
            parties,
            log,
            root,
            seen: self.seen.iter().cloned().collect(),
            notes: self.notes.iter().cloned().collect(),
        })
    }
}

/// Whether a row of an outbox will not change any more.
fn is_over(row: &Value) -> bool {
    let recipients = row["recipients"].as_array().map(Vec::as_slice).unwrap_or_default();
    match text(row, "state") {
        "accepted" => {
            !recipients.is_empty() && recipients.iter().all(|one| text(one, "reached") != "accepted")
        }
        "refused" | "expired" | "denied" => true,
        _ => false,
    }
}

fn list(troupe: &Troupe, node: Node, what: &str) -> Result<Vec<Value>, Violation> {
    let listed = troupe.ask(node, &json!({ "look": { what: { "lines": ALL } } })).map_err(setup)?;
    Ok(listed.as_array().cloned().unwrap_or_default())
}

fn agreed(troupe: &Troupe) -> Result<Compiled, Violation> {
    let look = json!({ "look": { "document": { "covenant": troupe.covenant()? } } });
    let document = troupe.ask(1, &look).map_err(setup)?;
    let bytes = BASE64.decode(document.as_str().unwrap_or_default().as_bytes()).map_err(setup)?;
    Covenant::from_bytes(&bytes).and_then(Compiled::new).map_err(setup)
}

fn party(troupe: &Troupe, node: Node) -> Result<Party, Violation> {
    let oin = troupe.oin(node).ok_or_else(|| setup("no OIN"))?;
    let outbox = list(troupe, node, "outbox")?;
    let outbox = outbox.iter().map(|row| sent(troupe, node, row)).collect::<Result<_, _>>()?;
    let inbox = list(troupe, node, "inbox")?;
    let inbox = inbox.iter().map(|row| got(troupe, node, row)).collect::<Result<_, _>>()?;
    let status = troupe.status(node).map_err(setup)?;
    let alarms = status["alarms"].as_array().into_iter().flatten();
    let alarms = alarms.map(|alarm| format!("{} {}", text(alarm, "kind"), text(alarm, "detail"))).collect();
    Ok(Party { oin, outbox, inbox, alarms })
}

fn sent(troupe: &Troupe, node: Node, row: &Value) -> Result<Sent, Violation> {
    let id = text(row, "msg_id");
    let mut reached: BTreeMap<Oin, Reached> = BTreeMap::new();
    for one in row["recipients"].as_array().into_iter().flatten() {
        let word = text(one, "reached");
        let known =
            (0..=6_u8).filter_map(|code| Reached::try_from(code).ok()).find(|known| known.as_str() == word);
        reached.insert(read(one, "to")?, known.ok_or_else(|| setup(format!("{word} is unknown")))?);
    }
    let look = json!({ "look": { "receipt-file": { "msg_id": id } } });
    let receipt = troupe.ask(node, &look).ok().and_then(|file| file.as_str().map(str::to_owned));
    Ok(Sent {
        id: read(row, "msg_id")?,
        state: text(row, "state").to_owned(),
        packet: text(row, "packet").parse().ok(),
        reached,
        receipt,
    })
}

fn got(troupe: &Troupe, node: Node, row: &Value) -> Result<Got, Violation> {
    let position = row["position"].to_string();
    let look = json!({ "look": { "read": { "id": position, "withdrawn": true } } });
    let whole = troupe.ask(node, &look).unwrap_or_default();
    Ok(Got {
        id: read(row, "msg_id")?,
        state: text(row, "state").to_owned(),
        packet: read(row, "packet")?,
        body: BASE64.decode(text(&whole, "body").as_bytes()).unwrap_or_default(),
    })
}

/// The whole log as its operator sees it, and the root the broker says it has: taken when nothing is added.
fn log(troupe: &Troupe) -> Result<(Vec<Vec<u8>>, Digest), Violation> {
    let verified = troupe.ask(0, &json!("verify")).map_err(setup)?;
    let tail = troupe.ask(0, &json!({ "tail": { "lines": ALL } })).map_err(setup)?;
    let entries = tail.as_array().into_iter().flatten();
    let entries: Vec<Vec<u8>> = entries.map(|row| text(row, "entry").as_bytes().to_vec()).collect();
    let status = troupe.status(0).map_err(setup)?;
    if verified["checked"].as_u64() != u64::try_from(entries.len()).ok() {
        return Err(setup(format!("{} entries of {}", entries.len(), verified["checked"])));
    }
    Ok((entries, read(&status["log"], "root")?))
}
