//! What all scenes share: the partnership, its processes, and what is expected of them so far.

use std::collections::BTreeMap;

use seinhuis_shared::covenant::{Compiled, Covenant};
use seinhuis_shared::time::Timestamp;
use seinhuis_tests::samples::{self, Sample};
use seinhuis_tests::stage::{FOUR, PATIENCE};
use seinhuis_tests::{Forge, Member, Stage, process};
use serde_json::Value;

use crate::running::Running;
use crate::teller::Teller;
use crate::trouble::{Told, Trouble};
use crate::ways::Ways;

/// The demo under way.
#[derive(Debug)]
pub(crate) struct Show {
    /// Who tells.
    pub(crate) teller: Teller,
    /// The partnership.
    pub(crate) stage: Stage,
    /// How its partners' own systems and people reach their agents.
    pub(crate) ways: Ways,
    /// Its processes.
    pub(crate) running: Running,
    /// What was agreed.
    pub(crate) covenant: Compiled,
    /// The samples these partners can send.
    pub(crate) samples: Vec<Sample>,
    /// Messages each role's outbox must have.
    pub(crate) sent: BTreeMap<String, u64>,
    /// Messages each role's inbox must have.
    pub(crate) received: BTreeMap<String, u64>,
    /// One message id that must be in the broker's files.
    pub(crate) known: String,
    /// Lines of the summary.
    pub(crate) summary: Vec<(String, String)>,
}

impl Show {
    /// On a stage that is set.
    pub(crate) fn new(teller: Teller, (stage, ways): (Stage, Ways), running: Running) -> Told<Self> {
        let first = stage.members.first().ok_or_else(Trouble::bug)?;
        let covenant = Forge::of(&stage, first)?.covenant;
        let samples = samples::among(&FOUR)?;
        Ok(Self {
            teller,
            stage,
            ways,
            running,
            covenant,
            samples,
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            known: String::new(),
            summary: Vec::new(),
        })
    }

    /// The document that was agreed.
    pub(crate) fn document(&self) -> &Covenant {
        self.covenant.covenant()
    }

    /// What a message type is called in the language of the story.
    pub(crate) fn type_name(&self, code: &str) -> String {
        let known = self.document().types.iter().find(|kind| kind.code == code);
        known.map_or_else(|| code.to_owned(), |kind| self.teller.pick(&kind.nl, &kind.en).to_owned())
    }

    /// Whether a person has to release what concerns a person on this flow.
    pub(crate) fn releases(&self, flow: &str) -> bool {
        self.document().flows.iter().any(|one| one.id == flow && one.release)
    }

    /// The sample under a flow.
    pub(crate) fn sample(&self, flow: &str) -> Told<Sample> {
        self.samples.iter().find(|sample| sample.flow == flow).cloned().ok_or_else(|| {
            Trouble::new(
                format!("Er is geen voorbeeldsignaal voor {flow}."),
                format!("There is no sample signal for {flow}."),
            )
        })
    }

    /// Counts a message that was accepted and is to arrive.
    pub(crate) fn expect(&mut self, from: Option<&str>, to: &[String]) {
        if let Some(role) = from {
            *self.sent.entry(role.to_owned()).or_default() += 1;
        }
        for role in to {
            *self.received.entry(role.clone()).or_default() += 1;
        }
    }

    /// Counts a sample that was accepted, and what its recipients' agents answer to it of themselves.
    pub(crate) fn expect_sample(&mut self, sample: &Sample) {
        self.expect(Some(&sample.from), &sample.to);
        if matches!(sample.message_type.as_str(), "correctie" | "intrekking") {
            for role in &sample.to {
                self.expect(Some(role), std::slice::from_ref(&sample.from));
            }
        }
    }

    /// Adds a line to the summary.
    pub(crate) fn sum(&mut self, nl: (&str, String), en: (&str, String)) {
        let (name, value) = match self.teller.lang() {
            seinhuis_shell::lang::Lang::Nl => nl,
            seinhuis_shell::lang::Lang::En => en,
        };
        self.summary.push((name.to_owned(), value));
    }

    /// Waits until a message is in a member's inbox; its row there.
    pub(crate) fn arrival(&self, member: &Member, msg_id: &str) -> Told<Value> {
        let mut found = None;
        let waited = process::until("the inbox", PATIENCE, || {
            let listed = self.stage.agent(member, &["inbox", "list", "-n", "100"]);
            let rows = listed.ok().and_then(|rows| rows.as_array().cloned()).unwrap_or_default();
            found = rows.into_iter().find(|row| text(row, "msg_id") == msg_id);
            found.is_some()
        });
        let row = found.filter(|_| waited.is_ok()).ok_or_else(|| {
            Trouble::new(
                format!("Bericht {msg_id} is niet bij {} aangekomen.", member.role),
                format!("Message {msg_id} did not reach {}.", member.role),
            )
        })?;
        crate::trouble::check(
            text(&row, "state") == "stored",
            format!("{} heeft bericht {msg_id} niet aanvaard: {row}", member.role),
            format!("{} did not take message {msg_id}: {row}", member.role),
        )?;
        Ok(row)
    }
}

/// A text in a JSON answer; empty when it is not there.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    seinhuis_tests::stage::text(value, key)
}

/// A moment in a JSON answer.
pub(crate) fn moment(value: &Value, key: &str) -> Told<Timestamp> {
    Timestamp::parse(text(value, key)).ok_or_else(|| {
        Trouble::new(
            format!("Het tijdstip {key} ontbreekt: {value}"),
            format!("The time {key} is missing: {value}"),
        )
    })
}
