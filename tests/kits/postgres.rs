//! A real `PostgreSQL` server of one's own, in a temporary folder: from Debian's package, which is looked for where that
//! puts it. It refuses to run as root, so that root runs it as another user.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The environment variable that is set where the server has to be there.
pub const REQUIRED: &str = "SEINHUIS_POSTGRES_REQUIRED";
/// Who may do everything, and logs in without a password over the Unix socket.
const BOSS: &str = "boss";
/// The password of the database's user.
pub const PASSWORD: &str = "wachtwoord";
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
pub fn missing() -> Option<String> {
    programs()
        .is_none()
        .then(|| "no PostgreSQL server in /usr/lib/postgresql (Debian: postgresql)".to_owned())
}

/// A server; ended when dropped.
#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    dir: tempfile::TempDir,
    /// Its port, which is in the name of its Unix socket too.
    pub port: u16,
    user: Option<(u32, u32)>,
    child: Option<Child>,
}

impl Postgres {
    /// A server with a database and user `seinhuis`, whose password is [`PASSWORD`].
    ///
    /// # Errors
    /// When it is not there or does not start.
    pub fn start() -> io::Result<Self> {
        Self::start_with(|_| String::new())
    }

    /// As [`Self::start`], with more settings, for which files can be put in the folder.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(settings: impl FnOnce(&Path) -> String) -> io::Result<Self> {
        let mut server = Self::made(settings)?;
        server.first()?;
        Ok(server)
    }

    /// One that was not started yet, for who has to be able to end it from then on; with more settings.
    ///
    /// # Errors
    /// When it is not there or its folder cannot be made.
    pub fn made(settings: impl FnOnce(&Path) -> String) -> io::Result<Self> {
        let bin = programs().ok_or_else(|| io::Error::other("no PostgreSQL server"))?;
        let dir = tempfile::Builder::new().prefix("seinhuis-pg-").tempdir()?;
        let is_root = fs::metadata(dir.path())?.uid() == 0;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let server = Self { bin, dir, port, user: is_root.then(user), child: None };
        server.own(server.dir.path())?;
        let made = server
            .command("initdb")
            .args(["-U", BOSS, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(server.data())
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        let hba = format!(
            "local all {BOSS} trust\nlocal all all scram-sha-256\nhost all {BOSS} all reject\nhost all all all scram-sha-256\n"
        );
        fs::write(server.data().join("pg_hba.conf"), hba)?;
        let more = settings(server.dir.path());
        let conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
             password_encryption = 'scram-sha-256'\n{more}\n",
            server.dir.path().display()
        );
        fs::write(server.data().join("postgresql.auto.conf"), conf)?;
        for entry in fs::read_dir(server.dir.path())? {
            server.own(&entry?.path())?;
        }
        Ok(server)
    }

    /// Starts it for the first time, and makes user and database.
    ///
    /// # Errors
    /// As [`Self::again`].
    pub fn first(&mut self) -> io::Result<()> {
        self.again()?;
        self.run("postgres", &format!("CREATE ROLE seinhuis LOGIN PASSWORD '{PASSWORD}'"))?;
        self.run("postgres", "CREATE DATABASE seinhuis")?;
        Ok(())
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        match self.user {
            Some((user, group)) => chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The folder of its Unix socket.
    pub fn socket(&self) -> &Path {
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
    ///
    /// # Errors
    /// When it does not start: what it said.
    pub fn again(&mut self) -> io::Result<()> {
        self.stop();
        let path = self.dir.path().join("log");
        let log = fs::File::options().create(true).append(true).open(&path)?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let running = self.child.insert(command.spawn()?).id();
        let begun = Instant::now();
        while self.run("postgres", "SELECT 1").is_err() {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let told = fs::read_to_string(&path)?;
                return Err(io::Error::other(format!(
                    "PostgreSQL (process {running}) does not start: {told}"
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Stops it at once; connections end.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
            _ = child.wait();
        }
    }

    fn run(&self, database: &str, text: &str) -> io::Result<String> {
        let ran = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-U", BOSS, "-d", database])
            .arg("-h")
            .arg(self.socket())
            .args(["-p", &self.port.to_string(), "-c", text])
            .output()?;
        let said = if ran.status.success() { &ran.stdout } else { &ran.stderr };
        let said = String::from_utf8_lossy(said).trim().to_owned();
        if ran.status.success() { Ok(said) } else { Err(io::Error::other(said)) }
    }

    /// Has the server do something in the database, as who may do everything; what it answers.
    ///
    /// # Errors
    /// What it says against it.
    pub fn sql(&self, text: &str) -> io::Result<String> {
        self.run("seinhuis", text)
    }

    /// The settings of a source, `zaken`, on the table of [`TABLE`] for a flow to a recipient. Its files are in the agent's
    /// folder: see [`put_source`].
    pub fn source(&self, flow: &str, to: &str) -> String {
        format!(
            "\n[[sql]]\nname = \"zaken\"\nhost = {:?}\nport = {}\ndatabase = \"seinhuis\"\nuser = \"seinhuis\"\npassword = \"pw\"\n\
             query = \"q.sql\"\nmapping = \"m.toml\"\nmark = \"peil\"\nstart = \"0\"\nevery_s = 1\nflow = \"{flow}\"\nto = [\"{to}\"]\nstep = \"1\"\n",
            self.socket().display().to_string(),
            self.port
        )
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Puts the files of [`Postgres::source`] in an agent's folder.
///
/// # Errors
/// When they cannot be written.
pub fn put_source(home: &Path) -> io::Result<()> {
    fs::write(home.join("q.sql"), QUERY)?;
    fs::write(home.join("m.toml"), MAPPING)?;
    secret(&home.join("pw"), &format!("{PASSWORD}\n"))
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
///
/// # Errors
/// When it cannot be written.
pub fn secret(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// A table with signals about a group, and who may read it.
pub const TABLE: &str = "
CREATE TABLE sein (nr text PRIMARY KEY, peil bigint NOT NULL, wijk text, dagdelen text[], sinds date,
                   minimaal int, gedrag text, toelichting text);
GRANT SELECT ON sein TO seinhuis;
";

/// Adds rows `from` to `until` to it, each with its own mark.
pub fn rows(from: u32, until: u32) -> String {
    format!(
        "INSERT INTO sein SELECT 'K' || g, g, 'De Zonnewijzer', ARRAY['avond', 'nacht'], DATE '2026-01-22', 1 + g % 90,
         'geluid,vuurwerk', 'Rij ' || g || ': de blauwe vlieger' FROM generate_series({from}, {until}) AS g"
    )
}

/// The query of that table.
pub const QUERY: &str = "SELECT * FROM sein -- rows of the group\nWHERE peil >= $1;\n";

/// Its mapping, for the body of a signal about a group.
pub const MAPPING: &str = r#"
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
