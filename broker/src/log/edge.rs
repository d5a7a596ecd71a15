//! The files of a log that anybody can read as they are: C2SP tlog-tiles with a checkpoint.
//!
//! Full tiles and bundles never change. The partial ones at the edge, and the checkpoint they belong to, follow the
//! log about once a second. They are not flushed: after a crash they are written again from the journal. What an
//! earlier checkpoint needed stays for one more round, for whoever is reading it. When a log has ended its last
//! files are flushed, because then they are all there is of its edge.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use seinhuis_shared::tlog::tile::{self, Bundle, Tile};
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files::{self, Existing};

use super::{Log, LogFile, WIDTH};

/// The name of the checkpoint's file.
pub(super) const CHECKPOINT: &str = "checkpoint";

/// What is in the folder besides full tiles and bundles.
#[derive(Debug, Default)]
pub(super) struct Edge {
    /// The size of the checkpoint.
    size: u64,
    /// How often everything had to be written once more.
    round: u64,
    /// The partial files of that checkpoint, and of the one before.
    files: BTreeSet<String>,
    before: BTreeSet<String>,
}

impl Edge {
    /// Everything is to be written once more, also when a moment from before is being written just now.
    pub(super) const fn again(&mut self) {
        self.size = 0;
        self.round = self.round.wrapping_add(1);
    }
}

/// The edge of a log at one moment.
pub(super) struct Moment {
    size: u64,
    round: u64,
    note: Vec<u8>,
    parts: Vec<LogFile>,
    /// Whether the log has ended, and this is for good.
    last: bool,
}

impl Log {
    /// What is to be written of the edge, if the log has grown since the last time.
    pub(super) fn edge_of(&self, tail: &super::Tail) -> Result<Option<Moment>, Complaint> {
        let (written, round) = {
            let edge = self.edge.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            (edge.size, edge.round)
        };
        if tail.size == written || tail.note.is_empty() {
            return Ok(None);
        }
        let parts = self.partial_files(tail)?;
        let note = tail.cosigned.as_ref().unwrap_or(&tail.note).clone();
        Ok(Some(Moment { size: tail.size, round, note, parts, last: tail.closed }))
    }

    /// Writes the partial files of a moment, and its checkpoint after them.
    ///
    /// # Errors
    /// A sentence when a file cannot be written: what is served is then of an earlier checkpoint.
    pub(super) fn write_edge(&self, moment: Moment) -> Result<(), Complaint> {
        let mut edge = self.edge.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let write = |name: &str, bytes: &[u8]| {
            let path = self.dir.join(name);
            if name != CHECKPOINT {
                files::make_private_dir(&files::parent(&path))?;
            }
            if moment.last {
                files::write_private(&path, bytes, Existing::Replace)
            } else {
                put_soft(&path, bytes)
            }
        };
        for (name, bytes) in &moment.parts {
            write(name, bytes)?;
        }
        write(CHECKPOINT, &moment.note)?;
        let now: BTreeSet<String> = moment.parts.into_iter().map(|(path, _)| path).collect();
        // Those of the checkpoint before this one may still be being read.
        for gone in edge.before.difference(&now).filter(|name| !edge.files.contains(*name)) {
            if fs::remove_file(self.dir.join(gone)).is_ok() {
                // Goes when it is empty, and stays when it is not.
                _ = fs::remove_dir(files::parent(&self.dir.join(gone)));
            }
        }
        let size = if edge.round == moment.round { moment.size } else { 0 };
        *edge = Edge { size, round: edge.round, before: std::mem::take(&mut edge.files), files: now };
        Ok(())
    }

    fn partial_files(&self, tail: &super::Tail) -> Result<Vec<LogFile>, Complaint> {
        let bug = |error: tile::TileError| Complaint::bug(error.to_string());
        let mut parts = Vec::new();
        for tile in tile::partial_tiles(tail.size).filter(|tile| !tile.is_full()) {
            let hashes = tail.levels.get(usize::from(tile.level())).map(super::TileTree::hashes);
            parts.push((tile.to_string(), tile::encode_tile(hashes.unwrap_or_default()).map_err(bug)?));
        }
        if !tail.entries.is_empty() && !self.is_purged(tail.size - 1) {
            let width = u16::try_from(tail.size % WIDTH).unwrap_or(tile::FULL_WIDTH);
            let bundle = Bundle::new(tail.size / WIDTH, width).map_err(bug)?;
            parts.push((bundle.to_string(), tile::encode_bundle(&tail.entries).map_err(bug)?));
        }
        Ok(parts)
    }

    /// The partial level 0 tile and the entries, if they are there, of a log that has ended.
    pub(super) fn read_edge(&self, size: u64) -> Result<super::TileTree, Complaint> {
        let Some(tile) = Tile::in_tree(0, size / WIDTH, size) else { return Ok(super::TileTree::default()) };
        self.read_hashes(tile)
    }
}

/// Writes a file whole or not at all, without waiting until it is on stable storage.
fn put_soft(path: &Path, bytes: &[u8]) -> Result<(), Complaint> {
    let fail = |error: std::io::Error| Complaint::io(Doing::Write, path, &error);
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).map_err(fail)
}
