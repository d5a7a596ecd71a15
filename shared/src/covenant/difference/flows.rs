//! What flows let roles do that they could not do before, and the reverse.

use std::collections::{BTreeMap, BTreeSet};

use super::{Found, both, pairs, quoted};
use crate::covenant::document::{CaseRule, Covenant, Flow, Requirement};
use crate::covenant::vocabulary::{Handling, Level, Role, Step};
use crate::covenant::words::{self, Words};
use crate::refusal::Lang;

type Opened = BTreeSet<(Role, Role, Step, Level)>;

/// Who may send to whom, in which step, data of which level.
fn opened(flow: &Flow) -> Opened {
    let mut all = Opened::new();
    for route in &flow.routes {
        for (from, to) in route.from.iter().flat_map(|from| route.to.iter().map(move |to| (*from, *to))) {
            for step in &flow.steps {
                all.extend(flow.levels.iter().map(|level| (from, to, *step, *level)));
            }
        }
    }
    all
}

/// The same, said in as few sentences as there are different rights: sender, steps and levels, recipients.
fn grouped<'a>(
    opened: impl Iterator<Item = &'a (Role, Role, Step, Level)>,
) -> BTreeMap<(Role, Vec<Step>, Vec<Level>), Vec<Role>> {
    let mut by_step: BTreeMap<(Role, Role, Step), Vec<Level>> = BTreeMap::new();
    for (from, to, step, level) in opened {
        by_step.entry((*from, *to, *step)).or_default().push(*level);
    }
    let mut by_levels: BTreeMap<(Role, Role, Vec<Level>), Vec<Step>> = BTreeMap::new();
    for ((from, to, step), levels) in by_step {
        by_levels.entry((from, to, levels)).or_default().push(step);
    }
    let mut sentences: BTreeMap<(Role, Vec<Step>, Vec<Level>), Vec<Role>> = BTreeMap::new();
    for ((from, to, levels), steps) in by_levels {
        sentences.entry((from, steps, levels)).or_default().push(to);
    }
    sentences
}

pub(in crate::covenant) fn case(rule: CaseRule) -> Words {
    match rule {
        CaseRule::Required => Words::new("verplicht", "required"),
        CaseRule::Optional => Words::new("toegestaan", "optional"),
        CaseRule::Forbidden => Words::new("verboden", "forbidden"),
    }
}

/// `strafrechtelijk (voor het OM)`.
pub(in crate::covenant) fn requirement(one: &Requirement) -> Words {
    let roles = words::roles(&one.roles);
    Words::new(
        format!("{} (voor berichten van of aan {})", one.condition, roles.nl),
        format!("{} (for messages from or to {})", one.condition, roles.en),
    )
}

/// How long a recipient keeps it: the number and the words.
pub(in crate::covenant) fn retention(flow: &Flow) -> Words {
    let term = flow
        .retention_days
        .map_or_else(|| Words::new("geen vast aantal dagen", "no fixed number of days"), words::days);
    term.then(": ", &quoted(&flow.retention))
}

impl Found {
    pub(super) fn flows(&mut self, old: &Covenant, new: &Covenant) {
        let rows = pairs(&old.flows, &new.flows, |flow| flow.id.as_str());
        for flow in rows.come {
            self.new_flow(flow);
        }
        for flow in rows.gone {
            let text = both(&flow.nl, &flow.en);
            let sentence = Words::new(
                format!("stroom {} vervalt: {}.", flow.id, text.nl),
                format!("flow {} is dropped: {}.", flow.id, text.en),
            );
            self.say(format!("flows {}", flow.id), &sentence);
            self.rights(&flow.id, &opened(flow), &Opened::new());
        }
        for (before, after) in rows.kept {
            let told = self.changes.len();
            self.flow(before, after);
            if self.changes.len() == told && before != after {
                let sentence = Words::new(
                    format!("Stroom {} is anders opgeschreven; wat er mag verandert niet.", after.id),
                    format!("Flow {} is written differently; what is allowed does not change.", after.id),
                );
                self.formal(format!("flows {}", after.id), &sentence);
            }
        }
        self.order("flows", rows.reordered);
    }

    fn new_flow(&mut self, flow: &Flow) {
        let (text, kept, case) = (both(&flow.nl, &flow.en), retention(flow), case(flow.case));
        let conditions = words::and(flow.conditions.iter().map(requirement));
        let (types, data, bases) =
            (words::and_same(&flow.types), words::and_same(&flow.categories), words::and_same(&flow.bases));
        let (release, decision) = (words::yes_no(flow.release), words::yes_no(flow.decision));
        let (id, purpose, most, size) = (&flow.id, &flow.purpose, flow.max_recipients, flow.max_body);
        let sentence = Words::new(
            format!(
                "stroom {id} is nieuw: {}. Berichttypen: {}; gegevens: {}; doel: {purpose}; grondslag: {}; zaak: {}; \
                 voorwaarden: {}; artikel 20-besluit nodig: {}; vrijgave door een mens: {}; {}; hooguit {most} ontvangers \
                 en {size} bytes; bewaren: {}.",
                text.nl,
                types.nl,
                data.nl,
                bases.nl,
                case.nl,
                conditions.nl,
                decision.nl,
                release.nl,
                flow.handling.label(Lang::Nl),
                kept.nl
            ),
            format!(
                "flow {id} is new: {}. Message types: {}; data: {}; purpose: {purpose}; basis: {}; case: {}; \
                 conditions: {}; article 20 decision needed: {}; release by a human: {}; {}; at most {most} recipients \
                 and {size} bytes; kept: {}.",
                text.en,
                types.en,
                data.en,
                bases.en,
                case.en,
                conditions.en,
                decision.en,
                release.en,
                flow.handling.label(Lang::En),
                kept.en
            ),
        );
        self.say(format!("flows {id}"), &sentence);
        self.rights(id, &Opened::new(), &opened(flow));
    }

    fn rights(&mut self, id: &str, old: &Opened, new: &Opened) {
        let about = format!("flows {id}");
        for ((from, steps, levels), to) in grouped(new.difference(old)) {
            let (from, steps, levels) = (words::role(from), words::steps(&steps), words::levels(&levels));
            let to = words::roles(&to);
            let sentence = Words::new(
                format!(
                    "{} mag voortaan op stroom {id} in {} gegevens van {} sturen aan {}.",
                    from.nl, steps.nl, levels.nl, to.nl
                ),
                format!(
                    "{} may from now on send data of {} to {} on flow {id} in {}.",
                    from.en, levels.en, to.en, steps.en
                ),
            );
            self.say(&about, &sentence);
        }
        for ((from, steps, levels), to) in grouped(old.difference(new)) {
            let (from, steps, levels) = (words::role(from), words::steps(&steps), words::levels(&levels));
            let to = words::roles(&to);
            let sentence = Words::new(
                format!(
                    "{} mag op stroom {id} in {} niet meer gegevens van {} sturen aan {}.",
                    from.nl, steps.nl, levels.nl, to.nl
                ),
                format!(
                    "{} may no longer send data of {} to {} on flow {id} in {}.",
                    from.en, levels.en, to.en, steps.en
                ),
            );
            self.say(&about, &sentence);
        }
    }

    fn flow(&mut self, old: &Flow, new: &Flow) {
        // Taken apart so that a field added to a flow has to be told here too.
        let Flow {
            id,
            nl,
            en,
            types,
            routes: _,
            steps: _,
            levels: _,
            categories,
            purpose,
            bases,
            case: with_case,
            decision: _,
            conditions: _,
            release: _,
            handling: _,
            max_recipients: _,
            max_body: _,
            retention_days: _,
            retention: _,
        } = old;
        let about = &format!("flows {id}");
        let of =
            |nl: &str, en: &str| Words::new(format!("{nl} van stroom {id}"), format!("{en} of flow {id}"));
        self.rights(id, &opened(old), &opened(new));
        self.value(about, &of("De Nederlandse tekst", "The Dutch text"), &quoted(nl), &quoted(&new.nl));
        self.value(about, &of("De Engelse tekst", "The English text"), &quoted(en), &quoted(&new.en));
        self.carried(id, ("berichttype", "message type"), types, &new.types);
        self.carried(id, ("gegevenscategorie", "data category"), categories, &new.categories);
        self.value(about, &of("Het doel", "The purpose"), &Words::same(purpose), &Words::same(&new.purpose));
        self.carried(id, ("grondslag", "basis"), bases, &new.bases);
        self.value(
            about,
            &of("Het noemen van een zaak", "Naming a case"),
            &case(*with_case),
            &case(new.case),
        );
        self.bounds(old, new);
        self.value(about, &of("De bewaartermijn", "The retention"), &retention(old), &retention(new));
    }

    /// What a packet must satisfy besides: decision, release, conditions, sizes.
    fn bounds(&mut self, old: &Flow, new: &Flow) {
        let Flow { id, decision, conditions, release, handling, max_recipients, max_body, .. } = old;
        let about = &format!("flows {id}");
        let of =
            |nl: &str, en: &str| Words::new(format!("{nl} van stroom {id}"), format!("{en} of flow {id}"));
        let flag = |flag: bool| words::yes_no(flag);
        self.value(
            about,
            &of("“Artikel 20-besluit nodig”", "“Article 20 decision needed”"),
            &flag(*decision),
            &flag(new.decision),
        );
        self.value(
            about,
            &of("“Vrijgave door een mens”", "“Release by a human”"),
            &flag(*release),
            &flag(new.release),
        );
        let label = |one: Handling| Words::new(one.label(Lang::Nl), one.label(Lang::En));
        self.value(about, &of("Het doorgeven", "Passing on"), &label(*handling), &label(new.handling));
        self.members(
            about,
            (conditions, &new.conditions),
            requirement,
            |all| {
                Words::new(
                    format!("stroom {id} vraagt voortaan dat vaststaat: {}.", all.nl),
                    format!("flow {id} from now on asks that this is established: {}.", all.en),
                )
            },
            |all| {
                Words::new(
                    format!("stroom {id} vraagt niet meer dat vaststaat: {}.", all.nl),
                    format!("flow {id} no longer asks that this is established: {}.", all.en),
                )
            },
        );
        let number = |n: u64| Words::same(n.to_string());
        self.value(
            about,
            &of("Het grootste aantal ontvangers", "The largest number of recipients"),
            &number((*max_recipients).into()),
            &number(new.max_recipients.into()),
        );
        self.value(
            about,
            &of("De grootste inhoud in bytes", "The largest content in bytes"),
            &number((*max_body).into()),
            &number(new.max_body.into()),
        );
    }

    fn carried(&mut self, id: &str, (nl, en): (&str, &str), old: &[String], new: &[String]) {
        self.members(
            &format!("flows {id}"),
            (old, new),
            |code: &String| Words::same(code),
            |all| {
                Words::new(
                    format!("op stroom {id} mag voortaan ook {nl} {}.", all.nl),
                    format!("flow {id} from now on also allows {en} {}.", all.en),
                )
            },
            |all| {
                Words::new(
                    format!("op stroom {id} mag {nl} {} niet meer.", all.nl),
                    format!("flow {id} no longer allows {en} {}.", all.en),
                )
            },
        );
    }
}
