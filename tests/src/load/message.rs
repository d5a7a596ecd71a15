//! What is sent: the sample signal of F01, or a body of any length under a flow that the partnership adds.
//!
//! The schema of F01 bounds its free text to 2,000 characters, so that its bodies end at about 2.7 kB whatever the flow's
//! own bound. Flows of the model covenant that carry more are about persons: each waits for somebody to release it and
//! enters everybody in a register, which is other work. So a partnership adds a flow, as any may (covenants/README.md):
//! about groups, one list of texts, as long as the model covenant lets any body be.

use std::io;
use std::path::{Path, PathBuf};

use seinhuis_agent::{PushRequest, Target};
use seinhuis_shared::covenant::Step;
use seinhuis_shared::ids::MsgId;

use super::plan::{Flow, Plan};
use crate::samples;
use crate::stage::{Stage, StageError};

/// The flow of the model covenant.
pub(super) const SAMPLE: &str = "F01";
/// The flow that the partnership adds.
pub(super) const OWN: &str = "M01";
/// Most characters of one text in a body, by any schema.
const TEXT: usize = 20_000;
/// What the texts are filled with: one byte a character, nothing that JSON escapes.
const FILLER: &str = "Op het plein is het rustiger dan vorige maand, meldt de buurt. ";

/// The body of that flow: a list of texts.
const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["regels"],
  "properties": {
    "regels": {
      "x-category": "toelichting_groep",
      "type": "array",
      "minItems": 1,
      "maxItems": 32,
      "items": { "type": "string", "minLength": 1, "maxLength": 20000 }
    }
  }
}
"#;

/// Its rule, in the partnership's part of the covenant.
const RULE: &str = r#"
[[types]]
code = "meting"
schema = "schemas/meting.json"
nl = "bericht om mee te meten"
en = "message to measure with"

[[flows]]
id = "M01"
nl = "jongerenwerk meldt aan gemeenten, om mee te meten"
en = "youth work reports to municipalities, to measure with"
types = ["meting"]
routes = [{ from = ["jongerenwerk"], to = ["gemeente"] }]
steps = ["1"]
levels = ["G"]
categories = ["toelichting_groep"]
purpose = "signalering"
bases = ["avg_6_1_e"]
case = "optional"
max_recipients = 16
max_body = 262144
retention_days = 90
retention = "3 maanden"
"#;

/// What every sender sends.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    flow: Flow,
    body: Vec<u8>,
}

impl Message {
    /// The one of a plan.
    pub(super) fn of(plan: &Plan) -> Result<Self, StageError> {
        let body = match plan.flow() {
            Flow::Sample => sample(plan.body)?,
            Flow::Own => own(plan.body),
        };
        if body.len() == plan.body {
            return Ok(Self { flow: plan.flow(), body });
        }
        let what = format!("a body of {} bytes comes out as {}: ask for that", plan.body, body.len());
        Err(io::Error::other(what).into())
    }

    /// This body over F01.
    pub(super) fn over_sample(body: &[u8]) -> Self {
        Self { flow: Flow::Sample, body: body.to_vec() }
    }

    /// What an agent is asked to send.
    pub(super) fn request(&self, to: &[Target], msg_id: MsgId) -> PushRequest {
        let plain = PushRequest::new(msg_id, self.flow.id(), to.to_vec(), self.body.clone());
        PushRequest { step: Some(Step::S1), ..plain }
    }
}

/// Adds the flow to the covenant of a stage on which nobody has agreed on anything yet.
pub(super) fn add_flow(stage: &mut Stage) -> io::Result<()> {
    // Schemas stand below the folder of the covenant's first part: a copy of it, with one more.
    let folder = stage.dir.join("covenant");
    let schemas = folder.join("schemas");
    std::fs::create_dir_all(&schemas)?;
    let model = folder.join("model.toml");
    std::fs::copy(&stage.model, &model)?;
    for file in files(&samples::covenants().join("schemas"))? {
        std::fs::copy(&file, schemas.join(file.file_name().unwrap_or_default()))?;
    }
    std::fs::write(schemas.join("meting.json"), SCHEMA)?;
    stage.model = model;
    stage.more.push_str(RULE);
    Ok(())
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// The sample's body, its free text lengthened until it has `length` bytes.
pub(super) fn sample(length: usize) -> Result<Vec<u8>, StageError> {
    let sample = samples::among(&["jongerenwerk", "gemeente"])?
        .into_iter()
        .find(|sample| sample.flow == SAMPLE)
        .ok_or_else(|| io::Error::other("no sample of F01"))?;
    let mut body = sample.value["body"].clone();
    let bare = serde_json::to_vec(&body).map_err(io::Error::other)?.len();
    let text = body["toelichting"].as_str().unwrap_or_default().to_owned();
    body["toelichting"] = format!("{text}{}", ".".repeat(length.saturating_sub(bare))).into();
    serde_json::to_vec(&body).map_err(|error| io::Error::other(error).into())
}

/// A body of the partnership's own flow, of exactly `length` bytes.
fn own(length: usize) -> Vec<u8> {
    // {"regels":[ and ]}, and for each text its quotes, with a comma between two.
    let count = length.saturating_sub(12).div_ceil(TEXT + 3).max(1);
    let all = length.saturating_sub(12 + 3 * count).max(count);
    let filler: String = FILLER.chars().cycle().take(all.div_ceil(count)).collect();
    let texts = (0..count).map(|at| format!("\"{}\"", &filler[..(all + at) / count]));
    format!("{{\"regels\":[{}]}}", texts.collect::<Vec<_>>().join(",")).into_bytes()
}

#[cfg(test)]
mod tests {
    use seinhuis_shared::covenant::schema::Schema;

    use super::super::plan::{OWN_BODY, SAMPLE_BODY};
    use super::*;

    #[test]
    fn a_body_of_the_own_flow_has_the_length_that_is_asked_and_fits_its_schema() {
        let schema = Schema::parse(SCHEMA).unwrap();
        let (least, most) = OWN_BODY;
        for length in
            [least, 256, 1024, 16_384, 20_015, 20_016, 20_017, 20_018, 40_017, 40_018, most - 1, most]
        {
            let body = own(length);
            assert_eq!(body.len(), length);
            assert_eq!(schema.check(&body).unwrap(), ["toelichting_groep"], "{length}");
        }
    }

    #[test]
    fn the_sample_has_the_length_that_is_asked() {
        let (least, most) = SAMPLE_BODY;
        for length in [least, 1024, most] {
            let plan = Plan { body: length, flow: Some(Flow::Sample), ..Plan::default() };
            assert_eq!(Message::of(&plan).unwrap().body.len(), length);
        }
    }
}
