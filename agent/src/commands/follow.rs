//! The inbox as lines, for scripts: what nobody took over yet, and what comes.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use seinhuis_shell::cli::{self, Outcome};
use seinhuis_shell::complaint::{Complaint, Exit};
use serde_json::Value;

use super::request::{Look, Request, ask_running};
use crate::home::Home;
use crate::ways::delivered;

/// How often it is seen whether something came.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(super) struct Follow {
    /// Only messages of this flow; may be given more than once
    #[arg(long = "flow", value_name = "FLOW")]
    flows: Vec<String>,
    /// Report each message as taken over once its line was written
    #[arg(long)]
    consume: bool,
}

/// Writes lines until it is asked to stop, nobody reads them, or the agent stops.
pub(super) fn follow(home: &Home, args: Follow) -> Result<Outcome, Complaint> {
    let (home, (done, ended)) = (home.clone(), tokio::sync::oneshot::channel());
    let (going, stopped) = mpsc::channel::<()>();
    // A reader that takes nothing holds up a thread of its own, so that this still stops when asked.
    let writing = move || {
        let flows = args.flows.into_iter().collect();
        let mut lines = Lines { next: 0, open: true, flows, consume: args.consume };
        let ask = |request: Request| ask_running(&home, &request);
        let result = loop {
            match lines.look(&mut io::stdout().lock(), ask) {
                Ok(true) => {}
                Ok(false) => break Ok(Outcome::Done),
                Err(complaint) => break Err(complaint),
            }
            if stopped.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Disconnected) {
                break Ok(Outcome::Done);
            }
        };
        // Who was asked to stop does not wait for it.
        _ = done.send(result);
    };
    std::thread::Builder::new()
        .spawn(writing)
        .map_err(|error| Complaint::bug(format!("the system gives no thread: {error}")))?;
    let asked = cli::runtime_here()?.block_on(async {
        tokio::select! {
            ended = ended => ended.ok(),
            () = cli::asked_to_stop() => None,
        }
    });
    drop(going);
    asked.unwrap_or(Ok(Outcome::Done))
}

/// How far the lines are.
struct Lines {
    /// The position of the inbox that is looked at next.
    next: u64,
    /// Whether only what nobody took over counts: of what was there at the beginning, and where this takes over itself.
    open: bool,
    flows: BTreeSet<String>,
    consume: bool,
}

impl Lines {
    /// Writes what there is. Whether somebody reads it.
    fn look(
        &mut self,
        out: &mut dyn Write,
        ask: impl Fn(Request) -> Result<Value, Complaint>,
    ) -> Result<bool, Complaint> {
        loop {
            let (from, open, flows) = (self.next, self.open, self.flows.clone());
            let page = ask(Request::Look(Look::Good { from, open, flows }))?;
            if page["beyond"] == true {
                // It is another store than before, of which the positions begin anew.
                (self.next, self.open) = (0, true);
                continue;
            }
            for item in page["items"].as_array().into_iter().flatten() {
                let position = item["position"].as_u64().unwrap_or_default();
                if !self.write(position, out, &ask)? {
                    return Ok(false);
                }
                self.next = position.saturating_add(1);
            }
            self.next = page["next"].as_u64().unwrap_or(self.next);
            if page["more"] != true {
                self.open = self.consume;
                return Ok(true);
            }
        }
    }

    /// Writes one message, and reports it as taken over when that is done. Whether somebody reads it.
    fn write(
        &self,
        position: u64,
        out: &mut dyn Write,
        ask: impl Fn(Request) -> Result<Value, Complaint>,
    ) -> Result<bool, Complaint> {
        let id = position.to_string();
        let value = match ask(Request::Look(Look::Read { id: id.clone(), withdrawn: false })) {
            Ok(value) => value,
            // It was withdrawn or erased since it was looked at.
            Err(complaint) if complaint.exit == Exit::Refused => return Ok(true),
            Err(complaint) => return Err(complaint),
        };
        let line = one_line(&delivered::text(value)?);
        if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(false);
        }
        if self.consume {
            match ask(Request::Consumed { id }) {
                // It was withdrawn or erased since.
                Err(complaint) if complaint.exit == Exit::Refused => {}
                answer => _ = answer?,
            }
        }
        Ok(true)
    }
}

/// A delivery on a line of its own. A body may hold ends of lines between its parts; within its texts JSON has them
/// escaped, so that spaces in their place say the same.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ") + "\n"
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::json;

    use super::*;

    /// An agent with this many messages, of which those at `gone` were withdrawn; what it was asked.
    struct Inbox {
        count: u64,
        gone: Vec<u64>,
        asked: RefCell<Vec<String>>,
    }

    impl Inbox {
        fn new(count: u64, gone: &[u64]) -> Self {
            Self { count, gone: gone.to_vec(), asked: RefCell::default() }
        }

        fn answer(&self, request: &Request) -> Result<Value, Complaint> {
            if let Request::Consumed { id } = request {
                self.asked.borrow_mut().push(format!("consumed {id}"));
                return Ok(json!({}));
            }
            let Request::Look(look) = request else { unreachable!("{request:?}") };
            if let Look::Good { from, .. } = look {
                let end = self.count.min(from + 2);
                let items: Vec<Value> = (*from..end).map(|at| json!({ "position": at })).collect();
                return Ok(
                    json!({ "items": items, "next": end.max(*from), "more": end < self.count, "beyond": *from > self.count }),
                );
            }
            let Look::Read { id, .. } = look else { unreachable!("{look:?}") };
            if self.gone.contains(&id.parse().unwrap()) {
                let text = || seinhuis_shell::lang::Text::same("gone");
                return Err(Complaint::refused(text(), text()));
            }
            self.asked.borrow_mut().push(format!("read {id}"));
            Ok(json!({ "position": id, "body": "e30=" }))
        }
    }

    fn lines(consume: bool) -> Lines {
        Lines { next: 0, open: true, flows: BTreeSet::new(), consume }
    }

    #[test]
    fn a_body_of_several_lines_forges_no_line() {
        let line = one_line("{\"body\":[\r\n{\"from\":\"x\"}\n]}");
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), json!({ "body": [{ "from": "x" }] }));
    }

    #[test]
    fn each_message_is_a_line_once_in_order() {
        let (inbox, mut out, mut lines) = (Inbox::new(5, &[2]), Vec::new(), lines(false));
        assert!(lines.look(&mut out, |request| inbox.answer(&request)).unwrap());
        assert!(!lines.open, "what comes counts, whoever takes it over");
        assert!(lines.look(&mut out, |request| inbox.answer(&request)).unwrap());
        let text = String::from_utf8(out).unwrap();
        let positions: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["position"].clone())
            .collect();
        assert_eq!(positions, ["0", "1", "3", "4"]);
        assert!(text.starts_with("{\"body\":{},"), "{text}");
        lines.next = 9;
        let mut out = Vec::new();
        assert!(lines.look(&mut out, |request| inbox.answer(&request)).unwrap());
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 4, "another store begins anew");
    }

    #[test]
    fn a_message_is_reported_after_its_line_was_written_and_never_without() {
        struct Pipe<'a>(&'a Inbox, usize);
        impl Write for Pipe<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.asked.borrow_mut().push("written".into());
                self.1 = self.1.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                self.0.asked.borrow_mut().push("flushed".into());
                Ok(())
            }
        }
        let inbox = Inbox::new(3, &[]);
        let read = lines(true).look(&mut Pipe(&inbox, 1), |request| inbox.answer(&request)).unwrap();
        assert!(!read);
        assert_eq!(
            *inbox.asked.borrow(),
            ["read 0", "written", "flushed", "consumed 0", "read 1", "written"]
        );
    }
}
