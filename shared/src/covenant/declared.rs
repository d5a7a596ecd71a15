//! What a sender declares about a body it seals: signed with the packet, judged by broker and recipient.

use serde::{Deserialize, Deserializer, de};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::limits::{CATEGORIES_MAX, TEXT_MAX};
use super::vocabulary::{Level, Step};

/// The declaration in a packet's signed context. The broker sees no body and judges this alone, so a
/// false declaration is the sender's own, attributable by its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple)]
pub struct Declared {
    /// The message type's code.
    pub message_type: String,
    /// The step of the 7-stappenmodel the case is in.
    pub step: Step,
    /// The highest level of data in the body.
    pub level: Level,
    /// The codes of the data categories in the body: sorted, each once.
    pub categories: Vec<String>,
    /// The purpose's code.
    pub purpose: String,
    /// The legal basis's code.
    pub basis: String,
}

/// What makes a declaration malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeclaredError {
    /// A code is not 1–64 characters of `a–z 0–9 _`.
    #[error("a code in the declaration is not 1 to 64 characters of a-z, 0-9 and _")]
    Code,
    /// More categories than allowed.
    #[error("more than {CATEGORIES_MAX} categories")]
    TooMany,
    /// Categories are not strictly ascending.
    #[error("the categories are not sorted, or one stands twice")]
    Order,
}

/// Whether `text` is a code: 1–64 characters of `a–z`, `0–9` and `_`.
pub(crate) fn is_code(text: &str) -> bool {
    (1..=TEXT_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

impl Declared {
    /// Makes a declaration; sorts the categories and drops repetitions.
    ///
    /// # Errors
    /// A code of the wrong form, or too many categories.
    pub fn new(
        message_type: &str,
        step: Step,
        level: Level,
        categories: impl IntoIterator<Item = String>,
        purpose: &str,
        basis: &str,
    ) -> Result<Self, DeclaredError> {
        let mut categories: Vec<String> = categories.into_iter().collect();
        categories.sort_unstable();
        categories.dedup();
        let declared = Self {
            message_type: message_type.to_owned(),
            step,
            level,
            categories,
            purpose: purpose.to_owned(),
            basis: basis.to_owned(),
        };
        declared.check()?;
        Ok(declared)
    }

    /// Checks the form of every code, the number and the order of the categories.
    ///
    /// # Errors
    /// The first of [`DeclaredError`] that applies. Decoding runs this check too.
    pub fn check(&self) -> Result<(), DeclaredError> {
        if self.categories.len() > CATEGORIES_MAX {
            return Err(DeclaredError::TooMany);
        }
        if !self.categories.is_sorted_by(|a, b| a < b) {
            return Err(DeclaredError::Order);
        }
        let mut codes = [&self.message_type, &self.purpose, &self.basis].into_iter().chain(&self.categories);
        if codes.all(|code| is_code(code)) { Ok(()) } else { Err(DeclaredError::Code) }
    }
}

#[derive(Deserialize_tuple)]
struct Wire {
    message_type: String,
    step: Step,
    level: Level,
    categories: Vec<String>,
    purpose: String,
    basis: String,
}

impl<'de> Deserialize<'de> for Declared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { message_type, step, level, categories, purpose, basis } = Wire::deserialize(deserializer)?;
        let declared = Self { message_type, step, level, categories, purpose, basis };
        declared.check().map_err(de::Error::custom)?;
        Ok(declared)
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::cbor::{CborError, encode, strict};

    fn one() -> Declared {
        let categories = ["tijdpatroon", "locatie", "locatie"].map(str::to_owned);
        Declared::new("signaal_groepsgedrag", Step::S1, Level::G, categories, "overlast", "avg_6_1_e")
            .unwrap()
    }

    #[test]
    fn categories_are_sorted_and_survive_the_wire() {
        assert_eq!(one().categories, ["locatie", "tijdpatroon"]);
        assert_eq!(strict(&encode(&one()), 4096), Ok(one()));
    }

    #[test]
    fn a_malformed_declaration_does_not_decode() {
        let spoiled: [fn(&mut Declared); 5] = [
            |d| d.categories.reverse(),
            |d| d.categories.push("tijdpatroon".to_owned()),
            |d| d.purpose.clear(),
            |d| d.message_type = "Met Spatie".to_owned(),
            |d| d.categories = (0..33).map(|n| format!("c{n:02}")).collect(),
        ];
        for (index, spoil) in spoiled.iter().enumerate() {
            let mut declared = one();
            spoil(&mut declared);
            assert!(declared.check().is_err(), "{index}");
            let got = strict::<Declared>(&encode(&declared), 4096);
            assert_eq!(got, Err(CborError::Malformed), "{index}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_an_error_or_themselves(bytes: Vec<u8>, at in 0_usize..200, value: u8) {
            if let Ok(read) = strict::<Declared>(&bytes, 4096) {
                proptest::prop_assert_eq!(encode(&read), bytes);
            }
            let mut near = encode(&one());
            let at = at % near.len();
            near[at] = value;
            if let Ok(read) = strict::<Declared>(&near, 4096) {
                proptest::prop_assert_eq!(encode(&read), near);
            }
        }
    }
}
