//! SQL sources: a query on a partner's own database, of which each row becomes a signal, without a program in between.
//!
//! A look reads at most so many rows, ends its transaction, and hands the rows over; so no database waits for the agent's
//! disk. Each pass goes through all rows from a mark on below which none can turn up any more ([`kept`]). Rows of passes
//! before are handed over again, which sends nothing: the id of a message follows from the source's name and the row's id.

mod connect;
mod kept;
mod query;
mod trouble;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use seinhuis_agent_core::Pushed;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Span;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use tokio::sync::watch as signal;
use tokio::task::JoinSet;

use self::connect::Session;
pub(crate) use self::kept::{Files, Progress, Refusals, Wish};
use self::kept::{REFUSED_MAX, Refused, tidy};
pub(crate) use self::query::Column;
use self::query::{Asked, Batch, Query, Row};
use super::rows::begin;
use super::standing::{Kind, Standings, Told};
use super::work::{Agent, Work, run};
use crate::agent::{AgentHandle, stopped};
use crate::config::{Config, Sql};

/// How often it is seen whether something is to be done.
const TICK: Duration = Duration::from_secs(1);
/// Longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_mins(5);
/// Most rows that are handed over together.
const TOGETHER: usize = 200;

/// Begins to look at the sources of the configuration.
pub(super) fn start(
    agent: &AgentHandle,
    config: &Config,
    standings: &Standings,
    stopping: &signal::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<(), Complaint> {
    // All are made before one begins: with a mistake in one of them the agent does not start.
    let mut workers = Vec::new();
    for source in &config.sql {
        workers.push(Worker::new(source, Agent::new(agent, stopping), standings)?);
    }
    for worker in workers {
        tasks.spawn(run(worker, None, stopping.clone()));
    }
    Ok(())
}

/// One source of the configuration.
#[derive(Debug)]
struct Worker {
    agent: Agent,
    source: Sql,
    query: Query,
    files: Files,
    kept: Option<Kept>,
    next: Instant,
    failures: u32,
    told: Told,
}

/// What is kept, as it is on the disk.
#[derive(Debug)]
struct Kept {
    progress: Progress,
    refused: Refusals,
    /// The refused rows that this pass met; none for a pass whose beginning was before this start.
    met: Option<BTreeSet<String>>,
}

/// A row that is being handed over.
struct Handed<'a> {
    row: &'a Row,
    print: String,
    /// Whether it was refused before, as it is now.
    known: bool,
}

impl Worker {
    fn new(source: &Sql, agent: Agent, standings: &Standings) -> Result<Self, Complaint> {
        let home = agent.handle.home().dir();
        let (query, files) = (Query::load(source, home)?, Files::new(home, &source.name));
        let told = standings.open(Kind::Sql, &source.name, &format!("{}/{}", source.host, source.database));
        let source = source.clone();
        Ok(Self { agent, source, query, files, kept: None, next: Instant::now(), failures: 0, told })
    }

    /// Does what is asked for, and looks at the database. Whether there is more to do at once.
    fn turn(&mut self) -> Result<bool, Complaint> {
        let mut kept = match self.kept.take() {
            Some(kept) => kept,
            None => self.restore()?,
        };
        let looked = self.wishes(&mut kept).and_then(|()| self.look_at(&mut kept));
        // After a failure what is on the disk counts.
        if looked.is_ok() {
            self.kept = Some(kept);
        }
        looked
    }

    fn restore(&self) -> Result<Kept, Complaint> {
        let (progress, refused, unread) = self.files.restore()?;
        if let Some(unread) = unread {
            tracing::warn!(source = self.source.name, complaint = unread.show(Lang::En), "SQL source");
        }
        let met = progress.at.is_none().then(BTreeSet::new);
        Ok(Kept { progress, refused, met })
    }

    /// Waits for the database, unless the agent stops.
    fn wait<T>(&self, work: impl Future<Output = Result<T, Complaint>>) -> Result<T, Complaint> {
        self.agent.unless_stopped(work).unwrap_or_else(|| Err(stopped()))
    }

    fn connect(&self) -> Result<Session, Complaint> {
        self.wait(Session::open(&self.source, self.agent.handle.home().dir()))
    }

    fn ask(&self, session: &mut Session, low: &str, asked: Asked<'_>) -> Result<Batch, Complaint> {
        self.wait(self.query.rows(session, &self.source, low, asked))
    }

    /// Reads rows and hands them over.
    fn look_at(&self, kept: &mut Kept) -> Result<bool, Complaint> {
        let (before, late) = (kept.progress.clone(), Span::seconds(self.source.late_s));
        let low = before.low.as_deref().unwrap_or(&self.source.start);
        kept.progress.begin(clock::now());
        // Nothing is held open at the database while its rows are handed over.
        let batch = self.ask(&mut self.connect()?, low, Asked::After(before.at.as_ref()))?;
        let mut held_up = None;
        for rows in batch.rows.chunks(TOGETHER) {
            let taken = kept.progress.taken;
            let count;
            (count, held_up) = self.hand_over(kept, rows, false)?;
            if let Some(last) = count.checked_sub(1).and_then(|last| rows.get(last)) {
                kept.progress.at = Some(last.place.clone());
                if kept.progress.taken > taken {
                    kept.progress.reach(&last.place.mark, clock::now(), late);
                }
            }
            if held_up.is_some() {
                break;
            }
        }
        if held_up.is_none() && batch.whole {
            self.pass(kept, late)?;
        }
        if kept.progress != before {
            self.files.keep_progress(&kept.progress)?;
        }
        held_up.map_or(Ok(!batch.whole), Err)
    }

    /// All rows there are were gone through.
    fn pass(&self, kept: &mut Kept, late: Span) -> Result<(), Complaint> {
        let now = clock::now();
        if let Some(last) = kept.progress.at.clone() {
            kept.progress.reach(&last.mark, now, late);
        }
        kept.progress.pass(late);
        let Some(met) = kept.met.replace(BTreeSet::new()) else { return Ok(()) };
        let count = kept.refused.len();
        tidy(&mut kept.refused, &met);
        if kept.refused.len() < count { self.files.keep_refused(&kept.refused) } else { Ok(()) }
    }

    /// Hands rows over, in order: how many of the first are settled, in the outbox or among those refused, and what holds up
    /// the rest. Those that were refused before as they are now are passed over, unless they are tried `again`.
    fn hand_over(
        &self,
        kept: &mut Kept,
        rows: &[Row],
        again: bool,
    ) -> Result<(usize, Option<Complaint>), Complaint> {
        let handed = self.recognised(kept, rows, again)?;
        let fresh = handed.iter().filter(|one| !one.known).map(|one| self.query.named(one.row)).collect();
        let begun = begin(&self.agent, &format!("sql/{}", self.source.name), fresh)?;
        let (mut begun, mut settled, mut held_up, mut changed) = (begun.into_iter(), 0_usize, None, 0_u64);
        for one in handed {
            let id = &one.row.place.id;
            if !one.known {
                let result = match begun.next().ok_or_else(stopped)? {
                    Ok(answer) => self.agent.end(answer),
                    Err(why) => Ok(Err(why)),
                };
                match result {
                    Err(passing) => held_up = Some(passing),
                    Ok(Err(_)) if kept.refused.len() >= REFUSED_MAX && !kept.refused.contains_key(id) => {
                        held_up = Some(full(&self.source.name));
                    }
                    Ok(result) => changed = changed.saturating_add(u64::from(kept.settle(&one, result))),
                }
                if held_up.is_some() {
                    break;
                }
            }
            if let Some(met) = kept.met.as_mut().filter(|_| kept.refused.contains_key(id)) {
                met.insert(id.clone());
            }
            settled = settled.saturating_add(1);
        }
        if changed > 0 {
            self.files.keep_refused(&kept.refused)?;
        }
        Ok((settled, held_up))
    }

    /// Which rows were refused before, as they are now.
    fn recognised<'a>(
        &self,
        kept: &Kept,
        rows: &'a [Row],
        again: bool,
    ) -> Result<Vec<Handed<'a>>, Complaint> {
        let way = format!("sql-row/{}", self.source.name);
        let hashes: Vec<_> =
            rows.iter().map(|row| sha256(row.cells.as_deref().unwrap_or_default().as_bytes()).0).collect();
        let prints: Vec<String> = self.agent.query(move |view| {
            hashes.iter().map(|hash| view.vault.msg_id(&way, hash).to_string()).collect()
        })?;
        let handed = rows.iter().zip(prints).map(|(row, print)| {
            let before = kept.refused.get(&row.place.id);
            let known = !again && before.is_some_and(|before| before.print == print);
            Handed { row, print, known }
        });
        Ok(handed.collect())
    }

    /// Does what an operator asked for about refused rows.
    fn wishes(&self, kept: &mut Kept) -> Result<(), Complaint> {
        let mut session = None;
        for wish in self.files.wishes()? {
            if self.agent.stopping() {
                return Err(stopped());
            }
            if let Some(row) = kept.refused.get(&wish.id).cloned() {
                if wish.drop {
                    kept.refused.insert(wish.id.clone(), Refused { dropped: true, ..row });
                    self.files.keep_refused(&kept.refused)?;
                } else {
                    let session = match &mut session {
                        Some(session) => session,
                        none => none.insert(self.connect()?),
                    };
                    self.try_again(session, kept, &wish.id, &row)?;
                }
            }
            self.files.wish_done(&wish)?;
        }
        Ok(())
    }

    fn try_again(
        &self,
        session: &mut Session,
        kept: &mut Kept,
        id: &str,
        row: &Refused,
    ) -> Result<(), Complaint> {
        let batch = self.ask(session, &row.mark, Asked::One(id))?;
        if batch.rows.is_empty() {
            let gone = Refused::new(&row.mark, &row.print, &not_given(), clock::now());
            kept.refused.insert(id.to_owned(), gone);
            return self.files.keep_refused(&kept.refused);
        }
        let (_, held_up) = self.hand_over(kept, &batch.rows, true)?;
        self.files.keep_progress(&kept.progress)?;
        held_up.map_or(Ok(()), Err)
    }
}

impl Kept {
    /// Notes what became of a row. Whether the list of refused rows is another one now.
    fn settle(&mut self, one: &Handed<'_>, result: Result<Pushed, Complaint>) -> bool {
        let place = &one.row.place;
        match result {
            Ok(pushed) => {
                self.progress.taken = self.progress.taken.saturating_add(u64::from(!pushed.repeated));
                self.refused.remove(&place.id).is_some()
            }
            Err(why) => {
                let refused = Refused::new(&place.mark, &one.print, &why, clock::now());
                self.refused.insert(place.id.clone(), refused);
                true
            }
        }
    }
}

impl Work for Worker {
    fn look(&mut self) -> Duration {
        let wished = || self.files.wishes().is_ok_and(|wishes| !wishes.is_empty());
        if Instant::now() < self.next && (self.failures > 0 || !wished()) {
            return TICK;
        }
        let turned = self.turn();
        // An agent that stops is nothing wrong with a source.
        if self.agent.stopping() {
            return TICK;
        }
        let every = Duration::from_secs(self.source.every_s);
        let more = self.told.about(turned);
        let wait = match more {
            Some(true) => Duration::ZERO,
            Some(false) => every,
            None => {
                every.saturating_mul(2_u32.saturating_pow(self.failures.min(16))).min(BACKOFF_MAX.max(every))
            }
        };
        self.failures = if more.is_some() { 0 } else { self.failures.saturating_add(1) };
        self.next = Instant::now() + wait;
        wait.min(TICK)
    }
}

/// There are too many refused rows to keep.
fn full(name: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("Van [[sql]] {name:?} zijn {REFUSED_MAX} rijen geweigerd; verder lezen wacht daarop."),
            format!("Of [[sql]] {name:?} {REFUSED_MAX} rows were refused; reading on waits for those."),
        ),
        Text::new(
            "Zie waarom met `seinhuis-agent sql refused`, herstel het, en doe daarna `sql retry` of `sql drop`.",
            "See why with `seinhuis-agent sql refused`, mend it, and then do `sql retry` or `sql drop`.",
        ),
    )
}

/// A row that was refused is not there any more.
fn not_given() -> Complaint {
    Complaint::refused(
        Text::new("De query geeft deze rij niet meer.", "The query does not give this row any more."),
        Text::new(
            "Is dat de bedoeling, geef de rij dan op met `sql drop`.",
            "If it is meant to be so, give the row up with `sql drop`.",
        ),
    )
}

/// What a source looks like from the agent: that it is reached, and what its next rows are, without what stands in them.
pub(crate) struct Checked {
    /// The columns of the query.
    pub(crate) columns: Vec<(Column, Vec<String>)>,
    /// How many rows the next look reads.
    pub(crate) rows: usize,
    /// Whether there are more.
    pub(crate) more: bool,
    /// Why rows do not read as the mapping says, and how many.
    pub(crate) wrong: Vec<(Text, usize)>,
}

/// Looks at a source without handing anything over.
///
/// # Errors
/// What is wrong with configuration, database or query.
pub(crate) async fn check(source: &Sql, home: &Path) -> Result<Checked, Complaint> {
    let query = Query::load(source, home)?;
    let progress = Files::new(home, &source.name).progress()?;
    let mut session = Session::open(source, home).await?;
    let columns = query.columns(&mut session, source).await?;
    let low = progress.low.as_deref().unwrap_or(&source.start);
    let batch = query.rows(&mut session, source, low, Asked::After(progress.at.as_ref())).await?;
    let mut wrong: Vec<(Text, usize)> = Vec::new();
    for why in batch.rows.iter().filter_map(|row| query.named(row).err()) {
        match wrong.iter_mut().find(|(other, _)| *other == why) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => wrong.push((why, 1)),
        }
    }
    let goes_to = |column: &Column| {
        let fields = query.mapping.fields.iter().filter(|field| field.column == column.name);
        fields.map(|field| field.to.clone()).collect()
    };
    let columns =
        columns.into_iter().map(|column| (goes_to(&column), column)).map(|(to, column)| (column, to));
    Ok(Checked { columns: columns.collect(), rows: batch.rows.len(), more: !batch.whole, wrong })
}
