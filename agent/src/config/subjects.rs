//! `[subjects]`: the rights of data subjects.

use std::collections::BTreeSet;

use seinhuis_shared::covenant::Role;
use serde::Deserialize;

/// `[subjects]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Subjects {
    /// The roles whose organisations tell persons that there are data about them, under covenants that do not say it.
    /// One that says it is not gone against.
    pub informs: Option<BTreeSet<Role>>,
}

impl Subjects {
    /// Who tells where no covenant says it: the municipality, which directs the approach, unless something else stands here.
    pub fn not_agreed(&self) -> BTreeSet<Role> {
        self.informs.clone().unwrap_or_else(|| BTreeSet::from([Role::Gemeente]))
    }
}
