//! Every log of this broker, from the first: the last one grows, the others are read only.
//!
//! The core counts positions through all logs; here they become a log and an index in it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use seinhuis_broker_core::{Heard, Sealed, Shard, WitnessedRow, hear, hear_unknown};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::{LogKey, Receipt};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::succession;
use seinhuis_shared::tlog::checkpoint::origin_of;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;

use crate::log::{Log, beyond};

/// One log.
#[derive(Debug, Clone)]
pub struct OneLog {
    /// Its number, from 0.
    pub number: usize,
    /// Its origin.
    pub origin: String,
    /// The name of its folder.
    pub folder: String,
    /// The position of its first entry.
    pub base: u64,
    /// Whether it has ended.
    pub closed: bool,
    /// The log.
    pub log: Log,
}

impl OneLog {
    /// The position after its last entry.
    pub fn end(&self) -> u64 {
        self.base.saturating_add(self.log.size())
    }

    /// Shows up to `most` entries from a position on, with where each stands; gives the position after them. What cannot
    /// be read, because its text is removed or damaged, is shown as none: the self-check tells of damage.
    pub(crate) fn show(&self, from: u64, most: u64, mut take: impl FnMut(u64, Option<&[u8]>)) -> u64 {
        let mut reader = self.log.reader();
        let end = self.end().min(from.saturating_add(most));
        for position in from..end {
            let index = position.saturating_sub(self.base);
            let removed = index < self.log.purged();
            take(position, if removed { None } else { reader.entry(index).ok() });
        }
        end
    }
}

/// A handle on all logs; cheap to clone.
#[derive(Debug, Clone)]
pub struct Logs {
    dir: Arc<PathBuf>,
    key: Arc<(SigningKey, LogKey)>,
    all: Arc<RwLock<Vec<OneLog>>>,
}

/// What the store knows of a log.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) shard: Shard,
    /// Number of entries.
    pub(crate) size: u64,
    /// The signed checkpoint of that size.
    pub(crate) note: Vec<u8>,
    /// The newest checkpoints that witnesses cosigned.
    pub(crate) witnessed: Vec<WitnessedRow>,
    /// Entries that are still rows, by position.
    pub(crate) rows: Vec<(u64, Vec<u8>)>,
    /// Up to which index the texts are removed.
    pub(crate) purged: u64,
}

impl Logs {
    /// Opens every log the store knows of, and checks that files and store belong together. With `aside`, files that
    /// the store does not know of are left where they are instead of refused, until [`Logs::set_aside`].
    ///
    /// # Errors
    /// A sentence when they do not make up the logs.
    pub(crate) fn open(
        dir: &Path,
        key: (SigningKey, LogKey),
        known: Vec<Known>,
        aside: bool,
    ) -> Result<Self, Complaint> {
        let logs = Self { dir: Arc::new(dir.to_path_buf()), key: Arc::new(key), all: Arc::default() };
        for one in known {
            let Known { shard, size, note, witnessed, rows, purged } = one;
            let folder = logs.folder(&shard.origin);
            let path = dir.join(&folder);
            files::make_private_dir(&path)?;
            let rows: Vec<_> =
                rows.into_iter().map(|(position, entry)| (position - shard.base, entry)).collect();
            let log = if shard.closing.is_some() {
                let log = if rows.is_empty() {
                    Log::open_closed(&path, size, purged)?
                } else {
                    Log::open(&path, size, rows)?.with_purged(purged)
                };
                log.close();
                log
            } else {
                let log = if aside {
                    Log::open_within(&path, size, rows)?
                } else {
                    beyond::check(&path)?;
                    Log::open(&path, size, rows)?
                };
                log.with_purged(purged)
            };
            log.set_note(&note);
            if let Some(closing) = &shard.closing {
                if log.root(size)? != closing.root {
                    return Err(other_root(&path));
                }
                log.set_cosigned(joined(witnessed.iter().filter(|row| row.size == size)));
            }
            let closed = shard.closing.is_some();
            logs.push(OneLog { number: 0, origin: shard.origin, folder, base: shard.base, closed, log });
        }
        if !aside {
            beyond::check_others(dir, &logs.folders())?;
        }
        Ok(logs)
    }

    /// Refuses a store in which the checkpoint that the log's folder shows is not: that was signed after its entries
    /// were durable. One that cannot be read says nothing, and is written again.
    ///
    /// # Errors
    /// A sentence that says so.
    pub(crate) fn check_shown(&self) -> Result<(), Complaint> {
        let Some(one) = self.read().last().cloned() else { return Ok(()) };
        match self.hear(&beyond::shown(one.log.dir()))? {
            Heard::Contradicts { .. } => Err(beyond::not_what_is_shown(one.log.dir(), one.log.size())),
            Heard::Nothing | Heard::Fits { .. } | Heard::Unreadable => Ok(()),
        }
    }

    /// Moves aside what the store does not know of: files of the log that grows, and whole logs. Before anything is
    /// added to a log of such a store, and after everything that may refuse that.
    ///
    /// # Errors
    /// A sentence when a file cannot be moved: the broker then does not start before this was done in full.
    pub(crate) fn set_aside(&self) -> Result<(), Complaint> {
        let current = self.current()?;
        // A log that ended has its last, partial files for good.
        let moved =
            if current.closed { 0 } else { beyond::set_aside(current.log.dir(), current.log.size())? };
        let others = beyond::others(&self.dir, &self.folders());
        for folder in &others {
            beyond::set_log_aside(&self.dir, folder, (current.log.dir(), current.log.size()))?;
        }
        if moved > 0 || !others.is_empty() {
            tracing::warn!(
                moved,
                ?others,
                folder = current.folder,
                "files and logs that the store does not know of were set aside"
            );
        }
        Ok(())
    }

    /// Refuses the origin of a log whose files are here, or were set aside, and that the store does not know of: under
    /// that name there is a history already.
    ///
    /// # Errors
    /// [`Refusal::BadOrigin`], as a sentence.
    pub(crate) fn check_lost(&self, origin: &str) -> Result<(), Complaint> {
        let others = beyond::others(&self.dir, &self.folders());
        let here = others.iter().map(|folder| self.dir.join(folder));
        let aside = self.all().into_iter().flat_map(|one| beyond::logs_aside(one.log.dir()));
        let lost = here.chain(aside).any(|folder| origin_of(&beyond::shown(&folder)) == origin);
        if lost { Err(Complaint::from_refusal(Refusal::BadOrigin)) } else { Ok(()) }
    }

    fn folders(&self) -> Vec<String> {
        self.read().iter().map(|one| one.folder.clone()).collect()
    }

    /// Witnesses cosigned the final checkpoint of a log: that is shown from now on.
    pub(crate) fn cosigned(&self, origin: &str, rows: &[WitnessedRow]) {
        if let Some(one) = self.all().iter().find(|one| one.closed && one.origin == origin) {
            let size = one.log.size();
            one.log.set_cosigned(joined(rows.iter().filter(|row| row.size == size)));
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<OneLog>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, one: OneLog) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let number = all.len();
        all.push(OneLog { number, ..one });
    }

    /// The folder of a log that follows on those there are: the last part of its origin, made unlike the others.
    fn folder(&self, origin: &str) -> String {
        let all = self.read();
        let last = origin.rsplit('/').next().unwrap_or_default();
        let plain = (1..=32).contains(&last.len())
            && last.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let name = if plain {
            last.to_owned()
        } else {
            let digest = sha256(origin.as_bytes()).to_string();
            digest.chars().take(16).collect()
        };
        if all.iter().any(|one| one.folder == name) { format!("{name}.{}", all.len()) } else { name }
    }

    /// Every log, from the first.
    pub fn all(&self) -> Vec<OneLog> {
        self.read().clone()
    }

    /// The log that grows.
    ///
    /// # Errors
    /// Never for a broker that was opened.
    pub fn current(&self) -> Result<OneLog, Complaint> {
        self.read().last().cloned().ok_or_else(|| Complaint::bug("a broker without a log"))
    }

    /// The log of this origin or folder.
    ///
    /// # Errors
    /// A sentence that lists what there is.
    pub fn named(&self, name: &str) -> Result<OneLog, Complaint> {
        let all = self.read();
        let found = all.iter().find(|one| one.origin == name || one.folder == name).cloned();
        found.ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|one| one.origin.as_str()).collect();
            Complaint::usage(
                Text::new(format!("Een log {name} is er niet."), format!("There is no log {name}.")),
                Text::new(
                    format!("Kies uit: {}.", known.join(", ")),
                    format!("Choose from: {}.", known.join(", ")),
                ),
            )
        })
    }

    /// The key that signs, under the name of the first log.
    pub(crate) fn own_key(&self) -> (SigningKey, LogKey) {
        (*self.key).clone()
    }

    /// The key of a log, under its name.
    ///
    /// # Errors
    /// Never for an origin of this broker.
    pub fn key(&self, origin: &str) -> Result<(SigningKey, LogKey), Complaint> {
        let (secret, like) = &*self.key;
        let log = succession::log_key(origin, like).map_err(|error| Complaint::bug(error.to_string()))?;
        Ok((secret.clone(), log))
    }

    /// Adds the entries of a turn that is durable; the first turn of a log begins it.
    pub(crate) fn append(&self, sealed: &Sealed, note: &[u8]) {
        if !sealed.has_entries() {
            return;
        }
        let last = self.read().last().map(|one| (one.base, one.log.clone()));
        let log = match last {
            Some((base, log)) if base == sealed.base() => log,
            other => {
                if let Some((_, old)) = other {
                    old.close();
                }
                if let Some(old) = self.all.write().unwrap_or_else(PoisonError::into_inner).last_mut() {
                    old.closed = true;
                }
                let folder = self.folder(sealed.origin());
                let log = Log::begin(&self.dir.join(&folder));
                let (origin, base, log_here) = (sealed.origin().to_owned(), sealed.base(), log.clone());
                self.push(OneLog { number: 0, origin, folder, base, closed: false, log: log_here });
                log
            }
        };
        log.append(sealed.entries().to_vec(), note);
    }

    /// The log in which the entry at a position stands.
    ///
    /// # Errors
    /// Never for a broker that was opened.
    pub fn at(&self, position: u64) -> Result<OneLog, Complaint> {
        let found = self.read().iter().rev().find(|one| one.base <= position).cloned();
        found.ok_or_else(|| Complaint::bug("a position before the first log"))
    }

    /// A receipt put together from the log in which its entries stand: the same bytes as when it was fresh.
    ///
    /// # Errors
    /// A sentence when entries or tiles are missing.
    pub fn receipt(&self, first: u64, count: u8, end: u64, note: &[u8]) -> Result<Vec<u8>, Complaint> {
        let one = self.at(first)?;
        let size = end.checked_sub(one.base).ok_or_else(|| Complaint::bug("a checkpoint of another log"))?;
        one.log.receipt(first - one.base, count, size, note)
    }

    /// The proof that in one log the tree of `new` entries extends the one of `old`.
    ///
    /// # Errors
    /// A sentence when a tile is missing.
    pub fn consistency(&self, log: usize, old: u64, new: u64) -> Result<Vec<Digest>, Complaint> {
        let one = self.read().get(log).cloned();
        one.ok_or_else(|| Complaint::bug("a log that is not there"))?.log.consistency(old, new)
    }

    /// Holds the checkpoint that an agent says it cosigned against the log it is of.
    ///
    /// # Errors
    /// A sentence when the log's files cannot be read.
    pub fn hear(&self, cosigned: &[u8]) -> Result<Heard, Complaint> {
        if cosigned.is_empty() {
            return Ok(Heard::Nothing);
        }
        let Ok((_, key)) = self.key(origin_of(cosigned)) else { return Ok(Heard::Unreadable) };
        let as_of = (key.origin.as_str(), &key.key);
        match self.all().into_iter().find(|one| one.origin == key.origin) {
            Some(one) => hear(cosigned, as_of, one.log.size(), |size| one.log.root(size)),
            None => Ok(hear_unknown(cosigned, as_of)),
        }
    }

    /// Writes what is complete and what is at the edges; the position before which everything is in files for good.
    ///
    /// # Errors
    /// A sentence when a file cannot be written: nothing is lost, the journal still has it.
    pub(crate) fn publish(&self) -> Result<u64, Complaint> {
        let mut end = 0;
        for one in self.all() {
            end = one.base + one.log.publish()?;
            if !one.closed {
                break;
            }
        }
        Ok(end)
    }
}

/// The largest of these checkpoints, with the lines of all that are of the same text.
pub(crate) fn joined<'a>(rows: impl Iterator<Item = &'a WitnessedRow>) -> Option<Vec<u8>> {
    let mut largest: Option<(u64, Note)> = None;
    for row in rows {
        let note = Note::parse(&row.note).ok()?;
        match &mut largest {
            Some((size, known)) if *size == row.size && known.text() == note.text() => {
                for line in note.signatures() {
                    known.add(line.clone()).ok()?;
                }
            }
            Some((size, _)) if *size >= row.size => {}
            other => *other = Some((row.size, note)),
        }
    }
    largest.map(|(_, note)| note.to_string().into_bytes())
}

/// The signed checkpoint in a receipt.
pub(crate) fn note_of(receipt: &[u8]) -> Vec<u8> {
    Receipt::parse(receipt).map(|receipt| receipt.checkpoint.0).unwrap_or_default()
}

fn other_root(path: &Path) -> Complaint {
    let path = path.display();
    Complaint::usage(
        Text::new(
            format!("De tegels in {path} horen niet bij het laatste controlepunt van dat log."),
            format!("The tiles in {path} do not belong to the final checkpoint of that log."),
        ),
        Text::new(
            "Start de broker niet op deze bestanden. Zet de laatste reservekopie terug en meld het de partners.",
            "Do not run the broker on these files. Restore the latest backup and tell the partners.",
        ),
    )
}

#[cfg(test)]
pub(crate) mod tests;
