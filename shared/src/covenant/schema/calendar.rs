//! Dates in bodies: RFC 3339 §5.6 text, any year from 1900, because people were born before 1970.

fn number(text: &str, from: usize, to: usize) -> Option<u32> {
    let digits = text.get(from..to)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn has(text: &str, at: usize, wanted: u8) -> Option<()> {
    (*text.as_bytes().get(at)? == wanted).then_some(())
}

fn date(text: &str) -> Option<()> {
    let (year, month, day) = (number(text, 0, 4)?, number(text, 5, 7)?, number(text, 8, 10)?);
    has(text, 4, b'-')?;
    has(text, 7, b'-')?;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (year >= 1900 && (1..=days).contains(&day)).then_some(())
}

fn clock(text: &str) -> Option<()> {
    let (hour, minute) = (number(text, 0, 2)?, number(text, 3, 5)?);
    has(text, 2, b':')?;
    (hour < 24 && minute < 60).then_some(())
}

fn date_time(text: &str) -> Option<()> {
    date(text.get(..10)?)?;
    has(text, 10, b'T')?;
    clock(text.get(11..16)?)?;
    has(text, 16, b':')?;
    if number(text, 17, 19)? >= 60 {
        return None;
    }
    let mut zone = text.get(19..)?;
    if let Some(fraction) = zone.strip_prefix('.') {
        zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = fraction.len().saturating_sub(zone.len());
        if !(1..=9).contains(&digits) {
            return None;
        }
    }
    if zone == "Z" {
        return Some(());
    }
    let offset = zone.strip_prefix(['+', '-'])?;
    if offset.len() == 5 { clock(offset) } else { None }
}

/// Whether `text` is `YYYY-MM-DD` and that day exists.
pub(super) fn is_date(text: &str) -> bool {
    text.len() == 10 && date(text).is_some()
}

/// Whether `text` is an instant with its offset, such as `2026-03-01T22:15:00+01:00`.
pub(super) fn is_date_time(text: &str) -> bool {
    date_time(text).is_some()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn existing_days_and_instants_only() {
        for good in ["1958-02-28", "2024-02-29", "2026-12-31"] {
            assert!(is_date(good), "{good}");
        }
        for bad in [
            "",
            "2025-02-29",
            "2026-13-01",
            "26-01-01",
            "2026-1-01",
            "2026-01-01 ",
            "2026/01/01",
            "+026-01-01",
        ] {
            assert!(!is_date(bad), "{bad}");
        }
        for good in ["2026-03-01T22:15:00Z", "2026-03-01T22:15:00.5+01:00"] {
            assert!(is_date_time(good), "{good}");
        }
        for bad in [
            "2026-03-01",
            "2026-03-01T22:15:00",
            "2026-03-01T24:15:00Z",
            "2026-03-01T22:15:00.Z",
            "2026-03-01T22:15:00+1:00",
            "2026-03-01T22:15:00Zé",
            "éééééééééé",
        ] {
            assert!(!is_date_time(bad), "{bad}");
        }
    }
}
