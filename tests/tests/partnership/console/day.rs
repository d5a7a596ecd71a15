//! A working day of an operator in Chromium: a recipient is away, its queue grows, the cause is found, it comes back; a
//! partner is shut out, what it sends is refused, and all of it is exported.

use std::net::SocketAddr;

use seinhuis_tests::browser::{Browser, CHROMIUM};
use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Stage, process};

use super::{Account, open, signed_in};
use crate::common::{Scene, push, wait_for_inbox};

/// The operator at a browser.
pub(super) struct Seat {
    pub(super) browser: Browser,
    site: SocketAddr,
    _profile: tempfile::TempDir,
}

impl Seat {
    pub(super) fn take(site: SocketAddr) -> Self {
        let profile = tempfile::Builder::new().prefix("seinhuis-browser-").tempdir().unwrap();
        let browser = Browser::start_with_scripts(profile.path(), "nl").unwrap();
        Self { browser, site, _profile: profile }
    }

    pub(super) fn go(&mut self, path: &str) {
        self.browser.go(&format!("http://{}{path}", self.site)).unwrap();
    }

    pub(super) fn main(&self) -> String {
        self.browser.text("main").unwrap()
    }

    pub(super) fn sees(&mut self, words: &str) {
        self.browser.wait_for(words).unwrap_or_else(|error| panic!("{words}: {error}\n{}", self.main()));
    }

    pub(super) fn sign_in(&mut self, account: &Account) {
        self.go("/");
        self.browser.shoot("console-01-aanmelden").unwrap();
        self.browser.fill("#name", account.name).unwrap();
        self.browser.fill("#password", &account.password).unwrap();
        self.browser.fill("#code", &account.code(0)).unwrap();
        self.browser.click("main button").unwrap();
        assert!(self.browser.has("nav").unwrap(), "{}", self.main());
    }

    /// One cookie, which no script sees and no other site gets, and nothing else.
    fn keeps_one_cookie(&self) {
        let cookies = self.browser.cookies().unwrap();
        assert_eq!((cookies.len(), &cookies[0]["name"]), (1, &"__Host-seinhuis".into()), "{cookies:?}");
        for flag in ["httpOnly", "secure"] {
            assert_eq!(cookies[0][flag], true, "{flag}");
        }
        let kept = "return [localStorage.length, sessionStorage.length, document.cookie]";
        assert_eq!(self.browser.run(kept, &[]).unwrap(), serde_json::json!([0, 0, ""]));
    }

    /// axe finds nothing wrong with a page, in both languages, in light and dark, and it fits a small screen.
    fn is_for_everybody(&mut self, path: &str) {
        self.go(path);
        for dark in [false, true] {
            // The other language in the other colours: what is looked at is one or the other.
            self.browser.dark(dark).unwrap();
            for width in [1200, 320] {
                self.browser.resize(width, 900).unwrap();
                let found = self.browser.violations().unwrap();
                assert!(found.is_empty(), "{path} at {width}, dark {dark}: {found:#?}");
                let wide = self.browser.run("return document.documentElement.scrollWidth - innerWidth", &[]);
                assert!(wide.unwrap().as_i64().unwrap() <= 0, "{path} does not fit {width}");
            }
            self.browser.resize(1200, 900).unwrap();
            self.browser.click("form[action=\"/language\"] button").unwrap();
        }
    }
}

#[test]
fn an_operator_sees_an_incident_finds_its_cause_acts_and_exports() {
    if !CHROMIUM.is_met() {
        return;
    }
    let scene = Scene::with(&["gemeente", "jongerenwerk"]);
    let stage = &scene.stage;
    let address = open(stage);
    let anna = Account::new(stage, "Anna de Vries", "operator");
    let _broker = scene.broker();
    let mut agents = scene.agents();
    let mut seat = Seat::take(address);
    seat.sign_in(&anna);
    seat.sees("Alles staat klaar");
    seat.keeps_one_cookie();

    // The recipient goes away; what is sent to it waits, and the page says so by itself.
    let town = stage.members.iter().position(|member| member.role == "gemeente").unwrap();
    agents.remove(town).stop(PATIENCE).unwrap();
    push(stage, 3);
    seat.sees("1 / 2");
    let told = seat.main();
    assert!(told.contains("Wachtend") && told.contains("Dagen ruimte"), "{told}");
    now_has_a_day(&seat, 3);
    seat.browser.shoot("console-02-nu").unwrap();
    seat.go("/queues");
    seat.sees("Gemeente");
    let told = seat.main();
    assert!(told.contains("nee") && told.contains("Niet verbonden: bel de partner"), "{told}");
    assert!(told.contains("Opnieuw aangeboden"), "{told}");
    seat.browser.shoot("console-03-wachtrijen").unwrap();
    seat.go("/agents");
    let away = agent_row(&seat, stage.member("gemeente").oin.as_str());
    assert!(
        away[1].starts_with("▲ nee") && away[6].starts_with("nog"),
        "its certificate is remembered: {away:?}"
    );
    seat.go("/queues");
    seat.browser.tick("#pause").unwrap();
    let agent = scene.agent("gemeente");
    wait_for_inbox(stage, stage.member("gemeente"), 3);
    assert!(!seat.main().contains("Er wacht niets"), "it stands still while that is asked");
    seat.browser.tick("#pause").unwrap();
    seat.sees("Er wacht niets");

    flows_and_log(&mut seat);
    shut_out(&mut seat, stage);
    export(&mut seat, stage, address);
    let partner = format!("/agents/{}", stage.member("gemeente").oin);
    for path in [
        partner.as_str(),
        "/",
        "/flows",
        "/queues",
        "/refusals",
        "/agents",
        "/log",
        "/log/0",
        "/log/find?kind=accepted",
        "/covenants",
        "/storage",
        "/exports",
        "/acts",
        "/acts/asked",
        "/alarms",
    ] {
        seat.is_for_everybody(path);
    }
    drop(agent);
}

/// The lines of tiles over an hour and a day have their numbers in tables too, with so many packets that wait now.
fn now_has_a_day(seat: &Seat, waiting: u64) {
    let count = |css: &str| {
        let script = format!("return document.querySelectorAll('{css}').length");
        seat.browser.run(&script, &[]).unwrap().as_u64().unwrap()
    };
    assert_eq!((count(".tile .spark"), count("details")), (5, 2), "accepted and refused twice, waiting once");
    assert_eq!(
        (count("details:nth-of-type(1) tbody tr"), count("details:nth-of-type(2) tbody tr")),
        (60, 96)
    );
    let value = "return [...document.querySelectorAll('.tile')].find(one => one.innerText.includes('Wachtend')).querySelector('.value').innerText";
    // The page follows by itself, within a second.
    let waiting = waiting.to_string();
    let shown = || seat.browser.run(value, &[]).unwrap();
    process::until("it says how many wait", PATIENCE, || shown() == waiting.as_str())
        .unwrap_or_else(|error| panic!("{error}: {}", shown()));
}

/// The cells of a partner's row on the page of agents.
fn agent_row(seat: &Seat, oin: &str) -> Vec<String> {
    let script = "return [...document.querySelector(`tbody a[href=\"/agents/${arguments[0]}\"]`).closest('tr').children].map(one => one.innerText)";
    let cells = seat.browser.run(script, &[oin.into()]).unwrap();
    cells.as_array().unwrap().iter().map(|cell| cell.as_str().unwrap().to_owned()).collect()
}

/// What flowed, with whom, and the entries behind it with their proof.
fn flows_and_log(seat: &mut Seat) {
    seat.go("/flows");
    let told = seat.main();
    assert!(
        told.contains("F01") && told.contains("mag, niets gezien") && told.contains("Jongerenwerk"),
        "{told}"
    );
    assert!(seat.browser.has(".picture path").unwrap() && seat.browser.has(".matrix .hour").unwrap());
    seat.browser.shoot("console-04-stromen").unwrap();
    seat.go("/log/find?kind=accepted");
    assert!(seat.main().contains("F01"), "{}", seat.main());
    seat.browser.click("tbody th a").unwrap();
    let told = seat.main();
    assert!(told.contains("\"kind\":\"accepted\"") && told.contains("Controlepunt"), "{told}");
    assert!(seat.browser.has(".path li").unwrap(), "{told}");
    seat.browser.shoot("console-05-logregel").unwrap();
    seat.go("/covenants");
    seat.browser.click("tbody th a").unwrap();
    assert!(seat.main().contains("Wat ze toestaat, in woorden"), "{}", seat.main());
    seat.browser.shoot("console-06-convenant").unwrap();
}

/// A partner's access is revoked with a reason; what it sends after that is refused and shown.
fn shut_out(seat: &mut Seat, stage: &Stage) {
    let youth = stage.member("jongerenwerk");
    seat.go("/agents");
    // Its recipient acknowledged packets and both cosign the log; nothing was offered twice.
    let town = agent_row(seat, stage.member("gemeente").oin.as_str());
    assert!(town[8].contains(" ± ") && town[9] == "0" && town[7].contains("nog"), "{town:?}");
    assert!(town[10] == "bij" || town[10].contains("regels"), "{town:?}");
    seat.browser.shoot("console-07-agenten").unwrap();
    seat.go(&format!("/agents/{}", youth.oin));
    let told = seat.main();
    assert!(
        told.contains("getuigen die overblijven: 1; nodig: 2") && told.contains("niet te halen"),
        "{told}"
    );
    seat.browser.fill("#reason", "Sleutel gestolen, telefonisch gemeld").unwrap();
    seat.browser.shoot("console-08-partner").unwrap();
    seat.browser.click("button.danger").unwrap();
    assert!(seat.main().contains("toegang ingetrokken"), "{}", seat.main());
    assert!(!seat.browser.has("button.danger").unwrap());
    seat.go("/acts");
    seat.sees("Toegang ingetrokken");
    seat.browser.shoot("console-09-beheer").unwrap();
    // Its agent comes back by itself and is turned away, which is an entry.
    seat.go("/refusals");
    seat.sees("204");
    assert!(seat.main().contains("Wat de afzender doet"), "{}", seat.main());
    seat.browser.shoot("console-10-weigeringen").unwrap();
}

/// An export is asked for, made, and fetched as a file.
fn export(seat: &mut Seat, stage: &Stage, address: SocketAddr) {
    seat.go("/exports");
    seat.browser.fill("#purpose", "Onderzoek na een gestolen sleutel").unwrap();
    seat.browser.click("main button").unwrap();
    process::until("the export is ready", PATIENCE, || {
        seat.go("/exports");
        seat.browser.has("td a, th a").unwrap() && seat.main().contains("klaar")
    })
    .unwrap();
    seat.browser.shoot("console-11-exports").unwrap();
    let name = seat.browser.text("tbody th a").unwrap();
    let site = signed_in(stage, address, "Anna de Vries");
    let file = site.get(&format!("/exports/{name}")).unwrap();
    let whole = std::fs::read(stage.broker_home().join("exports").join(&name)).unwrap();
    assert!(file.status == 200 && file.body == whole && whole.starts_with(b"PK"), "{}", file.head);
    let named = format!("attachment; filename=\"{name}\"").to_lowercase();
    assert_eq!(file.field("content-disposition"), named);
    // Who was cut off goes on where that was.
    let rest = site.get_with(&format!("/exports/{name}"), &[("range", "bytes=1000-")]).unwrap();
    assert_eq!((rest.status, rest.body.as_slice()), (206, &whole[1000..]), "{}", rest.head);
}
