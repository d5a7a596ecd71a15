//! What states and figures are called, in both languages.

use maud::{Markup, html};
use seinhuis_shared::refusal::{Lang, Refusal};
use seinhuis_shared::time::Timestamp;
use serde_json::Value;

use super::shape::readable;

/// A day, in milliseconds.
pub(super) const DAY_MS: u64 = 86_400_000;

/// How far a message sent is.
pub(super) fn stage(state: &str, lang: Lang) -> &'static str {
    match state {
        "draft" => lang.pick("in de wachtrij", "queued"),
        "sealed" => lang.pick("onderweg", "on its way"),
        "accepted" => lang.pick("aangenomen", "accepted"),
        "refused" => lang.pick("geweigerd", "refused"),
        "expired" => lang.pick("verlopen", "expired"),
        "held" => lang.pick("wacht op vrijgave", "waits for release"),
        "denied" => lang.pick("tegengehouden", "denied"),
        _ => lang.pick("onbekend", "unknown"),
    }
}

/// How far a message is at a recipient.
pub(super) fn reached(state: &str, lang: Lang) -> &'static str {
    match state {
        "accepted" => lang.pick("aangenomen door de broker", "accepted by the broker"),
        "stored" => lang.pick("opgeslagen bij de ontvanger", "stored at the recipient"),
        "quarantined" => lang.pick("in quarantaine bij de ontvanger", "quarantined at the recipient"),
        "consumed" => lang.pick("overgenomen door de ontvanger", "taken over by the recipient"),
        "withdrawn" => lang.pick("teruggenomen", "taken back"),
        "expired" => lang.pick("verlopen, niet opgehaald", "expired, not fetched"),
        _ => lang.pick("vernietigd", "destroyed"),
    }
}

/// How far a correction is.
pub(super) fn correction(state: &str, lang: Lang) -> &'static str {
    match state {
        "waiting" => lang
            .pick("wacht tot bekend is wie het bericht heeft", "waits until it is known who has the message"),
        "open" => lang.pick("gemeld, nog niet bevestigd", "told, not confirmed yet"),
        "done" => lang.pick("bevestigd", "confirmed"),
        "refused" => lang.pick("geweigerd", "refused"),
        _ => lang.pick("niet nodig", "not needed"),
    }
}

/// Whether a person was told that there are data.
pub(super) fn duty(duty: &str, lang: Lang) -> &'static str {
    match duty {
        "open" => lang.pick("nog te informeren", "to be told"),
        "postponed" => lang.pick("uitgesteld", "postponed"),
        "informed" => lang.pick("geïnformeerd", "told"),
        _ => lang.pick("uitgezonderd", "exempt"),
    }
}

/// What is said of a message: a correction or a withdrawal.
pub(super) fn kind(kind: &str, lang: Lang) -> &'static str {
    if kind == "withdrawal" {
        lang.pick("intrekking", "withdrawal")
    } else {
        lang.pick("correctie", "correction")
    }
}

/// A refusal that is in a value as number and name, in a sentence.
pub(super) fn refusal(value: &Value, lang: Lang) -> Option<String> {
    let number = value.get("number")?.as_u64()?;
    let known = u16::try_from(number).ok().and_then(Refusal::from_number);
    Some(known.map_or_else(
        || number.to_string(),
        |one| format!("{} ({number})", one.what(lang).trim_end_matches('.')),
    ))
}

/// The text at a key; empty when there is none.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A moment as people read it, in UTC.
pub(super) fn when(text: &str) -> Markup {
    let shown = text
        .get(..16)
        .map_or_else(|| "–".to_owned(), |minute| format!("{} UTC", minute.replacen('T', " ", 1)));
    html! { @if text.is_empty() { "–" } @else { time datetime=(text) { (shown) } } }
}

/// The day of a moment, in UTC.
pub(super) fn day(text: &str) -> Markup {
    html! { @match text.get(..10) { Some(day) => time datetime=(day) { (day) }, None => "–" } }
}

/// How many days are left until a moment, and that moment.
pub(super) fn countdown(until: &str, now: Timestamp, lang: Lang) -> Markup {
    let Some(end) = Timestamp::parse(until) else { return html! { "–" } };
    let days = end.0.saturating_sub(now.0).div_ceil(DAY_MS);
    let left = match days {
        0 => lang.pick("de termijn is om", "the term is over").to_owned(),
        1 => lang.pick("nog 1 dag", "1 day left").to_owned(),
        days => format!("{} {days} {}", lang.pick("nog", "still"), lang.pick("dagen", "days")),
    };
    html! { (left) " (" (when(until)) ")" }
}

/// A value of a body as people read it.
pub(super) fn value(value: &Value, lang: Lang) -> String {
    match value {
        Value::Bool(true) => lang.pick("ja", "yes").to_owned(),
        Value::Bool(false) => lang.pick("nee", "no").to_owned(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A body as people read it: each field by its name, in the language of the covenant.
pub(super) fn body(value: &Value, lang: Lang) -> Markup {
    html! {
        @match value {
            Value::Object(fields) => {
                dl class="body" lang="nl" {
                    @for (name, inner) in fields {
                        div { dt { (readable(name)) } dd { (body(inner, lang)) } }
                    }
                }
            }
            Value::Array(rows) if rows.iter().any(|row| row.is_object() || row.is_array()) => {
                ol class="rows" { @for row in rows { li { (body(row, lang)) } } }
            }
            Value::Array(rows) => {
                (rows.iter().map(|row| super::words::value(row, lang)).collect::<Vec<_>>().join(", "))
            }
            leaf => { span class="text" { (super::words::value(leaf, lang)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn days_are_counted_up_to_the_last_one() {
        let now = Timestamp::parse("2026-03-01T12:00:00Z").unwrap();
        let left = |until: &str| countdown(until, now, Lang::En).into_string();
        assert!(left("2026-03-03T12:00:00Z").starts_with("still 2 days"));
        assert!(left("2026-03-02T11:00:00Z").starts_with("1 day left"));
        assert!(left("2026-02-02T11:00:00Z").starts_with("the term is over"));
        assert_eq!(left("x"), "–");
    }

    #[test]
    fn a_body_is_text_and_never_markup() {
        let shown = body(
            &json!({ "naam": "<script>alert(1)</script>", "rij": ["a", "&"], "n": { "x": true } }),
            Lang::Nl,
        );
        let shown = shown.into_string();
        assert!(
            shown.contains("&lt;script&gt;") && shown.contains("a, &amp;") && shown.contains(">ja<"),
            "{shown}"
        );
        assert!(!shown.contains("<script"));
    }
}
