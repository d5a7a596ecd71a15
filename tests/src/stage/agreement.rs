//! How the partnership on a stage agrees: its part of the covenant, the proposal and everybody's word.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use serde_json::Value;

use super::{Member, PATIENCE, Stage, StageError, text};
use crate::process::until;

impl Stage {
    /// Writes the partnership's part of the covenant, has the first member propose the whole and every member
    /// sign it. Broker and agents run for as long as that takes.
    ///
    /// # Errors
    /// When a command fails, or the covenant does not come into force.
    pub fn agree(&self) -> Result<(), StageError> {
        let part = self.dir.join("partnership.toml");
        std::fs::write(&part, self.partnership()?)?;
        let broker = self.start_broker()?;
        let agents =
            self.members.iter().map(|member| self.start_agent(member)).collect::<Result<Vec<_>, _>>()?;
        self.sign(&[self.model.clone(), part])?;
        for process in agents.into_iter().chain([broker]) {
            process.stop(PATIENCE)?;
        }
        Ok(())
    }

    /// Has the first member propose the covenant of these files, and every member sign it; its hash. Broker and
    /// agents have to run.
    ///
    /// # Errors
    /// When a command fails, or the covenant does not come into force.
    pub fn sign(&self, parts: &[PathBuf]) -> Result<String, StageError> {
        let Some(first) = self.members.first() else { return Ok(String::new()) };
        let texts: Vec<_> = parts.iter().map(|part| part.to_string_lossy()).collect();
        let propose: Vec<&str> =
            ["covenant", "propose"].into_iter().chain(texts.iter().map(AsRef::as_ref)).collect();
        let hash = text(&self.agent(first, &propose)?, "hash").to_owned();
        for member in &self.members {
            until("the proposal is there", PATIENCE, || !self.standing(member, &hash).is_null())?;
            self.agent(member, &["covenant", "accept", &hash])?;
        }
        for member in &self.members {
            until("everybody has signed", PATIENCE, || {
                let standing = self.standing(member, &hash);
                let parties = standing["parties"].as_array().map(Vec::as_slice).unwrap_or_default();
                text(&standing, "state") == "in-force"
                    && parties.iter().all(|party| text(party, "standing") == "accepted")
            })?;
        }
        Ok(hash)
    }

    /// How a covenant stands at a member's agent; null when it is not known there.
    pub fn standing(&self, member: &Member, hash: &str) -> Value {
        let known = self.agent(member, &["covenant", "list"]).unwrap_or_default();
        let one = known.as_array().into_iter().flatten().find(|one| text(one, "hash") == hash);
        one.cloned().unwrap_or_default()
    }

    /// The partnership's part: dates around today, these parties, one article 20 decision.
    fn partnership(&self) -> Result<String, StageError> {
        let mut text = String::from(
            r#"[partnership]
id = "voorbeeldstad-jeugdgroepen"
version = 1
title = "Convenant jeugdgroepaanpak Voorbeeldstad"
owner = "OWNER"
valid_from = "2026-01-01"
valid_until = "2036-01-01"
evaluation = "2030-01-01"
contact = "privacyloket@voorbeeldstad.example"

[[decisions]]
reference = "VB-2026-0017"
date = "2026-01-01"
authority = "Politiechef van eenheid Voorbeeld"
recipients = ["jongerenwerk", "pga", "lokaal_team"]
categories = ["identiteit", "zaakpersoon", "noodzaak", "rol_in_groep", "gedrag_persoon"]
expires = "2035-12-31"
"#,
        );
        text = text.replace("OWNER", self.members.first().map_or("", |member| &member.oin));
        for member in &self.members {
            let request = std::fs::read(self.request_of(member))?;
            let key = seinhuis_shared::enrol::EnrolRequest::verify(&request)
                .map_err(|refusal| io::Error::other(refusal.to_string()))?
                .signing_key
                .to_bytes();
            let hex: String = key.iter().fold(String::new(), |mut hex, byte| {
                _ = write!(hex, "{byte:02x}");
                hex
            });
            _ = write!(
                text,
                "\n[[parties]]\noin = \"{}\"\nrole = \"{}\"\nname = \"{}\"\ncontact = \"jeugd@voorbeeldstad.example\"\nsigning_keys = [\"{hex}\"]\n",
                member.oin, member.role, member.name
            );
            if self.watched {
                let shown = self.agent(member, &["key", "witness"])?;
                _ = writeln!(text, "witness_key = \"{}\"", self::text(&shown, "witness_key"));
            }
        }
        text.push_str(&self.more);
        Ok(text)
    }
}
