//! What parties agree on: put up, signed, in force, withdrawn; and that nothing else opens a flow.

use std::sync::Arc;

use seinhuis_shared::covenant::agreement::{State, Word};
use seinhuis_shared::covenant::{Compiled, Covenant};
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::limits::PROPOSALS_MAX;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};

use super::admission::signal;
use super::broker::{Broker, Did};
use super::fixture::{Draft, Gem, Jw, NOON, Om, Org, Pol, Stranger, compiled, covenant, vote};
use crate::{Ask, Command, ConnId, Input, RequestId, Send};

/// A broker with partners and a covenant nobody has signed.
fn unsigned() -> Broker {
    let mut broker = Broker::bare(NOON);
    broker.command(Command::LoadCovenant { compiled: compiled() });
    for org in Org::PARTIES.into_iter().chain([Stranger]) {
        broker.add(org);
    }
    broker
}

fn successor(change: impl FnOnce(&mut Covenant)) -> Arc<Compiled> {
    let mut next = Covenant { version: 2, previous: Some(covenant().hash()), ..covenant() };
    change(&mut next);
    Arc::new(Compiled::new(next).unwrap())
}

fn ask(broker: &mut Broker, conn: ConnId, ask: Ask) -> Did {
    broker.turn([Input::Request { conn, request: RequestId(4), ask }])
}

fn refused(did: &Did) -> Option<u16> {
    did.sends.iter().find_map(|send| match send {
        Send::Refuse { refuse, .. } => Some(refuse.reason),
        _ => None,
    })
}

fn outcome(broker: &mut Broker, org: Org, draft: &Draft) -> u16 {
    let conn = broker.connect(org);
    let did = broker.submit(conn, org, &draft.seal());
    broker.verdicts(&did)[0].outcome
}

fn state(broker: &Broker, hash: &Digest) -> State {
    broker.core.directory().covenant(hash).unwrap().state(broker.now)
}

#[test]
fn what_is_not_signed_opens_nothing() {
    let mut broker = unsigned();
    let hash = covenant().hash();
    for org in [Gem, Pol, Jw] {
        broker.say(org, hash, Word::Accept).unwrap();
    }
    assert_eq!(outcome(&mut broker, Pol, &signal()), Refusal::CovenantNotInForce.number());
    broker.say(Om, hash, Word::Accept).unwrap();
    assert_eq!(state(&broker, &hash), State::InForce);
    assert_eq!(outcome(&mut broker, Pol, &Draft::new(Pol, &[Gem], "F01", 7, NOON)), 0);
    broker.restart();
    assert_eq!(state(&broker, &hash), State::InForce, "read back");
}

#[test]
fn a_word_is_logged_told_to_every_party_and_kept_once() {
    let mut broker = unsigned();
    let hash = covenant().hash();
    let (pol, gem, stranger) = (broker.connect(Pol), broker.connect(Gem), broker.connect(Stranger));
    let bytes = vote(hash, Pol, Word::Accept, NOON);
    let did = ask(&mut broker, pol, Ask::Vote(bytes.clone()));
    let [entry] = did.entries.as_slice() else { panic!("{:?}", did.entries) };
    assert_eq!((entry.kind, entry.covenant, entry.subject), (Kind::Covenant, Some(hash), Some(Pol.oin())));
    assert_eq!(entry.detail.as_deref(), Some("accept"));
    let told: Vec<ConnId> = did
        .sends
        .iter()
        .filter_map(|send| match send {
            Send::Agreements { conn, agreements } => {
                assert_eq!((agreements[0].hash, agreements[0].votes), (hash, 1));
                Some(*conn)
            }
            _ => None,
        })
        .collect();
    assert!(told.contains(&pol) && told.contains(&gem) && !told.contains(&stranger));
    let again = ask(&mut broker, pol, Ask::Vote(bytes));
    assert!(again.entries.is_empty() && matches!(again.sends.as_slice(), [Send::Done { .. }]));
}

#[test]
fn nobody_speaks_for_another() {
    let mut broker = unsigned();
    let hash = covenant().hash();
    let pol = broker.connect(Pol);
    let others = ask(&mut broker, pol, Ask::Vote(vote(hash, Gem, Word::Accept, NOON)));
    assert_eq!(refused(&others), Some(Refusal::SenderNotConnection.number()));
    let stranger = broker.connect(Stranger);
    let none = ask(&mut broker, stranger, Ask::Vote(vote(hash, Stranger, Word::Accept, NOON)));
    assert_eq!(refused(&none), Some(Refusal::NotAParty.number()));
    let unknown = ask(&mut broker, pol, Ask::Vote(vote(Digest([9; 32]), Pol, Word::Accept, NOON)));
    assert_eq!(refused(&unknown), Some(Refusal::UnknownCovenant.number()));
    let garbage = ask(&mut broker, pol, Ask::Vote(vec![0xff; 40]));
    assert_eq!(refused(&garbage), Some(Refusal::Malformed.number()));
    assert!([others, none, unknown, garbage].iter().all(|did| did.entries.is_empty()));
    assert_eq!(broker.core.directory().covenant(&hash).unwrap().casts().len(), 0);
}

#[test]
fn a_party_that_withdraws_is_out_at_once_and_the_rest_goes_on_if_it_may() {
    let mut broker = Broker::started(NOON);
    let hash = covenant().hash();
    broker.now = NOON.plus(Span::minutes(1));
    broker.say(Om, hash, Word::Withdraw).unwrap();
    assert_eq!(state(&broker, &hash), State::Withdrawn, "the prosecution service may not be absent here");
    assert_eq!(outcome(&mut broker, Pol, &signal()), Refusal::CovenantNotInForce.number());
    assert_eq!(broker.say(Om, hash, Word::Accept).err(), Some(Refusal::VoteOrder.number()));
}

#[test]
fn who_has_not_signed_or_has_withdrawn_gets_and_sends_nothing_while_others_go_on() {
    let mut broker = Broker::bare(NOON);
    let mut covenant = covenant();
    let youth_work = covenant.parties.iter_mut().find(|party| party.oin == Jw.oin()).unwrap();
    youth_work.may_be_absent = true;
    let hash = covenant.hash();
    broker.command(Command::LoadCovenant { compiled: Arc::new(Compiled::new(covenant).unwrap()) });
    for org in Org::PARTIES {
        broker.add(org);
    }
    for org in [Gem, Pol, Om] {
        broker.say(org, hash, Word::Accept).unwrap();
    }
    let under = |mut draft: Draft| {
        draft.context.covenant = hash;
        draft
    };
    let mut seq = 10;
    let mut next = |from, to| {
        seq += 1;
        under(Draft::new(from, &[to], if to == Gem { "F01" } else { "F04" }, seq, NOON))
    };
    let not_signed = Refusal::NotSigned.number();
    assert_eq!(outcome(&mut broker, Jw, &next(Jw, Gem)), not_signed);
    assert_eq!(outcome(&mut broker, Gem, &next(Gem, Jw)), not_signed);
    assert_eq!(outcome(&mut broker, Pol, &next(Pol, Gem)), 0);
    broker.say(Jw, hash, Word::Accept).unwrap();
    assert_eq!(outcome(&mut broker, Jw, &next(Jw, Gem)), 0);
    broker.now = broker.now.plus(Span::seconds(1));
    broker.say(Jw, hash, Word::Withdraw).unwrap();
    assert_eq!(outcome(&mut broker, Jw, &next(Jw, Gem)), not_signed);
    assert_eq!(outcome(&mut broker, Pol, &next(Pol, Gem)), 0);
}

#[test]
fn two_versions_stand_side_by_side_while_they_overlap() {
    let mut broker = Broker::started(NOON);
    let next = successor(|covenant| covenant.flows.retain(|flow| flow.id != "F01"));
    let hash = next.hash();
    let gem = broker.connect(Gem);
    let did = ask(&mut broker, gem, Ask::Propose(Ok(next)));
    assert!(did.sends.iter().any(|send| matches!(send, Send::Done { .. })), "{:?}", did.sends);
    assert_eq!(did.entries[0].detail.as_deref(), Some("proposed"));
    let with = |seq, hash| Draft::new(Pol, &[Gem], "F01", seq, NOON).with(|d| d.context.covenant = hash);
    assert_eq!(outcome(&mut broker, Pol, &with(1, hash)), Refusal::CovenantNotInForce.number());
    broker.agree(hash);
    assert_eq!(state(&broker, &covenant().hash()), State::Overlapping);
    assert_eq!(outcome(&mut broker, Pol, &with(2, hash)), Refusal::UnknownFlow.number());
    assert_eq!(outcome(&mut broker, Pol, &with(3, covenant().hash())), 0);
    broker.now = NOON.plus(Span::days(covenant().overlap_days.into()));
    let late = Draft::new(Pol, &[Gem], "F01", 4, broker.now);
    assert_eq!(outcome(&mut broker, Pol, &late), Refusal::CovenantNotInForce.number());
    broker.restart();
    assert_eq!(state(&broker, &covenant().hash()), State::Superseded);
}

#[test]
fn a_chain_is_not_reordered_nor_broken() {
    let mut broker = Broker::started(NOON);
    let gem = broker.connect(Gem);
    let orphan = successor(|covenant| covenant.previous = Some(Digest([8; 32])));
    let skipped = successor(|covenant| covenant.version = 3);
    let without = successor(|covenant| covenant.parties.retain(|party| party.oin != Om.oin()));
    for wrong in [orphan, skipped, without] {
        let did = ask(&mut broker, gem, Ask::Propose(Ok(wrong)));
        assert_eq!(refused(&did), Some(Refusal::BrokenChain.number()));
        assert!(did.entries.is_empty());
    }
    let did = ask(&mut broker, gem, Ask::Propose(Err(Refusal::Malformed)));
    assert_eq!(refused(&did), Some(Refusal::Malformed.number()));
    assert_eq!(state(&broker, &covenant().hash()), State::InForce, "what is in force stays in force");
}

#[test]
fn only_a_party_proposes_and_not_without_end() {
    let mut broker = Broker::started(NOON);
    let (gem, stranger) = (broker.connect(Gem), broker.connect(Stranger));
    let did = ask(&mut broker, stranger, Ask::Propose(Ok(successor(|_| {}))));
    assert_eq!(refused(&did), Some(Refusal::NotAParty.number()));
    let numbered = |n: usize| successor(|covenant| covenant.title = format!("versie {n}"));
    for n in 0..PROPOSALS_MAX {
        assert_eq!(refused(&ask(&mut broker, gem, Ask::Propose(Ok(numbered(n))))), None, "{n}");
    }
    let over = ask(&mut broker, gem, Ask::Propose(Ok(numbered(PROPOSALS_MAX))));
    assert_eq!(refused(&over), Some(Refusal::TooManyProposals.number()));
    let again = ask(&mut broker, gem, Ask::Propose(Ok(numbered(0))));
    assert!(refused(&again).is_none() && again.entries.is_empty(), "one that is known is no new one");
    broker.restart();
    let gem = broker.connect(Gem);
    let over = ask(&mut broker, gem, Ask::Propose(Ok(numbered(PROPOSALS_MAX))));
    assert_eq!(refused(&over), Some(Refusal::TooManyProposals.number()), "also after a restart");
}

#[test]
fn a_vote_too_far_from_the_brokers_clock_does_not_count() {
    let mut broker = unsigned();
    let hash = covenant().hash();
    let pol = broker.connect(Pol);
    let mut cast =
        |issued: Timestamp| refused(&ask(&mut broker, pol, Ask::Vote(vote(hash, Pol, Word::Accept, issued))));
    assert_eq!(cast(NOON.plus(Span::minutes(6))), Some(Refusal::FromTheFuture.number()));
    assert_eq!(cast(NOON.minus(Span::minutes(6))), Some(Refusal::Expired.number()));
    assert_eq!(cast(NOON.minus(Span::minutes(4))), None);
}

#[test]
fn a_packet_examined_before_a_withdrawal_is_judged_after_it() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    let waiting = broker.submission(pol, Pol, &signal().seal());
    let withdraw = Input::Request {
        conn: pol,
        request: RequestId(5),
        ask: Ask::Vote(vote(covenant().hash(), Pol, Word::Withdraw, NOON)),
    };
    let did = broker.turn([withdraw, waiting]);
    assert_eq!(broker.verdicts(&did)[0].outcome, Refusal::CovenantNotInForce.number());
}

#[test]
fn no_trick_gives_a_party_more_proposals() {
    let over = successor(|covenant| {
        covenant.valid_from = NOON.minus(Span::days(3));
        covenant.evaluation = NOON.minus(Span::days(2));
        covenant.valid_until = NOON.minus(Span::days(1));
    });
    let mut broker = Broker::started(NOON);
    let gem = broker.connect(Gem);
    let did = ask(&mut broker, gem, Ask::Propose(Ok(over)));
    assert_eq!(refused(&did), Some(Refusal::CovenantNotInForce.number()), "one that is over");
    // Nobody else has to sign, so that it is in force with the proposer alone; then it leaves.
    for n in 0..PROPOSALS_MAX {
        let alone = successor(|covenant| {
            covenant.title = format!("alleen {n}");
            covenant.parties.iter_mut().for_each(|party| party.may_be_absent = party.oin != Gem.oin());
        });
        let hash = alone.hash();
        assert_eq!(refused(&ask(&mut broker, gem, Ask::Propose(Ok(alone)))), None, "{n}");
        broker.now = broker.now.plus(Span(1));
        broker.say(Gem, hash, Word::Accept).unwrap();
        broker.say(Gem, hash, Word::Withdraw).unwrap();
    }
    let more = ask(&mut broker, gem, Ask::Propose(Ok(successor(|covenant| covenant.title.push('!')))));
    assert_eq!(refused(&more), Some(Refusal::TooManyProposals.number()));
}

#[test]
fn a_change_of_mind_in_one_instant_is_read_back() {
    let mut broker = Broker::started(NOON);
    let gem = broker.connect(Gem);
    let (one, other) = (successor(|c| c.title = "een".into()), successor(|c| c.title = "twee".into()));
    let hashes = [one.hash(), other.hash()];
    for version in [one, other] {
        ask(&mut broker, gem, Ask::Propose(Ok(version)));
    }
    for [from, to] in [hashes, [hashes[1], hashes[0]]] {
        let mut broker = Broker::started(NOON);
        let gem = broker.connect(Gem);
        for title in ["een", "twee"] {
            ask(&mut broker, gem, Ask::Propose(Ok(successor(|c| c.title = title.into()))));
        }
        for (hash, word) in [(from, Word::Accept), (from, Word::Withdraw), (to, Word::Accept)] {
            broker.say(Pol, hash, word).unwrap();
        }
        broker.restart();
        assert!(broker.core.directory().covenant(&to).unwrap().is_bound(Pol.oin(), broker.now));
    }
}

#[test]
fn the_entry_of_a_vote_commits_to_its_bytes() {
    let mut broker = unsigned();
    let pol = broker.connect(Pol);
    let bytes = vote(covenant().hash(), Pol, Word::Accept, NOON);
    let did = ask(&mut broker, pol, Ask::Vote(bytes.clone()));
    assert_eq!(did.entries[0].statement, Some(seinhuis_shared::signing::sha256(&bytes)));
}
