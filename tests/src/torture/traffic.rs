//! Traffic: everybody pushes, again and again under the same id until the agent says that it has it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use seinhuis_shared::ids::Oin;
use serde_json::{Value, json};

use super::history::Push;
use super::troupe::{Node, Troupe};
use crate::forge::new_id;
use crate::samples::{self, Sample};
use crate::sim::{Broken, Dice, Violation, setup};

/// What honest partners send that asks no case and no release: one of them goes to three recipients at once.
const FLOWS: [&str; 4] = ["F01", "F02", "F03", "F04"];
/// How long a push may be pushed again and again before that is a fault.
pub(super) const PATIENCE: Duration = Duration::from_mins(3);
/// How long who was not heard waits before the same push again.
const AGAIN: Duration = Duration::from_millis(30);

/// Who pushes what.
#[derive(Debug, Clone)]
pub struct Source {
    node: Node,
    from: Oin,
    to: Vec<Oin>,
    sample: Sample,
}

/// All pushes, while they are made.
#[derive(Debug)]
pub struct Traffic<'a> {
    troupe: &'a Troupe,
    sources: Vec<Source>,
    pushed: Mutex<Vec<Push>>,
    over: AtomicBool,
    given_up: AtomicBool,
}

impl<'a> Traffic<'a> {
    /// Nobody pushes yet.
    ///
    /// # Errors
    /// [`Broken::Setup`] when there is no sample for a flow.
    pub fn of(troupe: &'a Troupe) -> Result<Self, Violation> {
        let all = samples::all().map_err(setup)?;
        let node = |role: &str| {
            let place = troupe.stage.members.iter().position(|member| member.role == role);
            place.map(|place| place + 1).ok_or_else(|| setup(format!("there is no {role}")))
        };
        let oin = |role: &str| troupe.oin(node(role)?).ok_or_else(|| setup("no OIN"));
        let sources = all.into_iter().filter(|sample| FLOWS.contains(&sample.flow.as_str())).map(|sample| {
            let to = sample.to.iter().map(|role| oin(role)).collect::<Result<_, _>>()?;
            Ok(Source { node: node(&sample.from)?, from: oin(&sample.from)?, to, sample })
        });
        let sources = sources.collect::<Result<_, Violation>>()?;
        Ok(Self {
            troupe,
            sources,
            pushed: Mutex::default(),
            over: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        })
    }

    /// Everybody who pushes.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Pushes once, until it is confirmed.
    ///
    /// # Errors
    /// [`Broken::Stuck`] when it never is.
    pub fn push(&self, source: &Source) -> Result<(), Violation> {
        let id = new_id();
        let mut body = source.sample.value["body"].clone();
        let free = if body["toelichting"].is_string() { "toelichting" } else { "motivering" };
        body[free] = Value::from(format!("Bericht {id}."));
        let body = serde_json::to_vec(&body).map_err(setup)?;
        let request = json!({ "push": {
            "msg_id": id.to_string(),
            "flow": source.sample.flow,
            "to": source.to.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "step": source.sample.value["step"],
            "basis": source.sample.value["basis"],
            "message_type": source.sample.message_type,
            "body": BASE64.encode(&body),
        } });
        let (from, flow, to) = (source.from, source.sample.flow.clone(), source.to.clone());
        let place = self.note(|pushed| {
            pushed.push(Push { id, from, flow, to, body, confirmed: false });
            pushed.len() - 1
        });
        let end = Instant::now() + PATIENCE;
        loop {
            match self.troupe.ask(source.node, &request) {
                Ok(_) => break,
                Err(_) if self.given_up.load(Ordering::Relaxed) => return Ok(()),
                Err(error) if Instant::now() > end => {
                    return Err(Violation::new(Broken::Stuck, format!("{id} was never taken: {error}")));
                }
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
        self.note(|pushed| {
            if let Some(push) = pushed.get_mut(place) {
                push.confirmed = true;
            }
        });
        Ok(())
    }

    /// Pushes again and again, with pauses of up to `pause`, until [`Self::end`].
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn go_on(&self, source: &Source, seed: u64, pause: Duration) -> Result<(), Violation> {
        let mut dice = Dice::new(seed);
        let most = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        while !self.over.load(Ordering::Relaxed) {
            self.push(source)?;
            std::thread::sleep(Duration::from_millis(dice.between(0, most)));
        }
        Ok(())
    }

    /// No more pushes.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// No more pushes, also not of what was not confirmed yet.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.end();
    }

    /// All that was pushed.
    pub fn pushed(&self) -> Vec<Push> {
        self.note(|pushed| pushed.clone())
    }

    /// How many of them are confirmed by now.
    pub fn confirmed(&self) -> usize {
        self.note(|pushed| pushed.iter().filter(|push| push.confirmed).count())
    }

    fn note<T>(&self, change: impl FnOnce(&mut Vec<Push>) -> T) -> T {
        change(&mut self.pushed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
