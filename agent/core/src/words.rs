//! Two words about single packets: that its sender takes it back, that its recipient's application took it over.
//!
//! Each is a durable row first, then said until the broker has answered; the same word has the same bytes every
//! time, under the same key.

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_shared::acknowledgement::{Acknowledged, Acknowledgement};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::MsgId;
use seinhuis_shared::receipt::ReceiptError;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::{Consume, Entries, FetchEntries, Withdrawal, is_code};

use crate::engine::Core;
use crate::minimise::Rejection;
use crate::ports::Ports;
use crate::rows::{AlarmKind, ConsumedRow, InboxRow, OutboxRow, Stage, TakeBackRow, Write};
use crate::trust::Signed;
use crate::turn::{Send, Turn, Unfetched};

/// Most of these words under way at once.
const ASKED_MAX: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Words {
    taking_back: BTreeMap<u64, TakeBackRow>,
    consumed: BTreeMap<u64, ConsumedRow>,
    /// Those that have no answer that ends them.
    open: BTreeSet<Word>,
    /// Those of them that are under way in this session.
    asked: BTreeSet<Word>,
    /// Those put off until the next tick.
    put_off: BTreeSet<Word>,
}

/// By position in outbox or inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    TakeBack(u64),
    Consumed(u64),
}

impl Words {
    pub(crate) fn restore_take_back(&mut self, position: u64, row: TakeBackRow) {
        if !row.done && row.refused == 0 {
            self.open.insert(Word::TakeBack(position));
        }
        self.taking_back.insert(position, row);
    }

    pub(crate) fn restore_consumed(&mut self, position: u64, row: ConsumedRow) {
        if row.entry.is_none() && row.refused == 0 {
            self.open.insert(Word::Consumed(position));
        }
        self.consumed.insert(position, row);
    }

    /// The session began or ended.
    pub(crate) fn session(&mut self) {
        self.asked.clear();
        self.put_off.clear();
    }

    pub(crate) fn tick(&mut self) {
        self.put_off.clear();
    }

    /// An answer came, or none will.
    fn answered(&mut self, word: Word, again: bool) {
        self.asked.remove(&word);
        if again {
            self.put_off.insert(word);
        } else {
            self.open.remove(&word);
        }
    }
}

impl Core {
    /// That the message at this position of the outbox is taken back, if it is.
    pub fn take_back_row(&self, position: u64) -> Option<&TakeBackRow> {
        self.words.taking_back.get(&position)
    }

    /// That the message at this position of the inbox was consumed, if it was.
    pub fn consumed_row(&self, position: u64) -> Option<&ConsumedRow> {
        self.words.consumed.get(&position)
    }

    /// Takes a message back from the recipients that do not have it. `sent` is its row, when it is at its end.
    pub(crate) fn take_back(
        &mut self,
        about: MsgId,
        reason: String,
        sent: Option<&OutboxRow>,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        if !is_code(&reason) {
            return Err(Rejection::new(
                Refusal::FieldInvalid,
                "De reden is een code: 1 tot 64 tekens a-z, 0-9 en _.",
                "The reason is a code: 1 to 64 characters a-z, 0-9 and _.",
            ));
        }
        let (position, stage) = self.outbox.find(&about).ok_or(Refusal::UnknownMessage)?;
        let ended = (Stage::Refused, Refusal::TakenBack.number());
        match stage {
            Stage::Draft | Stage::Held => {
                self.end_unsealed(position, ended, now, turn);
                return Ok(());
            }
            Stage::Sealed if self.end_unsubmitted(position, ended, now, turn) => return Ok(()),
            Stage::Sealed | Stage::Done => {}
            Stage::Refused | Stage::Expired | Stage::Denied => {
                return Err(Refusal::TooLateToTakeBack.into());
            }
        }
        let row = self.outbox.open_row(position).or(sent).filter(|row| row.msg_id == about);
        let row = row.ok_or(Refusal::UnknownMessage)?;
        let packet = row.packet.ok_or(Refusal::UnknownMessage)?;
        if self.carries_evidence(row) {
            return Err(Refusal::NothingToCorrect.into());
        }
        // The same word again is the same word: its first reason and time stand.
        let known = self.words.taking_back.get(&position).cloned();
        let fresh = TakeBackRow { msg_id: about, packet, reason, since: now, done: false, refused: 0 };
        let row = TakeBackRow { done: false, refused: 0, ..known.unwrap_or(fresh) };
        self.words.restore_take_back(position, row.clone());
        turn.writes.push(Write::TakeBack(position, Box::new(row)));
        Ok(())
    }

    /// This organisation's application took a message over.
    pub(crate) fn consume(
        &mut self,
        position: u64,
        row: &InboxRow,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<(), Rejection> {
        let known = self.words.consumed.get(&position);
        if known.is_some_and(|known| known.refused == 0) {
            return Ok(());
        }
        let withdrawn = self.mark(position).is_some_and(|mark| mark.withdrawn.is_some());
        if row.outcome != 0 || withdrawn || self.erased(position).is_some() {
            return Err(Refusal::NotStored.into());
        }
        let row = ConsumedRow {
            msg_id: row.msg_id,
            packet: row.packet,
            accepted: row.link,
            origin: row.log().ok_or(Refusal::NotStored)?,
            index: row.index,
            since: known.map_or(now, |known| known.since),
            entry: None,
            entry_origin: String::new(),
            refused: 0,
        };
        self.words.restore_consumed(position, row.clone());
        turn.writes.push(Write::Consumed(position, Box::new(row)));
        Ok(())
    }

    /// Says what was not answered, a bounded number at a time.
    pub(crate) fn say_words(&mut self, ports: Ports<'_>, turn: &mut Turn) {
        if !self.connected || self.words.open.is_empty() || self.key_lost || self.is_handing_over() {
            return;
        }
        let open: Vec<Word> = self.words.open.iter().copied().collect();
        for word in open {
            if self.words.asked.len() >= ASKED_MAX {
                return;
            }
            if self.words.asked.contains(&word) || self.words.put_off.contains(&word) {
                continue;
            }
            let send = match word {
                Word::TakeBack(position) => self.say_take_back(position, ports, turn),
                Word::Consumed(position) => self.say_consumed(position, ports),
            };
            if let Some(send) = send {
                self.words.asked.insert(word);
                turn.sends.push(send);
            }
        }
    }

    fn say_take_back(&mut self, position: u64, ports: Ports<'_>, turn: &mut Turn) -> Option<Send> {
        let row = self.words.taking_back.get_mut(&position)?;
        match self.outbox.find(&row.msg_id).map(|(_, stage)| stage) {
            Some(Stage::Done) => {
                let word = Withdrawal {
                    version: 1,
                    sender: self.settings.oin,
                    msg_id: row.msg_id,
                    packet: row.packet,
                    issued: row.since,
                    reason: row.reason.clone(),
                };
                Some(Send::Withdraw { position, bytes: word.sign(ports.signer) })
            }
            // Its verdict decides whether there is anything to take back.
            Some(Stage::Sealed) => None,
            Some(_) | None => {
                row.refused = Refusal::TooLateToTakeBack.number();
                turn.writes.push(Write::TakeBack(position, Box::new(row.clone())));
                self.words.open.remove(&Word::TakeBack(position));
                None
            }
        }
    }

    fn say_consumed(&self, position: u64, ports: Ports<'_>) -> Option<Send> {
        let row = self.words.consumed.get(&position)?;
        let statement =
            Acknowledgement::sign_one(self.settings.oin, row.since, consumed_item(row), ports.signer);
        Some(Send::Consume {
            position,
            consume: Box::new(Consume { statement, origin: row.origin.clone(), accepted: row.index }),
        })
    }

    /// The broker's answer: the entries that say so, or a refusal's number.
    pub(crate) fn taken_back(
        &mut self,
        position: u64,
        answer: &Result<Box<Entries>, u16>,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let Some(mut row) = self.words.taking_back.get(&position).cloned() else { return };
        let word = Word::TakeBack(position);
        let own = self.settings.oin;
        let about = |entry: &Entry| {
            entry.kind == Kind::Withdrawn && entry.from == Some(own) && entry.packet == Some(row.packet)
        };
        match self.word_answered(answer, about, now, turn) {
            Answered::Later => return self.words.answered(word, true),
            Answered::Said(..) => (row.done, row.refused) = (true, 0),
            Answered::Refused(number) => (row.done, row.refused) = (false, number),
        }
        self.words.answered(word, false);
        self.words.taking_back.insert(position, row.clone());
        turn.writes.push(Write::TakeBack(position, Box::new(row)));
    }

    /// As [`Core::taken_back`], about a message that was consumed.
    pub(crate) fn consume_answered(
        &mut self,
        position: u64,
        answer: &Result<Box<Entries>, u16>,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let Some(mut row) = self.words.consumed.get(&position).cloned() else { return };
        let word = Word::Consumed(position);
        let (own, hash) = (self.settings.oin, consumed_item(&row).hash());
        let about = |entry: &Entry| {
            entry.kind == Kind::Consumed && entry.to == Some(own) && entry.statement == Some(hash)
        };
        match self.word_answered(answer, about, now, turn) {
            Answered::Later => return self.words.answered(word, true),
            Answered::Said(origin, index) => {
                (row.entry, row.entry_origin, row.refused) = (Some(index), origin, 0);
            }
            Answered::Refused(number) => row.refused = number,
        }
        self.words.answered(word, false);
        self.words.consumed.insert(position, row.clone());
        turn.writes.push(Write::Consumed(position, Box::new(row)));
    }

    /// Believes an answer only when its entries are proved and about this word.
    fn word_answered(
        &mut self,
        answer: &Result<Box<Entries>, u16>,
        about: impl Fn(&Entry) -> bool,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Answered {
        let entries = match answer {
            Ok(entries) => entries,
            // A key that was just given up: said again under the next.
            Err(number) => {
                let reason = Refusal::from_number(*number);
                let passing = reason.is_some_and(|one| one.is_passing() || one == Refusal::KeyGivenUp);
                return if passing { Answered::Later } else { Answered::Refused(*number) };
            }
        };
        let read = self.trust.entries(entries).and_then(|(entries, signed)| {
            let right = !entries.is_empty() && entries.iter().all(|(_, entry)| about(entry));
            if right { Ok((entries, signed)) } else { Err(ReceiptError::NotAboutThis) }
        });
        match read {
            Ok((entries, signed)) if self.observe(&signed, now, turn) => {
                let origin = signed.checkpoint.origin();
                entries
                    .first()
                    .map_or(Answered::Later, |(index, _)| Answered::Said(origin.to_owned(), *index))
            }
            Ok(_) => Answered::Later,
            Err(error) => {
                self.alarm(AlarmKind::FalseNotice, format!("the answer to a word: {error}"), now, turn);
                Answered::Later
            }
        }
    }

    /// Asks the broker for log entries this organisation is party to.
    pub(crate) fn fetch_entries(&self, token: u64, ask: FetchEntries, turn: &mut Turn) {
        if self.connected {
            turn.sends.push(Send::FetchEntries { token, ask });
        } else {
            turn.fetched.push((token, Err(Unfetched::NotConnected)));
        }
    }

    /// Log entries came that this organisation asked for: believed when each is proved and belongs to what was
    /// asked, which is its own.
    pub(crate) fn entries_came(
        &mut self,
        token: u64,
        ask: &FetchEntries,
        answer: Result<Box<Entries>, u16>,
        now: Timestamp,
        turn: &mut Turn,
    ) {
        let checked =
            answer.map_err(Unfetched::Refused).and_then(|entries| match self.check_entries(ask, &entries) {
                Ok(signed) if self.observe(&signed, now, turn) => Ok(entries),
                Ok(_) => Err(Unfetched::False("the log is forked, or owes proofs".to_owned())),
                Err(detail) => {
                    self.alarm(AlarmKind::FalseEntries, detail.clone(), now, turn);
                    Err(Unfetched::False(detail))
                }
            });
        turn.fetched.push((token, checked));
    }

    fn check_entries(&mut self, ask: &FetchEntries, entries: &Entries) -> Result<Signed, String> {
        let own = self.settings.oin;
        let (all, signed) = self.trust.entries(entries).map_err(|error| error.to_string())?;
        let asked = ask.origin.as_deref().unwrap_or(&self.trust.log().origin);
        if signed.checkpoint.origin() != asked {
            return Err(format!("the entries are of {}, not of {asked}", signed.checkpoint.origin()));
        }
        if let Some((index, _)) = all.iter().find(|(_, entry)| !ask.wants(entry, own)) {
            return Err(format!("entry {index} is not this organisation's, or was not asked for"));
        }
        let indexes: Vec<u64> = all.iter().map(|(index, _)| *index).collect();
        let rise = indexes.windows(2).all(|pair| matches!(pair, [one, next] if one < next));
        let first = indexes.first().is_none_or(|first| *first >= ask.first);
        let alone = !ask.one || (indexes == [ask.first] && entries.next.is_none());
        let on = entries
            .next
            .is_none_or(|next| next > ask.first && indexes.last().is_none_or(|last| next > *last));
        if rise && first && alone && on { Ok(signed) } else { Err("the entries are not in order".to_owned()) }
    }
}

enum Answered {
    /// To be said again.
    Later,
    /// The log of this origin says so, at this index.
    Said(String, u64),
    Refused(u16),
}

fn consumed_item(row: &ConsumedRow) -> Acknowledged {
    Acknowledged::stored(row.msg_id, row.packet, 0, row.accepted).consumed()
}
