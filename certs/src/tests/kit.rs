//! A CA in a temporary folder, applicants with keys drawn on the spot, the tool run on command lines.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use seinhuis_shared::enrol::{NodeKind, fingerprint};
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::cli::{Outcome, Ui, captured};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::enrolment::{Applicant, make_request};
use seinhuis_shell::grant::Grant;
use seinhuis_shell::keys::{TlsKey, random};
use seinhuis_shell::lang::Lang;

use crate::commands::{Cli, execute};

/// 1 March 2026, noon.
pub(super) const NOW: Timestamp = Timestamp(1_772_366_400_000);
pub(super) const GEMEENTE: &str = "00000001003214345000";
pub(super) const POLITIE: &str = "00000003273229500000";

pub(super) fn day(n: u64) -> Timestamp {
    NOW.plus(Span::days(n))
}

/// A node that applies: its keys never leave it.
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) oin: &'static str,
    pub(super) signing: SigningKey,
    pub(super) tls: TlsKey,
    pub(super) hosts: Vec<String>,
}

impl Node {
    pub(super) fn agent(oin: &'static str) -> Self {
        Self {
            kind: NodeKind::Agent,
            oin,
            signing: SigningKey::from_seed(&random()),
            tls: TlsKey::generate().unwrap(),
            hosts: Vec::new(),
        }
    }

    pub(super) fn broker(oin: &'static str) -> Self {
        let hosts = vec!["broker.example".into(), "127.0.0.1".into()];
        Self { kind: NodeKind::Broker, hosts, ..Self::agent(oin) }
    }

    pub(super) fn request(&self, at: Timestamp) -> Vec<u8> {
        let applicant = Applicant {
            kind: self.kind,
            oin: self.oin.parse().unwrap(),
            name: "Gemeente Voorbeeldstad",
            hosts: &self.hosts,
        };
        make_request(&applicant, &self.signing, &self.tls, at).unwrap()
    }
}

/// A CA folder and room for the files that are handed over.
pub(super) struct Desk {
    dir: tempfile::TempDir,
}

/// Runs one command line and gives back what it printed.
pub(super) fn tell(args: &[&str], json: bool, at: Timestamp) -> (Result<Outcome, Complaint>, String) {
    let args = ["seinhuis-certs"].iter().chain(args).map(OsString::from);
    let cli = Cli::try_parse_from(args).unwrap_or_else(|error| panic!("{error}"));
    captured(|| execute(cli.command, Ui { lang: Lang::Nl, json }, at))
}

pub(super) fn run(args: &[&str], at: Timestamp) -> Result<Outcome, Complaint> {
    tell(args, false, at).0
}

impl Desk {
    pub(super) fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        desk.run(&["init", "--name", "Partnerschap Voorbeeld"], NOW).unwrap();
        desk
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs a command in the CA's folder.
    pub(super) fn run(&self, args: &[&str], at: Timestamp) -> Result<Outcome, Complaint> {
        let ca = self.ca();
        let args: Vec<&str> = args.iter().copied().chain(["--dir", text(&ca)]).collect();
        run(&args, at)
    }

    pub(super) fn issue_with(
        &self,
        request: &[u8],
        print: &str,
        out: &str,
        at: Timestamp,
    ) -> Result<Outcome, Complaint> {
        let (request, out) = (self.put("request", request), self.file(out));
        self.run(&["issue", text(&request), "--fingerprint", print, "--out", text(&out)], at)
    }

    /// Issues with the right fingerprint and reads the grant back.
    pub(super) fn issue(&self, node: &Node, out: &str, at: Timestamp) -> Result<Grant, Complaint> {
        let request = node.request(at);
        self.issue_with(&request, &fingerprint(&request), out, at)?;
        Grant::load(&self.file(out))
    }

    pub(super) fn renew(&self, request: &[u8], out: &str, at: Timestamp) -> Result<Grant, Complaint> {
        let (request, out) = (self.put("request", request), self.file(out));
        self.run(&["renew", text(&request), "--out", text(&out)], at)?;
        Grant::load(&out)
    }

    pub(super) fn count(&self) -> usize {
        fs::read_dir(self.ca().join("issued")).unwrap().count()
    }
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(super) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Asserts that a command fails with this exit code and that its sentence contains `part`.
#[track_caller]
pub(super) fn fails<T: std::fmt::Debug>(result: Result<T, Complaint>, exit: u8, part: &str) -> Complaint {
    let error = result.unwrap_err();
    assert_eq!(error.exit.code(), exit, "{error}");
    assert!(error.to_string().contains(part), "{error}");
    assert!(!error.advice.nl.is_empty() && !error.what.nl.is_empty());
    error
}
