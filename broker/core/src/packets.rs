//! The life of a packet inside the broker: submitted, waiting, acknowledged, expired.

use std::sync::Arc;

use seinhuis_shared::acknowledgement::Batch;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::limits::{CLOCK_SKEW, TTL_MAX};
use seinhuis_shared::packet::{Context, padding};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::{Acknowledged, Deferred};

use crate::admission::{Authentic, Permitted, Rejected};
use crate::core::Core;
use crate::input::{ConnId, LaneId};
use crate::mailbox::{Amount, Limits, MailItem};
use crate::notices::Told;
use crate::past::MILLISECOND;
use crate::quota::Off;
use crate::turn::{Planned, ReceiptSource, Send, Turn};
use crate::write::{Outcome, Write};

impl Core {
    pub(crate) fn submitted(
        &mut self,
        conn: ConnId,
        lane: LaneId,
        examined: Result<Box<Authentic>, Box<Rejected>>,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        // A connection that was closed in the meantime has no standing any more.
        let Some(peer) = self.sessions.get(conn).map(|session| session.peer) else { return };
        let packet = match examined {
            Ok(packet) if packet.context().sender == peer => packet,
            Ok(packet) => {
                // What another organisation signed says nothing about this connection's.
                let refused = Rejected { peer, signed: None, ..*packet.reject(Refusal::SenderNotConnection) };
                return self.reject(conn, lane, &refused, now, turn);
            }
            Err(rejected) => return self.reject(conn, lane, &rejected, now, turn),
        };
        let key = (packet.context().sender, packet.context().msg_id);
        if let Some(seen) = turn.outcomes.get(&key).or_else(|| self.state.seen.get(&key)).cloned() {
            return self.again(conn, lane, &packet, &seen, now, turn);
        }
        let directory = self.directory();
        let permitted = packet.fresh(now).and_then(|fresh| fresh.permit(&directory, &self.state.cases, now));
        match permitted {
            Ok(permitted) => match self.may_accept(conn, &permitted, now, turn) {
                Ok(()) => self.accept(conn, lane, &permitted, now, turn),
                Err(off) => {
                    let packet = permitted.packet();
                    self.put_off(conn, lane, (packet.digest(), Some(packet.context())), off, now, turn);
                }
            },
            Err(rejected) => self.reject(conn, lane, &rejected, now, turn),
        }
    }

    /// A message id that has an outcome: the same bytes get the same answer, others are equivocation.
    fn again(
        &mut self,
        conn: ConnId,
        lane: LaneId,
        packet: &Authentic,
        seen: &Outcome,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        if packet.digest() != seen.packet {
            return self.reject(conn, lane, &packet.reject(Refusal::Equivocation), now, turn);
        }
        let (first, count) = (seen.first, seen.count);
        if first >= self.state.log.end() {
            // Its first answer is in this very turn.
            turn.sends.push(Planned::Verdict {
                conn,
                lane,
                packet: seen.packet,
                outcome: seen.outcome,
                first,
                count,
            });
        } else if let Some((end, note)) = self.state.log.note_for(first) {
            let receipt = ReceiptSource::Stored { first, count, end, note };
            turn.send(Send::Verdict { conn, lane, packet: seen.packet, outcome: seen.outcome, receipt });
        }
    }

    /// Whether a packet that has a permit is accepted now. The quotas come last: what is put off for another
    /// reason takes nothing out of them.
    fn may_accept(
        &mut self,
        conn: ConnId,
        permitted: &Permitted,
        now: Timestamp,
        turn: &Turn,
    ) -> Result<(), Off> {
        let packet = permitted.packet();
        // Behind a packet that was put off, in the same flow for the same recipient: first in, first out.
        if let Some(off) =
            self.sessions.get_mut(conn).and_then(|session| session.is_held(packet.context(), now))
        {
            return Err(off);
        }
        self.state
            .suspended
            .flow(permitted.permit().flow())
            .and_then(|()| self.watched(&permitted.permit().covenant(), now))
            .and_then(|()| self.room_for(packet))
            .map_err(|reason| Off { reason, after: self.config.retry_after })?;
        self.charge(packet, turn)
    }

    /// Whether every recipient's mailbox has room, beside what is kept there for others.
    fn room_for(&self, packet: &Authentic) -> Result<(), Refusal> {
        let size = u64::try_from(packet.bytes().len()).unwrap_or(u64::MAX);
        let packets = u64::try_from(self.config.mailbox_packets).unwrap_or(u64::MAX);
        let most = Amount { packets, bytes: self.config.mailbox_bytes };
        // All but the recipient itself; who was revoked too, since what it sent may still wait.
        let limits = Limits::new(most, self.state.directory.partners.len().saturating_sub(1));
        let full = packet.context().recipients.iter().any(|recipient| {
            let mailbox = self.state.mailboxes.get(&recipient.oin);
            mailbox.is_some_and(|mailbox| !mailbox.has_room(&packet.context().sender, size, &limits))
        });
        if full { Err(Refusal::MailboxFull) } else { Ok(()) }
    }

    fn accept(&mut self, conn: ConnId, lane: LaneId, permitted: &Permitted, now: Timestamp, turn: &mut Turn) {
        let packet = permitted.packet();
        let context = packet.context().clone();
        self.witness(context.issued, now);
        let first = self.next_position(turn);
        let digest = packet.digest();
        let size = u64::try_from(packet.bytes().len()).unwrap_or(u64::MAX);
        self.record(turn, Write::Blob { packet: digest, bytes: Arc::clone(packet.bytes()) });
        turn.fresh.insert(digest, Arc::clone(packet.bytes()));
        for recipient in &context.recipients {
            let index = self.next_position(turn);
            let mut entry = self.entry(Kind::Accepted, now, turn);
            describe(&mut entry, &context);
            entry.to = Some(recipient.oin);
            entry.packet = Some(digest);
            entry.statement = Some(packet.statement_digest());
            entry.size_class = size_class(packet.content_length());
            entry.result = Some("accepted".to_owned());
            let leaf = turn.entry(&entry);
            let item = MailItem {
                index,
                leaf,
                msg_id: context.msg_id,
                packet: digest,
                size,
                from: context.sender,
                covenant: permitted.permit().covenant(),
                flow: permitted.permit().flow().to_owned(),
                case: context.case,
                expires: context.expires,
            };
            self.record(turn, Write::Deposit { recipient: recipient.oin, item });
        }
        self.conclude(conn, lane, &context, digest, (0, first, context.recipients.len()), turn);
        for recipient in &context.recipients {
            self.offer(&recipient.oin, now, turn);
        }
    }

    /// Remembers an outcome and plans its verdict. `(outcome, first entry, number of entries)`.
    fn conclude(
        &mut self,
        conn: ConnId,
        lane: LaneId,
        context: &Context,
        packet: Digest,
        (outcome, first, entries): (u16, u64, usize),
        turn: &mut Turn,
    ) {
        let count = u8::try_from(entries).unwrap_or(u8::MAX);
        // Past its end by as much as clocks may differ, so that a clock set back lets nothing in twice.
        // What is refused for its times alone must not be remembered for ever, nor for no time at all.
        let now = self.state.log.time;
        let longest = TTL_MAX.0.saturating_add(CLOCK_SKEW.0).saturating_add(CLOCK_SKEW.0);
        let expires = context.expires.plus(CLOCK_SKEW).clamp(now.plus(CLOCK_SKEW), now.plus(Span(longest)));
        turn.keep_until = turn.keep_until.max(Some(expires));
        let (sender, msg_id) = (context.sender, context.msg_id);
        turn.outcomes.insert((sender, msg_id), Outcome { sender, msg_id, packet, outcome, first, count });
        turn.sends.push(Planned::Verdict { conn, lane, packet, outcome, first, count });
    }

    fn reject(&mut self, conn: ConnId, lane: LaneId, rejected: &Rejected, now: Timestamp, turn: &mut Turn) {
        // Equivocation must not replace the outcome of the packet that had the id first.
        let remembered = rejected
            .signed
            .as_ref()
            .filter(|context| rejected.refusal != Refusal::Equivocation && context.sender == rejected.peer);
        if let Err(off) = self.charge_refusal(rejected.peer, remembered.is_some(), now, turn) {
            return self.put_off(conn, lane, (rejected.packet, remembered), off, now, turn);
        }
        let first = self.next_position(turn);
        let outcome = rejected.refusal.number();
        let mut entry = self.entry(Kind::Refused, now, turn);
        if let Some(context) = &rejected.signed {
            describe(&mut entry, context);
            if let [only] = context.recipients.as_slice() {
                entry.to = Some(only.oin);
            }
        }
        entry.from = Some(rejected.peer);
        entry.packet = Some(rejected.packet);
        entry.size_class = size_class(rejected.size);
        entry.result = Some("refused".to_owned());
        entry.reason = Some(outcome);
        turn.entry(&entry);
        if let Some(context) = remembered {
            self.conclude(conn, lane, context, rejected.packet, (outcome, first, 1), turn);
        } else {
            let packet = rejected.packet;
            turn.sends.push(Planned::Verdict { conn, lane, packet, outcome, first, count: 1 });
        }
    }

    /// Nothing is decided about a packet: its sender is to submit it again, and what it has to come before
    /// waits for it.
    fn put_off(
        &mut self,
        conn: ConnId,
        lane: LaneId,
        (packet, context): (Digest, Option<&Context>),
        off: Off,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        if let (Some(session), Some(context)) = (self.sessions.get_mut(conn), context) {
            session.hold(context, off, now);
        }
        let deferred = Deferred { packet, reason: off.reason.number(), retry_after: off.after.0 };
        turn.send(Send::Deferred { conn, lane, deferred });
    }

    pub(crate) fn acknowledged(
        &mut self,
        conn: ConnId,
        examined: Result<Batch, Refusal>,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let Some(peer) = self.sessions.get(conn).map(|session| session.peer) else { return };
        let examined = examined.and_then(|batch| self.counts(&peer, &batch).map(|()| batch));
        let stale = matches!(examined, Err(Refusal::KeyGivenUp));
        let explained = self.sessions.get_mut(conn).is_some_and(|session| session.acknowledged(stale));
        match examined {
            Ok(batch) => {
                self.measure(conn, &peer, &batch);
                let place = turn.batches.len();
                for (at, item) in (0_u16..).zip(&batch.acknowledgement.items) {
                    self.settle(&peer, item, (place, at), now, turn);
                }
                turn.batches.push(batch);
                self.offer(&peer, now, turn);
            }
            // Signed before its key was given up and overtaken by that, or by a thief: it counts for nothing, and
            // what it was about is offered again.
            Err(Refusal::KeyGivenUp) if explained => {
                self.sessions.reoffer(&peer);
                self.offer(&peer, now, turn);
            }
            // An agent that signs wrongly cannot be served: better a closed connection than a loop.
            Err(refusal) => {
                self.refuse_connection(peer, refusal, "acknowledgement", now, turn);
                turn.send(Send::Close { conn, reason: refusal });
            }
        }
    }

    /// What an acknowledgement says of its agent's clock: it was signed after the first of its packets was offered. One
    /// that was offered before may have been acknowledged already when it was offered here.
    fn measure(&mut self, conn: ConnId, peer: &Oin, batch: &Batch) {
        let first = batch.acknowledgement.items.first().and_then(|item| self.waiting_mail(peer, item));
        let offer = first.and_then(|mail| self.sessions.get(conn)?.offer(mail.index));
        if let Some(offer) = offer.filter(|offer| !offer.again) {
            let (said, came) = ((batch.acknowledgement.issued, MILLISECOND), self.accounts.clock);
            self.sessions.past_mut(peer).measure(offer.at, said, came);
        }
    }

    /// Checks that an acknowledgement is the peer's own, under a key that it has not given up since that was examined, and
    /// that each item of it that counts names the entry its packet was accepted with: its sender would not believe it
    /// otherwise.
    fn counts(&self, peer: &Oin, batch: &Batch) -> Result<(), Refusal> {
        if batch.acknowledgement.recipient != *peer {
            return Err(Refusal::SenderNotConnection);
        }
        self.state.directory.key_of(peer, batch.signer()?)?;
        let linked =
            |item: &Acknowledged| self.waiting_mail(peer, item).is_none_or(|mail| mail.leaf == item.previous);
        if batch.acknowledgement.items.iter().all(linked) { Ok(()) } else { Err(Refusal::StatementUnlinked) }
    }

    fn waiting_mail(&self, peer: &Oin, item: &Acknowledged) -> Option<&MailItem> {
        let mail = self.state.mailboxes.get(peer)?.find(&item.packet)?;
        (mail.msg_id == item.msg_id).then_some(mail)
    }

    /// One packet is at its recipient, stored or in quarantine. Unknown ones were settled before. `place` is where
    /// the item stands among what came in in this turn.
    fn settle(
        &mut self,
        peer: &Oin,
        item: &Acknowledged,
        place: (usize, u16),
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let Some(mail) = self.waiting_mail(peer, item).cloned() else {
            if self.state.taken_back.contains(&(*peer, item.packet)) {
                self.too_late(peer, (item.msg_id, item.packet), now, turn);
            }
            return;
        };
        let index = self.next_position(turn);
        let mut entry = self.leaving(Kind::Delivered, &mail, peer, now, turn);
        entry.statement = Some(item.hash());
        if item.outcome == 0 {
            entry.result = Some("stored".to_owned());
        } else {
            entry.result = Some("quarantined".to_owned());
            entry.reason = Some(item.outcome);
        }
        turn.entry(&entry);
        turn.notice(mail.from, Told { index, item: Some(place) });
        self.take_out(peer, &mail, turn);
    }

    /// A packet's validity ended before its recipient fetched it.
    pub(crate) fn expire(&mut self, recipient: Oin, index: u64, now: Timestamp, turn: &mut Turn) {
        let Some(mail) = self.state.mailboxes.get(&recipient).and_then(|mailbox| mailbox.get(index)).cloned()
        else {
            return;
        };
        let at = self.next_position(turn);
        let mut entry = self.leaving(Kind::Expired, &mail, &recipient, now, turn);
        entry.result = Some("expired".to_owned());
        if let Some(lapse) = self.state.ground(&recipient, &mail.covenant, &mail.from, now).lapse(index) {
            entry.reason = Some(lapse.reason.number());
            entry.detail = lapse.end.map(|end| self.state.log.size_text(end));
        }
        turn.entry(&entry);
        self.ended(&recipient, &mail, Kind::Expired, at, now, turn);
        self.take_out(&recipient, &mail, turn);
    }

    /// An entry about a packet that no longer waits.
    pub(crate) fn leaving(
        &mut self,
        kind: Kind,
        mail: &MailItem,
        to: &Oin,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Entry {
        let mut entry = self.entry(kind, now, turn);
        entry.msg_id = Some(mail.msg_id);
        entry.from = Some(mail.from);
        entry.to = Some(*to);
        entry.flow = Some(mail.flow.clone());
        entry.covenant = Some(mail.covenant);
        entry.case = mail.case;
        entry.packet = Some(mail.packet);
        entry
    }

    pub(crate) fn take_out(&mut self, recipient: &Oin, mail: &MailItem, turn: &mut Turn) {
        self.outlive(mail, turn);
        self.record(turn, Write::Remove { recipient: *recipient, index: mail.index });
        self.sessions.settled(recipient, mail.index);
        if !self.state.holders.contains_key(&mail.packet) {
            turn.fresh.remove(&mail.packet);
            self.record(turn, Write::Drop { packet: mail.packet });
        }
    }
}

/// What a signed context says, as far as the log keeps it.
fn describe(entry: &mut Entry, context: &Context) {
    let declared = &context.declared;
    entry.msg_id = Some(context.msg_id);
    entry.from = Some(context.sender);
    entry.recipients = u64::try_from(context.recipients.len()).ok();
    entry.key = Some(context.signer);
    entry.flow = Some(context.flow.clone());
    entry.covenant = Some(context.covenant);
    entry.case = context.case;
    entry.message_type = Some(declared.message_type.clone());
    entry.step = Some(declared.step.to_string());
    entry.level = Some(declared.level.to_string());
    entry.categories = (!declared.categories.is_empty()).then(|| declared.categories.join(" "));
    entry.purpose = Some(declared.purpose.clone());
    entry.basis = Some(declared.basis.clone());
    entry.trace = Some(context.trace);
}

fn size_class(length: usize) -> Option<u64> {
    u64::try_from(padding::padded_length(length)).ok()
}
