//! Who watches the exchange log, and how many of them it takes: what a covenant says of it, and the trust policy
//! (C2SP tlog-policy) that follows.
//!
//! The quorum counts organisations that are bound by the covenant. Witnesses from outside are known by their keys, and
//! what they contradict counts; they stand in no group, so that none of them takes the place of a party.

use std::collections::BTreeSet;

use super::declared::is_code;
use super::document::{Covenant, Outside, Party};
use super::limits::{OUTSIDE_MAX, URL_MAX, WITNESSES_MAX};
use super::validate::{Checked, count, fault};
use crate::ids::Oin;
use crate::signing::PublicKey;
use crate::tlog::cosignature::WitnessKey;
use crate::tlog::note::{NoteError, VerifierKey};
use crate::tlog::policy::{Policy, PolicyWitness};

/// The group of the parties in the policy.
const GROUP: &str = "partners";

/// The name under which the agent of a party cosigns: the same in every log and covenant, as a key has one name.
pub fn witness_name(oin: &Oin) -> String {
    format!("seinhuis/witness/{oin}")
}

/// The witness key of a party, from its 32 bytes.
///
/// # Errors
/// [`NoteError::WeakKey`].
pub fn party_witness(oin: &Oin, bytes: &[u8]) -> Result<WitnessKey, NoteError> {
    let bytes: &[u8; 32] = bytes.try_into().map_err(|_| NoteError::WeakKey)?;
    WitnessKey::new(&witness_name(oin), bytes)
}

impl Party {
    /// The key with which its agent cosigns the log.
    pub fn witness(&self) -> Option<WitnessKey> {
        self.witness_key.as_ref().and_then(|key| party_witness(&self.oin, &key.0).ok())
    }
}

impl Outside {
    /// The key with which it cosigns the log; none in a document that was never validated.
    pub fn witness(&self) -> Option<WitnessKey> {
        self.vkey.parse().ok()
    }
}

impl Covenant {
    /// How many parties pin a witness key.
    pub fn witnesses_pinned(&self) -> usize {
        self.witness_parties().count()
    }

    /// The parties that can cosign.
    pub fn witness_parties(&self) -> impl Iterator<Item = Oin> {
        self.parties.iter().filter(|party| party.witness_key.is_some()).map(|party| party.oin)
    }

    /// Whether the log has to be cosigned: a quorum, and at least one key to reach it with.
    pub fn asks_quorum(&self) -> bool {
        self.witness_quorum > 0 && self.witnesses_pinned() > 0
    }

    /// The trust policy for a log: always the same bytes for the same document and key. Its witnesses are the parties in
    /// the order of the document, named by OIN, then those from outside, named `outside-` and their name. None when no
    /// quorum is asked.
    pub fn witness_policy(&self, log: &VerifierKey) -> Option<Policy> {
        if !self.asks_quorum() {
            return None;
        }
        let parties = self.parties.iter().filter_map(|party| {
            let name = party.oin.to_string().into_bytes();
            Some(PolicyWitness { name, key: party.witness()?, url: None })
        });
        let outside = self.witnesses.iter().filter_map(|one| {
            let name = format!("outside-{}", one.name).into_bytes();
            Some(PolicyWitness { name, key: one.witness()?, url: Some(one.url.clone().into_bytes()) })
        });
        let made = Policy::of_group(
            log.clone(),
            parties.collect(),
            outside.collect(),
            GROUP,
            usize::from(self.witness_quorum),
        );
        made.ok()
    }
}

pub(super) fn validate(covenant: &Covenant) -> Checked {
    let pinned = covenant.witnesses_pinned();
    count("witnesses", covenant.witnesses.len(), 0, OUTSIDE_MAX)?;
    count("parties", pinned, 0, WITNESSES_MAX)?;
    let signing: BTreeSet<&[u8]> =
        covenant.parties.iter().flat_map(|party| &party.signing_keys).map(|key| key.0.as_slice()).collect();
    let mut keys: BTreeSet<Vec<u8>> = BTreeSet::new();
    for (index, party) in covenant.parties.iter().enumerate() {
        let Some(key) = &party.witness_key else { continue };
        let field = format!("parties[{index}].witness_key");
        if party.witness().is_none() || public(&key.0).is_none() {
            let advice = "Write the key that the party's own agent prints (seinhuis-agent key show).";
            return fault(field, "is a weak or impossible Ed25519 public key", advice);
        }
        if signing.contains(key.0.as_slice()) {
            let advice =
                "Write the key for witnessing, which is another: seinhuis-agent key show prints both.";
            return fault(field, "is a key that signs packets", advice);
        }
        if !keys.insert(key.0.clone()) {
            return fault(field, "stands twice", "Every party has its own witness key.");
        }
    }
    let mut names = BTreeSet::new();
    for (index, one) in covenant.witnesses.iter().enumerate() {
        outside(one, &format!("witnesses[{index}]"), &signing, &mut keys, &mut names)?;
    }
    let quorum = usize::from(covenant.witness_quorum);
    if quorum > covenant.parties.len() {
        let what = format!("asks for more witnesses than the {} parties", covenant.parties.len());
        return fault("rules.witness_quorum", what, "Write at most the number of parties.");
    }
    if pinned > 0 && quorum > pinned {
        let what = format!("asks for more witnesses than the {pinned} that have a witness_key");
        let advice =
            "Write a lower number, or the witness_key of more parties: nobody could reach this quorum.";
        return fault("rules.witness_quorum", what, advice);
    }
    Ok(())
}

fn outside<'c>(
    one: &'c Outside,
    at: &str,
    signing: &BTreeSet<&[u8]>,
    keys: &mut BTreeSet<Vec<u8>>,
    names: &mut BTreeSet<&'c str>,
) -> Checked {
    let field = |name: &str| format!("{at}.{name}");
    if !is_code(&one.name) || !names.insert(&one.name) {
        let what = "is no code, or stands twice";
        return fault(field("name"), what, "Give each witness its own code, such as \"inspectie\".");
    }
    let Ok(key) = one.vkey.parse::<WitnessKey>() else {
        let advice = "Write the verifier key that the witness prints: name+hexid+base64, of type 0x04.";
        return fault(field("vkey"), "is no verifier key of a witness", advice);
    };
    let bytes = key.key().as_bytes().to_vec();
    if signing.contains(bytes.as_slice()) || !keys.insert(bytes) {
        return fault(field("vkey"), "is the key of somebody else too", "Every witness has its own key.");
    }
    let address = one.url.strip_prefix("https://").or_else(|| one.url.strip_prefix("http://"));
    let good = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic());
    if one.url.len() > URL_MAX || !address.is_some_and(good) {
        let advice = "Write for example \"https://getuige.example\".";
        return fault(field("url"), "is no address of at most 255 visible characters", advice);
    }
    Ok(())
}

fn public(bytes: &[u8]) -> Option<PublicKey> {
    <[u8; 32]>::try_from(bytes).ok().and_then(|bytes| PublicKey::from_bytes(&bytes))
}
