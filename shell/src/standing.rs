//! How a covenant stands, as commands give it to machines and to people.

use seinhuis_shared::covenant::Role;
use seinhuis_shared::covenant::agreement::{Agreement, Standing, State};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lang::Lang;

/// One version with how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CovenantView {
    /// Its hash.
    pub hash: String,
    /// The covenant.
    pub id: String,
    /// Which version.
    pub version: u32,
    /// Its title.
    pub title: String,
    /// First day.
    pub valid_from: String,
    /// First day on which it no longer holds.
    pub valid_until: String,
    /// [`State::as_str`].
    pub state: String,
    /// From when on it was in force, if it was.
    pub effective: Option<String>,
    /// Its parties.
    pub parties: Vec<PartyView>,
    /// Its flows.
    pub flows: Vec<String>,
    /// The roles that tell data subjects that there are data about them; none when it does not say.
    pub informs: Vec<Role>,
}

/// One version as its party's agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnView {
    /// The version.
    #[serde(flatten)]
    pub covenant: CovenantView,
    /// What this organisation said and the broker has not logged yet.
    pub waiting: Option<Waiting>,
    /// That this organisation proposes it, and the broker has not logged that yet.
    pub proposal: Option<Waiting>,
}

/// Something that waits for the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// `accept`, `reject`, `withdraw` or `propose`.
    pub word: String,
    /// Since when.
    pub since: String,
    /// The number with which the broker refused it, or 0.
    pub refused: u16,
}

impl OwnView {
    /// For people: as [`CovenantView::lines`], and what waits.
    pub fn lines(&self, lang: Lang) -> Vec<String> {
        let mut lines = self.covenant.lines(lang);
        for waiting in [&self.waiting, &self.proposal].into_iter().flatten() {
            let word = match waiting.word.as_str() {
                "accept" => lang.pick("aanvaarding", "acceptance"),
                "reject" => lang.pick("verwerping", "rejection"),
                "withdraw" => lang.pick("opzegging", "withdrawal"),
                _ => lang.pick("voorstel", "proposal"),
            };
            lines.push(match Refusal::from_number(waiting.refused) {
                Some(refusal) => format!(
                    "  {word}: {} {} {}",
                    lang.pick("geweigerd,", "refused,"),
                    refusal.number(),
                    refusal.what(lang)
                ),
                None => format!(
                    "  {word}: {} ({})",
                    lang.pick("nog niet bij de broker", "not with the broker yet"),
                    waiting.since
                ),
            });
        }
        lines
    }
}

/// One party with how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyView {
    /// Which organisation.
    pub oin: Oin,
    /// In which role.
    pub role: String,
    /// Its name.
    pub name: String,
    /// Whether the covenant works without it.
    pub may_be_absent: bool,
    /// `accepted`, `rejected`, `withdrawn`, or `silent`.
    pub standing: String,
    /// Since when.
    pub since: Option<String>,
}

impl CovenantView {
    /// How a version stands at `now`.
    pub fn new(agreement: &Agreement, now: Timestamp) -> Self {
        let covenant = agreement.compiled().covenant();
        let party = |party: &seinhuis_shared::covenant::Party| {
            let (standing, since) = match agreement.standing(party.oin) {
                None => ("silent", None),
                Some(Standing::Accepted(at)) => ("accepted", Some(at)),
                Some(Standing::Rejected(at)) => ("rejected", Some(at)),
                Some(Standing::Withdrawn(_, at)) => ("withdrawn", Some(at)),
            };
            PartyView {
                oin: party.oin,
                role: party.role.as_str().to_owned(),
                name: party.name.clone(),
                may_be_absent: party.may_be_absent,
                standing: standing.to_owned(),
                since: since.map(|at| at.to_string()),
            }
        };
        Self {
            hash: agreement.compiled().hash().to_string(),
            id: covenant.id.clone(),
            version: covenant.version,
            title: covenant.title.clone(),
            valid_from: covenant.valid_from.to_string(),
            valid_until: covenant.valid_until.to_string(),
            state: agreement.state(now).as_str().to_owned(),
            effective: agreement.effective().map(|at| at.to_string()),
            parties: covenant.parties.iter().map(party).collect(),
            flows: covenant.flows.iter().map(|flow| flow.id.clone()).collect(),
            informs: covenant.informs.clone(),
        }
    }

    /// For people: title, hash, state, and what each party said.
    pub fn lines(&self, lang: Lang) -> Vec<String> {
        let state = State::ALL.iter().find(|state| state.as_str() == self.state);
        let state = state.map_or(self.state.as_str(), |state| state.label(lang));
        let version = lang.pick("versie", "version");
        let mut lines = vec![
            format!("{}, {version} {} · {state}", self.title, self.version),
            format!("  {}", self.hash),
            format!("  {} – {}", self.valid_from, self.valid_until),
        ];
        for party in &self.parties {
            let said = match (party.standing.as_str(), party.may_be_absent) {
                ("accepted", _) => lang.pick("ondertekend", "signed"),
                ("rejected", _) => lang.pick("verworpen", "rejected"),
                ("withdrawn", _) => lang.pick("opgezegd", "withdrawn"),
                (_, true) => lang.pick("niet ondertekend (hoeft niet)", "not signed (need not)"),
                (_, false) => lang.pick("nog niet ondertekend", "not signed yet"),
            };
            let since = party.since.as_deref().unwrap_or_default();
            lines.push(
                format!("  {}  {:13} {:34} {said} {since}", party.oin, party.role, party.name)
                    .trim_end()
                    .to_owned(),
            );
        }
        let flows = lang.pick("stromen", "flows");
        lines.push(format!("  {} {flows}", self.flows.len()));
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use seinhuis_shared::covenant::Compiled;
    use seinhuis_shared::covenant::agreement::{Vote, Word};
    use seinhuis_shared::signing::SigningKey;

    use super::*;

    #[test]
    fn people_see_who_signed_and_machines_can_read_it_back() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../covenants/");
        let paths = ["model.toml", "partnership.example.toml"].map(|file| format!("{folder}{file}").into());
        let covenant = crate::covenants::load(&paths).unwrap();
        let (now, key) = (covenant.valid_from, SigningKey::from_seed(&[2; 32]));
        let police = covenant.parties[1].oin;
        let vote = Vote {
            format: 1,
            covenant: covenant.hash(),
            party: police,
            word: Word::Accept,
            issued: now,
            reason: String::new(),
        };
        let mut agreement = Agreement::new(Arc::new(Compiled::new(covenant).unwrap()));
        agreement.cast(&vote.sign(&key), now).unwrap();
        let view = CovenantView::new(&agreement, now);
        let lines = view.lines(Lang::Nl);
        assert!(lines[0].ends_with("voorgesteld"), "{lines:?}");
        let of = |oin: &str| lines.iter().find(|line| line.contains(oin)).unwrap().clone();
        assert!(of(police.as_str()).contains("ondertekend 2026-01-01"), "{lines:?}");
        assert!(of("00000099000000001000").ends_with("nog niet ondertekend"));
        assert!(of("00000099000000003000").ends_with("niet ondertekend (hoeft niet)"));
        let json = serde_json::to_string(&view).unwrap();
        assert_eq!(serde_json::from_str::<CovenantView>(&json).unwrap(), view);
    }
}
