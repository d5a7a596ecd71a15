//! One validated covenant version, with its hash and its indexes, ready to judge packets.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{CaseRule, Condition, Covenant, Flow, Party, StepRule};
use super::error::CovenantError;
use super::limits::{BODY_MAX, COVENANT_MAX};
use super::schema::Schema;
use super::validate::validate;
use super::vocabulary::{Level, Role, Special, Step};
use crate::cbor;
use crate::ids::{Digest, Oin, Thumbprint};
use crate::signing::PublicKey;
use crate::time::Timestamp;

/// What evaluation needs to know about a data category.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) level: Level,
    pub(crate) special: Option<Special>,
}

/// A flow as sets, so that a judgement is a few comparisons.
#[derive(Debug)]
pub(crate) struct FlowRule {
    /// Where the flow stands in the document.
    place: usize,
    pub(crate) id: String,
    pub(crate) types: Vec<String>,
    pub(crate) routes: Vec<(u8, u8)>,
    pub(crate) steps: u8,
    pub(crate) levels: u8,
    pub(crate) categories: BTreeSet<String>,
    pub(crate) purpose: String,
    pub(crate) bases: Vec<String>,
    pub(crate) case: CaseRule,
    pub(crate) decision: bool,
    pub(crate) max_recipients: usize,
    pub(crate) max_body: u64,
    pub(crate) retention_days: Option<u32>,
    /// Conditions a case must meet, each with the roles for which it counts.
    pub(crate) conditions: Vec<(String, u8)>,
}

impl FlowRule {
    fn new(place: usize, flow: &Flow, covenant: &Covenant) -> Self {
        let set = |roles: &[Role]| roles.iter().fold(0, |set, role| set | role.bit());
        Self {
            place,
            id: flow.id.clone(),
            types: flow.types.clone(),
            routes: flow.routes.iter().map(|route| (set(&route.from), set(&route.to))).collect(),
            steps: flow.steps.iter().fold(0, |set, step| set | step.bit()),
            levels: flow.levels.iter().fold(0, |set, level| set | level.bit()),
            categories: flow.categories.iter().cloned().collect(),
            purpose: flow.purpose.clone(),
            bases: flow.bases.clone(),
            case: flow.case,
            decision: flow.decision,
            max_recipients: flow.max_recipients.into(),
            max_body: u64::from(flow.max_body.min(covenant.max_body)),
            retention_days: flow.retention_days,
            conditions: flow.conditions.iter().map(|one| (one.condition.clone(), set(&one.roles))).collect(),
        }
    }

    /// The roles a sender of role `from` may reach.
    pub(crate) fn reach(&self, from: Role) -> u8 {
        self.routes.iter().filter(|route| route.0 & from.bit() != 0).fold(0, |set, route| set | route.1)
    }
}

/// As what and when a party takes part.
#[derive(Debug, Clone, Copy)]
struct Taking {
    role: Role,
    joined: Timestamp,
    left: Option<Timestamp>,
}

impl Taking {
    const fn new(party: &Party) -> Self {
        Self { role: party.role, joined: party.joined, left: party.left }
    }
}

/// A covenant version ready to judge packets. Immutable: share it, and swap it for the next version.
#[derive(Debug)]
pub struct Compiled {
    covenant: Covenant,
    hash: Digest,
    parties: BTreeMap<Oin, Taking>,
    keys: BTreeMap<(Oin, Thumbprint), PublicKey>,
    flows: BTreeMap<String, FlowRule>,
    kinds: BTreeMap<String, Kind>,
    schemas: BTreeMap<String, Schema>,
}

/// The hash says it all.
impl PartialEq for Compiled {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Compiled {}

impl Compiled {
    /// Validates a covenant, then hashes and indexes it.
    ///
    /// # Errors
    /// [`CovenantError`]: the first rule of form, reference or law the document breaks.
    pub fn new(covenant: Covenant) -> Result<Self, CovenantError> {
        validate(&covenant)?;
        Self::index(covenant)
    }

    /// Reads a version that was in order when it was stored: rules that became stricter since must not make a
    /// store unreadable. `None` when these bytes never were one.
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        Self::index(cbor::strict(bytes, COVENANT_MAX).ok()?).ok()
    }

    /// Indexes without the law's lint, so that tests can show what evaluation refuses on its own.
    pub(crate) fn index(covenant: Covenant) -> Result<Self, CovenantError> {
        let mut schemas = BTreeMap::new();
        for (index, kind) in covenant.types.iter().enumerate() {
            let schema = Schema::parse(&kind.schema)
                .map_err(|error| CovenantError::new(format!("types[{index}].schema"), error.to_string()))?;
            schemas.insert(kind.code.clone(), schema);
        }
        let mut keys = BTreeMap::new();
        for party in &covenant.parties {
            for bytes in &party.signing_keys {
                let key = bytes.0.as_slice().try_into().ok().and_then(PublicKey::from_bytes);
                let key = key.ok_or_else(|| {
                    CovenantError::new("parties", format!("{} has a weak or impossible key", party.oin))
                })?;
                keys.insert((party.oin, key.thumbprint()), key);
            }
        }
        Ok(Self {
            hash: covenant.hash(),
            parties: covenant.parties.iter().map(|party| (party.oin, Taking::new(party))).collect(),
            keys,
            flows: covenant
                .flows
                .iter()
                .enumerate()
                .map(|(place, flow)| (flow.id.clone(), FlowRule::new(place, flow, &covenant)))
                .collect(),
            kinds: covenant
                .categories
                .iter()
                .map(|c| (c.code.clone(), Kind { level: c.level, special: c.special }))
                .collect(),
            schemas,
            covenant,
        })
    }

    /// The document.
    pub fn covenant(&self) -> &Covenant {
        &self.covenant
    }

    /// Its hash, computed once.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// Whether it is in force at `now`, by its dates.
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.covenant.in_force(now)
    }

    /// The role of a party; `None` for who is not one.
    pub fn role_of(&self, oin: Oin) -> Option<Role> {
        self.parties.get(&oin).map(|taking| taking.role)
    }

    /// The role in which a party takes part at `at`; `None` for who is not one, or not at that time.
    pub fn role_at(&self, oin: Oin, at: Timestamp) -> Option<Role> {
        let taking = self.parties.get(&oin)?;
        let present = taking.joined <= at && taking.left.is_none_or(|left| at < left);
        present.then_some(taking.role)
    }

    /// The signing keys that the version pins, each with its party.
    pub fn pinned(&self) -> impl Iterator<Item = (Oin, Thumbprint)> {
        self.keys.keys().copied()
    }

    /// A party's key with this identifier, checked to be fit for verification.
    pub fn signing_key(&self, oin: Oin, kid: Thumbprint) -> Option<&PublicKey> {
        self.keys.get(&(oin, kid))
    }

    /// The level of a data category; `None` for one the covenant does not know.
    pub fn level_of(&self, category: &str) -> Option<Level> {
        self.kinds.get(category).map(|kind| kind.level)
    }

    /// The schema of a message type's bodies.
    pub fn schema(&self, message_type: &str) -> Option<&Schema> {
        self.schemas.get(message_type)
    }

    /// The most bytes of a body on this flow; the least a covenant can say for an unknown flow: zero.
    pub fn max_body(&self, flow: &str) -> usize {
        let bytes = self.flows.get(flow).map_or(0, |rule| rule.max_body);
        usize::try_from(bytes).unwrap_or(BODY_MAX).min(BODY_MAX)
    }

    /// A flow of the document; `None` for one it does not have.
    pub fn flow(&self, id: &str) -> Option<&Flow> {
        self.covenant.flows.get(self.rule(id)?.place)
    }

    pub(crate) fn rule(&self, id: &str) -> Option<&FlowRule> {
        self.flows.get(id)
    }

    pub(crate) fn kind(&self, category: &str) -> Option<Kind> {
        self.kinds.get(category).copied()
    }

    /// The step a case begins in: the first of the covenant's, in the order of the 7-stappenmodel.
    pub fn first_step(&self) -> Option<Step> {
        self.covenant.steps.iter().map(|rule| rule.step).min()
    }

    /// The step a case comes to last.
    pub fn last_step(&self) -> Option<Step> {
        self.covenant.steps.iter().map(|rule| rule.step).max()
    }

    /// The step after `step`, in the order of the 7-stappenmodel; `step` need not be the covenant's.
    pub fn step_after(&self, step: Step) -> Option<Step> {
        self.covenant.steps.iter().map(|rule| rule.step).filter(|one| *one > step).min()
    }

    /// The rule of a step; `None` for one the covenant does without.
    pub fn step_rule(&self, step: Step) -> Option<&StepRule> {
        self.covenant.steps.iter().find(|rule| rule.step == step)
    }

    /// The condition with this code.
    pub fn condition(&self, code: &str) -> Option<&Condition> {
        self.covenant.conditions.iter().find(|condition| condition.code == code)
    }
}
