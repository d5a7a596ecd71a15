//! Lines: a script of youth work hands signals over, a script of the municipality follows what comes.

use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{self, Receiver};

use seinhuis_tests::stage::PATIENCE;
use seinhuis_tests::{Process, Stage};
use serde_json::{Value, json};

use super::taken_over;
use crate::show::{Show, text};
use crate::trouble::{Told, Trouble, check};

/// `inbox follow` as a script runs it.
struct Follow {
    process: Process,
    lines: Receiver<String>,
}

impl Follow {
    fn start(stage: &Stage) -> Told<Self> {
        let town = stage.member("gemeente");
        let mut child = stage.piped_agent(town, &["inbox", "follow", "--flow", "F01"])?;
        let out = child.stdout.take().ok_or_else(Trouble::bug)?;
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            // Until it ends, or nobody wants to know any more.
            lines.map(|line| tell.send(line)).take_while(Result::is_ok).for_each(drop);
        });
        Ok(Self { process: child.into(), lines })
    }

    /// The line of a message, after those of messages that waited.
    fn line_of(&self, id: &str) -> Told<Value> {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).map_err(|_| {
                Trouble::new(
                    format!("Bericht {id} kwam niet als regel."),
                    format!("Message {id} did not come as a line."),
                )
            })?;
            let value: Value = serde_json::from_str(&line).unwrap_or_default();
            if text(&value, "msg_id") == id {
                return Ok(value);
            }
        }
    }
}

/// Hands over lines, of which one comes again and one is none.
pub(super) fn play(show: &mut Show) -> Told {
    let sample = show.sample("F01")?;
    let (youth, town) = (show.stage.member("jongerenwerk"), show.stage.member("gemeente"));
    let body = &sample.value["body"];
    let line = |id: &str| {
        json!({ "id": id, "flow": "F01", "to": ["gemeente"], "step": "1", "body": body }).to_string()
    };
    let follow = Follow::start(&show.stage)?;
    let lines = [line("nacht-1"), "{".to_owned(), line("nacht-2"), line("nacht-1")];
    let (answers, code) = show.stage.push_lines(youth, &lines)?;
    let [first, none, second, again] = answers.as_slice() else { return Err(Trouble::bug()) };
    let (one, two) = (text(first, "msg_id"), text(second, "msg_id"));
    check(
        code == 1 && none["problem"]["what"].is_string() && first["repeated"] == json!(false),
        format!("De regels zijn anders beantwoord dan bedoeld: {answers:?}"),
        format!("The lines were answered otherwise than meant: {answers:?}"),
    )?;
    check(
        text(again, "msg_id") == one && again["repeated"] == json!(true) && two != one,
        format!("Dezelfde regel werd een ander bericht: {answers:?}"),
        format!("The same line became another message: {answers:?}"),
    )?;
    for id in [one, two] {
        let came = follow.line_of(id)?;
        check(
            came["body"] == *body,
            "Een regel heeft een andere inhoud dan wat werd aangeboden.",
            "A line has other content than what was handed over.",
        )?;
        show.stage.agent(town, &["inbox", "consumed", &came["position"].to_string()])?;
        taken_over(show, youth, id)?;
    }
    let ended = follow.process.stop(PATIENCE)?;
    check(
        ended.success(),
        format!("`inbox follow` stopte niet goed: {ended}."),
        format!("`inbox follow` did not stop well: {ended}."),
    )?;
    for _ in [one, two] {
        show.expect(Some("jongerenwerk"), &["gemeente".to_owned()]);
    }
    show.teller.right(
        "regels   F01 jongerenwerk → gemeente: twee berichten uit een pijp, die als regels aankomen; een foute regel houdt niets op",
        "lines    F01 jongerenwerk → gemeente: two messages from a pipe, that come out as lines; a wrong line holds up nothing",
    );
    Ok(())
}
