//! The load: every sender keeps its window full, or all send at appointed times; what that took.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use seinhuis_shared::ids::MsgId;
use seinhuis_tests::load::{histogram, record};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Failure;
use crate::peer::{Peer, Recipient, Sender};
use crate::work::{Opener, Sealer, pair};

/// How long nothing may be confirmed and nothing may arrive while packets are under way.
const PATIENCE: Duration = Duration::from_mins(1);

/// What one run gave.
#[derive(Debug)]
pub(crate) struct Run {
    /// Packets that were delivered, opened and acknowledged.
    pub(crate) delivered: u64,
    /// Seconds from the first packet to the last delivery.
    pub(crate) seconds: f64,
    /// From the moment a packet was due to its confirmation, in microseconds.
    pub(crate) confirmed: Histogram<u64>,
}

/// What the two ends of a lane know of its packets.
#[derive(Debug)]
struct Lane {
    window: Semaphore,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    /// Packets on their way, each with whether it counts towards the window.
    under: HashMap<MsgId, bool>,
    delivered: u64,
    last: Option<Instant>,
}

impl Lane {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent(&self, id: MsgId, windowed: bool) {
        self.tally().under.insert(id, windowed);
    }

    fn arrived(&self, ids: impl IntoIterator<Item = MsgId>, at: Instant) {
        let mut tally = self.tally();
        for id in ids {
            // What comes twice counts once.
            let Some(windowed) = tally.under.remove(&id) else { continue };
            tally.delivered += 1;
            tally.last = Some(at);
            if windowed {
                self.window.add_permits(1);
            }
        }
    }
}

/// One sender with what it needs.
struct Source<S> {
    lane: Arc<Lane>,
    sealer: Sealer,
    sender: S,
    confirms: JoinSet<Result<(Instant, Instant), Failure>>,
}

impl<S: Sender> Source<S> {
    /// Seals and publishes, in one turn, a packet for each of these moments at which one was due.
    async fn turn(&mut self, due: impl IntoIterator<Item = Instant>, windowed: bool) -> Result<(), Failure> {
        for due in due {
            let (id, packet) = self.sealer.seal()?;
            self.lane.sent(id, windowed);
            let confirm = self.sender.publish(packet).await?;
            self.confirms.spawn(async move { confirm.await.map(|()| (due, Instant::now())) });
        }
        self.sealer.end_turn();
        Ok(())
    }

    /// Records what is confirmed so far.
    fn confirmed(&mut self, into: &mut Histogram<u64>) -> Result<(), Failure> {
        while let Some(confirm) = self.confirms.try_join_next() {
            let (due, at) = confirm??;
            record(into, due, at)?;
        }
        Ok(())
    }

    /// Keeps the window full until `end`.
    async fn full_speed(&mut self, end: Instant) -> Result<Histogram<u64>, Failure> {
        let mut confirmed = histogram()?;
        while Instant::now() < end {
            let lane = Arc::clone(&self.lane);
            let Ok(first) = tokio::time::timeout(PATIENCE, lane.window.acquire()).await else {
                return Err("nothing was delivered for a minute".into());
            };
            first?.forget();
            let more = lane.window.forget_permits(usize::MAX);
            let now = Instant::now();
            self.turn((0..=more).map(|_| now), true).await?;
            self.confirmed(&mut confirmed)?;
        }
        self.rest(confirmed).await
    }

    /// Sends a packet every `gap` from `start` to `end`, whatever becomes of those before it.
    async fn paced(
        &mut self,
        start: Instant,
        gap: Duration,
        end: Instant,
    ) -> Result<Histogram<u64>, Failure> {
        let (mut confirmed, mut due) = (histogram()?, start);
        while due < end {
            tokio::time::sleep_until(due.into()).await;
            let (now, mut turn) = (Instant::now(), Vec::new());
            while due <= now && due < end {
                turn.push(due);
                due += gap;
            }
            self.turn(turn, false).await?;
            self.confirmed(&mut confirmed)?;
        }
        self.rest(confirmed).await
    }

    /// Waits for what is not yet confirmed, and for what has not yet arrived.
    async fn rest(&mut self, mut confirmed: Histogram<u64>) -> Result<Histogram<u64>, Failure> {
        let end = Instant::now() + PATIENCE;
        while let Some(confirm) = tokio::time::timeout_at(end.into(), self.confirms.join_next()).await? {
            let (due, at) = confirm??;
            record(&mut confirmed, due, at)?;
        }
        while !self.lane.tally().under.is_empty() {
            if Instant::now() > end {
                return Err("packets that were confirmed have not arrived within a minute".into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(confirmed)
    }
}

/// Takes, verifies, opens and acknowledges what comes, for ever.
async fn receive<R: Recipient>(lane: Arc<Lane>, opener: Opener, mut recipient: R) -> Result<(), Failure> {
    loop {
        let taken = recipient.take().await?;
        let ids = taken.iter().map(|one| opener.open(one.as_ref())).collect::<Result<Vec<_>, _>>()?;
        opener.end_turn();
        recipient.acknowledge(taken).await?;
        lane.arrived(ids, Instant::now());
    }
}

/// Pairs of a sender and a recipient that are connected.
pub(crate) struct Crowd<P: Peer> {
    sources: Vec<Source<P::Sender>>,
    recipients: JoinSet<Result<(), Failure>>,
}

impl<P: Peer> std::fmt::Debug for Crowd<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crowd({})", self.sources.len())
    }
}

impl<P: Peer> Crowd<P> {
    /// Connects them.
    ///
    /// # Errors
    /// When one cannot connect.
    pub(crate) async fn meet(peer: &P, pairs: u8, body: usize, window: usize) -> Result<Self, Failure> {
        let (mut sources, mut recipients) = (Vec::new(), JoinSet::new());
        for number in 1..=pairs {
            peer.mailbox(number).await?;
            let (sealer, opener) = pair(number, body)?;
            let lane = Lane { window: Semaphore::new(window), tally: Mutex::default() };
            let lane = Arc::new(lane);
            recipients.spawn(receive(Arc::clone(&lane), opener, peer.recipient(number).await?));
            sources.push(Source {
                lane,
                sealer,
                sender: peer.sender(number).await?,
                confirms: JoinSet::new(),
            });
        }
        Ok(Self { sources, recipients })
    }

    /// Every sender keeps its window full for `length`.
    ///
    /// # Errors
    /// When a connection is lost, or nothing happens for a minute.
    pub(crate) async fn full_speed(&mut self, length: Duration) -> Result<Run, Failure> {
        let start = Instant::now();
        self.drive(start, async |source, _| source.full_speed(start + length).await).await
    }

    /// All senders together send `rate` packets a second, each at its appointed time.
    ///
    /// # Errors
    /// As [`Self::full_speed`].
    pub(crate) async fn paced(&mut self, rate: f64, length: Duration) -> Result<Run, Failure> {
        let lanes = u32::try_from(self.sources.len())?;
        let gap = Duration::from_secs_f64(f64::from(lanes) / rate);
        let start = Instant::now();
        self.drive(start, async |source, number| {
            let first = start + gap / lanes * number;
            source.paced(first, gap, first + length).await
        })
        .await
    }

    async fn drive(
        &mut self,
        start: Instant,
        send: impl AsyncFn(&mut Source<P::Sender>, u32) -> Result<Histogram<u64>, Failure>,
    ) -> Result<Run, Failure> {
        for source in &self.sources {
            *source.lane.tally() = Tally::default();
        }
        let sending = (0..).zip(&mut self.sources).map(|(number, source)| send(source, number));
        let all = futures_util::future::try_join_all(sending);
        let confirmed = tokio::select! {
            all = all => all?,
            Some(ended) = self.recipients.join_next() => {
                ended??;
                return Err("a recipient has stopped".into());
            }
        };
        let mut run = Run { delivered: 0, seconds: 0.0, confirmed: histogram()? };
        for (source, confirmed) in self.sources.iter().zip(confirmed) {
            let tally = source.lane.tally();
            let last = tally.last.unwrap_or(start).duration_since(start).as_secs_f64();
            run.delivered += tally.delivered;
            run.seconds = run.seconds.max(last);
            run.confirmed.add(confirmed)?;
        }
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_window_comes_back_once_and_only_for_what_took_one() {
        let lane = Lane { window: Semaphore::new(0), tally: Mutex::default() };
        let (one, other) = (MsgId([1; 16]), MsgId([2; 16]));
        lane.sent(one, true);
        lane.sent(other, false);
        lane.arrived([one, one, other, MsgId([3; 16])], Instant::now());
        assert_eq!((lane.window.available_permits(), lane.tally().delivered), (1, 2));
        assert!(lane.tally().under.is_empty());
    }
}
