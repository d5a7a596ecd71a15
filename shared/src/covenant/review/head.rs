//! What the document is, and who takes part.

use super::{Block, Section};
use crate::covenant::difference::{fingerprint, watching};
use crate::covenant::document::{Covenant, Party};
use crate::covenant::words::{self, Words};
use crate::refusal::Lang;

pub(super) fn about(covenant: &Covenant) -> Section {
    let name = |nl: &str, en: &str| Words::new(nl, en);
    let (from, until) = (words::date(covenant.valid_from), words::date(covenant.valid_until));
    let previous = covenant.previous.map_or_else(
        || name("geen: dit is de eerste versie", "none: this is the first version"),
        |hash| Words::same(hash.to_string()),
    );
    let facts = vec![
        (name("Titel", "Title"), Words::same(&covenant.title)),
        (name("Naam", "Name"), Words::same(&covenant.id)),
        (name("Versie", "Version"), Words::same(covenant.version.to_string())),
        (name("Hash (SHA-256)", "Hash (SHA-256)"), Words::same(covenant.hash().to_string())),
        (name("Vorige versie", "Previous version"), previous),
        (
            name("Geldig", "Valid"),
            Words::new(
                format!("van {from} tot {until} (die dag niet meer)"),
                format!("from {from} until {until} (no longer on that day)"),
            ),
        ),
        (name("Evaluatie", "Evaluation"), Words::same(words::date(covenant.evaluation))),
        (
            name("Beheerder van de tekst", "Owner of the text"),
            Words::same(words::party(covenant, covenant.owner)),
        ),
        (name("Contactpunt voor betrokkenen", "Contact point for subjects"), Words::same(&covenant.contact)),
    ];
    let caption = name("Kenmerken van deze versie", "Particulars of this version");
    Section {
        id: "about",
        heading: name("Dit document", "This document"),
        blocks: vec![Block::Facts(caption, facts)],
    }
}

pub(super) fn parties(covenant: &Covenant) -> Section {
    let mut blocks = vec![Block::Paragraph(Words::new(
        "Het convenant geldt pas als elke partij heeft getekend die niet mag ontbreken. Ontbreekt een andere \
         partij, dan zijn de stromen van en naar haar gesloten en werkt de rest.",
        "The covenant counts only when every party that may not be absent has signed. When another is absent, \
         the flows from and to it are closed and the rest works.",
    ))];
    blocks.extend(covenant.parties.iter().map(|party| Block::Facts(Words::same(&party.name), facts(party))));
    Section { id: "parties", heading: Words::new("Partijen", "Parties"), blocks }
}

fn facts(party: &Party) -> Vec<(Words, Words)> {
    let name = |nl: &str, en: &str| Words::new(nl, en);
    let role = party.role;
    vec![
        (name("Rol", "Role"), Words::new(role.label(Lang::Nl), role.label(Lang::En))),
        (name("OIN", "OIN"), Words::same(party.oin.to_string())),
        (name("Contact", "Contact"), Words::same(&party.contact)),
        (
            name("Vingerafdruk van de sleutel", "Fingerprint of the key"),
            words::and_same(party.signing_keys.iter().map(fingerprint)),
        ),
        (name("Mag ontbreken", "May be absent"), words::yes_no(party.may_be_absent)),
        (name("Neemt deel vanaf", "Takes part from"), Words::same(words::date(party.joined))),
        (
            name("Neemt deel tot", "Takes part until"),
            party.left.map_or_else(|| name("niet bepaald", "not set"), |left| Words::same(words::date(left))),
        ),
        (
            name("Vingerafdruk als getuige van het logboek", "Fingerprint as a witness of the log"),
            watching(party.witness_key.as_ref()),
        ),
    ]
}
