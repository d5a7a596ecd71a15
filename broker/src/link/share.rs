//! What one partner may take up of the broker at one time, over all its connections: so that who floods waits for
//! itself, and takes up room and processors of nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;

use seinhuis_shared::ids::Oin;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::engine::Bringer;

/// Bytes of whole packets of one partner that may be between the network and the journal, in KiB: a quarter of what
/// there is for all.
const MEMORY_KIB: usize = super::MEMORY_KIB / 4;
/// Requests of one partner, and answers made again, that are worked on at one time: reading the log keeps a disk and a processor busy.
const REQUESTS: usize = 4;

/// How many connections each partner has: counted, so that an arrival among ten thousand costs what the first one does.
#[derive(Debug, Default)]
pub(super) struct Present(BTreeMap<Oin, usize>);

impl Present {
    /// One more of this partner, unless it has `most`.
    pub(super) fn enter(&mut self, oin: Oin, most: usize) -> bool {
        let count = self.0.entry(oin).or_default();
        let room = *count < most;
        if room {
            *count += 1;
        }
        room
    }

    /// One less; whether it was the last.
    pub(super) fn leave(&mut self, oin: &Oin) -> bool {
        let Some(count) = self.0.get_mut(oin) else { return false };
        *count = count.saturating_sub(1);
        let last = *count == 0;
        if last {
            self.0.remove(oin);
        }
        last
    }
}

/// One partner's share.
#[derive(Debug)]
pub(crate) struct Share {
    /// Its line at the engine.
    pub(crate) bringer: Bringer,
    /// Permits of 1 KiB for packets that were read in full and are not yet durable.
    memory: Arc<Semaphore>,
    /// A permit for each request, or answer made again, that is worked on.
    pub(crate) requests: Semaphore,
    /// One: signatures of one partner are checked one after the other, so that a hundred of its lanes get as much of
    /// the processors as one lane of another.
    examining: Semaphore,
}

impl Share {
    pub(super) fn new(oin: Oin) -> Self {
        Self {
            bringer: Bringer::new(Some(oin)),
            memory: Arc::new(Semaphore::new(MEMORY_KIB)),
            requests: Semaphore::new(REQUESTS),
            examining: Semaphore::new(1),
        }
    }

    /// Room for a packet, first within the share and then of the `whole`; nothing when the broker stops.
    pub(super) async fn room(&self, whole: &Arc<Semaphore>, kib: u32) -> Option<Vec<OwnedSemaphorePermit>> {
        let own = Arc::clone(&self.memory).acquire_many_owned(kib).await.ok()?;
        let of_all = Arc::clone(whole).acquire_many_owned(kib).await.ok()?;
        Some(vec![own, of_all])
    }

    /// Checks signatures when it is this partner's turn, and lets others go on after it.
    pub(crate) async fn examine<T>(&self, check: impl FnOnce() -> T) -> T {
        let turn = self.examining.acquire().await;
        let found = check();
        tokio::task::yield_now().await;
        drop(turn);
        found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn share() -> Arc<Share> {
        Arc::new(Share::new("00000099000000001000".parse().unwrap()))
    }

    #[test]
    fn a_partner_has_as_many_connections_as_it_may_and_only_the_last_to_leave_leaves_none() {
        let (one, other) = (share_oin("1"), share_oin("2"));
        let mut present = Present::default();
        assert!(present.enter(one, 2) && present.enter(one, 2));
        assert!(!present.enter(one, 2), "no third");
        assert!(present.enter(other, 2), "another's are its own");
        assert!(!present.leave(&one), "one is left");
        assert!(present.enter(one, 2), "there is room again");
        assert!(!present.leave(&one));
        assert!(present.leave(&one), "the last");
        assert!(!present.leave(&one), "who is gone does not leave again");
        assert!(present.leave(&other));
    }

    fn share_oin(number: &str) -> Oin {
        format!("0000009900000000{number}000").parse().unwrap()
    }

    #[tokio::test]
    async fn one_partner_takes_up_a_part_of_the_memory_and_no_more() {
        let whole = Arc::new(Semaphore::new(super::super::MEMORY_KIB));
        let (flood, other) = (share(), share());
        let mut held = Vec::new();
        let take = async {
            loop {
                held.extend(flood.room(&whole, 1024).await.unwrap());
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(100), take).await.is_err(), "it waits");
        assert_eq!(whole.available_permits(), super::super::MEMORY_KIB - MEMORY_KIB);
        assert!(other.room(&whole, 1024).await.is_some(), "another does not");
    }

    #[test]
    fn many_lanes_of_one_partner_get_no_more_of_the_processor_than_one_of_another() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (flood, other) = (share(), share());
            let checked = Arc::new(AtomicUsize::new(0));
            for _ in 0..100 {
                let (flood, checked) = (Arc::clone(&flood), Arc::clone(&checked));
                tokio::spawn(async move {
                    loop {
                        flood.examine(|| checked.fetch_add(1, Ordering::Relaxed)).await;
                    }
                });
            }
            tokio::task::yield_now().await;
            let before = checked.load(Ordering::Relaxed);
            for _ in 0..50 {
                other.examine(|| ()).await;
            }
            let meanwhile = checked.load(Ordering::Relaxed) - before;
            assert!(meanwhile <= 200, "{meanwhile} of the flood's for 50 of the other's");
        });
    }
}
