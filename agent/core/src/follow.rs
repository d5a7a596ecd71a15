//! What becomes of own packets after their verdict: told by the broker, proved by its log, signed by recipients.
//!
//! Nothing is believed of a notice but what is proved: its entries stand in the log, what a recipient said is
//! signed by its key of that moment, and links to the very entry this agent's verdict proved. What does not is
//! an alarm, and is kept. Notices are taken in their order, and not before the verdict they come after.

use std::collections::{BTreeMap, VecDeque};

use seinhuis_shared::acknowledgement::{Acknowledged, Part, Said};
use seinhuis_shared::cbor::{self, Bytes};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, MsgId, Oin};
use seinhuis_shared::limits::{NOTICES_INFLIGHT, NOTICES_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::Notices;

use crate::engine::Core;
use crate::rows::{AlarmKind, Noted, NoticesRow, OutboxRow, Reached, Stage, Write};
use crate::turn::{Event, Send, Turn};

/// Most notices that wait for a verdict; a broker that keeps to its window sends no more.
const WAITING_MAX: usize = 2 * NOTICES_INFLIGHT;

/// Where the proof of a step stands: the number of the kept notices, and the entry's place in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How far the packet is by it.
    pub reached: Reached,
    /// The entry's index in the log.
    pub index: u64,
    /// The row of the notices.
    pub row: u64,
    /// The entry's place in it.
    pub place: u16,
}

/// A packet on its way to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// The recipient.
    pub to: Oin,
    /// The hash of the entry with which it was accepted for this recipient.
    pub accepted: Digest,
    /// What was proved since, in order.
    pub steps: Vec<Step>,
    /// The hash of the item with which the recipient said that it is stored.
    stored: Option<Digest>,
}

impl Track {
    /// How far it is.
    pub fn reached(&self) -> Reached {
        self.steps.last().map_or(Reached::Accepted, |step| step.reached)
    }
}

/// An accepted packet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Followed {
    packet: Digest,
    covenant: Digest,
    tracks: Vec<Track>,
}

#[derive(Debug, Default)]
pub(crate) struct Follow {
    packets: BTreeMap<MsgId, Followed>,
    next: u64,
    waiting: VecDeque<Notices>,
    /// The broker sent more than it may: nothing more of this session is taken.
    overrun: bool,
    /// The newest notices that are kept and not confirmed to the broker.
    taken: Option<u64>,
}

/// What is wrong with an entry of notices.
type Wrong = (AlarmKind, String);

/// Items of notices whose signature was checked, by their hash.
type Items = BTreeMap<Digest, Result<(Acknowledged, Oin), Refusal>>;

impl Follow {
    /// A packet was accepted for all its recipients.
    pub(crate) fn accepted(&mut self, row: &OutboxRow) {
        let Some(packet) = row.packet.filter(|_| row.stage == Stage::Done) else { return };
        let track = |(to, accepted): (&Oin, &Digest)| Track {
            to: *to,
            accepted: *accepted,
            steps: Vec::new(),
            stored: None,
        };
        let tracks = row.recipients.iter().zip(&row.links).map(track).collect();
        self.packets.insert(row.msg_id, Followed { packet, covenant: row.covenant, tracks });
    }

    /// Takes notices that counted before. None when the row is damaged.
    pub(crate) fn restore(&mut self, number: u64, row: &NoticesRow, own: Oin) -> Option<()> {
        self.next = self.next.max(number.saturating_add(1));
        let notices: Notices = cbor::strict(&row.notices, NOTICES_MAX).ok()?;
        let items: Items = notices
            .parts
            .iter()
            .flat_map(|part| &part.items)
            // Whose it is was checked when it was taken in, against the entry it counted with.
            .map(|item| (item.hash(), Ok((*item, own))))
            .collect();
        for place in &row.counted {
            let at = usize::from(*place);
            let entry = Entry::parse(notices.entries.get(at)?).ok()?;
            if entry.from == Some(own) {
                let step = (*notices.indexes.get(at)?, number, *place);
                self.take(&entry, step, &items, false).ok()?;
            }
        }
        Some(())
    }

    /// The session began or ended: what was not taken is told again.
    pub(crate) fn session(&mut self) {
        self.waiting.clear();
        self.overrun = false;
        self.taken = None;
    }

    pub(crate) fn tracks(&self, msg_id: &MsgId) -> &[Track] {
        self.packets.get(msg_id).map_or(&[], |one| &one.tracks)
    }

    /// Takes one entry about an own packet. Tells whether it says something that was not known.
    fn take(
        &mut self,
        entry: &Entry,
        (index, row, place): (u64, u64, u16),
        items: &Items,
        check_signer: bool,
    ) -> Result<bool, Wrong> {
        let broker = |what: &str| (AlarmKind::FalseNotice, format!("entry {index}: {what}"));
        let known = entry.msg_id.and_then(|id| self.packets.get_mut(&id));
        let followed = known.filter(|one| entry.packet == Some(one.packet));
        let Some(followed) = followed else {
            return Err((AlarmKind::UnknownNotice, format!("entry {index}: no packet of this agent")));
        };
        if entry.covenant != Some(followed.covenant) {
            return Err(broker("another covenant than the packet's"));
        }
        let track = followed.tracks.iter_mut().find(|track| Some(track.to) == entry.to);
        let track = track.ok_or_else(|| broker("not a recipient of the packet"))?;
        let (reached, after) = match entry.kind {
            Kind::Delivered if entry.reason.unwrap_or_default() == 0 => (Reached::Stored, Reached::Accepted),
            Kind::Delivered => (Reached::Quarantined, Reached::Accepted),
            Kind::Consumed => (Reached::Consumed, Reached::Stored),
            Kind::Withdrawn => (Reached::TakenBack, Reached::Accepted),
            Kind::Expired => (Reached::Expired, Reached::Accepted),
            Kind::Shredded => (Reached::Shredded, Reached::Accepted),
            Kind::Accepted
            | Kind::Refused
            | Kind::Covenant
            | Kind::Case
            | Kind::Key
            | Kind::KeyRotated
            | Kind::Partner
            | Kind::Export
            | Kind::Operator
            | Kind::Purged
            | Kind::Closing
            | Kind::Opening
            | Kind::Start
            | Kind::Stop => return Err(broker("of a kind that no notice has")),
        };
        if track.steps.iter().any(|step| step.index == index && step.reached == reached) {
            return Ok(false);
        }
        if track.reached() != after {
            return Err(broker(&format!("{reached} after {}", track.reached())));
        }
        if matches!(entry.kind, Kind::Delivered | Kind::Consumed) {
            let item = said(entry, track, items, check_signer)
                .map_err(|what| (AlarmKind::FalseStatement, format!("entry {index}: {what}")))?;
            if entry.kind == Kind::Delivered {
                track.stored = Some(item);
            }
        }
        track.steps.push(Step { reached, index, row, place });
        Ok(true)
    }
}

/// What the recipient signed that an entry rests on; its hash. It has to say what the entry says, and to link to
/// what went before.
fn said(entry: &Entry, track: &Track, items: &Items, check_signer: bool) -> Result<Digest, String> {
    let hash = entry.statement.ok_or("it names no statement of the recipient")?;
    let found = items.get(&hash).ok_or("the statement it names is not there")?;
    let (item, recipient) = found.map_err(|refusal| format!("the statement does not count: {refusal}"))?;
    let (kind, previous) = match item.said {
        Said::Stored => (Kind::Delivered, Some(track.accepted)),
        Said::Consumed => (Kind::Consumed, track.stored),
    };
    let same = kind == entry.kind
        && Some(item.msg_id) == entry.msg_id
        && Some(item.packet) == entry.packet
        && item.outcome == entry.reason.unwrap_or_default();
    if !same {
        return Err("the statement says something else".into());
    }
    if check_signer && recipient != track.to {
        return Err("the statement is another organisation's".into());
    }
    if previous == Some(item.previous) { Ok(hash) } else { Err("the statement links elsewhere".into()) }
}

impl Core {
    /// How far a message is at each of its recipients; nothing before it is accepted.
    pub fn tracks(&self, msg_id: &MsgId) -> &[Track] {
        self.follow.tracks(msg_id)
    }

    /// Notices came; they are looked at when the turn ends, after its verdicts.
    pub(crate) fn notices(&mut self, notices: Notices) {
        if self.follow.waiting.len() >= WAITING_MAX {
            self.follow.overrun = true;
        }
        if !self.follow.overrun {
            self.follow.waiting.push_back(notices);
        }
    }

    /// Takes the notices whose verdicts are here, and tells the broker that they are kept.
    pub(crate) fn take_notices(&mut self, now: Timestamp, turn: &mut Turn) {
        // On the way to another log nothing is known of it yet: they wait.
        if !self.connected {
            return;
        }
        while let Some(notices) = self.follow.waiting.front() {
            if self.trust.forked() || self.awaits(notices) {
                break;
            }
            let Some(notices) = self.follow.waiting.pop_front() else { break };
            if !self.take_one(&notices, now, turn) {
                // Not proved: it is told again in the next session, and so is what comes after.
                self.follow.waiting.clear();
                self.follow.overrun = true;
                break;
            }
            self.follow.taken = Some(notices.cursor);
        }
        turn.sends.extend(self.follow.taken.take().map(Send::NoticesTaken));
    }

    /// Whether one of the entries is about a packet whose verdict is not here, or a statement in it may be signed with a
    /// key that is on its way here: the broker told of more about the version than is known. One that tells and never
    /// gives it says as much as one without notices.
    fn awaits(&self, notices: &Notices) -> bool {
        let sealed = !self.outbox.has_nothing_sealed();
        let mut entries = notices.entries.iter().filter_map(|bytes| Entry::parse(bytes).ok());
        entries.any(|entry| {
            entry.covenant.is_some_and(|covenant| self.agreed.behind(&covenant))
                || (sealed && self.awaits_verdict(&entry))
        })
    }

    fn awaits_verdict(&self, entry: &Entry) -> bool {
        let found = entry.msg_id.and_then(|id| self.outbox.find(&id));
        entry.from == Some(self.settings.oin) && found.is_some_and(|(_, stage)| stage == Stage::Sealed)
    }

    /// Takes notices. `false` when they are not proved.
    fn take_one(&mut self, notices: &Notices, now: Timestamp, turn: &mut Turn) -> bool {
        let (entries, signed) = match self.trust.notices(notices) {
            Ok(read) => read,
            Err(error) => {
                let detail = format!("notices {}: {error}", notices.cursor);
                self.alarm(AlarmKind::FalseNotice, detail, now, turn);
                return false;
            }
        };
        if !self.observe(&signed, now, turn) {
            return false;
        }
        let items = self.signed_items(notices, &entries);
        let number = self.follow.next;
        let (mut counted, mut news) = (Vec::new(), false);
        for (place, (index, entry)) in (0_u16..).zip(&entries) {
            self.retention.witness(entry.time);
            let step = (*index, number, place);
            let taken = if entry.from == Some(self.settings.oin) {
                self.follow.take(entry, step, &items, true)
            } else if entry.to == Some(self.settings.oin) && entry.kind == Kind::Withdrawn {
                Ok(self.taken_from_here(entry, now, turn))
            } else {
                Err((AlarmKind::FalseNotice, format!("entry {index}: not this organisation's")))
            };
            match taken {
                Ok(true) => {
                    counted.push(place);
                    news = true;
                    self.told(entry, turn);
                    self.correction_reached(entry, now, turn);
                }
                Ok(false) => {}
                Err((kind, detail)) => {
                    // What is wrong is kept as evidence.
                    news = true;
                    self.alarm(kind, detail, now, turn);
                }
            }
        }
        if news {
            self.follow.next = number.saturating_add(1);
            let row = NoticesRow { notices: Bytes(cbor::encode(notices)), counted };
            turn.writes.push(Write::Notices(number, Box::new(row)));
        }
        true
    }

    fn told(&self, entry: &Entry, turn: &mut Turn) {
        let (Some(msg_id), Some(to)) = (entry.msg_id, entry.to) else { return };
        let track = self.follow.tracks(&msg_id).iter().find(|track| track.to == to);
        if let Some(track) = track.filter(|_| entry.from == Some(self.settings.oin)) {
            turn.events.push(Event::Reached { msg_id, to, reached: track.reached() });
        }
    }

    /// The items of notices, each with whose signature it stands under: one verification for each list signed.
    fn signed_items(&self, notices: &Notices, entries: &[(u64, Entry)]) -> Items {
        let named: BTreeMap<Digest, &Entry> =
            entries.iter().filter_map(|(_, entry)| Some((entry.statement?, entry))).collect();
        let of = |hash: &Digest| named.get(hash).copied();
        let mut items = Items::new();
        for part in &notices.parts {
            let hashes: Vec<Digest> = part.items.iter().map(Acknowledged::hash).collect();
            let verified = hashes.iter().find_map(of).map_or(Err(Refusal::StatementUnlinked), |entry| {
                self.signed_by(part, entry).map(|recipient| (recipient, entry))
            });
            for (hash, item) in hashes.iter().zip(&part.items) {
                let verified = verified.and_then(|(recipient, first)| {
                    let entry = of(hash).ok_or(Refusal::StatementUnlinked)?;
                    let alike = entry.covenant == first.covenant && entry.time == first.time;
                    // Another version may pin other keys.
                    if !alike {
                        self.statement_key(part, entry)?;
                    }
                    Ok((*item, recipient))
                });
                items.insert(*hash, verified);
            }
        }
        items
    }

    /// Whose signature a part stands under, by the key that counts for the packet an entry is about.
    fn signed_by(&self, part: &Part, entry: &Entry) -> Result<Oin, Refusal> {
        let key = self.statement_key(part, entry)?;
        let signed =
            part.verify(|kid| if key.thumbprint() == kid { Ok(key) } else { Err(Refusal::UnknownKey) })?;
        if Some(signed.recipient) == entry.to { Ok(signed.recipient) } else { Err(Refusal::UnknownKey) }
    }

    fn statement_key(
        &self,
        part: &Part,
        entry: &Entry,
    ) -> Result<seinhuis_shared::signing::PublicKey, Refusal> {
        let (to, covenant) =
            (entry.to.ok_or(Refusal::UnknownKey)?, entry.covenant.ok_or(Refusal::UnknownCovenant)?);
        let compiled = self.agreed.find(&covenant)?.compiled();
        self.agreed.keys().signing_key(compiled, to, part.signer()?, entry.time)
    }

    /// A packet for this organisation was taken back by its sender before it was acknowledged. If it is here all
    /// the same, from a session that broke off, its body goes. Tells whether it is.
    fn taken_from_here(&mut self, entry: &Entry, now: Timestamp, turn: &mut Turn) -> bool {
        let (Some(sender), Some(msg_id)) = (entry.from, entry.msg_id) else { return false };
        let claimed = self.inbox.claimed(sender, msg_id);
        let Some(here) = claimed.filter(|one| Some(one.packet) == entry.packet && !one.evidence) else {
            return false;
        };
        self.withdrawn_here(here.position, Noted { by: msg_id, at: entry.time }, now, turn)
    }
}
