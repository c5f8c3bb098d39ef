//! The yardstick of a rebuild: copying the same rows out of Postgres and in again, unchanged.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use projector::{SCHEMA, VIEWS};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::yardstick::copy;

/// The schema of the copies during the measurement.
const COPIES: &str = "bench_copies";

/// The size and the time of a copy.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowCopy {
    pub(super) rows: u64,
    pub(super) taken: Duration,
}

/// Copies the rows of all views by binary `COPY`, out on one connection and in on another as they
/// arrive, into tables with the same keys and indexes. Making the empty tables does not count.
pub(super) async fn copy_views(url: &str) -> anyhow::Result<RowCopy> {
    let mut from = PgConnection::connect(url).await.context("connect to the ledger")?;
    let mut to = PgConnection::connect(url).await.context("connect to the ledger")?;
    let mut tables = format!("DROP SCHEMA IF EXISTS {COPIES} CASCADE; CREATE SCHEMA {COPIES};");
    for view in VIEWS {
        tables.push_str(&format!("CREATE TABLE {COPIES}.{view} (LIKE {SCHEMA}.{view} INCLUDING ALL);"));
    }
    sqlx::raw_sql(AssertSqlSafe(tables)).execute(&mut to).await.context("make the tables to copy into")?;
    let copied = copy_all(&mut from, &mut to).await;
    let dropped = sqlx::raw_sql(AssertSqlSafe(format!("DROP SCHEMA {COPIES} CASCADE"))).execute(&mut to).await;
    let copied = copied.context("copy the rows of the views")?;
    dropped.context("drop the copies")?;
    from.close().await.context("leave the ledger")?;
    to.close().await.context("leave the ledger")?;
    Ok(copied)
}

async fn copy_all(from: &mut PgConnection, to: &mut PgConnection) -> Result<RowCopy, sqlx::Error> {
    // A checkpoint first, so that the copy does not pay for pages that earlier work left to be
    // written.
    sqlx::raw_sql("CHECKPOINT").execute(&mut *to).await?;
    let started = Instant::now();
    let mut rows = 0;
    for view in VIEWS {
        rows += copy(from, to, &format!("{SCHEMA}.{view}"), &format!("{COPIES}.{view}")).await?;
    }
    Ok(RowCopy { rows, taken: started.elapsed() })
}
