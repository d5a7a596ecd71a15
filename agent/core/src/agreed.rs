//! Covenants as this agent holds them: what the parties said, checked by itself, and what its own
//! organisation says.
//!
//! A version counts here only once this organisation has accepted it with this agent's own key: that
//! signature is what pins the document, and with it everybody else's keys. Until then a version is a text to
//! review. What this organisation says is kept and signed when there is a broker to hear it; a withdrawal
//! holds in this agent from the moment it is given. Packets that came in wait here for votes, and for the
//! decisions about their case.

mod own;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use seinhuis_shared::case;
use seinhuis_shared::covenant::agreement::{Cast, Standing, Vote, Word};
use seinhuis_shared::covenant::{Agreement, Agreements, Compiled, Covenant, Permit, Question};
use seinhuis_shared::ids::{CaseId, Digest, Oin, Thumbprint};
use seinhuis_shared::limits::{AGREEMENTS_MAX, INFLIGHT_BYTES, INFLIGHT_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::{Keys, Rotated};
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::{Known, Offer};

pub(crate) use own::passing;

use crate::cases::Cases;
use crate::engine::Core;
use crate::inbox::Arrival;
use crate::ports::Ports;
use crate::rows::{AlarmKind, ProposalRow, WordRow, Write};
use crate::turn::{Send, Turn};

/// Most versions kept that this organisation has not accepted, so that a hostile broker cannot fill the disk.
pub(crate) const UNSIGNED_MAX: usize = 64;
/// Most versions asked for at a time.
const FETCHES: usize = 8;
/// How long before a version is asked for again, and a word said again.
const ASK_AGAIN: Span = Span::seconds(10);
/// How many ticks packets wait for the votes and decisions they may rest on, before they are judged by what is known: a
/// minute. Not by the clock: one that is set ahead ends no packet for want of an answer that is on its way.
const HOLD: u64 = 60;

/// Whether what was asked or said at `at` need not be repeated yet. A clock that was set back since says nothing of that.
pub(crate) fn just_now(at: Timestamp, now: Timestamp) -> bool {
    (at..at.plus(ASK_AGAIN)).contains(&now)
}

/// How many votes on a version are logged, and rotations in the lines of the keys it pins.
pub type Extent = (u32, u32);

fn wide(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A packet that waits, and what it may rest on.
#[derive(Debug)]
struct Held {
    /// The tick at which it came.
    since: u64,
    offer: Offer,
    covenant: Option<Digest>,
    case: Option<CaseId>,
}

impl Held {
    /// Keeps of a packet the bytes alone, which count for how much may be held: it is read again.
    fn new(arrival: Arrival, since: u64) -> Self {
        let (covenant, case) = arrival.rests_on();
        Self { since, covenant, case, offer: arrival.offer }
    }
}

/// The time at which what goes out under a version is judged. The log's time never goes back, so where this clock is
/// behind it is not sooner than the version was agreed.
fn not_before(agreement: &Agreement, now: Timestamp) -> Timestamp {
    agreement.complete().map_or(now, |complete| complete.max(now))
}

/// Covenants, votes and what is about to be said.
#[derive(Debug)]
pub struct Agreed {
    own: Oin,
    all: Agreements,
    words: BTreeMap<Digest, WordRow>,
    proposals: BTreeMap<Digest, ProposalRow>,
    /// How many votes the broker has on each version, and rotations of its keys.
    known: BTreeMap<Digest, Extent>,
    /// When each version was last asked for, and for how many votes and rotations.
    asked: BTreeMap<Digest, (Timestamp, Extent)>,
    /// Versions that are asked for whatever the broker told of them, since which tick: they may have a key that came up.
    doubted: BTreeMap<Digest, u64>,
    /// Versions of which rotations are known that the broker had not told of: it may tell of as many others.
    mixed: BTreeSet<Digest>,
    /// Parties for whose sake that was done, since the session began or there was news of their keys.
    sought: BTreeSet<Oin>,
    /// When each word was last said, and each proposal made.
    said: BTreeMap<Digest, Timestamp>,
    /// The cases under them.
    pub(crate) cases: Cases,
    /// Packets that wait for votes or decisions, in order.
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Ticks since the start.
    ticks: u64,
}

impl Agreed {
    pub(crate) fn new(own: Oin) -> Self {
        Self {
            own,
            all: Agreements::default(),
            words: BTreeMap::new(),
            proposals: BTreeMap::new(),
            known: BTreeMap::new(),
            asked: BTreeMap::new(),
            doubted: BTreeMap::new(),
            mixed: BTreeSet::new(),
            sought: BTreeSet::new(),
            cases: Cases::default(),
            said: BTreeMap::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            ticks: 0,
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self) {
        self.ticks = self.ticks.saturating_add(1);
    }

    /// Every version, accepted or not.
    pub fn all(&self) -> impl Iterator<Item = &Agreement> {
        self.all.iter()
    }

    /// What this organisation said of a version and the broker has not logged yet; with its refusal.
    pub fn word(&self, hash: &Digest) -> Option<&WordRow> {
        self.words.get(hash)
    }

    /// A version this organisation proposed that the broker has not logged yet; with its refusal.
    pub fn proposal(&self, hash: &Digest) -> Option<&ProposalRow> {
        self.proposals.get(hash)
    }

    /// Any version.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`].
    pub fn find(&self, hash: &Digest) -> Result<&Agreement, Refusal> {
        self.all.get(hash)
    }

    /// A version this organisation accepted.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`], [`Refusal::NotSigned`].
    pub fn get(&self, hash: &Digest) -> Result<&Agreement, Refusal> {
        let agreement = self.all.get(hash)?;
        if self.accepted(agreement) { Ok(agreement) } else { Err(Refusal::NotSigned) }
    }

    /// A version this organisation accepted and does not withdraw from.
    pub(crate) fn standing_by(&self, hash: &Digest) -> Result<&Agreement, Refusal> {
        if self.is_leaving(hash) { Err(Refusal::NotSigned) } else { self.get(hash) }
    }

    /// Every version this organisation accepted.
    pub fn mine(&self) -> impl Iterator<Item = &Agreement> {
        self.all.iter().filter(|one| self.accepted(one))
    }

    /// Every version that everybody who has to has accepted, and by which this organisation is bound and is not
    /// about to be no longer.
    pub(crate) fn bound(&self) -> impl Iterator<Item = &Agreement> {
        self.all.iter().filter(|one| {
            one.effective().is_some()
                && !self.is_leaving(&one.compiled().hash())
                && matches!(one.standing(self.own), Some(Standing::Accepted(_)))
        })
    }

    /// Whether any version is in force by which this organisation is bound.
    pub(crate) fn is_bound(&self, now: Timestamp) -> bool {
        self.bound().any(|one| one.in_force(not_before(one, now)))
    }

    /// Of each covenant that fits, the newest version in force by which this organisation is bound.
    pub(crate) fn newest(&self, now: Timestamp, fits: impl Fn(&Covenant) -> bool) -> Vec<&Agreement> {
        let mut newest: BTreeMap<&str, &Agreement> = BTreeMap::new();
        let usable = |one: &&Agreement| one.in_force(not_before(one, now)) && fits(one.compiled().covenant());
        for one in self.bound().filter(usable) {
            let covenant = one.compiled().covenant();
            let best = newest.entry(&covenant.id).or_insert(one);
            if best.compiled().covenant().version < covenant.version {
                *best = one;
            }
        }
        newest.into_values().collect()
    }

    /// Whether this organisation withdraws from a version, also when the broker has not heard so yet.
    pub(crate) fn is_leaving(&self, hash: &Digest) -> bool {
        self.words.get(hash).is_some_and(|row| row.word == Word::Withdraw)
    }

    /// Whether a version is one to keep: it names this organisation, and it follows one that this organisation
    /// accepted or there is room for it.
    fn welcomes(&self, compiled: &Compiled) -> bool {
        let follows = compiled.covenant().previous.is_some_and(|previous| self.get(&previous).is_ok());
        let unsigned = self.all().filter(|one| !self.accepted(one)).count();
        compiled.role_of(self.own).is_some() && (follows || unsigned < UNSIGNED_MAX)
    }

    fn accepted(&self, agreement: &Agreement) -> bool {
        matches!(agreement.standing(self.own), Some(Standing::Accepted(_) | Standing::Withdrawn(..)))
    }

    /// Judges a packet this agent is about to seal. Tells whether it has to wait because it is not known here how
    /// its case stands.
    ///
    /// # Errors
    /// Those of [`Agreed::get`], [`Agreement::judge`] and [`case::admits`].
    pub fn judge_outgoing(&self, hash: &Digest, question: &Question<'_>) -> Result<(Permit, bool), Refusal> {
        let agreement = self.standing_by(hash)?;
        let question = &Question { now: not_before(agreement, question.now), ..*question };
        let permit = agreement.judge(question)?;
        let verdict = self.cases.outgoing(agreement.compiled(), question);
        let waits = verdict.is_none();
        verdict.unwrap_or(Ok(())).map(|()| (permit, waits))
    }

    /// Judges a packet that was accepted by the broker at `question.now`.
    ///
    /// # Errors
    /// Those of [`Agreed::get`], [`Agreement::judge`] and [`case::admits`].
    pub fn judge_incoming(&self, hash: &Digest, question: &Question<'_>) -> Result<Permit, Refusal> {
        let agreement = self.get(hash)?;
        let permit = agreement.judge(question)?;
        let state = question.case.and_then(|case| self.cases.state(&case));
        case::admits(state, agreement.compiled(), question)?;
        Ok(permit)
    }

    /// Which keys took the place of those that covenants pin.
    pub fn keys(&self) -> &Keys {
        self.all.keys()
    }

    /// Whether the broker has other votes on this version, or rotations of its keys, than are known here, or may have.
    pub(crate) fn behind(&self, hash: &Digest) -> bool {
        if self.doubted.contains_key(hash) {
            return true;
        }
        self.known.get(hash).is_some_and(|known| self.mixed.contains(hash) || self.here(hash) != Some(*known))
    }

    fn here(&self, hash: &Digest) -> Option<Extent> {
        let one = self.all.get(hash).ok()?;
        let rotations = self.keys().count(one.compiled());
        Some((u32::try_from(one.casts().len()).ok()?, u32::try_from(rotations).ok()?))
    }

    /// What an answer brought beyond what the broker has told of is told of soon, and not asked for until then.
    fn caught_up(&mut self, hash: &Digest) {
        let here = self.here(hash);
        if let (Some(here), Some(told)) = (here, self.known.get_mut(hash))
            && (here.0 >= told.0 && here.1 >= told.1)
        {
            *told = here;
        }
    }

    /// Whether rotations that leave out some that count here came in an answer from before those: it holds as many as were
    /// here when it was asked for, and there are more, or others, than it says.
    fn overtaken(&self, hash: &Digest, had: Extent, rotations: &[Rotated]) -> bool {
        let more = |extent: Option<Extent>| extent.is_some_and(|(_, known)| rotations.len() < wide(known));
        wide(had.1) <= rotations.len()
            && (self.mixed.contains(hash) || more(self.known.get(hash).copied()) || more(self.here(hash)))
    }

    /// Whether it may be that the broker knows a key of a party that has come up and is not known here: word of a
    /// rotation comes on another stream than what is signed with the new key. So the versions that name the party are
    /// asked for, once; only when there has been news of its keys again.
    pub(crate) fn seeks(&mut self, party: Oin, now: Timestamp) -> bool {
        let named: Vec<Digest> = self.all.of(party).map(|one| one.compiled().hash()).collect();
        // An answer to what was asked before may be older than the key.
        let asked = |hash| self.asked.get(hash).is_some_and(|(at, _)| just_now(*at, now));
        if named.iter().any(|hash| self.behind(hash) || asked(hash)) {
            return true;
        }
        let known = named.into_iter().filter(|hash| self.known.contains_key(hash));
        let known: Vec<(Digest, u64)> = known.map(|hash| (hash, self.ticks)).collect();
        let seeks = !known.is_empty() && self.sought.insert(party);
        if seeks {
            self.doubted.extend(known);
        }
        seeks
    }

    /// Whether versions were asked for in vain, for so long that what is known here has to do.
    pub(crate) fn gives_up_seeking(&mut self) -> bool {
        let (before, now) = (self.doubted.len(), self.ticks);
        self.doubted.retain(|_, since| now < since.saturating_add(HOLD));
        self.doubted.len() < before
    }

    pub(crate) fn restore_rotations(&mut self, rotations: &[Rotated]) -> Option<()> {
        self.all.restore_rotations(rotations).ok()
    }

    /// Takes in the line of the own key.
    pub(crate) fn extend_line(&mut self, key: Thumbprint, rotations: &[Rotated]) -> Result<(), Refusal> {
        let before = self.all_here();
        self.all.extend_line(self.own, key, rotations)?;
        self.mix(&before);
        Ok(())
    }

    /// Takes in the rotations that came with a version. Gives the parties about which there is more now.
    fn learn_rotations(&mut self, hash: &Digest, rotations: &[Rotated]) -> Result<BTreeSet<Oin>, Refusal> {
        // What the broker had told of when it told of these, it told of under every version.
        let told = self.known.get(hash).map_or(0, |(_, told)| wide(*told));
        let before = (rotations.len() > told).then(|| self.all_here());
        let changed = self.all.learn_rotations(hash, rotations, Some(self.own))?;
        if let Some(before) = before {
            self.mix(&before);
        }
        // An answer that holds all that is known here leaves nothing out from before; one that was overtaken by the own
        // rotation may.
        if self.keys().count(self.find(hash)?.compiled()) == rotations.len() {
            self.mixed.remove(hash);
        } else {
            self.mixed.insert(*hash);
        }
        self.sought.retain(|party| !changed.contains(party));
        Ok(changed)
    }

    fn all_here(&self) -> BTreeMap<Digest, Option<Extent>> {
        self.known.keys().map(|hash| (*hash, self.here(hash))).collect()
    }

    /// Rotations came by themselves, or with one version, before the broker told of them: under every version in which
    /// they count, their number says no longer which are known. Those versions are asked for.
    fn mix(&mut self, before: &BTreeMap<Digest, Option<Extent>>) {
        let changed = before.iter().filter(|(hash, here)| self.here(hash) != **here);
        let changed: Vec<Digest> = changed.map(|(hash, _)| *hash).collect();
        self.mixed.extend(changed);
    }

    pub(crate) fn restore_covenant(&mut self, bytes: &[u8]) -> Option<()> {
        self.all.restore(Arc::new(Compiled::from_stored(bytes)?));
        Some(())
    }

    pub(crate) fn restore_votes(&mut self, hash: &Digest, casts: &[Cast]) -> Option<()> {
        self.all.restore_casts(hash, casts).ok()
    }

    pub(crate) fn restore_word(&mut self, hash: Digest, row: WordRow) {
        self.words.insert(hash, row);
    }

    pub(crate) fn restore_proposal(&mut self, hash: Digest, row: ProposalRow) {
        self.proposals.insert(hash, row);
    }

    /// Whether this packet has to wait, because it may rest on votes or decisions that are on their way; it is
    /// then kept.
    pub(crate) fn holds(&mut self, arrival: Arrival) -> Option<Arrival> {
        // What stands behind one that waits does so too: order is kept.
        if self.held.is_empty() && !self.waits(arrival.rests_on()) {
            return Some(arrival);
        }
        let held = Held::new(arrival, self.ticks);
        let bytes = self.held_bytes.saturating_add(held.offer.packet.len());
        // A broker has no more than this under way; what comes beyond it is offered again in the next session.
        if self.held.len() < INFLIGHT_MAX && (self.held.is_empty() || bytes <= 2 * INFLIGHT_BYTES) {
            self.held_bytes = bytes;
            self.held.push_back(held);
        }
        None
    }

    /// How many packets wait for votes or decisions.
    pub fn waiting(&self) -> usize {
        self.held.len()
    }

    fn waits(&self, (covenant, case): (Option<Digest>, Option<CaseId>)) -> bool {
        covenant.is_some_and(|covenant| self.behind(&covenant)) || self.cases.waits(case)
    }

    /// The cases that packets wait for.
    pub(crate) fn held_cases(&self) -> impl Iterator<Item = CaseId> {
        self.held.iter().filter_map(|held| held.case)
    }

    /// The packets that no longer have to wait.
    fn released(&mut self) -> Vec<Offer> {
        let mut released = Vec::new();
        let over = |held: &Held| held.since.saturating_add(HOLD) <= self.ticks;
        while self.held.front().is_some_and(|held| over(held) || !self.waits((held.covenant, held.case))) {
            released.extend(self.held.pop_front().map(|held| held.offer));
        }
        let size = |sum: usize, held: &Held| sum.saturating_add(held.offer.packet.len());
        self.held_bytes = self.held.iter().fold(0, size);
        released
    }
}

impl Core {
    /// The covenants.
    pub const fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// The broker says how the covenants stand.
    pub(crate) fn take_agreements(&mut self, known: &[Known], now: Timestamp, turn: &mut Turn) {
        let known = known.iter().take(AGREEMENTS_MAX);
        self.agreed.known = known.map(|one| (one.hash, (one.votes, one.rotations))).collect();
        self.agreed.cases.ask_anew();
        self.fetch_covenants(now, turn);
        self.fetch_cases(now, turn);
    }

    /// Asks for what the broker has and this agent has not.
    pub(crate) fn fetch_covenants(&mut self, now: Timestamp, turn: &mut Turn) {
        if !self.connected {
            return;
        }
        let asked = |hash: &Digest, told: Extent| {
            self.agreed.asked.get(hash).is_some_and(|(at, of)| *of == told && just_now(*at, now))
        };
        let open = self.agreed.known.iter().filter(|(hash, told)| asked(hash, **told)).count();
        let due = |(hash, told): &(&Digest, &Extent)| self.agreed.behind(hash) && !asked(hash, **told);
        let wanted: Vec<(Digest, Extent)> = self
            .agreed
            .known
            .iter()
            .filter(due)
            .take(FETCHES.saturating_sub(open))
            .map(|(hash, told)| (*hash, *told))
            .collect();
        for (hash, told) in wanted {
            self.agreed.asked.insert(hash, (now, told));
            turn.sends.push(Send::FetchCovenant(hash, self.agreed.here(&hash).unwrap_or_default()));
        }
    }

    /// Takes in a version with its votes and the rotations of its keys. Each is checked here; the broker's word
    /// counts for nothing but the times.
    pub(crate) fn learn(
        &mut self,
        compiled: Arc<Compiled>,
        had: Extent,
        (casts, rotations): (&[Cast], &[Rotated]),
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let hash = compiled.hash();
        // Asked again at once for what changed meanwhile, and for the next of many.
        self.agreed.asked.remove(&hash);
        self.agreed.doubted.remove(&hash);
        if self.agreed.find(&hash).is_err() {
            let bytes = compiled.covenant().to_bytes();
            if !self.agreed.welcomes(&compiled) || self.agreed.all.propose(compiled).is_err() {
                // Not asked for again in this session.
                self.agreed.known.remove(&hash);
                return self.alarm(AlarmKind::CovenantRefused, hash.to_string(), now, turn);
            }
            turn.writes.push(Write::Covenant(hash, bytes));
        }
        let ports = match self.learn_rotations(&hash, rotations, now, ports, turn) {
            Ok(ports) => ports,
            Err(Refusal::RotationOrder) if self.agreed.overtaken(&hash, had, rotations) => return,
            Err(refusal) => {
                self.agreed.known.remove(&hash);
                return self.alarm(AlarmKind::RotationRefused, format!("{hash}: {refusal}"), now, turn);
            }
        };
        let before = self.agreed.find(&hash).map_or(0, |one| one.casts().len());
        let mut foreign = false;
        let (own, own_key) = (self.settings.oin, ports.signer.public().thumbprint());
        let keys = self.agreed.keys().clone();
        let own_voice = |cast: &Cast| {
            // A document that gives this organisation another key is not what it accepted by that key.
            let stolen = Vote::claimed(&cast.vote)
                .is_ok_and(|(vote, key)| vote.party == own && !keys.same_line(key, own_key));
            foreign |= stolen;
            !stolen
        };
        match self.agreed.all.learn(&hash, casts, own_voice) {
            Ok(()) => {}
            // Overtaken by a newer answer: what is known stands.
            Err(Refusal::VoteOrder) if (wide(had.0)..before).contains(&casts.len()) => {}
            Err(Refusal::VoteOrder) if casts.len() < before => {
                self.agreed.known.remove(&hash);
                let detail = format!("{hash}: {} of {before}", casts.len());
                self.alarm(AlarmKind::VotesMissing, detail, now, turn);
            }
            Err(refusal) => {
                self.agreed.known.remove(&hash);
                self.alarm(AlarmKind::CovenantRefused, format!("{hash}: {refusal}"), now, turn);
            }
        }
        if foreign {
            self.agreed.known.remove(&hash);
            self.alarm(AlarmKind::CovenantRefused, format!("{hash}: {}", Refusal::UnknownKey), now, turn);
        }
        let Ok(agreement) = self.agreed.find(&hash) else { return };
        if agreement.casts().len() > before {
            turn.writes.push(Write::Votes(hash, agreement.casts().to_vec()));
        }
        self.heard(hash, turn);
        self.agreed.caught_up(&hash);
        self.fetch_covenants(now, turn);
        self.speak_up(now, ports, turn);
        self.agreed.cases.ask_anew();
        self.fetch_cases(now, turn);
        self.reverify_peers();
        self.fetch_prekeys(now, turn);
        self.seal_drafts(now, ports, turn);
        self.release(now, ports, turn);
    }

    /// Takes in the rotations that came with a version; gives what is to be signed with from now on.
    fn learn_rotations<'a>(
        &mut self,
        hash: &Digest,
        rotations: &[Rotated],
        now: Timestamp,
        ports: Ports<'a>,
        turn: &mut Turn,
    ) -> Result<Ports<'a>, Refusal> {
        let own = self.settings.oin;
        let changed = self.agreed.learn_rotations(hash, rotations)?;
        for party in changed.iter().filter(|party| **party != own) {
            let all = self.agreed.keys().of_party(*party).cloned().collect();
            turn.writes.push(Write::Keys(*party, all));
        }
        if changed.contains(&own) {
            self.key_changed(now, ports, turn);
        }
        Ok(self.lend(ports))
    }

    /// Takes in the packets that waited for votes.
    pub(crate) fn release(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        for offer in self.agreed.released() {
            self.offer(Arrival::read(offer), now, ports, turn);
        }
    }

    /// The session is over: what waited is offered again in the next.
    pub(crate) fn forget_held(&mut self) {
        self.agreed.held.clear();
        self.agreed.held_bytes = 0;
        self.agreed.known.clear();
        self.agreed.asked.clear();
        self.agreed.doubted.clear();
        self.agreed.mixed.clear();
        self.agreed.sought.clear();
        self.agreed.cases.session(false);
        self.agreed.said.clear();
    }
}
