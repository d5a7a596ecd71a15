//! Telling every earlier recipient that a message is wrong, and following each until it has confirmed it.
//!
//! A correction goes to each recipient in a packet of its own, so that one of them that is away, has left or
//! refuses keeps nobody else waiting. All of them are made in one turn: after a crash either everybody is told
//! or nobody. What is not confirmed when its packet's time ends is said again by itself; sooner what was destroyed
//! on its way, what was delivered and stays without an answer, which may have been destroyed as well, and what was
//! refused because the recipient's access is revoked. What was refused otherwise waits for a person.

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_shared::covenant::json::{self, Json};
use seinhuis_shared::covenant::limits::BODY_DEPTH;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{MsgId, Oin};
use seinhuis_shared::limits::TTL_MAX;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};

use crate::engine::Core;
use crate::minimise::Rejection;
use crate::ports::Ports;
use crate::rows::{
    CorrectionKind, CorrectionRow, CorrectionState, InboxRow, OutboxRow, Stage, Write, position_key, table,
};
use crate::service::Notice;
use crate::turn::Turn;

/// Most corrections that are not settled.
const OPEN_MAX: usize = 4096;
/// Most that are said again in one tick.
const AGAIN_MAX: usize = 64;
/// Most earlier messages of one correction whose answers count.
const EARLIER_MAX: usize = 16;
/// First wait for an answer to what was delivered, and until what a revoked recipient was to hear is said again.
const PATIENCE: Span = Span::days(1);
/// Longest such wait: it doubles with each time it is said.
const PATIENCE_LONGEST: Span = Span::days(16);
/// Codes of an acknowledgement that say the recipient has dealt with it.
const PROCESSED: [&str; 3] = ["verwerkt", "gecorrigeerd", "vernietigd"];

/// What a person says of an earlier message.
#[derive(Clone, PartialEq, Eq)]
pub struct CorrectRequest {
    /// The earlier message.
    pub about: MsgId,
    /// What kind of thing.
    pub kind: CorrectionKind,
    /// The body, as the covenant's schema of the kind's message type has it.
    pub body: Vec<u8>,
    /// The earlier message's row, as the store has it; its fate is not read from here.
    pub sent: Option<Box<OutboxRow>>,
}

impl core::fmt::Debug for CorrectRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CorrectRequest({} {}, {} bytes)", self.kind, self.about, self.body.len())
    }
}

#[derive(Debug)]
struct Tracked {
    row: CorrectionRow,
    /// The locked body.
    body: Vec<u8>,
}

/// The corrections that are not settled.
#[derive(Debug, Default)]
pub(crate) struct Corrections {
    next: u64,
    all: BTreeMap<u64, Tracked>,
    /// Which correction a message says.
    by_message: BTreeMap<MsgId, u64>,
    /// Corrections that wait for the fate of the earlier message, behind that message.
    waiting: BTreeSet<(MsgId, u64)>,
    /// Own messages that were withdrawn.
    withdrawn: BTreeSet<MsgId>,
    /// Messages whose fate became known in this turn.
    fates: Vec<(MsgId, Fate)>,
    done: u64,
}

/// What became of a message, as far as its recipients are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They have it, or may have it.
    Received,
    /// Nobody has it.
    Refused(u16),
}

impl Corrections {
    /// How many are open.
    fn open(&self) -> usize {
        self.all.values().filter(|one| one.row.state.is_open()).count()
    }

    /// How many are open, refused and done.
    pub(crate) fn counts(&self) -> (usize, usize, u64) {
        let open = self.open();
        (open, self.all.len().saturating_sub(open), self.done)
    }

    pub(crate) fn restore_row(&mut self, number: u64, row: CorrectionRow) {
        self.next = self.next.max(number.saturating_add(1));
        self.keep(number, row, Vec::new());
    }

    pub(crate) fn restore_body(&mut self, number: u64, body: Vec<u8>) -> Option<()> {
        self.all.get_mut(&number)?.body = body;
        Some(())
    }

    fn keep(&mut self, number: u64, row: CorrectionRow, body: Vec<u8>) {
        if row.kind == CorrectionKind::Withdrawal {
            self.withdrawn.insert(row.about);
        }
        if row.state == CorrectionState::Waiting {
            self.waiting.insert((row.about, number));
        } else {
            self.waiting.remove(&(row.about, number));
        }
        if row.state.is_final() {
            self.done = self.done.saturating_add(1);
            return;
        }
        self.by_message.extend(row.message.iter().chain(&row.earlier).map(|id| (*id, number)));
        self.all.insert(number, Tracked { row, body });
    }

    /// A message came to its end. A packet that once was made may have been accepted even when this agent
    /// never learnt it.
    pub(crate) fn message_ended(&mut self, row: &OutboxRow) {
        let fate = match row.stage {
            Stage::Done => Fate::Received,
            Stage::Expired if row.packet.is_some() => Fate::Received,
            Stage::Expired => Fate::Refused(Refusal::Expired.number()),
            Stage::Refused | Stage::Denied => Fate::Refused(row.outcome),
            Stage::Draft | Stage::Held | Stage::Sealed => return,
        };
        if self.by_message.contains_key(&row.msg_id) || self.waiting_for(row.msg_id).next().is_some() {
            self.fates.push((row.msg_id, fate));
        }
    }

    fn waiting_for(&self, about: MsgId) -> impl Iterator<Item = u64> {
        self.waiting.range((about, 0)..=(about, u64::MAX)).map(|(_, number)| *number)
    }

    fn chosen(&self, chosen: impl Fn(&CorrectionRow) -> bool) -> Vec<u64> {
        self.all.iter().filter(|(_, one)| chosen(&one.row)).map(|(number, _)| *number).collect()
    }

    /// Changes a row; what comes to its end is let go of, its body with it.
    fn change(&mut self, number: u64, edit: impl FnOnce(&mut CorrectionRow), turn: &mut Turn) {
        let Some(mut one) = self.all.remove(&number) else { return };
        edit(&mut one.row);
        turn.writes.push(Write::Correction(number, Box::new(one.row.clone())));
        if one.row.state.is_final() {
            for id in one.row.message.iter().chain(&one.row.earlier) {
                self.by_message.remove(id);
            }
            turn.writes.push(Write::CorrectionBody(number, None));
        }
        self.keep(number, one.row, one.body);
    }
}

/// When what was said so many times is due again, though its packet is still valid.
fn due_again(times: u32, now: Timestamp) -> Timestamp {
    now.plus(PATIENCE.doubled(times.saturating_sub(1), PATIENCE_LONGEST))
}

/// Whether a correction was refused because its recipient had no access, which may come back.
fn is_shut_out(row: &CorrectionRow) -> bool {
    row.state == CorrectionState::Refused && row.outcome == Refusal::RecipientRevoked.number()
}

/// Reads one text of a body that has passed its schema.
pub(crate) fn text_of(body: &[u8], key: &str) -> Option<String> {
    match json::parse(body, BODY_DEPTH) {
        Ok(Json::Object(fields)) => fields.get(key).and_then(Json::as_text).map(str::to_owned),
        Ok(
            Json::Null | Json::Bool(_) | Json::Integer(_) | Json::OtherNumber | Json::Text(_) | Json::List(_),
        )
        | Err(_) => None,
    }
}

impl Core {
    /// This organisation says that an own message is wrong. A draft of it is taken back instead.
    pub(crate) fn correct(
        &mut self,
        token: u64,
        request: &CorrectRequest,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let result = self.try_correct(request, now, ports, turn);
        turn.answers.push((token, result));
    }

    fn try_correct(
        &mut self,
        request: &CorrectRequest,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        let CorrectRequest { about, body, .. } = request;
        if text_of(body, "bericht").as_deref() != Some(about.to_string().as_str()) {
            return Err(Rejection::new(
                Refusal::FieldInvalid,
                format!("Het veld `bericht` moet {about} zijn."),
                format!("The field `bericht` must be {about}."),
            ));
        }
        let (position, stage) = self.outbox.find(about).ok_or(Refusal::UnknownMessage)?;
        if matches!(stage, Stage::Draft | Stage::Held) {
            self.end_unsealed(position, (Stage::Refused, Refusal::TakenBack.number()), now, turn);
            return Ok(());
        }
        if self.corrections.withdrawn.contains(about) {
            return Err(Refusal::AlreadyWithdrawn.into());
        }
        let sent = self.outbox.open_row(position).or(request.sent.as_deref()).cloned();
        let sent = sent.filter(|row| row.msg_id == *about).ok_or(Refusal::NothingToCorrect)?;
        let waits = match stage {
            Stage::Done => false,
            Stage::Expired if sent.packet.is_some() => false,
            Stage::Sealed => true,
            Stage::Draft | Stage::Held | Stage::Denied | Stage::Refused | Stage::Expired => {
                return Err(Refusal::NothingToCorrect.into());
            }
        };
        if self.carries_evidence(&sent) {
            return Err(Refusal::NothingToCorrect.into());
        }
        if self.corrections.open().saturating_add(sent.recipients.len()) > OPEN_MAX {
            return Err(Refusal::TooBusy.into());
        }
        self.tell_recipients(&sent, request, waits, now, ports, turn)
    }

    fn tell_recipients(
        &mut self,
        sent: &OutboxRow,
        request: &CorrectRequest,
        waits: bool,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        let notice = |to| Notice {
            covenant: sent.covenant,
            step: &sent.step,
            message_type: request.kind.message_type(),
            to,
            about: Some(sent.msg_id),
            body: &request.body,
        };
        let checked: Vec<_> =
            sent.recipients.iter().map(|to| self.check_notice(&notice(*to), now, ports)).collect();
        if let Some(Err(rejection)) = checked.first()
            && checked.iter().all(Result::is_err)
        {
            // Nobody at all can be told: that is for who asks to repair, and nothing is kept of it.
            return Err(rejection.clone());
        }
        let numbers = self.corrections.next..;
        let lock =
            |number: &u64| ports.locker.lock(table::CORRECTION_BODY, &position_key(*number), &request.body);
        let numbers: Vec<u64> = numbers.take(sent.recipients.len()).collect();
        let locked: Option<Vec<_>> = numbers.iter().map(lock).collect();
        let locked = locked.ok_or(Refusal::TooBusy)?;
        for ((number, recipient), body) in numbers.iter().zip(&sent.recipients).zip(locked) {
            let row = CorrectionRow {
                about: sent.msg_id,
                kind: request.kind,
                recipient: *recipient,
                covenant: sent.covenant,
                step: sent.step.clone(),
                state: CorrectionState::Waiting,
                since: now,
                message: None,
                earlier: Vec::new(),
                until: now,
                times: 0,
                settled: None,
                outcome: 0,
                code: String::new(),
            };
            turn.writes.push(Write::Correction(*number, Box::new(row.clone())));
            turn.writes.push(Write::CorrectionBody(*number, Some(body.clone())));
            self.corrections.next = number.saturating_add(1);
            self.corrections.keep(*number, row, body);
        }
        if !waits {
            for number in numbers {
                self.say_correction(number, now, ports, turn);
            }
        }
        Ok(())
    }

    /// Whether what a message says of earlier ones has to stay as it is: its flow carries nothing else.
    pub(crate) fn carries_evidence(&self, sent: &OutboxRow) -> bool {
        let Ok(agreement) = self.agreed.find(&sent.covenant) else { return false };
        let flow = agreement.compiled().flow(&sent.flow);
        flow.is_some_and(|flow| flow.types.iter().all(|code| crate::service::is_evidence(code)))
    }

    /// Says a correction to its recipient, again if it was said before.
    fn say_correction(&mut self, number: u64, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        let Some(one) = self.corrections.all.get(&number) else { return };
        let row = one.row.clone();
        let key = position_key(number);
        let body = ports.locker.unlock(table::CORRECTION_BODY, &key, &one.body);
        let said = match &body {
            Some(body) => {
                let notice = Notice {
                    covenant: row.covenant,
                    step: &row.step,
                    message_type: row.kind.message_type(),
                    to: row.recipient,
                    about: Some(row.about),
                    body,
                };
                self.send_notice(&notice, now, ports, turn).map_err(|rejection| rejection.refusal)
            }
            None => Err(Refusal::CannotOpen),
        };
        let edit = |row: &mut CorrectionRow| match said {
            Ok((message, until)) => {
                row.earlier.extend(row.message);
                let surplus = row.earlier.len().saturating_sub(EARLIER_MAX);
                row.earlier.drain(..surplus);
                (row.message, row.until, row.state) = (Some(message), until, CorrectionState::Open);
                row.times = row.times.saturating_add(1);
                (row.settled, row.outcome) = (None, 0);
                row.code.clear();
            }
            Err(refusal) => {
                (row.state, row.outcome) = (CorrectionState::Refused, refusal.number());
                row.settled = Some(now);
            }
        };
        self.corrections.change(number, edit, turn);
    }

    /// At the end of a turn: what became known of messages decides what is said of them, in the same turn.
    pub(crate) fn settle_corrections(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        while let Some((message, fate)) = self.corrections.fates.pop() {
            let waiting: Vec<u64> = self.corrections.waiting_for(message).collect();
            for number in waiting {
                match fate {
                    Fate::Received => self.say_correction(number, now, ports, turn),
                    Fate::Refused(_) => {
                        let edit = |row: &mut CorrectionRow| {
                            (row.state, row.settled) = (CorrectionState::NotNeeded, Some(now));
                        };
                        self.corrections.change(number, edit, turn);
                    }
                }
            }
            if let Fate::Refused(outcome) = fate
                && let Some(number) = self.corrections.by_message.get(&message).copied()
            {
                let present = |one: &Tracked| {
                    one.row.message == Some(message) && one.row.state == CorrectionState::Open
                };
                let again = [Refusal::Expired.number(), Refusal::KeyGivenUp.number()].contains(&outcome);
                if again && self.corrections.all.get(&number).is_some_and(present) {
                    // Neither says anything of the correction: it is said anew, with the key that counts.
                    self.say_correction(number, now, ports, turn);
                    continue;
                }
                let edit = |row: &mut CorrectionRow| {
                    // An earlier attempt that ends says nothing about the present one.
                    if row.message == Some(message) && row.state == CorrectionState::Open {
                        (row.state, row.outcome) = (CorrectionState::Refused, outcome);
                        row.settled = Some(now);
                        if is_shut_out(row) {
                            row.until = due_again(row.times, now);
                        }
                    }
                };
                self.corrections.change(number, edit, turn);
            }
        }
    }

    /// The log says what became of a correction's packet at its recipient. What was destroyed is said again at the next
    /// tick, what was stored when no answer comes.
    pub(crate) fn correction_reached(&mut self, entry: &Entry, now: Timestamp, turn: &mut Turn) {
        let number = entry.msg_id.and_then(|id| self.corrections.by_message.get(&id).copied());
        let Some((number, one)) =
            number.and_then(|number| Some((number, self.corrections.all.get(&number)?)))
        else {
            return;
        };
        if one.row.message != entry.msg_id || one.row.state != CorrectionState::Open {
            return;
        }
        let stored = entry.kind == Kind::Delivered && entry.reason.unwrap_or_default() == 0;
        let due = if entry.kind == Kind::Shredded {
            // Less often each time: a broker that destroys everything is not to be flooded.
            now.plus(Span::minutes(u64::from(one.row.times.saturating_sub(1))))
        } else if stored && one.row.code.is_empty() {
            due_again(one.row.times, now)
        } else {
            return;
        };
        if due < one.row.until {
            self.corrections.change(number, |row| row.until = due, turn);
        }
    }

    /// Says again what is due: nobody confirmed it while its packet was valid, because the recipient was away all that
    /// time, or it is known sooner that it has to be.
    pub(crate) fn correct_again(&mut self, now: Timestamp, ports: Ports<'_>, turn: &mut Turn) {
        let due = |row: &CorrectionRow| {
            (row.state == CorrectionState::Open || is_shut_out(row)) && row.until <= now
        };
        for number in self.corrections.chosen(due).into_iter().take(AGAIN_MAX) {
            self.say_correction(number, now, ports, turn);
        }
    }

    /// A person asks to say again what was refused: all of it, or what is about one message.
    pub(crate) fn retry_corrections(
        &mut self,
        token: u64,
        about: Option<MsgId>,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) {
        let result = self.try_retry(about, now, ports, turn);
        turn.answers.push((token, result));
    }

    fn try_retry(
        &mut self,
        about: Option<MsgId>,
        now: Timestamp,
        ports: Ports<'_>,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        let due = |row: &CorrectionRow| {
            row.state == CorrectionState::Refused && about.is_none_or(|about| row.about == about)
        };
        let due = self.corrections.chosen(due);
        if due.is_empty() {
            return Err(Rejection::new(
                Refusal::NothingToCorrect,
                "Er is geen geweigerde correctie of intrekking; wat openstaat herhaalt de agent zelf.",
                "There is no refused correction or withdrawal; what is open the agent repeats by itself.",
            ));
        }
        for number in due {
            self.say_correction(number, now, ports, turn);
        }
        Ok(())
    }

    /// A partner answers. It counts only from the recipient that was told, about the message that told it.
    pub(crate) fn correction_answered(
        &mut self,
        sender: Oin,
        row: &InboxRow,
        body: &[u8],
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let Some(about) = row.in_reply_to else { return };
        let Some(number) = self.corrections.by_message.get(&about).copied() else { return };
        let from_them = |one: &Tracked| one.row.recipient == sender && !one.row.state.is_final();
        if text_of(body, "bericht") != Some(about.to_string())
            || !self.corrections.all.get(&number).is_some_and(from_them)
        {
            return;
        }
        let code = text_of(body, "code").unwrap_or_default();
        let state = match row.message_type.as_str() {
            "ontvangstbevestiging" if PROCESSED.contains(&code.as_str()) => CorrectionState::Done,
            "afwijzing" => CorrectionState::Refused,
            // It was received or read, and not dealt with yet.
            _ => CorrectionState::Open,
        };
        let edit = |row: &mut CorrectionRow| {
            if state == CorrectionState::Open {
                // The answer is there, and somebody is at work.
                (row.code, row.until) = (code, row.until.max(now.plus(TTL_MAX)));
                return;
            }
            (row.state, row.code, row.outcome, row.settled) = (state, code, 0, Some(now));
        };
        self.corrections.change(number, edit, turn);
    }
}
