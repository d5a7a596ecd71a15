//! A real browser: Chromium, driven over WebDriver (W3C WebDriver 2) by Debian's chromedriver. Scripts of pages do not
//! run in it unless that is asked; what tests ask of it does.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::http::Client;
use crate::needs::Need;
use crate::ports;
use crate::process;

/// How long anything in the browser may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// The name that WebDriver gives to an element in JSON (§12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Keys as WebDriver names them (§17.4.2).
pub const TAB: &str = "\u{e004}";
/// The Enter key.
pub const ENTER: &str = "\u{e007}";
/// The space bar.
pub const SPACE: &str = " ";
/// The arrow key down.
pub const DOWN: &str = "\u{e015}";

/// Chromium with its driver, and the file of axe-core that `SEINHUIS_AXE` names.
pub const CHROMIUM: Need = Need {
    required: "SEINHUIS_CHROMIUM_REQUIRED",
    missing: || {
        let there = |program: &str| {
            let ran = Command::new(program).arg("--version").output();
            ran.is_ok_and(|ran| ran.status.success())
        };
        let all = there("chromium") && there("chromedriver") && axe().is_some_and(|path| path.is_file());
        (!all).then(|| {
            "this test needs chromium and chromium-driver, and SEINHUIS_AXE with the path of axe.min.js (npm install axe-core)".to_owned()
        })
    },
};

/// The file of axe-core.
pub fn axe() -> Option<PathBuf> {
    std::env::var_os("SEINHUIS_AXE").map(PathBuf::from)
}

/// A browser with one window; it ends with this.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    client: Client,
    session: String,
    /// Every address that was shown.
    pub visited: Vec<String>,
    axe: String,
    /// Whether pages run scripts.
    runs: bool,
}

impl Browser {
    /// Starts one that says it reads a language, with its own profile in `dir`.
    ///
    /// # Errors
    /// When a program does not start, or does not answer.
    pub fn start(dir: &Path, lang: &str) -> io::Result<Self> {
        let address = ports::free()?;
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let axe = axe().map(std::fs::read_to_string).transpose()?.unwrap_or_default();
        let client = Client { address, token: String::new() };
        let mut browser =
            Self { driver, client, session: String::new(), visited: Vec::new(), axe, runs: false };
        let begun = Instant::now();
        while browser.client.get("/status").is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other("chromedriver does not answer"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let profile = dir.join("browser");
        let profile = format!("--user-data-dir={}", profile.display());
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--window-size=1100,900",
            &profile,
        ];
        let prefs = json!({ "intl.accept_languages": lang });
        let options = json!({ "binary": "/usr/bin/chromium", "args": args, "prefs": prefs });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": options });
        let made = browser.call("POST", "/session", &json!({ "capabilities": { "alwaysMatch": wanted } }))?;
        made["sessionId"].as_str().unwrap_or_default().clone_into(&mut browser.session);
        browser.scripts(false)?;
        Ok(browser)
    }

    /// As [`Browser::start`], for pages that run scripts.
    ///
    /// # Errors
    /// As [`Browser::start`].
    pub fn start_with_scripts(dir: &Path, lang: &str) -> io::Result<Self> {
        let mut browser = Self::start(dir, lang)?;
        browser.runs = true;
        browser.scripts(true)?;
        Ok(browser)
    }

    /// Lets pages run scripts, or not.
    fn scripts(&self, run: bool) -> io::Result<()> {
        self.emulate("setScriptExecutionDisabled", &json!({ "value": !run }))
    }

    /// Has pages meet something else than there is (Chrome `DevTools` Protocol, *Emulation*).
    fn emulate(&self, what: &str, params: &Value) -> io::Result<()> {
        let command = json!({ "cmd": format!("Emulation.{what}"), "params": params });
        self.post("goog/cdp/execute", &command).map(drop)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> io::Result<Value> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.client.ask(method, path, &[], &text)?;
        let value = answer.json()["value"].take();
        if answer.status == 200 {
            Ok(value)
        } else {
            Err(io::Error::other(format!("{method} {path}: {value}")))
        }
    }

    fn get(&self, what: &str) -> io::Result<Value> {
        self.call("GET", &format!("/session/{}/{what}", self.session), &Value::Null)
    }

    fn post(&self, what: &str, body: &Value) -> io::Result<Value> {
        self.call("POST", &format!("/session/{}/{what}", self.session), body)
    }

    /// Goes to an address.
    ///
    /// # Errors
    /// When the browser does not.
    pub fn go(&mut self, url: &str) -> io::Result<()> {
        self.post("url", &json!({ "url": url }))?;
        self.note()
    }

    /// Keeps the address that is shown now.
    fn note(&mut self) -> io::Result<()> {
        let url = self.url()?;
        self.visited.push(url);
        Ok(())
    }

    /// The address that is shown.
    ///
    /// # Errors
    /// When the browser does not say.
    pub fn url(&self) -> io::Result<String> {
        Ok(self.get("url")?.as_str().unwrap_or_default().to_owned())
    }

    fn element(&self, css: &str) -> io::Result<String> {
        let found = self.post("element", &json!({ "using": "css selector", "value": css }))?;
        found[ELEMENT].as_str().map(str::to_owned).ok_or_else(|| io::Error::other(format!("no {css}")))
    }

    /// Whether there is something that a CSS selector finds.
    ///
    /// # Errors
    /// When the browser does not say.
    pub fn has(&self, css: &str) -> io::Result<bool> {
        let found = self.post("elements", &json!({ "using": "css selector", "value": css }))?;
        Ok(found.as_array().is_some_and(|all| !all.is_empty()))
    }

    /// Clicks on what leads to another page, and waits for that.
    ///
    /// # Errors
    /// When there is nothing to click on, or no other page comes.
    pub fn click(&mut self, css: &str) -> io::Result<()> {
        self.next_page(|browser| browser.tick(css))
    }

    /// Clicks on what stays on this page.
    ///
    /// # Errors
    /// When there is nothing to click on.
    pub fn tick(&mut self, css: &str) -> io::Result<()> {
        let element = self.element(css)?;
        self.post(&format!("element/{element}/click"), &json!({})).map(drop)
    }

    /// Does something, and waits for the page that it leads to.
    fn next_page(&mut self, act: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        self.run("window.isOld = true", &[])?;
        act(self)?;
        process::until("another page comes", PATIENCE, || {
            // While it comes there may be no page to ask.
            let here = self.run("return !window.isOld && document.readyState === 'complete'", &[]);
            here.is_ok_and(|here| here == true)
        })?;
        self.note()
    }

    /// Types into a field, in the place of what is in it.
    ///
    /// # Errors
    /// When there is no such field.
    pub fn fill(&mut self, css: &str, text: &str) -> io::Result<()> {
        let element = self.element(css)?;
        self.post(&format!("element/{element}/clear"), &json!({}))?;
        self.post(&format!("element/{element}/value"), &json!({ "text": text })).map(drop)
    }

    /// The text that is shown of an element.
    ///
    /// # Errors
    /// When it is not there.
    pub fn text(&self, css: &str) -> io::Result<String> {
        let element = self.element(css)?;
        Ok(self.get(&format!("element/{element}/text"))?.as_str().unwrap_or_default().to_owned())
    }

    /// Presses keys, where the focus is. [`ENTER`] leads to another page, which is waited for.
    ///
    /// # Errors
    /// When the browser does not.
    pub fn press(&mut self, keys: &str) -> io::Result<()> {
        if keys.ends_with(ENTER) { self.next_page(|browser| browser.keys(keys)) } else { self.keys(keys) }
    }

    fn keys(&self, keys: &str) -> io::Result<()> {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
            })
            .collect();
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.post("actions", &body).map(drop)
    }

    /// Presses Tab until the focus is on what a CSS selector finds.
    ///
    /// # Errors
    /// When it never is.
    pub fn tab_to(&mut self, css: &str) -> io::Result<()> {
        let script = format!("return document.activeElement.matches({})", Value::from(css));
        for _ in 0..150 {
            self.keys(TAB)?;
            if self.run(&script, &[])? == true {
                return Ok(());
            }
        }
        Err(io::Error::other(format!("the keyboard never comes to {css}")))
    }

    /// Has the browser itself run a script; those of pages do not run.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, script: &str, args: &[Value]) -> io::Result<Value> {
        self.post("execute/sync", &json!({ "script": script, "args": args }))
    }

    /// Waits, with the page anew each time, until its text has these words.
    ///
    /// # Errors
    /// When it never has.
    pub fn wait_for(&mut self, words: &str) -> io::Result<()> {
        let said = process::until(words, PATIENCE, || {
            _ = self.post("refresh", &json!({}));
            self.text("main").is_ok_and(|text| text.contains(words))
        });
        said.map_err(|error| io::Error::other(format!("{error}: {}", self.text("main").unwrap_or_default())))
    }

    /// The cookies that the browser keeps for the site that is shown.
    ///
    /// # Errors
    /// When it does not say.
    pub fn cookies(&self) -> io::Result<Vec<Value>> {
        Ok(self.get("cookie")?.as_array().cloned().unwrap_or_default())
    }

    /// Makes the window as wide as this.
    ///
    /// # Errors
    /// When the browser does not.
    pub fn resize(&self, width: u32, height: u32) -> io::Result<()> {
        self.post("window/rect", &json!({ "width": width, "height": height })).map(drop)
    }

    /// Shows pages to somebody who asked for dark colours, or for light ones.
    ///
    /// # Errors
    /// When the browser does not.
    pub fn dark(&self, dark: bool) -> io::Result<()> {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        self.emulate("setEmulatedMedia", &json!({ "features": features }))
    }

    /// What axe-core finds wrong with the page that is shown, as a person's tools would meet it: the rule and where.
    ///
    /// # Errors
    /// When axe does not run.
    pub fn violations(&self) -> io::Result<Vec<String>> {
        // Axe waits for timers of the page, which stand still without scripts. The page has loaded without.
        self.scripts(true)?;
        self.run(&self.axe, &[])?;
        let script = "const done = arguments[arguments.length - 1]; axe.run(document, { runOnly: { type: 'tag', values: \
            ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] } }).then(found => done(found.violations.map(one => \
            one.id + ': ' + one.nodes.map(node => node.html.slice(0, 160) + ' ' + node.failureSummary).join(' | '))), error => done(['axe: ' + error]))";
        let found = self.post("execute/async", &json!({ "script": script, "args": [] }))?;
        self.scripts(self.runs)?;
        let all = found.as_array().ok_or_else(|| io::Error::other(format!("axe says {found}")))?;
        Ok(all.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect())
    }

    /// A picture of the page that is shown, as PNG, in the folder that `SEINHUIS_SCREENSHOTS` names if there is one.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn shoot(&self, name: &str) -> io::Result<()> {
        let Some(folder) = std::env::var_os("SEINHUIS_SCREENSHOTS") else { return Ok(()) };
        let picture = self.get("screenshot")?;
        let bytes =
            BASE64.decode(picture.as_str().unwrap_or_default().as_bytes()).map_err(io::Error::other)?;
        std::fs::create_dir_all(&folder)?;
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), bytes)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A driver that is asked ends its browser; one that is not leaves it.
        _ = self.call("DELETE", &format!("/session/{}", self.session), &Value::Null);
        _ = self.driver.kill();
        _ = self.driver.wait();
    }
}
