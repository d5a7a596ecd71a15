//! Scene 9: an export for an auditor, checked by a program that shares nothing with the broker.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use seinhuis_tests::export::tampered;
use seinhuis_verify::say::{Language, sentence};
use seinhuis_verify::{Code, Key, Policy, Verdict};

use serde_json::Value;

use crate::partnership;
use crate::show::{Show, text};
use crate::trouble::{Told, Trouble, check};

/// The other verifier, written apart from this one.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../verify/verify.py");

/// Exports the whole log, has it verified with the trust policy of a partner, and has a changed copy refused.
///
/// # Errors
/// When a good export is refused, or a changed one is not.
pub(crate) fn play(show: &mut Show) -> Told {
    show.teller.scene(9, "Export voor een auditor", "An export for an auditor");
    partnership::start_agents(show, &mut || ())?;
    show.teller.line(
        "De agents draaien weer: zij tekenen het log mee waarop de export rust.",
        "The agents are running again: they cosign the log that the export rests on.",
    );
    let language = if show.teller.pick("nl", "en") == "nl" { Language::Dutch } else { Language::English };
    let out = show.stage.dir.join("export.zip");
    let place = out.to_string_lossy().into_owned();
    let purpose = show.teller.pick("Demonstratie van een controle", "Demonstration of an audit");
    show.stage.broker(&["export", "--purpose", purpose, "--out", &place])?;
    let said = show.stage.broker(&["log", "key"])?;
    let key = Key::parse(text(&said, "key")).map_err(|_| Trouble::bug())?;
    let partner = show.stage.members.first().ok_or_else(Trouble::bug)?;
    let policy = show.stage.agent(partner, &["log", "policy"])?;
    let policy = text(&policy, "policy").to_owned();
    std::fs::write(show.stage.dir.join("policy.txt"), &policy)?;
    let policy = Policy::parse(policy.as_bytes()).map_err(|_| Trouble::bug())?;
    let verdict = verify(&out, &key, &policy)?;
    let Verdict::Good(good) = &verdict else {
        let told = sentence(&verdict, language);
        return Err(Trouble::new(
            format!("De export is afgekeurd: {told}"),
            format!("The export was refused: {told}"),
        ));
    };
    let told = sentence(&verdict, language);
    show.teller.right(format!("seinhuis-verify: good. {told}"), format!("seinhuis-verify: good. {told}"));
    by_the_script(show, &out, text(&said, "key"), (Code::Good, None))?;
    let changed = show.stage.dir.join("export-changed.zip");
    let mut line = 0_u64;
    tampered(&out, &changed, "entries.jsonl", |lines| {
        line =
            (1..).zip(lines.lines()).find(|(_, line)| line.contains("\"refused\"")).map_or(0, |(at, _)| at);
        lines.replacen("\"refused\"", "\"expired\"", 1)
    })?;
    let verdict = verify(&changed, &key, &policy)?;
    let named = match &verdict {
        Verdict::Bad(failure) => failure.line,
        Verdict::Good(_) => None,
    };
    check(
        verdict.code() == Code::BadLine && named == Some(line),
        "De veranderde regel van een export is niet genoemd.",
        "The line of an export that was changed was not named.",
    )?;
    show.teller.line(
        "Iemand werkt in een kopie een weigering weg, en verandert verder niets.",
        "In a copy somebody covers up a refusal, and changes nothing else.",
    );
    let told = sentence(&verdict, language);
    show.teller.right(
        format!("seinhuis-verify: {}, regel {line}. {told}", verdict.code()),
        format!("seinhuis-verify: {}, line {line}. {told}", verdict.code()),
    );
    by_the_script(show, &changed, text(&said, "key"), (verdict.code(), named))?;
    let count = good.count;
    show.sum(
        ("export", format!("{count} logregels, volledig, los van de broker nagerekend")),
        ("export", format!("{count} log entries, complete, verified apart from the broker")),
    );
    Ok(())
}

fn verify(bundle: &Path, key: &Key, policy: &Policy) -> Told<Verdict> {
    Ok(seinhuis_verify::verify(File::open(bundle)?, key, Some(policy))?)
}

/// Has the script judge a bundle too, where Python and `cryptography` are at hand. It has to say the same.
fn by_the_script(show: &mut Show, bundle: &Path, key: &str, expected: (Code, Option<u64>)) -> Told {
    let mut probe = Command::new("python3");
    let there = probe.args(["-c", "import cryptography"]).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        show.teller.line(
            "verify.py: niet gedraaid, want python3 met `cryptography` is er niet",
            "verify.py: not run, because there is no python3 with `cryptography`",
        );
        return Ok(());
    }
    let policy = show.stage.dir.join("policy.txt");
    let mut script = Command::new("python3");
    script.args(["-B", SCRIPT, "--json", "--key", key, "--policy"]).arg(policy).arg(bundle);
    let said: Value = serde_json::from_slice(&script.output()?.stdout).unwrap_or_default();
    let (code, line) = expected;
    check(
        text(&said, "verdict") == code.as_str() && said.get("line").and_then(Value::as_u64) == line,
        "De twee controleprogramma's zeggen niet hetzelfde.",
        "The two verifiers do not say the same.",
    )?;
    let [nl, en] =
        line.map_or_else(Default::default, |line| [format!(", regel {line}"), format!(", line {line}")]);
    show.teller.right(
        format!("verify.py zegt hetzelfde: {code}{nl}"),
        format!("verify.py says the same: {code}{en}"),
    );
    Ok(())
}
