//! The machine's clock, and what is made of it.

use std::time::{SystemTime, UNIX_EPOCH};

use seinhuis_shared::ids::MsgId;
use seinhuis_shared::time::Timestamp;

/// The machine's clock. A clock before 1970 reads as 1970, which every freshness check refuses.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds, then version, variant and 74 random bits.
pub fn uuid_v7(now: Timestamp, random: [u8; 10]) -> MsgId {
    MsgId::v7(now, random)
}

/// Serde form of an instant for files that people read: RFC 3339 text instead of milliseconds.
/// Use as `#[serde(with = "seinhuis_shell::clock::text")]`.
pub mod text {
    use seinhuis_shared::time::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes the instant as RFC 3339 text.
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(at)
    }

    /// Reads RFC 3339 text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is not a time such as 2026-03-01T12:00:00Z")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_carries_time_version_and_variant() {
        // RFC 9562, appendix A.6.
        let random = [0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f];
        let id = uuid_v7(Timestamp(0x017f_22e2_79b0), random);
        assert_eq!(id.to_string(), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    }
}
