//! The committed corpora, replayed: every file through its check.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test: what it cannot make or read ends it")]

mod seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use seinhuis_fuzz_checks::{Check, TARGETS, covenant};

/// Most bytes of all corpora together: they are read by people and cloned by everybody.
const CORPORA_MAX: usize = 300 * 1024;

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect()
}

/// Runs one check, names the file when it fails, and says whether the bytes are accepted.
fn hold(target: &str, check: Check, name: &str, bytes: &[u8]) -> bool {
    let outcome = std::panic::catch_unwind(|| check(bytes));
    outcome.unwrap_or_else(|_| panic!("{target} does not hold for {name}"))
}

/// A name that begins with `ok-` or `no-` says what the decoder must answer; the others, which a fuzzer found,
/// only must not break a promise.
#[test]
fn every_committed_file_passes_its_check() {
    for (target, check) in TARGETS {
        let files = files(&fuzz().join("corpus").join(target));
        for prefix in ["ok-", "no-"] {
            // Without both a check could hold because its decoder answers everything alike.
            assert!(files.keys().any(|name| name.starts_with(prefix)), "{target} has no {prefix} file");
        }
        for (name, bytes) in files {
            let accepted = hold(target, *check, &name, &bytes);
            assert!(accepted || !name.starts_with("ok-"), "{target}/{name} is refused");
            assert!(!accepted || !name.starts_with("no-"), "{target}/{name} is accepted");
        }
    }
}

#[test]
fn every_committed_file_passes_its_check_cut_short_and_changed() {
    for (target, check) in TARGETS {
        for (name, bytes) in files(&fuzz().join("corpus").join(target)) {
            // About a hundred places per file, whatever its length.
            for at in (0..bytes.len()).step_by(bytes.len().div_ceil(100).max(1)) {
                hold(target, *check, &name, &bytes[..at]);
                let mut changed = bytes.clone();
                changed[at] ^= 0x20;
                hold(target, *check, &name, &changed);
            }
        }
    }
}

#[test]
fn the_committed_seeds_are_the_generated_ones() {
    let write = std::env::var_os("SEINHUIS_WRITE_SEEDS").is_some();
    for seed in seeds::all() {
        let path = fuzz().join("corpus").join(seed.target).join(&seed.name);
        if write {
            fs::write(&path, &seed.bytes).unwrap();
        }
        let committed = fs::read(&path).ok();
        assert!(
            committed.as_ref() == Some(&seed.bytes),
            "{} is not what the generator makes. Was the format to change? Then run \
             `SEINHUIS_WRITE_SEEDS=1 cargo test -p seinhuis-fuzz-checks` and commit the result",
            path.display()
        );
    }
}

#[test]
fn the_covenants_of_the_repository_pass_their_checks() {
    let folder = covenant::folder();
    let (_, body) = TARGETS.iter().find(|(name, _)| *name == "body").unwrap();
    let flows = &covenant::model().covenant().flows;
    for (name, bytes) in files(&folder.join("schemas")) {
        hold("schema", covenant::schema, &name, &bytes);
        hold("json", covenant::json, &name, &bytes);
    }
    for (name, bytes) in files(&folder.join("samples")) {
        hold("json", covenant::json, &name, &bytes);
        let sample: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let flow = flows.iter().position(|flow| Some(flow.id.as_str()) == sample["flow"].as_str()).unwrap();
        for kind in 0..flows[flow].types.len() {
            let head = [u8::try_from(flow).unwrap(), u8::try_from(kind).unwrap()];
            let input = [&head[..], &serde_json::to_vec(&sample["body"]).unwrap()].concat();
            hold("body", *body, &name, &input);
        }
    }
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let both = [text("model.toml"), text("partnership.example.toml")].join(covenant::PART);
    hold("covenant_toml", covenant::source, "the model", both.as_bytes());
    hold("covenant", covenant::canonical, "the model", &covenant::model().covenant().to_bytes());
}

/// The byte strings in a vector file: whatever text is hexadecimal.
fn hexadecimal(value: &serde_json::Value, found: &mut BTreeSet<Vec<u8>>) {
    if let Some(text) = value.as_str() {
        found.extend(HEXLOWER.decode(text.as_bytes()));
    }
    value.as_array().into_iter().flatten().for_each(|item| hexadecimal(item, found));
    value.as_object().into_iter().flat_map(|map| map.values()).for_each(|item| hexadecimal(item, found));
}

/// Those of other formats too: a decoder must stand whatever it is given.
#[test]
fn every_vector_passes_every_check() {
    let mut vectors = BTreeSet::new();
    for (name, bytes) in files(&fuzz().join("../shared/vectors")) {
        if Path::new(&name).extension().is_some_and(|extension| extension == "json") {
            hexadecimal(&serde_json::from_slice(&bytes).unwrap(), &mut vectors);
        }
    }
    assert!(!vectors.is_empty(), "shared/vectors is empty");
    for bytes in &vectors {
        for (target, check) in TARGETS {
            hold(target, *check, &HEXLOWER.encode(&bytes[..bytes.len().min(64)]), bytes);
        }
    }
}

#[test]
fn targets_corpora_and_checks_are_the_same_list() {
    let checks: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut corpora = BTreeSet::new();
    let mut total = 0;
    for entry in fs::read_dir(fuzz().join("corpus")).unwrap() {
        let path = entry.unwrap().path();
        total += files(&path).values().map(Vec::len).sum::<usize>();
        corpora.insert(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    assert_eq!(corpora, checks, "fuzz/corpus");
    let targets = files(&fuzz().join("fuzz_targets")).into_keys();
    let targets: BTreeSet<String> = targets.map(|name| name.trim_end_matches(".rs").to_owned()).collect();
    assert_eq!(targets, checks, "fuzz/fuzz_targets");
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &checks {
        assert!(manifest.contains(&format!("\nname = \"{name}\"\n")), "fuzz/Cargo.toml lacks {name}");
    }
    assert!(total <= CORPORA_MAX, "the corpora take {total} bytes, at most {CORPORA_MAX} are allowed");
}
