//! What the engine hands to one session, and how much of that may wait there.
//!
//! The core's windows bound what is offered and not acknowledged. They do not bound what a session is handed in all:
//! a packet that ends while it is on its way makes room for the next one, and what is told about covenants and cases
//! has no window. So the queue itself is bounded. Whoever does not read what it is sent is cut off, alone: all of it
//! is durable, and the next session begins with how things stand then.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use seinhuis_broker_core::{ReceiptSource, Send};
use seinhuis_shared::limits::{INFLIGHT_BYTES, INFLIGHT_MAX, NOTICES_INFLIGHT};
use seinhuis_shared::refusal::Refusal;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

/// Most sends that wait for one session: several times what the core's windows let under way.
const SENDS_MAX: usize = 4 * (INFLIGHT_MAX + NOTICES_INFLIGHT);
/// Most bytes of them.
const BYTES_MAX: usize = 2 * INFLIGHT_BYTES;
/// How long a session that is to be closed has for what it was handed before that.
const GRACE: Duration = Duration::from_secs(1);
/// What a send without a packet is counted as, beside what it lists.
const SMALL: usize = 1024;

/// What both sides know of a session's end.
#[derive(Debug, Default)]
struct End {
    over: Notify,
    /// Why the core closes the session.
    closed: OnceLock<Refusal>,
}

/// A send that waits, and the room it takes up. In a box, since a channel has room for 32 of what it carries from the start:
/// 8 KiB for each agent that is connected and told nothing.
type Waiting = Box<(Send, OwnedSemaphorePermit)>;

/// The engine's side.
#[derive(Debug)]
pub struct Outlet {
    sends: mpsc::Sender<Waiting>,
    /// A permit for each byte that waits.
    room: Arc<Semaphore>,
    end: Arc<End>,
}

/// The session's side.
#[derive(Debug)]
pub struct Inlet {
    sends: mpsc::Receiver<Waiting>,
    end: Arc<End>,
}

/// Tells when the session is over, also while it does not read.
#[derive(Debug)]
pub struct Over(Arc<End>);

/// A queue from the engine to a session.
pub fn outlet() -> (Outlet, Inlet) {
    let (to, from) = mpsc::channel(SENDS_MAX);
    let end = Arc::new(End::default());
    let room = Arc::new(Semaphore::new(BYTES_MAX));
    (Outlet { sends: to, room, end: Arc::clone(&end) }, Inlet { sends: from, end })
}

impl Outlet {
    /// Puts a send in the queue. `false` when its reader is gone, or is now told that it is cut off: nothing may
    /// follow on what was left out.
    pub(super) fn send(&self, send: Send) -> bool {
        if let Send::Close { reason, .. } = &send {
            _ = self.end.closed.set(*reason);
            self.end.over.notify_one();
        }
        let size = u32::try_from(size(&send)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(size).ok();
        let put = room.is_some_and(|room| self.sends.try_send(Box::new((send, room))).is_ok());
        if !put {
            self.end.over.notify_one();
        }
        put
    }
}

impl Inlet {
    /// The next send; `None` once the engine has let go of the session.
    pub async fn recv(&mut self) -> Option<Send> {
        self.sends.recv().await.map(|waiting| waiting.0)
    }

    /// The next send, if it is there already.
    pub fn try_recv(&mut self) -> Option<Send> {
        self.sends.try_recv().ok().map(|waiting| waiting.0)
    }

    /// What tells when the session is over.
    pub fn over(&self) -> Over {
        Over(Arc::clone(&self.end))
    }
}

impl Over {
    /// Resolves when a send was left out, or the core closed the session and that was not read in time.
    pub async fn why(&self) -> Refusal {
        self.0.over.notified().await;
        match self.0.closed.get() {
            Some(reason) => {
                tokio::time::sleep(GRACE).await;
                *reason
            }
            None => Refusal::ReadsTooSlowly,
        }
    }
}

/// About how much memory a send takes up.
fn size(send: &Send) -> usize {
    let lists = if let Send::Offer { bytes, receipt, .. } = send {
        let receipt = if let ReceiptSource::Fresh(bytes) = receipt { bytes.len() } else { 0 };
        bytes.as_ref().map_or(0, |bytes| bytes.len()) + receipt
    } else if let Send::Agreements { agreements, .. } = send {
        agreements.len() * 128
    } else if let Send::Cases { cases, .. } = send {
        cases.len() * 128
    } else if let Send::Notices { row, .. } = send {
        row.positions.len() * 256
    } else if let Send::Witnessed { witnessed, .. } = send {
        witnessed.note.len()
    } else {
        0
    };
    SMALL + lists
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use seinhuis_broker_core::{ConnId, MailItem};
    use seinhuis_shared::ids::{Digest, MsgId};
    use seinhuis_shared::time::Timestamp;

    use super::*;

    fn cases() -> Send {
        Send::Cases { conn: ConnId(1), cases: Vec::new() }
    }

    fn offer(size: usize) -> Send {
        let oin = "00000099000000001000".parse().unwrap();
        let item = MailItem {
            index: 0,
            leaf: Digest([0; 32]),
            msg_id: MsgId([0; 16]),
            packet: Digest([0; 32]),
            size: 0,
            from: oin,
            covenant: Digest([0; 32]),
            flow: "F01".into(),
            case: None,
            expires: Timestamp(0),
        };
        let receipt = ReceiptSource::Fresh(Arc::default());
        Send::Offer { conn: ConnId(1), item, bytes: Some(Arc::new(vec![0; size])), receipt }
    }

    async fn over(inlet: &Inlet) -> Option<Refusal> {
        tokio::time::timeout(Duration::from_millis(50), inlet.over().why()).await.ok()
    }

    #[tokio::test]
    async fn a_session_that_does_not_read_is_cut_off_at_a_number_of_sends() {
        let (out, inlet) = outlet();
        let taken = (0..10 * SENDS_MAX).take_while(|_| out.send(cases())).count();
        assert_eq!(taken, SENDS_MAX);
        assert_eq!(over(&inlet).await, Some(Refusal::ReadsTooSlowly));
    }

    #[tokio::test]
    async fn and_at_a_number_of_bytes() {
        let (out, inlet) = outlet();
        let taken = (0..100).take_while(|_| out.send(offer(1024 * 1024))).count();
        assert!((8..=16).contains(&taken), "the core's window fits, and no more than twice that: {taken}");
        assert_eq!(over(&inlet).await, Some(Refusal::ReadsTooSlowly));
    }

    #[tokio::test]
    async fn one_that_reads_is_never_cut_off() {
        let (out, mut inlet) = outlet();
        for _ in 0..3 * SENDS_MAX {
            assert!(out.send(offer(1024 * 1024)));
            assert!(out.send(cases()));
            assert!(inlet.recv().await.is_some() && inlet.try_recv().is_some());
        }
        assert_eq!(over(&inlet).await, None);
        drop(out);
        assert!(inlet.recv().await.is_none());
    }

    #[tokio::test]
    async fn that_it_is_closed_reaches_a_session_that_does_not_read() {
        let (out, inlet) = outlet();
        while out.send(cases()) {}
        assert_eq!(over(&inlet).await, Some(Refusal::ReadsTooSlowly));
        let reason = Refusal::PartnerRevoked;
        assert!(!out.send(Send::Close { conn: ConnId(1), reason }));
        let told = tokio::time::timeout(Duration::from_secs(30), inlet.over().why()).await;
        assert_eq!(told.unwrap(), reason);
    }
}
