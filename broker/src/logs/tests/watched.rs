//! A broker whose log has to be cosigned, with agents that do so.

use std::time::Duration;

use seinhuis_broker_core::{Ask, ConnId, Input, RequestId, Send};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::covenant::agreement::{Vote, Word};
use seinhuis_shared::covenant::witnesses::party_witness;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::tlog::policy::Policy;
use seinhuis_shared::tlog::witness::{Head, KnownLog, OK, add_checkpoint};
use seinhuis_shared::wire::{Cosigned, Hello, VERSION};

use super::*;
use crate::engine::{Attach, Inlet, outlet};

/// A party and its agent.
pub(crate) struct Party {
    number: u8,
    session: Option<(ConnId, Inlet)>,
    /// What it cosigned last, by origin.
    latest: BTreeMap<String, Head>,
}

/// The two parties of the covenant.
pub(crate) fn parties() -> [Party; 2] {
    [1, 2].map(|number| Party { number, session: None, latest: BTreeMap::new() })
}

fn hex(key: &SigningKey) -> String {
    data_encoding::HEXLOWER.encode(&key.public().to_bytes())
}

impl Party {
    fn oin(&self) -> Oin {
        format!("0000009900000000{}000", self.number).parse().unwrap()
    }

    fn key(&self) -> SigningKey {
        SigningKey::from_seed(&[self.number; 32])
    }

    fn witness(&self) -> SigningKey {
        SigningKey::from_seed(&[self.number + 100; 32])
    }

    fn part(&self) -> String {
        let (oin, role) = (self.oin(), ["gemeente", "politie"][usize::from(self.number) - 1]);
        format!(
            "\n[[parties]]\noin = \"{oin}\"\nrole = \"{role}\"\nname = \"{role}\"\ncontact = \"a@{role}.example\"\nsigning_keys = [\"{}\"]\nwitness_key = \"{}\"\n",
            hex(&self.key()),
            hex(&self.witness())
        )
    }

    /// Says hello, having cosigned nothing.
    pub(crate) async fn join(&mut self, service: &Service, conn: u64) {
        let (out, session) = outlet();
        let conn = ConnId(conn);
        self.session = Some((conn, session));
        let hello = Hello { version: VERSION, software: "agent".into(), cosigned: Bytes::default() };
        let input = Input::Connected { conn, peer: self.oin(), hello, heard: Heard::Nothing };
        service.engine.bring(Some(Attach::Conn(conn, out)), Some(input)).await;
    }

    async fn ask(&self, service: &Service, ask: Ask) {
        let (conn, _) = self.session.as_ref().unwrap();
        let input = Input::Request { conn: *conn, request: RequestId(1), ask };
        service.engine.bring(None, Some(input)).await;
    }

    /// Cosigns what it was asked meanwhile.
    async fn answer(&mut self, service: &Service) {
        while let Some(Some(send)) = self.session.as_mut().map(|(_, session)| session.try_recv()) {
            let Send::AddCheckpoint { question, .. } = send else { continue };
            let origin = question.note.text().lines().next().unwrap().to_owned();
            let request = service.request(question).await.unwrap();
            let known = [KnownLog::of_key(service.logs.key(&origin).unwrap().1.key)];
            let head = self.latest.get(&origin).copied().unwrap_or_default();
            let key = party_witness(&self.oin(), &self.witness().public().to_bytes()).unwrap();
            let answer = match add_checkpoint(&request, &known, |_| head) {
                Ok(accepted) => {
                    self.latest.insert(origin, accepted.head);
                    let line = accepted.answer(&key, 1, |bytes| self.witness().sign(bytes)).unwrap();
                    Cosigned { status: OK, body: Bytes(format!("{line}\n").into_bytes()) }
                }
                Err(refused) => {
                    Cosigned { status: refused.status(), body: Bytes(refused.body().into_bytes()) }
                }
            };
            self.ask(service, Ask::Cosigned(answer)).await;
        }
    }
}

/// Has the parties agree on a covenant that asks both to cosign, and gives it.
pub(crate) async fn agree(service: &Service, dir: &Path, parties: &mut [Party]) -> Arc<Compiled> {
    let part = dir.join("partnership.toml");
    let mut text = String::from(
        "[partnership]\nid = \"proef\"\nversion = 1\ntitle = \"Proef\"\nowner = \"00000099000000001000\"\nvalid_from = \"2020-01-01\"\nvalid_until = \"2100-01-01\"\nevaluation = \"2090-01-01\"\ncontact = \"a@b.example\"\n",
    );
    for party in parties.iter() {
        text.push_str(&party.part());
    }
    fs::write(&part, text).unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../covenants/model.toml");
    let compiled = Compiled::new(seinhuis_shell::covenants::load(&[model, part]).unwrap()).unwrap();
    let compiled = Arc::new(compiled);
    service.command(Command::LoadCovenant { compiled: Arc::clone(&compiled) }).await.unwrap();
    for (party, conn) in parties.iter_mut().zip(1..) {
        let (oin, key) = (party.oin(), party.key().public());
        service.command(Command::AddPartner { oin, name: "x".into(), key }).await.unwrap();
        party.join(service, conn).await;
        let issued = seinhuis_shell::clock::now();
        let vote = Vote {
            format: 1,
            covenant: compiled.hash(),
            party: oin,
            word: Word::Accept,
            issued,
            reason: String::new(),
        };
        party.ask(service, Ask::Vote(vote.sign(&party.key()))).await;
    }
    compiled
}

/// Lets the agents cosign until something is so.
pub(crate) async fn until(service: &Service, parties: &mut [Party], so: impl Fn() -> bool) {
    for _ in 0..1000 {
        service.engine.bring(None, Some(Input::Tick)).await;
        service.command(Command::Partners).await.unwrap();
        for party in parties.iter_mut() {
            party.answer(service).await;
        }
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never was so");
}

/// Whether the whole log that grows is cosigned by both.
pub(crate) fn is_witnessed(service: &Service) -> bool {
    let current = service.logs.current().unwrap();
    let watch = Arc::clone(&service.engine.watch().borrow());
    let [of] = &watch.covenants[..] else { return false };
    of.origin == current.origin && of.newest.as_ref().is_some_and(|newest| newest.size == current.log.size())
}

/// The policy of the one covenant there is.
fn only(policies: BTreeMap<Digest, String>) -> String {
    assert_eq!(policies.len(), 1);
    policies.into_values().next().unwrap()
}

fn judged(note: &[u8], policy: &str) -> (String, bool) {
    let judged = Policy::parse(policy.as_bytes()).unwrap().judge(&Note::parse(note).unwrap()).unwrap();
    (judged.checkpoint.origin().to_owned(), judged.witnessed)
}

#[tokio::test]
async fn the_end_of_a_log_is_cosigned_shown_and_what_exports_rest_on() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = home(dir.path());
    let (service, thread) = Service::open(&home, &config).unwrap();
    let mut parties = parties();
    agree(&service, dir.path(), &mut parties).await;
    until(&service, &mut parties, || is_witnessed(&service)).await;
    let grows = service.logs.current().unwrap();
    let (rests, _) = service.for_export(&grows).await.unwrap();
    let policy = only(rests.policies);
    assert_eq!(judged(&rests.checkpoint.unwrap(), &policy), (ORIGIN.to_owned(), true));
    service.command(Command::RollOver).await.unwrap();
    for (party, conn) in parties.iter_mut().zip(11..) {
        party.join(&service, conn).await;
    }
    // The next log is larger and witnessed; nothing of that is of the log that ended.
    fill(&service, grows.log.size() + 5).await;
    until(&service, &mut parties, || is_witnessed(&service)).await;
    let reached = || service.engine.watch().borrow().finals.iter().all(|one| one.reached);
    until(&service, &mut parties, reached).await;
    // As it was looked up before it ended.
    let (rests, earlier) = service.for_export(&grows).await.unwrap();
    let (note, own) = (rests.checkpoint.unwrap(), only(rests.policies));
    assert_eq!((judged(&note, &own), own == policy), ((ORIGIN.to_owned(), true), true));
    assert_eq!(Some(earlier.last().unwrap().size), service.logs.all().first().map(|one| one.log.size()));
    let current = service.logs.current().unwrap();
    let (rests, _) = service.for_export(&current).await.unwrap();
    assert_eq!(judged(&rests.checkpoint.unwrap(), &only(rests.policies)), (current.origin, true));
    publish(&service).await;
    let shown = |home: &Home| fs::read(home.log().join("2020/checkpoint")).unwrap();
    let key = service.logs.key(ORIGIN).unwrap().1;
    assert_eq!(judged(&shown(&home), &policy), (ORIGIN.to_owned(), true));
    assert_eq!(is_a_log(&home.log().join("2020"), &key), grows.log.size());
    assert_ne!(shown(&home), grows.log.note(), "what receipts rest on is signed by the log alone");
    stop(service, thread);
    fs::remove_file(home.log().join("2020/checkpoint")).unwrap();
    let (service, thread) = Service::open(&home, &config).unwrap();
    service.logs.publish().unwrap();
    assert_eq!(judged(&shown(&home), &policy), (ORIGIN.to_owned(), true), "also after a restart");
    stop(service, thread);
}

#[tokio::test]
async fn a_roll_over_during_an_export_ends_the_wait_for_a_quorum_of_that_log() {
    let dir = tempfile::tempdir().unwrap();
    let (home, config) = home(dir.path());
    let (service, thread) = Service::open(&home, &config).unwrap();
    let mut parties = parties();
    agree(&service, dir.path(), &mut parties).await;
    // Asked for, and nobody answers.
    until(&service, &mut [], || !service.engine.watch().borrow().covenants.is_empty()).await;
    let grows = service.logs.current().unwrap();
    let asking = {
        let (service, grows) = (service.clone(), grows.clone());
        tokio::spawn(async move { service.for_export(&grows).await })
    };
    tokio::task::yield_now().await;
    service.command(Command::RollOver).await.unwrap();
    for (party, conn) in parties.iter_mut().zip(11..) {
        party.join(&service, conn).await;
    }
    fill(&service, grows.log.size() + 5).await;
    until(&service, &mut parties, || is_witnessed(&service)).await;
    let (rests, _) = asking.await.unwrap().unwrap();
    assert_eq!((rests.checkpoint, rests.policies.len()), (None, 0), "none of that log, and none of another");
    stop(service, thread);
}
