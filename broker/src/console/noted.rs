//! What is done to accounts on the command line, as entries of the log.
//!
//! A command writes its line in the book, whether the broker runs or not. The broker follows the book: each line about an
//! account becomes an entry with the SHA-256 of the line and no name. How far it is stands in a file of its own, which is
//! written after the entry: a line may be logged twice where the broker dies in between, and none is passed over.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use seinhuis_broker_core::Command;
use seinhuis_shared::signing::sha256;
use seinhuis_shell::complaint::{Complaint, Doing};
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::watched::Watched;
use serde::Deserialize;

use crate::home::Home;
use crate::service::Service;

/// How often is looked whether the book has more.
const LOOK: Duration = Duration::from_secs(1);
/// Most bytes of the file that says how far it is.
const FAR_MAX: usize = 32;

/// Logs what is done to accounts, for as long as the broker runs; first what was done while it did not.
pub(crate) async fn note_accounts(service: Service, home: Home) {
    let mut book = Watched::new([home.acts()], [None]);
    let mut pace = tokio::time::interval(LOOK);
    loop {
        pace.tick().await;
        let Some(now) = book.changed() else { continue };
        match catch_up(&service, &home).await {
            Ok(()) => book.taken(now),
            Err(complaint) => book.failed(complaint),
        }
    }
}

async fn catch_up(service: &Service, home: &Home) -> Result<(), Complaint> {
    let (book, logged) = (home.acts(), home.acts_logged());
    let mut far = how_far(&logged)?;
    let more = after(&book, &mut far).map_err(|error| Complaint::io(Doing::Read, &book, &error))?;
    for line in more.split_inclusive(|byte| *byte == b'\n') {
        let Some(text) = line.strip_suffix(b"\n") else { break };
        far = far.saturating_add(u64::try_from(line.len()).unwrap_or_default());
        if is_about_an_account(text) {
            service.command(Command::AccountChanged { line: sha256(text) }).await?;
            files::write_private(&logged, far.to_string().as_bytes(), Existing::Replace)?;
        }
    }
    Ok(())
}

/// How many bytes of the book are in the log; none when that is not known.
fn how_far(path: &Path) -> Result<u64, Complaint> {
    if !path.exists() {
        return Ok(0);
    }
    let text = files::read_private(path, FAR_MAX)?;
    Ok(std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default())
}

/// What the book has after so many bytes. One that has less, or no line that ends there, is another: it begins anew.
fn after(book: &Path, far: &mut u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(book)?;
    let length = file.metadata()?.len();
    let mut more = Vec::new();
    // The end of the line before says that what follows is a line.
    if let Some(before) = far.checked_sub(1).filter(|before| *before < length) {
        file.seek(SeekFrom::Start(before))?;
        file.read_to_end(&mut more)?;
        if more.first() == Some(&b'\n') {
            more.remove(0);
            return Ok(more);
        }
        more.clear();
        file.rewind()?;
    }
    *far = 0;
    file.read_to_end(&mut more)?;
    Ok(more)
}

/// Whether a line is about an account, or cannot be read.
fn is_about_an_account(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Line {
        act: String,
    }
    serde_json::from_slice::<Line>(line).map_or(true, |line| line.act.starts_with("account-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_is_followed_from_where_it_was_and_another_one_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let (book, logged) = (dir.path().join("console-acts.jsonl"), dir.path().join("console-acts.logged"));
        let more = |mut far: u64| {
            let more = after(&book, &mut far).unwrap();
            (String::from_utf8(more).unwrap(), far)
        };
        assert!(after(&book, &mut 0).is_err());
        std::fs::write(&book, "een\ntwee\n").unwrap();
        assert_eq!(more(0), ("een\ntwee\n".to_owned(), 0));
        assert_eq!(more(4), ("twee\n".to_owned(), 4));
        assert_eq!(more(9), (String::new(), 9));
        for other in [2, 10, u64::MAX / 2] {
            assert_eq!(more(other), ("een\ntwee\n".to_owned(), 0), "{other}");
        }
        assert_eq!(how_far(&logged).unwrap(), 0);
        for (text, far) in [("9", 9), ("9\n", 9), ("x", 0), ("", 0), ("-1", 0)] {
            files::write_private(&logged, text.as_bytes(), Existing::Replace).unwrap();
            assert_eq!(how_far(&logged).unwrap(), far, "{text}");
        }
    }

    #[test]
    fn lines_about_accounts_are_logged_and_those_of_acts_that_are_in_the_log_already_are_not() {
        for (line, is) in [
            ("{\"at\":\"x\",\"act\":\"account-add\",\"reason\":\"account Anna\"}", true),
            ("{\"act\":\"account-remove\"}", true),
            ("{\"act\":\"partner-revoke\",\"reason\":\"account-\"}", false),
            ("{\"act\":\"flow-suspend\"}", false),
            ("{\"torn", true),
        ] {
            assert_eq!(is_about_an_account(line.as_bytes()), is, "{line}");
        }
    }
}
