//! A disk that is nearly full: what would take room is put off, what makes room goes on.

use seinhuis_shared::entry::Kind;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Span;
use seinhuis_shared::wire::Deferred;

use super::broker::{Broker, Did};
use super::fixture::{Draft, Gem, Jw, NOON, Pol};
use super::notices::{take_back, word};
use crate::{Ask, Input, RequestId, Send};

fn room(broker: &mut Broker, scarce: bool) {
    let did = broker.turn([Input::Room { scarce }]);
    assert!(did.sends.is_empty() && did.entries.is_empty());
}

fn signals(numbers: core::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(|number| Draft::new(Pol, &[Gem], "F01", number, NOON).seal()).collect()
}

/// The packet is put off for want of room, and nothing is kept of it.
fn put_off(did: &Did, bytes: &[u8], after: Span) {
    let reason = Refusal::StorageLow.number();
    let expected = Deferred { packet: sha256(bytes), reason, retry_after: after.0 };
    assert!(
        matches!(did.sends.as_slice(), [Send::Deferred { deferred, .. }] if *deferred == expected),
        "{did:?}"
    );
    assert!(did.entries.is_empty(), "{did:?}");
}

#[test]
fn without_room_nothing_new_is_taken_and_what_waits_is_delivered_until_there_is_room_again() {
    let mut broker = Broker::started(NOON);
    let (pol, jw) = (broker.connect(Pol), broker.connect(Jw));
    let packets = signals(1..5);
    for bytes in &packets[..3] {
        broker.accept(pol, Pol, bytes);
    }
    room(&mut broker, true);
    let (stored, after) = (broker.stored(), broker.config.retry_after);
    assert!(Refusal::StorageLow.is_passing(), "an agent tries again");
    put_off(&broker.submit(pol, Pol, &packets[3]), &packets[3], after);
    // What would be refused too: its entry takes room.
    put_off(&broker.submit(jw, Jw, b"rubbish"), b"rubbish", after);
    assert_eq!(broker.stored(), stored, "nothing is recorded");
    // What has its outcome is answered as it was.
    broker.accept(pol, Pol, &packets[0]);
    // Who connects is served, delivered to, and its acknowledgement is recorded.
    let (gem, did) = broker.connect_with(Gem);
    assert_eq!(broker.offers(&did).len(), 3);
    let did = broker.acknowledge(gem, Gem, &[(&packets[0], 0)]);
    assert_eq!(did.entries[0].kind, Kind::Delivered);
    assert!(!broker.notices(&did).is_empty(), "its sender is told");
    // A sender may take back what nobody is being given, and what is over ends.
    broker.turn([Input::Disconnected { conn: gem }]);
    let did = take_back(&mut broker, pol, Pol, &word(Pol, &packets[1], "verkeerde_ontvanger"));
    assert_eq!(did.entries[0].kind, Kind::Withdrawn);
    let rows = broker.overview().quotas;
    assert_eq!(rows.iter().map(|row| row.put_off.room).sum::<u64>(), 2);
    room(&mut broker, false);
    broker.now = broker.now.plus(after);
    broker.accept(pol, Pol, &packets[3]);
    assert_ne!(broker.submit(jw, Jw, b"rubbish").entries, [], "it is refused, in the log");
    room(&mut broker, true);
    let did = broker.tick_until(NOON.plus(Span::days(40)));
    assert_eq!(did.entries.iter().filter(|entry| entry.kind == Kind::Expired).count(), 2);
}

#[test]
fn without_room_words_are_put_off_and_questions_are_answered() {
    let words: [fn() -> Ask; 6] = [
        || Ask::Vote(vec![0; 10]),
        || Ask::Rotate(vec![0; 10]),
        || Ask::Propose(Err(Refusal::CovenantInvalid)),
        || Ask::PublishPrekeys { bytes: vec![0; 10], bundle: Err(Refusal::Malformed) },
        || Ask::Decide(vec![0; 10]),
        || Ask::Consume(Err(Refusal::Malformed)),
    ];
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    let mut asked = |broker: &mut Broker, ask: Ask| {
        let did = broker.turn([Input::Request { conn: pol, request: RequestId(1), ask }]);
        did.sends.iter().any(|send| {
            matches!(send, Send::Refuse { refuse, .. } if refuse.reason == Refusal::StorageLow.number()
                && refuse.retry_after == Some(broker.config.retry_after.0))
        })
    };
    for scarce in [false, true] {
        room(&mut broker, scarce);
        for word in words {
            assert_eq!(asked(&mut broker, word()), scarce);
        }
        assert!(!asked(&mut broker, Ask::FetchPrekeys(vec![Gem.oin()])), "a question takes no room");
        assert!(!asked(&mut broker, Ask::Withdraw(Err(Refusal::Malformed))), "what is taken back makes room");
    }
}

#[test]
fn what_is_refused_at_the_door_without_room_leaves_no_entry() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    room(&mut broker, true);
    let did = broker.turn([Input::Acknowledged { conn: pol, examined: Err(Refusal::BadSignature) }]);
    assert!(did.sends.contains(&Send::Close { conn: pol, reason: Refusal::BadSignature }));
    assert!(did.entries.is_empty());
}
