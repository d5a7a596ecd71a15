//! The log of a real broker as Go's checksum database reads one: `verify/go/third_check.go` checks exports, receipts,
//! proofs and paths with libraries that were written elsewhere, and finds what was changed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use data_encoding::BASE64;
use seinhuis_shared::frame::Kind;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::Receipt;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::note::VerifierKey;
use seinhuis_shared::tlog::tile::{Bundle, Tile};
use seinhuis_shared::tlog::tree::{BatchTree, consistency_proof, inclusion_proof, root};
use seinhuis_shared::wire::{Consistency, FetchConsistency, Message as _};
use serde_json::{Value, json};

use crate::common::town::{Square, Town};

static TOWN: Square = Square::new();

/// Set where the check has to run: there a machine without Go is no excuse.
const REQUIRED: &str = "SEINHUIS_GO_REQUIRED";

/// Builds the program; `None`, with a word about it, on a machine that has no Go.
fn third_check(dir: &Path) -> Option<PathBuf> {
    let program = dir.join("third_check");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verify/go/third_check.go");
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([&program, &source])
        .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode"), ("GOFLAGS", "")])
        .env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go"))
        .output();
    let trouble = match built {
        Ok(said) if said.status.success() => return Some(program),
        Ok(said) => String::from_utf8_lossy(&said.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    let advice = "the check of the log in Go needs Go and golang.org/x/mod \
                  (Debian: golang-go golang-golang-x-mod-dev)";
    assert!(std::env::var_os(REQUIRED).is_none(), "{advice}: {trouble}");
    eprintln!("NOT RUN: {advice}: {trouble}");
    None
}

/// What the program says of an export: its first word.
fn says(program: &Path, key: &str, bundle: &Path) -> String {
    let said = Command::new(program).args(["bundle", key]).arg(bundle).output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.status.success(), text.starts_with("good"), "{text}");
    text
}

/// Claims with what has to be the answer: whether each is good.
#[derive(Default)]
struct Claims(Vec<(Value, bool)>);

impl Claims {
    fn claim(&mut self, claim: Value, good: bool) {
        self.0.push((claim, good));
    }

    /// The claim, and every way to change one thing about it that makes it wrong.
    fn proof(&mut self, claim: Value, of: &[(&str, Value)]) {
        for (field, wrong) in of {
            let mut changed = claim.clone();
            changed[field] = wrong.clone();
            self.claim(changed, false);
        }
        let proof = claim["proof"].as_array().unwrap().clone();
        for at in 0..proof.len() {
            let mut changed = claim.clone();
            changed["proof"][at] = hex(&leaf_hash(b"another"));
            self.claim(changed, false);
            let mut cut = claim.clone();
            cut["proof"].as_array_mut().unwrap().remove(at);
            self.claim(cut, false);
        }
        let mut longer = claim.clone();
        longer["proof"].as_array_mut().unwrap().push(hex(&leaf_hash(b"more")));
        self.claim(longer, false);
        self.claim(claim, true);
    }

    fn record(&mut self, index: u64, size: u64, leaf: &Digest, proof: &[Digest], root: &Digest) {
        let claim = json!({
            "kind": "record", "index": index, "size": size, "leaf": hex(leaf), "root": hex(root),
            "proof": proof.iter().map(hex).collect::<Vec<_>>(),
        });
        let other = hex(&leaf_hash(b"another"));
        self.proof(claim, &[("leaf", other.clone()), ("root", other), ("index", size.into())]);
    }

    fn tree(&mut self, (old, old_root): (u64, &Digest), (new, new_root): (u64, &Digest), proof: &[Digest]) {
        let claim = json!({
            "kind": "tree", "old": old, "oldRoot": hex(old_root), "size": new, "root": hex(new_root),
            "proof": proof.iter().map(hex).collect::<Vec<_>>(),
        });
        let other = hex(&leaf_hash(b"another"));
        self.proof(claim, &[("oldRoot", other.clone()), ("root", other)]);
    }

    fn note(&mut self, signed: &[u8], checkpoint: &Checkpoint) {
        let claim = |signed: &[u8]| {
            json!({
                "kind": "note", "note": BASE64.encode(signed),
                "size": checkpoint.size(), "root": hex(checkpoint.root()),
            })
        };
        self.claim(claim(signed), true);
        // The text, and the signature: its last letters may be spare bits.
        for at in (0..signed.len() - 8).step_by(7) {
            let mut changed = signed.to_vec();
            changed[at] ^= 1;
            self.claim(claim(&changed), false);
        }
    }

    fn path(&mut self, level: i8, index: u64, width: u16, path: &str) {
        let claim = |path: &str| {
            json!({
                "kind": "path", "level": level, "index": index, "width": width, "path": path,
            })
        };
        self.claim(claim(path), true);
        for wrong in [path.replacen('/', "//", 1), path.replacen("tile/", "tile/0", 1), format!("{path}.p/1")]
        {
            self.claim(claim(&wrong), false);
        }
    }

    /// Has them judged, and compares.
    fn judge(&self, program: &Path, key: &str) {
        let lines: Vec<String> = self.0.iter().map(|(claim, _)| claim.to_string()).collect();
        let text = lines.join("\n");
        let mut running = Command::new(program)
            .args(["claims", key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = running.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let said = running.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let answers = String::from_utf8(said.stdout).unwrap();
        assert_eq!(answers.lines().count(), self.0.len());
        for (answer, (claim, good)) in answers.lines().zip(&self.0) {
            assert_eq!(answer == "good", *good, "{answer}: {claim}");
        }
    }
}

fn hex(digest: &Digest) -> Value {
    digest.to_string().into()
}

fn export(town: &Town, out: &Path, words: &[&str]) -> PathBuf {
    let place = out.to_string_lossy().into_owned();
    let args = [&["export", "--purpose", "Derde controle", "--out", &place], words].concat();
    town.stage.broker(&args).unwrap();
    out.to_path_buf()
}

/// What a session gives: receipts with their inclusion proofs, and the consistency proofs between their trees.
fn of_a_session(town: &Town, claims: &mut Claims) -> String {
    let mut police = town.open("politie");
    let (origin, key) = (police.log().origin.clone(), police.log().key.clone());
    let mut heads = Vec::new();
    for _ in 0..5 {
        let packet = town.packet();
        let (verdict, _) = town.accepts_on(&mut police, &packet);
        town.receives(&mut town.open("gemeente"), "gemeente", &packet);
        let receipt = Receipt::parse(&verdict.receipt).unwrap();
        let head = Checkpoint::verify(&receipt.checkpoint, &origin, &key).unwrap();
        claims.note(&receipt.checkpoint, &head);
        for proved in &receipt.entries {
            claims.record(proved.index, head.size(), &leaf_hash(&proved.entry), &proved.path, head.root());
        }
        heads.push(head);
    }
    let sizes = heads.iter().map(Checkpoint::size).collect();
    let question = seinhuis_shared::cbor::encode(&FetchConsistency { origin, sizes });
    let answer = police.request(Kind::FetchConsistency, &question, Kind::Consistency);
    let answer = Consistency::parse(&town.runtime.block_on(answer).unwrap()).unwrap();
    for (pair, proof) in heads.windows(2).zip(&answer.proofs) {
        claims.tree((pair[0].size(), pair[0].root()), (pair[1].size(), pair[1].root()), proof);
    }
    town.runtime.block_on(police.close());
    key.to_string()
}

#[test]
fn go_reads_the_log_of_a_broker_and_finds_what_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = third_check(dir.path()) else { return };
    let town = TOWN.town();
    let mut claims = Claims::default();
    let key = of_a_session(&town, &mut claims);
    claims.judge(&program, &key);

    let whole = export(&town, &dir.path().join("whole.zip"), &[]);
    let size = town.log_size();
    assert_eq!(says(&program, &key, &whole), format!("good: {size} of {size} entries\n"));
    let some = export(&town, &dir.path().join("some.zip"), &["--kind", "delivered"]);
    assert_eq!(says(&program, &key, &some), format!("good: 5 of {} entries\n", size + 1));
    let other = VerifierKey::new("another.example", *key.parse::<VerifierKey>().unwrap().key());
    assert!(says(&program, &other.unwrap().to_string(), &whole).starts_with("bad"));
    let first = |text: String| text.split_inclusive('\n').skip(1).collect::<String>();
    let flip = |text: String| text.replacen("\"F02\"", "\"F03\"", 1);
    let tall = |text: String| text.replacen("\n\n", "0\n\n", 1);
    let shift = |text: String| text.replacen("0 ", "1 ", 1);
    for (number, (bundle, member, edit)) in [
        (&whole, "entries.jsonl", &flip as &dyn Fn(String) -> String),
        (&whole, "entries.jsonl", &first),
        (&whole, "checkpoint.txt", &tall),
        (&whole, "runs.txt", &shift),
        (&some, "entries.jsonl", &flip),
        (&some, "entries.jsonl", &first),
        (&some, "proof.txt", &first),
        (&some, "runs.txt", &first),
    ]
    .into_iter()
    .enumerate()
    {
        let out = dir.path().join(format!("{number}.zip"));
        seinhuis_tests::export::tampered(bundle, &out, member, edit).unwrap();
        assert!(says(&program, &key, &out).starts_with("bad"), "{member} changed, case {number}");
    }
}

#[test]
fn go_accepts_the_proofs_and_paths_of_any_tree() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = third_check(dir.path()) else { return };
    let mut tree = BatchTree::default();
    for number in 0..70_000_u32 {
        tree.append(leaf_hash(&number.to_be_bytes())).unwrap();
    }
    let nodes: BTreeMap<(u8, u64), Digest> = tree.new_nodes().collect();
    let mut claims = Claims::default();
    let mut pairs: Vec<(u64, u64)> =
        (1..=20).flat_map(|size| (0..size).map(move |part| (part, size))).collect();
    for size in [255, 256, 257, 65_535, 65_536, 65_537, 70_000] {
        pairs.extend([0, 1, size / 3, size - 2, size - 1].map(|part| (part, size)));
    }
    for (part, size) in pairs {
        let signed = root(size, &nodes).unwrap();
        let leaf = tree.leaves()[usize::try_from(part).unwrap()];
        claims.record(part, size, &leaf, &inclusion_proof(part, size, &nodes).unwrap(), &signed);
        let old = part + 1;
        let proof = consistency_proof(old, size, &nodes).unwrap();
        claims.tree((old, &root(old, &nodes).unwrap()), (size, &signed), &proof);
    }
    for index in [0, 1, 255, 999, 1000, 1_234_067, 999_999_999, u64::MAX >> 8] {
        for width in [1, 17, 255, 256] {
            for level in [0_u8, 1, 7] {
                let tile = Tile::new(level, index, width).unwrap();
                claims.path(level.cast_signed(), index, width, &tile.to_string());
            }
            claims.path(-1, index, width, &Bundle::new(index, width).unwrap().to_string());
        }
    }
    // Any key: no claim here is signed.
    claims.judge(&program, "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
}
