//! `[[folder]]`: a folder in which a partner's own systems leave files to be sent, or find what came in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde::Deserialize;

use crate::ways::rows::Defaults;

/// Most folders of one agent.
const FOLDERS_MAX: usize = 64;

/// One of `[[folder]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Folder {
    /// What the agent calls it.
    pub name: String,
    /// The folder whose files are sent, or empty.
    pub out: PathBuf,
    /// The folder in which deliveries are put, or empty.
    #[serde(rename = "in")]
    pub inward: PathBuf,
    /// How often both are looked at, in seconds.
    pub every_s: u64,
    /// The flow of a bare body, or empty.
    pub flow: String,
    /// The recipients of a bare body.
    pub to: Vec<String>,
    /// The step of a bare body, or empty.
    pub step: String,
    /// The message type of a bare body, or empty.
    #[serde(rename = "type")]
    pub message_type: String,
    /// The case of a bare body, or empty.
    pub case: String,
    /// The legal basis of a bare body, or empty.
    pub basis: String,
    /// The file that says which column of a CSV file is which field, or empty.
    pub mapping: PathBuf,
    /// The flows whose deliveries are put in `in`; all when empty.
    pub flows: BTreeSet<String>,
    /// Whether a delivery that was put in `in` counts as taken over.
    pub consume: bool,
}

impl Default for Folder {
    fn default() -> Self {
        let none = String::new;
        Self {
            name: none(),
            out: PathBuf::new(),
            inward: PathBuf::new(),
            every_s: 5,
            flow: none(),
            to: Vec::new(),
            step: none(),
            message_type: none(),
            case: none(),
            basis: none(),
            mapping: PathBuf::new(),
            flows: BTreeSet::new(),
            consume: true,
        }
    }
}

impl Folder {
    /// The folder whose files are sent, if there is one.
    pub fn watched(&self) -> Option<&Path> {
        Some(self.out.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// The folder in which deliveries are put, if there is one.
    pub fn filled(&self) -> Option<&Path> {
        Some(self.inward.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// What it says of files and rows that do not say it themselves.
    pub(crate) fn defaults(&self) -> Defaults<'_> {
        let Self { flow, to, step, message_type, case, basis, .. } = self;
        Defaults { flow, to, step, message_type, case, basis }
    }

    fn check(&self) -> Result<(), Complaint> {
        check_name("folder", &self.name)?;
        if !(1..=3600).contains(&self.every_s) {
            return Err(Complaint::usage(
                Text::new("folder.every_s moet 1 tot 3600 zijn.", "folder.every_s must be 1 to 3600."),
                Text::new("Gebruik 5, de standaardwaarde.", "Use 5, the default."),
            ));
        }
        for (key, path) in [("out", self.watched()), ("in", self.filled())] {
            if path.is_some_and(|path| !path.is_absolute()) {
                return Err(Complaint::usage(
                    Text::new(
                        format!("folder.{key} van {:?} is geen volledig pad.", self.name),
                        format!("folder.{key} of {:?} is no full path.", self.name),
                    ),
                    Text::new(
                        "Schrijf het pad vanaf /, zoals /srv/seinhuis/uit.",
                        "Write the path from /, such as /srv/seinhuis/out.",
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Whether a `name` can be one of a `table`: files are called by it.
pub(super) fn check_name(table: &str, name: &str) -> Result<(), Complaint> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=32).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Complaint::usage(
        Text::new(format!("{table}.name {name:?} kan niet."), format!("{table}.name {name:?} cannot be.")),
        Text::new(
            format!("Geef elke [[{table}]] een naam van 1 tot 32 tekens a-z, 0-9 en -."),
            format!("Give each [[{table}]] a name of 1 to 32 characters a-z, 0-9 and -."),
        ),
    ))
}

/// Whether one of two paths is in the other, or both are one.
pub(crate) fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Whether these folders can be used beside one another.
pub(super) fn check(folders: &[Folder]) -> Result<(), Complaint> {
    if folders.len() > FOLDERS_MAX {
        return Err(Complaint::usage(
            Text::new(
                format!("Er zijn meer dan {FOLDERS_MAX} [[folder]]."),
                format!("There are more than {FOLDERS_MAX} [[folder]]."),
            ),
            Text::new("Voeg mappen samen.", "Join folders."),
        ));
    }
    let mut paths: Vec<(&str, &Path)> = Vec::new();
    for (at, folder) in folders.iter().enumerate() {
        folder.check()?;
        for path in folder.watched().into_iter().chain(folder.filled()) {
            if let Some((other, _)) = paths.iter().find(|(_, other)| overlap(path, other)) {
                return Err(in_one_another(&folder.name, other));
            }
            paths.push((&folder.name, path));
        }
        if folders.iter().take(at).any(|other| other.name == folder.name) {
            return Err(Complaint::usage(
                Text::new(
                    format!("Twee [[folder]] heten {:?}.", folder.name),
                    format!("Two [[folder]] are called {:?}.", folder.name),
                ),
                Text::new("Geef elk een eigen naam.", "Give each a name of its own."),
            ));
        }
    }
    Ok(())
}

fn in_one_another(one: &str, other: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("De mappen van [[folder]] {one:?} en {other:?} vallen samen of liggen in elkaar."),
            format!("The folders of [[folder]] {one:?} and {other:?} are one, or one is in the other."),
        ),
        Text::new("Geef elke out en in een eigen map.", "Give each out and in a folder of its own."),
    )
}

#[cfg(test)]
mod tests {
    use super::super::{BASIC_SAMPLE, Config};

    fn parse(more: &str) -> Result<Config, String> {
        Config::parse("agent.toml", &format!("{BASIC_SAMPLE}{more}")).map_err(|error| error.what.en)
    }

    #[test]
    fn folders_are_read_and_mistakes_are_told() {
        let config = parse("[[folder]]\nname = \"a\"\nout = \"/x/out\"\nin = \"/x/in\"\n").unwrap();
        assert_eq!(config.folder.len(), 1);
        for (wrong, said) in [
            ("out = \"/x\"", "folder.name"),
            ("name = \"A b\"", "folder.name"),
            ("name = \"a\"\nevery_s = 0", "every_s"),
            ("name = \"a\"\nevery_s = 3601", "every_s"),
            ("name = \"a\"\nout = \"x/y\"", "no full path"),
            ("name = \"a\"\nin = \"x\"", "no full path"),
            ("name = \"a\"\nin = \"/x\"\nout = \"/x\"", "in the other"),
            ("name = \"a\"\nin = \"/x/y\"\nout = \"/x\"", "in the other"),
            ("name = \"a\"\nuit = \"/x\"", "uit"),
        ] {
            let error = parse(&format!("[[folder]]\n{wrong}\n")).unwrap_err();
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }

    #[test]
    fn one_flow_is_taken_over_in_one_place() {
        let two = |one: &str, other: &str| {
            let folder =
                |name: &str, more: &str| format!("[[folder]]\nname = \"{name}\"\nin = \"/{name}\"\n{more}\n");
            parse(&(folder("a", one) + &folder("b", other)))
        };
        for (one, other) in [("", ""), ("flows = [\"F01\"]", ""), ("flows = [\"F01\"]", "flows = [\"F01\"]")]
        {
            assert!(two(one, other).unwrap_err().contains("same flow"), "{one} {other}");
            assert!(two(&format!("{one}\nconsume = false"), other).is_ok(), "{one} {other}");
        }
        assert!(two("flows = [\"F01\"]", "flows = [\"F02\"]").is_ok());
        let same = "[[folder]]\nname = \"a\"\n";
        assert!(parse(&same.repeat(2)).unwrap_err().contains("are called"));
        assert!(parse(&same.repeat(65)).unwrap_err().contains("more than"));
    }
}
