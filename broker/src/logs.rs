//! Every log of this broker, from the first: the last one grows, the others are read only.
//!
//! The core counts positions through all logs; here they become a log and an index in it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use seinhuis_broker_core::{Heard, Sealed, Shard, hear};
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::receipt::{LogKey, Receipt};
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::succession::{self, Cause};
use seinhuis_shared::tlog::note::Note;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;

use crate::log::{Log, set_aside};

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
    /// Whether the operator began it by hand, so that the log before it may have had another history.
    pub by_hand: bool,
    /// The log.
    pub log: Log,
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
    /// Entries that are still rows, by position.
    pub(crate) rows: Vec<(u64, Vec<u8>)>,
    /// Up to which index the texts are removed.
    pub(crate) purged: u64,
}

impl Logs {
    /// Opens every log the store knows of, and checks that files and store belong together. With `aside`, files that
    /// the store does not know of are set aside instead of refused.
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
        let mut by_hand = false;
        for one in known {
            let Known { shard, size, note, rows, purged } = one;
            let folder = logs.folder(&shard.origin);
            let path = dir.join(&folder);
            files::make_private_dir(&path)?;
            // A log that ended has its last, partial files for good.
            if aside && shard.closing.is_none() {
                let moved = set_aside(&path, size)?;
                if moved > 0 {
                    tracing::warn!(moved, folder, "files that the store does not know of were set aside");
                }
            }
            let rows: Vec<_> =
                rows.into_iter().map(|(position, entry)| (position - shard.base, entry)).collect();
            let log = if shard.closing.is_some() && rows.is_empty() {
                Log::open_closed(&path, size, purged)?
            } else {
                let log = Log::open(&path, size, rows)?.with_purged(purged);
                if shard.closing.is_some() {
                    log.close();
                }
                log
            };
            log.set_note(&note);
            if let Some(closing) = &shard.closing
                && log.root(size)? != closing.root
            {
                return Err(other_root(&path));
            }
            let closed = shard.closing.is_some();
            logs.push(OneLog {
                number: 0,
                origin: shard.origin,
                folder,
                base: shard.base,
                closed,
                by_hand,
                log,
            });
            by_hand = shard.closing.is_some_and(|closing| closing.by_hand);
        }
        Ok(logs)
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
                let by_hand = sealed.entries().first().is_some_and(|entry| begun_by_hand(entry));
                let closed = false;
                self.push(OneLog { number: 0, origin, folder, base, closed, by_hand, log: log_here });
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

    /// Holds the checkpoint that an agent says it cosigned against the log it is of. What it saw of a log that ended is
    /// nothing of the one that grows; and a log that the operator ended by hand may be contradicted.
    ///
    /// # Errors
    /// A sentence when the log's files cannot be read.
    pub fn hear(&self, cosigned: &[u8]) -> Result<Heard, Complaint> {
        if cosigned.is_empty() {
            return Ok(Heard::Nothing);
        }
        let origin =
            Note::parse(cosigned).ok().and_then(|note| note.text().lines().next().map(str::to_owned));
        let all = self.all();
        let Some(place) = all.iter().position(|one| Some(&one.origin) == origin.as_ref()) else {
            return Ok(Heard::Unreadable);
        };
        let (one, later) = (&all[place], &all[place + 1..]);
        let key = self.key(&one.origin)?.1;
        let heard = hear(cosigned, (&key.origin, &key.key), one.log.size(), |size| one.log.root(size))?;
        Ok(match heard {
            Heard::Fits { .. } if !later.is_empty() => Heard::Nothing,
            Heard::Contradicts { .. } if later.iter().any(|one| one.by_hand) => Heard::Nothing,
            heard @ (Heard::Nothing | Heard::Fits { .. } | Heard::Contradicts { .. } | Heard::Unreadable) => {
                heard
            }
        })
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

/// Whether an opening entry says that the operator began its log by hand.
fn begun_by_hand(entry: &[u8]) -> bool {
    Entry::parse(entry).is_ok_and(|entry| entry.detail.as_deref() == Some(Cause::NewOrigin.as_str()))
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
