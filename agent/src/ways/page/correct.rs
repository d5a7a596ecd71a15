//! Saying that an own message is wrong, withdrawing it, and who confirmed that.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use maud::{Markup, html};
use seinhuis_agent_core::CorrectionKind;
use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::covenant::schema::Schema;
use seinhuis_shared::ids::{Digest, MsgId};
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::clock;
use seinhuis_shell::complaint::Exit;
use seinhuis_shell::web::form::{Form, fresh_key, is_key};
use serde_json::{Map, Value};
use std::sync::Arc;

use super::entered::{blank, body, entered, rearrange};
use super::fields::Fields;
use super::flows::{name, names};
use super::guard::Visit;
use super::layout::{self, Error, id_of};
use super::shape::{Shape, readable};
use super::trouble::Trouble;
use super::words::{self, text, when};
use super::{Desk, Shown, sent};
use crate::commands::correct::completed;
use crate::commands::request::{Look, Request};
use crate::engine::{View, outbox_row};

/// The field that says which message it is about: the page knows that.
const ABOUT: &str = "bericht";
/// The field in which recipients are asked to confirm.
const CONFIRM_BEFORE: &str = "bevestigen_voor";
/// Most corrections that are shown.
const SHOWN_MAX: u64 = 1000;
/// Most faults that are told at once.
const FAULTS_MAX: usize = 50;

/// What is said of a message.
struct Saying {
    id: MsgId,
    kind: CorrectionKind,
    compiled: Arc<Compiled>,
    shape: Shape,
    /// The fields of the message, as they are named in a correction.
    pointers: Vec<String>,
}

impl Saying {
    async fn of(desk: &Desk, visit: &Visit, id: &str, kind: CorrectionKind) -> Result<Self, Trouble> {
        let (id, row) = sent::own(desk, visit, id).await?;
        let covenant: Digest = text(&row, "covenant").parse().map_err(|_| Trouble::nothing())?;
        let find =
            move |view: &View<'_>| view.core.agreed().find(&covenant).map(|one| Arc::clone(one.compiled()));
        let compiled = desk.agent.query(find).await?.map_err(|_| Trouble::nothing())?;
        let types = &compiled.covenant().types;
        let schema = types.iter().find(|one| one.code == kind.message_type()).map(|one| one.schema.clone());
        let shape = schema.and_then(|schema| Shape::read(&schema)).ok_or_else(Trouble::nothing)?;
        let flow = compiled.flow(text(&row, "flow"));
        let schemas = flow.into_iter().flat_map(|flow| &flow.types).filter_map(|code| compiled.schema(code));
        let pointers = schemas.flat_map(Schema::fields).filter(|field| field.category.is_some());
        let pointers = pointers.map(|field| field.pointer.replace('*', "0")).collect();
        Ok(Self { id, kind, shape: shape.without(ABOUT), pointers, compiled })
    }

    fn path(&self) -> String {
        format!(
            "/sent/{}/{}",
            self.id,
            if self.kind == CorrectionKind::Correction { "correction" } else { "withdrawal" }
        )
    }

    /// What was entered, with which message it is about.
    fn body(&self, tree: &Value) -> Map<String, Value> {
        let Value::Object(mut object) = body(&self.shape, tree) else { return Map::new() };
        object.insert(ABOUT.to_owned(), self.id.to_string().into());
        object
    }

    fn faults(&self, visit: &Visit, body: &Map<String, Value>) -> Vec<Error> {
        let mut whole = body.clone();
        // The agent fills in until when to confirm.
        whole.entry(CONFIRM_BEFORE).or_insert_with(|| "2100-01-01".into());
        let Some(schema) = self.compiled.schema(self.kind.message_type()) else { return Vec::new() };
        let found = schema.faults(Value::Object(whole).to_string().as_bytes(), FAULTS_MAX);
        let told = found.iter().map(|fault| {
            let name = fault.path.split('/').skip(1).map(readable).collect::<Vec<_>>().join(" › ");
            Error::new(id_of(&fault.path), format!("{name} {}.", fault.fault.text(visit.lang)))
        });
        told.collect()
    }
}

pub(super) async fn show_correction(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Shown {
    let saying = Saying::of(&desk, &visit, &id, CorrectionKind::Correction).await?;
    Ok(form_of(&desk, &visit, &saying, &blank(&saying.shape), &fresh_key(), &[]))
}

pub(super) async fn show_withdrawal(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Shown {
    let saying = Saying::of(&desk, &visit, &id, CorrectionKind::Withdrawal).await?;
    Ok(form_of(&desk, &visit, &saying, &blank(&saying.shape), &fresh_key(), &[]))
}

pub(super) async fn correct(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    Extension(form): Extension<Form>,
) -> Shown {
    say(&desk, &visit, &id, CorrectionKind::Correction, &form).await
}

pub(super) async fn withdraw(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    Extension(form): Extension<Form>,
) -> Shown {
    say(&desk, &visit, &id, CorrectionKind::Withdrawal, &form).await
}

async fn say(desk: &Desk, visit: &Visit, id: &str, kind: CorrectionKind, form: &Form) -> Shown {
    let saying = Saying::of(desk, visit, id, kind).await?;
    let mut tree = entered(&saying.shape, form, "");
    let key = form.text("key");
    if !is_key(key) {
        return Err(Trouble::old_form());
    }
    if form.text("do") == "edit" || rearrange(&saying.shape, &mut tree, form.text("do")) {
        return Ok(form_of(desk, visit, &saying, &tree, key, &[]));
    }
    let body = saying.body(&tree);
    let errors = saying.faults(visit, &body);
    if !errors.is_empty() {
        return Ok(form_of(desk, visit, &saying, &tree, key, &errors));
    }
    if form.text("do") != "send" {
        return Ok(looked_at(desk, visit, &saying, &body, form));
    }
    let path = format!("/sent/{}", saying.id);
    // A double click says it once.
    if !desk.sessions.first(&visit.cookie, key) {
        return Ok(layout::see_other(&path));
    }
    match desk.agent.ask(completed(&saying.id.to_string(), kind, body)).await {
        Ok(_) => Ok(layout::see_other(&path)),
        Err(complaint) if complaint.exit == Exit::Refused => {
            let what = [&complaint.what, &complaint.advice].map(|text| text.in_lang(visit.lang)).join(" ");
            Ok(form_of(desk, visit, &saying, &tree, &fresh_key(), &[Error::new("form", what)]))
        }
        Err(complaint) => {
            // It was not said: the same form may come once more.
            desk.sessions.forget(&visit.cookie, key);
            Err(complaint.into())
        }
    }
}

/// What is about to be said, before it is: it cannot be taken back.
fn looked_at(
    desk: &Desk,
    visit: &Visit,
    saying: &Saying,
    body: &Map<String, Value>,
    form: &Form,
) -> axum::response::Response {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let title = t("Controleer wat u meldt", "Check what you say");
    let send = match saying.kind {
        CorrectionKind::Correction => t("Corrigeren", "Correct"),
        CorrectionKind::Withdrawal => t("Intrekken", "Withdraw"),
    };
    let main = html! {
        h1 { (title) }
        p { (t("Iedere ontvanger van bericht ", "Every recipient of message ")) code { (saying.id) }
            (t(" krijgt dit. Het is niet terug te nemen.", " gets this. It cannot be taken back.")) }
        (words::body(&Value::Object(body.clone()), lang))
        (layout::look(visit, &saying.path(), form, send))
    };
    layout::shown(&desk.name, visit, title, &main)
}

fn form_of(
    desk: &Desk,
    visit: &Visit,
    saying: &Saying,
    tree: &Value,
    key: &str,
    errors: &[Error],
) -> axum::response::Response {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let corrects = saying.kind == CorrectionKind::Correction;
    let title = if corrects {
        t("Bericht corrigeren", "Correct a message")
    } else {
        t("Bericht intrekken", "Withdraw a message")
    };
    let fields = Fields { covenant: saying.compiled.covenant(), errors, lang };
    let main = html! {
        (layout::summary(lang, errors))
        h1 id="form" tabindex="-1" { (title) }
        p { (t("Iedere ontvanger van bericht ", "Every recipient of message ")) code { (saying.id) }
            (t(" krijgt dit en bevestigt dat het is verwerkt.", " gets this and confirms that it is processed.")) }
        @if corrects {
            details {
                summary { (t("Hoe de velden van dit bericht heten", "What the fields of this message are called")) }
                ul { @for pointer in &saying.pointers { li { code { (pointer) } } } }
            }
        }
        form method="post" action=(saying.path()) novalidate {
            button type="submit" name="do" value="check" class="away" tabindex="-1" aria-hidden="true" { (title) }
            (layout::token(visit))
            input type="hidden" name="key" value=(key);
            (fields.all(&saying.shape, tree))
            button type="submit" name="do" value="check" { (t("Verder: controleren", "Next: check")) }
        }
        p { a href={ "/sent/" (saying.id) } { (t("Terug naar het bericht", "Back to the message")) } }
    };
    let mut response = layout::shown(&desk.name, visit, &layout::title_of(title, errors, lang), &main);
    if !errors.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    response
}

/// What was said of own messages: of one, or of all.
pub(super) async fn of(desk: &Desk, about: Option<MsgId>) -> Result<Vec<Value>, Trouble> {
    let all = desk.agent.ask(Request::Look(Look::Corrections { lines: SHOWN_MAX, open: false })).await?;
    let about = about.map(|id| id.to_string());
    let wanted = |row: &&Value| about.as_deref().is_none_or(|about| about == text(row, "about"));
    Ok(all.as_array().into_iter().flatten().filter(wanted).cloned().collect())
}

/// Whether a recipient should have confirmed by now.
pub(super) fn is_overdue(row: &Value, now: Timestamp) -> bool {
    let until = Timestamp::parse(text(row, "until"));
    text(row, "state") == "open" && until.is_some_and(|until| until < now)
}

/// Corrections with who confirmed them.
pub(super) fn table(rows: &[Value], names: &BTreeMap<String, String>, visit: &Visit) -> Markup {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let now = clock::now();
    let row = |row: &Value| {
        vec![
            html! { a href={ "/sent/" (text(row, "about")) } { (words::kind(text(row, "kind"), lang)) } },
            html! { (name(names, text(row, "to"))) },
            html! {
                (words::correction(text(row, "state"), lang))
                @if let Some(why) = words::refusal(&row["refusal"], lang) { ": " (why) }
                @if is_overdue(row, now) { " · " strong { (t("te laat", "overdue")) } }
            },
            when(text(row, "since")),
        ]
    };
    let heads = [t("Wat", "What"), t("Ontvanger", "Recipient"), t("Stand", "State"), t("Sinds", "Since")];
    layout::table(
        t("Correcties en intrekkingen", "Corrections and withdrawals"),
        &heads,
        &rows.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Those of the messages that this person may follow, the last first.
pub(super) async fn followed(desk: &Desk, visit: &Visit) -> Result<Vec<Value>, Trouble> {
    let (all, person) = (of(desk, None).await?, visit.person.clone());
    let find = move |view: &View<'_>| {
        let follows = |row: &Value| {
            let id: MsgId = text(row, "about").parse().ok()?;
            let (position, _) = view.core.find(&id)?;
            Some(person.follows(&outbox_row(view.store, position)?.flow))
        };
        all.into_iter().rev().filter(|row| follows(row) == Some(true)).collect()
    };
    Ok(desk.agent.query(find).await?)
}

pub(super) async fn list(State(desk): State<Desk>, Extension(visit): Extension<Visit>) -> Shown {
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let (rows, names) = (followed(&desk, &visit).await?, desk.agent.query(names).await?);
    let title = t("Correcties", "Corrections");
    let main = html! {
        h1 { (title) }
        p { (t(
            "Wat van eigen berichten is gecorrigeerd of ingetrokken, en wie dat heeft bevestigd. Corrigeren en intrekken doet u bij het bericht.",
            "What of own messages was corrected or withdrawn, and who confirmed that. You correct and withdraw at the message.",
        )) }
        @if rows.is_empty() { p { (t("Er is niets gecorrigeerd of ingetrokken.", "Nothing was corrected or withdrawn.")) } }
        @else { (table(&rows, &names, &visit)) }
    };
    Ok(layout::shown(&desk.name, &visit, title, &main))
}
