//! A disk that is nearly full: nothing new is taken in, and nothing is acknowledged that is not stored.

use std::sync::Arc;

use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::wire::Offer;

use crate::fixture::{NOW, Node, oin, partnership, sample, signal};
use crate::{Input, Send};

fn room(node: &mut Node, scarce: bool) -> bool {
    node.step([Input::Room { scarce }], NOW);
    let (anew, rest): (Vec<Send>, Vec<Send>) =
        node.take_sends().into_iter().partition(|send| matches!(send, Send::Reconnect));
    node.sends = rest;
    !anew.is_empty()
}

fn offer(node: &mut Node, offer: &Offer) -> usize {
    node.step([Input::Offer(Box::new(offer.clone()))], NOW);
    node.acknowledged().len()
}

#[test]
fn without_room_pushes_are_refused_and_what_waits_is_still_sent_and_settled() {
    let (mut broker, [_, _, mut youth, _]) = partnership();
    youth.push(signal(1), NOW).unwrap();
    room(&mut youth, true);
    let refused = youth.push(signal(2), NOW).unwrap_err();
    assert_eq!(refused.refusal, Refusal::AgentStorageLow);
    assert!(youth.core.find(&seinhuis_shared::ids::MsgId([2; 16])).is_none(), "nothing is kept of it");
    assert!(youth.push(signal(1), NOW).unwrap().repeated, "what was pushed before is answered as it was");
    let packet = Arc::clone(&youth.submitted()[0]);
    let verdict = broker.accept(&packet, NOW);
    youth.step([Input::Verdict(verdict)], NOW);
    assert_eq!(youth.core.status(NOW).accepted, 1);
    assert!(!room(&mut youth, false), "nothing was left at the broker");
    youth.push(signal(2), NOW).unwrap();
}

#[test]
fn without_room_offers_are_left_at_the_broker_and_fetched_in_order_when_there_is_room() {
    let (mut broker, [mut town, _, mut youth, _]) = partnership();
    for id in 1..=3 {
        youth.push(signal(id), NOW).unwrap();
    }
    for packet in youth.submitted() {
        broker.accept(&packet, NOW);
    }
    let offers = broker.mailboxes[&oin(1)].clone();
    assert_eq!(offer(&mut town, &offers[0]), 1);
    room(&mut town, true);
    let (rows, blobs) = (town.rows.clone(), town.blobs.clone());
    assert_eq!(offer(&mut town, &offers[1]), 0, "left unanswered");
    assert!(town.rows == rows && town.blobs == blobs, "and nothing is kept of it");
    assert!(room(&mut town, false), "a new session fetches it");
    // What is behind it in this session must not overtake it.
    assert_eq!(offer(&mut town, &offers[2]), 0);
    town.step([Input::Disconnected], NOW);
    broker.connect(&mut town, NOW);
    assert_eq!([&offers[1], &offers[2]].map(|left| offer(&mut town, left)), [1, 1]);
    assert_eq!(town.bodies().len(), 3);
    assert!(town.bodies().contains(&sample(crate::fixture::SIGNAL)) && town.alarms().is_empty());
    assert!(!room(&mut town, true) && !room(&mut town, false), "only what was left is fetched");
}
