//! The local control socket: how a command talks to the daemon that runs on the same machine.
//!
//! One frame is a length (u32, big endian) and that much JSON. A reply is `{"ok": ...}` or
//! `{"fault": "..."}` when the request itself could not be handled. Only the daemon's own user can
//! connect: the socket is 0600 in a folder that must be 0700.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::complaint::{Complaint, Doing};
use crate::files;
use crate::lang::Text;

/// Most bytes of a request.
pub const REQUEST_MAX: usize = 2 * 1024 * 1024;
/// Most bytes of a reply.
pub const REPLY_MAX: usize = 64 * 1024 * 1024;
/// What is added to the socket's name while nothing listens on it yet.
const FRESH: &str = ".new";
/// Most bytes of a socket's path: what the operating system's address holds, with its closing zero, less
/// [`FRESH`].
const SOCKET_PATH_MAX: usize = 107 - FRESH.len();
/// Most connections served at the same time.
const CONNECTIONS_MAX: usize = 16;
/// Longest wait for the next byte of a request, so that a silent peer does not keep its place.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A bound control socket; removed when serving ends.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Control {
    /// Binds the socket. One that a crashed daemon left behind is removed; one that is answered, or a
    /// file that is no socket, is left alone.
    ///
    /// # Errors
    /// A sentence naming the path: already running, not a socket, folder open to others, path too long.
    pub fn bind(path: &Path) -> Result<Self, Complaint> {
        short_enough(path)?;
        // The folder keeps others out in the moment between binding and setting the mode.
        files::check_private_dir(&files::parent(path))?;
        let listener = listen_at(path, 0o600)?;
        let inode =
            fs::symlink_metadata(path).map_err(|error| Complaint::io(Doing::Socket, path, &error))?.ino();
        Ok(Self { listener, path: path.to_path_buf(), inode })
    }

    /// Answers requests with `handler`, each connection in its own task, until `shutdown` resolves.
    /// Requests in progress are then abandoned and the socket is removed.
    pub async fn serve<H, F>(self, handler: H, shutdown: impl Future<Output = ()>)
    where
        H: Fn(Value) -> F + Send + Sync + 'static,
        F: Future<Output = Value> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut tasks = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            while tasks.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await;
                    (place, self.listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(place), Ok((stream, _))) => {
                    let handler = Arc::clone(&handler);
                    tasks.spawn(async move {
                        if let Err(error) = connection(stream, handler.as_ref()).await {
                            tracing::debug!(%error, "control connection ended");
                        }
                        drop(place);
                    });
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "control socket cannot accept");
                    // Out of descriptors: give others time to close theirs.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                (Err(_), Ok(_)) => break,
            }
        }
        tasks.shutdown().await;
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "control socket cannot be removed");
        }
    }
}

/// Binds and serves in one call; see [`Control`].
///
/// # Errors
/// As [`Control::bind`].
pub async fn serve<H, F>(path: &Path, handler: H, shutdown: impl Future<Output = ()>) -> Result<(), Complaint>
where
    H: Fn(Value) -> F + Send + Sync + 'static,
    F: Future<Output = Value> + Send + 'static,
{
    Control::bind(path)?.serve(handler, shutdown).await;
    Ok(())
}

/// Listens on a Unix socket with this mode. One that a crashed process left behind is removed; one that is answered, or a
/// file that is no socket, is left alone. Needs a tokio runtime.
///
/// # Errors
/// A sentence naming the path.
pub fn listen_at(path: &Path, mode: u32) -> Result<UnixListener, Complaint> {
    let fail = |error: io::Error| Complaint::io(Doing::Socket, path, &error);
    short_enough(path)?;
    remove_stale(path)?;
    // A socket refuses callers between being bound and being listened on, and a refusal means that
    // nobody is running: so it gets its name only once it listens.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(FRESH);
    let fresh = PathBuf::from(fresh);
    remove_stale(&fresh)?;
    let listener = UnixListener::bind(&fresh).map_err(fail)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)).map_err(fail)?;
    fs::rename(&fresh, path).map_err(fail)?;
    Ok(listener)
}

fn short_enough(path: &Path) -> Result<(), Complaint> {
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(Complaint::usage(
            Text::new(
                format!(
                    "Het pad {} is te lang voor een socket (hoogstens {SOCKET_PATH_MAX} tekens).",
                    path.display()
                ),
                format!(
                    "The path {} is too long for a socket (at most {SOCKET_PATH_MAX} characters).",
                    path.display()
                ),
            ),
            Text::new("Kies een map met een korter pad.", "Choose a folder with a shorter path."),
        ));
    }
    Ok(())
}

fn remove_stale(path: &Path) -> Result<(), Complaint> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Complaint::io(Doing::Socket, path, &error)),
    };
    if !meta.file_type().is_socket() {
        return Err(Complaint::usage(
            Text::new(
                format!("{} bestaat en is geen socket.", path.display()),
                format!("{} exists and is not a socket.", path.display()),
            ),
            Text::new(
                "Zet het bestand opzij of kies een andere map.",
                "Move the file aside or choose another folder.",
            ),
        ));
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| Complaint::io(Doing::Remove, path, &error))
        }
        Err(error) => Err(Complaint::io(Doing::Socket, path, &error)),
        Ok(_) => Err(Complaint::usage(
            Text::new(
                format!("Er draait al een proces op {}.", path.display()),
                format!("A process is running already on {}.", path.display()),
            ),
            Text::new("Stop het eerst, of gebruik een andere map.", "Stop it first, or use another folder."),
        )),
    }
}

async fn connection<H, F>(mut stream: UnixStream, handler: &H) -> io::Result<()>
where
    H: Fn(Value) -> F,
    F: Future<Output = Value>,
{
    loop {
        let mut head = [0; 4];
        match timed(stream.read_exact(&mut head)).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
        if length > REQUEST_MAX {
            return send(&mut stream, &fault("the request is too large")).await;
        }
        let mut body = Vec::new();
        let mut limited = (&mut stream).take(u64::from(u32::from_be_bytes(head)));
        if timed(limited.read_to_end(&mut body)).await? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let reply = match serde_json::from_slice(&body) {
            Ok(request) => json!({ "ok": handler(request).await }),
            Err(error) => fault(&format!("the request is no JSON: {error}")),
        };
        send(&mut stream, &reply).await?;
    }
}

async fn timed<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(READ_TIMEOUT, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn fault(text: &str) -> Value {
    json!({ "fault": text })
}

async fn send(stream: &mut UnixStream, reply: &Value) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(reply).map_err(io::Error::other)?;
    if bytes.len() > REPLY_MAX {
        bytes = fault("the reply is too large; ask for less").to_string().into_bytes();
    }
    stream.write_all(&frame(&bytes)?).await
}

fn frame(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes(), bytes].concat())
}

/// Why a call to a daemon failed.
#[derive(Debug)]
pub enum CallError {
    /// Nothing listens: the daemon is not running (or uses another folder).
    NotRunning,
    /// The socket belongs to another user.
    NotAllowed,
    /// The request is larger than [`REQUEST_MAX`].
    TooLarge,
    /// The daemon did not answer in time, or hung up: it may have stopped just now.
    Broken(io::Error),
    /// The daemon could not handle the request at all.
    Fault(String),
    /// The reply is not what this version understands.
    BadReply(String),
}

impl CallError {
    /// The sentence for the user; `program` is the daemon's name, as in `seinhuis-broker`.
    pub fn complaint(&self, program: &str, path: &Path) -> Complaint {
        let at = path.display();
        let (nl, en) = match self {
            Self::NotRunning => (
                format!("{program} draait niet (geen antwoord op {at})."),
                format!("{program} is not running (no answer on {at})."),
            ),
            Self::NotAllowed => (
                format!("Deze gebruiker mag {program} niet bedienen ({at})."),
                format!("This user may not operate {program} ({at})."),
            ),
            Self::TooLarge => (
                format!("De opdracht is te groot (hoogstens {REQUEST_MAX} bytes)."),
                format!("The request is too large (at most {REQUEST_MAX} bytes)."),
            ),
            Self::Broken(error) => (
                format!("{program} brak het gesprek af: {error}."),
                format!("{program} broke off the conversation: {error}."),
            ),
            Self::Fault(text) | Self::BadReply(text) => (
                format!("{program} en deze opdracht verstaan elkaar niet: {text}."),
                format!("{program} and this command do not understand each other: {text}."),
            ),
        };
        let advice = match self {
            Self::NotRunning => Text::new(
                format!("Start het: {program} run . Draait het al? Controleer dan de map."),
                format!("Start it: {program} run . Running already? Then check the folder."),
            ),
            Self::NotAllowed => Text::new(
                "Voer de opdracht uit als de gebruiker waaronder het proces draait.",
                "Run the command as the user the process runs as.",
            ),
            Self::TooLarge => Text::new("Lever minder tegelijk aan.", "Supply less at a time."),
            Self::Broken(_) => {
                Text::new("Bekijk het logboek en probeer het opnieuw.", "See its log and try again.")
            }
            Self::Fault(_) | Self::BadReply(_) => Text::new(
                "Gebruik van beide dezelfde versie; herstart na een update.",
                "Use the same version of both; restart after an update.",
            ),
        };
        Complaint::usage(Text::new(nl, en), advice)
    }
}

/// Sends one request and waits at most `timeout` for each part of the reply. Blocking.
///
/// # Errors
/// [`CallError`].
pub fn call<Req, Resp>(path: &Path, request: &Req, timeout: Duration) -> Result<Resp, CallError>
where
    Req: Serialize,
    Resp: DeserializeOwned,
{
    let body = serde_json::to_vec(request).map_err(|error| CallError::BadReply(error.to_string()))?;
    if body.len() > REQUEST_MAX {
        return Err(CallError::TooLarge);
    }
    let mut stream = StdUnixStream::connect(path).map_err(|error| {
        let kind = error.kind();
        if kind == io::ErrorKind::PermissionDenied {
            CallError::NotAllowed
        } else if matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
            CallError::NotRunning
        } else {
            CallError::Broken(error)
        }
    })?;
    let reply = exchange(&mut stream, &body, timeout).map_err(CallError::Broken)?;
    let mut reply: Value =
        serde_json::from_slice(&reply).map_err(|error| CallError::BadReply(error.to_string()))?;
    if let Some(text) = reply.get("fault").and_then(Value::as_str) {
        return Err(CallError::Fault(text.to_owned()));
    }
    let answer = reply.get_mut("ok").map(Value::take).unwrap_or_default();
    serde_json::from_value(answer).map_err(|error| CallError::BadReply(error.to_string()))
}

/// Who answers a command.
#[derive(Debug)]
pub enum Answered<R, S> {
    /// The daemon runs, and this is its reply.
    Running(R),
    /// No daemon runs; the store is open for the command itself.
    Opened(S),
}

/// Sends one request as [`call`] does; where no daemon runs, opens the store in its place. A daemon that
/// starts between the two has the store by then, and is called again.
///
/// # Errors
/// A sentence, of the call or of opening; `program` is the daemon's name, as in `seinhuis-broker`.
pub fn call_or_open<Req, Resp, S>(
    (program, path): (&str, &Path),
    request: &Req,
    timeout: Duration,
    open: impl FnOnce() -> Result<S, Complaint>,
) -> Result<Answered<Resp, S>, Complaint>
where
    Req: Serialize,
    Resp: DeserializeOwned,
{
    let complaint = |error: CallError| error.complaint(program, path);
    match call(path, request, timeout) {
        Ok(reply) => Ok(Answered::Running(reply)),
        Err(CallError::NotRunning) => match open() {
            Ok(store) => Ok(Answered::Opened(store)),
            Err(closed) => match call(path, request, timeout) {
                Ok(reply) => Ok(Answered::Running(reply)),
                Err(CallError::NotRunning) => Err(closed),
                Err(error) => Err(complaint(error)),
            },
        },
        Err(error) => Err(complaint(error)),
    }
}

fn exchange(stream: &mut StdUnixStream, body: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(&frame(body)?)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let length = u64::from(u32::from_be_bytes(head));
    if length > u64::try_from(REPLY_MAX).unwrap_or(u64::MAX) {
        return Err(io::Error::other("the reply is too large"));
    }
    let mut reply = Vec::new();
    stream.take(length).read_to_end(&mut reply)?;
    if u64::try_from(reply.len()).ok() != Some(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde::Deserialize;
    use tokio::sync::oneshot;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    struct Number {
        n: u64,
    }

    async fn double(request: Value) -> Value {
        json!({ "n": request["n"].as_u64().unwrap_or_default() * 2 })
    }

    fn private_dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        dir
    }

    /// Serves at a path in a fresh folder while `test` runs on another thread.
    async fn with_server<T: Send + 'static>(
        test: impl FnOnce(PathBuf) -> T + Send + 'static,
    ) -> (T, PathBuf) {
        let dir = private_dir();
        let path = dir.path().join("control.sock");
        let control = Control::bind(&path).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(control.serve(double, async {
            stopped.await.unwrap();
        }));
        let at = path.clone();
        let result = tokio::task::spawn_blocking(move || test(at)).await.unwrap();
        stop.send(()).unwrap();
        server.await.unwrap();
        assert!(!path.exists(), "the socket is removed");
        (result, path)
    }

    #[tokio::test]
    async fn a_call_is_answered_and_only_the_owner_can_connect() {
        let (mode, path) = with_server(|path| {
            let reply: Number = call(&path, &Number { n: 21 }, LONG).unwrap();
            assert_eq!(reply, Number { n: 42 });
            fs::metadata(&path).unwrap().permissions().mode() & 0o777
        })
        .await;
        assert_eq!(mode, 0o600);
        assert!(matches!(call::<_, Number>(&path, &Number { n: 1 }, LONG), Err(CallError::NotRunning)));
    }

    #[tokio::test]
    async fn a_socket_that_can_be_seen_can_be_called() {
        let dir = private_dir();
        let path = dir.path().join("control.sock");
        let calls = Arc::new(AtomicU32::new(0));
        let (seen, counted) = (path.clone(), Arc::clone(&calls));
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let caller = std::thread::spawn(move || {
            while matches!(stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
                match StdUnixStream::connect(&seen) {
                    Ok(_) => _ = counted.fetch_add(1, Ordering::Relaxed),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
                }
            }
        });
        // Those of the round before go on listening, so that none refuses because it is gone.
        let mut before = Vec::new();
        while calls.load(Ordering::Relaxed) < 20 && !caller.is_finished() {
            let mut running = Vec::new();
            for _ in 0..150 {
                running.push(Control::bind(&path).unwrap());
                fs::rename(&path, dir.path().join("aside")).unwrap();
            }
            std::thread::yield_now();
            before = running;
        }
        _ = stop.send(());
        caller.join().unwrap();
        drop(before);
    }

    #[tokio::test]
    async fn a_daemon_that_starts_just_now_is_called_and_not_stood_in_for() {
        let (reply, gone) = with_server(|path| {
            let aside = path.with_extension("aside");
            fs::rename(&path, &aside).unwrap();
            let taken = || -> Result<(), Complaint> {
                fs::rename(&aside, &path).unwrap();
                Err(Complaint::bug("the store is in use"))
            };
            call_or_open::<_, Number, ()>(("daemon", &path), &Number { n: 3 }, LONG, taken).unwrap()
        })
        .await;
        assert!(matches!(reply, Answered::Running(Number { n: 6 })), "{reply:?}");
        let ask = |open: Result<u8, Complaint>| {
            call_or_open::<_, Number, u8>(("daemon", &gone), &Number { n: 3 }, LONG, || open)
        };
        assert!(matches!(ask(Ok(1)), Ok(Answered::Opened(1))));
        assert!(ask(Err(Complaint::bug("damaged"))).unwrap_err().to_string().contains("damaged"));
    }

    #[tokio::test]
    async fn a_second_server_is_refused_while_the_first_runs() {
        with_server(|path| {
            let error = remove_stale(&path).unwrap_err();
            assert!(error.what.en.contains("running already"), "{error}");
            call::<_, Number>(&path, &Number { n: 1 }, LONG).unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn bad_requests_get_a_fault_and_leave_the_server_up() {
        with_server(|path| {
            let send = |bytes: &[u8]| {
                let mut stream = StdUnixStream::connect(&path).unwrap();
                stream.write_all(bytes).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let mut reply = Vec::new();
                stream.read_to_end(&mut reply).unwrap();
                String::from_utf8_lossy(&reply).into_owned()
            };
            assert!(send(&[0, 0, 0, 1, b'{']).contains("no JSON"));
            assert!(send(&[0xff; 4]).contains("too large"));
            assert_eq!(send(&[0, 0, 0, 9, b'{']), "");
            let wrong = call::<_, Vec<u8>>(&path, &Number { n: 1 }, LONG);
            assert!(matches!(wrong, Err(CallError::BadReply(_))));
            let large = "x".repeat(REQUEST_MAX);
            assert!(matches!(call::<_, Number>(&path, &large, LONG), Err(CallError::TooLarge)));
            call::<_, Number>(&path, &Number { n: 1 }, LONG).unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_left_behind_socket_is_replaced_and_a_file_is_not() {
        let dir = private_dir();
        let path = dir.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(Control::bind(&path).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "notes").unwrap();
        assert!(Control::bind(&path).unwrap_err().what.en.contains("not a socket"));
        assert_eq!(fs::read(&path).unwrap(), b"notes");
    }

    #[tokio::test]
    async fn an_open_folder_and_an_endless_path_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = Control::bind(&dir.path().join("control.sock")).unwrap_err();
        assert!(error.advice.en.contains("chmod 700"), "{error}");
        assert!(Control::bind(&dir.path().join("x".repeat(120))).unwrap_err().what.en.contains("too long"));
    }

    #[test]
    fn every_call_error_says_what_to_do() {
        for error in [
            CallError::NotRunning,
            CallError::NotAllowed,
            CallError::TooLarge,
            CallError::Broken(io::ErrorKind::TimedOut.into()),
            CallError::Fault("f".into()),
            CallError::BadReply("b".into()),
        ] {
            let complaint = error.complaint("seinhuis-broker", Path::new("/run/s"));
            assert!(!complaint.advice.nl.is_empty() && complaint.what.nl != complaint.what.en, "{error:?}");
        }
    }
}
