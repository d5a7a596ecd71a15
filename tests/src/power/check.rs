//! What is on the disks after a power cut, held against what people had been told before it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use seinhuis_agent::engine::View;
use seinhuis_agent::{Agent, AgentOptions};
use seinhuis_agent_core::Write;
use seinhuis_agent_core::rows::{AlarmKind, InboxRow, OutboxRow, Stage as Fate, position_key, table};
use seinhuis_broker::home::Home;
use seinhuis_broker::log::Log;
use seinhuis_broker::service::Service;
use seinhuis_broker_core::{Answer, Command};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, MsgId, Oin};
use seinhuis_shared::receipt::{CheckpointCache, LogKey, Receipt};
use seinhuis_shell::complaint::Complaint;

use super::start;
use super::town::{RECIPIENT, Told};
use crate::sim::{Broken, Violation, setup};
use crate::stage::Stage;

/// What a broker's folder holds.
struct Broker {
    log: Log,
    key: LogKey,
    entries: Vec<Entry>,
    /// Packets that wait, over all recipients.
    waiting: usize,
    /// Packets of which the bytes are there.
    packets: BTreeSet<Digest>,
}

/// What an agent's folder holds.
#[derive(Default)]
struct Held {
    outbox: BTreeMap<MsgId, OutboxRow>,
    /// Each row, and whether its body is there and opens.
    inbox: Vec<(InboxRow, bool)>,
    pin: Option<(u64, Digest)>,
    alarms: Vec<String>,
}

/// How far things have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// Whatever was on the way still is.
    Kept,
    /// Everything has arrived.
    Settled,
}

/// Opens every folder as the programs do, without a network, and gives each promise that is broken.
pub(super) async fn examine(stage: &Stage, told: &[Told], expect: Expect) -> Vec<Violation> {
    match look(stage).await {
        Ok((broker, agents)) => judge(&broker, &agents, told, expect),
        Err(violation) => vec![violation],
    }
}

async fn look(stage: &Stage) -> Result<(Broker, BTreeMap<&'static str, Held>), Violation> {
    let broker = open_broker(&stage.broker_home()).await?;
    let mut agents = BTreeMap::new();
    for member in &stage.members {
        agents.insert(member.role, open_agent(&member.home, &member.label).await?);
    }
    Ok((broker, agents))
}

async fn open_broker(dir: &Path) -> Result<Broker, Violation> {
    let refused = |complaint: Complaint| start("broker", &complaint);
    let home = Home::new(dir);
    let config = home.load_config().map_err(refused)?;
    let (service, thread) = Service::open(&home, &config).map_err(refused)?;
    let read = read_broker(&service).await;
    drop(service);
    let ended = tokio::task::spawn_blocking(move || thread.join()).await;
    match ended {
        Ok(Ok(Ok(()))) => read,
        other => Err(Violation::new(Broken::Start, format!("the broker's engine ended badly: {other:?}"))),
    }
}

async fn read_broker(service: &Service) -> Result<Broker, Violation> {
    let refused = |complaint: Complaint| start("broker", &complaint);
    let current = service.logs.current().map_err(refused)?;
    let key = service.logs.key(&current.origin).map_err(refused)?.1;
    let log = current.log;
    let entries: Vec<Entry> =
        (0..log.size()).map(|index| log.parsed(index)).collect::<Result<_, _>>().map_err(refused)?;
    let Answer::Overview(overview) = service.command(Command::Overview).await.map_err(refused)? else {
        return Err(setup("another answer"));
    };
    let packets = entries.iter().filter_map(|entry| entry.packet);
    let there = |digest: &Digest| service.blobs.blob(&digest.0.into()).is_ok_and(|blob| blob.is_some());
    Ok(Broker {
        packets: packets.filter(there).collect(),
        waiting: overview.queues.iter().map(|queue| queue.packets).sum(),
        log,
        key,
        entries,
    })
}

async fn open_agent(home: &Path, label: &str) -> Result<Held, Violation> {
    let refused = |complaint: Complaint| start(label, &complaint);
    let options = AgentOptions { home: home.to_path_buf(), connect: false };
    let agent = Agent::start(&options).map_err(refused)?;
    let held = agent.query(read_agent).await.map_err(refused);
    agent.shutdown().await.map_err(refused)?;
    held?
}

fn read_agent(view: &View<'_>) -> Result<Held, Violation> {
    let status = view.core.status(seinhuis_shell::clock::now());
    // A proof that takes long is no contradiction: the broker was away.
    let alarms = status.alarms.iter().filter(|alarm| alarm.kind != AlarmKind::LogUnproven);
    let mut held = Held {
        pin: status.pin.map(|pin| (pin.size, pin.root)),
        alarms: alarms.map(|alarm| format!("{} {}", alarm.kind, alarm.detail)).collect(),
        ..Held::default()
    };
    let rows = |of: u8| -> Result<Vec<Write>, Violation> {
        let stored = view.store.scan(of).map_err(setup)?;
        stored.iter().map(|(key, value)| Write::read(of, key, value).map_err(setup)).collect()
    };
    for write in rows(table::OUTBOX)? {
        if let Write::Outbox(_, row) = write {
            held.outbox.insert(row.msg_id, *row);
        }
    }
    for write in rows(table::INBOX)? {
        if let Write::Inbox(at, row) = write {
            let body = view.store.get(table::BODY, &position_key(at)).map_err(setup)?;
            held.inbox.push((*row, body.is_some()));
        }
    }
    Ok(held)
}

/// Collects what is broken.
struct Judge<'a> {
    broker: &'a Broker,
    agents: &'a BTreeMap<&'static str, Held>,
    found: Vec<Violation>,
}

impl Judge<'_> {
    fn that(&mut self, holds: bool, broken: Broken, what: impl FnOnce() -> String) {
        if !holds {
            self.found.push(Violation::new(broken, what()));
        }
    }

    fn counts(&self, kind: Kind) -> BTreeMap<(MsgId, Option<Oin>), usize> {
        let mut counts = BTreeMap::new();
        for entry in self.broker.entries.iter().filter(|entry| entry.kind == kind) {
            if let Some(msg_id) = entry.msg_id {
                *counts.entry((msg_id, entry.to)).or_default() += 1;
            }
        }
        counts
    }

    /// Nothing is accepted, delivered or stored twice.
    fn once(&mut self) {
        for kind in [Kind::Accepted, Kind::Delivered] {
            for ((msg_id, _), count) in self.counts(kind) {
                self.that(count == 1, Broken::Twice, || {
                    format!("{msg_id} is {} {count} times", kind.as_str())
                });
            }
        }
        for held in self.agents.values() {
            let distinct: BTreeSet<MsgId> = held.inbox.iter().map(|(row, _)| row.msg_id).collect();
            self.that(distinct.len() == held.inbox.len(), Broken::Twice, || "an inbox has one twice".into());
        }
    }

    /// What one folder says of another is there.
    fn agree(&mut self) {
        let (accepted, delivered) = (self.counts(Kind::Accepted), self.counts(Kind::Delivered));
        let agents = self.agents;
        let received: BTreeMap<MsgId, bool> = agents
            .get(RECIPIENT)
            .map(|held| held.inbox.iter().map(|(row, body)| (row.msg_id, *body)).collect())
            .unwrap_or_default();
        for (msg_id, _) in delivered.keys() {
            let there = received.get(msg_id) == Some(&true);
            self.that(there, Broken::Lost, || {
                format!("{msg_id} is delivered in the log and not in the inbox")
            });
        }
        for msg_id in received.keys() {
            let known = accepted.keys().any(|(id, _)| id == msg_id);
            self.that(known, Broken::Log, || format!("{msg_id} is in the inbox and not in the log"));
        }
        let waits: Vec<Digest> = self
            .broker
            .entries
            .iter()
            .filter(|entry| entry.kind == Kind::Accepted)
            .filter(|entry| entry.msg_id.is_some_and(|id| !delivered.contains_key(&(id, entry.to))))
            .filter_map(|entry| entry.packet)
            .collect();
        for packet in &waits {
            let there = self.broker.packets.contains(packet);
            self.that(there, Broken::Lost, || format!("packet {packet} is accepted, and its bytes are gone"));
        }
        let waiting = self.broker.waiting;
        self.that(waits.len() == waiting, Broken::Lost, || {
            format!("{} packets are accepted and not delivered, {waiting} wait", waits.len())
        });
        for (role, held) in agents {
            if let Some((size, root)) = held.pin {
                self.extends(size, &root, role);
            }
            for alarm in &held.alarms {
                self.that(false, Broken::Alarm, || format!("{role}: {alarm}"));
            }
            let done = held.outbox.values().filter(|row| row.stage == Fate::Done);
            for row in done {
                self.receipt(row.msg_id, row.receipt.as_ref());
            }
        }
    }

    fn extends(&mut self, size: u64, root: &Digest, who: &str) {
        let ours = (size <= self.broker.log.size()).then(|| self.broker.log.root(size));
        let same = matches!(&ours, Some(Ok(ours)) if ours == root);
        let now = self.broker.log.size();
        self.that(same, Broken::Log, || {
            format!("{who} knows {size} entries that the log of {now} does not continue")
        });
    }

    /// The receipt verifies, and its entry is in the log.
    fn receipt(&mut self, msg_id: MsgId, receipt: &[u8]) {
        let parsed = Receipt::parse(receipt);
        let verified =
            parsed.and_then(|receipt| receipt.verify(&self.broker.key, &mut CheckpointCache::default()));
        let Ok(verified) = verified else {
            return self.that(false, Broken::Log, || format!("the receipt of {msg_id} does not verify"));
        };
        self.extends(verified.checkpoint.size(), verified.checkpoint.root(), "a receipt");
        for (index, entry) in &verified.entries {
            let here = usize::try_from(*index).ok().and_then(|index| self.broker.entries.get(index));
            let same = here == Some(entry) && entry.kind == Kind::Accepted && entry.msg_id == Some(msg_id);
            self.that(same, Broken::Lost, || {
                format!("{msg_id} was accepted at {index}, and the log does not say so")
            });
        }
    }

    fn told(&mut self, told: &Told) {
        match told {
            Told::Pushed(role, msg_id) => {
                let there = self.agents.get(role).is_some_and(|held| held.outbox.contains_key(msg_id));
                self.that(there, Broken::Lost, || format!("{role} had {msg_id}, and has it no more"));
            }
            Told::Accepted(msg_id, receipt) => self.receipt(*msg_id, receipt),
            Told::Received(msg_id) => {
                let inbox = self.agents.get(RECIPIENT).map(|held| held.inbox.as_slice()).unwrap_or_default();
                let there = inbox.iter().any(|(row, body)| row.msg_id == *msg_id && *body);
                self.that(there, Broken::Lost, || format!("{msg_id} had arrived, and is gone"));
            }
        }
    }

    fn settled(&mut self) {
        let (accepted, delivered) = (self.counts(Kind::Accepted), self.counts(Kind::Delivered));
        let agents = self.agents;
        for row in agents.values().flat_map(|held| held.outbox.values()) {
            let msg_id = row.msg_id;
            let ended = row.stage == Fate::Done && row.outcome == 0;
            self.that(ended, Broken::Lost, || {
                format!("{msg_id} was pushed and not accepted: {:?}", row.stage)
            });
            for counts in [&accepted, &delivered] {
                let there = counts.keys().any(|(id, _)| *id == msg_id);
                self.that(there, Broken::Lost, || format!("{msg_id} did not get to its end"));
            }
        }
    }
}

fn judge(
    broker: &Broker,
    agents: &BTreeMap<&'static str, Held>,
    told: &[Told],
    expect: Expect,
) -> Vec<Violation> {
    let mut judge = Judge { broker, agents, found: Vec::new() };
    judge.once();
    judge.agree();
    for one in told {
        judge.told(one);
    }
    if expect == Expect::Settled {
        judge.settled();
    }
    judge.found
}
