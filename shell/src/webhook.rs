//! The secret with which a webhook's messages are signed (Standard Webhooks 1.0, *Signature scheme*, `v1`), and its file.

use std::path::PathBuf;

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use seinhuis_shared::time::{Span, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::complaint::Complaint;
use crate::files::{self, Existing};
use crate::keys;
use crate::lang::Text;

/// What every secret begins with.
const PREFIX: &str = "whsec_";
/// Fewest and most bytes of a secret.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;
/// Most bytes of the file.
const FILE_MAX: usize = 16 * 1024;
/// Most secrets that were replaced and still count.
const BEFORE_MAX: usize = 4;
/// Longest time that a secret which was replaced still counts, in hours.
pub const KEEP_MAX_H: u32 = 720;

/// A secret.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::read(&text).ok_or_else(|| serde::de::Error::custom("no secret"))
    }
}

impl Secret {
    /// Draws a new one.
    pub fn generate() -> Self {
        Self(Zeroizing::new(keys::random::<32>().to_vec()))
    }

    /// Reads `whsec_` and 24 to 64 bytes in base64; none for anything else.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64.decode(text.strip_prefix(PREFIX)?.as_bytes()).ok()?);
        LENGTHS.contains(&bytes.len()).then_some(Self(bytes))
    }

    /// As receivers take it.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}", BASE64.encode(&self.0)))
    }

    fn sign(&self, id: &str, at: u64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let signed = [id.as_bytes(), b".", at.to_string().as_bytes(), b".", body].concat();
        format!("v1,{}", BASE64.encode(hmac::sign(&key, &signed).as_ref()))
    }
}

/// The header fields that say of a body which message it is and from whom: `at` is the time of this attempt.
pub fn fields(secrets: &[Secret], id: &str, at: Timestamp, body: &[u8]) -> [(&'static str, String); 3] {
    let seconds = at.0 / 1000;
    let signatures: Vec<String> = secrets.iter().map(|secret| secret.sign(id, seconds, body)).collect();
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ]
}

/// The file of a webhook's secrets.
#[derive(Debug, Clone)]
pub struct Secrets {
    path: PathBuf,
    name: String,
    /// The command that makes a new one.
    command: String,
}

/// What is in it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    secret: Secret,
    made: String,
    before: Vec<Before>,
}

/// A secret that was replaced.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    secret: Secret,
    until: String,
}

impl Before {
    fn counts(&self, now: Timestamp) -> bool {
        Timestamp::parse(&self.until).is_some_and(|until| now < until)
    }
}

/// The secret of a webhook as it stands.
#[derive(Debug)]
pub struct Standing {
    /// Every secret that counts, the newest first.
    pub all: Vec<Secret>,
    /// When the newest was made.
    pub made: String,
    /// Until when the ones before it count.
    pub before_until: Vec<String>,
}

impl Secrets {
    /// Those in a file, of the webhook of this name, for which this command makes a new one.
    pub fn new(path: PathBuf, name: &str, command: &str) -> Self {
        Self { path, name: name.to_owned(), command: command.to_owned() }
    }

    /// Whether there are any.
    pub fn exist(&self) -> bool {
        self.path.exists()
    }

    /// The secrets that count at `now`; one is made when there is none.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix.
    pub fn ensure(&self, now: Timestamp) -> Result<Standing, Complaint> {
        if !self.exist() {
            files::make_private_dir(&files::parent(&self.path))?;
            let _alone = files::alone(&self.path)?;
            // Somebody else may have made it meanwhile.
            if !self.exist() {
                self.keep(&Secret::generate(), vec![], now)?;
            }
        }
        self.standing(now)
    }

    /// The secrets that count at `now`.
    ///
    /// # Errors
    /// As [`Secrets::ensure`], and when there are none.
    pub fn standing(&self, now: Timestamp) -> Result<Standing, Complaint> {
        let kept = self.load()?;
        let before = kept.before.into_iter().filter(|before| before.counts(now));
        let (mut all, mut before_until) = (vec![kept.secret], Vec::new());
        for Before { secret, until } in before {
            all.push(secret);
            before_until.push(until);
        }
        Ok(Standing { all, made: kept.made, before_until })
    }

    /// Puts a new secret in the place of the current one, which counts `keep` longer.
    ///
    /// # Errors
    /// As [`Secrets::ensure`], and when too many still count.
    pub fn rotate(&self, secret: &Secret, keep: Span, now: Timestamp) -> Result<(), Complaint> {
        files::make_private_dir(&files::parent(&self.path))?;
        let _alone = files::alone(&self.path)?;
        let mut before = Vec::new();
        if self.exist() {
            let kept = self.load()?;
            before.extend(kept.before.into_iter().filter(|before| before.counts(now)));
            if keep > Span(0) {
                let until = now.plus(keep).to_string();
                before.insert(0, Before { secret: kept.secret, until });
            } else {
                // What leaked may be any of them.
                before.clear();
            }
        }
        if before.len() > BEFORE_MAX {
            return Err(Complaint::refused(
                Text::new(
                    format!("Van webhook {:?} gelden al {BEFORE_MAX} eerdere geheimen.", self.name),
                    format!("Of webhook {:?} {BEFORE_MAX} earlier secrets still count.", self.name),
                ),
                Text::new(
                    "Wacht tot er een verloopt, of laat ze alle meteen vervallen met --keep 0.",
                    "Wait until one of them ends, or end all of them at once with --keep 0.",
                ),
            ));
        }
        self.keep(secret, before, now)
    }

    fn load(&self) -> Result<Kept, Complaint> {
        let bytes = Zeroizing::new(files::read_private(&self.path, FILE_MAX)?);
        serde_json::from_slice(&bytes).map_err(|_| self.unusable())
    }

    fn keep(&self, secret: &Secret, before: Vec<Before>, now: Timestamp) -> Result<(), Complaint> {
        let kept = Kept { secret: secret.clone(), made: now.to_string(), before };
        let text = serde_json::to_vec(&kept).map_err(|error| Complaint::bug(error.to_string()))?;
        files::write_private(&self.path, &Zeroizing::new(text), Existing::Replace)
    }

    fn unusable(&self) -> Complaint {
        Complaint::usage(
            Text::new(
                format!("{} is onbruikbaar.", self.path.display()),
                format!("{} cannot be used.", self.path.display()),
            ),
            Text::new(
                format!("Zet het bestand opzij en maak een nieuw geheim: {}.", self.command),
                format!("Move the file aside and make a new secret: {}.", self.command),
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn zaken(home: &Path) -> Secrets {
        Secrets::new(home.join("webhooks/zaken.secret"), "zaken", "seinhuis-agent webhook secret zaken")
    }

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of the Standard Webhooks specification's reference libraries.
        let secret = Secret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let at = Timestamp(1_614_265_330_000);
        let [id, time, signature] =
            fields(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b"{\"test\": 2432232314}");
        assert_eq!((id.1.as_str(), time.1.as_str()), ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"));
        assert_eq!(
            signature,
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned())
        );
    }

    #[test]
    fn a_secret_reads_as_it_prints_and_nothing_else_reads() {
        let secret = Secret::generate();
        assert_eq!(*Secret::read(&secret.text()).unwrap().text(), *secret.text());
        let of = |bytes: usize| format!("whsec_{}", BASE64.encode(&vec![7; bytes]));
        assert!(Secret::read(&of(24)).is_some() && Secret::read(&of(64)).is_some());
        for wrong in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%", &of(23), &of(65)] {
            assert!(Secret::read(wrong).is_none(), "{wrong}");
        }
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn a_secret_that_was_replaced_counts_for_a_while_beside_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = zaken(dir.path());
        let texts = |now| {
            secrets.standing(now).unwrap().all.iter().map(|one| one.text().to_string()).collect::<Vec<_>>()
        };
        assert!(secrets.standing(NOW).is_err(), "none yet");
        let first = secrets.ensure(NOW).unwrap().all[0].text();
        assert_eq!(texts(NOW), [first.as_str()]);
        assert_eq!(secrets.ensure(NOW).unwrap().all[0].text(), first, "made once");
        let second = Secret::generate();
        secrets.rotate(&second, Span::hours(24), NOW).unwrap();
        assert_eq!(texts(NOW), [second.text().as_str(), first.as_str()]);
        let both = fields(&secrets.standing(NOW).unwrap().all, "x", NOW, b"y");
        assert_eq!(both[2].1.split(' ').count(), 2, "a signature for each");
        assert_eq!(texts(NOW.plus(Span::hours(24))), [second.text().as_str()], "its time is over");
        for _ in 0..3 {
            secrets.rotate(&Secret::generate(), Span::hours(24), NOW).unwrap();
        }
        assert!(secrets.rotate(&Secret::generate(), Span::hours(24), NOW).is_err(), "no end of secrets");
        let last = Secret::generate();
        secrets.rotate(&last, Span(0), NOW).unwrap();
        assert_eq!(texts(NOW), [last.text().as_str()], "at once");
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_damaged_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let secrets = zaken(dir.path());
        secrets.ensure(NOW).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&secrets.path), mode(&dir.path().join("webhooks"))), (0o600, 0o700));
        std::fs::set_permissions(&secrets.path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(secrets.standing(NOW).unwrap_err().advice.en.contains("chmod"));
        for damaged in ["{", "{\"secret\":\"whsec_x\",\"made\":\"\",\"before\":[]}"] {
            files::write_private(&secrets.path, damaged.as_bytes(), Existing::Replace).unwrap();
            assert!(secrets.ensure(NOW).unwrap_err().what.en.contains("cannot be used"));
        }
    }
}
