//! Fair turns: what several bring is taken from each in equal shares of work, whatever any of them brings.
//!
//! Surplus round robin (a variant of deficit round robin, Shreedhar and Varghese 1995): each in turn may have work
//! worth [`QUANTUM`] done; who went beyond that with one large thing waits that much longer, also when nothing more of
//! it stood in line meanwhile.

use std::collections::{BTreeMap, VecDeque};

use crate::input::{Ask, Input};

/// Work that one may have done before the next has its turn: see [`work`].
const QUANTUM: i64 = 16;
/// Bytes that cost as much as a thing by itself.
const BYTES_PER_WORK: usize = 4096;

/// What an input costs the engine, in units of a small packet: of `bytes` that it brings, and of what it asks.
pub fn work(input: &Input, bytes: usize) -> u64 {
    let parts = if let Input::Acknowledged { examined: Ok(batch), .. } = input {
        batch.acknowledgement.items.len()
    } else if let Input::Submitted { examined: Ok(packet), .. } = input {
        packet.context().recipients.len()
    } else if let Input::Request { ask: Ask::Propose(_) | Ask::Vote(_) | Ask::Rotate(_), .. } = input {
        // Everybody it concerns is told.
        16
    } else {
        1
    };
    u64::try_from(parts.saturating_add(bytes / BYTES_PER_WORK)).unwrap_or(u64::MAX).max(1)
}

/// What one brought, and what it may still have done.
#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<(i64, T)>,
    /// Below zero: what it had done beyond its share.
    left: i64,
}

/// Things of several, each in its own line, first in first out.
#[derive(Debug)]
pub struct Fair<K, T> {
    lines: BTreeMap<K, Line<T>>,
    /// Those of whom something waits, in the order of their turns.
    round: VecDeque<K>,
}

impl<K: Ord + Clone, T> Default for Fair<K, T> {
    fn default() -> Self {
        Self { lines: BTreeMap::new(), round: VecDeque::new() }
    }
}

impl<K: Ord + Clone, T> Fair<K, T> {
    /// Puts a thing that costs `work` at the end of the line of `who`.
    pub fn push(&mut self, who: K, work: u64, thing: T) {
        let line = self.lines.entry(who.clone()).or_insert(Line { waiting: VecDeque::new(), left: 0 });
        if line.waiting.is_empty() {
            self.round.push_back(who);
        }
        line.waiting.push_back((i64::try_from(work).unwrap_or(i64::MAX), thing));
    }

    /// The next thing: of whoever's turn it is, the one it brought first.
    pub fn pop(&mut self) -> Option<T> {
        loop {
            let who = self.round.front()?.clone();
            let line = self.lines.get_mut(&who)?;
            if line.left <= 0 {
                line.left = line.left.saturating_add(QUANTUM);
                if line.left <= 0 {
                    self.round.rotate_left(1);
                    continue;
                }
            }
            let (work, thing) = line.waiting.pop_front()?;
            line.left = line.left.saturating_sub(work);
            if line.waiting.is_empty() {
                // Who has nothing to do saves nothing up, and owes what it owes.
                line.left = line.left.min(0);
                if line.left == 0 {
                    self.lines.remove(&who);
                }
                self.round.pop_front();
            } else if line.left <= 0 {
                self.round.rotate_left(1);
            }
            return Some(thing);
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.round.is_empty()
    }
}
