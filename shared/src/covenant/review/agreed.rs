//! Grounds, data, message types, decisions, the course of a case, keeping and deleting.

use super::{Block, Section, Table, flows::level_name};
use crate::covenant::document::{Clause, Covenant};
use crate::covenant::schema::Schema;
use crate::covenant::vocabulary::Fate;
use crate::covenant::words::{self, Words};
use crate::refusal::Lang;

fn name(nl: &str, en: &str) -> Words {
    Words::new(nl, en)
}

fn clauses(caption: Words, all: &[Clause]) -> Block {
    Block::Table(Table {
        caption,
        head: vec![name("Code", "Code"), name("Tekst", "Text")],
        rows: all.iter().map(|own| vec![Words::same(&own.code), Words::new(&*own.nl, &*own.en)]).collect(),
    })
}

pub(super) fn grounds(covenant: &Covenant) -> Section {
    let blocks = vec![
        clauses(
            name("Waarvoor gegevens mogen worden gebruikt", "What data may be used for"),
            &covenant.purposes,
        ),
        clauses(name("De wetten die het toestaan", "The laws that allow it"), &covenant.bases),
    ];
    Section { id: "grounds", heading: name("Doelen en grondslagen", "Purposes and bases"), blocks }
}

pub(super) fn data(covenant: &Covenant) -> Section {
    let rows = covenant.categories.iter().map(|own| {
        let special = own
            .special
            .map_or_else(|| Words::same(""), |kind| Words::new(kind.label(Lang::Nl), kind.label(Lang::En)));
        vec![Words::same(&own.code), Words::new(&*own.nl, &*own.en), level_name(own.level), special]
    });
    let table = Table {
        caption: name("De categorieën die een bericht kan bevatten", "The categories a message can hold"),
        head: vec![
            name("Code", "Code"),
            name("Wat het is", "What it is"),
            name("Niveau", "Level"),
            name("Wettelijke soort", "Legal kind"),
        ],
        rows: rows.collect(),
    };
    Section {
        id: "data",
        heading: name("Gegevenscategorieën", "Data categories"),
        blocks: vec![Block::Table(table)],
    }
}

pub(super) fn types(covenant: &Covenant) -> Section {
    let mut blocks = vec![Block::Paragraph(name(
        "Een bericht heeft alleen deze velden. Een ander veld wordt bij de afzender geweigerd; * staat voor elk \
         onderdeel van een lijst.",
        "A message has these fields only. Any other is refused at the sender; * stands for every item of a list.",
    ))];
    for own in &covenant.types {
        let fields = Schema::parse(&own.schema).map(|schema| schema.fields()).unwrap_or_default();
        let rows = fields.into_iter().map(|field| {
            let must = if field.required {
                name("verplicht", "required")
            } else {
                name("mag ontbreken", "optional")
            };
            let category = field.category.unwrap_or_default();
            vec![Words::same(field.pointer), field.kind, must, Words::same(category)]
        });
        blocks.push(Block::Table(Table {
            caption: Words::new(format!("{}: {}", own.code, own.nl), format!("{}: {}", own.code, own.en)),
            head: vec![
                name("Veld", "Field"),
                name("Inhoud", "Content"),
                name("Nodig", "Needed"),
                name("Categorie", "Category"),
            ],
            rows: rows.collect(),
        }));
    }
    Section {
        id: "types",
        heading: name("Berichttypen en hun velden", "Message types and their fields"),
        blocks,
    }
}

pub(super) fn decisions(covenant: &Covenant) -> Section {
    let mut blocks = Vec::new();
    if covenant.decisions.is_empty() {
        blocks.push(Block::Paragraph(name(
            "Er is geen besluit: politiegegevens over een persoon gaan alleen naar gemeente, OM en Zorg- en Veiligheidshuis.",
            "There is no decision: police data about a person goes to municipality, prosecution and care and safety house only.",
        )));
    }
    for own in &covenant.decisions {
        let facts = vec![
            (name("Gezag", "Authority"), Words::same(&own.authority)),
            (name("Geldt van", "Holds from"), Words::same(words::date(own.date))),
            (name("Geldt tot", "Holds until"), Words::same(words::date(own.expires))),
            (name("Ontvangers", "Recipients"), words::roles(&own.recipients)),
            (name("Categorieën", "Categories"), words::and_same(&own.categories)),
        ];
        let caption = Words::new(format!("Besluit {}", own.reference), format!("Decision {}", own.reference));
        blocks.push(Block::Facts(caption, facts));
    }
    let heading = name("Besluiten volgens artikel 20 Wpg", "Decisions under article 20 Wpg");
    Section { id: "decisions", heading, blocks }
}

pub(super) fn case(covenant: &Covenant) -> Section {
    let rows = covenant.steps.iter().map(|rule| {
        vec![Words::same(rule.step.as_str()), Words::new(&*rule.nl, &*rule.en), words::roles(&rule.movers)]
    });
    let steps = Table {
        caption: name("De stappen en wie een zaak erheen brengt", "The steps and who moves a case there"),
        head: vec![name("Stap", "Step"), name("Waarvoor", "What for"), name("Wie", "Who")],
        rows: rows.collect(),
    };
    let mut blocks = vec![Block::Table(steps)];
    if covenant.conditions.is_empty() {
        blocks.push(Block::Paragraph(name("Er zijn geen voorwaarden.", "There are no conditions.")));
    } else {
        let rows = covenant.conditions.iter().map(|own| {
            let flows =
                covenant.flows.iter().filter(|f| f.conditions.iter().any(|one| one.condition == own.code));
            vec![
                Words::same(&own.code),
                Words::new(&*own.nl, &*own.en),
                words::any_role(&own.set_by),
                Words::same(own.parties.to_string()),
                words::and_same(flows.map(|flow| &flow.id)),
            ]
        });
        blocks.push(Block::Table(Table {
            caption: name("Wat van een zaak moet vaststaan", "What has to be established of a case"),
            head: vec![
                name("Code", "Code"),
                name("Wat het zegt", "What it says"),
                name("Wie het vaststelt", "Who states it"),
                name("Partijen nodig", "Parties needed"),
                name("Stromen", "Flows"),
            ],
            rows: rows.collect(),
        }));
    }
    Section { id: "case", heading: name("Stappen en voorwaarden", "Steps and conditions"), blocks }
}

pub(super) fn keeping(covenant: &Covenant) -> Section {
    let fate = |fate: Fate| match fate {
        Fate::Deliver => name("het wordt alsnog bezorgd", "it is delivered still"),
        Fate::Freeze => name(
            "niemand krijgt het; het eindigt met zijn geldigheid",
            "nobody gets it; it ends with its validity",
        ),
        Fate::Shred => name("het wordt vernietigd", "it is destroyed"),
    };
    let overlap = match covenant.overlap_days {
        0 => name("niet: zij eindigt meteen", "not at all: it ends at once"),
        days => {
            let days = words::days(days);
            Words::new(format!("nog {}", days.nl), format!("for another {}", days.en))
        }
    };
    let quorum = words::parties(covenant.witness_quorum);
    let facts = vec![
        (
            name(
                "Wie betrokkenen informeert (AVG 14, Wpg 24b)",
                "Who informs data subjects (GDPR 14, Police Data Act 24b)",
            ),
            words::informs(covenant),
        ),
        (name("Bewaren en verwijderen", "Keeping and deleting"), Words::same(&covenant.retention)),
        (name("Uitwisselingslogboek", "Exchange log"), words::days(covenant.log_retention_days)),
        (
            name("Het logboek wordt meegetekend door", "The log is cosigned by"),
            Words::new(format!("ten minste {}", quorum.nl), format!("at least {}", quorum.en)),
        ),
        (
            name("Een bericht is hooguit geldig", "A message is valid for at most"),
            words::span(covenant.max_ttl),
        ),
        (
            name("Na een nieuwe versie is deze nog bruikbaar", "After a new version this one may be used"),
            overlap,
        ),
        (
            name("Wachtend bericht als een partij zich terugtrekt", "Waiting message when a party withdraws"),
            fate(covenant.in_flight.withdrawn),
        ),
        (
            name(
                "Wachtend bericht als deze versie is vervallen",
                "Waiting message when this version has ended",
            ),
            fate(covenant.in_flight.superseded),
        ),
        (
            name("Wachtend bericht als toegang wordt ingetrokken", "Waiting message when access is revoked"),
            fate(covenant.in_flight.revoked),
        ),
    ];
    let caption = name("Afspraken voor alle stromen", "Agreements for all flows");
    let heading = name("Bewaren, toezicht en onderweg", "Keeping, supervision and in flight");
    let mut blocks = vec![Block::Facts(caption, facts)];
    if !covenant.witnesses.is_empty() {
        blocks.push(Block::Table(outside(covenant)));
    }
    Section { id: "keeping", heading, blocks }
}

fn outside(covenant: &Covenant) -> Table {
    let rows = covenant.witnesses.iter().map(|one| {
        let key = Words::same(&one.vkey);
        vec![Words::same(&one.name), Words::same(&one.url), key]
    });
    Table {
        caption: name(
            "Getuigen van het logboek die geen partij zijn en niet meetellen voor het aantal",
            "Witnesses of the log that are no party and do not count for the number",
        ),
        head: vec![name("Code", "Code"), name("Adres", "Address"), name("Sleutel", "Key")],
        rows: rows.collect(),
    }
}
