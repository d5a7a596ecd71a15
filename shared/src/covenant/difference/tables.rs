//! Purposes, bases, categories, message types, steps and conditions that come, go or change.

use super::{Found, both, pairs, quoted};
use crate::covenant::document::{Category, Clause, Condition, Covenant, MessageType, StepRule};
use crate::covenant::schema::{Field, Schema};
use crate::covenant::vocabulary::Special;
use crate::covenant::words::{self, Words};
use crate::refusal::Lang;

fn comes(found: &mut Found, table: &str, kind: &Words, code: &str, text: &Words) {
    let sentence = Words::new(
        format!("{} {code} komt erbij: {}.", kind.nl, text.nl),
        format!("{} {code} is added: {}.", kind.en, text.en),
    );
    found.say(format!("{table} {code}"), &sentence);
}

fn goes(found: &mut Found, table: &str, kind: &Words, code: &str, text: &Words) {
    let sentence = Words::new(
        format!("{} {code} vervalt: {}.", kind.nl, text.nl),
        format!("{} {code} is dropped: {}.", kind.en, text.en),
    );
    found.say(format!("{table} {code}"), &sentence);
}

/// The two texts of an entry, each a change of its own: the Dutch one counts.
fn texts(found: &mut Found, about: &str, of: &Words, old: (&str, &str), new: (&str, &str)) {
    let name = |nl: &str, en: &str| {
        Words::new(
            format!("De {nl} tekst van {}", lower(&of.nl)),
            format!("The {en} text of {}", lower(&of.en)),
        )
    };
    found.value(about, &name("Nederlandse", "Dutch"), &quoted(old.0), &quoted(new.0));
    found.value(about, &name("Engelse", "English"), &quoted(old.1), &quoted(new.1));
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

fn special(kind: Option<Special>) -> Words {
    kind.map_or_else(
        || Words::new("gewoon", "ordinary"),
        |own| Words::new(own.label(Lang::Nl), own.label(Lang::En)),
    )
}

impl Found {
    pub(super) fn clauses(&mut self, table: &str, kind: &Words, old: &[Clause], new: &[Clause]) {
        let rows = pairs(old, new, |clause| clause.code.as_str());
        for clause in rows.come {
            comes(self, table, kind, &clause.code, &both(&clause.nl, &clause.en));
        }
        for clause in rows.gone {
            goes(self, table, kind, &clause.code, &both(&clause.nl, &clause.en));
        }
        for (before, after) in rows.kept {
            let Clause { code, nl, en } = before;
            let of = kind.clone().then(" ", &Words::same(code));
            texts(self, &format!("{table} {code}"), &of, (nl, en), (&after.nl, &after.en));
        }
        self.order(table, rows.reordered);
    }

    pub(super) fn categories(&mut self, old: &Covenant, new: &Covenant) {
        let kind = &Words::new("Categorie", "Category");
        let rows = pairs(&old.categories, &new.categories, |own| own.code.as_str());
        let text = |own: &Category| {
            let special = special(own.special);
            Words::new(
                format!("“{}”, niveau {}, {}", own.nl, own.level, special.nl),
                format!("“{}”, level {}, {}", own.en, own.level, special.en),
            )
        };
        for own in rows.come {
            comes(self, "categories", kind, &own.code, &text(own));
        }
        for own in rows.gone {
            goes(self, "categories", kind, &own.code, &text(own));
        }
        for (before, after) in rows.kept {
            let Category { code, level, special: kind_of, nl, en } = before;
            let about = &format!("categories {code}");
            let of = kind.clone().then(" ", &Words::same(code));
            texts(self, about, &of, (nl, en), (&after.nl, &after.en));
            let name = |nl: &str, en: &str| {
                Words::new(format!("{nl} van categorie {code}"), format!("{en} of category {code}"))
            };
            let label = |level: &crate::covenant::Level| Words::same(level.to_string());
            self.value(about, &name("Het niveau", "The level"), &label(level), &label(&after.level));
            let (was, is) = (special(*kind_of), special(after.special));
            self.value(about, &name("De wettelijke soort", "The legal kind"), &was, &is);
        }
        self.order("categories", rows.reordered);
    }

    pub(super) fn types(&mut self, old: &Covenant, new: &Covenant) {
        let kind = &Words::new("Berichttype", "Message type");
        let rows = pairs(&old.types, &new.types, |own| own.code.as_str());
        for own in rows.come {
            comes(self, "types", kind, &own.code, &both(&own.nl, &own.en));
            let nothing: &[Field] = &[];
            self.fields(&own.code, nothing, &fields(&own.schema).unwrap_or_default());
        }
        for own in rows.gone {
            goes(self, "types", kind, &own.code, &both(&own.nl, &own.en));
        }
        for (before, after) in rows.kept {
            let MessageType { code, nl, en, schema } = before;
            let about = &format!("types {code}");
            let of = kind.clone().then(" ", &Words::same(code));
            texts(self, about, &of, (nl, en), (&after.nl, &after.en));
            if *schema == after.schema {
                continue;
            }
            let told = self.changes.len();
            if let (Some(before), Some(after)) = (fields(schema), fields(&after.schema)) {
                self.fields(code, &before, &after);
                if self.changes.len() == told {
                    let sentence = Words::new(
                        format!(
                            "De toelichting in het schema van {code} verandert; de velden blijven gelijk."
                        ),
                        format!("The explanation in the schema of {code} changes; the fields stay the same."),
                    );
                    self.formal(about, &sentence);
                }
            } else {
                let sentence = Words::new(
                    format!("het schema van {code} verandert en is niet te lezen."),
                    format!("the schema of {code} changes and cannot be read."),
                );
                self.say(about, &sentence);
            }
        }
        self.order("types", rows.reordered);
    }

    fn fields(&mut self, code: &str, old: &[Field], new: &[Field]) {
        let about = &format!("types {code}");
        let rows = pairs(old, new, |field| field.pointer.as_str());
        for field in rows.come {
            let text = describe(field);
            let sentence = Words::new(
                format!("berichttype {code} krijgt veld {}: {}.", field.pointer, text.nl),
                format!("message type {code} gets field {}: {}.", field.pointer, text.en),
            );
            self.say(about, &sentence);
        }
        for field in rows.gone {
            let sentence = Words::new(
                format!(
                    "berichttype {code} verliest veld {}; het mag niet meer worden gestuurd.",
                    field.pointer
                ),
                format!("message type {code} loses field {}; it may no longer be sent.", field.pointer),
            );
            self.say(about, &sentence);
        }
        for (before, after) in rows.kept {
            let pointer = &before.pointer;
            let name = Words::new(
                format!("Veld {pointer} van berichttype {code}"),
                format!("Field {pointer} of message type {code}"),
            );
            self.value(about, &name, &describe(before), &describe(after));
        }
    }

    pub(super) fn steps(&mut self, old: &Covenant, new: &Covenant) {
        let kind = &Words::new("Stap", "Step");
        let rows = pairs(&old.steps, &new.steps, |rule| rule.step);
        for rule in rows.come {
            let movers = words::roles(&rule.movers);
            let text = Words::new(
                format!("“{}”; {} mag de zaak hierheen brengen", rule.nl, movers.nl),
                format!("“{}”; {} may move the case here", rule.en, movers.en),
            );
            comes(self, "steps", kind, rule.step.as_str(), &text);
        }
        for rule in rows.gone {
            goes(self, "steps", kind, rule.step.as_str(), &both(&rule.nl, &rule.en));
        }
        for (before, after) in rows.kept {
            let StepRule { step, nl, en, movers } = before;
            let about = &format!("steps {step}");
            let of = kind.clone().then(" ", &Words::same(step.as_str()));
            texts(self, about, &of, (nl, en), (&after.nl, &after.en));
            self.members(
                about,
                (movers, &after.movers),
                |role| words::role(*role),
                |roles| {
                    Words::new(
                        format!("{} mag een zaak voortaan naar stap {step} brengen.", roles.nl),
                        format!("{} may from now on move a case to step {step}.", roles.en),
                    )
                },
                |roles| {
                    Words::new(
                        format!("{} mag een zaak niet meer naar stap {step} brengen.", roles.nl),
                        format!("{} may no longer move a case to step {step}.", roles.en),
                    )
                },
            );
        }
        self.order("steps", rows.reordered);
    }

    pub(super) fn conditions(&mut self, old: &Covenant, new: &Covenant) {
        let kind = &Words::new("Voorwaarde", "Condition");
        let rows = pairs(&old.conditions, &new.conditions, |own| own.code.as_str());
        for own in rows.come {
            let (setters, number) = (words::any_role(&own.set_by), words::parties(own.parties));
            let text = Words::new(
                format!("“{}”; vast te stellen door {}, {} nodig", own.nl, setters.nl, number.nl),
                format!("“{}”; stated by {}, {} needed", own.en, setters.en, number.en),
            );
            comes(self, "conditions", kind, &own.code, &text);
        }
        for own in rows.gone {
            goes(self, "conditions", kind, &own.code, &both(&own.nl, &own.en));
        }
        for (before, after) in rows.kept {
            let Condition { code, nl, en, set_by, parties } = before;
            let about = &format!("conditions {code}");
            let of = kind.clone().then(" ", &Words::same(code));
            texts(self, about, &of, (nl, en), (&after.nl, &after.en));
            self.members(
                about,
                (set_by, &after.set_by),
                |role| words::role(*role),
                |roles| {
                    Words::new(
                        format!("{} mag voorwaarde {code} voortaan vaststellen.", roles.nl),
                        format!("{} may from now on state condition {code}.", roles.en),
                    )
                },
                |roles| {
                    Words::new(
                        format!("{} mag voorwaarde {code} niet meer vaststellen.", roles.nl),
                        format!("{} may no longer state condition {code}.", roles.en),
                    )
                },
            );
            let name = Words::new(
                format!("Het aantal partijen dat voorwaarde {code} moet vaststellen"),
                format!("The number of parties that have to state condition {code}"),
            );
            self.value(
                about,
                &name,
                &Words::same(parties.to_string()),
                &Words::same(after.parties.to_string()),
            );
        }
        self.order("conditions", rows.reordered);
    }
}

fn fields(schema: &str) -> Option<Vec<Field>> {
    Schema::parse(schema).ok().map(|schema| schema.fields())
}

/// A field in a few words, for a sentence or a table.
fn describe(field: &Field) -> Words {
    let must = if field.required {
        Words::new("verplicht", "required")
    } else {
        Words::new("mag ontbreken", "optional")
    };
    let kind = field.kind.clone().then(", ", &must);
    match &field.category {
        None => kind,
        Some(code) => {
            let own = Words::new(format!(", categorie {code}"), format!(", category {code}"));
            kind.then("", &own)
        }
    }
}
