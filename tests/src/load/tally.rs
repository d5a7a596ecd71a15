//! What is under way: each packet from when it is due until its sender knows the verdict and every recipient has it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use hdrhistogram::Histogram;
use seinhuis_shared::ids::MsgId;
use tokio::sync::Semaphore;

use super::latency::{histogram, record};
use crate::stage::StageError;

/// What senders and agents tell of a run.
#[derive(Debug)]
pub(super) enum Note {
    /// A lane sends a packet that was due at this moment.
    Sent {
        /// The packet.
        id: MsgId,
        /// The sender's place in the crowd.
        lane: usize,
        /// When.
        due: Instant,
    },
    /// Its verdict is verified and durable at the sender.
    Decided(MsgId, Instant),
    /// It is durable at one of its recipients.
    Arrived(MsgId, Instant),
    /// A lane sends no more.
    Ended,
    /// The run cannot go on.
    Failed(StageError),
}

#[derive(Debug)]
struct Under {
    lane: usize,
    due: Instant,
    decided: bool,
    left: usize,
}

/// The packets under way and what those before them took.
#[derive(Debug)]
pub(super) struct Tally {
    recipients: usize,
    under: HashMap<MsgId, Under>,
    windows: Vec<Arc<Semaphore>>,
    lanes: usize,
    /// Packets that every recipient has.
    pub(super) delivered: usize,
    /// The last delivery.
    pub(super) last: Option<Instant>,
    /// From due to decided.
    pub(super) acknowledged: Histogram<u64>,
    /// From due to the last recipient.
    pub(super) end_to_end: Histogram<u64>,
}

impl Tally {
    /// Nothing yet, of packets to so many recipients each. A lane gets a place in its window back when a packet of it has
    /// arrived everywhere.
    pub(super) fn new(recipients: usize, windows: Vec<Arc<Semaphore>>) -> Result<Self, StageError> {
        Ok(Self {
            recipients,
            under: HashMap::new(),
            lanes: windows.len(),
            windows,
            delivered: 0,
            last: None,
            acknowledged: histogram()?,
            end_to_end: histogram()?,
        })
    }

    /// Whether nobody sends any more and nothing is under way.
    pub(super) fn is_over(&self) -> bool {
        self.lanes == 0 && self.under.is_empty()
    }

    /// Packets under way.
    pub(super) fn under_way(&self) -> usize {
        self.under.len()
    }

    /// Takes a note in.
    ///
    /// # Errors
    /// What the note says went wrong.
    pub(super) fn take(&mut self, note: Note) -> Result<(), StageError> {
        match note {
            Note::Sent { id, lane, due } => {
                self.under.insert(id, Under { lane, due, decided: false, left: self.recipients });
            }
            Note::Decided(id, at) => {
                if let Some(under) = self.under.get_mut(&id).filter(|under| !under.decided) {
                    under.decided = true;
                    record(&mut self.acknowledged, under.due, at)?;
                }
                self.close(id);
            }
            Note::Arrived(id, at) => self.arrived(id, at)?,
            Note::Ended => self.lanes = self.lanes.saturating_sub(1),
            Note::Failed(error) => return Err(error),
        }
        Ok(())
    }

    fn arrived(&mut self, id: MsgId, at: Instant) -> Result<(), StageError> {
        let Some(under) = self.under.get_mut(&id).filter(|under| under.left > 0) else { return Ok(()) };
        under.left -= 1;
        if under.left == 0 {
            record(&mut self.end_to_end, under.due, at)?;
            self.delivered += 1;
            self.last = self.last.max(Some(at));
            if let Some(window) = self.windows.get(under.lane) {
                window.add_permits(1);
            }
            self.close(id);
        }
        Ok(())
    }

    fn close(&mut self, id: MsgId) {
        if self.under.get(&id).is_some_and(|under| under.decided && under.left == 0) {
            self.under.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::forge::new_id;

    #[test]
    fn a_packet_is_delivered_when_its_last_recipient_has_it_and_over_when_it_is_acknowledged_too() {
        let window = Arc::new(Semaphore::new(0));
        let mut tally = Tally::new(2, vec![Arc::clone(&window)]).unwrap();
        let (id, due) = (new_id(), Instant::now());
        let after = |millis| due + Duration::from_millis(millis);
        tally.take(Note::Sent { id, lane: 0, due }).unwrap();
        tally.take(Note::Ended).unwrap();
        tally.take(Note::Arrived(id, after(10))).unwrap();
        assert_eq!((tally.delivered, window.available_permits()), (0, 0));
        tally.take(Note::Arrived(id, after(30))).unwrap();
        assert_eq!((tally.delivered, window.available_permits()), (1, 1));
        assert!(!tally.is_over(), "its verdict is still to come");
        tally.take(Note::Decided(id, after(20))).unwrap();
        assert!(tally.is_over());
        assert_eq!(tally.last, Some(after(30)));
        let millis = |histogram: &Histogram<u64>| histogram.max() / 1000;
        assert_eq!((millis(&tally.acknowledged), millis(&tally.end_to_end)), (20, 30));
    }

    #[test]
    fn what_was_not_sent_in_this_run_counts_for_nothing() {
        let mut tally = Tally::new(1, vec![Arc::new(Semaphore::new(0))]).unwrap();
        tally.take(Note::Arrived(new_id(), Instant::now())).unwrap();
        tally.take(Note::Decided(new_id(), Instant::now())).unwrap();
        assert_eq!((tally.delivered, tally.acknowledged.len(), tally.end_to_end.len()), (0, 0, 0));
    }
}
