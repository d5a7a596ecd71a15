//! Whoever may not: other sites, other names, other sessions, other rights.

use seinhuis_tests::stage::text;
use seinhuis_tests::{samples, stage};

use super::{Site, Two, body, borrowed, field, filled, hidden, person};
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
    let maker = Site::signed_in(two.at_police, &anna);
    let reader = Site::signed_in(two.at_police, &cas);
    let path = maker.form_for("F02");
    let mut fields = filled("F02", KEY);
    fields.push(("to".into(), town.oin.clone()));
    let fields = borrowed(&fields);

    // Who may only read does not send, and sees no form.
    assert_eq!(reader.post(&path, &fields).status, 403);
    assert_eq!(reader.get(&path).status, 403);
    assert!(!body(&reader.get("/new")).contains("href=\"/new/"));
    // Nor does who may send another flow.
    assert!(!body(&maker.get("/new")).contains("/F05/"));
    assert_eq!(maker.post(&path.replace("/F02/", "/F05/"), &fields).status, 403);

    from_elsewhere(&maker, &path, &fields);
    assert!(outbox_of(stage, police).is_empty(), "nothing was sent by any of them");

    let sent = maker.post(&path, &fields);
    assert_eq!(sent.status, 303, "{}", body(&sent));
    let message = field(&sent, "location").to_owned();
    // A double click, a reload, another window: the same message.
    let again = maker.post(&path, &fields);
    assert_eq!((again.status, field(&again, "location")), (303, message.as_str()));
    let elsewhere = Site::signed_in(two.at_police, &anna).post(&path, &fields);
    assert_eq!(field(&elsewhere, "location"), message);
    assert_eq!(wait_for_inbox(stage, town, 1).len(), 1);
    assert_eq!(outbox_of(stage, police).len(), 1);
    // Under the same key something else is not taken for the same.
    let mut other = fields.clone();
    other.retain(|(name, _)| *name != "/aantal_meldingen");
    let refused = maker.post(&path, &other);
    assert_eq!(refused.status, 422, "{}", body(&refused));
    assert!(body(&refused).contains("melkfabriek"), "what was filled in is still there");

    // Who reads sees what was sent, but neither withdraws nor takes back.
    assert_eq!(reader.get(&message).status, 200);
    for act in ["take-back", "withdrawal", "correction"] {
        assert_eq!(reader.post(&format!("{message}/{act}"), &[("key", OTHER_KEY)]).status, 403, "{act}");
    }
    faults(&maker, &path);

    // Who is revoked is out at once, and what is posted then is not lost.
    stage.agent(police, &["person", "revoke", &anna_id]).unwrap();
    let out = maker.post(&path, &fields);
    assert_eq!(out.status, 401);
    assert_eq!(maker.get("/").status, 200, "the page that asks for a code");
    assert_eq!(maker.get(&message).status, 401);
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
        let answer = maker.post_with(path, &[more], &right);
        assert_eq!(answer.status, status, "{more:?}");
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
    }
    for wrong in ["", "x", &maker.token.to_lowercase(), &format!("{}A", maker.token)] {
        assert_eq!(
            maker.post_with(path, &[], &[&[("token", wrong)][..], fields].concat()).status,
            403,
            "{wrong}"
        );
    }
    assert_eq!(maker.post_with(path, &[], fields).status, 403, "without a token");
    let get =
        maker.client.ask("GET", "/", &[("cookie", &maker.cookie), ("sec-fetch-site", "cross-site")], "");
    assert_eq!(get.unwrap().status, 403);
    let other = maker.client.ask("PUT", path, &[("cookie", &maker.cookie)], "").unwrap();
    assert_eq!(other.status, 405);
    let head = maker.get("/").head;
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
    let told = maker.post(path, &wrong);
    let page = body(&told);
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
    let told = maker.post(path, &[("key", OTHER_KEY), ("/toelichting", &long)]);
    assert!(matches!(told.status, 413), "{}", told.status);
    assert_eq!(maker.post(path, &[("do", "send")]).status, 403);
    let nothing =
        ["/sent/x", "/inbox/x", "/inbox/99", "/new/x/y/z", "/cases/x", "/nothing", "/release/x", "/release"];
    for odd in nothing {
        let status = maker.get(odd).status;
        assert!(matches!(status, 200 | 403 | 404), "{odd}: {status}");
    }
    let correction = path.replace("/F02/signaal_groepsgedrag", "/F36/intrekking");
    assert_eq!(maker.get(&correction).status, 403, "what is said of messages is said at the message");
}

#[test]
fn a_code_that_does_not_count_lets_nobody_in_and_what_was_filled_in_outlives_a_session() {
    let two = Two::running();
    let (stage, police) = (&two.scene.stage, two.police());
    let (_, code) = person(stage, police, "Anna de Vries", "push");
    let nobody = Site::new(two.at_police);
    for path in ["/inbox", "/new", "/sent", "/release", "/cases", "/corrections", "/nothing"] {
        let answer = nobody.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.head.contains("connection: close"), "{}", answer.head);
    }
    assert_eq!(nobody.get("/style.css").status, 200);
    for wrong in ["", "shp_", &code[..code.len() - 1], &"x".repeat(4000)] {
        let answer = nobody.post("/sign-in", &[("code", wrong)]);
        assert_eq!((answer.status, field(&answer, "set-cookie")), (401, ""), "{wrong}");
        assert!(body(&answer).contains("geldt hier niet"));
    }
    // A code is given in a form of the page itself.
    assert_eq!(
        nobody.post_with("/sign-in", &[("origin", "http://evil.example")], &[("code", &code)]).status,
        403
    );
    assert_eq!(nobody.post("/sign-in", &[("code", "x"), ("lang", "en")]).status, 401);
    let many = (0..12).map(|_| nobody.post("/sign-in", &[("code", "x")]).status).collect::<Vec<_>>();
    assert!(many.contains(&429), "{many:?}");
    // Who has the right code is not kept out by who has not.
    let in_time = nobody.post("/sign-in", &[("code", &code)]);
    assert_eq!(in_time.status, 303);
    let cookie = field(&in_time, "set-cookie");
    assert!(cookie.contains("httponly") && cookie.contains("samesite=strict"), "{cookie}");

    // A form that comes when the session is over waits in the page that asks for the code, and goes on from there.
    let maker = Site::signed_in(two.at_police, &code);
    let path = maker.form_for("F02");
    let over = Site { cookie: String::new(), ..maker.clone() };
    let fields = filled("F02", KEY);
    let asked = over.post(&path, &borrowed(&fields));
    let page = body(&asked);
    assert_eq!(asked.status, 401);
    assert!(page.contains("melkfabriek") && hidden(&page, "kept_path") == path, "{page}");
    let kept: Vec<(String, String)> = page
        .split("type=\"hidden\" name=\"")
        .skip(1)
        .filter_map(|rest| {
            let (name, rest) = rest.split_once("\" value=\"")?;
            Some((name.to_owned(), rest.split_once('"')?.0.to_owned()))
        })
        .chain([("code".to_owned(), code.clone())])
        .collect();
    let back = over.post("/sign-in", &borrowed(&kept));
    let page = body(&back);
    assert_eq!(back.status, 200);
    assert!(page.contains(&format!("action=\"{path}\"")) && page.contains("melkfabriek"), "{page}");
    assert_eq!(hidden(&page, "do"), "check", "it is looked at first");
    assert!(!hidden(&page, "token").is_empty() && !page.contains("kept:"));
    assert!(outbox_of(stage, police).is_empty(), "nothing was sent meanwhile");
    // What is kept leads nowhere else.
    let astray = nobody.post("/sign-in", &[("code", &code), ("kept_path", "https://evil.example/new/")]);
    assert_eq!((astray.status, field(&astray, "location")), (303, "/"));

    maker.post("/sign-out", &[]);
    assert_eq!(maker.get("/new").status, 401);
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
    let maker = Site::signed_in(two.at_police, &anna);
    let path = maker.form_for("F09");
    let mut ids = Vec::new();
    for key in [KEY, OTHER_KEY] {
        let mut fields = filled("F09", key);
        fields.push(("to".into(), two.town().oin.clone()));
        let sent = maker.post(&path, &borrowed(&fields));
        assert_eq!(sent.status, 303, "{}", body(&sent));
        ids.push(field(&sent, "location").rsplit('/').next().unwrap().to_owned());
    }
    let approve = [("decision", "approve"), ("reason", "akkoord")];
    let own = |site: &Site| {
        let (shown, decided) =
            (site.get(&format!("/release/{}", ids[0])), site.post(&format!("/release/{}", ids[0]), &approve));
        assert!(shown.status == 200 && !body(&shown).contains("name=\"decision\""), "{}", body(&shown));
        assert_eq!(decided.status, 403);
        assert!(body(&decided).contains("zelf"), "{}", body(&decided));
    };
    own(&maker);
    // Nor under a new code, nor after a restart.
    let listed = two.scene.stage.agent(two.police(), &["person", "list"]).unwrap();
    let id = listed.as_array().unwrap().iter().find(|one| text(one, "name") == "Anna de Vries").unwrap();
    two.scene.stage.agent(two.police(), &["person", "revoke", text(id, "id")]).unwrap();
    let (_, anna) = person(&two.scene.stage, two.police(), "anna de vries", "push,release");
    own(&Site::signed_in(two.at_police, &anna));
    two.running.remove(2).kill().unwrap();
    two.running.push(two.scene.agent("politie"));
    assert_eq!(maker.get("/").status, 200, "signed out by the restart");
    own(&Site::signed_in(two.at_police, &anna));

    // Who has no right to this flow sees nothing of it.
    let blind = Site::signed_in(two.at_police, &cas);
    let waiting = format!("/release/{}", ids[0]);
    assert_eq!((blind.get(&waiting).status, blind.post(&waiting, &approve).status), (404, 404));
    assert!(!body(&blind.get("/release")).contains(&ids[0]));
    assert!(inbox_of(&two.scene.stage, two.town()).is_empty(), "nothing left");

    let other = Site::signed_in(two.at_police, &bram);
    assert!(body(&other.get(&waiting)).contains(&names.canary));
    assert_eq!(other.post(&waiting, &[]).status, 422);
    assert_eq!(other.post(&waiting, &[("decision", "deny")]).status, 422, "a denial has a reason");
    assert_eq!(other.post(&waiting, &approve).status, 303);
    assert_eq!(other.post(&waiting, &approve).status, 404, "it is decided");
    let denied =
        other.post(&format!("/release/{}", ids[1]), &[("decision", "deny"), ("reason", "niet nodig")]);
    assert_eq!(denied.status, 303);
    assert_eq!(text(&wait_for_inbox(&two.scene.stage, two.town(), 1)[0], "msg_id"), ids[0]);
    for (id, outcome) in [(&ids[0], "approved"), (&ids[1], "denied")] {
        let kept = two.scene.stage.agent(two.police(), &["outbox", "show", id]).unwrap();
        let release = &kept["release"];
        assert_eq!((text(release, "outcome"), text(release, "role")), (outcome, "Bram Bakker"), "{release}");
    }
    // A message that was released is in the list, with what came after it.
    let page = body(&other.get("/sent"));
    assert!(ids.iter().all(|id| page.contains(id.as_str())), "{page}");
    two.is_not_told(&[&names.canary, "Timo Verzonnen", "Bram Bakker", "akkoord"]);
}
