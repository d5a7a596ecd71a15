//! This agent as a witness: it cosigns the trees of the exchange log that it saw continue, and looks itself whether as
//! many others did as its covenants ask.
//!
//! What it cosigned is durable before the answer goes out, and what it pinned counts as if it had been cosigned: it never
//! cosigns two roots for one size, nor a smaller tree after a larger one.

use std::collections::BTreeMap;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::witnesses::{party_witness, witness_name};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::tlog::policy::Policy;
use seinhuis_shared::tlog::witness::{Accepted, Head, KnownLog, OK, Refused, Request, add_checkpoint};
use seinhuis_shared::wire::{Cosigned, Witnessed};

use crate::engine::Core;
use crate::ports::Ports;
use crate::rows::{AlarmKind, CosignedRow, Write};
use crate::trust::{Fork, Signed};
use crate::turn::{Send, Turn};

/// How old the newest quorum may become, while a session is open, before somebody has to look.
pub(crate) const QUORUM_AGE: Span = Span::minutes(15);
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
    /// Size of the largest tree that was cosigned so, and the time of the oldest of its cosignatures.
    pub newest: Option<(u64, Timestamp)>,
    /// Whether it is too old at the moment asked for.
    pub stale: bool,
}

/// What this agent cosigned, and what others did.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    cosigned: BTreeMap<String, CosignedRow>,
    newest: BTreeMap<Digest, (u64, Timestamp)>,
    /// Since when a session is open.
    since: Timestamp,
}

impl Watching {
    pub(crate) fn restore(&mut self, origin: String, row: CosignedRow) {
        self.cosigned.insert(origin, row);
    }

    /// A session begins: what others cosigned is about to be told.
    pub(crate) const fn session(&mut self, now: Timestamp) {
        self.since = now;
    }

    /// Another log grows: of that one nobody cosigned anything yet.
    pub(crate) fn another_log(&mut self, now: Timestamp) {
        self.newest.clear();
        self.since = now;
    }

    fn head(&self, origin: &str) -> Head {
        self.cosigned.get(origin).map_or_else(Head::default, |row| Head { size: row.size, root: row.root })
    }
}

impl Core {
    /// The largest checkpoint this agent cosigned for its broker's log, as the log signed it; empty if there is none.
    pub fn cosigned_note(&self) -> Bytes {
        self.watching.cosigned.get(&self.trust.log().origin).map(|row| row.note.clone()).unwrap_or_default()
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
    ) -> Result<(u16, String), (u16, String)> {
        let (secret, oin) = (ports.witness.ok_or((NO_WITNESS, String::new()))?, self.settings.oin);
        let key =
            party_witness(&oin, &secret.public().to_bytes()).map_err(|_| (NO_WITNESS, String::new()))?;
        let log = self.trust.log().clone();
        let known = [KnownLog { origin: log.origin.clone(), keys: vec![log.key] }];
        let latest = self.latest(&log.origin);
        let accepted = add_checkpoint(request, &known, |_| latest).map_err(|refused| {
            self.contradicted(&refused, request, &latest, now, turn);
            (refused.status(), refused.body())
        })?;
        self.keep_cosigned(&accepted, &known, &latest, now, turn)?;
        let line = accepted.answer(&key, now.0.wrapping_div(1000), |bytes| secret.sign(bytes));
        let line = line.ok_or((NOT_NOW, String::new()))?;
        Ok((OK, format!("{line}\n")))
    }

    /// The largest tree that was cosigned or proved to continue what was.
    fn latest(&self, origin: &str) -> Head {
        let cosigned = self.watching.head(origin);
        match self.trust.pinned() {
            Some((pin, _)) if pin.size > cosigned.size && !self.trust.waits(cosigned.size) => pin,
            _ => cosigned,
        }
    }

    /// Has what is about to be cosigned made durable, in this turn.
    fn keep_cosigned(
        &mut self,
        accepted: &Accepted,
        known: &[KnownLog],
        latest: &Head,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), (u16, String)> {
        if self.trust.forked() {
            return Err((seinhuis_shared::tlog::witness::INCONSISTENT, String::new()));
        }
        let note = accepted.own_note(known).map_err(|_| (NOT_NOW, String::new()))?;
        let note = Bytes(note.to_string().into_bytes());
        let signed = Signed { checkpoint: accepted.checkpoint.clone(), note: note.clone() };
        let continued = self.trust.continued(latest, &signed, now);
        self.settle(continued, now, turn);
        if self.trust.forked() {
            return Err((seinhuis_shared::tlog::witness::INCONSISTENT, String::new()));
        }
        if !self.trust.remembers(&signed) {
            return Err((NOT_NOW, String::new()));
        }
        let origin = accepted.checkpoint.origin().to_owned();
        if self.watching.cosigned.get(&origin).is_none_or(|row| row.size != accepted.head.size) {
            let row = CosignedRow { size: accepted.head.size, root: accepted.head.root, note };
            turn.writes.push(Write::Cosigned(origin.clone(), Box::new(row.clone())));
            self.watching.cosigned.insert(origin, row);
        }
        Ok(())
    }

    /// Keeps the evidence when the log signed a tree that does not continue the one before.
    fn contradicted(
        &mut self,
        refused: &Refused,
        request: &[u8],
        latest: &Head,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let (Refused::Inconsistent(error), Some(asked)) = (refused, Request::parse(request)) else { return };
        if latest.size == 0 {
            return;
        }
        let own = match self.trust.pinned() {
            Some((pin, note)) if pin.size == latest.size => note.clone(),
            _ => self.cosigned_note(),
        };
        let fork = Fork {
            detail: format!(
                "asked to cosign what does not continue {} ({}): {error}",
                latest.size, latest.root
            ),
            notes: vec![own, Bytes(asked.note.to_string().into_bytes())],
        };
        self.settle(Err(fork), now, turn);
    }

    /// Takes in a checkpoint that is said to be witnessed, if it is.
    pub(crate) fn take_witnessed(&mut self, told: &Witnessed, now: Timestamp, turn: &mut Turn) {
        if !self.connected {
            // Still on the way to the log it is of.
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
        let size = signed.checkpoint.size();
        // Only against what is known: a quorum is no reason to ask for a proof of its own.
        if let Err(fork) = self.trust.contradicts(&signed) {
            return self.settle(Err(fork), now, turn);
        }
        let oldest = judged.cosigned.iter().map(|(_, seconds)| seconds.saturating_mul(1000)).min();
        // A clock that runs ahead makes no quorum younger than now.
        let at = Timestamp(oldest.unwrap_or_default()).min(now);
        let newest = self.watching.newest.entry(told.covenant).or_insert((size, at));
        if (newest.0, newest.1) < (size, at) {
            *newest = (size, at);
        }
    }

    /// How the quorums stand that covenants in force ask.
    pub(crate) fn quorums(&self, now: Timestamp) -> Vec<Quorum> {
        let asking = self.agreed.bound().filter(|one| one.in_force(now));
        let asking = asking.filter(|one| one.compiled().covenant().asks_quorum());
        asking
            .map(|one| {
                let covenant = one.compiled().hash();
                let newest = self.watching.newest.get(&covenant).copied();
                let since = newest.map_or(self.watching.since, |(_, at)| at.max(self.watching.since));
                let wanted = one.compiled().covenant().witness_quorum;
                Quorum { covenant, wanted, newest, stale: self.connected && since.plus(QUORUM_AGE) < now }
            })
            .collect()
    }

    /// Tells when a quorum is too old.
    pub(crate) fn watch_quorum(&mut self, now: Timestamp, turn: &mut Turn) {
        for quorum in self.quorums(now).into_iter().filter(|quorum| quorum.stale) {
            let last =
                quorum.newest.map_or_else(|| "none yet".to_owned(), |(size, at)| format!("{size} at {at}"));
            let detail =
                format!("no quorum of {} under {}; the last: {last}", quorum.wanted, quorum.covenant);
            self.alarm(AlarmKind::Unwitnessed, detail, now, turn);
        }
    }

    /// The name and public half with which this agent cosigns.
    pub fn witness_name(&self) -> String {
        witness_name(&self.settings.oin)
    }
}

/// A note with the lines of the log alone: cosignatures are no part of what the log can be held to.
fn own_lines(note: &Note, key: &seinhuis_shared::tlog::note::VerifierKey) -> Bytes {
    let own = note.signatures().iter().filter(|line| line.id() == key.id() && line.name() == key.name());
    let own = Note::new(note.text(), own.cloned().collect());
    Bytes(own.map(|own| own.to_string().into_bytes()).unwrap_or_default())
}
