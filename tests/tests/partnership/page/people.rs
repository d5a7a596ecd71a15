//! People in Chromium, in which no page runs a script: with the keyboard alone, in both languages, on a small screen.

use std::net::SocketAddr;

use seinhuis_tests::browser::{Browser, CHROMIUM, DOWN, ENTER, SPACE};
use seinhuis_tests::site::Site;
use seinhuis_tests::stage::{FOUR, PATIENCE};
use seinhuis_tests::{Stage, process, samples};

use super::{Two, person};
use crate::common::{town, wait_for_inbox};

/// What is filled in by hand, that must be nowhere but in the message.
const TOLD: &str = "bij de verzonnen muziektent, vanaf elf uur";
const CORRECTED: &str = "de muziektent is een theekoepel";

/// A person at a browser.
pub(super) struct Seat {
    pub(super) browser: Browser,
    site: SocketAddr,
    _profile: tempfile::TempDir,
}

impl Seat {
    pub(super) fn take(site: SocketAddr, lang: &str) -> Self {
        let profile = tempfile::Builder::new().prefix("seinhuis-browser-").tempdir().unwrap();
        let browser = Browser::start(profile.path(), lang).unwrap();
        Self { browser, site, _profile: profile }
    }

    pub(super) fn go(&mut self, path: &str) {
        self.browser.go(&format!("http://{}{path}", self.site)).unwrap();
    }

    pub(super) fn path(&self) -> String {
        let url = self.browser.url().unwrap();
        url.strip_prefix(&format!("http://{}", self.site)).unwrap_or_else(|| panic!("{url}")).to_owned()
    }

    pub(super) fn has(&self, css: &str) -> bool {
        self.browser.has(css).unwrap()
    }

    pub(super) fn main(&self) -> String {
        self.browser.text("main").unwrap()
    }

    pub(super) fn sign_in(&mut self, code: &str) {
        self.go("/");
        self.browser.fill("#code", code).unwrap();
        self.browser.click("main button").unwrap();
        assert!(self.has("nav"), "{}", self.main());
    }

    /// The page that is shown is for everybody: axe finds nothing, in both languages, and it fits a small screen.
    pub(super) fn is_for_everybody(&mut self, name: &str) {
        let path = self.path();
        for _ in 0..2 {
            for width in [1100, 320] {
                self.browser.resize(width, 900).unwrap();
                let lang = self.browser.run("return document.documentElement.lang", &[]).unwrap();
                let found = self.browser.violations().unwrap();
                assert!(found.is_empty(), "{name} ({path}) in {lang} at {width}: {found:#?}");
                let wide = self.browser.run("return document.documentElement.scrollWidth - innerWidth", &[]);
                assert!(
                    wide.unwrap().as_i64().unwrap() <= 0,
                    "{name} ({path}) in {lang} does not fit {width}"
                );
                let small = "return [...document.querySelectorAll('button, a.button, nav a, input[type=radio], input[type=checkbox], select')]\
                    .filter(one => !one.closest('.away')).map(one => [one, one.getBoundingClientRect()])\
                    .filter(([one, box]) => box.width > 1 && (box.width < 24 || box.height < 24)).map(([one]) => one.outerHTML)";
                let small = self.browser.run(small, &[]).unwrap();
                assert_eq!(small, serde_json::json!([]), "{name} ({path}): too small to hit");
            }
            self.browser.resize(1100, 900).unwrap();
            if self.has("form[action=\"/language\"]") {
                self.browser.click("form[action=\"/language\"] button").unwrap();
            } else if self.has(".who a") {
                self.browser.click(".who a").unwrap();
            }
        }
    }

    /// The browser keeps the one cookie, which scripts do not see, and nothing else.
    pub(super) fn keeps_nothing(&self) {
        let cookies = self.browser.cookies().unwrap();
        assert_eq!(cookies.len(), 1, "{cookies:?}");
        assert_eq!((&cookies[0]["name"], &cookies[0]["httpOnly"]), (&"seinhuis".into(), &true.into()));
        assert_eq!(cookies[0]["sameSite"], "Strict");
        let kept = "return [localStorage.length, sessionStorage.length, document.cookie]";
        assert_eq!(self.browser.run(kept, &[]).unwrap(), serde_json::json!([0, 0, ""]));
    }

    pub(super) fn shoot(&self, name: &str) {
        self.browser.shoot(name).unwrap();
    }
}

#[test]
fn people_send_read_correct_withdraw_and_release_in_a_browser_without_scripts() {
    if !CHROMIUM.is_met() {
        return;
    }
    let two = Two::running();
    let stage = &two.scene.stage;
    let names = samples::among(&FOUR).unwrap().into_iter().find(|sample| sample.flow == "F09").unwrap();
    let (_, anna) = person(stage, two.police(), "Anna de Vries", "push,release,cases");
    let (_, bram) = person(stage, two.police(), "Bram Bakker", "release,read");
    let (_, dora) = person(stage, two.town(), "Dora Regisseur", "read,push,cases,decide");
    let mut maker = Seat::take(two.at_police, "nl");
    let mut town = Seat::take(two.at_town, "nl");

    let message = signal_by_keyboard(&mut maker, &anna);
    wait_for_inbox(stage, two.town(), 1);
    read_and_take_over(&mut town, &dora);
    follow(&mut maker, stage, &two, &message, &anna);
    correct(&mut maker, &message);
    town.go("/inbox/0");
    town.browser.wait_for("gecorrigeerd door de afzender").unwrap();
    withdraw(&mut maker, &message);
    town.go("/inbox/0");
    town.browser.wait_for("De afzender heeft dit bericht ingetrokken").unwrap();
    assert!(!town.main().contains(TOLD), "a body that was withdrawn is not shown");
    town.is_for_everybody("a message that was withdrawn");

    stage.prepare(&names).unwrap();
    four_eyes(&mut maker, &two, &names, &bram);
    town.go("/cases");
    town.is_for_everybody("cases");
    town.browser.click("main table a").unwrap();
    town.browser.wait_for("2B").unwrap();
    town.is_for_everybody("a case");
    town.shoot("10-zaak");

    for seat in [&maker, &town] {
        for url in &seat.browser.visited {
            for word in ["muziektent", "theekoepel", "Anna", "Timo", "parkeerkelder"] {
                assert!(!url.contains(word), "{url}");
            }
        }
        seat.keeps_nothing();
    }
    two.is_not_told(&[TOLD, CORRECTED, "muziektent", &anna, &bram, &dora, "Anna de Vries", &names.canary]);
}

/// Signs in without a mouse, with a wrong code first.
fn sign_in_by_keyboard(seat: &mut Seat, code: &str) {
    seat.go("/");
    seat.is_for_everybody("signing in");
    seat.go("/");
    seat.shoot("01-aanmelden");
    seat.browser.tab_to("#code").unwrap();
    seat.browser.press("x").unwrap();
    seat.browser.press(ENTER).unwrap();
    assert!(seat.has("#code-error"), "{}", seat.main());
    seat.is_for_everybody_here();
    seat.browser.tab_to("#code").unwrap();
    seat.browser.press(code).unwrap();
    seat.browser.press(ENTER).unwrap();
    assert!(seat.has("nav"), "{}", seat.main());
    seat.is_for_everybody("the start");
    seat.shoot("02-begin");
}

/// Signs in, fills a form in and sends it, without a mouse. The path of the message.
fn signal_by_keyboard(seat: &mut Seat, code: &str) -> String {
    sign_in_by_keyboard(seat, code);
    seat.browser.tab_to("nav a[href='/new']").unwrap();
    seat.browser.press(ENTER).unwrap();
    seat.is_for_everybody("what can be sent");
    seat.browser.tab_to("main a[href*='/F02/']").unwrap();
    seat.browser.press(ENTER).unwrap();
    assert!(seat.path().contains("/F02/signaal_groepsgedrag"), "{}", seat.path());
    seat.is_for_everybody("a form");

    // Enter in a field is a look, which says what is missing.
    seat.browser.tab_to("[name='/toelichting']").unwrap();
    seat.browser.press(TOLD).unwrap();
    seat.browser.tab_to("[name='/aantal_meldingen']").unwrap();
    seat.browser.press(&format!("veel{ENTER}")).unwrap();
    assert!(seat.has(".errors a[href='#f.locatie.wijk']"), "{}", seat.main());
    assert_eq!(seat.browser.run("return document.activeElement.className", &[]).unwrap(), "errors");
    seat.is_for_everybody_here();
    seat.shoot("03-formulier-met-fouten");

    let typed = |seat: &mut Seat, name: &str, text: &str| {
        seat.go_to_field(name);
        seat.browser.press(text).unwrap();
    };
    for (name, text) in [
        // What is in a field is chosen when the keyboard comes to it.
        ("/aantal_meldingen", "12"),
        ("/locatie/gemeente", "Voorbeeldstad"),
        ("/locatie/plek", "muziektent"),
        ("/locatie/wijk", "De Zonnewijzer"),
        ("/omvang/maximaal", "20"),
        ("/omvang/minimaal", "10"),
        // The same day and month, however a browser orders them.
        ("/tijd/sinds", "05052026"),
    ] {
        typed(seat, name, text);
    }
    for (name, value) in [("/gedrag", "geluid"), ("/tijd/dagdelen", "avond"), ("/tijd/weekdagen", "vr")] {
        seat.browser.tab_to(&format!("[name='{name}'][value='{value}']")).unwrap();
        seat.browser.press(SPACE).unwrap();
    }
    for name in ["/leeftijdsband", "/kanaal"] {
        seat.go_to_field(name);
        seat.browser.press(&format!("{SPACE}{DOWN}")).unwrap();
    }
    seat.shoot("04-formulier");
    seat.browser.tab_to("main form > button:last-of-type").unwrap();
    seat.browser.press(ENTER).unwrap();
    assert!(seat.has("button[value='send']"), "{}", seat.main());
    assert!(seat.main().contains(TOLD), "{}", seat.main());
    seat.shoot("05-controleren");
    seat.is_for_everybody_here();
    seat.browser.tab_to("button[value='edit']").unwrap();
    seat.browser.press(ENTER).unwrap();
    assert!(seat.has("[name='/toelichting']"));
    seat.browser.tab_to("main form > button:last-of-type").unwrap();
    seat.browser.press(ENTER).unwrap();
    seat.browser.tab_to("button[value='send']").unwrap();
    seat.browser.press(ENTER).unwrap();
    let path = seat.path();
    assert!(path.starts_with("/sent/"), "{path}: {}", seat.main());
    seat.browser.wait_for("Aangenomen door de broker").unwrap();
    path
}

impl Seat {
    /// Goes to the first field of a name with the keyboard.
    fn go_to_field(&mut self, name: &str) {
        self.browser.tab_to(&format!("[name='{name}']")).unwrap();
    }
}

fn read_and_take_over(seat: &mut Seat, code: &str) {
    seat.sign_in(code);
    seat.go("/inbox");
    seat.is_for_everybody("the inbox");
    seat.shoot("06-ontvangen");
    seat.browser.click("main table a").unwrap();
    let main = seat.main();
    assert!(main.contains(TOLD) && main.contains("nog 90 dagen"), "{main}");
    seat.is_for_everybody("a message received");
    seat.shoot("07-bericht");
    seat.browser.click("form[action$='/consumed'] button").unwrap();
    assert!(seat.main().contains("overgenomen"), "{}", seat.main());
    assert!(!seat.has("form[action$='/consumed']"));
    // Answering begins with a choice of what the covenant has for that.
    seat.browser.click("a[href*='answers=']").unwrap();
    seat.browser.click("main a[href*='/F41/ontvangstbevestiging']").unwrap();
    assert!(seat.has("input[name='answers'][value]:not([value=''])"), "{}", seat.main());
}

/// Follows a message, in English, and looks at its receipt.
fn follow(seat: &mut Seat, stage: &Stage, two: &Two, message: &str, code: &str) {
    seat.go(message);
    seat.browser.wait_for("overgenomen door de ontvanger").unwrap();
    seat.is_for_everybody("a message sent");
    seat.shoot("08-verstuurd");
    seat.go("/sent");
    seat.is_for_everybody("what was sent");
    seat.go(&format!("{message}/receipt"));
    assert!(seat.main().contains("Wat bewijst dit?"), "{}", seat.main());
    seat.is_for_everybody("a receipt");
    seat.browser.click("form[action='/language'] button").unwrap();
    assert_eq!(seat.path(), format!("{message}/receipt"));
    assert!(seat.main().contains("What does this prove?"), "{}", seat.main());
    assert_eq!(seat.browser.run("return document.documentElement.lang", &[]).unwrap(), "en");
    seat.shoot("09-receipt");
    seat.browser.click("form[action='/language'] button").unwrap();

    let saved =
        Site::signed_in(two.at_police, code).unwrap().get(&format!("{message}/receipt/file")).unwrap();
    assert!(saved.field("content-disposition").starts_with("attachment"), "{}", saved.head);
    let file = stage.dir.join("receipt");
    std::fs::write(&file, saved.text()).unwrap();
    let proved = stage.agent(two.police(), &["receipt", "verify", &file.to_string_lossy()]).unwrap();
    assert_eq!(proved["recipients"][0]["steps"][2]["kind"], "consumed", "{proved}");
}

fn correct(seat: &mut Seat, message: &str) {
    seat.go(&format!("{message}/correction"));
    seat.is_for_everybody("a correction");
    seat.browser.fill("[name='/velden/0']", "/toelichting").unwrap();
    seat.browser.click("main form > button:last-of-type").unwrap();
    assert!(seat.has(".errors a[href='#f.reden']"), "{}", seat.main());
    // One row more and one less, without a script.
    seat.browser.click("button[value='add:/velden']").unwrap();
    assert!(seat.has("[name='/velden/1']"));
    seat.browser.click("button[value='drop:/velden/1']").unwrap();
    assert!(!seat.has("[name='/velden/1']"));
    seat.browser.tick("[name='/reden'][value='onjuist']").unwrap();
    seat.browser.fill("[name='/toelichting']", CORRECTED).unwrap();
    seat.browser.tab_to("[name='/reden'][value='onjuist']").unwrap();
    seat.browser.press(ENTER).unwrap();
    assert!(seat.main().contains(CORRECTED), "Enter leads to a look at it: {}", seat.main());
    seat.is_for_everybody_here();
    seat.browser.click("button[value='send']").unwrap();
    assert_eq!(seat.path(), message, "{}", seat.main());
    process::until("the recipient confirms", PATIENCE, || {
        seat.go(message);
        let main = seat.main();
        main.contains("bevestigd") && !main.contains("nog niet bevestigd")
    })
    .unwrap();
    seat.go("/corrections");
    seat.is_for_everybody("corrections");
}

fn withdraw(seat: &mut Seat, message: &str) {
    seat.go(message);
    seat.browser.click("a[href$='/withdrawal']").unwrap();
    seat.is_for_everybody("a withdrawal");
    seat.browser.tick("[name='/reden'][value='onjuist']").unwrap();
    seat.browser.click("main form > button:last-of-type").unwrap();
    assert!(seat.has("button[value='edit']"), "it is looked at first: {}", seat.main());
    seat.browser.click("button[value='send']").unwrap();
    assert_eq!(seat.path(), message, "{}", seat.main());
    assert!(seat.main().contains("intrekking"), "{}", seat.main());
}

/// Anna makes a message about persons, which she may not release; Bram does.
fn four_eyes(maker: &mut Seat, two: &Two, names: &samples::Sample, bram: &str) {
    let case = names.value["case"].as_str().unwrap();
    // Nothing of this case came in here yet: its pseudonym is known from the coordinator.
    maker.go(&format!("/new?case={case}"));
    maker.browser.click("main a[href*='/F09/']").unwrap();
    maker.browser.fill("[name='/noodzaak']", &names.canary).unwrap();
    maker.browser.fill("[name='/personen/0/zaakpersoon']", "P01").unwrap();
    maker.browser.fill("[name='/personen/0/naam']", "Timo Verzonnen").unwrap();
    maker.browser.tab_to("[name='/personen/0/geboortedatum']").unwrap();
    maker.browser.press("04042008").unwrap();
    maker.is_not_lost();
    maker.browser.click("main form > button:last-of-type").unwrap();
    assert!(maker.has("button[value='send']"), "{}", maker.main());
    maker.browser.click("button[value='send']").unwrap();
    assert!(maker.main().contains("Wacht op vrijgave"), "{}", maker.main());
    let id = maker.path().rsplit('/').next().unwrap().to_owned();
    maker.go("/release");
    maker.is_for_everybody("what waits for release");
    maker.browser.click("main table a").unwrap();
    assert!(maker.main().contains("U maakte dit bericht zelf"), "{}", maker.main());
    assert!(!maker.has("[name='decision']"));

    let mut other = Seat::take(two.at_police, "en");
    other.sign_in(bram);
    other.go(&format!("/release/{id}"));
    assert!(
        other.main().contains(&names.canary) && other.main().contains("Anna de Vries"),
        "{}",
        other.main()
    );
    other.is_for_everybody("a message that waits");
    other.shoot("11-release");
    other.browser.tick("#deny").unwrap();
    other.browser.click("main form button").unwrap();
    assert!(other.has("#reason-error"), "{}", other.main());
    other.is_for_everybody_here();
    other.browser.tick("#approve").unwrap();
    other.browser.fill("#reason", "akkoord").unwrap();
    other.browser.click("main form button").unwrap();
    assert_eq!(other.path(), format!("/sent/{id}"), "{}", other.main());
    assert!(other.main().contains("released by Bram Bakker"), "{}", other.main());
    other.browser.wait_for("Accepted by the broker").unwrap();
    other.keeps_nothing();
    other.browser.click("form[action='/sign-out'] button").unwrap();
    other.go(&format!("/sent/{id}"));
    assert!(other.has("#code"), "signed out");
}

impl Seat {
    /// What is filled in stays when a row is added.
    fn is_not_lost(&mut self) {
        self.browser.click("button[value='add:/personen']").unwrap();
        let kept = "return [document.getElementsByName('/personen/0/naam')[0].value, document.getElementsByName('/personen/0/geboortedatum')[0].value]";
        assert_eq!(self.browser.run(kept, &[]).unwrap(), serde_json::json!(["Timo Verzonnen", "2008-04-04"]));
        self.is_for_everybody_here();
        self.browser.click("button[value='drop:/personen/1']").unwrap();
    }

    /// As [`Seat::is_for_everybody`], of a page that is the answer to a form: in one language.
    pub(super) fn is_for_everybody_here(&self) {
        let found = self.browser.violations().unwrap();
        assert!(found.is_empty(), "{found:#?}");
    }
}

/// The sample's own words are not used by the people of this test.
#[test]
fn what_people_fill_in_here_is_nobody_elses() {
    assert!(!town::sample("F02").value.to_string().contains("muziektent"));
}
