//! Who is a partner and what was agreed: what examination in parallel with the core needs to know.

use std::collections::BTreeMap;
use std::sync::Arc;

use seinhuis_shared::covenant::Compiled;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::PublicKey;
use seinhuis_shared::time::Timestamp;

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
    pub(crate) covenants: BTreeMap<Digest, Arc<Compiled>>,
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

    /// The covenant with this hash.
    ///
    /// # Errors
    /// [`Refusal::UnknownCovenant`].
    pub fn covenant(&self, hash: &Digest) -> Result<&Arc<Compiled>, Refusal> {
        self.covenants.get(hash).ok_or(Refusal::UnknownCovenant)
    }

    /// Hashes of the covenants an organisation is a party to.
    pub fn covenants_of(&self, oin: &Oin) -> Vec<Digest> {
        self.covenants
            .iter()
            .filter(|(_, covenant)| covenant.role_of(*oin).is_some())
            .map(|(hash, _)| *hash)
            .collect()
    }

    /// Whether both take part in one covenant, so that they may know each other's prekeys.
    pub fn share_covenant(&self, one: &Oin, other: &Oin) -> bool {
        self.covenants
            .values()
            .any(|covenant| covenant.role_of(*one).is_some() && covenant.role_of(*other).is_some())
    }
}
