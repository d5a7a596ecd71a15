//! HPKE-9 in base mode over aws-lc-rs: the port [`Hpke`] of the packet format.
//!
//! KEM 0x647a is X-Wing: ML-KEM-768 and X25519 side by side, joined by SHA3-256
//! (draft-connolly-cfrg-xwing-kem §5, draft-ietf-hpke-pq §4). KDF 0x0011 is SHAKE256 in one stage and
//! AEAD 0x0002 AES-256-GCM (draft-ietf-hpke-hpke §4.1, §5.1). One message per context, so the sequence
//! number is 0 and the nonce is the base nonce; no PSK and no additional data.
//!
//! The library makes no ML-KEM key from a seed, so the private half is kept expanded:
//! `ML-KEM decapsulation key (2400) | X25519 private key (32) | X25519 public key (32)`.
//!
//! Encapsulation and decapsulation are by far the dearest steps of sealing and opening. [`TurnHpke`] does each once for
//! what goes to one prekey, or came under one encapsulated key, within one turn (docs/decisions/0030).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use seinhuis_shared::cose::{EK_LEN, WRAPPED_LEN};
use seinhuis_shared::packet::{Hpke, HpkeError};
use seinhuis_shared::prekey::{PUBLIC_LEN, PrekeyPublic, PrekeySecret, SUITE};
use shake::Shake256;
use shake::digest::{ExtendableOutput, Update, XofReader};
use zeroize::Zeroizing;

const MLKEM_PUBLIC_LEN: usize = 1184;
const MLKEM_SECRET_LEN: usize = 2400;
const MLKEM_CIPHERTEXT_LEN: usize = 1088;
const X25519_LEN: usize = 32;
const SECRET_LEN: usize = MLKEM_SECRET_LEN + 2 * X25519_LEN;

/// Length of the AEAD key, its nonce and the exporter secret, which are derived together.
const SCHEDULE_LEN: usize = 32 + 12 + 64;
/// The domain separator of X-Wing: `\.//^\`.
const XWING_LABEL: [u8; 6] = [0x5c, 0x2e, 0x2f, 0x2f, 0x5e, 0x5c];

/// A shared secret or a content key, wiped when dropped.
type Secret = Zeroizing<[u8; 32]>;

/// [`Hpke`] with the ML-KEM, X25519 and AES-GCM of aws-lc-rs. Without state: make one wherever needed.
#[derive(Debug, Clone, Copy, Default)]
pub struct AwsHpke;

impl AwsHpke {
    /// Makes a fresh prekey.
    ///
    /// # Errors
    /// [`HpkeError`] when the system gives no randomness.
    pub fn generate() -> Result<(PrekeySecret, PrekeyPublic), HpkeError> {
        let mlkem = DecapsulationKey::generate(&ML_KEM_768).map_err(|_| HpkeError)?;
        let mlkem_public =
            mlkem.encapsulation_key().and_then(|key| key.key_bytes()).map_err(|_| HpkeError)?;
        let mlkem_secret = mlkem.key_bytes().map_err(|_| HpkeError)?;
        let x25519 = PrivateKey::generate(&X25519).map_err(|_| HpkeError)?;
        let x25519_public = x25519.compute_public_key().map_err(|_| HpkeError)?;
        let seed: Curve25519SeedBin<'_> = x25519.as_be_bytes().map_err(|_| HpkeError)?;
        let mut secret = PrekeySecret(Vec::with_capacity(SECRET_LEN));
        secret.0.extend_from_slice(mlkem_secret.as_ref());
        secret.0.extend_from_slice(seed.as_ref());
        secret.0.extend_from_slice(x25519_public.as_ref());
        let public = [mlkem_public.as_ref(), x25519_public.as_ref()].concat();
        let public = PrekeyPublic::from_slice(&public).ok_or(HpkeError)?;
        if secret.0.len() == SECRET_LEN { Ok((secret, public)) } else { Err(HpkeError) }
    }
}

impl Hpke for AwsHpke {
    fn seal(
        &self,
        recipient: &PrekeyPublic,
        info: &[u8],
        key: &[u8; 32],
    ) -> Result<([u8; EK_LEN], [u8; WRAPPED_LEN]), HpkeError> {
        let (shared, ek) = encapsulate(recipient.as_bytes())?;
        Ok((ek, wrap(&shared, info, key)?))
    }

    fn open(
        &self,
        secret: &PrekeySecret,
        ek: &[u8],
        info: &[u8],
        wrapped: &[u8],
    ) -> Result<Secret, HpkeError> {
        unwrap(&*decapsulate(secret, ek)?, info, wrapped)
    }
}

/// [`AwsHpke`] that encapsulates once for each prekey, and decapsulates once for each encapsulated key, until
/// [`TurnHpke::forget`].
///
/// Each wrap has a key and a nonce of its own all the same, because both are derived from the shared secret together
/// with `info`, and `info` holds the packet's context, in which no two packets are alike. Two texts under one `info` would be
/// sealed with one key and nonce: the second is refused. The same text comes out the same, as it does for two recipients
/// of a packet of whom one offers the other's prekey as its own.
#[derive(Default)]
pub struct TurnHpke(Mutex<Secrets>);

#[derive(Default)]
struct Secrets {
    /// By the prekey.
    sealed: BTreeMap<Vec<u8>, Sealing>,
    /// By the encapsulated key and the public X25519 share of the prekey it is opened with.
    opened: BTreeMap<(Vec<u8>, Vec<u8>), Secret>,
}

struct Sealing {
    shared: Secret,
    ek: [u8; EK_LEN],
    /// What was sealed with it, by its `info`.
    wraps: BTreeMap<Vec<u8>, [u8; WRAPPED_LEN]>,
}

impl std::fmt::Debug for TurnHpke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TurnHpke(..)")
    }
}

impl TurnHpke {
    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wipes what is kept: for the end of each turn.
    pub fn forget(&self) {
        *self.secrets() = Secrets::default();
    }
}

impl Hpke for TurnHpke {
    fn seal(
        &self,
        recipient: &PrekeyPublic,
        info: &[u8],
        key: &[u8; 32],
    ) -> Result<([u8; EK_LEN], [u8; WRAPPED_LEN]), HpkeError> {
        let mut secrets = self.secrets();
        let sealing = match secrets.sealed.entry(recipient.as_bytes().to_vec()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let (shared, ek) = encapsulate(recipient.as_bytes())?;
                new.insert(Sealing { shared, ek, wraps: BTreeMap::new() })
            }
        };
        let wrapped = wrap(&sealing.shared, info, key)?;
        if *sealing.wraps.entry(info.to_vec()).or_insert(wrapped) != wrapped {
            return Err(HpkeError);
        }
        Ok((sealing.ek, wrapped))
    }

    fn open(
        &self,
        secret: &PrekeySecret,
        ek: &[u8],
        info: &[u8],
        wrapped: &[u8],
    ) -> Result<Secret, HpkeError> {
        let own = secret.0.get(MLKEM_SECRET_LEN + X25519_LEN..).ok_or(HpkeError)?;
        let mut secrets = self.secrets();
        let shared = match secrets.opened.entry((ek.to_vec(), own.to_vec())) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(decapsulate(secret, ek)?),
        };
        unwrap(shared, info, wrapped)
    }
}

/// Encrypts a content key under a shared secret.
fn wrap(shared: &[u8; 32], info: &[u8], key: &[u8; 32]) -> Result<[u8; WRAPPED_LEN], HpkeError> {
    let (aead, nonce) = schedule(shared, info)?;
    let mut wrapped = [0; WRAPPED_LEN];
    let (text, tag) = wrapped.split_at_mut(key.len());
    text.copy_from_slice(key);
    let made = aead.seal_in_place_separate_tag(nonce, Aad::empty(), text).map_err(|_| HpkeError)?;
    if made.as_ref().len() != tag.len() {
        return Err(HpkeError);
    }
    tag.copy_from_slice(made.as_ref());
    Ok(wrapped)
}

/// Decrypts what [`wrap`] made.
fn unwrap(shared: &[u8; 32], info: &[u8], wrapped: &[u8]) -> Result<Secret, HpkeError> {
    let (aead, nonce) = schedule(shared, info)?;
    let mut buffer = Zeroizing::new(wrapped.to_vec());
    let plain = aead.open_in_place(nonce, Aad::empty(), &mut buffer).map_err(|_| HpkeError)?;
    Ok(Zeroizing::new(<[u8; 32]>::try_from(&*plain).map_err(|_| HpkeError)?))
}

/// X-Wing encapsulation: the shared secret and the encapsulated key `ML-KEM ciphertext | X25519 share`.
fn encapsulate(recipient: &[u8; PUBLIC_LEN]) -> Result<(Secret, [u8; EK_LEN]), HpkeError> {
    let (mlkem, x25519) = recipient.split_at(MLKEM_PUBLIC_LEN);
    let mlkem = EncapsulationKey::new(&ML_KEM_768, mlkem).map_err(|_| HpkeError)?;
    let (ciphertext, mlkem_shared) = mlkem.encapsulate().map_err(|_| HpkeError)?;
    let ephemeral = PrivateKey::generate(&X25519).map_err(|_| HpkeError)?;
    let share = ephemeral.compute_public_key().map_err(|_| HpkeError)?;
    let shared = combine(mlkem_shared.as_ref(), &ephemeral, x25519, share.as_ref(), x25519)?;
    let ek = [ciphertext.as_ref(), share.as_ref()].concat();
    Ok((shared, ek.try_into().map_err(|_| HpkeError)?))
}

/// X-Wing decapsulation.
fn decapsulate(secret: &PrekeySecret, ek: &[u8]) -> Result<Secret, HpkeError> {
    if secret.0.len() != SECRET_LEN || ek.len() != EK_LEN {
        return Err(HpkeError);
    }
    let (mlkem, x25519) = secret.0.split_at(MLKEM_SECRET_LEN);
    let (x25519, x25519_public) = x25519.split_at(X25519_LEN);
    let (ciphertext, share) = ek.split_at(MLKEM_CIPHERTEXT_LEN);
    let mlkem = DecapsulationKey::new(&ML_KEM_768, mlkem).map_err(|_| HpkeError)?;
    let mlkem_shared = mlkem.decapsulate(Ciphertext::from(ciphertext)).map_err(|_| HpkeError)?;
    let x25519 = PrivateKey::from_private_key(&X25519, x25519).map_err(|_| HpkeError)?;
    combine(mlkem_shared.as_ref(), &x25519, share, share, x25519_public)
}

/// `SHA3-256(ss_M | ss_X | ct_X | pk_X | label)`. A share of small order, for which the X25519 secret is
/// all zeros, is refused: it would leave the wrap with ML-KEM alone.
fn combine(
    mlkem_shared: &[u8],
    own: &PrivateKey,
    peer: &[u8],
    share: &[u8],
    public: &[u8],
) -> Result<Secret, HpkeError> {
    let peer = UnparsedPublicKey::new(&X25519, peer);
    agree(own, peer, HpkeError, |x25519_shared| {
        if x25519_shared.iter().fold(0, |all, byte| all | byte) == 0 {
            return Err(HpkeError);
        }
        let mut hash = digest::Context::new(&digest::SHA3_256);
        for part in [mlkem_shared, x25519_shared, share, public, &XWING_LABEL] {
            hash.update(part);
        }
        Ok(Zeroizing::new(<[u8; 32]>::try_from(hash.finish().as_ref()).map_err(|_| HpkeError)?))
    })
}

/// The key schedule of base mode: the AEAD key and the nonce of the first message.
fn schedule(shared: &[u8; 32], info: &[u8]) -> Result<(LessSafeKey, Nonce), HpkeError> {
    let info_length = u16::try_from(info.len()).map_err(|_| HpkeError)?.to_be_bytes();
    let (kem, kdf, aead) = SUITE;
    let mut out = Zeroizing::new([0; SCHEDULE_LEN]);
    let mut hash = Shake256::default();
    // secrets: no PSK, then the shared secret, each with its length.
    hash.update(&[0, 0, 0, 32]);
    hash.update(shared);
    hash.update(b"HPKE-v1HPKE");
    for id in [kem, kdf, aead] {
        hash.update(&id.to_be_bytes());
    }
    hash.update(&[0, 6]);
    hash.update(b"secret");
    hash.update(&u16::try_from(SCHEDULE_LEN).map_err(|_| HpkeError)?.to_be_bytes());
    // context: base mode, no PSK identifier, then info with its length.
    hash.update(&[0, 0, 0]);
    hash.update(&info_length);
    hash.update(info);
    hash.finalize_xof().read(&mut out[..]);
    let (key, rest) = out.split_at(32);
    let nonce = rest.first_chunk::<12>().ok_or(HpkeError)?;
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| HpkeError)?;
    Ok((LessSafeKey::new(key), Nonce::assume_unique_for_key(*nonce)))
}

#[cfg(test)]
mod tests {
    use hpke::aead::AesGcm256;
    use hpke::kdf::KdfShake256;
    use hpke::kem::XWing;
    use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal};
    #[expect(deprecated, reason = "the expanded form is exactly what is compared here")]
    use ml_kem::ExpandedKeyEncoding as _;
    use ml_kem::KeyExport as _;

    use super::*;

    /// Our private half from a 32-byte X-Wing seed, expanded by an independent ML-KEM.
    #[expect(deprecated, reason = "the expanded form is exactly what is compared here")]
    fn from_seed(seed: &[u8; 32]) -> (PrekeySecret, PrekeyPublic) {
        let mut expanded = [0; 96];
        let mut hash = Shake256::default();
        hash.update(seed);
        hash.finalize_xof().read(&mut expanded);
        let (mlkem, x25519) = expanded.split_at(64);
        let mlkem = ml_kem::DecapsulationKey::<ml_kem::MlKem768>::from_seed(mlkem.try_into().unwrap());
        let mlkem_public = mlkem.encapsulation_key().to_bytes();
        let own = PrivateKey::from_private_key(&X25519, x25519).unwrap();
        let x25519_public = own.compute_public_key().unwrap();
        let secret = [&mlkem.to_expanded_bytes()[..], x25519, x25519_public.as_ref()].concat();
        let public = [&mlkem_public[..], x25519_public.as_ref()].concat();
        (PrekeySecret(secret), PrekeyPublic::from_slice(&public).unwrap())
    }

    fn theirs(public: &PrekeyPublic) -> <XWing as Kem>::PublicKey {
        <XWing as Kem>::PublicKey::from_bytes(public.as_bytes()).unwrap()
    }

    #[test]
    fn what_another_implementation_seals_we_open() {
        for info in [&b""[..], b"info", &[7; 300]] {
            let (secret, public) = AwsHpke::generate().unwrap();
            let (ek, wrapped) = single_shot_seal::<AesGcm256, KdfShake256, XWing>(
                &OpModeS::Base,
                &theirs(&public),
                info,
                &[9; 32],
                b"",
            )
            .unwrap();
            let key = AwsHpke.open(&secret, &ek.to_bytes(), info, &wrapped).unwrap();
            assert_eq!(*key, [9; 32]);
        }
    }

    #[test]
    fn what_we_seal_another_implementation_opens_from_the_same_seed() {
        for fill in 0..8 {
            let seed = [fill; 32];
            let (secret, public) = from_seed(&seed);
            let their_secret = <XWing as Kem>::PrivateKey::from_bytes(&seed).unwrap();
            assert_eq!(XWing::sk_to_pk(&their_secret).to_bytes()[..], public.as_bytes()[..]);
            let (ek, wrapped) = AwsHpke.seal(&public, b"info", &[fill; 32]).unwrap();
            let their_ek = <XWing as Kem>::EncappedKey::from_bytes(&ek).unwrap();
            let key = single_shot_open::<AesGcm256, KdfShake256, XWing>(
                &OpModeR::Base,
                &their_secret,
                &their_ek,
                b"info",
                &wrapped,
                b"",
            )
            .unwrap();
            assert_eq!(key, [fill; 32]);
            assert_eq!(*AwsHpke.open(&secret, &ek, b"info", &wrapped).unwrap(), [fill; 32]);
        }
    }

    #[test]
    fn a_wrap_opens_only_with_its_key_info_and_bytes() {
        let (secret, public) = AwsHpke::generate().unwrap();
        let (other, _) = AwsHpke::generate().unwrap();
        let (ek, wrapped) = AwsHpke.seal(&public, b"info", &[1; 32]).unwrap();
        assert!(AwsHpke.open(&secret, &ek, b"info", &wrapped).is_ok());
        assert_eq!(AwsHpke.open(&other, &ek, b"info", &wrapped), Err(HpkeError));
        assert_eq!(AwsHpke.open(&secret, &ek, b"infO", &wrapped), Err(HpkeError));
        for at in [0, MLKEM_CIPHERTEXT_LEN - 1, MLKEM_CIPHERTEXT_LEN, EK_LEN - 1] {
            let mut changed = ek;
            changed[at] ^= 1;
            assert_eq!(AwsHpke.open(&secret, &changed, b"info", &wrapped), Err(HpkeError), "ek byte {at}");
        }
        for at in [0, 31, 32, WRAPPED_LEN - 1] {
            let mut changed = wrapped;
            changed[at] ^= 1;
            assert_eq!(AwsHpke.open(&secret, &ek, b"info", &changed), Err(HpkeError), "byte {at}");
        }
        assert_eq!(AwsHpke.open(&secret, &ek[1..], b"info", &wrapped), Err(HpkeError));
        assert_eq!(AwsHpke.open(&secret, &ek, b"info", &wrapped[1..]), Err(HpkeError));
        assert_eq!(AwsHpke.open(&PrekeySecret(vec![0; 32]), &ek, b"info", &wrapped), Err(HpkeError));
    }

    #[test]
    fn one_encapsulation_serves_a_turn_and_each_wrap_has_a_key_of_its_own() {
        let seed = [3; 32];
        let (secret, public) = from_seed(&seed);
        let their_secret = <XWing as Kem>::PrivateKey::from_bytes(&seed).unwrap();
        let (sender, recipient) = (TurnHpke::default(), TurnHpke::default());
        let seal = |info: &[u8]| sender.seal(&public, info, &[9; 32]).unwrap();
        let sealed = [&b"one"[..], b"two", b"three"].map(|info| (info, seal(info)));
        for (info, (ek, wrapped)) in &sealed {
            assert_eq!(*ek, sealed[0].1.0, "one encapsulation");
            let their_ek = <XWing as Kem>::EncappedKey::from_bytes(ek).unwrap();
            let key = single_shot_open::<AesGcm256, KdfShake256, XWing>(
                &OpModeR::Base,
                &their_secret,
                &their_ek,
                info,
                wrapped,
                b"",
            );
            assert_eq!(key.unwrap(), [9; 32], "whoever opens one at a time sees nothing of it");
            assert_eq!(*recipient.open(&secret, ek, info, wrapped).unwrap(), [9; 32]);
        }
        let [one, two, three] = sealed.map(|(_, (_, wrapped))| wrapped);
        assert!(one != two && two != three && one != three, "equal texts under equal keys would look alike");
        let (_, other) = AwsHpke::generate().unwrap();
        assert_ne!(sender.seal(&other, b"one", &[9; 32]).unwrap().0, sealed[0].1.0, "to each prekey its own");
        sender.forget();
        assert_ne!(seal(b"one").0, sealed[0].1.0, "another turn, another encapsulation");
    }

    #[test]
    fn no_two_texts_are_sealed_under_one_key_and_nonce() {
        let (_, public) = AwsHpke::generate().unwrap();
        let sender = TurnHpke::default();
        let sealed = sender.seal(&public, b"info", &[1; 32]).unwrap();
        assert_eq!(sender.seal(&public, b"info", &[2; 32]), Err(HpkeError));
        assert_eq!(sender.seal(&public, b"info", &[1; 32]), Ok(sealed), "one text, whoever it is for");
        sender.forget();
        assert!(sender.seal(&public, b"info", &[2; 32]).is_ok());
    }

    #[test]
    fn what_is_remembered_opens_nothing_that_would_not_open_by_itself() {
        let (secret, public) = AwsHpke::generate().unwrap();
        let (other, _) = AwsHpke::generate().unwrap();
        let (ek, wrapped) = AwsHpke.seal(&public, b"info", &[1; 32]).unwrap();
        let recipient = TurnHpke::default();
        for _ in 0..2 {
            assert!(recipient.open(&secret, &ek, b"info", &wrapped).is_ok());
            assert_eq!(recipient.open(&other, &ek, b"info", &wrapped), Err(HpkeError), "another's key");
            assert_eq!(recipient.open(&secret, &ek, b"infO", &wrapped), Err(HpkeError));
            let (mut changed, mut torn) = (ek, wrapped);
            (changed[7], torn[7]) = (!changed[7], !torn[7]);
            assert_eq!(recipient.open(&secret, &changed, b"info", &wrapped), Err(HpkeError));
            assert_eq!(recipient.open(&secret, &ek, b"info", &torn), Err(HpkeError));
            assert_eq!(recipient.open(&PrekeySecret(vec![0; 32]), &ek, b"info", &wrapped), Err(HpkeError));
        }
    }

    #[test]
    fn impossible_keys_are_refused() {
        let (secret, public) = AwsHpke::generate().unwrap();
        let mut small_order = *public.as_bytes();
        small_order[MLKEM_PUBLIC_LEN..].fill(0);
        let small_order = PrekeyPublic::from_slice(&small_order).unwrap();
        assert_eq!(AwsHpke.seal(&small_order, b"", &[1; 32]), Err(HpkeError), "all-zero X25519 secret");
        let mut out_of_range = *public.as_bytes();
        out_of_range[..3].fill(0xff);
        let out_of_range = PrekeyPublic::from_slice(&out_of_range).unwrap();
        assert_eq!(AwsHpke.seal(&out_of_range, b"", &[1; 32]), Err(HpkeError), "not reduced modulo q");
        let (mut ek, wrapped) = AwsHpke.seal(&public, b"", &[1; 32]).unwrap();
        ek[MLKEM_CIPHERTEXT_LEN..].fill(0);
        assert_eq!(AwsHpke.open(&secret, &ek, b"", &wrapped), Err(HpkeError), "all-zero share");
    }
}
