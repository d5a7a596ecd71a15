//! What the core may use of the world, lent to it for the length of one call.

use seinhuis_shared::ids::Digest;
use seinhuis_shared::packet::{Hpke, HpkeError};
use seinhuis_shared::prekey::{PrekeyPublic, PrekeySecret};
use seinhuis_shared::signing::SigningKey;
use zeroize::Zeroizing;

/// HPKE, and fresh keys for it.
pub trait Crypto: Hpke {
    /// Makes a fresh prekey.
    ///
    /// # Errors
    /// [`HpkeError`] when the system gives no randomness.
    fn generate(&self) -> Result<(PrekeySecret, PrekeyPublic), HpkeError>;
}

/// Random bytes.
pub trait Chance {
    /// Fills `bytes` with fresh random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// Encryption of what is secret at rest, bound to the row it stands in.
pub trait Locker {
    /// Encrypts the value of a row; `None` when the cipher fails. What is not locked is not kept, so nobody
    /// may be told that it is.
    fn lock(&self, table: u8, key: &[u8], plain: &[u8]) -> Option<Vec<u8>>;

    /// Decrypts the value of a row; `None` when it was changed, moved or locked with another key.
    fn unlock(&self, table: u8, key: &[u8], locked: &[u8]) -> Option<Zeroizing<Vec<u8>>>;

    /// A keyed fingerprint: equal for equal bytes, and nothing can be guessed from it without the key.
    fn fingerprint(&self, bytes: &[u8]) -> Digest;
}

/// Names for data subjects that only this organisation can make again.
pub trait Pseudonyms {
    /// The pseudonym of what these bytes name: equal for equal bytes, and nothing can be guessed from it without
    /// the key.
    fn pseudonym(&self, bytes: &[u8]) -> Digest;
}

/// How processings are recorded for this organisation's own log of them.
#[derive(Clone, Copy)]
pub struct Recording<'a> {
    /// Names for data subjects.
    pub pseudonyms: &'a dyn Pseudonyms,
    /// Most records that wait to be told to the log.
    pub most: usize,
    /// Whether nothing is processed that cannot be recorded.
    pub required: bool,
}

impl core::fmt::Debug for Recording<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Recording({}, {})", self.most, self.required)
    }
}

/// Everything lent for one call.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// HPKE.
    pub crypto: &'a dyn Crypto,
    /// Randomness.
    pub chance: &'a dyn Chance,
    /// Encryption at rest.
    pub locker: &'a dyn Locker,
    /// This organisation's signing key.
    pub signer: &'a SigningKey,
    /// The key that is to take its place, or has and is not in its place yet.
    pub next: Option<&'a SigningKey>,
    /// How processings are recorded, if they are.
    pub recording: Option<Recording<'a>>,
    /// The key with which this agent cosigns the exchange log, never anything else; none if it does not.
    pub witness: Option<&'a SigningKey>,
}

impl Ports<'_> {
    /// `N` fresh random bytes.
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.chance.fill(&mut bytes);
        bytes
    }
}

impl core::fmt::Debug for Ports<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Ports(..)")
    }
}
