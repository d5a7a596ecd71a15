//! What can be done on the console with a reason.

use seinhuis_broker_core::Suspendable;
use seinhuis_monitor::alarms::Code;
use seinhuis_shared::ids::Oin;
use serde::{Deserialize, Serialize};

use crate::console::accounts::Right;
use crate::console::words::Ctx;
use crate::export::Question;

/// Something that is done with a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::console) enum Deed {
    /// Suspends a partner, a flow or intake.
    Suspend(Suspendable),
    /// Ends that.
    Resume(Suspendable),
    /// Takes a partner's access away.
    Revoke(Oin),
    /// Has all that waits for a partner offered again.
    Requeue(Oin),
    /// Takes up an alarm.
    TakeUp {
        /// Its code.
        code: Code,
        /// What it is about.
        subject: String,
    },
    /// Has part of a log exported.
    Export {
        /// Its folder.
        log: String,
        /// Which part, and what for: that is its reason.
        question: Box<Question>,
    },
}

/// Every name of a deed, as the book and `console.four_eyes` have it.
pub(in crate::console) const NAMES: [&str; 10] = [
    "partner-suspend",
    "partner-resume",
    "partner-revoke",
    "partner-requeue",
    "flow-suspend",
    "flow-resume",
    "intake-suspend",
    "intake-resume",
    "alarm-acknowledge",
    "export",
];

impl Deed {
    /// The word for it in the book and in the configuration.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Suspend(Suspendable::Partner(_)) => "partner-suspend",
            Self::Resume(Suspendable::Partner(_)) => "partner-resume",
            Self::Revoke(_) => "partner-revoke",
            Self::Requeue(_) => "partner-requeue",
            Self::Suspend(Suspendable::Flow(_)) => "flow-suspend",
            Self::Resume(Suspendable::Flow(_)) => "flow-resume",
            Self::Suspend(Suspendable::Intake) => "intake-suspend",
            Self::Resume(Suspendable::Intake) => "intake-resume",
            Self::TakeUp { .. } => "alarm-acknowledge",
            Self::Export { .. } => "export",
        }
    }

    /// What it takes to do it, and to agree to it.
    pub(super) const fn right(&self) -> Right {
        match self {
            Self::Suspend(Suspendable::Partner(_))
            | Self::Resume(Suspendable::Partner(_))
            | Self::Revoke(_)
            | Self::Requeue(_) => Right::Partners,
            Self::Suspend(Suspendable::Flow(_) | Suspendable::Intake)
            | Self::Resume(Suspendable::Flow(_) | Suspendable::Intake)
            | Self::TakeUp { .. } => Right::Flows,
            Self::Export { .. } => Right::Export,
        }
    }

    /// The organisation it is about.
    pub(super) fn subject(&self) -> Option<Oin> {
        match self {
            Self::Suspend(Suspendable::Partner(oin))
            | Self::Resume(Suspendable::Partner(oin))
            | Self::Revoke(oin)
            | Self::Requeue(oin) => Some(*oin),
            Self::TakeUp { subject, .. } => subject.parse().ok(),
            Self::Export { question, .. } => question.organisation,
            Self::Suspend(_) | Self::Resume(_) => None,
        }
    }

    /// The flow it is about.
    pub(super) fn flow(&self) -> Option<&str> {
        if let Self::Suspend(Suspendable::Flow(flow)) | Self::Resume(Suspendable::Flow(flow)) = self {
            Some(flow)
        } else {
            None
        }
    }

    /// The alarm it is about: its code and what that is about.
    pub(super) fn alarm(&self) -> Option<String> {
        if let Self::TakeUp { code, subject } = self { Some(format!("{code} {subject}")) } else { None }
    }

    /// What it is, for people.
    pub(super) fn words(&self, ctx: &Ctx) -> &'static str {
        match self {
            Self::Suspend(Suspendable::Partner(_)) => ctx.t("Toegang opschorten", "Suspend access"),
            Self::Resume(Suspendable::Partner(_)) => ctx.t("Toegang hervatten", "Resume access"),
            Self::Revoke(_) => ctx.t("Toegang intrekken", "Revoke access"),
            Self::Requeue(_) => ctx.t("Opnieuw aanbieden", "Offer again"),
            Self::Suspend(Suspendable::Flow(_)) => ctx.t("Stroom opschorten", "Suspend flow"),
            Self::Resume(Suspendable::Flow(_)) => ctx.t("Stroom hervatten", "Resume flow"),
            Self::Suspend(Suspendable::Intake) => ctx.t("Aanname stilleggen", "Suspend intake"),
            Self::Resume(Suspendable::Intake) => ctx.t("Aanname hervatten", "Resume intake"),
            Self::TakeUp { .. } => ctx.t("Alarm in behandeling nemen", "Take up alarm"),
            Self::Export { .. } => ctx.t("Exporteren", "Export"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deed_has_a_name_that_the_configuration_knows_and_no_other_has() {
        let oin: Oin = "00000099000000001000".parse().unwrap();
        let each = [Suspendable::Partner(oin), Suspendable::Flow("F02".into()), Suspendable::Intake];
        let mut all: Vec<Deed> = each.iter().cloned().map(Deed::Suspend).collect();
        all.extend(each.map(Deed::Resume));
        all.extend([Deed::Revoke(oin), Deed::Requeue(oin)]);
        all.push(Deed::TakeUp { code: Code::DiskScarce, subject: "broker".into() });
        all.push(Deed::Export { log: "2030".into(), question: Box::default() });
        let named: std::collections::BTreeSet<_> = all.iter().map(Deed::name).collect();
        assert_eq!((named.len(), named), (all.len(), NAMES.into()));
    }
}
