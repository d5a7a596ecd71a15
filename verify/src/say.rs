//! The verdict in words, Dutch or English, and as JSON.

use core::fmt::Write as _;

use crate::{Code, Failure, Good, Proves, Quorum, Verdict, Witnesses};

/// A language for the sentence that says what a verdict means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Dutch.
    Dutch,
    /// English.
    English,
}

const fn bad_sentence(code: Code, language: Language) -> &'static str {
    let [dutch, english] = match code {
        Code::BadArchive => [
            "Het bestand is geen exportbundel zoals beschreven.",
            "The file is not an export bundle as described.",
        ],
        Code::BadLine => [
            "Een regel is niet de regel die op die plaats in het logboek staat.",
            "A line is not the entry that stands at its place in the log.",
        ],
        Code::BadSums => [
            "Een onderdeel is veranderd nadat de lijst met controlegetallen is gemaakt.",
            "A member was changed after the list of sums was made.",
        ],
        Code::BadSumsSignature => [
            "De bundel is niet met de sleutel van dit logboek ondertekend.",
            "The bundle is not signed with the key of this log.",
        ],
        Code::BadManifest => [
            "De omschrijving van de export klopt niet of is van een ander logboek.",
            "The description of the export does not hold, or is of another log.",
        ],
        Code::BadCheckpoint => [
            "Het controlepunt is niet van dit logboek of hoort niet bij deze export.",
            "The checkpoint is not of this log, or not of this export.",
        ],
        Code::BadWitnesses => [
            "Het controlepunt heeft niet de handtekeningen van getuigen die het beleid vraagt.",
            "The checkpoint does not have the cosignatures of witnesses that the policy asks for.",
        ],
        Code::BadRuns => [
            "De opgegeven plaatsen passen niet bij de regels of bij het logboek.",
            "The places given do not fit the lines or the log.",
        ],
        Code::BadEntry => ["Een regel is geen regel van een logboek.", "A line is not an entry of a log."],
        Code::BadOrder => [
            "De tijd loopt terug van de ene regel naar de volgende.",
            "Time falls from one line to the next.",
        ],
        Code::BadQuestion => [
            "De regels zijn niet wat er gevraagd is, of de volledigheid is niet aangetoond.",
            "The entries are not what was asked for, or completeness is not shown.",
        ],
        Code::BadProof => {
            ["Deze regels staan niet zo in het logboek.", "These entries do not stand in the log like this."]
        }
        Code::BadBegin => [
            "Het controlepunt van voor de eerste regel klopt niet, of het log is sindsdien niet alleen gegroeid.",
            "The checkpoint from before the first entry does not hold, or the log has not only grown since.",
        ],
        Code::BadCovenant => [
            "Een meegeleverd convenant is niet het convenant waarnaar de regels verwijzen.",
            "A covenant in the bundle is not one the entries name.",
        ],
        Code::Good => ["Alles klopt.", "Everything holds."],
    };
    match language {
        Language::Dutch => dutch,
        Language::English => english,
    }
}

fn good_sentence(good: &Good, language: Language) -> String {
    let Good { origin, size, count, .. } = good;
    match (good.proves, language) {
        (Proves::Complete, Language::Dutch) => format!(
            "VOLLEDIG: deze {count} regels staan zo in het logboek {origin} van {size} regels, en tussen de eerste en de \
             laatste is geen regel van de gevraagde periode weggelaten."
        ),
        (Proves::Complete, Language::English) => format!(
            "COMPLETE: these {count} entries stand like this in the log {origin} of {size} entries, and between the first \
             and the last no entry of the period asked for was left out."
        ),
        (Proves::Selection, Language::Dutch) => format!(
            "SELECTIE: deze {count} regels staan zo in het logboek {origin} van {size} regels; of er meer regels aan de \
             vraag voldoen, is hiermee niet aangetoond."
        ),
        (Proves::Selection, Language::English) => format!(
            "SELECTION: these {count} entries stand like this in the log {origin} of {size} entries; whether others fit \
             the question too is not shown."
        ),
    }
}

/// What a verdict means, in one plain sentence.
pub fn sentence(verdict: &Verdict, language: Language) -> String {
    match verdict {
        Verdict::Good(good) => good_sentence(good, language),
        Verdict::Bad(failure) => bad_sentence(failure.code, language).to_owned(),
    }
}

/// What a policy of the bundle says, by the start of its covenant's hash.
fn own(covenant: &str, quorum: Quorum) -> [String; 2] {
    let Quorum { witnesses, of, met } = quorum;
    let (enough, suffice) = if met { ("genoeg", "enough") } else { ("niet genoeg", "not enough") };
    let covenant = covenant.get(..16).unwrap_or_default();
    [
        format!(
            "Getuigen voor convenant {covenant}: {witnesses} van {of} volgens het beleid in de bundel zelf, {enough}; dat is het woord van de broker."
        ),
        format!(
            "Witnesses for covenant {covenant}: {witnesses} of {of} by the policy in the bundle itself, {suffice}; that is the broker's word."
        ),
    ]
}

/// Who has seen the checkpoint, a line for each policy.
fn witnesses(good: &Good, language: Language) -> String {
    let [dutch, english] = match &good.witnesses {
        Witnesses::NotJudged => [
            "Getuigen: niet beoordeeld; geef met --policy het beleid van een deelnemer.".to_owned(),
            "Witnesses: not judged; give a partner's policy with --policy.".to_owned(),
        ],
        Witnesses::Own(policies) => {
            let said: Vec<[String; 2]> =
                policies.iter().map(|(covenant, quorum)| own(covenant, *quorum)).collect();
            let lines = |pick: fn(&[String; 2]) -> &str| said.iter().map(pick).collect::<Vec<_>>().join("\n");
            [lines(|[dutch, _]| dutch), lines(|[_, english]| english)]
        }
        Witnesses::Given(quorum) => {
            let Quorum { witnesses, of, .. } = quorum;
            [
                format!("Getuigen: {witnesses} van {of}, genoeg volgens het gegeven beleid."),
                format!("Witnesses: {witnesses} of {of}, enough by the policy given."),
            ]
        }
    };
    let [begun, since] = good.begin.map_or([String::new(), String::new()], |begin| {
        [
            format!(" Sinds een controlepunt van {begin} regels is het log alleen gegroeid."),
            format!(" Since a checkpoint of {begin} entries the log has only grown."),
        ]
    });
    if language == Language::Dutch { dutch + &begun } else { english + &since }
}

/// The verdict for people: its code, what it means, and where and what does not hold.
pub fn people(verdict: &Verdict, language: Language) -> String {
    let detail = match verdict {
        Verdict::Good(good) => {
            let label = if language == Language::Dutch { "Doel" } else { "Purpose" };
            // What others wrote goes to a terminal: nothing in it may steer it.
            format!("{}\n{label}: {}", witnesses(good, language), good.purpose.escape_debug())
        }
        Verdict::Bad(failure) => {
            let label = if language == Language::Dutch { ", regel " } else { ", line " };
            let told = |failure: &Failure| {
                let line = failure.line.map(|line| format!("{label}{line}")).unwrap_or_default();
                let file = if failure.file.is_empty() { "ZIP" } else { &failure.file };
                format!("{file}{line}: {}", failure.text)
            };
            let word = if language == Language::Dutch { "Ook" } else { "Also" };
            let also = failure.also.as_ref();
            let also = also.map(|also| format!("\n{word} {}: {}", also.code, told(also)));
            told(failure) + &also.unwrap_or_default()
        }
    };
    format!("{}\n{}\n{detail}\n", verdict.code(), sentence(verdict, language))
}

/// The verdict as one JSON object on one line.
pub fn json(verdict: &Verdict, language: Language) -> String {
    let mut fields = vec![("verdict", quoted(verdict.code().as_str()))];
    match verdict {
        Verdict::Good(good) => {
            let proves = if good.proves == Proves::Complete { "complete" } else { "selection" };
            fields.push(("proves", quoted(proves)));
            fields.push(("origin", quoted(&good.origin)));
            fields.push(("size", good.size.to_string()));
            fields.push(("count", good.count.to_string()));
            fields.extend(good.from.map(|from| ("from", from.to_string())));
            fields.extend(good.until.map(|until| ("until", until.to_string())));
            fields.push(("purpose", quoted(&good.purpose)));
            fields.extend(good.asked_by.as_ref().map(|who| ("asked_by", quoted(who))));
            fields.extend(policies(&good.witnesses));
            fields.extend(good.begin.map(|begin| ("begin", begin.to_string())));
        }
        Verdict::Bad(failure) => {
            fields.push(("file", quoted(&failure.file)));
            fields.extend(failure.line.map(|line| ("line", line.to_string())));
            fields.push(("problem", quoted(&failure.text)));
            if let Some(also) = &failure.also {
                fields.push(("also", quoted(also.code.as_str())));
                fields.push(("also_file", quoted(&also.file)));
                fields.extend(also.line.map(|line| ("also_line", line.to_string())));
            }
        }
    }
    fields.push(("sentence", quoted(&sentence(verdict, language))));
    object(&fields) + "\n"
}

type Fields = Vec<(&'static str, String)>;

fn object(fields: &Fields) -> String {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// Who judged the witnesses, and what came of it.
fn policies(witnesses: &Witnesses) -> Fields {
    let said = |quorum: &Quorum| {
        vec![
            ("witnesses", quorum.witnesses.to_string()),
            ("witnesses_of", quorum.of.to_string()),
            ("quorum", quoted(if quorum.met { "met" } else { "not met" })),
        ]
    };
    match witnesses {
        Witnesses::NotJudged => vec![("policy", quoted("none"))],
        Witnesses::Given(quorum) => [vec![("policy", quoted("given"))], said(quorum)].concat(),
        Witnesses::Own(policies) => {
            let each = policies.iter().map(|(covenant, quorum)| {
                object(&[vec![("covenant", quoted(covenant))], said(quorum)].concat())
            });
            let each: Vec<String> = each.collect();
            vec![("policy", quoted("bundle")), ("policies", format!("[{}]", each.join(",")))]
        }
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                write!(quoted, "\\u{:04x}", u32::from(c)).unwrap_or_default();
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
