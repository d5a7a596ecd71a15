//! The core itself: one state, driven by inputs.

use std::collections::BTreeMap;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::{Offer, Welcome};

use crate::agreed::Agreed;
use crate::corrections::Corrections;
use crate::follow::Follow;
use crate::following::Following;
use crate::inbox::{Arrival, Inbox};
use crate::logs::{Logs, Place};
use crate::marks::Marks;
use crate::onward::Consents;
use crate::outbox::Outbox;
use crate::ports::Ports;
use crate::prekeys::Prekeys;
use crate::records::Records;
use crate::register::Register;
use crate::retention::Retention;
use crate::rotation::Turning;
use crate::rows::{AlarmKind, AlarmRow, PinRow, RestoreError, Write};
use crate::trust::{Fork, Signed};
use crate::turn::{Event, Input, Send, Turn};
use crate::witness::Watching;
use crate::words::Words;

/// Most alarms that are kept; what comes after is told but not stored, so that a hostile broker cannot fill
/// the disk.
const ALARMS_MAX: usize = 256;
/// How many forks are stored beyond that: the alarms before them must not hide them.
const FORKS_BEYOND: usize = 64;

/// What does not change while an agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This organisation.
    pub oin: Oin,
    /// The exchange log of its broker, from the broker's card.
    pub log: LogKey,
}

/// Whether anything new is taken in.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// Whether the disk has too little room for it.
    pub(crate) scarce: bool,
    /// Whether an offer of this session was left unanswered: what comes behind it is left too, so that order is kept.
    left_behind: bool,
}

/// The agent's state and its decisions.
#[derive(Debug)]
pub struct Core {
    pub(crate) settings: Settings,
    pub(crate) agreed: Agreed,
    pub(crate) outbox: Outbox,
    pub(crate) follow: Follow,
    pub(crate) words: Words,
    pub(crate) inbox: Inbox,
    pub(crate) consents: Consents,
    pub(crate) corrections: Corrections,
    pub(crate) marks: Marks,
    pub(crate) records: Records,
    pub(crate) register: Register,
    pub(crate) retention: Retention,
    pub(crate) trust: Logs,
    pub(crate) following: Option<Following>,
    pub(crate) prekeys: Prekeys,
    pub(crate) turning: Turning,
    pub(crate) watching: Watching,
    /// Whether the key that is lent was given up, for one this agent does not have: nothing is signed with it.
    pub(crate) key_lost: bool,
    pub(crate) alarms: BTreeMap<u64, AlarmRow>,
    pub(crate) connected: bool,
    pub(crate) intake: Intake,
    next_alarm: u64,
    started: bool,
}

impl Core {
    /// A core without a history.
    pub fn new(settings: Settings) -> Self {
        let trust = Logs::new(settings.log.clone());
        Self {
            agreed: Agreed::new(settings.oin),
            outbox: Outbox::default(),
            follow: Follow::default(),
            words: Words::default(),
            inbox: Inbox::default(),
            consents: Consents::default(),
            corrections: Corrections::default(),
            marks: Marks::default(),
            records: Records::default(),
            register: Register::default(),
            retention: Retention::default(),
            trust,
            following: None,
            prekeys: Prekeys::default(),
            turning: Turning::default(),
            watching: Watching::default(),
            key_lost: false,
            alarms: BTreeMap::new(),
            connected: false,
            intake: Intake::default(),
            next_alarm: 0,
            started: false,
            settings,
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
            let damaged = RestoreError::Damaged { table, key: key.iter().take(8).copied().collect() };
            core.restore_write(Write::read(table, key, value)?).ok_or(damaged)?;
        }
        core.reverify_peers();
        Ok(core)
    }

    /// Whether what is locked in the store opens with the store key that is lent. If it does not, the
    /// agent must not run: it would refuse packets that it has the keys for.
    pub fn store_key_fits(&self, ports: Ports<'_>) -> bool {
        self.prekeys.all_open(ports) && self.outbox.drafts_open(ports)
    }

    /// Whether a session with the broker is open and in order.
    pub const fn is_connected(&self) -> bool {
        self.connected
    }

    /// Where a message is in the outbox, and how far.
    pub fn find(&self, msg_id: &seinhuis_shared::ids::MsgId) -> Option<(u64, crate::rows::Stage)> {
        self.outbox.find(msg_id)
    }

    /// The place of the outbox that the next message gets: each handed over has its own, and one that is released another.
    pub const fn handed_over(&self) -> u64 {
        self.outbox.next
    }

    /// Gives `None` for a covenant that does not read, or a vote or decision that does not count.
    #[expect(clippy::too_many_lines, reason = "an arm for each table, which decides nothing itself")]
    fn restore_write(&mut self, write: Write) -> Option<()> {
        match write {
            Write::Covenant(_, bytes) => return self.agreed.restore_covenant(&bytes),
            Write::Votes(hash, casts) => return self.agreed.restore_votes(&hash, &casts),
            Write::Keys(_, rotations) => return self.agreed.restore_rotations(&rotations),
            Write::Rotation(Some(row)) => self.turning.restore(*row),
            Write::Word(hash, Some(row)) => self.agreed.restore_word(hash, *row),
            Write::Proposal(hash, Some(row)) => self.agreed.restore_proposal(hash, row),
            Write::Case(case, decisions) => return self.agreed.restore_case(case, &decisions),
            Write::Act(case, Some(row)) => self.agreed.cases.restore_act(case, *row),
            Write::Outbox(at, row) => {
                self.follow.accepted(&row);
                self.outbox.restore_row(at, *row);
            }
            Write::Notices(at, row) => return self.follow.restore(at, &row, self.settings.oin),
            Write::TakeBack(at, row) => self.words.restore_take_back(at, *row),
            Write::Consumed(at, row) => self.words.restore_consumed(at, *row),
            Write::Draft(at, Some(draft)) => self.outbox.restore_draft(at, draft),
            Write::Release(id, row) => self.outbox.restore_release(id, &row),
            Write::Provenance(at, row) => self.retention.comes_from(at, row.source),
            Write::Consent(digest, Some(bytes)) => return self.consents.restore(digest, bytes),
            Write::Chain(flow, chain) => self.outbox.restore_chain(flow, chain),
            Write::Inbox(at, row) => {
                self.retention.keep(at, &row);
                self.inbox.restore_row(at, &row);
            }
            Write::Seen(sender, flow, chain) => self.inbox.restore_seen(sender, flow, chain),
            Write::Pin(pin) => self.trust.restore(pin),
            Write::Alarm(at, row) => {
                self.next_alarm = self.next_alarm.max(at.saturating_add(1));
                self.alarms.insert(at, row);
            }
            Write::OwnPrekey(id, Some(row)) => self.prekeys.restore_own(id, *row),
            Write::Bundle(row) => self.prekeys.restore_bundle(*row, &self.settings.oin),
            Write::Peer(oin, row) => self.prekeys.restore_peer(oin, *row),
            Write::Waiting(size, Some(row)) => self.trust.restore_waiting(size, *row),
            Write::Note(place, note) => self.trust.restore_note(place, note),
            Write::Log(number, row) => return self.trust.restore_log(number, *row),
            Write::OlderWaiting(number, size, Some(row)) => {
                return self.trust.restore_older(number, size, *row);
            }
            Write::Correction(number, row) => self.corrections.restore_row(number, *row),
            Write::CorrectionBody(number, Some(body)) => {
                return self.corrections.restore_body(number, body);
            }
            Write::Mark(position, row) => {
                self.retention.marked(position, &row);
                self.marks.restore(position, *row);
            }
            Write::Cosigned(origin, row) => self.watching.restore(origin, *row),
            Write::Erased(position, row) => self.retention.restore(position, row),
            Write::Record(number, Some(row)) => self.records.restore(number, *row),
            Write::Person(id, Some(row)) => self.register.restore_person(id, *row),
            Write::Exchange(key, Some(row)) => self.register.restore_exchange(key, *row),
            Write::Waiting(_, None)
            | Write::OlderWaiting(_, _, None)
            | Write::Meta
            | Write::Body(..)
            | Write::Draft(_, None)
            | Write::Moved(_)
            | Write::Consent(_, None)
            | Write::CorrectionBody(_, None)
            | Write::OwnPrekey(_, None)
            | Write::Word(_, None)
            | Write::Rotation(None)
            | Write::Act(_, None)
            | Write::Record(_, None)
            | Write::Person(_, None)
            | Write::Exchange(_, None)
            | Write::Proposal(_, None) => {}
        }
        Some(())
    }

    /// Takes one input. What has to be done is added to `turn`; call [`Core::finish`] before committing it.
    #[expect(clippy::too_many_lines, reason = "an arm for each input, which decides nothing itself")]
    pub fn handle(&mut self, input: Input, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        if !self.started {
            self.started = true;
            turn.writes.push(Write::Meta);
        }
        let ports = self.take_key(ports);
        match input {
            Input::Push { token, request } => self.push(token, &request, now, ports, turn),
            Input::Propose { token, compiled } => {
                let result = self.propose(compiled, now, turn);
                self.speak_up(now, ports, turn);
                turn.answers.push((token, result));
            }
            Input::Speak { token, hash, word, reason } => {
                let result = self.speak(hash, word, reason, now, ports, turn);
                turn.answers.push((token, result));
            }
            Input::Decide { token, case, act, covenant } => {
                let result = self.decide(case, act, covenant, now, ports, turn);
                turn.answers.push((token, result));
            }
            Input::Release { token, release } => {
                let result = self.decide_release(release, now, ports, turn);
                turn.answers.push((token, result));
            }
            Input::Correct { token, request } => self.correct(token, &request, now, ports, turn),
            Input::RetryCorrections { token, about } => {
                self.retry_corrections(token, about, now, ports, turn);
            }
            Input::Erase { token, position, ground } => {
                self.erase_by_hand(token, position, ground, now, ports, turn);
            }
            Input::TakeBack { token, about, reason, sent } => {
                let result = self.take_back(about, reason, sent.as_deref(), now, turn);
                turn.answers.push((token, result));
            }
            Input::Tell { token, telling } => {
                let result = self.tell(telling, now, ports, turn);
                turn.answers.push((token, result));
            }
            Input::Consume { token, position, row } => {
                let result = self.consume(position, &row, now, turn);
                turn.answers.push((token, result));
            }
            Input::Read { token, row, subjects } => {
                let result = self.read(&row, subjects, now, ports, turn);
                turn.answers.push((token, result));
            }
            Input::TakenBack(position, answer) => self.taken_back(position, &answer, now, turn),
            Input::ConsumeAnswered(position, answer) => self.consume_answered(position, &answer, now, turn),
            Input::Notices(notices) => self.notices(*notices),
            Input::FetchEntries { token, ask } => self.fetch_entries(token, ask, turn),
            Input::Entries { token, ask, answer } => self.entries_came(token, &ask, answer, now, turn),
            Input::Overwritten(ticket) => self.overwritten(ticket, now, ports, turn),
            Input::Recorded { numbers, rejected } => self.recorded(&numbers, rejected, now, turn),
            Input::RecordsRefused(detail) => self.alarm(AlarmKind::RecordsRefused, detail, now, turn),
            Input::LookAtCase(case) => self.look_at(case, now, turn),
            Input::Cases(heads) => self.take_cases(&heads, now, turn),
            Input::Case(case, decisions) => self.learn_case(case, decisions.as_deref(), now, ports, turn),
            Input::DecisionAnswered(case, outcome) => self.decision_answered(case, outcome, now, turn),
            Input::Agreements(known) => self.agreements_came(known, now, turn),
            Input::Covenant { had, compiled, casts, rotations } => {
                self.learn(compiled, had, (&casts, &rotations), now, ports, turn);
            }
            Input::Rotate { token, urgent } => {
                let result = self.rotate(urgent, now, ports, turn);
                turn.answers.push((token, result));
            }
            Input::RotationAnswered(answer) => self.rotation_answered(&answer, now, ports, turn),
            Input::ProposalAnswered(hash, outcome) => {
                self.proposal_answered(hash, outcome, turn);
                self.speak_up(now, ports, turn);
            }
            Input::VoteAnswered(hash, word, outcome) => self.vote_answered(hash, word, outcome, turn),
            Input::Connected(welcome) => self.connected(*welcome, now, ports, turn),
            Input::Disconnected => self.disconnected(now, turn),
            Input::Room { scarce } => self.room(scarce, turn),
            Input::Verdict(verdict) => self.verdict(&verdict, now, turn),
            Input::Deferred(deferred) => self.deferred(&deferred, now),
            Input::Offer(offer) => self.offered(*offer, now, ports, turn),
            Input::Prekeys(number, bundles) => self.keys_came((number, bundles), now, ports, turn),
            Input::Published(seq) => self.published(seq, turn),
            Input::PublishRefused(reason) => self.publish_refused(reason, now, ports, turn),
            Input::Succession(answer) => self.succeeded(answer, now, ports, turn),
            Input::AcceptOrigin { token, origin } => {
                let result = self.accept_origin(&origin, now, ports, turn);
                turn.answers.push((token, result));
            }
            Input::Consistency { origin, sizes, proofs } => {
                self.take_proofs(&origin, (&sizes, &proofs), now, turn);
            }
            Input::ConsistencyFailed => {
                if self.trust.unanswered() {
                    self.unproved(now, turn);
                }
            }
            Input::AddCheckpoint(request) => self.add_checkpoint(&request, now, ports, turn),
            Input::Witnessed(told) => self.take_witnessed(&told, now, turn),
            Input::PacketMissing(digest) => self.packet_missing(digest, now, turn),
            Input::Tick => self.tick(now, ports, turn),
        }
    }

    /// The session ended.
    fn disconnected(&mut self, now: Timestamp, turn: &mut Turn) {
        let in_session = std::mem::replace(&mut self.connected, false);
        self.intake.left_behind = false;
        self.forget_held();
        self.turning.session();
        self.follow.session();
        self.words.session();
        self.following = None;
        self.outbox.disconnected();
        // Also when it ended before there was a question: a broker that ends every session so soon proves nothing either.
        if self.trust.unanswered() || in_session {
            self.unproved(now, turn);
        }
    }

    /// Prekeys came, and with them what waited for them can go.
    fn keys_came(
        &mut self,
        answer: (u64, Vec<(Oin, Bytes)>),
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        self.take_prekeys(answer, now, turn);
        self.seal_drafts(now, ports, turn);
    }

    /// The disk has too little room left, or enough again: what was left at the broker is then fetched.
    fn room(&mut self, scarce: bool, turn: &mut Turn) {
        self.intake.scarce = scarce;
        if !scarce && self.intake.left_behind {
            turn.sends.push(Send::Reconnect);
        }
    }

    /// A packet is offered: it is taken in, or held until what it rests on is here. Without room for it, it is left
    /// unanswered: it stays at the broker, which offers it again in the next session.
    pub(crate) fn offered(&mut self, offer: Offer, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        self.intake.left_behind |= self.intake.scarce;
        if self.intake.left_behind {
            return;
        }
        let Some(offer) = self.hold_back(offer) else { return };
        if let Some(arrival) = self.agreed.holds(Arrival::read(offer)) {
            self.offer(arrival, now, ports, turn);
        } else {
            self.fetch_cases(now, turn);
        }
    }

    /// Ends a turn: one acknowledgement for all that came in, and what may be submitted now.
    pub fn finish(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        let ports = self.take_key(ports);
        self.rotate_up(now, ports, turn);
        if !self.is_handing_over() && !self.key_lost {
            self.acknowledge(now, ports, turn);
        }
        self.take_notices(now, turn);
        self.say_words(ports, turn);
        self.settle_corrections(now, ports, turn);
        if self.connected && !self.trust.forked() && !self.trust.stalled(now) {
            turn.sends.append(&mut self.outbox.submissions(now));
        }
        if self.connected
            && let Some((origin, sizes)) = self.trust.ask(false)
        {
            turn.sends.push(Send::FetchConsistency(origin, sizes));
        }
    }

    fn connected(&mut self, welcome: Welcome, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        self.intake.left_behind = false;
        self.outbox.disconnected();
        self.agreed.cases.session(false);
        self.turning.session();
        self.follow.session();
        self.words.session();
        self.following = None;
        self.trust.unanswered();
        match self.trust.place(&welcome.origin, &welcome.log_key) {
            Place::Current => self.welcomed(&welcome, now, ports, turn),
            Place::Later => {
                self.connected = false;
                self.follow_to(welcome, now, turn);
            }
            Place::Other => {
                self.connected = false;
                self.alarm(AlarmKind::OtherLog, format!("{} {}", welcome.origin, welcome.log_key), now, turn);
            }
        }
    }

    /// The session is with the log this agent is with.
    pub(crate) fn welcomed(&mut self, welcome: &Welcome, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        match self.welcome_checkpoint(welcome) {
            Ok(signed) => {
                let newest = self.trust.newest(&signed, now);
                self.settle(newest, now, turn);
            }
            Err(error) => {
                self.connected = false;
                self.alarm(AlarmKind::OtherLog, error, now, turn);
                return;
            }
        }
        self.connected = true;
        self.watching.session(now);
        self.retention.witness(welcome.now);
        self.agreed.cases.session(true);
        self.take_agreements(&welcome.agreements, now, turn);
        self.speak_up(now, ports, turn);
        self.decide_again(now, ports, turn);
        self.fetch_at_once();
        self.maintain_prekeys(now, ports, turn);
        // A bundle made just now has been sent already.
        if !turn.sends.iter().any(|send| matches!(send, Send::Publish { .. })) {
            self.publish(turn);
        }
        self.fetch_prekeys(now, turn);
    }

    fn tick(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        self.words.tick();
        self.agreed.tick();
        self.follow_on(turn);
        self.maintain_prekeys(now, ports, turn);
        if self.agreed.gives_up_seeking() {
            self.fetch_at_once();
        }
        self.fetch_covenants(now, turn);
        self.fetch_cases(now, turn);
        self.speak_up(now, ports, turn);
        self.decide_again(now, ports, turn);
        self.release(now, ports, turn);
        self.expire_held(now, turn);
        self.seal_drafts(now, ports, turn);
        self.correct_again(now, ports, turn);
        self.retain(now, ports, turn);
        self.watch_quorum(now, turn);
        self.fetch_prekeys(now, turn);
        if self.connected
            && let Some((origin, sizes)) = self.trust.ask(true)
        {
            turn.sends.push(Send::FetchConsistency(origin, sizes));
        }
    }

    /// Takes in the checkpoint of a receipt. Tells whether what the receipt says may be believed: not when
    /// the log was caught, and not when the checkpoint cannot be kept to hold it against the log later.
    pub(crate) fn observe(&mut self, signed: &Signed, now: Timestamp, turn: &mut Turn) -> bool {
        let seen = self.trust.observe(signed, now);
        self.settle(seen, now, turn);
        if self.trust.full()
            && let Some(detail) = self.trust.complaint(now)
        {
            self.alarm(AlarmKind::LogUnproven, detail, now, turn);
        }
        !self.trust.forked() && self.trust.remembers(signed)
    }

    /// Proofs came, between sizes of the log of an origin.
    fn take_proofs(
        &mut self,
        origin: &str,
        (sizes, proofs): (&[u64], &[Vec<Digest>]),
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let proved = self.trust.proved(origin, sizes, proofs);
        self.settle(proved, now, turn);
    }

    /// A proof did not come. Once it is overdue, somebody has to look at this broker.
    fn unproved(&mut self, now: Timestamp, turn: &mut Turn) {
        if let Some(detail) = self.trust.complaint(now) {
            self.alarm(AlarmKind::LogUnproven, detail, now, turn);
        }
    }

    pub(crate) fn settle(&mut self, outcome: Result<Option<PinRow>, Fork>, now: Timestamp, turn: &mut Turn) {
        turn.writes.append(&mut self.trust.take_changes());
        match outcome {
            Ok(pin) => {
                turn.writes.extend(pin.map(Write::Pin));
                self.quorums_proved();
            }
            Err(fork) => {
                if !self.trust.forked() {
                    // The first contradiction is the evidence; a later one must not replace it.
                    turn.writes.append(&mut self.trust.evidence(fork.notes));
                }
                turn.writes.extend(self.trust.fork().map(Write::Pin));
                self.alarm(AlarmKind::LogForked, fork.detail, now, turn);
            }
        }
    }

    pub(crate) fn alarm(&mut self, kind: AlarmKind, detail: String, now: Timestamp, turn: &mut Turn) {
        let row = AlarmRow { kind, at: now, detail };
        turn.events.push(Event::Alarm(row.clone()));
        let repeated = self.alarms.values().any(|other| other.kind == kind && other.detail == row.detail);
        let beyond = if kind == AlarmKind::LogForked { FORKS_BEYOND } else { 0 };
        if repeated || self.alarms.len() >= ALARMS_MAX.saturating_add(beyond) {
            return;
        }
        let at = self.next_alarm;
        self.next_alarm = at.saturating_add(1);
        self.alarms.insert(at, row.clone());
        turn.writes.push(Write::Alarm(at, row));
    }
}
