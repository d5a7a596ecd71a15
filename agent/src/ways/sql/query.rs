//! The query of a source, and the rows it gives.
//!
//! The query stands within one of the agent's own, which orders its rows by mark and then by id, goes on after the last
//! row that was seen, and gives the columns that the mapping names and no others. All of it is one transaction that can
//! only read.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use seinhuis_shared::limits::BODY_MAX;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::config::CONFIG_MAX;
use seinhuis_shell::files;
use seinhuis_shell::lang::Text;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{IsolationLevel, Statement, Transaction};

use super::connect::Session;
use super::trouble;
use crate::config::Sql;
use crate::ways::rows::cells::Cell;
use crate::ways::rows::mapping::{Decimal, Mapping};
use crate::ways::rows::{Addressed, Named, about, ready};

/// Most bytes of a row: more than a body can have.
const ROW_MAX: usize = BODY_MAX;
/// Most bytes of the rows of one look.
const LOOK_BYTES_MAX: usize = 16 << 20;
/// Rows that the server is asked for at a time.
const PIECE: i32 = 16;
/// Most characters of an id, and of a mark.
const NAME_MAX: usize = 200;
/// How much longer than the server's own limit the agent waits.
const MARGIN: Duration = Duration::from_secs(10);

/// Where a row stands among the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// What stands in the column of the mark, as text.
    pub(super) mark: String,
    /// What stands in the column of the id, as text.
    pub(super) id: String,
}

/// A row.
pub(super) struct Row {
    pub(super) place: Place,
    /// Its columns as an object in JSON; none for a row that is too large.
    pub(super) cells: Option<String>,
}

/// The rows of one look.
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    /// Whether no rows come after them.
    pub(super) whole: bool,
}

/// A column that the query gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// What it is called.
    pub(crate) name: String,
    /// The name of its type.
    pub(crate) kind: String,
}

/// Which rows are asked for.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    /// Those from a mark on, after a place in them.
    After(Option<&'a Place>),
    /// The one with this id.
    One(&'a str),
}

/// The query of a source with its mapping.
#[derive(Debug)]
pub(super) struct Query {
    text: String,
    pub(super) mapping: Mapping,
    otherwise: Addressed,
}

impl Query {
    /// Reads query and mapping.
    ///
    /// # Errors
    /// A sentence naming file, fault and fix.
    pub(super) fn load(source: &Sql, home: &Path) -> Result<Self, Complaint> {
        let mapping = Mapping::load(&home.join(&source.mapping))?;
        if mapping.id.is_empty() {
            let file = home.join(&source.mapping);
            return Err(Complaint::usage(
                Text::new(
                    format!("De mapping {} noemt geen id.", file.display()),
                    format!("The mapping {} names no id.", file.display()),
                ),
                Text::new(
                    "Noem in id de kolom waaraan een rij te herkennen is.",
                    "Name in id the column by which a row is known.",
                ),
            ));
        }
        let text = files::read_text(&home.join(&source.query), CONFIG_MAX)?;
        let text = text.trim_end_matches(|c: char| c.is_whitespace() || c == ';').to_owned();
        Ok(Self { text, mapping, otherwise: source.defaults().addressed() })
    }

    /// A row as it may be handed over, under what it is known by; or why not.
    pub(super) fn named(&self, row: &Row) -> Named {
        let Some(cells) = &row.cells else {
            return Err(Text::new("de rij is te lang", "the row is too long"));
        };
        let cells: BTreeMap<String, Box<RawValue>> = serde_json::from_str(cells)
            .map_err(|_| Text::new("de rij is niet te lezen", "the row cannot be read"))?;
        let cell = |column: &str| {
            let raw = cells.get(column).map_or("null", |raw| raw.get());
            cell(raw).map_err(|why| about(column, &why))
        };
        let ready = ready(&self.mapping, Decimal::Point, &self.otherwise, cell)?;
        Ok((ready, row.place.id.clone().into_bytes()))
    }

    /// Asks for rows with a mark of at least `low`.
    ///
    /// # Errors
    /// What is wrong with the database or the query.
    pub(super) async fn rows(
        &self,
        session: &mut Session,
        source: &Sql,
        low: &str,
        asked: Asked<'_>,
    ) -> Result<Batch, Complaint> {
        in_time(source, self.rows_of(session, source, low, asked)).await
    }

    async fn rows_of(
        &self,
        session: &mut Session,
        source: &Sql,
        low: &str,
        asked: Asked<'_>,
    ) -> Result<Batch, Complaint> {
        let wrong = |error: tokio_postgres::Error| trouble::of(source, &error);
        let transaction = begin(session, source).await?;
        let types = self.types(source, &transaction.prepare(&self.text).await.map_err(wrong)?)?;
        let statement = transaction.prepare(&self.within(source, types, asked)).await.map_err(wrong)?;
        let params: Vec<AsText<'_>> = match asked {
            Asked::After(None) => vec![AsText(low)],
            Asked::After(Some(place)) => vec![AsText(low), AsText(&place.mark), AsText(&place.id)],
            Asked::One(id) => vec![AsText(low), AsText(id)],
        };
        let portal = transaction.bind_raw(&statement, &params).await.map_err(wrong)?;
        let (mut rows, mut bytes) = (Vec::new(), 0_usize);
        let whole = loop {
            let piece = transaction.query_portal(&portal, PIECE).await.map_err(wrong)?;
            let ended = piece.len() < usize::try_from(PIECE).unwrap_or_default();
            for row in piece {
                bytes = bytes.saturating_add(row.raw_size_bytes());
                let text = |at: usize| row.try_get::<_, Option<String>>(at).map_err(wrong);
                let (mark, id) =
                    (name(source, &source.mark, text(0)?)?, name(source, &self.mapping.id, text(1)?)?);
                rows.push(Row { place: Place { mark, id }, cells: text(2)? });
            }
            if ended || bytes > LOOK_BYTES_MAX {
                break ended;
            }
        };
        transaction.rollback().await.map_err(wrong)?;
        let whole = whole && rows.len() < usize::try_from(source.rows).unwrap_or(usize::MAX);
        Ok(Batch { rows, whole })
    }

    /// The columns that the query gives.
    ///
    /// # Errors
    /// What is wrong with the database or the query.
    pub(super) async fn columns(
        &self,
        session: &mut Session,
        source: &Sql,
    ) -> Result<Vec<Column>, Complaint> {
        in_time(source, self.columns_of(session, source)).await
    }

    async fn columns_of(&self, session: &mut Session, source: &Sql) -> Result<Vec<Column>, Complaint> {
        let transaction = begin(session, source).await?;
        let wrong = |error: tokio_postgres::Error| trouble::of(source, &error);
        let statement = transaction.prepare(&self.text).await.map_err(wrong)?;
        self.types(source, &statement)?;
        let columns = statement.columns().iter();
        Ok(columns
            .map(|one| Column { name: one.name().to_owned(), kind: one.type_().name().to_owned() })
            .collect())
    }

    /// The types of mark and id, when the query is one that can be used.
    fn types(&self, source: &Sql, statement: &Statement) -> Result<(&'static str, &'static str), Complaint> {
        if statement.params().len() != 1 {
            return Err(unfit(
                source,
                ("heeft niet precies één parameter, $1", "does not have exactly one parameter, $1"),
            ));
        }
        let columns = statement.columns();
        for wanted in self.mapping.columns().into_iter().chain([source.mark.as_str()]) {
            if columns.iter().filter(|column| column.name() == wanted).count() != 1 {
                return Err(unfit(
                    source,
                    (
                        &format!("geeft niet precies één kolom {wanted:?}"),
                        &format!("does not give exactly one column {wanted:?}"),
                    ),
                ));
            }
        }
        let kind = |wanted: &str| {
            let column = columns.iter().find(|column| column.name() == wanted);
            let found = column.map(tokio_postgres::Column::type_);
            found.and_then(ordered).ok_or_else(|| {
                let kind = found.map_or("?", Type::name);
                unfit(
                    source,
                    (
                        &format!("geeft in kolom {wanted:?} het type {kind}, waarop niet te ordenen is"),
                        &format!("gives type {kind} in column {wanted:?}, which rows cannot be ordered by"),
                    ),
                )
            })
        };
        Ok((kind(&source.mark)?, kind(&self.mapping.id)?))
    }

    /// The query within the agent's own.
    fn within(&self, source: &Sql, (mark_type, id_type): (&str, &str), asked: Asked<'_>) -> String {
        let (mark, id) = (quoted(&source.mark), quoted(&self.mapping.id));
        let which = match asked {
            Asked::After(None) => String::new(),
            Asked::After(Some(_)) => format!("WHERE (q.{mark}, q.{id}) > ($2::{mark_type}, $3::{id_type})"),
            Asked::One(_) => format!("WHERE q.{id} = $2::{id_type}"),
        };
        let columns: Vec<String> =
            self.mapping.columns().into_iter().map(|column| format!("p.{}", quoted(column))).collect();
        let (text, columns, limit) = (&self.text, columns.join(", "), source.rows);
        format!(
            "SELECT p.{mark}::text, p.{id}::text, CASE WHEN octet_length(s.j) <= {ROW_MAX} THEN s.j END \
             FROM (SELECT * FROM (\n{text}\n) AS q {which} ORDER BY q.{mark}, q.{id} LIMIT {limit}) AS p, \
             LATERAL (SELECT row_to_json(r)::text AS j FROM (SELECT {columns}) AS r) AS s \
             ORDER BY p.{mark}, p.{id}"
        )
    }
}

/// What a server does not answer in its own time is not waited for.
async fn in_time<T>(source: &Sql, work: impl Future<Output = Result<T, Complaint>>) -> Result<T, Complaint> {
    let limit = Duration::from_secs(source.timeout_s).saturating_add(MARGIN);
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(trouble::silent(source)))
}

/// Begins a transaction that can only read, and ends by itself.
async fn begin<'a>(session: &'a mut Session, source: &Sql) -> Result<Transaction<'a>, Complaint> {
    let wrong = |error: tokio_postgres::Error| trouble::of(source, &error);
    let builder = session.client.build_transaction();
    let reading = builder.isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = reading.start().await.map_err(wrong)?;
    let limit = source.timeout_s;
    // Dates and times as text that reads back as the same.
    let settings = format!(
        "SET LOCAL statement_timeout = '{limit}s'; SET LOCAL lock_timeout = '{limit}s'; \
         SET LOCAL idle_in_transaction_session_timeout = '{limit}s'; SET LOCAL datestyle = 'ISO, YMD'"
    );
    transaction.batch_execute(&settings).await.map_err(wrong)?;
    Ok(transaction)
}

/// A parameter in the way the server writes it.
struct AsText<'a>(&'a str);

/// The library may log parameters.
impl std::fmt::Debug for AsText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AsText(..)")
    }
}

impl ToSql for AsText<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// The name of a type that rows can be ordered by, and that reads back what it shows as text.
fn ordered(kind: &Type) -> Option<&'static str> {
    let known = [
        (Type::INT2, "int2"),
        (Type::INT4, "int4"),
        (Type::INT8, "int8"),
        (Type::NUMERIC, "numeric"),
        (Type::TEXT, "text"),
        (Type::VARCHAR, "text"),
        (Type::BPCHAR, "bpchar"),
        (Type::UUID, "uuid"),
        (Type::DATE, "date"),
        (Type::TIMESTAMP, "timestamp"),
        (Type::TIMESTAMPTZ, "timestamptz"),
    ];
    known.into_iter().find(|(one, _)| one == kind).map(|(_, name)| name)
}

/// A name as SQL has it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A mark or an id, which every row has.
fn name(source: &Sql, column: &str, found: Option<String>) -> Result<String, Complaint> {
    let good = |text: &String| !text.is_empty() && text.chars().count() <= NAME_MAX;
    let allowed = |text: &String| good(text) || (text.is_empty() && column == source.mark);
    found.filter(allowed).ok_or_else(|| {
        unfit(
            source,
            (
                &format!("geeft een rij waarvan kolom {column:?} leeg is, of langer dan {NAME_MAX} tekens"),
                &format!(
                    "gives a row of which column {column:?} is empty, or longer than {NAME_MAX} characters"
                ),
            ),
        )
    })
}

/// A query that cannot be used.
fn unfit(source: &Sql, (nl, en): (&str, &str)) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("De query van [[sql]] {:?} {nl}.", source.name),
            format!("The query of [[sql]] {:?} {en}.", source.name),
        ),
        Text::new(
            "Pas query, mapping of mark aan (docs/sql.md); `seinhuis-agent sql check` zegt of het goed is.",
            "Change query, mapping or mark (docs/sql.md); `seinhuis-agent sql check` says whether it is right.",
        ),
    )
}

/// What stands in a column, out of JSON.
fn cell(raw: &str) -> Result<Cell, Text> {
    if raw.starts_with('[') {
        let items: Vec<Box<RawValue>> = serde_json::from_str(raw).map_err(|_| not_plain())?;
        return items.iter().map(|item| plain(item.get())).collect::<Result<_, _>>().map(Cell::List);
    }
    plain(raw).map(Cell::Text)
}

/// A text, number or truth value as text; nothing for null.
fn plain(raw: &str) -> Result<String, Text> {
    match raw.bytes().next() {
        Some(b'"') => serde_json::from_str(raw).map_err(|_| not_plain()),
        Some(b'[' | b'{') => Err(not_plain()),
        Some(b'n') | None => Ok(String::new()),
        Some(_) => Ok(raw.to_owned()),
    }
}

fn not_plain() -> Text {
    Text::new(
        "is geen tekst, getal, datum, ja of nee, of lijst daarvan",
        "is no text, number, date, yes or no, or list of those",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_as_the_server_writes_them() {
        let text = |text: &str| Cell::Text(text.to_owned());
        for (raw, wanted) in [
            ("\"caf\\u00e9 \\\"x\\\"\"", text("café \"x\"")),
            ("12.50", text("12.50")),
            ("9007199254740993", text("9007199254740993")),
            ("true", text("true")),
            ("null", text("")),
            ("[\"a,b\",2,null]", Cell::List(vec!["a,b".into(), "2".into(), String::new()])),
        ] {
            assert_eq!(cell(raw), Ok(wanted), "{raw}");
        }
        for raw in ["{\"a\":1}", "[[1]]", "[{}]", "\"half"] {
            assert!(cell(raw).unwrap_err().en.contains("no text"), "{raw}");
        }
    }

    #[test]
    fn names_of_columns_end_no_query() {
        assert_eq!(quoted("a\" OR \"b"), "\"a\"\" OR \"\"b\"");
    }

    #[test]
    fn every_row_has_a_mark_and_an_id() {
        let source = Sql { name: "zaken".into(), mark: "m".into(), ..Sql::default() };
        assert_eq!(name(&source, "m", Some(String::new())).unwrap(), "", "a text may be empty");
        assert!(name(&source, "id", Some(String::new())).is_err());
        let long = "é".repeat(NAME_MAX + 1);
        assert!(name(&source, "id", None).is_err() && name(&source, "id", Some(long.clone())).is_err());
        assert!(name(&source, "m", None).is_err() && name(&source, "m", Some(long)).is_err());
        assert_eq!(format!("{:?}", AsText("secret")), "AsText(..)");
    }
}
