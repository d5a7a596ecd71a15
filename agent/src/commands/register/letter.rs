//! Letters to data subjects, as drafts: somebody reads them before they go.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::ValueEnum;
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::clock;
use seinhuis_shell::lang::Text;
use serde_json::{Value, json};

/// To whom a letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum To {
    /// The person.
    Person,
    /// Who represents the person by law.
    Representatives,
}

/// Below this age others exercise a person's rights (UAVG article 5(4)).
const OF_AGE: u32 = 16;

/// The newest value of a field of a person.
fn detail<'v>(person: &'v Value, field: &str) -> Option<&'v str> {
    let details = person["details"].as_array()?;
    details.iter().rev().find(|pair| pair[0] == field)?[1].as_str()
}

/// A person in a few words, for whoever handles the request.
pub(crate) fn who(person: &Value) -> String {
    let known = ["naam", "geboortedatum", "zaakpersoon"].map(|field| detail(person, field));
    let known: Vec<&str> = known.into_iter().flatten().collect();
    if known.is_empty() { "?".to_owned() } else { known.join(", ") }
}

fn day(text: &str) -> &str {
    text.get(..10).unwrap_or(text)
}

/// Whether somebody born on this day is younger than [`OF_AGE`] at that moment; none when that cannot be told.
fn is_child(born: Option<&str>, now: Timestamp) -> Option<bool> {
    let number = |text: &str, range: std::ops::Range<usize>| text.get(range)?.parse::<u32>().ok();
    let split = |text: &str| Some((number(text, 0..4)?, number(text, 5..7)?, number(text, 8..10)?));
    let (year, month, day) = split(born?)?;
    let (this_year, this_month, this_day) = split(&now.to_string())?;
    let had = (this_month, this_day) >= (month, day);
    let age = this_year.checked_sub(year).and_then(|age| age.checked_sub(u32::from(!had)));
    Some(age.is_none_or(|age| age < OF_AGE))
}

/// A line for each.
fn enumerated(all: BTreeSet<&str>) -> String {
    all.into_iter().fold(String::new(), |lines, one| lines + "  - " + one + "\n")
}

/// The texts of a list of codes, each once, as an enumeration.
fn texts<'v>(messages: impl Iterator<Item = &'v Value>, lang: Lang) -> String {
    let key = lang.pick("nl", "en");
    let all: BTreeSet<&str> = messages.filter_map(|one| one[key].as_str()).collect();
    enumerated(all)
}

/// With whom messages were exchanged, but for those whom none reached.
fn partners(found: &Value, received: bool) -> String {
    let wanted = messages(found).filter(|one| !received || one["direction"] == "received");
    names(wanted.flat_map(|one| {
        let all = one["with"].as_array().into_iter().flatten();
        all.filter(|party| party["oin"].as_str().is_none_or(|oin| !is_lost(one, oin)))
    }))
}

fn names<'v>(parties: impl Iterator<Item = &'v Value>) -> String {
    let all: BTreeSet<&str> =
        parties.filter_map(|one| one["name"].as_str().or_else(|| one["oin"].as_str())).collect();
    enumerated(all)
}

fn messages(found: &Value) -> impl Iterator<Item = &Value> + Clone {
    found["messages"].as_array().into_iter().flatten()
}

fn each<'v>(found: &'v Value, field: &'static str) -> impl Iterator<Item = &'v Value> {
    messages(found).map(move |one| &one[field])
}

fn inner<'v>(found: &'v Value, field: &'static str) -> impl Iterator<Item = &'v Value> {
    messages(found).flat_map(move |one| one[field].as_array().into_iter().flatten())
}

/// Distinct texts that stand directly in each message.
fn plain(found: &Value, field: &'static str) -> String {
    let all: BTreeSet<&str> = each(found, field).filter_map(Value::as_str).collect();
    all.into_iter().collect::<Vec<_>>().join("; ")
}

/// The head of a letter: who writes, when, and to whom.
fn head(organisation: &str, person: &Value, to: To, lang: Lang) -> String {
    let today = clock::now().to_string();
    let unknown = lang.pick("[naam]", "[name]");
    let name = detail(person, "naam").unwrap_or(unknown);
    let greeting = match to {
        To::Person => lang.pick("Beste", "Dear").to_owned() + " " + name,
        To::Representatives => {
            let whom = lang.pick(
                "Geachte ouder(s) of wettelijk vertegenwoordiger(s) van",
                "Dear parent(s) or legal representative(s) of",
            );
            format!("{whom} {name}")
        }
    };
    format!("{organisation}\n{}\n\n{greeting},\n\n", day(&today))
}

/// What a person may do about it.
fn rights(found: &Value, lang: Lang) -> String {
    let contact = plain(found, "contact");
    match lang {
        Lang::Nl => format!(
            "U mag vragen welke gegevens het zijn, en om ze te verbeteren, te wissen of minder te gebruiken. U mag ook \
             bezwaar maken. Stuur uw vraag naar: {contact}. Onze functionaris voor gegevensbescherming: [naam en adres]. \
             Wij antwoorden binnen een maand. Bent u het niet met ons eens, dan kunt u een klacht indienen bij de Autoriteit \
             Persoonsgegevens (autoriteitpersoonsgegevens.nl) of naar de rechter gaan.\n"
        ),
        Lang::En => format!(
            "You may ask which data these are, and to have them corrected, erased or used less. You may also object. \
             Send your question to: {contact}. Our data protection officer: [name and address]. \
             We answer within a month. If you do not agree with us, you can complain to the Dutch Data Protection Authority \
             (autoriteitpersoonsgegevens.nl) or go to court.\n"
        ),
    }
}

/// The line above a draft that says what to do before it goes.
const fn draft(lang: Lang) -> &'static str {
    match lang {
        Lang::Nl => {
            "[CONCEPT. Controleer naam, adres en inhoud. Mag of moet het vertellen worden uitgesteld of beperkt (AVG 14 lid 5 en 23, \
             Wpg 24b en 27), verstuur dit dan niet maar leg het uitstel of de uitzondering vast in het register.]\n\n"
        }
        Lang::En => {
            "[DRAFT. Check name, address and content. If telling may or must be postponed or limited (GDPR 14(5) and 23, Police Data \
             Act 24b and 27), do not send this but keep the postponement or exemption in the register.]\n\n"
        }
    }
}

/// The letters that tell a person, or who represents a child, that there are data: to both when it is a child.
pub(crate) fn telling(organisation: &str, found: &Value, to: Option<To>, lang: Lang) -> Vec<String> {
    let person = &found["persons"][0];
    let child = is_child(detail(person, "geboortedatum"), clock::now());
    let whom = match (to, child) {
        (Some(to), _) => vec![to],
        (None, Some(false)) => vec![To::Person],
        (None, Some(true) | None) => vec![To::Representatives, To::Person],
    };
    whom.into_iter().map(|to| tell(organisation, found, person, to, lang)).collect()
}

/// Letters as one file.
pub(crate) fn file(letters: &[String]) -> String {
    letters.join("\n----\n\n")
}

fn tell(organisation: &str, found: &Value, person: &Value, to: To, lang: Lang) -> String {
    let mut text = draft(lang).to_owned() + &head(organisation, person, to, lang);
    let title = plain(found, "title");
    let whose = match (to, lang) {
        (To::Person, Lang::Nl) => "over u",
        (To::Person, Lang::En) => "about you",
        (To::Representatives, Lang::Nl) => "over uw kind",
        (To::Representatives, Lang::En) => "about your child",
    };
    let first = person["first"].as_str().map_or("", day);
    let (kinds, ends) = (texts(inner(found, "categories"), lang), texts(each(found, "purpose"), lang));
    let (bases, with) = (texts(each(found, "basis"), lang), partners(found, false));
    let (sources, kept) = (partners(found, true), plain(found, "retention"));
    // Writing to a string cannot fail.
    _ = match lang {
        Lang::Nl => write!(
            text,
            "Verschillende organisaties werken samen bij de aanpak van een groep jongeren. Zij hebben daarover afspraken gemaakt \
             ({title}). Sinds {first} delen zij daarvoor ook gegevens {whose}. Wij moeten u dat vertellen (AVG artikel 14).\n\n\
             Om welke soort gegevens gaat het?\n{kinds}\nMet wie zijn ze gedeeld?\n{with}\n"
        ),
        Lang::En => write!(
            text,
            "Several organisations work together on a group of young people. They made an agreement about that ({title}). \
             Since {first} they also share data {whose} for it. We have to tell you so (GDPR article 14).\n\n\
             Which kind of data?\n{kinds}\nWith whom are they shared?\n{with}\n"
        ),
    };
    let mut part = |heading: &str, content: &str| {
        if !content.is_empty() {
            _ = write!(text, "{heading}\n{content}\n");
        }
    };
    part(lang.pick("Van wie hebben wij gegevens gekregen?", "From whom did we get data?"), &sources);
    part(lang.pick("Waarvoor zijn ze nodig?", "What are they needed for?"), &ends);
    part(lang.pick("Waarom mag dat?", "Why is that allowed?"), &bases);
    part(lang.pick("Hoe lang worden ze bewaard?", "How long are they kept?"), &format!("  {kept}\n"));
    text + &rights(found, lang)
}

/// The letter that answers who asks what was exchanged.
pub(crate) fn answer(organisation: &str, found: &Value, lang: Lang) -> String {
    let person = &found["persons"][0];
    let child = is_child(detail(person, "geboortedatum"), clock::now());
    let to = if child == Some(true) { To::Representatives } else { To::Person };
    let mut text = draft(lang).to_owned() + &head(organisation, person, to, lang);
    // From the beginning of all time is everything that is kept.
    let since = found["since"].as_str().filter(|text| Timestamp::parse(text) != Some(Timestamp(0)));
    let since = match (since.map(day), lang) {
        (Some(day), Lang::Nl) => format!("Sinds {day}"),
        (Some(day), Lang::En) => format!("Since {day}"),
        (None, Lang::Nl) => "In wat wij daarvan hebben bewaard".to_owned(),
        (None, Lang::En) => "In what we kept of it".to_owned(),
    };
    let count = messages(found).count();
    _ = match lang {
        Lang::Nl => writeln!(
            text,
            "U vroeg wat wij met anderen hebben uitgewisseld. {since} zijn dat {count} berichten. Het bewijs van elk bericht \
             staat in het bestand bij deze brief.\n"
        ),
        Lang::En => writeln!(
            text,
            "You asked what we exchanged with others. {since} that is {count} messages. The proof of each is in the file \
             with this letter.\n"
        ),
    };
    for one in messages(found) {
        text += &line(one, lang);
    }
    text.push('\n');
    text + &rights(found, lang)
}

/// One message in an answer.
fn line(one: &Value, lang: Lang) -> String {
    let key = lang.pick("nl", "en");
    let said = |field: &str| one[field][key].as_str().unwrap_or("?").to_owned();
    let list = |field: &str, key: &str| {
        let all = one[field].as_array().into_iter().flatten().filter_map(|item| item[key].as_str());
        all.collect::<Vec<_>>().join(", ")
    };
    let direction = match (one["direction"].as_str(), lang) {
        (Some("sent"), Lang::Nl) => "verstrekt aan",
        (Some("sent"), Lang::En) => "given to",
        (_, Lang::Nl) => "ontvangen van",
        (_, Lang::En) => "received from",
    };
    let others = one["with"].as_array().into_iter().flatten().map(|party| {
        let oin = party["oin"].as_str().unwrap_or_default();
        let name = party["name"].as_str().unwrap_or(oin);
        fate(one, oin, lang).map_or_else(|| name.to_owned(), |fate| format!("{name} ({fate})"))
    });
    let others = others.collect::<Vec<_>>().join(", ");
    let at = one["at"].as_str().map_or("", day);
    let state = kept(&one["state"], lang);
    let labels = match lang {
        Lang::Nl => ["gegevens", "doel", "grondslag", "kenmerk"],
        Lang::En => ["data", "purpose", "legal basis", "reference"],
    };
    let [data, purpose, basis, reference] = labels;
    format!(
        "{at}  {direction} {others}: {}{state}\n  {data}: {}\n  {purpose}: {}\n  {basis}: {}\n  {reference}: {}\n",
        said("type"),
        list("categories", key),
        said("purpose"),
        said("basis"),
        one["msg_id"].as_str().unwrap_or_default(),
    )
}

/// Until when the body of a message is kept here, or since when it is gone.
fn kept(state: &Value, lang: Lang) -> String {
    if let Some(at) = state["erased"].as_str() {
        return format!(" ({} {})", lang.pick("gewist op", "erased on"), day(at));
    }
    let until = state["keep_until"].as_str();
    until.map(|at| format!(" ({} {})", lang.pick("bewaard tot", "kept until"), day(at))).unwrap_or_default()
}

/// What became of a message at a partner later; none when it is there as it was sent.
pub(crate) fn fate(one: &Value, oin: &str, lang: Lang) -> Option<&'static str> {
    let recipients = one["state"]["recipients"].as_array().into_iter().flatten();
    let reached =
        recipients.filter(|recipient| recipient["to"] == oin).find_map(|one| one["reached"].as_str());
    let said = one["corrections"].as_array().into_iter().flatten().filter(|row| row["to"] == oin);
    let (mut withdrawn, mut corrected) = (None, false);
    for row in said {
        match row["kind"].as_str() {
            Some("withdrawal") => withdrawn = Some(!row["settled"].is_null()),
            _ => corrected = true,
        }
    }
    match (reached, one["state"]["state"].as_str(), one["state"]["revised"].as_str()) {
        (Some("withdrawn"), ..) => {
            Some(lang.pick("teruggenomen voordat het er was", "taken back before it was there"))
        }
        (Some("expired" | "shredded"), ..) => {
            Some(lang.pick("niet aangekomen en vernietigd", "did not arrive and was destroyed"))
        }
        (_, Some("expired"), _) => {
            Some(lang.pick("onbekend of het is aangekomen", "not known whether it arrived"))
        }
        _ if withdrawn == Some(true) => {
            Some(lang.pick("ingetrokken en bevestigd", "withdrawn, which was confirmed"))
        }
        _ if withdrawn.is_some() => Some(lang.pick("intrekking gevraagd", "withdrawal asked for")),
        (.., Some("withdrawn")) => Some(lang.pick("door de afzender ingetrokken", "withdrawn by its sender")),
        (.., Some(_)) => Some(lang.pick("door de afzender verbeterd", "corrected by its sender")),
        _ if corrected => Some(lang.pick("verbetering gemeld", "correction told")),
        (Some("accepted"), ..) => Some(lang.pick("nog onderweg", "still under way")),
        (Some("quarantined"), ..) => Some(lang.pick("daar niet leesbaar", "not readable there")),
        _ => None,
    }
}

/// Whether a message never came to a partner and will not.
fn is_lost(one: &Value, oin: &str) -> bool {
    let recipients = one["state"]["recipients"].as_array().into_iter().flatten();
    let reached =
        recipients.filter(|recipient| recipient["to"] == oin).filter_map(|one| one["reached"].as_str());
    reached.into_iter().any(|reached| matches!(reached, "withdrawn" | "expired" | "shredded"))
}

/// What is handed out with an answer: what was exchanged, with the proofs, and nothing of what was decided here.
pub(crate) fn data(found: &Value) -> Value {
    let only = |value: &Value, fields: &[&str]| -> Value {
        let kept = fields.iter().map(|field| ((*field).to_owned(), value[*field].clone()));
        Value::Object(kept.collect())
    };
    let told = [
        "msg_id",
        "direction",
        "at",
        "case",
        "title",
        "contact",
        "covenant",
        "flow",
        "type",
        "step",
        "level",
        "categories",
        "purpose",
        "basis",
        "places",
        "retention",
        "proof",
    ];
    let message = |one: &Value| {
        let mut kept = only(one, &told);
        let with = one["with"].as_array().into_iter().flatten().map(|party| {
            let oin = party["oin"].as_str().unwrap_or_default();
            let mut party = party.clone();
            party["fate"] = json!({ "nl": fate(one, oin, Lang::Nl), "en": fate(one, oin, Lang::En) });
            party
        });
        kept["with"] = with.collect();
        kept["kept"] = only(&one["state"], &["keep_until", "erased"]);
        kept
    };
    let persons =
        found["persons"].as_array().into_iter().flatten().map(|one| only(one, &["details", "first"]));
    json!({
        "asked": found["asked"],
        "since": found["since"],
        "persons": persons.collect::<Vec<_>>(),
        "messages": messages(found).map(message).collect::<Vec<_>>(),
    })
}

/// A person and the messages, for whoever handles the request.
pub(super) fn overview(found: &Value) -> Text {
    let both = |lang: Lang| {
        let person = &found["persons"][0];
        let mut text = format!("{}\n", who(person));
        for pair in person["details"].as_array().into_iter().flatten() {
            _ = writeln!(text, "  {}: {}", pair[0].as_str().unwrap_or("?"), pair[1].as_str().unwrap_or("?"));
        }
        for one in person["decisions"].as_array().into_iter().flatten() {
            let part = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
            let until = one["until"].as_str().map(|at| format!(" → {}", day(at))).unwrap_or_default();
            _ = writeln!(
                text,
                "  {} {}{until} ({}): {}",
                day(&part("at")),
                part("duty"),
                part("role"),
                part("reason")
            );
        }
        text.push('\n');
        messages(found).fold(text, |text, one| text + &line(one, lang))
    };
    Text::new(both(Lang::Nl), both(Lang::En))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(born: &str) -> Value {
        let message = json!({
            "direction": "received", "at": "2026-03-04T10:00:00Z", "msg_id": "m1", "title": "Convenant A", "contact": "loket@a.example",
            "type": {"nl": "namenlijst", "en": "list of names"}, "categories": [{"nl": "naam", "en": "name"}],
            "purpose": {"nl": "aanpak", "en": "approach"}, "basis": {"nl": "Wpg 16", "en": "Police Data Act 16"},
            "with": [{"oin": "1", "name": "Politie"}], "retention": "tot het einde van de zaak", "state": {"erased": null},
        });
        let details = json!([["naam", "Oud"], ["naam", "Timo Verzonnen"], ["geboortedatum", born]]);
        json!({ "persons": [{ "first": "2026-03-04T10:00:00Z", "details": details }], "since": "2022-03-04T00:00:00Z",
            "messages": [message] })
    }

    #[test]
    fn the_age_turns_on_the_birthday() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let child = |born, now: &str| is_child(Some(born), at(now));
        assert_eq!(child("2010-05-10", "2026-05-09T23:00:00Z"), Some(true));
        assert_eq!(child("2010-05-10", "2026-05-10T00:00:00Z"), Some(false));
        assert_eq!(child("2030-01-01", "2026-05-10T00:00:00Z"), Some(true), "not born yet is a child too");
        assert_eq!(is_child(Some("onbekend"), at("2026-05-10")), None);
        assert_eq!(is_child(None, at("2026-05-10")), None);
    }

    #[test]
    fn a_childs_representatives_get_a_letter_too_and_every_letter_says_what_the_law_asks() {
        for (born, letters) in [("2000-01-01", 1), ("2020-01-01", 2), ("?", 2)] {
            let text = file(&telling("Gemeente A", &found(born), None, Lang::Nl));
            assert_eq!(text.matches("CONCEPT").count(), letters, "{born}");
            assert_eq!(text.contains("vertegenwoordiger"), letters == 2);
            for needed in [
                "Timo Verzonnen",
                "Politie",
                "naam",
                "aanpak",
                "Wpg 16",
                "einde van de zaak",
                "loket@a.example",
                "klacht",
            ] {
                assert!(text.contains(needed), "{needed}");
            }
        }
        let one = file(&telling("Gemeente A", &found("2020-01-01"), Some(To::Person), Lang::En));
        assert!(one.contains("Dear Timo Verzonnen") && !one.contains("your child"));
    }

    #[test]
    fn what_became_of_a_message_is_said_of_each_partner_and_who_never_got_it_is_not_named_as_having_it() {
        let sent = |reached: &str, corrections: Value| {
            json!({ "direction": "sent", "with": [{"oin": "1", "name": "A"}, {"oin": "2", "name": "B"}], "corrections": corrections,
                "state": { "state": "accepted", "recipients": [{"to": "1", "reached": reached}, {"to": "2", "reached": "stored"}] } })
        };
        let told = |one: &Value, oin: &str| fate(one, oin, Lang::En).unwrap_or_default();
        let lost = sent("shredded", json!([]));
        assert_eq!((told(&lost, "1"), told(&lost, "2")), ("did not arrive and was destroyed", ""));
        assert_eq!(partners(&json!({ "messages": [lost] }), false), "  - B\n");
        assert_eq!(told(&sent("withdrawn", json!([])), "1"), "taken back before it was there");
        let withdrawal = |settled: Value| json!([{ "to": "1", "kind": "withdrawal", "settled": settled }]);
        assert_eq!(told(&sent("stored", withdrawal(Value::Null)), "1"), "withdrawal asked for");
        let done = sent("stored", withdrawal("2026-01-01".into()));
        assert_eq!((told(&done, "1"), told(&done, "2")), ("withdrawn, which was confirmed", ""));
        let unknown = json!({ "state": { "state": "expired", "recipients": [] }, "corrections": [] });
        assert_eq!(told(&unknown, "1"), "not known whether it arrived");
        let received = json!({ "state": { "state": "stored", "revised": "corrected" } });
        assert_eq!(told(&received, "1"), "corrected by its sender");
    }

    #[test]
    fn what_is_handed_out_holds_nothing_of_what_was_decided_here() {
        let mut found = found("2000-01-01");
        found["persons"][0]["decisions"] = json!([{ "duty": "postponed", "reason": "opsporing" }]);
        found["messages"][0]["state"]["release"] = json!({ "reason": "geheim" });
        found["messages"][0]["state"]["taken_back"] = json!({ "reason": "geheim" });
        found["messages"][0]["proof"] = "bewijs".into();
        let text = data(&found).to_string();
        assert!(text.contains("bewijs") && text.contains("Timo Verzonnen") && text.contains("Wpg 16"));
        for inner in ["opsporing", "postponed", "geheim", "decisions", "release"] {
            assert!(!text.contains(inner), "{inner}");
        }
    }

    #[test]
    fn an_answer_lists_every_message_with_its_ground() {
        let text = answer("Gemeente A", &found("2000-01-01"), Lang::En);
        for needed in
            ["1 messages", "received from Politie: list of names", "Police Data Act 16", "reference: m1"]
        {
            assert!(text.contains(needed), "{needed} in {text}");
        }
        let mut all = found("2000-01-01");
        all["since"] = Timestamp(0).to_string().into();
        assert!(
            answer("Gemeente A", &all, Lang::Nl).contains("In wat wij daarvan hebben bewaard zijn dat 1")
        );
        let Text { nl, .. } = overview(&found("2000-01-01"));
        assert!(nl.contains("Oud") && nl.contains("ontvangen van Politie"));
    }
}
