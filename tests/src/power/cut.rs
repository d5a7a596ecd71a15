//! What a disk holds after its power went away: a history of writes and flushes, cut off.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sim::Dice;

/// Bytes of a block of the file system.
pub(super) const BLOCK: usize = 4096;
/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The content of a disk: its blocks that are not zeros.
#[derive(Debug, Clone, Default)]
pub(super) struct Blocks(BTreeMap<u64, Arc<[u8]>>);

impl Blocks {
    /// Writes `bytes` at `offset`.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let (mut offset, mut bytes) = (offset, bytes);
        while !bytes.is_empty() {
            let (number, from) = place(offset);
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - from));
            self.write_block(number, from, now);
            offset = offset.saturating_add(wide(now.len()));
            bytes = rest;
        }
    }

    fn write_block(&mut self, number: u64, from: usize, bytes: &[u8]) {
        let mut block = match self.0.get(&number) {
            Some(block) if bytes.len() < BLOCK => block.to_vec(),
            Some(_) | None => vec![0; BLOCK],
        };
        block.iter_mut().skip(from).zip(bytes).for_each(|(to, byte)| *to = *byte);
        if block.iter().all(|byte| *byte == 0) {
            self.0.remove(&number);
        } else {
            self.0.insert(number, block.into());
        }
    }

    /// Reads `length` bytes at `offset`.
    pub(super) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let (number, from) = place(offset.saturating_add(wide(bytes.len())));
            let most = (BLOCK - from).min(length - bytes.len());
            match self.0.get(&number).and_then(|block| block.get(from..from + most)) {
                Some(part) => bytes.extend_from_slice(part),
                None => bytes.resize(bytes.len() + most, 0),
            }
        }
        bytes
    }
}

fn place(offset: u64) -> (u64, usize) {
    let block = wide(BLOCK);
    (offset / block, usize::try_from(offset % block).unwrap_or_default())
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Something that happened to a disk, or was said by somebody who relies on it.
#[derive(Debug, Clone)]
pub(super) enum Event<T> {
    /// Bytes were written at an offset.
    Write(u64, Arc<[u8]>),
    /// All that was written before is on stable storage.
    Flush,
    /// Somebody outside was told this.
    Told(T),
}

/// What the disk had kept by itself of what was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// Some of the writes, whichever.
    Some,
    /// Some of the sectors of some of the writes.
    Torn,
}

impl Kept {
    pub(super) const ALL: [Self; 4] = [Self::Nothing, Self::Everything, Self::Some, Self::Torn];
}

/// A moment at which the power goes away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// Events that had happened.
    pub(super) at: usize,
    /// What was kept of the last of them.
    pub(super) kept: Kept,
    /// Flushes, the last ones, that the disk only said it did.
    pub(super) sham: usize,
}

/// A history that is cut at one moment after another.
#[derive(Debug)]
pub(super) struct Replay<'a, T> {
    /// All that is on stable storage at `done`.
    stable: Blocks,
    done: usize,
    events: &'a [Event<T>],
}

impl<'a, T> Replay<'a, T> {
    /// A history that begins with what is on stable storage already.
    pub(super) const fn new(stable: Blocks, events: &'a [Event<T>]) -> Self {
        Self { stable, done: 0, events }
    }

    /// What the disk holds after a cut, and how many of the writes were neither flushed nor kept whole. Cuts have to
    /// come in their order, with no fewer sham flushes than before.
    pub(super) fn after(&mut self, cut: &Cut, dice: &mut Dice) -> (Blocks, usize) {
        let happened = self.events.get(..cut.at).unwrap_or(self.events);
        let flushes = happened.iter().enumerate().filter(|(_, event)| matches!(event, Event::Flush));
        let flushed = flushes.rev().nth(cut.sham).map_or(0, |(at, _)| at).max(self.done);
        for event in happened.get(self.done..flushed).unwrap_or_default() {
            if let Event::Write(offset, bytes) = event {
                self.stable.write(*offset, bytes);
            }
        }
        self.done = flushed;
        let mut disk = self.stable.clone();
        let mut lost = 0;
        for event in happened.get(flushed..).unwrap_or_default() {
            if let Event::Write(offset, bytes) = event {
                lost += usize::from(!keep(&mut disk, (*offset, bytes), cut.kept, dice));
            }
        }
        (disk, lost)
    }
}

/// Whether the disk keeps all of a write.
fn keep(disk: &mut Blocks, (offset, bytes): (u64, &[u8]), kept: Kept, dice: &mut Dice) -> bool {
    let whole = match kept {
        Kept::Nothing => false,
        Kept::Everything => true,
        Kept::Some => dice.percent(50),
        Kept::Torn => dice.percent(30),
    };
    if whole {
        disk.write(offset, bytes);
    }
    if whole || kept != Kept::Torn {
        return whole;
    }
    let sectors = bytes.chunks(SECTOR).zip((0..).map(|number: u64| offset + number * wide(SECTOR)));
    let mut all = true;
    for (sector, at) in sectors {
        if dice.percent(50) {
            disk.write(at, sector);
        } else {
            all = false;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_across_blocks_and_zeros_take_no_room() {
        let mut disk = Blocks::default();
        let bytes: Vec<u8> = (0..10_000).map(|n: u32| u8::try_from(n % 251).unwrap()).collect();
        disk.write(4000, &bytes);
        assert_eq!(disk.read(4000, bytes.len()), bytes);
        assert_eq!(disk.read(3999, 3), [0, 0, 1]);
        assert_eq!(disk.read(1 << 40, 5), [0; 5]);
        disk.write(4000, &[0; 10_000]);
        assert_eq!(disk.0.len(), 0);
    }

    /// A write of ones, a flush, a write of twos behind it and one of threes over the first.
    fn history() -> Vec<Event<()>> {
        let write = |offset, byte| Event::Write(offset, vec![byte; BLOCK].into());
        vec![write(0, 1), Event::Flush, write(4096, 2), Event::Told(()), write(0, 3), Event::Flush]
    }

    fn after(at: usize, kept: Kept, sham: usize, seed: u64) -> Vec<u8> {
        let events = history();
        let mut replay = Replay::new(Blocks::default(), &events);
        replay.after(&Cut { at, kept, sham }, &mut Dice::new(seed)).0.read(0, 2 * BLOCK)
    }

    #[test]
    fn a_cut_keeps_all_that_was_flushed_and_of_the_rest_what_it_says() {
        let blocks = |one: u8, two: u8| [vec![one; BLOCK], vec![two; BLOCK]].concat();
        assert_eq!(after(0, Kept::Everything, 0, 1), blocks(0, 0));
        assert_eq!(after(1, Kept::Nothing, 0, 1), blocks(0, 0));
        assert_eq!(after(2, Kept::Nothing, 0, 1), blocks(1, 0));
        assert_eq!(after(5, Kept::Nothing, 0, 1), blocks(1, 0));
        assert_eq!(after(5, Kept::Everything, 0, 1), blocks(3, 2));
        assert_eq!(after(6, Kept::Nothing, 0, 1), blocks(3, 2));
        assert_eq!(after(6, Kept::Nothing, 1, 1), blocks(1, 0), "a flush that was only said");
        assert_eq!(after(6, Kept::Nothing, 2, 1), blocks(0, 0));
    }

    #[test]
    fn writes_are_lost_out_of_their_order_and_torn_at_sectors() {
        let some: Vec<Vec<u8>> = (0..40).map(|seed| after(5, Kept::Some, 0, seed)).collect();
        assert!(
            some.iter().any(|disk| (disk[0], disk[BLOCK]) == (3, 0)),
            "the later one without the earlier"
        );
        assert!(some.iter().all(|disk| disk[..BLOCK].iter().all(|byte| *byte == disk[0])), "whole");
        let torn = after(5, Kept::Torn, 0, 3);
        assert!(torn.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        assert!((0..40).any(|seed| {
            let disk = after(5, Kept::Torn, 0, seed);
            disk[..BLOCK].contains(&1) && disk[..BLOCK].contains(&3)
        }));
    }
}
