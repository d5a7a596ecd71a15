//! Page one of a bundle: what it proves, and how to check that.

use super::bundle::Parts;

/// The text, Dutch and English.
pub(super) fn text(parts: &Parts<'_>) -> String {
    let question = parts.question;
    let complete = question.is_period();
    let word = if complete { "COMPLETE" } else { "SELECTION" };
    let period_nl = period(parts, "van", "tot", "begin", "einde");
    let period_en = period(parts, "from", "until", "beginning", "end");
    let (size, count, origin, key) =
        (parts.checkpoint.size(), parts.count, &parts.source.key.1.origin, &parts.source.key.1.key);
    let (proves_nl, proves_en) = if complete {
        (
            "Dit is ALLES wat het uitwisselingslog over deze periode bevat. Er is geen regel weggelaten, toegevoegd of veranderd; de eerste en laatste regel kunnen de buren buiten de periode zijn, die dat aantonen.",
            "This is EVERYTHING the exchange log holds about this period. No entry was left out, added or changed; the first and the last line may be the neighbours outside the period, which show that.",
        )
    } else {
        (
            "Dit is een SELECTIE. Elke regel staat zo in het uitwisselingslog; dat er geen andere regels zijn die bij de vraag horen, bewijst dit bestand niet. Vraag daarvoor een export van een hele periode.",
            "This is a SELECTION. Every line stands in the exchange log as it does here; that there are no other entries that belong to the question is not proved by this file. Ask for an export of a whole period for that.",
        )
    };
    format!(
        "{word}\n\nUITWISSELINGSLOG {origin}\n\n{proves_nl}\n\nDoel: {purpose}\nPeriode: {period_nl}\nRegels: {count} van {size}\nSleutel van het log: {key}\n\nControleren, zonder netwerk:\n  seinhuis-verify BESTAND.zip --key 'SLEUTEL'\n  python3 verify.py --key 'SLEUTEL' BESTAND.zip\nNeem de sleutel uit een andere bron dan dit bestand: elke deelnemer heeft hem. Bij entries.jsonl is elke regel het bewijs zelf; entries.csv is een weergave en bewijst niets.\n\n---\n\nEXCHANGE LOG {origin}\n\n{proves_en}\n\nPurpose: {purpose}\nPeriod: {period_en}\nEntries: {count} of {size}\nKey of the log: {key}\n\nTo check, without a network:\n  seinhuis-verify FILE.zip --key 'KEY'\n  python3 verify.py --key 'KEY' FILE.zip\nTake the key from another source than this file: every partner has it. In entries.jsonl each line is the evidence itself; entries.csv is a view and proves nothing.\n",
        purpose = question.purpose,
    )
}

fn period(parts: &Parts<'_>, from: &str, until: &str, begin: &str, end: &str) -> String {
    let say = |at: Option<seinhuis_shared::time::Timestamp>, none: &str| {
        at.map_or_else(|| none.to_owned(), |at| at.to_string())
    };
    format!("{from} {} {until} {}", say(parts.question.from, begin), say(parts.question.until, end))
}
