//! Who made what, for as long as it is on its way: who made a message does not release it.
//!
//! A file beside the store, written before the message is handed over. What is at its end is left out of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seinhuis_shared::ids::MsgId;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;
use tokio::sync::Mutex;

use crate::agent::AgentHandle;
use crate::ways::pass::is_same_name;

/// Most bytes of the file: far more messages than people make before they are decided.
const FILE_MAX: usize = 16 << 20;

/// Names by message id.
type Known = BTreeMap<String, String>;

/// The makers of messages.
#[derive(Debug, Clone)]
pub(super) struct Makers {
    path: PathBuf,
    known: Arc<Mutex<Known>>,
}

impl Makers {
    /// Those in the file at `path`, which need not be there.
    ///
    /// # Errors
    /// A sentence when the file cannot be read: without it nobody knows who may release what.
    pub(super) fn open(path: &Path) -> Result<Self, Complaint> {
        let known = if path.exists() {
            let bytes = files::read_private(path, FILE_MAX)?;
            serde_json::from_slice(&bytes).map_err(|error| damaged(path, &error))?
        } else {
            Known::new()
        };
        Ok(Self { path: path.to_path_buf(), known: Arc::new(Mutex::new(known)) })
    }

    /// Who made a message on the page; none for what came in another way, or is at its end.
    pub(super) async fn of(&self, msg_id: &str) -> Option<String> {
        self.known.lock().await.get(msg_id).cloned()
    }

    /// Whether this person made a message.
    pub(super) async fn is_own(&self, msg_id: &str, person: &str) -> bool {
        self.of(msg_id).await.is_some_and(|maker| is_same_name(&maker, person))
    }

    /// Does what hands a message over, once it is on stable storage who made it. Who made it first stays its maker.
    ///
    /// # Errors
    /// When that cannot be kept, or of the handing over.
    pub(super) async fn made<T>(
        &self,
        agent: &AgentHandle,
        (msg_id, person): (MsgId, &str),
        hand_over: impl Future<Output = Result<T, Complaint>>,
    ) -> Result<T, Complaint> {
        // One at a time: what another hands over meanwhile is not known to the agent yet, and must not be left out.
        let mut known = self.known.lock().await;
        let ids: Vec<String> = known.keys().cloned().collect();
        let open = agent.query(move |view| {
            let open = |id: &String| {
                let found = id.parse().ok().and_then(|id: MsgId| view.core.find(&id));
                found.is_some_and(|(_, stage)| !stage.is_final())
            };
            ids.into_iter().filter(open).collect::<std::collections::BTreeSet<_>>()
        });
        let open = open.await?;
        let mut next: Known = known
            .iter()
            .filter(|(id, _)| open.contains(*id))
            .map(|(id, who)| (id.clone(), who.clone()))
            .collect();
        next.entry(msg_id.to_string()).or_insert_with(|| person.to_owned());
        if next != *known {
            let text = serde_json::to_vec(&next).map_err(|error| Complaint::bug(error.to_string()))?;
            files::write_private(&self.path, &text, Existing::Replace)?;
            *known = next;
        }
        hand_over.await
    }
}

fn damaged(path: &Path, error: &serde_json::Error) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("{} is onbruikbaar: {error}.", path.display()),
            format!("{} cannot be used: {error}.", path.display()),
        ),
        Text::new(
            "Beslis eerst met `seinhuis-agent release` over wat wacht, want wie het maakte is onbekend; zet daarna het bestand opzij.",
            "First decide with `seinhuis-agent release` about what waits, for who made it is unknown; then move the file aside.",
        ),
    )
}
