//! A broker in a folder, and agents that it knows.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use seinhuis_broker::home::Home;
use seinhuis_broker::service::Service;
use seinhuis_broker_core::Command as Order;
use seinhuis_certs::authority::Authority;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shell::grant::Grant;
use seinhuis_shell::keys::TlsKey;

use super::agent::Agent;
use super::crowd::Ca;
use super::mill;

/// Certificates out of one copy of the CA: its ledger is written whole for each.
const CERTIFICATES_EACH: u64 = 50;
/// Memory that looks like a folder, where there is one: the CA flushes its ledger for each certificate.
const MEMORY: &str = "/dev/shm";

/// Broker and agents.
pub(crate) struct Partnership {
    /// The broker's folder.
    pub(crate) folder: PathBuf,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Who can connect.
    pub(crate) agents: Vec<Arc<Agent>>,
}

impl Partnership {
    /// A new one in an empty folder.
    pub(crate) fn make(folder: &Path, agents: u64) -> Self {
        let home = found(folder, "");
        let begun = Instant::now();
        enrol(folder, &home, &(0..agents).map(partner).collect::<Vec<_>>());
        let (enrolled, begun) = (begun.elapsed(), Instant::now());
        introduce(&home, agents);
        println!(
            "{agents} certificates made in {:.1} s, and as many partners added in {:.1} s",
            enrolled.as_secs_f64(),
            begun.elapsed().as_secs_f64()
        );
        Self::load(folder)
    }

    /// What was made in this folder.
    pub(crate) fn load(folder: &Path) -> Self {
        let address = Home::new(folder).load_config().unwrap().listen;
        let lines = BufReader::new(std::fs::File::open(folder.join("agents")).unwrap()).lines();
        let agents = lines
            .map(|line| {
                let (key, grant): (String, String) = serde_json::from_str(&line.unwrap()).unwrap();
                let grant = Grant::parse(grant.as_bytes()).unwrap();
                Arc::new(Agent::new(&TlsKey::from_pem(&key).unwrap(), &grant))
            })
            .collect();
        Self { folder: folder.to_owned(), address, agents }
    }
}

fn partner(at: u64) -> Oin {
    format!("000000990000{at:08}").parse().unwrap()
}

/// A broker on a free port of this machine, with `more` in its configuration.
pub(crate) fn found(folder: &Path, more: &str) -> Home {
    let home = mill::home(folder);
    let free = UdpSocket::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let text = std::fs::read_to_string(home.config()).unwrap().replace("[::]:7443", &free.to_string());
    assert!(text.contains(&free.to_string()), "the sample names an address");
    std::fs::write(home.config(), format!("{text}{more}")).unwrap();
    home
}

/// Certificates for the broker and for agents of these partners.
pub(crate) fn enrol(folder: &Path, home: &Home, partners: &[Oin]) {
    let memory = Path::new(MEMORY);
    let place = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let first = place.path().join("ca");
    drop(Ca::found(&first, home, home.load_config().unwrap().oin));
    let copies: Vec<(PathBuf, &[Oin])> = partners
        .chunks(usize::try_from(CERTIFICATES_EACH).unwrap())
        .enumerate()
        .map(|(at, some)| (place.path().join(at.to_string()), some))
        .collect();
    // Each copy of the CA has the same key, and a ledger of its own that stays short.
    let lines = std::thread::scope(|scope| {
        let half = copies.len().div_ceil(2).max(1);
        let working: Vec<_> = copies.chunks(half).map(|part| scope.spawn(|| certify(&first, part))).collect();
        working.into_iter().flat_map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    let mut out = BufWriter::new(std::fs::File::create(folder.join("agents")).unwrap());
    for line in lines {
        writeln!(out, "{line}").unwrap();
    }
    out.flush().unwrap();
}

fn certify(ca: &Path, copies: &[(PathBuf, &[Oin])]) -> Vec<String> {
    let mut lines = Vec::new();
    for (copy, partners) in copies {
        let made = std::process::Command::new("cp").arg("-a").args([ca, copy]).status().unwrap();
        assert!(made.success(), "a copy of the CA");
        let mut ca = Ca(Authority::open(copy).unwrap());
        for oin in *partners {
            let (key, grant) = ca.enrol(*oin);
            let grant = String::from_utf8(grant.to_bytes()).unwrap();
            lines.push(serde_json::to_string(&(&*key.to_pem(), grant)).unwrap());
        }
        std::fs::remove_dir_all(copy).unwrap();
    }
    lines
}

/// The broker gets to know so many partners.
fn introduce(home: &Home, agents: u64) {
    let config = home.load_config().unwrap();
    let (service, thread) = Service::open(home, &config).unwrap();
    let runtime = super::runtime();
    runtime.block_on(async {
        service.command(Order::Started { without_witnesses: false }).await.unwrap();
        let added = (0..agents).map(|at| {
            let service = service.clone();
            tokio::spawn(async move {
                let mut seed = [7; 32];
                seed[..8].copy_from_slice(&at.to_le_bytes());
                let key = SigningKey::from_seed(&seed).public();
                let order = Order::AddPartner { oin: partner(at), name: format!("Partner {at}"), key };
                service.command(order).await.unwrap();
            })
        });
        for one in added.collect::<Vec<_>>() {
            one.await.unwrap();
        }
        service.command(Order::Stopping).await.unwrap();
    });
    drop(service);
    drop(runtime);
    thread.join().unwrap().unwrap();
}
