//! The private cluster: its directories, how it is made, with which settings its server is started.
//!
//! ```text
//! DIR/postgres        the cluster; only the server's user may enter
//! DIR/postgres.new-…  a cluster being made; one that was not finished is thrown away
//! DIR/run             the server's socket, where its path is short enough for a socket
//! DIR/postgres.log    what the server has to say; DIR/postgres.log.1 what it said before
//! DIR/locks           who uses the server, who starts or stops it, who fetches its programs
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
    binaries::{Binaries, Wanted},
    postmaster::{POLL_INTERVAL, PidFile, Postmaster, Status, is_exiting, is_postmaster, process_exists},
};

/// Longest path of a Unix socket, in bytes: 108 with the closing zero on Linux, 104 elsewhere.
const SOCKET_PATH_LEN_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// What Postgres calls its socket on the port that it is told.
const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// How long a server may take to become ready: recovery after a crash replays at most `max_wal_size` of log.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// How long the processes of a postmaster that was killed may take to notice and let go of its memory.
const LEFT_OVER_TIMEOUT: Duration = Duration::from_secs(30);

/// The size from which the server's log is set aside at a start.
const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// Begins the name of a cluster being made.
const UNFINISHED_PREFIX: &str = "postgres.new-";

/// The file in a cluster that says which major version wrote it.
const VERSION_FILE: &str = "PG_VERSION";

/// Which server programs the cluster in `data_dir` can be run with.
pub(crate) fn wanted(data_dir: &Path) -> anyhow::Result<Wanted> {
    let path = dir_in(data_dir).join(VERSION_FILE);
    match fs::read_to_string(&path) {
        Ok(version) => match version.trim().parse() {
            Ok(version) => Ok(Wanted::Version(version)),
            Err(_) => bail!("{} holds no version of Postgres but `{}`", path.display(), version.trim()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Wanted::Newest),
        Err(error) => Err(error).with_context(|| {
            format!("read {}: start the program as the user who made the data directory, or as root", path.display())
        }),
    }
}

/// Where a data directory keeps its cluster.
pub(crate) fn dir_in(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres")
}

/// Where a data directory keeps its locks.
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
    /// The cluster in `data_dir`, an absolute path without links, to be run with `binaries`.
    pub(crate) fn new(data_dir: PathBuf, account: Account, durability: Durability, binaries: Binaries) -> Self {
        Self { data_dir, account, durability, binaries }
    }

    /// Where the cluster is.
    pub(crate) fn dir(&self) -> PathBuf {
        dir_in(&self.data_dir)
    }

    /// Where the locks are.
    pub(crate) fn locks_dir(&self) -> PathBuf {
        locks_dir_in(&self.data_dir)
    }

    /// The server that runs on this cluster, once it takes connections; `None` where there is none. One that is ending
    /// is waited for.
    pub(crate) fn running(&self) -> anyhow::Result<Option<Postmaster>> {
        let dir = self.dir();
        let deadline = Instant::now() + START_TIMEOUT;
        while let Some(file) = PidFile::read(&dir)? {
            let is_there = is_postmaster(file.pid, &dir);
            if !is_there && !is_exiting(file.pid) {
                return Ok(None);
            }
            if let (true, Status::Ready, Some(socket_dir)) = (is_there, file.status, file.socket_dir) {
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

    /// Starts a server, which must not be running, and waits until it takes connections. Makes the cluster first where
    /// it does not exist.
    pub(crate) fn start(&self) -> anyhow::Result<Postmaster> {
        self.account.make_reachable(&self.data_dir)?;
        if !self.dir().join(VERSION_FILE).exists() {
            self.make()?;
        }
        self.start_existing(&self.socket_dir())
    }

    /// [`Cluster::start`] for a cluster that was in use: its clients look for its socket in `socket_dir`, and a new one
    /// in its place would be a ledger that has lost everything.
    pub(crate) fn start_existing(&self, socket_dir: &Path) -> anyhow::Result<Postmaster> {
        if !self.dir().join(VERSION_FILE).exists() {
            bail!("the Postgres cluster {} is gone: bring it back, or restore a backup there", self.dir().display());
        }
        self.account.make_private_dir(socket_dir)?;
        let deadline = Instant::now() + LEFT_OVER_TIMEOUT;
        loop {
            self.remove_misleading_pid_file()?;
            match self.start_once(socket_dir)? {
                Started::Ready(postmaster) => return Ok(postmaster),
                Started::LeftOverProcesses if Instant::now() < deadline => thread::sleep(10 * POLL_INTERVAL),
                Started::LeftOverProcesses => bail!(
                    "processes of an earlier Postgres server still work in {}: end them and start again",
                    self.dir().display()
                ),
            }
        }
    }

    /// Makes the cluster beside its place and moves it there when it is finished, so that one which is there is whole.
    fn make(&self) -> anyhow::Result<()> {
        let dir = self.dir();
        if dir.exists() {
            bail!(
                "{} exists and is no Postgres cluster: move it away, or choose another data directory with --data-dir",
                dir.display()
            );
        }
        self.remove_unfinished()?;
        // A name of its own: an `initdb` whose program was killed may still be at work, and when it fails it clears up.
        let unfinished = self.data_dir.join(format!("{UNFINISHED_PREFIX}{}", Uuid::new_v4().simple()));
        self.account.make_private_dir(&unfinished)?;
        tracing::info!(postgres = %self.binaries, dir = %dir.display(), "making a Postgres cluster in {}", dir.display());
        let mut command = self.account.command(self.binaries.initdb());
        command
            .arg("--pgdata")
            .arg(&unfinished)
            .args(["--username", SUPERUSER, "--encoding", "UTF8", "--locale", "C"])
            // Whoever can enter the socket's directory is the server's user or root.
            .args(["--auth", "trust"])
            // Damage of the disk is noticed when it is read, not passed on.
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

    /// Removes clusters that were not finished. One that is still being worked on takes a few tries.
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

    /// Removes a `postmaster.pid` whose process id now belongs to somebody else (a container's ids start again from 1),
    /// which Postgres itself would take for a running server. Where no process has that id, Postgres clears up by itself.
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

    fn start_once(&self, socket_dir: &Path) -> anyhow::Result<Started> {
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
                let said = self.log_since(log_start);
                // The server's messages are in English, as it runs in the C locale.
                if said.contains("pre-existing shared memory block") {
                    return Ok(Started::LeftOverProcesses);
                }
                bail!("Postgres ended while starting ({status}); it said: {}", said.trim());
            }
            match PidFile::read(&self.dir())? {
                Some(PidFile { pid: ready, status: Status::Ready, .. }) if ready == pid => {
                    let socket_dir = socket_dir.to_owned();
                    return Ok(Started::Ready(Postmaster { pid, socket_dir, child: Some(child) }));
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

    /// The settings that differ from the server's own, given on its command line so that they are this version's
    /// whenever it starts.
    fn settings(&self) -> Vec<(&'static str, &'static str)> {
        let mut settings = vec![
            ("listen_addresses", ""),
            ("port", "5432"),
            ("unix_socket_permissions", "0700"),
            ("max_connections", "100"),
            ("superuser_reserved_connections", "3"),
            // Acknowledged is durable.
            ("full_page_writes", "on"),
            ("synchronous_commit", "on"),
            // Lets an operator take a backup of the running server.
            ("wal_level", "replica"),
            // One small machine, shared with the program. Checkpoints few and spread out: each one makes the pages
            // after it be written whole again.
            ("shared_buffers", "256MB"),
            ("max_wal_size", "2GB"),
            ("checkpoint_timeout", "15min"),
            ("checkpoint_completion_target", "0.9"),
            // Disks of today seek as cheaply as they read on.
            ("random_page_cost", "1.1"),
            // Our queries are small; compiling one costs more than running it.
            ("jit", "off"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("datestyle", "ISO"),
            ("lc_messages", "C"),
            ("logging_collector", "off"),
            ("log_checkpoints", "off"),
            // No rows and no statements in the server's log: they hold names and notes.
            ("log_error_verbosity", "terse"),
            ("log_min_error_statement", "panic"),
        ];
        match self.durability {
            Durability::PowerLoss => settings.push(("fsync", "on")),
            Durability::ProcessDeath => settings.push(("fsync", "off")),
        }
        settings
    }

    /// The socket's directory: in the data directory, or where its path would be too long for a socket, a directory
    /// of our own among the temporary files, named after the data directory.
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
        // Statements stand in it, and in them names of people.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))
    }

    /// What the server has written to its log since it was this long.
    fn log_since(&self, log_start: u64) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let start = usize::try_from(log_start).unwrap_or(usize::MAX).min(log.len());
        String::from_utf8_lossy(&log[start..]).into_owned()
    }
}

/// How one start went.
enum Started {
    /// The server takes connections.
    Ready(Postmaster),
    /// Processes of a postmaster that was killed have not let go yet.
    LeftOverProcesses,
}
