//! Mail in flight: what becomes of a packet that waits when that falls away which it was accepted on.
//!
//! A packet rests on its covenant version, on the word of its sender and of its recipient, and on the access
//! of both. Whether it may still be offered is asked each time it could be, of what is remembered anyway
//! ([`State::ground`]): that is the lock, and after a restart it is the same. What is to be shredded is erased
//! by a sweep, which looks at a bounded number of packets in each turn and begins in the very turn in which
//! the ground falls away.
//!
//! What was offered in an earlier turn and is not acknowledged may be stored at its recipient already: it is
//! left alone for as long as that session lasts, so that its acknowledgement still says that it was delivered.

use core::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;

use seinhuis_shared::covenant::Fate;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;

use crate::core::Core;
use crate::input::ConnId;
use crate::mailbox::{MailItem, Mailbox};
use crate::state::State;
use crate::turn::{Planned, Send, Turn};
use crate::write::Write;

/// What took the ground away from under packets. There is an entry in the log for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A party withdrew from a version.
    Withdrawn {
        /// The version.
        covenant: Digest,
        /// The party.
        party: Oin,
    },
    /// A version's time is over: its last day has passed, or the overlap with its successor.
    RanOut {
        /// The version.
        covenant: Digest,
    },
    /// A partner's access was revoked, now or the last time.
    Revoked {
        /// The partner.
        partner: Oin,
    },
}

impl Cause {
    pub(crate) fn to_key(self) -> Vec<u8> {
        match self {
            Self::Withdrawn { covenant, party } => {
                [b"w", &covenant.0[..], party.as_str().as_bytes()].concat()
            }
            Self::RanOut { covenant } => [b"e", &covenant.0[..]].concat(),
            Self::Revoked { partner } => [b"r", partner.as_str().as_bytes()].concat(),
        }
    }

    pub(crate) fn from_key(key: &[u8]) -> Option<Self> {
        let oin = |bytes| core::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        match key.split_first()? {
            (b'w', rest) => {
                let (covenant, party) = rest.split_at_checked(32)?;
                Some(Self::Withdrawn { covenant: Digest::from_slice(covenant)?, party: oin(party)? })
            }
            (b'e', rest) => Some(Self::RanOut { covenant: Digest::from_slice(rest)? }),
            (b'r', rest) => Some(Self::Revoked { partner: oin(rest)? }),
            _ => None,
        }
    }
}

/// What is to be said of a packet that is erased: its reason, and the position in the log at which that took hold.
type Doom = (Refusal, u64);

/// What one step of the sweep found in a mailbox.
#[derive(Debug, Default)]
struct Found {
    doomed: Vec<(MailItem, Doom)>,
    /// How many packets were looked at.
    looked: usize,
    /// Where to go on in this mailbox.
    next: Option<u64>,
}

/// Why a packet is not offered. Its fate is never [`Fate::Deliver`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lapse {
    pub(crate) fate: Fate,
    /// What a packet would be refused with now.
    pub(crate) reason: Refusal,
    /// The position after the entry that says so; none as long as there is none, which is between the end of a
    /// version and the next tick.
    pub(crate) end: Option<u64>,
}

/// What packets of one sender for one recipient under one version rest on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ground {
    /// What holds for all of them.
    now: Option<Lapse>,
    /// What holds for those accepted before a revocation of the sender or the recipient that is over: what was
    /// to be shredded does not come back to life because its turn had not come yet.
    before: [Option<Lapse>; 2],
}

impl Ground {
    /// Why the packet with this index is not offered, if it is not: the strictest, and of these the first.
    pub(crate) fn lapse(&self, index: u64) -> Option<Lapse> {
        let earlier = self.before.iter().flatten().filter(|lapse| lapse.end.is_some_and(|end| index < end));
        stricter(self.now.iter().chain(earlier).copied())
    }

    /// Why the packet with this index is to be erased, if it is.
    fn doom(&self, index: u64) -> Option<Doom> {
        let lapse = self.lapse(index).filter(|lapse| lapse.fate == Fate::Shred)?;
        Some((lapse.reason, lapse.end?))
    }

    fn add(&mut self, lapse: Lapse) {
        if lapse.fate != Fate::Deliver {
            self.now = stricter(self.now.into_iter().chain([lapse]));
        }
    }
}

fn stricter(lapses: impl Iterator<Item = Lapse>) -> Option<Lapse> {
    lapses.max_by_key(|lapse| (lapse.fate, Reverse(lapse.end.unwrap_or(u64::MAX))))
}

impl State {
    /// What packets `from` a sender for a `recipient` under a `covenant` rest on at `now`.
    pub(crate) fn ground(&self, recipient: &Oin, covenant: &Digest, from: &Oin, now: Timestamp) -> Ground {
        let mut ground = Ground::default();
        let Ok(agreement) = self.directory.covenant(covenant) else {
            // No packet is accepted under what is not known, and no version is forgotten.
            ground.add(Lapse { fate: Fate::Freeze, reason: Refusal::UnknownCovenant, end: None });
            return ground;
        };
        let fates = agreement.compiled().covenant().in_flight;
        let end = |cause| self.lapses.get(&cause).copied();
        for (party, ended) in agreement.withdrawals() {
            let reason = if party == *from || party == *recipient {
                Refusal::NotSigned
            } else if ended {
                Refusal::CovenantNotInForce
            } else {
                continue;
            };
            let end = end(Cause::Withdrawn { covenant: *covenant, party });
            ground.add(Lapse { fate: fates.withdrawn, reason, end });
        }
        if agreement.runs_out() <= now {
            let end = end(Cause::RanOut { covenant: *covenant });
            ground.add(Lapse { fate: fates.superseded, reason: Refusal::CovenantNotInForce, end });
        }
        let ends = [(from, Refusal::PartnerRevoked), (recipient, Refusal::RecipientRevoked)];
        for (place, (partner, reason)) in ends.into_iter().enumerate() {
            let end = end(Cause::Revoked { partner: *partner });
            let lapse = Lapse { fate: fates.revoked, reason, end };
            if self.directory.partner(partner).is_err() {
                ground.add(lapse);
            } else if let (Fate::Shred, Some(before)) = (fates.revoked, ground.before.get_mut(place)) {
                *before = Some(lapse);
            }
        }
        ground
    }

    /// How many packets of a mailbox are held, until they expire or what they rest on is back; and the oldest of those
    /// that nothing keeps from being offered.
    pub(crate) fn frozen(&self, recipient: &Oin, mailbox: &Mailbox, now: Timestamp) -> (usize, Option<u64>) {
        let (mut frozen, mut oldest) = (0_usize, None);
        for (covenant, from, all) in mailbox.grounds() {
            // Of the newest: what came before a revocation that is over is shredded, not frozen.
            match self.ground(recipient, covenant, from, now).lapse(u64::MAX) {
                Some(lapse) if lapse.fate == Fate::Freeze => frozen = frozen.saturating_add(all.len()),
                Some(_) => {}
                None => oldest = oldest.into_iter().chain(all.first().copied()).min(),
            }
        }
        (frozen, oldest)
    }
}

impl Core {
    /// Packets lost what they rested on; the entry that says so is the newest of this turn.
    pub(crate) fn lapsed(&mut self, cause: Cause, now: Timestamp, turn: &mut Turn) {
        let end = self.next_position(turn);
        self.record(turn, Write::Lapsed { cause, end });
        self.retract(now, turn);
        self.begin_sweep();
        self.sweep(now, turn);
    }

    /// Logs which versions' time is over.
    pub(crate) fn run_out(&mut self, now: Timestamp, turn: &mut Turn) {
        let over: Vec<_> = self
            .state
            .directory
            .agreements
            .iter()
            .filter(|one| one.runs_out() <= now && one.effective().is_some_and(|from| from <= one.runs_out()))
            .map(|one| (one.compiled().hash(), one.runs_out() < one.compiled().covenant().valid_until))
            .filter(|(covenant, _)| !self.state.lapses.contains_key(&Cause::RanOut { covenant: *covenant }))
            .collect();
        for (covenant, superseded) in over {
            let mut entry = self.entry(Kind::Covenant, now, turn);
            entry.covenant = Some(covenant);
            entry.detail = Some(if superseded { "superseded" } else { "expired" }.to_owned());
            turn.entry(&entry);
            self.lapsed(Cause::RanOut { covenant }, now, turn);
        }
    }

    /// A partner has its access back: what it sent and was held is offered, in its order. What waits for the
    /// partner itself is offered when it connects.
    pub(crate) fn thaw(&mut self, partner: &Oin, now: Timestamp, turn: &mut Turn) {
        let from_it = |mailbox: &Mailbox| mailbox.grounds().any(|(_, from, _)| from == partner);
        let recipients: Vec<Oin> = self
            .state
            .mailboxes
            .iter()
            .filter(|(_, mailbox)| from_it(mailbox))
            .map(|(oin, _)| *oin)
            .collect();
        for recipient in recipients {
            self.sessions.rewind(&recipient);
            self.offer(&recipient, now, turn);
        }
    }

    /// Ends a session, and with it the reprieve of what it was offered and has to be shredded.
    pub(crate) fn close(&mut self, conn: ConnId, now: Timestamp, turn: &mut Turn) -> Option<Oin> {
        let offered = self.sessions.get(conn)?.all_inflight();
        let peer = self.sessions.close(conn)?;
        for index in offered {
            let Some(mail) = self.state.mailboxes.get(&peer).and_then(|mailbox| mailbox.get(index)) else {
                continue;
            };
            let ground = self.state.ground(&peer, &mail.covenant, &mail.from, now);
            if let Some(doom) = ground.doom(index).filter(|_| !self.sessions.is_inflight(&peer, index)) {
                let mail = mail.clone();
                self.doom(&peer, &mail, doom, now, turn);
            }
        }
        Some(peer)
    }

    /// Lets the sweep go through all mailboxes, from the first.
    pub(crate) fn begin_sweep(&mut self) {
        self.sweep = self.state.mailboxes.keys().next().map(|first| (*first, 0));
    }

    /// Erases what is to be shredded, as far as this turn goes.
    pub(crate) fn sweep(&mut self, now: Timestamp, turn: &mut Turn) {
        while let Some((oin, index)) = self.sweep {
            let room = self.config.sweep_packets.saturating_sub(turn.swept);
            if room == 0 {
                return;
            }
            let Some((recipient, mailbox)) = self.state.mailboxes.range(oin..).next() else {
                self.sweep = None;
                return;
            };
            let recipient = *recipient;
            let index = if recipient == oin { index } else { 0 };
            let found = self.doomed((&recipient, mailbox), index, room, now);
            turn.swept = turn.swept.saturating_add(found.looked.max(1));
            let after = (Bound::Excluded(recipient), Bound::Unbounded);
            self.sweep = found
                .next
                .map(|next| (recipient, next))
                .or_else(|| self.state.mailboxes.range(after).next().map(|(oin, _)| (*oin, 0)));
            for (mail, doom) in found.doomed {
                self.doom(&recipient, &mail, doom, now, turn);
            }
        }
    }

    /// What of a mailbox is to be shredded, among the first `room` packets from `index`.
    fn doomed(
        &self,
        (recipient, mailbox): (&Oin, &Mailbox),
        index: u64,
        room: usize,
        now: Timestamp,
    ) -> Found {
        let grounds: BTreeMap<_, _> = mailbox
            .grounds()
            .map(|(covenant, from, _)| ((covenant, from), self.state.ground(recipient, covenant, from, now)))
            // What the oldest packet is spared, every packet is.
            .filter(|(_, ground)| ground.doom(0).is_some())
            .collect();
        if grounds.is_empty() {
            return Found::default();
        }
        let mut items = mailbox.all_from(index);
        let mut looked = 0_usize;
        let doomed = items
            .by_ref()
            .take(room)
            .inspect(|_| looked = looked.saturating_add(1))
            .filter(|item| !self.sessions.is_inflight(recipient, item.index))
            .filter_map(|item| {
                let doom = grounds.get(&(&item.covenant, &item.from))?.doom(item.index)?;
                Some((item.clone(), doom))
            })
            .collect();
        let next = items.next().map(|item| item.index);
        Found { doomed, looked, next }
    }

    fn doom(
        &mut self,
        recipient: &Oin,
        mail: &MailItem,
        (reason, end): Doom,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let end = self.state.log.size_text(end);
        let why = |entry: &mut Entry| {
            entry.reason = Some(reason.number());
            entry.detail = Some(end);
        };
        self.shred(recipient, mail, why, now, turn);
    }

    /// Erases a packet that waits; `why` is what its entry says of that.
    pub(crate) fn shred(
        &mut self,
        recipient: &Oin,
        mail: &MailItem,
        why: impl FnOnce(&mut Entry),
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let at = self.next_position(turn);
        let mut entry = self.leaving(Kind::Shredded, mail, recipient, now, turn);
        entry.result = Some("shredded".to_owned());
        why(&mut entry);
        turn.entry(&entry);
        self.ended(recipient, mail, Kind::Shredded, at, now, turn);
        self.take_out(recipient, mail, turn);
    }

    /// Takes back the offers of this turn that may not be made any more: nothing of it is sent yet.
    fn retract(&mut self, now: Timestamp, turn: &mut Turn) {
        let (state, sessions) = (&self.state, &mut self.sessions);
        turn.sends.retain(|planned| {
            let (Planned::Offer { conn, item, .. } | Planned::Ready(Send::Offer { conn, item, .. })) =
                planned
            else {
                return true;
            };
            let Some(session) = sessions.get(*conn) else { return false };
            let ground = state.ground(&session.peer, &item.covenant, &item.from, now);
            let stands = ground.lapse(item.index).is_none();
            if !stands {
                sessions.retract(*conn, item.index);
            }
            stands
        });
    }
}
