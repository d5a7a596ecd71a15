//! Connections, as QUIC gives them: streams are in order, each by itself; what is lost is sent again; a connection
//! ends, and each side notices when it can.

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_shared::ids::Digest;
use seinhuis_shared::time::Timestamp;

/// A stream, or the bytes of one in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    Session,
    Lane,
    Deliveries,
    Acknowledgements,
    Request(u64),
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Broker,
    Agent,
}

/// A connection between an agent and the broker.
#[derive(Debug)]
pub(super) struct Conn {
    /// Whose.
    pub(super) agent: usize,
    /// The ends that have not noticed that it is gone.
    pub(super) open: BTreeSet<Side>,
    /// Nothing sent from now on arrives.
    pub(super) dead: bool,
    /// Whether the agent has its welcome.
    pub(super) welcomed: bool,
    /// Deliveries that came before it.
    pub(super) early: Vec<Vec<u8>>,
    /// Until when the broker still looks at what it had read when the connection died.
    pub(super) late: Timestamp,
    /// When the last bytes of each stream arrive.
    pub(super) last: BTreeMap<(Side, Stream), Timestamp>,
    /// Packets that were submitted on it and have no answer.
    pub(super) flying: BTreeSet<Digest>,
}

impl Conn {
    pub(super) fn new(agent: usize) -> Self {
        Self {
            agent,
            open: [Side::Broker, Side::Agent].into(),
            dead: false,
            welcomed: false,
            early: Vec::new(),
            late: Timestamp(0),
            last: BTreeMap::new(),
            flying: BTreeSet::new(),
        }
    }

    /// When bytes arrive at `side` that would do so by themselves at `at`: not before those before them.
    pub(super) fn arrival(&mut self, side: Side, stream: Stream, at: Timestamp) -> Timestamp {
        let last = self.last.entry((side, stream)).or_insert(at);
        *last = at.max(*last);
        *last
    }
}
