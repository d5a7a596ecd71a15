//! What can be done for a person, and what that is called.

use seinhuis_agent_core::{CorrectionKind, Duty};
use seinhuis_shared::refusal::Lang;

/// What can be done for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Keeps something of the duty to tell.
    Tell(Duty),
    /// Has a field corrected.
    Rectify,
    /// Erases what is here and withdraws what was sent.
    Erase,
}

impl Act {
    pub(super) const ALL: [Self; 6] = [
        Self::Tell(Duty::Informed),
        Self::Tell(Duty::Postponed),
        Self::Tell(Duty::Exempt),
        Self::Tell(Duty::Open),
        Self::Rectify,
        Self::Erase,
    ];

    pub(super) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.word() == word)
    }

    /// What it is called in addresses, as in commands.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Tell(Duty::Informed) => "informed",
            Self::Tell(Duty::Postponed) => "postpone",
            Self::Tell(Duty::Exempt) => "exempt",
            Self::Tell(Duty::Open) => "reopen",
            Self::Rectify => "rectify",
            Self::Erase => "erase",
        }
    }

    pub(super) const fn title(self, lang: Lang) -> &'static str {
        let (nl, en) = match self {
            Self::Tell(Duty::Informed) => ("Leg vast: geïnformeerd", "Keep: was told"),
            Self::Tell(Duty::Postponed) => ("Leg vast: uitstel", "Keep: told later"),
            Self::Tell(Duty::Exempt) => ("Leg vast: uitzondering", "Keep: need not be told"),
            Self::Tell(Duty::Open) => ("Leg vast: alsnog informeren", "Keep: to be told after all"),
            Self::Rectify => ("Laat een gegeven verbeteren (F36)", "Have a field corrected (F36)"),
            Self::Erase => ("Wis en trek in (F39, F36)", "Erase and withdraw (F39, F36)"),
        };
        match lang {
            Lang::Nl => nl,
            Lang::En => en,
        }
    }

    pub(super) const fn explained(self, lang: Lang) -> &'static str {
        let (nl, en) = match self {
            Self::Tell(Duty::Informed) => {
                ("De betrokkene weet nu dat er gegevens zijn.", "The person knows that there are data.")
            }
            Self::Tell(Duty::Postponed) => (
                "Uitstel is een juridisch oordeel (AVG artikel 23, Wpg artikel 27). Op de genoemde dag is de betrokkene weer te informeren.",
                "A postponement is a legal judgement (GDPR article 23, Police Data Act article 27). On that day the person is to be told.",
            ),
            Self::Tell(Duty::Exempt) => (
                "Een uitzondering is een juridisch oordeel (AVG artikel 14 lid 5). De betrokkene wordt dan niet geïnformeerd.",
                "An exemption is a legal judgement (GDPR article 14(5)). The person is then not told.",
            ),
            Self::Tell(Duty::Open) => (
                "Wat eerder is besloten geldt niet meer; de termijn begint opnieuw.",
                "What was decided before counts no more; the term begins anew.",
            ),
            Self::Rectify => (
                "Elke ontvanger van uw berichten over deze persoon hoort welk gegeven niet klopt, en bevestigt dat het is verwerkt.",
                "Every recipient of your messages about this person hears which field is wrong, and confirms that it is processed.",
            ),
            Self::Erase => (
                "Wat hier van anderen ligt wordt gewist en dat wordt bevestigd; wat u verstuurde wordt ingetrokken. Een bericht over meer personen gaat in zijn geheel weg.",
                "What lies here from others is erased, which is confirmed; what you sent is withdrawn. A message about several persons goes as a whole.",
            ),
        };
        match lang {
            Lang::Nl => nl,
            Lang::En => en,
        }
    }

    /// What is said to recipients of what was sent, if anything is.
    pub(super) const fn kind(self) -> Option<CorrectionKind> {
        match self {
            Self::Tell(_) => None,
            Self::Rectify => Some(CorrectionKind::Correction),
            Self::Erase => Some(CorrectionKind::Withdrawal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_are_called_as_commands_are() {
        for act in Act::ALL {
            assert_eq!(Act::of(act.word()), Some(act));
        }
        for wrong in ["", "open", "letter", "Informed", "informed/"] {
            assert_eq!(Act::of(wrong), None, "{wrong}");
        }
    }
}
