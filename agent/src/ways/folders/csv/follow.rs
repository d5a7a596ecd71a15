//! What became of the rows that were taken: their receipts are completed as the verdicts come.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use seinhuis_agent_core::Stage;
use seinhuis_shared::ids::MsgId;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;

use super::Csv;
use super::decode::write_row;
use crate::engine::outbox_row;
use crate::ways::folders::Agent;
use crate::ways::folders::place::{Place, cannot_write, is_itself};

/// The first line of a receipt.
pub(super) const HEAD: &str = "regel;msg_id;stand;herhaald;reden\r\n";
/// Most rows that are asked after in one go, between two turns.
const ASKED_MAX: usize = 1000;
/// How much longer the receipts are left alone than it takes to go over them.
const REST: u32 = 20;

impl Csv {
    /// Completes receipts, when it is time.
    pub(in super::super) fn follow(&mut self, place: &Place, agent: &Agent) -> Result<(), Complaint> {
        if self.follow_at.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        let begun = Instant::now();
        let following = self.state.as_ref().map(|state| state.following.clone()).unwrap_or_default();
        for stem in following {
            if agent.stopping() {
                return Ok(());
            }
            if complete(&place.sent, &stem, agent)? {
                self.state.get_or_insert_default().following.remove(&stem);
                self.keep()?;
            }
        }
        self.follow_at = Some(Instant::now() + begun.elapsed().saturating_mul(REST) + Duration::from_secs(1));
        Ok(())
    }
}

/// A line of a receipt.
struct Line {
    text: String,
    id: Option<MsgId>,
}

/// Whether a receipt is complete now.
fn complete(sent: &Path, stem: &str, agent: &Agent) -> Result<bool, Complaint> {
    is_itself(sent)?;
    let fail = |_: io::Error| cannot_write(sent);
    let path = sent.join(format!("{stem}.receipt.csv"));
    let old = match files::open_itself(&path) {
        Ok(old) => BufReader::new(old),
        // Who tidies the folder ends the following of what was in it.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(fail(error)),
    };
    let beside = sent.join(".receipt.csv.tmp");
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(fail(error));
    }
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(fail)?;
    files::share(&new, sent).map_err(fail)?;
    let mut new = BufWriter::new(new);
    let (mut lines, mut open, mut changed) = (Vec::new(), false, false);
    let mut source = old.lines();
    loop {
        let line = source.next().transpose().map_err(fail)?;
        let ended = line.is_none();
        lines.extend(line.map(read));
        if lines.len() < ASKED_MAX && !ended {
            continue;
        }
        let ids: Vec<Option<MsgId>> = lines.iter().map(|line| line.id).collect();
        let stands = agent.query(move |view| {
            let stand = |id: MsgId| {
                let (position, stage) = view.core.find(&id)?;
                let over = !matches!(stage, Stage::Draft | Stage::Held | Stage::Sealed);
                let row = outbox_row(view.store, position).filter(|_| over);
                Some((stage, row.map_or(0, |row| row.outcome)))
            };
            ids.into_iter().map(|id| id.and_then(stand)).collect::<Vec<_>>()
        })?;
        for (line, stand) in lines.drain(..).zip(stands) {
            let text = stand.map_or_else(|| line.text.clone(), |stand| with(&line.text, stand));
            open |=
                stand.is_some_and(|(stage, _)| matches!(stage, Stage::Draft | Stage::Held | Stage::Sealed));
            changed |= text != line.text;
            new.write_all(format!("{text}\r\n").as_bytes()).map_err(fail)?;
        }
        if ended {
            break;
        }
    }
    new.into_inner().map_err(|error| fail(error.into_error()))?.sync_all().map_err(fail)?;
    if changed {
        files::replace(&beside, &path).map_err(|_| cannot_write(sent))?;
    } else {
        fs::remove_file(&beside).map_err(fail)?;
    }
    Ok(!open)
}

/// A line, and its message while that has no verdict.
fn read(text: String) -> Line {
    let mut cells = text.split(';');
    let (id, state) = (cells.nth(1).unwrap_or_default(), cells.next().unwrap_or_default());
    let open = matches!(state, "draft" | "held" | "sealed");
    let id = id.parse().ok().filter(|_| open);
    Line { text, id }
}

/// A line with how its message stands now.
fn with(text: &str, (stage, outcome): (Stage, u16)) -> String {
    let mut cells: Vec<String> = text.split(';').map(str::to_owned).collect();
    let reason = Refusal::from_number(outcome).map(|refusal| refusal.to_string()).unwrap_or_default();
    for (at, said) in [(2, stage.as_str().to_owned()), (4, reason)] {
        if let Some(cell) = cells.get_mut(at) {
            *cell = said;
        }
    }
    let mut line = String::new();
    write_row(&mut line, b';', cells);
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_followed_until_its_verdict_and_says_it() {
        let id = "01a20c7a-7b9f-7ad8-aa06-85eefba62cd3";
        let open = format!("2;{id};draft;nee;");
        assert_eq!(read(open.clone()).id, Some(id.parse().unwrap()));
        assert_eq!(read(HEAD.trim_end().to_owned()).id, None);
        let done = with(&open, (Stage::Refused, Refusal::Expired.number()));
        assert_eq!(done, format!("2;{id};refused;nee;{}", Refusal::Expired));
        assert_eq!(read(done).id, None);
        assert_eq!(with(&open, (Stage::Draft, 0)), open);
    }
}
