//! Who is a partner and what was agreed: what examination in parallel with the core needs to know.

use std::collections::BTreeMap;

use seinhuis_shared::acknowledgement::{Acknowledgement, Batch};
use seinhuis_shared::cose::Sign1;
use seinhuis_shared::covenant::{Agreement, Agreements};
use seinhuis_shared::ids::{Digest, Oin, Thumbprint};
use seinhuis_shared::limits::BUNDLE_MAX;
use seinhuis_shared::prekey::PrekeyBundle;
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::PublicKey;
use seinhuis_shared::time::Timestamp;
use seinhuis_shared::wire::Known;

/// A registered organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    /// Its name as people know it.
    pub name: String,
    /// The key it signs prekeys and acknowledgements with.
    pub key: PublicKey,
    /// When it was added.
    pub added: Timestamp,
    /// When its access was revoked, if it was.
    pub revoked: Option<Timestamp>,
}

/// Partners and covenants. Shared read-only with the tasks that examine; the core makes new versions.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    pub(crate) partners: BTreeMap<Oin, Partner>,
    pub(crate) agreements: Agreements,
    /// Who put a version up; the operator's own are absent.
    pub(crate) proposers: BTreeMap<Digest, Oin>,
}

impl Directory {
    /// The partner with this OIN, if it may take part.
    ///
    /// # Errors
    /// [`Refusal::UnknownPartner`], [`Refusal::PartnerRevoked`].
    pub fn partner(&self, oin: &Oin) -> Result<&Partner, Refusal> {
        let partner = self.partners.get(oin).ok_or(Refusal::UnknownPartner)?;
        if partner.revoked.is_some() { Err(Refusal::PartnerRevoked) } else { Ok(partner) }
    }

    /// Checks that a packet may be addressed to this OIN.
    ///
    /// # Errors
    /// [`Refusal::RecipientUnknown`], [`Refusal::RecipientRevoked`].
    pub fn recipient(&self, oin: &Oin) -> Result<(), Refusal> {
        match self.partners.get(oin) {
            None => Err(Refusal::RecipientUnknown),
            Some(partner) if partner.revoked.is_some() => Err(Refusal::RecipientRevoked),
            Some(_) => Ok(()),
        }
    }

    /// The key with this name, if it is the one a partner signs prekeys and acknowledgements with now.
    ///
    /// # Errors
    /// Those of [`Directory::partner`]; [`Refusal::KeyGivenUp`] for one that the partner had and gave up;
    /// [`Refusal::UnknownKey`].
    pub fn key_of(&self, oin: &Oin, key: Thumbprint) -> Result<PublicKey, Refusal> {
        let partner = self.partner(oin)?;
        if partner.key.thumbprint() == key {
            return Ok(partner.key);
        }
        let keys = self.agreements.keys();
        let given_up = keys.owner(key) == Some(*oin) && keys.given_up(key).is_some();
        Err(if given_up { Refusal::KeyGivenUp } else { Refusal::UnknownKey })
    }

    /// Reads a prekey bundle that a partner publishes, and checks its signature.
    ///
    /// # Errors
    /// [`Refusal::BadPrekeyBundle`]; those of [`Directory::key_of`] and [`PrekeyBundle::verify`].
    pub fn prekeys(&self, bytes: &[u8], peer: &Oin) -> Result<PrekeyBundle, Refusal> {
        let signed = Sign1::parse(bytes, BUNDLE_MAX).map_err(|_| Refusal::BadPrekeyBundle)?;
        PrekeyBundle::verify(bytes, peer, &[self.key_of(peer, signed.kid())?])
    }

    /// Reads an acknowledgement that a partner sends, and checks its signature.
    ///
    /// # Errors
    /// Those of [`Acknowledgement::signer`], [`Directory::key_of`] and [`Acknowledgement::verify`].
    pub fn acknowledgement(&self, bytes: &[u8], peer: &Oin) -> Result<Batch, Refusal> {
        let key = self.key_of(peer, Acknowledgement::signer(bytes)?)?;
        Acknowledgement::verify(bytes, &[key])
    }

    /// The covenant with this hash.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`].
    pub fn covenant(&self, hash: &Digest) -> Result<&Agreement, Refusal> {
        self.agreements.get(hash)
    }

    /// The versions that name an organisation, with the number of votes on each, and of rotations of its keys.
    pub fn agreements_of(&self, oin: &Oin) -> Vec<Known> {
        self.agreements
            .of(*oin)
            .map(|one| Known {
                hash: one.compiled().hash(),
                votes: u32::try_from(one.casts().len()).unwrap_or(u32::MAX),
                rotations: u32::try_from(self.agreements.keys().count(one.compiled())).unwrap_or(u32::MAX),
            })
            .collect()
    }

    /// Whether both are bound by one covenant that is in force, so that they may know each other's prekeys.
    pub fn share_covenant(&self, one: &Oin, other: &Oin, now: Timestamp) -> bool {
        self.agreements
            .of(*one)
            .any(|shared| shared.in_force(now) && shared.is_bound(*one, now) && shared.is_bound(*other, now))
    }
}
