//! The witness over plain HTTP.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;
use std::time::Duration;

use seinhuis_shared::ids::Digest;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::cosignature::WitnessKey;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::{Note, VerifierKey};
use seinhuis_shared::tlog::tree::{BatchTree, Frontier};
use seinhuis_shared::tlog::witness::{Answer, MAX_REQUEST_BYTES, Request, SIZE_TYPE, read_answer};
use seinhuis_shell::http::{self, Http};
use seinhuis_witness::{Bounds, Witness};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const NAME: &str = "getuige.example";

fn log() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[1; 32])
}

fn log_key() -> VerifierKey {
    VerifierKey::new("broker.example/log", log().verifying_key()).unwrap()
}

fn secret() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

fn key() -> WitnessKey {
    WitnessKey::new(NAME, &secret().public().to_bytes()).unwrap()
}

fn request(old: u64, size: u64, salt: u8) -> Request {
    let leaf = |index: u64| leaf_hash(&[&index.to_be_bytes()[..], &[salt]].concat());
    let mut base = Frontier::empty();
    (0..old).for_each(|index| base.append(leaf(index)).unwrap());
    let mut tree = BatchTree::new(base);
    (old..size).for_each(|index| assert_eq!(tree.append(leaf(index)), Ok(index)));
    let proof: Vec<Digest> = if old == 0 || old == size { vec![] } else { tree.consistency_proof().unwrap() };
    let note = Checkpoint::new("broker.example/log", size, tree.root()).unwrap().sign(&log()).unwrap();
    Request { old, proof, note }
}

async fn start(dir: &Path) -> (String, JoinHandle<()>) {
    start_with(dir, Bounds::default()).await
}

async fn start_with(dir: &Path, bounds: Bounds) -> (String, JoinHandle<()>) {
    let witness = Witness::open(NAME, secret(), &[log_key()], dir).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (address, tokio::spawn(seinhuis_witness::serve(listener, witness, bounds)))
}

async fn post(address: &str, body: Vec<u8>) -> http::Answer {
    let http = Http::new(None).unwrap();
    http.post(address, "text/plain", body, 16 * 1024, Duration::from_secs(20)).await.unwrap()
}

async fn ask(address: &str, request: &Request) -> Answer {
    let got = post(&format!("{address}/add-checkpoint"), request.to_bytes().unwrap()).await;
    assert_eq!(got.status == 409, got.content_type.as_deref() == Some(SIZE_TYPE), "{got:?}");
    read_answer(got.status, &got.body, &request.note, &key()).unwrap()
}

#[tokio::test]
async fn it_cosigns_what_continues_and_remembers_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (address, serving) = start(&state).await;
    assert!(matches!(ask(&address, &request(0, 3, 0)).await, Answer::Cosigned(..)));
    assert!(matches!(ask(&address, &request(3, 9, 0)).await, Answer::Cosigned(..)));
    assert_eq!(ask(&address, &request(3, 12, 0)).await, Answer::Conflict(9));
    serving.abort();
    let (address, serving) = start(&state).await;
    assert_eq!(
        ask(&address, &request(0, 3, 0)).await,
        Answer::Conflict(9),
        "no smaller tree after a restart"
    );
    assert_eq!(ask(&address, &request(9, 9, 7)).await, Answer::Inconsistent, "nor another root");
    assert_eq!(ask(&address, &request(9, 12, 7)).await, Answer::Inconsistent);
    assert!(state.join("inconsistent-request.txt").exists(), "the evidence is kept");
    assert!(matches!(ask(&address, &request(9, 12, 0)).await, Answer::Cosigned(..)));
    serving.abort();
    assert!(std::fs::read_dir(&state).unwrap().count() == 2, "one small file for each log");
}

#[tokio::test]
async fn there_is_one_route_and_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let (address, serving) = start(dir.path().join("state").as_path()).await;
    assert_eq!(post(&format!("{address}/sign-subtree"), vec![]).await.status, 404);
    assert_eq!(post(&format!("{address}/"), vec![]).await.status, 404);
    let url = format!("{address}/add-checkpoint");
    assert_eq!(post(&url, b"nonsense".to_vec()).await.status, 400);
    assert_eq!(post(&url, vec![b'x'; MAX_REQUEST_BYTES + 1]).await.status, 413);
    let elsewhere = Checkpoint::new("elsewhere.example", 3, leaf_hash(b"x")).unwrap().sign(&log()).unwrap();
    let elsewhere = Request { old: 0, proof: vec![], note: elsewhere };
    assert_eq!(post(&url, elsewhere.to_bytes().unwrap()).await.status, 404);
    let stranger = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
    let text = request(0, 3, 0).note.text().to_owned();
    let forged = Checkpoint::parse(&text).unwrap().sign(&stranger).unwrap();
    let forged = Request { old: 0, proof: vec![], note: Note::parse(forged.to_string().as_bytes()).unwrap() };
    assert_eq!(post(&url, forged.to_bytes().unwrap()).await.status, 403);
    serving.abort();
}

/// What comes on a connection that sends this and then nothing more.
async fn after(address: &str, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut bytes = Vec::new();
    // Far longer than the witness waits, and shorter than hyper by itself: only a test that fails takes it.
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
    _ = read.unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn nobody_is_waited_for_who_sends_slowly() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Bounds {
        wait: Duration::from_millis(500),
        connections: 2,
        // Not what ends them.
        connection: Duration::from_hours(1),
        ..Bounds::default()
    };
    let (address, serving) = start_with(dir.path().join("state").as_path(), bounds).await;
    let head = format!("POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_REQUEST_BYTES}\r\n");
    for (sent, answer) in [
        (head.clone(), ""),
        (format!("{head}\r\n"), "HTTP/1.1 408 "),
        (format!("{head}\r\nold 0\n"), "HTTP/1.1 408 "),
    ] {
        assert!(after(&address, sent.as_bytes()).await.starts_with(answer), "{sent:?}");
        // Their places are free again.
        assert_eq!(post(&format!("{address}/add-checkpoint"), b"nonsense".to_vec()).await.status, 400);
    }
    // As many as have a place, all of them slow: the next one is served after they were cut off.
    let slow: Vec<_> = (0..2)
        .map(|_| {
            tokio::spawn({
                let (address, head) = (address.clone(), head.clone());
                async move { after(&address, head.as_bytes()).await }
            })
        })
        .collect();
    assert_eq!(post(&format!("{address}/add-checkpoint"), b"nonsense".to_vec()).await.status, 400);
    for one in slow {
        assert!(!one.await.unwrap().contains(" 200 "));
    }
    serving.abort();
}

#[tokio::test]
async fn a_body_that_does_not_say_how_long_it_is_has_the_same_bound() {
    let dir = tempfile::tempdir().unwrap();
    let (address, serving) = start(dir.path().join("state").as_path()).await;
    let chunk = format!("{:x}\r\n{}\r\n", 1024, "x".repeat(1024));
    let endless = format!(
        "POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{}",
        chunk.repeat(MAX_REQUEST_BYTES / 1024 + 1)
    );
    assert!(after(&address, endless.as_bytes()).await.starts_with("HTTP/1.1 413 "));
    serving.abort();
}

#[test]
fn a_state_that_was_changed_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let open = || Witness::open(NAME, secret(), &[log_key()], &state);
    let now = seinhuis_shell::clock::now();
    let answered = open().unwrap().answer(&request(0, 3, 0).to_bytes().unwrap(), now).unwrap();
    assert_eq!(answered.status, 200);
    let file = std::fs::read_dir(&state).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\n3\n", "\n2\n")).unwrap();
    let complaint = open().unwrap_err();
    assert!(complaint.what.en.contains(&file.display().to_string()), "{}", complaint.what.en);
}
