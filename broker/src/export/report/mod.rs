//! The report of a bundle: what it proves, and what is in it, for people. It proves nothing itself and says so.

mod chart;
mod page;
mod tally;

use std::collections::BTreeMap;

use seinhuis_shared::covenant::Covenant;
use seinhuis_shared::refusal::{Lang, Refusal};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::note::Note;

pub(super) use tally::Tally;

use super::readme::{asked, proves};
use super::state::Pins;
use super::{Source, readme};
use chart::{Bar, bars};
use page::{Cell, Page, escaped, short};
use tally::{Count, Counts};

/// Organisations for which a matrix fits on a page; more of them are a list.
const MATRIX: usize = 12;
/// Days that are a bar each; more of them are a bar a month.
const DAY_BARS: usize = 62;
const DAY: u64 = 86_400_000;

/// The page.
pub(super) fn html(
    source: &Source<'_>,
    pins: &Pins,
    tally: &Tally,
    count: u64,
    begin: Option<&str>,
) -> String {
    let covenants = covenants(source, tally);
    let names = names(&covenants);
    let mut page = Page::begin(&format!("Export {}", source.key.1.origin));
    first(&mut page, source, pins, tally, count, begin);
    days(&mut page, tally);
    kinds(&mut page, tally);
    pairs(&mut page, tally, &names);
    flows(&mut page, tally, &covenants);
    refusals(&mut page, tally);
    versions(&mut page, tally, &covenants);
    page.end()
}

/// The covenant versions entries name, by hash; nothing where the broker does not hold one.
type Versions = BTreeMap<Box<str>, Option<Covenant>>;

fn covenants(source: &Source<'_>, tally: &Tally) -> Versions {
    let read = |hash: &str| Covenant::from_bytes(&(source.covenant)(&hash.parse().ok()?)?).ok();
    tally.covenants.iter().map(|(hash, _)| (hash.clone(), read(hash))).collect()
}

/// What organisations are called, in the versions named.
fn names(covenants: &Versions) -> BTreeMap<String, String> {
    let parties = covenants.values().flatten().flat_map(|covenant| &covenant.parties);
    parties.map(|party| (party.oin.to_string(), party.name.clone())).collect()
}

fn first(page: &mut Page, source: &Source<'_>, pins: &Pins, tally: &Tally, count: u64, begin: Option<&str>) {
    let origin = &source.key.1.origin;
    let complete = pins.question.is_period();
    page.raw("<section class=\"first\">");
    page.raw(&format!("<h1>Export van het uitwisselingslog · <span lang=\"en\">Export of the exchange log</span><br><code>{}</code></h1>", escaped(origin)));
    let (nl, en) = proves(complete);
    let word = if complete { "COMPLETE" } else { "SELECTION" };
    page.raw(&format!("<div class=\"proves\"><p><strong>{word}</strong></p>"));
    page.say(nl, en);
    page.raw("</div>");
    page.say(
        "Dit verslag is een weergave en bewijst niets. Het bewijs zijn entries.jsonl, runs.txt, proof.txt, leaves.bin en checkpoint.txt in hetzelfde bestand; controleer het met seinhuis-verify of verify.py en met een sleutel uit een andere bron.",
        "This report is a view and proves nothing. The evidence is entries.jsonl, runs.txt, proof.txt, leaves.bin and checkpoint.txt in the same file; check it with seinhuis-verify or verify.py, with a key from another source.",
    );
    let said = |nl, en, value: String| vec![Cell::Both(nl, en), Cell::Text(value)];
    let rows = asked(pins).into_iter().map(|(nl, en, value)| said(nl, en, value));
    page.table(
        ("Wat er gevraagd is", "What was asked"),
        &[("Vraag", "Question"), ("Antwoord", "Answer")],
        2,
        rows,
    );
    let mut rows = vec![
        said("Log", "Log", origin.clone()),
        said("Sleutel", "Key", pins.log_key.clone()),
        said("Regels in het log", "Entries in the log", pins.size.to_string()),
        said("Wortel (SHA-256)", "Root (SHA-256)", pins.root.to_string()),
        said("Regels in dit bestand", "Entries in this file", count.to_string()),
        said("Gemaakt", "Made", pins.created.to_string()),
    ];
    if tally.outside > 0 {
        rows.push(said(
            "Buren buiten de periode, hieronder niet geteld",
            "Neighbours outside the period, not counted below",
            tally.outside.to_string(),
        ));
    }
    page.table(("Waarop het rust", "What it rests on"), &[("Wat", "What"), ("Waarde", "Value")], 2, rows);
    witnesses(page, pins, origin, begin);
    page.raw("</section>");
}

/// Who else signed the checkpoints, by name: who they are is for the policy of whoever reads this.
fn witnesses(page: &mut Page, pins: &Pins, origin: &str, begin: Option<&str>) {
    page.raw("<h2>Getuigen · <span lang=\"en\">Witnesses</span></h2>");
    let rows: Vec<Vec<String>> = [("checkpoint.txt", Some(pins.checkpoint.as_str())), ("begin.txt", begin)]
        .into_iter()
        .filter_map(|(name, note)| Some((name, Note::parse(note?.as_bytes()).ok()?)))
        .flat_map(|(name, note)| {
            let others = note.signatures().iter().filter(|one| one.name() != origin);
            others
                .map(|one| vec![one.name().to_owned(), cosigned(one.signature()), name.to_owned()])
                .collect::<Vec<_>>()
        })
        .collect();
    if rows.is_empty() {
        page.say(
            "Geen getuige heeft dit controlepunt medeondertekend: dat aan anderen hetzelfde log is getoond, volgt niet uit dit bestand.",
            "No witness cosigned this checkpoint: that others were shown the same log does not follow from this file.",
        );
        return;
    }
    let heads = [("Getuige", "Witness"), ("Tijd", "Time"), ("Onder", "Under")];
    page.table(("Medeondertekend door", "Cosigned by"), &heads, 3, rows);
    page.say(
        "Of zij genoeg zijn, zegt uw eigen beleid: geef het de controle mee met --policy.",
        "Whether they suffice is for your own policy to say: give it to the check with --policy.",
    );
}

/// The time in a cosignature (C2SP tlog-cosignature): eight bytes, seconds since 1970.
fn cosigned(signature: &[u8]) -> String {
    let seconds = signature.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
    let known = seconds.filter(|seconds| signature.len() == 72 && *seconds < 253_402_300_800);
    known.map_or_else(|| "—".to_owned(), |seconds| Timestamp(seconds * 1000).to_string())
}

const HEADS: [(&str, &str); 3] =
    [("Aangenomen", "Accepted"), ("Geweigerd", "Refused"), ("Regels", "Entries")];

fn numbers(name: Vec<String>, count: Count) -> Vec<String> {
    let mut row = name;
    row.extend([count.accepted, count.refused, count.all].map(|number| number.to_string()));
    row
}

/// The row for what had no place of its own, and a sentence about it.
fn others<K: Ord>(page: &mut Page, counts: &Counts<K>) {
    if counts.is_capped() {
        page.say(
            &format!(
                "Meer dan {} verschillende: {} regels zijn hier niet uitgesplitst.",
                counts.len(),
                counts.others.all
            ),
            &format!(
                "More than {} different ones: {} entries are not broken down here.",
                counts.len(),
                counts.others.all
            ),
        );
    }
}

fn chart<'a>(page: &mut Page, title: &str, counts: impl IntoIterator<Item = (&'a str, Count)>) {
    let all: Vec<Bar> = counts
        .into_iter()
        .map(|(name, count)| Bar { name: name.to_owned(), all: count.all, refused: count.refused })
        .collect();
    if !all.is_empty() {
        bars(&mut page.0, title, &all);
    }
}

fn date(day: &str) -> String {
    let day: u64 = day.parse().unwrap_or(0);
    let mut date = Timestamp(day.saturating_mul(DAY)).to_string();
    date.truncate(10);
    date
}

fn days(page: &mut Page, tally: &Tally) {
    page.heading("Per dag", "By day");
    page.say(
        "Gestreept is geweigerd. Dagen zijn in UTC. De tabel bevat dezelfde getallen.",
        "Striped is refused. Days are in UTC. The table holds the same numbers.",
    );
    let by_day: Vec<(String, Count)> = tally.days.iter().map(|(day, count)| (date(day), count)).collect();
    let mut bars = by_day.clone();
    if by_day.len() > DAY_BARS {
        let mut months: BTreeMap<String, Count> = BTreeMap::new();
        for (day, count) in &by_day {
            let month = months.entry(day.chars().take(7).collect()).or_default();
            month.accepted += count.accepted;
            month.refused += count.refused;
            month.all += count.all;
        }
        bars = months.into_iter().collect();
        let heads = [("Maand", "Month"), HEADS[0], HEADS[1], HEADS[2]];
        page.table(
            ("Per maand", "By month"),
            &heads,
            1,
            bars.iter().map(|(month, count)| numbers(vec![month.clone()], *count)),
        );
    }
    chart(page, "Regels per dag of maand", bars.iter().map(|(name, count)| (name.as_str(), *count)));
    let heads = [("Dag", "Day"), HEADS[0], HEADS[1], HEADS[2]];
    page.table(
        ("Per dag", "By day"),
        &heads,
        1,
        by_day.into_iter().map(|(day, count)| numbers(vec![day], count)),
    );
    others(page, &tally.days);
}

fn kinds(page: &mut Page, tally: &Tally) {
    page.heading("Per soort", "By kind");
    chart(page, "Regels per soort", tally.kinds.iter().map(|(kind, count)| (&**kind, count)));
    let rows = tally.kinds.iter().map(|(kind, count)| vec![kind.to_string(), count.all.to_string()]);
    page.table(("Wat er gebeurde", "What happened"), &[("Soort", "Kind"), HEADS[2]], 1, rows);
    others(page, &tally.kinds);
}

fn pairs(page: &mut Page, tally: &Tally, names: &BTreeMap<String, String>) {
    page.heading("Wie aan wie", "Who to whom");
    let split: Vec<(&str, &str, Count)> = tally
        .pairs
        .iter()
        .filter_map(|(pair, count)| pair.split_once(' ').map(|(from, to)| (from, to, count)))
        .collect();
    let mut organisations: Vec<&str> = split.iter().flat_map(|(from, to, _)| [*from, *to]).collect();
    organisations.sort_unstable();
    organisations.dedup();
    let named = |oin: &str| names.get(oin).map_or_else(|| oin.to_owned(), |name| format!("{name} ({oin})"));
    if organisations.len() <= MATRIX && !organisations.is_empty() {
        page.say(
            "Een rij is een afzender, een kolom een ontvanger: aangenomen, en na een schuine streep geweigerd.",
            "A row is a sender, a column a recipient: accepted, and after a slash refused.",
        );
        let columns: Vec<String> = organisations.iter().map(|oin| named(oin)).collect();
        let mut heads = vec![("Van \\ aan", "From \\ to")];
        heads.extend(columns.iter().map(|name| (name.as_str(), name.as_str())));
        let rows = organisations.iter().map(|from| {
            let cell = |to: &&str| {
                let found = split.iter().find(|(own, other, _)| own == from && other == to);
                found.map_or_else(
                    || "—".to_owned(),
                    |(_, _, count)| format!("{} / {}", count.accepted, count.refused),
                )
            };
            std::iter::once(named(from)).chain(organisations.iter().map(cell)).collect()
        });
        page.table(("Afzender en ontvanger", "Sender and recipient"), &heads, 1, rows);
    } else {
        let heads = [("Van", "From"), ("Aan", "To"), HEADS[0], HEADS[1], HEADS[2]];
        let rows = split.iter().map(|(from, to, count)| numbers(vec![named(from), named(to)], *count));
        page.table(("Afzender en ontvanger", "Sender and recipient"), &heads, 2, rows);
    }
    others(page, &tally.pairs);
}

fn flows(page: &mut Page, tally: &Tally, covenants: &Versions) {
    page.heading("Per stroom", "By flow");
    let described = |id: &str, lang: Lang| {
        let flow =
            covenants.values().rev().flatten().find_map(|one| one.flows.iter().find(|flow| flow.id == id));
        flow.map_or("—", |flow| lang.pick(flow.nl.as_str(), flow.en.as_str())).to_owned()
    };
    chart(page, "Regels per stroom", tally.flows.iter().take(DAY_BARS).map(|(flow, count)| (&**flow, count)));
    let heads = [("Stroom", "Flow"), ("Omschrijving", ""), ("", "Description"), HEADS[0], HEADS[1], HEADS[2]];
    let rows = tally.flows.iter().map(|(id, count)| {
        numbers(vec![id.to_string(), described(id, Lang::Nl), described(id, Lang::En)], count)
    });
    page.table(("Per stroom", "By flow"), &heads, 3, rows);
    others(page, &tally.flows);
}

fn refusals(page: &mut Page, tally: &Tally) {
    page.heading("Weigeringen", "Refusals");
    let number = |reason: &str| reason.parse().ok().and_then(Refusal::from_number);
    chart(
        page,
        "Weigeringen per reden",
        tally.reasons.iter().take(DAY_BARS).map(|(reason, count)| (&**reason, count)),
    );
    let heads = [("Nummer", "Number"), ("Reden", ""), ("", "Reason"), HEADS[2]];
    let rows = tally.reasons.iter().map(|(reason, count)| {
        let what = |lang| number(reason).map_or("—", |refusal| refusal.what(lang)).to_owned();
        vec![reason.to_string(), what(Lang::Nl), what(Lang::En), count.all.to_string()]
    });
    page.table(("Weigeringen per reden", "Refusals by reason"), &heads, 3, rows);
    others(page, &tally.reasons);
}

fn versions(page: &mut Page, tally: &Tally, covenants: &Versions) {
    page.heading("Convenantversies", "Covenant versions");
    let heads = [
        ("Versie", "Version"),
        ("Titel", "Title"),
        ("Vanaf", "From"),
        ("Tot", "Until"),
        ("Hash", "Hash"),
        HEADS[0],
        HEADS[1],
        HEADS[2],
    ];
    let rows = tally.covenants.iter().map(|(hash, count)| {
        let short = hash.parse().map_or_else(|_| hash.to_string(), |hash| short(&hash));
        let known = covenants.get(hash).and_then(Option::as_ref);
        let told = known.map_or_else(
            || ["—", "niet bij deze broker · not at this broker", "—", "—"].map(str::to_owned),
            |covenant| {
                let day = |at: Timestamp| at.to_string().chars().take(10).collect();
                [
                    format!("{} {}", covenant.id, covenant.version),
                    covenant.title.clone(),
                    day(covenant.valid_from),
                    day(covenant.valid_until),
                ]
            },
        );
        numbers(told.into_iter().chain([short]).collect(), count)
    });
    page.table(("Waaronder het gebeurde", "What it happened under"), &heads, 5, rows);
    others(page, &tally.covenants);
    page.say(readme::COVENANTS.0, readme::COVENANTS.1);
}
