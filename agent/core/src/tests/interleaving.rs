//! Whatever happens in whatever order, with crashes in between: nothing is lost, nothing is delivered
//! twice, order is kept for each recipient, and what is on disk is what the core knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use seinhuis_shared::ids::{MsgId, Oin};
use seinhuis_shared::packet::Packet;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::wire::Deferred;

use crate::fixture::{Broker, NOW, Node, inquiry, oin};
use crate::rows::table;
use crate::{InboxRow, Input, Stage, Write};

#[derive(Debug, Clone)]
enum Action {
    /// The municipality pushes to some of 2, 3 and 4.
    Push(u8),
    /// An agent (by index) connects.
    Connect(usize),
    /// An agent loses its connection; answers and offers on their way are lost.
    Disconnect(usize),
    /// An agent's process dies and starts again.
    Crash(usize),
    /// The broker reads what was submitted: accepts or puts off each by a bit of the number.
    Serve(u8),
    /// The broker offers everything that waits, to a recipient.
    Deliver(usize),
    /// Time passes.
    Wait(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (1_u8..8).prop_map(Action::Push),
        3 => (0_usize..4).prop_map(Action::Connect),
        1 => (0_usize..4).prop_map(Action::Disconnect),
        1 => (0_usize..4).prop_map(Action::Crash),
        4 => any::<u8>().prop_map(Action::Serve),
        3 => (1_usize..4).prop_map(Action::Deliver),
        1 => (1_u64..40).prop_map(Action::Wait),
        1 => Just(Action::Wait(3600)),
    ]
}

struct World {
    broker: Broker,
    nodes: [Node; 4],
    now: Timestamp,
    pushed: u8,
    /// Digests in the order in which the broker accepted them, per recipient.
    accepted: BTreeMap<Oin, Vec<MsgId>>,
}

impl World {
    fn new() -> Self {
        Self {
            broker: Broker::new(),
            nodes: [1, 2, 3, 4].map(Node::new),
            now: NOW,
            pushed: 0,
            accepted: BTreeMap::new(),
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Push(set) => {
                self.pushed += 1;
                let to: Vec<u8> = [2, 3, 4].into_iter().filter(|n| set & (1 << (n - 2)) != 0).collect();
                self.nodes[0].push(inquiry(self.pushed, &to), self.now).unwrap();
            }
            Action::Connect(at) => self.broker.connect(&mut self.nodes[*at], self.now),
            Action::Disconnect(at) => {
                self.nodes[*at].step([Input::Disconnected], self.now);
                self.nodes[*at].sends.clear();
            }
            Action::Crash(at) => self.nodes[*at].restart(self.now),
            Action::Serve(bits) => self.serve(*bits),
            Action::Deliver(at) => self.deliver(*at),
            Action::Wait(seconds) => {
                self.now = self.now.plus(Span::seconds(*seconds));
                for node in &mut self.nodes {
                    node.step([Input::Tick], self.now);
                }
            }
        }
        for node in &mut self.nodes {
            self.broker.serve(node, self.now);
        }
    }

    fn serve(&mut self, bits: u8) {
        if !self.nodes[0].core.status(self.now).connected {
            return;
        }
        let mut full: BTreeSet<Oin> = BTreeSet::new();
        for (at, packet) in self.nodes[0].submitted().into_iter().enumerate() {
            let to = Packet::parse(&packet).unwrap().context().recipient_oins();
            let known = self.broker.mailboxes.values().flatten().any(|offer| offer.packet[..] == packet[..]);
            // What comes behind a packet that is put off, to the same recipient on the same lane, is put off too.
            let behind = to.iter().any(|oin| full.contains(oin));
            if (bits & (1 << (at % 8)) == 0 || behind) && !known {
                full.extend(to);
                let deferred = Deferred { packet: sha256(&packet), reason: 601, retry_after: 5000 };
                self.nodes[0].step([Input::Deferred(deferred)], self.now);
                continue;
            }
            self.accept(&packet);
        }
    }

    fn accept(&mut self, packet: &Arc<[u8]>) {
        let context = Packet::parse(packet).unwrap().context().clone();
        for to in context.recipient_oins() {
            let order = self.accepted.entry(to).or_default();
            if !order.contains(&context.msg_id) {
                order.push(context.msg_id);
            }
        }
        let verdict = self.broker.accept(packet, self.now);
        self.nodes[0].step([Input::Verdict(verdict)], self.now);
    }

    fn deliver(&mut self, at: usize) {
        if !self.nodes[at].core.status(self.now).connected {
            return;
        }
        let to = oin(self.nodes[at].number);
        for offer in self.broker.mailboxes.get(&to).cloned().unwrap_or_default() {
            self.nodes[at].step([Input::Offer(Box::new(offer))], self.now);
        }
        self.nodes[at].acknowledged();
    }

    /// `deep` reads every agent back from its disk too, which takes much longer.
    fn check(&self, deep: bool) {
        for node in &self.nodes {
            assert!(node.alarms().is_empty(), "an honest broker raises no alarm: {:?}", node.alarms());
            self.check_inbox(node);
            if deep {
                self.check_restored(node);
            }
        }
        // Nothing that was pushed is gone: each message has a row, and bytes for as long as it is open.
        let rows = outbox(&self.nodes[0]);
        assert_eq!(rows.len(), usize::from(self.pushed));
        for row in rows {
            let bytes = row.packet.is_some_and(|packet| self.nodes[0].blobs.contains_key(&packet));
            assert_eq!(bytes, row.stage == Stage::Sealed, "{row:?}");
        }
    }

    fn check_inbox(&self, node: &Node) {
        let got: Vec<MsgId> = inbox(node).iter().map(|row| row.msg_id).collect();
        let once: BTreeSet<MsgId> = got.iter().copied().collect();
        assert_eq!(got.len(), once.len(), "nothing twice");
        assert_eq!(node.bodies().len(), got.len(), "every one readable");
        let accepted = self.accepted.get(&oin(node.number)).cloned().unwrap_or_default();
        assert_eq!(got, accepted[..got.len()], "in the order of acceptance");
    }

    fn check_restored(&self, node: &Node) {
        let mut live = node.core.status(self.now);
        let restored = node.restored().status(self.now);
        // What belongs to the session is not on the disk.
        live.connected = false;
        live.queued += live.deferred + live.in_flight;
        (live.deferred, live.in_flight) = (0, 0);
        assert_eq!(live, restored);
    }
}

fn outbox(node: &Node) -> Vec<crate::OutboxRow> {
    let rows = node.rows.iter().filter(|((of, _), _)| *of == table::OUTBOX);
    rows.filter_map(|((of, key), value)| match Write::read(*of, key, value) {
        Ok(Write::Outbox(_, row)) => Some(*row),
        _ => None,
    })
    .collect()
}

fn inbox(node: &Node) -> Vec<InboxRow> {
    let rows = node.rows.iter().filter(|((of, _), _)| *of == table::INBOX);
    rows.filter_map(|((of, key), value)| match Write::read(*of, key, value) {
        Ok(Write::Inbox(_, row)) => Some(*row),
        _ => None,
    })
    .collect()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 48, failure_persistence: None, ..proptest::prelude::ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_doubled_or_reordered(actions in proptest::collection::vec(action(), 1..60)) {
        let mut world = World::new();
        for (count, action) in actions.iter().enumerate() {
            world.act(action);
            world.check(count % 8 == 7);
        }
        // In the end everybody is there and everything goes through.
        for _ in 0..3 {
            for at in 0..4 {
                world.act(&Action::Connect(at));
            }
            world.act(&Action::Wait(60));
            world.act(&Action::Serve(255));
        }
        for at in 1..4 {
            world.act(&Action::Deliver(at));
        }
        world.check(true);
        assert!(outbox(&world.nodes[0]).iter().all(|row| row.stage == Stage::Done));
        for node in &world.nodes[1..] {
            let accepted = world.accepted.get(&oin(node.number)).map_or(0, Vec::len);
            assert_eq!(inbox(node).len(), accepted);
        }
        let sequences: Vec<u64> = inbox(&world.nodes[1]).iter().map(|row| row.msg_id.0[0].into()).collect();
        assert!(sequences.is_sorted(), "to one recipient under one flow, in the order of pushing");
    }
}
