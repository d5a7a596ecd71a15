//! What tests need that not every machine has.

use crate::postgres;

/// A `PostgreSQL` server.
pub const POSTGRES: Need = Need { required: postgres::REQUIRED, missing: postgres::missing };

/// Something of the machine. Where it is missing, what needs it is passed over, aloud.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// The environment variable that is set where it has to be there: what needs it then fails.
    pub required: &'static str,
    /// What is missing, if something is.
    pub missing: fn() -> Option<String>,
}

impl Need {
    /// What is missing, so that what needs it is passed over; none when all of it is there.
    ///
    /// # Errors
    /// What is missing though it is required.
    pub fn lacking(&self) -> Result<Option<String>, String> {
        let Some(what) = (self.missing)() else { return Ok(None) };
        if std::env::var_os(self.required).is_some() {
            Err(format!("{what} ({} is set)", self.required))
        } else {
            Ok(Some(what))
        }
    }

    /// Whether a test can be played here; where it cannot that is said.
    ///
    /// # Panics
    /// When something is missing that is required.
    #[expect(clippy::panic, reason = "a test that has to be played and cannot be fails")]
    pub fn is_met(&self) -> bool {
        match self.lacking() {
            Ok(None) => true,
            Ok(Some(what)) => {
                eprintln!("SKIPPED: {what}");
                false
            }
            Err(what) => panic!("{what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_passed_over_unless_it_is_required() {
        let missing = || Some("no such thing".to_owned());
        let free = Need { required: "SEINHUIS_NOBODY_SETS_THIS", missing };
        assert_eq!(free.lacking(), Ok(Some("no such thing".into())));
        assert!(!free.is_met());
        // A variable that is always set.
        let required = Need { required: "PATH", ..free };
        assert!(required.lacking().unwrap_err().contains("no such thing"));
        let there = Need { missing: || None, ..required };
        assert!(there.is_met());
    }
}
