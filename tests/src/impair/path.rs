//! What one direction of a network does to a datagram, decided without a clock or a socket.

use std::ops::AddAssign;
use std::time::Duration;

use crate::sim::Dice;

/// Longest extra wait of a datagram that is overtaken, in milliseconds.
const OVERTAKEN_MS: u64 = 60;

/// One direction of a network. The default does nothing to what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Whether anything passes at all.
    pub open: bool,
    /// Datagrams in a hundred that get lost.
    pub loss: u64,
    /// Datagrams in a hundred that arrive twice.
    pub doubled: u64,
    /// Datagrams in a hundred that later ones overtake.
    pub overtaken: u64,
    /// Datagrams in a hundred in which one to four bits change.
    pub damaged: u64,
    /// How long each takes.
    pub delay: Duration,
    /// How much longer some take; their order stays.
    pub jitter: Duration,
    /// Most bytes of a datagram's payload; larger ones vanish, and nobody is told.
    pub largest: usize,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            open: true,
            loss: 0,
            doubled: 0,
            overtaken: 0,
            damaged: 0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            largest: usize::MAX,
        }
    }
}

/// What became of datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Those that came in.
    pub seen: u64,
    /// Those that were lost by chance, or because nothing passed.
    pub lost: u64,
    /// Those that arrived twice.
    pub doubled: u64,
    /// Those that later ones could overtake.
    pub overtaken: u64,
    /// Those that arrived damaged.
    pub damaged: u64,
    /// Those that were too large.
    pub too_large: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.seen += more.seen;
        self.lost += more.lost;
        self.doubled += more.doubled;
        self.overtaken += more.overtaken;
        self.damaged += more.damaged;
        self.too_large += more.too_large;
    }
}

/// A datagram, or a copy of it, on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passing {
    /// How long it takes.
    pub(super) wait: Duration,
    /// Whether it arrives in the order in which it was sent.
    pub(super) ordered: bool,
    /// What arrives.
    pub(super) bytes: Vec<u8>,
}

impl Path {
    /// What becomes of a datagram: nothing, itself, or two of it.
    pub(super) fn pass(&self, datagram: &[u8], dice: &mut Dice, counts: &mut Counts) -> Vec<Passing> {
        counts.seen += 1;
        if !self.open || dice.percent(self.loss) {
            counts.lost += 1;
            return Vec::new();
        }
        if datagram.len() > self.largest {
            counts.too_large += 1;
            return Vec::new();
        }
        let copies = if dice.percent(self.doubled) {
            counts.doubled += 1;
            2
        } else {
            1
        };
        (0..copies).map(|_| self.one(datagram, dice, counts)).collect()
    }

    fn one(&self, datagram: &[u8], dice: &mut Dice, counts: &mut Counts) -> Passing {
        let mut bytes = datagram.to_vec();
        if dice.percent(self.damaged) {
            counts.damaged += 1;
            damage(&mut bytes, dice);
        }
        let jitter = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        let mut wait = self.delay + Duration::from_millis(dice.between(0, jitter.saturating_add(1)));
        let ordered = !dice.percent(self.overtaken);
        if !ordered {
            counts.overtaken += 1;
            wait += Duration::from_millis(dice.between(1, OVERTAKEN_MS));
        }
        Passing { wait, ordered, bytes }
    }
}

/// Changes one to four bits, each another one.
fn damage(bytes: &mut [u8], dice: &mut Dice) {
    let bits = u64::try_from(bytes.len()).unwrap_or(u64::MAX).saturating_mul(8);
    let first = dice.between(0, bits);
    for step in 0..dice.between(1, 5).min(bits) {
        // Neighbours, as in a burst.
        let bit = (first + step) % bits;
        if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|place| bytes.get_mut(place)) {
            *byte ^= 1 << (bit % 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: u64 = 10_000;

    /// What becomes of many datagrams of 1,200 bytes.
    fn many(path: Path, seed: u64) -> (Vec<Passing>, Counts) {
        let (mut dice, mut counts) = (Dice::new(seed), Counts::default());
        let passed =
            (0..MANY).flat_map(|_| path.pass(&[7; 1200], &mut dice, &mut counts)).collect::<Vec<_>>();
        assert_eq!(counts.seen, MANY);
        (passed, counts)
    }

    /// `found` of many is about `percent`.
    fn about(found: u64, percent: u64) -> bool {
        found.abs_diff(MANY * percent / 100) < MANY / 50
    }

    #[test]
    fn a_path_without_faults_changes_nothing() {
        let (passed, counts) = many(Path::default(), 1);
        let whole = Passing { wait: Duration::ZERO, ordered: true, bytes: vec![7; 1200] };
        assert!(passed.iter().all(|one| *one == whole));
        assert_eq!((passed.len(), counts), (10_000, Counts { seen: MANY, ..Counts::default() }));
    }

    #[test]
    fn the_same_seed_does_the_same() {
        let path =
            Path { loss: 20, doubled: 10, damaged: 10, jitter: Duration::from_millis(9), ..Path::default() };
        assert_eq!(many(path, 3), many(path, 3));
        assert_ne!(many(path, 3), many(path, 4));
    }

    #[test]
    fn shares_are_kept() {
        let (passed, counts) = many(Path { loss: 30, ..Path::default() }, 1);
        assert!(about(counts.lost, 30), "{counts:?}");
        assert_eq!(passed.len() as u64, MANY - counts.lost);
        let (passed, counts) = many(Path { doubled: 10, ..Path::default() }, 1);
        assert!(about(counts.doubled, 10), "{counts:?}");
        assert_eq!(passed.len() as u64, MANY + counts.doubled);
        let (passed, counts) = many(Path { damaged: 10, ..Path::default() }, 1);
        assert!(about(counts.damaged, 10), "{counts:?}");
        assert_eq!(passed.iter().filter(|one| one.bytes != [7; 1200]).count() as u64, counts.damaged);
        let (passed, counts) = many(Path { overtaken: 25, ..Path::default() }, 1);
        assert!(about(counts.overtaken, 25), "{counts:?}");
        assert_eq!(passed.iter().filter(|one| !one.ordered).count() as u64, counts.overtaken);
    }

    #[test]
    fn a_damaged_datagram_differs_in_one_to_four_bits() {
        for seed in 0..500 {
            for length in [1, 2, 1200] {
                let mut bytes = vec![0; length];
                damage(&mut bytes, &mut Dice::new(seed));
                let changed: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
                assert!((1..=4).contains(&changed), "{changed} of {length} bytes, seed {seed}");
            }
        }
        damage(&mut [], &mut Dice::new(1));
    }

    #[test]
    fn what_is_closed_or_too_narrow_lets_nothing_through() {
        let (passed, counts) = many(Path { open: false, ..Path::default() }, 1);
        assert_eq!((passed.len(), counts.lost), (0, MANY));
        let (passed, counts) = many(Path { largest: 1199, ..Path::default() }, 1);
        assert_eq!((passed.len(), counts.too_large), (0, MANY));
        assert_eq!(many(Path { largest: 1200, ..Path::default() }, 1).0.len(), 10_000);
    }

    #[test]
    fn delay_is_at_least_what_was_asked_and_jitter_on_top_of_it() {
        let path =
            Path { delay: Duration::from_millis(300), jitter: Duration::from_millis(50), ..Path::default() };
        let (passed, _) = many(path, 1);
        let waits = passed.iter().map(|one| one.wait.as_millis());
        assert_eq!((waits.clone().min(), waits.max()), (Some(300), Some(350)));
        assert!(passed.iter().all(|one| one.ordered));
    }
}
