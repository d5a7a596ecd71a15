//! Private key files that are sealed with a passphrase: Argon2id (RFC 9106) and AES-256-GCM, in the form of
//! [`seinhuis_shared::sealed_key`].
//!
//! A key is used alike whether its file is sealed or not. What a program writes beside sealed keys, such as the key of
//! a renewed certificate, it seals with the same passphrase.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use seinhuis_shared::sealed_key::{Cost, FILE_MAX, SealedKey};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::{Outcome, Ui};
use crate::complaint::{Complaint, Doing};
use crate::files::{self, Existing};
use crate::keys::random;
use crate::lang::Text;
use crate::passphrase;

/// The bytes of a key file, opened when it is sealed.
///
/// # Errors
/// A sentence naming the file: missing, readable by others, damaged, or sealed with another passphrase.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Complaint> {
    let bytes = Zeroizing::new(files::read_private(path, FILE_MAX)?);
    if SealedKey::is(&bytes) { open(path, &bytes, &passphrase::get()?) } else { Ok(bytes) }
}

/// Writes a key file; sealed when a key beside it is.
///
/// # Errors
/// A sentence naming the file.
pub fn write(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), Complaint> {
    if beside(path)?.iter().any(|key| is_sealed(key)) {
        return files::write_private(path, &seal(bytes, &passphrase::get()?, Cost::DEFAULT)?, existing);
    }
    files::write_private(path, bytes, existing)
}

/// The key files in the folder of one: what ends in `.key`.
fn beside(path: &Path) -> Result<Vec<PathBuf>, Complaint> {
    let dir = files::parent(path);
    let fail = |error: io::Error| Complaint::io(Doing::OpenFolder, &dir, &error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|end| end == "key") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_sealed(path: &Path) -> bool {
    files::read(path, FILE_MAX).is_ok_and(|bytes| SealedKey::is(&Zeroizing::new(bytes)))
}

fn derive(passphrase: &[u8], salt: &[u8], cost: Cost) -> Result<LessSafeKey, Complaint> {
    let failed = |error: argon2::Error| Complaint::bug(format!("Argon2id: {error}"));
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(failed)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, key.as_mut_slice())
        .map_err(failed)?;
    let key =
        UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|error| Complaint::bug(error.to_string()))?;
    Ok(LessSafeKey::new(key))
}

fn seal(bytes: &[u8], passphrase: &[u8], cost: Cost) -> Result<Vec<u8>, Complaint> {
    let mut sealed = SealedKey { cost, salt: random(), nonce: random(), sealed: bytes.to_vec() };
    let (key, nonce) = (derive(passphrase, &sealed.salt, cost)?, sealed.nonce);
    let bound = sealed.bound_to();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut sealed.sealed)
        .map_err(|error| Complaint::bug(error.to_string()))?;
    Ok(sealed.to_file())
}

fn open(path: &Path, file: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, Complaint> {
    let sealed = SealedKey::parse(file).map_err(|refusal| {
        Complaint::usage(
            Text::new(
                format!("De verzegelde sleutel {} is beschadigd ({refusal}).", path.display()),
                format!("The sealed key {} is damaged ({refusal}).", path.display()),
            ),
            Text::new("Zet de reservekopie van dit bestand terug.", "Put back the backup of this file."),
        )
    })?;
    let key = derive(passphrase, &sealed.salt, sealed.cost)?;
    let mut bytes = Zeroizing::new(sealed.sealed.clone());
    let bound = Aad::from(sealed.bound_to());
    let plain = key.open_in_place(Nonce::assume_unique_for_key(sealed.nonce), bound, &mut bytes);
    let length = plain.map(|plain| plain.len()).map_err(|_| {
        Complaint::refused(
            Text::new(
                format!("De wachtwoordzin past niet op {}, of het bestand is gewijzigd.", path.display()),
                format!("The passphrase does not fit {}, or the file was changed.", path.display()),
            ),
            Text::new(
                "Controleer de wachtwoordzin; zet anders de reservekopie van het bestand terug.",
                "Check the passphrase; otherwise put back the backup of the file.",
            ),
        )
    })?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Replaces a file and overwrites what was in it before, as far as a file system lets that happen.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Complaint> {
    let fail = |error: io::Error| Complaint::io(Doing::Write, path, &error);
    // Opened before, since the name is the new file's afterwards.
    let mut before = OpenOptions::new().write(true).open(path).map_err(fail)?;
    let length = before.metadata().map_err(fail)?.len();
    files::write_private(path, bytes, Existing::Replace)?;
    let nothing = vec![0; usize::try_from(length).unwrap_or(FILE_MAX).min(FILE_MAX)];
    before.write_all(&nothing).and_then(|()| before.sync_all()).map_err(fail)
}

/// `key seal`: seals every key of a folder that is not yet.
///
/// # Errors
/// A sentence naming the file; those before it are sealed then, and the command can be given again.
pub fn seal_folder(dir: &Path, ui: Ui) -> Result<Outcome, Complaint> {
    let keys = own_keys(dir)?;
    let (sealed, open_keys): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| is_sealed(key));
    // One passphrase for the whole folder, and it has to be known before more is sealed with it.
    let passphrase = if let Some(one) = sealed.first() {
        let passphrase = passphrase::get()?;
        open(one, &files::read_private(one, FILE_MAX)?, &passphrase)?;
        passphrase
    } else {
        passphrase::choose()?
    };
    for path in &open_keys {
        let plain = Zeroizing::new(files::read_private(path, FILE_MAX)?);
        let file = seal(&plain, &passphrase, Cost::DEFAULT)?;
        if open(path, &file, &passphrase)? != plain {
            return Err(Complaint::bug("a sealed key does not open again"));
        }
        replace(path, &file)?;
    }
    let count = open_keys.len();
    ui.answer(
        &Text::new(
            format!("{count} sleutels verzegeld in {}. Start het programma dat ze gebruikt opnieuw, met de wachtwoordzin; zonder die wachtwoordzin zijn ze verloren.", dir.display()),
            format!("{count} keys sealed in {}. Restart the program that uses them, with the passphrase; without it they are lost.", dir.display()),
        ),
        &json!({ "sealed": count }),
    );
    Ok(Outcome::Done)
}

/// `key unseal`: takes the passphrase off every key of a folder.
///
/// # Errors
/// As [`seal_folder`].
pub fn unseal_folder(dir: &Path, ui: Ui) -> Result<Outcome, Complaint> {
    let sealed: Vec<_> = own_keys(dir)?.into_iter().filter(|key| is_sealed(key)).collect();
    for path in &sealed {
        files::write_private(path, &read(path)?, Existing::Replace)?;
    }
    let count = sealed.len();
    ui.answer(
        &Text::new(
            format!("Van {count} sleutels in {} is de wachtwoordzin af.", dir.display()),
            format!("The passphrase is off {count} keys in {}.", dir.display()),
        ),
        &json!({ "unsealed": count }),
    );
    Ok(Outcome::Done)
}

fn own_keys(dir: &Path) -> Result<Vec<PathBuf>, Complaint> {
    let keys = beside(&dir.join("any.key"))?;
    if keys.is_empty() {
        return Err(Complaint::usage(
            Text::new(
                format!("In {} staan geen sleutels.", dir.display()),
                format!("There are no keys in {}.", dir.display()),
            ),
            Text::new("Controleer de map.", "Check the folder."),
        ));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 19 * 1024, passes: 1, lanes: 1 };

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_and_no_other() {
        let path = Path::new("k");
        let file = seal(b"the key", b"six words that nobody guesses", CHEAP).unwrap();
        assert!(memchr(&file, b"the key").is_none());
        assert_eq!(open(path, &file, b"six words that nobody guesses").unwrap().as_slice(), b"the key");
        for wrong in [&b""[..], b"six words that nobody guesse", b"six words that nobody guesses\n"] {
            let error = open(path, &file, wrong).unwrap_err();
            assert!(error.what.en.contains("does not fit") && error.exit.code() == 1, "{error}");
        }
        assert_ne!(file, seal(b"the key", b"six words that nobody guesses", CHEAP).unwrap(), "salted");
    }

    #[test]
    fn every_changed_bit_of_what_is_sealed_and_of_what_it_costs_is_refused() {
        let sealed = SealedKey::parse(&seal(b"the key", b"p", CHEAP).unwrap()).unwrap();
        let refused = |changed: SealedKey| assert!(open(Path::new("k"), &changed.to_file(), b"p").is_err());
        for bit in 0..sealed.sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed.sealed[bit / 8] ^= 1 << (bit % 8);
            refused(changed);
        }
        for byte in 0..12 {
            let mut changed = sealed.clone();
            changed.nonce[byte] ^= 1;
            refused(changed);
        }
        for byte in 0..16 {
            let mut changed = sealed.clone();
            changed.salt[byte] ^= 1;
            refused(changed);
        }
        refused(SealedKey { cost: Cost { passes: 2, ..CHEAP }, ..sealed.clone() });
        refused(SealedKey { cost: Cost { lanes: 2, ..CHEAP }, ..sealed });
    }

    /// The vector for Argon2id of RFC 9106 §5.3 has a secret and associated data, which this never has: this one is
    /// of the reference implementation's own tests (`hash` of 64 MiB, t=2, p=1).
    #[test]
    fn the_derivation_is_argon2id() {
        let params = Params::new(65536, 2, 1, Some(32)).unwrap();
        let mut out = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(b"password", b"somesalt", &mut out)
            .unwrap();
        assert_eq!(
            data_encoding::HEXLOWER.encode(&out),
            "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"
        );
    }

    fn memchr(bytes: &[u8], word: &[u8]) -> Option<usize> {
        bytes.windows(word.len()).position(|window| window == word)
    }
}
