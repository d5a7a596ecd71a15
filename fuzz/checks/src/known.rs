//! The keys and names the checks know. They protect nothing: seeds are public by being here.

use std::sync::LazyLock;

use seinhuis_shared::ids::Oin;
use seinhuis_shared::receipt::LogKey;
use seinhuis_shared::signing::SigningKey;
use seinhuis_shared::tlog::note::VerifierKey;

/// The origin of the exchange log.
pub const ORIGIN: &str = "broker.example/uitwisseling/2026";

/// 2026-03-01T12:00:00Z in milliseconds.
pub const NOON: u64 = 1_772_366_400_000;

/// The organisation whose keys are known.
#[expect(clippy::expect_used, reason = "a constant")]
pub fn oin() -> Oin {
    "00000099000000001000".parse().expect("an OIN")
}

/// That organisation's signing key.
pub fn signer() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

/// The key that signs checkpoints.
pub fn log_signer() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[9; 32])
}

/// The exchange log.
pub fn log() -> &'static LogKey {
    #[expect(clippy::expect_used, reason = "a constant")]
    static LOG: LazyLock<LogKey> = LazyLock::new(|| LogKey {
        origin: ORIGIN.into(),
        key: VerifierKey::new(ORIGIN, log_signer().verifying_key()).expect("a name and a key"),
    });
    &LOG
}
