//! What is read from the log for a partner: notices, and the entries it is party to. Away from the engine.

use seinhuis_broker_core::{NoticeRow, PartRow, Pick};
use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::Entry;
use seinhuis_shared::ids::Oin;
use seinhuis_shared::limits::ENTRIES_PAGE;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::note::Note;
use seinhuis_shared::wire::{Entries, FetchEntries, Notices};
use seinhuis_shell::complaint::Complaint;

use crate::log::Log;
use crate::logs::Logs;

/// Most entries one request looks at; the answer says where to go on.
const LOOKED_AT: u64 = 4096;

/// A row of notices with its proof; the same bytes each time.
pub(super) fn notices(logs: &Logs, cursor: u64, row: &NoticeRow) -> Result<Notices, Complaint> {
    let one = logs.at(cursor)?;
    let elsewhere = || Complaint::bug("notices of two logs");
    let indexes: Vec<u64> = row
        .positions
        .iter()
        .map(|position| position.checked_sub(one.base).ok_or_else(elsewhere))
        .collect::<Result<_, _>>()?;
    let size = row.end.checked_sub(one.base).ok_or_else(elsewhere)?;
    let entries = indexes.iter().map(|index| one.log.entry(*index).map(Bytes)).collect::<Result<_, _>>()?;
    let mut proof = Vec::new();
    one.log.subset_proof(indexes.iter().copied(), size, &mut |hash| proof.push(hash))?;
    Ok(Notices {
        cursor,
        checkpoint: row.note.clone(),
        indexes,
        entries,
        proof,
        parts: row.parts.iter().map(PartRow::part).collect(),
    })
}

/// The entries that were picked, each proved in the tree of its log's newest checkpoint.
///
/// # Errors
/// [`Refusal::NotFound`] for a log that is not there, and for one entry that is not there or not the asker's: the
/// same for both. [`Refusal::StorageFailed`] when the log cannot be read.
pub(super) fn picked(logs: &Logs, pick: Pick) -> Result<Entries, Refusal> {
    let damaged = |complaint: Complaint| {
        tracing::error!("{}", complaint.what.en);
        Refusal::StorageFailed
    };
    let one = match &pick {
        Pick::These(positions) => {
            logs.at(positions.last().copied().ok_or(Refusal::NotFound)?).map_err(damaged)?
        }
        Pick::Party(_, FetchEntries { origin: Some(origin), .. }) => {
            logs.all().into_iter().find(|one| one.origin == *origin).ok_or(Refusal::NotFound)?
        }
        Pick::Party(..) => logs.current().map_err(damaged)?,
    };
    let note = one.log.note();
    let size = size_of(&note).ok_or(Refusal::StorageFailed)?;
    let (indexes, next) = match pick {
        Pick::These(positions) => {
            (positions.iter().filter_map(|position| position.checked_sub(one.base)).collect(), None)
        }
        Pick::Party(peer, ask) => {
            look(&one.log, peer, &ask, size).map_err(damaged)?.ok_or(Refusal::NotFound)?
        }
    };
    let entries = indexes
        .into_iter()
        .map(|index| one.log.proved(index, size))
        .collect::<Result<_, Complaint>>()
        .map_err(damaged)?;
    Ok(Entries { checkpoint: Bytes(note), entries, next })
}

/// The size a checkpoint of this broker says.
fn size_of(note: &[u8]) -> Option<u64> {
    Some(Checkpoint::parse(Note::parse(note).ok()?.text()).ok()?.size())
}

/// What a party gets of what it asks for, and where to go on.
type Found = (Vec<u64>, Option<u64>);

/// Looks for entries of `peer`. None when it asks for one that is not its own or not there.
fn look(log: &Log, peer: Oin, ask: &FetchEntries, size: u64) -> Result<Option<Found>, Complaint> {
    if ask.one {
        let there = (log.purged()..size).contains(&ask.first);
        let own = there && ask.wants(&log.parsed(ask.first)?, peer);
        return Ok(own.then(|| (vec![ask.first], None)));
    }
    // What was removed after its term is nobody's any more.
    let first = ask.first.max(log.purged());
    let begin = match ask.from {
        Some(from) => first_where((first, size), |index| Ok(log.parsed(index)?.time >= from))?,
        None => first,
    };
    let mut found = Vec::new();
    let end = size.min(begin.saturating_add(LOOKED_AT));
    for index in begin..end {
        let entry: Entry = log.parsed(index)?;
        if ask.until.is_some_and(|until| entry.time >= until) {
            return Ok(Some((found, None)));
        }
        if ask.wants(&entry, peer) {
            found.push(index);
            if found.len() == ENTRIES_PAGE {
                let next = index + 1;
                return Ok(Some((found, (next < size).then_some(next))));
            }
        }
    }
    Ok(Some((found, (end < size).then_some(end))))
}

/// The first index in a range for which something holds that holds for all after it; its end when for none.
fn first_where(
    (mut low, mut high): (u64, u64),
    holds: impl Fn(u64) -> Result<bool, Complaint>,
) -> Result<u64, Complaint> {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use seinhuis_shared::entry::Kind;
    use seinhuis_shared::time::Timestamp;

    fn oin(number: u64) -> Oin {
        format!("{number:020}").parse().unwrap()
    }

    /// Entries of which every third is party 1's, a millisecond apart.
    fn log(dir: &std::path::Path, size: u64) -> Log {
        let log = Log::open(dir, 0, Vec::new()).unwrap();
        let entry = |index: u64| {
            let mut entry = Entry::new(Kind::Accepted, Timestamp(index), [1; 16]);
            entry.from = Some(oin(2));
            entry.to = Some(oin(if index.is_multiple_of(3) { 1 } else { 3 }));
            entry.to_bytes().unwrap()
        };
        log.append((0..size).map(entry).collect(), b"");
        log
    }

    fn ask(first: u64) -> FetchEntries {
        FetchEntries { origin: None, first, one: false, from: None, until: None, kind: None, flow: None }
    }

    fn all(log: &Log, peer: Oin, mut ask: FetchEntries, size: u64) -> Vec<u64> {
        let mut all = Vec::new();
        for _ in 0..1000 {
            let (found, next) = look(log, peer, &ask, size).unwrap().unwrap();
            assert!(found.len() <= ENTRIES_PAGE);
            all.extend(found);
            match next {
                Some(next) => ask.first = next,
                None => return all,
            }
        }
        panic!("it comes to an end");
    }

    #[test]
    fn a_party_gets_its_own_entries_in_pages_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let size = LOOKED_AT * 2 + 100;
        let log = log(dir.path(), size);
        let own: Vec<u64> = (0..size).filter(|index| index.is_multiple_of(3)).collect();
        assert_eq!(all(&log, oin(1), ask(0), size), own);
        assert_eq!(all(&log, oin(9), ask(0), size), [0; 0]);
        let period = FetchEntries { from: Some(Timestamp(4200)), until: Some(Timestamp(4300)), ..ask(0) };
        let within: Vec<u64> = own.iter().copied().filter(|index| (4200..4300).contains(index)).collect();
        assert_eq!(all(&log, oin(1), period, size), within);
        let other = FetchEntries { kind: Some("delivered".into()), ..ask(0) };
        assert_eq!(all(&log, oin(1), other, size), [0; 0]);
    }

    #[test]
    fn one_request_looks_at_a_bounded_number() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), LOOKED_AT + 10);
        let (found, next) = look(&log, oin(9), &ask(0), LOOKED_AT + 10).unwrap().unwrap();
        assert_eq!((found, next), (vec![], Some(LOOKED_AT)));
    }

    #[test]
    fn an_entry_of_others_looks_like_none() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), 10);
        let one = |first| FetchEntries { one: true, ..ask(first) };
        assert_eq!(look(&log, oin(1), &one(3), 10).unwrap(), Some((vec![3], None)));
        for index in [4, 10, u64::MAX] {
            assert_eq!(look(&log, oin(1), &one(index), 10).unwrap(), None);
        }
    }
}
