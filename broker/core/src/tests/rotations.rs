//! Keys that hand over: from that entry on the old one signs nothing new, and what it signed before stands.

use seinhuis_shared::acknowledgement::Acknowledgement;
use seinhuis_shared::case::{Act, CaseDecision, FORMAT};
use seinhuis_shared::covenant::agreement::{Vote, Word};
use seinhuis_shared::covenant::{Compiled, Covenant, Step};
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::{CaseId, Digest};
use seinhuis_shared::prekey::{Prekey, PrekeyBundle, SUITE};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::{Rotated, Rotation};
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::Span;

use super::broker::{Broker, Did};
use super::fixture::{Draft, Gem, Jw, NOON, Org, Pol, covenant};
use crate::{Answer, Ask, Command, ConnId, Input, RequestId, Send};

const CASE: CaseId = CaseId([9; 16]);

fn new_key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[200 + number; 32])
}

/// The rotation of a key, as it follows on what the broker knows.
fn rotation(broker: &Broker, org: Org, old: &SigningKey, new: &SigningKey) -> Rotation {
    let (seq, previous) = broker.core.directory().agreements.keys().next(&old.public());
    Rotation { party: org.oin(), seq, previous, old: old.public(), new: new.public(), issued: broker.now }
}

fn ask(broker: &mut Broker, conn: ConnId, ask: Ask) -> Did {
    broker.turn([Input::Request { conn, request: RequestId(4), ask }])
}

/// What came of a request: 0 when it is done.
fn outcome(did: &Did) -> u16 {
    let answer = |send: &Send| match send {
        Send::Done { .. } | Send::Rotations { .. } => Some(0),
        Send::Refuse { refuse, .. } => Some(refuse.reason),
        _ => None,
    };
    did.sends.iter().find_map(answer).unwrap()
}

fn line(did: &Did) -> Vec<Rotated> {
    let answer = |send: &Send| match send {
        Send::Rotations { rotations, .. } => Some(rotations.clone()),
        _ => None,
    };
    did.sends.iter().find_map(answer).unwrap()
}

fn rotate(broker: &mut Broker, conn: ConnId, org: Org, old: &SigningKey, new: &SigningKey) -> Did {
    let bytes = rotation(broker, org, old, new).sign(old, new);
    ask(broker, conn, Ask::Rotate(bytes))
}

/// A broker at which the police gave up its key for the first new one.
fn turned() -> (Broker, ConnId) {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    assert_eq!(outcome(&rotate(&mut broker, pol, Pol, &Pol.key(), &new_key(1))), 0);
    (broker, pol)
}

fn draft(number: u64, broker: &Broker, key: &SigningKey) -> Draft {
    Draft::new(Pol, &[Gem], "F01", number, broker.now).with(|draft| {
        draft.signer = key.clone();
        draft.context.signer = key.public().thumbprint();
    })
}

fn bundle(seq: u64, key: &SigningKey) -> (PrekeyBundle, Vec<u8>) {
    let prekeys =
        vec![Prekey { public: Pol.prekey(), not_before: NOON, not_after: NOON.plus(Span::days(1)) }];
    let signer = key.public().thumbprint();
    let bundle =
        PrekeyBundle { version: 1, suite: SUITE, oin: Pol.oin(), signer, seq, issued: NOON, prekeys };
    let bytes = bundle.sign(key);
    (bundle, bytes)
}

fn publish(broker: &mut Broker, conn: ConnId, seq: u64, key: &SigningKey) -> u16 {
    let (bundle, bytes) = bundle(seq, key);
    outcome(&ask(broker, conn, Ask::PublishPrekeys { bytes, bundle: Ok(bundle) }))
}

#[test]
fn a_rotation_is_logged_told_to_everybody_and_followed_by_the_registration() {
    let mut broker = Broker::started(NOON);
    let (pol, gem, stranger) = (broker.connect(Pol), broker.connect(Gem), broker.connect(Org::Stranger));
    let before = broker.core.state.log.time;
    let bytes = rotation(&broker, Pol, &Pol.key(), &new_key(1)).sign(&Pol.key(), &new_key(1));
    let did = ask(&mut broker, pol, Ask::Rotate(bytes.clone()));
    let [entry] = did.entries.as_slice() else { panic!("{:?}", did.entries) };
    assert_eq!((entry.kind, entry.subject), (Kind::KeyRotated, Some(Pol.oin())));
    assert_eq!(entry.key, Some(Pol.key().public().thumbprint()));
    assert_eq!(entry.detail, Some(new_key(1).public().thumbprint().to_string()));
    assert_eq!(entry.statement, Some(sha256(&bytes)));
    assert!(entry.time > before, "at a time no entry has");
    assert_eq!(line(&did), [Rotated { rotation: bytes.as_slice().into(), at: entry.time }]);
    let told: Vec<ConnId> = did
        .sends
        .iter()
        .filter_map(|send| match send {
            Send::Agreements { conn, agreements } => {
                assert_eq!((agreements[0].hash, agreements[0].rotations), (covenant().hash(), 1));
                Some(*conn)
            }
            _ => None,
        })
        .collect();
    assert!(told.contains(&pol) && told.contains(&gem) && !told.contains(&stranger), "{told:?}");
    assert!(did.directory_changed);
    assert_eq!(broker.core.directory().partner(&Pol.oin()).unwrap().key, new_key(1).public());
    let given = ask(&mut broker, gem, Ask::FetchCovenant(covenant().hash()));
    let with = given
        .sends
        .iter()
        .any(|send| matches!(send, Send::Covenant { rotations, .. } if *rotations == line(&did)));
    assert!(with, "it comes with every version that pins the old key");
    broker.restart();
    assert_eq!(broker.core.directory().agreements_of(&Gem.oin())[0].rotations, 1, "read back");
    assert_eq!(broker.core.directory().partner(&Pol.oin()).unwrap().key, new_key(1).public());
}

#[test]
fn saying_it_again_changes_nothing_and_is_answered_the_same() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    let first = rotation(&broker, Pol, &Pol.key(), &new_key(1));
    let bytes = first.sign(&Pol.key(), &new_key(1));
    let logged = line(&ask(&mut broker, pol, Ask::Rotate(bytes.clone())));
    let size = broker.log.len();
    broker.now = broker.now.plus(Span::days(3));
    let newly = Rotation { issued: broker.now, ..first }.sign(&Pol.key(), &new_key(1));
    for again in [bytes, newly] {
        let did = ask(&mut broker, pol, Ask::Rotate(again));
        assert_eq!(line(&did), logged);
        assert!(!did.directory_changed);
    }
    broker.restart();
    let pol = broker.connect(Pol);
    let twice = rotation(&Broker::started(broker.now), Pol, &Pol.key(), &new_key(1));
    let did = ask(&mut broker, pol, Ask::Rotate(twice.sign(&Pol.key(), &new_key(1))));
    assert_eq!((line(&did), broker.log.len()), (logged, size), "also after a restart");
}

#[test]
fn nobody_rotates_anothers_key_nor_one_that_is_not_registered_nor_one_that_is_given_up() {
    let (mut broker, pol) = turned();
    let size = broker.log.len();
    let number = |refusal: Refusal| refusal.number();
    let mut try_it =
        |conn, org, old: &SigningKey, new: &SigningKey| outcome(&rotate(&mut broker, conn, org, old, new));
    let given_up = try_it(pol, Pol, &Pol.key(), &new_key(2));
    assert_eq!(given_up, number(Refusal::KeyGivenUp), "a thief of the old key gets no other one in");
    assert_eq!(try_it(pol, Gem, &Gem.key(), &new_key(2)), number(Refusal::SenderNotConnection));
    assert_eq!(try_it(pol, Pol, &new_key(5), &new_key(2)), number(Refusal::UnknownKey));
    assert_eq!(try_it(pol, Pol, &new_key(1), &Pol.key()), number(Refusal::KeyInUse), "nor the old one back");
    assert_eq!(try_it(pol, Pol, &new_key(1), &Gem.key()), number(Refusal::KeyInUse));
    assert_eq!(
        try_it(pol, Pol, &new_key(1), &Org::Stranger.key()),
        number(Refusal::KeyInUse),
        "registered only"
    );
    let mut late = rotation(&broker, Pol, &new_key(1), &new_key(2));
    late.issued = broker.now.minus(Span::minutes(10));
    let did = ask(&mut broker, pol, Ask::Rotate(late.sign(&new_key(1), &new_key(2))));
    assert_eq!(outcome(&did), number(Refusal::Expired));
    late.issued = broker.now.plus(Span::minutes(10));
    let did = ask(&mut broker, pol, Ask::Rotate(late.sign(&new_key(1), &new_key(2))));
    assert_eq!(outcome(&did), number(Refusal::FromTheFuture));
    assert_eq!(outcome(&ask(&mut broker, pol, Ask::Rotate(vec![0xff; 40]))), number(Refusal::Malformed));
    assert_eq!(broker.log.len(), size, "nothing of it is logged");
    assert_eq!(outcome(&rotate(&mut broker, pol, Pol, &new_key(1), &new_key(2))), 0, "and the line goes on");
}

#[test]
fn the_old_key_signs_no_packet_any_more_and_what_it_signed_before_is_answered_again() {
    let mut broker = Broker::started(NOON);
    let pol = broker.connect(Pol);
    let before = draft(1, &broker, &Pol.key()).seal();
    let accepted = broker.accept(pol, Pol, &before);
    // Examined before, judged after.
    let late = draft(2, &broker, &Pol.key()).seal();
    let overtaken = broker.submission(pol, Pol, &late);
    assert_eq!(outcome(&rotate(&mut broker, pol, Pol, &Pol.key(), &new_key(1))), 0);
    let did = broker.turn([overtaken]);
    assert_eq!(broker.verdicts(&did)[0].outcome, Refusal::KeyGivenUp.number());
    let backdated = Draft { ..draft(3, &broker, &Pol.key()) }.with(|draft| {
        draft.context.issued = NOON.minus(Span::hours(1));
    });
    let did = broker.submit(pol, Pol, &backdated.seal());
    assert_eq!(broker.verdicts(&did)[0].outcome, Refusal::KeyGivenUp.number());
    assert_eq!(did.entries[0].reason, Some(430));
    let again = broker.submit(pol, Pol, &before);
    assert_eq!(broker.verdicts(&again)[0], accepted, "byte for byte");
    let new = draft(4, &broker, &new_key(1)).seal();
    broker.accept(pol, Pol, &new);
    // What was accepted under the old key is delivered.
    let gem = broker.connect(Gem);
    assert_eq!(broker.waiting(Gem), 2);
    broker.acknowledge(gem, Gem, &[(&before, 0), (&new, 0)]);
    assert_eq!(broker.waiting(Gem), 0);
    let never = draft(5, &broker, &new_key(7)).seal();
    let did = broker.submit(pol, Pol, &never);
    assert_eq!(broker.verdicts(&did)[0].outcome, Refusal::UnknownKey.number());
}

#[test]
fn the_old_key_gives_no_word_any_more() {
    let (mut broker, pol) = turned();
    let hash = covenant().hash();
    let word = |key: &SigningKey, now| {
        let vote = Vote {
            format: 1,
            covenant: hash,
            party: Pol.oin(),
            word: Word::Withdraw,
            issued: now,
            reason: String::new(),
        };
        Ask::Vote(vote.sign(key))
    };
    let now = broker.now;
    assert_eq!(outcome(&ask(&mut broker, pol, word(&Pol.key(), now))), Refusal::KeyGivenUp.number());
    assert_eq!(outcome(&ask(&mut broker, pol, word(&new_key(2), now))), Refusal::UnknownKey.number());
    assert_eq!(outcome(&ask(&mut broker, pol, word(&new_key(1), now))), 0);
    broker.restart();
    let casts = broker.core.directory().covenant(&hash).unwrap().casts().len();
    assert_eq!(casts, 5, "words by both keys are read back");
}

#[test]
fn the_old_key_decides_about_no_case_any_more() {
    let mut broker = Broker::started(NOON);
    let gem = broker.connect(Gem);
    let decision = |seq, previous, step, key: &SigningKey, now| {
        let decision = CaseDecision {
            format: FORMAT,
            covenant: covenant().hash(),
            case: CASE,
            seq,
            previous,
            party: Gem.oin(),
            act: Act::Step(step),
            issued: now,
        };
        decision.sign(key)
    };
    let first = decision(0, None, Step::S1, &Gem.key(), broker.now);
    assert_eq!(outcome(&ask(&mut broker, gem, Ask::Decide(first.clone()))), 0);
    assert_eq!(outcome(&rotate(&mut broker, gem, Gem, &Gem.key(), &new_key(1))), 0);
    let previous: Option<Digest> = Some(sha256(&first));
    let old = decision(1, previous, Step::S2A, &Gem.key(), broker.now);
    assert_eq!(outcome(&ask(&mut broker, gem, Ask::Decide(old))), Refusal::KeyGivenUp.number());
    assert_eq!(outcome(&ask(&mut broker, gem, Ask::Decide(first))), 0, "what counted is answered as before");
    let new = decision(1, previous, Step::S2A, &new_key(1), broker.now);
    assert_eq!(outcome(&ask(&mut broker, gem, Ask::Decide(new))), 0);
    broker.restart();
    let decided = broker.core.state.cases.state(&CASE).unwrap().events().count();
    assert_eq!(decided, 2, "decisions by both keys are read back");
}

#[test]
fn the_old_key_publishes_no_prekeys_and_its_bundle_is_no_longer_given() {
    let mut broker = Broker::started(NOON);
    let (pol, gem) = (broker.connect(Pol), broker.connect(Gem));
    let given = |broker: &mut Broker| {
        let did = ask(broker, gem, Ask::FetchPrekeys(vec![Pol.oin()]));
        let bundles = did.sends.into_iter().find_map(|send| match send {
            Send::Prekeys { bundles, .. } => Some(bundles),
            _ => None,
        });
        bundles.unwrap()
    };
    assert_eq!(publish(&mut broker, pol, 1, &Pol.key()), 0);
    assert_eq!(given(&mut broker).len(), 1);
    assert_eq!(outcome(&rotate(&mut broker, pol, Pol, &Pol.key(), &new_key(1))), 0);
    assert!(given(&mut broker).is_empty());
    assert_eq!(publish(&mut broker, pol, 2, &Pol.key()), Refusal::KeyGivenUp.number());
    assert_eq!(publish(&mut broker, pol, 3, &new_key(2)), Refusal::UnknownKey.number());
    assert_eq!(publish(&mut broker, pol, 4, &new_key(1)), 0);
    assert_eq!(given(&mut broker), [(Pol.oin(), bundle(4, &new_key(1)).1)]);
}

#[test]
fn an_acknowledgement_by_the_old_key_counts_for_nothing_and_is_asked_for_anew() {
    let mut broker = Broker::started(NOON);
    let (pol, gem) = (broker.connect(Pol), broker.connect(Gem));
    let bytes = draft(1, &broker, &Pol.key()).seal();
    broker.accept(pol, Pol, &bytes);
    assert_eq!(outcome(&rotate(&mut broker, gem, Gem, &Gem.key(), &new_key(1))), 0);
    let directory = broker.core.directory();
    let old = directory.key_of(&Gem.oin(), Gem.key().public().thumbprint());
    assert_eq!(old, Err(Refusal::KeyGivenUp));
    assert_eq!(directory.key_of(&Gem.oin(), new_key(1).public().thumbprint()), Ok(new_key(1).public()));
    let others = directory.key_of(&Pol.oin(), Gem.key().public().thumbprint());
    assert_eq!(others, Err(Refusal::UnknownKey));
    let said = broker.ack(Gem, &[(&bytes, 0)]);
    // Also one that was examined before the key was given up, and stood in line meanwhile.
    for examined in [Err(Refusal::KeyGivenUp), Ok(Broker::batch(Gem, &said))] {
        let did = broker.turn([Input::Acknowledged { conn: gem, examined }]);
        let [offered] = broker.offers(&did).try_into().unwrap();
        assert_eq!((offered.conn, broker.waiting(Gem)), (gem, 1), "offered again on the same connection");
        assert!(did.entries.is_empty() && !did.sends.iter().any(|send| matches!(send, Send::Close { .. })));
    }
    let examined = Acknowledgement::verify(&said.sign(&new_key(1)), &[new_key(1).public()]);
    broker.turn([Input::Acknowledged { conn: gem, examined }]);
    assert_eq!(broker.waiting(Gem), 0);
}

#[test]
fn acknowledgements_by_the_old_key_without_end_end_the_session_and_no_loop_begins() {
    let mut broker = Broker::started(NOON);
    let (pol, gem) = (broker.connect(Pol), broker.connect(Gem));
    let bytes = draft(1, &broker, &Pol.key()).seal();
    broker.accept(pol, Pol, &bytes);
    let mut offered = 0;
    for _ in 0..100 {
        let did = broker.turn([Input::Acknowledged { conn: gem, examined: Err(Refusal::KeyGivenUp) }]);
        offered += broker.offers(&did).len();
        if did.sends.iter().any(|send| matches!(send, Send::Close { reason: Refusal::KeyGivenUp, .. })) {
            assert_eq!(offered, 8);
            assert_eq!(broker.waiting(Gem), 1, "nothing is lost");
            return;
        }
    }
    panic!("the session goes on for ever");
}

#[test]
fn a_partner_that_is_added_again_keeps_the_key_that_counts() {
    let (mut broker, _) = turned();
    let add = |org: Org, key: SigningKey| Command::AddPartner {
        oin: org.oin(),
        name: format!("{org:?}"),
        key: key.public(),
    };
    assert_eq!(broker.command(add(Pol, Pol.key())), Answer::Unchanged, "an enrolment from before");
    broker.command(Command::RevokePartner { oin: Pol.oin(), reason: None });
    assert!(matches!(broker.command(add(Pol, Pol.key())), Answer::Recorded { .. }));
    assert_eq!(broker.core.directory().partner(&Pol.oin()).unwrap().key, new_key(1).public());
    assert_eq!(broker.try_command(add(Jw, new_key(1))), Err(Refusal::KeyInUse), "another's");
}

#[test]
fn a_proposal_pins_keys_that_count() {
    let (mut broker, pol) = turned();
    let next = |key: &SigningKey| {
        let mut next = Covenant { version: 2, previous: Some(covenant().hash()), ..covenant() };
        let party = next.parties.iter_mut().find(|party| party.oin == Pol.oin()).unwrap();
        party.signing_keys = vec![key.public().to_bytes().as_slice().into()];
        Compiled::new(next).unwrap().into()
    };
    let propose = |key: &SigningKey| Ask::Propose(Ok(next(key)));
    let stale = ask(&mut broker, pol, propose(&Pol.key()));
    assert_eq!(outcome(&stale), Refusal::StaleKeyPinned.number());
    let loaded = broker.try_command(Command::LoadCovenant { compiled: next(&Pol.key()) });
    assert_eq!(loaded, Err(Refusal::StaleKeyPinned));
    assert_eq!(outcome(&ask(&mut broker, pol, propose(&new_key(1)))), 0);
    let known = broker.core.directory().agreements_of(&Pol.oin());
    assert!(known.iter().all(|one| one.rotations == 1) && known.len() == 2, "the line comes with both");
}
