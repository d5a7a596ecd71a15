//! Cosignatures, trust policies and the witness protocol: every rule of the three texts.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use data_encoding::BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::cosignature::{TIME_MAX, WitnessKey};
use seinhuis_shared::tlog::hash::{empty_root, leaf_hash};
use seinhuis_shared::tlog::note::{KeyText, Note, NoteError, NoteSignature, VerifierKey};
use seinhuis_shared::tlog::policy::{MAX_EACH, Policy, PolicyFault, PolicyWitness};
use seinhuis_shared::tlog::tree::{BatchTree, Frontier};
use seinhuis_shared::tlog::witness::{
    Answer, AnswerError, Head, KnownLog, MAX_PROOF_LINES, Refused, Request, add_checkpoint, read_answer,
};

const ORIGIN: &str = "broker.example/uitwisseling/2026";
/// 2026-03-01T12:00:00Z in seconds.
const NOON: u64 = 1_772_366_400;

fn signer(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn log_key() -> VerifierKey {
    VerifierKey::new(ORIGIN, signer(1).verifying_key()).unwrap()
}

fn witness(seed: u8) -> WitnessKey {
    WitnessKey::new(&format!("witness.example/{seed}"), signer(seed).verifying_key().as_bytes()).unwrap()
}

fn cosign(seed: u8, text: &str, seconds: u64) -> NoteSignature {
    witness(seed).cosign_with(text, seconds, |bytes| signer(seed).sign(bytes).to_bytes()).unwrap()
}

/// A log of `size` leaves, and its head before and after the leaves from `old` on.
fn grown(old: u64, size: u64) -> (Head, Head, Vec<Digest>) {
    let mut base = Frontier::empty();
    for index in 0..old {
        base.append(leaf_hash(&index.to_be_bytes())).unwrap();
    }
    let before = Head { size: old, root: base.root() };
    let mut tree = BatchTree::new(base);
    for index in old..size {
        tree.append(leaf_hash(&index.to_be_bytes())).unwrap();
    }
    let proof = if old == 0 || old == size { Vec::new() } else { tree.consistency_proof().unwrap() };
    (before, Head { size, root: tree.root() }, proof)
}

fn note_of(head: Head) -> Note {
    Checkpoint::new(ORIGIN, head.size, head.root).unwrap().sign(&signer(1)).unwrap()
}

fn request(old: u64, size: u64) -> (Head, Request) {
    let (before, after, proof) = grown(old, size);
    (before, Request { old, proof, note: note_of(after) })
}

fn ask(request: &Request, latest: Head) -> Result<Head, Refused> {
    let known = [KnownLog::of_key(log_key())];
    add_checkpoint(&request.to_bytes().unwrap(), &known, |origin| {
        assert_eq!(origin, ORIGIN);
        latest
    })
    .map(|accepted| accepted.head)
}

#[test]
fn a_cosignature_covers_its_time_and_the_whole_text() {
    let (_, head, _) = grown(0, 5);
    let note = note_of(head);
    let line = cosign(2, note.text(), NOON);
    // The bytes of the text: 4 of the id in the line, then the time, big-endian, and the signature.
    assert_eq!(line.signature().len(), 72);
    assert_eq!(line.signature()[..8], NOON.to_be_bytes());
    let signed = format!("cosignature/v1\ntime {NOON}\n{}", note.text());
    assert_eq!(line.signature()[8..], signer(2).sign(signed.as_bytes()).to_bytes());
    assert_eq!(witness(2).verify(note.text(), &line), Ok(NOON));

    for place in 0..72 {
        let mut bytes = line.signature().to_vec();
        bytes[place] ^= 1;
        let forged = NoteSignature::new(line.name(), line.id(), bytes).unwrap();
        assert!(witness(2).verify(note.text(), &forged).is_err(), "byte {place}");
    }
    let longer = format!("{}extension\n", note.text());
    assert!(witness(2).verify(&longer, &line).is_err());
    assert!(witness(3).verify(note.text(), &line).is_err());
}

#[test]
fn a_cosignature_has_a_time() {
    for seconds in [0, TIME_MAX + 1, u64::MAX] {
        assert_eq!(witness(2).cosign_with("text\n", seconds, |_| [0; 64]), None);
        // Signed all the same, by somebody who does not keep the rule.
        let signature = signer(2).sign(format!("cosignature/v1\ntime {seconds}\ntext\n").as_bytes());
        let bytes = [seconds.to_be_bytes().as_slice(), &signature.to_bytes()].concat();
        let line = NoteSignature::new(witness(2).name(), witness(2).id(), bytes).unwrap();
        assert!(matches!(witness(2).verify("text\n", &line), Err(NoteError::WrongSignature(_))));
    }
    assert!(witness(2).verify("text\n", &cosign(2, "text\n", TIME_MAX)).is_ok());
}

#[test]
fn the_newest_cosignature_counts_and_a_wrong_one_spoils_the_note() {
    let mut note = note_of(grown(0, 5).1);
    assert_eq!(witness(2).cosigned(&note), Ok(None));
    for at in [NOON + 5, NOON] {
        let line = cosign(2, note.text(), at);
        note.add(line).unwrap();
    }
    assert_eq!(witness(2).cosigned(&note).unwrap().unwrap().1, NOON + 5);
    note.add(NoteSignature::new(witness(2).name(), witness(2).id(), vec![1; 72]).unwrap()).unwrap();
    assert!(witness(2).cosigned(&note).is_err());
}

#[test]
fn a_witness_key_in_text_has_its_own_type() {
    let text = witness(2).to_string();
    assert_eq!(text.parse::<WitnessKey>(), Ok(witness(2)));
    let plain = KeyText::new("witness.example/2", 1, signer(2).verifying_key().as_bytes()).unwrap();
    assert!(matches!(plain.to_string().parse::<WitnessKey>(), Err(NoteError::OtherKeyType { .. })));
    assert!(matches!(text.parse::<VerifierKey>(), Err(NoteError::OtherKeyType { .. })));
    assert_eq!(WitnessKey::new("weak", &[0; 32]), Err(NoteError::WeakKey));
}

#[test]
fn a_tree_that_continues_is_accepted() {
    for size in 1..20 {
        for old in 0..=size {
            let (latest, request) = request(old, size);
            assert_eq!(ask(&request, latest), Ok(grown(0, size).1), "from {old} to {size}");
        }
    }
    let (latest, request) = request(0, 0);
    assert_eq!(ask(&request, latest), Ok(Head::default()));
}

#[test]
fn what_another_tree_was_cosigned_for_is_answered_with_its_size() {
    let (_, request) = request(3, 9);
    for size in [0, 2, 4, 9, 12] {
        let latest = grown(0, size).1;
        let refused = ask(&request, latest).unwrap_err();
        assert_eq!((refused.status(), refused.body()), (409, format!("{size}\n")));
    }
}

#[test]
fn what_does_not_continue_is_inconsistent() {
    let (latest, good) = request(3, 9);
    let other = Head { root: leaf_hash(b"other"), ..latest };
    let wrong_proof = Request { proof: vec![leaf_hash(b"x"); good.proof.len()], ..good.clone() };
    let short = Request { proof: good.proof[1..].to_vec(), ..good.clone() };
    let fork = Request { note: note_of(Head { size: 9, root: leaf_hash(b"fork") }), ..good.clone() };
    for (request, latest) in [(&good, other), (&wrong_proof, latest), (&short, latest), (&fork, latest)] {
        assert_eq!(ask(request, latest).unwrap_err().status(), 422);
    }
    // Two roots for one size; a proof where none belongs.
    let (same, again) = request(9, 9);
    let two_roots = Request { note: fork.note.clone(), ..again.clone() };
    let with_proof = Request { proof: vec![leaf_hash(b"x")], ..again };
    assert_eq!(ask(&two_roots, same).unwrap_err().status(), 422);
    assert_eq!(ask(&with_proof, same).unwrap_err().status(), 422);
    let (empty, first) = request(0, 9);
    assert_eq!(ask(&Request { proof: vec![leaf_hash(b"x")], ..first }, empty).unwrap_err().status(), 422);
}

/// A note over any text, signed as the log does.
fn noted(text: &str) -> Note {
    Note::new(text, vec![NoteSignature::sign(ORIGIN, &signer(1), text).unwrap()]).unwrap()
}

#[test]
fn an_empty_tree_has_one_root() {
    let text = format!("{ORIGIN}\n0\n{}\n", BASE64.encode(leaf_hash(b"x").as_bytes()));
    let request = Request { old: 0, proof: Vec::new(), note: noted(&text) };
    assert_eq!(ask(&request, Head::default()).unwrap_err().status(), 422);
    assert_eq!(ask(&request, grown(0, 3).1).unwrap_err().status(), 409, "the size comes first");
}

#[test]
fn only_the_keys_of_the_log_count() {
    let (latest, good) = request(3, 9);
    let text = good.note.text();
    let stranger = NoteSignature::sign(ORIGIN, &signer(8), text).unwrap();
    let alone = Request { note: Note::new(text, vec![stranger.clone()]).unwrap(), ..good.clone() };
    assert_eq!(ask(&alone, latest).unwrap_err().status(), 403);
    let mut both = good.note.clone();
    both.add(stranger).unwrap();
    assert!(ask(&Request { note: both, ..good.clone() }, latest).is_ok(), "unknown keys are passed over");
    let mut wrong = good.note.clone();
    wrong.add(NoteSignature::new(ORIGIN, log_key().id(), vec![7; 64]).unwrap()).unwrap();
    assert_eq!(ask(&Request { note: wrong, ..good.clone() }, latest).unwrap_err().status(), 403);
    let elsewhere =
        Checkpoint::new("elsewhere.example", 9, leaf_hash(b"x")).unwrap().sign(&signer(1)).unwrap();
    assert_eq!(ask(&Request { note: elsewhere, ..good }, latest).unwrap_err().status(), 404);
}

#[test]
fn what_is_no_request_is_refused_as_that() {
    let (latest, good) = request(3, 9);
    let text = String::from_utf8(good.to_bytes().unwrap()).unwrap();
    let bad = [
        text.replace("old 3\n", "old 03\n"),
        text.replace("old 3\n", "old +3\n"),
        text.replace("old 3\n", "old  3\n"),
        text.replace("old 3\n", "new 3\n"),
        text.replace("old 3\n", "old 3\nnot base64\n"),
        text.replace("old 3\n", "old 3\nAAAA\n"),
        text.replace("old 3\n", "old 10\n"),
        text.replacen("\n\n", "\n", 1),
        text.trim_end().to_owned(),
        String::new(),
    ];
    let known = [KnownLog::of_key(log_key())];
    for bytes in bad {
        assert_eq!(add_checkpoint(bytes.as_bytes(), &known, |_| latest), Err(Refused::Malformed), "{bytes}");
    }
    let many = |lines| Request { old: 3, proof: vec![leaf_hash(b"x"); lines], note: good.note.clone() };
    assert_eq!(ask(&many(MAX_PROOF_LINES), latest).unwrap_err().status(), 422, "63 lines are read");
    assert_eq!(many(MAX_PROOF_LINES + 1).to_bytes(), None);
    let line = format!("{}\n", BASE64.encode(leaf_hash(b"x").as_bytes()));
    let longer = text.replace("old 3\n", &format!("old 3\n{}", line.repeat(MAX_PROOF_LINES)));
    assert_eq!(add_checkpoint(longer.as_bytes(), &known, |_| latest), Err(Refused::Malformed));
}

#[test]
fn extension_lines_are_cosigned_and_mean_nothing() {
    let (latest, good) = request(3, 9);
    let text = format!("{}valid-until 2027\n", good.note.text());
    let request = Request { note: noted(&text), ..good };
    let known = [KnownLog::of_key(log_key())];
    let accepted = add_checkpoint(&request.to_bytes().unwrap(), &known, |_| latest).unwrap();
    let line = accepted.answer(&witness(2), NOON, |bytes| signer(2).sign(bytes).to_bytes()).unwrap();
    assert_eq!(witness(2).verify(&text, &line), Ok(NOON));
    assert_eq!(accepted.own_note(&known).unwrap(), request.note);
}

#[test]
fn an_answer_is_believed_for_one_key_and_one_note() {
    let (_, good) = request(3, 9);
    let note = &good.note;
    let mine = format!("{}\n", cosign(2, note.text(), NOON));
    let other = format!("{}\n", cosign(3, note.text(), NOON));
    let read = |status, body: &str| read_answer(status, body.as_bytes(), note, &witness(2));
    assert_eq!(read(200, &mine), Ok(Answer::Cosigned(cosign(2, note.text(), NOON), NOON)));
    assert!(read(200, &format!("{other}{mine}")).is_ok(), "unknown keys are passed over");
    assert!(matches!(read(200, &other), Err(AnswerError::OtherKey(_))));
    let of_another_note = format!("{}\n", cosign(2, "another\n", NOON));
    assert!(matches!(read(200, &of_another_note), Err(AnswerError::Wrong(_))));
    for body in ["", "\n", "x\n", mine.trim_end()] {
        assert_eq!(read(200, body), Err(AnswerError::Malformed { status: 200 }), "{body:?}");
    }
    assert_eq!(read(409, "12\n"), Ok(Answer::Conflict(12)));
    for body in ["", "12", "012\n", "-1\n", "12\n\n"] {
        assert_eq!(read(409, body), Err(AnswerError::Malformed { status: 409 }), "{body:?}");
    }
    assert_eq!(read(422, "whatever"), Ok(Answer::Inconsistent));
    assert_eq!(read(503, "whatever"), Ok(Answer::Refused(503)));
}

#[test]
fn the_empty_tree_is_where_everybody_starts() {
    assert_eq!(Head::default(), Head { size: 0, root: empty_root() });
}

/// A policy of three witnesses with `rest` after them.
fn policy(rest: &str) -> Result<Policy, (usize, PolicyFault)> {
    let lines: Vec<String> = (2..5).map(|seed| format!("witness w{seed} {}\n", witness(seed))).collect();
    let text = format!("log {}\n{}{rest}", log_key(), lines.concat());
    Policy::parse(text.as_bytes()).map_err(|error| (error.line, error.fault))
}

#[test]
fn a_quorum_is_counted_through_its_groups() {
    let places = |policy: &Policy| -> Vec<Vec<usize>> {
        let all = [vec![], vec![0], vec![1], vec![2], vec![0, 1], vec![0, 2], vec![1, 2], vec![0, 1, 2]];
        all.into_iter().filter(|seen| policy.reached_by(seen)).collect()
    };
    assert_eq!(places(&policy("quorum none\n").unwrap()).len(), 8);
    assert!(!policy("quorum none\n").unwrap().asks());
    assert_eq!(places(&policy("quorum w3\n").unwrap()), [vec![1], vec![0, 1], vec![1, 2], vec![0, 1, 2]]);
    let two = policy("group g 2 w2 w3 w4\nquorum g\n").unwrap();
    assert_eq!(places(&two), [vec![0, 1], vec![0, 2], vec![1, 2], vec![0, 1, 2]]);
    assert_eq!(places(&policy("group g all w2 w3 w4\nquorum g\n").unwrap()), [vec![0, 1, 2]]);
    assert_eq!(places(&policy("group g any w2 w3 w4\nquorum g\n").unwrap()).len(), 7);
    let nested = policy("group inner any w3 w4\ngroup outer all w2 inner\nquorum outer\n").unwrap();
    assert_eq!(places(&nested), [vec![0, 1], vec![0, 2], vec![0, 1, 2]]);
}

#[test]
fn every_rule_of_the_policy_text_is_kept() {
    let faults = [
        ("", 5, PolicyFault::NoQuorum),
        ("quorum none", 5, PolicyFault::NoNewline),
        ("quorum none\nquorum none\n", 6, PolicyFault::SecondQuorum),
        ("quorum g\ngroup g any w2\n", 5, PolicyFault::UnknownName),
        ("group g any h\ngroup h any w2\nquorum g\n", 5, PolicyFault::UnknownName),
        ("group g any g\nquorum g\n", 5, PolicyFault::UnknownName),
        ("group g any none\nquorum g\n", 5, PolicyFault::UnknownName),
        ("group none any w2\nquorum none\n", 5, PolicyFault::DuplicateName),
        ("group w2 any w3\nquorum w2\n", 5, PolicyFault::DuplicateName),
        ("group g any w2 w2\nquorum g\n", 5, PolicyFault::MemberTwice),
        ("group g any w2\ngroup h any w2\nquorum g\n", 6, PolicyFault::MemberTwice),
        ("group g any\nquorum g\n", 5, PolicyFault::Items),
        ("group g 0 w2\nquorum g\n", 5, PolicyFault::Threshold),
        ("group g 2 w2\nquorum g\n", 5, PolicyFault::Threshold),
        ("group g 01 w2\nquorum g\n", 5, PolicyFault::Threshold),
        ("group g most w2\nquorum g\n", 5, PolicyFault::Threshold),
        ("quorum\n", 5, PolicyFault::Items),
        ("quorum none w2\n", 5, PolicyFault::Items),
        ("witnesses w2\nquorum none\n", 5, PolicyFault::UnknownKeyword),
        ("quorum none\r\n", 5, PolicyFault::Control),
        ("quorum none # comment\n", 5, PolicyFault::Items),
    ];
    for (rest, line, fault) in faults {
        assert_eq!(policy(rest), Err((line, fault)), "{rest}");
    }
    let same_key = KeyText::new("renamed", 4, signer(2).verifying_key().as_bytes()).unwrap();
    let twice = format!("witness other {same_key}\nquorum none\n");
    assert_eq!(policy(&twice), Err((5, PolicyFault::DuplicateKey)));
    let log_again = KeyText::new("other-origin", 1, signer(1).verifying_key().as_bytes()).unwrap();
    assert_eq!(policy(&format!("log {log_again}\nquorum none\n")), Err((5, PolicyFault::DuplicateKey)));
    let plain = KeyText::new("plain", 1, signer(7).verifying_key().as_bytes()).unwrap();
    let plain = policy(&format!("witness plain {plain}\nquorum none\n"));
    assert_eq!(plain, Err((5, PolicyFault::Key(NoteError::OtherKeyType { wanted: 4, found: 1 }))));
    let many: Vec<String> =
        (100..).take(MAX_EACH + 1).map(|at| format!("witness m{at} {}\n", witness(at))).collect();
    let many = Policy::parse(format!("{}quorum none\n", many.concat()).as_bytes());
    assert_eq!(many.unwrap_err().fault, PolicyFault::TooMany);
}

#[test]
fn a_policy_is_written_the_way_it_is_read() {
    let loose = b"# who counts\n\n \t \n  quorum none\t\n";
    assert_eq!(Policy::parse(loose).unwrap().to_bytes(), b"quorum none\n");
    let opaque = [
        b"witness \xe2\x84\xaa\xff ".as_slice(),
        witness(2).to_string().as_bytes(),
        b" \xfe\nquorum \xe2\x84\xaa\xff\n",
    ]
    .concat();
    assert_eq!(Policy::parse(&opaque).unwrap().to_bytes(), opaque, "names and addresses are octets");
    let nested = policy("group inner any w3 w4\ngroup outer all w2 inner\nquorum outer\n").unwrap();
    assert_eq!(Policy::parse(&nested.to_bytes()), Ok(nested));
}

#[test]
fn a_note_is_judged_by_the_policy() {
    let policy = policy("group g 2 w2 w3 w4\nquorum g\n").unwrap();
    let mut note = note_of(grown(0, 5).1);
    let text = note.text().to_owned();
    note.add(cosign(3, &text, NOON)).unwrap();
    note.add(cosign(9, &text, NOON)).unwrap();
    let judged = policy.judge(&note).unwrap();
    assert_eq!((judged.cosigned.as_slice(), judged.witnessed), ([(1, NOON)].as_slice(), false));
    note.add(cosign(3, &text, NOON + 1)).unwrap();
    assert!(!policy.judge(&note).unwrap().witnessed, "one witness counts once");
    note.add(cosign(2, &text, NOON)).unwrap();
    assert!(policy.judge(&note).unwrap().witnessed);
    let unsigned = Note::new(&text, vec![cosign(2, &text, NOON), cosign(3, &text, NOON)]).unwrap();
    assert!(policy.judge(&unsigned).is_err(), "witnesses alone are no log");
    let elsewhere = noted(&text.replace(ORIGIN, "elsewhere.example"));
    assert!(policy.judge(&elsewhere).is_err(), "a key signs for its own origin");
    note.add(NoteSignature::new(witness(4).name(), witness(4).id(), vec![1; 72]).unwrap()).unwrap();
    assert!(policy.judge(&note).is_err(), "a wrong line of a known key spoils the note");
}

#[test]
fn a_policy_of_one_group_is_the_one_that_is_read() {
    let named = |seed: u8| PolicyWitness { name: format!("w{seed}").into(), key: witness(seed), url: None };
    let made = Policy::of_group(log_key(), (2..5).map(named).collect(), Vec::new(), "g", 2).unwrap();
    assert_eq!(Ok(&made), policy("group g 2 w2 w3 w4\nquorum g\n").as_ref());
    for threshold in [0, 4] {
        let made = Policy::of_group(log_key(), (2..5).map(named).collect(), Vec::new(), "g", threshold);
        assert_eq!(made, Err(PolicyFault::Threshold));
    }
}
