//! Making a signal: a form from the covenant, a look at it, and handing it over.
//!
//! Nothing is kept between these: what was entered goes along in the form. The form has a key from which the message id
//! follows, so that a double click or a reload is the same message.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use data_encoding::BASE64;
use maud::{Markup, html};
use seinhuis_shared::covenant::{CaseRule, Flow, Level, MessageType, Party, Step};
use seinhuis_shared::ids::{CaseId, Digest, MsgId};
use seinhuis_shared::refusal::Lang;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Exit;
use seinhuis_shell::web::form::{Form, fresh_key, is_key};
use serde_json::Value;

use super::entered::{blank, body, entered, rearrange};
use super::fields::Fields;
use super::flows::{self, Under};
use super::guard::Visit;
use super::layout::{self, Error, id_of};
use super::shape::{Shape, readable};
use super::trouble::Trouble;
use super::words;
use super::{Desk, Shown};
use crate::commands::request::{Look, PushText, Request};

/// Most faults that are told at once.
const FAULTS_MAX: usize = 50;
/// Most cases that are offered to choose from; another is typed.
const CASES_MAX: usize = 200;

/// What is made: one message type of one flow.
struct Making {
    under: Under,
    flow: Flow,
    kind: MessageType,
    shape: Shape,
}

impl Making {
    async fn of(
        desk: &Desk,
        visit: &Visit,
        (covenant, flow, code): &(String, String, String),
    ) -> Result<Self, Trouble> {
        let covenant: Digest = covenant.parse().map_err(|_| Trouble::nothing())?;
        if !visit.person.pushes(flow) {
            return Err(Trouble::not_allowed());
        }
        let under = flows::under(desk, covenant).await?;
        let made = |flow: &&Flow| flow.types.contains(code) && flows::is_made_here(code) && under.sends(flow);
        let flow = under.compiled.flow(flow).filter(made).cloned();
        let kind = under.compiled.covenant().types.iter().find(|one| one.code == *code).cloned();
        let (Some(flow), Some(kind)) = (flow, kind) else { return Err(Trouble::nothing()) };
        let shape = Shape::read(&kind.schema).ok_or_else(Trouble::nothing)?;
        Ok(Self { under, flow, kind, shape })
    }

    /// Whether every message of this flow goes to one recipient.
    fn has_one_recipient(&self) -> bool {
        self.flow.max_recipients == 1 || self.flow.levels.iter().all(|level: &Level| level.is_personal())
    }
}

/// What a message is addressed with.
#[derive(Debug, Clone, Default)]
struct Addressing {
    to: Vec<String>,
    step: String,
    case: String,
    basis: String,
    answers: String,
    key: String,
}

impl Addressing {
    fn of(form: &Form) -> Self {
        let text = |name: &str| form.text(name).trim().to_owned();
        Self {
            to: form.values("to").map(str::to_owned).collect(),
            step: text("step"),
            case: text("case"),
            basis: text("basis"),
            answers: text("answers"),
            key: text("key"),
        }
    }

    /// What is missing or does not read.
    fn faults(&self, making: &Making, recipients: &[&Party], visit: &Visit) -> Vec<Error> {
        let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
        let mut found = Vec::new();
        let known = |oin: &String| recipients.iter().any(|party| party.oin.to_string() == *oin);
        if self.to.is_empty() || !self.to.iter().all(known) {
            found.push(Error::new("to", t("Kies een ontvanger.", "Choose a recipient.")));
        }
        if self.step.parse::<Step>().is_err() {
            found.push(Error::new("step", t("Kies een stap.", "Choose a step.")));
        }
        let missing = self.case.is_empty() && making.flow.case == CaseRule::Required;
        if missing || (!self.case.is_empty() && self.case.parse::<CaseId>().is_err()) {
            found.push(Error::new(
                "case",
                t("Geef het pseudoniem van een zaak.", "Give the pseudonym of a case."),
            ));
        }
        if !making.flow.bases.contains(&self.basis) {
            found.push(Error::new("basis", t("Kies een grondslag.", "Choose a legal basis.")));
        }
        found
    }

    fn text(self, making: &Making, id: MsgId, body: &Value) -> PushText {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        PushText {
            msg_id: id.to_string(),
            flow: making.flow.id.clone(),
            to: self.to,
            step: given(self.step),
            case: given(self.case),
            message_type: Some(making.kind.code.clone()),
            basis: given(self.basis),
            covenant: Some(making.under.compiled.hash().to_string()),
            in_reply_to: given(self.answers),
            body: BASE64.encode(body.to_string().as_bytes()),
            ..PushText::default()
        }
    }
}

/// The empty form.
pub(super) async fn show(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(path): Path<(String, String, String)>,
    uri: Uri,
) -> Shown {
    let making = Making::of(&desk, &visit, &path).await?;
    let (case, answers) = flows::going_along(&uri);
    let mut to = Addressing { key: fresh_key(), ..Addressing::default() };
    let recipients = making.under.recipients(&making.flow, desk.agent.oin(), clock::now());
    if let [only] = recipients.as_slice() {
        to.to.push(only.oin.to_string());
    }
    if let [only] = making.flow.steps.as_slice() {
        to.step = only.to_string();
    }
    if let [only] = making.flow.bases.as_slice() {
        to.basis.clone_from(only);
    }
    to.case = case.map(|case| case.to_string()).unwrap_or_default();
    to.answers = answers.map(|answers| answers.to_string()).unwrap_or_default();
    let tree = blank(&making.shape);
    filled(&desk, &visit, &making, &to, &tree, &[]).await
}

/// What a button of the form asks: one row more or less, a look at it all, back to the form, or handing over.
pub(super) async fn send(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(path): Path<(String, String, String)>,
    Extension(form): Extension<Form>,
) -> Shown {
    let making = Making::of(&desk, &visit, &path).await?;
    let to = Addressing::of(&form);
    let answers = to.answers.is_empty() || to.answers.parse::<MsgId>().is_ok();
    if !is_key(&to.key) || !answers {
        return Err(Trouble::old_form());
    }
    let mut tree = entered(&making.shape, &form, "");
    let button = form.text("do");
    if button == "edit" || rearrange(&making.shape, &mut tree, button) {
        return filled(&desk, &visit, &making, &to, &tree, &[]).await;
    }
    let body = body(&making.shape, &tree);
    let recipients = making.under.recipients(&making.flow, desk.agent.oin(), clock::now());
    let mut errors = to.faults(&making, &recipients, &visit);
    errors.extend(faults(&making, &visit, &body));
    if !errors.is_empty() {
        return filled(&desk, &visit, &making, &to, &tree, &errors).await;
    }
    if button != "send" {
        return looked_at(&desk, &visit, &making, &to, &body, &form).await;
    }
    hand_over(&desk, &visit, &making, to, &tree, &body).await
}

/// What the schema says of a body, field by field.
fn faults(making: &Making, visit: &Visit, body: &Value) -> Vec<Error> {
    let schema = making.under.compiled.schema(&making.kind.code);
    let found =
        schema.map(|schema| schema.faults(body.to_string().as_bytes(), FAULTS_MAX)).unwrap_or_default();
    let told = |fault: &seinhuis_shared::covenant::schema::FieldError| {
        let name = fault.path.split('/').skip(1).map(|token| match token.parse::<usize>() {
            Ok(row) => row.saturating_add(1).to_string(),
            Err(_) => readable(token),
        });
        let name = name.collect::<Vec<_>>().join(" › ");
        Error::new(id_of(&fault.path), format!("{name} {}.", fault.fault.text(visit.lang)))
    };
    found.iter().map(told).collect()
}

async fn hand_over(
    desk: &Desk,
    visit: &Visit,
    making: &Making,
    to: Addressing,
    tree: &Value,
    body: &Value,
) -> Shown {
    let way = format!("page/{}", visit.person.name.to_lowercase());
    let id = desk.agent.msg_id(&way, to.key.as_bytes()).await?;
    let text = to.clone().text(making, id, body);
    let pushing = desk.agent.ask(Request::Push(Box::new(text)));
    match desk.makers.made(&desk.agent, (id, &visit.person.name), pushing).await {
        Ok(_) => Ok(layout::see_other(&format!("/sent/{id}"))),
        Err(complaint) if complaint.exit == Exit::Refused => {
            let text = |text: &seinhuis_shell::lang::Text| text.in_lang(visit.lang).to_owned();
            let what = format!("{} {}", text(&complaint.what), text(&complaint.advice));
            filled(desk, visit, making, &to, tree, &[Error::new("form", what)]).await
        }
        Err(complaint) => Err(complaint.into()),
    }
}

/// The form with what was entered, and what is wrong with it.
async fn filled(
    desk: &Desk,
    visit: &Visit,
    making: &Making,
    to: &Addressing,
    tree: &Value,
    errors: &[Error],
) -> Shown {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let covenant = making.under.compiled.covenant();
    let fields = Fields { covenant, errors, lang };
    let cases = offered_cases(desk, visit, &covenant.id).await?;
    let title =
        format!("{} · {}", making.flow.id, lang.pick(making.kind.nl.as_str(), making.kind.en.as_str()));
    let main = html! {
        (layout::summary(lang, errors))
        h1 id="form" tabindex="-1" { (title) }
        (about(making, visit))
        form method="post" action=(action(making)) novalidate {
            // What Enter does in a field: a look, and never a sending.
            button type="submit" name="do" value="check" class="away" tabindex="-1" aria-hidden="true" { (t("Controleren", "Check")) }
            (layout::token(visit))
            (kept(to))
            (addressing(desk, visit, making, to, &cases, errors))
            h2 { (t("Inhoud", "Content")) }
            (fields.all(&making.shape, tree))
            button type="submit" name="do" value="check" { (t("Verder: controleren", "Next: check")) }
        }
    };
    let title = layout::title_of(&title, errors, lang);
    let mut response = layout::shown(&desk.name, visit, &title, &main);
    if !errors.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

fn action(making: &Making) -> String {
    format!("/new/{}/{}/{}", making.under.compiled.hash(), making.flow.id, making.kind.code)
}

fn kept(to: &Addressing) -> Markup {
    html! {
        input type="hidden" name="key" value=(to.key);
        input type="hidden" name="answers" value=(to.answers);
    }
}

/// What is sent here, why and for how long it is kept.
fn about(making: &Making, visit: &Visit) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let covenant = making.under.compiled.covenant();
    let purpose = covenant.purposes.iter().find(|one| one.code == making.flow.purpose);
    let keeps = making
        .flow
        .retention_days
        .map_or_else(|| making.flow.retention.clone(), |days| format!("{days} {}", t("dagen", "days")));
    html! {
        (layout::facts(&[
            (t("Stroom", "Flow"), html! { (visit.lang.pick(making.flow.nl.as_str(), making.flow.en.as_str())) }),
            (t("Doel", "Purpose"), html! { @if let Some(one) = purpose { (one.text(visit.lang)) } }),
            (t("Ontvangers bewaren het", "Recipients keep it"), html! { span lang=[making.flow.retention_days.is_none().then_some("nl")] { (keeps) } }),
        ]))
        @if making.flow.release {
            p class="notice" { (t(
                "Wat over personen gaat, geeft een collega eerst vrij. Tot dan gaat er niets weg.",
                "What is about persons is released by a colleague first. Nothing leaves until then.",
            )) }
        }
        p { (t(
            "Schrijf niets wat niet in deze velden hoort. Na een kwartier zonder handeling meldt u zich opnieuw aan; wat u invulde blijft dan staan.",
            "Write nothing that does not belong in these fields. After a quarter of an hour without doing anything you sign in again; what you filled in stays.",
        )) }
    }
}

/// The open cases of a covenant, with the step each is in.
async fn offered_cases(desk: &Desk, visit: &Visit, covenant: &str) -> Result<Vec<(String, String)>, Trouble> {
    if !visit.person.sees_cases() {
        return Ok(Vec::new());
    }
    let all = desk.agent.ask(Request::Look(Look::Cases)).await?;
    let open = all.as_array().into_iter().flatten().filter(|case| {
        let state = words::text(case, "state");
        words::text(case, "covenant") == covenant && !state.is_empty() && state != "closed"
    });
    let pair = |case: &Value| (words::text(case, "case").to_owned(), words::text(case, "state").to_owned());
    Ok(open.take(CASES_MAX).map(pair).collect())
}

/// To whom, in which step and case, and on which legal basis.
fn addressing(
    desk: &Desk,
    visit: &Visit,
    making: &Making,
    to: &Addressing,
    cases: &[(String, String)],
    errors: &[Error],
) -> Markup {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let covenant = making.under.compiled.covenant();
    let recipients = making.under.recipients(&making.flow, desk.agent.oin(), clock::now());
    let kind = if making.has_one_recipient() { "radio" } else { "checkbox" };
    let step = |step: &Step| {
        let rule = covenant.steps.iter().find(|rule| rule.step == *step);
        let text = rule.map(|rule| lang.pick(rule.nl.as_str(), rule.en.as_str()));
        (step.to_string(), format!("{step} · {}", text.unwrap_or_else(|| step.label(lang))))
    };
    let steps: Vec<_> = making.flow.steps.iter().map(step).collect();
    let basis = |code: &String| {
        let clause = covenant.bases.iter().find(|clause| clause.code == *code);
        (code.clone(), clause.map_or_else(|| code.clone(), |clause| clause.text(lang).to_owned()))
    };
    let bases: Vec<_> = making.flow.bases.iter().map(basis).collect();
    let known: Vec<(&str, String)> =
        cases.iter().map(|(case, state)| (case.as_str(), format!("{} {state}", t("stap", "step")))).collect();
    html! {
        h2 { (t("Adressering", "Addressing")) }
        fieldset aria-describedby=[error_of("to", errors).map(|_| "to-error")] {
            legend { @if making.has_one_recipient() { (t("Ontvanger", "Recipient")) } @else { (t("Ontvangers", "Recipients")) } }
            (error_note("to", errors))
            @for (nth, party) in recipients.iter().enumerate() {
                @let oin = party.oin.to_string();
                @let id = if nth == 0 { "to".to_owned() } else { format!("to-{nth}") };
                div class="option" {
                    input type=(kind) id=(id) name="to" value=(oin) checked[to.to.contains(&oin)];
                    label for=(id) { (party.name) " · " (party.role.label(lang)) }
                }
            }
        }
        (select(("step", t("Stap", "Step")), &steps, &to.step, None, (lang, errors)))
        @if making.flow.case != CaseRule::Forbidden { (case_field(making, to, &known, (lang, errors))) }
        (select(("basis", t("Grondslag", "Legal basis")), &bases, &to.basis, None, (lang, errors)))
        @if !to.answers.is_empty() {
            p { (t("Dit antwoordt op bericht ", "This answers message ")) code { (to.answers) } "." }
        }
    }
}

/// The case: one that is known here, or another by its pseudonym, for cases are known where something of them came in.
fn case_field(
    making: &Making,
    to: &Addressing,
    known: &[(&str, String)],
    (lang, errors): (Lang, &[Error]),
) -> Markup {
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let required = making.flow.case == CaseRule::Required;
    let wrong = error_of("case", errors).is_some();
    let described = if wrong { "case-hint case-error" } else { "case-hint" };
    html! {
        div class="field" {
            label for="case" {
                (t("Zaak", "Case"))
                @if !required { " " span class="optional" { "(" (t("niet verplicht", "optional")) ")" } }
            }
            p class="hint" id="case-hint" { (t(
                "Het pseudoniem van de zaak. Kies er een die hier bekend is, of neem het over van de regisseur.",
                "The pseudonym of the case. Choose one that is known here, or take it over from the coordinator.",
            )) }
            (error_note("case", errors))
            input type="text" id="case" name="case" value=(to.case) list="cases" maxlength="36" autocomplete="off" required[required]
                aria-invalid=[wrong.then_some("true")] aria-describedby=(described);
            datalist id="cases" { @for (case, state) in known { option value=(case) { (state) } } }
        }
    }
}

fn error_of<'a>(id: &str, errors: &'a [Error]) -> Option<&'a Error> {
    errors.iter().find(|error| error.id == id)
}

fn error_note(id: &str, errors: &[Error]) -> Markup {
    html! { @if let Some(error) = error_of(id, errors) { p class="error" id={ (id) "-error" } { (error.text) } } }
}

/// A list to choose from; with `none`, nothing may be chosen too.
fn select(
    (id, label): (&str, &str),
    values: &[(String, String)],
    chosen: &str,
    none: Option<&str>,
    (lang, errors): (Lang, &[Error]),
) -> Markup {
    let wrong = error_of(id, errors).is_some();
    html! {
        div class="field" {
            label for=(id) { (label) @if none.is_some() { " " span class="optional" { "(" (lang.pick("niet verplicht", "optional")) ")" } } }
            (error_note(id, errors))
            select id=(id) name=(id) required[none.is_none()] aria-invalid=[wrong.then_some("true")]
                aria-describedby=[wrong.then(|| format!("{id}-error"))] {
                @if let Some(none) = none { option value="" selected[chosen.is_empty()] { (none) } }
                @else if values.len() != 1 { option value="" { (lang.pick("Kies", "Choose")) } }
                @for (value, text) in values { option value=(value) selected[value == chosen] { (text) } }
            }
        }
    }
}

/// The message as it will be, before it is handed over.
async fn looked_at(
    desk: &Desk,
    visit: &Visit,
    making: &Making,
    to: &Addressing,
    body: &Value,
    form: &Form,
) -> Result<Response, Trouble> {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let names = desk.agent.query(flows::names).await?;
    let to_names: Vec<&str> = to.to.iter().map(|oin| flows::name(&names, oin)).collect();
    let basis = making.under.compiled.covenant().bases.iter().find(|one| one.code == to.basis);
    let title = t("Controleer het bericht", "Check the message");
    let send = if making.flow.release {
        t("Aanbieden voor vrijgave", "Offer for release")
    } else {
        t("Versturen", "Send")
    };
    let main = html! {
        h1 { (title) }
        (about(making, visit))
        (layout::facts(&[
            (t("Aan", "To"), html! { (to_names.join(", ")) }),
            (t("Stap", "Step"), html! { (to.step) }),
            (t("Zaak", "Case"), html! { @if to.case.is_empty() { (t("geen", "none")) } @else { code { (to.case) } } }),
            (t("Grondslag", "Legal basis"), html! { @if let Some(one) = basis { (one.text(lang)) } }),
        ]))
        h2 { (t("Inhoud", "Content")) }
        (words::body(body, lang))
        (layout::look(visit, &action(making), form, send))
    };
    Ok(layout::shown(&desk.name, visit, title, &main))
}
