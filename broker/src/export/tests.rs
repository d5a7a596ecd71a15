use std::io::Read as _;

use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::refusal::{Lang, Refusal};
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Span;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::{Note, NoteSignature, VerifierKey};
use seinhuis_shared::tlog::proof::verify_consistency;
use seinhuis_shared::tlog::subset::root_from_subset;

use super::*;

pub(super) const BEGIN: Timestamp = Timestamp(1_780_000_000_000);
pub(super) const ORIGIN: &str = "broker.example/uitwisseling/2026";

pub(super) fn key() -> (SigningKey, LogKey) {
    let key = SigningKey::from_seed(&[9; 32]);
    let public = ed25519_dalek::VerifyingKey::from_bytes(&key.public().to_bytes()).unwrap();
    let verifier = VerifierKey::new(ORIGIN, public).unwrap();
    (key, LogKey { origin: ORIGIN.into(), key: verifier })
}

/// An entry a second; every third is refused, every fifth of the police.
pub(super) fn log(dir: &Path, size: u64) -> Log {
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

pub(super) fn ask(edit: impl FnOnce(&mut Question)) -> Question {
    let mut question = Question { purpose: "Vierjaarlijkse controle".into(), ..Question::default() };
    edit(&mut question);
    question
}

pub(super) const FRESH: How = How { resume: false, views: true };

pub(super) fn source<'a>(
    log: &'a Log,
    key: &'a (SigningKey, LogKey),
    covenant: &'a dyn Fn(&Digest) -> Option<Vec<u8>>,
) -> Source<'a> {
    Source { log, key, covenant, witnessed: Witnessed::default(), begin: &|_| None, now: BEGIN }
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
        let source = source(log, &key, &covenant);
        let written = write(&source, question, &out, FRESH).unwrap();
        assert!(write(&source, question, &out, FRESH).is_err(), "nothing is written over");
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "nothing else is left");
        (Self::read(&out), written)
    }

    fn read(out: &Path) -> Self {
        let mut zip = zip::ZipArchive::new(File::open(out).unwrap()).unwrap();
        let members = (0..zip.len()).map(|index| {
            let mut member = zip.by_index(index).unwrap();
            let mut bytes = vec![];
            member.read_to_end(&mut bytes).unwrap();
            (member.name().unwrap().into_owned(), bytes)
        });
        Self(members.collect())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
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
        for table in ["entries.csv", "entries-excel.csv"] {
            assert_eq!(bundle.text(table).lines().count(), bundle.indexes().len() + 1);
        }
        bundle.holds();
    }
}

#[test]
fn what_witnesses_signed_is_what_it_rests_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), 700);
    let key = key();
    let note = |size: u64| {
        let checkpoint = Checkpoint::new(ORIGIN, size, log.root(size).unwrap()).unwrap();
        let mut note = checkpoint.sign_with(&key.1.key, |bytes| key.0.sign(bytes)).unwrap();
        note.add(NoteSignature::new("witness.example", [1; 4], vec![0; 72]).unwrap()).unwrap();
        note.to_string().into_bytes()
    };
    let begin = |most: u64| (most >= 90).then(|| note(90));
    let (policy, other) = ("quorum none\n", "# of another covenant\nquorum none\n");
    let witnessed = Source {
        witnessed: Witnessed {
            checkpoint: Some(note(600)),
            policies: [(Digest([5; 32]), other.into()), (Digest([4; 32]), policy.into())].into(),
        },
        begin: &begin,
        ..source(&log, &key, &|_| None)
    };
    let from = Some(BEGIN.plus(Span::seconds(100)));
    let out = dir.path().join("witnessed.zip");
    let written = write(&witnessed, &ask(|ask| ask.from = from), &out, FRESH).unwrap();
    assert_eq!((written.count, written.size), (501, 600));
    let bundle = Bundle::read(&out);
    bundle.holds();
    let policies: Vec<_> = bundle.names().filter(|name| name.starts_with("policies/")).collect();
    assert_eq!(policies.len(), 2);
    for ((name, text), byte) in policies.iter().zip([policy, other]).zip([4, 5]) {
        assert_eq!(*name, format!("policies/{}.txt", Digest([byte; 32])));
        assert_eq!(bundle.text(name), text);
    }
    assert_eq!(bundle.text("checkpoint.txt").as_bytes(), note(600));
    assert_eq!(bundle.text("begin.txt").as_bytes(), note(90));
    let proof: Vec<Digest> =
        bundle.text("consistency.txt").lines().map(|line| line.parse().unwrap()).collect();
    verify_consistency(90, 600, &proof, &log.root(90).unwrap(), &log.root(600).unwrap()).unwrap();
    assert!(bundle.text("report.html").contains("witness.example"));
    // All of it: nothing was witnessed before the first entry.
    let out = dir.path().join("all.zip");
    write(&witnessed, &ask(|_| ()), &out, FRESH).unwrap();
    assert!(!Bundle::read(&out).names().any(|name| name == "begin.txt" || name == "consistency.txt"));
    // What this log does not hold was not witnessed of it.
    let other = Checkpoint::new(ORIGIN, 600, Digest([1; 32])).unwrap();
    let other = other.sign_with(&key.1.key, |bytes| key.0.sign(bytes)).unwrap().to_string();
    let forked = Source {
        witnessed: Witnessed { checkpoint: Some(other.into_bytes()), ..Witnessed::default() },
        begin: &begin,
        ..source(&log, &key, &|_| None)
    };
    let complaint = write(&forked, &ask(|_| ()), &dir.path().join("fork.zip"), FRESH).unwrap_err();
    assert!(complaint.what.en.contains("witnesses"), "{}", complaint.what.en);
}

#[test]
fn the_views_say_that_they_prove_nothing_and_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path(), 300);
    let asked = ask(|ask| {
        ask.asked_by = Some("Autoriteit <b>".into());
        ask.until = Some(BEGIN.plus(Span::seconds(200)));
    });
    let (bundle, _) = Bundle::of(&log, &asked);
    let page = bundle.text("report.html");
    for part in [
        "bewijst niets",
        "proves nothing",
        "COMPLETE",
        "Autoriteit &lt;b&gt;",
        "default-src &#39;none&#39;",
        "<html lang=\"nl\">",
        "<svg",
        "407",
        Refusal::from_number(407).unwrap().what(Lang::Nl),
        "@media print",
        "Neighbours outside the period",
        // No column without rows, and what is English says so.
        "<p>Per stroom: geen.</p>\n<p lang=\"en\">By flow: none.</p>",
        "<th scope=\"col\"><span lang=\"en\">Reason</span></th>",
        &format!("<td lang=\"en\">{}</td>", Refusal::from_number(407).unwrap().what(Lang::En)),
        "<th scope=\"row\">Doel · <span lang=\"en\">Purpose</span></th>",
    ] {
        assert!(page.contains(part) || page.contains(&part.replace("&#39;", "'")), "{part}\n{page}");
    }
    for part in ["<script", "http:", "https:", "style=\"", "<b>", " on"] {
        assert!(!page.contains(part) || part == " on", "{part}");
    }
    let charts = page.matches("<svg").count();
    assert!(charts >= 3 && page.matches("<table").count() > charts, "every chart has a table");
    assert!(bundle.text("entries-excel.csv").starts_with('\u{feff}'));
    let plain = How { views: false, ..FRESH };
    let out = dir.path().join("plain.zip");
    write(&source(&log, &key(), &|_| None), &asked, &out, plain).unwrap();
    let bundle = Bundle::read(&out);
    bundle.holds();
    assert!(
        bundle.names().all(|name| !name.contains("csv") && name != "report.html" && name != "entries.xlsx")
    );
    assert!(!bundle.text("README.txt").contains("csv"));
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
        let question = ask(|ask| (ask.from, ask.until) = (from, until));
        write(&source(&log, &key, &|_| None), &question, &out.path().join("export.zip"), FRESH)
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
