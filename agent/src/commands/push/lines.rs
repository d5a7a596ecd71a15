//! Signals from a script, one in each line, each answered with a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::path::Path;

use seinhuis_shared::refusal::Refusal;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::{Complaint, Doing, Exit};
use seinhuis_shell::lang::{Lang, Text};
use serde_json::{Value, json};

use super::{Push, SIGNAL_MAX, addressed};
use crate::commands::request::{PushText, Request, ask, parse};
use crate::commands::signal;
use crate::home::Home;
use crate::ways::folders::refusal;

/// Most characters of an id.
const KEY_MAX: usize = 255;

/// Takes a signal from each line until there are no more. No more lines are read when it is the agent that can take none.
pub(super) fn lines(home: &Home, push: &Push, ui: Ui) -> Result<Outcome, Complaint> {
    let path = push.source();
    let mut source: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(path).map_err(|error| Complaint::io(Doing::Read, path, &error))?;
        Box::new(BufReader::new(file))
    };
    let hand_over = |text: PushText| ask(home, Request::Push(Box::new(text))).map(|(value, _)| value);
    answer_all((&mut *source, path), &mut io::stdout().lock(), ui.lang, |line| one(push, line, hand_over))
}

/// What became of a line.
#[derive(Debug)]
enum Done {
    /// The agent has it.
    Taken(Value),
    /// It is refused, for a reason of its own.
    Refused(Complaint),
}

/// A line, as it is answered: its id, and what became of it, or what keeps any line from being taken.
type Answer = (Option<String>, Result<Done, Complaint>);

/// Answers each line in order, as soon as it was handed over.
fn answer_all(
    (source, path): (&mut dyn BufRead, &Path),
    out: &mut dyn Write,
    lang: Lang,
    mut one: impl FnMut(Result<&[u8], Complaint>) -> Answer,
) -> Result<Outcome, Complaint> {
    let (mut number, mut outcome) = (0_u64, Outcome::Done);
    loop {
        let line = read_line(source).map_err(|error| Complaint::io(Doing::Read, path, &error))?;
        let Some(line) = line else { return Ok(outcome) };
        number = number.saturating_add(1);
        if line.as_ref().is_some_and(|line| line.trim_ascii().is_empty()) {
            continue;
        }
        let (key, done) = one(line.as_deref().ok_or_else(too_long));
        let (told, ends) = match done {
            Ok(Done::Taken(value)) => (told(&value, None, lang), None),
            Ok(Done::Refused(why)) => (told(&Value::Null, Some(&why), lang), None),
            Err(why) => (told(&Value::Null, Some(&why), lang), Some(why)),
        };
        if !told["problem"].is_null() {
            outcome = Outcome::No;
        }
        let mut answer = json!({ "line": number, "id": key });
        if let (Value::Object(answer), Value::Object(told)) = (&mut answer, told) {
            answer.extend(told);
        }
        writeln!(out, "{answer}").and_then(|()| out.flush()).map_err(|_| nobody(number))?;
        if let Some(why) = ends {
            return Err(why);
        }
    }
}

/// What is told of a line. A message that was handed over before and came to nothing is not sent again: that is a problem too.
fn told(value: &Value, why: Option<&Complaint>, lang: Lang) -> Value {
    let nothing = refusal(value);
    let problem = why.or(nothing.as_ref()).map(|why| why.to_json(lang)["error"].take());
    json!({
        "msg_id": value["msg_id"],
        "state": value["state"],
        "repeated": value["repeated"],
        "problem": problem,
    })
}

/// Hands one line over.
fn one(
    push: &Push,
    line: Result<&[u8], Complaint>,
    hand_over: impl Fn(PushText) -> Result<Value, Complaint>,
) -> Answer {
    let read = line.and_then(|line| signal::read_line(line).map_err(|error| signal::wrong(&error)));
    let text = match read {
        Ok(text) => text,
        Err(why) => return (None, Ok(Done::Refused(why))),
    };
    let key = text.key.clone();
    // What does not read is wrong with the line; what the agent says in that way is wrong with all.
    let checked = check_key(key.as_deref()).and_then(|()| addressed(push, text)).and_then(|text| {
        parse(&text)?;
        Ok(text)
    });
    let done = match checked.map(hand_over) {
        Err(why) => Ok(Done::Refused(why)),
        Ok(Ok(value)) => Ok(Done::Taken(value)),
        Ok(Err(why)) if why.exit == Exit::Refused && !why.refusal.is_some_and(Refusal::is_passing) => {
            Ok(Done::Refused(why))
        }
        Ok(Err(why)) => Err(why),
    };
    (key, done)
}

fn check_key(key: Option<&str>) -> Result<(), Complaint> {
    if key.is_none_or(|key| (1..=KEY_MAX).contains(&key.chars().count())) {
        return Ok(());
    }
    Err(Complaint::usage(
        Text::new(
            format!("De id van deze regel heeft niet 1 tot {KEY_MAX} tekens."),
            format!("The id of this line does not have 1 to {KEY_MAX} characters."),
        ),
        Text::new("Geef een kortere id, of laat hem weg.", "Give a shorter id, or leave it out."),
    ))
}

/// The next line, without its end; nothing in the place of one that is too long, which is passed over to its end.
#[expect(clippy::option_option, reason = "no line, one that is too long, or a line")]
fn read_line(source: &mut dyn BufRead) -> io::Result<Option<Option<Vec<u8>>>> {
    let most = u64::try_from(SIGNAL_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut line = Vec::new();
    if (&mut *source).take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() && line.len() > SIGNAL_MAX {
        pass_over(source)?;
        return Ok(Some(None));
    }
    Ok(Some(Some(line)))
}

fn pass_over(source: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = source.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (length, ended) = (buffer.len(), buffer.is_empty() || end.is_some());
        source.consume(end.map_or(length, |end| end.saturating_add(1)));
        if ended {
            return Ok(());
        }
    }
}

fn too_long() -> Complaint {
    Complaint::usage(
        Text::new(
            format!("De regel is langer dan de toegestane {SIGNAL_MAX} bytes."),
            format!("The line is longer than the allowed {SIGNAL_MAX} bytes."),
        ),
        Text::new("Zet elk sein op een eigen regel.", "Put each signal in a line of its own."),
    )
}

fn nobody(line: u64) -> Complaint {
    Complaint::usage(
        Text::new(
            format!(
                "Het antwoord op regel {line} kon niet worden geschreven; wat erna komt, is niet gelezen."
            ),
            format!("The answer to line {line} could not be written; what comes after it was not read."),
        ),
        Text::new(
            "Bied vanaf die regel opnieuw aan; met dezelfde id gaat niets dubbel weg.",
            "Hand over again from that line on; with the same id nothing is sent twice.",
        ),
    )
}

#[cfg(test)]
mod tests {

    use super::super::tests::args;
    use super::*;

    /// The answers to these lines, and how it ended; a flow says what becomes of a line.
    fn answers(text: &[u8]) -> (Vec<Value>, Result<Outcome, Complaint>) {
        let mut out = Vec::new();
        let hand_over = |text: PushText| match text.flow.as_str() {
            "F99" => Err(Complaint::from_refusal(Refusal::UnknownFlow)),
            "F98" => Err(Complaint::usage(Text::same("away"), Text::same("wait"))),
            "F97" => Ok(json!({ "msg_id": "x", "state": "denied", "repeated": true })),
            _ => Ok(json!({ "msg_id": text.msg_id, "state": "draft", "repeated": false })),
        };
        let push = Push { lines: true, ..args("-") };
        let mut source = text;
        let ended =
            answer_all((&mut source, Path::new("-")), &mut out, Lang::En, |line| one(&push, line, hand_over));
        let lines = String::from_utf8(out).unwrap();
        (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), ended)
    }

    fn line(id: &str, flow: &str) -> String {
        format!("{{\"id\": {id}, \"flow\": {flow:?}, \"to\": [\"om\"], \"body\": {{}}}}\n")
    }

    #[test]
    fn every_line_is_answered_in_order_and_one_that_is_refused_holds_up_none() {
        let text = [
            line("\"a\"", "F01"),
            "\n".into(),
            line("\"b\"", "F99"),
            "{half\n".into(),
            line("7", "F01"),
            line("\"\"", "F01"),
            line("\"c\"", "F97"),
            "{\"flow\": \"F01\", \"to\": [\"Jan Jansen\"], \"body\": {}}\n".to_owned(),
            line("\"d\"", "F01").trim_end().to_owned(),
        ];
        let (answers, ended) = answers(text.concat().as_bytes());
        assert_eq!(ended, Ok(Outcome::No));
        let numbers: Vec<u64> = answers.iter().map(|answer| answer["line"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [1, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!((&answers[0]["state"], &answers[0]["problem"]), (&json!("draft"), &Value::Null));
        assert_eq!(
            (&answers[1]["id"], &answers[1]["problem"]["refusal"]),
            (&json!("b"), &json!(Refusal::UnknownFlow.number()))
        );
        assert!(answers[2]["problem"]["what"].as_str().unwrap().contains("line 1"), "{}", answers[2]);
        for wrong in &answers[1..7] {
            assert!(!wrong["problem"]["advice"].as_str().unwrap().is_empty(), "{wrong}");
        }
        assert_eq!(answers[5]["state"], "denied");
        assert_eq!(
            (&answers[7]["id"], &answers[7]["state"]),
            (&json!("d"), &json!("draft")),
            "without an end of line"
        );
    }

    #[test]
    fn when_no_line_can_be_taken_that_is_said_once_and_no_more_is_read() {
        let text = [line("\"a\"", "F01"), line("\"b\"", "F98"), line("\"c\"", "F01")].concat();
        let (told, ended) = answers(text.as_bytes());
        assert_eq!(told.len(), 2);
        assert!(told[1]["problem"]["what"].as_str().unwrap().contains("away"));
        assert_eq!(ended.unwrap_err().what.en, "away");
        assert_eq!(answers(b"").1, Ok(Outcome::Done));
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_in_bounded_memory() {
        let (good, long) = (line("\"a\"", "F01"), "x".repeat(3 * SIGNAL_MAX));
        let (answers, _) = answers(format!("{long}\n{good}{long}").as_bytes());
        let long = |at: usize| answers[at]["problem"]["what"].as_str().unwrap().contains("longer than");
        assert!(long(0) && long(2) && answers.len() == 3, "{answers:?}");
        assert_eq!(answers[1]["state"], "draft");
        let mut exact: &[u8] = &[vec![b'x'; SIGNAL_MAX], b"\ny".to_vec()].concat();
        assert_eq!(read_line(&mut exact).unwrap().unwrap().unwrap().len(), SIGNAL_MAX);
        assert_eq!(read_line(&mut exact).unwrap(), Some(Some(b"y".to_vec())));
        assert_eq!(read_line(&mut exact).unwrap(), None);
    }

    #[test]
    fn an_answer_that_nobody_reads_ends_the_reading() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut tried = 0;
        let text = [line("\"a\"", "F01"), line("\"b\"", "F01")].concat();
        let mut source = text.as_bytes();
        let ended = answer_all((&mut source, Path::new("-")), &mut Closed, Lang::En, |_| {
            tried += 1;
            (None, Ok(Done::Taken(json!({ "state": "draft" }))))
        });
        assert!(ended.unwrap_err().what.en.contains("line 1") && tried == 1);
    }
}
