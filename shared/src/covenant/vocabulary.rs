//! The closed lists every covenant draws from: roles, steps of the 7-stappenmodel, levels of data.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::IdError;
use crate::refusal::Lang;

macro_rules! closed_list {
    ($(#[$doc:meta])* $name:ident, $what:literal, $($variant:ident $text:literal $nl:literal $en:literal;)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $(#[doc = $en] #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code used in documents and on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The name for people.
            pub const fn label(self, lang: Lang) -> &'static str {
                match self { $(Self::$variant => lang.pick($nl, $en),)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or_else(|| IdError {
                    text: text.chars().take(64).collect(),
                    what: $what,
                })
            }
        }
    };
}

closed_list! {
    /// What a party is under a covenant.
    Role, "a role: gemeente, politie, jongerenwerk, om, boa, pga, zvh or lokaal_team",
    Gemeente "gemeente" "gemeente (regisseur)" "municipality (coordinator)";
    Politie "politie" "politie" "police";
    Jongerenwerk "jongerenwerk" "jongerenwerk" "youth work";
    Om "om" "Openbaar Ministerie" "public prosecution service";
    Boa "boa" "boa" "municipal enforcement officer";
    Pga "pga" "persoonsgerichte aanpak" "person-centred approach";
    Zvh "zvh" "Zorg- en Veiligheidshuis" "care and safety house";
    LokaalTeam "lokaal_team" "lokaal team" "local team";
}

closed_list! {
    /// A step of the 7-stappenmodel for problematic youth groups.
    Step, "a step: 1, 2A, 2B, 3, 4, 5, 6 or 7",
    S1 "1" "signalen delen" "share signals";
    S2A "2A" "gedrag beoordelen" "assess the behaviour";
    S2B "2B" "namenlijst en groepsscan" "name list and group scan";
    S3 "3" "duiding en concept-plan" "interpretation and concept plan";
    S4 "4" "beleidsadvies en prioritering" "policy advice and priority";
    S5 "5" "integraal plan van aanpak" "integral plan";
    S6 "6" "uitvoeren en volgen" "carry out and monitor";
    S7 "7" "afschalen en evalueren" "scale down and evaluate";
}

closed_list! {
    /// How sensitive data is. Ordered: everything from [`Level::P1`] on concerns a person.
    Level, "a level: G, P1, P2, P3 or Z",
    G "G" "groep" "group";
    P1 "P1" "identificatie van een persoon" "identification of a person";
    P2 "P2" "gedrag of rol van een persoon" "behaviour or role of a person";
    P3 "P3" "politie- of strafvorderlijke gegevens" "police or prosecution data";
    Z "Z" "zorggegevens" "care data";
}

impl Level {
    /// Whether data of this level concerns a person.
    pub const fn is_personal(self) -> bool {
        !matches!(self, Self::G)
    }
}

closed_list! {
    /// A kind of data for which a law names special conditions.
    Special, "a special kind of data: bsn, zorg or strafrechtelijk",
    Bsn "bsn" "burgerservicenummer (UAVG 46)" "citizen service number (UAVG 46)";
    Care "zorg" "gegevens over gezondheid of zorg (AVG 9)" "health or care data (GDPR 9)";
    Criminal "strafrechtelijk" "strafrechtelijke gegevens (AVG 10)" "criminal data (GDPR 10)";
}

closed_list! {
    /// What a recipient may do with what it got, as far as passing it on goes; in rising strictness.
    Handling, "partners or consent",
    Partners "partners" "doorgeven mag binnen het convenant en de zaak, met de herkomst erbij" "may be passed on within the covenant and the case, with its origin named";
    Consent "consent" "doorgeven mag alleen met getekende toestemming van de herkomst" "may be passed on only with the signed consent of its origin";
}

closed_list! {
    /// What becomes of a packet that waits when its ground falls away; in rising strictness.
    Fate, "deliver, freeze or shred",
    Deliver "deliver" "alsnog bezorgen" "deliver still";
    Freeze "freeze" "vasthouden tot het einde van de geldigheid" "hold until the end of its validity";
    Shred "shred" "vernietigen" "destroy";
}

impl Role {
    /// One bit per role, for sets.
    pub(crate) const fn bit(self) -> u8 {
        match self {
            Self::Gemeente => 1,
            Self::Politie => 1 << 1,
            Self::Jongerenwerk => 1 << 2,
            Self::Om => 1 << 3,
            Self::Boa => 1 << 4,
            Self::Pga => 1 << 5,
            Self::Zvh => 1 << 6,
            Self::LokaalTeam => 1 << 7,
        }
    }
}

impl Step {
    /// One bit per step, for sets.
    pub(crate) const fn bit(self) -> u8 {
        match self {
            Self::S1 => 1,
            Self::S2A => 1 << 1,
            Self::S2B => 1 << 2,
            Self::S3 => 1 << 3,
            Self::S4 => 1 << 4,
            Self::S5 => 1 << 5,
            Self::S6 => 1 << 6,
            Self::S7 => 1 << 7,
        }
    }
}

impl Level {
    /// One bit per level, for sets.
    pub(crate) const fn bit(self) -> u8 {
        match self {
            Self::G => 1,
            Self::P1 => 1 << 1,
            Self::P2 => 1 << 2,
            Self::P3 => 1 << 3,
            Self::Z => 1 << 4,
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn codes_read_as_they_print_and_levels_are_ordered() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(*role));
        }
        for step in Step::ALL {
            assert_eq!(step.to_string().parse(), Ok(*step));
        }
        assert!(Level::G < Level::P1 && Level::P3 < Level::Z);
        assert!(Fate::Deliver < Fate::Freeze && Fate::Freeze < Fate::Shred);
        assert!("Gemeente".parse::<Role>().is_err());
        assert!("2a".parse::<Step>().is_err());
    }

    #[test]
    fn every_member_has_its_own_bit() {
        let sum = |bits: Vec<u8>| bits.iter().fold(0_u16, |sum, bit| sum + u16::from(*bit));
        assert_eq!(sum(Role::ALL.iter().map(|r| r.bit()).collect()), 255);
        assert_eq!(sum(Step::ALL.iter().map(|s| s.bit()).collect()), 255);
        assert_eq!(sum(Level::ALL.iter().map(|l| l.bit()).collect()), 31);
    }
}
