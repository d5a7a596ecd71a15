//! Lists of disclosures: by the police (Wpg 32a, Bpg 6:4) and by the prosecution service (Wjsg 39j).

use std::io::{self, Write};

use seinhuis_shared::covenant::{Clause, Covenant, Level, Role};
use seinhuis_shared::entry::Entry;
use seinhuis_shared::refusal::Lang;

use crate::book::{Book, End};
use crate::cells::row;
use crate::{Draw, Leaf};

const HEAD: &str = "\u{feff}datum (date);verstrekker OIN (discloser);verstrekker (discloser name);ontvanger of verzoeker OIN (requester);ontvanger of verzoeker (requester name);rol ontvanger (role);omschrijving (description);gegevenscategorieën (categories);niveau (level);doel (purpose);grondslag (basis);uitkomst (outcome);zaak (case);bericht (message);pakket (packet)\r\n";

/// What a sender in one role disclosed about persons.
pub(crate) struct Disclosures {
    role: Role,
}

impl Disclosures {
    pub(crate) const fn of_police() -> Self {
        Self { role: Role::Politie }
    }

    pub(crate) const fn of_prosecution() -> Self {
        Self { role: Role::Om }
    }
}

impl Draw for Disclosures {
    fn entry(&mut self, leaf: &Leaf<'_>, book: &Book, out: &mut dyn Write) -> io::Result<u64> {
        let entry = leaf.entry;
        let sender = book.party(entry, entry.from);
        let Some((sender, covenant)) = sender.zip(book.covenant(entry)) else { return Ok(0) };
        let group = entry.level.as_deref() == Some(Level::G.as_str());
        if entry.kind.as_str() != "accepted" || sender.role != self.role || group {
            return Ok(0);
        }
        let recipient = book.party(entry, entry.to);
        let of = |oin: Option<seinhuis_shared::ids::Oin>| oin.map(|oin| oin.to_string()).unwrap_or_default();
        let cells = [
            entry.time.to_string(),
            of(entry.from),
            sender.name.clone(),
            of(entry.to),
            recipient.map(|party| party.name.clone()).unwrap_or_default(),
            recipient.map(|party| party.role.label(Lang::Nl).to_owned()).unwrap_or_default(),
            description(book, covenant, entry),
            categories(covenant, entry.categories.as_deref()),
            entry.level.clone().unwrap_or_default(),
            clause(&covenant.purposes, entry.purpose.as_deref()),
            clause(&covenant.bases, entry.basis.as_deref()),
            outcome(book.end(entry)),
            entry.case.map(|case| case.to_string()).unwrap_or_default(),
            entry.msg_id.map(|id| id.to_string()).unwrap_or_default(),
            entry.packet.map(|digest| digest.to_string()).unwrap_or_default(),
        ];
        out.write_all(row(cells.iter().map(String::as_str)).as_bytes())?;
        Ok(1)
    }

    fn head(&self) -> &'static str {
        HEAD
    }
}

/// The words of the covenant for a code; the code itself where it has none.
fn clause(clauses: &[Clause], code: Option<&str>) -> String {
    let code = code.unwrap_or_default();
    clauses
        .iter()
        .find(|clause| clause.code == code)
        .map_or_else(|| code.to_owned(), |clause| clause.nl.clone())
}

fn description(book: &Book, covenant: &Covenant, entry: &Entry) -> String {
    let flow = book
        .flow(entry)
        .map_or_else(|| entry.flow.clone().unwrap_or_default(), |flow| format!("{} {}", flow.id, flow.nl));
    let code = entry.message_type.as_deref().unwrap_or_default();
    let kind = covenant.types.iter().find(|kind| kind.code == code).map_or(code, |kind| kind.nl.as_str());
    format!("{flow}: {kind}")
}

fn categories(covenant: &Covenant, codes: Option<&str>) -> String {
    let words = codes.unwrap_or_default().split(' ').filter(|code| !code.is_empty()).map(|code| {
        covenant.categories.iter().find(|one| one.code == code).map_or(code, |category| category.nl.as_str())
    });
    words.collect::<Vec<_>>().join(", ")
}

fn outcome(end: Option<End>) -> String {
    match end {
        None => "aangenomen (accepted)".to_owned(),
        Some(End::Delivered(at)) => format!("bezorgd (delivered) {at}"),
        Some(End::Expired(at)) => format!("verlopen, niet bezorgd (expired) {at}"),
        Some(End::Shredded(at)) => format!("vernietigd, niet bezorgd (shredded) {at}"),
        Some(End::Withdrawn(at)) => format!("ingetrokken (withdrawn) {at}"),
    }
}
