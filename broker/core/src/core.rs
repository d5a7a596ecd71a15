//! The core: inputs in, turns out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::limits::{CONNECTIONS_PER_PARTNER, MAILBOX_BYTES, MAILBOX_PACKETS, NOTICES_KEPT};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::PublicKey;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::tree::Frontier;
use seinhuis_shared::wire::{self, Hello, Refuse, Welcome};

use crate::directory::Directory;
use crate::input::{ConnId, Input};
use crate::operator::QueueRow;
use crate::quota::{Accounts, Quota, QuotaRow};
use crate::sequencer::Sealed;
use crate::session::{Offer, Session, Sessions};
use crate::shards::{Next, Shard};
use crate::start::Start;
use crate::state::{Ending, State};
use crate::turn::{Planned, ReceiptSource, Send, Turn};
use crate::witnesses::Witnesses;
use crate::write::{Head, Table, Write};

/// Most things that one tick lets end: bounded, and several times what a busy broker has begin in that time.
const ENDINGS_PER_TICK: usize = 8192;
/// Most waiting packets that one turn looks at for what is to be shredded; none of them is offered meanwhile.
const SWEEP_PER_TURN: usize = 8192;

/// What the core needs to know of its set-up.
#[derive(Debug, Clone)]
pub struct Config {
    /// The origin of this broker's first exchange log. One that ends in a year is followed by the next year's.
    pub origin: String,
    /// The public half of the key that signs the logs.
    pub log_key: PublicKey,
    /// Name and version of this software.
    pub software: String,
    /// Most packets waiting for one recipient.
    pub mailbox_packets: usize,
    /// Most bytes waiting for one recipient.
    pub mailbox_bytes: u64,
    /// How long a sender waits before it tries again what was put off for a full mailbox, a full disk, missing
    /// witnesses or a suspension.
    pub retry_after: Span,
    /// What each partner may bring.
    pub quota: Quota,
    /// Most waiting packets that one turn looks at for what is to be shredded.
    pub sweep_packets: usize,
    /// Most notices that wait for one partner.
    pub notices_kept: usize,
    /// How old the newest quorum of witnesses may be before packets under its covenant are put off; none for ever.
    pub stop_unwitnessed: Option<Span>,
    /// Days that texts of the log's entries are kept at least, when that is longer than every covenant's term.
    pub log_retention_days: Option<u32>,
}

impl Config {
    /// The defaults for a log.
    pub fn new(origin: &str, log_key: PublicKey, software: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            log_key,
            software: software.to_owned(),
            mailbox_packets: MAILBOX_PACKETS,
            mailbox_bytes: MAILBOX_BYTES,
            retry_after: Span::seconds(5),
            quota: Quota::default(),
            sweep_packets: SWEEP_PER_TURN,
            notices_kept: NOTICES_KEPT,
            stop_unwitnessed: None,
            log_retention_days: None,
        }
    }
}

/// What was kept cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A row is not one this version writes.
    #[error("a row of table {table:?} cannot be read: the store is damaged or of another version")]
    Row {
        /// The table.
        table: Table,
    },
    /// The log's tree is not the one its head is of.
    #[error("the log's entries do not lead to its head's root: the store is damaged or was tampered with")]
    Root,
    /// The log was begun under another origin than the one that is configured.
    #[error(
        "this broker's first log is {found}, not the log_origin that is configured: put that back; another log is begun with `seinhuis-broker log new-origin`"
    )]
    Origin {
        /// The first log's.
        found: String,
    },
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The logs, from the first.
    pub logs: Vec<Shard>,
    /// Whether the clock is more than a year past the log's, so that no new one is begun by itself.
    pub year_refused: bool,
    /// Number of log entries.
    pub log_size: u64,
    /// Root of the log.
    pub log_root: Option<Digest>,
    /// Partners that may take part.
    pub partners: usize,
    /// Partners connected.
    pub connected: usize,
    /// Covenants known.
    pub covenants: usize,
    /// Packets whose outcome is remembered.
    pub remembered: usize,
    /// Partners that are suspended, and since when.
    pub suspended_partners: Vec<(Oin, Timestamp)>,
    /// Flows that are suspended, and since when.
    pub suspended_flows: Vec<(String, Timestamp)>,
    /// Since when intake is suspended.
    pub suspended_intake: Option<Timestamp>,
    /// Mailboxes that are not empty.
    pub queues: Vec<QueueRow>,
    /// Partners of whom something is remembered or was put off.
    pub quotas: Vec<QuotaRow>,
}

/// The broker's decisions and all it remembers.
#[derive(Debug)]
pub struct Core {
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) sessions: Sessions,
    pub(crate) accounts: Accounts,
    /// Where the sweep for what is to be shredded goes on, while there is one.
    pub(crate) sweep: Option<(Oin, u64)>,
    /// Up to where partners said that they keep notices, as far as that is not written.
    pub(crate) taken: BTreeMap<Oin, u64>,
    pub(crate) witnesses: Witnesses,
    pub(crate) start: Start,
    /// The log that is to be begun.
    pub(crate) next: Option<Next>,
    /// The latest time a partner signed in a packet that was accepted, since the start.
    pub(crate) witnessed: Timestamp,
    pub(crate) year_refused: bool,
    /// Whether the disk has too little room for anything new.
    pub(crate) scarce: bool,
}

impl Core {
    /// A broker that remembers nothing yet.
    pub fn new(config: Config) -> Self {
        let mut state = State::default();
        state.log.shards.push(Shard::first(config.origin.clone()));
        Self {
            config,
            state,
            sessions: Sessions::default(),
            accounts: Accounts::default(),
            sweep: None,
            taken: BTreeMap::new(),
            witnesses: Witnesses::default(),
            start: Start::default(),
            next: None,
            witnessed: Timestamp(0),
            year_refused: false,
            scarce: false,
        }
    }

    /// A broker that remembers what rows say. `rows` are all rows of [`Table::ALL`], in that order;
    /// `frontier` is the edge of the log's tree, re-derived from its entries.
    ///
    /// # Errors
    /// [`RestoreError`]: serve nothing then.
    pub fn restore(
        config: Config,
        rows: impl IntoIterator<Item = (Table, Vec<u8>, Vec<u8>)>,
        frontier: Frontier,
    ) -> Result<Self, RestoreError> {
        let mut core = Self::new(config);
        for (table, key, value) in rows {
            let write = Write::from_row(table, &key, &value).ok_or(RestoreError::Row { table })?;
            if !core.state.apply(&write) {
                return Err(RestoreError::Row { table });
            }
        }
        if let Some(first) = core.shards().first().filter(|first| first.origin != core.config.origin) {
            return Err(RestoreError::Origin { found: first.origin.clone() });
        }
        let (size, root) =
            core.state.log.head.as_ref().map_or((0, None), |head| (head.size, Some(head.root)));
        if frontier.size() != size || root.is_some_and(|root| root != frontier.root()) {
            return Err(RestoreError::Root);
        }
        core.state.log.frontier = frontier;
        if !core.state.lapses.is_empty() {
            core.begin_sweep();
        }
        Ok(core)
    }

    /// Who is a partner and what was agreed, as of the last input.
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.state.directory)
    }

    /// The log's newest head, if there is one.
    pub fn head(&self) -> Option<&Head> {
        self.state.log.head.as_ref()
    }

    /// Takes one input at `now`; what it leads to is added to `turn`.
    pub fn handle(&mut self, input: Input, now: Timestamp, turn: &mut Turn) {
        let clock = now;
        self.accounts.clock = clock;
        // The log's time never goes back, and what is judged is judged at the time the log will say.
        let now = now.max(self.state.log.time);
        let Some(input) = self.hold(input, now, turn) else { return };
        match input {
            Input::Connected { conn, peer, hello, heard } => {
                self.connected(conn, peer, &hello, now, turn);
                self.heard_from((conn, &peer), &heard, now, turn);
            }
            Input::Disconnected { conn } => self.disconnected(conn, now, turn),
            Input::CertificateRevoked { conn } => self.certificate_revoked(conn, now, turn),
            Input::Submitted { conn, lane, examined } => self.submitted(conn, lane, examined, now, turn),
            Input::Acknowledged { conn, examined } => self.acknowledged(conn, examined, now, turn),
            Input::NoticesTaken { conn, cursor } => self.notices_taken(conn, cursor, turn),
            Input::Request { conn, request, ask } => self.request(conn, request, ask, now, turn),
            Input::Operator { id, command } => self.operate(id, command, (now, clock), turn),
            Input::Published { end } => self.published(end, turn),
            Input::HeadMoved => self.ask_witnesses(now, turn),
            Input::Room { scarce } => self.scarce = scarce,
            Input::OutsideAnswered { key, answer } => self.witness_answered(&key, answer.as_ref(), now, turn),
            Input::Tick => {
                self.look_at_year(clock);
                self.tick(now, turn);
                self.ask_witnesses(now, turn);
            }
        }
    }

    /// Closes a turn: its entries get their place in the log. The shell signs the new head if there is one.
    pub fn seal(&mut self, turn: &mut Turn) -> Sealed {
        let (entries, leaves) = (core::mem::take(&mut turn.entries), core::mem::take(&mut turn.leaves));
        Sealed::new(&self.state.log, self.origin(), entries, leaves)
    }

    /// Adds to a sealed turn what depends on the signed checkpoint `note`; gives all its writes, for one
    /// journal record.
    pub fn sign(&mut self, turn: &mut Turn, sealed: &Sealed, note: &[u8]) -> Vec<Write> {
        if sealed.has_entries() {
            let entries = sealed.entries.clone();
            self.record(turn, Write::Entries { first: sealed.first(), entries });
            let head =
                Head { size: sealed.size(), root: sealed.root(), time: sealed.time, note: Bytes::from(note) };
            self.record(turn, Write::Head(head));
            self.keep_notices(turn, sealed, note);
            self.record_step(turn, sealed, note);
            if let Some(keep_until) = turn.keep_until {
                let note = Arc::new(note.to_vec());
                self.record(turn, Write::Note { end: sealed.end(), note, keep_until });
                let outcomes = core::mem::take(&mut turn.outcomes).into_values().collect();
                self.record(turn, Write::Outcomes { first: sealed.first(), keep_until, outcomes });
            }
        }
        core::mem::take(&mut turn.writes)
    }

    /// The turn is durable: what is to be sent now, in order.
    pub fn committed(&mut self, turn: Turn, sealed: &Sealed, note: &[u8]) -> Vec<Send> {
        self.state.log.frontier = sealed.tree.tip().clone();
        let current = self.state.log.head.as_ref().map(|head| head.note.clone()).unwrap_or_default();
        let holders = &self.state.holders;
        let mut sends: Vec<Send> = turn
            .sends
            .into_iter()
            // What was offered from the store and settled later in the same turn is erased by now.
            .filter(|planned| {
                !matches!(planned, Planned::Ready(Send::Offer { item, bytes: None, .. })
                    if !holders.contains_key(&item.packet))
            })
            .map(|planned| match planned {
                Planned::Ready(send) => send,
                Planned::Welcome { conn, mut welcome } => {
                    welcome.checkpoint = current.clone();
                    Send::Welcome { conn, welcome }
                }
                Planned::Verdict { conn, lane, packet, outcome, first, count } => {
                    let receipt = ReceiptSource::Fresh(sealed.receipt(first, count, note));
                    Send::Verdict { conn, lane, packet, outcome, receipt }
                }
                Planned::Offer { conn, item, bytes } => {
                    let receipt = ReceiptSource::Fresh(sealed.receipt(item.index, 1, note));
                    Send::Offer { conn, item, bytes: Some(bytes), receipt }
                }
            })
            .collect();
        self.tell(&turn.told, &mut sends);
        sends
    }

    /// Makes a state change and puts it in the turn.
    pub(crate) fn record(&mut self, turn: &mut Turn, write: Write) {
        self.state.apply(&write);
        turn.writes.push(write);
    }

    /// A new entry at `now`, or at the last entry's time if the clock went back.
    pub(crate) fn entry(&mut self, kind: Kind, now: Timestamp, turn: &mut Turn) -> Entry {
        let log = &mut self.state.log;
        log.time = log.time.max(now);
        Entry::new(kind, log.time, turn.salt())
    }

    /// The index in its log that the next entry of this turn gets.
    pub(crate) fn next_index(&self, turn: &Turn) -> u64 {
        let pending = u64::try_from(turn.entries.len()).unwrap_or(u64::MAX);
        self.state.log.frontier.size().saturating_add(pending)
    }

    /// The position the next entry of this turn gets.
    pub(crate) fn next_position(&self, turn: &Turn) -> u64 {
        self.state.log.base().saturating_add(self.next_index(turn))
    }

    fn connected(&mut self, conn: ConnId, peer: Oin, hello: &Hello, now: Timestamp, turn: &mut Turn) {
        let admitted = if hello.version == wire::VERSION {
            self.state.directory.partner(&peer).and_then(|_| self.state.suspended.partner(&peer)).and_then(
                |()| {
                    let open = self.sessions.of(&peer).len();
                    if open < CONNECTIONS_PER_PARTNER { Ok(()) } else { Err(Refusal::AlreadyConnected) }
                },
            )
        } else {
            Err(Refusal::UnknownVersion)
        };
        if let Err(refusal) = admitted {
            // That it is suspended is in the log; each hello that is put off for it is not.
            let passes = refusal == Refusal::Suspended;
            if !passes {
                self.refuse_connection(peer, refusal, "hello", now, turn);
            }
            let refuse = refuse(refusal, passes.then_some(self.config.retry_after));
            turn.send(Send::Refuse { conn, request: None, refuse });
            turn.send(Send::Close { conn, reason: refusal });
            return;
        }
        // The session that served this partner until now stops being offered to; what it has not
        // acknowledged is offered again on this one.
        self.sessions.open(conn, Session::new(peer, printable(&hello.software)));
        let welcome = Welcome {
            version: wire::VERSION,
            software: self.config.software.clone(),
            origin: self.origin().to_owned(),
            log_key: self.log_key_text(),
            now,
            checkpoint: Bytes::default(),
            agreements: self.state.directory.agreements_of(&peer),
        };
        turn.sends.push(Planned::Welcome { conn, welcome });
        turn.told.insert(peer);
        self.offer(&peer, now, turn);
    }

    /// Records that a whole connection is refused, at `stage`, as far as the quota of refusals goes.
    pub(crate) fn refuse_connection(
        &mut self,
        peer: Oin,
        refusal: Refusal,
        stage: &str,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        if self.charge_refusal(peer, false, now, turn).is_ok() {
            self.note_refused(peer, refusal, stage, now, turn);
        }
    }

    /// Records that a whole connection was refused, or what `detail` says of a partner.
    pub(crate) fn note_refused(
        &mut self,
        peer: Oin,
        refusal: Refusal,
        detail: &str,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let mut entry = self.entry(Kind::Refused, now, turn);
        entry.from = Some(peer);
        entry.reason = Some(refusal.number());
        entry.result = Some("refused".to_owned());
        entry.detail = Some(detail.to_owned());
        turn.entry(&entry);
    }

    fn certificate_revoked(&mut self, conn: ConnId, now: Timestamp, turn: &mut Turn) {
        if let Some(peer) = self.close(conn, now, turn) {
            // Always in the log: there is one for a connection at most, and no way back.
            self.note_refused(peer, Refusal::CertificateRevoked, "certificate", now, turn);
            turn.send(Send::Close { conn, reason: Refusal::CertificateRevoked });
            self.offer(&peer, now, turn);
        }
    }

    fn disconnected(&mut self, conn: ConnId, now: Timestamp, turn: &mut Turn) {
        self.witnesses.gone(conn);
        if let Some(peer) = self.close(conn, now, turn) {
            self.offer(&peer, now, turn);
            // Another of its sessions may be served now.
            turn.told.insert(peer);
        }
    }

    /// Offers a partner what waits for it, as far as it may still have it and its session has room.
    pub(crate) fn offer(&mut self, peer: &Oin, now: Timestamp, turn: &mut Turn) {
        if self.state.directory.partner(peer).is_err() {
            return;
        }
        let (Some((conn, session, past)), Some(mailbox)) =
            (self.sessions.serving_known(peer), self.state.mailboxes.get(peer))
        else {
            return;
        };
        let at = self.accounts.clock;
        let mut grounds = BTreeMap::new();
        while let Some(item) = mailbox.from(session.cursor) {
            let (covenant, from) = (&item.covenant, &item.from);
            let ground = grounds
                .entry((covenant, from))
                .or_insert_with(|| self.state.ground(peer, covenant, from, now));
            if session.is_inflight(item.index) || ground.lapse(item.index).is_some() {
                session.pass_over(item.index);
                continue;
            }
            if !session.has_room(item.size) {
                return;
            }
            let offer = Offer { size: item.size, at, again: past.offer(item.index) };
            session.offered(item.index, offer);
            if let Some(bytes) = turn.fresh.get(&item.packet) {
                turn.sends.push(Planned::Offer { conn, item: item.clone(), bytes: Arc::clone(bytes) });
            } else if let Some((end, note)) = self.state.log.note_for(item.index) {
                turn.send(Send::Offer {
                    conn,
                    item: item.clone(),
                    bytes: None,
                    receipt: ReceiptSource::Stored { first: item.index, count: 1, end, note },
                });
            }
            // Notes outlive what they prove, so there is no third case; it would go unoffered rather than unproved.
        }
    }

    fn published(&mut self, end: u64, turn: &mut Turn) {
        // A row goes when its last entry is in a file; one across the edge is published twice, harmlessly.
        let done: Vec<u64> = self
            .state
            .log
            .unpublished
            .iter()
            .take_while(|(_, after)| **after <= end)
            .map(|(first, _)| *first)
            .collect();
        for first in done {
            self.record(turn, Write::Published { first });
        }
    }

    fn tick(&mut self, now: Timestamp, turn: &mut Turn) {
        self.run_out(now, turn);
        self.sweep(now, turn);
        self.drop_taken(turn);
        self.tell_all_put_off(now, turn);
        let mut made_room = BTreeSet::new();
        // Bounded, so that one tick never holds up what waits; the next one goes on.
        let mut ended = 0_usize;
        while ended < ENDINGS_PER_TICK {
            let Some(ending) = self.due(now) else { break };
            let outcomes = self.state.seen.len();
            match ending {
                Ending::Outcomes(first) => self.outcomes_end(first, turn),
                Ending::Note(end) => self.record(turn, Write::ForgetNote { end }),
                Ending::Notice(to, first) => self.record(turn, Write::NoticeGone { to, first }),
                Ending::End(recipient, index) => {
                    self.record(turn, Write::ForgetEnd { recipient, index });
                }
                Ending::Mail(recipient, index) => {
                    self.expire(recipient, index, now, turn);
                    made_room.insert(recipient);
                }
            }
            ended = ended.saturating_add(outcomes.saturating_sub(self.state.seen.len()).max(1));
        }
        for recipient in made_room {
            self.offer(&recipient, now, turn);
        }
    }

    /// What ends next. Mail ends by the clock, and its entry moves the log's time on. What is remembered of
    /// packets ends only when the log's time, which never goes back, is past it: a clock that was ahead for a
    /// moment would let a packet in a second time.
    fn due(&self, now: Timestamp) -> Option<Ending> {
        let logged = self.state.log.time;
        let mut past = self.state.endings.iter().take_while(|(at, _)| *at <= now);
        let due = past.find(|(at, ending)| *at <= logged || matches!(ending, Ending::Mail(..)));
        due.map(|(_, ending)| *ending)
    }

    pub(crate) fn overview(&self, now: Timestamp) -> Overview {
        let directory = &self.state.directory;
        let connected: BTreeMap<&Oin, usize> =
            self.sessions.iter().fold(BTreeMap::new(), |mut all, (_, session)| {
                let inflight = all.entry(&session.peer).or_insert(0_usize);
                *inflight = inflight.saturating_add(session.inflight());
                all
            });
        Overview {
            logs: self.state.log.shards.clone(),
            year_refused: self.year_refused,
            log_size: self.state.log.frontier.size(),
            log_root: self.state.log.head.as_ref().map(|head| head.root),
            partners: directory.partners.values().filter(|partner| partner.revoked.is_none()).count(),
            connected: connected.len(),
            covenants: directory.agreements.len(),
            remembered: self.state.seen.len(),
            suspended_partners: self.state.suspended.partners.iter().map(|(oin, at)| (*oin, *at)).collect(),
            suspended_intake: self.state.suspended.intake,
            suspended_flows: self
                .state
                .suspended
                .flows
                .iter()
                .map(|(flow, at)| (flow.clone(), *at))
                .collect(),
            queues: self
                .state
                .mailboxes
                .iter()
                .map(|(oin, mailbox)| (oin, mailbox, mailbox.from(0), self.state.frozen(oin, mailbox, now)))
                .map(|(oin, mailbox, oldest, (frozen, oldest_open))| QueueRow {
                    oin: *oin,
                    packets: mailbox.len(),
                    bytes: mailbox.bytes(),
                    inflight: connected.get(oin).copied().unwrap_or_default(),
                    frozen,
                    oldest: oldest.map(|item| item.index),
                    oldest_open,
                    expires: oldest.map(|item| item.expires),
                })
                .collect(),
            quotas: self.quota_rows(),
        }
    }
}

pub(crate) fn refuse(refusal: Refusal, retry_after: Option<Span>) -> Refuse {
    Refuse { reason: refusal.number(), retry_after: retry_after.map(|span| span.0) }
}

/// A peer's text, made fit to be shown: at most 64 printable ASCII characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect()
}
