//! How large the views are.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use views::View;

use crate::QueryError;

/// RowCount of a table up to this size on disk are counted, in some milliseconds; those of a larger
/// one are estimated.
const COUNTED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How large a view is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ViewSize {
    /// Its rows; `None` where there is no such view, or where Postgres has never counted them.
    pub(crate) rows: Option<RowCount>,
    /// Its size on disk with its indexes.
    pub(crate) bytes: u64,
}

/// How many rows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowCount {
    /// Counted just now.
    Counted(u64),
    /// As Postgres's statistics have it, some per cent off.
    Estimated(u64),
}

/// Reads how large a view is.
pub(crate) async fn read(views: &mut PgConnection, view: View) -> Result<ViewSize, QueryError> {
    let sizes = sqlx::query(
        "SELECT coalesce(pg_table_size(oid), 0) AS table_bytes,
                coalesce(pg_total_relation_size(oid), 0) AS bytes,
                reltuples::bigint AS estimate
           FROM pg_class
          WHERE oid = to_regclass($1)",
    )
    .bind(view.name())
    .fetch_optional(&mut *views)
    .await?;
    let Some(sizes) = sizes else { return Ok(ViewSize { rows: None, bytes: 0 }) };
    let bytes = |column: &str| Ok::<_, sqlx::Error>(sizes.try_get::<i64, _>(column)?.unsigned_abs());
    let rows = if bytes("table_bytes")? <= COUNTED_BYTES_MAX {
        let count: i64 =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {view}"))).fetch_one(views).await?;
        Some(RowCount::Counted(count.unsigned_abs()))
    } else {
        // Negative where Postgres has not counted yet.
        u64::try_from(sizes.try_get::<i64, _>("estimate")?).ok().map(RowCount::Estimated)
    };
    Ok(ViewSize { rows, bytes: bytes("bytes")? })
}
