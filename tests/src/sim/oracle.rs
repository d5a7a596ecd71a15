//! What must hold, whatever happens: looked at from outside, with what the parties were told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use seinhuis_agent_core::Write;
use seinhuis_agent_core::rows::{InboxRow, OutboxRow, Reached, table};
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, MsgId, Oin};
use seinhuis_shared::receipt::{CheckpointCache, Receipt};
use seinhuis_shared::tlog::checkpoint::origin_of;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::tree::Frontier;

use super::cast;
use super::disk::State;

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// An accepted packet is neither delivered nor ended in the log with its sender's knowledge.
    Lost,
    /// A packet is in an inbox twice.
    Twice,
    /// The log shrank or forked, or a receipt does not verify under it.
    Log,
    /// A packet outside the covenant was accepted.
    Covenant,
    /// A packet is good in an inbox that nobody pushed so, or that its sender's agent did not seal.
    Invented,
    /// Packets of one sender, recipient and flow are not in the order in which they were pushed.
    Order,
    /// An honest party complains.
    Alarm,
    /// Not everything was settled in time after the last fault.
    Stuck,
    /// A process did not start from what it made durable.
    Start,
    /// An agent goes back behind what it pinned of the log, or is shown two histories and does not say so.
    Pin,
    /// A witness cosigns what does not continue what it cosigned, or two histories have a quorum.
    Witness,
    /// The world itself could not be set up.
    Setup,
}

/// What broke, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub broken: Broken,
    /// What was seen.
    pub what: String,
}

impl Violation {
    /// What broke, and how.
    pub fn new(broken: Broken, what: impl Into<String>) -> Self {
        Self { broken, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.broken, self.what)
    }
}

/// A packet and one of its recipients.
type Leg = (Digest, Oin);

/// Who may send, and to whom.
type Route = (BTreeSet<Oin>, BTreeSet<Oin>);

/// A log as it was seen.
#[derive(Debug, Default)]
struct Seen {
    origin: String,
    entries: Vec<Vec<u8>>,
    tree: Frontier,
}

/// All that was said to anybody, held against all that is.
#[derive(Debug)]
pub struct Oracle {
    /// Versions under which something may be accepted.
    covenants: BTreeSet<Digest>,
    /// Who may send on a flow and who may receive.
    routes: BTreeMap<String, Vec<Route>>,
    logs: Vec<Seen>,
    accepted: BTreeSet<Leg>,
    ended: BTreeMap<Leg, Kind>,
    /// The outbox rows of messages of which a sender was told that they were accepted.
    pub(super) told: BTreeMap<MsgId, OutboxRow>,
    forbidden: BTreeSet<Digest>,
    receipts: CheckpointCache,
}

impl Oracle {
    /// Sees what was agreed, and nothing else yet.
    pub(crate) fn new(agreed: &Compiled) -> Self {
        let covenant = agreed.covenant();
        let of = |roles: &[seinhuis_shared::covenant::Role]| {
            covenant
                .parties
                .iter()
                .filter(|party| roles.contains(&party.role))
                .map(|party| party.oin)
                .collect()
        };
        let mut routes = BTreeMap::new();
        for flow in &covenant.flows {
            let pairs = flow.routes.iter().map(|route| (of(&route.from), of(&route.to)));
            routes.insert(flow.id.clone(), pairs.collect());
        }
        Self {
            covenants: [agreed.hash()].into(),
            routes,
            logs: Vec::new(),
            accepted: BTreeSet::new(),
            ended: BTreeMap::new(),
            told: BTreeMap::new(),
            forbidden: BTreeSet::new(),
            receipts: CheckpointCache::default(),
        }
    }

    /// A version that packets may name; its routes are judged by what was agreed all the same.
    pub(super) fn trusts(&mut self, covenant: Digest) {
        self.covenants.insert(covenant);
    }

    /// A packet that may never be accepted.
    pub(super) fn forbid(&mut self, packet: Digest) {
        self.forbidden.insert(packet);
    }

    /// The number of entries that were seen.
    pub(super) fn log_size(&self) -> usize {
        self.logs.iter().map(|log| log.entries.len()).sum()
    }

    /// Whether a packet was destroyed before its recipient had it.
    pub(super) fn was_shredded(&self, packet: Digest, to: Oin) -> bool {
        self.ended.get(&(packet, to)) == Some(&Kind::Shredded)
    }

    /// Whether a packet ended before its recipient had it.
    pub(super) fn has_ended(&self, packet: Digest, to: Oin) -> bool {
        self.ended.contains_key(&(packet, to))
    }

    /// How many packets ended at a recipient who never had them.
    pub(super) fn ended(&self) -> usize {
        self.ended.len()
    }

    /// The logs as they are now, each its origin and its entries, the newest with this root: they have to go on from
    /// the logs as they were.
    pub(crate) fn logs_are(&mut self, logs: &[(&str, &[Vec<u8>])], root: Digest) -> Result<(), Violation> {
        let bad = |what: String| Violation::new(Broken::Log, what);
        for (number, (origin, entries)) in logs.iter().enumerate() {
            if self.logs.len() == number {
                self.logs.push(Seen { origin: (*origin).to_owned(), ..Seen::default() });
            }
            let seen = &mut self.logs[number];
            let before = seen.entries.len();
            if seen.origin != *origin || entries.get(..before) != Some(seen.entries.as_slice()) {
                let what = format!("{} entries of {origin} do not continue {before} before", entries.len());
                return Err(bad(what));
            }
            if number + 1 < logs.len() && entries.len() > before && self.logs.len() > number + 1 {
                return Err(bad(format!("{origin} has ended and grows")));
            }
            for entry in entries.iter().skip(before) {
                let seen = &mut self.logs[number];
                seen.tree.append(leaf_hash(entry)).map_err(cast::setup)?;
                seen.entries.push(entry.clone());
                self.entry(entry)?;
            }
        }
        if self.logs.len() > logs.len() {
            return Err(bad("a log is gone".into()));
        }
        if self.logs.last().is_some_and(|log| log.tree.root() == root) {
            Ok(())
        } else {
            Err(bad("the head is not of the log's entries".into()))
        }
    }

    fn entry(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let entry = Entry::parse(bytes).map_err(|error| Violation::new(Broken::Log, format!("{error:?}")))?;
        let (Some(packet), Some(to)) = (entry.packet, entry.to) else { return Ok(()) };
        if entry.kind == Kind::Accepted {
            self.allowed(&entry, packet, to)?;
            if !self.accepted.insert((packet, to)) {
                return Err(Violation::new(Broken::Log, format!("{packet} was accepted twice for {to}")));
            }
        } else if matches!(entry.kind, Kind::Expired | Kind::Withdrawn | Kind::Shredded) {
            self.end((packet, to), entry.kind)?;
        }
        Ok(())
    }

    fn end(&mut self, leg: Leg, kind: Kind) -> Result<(), Violation> {
        if !self.accepted.contains(&leg) || self.ended.insert(leg, kind).is_some() {
            let what = format!("{} ended for {} twice, or without a beginning", leg.0, leg.1);
            return Err(Violation::new(Broken::Log, what));
        }
        Ok(())
    }

    fn allowed(&self, entry: &Entry, packet: Digest, to: Oin) -> Result<(), Violation> {
        let from = entry.from;
        let routes = entry.flow.as_ref().and_then(|flow| self.routes.get(flow));
        let open = routes.into_iter().flatten().any(|(senders, recipients)| {
            from.is_some_and(|from| senders.contains(&from)) && recipients.contains(&to)
        });
        let known = entry.covenant.is_some_and(|covenant| self.covenants.contains(&covenant));
        if open && known && !self.forbidden.contains(&packet) {
            return Ok(());
        }
        let what = format!("{packet} was accepted on {:?} from {from:?} to {to}", entry.flow);
        Err(Violation::new(Broken::Covenant, what))
    }

    /// A receipt that somebody was given.
    pub(super) fn receipt(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let bad = |what: String| Violation::new(Broken::Log, what);
        let receipt = Receipt::parse(bytes).map_err(|error| bad(error.to_string()))?;
        let key = cast::log_key(origin_of(&receipt.checkpoint))?;
        receipt.verify(&key, &mut self.receipts).map_err(|error| bad(error.to_string()))?;
        let log = self.logs.iter().find(|log| log.origin == key.origin);
        let log = log.ok_or_else(|| bad(format!("a receipt of {}, which nobody saw", key.origin)))?;
        for proved in &receipt.entries {
            let own = usize::try_from(proved.index).ok().and_then(|index| log.entries.get(index));
            if own != Some(&proved.entry.0) {
                return Err(bad(format!("a receipt proves another entry {} than the log has", proved.index)));
            }
        }
        Ok(())
    }

    /// A sender was told that a message was accepted, with this row.
    pub(super) fn told(&mut self, row: OutboxRow) -> Result<(), Violation> {
        self.receipt(&row.receipt)?;
        let packet = row.packet.unwrap_or(Digest([0; 32]));
        if let Some(to) = row.recipients.iter().find(|to| !self.accepted.contains(&(packet, **to))) {
            let what = format!("{} is said to be accepted for {to}, and the log knows nothing", row.msg_id);
            return Err(Violation::new(Broken::Log, what));
        }
        self.told.insert(row.msg_id, row);
        Ok(())
    }

    /// Looks at an inbox.
    pub(super) fn inbox(state: &State) -> Result<(), Violation> {
        let mut seen = BTreeSet::new();
        for row in inbox(state)? {
            if !seen.insert(row.packet) {
                let what = format!("{} is in an inbox twice", row.msg_id);
                return Err(Violation::new(Broken::Twice, what));
            }
        }
        Ok(())
    }

    /// What became of a message of which its sender was told that it was accepted, at the very end: as the `packet`
    /// for these recipients. `inboxes` are the good packets of each partner, `reached` what the sender knows; nothing when it
    /// gave away what it was told.
    pub(crate) fn fate(
        &self,
        msg_id: MsgId,
        (packet, recipients): (Digest, &[Oin]),
        inboxes: &BTreeMap<Oin, BTreeSet<Digest>>,
        reached: Option<&BTreeMap<Oin, Reached>>,
    ) -> Result<(), Violation> {
        for to in recipients {
            let delivered = inboxes.get(to).is_some_and(|inbox| inbox.contains(&packet));
            let end = self.ended.get(&(packet, *to)).copied();
            let knows = reached.and_then(|reached| reached.get(to)).copied().unwrap_or(Reached::Accepted);
            let told = match end {
                _ if reached.is_none() => delivered || end.is_some(),
                Some(Kind::Expired) => knows == Reached::Expired,
                Some(Kind::Withdrawn) => knows == Reached::TakenBack,
                Some(Kind::Shredded) => knows == Reached::Shredded,
                _ => delivered && matches!(knows, Reached::Stored | Reached::Consumed),
            };
            if !told {
                let what = format!(
                    "{msg_id} to {to}: in the inbox {delivered}, ended {end:?}, its sender knows {knows}"
                );
                return Err(Violation::new(Broken::Lost, what));
            }
        }
        Ok(())
    }
}

/// The rows of an inbox.
pub(super) fn inbox(state: &State) -> Result<Vec<InboxRow>, Violation> {
    let mut rows = Vec::new();
    for (key, value) in state.table(table::INBOX) {
        match Write::read(table::INBOX, key, value) {
            Ok(Write::Inbox(_, row)) => rows.push(*row),
            other => return Err(Violation::new(Broken::Start, format!("{other:?} is no row of an inbox"))),
        }
    }
    Ok(rows)
}
