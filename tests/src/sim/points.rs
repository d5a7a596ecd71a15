//! A process that dies at one write or one send, and every such point of a history in turn.

use std::fmt;
use std::str::FromStr;

use super::disk::Unflushed;
use super::scenario::Scenario;
use super::world::{Node, World};

/// What a process does that others or its next start can see: how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// Turns it made durable.
    pub flushes: u64,
    /// Messages it let out.
    pub sends: u64,
}

/// What a process is at when it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A flush, of which nothing is on the disk.
    Lost,
    /// A flush, of which some sectors are.
    Torn,
    /// A flush that did its work, and nothing of it was said.
    Whole,
    /// A send: what was to go out before it went out, it and what follows did not.
    Send,
}

impl Call {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Lost, "lost"), (Self::Torn, "torn"), (Self::Whole, "whole"), (Self::Send, "send")];
}

/// Where a process dies. As text `PROCESS.CALL.NUMBER`, the broker being process 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Which one: the broker, then the agents.
    pub process: usize,
    /// At what.
    pub call: Call,
    /// Which of its flushes, or of its sends, counted from 1.
    pub number: u64,
}

impl Point {
    /// Every point of a history in which the processes did so much.
    pub fn all(calls: &[Calls]) -> Vec<Self> {
        let of = |process: usize, calls: &Calls| {
            let Calls { flushes, sends } = *calls;
            Call::ALL.into_iter().flat_map(move |(call, _)| {
                let count = if call == Call::Send { sends } else { flushes };
                (1..=count).map(move |number| Self { process, call, number })
            })
        };
        calls.iter().enumerate().flat_map(|(process, calls)| of(process, calls)).collect()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Call::ALL.iter().find(|(call, _)| *call == self.call).map_or("", |(_, name)| name);
        write!(f, "{}.{name}.{}", self.process, self.number)
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no PROCESS.CALL.NUMBER");
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or_else(wrong);
        let process = part()?.parse().map_err(|_| wrong())?;
        let name = part()?;
        let call = Call::ALL.iter().find(|(_, own)| *own == name).ok_or_else(wrong)?.0;
        Ok(Self { process, call, number: part()?.parse().map_err(|_| wrong())? })
    }
}

impl Scenario {
    /// The same, in which a process dies at this point besides.
    #[must_use]
    pub fn dying(&self, point: Point) -> Self {
        Self { dies: Some(point), ..self.clone() }
    }
}

impl World {
    /// Counts a flush; whether its process dies in it.
    pub(super) fn dies_flushing(&mut self, node: Node) -> bool {
        let calls = &mut self.process(node).calls;
        calls.flushes += 1;
        let number = calls.flushes;
        let Some(point) = self.dies_at(node, number) else { return false };
        let unflushed = match point.call {
            Call::Lost => Unflushed::Lost,
            Call::Torn => Unflushed::Torn,
            Call::Whole => Unflushed::Whole,
            Call::Send => return false,
        };
        self.die(node, unflushed);
        true
    }

    /// Counts a send; whether its process dies before it.
    pub(super) fn dies_sending(&mut self, node: Node) -> bool {
        let calls = &mut self.process(node).calls;
        calls.sends += 1;
        let number = calls.sends;
        let dies = self.dies_at(node, number).is_some_and(|point| point.call == Call::Send);
        if dies {
            // Its turn was flushed before.
            self.die(node, Unflushed::Lost);
        }
        dies
    }

    fn dies_at(&self, node: Node, number: u64) -> Option<Point> {
        self.scenario.dies.filter(|point| point.process == Self::place(node) && point.number == number)
    }
}
