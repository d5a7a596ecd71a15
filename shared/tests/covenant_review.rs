//! The review: everything that is agreed stands in it, nothing of a document can change its shape.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what they cannot find ends the test")]

mod covenant_kit;

use std::collections::BTreeSet;

use covenant_kit::model;
use seinhuis_shared::covenant::review::{Block, Review};
use seinhuis_shared::covenant::{Covenant, Flow, Level, Role, Step};
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::signing::PublicKey;
use seinhuis_shared::time::Timestamp;

const LANGS: [Lang; 2] = [Lang::Nl, Lang::En];

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// Words in one line, as a reader sees them.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn everything_that_is_agreed_stands_in_text_and_page() {
    let covenant = model();
    let review = Review::new(&covenant, None);
    for lang in LANGS {
        let (text, html) = (flat(&review.text(lang)), flat(&review.html(lang)));
        let own = |nl: &str, en: &str| lang.pick(nl, en).to_owned();
        let mut wanted = vec![
            covenant.title.clone(),
            covenant.id.clone(),
            covenant.hash().to_string(),
            covenant.contact.clone(),
            covenant.retention.clone(),
            "2026-01-01".to_owned(),
            "2027-01-01".to_owned(),
            "2028-01-01".to_owned(),
            own("ten minste 2 partijen", "at least 2 parties"),
            own("nog 14 dagen", "for another 14 days"),
            own(
                "Wie betrokkenen informeert (AVG 14, Wpg 24b)",
                "Who informs data subjects (GDPR 14, Police Data Act 24b)",
            ),
            own(
                "niemand krijgt het; het eindigt met zijn geldigheid",
                "nobody gets it; it ends with its validity",
            ),
            own("het wordt vernietigd", "it is destroyed"),
            own("1826 dagen (5 jaar)", "1826 days (5 years)"),
        ];
        for party in &covenant.parties {
            let key: [u8; 32] = party.signing_keys[0].0.as_slice().try_into().unwrap();
            wanted.push(PublicKey::from_bytes(&key).unwrap().thumbprint().to_string());
            wanted.extend([party.oin.to_string(), party.name.clone(), party.contact.clone()]);
            wanted.push(party.role.label(lang).to_owned());
        }
        wanted.extend(
            covenant.purposes.iter().chain(&covenant.bases).map(|clause| own(&clause.nl, &clause.en)),
        );
        wanted.extend(covenant.categories.iter().flat_map(|one| [one.code.clone(), own(&one.nl, &one.en)]));
        wanted.extend(covenant.types.iter().flat_map(|one| [one.code.clone(), own(&one.nl, &one.en)]));
        wanted.extend(covenant.steps.iter().map(|one| own(&one.nl, &one.en)));
        wanted.extend(covenant.conditions.iter().map(|one| own(&one.nl, &one.en)));
        wanted
            .extend(covenant.decisions.iter().flat_map(|one| [one.reference.clone(), one.authority.clone()]));
        for flow in &covenant.flows {
            wanted.push(format!("{}: {}", flow.id, own(&flow.nl, &flow.en)));
            wanted.push(format!("“{}”", flow.retention));
        }
        for part in wanted {
            assert!(text.contains(&flat(&part)), "text lacks {part}");
            assert!(html.contains(&escaped(&flat(&part))), "page lacks {part}");
        }
    }
}

/// The cell of a matrix, read from the structure: how its caption begins, sender, recipient.
fn cell(review: &Review, caption: &str, from: Role, to: Role) -> Option<String> {
    let matrix = review.sections.iter().find(|section| section.id == "matrix").unwrap();
    let table = matrix.blocks.iter().find_map(|block| match block {
        Block::Table(table) if table.caption.nl.starts_with(caption) => Some(table),
        Block::Paragraph(_) | Block::List(_) | Block::Facts(..) | Block::Table(_) => None,
    })?;
    let column = table.head.iter().position(|name| name.nl.starts_with(to.label(Lang::Nl)))?;
    let row = table.rows.iter().find(|row| row[0].nl.starts_with(from.label(Lang::Nl)))?;
    Some(row[column].nl.clone())
}

#[test]
fn the_matrix_is_the_flow_table() {
    let covenant = model();
    let review = Review::new(&covenant, None);
    let every = |flow: &Flow| Step::ALL.iter().all(|step| flow.steps.contains(step));
    for (from, to) in Role::ALL.iter().flat_map(|from| Role::ALL.iter().map(move |to| (*from, *to))) {
        let names = |open: &dyn Fn(&Flow) -> bool| {
            let carries = |flow: &&Flow| {
                open(flow) && flow.routes.iter().any(|r| r.from.contains(&from) && r.to.contains(&to))
            };
            let names = covenant.flows.iter().filter(carries).map(|flow| {
                let levels: Vec<String> = flow.levels.iter().map(Level::to_string).collect();
                format!("{} ({})", flow.id, levels.join(" "))
            });
            names.collect::<Vec<_>>().join(", ")
        };
        let found = |caption: &str| cell(&review, caption, from, to).unwrap_or_default();
        assert_eq!(found("In elke stap"), names(&every), "{from} {to}");
        for step in Step::ALL {
            let wanted = names(&|flow| !every(flow) && flow.steps.contains(step));
            assert_eq!(found(&format!("Stap {step}:")), wanted, "{step} {from} {to}");
        }
    }
    let police_to_prosecution = |caption| cell(&review, caption, Role::Politie, Role::Om).unwrap();
    assert_eq!(police_to_prosecution("Stap 2B:"), "F12 (P1 P2 P3), F40 (G)");
    assert_eq!(police_to_prosecution("In elke stap"), "F36 (G), F38 (G), F41 (G)");
}

fn fact(review: &Review, flow: &str, name: &str) -> String {
    let section = review.sections.iter().find(|section| section.id == "flows").unwrap();
    let facts = section.blocks.iter().find_map(|block| match block {
        Block::Facts(caption, facts) if caption.nl.starts_with(&format!("{flow}:")) => Some(facts),
        Block::Paragraph(_) | Block::List(_) | Block::Facts(..) | Block::Table(_) => None,
    });
    facts.unwrap().iter().find(|(own, _)| own.nl == name).unwrap().1.nl.clone()
}

#[test]
fn a_flow_says_what_it_asks() {
    let review = Review::new(&model(), None);
    let rows = [
        ("F12", "Wie aan wie", "van de politie aan het OM"),
        ("F12", "Stappen", "stap 2B"),
        ("F12", "Voorwaarden", "strafrechtelijk (voor berichten van of aan het OM)"),
        ("F12", "Artikel 20-besluit", "niet nodig"),
        ("F12", "Vrijgave door een mens", "ja"),
        ("F12", "Ontvangers van één bericht", "één"),
        ("F12", "Grootste inhoud", "262144 bytes"),
        ("F12", "Noemt een zaak", "verplicht"),
        ("F12", "Bewaren", "geen vast aantal dagen: “zolang de zaak loopt”"),
        ("F13", "Artikel 20-besluit", "nodig voor gegevens over een persoon, aan elke ontvanger"),
        (
            "F29",
            "Artikel 20-besluit",
            "nodig voor politie- en strafvorderlijke gegevens aan de persoonsgerichte aanpak (wetsregels L07 en L08)",
        ),
        ("F07", "Voorwaarden", "geen"),
        ("F07", "Vrijgave door een mens", "nee"),
        ("F07", "Ontvangers van één bericht", "hooguit 16"),
        ("F36", "Stappen", "elke stap"),
        (
            "F26",
            "Gegevens",
            "nummer van een persoon binnen de zaak (P1) [zaakpersoon]; actie voor een persoon en haar status (P1) [actie_persoon]",
        ),
    ];
    for (flow, name, says) in rows {
        assert_eq!(fact(&review, flow, name), says, "{flow} {name}");
    }
}

#[test]
fn who_informs_data_subjects_stands_there_also_when_nobody_was_agreed_on() {
    let mut covenant = model();
    let says = |covenant: &Covenant, lang| flat(&Review::new(covenant, None).text(lang));
    let text = says(&covenant, Lang::Nl);
    assert!(text.contains("Wie betrokkenen informeert (AVG 14, Wpg 24b): de gemeente"), "{text}");
    covenant.informs = vec![Role::Politie, Role::Om];
    let text = says(&covenant, Lang::En);
    assert!(text.contains("Police Data Act 24b): the police and the public prosecution service"), "{text}");
    (covenant.format, covenant.informs) = (1, Vec::new());
    let text = says(&covenant, Lang::Nl);
    assert!(text.contains("(AVG 14, Wpg 24b): niet afgesproken") && text.contains("W25"), "{text}");
}

#[test]
fn a_role_that_nobody_has_is_shown_as_closed() {
    let mut covenant = model();
    covenant.parties.retain(|party| party.role != Role::Om);
    let text = Review::new(&covenant, None).text(Lang::Nl);
    assert!(text.contains("Openbaar Ministerie (geen partij: gesloten)"));
    assert!(text.contains("W10"), "the warnings stand in the review");
}

fn next() -> (Covenant, Covenant) {
    let old = model();
    let mut new = old.clone();
    new.version = 2;
    new.previous = Some(old.hash());
    new.flows[11].steps.push(Step::S3);
    new.flows.swap(0, 1);
    (old, new)
}

#[test]
fn the_difference_stands_first() {
    let (old, new) = next();
    let review = Review::new(&new, Some(&old));
    assert_eq!(review.sections[0].id, "changes");
    let text = flat(&review.text(Lang::Nl));
    let sentence =
        "De politie mag voortaan op stroom F12 in stap 3 gegevens van niveau P1, P2 en P3 sturen aan het OM.";
    assert!(text.find(sentence).unwrap() < text.find("Dit document").unwrap());
    assert!(text.contains("de voorganger die dit document noemt") && !text.contains("LET OP"), "{text}");
    let Block::List(changes) = &review.sections[0].blocks[1] else { panic!("no list") };
    assert!(changes.last().unwrap().nl.starts_with("De volgorde in flows"), "{changes:?}");

    // Another document than the predecessor is compared, and says so.
    let mut other = old.clone();
    other.valid_until = Timestamp(other.valid_until.0 + 1);
    assert!(Review::new(&new, Some(&other)).text(Lang::Nl).contains("LET OP"));
    // A successor without its predecessor says what is missing; a first version has nothing to say.
    assert!(Review::new(&new, None).text(Lang::En).contains("--against"));
    assert_eq!(Review::new(&old, None).sections[0].id, "about");
    let same = Covenant { version: 2, previous: Some(old.hash()), ..old.clone() };
    assert!(Review::new(&same, Some(&old)).text(Lang::En).contains("nothing changes"));
}

const ALLOWED: &[&str] = &[
    "html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section", "h1", "h2", "p",
    "ol", "ul", "li", "a", "div", "table", "caption", "thead", "tbody", "tr", "th", "td",
];
const ATTRIBUTES: &[&str] = &[
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "id",
    "href",
    "scope",
    "aria-label",
    "role",
    "tabindex",
];

/// Reads a page as strictly as it is written; returns its elements with their attributes.
fn elements(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut rest = html.strip_prefix("<!DOCTYPE html>").unwrap();
    let (mut open, mut found) = (Vec::new(), Vec::new());
    while let Some(start) = rest.find('<') {
        assert!(
            !rest[..start].contains('>') || open.last().map(String::as_str) == Some("style"),
            "a loose >"
        );
        let end = rest[start..].find('>').unwrap() + start;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
            continue;
        }
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(ALLOWED.contains(&name), "<{tag}>");
        let mut own = Vec::new();
        while !attributes.is_empty() {
            let (key, after) = attributes.split_once("=\"").unwrap();
            let (value, after) = after.split_once('"').unwrap();
            assert!(ATTRIBUTES.contains(&key), "<{tag}>");
            own.push((key.to_owned(), value.to_owned()));
            attributes = after.trim_start();
        }
        if name != "meta" {
            open.push(name.to_owned());
        }
        found.push((name.to_owned(), own));
    }
    assert!(open.is_empty(), "{open:?}");
    found
}

/// What somebody would write who wants a page or a terminal to do something else.
const HOSTILE: &str =
    "</td></table><script>alert('x')</script>\"'&<img src=x onerror=\"y()\">\u{202e}\u{1b}[2J\nHash: 00";

fn hostile() -> (Covenant, Covenant) {
    let old = model();
    let mut covenant = old.clone();
    let mut texts: Vec<&mut String> =
        vec![&mut covenant.id, &mut covenant.title, &mut covenant.contact, &mut covenant.retention];
    for own in covenant.purposes.iter_mut().chain(&mut covenant.bases) {
        texts.extend([&mut own.code, &mut own.nl, &mut own.en]);
    }
    for own in &mut covenant.categories {
        texts.extend([&mut own.code, &mut own.nl, &mut own.en]);
    }
    for own in &mut covenant.types {
        texts.extend([&mut own.code, &mut own.nl, &mut own.en]);
    }
    for own in &mut covenant.steps {
        texts.extend([&mut own.nl, &mut own.en]);
    }
    for own in &mut covenant.conditions {
        texts.extend([&mut own.code, &mut own.nl, &mut own.en]);
    }
    for own in &mut covenant.decisions {
        texts.extend([&mut own.reference, &mut own.authority]);
        texts.extend(&mut own.categories);
    }
    for own in &mut covenant.parties {
        texts.extend([&mut own.name, &mut own.contact]);
    }
    for own in &mut covenant.flows {
        texts.extend([&mut own.id, &mut own.nl, &mut own.en, &mut own.purpose, &mut own.retention]);
        texts.extend(own.types.iter_mut().chain(&mut own.categories).chain(&mut own.bases));
        texts.extend(own.conditions.iter_mut().map(|one| &mut one.condition));
    }
    for text in texts {
        text.push_str(HOSTILE);
    }
    let own = &mut covenant.types[0].schema;
    *own = own.replacen("\"enum\":[\"", "\"enum\":[\"<b>", 1);
    (old, covenant)
}

#[test]
fn no_text_of_a_document_becomes_part_of_the_page() {
    let (old, covenant) = hostile();
    let plain = Review::new(&model(), None);
    let shape = |html: &str| elements(html).into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
    for lang in LANGS {
        let html = Review::new(&covenant, Some(&old)).html(lang);
        let mut names = shape(&html);
        names.remove("ul");
        let mut usual = shape(&plain.html(lang));
        usual.remove("ul");
        assert_eq!(names, usual);
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&#39;&amp;&lt;img"));
        assert!(!html.contains('\u{202e}') && !html.contains('\u{1b}') && html.contains("[U+202E][U+001B]"));
    }
}

#[test]
fn no_text_of_a_document_commands_a_terminal_or_fakes_a_line() {
    let (old, covenant) = hostile();
    for lang in LANGS {
        let text = Review::new(&covenant, Some(&old)).text(lang);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'));
        // What goes on from the line before is deeper than any line of the review itself.
        let own = text.lines().filter(|line| !line.starts_with("        "));
        assert!(own.into_iter().all(|line| !line.trim_start().starts_with("Hash: 00")));
    }
}

#[test]
fn the_page_stands_alone_and_can_be_read_aloud_and_printed() {
    let (old, new) = next();
    for lang in LANGS {
        let html = Review::new(&new, Some(&old)).html(lang);
        let all = elements(&html);
        let code = lang.pick("nl", "en");
        assert_eq!(all[0], ("html".to_owned(), vec![("lang".to_owned(), code.to_owned())]));
        let count = |name: &str| all.iter().filter(|(own, _)| own == name).count();
        assert_eq!(count("table"), count("caption"));
        assert_eq!((count("h1"), count("main"), count("title"), count("style")), (1, 1, 1, 1));
        for (name, attributes) in &all {
            let has = |key: &str| attributes.iter().any(|(own, _)| own == key);
            assert!(name != "th" || has("scope"));
            assert!(name != "a" || attributes.iter().all(|(_, value)| value.starts_with('#')));
        }
        let ids: BTreeSet<_> = all.iter().flat_map(|(_, own)| own).filter(|(key, _)| key == "id").collect();
        assert_eq!(ids.len(), count("section"));
        assert!(html.contains("@media print") && html.contains("default-src &#39;none&#39;"));
        for outside in ["http:", "https:", "//", "url(", "@import", "<script", "javascript"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}
