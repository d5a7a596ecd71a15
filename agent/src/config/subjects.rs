//! `[subjects]`: the rights of data subjects.

use std::collections::BTreeSet;

use seinhuis_shared::covenant::Role;
use serde::Deserialize;

/// `[subjects]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Subjects {
    /// The roles whose organisations tell persons that there are data about them, under covenants that do not say it. What
    /// a covenant says counts whatever stands here.
    pub informs: BTreeSet<Role>,
}

impl Default for Subjects {
    fn default() -> Self {
        // The municipality directs the approach.
        Self { informs: BTreeSet::from([Role::Gemeente]) }
    }
}
