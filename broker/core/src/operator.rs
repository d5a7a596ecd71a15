//! What the operator asks for and gets to know.

use std::collections::BTreeMap;
use std::sync::Arc;

use seinhuis_shared::covenant::{Agreement, Compiled};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::PublicKey;
use seinhuis_shared::time::Timestamp;

use crate::core::Core;
use crate::directory::Partner;
use crate::in_flight::Cause;
use crate::mailbox::MailItem;
use crate::past::Offset;
use crate::suspension::Suspendable;
use crate::turn::{Send, Turn};
use crate::upkeep::{Grant, Retention};
use crate::write::Write;

/// A command that waits for its answer; named by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(pub u64);

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The broker has started. Answered only once it may serve.
    Started {
        /// Whether the operator does not wait for the witnesses; that is logged.
        without_witnesses: bool,
    },
    /// The broker is about to stop in an orderly way.
    Stopping,
    /// Registers an organisation, or gives a revoked one its access back.
    AddPartner {
        /// Who.
        oin: Oin,
        /// Its name.
        name: String,
        /// Its signing key.
        key: PublicKey,
    },
    /// Takes an organisation's access away, at once.
    RevokePartner {
        /// Who.
        oin: Oin,
        /// SHA-256 of the reason that was given, if one was.
        reason: Option<Digest>,
    },
    /// Suspends a partner, a flow or intake, until it is resumed.
    Suspend {
        /// What.
        what: Suspendable,
        /// SHA-256 of the reason that was given.
        reason: Digest,
    },
    /// Ends a suspension.
    Resume {
        /// Of what.
        what: Suspendable,
        /// SHA-256 of the reason that was given.
        reason: Digest,
    },
    /// Has all that waits for a partner offered again, from the oldest: its sessions are closed.
    Requeue {
        /// For whom.
        oin: Oin,
        /// SHA-256 of the reason that was given.
        reason: Digest,
    },
    /// Somebody has seen an alarm and takes it up.
    NoteAlarm {
        /// Its code: lower-case letters and `-`.
        code: &'static str,
        /// The organisation it is about, if it is about one.
        subject: Option<Oin>,
        /// SHA-256 of the reason that was given.
        reason: Digest,
    },
    /// Puts up a version of a covenant for its parties to sign.
    LoadCovenant {
        /// The version.
        compiled: Arc<Compiled>,
    },
    /// Part of the log is about to be exported.
    Export {
        /// Whether everything of a period.
        complete: bool,
        /// SHA-256 of the purpose that was given: the text itself may say too much.
        purpose: Digest,
    },
    /// Begins the log of the clock's year, however many years are passed over. Answered when it is begun.
    RollOver,
    /// Begins a log under another origin. Answered when it is begun.
    NewOrigin {
        /// The origin.
        origin: String,
        /// SHA-256 of the reason that was given.
        reason: Digest,
    },
    /// The texts of a log's first entries are past their term and are to be removed.
    Purge {
        /// The log's number, from the first.
        log: usize,
        /// How many.
        entries: u64,
        /// When the last of them was logged.
        last: Timestamp,
    },
    /// Gives leave to read entries over HTTP.
    Grant {
        /// SHA-256 of the token.
        token: Digest,
        /// SHA-256 of the purpose that was given.
        purpose: Digest,
        /// Until when.
        until: Timestamp,
    },
    /// Ends leave to read entries.
    RevokeGrant {
        /// Its number.
        number: u32,
    },
    /// The log's files are not what they were.
    SelfCheckFailed,
    /// Something was done to an account of somebody who operates the broker.
    AccountChanged {
        /// SHA-256 of the line that says what, in a book of the operator's own.
        line: Digest,
    },
    /// Ends a packet that is damaged where it is kept, for all it waits for.
    DropDamaged {
        /// The packet.
        packet: Digest,
        /// SHA-256 of the reason that was given.
        reason: Digest,
    },
    /// Asks for everything that waits.
    Mail,
    /// Asks who may read entries over HTTP.
    Grants,
    /// Asks for the term of the log.
    Retention,
    /// Asks up to which index the texts of each log are removed.
    Purged,
    /// Asks for the partners.
    Partners,
    /// Asks for the covenants.
    Covenants,
    /// Asks how things stand.
    Overview,
    /// Asks for what is kept of a log's witnessed checkpoints.
    WitnessHistory {
        /// The log's origin.
        origin: String,
    },
    /// Asks how the witnesses of the log stand.
    Witnesses,
}

/// One partner, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartnerRow {
    /// Who.
    pub oin: Oin,
    /// Its name.
    pub name: String,
    /// Its signing key.
    pub key: PublicKey,
    /// When it was added.
    pub added: Timestamp,
    /// When its access was revoked.
    pub revoked: Option<Timestamp>,
    /// Since when it is suspended.
    pub suspended: Option<Timestamp>,
    /// Its agent's software, when connected.
    pub connected: Option<String>,
    /// Number of its prekey bundle.
    pub bundle: Option<u64>,
    /// When the last prekey of that ends.
    pub bundle_ends: Option<Timestamp>,
    /// How often a packet was offered to it that had been offered before, since the start.
    pub redelivered: u64,
    /// What its signed answers of the last hour say of its clock, while it is connected.
    pub clock: Option<Offset>,
}

/// One mailbox, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRow {
    /// Whose.
    pub oin: Oin,
    /// Packets waiting.
    pub packets: usize,
    /// Bytes waiting.
    pub bytes: u64,
    /// Offered and not acknowledged.
    pub inflight: usize,
    /// Of the packets that wait: held until they expire, or until what they rest on is back.
    pub frozen: usize,
    /// Position of the entry that says that the oldest was accepted.
    pub oldest: Option<u64>,
    /// The same of the oldest that is not held.
    pub oldest_open: Option<u64>,
    /// When the validity of the oldest ends.
    pub expires: Option<Timestamp>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is done and recorded, in the entry with this index.
    Recorded {
        /// The entry.
        index: u64,
    },
    /// It was so already; nothing changed.
    Unchanged,
    /// The partners.
    Partners(Vec<PartnerRow>),
    /// The covenants with what their parties said of them.
    Covenants(Vec<Agreement>),
    /// Who may read entries over HTTP.
    Grants(Vec<Grant>),
    /// The term of the log.
    Retention(Retention),
    /// Up to which index the texts of a log are removed, by its number.
    Purged(BTreeMap<usize, u64>),
    /// Everything that waits, with whom for: by recipient, in the order of acceptance.
    Mail(Vec<(Oin, MailItem)>),
    /// How things stand.
    Overview(crate::core::Overview),
    /// What is kept of a log's witnessed checkpoints, each with its covenant, by rising size.
    WitnessHistory(Vec<(Digest, crate::write::WitnessedRow)>),
    /// How the witnesses of the log stand.
    Witnesses(Box<crate::witnesses::Watch>),
}

impl Core {
    pub(crate) fn operate(
        &mut self,
        id: CommandId,
        command: Command,
        (now, clock): (Timestamp, Timestamp),
        turn: &mut Turn,
    ) {
        let answer = match command {
            Command::Started { without_witnesses } => Ok(self.started(without_witnesses, now, turn)),
            Command::RollOver => match self.roll_over(id, clock) {
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            },
            Command::NewOrigin { origin, reason } => match self.new_origin(id, (origin, reason), now, turn) {
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            },
            Command::Purge { log, entries, last } => self.purge((log, entries, last), clock, turn),
            Command::Grant { token, purpose, until } => self.grant((token, purpose), until, now, turn),
            Command::RevokeGrant { number } => self.revoke_grant(number, now, turn),
            Command::SelfCheckFailed => {
                Ok(self.note_operation(Kind::Operator, None, "self-check-failed", now, turn))
            }
            Command::AccountChanged { line } => {
                let act = (Kind::Operator, None, "account-changed".to_owned());
                Ok(Answer::Recorded { index: self.note_act(act, Some(line), now, turn) })
            }
            Command::DropDamaged { packet, reason } => self.drop_damaged((packet, reason), now, turn),
            Command::Mail => Ok(Answer::Mail(self.mail(|_| true))),
            Command::Grants => Ok(Answer::Grants(self.grants().to_vec())),
            Command::Purged => Ok(Answer::Purged(self.purged().collect())),
            Command::Retention => Ok(Answer::Retention(self.retention(clock))),
            Command::WitnessHistory { origin } => Ok(Answer::WitnessHistory(self.witness_history(&origin))),
            Command::Stopping => Ok(self.note_operation(Kind::Stop, None, "stopping", now, turn)),
            Command::AddPartner { oin, name, key } => self.add_partner(oin, name, key, now, turn),
            Command::RevokePartner { oin, reason } => self.revoke_partner((oin, reason), now, turn),
            Command::Suspend { what, reason } => self.suspend((what, reason), now, turn),
            Command::Resume { what, reason } => self.resume((what, reason), now, turn),
            Command::Requeue { oin, reason } => self.requeue((oin, reason), now, turn),
            Command::NoteAlarm { code, subject, reason } => {
                let act = (Kind::Operator, subject, format!("alarm:{code}"));
                Ok(Answer::Recorded { index: self.note_act(act, Some(reason), now, turn) })
            }
            Command::LoadCovenant { compiled } => self.load_covenant(compiled, now, turn),
            Command::Export { complete, purpose } => Ok(self.note_export(complete, purpose, now, turn)),
            Command::Partners => Ok(Answer::Partners(self.partner_rows())),
            Command::Covenants => {
                Ok(Answer::Covenants(self.state.directory.agreements.iter().cloned().collect()))
            }
            Command::Overview => Ok(Answer::Overview(self.overview(now))),
            Command::Witnesses => Ok(Answer::Witnesses(Box::new(self.witness_watch(now)))),
        };
        turn.send(Send::Answer { id, answer });
    }

    fn started(&mut self, without_witnesses: bool, now: Timestamp, turn: &mut Turn) -> Answer {
        let answer = self.note_operation(Kind::Start, None, "started", now, turn);
        if without_witnesses {
            self.note_operation(Kind::Operator, None, "started-without-witnesses", now, turn);
        }
        answer
    }

    fn note_operation(
        &mut self,
        kind: Kind,
        subject: Option<Oin>,
        detail: &str,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Answer {
        Answer::Recorded { index: self.note_act((kind, subject, detail.to_owned()), None, now, turn) }
    }

    /// Logs an act, with the SHA-256 of what was said of it; the index of its entry.
    pub(crate) fn note_act(
        &mut self,
        (kind, subject, detail): (Kind, Option<Oin>, String),
        statement: Option<Digest>,
        now: Timestamp,
        turn: &mut Turn,
    ) -> u64 {
        let index = self.next_index(turn);
        let mut entry = self.entry(kind, now, turn);
        (entry.subject, entry.detail, entry.statement) = (subject, Some(detail), statement);
        turn.entry(&entry);
        index
    }

    /// Closes a partner's sessions: what was offered on them comes again on the next, in order, by the way of every
    /// connection that broke.
    fn requeue(
        &mut self,
        (oin, reason): (Oin, Digest),
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Answer, Refusal> {
        self.state.directory.partner(&oin)?;
        if self.sessions.of(&oin).is_empty() {
            return Ok(Answer::Unchanged);
        }
        let act = (Kind::Partner, Some(oin), "requeued".to_owned());
        let index = self.note_act(act, Some(reason), now, turn);
        self.dismiss(&oin, Refusal::Requeued, now, turn);
        Ok(Answer::Recorded { index })
    }

    /// Closes all sessions of a partner.
    pub(crate) fn dismiss(&mut self, oin: &Oin, reason: Refusal, now: Timestamp, turn: &mut Turn) {
        for conn in self.sessions.of(oin).to_vec() {
            self.close(conn, now, turn);
            turn.send(Send::Close { conn, reason });
        }
    }

    /// What waits of these packets.
    fn mail(&self, wanted: impl Fn(&MailItem) -> bool) -> Vec<(Oin, MailItem)> {
        let mailboxes = self.state.mailboxes.iter();
        let all = mailboxes.flat_map(|(oin, mailbox)| mailbox.all_from(0).map(|item| (*oin, item)));
        all.filter(|(_, item)| wanted(item)).map(|(oin, item)| (oin, item.clone())).collect()
    }

    fn drop_damaged(
        &mut self,
        (packet, reason): (Digest, Digest),
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Answer, Refusal> {
        let waiting = self.mail(|item| item.packet == packet);
        if waiting.is_empty() {
            return Err(Refusal::NotFound);
        }
        let index = self.next_index(turn);
        for (recipient, mail) in waiting {
            let why = |entry: &mut Entry| {
                entry.reason = Some(Refusal::DamagedAtBroker.number());
                entry.statement = Some(reason);
            };
            self.shred(&recipient, &mail, why, now, turn);
            // It took up part of what a session may have under way.
            self.offer(&recipient, now, turn);
        }
        Ok(Answer::Recorded { index })
    }

    fn note_export(&mut self, complete: bool, purpose: Digest, now: Timestamp, turn: &mut Turn) -> Answer {
        let detail = if complete { "complete" } else { "selection" };
        Answer::Recorded { index: self.note_access(detail, purpose, now, turn) }
    }

    fn add_partner(
        &mut self,
        oin: Oin,
        name: String,
        key: PublicKey,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Answer, Refusal> {
        // An enrolment from before a rotation names a key that was given up: its successor counts.
        let keys = self.state.directory.agreements.keys();
        if keys.owner(key.thumbprint()).is_some_and(|owner| owner != oin) {
            return Err(Refusal::KeyInUse);
        }
        let key = keys.newest(key);
        let known = self.state.directory.partners.get(&oin);
        if known.is_some_and(|known| known.name == name && known.key == key && known.revoked.is_none()) {
            return Ok(Answer::Unchanged);
        }
        let back = known.is_some_and(|known| known.revoked.is_some());
        turn.directory_changed = true;
        self.record(turn, Write::Partner { oin, partner: Partner { name, key, added: now, revoked: None } });
        let answer = self.note_operation(Kind::Partner, Some(oin), "added", now, turn);
        if back {
            self.thaw(&oin, now, turn);
        }
        Ok(answer)
    }

    fn revoke_partner(
        &mut self,
        (oin, reason): (Oin, Option<Digest>),
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Answer, Refusal> {
        let known = self.state.directory.partners.get(&oin).ok_or(Refusal::UnknownPartner)?;
        if known.revoked.is_some() {
            return Ok(Answer::Unchanged);
        }
        let partner = Partner { revoked: Some(now), ..known.clone() };
        turn.directory_changed = true;
        self.record(turn, Write::Partner { oin, partner });
        self.forget_suspension(oin, turn);
        for conn in self.sessions.of(&oin).to_vec() {
            self.sessions.close(conn);
            turn.send(Send::Close { conn, reason: Refusal::PartnerRevoked });
        }
        let index = self.note_act((Kind::Partner, Some(oin), "revoked".to_owned()), reason, now, turn);
        self.lapsed(Cause::Revoked { partner: oin }, now, turn);
        Ok(Answer::Recorded { index })
    }

    fn load_covenant(
        &mut self,
        compiled: Arc<Compiled>,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<Answer, Refusal> {
        let index = self.next_index(turn);
        let new = self.put_up(compiled, None, now, turn)?;
        Ok(if new { Answer::Recorded { index } } else { Answer::Unchanged })
    }

    fn partner_rows(&self) -> Vec<PartnerRow> {
        let clock = |oin: &Oin| {
            let connected = !self.sessions.of(oin).is_empty();
            self.sessions.past(oin).filter(|_| connected)?.clock(self.accounts.clock)
        };
        self.state
            .directory
            .partners
            .iter()
            .map(|(oin, partner)| PartnerRow {
                oin: *oin,
                name: partner.name.clone(),
                key: partner.key,
                added: partner.added,
                revoked: partner.revoked,
                suspended: self.state.suspended.partners.get(oin).copied(),
                connected: self
                    .sessions
                    .of(oin)
                    .last()
                    .and_then(|conn| self.sessions.get(*conn))
                    .map(|session| session.software.clone()),
                bundle: self.state.prekeys.get(oin).map(|bundle| bundle.seq),
                bundle_ends: self.state.prekeys.get(oin).and_then(|bundle| bundle.ends),
                redelivered: self.sessions.past(oin).map_or(0, |past| past.again),
                clock: clock(oin),
            })
            .collect()
    }
}
