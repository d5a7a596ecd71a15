//! A partnership whose mail in flight loses its ground in every way.

use std::sync::Arc;

use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::covenant::{Compiled, Covenant, Fate, InFlight};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Span;

use crate::tests::broker::{Broker, Did, LANE, ORIGIN, log_signer};
use crate::tests::fixture::{Draft, Gem, Jw, NOON, Om, Org, Pol, covenant, vote};
use crate::{Ask, Command, CommandId, Config, ConnId, Input, RequestId};

/// What may take the ground away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fall {
    /// Youth work, which may be absent here, withdraws.
    Leaves,
    /// The prosecution service withdraws, which ends the covenant.
    Ends,
    /// A successor took its place and the overlap is over.
    Superseded,
    /// Its last day has passed.
    Expired,
    /// The operator revokes youth work's access.
    Revoked,
}

pub(super) use Fall::{Ends, Expired, Leaves, Revoked, Superseded};

impl Fall {
    pub(super) const ALL: [Self; 5] = [Leaves, Ends, Superseded, Expired, Revoked];

    /// `fate` on this ground, and another one on the others.
    pub(super) fn fates(self, fate: Fate, other: Fate) -> InFlight {
        let mut all = InFlight { withdrawn: other, superseded: other, revoked: other };
        match self {
            Leaves | Ends => all.withdrawn = fate,
            Superseded | Expired => all.superseded = fate,
            Revoked => all.revoked = fate,
        }
        all
    }

    /// Whether it concerns what others than youth work send each other too.
    pub(super) const fn concerns_all(self) -> bool {
        matches!(self, Ends | Superseded | Expired)
    }

    /// What youth work's packets are not offered for: to it, or `from` it.
    pub(super) const fn reason(self, from: bool) -> Refusal {
        match self {
            Leaves => Refusal::NotSigned,
            Ends | Superseded | Expired => Refusal::CovenantNotInForce,
            Revoked if from => Refusal::PartnerRevoked,
            Revoked => Refusal::RecipientRevoked,
        }
    }

    /// The entry that says so.
    pub(super) fn entry(self) -> (Kind, &'static str) {
        match self {
            Leaves | Ends => (Kind::Covenant, "withdraw"),
            Superseded => (Kind::Covenant, "superseded"),
            Expired => (Kind::Covenant, "expired"),
            Revoked => (Kind::Partner, "revoked"),
        }
    }
}

pub(super) fn pact(in_flight: InFlight) -> Covenant {
    let mut covenant = Covenant { in_flight, ..covenant() };
    covenant.parties.iter_mut().find(|party| party.oin == Jw.oin()).unwrap().may_be_absent = true;
    covenant
}

/// A partnership under a covenant of its own.
#[derive(Debug)]
pub(super) struct Town {
    pub(super) broker: Broker,
    pub(super) covenant: Covenant,
    next: u64,
}

impl Town {
    pub(super) fn new(covenant: Covenant, sweep_packets: usize) -> Self {
        let mut config = Config::new(ORIGIN, log_signer().public(), "broker/1");
        config.sweep_packets = sweep_packets;
        let mut broker = Broker::with(config, NOON);
        for org in Org::PARTIES {
            broker.add(org);
        }
        load(&mut broker, &covenant);
        broker.agree(covenant.hash());
        Self { broker, covenant, next: 0 }
    }

    pub(super) fn with(fates: InFlight) -> Self {
        Self::new(pact(fates), 1000)
    }

    /// One in which `fate` is agreed for this fall, and another for the rest.
    pub(super) fn facing(fall: Fall, fate: Fate, other: Fate) -> Self {
        let mut covenant = pact(fall.fates(fate, other));
        if fall == Expired {
            covenant.valid_until = NOON.plus(Span::days(20));
            covenant.evaluation = NOON.plus(Span::days(19));
        }
        Self::new(covenant, 1000)
    }

    /// A packet, valid for 25 days.
    pub(super) fn draft(&mut self, from: Org, to: &[Org]) -> Vec<u8> {
        self.next += 1;
        let flow = if to == [Gem] { "F01" } else { "F04" };
        Draft::new(from, to, flow, self.next, self.broker.now)
            .with(|draft| {
                draft.context.covenant = self.covenant.hash();
                draft.context.expires = draft.context.issued.plus(Span::days(25));
            })
            .seal()
    }

    /// A packet that waits.
    pub(super) fn post(&mut self, from: Org, to: &[Org]) -> Vec<u8> {
        let bytes = self.draft(from, to);
        let (conn, hello) = self.broker.hello(from);
        let submission = Input::Submitted { conn, lane: LANE, examined: self.broker.examine(from, &bytes) };
        // In one turn, so that what waits for the sender itself is not left in flight.
        let did = self.broker.turn([hello, submission, Input::Disconnected { conn }]);
        assert_eq!(self.broker.verdicts(&did)[0].outcome, 0, "{:?}", did.entries);
        bytes
    }

    /// A party withdraws in the turn in which it connects, so that nothing was offered to it before.
    pub(super) fn leave(&mut self, org: Org) -> Did {
        let (conn, hello) = self.broker.hello(org);
        let ask = Ask::Vote(vote(self.covenant.hash(), org, Word::Withdraw, self.broker.now));
        self.broker.turn([hello, Input::Request { conn, request: RequestId(3), ask }])
    }

    pub(super) fn revoke(&mut self, org: Org) -> Did {
        let command = Command::RevokePartner { oin: org.oin(), reason: None };
        self.broker.turn([Input::Operator { id: CommandId(1), command }])
    }

    pub(super) fn readd(&mut self, org: Org) -> Did {
        let (oin, key) = (org.oin(), org.key().public());
        let command = Command::AddPartner { oin, name: format!("{org:?}"), key };
        self.broker.turn([Input::Operator { id: CommandId(1), command }])
    }

    /// Youth work stays out of the successor, so that its acceptance is not asked for.
    pub(super) fn succeed(&mut self) {
        let mut next = self.covenant.clone();
        (next.version, next.previous) = (2, Some(self.covenant.hash()));
        load(&mut self.broker, &next);
        for org in [Gem, Pol, Om] {
            self.broker.say(org, next.hash(), Word::Accept).unwrap();
        }
    }

    pub(super) fn fall(&mut self, fall: Fall) -> Did {
        match fall {
            Leaves => self.leave(Jw),
            Ends => self.leave(Om),
            Superseded => {
                self.succeed();
                self.broker.tick_until(NOON.plus(Span::days(self.covenant.overlap_days.into())))
            }
            Expired => self.broker.tick_until(self.covenant.valid_until),
            Revoked => self.revoke(Jw),
        }
    }

    /// The size of the tree with the entry that says that the ground fell away.
    pub(super) fn size(&self, fall: Fall) -> Option<String> {
        let entries = self.broker.entries();
        let (kind, detail) = fall.entry();
        let index = entries.iter().position(|one| one.kind == kind && one.detail.as_deref() == Some(detail));
        index.map(|index| (index + 1).to_string())
    }

    pub(super) fn offers(&mut self, org: Org) -> (ConnId, Vec<Digest>) {
        let (conn, did) = self.broker.connect_with(org);
        (conn, offered(&self.broker, &did))
    }

    /// Connects and leaves again, having taken in nothing.
    pub(super) fn peek(&mut self, org: Org) -> Vec<Digest> {
        let (conn, hello) = self.broker.hello(org);
        let did = self.broker.turn([hello]);
        self.broker.turn([Input::Disconnected { conn }]);
        offered(&self.broker, &did)
    }

    pub(super) fn frozen(&mut self, org: Org) -> usize {
        let overview = self.broker.overview();
        overview.queues.iter().find(|queue| queue.oin == org.oin()).map_or(0, |queue| queue.frozen)
    }

    /// The oldest packet that nothing holds.
    pub(super) fn oldest_open(&mut self, org: Org) -> Option<Digest> {
        let overview = self.broker.overview();
        let index = overview.queues.iter().find(|queue| queue.oin == org.oin())?.oldest_open?;
        Some(self.broker.core.state.mailboxes[&org.oin()].get(index).unwrap().packet)
    }
}

pub(super) fn load(broker: &mut Broker, covenant: &Covenant) {
    broker.command(Command::LoadCovenant { compiled: Arc::new(Compiled::new(covenant.clone()).unwrap()) });
}

pub(super) fn offered(broker: &Broker, did: &Did) -> Vec<Digest> {
    broker.offers(did).into_iter().map(|offer| offer.packet).collect()
}

pub(super) fn digests(packets: &[&Vec<u8>]) -> Vec<Digest> {
    packets.iter().map(|bytes| sha256(bytes)).collect()
}

pub(super) fn shredded(entries: &[Entry]) -> Vec<&Entry> {
    entries.iter().filter(|entry| entry.kind == Kind::Shredded).collect()
}
