//! What one version of a covenant changes with respect to another, in words.

use super::document::{Covenant, InFlight};
use super::words::{self, Words};
use crate::refusal::Lang;
use crate::time::Timestamp;

mod flows;
mod parties;
mod tables;
mod witnesses;

pub(super) use flows::{case, requirement, retention};
pub(super) use parties::{fingerprint, watching};

/// One thing that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about, as in the TOML: `partnership.title`, `flows F11`, `types groepsscan`.
    pub about: String,
    /// The change as a sentence.
    pub words: Words,
    /// Whether only the order or the notation changes, and so the hash, but nothing that may be done.
    pub formal: bool,
}

impl Change {
    /// The sentence in `lang`.
    pub fn text(&self, lang: Lang) -> &str {
        self.words.text(lang)
    }
}

/// Everything in which `new` differs from `old`, apart from the version number and the predecessor's hash:
/// empty exactly when the documents are equal in all the rest.
pub fn difference(old: &Covenant, new: &Covenant) -> Vec<Change> {
    // Named one by one so that a field added to the document has to be told here too.
    let Covenant {
        format: _,
        id: _,
        version: _,
        previous: _,
        title: _,
        owner: _,
        valid_from: _,
        valid_until: _,
        evaluation: _,
        contact: _,
        max_ttl: _,
        max_body: _,
        log_retention_days: _,
        retention: _,
        overlap_days: _,
        witness_quorum: _,
        in_flight: InFlight { withdrawn: _, superseded: _, revoked: _ },
        purposes: _,
        bases: _,
        categories: _,
        types: _,
        steps: _,
        conditions: _,
        flows: _,
        decisions: _,
        parties: _,
        witnesses: _,
        informs: _,
    } = old;
    let mut found = Found::default();
    found.head(old, new);
    found.in_flight(old.in_flight, new.in_flight);
    found.parties(old, new);
    found.witnesses(old, new);
    found.decisions(old, new);
    found.flows(old, new);
    found.conditions(old, new);
    found.clauses("purposes", &Words::new("Doel", "Purpose"), &old.purposes, &new.purposes);
    found.clauses("bases", &Words::new("Grondslag", "Basis"), &old.bases, &new.bases);
    found.categories(old, new);
    found.types(old, new);
    found.steps(old, new);
    let apart = Covenant { version: new.version, previous: new.previous, ..old.clone() };
    if found.changes.is_empty() && apart != *new {
        found.formal(
            "",
            &Words::new(
                "Het document is anders opgeschreven; wat er mag verandert niet.",
                "The document is written differently; what is allowed does not change.",
            ),
        );
    }
    found.changes
}

/// A sentence begins with a capital.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn quoted(text: &str) -> Words {
    Words::same(format!("“{text}”"))
}

fn both(nl: &str, en: &str) -> Words {
    Words::new(format!("“{nl}”"), format!("“{en}”"))
}

/// What stands in `new` and not in `old`, in its order.
fn gained<'n, T: PartialEq>(old: &[T], new: &'n [T]) -> Vec<&'n T> {
    new.iter().filter(|one| !old.contains(one)).collect()
}

/// Entries with the same key in both versions, and those that stand in one of them only.
struct Pairs<'a, T> {
    kept: Vec<(&'a T, &'a T)>,
    gone: Vec<&'a T>,
    come: Vec<&'a T>,
    reordered: bool,
}

/// Pairs by key. Where a document that was never validated has one key several times, the first goes with
/// the first, and so on.
fn pairs<'a, T, K: PartialEq>(old: &'a [T], new: &'a [T], key: impl Fn(&'a T) -> K) -> Pairs<'a, T> {
    let (was, is) = (numbered(old, &key), numbered(new, &key));
    let mut pairs = Pairs { kept: Vec::new(), gone: Vec::new(), come: Vec::new(), reordered: false };
    for (name, now) in &is {
        match was.iter().find(|(other, _)| other == name) {
            Some((_, before)) => pairs.kept.push((*before, *now)),
            None => pairs.come.push(now),
        }
    }
    pairs.gone.extend(
        was.iter().filter(|(name, _)| !is.iter().any(|(other, _)| other == name)).map(|(_, one)| *one),
    );
    let stays = |all: &[((K, usize), &'a T)], name: &(K, usize)| all.iter().any(|(other, _)| other == name);
    let before = was.iter().map(|(name, _)| name).filter(|name| stays(&is, name));
    pairs.reordered = !before.eq(is.iter().map(|(name, _)| name).filter(|name| stays(&was, name)));
    pairs
}

/// Each entry under its key and how many with that key stand before it.
fn numbered<'a, T, K: PartialEq>(all: &'a [T], key: &impl Fn(&'a T) -> K) -> Vec<((K, usize), &'a T)> {
    let earlier =
        |index: usize, one: &'a T| all.iter().take(index).filter(|other| key(other) == key(one)).count();
    all.iter().enumerate().map(|(index, one)| ((key(one), earlier(index, one)), one)).collect()
}

#[derive(Default)]
struct Found {
    changes: Vec<Change>,
}

impl Found {
    fn say(&mut self, about: impl Into<String>, words: &Words) {
        let words = Words::new(capital(&words.nl), capital(&words.en));
        self.push(&about.into(), &words, false);
    }

    fn formal(&mut self, about: impl Into<String>, words: &Words) {
        self.push(&about.into(), words, true);
    }

    fn push(&mut self, about: &str, words: &Words, formal: bool) {
        let words = Words::new(words::shown(&words.nl), words::shown(&words.en));
        self.changes.push(Change { about: words::shown(about), words, formal });
    }

    /// `what` was one thing and becomes another; nothing when it stays.
    fn value(&mut self, about: &str, what: &Words, old: &Words, new: &Words) {
        if old != new {
            let sentence = Words::new(
                format!("{} was {} en wordt {}.", what.nl, old.nl, new.nl),
                format!("{} was {} and becomes {}.", what.en, old.en, new.en),
            );
            self.say(about, &sentence);
        }
    }

    fn date(&mut self, about: &str, what: &Words, old: Timestamp, new: Timestamp) {
        self.value(about, what, &Words::same(words::date(old)), &Words::same(words::date(new)));
    }

    /// The same entries in another order.
    fn order(&mut self, table: &str, reordered: bool) {
        if reordered {
            let sentence = Words::new(
                format!("De volgorde in {table} verandert; wat er mag verandert daardoor niet."),
                format!("The order in {table} changes; what is allowed does not change by it."),
            );
            self.formal(table, &sentence);
        }
    }

    /// A list whose order says nothing: which names it gains and loses, or that only its order changes.
    fn members<T: PartialEq>(
        &mut self,
        about: &str,
        (old, new): (&[T], &[T]),
        name: impl Fn(&T) -> Words,
        gains: impl Fn(&Words) -> Words,
        loses: impl Fn(&Words) -> Words,
    ) {
        let (more, less) = (gained(old, new), gained(new, old));
        if !more.is_empty() {
            self.say(about, &gains(&words::and(more.iter().map(|one| name(one)))));
        }
        if !less.is_empty() {
            self.say(about, &loses(&words::and(less.iter().map(|one| name(one)))));
        }
        if more.is_empty() && less.is_empty() && old != new {
            self.order(about, true);
        }
    }

    fn head(&mut self, old: &Covenant, new: &Covenant) {
        let number = |n: u32| Words::same(n.to_string());
        let name = |nl: &str, en: &str| Words::new(nl, en);
        self.value(
            "format",
            &name("De canonieke vorm", "The canonical form"),
            &number(old.format.into()),
            &number(new.format.into()),
        );
        self.value("partnership.id", &name("De naam", "The name"), &quoted(&old.id), &quoted(&new.id));
        self.value(
            "partnership.title",
            &name("De titel", "The title"),
            &quoted(&old.title),
            &quoted(&new.title),
        );
        if old.owner != new.owner {
            let (before, after) =
                (Words::same(words::party(old, old.owner)), Words::same(words::party(new, new.owner)));
            self.value(
                "partnership.owner",
                &name("De beheerder van de tekst", "The owner of the text"),
                &before,
                &after,
            );
        }
        let dates = [
            ("valid_from", "De eerste dag", "The first day", old.valid_from, new.valid_from),
            (
                "valid_until",
                "De eerste dag waarop het niet meer geldt",
                "The first day on which it no longer holds",
                old.valid_until,
                new.valid_until,
            ),
            (
                "evaluation",
                "De datum van de evaluatie",
                "The date of the evaluation",
                old.evaluation,
                new.evaluation,
            ),
        ];
        for (field, nl, en, before, after) in dates {
            self.date(&format!("partnership.{field}"), &name(nl, en), before, after);
        }
        self.value(
            "partnership.contact",
            &name("Het contactpunt", "The contact point"),
            &quoted(&old.contact),
            &quoted(&new.contact),
        );
        self.rules(old, new);
    }

    fn rules(&mut self, old: &Covenant, new: &Covenant) {
        let name = |nl: &str, en: &str| Words::new(nl, en);
        let bytes = |n: u32| Words::same(format!("{n} bytes"));
        self.value(
            "rules.max_ttl_days",
            &name("De langste geldigheid van een bericht", "The longest validity of a message"),
            &words::span(old.max_ttl),
            &words::span(new.max_ttl),
        );
        self.value(
            "rules.max_body",
            &name("De grootste inhoud van een bericht", "The largest content of a message"),
            &bytes(old.max_body),
            &bytes(new.max_body),
        );
        self.value(
            "rules.log_retention_days",
            &name("De bewaartermijn van het uitwisselingslogboek", "The retention of the exchange log"),
            &words::days(old.log_retention_days),
            &words::days(new.log_retention_days),
        );
        self.value(
            "rules.retention",
            &name("De afspraak over bewaren en verwijderen", "The agreement on keeping and deleting"),
            &quoted(&old.retention),
            &quoted(&new.retention),
        );
        self.value(
            "rules.overlap_days",
            &name(
                "Hoe lang deze versie na haar opvolger nog mag worden gebruikt",
                "How long this version may still be used after its successor began",
            ),
            &words::days(old.overlap_days),
            &words::days(new.overlap_days),
        );
        let quorum = |n: u8| Words::same(n.to_string());
        self.value(
            "rules.witness_quorum",
            &name("Het aantal getuigen van het logboek", "The number of witnesses of the log"),
            &quorum(old.witness_quorum),
            &quorum(new.witness_quorum),
        );
        self.value(
            "rules.informs",
            &name("Wie betrokkenen informeert", "Who informs data subjects"),
            &words::informs(old),
            &words::informs(new),
        );
    }

    fn in_flight(&mut self, old: InFlight, new: InFlight) {
        let rows = [
            ("withdrawn", "een partij zich terugtrekt", "a party withdraws", old.withdrawn, new.withdrawn),
            (
                "superseded",
                "hun versie is vervallen",
                "their version has ended",
                old.superseded,
                new.superseded,
            ),
            ("revoked", "toegang wordt ingetrokken", "access is revoked", old.revoked, new.revoked),
        ];
        for (field, nl, en, before, after) in rows {
            let label = |fate: super::Fate| both(fate.label(Lang::Nl), fate.label(Lang::En));
            let what = Words::new(
                format!("De regel voor wachtende berichten als {nl}"),
                format!("The rule for waiting messages when {en}"),
            );
            self.value(&format!("in_flight.{field}"), &what, &label(before), &label(after));
        }
    }
}
