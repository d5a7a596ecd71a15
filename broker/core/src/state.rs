//! Everything the broker has to remember, and how a write changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seinhuis_shared::case::Applied;
use seinhuis_shared::covenant::{Agreements, Compiled};
use seinhuis_shared::ids::{Digest, MsgId, Oin};
use seinhuis_shared::prekey::PrekeyBundle;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::Decided;

use crate::cases::{self, Cases};
use crate::directory::Directory;
use crate::ends::End;
use crate::in_flight::Cause;
use crate::mailbox::Mailbox;
use crate::notices::Untold;
use crate::sequencer::Log;
use crate::suspension::{Suspendable, Suspensions};
use crate::upkeep::Grant;
use crate::write::{Outcome, WitnessedRow, Write};

/// Something that ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// The outcomes of the turn whose first entry this is.
    Outcomes(u64),
    Mail(Oin, u64),
    Note(u64),
    /// What a partner was not told: by the index of the first entry.
    Notice(Oin, u64),
    /// What is remembered of how a packet ended.
    End(Oin, u64),
}

/// A partner's prekey bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    /// Its number.
    pub(crate) seq: u64,
    /// As it was signed.
    pub(crate) bytes: Vec<u8>,
    /// When the last of its prekeys ends.
    pub(crate) ends: Option<Timestamp>,
}

impl Published {
    fn new(oin: &Oin, seq: u64, bytes: Vec<u8>) -> Self {
        let bundle = PrekeyBundle::unverified(&bytes, oin);
        let ends = bundle.and_then(|bundle| bundle.prekeys.iter().map(|prekey| prekey.not_after).max());
        Self { seq, bytes, ends }
    }
}

/// The state. Changed by [`State::apply`]; and, for what has to be judged first, by [`State::propose`],
/// [`State::agreements`] and [`Cases::apply`], to the same effect as the write that keeps it.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) directory: Arc<Directory>,
    pub(crate) cases: Cases,
    pub(crate) prekeys: BTreeMap<Oin, Published>,
    pub(crate) seen: BTreeMap<(Oin, MsgId), Outcome>,
    /// How many of these each sender has.
    pub(crate) remembered: BTreeMap<Oin, usize>,
    /// Whose outcomes the turn that begins at an entry decided, and until when they are kept.
    pub(crate) decided: BTreeMap<u64, (Timestamp, Vec<(Oin, MsgId)>)>,
    pub(crate) mailboxes: BTreeMap<Oin, Mailbox>,
    /// How many mailboxes hold a packet; its bytes are erased with the last.
    pub(crate) holders: BTreeMap<Digest, u16>,
    pub(crate) endings: BTreeSet<(Timestamp, Ending)>,
    /// The position after the entry by which packets lost what they rested on.
    pub(crate) lapses: BTreeMap<Cause, u64>,
    /// What partners have not been told.
    pub(crate) untold: BTreeMap<Oin, Untold>,
    /// How packets ended, by recipient and accepted entry.
    pub(crate) ends: BTreeMap<(Oin, u64), End>,
    /// The packets among these that were taken back.
    pub(crate) taken_back: BTreeSet<(Oin, Digest)>,
    pub(crate) log: Log,
    /// The newest witnessed checkpoint, by covenant and origin.
    pub(crate) witnessed: BTreeMap<(Digest, String), WitnessedRow>,
    /// The first of each day, by origin, covenant and day: history, for exports. About a kilobyte a day.
    pub(crate) witnessed_days: BTreeMap<(String, Digest, u32), WitnessedRow>,
    /// Up to which index the texts of a log's entries are removed, by its number.
    pub(crate) purged: BTreeMap<u32, u64>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) suspended: Suspensions,
}

impl State {
    /// Makes a change. Gives `false` for one that cannot be: a covenant that does not read, a vote or a decision
    /// that does not count.
    #[expect(clippy::too_many_lines, reason = "an arm for each write")]
    pub(crate) fn apply(&mut self, write: &Write) -> bool {
        match write {
            Write::Partner { oin, partner } => {
                Arc::make_mut(&mut self.directory).partners.insert(*oin, partner.clone());
            }
            Write::Covenant { hash, bytes, proposer } => return self.learn(*hash, bytes, *proposer),
            Write::Vote { hash, number, cast } => {
                let known = self.directory.agreements.get(hash).map_or(0, |one| one.casts().len());
                let agreements = self.agreements();
                return usize::try_from(*number) == Ok(known)
                    && agreements.restore_casts(hash, core::slice::from_ref(cast)).is_ok();
            }
            Write::Rotation { rotated, .. } => {
                return self.agreements().restore_rotations(core::slice::from_ref(rotated)).is_ok();
            }
            Write::Lapsed { cause, end } => {
                self.lapses.insert(*cause, *end);
            }
            Write::Decision { decided, .. } => return self.decide(decided).is_ok(),
            Write::Prekeys { oin, seq, bytes } => {
                self.prekeys.insert(*oin, Published::new(oin, *seq, bytes.clone()));
            }
            Write::Outcomes { first, keep_until, outcomes } => {
                let keys: Vec<_> = outcomes.iter().map(|one| (one.sender, one.msg_id)).collect();
                for outcome in outcomes {
                    if self.seen.insert((outcome.sender, outcome.msg_id), outcome.clone()).is_none() {
                        let count = self.remembered.entry(outcome.sender).or_default();
                        *count = count.saturating_add(1);
                    }
                }
                if let Some((before, _)) = self.decided.insert(*first, (*keep_until, keys)) {
                    self.endings.remove(&(before, Ending::Outcomes(*first)));
                }
                self.endings.insert((*keep_until, Ending::Outcomes(*first)));
            }
            Write::Forget { first } => self.forget(*first),
            Write::Deposit { recipient, item } => {
                self.endings.insert((item.expires, Ending::Mail(*recipient, item.index)));
                let holders = self.holders.entry(item.packet).or_default();
                *holders = holders.saturating_add(1);
                self.mailboxes.entry(*recipient).or_default().deposit(item.clone());
            }
            Write::Remove { recipient, index } => self.remove(*recipient, *index),
            Write::Note { end, note, keep_until } => {
                if let Some((_, before)) = self.log.notes.insert(*end, (Arc::clone(note), *keep_until)) {
                    self.endings.remove(&(before, Ending::Note(*end)));
                }
                self.endings.insert((*keep_until, Ending::Note(*end)));
            }
            Write::ForgetNote { end } => {
                if let Some((_, keep_until)) = self.log.notes.remove(end) {
                    self.endings.remove(&(keep_until, Ending::Note(*end)));
                }
            }
            Write::Notice { to, first, row } => {
                self.endings.insert((row.until, Ending::Notice(*to, *first)));
                self.untold.entry(*to).or_default().insert(*first, row);
            }
            Write::NoticeGone { to, first } => self.told(*to, *first),
            Write::End { recipient, index, end } => {
                self.endings.insert((end.until, Ending::End(*recipient, *index)));
                self.taken_back.extend(end.taken_back().map(|packet| (*recipient, packet)));
                self.ends.insert((*recipient, *index), *end);
            }
            Write::ForgetEnd { recipient, index } => {
                if let Some(end) = self.ends.remove(&(*recipient, *index)) {
                    self.endings.remove(&(end.until, Ending::End(*recipient, *index)));
                    if let Some(packet) = end.taken_back() {
                        self.taken_back.remove(&(*recipient, packet));
                    }
                }
            }
            Write::Purged { log, entries } => {
                self.purged.insert(*log, *entries);
            }
            Write::Suspended { what, at } => {
                // Only who may take part can be suspended.
                if matches!(what, Suspendable::Partner(oin) if self.directory.partner(oin).is_err()) {
                    return false;
                }
                self.suspended.insert(what, *at);
            }
            Write::Resumed { what } => self.suspended.remove(what),
            Write::Grant { number, grant } => return self.grant(*number, grant),
            Write::Shard { number, shard } => return self.log.learn(*number, shard),
            Write::Head(head) => {
                self.log.time = head.time;
                self.log.head = Some(head.clone());
            }
            // Kept by the store alone: the bytes of packets.
            Write::Blob { .. } | Write::Drop { .. } => {}
            Write::Entries { first, entries } => {
                let end = first.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
                self.log.unpublished.insert(*first, end);
            }
            Write::Published { first } => {
                self.log.unpublished.remove(first);
            }
            Write::Witnessed { covenant, origin, row } => {
                self.witnessed.insert((*covenant, origin.clone()), (**row).clone());
            }
            Write::WitnessedDay { covenant, origin, day, row } => {
                self.witnessed_days.insert((origin.clone(), *covenant, *day), (**row).clone());
            }
        }
        true
    }

    fn grant(&mut self, number: u32, grant: &Grant) -> bool {
        let Ok(place) = usize::try_from(number) else { return false };
        if place > self.grants.len() {
            return false;
        }
        if let Some(known) = self.grants.get_mut(place) {
            known.clone_from(grant);
        } else {
            self.grants.push(grant.clone());
        }
        true
    }

    /// What was agreed, to be changed.
    pub(crate) fn agreements(&mut self) -> &mut Agreements {
        &mut Arc::make_mut(&mut self.directory).agreements
    }

    /// Takes in a version.
    ///
    /// # Errors
    /// Those of [`Agreements::propose`].
    pub(crate) fn propose(&mut self, compiled: Arc<Compiled>, proposer: Option<Oin>) -> Result<(), Refusal> {
        let hash = compiled.hash();
        self.agreements().propose(compiled)?;
        self.attribute(hash, proposer);
        Ok(())
    }

    fn learn(&mut self, hash: Digest, bytes: &[u8], proposer: Option<Oin>) -> bool {
        let Some(compiled) = Compiled::from_stored(bytes).filter(|compiled| compiled.hash() == hash) else {
            return false;
        };
        self.agreements().restore(Arc::new(compiled));
        self.attribute(hash, proposer);
        true
    }

    fn attribute(&mut self, hash: Digest, proposer: Option<Oin>) {
        if let Some(proposer) = proposer {
            Arc::make_mut(&mut self.directory).proposers.insert(hash, proposer);
        }
    }

    fn decide(&mut self, decided: &Decided) -> Result<Applied, Refusal> {
        let agreements = &self.directory.agreements;
        let (verified, compiled) = cases::verify(&decided.decision, agreements)?;
        self.cases.apply(&verified, compiled, decided.clone())
    }

    fn forget(&mut self, first: u64) {
        let Some((keep_until, keys)) = self.decided.remove(&first) else { return };
        self.endings.remove(&(keep_until, Ending::Outcomes(first)));
        for key in keys {
            if self.seen.remove(&key).is_none() {
                continue;
            }
            let count = self.remembered.get(&key.0).map_or(0, |count| count.saturating_sub(1));
            if count == 0 {
                self.remembered.remove(&key.0);
            } else {
                self.remembered.insert(key.0, count);
            }
        }
    }

    fn told(&mut self, to: Oin, first: u64) {
        let Some(untold) = self.untold.get_mut(&to) else { return };
        if let Some(row) = untold.remove(first) {
            self.endings.remove(&(row.until, Ending::Notice(to, first)));
        }
        if untold.rows.is_empty() {
            self.untold.remove(&to);
        }
    }

    fn remove(&mut self, recipient: Oin, index: u64) {
        let Some(mailbox) = self.mailboxes.get_mut(&recipient) else { return };
        let Some(item) = mailbox.remove(index) else { return };
        if mailbox.len() == 0 {
            self.mailboxes.remove(&recipient);
        }
        self.endings.remove(&(item.expires, Ending::Mail(recipient, index)));
        if let Some(holders) = self.holders.get_mut(&item.packet) {
            *holders = holders.saturating_sub(1);
            if *holders == 0 {
                self.holders.remove(&item.packet);
            }
        }
    }
}
