//! What is done for a person: keeping whether that person was told, having fields corrected, and erasing. Each is looked at
//! as a whole before it is done.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use seinhuis_agent_core::{CorrectionKind, Duty, REASON_MAX};
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::limits::TEXT_MAX;
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::complaint::{Complaint, Exit};
use seinhuis_shell::lang::Text;
use seinhuis_shell::web::form::{Form, fresh_key, is_key};
use serde_json::Value;

use super::super::guard::Visit;
use super::super::layout::{self, Error};
use super::super::shape::{Leaf, Shape, readable};
use super::super::trouble::Trouble;
use super::super::words::{self, text, when};
use super::super::{Desk, Shown};
use super::act::Act;
use super::one::{about, called, with};
use super::shared::{self, ERASED, Step};
use super::{Field, day_of, found, known};
use crate::agent::AgentHandle;
use crate::commands::request::{Request, TellText};
use crate::engine::View;

/// Most characters of a role here: the name of who decides stands behind it.
const ROLE_MAX: usize = 30;
/// Most characters of an explanation (the covenant's schema).
const NOTE_MAX: usize = 300;
/// The field of a form that says which messages were looked at.
const SEEN: &str = "seen";
/// The field of a body that says why.
const WHY: &str = "/reden";

/// Links to what can be done for a person.
pub(super) fn offered(id: &str, found: &Value, lang: Lang) -> Markup {
    let open = text(&found["persons"][0], "duty") == Duty::Open.as_str();
    let none_sent = shared::sent_fields(found).is_empty();
    let wanted = |act: &Act| match act {
        Act::Tell(Duty::Open) => !open,
        Act::Rectify => !none_sent,
        Act::Tell(_) | Act::Erase => true,
    };
    html! {
        h2 { (lang.pick("Wat u kunt doen", "What you can do")) }
        ul { @for act in Act::ALL.into_iter().filter(wanted) {
            li { a href={ "/subjects/" (id) "/" (act.word()) } { (act.title(lang)) } }
        } }
    }
}

/// Something that is done for a person.
struct Acting {
    id: Digest,
    act: Act,
    found: Value,
    /// Why it can be done, as the covenants of what was sent say; none where nothing is said to recipients.
    reasons: BTreeSet<String>,
}

impl Acting {
    async fn of(desk: &Desk, visit: &Visit, (person, act): &(String, String)) -> Result<Self, Trouble> {
        let id = known(desk, visit, person).await?;
        let act = Act::of(act).ok_or_else(Trouble::nothing)?;
        let found = found(desk, id, Timestamp(0), false).await?;
        let reasons = match act.kind() {
            None => BTreeSet::new(),
            Some(kind) => {
                let sent = shared::messages(&found, "sent");
                let covenants: BTreeSet<Digest> =
                    sent.filter_map(|one| text(one, "covenant").parse().ok()).collect();
                desk.agent.query(move |view| reasons(view, &covenants, kind)).await?
            }
        };
        Ok(Self { id, act, found, reasons })
    }

    fn path(&self) -> String {
        format!("/subjects/{}/{}", self.id, self.act.word())
    }

    /// What is missing or does not read. The agent checks again, and more.
    fn faults(&self, form: &Form, lang: Lang) -> Vec<Error> {
        let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
        let mut found = Vec::new();
        let mut missing = |name: &str, is: bool, text: &str| {
            if is {
                found.push(Error::new(name, text));
            }
        };
        let given = |name: &str| form.text(name).trim();
        match self.act {
            Act::Tell(duty) => {
                let (reason, role) = (given("reason"), given("role"));
                missing(
                    "until",
                    duty == Duty::Postponed && day_of(given("until")).is_none(),
                    t("Kies een dag.", "Choose a day."),
                );
                let why = if duty == Duty::Informed {
                    t("Noem hoe de betrokkene is geïnformeerd.", "Name how the person was told.")
                } else {
                    t("Noem de reden.", "Name the reason.")
                };
                missing("reason", reason.is_empty(), why);
                let long = role.chars().count() > ROLE_MAX;
                missing(
                    "role",
                    role.is_empty() || long,
                    t("Noem uw rol, in hooguit 30 tekens.", "Name your role, in 30 characters at most."),
                );
            }
            Act::Rectify => {
                let there = shared::sent_fields(&self.found).contains(given("field"));
                missing("field", !there, t("Kies welk gegeven niet klopt.", "Choose which field is wrong."));
            }
            Act::Erase => {}
        }
        let unsaid = !self.reasons.is_empty() && !self.reasons.contains(given("why"));
        missing("why", unsaid, t("Kies een reden.", "Choose a reason."));
        missing(
            "note",
            given("note").chars().count() > NOTE_MAX,
            t("Maak de toelichting korter.", "Make the explanation shorter."),
        );
        found
    }

    /// What is done with each message.
    fn steps(&self, form: &Form) -> Vec<Step> {
        let note = Some(form.text("note").trim()).filter(|note| !note.is_empty());
        let said = shared::said(form.text("why"), note);
        match self.act {
            Act::Tell(_) => Vec::new(),
            Act::Rectify => shared::rectifying(&self.found, form.text("field").trim(), &said),
            Act::Erase => shared::erasing(&self.found, &said),
        }
    }

    /// What is kept of the duty to tell.
    fn telling(&self, duty: Duty, form: &Form, visit: &Visit) -> TellText {
        let until = Some(form.text("until").trim().to_owned());
        TellText {
            person: self.id.to_string(),
            duty: duty.as_str().to_owned(),
            until: until.filter(|_| duty == Duty::Postponed),
            role: signed(form.text("role").trim(), &visit.person.name),
            reason: form.text("reason").trim().to_owned(),
        }
    }
}

/// A role with the name of who decides in it, as far as it fits: the page knows who it is.
fn signed(role: &str, name: &str) -> String {
    let room = TEXT_MAX.saturating_sub(role.chars().count()).saturating_sub(" ()".len());
    let name: String = name.chars().take(room).collect();
    format!("{role} ({name})")
}

/// What the schemas of these covenants let be said for why.
fn reasons(view: &View<'_>, covenants: &BTreeSet<Digest>, kind: CorrectionKind) -> BTreeSet<String> {
    let compiled = covenants.iter().filter_map(|hash| view.core.agreed().find(hash).ok());
    compiled.flat_map(|one| codes(one.compiled(), kind)).collect()
}

fn codes(compiled: &Arc<Compiled>, kind: CorrectionKind) -> Vec<String> {
    let types = &compiled.covenant().types;
    let schema = types.iter().find(|one| one.code == kind.message_type());
    let shape = schema.and_then(|one| Shape::read(&one.schema));
    match shape.as_ref().and_then(|shape| shape.at(WHY)) {
        Some(Shape::Leaf(Leaf::OneOf(values))) => values.clone(),
        _ => Vec::new(),
    }
}

pub(in super::super) async fn show(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(path): Path<(String, String)>,
) -> Shown {
    let acting = Acting::of(&desk, &visit, &path).await?;
    Ok(form_of(&desk, &visit, &acting, &Form::default(), &fresh_key(), &[]))
}

/// What a button of the form asks: a look at it all, back to the form, or doing it.
pub(in super::super) async fn act(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(path): Path<(String, String)>,
    Extension(form): Extension<Form>,
) -> Shown {
    let acting = Acting::of(&desk, &visit, &path).await?;
    let key = form.text("key");
    if !is_key(key) {
        return Err(Trouble::old_form());
    }
    if form.text("do") == "edit" {
        return Ok(form_of(&desk, &visit, &acting, &form, key, &[]));
    }
    let errors = acting.faults(&form, visit.lang);
    if !errors.is_empty() {
        return Ok(form_of(&desk, &visit, &acting, &form, key, &errors));
    }
    // What cannot be taken back is done as it was looked at: what came in since is looked at first.
    let steps = acting.steps(&form);
    let is_seen = steps.is_empty() || form.text(SEEN) == seen(&steps);
    if form.text("do") != "send" || !is_seen {
        return Ok(looked_at(&desk, &visit, &acting, &form, &steps));
    }
    let back = format!("/subjects/{}", acting.id);
    // A double click does it once.
    if !desk.sessions.first(&visit.cookie, key) {
        return Ok(layout::see_other(&back));
    }
    let Act::Tell(duty) = acting.act else {
        let outcomes = carried_out(&desk.agent, steps).await?;
        return Ok(told(&desk, &visit, &acting, &outcomes));
    };
    match desk.agent.ask(Request::Tell(acting.telling(duty, &form, &visit))).await {
        Ok(_) => Ok(layout::see_other(&back)),
        Err(complaint) if complaint.exit == Exit::Refused => {
            let what = [&complaint.what, &complaint.advice].map(|text| text.in_lang(visit.lang)).join(" ");
            Ok(form_of(&desk, &visit, &acting, &form, &fresh_key(), &[Error::new("form", what)]))
        }
        Err(complaint) => {
            // It was not kept: the same form may come once more.
            desk.sessions.forget(&visit.cookie, key);
            Err(complaint.into())
        }
    }
}

/// Does one after the other, whatever fails, also when the browser goes away meanwhile.
async fn carried_out(agent: &AgentHandle, steps: Vec<Step>) -> Result<Vec<(Step, Option<Text>)>, Complaint> {
    let agent = agent.clone();
    let all = tokio::spawn(async move {
        let mut done = Vec::new();
        for step in steps {
            let asked = agent.ask(step.request.clone()).await;
            done.push((step, asked.err().map(|complaint| complaint.what)));
        }
        done
    });
    all.await.map_err(|error| Complaint::bug(error.to_string()))
}

/// What is done with a message.
fn what(step: &Step, lang: Lang) -> &'static str {
    if step.what == ERASED { lang.pick("hier wissen", "erase here") } else { words::kind(step.what, lang) }
}

/// A message, where it is from or to, and what is done with it.
fn step(step: &Step, visit: &Visit) -> Vec<Markup> {
    let message = &step.message;
    vec![
        when(text(message, "at")),
        html! { (called(&message["type"], visit)) },
        html! { (with(message, visit)) },
        html! { (what(step, visit.lang)) @if !step.fields.is_empty() { ": " (step.fields.join(", ")) } },
    ]
}

const fn heads(lang: Lang) -> [&'static str; 4] {
    match lang {
        Lang::Nl => ["Wanneer", "Bericht", "Met wie", "Wat"],
        Lang::En => ["When", "Message", "With whom", "What"],
    }
}

/// Which messages are in a look, so that no others are when it is sent.
fn seen(steps: &[Step]) -> String {
    let all = steps
        .iter()
        .map(|step| format!("{} {} {}\n", text(&step.message, "msg_id"), step.what, step.fields.join(" ")));
    sha256(all.collect::<String>().as_bytes()).to_string()
}

/// What is about to be done, before it is.
fn looked_at(desk: &Desk, visit: &Visit, acting: &Acting, form: &Form, steps: &[Step]) -> Response {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let title = t("Controleer wat u vastlegt of laat doen", "Check what you keep or have done");
    let changed = !form.text(SEEN).is_empty() && form.text(SEEN) != seen(steps);
    let mut kept = form.without(SEEN);
    kept.put(SEEN, &seen(steps));
    let rows: Vec<_> = steps.iter().map(|one| step(one, visit)).collect();
    let mut facts = vec![(t("Wat", "What"), html! { (acting.act.title(lang)) })];
    if let Act::Tell(duty) = acting.act {
        let told = acting.telling(duty, form, visit);
        facts.extend(told.until.map(|until| (t("Tot", "Until"), html! { (until) })));
        facts.push((t("Hoe of waarom", "How or why"), html! { (told.reason) }));
        facts.push((t("In welke rol", "In which role"), html! { (told.role) }));
    } else if !acting.reasons.is_empty() {
        facts.push((t("Reden", "Reason"), html! { span lang="nl" { (readable(form.text("why"))) } }));
        facts.push((t("Toelichting", "Explanation"), html! { (form.text("note")) }));
    }
    let nothing = rows.is_empty() && acting.act.kind().is_some();
    let main = html! {
        h1 { (title) }
        @if changed { p class="notice" role="alert" { strong { (t(
            "Er is intussen iets veranderd; er is nog niets gedaan. Kijk opnieuw.",
            "Something changed meanwhile; nothing was done yet. Look again.",
        )) } } }
        (about(&acting.found["persons"][0], visit))
        (layout::facts(&facts))
        @if nothing { p { (t("Er is geen bericht waarmee dit nog te doen is.", "There is no message with which this is still to be done.")) } }
        @else if !rows.is_empty() {
            p { strong { (t("Dit is niet terug te nemen.", "This cannot be taken back.")) } }
            (layout::table(t("Wat met elk bericht gebeurt", "What is done with each message"), &heads(lang), &rows))
        }
        @if nothing { p { a href={ "/subjects/" (acting.id) } { (t("Terug naar de betrokkene", "Back to the person")) } } }
        @else { (layout::look(visit, &acting.path(), &kept, acting.act.title(lang))) }
    };
    layout::shown(&desk.name, visit, title, &main)
}

/// What came of each message. One that failed leaves the others done.
fn told(desk: &Desk, visit: &Visit, acting: &Acting, outcomes: &[(Step, Option<Text>)]) -> Response {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let title = t("Wat er is gedaan", "What was done");
    let failed = outcomes.iter().filter(|(_, problem)| problem.is_some()).count();
    let row = |(one, problem): &(Step, Option<Text>)| {
        let mut row = step(one, visit);
        row.push(html! {
            @if let Some(what) = problem { strong { (t("niet gelukt", "failed")) } ": " (what.in_lang(lang)) }
            @else { (t("gedaan", "done")) }
        });
        row
    };
    let [when, message, with, what] = heads(lang);
    let heads = [when, message, with, what, t("Uitkomst", "Outcome")];
    let main = html! {
        h1 { (title) }
        @if failed > 0 {
            div class="errors" role="alert" {
                p { strong { (failed) " " (t("van", "of")) " " (outcomes.len()) " " (t("berichten niet gelukt; de rest is gedaan.", "messages failed; the rest is done.")) } }
                p { (t("Doe het opnieuw voor wat niet lukte, of vraag de beheerder.", "Do it again for what failed, or ask the administrator.")) }
            }
        } @else {
            p class="notice" role="status" { (outcomes.len()) " " (t(
                "berichten gedaan. Bij de betrokkene ziet u wie het heeft bevestigd.",
                "messages done. At the person you see who confirmed it.",
            )) }
        }
        @if !outcomes.is_empty() { (layout::table(acting.act.title(lang), &heads, &outcomes.iter().map(row).collect::<Vec<_>>())) }
        p { a href={ "/subjects/" (acting.id) } { (t("Terug naar de betrokkene", "Back to the person")) } }
    };
    layout::shown(&desk.name, visit, title, &main)
}

fn form_of(
    desk: &Desk,
    visit: &Visit,
    acting: &Acting,
    form: &Form,
    key: &str,
    errors: &[Error],
) -> Response {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let title = acting.act.title(lang);
    let fields = match acting.act {
        Act::Tell(duty) => telling_fields(duty, form, errors, lang),
        Act::Rectify | Act::Erase => saying_fields(acting, form, errors, lang),
    };
    let main = html! {
        (layout::summary(lang, errors))
        h1 id="form" tabindex="-1" { (title) }
        p { (acting.act.explained(lang)) }
        (about(&acting.found["persons"][0], visit))
        form method="post" action=(acting.path()) novalidate {
            (layout::token(visit))
            input type="hidden" name="key" value=(key);
            (fields)
            button type="submit" name="do" value="check" { (t("Verder: controleren", "Next: check")) }
        }
        p { a href={ "/subjects/" (acting.id) } { (t("Terug naar de betrokkene", "Back to the person")) } }
    };
    let mut response = layout::shown(&desk.name, visit, &layout::title_of(title, errors, lang), &main);
    if !errors.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    response
}

/// The fields of what is kept of the duty to tell.
fn telling_fields(duty: Duty, form: &Form, errors: &[Error], lang: Lang) -> Markup {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let (reason, hint) = match duty {
        Duty::Informed => (
            t("Hoe", "How"),
            t(
                "Zoals: brief van 3 maart. Verder geen persoonsgegevens.",
                "Such as: letter of 3 March. No other personal data.",
            ),
        ),
        Duty::Postponed => (
            t("Waarom vertellen nu schaadt", "Why telling would harm"),
            t(
                "Zoals: opsporing. Verder geen persoonsgegevens.",
                "Such as: criminal investigation. No other personal data.",
            ),
        ),
        Duty::Exempt => (
            t("Op welke grond", "On which ground"),
            t(
                "Zoals: AVG 14 lid 5 onder a. Geen persoonsgegevens.",
                "Such as: GDPR 14(5)(a). No personal data.",
            ),
        ),
        Duty::Open => (t("Waarom", "Why"), t("Geen persoonsgegevens.", "No personal data.")),
    };
    let field = |id, label: &'static str, hint| Field { id, label: html! { (label) }, hint, errors };
    let signed = t(
        "Uw naam komt erachter. Dit blijft bij uw organisatie.",
        "Your name comes behind it. This stays at your organisation.",
    );
    html! {
        @if duty == Duty::Postponed { (field("until", t("Tot welke dag", "Until which day"), None).line("date", None, form.text("until"))) }
        (field("reason", reason, Some(hint)).line("text", Some(REASON_MAX), form.text("reason")))
        (field("role", t("In welke rol u dit vastlegt", "In which role you keep this"), Some(signed)).line("text", Some(ROLE_MAX), form.text("role")))
    }
}

/// The fields of what recipients are told.
fn saying_fields(acting: &Acting, form: &Form, errors: &[Error], lang: Lang) -> Markup {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let choose = t("Kies", "Choose");
    let listed = |code: &str| (code.to_owned(), readable(code));
    let field = |id, label: &'static str, hint| Field { id, label: html! { (label) }, hint, errors };
    let reasons: Vec<_> = acting.reasons.iter().map(|code| listed(code)).collect();
    let places: Vec<_> = shared::sent_fields(&acting.found).into_iter().map(listed).collect();
    let hint = t(
        "Niet verplicht. Voor de ontvangers; niets over een persoon.",
        "Optional. For the recipients; nothing about a person.",
    );
    html! {
        @if acting.act == Act::Rectify {
            (field("field", t("Welk gegeven klopt niet", "Which field is wrong"), None).choice(choose, &places, form.text("field"), Some("nl")))
        }
        @if !reasons.is_empty() {
            (field("why", t("Reden", "Reason"), None).choice(choose, &reasons, form.text("why"), Some("nl")))
            (field("note", t("Toelichting", "Explanation"), Some(hint)).line("text", Some(NOTE_MAX), form.text("note")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_says_whose_and_never_grows_too_long() {
        assert_eq!(signed("regisseur", "Anna de Vries"), "regisseur (Anna de Vries)");
        let long = signed(&"r".repeat(ROLE_MAX), &"é".repeat(64));
        assert_eq!(long.chars().count(), TEXT_MAX);
        assert!(long.contains('é') && long.ends_with(')'));
    }

    #[test]
    fn what_is_missing_is_told_field_by_field() {
        let places = json!([{ "at": "/p/0", "fields": ["naam"] }]);
        let found = json!({ "persons": [{}], "messages": [{ "direction": "sent", "msg_id": "m", "places": places, "corrections": [] }] });
        let told = |act: Act, fields: &[(&str, &str)]| {
            let acting = Acting {
                id: Digest([0; 32]),
                act,
                found: found.clone(),
                reasons: act.kind().map(|_| "onjuist".to_owned()).into_iter().collect(),
            };
            let form: Form = fields.iter().copied().collect();
            acting.faults(&form, Lang::En).into_iter().map(|error| error.id).collect::<Vec<_>>()
        };
        assert_eq!(told(Act::Tell(Duty::Postponed), &[("until", "morgen")]), ["until", "reason", "role"]);
        assert_eq!(
            told(Act::Tell(Duty::Informed), &[("reason", "brief"), ("role", &"r".repeat(31))]),
            ["role"]
        );
        assert!(told(Act::Tell(Duty::Open), &[("reason", "x"), ("role", "regisseur")]).is_empty());
        assert_eq!(told(Act::Rectify, &[("field", "adres"), ("why", "zomaar")]), ["field", "why"]);
        assert!(told(Act::Rectify, &[("field", "naam"), ("why", "onjuist")]).is_empty());
        assert_eq!(told(Act::Erase, &[("why", "onjuist"), ("note", &"n".repeat(301))]), ["note"]);
    }

    #[test]
    fn what_was_not_looked_at_is_not_what_was_seen() {
        let message = |id: &str| json!({ "direction": "received", "msg_id": id, "position": 1, "state": {} });
        let of = |ids: &[&str]| {
            let messages: Vec<Value> = ids.iter().map(|id| message(id)).collect();
            seen(&shared::erasing(&json!({ "messages": messages }), &shared::said("", None)))
        };
        assert_eq!(of(&["a"]), of(&["a"]));
        assert!(of(&["a"]) != of(&["a", "b"]) && of(&["a"]) != of(&["b"]) && of(&[]) != of(&["a"]));
    }

    #[test]
    fn what_makes_no_sense_is_not_offered() {
        let of = |duty: &str, messages: Value| {
            offered("00ff", &json!({ "persons": [{ "duty": duty }], "messages": messages }), Lang::Nl)
                .into_string()
        };
        let open = of("open", json!([]));
        assert!(
            open.contains("/subjects/00ff/informed") && !open.contains("reopen") && !open.contains("rectify")
        );
        let sent = json!([{ "direction": "sent", "places": [{ "at": "/p", "fields": ["naam"] }] }]);
        let told = of("informed", sent);
        assert!(told.contains("/reopen") && told.contains("/rectify") && told.contains("/erase"));
    }
}
