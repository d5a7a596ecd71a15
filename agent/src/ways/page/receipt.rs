//! The receipt of a message: what it proves, what it does not, and the file.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse as _;
use maud::{Markup, html};
use serde_json::Value;

use super::flows::{name, names};
use super::guard::Visit;
use super::sent::visible;
use super::words::when;
use super::{Desk, Shown, layout};
use crate::commands::receipt;
use crate::commands::request::{Look, Request};

pub(super) async fn show(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Shown {
    let (id, _) = visible(&desk, &visit, &id).await?;
    let card = desk.agent.home().settings()?.log;
    let find = move |view: &crate::engine::View<'_>| {
        receipt::proved(view, id, &card).map(|(_, proved)| (proved, names(view)))
    };
    let (proved, names) = desk.agent.query(find).await??;
    let lang = visit.lang;
    let t = |nl: &'static str, en: &'static str| lang.pick(nl, en);
    let title = t("Ontvangstbewijs", "Receipt");
    let heads = [t("Wat", "What"), t("Wanneer", "When"), t("Logregel", "Log entry")];
    let main = html! {
        h1 { (title) }
        p { (t("Van bericht ", "Of message ")) code { (id) } ". "
            (t("Alles hieronder is nu opnieuw nagerekend.", "All of this was checked again just now.")) }
        @for (to, steps) in &proved.blocks {
            @let oin = to.map_or_else(String::new, |to| to.to_string());
            @let rows: Vec<Vec<Markup>> = steps.iter().map(|step| vec![
                html! { (receipt::words(&step.entry, lang)) },
                when(&step.entry.time.to_string()),
                html! { (step.index) " · " (step.origin) },
            ]).collect();
            (layout::table(if oin.is_empty() { t("Bij de broker", "At the broker") } else { name(&names, &oin) }, &heads, &rows))
        }
        (explained(&visit))
        p { a class="button" href={ "/sent/" (id) "/receipt/file" } { (t("Bewaar als bestand", "Save as a file")) } }
        p { a href={ "/sent/" (id) } { (t("Terug naar het bericht", "Back to the message")) } }
    };
    Ok(layout::shown(&desk.name, &visit, title, &main))
}

/// What the receipt proves and what not, in plain words.
fn explained(visit: &Visit) -> Markup {
    let t = |nl: &'static str, en: &'static str| visit.lang.pick(nl, en);
    let proves = [
        t(
            "Dat uw organisatie precies dit bericht, onder dit convenant, op dit moment heeft aangeboden: uw handtekening staat eronder.",
            "That your organisation handed over exactly this message, under this covenant, at this moment: your signature is under it.",
        ),
        t(
            "Dat de broker het heeft aangenomen, en dat die regel in het uitwisselingslog staat en daar niet ongemerkt uit kan verdwijnen.",
            "That the broker accepted it, and that this entry is in the exchange log and cannot disappear from it unnoticed.",
        ),
        t(
            "Waar er staat opgeslagen of overgenomen: dat de ontvanger dat zelf heeft verklaard, met zijn handtekening.",
            "Where it says stored or taken over: that the recipient stated so itself, with its signature.",
        ),
    ];
    let not = [
        t(
            "Niet dat een mens bij de ontvanger het heeft gelezen of ernaar heeft gehandeld.",
            "Not that a person at the recipient has read it or acted on it.",
        ),
        t("Niet dat de inhoud klopt.", "Not that its content is right."),
        t(
            "Niet wat erin staat: wie het bewijs heeft, kan het bericht er niet mee lezen.",
            "Not what is in it: who has the receipt cannot read the message with it.",
        ),
    ];
    html! {
        h2 { (t("Wat bewijst dit?", "What does this prove?")) }
        ul { @for one in proves { li { (one) } } }
        h2 { (t("Wat bewijst dit niet?", "What does this not prove?")) }
        ul { @for one in not { li { (one) } } }
        p { (t(
            "Iedereen met het bestand, de logsleutel en het convenant kan dit zelf nagaan, zonder deze agent: seinhuis-agent receipt verify.",
            "Everybody with the file, the log's key and the covenant can check this, without this agent: seinhuis-agent receipt verify.",
        )) }
    }
}

/// The file that proves itself.
pub(super) async fn file(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Shown {
    let (id, _) = visible(&desk, &visit, &id).await?;
    let made = desk.agent.ask(Request::Look(Look::ReceiptFile { msg_id: id.to_string() })).await?;
    let Value::String(text) = made else { return Err(super::Trouble::nothing()) };
    let name = format!("attachment; filename=\"receipt-{id}.txt\"");
    let kind = "text/plain; charset=utf-8".to_owned();
    Ok(([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, name)], text).into_response())
}
