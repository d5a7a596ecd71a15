//! Counts of an export's entries, in bounded memory.

use std::collections::BTreeMap;

use seinhuis_shared::entry::Kind;
use seinhuis_shared::ids::Digest;

use crate::log::row::{Field, Row};

const DAY: u64 = 86_400_000;
/// Days counted apart at most: ten years.
const DAYS: usize = 3660;
/// Pairs of sender and recipient: those of sixty-four organisations.
const PAIRS: usize = 4096;
const FLOWS: usize = 1024;
const KINDS: usize = 64;
const REASONS: usize = 1024;
const COVENANTS: usize = 4096;

/// What was counted of one kind of thing.
#[derive(Debug, Clone)]
pub(in crate::export) struct Counts<K> {
    by_key: BTreeMap<K, Count>,
    most: usize,
    /// What was counted under no key of its own, as there were too many.
    pub(super) others: Count,
}

/// Accepted, refused, and everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::export) struct Count {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) all: u64,
}

impl Count {
    fn add(&mut self, kind: &str) {
        self.all += 1;
        self.accepted += u64::from(kind == Kind::Accepted.as_str());
        self.refused += u64::from(kind == Kind::Refused.as_str());
    }
}

impl<K: Ord> Counts<K> {
    const fn up_to(most: usize) -> Self {
        Self { by_key: BTreeMap::new(), most, others: Count { accepted: 0, refused: 0, all: 0 } }
    }

    fn add<Q: Ord + ?Sized>(&mut self, key: &Q, kind: &str)
    where
        K: std::borrow::Borrow<Q> + for<'q> From<&'q Q>,
    {
        if let Some(count) = self.by_key.get_mut(key) {
            count.add(kind);
        } else if self.by_key.len() < self.most {
            self.by_key.entry(K::from(key)).or_default().add(kind);
        } else {
            self.others.add(kind);
        }
    }

    /// Each key with its count, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, Count)> {
        self.by_key.iter().map(|(key, count)| (key, *count))
    }

    /// How many keys.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there were too many keys to count each apart.
    pub(super) const fn is_capped(&self) -> bool {
        self.others.all > 0
    }
}

/// Everything that is counted.
#[derive(Debug, Clone)]
pub(in crate::export) struct Tally {
    /// By day since 1970.
    pub(super) days: Counts<Box<str>>,
    pub(super) kinds: Counts<Box<str>>,
    pub(super) flows: Counts<Box<str>>,
    /// By sender and recipient, with a space between them.
    pub(super) pairs: Counts<Box<str>>,
    /// By the number of the refusal.
    pub(super) reasons: Counts<Box<str>>,
    /// By covenant version.
    pub(super) covenants: Counts<Box<str>>,
    /// In the period asked for.
    pub(super) inside: u64,
    /// Neighbours of the period, which are counted nowhere else.
    pub(super) outside: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            days: Counts::up_to(DAYS),
            kinds: Counts::up_to(KINDS),
            flows: Counts::up_to(FLOWS),
            pairs: Counts::up_to(PAIRS),
            reasons: Counts::up_to(REASONS),
            covenants: Counts::up_to(COVENANTS),
            inside: 0,
            outside: 0,
        }
    }
}

impl Tally {
    /// Counts an entry. The covenants of neighbours count as named too: their bytes belong in the bundle.
    pub(in crate::export) fn add(&mut self, inside: bool, time: u64, row: &Row<'_>) {
        let kind = row.raw(Field::Kind).unwrap_or_default();
        if let Some(covenant) = row.raw(Field::Covenant) {
            self.covenants.add(covenant, kind);
        }
        if !inside {
            self.outside += 1;
            return;
        }
        self.inside += 1;
        // Digits of one length are in the order of their numbers until the year 2243.
        self.days.add(format!("{:06}", time / DAY).as_str(), kind);
        self.kinds.add(kind, kind);
        if let Some(flow) = row.get(Field::Flow) {
            self.flows.add(&*flow, kind);
        }
        if let (Some(from), Some(to)) = (row.raw(Field::From), row.raw(Field::To)) {
            self.pairs.add(format!("{from} {to}").as_str(), kind);
        }
        if let Some(reason) = row.raw(Field::Reason).filter(|_| kind == Kind::Refused.as_str()) {
            self.reasons.add(reason, kind);
        }
    }

    /// The covenant versions entries name.
    pub(in crate::export) fn covenants(&self) -> impl Iterator<Item = Digest> {
        self.covenants.iter().filter_map(|(hash, _)| hash.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_under_no_name() {
        let mut counts: Counts<Box<str>> = Counts::up_to(2);
        for key in ["a", "b", "c", "a", "d"] {
            counts.add(key, "accepted");
        }
        let named: Vec<_> = counts.iter().map(|(key, count)| (&**key, count.accepted)).collect();
        assert_eq!(named, [("a", 2), ("b", 1)]);
        assert!(counts.is_capped());
        assert_eq!(counts.others, Count { accepted: 2, refused: 0, all: 2 });
    }

    #[test]
    fn neighbours_are_counted_as_neighbours_only() {
        let mut tally = Tally::default();
        let entry = br#"{"flow":"F01","from":"A","kind":"refused","reason":404,"salt":"0","time":86400000,"to":"B","v":1}"#;
        let row = Row::read(entry).unwrap();
        tally.add(true, 86_400_000, &row);
        tally.add(false, 0, &row);
        assert_eq!((tally.inside, tally.outside, tally.days.len()), (1, 1, 1));
        let pairs: Vec<_> = tally.pairs.iter().map(|(pair, count)| (&**pair, count.refused)).collect();
        assert_eq!(pairs, [("A B", 1)]);
        assert_eq!(
            tally.reasons.iter().next().map(|(reason, count)| (&**reason, count.all)),
            Some(("404", 1))
        );
    }
}
