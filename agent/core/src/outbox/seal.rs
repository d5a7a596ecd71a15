//! From a draft to a packet: everything is judged once more, at the moment of sealing.

use std::collections::BTreeSet;
use std::sync::Arc;

use seinhuis_shared::covenant::{Agreement, Question, Size};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::limits::TTL_MAX;
use seinhuis_shared::onward;
use seinhuis_shared::packet::{self, Context, Plain, Recipient, SealRandomness, Sealed};
use seinhuis_shared::prekey::PrekeyPublic;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Timestamp;

use super::{Draft, EXPIRED, Item, open_draft};
use crate::engine::Core;
use crate::minimise::MEDIA_TYPE;
use crate::ports::Ports;
use crate::rows::{AlarmKind, ChainRow, OutboxRow, Stage, Write};
use crate::turn::Turn;

impl Core {
    /// Whether the keys of all recipients are at hand, and the own one can sign.
    pub(super) fn keys_at_hand(&self, row: &OutboxRow, now: Timestamp) -> bool {
        if self.is_turning() || self.key_lost {
            return false;
        }
        let usable = |agreement: &Agreement| {
            let compiled = agreement.compiled();
            row.recipients
                .iter()
                .all(|oin| self.prekeys.usable_under(compiled, self.agreed.keys(), oin, now).is_some())
        };
        // Without the covenant there is nothing to wait for: sealing refuses it.
        self.agreed.get(&row.covenant).map_or(true, usable)
    }

    /// Seals a draft whose recipients' keys are at hand, or refuses it when the covenant no longer lets it.
    pub(super) fn seal(
        &mut self,
        position: u64,
        mut row: OutboxRow,
        draft: &Draft,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Stage {
        row.expires = self.valid_until(&row, now);
        match self.sealed(&row, draft, now, ports) {
            Ok((Sealed { bytes, statement }, seq)) => {
                let packet = sha256(&bytes);
                let entry = (packet, &draft.declared);
                if !self.enter_sent(&row, entry, &draft.body, now, ports, turn) {
                    self.alarm(AlarmKind::LockFailed, format!("packet {packet}"), now, turn);
                    let end = (Stage::Refused, Refusal::NotRecordable.number());
                    self.close(position, row, end, now, turn);
                    return Stage::Refused;
                }
                row.stage = Stage::Sealed;
                row.packet = Some(packet);
                row.statement = Some(statement);
                row.size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                row.seq = seq;
                let chain = ChainRow { seq, packet };
                self.outbox.chains.insert(row.flow.clone(), chain);
                turn.writes.push(Write::Chain(row.flow.clone(), chain));
                let bytes: Arc<[u8]> = bytes.into();
                turn.blobs.push((packet, Arc::clone(&bytes)));
                self.outbox.fresh.insert(packet, bytes);
                let about = (packet, draft.declared.message_type.as_str());
                self.record_sent(&row, about, (draft.trace, &draft.body), now, ports, turn);
                self.store(position, Item { row, draft: None }, turn);
                Stage::Sealed
            }
            Err(refusal) => {
                self.close(position, row, (Stage::Refused, refusal.number()), now, turn);
                Stage::Refused
            }
        }
    }

    /// When what is sealed at `now` ends: as was said at the push, and no later than its covenant lets it. A clock that was
    /// put back since would make it valid for longer, and the broker would refuse it.
    fn valid_until(&self, row: &OutboxRow, now: Timestamp) -> Timestamp {
        // Without the covenant nothing is sealed.
        let longest = self.agreed.get(&row.covenant).map_or(TTL_MAX, |one| one.compiled().covenant().max_ttl);
        row.expires.min(now.plus(longest.min(TTL_MAX)))
    }

    /// Judges what is to be sealed at `now`. Tells whether it has to wait for how its case stands.
    pub(super) fn judge_draft(
        &self,
        row: &OutboxRow,
        draft: &Draft,
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        let question = Question {
            flow: &row.flow,
            sender: self.settings.oin,
            recipients: &row.recipients,
            case: row.case,
            declared: &draft.declared,
            now,
            issued: now,
            expires: self.valid_until(row, now),
            size: Size::Body(u64::try_from(draft.body.len()).unwrap_or(u64::MAX)),
        };
        let (_, waits) = self.agreed.judge_outgoing(&row.covenant, &question)?;
        let compiled = self.agreed.get(&row.covenant)?.compiled();
        onward::admits(
            &draft.provenance,
            (compiled, self.agreed.keys()),
            &row.flow,
            self.settings.oin,
            &row.recipients,
            now,
        )?;
        self.judge_carried(&draft.declared.message_type, &draft.body, compiled, now)?;
        Ok(waits)
    }

    fn sealed(
        &self,
        row: &OutboxRow,
        draft: &Draft,
        now: Timestamp,
        ports: Ports<'_>,
    ) -> Result<(Sealed, u64), Refusal> {
        if self.unreleased(&row.msg_id, &row.covenant, &row.flow, draft) {
            return Err(Refusal::NotReleased);
        }
        if self.judge_draft(row, draft, now)? {
            return Err(Refusal::UnknownCase);
        }
        let compiled = self.agreed.get(&row.covenant)?.compiled();
        let mut recipients = Vec::with_capacity(row.recipients.len());
        let mut keys: Vec<&PrekeyPublic> = Vec::with_capacity(row.recipients.len());
        for oin in &row.recipients {
            let prekey =
                self.prekeys.usable_under(compiled, self.agreed.keys(), oin, now).ok_or(Refusal::NoPrekey)?;
            recipients.push(Recipient { oin: *oin, prekey: prekey.public.id() });
            keys.push(&prekey.public);
        }
        let chain = self.outbox.chains.get(&row.flow);
        let seq = chain.map_or(1, |last| last.seq.saturating_add(1));
        let mut context = Context {
            version: packet::VERSION,
            msg_id: row.msg_id,
            covenant: row.covenant,
            flow: row.flow.clone(),
            case: row.case,
            declared: draft.declared.clone(),
            sender: self.settings.oin,
            signer: ports.signer.public().thumbprint(),
            recipients,
            seq,
            prev: chain.map(|last| last.packet),
            issued: now,
            expires: row.expires,
            in_reply_to: draft.in_reply_to,
            trace: draft.trace,
            commitment: Digest([0; 32]),
        };
        let chance = SealRandomness { key: ports.random(), iv: ports.random(), salt: ports.random() };
        let crypto = ports.crypto;
        let plain = Plain { media_type: MEDIA_TYPE, provenance: &draft.provenance, body: &draft.body };
        packet::seal(crypto, &mut context, &keys, plain, &chance, ports.signer).map(|sealed| (sealed, seq))
    }

    /// Seals, in order, every draft whose recipients have keys; ends those whose time is over.
    pub(crate) fn seal_drafts(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        let mut blocked: BTreeSet<(String, Oin)> = BTreeSet::new();
        let drafts: Vec<u64> = self.outbox.drafts.iter().copied().collect();
        for position in drafts {
            let Some(item) = self.outbox.open.get(&position) else { continue };
            let ended = item.row.expires <= now;
            let overtakes = |oin: &Oin| blocked.contains(&(item.row.flow.clone(), *oin));
            let free = !item.row.recipients.iter().any(overtakes)
                && self.keys_at_hand(&item.row, now)
                && !self.agreed.cases.waits(item.row.case);
            if !ended && !free {
                blocked.extend(item.row.recipients.iter().map(|oin| (item.row.flow.clone(), *oin)));
                continue;
            }
            let Some(Item { row, draft }) = self.outbox.take(position) else { continue };
            turn.writes.push(Write::Draft(position, None));
            if ended {
                self.close(position, row, EXPIRED, now, turn);
                continue;
            }
            let opened = draft.and_then(|locked| open_draft(position, &locked, ports));
            if let Some(draft) = opened {
                self.seal(position, row, &draft, now, ports, turn);
            } else {
                self.alarm(AlarmKind::StoreKey, format!("draft {}", row.msg_id), now, turn);
                self.close(position, row, (Stage::Refused, Refusal::CannotOpen.number()), now, turn);
            }
        }
    }
}
