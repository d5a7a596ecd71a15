//! The provider as the console knows it, and what is asked of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use form_urlencoded::{Serializer, byte_serialize};
use jsonwebtoken::jwk::Jwk;
use seinhuis_shared::refusal::Lang;
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files;
use seinhuis_shell::http::{self, Answer, Http, HttpError};
use seinhuis_shell::lang::Text;
use serde::Deserialize;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::token::{self, Claims, Expected, Wrong};
use super::under_way::{Begun, UnderWay};
use super::{Person, Settings};
use crate::console::accounts::{NAME_MAX, Role};

/// Most bytes of an answer of the provider.
const ANSWER_MAX: usize = 256 * 1024;
/// How long the provider has for an answer. A sign-in asks for four at most.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long is believed what the provider says of itself.
const FRESH: Duration = Duration::from_mins(10);
/// Most sign-ins for which the provider is asked at a time.
const ASKED: usize = 8;
/// Most bytes of the file with the secret.
const SECRET_MAX: usize = 4096;
/// What is asked to know: who it is, what people call them. No token is asked for that lasts.
const SCOPE: &str = "openid profile email";

/// Why a sign-in came to nothing. None of it has anything of a token, a code or a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::console) enum Failed {
    /// It did not begin in this browser, or too long ago, or it came to something already.
    #[error("it did not begin in this browser, or is over")]
    NotBegun,
    /// More of them at a time than are asked for.
    #[error("too many at a time")]
    Busy,
    /// No answer, or one that cannot be used.
    #[error("the provider gave nothing that can be used: {0}")]
    Away(String),
    /// The provider says no: to the person, or to this console.
    #[error("the provider refused it: {0}")]
    Refused(String),
    /// What it signed is not what it had to sign.
    #[error("the ID token cannot be used: {0}")]
    Token(#[from] Wrong),
    /// The person has no role here.
    #[error("none of the person's claims gives a role")]
    NoRole,
}

impl From<HttpError> for Failed {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::NoAnswer { host, why } => Self::Away(format!("no answer from {host}: {why}")),
            HttpError::BadAddress(_) | HttpError::TooLong { .. } => Self::Away(error.to_string()),
        }
    }
}

/// What the provider says of itself (OpenID Connect Discovery 1.0, section 3), as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    /// How a client shows its secret; by HTTP Basic when it is not said.
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether it says who leads a browser back (RFC 9207, section 3).
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What is known of it, and since when.
#[derive(Default)]
struct Known {
    document: Option<(Arc<Document>, Instant)>,
    keys: Option<(Arc<Vec<Jwk>>, Instant)>,
}

/// What still counts of something that was heard.
fn fresh<T: Clone>(heard: Option<&(T, Instant)>) -> Option<T> {
    heard.filter(|(_, at)| at.elapsed() < FRESH).map(|(what, _)| what.clone())
}

/// What the address that leads a browser back brings.
#[derive(Debug, Clone, Default)]
pub(super) struct Brought {
    pub(super) state: String,
    pub(super) code: Zeroizing<String>,
    pub(super) error: String,
    pub(super) iss: String,
}

/// The provider; cheap to clone.
#[derive(Clone)]
pub(in crate::console) struct Provider(Arc<Inner>);

struct Inner {
    settings: Settings,
    secret: Option<Zeroizing<String>>,
    host: String,
    http: Http,
    known: Mutex<Known>,
    asked: Semaphore,
    under_way: UnderWay,
}

/// Says nothing of the secret.
impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.0.settings.issuer).finish_non_exhaustive()
    }
}

impl Provider {
    /// The one of the settings, if there is one. Nothing is asked of it yet.
    ///
    /// # Errors
    /// A sentence naming the file with the secret or the authorities.
    pub(in crate::console) fn open(dir: &Path, settings: &Settings) -> Result<Option<Self>, Complaint> {
        if !settings.is_on() {
            return Ok(None);
        }
        let place = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| dir.join(path));
        let secret = place(&settings.secret_file).map(|path| secret(&path)).transpose()?;
        let http = Http::new(place(&settings.authorities).as_deref())?;
        Ok(Some(Self(Arc::new(Inner {
            settings: settings.clone(),
            secret,
            host: http::host(&settings.issuer).unwrap_or_default(),
            http,
            known: Mutex::default(),
            asked: Semaphore::new(ASKED),
            under_way: UnderWay::default(),
        }))))
    }

    /// Where it is, as people are told.
    pub(in crate::console) fn host(&self) -> &str {
        &self.0.host
    }

    /// Begins a sign-in: the address at the provider that a browser is led to, and what goes into its cookie. The provider
    /// is to lead it to `back`.
    ///
    /// # Errors
    /// [`Failed`].
    pub(super) async fn begin(
        &self,
        back: &str,
        lang: Lang,
        now: Timestamp,
    ) -> Result<(String, Zeroizing<String>), Failed> {
        let _place = self.0.asked.try_acquire().map_err(|_| Failed::Busy)?;
        let document = self.document().await?;
        let (cookie, begun) = self.0.under_way.begin(back, lang, now);
        let query = Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.0.settings.client_id)
            .append_pair("redirect_uri", back)
            .append_pair("scope", SCOPE)
            .append_pair("state", begun.state())
            .append_pair("nonce", &begun.nonce)
            .append_pair("code_challenge", &begun.challenge())
            .append_pair("code_challenge_method", "S256")
            .append_pair("ui_locales", lang.pick("nl", "en"))
            .finish();
        let endpoint = &document.authorization_endpoint;
        let sign = if endpoint.contains('?') { '&' } else { '?' };
        Ok((format!("{endpoint}{sign}{query}"), cookie))
    }

    /// Ends a sign-in, once: who it is, and in which language it began.
    ///
    /// # Errors
    /// [`Failed`].
    pub(super) async fn end(
        &self,
        cookie: &str,
        brought: &Brought,
        now: Timestamp,
    ) -> Result<(Person, Lang), Failed> {
        let _place = self.0.asked.try_acquire().map_err(|_| Failed::Busy)?;
        let begun = self.0.under_way.end(cookie, &brought.state, now).ok_or(Failed::NotBegun)?;
        let document = self.document().await?;
        let silent = brought.iss.is_empty() && !document.authorization_response_iss_parameter_supported;
        if !silent && brought.iss != self.0.settings.issuer {
            return Err(Wrong::Issuer.into());
        }
        if !brought.error.is_empty() || brought.code.is_empty() {
            return Err(Failed::Refused(code(&brought.error)));
        }
        let id_token = self.redeem(&document, &brought.code, &begun).await?;
        let claims = self.verified(&document, &id_token, &begun, now).await?;
        Ok((self.person(&claims)?, begun.lang))
    }

    /// Gives the code and gets the ID token (section 3.1.3). Whatever else comes with it is dropped.
    async fn redeem(
        &self,
        document: &Document,
        code: &str,
        begun: &Begun,
    ) -> Result<Zeroizing<String>, Failed> {
        #[derive(Deserialize)]
        struct Tokens {
            id_token: String,
        }
        let (form, basic) = self.asking(document, code, begun);
        let mut fields =
            vec![("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")];
        fields.extend(basic.as_ref().map(|basic| ("authorization", basic.as_str())));
        let body = form.as_bytes().to_vec();
        let asked = self.0.http.post_with(&document.token_endpoint, &fields, body, ANSWER_MAX, ANSWER_WAIT);
        let Answer { status, body, .. } = asked.await?;
        let body = Zeroizing::new(body);
        match status {
            200 => {
                let tokens: Tokens =
                    serde_json::from_slice(&body).map_err(|_| Failed::Away("no ID token".into()))?;
                Ok(Zeroizing::new(tokens.id_token))
            }
            400..=499 => Err(Failed::Refused(refusal(&body))),
            _ => Err(Failed::Away(format!("the token endpoint answers {status}"))),
        }
    }

    /// The form that the code is given in, and the field beside it that shows the secret, if that goes there.
    fn asking(
        &self,
        document: &Document,
        code: &str,
        begun: &Begun,
    ) -> (Zeroizing<String>, Option<Zeroizing<String>>) {
        let client = &self.0.settings.client_id;
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &begun.back)
            .append_pair("code_verifier", &begun.verifier);
        let mut basic = None;
        match &self.0.secret {
            None => {
                form.append_pair("client_id", client);
            }
            Some(secret) if is_in_form(document) => {
                form.append_pair("client_id", client).append_pair("client_secret", secret);
            }
            Some(secret) => basic = Some(basic_of(client, secret)),
        }
        (Zeroizing::new(form.finish()), basic)
    }

    /// What an ID token says. Keys come and go: for a key that is not known they are asked for anew, once.
    async fn verified(
        &self,
        document: &Document,
        id_token: &str,
        begun: &Begun,
        now: Timestamp,
    ) -> Result<Claims, Failed> {
        let settings = &self.0.settings;
        let expected = Expected {
            issuer: &settings.issuer,
            client: &settings.client_id,
            nonce: &begun.nonce,
            begun: begun.at,
        };
        let kept = fresh(self.known(|known| known.keys.clone()).as_ref());
        if let Some(keys) = kept {
            let said = token::verify(id_token, &keys, &expected, now);
            if said != Err(Wrong::Key) {
                return said.map_err(Failed::Token);
            }
        }
        let answer = self.get(&document.jwks_uri).await?;
        let keys = token::keys(&answer).map_err(|error| unreadable("keys", &error))?;
        let keys = Arc::new(keys);
        self.known(|known| known.keys = Some((Arc::clone(&keys), Instant::now())));
        token::verify(id_token, &keys, &expected, now).map_err(Failed::Token)
    }

    /// Who it is, and the first role that is given.
    fn person(&self, claims: &Claims) -> Result<Person, Failed> {
        let settings = &self.0.settings;
        let given: Vec<&str> = match claims.get(&settings.role_claim) {
            Some(serde_json::Value::Array(all)) => all.iter().filter_map(serde_json::Value::as_str).collect(),
            one => one.and_then(serde_json::Value::as_str).into_iter().collect(),
        };
        let has = |role: &Role| given.iter().any(|text| settings.roles.get(*text) == Some(role));
        let role = Role::ALL.into_iter().find(has).ok_or(Failed::NoRole)?;
        let sub = token::text(claims, "sub").unwrap_or_default();
        let names = ["preferred_username", "email"].map(|name| token::text(claims, name).map(printable));
        let name = names.into_iter().flatten().find(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| printable(sub));
        Ok(Person {
            id: format!("{}\n{sub}", settings.issuer),
            // No account has brackets in its name: nobody at the provider is taken for one.
            name: format!("{name} ({})", self.0.host),
            role,
        })
    }

    fn known<T>(&self, ask: impl FnOnce(&mut Known) -> T) -> T {
        ask(&mut self.0.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the provider says of itself.
    async fn document(&self) -> Result<Arc<Document>, Failed> {
        if let Some(document) = fresh(self.known(|known| known.document.clone()).as_ref()) {
            return Ok(document);
        }
        let issuer = &self.0.settings.issuer;
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document: Document = serde_json::from_slice(&self.get(&address).await?)
            .map_err(|error| unreadable("document", &error))?;
        if document.issuer != *issuer {
            return Err(Failed::Away("its document is of another issuer".into()));
        }
        let Document { authorization_endpoint, token_endpoint, jwks_uri, .. } = &document;
        let plain = |address: &&String| address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        for address in [authorization_endpoint, token_endpoint, jwks_uri] {
            Some(address).filter(plain).ok_or_else(|| Failed::Away("an address that cannot be".into()))?;
            Http::check(address)?;
        }
        let document = Arc::new(document);
        self.known(|known| known.document = Some((Arc::clone(&document), Instant::now())));
        Ok(document)
    }

    async fn get(&self, address: &str) -> Result<Vec<u8>, Failed> {
        let answer = self.0.http.get(address, ANSWER_MAX, ANSWER_WAIT).await?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(Failed::Away(format!("it answers {status}"))),
        }
    }
}

/// The secret in a file, without the end of its line.
fn secret(path: &Path) -> Result<Zeroizing<String>, Complaint> {
    let bytes = Zeroizing::new(files::read_private(path, SECRET_MAX)?);
    let text = std::str::from_utf8(&bytes).map(str::trim_end).unwrap_or_default();
    if text.is_empty() || text.contains(char::is_control) {
        return Err(Complaint::usage(
            Text::new(
                format!("In {} staat geen geheim van één regel.", path.display()),
                format!("There is no secret of one line in {}.", path.display()),
            ),
            Text::new(
                "Zet het geheim van de client bij de OpenID-aanbieder erin, en niets anders.",
                "Put the client's secret at the OpenID provider in it, and nothing else.",
            ),
        ));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// JSON that is another, without what is in it.
fn unreadable(what: &str, error: &serde_json::Error) -> Failed {
    Failed::Away(format!("its {what} cannot be read at line {}, column {}", error.line(), error.column()))
}

/// Whether the secret goes into the form, where the provider does not take it otherwise.
fn is_in_form(document: &Document) -> bool {
    let ways = document.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
    let has = |way: &str| ways.iter().any(|own| own == way);
    has("client_secret_post") && !has("client_secret_basic")
}

/// Name and secret of the client as RFC 6749, section 2.3.1 has them.
fn basic_of(client: &str, secret: &str) -> Zeroizing<String> {
    let escaped = |text: &str| Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
    let both = Zeroizing::new(format!("{}:{}", *escaped(client), *escaped(secret)));
    Zeroizing::new(format!("Basic {}", BASE64.encode(both.as_bytes())))
}

/// The code of a refusal by the token endpoint (RFC 6749, section 5.2).
fn refusal(body: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    struct Said {
        error: String,
    }
    code(&serde_json::from_slice::<Said>(body).unwrap_or_default().error)
}

/// A code as codes are, and nothing that somebody else wrote.
fn code(text: &str) -> String {
    let plain = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if plain && !text.is_empty() { text.to_owned() } else { "no code".to_owned() }
}

/// A name as it can stand in a line, whatever is in it.
fn printable(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '.' | '-' | '_' | '\'' | '@' | '+');
    let name: String = text.trim().chars().take(NAME_MAX).map(|c| if plain(c) { c } else { '_' }).collect();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests;
