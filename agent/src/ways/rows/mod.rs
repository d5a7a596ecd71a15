//! Rows that become signals: of CSV files and of queries, by the same mapping.

pub(crate) mod cells;
pub(crate) mod mapping;

use data_encoding::BASE64;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;

use self::cells::{Body, Cell, value};
use self::mapping::{Decimal, Given, Mapping, Recipients};
use super::folders::Answer;
use super::work::Agent;
use crate::commands::request::PushText;

/// A row that can be handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Its body in JSON.
    pub(crate) body: Vec<u8>,
    /// Under what and to whom it goes.
    pub(crate) addressed: Addressed,
}

/// Under what and to whom something goes, as far as it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Addressed {
    pub(crate) flow: String,
    pub(crate) to: Vec<String>,
    pub(crate) step: Option<String>,
    pub(crate) message_type: Option<String>,
    pub(crate) case: Option<String>,
    pub(crate) basis: Option<String>,
}

/// What a source of signals says of those that do not say it themselves, as its configuration has it.
pub(crate) struct Defaults<'a> {
    pub(crate) flow: &'a str,
    pub(crate) to: &'a [String],
    pub(crate) step: &'a str,
    pub(crate) message_type: &'a str,
    pub(crate) case: &'a str,
    pub(crate) basis: &'a str,
}

impl Defaults<'_> {
    /// As an addressing; what is empty is not said.
    pub(crate) fn addressed(&self) -> Addressed {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Addressed {
            flow: self.flow.to_owned(),
            to: self.to.to_vec(),
            step: given(self.step),
            message_type: given(self.message_type),
            case: given(self.case),
            basis: given(self.basis),
        }
    }
}

impl Addressed {
    /// The push of this body under this addressing.
    pub(crate) fn push_text(self, msg_id: &str, body: &[u8]) -> PushText {
        let Self { flow, to, step, message_type, case, basis } = self;
        PushText {
            msg_id: msg_id.to_owned(),
            flow,
            to,
            step,
            case,
            message_type,
            basis,
            body: BASE64.encode(body),
            ..PushText::default()
        }
    }
}

/// Reads a row as the mapping says; what the mapping leaves open of the addressing is as `otherwise`. `cell` gives what
/// stands in a column.
///
/// # Errors
/// The column and what is wrong with it, without what stands there.
pub(crate) fn ready(
    mapping: &Mapping,
    decimal: Decimal,
    otherwise: &Addressed,
    cell: impl Fn(&str) -> Result<Cell, Text>,
) -> Result<Ready, Text> {
    let mut body = Body::default();
    for field in &mapping.fields {
        let read = if field.column.is_empty() { Cell::Text(String::new()) } else { cell(&field.column)? };
        if let Some(value) = value(&read, field, decimal).map_err(|why| about(&field.column, &why))? {
            body.put(&field.to, value);
        }
    }
    let addressing = &mapping.addressing;
    let some = |one: &Option<Given>, otherwise: &Option<String>| match one {
        None => Ok(otherwise.clone()),
        Some(Given::Fixed(text)) => Ok(Some(text.clone())),
        Some(Given::Column(of)) => trimmed(&cell, &of.column).map(Some),
    };
    let said = |one: &Option<Given>, otherwise: &Option<String>| {
        some(one, otherwise).map(|text| text.filter(|text| !text.is_empty()))
    };
    let to = match &addressing.to {
        None => otherwise.to.clone(),
        Some(Recipients::Fixed(all)) => all.clone(),
        Some(Recipients::Column(of)) => match cell(&of.column)? {
            Cell::Text(all) => parts(all.split(',')),
            Cell::List(all) => parts(all.iter().map(String::as_str)),
        },
    };
    let addressed = Addressed {
        flow: said(&addressing.flow, &Some(otherwise.flow.clone()))?.unwrap_or_default(),
        to,
        step: said(&addressing.step, &otherwise.step)?,
        message_type: said(&addressing.message_type, &otherwise.message_type)?,
        case: said(&addressing.case, &otherwise.case)?,
        basis: said(&addressing.basis, &otherwise.basis)?,
    };
    Ok(Ready { body: body.into_json().to_string().into_bytes(), addressed })
}

/// What stands in a column, as one text without spaces around it.
///
/// # Errors
/// When it is several texts, and as `cell`.
pub(crate) fn trimmed(cell: impl Fn(&str) -> Result<Cell, Text>, column: &str) -> Result<String, Text> {
    let read = cell(column)?;
    read.text().map(|text| text.trim().to_owned()).map_err(|why| about(column, &why))
}

fn parts<'a>(all: impl Iterator<Item = &'a str>) -> Vec<String> {
    all.map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
}

/// What is wrong with a column.
pub(crate) fn about(column: &str, why: &Text) -> Text {
    Text::new(format!("kolom {column:?} {}", why.nl), format!("column {column:?} {}", why.en))
}

/// Why a row cannot be handed over, in one line.
pub(crate) fn said(why: &Complaint) -> Text {
    Text::new(why.what.nl.trim_end_matches('.'), why.what.en.trim_end_matches('.'))
}

/// Under what a row is known in its source, of those that can be handed over.
pub(crate) type Named = Result<(Ready, Vec<u8>), Text>;

/// Begins to hand over rows, in order, so that many share one flush. `way` and their names say which messages they are.
///
/// # Errors
/// When the agent has stopped.
pub(super) fn begin(
    agent: &Agent,
    way: &str,
    rows: Vec<Named>,
) -> Result<Vec<Result<Answer, Complaint>>, Complaint> {
    let names: Vec<Option<Vec<u8>>> =
        rows.iter().map(|row| row.as_ref().ok().map(|(_, name)| name.clone())).collect();
    let way = way.to_owned();
    let ids: Vec<_> = agent.query(move |view| {
        names.iter().map(|name| name.as_ref().map(|name| view.vault.msg_id(&way, name))).collect()
    })?;
    let begun = rows.into_iter().zip(ids).map(|(row, id): (Named, Option<_>)| {
        let (Ready { body, addressed }, _) = row.map_err(unreadable)?;
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        super::folders::addressed(addressed.push_text(&id, &body)).and_then(|text| agent.begin(&text))
    });
    Ok(begun.collect())
}

/// What is told of a row that does not read as the mapping says.
fn unreadable(why: Text) -> Complaint {
    Complaint::refused(
        why,
        Text::new(
            "Verbeter de rij waar zij vandaan komt, of de mapping.",
            "Correct the row where it comes from, or the mapping.",
        ),
    )
}
