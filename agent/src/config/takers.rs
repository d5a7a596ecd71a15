//! What takes deliveries over: a message is taken over once, so what takes over a flow is one.

use std::collections::BTreeSet;

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;

/// Something of the configuration that takes messages over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taker<'a> {
    /// Its table, such as `[[folder]]`.
    pub(super) table: &'static str,
    /// Its name.
    pub(super) name: &'a str,
    /// The flows it takes over; all when there are none.
    pub(super) flows: &'a BTreeSet<String>,
}

impl Taker<'_> {
    /// Whether this and the other want a delivery of one flow.
    fn shares_flow(&self, other: &Self) -> bool {
        self.flows.is_empty() || other.flows.is_empty() || !self.flows.is_disjoint(other.flows)
    }
}

/// Whether these can take messages over beside one another.
pub(super) fn check(takers: &[Taker<'_>]) -> Result<(), Complaint> {
    for (at, taker) in takers.iter().enumerate() {
        if let Some(other) = takers.iter().take(at).find(|other| other.shares_flow(taker)) {
            return Err(two_take(other, taker));
        }
    }
    Ok(())
}

fn two_take(one: &Taker<'_>, other: &Taker<'_>) -> Complaint {
    Complaint::usage(
        Text::new(
            format!(
                "{} {:?} en {} {:?} nemen berichten van dezelfde stroom over.",
                one.table, one.name, other.table, other.name
            ),
            format!(
                "{} {:?} and {} {:?} take over messages of the same flow.",
                one.table, one.name, other.table, other.name
            ),
        ),
        Text::new(
            "Noem bij elk in flows andere stromen, of zet bij een van beide consume = false.",
            "Name other flows in the flows of each, or set consume = false in one of them.",
        ),
    )
}
