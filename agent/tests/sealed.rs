//! Keys that are sealed with a passphrase. Where that comes from is one thing for a whole process, as the environment is:
//! so this is a process of its own, with one test.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod office;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use seinhuis_shell::keys;

use crate::office::Office;

#[test]
fn keys_that_are_sealed_are_used_with_their_passphrase_and_not_without() {
    let office = Office::new();
    let (good, wrong) = (office.dir.path().join("passphrase"), office.dir.path().join("wrong"));
    for (path, text) in [(&good, "zes woorden die niemand raadt\n"), (&wrong, "zes andere woorden dan die\n")]
    {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let with = |path: &Path, args: &[&str]| {
        let all: Vec<&str> =
            args.iter().copied().chain(["--passphrase-file", path.to_str().unwrap()]).collect();
        office.run(&all)
    };
    let signing = office.home().signing_key();
    let open = fs::read(&signing).unwrap();
    let key = keys::load_signing(&signing).unwrap().public();
    assert_eq!(with(&good, &["key", "seal"]), 0);
    let files: Vec<PathBuf> =
        fs::read_dir(office.home().keys()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3);
    for path in &files {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.starts_with("-----BEGIN SEINHUIS SEALED KEY-----"), "{}", path.display());
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // With it everything works, and what is made beside sealed keys is sealed.
    assert_eq!(with(&good, &["key", "show"]), 0);
    assert_eq!(keys::load_signing(&signing).unwrap().public(), key);
    assert_eq!(with(&good, &["key", "witness"]), 0);
    assert!(fs::read_to_string(office.home().witness_key()).unwrap().contains("SEALED"));
    // Twice is once, and another passphrase seals nothing beside the first.
    let before = fs::read(&signing).unwrap();
    assert_eq!(with(&good, &["key", "seal"]), 0);
    assert_eq!(fs::read(&signing).unwrap(), before);
    assert_eq!(with(&wrong, &["key", "seal"]), 1);
    // Another, none, one that others can read, and an empty one: told, and nothing is changed.
    assert_eq!(with(&wrong, &["key", "show"]), 1);
    assert!(office.refused_start().what.en.contains("does not fit"), "{}", office.refused_start());
    assert_eq!(office.run(&["key", "show"]), 2);
    assert!(office.refused_start().advice.en.contains("--passphrase-file"));
    fs::set_permissions(&good, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(with(&good, &["key", "show"]), 2);
    fs::set_permissions(&good, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&wrong, "\nzes").unwrap();
    assert_eq!(with(&wrong, &["key", "show"]), 2);
    // A changed file is refused.
    let mut damaged = before.clone();
    damaged[60] = if damaged[60] == b'A' { b'B' } else { b'A' };
    fs::write(&signing, &damaged).unwrap();
    assert_ne!(with(&good, &["key", "show"]), 0);
    fs::write(&signing, &before).unwrap();
    // Off again: the very bytes.
    assert_eq!(with(&good, &["key", "unseal"]), 0);
    assert_eq!(fs::read(&signing).unwrap(), open);
    assert_eq!(office.run(&["key", "show"]), 0);
}
