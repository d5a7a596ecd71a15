//! What is wrong with a body, told by naming the field and never its value.

use core::fmt;

use crate::refusal::{Lang, Refusal};

/// A fault in a body. What a sender's person reads; on the wire only the refusal's number travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field as a JSON pointer (RFC 6901); empty for the body as a whole.
    pub path: String,
    /// What is wrong with it.
    pub fault: FieldFault,
}

/// Kinds of fault. No variant holds a value from the body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the bounds in the variants are the schema's own, named as its keywords")]
pub enum FieldFault {
    /// More bytes than the flow allows.
    TooLarge { max: usize },
    /// The message type has no schema in this covenant.
    NoSchema,
    /// Not UTF-8.
    NotUtf8,
    /// Not JSON, from this place on.
    Syntax { line: usize, column: usize },
    /// A key stands twice in one object.
    Duplicate { line: usize, column: usize },
    /// Nested too deep.
    TooDeep { max: usize },
    /// Not an object.
    NotAnObject,
    /// Not an array.
    NotAList,
    /// Not a string.
    NotText,
    /// Not a whole number.
    NotAnInteger,
    /// Not true or false.
    NotABoolean,
    /// A field the schema does not know.
    Unknown,
    /// A required field is absent.
    Missing,
    /// Fewer characters than `minLength`.
    TooShort { min: u64 },
    /// More characters than `maxLength`.
    TooLong { max: u64 },
    /// Fewer items than `minItems`.
    TooFew { min: u64 },
    /// More items than `maxItems`.
    TooMany { max: u64 },
    /// Outside `minimum` to `maximum`.
    OutOfRange { min: i64, max: i64 },
    /// None of the values in `enum`, or not the `const`.
    NotListed { allowed: Vec<String> },
    /// Not a date.
    NotADate,
    /// Not an instant.
    NotADateTime,
    /// The declared categories are not those in the body; these codes are in one of the two only.
    Categories { differing: Vec<String> },
    /// The declared level is not the highest in the body.
    Level,
}

impl FieldFault {
    /// The reason this fault gives.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::TooLarge { .. } => Refusal::TooLarge,
            Self::NoSchema => Refusal::WrongType,
            Self::NotUtf8 | Self::Syntax { .. } | Self::Duplicate { .. } | Self::TooDeep { .. } => {
                Refusal::NotJson
            }
            Self::Unknown => Refusal::FieldNotAllowed,
            Self::Categories { .. } => Refusal::CategoryNotAllowed,
            Self::Level => Refusal::LevelNotAllowed,
            Self::NotAnObject
            | Self::NotAList
            | Self::NotText
            | Self::NotAnInteger
            | Self::NotABoolean
            | Self::Missing
            | Self::TooShort { .. }
            | Self::TooLong { .. }
            | Self::TooFew { .. }
            | Self::TooMany { .. }
            | Self::OutOfRange { .. }
            | Self::NotListed { .. }
            | Self::NotADate
            | Self::NotADateTime => Refusal::FieldInvalid,
        }
    }

    /// What is wrong, to be put behind the name of the field.
    pub fn text(&self, lang: Lang) -> String {
        match lang {
            Lang::Nl => self.nl(),
            Lang::En => self.en(),
        }
    }

    fn nl(&self) -> String {
        match self {
            Self::TooLarge { max } => format!("is groter dan de {max} bytes die deze stroom toestaat"),
            Self::NoSchema => "heeft een berichttype zonder schema in dit convenant".to_owned(),
            Self::NotUtf8 => "is geen UTF-8-tekst".to_owned(),
            Self::Syntax { line, column } => format!("is geen JSON (regel {line}, kolom {column})"),
            Self::Duplicate { line, column } => {
                format!("bevat een veld tweemaal (vóór regel {line}, kolom {column})")
            }
            Self::TooDeep { max } => format!("is dieper genest dan {max} lagen"),
            Self::NotAnObject => "moet een object zijn".to_owned(),
            Self::NotAList => "moet een lijst zijn".to_owned(),
            Self::NotText => "moet tekst zijn".to_owned(),
            Self::NotAnInteger => "moet een geheel getal zijn".to_owned(),
            Self::NotABoolean => "moet true of false zijn".to_owned(),
            Self::Unknown => {
                "is geen veld dat het convenant voor dit berichttype kent; verwijder het".to_owned()
            }
            Self::Missing => "ontbreekt en is verplicht".to_owned(),
            Self::TooShort { min } => format!("moet ten minste {min} tekens hebben"),
            Self::TooLong { max } => format!("mag hooguit {max} tekens hebben"),
            Self::TooFew { min } => format!("moet ten minste {min} onderdelen hebben"),
            Self::TooMany { max } => format!("mag hooguit {max} onderdelen hebben"),
            Self::OutOfRange { min, max } => format!("moet van {min} tot en met {max} zijn"),
            Self::NotListed { allowed } => format!("moet een van deze waarden zijn: {}", allowed.join(", ")),
            Self::NotADate => "moet een bestaande datum zijn, zoals 2026-03-01".to_owned(),
            Self::NotADateTime => "moet een tijdstip zijn, zoals 2026-03-01T22:15:00+01:00".to_owned(),
            Self::Categories { differing } => format!(
                "bevat andere gegevenscategorieën dan verklaard; het verschil: {}",
                differing.join(", ")
            ),
            Self::Level => "heeft een ander hoogste niveau dan verklaard".to_owned(),
        }
    }

    fn en(&self) -> String {
        match self {
            Self::TooLarge { max } => format!("is larger than the {max} bytes this flow allows"),
            Self::NoSchema => "has a message type without a schema in this covenant".to_owned(),
            Self::NotUtf8 => "is not UTF-8 text".to_owned(),
            Self::Syntax { line, column } => format!("is not JSON (line {line}, column {column})"),
            Self::Duplicate { line, column } => {
                format!("has one field twice (before line {line}, column {column})")
            }
            Self::TooDeep { max } => format!("is nested deeper than {max} levels"),
            Self::NotAnObject => "must be an object".to_owned(),
            Self::NotAList => "must be a list".to_owned(),
            Self::NotText => "must be text".to_owned(),
            Self::NotAnInteger => "must be a whole number".to_owned(),
            Self::NotABoolean => "must be true or false".to_owned(),
            Self::Unknown => "is not a field the covenant knows for this message type; remove it".to_owned(),
            Self::Missing => "is missing and required".to_owned(),
            Self::TooShort { min } => format!("must have at least {min} characters"),
            Self::TooLong { max } => format!("may have at most {max} characters"),
            Self::TooFew { min } => format!("must have at least {min} items"),
            Self::TooMany { max } => format!("may have at most {max} items"),
            Self::OutOfRange { min, max } => format!("must be from {min} up to and including {max}"),
            Self::NotListed { allowed } => format!("must be one of: {}", allowed.join(", ")),
            Self::NotADate => "must be an existing date, such as 2026-03-01".to_owned(),
            Self::NotADateTime => "must be an instant, such as 2026-03-01T22:15:00+01:00".to_owned(),
            Self::Categories { differing } => {
                format!("holds other data categories than declared; they differ in: {}", differing.join(", "))
            }
            Self::Level => "has another highest level than declared".to_owned(),
        }
    }
}

impl FieldError {
    /// A fault of the body as a whole.
    pub fn whole(fault: FieldFault) -> Self {
        Self { path: String::new(), fault }
    }

    /// The reason to refuse with.
    pub fn refusal(&self) -> Refusal {
        self.fault.refusal()
    }

    /// A sentence for people that names the field and never its value.
    pub fn message(&self, lang: Lang) -> String {
        let what = self.fault.text(lang);
        if self.path.is_empty() {
            format!("{} {what}.", lang.pick("De inhoud", "The body"))
        } else {
            format!("{} {} {what}.", lang.pick("Veld", "Field"), self.path)
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(Lang::En))
    }
}

impl core::error::Error for FieldError {}

/// Appends a name as a JSON pointer token: escaped, cut to 64 characters, without control characters, because
/// the name of an unknown field is whatever its sender wrote.
pub(super) fn push_escaped(pointer: &mut String, name: &str) {
    for c in name.chars().take(64) {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c if c.is_control() => pointer.push('\u{fffd}'),
            c => pointer.push(c),
        }
    }
}

/// A name as a JSON pointer token.
pub(super) fn escape(name: &str) -> String {
    let mut token = String::new();
    push_escaped(&mut token, name);
    token
}
