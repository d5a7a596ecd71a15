//! Cases: opening and moving them, stating conditions, and how they stand.

use seinhuis_shared::ids::CaseId;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::keys;
use seinhuis_shell::lang::{Lang, Text};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::request::{ActText, From, Look, Request, ask, read};
use super::wait;
use crate::home::Home;

/// One decision about a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DecidedView {
    /// The time of its log entry.
    pub(super) at: String,
    /// The organisation that took it.
    pub(super) party: String,
    /// What.
    pub(super) act: ActText,
}

/// A condition that is stated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StatedView {
    /// Its code.
    pub(super) code: String,
    /// Who states it.
    pub(super) by: Vec<String>,
}

/// What this organisation decided and the broker has not logged yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingView {
    /// What.
    pub(super) act: ActText,
    /// Since when.
    pub(super) since: String,
    /// The number with which the broker refused it, or 0.
    pub(super) refused: u16,
}

/// How a case stands, as the agent knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CaseView {
    /// The pseudonym.
    pub(super) case: String,
    /// The covenant's id, when the case is known.
    pub(super) covenant: Option<String>,
    /// The step, or `closed`; none when the case is not known.
    pub(super) state: Option<String>,
    /// Whether the broker said in this session that this is all there is.
    pub(super) up_to_date: bool,
    /// Whether there is a session with the broker.
    pub(super) connected: bool,
    /// The conditions that are stated.
    pub(super) conditions: Vec<StatedView>,
    /// Every decision, in order.
    pub(super) decisions: Vec<DecidedView>,
    /// The own decision that is under way.
    pub(super) waiting: Option<PendingView>,
}

impl CaseView {
    fn headline(&self, lang: Lang) -> String {
        let state = match self.state.as_deref() {
            Some("closed") => lang.pick("gesloten", "closed").to_owned(),
            Some(step) => format!("{} {step}", lang.pick("stap", "step")),
            None => lang.pick("hier niet bekend", "not known here").to_owned(),
        };
        let covenant = self.covenant.as_deref().unwrap_or_default();
        format!("{}  {state}  {covenant}", self.case).trim_end().to_owned()
    }

    fn lines(&self, lang: Lang) -> Vec<String> {
        let mut lines = vec![self.headline(lang)];
        for one in &self.conditions {
            let stated = lang.pick("vastgesteld door", "stated by");
            lines.push(format!("  {}: {stated} {}", one.code, one.by.join(", ")));
        }
        for one in &self.decisions {
            lines.push(format!("  {}  {}  {}", one.at, one.party, one.act.words(lang)));
        }
        if let Some(waiting) = &self.waiting {
            let refusal = Refusal::from_number(waiting.refused);
            let fate = match refusal {
                Some(refusal) => format!("{} {refusal}", lang.pick("geweigerd:", "refused:")),
                None => lang.pick("nog niet vastgelegd", "not logged yet").to_owned(),
            };
            lines.push(format!("  {} · {fate}", waiting.act.words(lang)));
        }
        if !self.up_to_date {
            let old = "zoals hier bekend; of dit de laatste stand is, weet de broker";
            lines.push(format!(
                "  ({})",
                lang.pick(old, "as known here; only the broker knows if it is the latest")
            ));
        }
        lines
    }
}

impl ActText {
    pub(crate) fn words(&self, lang: Lang) -> String {
        match self {
            Self::Open => lang.pick("openen", "open").to_owned(),
            Self::Step(step) => format!("{} {step}", lang.pick("stap", "step")),
            Self::Close => lang.pick("sluiten", "close").to_owned(),
            Self::Condition { code, holds: true } => {
                format!("{} {code}", lang.pick("voorwaarde vervuld:", "condition holds:"))
            }
            Self::Condition { code, holds: false } => {
                format!("{} {code}", lang.pick("voorwaarde ingetrokken:", "condition withdrawn:"))
            }
        }
    }
}

/// Opens a case under a fresh random pseudonym.
pub(super) fn open(home: &Home, covenant: Option<String>, ui: Ui) -> Result<Outcome, Complaint> {
    let case = CaseId(keys::random()).to_string();
    decide(home, &case, ActText::Open, covenant, ui)
}

/// Takes a decision about a case that others know.
pub(super) fn act(
    home: &Home,
    case: &str,
    act: ActText,
    covenant: Option<String>,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    // A decision follows on what the agent knows, so that has to be the latest.
    look(home, case)?;
    decide(home, case, act, covenant, ui)
}

fn decide(
    home: &Home,
    case: &str,
    act: ActText,
    covenant: Option<String>,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    let (answer, from) = ask(home, Request::Decide { case: case.to_owned(), act, covenant })?;
    let open = |view: &CaseView| view.waiting.as_ref().is_some_and(|one| one.refused == 0);
    let looking = |view: &CaseView| from == From::Agent && open(view);
    let view = wait::while_open(read(answer)?, looking, |_| once(home, case).map(|(view, _)| view))?;
    if let Some(refusal) = view.waiting.as_ref().and_then(|one| Refusal::from_number(one.refused)) {
        return Err(Complaint::from_refusal(refusal));
    }
    let text = wait::told(open(&view), |lang| view.headline(lang));
    ui.answer(&text, &json!(view));
    Ok(Outcome::Done)
}

pub(super) fn show(home: &Home, case: &str, ui: Ui) -> Result<Outcome, Complaint> {
    let view = look(home, case)?;
    ui.answer(&Text::new(view.lines(Lang::Nl).join("\n"), view.lines(Lang::En).join("\n")), &json!(view));
    Ok(Outcome::Done)
}

pub(super) fn list(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let (answer, _) = ask(home, Request::Look(Look::Cases))?;
    let views: Vec<CaseView> = read(answer.clone())?;
    let mut lines: Vec<String> = views.iter().map(|one| one.headline(ui.lang)).collect();
    if lines.is_empty() {
        lines.push(ui.lang.pick("Geen zaak bekend.", "No case is known.").to_owned());
    }
    ui.answer(&Text::same(lines.join("\n")), &answer);
    Ok(Outcome::Done)
}

/// How a case stands, once the broker has said so, or as it is known when there is no broker.
fn look(home: &Home, case: &str) -> Result<CaseView, Complaint> {
    let open = |(view, from): &(CaseView, From)| *from == From::Agent && !view.up_to_date && view.connected;
    wait::while_open(once(home, case)?, open, |_| once(home, case)).map(|(view, _)| view)
}

fn once(home: &Home, case: &str) -> Result<(CaseView, From), Complaint> {
    let (answer, from) = ask(home, Request::Look(Look::Case { case: case.to_owned() }))?;
    Ok((read(answer)?, from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_where_a_case_is_and_who_decided_what() {
        let act = |act| DecidedView {
            at: "2026-03-01T12:00:00Z".into(),
            party: "00000099000000001000".into(),
            act,
        };
        let view = CaseView {
            case: "4f1c0f6e-5b0a-4c1e-9d53-0a6f2b7c8d91".into(),
            covenant: Some("voorbeeldstad".into()),
            state: Some("2A".into()),
            up_to_date: false,
            connected: true,
            conditions: vec![StatedView { code: "strafrechtelijk".into(), by: vec!["politie".into()] }],
            decisions: vec![act(ActText::Step("1".into())), act(ActText::Step("2A".into()))],
            waiting: Some(PendingView { act: ActText::Close, since: String::new(), refused: 420 }),
        };
        let lines = view.lines(Lang::Nl);
        assert!(lines[0].ends_with("stap 2A  voorbeeldstad"), "{lines:?}");
        assert_eq!(lines[1], "  strafrechtelijk: vastgesteld door politie");
        assert!(lines[3].ends_with("00000099000000001000  stap 2A"));
        assert!(lines[4].contains("sluiten · geweigerd: 420 case-moved"));
        assert!(lines[5].contains("zoals hier bekend"));
        let closed = CaseView { state: Some("closed".into()), ..view.clone() };
        assert!(closed.headline(Lang::En).contains("closed"));
        let unknown = CaseView { state: None, covenant: None, ..view };
        assert!(unknown.headline(Lang::En).ends_with("not known here"));
    }
}
