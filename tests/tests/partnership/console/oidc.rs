//! Signing in at an OpenID provider: a real one, on this machine.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use seinhuis_tests::browser::{Browser, CHROMIUM};
use seinhuis_tests::needs::Need;
use seinhuis_tests::site::{Site, form, hidden};
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Stage, ports, process};
use serde_json::{Value, json};

use super::Account;
use crate::common::Scene;

const PROVIDER: Need = Need {
    required: "SEINHUIS_OIDC_REQUIRED",
    missing: || {
        let there = Command::new("python3").args(["-c", "import oidc_provider_mock"]).output();
        let there = there.is_ok_and(|ran| ran.status.success());
        (!there).then(|| {
            "this test needs oidc-provider-mock: python3 -m pip install oidc-provider-mock".to_owned()
        })
    },
};
const SECRET: &str = "geheim-van-de-console";

/// The provider, which ends with this.
struct Provider {
    program: Child,
    address: SocketAddr,
}

impl Drop for Provider {
    fn drop(&mut self) {
        _ = self.program.kill();
        _ = self.program.wait();
    }
}

impl Provider {
    /// Starts one that knows these people: what it says of each.
    fn start(people: &[Value]) -> Self {
        let address = ports::free().unwrap();
        let mut command = Command::new("python3");
        command.args(["-m", "oidc_provider_mock", "--port", &address.port().to_string(), "--require-nonce"]);
        for person in people {
            command.args(["--user-claims", &person.to_string()]);
        }
        let program =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let provider = Self { program, address };
        let site = Site::new(address);
        process::until("the provider answers", PATIENCE, || {
            site.client.get("/.well-known/openid-configuration").is_ok_and(|answer| answer.status == 200)
        })
        .unwrap();
        provider
    }

    /// Has the broker send people here, from its next start on.
    fn configure(&self, stage: &Stage, more: &str) -> SocketAddr {
        use std::os::unix::fs::PermissionsExt as _;
        let secret = stage.broker_home().join("oidc.secret");
        fs::write(&secret, SECRET).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let (address, issuer) = (ports::free().unwrap(), format!("http://127.0.0.1:{}", self.address.port()));
        stage
            .configure(&format!(
                "\n[console]\nlisten = \"{address}\"\n{more}\n[console.oidc]\nissuer = \"{issuer}\"\nclient_id = \"seinhuis\"\n\
                 secret_file = \"oidc.secret\"\n[console.oidc.roles]\nbeheer = \"operator\"\nlezers = \"viewer\"\n"
            ))
            .unwrap();
        address
    }

    /// Somebody agrees at the address that the console led to: where the provider leads back to, without the origin.
    fn agrees(&self, place: &str, as_whom: &str) -> String {
        let path = place.split_once(&self.address.to_string()).unwrap().1;
        let fields = [("content-type", "application/x-www-form-urlencoded")];
        let sent = raw(self.address, "POST", path, &fields, as_whom);
        let back = of(&sent, "Location");
        back[back.find("/sign-in/back").unwrap_or_else(|| panic!("{sent}"))..].to_owned()
    }
}

/// A request, and the answer as it is: its head is not made lower case.
fn raw(address: SocketAddr, method: &str, path: &str, fields: &[(&str, &str)], text: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = Site::new(address).client.request(method, path, fields, text);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The value of a header field of an answer as it is.
fn of<'a>(answer: &'a str, name: &str) -> &'a str {
    let found = answer.lines().filter_map(|line| line.split_once(": "));
    let mut own = found.filter(|(own, _)| own.eq_ignore_ascii_case(name));
    own.next().map_or("", |(_, value)| value)
}

/// The cookie of this name that an answer sets, with its name.
fn cookie(answer: &str, name: &str) -> String {
    let start = format!("set-cookie: {name}=");
    let line = answer.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{answer}"));
    line.trim_start_matches("set-cookie: ").split(';').next().unwrap().to_owned()
}

/// A browser that was led to the provider.
struct Led {
    cookie: String,
    place: String,
}

impl Led {
    fn new(console: SocketAddr) -> Self {
        let answer = raw(console, "GET", "/sign-in/provider", &[("sec-fetch-site", "same-origin")], "");
        assert!(answer.starts_with("HTTP/1.1 303 "), "{answer}");
        assert!(answer.contains("Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"), "{answer}");
        Self { cookie: cookie(&answer, "__Host-seinhuis-sign-in"), place: of(&answer, "location").to_owned() }
    }

    /// Comes back along the way of the provider, as browsers say it.
    fn back(&self, console: SocketAddr, path: &str) -> String {
        let fields = [("cookie", self.cookie.as_str()), ("sec-fetch-site", "cross-site")];
        raw(console, "GET", path, &fields, "")
    }
}

fn people() -> Vec<Value> {
    vec![
        json!({ "sub": "u-1", "preferred_username": "anna", "roles": ["medewerker", "beheer"] }),
        json!({ "sub": "u-2", "email": "lies@gemeente.example", "roles": "lezers" }),
        json!({ "sub": "u-3", "preferred_username": "vreemd", "roles": ["medewerker"] }),
    ]
}

#[test]
fn people_sign_in_at_the_provider_and_have_the_role_that_it_gives() {
    if !PROVIDER.is_met() {
        return;
    }
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let provider = Provider::start(&people());
    let console = provider.configure(stage, "");
    let broker = scene.broker();
    let page = Site::new(console).get("/").unwrap().text();
    assert!(page.contains("Aanmelden bij 127.0.0.1") && page.contains("name=\"code\""), "{page}");
    let (mut told, mut signed_in) = (Vec::new(), Vec::new());
    for (sub, name, role) in
        [("u-1", "anna (127.0.0.1)", "beheerder"), ("u-2", "lies@gemeente.example (127.0.0.1)", "lezer")]
    {
        let led = Led::new(console);
        assert!(led.place.contains("code_challenge_method=S256"), "{}", led.place);
        let back = provider.agrees(&led.place, &form(&[("sub", sub)]));
        let answer = led.back(console, &back);
        assert!(answer.starts_with("HTTP/1.1 200 ") && of(&answer, "refresh") == "0; url=/", "{answer}");
        assert!(answer.contains("SameSite=Strict\r\n"), "{answer}");
        assert_eq!(cookie(&answer, "__Host-seinhuis-sign-in"), "__Host-seinhuis-sign-in=", "it is over");
        let mut site = Site::new(console);
        site.cookie = cookie(&answer, "__Host-seinhuis");
        let page = site.get("/queues").unwrap().text();
        assert!(page.contains(&format!("{name}, {role}")), "{page}");
        site.token = hidden(&page, "token");
        // The same way back again is nothing.
        assert!(led.back(console, &back).starts_with("HTTP/1.1 400 "));
        told.push(back.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned());
        signed_in.push(site);
    }
    let path = format!("/agents/{}", stage.member("politie").oin);
    let [anna, lies] = &signed_in[..] else { panic!("two people") };
    let act = |key: &str| {
        [("do", "revoke"), ("reason", "Telefonisch gemeld"), ("key", key)].map(|(a, b)| (a, b.to_owned()))
    };
    let post = |site: &Site| {
        let fields = act(&hidden(&anna.get(&path).unwrap().text(), "key"));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        site.post(&path, &fields).unwrap().status
    };
    assert_eq!((post(lies), post(anna)), (403, 303));
    let book = fs::read_to_string(stage.broker_home().join("console-acts.jsonl")).unwrap();
    assert!(book.contains("\"who\":\"anna (127.0.0.1)\""), "{book}");
    assert_eq!(lies.post("/sign-out", &[]).unwrap().field("location"), "/");
    assert_eq!(lies.get("/queues").unwrap().status, 401);

    let log = fs::read_to_string(stage.log_of("broker")).unwrap();
    let secrets = [SECRET, "anna", "lies@", "u-1", &anna.token, anna.cookie.split('=').nth(1).unwrap()];
    for word in secrets.iter().copied().chain(told.iter().map(String::as_str)) {
        assert!(!log.contains(word), "the log tells {word}");
    }
    broker.stop(PATIENCE).unwrap();
}

#[test]
fn who_has_no_role_no_cookie_or_another_state_gets_nowhere() {
    if !PROVIDER.is_met() {
        return;
    }
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let provider = Provider::start(&people());
    let console = provider.configure(stage, "local = false");
    let bea = Account::new(stage, "Bea", "operator");
    let _broker = scene.broker();
    let nobody = |answer: &str, status: &str, words: &str| {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(words), "{answer}");
        assert!(!answer.contains("set-cookie: __Host-seinhuis="), "{answer}");
    };
    let led = Led::new(console);
    let back = provider.agrees(&led.place, &form(&[("sub", "u-3")]));
    nobody(&led.back(console, &back), "403", "U hebt geen rol op deze console.");

    let (led, other) = (Led::new(console), Led::new(console));
    let denied = provider.agrees(&led.place, &form(&[("action", "deny")]));
    // This provider leaves the state out where somebody says no.
    nobody(&led.back(console, &denied), "400", "niet in deze browser begonnen");
    let state = led.place.split("state=").nth(1).unwrap().split('&').next().unwrap();
    nobody(&led.back(console, &format!("{denied}&state={state}")), "403", "geweigerd");
    let led = Led::new(console);
    let back = provider.agrees(&led.place, &form(&[("sub", "u-1")]));
    nobody(&other.back(console, &back), "400", "niet in deze browser begonnen");
    nobody(&raw(console, "GET", &back, &[], ""), "400", "niet in deze browser begonnen");
    nobody(&led.back(console, &back.replace("state=", "state=x")), "400", "niet in deze browser begonnen");
    nobody(&led.back(console, "/sign-in/back"), "400", "niet in deze browser begonnen");
    nobody(&led.back(console, &format!("{back}&x={}", "x".repeat(9000))), "400", "begonnen");
    // Another site leads nowhere else, nor begins anything.
    nobody(&led.back(console, "/sign-in/provider"), "403", "andere site");
    nobody(&led.back(console, "/queues"), "403", "andere site");
    let posted =
        raw(console, "POST", &back, &[("sec-fetch-site", "cross-site"), ("cookie", &led.cookie)], "a=b");
    nobody(&posted, "403", "andere site");
    assert!(led.back(console, &back).starts_with("HTTP/1.1 200 "), "after all that it is still right");

    // Accounts do not count; a code for one sign-in does.
    let stranger = Site::new(console);
    let page = stranger.get("/").unwrap().text();
    assert!(page.contains("Eenmalige code") && !page.contains("name=\"code\""), "{page}");
    let code = bea.code(0);
    let right = [("name", "Bea"), ("password", bea.password.as_str()), ("code", code.as_str())];
    assert_eq!(stranger.post("/sign-in", &right).unwrap().status, 401);
    let made = stage.broker(&["operator", "login", "Bea"]).unwrap();
    assert_eq!(
        stranger.post("/sign-in", &[("name", "Bea"), ("password", text(&made, "code"))]).unwrap().status,
        303
    );

    // The provider goes away: it is said whose fault that is, and nobody is in.
    let led = Led::new(console);
    let back = provider.agrees(&led.place, &form(&[("sub", "u-1")]));
    drop(provider);
    nobody(&led.back(console, &back), "502", "aanmelddienst");
}

#[test]
fn a_real_browser_is_led_to_the_provider_and_back() {
    if !PROVIDER.is_met() || !CHROMIUM.is_met() {
        return;
    }
    let scene = Scene::unwatched(&["gemeente", "politie"]);
    let stage = &scene.stage;
    let provider = Provider::start(&people());
    let console = provider.configure(stage, "");
    let _broker = scene.broker();
    let profile = tempfile::Builder::new().prefix("seinhuis-browser-").tempdir().unwrap();
    let mut browser = Browser::start_with_scripts(profile.path(), "nl").unwrap();
    // Another site than the provider's, as it is in earnest: cookies that are bound to one site know the difference.
    browser.go(&format!("http://localhost:{}/", console.port())).unwrap();
    assert!(browser.violations().unwrap().is_empty(), "{:?}", browser.violations());
    browser.shoot("aanmelden-bij").unwrap();
    browser.click("main a.button").unwrap();
    assert!(browser.url().unwrap().starts_with(&format!("http://{}", provider.address)));
    browser.tick("button[value=\"u-1\"]").unwrap();
    process::until("the console is there", PATIENCE, || browser.has("nav").is_ok_and(|there| there)).unwrap();
    assert_eq!(browser.url().unwrap(), format!("http://localhost:{}/", console.port()));
    assert!(browser.text("header").unwrap().contains("anna (127.0.0.1), beheerder"));
    let cookies = browser.cookies().unwrap();
    let kept: Vec<_> = cookies.iter().map(|one| (text(one, "name"), text(one, "sameSite"))).collect();
    assert_eq!(kept, [("__Host-seinhuis", "Strict")]);
}
