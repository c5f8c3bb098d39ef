//! The yardsticks: the rates of Postgres alone on this machine, in the same run.
//!
//! | yardstick | for |
//! |---|---|
//! | `pgbench`, 64 clients that each insert one row a transaction | appends and commands |
//! | `pgbench -S`, 16 clients that each select one row by key | answers |
//! | `COPY` of rows, out of Postgres and in again | loads in bulk, the projector, rebuilds |
//!
//! One client that inserts would wait for the disk and do nothing else: its rate is the disk's.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use embedded_postgres::{Server, binaries_dir};
use futures::TryStreamExt as _;
use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;

/// The database of the yardsticks.
const DATABASE: &str = "yardstick";

/// The numbers of clients that insert, and that select.
pub(crate) const INSERTERS: usize = 64;
pub(crate) const SELECTERS: usize = 16;

/// The rates of pgbench, in transactions a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pgbench {
    pub(crate) insert: f64,
    /// The default of `pgbench -S`, which sends each statement as text.
    pub(crate) select: f64,
    /// The same with a prepared statement.
    pub(crate) select_prepared: f64,
}

/// A table whose rows are as wide as an event of the log, with the same two indexes; and one to
/// select from.
const SCHEMA: &str = "
    CREATE TABLE event (
        position    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        stream      text        NOT NULL,
        revision    bigint      NOT NULL,
        event_id    uuid        NOT NULL,
        type        text        NOT NULL,
        recorded_at timestamptz NOT NULL,
        metadata    bytea       NOT NULL,
        data        bytea       NOT NULL
    );
    CREATE INDEX ON event (stream, revision);
    CREATE TABLE pair (key integer PRIMARY KEY, value text NOT NULL);
    INSERT INTO pair SELECT key, repeat('x', 200) FROM generate_series(1, 100000) AS key;
    ANALYZE pair;
";

/// The columns of an event, and the values of a made-up one; `NUMBER` stands for its number.
const COLUMNS: &str = "stream, revision, event_id, type, recorded_at, metadata, data";
const VALUES: &str = "'prisoner-' || NUMBER, 0::bigint, gen_random_uuid(), 'TierAssigned', now(), \
                      convert_to(repeat('m', 300), 'UTF8'), convert_to(repeat('d', 60), 'UTF8')";

const SELECT: &str = r"\set key random(1, 100000)
SELECT key, value FROM pair WHERE key = :key;
";

/// Finds pgbench, without which nothing is measured.
///
/// # Errors
/// This machine has no server programs, or they have no pgbench beside them.
pub(crate) fn find_pgbench() -> anyhow::Result<PathBuf> {
    let directory = binaries_dir()?;
    let program = directory.join("pgbench");
    if !program.is_file() {
        bail!(
            "there is no pgbench in {}, beside the Postgres server programs in use, and commands are compared with it: \
             install the package that has it (with the server on Debian, `postgresql-contrib` elsewhere), or name a \
             directory that has all of them with LEDGER_POSTGRES_BIN",
            directory.display()
        );
    }
    Ok(program)
}

/// Makes the database and the tables of the yardsticks.
pub(crate) async fn prepare(server: &Server) -> anyhow::Result<()> {
    server.create_database(DATABASE).await?;
    let mut connection = connect(server).await?;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await.context("make the yardsticks' tables")?;
    connection.close().await.context("leave the yardsticks' database")
}

async fn connect(server: &Server) -> anyhow::Result<PgConnection> {
    PgConnection::connect(&server.url(DATABASE)).await.context("connect to the yardsticks' database")
}

/// Measures the rates of pgbench, each for `duration`. `directory` is for its scripts.
pub(crate) async fn measure_pgbench(server: &Server, directory: &Path, duration: Duration) -> anyhow::Result<Pgbench> {
    Ok(Pgbench {
        insert: measure_inserts(server, directory, duration).await?,
        select: pgbench(server, directory, SELECT, "simple", SELECTERS, duration).await?,
        select_prepared: pgbench(server, directory, SELECT, "prepared", SELECTERS, duration).await?,
    })
}

/// Measures the rate of pgbench's inserts, in transactions a second.
pub(crate) async fn measure_inserts(server: &Server, directory: &Path, duration: Duration) -> anyhow::Result<f64> {
    let values = VALUES.replace("NUMBER", ":number");
    let script = format!("\\set number random(1, 1000000000)\nINSERT INTO event ({COLUMNS}) VALUES ({values});\n");
    pgbench(server, directory, &script, "prepared", INSERTERS, duration).await
}

/// Measures the rate at which `COPY` takes in so many events, in events a second.
pub(crate) async fn measure_copy(server: &Server, events: u64) -> anyhow::Result<f64> {
    let (mut from, mut to) = (connect(server).await?, connect(server).await?);
    let values = VALUES.replace("NUMBER", "trunc(random() * 1000000000)");
    let from_query = format!("(SELECT {values} FROM generate_series(1, {events}))");
    empty(&mut to).await.context("make room for the copy")?;
    let started = Instant::now();
    copy(&mut from, &mut to, &from_query, &format!("event ({COLUMNS})")).await.context("copy events")?;
    let taken = started.elapsed();
    // What is measured next does not pay for the copy's pages, nor for its vacuum.
    empty(&mut to).await.context("remove the copy")?;
    from.close().await.context("leave the yardsticks' database")?;
    to.close().await.context("leave the yardsticks' database")?;
    Ok(events as f64 / taken.as_secs_f64())
}

async fn empty(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("TRUNCATE event").execute(&mut *connection).await?;
    sqlx::raw_sql("CHECKPOINT").execute(connection).await?;
    Ok(())
}

/// Copies rows by binary `COPY`, out on one connection and in on another as they arrive. Answers
/// their number.
pub(crate) async fn copy(
    from: &mut PgConnection,
    to: &mut PgConnection,
    source: &str,
    target: &str,
) -> Result<u64, sqlx::Error> {
    let mut coming = from.copy_out_raw(&format!("COPY {source} TO STDOUT (FORMAT binary)")).await?;
    let mut going = to.copy_in_raw(&format!("COPY {target} FROM STDIN (FORMAT binary)")).await?;
    while let Some(bytes) = coming.try_next().await? {
        going.send(bytes).await?;
    }
    going.finish().await
}

async fn pgbench(
    server: &Server,
    directory: &Path,
    script: &str,
    protocol: &str,
    clients: usize,
    duration: Duration,
) -> anyhow::Result<f64> {
    let file = directory.join("pgbench.sql");
    tokio::fs::write(&file, script).await.context("write pgbench's script")?;
    let output = Command::new(find_pgbench()?)
        .arg("--no-vacuum")
        .args(["--protocol", protocol])
        .args(["--client", &clients.to_string(), "--jobs", "2"])
        .args(["--time", &duration.as_secs().to_string()])
        .arg("--file")
        .arg(&file)
        .arg(server.url(DATABASE))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("run pgbench")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
    let Some(rate) = rate.filter(|_| output.status.success()) else {
        bail!("pgbench said: {text}{}", String::from_utf8_lossy(&output.stderr));
    };
    Ok(rate)
}
