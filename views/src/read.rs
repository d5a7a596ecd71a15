//! A bundle that was verified, read once more: the entries that were asked for, and the covenants.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};

use seinhuis_shared::covenant::Covenant;
use seinhuis_shared::covenant::limits::COVENANT_MAX;
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Digest;
use seinhuis_verify::Good;
use zip::ZipArchive;

use crate::ViewsError;

const ENTRIES: &str = "entries.jsonl";

/// A verified bundle.
pub(crate) struct Source {
    archive: ZipArchive<File>,
    /// The log's name.
    pub(crate) origin: String,
    from: Option<u64>,
    until: Option<u64>,
}

fn unread(what: impl core::fmt::Display) -> ViewsError {
    ViewsError::Unread(what.to_string())
}

impl Source {
    pub(crate) fn open(file: File, good: &Good) -> Result<Self, ViewsError> {
        let archive = ZipArchive::new(file).map_err(unread)?;
        Ok(Self { archive, origin: good.origin.clone(), from: good.from, until: good.until })
    }

    /// Every covenant version in the bundle.
    pub(crate) fn covenants(&mut self) -> Result<BTreeMap<Digest, Covenant>, ViewsError> {
        let names: Vec<String> = self
            .archive
            .file_names()
            .map(|name| name.map(std::borrow::Cow::into_owned))
            .collect::<Result<_, _>>()
            .map_err(unread)?;
        let mut covenants = BTreeMap::new();
        for name in names {
            let hash = name.strip_prefix("covenants/").and_then(|rest| rest.strip_suffix(".cbor"));
            let Some(hash) = hash.and_then(|hash| hash.parse::<Digest>().ok()) else { continue };
            let mut bytes = Vec::new();
            let member = self.archive.by_name(&name).map_err(unread)?;
            let limit = u64::try_from(COVENANT_MAX).unwrap_or(u64::MAX);
            member.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unread)?;
            let covenant =
                Covenant::from_bytes(&bytes).map_err(|error| unread(format!("{name}: {error}")))?;
            covenants.insert(hash, covenant);
        }
        Ok(covenants)
    }

    /// Shows every entry of the period, in the order of the log, with its bytes. The neighbours that only show that
    /// a bundle is complete are left out.
    pub(crate) fn entries(
        &mut self,
        mut take: impl FnMut(&Entry, &[u8]) -> Result<(), ViewsError>,
    ) -> Result<(), ViewsError> {
        let (from, until) = (self.from, self.until);
        let mut lines = BufReader::new(self.archive.by_name(ENTRIES).map_err(unread)?);
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            if lines.read_until(b'\n', &mut line).map_err(unread)? == 0 {
                break;
            }
            let leaf = line.strip_suffix(b"\n").unwrap_or(&line);
            let entry =
                Entry::parse(leaf).map_err(|error| unread(format!("{ENTRIES} line {number}: {error}")))?;
            let time = entry.time.0;
            if from.is_none_or(|from| from <= time) && until.is_none_or(|until| time < until) {
                take(&entry, leaf)?;
            }
        }
        Ok(())
    }
}
