//! The register of data subjects on the page: who looks after the rights of people finds a person, writes, keeps what was
//! decided and has it corrected and erased, in Chromium without scripts; who has no right to it sees nothing of it.

use seinhuis_tests::browser::{CHROMIUM, ENTER};
use seinhuis_tests::samples::{self, Sample};
use seinhuis_tests::site::Site;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{process, stage};
use serde_json::Value;

use super::people::Seat;
use super::{Two, person};
use crate::common::{inbox_of, wait_for_inbox};

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA";
/// What is decided, that must be nowhere but in the register.
const WHY: &str = "lopend onderzoek naar de verzonnen kluis";

fn names() -> Sample {
    samples::among(&stage::FOUR).unwrap().into_iter().find(|sample| sample.flow == "F09").unwrap()
}

/// The police send a list of names to the municipality.
fn told(two: &Two, sample: &Sample) -> String {
    let stage = &two.scene.stage;
    stage.prepare(sample).unwrap();
    let pushed = stage.push(two.police(), &[&sample.path.to_string_lossy()]).unwrap();
    assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    wait_for_inbox(stage, two.town(), 1);
    text(&pushed, "msg_id").to_owned()
}

#[test]
fn a_person_is_found_told_answered_rectified_and_erased_in_a_browser_without_scripts() {
    if !CHROMIUM.is_met() {
        return;
    }
    let (two, sample) = (Two::running(), names());
    let message = told(&two, &sample);
    let stage = &two.scene.stage;
    let (_, noor) = person(stage, two.town(), "Noor Register", "subjects");
    let (_, piet) = person(stage, two.police(), "Piet Register", "subjects,push");
    let mut town = Seat::take(two.at_town, "nl");
    let mut police = Seat::take(two.at_police, "en");

    let path = find(&mut town, &noor);
    write(&mut town, &path);
    decide(&mut town, &path);
    rectify(&mut police, &piet, &message);
    process::until("the municipality knows what is wrong", PATIENCE, || {
        inbox_of(stage, two.town())[0]["revised"] == "corrected"
    })
    .unwrap();
    erase(&mut town, &path);
    let row = inbox_of(stage, two.town()).remove(0);
    assert_eq!(text(&row, "erased_why"), "verzoek_betrokkene");

    for seat in [&town, &police] {
        for url in &seat.browser.visited {
            for word in ["Timo", "Verzonnen", "2008", "P01", "kluis", "regisseur"] {
                assert!(!url.contains(word), "{url}");
            }
        }
        seat.keeps_nothing();
    }
    two.is_not_told(&["Timo", "kluis", &noor, &piet, "Noor Register"]);
}

/// Signs in, sees who is to be told, and searches. The path of the person.
fn find(seat: &mut Seat, code: &str) -> String {
    seat.sign_in(code);
    assert!(seat.main().contains("betrokkenen nog te informeren"), "{}", seat.main());
    assert_eq!(seat.browser.text("nav .badge").unwrap().split_whitespace().next(), Some("2"));
    seat.browser.click("nav a[href='/subjects']").unwrap();
    assert!(seat.main().contains("Timo Verzonnen") && seat.main().contains("28 dagen"), "{}", seat.main());
    seat.is_for_everybody("who is to be told");
    seat.shoot("12-betrokkenen");
    seat.go("/subjects?all=yes");
    seat.is_for_everybody("everybody in the register");
    seat.browser.click("a[href='/subjects/search']").unwrap();
    seat.is_for_everybody("searching");
    seat.browser.tab_to("[name='by.naam']").unwrap();
    seat.browser.press(&format!("timo  VERZONNEN{ENTER}")).unwrap();
    assert_eq!(seat.path(), "/subjects/search", "what is searched for is in no address");
    assert!(seat.main().contains("2008-04-17") && !seat.main().contains("Rik van"), "{}", seat.main());
    seat.is_for_everybody_here();
    seat.browser.click("main table a").unwrap();
    let (path, main) = (seat.path(), seat.main());
    assert_eq!(path.len(), "/subjects/".len() + 64, "{path}");
    for wanted in
        ["Timo Verzonnen", "ontvangen van", "namenlijst", "Politie", "nog te informeren", "nog 28 dagen"]
    {
        assert!(main.to_lowercase().contains(&wanted.to_lowercase()), "{wanted}: {main}");
    }
    let title = seat.browser.run("return document.title", &[]).unwrap();
    assert_eq!(title, "Betrokkene – Seinhuis");
    seat.is_for_everybody("a person");
    seat.shoot("13-betrokkene");
    path
}

/// The letter and the answer, to print.
fn write(seat: &mut Seat, path: &str) {
    for (kind, wanted) in [("letter", "AVG artikel 14"), ("answer", "U vroeg wat wij")] {
        seat.go(path);
        seat.browser.click(&format!("a[href$='/{kind}']")).unwrap();
        seat.is_for_everybody(kind);
        seat.browser.click("button[value='show']").unwrap();
        let letter = seat.browser.text(".letter").unwrap();
        assert!(letter.contains(wanted) && letter.contains("Beste Timo Verzonnen"), "{letter}");
        seat.is_for_everybody_here();
        if kind == "letter" {
            seat.shoot("14-brief");
        }
        seat.browser.click("button[value='edit']").unwrap();
        assert!(seat.has("button[value='show']"), "{}", seat.main());
    }
}

/// Keeps that the person was told, after a look; then that telling is put off, and that it is to be done after all.
fn decide(seat: &mut Seat, path: &str) {
    for act in ["informed", "postpone", "exempt", "reopen", "rectify", "erase"] {
        seat.go(&format!("{path}/{act}"));
        seat.is_for_everybody(act);
    }
    seat.go(&format!("{path}/informed"));
    seat.browser.click("main form button").unwrap();
    assert!(seat.has(".errors a[href='#reason']") && seat.has("#role-error"), "{}", seat.main());
    seat.is_for_everybody_here();
    seat.browser.fill("#reason", "brief van 3 maart").unwrap();
    seat.browser.tab_to("#role").unwrap();
    seat.browser.press(&format!("regisseur{ENTER}")).unwrap();
    assert!(seat.main().contains("regisseur (Noor Register)"), "Enter leads to a look: {}", seat.main());
    seat.is_for_everybody_here();
    seat.shoot("15-informeren");
    seat.browser.click("button[value='edit']").unwrap();
    let kept = "return document.getElementById('reason').value";
    assert_eq!(seat.browser.run(kept, &[]).unwrap(), "brief van 3 maart");
    seat.browser.click("main form button").unwrap();
    seat.browser.click("button[value='send']").unwrap();
    assert_eq!(seat.path(), path, "{}", seat.main());
    assert!(
        seat.main().contains("geïnformeerd") && seat.main().contains("brief van 3 maart"),
        "{}",
        seat.main()
    );
    assert_eq!(seat.browser.text("nav .badge").unwrap().split_whitespace().next(), Some("1"));
    seat.is_for_everybody("a person who was told");

    // Until a day that is past the agent refuses; what was filled in is still there.
    for (day, kept) in [("02022020", false), ("01012099", true)] {
        seat.go(&format!("{path}/postpone"));
        seat.browser.tab_to("#until").unwrap();
        seat.browser.press(day).unwrap();
        seat.browser.fill("#reason", WHY).unwrap();
        seat.browser.fill("#role", "officier").unwrap();
        seat.browser.click("main form button").unwrap();
        seat.browser.click("button[value='send']").unwrap();
        assert_eq!(seat.path() == path, kept, "{}", seat.main());
        if !kept {
            assert!(seat.main().contains("dag in de toekomst"), "{}", seat.main());
            seat.is_for_everybody_here();
        }
    }
    assert!(seat.main().contains("uitgesteld tot 2099-01-01"), "{}", seat.main());
    seat.go(&format!("{path}/letter"));
    seat.is_for_everybody("a letter that is not to be sent");
    seat.browser.click("button[value='show']").unwrap();
    assert!(seat.has("#despite-error") && !seat.has(".letter"), "{}", seat.main());
    seat.is_for_everybody_here();
    seat.browser.tick("#despite").unwrap();
    seat.browser.click("button[value='show']").unwrap();
    let letter = seat.browser.text(".letter").unwrap();
    assert!(letter.contains("Timo Verzonnen") && !letter.contains(WHY), "{letter}");
    seat.go(&format!("{path}/reopen"));
    seat.browser.fill("#reason", "vergissing").unwrap();
    seat.browser.fill("#role", "regisseur").unwrap();
    seat.browser.click("main form button").unwrap();
    seat.browser.click("button[value='send']").unwrap();
    assert!(seat.main().contains("vergissing") && seat.main().contains(WHY), "{}", seat.main());
}

/// The police have a field corrected at the municipality.
fn rectify(seat: &mut Seat, code: &str, message: &str) {
    seat.sign_in(code);
    seat.browser.click("nav a[href='/subjects']").unwrap();
    assert!(seat.main().contains("Nobody is to be told here"), "the municipality tells: {}", seat.main());
    assert!(!seat.has("nav .badge"), "there is nothing to count");
    seat.go("/subjects?all=yes");
    assert!(seat.main().contains("told by: gemeente"), "{}", seat.main());
    seat.browser.click("main table a").unwrap();
    let path = seat.path();
    assert!(seat.has(&format!("a[href='/sent/{message}/receipt']")), "the proof is a link: {}", seat.main());
    seat.browser.click("a[href$='/rectify']").unwrap();
    seat.is_for_everybody("a field that is wrong");
    seat.browser.click("main form button").unwrap();
    assert!(seat.has("#field-error") && seat.has("#why-error"), "{}", seat.main());
    seat.browser.tick("#field option[value='geboortedatum']").unwrap();
    seat.browser.tick("#why option[value='onjuist']").unwrap();
    seat.browser.click("main form button").unwrap();
    assert!(seat.main().contains("/geboortedatum"), "{}", seat.main());
    seat.is_for_everybody_here();
    seat.browser.click("button[value='send']").unwrap();
    assert!(seat.main().contains("done") && !seat.has(".errors"), "{}", seat.main());
    seat.is_for_everybody_here();
    seat.go(&path);
    assert!(seat.main().contains("correction told"), "{}", seat.main());
}

/// The municipality erases what it has of the person.
fn erase(seat: &mut Seat, path: &str) {
    seat.go(&format!("{path}/erase"));
    assert!(!seat.has("#why"), "nothing was sent, so nobody is told why: {}", seat.main());
    seat.browser.click("main form button").unwrap();
    assert!(seat.main().contains("hier wissen"), "{}", seat.main());
    seat.is_for_everybody_here();
    seat.browser.click("button[value='send']").unwrap();
    assert!(seat.main().contains("gedaan") && !seat.has(".errors"), "{}", seat.main());
    seat.go(path);
    assert!(seat.main().contains("gewist op"), "{}", seat.main());
    seat.go(&format!("{path}/erase"));
    seat.browser.click("main form button").unwrap();
    assert!(!seat.has("button[value='send']"), "there is nothing left to erase: {}", seat.main());
}

/// The key of the first person in a list.
fn first(page: &str) -> String {
    let mut keys = page.split("href=\"/subjects/").skip(1).filter_map(|rest| rest.split('"').next());
    keys.find(|key| key.len() == 64).unwrap_or_else(|| panic!("{page}")).to_owned()
}

#[test]
fn files_are_for_who_may_and_an_act_is_done_once() {
    let (two, sample) = (Two::running(), names());
    told(&two, &sample);
    let stage = &two.scene.stage;
    let (_, noor) = person(stage, two.town(), "Noor Register", "subjects");
    let (_, bram) = person(stage, two.town(), "Bram Bakker", "read,push,release,cases,decide");
    let (_, piet) = person(stage, two.police(), "Piet Register", "subjects");
    let (keeper, other) =
        (Site::signed_in(two.at_town, &noor).unwrap(), Site::signed_in(two.at_town, &bram).unwrap());
    let path = format!("/subjects/{}", first(&keeper.get("/subjects").unwrap().text()));

    // Who has no right to it: nothing, also at an address that is known.
    let how = [("key", KEY), ("do", "send"), ("reason", "brief"), ("role", "regisseur")];
    for below in ["", "/letter", "/answer", "/informed", "/erase"] {
        let answer = other.get(&format!("{path}{below}")).unwrap();
        assert_eq!(answer.status, 403, "{below}");
        assert!(!answer.text().contains("Timo"), "{below}");
    }
    for below in ["/letter", "/answer", "/informed", "/postpone", "/exempt", "/reopen", "/rectify", "/erase"]
    {
        let answer = other.post(&format!("{path}{below}"), &[&how[..], &[("do", "file")]].concat()).unwrap();
        assert_eq!((answer.status, answer.field("content-disposition")), (403, ""), "{below}");
    }
    // Nor another page in the name of who has, nor a form without its key.
    let informed = format!("{path}/informed");
    let foreign = keeper.post_with(&informed, &[("origin", "http://evil.example")], &how).unwrap();
    assert_eq!(foreign.status, 403);
    assert_eq!(keeper.post_with(&informed, &[], &how).unwrap().status, 403, "without a token");
    assert_eq!(keeper.post(&informed, &how[1..]).unwrap().status, 403, "without a key");
    assert_eq!(keeper.post(&format!("{path}/open"), &how).unwrap().status, 404);
    let decisions = || {
        let key = path.trim_start_matches("/subjects/");
        let shown = stage.agent(two.town(), &["register", "show", key]).unwrap();
        shown["persons"][0]["decisions"].as_array().unwrap().clone()
    };
    assert!(decisions().is_empty(), "none of them did anything");

    // What cannot be taken back is looked at, also when a form says that it was, of other messages.
    let erase = format!("{path}/erase");
    for seen in ["", "0000"] {
        let looked = keeper.post(&erase, &[("key", KEY), ("do", "send"), ("seen", seen)]).unwrap();
        assert!(looked.status == 200 && looked.text().contains("hier wissen"), "{}", looked.text());
        assert_eq!(looked.text().contains("intussen iets veranderd"), !seen.is_empty());
    }
    assert!(inbox_of(stage, two.town())[0]["erased_why"].is_null(), "nothing was erased");
    // A look does nothing yet, and a double click does it once.
    let look = [&how[..1], &[("do", "check")], &how[2..]].concat();
    assert_eq!((keeper.post(&informed, &look).unwrap().status, decisions().len()), (200, 0));
    for _ in 0..2 {
        let done = keeper.post(&informed, &how).unwrap();
        assert_eq!((done.status, done.field("location")), (303, path.as_str()));
    }
    let kept = decisions();
    assert_eq!((kept.len(), text(&kept[0], "role")), (1, "regisseur (Noor Register)"));

    files(&two, &keeper, &path, &piet);
    two.is_not_told(&["Timo", &sample.canary, &noor, &bram, &piet]);
}

/// Letters and data as files, and that the proof of what was sent verifies.
fn files(two: &Two, keeper: &Site, path: &str, piet: &str) {
    let saved = |site: &Site, path: &str, fields: &[(&str, &str)]| {
        let answer = site.post(path, fields).unwrap();
        let head = &answer.head;
        assert!(answer.status == 200 && head.contains("cache-control: no-store"), "{head}");
        assert!(answer.field("content-disposition").starts_with("attachment; filename="), "{head}");
        assert!(!answer.field("content-disposition").contains("timo"), "{head}");
        answer
    };
    let letter = saved(keeper, &format!("{path}/letter"), &[("do", "file"), ("to", "representatives")]);
    assert!(
        letter.text().contains("Geachte ouder(s)") && !letter.text().contains("Beste"),
        "{}",
        letter.text()
    );
    let answer = format!("{path}/answer");
    assert!(saved(keeper, &answer, &[("do", "file")]).text().contains("U vroeg wat wij"));
    let data = saved(keeper, &answer, &[("do", "data")]).json();
    assert!(!text(&data["messages"][0], "proof").is_empty(), "{data}");
    assert!(!data.to_string().contains("regisseur"), "what was decided is not handed out: {data}");
    let later = saved(keeper, &answer, &[("do", "data"), ("since", "2090-01-01")]).json();
    assert_eq!(later["messages"], serde_json::json!([]));
    assert_eq!(keeper.post(&answer, &[("do", "data"), ("since", "gisteren")]).unwrap().status, 422);

    let exempt =
        [("key", "BBBBBBBBBBBBBBBBBBBBBB"), ("do", "send"), ("reason", "opsporing"), ("role", "officier")];
    assert_eq!(keeper.post(&format!("{path}/exempt"), &exempt).unwrap().status, 303);
    for (path, what) in [(&answer, "data"), (&answer, "file"), (&format!("{path}/letter"), "file")] {
        for despite in ["", "no"] {
            let slip = keeper.post(path, &[("do", what), ("despite", despite)]).unwrap();
            assert_eq!((slip.status, slip.field("content-disposition")), (422, ""), "{path} {what}");
        }
        let meant = saved(keeper, path, &[("do", what), ("despite", "yes")]).text();
        assert!(!meant.contains("opsporing"), "{meant}");
    }

    let sender = Site::signed_in(two.at_police, piet).unwrap();
    let own = format!("/subjects/{}", first(&sender.get("/subjects?all=yes").unwrap().text()));
    // Who may not follow the flow sees which message it is, and no link that leads nowhere.
    assert!(
        !sender.get(&own).unwrap().text().contains("href=\"/sent/"),
        "{}",
        sender.get(&own).unwrap().text()
    );
    let data: Value = saved(&sender, &format!("{own}/answer"), &[("do", "data")]).json();
    let file = two.scene.stage.dir.join("proof.txt");
    std::fs::write(&file, text(&data["messages"][0], "proof")).unwrap();
    two.scene.stage.agent(two.town(), &["receipt", "verify", &file.to_string_lossy()]).unwrap();
}
