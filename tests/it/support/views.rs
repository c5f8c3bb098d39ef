//! The content of the views.

use futures::TryStreamExt as _;
use projector::{VIEWS, View};
use sqlx::{AssertSqlSafe, PgPool, Row as _};

/// The views in a schema as Postgres writes them, and the checkpoint without its epoch, which
/// counts take-overs.
pub async fn dump_views(pool: &PgPool, schema: &str) -> String {
    let checkpoint = format!("SELECT version, position, event_id::text, recorded_at::text FROM {schema}.checkpoint");
    let row = sqlx::query(AssertSqlSafe(checkpoint)).fetch_one(pool).await.expect("a checkpoint");
    let (version, position): (i32, i64) = (row.get(0), row.get(1));
    let (event_id, recorded_at): (Option<String>, Option<String>) = (row.get(2), row.get(3));
    let mut dump = format!("version {version}, position {position}, {event_id:?}, {recorded_at:?}\n");
    for view in VIEWS {
        dump.push_str(&format!("{view}\n{}", dump_view(pool, schema, view).await));
    }
    dump.push_str(&format!("stream_aside\n{}", dump_table(pool, schema, "stream_aside").await));
    dump
}

/// The rows of a view, in a fixed order.
pub async fn dump_view(pool: &PgPool, schema: &str, view: View) -> String {
    dump_table(pool, schema, view.name()).await
}

async fn dump_table(pool: &PgPool, schema: &str, table: &str) -> String {
    let mut connection = pool.acquire().await.expect("a connection");
    let copy = format!("COPY (SELECT * FROM {schema}.{table} t ORDER BY t::text COLLATE \"C\") TO STDOUT");
    let rows = connection.copy_out_raw(&copy).await.expect("the view");
    let rows: Vec<_> = rows.try_collect().await.expect("its rows");
    String::from_utf8(rows.concat()).expect("text")
}
