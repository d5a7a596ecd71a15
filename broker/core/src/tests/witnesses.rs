//! Who cosigned the log, as many as the covenant asks, and starting with them.

use std::collections::BTreeMap;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::witnesses::party_witness;
use seinhuis_shared::covenant::{Covenant, Outside};
use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shared::tlog::cosignature::WitnessKey;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::tlog::policy::Policy;
use seinhuis_shared::tlog::witness::{Head, KnownLog, OK, Request, add_checkpoint};
use seinhuis_shared::wire::Cosigned;

use super::broker::{Broker, Did, ORIGIN, log_key, log_key_of, log_signer};
use super::fixture::{Draft, Gem, Jw, NOON, Om, Org, Pol, covenant};
use crate::{
    Answer, Ask, Command, CommandId, Config, ConnId, Core, Input, Question, RequestId, Send, Table, Watch,
};

pub(super) fn secret(org: Org) -> SigningKey {
    SigningKey::from_seed(&[org.key().public().to_bytes()[0] ^ 0x55; 32])
}

fn outsider() -> (SigningKey, WitnessKey) {
    let secret = SigningKey::from_seed(&[201; 32]);
    let key = WitnessKey::new("getuige.example", &secret.public().to_bytes()).unwrap();
    (secret, key)
}

/// The fixture's covenant with a witness key for each of the four; two have to cosign.
pub(super) fn watched() -> Covenant {
    let mut covenant = covenant();
    for org in [Gem, Pol, Jw, Om] {
        let party = covenant.parties.iter_mut().find(|party| party.oin == org.oin()).unwrap();
        party.witness_key = Some(Bytes(secret(org).public().to_bytes().to_vec()));
    }
    covenant
}

pub(super) fn watched_outside() -> Covenant {
    let (_, key) = outsider();
    let witness =
        Outside { name: "inspectie".into(), vkey: key.to_string(), url: "https://getuige.example".into() };
    Covenant { witnesses: vec![witness], ..watched() }
}

pub(super) fn config() -> Config {
    Config::new(ORIGIN, log_signer().public(), "broker/1")
}

pub(super) fn broker_under(covenant: Covenant, config: Config) -> Broker {
    let compiled = std::sync::Arc::new(seinhuis_shared::covenant::Compiled::new(covenant).unwrap());
    Broker::with(config, NOON).populated_with(compiled)
}

pub(super) fn broker() -> Broker {
    broker_under(watched(), config())
}

/// The agents and their memory as witnesses.
#[derive(Default)]
pub(super) struct Agents {
    pub(super) conns: BTreeMap<ConnId, Org>,
    /// What is said in a hello: of the log that grows.
    pub(super) heads: BTreeMap<[u8; 32], (Head, Vec<u8>)>,
    /// What was cosigned last, by key and origin.
    last: BTreeMap<([u8; 32], String), Head>,
    pub(super) asked: usize,
}

impl Agents {
    pub(super) fn join(&mut self, broker: &mut Broker, org: Org) -> Did {
        let known = self.heads.get(&secret(org).public().to_bytes()).map(|(_, note)| note.clone());
        let (conn, did) = broker.connect_having(org, &known.unwrap_or_default());
        self.conns.insert(conn, org);
        did
    }

    /// What a witness with this key answers, as C2SP tlog-witness says.
    fn answer(
        &mut self,
        broker: &Broker,
        secret: &SigningKey,
        key: &WitnessKey,
        question: &Question,
    ) -> Cosigned {
        self.asked += 1;
        let origin = question.note.text().lines().next().unwrap().to_owned();
        let proof = broker.continues(&origin, question.old, question.size);
        let request = Request { old: question.old, proof, note: question.note.clone() };
        let bytes = secret.public().to_bytes();
        let known = [KnownLog::of_key(log_key_of(&origin).key)];
        let last = (bytes, origin.clone());
        let head = self.last.get(&last).copied().unwrap_or_default();
        match add_checkpoint(&request.to_bytes().unwrap(), &known, |_| head) {
            Ok(accepted) => {
                let line = accepted.answer(key, broker.now.0 / 1000, |bytes| secret.sign(bytes)).unwrap();
                self.last.insert(last, accepted.head);
                if origin == broker.core.origin() {
                    self.heads.insert(bytes, (accepted.head, question.note.to_string().into_bytes()));
                }
                Cosigned { status: OK, body: Bytes(format!("{line}\n").into_bytes()) }
            }
            Err(refused) => Cosigned { status: refused.status(), body: Bytes(refused.body().into_bytes()) },
        }
    }

    /// Answers what was asked until nothing more is.
    pub(super) fn serve(&mut self, broker: &mut Broker, did: Did) -> Vec<Send> {
        let mut rest = Vec::new();
        let mut sends: Vec<Send> = did.sends;
        while !sends.is_empty() {
            let mut next = Vec::new();
            for send in sends {
                match send {
                    Send::AddCheckpoint { conn, question } => {
                        let org = self.conns[&conn];
                        let secret = secret(org);
                        let key = party_witness(&org.oin(), &secret.public().to_bytes()).unwrap();
                        let answer = self.answer(broker, &secret, &key, &question);
                        let ask = Ask::Cosigned(answer);
                        next.extend(broker.turn([Input::Request { conn, request: RequestId(3), ask }]).sends);
                    }
                    Send::AskOutside { key, question, url } => {
                        assert_eq!(url, "https://getuige.example");
                        let (secret, own) = outsider();
                        let answer = Some(self.answer(broker, &secret, &own, &question));
                        next.extend(broker.turn([Input::OutsideAnswered { key, answer }]).sends);
                    }
                    other => rest.push(other),
                }
            }
            sends = next;
        }
        rest
    }

    pub(super) fn tick(&mut self, broker: &mut Broker, span: Span) -> Vec<Send> {
        let now = broker.now.plus(span);
        let did = broker.tick_until(now);
        self.serve(broker, did)
    }
}

/// A signal of the police under the covenant between them.
fn signal(broker: &Broker, number: u64) -> Vec<u8> {
    let mut draft = Draft::new(Pol, &[Gem], "F01", number, broker.now);
    let agreements = &broker.core.directory();
    draft.context.covenant = agreements.agreements.iter().next().unwrap().compiled().hash();
    draft.seal()
}

pub(super) fn watch(broker: &mut Broker) -> Watch {
    match broker.command(Command::Witnesses) {
        Answer::Witnesses(watch) => *watch,
        other => panic!("{other:?}"),
    }
}

fn size(broker: &Broker) -> u64 {
    u64::try_from(broker.log.len()).unwrap()
}

/// The trust policy of a covenant for the log.
fn policy_of(broker: &Broker, covenant: &Digest) -> Policy {
    let directory = broker.core.directory();
    let compiled = directory.agreements.get(covenant).unwrap().compiled();
    compiled.covenant().witness_policy(&log_key().key).unwrap()
}

#[test]
fn a_quorum_is_collected_kept_and_told() {
    let mut broker = broker();
    let mut agents = Agents::default();
    agents.join(&mut broker, Gem);
    agents.tick(&mut broker, Span::seconds(1));
    assert_eq!(watch(&mut broker).covenants[0].newest, None, "one of two");
    agents.join(&mut broker, Pol);
    let sends = agents.tick(&mut broker, Span::seconds(2));
    let told: Vec<_> = sends.iter().filter(|send| matches!(send, Send::Witnessed { .. })).collect();
    assert_eq!(told.len(), 2, "both agents are told: {sends:?}");
    let view = watch(&mut broker);
    let [of] = &view.covenants[..] else { panic!("one covenant") };
    let newest = of.newest.clone().unwrap();
    assert_eq!((of.wanted, of.witnesses.len(), newest.size), (2, 4, size(&broker)));
    let policy = policy_of(&broker, &of.covenant);
    let judged = policy.judge(&Note::parse(&newest.note).unwrap()).unwrap();
    assert!(judged.witnessed && judged.cosigned.len() == 2);
    for table in [Table::Witnessed, Table::WitnessedDays] {
        assert_eq!(broker.rows.keys().filter(|(of, _)| *of == table).count(), 1, "{table:?}");
    }
    // A third comes later: its line is added to the same note, and written down at the next tick.
    agents.join(&mut broker, Jw);
    agents.tick(&mut broker, Span(200));
    agents.tick(&mut broker, Span(200));
    broker.restart();
    broker.core.begin(broker.now);
    let newest = watch(&mut broker).covenants[0].newest.clone().unwrap();
    assert_eq!(policy.judge(&Note::parse(&newest.note).unwrap()).unwrap().cosigned.len(), 3);
}

#[test]
fn rounds_follow_the_head_and_not_the_packets() {
    let mut broker = broker();
    let mut agents = Agents::default();
    agents.join(&mut broker, Gem);
    agents.join(&mut broker, Pol);
    agents.tick(&mut broker, Span::seconds(1));
    let asked = agents.asked;
    let conn = *agents.conns.iter().find(|(_, org)| **org == Pol).unwrap().0;
    for number in 0..20 {
        let bytes = signal(&broker, number + 1);
        broker.accept(conn, Pol, &bytes);
        let did = broker.turn([Input::HeadMoved]);
        agents.serve(&mut broker, did);
    }
    assert_eq!(agents.asked, asked, "no time has passed");
    agents.tick(&mut broker, Span(200));
    assert_eq!(agents.asked, asked + 2);
    assert_eq!(watch(&mut broker).covenants[0].newest.as_ref().unwrap().size, size(&broker));
    agents.tick(&mut broker, Span::seconds(30));
    assert_eq!(agents.asked, asked + 2, "the head stands still");
    agents.tick(&mut broker, Span::seconds(31));
    assert_eq!(agents.asked, asked + 4, "a quorum is renewed");
    assert_eq!(watch(&mut broker).covenants[0].newest.as_ref().unwrap().reached, broker.now);
}

#[test]
fn wrong_and_foreign_cosignatures_are_counted_and_of_no_use() {
    let mut broker = broker();
    let mut agents = Agents::default();
    for org in [Gem, Pol] {
        agents.join(&mut broker, org);
    }
    let now = broker.now.plus(Span::seconds(1));
    let did = broker.tick_until(now);
    for send in did.sends {
        let Send::AddCheckpoint { conn, question } = send else { continue };
        // With the key of another: as good as none.
        let (secret, _) = outsider();
        let own = party_witness(&agents.conns[&conn].oin(), &secret.public().to_bytes()).unwrap();
        let answer = Agents::default().answer(&broker, &secret, &own, &question);
        broker.turn([Input::Request { conn, request: RequestId(3), ask: Ask::Cosigned(answer) }]);
    }
    let view = watch(&mut broker);
    assert_eq!(view.covenants[0].newest, None);
    let refused: Vec<u64> = view.witnesses.iter().map(|one| one.refused).collect();
    assert_eq!(refused.iter().sum::<u64>(), 2, "{view:?}");
    // What was not asked is not taken.
    let (conn, _) = agents.conns.first_key_value().unwrap();
    let ask = Ask::Cosigned(Cosigned { status: 200, body: Bytes::default() });
    let did = broker.turn([Input::Request { conn: *conn, request: RequestId(4), ask }]);
    assert!(matches!(&did.sends[..], [Send::Refuse { .. }]), "{:?}", did.sends);
}

#[test]
fn a_witness_that_claims_another_history_is_suspect_and_stops_nothing() {
    let mut broker = broker();
    let mut agents = Agents::default();
    for org in [Gem, Pol] {
        agents.join(&mut broker, org);
    }
    let now = broker.now.plus(Span::seconds(1));
    let did = broker.tick_until(now);
    let answers = [(409, "99999\n"), (422, "")];
    let asked = did.sends.iter().filter_map(|send| match send {
        Send::AddCheckpoint { conn, .. } => Some(*conn),
        _ => None,
    });
    for (conn, (status, body)) in asked.zip(answers) {
        let answer = Cosigned { status, body: Bytes(body.into()) };
        broker.turn([Input::Request { conn, request: RequestId(3), ask: Ask::Cosigned(answer) }]);
    }
    let view = watch(&mut broker);
    assert_eq!(view.witnesses.iter().filter(|one| one.suspect.is_some()).count(), 2, "{view:?}");
    assert_eq!(broker.core.contradiction(), None);
}

#[test]
fn past_its_limit_an_old_quorum_stops_acceptance_until_it_is_back() {
    let mut settings = config();
    settings.stop_unwitnessed = Some(Span::minutes(10));
    let mut broker = broker_under(watched(), settings);
    let mut agents = Agents::default();
    agents.join(&mut broker, Gem);
    agents.join(&mut broker, Pol);
    agents.tick(&mut broker, Span::seconds(1));
    let conn = *agents.conns.iter().find(|(_, org)| **org == Pol).unwrap().0;
    // Nobody answers any more.
    broker.tick_until(broker.now.plus(Span::minutes(10)));
    let bytes = signal(&broker, 1);
    broker.accept(conn, Pol, &bytes);
    let now = broker.now.plus(Span::seconds(2));
    broker.tick_until(now);
    let bytes = signal(&broker, 2);
    let did = broker.submit(conn, Pol, &bytes);
    let [Send::Deferred { deferred, .. }] = &did.sends[..] else { panic!("{:?}", did.sends) };
    assert_eq!(deferred.reason, Refusal::Unwitnessed.number());
    assert!(did.entries.is_empty(), "what is put off leaves no entry");
    agents.conns.clear();
    agents.join(&mut broker, Gem);
    agents.join(&mut broker, Jw);
    agents.tick(&mut broker, Span::minutes(1));
    let did = broker.submit(conn, Pol, &bytes);
    assert!(!did.entries.is_empty(), "the quorum is back");
}

#[test]
fn without_the_setting_an_old_quorum_stops_nothing() {
    let mut broker = broker();
    let conn = broker.connect(Pol);
    broker.tick_until(broker.now.plus(Span::days(3)));
    let bytes = signal(&broker, 1);
    broker.accept(conn, Pol, &bytes);
}

#[test]
fn an_outsider_is_asked_and_takes_nobodys_place() {
    let mut broker = broker_under(watched_outside(), config());
    let mut agents = Agents::default();
    agents.join(&mut broker, Gem);
    agents.tick(&mut broker, Span::seconds(1));
    agents.tick(&mut broker, Span::seconds(2));
    let view = watch(&mut broker);
    let outside = view.witnesses.iter().find(|one| one.name == "outside-inspectie").unwrap();
    assert_eq!(outside.size, Some(size(&broker)), "found out its size, and got its cosignature");
    assert_eq!(view.covenants[0].newest, None);
    agents.join(&mut broker, Om);
    agents.tick(&mut broker, Span::seconds(2));
    let view = watch(&mut broker);
    let note = Note::parse(&view.covenants[0].newest.as_ref().unwrap().note).unwrap();
    let judged = policy_of(&broker, &view.covenants[0].covenant).judge(&note).unwrap();
    assert_eq!(judged.cosigned.len(), 3, "its line stands beside those of the parties");
}

#[test]
fn an_answer_about_a_log_that_has_ended_counts_for_nothing_in_the_next() {
    let mut broker = broker_under(watched_outside(), config());
    let mut agents = Agents::default();
    agents.join(&mut broker, Gem);
    agents.join(&mut broker, Om);
    agents.tick(&mut broker, Span::seconds(1));
    agents.tick(&mut broker, Span::seconds(2));
    broker.command(Command::SelfCheckFailed);
    let mut did = broker.tick_until(broker.now.plus(Span::seconds(2)));
    let asked = did.sends.iter().position(|send| matches!(send, Send::AskOutside { .. })).unwrap();
    let Send::AskOutside { key, question, .. } = did.sends.remove(asked) else { unreachable!() };
    let (secret, own) = outsider();
    let answer = Some(agents.answer(&broker, &secret, &own, &question));
    agents.serve(&mut broker, did);
    assert_eq!(watch(&mut broker).covenants[0].newest.as_ref().map(|row| row.size), Some(size(&broker)));
    let next = "broker.example/other";
    broker.command(Command::NewOrigin { origin: next.into(), reason: Digest([1; 32]) });
    assert_eq!(broker.core.origin(), next);
    broker.turn([Input::OutsideAnswered { key, answer }]);
    let history = broker.command(Command::WitnessHistory { origin: next.into() });
    assert_eq!(history, Answer::WitnessHistory(Vec::new()));
}

#[test]
fn an_outsider_that_does_not_answer_is_asked_ever_less() {
    let mut broker = broker_under(watched_outside(), config());
    let mut asked = 0;
    for _ in 0..1000 {
        let did = broker.tick_until(broker.now.plus(Span::seconds(1)));
        for send in did.sends {
            if let Send::AskOutside { key, .. } = send {
                asked += 1;
                broker.turn([Input::OutsideAnswered { key, answer: None }]);
            }
        }
    }
    assert!((8..20).contains(&asked), "{asked}");
}

/// A broker whose two witnesses cosigned its head, stopped.
fn stopped() -> (Broker, Agents) {
    let mut broker = broker();
    let mut agents = Agents::default();
    agents.join(&mut broker, Gem);
    agents.join(&mut broker, Pol);
    agents.tick(&mut broker, Span::seconds(1));
    broker.restart();
    broker.core.begin(broker.now);
    agents.conns.clear();
    (broker, agents)
}

pub(super) fn start(broker: &mut Broker, without_witnesses: bool) -> Did {
    broker.turn([Input::Operator { id: CommandId(1), command: Command::Started { without_witnesses } }])
}

#[test]
fn a_broker_that_starts_appends_and_serves_nothing_before_its_witnesses_spoke() {
    let (mut broker, mut agents) = stopped();
    let before = broker.log.len();
    assert!(start(&mut broker, false).sends.is_empty(), "no answer yet");
    broker.tick_until(broker.now.plus(Span::days(40)));
    let add = Command::RevokePartner { oin: Gem.oin(), reason: None };
    assert_eq!(broker.try_command(add), Err(Refusal::AwaitingWitnesses));
    assert_eq!(watch(&mut broker).waiting_for.unwrap().len(), 4);
    let did = agents.join(&mut broker, Gem);
    let [Send::Refuse { refuse, request: None, .. }, Send::Close { .. }] = &did.sends[..] else {
        panic!("{:?}", did.sends)
    };
    assert_eq!(refuse.reason, Refusal::AwaitingWitnesses.number());
    assert!(Refusal::AwaitingWitnesses.is_passing());
    // The same once more is not two.
    agents.join(&mut broker, Gem);
    assert_eq!(broker.log.len(), before, "nothing was appended");
    let did = agents.join(&mut broker, Pol);
    let kinds: Vec<Kind> = did.entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Start], "the start is logged when it is one");
    assert!(did.sends.iter().any(|send| matches!(send, Send::Answer { id: CommandId(1), answer: Ok(_) })));
    assert!(did.sends.iter().any(|send| matches!(send, Send::Welcome { .. })), "and who came last is served");
    assert_eq!(watch(&mut broker).waiting_for, None);
    agents.join(&mut broker, Gem);
}

#[test]
fn a_store_that_is_older_than_what_was_cosigned_ends_the_broker() {
    let (mut broker, mut agents) = stopped();
    // The agents saw more than this store holds.
    let mut longer = Broker::with(config(), NOON);
    std::mem::swap(&mut longer, &mut broker);
    let mut old = longer.copy();
    start(&mut longer, true);
    agents.join(&mut longer, Gem);
    agents.join(&mut longer, Jw);
    agents.tick(&mut longer, Span::seconds(1));
    agents.conns.clear();
    old.core.begin(old.now);
    start(&mut old, false);
    let before = old.log.len();
    let did = agents.join(&mut old, Jw);
    let found = old.core.contradiction().unwrap().clone();
    assert_eq!(found.witness, Jw.oin().to_string());
    assert!(
        found.claim.to_string().contains(&size(&longer).to_string())
            && found.claim.to_string().contains(&before.to_string()),
        "{found:?}"
    );
    assert_eq!(found.notes.len(), 2, "both signed checkpoints");
    assert!(did.sends.is_empty() && old.log.len() == before);
    // The others cannot make it good, nor the operator.
    agents.join(&mut old, Pol);
    start(&mut old, true);
    assert_eq!((old.core.contradiction(), old.log.len()), (Some(&found), before));
}

#[test]
fn another_history_of_the_same_length_ends_the_broker() {
    let (mut broker, agents) = stopped();
    let (head, _) = agents.heads[&secret(Gem).public().to_bytes()];
    let other = super::broker::sign(head.size, Digest([7; 32]));
    broker.connect_having(Gem, &other);
    let found = broker.core.contradiction().unwrap();
    assert!(found.claim.to_string().contains(&head.root.to_string()), "{found:?}");
}

#[test]
fn a_clone_is_found_by_a_running_broker_too() {
    let (mut broker, mut agents) = stopped();
    start(&mut broker, true);
    let root = Digest([7; 32]);
    let larger = super::broker::sign(size(&broker) + 5, root);
    agents.heads.insert(secret(Om).public().to_bytes(), (Head { size: 1, root }, larger));
    let did = agents.join(&mut broker, Om);
    assert!(broker.core.contradiction().is_some() && did.sends.is_empty());
}

#[test]
fn what_is_not_signed_by_the_log_contradicts_nothing_and_counts_for_nothing() {
    let (mut broker, mut agents) = stopped();
    start(&mut broker, false);
    for org in [Gem, Pol] {
        broker.connect_having(org, b"no note at all");
    }
    assert_eq!(broker.core.contradiction(), None);
    assert_eq!(watch(&mut broker).waiting_for.unwrap().len(), 4, "nobody was heard");
    agents.join(&mut broker, Jw);
    agents.join(&mut broker, Om);
    assert_eq!(watch(&mut broker).waiting_for, None);
}

#[test]
fn an_operator_may_go_without_witnesses_and_the_log_says_so() {
    let (mut broker, _) = stopped();
    let did = start(&mut broker, true);
    let told: Vec<_> =
        did.entries.iter().map(|entry| (entry.kind, entry.detail.as_deref().unwrap())).collect();
    assert_eq!(told, [(Kind::Start, "started"), (Kind::Operator, "started-without-witnesses")]);
    broker.connect(Gem);
}

#[test]
fn a_claim_of_an_outsider_ends_a_start_and_no_more() {
    let mut broker = broker_under(watched_outside(), config());
    broker.restart();
    broker.core.begin(broker.now);
    let did = broker.tick_until(broker.now.plus(Span::seconds(1)));
    let [Send::AskOutside { key, .. }] = &did.sends[..] else { panic!("{:?}", did.sends) };
    let answer = Some(Cosigned { status: 409, body: Bytes(b"99999\n".to_vec()) });
    broker.turn([Input::OutsideAnswered { key: *key, answer }]);
    let found = broker.core.contradiction().unwrap();
    assert!(
        found.witness == "outside-inspectie"
            && found.claim.to_string().contains("99999")
            && found.notes.is_empty()
    );
}

#[test]
fn a_broker_without_a_log_or_a_quorum_waits_for_nobody() {
    let mut core = Core::new(config());
    core.begin(NOON);
    assert_eq!(core.witness_watch(NOON).waiting_for, None);
    let mut broker = broker_under(covenant(), config());
    broker.restart();
    broker.core.begin(broker.now);
    assert!(!start(&mut broker, false).entries.is_empty());
    assert_eq!(broker.now, Timestamp(NOON.0));
}
