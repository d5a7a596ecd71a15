//! Which messages of the inbox are due for whoever fetches them, and in which order.
//!
//! A message is due when it is good, of a wanted flow, and neither withdrawn nor erased; where it is taken over, when that
//! has not happened yet. Messages are due in the order of the inbox. One that cannot be delivered holds up those of its
//! own case that came later, and no others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use seinhuis_shared::ids::{CaseId, MsgId};
use seinhuis_shell::complaint::{Complaint, Doing, Exit};
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};

use super::work::Agent;
use crate::engine::{View, inbox_row};

/// Most places of the inbox that are looked at in one go, between two turns.
const LOOKED_MAX: u64 = 500;
/// Most bytes of a file that says how far deliveries are.
const KEPT_MAX: usize = 1 << 20;
/// Most deliveries that may be done beyond one that cannot.
const BEYOND_MAX: usize = 10_000;

/// Whether what is at this place of the inbox was neither withdrawn nor erased.
pub(crate) fn counts(view: &View<'_>, position: u64) -> bool {
    let withdrawn = view.core.mark(position).is_some_and(|mark| mark.withdrawn.is_some());
    !withdrawn && view.core.erased(position).is_none()
}

/// A message that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// Its place in the inbox.
    pub(crate) position: u64,
    /// Its id.
    pub(crate) msg_id: MsgId,
    /// Its flow.
    pub(crate) flow: String,
    /// Its case.
    pub(crate) case: Option<CaseId>,
}

fn unread() -> Complaint {
    Complaint::usage(
        Text::new("Een bericht in de inbox is niet te lezen.", "A message in the inbox cannot be read."),
        Text::new(
            "Kijk met `seinhuis-agent doctor` naar de schijf; verder gaan wacht daarop.",
            "Look at the disk with `seinhuis-agent doctor`; going on waits for that.",
        ),
    )
}

/// What is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Of these flows; of all when there are none.
    pub(crate) flows: BTreeSet<String>,
    /// Only what the application did not take over yet.
    pub(crate) unconsumed: bool,
}

impl Wanted {
    fn is_due(&self, view: &View<'_>, position: u64) -> Result<Option<Due>, Complaint> {
        if !counts(view, position) || (self.unconsumed && view.core.consumed_row(position).is_some()) {
            return Ok(None);
        }
        // What cannot be read is not settled by that.
        let row = inbox_row(view.store, position).ok_or_else(unread)?;
        let wanted = row.outcome == 0 && (self.flows.is_empty() || self.flows.contains(&row.flow));
        Ok(wanted.then_some(Due { position, msg_id: row.msg_id, flow: row.flow, case: row.case }))
    }

    /// Looks at a piece of the inbox from a place on.
    ///
    /// # Errors
    /// A row that cannot be read.
    pub(crate) fn look(&self, view: &View<'_>, from: u64) -> Result<Piece, Complaint> {
        let received = view.core.received();
        let until = received.min(from.saturating_add(LOOKED_MAX));
        let due = (from..until).filter_map(|position| self.is_due(view, position).transpose());
        Ok(Piece { until, received, due: due.collect::<Result<_, _>>()? })
    }

    /// As [`Wanted::look`], of an agent that runs.
    pub(super) fn through(&self, agent: &Agent) -> impl FnMut(u64) -> Result<Piece, Complaint> {
        let (agent, wanted) = (agent.clone(), self.clone());
        move |from| {
            let wanted = wanted.clone();
            agent.query(move |view| wanted.look(view, from)).and_then(|looked| looked)
        }
    }
}

/// What there is in a piece of the inbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The place up to which was looked.
    pub(crate) until: u64,
    /// How many places there are.
    pub(crate) received: u64,
    /// What is due in it, in order.
    pub(crate) due: Vec<Due>,
}

/// How far the deliveries are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Everything before this place is settled.
    next: u64,
    /// What is settled beyond it.
    done: BTreeSet<u64>,
}

/// What a delivery came to nothing by.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Something about this message; those of other cases may go on.
    Message(Complaint),
    /// Something about where it goes; nothing goes on.
    Sink(Complaint),
}

impl Trouble {
    /// What the agent complained of about a message. One that has stopped has done so for all.
    pub(crate) fn of(due: &Due, complaint: Complaint) -> Self {
        let one = complaint.exit == Exit::Refused;
        let complaint = complaint.about(&due.msg_id.to_string());
        if one { Self::Message(complaint) } else { Self::Sink(complaint) }
    }
}

/// How far the deliveries are, and where that is kept when it is not the mark that a message was taken over.
#[derive(Debug)]
pub(crate) struct Kept {
    progress: Progress,
    path: Option<PathBuf>,
    restored: bool,
}

impl Kept {
    /// Kept in the file at `path`, which need not be there.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self { progress: Progress::default(), path, restored: false }
    }

    /// As [`Progress::round`]; what was delivered is on stable storage when the next is.
    ///
    /// # Errors
    /// As [`Progress::round`], and when the file cannot be read or written.
    pub(crate) fn round(
        &mut self,
        most: usize,
        look: impl FnMut(u64) -> Result<Piece, Complaint>,
        deliver: impl FnMut(&Due) -> Result<(), Trouble>,
    ) -> Result<bool, Complaint> {
        if !self.restored {
            self.restore()?;
            self.restored = true;
        }
        let path = self.path.as_deref();
        self.progress.round(most, look, deliver, |progress| path.map_or(Ok(()), |path| keep(path, progress)))
    }

    fn restore(&mut self) -> Result<(), Complaint> {
        let Some(path) = &self.path else { return Ok(()) };
        if !path.try_exists().map_err(|error| Complaint::io(Doing::Read, path, &error))? {
            return Ok(());
        }
        // One that does not read has everything delivered again: who gets it knows it by its id.
        self.progress = serde_json::from_slice(&files::read(path, KEPT_MAX)?).unwrap_or_default();
        Ok(())
    }
}

fn keep(path: &Path, progress: &Progress) -> Result<(), Complaint> {
    let bytes = serde_json::to_vec(progress).map_err(|error| Complaint::bug(error.to_string()))?;
    files::make_private_dir(&files::parent(path))?;
    files::write_private(path, &bytes, Existing::Replace)
}

impl Progress {
    fn is_settled(&self, position: u64) -> bool {
        position < self.next || self.done.contains(&position)
    }

    fn settle(&mut self, position: u64) {
        if position >= self.next {
            self.done.insert(position);
        }
        while self.done.remove(&self.next) {
            self.next = self.next.saturating_add(1);
        }
    }

    /// Delivers what is due, at most `most` of it. Tells whether there may be more. `look` gives the piece from a place on;
    /// `settled` is told how far all is when a message is done.
    ///
    /// # Errors
    /// The first trouble. What was delivered stays so.
    pub(crate) fn round(
        &mut self,
        most: usize,
        mut look: impl FnMut(u64) -> Result<Piece, Complaint>,
        mut deliver: impl FnMut(&Due) -> Result<(), Trouble>,
        mut settled: impl FnMut(&Self) -> Result<(), Complaint>,
    ) -> Result<bool, Complaint> {
        let (mut at, mut first, mut held, mut left) = (self.next, None, BTreeSet::new(), most);
        loop {
            let piece = look(at)?;
            if self.next > piece.received || self.done.last().is_some_and(|last| *last >= piece.received) {
                // The store is an older one that was put back: what it receives anew is not skipped.
                *self = Self::default();
                at = 0;
                continue;
            }
            let mut due = piece.due.iter().peekable();
            for position in at..piece.until {
                let Some(due) = due.next_if(|due| due.position == position) else {
                    self.settle(position);
                    continue;
                };
                if self.is_settled(position) || due.case.is_some_and(|case| held.contains(&case)) {
                    continue;
                }
                if left == 0 {
                    return first.map_or(Ok(true), Err);
                }
                match deliver(due) {
                    Ok(()) => {
                        left = left.saturating_sub(1);
                        self.settle(position);
                        settled(self)?;
                    }
                    Err(Trouble::Sink(complaint)) => return Err(complaint),
                    Err(Trouble::Message(complaint)) => {
                        held.extend(due.case);
                        first.get_or_insert(complaint);
                    }
                }
            }
            at = piece.until;
            if at >= piece.received || self.done.len() > BEYOND_MAX {
                return first.map_or(Ok(false), Err);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong() -> Complaint {
        Complaint::usage(Text::same("wrong"), Text::same("so"))
    }

    fn due(position: u64, case: u8) -> Due {
        let case = (case > 0).then_some(CaseId([case; 16]));
        Due { position, msg_id: MsgId([0; 16]), flow: "F01".into(), case }
    }

    /// An inbox of ten places in pieces of three, of which these are due.
    fn inbox(all: &[Due]) -> impl FnMut(u64) -> Result<Piece, Complaint> {
        let all = all.to_vec();
        move |from| {
            let until = (from + 3).min(10);
            let due = all.iter().filter(|due| (from..until).contains(&due.position)).cloned().collect();
            Ok(Piece { until, received: 10, due })
        }
    }

    /// One round in which these fail; what was delivered.
    fn round(progress: &mut Progress, all: &[Due], failing: &[u64]) -> (Vec<u64>, bool) {
        let mut delivered = Vec::new();
        let ended = progress.round(
            usize::MAX,
            inbox(all),
            |due| {
                if failing.contains(&due.position) {
                    return Err(Trouble::Message(wrong()));
                }
                delivered.push(due.position);
                Ok(())
            },
            |_| Ok(()),
        );
        (delivered, ended.is_ok())
    }

    #[test]
    fn what_is_due_comes_in_order_and_once() {
        let all = [due(1, 1), due(4, 0), due(5, 1), due(9, 2)];
        let mut progress = Progress::default();
        assert_eq!(round(&mut progress, &all, &[]), (vec![1, 4, 5, 9], true));
        assert_eq!(progress, Progress { next: 10, done: BTreeSet::new() });
        assert_eq!(round(&mut progress, &all, &[]), (vec![], true));
    }

    #[test]
    fn no_more_is_delivered_in_one_round_than_is_asked_and_what_fails_does_not_count() {
        let all = [due(1, 1), due(4, 2), due(5, 3), due(7, 4), due(9, 5)];
        let (mut progress, mut delivered) = (Progress::default(), Vec::new());
        let mut some = |failing: u64| {
            let deliver = |due: &Due| {
                if due.position == failing {
                    return Err(Trouble::Message(wrong()));
                }
                delivered.push(due.position);
                Ok(())
            };
            progress.round(2, inbox(&all), deliver, |_| Ok(()))
        };
        assert!(some(1).is_err());
        assert!(some(0).unwrap(), "there is one more");
        assert!(!some(0).unwrap());
        assert_eq!(delivered, [4, 5, 1, 7, 9]);
        assert_eq!(progress.next, 10);
    }

    #[test]
    fn one_that_cannot_be_delivered_holds_up_its_own_case_only() {
        let all = [due(1, 1), due(4, 2), due(5, 1), due(9, 0)];
        let mut progress = Progress::default();
        assert_eq!(round(&mut progress, &all, &[1]), (vec![4, 9], false));
        let kept = serde_json::to_vec(&progress).unwrap();
        let mut progress: Progress = serde_json::from_slice(&kept).unwrap();
        assert_eq!(round(&mut progress, &all, &[]), (vec![1, 5], true), "as soon as it can, in order");
        assert_eq!(progress.next, 10);
    }

    #[test]
    fn how_far_it_is_is_kept_and_what_does_not_read_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folders/a.json");
        let round = || {
            let mut delivered = Vec::new();
            let mut kept = Kept::new(Some(path.clone()));
            kept.round(usize::MAX, inbox(&[due(1, 1), due(4, 2)]), |due| {
                delivered.push(due.position);
                Ok(())
            })
            .unwrap();
            delivered
        };
        assert_eq!(round(), [1, 4]);
        assert!(round().is_empty());
        std::fs::write(&path, "{").unwrap();
        assert_eq!(round(), [1, 4]);
    }

    #[test]
    fn trouble_where_it_goes_ends_the_round_and_an_older_store_begins_anew() {
        let all = [due(1, 1), due(4, 2)];
        let mut progress = Progress::default();
        let mut tried = 0;
        let ended = progress.round(
            usize::MAX,
            inbox(&all),
            |_| {
                tried += 1;
                Err(Trouble::Sink(wrong()))
            },
            |_| Ok(()),
        );
        assert!(ended.is_err() && tried == 1);
        for (next, done) in [(40, 42), (1, 42), (1, 10)] {
            let mut progress = Progress { next, done: BTreeSet::from([done]) };
            assert_eq!(round(&mut progress, &all, &[]), (vec![1, 4], true));
        }
    }
}
