//! How packets end at their recipients otherwise than by being delivered: taken back by their sender, expired,
//! shredded; and what a recipient says after they were delivered.
//!
//! What is remembered of an end is what later words are held against: nobody consumes what it never had, nobody
//! acknowledges what was taken back, and the same word twice is one entry. What was delivered is not remembered:
//! its accepted entry in the log says who may say that it was consumed.

use seinhuis_shared::acknowledgement::{Acknowledged, Acknowledgement, Batch, Said, Statement};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, MsgId, Oin, Thumbprint};
use seinhuis_shared::limits::{CLOCK_SKEW, CONSUME_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::wire::{Consume, Withdrawal};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::core::Core;
use crate::directory::Directory;
use crate::mailbox::MailItem;
use crate::notices::Told;
use crate::turn::Turn;
use crate::write::Write;

/// How a packet ended at a recipient: `[kind, packet, entry, until]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct End {
    how: u8,
    packet: Digest,
    /// The position of the entry that says so.
    entry: u64,
    /// Until when it is remembered.
    pub(crate) until: Timestamp,
}

const EXPIRED: u8 = 1;
const SHREDDED: u8 = 2;
const TAKEN_BACK: u8 = 3;
const CONSUMED: u8 = 4;

impl End {
    /// The packet, when its sender took it back.
    pub(crate) fn taken_back(&self) -> Option<Digest> {
        (self.how == TAKEN_BACK).then_some(self.packet)
    }
}

/// A recipient's word that it consumed a message, checked as far as that needs no state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumed {
    statement: Statement,
    batch: Batch,
    signer: Thumbprint,
    /// Position and content of the packet's accepted entry.
    accepted: (u64, Entry),
}

impl Consumed {
    /// Checks signature and links. `entry` are position and bytes of the log's entry that the frame names, if there
    /// is one.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when that is not the accepted entry of this packet for `peer`;
    /// [`Refusal::StatementUnlinked`]; [`Refusal::SenderNotConnection`]; those of [`Statement::verify`].
    pub fn examine(
        consume: Consume,
        entry: Option<(u64, &[u8])>,
        peer: &Oin,
        directory: &Directory,
    ) -> Result<Self, Refusal> {
        let Consume { statement, .. } = consume;
        let item = statement.item;
        // A list of one: its root is the item's hash, and no other sender's item is behind it.
        if statement.index != 0 || !statement.path.is_empty() || item.said != Said::Consumed {
            return Err(Refusal::Malformed);
        }
        let mut signer = None;
        let signed = statement.verify(|kid| {
            signer = Some(kid);
            directory.key_of(peer, kid)
        })?;
        if signed.recipient != *peer {
            return Err(Refusal::SenderNotConnection);
        }
        let (position, bytes) = entry.ok_or(Refusal::NotFound)?;
        let entry = Entry::parse(bytes).map_err(|_| Refusal::NotFound)?;
        let own = entry.kind == Kind::Accepted
            && entry.to == Some(*peer)
            && entry.packet == Some(item.packet)
            && entry.msg_id == Some(item.msg_id);
        if !own {
            return Err(Refusal::NotFound);
        }
        let stored = Acknowledged::stored(item.msg_id, item.packet, 0, leaf_hash(bytes));
        if item != stored.consumed() {
            return Err(Refusal::StatementUnlinked);
        }
        let (recipient, issued) = (signed.recipient, signed.issued);
        let batch = Batch {
            acknowledgement: Acknowledgement { recipient, issued, items: vec![item] },
            signed: statement.signed.clone(),
            leaves: vec![item.hash()],
        };
        let signer = signer.ok_or(Refusal::UnknownKey)?;
        Ok(Self { statement, batch, signer, accepted: (position, entry) })
    }
}

/// A sender's word that it takes a packet back, with who signed it and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeBack {
    said: Withdrawal,
    signer: Thumbprint,
    digest: Digest,
}

impl TakeBack {
    /// Checks the signature.
    ///
    /// # Errors
    /// Those of [`Withdrawal::verify`]; [`Refusal::SenderNotConnection`].
    pub fn examine(bytes: &[u8], peer: &Oin, directory: &Directory) -> Result<Self, Refusal> {
        let mut signer = None;
        let said = Withdrawal::verify(bytes, |kid| {
            signer = Some(kid);
            directory.key_of(peer, kid)
        })?;
        if said.sender != *peer {
            return Err(Refusal::SenderNotConnection);
        }
        Ok(Self { said, signer: signer.ok_or(Refusal::UnknownKey)?, digest: sha256(bytes) })
    }
}

impl Core {
    /// A recipient's application took a message over. Gives the position of the entry that says so.
    pub(crate) fn consumed(
        &mut self,
        peer: &Oin,
        consumed: Consumed,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<u64, Refusal> {
        // Its key may have been given up after it was examined.
        self.state.directory.key_of(peer, consumed.signer)?;
        let (index, accepted) = consumed.accepted;
        let waits = self.state.mailboxes.get(peer).is_some_and(|mailbox| mailbox.get(index).is_some());
        if waits {
            // Its acknowledgement is on its way, on another stream.
            return Err(Refusal::TooBusy);
        }
        match self.state.ends.get(&(*peer, index)) {
            Some(end) if end.how == CONSUMED => return Ok(end.entry),
            Some(_) => return Err(Refusal::NotStored),
            None if now > accepted.time.plus(CONSUME_MAX) => return Err(Refusal::ConsumedTooLate),
            None => {}
        }
        let item = consumed.statement.item;
        let at = self.next_position(turn);
        let mut entry = self.entry(Kind::Consumed, now, turn);
        entry.msg_id = accepted.msg_id;
        entry.from = accepted.from;
        entry.to = accepted.to;
        entry.flow = accepted.flow;
        entry.covenant = accepted.covenant;
        entry.case = accepted.case;
        entry.packet = Some(item.packet);
        entry.statement = Some(item.hash());
        entry.result = Some("consumed".to_owned());
        turn.entry(&entry);
        if let Some(from) = accepted.from {
            let batch = turn.batches.len();
            turn.batches.push(consumed.batch);
            turn.notice(from, Told { index: at, item: Some((batch, 0)) });
        }
        let until = accepted.time.plus(CONSUME_MAX).plus(CLOCK_SKEW).plus(CLOCK_SKEW);
        let end = End { how: CONSUMED, packet: item.packet, entry: at, until };
        self.record(turn, Write::End { recipient: *peer, index, end });
        Ok(at)
    }

    /// A sender takes a packet back from the recipients that do not have it. Gives the entries that say so.
    pub(crate) fn take_back(
        &mut self,
        peer: &Oin,
        word: &TakeBack,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Vec<u64>, Refusal> {
        let TakeBack { said, signer, digest } = word;
        self.state.directory.key_of(peer, *signer)?;
        let key = (*peer, said.msg_id);
        let seen = turn.outcomes.get(&key).or_else(|| self.state.seen.get(&key));
        let accepted = seen.filter(|seen| seen.outcome == 0 && seen.packet == said.packet);
        let (first, count) = accepted.map(|seen| (seen.first, seen.count)).ok_or(Refusal::UnknownMessage)?;
        let indexes = first..first.saturating_add(u64::from(count));
        let before = self
            .state
            .ends
            .iter()
            .filter(|((_, index), end)| indexes.contains(index) && end.taken_back() == Some(said.packet));
        let mut entries: Vec<u64> = before.map(|(_, end)| end.entry).collect();
        let waiting: Vec<(Oin, MailItem)> = self
            .state
            .mailboxes
            .iter()
            .filter_map(|(recipient, mailbox)| {
                let mail = mailbox.find(&said.packet).filter(|mail| indexes.contains(&mail.index))?;
                // What was offered may be stored there already; its acknowledgement says so.
                (!self.sessions.is_inflight(recipient, mail.index)).then(|| (*recipient, mail.clone()))
            })
            .collect();
        for (recipient, mail) in waiting {
            let at = self.next_position(turn);
            let mut entry = self.leaving(Kind::Withdrawn, &mail, &recipient, now, turn);
            entry.statement = Some(*digest);
            entry.result = Some("withdrawn".to_owned());
            entry.detail = Some(said.reason.clone());
            turn.entry(&entry);
            self.ended(&recipient, &mail, Kind::Withdrawn, at, now, turn);
            // It may have it from a session that ended before it was acknowledged.
            turn.notice(recipient, Told { index: at, item: None });
            self.take_out(&recipient, &mail, turn);
            entries.push(at);
        }
        entries.sort_unstable();
        if entries.is_empty() { Err(Refusal::TooLateToTakeBack) } else { Ok(entries) }
    }

    /// Tells the sender of a packet how it ended without being delivered, and remembers that. `at` is the
    /// position of its entry.
    pub(crate) fn ended(
        &mut self,
        recipient: &Oin,
        mail: &MailItem,
        kind: Kind,
        at: u64,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        turn.notice(mail.from, Told { index: at, item: None });
        let how = if kind == Kind::Withdrawn {
            TAKEN_BACK
        } else if kind == Kind::Shredded {
            SHREDDED
        } else {
            EXPIRED
        };
        let until = now.plus(CONSUME_MAX).plus(CLOCK_SKEW).plus(CLOCK_SKEW);
        let end = End { how, packet: mail.packet, entry: at, until };
        self.record(turn, Write::End { recipient: *recipient, index: mail.index, end });
    }

    /// A recipient acknowledges what its sender had taken back: it counts for nothing, and the log says so
    /// as far as the quota of refusals goes.
    pub(crate) fn too_late(
        &mut self,
        peer: &Oin,
        (msg_id, packet): (MsgId, Digest),
        now: Timestamp,
        turn: &mut Turn,
    ) {
        if self.charge_refusal(*peer, false, now, turn).is_err() {
            return;
        }
        let mut entry = self.entry(Kind::Refused, now, turn);
        entry.from = Some(*peer);
        entry.msg_id = Some(msg_id);
        entry.packet = Some(packet);
        entry.reason = Some(Refusal::PacketTakenBack.number());
        entry.result = Some("refused".to_owned());
        entry.detail = Some("acknowledgement".to_owned());
        turn.entry(&entry);
    }
}
