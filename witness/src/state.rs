//! What the witness knows and keeps: its key, the logs, and the largest checkpoint of each that it cosigned.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use seinhuis_shared::signing::{SigningKey, sha256};
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::cosignature::WitnessKey;
use seinhuis_shared::tlog::note::{MAX_NOTE_BYTES, VerifierKey};
use seinhuis_shared::tlog::witness::{Head, INCONSISTENT, KnownLog, OK, Refused, add_checkpoint};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::lang::Text;

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// Whether the body is a size.
    pub is_size: bool,
}

/// A witness with its memory.
pub struct Witness {
    key: WitnessKey,
    secret: SigningKey,
    logs: Vec<KnownLog>,
    dir: PathBuf,
    heads: BTreeMap<String, Head>,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness(..)")
    }
}

impl Witness {
    /// A witness by this name for these logs, with what it keeps in `dir`.
    ///
    /// # Errors
    /// A sentence naming the file that cannot be read, or is not what this witness wrote: it must not cosign then.
    pub fn open(name: &str, secret: SigningKey, logs: &[VerifierKey], dir: &Path) -> Result<Self, Complaint> {
        let key = WitnessKey::new(name, &secret.public().to_bytes())
            .map_err(|error| Complaint::bug(error.to_string()))?;
        files::make_private_dir(dir)?;
        let logs: Vec<KnownLog> = logs.iter().cloned().map(KnownLog::of_key).collect();
        let mut heads = BTreeMap::new();
        for log in &logs {
            let path = path(dir, &log.origin);
            if path.exists() {
                let note = files::read_private(&path, MAX_NOTE_BYTES)?;
                let kept = log.keys.iter().find_map(|key| Checkpoint::verify(&note, &log.origin, key).ok());
                let kept = kept.ok_or_else(|| damaged(&path))?;
                heads.insert(log.origin.clone(), Head { size: kept.size(), root: *kept.root() });
            }
        }
        Ok(Self { key, secret, logs, dir: dir.to_path_buf(), heads })
    }

    /// Answers a request. What is cosigned is on stable storage when this returns.
    ///
    /// # Errors
    /// When it cannot be kept: nothing is cosigned then.
    pub fn answer(&mut self, request: &[u8], now: Timestamp) -> Result<Answer, Complaint> {
        let heads = &self.heads;
        let latest = |origin: &str| heads.get(origin).copied().unwrap_or_default();
        let accepted = match add_checkpoint(request, &self.logs, latest) {
            Ok(accepted) => accepted,
            Err(refused) => {
                self.keep_evidence(&refused, request);
                let is_size = matches!(refused, Refused::Conflict(_));
                return Ok(Answer { status: refused.status(), body: refused.body(), is_size });
            }
        };
        let origin = accepted.checkpoint.origin().to_owned();
        if self.heads.get(&origin) != Some(&accepted.head) {
            let note =
                accepted.own_note(&self.logs).map_err(|error| Complaint::bug(error.to_string()))?.to_string();
            files::write_private(&path(&self.dir, &origin), note.as_bytes(), Existing::Replace)?;
            self.heads.insert(origin, accepted.head);
        }
        let line = accepted.answer(&self.key, now.0 / 1000, |bytes| self.secret.sign(bytes));
        let line = line.ok_or_else(|| Complaint::bug("the clock is before 1970"))?;
        Ok(Answer { status: OK, body: format!("{line}\n"), is_size: false })
    }

    /// A signed checkpoint that does not continue the one before may prove misconduct: the first is kept beside it.
    fn keep_evidence(&self, refused: &Refused, request: &[u8]) {
        tracing::warn!("not cosigned: {refused}");
        if refused.status() != INCONSISTENT {
            return;
        }
        let path = self.dir.join("inconsistent-request.txt");
        if !path.exists()
            && let Err(complaint) = files::write_private(&path, request, Existing::Keep)
        {
            tracing::error!("{}", complaint.what.en);
        }
    }
}

/// Where the checkpoint of a log is kept; the same name as in the C2SP monitoring address.
fn path(dir: &Path, origin: &str) -> PathBuf {
    dir.join(format!("{}.checkpoint", HEXLOWER.encode(&sha256(origin.as_bytes()).0)))
}

fn damaged(path: &Path) -> Complaint {
    let path = path.display();
    Complaint::usage(
        Text::new(
            format!(
                "{path} is niet de stand die deze getuige het laatst meetekende, of van een andere sleutel van het log."
            ),
            format!("{path} is not the checkpoint this witness cosigned last, or of another key of the log."),
        ),
        Text::new(
            "Zet dit bestand terug uit een kopie die niet ouder is; begin nooit zonder, want dan kan de getuige twee geschiedenissen meetekenen.",
            "Put this file back from a copy that is no older; never begin without it, for the witness could cosign two histories then.",
        ),
    )
}
