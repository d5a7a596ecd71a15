//! Who made what, for as long as it is on its way: who made a message does not release it.
//!
//! A file beside the store, written before the message is handed over. What is at its end is left out of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seinhuis_shared::ids::MsgId;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::{Lang, Text};
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
    /// Whether makers were known that are not any more: a file that was damaged is put beside it.
    lost: bool,
}

impl Makers {
    /// Those in the file at `path`, which need not be there. One that is damaged is put aside and keeps nothing else from
    /// going on; what its makers made is decided by command until a person removes it.
    ///
    /// # Errors
    /// A sentence when the file cannot be read, or put aside: without it nobody knows who may release what.
    pub(super) fn open(path: &Path) -> Result<Self, Complaint> {
        let aside = path.with_extension("damaged");
        let mut known = Known::new();
        if path.exists() {
            let bytes = files::read_private(path, FILE_MAX)?;
            match serde_json::from_slice(&bytes) {
                Ok(read) => known = read,
                Err(error) => {
                    files::replace(path, &aside)?;
                    tracing::error!(complaint = damaged(&aside, &error).show(Lang::En), "page for people");
                }
            }
        }
        let lost = aside.exists();
        Ok(Self { path: path.to_path_buf(), known: Arc::new(Mutex::new(known)), lost })
    }

    /// Whether it cannot be known who made a message.
    pub(super) async fn is_lost(&self, msg_id: &str) -> bool {
        self.lost && self.of(msg_id).await.is_none()
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
            "Beslis met `seinhuis-agent release` over wat wacht, want wie het maakte is onbekend; verwijder daarna het bestand en herstart de agent.",
            "Decide with `seinhuis-agent release` about what waits, for who made it is unknown; then remove the file and restart the agent.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_damaged_file_is_put_aside_and_nobody_decides_on_the_page_what_its_makers_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("makers.json");
        files::write_private(&path, b"{half", Existing::Keep).unwrap();
        for _ in 0..2 {
            let makers = Makers::open(&path).unwrap();
            assert!(makers.is_lost("m1").await && makers.of("m1").await.is_none());
            assert!(!path.exists(), "it is beside its place, also after a restart");
        }
        std::fs::remove_file(path.with_extension("damaged")).unwrap();
        assert!(!Makers::open(&path).unwrap().is_lost("m1").await);
        files::write_private(&path, br#"{"m1":"Anna"}"#, Existing::Keep).unwrap();
        std::fs::write(path.with_extension("damaged"), "").unwrap();
        let makers = Makers::open(&path).unwrap();
        assert!(!makers.is_lost("m1").await && makers.is_lost("m2").await, "what is known stays known");
    }
}
