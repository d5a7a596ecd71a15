//! An SQL source with real processes: rows of the police's own database become messages at the municipality.

use std::fs;

use seinhuis_tests::needs::POSTGRES;
use seinhuis_tests::postgres::{Postgres, TABLE, put_source, rows};
use seinhuis_tests::process;
use seinhuis_tests::stage::{PATIENCE, text};
use serde_json::{Value, json};

use crate::common::{Scene, inbox_of, search, wait_for_inbox};

#[test]
fn rows_of_a_database_of_the_police_arrive_at_the_municipality_once() {
    if !POSTGRES.is_met() {
        return;
    }
    let mut server = Postgres::start().unwrap();
    server.sql(TABLE).unwrap();
    let scene = Scene::with(&["gemeente", "politie"]);
    let (stage, _broker) = (&scene.stage, scene.broker());
    let (town, police) = (stage.member("gemeente"), stage.member("politie"));
    put_source(&police.home).unwrap();
    stage.configure_agent(police, &server.source("F02", "gemeente")).unwrap();
    server.sql(&rows(1, 20)).unwrap();
    server.sql("UPDATE sein SET gedrag = 'de blauwe vlieger' WHERE nr = 'K7'").unwrap();
    let mut agents = scene.agents();
    let came = wait_for_inbox(stage, town, 19);
    assert!(came.iter().all(|message| text(message, "flow") == "F02"), "{came:?}");
    let refused = |count: usize| {
        process::until("what is refused is known", PATIENCE, || {
            stage.agent(police, &["sql", "refused", "zaken"]).unwrap().as_array().unwrap().len() == count
        })
        .unwrap();
    };
    refused(1);
    // The agent ends at once, the server goes away and comes back, how far it was is forgotten.
    for agent in agents.drain(..) {
        agent.kill().unwrap();
    }
    fs::remove_file(police.home.join("sql/zaken.json")).unwrap();
    server.stop();
    let agents = scene.agents();
    server.again().unwrap();
    server.sql("UPDATE sein SET gedrag = 'afval' WHERE nr = 'K7'").unwrap();
    server.sql(&rows(21, 22)).unwrap();
    let came = wait_for_inbox(stage, town, 22);
    let mut ids: Vec<&str> = came.iter().map(|message| text(message, "msg_id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 22, "each once");
    refused(0);
    let position = came[0]["position"].to_string();
    let body: Value = stage.agent(town, &["inbox", "read", &position]).unwrap()["body"].clone();
    assert_eq!(
        body["tijd"],
        json!({ "dagdelen": ["avond", "nacht"], "weekdagen": ["do", "vr"], "sinds": "2026-01-22" })
    );
    assert_eq!((&body["omvang"]["minimaal"], &body["gedrag"]), (&json!(2), &json!(["geluid", "vuurwerk"])));

    // An error of the server that repeats what stands in a row goes in no log.
    fs::write(police.home.join("q.sql"), "SELECT * FROM sein WHERE peil >= $1 AND toelichting::int > 0")
        .unwrap();
    drop(agents);
    let agents = scene.agents();
    let log = stage.log_of(&police.label);
    process::until("the error is told", PATIENCE, || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("SQLSTATE 22P02"))
    })
    .unwrap();
    drop(agents);
    let words = ["blauwe vlieger", "wachtwoord", "De Zonnewijzer"];
    let told = fs::read_to_string(&log).unwrap();
    assert!(words.iter().all(|word| !told.contains(word)), "{told}");
    let found = search(&police.home, ["blauwe vlieger", "De Zonnewijzer"].into_iter());
    assert_eq!(found, [""; 0]);
    assert_eq!(inbox_of(stage, town).len(), 22);
}
