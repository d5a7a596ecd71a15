//! An agent's folder as `init` makes it, with a broker's card and a covenant that both its parties signed.
#![allow(dead_code, reason = "each test file uses its part")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use seinhuis_agent::engine::Engine;
use seinhuis_agent::home::Home;
use seinhuis_agent::{Agent, AgentOptions, run};
use seinhuis_agent_core::Input;
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::covenant::agreement::{Cast, Vote, Word};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::tlog::note::{ED25519, KeyText};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::grant::{BrokerCard, CardFormat};
use seinhuis_shell::keys;

pub(crate) const YOUTH: &str = "00000099000000003000";
pub(crate) const TOWN: &str = "00000099000000001000";

pub(crate) fn covenants() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../covenants")
}

pub(crate) fn sample() -> PathBuf {
    covenants().join("samples/01-F01-jongerenwerk-signaal.json")
}

pub(crate) struct Office {
    pub(crate) dir: tempfile::TempDir,
}

impl Office {
    /// A folder made by `init`, with a broker's card and a covenant.
    pub(crate) fn new() -> Self {
        let office = Self { dir: tempfile::tempdir().unwrap() };
        assert_eq!(office.run(&["init", "--oin", YOUTH, "--name", "Jongerenwerk De Brug"]), 0);
        let home = office.home();
        let bytes = SigningKey::from_seed(&[2; 32]).public().to_bytes();
        let card = BrokerCard {
            format: CardFormat::V1,
            name: "Broker".into(),
            oin: "00000099000000000001".parse().unwrap(),
            address: "localhost:9".into(),
            fallback: None,
            server_name: "localhost".into(),
            log_origin: "localhost/log".into(),
            log_key: KeyText::new("localhost/log", ED25519, &bytes).unwrap().to_string(),
            software: "test".into(),
        };
        fs::write(home.card(), card.to_bytes()).unwrap();
        let own = keys::load_signing(&home.signing_key()).unwrap().public().to_bytes();
        let party = |oin: &str, role: &str, key: &[u8]| {
            format!(
                "[[parties]]\noin = \"{oin}\"\nrole = \"{role}\"\nname = \"{role}\"\ncontact = \"x@x.example\"\nsigning_keys = [\"{}\"]\n",
                HEXLOWER.encode(key)
            )
        };
        let other = SigningKey::from_seed(&[9; 32]).public().to_bytes();
        let text = format!(
            "[partnership]\nid = \"test\"\nversion = 1\ntitle = \"Test\"\nowner = \"{TOWN}\"\nvalid_from = \"2020-01-01\"\nvalid_until = \"2200-01-01\"\nevaluation = \"2100-01-01\"\ncontact = \"x@x.example\"\n{}{}",
            party(TOWN, "gemeente", &other),
            party(YOUTH, "jongerenwerk", &own)
        );
        let parties = office.dir.path().join("parties.toml");
        fs::write(&parties, text).unwrap();
        office.agree(&[covenants().join("model.toml"), parties]);
        office
    }

    /// Both parties signed the covenant of these files, and a broker told the agent so before it went away.
    pub(crate) fn agree(&self, parts: &[PathBuf]) {
        let compiled = Compiled::new(seinhuis_shell::covenants::load(parts).unwrap()).unwrap();
        let (home, at) = (self.home(), seinhuis_shell::clock::now());
        let own = keys::load_signing(&home.signing_key()).unwrap();
        let cast = |(oin, key): (&str, &SigningKey)| {
            let party = oin.parse().unwrap();
            let (covenant, word, reason) = (compiled.hash(), Word::Accept, String::new());
            let vote = Vote { format: 1, covenant, party, word, issued: at, reason };
            Cast { vote: Bytes(vote.sign(key)), at }
        };
        let casts = [(TOWN, &SigningKey::from_seed(&[9; 32])), (YOUTH, &own)].map(cast).to_vec();
        let options = home.load_config().unwrap().store.options();
        let settings = home.settings().unwrap();
        let mut engine = Engine::open(&home.store(), options, settings, home.vault().unwrap()).unwrap();
        engine
            .step([Input::Covenant { had: (0, 0), compiled: Arc::new(compiled), casts, rotations: vec![] }])
            .unwrap();
        engine.close().unwrap();
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("agent")
    }

    pub(crate) fn home(&self) -> Home {
        Home::new(&self.path())
    }

    /// Runs a command; its exit code.
    pub(crate) fn run(&self, args: &[&str]) -> u8 {
        let path = self.path();
        let fixed = ["seinhuis-agent", "--lang", "en", "--json", "--home", path.to_str().unwrap()];
        let code = run(fixed.iter().chain(args).map(OsString::from));
        (0..=2).find(|number| format!("{code:?}") == format!("{:?}", ExitCode::from(*number))).unwrap()
    }

    pub(crate) fn options(&self) -> AgentOptions {
        AgentOptions { home: self.path(), connect: false }
    }

    pub(crate) fn refused_start(&self) -> Complaint {
        Agent::start(&self.options()).unwrap_err()
    }
}
