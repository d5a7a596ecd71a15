//! Instants and spans, in whole milliseconds; no clock is read here.

use core::fmt;

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A span in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Span(pub u64);

impl Span {
    /// A span of whole seconds; saturates.
    pub const fn seconds(n: u64) -> Self {
        Self(n.saturating_mul(1000))
    }

    /// A span of whole minutes; saturates.
    pub const fn minutes(n: u64) -> Self {
        Self::seconds(n.saturating_mul(60))
    }

    /// A span of whole hours; saturates.
    pub const fn hours(n: u64) -> Self {
        Self::minutes(n.saturating_mul(60))
    }

    /// A span of whole days of 24 hours; saturates.
    pub const fn days(n: u64) -> Self {
        Self::hours(n.saturating_mul(24))
    }

    /// This span doubled so often, at most `cap`: what is waited after failures.
    #[must_use]
    pub fn doubled(self, times: u32, cap: Self) -> Self {
        Self(1_u64.checked_shl(times).map_or(cap.0, |factor| self.0.saturating_mul(factor)).min(cap.0))
    }

    /// Between nothing and all of this span, evenly, which `chance` decides: any random number.
    #[must_use]
    pub fn up_to(self, chance: u64) -> Self {
        Self(chance.checked_rem(self.0.saturating_add(1)).unwrap_or(0))
    }

    /// Between half of this span and all of it, which `chance` decides: any random number.
    #[must_use]
    pub fn upper_half(self, chance: u64) -> Self {
        let half = self.0.div_ceil(2);
        Self(half.saturating_add(Self(self.0.saturating_sub(half)).up_to(chance).0))
    }
}

impl Timestamp {
    /// The instant `span` later; saturates.
    #[must_use]
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The instant `span` earlier; saturates at 1970.
    #[must_use]
    pub const fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// How long after `earlier` this is; zero when it is before.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// The calendar year in UTC.
    pub fn year(self) -> u64 {
        civil_from_days(self.0.wrapping_div(86_400_000)).0
    }

    /// Reads `YYYY-MM-DDTHH:MM:SS[.mmm]Z` or a bare date, which means midnight UTC (RFC 3339 §5.6).
    /// `None` for anything else, including years outside 1970–9999.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<u64> {
            let digits = bytes.get(from..to)?;
            digits.iter().try_fold(0_u64, |sum, digit| {
                digit
                    .is_ascii_digit()
                    .then(|| sum.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0'))))
            })
        };
        let sign = |at: usize, want: u8| -> Option<()> { (*bytes.get(at)? == want).then_some(()) };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        sign(4, b'-')?;
        sign(7, b'-')?;
        let days = days_from_civil(year, month, day)?;
        let date = Span::days(days);
        if bytes.len() == 10 {
            return Some(Self(date.0));
        }
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        sign(10, b'T')?;
        sign(13, b':')?;
        sign(16, b':')?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let millis = match bytes.len() {
            20 => 0,
            24 => {
                sign(19, b'.')?;
                number(20, 23)?
            }
            _ => return None,
        };
        sign(bytes.len().saturating_sub(1), b'Z')?;
        let seconds =
            hour.saturating_mul(3600).saturating_add(minute.saturating_mul(60)).saturating_add(second);
        Some(Self(date.0).plus(Span::seconds(seconds)).plus(Span(millis)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-03-01T12:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.wrapping_div(1000), self.0.wrapping_rem(1000));
        let (days, rest) = (seconds.wrapping_div(86_400), seconds.wrapping_rem(86_400));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) =
            (rest.wrapping_div(3600), rest.wrapping_rem(3600).wrapping_div(60), rest.wrapping_rem(60));
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_length(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days in the years 1970 up to but not including `year`.
fn days_before_year(year: u64) -> u64 {
    let before = |y: u64| {
        let y = y.saturating_sub(1);
        y.saturating_mul(365)
            .saturating_add(y.wrapping_div(4))
            .saturating_sub(y.wrapping_div(100))
            .saturating_add(y.wrapping_div(400))
    };
    before(year).saturating_sub(before(1970))
}

fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || day == 0
        || day > month_length(year, month)
    {
        return None;
    }
    let months: u64 = (1..month).map(|m| month_length(year, m)).sum();
    Some(days_before_year(year).saturating_add(months).saturating_add(day.saturating_sub(1)))
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // 400 years have 146 097 days; the estimate is at most a year early, so the loop is short for any input.
    let estimate = days.saturating_mul(400).wrapping_div(146_097).saturating_sub(1);
    let mut year = 1970_u64.saturating_add(estimate);
    while days_before_year(year.saturating_add(1)) <= days {
        year = year.saturating_add(1);
    }
    let mut rest = days.saturating_sub(days_before_year(year));
    let mut month = 1;
    while rest >= month_length(year, month) {
        rest = rest.saturating_sub(month_length(year, month));
        month = month.saturating_add(1);
    }
    (year, month, rest.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_its_cap_and_chance_takes_off_no_more_than_is_said() {
        let (first, cap) = (Span(500), Span::seconds(60));
        let waits = [0, 1, 6, 7, 63, 64, u32::MAX].map(|times| first.doubled(times, cap).0);
        assert_eq!(waits, [500, 1000, 32_000, 60_000, 60_000, 60_000, 60_000]);
        for whole in [0, 1, 2, 7, u64::MAX] {
            let half = whole.div_ceil(2);
            for chance in [0, 1, 3, whole, u64::MAX] {
                assert!(Span(whole).up_to(chance).0 <= whole, "{whole} {chance}");
                let drawn = Span(whole).upper_half(chance).0;
                assert!((half..=whole).contains(&drawn), "{whole} {chance}");
            }
            assert_eq!((Span(whole).up_to(0).0, Span(whole).upper_half(0).0), (0, half));
            assert_eq!(Span(whole).upper_half(whole - half).0, whole, "all of it is reached");
        }
    }

    #[test]
    fn known_instants_read_and_print() {
        for (text, millis) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T23:59:59.999Z", 951_868_799_999),
            ("2026-03-01T12:00:00.000Z", 1_772_366_400_000),
            ("2100-03-01T00:00:00.000Z", 4_107_542_400_000),
        ] {
            assert_eq!(Timestamp::parse(text), Some(Timestamp(millis)), "{text}");
            assert_eq!(Timestamp(millis).to_string(), text);
        }
        assert_eq!(Timestamp::parse("2026-03-01"), Timestamp::parse("2026-03-01T00:00:00Z"));
    }

    #[test]
    fn malformed_instants_are_refused() {
        for text in [
            "",
            "2026-13-01",
            "2025-02-29",
            "2026-3-1",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12:00:00",
            "1969-12-31",
            "2026-03-01T12:00:00+01:00",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_instant_there_is_prints_at_once() {
        assert!(Timestamp(u64::MAX).to_string().starts_with("584556019-04-03T14:25:51"));
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    proptest::proptest! {
        #[test]
        fn every_instant_survives_a_round_trip(millis in 0_u64..253_402_300_799_999) {
            let text = Timestamp(millis).to_string();
            proptest::prop_assert_eq!(Timestamp::parse(&text), Some(Timestamp(millis)));
        }
    }
}
