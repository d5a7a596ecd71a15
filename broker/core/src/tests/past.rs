//! What the operator gets to know of each partner: what it was offered again, how its clock goes, when its prekeys end.

use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::Span;

use super::broker::Broker;
use super::fixture::{Draft, Gem, Jw, NOON, Org, Pol};
use super::sessions::{ask, bundle};
use super::witnesses::{Agents, broker as witnessed};
use crate::{Answer, Command, Input, Offset, PartnerRow};

fn row(broker: &mut Broker, org: Org) -> PartnerRow {
    let wanted: Oin = org.oin();
    match broker.command(Command::Partners) {
        Answer::Partners(rows) => rows.into_iter().find(|row| row.oin == wanted).unwrap(),
        other => panic!("{other:?} is no list of partners"),
    }
}

fn redelivered(broker: &mut Broker, org: Org) -> u64 {
    row(broker, org).redelivered
}

#[test]
fn what_is_offered_again_is_counted_and_what_is_offered_once_is_not() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let packets: Vec<Vec<u8>> =
        (1..=3).map(|number| Draft::new(Gem, &[Pol], "F04", number, NOON).seal()).collect();
    for packet in &packets[..2] {
        broker.accept(gem, Gem, packet);
    }
    assert_eq!(redelivered(&mut broker, Pol), 0);
    // Another session takes over while the first is still there.
    let next = broker.connect(Pol);
    assert_eq!(redelivered(&mut broker, Pol), 2);
    broker.acknowledge(next, Pol, &[(&packets[0], 0)]);
    broker.accept(gem, Gem, &packets[2]);
    for conn in [pol, next] {
        broker.turn([Input::Disconnected { conn }]);
    }
    assert_eq!(redelivered(&mut broker, Pol), 2, "nobody is there to be offered anything");
    let again = broker.connect(Pol);
    assert_eq!(redelivered(&mut broker, Pol), 4, "the two that wait");
    broker.acknowledge(again, Pol, &[(&packets[1], 0), (&packets[2], 0)]);
    assert_eq!((redelivered(&mut broker, Pol), redelivered(&mut broker, Gem)), (4, 0));
    broker.restart();
    assert_eq!(redelivered(&mut broker, Pol), 0, "since the start");
}

#[test]
fn an_offer_that_is_taken_back_in_its_own_turn_is_none() {
    let mut broker = Broker::started(NOON);
    let gem = broker.connect(Gem);
    let pol = broker.connect(Pol);
    let packet = Draft::new(Gem, &[Pol], "F04", 1, NOON).seal();
    let submitted = broker.submission(gem, Gem, &packet);
    let revoke = |org: Org| Input::Operator {
        id: crate::CommandId(7),
        command: Command::RevokePartner { oin: org.oin(), reason: None },
    };
    let did = broker.turn([submitted, revoke(Gem)]);
    assert!(broker.offers(&did).is_empty());
    broker.add(Gem);
    broker.turn([Input::Disconnected { conn: pol }]);
    broker.connect(Pol);
    assert_eq!(redelivered(&mut broker, Pol), 0);
}

#[test]
fn an_acknowledgement_says_how_the_clock_goes_of_who_signed_it() {
    let mut broker = Broker::started(NOON);
    let (gem, pol) = (broker.connect(Gem), broker.connect(Pol));
    let packet = Draft::new(Gem, &[Pol], "F04", 1, NOON).seal();
    broker.accept(gem, Gem, &packet);
    assert_eq!(row(&mut broker, Pol).clock, None);
    let signed = |broker: &mut Broker, packet: &[u8], ahead: Span| {
        let issued = broker.now.plus(ahead);
        let ack = seinhuis_shared::wire::Acknowledgement { issued, ..broker.ack(Pol, &[(packet, 0)]) };
        Broker::batch(Pol, &ack)
    };
    broker.now = broker.now.plus(Span(40));
    let batch = signed(&mut broker, &packet, Span::seconds(7));
    broker.turn([Input::Acknowledged { conn: pol, examined: Ok(batch) }]);
    assert_eq!(row(&mut broker, Pol).clock, Some(Offset { least: 6999, most: 7041 }));
    assert_eq!(row(&mut broker, Gem).clock, None, "whoever has signed nothing");
    // What was offered before may have been acknowledged at any time since.
    let other = Draft::new(Gem, &[Pol], "F04", 2, NOON).seal();
    broker.accept(gem, Gem, &other);
    let next = broker.connect(Pol);
    let batch = signed(&mut broker, &other, Span(0));
    broker.turn([Input::Acknowledged { conn: next, examined: Ok(batch) }]);
    assert_eq!(row(&mut broker, Pol).clock, Some(Offset { least: 6999, most: 7041 }));
    broker.turn([Input::Disconnected { conn: next }]);
    broker.turn([Input::Disconnected { conn: pol }]);
    assert_eq!(row(&mut broker, Pol).clock, None, "it is away");
    broker.connect(Pol);
    assert!(row(&mut broker, Pol).clock.is_some());
    broker.now = broker.now.plus(Span::hours(1));
    assert_eq!(row(&mut broker, Pol).clock, None, "too long ago");
}

#[test]
fn a_cosignature_says_how_the_clock_goes_to_a_second() {
    let mut broker = witnessed();
    let mut agents = Agents::default();
    agents.join(&mut broker, Gem);
    agents.tick(&mut broker, Span(1300));
    let Offset { least, most } = row(&mut broker, Gem).clock.unwrap();
    assert!((-1001..=0).contains(&least) && (0..=1000).contains(&most), "{least} {most}");
    broker.connect(Jw);
    assert_eq!(row(&mut broker, Jw).clock, None, "it was not asked yet");
}

#[test]
fn the_end_of_the_prekeys_is_that_of_the_newest_bundle_also_after_a_restart() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    assert_eq!(row(&mut broker, Pol).bundle_ends, None);
    for (seq, hours) in [(1, 24), (2, 20)] {
        ask(&mut broker, pol, bundle(Pol, seq, Span::hours(hours)));
        assert_eq!(row(&mut broker, Pol).bundle_ends, Some(NOON.plus(Span::hours(hours))));
    }
    broker.restart();
    assert_eq!(row(&mut broker, Pol).bundle_ends, Some(NOON.plus(Span::hours(20))));
}
