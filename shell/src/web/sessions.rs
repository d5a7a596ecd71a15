//! Who is signed in: in memory alone, so that a restart of the program signs everybody out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use seinhuis_shared::ids::Digest;
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use zeroize::Zeroizing;

use crate::keys;

/// How long a session lasts without a request.
pub const IDLE: Span = Span::minutes(15);
/// How long a session lasts at most: a working day.
const DAY: Span = Span::hours(8);
/// How far back the clock may go without ending a session. Requests that come at one time read it before they wait for each
/// other, so that the later one may have been seen already.
const BACK: Span = Span::minutes(1);
/// Most sessions of one person; the oldest ends when one more begins.
const EACH_MAX: usize = 4;
/// Most form keys of a session that are remembered as used.
const USED_MAX: usize = 64;
/// Most wrong codes in a minute that get an answer of their own.
const WRONG_MAX: u32 = 10;
/// In what time they are counted.
const WRONG_WINDOW: Duration = Duration::from_mins(1);

/// A person who is signed in, with what has to be known of one besides.
#[derive(Debug, Clone)]
pub struct Session<T = ()> {
    /// The id of whoever it is: of an access code, of an account, or of somebody whom others know.
    pub person: String,
    /// What is known of the person for as long as the session lasts.
    pub known: T,
    /// What every form of this session brings back.
    pub token: String,
    /// The language that was chosen.
    pub lang: Lang,
    begun: Timestamp,
    seen: Timestamp,
    /// Keys of forms that were carried out.
    used: VecDeque<String>,
}

impl<T> Session<T> {
    /// Whether it still lasts. A clock that was set back further than a little ends it.
    fn lasts(&self, now: Timestamp) -> bool {
        let within = |from: Timestamp, most: Span| from <= now.plus(BACK) && now < from.plus(most);
        within(self.begun, DAY) && within(self.seen, IDLE)
    }
}

/// The sessions, by the SHA-256 of what is in the cookie.
#[derive(Debug, Clone)]
pub struct Sessions<T = ()>(Arc<Mutex<BTreeMap<Digest, Session<T>>>>);

/// Nobody is signed in.
impl<T> Default for Sessions<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl Sessions {
    /// Begins a session for the person with this id; what goes into the cookie.
    pub fn begin(&self, person: &str, lang: Lang, now: Timestamp) -> Zeroizing<String> {
        self.begin_with(person, (), lang, now)
    }
}

impl<T: Clone> Sessions<T> {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Digest, Session<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Sessions::begin`], with what is known of the person.
    pub fn begin_with(&self, person: &str, known: T, lang: Lang, now: Timestamp) -> Zeroizing<String> {
        let cookie = Zeroizing::new(BASE64URL_NOPAD.encode(&*Zeroizing::new(keys::random::<32>())));
        let token = BASE64URL_NOPAD.encode(&keys::random::<32>());
        let mut all = self.all();
        all.retain(|_, session| session.lasts(now));
        while all.values().filter(|session| session.person == person).count() >= EACH_MAX {
            let own = all.iter().filter(|(_, session)| session.person == person);
            let Some(oldest) = own.min_by_key(|(_, session)| session.seen).map(|(key, _)| *key) else {
                break;
            };
            all.remove(&oldest);
        }
        let person = person.to_owned();
        let session = Session { person, known, token, lang, begun: now, seen: now, used: VecDeque::new() };
        all.insert(sha256(cookie.as_bytes()), session);
        cookie
    }

    /// The session of a cookie, if it lasts.
    pub fn find(&self, cookie: &str, now: Timestamp) -> Option<Session<T>> {
        let key = sha256(cookie.as_bytes());
        let mut all = self.all();
        let session = all.get_mut(&key)?;
        if !session.lasts(now) {
            all.remove(&key);
            return None;
        }
        Some(session.clone())
    }

    /// Its person did something in it now.
    pub fn saw(&self, cookie: &str, now: Timestamp) {
        if let Some(session) = self.all().get_mut(&sha256(cookie.as_bytes())) {
            session.seen = now;
        }
    }

    /// Ends it.
    pub fn end(&self, cookie: &str) {
        self.all().remove(&sha256(cookie.as_bytes()));
    }

    /// Chooses the language of it.
    pub fn speak(&self, cookie: &str, lang: Lang) {
        if let Some(session) = self.all().get_mut(&sha256(cookie.as_bytes())) {
            session.lang = lang;
        }
    }

    /// Whether the form with this key comes for the first time in this session: a double click does a thing once.
    pub fn first(&self, cookie: &str, key: &str) -> bool {
        let mut all = self.all();
        let Some(session) = all.get_mut(&sha256(cookie.as_bytes())) else { return false };
        if session.used.iter().any(|used| used == key) {
            return false;
        }
        session.used.push_back(key.to_owned());
        if session.used.len() > USED_MAX {
            session.used.pop_front();
        }
        true
    }

    /// The form with this key did not come about: it counts as not sent.
    pub fn forget(&self, cookie: &str, key: &str) {
        if let Some(session) = self.all().get_mut(&sha256(cookie.as_bytes())) {
            session.used.retain(|used| used != key);
        }
    }
}

/// Codes that were wrong, counted for all who come.
#[derive(Debug, Clone, Default)]
pub struct Wrong(Arc<Mutex<Option<(Instant, u32)>>>);

impl Wrong {
    /// Counts one more; whether these are still few.
    pub fn is_bearable(&self) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = match *counted {
            Some((since, count)) if since.elapsed() < WRONG_WINDOW => (since, count.saturating_add(1)),
            _ => (Instant::now(), 1),
        };
        *counted = Some((since, count));
        count <= WRONG_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn a_session_ends_by_idleness_by_the_day_by_sign_out_and_by_a_clock_set_back() {
        let sessions = Sessions::default();
        let cookie = sessions.begin("a", Lang::Nl, NOW);
        let almost = NOW.plus(Span(IDLE.0 - 1));
        assert_eq!(sessions.find(&cookie, almost).unwrap().person, "a");
        sessions.saw(&cookie, almost);
        assert!(sessions.find(&cookie, NOW.plus(Span(2 * IDLE.0 - 2))).is_some(), "a request lengthens it");
        assert!(sessions.find(&cookie, NOW.plus(Span(3 * IDLE.0))).is_none());
        assert!(sessions.find(&cookie, NOW).is_none(), "it does not come back");

        let cookie = sessions.begin("a", Lang::Nl, NOW);
        let mut at = NOW;
        while at.0 + 60_000 < NOW.plus(DAY).0 {
            at = at.plus(Span::minutes(1));
            assert!(sessions.find(&cookie, at).is_some());
            sessions.saw(&cookie, at);
        }
        assert!(sessions.find(&cookie, NOW.plus(DAY)).is_none());

        let cookie = sessions.begin("a", Lang::Nl, NOW);
        assert!(sessions.find(&cookie, NOW.minus(BACK)).is_some(), "another request was a little faster");
        assert!(sessions.find(&cookie, Timestamp(NOW.minus(BACK).0 - 1)).is_none());
        let cookie = sessions.begin("a", Lang::Nl, NOW);
        sessions.end(&cookie);
        assert!(sessions.find(&cookie, NOW).is_none() && sessions.find("", NOW).is_none());
    }

    #[test]
    fn a_person_has_a_few_sessions_and_each_its_own_token() {
        let sessions = Sessions::default();
        let all: Vec<_> = (0..6).map(|nth| sessions.begin("a", Lang::Nl, NOW.plus(Span(nth)))).collect();
        let now = NOW.plus(Span(10));
        let other = sessions.begin("b", Lang::En, now);
        let left: Vec<_> = all.iter().filter_map(|cookie| sessions.find(cookie, now)).collect();
        assert_eq!(left.len(), EACH_MAX);
        assert!(sessions.find(&all[0], now).is_none() && sessions.find(&all[5], now).is_some());
        assert!(left.iter().all(|one| left.iter().filter(|two| two.token == one.token).count() == 1));
        assert_eq!(sessions.find(&other, now).unwrap().lang, Lang::En);
        sessions.speak(&other, Lang::Nl);
        assert_eq!(sessions.find(&other, now).unwrap().lang, Lang::Nl);
    }

    #[test]
    fn what_is_known_of_a_person_lasts_as_long_as_the_session() {
        let sessions = Sessions::default();
        let (one, two) =
            (sessions.begin_with("a", "x", Lang::Nl, NOW), sessions.begin_with("a", "y", Lang::Nl, NOW));
        let known = |cookie| sessions.find(cookie, NOW).map(|session| session.known);
        assert_eq!((known(&one), known(&two)), (Some("x"), Some("y")));
        assert!(sessions.find(&one, NOW.plus(IDLE)).is_none());
    }

    #[test]
    fn a_form_counts_once_in_its_session() {
        let sessions = Sessions::default();
        let (one, two) = (sessions.begin("a", Lang::Nl, NOW), sessions.begin("b", Lang::Nl, NOW));
        assert!(sessions.first(&one, "k") && !sessions.first(&one, "k") && sessions.first(&two, "k"));
        assert!(!sessions.first("", "k"), "without a session nothing is done");
        sessions.forget(&two, "k");
        assert!(
            !sessions.first(&one, "k") && sessions.first(&two, "k"),
            "what did not come about is sent again"
        );
    }

    #[test]
    fn many_wrong_codes_are_too_many() {
        let wrong = Wrong::default();
        assert!((0..WRONG_MAX).all(|_| wrong.is_bearable()));
        assert!(!wrong.is_bearable());
    }
}
