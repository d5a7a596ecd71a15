//! What is wrong with a covenant, where, and what to write instead.

use core::fmt;

/// A place in the text a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name of the part, as the caller gave it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}, column {}", self.file, self.line, self.column)
    }
}

/// Why a covenant is refused. What is in force stays in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CovenantError {
    /// Where in the text; none for canonical bytes, and for faults of the whole.
    pub place: Option<Place>,
    /// Which field, such as `flows[3].purpose`; empty for faults of the whole.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to write or do.
    pub advice: String,
}

impl CovenantError {
    pub(crate) fn new(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: None, field: field.into(), what: what.into(), advice: String::new() }
    }

    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}

impl fmt::Display for CovenantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "`{}`: ", self.field)?;
        }
        write!(f, "{}", self.what)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, ". {}", self.advice) }
    }
}

impl core::error::Error for CovenantError {}
