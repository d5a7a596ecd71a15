//! How an agent comes from one exchange log to the next: by itself where both prove it and the end extends what is
//! believed, by a person's word where it does not.
//!
//! A broker that was put back from before the log this agent is with does not know that log. Then the logs before it
//! are asked about, newest first: what follows on one of them is proved as anything else, contradicts what this agent
//! knows of how that log ended, and so waits for a person.

use std::collections::VecDeque;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::limits::{INFLIGHT_BYTES, INFLIGHT_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::succession::{self, Cause, Succession};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::proof::verify_consistency;
use seinhuis_shared::wire::{self, Known, Offer, Welcome};

use crate::engine::Core;
use crate::logs::Logs;
use crate::minimise::Rejection;
use crate::ports::Ports;
use crate::rows::{AlarmKind, PinRow};
use crate::trust::{Fork, PROOF_WAIT, Signed, Trust};
use crate::turn::{Send, Turn};

/// Ticks after which a question about a succession that was not answered is asked again.
const AGAIN: u8 = 30;

/// A log that follows on one this agent knows, which a person can accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedLog {
    /// The log it follows on.
    pub old: String,
    /// What this agent believes of that one.
    pub pin: Option<PinRow>,
    /// How many entries that log has in the end, by the broker.
    pub last: u64,
    /// Whether these are proved to extend what this agent believes. If not, entries this agent has seen are gone.
    pub consistent: bool,
    /// The log that follows.
    pub new: String,
    /// Whether the operator began it by hand; otherwise a year was over.
    pub by_hand: bool,
    /// Logs that this agent came to after the old one, and that the broker does not know, from the first.
    pub unknown: Vec<String>,
}

/// A succession that is proved.
#[derive(Debug)]
pub(crate) struct Way {
    /// The place, among all logs, of the one that is followed on.
    pub(crate) place: usize,
    pub(crate) proved: Succession,
    /// Why the end of that log does not extend what is believed of it, if it does not.
    pub(crate) fork: Option<Fork>,
}

/// On the way from one log to the next.
#[derive(Debug)]
pub(crate) struct Following {
    /// The welcome of this session, which is of a later log.
    welcome: Welcome,
    /// The place of the log that is asked about.
    place: usize,
    /// Ticks since the question; none while no answer is waited for.
    asked: Option<u8>,
    /// Since when this session owes an answer about the log that is asked about.
    since: Timestamp,
    /// What was proved, and waits for a person.
    offered: Option<(OfferedLog, Box<Way>)>,
    /// Packets that came meanwhile, with their length together.
    held: VecDeque<Offer>,
    bytes: usize,
}

/// Checks the broker's answer about what followed on the log at a place; what is not proved, in words.
fn check(logs: &Logs, answer: &wire::Succession, place: usize) -> Result<Way, String> {
    let old = logs.at(place);
    let new = succession::log_key(&answer.origin, old.log()).map_err(|error| error.to_string())?;
    if logs.with_origin(&new.origin).is_some() {
        return Err(format!("{} is a log this agent was with before", new.origin));
    }
    let proved = succession::verify((&answer.closing, &answer.opening), old.log(), &new)
        .map_err(|error| error.to_string())?;
    let fork = contradiction(old, &proved, &answer.proof);
    Ok(Way { place, proved, fork })
}

/// Why the final checkpoint of a log does not extend what is believed of it; nothing when it does.
fn contradiction(old: &Trust, proved: &Succession, proof: &[Digest]) -> Option<Fork> {
    let (size, root) = (proved.last.size(), proved.last.root());
    let fork = |detail: String, note: &Bytes| Fork {
        detail,
        notes: [note.clone(), Bytes(proved.last_note.clone())],
    };
    if let Some((waits, note)) = old.waits_beyond(size, root) {
        return Some(fork(format!("closed at {size} entries ({root}), but signed one of {waits}"), &note));
    }
    let pin = old.pin().filter(|pin| pin.size > 0)?;
    if old.has_ended() && (pin.size, pin.root) != (size, *root) {
        let origin = &old.log().origin;
        let detail =
            format!("{origin} ended with {} entries ({}), and with {size} ({root})", pin.size, pin.root);
        return Some(fork(detail, old.note()));
    }
    let proof = if pin.size == size { &[] } else { proof };
    let error = verify_consistency(pin.size, size, proof, &pin.root, root).err()?;
    let detail = format!("no proof from {} ({}) to the last {size} ({root}): {error}", pin.size, pin.root);
    Some(fork(detail, old.note()))
}

impl Core {
    /// A log that a person can accept, in this session: begun by hand, or followed on one that was caught.
    pub fn offered_log(&self) -> Option<&OfferedLog> {
        self.following.as_ref()?.offered.as_ref().map(|(offered, _)| offered)
    }

    /// The origins of all logs, from the first, with what is believed of each.
    pub fn logs(&self) -> impl Iterator<Item = (&str, Option<PinRow>)> {
        self.trust.known()
    }

    /// The broker is with a later log than this agent: it has to prove how it came there.
    pub(crate) fn follow_to(&mut self, welcome: Welcome, now: Timestamp, turn: &mut Turn) {
        let place = self.trust.newest_place();
        self.following = Some(Following {
            welcome,
            place,
            asked: None,
            since: now,
            offered: None,
            held: VecDeque::new(),
            bytes: 0,
        });
        self.ask_succession(turn);
    }

    fn ask_succession(&mut self, turn: &mut Turn) {
        let Some(following) = &mut self.following else { return };
        following.asked = Some(0);
        let log = self.trust.at(following.place);
        let size = log.pin().map_or(0, |pin| pin.size);
        turn.sends.push(Send::FetchSuccession { origin: log.log().origin.clone(), size });
    }

    /// Time passes: a question that was not answered is asked again, of the newest log first.
    pub(crate) fn follow_on(&mut self, turn: &mut Turn) {
        let Some(following) = &mut self.following else { return };
        let Some(ticks) = following.asked.as_mut() else { return };
        *ticks = ticks.saturating_add(1);
        if *ticks >= AGAIN {
            following.place = self.trust.newest_place();
            self.ask_succession(turn);
        }
    }

    /// Keeps a packet that came before this agent is with the broker's log. Gives it back when it is.
    pub(crate) fn hold_back(&mut self, offer: Offer) -> Option<Offer> {
        let Some(following) = &mut self.following else { return Some(offer) };
        let bytes = following.bytes.saturating_add(offer.packet.len());
        // A broker has no more than this under way; what comes beyond it is offered again in the next session.
        if following.held.len() < INFLIGHT_MAX && (following.held.is_empty() || bytes <= 2 * INFLIGHT_BYTES) {
            following.bytes = bytes;
            following.held.push_back(offer);
        }
        None
    }

    /// The broker's answer about what followed on a log, or a refusal's number.
    pub(crate) fn succeeded(
        &mut self,
        answer: Result<Box<wire::Succession>, u16>,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let Some(following) = self.following.as_mut().filter(|following| following.asked.is_some()) else {
            return;
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(number) => return self.not_followed(number, now, turn),
        };
        following.asked = None;
        let (wanted, place) = (following.welcome.origin.clone(), following.place);
        let way = match check(&self.trust, &answer, place) {
            Ok(way) => way,
            Err(detail) => {
                return self.alarm(AlarmKind::OtherLog, format!("{wanted}: {detail}"), now, turn);
            }
        };
        // A log that was caught is left by hand alone, and so is one the broker does not know.
        let trusted = place == self.trust.newest_place() && !self.trust.forked();
        if trusted && way.proved.cause == Cause::Year {
            match &way.fork {
                None => return self.go_on(&way, None, now, ports, turn),
                Some(fork) => self.settle(Err(fork.clone()), now, turn),
            }
        }
        self.offer_log(way, now, turn);
    }

    /// The broker did not show what followed. When it does not know the log at all, the one before it is asked about.
    /// It is asked again after a while in any case; somebody has to look when the refusal does not pass by itself, or
    /// when no answer comes for long.
    fn not_followed(&mut self, number: u16, now: Timestamp, turn: &mut Turn) {
        let Some(following) = &mut self.following else { return };
        if number == Refusal::UnknownLog.number() && following.place > 0 {
            following.place = following.place.saturating_sub(1);
            return self.ask_succession(turn);
        }
        let (wanted, old) = (&following.welcome.origin, &self.trust.log().origin);
        let detail = format!("{wanted}: the broker does not show that it follows on {old}");
        let passing = Refusal::from_number(number).is_some_and(Refusal::is_passing);
        if !passing {
            self.alarm(AlarmKind::OtherLog, detail, now, turn);
        } else if following.since.plus(PROOF_WAIT) < now {
            // A broker that is busy, or a connection that went silent, says nothing about the log; for so long it does.
            self.alarm(AlarmKind::LogUnproven, detail, now, turn);
        }
    }

    /// Leaves to a person whether to go on with a log that is proved to follow.
    fn offer_log(&mut self, way: Way, now: Timestamp, turn: &mut Turn) {
        let (old, by_hand) = (self.trust.at(way.place), way.proved.cause == Cause::NewOrigin);
        let offered = OfferedLog {
            old: old.log().origin.clone(),
            pin: old.pin(),
            last: way.proved.last.size(),
            consistent: way.fork.is_none(),
            new: way.proved.first.origin().to_owned(),
            by_hand,
            unknown: self.trust.keys().skip(way.place).skip(1).map(|log| log.origin.clone()).collect(),
        };
        let how = if by_hand { "was begun by hand" } else { "follows" };
        let detail = format!("{} {how} after {}: a person has to accept it", offered.new, offered.old);
        self.alarm(AlarmKind::OtherLog, detail, now, turn);
        if let Some(following) = &mut self.following {
            following.offered = Some((offered, Box::new(way)));
        }
    }

    /// A person accepts the log that is offered.
    ///
    /// # Errors
    /// [`Refusal::UnknownLog`] unless this session offers just that one.
    pub(crate) fn accept_origin(
        &mut self,
        origin: &str,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        let following = self.following.as_mut();
        let offered = following.and_then(|one| one.offered.take_if(|(offered, _)| offered.new == origin));
        let (offered, way) = offered.ok_or(Refusal::UnknownLog)?;
        let believed = offered.pin.map_or(0, |pin| pin.size);
        let mut detail = format!(
            "{origin} accepted by hand after {} ({believed} entries believed, {} taken over)",
            offered.old, offered.last
        );
        if !offered.unknown.is_empty() {
            detail = format!("{detail}; given up: {}", offered.unknown.join(", "));
        }
        self.alarm(AlarmKind::OtherLog, detail, now, turn);
        self.go_on(&way, Some(now), now, ports, turn);
        Ok(())
    }

    fn go_on(
        &mut self,
        way: &Way,
        by_hand: Option<Timestamp>,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        turn.writes.append(&mut self.trust.follow(way, by_hand, now));
        self.watching.another_log(now);
        let Some(mut following) = self.following.take() else { return };
        if following.welcome.origin != self.trust.log().origin {
            // There are more logs in between.
            following.place = self.trust.newest_place();
            following.since = now;
            self.following = Some(following);
            return self.ask_succession(turn);
        }
        self.welcomed(&following.welcome, now, ports, turn);
        if self.connected {
            for offer in following.held {
                self.offered(offer, now, ports, turn);
            }
        }
    }

    /// The broker says how the covenants stand. What it says while logs are followed takes the place of what its welcome
    /// said, which is taken in last.
    pub(crate) fn agreements_came(&mut self, known: Vec<Known>, now: Timestamp, turn: &mut Turn) {
        self.take_agreements(&known, now, turn);
        if let Some(following) = &mut self.following {
            following.welcome.agreements = known;
        }
    }

    /// Reads the checkpoint of a welcome to the current log.
    pub(crate) fn welcome_checkpoint(&self, welcome: &Welcome) -> Result<Signed, String> {
        let log = self.trust.log();
        Checkpoint::verify(&welcome.checkpoint, &log.origin, &log.key)
            .map(|checkpoint| Signed { checkpoint, note: welcome.checkpoint.clone() })
            .map_err(|error| error.to_string())
    }
}
