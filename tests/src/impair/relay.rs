//! The relay's sockets and its clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::path::{Counts, Passing, Path};
use crate::sim::Dice;

/// Datagrams on their way at a time; what comes on top of them is lost, as at a full queue.
const QUEUE: usize = 16_384;
/// How long a source port is kept for a sender that is silent; longer than any connection lasts in silence.
const KEPT: Duration = Duration::from_mins(2);
/// Bytes of the largest UDP datagram.
const DATAGRAM: usize = 65_536;

/// Both directions of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conditions {
    /// From the agent to the broker.
    pub up: Path,
    /// From the broker to the agent.
    pub down: Path,
}

impl Conditions {
    /// The same in both directions.
    pub const fn both(path: Path) -> Self {
        Self { up: path, down: path }
    }

    /// Nothing passes, either way.
    pub fn closed() -> Self {
        Self::both(Path { open: false, ..Path::default() })
    }
}

#[derive(Debug, Default)]
struct State {
    conditions: Conditions,
    up: Counts,
    down: Counts,
    /// How often senders were given new source ports.
    rebound: u64,
    /// How often that was asked for.
    rebind: u64,
}

/// A running relay; it ends when dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// Starts one on loopback in front of `broker`. What chance decides follows from `seed`.
    ///
    /// # Errors
    /// When there is no socket or thread for it.
    pub fn start(broker: SocketAddr, seed: u64) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let front = runtime.block_on(UdpSocket::bind("127.0.0.1:0"))?;
        let address = front.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, stopped) = oneshot::channel();
        let carrier = Carrier::new(front, broker, Arc::clone(&state), seed);
        let thread = std::thread::Builder::new().name("relay".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = carrier.run() => {}
                    // It is dropped, and says nothing.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, state, stop: Some(stop), thread: Some(thread) })
    }

    /// Where agents send to.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what is done to datagrams that come in from now on.
    pub fn set(&self, conditions: Conditions) {
        lock(&self.state).conditions = conditions;
    }

    /// Gives every sender another source port towards the broker, as a NAT does that lost its table: what the
    /// broker sends to the old one gets lost.
    pub fn rebind(&self) {
        lock(&self.state).rebind += 1;
    }

    /// What became of datagrams to the broker and from it.
    pub fn counts(&self) -> (Counts, Counts) {
        let state = lock(&self.state);
        (state.up, state.down)
    }

    /// How often senders were given new source ports.
    pub fn rebound(&self) -> u64 {
        lock(&self.state).rebound
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// A datagram that waits for its moment; the earliest is the largest, and of two at once the first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due: Reverse<Instant>,
    place: Reverse<u64>,
    agent: SocketAddr,
    up: bool,
    bytes: Vec<u8>,
}

/// The way from one agent to the broker.
struct Way {
    socket: Arc<UdpSocket>,
    reader: JoinHandle<()>,
    /// When a datagram came in.
    used: Instant,
    /// When the last datagram in order leaves, for the broker and for the agent.
    last: [Instant; 2],
}

impl Drop for Way {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

struct Carrier {
    front: UdpSocket,
    broker: SocketAddr,
    state: Arc<Mutex<State>>,
    dice: Dice,
    ways: BTreeMap<SocketAddr, Way>,
    queue: BinaryHeap<Waiting>,
    places: u64,
    answers: mpsc::Receiver<(SocketAddr, Vec<u8>)>,
    answering: mpsc::Sender<(SocketAddr, Vec<u8>)>,
}

impl Carrier {
    fn new(front: UdpSocket, broker: SocketAddr, state: Arc<Mutex<State>>, seed: u64) -> Self {
        let (answering, answers) = mpsc::channel(1024);
        Self {
            front,
            broker,
            state,
            dice: Dice::new(seed),
            ways: BTreeMap::new(),
            queue: BinaryHeap::new(),
            places: 0,
            answers,
            answering,
        }
    }

    async fn run(mut self) {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let due = self.queue.peek().map(|next| next.due.0);
            let next = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
            tokio::select! {
                // What is due goes first, whatever comes in.
                biased;
                () = tokio::time::sleep_until(next) => self.release().await,
                got = self.front.recv_from(&mut buffer) => {
                    // An error is about an agent that has gone.
                    if let Ok((length, agent)) = got {
                        self.take(agent, true, buffer.get(..length).unwrap_or_default()).await;
                    }
                }
                Some((agent, bytes)) = self.answers.recv() => self.take(agent, false, &bytes).await,
            }
        }
    }

    /// Decides about a datagram, and has what is left of it wait for its moment.
    async fn take(&mut self, agent: SocketAddr, up: bool, bytes: &[u8]) {
        if let Some(way) = self.ways.get_mut(&agent) {
            way.used = Instant::now();
        } else if self.open(agent).await.is_err() {
            return;
        }
        let passing = {
            let mut state = lock(&self.state);
            let State { conditions, up: to_broker, down: to_agent, .. } = &mut *state;
            if up {
                conditions.up.pass(bytes, &mut self.dice, to_broker)
            } else {
                conditions.down.pass(bytes, &mut self.dice, to_agent)
            }
        };
        for one in passing {
            self.plan(agent, up, one);
        }
        self.release().await;
    }

    fn plan(&mut self, agent: SocketAddr, up: bool, one: Passing) {
        if self.queue.len() >= QUEUE {
            return;
        }
        let Some(way) = self.ways.get_mut(&agent) else { return };
        let last = &mut way.last[usize::from(up)];
        let mut due = Instant::now() + one.wait;
        if one.ordered {
            due = due.max(*last);
            *last = due;
        }
        self.places += 1;
        let (due, place) = (Reverse(due), Reverse(self.places));
        self.queue.push(Waiting { due, place, agent, up, bytes: one.bytes });
    }

    /// Sends everything that is due.
    async fn release(&mut self) {
        self.rebind().await;
        let now = Instant::now();
        while self.queue.peek().is_some_and(|next| next.due.0 <= now) {
            let Some(next) = self.queue.pop() else { return };
            // What cannot be sent is lost, as in any network.
            if next.up {
                if let Some(way) = self.ways.get(&next.agent) {
                    _ = way.socket.send_to(&next.bytes, self.broker).await;
                }
            } else {
                _ = self.front.send_to(&next.bytes, next.agent).await;
            }
        }
    }

    /// A new source port for an agent. Those of senders that are gone are given up.
    async fn open(&mut self, agent: SocketAddr) -> io::Result<()> {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let reader = tokio::spawn(answers(Arc::clone(&socket), agent, self.answering.clone()));
        let now = Instant::now();
        self.ways.retain(|_, way| now.duration_since(way.used) < KEPT);
        self.ways.insert(agent, Way { socket, reader, used: now, last: [now; 2] });
        Ok(())
    }

    /// New source ports, when they are asked for.
    async fn rebind(&mut self) {
        let wanted = lock(&self.state).rebind;
        if lock(&self.state).rebound == wanted {
            return;
        }
        let agents: Vec<SocketAddr> = self.ways.keys().copied().collect();
        for agent in agents {
            // Without another socket the old port stays, which is no fault either.
            _ = self.open(agent).await;
        }
        lock(&self.state).rebound = wanted;
    }
}

/// Reads what the broker sends to one agent.
async fn answers(socket: Arc<UdpSocket>, agent: SocketAddr, out: mpsc::Sender<(SocketAddr, Vec<u8>)>) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        // An error tells that the broker is not there now.
        if let Ok((length, _)) = socket.recv_from(&mut buffer).await
            && out.send((agent, buffer.get(..length).unwrap_or_default().to_vec())).await.is_err()
        {
            return;
        }
    }
}
