//! What the views hold.

use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, PgPool, Row as _};

const TABLES: [(&str, &str); 7] = [
    ("prisoner_case", "prisoner_number"),
    ("case_period", "prisoner_number, valid_from"),
    ("case_prison", "prisoner_number, prison"),
    ("allocation", "prisoner_number, revision"),
    ("prison", "prison_code"),
    ("pom_period", "prison_code, staff_id, valid_from"),
    ("nomis_contact", "prison_code, contact_id"),
];

/// The views in a schema as Postgres writes them out, ordered by key, and the checkpoint without its epoch, which counts
/// take-overs.
pub async fn dump_views(pool: &PgPool, schema: &str) -> String {
    let mut dump = String::new();
    let checkpoint = format!("SELECT version, position, recorded_at::text FROM {schema}.checkpoint");
    let row = sqlx::query(AssertSqlSafe(checkpoint)).fetch_one(pool).await.expect("a checkpoint");
    let (version, position): (i32, i64) = (row.get(0), row.get(1));
    dump.push_str(&format!("version {version}, position {position}, {:?}\n", row.get::<Option<String>, _>(2)));
    let mut connection = pool.acquire().await.expect("a connection");
    for (table, key) in TABLES {
        let rows = connection
            .copy_out_raw(&format!("COPY (SELECT * FROM {schema}.{table} ORDER BY {key}) TO STDOUT"))
            .await
            .expect("the view");
        let rows: Vec<_> = rows.try_collect().await.expect("its rows");
        dump.push_str(&format!("{table}\n{}", String::from_utf8(rows.concat()).expect("text")));
    }
    dump
}
