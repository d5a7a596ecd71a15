//! Mail in flight: each fate on each ground, alone and together, in order, bounded, and after a restart.

mod town;

use seinhuis_shared::covenant::agreement::Word;
use seinhuis_shared::covenant::{Fate, InFlight};
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::limits::INFLIGHT_MAX;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Span;

use self::town::{Expired, Fall, Leaves, Revoked, Superseded, Town, digests, load, offered, pact, shredded};
use super::broker::Broker;
use super::fixture::{Gem, Jw, NOON, Om, Pol, covenant, vote};
use crate::{Ask, Input, RequestId, Write};

const FATES: [Fate; 3] = [Fate::Deliver, Fate::Freeze, Fate::Shred];

/// From youth work, to youth work, and between two others.
fn three(town: &mut Town) -> [Vec<u8>; 3] {
    [town.post(Jw, &[Gem]), town.post(Gem, &[Jw]), town.post(Pol, &[Gem])]
}

#[test]
fn what_is_to_be_delivered_is_offered_as_before() {
    for fall in Fall::ALL {
        let mut town = Town::facing(fall, Fate::Deliver, Fate::Shred);
        let [from, to, other] = three(&mut town);
        let did = town.fall(fall);
        assert!(shredded(&did.entries).is_empty(), "{fall:?}");
        assert_eq!(town.peek(Gem), digests(&[&from, &other]), "{fall:?}");
        if fall == Revoked {
            assert_eq!(town.broker.waiting(Jw), 1);
            town.readd(Jw);
        }
        assert_eq!(town.peek(Jw), digests(&[&to]), "{fall:?}");
        assert_eq!((town.frozen(Gem), town.frozen(Jw)), (0, 0), "{fall:?}");
        let ended = town.broker.tick_until(NOON.plus(Span::days(25)));
        let expired: Vec<_> = ended.entries.iter().filter(|entry| entry.kind == Kind::Expired).collect();
        assert_eq!(expired.len(), 3);
        let plain = expired.iter().all(|entry| (entry.reason, &entry.detail) == (None, &None));
        assert!(plain, "{fall:?}: {expired:?}");
    }
}

#[test]
fn what_is_frozen_is_kept_and_not_offered_until_it_expires() {
    for fall in Fall::ALL {
        for other in [Fate::Deliver, Fate::Shred] {
            let mut town = Town::facing(fall, Fate::Freeze, other);
            let [from, to, between] = three(&mut town);
            let did = town.fall(fall);
            assert!(shredded(&did.entries).is_empty(), "{fall:?} {other:?}");
            assert!(offered(&town.broker, &did).is_empty(), "{fall:?}");
            let size = town.size(fall);
            let all = fall.concerns_all();
            for restarted in [false, true] {
                assert_eq!(town.peek(Gem), if all { vec![] } else { digests(&[&between]) }, "{fall:?}");
                if fall != Revoked {
                    assert_eq!(town.peek(Jw), [], "{fall:?}");
                }
                assert_eq!((town.broker.waiting(Gem), town.broker.waiting(Jw)), (2, 1), "{restarted}");
                assert_eq!((town.frozen(Gem), town.frozen(Jw)), (if all { 2 } else { 1 }, 1), "{fall:?}");
                assert_eq!(town.oldest_open(Gem), (!all).then(|| sha256(&between)), "{fall:?}");
                assert_eq!(town.oldest_open(Jw), None, "{fall:?}");
                town.broker.restart();
                town.broker.turn([Input::Tick]);
            }
            let ended = town.broker.tick_until(NOON.plus(Span::days(25)));
            for (packet, reason) in [(from, fall.reason(true)), (to, fall.reason(false))] {
                let entry = ended.entries.iter().find(|entry| entry.packet == Some(sha256(&packet))).unwrap();
                assert_eq!((entry.kind, entry.result.as_deref()), (Kind::Expired, Some("expired")));
                assert_eq!((entry.reason, &entry.detail), (Some(reason.number()), &size), "{fall:?}");
            }
            assert!(town.broker.blobs.is_empty());
        }
    }
}

#[test]
fn what_is_shredded_is_gone_in_the_turn_in_which_its_ground_falls_away() {
    for fall in Fall::ALL {
        let mut town = Town::facing(fall, Fate::Shred, Fate::Deliver);
        let [from, to, between] = three(&mut town);
        let did = town.fall(fall);
        assert!(offered(&town.broker, &did).is_empty(), "{fall:?}");
        let gone = shredded(&did.entries);
        assert_eq!(gone.len(), if fall.concerns_all() { 3 } else { 2 }, "{fall:?}");
        for (packet, ends, reason) in
            [(&from, (Jw, Gem), fall.reason(true)), (&to, (Gem, Jw), fall.reason(false))]
        {
            let entry = gone.iter().find(|entry| entry.packet == Some(sha256(packet))).unwrap();
            assert_eq!((entry.from, entry.to), (Some(ends.0.oin()), Some(ends.1.oin())));
            assert_eq!(entry.result.as_deref(), Some("shredded"));
            assert_eq!((entry.reason, &entry.detail), (Some(reason.number()), &town.size(fall)), "{fall:?}");
            assert_eq!(entry.covenant, Some(town.covenant.hash()));
            assert!(entry.msg_id.is_some() && entry.flow.is_some());
            assert!(!town.broker.blobs.contains_key(&sha256(packet).0), "{fall:?}");
        }
        assert_eq!(town.peek(Gem), if fall.concerns_all() { vec![] } else { digests(&[&between]) });
        assert_eq!((town.broker.waiting(Jw), town.frozen(Gem)), (0, 0));
        assert!(shredded(&town.broker.turn([Input::Tick]).entries).is_empty(), "once");
    }
}

#[test]
fn who_may_still_have_a_packet_keeps_it_when_another_recipient_may_not() {
    let mut town = Town::facing(Leaves, Fate::Shred, Fate::Deliver);
    let both = town.post(Gem, &[Pol, Jw]);
    let did = town.leave(Jw);
    assert_eq!(shredded(&did.entries).len(), 1);
    assert_eq!((town.broker.waiting(Jw), town.broker.waiting(Pol), town.broker.blobs.len()), (0, 1, 1));
    assert_eq!(town.peek(Pol), digests(&[&both]));
}

#[test]
fn the_strictest_fate_wins_and_of_equals_the_first_to_take_hold() {
    let falls = [Leaves, Superseded, Revoked];
    for strict in falls {
        for rest in [Fate::Deliver, Fate::Freeze] {
            let mut town = Town::facing(strict, Fate::Shred, rest);
            let packet = town.post(Jw, &[Gem]);
            let mut gone = Vec::new();
            for fall in falls {
                assert_eq!(town.broker.waiting(Gem), usize::from(gone.is_empty()), "{strict:?} {fall:?}");
                let did = town.fall(fall);
                gone.extend(shredded(&did.entries).into_iter().cloned());
                if fall == strict {
                    assert_eq!(gone.len(), 1, "{strict:?} {rest:?}");
                }
            }
            assert_eq!(gone[0].packet, Some(sha256(&packet)));
            assert_eq!(gone[0].reason, Some(strict.reason(true).number()));
            assert_eq!(gone[0].detail, town.size(strict));
        }
    }
    // Revoked after it left: frozen for leaving, from that moment.
    for (withdrawn, revoked, first) in
        [(Fate::Freeze, Fate::Freeze, Leaves), (Fate::Deliver, Fate::Freeze, Revoked)]
    {
        let mut town = Town::with(InFlight { withdrawn, superseded: Fate::Deliver, revoked });
        town.post(Jw, &[Gem]);
        town.leave(Jw);
        town.revoke(Jw);
        let ended = town.broker.tick_until(NOON.plus(Span::days(25)));
        let entry = ended.entries.iter().find(|entry| entry.kind == Kind::Expired).unwrap();
        assert_eq!((entry.reason, &entry.detail), (Some(first.reason(true).number()), &town.size(first)));
    }
}

#[test]
fn what_was_frozen_for_a_revocation_is_offered_in_order_when_the_partner_is_back() {
    for restarted in [false, true] {
        let mut town = Town::facing(Revoked, Fate::Freeze, Fate::Deliver);
        let (gem, _) = town.offers(Gem);
        let inflight = town.post(Jw, &[Gem]);
        assert_eq!(town.broker.core.overview(NOON).queues[0].inflight, 1);
        let mut conn = gem;
        town.broker.turn([Input::Disconnected { conn: gem }]);
        let packets = [town.post(Jw, &[Gem]), town.post(Pol, &[Gem]), town.post(Jw, &[Gem])];
        let [one, two, three] = &packets;
        let (gem, all) = town.offers(Gem);
        assert_eq!(all, digests(&[&inflight, one, two, three]));
        town.broker.turn([Input::Disconnected { conn: gem }]);
        town.revoke(Jw);
        let (gem, some) = town.offers(Gem);
        assert_eq!(some, digests(&[two]));
        conn = if restarted { conn } else { gem };
        let back = if restarted {
            town.broker.restart();
            town.readd(Jw);
            let (gem, all) = town.offers(Gem);
            conn = gem;
            all
        } else {
            let did = town.readd(Jw);
            offered(&town.broker, &did)
        };
        let expected = if restarted { vec![&inflight, one, two, three] } else { vec![&inflight, one, three] };
        assert_eq!(back, digests(&expected), "what is with the recipient already is not offered again");
        let did = town.broker.acknowledge(conn, Gem, &[(&inflight, 0), (one, 0), (two, 0), (three, 0)]);
        assert_eq!(did.entries.iter().filter(|entry| entry.kind == Kind::Delivered).count(), 4);
    }
}

#[test]
fn what_comes_back_keeps_to_the_window() {
    let mut town = Town::facing(Revoked, Fate::Freeze, Fate::Deliver);
    let packets: Vec<_> = (0..INFLIGHT_MAX + 3).map(|_| town.draft(Jw, &[Gem])).collect();
    let jw = town.broker.connect(Jw);
    let all: Vec<_> = packets.iter().map(|bytes| town.broker.submission(jw, Jw, bytes)).collect();
    town.broker.turn(all);
    town.revoke(Jw);
    let (gem, none) = town.offers(Gem);
    assert_eq!(none, []);
    let did = town.readd(Jw);
    assert_eq!(offered(&town.broker, &did), digests(&packets.iter().take(INFLIGHT_MAX).collect::<Vec<_>>()));
    let did = town.broker.acknowledge(gem, Gem, &[(&packets[0], 0)]);
    assert_eq!(offered(&town.broker, &did), digests(&[&packets[INFLIGHT_MAX]]));
}

#[test]
fn what_was_offered_before_still_counts_as_delivered() {
    for fall in Fall::ALL {
        for fate in FATES {
            let mut town = Town::facing(fall, fate, Fate::Deliver);
            let (gem, _) = town.offers(Gem);
            let bytes = town.post(Jw, &[Gem]);
            let did = town.fall(fall);
            assert!(shredded(&did.entries).is_empty(), "{fall:?} {fate:?}");
            assert!(shredded(&town.broker.turn([Input::Tick]).entries).is_empty());
            let did = town.broker.acknowledge(gem, Gem, &[(&bytes, 0)]);
            let [entry] = did.entries.as_slice() else { panic!("{:?}", did.entries) };
            assert_eq!((entry.kind, entry.result.as_deref()), (Kind::Delivered, Some("stored")));
            assert!(town.broker.blobs.is_empty());
        }
    }
}

#[test]
fn what_was_offered_and_has_to_be_shredded_goes_with_the_last_session_it_was_offered_on() {
    let mut town = Town::facing(Leaves, Fate::Shred, Fate::Deliver);
    town.post(Jw, &[Gem]);
    let (one, _) = town.offers(Gem);
    let (two, all) = town.offers(Gem);
    assert_eq!(all.len(), 1);
    town.leave(Jw);
    let did = town.broker.turn([Input::Disconnected { conn: two }]);
    assert!(did.entries.is_empty() && offered(&town.broker, &did).is_empty());
    let did = town.broker.turn([Input::CertificateRevoked { conn: one }]);
    assert_eq!(shredded(&did.entries).len(), 1);
    assert_eq!(shredded(&did.entries)[0].detail, town.size(Leaves));
    assert!(town.broker.blobs.is_empty());
}

#[test]
fn a_restart_ends_the_reprieve_of_what_was_offered() {
    let mut town = Town::facing(Leaves, Fate::Shred, Fate::Deliver);
    town.post(Jw, &[Gem]);
    town.offers(Gem);
    town.leave(Jw);
    town.broker.restart();
    assert_eq!(town.broker.waiting(Gem), 1);
    let did = town.broker.turn([Input::Tick]);
    assert_eq!(shredded(&did.entries).len(), 1);
    assert_eq!(town.broker.waiting(Gem), 0);
}

#[test]
fn an_offer_of_the_same_turn_is_taken_back() {
    for fate in FATES {
        let mut town = Town::facing(Leaves, fate, Fate::Deliver);
        town.broker.connect(Gem);
        let jw = town.broker.connect(Jw);
        let bytes = town.draft(Jw, &[Gem]);
        let submission = town.broker.submission(jw, Jw, &bytes);
        let ask = Ask::Vote(vote(town.covenant.hash(), Jw, Word::Withdraw, NOON));
        let withdraw = Input::Request { conn: jw, request: RequestId(3), ask };
        let did = town.broker.turn([submission, withdraw]);
        assert_eq!(town.broker.verdicts(&did)[0].outcome, 0, "it was accepted first");
        assert_eq!(offered(&town.broker, &did).len(), usize::from(fate == Fate::Deliver));
        assert_eq!(shredded(&did.entries).len(), usize::from(fate == Fate::Shred));
        let inflight = town.broker.core.overview(NOON).queues.first().map(|queue| queue.inflight);
        let expected = match fate {
            Fate::Deliver => Some(1),
            Fate::Freeze => Some(0),
            Fate::Shred => None,
        };
        assert_eq!(inflight, expected, "it takes no room in the window");
    }
}

#[test]
fn time_that_is_over_holds_before_a_tick_and_is_logged_by_one_once() {
    for fall in [Superseded, Expired] {
        for fate in [Fate::Freeze, Fate::Shred] {
            let mut town = Town::facing(fall, fate, Fate::Deliver);
            town.post(Jw, &[Gem]);
            let over = if fall == Superseded {
                town.succeed();
                NOON.plus(Span::days(town.covenant.overlap_days.into()))
            } else {
                town.covenant.valid_until
            };
            town.broker.now = over.minus(Span(1));
            assert_eq!(town.peek(Gem).len(), 1, "{fall:?}: not a moment too early");
            town.broker.turn([Input::Tick]);
            assert_eq!(town.size(fall), None);
            town.broker.now = over;
            assert_eq!(town.peek(Gem), [], "{fall:?}");
            assert_eq!(town.size(fall), None, "a peek logs nothing");
            let did = town.broker.turn([Input::Tick]);
            assert_eq!(shredded(&did.entries).len(), usize::from(fate == Fate::Shred));
            let (kind, detail) = fall.entry();
            let entry = &did.entries[0];
            assert_eq!((entry.kind, entry.detail.as_deref()), (kind, Some(detail)));
            assert_eq!((entry.covenant, entry.subject), (Some(town.covenant.hash()), None));
            town.broker.restart();
            let later = town.broker.tick_until(over.plus(Span::days(1)));
            assert!(later.entries.is_empty(), "{:?}", later.entries);
        }
    }
}

#[test]
fn without_an_overlap_a_successor_ends_a_version_in_the_turn_of_the_last_word() {
    let mut covenant = pact(Superseded.fates(Fate::Shred, Fate::Deliver));
    covenant.overlap_days = 0;
    let mut town = Town::new(covenant, 1000);
    town.post(Jw, &[Gem]);
    let before = town.broker.log.len();
    town.succeed();
    let entries = &town.broker.entries()[before..];
    let last = entries.iter().rposition(|entry| entry.detail.as_deref() == Some("accept")).unwrap();
    assert_eq!(entries[last + 1].detail.as_deref(), Some("superseded"));
    assert_eq!(entries[last + 2].kind, Kind::Shredded);
    assert_eq!(entries[last + 2].detail, town.size(Superseded));
}

#[test]
fn a_version_that_never_was_in_force_does_not_run_out() {
    let mut broker = Broker::bare(NOON);
    broker.add(Gem);
    load(&mut broker, &covenant());
    let did = broker.tick_until(covenant().valid_until.plus(Span::days(1)));
    assert!(did.entries.is_empty());
}

#[test]
fn the_sweep_is_bounded_and_nothing_it_has_yet_to_reach_is_offered() {
    for restarted in [false, true] {
        let mut town = Town::new(pact(Revoked.fates(Fate::Shred, Fate::Deliver)), 3);
        let mut all = Vec::new();
        for _ in 0..3 {
            all.extend([town.post(Jw, &[Gem]), town.post(Jw, &[Gem]), town.post(Pol, &[Gem])]);
        }
        let kept = digests(&[&all[2], &all[5], &all[8]]);
        let did = town.revoke(Jw);
        assert_eq!(shredded(&did.entries).len(), 2, "three looked at, of which two");
        let size = town.size(Revoked);
        let mut gone = 2;
        for tick in 0..6 {
            assert_eq!(town.peek(Gem), kept, "tick {tick}");
            if restarted && tick == 1 {
                town.broker.restart();
            }
            let did = town.broker.turn([Input::Tick]);
            let now = shredded(&did.entries);
            assert!(now.len() <= 3 && now.iter().all(|entry| entry.detail == size));
            gone += now.len();
        }
        assert_eq!((gone, town.broker.waiting(Gem)), (6, 3));
        assert_eq!(town.broker.core.sweep, None, "and then there is an end to it");
    }
}

#[test]
fn what_is_to_be_shredded_does_not_come_back_with_the_partner() {
    for restarted in [false, true] {
        let mut town = Town::new(pact(Revoked.fates(Fate::Shred, Fate::Deliver)), 1);
        for _ in 0..4 {
            town.post(Jw, &[Gem]);
            town.post(Gem, &[Jw]);
        }
        town.revoke(Jw);
        town.readd(Jw);
        if restarted {
            town.broker.restart();
        }
        assert_eq!((town.peek(Gem), town.peek(Jw)), (vec![], vec![]));
        let fresh = [town.post(Jw, &[Gem]), town.post(Gem, &[Jw])];
        for _ in 0..20 {
            town.broker.turn([Input::Tick]);
        }
        let reasons: Vec<_> = shredded(&town.broker.entries()).iter().map(|entry| entry.reason).collect();
        let count = |refusal: Refusal| reasons.iter().filter(|r| **r == Some(refusal.number())).count();
        assert_eq!((count(Refusal::PartnerRevoked), count(Refusal::RecipientRevoked)), (4, 4));
        assert_eq!(town.peek(Gem), digests(&[&fresh[0]]));
        assert_eq!(town.peek(Jw), digests(&[&fresh[1]]));
    }
}

#[test]
fn several_causes_in_one_turn_share_its_bound() {
    let mut town = Town::new(pact(Leaves.fates(Fate::Shred, Fate::Deliver)), 3);
    for from in [Jw, Pol, Jw, Pol, Jw, Pol] {
        town.post(from, &[Gem]);
    }
    let conns = [Jw, Om].map(|org| (town.broker.connect(org), org));
    let words = conns.map(|(conn, org)| {
        let ask = Ask::Vote(vote(town.covenant.hash(), org, Word::Withdraw, NOON));
        Input::Request { conn, request: RequestId(3), ask }
    });
    let did = town.broker.turn(words);
    let mut gone = vec![shredded(&did.entries).len()];
    gone.extend((0..3).map(|_| shredded(&town.broker.turn([Input::Tick]).entries).len()));
    // The first withdrawal spent the turn: of three looked at, two are of youth work.
    assert_eq!(gone, [2, 3, 1, 0]);
}

fn pact_fates() -> InFlight {
    InFlight { withdrawn: Fate::Deliver, superseded: Fate::Deliver, revoked: Fate::Deliver }
}

#[test]
fn a_row_without_its_version_offers_nothing() {
    let mut town = Town::with(pact_fates());
    town.post(Pol, &[Gem]);
    let (oin, hash) = (Gem.oin(), Digest([7; 32]));
    let lapse = town.broker.core.state.ground(&oin, &hash, &Pol.oin(), NOON).lapse(0).unwrap();
    assert_eq!((lapse.fate, lapse.reason), (Fate::Freeze, Refusal::UnknownCovenant));
    assert_eq!(Write::from_row(crate::Table::Lapses, b"x", &[1]), None);
}
