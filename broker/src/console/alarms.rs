//! Alarmen: what is wrong, since when, and who takes it up.

use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};
use seinhuis_monitor::alarms::{Alarm, BROKER};
use seinhuis_shell::web::form::Form;

use super::accounts::Right;
use super::acts::{self, Asking, Deed};
use super::guard::Visit;
use super::layout::{self, State as How, facts, state};
use super::trouble::Trouble;
use super::words::Ctx;
use super::{Desk, Shown, now};

/// Most alarms that have a form of their own; of more, the most hasty have one.
const SHOWN: usize = 100;

pub(super) async fn list(State(desk): State<Desk>, Extension(visit): Extension<Visit>) -> Shown {
    let board = desk.service.board().await?;
    let ctx = Ctx::new(&board, &visit);
    let title = layout::title_of("/alarms", visit.lang);
    let main = html! {
        h1 { (title) }
        p { (ctx.t(
            "Wat in behandeling is wordt niet opnieuw gemeld, tot het erger wordt of voorbij is. Alles wat hier staat, staat ook bij Nu.",
            "What is taken up is not told again, until it becomes worse or is over. All that is here is under Now too.",
        )) }
        @if board.alarms.is_empty() { p { (state(How::Good, ctx.t("Er zijn geen alarmen.", "There are no alarms."))) } }
        @for (nth, alarm) in board.alarms.iter().take(SHOWN).enumerate() { (one(nth, alarm, &visit, &ctx)) }
        @if board.alarms.len() > SHOWN { p class="quiet" { (ctx.t(
            "Er zijn er meer; de dringendste staan hier.", "There are more; the most hasty are here.",
        )) } }
    };
    Ok(layout::shown(&desk, &visit, title, &main))
}

fn one(nth: usize, alarm: &Alarm, visit: &Visit, ctx: &Ctx) -> Markup {
    let subject = html! {
        @if let Ok(oin) = alarm.subject.parse() { (ctx.partner(oin)) }
        @else if alarm.subject == BROKER { (ctx.t("deze broker", "this broker")) }
        @else { (alarm.subject) }
    };
    let taken = alarm.acknowledged.map_or_else(
        || state(How::Attention, ctx.t("nog niet", "not yet")),
        |at| html! { (state(How::Good, ctx.t("ja", "yes"))) ", " (ctx.ago(at)) },
    );
    let hidden = html! {
        input type="hidden" name="code" value=(alarm.code);
        input type="hidden" name="subject" value=(alarm.subject);
    };
    html! {
        section {
            h2 { (state(now::how(alarm.severity), alarm.what.in_lang(ctx.lang))) }
            p { (alarm.advice.in_lang(ctx.lang)) " " a href=(now::behind(alarm.code)) { (ctx.t("Bekijk", "Look")) } }
            (facts(&[
                (ctx.t("Over", "About"), subject),
                (ctx.t("Sinds", "Since"), ctx.ago(alarm.since)),
                (ctx.t("In behandeling", "Taken up"), taken),
            ]))
            @if alarm.acknowledged.is_none() && visit.role.may(Right::Flows) {
                (acts::form(
                    Asking {
                        id: &format!("alarm-{nth}"), does: "acknowledge",
                        button: ctx.t("Neem in behandeling", "Take up"), danger: false,
                    },
                    &hidden, visit, ctx,
                ))
            }
        }
    }
}

/// Takes up an alarm.
pub(super) async fn act(
    State(desk): State<Desk>,
    Extension(visit): Extension<Visit>,
    Extension(form): Extension<Form>,
) -> Shown {
    let code = form.text("code").parse().map_err(|_| Trouble::nothing())?;
    let subject = form.text("subject").to_owned();
    let board = desk.service.board().await?;
    if !board.alarms.iter().any(|alarm| alarm.code == code && alarm.subject == subject) {
        return Err(Trouble::nothing());
    }
    let deed = Deed::TakeUp { code, subject };
    let reason = acts::reason(&form)?;
    let page = acts::carry_out(&desk, &visit, &form, (deed, reason), "/alarms").await?;
    Ok(layout::see_other(page))
}
