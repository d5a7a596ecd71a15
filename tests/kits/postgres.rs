//! A real `PostgreSQL` server of a test's own, in a temporary folder: from Debian's package, which is looked for where that
//! puts it. It refuses to run as root, so that root runs it as another user.
#![allow(
    clippy::unwrap_used,
    reason = "a failed unwrap is a failed test; who includes this expects it too, or not"
)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The environment variable that is set where the server has to be there.
pub(crate) const REQUIRED: &str = "SEINHUIS_POSTGRES_REQUIRED";
/// Who may do everything, and logs in without a password over the Unix socket.
const BOSS: &str = "boss";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Where the server's programs are.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| {
            bin.join("initdb").exists() && bin.join("postgres").exists() && bin.join("psql").exists()
        })
        .collect();
    found.sort();
    found.pop()
}

/// What is missing, if something is.
pub(crate) fn missing() -> Option<String> {
    programs()
        .is_none()
        .then(|| "no PostgreSQL server in /usr/lib/postgresql (Debian: postgresql)".to_owned())
}

/// A server; ended when dropped.
pub(crate) struct Postgres {
    bin: PathBuf,
    dir: tempfile::TempDir,
    pub(crate) port: u16,
    user: Option<(u32, u32)>,
    child: Option<Child>,
}

impl Postgres {
    /// A server with a database and user `seinhuis`, whose password is `wachtwoord`.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| String::new())
    }

    /// As [`Self::start`], with more settings, for which files can be put in the folder.
    pub(crate) fn start_with(settings: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::Builder::new().prefix("seinhuis-pg-").tempdir().unwrap();
        let is_root = fs::metadata(dir.path()).unwrap().uid() == 0;
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let user = is_root.then(user);
        let mut server = Self { bin: programs().unwrap(), dir, port, user, child: None };
        server.own(server.dir.path());
        let made = server
            .command("initdb")
            .args(["-U", BOSS, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(server.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let hba = format!(
            "local all {BOSS} trust\nlocal all all scram-sha-256\nhost all {BOSS} all reject\nhost all all all scram-sha-256\n"
        );
        fs::write(server.data().join("pg_hba.conf"), hba).unwrap();
        let more = settings(server.dir.path());
        let conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
             password_encryption = 'scram-sha-256'\n{more}\n",
            server.dir.path().display()
        );
        fs::write(server.data().join("postgresql.auto.conf"), conf).unwrap();
        for entry in fs::read_dir(server.dir.path()).unwrap() {
            server.own(&entry.unwrap().path());
        }
        server.again();
        server.run("postgres", "CREATE ROLE seinhuis LOGIN PASSWORD 'wachtwoord'");
        server.run("postgres", "CREATE DATABASE seinhuis");
        server
    }

    fn own(&self, path: &Path) {
        if let Some((user, group)) = self.user {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The folder of its Unix socket.
    pub(crate) fn socket(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let Some((user, group)) = self.user else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={group}"))
            .arg("--clear-groups")
            .arg(program);
        command
    }

    /// Starts it, after it was stopped.
    pub(crate) fn again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while !self.try_run("postgres", "SELECT 1").0 {
            assert!(
                begun.elapsed() < PATIENCE,
                "{}",
                fs::read_to_string(self.dir.path().join("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it at once; connections end.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
            _ = child.wait();
        }
    }

    fn try_run(&self, database: &str, text: &str) -> (bool, String) {
        let ran = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-U", BOSS, "-d", database])
            .arg("-h")
            .arg(self.socket())
            .args(["-p", &self.port.to_string(), "-c", text])
            .output()
            .unwrap();
        let said = if ran.status.success() { ran.stdout } else { ran.stderr };
        (ran.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
    }

    fn run(&self, database: &str, text: &str) -> String {
        let (good, said) = self.try_run(database, text);
        assert!(good, "{said}");
        said
    }

    /// Has the server do something in the database, as who may do everything; what it answers.
    pub(crate) fn sql(&self, text: &str) -> String {
        self.run("seinhuis", text)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whom root runs the server as.
fn user() -> (u32, u32) {
    let id = |flag: &str| {
        let ran = Command::new("id").args([flag, "postgres"]).output().ok()?;
        String::from_utf8_lossy(&ran.stdout).trim().parse().ok()
    };
    id("-u").zip(id("-g")).unwrap_or((65_534, 65_534))
}

/// A file for its owner alone.
pub(crate) fn secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A table with signals about a group, and who may read it.
pub(crate) const TABLE: &str = "
CREATE TABLE sein (nr text PRIMARY KEY, peil bigint NOT NULL, wijk text, dagdelen text[], sinds date,
                   minimaal int, gedrag text, toelichting text);
GRANT SELECT ON sein TO seinhuis;
";

/// Adds rows `from` to `until` to it, each with its own mark.
pub(crate) fn rows(from: u32, until: u32) -> String {
    format!(
        "INSERT INTO sein SELECT 'K' || g, g, 'De Zonnewijzer', ARRAY['avond', 'nacht'], DATE '2026-01-22', 1 + g % 90,
         'geluid,vuurwerk', 'Rij ' || g || ': de blauwe vlieger' FROM generate_series({from}, {until}) AS g"
    )
}

/// The query of that table.
pub(crate) const QUERY: &str = "SELECT * FROM sein -- rows of the group\nWHERE peil >= $1;\n";

/// Its mapping, for the body of a signal about a group.
pub(crate) const MAPPING: &str = r#"
id = "nr"
[[field]]
to = "/locatie/gemeente"
type = "fixed"
value = "Voorbeeldstad"
[[field]]
column = "wijk"
to = "/locatie/wijk"
type = "text"
[[field]]
to = "/locatie/plek"
type = "fixed"
value = "Pleintje"
[[field]]
to = "/tijd/weekdagen"
type = "fixed"
value = ["do", "vr"]
[[field]]
column = "dagdelen"
to = "/tijd/dagdelen"
type = "list"
[[field]]
column = "sinds"
to = "/tijd/sinds"
type = "date"
[[field]]
column = "minimaal"
to = "/omvang/minimaal"
type = "integer"
[[field]]
column = "minimaal"
to = "/omvang/maximaal"
type = "integer"
[[field]]
to = "/leeftijdsband"
type = "fixed"
value = "16_17"
[[field]]
column = "gedrag"
to = "/gedrag"
type = "list"
[[field]]
to = "/kanaal"
type = "fixed"
value = "straat"
[[field]]
column = "toelichting"
to = "/toelichting"
type = "text"
"#;
