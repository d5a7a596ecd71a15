//! Who may use the local API: a token for each application, with what it may do in which flows.

use std::fmt;

use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};

use crate::ways::pass::{Flow, Kind, NAME_MAX, Pass, Passes};

/// An application's token, without its secret.
pub type Token = Pass<Right>;
/// The tokens of an agent.
pub type Tokens = Passes<Right>;

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

impl Kind for Right {
    const PREFIX: &'static str = "shs_";
    const CALLED: (&'static str, &'static str) = ("token", "token");
    const COMMAND: &'static str = "token";
    const ONE_EACH: bool = false;

    fn check_name(application: &str) -> Result<(), Complaint> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=NAME_MAX).contains(&application.len()) && application.bytes().all(plain) {
            return Ok(());
        }
        Err(Complaint::usage(
            Text::new(
                format!("{application:?} is geen naam voor een toepassing."),
                format!("{application:?} is no name for an application."),
            ),
            Text::new(
                "Gebruik 1 tot 64 kleine letters, cijfers en streepjes, zoals zaaksysteem.",
                "Use 1 to 64 lower-case letters, digits and dashes, such as case-system.",
            ),
        ))
    }
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
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use seinhuis_shared::time::{Span, Timestamp};
    use seinhuis_shell::files::{self, Existing};

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
        assert!(tokens.still(&two.id, NOW).is_some() && tokens.still("00000000", NOW).is_none());
        tokens.revoke(&two.id).unwrap();
        assert_eq!(tokens.find(&second, NOW).unwrap(), None);
        assert!(tokens.still(&two.id, NOW).is_none());
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

    #[test]
    fn a_file_of_tokens_by_their_first_names_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let tokens = Tokens::new(&path);
        let (token, text) = tokens.add("a", rights(&["cases"]), 1, NOW).unwrap();
        let kept = std::fs::read_to_string(&path).unwrap();
        let before = kept.replace("\"passes\"", "\"tokens\"").replace("\"name\"", "\"application\"");
        files::write_private(&path, before.as_bytes(), Existing::Replace).unwrap();
        assert_eq!(tokens.find(&text, NOW).unwrap(), Some(token));
    }
}
