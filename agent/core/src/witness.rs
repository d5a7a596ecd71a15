//! This agent as a witness: it cosigns the trees of the exchange log that it saw continue, and looks itself whether as
//! many others did as its covenants ask, over trees of the history that it sees.
//!
//! Of a log that has ended it cosigns the final tree alone; any larger one is a fork.
//!
//! What it cosigned is durable before the answer goes out, and what it pinned counts as if it had been cosigned: it never
//! cosigns two roots for one size, nor a smaller tree after a larger one.

use std::collections::BTreeMap;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::agreement::Agreement;
use seinhuis_shared::covenant::witnesses::{party_witness, witness_name};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::checkpoint::{Checkpoint, origin_of};
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::tlog::policy::Policy;
use seinhuis_shared::tlog::witness::{
    Accepted, Head, INCONSISTENT, KnownLog, OK, Refused, Request, add_checkpoint,
};
use seinhuis_shared::wire::{Cosigned, Witnessed};

use crate::engine::Core;
use crate::ports::Ports;
use crate::rows::{AlarmKind, CosignedRow, Write};
use crate::trust::{Fork, Signed, Trust};
use crate::turn::{Send, Turn};

/// How old the newest quorum may become, while a session is open, before somebody has to look.
pub(crate) const QUORUM_AGE: Span = Span::minutes(15);
/// How often, under one covenant, a proof is asked of a tree because a quorum cosigned it.
const PROOF_EVERY: Span = Span::minutes(1);
/// The status of an answer that this agent cannot give now.
const NOT_NOW: u16 = 503;
/// The status of an answer by an agent that is no witness.
const NO_WITNESS: u16 = 404;

/// The newest quorum under a covenant, as this agent verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// The covenant version.
    pub covenant: Digest,
    /// How many parties it asks.
    pub wanted: u8,
    /// Size of the largest tree that was cosigned so and is proved to be of the history this agent believes, and the
    /// time of the oldest of its cosignatures.
    pub newest: Option<(u64, Timestamp)>,
    /// Whether it is too old at the moment asked for.
    pub stale: bool,
}

/// What was told of the quorums under one covenant.
#[derive(Debug, Default)]
struct Told {
    /// The newest over a tree of the history that this agent believes: its size and time.
    newest: Option<(u64, Timestamp)>,
    /// One over a tree that still has to be proved to be of that history. One at a time, so that a broker that tells
    /// of many takes no room from other checkpoints that wait.
    unproved: Option<(u64, Timestamp)>,
    /// When such a tree was last taken in, in this session.
    taken: Option<Timestamp>,
}

impl Told {
    fn renew(&mut self, told: (u64, Timestamp)) {
        self.newest = self.newest.max(Some(told));
    }

    /// Whether it is time for another tree of which a proof has to be asked.
    fn may_take(&self, now: Timestamp) -> bool {
        !self.taken.is_some_and(|at| at <= now && now < at.plus(PROOF_EVERY))
    }
}

/// What this agent cosigned, and what others did.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    cosigned: BTreeMap<String, CosignedRow>,
    told: BTreeMap<Digest, Told>,
    /// Since when a session is open.
    since: Timestamp,
}

impl Watching {
    pub(crate) fn restore(&mut self, origin: String, row: CosignedRow) {
        self.cosigned.insert(origin, row);
    }

    /// A session begins: what others cosigned is about to be told.
    pub(crate) fn session(&mut self, now: Timestamp) {
        self.since = now;
        for told in self.told.values_mut() {
            told.taken = None;
        }
    }

    /// Another log grows: of that one nobody cosigned anything yet.
    pub(crate) fn another_log(&mut self, now: Timestamp) {
        self.told.clear();
        self.since = now;
    }

    fn head(&self, origin: &str) -> Head {
        self.cosigned.get(origin).map_or_else(Head::default, |row| Head { size: row.size, root: row.root })
    }

    fn note(&self, origin: &str) -> Bytes {
        self.cosigned.get(origin).map(|row| row.note.clone()).unwrap_or_default()
    }
}

/// An answer that is no cosignature: a status and a body.
type Answer = (u16, String);

impl Core {
    /// The largest checkpoint this agent cosigned of the newest of its broker's logs of which it cosigned one, as the log
    /// signed it; empty if there is none. Of a log that has just begun nothing is cosigned yet: a broker whose store is
    /// put back from before that has to hear of the log before.
    pub fn cosigned_note(&self) -> Bytes {
        let notes = self.trust.keys().map(|log| self.watching.note(&log.origin));
        notes.filter(|note| !note.is_empty()).last().unwrap_or_default()
    }

    /// The trust policy (C2SP tlog-policy) of a covenant for the log of this agent's broker; none when it asks no quorum.
    pub fn witness_policy(&self, covenant: &Digest) -> Option<Policy> {
        let agreement = self.agreed.find(covenant).ok()?;
        agreement.compiled().covenant().witness_policy(&self.trust.log().key)
    }

    /// Answers a request to cosign. Whatever is cosigned is among the turn's writes.
    pub(crate) fn add_checkpoint(
        &mut self,
        request: &[u8],
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let answer = self.cosign(request, now, ports, turn);
        let (status, body) = answer.unwrap_or_else(|(status, body)| (status, body));
        turn.sends.push(Send::Cosigned(Cosigned { status, body: Bytes(body.into_bytes()) }));
    }

    fn cosign(
        &mut self,
        request: &[u8],
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<Answer, Answer> {
        let (secret, oin) = (ports.witness.ok_or((NO_WITNESS, String::new()))?, self.settings.oin);
        let key =
            party_witness(&oin, &secret.public().to_bytes()).map_err(|_| (NO_WITNESS, String::new()))?;
        let known = |log: &LogKey| KnownLog { origin: log.origin.clone(), keys: vec![log.key.clone()] };
        let known: Vec<KnownLog> = self.trust.keys().map(known).collect();
        let asked = Request::parse(request);
        let origin = asked.as_ref().map(|asked| origin_of(asked.note.text().as_bytes()));
        let latest = self.latest(origin.unwrap_or_default()).ok_or((NOT_NOW, String::new()))?;
        let accepted = add_checkpoint(request, &known, |_| latest).map_err(|refused| {
            let caught = asked.is_some_and(|asked| self.contradicted(&refused, &asked, &latest, now, turn));
            if caught { inconsistent() } else { (refused.status(), refused.body()) }
        })?;
        self.keep_cosigned(&accepted, &known, &latest, now, turn)?;
        let line = accepted.answer(&key, now.0.wrapping_div(1000), |bytes| secret.sign(bytes));
        let line = line.ok_or((NOT_NOW, String::new()))?;
        Ok((OK, format!("{line}\n")))
    }

    /// The largest tree of a log that was cosigned or pinned. None while it is not known whether the one continues the
    /// other: a proof is owed.
    fn latest(&self, origin: &str) -> Option<Head> {
        let cosigned = self.watching.head(origin);
        let Some(log) = self.trust.with_origin(origin) else { return Some(cosigned) };
        match log.pinned() {
            Some(_) if log.waits(cosigned.size) => None,
            Some((pin, _)) if pin.size > cosigned.size => Some(pin),
            _ => Some(cosigned),
        }
    }

    /// Whether nothing of this log is cosigned: it was caught, or the one that grows was.
    fn is_caught(&self, origin: &str) -> bool {
        self.trust.forked() || self.trust.with_origin(origin).is_some_and(Trust::forked)
    }

    /// Has what is about to be cosigned made durable, in this turn.
    fn keep_cosigned(
        &mut self,
        accepted: &Accepted,
        known: &[KnownLog],
        latest: &Head,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Answer> {
        let origin = accepted.checkpoint.origin().to_owned();
        if self.is_caught(&origin) {
            return Err(inconsistent());
        }
        let note = accepted.own_note(known).map_err(|_| (NOT_NOW, String::new()))?;
        let note = Bytes(note.to_string().into_bytes());
        let signed = Signed { checkpoint: accepted.checkpoint.clone(), note: note.clone() };
        let continued = self.trust.continued(latest, &signed, now);
        self.settle(continued, now, turn);
        if self.is_caught(&origin) {
            return Err(inconsistent());
        }
        if !self.trust.remembers(&signed) {
            return Err((NOT_NOW, String::new()));
        }
        if self.watching.cosigned.get(&origin).is_none_or(|row| row.size != accepted.head.size) {
            let row = CosignedRow { size: accepted.head.size, root: accepted.head.root, note };
            turn.writes.push(Write::Cosigned(origin.clone(), Box::new(row.clone())));
            self.watching.cosigned.insert(origin, row);
        }
        Ok(())
    }

    /// Keeps the evidence when the log signed a tree that does not continue the one before, or one beyond its end.
    /// Tells whether it did.
    fn contradicted(
        &mut self,
        refused: &Refused,
        asked: &Request,
        latest: &Head,
        now: Timestamp,
        turn: &mut Turn,
    ) -> bool {
        let origin = origin_of(asked.note.text().as_bytes());
        let Some(log) = self.trust.with_origin(origin).filter(|log| !(log.has_ended() && log.forked()))
        else {
            return false;
        };
        let note = own_lines(&asked.note, &log.log().key);
        let fork = match refused {
            Refused::Inconsistent(error) if latest.size > 0 => {
                let own = match log.pinned() {
                    Some((pin, note)) if pin.size == latest.size => note.clone(),
                    _ => self.watching.note(origin),
                };
                let (size, root) = (latest.size, latest.root);
                let detail = format!("asked to cosign what does not continue {size} ({root}): {error}");
                Fork { detail, notes: [own, note] }
            }
            // Its signature counts, whatever was asked with it.
            Refused::Conflict(_) if log.has_ended() => {
                let checkpoint = Checkpoint::parse(asked.note.text()).ok();
                let beyond = checkpoint.filter(|one| log.pin().is_some_and(|pin| one.size() > pin.size));
                let Some(checkpoint) = beyond else { return false };
                let Err(fork) = self.trust.observe(&Signed { checkpoint, note }, now) else { return false };
                fork
            }
            Refused::Inconsistent(_)
            | Refused::Conflict(_)
            | Refused::Malformed
            | Refused::Unsigned(_)
            | Refused::UnknownLog(_) => return false,
        };
        self.settle(Err(fork), now, turn);
        true
    }

    /// Takes in a checkpoint that is said to be witnessed, if it is.
    pub(crate) fn take_witnessed(&mut self, told: &Witnessed, now: Timestamp, turn: &mut Turn) {
        if !self.connected {
            // Still on the way to the log it is of.
            return;
        }
        if self.agreed.find(&told.covenant).is_err() {
            // Of a version that is not here yet nothing can be judged; the next quorum is told as well.
            return;
        }
        let judged = self.witness_policy(&told.covenant).and_then(|policy| {
            let judged = policy.judge(&Note::parse(&told.note).ok()?).ok()?;
            judged.witnessed.then_some(judged)
        });
        let Some(judged) = judged else {
            let detail = format!("the broker gives a quorum under {} that is none", told.covenant);
            return self.alarm(AlarmKind::Unwitnessed, detail, now, turn);
        };
        let Ok(note) = Note::parse(&told.note) else { return };
        let signed = Signed { checkpoint: judged.checkpoint, note: own_lines(&note, &self.trust.log().key) };
        if let Err(fork) = self.trust.contradicts(&signed) {
            return self.settle(Err(fork), now, turn);
        }
        if self.trust.forked() || !self.asking(now).any(|one| one.compiled().hash() == told.covenant) {
            return;
        }
        let oldest = judged.cosigned.iter().map(|(_, seconds)| seconds.saturating_mul(1000)).min();
        // A clock that runs ahead makes no quorum younger than now.
        let at = Timestamp(oldest.unwrap_or_default()).min(now);
        self.take_quorum(told.covenant, &signed, at, now, turn);
    }

    /// Takes in a quorum that was verified. It counts once its tree is proved to be of the history this agent believes:
    /// a quorum that sides with the broker cosigns whatever it is shown.
    fn take_quorum(
        &mut self,
        covenant: Digest,
        signed: &Signed,
        at: Timestamp,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let size = signed.checkpoint.size();
        let (pinned, waits) = (self.trust.is_pinned(signed), self.trust.waits(size));
        let told = self.watching.told.entry(covenant).or_default();
        if pinned {
            return told.renew((size, at));
        }
        if let Some((_, renewed)) = told.unproved.as_mut().filter(|(of, _)| *of == size) {
            *renewed = at.max(*renewed);
            return;
        }
        if told.unproved.is_some() {
            return;
        }
        // What waits already costs nothing more.
        if !waits {
            if !told.may_take(now) {
                return;
            }
            told.taken = Some(now);
        }
        if self.observe(signed, now, turn) {
            let told = self.watching.told.entry(covenant).or_default();
            told.unproved = Some((size, at));
            self.quorums_proved();
        }
    }

    /// Proofs came: the quorums over trees that do not wait for one any more count.
    pub(crate) fn quorums_proved(&mut self) {
        for told in self.watching.told.values_mut() {
            if let Some(proved) = told.unproved.take_if(|(size, _)| !self.trust.waits(*size)) {
                told.renew(proved);
            }
        }
    }

    /// The covenants in force that ask a quorum.
    fn asking(&self, now: Timestamp) -> impl Iterator<Item = &Agreement> {
        let bound = self.agreed.bound().filter(move |one| one.in_force(now));
        bound.filter(|one| one.compiled().covenant().asks_quorum())
    }

    /// How the quorums stand that covenants in force ask.
    pub(crate) fn quorums(&self, now: Timestamp) -> Vec<Quorum> {
        self.asking(now)
            .map(|one| {
                let covenant = one.compiled().hash();
                let newest = self.watching.told.get(&covenant).and_then(|told| told.newest);
                let since = newest.map_or(self.watching.since, |(_, at)| at.max(self.watching.since));
                let wanted = one.compiled().covenant().witness_quorum;
                Quorum { covenant, wanted, newest, stale: self.connected && since.plus(QUORUM_AGE) < now }
            })
            .collect()
    }

    /// Tells when a quorum is too old.
    pub(crate) fn watch_quorum(&mut self, now: Timestamp, turn: &mut Turn) {
        for quorum in self.quorums(now).into_iter().filter(|quorum| quorum.stale) {
            // Without the last one, which the status shows: the same trouble with another last one would be an alarm more, and
            // many of them leave no room for others.
            let detail = format!("no quorum of {} under {}", quorum.wanted, quorum.covenant);
            self.alarm(AlarmKind::Unwitnessed, detail, now, turn);
        }
    }

    /// The name and public half with which this agent cosigns.
    pub fn witness_name(&self) -> String {
        witness_name(&self.settings.oin)
    }
}

/// The answer to what does not continue, and of a log that was caught.
fn inconsistent() -> Answer {
    (INCONSISTENT, String::new())
}

/// A note with the lines of the log alone: cosignatures are no part of what the log can be held to.
fn own_lines(note: &Note, key: &seinhuis_shared::tlog::note::VerifierKey) -> Bytes {
    let own = note.signatures().iter().filter(|line| line.id() == key.id() && line.name() == key.name());
    let own = Note::new(note.text(), own.cloned().collect());
    Bytes(own.map(|own| own.to_string().into_bytes()).unwrap_or_default())
}
