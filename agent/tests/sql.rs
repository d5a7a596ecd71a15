//! SQL sources of an agent that has no broker, on a real `PostgreSQL` server: what its rows say waits in the outbox.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod office;
#[allow(unreachable_pub, reason = "in the library of the whole-system tests it is for others")]
#[path = "../../tests/kits/postgres.rs"]
mod postgres;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use office::{Office, TOWN};
use postgres::{MAPPING, PASSWORD, Postgres, QUERY, TABLE, put_source, rows, secret};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use seinhuis_agent::{Agent, AgentHandle};
use serde_json::{Value, json};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// What stands in every row and in no log or answer.
const CANARY: &str = "blauwe vlieger";

struct Desk {
    office: Office,
    server: Postgres,
}

/// What a command said.
struct Said {
    code: i32,
    value: Value,
    error: String,
}

impl Desk {
    /// An office with a source on a server of its own, or none where there is no server.
    fn new() -> Option<Self> {
        Self::on(|| Postgres::start().unwrap())
    }

    fn on(start: impl FnOnce() -> Postgres) -> Option<Self> {
        if let Some(missing) = postgres::missing() {
            assert!(std::env::var_os(postgres::REQUIRED).is_none(), "{missing}");
            eprintln!("SKIPPED: {missing}");
            return None;
        }
        let desk = Self { office: Office::new(), server: start() };
        desk.server.sql(TABLE).unwrap();
        put_source(&desk.office.path()).unwrap();
        desk.configure("");
        Some(desk)
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.office.path().join(name), text).unwrap();
    }

    /// The source as it is, with these keys over its own.
    fn configure(&self, keys: &str) {
        let own = self.server.source("F01", TOWN);
        let own = own.trim().strip_prefix("[[sql]]\n").unwrap();
        let named = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let over: Vec<String> = keys.lines().map(named).collect();
        let kept: Vec<&str> = own.lines().filter(|line| !over.contains(&named(line))).collect();
        let kept = kept.join("\n");
        let config = self.office.home().config();
        let text = fs::read_to_string(&config).unwrap();
        let before = text.split("\n[[sql]]").next().unwrap();
        fs::write(&config, format!("{before}\n[[sql]]\n{kept}\n{keys}\n")).unwrap();
    }

    fn start(&self) -> AgentHandle {
        Agent::start(&self.office.options()).unwrap()
    }

    fn kept(&self) -> PathBuf {
        self.office.path().join("sql/zaken.json")
    }

    /// A command of the real program.
    fn say(&self, args: &[&str]) -> Said {
        let ran = Command::new(env!("CARGO_BIN_EXE_seinhuis-agent"))
            .args(["--lang", "en", "--json", "--home", self.office.path().to_str().unwrap()])
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (out, error) = (text(&ran.stdout), text(&ran.stderr));
        for shown in [&out, &error] {
            assert!(!shown.contains(CANARY) && !shown.contains(PASSWORD), "{shown}");
        }
        Said {
            code: ran.status.code().unwrap(),
            value: serde_json::from_str(&out).unwrap_or_default(),
            error,
        }
    }

    fn refused(&self) -> Value {
        self.say(&["sql", "refused", "zaken"]).value
    }
}

async fn drafts(agent: &AgentHandle) -> u64 {
    agent.status().await.unwrap().drafts.try_into().unwrap()
}

/// Waits until so many messages are in the outbox, and never more.
async fn wait_for(agent: &AgentHandle, count: u64) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while drafts(agent).await < count {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let waited = waited.await;
    assert_eq!(drafts(agent).await, count, "in time: {}", waited.is_ok());
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} in vain");
}

/// How many rows there are whose messages were made, as the source keeps it.
fn taken(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str::<Value>(&text).unwrap_or_default()["taken"].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_one_signal_however_often_the_agent_starts_and_wherever_it_stopped() {
    let Some(desk) = Desk::new() else { return };
    desk.server.sql(&rows(1, 3)).unwrap();
    let agent = desk.start();
    wait_for(&agent, 3).await;
    // Rows with a mark that was seen before, or with a lower one: their transactions ended later.
    desk.server.sql("INSERT INTO sein SELECT 'K0', 3, wijk, dagdelen, sinds, minimaal, gedrag, toelichting FROM sein WHERE nr = 'K1'").unwrap();
    wait_for(&agent, 4).await;
    desk.server.sql("INSERT INTO sein SELECT 'K9', 2, wijk, dagdelen, sinds, minimaal, gedrag, toelichting FROM sein WHERE nr = 'K1'").unwrap();
    wait_for(&agent, 5).await;
    until("how far it is, is kept", || taken(&desk.kept()) == 5).await;
    agent.shutdown().await.unwrap();
    let before = fs::read(desk.kept()).unwrap();

    // As if it had stopped between the pushes and the mark: with the mark of the beginning, and with an older one.
    fs::remove_file(desk.kept()).unwrap();
    desk.server.sql(&rows(4, 5)).unwrap();
    let agent = desk.start();
    wait_for(&agent, 7).await;
    until("how far it is, is kept", || taken(&desk.kept()) == 2).await;
    agent.shutdown().await.unwrap();
    fs::write(desk.kept(), before).unwrap();
    let agent = desk.start();
    desk.server.sql(&rows(6, 6)).unwrap();
    wait_for(&agent, 8).await;
    agent.shutdown().await.unwrap();
    // What does not read is put aside, and nothing is sent twice by that.
    fs::write(desk.kept(), "{half").unwrap();
    let agent = desk.start();
    desk.server.sql(&rows(7, 7)).unwrap();
    wait_for(&agent, 9).await;
    agent.shutdown().await.unwrap();
    assert_eq!(desk.refused(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_refused_is_kept_with_why_and_holds_up_no_other() {
    let Some(desk) = Desk::new() else { return };
    desk.server.sql(&rows(1, 4)).unwrap();
    desk.server.sql("UPDATE sein SET wijk = NULL WHERE nr = 'K1'; UPDATE sein SET wijk = '=1' WHERE nr = 'K2'; UPDATE sein SET gedrag = 'blauwe vlieger' WHERE nr = 'K3'").unwrap();
    let agent = desk.start();
    wait_for(&agent, 1).await;
    until("the others are refused", || desk.refused().as_array().is_some_and(|all| all.len() == 3)).await;
    let refused = desk.refused();
    let of = |at: usize, key: &str| refused[at][key].as_str().unwrap().to_owned();
    assert_eq!([of(0, "row"), of(1, "row"), of(2, "row")], ["K1", "K2", "K3"]);
    assert!(of(0, "why").contains("wijk") && refused[0]["refusal"].is_u64(), "{refused}");
    assert!(of(1, "why").contains("column \"wijk\"") && of(2, "why").contains("gedrag"), "{refused}");
    // A row that is put right is taken at the next look; one that is tried again as it is, is refused again.
    desk.server.sql("UPDATE sein SET wijk = 'Oost' WHERE nr = 'K1'").unwrap();
    wait_for(&agent, 2).await;
    let again = desk.say(&["sql", "retry", "zaken", "K2"]);
    assert_eq!(
        (again.code, &again.value["done"], &again.value["waiting"]),
        (1, &json!(0), &json!(0)),
        "{}",
        again.value
    );
    desk.server.sql("UPDATE sein SET wijk = 'Oost', peil = 5 WHERE nr = 'K2'").unwrap();
    let all = desk.say(&["sql", "retry", "zaken", "--all"]);
    assert_eq!(all.value["waiting"], 0, "{}", all.value);
    wait_for(&agent, 3).await;
    assert_eq!(desk.say(&["sql", "drop", "zaken", "K3"]).code, 0);
    assert_eq!(desk.refused(), json!([]));
    assert_eq!(desk.say(&["sql", "retry", "zaken", "K3"]).code, 1, "it is not among them any more");
    // What was given up stays so for as long as it is as it was, also after a restart.
    agent.shutdown().await.unwrap();
    let agent = desk.start();
    desk.server.sql(&rows(6, 6)).unwrap();
    wait_for(&agent, 4).await;
    assert_eq!(desk.refused(), json!([]));
    // The same row with other content is no other signal.
    desk.server.sql("UPDATE sein SET minimaal = 400, peil = 7 WHERE nr = 'K6'").unwrap();
    until("it is refused", || desk.refused()[0]["refusal"] == 305).await;
    assert_eq!(drafts(&agent).await, 4);
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_waited_for() {
    let Some(mut desk) = Desk::new() else { return };
    desk.server.sql(&rows(1, 2)).unwrap();
    desk.server.stop();
    let agent = desk.start();
    let away = desk.say(&["sql", "check", "zaken"]);
    assert!(away.code == 2 && away.error.contains("cannot be reached"), "{}", away.error);
    desk.server.again().unwrap();
    wait_for(&agent, 2).await;
    desk.server.stop();
    desk.server.again().unwrap();
    desk.server.sql(&rows(3, 3)).unwrap();
    wait_for(&agent, 3).await;
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_rows_with_marks_that_are_the_same_are_each_one_signal() {
    let Some(desk) = Desk::new() else { return };
    // More of one mark than are read in one look.
    desk.server.sql(&rows(1, 3000)).unwrap();
    desk.server.sql("UPDATE sein SET peil = peil / 1500").unwrap();
    desk.configure("rows = 200\n");
    let agent = desk.start();
    until("it began", || taken(&desk.kept()) > 0).await;
    agent.shutdown().await.unwrap();
    let begun = taken(&desk.kept());
    assert!(begun < 3000, "it was done before it was stopped: more rows are needed");
    let agent = desk.start();
    wait_for(&agent, 3000).await;
    agent.shutdown().await.unwrap();
    assert_eq!(desk.say(&["sql", "list"]).value[0]["refused"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_hangs_ends_by_itself_and_keeps_no_agent_from_stopping() {
    let Some(desk) = Desk::new() else { return };
    desk.server.sql(&rows(1, 1)).unwrap();
    desk.file("q.sql", "SELECT sein.* FROM sein, pg_sleep(600) WHERE peil >= $1");
    desk.configure("timeout_s = 1\n");
    let slow = desk.say(&["sql", "check", "zaken"]);
    assert!(slow.code == 2 && slow.error.contains("57014"), "{}", slow.error);
    desk.configure("timeout_s = 600\n");
    let agent = desk.start();
    let hangs = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'seinhuis-agent' AND state = 'active'";
    until("it hangs", || desk.server.sql(hangs).unwrap() == "1").await;
    tokio::time::timeout(PATIENCE, agent.shutdown()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let Some(desk) = Desk::new() else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    desk.configure(&format!("host = \"127.0.0.1\"\nport = {}\n", silent.local_addr().unwrap().port()));
    let said = desk.say(&["sql", "check", "zaken"]);
    assert!(said.code == 2 && said.error.contains("does not answer in time"), "{}", said.error);
}

#[test]
fn what_is_wrong_with_a_source_is_told_in_own_words_and_by_its_code() {
    let Some(desk) = Desk::new() else { return };
    desk.server.sql(&rows(1, 2)).unwrap();
    desk.server.sql(
        "CREATE TABLE geheim (nr text, peil bigint); CREATE TABLE spoor (n int);
         GRANT INSERT ON spoor TO seinhuis;
         CREATE FUNCTION schrijf() RETURNS bigint LANGUAGE sql AS 'INSERT INTO spoor VALUES (1) RETURNING n::bigint';
         CREATE FUNCTION meld() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RAISE WARNING ''de blauwe vlieger''; RETURN 0; END'",
    ).unwrap();
    let good = desk.say(&["sql", "check", "zaken"]);
    assert_eq!(
        (good.code, &good.value["rows"], &good.value["good"]),
        (0, &json!(2), &json!(2)),
        "{}",
        good.error
    );
    assert_eq!(good.value["columns"][0], json!({ "name": "nr", "type": "text", "to": [] }));
    for (query, said) in [
        ("SELECT * FROM sein WHERE peil >= 0", "exactly one parameter"),
        ("SELECT * FROM sein WHERE peil BETWEEN $1 AND $2", "exactly one parameter"),
        ("SELECT nr, peil FROM sein WHERE peil >= $1", "exactly one column"),
        ("SELECT *, peil AS wijk FROM sein WHERE peil >= $1", "exactly one column"),
        ("SELECT * FROM niets WHERE peil >= $1", "42P01"),
        ("SELEKT", "42601"),
        ("SELECT * FROM sein WHERE peil >= $1; DELETE FROM sein", "42601"),
        ("SELECT sein.* FROM sein, geheim WHERE sein.peil >= $1", "42501"),
        ("SELECT sein.* FROM sein WHERE peil >= $1 + schrijf()", "25006"),
        ("DELETE FROM sein WHERE peil >= $1 RETURNING *", "42601"),
        // The server's own words would repeat what stands in the row.
        ("SELECT * FROM sein WHERE peil >= $1 AND toelichting::int > 0", "22P02"),
        (
            "SELECT nr, peil::float8 AS peil, wijk, dagdelen, sinds, minimaal, gedrag, toelichting FROM sein WHERE peil >= $1",
            "float8",
        ),
        (
            "SELECT CASE WHEN peil > 1 THEN nr END AS nr, peil, wijk, dagdelen, sinds, minimaal, gedrag, toelichting FROM sein WHERE peil >= $1",
            "is empty",
        ),
    ] {
        desk.file("q.sql", query);
        let told = desk.say(&["sql", "check", "zaken"]);
        assert!(told.code == 2 && told.error.contains(said), "{query}: {}", told.error);
    }
    assert_eq!(desk.server.sql("SELECT count(*) FROM spoor").unwrap(), "0");
    desk.file("q.sql", "SELECT * FROM sein WHERE peil >= $1 + meld()");
    assert_eq!(desk.say(&["sql", "check", "zaken"]).code, 0, "what a server remarks is nothing wrong");
    desk.file("q.sql", "SELECT *, repeat('x', 2000000) AS lang FROM sein WHERE peil >= $1");
    desk.file("m.toml", &MAPPING.replace("column = \"toelichting\"", "column = \"lang\""));
    let long = desk.say(&["sql", "check", "zaken"]);
    assert!(long.code == 1 && long.value["wrong"][0]["why"] == "the row is too long", "{}", long.value);
    desk.file("m.toml", MAPPING);
    desk.file("q.sql", QUERY);
    for (keys, said) in [
        ("database = \"geen\"", "3D000"),
        ("user = \"niemand\"", "28P01"),
        ("start = \"gisteren\"", "22P02"),
        ("password = \"q.sql\"", "chmod 600"),
        ("password = \"geen\"", "geen"),
        ("password = \"\"", "28000"),
        ("mark = \"stand\"", "exactly one column"),
        ("host = \"127.0.0.1\"\nport = 1", "cannot be reached"),
    ] {
        desk.configure(keys);
        let told = desk.say(&["sql", "check", "zaken"]);
        assert!(told.code == 2 && told.error.contains(said), "{keys}: {}", told.error);
    }
    secret(&desk.office.path().join("pw"), "verkeerd").unwrap();
    desk.configure("");
    let told = desk.say(&["sql", "check", "zaken"]);
    assert!(told.code == 2 && told.error.contains("28P01"), "{}", told.error);
    assert_eq!(desk.say(&["sql", "check", "geen"]).code, 2);
}

/// A CA, and a key and certificate for `localhost` by it, as PEM texts.
fn certificates() -> (String, String, String) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    (ca.pem(), key.serialize_pem(), own.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_network_the_server_is_known_by_its_certificate() {
    let (ca, key, own) = certificates();
    let start = || {
        Postgres::start_with(|dir| {
            secret(&dir.join("server.key"), &key).unwrap();
            fs::write(dir.join("server.crt"), &own).unwrap();
            let dir = dir.display();
            format!("ssl = on\nssl_cert_file = '{dir}/server.crt'\nssl_key_file = '{dir}/server.key'")
        })
        .unwrap()
    };
    let Some(desk) = Desk::on(start) else { return };
    desk.server.sql(&rows(1, 1)).unwrap();
    desk.file("ca.pem", &ca);
    desk.file("other.pem", &certificates().0);
    for (keys, said) in [
        ("host = \"localhost\"\nca = \"other.pem\"", "invalid peer certificate"),
        ("host = \"127.0.0.1\"\nca = \"ca.pem\"", "not valid for name"),
        ("host = \"localhost\"\nca = \"geen.pem\"", "geen.pem"),
        ("host = \"localhost\"\nca = \"q.sql\"", "q.sql"),
    ] {
        desk.configure(keys);
        let told = desk.say(&["sql", "check", "zaken"]);
        assert!(told.code == 2 && told.error.contains(said), "{keys}: {}", told.error);
    }
    desk.configure("host = \"localhost\"\nca = \"ca.pem\"");
    let agent = desk.start();
    wait_for(&agent, 1).await;
    agent.shutdown().await.unwrap();
}

#[test]
fn where_tls_is_asked_nothing_is_said_without_it() {
    let Some(desk) = Desk::new() else { return };
    desk.file("ca.pem", &certificates().0);
    desk.configure("host = \"localhost\"\nca = \"ca.pem\"");
    let told = desk.say(&["sql", "check", "zaken"]);
    assert!(told.code == 2 && told.error.contains("does not offer TLS"), "{}", told.error);
    // To this machine itself it goes without.
    desk.configure("host = \"127.0.0.1\"");
    assert_eq!(desk.say(&["sql", "check", "zaken"]).code, 0);
}
