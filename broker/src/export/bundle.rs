//! The bundle itself, member by member.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Seek, Write};
use std::path::Path;

use seinhuis_shared::ids::Digest;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shell::complaint::Complaint;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::question::{Question, Run};
use super::{Source, csv, failed, readme};

/// The format, as manifest and signed sums name it.
const FORMAT: &str = "seinhuis/export/1";

/// What goes into a bundle.
pub(super) struct Parts<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) question: &'a Question,
    pub(super) runs: &'a [Run],
    pub(super) count: u64,
    pub(super) checkpoint: Checkpoint,
}

impl Parts<'_> {
    fn indexes(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs.iter().flat_map(|run| run.first..run.first + run.count)
    }

    fn manifest(&self) -> Value {
        let (question, log) = (self.question, &self.source.key.1);
        let mut manifest = json!({
            "count": self.count,
            "created": self.source.now.0,
            "format": FORMAT,
            "log_key": log.key.to_string(),
            "origin": log.origin,
            "proves": if question.is_period() { "complete" } else { "selection" },
            "purpose": question.purpose,
            "size": self.checkpoint.size(),
        });
        let asked = [
            ("from", question.from.map(|at| json!(at.0))),
            ("until", question.until.map(|at| json!(at.0))),
            ("organisation", question.organisation.map(|oin| json!(oin.to_string()))),
            ("flow", question.flow.as_ref().map(|flow| json!(flow))),
            ("kind", question.kind.as_ref().map(|kind| json!(kind))),
            ("result", question.result.as_ref().map(|result| json!(result))),
            ("case", question.case.as_ref().map(|case| json!(case))),
        ];
        for (key, value) in asked {
            if let Some(value) = value {
                manifest[key] = value;
            }
        }
        // serde_json writes keys in order and no spaces; the texts are checked to need no escape of its own.
        manifest
    }
}

/// A ZIP whose members' digests are kept.
struct Archive<W: Write + Seek> {
    zip: ZipWriter<W>,
    hash: Sha256,
    sums: String,
    open: Option<String>,
}

impl<W: Write + Seek> Archive<W> {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        self.end();
        let method = CompressionMethod::Deflated;
        // One time for all members: the same export twice differs in what it says and in nothing else.
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(0o644);
        self.zip.start_file(name, options)?;
        self.open = Some(name.to_owned());
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.zip.write_all(bytes)
    }

    fn member(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name)?;
        self.put(bytes)
    }

    fn end(&mut self) {
        if let Some(name) = self.open.take() {
            let digest = Digest(self.hash.finalize_reset().into());
            // Writing to a string cannot fail.
            _ = writeln!(self.sums, "{digest}  {name}");
        }
    }
}

/// Writes the bundle.
pub(super) fn write<W: Write + Seek>(parts: &Parts<'_>, to: W, out: &Path) -> Result<(), Complaint> {
    let fail = |error: io::Error| failed(out, &error.to_string());
    let mut archive =
        Archive { zip: ZipWriter::new(to), hash: Sha256::new(), sums: String::new(), open: None };
    let (secret, log) = parts.source.key;
    let note = parts
        .checkpoint
        .sign_with(&log.key, |bytes| secret.sign(bytes))
        .map_err(|error| Complaint::bug(error.to_string()))?;
    let manifest = parts.manifest().to_string();
    archive.member("README.txt", readme::text(parts).as_bytes()).map_err(fail)?;
    archive.member("manifest.json", manifest.as_bytes()).map_err(fail)?;
    archive.member("checkpoint.txt", note.to_string().as_bytes()).map_err(fail)?;
    archive.begin("entries.jsonl").map_err(fail)?;
    for index in parts.indexes() {
        let mut line = parts.source.log.entry(index)?;
        line.push(b'\n');
        archive.put(&line).map_err(fail)?;
    }
    archive.begin("runs.txt").map_err(fail)?;
    for run in parts.runs {
        archive.put(format!("{} {}\n", run.first, run.count).as_bytes()).map_err(fail)?;
    }
    archive.begin("proof.txt").map_err(fail)?;
    let mut put = Ok(());
    parts.source.log.subset_proof(parts.indexes(), parts.checkpoint.size(), &mut |hash| {
        if put.is_ok() {
            put = archive.put(format!("{hash}\n").as_bytes());
        }
    })?;
    put.map_err(fail)?;
    archive.member("entries.csv", csv::HEAD.as_bytes()).map_err(fail)?;
    let mut named = BTreeSet::new();
    for index in parts.indexes() {
        let entry = parts.source.log.parsed(index)?;
        named.extend(entry.covenant);
        archive.put(csv::row(index, &entry).as_bytes()).map_err(fail)?;
    }
    for hash in named {
        if let Some(bytes) = (parts.source.covenant)(&hash) {
            archive.member(&format!("covenants/{hash}.cbor"), &bytes).map_err(fail)?;
        }
    }
    archive.end();
    let sums = std::mem::take(&mut archive.sums);
    archive.member("SHA256SUMS", sums.as_bytes()).map_err(fail)?;
    let signed = signed_sums(parts, &sums)?;
    archive.member("SHA256SUMS.note", signed.to_string().as_bytes()).map_err(fail)?;
    archive.zip.finish().map_err(|error| failed(out, &error.to_string()))?;
    Ok(())
}

fn signed_sums(parts: &Parts<'_>, sums: &str) -> Result<Note, Complaint> {
    let (key, log) = parts.source.key;
    let digest = Digest(Sha256::digest(sums.as_bytes()).into());
    let text = format!("{}\n{FORMAT}\n{digest}\n", log.origin);
    Note::new(&text, vec![log.key.sign_with(&text, |bytes| key.sign(bytes))])
        .map_err(|error| Complaint::bug(error.to_string()))
}
