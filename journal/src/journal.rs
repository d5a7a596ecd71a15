//! The journal on disk: surveying what is there, appending, knowing which segments are in use.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use crate::faults::Faults;
use crate::pool::{Pool, Spare};
use crate::record::{self, Body, Encoded, Frame, Kind, Part, Salt, Sum};
use crate::segment::{self, Scan, SegmentHeader, Tail};
use crate::{Snapshot, SnapshotFile, StoreError, narrow, wide};

const PAGE: u64 = 4096;

/// An open segment file.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

impl Segment {
    /// Reads `length` bytes at `offset` in place of what `bytes` holds.
    pub(crate) fn read(&self, offset: u64, length: usize, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        bytes.clear();
        bytes.resize(length, 0);
        self.file.read_exact_at(bytes, offset).map_err(StoreError::io("read", &self.path))
    }

    /// Reads a piece of the data of a record, verified.
    pub(crate) fn part(&self, part: &Part) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.read(part.offset, narrow(u64::from(part.length)), &mut bytes)?;
        if Sum::of(&bytes) == part.sum {
            Ok(bytes)
        } else {
            Err(StoreError::damaged(&self.path, part.offset, "stored bytes fail their sum"))
        }
    }
}

/// Segments in use by number, shared with the readers.
pub(crate) type Table = Arc<RwLock<BTreeMap<u64, Arc<Segment>>>>;

/// Looks a segment up.
pub(crate) fn find(table: &Table, number: u64) -> Option<Arc<Segment>> {
    table.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
}

/// A point in the history: a record's number and the sum that stands for everything up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) sequence: u64,
    pub(crate) sum: Sum,
}

/// Where a segment's records end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) end: u64,
    pub(crate) last_sequence: u64,
}

/// A segment as the survey found it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    pub(crate) extent: Extent,
}

/// An interrupted write at the end of the journal.
#[derive(Debug, Clone)]
pub(crate) struct TornEnd {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// Everything the journal folder holds, verified; nothing has been changed yet.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) segments: Vec<Seen>,
    /// Position before the first record that is still there.
    pub(crate) start: Position,
    /// Position of the last record.
    pub(crate) end: Position,
    pub(crate) oldest: u64,
    pub(crate) closed: bool,
    pub(crate) records: u64,
    /// Sum of the record whose number was asked for.
    pub(crate) probed: Option<Sum>,
    pub(crate) torn: Option<TornEnd>,
    /// Files to overwrite: spares, and segments freed but not yet renamed.
    pub(crate) left: Vec<PathBuf>,
}

struct Listing {
    segments: BTreeMap<u64, PathBuf>,
    spares: Vec<PathBuf>,
}

fn list(folder: &Path) -> Result<Listing, StoreError> {
    let mut listing = Listing { segments: BTreeMap::new(), spares: Vec::new() };
    for entry in fs::read_dir(folder).map_err(StoreError::io("list", folder))? {
        let path = entry.map_err(StoreError::io("list", folder))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("spare-") {
            listing.spares.push(path);
        } else if let Some(number) =
            name.strip_prefix("segment-").and_then(|hex| u64::from_str_radix(hex, 16).ok())
        {
            listing.segments.insert(number, path);
        }
    }
    listing.spares.sort();
    Ok(listing)
}

pub(crate) fn segment_name(number: u64) -> String {
    format!("segment-{number:016x}")
}

pub(crate) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(segment_name(number))
}

/// Reads a segment into memory; refuses before allocating when the length is not the one in the header.
pub(crate) fn read_segment(
    path: &Path,
    number: u64,
    bytes: &mut Vec<u8>,
) -> Result<SegmentHeader, StoreError> {
    let damaged = |fault: &str| StoreError::damaged(path, 0, fault);
    let mut file = File::open(path).map_err(StoreError::io("open", path))?;
    let length = file.metadata().map_err(StoreError::io("examine", path))?.len();
    bytes.clear();
    let head = file.by_ref().take(wide(segment::HEADER)).read_to_end(bytes);
    head.map_err(StoreError::io("read", path))?;
    let header = SegmentHeader::decode(bytes).map_err(damaged)?;
    if header.number != number {
        return Err(damaged("its name and its header give different segment numbers"));
    }
    if header.capacity != length {
        return Err(damaged("the file does not have the length that its header names"));
    }
    bytes.reserve(narrow(length));
    file.read_to_end(bytes).map_err(StoreError::io("read", path))?;
    Ok(header)
}

/// Reads and verifies the whole journal. `probe` is a record number whose sum is wanted.
pub(crate) fn survey(
    folder: &Path,
    probe: Option<u64>,
    cut_damaged_tail: bool,
) -> Result<Survey, StoreError> {
    let mut listing = list(folder)?;
    let mut survey = Survey { left: listing.spares, ..Survey::default() };
    let Some((newest, path)) = listing.segments.last_key_value().map(|(n, p)| (*n, p.clone())) else {
        return Ok(survey);
    };
    let mut bytes = Vec::new();
    read_segment(&path, newest, &mut bytes)?;
    let scan = segment::scan_segment(&bytes, false).map_err(|fault| StoreError::damaged(&path, 0, fault))?;
    survey.oldest = scan.oldest();
    let needed = listing.segments.split_off(&survey.oldest);
    survey.left.extend(listing.segments.into_values());
    for (number, expected) in needed.keys().zip(survey.oldest..) {
        if *number != expected {
            return Err(StoreError::Missing { number: expected, path: segment_path(folder, expected) });
        }
    }
    let needed: Vec<(u64, PathBuf)> = needed.into_iter().collect();
    let asked = Asked { newest, probe, cut_damaged_tail };
    for examined in examine_all(&needed, asked) {
        survey.add(examined?)?;
    }
    Ok(survey)
}

/// What is asked of the segments.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Number of the newest.
    newest: u64,
    /// A record number whose sum is wanted.
    probe: Option<u64>,
    cut_damaged_tail: bool,
}

/// What one segment holds, verified.
struct Examined {
    seen: Seen,
    last_sum: Sum,
    records: u64,
    /// Whether its last record tells of an orderly stop, if it has any.
    closed: Option<bool>,
    probed: Option<Sum>,
    torn: Option<TornEnd>,
}

/// Most segments that are examined at one time; each takes memory for its bytes.
const THREADS: usize = 8;

/// Examines segments, some at a time; what was found, in their order.
fn examine_all<'a>(needed: &'a [(u64, PathBuf)], asked: Asked) -> Vec<Result<Examined, StoreError>> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let share = needed.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let begin = |own: &'a [(u64, PathBuf)]| {
            scope.spawn(move || {
                let mut bytes = Vec::new();
                own.iter().map(|(number, path)| examine(path, *number, asked, &mut bytes)).collect::<Vec<_>>()
            })
        };
        let running: Vec<_> = needed.chunks(share).map(begin).collect();
        let examined = running.into_iter().map(|thread| match thread.join() {
            Ok(found) => found,
            Err(panic) => resume_unwind(panic),
        });
        examined.flatten().collect()
    })
}

fn examine(path: &Path, number: u64, asked: Asked, bytes: &mut Vec<u8>) -> Result<Examined, StoreError> {
    read_segment(path, number, bytes)?;
    let scan = segment::scan_segment(bytes, true).map_err(|fault| StoreError::damaged(path, 0, fault))?;
    let torn = examine_tail(&scan, path, number == asked.newest, asked.cut_damaged_tail)?;
    let points = scan.records.iter().map(|r| Position { sequence: r.header.sequence, sum: r.header.sum });
    let mut points = [opening(&scan.header)].into_iter().chain(points);
    let extent = Extent { end: scan.end, last_sequence: scan.last_sequence() };
    Ok(Examined {
        probed: points.find(|point| Some(point.sequence) == asked.probe).map(|point| point.sum),
        seen: Seen { header: scan.header, path: path.to_path_buf(), extent },
        last_sum: scan.last_sum(),
        records: wide(scan.records.len()),
        closed: scan.records.last().map(|last| last.header.kind == Kind::Close),
        torn,
    })
}

/// The position before a segment's first record.
fn opening(header: &SegmentHeader) -> Position {
    Position { sequence: header.first_sequence.saturating_sub(1), sum: header.opening }
}

impl Survey {
    fn add(&mut self, examined: Examined) -> Result<(), StoreError> {
        let Examined { seen, last_sum, records, closed, probed, torn } = examined;
        let opening = opening(&seen.header);
        if self.segments.is_empty() {
            self.start = opening;
        } else if self.end != opening {
            return Err(StoreError::damaged(
                &seen.path,
                0,
                "the segment does not continue the one before it: records are missing or of another journal",
            ));
        }
        self.end = Position { sequence: seen.extent.last_sequence, sum: last_sum };
        self.records = self.records.saturating_add(records);
        self.closed = closed.unwrap_or(self.closed);
        self.probed = probed.or(self.probed);
        self.torn = torn;
        self.segments.push(seen);
        Ok(())
    }
}

fn examine_tail(
    scan: &Scan<'_>,
    path: &Path,
    newest: bool,
    cut_damaged: bool,
) -> Result<Option<TornEnd>, StoreError> {
    let torn = |bytes| Ok(Some(TornEnd { path: path.to_path_buf(), offset: scan.end, bytes }));
    match scan.tail {
        Tail::Clean => Ok(None),
        Tail::Torn { bytes } if newest => torn(bytes),
        Tail::Torn { .. } => Err(StoreError::damaged(
            path,
            scan.end,
            "a part of a confirmed record is zero (later segments prove that it was written whole)",
        )),
        Tail::Damaged { behind: None, bytes, .. } if newest && cut_damaged => torn(bytes),
        Tail::Damaged { fault, behind: Some(at), .. } => Err(StoreError::damaged(
            path,
            scan.end,
            format!("{fault}, and the valid record at byte {at} proves that it was once whole"),
        )),
        Tail::Damaged { fault, behind: None, .. } => Err(StoreError::damaged(
            path,
            scan.end,
            format!(
                "{fault}, and it does not look like an interrupted write. If it is the last record and losing \
                 that one turn is acceptable, open once with `cut_damaged_tail`"
            ),
        )),
    }
}

/// What an append made durable.
#[derive(Debug)]
pub(crate) struct Appended<'a> {
    pub(crate) position: Position,
    pub(crate) segment: u64,
    pub(crate) encoded: Encoded<'a>,
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    disk: Faults,
    pub(crate) pool: Pool,
    pub(crate) table: Table,
    /// Extents of the segments before the active one.
    sealed: BTreeMap<u64, Extent>,
    active: Arc<Segment>,
    salt: Salt,
    offset: u64,
    pub(crate) end: Position,
    pub(crate) oldest: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) syncs: u64,
    segment_bytes: u64,
    buffer: Vec<u8>,
}

impl Journal {
    /// Takes up the surveyed journal, or starts an empty one.
    pub(crate) fn start(
        folder: &Path,
        survey: &Survey,
        pool: Pool,
        disk: Faults,
        segment_bytes: u64,
    ) -> Result<Self, StoreError> {
        let table = Table::default();
        let mut sealed = BTreeMap::new();
        let mut disk_bytes = 0_u64;
        let mut active = None;
        for seen in &survey.segments {
            let opened = OpenOptions::new().read(true).write(true).open(&seen.path);
            let file = opened.map_err(StoreError::io("open for writing", &seen.path))?;
            let segment = Arc::new(Segment { header: seen.header, path: seen.path.clone(), file });
            sealed.insert(seen.header.number, seen.extent);
            disk_bytes = disk_bytes.saturating_add(seen.header.capacity);
            insert(&table, &segment);
            active = Some((segment, seen.extent.end));
        }
        let oldest = survey.oldest.max(1);
        let (active, offset) = if let Some(found) = active {
            sealed.remove(&found.0.header.number);
            found
        } else {
            let first = SegmentHeader {
                number: 1,
                first_sequence: 1,
                capacity: segment_bytes,
                oldest,
                opening: Sum::default(),
            };
            let segment = Arc::new(dress(folder, &disk, pool.take()?, first)?);
            insert(&table, &segment);
            disk_bytes = segment_bytes;
            (segment, wide(segment::HEADER))
        };
        let (salt, end) = (active.header.salt(), survey.end);
        Ok(Self {
            folder: folder.to_path_buf(),
            disk,
            pool,
            table,
            sealed,
            active,
            salt,
            offset,
            end,
            oldest,
            disk_bytes,
            syncs: 0,
            segment_bytes,
            buffer: Vec::new(),
        })
    }

    /// Writes one record and flushes it. After an error nobody knows what the disk holds: never call again.
    pub(crate) fn append<'a>(
        &mut self,
        body: &Body<'a>,
        kind: Kind,
        oldest: u64,
    ) -> Result<Appended<'a>, StoreError> {
        let size = body.size();
        if self.offset.saturating_add(size) > self.active.header.capacity {
            self.roll(size)?;
        }
        let sequence = self.end.sequence.saturating_add(1);
        let frame = Frame { kind, sequence, oldest, previous: self.end.sum, offset: self.offset };
        let encoded = record::encode(body, frame, &self.salt, &mut self.buffer);
        let Segment { file, path, header } = &*self.active;
        self.disk
            .write(file, &self.buffer, self.offset)
            .map_err(StoreError::io("write a record to", path))?;
        self.disk.sync(file).map_err(StoreError::io("flush", path))?;
        self.syncs = self.syncs.saturating_add(1);
        self.offset = self.offset.saturating_add(size);
        self.end = Position { sequence, sum: encoded.sum };
        self.oldest = oldest;
        let segment = header.number;
        if self.buffer.capacity() > narrow(self.segment_bytes) {
            self.buffer = Vec::new();
        }
        Ok(Appended { position: self.end, segment, encoded })
    }

    /// Starts the next segment, large enough for a record of `size` bytes.
    pub(crate) fn roll(&mut self, size: u64) -> Result<(), StoreError> {
        let needed = size.saturating_add(wide(segment::HEADER));
        let (spare, capacity) = if needed > self.segment_bytes {
            let capacity = needed.next_multiple_of(PAGE);
            (self.pool.make(capacity)?, capacity)
        } else {
            (self.pool.take()?, self.segment_bytes)
        };
        let header = SegmentHeader {
            number: self.active.header.number.saturating_add(1),
            first_sequence: self.end.sequence.saturating_add(1),
            capacity,
            oldest: self.oldest,
            opening: self.end.sum,
        };
        let segment = Arc::new(dress(&self.folder, &self.disk, spare, header)?);
        insert(&self.table, &segment);
        let extent = Extent { end: self.offset, last_sequence: self.end.sequence };
        self.sealed.insert(self.active.header.number, extent);
        self.disk_bytes = self.disk_bytes.saturating_add(capacity);
        self.salt = header.salt();
        self.offset = wide(segment::HEADER);
        self.active = segment;
        Ok(())
    }

    /// The oldest segment and its extent, unless it is the one being written.
    pub(crate) fn oldest_sealed(&self) -> Option<(Arc<Segment>, Extent)> {
        let extent = *self.sealed.get(&self.oldest)?;
        find(&self.table, self.oldest).map(|segment| (segment, extent))
    }

    /// What is durable, for copying while more is appended.
    pub(crate) fn snapshot(&self) -> Snapshot {
        // Held before anything is named: what is freed from here on keeps its bytes.
        let hold = self.pool.hold();
        let sealed = self.sealed.iter().filter_map(|(number, extent)| {
            find(&self.table, *number).map(|segment| SnapshotFile::new(segment, extent.end))
        });
        let active = SnapshotFile::new(Arc::clone(&self.active), self.offset);
        Snapshot::new(sealed.chain([active]).collect(), self.end.sequence, hold)
    }

    /// Number of the segment being written.
    pub(crate) fn active(&self) -> u64 {
        self.active.header.number
    }

    /// Segments in use.
    pub(crate) fn segments(&self) -> u64 {
        wide(self.sealed.len()).saturating_add(1)
    }

    /// Gives a segment away that a durable record has declared unneeded.
    pub(crate) fn free(&mut self, segment: &Segment) {
        let number = segment.header.number;
        self.table.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
        self.sealed.remove(&number);
        self.disk_bytes = self.disk_bytes.saturating_sub(segment.header.capacity);
        self.pool.recycle(segment.path.clone());
    }
}

fn insert(table: &Table, segment: &Arc<Segment>) {
    let mut table = table.write().unwrap_or_else(PoisonError::into_inner);
    table.insert(segment.header.number, Arc::clone(segment));
}

/// Makes a segment of a spare: the header is durable before the name is.
fn dress(folder: &Path, disk: &Faults, spare: Spare, header: SegmentHeader) -> Result<Segment, StoreError> {
    let path = segment_path(folder, header.number);
    disk.write_header(&spare.file, &header.encode())
        .map_err(StoreError::io("write the header of", &spare.path))?;
    disk.rename(&spare.path, &path).map_err(StoreError::io("rename a spare file to", &path))?;
    disk.sync_dir(folder).map_err(StoreError::io("flush the folder", folder))?;
    Ok(Segment { header, path, file: spare.file })
}

/// Overwrites an interrupted write with zeros.
pub(crate) fn cut(torn: &TornEnd, disk: &Faults) -> Result<(), StoreError> {
    let opened = OpenOptions::new().read(true).write(true).open(&torn.path);
    let file = opened.map_err(StoreError::io("open for writing", &torn.path))?;
    let end = torn.offset.saturating_add(torn.bytes);
    disk.zero(&file, torn.offset, end).map_err(StoreError::io("cut the interrupted write from", &torn.path))
}
