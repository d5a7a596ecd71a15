//! The signing key: which one counts, which ones did, and rotating it.

use data_encoding::HEXLOWER;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shell::cli::{Outcome, Ui};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::{Lang, Text};
use seinhuis_shell::{files, keys};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::request::{From, Look, Request, ask, read};
use super::wait;
use crate::home::Home;

/// One rotation that is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RotatedView {
    /// The time of its log entry.
    pub(super) at: String,
    /// Its number.
    pub(super) seq: u32,
    /// Thumbprint of the key that was given up.
    pub(super) old: String,
    /// Thumbprint of the key that took its place.
    pub(super) new: String,
}

/// A rotation that the broker has not logged yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TurningView {
    /// The public half of the new key, hexadecimal.
    pub(super) new: String,
    /// Since when.
    pub(super) since: String,
    /// Whether it does not wait for verdicts.
    pub(super) urgent: bool,
    /// Whether the file of the new key is there.
    pub(super) at_hand: bool,
    /// The number with which the broker refused it, or 0.
    pub(super) refused: u16,
}

/// The signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyView {
    /// The public half, hexadecimal, as a covenant pins it.
    pub(super) key: String,
    /// Its thumbprint.
    pub(super) thumbprint: String,
    /// Since when it is given up for a key this agent does not have.
    pub(super) given_up: Option<String>,
    /// This organisation's rotations, in order.
    pub(super) rotations: Vec<RotatedView>,
    /// The rotation that is under way.
    pub(super) turning: Option<TurningView>,
    /// The public half of the key that cosigns the exchange log, hexadecimal, as a covenant pins it.
    pub(super) witness_key: Option<String>,
    /// The same as a verifier key (C2SP signed-note vkey).
    pub(super) witness_vkey: Option<String>,
}

impl KeyView {
    fn lines(&self, lang: Lang) -> Vec<String> {
        let mut lines = vec![
            format!("{} {}", lang.pick("ondertekensleutel", "signing key"), self.key),
            format!("  {} {}", lang.pick("vingerafdruk", "thumbprint"), self.thumbprint),
        ];
        if let Some(at) = &self.given_up {
            let lost = lang.pick(
                "opgegeven voor een sleutel die deze agent niet heeft, sinds",
                "given up for a key this agent does not have, since",
            );
            lines.push(format!("  {lost} {at}"));
        }
        for one in &self.rotations {
            let turned = lang.pick("gewisseld", "rotated");
            lines.push(format!(
                "  {} {turned} {} {} → {}",
                one.seq,
                one.at,
                short(&one.old),
                short(&one.new)
            ));
        }
        if let Some(turning) = &self.turning {
            lines.push(format!("  {} {}", lang.pick("nieuwe sleutel", "new key"), turning.new));
            let fate = match Refusal::from_number(turning.refused) {
                Some(refusal) => format!("{} {refusal}", lang.pick("geweigerd:", "refused:")),
                None if !turning.at_hand => lang
                    .pick(
                        "het bestand keys/signing.next.key ontbreekt: zet het terug, of geef opnieuw `key rotate`",
                        "the file keys/signing.next.key is missing: put it back, or give `key rotate` again",
                    )
                    .to_owned(),
                None => lang.pick("nog niet vastgelegd", "not logged yet").to_owned(),
            };
            lines.push(format!("  {fate}"));
        }
        let paste = lang.pick("Voor het convenant, bij deze partij:", "For the covenant, at this party:");
        lines.extend([paste.to_owned(), format!("  signing_keys = [\"{}\"]", self.key)]);
        match (&self.witness_key, &self.witness_vkey) {
            (Some(key), Some(vkey)) => {
                lines.push(format!("  witness_key = \"{key}\""));
                let name = lang.pick("Als getuige van het logboek", "As a witness of the log");
                lines.push(format!("{name}: {vkey}"));
            }
            _ => lines.push(
                lang.pick(
                    "Deze agent tekent het logboek niet mee: maak een sleutel met `key witness`.",
                    "This agent does not cosign the log: make a key with `key witness`.",
                )
                .to_owned(),
            ),
        }
        lines
    }

    fn is_open(&self) -> bool {
        self.turning.as_ref().is_some_and(|turning| turning.refused == 0)
    }
}

fn short(thumbprint: &str) -> String {
    thumbprint.chars().take(16).collect()
}

pub(super) fn show(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    let (view, _) = once(home)?;
    ui.answer(&Text::new(view.lines(Lang::Nl).join("\n"), view.lines(Lang::En).join("\n")), &json!(view));
    Ok(Outcome::Done)
}

/// Makes a new key, durable before anything else, and has the agent rotate to it.
pub(super) fn rotate(home: &Home, urgent: bool, ui: Ui) -> Result<Outcome, Complaint> {
    let (answer, from) = ask(home, Request::Rotate { urgent })?;
    let looking = |view: &KeyView| from == From::Agent && view.is_open();
    let view = wait::while_open(read(answer)?, looking, |_| once(home).map(|(view, _)| view))?;
    if let Some(refusal) = view.turning.as_ref().and_then(|one| Refusal::from_number(one.refused)) {
        return Err(Complaint::from_refusal(refusal));
    }
    let text = wait::told(view.is_open(), |lang| view.lines(lang).join("\n"));
    ui.answer(&text, &json!(view));
    Ok(Outcome::Done)
}

/// Makes the key that cosigns the exchange log, if there is none, and shows it.
pub(super) fn witness(home: &Home, ui: Ui) -> Result<Outcome, Complaint> {
    if !home.witness_key().exists() {
        files::check_private_dir(&home.keys())?;
        keys::generate_signing(&home.witness_key())?;
    }
    let key = HEXLOWER.encode(&keys::load_signing(&home.witness_key())?.public().to_bytes());
    ui.answer(
        &Text::new(
            format!("witness_key = \"{key}\"\nNeem hem op in de volgende versie van het convenant, en start de agent opnieuw."),
            format!("witness_key = \"{key}\"\nTake it up in the next version of the covenant, and restart the agent."),
        ),
        &json!({ "witness_key": key }),
    );
    Ok(Outcome::Done)
}

fn once(home: &Home) -> Result<(KeyView, From), Complaint> {
    let (answer, from) = ask(home, Request::Look(Look::Key))?;
    Ok((read(answer)?, from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_which_key_counts_and_what_is_under_way() {
        let rotated = RotatedView {
            at: "2026-03-01T12:00:00Z".into(),
            seq: 1,
            old: "a".repeat(64),
            new: "b".repeat(64),
        };
        let turning = TurningView {
            new: "c".repeat(64),
            since: String::new(),
            urgent: false,
            at_hand: true,
            refused: 0,
        };
        let view = KeyView {
            key: "d".repeat(64),
            thumbprint: "b".repeat(64),
            given_up: None,
            rotations: vec![rotated],
            turning: Some(turning.clone()),
            witness_key: Some("e".repeat(64)),
            witness_vkey: Some("seinhuis/witness/x+00000000+BA".into()),
        };
        let text = |view: &KeyView, lang| view.lines(lang).join("\n");
        assert!(
            text(&view, Lang::Nl)
                .contains("1 gewisseld 2026-03-01T12:00:00Z aaaaaaaaaaaaaaaa → bbbbbbbbbbbbbbbb")
        );
        assert!(text(&view, Lang::En).contains("not logged yet") && view.is_open());
        let with = |turning| KeyView { turning: Some(turning), ..view.clone() };
        let refused = with(TurningView { refused: 432, ..turning.clone() });
        assert!(text(&refused, Lang::En).contains("refused: 432 key-in-use") && !refused.is_open());
        let missing = with(TurningView { at_hand: false, ..turning });
        assert!(text(&missing, Lang::Nl).contains("signing.next.key ontbreekt"));
        let lost = KeyView { given_up: Some("2026-03-02T12:00:00Z".into()), ..view };
        assert!(text(&lost, Lang::En).contains("does not have, since 2026-03-02T12:00:00Z"));
    }
}
