//! Whose folder it is that a command works on.
//!
//! A daemon runs as the user of its service, and what it keeps belongs to that user. A command by somebody else, root most of
//! all, would be able to open the store and leave files behind that the daemon cannot open any more: so it is not begun.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{self, Path};

use rustix::process::geteuid;

use crate::complaint::Complaint;
use crate::files;
use crate::lang::Text;

/// Most bytes of the list of users that are read.
const USERS_MAX: usize = 1024 * 1024;
/// Root, on every Unix.
const ROOT: u32 = 0;

/// Checks that the folder of `program`, if there is one, belongs to the user that this process runs as.
///
/// # Errors
/// A sentence naming both users, and the command to run.
pub fn check(folder: &Path, program: &str) -> Result<(), Complaint> {
    // What cannot be looked at is told by who opens it.
    let Ok(meta) = fs::metadata(folder) else { return Ok(()) };
    let (owner, own) = (meta.uid(), geteuid().as_raw());
    if owner == own {
        return Ok(());
    }
    let users = files::read_text(Path::new("/etc/passwd"), USERS_MAX).unwrap_or_default();
    let folder = path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    Err(belongs_to(&folder, program, (owner, &name(&users, owner)), &name(&users, own)))
}

/// How `sudo -u` and `chown` know a user: the name, else the number.
fn name(users: &str, uid: u32) -> String {
    let named = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        // Between the two stands what once was the password.
        let number = fields.nth(1)?;
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    };
    users.lines().find_map(named).unwrap_or_else(|| format!("#{uid}"))
}

fn belongs_to(folder: &Path, program: &str, (uid, owner): (u32, &str), own: &str) -> Complaint {
    let folder = folder.display();
    let what = Text::new(
        format!("De map {folder} is van de gebruiker {owner}, en deze opdracht draait als {own}."),
        format!("The folder {folder} belongs to the user {owner}, and this command runs as {own}."),
    );
    let advice = if uid == ROOT {
        Text::new(
            format!(
                "Geef de map aan de gebruiker van de dienst: sudo chown -R {own}: {folder} . Moet hij van {owner} blijven, voer de opdracht dan als {owner} uit."
            ),
            format!(
                "Give the folder to the user of the service: sudo chown -R {own}: {folder} . Is it to stay {owner}'s, then run the command as {owner}."
            ),
        )
    } else {
        Text::new(
            format!(
                "Voer het uit als die gebruiker: sudo -u '{owner}' {program} --home {folder} … (anders kan de dienst niet meer bij wat hier gemaakt wordt)."
            ),
            format!(
                "Run it as that user: sudo -u '{owner}' {program} --home {folder} … (or the service cannot get at what is made here)."
            ),
        )
    };
    Complaint::usage(what, advice)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;
    use crate::lang::Lang;

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\n::7:\nbroken\nseinhuis-agent:x:997:996::/var/lib/seinhuis-agent:/usr/sbin/nologin\n";

    #[test]
    fn a_user_is_named_as_sudo_knows_it() {
        assert_eq!(name(USERS, 997), "seinhuis-agent");
        assert_eq!(name(USERS, 0), "root");
        for unknown in [7, 996, 99] {
            assert_eq!(name(USERS, unknown), format!("#{unknown}"));
        }
        assert_eq!(name("", 1), "#1");
    }

    #[test]
    fn the_command_to_run_stands_in_the_complaint() {
        let folder = Path::new("/var/lib/seinhuis-agent");
        let root = belongs_to(folder, "seinhuis-agent", (997, "seinhuis-agent"), "root");
        for lang in [Lang::Nl, Lang::En] {
            let said = root.show(lang);
            assert!(
                said.contains("sudo -u 'seinhuis-agent' seinhuis-agent --home /var/lib/seinhuis-agent"),
                "{said}"
            );
        }
        let taken = belongs_to(folder, "seinhuis-agent", (ROOT, "root"), "seinhuis-agent");
        for lang in [Lang::Nl, Lang::En] {
            let said = taken.show(lang);
            assert!(said.contains("sudo chown -R seinhuis-agent: /var/lib/seinhuis-agent"), "{said}");
        }
        assert_ne!(taken.what.nl, taken.what.en);
    }

    #[test]
    fn somebody_elses_folder_is_told_and_ones_own_or_none_is_not() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path(), "seinhuis-agent").unwrap();
        check(&dir.path().join("none"), "seinhuis-agent").unwrap();
        // Who is not root cannot give a folder away, and has root's at hand.
        let other = if chown(dir.path(), Some(1), None).is_ok() { dir.path() } else { Path::new("/") };
        assert_eq!(check(other, "seinhuis-agent").unwrap_err().exit.code(), 2);
    }
}
