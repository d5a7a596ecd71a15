//! Lines that are no entries, fall in time, or are not what was asked.

use seinhuis_verify::Code;

use super::{Beast, altered, some, whole};
use crate::build::{self, Ask, CASE, GEMEENTE, Parts, entries as log, time};
use crate::good;

/// With line 8 changed, consistently: the tree is that of the changed line.
fn entry(name: &str, change: impl FnOnce(&str) -> String) -> Beast {
    let mut log = log(60);
    let changed = change(&log[7]);
    assert!(changed != log[7], "{name}");
    log[7] = changed;
    let parts = Parts::new(&log, &(0..60).collect(), &Ask { complete: true, question: Vec::new() });
    altered(&format!("entry: {name}"), Code::BadEntry, Some(8), parts, |_| {})
}

fn replaced(name: &str, from: &str, to: &str) -> Beast {
    entry(name, |line| {
        assert!(line.contains(from), "{name}");
        line.replacen(from, to, 1)
    })
}

/// Lines that are not written the way an entry is.
fn forms() -> Vec<Beast> {
    vec![
        replaced("white space", "\"v\":1", "\"v\": 1"),
        replaced("white space before", "{", " {"),
        entry("white space after", |line| line.to_owned() + " "),
        entry("CRLF", |line| line.to_owned() + "\r"),
        replaced("keys out of order", "\"basis\"", "\"zasis\""),
        replaced("key twice", "\"v\":1", "\"v\":1,\"v\":1"),
        replaced("unknown key", "\"v\":1", "\"v\":1,\"w\":1"),
        replaced("key with a capital", "\"basis\"", "\"Basis\""),
        replaced("empty key", "{", "{\"\":1,"),
        replaced("other version", "\"v\":1", "\"v\":2"),
        replaced("no version", ",\"v\":1", ""),
        replaced("no time", &format!("\"time\":{},", time(7)), ""),
        replaced("no salt", "\"salt\":\"", "\"packet\":\""),
        replaced("no kind", "\"kind\":\"accepted\",", ""),
        replaced("unknown kind", "\"kind\":\"accepted\"", "\"kind\":\"approved\""),
        replaced("negative time", "\"time\":", "\"time\":-"),
        replaced("leading zero", "\"recipients\":1", "\"recipients\":01"),
        replaced("minus zero", "\"recipients\":1", "\"recipients\":-0"),
        replaced("fraction", "\"recipients\":1", "\"recipients\":1.0"),
        replaced("exponent", "\"recipients\":1", "\"recipients\":1e0"),
        replaced("huge number", "\"recipients\":1", "\"recipients\":9007199254740992"),
        replaced("number above 2^64", "\"recipients\":1", "\"recipients\":18446744073709551617"),
        replaced(
            "number of 5000 digits",
            "\"recipients\":1",
            &format!("\"recipients\":{}", "1".repeat(5000)),
        ),
        replaced("null", "\"recipients\":1", "\"recipients\":null"),
        replaced("true", "\"recipients\":1", "\"recipients\":true"),
        replaced("object", "\"recipients\":1", "\"recipients\":{\"a\":1}"),
        replaced("deep arrays", "\"recipients\":1", &format!("\"recipients\":{}", "[".repeat(3000))),
        replaced("text for a number", "\"recipients\":1", "\"recipients\":\"1\""),
        replaced("number for a text", "\"level\":\"G\"", "\"level\":1"),
    ]
}

/// Values an entry may not have.
fn values() -> Vec<Beast> {
    let salt = "\"salt\":\"";
    vec![
        replaced("empty text", "\"level\":\"G\"", "\"level\":\"\""),
        replaced("text of 257 bytes", "\"level\":\"G\"", &format!("\"level\":\"{}\"", "G".repeat(257))),
        replaced("categories of 2080 bytes", "locatie", &"l".repeat(2080)),
        replaced("needless escape", "\"level\":\"G\"", "\"level\":\"\\u0047\""),
        replaced("newline in a text", "\"level\":\"G\"", "\"level\":\"G\\n\""),
        replaced("NUL in a text", "\"level\":\"G\"", "\"level\":\"G\0\""),
        replaced("escaped NUL in a text", "\"level\":\"G\"", "\"level\":\"G\\u0000\""),
        replaced("DEL in a text", "\"level\":\"G\"", "\"level\":\"G\u{7f}\""),
        replaced("C1 control in a text", "\"level\":\"G\"", "\"level\":\"\u{85}\""),
        replaced("line separator in a text", "\"level\":\"G\"", "\"level\":\"\u{2028}\""),
        replaced("surrogate", "\"level\":\"G\"", "\"level\":\"\\ud800\""),
        replaced("reason 0", "\"recipients\":1", "\"reason\":0,\"recipients\":1"),
        replaced("salt in upper case", salt, "\"salt\":\"A"),
        replaced("salt too short", salt, "\"salt\":\"\",\"step\":\""),
        replaced("OIN in lower case", GEMEENTE, "0000009900000000100a"),
        replaced("case that is no UUID", CASE, "11111111-2222-4333-8444-55555555555"),
        entry("covenant in upper case", |line| {
            let hash = build::covenant(1).0;
            line.replace(&hash, &hash.to_uppercase())
        }),
        entry("array", |_| "[]".to_owned()),
        entry("empty object", |_| "{}".to_owned()),
        entry("empty line", |_| String::new()),
        entry("comma at the end", |line| line.replace("\"v\":1}", "\"v\":1,}")),
        entry("bytes after the object", |line| line.to_owned() + "}"),
        entry("cut off", |line| line[..line.len() - 1].to_owned()),
        entry("byte order mark", |line| format!("\u{feff}{line}")),
    ]
}

pub(crate) fn entries() -> Vec<Beast> {
    [forms(), values()].into_iter().flatten().collect()
}

/// A whole log in which two entries stand in each other's place.
fn swapped(question: Vec<(&'static str, String)>) -> Parts {
    let mut log = log(60);
    log.swap(20, 40);
    Parts::new(&log, &(0..60).collect(), &Ask { complete: true, question })
}

pub(crate) fn orders() -> Vec<Beast> {
    let mut late = log(60);
    late[10] = late[10].replace(&time(10).to_string(), &(time(10) + 1).to_string());
    let late = Parts::new(&late, &(0..60).collect(), &Ask { complete: true, question: Vec::new() });
    vec![
        altered("order: two entries swapped", Code::BadOrder, Some(22), swapped(Vec::new()), |_| {}),
        altered("order: a millisecond", Code::BadOrder, Some(12), late, |_| {}),
        altered(
            "order: before an entry that is not in the period",
            Code::BadOrder,
            Some(22),
            swapped(vec![("until", time(5).to_string())]),
            |_| {},
        ),
        altered(
            "order: comes after an entry that does not read",
            Code::BadEntry,
            Some(50),
            {
                let mut log = log(60);
                log.swap(20, 40);
                log[49] = log[49].replace("\"v\":1", "\"v\":3");
                Parts::new(&log, &(0..60).collect(), &Ask { complete: true, question: Vec::new() })
            },
            |_| {},
        ),
    ]
}

/// A complete bundle of these indices out of 100 for a period, whatever is right.
fn claims(from: Option<u64>, until: Option<u64>, picked: core::ops::Range<usize>) -> Parts {
    let mut question = Vec::new();
    question.extend(from.map(|from| ("from", from.to_string())));
    question.extend(until.map(|until| ("until", until.to_string())));
    Parts::new(&log(100), &picked.collect(), &Ask { complete: true, question })
}

pub(crate) fn questions() -> Vec<Beast> {
    let complete = |name: &str, line: Option<u64>, from: Option<u64>, until: Option<u64>, picked| {
        let parts = claims(from, until, picked);
        altered(&format!("complete: {name}"), Code::BadQuestion, line, parts, |_| {})
    };
    let (from, until) = (Some(time(20)), Some(time(40)));
    let mut all = vec![
        // Right is 19..41.
        complete("two before the period", Some(2), from, until, 18..41),
        complete("two after the period", Some(22), from, until, 19..42),
        complete("nothing before the period", Some(1), from, until, 20..41),
        complete("nothing after the period", Some(21), from, until, 19..40),
        complete("the first of the period missing", Some(1), from, until, 21..41),
        complete("the last of the period missing", Some(20), from, until, 19..39),
        complete("one entry, before", Some(1), from, until, 19..20),
        complete("one entry, after", Some(1), from, until, 40..41),
        complete("one entry, inside", Some(1), from, until, 30..31),
        complete("no entries", None, from, until, 30..30),
        complete("of everything, the first missing", Some(1), None, None, 1..100),
        complete("of everything, the last missing", Some(99), None, None, 0..99),
        complete("of everything, nothing", None, None, None, 0..0),
        complete("after the log, not its last", Some(1), Some(time(500)), None, 98..99),
        complete("before the log, not its first", Some(1), None, Some(time(0)), 1..2),
        altered(
            "complete: two runs",
            Code::BadQuestion,
            None,
            {
                let picked = (0..100).filter(|index| *index != 50).collect();
                Parts::new(&log(100), &picked, &Ask { complete: true, question: Vec::new() })
            },
            |_| {},
        ),
        altered("complete: with a filter", Code::BadQuestion, None, whole(), |parts| {
            parts.set("kind", "\"accepted\"");
        }),
        altered(
            "complete: with a filter, of an empty log",
            Code::BadQuestion,
            None,
            good::complete(0, None, None),
            |parts| {
                parts.set("flow", "\"F02\"");
            },
        ),
    ];
    let asks = |name: &str, field: &str, value: &str| {
        altered(&format!("selection: {name}"), Code::BadQuestion, None, some(), |parts| {
            parts.set(field, value);
        })
    };
    let one = |name: &str, index: usize, question: &[(&'static str, &str)]| {
        let question = question.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let parts = Parts::new(&log(100), &[index].into(), &Ask { complete: false, question });
        altered(&format!("selection: {name}"), Code::BadQuestion, Some(1), parts, |_| {})
    };
    all.extend([
        asks("of another flow", "flow", "\"F03\""),
        asks("of another kind", "kind", "\"refused\""),
        asks("of another case", "case", &format!("\"{CASE}\"")),
        asks("of another organisation", "organisation", "\"00000099000000003000\""),
        asks("before the period", "from", &time(200).to_string()),
        asks("after the period", "until", &time(200).to_string()),
        asks("at the end of the period", "until", &time(398).to_string()),
        asks("accepted, for a refusal", "result", "\"205\""),
        one("refused, for an acceptance", 5, &[("result", "\"accepted\"")]),
        one("of another reason", 5, &[("result", "\"206\"")]),
        one("without a flow, for a flow", 3, &[("flow", "\"F03\"")]),
        one("without a case, for a case", 3, &[("case", &format!("\"{CASE}\""))]),
        one("a neighbour of the period", 19, &[("from", &time(20).to_string())]),
    ]);
    all
}
