//! A disk: a journal's segment as the real code writes and reads it, over bytes in memory that can be torn, lost and
//! changed.
//!
//! What was flushed survives a crash. Of a record that was not, nothing, all, or any of its sectors may be there. One
//! bit of what was flushed may turn over: then the disk gives back what passes its sums, and nothing else, also to who
//! copies it to another segment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use seinhuis_broker_core::Change;
use seinhuis_journal::BlobId;
use seinhuis_journal::record::{self, Body, Frame, Kind, Part, RowRef, Sum, Value};
use seinhuis_journal::segment::{self, SegmentHeader, Tail};

use super::scenario::Dice;

/// Bytes of a segment; a larger one is made for a state that does not leave half of it free.
const SEGMENT: usize = 128 * 1024;
/// What a disk writes whole.
const SECTOR: usize = 512;
/// Turns that a lying disk keeps to itself.
const CACHE: usize = 3;

/// What a disk holds.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) rows: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    pub(super) blobs: BTreeMap<[u8; 32], Arc<Vec<u8>>>,
}

impl State {
    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put { table, key, value } => {
                    self.rows.insert((*table, key.clone()), value.clone());
                }
                Change::Delete { table, key } => {
                    self.rows.remove(&(*table, key.clone()));
                }
                Change::Keep { blob, bytes } => {
                    self.blobs.insert(*blob, Arc::clone(bytes));
                }
                Change::Erase { blob } => {
                    self.blobs.remove(blob);
                }
            }
        }
    }

    /// The rows of a table, in the order of their keys.
    pub(super) fn table(&self, table: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
        let rows = self.rows.range((table, Vec::new())..);
        let own = rows.take_while(move |((of, _), _)| *of == table);
        own.map(|((_, key), value)| (key.as_slice(), value.as_slice()))
    }

    /// All of it as one turn.
    fn whole(&self) -> Vec<Change> {
        let rows = self.rows.iter().map(|((table, key), value)| Change::Put {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        });
        let blobs =
            self.blobs.iter().map(|(blob, bytes)| Change::Keep { blob: *blob, bytes: Arc::clone(bytes) });
        rows.chain(blobs).collect()
    }
}

/// A segment that is written to.
#[derive(Debug, Clone)]
struct Segment {
    header: SegmentHeader,
    bytes: Vec<u8>,
    end: usize,
    sequence: u64,
    last: Sum,
    /// Where the last record begins.
    newest: usize,
    /// Where the blobs are.
    places: BTreeMap<[u8; 32], Part>,
}

impl Segment {
    /// A segment that begins with all of a state.
    fn beginning(number: u64, (sequence, opening): (u64, Sum), state: &State) -> Self {
        let whole = state.whole();
        let body = body(&whole);
        let room = 2 * usize::try_from(body.size()).unwrap_or_default() + SEGMENT;
        let capacity = room.next_multiple_of(SEGMENT);
        let header = SegmentHeader {
            number,
            first_sequence: sequence + 1,
            capacity: u64::try_from(capacity).unwrap_or(u64::MAX),
            oldest: number,
            opening,
        };
        let mut bytes = header.encode();
        bytes.resize(capacity, 0);
        let end = segment::HEADER;
        let mut new =
            Self { header, bytes, end, sequence, last: opening, newest: end, places: BTreeMap::new() };
        let record = new.encode(&whole);
        new.append(&record, &whole);
        new
    }

    fn encode(&self, changes: &[Change]) -> Vec<u8> {
        let frame = Frame {
            kind: Kind::Turn,
            sequence: self.sequence + 1,
            oldest: self.header.number,
            previous: self.last,
            offset: u64::try_from(self.end).unwrap_or(u64::MAX),
        };
        let drops = drops(changes);
        let body = Body { drops: &drops, ..body(changes) };
        let mut record = Vec::new();
        record::encode(&body, frame, &self.header.salt(), &mut record);
        record
    }

    fn has_room(&self, record: &[u8]) -> bool {
        self.end + record.len() + record::SMALLEST < self.bytes.len()
    }

    /// Writes a whole record behind the last; `false` when there is no room.
    fn append(&mut self, record: &[u8], changes: &[Change]) -> bool {
        if !self.has_room(record) {
            return false;
        }
        let end = self.end + record.len();
        self.bytes[self.end..end].copy_from_slice(record);
        let salt = self.header.salt();
        let offset = u64::try_from(self.end).unwrap_or(u64::MAX);
        if let Some(header) = record::Header::read(record, &salt, offset) {
            (self.last, self.sequence) = (header.sum, header.sequence);
        }
        if changes.iter().any(|change| matches!(change, Change::Keep { .. }))
            && let Ok(read) = record::decode(record, &salt, offset, false)
        {
            self.places.extend(read.directory.blobs.iter().map(|blob| (blob.id.0, blob.part)));
        }
        (self.newest, self.end) = (self.end, end);
        true
    }
}

/// The rows and blobs of a turn; what it drops is not in it.
fn body(changes: &[Change]) -> Body<'_> {
    let mut body = Body::default();
    for change in changes {
        match change {
            Change::Put { table, key, value } => {
                body.rows.push(RowRef { table: *table, key, value: Some(value) });
            }
            Change::Delete { table, key } => body.rows.push(RowRef { table: *table, key, value: None }),
            Change::Keep { blob, bytes } => body.blobs.push((BlobId(*blob), bytes)),
            Change::Erase { .. } => {}
        }
    }
    body
}

fn drops(changes: &[Change]) -> Vec<BlobId> {
    let drop = |change: &Change| match change {
        Change::Erase { blob } => Some(BlobId(*blob)),
        Change::Put { .. } | Change::Delete { .. } | Change::Keep { .. } => None,
    };
    changes.iter().filter_map(drop).collect()
}

/// What became of a turn whose flush did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unflushed {
    /// Nothing of it is there.
    Lost,
    /// All of it is.
    Whole,
    /// Some of its sectors are.
    Torn,
}

/// What is read is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

/// A disk of one process.
#[derive(Debug)]
pub(super) struct Disk {
    /// What the process sees.
    pub(super) live: State,
    segment: Segment,
    /// What is really kept, when this disk lies.
    kept: Option<State>,
    /// What it says it flushed and has not.
    cache: VecDeque<Vec<Change>>,
    /// The bit that turned over: its byte, and which.
    flipped: Option<(usize, u8)>,
    /// Whether what is read is given as it is, whatever its sum.
    pub(super) unchecked: bool,
}

impl Disk {
    pub(super) fn new(state: State, lies: bool) -> Self {
        Self {
            kept: lies.then(|| state.clone()),
            segment: Segment::beginning(1, (0, Sum::default()), &state),
            live: state,
            cache: VecDeque::new(),
            flipped: None,
            unchecked: false,
        }
    }

    /// Whether there is no room for a turn but in a new segment, and what would be copied to that is damaged: the process
    /// stops, as at damage that the journal finds where it makes room, and nothing of the turn is there.
    pub(super) fn copies_damage(&self, changes: &[Change]) -> bool {
        let checks = self.flipped.is_some() && !self.unchecked;
        checks && !self.segment.has_room(&self.segment.encode(changes))
    }

    /// Makes a turn durable.
    pub(super) fn flush(&mut self, changes: Vec<Change>) {
        self.live.apply(&changes);
        self.write(&changes);
        let Some(kept) = &mut self.kept else { return };
        self.cache.push_back(changes);
        while self.cache.len() > CACHE {
            kept.apply(&self.cache.pop_front().unwrap_or_default());
        }
    }

    /// What is live already goes to the segment, or to a new one.
    fn write(&mut self, changes: &[Change]) {
        let record = self.segment.encode(changes);
        if !self.segment.append(&record, changes) {
            self.begin_segment();
        }
    }

    fn begin_segment(&mut self) {
        let number = self.segment.header.number + 1;
        self.segment = Segment::beginning(number, (self.segment.sequence, self.segment.last), &self.live);
        self.flipped = None;
    }

    /// The process is gone, and with it what the disk had not flushed: of a turn that waited for that, this much is
    /// there.
    pub(super) fn crash(&mut self, pending: Option<(Vec<Change>, Unflushed)>, dice: &mut Dice) {
        match pending {
            Some((changes, Unflushed::Whole)) if !self.copies_damage(&changes) => self.flush(changes),
            Some((changes, Unflushed::Torn)) => {
                let record = self.segment.encode(&changes);
                self.tear(&record, dice);
            }
            Some((_, Unflushed::Whole | Unflushed::Lost)) | None => {}
        }
        if let Some(kept) = &self.kept {
            self.live = kept.clone();
            self.cache.clear();
            self.begin_segment();
        }
    }

    /// Some sectors of a record reach the disk, and one at least does not.
    fn tear(&mut self, record: &[u8], dice: &mut Dice) {
        if !self.segment.has_room(record) {
            return;
        }
        let (begin, end) = (self.segment.end, self.segment.end + record.len());
        let sectors = begin / SECTOR..end.div_ceil(SECTOR);
        let missing = dice.between(
            u64::try_from(sectors.start).unwrap_or_default(),
            u64::try_from(sectors.end).unwrap_or_default(),
        );
        for sector in sectors {
            if u64::try_from(sector).ok() == Some(missing) || dice.percent(50) {
                continue;
            }
            let (from, to) = ((sector * SECTOR).max(begin), ((sector + 1) * SECTOR).min(end));
            self.segment.bytes[from..to].copy_from_slice(&record[from - begin..to - begin]);
        }
    }

    /// Reads all back, as a start does: what a crash interrupted is cut off.
    ///
    /// # Errors
    /// What is wrong, when that is no interrupted write.
    pub(super) fn open(&mut self) -> Result<(), &'static str> {
        let scan = segment::scan_segment(&self.segment.bytes, !self.unchecked)?;
        if let Tail::Damaged { fault, .. } = scan.tail {
            return Err(fault);
        }
        let (mut state, mut places) = (State::default(), BTreeMap::new());
        let data = |part: &Part| {
            let from = usize::try_from(part.offset).unwrap_or(usize::MAX);
            let to = from.saturating_add(usize::try_from(part.length).unwrap_or(usize::MAX));
            self.segment.bytes.get(from..to).unwrap_or_default().to_vec()
        };
        for record in &scan.records {
            for row in &record.directory.rows {
                let key = (row.table, row.key.to_vec());
                match &row.value {
                    None => drop(state.rows.remove(&key)),
                    Some(Value::Inline(value)) => drop(state.rows.insert(key, value.to_vec())),
                    Some(Value::Apart(part)) => drop(state.rows.insert(key, data(part))),
                }
            }
            for blob in &record.directory.blobs {
                state.blobs.insert(blob.id.0, Arc::new(data(&blob.part)));
                places.insert(blob.id.0, blob.part);
            }
            record.directory.drops.iter().for_each(|id| drop(state.blobs.remove(&id.0)));
        }
        let (end, sequence, last) = (scan.end, scan.last_sequence(), scan.last_sum());
        if let Some(newest) = scan.records.last() {
            self.segment.newest = usize::try_from(newest.offset).unwrap_or_default();
        }
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        self.segment.bytes.iter_mut().skip(end).for_each(|byte| *byte = 0);
        (self.segment.end, self.segment.sequence, self.segment.last) = (end, sequence, last);
        self.segment.places = places;
        self.live = state;
        Ok(())
    }

    /// A packet as the disk gives it; none when it is not there.
    ///
    /// # Errors
    /// It is there, and not what was written.
    pub(super) fn blob(&self, id: &[u8; 32]) -> Result<Option<Vec<u8>>, Damaged> {
        let Some(written) = self.live.blobs.get(id) else { return Ok(None) };
        if self.flipped.is_none() {
            return Ok(Some(written.to_vec()));
        }
        let part = self.segment.places.get(id).ok_or(Damaged)?;
        let from = usize::try_from(part.offset).map_err(|_| Damaged)?;
        let length = usize::try_from(part.length).map_err(|_| Damaged)?;
        let bytes = self.segment.bytes.get(from..from + length).ok_or(Damaged)?;
        if self.unchecked || Sum::of(bytes) == part.sum { Ok(Some(bytes.to_vec())) } else { Err(Damaged) }
    }

    /// Turns a bit over in what was flushed before the last record, rather in a packet. `false` when there is nothing,
    /// or one is turned over already.
    pub(super) fn flip(&mut self, dice: &mut Dice) -> bool {
        let blobs: Vec<[u8; 32]> = self.live.blobs.keys().copied().collect();
        let part = dice.pick(&blobs).and_then(|id| self.segment.places.get(&id).copied());
        let (from, to) = match part.filter(|_| dice.percent(70)) {
            Some(part) => (part.offset, part.offset + u64::from(part.length)),
            None => (0, u64::try_from(self.segment.newest).unwrap_or_default()),
        };
        // The last record of a process that crashed is where one bit can look like an interrupted write.
        let newest = u64::try_from(self.segment.newest).unwrap_or_default();
        if self.flipped.is_some() || from >= to.min(newest) {
            return false;
        }
        let at = usize::try_from(dice.between(from, to.min(newest))).unwrap_or_default();
        let bit = 1 << dice.between(0, 8);
        if let Some(byte) = self.segment.bytes.get_mut(at) {
            *byte ^= bit;
            self.flipped = Some((at, bit));
        }
        true
    }

    /// Whether a bit is not what it was.
    pub(super) const fn is_flipped(&self) -> bool {
        self.flipped.is_some()
    }

    /// Somebody put a good copy in the place of this disk.
    pub(super) fn mend(&mut self) {
        if let Some((at, bit)) = self.flipped.take()
            && let Some(byte) = self.segment.bytes.get_mut(at)
        {
            *byte ^= bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_not_made_good_by_a_new_segment() {
        let (id, packet) = ([7; 32], Arc::new(vec![1; 64]));
        let mut disk = Disk::new(State::default(), false);
        disk.flush(vec![Change::Keep { blob: id, bytes: Arc::clone(&packet) }]);
        let row = |value| vec![Change::Put { table: 1, key: vec![1], value }];
        disk.flush(row(vec![0]));
        let mut dice = Dice::new(1);
        while disk.blob(&id).is_ok() {
            disk.mend();
            disk.flip(&mut dice);
        }
        let turn = || row(vec![2; 4096]);
        let mut turns = 0;
        while turns < 100 && !disk.copies_damage(&turn()) {
            disk.flush(turn());
            turns += 1;
        }
        assert!(turns > 0, "there is room for some");
        assert_eq!(disk.blob(&id), Err(Damaged));
        disk.crash(Some((turn(), Unflushed::Whole)), &mut dice);
        assert!(disk.open().is_err(), "the next start finds it");
        disk.mend();
        assert_eq!((disk.open(), disk.blob(&id)), (Ok(()), Ok(Some(packet.to_vec()))));
        assert!(!disk.copies_damage(&turn()));
        disk.flush(turn());
        assert_eq!(disk.blob(&id), Ok(Some(packet.to_vec())), "it is in the new segment");
    }
}
