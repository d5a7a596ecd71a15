//! Who may use the local API: a token for each application, with what it may do in which flows.
//!
//! A token is 32 random bytes, shown once; the file holds its SHA-256 alone. The file is looked at for each request, so that
//! a token that is revoked ends at once, also for whoever is connected.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::keys;
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What every token begins with, so that it is recognised where it does not belong.
const PREFIX: &str = "shs_";
/// Most bytes of the file.
const FILE_MAX: usize = 1 << 20;
/// Most characters of an application's name.
const NAME_MAX: usize = 64;
/// Longest life of a token, in days.
pub const DAYS_MAX: u32 = 1096;

/// One thing that a token lets its application do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Right {
    /// Hand over signals of this flow, or of all, and see and correct what became of them.
    Send(Flow),
    /// Take deliveries of this flow, or of all.
    Receive(Flow),
    /// See cases.
    Cases,
    /// Decide about cases, as far as the covenant lets this organisation.
    Decide,
    /// See how the agent is doing.
    Status,
}

/// A flow of a covenant, or all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// Every flow.
    Every,
    /// The flow of this name.
    Only(String),
}

impl Flow {
    fn read(text: &str) -> Option<Self> {
        let named =
            (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match text {
            "*" => Some(Self::Every),
            name => named.then(|| Self::Only(name.to_owned())),
        }
    }

    fn holds(&self, flow: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Only(name) => name == flow,
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Every => "*",
            Self::Only(name) => name,
        })
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(flow) => write!(f, "send:{flow}"),
            Self::Receive(flow) => write!(f, "receive:{flow}"),
            Self::Cases => f.write_str("cases"),
            Self::Decide => f.write_str("decide"),
            Self::Status => f.write_str("status"),
        }
    }
}

impl From<Right> for String {
    fn from(right: Right) -> Self {
        right.to_string()
    }
}

impl std::str::FromStr for Right {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = match (text, text.split_once(':')) {
            ("cases", _) => Some(Self::Cases),
            ("decide", _) => Some(Self::Decide),
            ("status", _) => Some(Self::Status),
            (_, Some(("send", flow))) => Flow::read(flow).map(Self::Send),
            (_, Some(("receive", flow))) => Flow::read(flow).map(Self::Receive),
            _ => None,
        };
        read.ok_or_else(|| {
            "choose send:F01, send:*, receive:F01, receive:*, cases, decide or status".to_owned()
        })
    }
}

impl TryFrom<String> for Right {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// An application's token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// By which it is revoked.
    pub id: String,
    /// The application. What it hands over under a key of its own is the same message under each of its tokens.
    pub application: String,
    /// What it may do.
    pub rights: BTreeSet<Right>,
    /// SHA-256 of the token's text.
    digest: String,
    /// When it was made.
    pub created: String,
    /// Until when it counts.
    pub expires: String,
}

impl Token {
    /// Whether its application may hand over signals of a flow.
    pub fn sends(&self, flow: &str) -> bool {
        self.rights.iter().any(|right| matches!(right, Right::Send(own) if own.holds(flow)))
    }

    /// Whether its application may take deliveries of a flow.
    pub fn receives(&self, flow: &str) -> bool {
        self.rights.iter().any(|right| matches!(right, Right::Receive(own) if own.holds(flow)))
    }

    /// Whether it has this right.
    pub fn may(&self, right: &Right) -> bool {
        self.rights.contains(right)
    }

    fn counts(&self, now: Timestamp) -> bool {
        Timestamp::parse(&self.expires).is_some_and(|until| now < until)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    tokens: Vec<Token>,
}

/// What tells one version of the file from another: each is written as a file of its own.
type Stamp = (u64, i64, i64, u64, u32);

/// The tokens of an agent. The file is looked at each time, and read when it is another.
#[derive(Debug, Clone)]
pub struct Tokens {
    path: PathBuf,
    read: Arc<Mutex<Option<Read>>>,
}

/// What was in the file when it was read.
#[derive(Debug)]
struct Read {
    stamp: Stamp,
    tokens: Arc<[Token]>,
}

impl Tokens {
    /// Those in the file at `path`, which need not be there.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), read: Arc::default() }
    }

    /// Every token that was made and not revoked, those that have ended too.
    ///
    /// # Errors
    /// A sentence when the file cannot be read.
    pub fn all(&self) -> Result<Arc<[Token]>, Complaint> {
        let Ok(meta) = self.path.metadata() else { return Ok(Arc::default()) };
        let stamp = (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len(), meta.mode());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.as_ref().filter(|known| known.stamp == stamp) {
            return Ok(Arc::clone(&known.tokens));
        }
        let tokens: Arc<[Token]> = self.load()?.into();
        *read = Some(Read { stamp, tokens: Arc::clone(&tokens) });
        Ok(tokens)
    }

    fn load(&self) -> Result<Vec<Token>, Complaint> {
        let bytes = files::read_private(&self.path, FILE_MAX)?;
        let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| {
            Complaint::usage(
                Text::new(
                    format!("{} is onbruikbaar: {error}.", self.path.display()),
                    format!("{} cannot be used: {error}.", self.path.display()),
                ),
                Text::new(
                    "Zet het bestand opzij en maak de tokens opnieuw: seinhuis-agent token add.",
                    "Move the file aside and make the tokens again: seinhuis-agent token add.",
                ),
            )
        })?;
        Ok(kept.tokens)
    }

    fn keep(&self, tokens: Vec<Token>) -> Result<(), Complaint> {
        let text =
            serde_json::to_vec_pretty(&Kept { tokens }).map_err(|error| Complaint::bug(error.to_string()))?;
        files::write_private(&self.path, &text, Existing::Replace)
    }

    /// Makes a token for an application; its text, which is nowhere else.
    ///
    /// # Errors
    /// A sentence: a name or term that will not do, or a file that cannot be written.
    pub fn add(
        &self,
        application: &str,
        rights: BTreeSet<Right>,
        days: u32,
        now: Timestamp,
    ) -> Result<(Token, Zeroizing<String>), Complaint> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=NAME_MAX).contains(&application.len()) || !application.bytes().all(plain) {
            return Err(Complaint::usage(
                Text::new(
                    format!("{application:?} is geen naam voor een toepassing."),
                    format!("{application:?} is no name for an application."),
                ),
                Text::new(
                    "Gebruik 1 tot 64 kleine letters, cijfers en streepjes, zoals zaaksysteem.",
                    "Use 1 to 64 lower-case letters, digits and dashes, such as case-system.",
                ),
            ));
        }
        let secret = Zeroizing::new(keys::random::<32>());
        let text = Zeroizing::new(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&*secret)));
        let token = Token {
            id: HEXLOWER.encode(&keys::random::<4>()),
            application: application.to_owned(),
            rights,
            digest: sha256(text.as_bytes()).to_string(),
            created: now.to_string(),
            expires: now.plus(Span::days(u64::from(days))).to_string(),
        };
        let _alone = files::alone(&self.path)?;
        let mut tokens = self.all()?.to_vec();
        tokens.push(token.clone());
        self.keep(tokens)?;
        Ok((token, text))
    }

    /// Takes a token away.
    ///
    /// # Errors
    /// A sentence when there is no such token, or the file cannot be written.
    pub fn revoke(&self, id: &str) -> Result<Token, Complaint> {
        let _alone = files::alone(&self.path)?;
        let (gone, kept): (Vec<Token>, Vec<Token>) =
            self.all()?.iter().cloned().partition(|token| token.id == id);
        let Some(gone) = gone.into_iter().next() else {
            return Err(Complaint::refused(
                Text::new(format!("Er is geen token {id}."), format!("There is no token {id}.")),
                Text::new(
                    "Kijk in de lijst: seinhuis-agent token list.",
                    "See the list: seinhuis-agent token list.",
                ),
            ));
        };
        self.keep(kept)?;
        Ok(gone)
    }

    /// The token with this text, if it counts now. Every token is compared, each in full, so that the time it takes tells
    /// nothing about any of them.
    ///
    /// # Errors
    /// As [`Tokens::all`].
    pub fn find(&self, text: &str, now: Timestamp) -> Result<Option<Token>, Complaint> {
        let digest = sha256(text.as_bytes());
        let is = |token: &Token| token.digest.parse().is_ok_and(|own: Digest| own.is_same_secret(&digest));
        Ok(self.all()?.iter().fold(None, |found, token| {
            if is(token) && token.counts(now) { Some(token.clone()) } else { found }
        }))
    }

    /// Whether the token of this id still counts.
    pub fn still_counts(&self, id: &str, now: Timestamp) -> bool {
        self.all().is_ok_and(|all| all.iter().any(|token| token.id == id && token.counts(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn rights(texts: &[&str]) -> BTreeSet<Right> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn rights_read_as_they_print_and_nothing_else_reads() {
        for text in ["send:F01", "send:*", "receive:F30", "receive:*", "cases", "decide", "status"] {
            assert_eq!(text.parse::<Right>().unwrap().to_string(), text);
        }
        for text in ["", "send", "send:", "send:F 1", "send:F01,F02", "Send:F01", "all", "*", "cases:F01x y"]
        {
            assert!(text.parse::<Right>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_lets_do_what_it_names_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(&dir.path().join("tokens.json"));
        let (token, _) = tokens.add("zaaksysteem", rights(&["send:F02", "receive:*"]), 1, NOW).unwrap();
        assert!(token.sends("F02") && token.receives("F02") && token.receives("F30"));
        assert!(!token.sends("F03") && !token.may(&Right::Cases) && !token.may(&Right::Status));
    }

    #[test]
    fn a_token_counts_from_its_making_until_it_ends_or_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let tokens = Tokens::new(&path);
        assert!(tokens.find("shs_", NOW).unwrap().is_none(), "no file is no token");
        let (one, first) = tokens.add("a", rights(&["cases"]), 1, NOW).unwrap();
        let (two, second) = tokens.add("a", rights(&["status"]), 2, NOW).unwrap();
        assert_ne!((&one.id, &*first), (&two.id, &*second));
        assert_eq!(tokens.find(&first, NOW).unwrap(), Some(one.clone()));
        let later = NOW.plus(Span::days(1));
        assert_eq!(tokens.find(&first, later).unwrap(), None, "it ended");
        assert_eq!(tokens.find(&second, later).unwrap(), Some(two.clone()));
        for wrong in ["", "shs_", &first[..first.len() - 1], &format!("{}x", &*first), &one.id] {
            assert_eq!(tokens.find(wrong, NOW).unwrap(), None, "{wrong}");
        }
        assert!(tokens.still_counts(&two.id, NOW) && !tokens.still_counts("00000000", NOW));
        tokens.revoke(&two.id).unwrap();
        assert_eq!(tokens.find(&second, NOW).unwrap(), None);
        assert!(!tokens.still_counts(&two.id, NOW));
        assert!(tokens.revoke(&two.id).is_err());
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(!kept.contains(&first[4..]), "the secret is in no file");
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_damaged_lets_nobody_in() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let tokens = Tokens::new(&path);
        let (_, text) = tokens.add("a", rights(&["cases"]), 1, NOW).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(tokens.find(&text, NOW).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(tokens.find(&text, NOW).unwrap().is_some());
        files::write_private(&path, b"{", Existing::Replace).unwrap();
        assert!(tokens.find(&text, NOW).is_err());
    }

    #[test]
    fn commands_at_the_same_time_lose_no_token() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(&dir.path().join("tokens.json"));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..4 {
                        tokens.add("a", rights(&["cases"]), 1, NOW).unwrap();
                    }
                });
            }
        });
        assert_eq!(tokens.all().unwrap().len(), 32);
    }

    #[test]
    fn names_of_applications_are_plain() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(&dir.path().join("tokens.json"));
        for wrong in ["", "Zaak", "a b", "a/b", "é", &"a".repeat(65)] {
            assert!(tokens.add(wrong, rights(&["cases"]), 1, NOW).is_err(), "{wrong}");
        }
    }
}
