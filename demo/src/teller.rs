//! How the story is told: in one language, in colour on a terminal only.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use seinhuis_shell::lang::{Lang, Text};

use crate::trouble::Trouble;

/// Tells.
#[derive(Debug, Clone)]
pub(crate) struct Teller {
    lang: Lang,
    colour: bool,
}

/// Whether colour is wanted: a terminal that can, and nobody who said no (<https://no-color.org>).
fn wants_colour(terminal: bool, no_color: Option<&str>, term: Option<&str>) -> bool {
    terminal && no_color.is_none_or(str::is_empty) && term != Some("dumb")
}

impl Teller {
    /// For standard output as it is.
    pub(crate) fn new(lang: Lang) -> Self {
        let env = |name: &str| std::env::var(name).ok();
        let colour =
            wants_colour(io::stdout().is_terminal(), env("NO_COLOR").as_deref(), env("TERM").as_deref());
        Self { lang, colour }
    }

    /// The language.
    pub(crate) const fn lang(&self) -> Lang {
        self.lang
    }

    /// One of two texts.
    pub(crate) const fn pick<'a>(&self, nl: &'a str, en: &'a str) -> &'a str {
        self.lang.pick(nl, en)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The text, less conspicuous.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn print(line: &str) {
        // A reader that stopped reading (`| head`) wants no more, and that is no fault.
        _ = writeln!(io::stdout().lock(), "{line}");
    }

    /// A heading.
    pub(crate) fn scene(&self, number: u8, nl: &str, en: &str) {
        Self::print("");
        Self::print(&self.paint("1", &format!("{number}  {}", self.pick(nl, en))));
    }

    /// A line.
    pub(crate) fn line(&self, nl: impl Into<String>, en: impl Into<String>) {
        self.text(&Text::new(nl, en));
    }

    /// A line that was made already.
    pub(crate) fn text(&self, text: &Text) {
        for line in text.in_lang(self.lang).lines() {
            Self::print(&format!("   {line}"));
        }
    }

    /// Something that was checked and found right.
    pub(crate) fn right(&self, nl: impl Into<String>, en: impl Into<String>) {
        let text = Text::new(nl, en);
        Self::print(&format!(" {} {}", self.paint("32", "✓"), text.in_lang(self.lang)));
    }

    /// Something that was rightly refused.
    pub(crate) fn refused(&self, text: &str) {
        Self::print(&format!(" {} {text}", self.paint("33", "✗")));
    }

    /// What ends the story.
    pub(crate) fn trouble(&self, trouble: &Trouble) {
        let label = self.pick("Onverwacht", "Unexpected");
        let text = trouble.0.in_lang(self.lang);
        // When standard error is closed there is nobody left to tell.
        _ = writeln!(io::stderr().lock(), "\n{}: {text}", self.paint("31", label));
    }

    /// A progress bar on standard error, which stays away when that is no terminal.
    pub(crate) fn bar(&self, length: u64, nl: &'static str, en: &'static str) -> ProgressBar {
        let colours = if self.colour { "{bar:30.cyan/blue}" } else { "{bar:30}" };
        let bar = ProgressBar::new(length).with_message(self.pick(nl, en));
        if let Ok(style) = ProgressStyle::with_template(&format!("   {colours} {{pos}}/{{len}} {{msg}}")) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_whose_owner_did_not_refuse_it() {
        assert!(wants_colour(true, None, Some("xterm")));
        assert!(wants_colour(true, Some(""), None), "an empty NO_COLOR says nothing");
        assert!(!wants_colour(true, Some("1"), Some("xterm")));
        assert!(!wants_colour(true, None, Some("dumb")));
        assert!(!wants_colour(false, None, Some("xterm")));
    }
}
