//! The covenant as people write it: TOML, in one or more parts that together are one document.
//!
//! The usual parts are the model covenant, which says what may be sent, and a partnership's own file
//! with `[partnership]`, `[[parties]]` and `[[decisions]]`. Unknown keys are refused; every error names
//! part, line and field and says what to write.

use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, de};

use super::document::{
    CaseRule, Category, Clause, Condition, Covenant, Decision, FORMAT, FORMAT_INFORMS, Flow, InFlight,
    MessageType, Outside, Party, Requirement, Route, StepRule,
};
use super::error::{CovenantError, Place};
use super::limits::SOURCE_MAX;
use super::schema::Schema;
use super::validate::validate;
use super::vocabulary::{Fate, Handling, Level, Role, Special, Step};
use crate::cbor::Bytes;
use crate::ids::{Digest, Oin};
use crate::time::{Span, Timestamp};

mod locate;

/// One file of a covenant's text.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Its name in error messages.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

struct Expecting<T>(&'static str, PhantomData<T>);

impl<T> Expecting<T> {
    fn new(what: &'static str) -> Self {
        Self(what, PhantomData)
    }
}

impl<T: FromText> de::Visitor<'_> for Expecting<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

trait FromText: Sized {
    const WHAT: &'static str;
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! read_from_text {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Expecting::new(Self::WHAT))
            }
        }
    )*};
}

struct Date(Timestamp);

impl FromText for Date {
    const WHAT: &'static str = "a date between quotes, such as \"2026-03-01\"";
    fn from_text(text: &str) -> Option<Self> {
        Timestamp::parse(text).map(Self)
    }
}

struct Hash(Digest);

impl FromText for Hash {
    const WHAT: &'static str = "the hash of the previous version: 64 hexadecimal digits, lower case";
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

struct Key(Bytes);

impl FromText for Key {
    const WHAT: &'static str = "an Ed25519 public key: 64 hexadecimal digits, lower case";
    fn from_text(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        (bytes.len() == 32).then_some(Self(Bytes(bytes)))
    }
}

struct Organisation(Oin);

impl FromText for Organisation {
    const WHAT: &'static str = "an OIN between quotes: 20 digits or upper-case letters, leading zeros kept";
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

enum Steps {
    Any,
    One(Step),
}

impl FromText for Steps {
    const WHAT: &'static str = "a step between quotes (1, 2A, 2B, 3, 4, 5, 6, 7) or \"any\"";
    fn from_text(text: &str) -> Option<Self> {
        if text == "any" { Some(Self::Any) } else { Step::from_str(text).ok().map(Self::One) }
    }
}

read_from_text!(Date Hash Key Organisation Steps);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    partnership: Partnership,
    rules: Rules,
    in_flight: InFlightSource,
    purposes: Vec<ClauseSource>,
    bases: Vec<ClauseSource>,
    categories: Vec<CategorySource>,
    types: Vec<TypeSource>,
    steps: Vec<StepSource>,
    #[serde(default)]
    conditions: Vec<ConditionSource>,
    flows: Vec<FlowSource>,
    #[serde(default)]
    decisions: Vec<DecisionSource>,
    parties: Vec<PartySource>,
    #[serde(default)]
    witnesses: Vec<OutsideSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Partnership {
    id: String,
    version: u32,
    previous: Option<Hash>,
    title: String,
    owner: Organisation,
    valid_from: Date,
    valid_until: Date,
    evaluation: Date,
    contact: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    max_ttl_days: u32,
    max_body: u32,
    log_retention_days: u32,
    retention: String,
    overlap_days: u32,
    witness_quorum: u8,
    informs: Option<Vec<Role>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InFlightSource {
    withdrawn: Fate,
    superseded: Fate,
    revoked: Fate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionSource {
    code: String,
    nl: String,
    en: String,
    set_by: Vec<Role>,
    parties: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequirementSource {
    condition: String,
    roles: Vec<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClauseSource {
    code: String,
    nl: String,
    en: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CategorySource {
    code: String,
    level: Level,
    special: Option<Special>,
    nl: String,
    en: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeSource {
    code: String,
    schema: String,
    nl: String,
    en: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepSource {
    step: Step,
    movers: Vec<Role>,
    nl: String,
    en: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteSource {
    from: Vec<Role>,
    to: Vec<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowSource {
    id: String,
    nl: String,
    en: String,
    types: Vec<String>,
    routes: Vec<RouteSource>,
    steps: Vec<Steps>,
    levels: Vec<Level>,
    categories: Vec<String>,
    purpose: String,
    bases: Vec<String>,
    case: CaseRule,
    #[serde(default)]
    decision: bool,
    #[serde(default)]
    conditions: Vec<RequirementSource>,
    #[serde(default)]
    release: bool,
    handling: Option<Handling>,
    max_recipients: u8,
    max_body: u32,
    retention_days: Option<u32>,
    retention: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionSource {
    reference: String,
    date: Date,
    authority: String,
    recipients: Vec<Role>,
    categories: Vec<String>,
    expires: Date,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartySource {
    oin: Organisation,
    role: Role,
    name: String,
    contact: String,
    signing_keys: Vec<Key>,
    #[serde(default)]
    may_be_absent: bool,
    joined: Option<Date>,
    left: Option<Date>,
    witness_key: Option<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutsideSource {
    name: String,
    vkey: String,
    url: String,
}

impl Covenant {
    /// Reads one TOML text. `load` turns a schema's relative path into its text.
    ///
    /// # Errors
    /// [`CovenantError`] with line, field and what to write.
    pub fn from_toml(
        text: &str,
        load: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, CovenantError> {
        Self::from_toml_parts(&[Part { name: "covenant.toml", text }], load)
    }

    /// Reads several TOML texts that together are one document, such as the model and a partnership's
    /// own file. Each table may stand in one part only; `[[…]]` lists may be continued in a later part.
    ///
    /// # Errors
    /// [`CovenantError`] with part, line, field and what to write.
    pub fn from_toml_parts(
        parts: &[Part<'_>],
        load: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, CovenantError> {
        let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.text.len()));
        if length > SOURCE_MAX {
            return Err(CovenantError::new(
                "",
                format!("{length} bytes of text where at most {SOURCE_MAX} are allowed"),
            )
            .advise("Shorten the covenant; what is in force stays in force."));
        }
        let mut joined = String::with_capacity(length);
        for part in parts {
            joined.push_str(part.text);
            joined.push('\n');
        }
        let place = |error: CovenantError| locate::place(error, parts, &joined);
        let source: Source =
            toml::from_str(&joined).map_err(|error| locate::syntax(&error, parts, &joined))?;
        let covenant = source.document(load).map_err(place)?;
        validate(&covenant).map_err(place)?;
        let size = covenant.to_bytes().len();
        if size > super::limits::COVENANT_MAX {
            return Err(CovenantError::new("", format!("{size} bytes in canonical form are too many"))
                .advise("Shorten texts or schemas."));
        }
        Ok(covenant)
    }
}

impl Source {
    fn document(
        self,
        load: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Covenant, CovenantError> {
        let head = self.partnership;
        let clauses = |rows: Vec<ClauseSource>| {
            rows.into_iter().map(|row| Clause { code: row.code, nl: row.nl, en: row.en }).collect()
        };
        let mut types = Vec::with_capacity(self.types.len());
        for (index, row) in self.types.into_iter().enumerate() {
            types.push(row.document(load).map_err(|error| {
                CovenantError::new(format!("types[{index}].schema"), error)
                    .advise("Write the path of a schema file, relative to the covenant.")
            })?);
        }
        let own = |row: CategorySource| Category {
            code: row.code,
            level: row.level,
            special: row.special,
            nl: row.nl,
            en: row.en,
        };
        // A text that says nothing gives the form without: its hash is the one under which it was signed.
        let format = if self.rules.informs.is_some() { FORMAT_INFORMS } else { FORMAT };
        let mut informs = self.rules.informs.unwrap_or_default();
        informs.sort_unstable();
        let step = |row: StepSource| StepRule { step: row.step, nl: row.nl, en: row.en, movers: row.movers };
        Ok(Covenant {
            format,
            id: head.id,
            version: head.version,
            previous: head.previous.map(|hash| hash.0),
            title: head.title,
            owner: head.owner.0,
            valid_from: head.valid_from.0,
            valid_until: head.valid_until.0,
            evaluation: head.evaluation.0,
            contact: head.contact,
            max_ttl: Span::days(self.rules.max_ttl_days.into()),
            max_body: self.rules.max_body,
            log_retention_days: self.rules.log_retention_days,
            retention: self.rules.retention,
            overlap_days: self.rules.overlap_days,
            witness_quorum: self.rules.witness_quorum,
            in_flight: InFlight {
                withdrawn: self.in_flight.withdrawn,
                superseded: self.in_flight.superseded,
                revoked: self.in_flight.revoked,
            },
            purposes: clauses(self.purposes),
            bases: clauses(self.bases),
            categories: self.categories.into_iter().map(own).collect(),
            types,
            steps: self.steps.into_iter().map(step).collect(),
            conditions: self.conditions.into_iter().map(ConditionSource::document).collect(),
            flows: self.flows.into_iter().map(FlowSource::document).collect(),
            decisions: self.decisions.into_iter().map(DecisionSource::document).collect(),
            parties: self.parties.into_iter().map(|row| row.document(head.valid_from.0)).collect(),
            witnesses: self
                .witnesses
                .into_iter()
                .map(|row| Outside { name: row.name, vkey: row.vkey, url: row.url })
                .collect(),
            informs,
        })
    }
}

impl TypeSource {
    fn document(self, load: &mut dyn FnMut(&str) -> Result<String, String>) -> Result<MessageType, String> {
        let text = load(&self.schema).map_err(|error| format!("cannot read {}: {error}", self.schema))?;
        let schema = Schema::canonical(&text).map_err(|error| format!("{}: {error}", self.schema))?;
        Ok(MessageType { code: self.code, nl: self.nl, en: self.en, schema })
    }
}

impl FlowSource {
    fn document(self) -> Flow {
        let steps = if self.steps.iter().any(|step| matches!(step, Steps::Any)) {
            Step::ALL.to_vec()
        } else {
            let one = |step: &Steps| match step {
                Steps::One(step) => Some(*step),
                Steps::Any => None,
            };
            self.steps.iter().filter_map(one).collect()
        };
        // Police, prosecution and care data are passed on with the origin's consent only.
        let strict = self.levels.iter().any(|level| matches!(level, Level::P3 | Level::Z));
        let default = if strict { Handling::Consent } else { Handling::Partners };
        Flow {
            id: self.id,
            nl: self.nl,
            en: self.en,
            types: self.types,
            routes: self.routes.into_iter().map(|row| Route { from: row.from, to: row.to }).collect(),
            steps,
            levels: self.levels,
            categories: self.categories,
            purpose: self.purpose,
            bases: self.bases,
            case: self.case,
            decision: self.decision,
            conditions: self
                .conditions
                .into_iter()
                .map(|row| Requirement { condition: row.condition, roles: row.roles })
                .collect(),
            release: self.release,
            handling: self.handling.unwrap_or(default),
            max_recipients: self.max_recipients,
            max_body: self.max_body,
            retention_days: self.retention_days,
            retention: self.retention,
        }
    }
}

impl DecisionSource {
    fn document(self) -> Decision {
        Decision {
            reference: self.reference,
            date: self.date.0,
            authority: self.authority,
            recipients: self.recipients,
            categories: self.categories,
            expires: self.expires.0,
        }
    }
}

impl ConditionSource {
    fn document(self) -> Condition {
        Condition { code: self.code, nl: self.nl, en: self.en, set_by: self.set_by, parties: self.parties }
    }
}

impl PartySource {
    /// A party without a date takes part from the first day, `start`.
    fn document(self, start: Timestamp) -> Party {
        Party {
            oin: self.oin.0,
            role: self.role,
            name: self.name,
            contact: self.contact,
            signing_keys: self.signing_keys.into_iter().map(|key| key.0).collect(),
            may_be_absent: self.may_be_absent,
            joined: self.joined.map_or(start, |date| date.0),
            left: self.left.map(|date| date.0),
            witness_key: self.witness_key.map(|key| key.0),
        }
    }
}

impl CovenantError {
    fn at(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }
}
