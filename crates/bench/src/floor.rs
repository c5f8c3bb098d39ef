//! The floor: the rates of Postgres alone on this machine, by `pgbench`. Each transaction inserts
//! one row, or selects one row by key.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use embedded_postgres::{Server, binaries_dir};
use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;

/// The rates of Postgres alone, in transactions a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    pub(crate) insert_1_client: f64,
    pub(crate) insert_64_clients: f64,
    /// The default of `pgbench -S`, which sends each statement as text.
    pub(crate) select_16_clients: f64,
    /// The same with a prepared statement.
    pub(crate) select_prepared_16_clients: f64,
}

/// A table whose rows are as wide as an event of the log, with the same two indexes.
const SCHEMA: &str = "
    CREATE TABLE floor_event (
        position    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        stream      text        NOT NULL,
        revision    bigint      NOT NULL,
        event_id    uuid        NOT NULL,
        type        text        NOT NULL,
        recorded_at timestamptz NOT NULL,
        metadata    bytea       NOT NULL,
        data        bytea       NOT NULL
    );
    CREATE INDEX ON floor_event (stream, revision);
    CREATE TABLE floor_row (key integer PRIMARY KEY, value text NOT NULL);
    INSERT INTO floor_row SELECT key, repeat('x', 200) FROM generate_series(1, 100000) AS key;
    ANALYZE floor_row;
";

const INSERT: &str = r"\set number random(1, 1000000000)
INSERT INTO floor_event (stream, revision, event_id, type, recorded_at, metadata, data)
VALUES ('prisoner-' || :number, 0, gen_random_uuid(), 'TierAssigned', now(), convert_to(repeat('m', 300), 'UTF8'), convert_to(repeat('d', 60), 'UTF8'));
";

const SELECT: &str = r"\set key random(1, 100000)
SELECT key, value FROM floor_row WHERE key = :key;
";

impl Floor {
    pub(crate) async fn measure(server: &Server, directory: &Path, duration: Duration) -> anyhow::Result<Self> {
        server.create_database("floor").await?;
        let mut connection =
            PgConnection::connect(&server.url("floor")).await.context("connect to measure the floor")?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await.context("make the floor's tables")?;
        connection.close().await.context("leave the floor's database")?;
        Ok(Self {
            insert_1_client: pgbench(server, directory, INSERT, "prepared", 1, duration).await?,
            insert_64_clients: pgbench(server, directory, INSERT, "prepared", 64, duration).await?,
            select_16_clients: pgbench(server, directory, SELECT, "simple", 16, duration).await?,
            select_prepared_16_clients: pgbench(server, directory, SELECT, "prepared", 16, duration).await?,
        })
    }
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
    let program = binaries_dir()?.join("pgbench");
    let output = Command::new(&program)
        .arg("--no-vacuum")
        .args(["--protocol", protocol])
        .args(["--client", &clients.to_string(), "--jobs", &clients.min(2).to_string()])
        .args(["--time", &duration.as_secs().to_string()])
        .arg("--file")
        .arg(&file)
        .arg(server.url("floor"))
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("run {}; it comes with Postgres's server or contrib package", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
    let Some(rate) = rate.filter(|_| output.status.success()) else {
        bail!("pgbench said: {text}{}", String::from_utf8_lossy(&output.stderr));
    };
    Ok(rate)
}
