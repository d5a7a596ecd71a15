//! What the law and the model covenant forbid, at the broker with the checks of every agent off: packets are
//! made by hand, and nobody but the broker looks at them. What a sealed body holds the broker cannot see; that
//! part is the sender's and the recipient's.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

#[path = "../../kits/law.rs"]
#[allow(dead_code, reason = "what only a sender or a recipient can see")]
mod rules;

use std::collections::BTreeMap;

use rules::{At, Right, SERVICE, Wrong, forbidden};
use seinhuis_shared::case::Act;
use seinhuis_shared::covenant::{Role, Step};
use seinhuis_shared::ids::{CaseId, Oin};
use seinhuis_shared::packet::Context;
use seinhuis_shared::prekey::PrekeyPublic;
use seinhuis_shared::refusal::Refusal;
use seinhuis_tests::samples::{self, Sample};
use seinhuis_tests::{Forge, Raw};

use crate::common::town::{Square, Town};

static TOWN: Square = Square::new();

/// The town's broker, a connection for every role, and a case in every state.
struct Court<'a> {
    town: &'a Town,
    forges: BTreeMap<Role, Forge>,
    raws: BTreeMap<Role, Raw>,
    cases: Vec<(At, CaseId)>,
    samples: BTreeMap<String, Sample>,
}

impl<'a> Court<'a> {
    fn of(town: &'a Town) -> Self {
        let cases = Step::ALL.iter().map(|step| At::Step(*step)).chain([At::Closed]);
        let cases = cases.map(|at| (at, case(town, at))).collect();
        let name = |sample: &Sample| sample.path.file_name().unwrap().to_string_lossy().into_owned();
        Self {
            town,
            forges: Role::ALL.iter().map(|role| (*role, town.forge(role.as_str()))).collect(),
            raws: Role::ALL.iter().map(|role| (*role, town.open(role.as_str()))).collect(),
            cases,
            samples: samples::all().unwrap().into_iter().map(|one| (name(&one), one)).collect(),
        }
    }

    /// What the broker says of a sample with these changes.
    fn says(&mut self, wrong: &Wrong, edit: impl FnOnce(&mut Context)) -> Option<Refusal> {
        let right = &wrong.right;
        let case = self.cases.iter().find(|(at, _)| *at == wrong.case).unwrap().1;
        let to: Vec<(Oin, &PrekeyPublic)> =
            right.to.iter().flat_map(|role| self.town.to(role.as_str())).collect();
        let packet = self.forges[&right.from].packet(&self.samples[&right.file], &to, |context| {
            context.case = right.case.then_some(case);
            context.declared.step = right.step;
            edit(context);
        });
        let raw = self.raws.get_mut(&right.from).unwrap();
        let (verdict, receipt) = self.town.runtime.block_on(raw.verdict(&packet.unwrap())).unwrap();
        let sender = self.town.oin(right.from.as_str());
        if verdict.outcome != 0 {
            receipt.says_refused(&verdict.packet, &sender, verdict.outcome).unwrap();
        }
        Refusal::from_number(verdict.outcome)
    }

    fn close(self) {
        for raw in self.raws.into_values() {
            self.town.runtime.block_on(raw.close());
        }
    }
}

fn case(town: &Town, at: At) -> CaseId {
    let until = if let At::Step(step) = at { step } else { Step::S7 };
    let (case, mut chain) = town.case(until);
    let state = Act::Condition { code: "strafrechtelijk".into(), holds: true };
    town.decides("gemeente", case, &mut chain, state).unwrap();
    if at == At::Closed {
        town.decides("gemeente", case, &mut chain, Act::Close).unwrap();
    }
    case
}

#[test]
fn the_broker_refuses_what_is_forbidden() {
    let town = TOWN.town();
    let waiting = town.waiting();
    let mut court = Court::of(&town);
    let covenant = town.forge("gemeente").covenant;
    let wrongs = forbidden(&covenant);
    for wrong in wrongs.iter().filter(|wrong| wrong.field.is_none() || wrong.level.is_some()) {
        let refusal = court.says(wrong, |context| {
            let declared = &mut context.declared;
            declared.level = wrong.level.unwrap_or(declared.level);
            declared.categories.extend(wrong.category.map(str::to_owned));
            declared.categories.sort();
            declared.categories.dedup();
        });
        let wanted = refusal.is_some_and(|refusal| wrong.declared.contains(&refusal));
        assert!(wanted, "{} {}: {refusal:?}", wrong.rule, wrong.right.file);
    }
    court.close();
    assert_eq!(town.waiting(), waiting, "nothing waits for anybody");
}

#[test]
fn the_broker_lets_through_what_is_right_and_messages_about_messages_of_a_closed_case() {
    let town = TOWN.town();
    let mut court = Court::of(&town);
    for mut right in Right::all() {
        let service = SERVICE.contains(&right.flow.as_str());
        right.case |= service;
        let case = if service { At::Closed } else { At::Step(right.step) };
        let file = right.file.clone();
        let right =
            Wrong { rule: "none", right, case, level: None, category: None, field: None, declared: &[] };
        assert_eq!(court.says(&right, |_| ()), None, "{file}");
    }
    court.close();
}
