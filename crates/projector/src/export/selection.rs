//! The rows to export: of which tables, of which instant, of which prison.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::identifier::PrisonCode;
use sqlx::PgConnection;
use views::{Owner, View, case_now, establishment};

use super::ExportError;

/// A table that can be exported from the views' schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportSource {
    /// A view.
    View(View),
    /// The names of prisons.
    Establishment,
    /// The cases as they are at an instant, under the name of the SQL view that shows them now.
    CasesAt(DateTime<Utc>),
}

/// The rows of tables to export.
#[derive(Debug, Clone)]
pub struct ExportSelection {
    /// The tables, each of which goes to an output.
    pub sources: Vec<ExportSource>,
    /// Of tables of periods: only the rows that hold at this instant.
    pub on: Option<DateTime<Utc>>,
    /// Only the rows of a prison.
    pub prison: Option<PrisonCode>,
    /// Whether the columns with free texts are null.
    pub without_texts: bool,
}

impl ExportSource {
    /// The table's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::View(view) => view.name(),
            Self::Establishment => establishment::NAME,
            Self::CasesAt(_) => case_now::NAME,
        }
    }

    /// The columns by which rows are ordered.
    fn key(self) -> &'static [&'static str] {
        match self {
            Self::View(view) => view.key(),
            Self::Establishment => establishment::KEY,
            Self::CasesAt(_) => case_now::KEY,
        }
    }

    /// The table as the part of a query after `FROM`.
    fn table_sql(self) -> String {
        match self {
            Self::View(_) | Self::Establishment => self.name().to_owned(),
            Self::CasesAt(at) => {
                format!("({}) AS {}", case_now::select_sql(&format!("{}::timestamptz", literal(at))), self.name())
            }
        }
    }

    /// The columns that hold what a person wrote freely.
    fn free_texts(self) -> &'static [&'static str] {
        match self {
            Self::View(view) => view.free_texts(),
            Self::CasesAt(_) => View::CasePeriod.free_texts(),
            Self::Establishment => &[],
        }
    }

    fn has_periods(self) -> bool {
        matches!(self, Self::View(view) if view.key().contains(&"valid_from"))
    }

    /// The condition for the rows of a prison. A case is a prison's if it was ever known to be held
    /// there; other rows name their prison.
    fn prison_condition(self, prison: &PrisonCode) -> String {
        match self {
            Self::View(View::PrisonerCase) => {
                format!("prisoner_number IN (SELECT prisoner_number FROM case_prison WHERE prison = '{prison}')")
            }
            Self::View(view) if view.owner() == Owner::Case => format!("prison = '{prison}'"),
            Self::CasesAt(_) => format!("prison = '{prison}'"),
            Self::View(_) | Self::Establishment => format!("prison_code = '{prison}'"),
        }
    }
}

/// An instant in SQL.
fn literal(at: DateTime<Utc>) -> String {
    format!("'{}'", at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

impl ExportSelection {
    /// The tables to lock before the snapshot, beside the checkpoint.
    pub(super) fn locked_tables(&self) -> String {
        let mut names = vec!["case_period", "case_prison", "nomis_contact", establishment::NAME];
        names.extend(self.sources.iter().filter_map(|source| match source {
            ExportSource::View(view) => Some(view.name()),
            ExportSource::Establishment | ExportSource::CasesAt(_) => None,
        }));
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }

    /// The condition for the rows of a table.
    ///
    /// # Errors
    /// [`ExportError::NoPeriods`] where an instant is asked of a table without periods.
    pub(super) fn condition(&self, source: ExportSource) -> Result<String, ExportError> {
        let mut conditions = Vec::new();
        if let Some(on) = self.on {
            if !source.has_periods() {
                return Err(ExportError::NoPeriods(source.name()));
            }
            conditions.push(format!("valid_from <= {on} AND {on} < valid_to", on = literal(on)));
        }
        conditions.extend(self.prison.as_ref().map(|prison| source.prison_condition(prison)));
        Ok(if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") })
    }

    /// The query for the number of rows of a table.
    pub(super) fn count_sql(&self, source: ExportSource) -> Result<String, ExportError> {
        Ok(format!("SELECT count(*) FROM {} WHERE {}", source.table_sql(), self.condition(source)?))
    }

    /// The query for these columns of a table, in the order of its key.
    pub(super) fn select_sql(&self, source: ExportSource, columns: &[&str]) -> Result<String, ExportError> {
        let is_hidden = |name: &&str| self.without_texts && source.free_texts().contains(name);
        let select = |name: &&str| if is_hidden(name) { format!("NULL::text AS {name}") } else { (*name).to_owned() };
        let columns = columns.iter().map(select).collect::<Vec<_>>().join(", ");
        let (from, condition, key) = (source.table_sql(), self.condition(source)?, source.key().join(", "));
        Ok(format!("SELECT {columns} FROM {from} WHERE {condition} ORDER BY {key}"))
    }

    /// Refuses a prison that neither the list of prisons nor the views know: an empty file would
    /// hide a slip of the pen.
    pub(super) async fn check_prison(&self, connection: &mut PgConnection) -> Result<(), ExportError> {
        let Some(prison) = self.prison.as_ref().filter(|prison| prison.listed_name().is_none()) else { return Ok(()) };
        let is_known: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM prison WHERE prison_code = $1)
                 OR EXISTS (SELECT FROM case_prison WHERE prison = $1)
                 OR EXISTS (SELECT FROM nomis_contact WHERE prison_code = $1)",
        )
        .bind(prison.as_str())
        .fetch_one(connection)
        .await?;
        if is_known { Ok(()) } else { Err(ExportError::UnknownPrison(prison.clone())) }
    }
}
