//! An embedded Postgres: a real server on a private data directory, started and stopped by the
//! program that uses it.
//!
//! | module | knows |
//! |---|---|
//! | `binaries` | where a machine keeps Postgres server programs, and which of them fits the data |
//! | `fetch` | how to fetch them on a machine that has none |
//! | `account` | the user that the server runs as, since Postgres refuses to be root |
//! | `cluster` | the directories, `initdb`, the settings, the start of a postmaster |
//! | `data_dir` | the data directory and its locks |
//! | `processes` | which processes belong to a server, and whether they live and work |
//! | `postmaster` | `postmaster.pid`: whether a server runs, its status, how to end it |
//! | `socket` | whether a server listens |
//! | `supervisor` | how a server that died is started again, and which program stops it |
//!
//! Promises:
//!
//! - The server listens on a Unix socket only, in a directory that only its user may enter.
//! - A committed transaction is on disk.
//! - Two servers never run on the same data. A server that a killed program left behind is used
//!   again.
//! - A start needs no help after any crash. It waits for a server that recovers, for as long as the
//!   server works, and removes the lock files of a dead one.
//! - Several programs may use one data directory at a time, such as a command-line tool beside
//!   `serve`. The first one starts the server, each one watches it, and the last one stops it.
//!
//! This crate refuses to know what is in the databases.

mod account;
mod binaries;
mod cluster;
mod data_dir;
mod fetch;
mod postmaster;
mod processes;
mod socket;
mod supervisor;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use self::{
    account::Account,
    binaries::{Binaries, VersionNeed},
    cluster::Cluster,
    postmaster::{POLL_INTERVAL, PidFile, ServerStatus},
    processes::PatientWait,
    supervisor::Supervisor,
};

pub use self::{
    data_dir::open_lock,
    supervisor::{ServerCondition, StartFailure},
};

/// The role that owns everything in the private cluster.
const SUPERUSER: &str = "ledger";

/// The pause between two tries to connect to a server that refuses.
const CONNECT_INTERVAL: Duration = Duration::from_millis(200);

/// The time limit for one try to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a program waits for a server before it says so.
const REPORT_DELAY: Duration = Duration::from_secs(1);

/// The pause between two log lines of a program that waits for a server.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The failed tries to start a server after which a program that waits for it gives up.
const TRIES_MAX: u32 = 3;

/// The settings of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of the server programs `postgres` and `initdb`. None: look for them.
    pub binaries: Option<PathBuf>,
    /// The failures that a commit must survive.
    pub durability: Durability,
}

/// The failures that a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A loss of power: each commit waits for the disk.
    PowerLoss,
    /// The death of any process, the server's included, but not of the machine. For tests, which
    /// make thousands of databases and never cut the power.
    ProcessDeath,
}

impl Default for Options {
    fn default() -> Self {
        Self { binaries: std::env::var_os("LEDGER_POSTGRES_BIN").map(PathBuf::from), durability: Durability::PowerLoss }
    }
}

/// A running Postgres server on a data directory. Dropping it stops the server, unless another
/// program uses it, too.
#[derive(Debug)]
pub struct Server {
    supervisor: Supervisor,
    data_dir: PathBuf,
}

impl Server {
    /// Starts a server on `data_dir`, or joins the one that runs there, and waits until it takes
    /// connections, however long it has to recover. Makes the directory and its cluster if they do
    /// not exist.
    ///
    /// # Errors
    /// The machine has no server programs, the server's user cannot enter the directory, another
    /// version wrote the data, or the server does not start. The error says what to do.
    pub async fn start(data_dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(data_dir, Options::default()).await
    }

    /// [`Server::start`] with options. They apply when this program starts the server, not when it
    /// joins one.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with(data_dir: &Path, options: Options) -> anyhow::Result<Self> {
        data_dir::make(data_dir).with_context(|| {
            format!("make the data directory {}: choose one that you may write to with --data-dir", data_dir.display())
        })?;
        let data_dir =
            data_dir.canonicalize().with_context(|| format!("find the data directory {}", data_dir.display()))?;
        let starting = Self::start_in(data_dir.clone(), options);
        starting.await.with_context(|| format!("start the embedded Postgres in {}", data_dir.display()))
    }

    async fn start_in(data_dir: PathBuf, options: Options) -> anyhow::Result<Self> {
        let account = Account::for_server(&cluster::dir_in(&data_dir))?;
        let binaries = server_programs(&data_dir, &options).await?;
        let cluster = Cluster::new(data_dir.clone(), account, options.durability, binaries);
        let starting = tokio::task::spawn_blocking(|| Supervisor::start(cluster));
        let supervisor = starting.await.context("run the start on a thread")??;
        let server = Self { supervisor, data_dir };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// Connects to the server. Waits while it starts, recovers, or is started again.
    async fn connect(&self) -> anyhow::Result<PgConnection> {
        let (url, cluster_dir) = (self.url("postgres"), cluster::dir_in(&self.data_dir));
        let mut wait = PatientWait::begin(&cluster_dir);
        let mut next_report = Instant::now() + REPORT_DELAY;
        loop {
            // A server that refuses a connection writes a line to its log: it is not asked before
            // it says that it is ready.
            let (pause, refusal) =
                if !PidFile::read(&cluster_dir)?.is_some_and(|file| file.status == ServerStatus::Ready) {
                    (POLL_INTERVAL, "it is starting".to_owned())
                } else {
                    match timeout(CONNECT_TIMEOUT, PgConnection::connect(&url)).await {
                        Ok(Ok(connection)) => return Ok(connection),
                        Ok(Err(error)) if interrupts(&error) => (CONNECT_INTERVAL, describe_refusal(&error)),
                        Ok(Err(error)) => return Err(error).context("connect to the embedded Postgres"),
                        Err(_) => (CONNECT_INTERVAL, format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
                    }
                };
            match self.condition().failure() {
                Some(StartFailure { tries, reason, is_final }) if is_final || tries >= TRIES_MAX => bail!(reason),
                _ if wait.is_in_vain() => bail!(
                    "Postgres (process {}) does not become ready, and does no work any more: {refusal}; look into {}",
                    self.postmaster_pid(),
                    cluster::log_path_in(&self.data_dir).display()
                ),
                _ => {}
            }
            if Instant::now() > next_report {
                next_report = Instant::now() + REPORT_INTERVAL;
                let pid = self.postmaster_pid();
                tracing::info!(pid, "waiting for Postgres (process {pid}), which is not ready yet: {refusal}");
            }
            sleep(pause).await;
        }
    }

    /// The URL of a database of this server, for a client on this machine. It stays the same after
    /// a restart.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let socket_dir = self.supervisor.socket_dir();
        format!("postgres://{SUPERUSER}@localhost/{database}?host={}", percent_encoded(&socket_dir.to_string_lossy()))
    }

    /// Waits until the server takes connections: see [`Server::start`].
    ///
    /// # Errors
    /// The server does not become ready.
    pub async fn wait_until_ready(&self) -> anyhow::Result<()> {
        // A server that dies now is started again, like one that dies later.
        let _ = self.connect().await?.close().await;
        Ok(())
    }

    /// Makes a database if it does not exist.
    ///
    /// # Errors
    /// The server is out of reach or refuses.
    pub async fn create_database(&self, name: &str) -> anyhow::Result<()> {
        let mut tries = 1;
        loop {
            let mut connection = self.connect().await?;
            match make_database(&mut connection, name).await {
                Err(error) if tries < TRIES_MAX && is_interruption(&error) => tries += 1,
                made => return made,
            }
        }
    }

    /// The condition of the server, from now on.
    #[must_use]
    pub fn condition(&self) -> &ServerCondition {
        self.supervisor.condition()
    }

    /// The current process id of the server. A restart changes it.
    #[must_use]
    pub fn postmaster_pid(&self) -> i32 {
        self.condition().postmaster_pid()
    }

    /// Stops the server, unless another program uses it, too, and waits until it has ended.
    ///
    /// # Errors
    /// The server does not end.
    pub async fn stop(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || self.supervisor.stop()).await.context("stop Postgres")?
    }
}

/// Whether a data directory has a cluster.
#[must_use]
pub fn exists(data_dir: &Path) -> bool {
    // The cluster's files may be closed to this user, but the directory itself is visible.
    cluster::dir_in(data_dir).exists()
}

/// The directory of the server programs that a new cluster would use. Other programs of Postgres,
/// such as `pgbench` and `pg_dump`, are often there, too.
///
/// # Errors
/// This machine has no suitable server programs.
pub fn binaries_dir() -> anyhow::Result<PathBuf> {
    let binaries = match &Options::default().binaries {
        Some(dir) => binaries::check_dir(dir, VersionNeed::Newest)?,
        None => binaries::find(&[], VersionNeed::Newest).map_err(anyhow::Error::msg)?,
    };
    Ok(binaries.dir)
}

async fn make_database(connection: &mut PgConnection, name: &str) -> anyhow::Result<()> {
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(name)
        .fetch_one(&mut *connection)
        .await
        .context("list the databases")?;
    if exists {
        return Ok(());
    }
    let statement = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
    match sqlx::query(AssertSqlSafe(statement)).execute(connection).await {
        Ok(_) => Ok(()),
        // Two programs that start at once both find the database missing; the loser gets one of
        // these codes.
        Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("42P04" | "23505")) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("make the database {name}")),
    }
}

/// Whether an error says that the server was interrupted: it died and is started again, or it
/// recovers from the death of one of its processes.
#[must_use]
pub fn is_interruption(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref().is_some_and(interrupts))
}

/// Whether a connection was refused or lost, and a later one may be taken: the server starts,
/// recovers or ends, or it is dead and about to be started again.
fn interrupts(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        // The class "operator intervention": `cannot_connect_now`, and the ends of a server.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P")),
        _ => false,
    }
}

/// The words of the server, if they are its own.
fn describe_refusal(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// The server programs for a data directory: those that the options name, else those of the
/// machine, else fetched ones.
async fn server_programs(data_dir: &Path, options: &Options) -> anyhow::Result<Binaries> {
    let need = cluster::version_need(data_dir)?;
    if let Some(dir) = &options.binaries {
        return binaries::check_dir(dir, need);
    }
    if let Ok(binaries) = binaries::find(&[], need) {
        return Ok(binaries);
    }
    // Only the holder of the lock may touch fetched programs. If two programs start at once, one
    // fetches them and the other finds them complete.
    let _lock = fetch::lock(data_dir).await?;
    let missing = match binaries::find(&[fetch::programs_dir(data_dir)], need) {
        Ok(binaries) => return Ok(binaries),
        Err(missing) => missing,
    };
    tracing::info!("fetching the Postgres server programs, as this machine has none that fit");
    let fetched = fetch::fetch(data_dir, need)
        .await
        .context("they could not be fetched either")
        .and_then(|()| binaries::find(&[fetch::programs_dir(data_dir)], need).map_err(anyhow::Error::msg));
    fetched.context(missing)
}

/// `text`, percent-encoded for the query of a URL.
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

    /// A version that no machine has.
    const VERSION: &str = "9999";

    #[tokio::test]
    async fn programs_that_another_program_is_fetching_are_waited_for_and_used() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("postgres")).expect("a cluster's directory");
        std::fs::write(dir.path().join("postgres/PG_VERSION"), VERSION).expect("a cluster's version");
        let lock = fetch::lock(dir.path()).await.expect("the lock");
        let data_dir = dir.path().to_owned();
        let options = Options { binaries: None, ..Options::default() };
        let other = tokio::spawn(async move { server_programs(&data_dir, &options).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!other.is_finished(), "it waits for the program that fetches");
        // Another process must write the programs: a child of this one could inherit an open
        // handle, and a file that is open for writing cannot be run.
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
