//! A plaintext body against its schema and its declaration: by the sender before sealing, by the
//! recipient after opening.

use super::compiled::Compiled;
use super::declared::Declared;
use super::schema::{FieldError, FieldFault};
use super::vocabulary::{Level, Step};
use crate::refusal::Refusal;

/// What is really in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The data categories, sorted.
    pub categories: Vec<String>,
    /// The highest of their levels; [`Level::G`] when there are none.
    pub level: Level,
}

/// Why no declaration can be made for a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeclareError {
    /// The covenant does not know the flow, or the flow does not carry the message type.
    #[error("{0}")]
    Refused(Refusal),
    /// The body does not fit its schema.
    #[error("{0}")]
    Field(FieldError),
}

impl DeclareError {
    /// The reason to refuse with.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Refused(refusal) => *refusal,
            Self::Field(error) => error.refusal(),
        }
    }
}

impl Compiled {
    /// Makes the declaration for a body a sender is about to seal: what is in it is derived, purpose and
    /// legal basis are the flow's (the first of its bases when the sender names none). Whether the packet
    /// may pass is still [`super::evaluate`]'s question.
    ///
    /// # Errors
    /// Unknown flow, a message type the flow does not carry, or a body that does not fit its schema.
    pub fn declare(
        &self,
        flow: &str,
        message_type: &str,
        step: Step,
        basis: Option<&str>,
        body: &[u8],
    ) -> Result<Declared, DeclareError> {
        let rule = self.rule(flow).ok_or(DeclareError::Refused(Refusal::UnknownFlow))?;
        if !rule.types.iter().any(|own| own == message_type) {
            return Err(DeclareError::Refused(Refusal::WrongType));
        }
        let found = self.find(flow, message_type, body).map_err(DeclareError::Field)?;
        let basis = basis.or(rule.bases.first().map(String::as_str)).unwrap_or_default();
        Declared::new(message_type, step, found.level, found.categories, &rule.purpose, basis)
            .map_err(|_| DeclareError::Refused(Refusal::PurposeMissing))
    }

    /// Holds a body of this flow and message type against its schema and derives what is in it.
    ///
    /// # Errors
    /// [`FieldError`], naming the field and never its value.
    pub fn find(&self, flow: &str, message_type: &str, body: &[u8]) -> Result<Found, FieldError> {
        let max = self.max_body(flow);
        if body.len() > max {
            return Err(FieldError::whole(FieldFault::TooLarge { max }));
        }
        let schema = self.schema(message_type).ok_or_else(|| FieldError::whole(FieldFault::NoSchema))?;
        let categories = schema.check(body)?;
        // Validation leaves no schema with a category the covenant does not know; if one slips through,
        // it counts as the highest level.
        let levels = categories.iter().map(|code| self.level_of(code).unwrap_or(Level::Z));
        let level = levels.max().unwrap_or(Level::G);
        Ok(Found { categories, level })
    }
}

/// Checks that a body is what its sender declares: valid under the schema, and holding exactly the
/// declared categories and level. Whether the flow allows those is [`super::evaluate`]'s question.
///
/// # Errors
/// [`FieldError`], naming the field or the categories, never a value.
pub fn check_body(
    compiled: &Compiled,
    flow: &str,
    declared: &Declared,
    body: &[u8],
) -> Result<Found, FieldError> {
    let found = compiled.find(flow, &declared.message_type, body)?;
    if found.categories != declared.categories {
        let only_in = |a: &[String], b: &[String]| -> Vec<String> {
            a.iter().filter(|code| !b.contains(code)).cloned().collect()
        };
        let mut differing = only_in(&found.categories, &declared.categories);
        differing.append(&mut only_in(&declared.categories, &found.categories));
        return Err(FieldError::whole(FieldFault::Categories { differing }));
    }
    if found.level != declared.level {
        return Err(FieldError::whole(FieldFault::Level));
    }
    Ok(found)
}
