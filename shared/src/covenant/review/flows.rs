//! Who may send what to whom: a matrix for each step, and each flow in full.

use super::{Block, Section, Table};
use crate::covenant::difference::{case, requirement, retention};
use crate::covenant::document::{Covenant, Flow, Route};
use crate::covenant::law;
use crate::covenant::vocabulary::{Level, Role, Step};
use crate::covenant::words::{self, Words};
use crate::refusal::Lang;

/// Sender by recipient: what is open in every step once, then what each step adds.
pub(super) fn matrix(covenant: &Covenant) -> Section {
    let mut blocks = vec![Block::Paragraph(Words::new(
        "Bij elke afzender staat per ontvanger welke stromen open zijn, met de niveaus van gegevens: eerst wat in elke \
         stap open is, dan wat daar in één stap bij komt. Niets betekent: niets. Wat hier niet staat, wordt geweigerd.",
        "At each sender stands by recipient which flows are open, with the levels of data: first what is open in every \
         step, then what a step adds to it. Nothing means: nothing. What does not stand here is refused.",
    ))];
    let always = |flow: &&Flow| covenant.steps.iter().all(|rule| flow.steps.contains(&rule.step));
    let (every, some): (Vec<&Flow>, Vec<&Flow>) = covenant.flows.iter().partition(always);
    let caption = Words::new("In elke stap", "In every step");
    blocks.push(open(covenant, caption, &every, &Words::new("geen stroom", "no flow")));
    for rule in &covenant.steps {
        let step = rule.step;
        let caption = Words::new(format!("Stap {step}: {}", rule.nl), format!("Step {step}: {}", rule.en));
        let flows: Vec<&Flow> = some.iter().copied().filter(|flow| flow.steps.contains(&step)).collect();
        let none = Words::new("er komt geen stroom bij", "no flow is added");
        blocks.push(open(covenant, caption, &flows, &none));
    }
    Section { id: "matrix", heading: Words::new("Wie aan wie, per stap", "Who to whom, by step"), blocks }
}

/// These flows as a matrix; `none` when there are none.
fn open(covenant: &Covenant, caption: Words, flows: &[&Flow], none: &Words) -> Block {
    let senders = roles(flows, |route| &route.from);
    let recipients = roles(flows, |route| &route.to);
    if senders.is_empty() {
        return Block::Paragraph(caption.then(": ", none).then("", &Words::same(".")));
    }
    let mut head = vec![Words::new("van ↓ aan →", "from ↓ to →")];
    head.extend(recipients.iter().map(|role| label(covenant, *role)));
    let rows = senders.iter().map(|from| {
        let mut row = vec![label(covenant, *from)];
        row.extend(recipients.iter().map(|to| cell(flows, *from, *to)));
        row
    });
    Block::Table(Table { caption, head, rows: rows.collect() })
}

fn roles(flows: &[&Flow], side: fn(&Route) -> &[Role]) -> Vec<Role> {
    let named =
        |role: &Role| flows.iter().flat_map(|flow| &flow.routes).any(|route| side(route).contains(role));
    Role::ALL.iter().copied().filter(named).collect()
}

/// A role's name, and that nobody has it.
fn label(covenant: &Covenant, role: Role) -> Words {
    let name = Words::new(role.label(Lang::Nl), role.label(Lang::En));
    if covenant.parties.iter().any(|party| party.role == role) {
        return name;
    }
    name.then("", &Words::new(" (geen partij: gesloten)", " (no party: closed)"))
}

fn cell(flows: &[&Flow], from: Role, to: Role) -> Words {
    let carries =
        |flow: &&&Flow| flow.routes.iter().any(|route| route.from.contains(&from) && route.to.contains(&to));
    let flows = flows.iter().filter(carries).map(|flow| {
        let levels: Vec<&str> = flow.levels.iter().map(|level| level.as_str()).collect();
        format!("{} ({})", flow.id, levels.join(" "))
    });
    Words::same(flows.collect::<Vec<_>>().join(", "))
}

/// Each flow with everything that is agreed about it.
pub(super) fn flows(covenant: &Covenant) -> Section {
    let mut blocks = Vec::new();
    for flow in &covenant.flows {
        let caption = Words::new(format!("{}: {}", flow.id, flow.nl), format!("{}: {}", flow.id, flow.en));
        blocks.push(Block::Facts(caption, facts(covenant, flow)));
    }
    Section { id: "flows", heading: Words::new("Stromen", "Flows"), blocks }
}

fn facts(covenant: &Covenant, flow: &Flow) -> Vec<(Words, Words)> {
    let name = |nl: &str, en: &str| Words::new(nl, en);
    let routes = words::row(flow.routes.iter().map(|route| {
        let (from, to) = (words::roles(&route.from), words::roles(&route.to));
        Words::new(format!("van {} aan {}", from.nl, to.nl), format!("from {} to {}", from.en, to.en))
    }));
    let coded = |code: &String, text: Option<Words>| {
        text.unwrap_or_else(|| Words::same("?")).then("", &Words::same(format!(" [{code}]")))
    };
    let types = words::row(flow.types.iter().map(|code| {
        let own = covenant.types.iter().find(|own| own.code == *code);
        coded(code, own.map(|own| Words::new(&*own.nl, &*own.en)))
    }));
    let data = words::row(flow.categories.iter().map(|code| {
        let own = covenant.categories.iter().find(|own| own.code == *code);
        coded(
            code,
            own.map(|own| {
                Words::new(format!("{} ({})", own.nl, own.level), format!("{} ({})", own.en, own.level))
            }),
        )
    }));
    let clause = |code: &String, table: &[crate::covenant::Clause]| {
        let own = table.iter().find(|own| own.code == *code);
        coded(code, own.map(|own| Words::new(&*own.nl, &*own.en)))
    };
    let levels = words::and(flow.levels.iter().map(|level| level_name(*level)));
    let personal = flow.levels.iter().any(|level| level.is_personal());
    vec![
        (name("Wie aan wie", "Who to whom"), routes),
        (name("Stappen", "Steps"), words::steps(&flow.steps)),
        (name("Berichttypen", "Message types"), types),
        (name("Niveaus", "Levels"), levels),
        (name("Gegevens", "Data"), data),
        (name("Doel", "Purpose"), clause(&flow.purpose, &covenant.purposes)),
        (
            name("Grondslagen", "Bases"),
            words::row(flow.bases.iter().map(|code| clause(code, &covenant.bases))),
        ),
        (name("Noemt een zaak", "Names a case"), case(flow.case)),
        (name("Voorwaarden", "Conditions"), words::row(flow.conditions.iter().map(requirement))),
        (name("Artikel 20-besluit", "Article 20 decision"), decision(flow)),
        (name("Vrijgave door een mens", "Release by a human"), words::yes_no(flow.release)),
        (
            name("Doorgeven door de ontvanger", "Passing on by the recipient"),
            Words::new(flow.handling.label(Lang::Nl), flow.handling.label(Lang::En)),
        ),
        (name("Ontvangers van één bericht", "Recipients of one message"), recipients(flow, personal)),
        (
            name("Grootste inhoud", "Largest content"),
            Words::same(format!("{} bytes", flow.max_body.min(covenant.max_body))),
        ),
        (name("Bewaren", "Kept"), retention(flow)),
    ]
}

pub(super) fn level_name(level: Level) -> Words {
    Words::new(format!("{level} {}", level.label(Lang::Nl)), format!("{level} {}", level.label(Lang::En)))
}

/// What the flow asks, and what the law table asks of it besides.
fn decision(flow: &Flow) -> Words {
    if flow.decision {
        return Words::new(
            "nodig voor gegevens over een persoon, aan elke ontvanger",
            "needed for data about a person, for every recipient",
        );
    }
    let asks = |id: &str, from: Role, to: Role, level: Level| {
        let act = law::Act {
            from,
            to,
            step: flow.steps.first().copied().unwrap_or(Step::S3),
            level,
            bsn: false,
            care: false,
            service: false,
            recipients: 1,
            decided: false,
        };
        law::TABLE.iter().any(|rule| rule.id == id && (rule.broken_by)(&act))
    };
    let mut roles: Vec<Role> = Vec::new();
    for route in &flow.routes {
        for to in &route.to {
            let asked = route.from.iter().any(|from| {
                flow.levels.iter().any(|level| ["L07", "L08"].iter().any(|id| asks(id, *from, *to, *level)))
            });
            if asked && !roles.contains(to) {
                roles.push(*to);
            }
        }
    }
    if roles.is_empty() {
        return Words::new("niet nodig", "not needed");
    }
    let roles = words::roles(&roles);
    Words::new(
        format!("nodig voor politie- en strafvorderlijke gegevens aan {} (wetsregels L07 en L08)", roles.nl),
        format!("needed for police and prosecution data to {} (rules of law L07 and L08)", roles.en),
    )
}

fn recipients(flow: &Flow, personal: bool) -> Words {
    let most = flow.max_recipients;
    let group_only = flow.levels.contains(&Level::G) && most > 1;
    match (personal, group_only) {
        (false, _) => Words::new(format!("hooguit {most}"), format!("at most {most}")),
        (true, false) => Words::new("één", "one"),
        (true, true) => Words::new(
            format!("hooguit {most}; met gegevens over een persoon één"),
            format!("at most {most}; with data about a person one"),
        ),
    }
}
