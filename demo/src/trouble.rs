//! What ends the demo before its end.

use std::io;

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use seinhuis_tests::StageError;
use seinhuis_tests::raw::RawError;

/// Something that was not as it should be, as a sentence.
#[derive(Debug)]
pub(crate) struct Trouble(pub(crate) Text);

/// What a scene ends with.
pub(crate) type Told<T = ()> = Result<T, Trouble>;

impl Trouble {
    /// In both languages.
    pub(crate) fn new(nl: impl Into<String>, en: impl Into<String>) -> Self {
        Self(Text::new(nl, en))
    }

    /// A fault of the demo itself.
    pub(crate) fn bug() -> Self {
        Self::new("De demo zelf bevat een fout.", "The demo itself has a fault.")
    }
}

/// Goes on when `right`, otherwise ends with the sentence.
pub(crate) fn check(right: bool, nl: impl Into<String>, en: impl Into<String>) -> Told {
    if right { Ok(()) } else { Err(Trouble::new(nl, en)) }
}

impl From<Complaint> for Trouble {
    fn from(complaint: Complaint) -> Self {
        let both = |what: &str, advice: &str| format!("{what} {advice}");
        Self::new(
            both(&complaint.what.nl, &complaint.advice.nl),
            both(&complaint.what.en, &complaint.advice.en),
        )
    }
}

impl From<StageError> for Trouble {
    fn from(error: StageError) -> Self {
        Self::new(
            format!("Een opdracht die moest slagen, deed dat niet: {error}"),
            format!("A command that had to succeed did not: {error}"),
        )
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::new(format!("Het systeem meldt: {error}."), format!("The system says: {error}."))
    }
}

impl From<RawError> for Trouble {
    fn from(error: RawError) -> Self {
        match error {
            RawError::Own(complaint) => complaint.into(),
            RawError::Refused(refusal) => Complaint::from_refusal(refusal).into(),
            RawError::Ended(how) => Self::new(
                format!("De verbinding met de broker eindigde anders dan bedoeld: {how}."),
                format!("The connection with the broker ended otherwise than meant: {how}."),
            ),
        }
    }
}
