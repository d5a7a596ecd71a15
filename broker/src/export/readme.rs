//! Page one of a bundle: what it proves, and how to check that.

use seinhuis_shared::time::Timestamp;

use super::state::Pins;

/// Where covenants are in a bundle.
pub(super) const COVENANTS: (&str, &str) = (
    "Elke versie die de broker heeft, staat als covenants/HASH.cbor in dit bestand.",
    "Every version the broker holds is in this file as covenants/HASH.cbor.",
);

/// What a bundle proves, Dutch and English.
pub(super) const fn proves(complete: bool) -> (&'static str, &'static str) {
    if complete {
        (
            "Dit is ALLES wat het uitwisselingslog over deze periode bevat. Er is geen regel weggelaten, toegevoegd of veranderd; de eerste en laatste regel kunnen de buren buiten de periode zijn, die dat aantonen.",
            "This is EVERYTHING the exchange log holds about this period. No entry was left out, added or changed; the first and the last line may be the neighbours outside the period, which show that.",
        )
    } else {
        (
            "Dit is een SELECTIE. Elke regel staat zo in het uitwisselingslog; dat er geen andere regels zijn die bij de vraag horen, bewijst dit bestand niet. Vraag daarvoor een export van een hele periode.",
            "This is a SELECTION. Every line stands in the exchange log as it does here; that there are no other entries that belong to the question is not proved by this file. Ask for an export of a whole period for that.",
        )
    }
}

/// What was asked: a name in Dutch, one in English, and the value; what was not asked is not there.
pub(super) fn asked(pins: &Pins) -> Vec<(&'static str, &'static str, String)> {
    let question = &pins.question;
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let all = [
        ("Doel", "Purpose", Some(question.purpose.clone())),
        ("Gevraagd door", "Asked by", question.asked_by.clone()),
        ("Van", "From", time(question.from)),
        ("Tot", "Until", time(question.until)),
        ("Organisatie", "Organisation", question.organisation.map(|oin| oin.to_string())),
        ("Stroom", "Flow", question.flow.clone()),
        ("Soort", "Kind", question.kind.clone()),
        ("Resultaat", "Result", question.result.clone()),
        ("Zaak", "Case", question.case.clone()),
    ];
    all.into_iter().filter_map(|(nl, en, value)| Some((nl, en, value?))).collect()
}

/// The text of `README.txt`.
pub(super) fn text(pins: &Pins, origin: &str, count: u64) -> String {
    let complete = pins.question.is_period();
    let word = if complete { "COMPLETE" } else { "SELECTION" };
    let (proves_nl, proves_en) = proves(complete);
    let (key, size) = (&pins.log_key, pins.size);
    let asked = asked(pins);
    let list = |pick: fn(&(&'static str, &'static str, String)) -> &'static str| -> String {
        asked.iter().map(|one| format!("{}: {}\n", pick(one), one.2)).collect::<Vec<_>>().concat()
    };
    let (asked_nl, asked_en) = (list(|one| one.0), list(|one| one.1));
    let (views_nl, views_en) = if pins.views {
        (
            " De andere bestanden met regels (report.html, entries.csv, entries-excel.csv, entries.xlsx) zijn weergaven en bewijzen niets.",
            " The other files with entries (report.html, entries.csv, entries-excel.csv, entries.xlsx) are views and prove nothing.",
        )
    } else {
        ("", "")
    };
    format!(
        "{word}\n\nUITWISSELINGSLOG {origin}\n\n{proves_nl}\n\n{asked_nl}Regels: {count} van {size}\nSleutel van het log: {key}\n\nControleren, zonder netwerk:\n  seinhuis-verify BESTAND.zip --key 'SLEUTEL'\n  python3 verify.py --key 'SLEUTEL' BESTAND.zip\nNeem de sleutel uit een andere bron dan dit bestand: elke deelnemer heeft hem. In entries.jsonl is elke regel het bewijs zelf.{views_nl}\n\n---\n\nEXCHANGE LOG {origin}\n\n{proves_en}\n\n{asked_en}Entries: {count} of {size}\nKey of the log: {key}\n\nTo check, without a network:\n  seinhuis-verify FILE.zip --key 'KEY'\n  python3 verify.py --key 'KEY' FILE.zip\nTake the key from another source than this file: every partner has it. In entries.jsonl each line is the evidence itself.{views_en}\n"
    )
}

/// The lines on the first sheet of a workbook.
pub(super) fn about(pins: &Pins, origin: &str, count: u64) -> Vec<String> {
    let mut lines = vec![
        "Dit werkboek is een weergave en bewijst niets: het bewijs is entries.jsonl. · This workbook is a view and proves nothing: the evidence is entries.jsonl.".to_owned(),
        format!("Uitwisselingslog · Exchange log: {origin}"),
        format!("Regels · Entries: {count} / {}", pins.size),
    ];
    lines.extend(asked(pins).into_iter().map(|(nl, en, value)| format!("{nl} · {en}: {value}")));
    lines
}
