//! Entries of the log: what was looked up, and one of them with its proof.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::Uri;
use maud::{Markup, html};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Oin;
use seinhuis_shell::complaint::Complaint;

use super::guard::Visit;
use super::layout::{self, facts, table};
use super::trouble::Trouble;
use super::words::{Ctx, number};
use super::{Desk, Shown, place};
use crate::log::row::{Field, Row};
use crate::logs::{Logs, OneLog};

/// Most entries that are shown at a time.
const SHOWN: usize = 50;
/// Most entries that are looked at for one page.
const LOOKED_AT: u64 = 20_000;

/// What an entry has to be.
#[derive(Debug, Clone)]
struct Wanted {
    kind: Option<Kind>,
    from: Option<Oin>,
    to: Option<Oin>,
    reason: Option<u16>,
}

impl Wanted {
    /// Nothing when something that is asked does not read: it would find what was not asked for.
    fn read(uri: &Uri) -> Option<Self> {
        fn one<T: std::str::FromStr>(uri: &Uri, name: &str) -> Result<Option<T>, T::Err> {
            let text = layout::asked(uri, name);
            let text = text.trim();
            if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
        }
        Some(Self {
            kind: one(uri, "kind").ok()?,
            from: one(uri, "from").ok()?,
            to: one(uri, "to").ok()?,
            reason: one(uri, "reason").ok()?,
        })
    }

    fn fits(&self, row: &Row<'_>) -> bool {
        let is = |field, wanted: Option<String>| wanted.is_none_or(|wanted| row.raw(field) == Some(&wanted));
        self.kind.is_none_or(|kind| row.raw(Field::Kind) == Some(kind.as_str()))
            && is(Field::From, self.from.map(|oin| oin.to_string()))
            && is(Field::To, self.to.map(|oin| oin.to_string()))
            && is(Field::Reason, self.reason.map(|reason| reason.to_string()))
    }

    /// The query that asks the same.
    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let mut add = |name, value: Option<String>| {
            if let Some(value) = value {
                query.append_pair(name, &value);
            }
        };
        add("kind", self.kind.map(|kind| kind.to_string()));
        add("from", self.from.map(|oin| oin.to_string()));
        add("to", self.to.map(|oin| oin.to_string()));
        add("reason", self.reason.map(|reason| reason.to_string()));
        query.finish()
    }
}

/// What was found, from the newest back, and where to look on.
struct Found {
    entries: Vec<(u64, Entry)>,
    before: Option<u64>,
}

/// Looks back from a position. What cannot be read, because its text is removed, is passed over.
fn look(logs: &Logs, wanted: &Wanted, before: Option<u64>) -> Result<Found, Complaint> {
    let end = logs.current()?.end();
    let mut position = before.unwrap_or(end).min(end);
    let lowest = position.saturating_sub(LOOKED_AT);
    let mut entries = Vec::new();
    while position > lowest && entries.len() < SHOWN {
        let one = logs.at(position - 1)?;
        let mut reader = one.log.reader();
        while position > lowest.max(one.base) && entries.len() < SHOWN {
            position -= 1;
            let index = position.saturating_sub(one.base);
            if index < one.log.purged() {
                continue;
            }
            let Ok(bytes) = reader.entry(index) else { continue };
            if Row::read(bytes).is_some_and(|row| wanted.fits(&row)) {
                entries.extend(Entry::parse(bytes).ok().map(|entry| (position, entry)));
            }
        }
    }
    Ok(Found { entries, before: (position > 0).then_some(position) })
}

pub(super) async fn find(State(desk): State<Desk>, Extension(visit): Extension<Visit>, uri: Uri) -> Shown {
    let board = desk.service.board().await?;
    let ctx = Ctx::new(&board, &visit);
    let wanted = Wanted::read(&uri).ok_or_else(Trouble::not_asked)?;
    let before = layout::asked(&uri, "before").parse().ok();
    let (logs, asked, place) = (desk.service.logs.clone(), wanted.clone(), place(&desk.reading).await?);
    let found = tokio::task::spawn_blocking(move || {
        // Kept until it is done, also when whoever asked has gone.
        let _place = place;
        look(&logs, &asked, before)
    });
    let found = found.await.map_err(|error| Complaint::bug(error.to_string()))??;
    let rows: Vec<Vec<Markup>> = found.entries.iter().map(|(at, entry)| row(*at, entry, &ctx)).collect();
    let heads = [
        ctx.t("Regel", "Entry"),
        ctx.t("Wanneer", "When"),
        ctx.t("Soort", "Kind"),
        ctx.t("Van", "From"),
        ctx.t("Naar", "To"),
        ctx.t("Stroom", "Flow"),
        ctx.t("Reden", "Reason"),
    ];
    let title = ctx.t("Opgezocht in het logboek", "Looked up in the log");
    let main = html! {
        p { a href="/log" { (ctx.t("← Logboek", "← Log")) } }
        h1 { (title) }
        @if rows.is_empty() { p { (ctx.t("Hier is niets dat zo is.", "Nothing here is like that.")) } }
        @else { (table(ctx.t("Gevonden, de nieuwste eerst", "Found, the newest first"), &heads, &rows)) }
        @if let Some(before) = found.before {
            p { a href={ "/log/find?" (wanted.query()) "&before=" (before) } { (ctx.t("Zoek verder terug", "Look further back")) } }
        }
    };
    Ok(layout::shown(&desk, &visit, title, &main))
}

fn row(position: u64, entry: &Entry, ctx: &Ctx) -> Vec<Markup> {
    let partner = |oin: Option<Oin>| oin.map_or_else(|| html! { "–" }, |oin| ctx.partner(oin));
    vec![
        html! { a href={ "/log/" (position) } { (position) } },
        ctx.ago(entry.time),
        html! { (entry.kind) },
        partner(entry.from),
        partner(entry.to.or(entry.subject)),
        html! { (entry.flow.as_deref().unwrap_or("–")) },
        entry.reason.map_or_else(|| html! { "–" }, |reason| html! { (ctx.refusal(reason)) }),
    ]
}

/// An entry with what proves that it is in the log.
struct Proved {
    one: OneLog,
    index: u64,
    entry: Entry,
    text: String,
    size: u64,
    path: Vec<String>,
    note: String,
}

fn prove(logs: &Logs, position: u64) -> Result<Option<Proved>, Complaint> {
    let one = logs.at(position)?;
    let index = position.saturating_sub(one.base);
    let size = one.log.size();
    if index >= size {
        return Ok(None);
    }
    let bytes = one.log.entry(index)?;
    let entry = Entry::parse(&bytes).map_err(|error| Complaint::bug(error.to_string()))?;
    let path = one.log.inclusion(index, size)?.iter().map(ToString::to_string).collect();
    let note = String::from_utf8_lossy(&one.log.note()).into_owned();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Some(Proved { one, index, entry, text, size, path, note }))
}

/// One entry.
pub(super) async fn one(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Path(position): Path<String>,
) -> Shown {
    let position: u64 = position.parse().map_err(|_| Trouble::nothing())?;
    let board = desk.service.board().await?;
    let ctx = Ctx::new(&board, &visit);
    let (logs, place) = (desk.service.logs.clone(), place(&desk.reading).await?);
    let proved = tokio::task::spawn_blocking(move || {
        let _place = place;
        prove(&logs, position)
    });
    let proved = proved.await.map_err(|error| Complaint::bug(error.to_string()))??;
    let proved = proved.ok_or_else(Trouble::nothing)?;
    let title = format!("{} {position}", ctx.t("Logregel", "Log entry"));
    let main = html! {
        p { a href="/log" { (ctx.t("← Logboek", "← Log")) } }
        h1 { (title) }
        (about(&proved.entry, &ctx))
        (proof(&proved, &ctx))
        p {
            @if position > 0 { a href={ "/log/" (position - 1) } { (ctx.t("Vorige regel", "Previous entry")) } " · " }
            a href={ "/log/" (position.saturating_add(1)) } { (ctx.t("Volgende regel", "Next entry")) }
        }
    };
    Ok(layout::shown(&desk, &visit, &title, &main))
}

fn about(entry: &Entry, ctx: &Ctx) -> Markup {
    let mut rows: Vec<(&str, Markup)> = vec![
        (ctx.t("Wanneer", "When"), html! { (entry.time) " (" (ctx.ago(entry.time)) ")" }),
        (ctx.t("Soort", "Kind"), html! { (entry.kind) }),
    ];
    let mut add = |nl: &'static str, en: &'static str, value: Option<Markup>| {
        rows.extend(value.map(|value| (ctx.t(nl, en), value)));
    };
    let text = |text: &Option<String>| text.as_ref().map(|text| html! { (text) });
    add("Van", "From", entry.from.map(|oin| ctx.partner(oin)));
    add("Naar", "To", entry.to.map(|oin| ctx.partner(oin)));
    add("Over", "About", entry.subject.map(|oin| ctx.partner(oin)));
    add("Stroom", "Flow", text(&entry.flow));
    add("Berichttype", "Message type", text(&entry.message_type));
    add("Stap", "Step", text(&entry.step));
    add("Niveau", "Level", text(&entry.level));
    add("Gegevenssoorten", "Data categories", text(&entry.categories));
    add("Doel", "Purpose", text(&entry.purpose));
    add("Grondslag", "Legal basis", text(&entry.basis));
    add("Reden", "Reason", entry.reason.map(|reason| html! { (ctx.refusal(reason)) }));
    add("Uitkomst", "Outcome", text(&entry.result));
    add("Bijzonderheid", "Detail", text(&entry.detail));
    facts(&rows)
}

fn proof(proved: &Proved, ctx: &Ctx) -> Markup {
    html! {
        h2 { (ctx.t("Bewijs", "Proof")) }
        p { (ctx.t(
            "De regel hieronder is het blad, byte voor byte. Zijn hash leidt met de hashes van het pad naar de wortel in het controlepunt, dat met de sleutel van het logboek is ondertekend (RFC 9162, C2SP tlog-checkpoint). seinhuis-verify rekent dat na uit een uitvoer.",
            "The line below is the leaf, byte for byte. Its hash leads, with the hashes of the path, to the root in the checkpoint, which is signed with the log's key (RFC 9162, C2SP tlog-checkpoint). seinhuis-verify checks that from an export.",
        )) }
        (facts(&[
            (ctx.t("Logboek", "Log"), html! { code { (proved.one.origin) } }),
            (ctx.t("Plaats", "Index"), html! { (number(proved.index)) " / " (number(proved.size)) }),
        ]))
        h3 { (ctx.t("Blad", "Leaf")) }
        pre tabindex="0" { (proved.text) }
        h3 { (ctx.t("Pad", "Path")) }
        @if proved.path.is_empty() { p { (ctx.t("Geen: het is de enige regel.", "None: it is the only entry.")) } }
        @else { ol class="path" { @for hash in &proved.path { li { code { (hash) } } } } }
        h3 { (ctx.t("Controlepunt", "Checkpoint")) }
        pre tabindex="0" { (proved.note) }
    }
}
