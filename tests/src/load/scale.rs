//! Where a number stands on an axis, and which round numbers stand beside it.

/// An axis of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    log: bool,
    /// The round numbers that are written, from low to high.
    pub(super) ticks: Vec<f64>,
}

/// From how much more the largest is than the smallest an axis goes by factors, so that the small ones are seen.
const WIDE: f64 = 20.0;
/// About how many round numbers stand beside an axis.
const TICKS: usize = 7;

impl Scale {
    /// The axis for these numbers: from nought, or by factors where they lie far apart. What is not above nought has no
    /// place on the latter.
    pub(super) fn over(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let most = values.iter().copied().fold(0.0, f64::max);
        let least = values.iter().copied().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        if most > 0.0 && most / least > WIDE {
            Self::by_factors(least, most)
        } else {
            Self::from_nought(most)
        }
    }

    fn from_nought(most: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = round_up(most / 5.0);
        let mut ticks = vec![0.0];
        while ticks.last().is_some_and(|last| *last < most * (1.0 - 1e-9)) {
            ticks.push(ticks.last().copied().unwrap_or_default() + step);
        }
        let high = ticks.last().copied().unwrap_or(most);
        Self { low: 0.0, high, log: false, ticks }
    }

    fn by_factors(least: f64, most: f64) -> Self {
        let (low, high) = (round_down(least), round_up(most));
        let mut ticks = vec![low];
        while let Some(last) = ticks.last().copied().filter(|last| *last < high * (1.0 - 1e-9)) {
            ticks.push(round_up(last * 1.01));
        }
        if ticks.len() > TICKS {
            ticks.retain(|tick| is_power_of_ten(*tick));
        }
        Self { low, high, log: true, ticks }
    }

    /// How far along the axis a number is: 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }
}

/// Where each of some numbers above nought stands when equal factors are equally far apart; in the middle when there is
/// one.
pub(super) fn spread(values: &[f64]) -> Vec<f64> {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    let whole = (most / least).ln();
    values.iter().map(|value| if whole > 0.0 { (value / least).ln() / whole } else { 0.5 }).collect()
}

/// The next 1, 2 or 5 with noughts from here up.
fn round_up(value: f64) -> f64 {
    let ten = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0]
        .map(|digit| digit * ten)
        .into_iter()
        .find(|round| *round >= value * (1.0 - 1e-9))
        .unwrap_or(10.0 * ten)
}

/// The next 1, 2 or 5 with noughts from here down.
fn round_down(value: f64) -> f64 {
    let ten = 10_f64.powf(value.log10().floor());
    [5.0, 2.0]
        .map(|digit| digit * ten)
        .into_iter()
        .find(|round| *round <= value * (1.0 + 1e-9))
        .unwrap_or(ten)
}

fn is_power_of_ten(value: f64) -> bool {
    let exponent = value.log10();
    (exponent - exponent.round()).abs() < 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn numbers_of_one_size_stand_from_nought_with_round_steps() {
        let scale = Scale::over([1800.0, 4300.0]);
        assert_eq!(scale.ticks, [0.0, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0]);
        assert!(
            close(scale.place(0.0), 0.0)
                && close(scale.place(2500.0), 0.5)
                && close(scale.place(5000.0), 1.0)
        );
    }

    #[test]
    fn numbers_far_apart_stand_by_factors() {
        let scale = Scale::over([3.0, 900.0]);
        assert_eq!(scale.ticks.first(), Some(&10.0), "powers of ten alone: {:?}", scale.ticks);
        assert!(close(scale.place(2.0), 0.0) && close(scale.place(1000.0), 1.0));
        let step = scale.place(100.0) - scale.place(10.0);
        assert!(close(step, scale.place(1000.0) - scale.place(100.0)));
        assert_eq!(Scale::over([10.0, 250.0]).ticks, [10.0, 20.0, 50.0, 100.0, 200.0, 500.0]);
    }

    #[test]
    fn an_axis_stands_also_for_nothing_and_for_one_number() {
        assert_eq!(Scale::over([]).ticks.len(), 6);
        let one = Scale::over([5.0]);
        assert!(close(one.place(5.0), 1.0));
        assert!(close(Scale::over([f64::NAN, 5.0]).place(f64::INFINITY), 1.0));
    }

    #[test]
    fn what_lies_outside_stands_at_the_end() {
        let scale = Scale::over([1.0, 100.0]);
        assert!(close(scale.place(0.0), 0.0) && close(scale.place(1e9), 1.0));
    }

    #[test]
    fn equal_factors_are_equally_far_apart() {
        let places = spread(&[256.0, 1024.0, 16_384.0, 262_144.0]);
        let right = [0.0, 0.2, 0.6, 1.0];
        assert!(places.iter().zip(right).all(|(place, right)| close(*place, right)), "{places:?}");
        assert_eq!(spread(&[7.0]), [0.5]);
    }

    #[test]
    fn round_numbers_are_one_two_and_five() {
        assert!(close(round_up(1.1), 2.0) && close(round_up(0.3), 0.5) && close(round_up(50.0), 50.0));
        assert!(close(round_up(501.0), 1000.0));
        assert!(close(round_down(9.0), 5.0) && close(round_down(0.19), 0.1) && close(round_down(20.0), 20.0));
    }
}
