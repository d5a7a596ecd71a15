//! Deliveries as files: each message received is put in a folder, and what its sender withdraws later is taken out.

use std::fs;
use std::path::{Path, PathBuf};

use seinhuis_shared::ids::MsgId;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};

use super::Agent;
use super::place::{at, cannot_write, try_out};
use crate::commands::request::{Look, Request};
use crate::config::Folder;
use crate::engine::inbox_row;
use crate::ways::delivered;
use crate::ways::deliveries::{Due, Kept, Trouble, Wanted};

/// Most files that are looked after in one go, between two turns.
const ASKED_MAX: usize = 1000;
/// Most deliveries of one look, so that what is to be sent does not wait for all that came in.
const LOOK_MAX: usize = 50;
/// The length of a message id as text.
const ID: usize = 36;

/// A folder in which deliveries are put.
#[derive(Debug)]
pub(super) struct Inward {
    dir: PathBuf,
    wanted: Wanted,
    kept: Kept,
    begun: bool,
}

/// Why a body is to be used no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    Withdrawn,
    Erased,
}

impl Inward {
    pub(super) fn new(dir: &Path, folder: &Folder, home: &Path) -> Self {
        let wanted = Wanted { flows: folder.flows.clone(), unconsumed: folder.consume };
        let kept = home.join("folders").join(format!("{}.json", folder.name));
        Self {
            dir: dir.to_path_buf(),
            wanted,
            kept: Kept::new(Some(kept).filter(|_| !folder.consume)),
            begun: false,
        }
    }

    /// Looks once: takes out what was withdrawn, and puts in what is due. Whether there is more to do at once.
    ///
    /// # Errors
    /// What is wrong with the folder, or with a message. Nothing is lost by that.
    pub(super) fn look(&mut self, agent: &Agent) -> Result<bool, Complaint> {
        if !fs::metadata(&self.dir).map_err(at(&self.dir))?.is_dir() {
            return Err(at(&self.dir)(std::io::ErrorKind::NotADirectory.into()));
        }
        if !self.begun {
            files::clear_temporaries(&self.dir).map_err(at(&self.dir))?;
            self.begun = true;
        }
        self.take_out(agent)?;
        let (dir, consume) = (&self.dir, self.wanted.unconsumed);
        let mut tried = false;
        self.kept.round(LOOK_MAX, self.wanted.through(agent), |due| {
            if agent.stopping() {
                return Err(Trouble::Sink(crate::agent::stopped()));
            }
            if !tried {
                // Every reading is on record: none is made for a folder that cannot hold it.
                try_out(dir).map_err(Trouble::Sink)?;
                tried = true;
            }
            deliver(dir, due, consume, agent)
        })
    }

    /// Takes out what was withdrawn or erased since it was put here and is still here.
    fn take_out(&self, agent: &Agent) -> Result<(), Complaint> {
        let fail = at(&self.dir);
        let mut here = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(&fail)? {
            let name = entry.map_err(&fail)?.file_name();
            here.extend(name.to_str().and_then(delivery));
        }
        for some in here.chunks(ASKED_MAX) {
            let asked: Vec<(u64, MsgId)> = some.iter().map(|(position, id, _)| (*position, *id)).collect();
            let gone = agent.query(move |view| {
                let gone = |(position, id): (u64, MsgId)| {
                    let withdrawn = view.core.mark(position).is_some_and(|mark| mark.withdrawn.is_some());
                    let erased = view.core.erased(position).map(|_| Gone::Erased);
                    let gone = if withdrawn { Some(Gone::Withdrawn) } else { erased };
                    gone.filter(|_| inbox_row(view.store, position).is_some_and(|row| row.msg_id == id))
                };
                asked.into_iter().map(gone).collect::<Vec<_>>()
            })?;
            for ((_, id, stem), gone) in some.iter().zip(gone) {
                if let Some(gone) = gone {
                    let notice = self.dir.join(format!("{stem}.ingetrokken.txt"));
                    files::write_shared(&notice, told(id, gone).as_bytes(), Existing::Replace)
                        .map_err(|_| cannot_write(&self.dir))?;
                    fs::remove_file(self.dir.join(format!("{stem}.json"))).map_err(&fail)?;
                }
            }
        }
        Ok(())
    }
}

/// Puts one message in the folder; when that is on stable storage, it is taken over.
fn deliver(dir: &Path, due: &Due, consume: bool, agent: &Agent) -> Result<(), Trouble> {
    let id = due.position.to_string();
    let about = |complaint| Trouble::of(due, complaint);
    let value = agent.ask(Request::Look(Look::Read { id: id.clone(), withdrawn: false })).map_err(about)?;
    let text = delivered::text(value).map_err(Trouble::Message)? + "\n";
    let path = dir.join(format!("{}.json", stem(due)));
    // Who shares the folder takes the delivery: its sender is told that it was.
    files::write_shared(&path, text.as_bytes(), Existing::Replace)
        .map_err(|_| Trouble::Sink(cannot_write(dir)))?;
    if consume {
        agent.ask(Request::Consumed { id }).map_err(about)?;
    }
    Ok(())
}

/// What a delivery is called, without its ending: its place, its flow and its id.
fn stem(due: &Due) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let flow: String = due.flow.chars().map(plain).collect();
    format!("{:08}-{flow}-{}", due.position, due.msg_id)
}

/// Place, message and stem of a file that is a delivery by its name.
fn delivery(name: &str) -> Option<(u64, MsgId, String)> {
    let stem = name.strip_suffix(".json")?;
    let (position, rest) = stem.split_once('-')?;
    let id = rest.get(rest.len().checked_sub(ID)?..)?;
    let numbers = position.len() >= 8 && position.bytes().all(|byte| byte.is_ascii_digit());
    if !numbers {
        return None;
    }
    Some((position.parse().ok()?, id.parse().ok()?, stem.to_owned()))
}

/// What stands in the place of a message that is to be used no more.
fn told(id: &MsgId, gone: Gone) -> String {
    let (nl, en) = match gone {
        Gone::Withdrawn => ("is ingetrokken door de afzender", "was withdrawn by its sender"),
        Gone::Erased => (
            "is gewist omdat de bewaartermijn of grond voorbij is",
            "was erased: it may not be kept any more",
        ),
    };
    format!(
        "Nederlands\nBericht {id} {nl}. Het bestand is verwijderd. Gebruik de inhoud niet meer en verwijder ook wat u er elders van bewaart.\n\n\
         English\nMessage {id} {en}. Its file is removed. Do not use its content any more, and remove what you keep of it elsewhere.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_delivery_says_which_it_is_and_other_files_are_none() {
        let msg_id: MsgId = "01a20c7a-7b9f-7ad8-aa06-85eefba62cd3".parse().unwrap();
        let due = Due { position: 7, msg_id, flow: "F-1/x".into(), case: None };
        let name = format!("{}.json", stem(&due));
        assert_eq!(name, "00000007-F_1_x-01a20c7a-7b9f-7ad8-aa06-85eefba62cd3.json");
        let (position, id, stem) = delivery(&name).unwrap();
        assert_eq!((position, id, format!("{stem}.json")), (7, msg_id, name));
        for other in [
            "7-F01-01a20c7a-7b9f-7ad8-aa06-85eefba62cd3.json",
            "00000007-F01-01a20c7a-7b9f-7ad8-aa06.json",
            "00000007-é.json",
            "00000007.json",
            "00000007-F01-01a20c7a-7b9f-7ad8-aa06-85eefba62cd3.ingetrokken.txt",
        ] {
            assert!(delivery(other).is_none(), "{other}");
        }
    }
}
