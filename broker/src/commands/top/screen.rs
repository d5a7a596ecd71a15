//! What is on the screen, and what keys do.

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::Paragraph;
use seinhuis_monitor::Board;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Lang;

use super::sheet::{Sort, cut};
use super::view::{Page, Tone, View};

/// Lines around a page: title, pages, an empty one, and the keys below.
const AROUND: u16 = 4;

/// Everything that is on the screen.
#[derive(Debug)]
pub(super) struct Screen {
    lang: Lang,
    /// Whether colours may be used beside words.
    colour: bool,
    page: Page,
    sorts: [Sort; Page::ALL.len()],
    /// How many lines of the page are above the screen.
    above: usize,
    board: Option<Board>,
    /// Why there is no newer board.
    trouble: Option<Complaint>,
}

/// What is done after a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Draw,
    Quit,
}

impl Screen {
    pub(super) fn new(lang: Lang, colour: bool) -> Self {
        Self {
            lang,
            colour,
            page: Page::Now,
            sorts: [Sort::default(); Page::ALL.len()],
            above: 0,
            board: None,
            trouble: None,
        }
    }

    /// Takes what the broker answered. With trouble, the last board stays.
    pub(super) fn take(&mut self, answer: Result<Board, Complaint>) {
        match answer {
            Ok(board) => (self.board, self.trouble) = (Some(board), None),
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    fn at(&self) -> usize {
        Page::ALL.iter().position(|page| *page == self.page).unwrap_or_default()
    }

    fn sort(&self) -> Sort {
        self.sorts.get(self.at()).copied().unwrap_or_default()
    }

    fn turn_to(&mut self, at: usize) {
        if let Some(page) = Page::ALL.get(at) {
            (self.page, self.above) = (*page, 0);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every other key does nothing")]
    pub(super) fn key(&mut self, key: KeyEvent) -> Next {
        if key.kind == KeyEventKind::Release {
            return Next::Draw;
        }
        let (at, last) = (self.at(), Page::ALL.len().saturating_sub(1));
        match key.code {
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return Next::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return Next::Quit,
            KeyCode::Char(digit @ '1'..='6') => {
                let at = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok());
                self.turn_to(at.unwrap_or(1).saturating_sub(1));
            }
            KeyCode::Tab | KeyCode::Right => self.turn_to(if at == last { 0 } else { at.saturating_add(1) }),
            KeyCode::BackTab | KeyCode::Left => self.turn_to(at.checked_sub(1).unwrap_or(last)),
            KeyCode::Char('s') => self.next_column(),
            KeyCode::Char('r') => {
                if let Some(sort) = self.sorts.get_mut(at) {
                    sort.down = !sort.down;
                }
            }
            KeyCode::Down | KeyCode::Char('j') => self.above = self.above.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.above = self.above.saturating_sub(1),
            KeyCode::PageDown => self.above = self.above.saturating_add(10),
            KeyCode::PageUp => self.above = self.above.saturating_sub(10),
            KeyCode::Home => self.above = 0,
            _ => {}
        }
        Next::Draw
    }

    /// Sorts by the next column, the highest first; after the last one as the broker gives it.
    fn next_column(&mut self) {
        let (at, lang, page) = (self.at(), self.lang, self.page);
        let columns = self.board.as_ref().map_or(0, |board| View { board, lang }.columns(page));
        if let Some(sort) = self.sorts.get_mut(at) {
            let next = sort.column.map_or(0, |column| column.saturating_add(1));
            let column = Some(next).filter(|next| *next < columns);
            *sort = Sort { column, down: column.is_some() };
        }
    }

    fn style(&self, tone: Tone) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let colour = |style: Style, colour| if self.colour { style.fg(colour) } else { style };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Strong => bold,
            Tone::Ticket => colour(bold, Color::Yellow),
            Tone::Page => colour(bold, Color::Red).add_modifier(Modifier::REVERSED),
        }
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let wide = usize::from(area.width);
        let room = usize::from(area.height.saturating_sub(AROUND));
        let mut lines = vec![self.title(wide), self.pages(wide), Line::default()];
        let body = self.body(wide);
        self.above = self.above.min(body.len().saturating_sub(room));
        let shown = body.into_iter().skip(self.above).take(room).collect::<Vec<_>>();
        let missing = room.saturating_sub(shown.len());
        lines.extend(shown);
        lines.extend(std::iter::repeat_n(Line::default(), missing));
        lines.push(self.foot(wide));
        frame.render_widget(Paragraph::new(Text::from(lines)), area);
    }

    fn title(&self, wide: usize) -> Line<'static> {
        let text = self.board.as_ref().map_or_else(
            || "seinhuis-broker".to_owned(),
            |board| format!("{}  {}", super::sheet::printable(&board.software, 64), board.now),
        );
        Line::styled(cut(&text, wide), self.style(Tone::Strong))
    }

    /// The pages: the one that is shown between brackets. Where there is no room for all names it is named alone.
    fn pages(&self, wide: usize) -> Line<'static> {
        let name = |(number, page): (usize, &Page)| {
            let title = page.title(self.lang);
            if *page == self.page { format!("[{number} {title}]") } else { format!(" {number} {title} ") }
        };
        let all: Vec<String> = (1..).zip(Page::ALL.iter()).map(name).collect();
        let text = all.join(" ");
        if super::sheet::width(&text) <= wide {
            return Line::raw(text);
        }
        let own = all.get(self.at()).cloned().unwrap_or_default();
        Line::raw(cut(&format!("{own} 1-{}", Page::ALL.len()), wide))
    }

    fn body(&self, wide: usize) -> Vec<Line<'static>> {
        let Some(board) = &self.board else {
            let text = self.lang.pick("De broker wordt gevraagd …", "The broker is being asked …");
            return vec![Line::raw(cut(text, wide))];
        };
        let lines = View { board, lang: self.lang }.lines(self.page, wide, self.sort());
        lines.into_iter().map(|(tone, line)| Line::styled(line, self.style(tone))).collect()
    }

    fn foot(&self, wide: usize) -> Line<'static> {
        if let Some(trouble) = &self.trouble {
            let what = super::sheet::printable(trouble.what.in_lang(self.lang), 200);
            let text = format!("! {}: {what}", self.lang.pick("GEEN ANTWOORD", "NO ANSWER"));
            return Line::styled(cut(&text, wide), self.style(Tone::Page));
        }
        let keys = self.lang.pick(
            "1-6 tab: pagina  s: sorteren  r: omkeren  ↑↓: schuiven  q: stoppen",
            "1-6 tab: page  s: sort  r: reverse  ↑↓: scroll  q: quit",
        );
        Line::raw(cut(keys, wide))
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;
    use seinhuis_shell::lang::Text as Said;

    use super::super::view::tests::board;
    use super::*;

    fn drawn(screen: &mut Screen, wide: u16, high: u16) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(wide, high)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn text(buffer: &Buffer) -> String {
        let wide = usize::from(buffer.area.width).max(1);
        let rows = buffer.content.chunks(wide);
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n").collect()
    }

    fn press(screen: &mut Screen, code: KeyCode) -> Next {
        screen.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn filled() -> Screen {
        let mut screen = Screen::new(Lang::En, true);
        screen.take(Ok(board()));
        screen
    }

    #[test]
    fn each_key_turns_to_its_page_and_tab_to_the_next() {
        let mut screen = filled();
        for (digit, page) in ('1'..).zip(Page::ALL) {
            assert_eq!(press(&mut screen, KeyCode::Char(digit)), Next::Draw);
            let shown = text(&drawn(&mut screen, 100, 24));
            assert!(shown.contains(&format!("[{digit} {}]", page.title(Lang::En))), "{shown}");
        }
        press(&mut screen, KeyCode::Tab);
        assert_eq!(screen.page, Page::Now);
        press(&mut screen, KeyCode::BackTab);
        assert_eq!(screen.page, Page::Alarms);
        press(&mut screen, KeyCode::Char('7'));
        assert_eq!(screen.page, Page::Alarms);
    }

    #[test]
    fn it_ends_with_q_escape_and_control_c() {
        let mut screen = filled();
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(press(&mut screen, code), Next::Quit);
        }
        assert_eq!(screen.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Next::Quit);
        assert_eq!(press(&mut screen, KeyCode::Char('c')), Next::Draw);
    }

    #[test]
    fn a_page_is_sorted_by_each_column_and_then_as_before() {
        let mut screen = filled();
        press(&mut screen, KeyCode::Char('4'));
        let first = |screen: &mut Screen| text(&drawn(screen, 200, 24)).lines().nth(4).unwrap().to_owned();
        assert!(first(&mut screen).starts_with("Gemeente"));
        press(&mut screen, KeyCode::Char('s'));
        assert!(first(&mut screen).starts_with("Politie"), "by name, from the end");
        press(&mut screen, KeyCode::Char('r'));
        assert!(first(&mut screen).starts_with("Gemeente"));
        let columns = View { board: &board(), lang: Lang::En }.columns(Page::Agents);
        for _ in 0..columns {
            press(&mut screen, KeyCode::Char('s'));
        }
        assert_eq!(screen.sort(), Sort::default());
        press(&mut screen, KeyCode::Char('6'));
        press(&mut screen, KeyCode::Char('s'));
        assert_eq!(screen.sort(), Sort::default(), "nothing to sort by");
    }

    #[test]
    fn a_terminal_of_any_size_is_drawn_on_and_scrolling_ends_at_the_end() {
        let mut screen = filled();
        for page in '1'..='6' {
            press(&mut screen, KeyCode::Char(page));
            for (wide, high) in [(1, 1), (3, 2), (10, 4), (20, 6), (40, 10), (200, 60)] {
                drawn(&mut screen, wide, high);
            }
        }
        press(&mut screen, KeyCode::Char('6'));
        (0..50).for_each(|_| _ = press(&mut screen, KeyCode::PageDown));
        let shown = text(&drawn(&mut screen, 30, 8));
        assert!(shown.contains("valid."), "the last line: {shown}");
        let above = screen.above;
        press(&mut screen, KeyCode::Up);
        drawn(&mut screen, 30, 8);
        assert_eq!(screen.above, above - 1);
        press(&mut screen, KeyCode::Home);
        assert_eq!(screen.above, 0);
    }

    #[test]
    fn haste_is_a_word_and_a_colour_beside_it_only_where_that_may_be() {
        for colour in [true, false] {
            let mut screen = Screen::new(Lang::Nl, colour);
            screen.take(Ok(board()));
            press(&mut screen, KeyCode::Char('6'));
            let buffer = drawn(&mut screen, 80, 20);
            assert!(text(&buffer).contains("NU  recipient-silent"));
            let coloured =
                buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
            assert_eq!(coloured, colour);
        }
    }

    #[test]
    fn a_broker_that_does_not_answer_is_told_of_above_the_last_board() {
        let mut screen = Screen::new(Lang::En, false);
        assert!(text(&drawn(&mut screen, 80, 10)).contains("being asked"));
        screen.take(Ok(board()));
        screen.take(Err(Complaint::usage(Said::same("gone\u{1b}[0m"), Said::same("start it"))));
        let shown = text(&drawn(&mut screen, 80, 12));
        assert!(shown.contains("! NO ANSWER: gone\u{fffd}[0m") && shown.contains("ALARM (1"), "{shown}");
        screen.take(Ok(board()));
        assert!(!text(&drawn(&mut screen, 80, 12)).contains("NO ANSWER"));
    }
}
