//! What follows from a board: said once, for everything that shows it.

use std::collections::BTreeSet;

use seinhuis_shared::ids::Oin;
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::time::Span;

use crate::board::{AgentRow, Board, QuorumRow, WitnessRow};

/// How long after a start it can be told where the disk goes: an hour of samples, each a little more than a minute apart.
const DISK_KNOWN: Span = Span::minutes(66);
/// From so many days on there is no telling.
const DAYS_MOST: u64 = 365;

impl AgentRow {
    /// Whether it is connected: an agent that said hello and was welcomed.
    pub const fn is_connected(&self) -> bool {
        self.software.is_some()
    }
}

/// For how many days there is room on the disk, as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskLeft {
    /// Not known, or not yet: it takes an hour to tell.
    Unknown,
    /// It does not fill.
    Steady,
    /// So many whole days.
    Days(u64),
    /// More than so many.
    More(u64),
}

impl DiskLeft {
    /// The number of days, where there is one.
    pub fn days(self) -> Option<String> {
        match self {
            Self::Unknown | Self::Steady => None,
            Self::Days(days) => Some(days.to_string()),
            Self::More(days) => Some(format!("> {days}")),
        }
    }

    /// What that number is, or why there is none.
    pub const fn said(self, lang: Lang) -> &'static str {
        match self {
            Self::Unknown => lang.pick("een uur na de start bekend", "known an hour after the start"),
            Self::Steady => lang.pick("de schijf loopt niet vol", "the disk is not filling"),
            Self::Days(_) | Self::More(_) => lang.pick("tot de schijf vol is", "until the disk is full"),
        }
    }
}

/// A covenant that asks a quorum, if one of its witnesses did not take part any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Without<'a> {
    /// The covenant.
    pub quorum: &'a QuorumRow,
    /// How many witnesses remain that are neither suspended nor without access.
    pub left: usize,
}

impl Without<'_> {
    /// Whether the quorum can still be reached.
    pub fn is_enough(&self) -> bool {
        self.left >= usize::from(self.quorum.wanted)
    }
}

impl Board {
    /// How many partners are connected, and how many may be.
    pub fn connected(&self) -> (usize, usize) {
        let all = self.agents.iter().filter(|agent| agent.revoked.is_none());
        let up = all.clone().filter(|agent| agent.is_connected()).count();
        (up, all.count())
    }

    /// A partner as a witness of the log, if it is one; of one with several keys the one that is furthest behind.
    pub fn witness(&self, oin: &Oin) -> Option<&WitnessRow> {
        self.witnesses
            .iter()
            .filter(|witness| witness.name == oin.as_str())
            .min_by_key(|witness| witness.size)
    }

    /// How many entries the log is ahead of what a witness cosigned last.
    pub fn lag(&self, witness: &WitnessRow) -> Option<u64> {
        witness.size.map(|size| self.log.size.saturating_sub(size))
    }

    /// For how many days there is room on the disk.
    pub fn disk_left(&self) -> DiskLeft {
        let young = self.now.since(self.started) < DISK_KNOWN;
        match self.disk_full.map(|full| full.since(self.now).0 / Span::days(1).0) {
            Some(days) if days > DAYS_MOST => DiskLeft::More(DAYS_MOST),
            Some(days) => DiskLeft::Days(days),
            None if young || self.storage.free_bytes.is_none() => DiskLeft::Unknown,
            None => DiskLeft::Steady,
        }
    }

    /// The covenants for whose quorum a partner cosigns, without it.
    pub fn without(&self, oin: Oin) -> Vec<Without<'_>> {
        let out = self.agents.iter().filter(|agent| agent.suspended.is_some() || agent.revoked.is_some());
        let out: BTreeSet<Oin> = out.map(|agent| agent.oin).chain([oin]).collect();
        let of = self.quorums.iter().filter(|quorum| quorum.witnesses.contains(&oin));
        of.map(|quorum| {
            let left = quorum.witnesses.iter().filter(|witness| !out.contains(witness)).count();
            Without { quorum, left }
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use seinhuis_shared::time::Timestamp;

    use super::*;
    use crate::alarms::board;

    fn oin(number: u64) -> Oin {
        format!("{number:020}").parse().unwrap()
    }

    /// A board with three partners.
    fn three() -> Board {
        let mut board = board();
        let first = board.agents.remove(0);
        board.agents = (1..=3).map(|number| AgentRow { oin: oin(number), ..first.clone() }).collect();
        board
    }

    #[test]
    fn those_are_connected_that_are_welcome_of_those_that_have_access() {
        let mut board = three();
        assert_eq!(board.connected(), (3, 3));
        board.agents[0].software = None;
        board.agents[2].revoked = Some(Timestamp(1));
        assert_eq!(board.connected(), (1, 2));
    }

    #[test]
    fn the_days_of_room_are_a_number_or_why_there_is_none() {
        let mut board = board();
        board.now = board.started.plus(Span::minutes(65));
        assert_eq!(board.disk_left(), DiskLeft::Unknown);
        board.now = board.started.plus(DISK_KNOWN);
        assert_eq!(board.disk_left(), DiskLeft::Steady);
        for (hours, left) in [(0, "0"), (47, "1"), (365 * 24, "365"), (366 * 24, "> 365")] {
            board.disk_full = Some(board.now.plus(Span::hours(hours)));
            assert_eq!(board.disk_left().days().as_deref(), Some(left));
        }
        (board.disk_full, board.storage.free_bytes) = (None, None);
        assert_eq!((board.disk_left(), board.disk_left().days()), (DiskLeft::Unknown, None));
    }

    #[test]
    fn a_quorum_loses_the_witness_that_is_suspended_and_those_that_were_before() {
        let mut board = three();
        board.quorums.push(QuorumRow {
            id: "c".into(),
            version: 1,
            wanted: 2,
            of: 3,
            witnesses: (1..=3).map(oin).collect(),
            size: None,
            age_ms: 0,
        });
        let left = |board: &Board, number| -> Vec<(usize, bool)> {
            board.without(oin(number)).iter().map(|one| (one.left, one.is_enough())).collect()
        };
        assert_eq!(left(&board, 2), [(2, true)]);
        assert_eq!(left(&board, 4), [], "that is no witness");
        board.agents[0].suspended = Some(board.now);
        assert_eq!(left(&board, 2), [(1, false)]);
        (board.agents[0].suspended, board.agents[2].revoked) = (None, Some(board.now));
        assert_eq!(left(&board, 2), [(1, false)]);
        board.quorums[0].wanted = 1;
        assert_eq!(left(&board, 2), [(1, true)]);
    }
}
