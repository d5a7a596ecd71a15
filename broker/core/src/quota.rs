//! Quotas: what one partner may bring before it has to wait.
//!
//! A packet beyond a quota is put off before it is accepted, and a refusal beyond its quota is put off as well: its
//! sender gets a verdict, with the entry that proves it, once there is room. So no verdict is ever without proof, and
//! an honest agent loses nothing: it waits and submits the same bytes again. What is put off leaves no entry of its
//! own. That refusals were put off does: at once, and then by their number, once an hour and partner at most.
//!
//! Time is the clock's, not the log's: after a clock that was ahead the log's time stands still until the clock has
//! caught up, and nobody may be kept waiting for that long. A clock that goes back gives nothing and takes nothing.
//! All but what is remembered is full again after a restart.
//!
//! While the disk has too little room, everything that would take more of it is put off in the same way, whoever brings
//! it and whatever is left of its quotas: packets, refusals and words, but not a sender's word that it takes a packet
//! back, which makes room.

use std::collections::BTreeMap;

use seinhuis_shared::ids::{MsgId, Oin};
use seinhuis_shared::limits::{
    QUOTA_BYTES, QUOTA_BYTES_BURST, QUOTA_PACKETS, QUOTA_PACKETS_BURST, QUOTA_QUESTIONS,
    QUOTA_QUESTIONS_BURST, QUOTA_REFUSALS, QUOTA_REFUSALS_BURST, QUOTA_REMEMBERED, QUOTA_WORDS,
    QUOTA_WORDS_BURST,
};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};

use crate::admission::Authentic;
use crate::core::Core;
use crate::input::Ask;
use crate::turn::Turn;

/// An allowance is counted in parts of this size, so that each millisecond gives whole ones.
const PARTS: u64 = 60_000;
/// Shortest wait of a packet beyond a quota: it lets many come back at once.
const WAIT_MIN: Span = Span::seconds(1);
/// Wait of a packet when too many outcomes of its sender are remembered: these end one by one.
const WAIT_REMEMBERED: Span = Span::minutes(1);
/// How far apart entries are that tell of one partner's refusals that were put off.
const TELL_APART: Span = Span::hours(1);

/// An allowance that comes back evenly, up to a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How much of it comes back in a minute.
    pub per_minute: u64,
    /// Most of it that is there at one time, and what is there at first. One packet or refusal may always be
    /// had for all of it, however large.
    pub burst: u64,
}

/// What each partner may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Packets that are accepted.
    pub packets: Rate,
    /// Bytes of packets that are accepted.
    pub bytes: Rate,
    /// Refusals that are logged.
    pub refusals: Rate,
    /// Words other than packets: decisions, withdrawals, that a message was consumed, prekeys, votes and proposals. What
    /// makes others do much counts for many.
    pub words: Rate,
    /// Questions: for prekeys, covenants, cases, entries and proofs. What takes much reading counts for many.
    pub questions: Rate,
    /// Most packets of one sender whose outcome is remembered: about 100 bytes of memory each, until the packet's end.
    pub remembered: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            packets: Rate { per_minute: QUOTA_PACKETS.saturating_mul(60), burst: QUOTA_PACKETS_BURST },
            bytes: Rate { per_minute: QUOTA_BYTES.saturating_mul(60), burst: QUOTA_BYTES_BURST },
            refusals: Rate { per_minute: QUOTA_REFUSALS, burst: QUOTA_REFUSALS_BURST },
            words: Rate { per_minute: QUOTA_WORDS.saturating_mul(60), burst: QUOTA_WORDS_BURST },
            questions: Rate { per_minute: QUOTA_QUESTIONS.saturating_mul(60), burst: QUOTA_QUESTIONS_BURST },
            remembered: QUOTA_REMEMBERED,
        }
    }
}

/// How often something of a partner was put off since the start, by the quota it was beyond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutOff {
    /// Packets, for their number.
    pub packets: u64,
    /// Packets, for their bytes.
    pub bytes: u64,
    /// Packets and refusals, for the outcomes that are remembered.
    pub remembered: u64,
    /// Refusals.
    pub refusals: u64,
    /// Words other than packets.
    pub words: u64,
    /// Questions.
    pub questions: u64,
    /// Anything, for want of room on the disk.
    pub room: u64,
}

/// One partner's quotas, as the operator sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaRow {
    /// Whose.
    pub oin: Oin,
    /// Its packets whose outcome is remembered.
    pub remembered: usize,
    /// What was put off.
    pub put_off: PutOff,
}

/// What is put off: why, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Off {
    pub(crate) reason: Refusal,
    pub(crate) after: Span,
}

impl Off {
    const fn over(after: Span) -> Self {
        Self { reason: Refusal::OverQuota, after }
    }
}

/// What is left of an allowance.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In [`PARTS`].
    left: u64,
    at: Timestamp,
}

impl Bucket {
    const fn full(rate: Rate, now: Timestamp) -> Self {
        Self { left: rate.burst.saturating_mul(PARTS), at: now }
    }

    /// Lets come back what does in the time that has passed, and gives how long it takes until there is enough.
    fn wait(&mut self, rate: Rate, amount: u64, now: Timestamp) -> Option<Span> {
        let back = now.since(self.at).0.saturating_mul(rate.per_minute);
        self.left = self.left.saturating_add(back).min(rate.burst.saturating_mul(PARTS));
        self.at = now;
        let missing = amount.min(rate.burst).saturating_mul(PARTS).saturating_sub(self.left);
        (missing > 0).then(|| Span(missing.div_ceil(rate.per_minute.max(1))).max(WAIT_MIN))
    }

    const fn take(&mut self, amount: u64) {
        self.left = self.left.saturating_sub(amount.saturating_mul(PARTS));
    }
}

/// What one partner has left, and what was put off.
#[derive(Debug)]
struct Account {
    packets: Bucket,
    bytes: Bucket,
    refusals: Bucket,
    words: Bucket,
    questions: Bucket,
    put_off: PutOff,
    /// Refusals that were put off and that no entry tells of yet.
    untold: u64,
    /// When an entry told of them last.
    told: Option<Timestamp>,
}

/// What a request is taken out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purse {
    Words,
    Questions,
}

/// What a request costs, of which quota. A question for a covenant, entries or a long row of proofs is ten; a word about a
/// covenant or a key, of which everybody it concerns fetches the whole, is a hundred.
fn price(ask: &Ask) -> (Purse, u64) {
    match ask {
        Ask::Propose(_) | Ask::Vote(_) | Ask::Rotate(_) => (Purse::Words, 100),
        Ask::PublishPrekeys { .. } => (Purse::Words, 10),
        Ask::Decide(_) | Ask::Withdraw(_) | Ask::Consume(_) => (Purse::Words, 1),
        Ask::FetchCovenant(_) | Ask::FetchEntries(_) | Ask::FetchConsistency(..) => (Purse::Questions, 10),
        Ask::FetchPrekeys(_) | Ask::FetchCase(_) | Ask::FetchSuccession(..) | Ask::Cosigned(_) => {
            (Purse::Questions, 1)
        }
    }
}

/// The accounts of all who connected. There are as many as organisations with a certificate.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    by_partner: BTreeMap<Oin, Account>,
    /// The clock at the input that is being handled.
    pub(crate) clock: Timestamp,
}

impl Accounts {
    fn of(&mut self, oin: Oin, quota: &Quota) -> &mut Account {
        let now = self.clock;
        self.by_partner.entry(oin).or_insert_with(|| Account {
            packets: Bucket::full(quota.packets, now),
            bytes: Bucket::full(quota.bytes, now),
            refusals: Bucket::full(quota.refusals, now),
            words: Bucket::full(quota.words, now),
            questions: Bucket::full(quota.questions, now),
            put_off: PutOff::default(),
            untold: 0,
            told: None,
        })
    }
}

impl Core {
    /// Takes what a packet needs out of its sender's quotas; nothing of any when one has not enough.
    ///
    /// # Errors
    /// How long the packet is put off.
    pub(crate) fn charge(&mut self, packet: &Authentic, turn: &Turn) -> Result<(), Off> {
        let sender = packet.context().sender;
        let size = u64::try_from(packet.bytes().len()).unwrap_or(u64::MAX);
        self.room_to_keep(sender)?;
        let remembers = self.remembers_more(&sender, turn);
        let (quota, now) = (self.config.quota, self.accounts.clock);
        let account = self.accounts.of(sender, &quota);
        if !remembers {
            account.put_off.remembered = account.put_off.remembered.saturating_add(1);
            return Err(Off::over(WAIT_REMEMBERED));
        }
        if let Some(wait) = account.packets.wait(quota.packets, 1, now) {
            account.put_off.packets = account.put_off.packets.saturating_add(1);
            return Err(Off::over(wait));
        }
        if let Some(wait) = account.bytes.wait(quota.bytes, size, now) {
            account.put_off.bytes = account.put_off.bytes.saturating_add(1);
            return Err(Off::over(wait));
        }
        account.packets.take(1);
        account.bytes.take(size);
        Ok(())
    }

    /// Takes an entry about a refusal out of a partner's quota. `remembered` tells whether its outcome is
    /// remembered too.
    ///
    /// # Errors
    /// How long the refusal is put off; that is counted, and told in the log unless it is for want of room.
    pub(crate) fn charge_refusal(
        &mut self,
        peer: Oin,
        remembered: bool,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Off> {
        self.room_to_keep(peer)?;
        let remembers = !remembered || self.remembers_more(&peer, turn);
        let (quota, clock) = (self.config.quota, self.accounts.clock);
        let account = self.accounts.of(peer, &quota);
        let wait = if remembers {
            let Some(wait) = account.refusals.wait(quota.refusals, 1, clock) else {
                account.refusals.take(1);
                return Ok(());
            };
            account.put_off.refusals = account.put_off.refusals.saturating_add(1);
            wait
        } else {
            account.put_off.remembered = account.put_off.remembered.saturating_add(1);
            WAIT_REMEMBERED
        };
        account.untold = account.untold.saturating_add(1);
        self.tell_put_off(peer, now, turn);
        Err(Off::over(wait))
    }

    /// Takes what a request costs out of its sender's quota, before anything else is done about it.
    ///
    /// # Errors
    /// How long it is put off. Nothing is logged of that; it is counted.
    pub(crate) fn charge_request(&mut self, peer: Oin, ask: &Ask) -> Result<(), Off> {
        let (purse, amount) = price(ask);
        if purse == Purse::Words && !matches!(ask, Ask::Withdraw(_)) {
            self.room_to_keep(peer)?;
        }
        let (quota, clock) = (self.config.quota, self.accounts.clock);
        let account = self.accounts.of(peer, &quota);
        let (bucket, rate, put_off) = match purse {
            Purse::Words => (&mut account.words, quota.words, &mut account.put_off.words),
            Purse::Questions => (&mut account.questions, quota.questions, &mut account.put_off.questions),
        };
        if let Some(wait) = bucket.wait(rate, amount, clock) {
            *put_off = put_off.saturating_add(1);
            return Err(Off::over(wait));
        }
        bucket.take(amount);
        Ok(())
    }

    /// Whether the disk has room for what somebody brings.
    ///
    /// # Errors
    /// How long it is put off; that is counted.
    fn room_to_keep(&mut self, peer: Oin) -> Result<(), Off> {
        if !self.scarce {
            return Ok(());
        }
        let put_off = &mut self.accounts.of(peer, &self.config.quota).put_off;
        put_off.room = put_off.room.saturating_add(1);
        Err(Off { reason: Refusal::StorageLow, after: self.config.retry_after })
    }

    /// Whether one more outcome of a sender may be remembered.
    fn remembers_more(&self, sender: &Oin, turn: &Turn) -> bool {
        let kept = self.state.remembered.get(sender).copied().unwrap_or_default();
        let most = self.config.quota.remembered;
        if kept.saturating_add(turn.outcomes.len()) < most {
            return true;
        }
        let own = turn.outcomes.range((*sender, MsgId([0; 16]))..).take_while(|((oin, _), _)| oin == sender);
        kept.saturating_add(own.count()) < most
    }

    /// Logs how many refusals of a partner were put off, unless that was told shortly before.
    fn tell_put_off(&mut self, peer: Oin, now: Timestamp, turn: &mut Turn) {
        let clock = self.accounts.clock;
        let Some(account) = self.accounts.by_partner.get_mut(&peer) else { return };
        // A clock that went back must not silence this for as long as it was ahead.
        let recent = |told: Timestamp| told <= clock && clock.since(told) < TELL_APART;
        if account.untold == 0 || account.told.is_some_and(recent) {
            return;
        }
        let count = core::mem::take(&mut account.untold);
        account.told = Some(clock);
        self.note_refused(peer, Refusal::OverQuota, &format!("put-off:{count}"), now, turn);
    }

    /// Logs what was put off and not told yet.
    pub(crate) fn tell_all_put_off(&mut self, now: Timestamp, turn: &mut Turn) {
        let untold = self.accounts.by_partner.iter().filter(|(_, account)| account.untold > 0);
        let untold: Vec<Oin> = untold.map(|(oin, _)| *oin).collect();
        for peer in untold {
            self.tell_put_off(peer, now, turn);
        }
    }

    /// How the quotas of everybody stand of whom something is remembered or was put off.
    pub(crate) fn quota_rows(&self) -> Vec<QuotaRow> {
        let mut rows: BTreeMap<Oin, QuotaRow> = BTreeMap::new();
        let empty = |oin: Oin| QuotaRow { oin, remembered: 0, put_off: PutOff::default() };
        for (oin, remembered) in &self.state.remembered {
            rows.entry(*oin).or_insert_with(|| empty(*oin)).remembered = *remembered;
        }
        let put_off = self.accounts.by_partner.iter().map(|(oin, account)| (oin, account.put_off));
        for (oin, put_off) in put_off.filter(|(_, put_off)| *put_off != PutOff::default()) {
            rows.entry(*oin).or_insert_with(|| empty(*oin)).put_off = put_off;
        }
        rows.into_values().collect()
    }
}
