//! Rules of law that hold whatever a covenant's flow table says.
//!
//! A covenant is data and can be wrong; these few rules are the second lock. They run for every
//! recipient of every packet, and over every flow when a covenant is loaded. Proposed reading of the
//! law, to be confirmed by a partnership's jurist; changing one is a release, not a setting.

use super::vocabulary::{Level, Role, Step};
use crate::refusal::{Lang, Refusal};

/// One disclosure from one sender to one of its recipients, as the law looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each asked by a rule of its own")]
pub struct Act {
    /// Who discloses.
    pub from: Role,
    /// Who learns.
    pub to: Role,
    /// In which step of the case.
    pub step: Step,
    /// The highest level disclosed.
    pub level: Level,
    /// Whether a citizen service number is among the data.
    pub bsn: bool,
    /// Whether care data is among the data.
    pub care: bool,
    /// Whether the message type is one of [`SERVICE_TYPES`].
    pub service: bool,
    /// How many recipients the packet has.
    pub recipients: usize,
    /// Whether an article 20 decision in the covenant covers recipient and data at this instant.
    pub decided: bool,
}

/// A rule of law.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its number, for logs, tests and lint messages.
    pub id: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// What it forbids, in Dutch.
    pub nl: &'static str,
    /// What it forbids, in English.
    pub en: &'static str,
    /// The reason a packet that breaks it gets.
    pub refusal: Refusal,
    /// Whether this act breaks it.
    pub broken_by: fn(&Act) -> bool,
}

impl Rule {
    /// What it forbids, in `lang`.
    pub const fn text(&self, lang: Lang) -> &'static str {
        lang.pick(self.nl, self.en)
    }
}

/// Message types about earlier messages rather than about a case; they may concern a person in any step.
pub const SERVICE_TYPES: &[&str] = &[
    "correctie",
    "intrekking",
    "verzoek_betrokkene",
    "melding_inbreuk",
    "vernietigingsbevestiging",
    "toestemming_doorverstrekking",
    "ontvangstbevestiging",
    "afwijzing",
];

const fn is(role: Role, set: u8) -> bool {
    role.bit() & set != 0
}

const YOUTH_WORK_OR_BOA: u8 = Role::Jongerenwerk.bit() | Role::Boa.bit();
const AUTHORITIES: u8 = Role::Gemeente.bit() | Role::Politie.bit() | Role::Om.bit();
const AUTHORITIES_OR_ZVH: u8 = AUTHORITIES | Role::Zvh.bit();
const CARE_NETWORK: u8 = Role::Pga.bit() | Role::Zvh.bit() | Role::LokaalTeam.bit();

/// Every rule, in the order in which they are looked at.
pub const TABLE: &[Rule] = &[
    Rule {
        id: "L01",
        source: "UAVG 46",
        nl: "een BSN van of naar jongerenwerk of boa",
        en: "a citizen service number from or to youth work or enforcement officers",
        refusal: Refusal::CategoryNotAllowed,
        broken_by: |act| act.bsn && (is(act.from, YOUTH_WORK_OR_BOA) || is(act.to, YOUTH_WORK_OR_BOA)),
    },
    Rule {
        id: "L02",
        source: "Wjsg 39f; Modelconvenant",
        nl: "verkeer tussen OM en jongerenwerk",
        en: "traffic between prosecution service and youth work",
        refusal: Refusal::RecipientRole,
        broken_by: |act| {
            matches!((act.from, act.to), (Role::Om, Role::Jongerenwerk) | (Role::Jongerenwerk, Role::Om))
        },
    },
    Rule {
        id: "L03",
        source: "WGS",
        nl: "verkeer van jongerenwerk naar het Zorg- en Veiligheidshuis",
        en: "traffic from youth work to the care and safety house",
        refusal: Refusal::RecipientRole,
        broken_by: |act| matches!((act.from, act.to), (Role::Jongerenwerk, Role::Zvh)),
    },
    Rule {
        id: "L04",
        source: "AVG 9; WGS",
        nl: "zorggegevens anders dan van gemeente, politie of OM naar het Zorg- en Veiligheidshuis",
        en: "care data other than from municipality, police or prosecution to the care and safety house",
        refusal: Refusal::LevelNotAllowed,
        broken_by: |act| {
            (act.care || act.level == Level::Z) && !(is(act.from, AUTHORITIES) && act.to == Role::Zvh)
        },
    },
    Rule {
        id: "L05",
        source: "Wpg 16, 20; Wjsg 39f",
        nl: "politie- of strafvorderlijke gegevens naar een lokaal team",
        en: "police or prosecution data to a local team",
        refusal: Refusal::LevelNotAllowed,
        broken_by: |act| act.level == Level::P3 && act.to == Role::LokaalTeam,
    },
    Rule {
        id: "L06",
        source: "AVG 5; Wpg 3",
        nl: "gegevens over een persoon aan meer dan één ontvanger tegelijk",
        en: "data about a person to more than one recipient at a time",
        refusal: Refusal::TooManyForPersonal,
        broken_by: |act| act.level.is_personal() && act.recipients > 1,
    },
    Rule {
        id: "L07",
        source: "Wpg 16, 20; Bpg 4:5",
        nl: "persoonsgegevens van de politie aan anderen dan gemeente, OM of Zorg- en Veiligheidshuis zonder artikel 20-besluit",
        en: "personal data from the police to others than municipality, prosecution or care and safety house without an article 20 decision",
        refusal: Refusal::DecisionMissing,
        broken_by: |act| {
            act.from == Role::Politie
                && act.level.is_personal()
                && !is(act.to, AUTHORITIES_OR_ZVH)
                && !act.decided
        },
    },
    Rule {
        id: "L08",
        source: "Wpg 7(2), 20",
        nl: "politie- of strafvorderlijke gegevens buiten gemeente, politie, OM en Zorg- en Veiligheidshuis zonder artikel 20-besluit",
        en: "police or prosecution data outside municipality, police, prosecution and care and safety house without an article 20 decision",
        refusal: Refusal::DecisionMissing,
        broken_by: |act| act.level == Level::P3 && !is(act.to, AUTHORITIES_OR_ZVH) && !act.decided,
    },
    Rule {
        id: "L09",
        source: "AVG 5; 7-stappenmodel",
        nl: "persoonsgegevens over een zaak in stap 1 of 2A",
        en: "personal data about a case in step 1 or 2A",
        refusal: Refusal::WrongStep,
        broken_by: |act| {
            act.level.is_personal()
                && matches!(act.step, Step::S1 | Step::S2A)
                && !act.service
                && !is(act.to, Role::Pga.bit() | Role::LokaalTeam.bit())
                && !is(act.from, CARE_NETWORK)
        },
    },
];

/// The first rule `act` breaks, if any.
pub fn broken(act: &Act) -> Option<&'static Rule> {
    TABLE.iter().find(|rule| (rule.broken_by)(act))
}

/// Whether a message type is one of [`SERVICE_TYPES`].
pub fn is_service(message_type: &str) -> bool {
    SERVICE_TYPES.contains(&message_type)
}
