//! Witnesses and the end of a log: its final checkpoint, what they saw of others, and a start in between.

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::wire::{Cosigned, FetchEntries};

use super::broker::{Broker, Did, ORIGIN, log_key};
use super::fixture::{Gem, Jw, Om, Org, Pol};
use super::witnesses::{Agents, broker, broker_under, config, start, watch, watched, watched_outside};
use crate::{
    Answer, Ask, Claim, Command, CommandId, FinalWatch, Heard, Input, Pick, RequestId, Send, Table,
    WitnessedRow,
};

const NEXT: &str = "broker.example/uitwisseling/2027";

fn newyear() -> Timestamp {
    Timestamp::parse("2027-01-01").unwrap()
}

/// A broker whose witnesses cosigned its head, on the first day of another year.
fn grown(mut broker: Broker) -> (Broker, Agents) {
    let mut agents = Agents::default();
    for org in [Gem, Pol] {
        agents.join(&mut broker, org);
    }
    agents.tick(&mut broker, Span::seconds(1));
    agents.tick(&mut broker, Span::seconds(1));
    assert!(watch(&mut broker).covenants[0].newest.is_some());
    broker.now = newyear();
    (broker, agents)
}

/// Ends its log and begins the next one.
fn roll_over(broker: &mut Broker, agents: &mut Agents) {
    broker.command(Command::RollOver);
    assert_eq!(broker.core.origin(), NEXT);
    agents.conns.clear();
    agents.heads.clear();
}

/// Ends its log, and crashes before the next one is begun.
fn closed(broker: &mut Broker, agents: &mut Agents) {
    let mut turn = crate::Turn::new([1; 32]);
    let input = Input::Operator { id: CommandId(1), command: Command::RollOver };
    broker.core.handle(input, broker.now, &mut turn);
    broker.succeed();
    broker.restart();
    broker.core.begin(broker.now);
    agents.conns.clear();
}

fn kinds(did: &Did) -> Vec<Kind> {
    did.entries.iter().map(|entry| entry.kind).collect()
}

fn history(broker: &mut Broker, origin: &str) -> Vec<WitnessedRow> {
    match broker.command(Command::WitnessHistory { origin: origin.into() }) {
        Answer::WitnessHistory(rows) => rows.into_iter().map(|(_, row)| row).collect(),
        other => panic!("{other:?}"),
    }
}

/// Size of the log that ended, and how many parties cosigned that by the policy for it.
fn final_quorum(broker: &mut Broker) -> (u64, Option<usize>) {
    let size = broker.core.shards()[0].closing.as_ref().unwrap().size;
    let rows = history(broker, ORIGIN);
    let row = rows.into_iter().rfind(|row| row.size == size);
    let directory = broker.core.directory();
    let compiled = directory.agreements.iter().next().unwrap().compiled();
    let policy = compiled.covenant().witness_policy(&log_key().key).unwrap();
    let judged = row.map(|row| policy.judge(&Note::parse(&row.note).unwrap()).unwrap());
    (size, judged.filter(|judged| judged.witnessed).map(|judged| judged.cosigned.len()))
}

fn finals(broker: &mut Broker) -> Vec<FinalWatch> {
    watch(broker).finals
}

fn answer(broker: &mut Broker, did: Did, origin: &str, status: u16, body: &str) -> usize {
    let mut answered = 0;
    for send in did.sends {
        let Send::AddCheckpoint { conn, question } = send else { continue };
        if question.note.text().starts_with(&format!("{origin}\n")) {
            answered += 1;
            let ask = Ask::Cosigned(Cosigned { status, body: Bytes(body.into()) });
            broker.turn([Input::Request { conn, request: RequestId(3), ask }]);
        }
    }
    answered
}

#[test]
fn the_final_checkpoint_of_a_log_is_cosigned_once_the_next_has_begun() {
    let (mut broker, mut agents) = grown(broker());
    roll_over(&mut broker, &mut agents);
    assert_eq!(final_quorum(&mut broker).1, None, "nobody was there when it ended");
    agents.join(&mut broker, Gem);
    agents.tick(&mut broker, Span::seconds(1));
    agents.tick(&mut broker, Span::seconds(1));
    let (size, cosigned) = final_quorum(&mut broker);
    assert_eq!(cosigned, None, "one of two");
    let of = |cosigned, reached| FinalWatch { origin: ORIGIN.into(), size, cosigned, reached };
    assert_eq!(finals(&mut broker), [of(1, false)]);
    assert!(broker.core.take_finals().is_empty());
    // What one witness said is forgotten over a restart, and asked again.
    broker.restart();
    broker.core.begin(broker.now);
    agents.conns.clear();
    start(&mut broker, false);
    agents.join(&mut broker, Gem);
    agents.join(&mut broker, Pol);
    agents.join(&mut broker, Gem);
    let mut sends = agents.tick(&mut broker, Span::seconds(1));
    sends.extend(agents.tick(&mut broker, Span::seconds(1)));
    assert_eq!(final_quorum(&mut broker), (size, Some(2)));
    assert_eq!(finals(&mut broker), [of(2, true)]);
    assert_eq!(broker.core.take_finals(), [ORIGIN]);
    for send in &sends {
        // An agent judges what it is told by the log that grows.
        let Send::Witnessed { witnessed, .. } = send else { continue };
        assert!(witnessed.note.starts_with(format!("{NEXT}\n").as_bytes()));
    }
    assert_eq!(watch(&mut broker).covenants[0].newest.as_ref().unwrap().size, 2, "the next log has its own");
    // Who comes later is added.
    agents.join(&mut broker, Jw);
    agents.tick(&mut broker, Span::seconds(1));
    agents.tick(&mut broker, Span::seconds(1));
    assert_eq!(final_quorum(&mut broker), (size, Some(3)));
    let rows = |broker: &Broker, table| broker.rows.keys().filter(|(of, _)| *of == table).count();
    assert_eq!((rows(&broker, Table::Witnessed), rows(&broker, Table::WitnessedDays)), (2, 3));
    // With its quorum kept nobody is asked again.
    broker.restart();
    broker.core.begin(broker.now);
    assert_eq!((final_quorum(&mut broker), finals(&mut broker)), ((size, Some(3)), Vec::new()));
}

#[test]
fn an_agent_that_has_not_followed_yet_is_asked_again_later() {
    let (mut broker, mut agents) = grown(broker());
    roll_over(&mut broker, &mut agents);
    for org in [Gem, Pol] {
        agents.join(&mut broker, org);
    }
    let did = broker.tick_until(broker.now.plus(Span::seconds(1)));
    assert_eq!(answer(&mut broker, did, NEXT, 503, ""), 2, "of the log that grows first");
    let did = broker.tick_until(broker.now.plus(Span(500)));
    assert_eq!(answer(&mut broker, did, ORIGIN, 503, ""), 2);
    let did = broker.tick_until(broker.now.plus(Span(500)));
    let of_old = |send: &Send| matches!(send, Send::AddCheckpoint { question, .. } if question.note.text().starts_with(ORIGIN));
    assert!(!did.sends.iter().any(of_old), "not at once");
    agents.serve(&mut broker, did);
    for _ in 0..4 {
        agents.tick(&mut broker, Span::seconds(2));
    }
    assert_eq!(final_quorum(&mut broker).1, Some(2));
}

#[test]
fn who_claims_more_of_a_log_that_ended_is_suspect_unless_it_was_left_by_hand() {
    for by_hand in [false, true] {
        let (mut broker, mut agents) = grown(broker());
        let command = Command::NewOrigin { origin: "broker.example/b".into(), reason: Digest([1; 32]) };
        broker.command(if by_hand { command } else { Command::RollOver });
        agents.conns.clear();
        agents.heads.clear();
        for org in [Gem, Pol] {
            agents.join(&mut broker, org);
        }
        let origin = broker.core.origin().to_owned();
        let did = broker.tick_until(broker.now.plus(Span::seconds(1)));
        assert_eq!(answer(&mut broker, did, &origin, 503, ""), 2);
        let did = broker.tick_until(broker.now.plus(Span(500)));
        assert_eq!(answer(&mut broker, did, ORIGIN, 409, "99999\n"), 2);
        let suspects = watch(&mut broker).witnesses.into_iter().filter(|one| one.suspect.is_some()).count();
        assert_eq!(suspects, if by_hand { 0 } else { 2 });
        assert_eq!(broker.core.contradiction(), None);
    }
}

#[test]
fn a_witness_that_saw_another_history_keeps_no_broker_from_starting_once_the_operator_went_on_by_hand() {
    let (mut broker, mut agents) = grown(broker_under(watched_outside(), config()));
    roll_over(&mut broker, &mut agents);
    broker.command(Command::NewOrigin { origin: "broker.example/b".into(), reason: Digest([1; 32]) });
    broker.restart();
    broker.core.begin(broker.now);
    start(&mut broker, false);
    let mut refused = 0;
    for _ in 0..8 {
        let mut sends = broker.tick_until(broker.now.plus(Span::seconds(2))).sends;
        while let Some(send) = sends.pop() {
            let Send::AskOutside { key, question, .. } = send else { continue };
            let grows = question.note.text().starts_with("broker.example/b\n");
            refused += usize::from(!grows);
            let answer = Cosigned { status: if grows { 503 } else { 422 }, body: Bytes::default() };
            sends.extend(broker.turn([Input::OutsideAnswered { key, answer: Some(answer) }]).sends);
        }
    }
    assert_eq!(broker.core.contradiction(), None);
    let view = watch(&mut broker);
    assert!(view.finals.len() == 2 && view.witnesses.iter().all(|one| one.suspect.is_none()), "{view:?}");
    assert!(refused >= 2, "it was asked about both that ended");
}

#[test]
fn a_log_that_ended_before_a_quorum_was_asked_is_shown_to_nobody() {
    let mut broker = Broker::with(config(), newyear().minus(Span::days(1)));
    broker.command(Command::Started { without_witnesses: false });
    broker.now = newyear();
    broker.command(Command::RollOver);
    broker.now = newyear().plus(Span(1));
    let compiled = std::sync::Arc::new(seinhuis_shared::covenant::Compiled::new(watched()).unwrap());
    let mut broker = broker.populated_with(compiled);
    let mut agents = Agents::default();
    for org in [Gem, Pol] {
        agents.join(&mut broker, org);
    }
    agents.tick(&mut broker, Span::seconds(1));
    let view = watch(&mut broker);
    assert!(view.covenants[0].newest.is_some() && view.finals.is_empty(), "{view:?}");
}

#[test]
fn an_outsider_cosigns_the_end_of_a_log_and_its_late_answer_is_about_what_it_was_asked() {
    let (mut broker, mut agents) = grown(broker_under(watched_outside(), config()));
    broker.command(Command::SelfCheckFailed);
    let did = broker.tick_until(broker.now.plus(Span::seconds(2)));
    let asked = |did: &Did| {
        did.sends.iter().find_map(|send| match send {
            Send::AskOutside { key, question, .. } => Some((*key, question.note.text().to_owned())),
            _ => None,
        })
    };
    let (key, text) = asked(&did).unwrap();
    assert!(text.starts_with(ORIGIN));
    roll_over(&mut broker, &mut agents);
    let did = broker.tick_until(broker.now.plus(Span::seconds(2)));
    assert_eq!(asked(&did), None, "it has one question open");
    // A size that it names now is of the log that ended.
    let answer = Some(Cosigned { status: 409, body: Bytes(b"3\n".to_vec()) });
    let did = broker.turn([Input::OutsideAnswered { key, answer }]);
    let view = watch(&mut broker);
    assert!(view.witnesses.iter().all(|one| one.suspect.is_none()), "{view:?}");
    assert!(asked(&did).unwrap().1.starts_with(NEXT));
    agents.serve(&mut broker, did);
    for org in [Gem, Om] {
        agents.join(&mut broker, org);
    }
    for _ in 0..4 {
        agents.tick(&mut broker, Span::seconds(2));
    }
    assert_eq!(final_quorum(&mut broker).1, Some(3), "its line stands beside those of the parties");
}

#[test]
fn after_a_crash_between_two_logs_nothing_is_appended_before_the_witnesses_spoke() {
    let (mut broker, mut agents) = grown(broker());
    closed(&mut broker, &mut agents);
    let before = broker.log.len();
    assert!(start(&mut broker, false).sends.is_empty());
    broker.tick_until(broker.now.plus(Span::days(1)));
    assert!(!broker.core.succession_due() && broker.core.origin() == ORIGIN);
    agents.join(&mut broker, Gem);
    assert_eq!(broker.log.len(), before, "not the opening entry either");
    let did = agents.join(&mut broker, Pol);
    assert_eq!(kinds(&did), [Kind::Opening, Kind::Start], "and the start is logged in the next log");
    assert_eq!((broker.core.origin(), broker.core.head().unwrap().size), (NEXT, 2));
    assert!(did.sends.iter().any(|send| matches!(send, Send::Answer { id: CommandId(1), answer: Ok(_) })));
    assert!(!broker.core.succession_due() && watch(&mut broker).waiting_for.is_none());
    let did = agents.join(&mut broker, Pol);
    assert!(did.sends.iter().any(|send| matches!(send, Send::Welcome { .. })));
}

#[test]
fn an_operator_who_goes_without_witnesses_has_the_next_log_begun_first_too() {
    let (mut broker, mut agents) = grown(broker());
    closed(&mut broker, &mut agents);
    let did = start(&mut broker, true);
    assert_eq!(kinds(&did), [Kind::Opening, Kind::Start, Kind::Operator]);
    assert_eq!(did.entries[2].detail.as_deref(), Some("started-without-witnesses"));
}

/// Two brokers on one store, one of which rolled over and was cosigned after that.
fn put_back() -> (Broker, Agents) {
    let (mut broker, mut agents) = grown(broker());
    let old = broker.copy();
    roll_over(&mut broker, &mut agents);
    for org in [Gem, Pol] {
        agents.join(&mut broker, org);
    }
    agents.tick(&mut broker, Span::seconds(1));
    agents.conns.clear();
    (old, agents)
}

#[test]
fn what_was_cosigned_of_a_later_log_that_the_store_does_not_know_ends_the_broker() {
    let (mut old, mut agents) = put_back();
    old.core.begin(old.now);
    start(&mut old, false);
    let before = old.log.len();
    agents.join(&mut old, Gem);
    let found = old.core.contradiction().unwrap().clone();
    assert_eq!(
        found.claim,
        Claim::Unknown {
            origin: NEXT.into(),
            size: 1,
            root: agents.heads[&super::witnesses::secret(Gem).public().to_bytes()].0.root,
        }
    );
    assert_eq!((found.notes.len(), old.log.len()), (2, before));
    // Somebody else's log says nothing.
    let (mut old, _) = put_back();
    old.core.begin(old.now);
    let own = super::broker::sign_for(NEXT, 1, Digest([1; 32]));
    let forged = String::from_utf8(own).unwrap().replace(NEXT, "other.example/log");
    old.connect_having(Jw, forged.as_bytes());
    assert_eq!(old.core.contradiction(), None);
}

#[test]
fn what_followed_on_a_log_that_was_left_by_hand_is_no_contradiction_any_more() {
    let (mut old, mut agents) = put_back();
    old.command(Command::NewOrigin { origin: "broker.example/b".into(), reason: Digest([1; 32]) });
    agents.join(&mut old, Gem);
    assert_eq!(old.core.contradiction(), None);
    // Of the log begun by hand itself one that followed is as unknown as before.
    let later = super::broker::sign_for("broker.example/b/2031", 7, Digest([1; 32]));
    old.connect_having(Jw, &later);
    assert_eq!(old.core.contradiction(), None, "of a name nobody knows");
    old.command(Command::NewOrigin { origin: "broker.example/c/2027".into(), reason: Digest([1; 32]) });
    let later = super::broker::sign_for("broker.example/c/2028", 7, Digest([1; 32]));
    old.connect_having(Jw, &later);
    assert!(matches!(old.core.contradiction().unwrap().claim, Claim::Unknown { .. }));
}

#[test]
fn a_lost_year_is_no_contradiction_of_one_of_the_same_name_that_was_begun_by_hand() {
    let (mut old, mut agents) = put_back();
    let origin = NEXT.replace("2027", "2028");
    old.command(Command::NewOrigin { origin, reason: Digest([1; 32]) });
    agents.join(&mut old, Gem);
    assert_eq!(old.core.contradiction(), None);
    let later = super::broker::sign_for(&NEXT.replace("2027", "2029"), 7, Digest([1; 32]));
    old.connect_having(Jw, &later);
    assert!(matches!(old.core.contradiction().unwrap().claim, Claim::Unknown { .. }));
}

#[test]
fn what_was_cosigned_of_the_log_before_ends_a_broker_put_back_from_before_that() {
    let (mut broker, mut agents) = grown(broker());
    let old = broker.copy();
    let size = u64::try_from(broker.log.len()).unwrap();
    roll_over(&mut broker, &mut agents);
    let last = broker.core.shards()[0].closing.as_ref().unwrap().receipt.clone();
    let last = seinhuis_shared::receipt::Receipt::parse(&last).unwrap().checkpoint;
    // It is in its log, and says that nothing of the one that grows was cosigned.
    let (_, did) = broker.connect_having(Gem, &last);
    assert!(did.sends.iter().any(|send| matches!(send, Send::Welcome { .. })));
    let mut old = old;
    old.core.begin(old.now);
    start(&mut old, false);
    old.connect_having(Gem, &last);
    let found = old.core.contradiction().unwrap();
    assert!(matches!(found.claim, Claim::Larger { own, .. } if own == size), "{found:?}");
}

fn say(broker: &mut Broker, org: Org, heard: Heard) -> Did {
    let (_, input) = broker.hello(org);
    let Input::Connected { conn, peer, hello, .. } = input else { panic!("a hello") };
    broker.turn([Input::Connected { conn, peer, hello, heard }])
}

#[test]
fn what_was_heard_of_the_log_before_counts_for_nothing_in_the_one_that_grows() {
    let (mut broker, mut agents) = grown(broker());
    let size = u64::try_from(broker.log.len()).unwrap();
    roll_over(&mut broker, &mut agents);
    // Found out before the log ended, and brought after that.
    say(&mut broker, Gem, Heard::Fits { origin: ORIGIN.into(), size });
    let view = watch(&mut broker);
    let gem = view.witnesses.iter().find(|one| one.name == Gem.oin().to_string()).unwrap();
    assert_eq!(gem.size, Some(0), "a size of another log is none of this one");
    let claim = Claim::Other { size: 1, root: Digest([1; 32]), own: Digest([2; 32]) };
    let contradicts = Heard::Contradicts { origin: NEXT.into(), claim, note: Bytes::default() };
    broker.command(Command::NewOrigin { origin: "broker.example/b".into(), reason: Digest([1; 32]) });
    let did = say(&mut broker, Pol, contradicts.clone());
    assert!(did.sends.iter().any(|send| matches!(send, Send::Welcome { .. })));
    let Heard::Contradicts { claim, note, .. } = contradicts else { unreachable!() };
    let origin = "broker.example/b".into();
    say(&mut broker, Pol, Heard::Contradicts { origin, claim, note });
    assert!(broker.core.contradiction().is_some());
}

#[test]
fn entries_are_of_the_log_that_grew_when_they_were_asked_for() {
    let mut broker = broker();
    let gem = broker.connect(Gem);
    let asked =
        FetchEntries { origin: None, first: 0, one: false, from: None, until: None, kind: None, flow: None };
    let ask = Ask::FetchEntries(asked.clone());
    let did = broker.turn([Input::Request { conn: gem, request: RequestId(7), ask }]);
    broker.now = newyear();
    broker.command(Command::RollOver);
    // Read after the turn, when another log may grow.
    let pick = did.sends.into_iter().find_map(|send| match send {
        Send::Entries { pick, .. } => Some(pick),
        _ => None,
    });
    let of = FetchEntries { origin: Some(ORIGIN.into()), ..asked };
    assert_eq!(pick, Some(Pick::Party(Gem.oin(), of)));
}

#[test]
fn the_log_that_a_quorum_is_of_is_told_with_it() {
    let (mut broker, mut agents) = grown(broker());
    let before = watch(&mut broker).covenants[0].clone();
    assert_eq!((before.origin.as_str(), before.newest.is_some()), (ORIGIN, true));
    broker.core.take_watch_change();
    let mut turn = crate::Turn::new([1; 32]);
    let input = Input::Operator { id: CommandId(1), command: Command::RollOver };
    broker.core.handle(input, broker.now, &mut turn);
    broker.succeed();
    broker.succeed();
    assert!(broker.core.take_watch_change(), "with the turn that begins it");
    let after = broker.core.witness_watch(broker.now).covenants[0].clone();
    assert_eq!((after.origin.as_str(), after.newest), (NEXT, None));
    agents.conns.clear();
    assert_eq!(Refusal::LogSucceeded.number(), 464);
}
