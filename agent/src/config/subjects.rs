//! `[subjects]`: the rights of data subjects.

use std::collections::BTreeSet;

use seinhuis_shared::covenant::Role;
use serde::Deserialize;

/// `[subjects]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Subjects {
    /// The roles whose organisations tell persons that there are data about them.
    pub informs: BTreeSet<Role>,
}

impl Default for Subjects {
    fn default() -> Self {
        // The municipality directs the approach.
        Self { informs: BTreeSet::from([Role::Gemeente]) }
    }
}

impl Subjects {
    /// Whether an organisation in these roles, by their codes, is one that tells.
    pub fn is_own<'a>(&self, mut roles: impl Iterator<Item = &'a str>) -> bool {
        roles.any(|role| self.informs.iter().any(|one| one.to_string() == role))
    }

    /// Who tells, for people.
    pub fn names(&self) -> String {
        self.informs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}
