//! How large the views are, whichever they are.

use sqlx::{AssertSqlSafe, PgPool, Row as _};

use crate::Error;

/// Rows of a table up to this size on disk are counted, in some milliseconds; those of a larger one are estimated.
const COUNTED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How large a view is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Its rows; none where there is no such view, or nobody has ever counted.
    pub(crate) rows: Option<Rows>,
    /// What it takes on disk with its indexes.
    pub(crate) bytes: u64,
}

/// How many rows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Counted just now.
    Counted(u64),
    /// As Postgres's statistics have it, some per cent off.
    Estimated(u64),
}

/// Looks how large a view is, which has one of the names that the program gives them.
pub(crate) async fn read(views: &PgPool, view: &'static str) -> Result<Size, Error> {
    let sizes = sqlx::query(
        "SELECT coalesce(pg_table_size(oid), 0) AS table_bytes,
                coalesce(pg_total_relation_size(oid), 0) AS bytes,
                reltuples::bigint AS estimate
           FROM pg_class
          WHERE oid = to_regclass($1)",
    )
    .bind(view)
    .fetch_optional(views)
    .await?;
    let Some(sizes) = sizes else { return Ok(Size { rows: None, bytes: 0 }) };
    let bytes = |column: &str| Ok::<_, sqlx::Error>(sizes.try_get::<i64, _>(column)?.unsigned_abs());
    let rows = if bytes("table_bytes")? <= COUNTED_BYTES_MAX {
        let count: i64 =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {view}"))).fetch_one(views).await?;
        Some(Rows::Counted(count.unsigned_abs()))
    } else {
        // Negative where nobody has counted yet.
        u64::try_from(sizes.try_get::<i64, _>("estimate")?).ok().map(Rows::Estimated)
    };
    Ok(Size { rows, bytes: bytes("bytes")? })
}
