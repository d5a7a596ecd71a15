//! Receipt files: what they prove, and each way in which a changed one proves nothing.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod case_kit;
mod covenant_kit;

use case_kit::{GEM, JW, OM, Org, POL, compiled, minute};
use seinhuis_shared::acknowledgement::{Acknowledged, Acknowledgement};
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::{Digest, MsgId};
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::receipt::file::{Block, FileError, Proved, ReceiptFile, Step};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::rotation::{Keys, Rotated, Rotation};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shared::tlog::proof_file::ProofFile;
use seinhuis_shared::tlog::tree::BatchTree;

const ORIGIN: &str = "broker.example/uitwisseling/2026";
const MESSAGE: MsgId = MsgId([5; 16]);
const PACKET: Digest = Digest([6; 32]);

fn log_signer(fill: u8) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[fill; 32])
}

fn log() -> LogKey {
    let key = VerifierKey::new(ORIGIN, log_signer(9).verifying_key()).unwrap();
    LogKey { origin: ORIGIN.into(), key }
}

/// A log in which the municipality's message to police, youth work and prosecution goes its ways: consumed,
/// stored, taken back.
struct World {
    covenant: Compiled,
    entries: Vec<Vec<u8>>,
    to: [Org; 3],
}

fn entry(covenant: &Compiled, kind: Kind, to: Org, at: u64) -> Entry {
    let mut entry = Entry::new(kind, minute(at), [u8::try_from(at).unwrap(); 16]);
    entry.msg_id = Some(MESSAGE);
    entry.packet = Some(PACKET);
    entry.from = Some(GEM.oin());
    entry.to = Some(to.oin());
    entry.covenant = Some(covenant.hash());
    entry.flow = Some("F04".into());
    entry.recipients = (kind == Kind::Accepted).then_some(3);
    entry
}

impl World {
    fn add(&mut self, entry: &Entry) -> u64 {
        self.entries.push(entry.to_bytes().unwrap());
        u64::try_from(self.entries.len()).unwrap() - 1
    }

    fn leaf(&self, index: u64) -> Digest {
        leaf_hash(&self.entries[usize::try_from(index).unwrap()])
    }

    fn step(&self, index: u64, statement: Option<(Acknowledged, Org, &SigningKey)>) -> Step {
        let mut tree = BatchTree::default();
        for entry in &self.entries {
            tree.append(leaf_hash(entry)).unwrap();
        }
        let note = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap().sign(&log_signer(9)).unwrap();
        let path = tree.inclusion_proof(index).unwrap();
        let entry = String::from_utf8(self.entries[usize::try_from(index).unwrap()].clone()).unwrap();
        Step {
            statement: statement
                .map(|(item, org, key)| Acknowledgement::sign_one(org.oin(), minute(9), item, key)),
            entry,
            proof: ProofFile { extra: None, index, path, checkpoint: note.to_string() },
        }
    }
}

/// The file, with the police signing with this key.
fn file_by(police: &SigningKey) -> (ReceiptFile, World) {
    let covenant = compiled();
    let to = [POL, JW, OM];
    let mut world = World { entries: vec![], to, covenant };
    let start = Entry::new(Kind::Start, minute(0), [0; 16]);
    world.add(&start);
    let accepted = to.map(|to| {
        let one = entry(&world.covenant, Kind::Accepted, to, 1);
        world.add(&one)
    });
    let stored =
        |world: &World, nth: usize| Acknowledged::stored(MESSAGE, PACKET, 0, world.leaf(accepted[nth]));
    let mut said = Vec::new();
    for (nth, kind, item) in [
        (0, Kind::Delivered, Some(stored(&world, 0))),
        (1, Kind::Delivered, Some(stored(&world, 1))),
        (0, Kind::Consumed, Some(stored(&world, 0).consumed())),
        (2, Kind::Withdrawn, None),
    ] {
        let mut one = entry(&world.covenant, kind, to[nth], 5);
        one.statement = item.map(|item| item.hash());
        said.push((nth, world.add(&one), item));
    }
    let key = |org: Org| if org == POL { police.clone() } else { org.key() };
    let block = |nth: usize| {
        let mut steps = vec![world.step(accepted[nth], None)];
        for (_, index, item) in said.iter().filter(|one| one.0 == nth) {
            let key = key(to[nth]);
            steps.push(world.step(*index, item.map(|item| (item, to[nth], &key))));
        }
        Block { to: Some(to[nth].oin()), steps }
    };
    let blocks = (0..3).map(block).collect();
    (ReceiptFile { message: MESSAGE, packet: PACKET, rotations: vec![], blocks }, world)
}

fn file() -> (ReceiptFile, World) {
    file_by(&POL.key())
}

fn verify(text: &str, world: &World) -> Result<Proved, FileError> {
    ReceiptFile::parse(text)?.verify(&[log()], Some(&world.covenant), &Keys::default())
}

#[test]
fn a_file_proves_each_step_at_each_recipient() {
    let (file, world) = file();
    let text = file.to_string();
    assert_eq!(ReceiptFile::parse(&text), Ok(file.clone()));
    assert_eq!(file.covenant(), Some(world.covenant.hash()));
    let proved = verify(&text, &world).unwrap();
    assert_eq!(proved.sender, GEM.oin());
    let kinds: Vec<Vec<Kind>> =
        proved.blocks.iter().map(|(_, steps)| steps.iter().map(|step| step.entry.kind).collect()).collect();
    let want = [
        vec![Kind::Accepted, Kind::Delivered, Kind::Consumed],
        vec![Kind::Accepted, Kind::Delivered],
        vec![Kind::Accepted, Kind::Withdrawn],
    ];
    assert_eq!(kinds, want);
    assert_eq!(proved.blocks[0].1[1].signed, Some(minute(9)));
}

#[test]
fn every_flipped_byte_is_refused() {
    let (file, world) = file();
    let good = file.to_string().into_bytes();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        let proved = String::from_utf8(changed).is_ok_and(|text| verify(&text, &world).is_ok());
        assert!(!proved, "byte {at}: {:?}", String::from_utf8_lossy(&good[at.saturating_sub(20)..=at]));
    }
}

#[test]
fn every_line_that_is_left_out_or_doubled_is_refused() {
    let (file, world) = file();
    let text = file.to_string();
    let lines: Vec<&str> = text.lines().collect();
    for at in 0..lines.len() {
        for times in [0, 2] {
            let mut changed = lines.clone();
            changed.splice(at..=at, std::iter::repeat_n(lines[at], times));
            let changed = changed.join("\n") + "\n";
            assert!(verify(&changed, &world).is_err(), "line {at} {times} times: {}", lines[at]);
        }
    }
    assert_eq!(verify(text.trim_end(), &world), Err(FileError::Line(0)));
    assert_eq!(verify("", &world), Err(FileError::Line(0)));
}

/// A file that is changed proves nothing, for this reason.
fn refused(wanted: &FileError, change: impl FnOnce(&mut ReceiptFile, &mut World)) {
    let (mut file, mut world) = file();
    change(&mut file, &mut world);
    assert_eq!(verify(&file.to_string(), &world).as_ref(), Err(wanted));
}

#[test]
fn steps_and_statements_of_others_are_refused() {
    let (link, entry) = (FileError::Link { block: 1, step: 2 }, FileError::Entry { block: 1, step: 2 });
    refused(&link, |file, _| {
        let other = file.blocks[1].steps[1].statement.clone();
        file.blocks[0].steps[1].statement = other;
    });
    refused(&link, |file, _| file.blocks[0].steps[1].statement = None);
    refused(&entry, |file, _| {
        let other = file.blocks[1].steps[1].clone();
        file.blocks[0].steps[1] = other;
    });
    refused(&FileError::Entry { block: 1, step: 1 }, |file, _| {
        let (one, two) = (file.blocks[0].to, file.blocks[1].to);
        (file.blocks[0].to, file.blocks[1].to) = (two, one);
    });
    refused(&FileError::Entry { block: 1, step: 1 }, |file, _| file.packet = Digest([7; 32]));
    refused(&FileError::Entry { block: 1, step: 1 }, |file, _| file.message = MsgId([7; 16]));
    refused(&FileError::Order { block: 1, step: 2 }, |file, _| file.blocks[0].steps.swap(1, 2));
    refused(&FileError::Order { block: 1, step: 1 }, |file, _| {
        file.blocks[0].steps.remove(0);
    });
    refused(&FileError::Recipients, |file, _| {
        file.blocks.pop();
    });
    refused(&FileError::Recipients, |file, _| {
        let first = file.blocks[0].clone();
        file.blocks[2] = first;
    });
    refused(&FileError::Recipients, |file, _| file.blocks.clear());
    refused(&FileError::Link { block: 1, step: 1 }, |file, _| {
        let stray = file.blocks[0].steps[1].statement.clone();
        file.blocks[0].steps[0].statement = stray;
    });
}

#[test]
fn links_to_another_step_are_refused() {
    // The police names youth work's accepted entry; the log says so, and still it does not count.
    refused(&FileError::Link { block: 1, step: 2 }, |file, world| {
        let item = Acknowledged::stored(MESSAGE, PACKET, 0, world.leaf(2));
        let mut one = entry(&world.covenant, Kind::Delivered, world.to[0], 6);
        one.statement = Some(item.hash());
        let index = world.add(&one);
        file.blocks[0].steps.truncate(1);
        file.blocks[0].steps.push(world.step(index, Some((item, POL, &POL.key()))));
    });
    refused(&FileError::Link { block: 1, step: 3 }, |file, world| {
        let stored = Acknowledged::stored(MESSAGE, PACKET, 0, world.leaf(1));
        let item = Acknowledged { previous: world.leaf(1), ..stored.consumed() };
        let mut one = entry(&world.covenant, Kind::Consumed, world.to[0], 6);
        one.statement = Some(item.hash());
        let index = world.add(&one);
        file.blocks[0].steps[2] = world.step(index, Some((item, POL, &POL.key())));
    });
}

#[test]
fn who_signed_and_which_log_and_covenant_counts() {
    let wrong = |why| FileError::Statement { block: 1, step: 2, why };
    let (thief, world) = file_by(&GEM.key());
    assert_eq!(verify(&thief.to_string(), &world), Err(wrong(Refusal::UnknownKey)));
    let (file, world) = file();
    let none = file.verify(&[log()], None, &Keys::default());
    assert_eq!(none, Err(FileError::Covenant { wanted: world.covenant.hash() }));
    let next = case_kit::successor(&world.covenant, |_| ());
    let other = file.verify(&[log()], Some(&next), &Keys::default());
    assert_eq!(other, Err(FileError::Covenant { wanted: world.covenant.hash() }));
    let key = VerifierKey::new(ORIGIN, log_signer(8).verifying_key()).unwrap();
    let elsewhere = LogKey { origin: ORIGIN.into(), key };
    let other = file.verify(&[elsewhere], Some(&world.covenant), &Keys::default());
    assert!(matches!(other, Err(FileError::Proof { block: 1, step: 1, .. })));
    let key = VerifierKey::new("other.example/log", log_signer(9).verifying_key()).unwrap();
    let renamed = LogKey { origin: "other.example/log".into(), key };
    let other = file.verify(&[renamed], Some(&world.covenant), &Keys::default());
    assert!(matches!(other, Err(FileError::Proof { block: 1, step: 1, .. })));
    let mut extra = file;
    extra.blocks[0].steps[0].proof.extra = Some(vec![1]);
    assert!(matches!(verify(&extra.to_string(), &world), Err(FileError::Proof { .. })));
}

#[test]
fn a_key_counts_until_it_is_given_up_and_the_next_from_then_on() {
    let new = SigningKey::from_seed(&[77; 32]);
    let rotation = |at| {
        let rotation = Rotation {
            party: POL.oin(),
            seq: 1,
            old: POL.key().public(),
            new: new.public(),
            previous: None,
            issued: minute(at),
        };
        Rotated { rotation: rotation.sign(&POL.key(), &new).into(), at: minute(at) }
    };
    // Given up before it signed; taken after it signed; and both the right way round.
    for (key, at, good) in
        [(POL.key(), 3, false), (new.clone(), 6, false), (POL.key(), 6, true), (new.clone(), 3, true)]
    {
        let (mut file, world) = file_by(&key);
        file.rotations = vec![rotation(at)];
        let proved = verify(&file.to_string(), &world);
        assert_eq!(proved.is_ok(), good, "{proved:?}");
        // What the verifier knows counts as much as what the file says.
        let mut keys = Keys::default();
        keys.restore(&file.rotations).unwrap();
        file.rotations.clear();
        assert_eq!(file.verify(&[log()], Some(&world.covenant), &keys).is_ok(), good);
    }
}

#[test]
fn a_refusal_is_a_file_too() {
    let (_, mut world) = file();
    let mut one = entry(&world.covenant, Kind::Refused, POL, 8);
    one.reason = Some(404);
    let index = world.add(&one);
    let block = Block { to: None, steps: vec![world.step(index, None)] };
    let mut file = ReceiptFile { message: MESSAGE, packet: PACKET, rotations: vec![], blocks: vec![block] };
    let proved = file.verify(&[log()], None, &Keys::default()).unwrap();
    assert_eq!(proved.blocks[0].1[0].entry.reason, Some(404));
    file.blocks[0].to = Some(POL.oin());
    assert_eq!(verify(&file.to_string(), &world), Err(FileError::Recipients));
}

/// The file, with what the police took over last standing in a log of its own.
fn over_two_logs(origin: &str) -> (ReceiptFile, World) {
    let (mut file, world) = file();
    let step = file.blocks[0].steps.last_mut().unwrap();
    let mut tree = BatchTree::default();
    tree.append(leaf_hash(step.entry.as_bytes())).unwrap();
    let note = Checkpoint::new(origin, 1, tree.root()).unwrap().sign(&log_signer(9)).unwrap();
    step.proof = ProofFile { extra: None, index: 0, path: vec![], checkpoint: note.to_string() };
    (file, world)
}

#[test]
fn steps_may_stand_in_every_log_whose_key_is_given_in_the_order_of_the_logs() {
    let other = "broker.example/na-herstel";
    let (file, world) = over_two_logs(other);
    let key =
        LogKey { origin: other.into(), key: VerifierKey::new(other, log_signer(9).verifying_key()).unwrap() };
    let verify = |logs: &[LogKey]| file.verify(logs, Some(&world.covenant), &Keys::default());
    let proved = verify(&[log(), key.clone()]).unwrap();
    let origins: Vec<&str> = proved.blocks[0].1.iter().map(|step| step.origin.as_str()).collect();
    assert_eq!(origins, [ORIGIN, ORIGIN, other]);
    assert!(
        matches!(verify(&[log()]), Err(FileError::Proof { block: 1, step: 3, why }) if why.contains(other))
    );
    assert!(matches!(verify(&[]), Err(FileError::Proof { block: 1, step: 1, .. })));
    assert_eq!(verify(&[key.clone(), log()]), Err(FileError::Order { block: 1, step: 3 }));
    let forged = LogKey { key: VerifierKey::new(other, log_signer(8).verifying_key()).unwrap(), ..key };
    assert!(matches!(verify(&[log(), forged]), Err(FileError::Proof { block: 1, step: 3, .. })));
    // Years of one name go by the year, whichever keys are given.
    let (prefix, year) = seinhuis_shared::succession::year_of(ORIGIN).unwrap();
    let later = format!("{prefix}/{}", year + 1);
    let (file, world) = over_two_logs(&later);
    let later = seinhuis_shared::succession::log_key(&later, &log()).unwrap();
    for logs in [vec![log()], vec![later.clone()], vec![log(), later.clone()], vec![later, log()]] {
        file.verify(&logs, Some(&world.covenant), &Keys::default()).unwrap();
    }
    // A name may come back, years later: what stands between is between.
    let back = "broker.example/b/2028";
    let (file, world) = over_two_logs(back);
    let key = |origin| seinhuis_shared::succession::log_key(origin, &log()).unwrap();
    let logs = [key("broker.example/b/2025"), log(), key(back)];
    file.verify(&logs, Some(&world.covenant), &Keys::default()).unwrap();
    let [first, own, last] = logs;
    assert!(file.verify(&[first, last, own], Some(&world.covenant), &Keys::default()).is_err());
}
