//! Whoever may not: other sites, other names, other sessions, other rights.

use seinhuis_tests::site::{Site, borrowed, hidden, hidden_all};
use seinhuis_tests::stage::text;
use seinhuis_tests::{samples, stage};

use super::{Two, filled, person};
use crate::common::{inbox_of, outbox_of, town, wait_for_inbox};

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const OTHER_KEY: &str = "BBBBBBBBBBBBBBBBBBBBBB";

#[test]
fn a_form_is_sent_once_by_who_may_and_by_nobody_else() {
    let two = Two::running();
    let stage = &two.scene.stage;
    let (town, police) = (two.town(), two.police());
    let (anna_id, anna) = person(stage, police, "Anna de Vries", "push:F02");
    let (_, cas) = person(stage, police, "Cas Kijker", "read");
    let maker = Site::signed_in(two.at_police, &anna).unwrap();
    let reader = Site::signed_in(two.at_police, &cas).unwrap();
    let path = maker.form_for("F02").unwrap();
    let mut fields = filled("F02", KEY);
    fields.push(("to".into(), town.oin.clone()));
    let fields = borrowed(&fields);

    // Who may only read does not send, and sees no form.
    assert_eq!(reader.post(&path, &fields).unwrap().status, 403);
    assert_eq!(reader.get(&path).unwrap().status, 403);
    assert!(!reader.get("/new").unwrap().text().contains("href=\"/new/"));
    // Nor does who may send another flow.
    assert!(!maker.get("/new").unwrap().text().contains("/F05/"));
    assert_eq!(maker.post(&path.replace("/F02/", "/F05/"), &fields).unwrap().status, 403);

    from_elsewhere(&maker, &path, &fields);
    assert!(outbox_of(stage, police).is_empty(), "nothing was sent by any of them");

    let sent = maker.post(&path, &fields).unwrap();
    assert_eq!(sent.status, 303, "{}", sent.text());
    let message = sent.field("location").to_owned();
    // A double click, a reload, another window: the same message.
    let again = maker.post(&path, &fields).unwrap();
    assert_eq!((again.status, again.field("location")), (303, message.as_str()));
    let elsewhere = Site::signed_in(two.at_police, &anna).unwrap().post(&path, &fields).unwrap();
    assert_eq!(elsewhere.field("location"), message);
    assert_eq!(wait_for_inbox(stage, town, 1).len(), 1);
    assert_eq!(outbox_of(stage, police).len(), 1);
    // Under the same key something else is not taken for the same.
    let mut other = fields.clone();
    other.retain(|(name, _)| *name != "/aantal_meldingen");
    let refused = maker.post(&path, &other).unwrap();
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("melkfabriek"), "what was filled in is still there");

    // Who reads sees what was sent, but neither withdraws nor takes back.
    assert_eq!(reader.get(&message).unwrap().status, 200);
    for act in ["take-back", "withdrawal", "correction"] {
        assert_eq!(
            reader.post(&format!("{message}/{act}"), &[("key", OTHER_KEY)]).unwrap().status,
            403,
            "{act}"
        );
    }
    faults(&maker, &path);

    // Who is revoked is out at once, and what is posted then is not lost.
    stage.agent(police, &["person", "revoke", &anna_id]).unwrap();
    let out = maker.post(&path, &fields).unwrap();
    assert_eq!(out.status, 401);
    assert_eq!(maker.get("/").unwrap().status, 200, "the page that asks for a code");
    assert_eq!(maker.get(&message).unwrap().status, 401);
    let canary = town::sample("F02").canary;
    two.is_not_told(&[&canary, &anna, &cas, &maker.token, &maker.cookie, "Anna de Vries"]);
}

/// Forms that other pages and programs post in the name of somebody who is signed in.
fn from_elsewhere(maker: &Site, path: &str, fields: &[(&str, &str)]) {
    let token = [("token", maker.token.as_str())];
    let right = [&token[..], fields].concat();
    for (more, status) in [
        (("origin", "http://evil.example"), 403),
        (("origin", "null"), 403),
        (("origin", ""), 403),
        (("origin", "http://127.0.0.1:1"), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("sec-fetch-site", "same-site"), 403),
        (("host", "evil.example"), 421),
        (("cookie", "seinhuis=AAAA"), 401),
        (("cookie", ""), 401),
    ] {
        let answer = maker.post_with(path, &[more], &right).unwrap();
        assert_eq!(answer.status, status, "{more:?}");
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
    }
    for wrong in ["", "x", &maker.token.to_lowercase(), &format!("{}A", maker.token)] {
        assert_eq!(
            maker.post_with(path, &[], &[&[("token", wrong)][..], fields].concat()).unwrap().status,
            403,
            "{wrong}"
        );
    }
    assert_eq!(maker.post_with(path, &[], fields).unwrap().status, 403, "without a token");
    let get =
        maker.client.ask("GET", "/", &[("cookie", &maker.cookie), ("sec-fetch-site", "cross-site")], "");
    assert_eq!(get.unwrap().status, 403);
    let other = maker.client.ask("PUT", path, &[("cookie", &maker.cookie)], "").unwrap();
    assert_eq!(other.status, 405);
    let head = maker.get("/").unwrap().head;
    for wanted in [
        "content-security-policy: default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "referrer-policy: same-origin",
        "cross-origin-opener-policy: same-origin",
        "cross-origin-resource-policy: same-origin",
    ] {
        assert!(head.contains(wanted), "{head}");
    }
}

/// What is wrong with a form is told by its fields, and what was filled in comes back.
fn faults(maker: &Site, path: &str) {
    let wrong =
        [("key", OTHER_KEY), ("do", "send"), ("/toelichting", "Pim Verzonnen"), ("/omvang/minimaal", "veel")];
    let told = maker.post(path, &wrong).unwrap();
    let page = told.text();
    assert_eq!(told.status, 422);
    for wanted in [
        "href=\"#to\"",
        "href=\"#f.locatie.wijk\"",
        "id=\"f.omvang.minimaal-error\"",
        "Pim Verzonnen",
        "<title>Fout: ",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    // A form that is too long, or that has no key, comes to nothing.
    let long = "x".repeat(1_600_000);
    let told = maker.post(path, &[("key", OTHER_KEY), ("/toelichting", &long)]).unwrap();
    assert!(matches!(told.status, 413), "{}", told.status);
    assert_eq!(maker.post(path, &[("do", "send")]).unwrap().status, 403);
    let nothing =
        ["/sent/x", "/inbox/x", "/inbox/99", "/new/x/y/z", "/cases/x", "/nothing", "/release/x", "/release"];
    for odd in nothing {
        let status = maker.get(odd).unwrap().status;
        assert!(matches!(status, 200 | 403 | 404), "{odd}: {status}");
    }
    let correction = path.replace("/F02/signaal_groepsgedrag", "/F36/intrekking");
    assert_eq!(
        maker.get(&correction).unwrap().status,
        403,
        "what is said of messages is said at the message"
    );
}

#[test]
fn a_code_that_does_not_count_lets_nobody_in_and_what_was_filled_in_outlives_a_session() {
    let two = Two::running();
    let (stage, police) = (&two.scene.stage, two.police());
    let (_, code) = person(stage, police, "Anna de Vries", "push");
    let nobody = Site::new(two.at_police);
    for path in ["/inbox", "/new", "/sent", "/release", "/cases", "/corrections", "/nothing"] {
        let answer = nobody.get(path).unwrap();
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.head.contains("connection: close"), "{}", answer.head);
    }
    assert_eq!(nobody.get("/style.css").unwrap().status, 200);
    for wrong in ["", "shp_", &code[..code.len() - 1], &"x".repeat(4000)] {
        let answer = nobody.post("/sign-in", &[("code", wrong)]).unwrap();
        assert_eq!((answer.status, answer.field("set-cookie")), (401, ""), "{wrong}");
        assert!(answer.text().contains("geldt hier niet"));
    }
    // A code is given in a form of the page itself.
    assert_eq!(
        nobody
            .post_with("/sign-in", &[("origin", "http://evil.example")], &[("code", &code)])
            .unwrap()
            .status,
        403
    );
    assert_eq!(nobody.post("/sign-in", &[("code", "x"), ("lang", "en")]).unwrap().status, 401);
    let many = (0..12).map(|_| nobody.post("/sign-in", &[("code", "x")]).unwrap().status).collect::<Vec<_>>();
    assert!(many.contains(&429), "{many:?}");
    // Who has the right code is not kept out by who has not.
    let in_time = nobody.post("/sign-in", &[("code", &code)]).unwrap();
    assert_eq!(in_time.status, 303);
    let cookie = in_time.field("set-cookie");
    assert!(cookie.contains("httponly") && cookie.contains("samesite=strict"), "{cookie}");

    // A form that comes when the session is over waits in the page that asks for the code, and goes on from there.
    let maker = Site::signed_in(two.at_police, &code).unwrap();
    let path = maker.form_for("F02").unwrap();
    let over = Site { cookie: String::new(), ..maker.clone() };
    let fields = filled("F02", KEY);
    let asked = over.post(&path, &borrowed(&fields)).unwrap();
    let page = asked.text();
    assert_eq!(asked.status, 401);
    assert!(page.contains("melkfabriek") && hidden(&page, "kept_path") == path, "{page}");
    let code_too = ("code".to_owned(), code.clone());
    let kept: Vec<(String, String)> = hidden_all(&page).into_iter().chain([code_too]).collect();
    let back = over.post("/sign-in", &borrowed(&kept)).unwrap();
    let page = back.text();
    assert_eq!(back.status, 200);
    assert!(page.contains(&format!("action=\"{path}\"")) && page.contains("melkfabriek"), "{page}");
    assert_eq!(hidden(&page, "do"), "check", "it is looked at first");
    assert!(!hidden(&page, "token").is_empty() && !page.contains("kept:"));
    assert!(outbox_of(stage, police).is_empty(), "nothing was sent meanwhile");
    // What is kept leads nowhere else.
    let astray =
        nobody.post("/sign-in", &[("code", &code), ("kept_path", "https://evil.example/new/")]).unwrap();
    assert_eq!((astray.status, astray.field("location")), (303, "/"));

    maker.post("/sign-out", &[]).unwrap();
    assert_eq!(maker.get("/new").unwrap().status, 401);
    two.is_not_told(&[&code]);
}

#[test]
fn who_made_a_message_about_a_person_does_not_release_it_whatever_happens_in_between() {
    let mut two = Two::running();
    let names =
        samples::among(&stage::FOUR).unwrap().into_iter().find(|sample| sample.flow == "F09").unwrap();
    two.scene.stage.prepare(&names).unwrap();
    let (_, anna) = person(&two.scene.stage, two.police(), "Anna de Vries", "push,release");
    let (_, bram) = person(&two.scene.stage, two.police(), "Bram Bakker", "release:F09");
    let (_, cas) = person(&two.scene.stage, two.police(), "Cas Kijker", "push,read,release:F05");
    let maker = Site::signed_in(two.at_police, &anna).unwrap();
    let path = maker.form_for("F09").unwrap();
    let mut ids = Vec::new();
    for key in [KEY, OTHER_KEY] {
        let mut fields = filled("F09", key);
        fields.push(("to".into(), two.town().oin.clone()));
        let sent = maker.post(&path, &borrowed(&fields)).unwrap();
        assert_eq!(sent.status, 303, "{}", sent.text());
        ids.push(sent.field("location").rsplit('/').next().unwrap().to_owned());
    }
    let approve = [("decision", "approve"), ("reason", "akkoord")];
    let own = |site: &Site| {
        let (shown, decided) = (
            site.get(&format!("/release/{}", ids[0])).unwrap(),
            site.post(&format!("/release/{}", ids[0]), &approve).unwrap(),
        );
        assert!(shown.status == 200 && !shown.text().contains("name=\"decision\""), "{}", shown.text());
        assert_eq!(decided.status, 403);
        assert!(decided.text().contains("zelf"), "{}", decided.text());
    };
    own(&maker);
    // Nor under a new code, nor after a restart.
    let listed = two.scene.stage.agent(two.police(), &["person", "list"]).unwrap();
    let id = listed.as_array().unwrap().iter().find(|one| text(one, "name") == "Anna de Vries").unwrap();
    two.scene.stage.agent(two.police(), &["person", "revoke", text(id, "id")]).unwrap();
    let (_, anna) = person(&two.scene.stage, two.police(), "anna de vries", "push,release");
    own(&Site::signed_in(two.at_police, &anna).unwrap());
    two.running.remove(2).kill().unwrap();
    two.running.push(two.scene.agent("politie"));
    assert_eq!(maker.get("/").unwrap().status, 200, "signed out by the restart");
    own(&Site::signed_in(two.at_police, &anna).unwrap());

    // Who has no right to this flow sees nothing of it.
    let blind = Site::signed_in(two.at_police, &cas).unwrap();
    let waiting = format!("/release/{}", ids[0]);
    assert_eq!(
        (blind.get(&waiting).unwrap().status, blind.post(&waiting, &approve).unwrap().status),
        (404, 404)
    );
    assert!(!blind.get("/release").unwrap().text().contains(&ids[0]));
    assert!(inbox_of(&two.scene.stage, two.town()).is_empty(), "nothing left");

    let other = Site::signed_in(two.at_police, &bram).unwrap();
    assert!(other.get(&waiting).unwrap().text().contains(&names.canary));
    assert_eq!(other.post(&waiting, &[]).unwrap().status, 422);
    assert_eq!(other.post(&waiting, &[("decision", "deny")]).unwrap().status, 422, "a denial has a reason");
    assert_eq!(other.post(&waiting, &approve).unwrap().status, 303);
    assert_eq!(other.post(&waiting, &approve).unwrap().status, 404, "it is decided");
    let denied = other
        .post(&format!("/release/{}", ids[1]), &[("decision", "deny"), ("reason", "niet nodig")])
        .unwrap();
    assert_eq!(denied.status, 303);
    assert_eq!(text(&wait_for_inbox(&two.scene.stage, two.town(), 1)[0], "msg_id"), ids[0]);
    for (id, outcome) in [(&ids[0], "approved"), (&ids[1], "denied")] {
        let kept = two.scene.stage.agent(two.police(), &["outbox", "show", id]).unwrap();
        let release = &kept["release"];
        assert_eq!((text(release, "outcome"), text(release, "role")), (outcome, "Bram Bakker"), "{release}");
    }
    // A message that was released is in the list, with what came after it.
    let page = other.get("/sent").unwrap().text();
    assert!(ids.iter().all(|id| page.contains(id.as_str())), "{page}");
    two.is_not_told(&[&names.canary, "Timo Verzonnen", "Bram Bakker", "akkoord"]);
}
