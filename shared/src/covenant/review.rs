//! What a covenant version allows, in words from which a jurist can sign.
//!
//! A [`Review`] is a list of sections in both languages; [`Review::text`] and [`Review::html`] show it in
//! one of them. The HTML is one page without script or anything from outside, with a print style.

use super::difference::{Change, difference};
use super::document::Covenant;
use super::lint::{Finding, lint};
use super::words::{self, Words};
use crate::ids::Digest;

mod agreed;
mod flows;
mod head;
mod html;
mod text;

/// The review of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// What it is a review of.
    pub title: Words,
    /// The hash that a signature is made over.
    pub hash: Digest,
    /// The chapters, in the order in which they are read.
    pub sections: Vec<Section>,
}

/// A chapter of a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name in links: `a-z` and `-` only.
    pub id: &'static str,
    /// Its heading.
    pub heading: Words,
    /// What stands in it.
    pub blocks: Vec<Block>,
}

/// A piece of a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A paragraph.
    Paragraph(Words),
    /// A list of sentences.
    List(Vec<Words>),
    /// Names and their values, under a caption.
    Facts(Words, Vec<(Words, Words)>),
    /// A table; in every row the first cell names the row.
    Table(Table),
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What it shows.
    pub caption: Words,
    /// The names of the columns.
    pub head: Vec<Words>,
    /// The rows, as many cells each as there are columns.
    pub rows: Vec<Vec<Words>>,
}

impl Review {
    /// Reviews a version; with the version before it, what changes stands first.
    pub fn new(covenant: &Covenant, previous: Option<&Covenant>) -> Self {
        let (title, version) = (&covenant.title, covenant.version);
        let mut sections = Vec::new();
        sections.extend(changes(covenant, previous));
        sections.push(head::about(covenant));
        sections.push(head::parties(covenant));
        sections.push(flows::matrix(covenant));
        sections.push(flows::flows(covenant));
        sections.push(agreed::grounds(covenant));
        sections.push(agreed::data(covenant));
        sections.push(agreed::types(covenant));
        sections.push(agreed::decisions(covenant));
        sections.push(agreed::case(covenant));
        sections.push(agreed::keeping(covenant));
        sections.push(attention(&lint(covenant)));
        sections.push(signing(covenant));
        Self {
            title: Words::new(format!("{title}, versie {version}"), format!("{title}, version {version}")),
            hash: covenant.hash(),
            sections,
        }
    }
}

fn changes(covenant: &Covenant, previous: Option<&Covenant>) -> Option<Section> {
    let heading = Words::new("Wat er verandert", "What changes");
    let section = |blocks| Some(Section { id: "changes", heading, blocks });
    let Some(previous) = previous else {
        let named = covenant.previous?;
        return section(vec![Block::Paragraph(Words::new(
            format!(
                "Deze versie volgt op de versie met hash {named}. Het verschil daarmee staat hier niet: \
                 geef bij het maken van dit overzicht ook de vorige versie op (--against)."
            ),
            format!(
                "This version follows the one with hash {named}. The difference is not shown here: \
                 name the previous version too when making this review (--against)."
            ),
        ))]);
    };
    let (hash, version) = (previous.hash(), previous.version);
    let compared = if covenant.previous == Some(hash) {
        Words::new(
            format!("Vergeleken met versie {version}, de voorganger die dit document noemt (hash {hash})."),
            format!("Compared with version {version}, the predecessor this document names (hash {hash})."),
        )
    } else {
        Words::new(
            format!(
                "LET OP: vergeleken met “{}” versie {version} (hash {hash}). Dit document noemt dat niet als zijn voorganger.",
                previous.title
            ),
            format!(
                "NOTE: compared with “{}” version {version} (hash {hash}). This document does not name that as its predecessor.",
                previous.title
            ),
        )
    };
    let all = difference(previous, covenant);
    let listed = if all.is_empty() {
        Block::Paragraph(Words::new(
            "Behalve het versienummer en de voorganger verandert er niets.",
            "Apart from the version number and the predecessor nothing changes.",
        ))
    } else {
        // What only looks different stands last.
        let (formal, real): (Vec<Change>, Vec<Change>) = all.into_iter().partition(|change| change.formal);
        Block::List(real.into_iter().chain(formal).map(|change| change.words).collect())
    };
    section(vec![Block::Paragraph(compared), listed])
}

fn attention(findings: &[Finding]) -> Section {
    let block = if findings.is_empty() {
        Block::Paragraph(Words::new(
            "De controle op wat de wet verdacht maakt vond niets. Dat is geen juridisch oordeel.",
            "The check for what the law makes suspicious found nothing. That is no legal opinion.",
        ))
    } else {
        let line = |finding: &Finding| {
            Words::same(format!("{} {}: ", finding.code(), finding.about)).then("", &finding.words())
        };
        Block::List(findings.iter().map(line).collect())
    };
    Section {
        id: "attention",
        heading: Words::new("Punten van aandacht", "Points of attention"),
        blocks: vec![block],
    }
}

fn signing(covenant: &Covenant) -> Section {
    let hash = covenant.hash();
    let until = words::date(covenant.valid_until);
    let blocks = vec![Block::Paragraph(Words::new(
        format!(
            "Een handtekening wordt gezet over deze hash, en daarmee over precies dit document en niets anders: {hash}. \
             Vergelijk hem met de hash bij de andere partijen voordat u tekent. De Nederlandse tekst is bindend. \
             Het convenant geldt tot {until}."
        ),
        format!(
            "A signature is made over this hash, and with it over exactly this document and nothing else: {hash}. \
             Compare it with the hash at the other parties before you sign. The Dutch text is the binding one. \
             The covenant holds until {until}."
        ),
    ))];
    Section { id: "signing", heading: Words::new("Tekenen", "Signing"), blocks }
}
