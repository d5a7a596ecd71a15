//! How the broker does, live in a terminal, or once for a script.

mod screen;
mod sheet;
mod view;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use seinhuis_monitor::Board;
use seinhuis_shell::cli::{self, Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde_json::Value;

use self::screen::{Next, Screen};
use self::sheet::Sort;
use self::view::{Page, View};
use super::request::{Request, ask_running};
use crate::home::Home;

/// How often a board is asked for.
const PACE: Duration = Duration::from_secs(1);
/// How long a key is waited for before what came meanwhile is shown.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct Top {
    /// Print everything once as text, or with --json as one line of JSON, and end
    #[arg(long)]
    once: bool,
}

/// What comes in beside keys.
enum News {
    Board(Box<Result<Board, Complaint>>),
    /// Somebody asked the program to stop.
    Stop,
}

pub(super) fn top(home: &Home, options: &Top, ui: Ui) -> Result<Outcome, Complaint> {
    let socket = home.socket();
    // What cannot be had at all is told on the terminal as it is.
    let first = ask_running(&socket, &Request::Board)?;
    if options.once || ui.json {
        return once(&first, ui);
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Complaint::usage(
            Text::new("Dit is geen terminal.", "This is no terminal."),
            Text::new(
                "Geef --once voor tekst, of --once --json voor een programma.",
                "Give --once for text, or --once --json for a program.",
            ),
        ));
    }
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut screen = Screen::new(ui.lang, colour);
    screen.take(Ok(parsed(first)?));
    let (tell, news) = mpsc::channel();
    watch(socket, tell.clone());
    stopping(tell);
    // From here on a panic gives the terminal back before it is told of.
    let mut terminal = ratatui::try_init().map_err(|error| no_terminal(&error))?;
    let ended = show(&mut terminal, &mut screen, &news);
    let restored = ratatui::try_restore();
    ended.and(restored).map_err(|error| no_terminal(&error))?;
    Ok(Outcome::Done)
}

fn parsed(board: Value) -> Result<Board, Complaint> {
    serde_json::from_value(board)
        .map_err(|error| Complaint::bug(format!("a board of another version: {error}")))
}

/// Everything once.
fn once(board: &Value, ui: Ui) -> Result<Outcome, Complaint> {
    let parsed = parsed(board.clone())?;
    let view = View { board: &parsed, lang: ui.lang };
    let page = |page: Page| {
        let lines = view.lines(page, usize::MAX, Sort::default());
        let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
        format!("{}\n\n{}", page.title(ui.lang), lines.join("\n"))
    };
    let text = Page::ALL.map(page).join("\n\n");
    ui.answer(&Text::same(text), board);
    Ok(Outcome::Done)
}

/// Asks for a board each second, on a thread of its own: a broker that is slow to answer keeps no key waiting.
fn watch(socket: PathBuf, tell: Sender<News>) {
    thread::spawn(move || {
        loop {
            thread::sleep(PACE);
            let board = ask_running(&socket, &Request::Board).and_then(parsed);
            // Nobody listens any more: the program ends.
            if tell.send(News::Board(Box::new(board))).is_err() {
                return;
            }
        }
    });
}

/// Has the terminal given back when somebody asks the program to stop.
fn stopping(tell: Sender<News>) {
    thread::spawn(move || {
        if let Ok(runtime) = cli::runtime_here() {
            runtime.block_on(cli::asked_to_stop());
            _ = tell.send(News::Stop);
        }
    });
}

fn show(terminal: &mut DefaultTerminal, screen: &mut Screen, news: &Receiver<News>) -> io::Result<()> {
    let mut stale = true;
    loop {
        if stale {
            terminal.draw(|frame| screen.draw(frame))?;
        }
        stale = false;
        if event::poll(LOOK)? {
            // A terminal of another size is drawn on anew as well.
            stale = true;
            if let Event::Key(key) = event::read()?
                && screen.key(key) == Next::Quit
            {
                return Ok(());
            }
        }
        for one in news.try_iter() {
            stale = true;
            match one {
                News::Board(board) => screen.take(*board),
                News::Stop => return Ok(()),
            }
        }
    }
}

fn no_terminal(error: &io::Error) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("De terminal kan niet worden gebruikt: {error}."),
            format!("The terminal cannot be used: {error}."),
        ),
        Text::new("Geef --once voor tekst.", "Give --once for text."),
    )
}
