//! Passes: what lets an application or a person in, with what it may do.
//!
//! A pass is 32 random bytes, shown once; the file holds their SHA-256 alone. The file is looked at for each request, so that
//! a pass that is revoked ends at once, also for whoever is connected.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::keys;
use seinhuis_shell::lang::Text;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Most bytes of the file.
const FILE_MAX: usize = 1 << 20;
/// Most characters of the name of whom a pass is for.
pub const NAME_MAX: usize = 64;
/// Longest life of a pass, in days.
pub const DAYS_MAX: u32 = 1096;

/// What passes of one kind let do, and how they are made.
pub trait Kind: Ord + Clone + fmt::Debug + Serialize + DeserializeOwned {
    /// What every pass of this kind begins with, so that it is recognised where it does not belong.
    const PREFIX: &'static str;
    /// What people call one, in Dutch and English.
    const CALLED: (&'static str, &'static str);
    /// The command that makes, lists and revokes them.
    const COMMAND: &'static str;
    /// Whether each name has one pass that counts.
    const ONE_EACH: bool;

    /// Whether a pass may be for this name.
    ///
    /// # Errors
    /// A sentence that says what a name looks like.
    fn check_name(name: &str) -> Result<(), Complaint>;
}

/// A flow of a covenant, or all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// Every flow.
    Every,
    /// The flow of this name.
    Only(String),
}

impl Flow {
    pub(crate) fn read(text: &str) -> Option<Self> {
        let named =
            (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match text {
            "*" => Some(Self::Every),
            name => named.then(|| Self::Only(name.to_owned())),
        }
    }

    pub(crate) fn holds(&self, flow: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Only(name) => name == flow,
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Every => "*",
            Self::Only(name) => name,
        })
    }
}

/// A pass, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "R: Kind")]
pub struct Pass<R> {
    /// By which it is revoked.
    pub id: String,
    /// The application or person it is for. What it hands over under a key of its own is the same message under each of
    /// its passes.
    #[serde(alias = "application")]
    pub name: String,
    /// What it lets do.
    pub rights: BTreeSet<R>,
    /// SHA-256 of the pass's text.
    digest: String,
    /// When it was made.
    pub created: String,
    /// Until when it counts.
    pub expires: String,
}

impl<R: Kind> Pass<R> {
    /// Whether it lets do this.
    pub fn may(&self, right: &R) -> bool {
        self.rights.contains(right)
    }

    fn counts(&self, now: Timestamp) -> bool {
        Timestamp::parse(&self.expires).is_some_and(|until| now < until)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "R: Kind")]
struct Kept<R> {
    #[serde(alias = "tokens")]
    passes: Vec<Pass<R>>,
}

/// What tells one version of the file from another: each is written as a file of its own.
type Stamp = (u64, i64, i64, u64, u32);

/// The passes of one kind. The file is looked at each time, and read when it is another.
#[derive(Debug, Clone)]
pub struct Passes<R> {
    path: PathBuf,
    read: Arc<Mutex<Option<Read<R>>>>,
}

/// What was in the file when it was read.
#[derive(Debug)]
struct Read<R> {
    stamp: Stamp,
    passes: Arc<[Pass<R>]>,
}

impl<R: Kind> Passes<R> {
    /// Those in the file at `path`, which need not be there.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), read: Arc::default() }
    }

    /// Every pass that was made and not revoked, those that have ended too.
    ///
    /// # Errors
    /// A sentence when the file cannot be read.
    pub fn all(&self) -> Result<Arc<[Pass<R>]>, Complaint> {
        let Ok(meta) = self.path.metadata() else { return Ok(Arc::default()) };
        let stamp = (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len(), meta.mode());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.as_ref().filter(|known| known.stamp == stamp) {
            return Ok(Arc::clone(&known.passes));
        }
        let passes: Arc<[Pass<R>]> = self.load()?.into();
        *read = Some(Read { stamp, passes: Arc::clone(&passes) });
        Ok(passes)
    }

    fn load(&self) -> Result<Vec<Pass<R>>, Complaint> {
        let bytes = files::read_private(&self.path, FILE_MAX)?;
        let kept: Kept<R> = serde_json::from_slice(&bytes).map_err(|error| {
            Complaint::usage(
                Text::new(
                    format!("{} is onbruikbaar: {error}.", self.path.display()),
                    format!("{} cannot be used: {error}.", self.path.display()),
                ),
                Text::new(
                    format!("Zet het bestand opzij en maak ze opnieuw: seinhuis-agent {} add.", R::COMMAND),
                    format!("Move the file aside and make them again: seinhuis-agent {} add.", R::COMMAND),
                ),
            )
        })?;
        Ok(kept.passes)
    }

    fn keep(&self, passes: Vec<Pass<R>>) -> Result<(), Complaint> {
        let text =
            serde_json::to_vec_pretty(&Kept { passes }).map_err(|error| Complaint::bug(error.to_string()))?;
        files::write_private(&self.path, &text, Existing::Replace)
    }

    /// Makes a pass for an application or a person; its text, which is nowhere else.
    ///
    /// # Errors
    /// A sentence: a name that will not do or that has one already, or a file that cannot be written.
    pub fn add(
        &self,
        name: &str,
        rights: BTreeSet<R>,
        days: u32,
        now: Timestamp,
    ) -> Result<(Pass<R>, Zeroizing<String>), Complaint> {
        R::check_name(name)?;
        let secret = Zeroizing::new(keys::random::<32>());
        let text = Zeroizing::new(format!("{}{}", R::PREFIX, BASE64URL_NOPAD.encode(&*secret)));
        let pass = Pass {
            id: HEXLOWER.encode(&keys::random::<4>()),
            name: name.to_owned(),
            rights,
            digest: sha256(text.as_bytes()).to_string(),
            created: now.to_string(),
            expires: now.plus(Span::days(u64::from(days))).to_string(),
        };
        let _alone = files::alone(&self.path)?;
        let mut passes = self.all()?.to_vec();
        if R::ONE_EACH
            && let Some(other) = passes.iter().find(|one| one.counts(now) && is_same_name(&one.name, name))
        {
            return Err(there_already(R::COMMAND, &other.id));
        }
        passes.push(pass.clone());
        self.keep(passes)?;
        Ok((pass, text))
    }

    /// Takes a pass away.
    ///
    /// # Errors
    /// A sentence when there is no such pass, or the file cannot be written.
    pub fn revoke(&self, id: &str) -> Result<Pass<R>, Complaint> {
        let _alone = files::alone(&self.path)?;
        let (gone, kept): (Vec<Pass<R>>, Vec<Pass<R>>) =
            self.all()?.iter().cloned().partition(|pass| pass.id == id);
        let Some(gone) = gone.into_iter().next() else {
            let (nl, en) = R::CALLED;
            return Err(Complaint::refused(
                Text::new(format!("Er is geen {nl} {id}."), format!("There is no {en} {id}.")),
                Text::new(
                    format!("Kijk in de lijst: seinhuis-agent {} list.", R::COMMAND),
                    format!("See the list: seinhuis-agent {} list.", R::COMMAND),
                ),
            ));
        };
        self.keep(kept)?;
        Ok(gone)
    }

    /// The pass with this text, if it counts now. Every pass is compared, each in full, so that the time it takes tells
    /// nothing about any of them.
    ///
    /// # Errors
    /// As [`Passes::all`].
    pub fn find(&self, text: &str, now: Timestamp) -> Result<Option<Pass<R>>, Complaint> {
        let digest = sha256(text.as_bytes());
        let is = |pass: &Pass<R>| pass.digest.parse().is_ok_and(|own: Digest| own.is_same_secret(&digest));
        Ok(self
            .all()?
            .iter()
            .fold(None, |found, pass| if is(pass) && pass.counts(now) { Some(pass.clone()) } else { found }))
    }

    /// The pass of this id, if it still counts.
    pub fn still(&self, id: &str, now: Timestamp) -> Option<Pass<R>> {
        self.all().ok()?.iter().find(|pass| pass.id == id && pass.counts(now)).cloned()
    }
}

/// Whether two names are of the same person, however they are written in capitals.
pub(crate) fn is_same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn there_already(command: &str, id: &str) -> Complaint {
    Complaint::refused(
        Text::new(
            format!("Onder deze naam is er al een die geldt: {id}."),
            format!("There is one of this name already that counts: {id}."),
        ),
        Text::new(
            format!("Trek die eerst in: seinhuis-agent {command} revoke {id}. Of kies een andere naam."),
            format!("Revoke that one first: seinhuis-agent {command} revoke {id}. Or choose another name."),
        ),
    )
}
