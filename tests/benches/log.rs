//! What the exchange log costs as it grows to a hundred million entries: an entry as it comes in, without the flush, and
//! proofs.
//!
//! ```text
//! cargo bench -p seinhuis-tests --bench log
//! ```
//!
//! A long log has the same 256 entries over and over: all tiles of a level are alike, so its root is known and its
//! proofs can be verified, and only the files that proofs touch are written. For scale, `ct-merkle` does in memory what
//! compares, in the same run.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says so")]
#![expect(clippy::print_stdout, reason = "this is its output")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use seinhuis_broker::log::Log;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::{leaf_hash, node_hash};
use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shared::tlog::proof::{verify_consistency, verify_inclusion};
use seinhuis_shared::tlog::tile::{FULL_WIDTH, Tile, encode_tile};
use seinhuis_shared::tlog::tree::{BatchTree, Frontier};
use sha2::Sha256;

/// Entries decided in one turn, signed for by one checkpoint.
const TURN: usize = 64;
/// Turns that come in at once.
const TURNS: usize = 500;
const ORIGIN: &str = "broker.example/uitwisseling/2026";
/// Bytes of an entry.
const ENTRY: usize = 400;
/// Entries of the long logs; whole bundles.
const LENGTHS: [u64; 5] = [10_240, 102_400, 1_024_000, 10_240_000, 100_000_000];
/// Proofs of each kind.
const PROOFS: u64 = 2000;
/// Proofs after which the tiles above the leaves begin to be known.
const FIRST: usize = 200;
const ROUNDS: usize = 7;

/// The least of several rounds of something done `count` times, a time: so that what else the machine does counts least.
fn least(count: u64, mut round: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| round()).min().unwrap() / u32::try_from(count).unwrap()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn turns(count: usize) -> Vec<Vec<Vec<u8>>> {
    let entry = |number: usize| {
        let mut entry = vec![b'x'; ENTRY];
        entry[..8].copy_from_slice(&number.to_be_bytes());
        entry
    };
    (0..count).map(|turn| (0..TURN).map(|at| entry(turn * TURN + at)).collect()).collect()
}

/// Who signs for the log.
struct Signs {
    key: VerifierKey,
    signer: SigningKey,
}

impl Signs {
    fn new() -> Self {
        let secret = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
        let key = VerifierKey::new(ORIGIN, secret.verifying_key()).unwrap();
        Self { key, signer: SigningKey::from_seed(&[9; 32]) }
    }

    /// Hashes, tree, checkpoint and its signature, and the log's tail, as in turns of the engine.
    fn turns(&self, log: &Log, mut frontier: Frontier, turns: Vec<Vec<Vec<u8>>>) -> Duration {
        let start = Instant::now();
        for turn in turns {
            let mut tree = BatchTree::new(frontier);
            for entry in &turn {
                tree.append(leaf_hash(entry)).unwrap();
            }
            let head = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap();
            black_box(head.sign_with(&self.key, |bytes| self.signer.sign(bytes)).unwrap());
            frontier = tree.tip().clone();
            log.append(turn, b"");
        }
        start.elapsed()
    }
}

/// An entry as it comes in at an empty log, what of that is signing, and the same in `ct-merkle`.
fn append() {
    let signs = Signs::new();
    let all = turns(TURNS);
    let entries = u64::try_from(TURNS * TURN).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ours = least(entries, || {
        let log = Log::open(dir.path(), 0, Vec::new()).unwrap();
        signs.turns(&log, Frontier::default(), all.clone())
    });
    let signing =
        least(entries, || {
            let start = Instant::now();
            for _ in 0..TURNS {
                black_box(signs.signer.sign(black_box(
                    b"a checkpoint of about a hundred bytes, more or less, as it is signed",
                )));
            }
            start.elapsed()
        });
    let memory = least(entries, || {
        let turns = all.clone();
        let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let start = Instant::now();
        for entry in turns.into_iter().flatten() {
            tree.push(entry);
        }
        black_box(tree.root());
        start.elapsed()
    });
    println!(
        "an entry of {ENTRY} bytes, {TURN} a checkpoint: {:.2} µs, of which signing {:.2}",
        micros(ours),
        micros(signing)
    );
    println!("the same entry in ct-merkle, without checkpoints: {:.2} µs", micros(memory));
}

/// The tiles of a long log: one content a level.
struct LongLog {
    length: u64,
    levels: Vec<Vec<Digest>>,
}

impl LongLog {
    fn new(length: u64) -> Self {
        let leaves = (0..FULL_WIDTH).map(|number| leaf_hash(&number.to_be_bytes())).collect();
        let mut levels: Vec<Vec<Digest>> = vec![leaves];
        while levels.len() < 4 {
            let mut row = levels.last().unwrap().clone();
            while row.len() > 1 {
                row = row.chunks(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
            }
            levels.push(vec![row[0]; FULL_WIDTH.into()]);
        }
        Self { length, levels }
    }

    fn leaf(&self, index: u64) -> Digest {
        self.levels[0][usize::try_from(index % 256).unwrap()]
    }

    /// Writes a full tile, if it is one and is not there yet.
    fn write(&self, dir: &Path, level: usize, index: u64) {
        if (index + 1) << (8 * (level + 1)) > self.length {
            return;
        }
        let tile = Tile::new(u8::try_from(level).unwrap(), index, FULL_WIDTH).unwrap();
        let path = dir.join(tile.to_string());
        if !path.exists() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, encode_tile(&self.levels[level]).unwrap()).unwrap();
        }
    }

    /// The tiles above a leaf, and those that opening the log reads.
    fn write_for(&self, dir: &Path, leaves: impl Iterator<Item = u64>) {
        for leaf in leaves {
            (0..3).for_each(|level| self.write(dir, level, leaf >> (8 * (level + 1))));
        }
        for level in 0..3 {
            let complete = self.length >> (8 * (level + 1));
            (complete - complete % 256..complete).for_each(|index| self.write(dir, level, index));
        }
    }
}

/// Places all over a log, the same in every run: multiples of a number that shares no divisor with its length. Without the
/// first: there is no proof from an empty log.
fn places(length: u64) -> Vec<u64> {
    (1..=2 * PROOFS).map(|number| (number * 61_803_399 % length).max(1)).collect()
}

/// The time of a proof: of the first ones, every tile in a file; of later ones; and of those whose tiles were read lately.
fn timed(log: &Log, places: &[u64], mut prove: impl FnMut(&Log, u64)) -> [Duration; 3] {
    let mut cold = |places: &[u64]| {
        let start = Instant::now();
        for place in places {
            prove(log, *place);
        }
        start.elapsed() / u32::try_from(places.len()).unwrap()
    };
    let (first, rest) = places.split_at(FIRST);
    let (first, rest) = (cold(first), cold(rest));
    let few = &places[places.len() - 50..];
    let warm = least(50, || {
        let start = Instant::now();
        for place in few {
            prove(log, *place);
        }
        start.elapsed()
    });
    [first, rest, warm]
}

/// Proofs in a log of this length, and an entry more.
fn long(length: u64) {
    let long = LongLog::new(length);
    let dir = tempfile::tempdir().unwrap();
    let all = places(length);
    long.write_for(dir.path(), all.iter().copied());
    let open = || Log::open(dir.path(), length, Vec::new()).unwrap();
    verified(&long, &open(), &all);
    let rounds: Vec<[[Duration; 3]; 2]> = (0..ROUNDS)
        .map(|_| {
            // Opened anew, so that no tile was read before.
            let inclusion =
                timed(&open(), &all, |log, place| _ = black_box(log.inclusion(place, length).unwrap()));
            let consistency =
                timed(&open(), &all, |log, place| _ = black_box(log.consistency(place, length).unwrap()));
            [inclusion, consistency]
        })
        .collect();
    for (kind, name) in ["inclusion", "consistency"].iter().enumerate() {
        let [first, rest, warm] =
            [0, 1, 2].map(|of| micros(rounds.iter().map(|round| round[kind][of]).min().unwrap()));
        println!(
            "  {name}: out of files {first:.1} µs (the first {FIRST}), {rest:.1} µs (later ones); of tiles read lately {warm:.1} µs"
        );
    }
    let (signs, entries) = (Signs::new(), turns(TURNS));
    let more = least(u64::try_from(TURNS * TURN).unwrap(), || {
        let log = open();
        let frontier = log.frontier().unwrap();
        signs.turns(&log, frontier, entries.clone())
    });
    println!("  an entry more: {:.2} µs", micros(more));
}

/// Verifies a proof of each kind for each place.
fn verified(long: &LongLog, log: &Log, all: &[u64]) {
    let length = long.length;
    let root = log.root(length).unwrap();
    let mut longest = (0, 0);
    for place in all {
        let proof = log.inclusion(*place, length).unwrap();
        verify_inclusion(*place, length, &long.leaf(*place), &proof, &root).unwrap();
        longest.0 = longest.0.max(proof.len());
        let proof = log.consistency(*place, length).unwrap();
        verify_consistency(*place, length, &proof, &log.root(*place).unwrap(), &root).unwrap();
        longest.1 = longest.1.max(proof.len());
    }
    println!(
        "{length} entries, {} proofs of each kind verified; at most {} and {} hashes",
        all.len(),
        longest.0,
        longest.1
    );
}

/// How long the same takes in a tree of a million that is in memory as a whole, and what one hash costs.
fn scale() {
    let mut tree = MemoryBackedTree::<Sha256, [u8; 8]>::new();
    (0..1_000_000_u64).for_each(|number| tree.push(number.to_be_bytes()));
    let inclusion = least(PROOFS, || {
        let start = Instant::now();
        for number in 0..PROOFS {
            black_box(tree.prove_inclusion(usize::try_from(number * 499).unwrap()));
        }
        start.elapsed()
    });
    let mut hash = leaf_hash(b"");
    let node = least(100_000, || {
        let start = Instant::now();
        (0..100_000).for_each(|_| hash = node_hash(&hash, &hash));
        start.elapsed()
    });
    black_box(hash);
    println!(
        "inclusion in ct-merkle, a million in memory: {:.1} µs; one node's hash: {:.3} µs",
        micros(inclusion),
        micros(node)
    );
}

fn main() {
    append();
    LENGTHS.into_iter().for_each(long);
    scale();
}
