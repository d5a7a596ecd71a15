//! SQL sources: how they stand, whether they can be read, and rows that were refused.

use clap::{Args, Subcommand};
use seinhuis_shell::cli::{self, Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use serde_json::{Value, json};

use super::{messages, wait};
use crate::config::Sql as Source;
use crate::home::Home;
use crate::ways::sql::{Checked, Files, Refusals, Wish, check};

#[derive(Debug, Subcommand)]
pub(super) enum Sql {
    /// Show the sources, how far they are and how many rows were refused
    List,
    /// Connect to a source and read its next rows: what the query gives, and whether it reads as the mapping says. Nothing
    /// is handed over
    Check {
        /// The source's name
        name: String,
    },
    /// Show the rows of a source that were refused, and why
    Refused {
        /// The source's name
        name: String,
    },
    /// Try refused rows again
    Retry(Which),
    /// Give refused rows up: they are not handed over
    Drop(Which),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The source's name
    name: String,
    /// The row's id, as `refused` shows it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    row: Option<String>,
    /// All that were refused
    #[arg(long)]
    all: bool,
}

pub(super) fn sql(home: &Home, command: Sql, ui: Ui) -> Result<Outcome, Complaint> {
    match command {
        Sql::List => list(home, ui),
        Sql::Check { name } => {
            let source = find(home, &name)?;
            let checked = cli::runtime_here()?.block_on(check(&source, home.dir()))?;
            Ok(tell(&source, &checked, ui))
        }
        Sql::Refused { name } => {
            find(home, &name)?;
            refused(&Files::new(home.dir(), &name).refused()?, ui);
            Ok(Outcome::Done)
        }
        Sql::Retry(which) => wish(home, &which, false, ui),
        Sql::Drop(which) => wish(home, &which, true, ui),
    }
}

fn find(home: &Home, name: &str) -> Result<Source, Complaint> {
    let sources = home.load_config()?.sql;
    let known = sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
    sources.into_iter().find(|source| source.name == name).ok_or_else(|| {
        Complaint::usage(
            Text::new(
                format!("agent.toml heeft geen [[sql]] {name:?}."),
                format!("agent.toml has no [[sql]] {name:?}."),
            ),
            Text::new(format!("Kies uit: {known}."), format!("Choose one of: {known}.")),
        )
    })
}

fn open(refused: &Refusals) -> usize {
    refused.values().filter(|row| !row.dropped).count()
}

fn list(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let mut rows = Vec::new();
    for source in home.load_config()?.sql {
        let files = Files::new(home.dir(), &source.name);
        let progress = files.progress()?;
        rows.push(json!({
            "name": source.name,
            "server": format!("{}:{}", source.host, source.port),
            "database": source.database,
            "every_s": source.every_s,
            "mark": progress.mark(),
            "taken": progress.taken,
            "refused": open(&files.refused()?),
        }));
    }
    let heading = ui.lang.pick(
        "NAAM SERVER DATABASE ELKE-S PEIL AANGENOMEN GEWEIGERD",
        "NAME SERVER DATABASE EVERY-S MARK TAKEN REFUSED",
    );
    let columns = ["name", "server", "database", "every_s", "mark", "taken", "refused"];
    messages::table(&json!(rows), heading, &columns, ui);
    Ok(Outcome::Done)
}

fn tell(source: &Source, checked: &Checked, ui: Ui) -> Outcome {
    let wrong: usize = checked.wrong.iter().map(|(_, count)| count).sum();
    let good = checked.rows.saturating_sub(wrong);
    let shown = |lang: Lang| {
        let mut lines = vec![match lang {
            Lang::Nl => format!("De database {} is te lezen.", source.database),
            Lang::En => format!("The database {} can be read.", source.database),
        }];
        for (column, to) in &checked.columns {
            let to = if to.is_empty() { "-".to_owned() } else { to.join(", ") };
            lines.push(format!("  {} ({}): {to}", column.name, column.kind));
        }
        let more = if checked.more { lang.pick(" (er zijn er meer)", " (there are more)") } else { "" };
        let rows = checked.rows;
        lines.push(match lang {
            Lang::Nl => format!("Volgende rijen: {rows}{more}; volgens de mapping goed: {good}."),
            Lang::En => format!("Next rows: {rows}{more}; good by the mapping: {good}."),
        });
        lines.extend(checked.wrong.iter().map(|(why, count)| format!("  {count} x {}", why.in_lang(lang))));
        lines.join("\n")
    };
    let value = json!({
        "name": source.name,
        "columns": checked.columns.iter().map(|(column, to)| json!({
            "name": column.name, "type": column.kind, "to": to,
        })).collect::<Vec<_>>(),
        "rows": checked.rows,
        "more": checked.more,
        "good": good,
        "wrong": checked.wrong.iter().map(|(why, count)| json!({
            "why": why.in_lang(ui.lang), "rows": count,
        })).collect::<Vec<_>>(),
    });
    ui.answer(&Text::new(shown(Lang::Nl), shown(Lang::En)), &value);
    if wrong > 0 { Outcome::No } else { Outcome::Done }
}

/// Refused rows as a list for machines.
fn shown(refused: &Refusals, lang: Lang) -> Value {
    let rows = refused.iter().filter(|(_, row)| !row.dropped).map(|(id, row)| {
        json!({
            "row": id,
            "mark": row.mark,
            "since": row.since.to_string(),
            "refusal": row.refusal,
            "why": lang.pick(&row.what.0, &row.what.1),
            "advice": lang.pick(&row.advice.0, &row.advice.1),
        })
    });
    rows.collect()
}

fn refused(refused: &Refusals, ui: Ui) {
    let value = shown(refused, ui.lang);
    let heading = ui.lang.pick("RIJ PEIL SINDS WAAROM WAT-NU", "ROW MARK SINCE WHY NEXT");
    messages::table(&value, heading, &["row", "mark", "since", "why", "advice"], ui);
}

/// Has the agent try rows again, or give them up, and tells what became of that.
fn wish(home: &Home, which: &Which, drop: bool, ui: Ui) -> Result<Outcome, Complaint> {
    find(home, &which.name)?;
    let files = Files::new(home.dir(), &which.name);
    let refused = files.refused()?;
    let ids: Vec<String> = match &which.row {
        Some(id) if refused.get(id).is_none_or(|row| row.dropped) => return Err(no_such_row(id)),
        Some(id) => vec![id.clone()],
        None => refused.iter().filter(|(_, row)| !row.dropped).map(|(id, _)| id.clone()).collect(),
    };
    for id in &ids {
        files.wish(&Wish { id: id.clone(), drop })?;
    }
    let waiting = || Ok(ids.iter().filter(|id| files.is_wished(id)).count());
    let waits = wait::while_open(waiting()?, |count| *count > 0, |_| waiting())?;
    let refused = files.refused()?;
    let left: Refusals =
        refused.into_iter().filter(|(id, _)| ids.contains(id) && !files.is_wished(id)).collect();
    let still = open(&left);
    let done = ids.len().saturating_sub(still).saturating_sub(waits);
    let value = json!({ "done": done, "waiting": waits, "refused": shown(&left, ui.lang) });
    let line = |lang: Lang| {
        let mut lines = vec![match (lang, drop) {
            (Lang::Nl, false) => format!("Aangenomen: {done}. Weer geweigerd: {still}."),
            (Lang::En, false) => format!("Taken: {done}. Refused again: {still}."),
            (Lang::Nl, true) => format!("Opgegeven: {done}."),
            (Lang::En, true) => format!("Given up: {done}."),
        }];
        if waits > 0 {
            lines.push(match lang {
                Lang::Nl => {
                    format!("Wacht op de agent: {waits}; hij doet het zodra hij draait en de database er is.")
                }
                Lang::En => format!(
                    "Waiting for the agent: {waits}; it does so as soon as it runs and the database is there."
                ),
            });
        }
        let why = left.iter().filter(|(_, row)| !row.dropped);
        lines.extend(why.map(|(id, row)| format!("  {id}: {}", lang.pick(&row.what.0, &row.what.1))));
        lines.join("\n")
    };
    ui.answer(&Text::new(line(Lang::Nl), line(Lang::En)), &value);
    Ok(if still > 0 { Outcome::No } else { Outcome::Done })
}

fn no_such_row(id: &str) -> Complaint {
    Complaint::refused(
        Text::new(format!("Rij {id} is niet geweigerd."), format!("Row {id} was not refused.")),
        Text::new("Kijk in de lijst: sql refused.", "See the list: sql refused."),
    )
}
