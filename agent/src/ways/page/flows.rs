//! What can be sent: the flows that the covenants in force have for this organisation and this person.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use maud::html;
use seinhuis_agent_core::CorrectionKind;
use seinhuis_shared::covenant::agreement::State as Standing;
use seinhuis_shared::covenant::{Compiled, Flow, MessageType, Party, Role};
use seinhuis_shared::ids::{CaseId, Digest, MsgId, Oin};
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::clock;

use super::guard::Visit;
use super::trouble::Trouble;
use super::{Desk, Shown, layout};
use crate::engine::View;

/// Types that the agent itself makes, or that are made from the message they are about.
const MADE_ELSEWHERE: [&str; 4] = [
    CorrectionKind::Correction.message_type(),
    CorrectionKind::Withdrawal.message_type(),
    "vernietigingsbevestiging",
    "toestemming_doorverstrekking",
];

/// Whether a person makes messages of this type from an empty form.
pub(super) fn is_made_here(code: &str) -> bool {
    !MADE_ELSEWHERE.contains(&code)
}

/// A covenant in force, and what this organisation is under it.
#[derive(Debug, Clone)]
pub(super) struct Under {
    pub(super) compiled: Arc<Compiled>,
    pub(super) role: Role,
}

impl Under {
    /// Whether this organisation may send under a flow.
    pub(super) fn sends(&self, flow: &Flow) -> bool {
        flow.routes.iter().any(|route| route.from.contains(&self.role))
    }

    /// Who can be sent to under a flow.
    pub(super) fn recipients(&self, flow: &Flow, own: Oin, now: Timestamp) -> Vec<&Party> {
        let reached = |role: Role| {
            flow.routes.iter().any(|route| route.from.contains(&self.role) && route.to.contains(&role))
        };
        let there =
            |party: &&Party| party.oin != own && self.compiled.role_at(party.oin, now).is_some_and(reached);
        self.compiled.covenant().parties.iter().filter(there).collect()
    }

    /// The message types of a flow that a person makes here.
    fn types<'a>(&'a self, flow: &'a Flow) -> impl Iterator<Item = &'a MessageType> {
        let made = |one: &&MessageType| flow.types.contains(&one.code) && is_made_here(&one.code);
        self.compiled.covenant().types.iter().filter(made)
    }
}

/// The covenants in force under which this organisation has a role.
pub(super) fn in_force(view: &View<'_>) -> Vec<Under> {
    let (now, own) = (clock::now(), view.core.oin());
    let all = view.core.agreed().all().filter(|one| one.state(now) == Standing::InForce);
    all.filter_map(|one| {
        let compiled = Arc::clone(one.compiled());
        let role = compiled.role_at(own, now)?;
        Some(Under { compiled, role })
    })
    .collect()
}

/// The covenant with this hash, if it is in force here.
pub(super) async fn under(desk: &Desk, covenant: Digest) -> Result<Under, Trouble> {
    let all = desk.agent.query(in_force).await?;
    all.into_iter().find(|one| one.compiled.hash() == covenant).ok_or_else(Trouble::nothing)
}

/// The names of the parties of all covenants that are known, by OIN.
pub(super) fn names(view: &View<'_>) -> BTreeMap<String, String> {
    let parties = view.core.agreed().all().flat_map(|one| &one.compiled().covenant().parties);
    parties.map(|party| (party.oin.to_string(), party.name.clone())).collect()
}

/// The name of a party, or its number when it has none here.
pub(super) fn name<'a>(names: &'a BTreeMap<String, String>, oin: &'a str) -> &'a str {
    names.get(oin).map_or(oin, String::as_str)
}

/// What a new message goes along with: the case it is in and the message it answers. Ids, and nothing else.
pub(super) fn going_along(uri: &Uri) -> (Option<CaseId>, Option<MsgId>) {
    let value = |name: &str| {
        let mut all = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        all.find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
    };
    let case = value("case").and_then(|text| text.parse().ok());
    (case, value("answers").and_then(|text| text.parse().ok()))
}

/// These as a query, to go along further.
pub(super) fn query((case, answers): (Option<CaseId>, Option<MsgId>)) -> String {
    let case = case.map(|case| format!("case={case}"));
    let answers = answers.map(|answers| format!("answers={answers}"));
    let all: Vec<String> = case.into_iter().chain(answers).collect();
    if all.is_empty() { String::new() } else { format!("?{}", all.join("&")) }
}

pub(super) async fn list(State(desk): State<Desk>, Extension(visit): Extension<Visit>, uri: Uri) -> Shown {
    let lang = visit.lang;
    let (all, own, now) = (desk.agent.query(in_force).await?, desk.agent.oin(), clock::now());
    let along = query(going_along(&uri));
    let title = lang.pick("Nieuw bericht", "New message");
    let offered: Vec<(&Under, &Flow)> = all
        .iter()
        .flat_map(|under| under.compiled.covenant().flows.iter().map(move |flow| (under, flow)))
        .filter(|(under, flow)| {
            visit.person.pushes(&flow.id)
                && under.sends(flow)
                && !under.recipients(flow, own, now).is_empty()
                && under.types(flow).next().is_some()
        })
        .collect();
    let main = html! {
        h1 { (title) }
        p { (lang.pick(
            "Kies wat u wilt sturen. Het convenant bepaalt wat er kan, aan wie, en welke velden er zijn.",
            "Choose what you want to send. The covenant decides what can be sent, to whom, and which fields there are.",
        )) }
        @if offered.is_empty() {
            p { (lang.pick(
                "Er is nu niets dat u mag sturen: er is geen convenant van kracht, of uw toegangscode geeft het recht niet.",
                "There is nothing you may send now: no covenant is in force, or your access code does not give the right.",
            )) }
        }
        ul class="cards" {
            @for (under, flow) in &offered {
                @for kind in under.types(flow) {
                    li {
                        a href={ "/new/" (under.compiled.hash()) "/" (flow.id) "/" (kind.code) (along) } {
                            (flow.id) " · " (lang.pick(flow.nl.as_str(), flow.en.as_str()))
                        }
                        p { (lang.pick(kind.nl.as_str(), kind.en.as_str()))
                            @if flow.release { " · " (lang.pick("een collega geeft vrij", "a colleague releases it")) } }
                    }
                }
            }
        }
    };
    Ok(layout::shown(&desk.name, &visit, title, &main))
}
