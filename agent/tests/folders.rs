//! Watched folders of an agent that has no broker: what is left in them waits in its outbox.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod office;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use office::{Office, TOWN, covenants, sample};
use seinhuis_agent::commands::request::Request;
use seinhuis_agent::{Agent, AgentHandle};
use serde_json::Value;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

struct Desk {
    office: Office,
    out: PathBuf,
}

impl Desk {
    /// An office with a watched folder, with `more` in its settings.
    fn new(more: &str) -> Self {
        let office = Office::new();
        let out = office.dir.path().join("uit");
        fs::create_dir(&out).unwrap();
        let config = office.home().config();
        let text = fs::read_to_string(&config).unwrap();
        let folder =
            format!("\n[[folder]]\nname = \"zaken\"\nout = \"{}\"\nevery_s = 1\n{more}\n", out.display());
        fs::write(config, text + &folder).unwrap();
        Self { office, out }
    }

    fn start(&self) -> AgentHandle {
        Agent::start(&self.office.options()).unwrap()
    }

    fn leave(&self, name: &str, text: &str) {
        fs::write(self.out.join(name), text).unwrap();
    }

    async fn text(&self, path: &str) -> String {
        let path = self.out.join(path);
        let written = || fs::metadata(&path).is_ok_and(|meta| meta.len() > 0);
        until(&format!("{} is there", path.display()), written).await;
        fs::read_to_string(path).unwrap()
    }

    async fn receipt(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name).await).unwrap()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} in vain");
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn signal() -> String {
    fs::read_to_string(sample()).unwrap()
}

#[tokio::test]
async fn a_file_is_handed_over_once_whatever_it_is_called_and_however_often_the_agent_starts() {
    let desk = Desk::new("");
    let agent = desk.start();
    desk.leave("een.json", &signal());
    let receipt = desk.receipt("sent/een.receipt.json").await;
    assert_eq!((&receipt["state"], &receipt["repeated"]), (&"draft".into(), &false.into()), "{receipt}");
    desk.leave("twee.json", &signal());
    let again = desk.receipt("sent/twee.receipt.json").await;
    assert_eq!((&again["msg_id"], &again["repeated"]), (&receipt["msg_id"], &true.into()), "{again}");
    assert!(again["note"]["nl"].is_string() && again["note"]["en"].is_string(), "{again}");
    agent.shutdown().await.unwrap();
    // As if the agent had stopped between the push and the move.
    fs::rename(desk.out.join("sent/een.json"), desk.out.join("een.json")).unwrap();
    let agent = desk.start();
    until("it is moved", || desk.out.join("sent/een.json").exists()).await;
    assert_eq!(agent.status().await.unwrap().drafts, 1, "one message in all");
    agent.shutdown().await.unwrap();
    let all = ["een.json", "een.receipt.json", "twee.json", "twee.receipt.json"];
    assert_eq!(names(&desk.out.join("sent")), all, "nothing has a number, and nothing of ours is left");
    assert_eq!(names(&desk.out), ["refused", "sent"]);
}

#[tokio::test]
async fn what_the_agent_writes_is_for_the_group_of_the_folder_and_never_for_others() {
    let desk = spreadsheet(true);
    fs::set_permissions(&desk.out, fs::Permissions::from_mode(0o775)).unwrap();
    let agent = desk.start();
    let lines = lines();
    let wrong = lines[1].replace("0001", "0003").replace("22-1-2026", "22-1-26");
    desk.leave("week.csv", &format!("{}\n{}\n{wrong}\n", lines[0], lines[1]));
    desk.leave("een.json", &signal());
    desk.leave("kapot.json", "{");
    for name in [
        "sent/een.receipt.json",
        "sent/week.receipt.csv",
        "refused/kapot.uitleg.txt",
        "refused/week.csv",
        "refused/week.uitleg.txt",
    ] {
        let mode = || fs::metadata(desk.out.join(name)).map_or(0, |meta| meta.permissions().mode() & 0o777);
        until(&format!("{name} is for the group"), || mode() == 0o660).await;
    }
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn two_files_of_one_name_are_both_kept() {
    let desk = Desk::new("");
    let agent = desk.start();
    desk.leave("sein.json", &signal());
    desk.receipt("sent/sein.receipt.json").await;
    until("it is moved", || !desk.out.join("sein.json").exists()).await;
    desk.leave("sein.json", &signal().replace("\"minimaal\": 8", "\"minimaal\": 9"));
    desk.receipt("sent/sein-2.receipt.json").await;
    until("it is moved", || desk.out.join("sent/sein-2.json").exists()).await;
    assert_eq!(agent.status().await.unwrap().drafts, 2);
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_bare_body_goes_where_its_folder_says() {
    let desk = Desk::new(&format!("flow = \"F01\"\nto = [\"{TOWN}\"]\nstep = \"1\""));
    let agent = desk.start();
    let all: Value = serde_json::from_str(&signal()).unwrap();
    desk.leave("kaal.json", &format!("\u{feff}{}", all["body"]));
    let receipt = desk.receipt("sent/kaal.receipt.json").await;
    assert_eq!((&receipt["flow"], &receipt["to"][0]), (&"F01".into(), &TOWN.into()), "{receipt}");
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_may_not_leave_is_put_aside_with_why_and_without_what_stands_in_it() {
    let desk = Desk::new("");
    let agent = desk.start();
    let secret = "Jan Jansen";
    let with = |from: &str, to: &str| signal().replace(from, to);
    desk.leave("veld.json", &with("\"body\": {", &format!("\"body\": {{\"naam\": \"{secret}\",")));
    desk.leave("waarde.json", &with("\"16_17\"", &format!("\"{secret}\"")));
    desk.leave("stroom.json", &with("\"F01\"", "\"F99\""));
    desk.leave("sleutel.json", &with("\"canary\"", "\"kanarie\""));
    desk.leave("kapot.json", &format!("{{\"{secret}"));
    desk.leave("brief.docx", secret);
    desk.leave("bezig.json.part", "{}");
    std::os::unix::fs::symlink(sample(), desk.out.join("link.json")).unwrap();
    for (name, field) in [
        ("veld.json", "naam"),
        ("waarde.json", "leeftijdsband"),
        ("stroom.json", ""),
        ("sleutel.json", "line 10"),
        ("kapot.json", ""),
        ("brief.docx", ".json"),
        ("link.json", "link"),
    ] {
        let stem = name.split('.').next().unwrap();
        let told = desk.text(&format!("refused/{stem}.uitleg.txt")).await;
        assert!(told.contains(field) && !told.contains(secret), "{told}");
        assert!(told.contains("Wat nu:") && told.contains("Next:"), "{told}");
        until("it is moved", || fs::symlink_metadata(desk.out.join("refused").join(name)).is_ok()).await;
    }
    assert_eq!(names(&desk.out), ["bezig.json.part", "refused", "sent"]);
    assert_eq!(agent.status().await.unwrap().drafts, 0);
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_a_person_denies_goes_to_what_was_refused() {
    let desk = Desk::new("");
    let agent = desk.start();
    let names = covenants().join("samples/08-F08-jongerenwerk-namen.json");
    desk.leave("namen.json", &fs::read_to_string(names).unwrap());
    let held = desk.receipt("sent/namen.receipt.json").await;
    assert_eq!(held["state"], "held", "{held}");
    let msg_id = held["msg_id"].as_str().unwrap().to_owned();
    let (role, reason) = ("teamleider".to_owned(), "niet nodig".to_owned());
    let deny = Request::Release { msg_id: msg_id.clone(), approve: false, role, reason };
    agent.ask(deny).await.unwrap();
    let told = desk.text("refused/namen.uitleg.txt").await;
    assert!(told.contains(&msg_id) && !told.contains("niet nodig"), "{told}");
    let receipt = desk.receipt("refused/namen.receipt.json").await;
    assert_eq!(receipt["state"], "denied", "{receipt}");
    assert!(desk.out.join("refused/namen.json").exists());
    assert_eq!(names_in(&desk, "sent"), [""; 0]);
    agent.shutdown().await.unwrap();
    // As if the agent had stopped between the verdict in the receipt and the move.
    for name in ["namen.json", "namen.receipt.json"] {
        fs::rename(desk.out.join("refused").join(name), desk.out.join("sent").join(name)).unwrap();
    }
    fs::remove_file(desk.out.join("refused/namen.uitleg.txt")).unwrap();
    let agent = desk.start();
    let receipt = desk.receipt("refused/namen.receipt.json").await;
    assert_eq!(receipt["state"], "denied", "{receipt}");
    assert!(desk.text("refused/namen.uitleg.txt").await.contains(&msg_id));
    assert_eq!(names_in(&desk, "sent"), [""; 0]);
    // The same content again is the same message, which was denied.
    fs::rename(desk.out.join("refused/namen.json"), desk.out.join("weer.json")).unwrap();
    assert!(desk.text("refused/weer.uitleg.txt").await.contains("sends nothing"));
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_verdict_that_cannot_be_written_down_holds_up_nothing_else() {
    let desk = Desk::new("");
    let agent = desk.start();
    let names = covenants().join("samples/08-F08-jongerenwerk-namen.json");
    desk.leave("namen.json", &fs::read_to_string(names).unwrap());
    let msg_id = desk.receipt("sent/namen.receipt.json").await["msg_id"].as_str().unwrap().to_owned();
    agent.shutdown().await.unwrap();
    // A name for which there is no room beside it comes first.
    let long = desk.out.join(format!("sent/{}.receipt.json", "a".repeat(242)));
    fs::copy(desk.out.join("sent/namen.receipt.json"), &long).unwrap();
    let agent = desk.start();
    let (role, reason) = ("teamleider".to_owned(), "niet nodig".to_owned());
    agent.ask(Request::Release { msg_id, approve: false, role, reason }).await.unwrap();
    until("the other is told", || desk.out.join("refused/namen.receipt.json").exists()).await;
    desk.leave("een.json", &signal());
    desk.receipt("sent/een.receipt.json").await;
    assert!(long.exists());
    agent.shutdown().await.unwrap();
}

const MAPPING: &str = r#"
id = "Kenmerk"
[addressing]
flow = "F01"
to = ["gemeente"]
step = "1"
"#;

/// A desk with the mapping of the samples, under F01.
fn spreadsheet(id: bool) -> Desk {
    let sample = fs::read_to_string(covenants().join("samples/csv/02-F02-politie.mapping.toml")).unwrap();
    let fields = &sample[sample.find("[[field]]").unwrap()..];
    let head = if id { MAPPING } else { MAPPING.split_once("\n[").unwrap().1 };
    let head = if id { head.to_owned() } else { format!("[{head}") };
    let desk = Desk::new("mapping = \"csv.toml\"");
    fs::write(desk.office.path().join("csv.toml"), format!("{head}\n{fields}")).unwrap();
    desk
}

/// The lines of the sample.
fn lines() -> Vec<String> {
    let text = fs::read_to_string(covenants().join("samples/csv/02-F02-politie.csv")).unwrap();
    text.replace(";17;", ";;").replace(";3;", ";;").lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn rows_are_handed_over_each_with_its_receipt_and_those_that_are_wrong_come_back() {
    let desk = spreadsheet(true);
    let agent = desk.start();
    let lines = lines();
    let (header, good) = (&lines[0], &lines[1]);
    let rows = [
        good.clone(),
        good.replace("0001", "0003").replace("Winkeliers", "=Winkeliers"),
        good.replace("0001", "0004").replace("22-1-2026", "22-1-26"),
        good.clone(),
        lines[2].clone(),
    ];
    desk.leave("week.csv", &format!("{header}\r\n{}\r\n", rows.join("\r\n")));
    let told = desk.text("refused/week.uitleg.txt").await;
    until("it is done", || {
        fs::read_to_string(desk.out.join("refused/week.uitleg.txt")).unwrap().contains("rows taken")
    })
    .await;
    let told_all = fs::read_to_string(desk.out.join("refused/week.uitleg.txt")).unwrap();
    assert!(
        told_all.contains("line 3: column \"Toelichting\"") && told_all.contains("line 4: column \"Sinds\""),
        "{told}"
    );
    assert!(!told_all.contains("Winkeliers") && !told_all.contains("22-1-26"), "{told_all}");
    let receipt = fs::read_to_string(desk.out.join("sent/week.receipt.csv")).unwrap();
    let states: Vec<Vec<&str>> = receipt.lines().skip(1).map(|line| line.split(';').collect()).collect();
    assert_eq!(states.len(), 3, "{receipt}");
    assert_eq!([states[0][0], states[0][2], states[0][3]], ["2", "draft", "nee"]);
    assert_eq!(
        [states[1][0], states[1][1], states[1][3]],
        ["5", states[0][1], "ja"],
        "the same number is the same signal"
    );
    assert_eq!(agent.status().await.unwrap().drafts, 2);
    // What comes back can be put right and left again; a formula in it does nothing.
    let back = fs::read_to_string(desk.out.join("refused/week.csv")).unwrap();
    assert!(back.contains("'=Winkeliers") && back.lines().next().unwrap().ends_with(";uitleg"), "{back}");
    desk.leave("week.csv", &back.replace("'=Winkeliers", "Winkeliers").replace("22-1-26", "22-1-2026"));
    let receipt = desk.text("sent/week-2.receipt.csv").await;
    assert_eq!(receipt.lines().count(), 3, "{receipt}");
    assert_eq!(agent.status().await.unwrap().drafts, 4);
    agent.shutdown().await.unwrap();
}

const NAMES: &str = r#"
id = "Kenmerk"
[addressing]
flow = "F08"
to = ["gemeente"]
step = "2B"
type = "namenlijst_bijdrage"
case = "4f1c0f6e-5b0a-4c1e-9d53-0a6f2b7c8d91"
basis = "avg_6_1_e"
[[field]]
column = "Noodzaak"
to = "/noodzaak"
type = "text"
[[field]]
column = "Naam"
to = "/personen/0/naam"
type = "text"
[[field]]
column = "Geboren"
to = "/personen/0/geboortedatum"
type = "date"
[[field]]
to = "/personen/0/zaakpersoon"
type = "fixed"
value = "P01"
"#;

#[tokio::test]
async fn a_row_of_a_message_that_came_to_nothing_does_not_count_as_taken() {
    let desk = Desk::new("mapping = \"csv.toml\"");
    fs::write(desk.office.path().join("csv.toml"), NAMES).unwrap();
    let agent = desk.start();
    let text = "Kenmerk;Noodzaak;Naam;Geboren\nK1;Zonder naam kan het niet.;Timo Verzonnen;17-4-2008\n";
    desk.leave("een.csv", text);
    let receipt = || {
        let text = fs::read_to_string(desk.out.join("sent/een.receipt.csv")).unwrap_or_default();
        let line = text.lines().nth(1).unwrap_or_default();
        line.split(';').map(str::to_owned).collect::<Vec<_>>()
    };
    until("it is held", || receipt().get(2).is_some_and(|state| state == "held")).await;
    let (role, reason, msg_id) = ("teamleider".to_owned(), "niet nodig".to_owned(), receipt()[1].clone());
    agent.ask(Request::Release { msg_id, approve: false, role, reason }).await.unwrap();
    desk.leave("twee.csv", text);
    until("it is refused", || desk.out.join("refused/twee.origineel.csv").exists()).await;
    let told = desk.text("refused/twee.uitleg.txt").await;
    assert!(told.contains("line 2: this row was handed over before") && told.contains("denied"), "{told}");
    assert!(told.contains("0 rows taken, 1 refused") && !told.contains("Timo"), "{told}");
    assert_eq!(desk.text("refused/twee.csv").await.lines().count(), 2);
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_file_with_many_rows_goes_on_where_it_was() {
    let desk = spreadsheet(false);
    let agent = desk.start();
    let lines = lines();
    let text = format!("{}\n{}", lines[0], format!("{}\n", lines[1]).repeat(2500));
    desk.leave("veel.csv", &text);
    let receipt = desk.out.join("sent/veel.receipt.csv");
    until("it began", || receipt.exists()).await;
    agent.shutdown().await.unwrap();
    let begun = fs::read_to_string(&receipt).unwrap().lines().count();
    let agent = desk.start();
    let all = || fs::read_to_string(&receipt).unwrap().lines().count() == 2501;
    until("all rows have a receipt", all).await;
    assert!(begun < 2501, "it was done before it was stopped: more rows are needed");
    assert_eq!(agent.status().await.unwrap().drafts, 2500, "each row once");
    let text = fs::read_to_string(&receipt).unwrap();
    let numbers: Vec<u64> =
        text.lines().skip(1).map(|line| line.split(';').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (2..2502).collect::<Vec<_>>(), "in order, none twice");
    assert_eq!(names_in(&desk, "refused"), [""; 0]);
    agent.shutdown().await.unwrap();
}

/// With `SEINHUIS_ROWS=1000000` as many rows as a spreadsheet has; it says how long that took and how much memory.
#[tokio::test]
async fn rows_that_are_all_wrong_are_all_told_of_and_keep_nothing_else_waiting() {
    let rows = std::env::var("SEINHUIS_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(2500);
    let desk = spreadsheet(false);
    let agent = desk.start();
    let lines = lines();
    let wrong = lines[1].replace("22-1-2026", "22-1-26");
    assert_ne!(wrong, lines[1]);
    let begun = std::time::Instant::now();
    desk.leave("veel.csv", &format!("{}\n{}", lines[0], format!("{wrong}\n").repeat(rows)));
    desk.leave("een.json", &signal());
    desk.receipt("sent/een.receipt.json").await;
    let end = desk.out.join("refused/veel.origineel.csv");
    while !end.exists() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let text = desk.text("refused/veel.uitleg.txt").await;
    assert!(text.contains(&format!("0 rows taken, {rows} refused")), "{}", text.lines().last().unwrap());
    let given_back = fs::read_to_string(desk.out.join("refused/veel.csv")).unwrap();
    assert_eq!(given_back.lines().count(), rows + 1, "every row, with its heading");
    assert_eq!(agent.status().await.unwrap().drafts, 1, "the other file");
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    println!("{rows} rows in {:?}, {memory}", begun.elapsed());
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_taken_away_while_it_is_sent_says_from_which_line() {
    let desk = spreadsheet(false);
    let agent = desk.start();
    let lines = lines();
    desk.leave("veel.csv", &format!("{}\n{}", lines[0], format!("{}\n", lines[1]).repeat(2500)));
    let receipt = desk.out.join("sent/veel.receipt.csv");
    until("it began", || receipt.exists()).await;
    agent.shutdown().await.unwrap();
    fs::remove_file(desk.out.join("sent/veel.csv")).unwrap();
    let next = fs::read_to_string(&receipt).unwrap().lines().count() + 1;
    let agent = desk.start();
    let told = desk.text("refused/veel.uitleg.txt").await;
    assert!(told.contains(&format!("From line {next} on nothing was sent")), "{told}");
    // Another file has its turn.
    desk.leave("een.json", &signal());
    desk.receipt("sent/een.receipt.json").await;
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_quote_that_is_not_closed_says_from_which_line_nothing_was_sent() {
    let desk = spreadsheet(true);
    let agent = desk.start();
    let lines = lines();
    let open = "\"K3;open\nK4;niet gezien";
    let later = format!("{open}\n{}", lines[1]);
    desk.leave("week.csv", &format!("{}\n{}\n{open}\n", lines[0], lines[1]));
    let told = desk.text("refused/week.uitleg.txt").await;
    for words in
        ["line 3: a quote is opened", "The whole file is sent/week.csv", "From line 3 on nothing was sent"]
    {
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(desk.text("sent/week.receipt.csv").await.lines().count(), 2);
    assert!(desk.out.join("sent/week.csv").exists() && !desk.out.join("refused/week.csv").exists());
    desk.leave("later.csv", &format!("{}\n{later}\n", lines[0]));
    let told = desk.text("refused/later.uitleg.txt").await;
    assert!(told.contains("line 2: there is text") && told.contains("From line 2 on"), "{told}");
    // Of which nothing was sent goes back.
    desk.leave("alles.csv", &format!("{}\n{open}\n", lines[0]));
    until("it is given back", || desk.out.join("refused/alles.origineel.csv").exists()).await;
    let told = desk.text("refused/alles.uitleg.txt").await;
    assert!(told.contains("refused/alles.origineel.csv") && told.contains("From line 2 on"), "{told}");
    assert_eq!(agent.status().await.unwrap().drafts, 1);
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_csv_without_its_columns_is_refused_whole_and_a_wrong_mapping_ends_the_start() {
    let desk = spreadsheet(true);
    let agent = desk.start();
    desk.leave("week.csv", &lines().join("\n").replacen("Wijk", "Buurt", 1));
    let told = desk.text("refused/week.uitleg.txt").await;
    assert!(told.contains("\"Wijk\"") && told.contains("line 1"), "{told}");
    assert_eq!(names_in(&desk, "sent"), [""; 0]);
    agent.shutdown().await.unwrap();
    fs::write(desk.office.path().join("csv.toml"), "id = 1\n").unwrap();
    let error = Agent::start(&desk.office.options()).unwrap_err();
    assert!(error.what.en.contains("csv.toml"), "{error}");
}

fn names_in(desk: &Desk, dir: &str) -> Vec<String> {
    names(&desk.out.join(dir))
}

#[tokio::test]
async fn a_folder_that_is_away_is_waited_for_and_nothing_is_pushed_that_cannot_be_put_aside() {
    let desk = Desk::new("");
    fs::remove_dir(&desk.out).unwrap();
    let other = desk.office.dir.path().join("ander");
    fs::create_dir(&other).unwrap();
    let config = desk.office.home().config();
    let text = fs::read_to_string(&config).unwrap();
    let folder = format!("[[folder]]\nname = \"ander\"\nout = \"{}\"\nevery_s = 1\n", other.display());
    fs::write(config, text + &folder).unwrap();
    let agent = desk.start();
    fs::create_dir(&desk.out).unwrap();
    // In the place of a folder that has to be made there is something else.
    fs::write(desk.out.join("sent"), "").unwrap();
    desk.leave("een.json", &signal());
    // Twice as long as a file takes in a folder that is in order.
    for name in ["a", "b"] {
        fs::write(other.join(format!("{name}.json")), "{").unwrap();
        until("it is refused", || other.join(format!("refused/{name}.json")).exists()).await;
    }
    assert_eq!(agent.status().await.unwrap().drafts, 0, "pushed without a place to go");
    fs::remove_file(desk.out.join("sent")).unwrap();
    desk.receipt("sent/een.receipt.json").await;
    assert_eq!(agent.status().await.unwrap().drafts, 1);
    agent.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_folder_of_the_agent_itself_is_not_watched() {
    let desk = Desk::new("");
    let config = desk.office.home().config();
    let inside = desk.office.home().keys();
    let (beside, home) = (desk.office.dir.path(), desk.office.path());
    let name = home.file_name().unwrap();
    let text = fs::read_to_string(&config).unwrap();
    for path in [inside, beside.join("none/..").join(name).join("in")] {
        let text = text.replace(desk.out.to_str().unwrap(), path.to_str().unwrap());
        fs::write(&config, text).unwrap();
        let error = Agent::start(&desk.office.options()).unwrap_err();
        assert!(error.what.en.contains("agent's own folder"), "{}: {error}", path.display());
    }
    // A link that leads there is seen when it is looked at; other folders go on.
    let other = beside.join("ander");
    fs::create_dir(&other).unwrap();
    let folder = format!("[[folder]]\nname = \"ander\"\nout = \"{}\"\nevery_s = 1\n", other.display());
    fs::write(&config, text + &folder).unwrap();
    fs::remove_dir(&desk.out).unwrap();
    std::os::unix::fs::symlink(desk.office.path(), &desk.out).unwrap();
    let before = names(&desk.office.path());
    let agent = desk.start();
    // Twice as long as a file takes.
    for name in ["a", "b"] {
        fs::write(other.join(format!("{name}.json")), "{").unwrap();
        until("it is refused", || other.join(format!("refused/{name}.json")).exists()).await;
    }
    agent.shutdown().await.unwrap();
    let taken: Vec<String> =
        before.into_iter().filter(|name| !desk.office.path().join(name).exists()).collect();
    assert_eq!(taken, [""; 0]);
    assert!(!desk.office.path().join("refused").exists());
}
