//! The broker's core with its disk and its logs, driven as its shell drives it.

use std::sync::Arc;

use seinhuis_broker_core::{
    Ask, Change, Command, CommandId, Config, ConnId, Core, Heard, Input, RequestId, Sealed, Send, Table,
    Turn, Write,
};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::{Hello, VERSION};

use super::cast;
use super::disk::{Disk, State, Unflushed};
use super::log::Logs;
use super::oracle::{Broken, Violation};
use super::scenario::Dice;

/// A turn that waits for its flush.
#[derive(Debug)]
struct Pending {
    turn: Turn,
    sealed: Sealed,
    note: Vec<u8>,
    changes: Vec<Change>,
}

/// The broker.
#[derive(Debug)]
pub(super) struct Broker {
    /// None while it does not run.
    pub(super) core: Option<Core>,
    /// With what it starts.
    pub(super) config: Config,
    pub(super) disk: Disk,
    pub(super) logs: Logs,
    pub(super) inbox: Vec<Input>,
    pending: Option<Pending>,
}

impl Broker {
    /// A broker that knows the partners, whose covenant all of them accepted; not started.
    pub(super) fn new(compiled: &Arc<Compiled>, now: Timestamp, lies: bool) -> Result<Self, Violation> {
        let mut broker = Self { core: Some(Core::new(config())), ..Self::of(State::default()) };
        let command = |command| Input::Operator { id: CommandId(1), command };
        let mut inputs = vec![command(Command::LoadCovenant { compiled: Arc::clone(compiled) })];
        for (number, role) in cast::ROLES {
            inputs.push(command(cast::partner(number, role)?));
        }
        for (number, _) in cast::ROLES {
            let conn = ConnId(u64::from(number));
            let hello = Hello { version: VERSION, software: "setup".into(), cosigned: Bytes::default() };
            let peer = cast::oin(number)?;
            inputs.push(Input::Connected { conn, peer, hello, heard: Heard::Nothing });
            let ask = Ask::Vote(cast::vote(compiled, number, now)?);
            inputs.push(Input::Request { conn, request: RequestId(u64::from(number)), ask });
            inputs.push(Input::Disconnected { conn });
        }
        for input in inputs {
            broker.inbox.push(input);
            broker.begin(now, [7; 32])?;
            broker.finish()?;
        }
        let state: State = std::mem::take(&mut broker.disk.live);
        broker.disk = Disk::new(state, lies);
        broker.core = None;
        Ok(broker)
    }

    /// A broker with this in its store; not started.
    pub(super) fn of(state: State) -> Self {
        let (disk, logs) = (Disk::new(state, false), Logs::default());
        Self { core: None, config: config(), disk, logs, inbox: Vec::new(), pending: None }
    }

    /// Reads the disk.
    ///
    /// # Errors
    /// What is wrong with it: the broker does not start.
    pub(super) fn open(&mut self) -> Result<(), &'static str> {
        self.disk.open()
    }

    /// Starts from what the disk holds, and if it cheats without hearing first what witnesses saw.
    pub(super) fn start(&mut self, now: Timestamp, without_witnesses: bool) -> Result<(), Violation> {
        let failed = |what: String| Violation::new(Broken::Start, format!("the broker: {what}"));
        self.logs = Logs::read(&self.disk.live)?;
        let mut rows = Vec::new();
        for table in Table::ALL {
            let all = self.disk.live.table(table.number());
            rows.extend(all.map(|(key, value)| (table, key.to_vec(), value.to_vec())));
        }
        let core = Core::restore(self.config.clone(), rows, self.logs.tip());
        let mut core = core.map_err(|error| failed(error.to_string()))?;
        core.begin(now);
        self.core = Some(core);
        let command = Command::Started { without_witnesses };
        self.inbox.push(Input::Operator { id: CommandId(1), command });
        Ok(())
    }

    /// The process is gone; a turn that waited for its flush is on the disk whole, in part or not at all.
    pub(super) fn crash(&mut self, unflushed: Unflushed, dice: &mut Dice) {
        let pending = self.pending.take().map(|pending| (pending.changes, unflushed));
        self.disk.crash(pending, dice);
        self.core = None;
        self.inbox.clear();
    }

    /// Whether there is something to do.
    pub(super) fn waits(&self) -> bool {
        !self.inbox.is_empty() || self.core.as_ref().is_some_and(Core::succession_due)
    }

    /// Makes one turn: of the logs themselves when one of them is to end, else of all that came in. Tells whether it
    /// has to be flushed before [`Self::finish`].
    pub(super) fn begin(&mut self, now: Timestamp, entropy: [u8; 32]) -> Result<bool, Violation> {
        let core = self.core.as_mut().ok_or_else(|| cast::setup("the broker does not run"))?;
        let mut turn = Turn::new(entropy);
        if !(core.succession_due() && core.succession(now, &mut turn)) {
            for input in std::mem::take(&mut self.inbox) {
                core.handle(input, now, &mut turn);
            }
        }
        if turn.is_empty() {
            return Ok(false);
        }
        let sealed = core.seal(&mut turn);
        let note = if sealed.has_entries() {
            cast::sign(sealed.origin(), sealed.size(), sealed.root())?
        } else {
            Vec::new()
        };
        let changes: Vec<Change> =
            core.sign(&mut turn, &sealed, &note).into_iter().map(Write::change).collect();
        let durable = !changes.is_empty();
        self.pending = Some(Pending { turn, sealed, note, changes });
        Ok(durable)
    }

    /// Whether the turn that waits for its flush cannot be written without copying what is damaged.
    pub(super) fn copies_damage(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| self.disk.copies_damage(&pending.changes))
    }

    /// The turn is flushed: what it sends.
    pub(super) fn finish(&mut self) -> Result<Vec<Send>, Violation> {
        let (Some(core), Some(pending)) = (self.core.as_mut(), self.pending.take()) else {
            return Ok(Vec::new());
        };
        if !pending.changes.is_empty() {
            self.disk.flush(pending.changes);
        }
        self.logs.append(&pending.sealed)?;
        Ok(core.committed(pending.turn, &pending.sealed, &pending.note))
    }

    /// The root of the newest head.
    pub(super) fn root(&self) -> Option<Digest> {
        self.core.as_ref().and_then(Core::head).map(|head| head.root)
    }
}

fn config() -> Config {
    Config::new(cast::ORIGIN, cast::log_public(), "broker/1")
}
