//! Who tells a person that there are data about him or her: what the covenants of the messages say and, where they do not,
//! agent.toml.

use std::collections::BTreeSet;

use seinhuis_agent_core::{InformsRow, PersonRow};
use seinhuis_shared::covenant::Role;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::Subjects;

/// What the covenants say under which messages about a person went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// Under those that say who tells: the role of this organisation, and the roles that tell.
    agreed: Vec<(Role, Vec<Role>)>,
    /// The roles of this organisation under those that do not.
    not_agreed: Vec<Role>,
}

impl Terms {
    pub(crate) fn new(row: &PersonRow) -> Self {
        let own = |one: &InformsRow| (one.role, one.informs.clone());
        Self { agreed: row.agreed.iter().map(own).collect(), not_agreed: row.roles.clone() }
    }

    /// As [`Terms::put`] gave them; `None` when an agent of another version answered.
    pub(crate) fn read(row: &Value) -> Option<Self> {
        serde_json::from_value(row["terms"].clone()).ok()
    }

    /// Adds them to what a command gives, with the roles of this organisation.
    pub(crate) fn put(&self, row: &mut Value) {
        let agreed = self.agreed.iter().map(|(role, _)| *role);
        let own: BTreeSet<Role> = agreed.chain(self.not_agreed.iter().copied()).collect();
        row["own_roles"] = json!(own);
        row["terms"] = json!(self);
    }

    /// Whether this organisation tells.
    pub(crate) fn is_own(&self, subjects: &Subjects) -> bool {
        // Of whom nothing is known nobody else is known to tell either.
        let unknown = self.agreed.is_empty() && self.not_agreed.is_empty();
        unknown
            || self.agreed.iter().any(|(own, informs)| informs.contains(own))
            || self.not_agreed.iter().any(|own| subjects.informs.contains(own))
    }

    /// The roles that tell. What agent.toml says counts only where a covenant leaves it open.
    pub(crate) fn tellers(&self, subjects: &Subjects) -> BTreeSet<Role> {
        let mut all: BTreeSet<Role> = self.agreed.iter().flat_map(|(_, informs)| informs).copied().collect();
        if self.agreed.is_empty() || !self.not_agreed.is_empty() {
            all.extend(&subjects.informs);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(informs: &[Role]) -> Subjects {
        Subjects { informs: informs.iter().copied().collect() }
    }

    fn terms(agreed: &[(Role, &[Role])], not_agreed: &[Role]) -> Terms {
        let agreed = agreed.iter().map(|(own, informs)| (*own, informs.to_vec())).collect();
        Terms { agreed, not_agreed: not_agreed.to_vec() }
    }

    #[test]
    fn what_a_covenant_says_counts_whatever_the_configuration_says() {
        use Role::{Gemeente, Om, Politie};
        let all: Vec<Role> = Role::ALL.to_vec();
        let police = terms(&[(Politie, &[Gemeente])], &[]);
        assert!(!police.is_own(&subjects(&all)) && !police.is_own(&Subjects::default()));
        assert_eq!(police.tellers(&subjects(&all)), BTreeSet::from([Gemeente]));
        assert!(terms(&[], &[]).is_own(&Subjects::default()), "nobody else is known to tell");
        let prosecution = terms(&[(Om, &[Gemeente, Om])], &[]);
        assert!(prosecution.is_own(&subjects(&[])) && prosecution.is_own(&Subjects::default()));
        assert_eq!(prosecution.tellers(&subjects(&[])), BTreeSet::from([Gemeente, Om]));
        // Another role that tells under another covenant is not this one's.
        let two = terms(&[(Politie, &[Gemeente]), (Gemeente, &[Politie])], &[]);
        assert!(!two.is_own(&subjects(&all)));
    }

    #[test]
    fn where_no_covenant_says_it_the_configuration_counts_and_else_the_municipality() {
        use Role::{Gemeente, Om, Politie};
        let police = terms(&[], &[Politie]);
        assert!(police.is_own(&subjects(&[Politie])) && !police.is_own(&Subjects::default()));
        assert!(terms(&[], &[Gemeente]).is_own(&Subjects::default()));
        assert!(!terms(&[], &[Gemeente]).is_own(&subjects(&[])));
        // Of two covenants, one that leaves it open.
        let mixed = terms(&[(Politie, &[Gemeente])], &[Politie]);
        assert!(mixed.is_own(&subjects(&[Politie])) && !mixed.is_own(&subjects(&[Om])));
        assert_eq!(mixed.tellers(&subjects(&[Om])), BTreeSet::from([Gemeente, Om]));
    }

    #[test]
    fn terms_read_back_from_what_a_command_gives() {
        let mixed = terms(&[(Role::Politie, &[Role::Gemeente])], &[Role::Om, Role::Politie]);
        let mut row = json!({});
        mixed.put(&mut row);
        assert_eq!((Terms::read(&row), &row["own_roles"]), (Some(mixed), &json!(["politie", "om"])));
        assert_eq!(Terms::read(&json!({})), None);
    }
}
