//! All checks, so that the verdict is the first that fails in the order of docs/log.md.
//!
//! The members are unpacked once, in their order, and judged as they pass by; the judgements are compared at the end.

use std::io::{self, Seek};

use data_encoding::HEXLOWER;

use crate::archive::{Archive, Hash, NOTE, SUMS, covenant, policy};
use crate::begin::{self, Against, BEGIN, CONSISTENCY};
use crate::manifest::Manifest;
use crate::note::{Checkpoint, Note};
use crate::policy::Policy;
use crate::runs::{self, Places, RUNS};
use crate::{Code, Failure, Good, Key, Proves, Stop, Witnesses, entries, tree};

const CHECKPOINT: &str = "checkpoint.txt";
const POLICIES: &str = "policies/";

/// The small members, which are held in memory.
struct Small {
    readme: Vec<u8>,
    manifest: Vec<u8>,
    checkpoint: Vec<u8>,
    /// By the member's name.
    policies: Vec<(String, Vec<u8>)>,
    begin: Option<(Vec<u8>, Vec<u8>)>,
}

/// What the checkpoint says, and what is in the bundle of its tree.
struct Read<'a> {
    note: Note<'a>,
    checkpoint: Checkpoint,
    /// Without places that fit the tree, the entries are not read.
    entries: Result<(Places, entries::Found), Failure>,
}

/// Checks a bundle. A line that is not the log's is told of first, whatever else does not hold.
pub(crate) fn check<R: io::Read + Seek>(bundle: R, key: &Key, given: Option<&Policy>) -> Result<Good, Stop> {
    let archive = Archive::open(bundle)?;
    let mut sums = vec![None; archive.members.len()];
    let small = small(&archive, &mut sums)?;
    let manifest = read_manifest(&small.manifest, &small.readme, key);
    let read = match read_checkpoint(&small.checkpoint, key) {
        Ok((note, checkpoint)) => {
            let entries = read_entries(&archive, manifest.as_ref().ok(), &checkpoint, &mut sums)?;
            Ok(Read { note, checkpoint, entries })
        }
        Err(failure) => Err(failure),
    };
    let last = archive.members.len().saturating_sub(2);
    let mut all = Vec::with_capacity(last);
    for (place, known) in sums.into_iter().enumerate().take(last) {
        all.push(known.map_or_else(|| sum(&archive, place), Ok)?);
    }
    let signed = check_sums(&archive, &all, last, key)?;
    let line = read.as_ref().ok().and_then(|read| read.entries.as_ref().ok()?.1.line.clone());
    let judged = signed.and_then(|()| {
        let (manifest, read) = (manifest?, read?);
        judge(manifest, read, &small, key, given, wrong_covenant(&archive, &all))
    });
    match line {
        Some(line) => Err(Failure { also: judged.err().map(Box::new), ..line }.into()),
        None => Ok(judged?),
    }
}

/// Unpacks the small members and notes their sums.
fn small<R: io::Read + Seek>(archive: &Archive<R>, sums: &mut [Option<Hash>]) -> Result<Small, Stop> {
    let mut read = |name: &str| -> Result<Option<Vec<u8>>, Stop> {
        let Some(place) = archive.place(name) else { return Ok(None) };
        let (bytes, sum) = archive.whole(place)?;
        if let Some(own) = sums.get_mut(place) {
            *own = Some(sum);
        }
        Ok(Some(bytes))
    };
    let mut policies = Vec::new();
    for member in archive.members.iter().filter(|member| policy(&member.name).is_some()) {
        policies.push((member.name.clone(), read(&member.name)?.unwrap_or_default()));
    }
    Ok(Small {
        readme: read("README.txt")?.unwrap_or_default(),
        manifest: read("manifest.json")?.unwrap_or_default(),
        checkpoint: read(CHECKPOINT)?.unwrap_or_default(),
        policies,
        begin: read(BEGIN)?.zip(read(CONSISTENCY)?),
    })
}

/// Unpacks places, entries and their leaves, and notes their sums.
fn read_entries<R: io::Read + Seek>(
    archive: &Archive<R>,
    manifest: Option<&Manifest>,
    checkpoint: &Checkpoint,
    sums: &mut [Option<Hash>],
) -> Result<Result<(Places, entries::Found), Failure>, Stop> {
    let places = match runs::places(archive, checkpoint.size) {
        Ok(places) => places,
        Err(Stop::Bad(failure)) if failure.code == Code::BadRuns => return Ok(Err(failure)),
        Err(stop) => return Err(stop),
    };
    let found = entries::read(archive, manifest, places, checkpoint)?;
    for (name, sum) in [(entries::ENTRIES, found.sum), (tree::LEAVES, found.leaves)] {
        if let Some(own) = archive.place(name).and_then(|place| sums.get_mut(place)) {
            *own = Some(sum);
        }
    }
    Ok(Ok((places, found)))
}

fn sum<R: io::Read + Seek>(archive: &Archive<R>, place: usize) -> Result<Hash, Stop> {
    let mut reader = archive.reader(place)?;
    let mut piece = vec![0; 64 << 10];
    while reader.read(&mut piece)? > 0 {}
    Ok(reader.sum())
}

fn read_manifest(bytes: &[u8], readme: &[u8], key: &Key) -> Result<Manifest, Failure> {
    let bad = |file: &str, text: String| Failure::new(Code::BadManifest, file, text);
    let manifest = Manifest::parse(bytes, key).map_err(|text| bad("manifest.json", text))?;
    let word: &[u8] = match manifest.proves {
        Proves::Complete => b"COMPLETE",
        Proves::Selection => b"SELECTION",
    };
    if !readme.starts_with(word) {
        return Err(bad("README.txt", "does not begin with what the manifest says is proven".to_owned()));
    }
    Ok(manifest)
}

fn read_checkpoint<'a>(note: &'a [u8], key: &Key) -> Result<(Note<'a>, Checkpoint), Failure> {
    let read =
        Note::parse(note).and_then(|note| Checkpoint::of(&note, key).map(|checkpoint| (note, checkpoint)));
    read.map_err(|text| Failure::new(Code::BadCheckpoint, CHECKPOINT, text))
}

/// What comes after sums, manifest and the checkpoint's signature, in order: the first that does not hold.
fn judge(
    manifest: Manifest,
    read: Read<'_>,
    small: &Small,
    key: &Key,
    given: Option<&Policy>,
    wrong_covenant: Option<Failure>,
) -> Result<Good, Failure> {
    let Read { note, checkpoint, entries } = read;
    if checkpoint.size != manifest.size {
        let text = "is of another size than the manifest says";
        return Err(Failure::new(Code::BadCheckpoint, CHECKPOINT, text));
    }
    let own = own_policies(small, given)?;
    let witnesses = witnesses(&note, &own, given, key)?;
    let (places, found) = entries?;
    if places.count != manifest.count {
        let text = format!("has places for {} entries, the manifest counts {}", places.count, manifest.count);
        return Err(Failure::new(Code::BadRuns, RUNS, text));
    }
    let (unnamed, other) = match found.failure {
        Some(failure) if failure.code == Code::BadCovenant => (Some(failure), None),
        other => (None, other),
    };
    if let Some(failure) = other {
        return Err(failure);
    }
    let policies: Vec<&Policy> = match given {
        Some(given) => vec![given],
        None => own.iter().map(|(_, policy)| policy).collect(),
    };
    let first = places.first.unwrap_or(manifest.size);
    let against = Against { key, checkpoint, first, policies: &policies, binding: given.is_some() };
    let begin = small.begin.as_ref();
    let begin = begin.map(|(begin, proof)| begin::check(begin, proof, &against)).transpose()?;
    if let Some(failure) = wrong_covenant.or(unnamed) {
        return Err(failure);
    }
    Ok(Good {
        proves: manifest.proves,
        origin: key.origin().to_owned(),
        size: manifest.size,
        count: manifest.count,
        from: manifest.question.from,
        until: manifest.question.until,
        purpose: manifest.purpose,
        asked_by: manifest.asked_by,
        witnesses,
        begin,
    })
}

/// The policies in the bundle by the hash of their covenant. What was given has to be one of them, if there are any.
fn own_policies<'a>(small: &'a Small, given: Option<&Policy>) -> Result<Vec<(&'a str, Policy)>, Failure> {
    let mut own = Vec::with_capacity(small.policies.len());
    for (name, text) in &small.policies {
        let read = Policy::parse(text).map_err(|error| {
            let line = Some(error.line).filter(|line| *line > 0);
            Failure { line, ..Failure::new(Code::BadWitnesses, name, error.text) }
        })?;
        own.push((policy(name).unwrap_or_default(), read));
    }
    let same = |given: &Policy| own.iter().any(|(_, policy)| policy.text() == given.text());
    if !own.is_empty() && given.is_some_and(|given| !same(given)) {
        return Err(Failure::new(Code::BadWitnesses, POLICIES, "has not the policy that was given"));
    }
    Ok(own)
}

fn witnesses(
    note: &Note<'_>,
    own: &[(&str, Policy)],
    given: Option<&Policy>,
    key: &Key,
) -> Result<Witnesses, Failure> {
    let bad = |text: &str| Failure::new(Code::BadWitnesses, CHECKPOINT, text);
    if let Some(given) = given {
        let quorum = given.judge(note, key).map_err(bad)?;
        let met = quorum.met.then_some(Witnesses::Given(quorum));
        return met.ok_or_else(|| bad("does not have the cosignatures that the policy asks for"));
    }
    let mut judged = Vec::with_capacity(own.len());
    for (covenant, policy) in own {
        judged.push(((*covenant).to_owned(), policy.judge(note, key).map_err(bad)?));
    }
    Ok(if judged.is_empty() { Witnesses::NotJudged } else { Witnesses::Own(judged) })
}

/// The list of sums, which is the member after the last one summed, and the log's signature under it.
///
/// # Errors
/// When they do not unpack. What does not hold is in the answer.
fn check_sums<R: io::Read + Seek>(
    archive: &Archive<R>,
    sums: &[Hash],
    place: usize,
    key: &Key,
) -> Result<Result<(), Failure>, Stop> {
    let (list, list_sum) = archive.whole(place)?;
    let (signed, _) = archive.whole(place + 1)?;
    let listed = || {
        let mut rest = list.as_slice();
        let mut line = 0;
        for (member, sum) in archive.members.iter().zip(sums) {
            line += 1;
            let expected = format!("{}  {}\n", HEXLOWER.encode(sum), member.name);
            rest = rest.strip_prefix(expected.as_bytes()).ok_or_else(|| {
                let text = format!("does not have the digest of {} here", member.name);
                Failure::at(Code::BadSums, SUMS, line, text)
            })?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        Err(Failure::at(Code::BadSums, SUMS, line + 1, "has something after the last member"))
    };
    let expected = format!("{}\nseinhuis/export/1\n{}\n", key.origin(), HEXLOWER.encode(&list_sum));
    let bad = |text: &str| Failure::new(Code::BadSumsSignature, NOTE, text);
    let noted = || match Note::parse(&signed).and_then(|note| note.signed_by(key)).map_err(bad)? {
        text if text == expected => Ok(()),
        _ => Err(bad("is a note about something else")),
    };
    Ok(listed().and_then(|()| noted()))
}

/// The first covenant whose bytes do not have the hash in its name.
fn wrong_covenant<R>(archive: &Archive<R>, sums: &[Hash]) -> Option<Failure> {
    let mut members = archive.members.iter().zip(sums);
    let (wrong, _) = members.find(|(member, sum)| {
        covenant(&member.name).is_some_and(|hash| hash != HEXLOWER.encode(sum.as_slice()))
    })?;
    Some(Failure::new(Code::BadCovenant, &wrong.name, "does not have the hash in its name"))
}
