//! Private keys in files, and the randomness they are made of.
//!
//! Three kinds, never mixed: the TLS key (ECDSA P-256, renewed with each certificate), the signing key
//! (Ed25519, pinned in covenants) and symmetric keys for data at rest. All are 0600 files, which may be
//! sealed with a passphrase ([`crate::sealing`]).

use std::fmt;
use std::path::Path;

use data_encoding::HEXLOWER;
use rcgen::KeyPair;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use seinhuis_shared::sealed_key::pem;
use seinhuis_shared::signing::SigningKey;
use zeroize::{Zeroize as _, Zeroizing};

use crate::complaint::Complaint;
use crate::files::Existing;
use crate::lang::Text;
use crate::sealing;

/// PKCS #8 version 1 around an Ed25519 seed (RFC 8410 §7), up to the 32 bytes of the seed. Version 2,
/// with the public key inside, is refused by OpenSSL 3.0.
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// `N` bytes from the operating system's generator.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        // Without randomness no key, salt or identifier is safe, and no caller has a way around that.
        eprintln!("the operating system supplies no random numbers; stopping");
        std::process::abort();
    }
    bytes
}

/// A TLS key: ECDSA on P-256.
pub struct TlsKey(KeyPair);

impl TlsKey {
    /// Draws a new key.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn generate() -> Result<Self, Complaint> {
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(|error| Complaint::bug(format!("no P-256 key: {error}")))
    }

    /// Reads PKCS #8 in PEM.
    ///
    /// # Errors
    /// `None` for anything but a P-256 key in that form.
    pub fn from_pem(pem: &str) -> Option<Self> {
        KeyPair::from_pkcs8_pem_and_sign_algo(pem, &rcgen::PKCS_ECDSA_P256_SHA256).ok().map(Self)
    }

    /// The key as PKCS #8 in PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }

    /// The key as rustls takes it.
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.serialize_der()))
    }

    /// The key pair for making and signing certificates and requests.
    pub const fn pair(&self) -> &KeyPair {
        &self.0
    }

    /// The public half as the uncompressed point (65 bytes).
    pub fn public_point(&self) -> &[u8] {
        self.0.public_key_raw()
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsKey(..)")
    }
}

/// Draws a TLS key and writes it; never over an existing file.
///
/// # Errors
/// A sentence naming the file.
pub fn generate_tls(path: &Path) -> Result<TlsKey, Complaint> {
    let key = TlsKey::generate()?;
    save_tls(path, &key, Existing::Keep)?;
    Ok(key)
}

/// Writes a TLS key: [`Existing::Replace`] puts a renewed key in place of the old one in one step.
///
/// # Errors
/// A sentence naming the file.
pub fn save_tls(path: &Path, key: &TlsKey, existing: Existing) -> Result<(), Complaint> {
    sealing::write(path, key.to_pem().as_bytes(), existing)
}

/// Reads a TLS key.
///
/// # Errors
/// A sentence naming the file: missing, readable by others, not a P-256 key.
pub fn load_tls(path: &Path) -> Result<TlsKey, Complaint> {
    let bytes = sealing::read(path)?;
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(TlsKey::from_pem)
        .ok_or_else(|| not_a_key(path, "TLS-sleutel (P-256, PKCS #8)", "TLS key (P-256, PKCS #8)"))
}

/// Draws a signing key and writes it; never over an existing file.
///
/// # Errors
/// A sentence naming the file.
pub fn generate_signing(path: &Path) -> Result<SigningKey, Complaint> {
    let seed = Zeroizing::new(random::<32>());
    sealing::write(path, signing_pem(&seed).as_bytes(), Existing::Keep)?;
    Ok(SigningKey::from_seed(&seed))
}

/// The file of the signing key with this seed (RFC 8410).
pub fn signing_pem(seed: &[u8; 32]) -> Zeroizing<String> {
    let mut der = Zeroizing::new(ED25519_PKCS8.to_vec());
    der.extend_from_slice(seed);
    Zeroizing::new(pem("PRIVATE KEY", &der))
}

/// Reads a signing key.
///
/// # Errors
/// A sentence naming the file: missing, readable by others, not an Ed25519 key.
pub fn load_signing(path: &Path) -> Result<SigningKey, Complaint> {
    let bytes = sealing::read(path)?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&bytes).ok().and_then(|der| {
        let seed = der.secret_pkcs8_der().strip_prefix(&ED25519_PKCS8)?;
        let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).ok()?);
        Some(SigningKey::from_seed(&seed))
    });
    key.ok_or_else(|| {
        not_a_key(path, "ondertekensleutel (Ed25519, PKCS #8)", "signing key (Ed25519, PKCS #8)")
    })
}

/// Draws a symmetric key of 32 bytes and writes it as hexadecimal text; never over an existing file.
///
/// # Errors
/// A sentence naming the file.
pub fn generate_symmetric(path: &Path) -> Result<Zeroizing<[u8; 32]>, Complaint> {
    let key = Zeroizing::new(random::<32>());
    let text = Zeroizing::new(format!("{}\n", HEXLOWER.encode(key.as_slice())));
    sealing::write(path, text.as_bytes(), Existing::Keep)?;
    Ok(key)
}

/// Reads a symmetric key.
///
/// # Errors
/// A sentence naming the file: missing, readable by others, not 64 hexadecimal digits.
pub fn load_symmetric(path: &Path) -> Result<Zeroizing<[u8; 32]>, Complaint> {
    let bytes = sealing::read(path)?;
    let mut decoded = HEXLOWER.decode(bytes.trim_ascii_end()).unwrap_or_default();
    let key = <[u8; 32]>::try_from(decoded.as_slice()).map(Zeroizing::new);
    decoded.zeroize();
    key.map_err(|_| not_a_key(path, "sleutel van 64 hexadecimale cijfers", "key of 64 hexadecimal digits"))
}

fn not_a_key(path: &Path, nl: &str, en: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("{} bevat geen {nl}.", path.display()),
            format!("{} does not hold a {en}.", path.display()),
        ),
        Text::new(
            "Zet de reservekopie van dit bestand terug, of maak een nieuwe sleutel en meld u opnieuw aan.",
            "Put back the backup of this file, or make a new key and enrol again.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_come_back_from_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, c) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        assert_eq!(generate_signing(&a).unwrap().public(), load_signing(&a).unwrap().public());
        assert_eq!(generate_tls(&b).unwrap().public_point(), load_tls(&b).unwrap().public_point());
        assert_eq!(generate_symmetric(&c).unwrap(), load_symmetric(&c).unwrap());
        for path in [&a, &b, &c] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(
            generate_signing(&a).is_err() && generate_tls(&b).is_err() && generate_symmetric(&c).is_err()
        );
    }

    #[test]
    fn one_kind_of_key_is_not_taken_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, c) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        generate_signing(&a).unwrap();
        generate_tls(&b).unwrap();
        generate_symmetric(&c).unwrap();
        for path in [&b, &c] {
            assert!(load_signing(path).unwrap_err().what.en.contains("signing key"));
        }
        for path in [&a, &c] {
            assert!(load_tls(path).unwrap_err().what.en.contains("TLS key"));
        }
        for path in [&a, &b] {
            assert!(load_symmetric(path).unwrap_err().what.en.contains("64 hexadecimal"));
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, c) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        generate_signing(&a).unwrap();
        generate_tls(&b).unwrap();
        generate_symmetric(&c).unwrap();
        for path in [&a, &b, &c] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        assert!(load_signing(&a).unwrap_err().advice.en.contains("chmod 600"));
        assert!(load_tls(&b).unwrap_err().advice.en.contains("chmod 600"));
        assert!(load_symmetric(&c).unwrap_err().advice.en.contains("chmod 600"));
    }

    #[test]
    fn keys_do_not_print_themselves() {
        assert_eq!(format!("{:?}", TlsKey::generate().unwrap()), "TlsKey(..)");
    }
}
