//! The core itself: one state, driven by inputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::wire::Welcome;

use crate::inbox::Inbox;
use crate::minimise::Covenants;
use crate::outbox::Outbox;
use crate::ports::Ports;
use crate::prekeys::Prekeys;
use crate::rows::{AlarmKind, AlarmRow, PinRow, RestoreError, Write};
use crate::trust::{Fork, Trust};
use crate::turn::{Event, Input, Send, Turn};

/// Most alarms that are kept; what comes after is told but not stored, so that a hostile broker cannot fill
/// the disk. A fork is always stored.
const ALARMS_MAX: usize = 256;

/// What does not change while an agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This organisation.
    pub oin: Oin,
    /// The exchange log of its broker, from the broker's card.
    pub log: LogKey,
}

/// The agent's state and its decisions.
#[derive(Debug)]
pub struct Core {
    pub(crate) settings: Settings,
    pub(crate) covenants: Covenants,
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    pub(crate) trust: Trust,
    pub(crate) prekeys: Prekeys,
    pub(crate) alarms: BTreeMap<u64, AlarmRow>,
    pub(crate) connected: bool,
    next_alarm: u64,
    started: bool,
}

impl Core {
    /// A core without a history.
    pub fn new(settings: Settings) -> Self {
        let trust = Trust::new(settings.log.clone());
        Self {
            settings,
            covenants: BTreeMap::new(),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            trust,
            prekeys: Prekeys::default(),
            alarms: BTreeMap::new(),
            connected: false,
            next_alarm: 0,
            started: false,
        }
    }

    /// A core with the state that these rows hold, in the order of [`crate::rows::table::ALL`].
    ///
    /// # Errors
    /// [`RestoreError`] for rows another version wrote, or damaged ones.
    pub fn restore<'a>(
        settings: Settings,
        rows: impl Iterator<Item = (u8, &'a [u8], &'a [u8])>,
    ) -> Result<Self, RestoreError> {
        let mut core = Self::new(settings);
        for (table, key, value) in rows {
            core.started = true;
            core.restore_write(Write::read(table, key, value)?);
        }
        Ok(core)
    }

    /// Whether what is locked in the store opens with the store key that is lent. If it does not, the
    /// agent must not run: it would refuse packets that it has the keys for.
    pub fn store_key_fits(&self, ports: Ports<'_>) -> bool {
        self.prekeys.all_open(ports) && self.outbox.drafts_open(ports)
    }

    /// Where a message is in the outbox, and how far.
    pub fn find(&self, msg_id: &seinhuis_shared::ids::MsgId) -> Option<(u64, crate::rows::Stage)> {
        self.outbox.find(msg_id)
    }

    fn restore_write(&mut self, write: Write) {
        match write {
            Write::Outbox(at, row) => self.outbox.restore_row(at, *row),
            Write::Draft(at, Some(draft)) => self.outbox.restore_draft(at, draft),
            Write::Chain(flow, chain) => self.outbox.restore_chain(flow, chain),
            Write::Inbox(at, row) => self.inbox.restore_row(at, &row),
            Write::Seen(sender, flow, chain) => self.inbox.restore_seen(sender, flow, chain),
            Write::Pin(pin) => self.trust.restore(pin),
            Write::Alarm(at, row) => {
                self.next_alarm = self.next_alarm.max(at.saturating_add(1));
                self.alarms.insert(at, row);
            }
            Write::OwnPrekey(id, Some(row)) => self.prekeys.restore_own(id, *row),
            Write::Bundle(row) => self.prekeys.restore_bundle(*row),
            Write::Peer(oin, row) => self.prekeys.restore_peer(oin, *row),
            Write::Meta | Write::Body(..) | Write::Draft(_, None) | Write::OwnPrekey(_, None) => {}
        }
    }

    /// Takes one input. What has to be done is added to `turn`; call [`Core::finish`] before committing it.
    pub fn handle(&mut self, input: Input, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        if !self.started {
            self.started = true;
            turn.writes.push(Write::Meta);
        }
        match input {
            Input::Push { token, request } => self.push(token, &request, now, ports, turn),
            Input::Covenants(covenants) => self.take_covenants(covenants, now, ports, turn),
            Input::Connected(welcome) => self.connected(&welcome, now, ports, turn),
            Input::Disconnected => {
                self.connected = false;
                self.outbox.disconnected();
                self.trust.unanswered();
            }
            Input::Verdict { verdict, packet } => self.verdict(&verdict, &packet, now, turn),
            Input::Deferred(deferred) => self.deferred(&deferred, now),
            Input::Offer(offer) => self.offer(&offer, now, ports, turn),
            Input::Prekeys(bundles) => {
                self.take_prekeys(bundles, now, turn);
                self.seal_drafts(now, ports, turn);
            }
            Input::Published(seq) => self.published(seq, turn),
            Input::PublishRefused(reason) => self.publish_refused(reason, now, ports, turn),
            Input::Consistency { sizes, proofs } => {
                let proved = self.trust.proved(&sizes, &proofs);
                self.settle(proved, now, turn);
            }
            Input::ConsistencyFailed => self.trust.unanswered(),
            Input::Tick => self.tick(now, ports, turn),
        }
    }

    /// Ends a turn: one acknowledgement for all that came in, and what may be submitted now.
    pub fn finish(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        self.acknowledge(now, ports, turn);
        if self.connected && !self.trust.forked() {
            turn.sends.append(&mut self.outbox.submissions(now));
        }
        if self.connected
            && let Some(sizes) = self.trust.ask(false)
        {
            turn.sends.push(Send::FetchConsistency(sizes));
        }
    }

    fn take_covenants(
        &mut self,
        covenants: Vec<Arc<Compiled>>,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        self.covenants = covenants.into_iter().map(|one| (one.hash(), one)).collect();
        self.reverify_peers();
        self.fetch_prekeys(now, turn);
        self.seal_drafts(now, ports, turn);
    }

    fn connected(&mut self, welcome: &Welcome, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        self.outbox.disconnected();
        self.trust.unanswered();
        let log = self.trust.log();
        if welcome.origin != log.origin || welcome.log_key != log.key.to_string() {
            self.connected = false;
            self.alarm(AlarmKind::OtherLog, format!("{} {}", welcome.origin, welcome.log_key), now, turn);
            return;
        }
        match Checkpoint::verify(&welcome.checkpoint, &log.origin, &log.key) {
            Ok(checkpoint) => {
                let newest = self.trust.newest(&checkpoint);
                self.settle(newest, now, turn);
            }
            Err(error) => {
                self.connected = false;
                self.alarm(AlarmKind::OtherLog, error.to_string(), now, turn);
                return;
            }
        }
        self.connected = true;
        self.fetch_at_once();
        self.maintain_prekeys(now, ports, turn);
        // A bundle made just now has been sent already.
        if !turn.sends.iter().any(|send| matches!(send, Send::Publish { .. })) {
            self.publish(turn);
        }
        self.fetch_prekeys(now, turn);
    }

    fn tick(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        self.maintain_prekeys(now, ports, turn);
        self.seal_drafts(now, ports, turn);
        self.fetch_prekeys(now, turn);
        if self.connected
            && let Some(sizes) = self.trust.ask(true)
        {
            turn.sends.push(Send::FetchConsistency(sizes));
        }
    }

    pub(crate) fn observe(&mut self, checkpoint: &Checkpoint, now: Timestamp, turn: &mut Turn) {
        let seen = self.trust.observe(checkpoint);
        self.settle(seen, now, turn);
    }

    fn settle(&mut self, outcome: Result<Option<PinRow>, Fork>, now: Timestamp, turn: &mut Turn) {
        match outcome {
            Ok(pin) => turn.writes.extend(pin.map(Write::Pin)),
            Err(fork) => {
                turn.writes.extend(self.trust.fork().map(Write::Pin));
                self.alarm(AlarmKind::LogForked, fork.detail, now, turn);
            }
        }
    }

    pub(crate) fn alarm(&mut self, kind: AlarmKind, detail: String, now: Timestamp, turn: &mut Turn) {
        let row = AlarmRow { kind, at: now, detail };
        turn.events.push(Event::Alarm(row.clone()));
        let repeated = self.alarms.values().any(|other| other.kind == kind && other.detail == row.detail);
        if repeated || (self.alarms.len() >= ALARMS_MAX && kind != AlarmKind::LogForked) {
            return;
        }
        let at = self.next_alarm;
        self.next_alarm = at.saturating_add(1);
        self.alarms.insert(at, row.clone());
        turn.writes.push(Write::Alarm(at, row));
    }
}
