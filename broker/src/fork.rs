//! Two histories of one log: told, with the evidence kept, and never served again.

use seinhuis_broker_core::{Claim, Contradiction};
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;

use crate::home::Home;

/// Refuses a folder in which evidence of another history lies.
///
/// # Errors
/// A sentence naming the file.
pub(crate) fn check(home: &Home) -> Result<(), Complaint> {
    if !home.fork().exists() {
        return Ok(());
    }
    let path = home.fork().display().to_string();
    Err(Complaint::usage(
        Text::new(
            format!("Van dit uitwisselingslog bestaan twee geschiedenissen; het bewijs staat in {path}."),
            format!("There are two histories of this exchange log; the evidence is in {path}."),
        ),
        advice(),
    ))
}

/// The operator went on under another origin: what was evidence against serving is kept under a name of its own.
///
/// # Errors
/// A sentence when the file cannot be renamed.
pub(crate) fn settled(home: &Home) -> Result<(), Complaint> {
    let place = home.fork();
    if !place.exists() {
        return Ok(());
    }
    let kept = (1..=u16::MAX)
        .map(|number| place.with_extension(format!("{number}.txt")))
        .find(|kept| !kept.exists());
    let kept = kept.ok_or_else(|| Complaint::bug("no name is free"))?;
    std::fs::rename(&place, &kept).map_err(|error| Complaint::io(Doing::Write, &kept, &error))
}

fn advice() -> Text {
    Text::new(
        "Start deze opslag niet. Zoek met de partners uit welke geschiedenis geldt, zet de opslag terug die alles bevat, of ga zichtbaar verder onder een andere naam (`log new-origin`, docs/log.md). Bewaar het bewijs elders voordat u het hier weghaalt.",
        "Do not run this store. Find out with the partners which history counts, restore the store that has all of it, or go on for everybody to see under another name (`log new-origin`, docs/log.md). Keep the evidence elsewhere before you remove it here.",
    )
}

/// Keeps what proves the contradiction, and tells it.
pub(crate) fn found(home: &Home, contradiction: &Contradiction) -> Complaint {
    let Contradiction { witness, claim, notes } = contradiction;
    let mut text = format!("witness {witness}: {claim}\n");
    for note in notes {
        text.push_str("\n---\n");
        text.push_str(&String::from_utf8_lossy(note));
    }
    // What somebody only says is told again at the next start; what is signed stands.
    if !notes.is_empty()
        && let Err(complaint) = files::write_private(&home.fork(), text.as_bytes(), Existing::Keep)
    {
        tracing::error!("{}", complaint.what.en);
    }
    tracing::error!(%witness, %claim, "another history of this log");
    Complaint::usage(
        Text::new(
            format!(
                "Getuige {witness} spreekt dit uitwisselingslog tegen: {}. De broker dient niemand.",
                dutch(claim)
            ),
            format!("Witness {witness} contradicts this exchange log: {claim}. The broker serves nobody."),
        ),
        advice(),
    )
}

fn dutch(claim: &Claim) -> String {
    match claim {
        Claim::Larger { size, root, own } => {
            format!("hij tekende {size} regels mee met wortel {root}; dit log heeft {own} regels")
        }
        Claim::Other { size, root, own } => format!(
            "hij tekende {size} regels mee met wortel {root}; de eerste {size} van dit log hebben wortel {own}"
        ),
        Claim::Unknown { origin, size, root } => format!(
            "hij tekende {size} regels mee met wortel {root} van {origin}, een log van deze broker dat zijn opslag niet kent"
        ),
        Claim::SaysLarger { size, own } => {
            format!("hij zegt dat hij {size} regels meetekende; dit log heeft er {own}")
        }
        Claim::SaysOther { size, old } => {
            format!("hij zegt dat {size} regels van dit log niet volgen op de {old} die hij meetekende")
        }
    }
}
