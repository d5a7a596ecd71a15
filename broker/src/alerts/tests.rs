//! Alarms over real sockets: a relay and a receiver on this machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use seinhuis_monitor::alarms::{Code, Limits, Said, Severity};

use super::settings::{MailSettings, Tls, WebhookSettings};
use super::*;
use crate::config::BASIC_SAMPLE;
use crate::monitor::Monitor;

const NOW: Timestamp = Timestamp(1_900_000_000_000);

fn finding(code: Code, severity: Severity) -> Finding {
    let what = Said::new("Er is iets mis.", "Something is wrong.");
    Finding { code, subject: "00000099000000001000".into(), severity, what }
}

fn old() -> Vec<Finding> {
    vec![finding(Code::QuorumOld, Severity::Ticket)]
}

/// A folder and the configuration of a broker in it.
fn broker() -> (tempfile::TempDir, Home, Config) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path());
    std::fs::write(home.config(), BASIC_SAMPLE).unwrap();
    let config = home.load_config().unwrap();
    (dir, home, config)
}

fn desk(home: &Home) -> (Arc<Desk>, Monitor) {
    let monitor = Monitor::new(NOW, 0);
    let desk = Desk::open(&home.alerts(), &["mail", "webhook"], monitor.clone());
    (Arc::new(desk), monitor)
}

/// A relay that gives what it was sent, line by line, and answers `DATA` with this.
fn relay(answer: &'static str) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (out, lines) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve_mail(stream.unwrap(), answer, &out);
        }
    });
    (port, lines)
}

fn serve_mail(stream: TcpStream, answer: &str, out: &Sender<String>) {
    let mut to = stream.try_clone().unwrap();
    let mut say = |text: &str| to.write_all(format!("{text}\r\n").as_bytes()).unwrap();
    say("220 relay");
    let mut in_data = false;
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        if in_data {
            if line == "." {
                in_data = false;
                say("250 taken");
            }
        } else if verb == "DATA" {
            in_data = answer.starts_with('3');
            say(answer);
        } else if verb == "EHLO" {
            say("250 relay");
        } else {
            say("250 ok");
        }
        // Nobody listens at the end of a test.
        _ = out.send(line);
    }
}

fn mail(home: &Home, config: &Config, port: u16) -> Mail {
    let settings = MailSettings {
        relay: format!("127.0.0.1:{port}"),
        tls: Tls::None,
        from: "seinhuis@stad.example".into(),
        to: vec!["beheer@stad.example".into(), "piket@stad.example".into()],
        ..MailSettings::default()
    };
    Mail::new(&settings, config, home).unwrap()
}

fn batch() -> Batch {
    let mut ledger = seinhuis_monitor::alarms::Ledger::default();
    Batch::new(ledger.step(NOW, old(), &Limits::default()), 2)
}

#[tokio::test]
async fn a_mail_says_in_two_languages_what_happened_and_what_to_do() {
    let (_dir, home, config) = broker();
    let (port, lines) = relay("354 go on");
    let batch = batch();
    mail(&home, &config, port).send(&batch).await.unwrap();
    let all: Vec<String> = lines.try_iter().collect();
    assert!(all.iter().all(|line| line.is_ascii() && line.len() <= 998), "RFC 5322, 2.1.1: {all:?}");
    let (head, body) =
        all.join("\n").split_once("\n\n").map(|(head, body)| (head.to_owned(), body.to_owned())).unwrap();
    let body: String = body.lines().take_while(|line| *line != ".").collect();
    let body = String::from_utf8(data_encoding::BASE64.decode(body.as_bytes()).unwrap()).unwrap();
    let text = format!("{head}\n{body}");
    for word in [
        "MAIL FROM:<seinhuis@stad.example>",
        "RCPT TO:<beheer@stad.example>",
        "RCPT TO:<piket@stad.example>",
        "Subject: [Seinhuis Voorbeeldstad] ticket quorum-old 00000099000000001000",
        "Auto-Submitted: auto-generated",
        &format!("Message-ID: <{}@stad.example>", batch.id),
        "Er is iets mis.",
        "Something is wrong.",
        "seinhuis-broker status",
        "En nog 2 eerdere meldingen",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn a_subject_has_one_line_whatever_the_name() {
    assert_eq!(mail::header("[Stad] page x"), "[Stad] page x");
    assert_eq!(mail::header("a\r\nBcc: x@y.example"), "aBcc: x@y.example");
    for name in ["Café", "é\r\nBcc: x@y.example", &"é".repeat(200), "=?utf-8?B?eA==?="] {
        let encoded = mail::header(name);
        let words: Vec<&str> = encoded.split("\r\n ").collect();
        let decoded = words.iter().map(|word| {
            assert!(word.len() <= 75 && word.is_ascii(), "RFC 2047, 2: {word}");
            let inner = word.strip_prefix("=?utf-8?B?").and_then(|word| word.strip_suffix("?=")).unwrap();
            String::from_utf8(data_encoding::BASE64.decode(inner.as_bytes()).unwrap()).unwrap()
        });
        assert_eq!(decoded.collect::<String>(), name.replace(['\r', '\n'], ""));
    }
}

#[tokio::test]
async fn a_relay_that_refuses_or_is_not_there_is_a_failure_with_words() {
    let (_dir, home, config) = broker();
    let (port, _lines) = relay("554 not\x1b[2J here");
    let refused = mail(&home, &config, port).send(&batch()).await.unwrap_err();
    assert!(
        refused.what.en.contains("did not take the alarms") && !refused.what.en.contains('\x1b'),
        "{refused}"
    );
    let gone = mail(&home, &config, 1).send(&batch()).await.unwrap_err();
    assert!(gone.what.nl.contains("127.0.0.1") && gone.advice.en.contains("[alerts.mail]"), "{gone}");
}

#[test]
fn a_password_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, home, config) = broker();
    let settings = MailSettings {
        relay: "127.0.0.1:25".into(),
        from: "a@b.example".into(),
        to: vec!["a@b.example".into()],
        user: "seinhuis".into(),
        password: "relay.password".into(),
        ..MailSettings::default()
    };
    let path = dir.path().join("relay.password");
    std::fs::write(&path, "geheim\n").unwrap();
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o640);
    assert!(Mail::new(&settings, &config, &home).unwrap_err().advice.en.contains("chmod"));
    mode(0o600);
    let mail = Mail::new(&settings, &config, &home).unwrap();
    assert!(!format!("{mail:?}").contains("geheim"), "in no log");
}

/// A receiver that gives the head and body of what it was sent, and answers with this status.
fn receiver(status: u16) -> (u16, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (out, posts) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            _ = out.send((head, body));
        }
    });
    (port, posts)
}

fn hook(home: &Home, config: &Config, port: u16) -> Hook {
    let url = format!("http://127.0.0.1:{port}/alarm?token=verborgen");
    Hook::new(&WebhookSettings { url, ..WebhookSettings::default() }, config, home).unwrap()
}

#[tokio::test]
async fn a_webhook_is_signed_with_the_secret_that_is_shown() {
    let (_dir, home, config) = broker();
    let (port, posts) = receiver(200);
    let batch = batch();
    hook(&home, &config, port).send(&batch).await.unwrap();
    let (head, body) = posts.recv().unwrap();
    let field = |name: &str| {
        let of = |line: &str| {
            line.split_once(':')
                .filter(|(own, _)| own.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
        };
        head.lines().find_map(of).unwrap()
    };
    let at = Timestamp(field("webhook-timestamp").parse::<u64>().unwrap() * 1000);
    let standing = secrets(&home).standing(at).unwrap();
    let [id, _, signature] = seinhuis_shell::webhook::fields(&standing.all, &batch.id, at, &body);
    assert_eq!((field("webhook-id"), field("webhook-signature")), (id.1, signature.1));
    let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&event["type"], &event["data"]["more"]), (&"nl.seinhuis.alarm".into(), &2.into()));
    let notice = &event["data"]["notices"][0];
    assert_eq!(
        (&notice["turn"], &notice["code"], &notice["severity"]),
        (&"begins".into(), &"quorum-old".into(), &"ticket".into())
    );
    assert!(notice["what"]["nl"].is_string() && notice["advice"]["en"].is_string());
}

#[tokio::test]
async fn a_receiver_that_refuses_is_a_failure_whose_words_hold_no_address() {
    let (_dir, home, config) = broker();
    let (port, _posts) = receiver(500);
    for port in [port, 1] {
        let hook = hook(&home, &config, port);
        let complaint = hook.send(&batch()).await.unwrap_err();
        let said = format!("{complaint:?} {hook:?}");
        assert!(said.contains("127.0.0.1") && !said.contains("verborgen"), "{said}");
    }
}

#[tokio::test]
async fn what_was_told_is_not_told_again_after_a_start_and_what_waits_is() {
    let (_dir, home, _config) = broker();
    let limits = Limits::default();
    let (first, _) = desk(&home);
    first.take(NOW, old(), None, &limits).await;
    let batch = first.next("mail").await;
    first.sent("mail").await;
    let waiting = first.next("webhook").await;
    assert_eq!((batch.notices.len(), waiting.notices.len()), (1, 1));
    drop(first);
    let (second, monitor) = desk(&home);
    assert_eq!(monitor.judged().alarms.len(), 1, "shown at once");
    second.take(NOW.plus(Span::minutes(1)), old(), None, &limits).await;
    assert_eq!(second.next("webhook").await, waiting, "with the same id");
    second.sent("webhook").await;
    second.empty().await;
    let mode = std::fs::metadata(home.alerts().join("state.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    // One that cannot be read costs no more than that everything is told once more.
    drop(second);
    seinhuis_shell::files::write_private(
        &home.alerts().join("state.json"),
        b"{",
        seinhuis_shell::files::Existing::Replace,
    )
    .unwrap();
    let (third, _) = desk(&home);
    third.take(NOW.plus(Span::minutes(2)), old(), None, &limits).await;
    assert_eq!(third.next("mail").await.notices.len(), 1);
}

#[tokio::test]
async fn a_channel_that_fails_is_seen_and_what_waits_for_it_stays_bounded() {
    let (_dir, home, _config) = broker();
    let limits = Limits { over_after_minutes: 1, ..Limits::default() };
    let (desk, monitor) = desk(&home);
    let mut now = NOW;
    desk.take(now, old(), None, &limits).await;
    let first = desk.next("mail").await;
    desk.failed(
        "mail",
        &Complaint::usage(
            seinhuis_shell::lang::Text::new("weg", "gone"),
            seinhuis_shell::lang::Text::same("x"),
        ),
    );
    assert_eq!(desk.failing()[0].name, "mail");
    let many: Vec<Finding> = (0..700)
        .map(|number| Finding {
            subject: format!("{number:020}"),
            ..finding(Code::RefusalBurst, Severity::Ticket)
        })
        .collect();
    now = now.plus(Span::minutes(1));
    desk.take(now, many, None, &limits).await;
    assert_eq!(desk.next("mail").await, first, "what is being sent stays what it is");
    let state = monitor.judged().channels[0].clone();
    assert_eq!((state.waiting, state.error.unwrap().1.as_str()), (501, "gone"));
    desk.sent("mail").await;
    assert!(desk.failing().is_empty());
    let next = desk.next("mail").await;
    assert_eq!((next.notices.len(), next.more), (BATCH_MAX, 200));
}

#[test]
fn the_subject_is_that_of_the_most_haste() {
    let mut batch = batch();
    let mut other = batch.notices[0].clone();
    (other.alarm.severity, other.alarm.code) = (Severity::Page, Code::DiskScarce);
    batch.notices.push(other.clone());
    assert!(subject(&batch).starts_with("page disk-scarce") && subject(&batch).ends_with("(+1)"));
    other.turn = Turn::Over;
    batch.notices = vec![other];
    assert!(subject(&batch).starts_with("voorbij/over: page disk-scarce"));
    assert_eq!(subject(&Batch::test()), "proef / test");
}
