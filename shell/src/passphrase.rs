//! Where the passphrase of sealed keys comes from: a file, a systemd credential, or the terminal; never the command
//! line, which others on the machine can read.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::complaint::{Complaint, Doing};
use crate::files;
use crate::lang::{Lang, Text};

/// The environment variable that names the file.
pub const VARIABLE: &str = "SEINHUIS_PASSPHRASE_FILE";
/// The name of the systemd credential.
pub const CREDENTIAL: &str = "seinhuis-passphrase";
/// Least characters of a passphrase that something is sealed with.
const LEAST: usize = 12;
/// Most bytes of a passphrase.
const MOST: usize = 1024;

/// A passphrase; wiped when dropped.
pub type Passphrase = Zeroizing<Vec<u8>>;

/// What one process knows: it has one terminal and one environment.
struct Source {
    file: Option<PathBuf>,
    lang: Lang,
    /// What was typed, so that it is asked once.
    typed: Option<Passphrase>,
}

static SOURCE: Mutex<Source> = Mutex::new(Source { file: None, lang: Lang::En, typed: None });

fn source() -> MutexGuard<'static, Source> {
    SOURCE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says which file to read it from, if any, and in which language to ask for it otherwise.
pub fn read_from(file: Option<PathBuf>, lang: Lang) {
    let mut source = source();
    (source.file, source.lang) = (file, lang);
}

/// The passphrase that keys were sealed with.
///
/// # Errors
/// A sentence when there is no place to get it from, or the file is missing, readable by others, empty or too long.
pub fn get() -> Result<Passphrase, Complaint> {
    if let Some(found) = from_files()? {
        return Ok(found);
    }
    let mut source = source();
    if let Some(typed) = &source.typed {
        return Ok(typed.clone());
    }
    let typed = ask(source.lang.pick("Wachtwoordzin van de sleutels: ", "Passphrase of the keys: "))?;
    source.typed = Some(typed.clone());
    Ok(typed)
}

/// A passphrase to seal with: long enough, and typed twice where it is typed.
///
/// # Errors
/// As [`get`], and when it is too short or the two differ.
pub fn choose() -> Result<Passphrase, Complaint> {
    let chosen = if let Some(found) = from_files()? { found } else { typed_twice()? };
    if String::from_utf8_lossy(&chosen).chars().count() < LEAST {
        return Err(Complaint::usage(
            Text::new("De wachtwoordzin is te kort.", "The passphrase is too short."),
            Text::new(
                format!("Neem er een van minstens {LEAST} tekens, zoals zes willekeurige woorden."),
                format!("Take one of at least {LEAST} characters, such as six random words."),
            ),
        ));
    }
    Ok(chosen)
}

fn typed_twice() -> Result<Passphrase, Complaint> {
    let lang = source().lang;
    let first = ask(lang.pick("Nieuwe wachtwoordzin: ", "New passphrase: "))?;
    if first == ask(lang.pick("Nog een keer: ", "Once more: "))? {
        return Ok(first);
    }
    Err(Complaint::usage(
        Text::new("De twee zijn niet gelijk.", "The two are not the same."),
        Text::new("Er is niets gewijzigd; probeer het opnieuw.", "Nothing was changed; try again."),
    ))
}

fn from_files() -> Result<Option<Passphrase>, Complaint> {
    let named = source().file.clone();
    if let Some(path) = named {
        return first_line(&path, files::read_private(&path, MOST)?).map(Some);
    }
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join(CREDENTIAL));
    match credential.filter(|path| path.exists()) {
        Some(path) => first_line(&path, files::read_credential(&path, MOST)?).map(Some),
        None => Ok(None),
    }
}

/// The first line of what was read from a file that others cannot read.
fn first_line(path: &Path, bytes: Vec<u8>) -> Result<Passphrase, Complaint> {
    let bytes = Zeroizing::new(bytes);
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Complaint::usage(
            Text::new(
                format!("{} bevat geen wachtwoordzin.", path.display()),
                format!("{} holds no passphrase.", path.display()),
            ),
            Text::new("Zet hem op de eerste regel.", "Put it on the first line."),
        ));
    }
    Ok(Zeroizing::new(line.to_vec()))
}

fn ask(prompt: &str) -> Result<Passphrase, Complaint> {
    if !io::stdin().is_terminal() {
        return Err(Complaint::usage(
            Text::new(
                "De sleutels zijn verzegeld en er is geen wachtwoordzin gegeven.",
                "The keys are sealed and no passphrase was given.",
            ),
            Text::new(
                format!(
                    "Geef --passphrase-file, zet {VARIABLE}, of maak de systemd-credential {CREDENTIAL}."
                ),
                format!(
                    "Give --passphrase-file, set {VARIABLE}, or make the systemd credential {CREDENTIAL}."
                ),
            ),
        ));
    }
    let typed = rpassword::prompt_password(prompt)
        .map_err(|error| Complaint::io(Doing::Read, Path::new("/dev/tty"), &error))?;
    Ok(Zeroizing::new(typed.into_bytes()))
}
