//! Webhooks: an application of the organisation's own is told of each message received, as soon as there is one, with a
//! signature that shows who tells it (Standard Webhooks), as an event of `CloudEvents`.
//!
//! At least once, in the order of the inbox: a message counts as told when the receiver answered with 2xx and that is on
//! stable storage. One that the receiver refuses holds up those of its own case alone; a receiver that is down holds up
//! everything, and is asked with an event without content before a body is read for it.

mod patience;
pub(crate) mod post;

use std::path::Path;
use std::time::{Duration, Instant};

use seinhuis_agent_core::Event;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::keys;
use seinhuis_shell::lang::Text;
use seinhuis_shell::webhook::Secrets;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::patience::{Blame, Patience};
use self::post::{Message, Post, Verdict, ping};
use crate::agent::{AgentHandle, stopped};
use crate::commands::present;
use crate::commands::request::{Look, Request};
use crate::config::{Config, Webhook};
use crate::engine::{View, inbox_row};
use crate::ways::deliveries::{Due, Kept, Trouble, Wanted, counts};
use crate::ways::standing::{Kind, Standings, Told};
use crate::ways::work::{Agent, Work, run};
use crate::ways::{delivered, event};

/// Most deliveries of one look.
const LOOK_MAX: usize = 50;
/// Most messages that a receiver may refuse in one look; then it is left alone for a while.
const REFUSED_MAX: usize = 10;

/// Begins to tell the webhooks of the configuration.
pub(super) fn start(
    agent: &AgentHandle,
    config: &Config,
    standings: &Standings,
    stopping: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<(), Complaint> {
    // All are made before one begins: with a mistake in one of them the agent does not start.
    let on = config.webhook.iter().filter(|webhook| webhook.is_on());
    let worker = |webhook| Worker::new(webhook, Agent::new(agent, stopping), standings);
    let workers = on.map(worker).collect::<Result<Vec<_>, _>>()?;
    if workers.is_empty() {
        return Ok(());
    }
    let (tell, news) = watch::channel(());
    let (mut happened, mut until) = (agent.subscribe(), stopping.clone());
    tasks.spawn(async move {
        loop {
            tokio::select! {
                _ = until.wait_for(|stop| *stop) => return,
                event = happened.recv() => match event {
                    Some(event) if matches!(event.event, Event::Received { .. }) => tell.send_replace(()),
                    Some(_) => {}
                    None => return,
                },
            }
        }
    });
    for worker in workers {
        tasks.spawn(run(worker, Some(news.clone()), stopping.clone()));
    }
    Ok(())
}

/// The secrets of the webhook of this name, of the agent in `home`.
pub(crate) fn secrets(home: &Path, name: &str) -> Secrets {
    let file = home.join("webhooks").join(format!("{name}.secret"));
    Secrets::new(file, name, &format!("seinhuis-agent webhook secret {name}"))
}

/// One webhook.
struct Worker {
    agent: Agent,
    wanted: Wanted,
    content: bool,
    kept: Kept,
    told: Told,
    sender: Sender,
}

/// What sends to one receiver, and knows how it does.
struct Sender {
    post: Post,
    patience: Patience,
    /// How many messages were refused in this look, and how many taken.
    refused: usize,
    taken: usize,
}

impl Worker {
    fn new(webhook: &Webhook, agent: Agent, standings: &Standings) -> Result<Self, Complaint> {
        let home = agent.handle.home().dir();
        let post = Post::new(webhook, home)?;
        let kept = home.join("webhooks").join(format!("{}.json", webhook.name));
        Ok(Self {
            wanted: Wanted { flows: webhook.flows.clone(), unconsumed: webhook.consume },
            content: webhook.content,
            kept: Kept::new(Some(kept).filter(|_| !webhook.consume)),
            told: standings.open(Kind::Webhook, &webhook.name, &webhook.host()),
            sender: Sender { post, patience: Patience::default(), refused: 0, taken: 0 },
            agent,
        })
    }
}

impl Work for Worker {
    fn look(&mut self) -> Duration {
        if let Some(rest) = self.sender.patience.rest(Instant::now()) {
            return rest;
        }
        let Self { agent, wanted, content, kept, sender, .. } = self;
        (sender.refused, sender.taken) = (0, 0);
        let looked = kept.round(LOOK_MAX, wanted.through(agent), |due| {
            sender.deliver(agent, due, *content)?;
            if wanted.unconsumed {
                let id = due.position.to_string();
                agent.ask(Request::Consumed { id }).map_err(|complaint| Trouble::of(due, complaint))?;
            }
            Ok(())
        });
        // An agent that stops is nothing wrong with a receiver.
        if agent.stopping() {
            return Duration::ZERO;
        }
        self.told.about(looked);
        // One that was refused does not keep the others waiting.
        let more = self.sender.taken >= LOOK_MAX;
        if more { Duration::ZERO } else { self.sender.patience.next(Instant::now()) }
    }
}

impl Sender {
    /// Delivers one message, unless it is not its time yet.
    fn deliver(&mut self, agent: &Agent, due: &Due, content: bool) -> Result<(), Trouble> {
        let now = Instant::now();
        if let Some(why) = self.patience.held(due.position, now) {
            return Err(Trouble::Message(why.clone()));
        }
        self.reach(agent)?;
        let message = message(agent, due, content)?;
        let blame = match self.send(agent, &message)? {
            Verdict::Taken => {
                self.patience.taken(due.position);
                self.taken = self.taken.saturating_add(1);
                return Ok(());
            }
            Verdict::Refused(why) => {
                let why = why.about(&due.msg_id.to_string());
                self.patience.refused(due.position, why.clone(), now, chance());
                (Blame::Message, why)
            }
            Verdict::Down(why, asked) => {
                let why = why.about(&due.msg_id.to_string());
                (self.patience.down(Some((due.position, &why)), asked, now, chance()), why)
            }
        };
        self.blamed(blame)
    }

    fn blamed(&mut self, (blame, why): (Blame, Complaint)) -> Result<(), Trouble> {
        if blame == Blame::Receiver {
            return Err(Trouble::Sink(why));
        }
        self.refused = self.refused.saturating_add(1);
        if self.refused >= REFUSED_MAX || self.patience.is_full() {
            self.patience.down(None, None, Instant::now(), chance());
            return Err(Trouble::Sink(why));
        }
        Err(Trouble::Message(why))
    }

    /// Sees to it that the receiver answers. Every reading is on record: none is made for one that is down.
    fn reach(&mut self, agent: &Agent) -> Result<(), Trouble> {
        if self.patience.answers() {
            return Ok(());
        }
        match self.send(agent, &ping(agent.handle.oin()))? {
            // It may not know what it is asked.
            Verdict::Taken | Verdict::Refused(_) => {
                self.patience.answered();
                Ok(())
            }
            Verdict::Down(why, asked) => {
                self.patience.down(None, asked, Instant::now(), chance());
                Err(Trouble::Sink(why))
            }
        }
    }

    fn send(&mut self, agent: &Agent, message: &Message) -> Result<Verdict, Trouble> {
        let sent = agent.unless_stopped(self.post.send(message)).unwrap_or_else(|| Err(stopped()));
        sent.map_err(Trouble::Sink)
    }
}

fn chance() -> u64 {
    u64::from_be_bytes(keys::random())
}

/// What is told of a message; with its body, if that is to go along. That it is read is on record then.
fn message(agent: &Agent, due: &Due, content: bool) -> Result<Message, Trouble> {
    let about = |complaint| Trouble::of(due, complaint);
    let (position, own) = (due.position, agent.handle.oin());
    let known = if content {
        agent.ask(Request::Look(Look::Read { id: position.to_string(), withdrawn: false })).map_err(about)?
    } else {
        let found =
            agent.query(
                move |view| {
                    if counts(view, position) { Some(present::received(view, position)) } else { None }
                },
            );
        // Withdrawn or erased since it was looked at: it is not due at the next look.
        found.map_err(about)?.ok_or_else(|| about(gone()))?.map_err(about)?
    };
    let event = agent.query(move |view| told(view, position, own)).map_err(about)?;
    let (id, event) = event.ok_or_else(|| about(Complaint::bug("a delivery that is not in the inbox")))?;
    let data = delivered::text(known).map_err(Trouble::Message)?;
    let data =
        RawValue::from_string(data).map_err(|error| Trouble::Message(Complaint::bug(error.to_string())))?;
    let body = delivered::with_raw(event, "data", Some(data)).map_err(Trouble::Message)?;
    Ok(Message { id, body })
}

fn gone() -> Complaint {
    Complaint::refused(
        Text::new(
            "Dit bericht is ondertussen ingetrokken of gewist.",
            "This message was withdrawn or erased meanwhile.",
        ),
        Text::new("Er is niets te doen.", "There is nothing to do."),
    )
}

/// The event of a message received, without its data, and its id: that of the packet, which stays the same where places in
/// the inbox begin anew with another store.
fn told(view: &View<'_>, position: u64, own: seinhuis_shared::ids::Oin) -> Option<(String, Value)> {
    let row = inbox_row(view.store, position)?;
    let id = format!("received-{}", row.packet);
    let event = event::received(id.clone(), own, &row, &json!(null));
    Some((id, event))
}
