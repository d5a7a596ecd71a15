//! An agent's core with its disk, driven as its shell drives it.

use std::sync::Arc;

use seinhuis_agent_core::backoff::Backoff;
use seinhuis_agent_core::rows::{CorrectionRow, CorrectionState, InboxRow, OutboxRow, position_key, table};
use seinhuis_agent_core::toy::Toy;
use seinhuis_agent_core::{Core, Input, Ports, Send, Settings, Turn, Write};
use seinhuis_broker_core::Change;
use seinhuis_shared::ids::{Digest, MsgId, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::Welcome;

use super::cast;
use super::disk::{Disk, State, Unflushed};
use super::oracle::{Broken, Violation};
use super::people::Deed;
use super::scenario::Dice;

/// Work for the agent's core.
#[derive(Debug)]
pub(super) enum Job {
    Input(Box<Input>),
    /// A session began on this connection.
    Connected(u64, Box<Welcome>),
    Disconnected,
    /// A person wants something done, and the token that leads the answer back.
    Deed(u64, Deed),
}

/// One agent.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) oin: Oin,
    settings: Settings,
    pub(super) signer: SigningKey,
    /// The key to rotate to.
    pub(super) next: Option<SigningKey>,
    witness: Option<SigningKey>,
    pub(super) toy: Toy,
    /// None while it does not run.
    pub(super) core: Option<Core>,
    pub(super) disk: Disk,
    pub(super) inbox: Vec<Job>,
    pending: Option<Turn>,
    /// The connection that is dialled or open.
    pub(super) conn: Option<u64>,
    /// What it was asked as a witness in the turn that waits for its flush.
    pub(super) asked: Vec<Vec<u8>>,
    /// The connection on which a turn's sends go out.
    pub(super) outgoing: Option<u64>,
    pub(super) backoff: Backoff,
}

impl Agent {
    pub(super) fn new(number: u8, (lies, witnesses): (bool, bool)) -> Result<Self, Violation> {
        let oin = cast::oin(number)?;
        Ok(Self {
            oin,
            settings: Settings { oin, log: cast::log_key(cast::ORIGIN)? },
            signer: cast::signer(number),
            next: None,
            witness: witnesses.then(|| cast::witness(number)),
            toy: Toy::starting(u64::from(number) << 32),
            core: None,
            disk: Disk::new(State::default(), lies),
            inbox: Vec::new(),
            pending: None,
            conn: None,
            outgoing: None,
            asked: Vec::new(),
            backoff: Backoff::default(),
        })
    }

    /// Reads the disk.
    ///
    /// # Errors
    /// What is wrong with it: the agent does not start.
    pub(super) fn open(&mut self) -> Result<(), &'static str> {
        self.disk.open()
    }

    /// Starts from what the disk holds, and if it is forgetful without what it pinned of the log.
    pub(super) fn start(&mut self, forgetful: bool) -> Result<(), Violation> {
        if forgetful {
            let trust = [table::PIN, table::WAITING, table::NOTE];
            self.disk.live.rows.retain(|(of, _), _| !trust.contains(of));
        }
        let state = &self.disk.live;
        let of = |of: u8| state.table(of).map(move |(key, value)| (of, key, value));
        let rows = table::ALL.into_iter().filter(|of| *of != table::BODY).flat_map(of);
        let core = Core::restore(self.settings.clone(), rows)
            .map_err(|error| Violation::new(Broken::Start, format!("agent {}: {error}", self.oin)))?;
        if !core.store_key_fits(self.ports()) {
            return Err(Violation::new(
                Broken::Start,
                format!("agent {}: its store does not open", self.oin),
            ));
        }
        self.core = Some(core);
        self.promote();
        Ok(())
    }

    fn ports(&self) -> Ports<'_> {
        Ports {
            crypto: &self.toy,
            chance: &self.toy,
            locker: &self.toy,
            signer: &self.signer,
            next: self.next.as_ref(),
            recording: None,
            witness: self.witness.as_ref(),
        }
    }

    /// Puts the next key in the place of the signing key once the log says that it took it.
    pub(super) fn promote(&mut self) {
        let (own, next) = (self.signer.public(), self.next.as_ref().map(SigningKey::public));
        let taken = |next| self.core.as_ref().is_some_and(|core| core.succeeds(&own, &next));
        if next.is_some_and(taken)
            && let Some(next) = self.next.take()
        {
            self.signer = next;
        }
    }

    /// The process is gone; a turn that waited for its flush is on the disk whole, in part or not at all.
    pub(super) fn crash(&mut self, unflushed: Unflushed, dice: &mut Dice) {
        let pending = self.pending.take().map(|turn| (changes(&turn), unflushed));
        self.disk.crash(pending, dice);
        self.core = None;
        self.inbox.clear();
        (self.conn, self.outgoing) = (None, None);
        self.backoff = Backoff::default();
    }

    /// Runs all that came in as one turn. Tells whether it has to be flushed before [`Self::finish`].
    pub(super) fn begin(&mut self, now: Timestamp) -> Result<bool, Violation> {
        let mut core = self.core.take().ok_or_else(|| cast::setup("the agent does not run"))?;
        let mut turn = Turn::default();
        self.asked.clear();
        for job in std::mem::take(&mut self.inbox) {
            let input = match job {
                Job::Input(input) => *input,
                Job::Connected(conn, welcome) => {
                    self.outgoing = Some(conn);
                    Input::Connected(welcome)
                }
                Job::Disconnected => {
                    self.outgoing = None;
                    Input::Disconnected
                }
                Job::Deed(token, deed) => match deed.input(token, &core, &self.disk.live) {
                    Some(input) => input,
                    None => continue,
                },
            };
            if let Input::AddCheckpoint(asked) = &input {
                self.asked.push(asked.clone());
            }
            core.handle(input, now, self.ports(), &mut turn);
        }
        core.finish(now, self.ports(), &mut turn);
        self.core = Some(core);
        let durable = !turn.is_read_only();
        self.pending = Some(turn);
        Ok(durable)
    }

    /// Whether the turn that waits for its flush cannot be written without copying what is damaged.
    pub(super) fn copies_damage(&self) -> bool {
        self.pending.as_ref().is_some_and(|turn| self.disk.copies_damage(&changes(turn)))
    }

    /// The turn is flushed; `twice` stores what came in a second time. What follows from it, and whether the agent stops
    /// after that: as its shell does at a packet that the disk gives back damaged. Nothing behind it goes out.
    pub(super) fn finish(&mut self, twice: bool) -> (Turn, bool) {
        let mut turn = self.pending.take().unwrap_or_default();
        let mut all = changes(&turn);
        if twice {
            let again = turn.writes.iter().filter_map(|write| {
                let Write::Inbox(at, row) = write else { return None };
                Some(Write::Inbox(at + 1_000_000, row.clone()))
            });
            all.extend(rows(&again.collect::<Vec<_>>()));
        }
        if !all.is_empty() {
            self.disk.flush(all);
        }
        let damaged = turn.sends.iter_mut().position(|send| {
            let Send::Submit { digest, packet } = send else { return false };
            let read = self.disk.blob(&digest.0);
            let is_damaged = read.is_err();
            *packet = read.ok().flatten().map(Arc::from);
            is_damaged
        });
        turn.sends.truncate(damaged.unwrap_or(turn.sends.len()));
        (turn, damaged.is_some())
    }

    /// The row of a message in the outbox.
    pub(super) fn sent(&self, msg_id: &MsgId) -> Option<OutboxRow> {
        let (position, _) = self.core.as_ref()?.find(msg_id)?;
        outbox_row(&self.disk.live, position)
    }

    /// The rows of its corrections.
    fn corrections(&self) -> impl Iterator<Item = CorrectionRow> {
        let rows = self.disk.live.table(table::CORRECTION);
        rows.filter_map(|(key, value)| match Write::read(table::CORRECTION, key, value) {
            Ok(Write::Correction(_, row)) => Some(*row),
            _ => None,
        })
    }

    /// How many of its corrections were refused because their recipient had no access.
    pub(super) fn shut_out(&self) -> usize {
        let refused = Refusal::RecipientRevoked.number();
        self.corrections()
            .filter(|row| row.state == CorrectionState::Refused && row.outcome == refused)
            .count()
    }

    /// The recipients of its corrections that are not confirmed.
    pub(super) fn uncorrected(&self) -> Vec<Oin> {
        self.corrections().filter(|row| row.state.is_open()).map(|row| row.recipient).collect()
    }

    /// The rows of its outbox.
    pub(super) fn outbox(&self) -> impl Iterator<Item = OutboxRow> {
        let rows = self.disk.live.table(table::OUTBOX);
        rows.filter_map(|(key, value)| match Write::read(table::OUTBOX, key, value) {
            Ok(Write::Outbox(_, row)) => Some(*row),
            _ => None,
        })
    }

    /// The packets in the inbox that were found good.
    pub(super) fn good(&self) -> Result<std::collections::BTreeSet<Digest>, Violation> {
        let rows = super::oracle::inbox(&self.disk.live)?;
        Ok(rows.into_iter().filter(|row| row.outcome == 0).map(|row| row.packet).collect())
    }
}

/// A row of the inbox.
pub(super) fn inbox_row(state: &State, position: u64) -> Option<InboxRow> {
    let key = position_key(position);
    match Write::read(table::INBOX, &key, state.rows.get(&(table::INBOX, key.clone()))?) {
        Ok(Write::Inbox(_, row)) => Some(*row),
        Ok(_) | Err(_) => None,
    }
}

/// A row of the outbox.
pub(super) fn outbox_row(state: &State, position: u64) -> Option<OutboxRow> {
    let key = position_key(position);
    let value = state.rows.get(&(table::OUTBOX, key.clone()))?;
    match Write::read(table::OUTBOX, &key, value) {
        Ok(Write::Outbox(_, row)) => Some(*row),
        _ => None,
    }
}

fn rows(writes: &[Write]) -> Vec<Change> {
    let row = |write: &Write| {
        let row = write.row();
        match row.value {
            Some(value) => Change::Put { table: row.table, key: row.key, value },
            None => Change::Delete { table: row.table, key: row.key },
        }
    };
    writes.iter().map(row).collect()
}

fn changes(turn: &Turn) -> Vec<Change> {
    let mut all = rows(&turn.writes);
    let keep = |(digest, bytes): &(Digest, Arc<[u8]>)| Change::Keep {
        blob: digest.0,
        bytes: Arc::new(bytes.to_vec()),
    };
    all.extend(turn.blobs.iter().map(keep));
    all.extend(turn.drops.iter().map(|digest| Change::Erase { blob: digest.0 }));
    all
}
