//! Scene 8: an export for an auditor, checked by a program that shares nothing with the broker.

use std::fs::File;
use std::path::Path;

use seinhuis_tests::export::tampered;
use seinhuis_verify::say::{Language, sentence};
use seinhuis_verify::{Code, Key, Verdict};

use crate::show::{Show, text};
use crate::trouble::{Told, Trouble, check};

/// Exports the whole log, has it verified, and has a changed copy refused.
///
/// # Errors
/// When a good export is refused, or a changed one is not.
pub(crate) fn play(show: &mut Show) -> Told {
    show.teller.scene(8, "Export voor een auditor", "An export for an auditor");
    let language = if show.teller.pick("nl", "en") == "nl" { Language::Dutch } else { Language::English };
    let out = show.stage.dir.join("export.zip");
    let place = out.to_string_lossy().into_owned();
    let purpose = show.teller.pick("Demonstratie van een controle", "Demonstration of an audit");
    show.stage.broker(&["export", "--purpose", purpose, "--out", &place])?;
    let said = show.stage.broker(&["log", "key"])?;
    let key = Key::parse(text(&said, "key")).map_err(|_| Trouble::bug())?;
    let verdict = verify(&out, &key)?;
    let Verdict::Good(good) = &verdict else {
        return Err(Trouble::new("De export is afgekeurd.", "The export was refused."));
    };
    let told = sentence(&verdict, language);
    show.teller.right(format!("seinhuis-verify: good. {told}"), format!("seinhuis-verify: good. {told}"));
    let changed = show.stage.dir.join("export-changed.zip");
    tampered(&out, &changed, "entries.jsonl", |lines| lines.replacen("\"refused\"", "\"expired\"", 1))?;
    let verdict = verify(&changed, &key)?;
    check(
        verdict.code() == Code::BadSums,
        "Een veranderde export is niet afgekeurd.",
        "A changed export was not refused.",
    )?;
    show.teller.right(
        format!("een kopie waarin één weigering is weggewerkt: {}", sentence(&verdict, language)),
        format!("a copy in which one refusal was covered up: {}", sentence(&verdict, language)),
    );
    let count = good.count;
    show.sum(
        ("export", format!("{count} logregels, volledig, los van de broker nagerekend")),
        ("export", format!("{count} log entries, complete, verified apart from the broker")),
    );
    Ok(())
}

fn verify(bundle: &Path, key: &Key) -> Told<Verdict> {
    Ok(seinhuis_verify::verify(File::open(bundle)?, key, None)?)
}
