//! A plaintext body against its schema and its declaration: by the sender before sealing, by the
//! recipient after opening.

use super::compiled::Compiled;
use super::declared::Declared;
use super::schema::{FieldError, FieldFault};
use super::vocabulary::Level;

/// What is really in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The data categories, sorted.
    pub categories: Vec<String>,
    /// The highest of their levels; [`Level::G`] when there are none.
    pub level: Level,
}

impl Compiled {
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
