//! An SQL source: rows of the police's own database, a real `PostgreSQL` server.

use std::collections::BTreeSet;

use seinhuis_tests::needs::POSTGRES;
use seinhuis_tests::postgres::{Postgres, TABLE, put_source, rows};
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Stage, process};
use serde_json::{Value, json};

use super::{ids, received};
use crate::running::Running;
use crate::show::{Show, text};
use crate::trouble::{Told, Trouble, check};

/// Starts a database and has the police's agent read it. Whether there is one.
pub(super) fn open(stage: &Stage, running: &Running) -> Told<bool> {
    let lacking = POSTGRES.lacking().map_err(|_| {
        let required = POSTGRES.required;
        Trouble::new(
            format!(
                "{required} is gezet, maar op deze machine is geen PostgreSQL-server (Debian: postgresql)."
            ),
            format!(
                "{required} is set, but there is no PostgreSQL server on this machine (Debian: postgresql)."
            ),
        )
    })?;
    if lacking.is_some() {
        return Ok(false);
    }
    let (server, police) = (Postgres::made(|_| String::new())?, stage.member("politie"));
    put_source(&police.home)?;
    stage.configure_agent(police, &server.source("F02", "gemeente"))?;
    running.host(server)?;
    running.sql(TABLE)?;
    Ok(true)
}

/// Adds rows, has one read again, and adds another.
pub(super) fn play(show: &mut Show) -> Told {
    if !show.ways.database {
        show.teller.line(
            "overgeslagen: SQL-bron, want op deze machine is geen PostgreSQL-server (Debian: postgresql)",
            "passed over: SQL source, because there is no PostgreSQL server on this machine (Debian: postgresql)",
        );
        return Ok(());
    }
    let (police, town) = (show.stage.member("politie"), show.stage.member("gemeente"));
    let said = show.sample("F02")?.value["body"]["toelichting"].clone();
    let before = ids(&received(show, town, "F02")?);
    // A sentence that is searched for at the broker later.
    let sentence = said.as_str().unwrap_or_default();
    let add = |from: u32, until: u32| {
        let added = rows(from, until);
        format!("{added}; UPDATE sein SET toelichting = $said${sentence}$said$")
    };
    show.running.sql(&add(1, 3))?;
    arrived(show, &before, 3)?;
    // Rows are read by mark: when the last is there, the first was read again.
    show.running.sql(&format!("{}; UPDATE sein SET peil = 5 WHERE nr = 'K1'", add(6, 6)))?;
    let came = arrived(show, &before, 4)?;
    let mut numbers = BTreeSet::new();
    for row in &came {
        let body = show.stage.agent(town, &["inbox", "read", text(row, "msg_id")])?["body"].clone();
        numbers.insert(body["omvang"]["minimaal"].as_u64());
        check(
            body["toelichting"] == said,
            format!("Een rij kwam anders aan dan zij in de database staat: {body}"),
            format!("A row arrived other than it is in the database: {body}"),
        )?;
    }
    let refused = show.stage.agent(police, &["sql", "refused", "zaken"])?;
    // What `rows` makes of the number of a row.
    let wanted: BTreeSet<Option<u64>> = [1, 2, 3, 6].map(|row| Some(row + 1)).into();
    check(
        came.len() == 4 && numbers == wanted && refused == json!([]),
        format!("Van vier rijen kwamen er {} aan; geweigerd: {refused}", came.len()),
        format!("Of four rows {} arrived; refused: {refused}", came.len()),
    )?;
    for _ in &came {
        show.expect(Some("politie"), &["gemeente".to_owned()]);
    }
    show.teller.right(
        "SQL      F02 politie → gemeente: vier rijen uit PostgreSQL, één ervan tweemaal gelezen; vier berichten",
        "SQL      F02 politie → gemeente: four rows from PostgreSQL, one of them read twice; four messages",
    );
    Ok(())
}

/// Waits until at least `count` messages are with the municipality that were not there before; all of those.
fn arrived(show: &Show, before: &BTreeSet<String>, count: usize) -> Told<Vec<Value>> {
    let town = show.stage.member("gemeente");
    let mut fresh = Vec::new();
    process::until("rows arrive", PATIENCE, || {
        let all = received(show, town, "F02").unwrap_or_default();
        fresh = all.into_iter().filter(|row| !before.contains(text(row, "msg_id"))).collect();
        fresh.len() >= count
    })?;
    Ok(fresh)
}
