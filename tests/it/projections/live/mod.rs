//! The projector at work: any log gives the same rows.
//!
//! A [`RandomLedger`] sends commands through the domain and appends their events. The tests compare
//! the rows of the views as Postgres writes them, ordered by key.

mod recovery;
mod rows;
mod take_over;

use projector::ProjectorSettings;
use sqlx::PgPool;

use crate::support::{dump_views, random_ledger::RandomLedger, running_projector::RunningProjector};

/// The serving views as Postgres writes them.
async fn dump(pool: &PgPool) -> String {
    dump_views(pool, "views").await
}

async fn drop_views(pool: &PgPool) {
    sqlx::raw_sql("DROP SCHEMA IF EXISTS views CASCADE").execute(pool).await.expect("drop the views");
}

async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.expect(sql)
}

/// Settings that never rebuild: the projector follows every event.
fn settings_of_batches(batch_events_max: usize) -> ProjectorSettings {
    ProjectorSettings { batch_events_max, rebuild_events_min: u64::MAX }
}

/// Starts a projector on views that are far behind. It follows the log, or rebuilds them.
async fn start(ledger: &RandomLedger, views: &PgPool, rebuilds: bool) -> RunningProjector {
    if rebuilds {
        RunningProjector::start_rebuilding(&ledger.log, views).await
    } else {
        RunningProjector::start(&ledger.log, views, settings_of_batches(100))
    }
}
