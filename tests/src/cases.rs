//! Cases on a stage: opened and moved with the commands people type.

use serde_json::Value;

use crate::process::until;
use crate::samples::Sample;
use crate::stage::{Member, PATIENCE, Stage, StageError, text};

/// The steps of the model covenant, in order.
pub const STEPS: [&str; 8] = ["1", "2A", "2B", "3", "4", "5", "6", "7"];
/// The condition under which the prosecution service joins.
pub const CRIMINAL: &str = "strafrechtelijk";

/// What was decided to make a sample possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// The coordinator moved the case to this step.
    Step(String),
    /// The police stated the condition.
    Condition,
}

/// The flows that are open to the prosecution service under the condition alone.
fn is_criminal(sample: &Sample) -> bool {
    let with_om = sample.from == "om" || sample.to.iter().any(|role| role == "om");
    with_om && ["F12", "F14", "F15", "F16", "F19"].contains(&sample.flow.as_str())
}

impl Stage {
    /// How a case stands, once a member's agent has it from the broker.
    ///
    /// # Errors
    /// When the command fails, or the agent does not get it.
    pub fn case(&self, member: &Member, case: &str) -> Result<Value, StageError> {
        let mut standing = Ok(Value::Null);
        until("the case is known", PATIENCE, || {
            standing = self.agent(member, &["case", "show", case]);
            standing.as_ref().map_or(true, |standing| standing["up_to_date"] == true)
        })?;
        standing
    }

    /// Has the coordinator move a case to a step, one decision after the other; those it took. A case that is not
    /// known begins. Broker and agents have to run.
    ///
    /// # Errors
    /// When a command fails.
    pub fn walk(&self, case: &str, step: &str) -> Result<Vec<Moved>, StageError> {
        let town = self.member("gemeente");
        let standing = self.case(town, case)?;
        let place = |step: &str| STEPS.iter().position(|one| *one == step);
        let goal = place(step).unwrap_or_default();
        let path: Vec<&str> = match place(text(&standing, "state")) {
            Some(now) if now == goal => vec![],
            Some(now) if now > goal => vec![step],
            Some(now) => STEPS.iter().take(goal + 1).skip(now + 1).copied().collect(),
            None => STEPS.iter().take(goal + 1).copied().collect(),
        };
        for step in &path {
            self.agent(town, &["case", "step", case, step])?;
        }
        Ok(path.into_iter().map(|step| Moved::Step(step.to_owned())).collect())
    }

    /// Has decided what a sample needs: its case in its step, and the condition if its flow asks it.
    ///
    /// # Errors
    /// When a command fails.
    pub fn prepare(&self, sample: &Sample) -> Result<Vec<Moved>, StageError> {
        let Some(case) = sample.value.get("case").and_then(Value::as_str) else { return Ok(vec![]) };
        let mut moved = self.walk(case, text(&sample.value, "step"))?;
        if is_criminal(sample) {
            let police = self.member("politie");
            let standing = self.case(police, case)?;
            let stated = standing["conditions"].as_array().into_iter().flatten();
            if !stated.into_iter().any(|one| text(one, "code") == CRIMINAL) {
                self.agent(police, &["case", "condition", case, CRIMINAL])?;
                moved.push(Moved::Condition);
            }
        }
        Ok(moved)
    }
}
