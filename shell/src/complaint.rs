//! What people read when something does not go through: what happened and whose fault, what to do.

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;

use seinhuis_shared::refusal::Refusal;
use serde_json::json;

use crate::lang::{Lang, Text};

/// The exit code a complaint leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 1: understood, and refused or not verified.
    Refused,
    /// 2: wrong use, or something in the surroundings that has to be put right first.
    Usage,
}

impl Exit {
    /// The number given to the operating system.
    pub const fn code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
        }
    }
}

/// One mistake, told to the person who can act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What happened and whose fault it is.
    pub what: Text,
    /// What to do next.
    pub advice: Text,
    /// How the program ends because of it.
    pub exit: Exit,
    /// The number in the refusal table, when there is one.
    pub refusal: Option<Refusal>,
}

/// What was being done with a file when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Reading a file.
    Read,
    /// Making or writing a file.
    Write,
    /// Making a folder.
    MakeFolder,
    /// Opening or using a folder.
    OpenFolder,
    /// Removing a file.
    Remove,
    /// Making or using a socket.
    Socket,
}

impl Doing {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Read => ("lezen", "read"),
            Self::Write => ("schrijven", "write"),
            Self::MakeFolder => ("als map maken", "make the folder"),
            Self::OpenFolder => ("als map openen", "open the folder"),
            Self::Remove => ("verwijderen", "remove"),
            Self::Socket => ("als socket gebruiken", "use the socket"),
        }
    }
}

impl Complaint {
    /// Wrong use or wrong surroundings: exit 2.
    pub fn usage(what: Text, advice: Text) -> Self {
        Self { what, advice, exit: Exit::Usage, refusal: None }
    }

    /// Understood and refused, or not verified: exit 1.
    pub fn refused(what: Text, advice: Text) -> Self {
        Self { what, advice, exit: Exit::Refused, refusal: None }
    }

    /// A numbered refusal with its texts from the table: exit 1.
    pub fn from_refusal(refusal: Refusal) -> Self {
        let text = |lang: Lang| format!("{} ({refusal})", refusal.what(lang).trim_end_matches('.'));
        Self {
            what: Text::new(text(Lang::Nl), text(Lang::En)),
            advice: Text::new(refusal.advice(Lang::Nl), refusal.advice(Lang::En)),
            exit: Exit::Refused,
            refusal: Some(refusal),
        }
    }

    /// A failed file operation, in a sentence that names the path: exit 2.
    pub fn io(doing: Doing, path: &Path, error: &io::Error) -> Self {
        let (nl, en) = doing.words();
        let path = path.display();
        let (cause, advice) = io_cause(error);
        Self::usage(
            Text::new(
                format!("Kan {path} niet {nl}: {}", cause.nl),
                format!("Cannot {en} {path}: {}", cause.en),
            ),
            advice,
        )
    }

    /// A fault of the program itself, not of its user: exit 2.
    pub fn bug(what: impl Into<String>) -> Self {
        let what = what.into();
        Self::usage(
            Text::new(
                format!("Fout in het programma zelf: {what}"),
                format!("Fault in the program itself: {what}"),
            ),
            Text::new("Meld dit aan de leverancier.", "Report this to the supplier."),
        )
    }

    /// The complaint with `before` put in front of what happened, such as the name of a file.
    #[must_use]
    pub fn about(mut self, before: &str) -> Self {
        self.what = Text::new(format!("{before}: {}", self.what.nl), format!("{before}: {}", self.what.en));
        self
    }

    /// The complaint with another advice.
    #[must_use]
    pub fn advise(mut self, advice: Text) -> Self {
        self.advice = advice;
        self
    }

    /// Both lines in `lang`.
    pub fn show(&self, lang: Lang) -> String {
        let label = lang.pick("Fout", "Error");
        let next = lang.pick("Wat nu", "Next");
        format!("{label}: {}\n{next}: {}", self.what.in_lang(lang), self.advice.in_lang(lang))
    }

    /// The complaint for machines: `{"error": {"what", "advice", "exit", "refusal"}}`.
    pub fn to_json(&self, lang: Lang) -> serde_json::Value {
        json!({ "error": {
            "what": self.what.in_lang(lang),
            "advice": self.advice.in_lang(lang),
            "exit": self.exit.code(),
            "refusal": self.refusal.map(Refusal::number),
        }})
    }
}

/// Cause and advice, each in Dutch and English, of a failure that people can act on.
struct Cause {
    kind: io::ErrorKind,
    why: (&'static str, &'static str),
    advice: (&'static str, &'static str),
}

const FULL: Cause = Cause {
    kind: io::ErrorKind::StorageFull,
    why: ("de schijf of het quotum is vol.", "the disk or the quota is full."),
    advice: ("Maak ruimte vrij en probeer het opnieuw.", "Free some space and try again."),
};

const CAUSES: [Cause; 9] = [
    Cause {
        kind: io::ErrorKind::PermissionDenied,
        why: ("de rechten staan het niet toe.", "its permissions do not allow it."),
        advice: (
            "Voer het uit als de eigenaar van het bestand, of pas eigenaar en rechten van bestand en map aan.",
            "Run this as the owner of the file, or change the owner and permissions of file and folder.",
        ),
    },
    Cause {
        kind: io::ErrorKind::NotFound,
        why: ("het bestaat niet.", "it does not exist."),
        advice: (
            "Controleer het pad; maak zo nodig eerst de map.",
            "Check the path; make the folder first if needed.",
        ),
    },
    Cause {
        kind: io::ErrorKind::AlreadyExists,
        why: ("het bestaat al en wordt niet overschreven.", "it exists already and is not overwritten."),
        advice: (
            "Kies een andere naam, of zet het oude bestand eerst opzij.",
            "Choose another name, or move the old file aside first.",
        ),
    },
    FULL,
    Cause { kind: io::ErrorKind::QuotaExceeded, ..FULL },
    Cause {
        kind: io::ErrorKind::IsADirectory,
        why: ("het is een map.", "it is a folder."),
        advice: ("Noem een bestand in plaats van een map.", "Name a file instead of a folder."),
    },
    Cause {
        kind: io::ErrorKind::NotADirectory,
        why: ("een deel van het pad is geen map.", "a part of the path is not a folder."),
        advice: ("Controleer het pad.", "Check the path."),
    },
    Cause {
        kind: io::ErrorKind::ReadOnlyFilesystem,
        why: ("het bestandssysteem is alleen-lezen.", "the file system is read-only."),
        advice: ("Kies een pad op een beschrijfbare schijf.", "Choose a path on a writable disk."),
    },
    Cause {
        kind: io::ErrorKind::AddrInUse,
        why: ("het adres is al in gebruik.", "the address is in use already."),
        advice: (
            "Stop het andere programma of kies een ander adres.",
            "Stop the other program or choose another address.",
        ),
    },
];

fn io_cause(error: &io::Error) -> (Text, Text) {
    let known = CAUSES.iter().find(|row| row.kind == error.kind());
    known.map_or_else(
        || {
            (
                Text::new(format!("het systeem meldt: {error}."), format!("the system says: {error}.")),
                Text::new(
                    "Controleer schijf en pad en probeer het opnieuw.",
                    "Check disk and path and try again.",
                ),
            )
        },
        |row| (Text::new(row.why.0, row.why.1), Text::new(row.advice.0, row.advice.1)),
    )
}

impl fmt::Display for Complaint {
    /// What happened, in English; use [`Complaint::show`] for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what.en, self.advice.en)
    }
}

impl std::error::Error for Complaint {}

/// Prints a complaint on standard error, as two lines or as one line of JSON.
pub fn report(complaint: &Complaint, lang: Lang, json: bool) {
    let text = if json { complaint.to_json(lang).to_string() } else { complaint.show(lang) };
    // When standard error is closed there is nobody left to tell.
    _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_common_failure_names_the_path_in_both_languages() {
        for kind in [
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists,
            io::ErrorKind::StorageFull,
            io::ErrorKind::IsADirectory,
            io::ErrorKind::Other,
        ] {
            let complaint = Complaint::io(Doing::Write, Path::new("/srv/x"), &io::Error::from(kind));
            for lang in [Lang::Nl, Lang::En] {
                assert!(complaint.show(lang).contains("/srv/x"), "{kind:?}");
                assert!(!complaint.advice.in_lang(lang).is_empty());
            }
            assert_ne!(complaint.what.nl, complaint.what.en);
            assert_eq!(complaint.exit.code(), 2);
        }
    }

    #[test]
    fn a_numbered_refusal_keeps_its_number() {
        let complaint = Complaint::from_refusal(Refusal::BadSignature);
        assert!(complaint.show(Lang::Nl).contains(&Refusal::BadSignature.number().to_string()));
        assert_eq!(complaint.to_json(Lang::En)["error"]["refusal"], Refusal::BadSignature.number());
        assert_eq!(complaint.exit, Exit::Refused);
    }
}
