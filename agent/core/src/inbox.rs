//! Incoming packets: the broker is trusted for nothing, every check is made again before a person sees a
//! body, and a packet is acknowledged only in the turn that makes it durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::{Declared, Permit, Question, Size, check_body};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shared::limits::{ACK_MAX, CLOCK_SKEW};
use seinhuis_shared::onward::{self, Provenance};
use seinhuis_shared::packet::{Context, Opened, Packet, VerifiedPacket, open};
use seinhuis_shared::receipt::{ReceiptError, VerifiedReceipt};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::{Acknowledged, Acknowledgement, Offer};

use crate::engine::Core;
use crate::marks::says_more;
use crate::minimise::MEDIA_TYPE;
use crate::onward::Held;
use crate::ports::Ports;
use crate::rows::{AlarmKind, ChainRow, InboxRow, Operation, Remark, Write, position_key, table};
use crate::service::is_evidence;
use crate::turn::{Event, Send, Turn};

#[derive(Debug, Clone, Copy)]
struct Known {
    msg_id: MsgId,
    outcome: u16,
    link: Digest,
}

/// A good packet that a sender used a message id for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimed {
    pub(crate) packet: Digest,
    pub(crate) position: u64,
    /// Whether it says something of an earlier message and stays as it is.
    pub(crate) evidence: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    next: u64,
    known: BTreeMap<Digest, Known>,
    /// Which packet a sender used a message id for.
    ids: BTreeMap<(Oin, MsgId), Claimed>,
    seen: BTreeMap<(Oin, String), ChainRow>,
    pending: Vec<Acknowledged>,
    stored: u64,
    quarantined: u64,
}

/// A packet that was offered, read once for all that is asked of it.
pub(crate) struct Arrival {
    /// As it came.
    pub(crate) offer: Offer,
    digest: Digest,
    packet: Result<Packet, Refusal>,
}

impl Arrival {
    pub(crate) fn read(offer: Offer) -> Self {
        let packet = Packet::parse(&offer.packet);
        let digest = packet.as_ref().map_or_else(|_| sha256(&offer.packet), Packet::digest);
        Self { offer, digest, packet }
    }

    /// The version and the case it says it is under.
    pub(crate) fn rests_on(&self) -> (Option<Digest>, Option<CaseId>) {
        self.packet.as_ref().map_or((None, None), |packet| {
            let context = packet.context();
            (Some(context.covenant), context.case)
        })
    }
}

/// What a good packet turned out to hold.
struct Good {
    opened: Opened,
    /// What its sender declares of it.
    declared: Declared,
    permit: Permit,
    /// The consent it carries.
    consent: Option<Held>,
    /// Whether where it comes from says more than its flow does.
    told: bool,
}

impl Inbox {
    pub(crate) const fn counts(&self) -> (u64, u64) {
        (self.stored, self.quarantined)
    }

    pub(crate) fn restore_row(&mut self, position: u64, row: &InboxRow) {
        self.next = self.next.max(position.saturating_add(1));
        self.remember(position, row);
    }

    /// The good packet that this sender used a message id for.
    pub(crate) fn claimed(&self, sender: Oin, msg_id: MsgId) -> Option<Claimed> {
        self.ids.get(&(sender, msg_id)).copied()
    }

    pub(crate) fn restore_seen(&mut self, sender: Oin, flow: String, chain: ChainRow) {
        self.seen.insert((sender, flow), chain);
    }

    fn remember(&mut self, position: u64, row: &InboxRow) {
        self.known.insert(row.packet, Known { msg_id: row.msg_id, outcome: row.outcome, link: row.link });
        if row.outcome == 0 {
            self.stored = self.stored.saturating_add(1);
        } else {
            self.quarantined = self.quarantined.saturating_add(1);
        }
        // A quarantined packet proves nothing about the organisation it names, so it claims no id.
        if let (Some(sender), 0) = (row.sender, row.outcome) {
            let evidence = is_evidence(&row.message_type);
            self.ids.insert((sender, row.msg_id), Claimed { packet: row.packet, position, evidence });
        }
    }

    /// How a packet follows the last one of its sender and flow, and what is the last one now.
    fn follow(&self, context: &Context, packet: Digest) -> (Remark, Option<ChainRow>) {
        let this = ChainRow { seq: context.seq, packet };
        match self.seen.get(&(context.sender, context.flow.clone())) {
            None if context.seq <= 1 => (Remark::InOrder, Some(this)),
            None => (Remark::Gap, Some(this)),
            Some(last) if context.seq <= last.seq => (Remark::OutOfOrder, None),
            Some(last) if context.seq > last.seq.saturating_add(1) => (Remark::Gap, Some(this)),
            Some(last) if context.prev == Some(last.packet) => (Remark::InOrder, Some(this)),
            Some(_) => (Remark::ChainBroken, Some(this)),
        }
    }
}

impl Core {
    /// How many places of the inbox are taken: each message received has the next.
    pub const fn received(&self) -> u64 {
        self.inbox.next
    }

    /// Takes in an offer: verifies, opens, stores, and acknowledges in the same turn.
    ///
    /// An offer whose receipt proves nothing is the broker's fault, not the sender's: it is neither stored
    /// nor acknowledged, so that the broker cannot record it as delivered. The same goes for every offer
    /// once the log was caught contradicting itself, and for a body that cannot be encrypted here.
    pub(crate) fn offer(&mut self, arrival: Arrival, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        if self.trust.forked() {
            return;
        }
        let Arrival { offer, digest, packet: parsed } = arrival;
        if let Some(known) = self.inbox.known.get(&digest).copied() {
            let item = Acknowledged::stored(known.msg_id, digest, known.outcome, known.link);
            self.inbox.pending.push(item);
            return;
        }
        if self.cannot_record(ports) {
            // Unanswered, so that the broker keeps it: what cannot be recorded is not processed.
            return self.alarm(AlarmKind::RecordsFull, "offers are left unanswered".to_owned(), now, turn);
        }
        let Some((index, link, entry)) = self.proved(&offer, digest, parsed.as_ref(), now, turn) else {
            return;
        };
        self.retention.witness(entry.time);
        let mut row = blank_row(digest, (index, link), &entry, now, offer.receipt.clone());
        let judged = match parsed {
            Err(refusal) => Err(refusal),
            Ok(packet) => {
                describe(&mut row, packet.context());
                let (remark, last) = self.inbox.follow(packet.context(), digest);
                self.judge(packet, digest, entry.time, ports).map(|good| (good, remark, last))
            }
        };
        let position = self.inbox.next;
        let (mut noticed, mut source) = (None, None);
        match judged {
            Ok((good, remark, last)) => {
                row.media_type.clone_from(&good.opened.media_type);
                row.retention_days = good.permit.retention_days();
                let body = zeroize::Zeroizing::new(good.opened.body);
                let Some(locked) = ports.locker.lock(table::BODY, &position_key(position), &body) else {
                    // Unanswered, so that the broker keeps it and offers it again in the next session.
                    return self.alarm(AlarmKind::LockFailed, format!("packet {digest}"), now, turn);
                };
                if !self.enter_received((position, &row), &good.declared, &body, ports, turn) {
                    // As above.
                    return self.alarm(AlarmKind::LockFailed, format!("packet {digest}"), now, turn);
                }
                let subjects = self.subjects_in(&row, &body, ports);
                self.record_opened(Operation::Received, (&row, subjects), now, ports, turn);
                source = good.opened.provenance.source;
                if good.told {
                    turn.writes.push(Write::Provenance(position, good.opened.provenance));
                }
                if let Some(consent) = good.consent {
                    self.keep_consent(consent, entry.time, turn);
                }
                turn.writes.push(Write::Body(position, Some(locked)));
                // Only a packet that its sender really signed moves the chain.
                row.remark = remark;
                if let (Some(sender), Some(last)) = (row.sender, last) {
                    self.inbox.seen.insert((sender, row.flow.clone()), last);
                    turn.writes.push(Write::Seen(sender, row.flow.clone(), last));
                }
                noticed = says_more(&row.message_type).then(|| (row.clone(), body));
            }
            Err(refusal) => {
                row.outcome = refusal.number();
                turn.blobs.push((digest, offer.packet.0.as_slice().into()));
            }
        }
        self.inbox.next = position.saturating_add(1);
        self.keep(position, row, source, turn);
        if let Some((row, body)) = noticed {
            self.noticed(position, &row, &body, now, ports, turn);
        }
    }

    /// The entry that says this packet was accepted for this organisation, if the offer proves it and what the log
    /// says may be believed.
    fn proved(
        &mut self,
        offer: &Offer,
        digest: Digest,
        parsed: Result<&Packet, &Refusal>,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Option<(u64, Digest, Entry)> {
        let read = self.trust.receipt(&offer.receipt);
        let proof = match read {
            // What a log says that was caught contradicting itself proves nothing about this packet.
            Ok((_, signed)) if !self.observe(&signed, now, turn) => return None,
            Ok((receipt, _)) => self.acceptance(&receipt, digest, parsed),
            Err(error) => Err(error),
        };
        proof.map_err(|error| self.unproven(digest, &error, now, turn)).ok()
    }

    fn keep(&mut self, position: u64, row: InboxRow, source: Option<Digest>, turn: &mut Turn) {
        self.retention.keep(position, &row);
        self.retention.comes_from(position, source);
        self.inbox.remember(position, &row);
        let item = Acknowledged::stored(row.msg_id, row.packet, row.outcome, row.link);
        self.inbox.pending.push(item);
        turn.events.push(Event::Received {
            position,
            msg_id: row.msg_id,
            sender: row.sender,
            flow: row.flow.clone(),
            outcome: row.outcome,
        });
        turn.writes.push(Write::Inbox(position, Box::new(row)));
    }

    fn unproven(&mut self, packet: Digest, error: &ReceiptError, now: Timestamp, turn: &mut Turn) {
        self.alarm(AlarmKind::UnprovenOffer, format!("packet {packet}: {error}"), now, turn);
    }

    /// The log entry that says this packet was accepted for this organisation.
    fn acceptance(
        &self,
        receipt: &VerifiedReceipt,
        digest: Digest,
        packet: Result<&Packet, &Refusal>,
    ) -> Result<(u64, Digest, Entry), ReceiptError> {
        let oin = self.settings.oin;
        let entry = match packet {
            Ok(packet) => receipt.says_accepted_for(packet, &oin)?.clone(),
            // What cannot be read cannot be compared, but the entry still has to be about these bytes.
            Err(_) => match receipt.entries.as_slice() {
                [(_, entry)]
                    if entry.kind == Kind::Accepted
                        && entry.packet == Some(digest)
                        && entry.to == Some(oin) =>
                {
                    entry.clone()
                }
                _ => return Err(ReceiptError::NotAboutThis),
            },
        };
        let index = receipt.entries.first().map_or(0, |(index, _)| *index);
        let link = receipt.leaves.first().copied().ok_or(ReceiptError::NotAboutThis)?;
        Ok((index, link, entry))
    }

    /// Every check of the broker again, and those only a recipient can make.
    fn judge(
        &mut self,
        packet: Packet,
        digest: Digest,
        accepted: Timestamp,
        ports: Ports<'_>,
    ) -> Result<Good, Refusal> {
        let covenant = packet.context().covenant;
        let compiled = Arc::clone(self.agreed.get(&covenant)?.compiled());
        let sender = packet.context().sender;
        let key = self.agreed.keys().signing_key(&compiled, sender, packet.context().signer, accepted)?;
        let packet = packet.verify(&key)?;
        let context = packet.context();
        if self.inbox.ids.get(&(sender, context.msg_id)).is_some_and(|other| other.packet != digest) {
            return Err(Refusal::Equivocation);
        }
        if accepted >= context.expires {
            return Err(Refusal::Expired);
        }
        if context.issued > accepted.plus(CLOCK_SKEW) {
            return Err(Refusal::FromTheFuture);
        }
        let opened = self.open_packet(&packet, ports)?;
        let recipients = context.recipient_oins();
        let permit = self.agreed.judge_incoming(
            &covenant,
            &Question {
                flow: &context.flow,
                sender,
                recipients: &recipients,
                case: context.case,
                declared: &context.declared,
                now: accepted,
                issued: context.issued,
                expires: context.expires,
                size: Size::Body(u64::try_from(opened.body.len()).unwrap_or(u64::MAX)),
            },
        )?;
        if opened.media_type != MEDIA_TYPE {
            return Err(Refusal::NotJson);
        }
        onward::admits(
            &opened.provenance,
            (&compiled, self.agreed.keys()),
            &context.flow,
            sender,
            &recipients,
            accepted,
        )?;
        check_body(&compiled, &context.flow, &context.declared, &opened.body)
            .map_err(|error| error.refusal())?;
        let consent =
            self.carried_consent(&context.declared.message_type, &opened, &compiled, sender, accepted)?;
        let flow = compiled.flow(&context.flow);
        let own = flow.map(|flow| Provenance::own(sender, flow.handling));
        let told = own.as_ref() != Some(&opened.provenance);
        Ok(Good { opened, declared: context.declared.clone(), permit, consent, told })
    }

    fn open_packet(&mut self, packet: &VerifiedPacket, ports: Ports<'_>) -> Result<Opened, Refusal> {
        let oin = self.settings.oin;
        let context = packet.context();
        let used = context.recipients.iter().find(|recipient| recipient.oin == oin);
        let prekey = used.ok_or(Refusal::RecipientCount)?.prekey;
        let until = self.prekeys.own_not_after(prekey).ok_or(Refusal::NoPrekey)?;
        if context.issued > until.plus(CLOCK_SKEW) {
            return Err(Refusal::NoPrekey);
        }
        let secret = self.prekeys.secret(prekey, ports);
        let crypto = ports.crypto;
        open(crypto, packet, &oin, |id| secret.filter(|_| id == prekey))
    }

    /// Signs one acknowledgement for everything stored in this turn.
    pub(crate) fn acknowledge(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        let pending = core::mem::take(&mut self.inbox.pending);
        for items in pending.chunks(ACK_MAX) {
            let acknowledgement =
                Acknowledgement { recipient: self.settings.oin, issued: now, items: items.to_vec() };
            turn.sends.push(Send::Acknowledge(acknowledgement.sign(ports.signer)));
        }
    }
}

fn blank_row(
    packet: Digest,
    (index, link): (u64, Digest),
    entry: &Entry,
    now: Timestamp,
    receipt: Bytes,
) -> InboxRow {
    InboxRow {
        msg_id: entry.msg_id.unwrap_or(MsgId([0; 16])),
        packet,
        outcome: 0,
        sender: None,
        flow: String::new(),
        covenant: None,
        case: None,
        message_type: String::new(),
        step: String::new(),
        level: String::new(),
        in_reply_to: None,
        media_type: String::new(),
        issued: Timestamp(0),
        accepted: entry.time,
        stored: now,
        trace: None,
        index,
        link,
        remark: Remark::InOrder,
        retention_days: None,
        receipt,
    }
}

fn describe(row: &mut InboxRow, context: &Context) {
    row.msg_id = context.msg_id;
    row.sender = Some(context.sender);
    row.flow.clone_from(&context.flow);
    row.covenant = Some(context.covenant);
    row.case = context.case;
    row.message_type.clone_from(&context.declared.message_type);
    row.step = context.declared.step.to_string();
    row.level = context.declared.level.to_string();
    row.in_reply_to = context.in_reply_to;
    row.issued = context.issued;
    row.trace = Some(context.trace);
}
