//! One partner that brings as much as it can, on as many connections and lanes as it gets, and heeds no wait.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seinhuis_shared::frame::{self, Kind};
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::limits::CONNECTIONS_PER_PARTNER;
use seinhuis_shared::packet::Context;
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::{Deferred, FetchPrekeys, Message as _, Verdict};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::{keys, quic};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::forge::{Forge, Lock};
use crate::raw::{Raw, RawError};
use crate::samples::{self, Sample};
use crate::stage::{Member, Stage, StageError};

/// Right packets that are kept at hand.
const RIGHT: usize = 512;
/// Packets of each other sort.
const WRONG: usize = 64;
/// Packets each lane keeps under way.
const WINDOW: usize = 64;
/// How long a packet is valid: what the broker remembers of it comes to rest within minutes.
const VALID: Span = Span::seconds(30);
/// How long the flood waits before it connects or looks again.
const AGAIN: Duration = Duration::from_millis(200);

/// What was brought and what came of it.
#[derive(Debug, Default)]
pub(in crate::load) struct Counts {
    /// Packets submitted.
    pub(in crate::load) offered: AtomicU64,
    /// Packets that were accepted.
    pub(in crate::load) accepted: AtomicU64,
    /// Submissions that were answered with a refusal.
    pub(in crate::load) refused: AtomicU64,
    /// Submissions that were put off.
    pub(in crate::load) put_off: AtomicU64,
    /// Other requests.
    pub(in crate::load) asked: AtomicU64,
    /// Connections that ended.
    pub(in crate::load) cut_off: AtomicU64,
}

fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

pub(super) fn failed(error: &RawError) -> StageError {
    io::Error::other(format!("{error:?}")).into()
}

type Bytes = Arc<Vec<u8>>;

/// What the flood is made of.
struct Packets {
    forge: Forge,
    sample: Sample,
    to: Oin,
    lock: Lock,
    /// Right ones that are not under way, each in its turn: what was put off is brought again at once.
    right: Mutex<VecDeque<Bytes>>,
    /// Signed, on a flow that does not exist: refused, and the same answer to each further one.
    refused: Vec<Bytes>,
    /// Not signed by who they say: a signature check each, and nothing that is remembered.
    forged: Vec<Bytes>,
}

impl Packets {
    fn make(stage: &Stage, from: &Member, to: &Member) -> Result<Self, StageError> {
        let broken = |complaint: Complaint| io::Error::other(complaint.what.en);
        let forge = Forge::of(stage, from).map_err(broken)?;
        let signer = forge.key.public().thumbprint();
        let stranger =
            Forge { key: SigningKey::from_seed(&keys::random()), ..Forge::of(stage, from).map_err(broken)? };
        let sample = samples::among(&["jongerenwerk", "gemeente"])?
            .into_iter()
            .find(|sample| sample.flow == "F01")
            .ok_or_else(|| io::Error::other("no sample of F01"))?;
        let lock = Lock::make().map_err(broken)?;
        let to = to.oin.parse().map_err(|_| io::Error::other("the load's OINs are wrong"))?;
        let mut packets = Self {
            forge,
            sample,
            to,
            lock,
            right: Mutex::default(),
            refused: Vec::new(),
            forged: Vec::new(),
        };
        for _ in 0..WRONG {
            let refused = packets.seal(&packets.forge, |context| "F99".clone_into(&mut context.flow));
            packets.refused.push(refused.map_err(broken)?);
            let forged = packets.seal(&stranger, |context| context.signer = signer);
            packets.forged.push(forged.map_err(broken)?);
        }
        Ok(packets)
    }

    fn seal(&self, forge: &Forge, edit: impl FnOnce(&mut Context)) -> Result<Bytes, Complaint> {
        let sealed = forge.packet(&self.sample, &[(self.to, &self.lock.public)], |context| {
            context.expires = context.issued.plus(VALID);
            edit(context);
        });
        sealed.map(Arc::new)
    }

    fn right(&self) -> MutexGuard<'_, VecDeque<Bytes>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals right ones for as long as the flood lasts.
    fn fill(&self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            if self.right().len() >= RIGHT {
                std::thread::sleep(AGAIN);
            } else if let Ok(packet) = self.seal(&self.forge, |_| ()) {
                self.right().push_back(packet);
            }
        }
    }

    /// The `number`th packet of a lane, and whether it is a right one.
    fn next(&self, number: usize) -> (Bytes, bool) {
        let of = |some: &[Bytes]| some.get(number / 3 % WRONG).map(Arc::clone).unwrap_or_default();
        // What is popped is brought: a right packet that were passed over would be gone from those at hand.
        let right = if number.is_multiple_of(3) { self.right().pop_front() } else { None };
        match (right, number % 3) {
            (Some(right), _) => (right, true),
            (None, 1) => (of(&self.refused), false),
            (None, _) => (of(&self.forged), false),
        }
    }
}

/// A flood under way.
pub(super) struct Flood {
    counts: Arc<Counts>,
    over: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    filling: tokio::task::JoinHandle<()>,
}

impl Flood {
    /// Begins to flood: packets from one member to another, on `lanes` lanes of each connection.
    pub(super) async fn begin(
        stage: &Stage,
        from: &Member,
        to: &Member,
        lanes: usize,
    ) -> Result<Self, StageError> {
        let packets = Arc::new(Packets::make(stage, from, to)?);
        let (counts, over) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
        let filling = {
            let (packets, over) = (Arc::clone(&packets), Arc::clone(&over));
            tokio::task::spawn_blocking(move || packets.fill(&over))
        };
        let mut tasks = JoinSet::new();
        for _ in 0..CONNECTIONS_PER_PARTNER {
            let one = Connection {
                home: from.home.clone(),
                packets: Arc::clone(&packets),
                counts: Arc::clone(&counts),
                lanes,
            };
            // The first one that cannot be opened is an error; what is cut off later comes back.
            let raw = Raw::open(&one.home).await.map_err(|error| failed(&error))?;
            tasks.spawn(async move { one.keep(raw).await });
        }
        Ok(Self { counts, over, tasks, filling })
    }

    /// Ends it; what it came to.
    pub(super) async fn end(mut self) -> Arc<Counts> {
        self.over.store(true, Ordering::Relaxed);
        self.tasks.shutdown().await;
        // It ends by itself within a moment, and its failure is none of the measured.
        _ = self.filling.await;
        self.counts
    }
}

/// One connection of the flood.
struct Connection {
    home: PathBuf,
    packets: Arc<Packets>,
    counts: Arc<Counts>,
    lanes: usize,
}

impl Connection {
    async fn keep(self, first: Raw) {
        let mut raw = Some(first);
        loop {
            if let Some(raw) = raw.take() {
                self.use_up(&raw).await;
                count(&self.counts.cut_off);
            }
            tokio::time::sleep(AGAIN).await;
            raw = Raw::open(&self.home).await.ok();
        }
    }

    /// Floods a connection until it ends.
    async fn use_up(&self, raw: &Raw) {
        let lanes = (0..self.lanes).map(|lane| self.lane(raw, lane));
        let lanes: Vec<_> = lanes.map(Box::pin).collect();
        tokio::select! {
            () = all(lanes) => {}
            () = self.ask(raw) => {}
            _ = raw.closed_at_all() => {}
        }
    }

    async fn lane(&self, raw: &Raw, lane: usize) {
        let Ok((mut to, mut from)) = raw.conn.open_bi().await else { return };
        let window = Semaphore::new(WINDOW);
        let away: Mutex<HashMap<Digest, Bytes>> = Mutex::default();
        let away = || away.lock().unwrap_or_else(PoisonError::into_inner);
        let bring = async {
            let mut number = lane;
            loop {
                let Ok(place) = window.acquire().await else { return };
                place.forget();
                let (packet, right) = self.packets.next(number);
                number = number.wrapping_add(1);
                let Ok(frame) = frame::encode(Kind::Submit, &packet) else { return };
                if right {
                    away().insert(sha256(&packet), packet);
                }
                if to.write_all(&frame).await.is_err() {
                    return;
                }
                count(&self.counts.offered);
            }
        };
        let hear = async {
            while let Ok(Some((kind, payload))) = quic::frame(&mut from).await {
                if kind == Kind::Verdict
                    && let Ok(verdict) = Verdict::parse(&payload)
                {
                    let was_right = away().remove(&verdict.packet).is_some();
                    let accepted = was_right && verdict.outcome == 0;
                    count(if accepted { &self.counts.accepted } else { &self.counts.refused });
                } else if kind == Kind::Deferred
                    && let Ok(deferred) = Deferred::parse(&payload)
                {
                    count(&self.counts.put_off);
                    if let Some(packet) = away().remove(&deferred.packet) {
                        self.packets.right().push_back(packet);
                    }
                } else {
                    return;
                }
                window.add_permits(1);
            }
        };
        tokio::select! { () = bring => {} () = hear => {} }
    }

    /// Asks for what costs the broker a look, again and again.
    async fn ask(&self, raw: &Raw) {
        let question = seinhuis_shared::cbor::encode(&FetchPrekeys { oins: vec![self.packets.to] });
        loop {
            // A refusal is an answer as well.
            match raw.request(Kind::FetchPrekeys, &question, Kind::Prekeys).await {
                Ok(_) | Err(RawError::Refused(_)) => count(&self.counts.asked),
                Err(_) => return,
            };
        }
    }
}

/// Until one of these has ended.
async fn all(mut lanes: Vec<std::pin::Pin<Box<impl Future<Output = ()>>>>) {
    std::future::poll_fn(|context| {
        let ended = lanes.iter_mut().any(|lane| lane.as_mut().poll(context).is_ready());
        if ended { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
