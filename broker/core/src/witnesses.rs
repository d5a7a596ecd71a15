//! The witnesses of the log: who is asked to cosign its head, what they answered, and whether that is as many as the
//! covenants ask.
//!
//! A round is one checkpoint that everybody is asked about, so that the answers make one note. The next round begins when
//! the head has moved and the last one has its quorums, or has had its time. Nothing here happens per packet. A log that
//! ended has one round more, over its final checkpoint (`finals`): a witness is asked one thing at a time, and of the log
//! that grows first.

mod finals;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::cosignature::WitnessKey;
use seinhuis_shared::tlog::note::{Note, NoteSignature, VerifierKey};
use seinhuis_shared::tlog::policy::Policy;
use seinhuis_shared::tlog::witness::{Answer, read_answer};
use seinhuis_shared::wire::{Cosigned, Witnessed};

use crate::core::Core;
use crate::input::ConnId;
use crate::start::{Claim, Contradiction, Heard};
use crate::turn::{Question, Send, Turn};
use crate::write::{Head, WitnessedRow, Write};
use finals::Final;
pub use watch::{CovenantWatch, FinalWatch, Watch, WitnessWatch};

/// How far apart rounds start at least.
const ROUNDS_APART: Span = Span(200);
/// How long a round waits for its quorums when the head has moved on.
const ROUND: Span = Span::seconds(1);
/// How old a quorum over an unchanged head becomes before it is renewed.
const RENEW: Span = Span::minutes(1);
/// How much younger a quorum over an unchanged head has to be to be written down.
const KEEP_AGAIN: Span = Span::hours(1);
/// Longest wait for an answer.
const PATIENCE: Span = Span::seconds(20);
/// First and longest wait after a witness failed to answer well.
const BACK_OFF: (Span, Span) = (Span::seconds(1), Span::minutes(5));
/// How often one witness is asked in one round: once, and once for each size it names.
const TRIES: u8 = 4;
/// To which a cosignature says when it was made.
const SECOND: Span = Span::seconds(1);
/// Days since 1970 are counted in these.
const DAY: u64 = Span::days(1).0;

type Key = [u8; 32];

/// Where a witness is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// The agent of a party.
    Party(Oin),
    /// An address, of one that is no party.
    Outside(String),
}

/// A question that waits for its answer.
#[derive(Debug)]
struct Asked {
    /// The log it is about.
    origin: String,
    old: u64,
    size: u64,
    note: Note,
    at: Timestamp,
    /// When, by the clock.
    sent: Timestamp,
    conn: Option<ConnId>,
}

/// How far a witness is with one log.
#[derive(Debug, Default)]
struct Standing {
    /// The size it cosigned last, as far as is known.
    latest: Option<u64>,
    tries: u8,
    not_before: Timestamp,
    failures: u32,
}

#[derive(Debug)]
struct Witness {
    name: String,
    key: WitnessKey,
    place: Place,
    asked: Option<Asked>,
    /// By the origin of the log.
    standings: BTreeMap<String, Standing>,
    refused: u64,
    remark: Option<String>,
    suspect: Option<String>,
    /// Whether it said, since the start, what it cosigned, and that fits.
    heard: bool,
}

impl Witness {
    fn new(name: String, key: WitnessKey, place: Place) -> Self {
        Self {
            name,
            key,
            place,
            asked: None,
            standings: BTreeMap::new(),
            refused: 0,
            remark: None,
            suspect: None,
            heard: false,
        }
    }

    fn standing(&mut self, origin: &str) -> &mut Standing {
        self.standings.entry(origin.to_owned()).or_default()
    }

    /// An answer about a log, or its absence, was of no use: it is asked again later.
    fn failed(&mut self, origin: &str, remark: String, now: Timestamp) {
        let standing = self.standing(origin);
        standing.not_before = now.plus(BACK_OFF.0.doubled(standing.failures, BACK_OFF.1));
        standing.failures = standing.failures.saturating_add(1);
        standing.tries = 0;
        self.refused = self.refused.saturating_add(1);
        self.remark = Some(remark);
    }
}

/// A covenant in force that asks a quorum.
#[derive(Debug)]
struct Asking {
    id: String,
    version: u32,
    policy: Policy,
    wanted: u8,
    /// The parties that can cosign.
    witnesses: Vec<Oin>,
    parties: Vec<Oin>,
    /// Since when it is known to ask; older than this no quorum is missed.
    since: Timestamp,
    /// Cosignatures of the newest quorum came in that are not written down.
    more: bool,
    /// When the newest quorum that is written down was reached.
    kept: Timestamp,
}

#[derive(Debug)]
struct Round {
    size: u64,
    note: Note,
    lines: BTreeMap<Key, NoteSignature>,
    started: Timestamp,
}

impl Round {
    const fn new(size: u64, note: Note, started: Timestamp) -> Self {
        Self { size, note, lines: BTreeMap::new(), started }
    }

    /// The checkpoint with the lines of a policy's witnesses, if they are as many as it asks.
    fn witnessed(&self, policy: &Policy) -> Option<Bytes> {
        let lines: Vec<(usize, &NoteSignature)> = (0..)
            .zip(policy.witnesses())
            .filter_map(|(at, one)| Some((at, self.lines.get(one.key.key().as_bytes())?)))
            .collect();
        if !policy.reached_by(&lines.iter().map(|(at, _)| *at).collect::<Vec<_>>()) {
            return None;
        }
        let own = self.note.signatures().iter();
        let all = own.chain(lines.into_iter().map(|(_, line)| line)).cloned().collect();
        let note = Note::new(self.note.text(), all).ok()?;
        Some(Bytes(note.to_string().into_bytes()))
    }
}

/// Who watches the log.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    log: Option<VerifierKey>,
    asking: BTreeMap<Digest, Asking>,
    all: BTreeMap<Key, Witness>,
    /// Of the log that grows.
    round: Option<Round>,
    /// Of logs that ended, by origin.
    finals: BTreeMap<String, Final>,
    /// Logs whose final checkpoint got lines that are not published yet.
    published: BTreeSet<String>,
    changed: bool,
}

impl Witnesses {
    /// Whether a quorum is asked at all.
    pub(crate) fn asked_for(&self) -> bool {
        !self.asking.is_empty()
    }

    /// Whether every quorum can be reached by those who were heard since the start.
    pub(crate) fn enough_heard(&self) -> bool {
        let heard = |key: &WitnessKey| self.all.get(key.key().as_bytes()).is_some_and(|one| one.heard);
        self.asking.values().all(|asking| {
            let places = asking.policy.witnesses().iter().enumerate().filter(|(_, one)| heard(&one.key));
            asking.policy.reached_by(&places.map(|(at, _)| at).collect::<Vec<_>>())
        })
    }

    /// Who was not heard since the start.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.all.values().filter(|one| !one.heard).map(|one| one.name.clone()).collect()
    }

    /// A connection is gone, and with it whatever was asked on it.
    pub(crate) fn gone(&mut self, conn: ConnId) {
        for one in self.all.values_mut() {
            if one.asked.as_ref().is_some_and(|asked| asked.conn == Some(conn)) {
                one.asked = None;
            }
        }
    }

    /// An agent said what it cosigned last of the log that grows.
    pub(crate) fn hear(&mut self, peer: &Oin, heard: &Heard) {
        let Some(origin) = self.log.as_ref().map(|log| log.name().to_owned()) else { return };
        for one in self.all.values_mut().filter(|one| one.place == Place::Party(*peer)) {
            // Whatever it was asked in an earlier session it is asked again.
            one.asked = None;
            let known = one.standings.remove(&origin).and_then(|standing| standing.latest);
            one.standings.clear();
            let latest = match heard {
                Heard::Nothing => Some(0),
                Heard::Fits { size, .. } => Some(*size),
                Heard::Unreadable => {
                    one.remark = Some("what it says it cosigned is not of this log".into());
                    known
                }
                Heard::Contradicts { .. } => known,
            };
            one.heard |= matches!(heard, Heard::Nothing | Heard::Fits { .. });
            one.standing(&origin).latest = latest;
        }
    }

    /// The name under which an organisation is a witness.
    pub(crate) fn name_of(&self, peer: &Oin) -> String {
        let own = self.all.values().find(|one| one.place == Place::Party(*peer));
        own.map_or_else(|| peer.to_string(), |one| one.name.clone())
    }

    /// What is asked about a log now: of the one that grows its round, of one that ended its last.
    fn round_of(&self, origin: &str) -> Option<&Round> {
        let ended = || self.finals.get(origin).map(|one| &one.round);
        if self.grows(origin) { self.round.as_ref() } else { ended() }
    }

    fn grows(&self, origin: &str) -> bool {
        self.log.as_ref().is_some_and(|log| log.name() == origin)
    }

    /// Another log was begun: nobody has cosigned anything of it. What is on its way to witnesses over HTTP may still be
    /// answered, as what it was asked.
    fn begin_log(&mut self, log: Option<VerifierKey>) {
        (self.log, self.round) = (log, None);
        self.asking.clear();
        for one in self.all.values_mut() {
            (one.heard, one.suspect, one.remark) = (false, None, None);
        }
    }
}

impl Core {
    /// Brings who is asked in line with the covenants in force.
    pub(crate) fn know_witnesses(&mut self, now: Timestamp) {
        // All logs have one key, so that another name is another log; reading a key costs as much as checking a signature.
        let another = !self.witnesses.grows(self.origin());
        if another {
            let log = self.log_key_text().parse().ok();
            self.witnesses.begin_log(log);
        }
        let asks = self
            .state
            .directory
            .agreements
            .iter()
            .filter(|one| one.in_force(now) && one.compiled().covenant().asks_quorum());
        let asks: BTreeMap<Digest, _> = asks.map(|one| (one.compiled().hash(), one.compiled())).collect();
        let witnesses = &mut self.witnesses;
        if asks.keys().eq(witnesses.asking.keys()) && !another {
            return;
        }
        let Some(log) = witnesses.log.clone() else { return };
        witnesses.changed = true;
        witnesses.asking.retain(|hash, _| asks.contains_key(hash));
        let mut named: BTreeSet<Key> = BTreeSet::new();
        for (hash, compiled) in &asks {
            let covenant = compiled.covenant();
            let Some(policy) = covenant.witness_policy(&log) else { continue };
            for one in policy.witnesses() {
                let key = *one.key.key().as_bytes();
                let name = String::from_utf8_lossy(&one.name).into_owned();
                let party = name.parse::<Oin>().ok().map(Place::Party);
                let url = || String::from_utf8_lossy(one.url.as_deref().unwrap_or_default()).into_owned();
                let place = party.unwrap_or_else(|| Place::Outside(url()));
                named.insert(key);
                let witness = || Witness::new(name, one.key.clone(), place);
                witnesses.all.entry(key).or_insert_with(witness);
            }
            witnesses.asking.entry(*hash).or_insert_with(|| Asking {
                id: covenant.id.clone(),
                version: covenant.version,
                wanted: covenant.witness_quorum,
                witnesses: covenant.witness_parties().collect(),
                parties: covenant.parties.iter().map(|party| party.oin).collect(),
                since: now,
                more: false,
                kept: Timestamp(0),
                policy,
            });
        }
        witnesses.all.retain(|key, _| named.contains(key));
        self.know_finals(now);
    }

    /// Asks whoever can be asked about the head, when it is time.
    pub(crate) fn ask_witnesses(&mut self, now: Timestamp, turn: &mut Turn) {
        self.know_witnesses(now);
        let Some(head) = self.state.log.head.clone().filter(|_| self.witnesses.asked_for()) else { return };
        self.keep_more(turn);
        self.next_round(&head, now);
        let keys: Vec<Key> = self.witnesses.all.keys().copied().collect();
        let ended = self.witnesses.finals.keys().cloned();
        let origins: Vec<String> = core::iter::once(self.origin().to_owned()).chain(ended).collect();
        for origin in origins {
            for key in &keys {
                self.ask_witness(key, &origin, now, turn);
            }
        }
    }

    fn next_round(&mut self, head: &Head, now: Timestamp) {
        let origin = self.origin().to_owned();
        let witnesses = &mut self.witnesses;
        if let Some(round) = &witnesses.round {
            let age = now.since(round.started);
            let reached = |hash: &Digest| {
                let newest = self.state.witnessed.get(&(*hash, origin.clone()));
                newest.is_some_and(|row| row.size >= round.size)
            };
            let settled = witnesses.asking.keys().all(reached);
            let due = if round.size == head.size {
                age >= RENEW
            } else {
                age >= ROUNDS_APART && (settled || age >= ROUND)
            };
            if !due {
                return;
            }
        }
        let Ok(note) = Note::parse(&head.note) else { return };
        witnesses.round = Some(Round::new(head.size, note, now));
        witnesses.all.values_mut().for_each(|one| one.standing(&origin).tries = 0);
    }

    /// Asks a witness about the round of a log, if it has no question open and did not answer that one.
    fn ask_witness(&mut self, key: &Key, origin: &str, now: Timestamp, turn: &mut Turn) {
        let Some(round) = self.witnesses.round_of(origin).filter(|round| !round.lines.contains_key(key))
        else {
            return;
        };
        let (size, note) = (round.size, round.note.clone());
        let holding = self.start.is_holding();
        let Some(one) = self.witnesses.all.get_mut(key) else { return };
        if let Some(asked) = one.asked.take_if(|asked| asked.at.plus(PATIENCE) <= now) {
            one.failed(&asked.origin, "no answer in time".into(), now);
        }
        let standing = one.standing(origin);
        let old = standing.latest.unwrap_or(size);
        if standing.tries >= TRIES || standing.not_before > now || old > size || one.asked.is_some() {
            return;
        }
        let question = Question { old, size, note: note.clone() };
        let conn = match &one.place {
            Place::Party(_) if holding => return,
            Place::Party(oin) => match self.sessions.serving(oin) {
                Some((conn, _)) => {
                    turn.send(Send::AddCheckpoint { conn, question });
                    Some(conn)
                }
                None => return,
            },
            Place::Outside(url) => {
                turn.send(Send::AskOutside { key: *key, url: url.clone(), question });
                None
            }
        };
        let standing = one.standing(origin);
        standing.tries = standing.tries.saturating_add(1);
        let sent = self.accounts.clock;
        one.asked = Some(Asked { origin: origin.to_owned(), old, size, note, at: now, sent, conn });
    }

    /// An agent answers as a witness.
    pub(crate) fn agent_cosigned(
        &mut self,
        conn: ConnId,
        answer: &Cosigned,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let of = |one: &Witness| one.asked.as_ref().is_some_and(|asked| asked.conn == Some(conn));
        let key = self.witnesses.all.iter().find(|(_, one)| of(one)).map(|(key, _)| *key);
        let key = key.ok_or(Refusal::NotFound)?;
        self.witness_answered(&key, Some(answer), now, turn);
        Ok(())
    }

    /// A witness answered, or there was no answer.
    pub(crate) fn witness_answered(
        &mut self,
        key: &Key,
        answer: Option<&Cosigned>,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        // An answer about a log that has ended meanwhile is nothing of the one that grows.
        self.know_witnesses(now);
        let Some(one) = self.witnesses.all.get_mut(key) else { return };
        let Some(asked) = one.asked.take() else { return };
        self.witnesses.changed = true;
        self.take_answer(key, &asked, answer, now, turn);
        for origin in [self.origin().to_owned(), asked.origin] {
            self.ask_witness(key, &origin, now, turn);
        }
    }

    fn take_answer(
        &mut self,
        key: &Key,
        asked: &Asked,
        answer: Option<&Cosigned>,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let (origin, grows) = (asked.origin.as_str(), self.witnesses.grows(&asked.origin));
        let largest = match (grows, self.witnesses.finals.get(origin)) {
            (true, _) => self.state.log.head.as_ref().map_or(0, |head| head.size),
            (false, Some(ended)) => ended.round.size,
            (false, None) => return,
        };
        let Some(one) = self.witnesses.all.get_mut(key) else { return };
        let Some(answer) = answer else { return one.failed(origin, "no answer".into(), now) };
        match read_answer(answer.status, &answer.body, &asked.note, &one.key) {
            Ok(Answer::Cosigned(line, seconds)) => {
                if let Place::Party(oin) = one.place {
                    let said = Timestamp(seconds.saturating_mul(SECOND.0));
                    self.sessions.past_mut(&oin).measure(asked.sent, (said, SECOND), self.accounts.clock);
                }
                let standing = one.standing(origin);
                (standing.latest, standing.failures) = (Some(asked.size), 0);
                one.heard |= grows;
                if grows {
                    self.cosigned(key, asked.size, line, now, turn);
                } else {
                    self.final_cosigned(key, asked, line, now, turn);
                }
            }
            Ok(Answer::Conflict(size)) if size > largest => {
                self.suspect(key, origin, Claim::SaysLarger { size, own: largest }, now);
            }
            Ok(Answer::Conflict(size)) if size == asked.old => {
                one.failed(origin, "names the very size it was asked from".into(), now);
            }
            Ok(Answer::Conflict(size)) => {
                let standing = one.standing(origin);
                standing.latest = Some(size);
                if standing.tries >= TRIES {
                    one.failed(origin, "names another size each time".into(), now);
                }
            }
            Ok(Answer::Inconsistent) => {
                self.suspect(key, origin, Claim::SaysOther { size: asked.size, old: asked.old }, now);
            }
            Ok(Answer::Refused(status)) => one.failed(origin, format!("answered {status}"), now),
            Err(error) => one.failed(origin, error.to_string(), now),
        }
    }

    /// A witness says what may mean that there are two histories. It does not prove it: whoever claims so without a
    /// signature of the log stops nothing but a start. Of a log that was left by hand that is no news.
    fn suspect(&mut self, key: &Key, origin: &str, claim: Claim, now: Timestamp) {
        let left = self.left_by_hand(origin);
        let Some(one) = self.witnesses.all.get_mut(key) else { return };
        one.failed(origin, claim.to_string(), now);
        if left {
            return;
        }
        one.suspect = Some(claim.to_string());
        one.heard = false;
        if self.start.is_holding() {
            self.start.contradicted(Contradiction { witness: one.name.clone(), claim, notes: Vec::new() });
        }
    }

    /// A witness cosigned a checkpoint of the log that grows.
    fn cosigned(&mut self, key: &Key, size: u64, line: NoteSignature, now: Timestamp, turn: &mut Turn) {
        if let Some(round) = self.witnesses.round.as_mut().filter(|round| round.size == size) {
            round.lines.insert(*key, line);
            self.count_quorums(now, turn);
        }
    }

    /// Takes in which quorums the round reached.
    fn count_quorums(&mut self, now: Timestamp, turn: &mut Turn) {
        let Some(round) = &self.witnesses.round else { return };
        let origin = self.origin().to_owned();
        let mut reached = Vec::new();
        for (hash, asking) in &mut self.witnesses.asking {
            let Some(note) = round.witnessed(&asking.policy) else { continue };
            let known = self.state.witnessed.get(&(*hash, origin.clone()));
            let same = known.filter(|known| known.size == round.size && known.reached >= round.started);
            asking.more |= same.is_some() && asking.kept >= round.started;
            let row = WitnessedRow { size: round.size, reached: same.map_or(now, |row| row.reached), note };
            let keep = known
                .is_none_or(|known| known.size < round.size || asking.kept.plus(KEEP_AGAIN) <= row.reached);
            reached.push((*hash, row, keep, same.is_none()));
        }
        for (covenant, row, keep, first) in reached {
            if keep {
                self.keep_witnessed(covenant, &origin, row.clone(), turn);
            } else {
                self.state.witnessed.insert((covenant, origin.clone()), row.clone());
            }
            if first {
                self.tell_witnessed(covenant, &row, turn);
            }
        }
    }

    fn keep_witnessed(&mut self, covenant: Digest, origin: &str, row: WitnessedRow, turn: &mut Turn) {
        let grows = self.witnesses.grows(origin);
        if let Some(asking) = self.witnesses.asking.get_mut(&covenant).filter(|_| grows) {
            asking.kept = row.reached;
        }
        let origin = origin.to_owned();
        let day = u32::try_from(row.reached.0.checked_div(DAY).unwrap_or_default()).unwrap_or(u32::MAX);
        let days = (origin.clone(), covenant, 0)..=(origin.clone(), covenant, u32::MAX);
        let last = self.state.witnessed_days.range(days).next_back().map(|((_, _, last), _)| *last);
        if last.is_none_or(|last| last < day) {
            let (origin, row) = (origin.clone(), Box::new(row.clone()));
            self.record(turn, Write::WitnessedDay { covenant, origin, day, row });
        }
        self.record(turn, Write::Witnessed { covenant, origin, row: Box::new(row) });
    }

    /// Writes down what came in after a quorum was reached.
    fn keep_more(&mut self, turn: &mut Turn) {
        let origin = self.origin().to_owned();
        let more: Vec<Digest> = {
            let asking = self.witnesses.asking.iter_mut();
            asking.filter_map(|(hash, one)| core::mem::take(&mut one.more).then_some(*hash)).collect()
        };
        for covenant in more {
            if let Some(row) = self.state.witnessed.get(&(covenant, origin.clone())).cloned() {
                self.keep_witnessed(covenant, &origin, row, turn);
            }
        }
    }

    fn tell_witnessed(&mut self, covenant: Digest, row: &WitnessedRow, turn: &mut Turn) {
        let parties = self.witnesses.asking.get(&covenant).map(|asking| asking.parties.clone());
        for oin in parties.unwrap_or_default() {
            if let Some((conn, _)) = self.sessions.serving(&oin) {
                let witnessed = Witnessed { covenant, note: row.note.clone() };
                turn.send(Send::Witnessed { conn, witnessed });
            }
        }
    }

    /// A session is open: its agent is a witness from now on, and is told the newest quorums.
    pub(crate) fn heard_from(
        &mut self,
        (conn, peer): (ConnId, &Oin),
        heard: &Heard,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        if self.sessions.get(conn).is_none() {
            return;
        }
        self.know_witnesses(now);
        self.witnesses.hear(peer, heard);
        let of_peer = self.witnesses.asking.iter().filter(|(_, asking)| asking.parties.contains(peer));
        let of_peer: Vec<Digest> = of_peer.map(|(hash, _)| *hash).collect();
        for covenant in of_peer {
            if let Some(row) = self.state.witnessed.get(&(covenant, self.origin().to_owned())) {
                let witnessed = Witnessed { covenant, note: row.note.clone() };
                turn.send(Send::Witnessed { conn, witnessed });
            }
        }
    }
}
