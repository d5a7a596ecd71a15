//! All checks, so that the verdict is the first that fails in the order of docs/log.md.
//!
//! The members are unpacked once, in their order, and judged as they pass by; the judgements are compared at the end.

use std::io::{Read, Seek};

use data_encoding::HEXLOWER;

use crate::archive::{Archive, Hash, NOTE, SUMS, covenant};
use crate::begin::{self, Against, BEGIN, CONSISTENCY};
use crate::manifest::Manifest;
use crate::note::{Checkpoint, Note};
use crate::policy::Policy;
use crate::{Code, Failure, Good, Key, Proves, Stop, Witnesses, entries, runs};

const POLICY: &str = "policy.txt";
const CHECKPOINT: &str = "checkpoint.txt";

/// The small members, which are held in memory.
struct Small {
    readme: Vec<u8>,
    manifest: Vec<u8>,
    checkpoint: Vec<u8>,
    policy: Option<Vec<u8>>,
    begin: Option<(Vec<u8>, Vec<u8>)>,
}

/// What a bundle turned out to be, the entries apart.
struct Judged {
    witnesses: Witnesses,
    begin: Result<Option<u64>, Failure>,
    entries: entries::Found,
}

/// Checks a bundle.
pub(crate) fn check<R: Read + Seek>(bundle: R, key: &Key, given: Option<&Policy>) -> Result<Good, Stop> {
    let archive = Archive::open(bundle)?;
    let mut sums = vec![None; archive.members.len()];
    let small = small(&archive, &mut sums)?;
    let manifest = read_manifest(&small.manifest, &small.readme, key);
    let judged = match &manifest {
        Ok(manifest) => judge(&archive, manifest, &small, key, given)?,
        Err(failure) => Err(failure.clone()),
    };
    if let (Ok(found), Some(place)) = (&judged, archive.place(entries::ENTRIES))
        && let Some(own) = sums.get_mut(place)
    {
        *own = Some(found.entries.sum);
    }
    let last = archive.members.len().saturating_sub(2);
    let mut all = Vec::with_capacity(last);
    for (place, known) in sums.into_iter().enumerate().take(last) {
        all.push(known.map_or_else(|| sum(&archive, place), Ok)?);
    }
    check_sums(&archive, &all, last, key)?;
    let (manifest, judged) = (manifest?, judged?);
    let (unnamed, other) = match judged.entries.failure {
        Some(failure) if failure.code == Code::BadCovenant => (Some(failure), None),
        other => (None, other),
    };
    if let Some(failure) = other {
        return Err(failure.into());
    }
    let begin = judged.begin?;
    if let Some(failure) = wrong_covenant(&archive, &all).or(unnamed) {
        return Err(failure.into());
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
        witnesses: judged.witnesses,
        begin,
    })
}

/// Unpacks the small members and notes their sums.
fn small<R: Read + Seek>(archive: &Archive<R>, sums: &mut [Option<Hash>]) -> Result<Small, Stop> {
    let mut read = |name: &str| -> Result<Option<Vec<u8>>, Stop> {
        let Some(place) = archive.place(name) else { return Ok(None) };
        let (bytes, sum) = archive.whole(place)?;
        if let Some(own) = sums.get_mut(place) {
            *own = Some(sum);
        }
        Ok(Some(bytes))
    };
    Ok(Small {
        readme: read("README.txt")?.unwrap_or_default(),
        manifest: read("manifest.json")?.unwrap_or_default(),
        checkpoint: read(CHECKPOINT)?.unwrap_or_default(),
        policy: read(POLICY)?,
        begin: read(BEGIN)?.zip(read(CONSISTENCY)?),
    })
}

fn sum<R: Read + Seek>(archive: &Archive<R>, place: usize) -> Result<Hash, Stop> {
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

/// Everything but sums and covenants: what fails first, if anything.
fn judge<R: Read + Seek>(
    archive: &Archive<R>,
    manifest: &Manifest,
    small: &Small,
    key: &Key,
    given: Option<&Policy>,
) -> Result<Result<Judged, Failure>, Stop> {
    let bad = |text: &str| Failure::new(Code::BadCheckpoint, CHECKPOINT, text);
    let read = Note::parse(&small.checkpoint)
        .and_then(|note| Checkpoint::of(&note, key).map(|checkpoint| (note, checkpoint)));
    let (note, checkpoint) = match read {
        Ok(read) => read,
        Err(text) => return Ok(Err(bad(text))),
    };
    if checkpoint.size != manifest.size {
        return Ok(Err(bad("is of another size than the manifest says")));
    }
    let own = match own_policy(small, given) {
        Ok(own) => own,
        Err(failure) => return Ok(Err(failure)),
    };
    let policy = given.or(own.as_ref());
    let witnesses = match witnesses(&note, policy, given.is_some(), key) {
        Ok(witnesses) => witnesses,
        Err(failure) => return Ok(Err(failure)),
    };
    let places = match runs::places(archive, manifest) {
        Ok(places) => places,
        Err(Stop::Bad(failure)) if failure.code == Code::BadRuns => return Ok(Err(failure)),
        Err(stop) => return Err(stop),
    };
    let first = places.first.unwrap_or(manifest.size);
    let against = Against { key, checkpoint, first, policy, binding: given.is_some() };
    let begin = small.begin.as_ref();
    let begin = begin.map(|(begin, proof)| begin::check(begin, proof, &against)).transpose();
    let entries = entries::read(archive, manifest, places, &checkpoint.root)?;
    Ok(Ok(Judged { witnesses, begin, entries }))
}

/// The policy in the bundle, which has to be the one that was given.
fn own_policy(small: &Small, given: Option<&Policy>) -> Result<Option<Policy>, Failure> {
    let Some(text) = &small.policy else { return Ok(None) };
    let own = Policy::parse(text).map_err(|error| {
        let line = Some(error.line).filter(|line| *line > 0);
        Failure { line, ..Failure::new(Code::BadWitnesses, POLICY, error.text) }
    })?;
    if given.is_some_and(|given| given.text() != own.text()) {
        return Err(Failure::new(Code::BadWitnesses, POLICY, "is not the policy that was given"));
    }
    Ok(Some(own))
}

fn witnesses(note: &Note<'_>, policy: Option<&Policy>, given: bool, key: &Key) -> Result<Witnesses, Failure> {
    let Some(policy) = policy else { return Ok(Witnesses::NotJudged) };
    let bad = |text: &str| Failure::new(Code::BadWitnesses, CHECKPOINT, text);
    let quorum = policy.judge(note, key).map_err(bad)?;
    match (given, quorum.met) {
        (true, true) => Ok(Witnesses::Given(quorum)),
        (true, false) => Err(bad("does not have the cosignatures that the policy asks for")),
        (false, _) => Ok(Witnesses::Own(quorum)),
    }
}

/// The list of sums, which is the member after the last one summed, and the log's signature under it.
fn check_sums<R: Read + Seek>(
    archive: &Archive<R>,
    sums: &[Hash],
    place: usize,
    key: &Key,
) -> Result<(), Stop> {
    let (list, list_sum) = archive.whole(place)?;
    let (signed, _) = archive.whole(place + 1)?;
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
    if !rest.is_empty() {
        return Err(Failure::at(Code::BadSums, SUMS, line + 1, "has something after the last member").into());
    }
    let expected = format!("{}\nseinhuis/export/1\n{}\n", key.origin(), HEXLOWER.encode(&list_sum));
    let bad = |text: &str| Failure::new(Code::BadSumsSignature, NOTE, text);
    let note = Note::parse(&signed).map_err(bad)?;
    if note.signed_by(key).map_err(bad)? != expected {
        return Err(bad("is a note about something else").into());
    }
    Ok(())
}

/// The first covenant whose bytes do not have the hash in its name.
fn wrong_covenant<R>(archive: &Archive<R>, sums: &[Hash]) -> Option<Failure> {
    let mut members = archive.members.iter().zip(sums);
    let (wrong, _) = members.find(|(member, sum)| {
        covenant(&member.name).is_some_and(|hash| hash != HEXLOWER.encode(sum.as_slice()))
    })?;
    Some(Failure::new(Code::BadCovenant, &wrong.name, "does not have the hash in its name"))
}
