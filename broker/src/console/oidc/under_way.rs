//! Sign-ins that have begun and of which the browser is at the provider.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::BASE64URL_NOPAD;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::keys;
use zeroize::Zeroizing;

/// How long somebody may take at the provider.
pub(super) const LASTS: Span = Span::minutes(10);
/// Most of them; when one more begins the oldest ends. Each takes some hundreds of bytes.
const MOST: usize = 1024;

/// What is to come back, and what only the browser's cookie leads to.
#[derive(Clone)]
pub(super) struct Begun {
    /// What the address that leads back has to bring (RFC 6749, section 10.12).
    state: String,
    /// What the ID token has to say.
    pub(super) nonce: String,
    /// What shows that the code was asked for here (RFC 7636).
    pub(super) verifier: Zeroizing<String>,
    /// The address the provider was to lead back to.
    pub(super) back: String,
    pub(super) lang: Lang,
    pub(super) at: Timestamp,
}

impl Begun {
    /// What the verifier is held against: its SHA-256 (RFC 7636, section 4.2, S256).
    pub(super) fn challenge(&self) -> String {
        BASE64URL_NOPAD.encode(&sha256(self.verifier.as_bytes()).0)
    }

    pub(super) fn state(&self) -> &str {
        &self.state
    }
}

fn random() -> String {
    BASE64URL_NOPAD.encode(&*Zeroizing::new(keys::random::<32>()))
}

/// All of them, by the SHA-256 of what is in the cookie.
#[derive(Clone, Default)]
pub(super) struct UnderWay(Arc<Mutex<BTreeMap<Digest, Begun>>>);

impl UnderWay {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Digest, Begun>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one; what goes into the cookie.
    pub(super) fn begin(&self, back: &str, lang: Lang, now: Timestamp) -> (Zeroizing<String>, Begun) {
        let cookie = Zeroizing::new(random());
        let verifier = Zeroizing::new(random());
        let begun =
            Begun { state: random(), nonce: random(), verifier, back: back.to_owned(), lang, at: now };
        let mut all = self.all();
        all.retain(|_, one| is_young(one, now));
        while all.len() >= MOST {
            let Some(oldest) = all.iter().min_by_key(|(_, one)| one.at).map(|(key, _)| *key) else { break };
            all.remove(&oldest);
        }
        all.insert(sha256(cookie.as_bytes()), begun.clone());
        (cookie, begun)
    }

    /// Ends the one of this cookie and this state: both have to be right, and they are right once. Another site that leads
    /// a browser here with a state of its own ends nothing.
    pub(super) fn end(&self, cookie: &str, state: &str, now: Timestamp) -> Option<Begun> {
        let key = sha256(cookie.as_bytes());
        let mut all = self.all();
        let begun = all.get(&key)?;
        if !sha256(begun.state.as_bytes()).is_same_secret(&sha256(state.as_bytes())) {
            return None;
        }
        all.remove(&key).filter(|begun| is_young(begun, now))
    }
}

/// Whether it can still come to something. A clock that was set back ends it.
fn is_young(begun: &Begun, now: Timestamp) -> bool {
    begun.at <= now && now < begun.at.plus(LASTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn a_sign_in_ends_once_in_its_own_browser_and_in_time() {
        let all = UnderWay::default();
        let (cookie, begun) = all.begin("http://127.0.0.1:7490/sign-in/back", Lang::Nl, NOW);
        let (other, another) = all.begin("x", Lang::En, NOW);
        assert!(all.end(&cookie, another.state(), NOW).is_none(), "the state of another");
        assert!(all.end(&other, begun.state(), NOW).is_none(), "the browser of another");
        assert!(all.end("", begun.state(), NOW).is_none() && all.end(&cookie, "", NOW).is_none());
        let ended = all.end(&cookie, begun.state(), NOW).unwrap();
        assert_eq!((ended.nonce, ended.lang), (begun.nonce.clone(), Lang::Nl));
        assert!(all.end(&cookie, begun.state(), NOW).is_none(), "twice");
        assert!(all.end(&other, another.state(), NOW.plus(LASTS)).is_none(), "too late");
        let (cookie, begun) = all.begin("x", Lang::Nl, NOW);
        assert!(all.end(&cookie, begun.state(), NOW.minus(Span(1))).is_none(), "a clock that was set back");
    }

    #[test]
    fn nothing_about_one_says_anything_about_another_and_there_are_so_many() {
        let all = UnderWay::default();
        let (first, begun) = all.begin("x", Lang::Nl, NOW);
        let texts = [&*first, &begun.state, &begun.nonce, &*begun.verifier];
        assert!(
            texts.iter().all(|one| one.len() == 43 && texts.iter().filter(|two| one == *two).count() == 1)
        );
        for nth in 1..=MOST {
            all.begin("x", Lang::Nl, NOW.plus(Span(u64::try_from(nth).unwrap())));
        }
        assert_eq!(all.all().len(), MOST);
        assert!(all.end(&first, begun.state(), NOW.plus(Span::minutes(1))).is_none(), "the oldest went");
    }

    #[test]
    fn the_challenge_is_that_of_rfc_7636() {
        // Appendix B.
        let verifier = Zeroizing::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        let begun = Begun { verifier, ..UnderWay::default().begin("x", Lang::Nl, NOW).1 };
        assert_eq!(begun.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
