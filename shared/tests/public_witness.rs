//! The witness code against the test data of other implementations: requests, cosignatures, policies.
//!
//! Where the vectors come from, and what was left out: `shared/vectors/public/README.md`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::cosignature::WitnessKey;
use seinhuis_shared::tlog::hash::{empty_root, leaf_hash};
use seinhuis_shared::tlog::note::{KeyText, Note, NoteError, NoteSignature, VerifierKey, key_id};
use seinhuis_shared::tlog::policy::{Policy, PolicyFault};
use seinhuis_shared::tlog::witness::{
    Answer, AnswerError, Head, KnownLog, Refused, Request, add_checkpoint, read_answer,
};
use serde::Deserialize;
use serde_json::Value;

mod public_kit;
use public_kit::{json, list, string};

/// A time for cosignatures whose own time is not published, in seconds since 1970.
const NOON: u64 = 1_772_366_400;

fn witness(name: &str, secret: &SigningKey) -> WitnessKey {
    WitnessKey::new(name, secret.verifying_key().as_bytes()).unwrap()
}

fn cosign(name: &str, secret: &SigningKey, text: &str) -> NoteSignature {
    witness(name, secret).cosign_with(text, NOON, |bytes| secret.sign(bytes).to_bytes()).unwrap()
}

/// The log that a script is about.
fn logged(script: &Value) -> KnownLog {
    if let Some(vkey) = script.get("log_vkey") {
        let origin = "go.sum database tree".to_owned();
        return KnownLog { origin, keys: vec![string(vkey).parse().unwrap()] };
    }
    let public = HEXLOWER.decode(string(&script["sigsum_log_key"]).as_bytes()).unwrap();
    // Sigsum names a log after the hash of its key.
    let origin = format!("sigsum.org/v1/tree/{}", sha256(&public));
    let public = VerifyingKey::from_bytes(public.as_slice().try_into().unwrap()).unwrap();
    KnownLog::of_key(VerifierKey::new(&origin, public).unwrap())
}

/// A witness as it is run: the handler, one log, and what it keeps.
struct Running {
    log: KnownLog,
    head: Head,
    name: String,
    secret: SigningKey,
}

impl Running {
    fn of(log: KnownLog, name: &str) -> Self {
        let secret = SigningKey::from_bytes(&[7; 32]);
        Self { log, head: Head::default(), name: name.to_owned(), secret }
    }

    /// The status and body of the answer.
    fn answer(&mut self, body: &[u8]) -> (u16, String) {
        let known = [self.log.clone()];
        match add_checkpoint(body, &known, |_| self.head) {
            Ok(accepted) => {
                self.head = accepted.head;
                let key = witness(&self.name, &self.secret);
                let sign = |bytes: &[u8]| self.secret.sign(bytes).to_bytes();
                let line = accepted.answer(&key, NOON, sign).unwrap();
                let body = format!("{line}\n");
                let read = read_answer(200, body.as_bytes(), &accepted.note, &key);
                assert_eq!(read, Ok(Answer::Cosigned(line, NOON)));
                assert!(accepted.own_note(&known).is_ok());
                (200, body)
            }
            Err(refused) => (refused.status(), refused.body()),
        }
    }
}

#[test]
fn the_witness_scripts_of_torchwood() {
    let all: Vec<Value> = json("torchwood-witness.json");
    let mut steps = 0;
    for script in &all {
        let mut witness = Running::of(logged(script), string(&script["witness"]));
        for step in list(&script["steps"]) {
            let before = witness.head;
            let mut request = string(&step["body"]).to_owned();
            if step["contains"] == "invalid signature" {
                // The bits behind its signature are not zero: torchwood passes over that, here it is no base64.
                assert_eq!(witness.answer(request.as_bytes()).0, 400);
                request = request.replace("6gx=\n", "6gw=\n");
            }
            let (status, body) = witness.answer(request.as_bytes());
            let contains = step.get("contains").map_or("", string);
            // An unknown log was 403 when the script was written; the text says 404 by now.
            let wanted = if contains == "unknown log" { Value::from(404) } else { step["status"].clone() };
            assert_eq!(Value::from(status), wanted, "{step}");
            assert_eq!(status == 200, witness.head != before, "{step}");
            if status == 200 {
                assert!(body.starts_with(contains) && body.ends_with('\n'), "{body}");
            }
            if let Some(answer) = step.get("is") {
                assert_eq!(body, string(answer));
            }
            steps += 1;
        }
    }
    assert_eq!((all.len(), steps), (4, 12));
}

#[test]
fn the_empty_trees_of_torchwood() {
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Case {
        name: String,
        known_size: u64,
        old_size: u64,
        new_size: u64,
        hash: String,
        proof: bool,
        status: u16,
    }
    let all: Vec<Case> = json("torchwood-zero-size.json");
    assert_eq!(all.len(), 8);
    let log = SigningKey::from_bytes(&[1; 32]);
    let key = VerifierKey::new("example.com/log", log.verifying_key()).unwrap();
    let leaf = leaf_hash(b"leaf");
    let hash = |name: &str| match name {
        "empty" => empty_root(),
        "leaf" => leaf,
        "zero" => Digest([0; 32]),
        other => panic!("no hash {other}"),
    };
    for case in all {
        let text =
            format!("example.com/log\n{}\n{}\n", case.new_size, BASE64.encode(hash(&case.hash).as_bytes()));
        let line = NoteSignature::sign("example.com/log", &log, &text).unwrap();
        let note = Note::new(&text, vec![line]).unwrap();
        let proof = if case.proof { vec![leaf] } else { Vec::new() };
        let request = Request { old: case.old_size, proof, note }.to_bytes().unwrap();
        let mut witness = Running::of(KnownLog::of_key(key.clone()), "example.com/witness");
        if case.known_size > 0 {
            witness.head = Head { size: case.known_size, root: leaf };
        }
        assert_eq!(witness.answer(&request).0, case.status, "{}", case.name);
    }
}

fn example(document: &str, what: &str) -> String {
    let all: Vec<BTreeMap<String, String>> = json("c2sp-examples.json");
    let found = all.into_iter().find(|one| one["document"] == document && one["what"].starts_with(what));
    found.unwrap()["text"].clone()
}

/// The signature in the examples is one of sum.golang.org over a checkpoint with another origin. With both names as
/// they were its key verifies it, and the request goes through every check of a witness up to its proof, which is
/// none of that log's.
#[test]
fn the_request_of_the_standard() {
    let body = example("tlog-witness.md", "the body");
    let request = Request::parse(body.as_bytes()).unwrap();
    assert_eq!((request.old, request.proof.len()), (20_852_014, 4));
    assert_eq!(request.to_bytes().unwrap(), body.as_bytes());

    let scripts: Vec<Value> = json("torchwood-witness.json");
    let sumdb = logged(&scripts[1]);
    let ask = |body: &str, log: &KnownLog, head| {
        add_checkpoint(body.as_bytes(), core::slice::from_ref(log), |_| head).map(|_| ()).unwrap_err()
    };
    let empty = Head::default();
    assert!(matches!(ask(&body, &sumdb, empty), Refused::UnknownLog(_)));
    let named = KnownLog { origin: "example.com/behind-the-sofa".to_owned(), ..sumdb.clone() };
    assert_eq!(ask(&body, &named, empty), Refused::Unsigned(NoteError::NoKnownKey));

    let restored = body.replacen("\nexample.com/behind-the-sofa\n", "\ngo.sum database tree\n", 1);
    let restored = restored.replace("— example.com/behind-the-sofa ", "— sum.golang.org ");
    assert_eq!(ask(&restored, &sumdb, empty), Refused::Conflict(0));
    let head = Head { size: 20_852_014, root: leaf_hash(b"not known here") };
    assert!(matches!(ask(&restored, &sumdb, head), Refused::Inconsistent(_)));
    let forged = restored.replacen("CsUY", "CsUZ", 1);
    assert!(matches!(ask(&forged, &sumdb, head), Refused::Unsigned(NoteError::WrongSignature(_))));
    assert_eq!(ask(&restored.replacen("old 20852014", "old 20852164", 1), &sumdb, head), Refused::Malformed);
}

#[test]
fn the_cosignatures_of_the_standard() {
    let cosigned = example("tlog-cosignature.md", "a checkpoint with");
    let note = Note::parse(cosigned.as_bytes()).unwrap();
    assert_eq!(note.to_string(), cosigned);
    // What is signed is the message in the same document: its time, and the text of this note.
    let message = example("tlog-cosignature.md", "a cosigned");
    let line = &note.signatures()[1];
    let (time, signature) = line.signature().split_first_chunk::<8>().unwrap();
    assert_eq!(message, format!("cosignature/v1\ntime {}\n{}", u64::from_be_bytes(*time), note.text()));
    assert_eq!(signature.len(), 64);
    // Its key is not published: to any other it is a line of somebody unknown.
    let stranger = SigningKey::from_bytes(&[7; 32]);
    assert_eq!(witness(line.name(), &stranger).cosigned(&note), Ok(None));

    let answer = example("tlog-witness.md", "an answer");
    let lines: Vec<NoteSignature> =
        answer.lines().map(|line| NoteSignature::parse_line(line).unwrap()).collect();
    let names: Vec<&str> = lines.iter().map(NoteSignature::name).collect();
    assert_eq!(names, ["witness.example/w1", "witness.example/w1", "witness.example/w2"]);
    let stranger = witness("witness.example/w1", &stranger);
    let read = read_answer(200, answer.as_bytes(), &note, &stranger);
    assert_eq!(read, Err(AnswerError::OtherKey("witness.example/w1".to_owned())));
}

#[test]
fn the_times_of_cosignatures_of_formats() {
    let all: Value = json("formats.json");
    let cases = list(&all["cosignature_times"]);
    assert_eq!(cases.len(), 3);
    for case in cases {
        let line = NoteSignature::parse_line(&format!("— witness.example {}", string(&case["signature"])));
        let Some(wanted) = case.get("time") else {
            // No signature at all, or a plain one: too short to hold a time.
            assert!(line.is_err() || line.unwrap().signature().len() == 64, "{case}");
            continue;
        };
        let line = line.unwrap();
        assert_eq!(line.signature().len(), 72);
        let (time, _) = line.signature().split_first_chunk::<8>().unwrap();
        assert_eq!(Value::from(u64::from_be_bytes(*time)), *wanted);
    }
}

/// The policies of `formats`: what stands in angle brackets is a key.
struct Policies {
    all: Value,
    secrets: BTreeMap<String, SigningKey>,
}

impl Policies {
    fn read() -> Self {
        let all: Value = json("formats-policy.json");
        let published = all["keys"].as_object().unwrap().iter().map(|(name, text)| {
            let typed = BASE64.decode(string(text).splitn(5, '+').nth(4).unwrap().as_bytes()).unwrap();
            (name.clone(), SigningKey::from_bytes(typed[1..].try_into().unwrap()))
        });
        // Drawn anew by every run of the tests there.
        let drawn = ["wit4", "wit5", "wit6", "log", "other"].iter().zip(50..);
        let drawn = drawn.map(|(name, seed)| ((*name).to_owned(), SigningKey::from_bytes(&[seed; 32])));
        let secrets = published.chain(drawn).collect();
        Self { all, secrets }
    }

    fn log_name(&self, which: &str) -> &str {
        if which == "log" { string(&self.all["origin"]) } else { "other.example.com/log" }
    }

    fn key(&self, which: &str) -> String {
        let of = |name: &str, kind: u8, which: &str| {
            KeyText::new(name, kind, self.secrets[which].verifying_key().as_bytes()).unwrap().to_string()
        };
        match which {
            "log" | "other" => of(self.log_name(which), 1, which),
            "wit1_ed25519" => string(&self.all["wit1_ed25519"]).to_owned(),
            "wit1_renamed" => of("impostor.example.com", 4, "wit1"),
            "ecdsa" => KeyText::new("ecdsa.example.com", 2, &[1, 2, 3]).unwrap().to_string(),
            "unknown" => KeyText::new("unknown.example.com", 0x63, &[0; 32]).unwrap().to_string(),
            witness => of(&witness.replace('w', "W"), 4, witness),
        }
    }

    /// The text of a policy, its keys filled in.
    fn text(&self, policy: &Value) -> String {
        let mut parts = string(policy).split('<');
        let mut text = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('>').unwrap();
            text.push_str(&self.key(name));
            text.push_str(rest);
        }
        text
    }

    /// A checkpoint of the log, signed and cosigned by these.
    fn note(&self, signers: &Value) -> Option<Note> {
        let text = Checkpoint::new(string(&self.all["origin"]), 42, Digest([0; 32])).unwrap().to_string();
        let lines = list(signers).iter().map(|signer| {
            let (which, secret) = (string(signer), &self.secrets[string(signer)]);
            match which {
                "log" | "other" => NoteSignature::sign(self.log_name(which), secret, &text).unwrap(),
                witness => cosign(&witness.replace('w', "W"), secret, &text),
            }
        });
        Note::new(&text, lines.collect()).ok()
    }
}

#[test]
fn the_policies_of_formats() {
    let policies = Policies::read();
    let (accepted, refused) = (list(&policies.all["accepted"]), list(&policies.all["refused"]));
    assert_eq!((accepted.len(), refused.len()), (5, 30));
    for case in accepted {
        let text = policies.text(&case["policy"]);
        let read = Policy::parse(text.as_bytes());
        if text.ends_with('\n') {
            assert!(read.is_ok(), "{case}: {read:?}");
        } else {
            // The text wants a newline behind every line.
            assert_eq!(read.unwrap_err().fault, PolicyFault::NoNewline);
            assert!(Policy::parse(format!("{text}\n").as_bytes()).is_ok(), "{case}");
        }
    }
    for case in refused {
        assert!(Policy::parse(policies.text(&case["policy"]).as_bytes()).is_err(), "{case}");
    }
    let written = &policies.all["marshal"];
    let read = Policy::parse(policies.text(&written["policy"]).as_bytes()).unwrap();
    assert_eq!(read.to_bytes(), policies.text(&written["want"]).as_bytes());
}

#[test]
fn the_example_of_the_policy_standard() {
    let example = example("tlog-policy.md", "a policy");
    assert!(Policy::parse(example.as_bytes()).is_err(), "its keys are abridged");
    let mut text = String::new();
    let keys = ["log", "wit1", "wit2", "wit3", "wit4", "wit5", "wit6"];
    let policies = Policies::read();
    let mut parts = example.split("<vkey>");
    text.push_str(parts.next().unwrap());
    for (part, key) in parts.zip(keys) {
        text.push_str(&policies.key(key));
        text.push_str(part);
    }
    let policy = Policy::parse(text.as_bytes()).unwrap();
    // Two of X, and any of Y.
    for (signers, witnessed) in [
        (["log", "wit1", "wit2", "wit4"].as_slice(), true),
        (&["log", "wit1", "wit3", "wit5", "wit6"], true),
        (&["log", "wit1", "wit2", "wit3"], false),
        (&["log", "wit1", "wit4", "wit5", "wit6"], false),
        (&["log"], false),
    ] {
        let note = policies.note(&Value::from(signers)).unwrap();
        assert_eq!(policy.judge(&note).unwrap().witnessed, witnessed, "{signers:?}");
    }
}

#[test]
fn the_checkpoints_that_formats_judges() {
    let policies = Policies::read();
    let cases = list(&policies.all["satisfied"]);
    assert_eq!(cases.len(), 5);
    let text = policies.text(&policies.all["satisfied_policy"]);
    // Only quorums are judged there; here a policy speaks of a log too.
    let policy = Policy::parse(format!("log {}\n{text}", policies.key("log")).as_bytes()).unwrap();
    for case in cases {
        let mut signers = case["signers"].clone();
        signers.as_array_mut().unwrap().push(Value::from("log"));
        let judged = policy.judge(&policies.note(&signers).unwrap()).unwrap();
        assert_eq!(Value::from(judged.witnessed), case["want"], "{case}");
    }
    let cases = list(&policies.all["verify"]);
    assert_eq!(cases.len(), 6);
    for case in cases {
        let policy = Policy::parse(policies.text(&case["policy"]).as_bytes()).unwrap();
        let note = policies.note(&case["signers"]).unwrap();
        let verified = policy.judge(&note).is_ok_and(|judged| judged.witnessed);
        assert_eq!(Value::from(verified), case["want"], "{case}");
    }
}

/// The published keys have the ids that are published with them.
#[test]
fn the_key_ids_of_formats() {
    let policies = Policies::read();
    for (name, text) in policies.all["keys"].as_object().unwrap() {
        let mut parts = string(text).split('+').skip(2);
        let (named, id) = (parts.next().unwrap(), parts.next().unwrap());
        let public = policies.secrets[name].verifying_key();
        assert_eq!(HEXLOWER.encode(&key_id(named, 1, public.as_bytes())), id);
    }
}
