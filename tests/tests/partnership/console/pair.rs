//! What two people do in their browsers: one takes up an alarm and asks for an act, the other agrees to it.

use seinhuis_tests::browser::CHROMIUM;

use super::day::Seat;
use super::{Account, last_act, open_with};
use crate::common::Scene;

#[test]
fn an_alarm_is_taken_up_and_an_act_is_done_by_two_people_in_their_browsers() {
    if !CHROMIUM.is_met() {
        return;
    }
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let address = open_with(stage, "four_eyes = [\"partner-suspend\"]\n");
    stage.configure("\n[alerts.limits]\ncertificate_days = 36500\n").unwrap();
    let [anna, bram] = ["Anna de Vries", "Bram Jansen"].map(|name| Account::new(stage, name, "operator"));
    let _broker = scene.broker();
    let _agents = scene.agents();
    let mut asks = Seat::take(address);
    asks.sign_in(&anna);

    // It is looked for every five seconds.
    asks.go("/alarms");
    asks.sees("Het certificaat van de broker verloopt");
    asks.browser.shoot("console-12-alarmen").unwrap();
    asks.browser.fill("main textarea", "Nieuw certificaat is aangevraagd").unwrap();
    asks.browser.click("main form button").unwrap();
    assert!(asks.main().contains("● ja"), "{}", asks.main());

    let police = format!("/agents/{}", stage.member("politie").oin);
    asks.go(&police);
    asks.browser.fill("#suspend-reason", "Onderhoud bij de politie").unwrap();
    asks.browser.click("form:has(#suspend-reason) button").unwrap();
    let told = asks.main();
    assert!(
        told.contains("Gevraagd door") && told.contains("Trek in") && !told.contains("Akkoord"),
        "{told}"
    );

    let mut agrees = Seat::take(address);
    agrees.sign_in(&bram);
    agrees.go("/acts");
    // Above what is made anew several times a second: a link in there can be another one by the time it is pressed.
    agrees.browser.click("nav a[href=\"/acts/asked\"]").unwrap();
    agrees.browser.dark(true).unwrap();
    agrees.browser.fill("main textarea", "Besproken met Anna").unwrap();
    agrees.browser.shoot("console-13-tweede").unwrap();
    agrees.browser.click("button.danger").unwrap();
    assert!(agrees.main().contains("Er wacht niets op een tweede"), "{}", agrees.main());
    assert_eq!(last_act(stage).detail.as_deref(), Some("suspended"));
    agrees.go(&police);
    assert!(agrees.main().contains("toegang opgeschort"), "{}", agrees.main());
    agrees.go("/");
    agrees.browser.shoot("console-14-donker").unwrap();
}
