//! The folder in which everything happens.

use std::path::{Path, PathBuf};

use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::lang::Text;
use tempfile::TempDir;

use crate::teller::Teller;

/// The longest path of a folder in which the longest socket path (`/jongerenwerk/agent.sock`) still fits.
const PATH_MAX: usize = 107 - "/jongerenwerk/agent.sock".len();

/// The folder.
#[derive(Debug)]
pub(crate) enum Place {
    /// Removed at the end.
    Temporary(TempDir),
    /// Asked for, and left.
    Named(PathBuf),
}

impl Place {
    /// Makes it.
    ///
    /// # Errors
    /// A sentence: not empty, path too long, cannot be made.
    pub(crate) fn make(dir: Option<&Path>) -> Result<Self, Complaint> {
        let place = match dir {
            Some(dir) => Self::Named(empty(dir)?),
            None => Self::Temporary(
                tempfile::Builder::new()
                    .prefix("seinhuis-")
                    .tempdir()
                    .map_err(|error| Complaint::io(Doing::MakeFolder, &std::env::temp_dir(), &error))?,
            ),
        };
        let path = place.dir();
        if path.as_os_str().len() > PATH_MAX {
            let at = path.display();
            return Err(Complaint::usage(
                Text::new(
                    format!(
                        "Het pad {at} is te lang voor de sockets van de agents (hoogstens {PATH_MAX} tekens)."
                    ),
                    format!(
                        "The path {at} is too long for the agents' sockets (at most {PATH_MAX} characters)."
                    ),
                ),
                Text::new("Kies met --dir een korter pad.", "Choose a shorter path with --dir."),
            ));
        }
        Ok(place)
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Named(dir) => dir,
        }
    }

    /// After a good end: removes a temporary folder, says where another one is.
    pub(crate) fn leave(self, teller: &Teller) {
        match self {
            // A folder that cannot be removed is the system's own to clean up.
            Self::Temporary(dir) => _ = dir.close(),
            Self::Named(dir) => Self::tell(&dir, teller),
        }
    }

    /// After a bad end: keeps the folder for whoever wants to know why.
    pub(crate) fn keep(self, teller: &Teller) {
        match self {
            Self::Temporary(dir) => Self::tell(&dir.keep(), teller),
            Self::Named(dir) => Self::tell(&dir, teller),
        }
    }

    fn tell(dir: &Path, teller: &Teller) {
        let at = dir.display();
        teller.line(
            format!("Alle bestanden, met de logs van de processen, staan in {at}"),
            format!("All files, with the logs of the processes, are in {at}"),
        );
    }
}

fn empty(dir: &Path) -> Result<PathBuf, Complaint> {
    std::fs::create_dir_all(dir).map_err(|error| Complaint::io(Doing::MakeFolder, dir, &error))?;
    let fail = |error: std::io::Error| Complaint::io(Doing::OpenFolder, dir, &error);
    if std::fs::read_dir(dir).map_err(fail)?.next().is_some() {
        let at = dir.display();
        return Err(Complaint::usage(
            Text::new(format!("De map {at} is niet leeg."), format!("The folder {at} is not empty.")),
            Text::new("Kies een lege of nieuwe map.", "Choose an empty or new folder."),
        ));
    }
    dir.canonicalize().map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_holds_something_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("new");
        assert_eq!(Place::make(Some(&new)).unwrap().dir(), new.canonicalize().unwrap());
        std::fs::write(new.join("file"), b"x").unwrap();
        assert!(Place::make(Some(&new)).unwrap_err().what.en.contains("not empty"));
        assert!(new.join("file").exists());
    }

    #[test]
    fn a_path_too_long_for_sockets_is_told_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("a".repeat(100));
        assert!(Place::make(Some(&long)).unwrap_err().what.en.contains("too long"));
    }
}
