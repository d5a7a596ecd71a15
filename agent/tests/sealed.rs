//! Keys that are sealed with a passphrase. Where that comes from is one thing for a whole process, as the environment is:
//! so this is a process of its own, with one test.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use seinhuis_agent::home::Home;
use seinhuis_agent::{Agent, AgentOptions, run};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::tlog::note::{ED25519, KeyText};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::grant::{BrokerCard, CardFormat};
use seinhuis_shell::keys;

struct Office {
    dir: tempfile::TempDir,
}

impl Office {
    /// A folder made by `init`, with a broker's card.
    fn new() -> Self {
        let office = Self { dir: tempfile::tempdir().unwrap() };
        assert_eq!(office.run(&["init", "--oin", "00000099000000003000", "--name", "Jongerenwerk"]), 0);
        let key = SigningKey::from_seed(&[2; 32]).public().to_bytes();
        let card = BrokerCard {
            format: CardFormat::V1,
            name: "Broker".into(),
            oin: "00000099000000000001".parse().unwrap(),
            address: "localhost:9".into(),
            fallback: None,
            server_name: "localhost".into(),
            log_origin: "localhost/log".into(),
            log_key: KeyText::new("localhost/log", ED25519, &key).unwrap().to_string(),
            software: "test".into(),
        };
        fs::write(office.home().card(), card.to_bytes()).unwrap();
        office
    }

    fn home(&self) -> Home {
        Home::new(&self.dir.path().join("agent"))
    }

    /// Runs a command; its exit code.
    fn run(&self, args: &[&str]) -> u8 {
        let path = self.dir.path().join("agent");
        let fixed = ["seinhuis-agent", "--lang", "en", "--json", "--home", path.to_str().unwrap()];
        let code = run(fixed.iter().chain(args).map(OsString::from));
        (0..=2).find(|number| format!("{code:?}") == format!("{:?}", ExitCode::from(*number))).unwrap()
    }

    fn refused_start(&self) -> Complaint {
        Agent::start(&AgentOptions { home: self.dir.path().join("agent"), connect: false }).unwrap_err()
    }
}

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
