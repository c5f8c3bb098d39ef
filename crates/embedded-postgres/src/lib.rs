//! A real Postgres server of the ledger's own, run by the program.
//!
//! | module | knows |
//! |---|---|
//! | `binaries` | where a machine keeps Postgres server programs, and which of them fits the data |
//! | `fetch` | getting them where there are none |
//! | `account` | which user the server runs as: Postgres refuses to be root |
//! | `cluster` | the directories, `initdb`, the settings, the start of a postmaster |
//! | `postmaster` | `postmaster.pid`: whether a server is there, what it says of itself, how it is ended |
//! | `supervisor` | starting again what died, and who stops the server last |
//!
//! Promises: the server listens on a Unix socket only, in a directory that nobody else may enter; what it has committed
//! is on disk; there is never a second server on the same data. A server left over from a program that was killed is
//! used again. Several programs may use one data directory at a time (a command-line tool beside `serve`): whoever comes
//! first starts the server, everybody watches over it, and the last to leave stops it.
//!
//! Refuses to know: what is kept in the databases.

mod account;
mod binaries;
mod cluster;
mod fetch;
mod postmaster;
mod supervisor;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use self::{
    account::Account,
    binaries::{Binaries, Wanted},
    cluster::Cluster,
    supervisor::Supervisor,
};

/// The role that owns everything in the private cluster.
const SUPERUSER: &str = "ledger";

/// How a server is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of the server programs `postgres` and `initdb`. None: look for them.
    pub binaries: Option<PathBuf>,
    /// What a commit outlives.
    pub durability: Durability,
}

/// What a commit outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A loss of power: every commit waits for the disk.
    PowerLoss,
    /// The death of any process, the server's included, but not of the machine. For tests, which make thousands of
    /// databases and pull no plug.
    ProcessDeath,
}

impl Default for Options {
    fn default() -> Self {
        Self { binaries: std::env::var_os("LEDGER_POSTGRES_BIN").map(PathBuf::from), durability: Durability::PowerLoss }
    }
}

/// A running Postgres server on a data directory. Dropping it stops the server, unless another program uses it too.
#[derive(Debug)]
pub struct Server {
    supervisor: Supervisor,
}

impl Server {
    /// Starts a server on `data_dir`, or joins the one that runs there. Makes the directory and the cluster in it first
    /// where they do not exist.
    ///
    /// # Errors
    /// A sentence that says what is missing and what to do: no server programs, a directory that the server's user
    /// cannot enter, data of another version, a server that does not start.
    pub async fn start(data_dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(data_dir, Options::default()).await
    }

    /// [`Server::start`] with options. They count for the program that starts the server, not for one that joins it.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with(data_dir: &Path, options: Options) -> anyhow::Result<Self> {
        fs::create_dir_all(data_dir).with_context(|| {
            format!("make the data directory {}: choose one that you may write to with --data-dir", data_dir.display())
        })?;
        let data_dir =
            data_dir.canonicalize().with_context(|| format!("find the data directory {}", data_dir.display()))?;
        let starting = async {
            let account = Account::for_server(&cluster::dir_in(&data_dir))?;
            let binaries = server_programs(&data_dir, &options).await?;
            let cluster = Cluster::new(data_dir.clone(), account, options.durability, binaries);
            tokio::task::spawn_blocking(|| Supervisor::start(cluster)).await.context("run the start on a thread")?
        };
        let supervisor =
            starting.await.with_context(|| format!("start the embedded Postgres in {}", data_dir.display()))?;
        Ok(Self { supervisor })
    }

    /// The URL of a database of this server, for a client on this machine. It stays the same when the server is started
    /// again.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let socket_dir = self.supervisor.socket_dir();
        format!("postgres://{SUPERUSER}@localhost/{database}?host={}", percent_encoded(&socket_dir.to_string_lossy()))
    }

    /// Makes a database, unless it is there already.
    ///
    /// # Errors
    /// The server is out of reach or refuses.
    pub async fn create_database(&self, name: &str) -> anyhow::Result<()> {
        let mut connection =
            PgConnection::connect(&self.url("postgres")).await.context("connect to the embedded Postgres")?;
        let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .context("list the databases")?;
        if !exists {
            let statement = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
            let created = sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await;
            match created {
                Ok(_) => {}
                // Two programs that start at once both see it missing; the loser meets one of these.
                Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("42P04" | "23505")) => {}
                Err(error) => return Err(error).with_context(|| format!("make the database {name}")),
            }
        }
        connection.close().await.context("leave the embedded Postgres")
    }

    /// The process id of the server as it is now; another after the server died and was started again.
    #[must_use]
    pub fn postmaster_pid(&self) -> i32 {
        self.supervisor.postmaster_pid()
    }

    /// Stops the server, unless another program uses it too, and waits until it has ended.
    ///
    /// # Errors
    /// The server does not end.
    pub async fn stop(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || self.supervisor.stop()).await.context("stop Postgres")?
    }
}

/// Whether a cluster has been made in a data directory.
#[must_use]
pub fn exists(data_dir: &Path) -> bool {
    // What is in the cluster may be closed to us; the directory itself can be seen.
    cluster::dir_in(data_dir).exists()
}

/// The directory of the server programs that a new cluster would be run with, where further programs of Postgres
/// (`pgbench`, `pg_dump`) are often found too.
///
/// # Errors
/// This machine has none that fit.
pub fn binaries_dir() -> anyhow::Result<PathBuf> {
    let binaries = match &Options::default().binaries {
        Some(dir) => binaries::chosen(dir, Wanted::Newest)?,
        None => binaries::find(&[], Wanted::Newest).map_err(anyhow::Error::msg)?,
    };
    Ok(binaries.dir)
}

/// The server programs for a data directory: those that were named, else those of the machine, else fetched ones.
async fn server_programs(data_dir: &Path, options: &Options) -> anyhow::Result<Binaries> {
    let wanted = cluster::wanted(data_dir)?;
    if let Some(dir) = &options.binaries {
        return binaries::chosen(dir, wanted);
    }
    if let Ok(binaries) = binaries::find(&[], wanted) {
        return Ok(binaries);
    }
    // Only whoever holds it touches fetched programs, so that of two programs that start at once one fetches, and the
    // other finds them whole.
    let _lock = fetch::lock(data_dir).await?;
    let missing = match binaries::find(&[fetch::programs_dir(data_dir)], wanted) {
        Ok(binaries) => return Ok(binaries),
        Err(missing) => missing,
    };
    tracing::info!("fetching the Postgres server programs, as this machine has none that fit");
    let fetched = fetch::fetch(data_dir, wanted)
        .await
        .context("they could not be fetched either")
        .and_then(|()| binaries::find(&[fetch::programs_dir(data_dir)], wanted).map_err(anyhow::Error::msg));
    fetched.context(missing)
}

/// `text` as it may stand in the query of a URL.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Duration};

    use super::*;

    /// No machine has it.
    const VERSION: &str = "9999";

    #[tokio::test]
    async fn programs_that_another_program_fetches_meanwhile_are_used() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("postgres")).expect("a cluster's directory");
        std::fs::write(dir.path().join("postgres/PG_VERSION"), VERSION).expect("a cluster's version");
        let lock = fetch::lock(dir.path()).await.expect("the lock");
        let data_dir = dir.path().to_owned();
        let options = Options { binaries: None, ..Options::default() };
        let other = tokio::spawn(async move { server_programs(&data_dir, &options).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!other.is_finished(), "it waits for whoever fetches");
        // By another process: what this one writes, its children may hold open when it is to be run.
        let script = "mkdir -p \"$1\" && cd \"$1\" && echo '#!/bin/sh' >postgres && echo \"echo postgres $2\" >>postgres && \
                      cp postgres initdb && chmod +x postgres initdb";
        let programs = fetch::programs_dir(dir.path());
        let made = Command::new("/bin/sh").args(["-c", script, "sh"]).arg(&programs).arg(VERSION).status();
        assert!(made.expect("run a shell").success());
        drop(lock);
        let found = other.await.expect("a task").expect("the programs");
        assert_eq!((found.major_version, found.dir), (9999, programs.canonicalize().expect("a directory")));
    }
}
