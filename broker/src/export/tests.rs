use std::io::Read as _;

use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Span;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::{Note, VerifierKey};
use seinhuis_shared::tlog::subset::root_from_subset;

use super::*;

const BEGIN: Timestamp = Timestamp(1_780_000_000_000);
const ORIGIN: &str = "broker.example/uitwisseling/2026";

fn key() -> (SigningKey, LogKey) {
    let key = SigningKey::from_seed(&[9; 32]);
    let public = ed25519_dalek::VerifyingKey::from_bytes(&key.public().to_bytes()).unwrap();
    let verifier = VerifierKey::new(ORIGIN, public).unwrap();
    (key, LogKey { origin: ORIGIN.into(), key: verifier })
}

/// An entry a second; every third is refused, every fifth of the police.
fn log(dir: &Path, size: u64) -> Log {
    let log = Log::open(dir, 0, Vec::new()).unwrap();
    let entries = (0..size).map(|number| {
        let kind = if number % 3 == 0 { Kind::Refused } else { Kind::Accepted };
        let mut entry = Entry::new(kind, BEGIN.plus(Span::seconds(number)), [7; 16]);
        let oin = if number % 5 == 0 { "00000099000000002000" } else { "00000099000000003000" };
        entry.from = Some(oin.parse().unwrap());
        entry.reason = (kind == Kind::Refused).then_some(407);
        entry.covenant = (number == 4).then_some(Digest([4; 32]));
        entry.to_bytes().unwrap()
    });
    log.append(entries.collect(), b"note\n");
    log
}

fn ask(edit: impl FnOnce(&mut Question)) -> Question {
    let mut question = Question { purpose: "Vierjaarlijkse controle".into(), ..Question::default() };
    edit(&mut question);
    question
}

/// A question, and which numbers answer it.
type Asked = (Question, fn(u64) -> bool);

struct Bundle(Vec<(String, Vec<u8>)>);

impl Bundle {
    fn of(log: &Log, question: &Question) -> (Self, Written) {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("export.zip");
        let key = key();
        let covenant = |hash: &Digest| (hash.0 == [4; 32]).then(|| b"covenant".to_vec());
        let source = Source { log, key: &key, covenant: &covenant, now: BEGIN };
        let written = write(&source, question, &out).unwrap();
        assert!(write(&source, question, &out).is_err(), "nothing is written over");
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "nothing else is left");
        let mut zip = zip::ZipArchive::new(File::open(out).unwrap()).unwrap();
        let members = (0..zip.len()).map(|index| {
            let mut member = zip.by_index(index).unwrap();
            let mut bytes = vec![];
            member.read_to_end(&mut bytes).unwrap();
            (member.name().unwrap().into_owned(), bytes)
        });
        (Self(members.collect()), written)
    }

    fn text(&self, name: &str) -> &str {
        let (_, bytes) = self.0.iter().find(|(own, _)| own == name).unwrap();
        std::str::from_utf8(bytes).unwrap()
    }

    fn indexes(&self) -> Vec<u64> {
        let run = |line: &str| {
            let (first, count) = line.split_once(' ').unwrap();
            let (first, count): (u64, u64) = (first.parse().unwrap(), count.parse().unwrap());
            first..first + count
        };
        self.text("runs.txt").lines().flat_map(run).collect()
    }

    /// Everything that can be checked is right.
    fn holds(&self) {
        let (_, log) = key();
        let checkpoint =
            Checkpoint::verify(self.text("checkpoint.txt").as_bytes(), ORIGIN, &log.key).unwrap();
        let lines = self.text("entries.jsonl").lines().map(|line| leaf_hash(line.as_bytes()));
        let leaves = self.indexes().into_iter().zip(lines);
        let proof = self.text("proof.txt").lines().map(|line| line.parse().unwrap());
        assert_eq!(root_from_subset(leaves, checkpoint.size(), proof), Ok(*checkpoint.root()));
        let sums = self.text("SHA256SUMS");
        let members = self.0.iter().filter(|(name, _)| !name.starts_with("SHA256SUMS"));
        let own: Vec<String> = members.map(|(name, bytes)| format!("{}  {name}", sha256(bytes))).collect();
        assert_eq!(sums, own.join("\n") + "\n");
        let note = Note::parse(self.text("SHA256SUMS.note").as_bytes()).unwrap();
        note.verify(&[log.key]).unwrap();
        assert_eq!(note.text(), format!("{ORIGIN}\nseinhuis/export/1\n{}\n", sha256(sums.as_bytes())));
    }
}

#[test]
fn a_period_is_complete_with_its_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), 700);
    log.publish().unwrap();
    let second = |number| Some(BEGIN.plus(Span::seconds(number)));
    for (from, until, wanted) in [
        (None, None, 0..700),
        (second(100), second(600), 99..601),
        (second(0), second(10_000), 0..700),
        (second(699), None, 698..700),
        (None, second(1), 0..2),
        // Nothing of it is in the log: the neighbours show that.
        (Some(BEGIN.plus(Span(500))), Some(BEGIN.plus(Span(900))), 0..2),
    ] {
        let (bundle, written) = Bundle::of(&log, &ask(|ask| (ask.from, ask.until) = (from, until)));
        assert_eq!(bundle.indexes(), wanted.clone().collect::<Vec<_>>());
        assert_eq!((written.count, written.size, written.complete), (wanted.end - wanted.start, 700, true));
        assert!(bundle.text("README.txt").starts_with("COMPLETE"));
        bundle.holds();
        let names = bundle.0.iter().any(|(name, _)| name == &format!("covenants/{}.cbor", Digest([4; 32])));
        assert_eq!(names, wanted.contains(&4), "covenants that are named are there");
    }
}

#[test]
fn a_selection_holds_what_was_asked_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), 300);
    let police = "00000099000000002000".parse().unwrap();
    let all: [Asked; 5] = [
        (ask(|ask| ask.organisation = Some(police)), |n| n % 5 == 0),
        (ask(|ask| ask.kind = Some("refused".into())), |n| n % 3 == 0),
        (ask(|ask| ask.result = Some("407".into())), |n| n % 3 == 0),
        (ask(|ask| ask.result = Some("accepted".into())), |n| n % 3 != 0),
        (ask(|ask| ask.flow = Some("F01".into())), |_| false),
    ];
    for (question, wanted) in all {
        let (bundle, written) = Bundle::of(&log, &question);
        assert_eq!(bundle.indexes(), (0..300).filter(|n| wanted(*n)).collect::<Vec<_>>(), "{question:?}");
        assert!(!written.complete && bundle.text("README.txt").starts_with("SELECTION"));
        assert_eq!(bundle.text("entries.csv").lines().count(), bundle.indexes().len() + 1);
        bundle.holds();
    }
}

#[test]
fn what_was_removed_is_in_no_complete_export_and_a_selection_searches_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), 700);
    log.publish().unwrap();
    log.purge(256).unwrap();
    let second = |number| Some(BEGIN.plus(Span::seconds(number)));
    let try_write = |from, until| {
        let (out, key) = (tempfile::tempdir().unwrap(), key());
        let source = Source { log: &log, key: &key, covenant: &|_| None, now: BEGIN };
        let question = ask(|ask| (ask.from, ask.until) = (from, until));
        write(&source, &question, &out.path().join("export.zip"))
    };
    let left = BEGIN.plus(Span::seconds(256)).plus(Span(1)).to_string();
    for (from, until) in [(None, None), (second(10), second(20)), (second(100), None), (second(256), None)] {
        let complaint = try_write(from, until).unwrap_err();
        assert_eq!(complaint.refusal, Some(Refusal::EntriesPurged));
        assert!(complaint.advice.en.contains(&left), "{}", complaint.advice.en);
    }
    let from = BEGIN.plus(Span::seconds(256)).plus(Span(1));
    let (bundle, written) = Bundle::of(&log, &ask(|ask| ask.from = Some(from)));
    assert!(
        written.complete && bundle.indexes() == (256..700).collect::<Vec<_>>(),
        "what was named can be asked"
    );
    bundle.holds();
    let (bundle, _) = Bundle::of(&log, &ask(|ask| ask.kind = Some("refused".into())));
    assert_eq!(bundle.indexes(), (256..700).filter(|n| n % 3 == 0).collect::<Vec<_>>());
    bundle.holds();
}
