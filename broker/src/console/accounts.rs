//! Accounts of the people who operate the broker: a name, a role, and a password with a code that changes each half minute,
//! or a certificate in their place.
//!
//! The file holds what is needed to check them: for the password Argon2id (RFC 9106), for the code the secret it is made
//! of (TOTP, RFC 6238), which is why nobody else may read it. It is looked at for each request, so that an account that is
//! taken away ends at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use seinhuis_shared::ids::Digest;
use seinhuis_shared::signing::sha256;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::keys;
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};
use totp_rs::{Builder, Totp};
use zeroize::Zeroizing;

/// Most bytes of the file.
const FILE_MAX: usize = 1 << 20;
/// Most characters of a name.
pub(crate) const NAME_MAX: usize = 64;
/// Most characters of a password that is looked at.
pub(crate) const PASSWORD_MAX: usize = 128;
/// Random bytes of a password that is made here: 120 bits, in 24 characters.
const PASSWORD_BYTES: usize = 15;
/// How long a code for one sign-in counts.
const ONCE: Span = Span::minutes(10);
/// Wrong passwords or codes in a row after which an account waits.
const WRONG_MAX: u32 = 5;
/// How long it waits.
const LOCKED: Span = Span::minutes(15);
/// Memory in KiB, passes and lanes of Argon2id: the second recommendation of RFC 9106 is more than a sign-in needs whose
/// passwords are random; these are enough for those that people choose.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// What somebody is here for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Keeps the broker going: everything.
    Operator,
    /// Reads everything and exports.
    Auditor,
    /// Reads everything, and lets partners in and out.
    PartnerManager,
    /// Reads.
    Viewer,
}

impl Role {
    /// Every role.
    pub(crate) const ALL: [Self; 4] = [Self::Operator, Self::Auditor, Self::PartnerManager, Self::Viewer];

    /// The word for it in commands and files.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::PartnerManager => "partner-manager",
            Self::Viewer => "viewer",
        }
    }

    /// What people call it.
    pub(crate) const fn called(self) -> (&'static str, &'static str) {
        match self {
            Self::Operator => ("beheerder", "operator"),
            Self::Auditor => ("auditor", "auditor"),
            Self::PartnerManager => ("relatiebeheerder", "partner manager"),
            Self::Viewer => ("lezer", "viewer"),
        }
    }

    /// Whether somebody in this role may do this.
    pub(crate) const fn may(self, right: Right) -> bool {
        match right {
            Right::Partners => matches!(self, Self::Operator | Self::PartnerManager),
            Right::Export => matches!(self, Self::Operator | Self::Auditor),
            Right::Flows => matches!(self, Self::Operator),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no role: {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// What is done on the console, besides reading, and not by everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Take a partner's access away, suspend it and resume it.
    Partners,
    /// Suspend flows and resume them.
    Flows,
    /// Have part of the log exported.
    Export,
}

/// An account, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) made: String,
    salt: String,
    /// Of the password, by Argon2id; empty where a certificate counts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    password: String,
    /// What the changing code is made of; empty where a certificate counts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    secret: String,
    /// SHA-256 of the certificate that counts in the place of password and code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// SHA-256 of a code for one sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    once: Option<String>,
    /// Until when that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    once_until: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    accounts: Vec<Account>,
}

/// What a new account is used with; shown once.
#[derive(Debug)]
pub(crate) struct Secrets {
    pub(crate) password: Zeroizing<String>,
    /// For an authenticator app, in base 32.
    pub(crate) secret: Zeroizing<String>,
    /// The same as such an app reads it from a picture.
    pub(crate) uri: Zeroizing<String>,
}

/// What somebody gives to sign in.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    pub(crate) name: &'a str,
    /// The password, or a code for one sign-in.
    pub(crate) password: &'a str,
    /// The changing code; empty with a code for one sign-in.
    pub(crate) code: &'a str,
    /// Whether a code for one sign-in is all that counts: accounts are for when the provider is away.
    pub(crate) once_alone: bool,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SignIn {
    /// That is who it is.
    In(Signed),
    /// Something is not right; what, nobody is told.
    Wrong,
    /// Too often wrong: it is not even looked at, until then.
    Locked(Timestamp),
}

/// An account that somebody signed in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    /// Its name, as the account has it.
    pub(crate) name: String,
    /// Its role.
    pub(crate) role: Role,
    /// What is another once its secrets are, or when another account has its name.
    pub(crate) mark: String,
}

impl Account {
    fn signed(&self) -> Signed {
        Signed { name: self.name.clone(), role: self.role, mark: self.salt.clone() }
    }
}

/// How often in a row a code was wrong, and the last step whose code was used, by the salt of the account.
#[derive(Debug, Default)]
struct Tries {
    wrong: BTreeMap<String, (u32, Timestamp)>,
    used: BTreeMap<String, u64>,
}

/// The accounts.
#[derive(Debug, Clone)]
pub(crate) struct Accounts {
    path: PathBuf,
    tries: Arc<Mutex<Tries>>,
}

impl Accounts {
    /// Those in the file at `path`, which need not be there.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), tries: Arc::default() }
    }

    /// Every account.
    ///
    /// # Errors
    /// A sentence when the file cannot be read.
    pub(crate) fn all(&self) -> Result<Vec<Account>, Complaint> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let bytes = Zeroizing::new(files::read_private(&self.path, FILE_MAX)?);
        let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| {
            Complaint::usage(
                Text::new(
                    format!("{} is onbruikbaar: {error}.", self.path.display()),
                    format!("{} cannot be used: {error}.", self.path.display()),
                ),
                Text::new(
                    "Zet het bestand opzij en maak de accounts opnieuw: seinhuis-broker operator add.",
                    "Move the file aside and make the accounts again: seinhuis-broker operator add.",
                ),
            )
        })?;
        Ok(kept.accounts)
    }

    fn keep(&self, accounts: Vec<Account>) -> Result<(), Complaint> {
        let text = serde_json::to_vec_pretty(&Kept { accounts })
            .map(Zeroizing::new)
            .map_err(|error| Complaint::bug(error.to_string()))?;
        files::write_private(&self.path, &text, Existing::Replace)
    }

    /// The role of the account of this name, if it is the one that somebody signed in with.
    pub(crate) fn still(&self, name: &str, mark: &str) -> Option<Role> {
        self.all().ok()?.into_iter().find(|one| one.name == name && one.salt == mark).map(|one| one.role)
    }

    /// Makes an account, or gives one that is there new secrets and this role.
    ///
    /// # Errors
    /// A sentence: a name that will not do, one that is there already, or one that is not.
    pub(crate) fn set(&self, name: &str, role: Option<Role>, now: Timestamp) -> Result<Secrets, Complaint> {
        let (secrets, account) = fresh(name, now)?;
        self.put(account, role)?;
        Ok(secrets)
    }

    /// The same, for an account that signs in with a certificate, of which this is the SHA-256, and nothing else.
    ///
    /// # Errors
    /// As [`Accounts::set`], and when it is the certificate of somebody else.
    pub(crate) fn set_certificate(
        &self,
        name: &str,
        role: Option<Role>,
        certificate: Digest,
        now: Timestamp,
    ) -> Result<(), Complaint> {
        self.put(Account { certificate: Some(certificate.to_string()), ..blank(name, now) }, role)
    }

    /// Makes an account with this role, or puts it in the place of the one of its name.
    fn put(&self, account: Account, role: Option<Role>) -> Result<(), Complaint> {
        check_name(&account.name)?;
        let _alone = files::alone(&self.path)?;
        let (own, mut all): (Vec<_>, Vec<_>) =
            self.all()?.into_iter().partition(|one| is_same_name(&one.name, &account.name));
        let account = match (role, own.into_iter().next()) {
            (Some(role), None) => Account { role, ..account },
            (None, Some(own)) => Account { name: own.name, role: own.role, ..account },
            (Some(_), Some(_)) => return Err(there_already(&account.name)),
            (None, None) => return Err(absent(&account.name)),
        };
        if account.certificate.is_some()
            && let Some(other) = all.iter().find(|one| one.certificate == account.certificate)
        {
            return Err(taken(&other.name));
        }
        all.push(account);
        self.keep(all)
    }

    /// The account of which this is the SHA-256 of the certificate.
    ///
    /// # Errors
    /// A sentence when the file cannot be read.
    pub(crate) fn of_certificate(&self, certificate: &Digest) -> Result<Option<Signed>, Complaint> {
        let (all, wanted) = (self.all()?, certificate.to_string());
        Ok(all.iter().find(|one| one.certificate.as_ref() == Some(&wanted)).map(Account::signed))
    }

    /// Takes an account away: whoever is signed in with it is signed out.
    ///
    /// # Errors
    /// A sentence when there is none of this name.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Complaint> {
        let _alone = files::alone(&self.path)?;
        let (gone, kept): (Vec<_>, Vec<_>) =
            self.all()?.into_iter().partition(|one| is_same_name(&one.name, name));
        if gone.is_empty() { Err(absent(name)) } else { self.keep(kept) }
    }

    /// Makes a code with which this account signs in once, within minutes, without anything else: for whoever has the
    /// broker's own folder and can do everything already.
    ///
    /// # Errors
    /// A sentence when there is no account of this name.
    pub(crate) fn once(&self, name: &str, now: Timestamp) -> Result<Zeroizing<String>, Complaint> {
        let code = Zeroizing::new(BASE64URL_NOPAD.encode(&*Zeroizing::new(keys::random::<24>())));
        let _alone = files::alone(&self.path)?;
        let mut all = self.all()?;
        let own = all.iter_mut().find(|one| is_same_name(&one.name, name)).ok_or_else(|| absent(name))?;
        own.once = Some(sha256(code.as_bytes()).to_string());
        own.once_until = Some(now.plus(ONCE).to_string());
        self.keep(all)?;
        Ok(code)
    }

    fn tries(&self) -> MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether what is given is right. Takes as long for a name that is not there.
    ///
    /// # Errors
    /// A sentence when the file cannot be read or written.
    pub(crate) fn sign_in(&self, given: &Given<'_>, now: Timestamp) -> Result<SignIn, Complaint> {
        let all = self.all()?;
        let known = all.iter().find(|one| is_same_name(&one.name, given.name));
        // Before anything that somebody else could have brought about: it is how to get in when nothing else works.
        if let Some(account) = known
            && self.uses_once(account, given.password, now)?
        {
            return Ok(SignIn::In(account.signed()));
        }
        let nobody = nobody();
        let account = known.unwrap_or(&nobody);
        let password = password_hash(given.password, &account.salt)?;
        let right: Option<Digest> = account.password.parse().ok();
        let is_password = right.is_some_and(|right| right.is_same_secret(&password));
        let step = step(account, given.code, now);
        let (Some(account), true, false) = (known, is_password, given.once_alone) else {
            return Ok(SignIn::Wrong);
        };
        // Codes alone can be guessed, and only by who has the password: so nobody else makes an account wait. By its salt,
        // which is another after a reset.
        if let Some(until) = self.locked(&account.salt, now) {
            return Ok(SignIn::Locked(until));
        }
        let mut tries = self.tries();
        // Looked at and used under one lock, so that a code counts once also when it is given twice at a time.
        if let Some(step) = step.filter(|step| tries.used.get(&account.salt).is_none_or(|used| used < step)) {
            tries.used.insert(account.salt.clone(), step);
            tries.wrong.remove(&account.salt);
            return Ok(SignIn::In(account.signed()));
        }
        let count = tries.wrong.get(&account.salt).map_or(0, |(count, _)| *count);
        tries.wrong.insert(account.salt.clone(), (count.saturating_add(1), now));
        Ok(SignIn::Wrong)
    }

    /// Until when an account is not looked at.
    fn locked(&self, salt: &str, now: Timestamp) -> Option<Timestamp> {
        let mut tries = self.tries();
        let (count, last) = tries.wrong.get(salt).copied()?;
        let until = last.plus(LOCKED);
        // A clock that was set back locks nobody out for longer.
        if last > now || until <= now {
            tries.wrong.remove(salt);
            return None;
        }
        (count >= WRONG_MAX).then_some(until)
    }

    /// Whether this is the code for one sign-in; it counts no more after that.
    fn uses_once(&self, account: &Account, text: &str, now: Timestamp) -> Result<bool, Complaint> {
        let given = sha256(text.as_bytes());
        let is = |one: &Account| {
            let until = one.once_until.as_deref().and_then(Timestamp::parse);
            let right = one.once.as_deref().and_then(|text| text.parse::<Digest>().ok());
            until.is_some_and(|until| now < until && until <= now.plus(ONCE))
                && right.is_some_and(|right| right.is_same_secret(&given))
        };
        if !is(account) {
            return Ok(false);
        }
        let _alone = files::alone(&self.path)?;
        let mut all = self.all()?;
        // Somebody else may have used it since.
        let Some(own) = all.iter_mut().find(|one| one.name == account.name && is(one)) else {
            return Ok(false);
        };
        (own.once, own.once_until) = (None, None);
        self.keep(all)?;
        Ok(true)
    }
}

/// The step whose code this is, if it is one of about now.
fn step(account: &Account, code: &str, now: Timestamp) -> Option<u64> {
    totp(&account.secret)?.check(code, now.0 / 1000)
}

/// What makes the changing codes of a secret in base 32.
fn totp(secret: &str) -> Option<Totp> {
    let bytes = BASE32_NOPAD.decode(secret.as_bytes()).ok()?;
    Builder::new().with_secret(bytes).build().ok()
}

fn password_hash(password: &str, salt: &str) -> Result<Digest, Complaint> {
    let failed = |error: argon2::Error| Complaint::bug(format!("Argon2id: {error}"));
    let params = Params::new(COST.0, COST.1, COST.2, Some(32)).map_err(failed)?;
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt.as_bytes(), &mut hash)
        .map_err(failed)?;
    Ok(Digest(hash))
}

/// What a name that is not there is held against.
fn nobody() -> Account {
    Account { secret: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into(), ..blank("", Timestamp::default()) }
}

/// An account that nobody signs in with.
fn blank(name: &str, now: Timestamp) -> Account {
    Account {
        name: name.to_owned(),
        role: Role::Viewer,
        made: now.to_string(),
        salt: BASE64URL_NOPAD.encode(&keys::random::<16>()),
        password: String::new(),
        secret: String::new(),
        certificate: None,
        once: None,
        once_until: None,
    }
}

fn fresh(name: &str, now: Timestamp) -> Result<(Secrets, Account), Complaint> {
    let password = Zeroizing::new(BASE32_NOPAD.encode(&*Zeroizing::new(keys::random::<PASSWORD_BYTES>())));
    let secret = Zeroizing::new(BASE32_NOPAD.encode(&*Zeroizing::new(keys::random::<20>())));
    let plain: String =
        form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20");
    let uri = format!("otpauth://totp/Seinhuis:{plain}?secret={}&issuer=Seinhuis", *secret);
    let mut account = Account { secret: secret.to_string(), ..blank(name, now) };
    account.password = password_hash(&password, &account.salt)?.to_string();
    Ok((Secrets { password, secret, uri: Zeroizing::new(uri) }, account))
}

/// Whether two names are of the same person, however they are written in capitals.
fn is_same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn check_name(name: &str) -> Result<(), Complaint> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '.' | '-' | '_' | '\'');
    if name.trim() == name && (1..=NAME_MAX).contains(&name.chars().count()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(Complaint::usage(
        Text::new(format!("{name:?} kan geen naam zijn."), format!("{name:?} cannot be a name.")),
        Text::new(
            format!("Letters, cijfers, spatie . - _ ' en hoogstens {NAME_MAX} tekens."),
            format!("Letters, digits, space . - _ ' and at most {NAME_MAX} characters."),
        ),
    ))
}

fn there_already(name: &str) -> Complaint {
    Complaint::refused(
        Text::new(format!("{name} heeft al een account."), format!("{name} has an account already.")),
        Text::new(
            "Nieuwe geheimen: seinhuis-broker operator reset. Andere rol: remove, dan add.",
            "New secrets: seinhuis-broker operator reset. Another role: remove, then add.",
        ),
    )
}

fn taken(name: &str) -> Complaint {
    Complaint::refused(
        Text::new(
            format!("Dit certificaat is al van het account van {name}."),
            format!("This certificate is that of the account of {name} already."),
        ),
        Text::new(
            "Een certificaat is van één account. Neem dat van de persoon zelf, of verwijder het andere account eerst.",
            "A certificate is of one account. Take that of the person, or remove the other account first.",
        ),
    )
}

fn absent(name: &str) -> Complaint {
    Complaint::refused(
        Text::new(format!("{name} heeft geen account."), format!("{name} has no account.")),
        Text::new(
            "Kijk in de lijst: seinhuis-broker operator list.",
            "See the list: seinhuis-broker operator list.",
        ),
    )
}

#[cfg(test)]
mod tests;
