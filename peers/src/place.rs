//! What a peer's server needs around it: a folder, a port, certificates, its configuration; and its processes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process_group};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use seinhuis_tests::ports;

use crate::Failure;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_mins(1);
/// What has a process end with the one that started it, in whatever way that ends (setpriv(1), of util-linux).
const LEASH: [&str; 3] = ["setpriv", "--pdeathsig", "TERM"];
/// The calls that put what was written onto the disk.
const FLUSHES: &str = "trace=fsync,fdatasync,sync_file_range,msync";

/// A folder of its own with certificates, and a free port.
#[derive(Debug)]
pub(crate) struct Place {
    dir: tempfile::TempDir,
    /// Where the server listens, at 127.0.0.1.
    pub(crate) port: u16,
    /// Whether its flushes are counted.
    traced: bool,
}

impl Place {
    /// Makes it.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(crate) fn new(traced: bool) -> Result<Self, Failure> {
        let dir = tempfile::Builder::new().prefix("seinhuis-peers-").tempdir()?;
        let place = Self { dir, port: ports::free()?.port(), traced };
        std::fs::create_dir(place.path("store"))?;
        place.certify()?;
        Ok(place)
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a configuration made of a template, in which `@DIR@` and `@PORT@` are filled in.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(crate) fn configure(&self, name: &str, template: &str) -> io::Result<PathBuf> {
        let text = template
            .replace("@DIR@", &self.dir.path().to_string_lossy())
            .replace("@PORT@", &self.port.to_string())
            .replace("@USER@", &std::env::var("USER").unwrap_or_else(|_| "root".to_owned()));
        let path = self.path(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// An authority, and a certificate of it for the server and for all clients.
    fn certify(&self) -> Result<(), Failure> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        std::fs::write(self.path("ca.pem"), authority.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(authority, key);
        for (name, purpose) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.extended_key_usages = vec![purpose];
            let key = KeyPair::generate()?;
            std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem())?;
            std::fs::write(self.path(&format!("{name}.pem")), params.signed_by(&key, &issuer)?.pem())?;
        }
        Ok(())
    }

    /// How clients connect that take a configuration of rustls.
    ///
    /// # Errors
    /// When what was written cannot be read.
    pub(crate) fn tls(&self) -> Result<ClientConfig, Failure> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem"))?)?;
        let chain = vec![CertificateDer::from_pem_file(self.path("client.pem"))?];
        let key = PrivateKeyDer::from_pem_file(self.path("client.key"))?;
        let config = ClientConfig::builder().with_root_certificates(Arc::new(roots));
        Ok(config.with_client_auth_cert(chain, key)?)
    }

    /// Starts a server in this folder and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not listen; with what it last wrote.
    pub(crate) fn start(&self, command: &Command) -> Result<Server, Failure> {
        let mut server = self.spawn(command, self.traced)?;
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = server.child.try_wait()?;
            if ended.is_some() || Instant::now() > end {
                let log = std::fs::read_to_string(&server.log).unwrap_or_default();
                return Err(format!("the server does not listen; it wrote: {}", log.trim()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Starts a process in a group of its own, so that all it starts ends with it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(&self, command: &Command, traced: bool) -> Result<Server, Failure> {
        let log = self.path("server.log");
        let calls = traced.then(|| self.path("calls"));
        let mut words: Vec<OsString> = LEASH.map(OsString::from).into();
        if let Some(calls) = &calls {
            words.extend(strace(calls));
            words.extend(LEASH.map(OsString::from));
        }
        words.push(command.get_program().to_owned());
        words.extend(command.get_args().map(OsStr::to_owned));
        let (program, args) = words.split_first().ok_or("nothing to start")?;
        let mut started = Command::new(program);
        started.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        started.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = started.stdout(output.try_clone()?).stderr(output).process_group(0).spawn()?;
        Ok(Server { child, log, calls })
    }
}

/// The words by which `strace` writes each flush of what comes after them, with all its threads and children.
pub(crate) fn strace(calls: &Path) -> impl Iterator<Item = OsString> {
    // -I1: it ends when it is told to, instead of with what it runs.
    let words = ["strace", "-I1", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-e", FLUSHES, "-o"];
    words.map(OsString::from).into_iter().chain([calls.as_os_str().to_owned()])
}

/// How many flushes `strace` wrote so far.
///
/// # Errors
/// When its file cannot be read.
pub(crate) fn flushes(calls: &Path) -> io::Result<usize> {
    let text = std::fs::read_to_string(calls)?;
    // A call that another thread interrupts takes two lines, the second of which begins it anew.
    Ok(text.lines().filter(|line| line.contains('(') && !line.contains(" resumed>")).count())
}

/// Processes that run: a server, and what it starts. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    /// Where its flushes are written.
    pub(crate) calls: Option<PathBuf>,
}

impl Server {
    /// CPU seconds of it and of all that it started and that still runs (proc(5)).
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn cpu(&self) -> io::Result<f64> {
        let mut parents = BTreeMap::new();
        let mut ticks = BTreeMap::new();
        for entry in std::fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if let Some((parent, spent)) = stat(pid) {
                parents.insert(pid, parent);
                ticks.insert(pid, spent);
            }
        }
        let own = self.child.id();
        let ours = |mut pid: u32| loop {
            if pid == own {
                return true;
            }
            match parents.get(&pid) {
                Some(parent) => pid = *parent,
                None => return false,
            }
        };
        Ok(ticks.iter().filter(|(pid, _)| ours(**pid)).map(|(_, spent)| spent).sum())
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Who has ended already needs no signal.
            _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let end = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.signal(Signal::KILL);
        _ = self.child.wait();
    }
}

/// A process's parent, and its CPU seconds, user and system; none when it has ended.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn stat(pid: u32) -> Option<(u32, f64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Fields 4, 14 and 15, counted after the name, which may itself hold spaces.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // A hundredth of a second each on Linux, whatever the kernel's own clock (times(2), USER_HZ).
    Some((fields.get(1)?.parse().ok()?, (ticks(11)? + ticks(12)?) as f64 / 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_in_two_lines_is_one_flush() {
        let dir = tempfile::tempdir().unwrap();
        let calls = dir.path().join("calls");
        let text = "7 fdatasync(5) = 0\n8 fsync(6 <unfinished ...>\n7 fdatasync(5) = 0\n8 <... fsync resumed>) = 0\n";
        std::fs::write(&calls, text).unwrap();
        assert_eq!(flushes(&calls).unwrap(), 3);
    }

    #[test]
    fn all_that_a_server_starts_is_counted_and_ends_with_it() {
        let place = Place::new(false).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'while :; do :; done' & echo $! > busy; wait"]);
        let server = place.spawn(&command, false).unwrap();
        std::thread::sleep(Duration::from_millis(700));
        assert!(server.cpu().unwrap() > 0.1);
        let busy: u32 = std::fs::read_to_string(place.path("busy")).unwrap().trim().parse().unwrap();
        assert!(stat(busy).is_some());
        drop(server);
        let end = Instant::now() + PATIENCE;
        while stat(busy).is_some() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(stat(busy).is_none());
    }
}
