//! Giving space back.
//!
//! The journal is a queue of segments. When it holds more than twice what is live, plus four segments of
//! slack, each turn also carries a bounded part of the oldest segment forward: the rows and blobs in it that
//! are still current are restated in the very record of that turn, at no extra flush. The record that ends
//! the walk through the oldest segment says in its header that the next one is now the oldest needed; once
//! that record is durable the segment is given away. A crash before leaves the segment in use, a crash after
//! leaves a file that the next start recognises as freed.
//!
//! Always the *oldest* segment, because then a deletion needs no restating: whatever it deleted lay in the
//! same segment or an older, already freed one. The journal alone is always enough to rebuild everything.
//!
//! Work per turn is proportional to the turn: of the oldest segment at most four times the turn and a little is
//! walked, twice the turn and a little copied, plus one item. Half of what is walked is dead on average, so
//! this gives back more than the turn takes. When the store is idle the steps are larger: a quarter of a
//! segment walked, a sixteenth copied. While the index takes changes over, sled answers nobody, and a turn
//! would wait for it; so those turns carry nothing, unless the journal has grown far beyond its bound.
//!
//! A segment is only freed once the index has applied its last record, so that a restart need not rebuild the
//! index.

use crate::index::{Held, Index, Place, blob_key, row_key};
use crate::journal::{Extent, Segment};
use crate::record::{Directory, HEADER, Header, Sum};
use crate::{BlobId, StoreError, narrow, segment, wide};

/// How far the oldest segment has been walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cursor {
    pub(crate) segment: u64,
    offset: u64,
    item: usize,
}

/// What one step may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    walk: u64,
    copy: u64,
}

/// What a step walks besides four times the turn.
const WALK_LEAST: u64 = 256 * 1024;
/// What a step copies besides twice the turn.
const COPY_LEAST: u64 = 64 * 1024;

impl Budget {
    /// For a step in the turn of somebody who waits.
    pub(crate) fn of_turn(segment_bytes: u64, turn_bytes: u64) -> Self {
        let idle = Self::idle(segment_bytes);
        Self {
            walk: idle.walk.min(WALK_LEAST).saturating_add(turn_bytes.saturating_mul(4)),
            copy: idle.copy.min(COPY_LEAST).saturating_add(turn_bytes.saturating_mul(2)),
        }
    }

    /// For a step that nobody waits for.
    pub(crate) const fn idle(segment_bytes: u64) -> Self {
        Self { walk: segment_bytes / 4, copy: segment_bytes / 16 }
    }
}

/// A row to restate.
#[derive(Debug)]
pub(crate) struct CarriedRow {
    pub(crate) table: u8,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// What the next record carries forward.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    pub(crate) rows: Vec<CarriedRow>,
    pub(crate) blobs: Vec<(BlobId, Vec<u8>)>,
    pub(crate) cursor: Cursor,
    /// The walk is complete: once the record is durable, the segment is not needed.
    pub(crate) complete: bool,
    pub(crate) bytes: u64,
}

/// Walks on through a sealed segment from `cursor` within the budget. Changes nothing; the caller keeps
/// [`Carried::cursor`] once the record is durable.
pub(crate) fn step(
    cursor: Cursor,
    segment: &Segment,
    extent: Extent,
    index: &Index,
    budget: Budget,
) -> Result<Carried, StoreError> {
    let number = segment.header.number;
    let start = Cursor { segment: number, offset: wide(segment::HEADER), item: 0 };
    let mut carried =
        Carried { cursor: if cursor.segment == number { cursor } else { start }, ..Carried::default() };
    let salt = segment.header.salt();
    let damaged = |at, fault| StoreError::damaged(&segment.path, at, fault);
    let mut walked = 0_u64;
    let mut bytes = Vec::new();
    while carried.cursor.offset < extent.end {
        if walked >= budget.walk || carried.bytes >= budget.copy {
            return Ok(carried);
        }
        let at = carried.cursor.offset;
        segment.read(at, HEADER, &mut bytes)?;
        let header =
            Header::read(&bytes, &salt, at).ok_or_else(|| damaged(at, "a record header fails its sum"))?;
        let directory_at = at.saturating_add(wide(HEADER));
        segment.read(directory_at, narrow(u64::from(header.directory)), &mut bytes)?;
        let data_at = directory_at.saturating_add(u64::from(header.directory));
        let directory = Some(&bytes)
            .filter(|bytes| Sum::of(bytes) == header.directory_sum)
            .and_then(|bytes| Directory::read(bytes, data_at, header.data))
            .ok_or_else(|| damaged(at, "the directory of a record fails its sum"))?;
        if !carry(&mut carried, &directory, header.sequence, segment, index, budget)? {
            return Ok(carried);
        }
        carried.cursor.offset = at.saturating_add(header.record_size());
        carried.cursor.item = 0;
        walked = walked.saturating_add(header.record_size());
    }
    carried.complete = true;
    Ok(carried)
}

/// Carries the live items of one record from the cursor on; whether the record is done.
fn carry(
    carried: &mut Carried,
    directory: &Directory<'_>,
    sequence: u64,
    segment: &Segment,
    index: &Index,
    budget: Budget,
) -> Result<bool, StoreError> {
    let rows = directory.rows.len();
    for item in carried.cursor.item..rows + directory.blobs.len() {
        if carried.bytes >= budget.copy {
            return Ok(false);
        }
        if let Some(row) = directory.rows.get(item) {
            // The current value, not the one read here: a record may change a key twice, and a step may end
            // between the two.
            if let Some((from, held)) = index.held(&row_key(row.table, row.key))?
                && from == sequence
            {
                let value = match held {
                    Held::Inline(value) => value,
                    Held::Placed(place) => segment.part(&place.part)?,
                };
                carried.bytes = carried.bytes.saturating_add(wide(row.key.len() + value.len()));
                carried.rows.push(CarriedRow { table: row.table, key: row.key.to_vec(), value });
            }
        } else if let Some(blob) = directory.blobs.get(item - rows) {
            let here = Held::Placed(Place { segment: segment.header.number, part: blob.part });
            if index.held(&blob_key(&blob.id))?.is_some_and(|(_, held)| held == here) {
                let bytes = segment.part(&blob.part)?;
                carried.bytes = carried.bytes.saturating_add(wide(bytes.len()));
                carried.blobs.push((blob.id, bytes));
            }
        }
        carried.cursor.item = item + 1;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_pays_for_little_more_than_itself() {
        let budget = Budget::of_turn(16 << 20, 1000);
        assert_eq!((budget.walk, budget.copy), (256 * 1024 + 4000, 64 * 1024 + 2000));
        let idle = Budget::idle(16 << 20);
        assert_eq!((idle.walk, idle.copy), (4 << 20, 1 << 20));
        let small = Budget::of_turn(4096, 0);
        assert_eq!((small.walk, small.copy), (1024, 256), "a small segment is not walked at once");
    }
}
