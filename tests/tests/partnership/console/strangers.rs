//! Whoever may not: other sites, other names, wrong passwords, other roles.

use std::fs;
use std::net::SocketAddr;

use super::{Account, last_act, open, signed_in};
use crate::common::Scene;
use seinhuis_tests::Stage;
use seinhuis_tests::site::{Site, hidden};

const REASON: &str = "Sleutel gestolen, telefonisch gemeld";

#[test]
fn nobody_gets_in_without_name_password_and_code() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let address = open(stage);
    let anna = Account::new(stage, "Anna de Vries", "operator");
    let broker = scene.broker();
    let stranger = Site::new(address);
    for path in
        ["/", "/flows", "/queues", "/log/0", "/agents", "/exports", "/live?path=/", "/acts", "/nowhere"]
    {
        let answer = stranger.get(path).unwrap();
        assert_eq!(answer.status, if path == "/" { 200 } else { 401 }, "{path}");
        assert!(answer.text().contains("name=\"password\"") && !answer.text().contains("politie"), "{path}");
    }
    assert_eq!(stranger.get("/style.css").unwrap().status, 200);
    let (code, name) = (anna.code(0), anna.name);
    for (name, password, code) in [
        (name, "wrong", code.as_str()),
        (name, anna.password.as_str(), ""),
        (name, anna.password.as_str(), "123456"),
        ("Bert", anna.password.as_str(), code.as_str()),
    ] {
        let answer =
            stranger.post("/sign-in", &[("name", name), ("password", password), ("code", code)]).unwrap();
        assert_eq!(answer.status, 401, "{name} {code}");
        assert!(!answer.head.contains("set-cookie"), "{}", answer.head);
    }
    let right = [("name", "anna de vries"), ("password", anna.password.as_str()), ("code", code.as_str())];
    let site = Site::signed_in_with(address, &right).unwrap();
    assert!(site.get("/queues").unwrap().text().contains("Anna de Vries"));
    assert_eq!(stranger.post("/sign-in", &right).unwrap().status, 401, "a code counts once");
    // An account that is taken away is out at once.
    stage.broker(&["operator", "remove", name]).unwrap();
    assert_eq!(site.get("/queues").unwrap().status, 401);
    let log = fs::read_to_string(stage.log_of("broker")).unwrap();
    for word in [name, &anna.password, &anna.secret, &site.token] {
        assert!(!log.contains(word), "the log tells {word}");
    }
    broker.stop(seinhuis_tests::stage::PATIENCE).unwrap();
}

/// An operator, a viewer, an auditor and a partner manager, signed in.
fn staff(stage: &Stage, address: SocketAddr) -> [Site; 4] {
    let roles = [("Bea", "operator"), ("Lies", "viewer"), ("Aukje", "auditor"), ("Rik", "partner-manager")];
    roles.map(|(name, role)| {
        Account::new(stage, name, role);
        signed_in(stage, address, name)
    })
}

#[test]
fn forms_of_other_sites_and_other_roles_do_nothing() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let address = open(stage);
    let _broker = scene.broker();
    let [bea, lies, aukje, rik] = staff(stage, address);
    let police = stage.member("politie");
    let path = format!("/agents/{}", police.oin);
    let key = hidden(&bea.get(&path).unwrap().text(), "key");
    let fields = [("do", "revoke"), ("reason", REASON), ("key", key.as_str())];
    // Who may not sees no form, and has none carried out.
    for site in [&lies, &aukje] {
        assert!(!site.get(&path).unwrap().text().contains("name=\"reason\""));
        assert_eq!(site.post(&path, &fields).unwrap().status, 403);
    }
    let purpose = [("purpose", "Jaarlijkse controle door de auditor"), ("key", key.as_str())];
    for site in [&lies, &rik] {
        assert!(!site.get("/exports").unwrap().text().contains("name=\"purpose\""));
        assert_eq!(site.post("/exports", &purpose).unwrap().status, 403);
        assert_eq!(site.get("/exports/export-20260101T000000000Z.zip").unwrap().status, 403);
    }
    elsewhere(&bea, &path, &fields);
    assert_eq!(
        bea.post(&path, &[("do", "revoke"), ("reason", " "), ("key", &key)]).unwrap().status,
        400,
        "without a reason"
    );
    assert_eq!(bea.post(&path, &[("do", "revoke"), ("reason", REASON), ("key", "x")]).unwrap().status, 409);
    assert_eq!(bea.post(&path, &[("do", "praise"), ("reason", REASON), ("key", &key)]).unwrap().status, 404);
    let acts = |book: &str| {
        book.lines()
            .filter(|line| !line.contains("\"act\":\"account-") && !line.contains("\"said\":"))
            .count()
    };
    let book = || fs::read_to_string(stage.broker_home().join("console-acts.jsonl")).unwrap();
    assert_eq!(acts(&book()), 0, "nothing was done by any of them: {}", book());
    let partners = stage.broker(&["partner", "list"]).unwrap();
    assert!(partners.as_array().unwrap().iter().all(|one| one["revoked"].is_null()), "{partners}");

    let done = rik
        .post(
            &path,
            &[("do", "revoke"), ("reason", REASON), ("key", &hidden(&rik.get(&path).unwrap().text(), "key"))],
        )
        .unwrap();
    assert_eq!((done.status, done.field("location")), (303, path.as_str()));
    let book = book();
    assert!(
        book.contains("\"who\":\"Rik\"")
            && book.contains("account Rik")
            && acts(&book) == 1
            && book.contains(REASON),
        "{book}"
    );
    let entry = last_act(stage);
    assert_eq!(entry.detail.as_deref(), Some("revoked"));
    assert_eq!(entry.statement, Some(seinhuis_shared::signing::sha256(REASON.as_bytes())));
    assert_eq!(aukje.get("/exports/..%2foperators.json").unwrap().status, 404);
}

#[test]
fn partners_and_flows_are_suspended_and_resumed_by_whose_role_gives_the_right_and_by_nobody_else() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let address = open(stage);
    let _broker = scene.broker();
    let [bea, lies, aukje, rik] = staff(stage, address);
    let agent = format!("/agents/{}", stage.member("politie").oin);
    let key = |site: &Site, path: &str| hidden(&site.get(path).unwrap().text(), "key");
    let suspend = |site: &Site, path: &str, key: &str, does: &str, flow: &str| {
        site.post(path, &[("do", does), ("reason", REASON), ("key", key), ("flow", flow)]).unwrap().status
    };
    let fresh = key(&bea, "/flows");
    for (site, path) in
        [(&lies, agent.as_str()), (&aukje, &agent), (&lies, "/flows"), (&aukje, "/flows"), (&rik, "/flows")]
    {
        assert!(!site.get(path).unwrap().text().contains("name=\"reason\""), "{path}");
        for does in ["suspend", "resume"] {
            assert_eq!(suspend(site, path, &fresh, does, "F02"), 403, "{path} {does}");
        }
    }
    assert_eq!(suspend(&bea, "/flows", &fresh, "suspend", "F99"), 404);
    assert_eq!(suspend(&bea, "/flows", &fresh, "stop", "F02"), 404);
    assert_eq!(suspend(&bea, "/flows", "x", "suspend", "F02"), 409);
    elsewhere(&bea, "/flows", &[("do", "suspend"), ("reason", REASON), ("key", &fresh), ("flow", "F02")]);
    let book = fs::read_to_string(stage.broker_home().join("console-acts.jsonl")).unwrap();
    assert!(!book.contains("suspend"), "nothing was done by any of them: {book}");
    let status = stage.broker(&["status"]).unwrap();
    assert_eq!(
        status["suspended"],
        serde_json::json!({ "partners": [], "flows": [], "intake": null }),
        "{status}"
    );

    assert_eq!(suspend(&bea, "/flows", &fresh, "suspend", "F02"), 303);
    assert_eq!(suspend(&bea, "/flows", &fresh, "suspend", "F02"), 409, "a form counts once");
    let page = lies.get("/flows").unwrap().text();
    assert!(
        page.contains("opgeschort") && page.contains("F02") && !page.contains("name=\"reason\""),
        "{page}"
    );
    let entry = last_act(stage);
    assert_eq!((entry.detail.as_deref(), entry.flow.as_deref()), (Some("suspended"), Some("F02")));
    assert_eq!(suspend(&rik, &agent, &key(&rik, &agent), "suspend", ""), 303);
    let page = rik.get(&agent).unwrap().text();
    assert!(page.contains("toegang opgeschort") && page.contains("value=\"resume\""), "{page}");
    assert!(lies.get("/agents").unwrap().text().contains("toegang opgeschort"));
    let now = lies.get("/").unwrap().text();
    assert!(now.contains("Stroom F02") && now.contains("opgeschort"), "{now}");
    assert_eq!(suspend(&rik, &agent, &key(&rik, &agent), "resume", ""), 303);
    assert_eq!(suspend(&bea, "/flows", &key(&bea, "/flows"), "resume", "F02"), 303);
    assert!(lies.get("/flows").unwrap().text().contains("Geen stroom is opgeschort"));
    let book = fs::read_to_string(stage.broker_home().join("console-acts.jsonl")).unwrap();
    let acts = book.lines().filter(|line| !line.contains("\"said\":"));
    let acts = acts.filter_map(|line| line.split("\"act\":\"").nth(1)?.split('"').next());
    let acts: Vec<&str> = acts.filter(|act| !act.starts_with("account-")).collect();
    assert_eq!(acts, ["flow-suspend", "partner-suspend", "partner-resume", "flow-resume"], "{book}");
    assert!(book.contains("\"flow\":\"F02\"") && book.contains("\"who\":\"Rik\""), "{book}");
    let status = stage.broker(&["status"]).unwrap();
    assert_eq!(
        status["suspended"],
        serde_json::json!({ "partners": [], "flows": [], "intake": null }),
        "{status}"
    );
}

fn elsewhere(site: &Site, path: &str, fields: &[(&str, &str)]) {
    let token = [("token", site.token.as_str())];
    let right = [&token[..], fields].concat();
    for (more, status) in [
        (("origin", "http://evil.example"), 403),
        (("origin", "null"), 403),
        (("origin", ""), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("sec-fetch-site", "same-site"), 403),
        (("host", "evil.example"), 421),
        (("cookie", "__Host-seinhuis=AAAA"), 401),
        (("cookie", ""), 401),
    ] {
        let answer = site.post_with(path, &[more], &right).unwrap();
        assert_eq!(answer.status, status, "{more:?}");
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
    }
    for wrong in ["", "x", &format!("{}A", site.token)] {
        assert_eq!(
            site.post_with(path, &[], &[&[("token", wrong)][..], fields].concat()).unwrap().status,
            403,
            "{wrong}"
        );
    }
    assert_eq!(site.post_with(path, &[], fields).unwrap().status, 403, "without a token");
    let cookie = ("cookie", site.cookie.as_str());
    let get = site.client.ask("GET", "/", &[cookie, ("sec-fetch-site", "cross-site")], "").unwrap();
    assert_eq!(get.status, 403);
    assert_eq!(site.client.ask("PUT", path, &[cookie], "").unwrap().status, 405);
    let long = "x".repeat(70_000);
    assert_eq!(site.post(path, &[("reason", &long)]).unwrap().status, 413);
    let head = site.get("/").unwrap().head;
    for wanted in [
        "default-src 'none'; script-src 'self'; style-src 'self'",
        "require-trusted-types-for 'script'",
        "frame-ancestors 'none'",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "cross-origin-opener-policy: same-origin",
    ] {
        assert!(head.contains(wanted), "{head}");
    }
    assert!(!head.contains("unsafe"), "{head}");
}

#[test]
fn an_account_whose_codes_are_guessed_waits_and_a_code_for_one_sign_in_works_once() {
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let address = open(stage);
    let anna = Account::new(stage, "Anna", "viewer");
    let _broker = scene.broker();
    let stranger = Site::new(address);
    let made = stage.broker(&["operator", "login", "Anna"]).unwrap();
    let once = [("name", "Anna"), ("password", made["code"].as_str().unwrap())];
    assert_eq!(stranger.post("/sign-in", &once).unwrap().status, 303);
    assert_eq!(stranger.post("/sign-in", &once).unwrap().status, 401);
    for _ in 0..5 {
        let guess = [("name", "Anna"), ("password", anna.password.as_str()), ("code", "x")];
        assert_eq!(stranger.post("/sign-in", &guess).unwrap().status, 401);
    }
    let code = anna.code(0);
    let right = [("name", "Anna"), ("password", anna.password.as_str()), ("code", code.as_str())];
    assert_eq!(stranger.post("/sign-in", &right).unwrap().status, 401, "also with what is right");
}
