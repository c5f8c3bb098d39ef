//! The private cluster: its directories, how it is made, and the settings of its server.
//!
//! ```text
//! DIR/postgres        the cluster; only the server's user may enter
//! DIR/postgres.new-…  a cluster being made; an unfinished one is removed
//! DIR/run             the server's socket, if its path is short enough for a socket
//! DIR/postgres.log    the server's log; DIR/postgres.log.1 is the one before
//! DIR/locks           the locks for using, changing and fetching the server
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use uuid::Uuid;

use crate::{
    Durability, SUPERUSER,
    account::Account,
    binaries::{Binaries, VersionNeed},
    postmaster::{POLL_INTERVAL, PidFile, Postmaster, ServerStatus, is_exiting, is_postmaster, process_exists},
};

/// Longest path of a Unix socket, in bytes: 108 with the closing zero on Linux, 104 elsewhere.
const SOCKET_PATH_LEN_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The name that Postgres gives its socket on port 5432.
const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// How long a server may take to become ready: recovery after a crash replays at most
/// `max_wal_size` of log.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// How long the processes of a killed postmaster may take to release its shared memory.
const LEFT_OVER_TIMEOUT: Duration = Duration::from_secs(30);

/// The size in bytes from which a start renames the server's log.
const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// The prefix of the name of an unfinished cluster.
const UNFINISHED_PREFIX: &str = "postgres.new-";

/// The file in a cluster that names the major version that wrote it.
const VERSION_FILE: &str = "PG_VERSION";

/// The version of the server programs that the cluster in `data_dir` needs.
pub(crate) fn version_need(data_dir: &Path) -> anyhow::Result<VersionNeed> {
    let path = dir_in(data_dir).join(VERSION_FILE);
    match fs::read_to_string(&path) {
        Ok(version) => match version.trim().parse() {
            Ok(version) => Ok(VersionNeed::Version(version)),
            Err(_) => bail!("{} holds no version of Postgres but `{}`", path.display(), version.trim()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(VersionNeed::Newest),
        Err(error) => Err(error).with_context(|| {
            format!("read {}: start the program as the user who made the data directory, or as root", path.display())
        }),
    }
}

/// The directory of the cluster in a data directory.
pub(crate) fn dir_in(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres")
}

/// The directory of the locks in a data directory.
pub(crate) fn locks_dir_in(data_dir: &Path) -> PathBuf {
    data_dir.join("locks")
}

/// A private cluster in a data directory.
#[derive(Debug)]
pub(crate) struct Cluster {
    data_dir: PathBuf,
    account: Account,
    durability: Durability,
    binaries: Binaries,
}

impl Cluster {
    /// The cluster in `data_dir`, which must be an absolute path without links.
    pub(crate) fn new(data_dir: PathBuf, account: Account, durability: Durability, binaries: Binaries) -> Self {
        Self { data_dir, account, durability, binaries }
    }

    /// The cluster's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        dir_in(&self.data_dir)
    }

    /// The directory of the locks.
    pub(crate) fn locks_dir(&self) -> PathBuf {
        locks_dir_in(&self.data_dir)
    }

    /// The server that runs on this cluster, once it takes connections; `None` if no server runs.
    /// Waits for a server that is ending.
    pub(crate) fn find_running(&self) -> anyhow::Result<Option<Postmaster>> {
        let dir = self.dir();
        let deadline = Instant::now() + START_TIMEOUT;
        while let Some(file) = PidFile::read(&dir)? {
            let is_there = is_postmaster(file.pid, &dir);
            if !is_there && !is_exiting(file.pid) {
                return Ok(None);
            }
            if let (true, ServerStatus::Ready, Some(socket_dir)) = (is_there, file.status, file.socket_dir) {
                return Ok(Some(Postmaster { pid: file.pid, socket_dir, child: None }));
            }
            if Instant::now() > deadline {
                bail!(
                    "the Postgres server (process {}) that runs in {} does not become ready: look into {}, or end \
                     that process and start again",
                    file.pid,
                    dir.display(),
                    self.log_path().display(),
                );
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(None)
    }

    /// Starts a server and waits until it takes connections. No server may be running. Makes the
    /// cluster if it does not exist.
    pub(crate) fn start(&self) -> anyhow::Result<Postmaster> {
        self.account.make_reachable(&self.data_dir)?;
        if !self.dir().join(VERSION_FILE).exists() {
            self.make()?;
        }
        self.start_existing(&self.socket_dir())
    }

    /// [`Cluster::start`] for a cluster that was in use. Its clients expect its socket in
    /// `socket_dir`. A missing cluster is an error: a new, empty one would look like a loss of all
    /// data.
    pub(crate) fn start_existing(&self, socket_dir: &Path) -> anyhow::Result<Postmaster> {
        if !self.dir().join(VERSION_FILE).exists() {
            bail!("the Postgres cluster {} is gone: bring it back, or restore a backup there", self.dir().display());
        }
        self.account.make_private_dir(socket_dir)?;
        let deadline = Instant::now() + LEFT_OVER_TIMEOUT;
        loop {
            self.remove_misleading_pid_file()?;
            match self.start_once(socket_dir)? {
                StartOutcome::Ready(postmaster) => return Ok(postmaster),
                StartOutcome::LeftOverProcesses if Instant::now() < deadline => thread::sleep(10 * POLL_INTERVAL),
                StartOutcome::LeftOverProcesses => bail!(
                    "processes of an earlier Postgres server still work in {}: end them and start again",
                    self.dir().display()
                ),
            }
        }
    }

    /// Makes the cluster under another name and renames it when it is complete, so that a cluster
    /// in its place is always complete.
    fn make(&self) -> anyhow::Result<()> {
        let dir = self.dir();
        if dir.exists() {
            bail!(
                "{} exists and is no Postgres cluster: move it away, or choose another data directory with --data-dir",
                dir.display()
            );
        }
        self.remove_unfinished()?;
        // The name is unique: an `initdb` whose parent was killed may still run, and removes its
        // directory when it fails.
        let unfinished = self.data_dir.join(format!("{UNFINISHED_PREFIX}{}", Uuid::new_v4().simple()));
        self.account.make_private_dir(&unfinished)?;
        tracing::info!(postgres = %self.binaries, dir = %dir.display(), "making a Postgres cluster in {}", dir.display());
        let mut command = self.account.command(self.binaries.initdb());
        command
            .arg("--pgdata")
            .arg(&unfinished)
            .args(["--username", SUPERUSER, "--encoding", "UTF8", "--locale", "C"])
            // Only the server's user and root can enter the socket's directory.
            .args(["--auth", "trust"])
            // A read of damaged data must fail instead of answering.
            .arg("--data-checksums");
        if self.durability == Durability::ProcessDeath {
            command.arg("--no-sync");
        }
        let output = command.output().with_context(|| format!("run {}", self.binaries.initdb().display()))?;
        if !output.status.success() {
            bail!(
                "{} failed ({}): {}",
                self.binaries.initdb().display(),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        fs::rename(&unfinished, &dir).with_context(|| format!("move the new cluster to {}", dir.display()))?;
        File::open(&self.data_dir)
            .and_then(|dir| dir.sync_all())
            .with_context(|| format!("write {} to disk", self.data_dir.display()))
    }

    /// Removes unfinished clusters. Tries again while another process still writes to one.
    fn remove_unfinished(&self) -> anyhow::Result<()> {
        let entries = fs::read_dir(&self.data_dir).with_context(|| format!("list {}", self.data_dir.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("list {}", self.data_dir.display()))?.path();
            if !path.file_name().is_some_and(|name| name.as_bytes().starts_with(UNFINISHED_PREFIX.as_bytes())) {
                continue;
            }
            let deadline = Instant::now() + LEFT_OVER_TIMEOUT;
            while let Err(error) = fs::remove_dir_all(&path) {
                if Instant::now() > deadline {
                    return Err(error).with_context(|| format!("remove the unfinished cluster {}", path.display()));
                }
                thread::sleep(POLL_INTERVAL);
            }
        }
        Ok(())
    }

    /// Removes a `postmaster.pid` whose process id now belongs to another process, which Postgres
    /// would take for a running server. Process ids repeat: in a container they start from 1 again.
    /// If no process has that id, Postgres removes the file itself.
    fn remove_misleading_pid_file(&self) -> anyhow::Result<()> {
        let dir = self.dir();
        match PidFile::read(&dir)? {
            Some(file) if process_exists(file.pid) && !is_postmaster(file.pid, &dir) => {
                let path = PidFile::path(&dir);
                fs::remove_file(&path).with_context(|| format!("remove the stale {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn start_once(&self, socket_dir: &Path) -> anyhow::Result<StartOutcome> {
        let log = self.open_log()?;
        let log_start = log.metadata().context("look at the log of Postgres")?.len();
        let mut command = self.account.command(self.binaries.postgres());
        command.arg("-D").arg(self.dir()).arg("-k").arg(socket_dir);
        for (name, value) in self.settings() {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let mut child = command
            .stdout(log.try_clone().context("share the log of Postgres")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("run {}", self.binaries.postgres().display()))?;
        let pid = i32::try_from(child.id()).context("read the process id of Postgres")?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = child.try_wait().context("wait for Postgres")? {
                let output = self.log_since(log_start);
                // The server's messages are in English, as it runs in the C locale.
                if output.contains("pre-existing shared memory block") {
                    return Ok(StartOutcome::LeftOverProcesses);
                }
                bail!("Postgres ended while starting ({status}); it said: {}", output.trim());
            }
            match PidFile::read(&self.dir())? {
                Some(PidFile { pid: ready, status: ServerStatus::Ready, .. }) if ready == pid => {
                    let socket_dir = socket_dir.to_owned();
                    return Ok(StartOutcome::Ready(Postmaster { pid, socket_dir, child: Some(child) }));
                }
                _ if Instant::now() > deadline => {
                    Postmaster { pid, socket_dir: socket_dir.to_owned(), child: Some(child) }.stop(&self.dir())?;
                    bail!(
                        "Postgres was not ready after {} s: look into {}",
                        START_TIMEOUT.as_secs(),
                        self.log_path().display()
                    );
                }
                _ => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// The settings that differ from the server's defaults. They go on its command line, so that an
    /// upgraded program starts the server with its own settings.
    fn settings(&self) -> Vec<(&'static str, &'static str)> {
        let mut settings = vec![
            ("listen_addresses", ""),
            ("port", "5432"),
            ("unix_socket_permissions", "0700"),
            ("max_connections", "100"),
            ("superuser_reserved_connections", "3"),
            // An acknowledged commit must be durable.
            ("full_page_writes", "on"),
            ("synchronous_commit", "on"),
            // Operators can back up the running server.
            ("wal_level", "replica"),
            // The server shares one small machine with the program. Checkpoints are few and spread
            // out, because after each one every changed page is written to the log in full again.
            ("shared_buffers", "256MB"),
            ("max_wal_size", "2GB"),
            ("checkpoint_timeout", "15min"),
            ("checkpoint_completion_target", "0.9"),
            // On solid-state disks a random read costs little more than a sequential one.
            ("random_page_cost", "1.1"),
            // The queries are small: compiling one costs more than running it.
            ("jit", "off"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("datestyle", "ISO"),
            ("lc_messages", "C"),
            ("logging_collector", "off"),
            ("log_checkpoints", "off"),
            // The server's log must not hold rows and statements, which contain names and notes.
            ("log_error_verbosity", "terse"),
            ("log_min_error_statement", "panic"),
        ];
        match self.durability {
            Durability::PowerLoss => settings.push(("fsync", "on")),
            Durability::ProcessDeath => settings.push(("fsync", "off")),
        }
        settings
    }

    /// The socket's directory: in the data directory or, if that path is too long for a socket, a
    /// private directory in `/tmp` that is named after the data directory.
    fn socket_dir(&self) -> PathBuf {
        let in_data_dir = self.data_dir.join("run");
        if in_data_dir.join(SOCKET_NAME).as_os_str().len() <= SOCKET_PATH_LEN_MAX {
            return in_data_dir;
        }
        let name = Uuid::new_v5(&Uuid::NAMESPACE_URL, self.data_dir.as_os_str().as_bytes());
        Path::new("/tmp").join(format!("allocation-ledger-{}", name.simple()))
    }

    fn log_path(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    fn open_log(&self) -> anyhow::Result<File> {
        let path = self.log_path();
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
            fs::rename(&path, self.data_dir.join("postgres.log.1")).context("set the log of Postgres aside")?;
        }
        // The log may contain statements, and statements contain names of people.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))
    }

    /// The part of the server's log after its first `log_start` bytes.
    fn log_since(&self, log_start: u64) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let start = usize::try_from(log_start).unwrap_or(usize::MAX).min(log.len());
        String::from_utf8_lossy(&log[start..]).into_owned()
    }
}

/// The outcome of one start.
enum StartOutcome {
    /// The server takes connections.
    Ready(Postmaster),
    /// Processes of a killed postmaster still hold its shared memory.
    LeftOverProcesses,
}
