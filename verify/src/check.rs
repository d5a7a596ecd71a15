//! All checks, so that the verdict is the first that fails in the order of docs/log.md.
//!
//! The members are unpacked once, in their order, and judged as they pass by; the judgements are compared at the end.

use std::io::{Read, Seek};

use data_encoding::HEXLOWER;

use crate::archive::{Archive, Hash, NOTE, SUMS, covenant};
use crate::manifest::Manifest;
use crate::note::{self, Checkpoint};
use crate::{Code, Failure, Good, Key, Proves, Stop, entries, runs};

/// Checks a bundle.
pub(crate) fn check<R: Read + Seek>(bundle: R, key: &Key) -> Result<Good, Stop> {
    let archive = Archive::open(bundle)?;
    let (readme, readme_sum) = archive.whole(0)?;
    let (manifest, manifest_sum) = archive.whole(1)?;
    let (checkpoint, checkpoint_sum) = archive.whole(2)?;
    let mut sums = vec![readme_sum, manifest_sum, checkpoint_sum];

    let manifest = read_manifest(&manifest, &readme, key);
    let judged = judge(&archive, manifest.as_ref(), &checkpoint, key)?;
    let judgement = match judged {
        Ok(found) => {
            sums.push(found.sum);
            found.failure
        }
        Err(failure) => {
            sums.push(sum(&archive, entries::PLACE)?);
            Some(failure)
        }
    };
    let last = archive.members.len().saturating_sub(2);
    for place in sums.len()..last {
        sums.push(sum(&archive, place)?);
    }
    let (list, list_sum) = archive.whole(last)?;
    let (signed, _) = archive.whole(last + 1)?;

    check_sums(&archive, &sums, &list)?;
    let expected = format!("{}\nseinhuis/export/1\n{}\n", key.origin(), HEXLOWER.encode(&list_sum));
    match note::open(&signed, key) {
        Ok(text) if text == expected => {}
        Ok(_) => {
            return Err(Failure::new(Code::BadSumsSignature, NOTE, "is a note about something else").into());
        }
        Err(text) => return Err(Failure::new(Code::BadSumsSignature, NOTE, text).into()),
    }
    let manifest = manifest?;
    let (unnamed, other) = match judgement {
        Some(failure) if failure.code == Code::BadCovenant => (Some(failure), None),
        other => (None, other),
    };
    if let Some(failure) = other.or_else(|| wrong_covenant(&archive, &sums)).or(unnamed) {
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

/// Everything about the entries: what fails first, if anything, with the sum of `entries.jsonl` when it was read.
fn judge<R: Read + Seek>(
    archive: &Archive<R>,
    manifest: Result<&Manifest, &Failure>,
    checkpoint: &[u8],
    key: &Key,
) -> Result<Result<entries::Found, Failure>, Stop> {
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(failure) => return Ok(Err(failure.clone())),
    };
    let bad = |text: &str| Ok(Err(Failure::new(Code::BadCheckpoint, "checkpoint.txt", text)));
    let checkpoint = match Checkpoint::parse(checkpoint, key) {
        Ok(checkpoint) => checkpoint,
        Err(text) => return bad(text),
    };
    if checkpoint.size != manifest.size {
        return bad("is of another size than the manifest says");
    }
    let places = match runs::places(archive, manifest) {
        Ok(places) => places,
        Err(Stop::Bad(failure)) if failure.code == Code::BadRuns => return Ok(Err(failure)),
        Err(stop) => return Err(stop),
    };
    entries::read(archive, manifest, places, &checkpoint.root).map(Ok)
}

fn check_sums<R>(archive: &Archive<R>, sums: &[Hash], list: &[u8]) -> Result<(), Failure> {
    let mut rest = list;
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
        return Err(Failure::at(Code::BadSums, SUMS, line + 1, "has something after the last member"));
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
