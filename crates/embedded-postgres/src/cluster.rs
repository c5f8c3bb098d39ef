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
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::ExitStatus,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use uuid::Uuid;

use crate::{
    Durability, SUPERUSER,
    account::Account,
    binaries::{Binaries, VersionNeed},
    data_dir,
    postmaster::{POLL_INTERVAL, PidFile, Postmaster, ServerStatus, pid_in},
    processes::{LeftOverProcesses, PatientWait, is_exiting, is_server, may_be_server, process_exists},
    socket::has_listener,
};

/// Longest path of a Unix socket, in bytes: 108 with the closing zero on Linux, 104 elsewhere.
const SOCKET_PATH_LEN_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The name that Postgres gives its socket on port 5432.
const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// How long the processes of a killed postmaster may take to end by themselves. Most end within
/// milliseconds; one that works on a long statement would first finish it.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(2);

/// How long a start that something hinders may try again: the processes of a killed program or
/// server take a moment to end, or are about to start a server of their own.
const HINDRANCE_TIMEOUT: Duration = Duration::from_secs(30);

/// Words of a server that ended while starting, for reasons that pass by themselves. They are in
/// English, as it runs in the C locale.
const PASSING_REASONS: [&str; 3] = ["pre-existing shared memory block", "lock file", "was terminated by signal 9"];

/// Words of a server that ended while starting, for a reason that another try does not mend.
const LASTING_REASON: &str = "database files are incompatible with server";

/// The most characters of the server's log in an error.
const LAST_WORDS_LEN_MAX: usize = 2_000;

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

/// The log of the server in a data directory.
pub(crate) fn log_path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres.log")
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

    /// The data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The server that runs or starts on this cluster; `None` if there is none. Waits for a server
    /// that is ending.
    pub(crate) fn find_running(&self) -> anyhow::Result<Option<Postmaster>> {
        let dir = self.dir();
        let mut wait = PatientWait::begin(&dir);
        while let Some(PidFile { pid, socket_dir, status }) = PidFile::read(&dir)? {
            let is_there = is_server(pid, &dir);
            if !is_there && !is_exiting(pid) {
                return Ok(None);
            }
            if let (true, ServerStatus::Starting | ServerStatus::Ready, Some(socket_dir)) =
                (is_there, status, socket_dir)
            {
                return Ok(Some(Postmaster { pid, socket_dir, log_start: self.log_len(), child: None }));
            }
            if wait.is_in_vain() {
                bail!(
                    "the Postgres server (process {pid}) that runs in {} neither starts nor ends: look into {}, or end \
                     that process and start again",
                    dir.display(),
                    self.log_path().display(),
                );
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(None)
    }

    /// Starts a server, or joins the one that runs. It may still have to recover. Makes the cluster
    /// if it does not exist.
    ///
    /// The caller must hold the lock for changes of the server, here and in
    /// [`Cluster::start_existing`].
    pub(crate) fn start(&self) -> anyhow::Result<Postmaster> {
        if let Some(running) = self.find_running()? {
            return Ok(running);
        }
        self.account.make_reachable(&self.data_dir)?;
        if !self.is_made()? {
            self.make()?;
        }
        self.start_existing(&self.socket_dir())
    }

    /// [`Cluster::start`] for a cluster that was in use. Its clients expect its socket in
    /// `socket_dir`. A missing cluster is an error: a new, empty one would look like a loss of all
    /// data.
    pub(crate) fn start_existing(&self, socket_dir: &Path) -> anyhow::Result<Postmaster> {
        let dir = self.dir();
        if !self.is_made()? {
            let reason =
                format!("the Postgres cluster {} is gone: bring it back, or restore a backup there", dir.display());
            return Err(LastingError(reason).into());
        }
        self.account.make_private_dir(socket_dir)?;
        let begun = Instant::now();
        loop {
            if let Some(running) = self.find_running()? {
                return Ok(running);
            }
            let left_over = LeftOverProcesses::find(&dir);
            let hindrance = if !left_over.is_empty() {
                if begun.elapsed() > ORPHAN_PATIENCE {
                    left_over.kill_orphans();
                }
                format!("the processes {} of another Postgres server work in it", left_over.pids())
            } else if let Some(lock) = self.lock_for_server(socket_dir)? {
                self.remove_stale_lock_file(&PidFile::path(&dir))?;
                self.remove_stale_lock_file(&socket_dir.join(format!("{SOCKET_NAME}.lock")))?;
                match self.launch(socket_dir, lock)? {
                    LaunchOutcome::Launched(postmaster) => return Ok(postmaster),
                    LaunchOutcome::Hindered(reason) => reason,
                }
            } else {
                "another Postgres server works in it that is no process here: is it in another container?".to_owned()
            };
            if begun.elapsed() > HINDRANCE_TIMEOUT {
                bail!(
                    "Postgres does not start in {}: {hindrance}; if an earlier server still works there, end its \
                     processes and start again",
                    dir.display()
                );
            }
            thread::sleep(10 * POLL_INTERVAL);
        }
    }

    /// Whether the cluster exists. An unreadable volume is an error, not a missing cluster.
    fn is_made(&self) -> anyhow::Result<bool> {
        let file = self.dir().join(VERSION_FILE);
        file.try_exists().with_context(|| format!("look for {}", file.display()))
    }

    /// The last words of a server that ended, from its log.
    pub(crate) fn last_words(&self, postmaster: &Postmaster) -> String {
        self.log_since(postmaster.log_start)
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
            // Only the server's user and root can enter the socket's directory, and nobody comes by
            // TCP.
            .args(["--auth-local", "trust", "--auth-host", "reject"])
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
            let deadline = Instant::now() + HINDRANCE_TIMEOUT;
            while let Err(error) = fs::remove_dir_all(&path) {
                if Instant::now() > deadline {
                    return Err(error).with_context(|| format!("remove the unfinished cluster {}", path.display()));
                }
                thread::sleep(POLL_INTERVAL);
            }
        }
        Ok(())
    }

    /// Removes a lock file that would mislead Postgres, which takes any process with the id in it
    /// for a running server, be it another program or a zombie. If no process has that id, Postgres
    /// removes the file itself. Where this program may not know whether it is a server, Postgres is
    /// left to judge. It refuses to start over an unfinished file.
    ///
    /// No process of a server may work on the cluster.
    fn remove_stale_lock_file(&self, path: &Path) -> anyhow::Result<()> {
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let holder = pid_in(&String::from_utf8_lossy(&content));
        if holder.is_some_and(|pid| !process_exists(pid) || may_be_server(pid, &self.dir())) {
            return Ok(());
        }
        tracing::info!("removing {}, which a dead Postgres server left", path.display());
        fs::remove_file(path).with_context(|| format!("remove the stale {}", path.display()))
    }

    /// Takes the lock that all processes of a server hold; `None` if a server holds it, or if one
    /// answers that this program did not start. Such a server may be in another container on the
    /// same volume, where its processes are invisible.
    fn lock_for_server(&self, socket_dir: &Path) -> anyhow::Result<Option<File>> {
        let lock = data_dir::open_lock(&self.data_dir, "postgres-server")?;
        match lock.try_lock() {
            Ok(()) => {
                let socket = socket_dir.join(SOCKET_NAME);
                let is_used = has_listener(&socket).with_context(|| format!("try to reach {}", socket.display()))?;
                Ok((!is_used).then_some(lock))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).context("take the lock of the Postgres server"),
        }
    }

    /// Starts a postmaster and waits until it is the one server on the cluster.
    fn launch(&self, socket_dir: &Path, lock: File) -> anyhow::Result<LaunchOutcome> {
        let dir = self.dir();
        let log = self.open_log()?;
        let log_start = self.log_len();
        let mut command = self.account.command(self.binaries.postgres());
        // In the cluster from its first moment, so that it is found there.
        command.current_dir(&dir).arg("-D").arg(&dir).arg("-k").arg(socket_dir);
        for (name, value) in self.settings() {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let mut child = command
            // Each process of the server inherits the lock, and the last one to end releases it.
            .stdin(lock)
            .stdout(log.try_clone().context("share the log of Postgres")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("run {}", self.binaries.postgres().display()))?;
        let pid = i32::try_from(child.id()).context("read the process id of Postgres")?;
        let mut wait = PatientWait::begin(&dir);
        loop {
            if let Some(status) = child.try_wait().context("wait for Postgres")? {
                return self.judge_end(status, log_start);
            }
            let postmaster =
                |child| Postmaster { pid, socket_dir: socket_dir.to_owned(), log_start, child: Some(child) };
            match PidFile::read(&dir) {
                Ok(Some(file)) if file.pid == pid && file.status != ServerStatus::Beginning => {
                    return Ok(LaunchOutcome::Launched(postmaster(child)));
                }
                Ok(_) => {}
                Err(error) => {
                    postmaster(child).stop(&dir)?;
                    return Err(error);
                }
            }
            if wait.is_in_vain() {
                postmaster(child).stop(&dir)?;
                bail!("Postgres did not begin to start: look into {}", self.log_path().display());
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Whether another try may succeed after a server ended while starting.
    fn judge_end(&self, status: ExitStatus, log_start: u64) -> anyhow::Result<LaunchOutcome> {
        let words = self.log_since(log_start);
        let reason = format!("Postgres ended while starting ({status}); it said: {words}");
        if words.contains(LASTING_REASON) {
            return Err(LastingError(reason).into());
        }
        if status.signal().is_some() || PASSING_REASONS.iter().any(|passing| words.contains(passing)) {
            return Ok(LaunchOutcome::Hindered(reason));
        }
        bail!(reason)
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
            // Many tests share a server.
            Durability::ProcessDeath => settings.extend([("fsync", "off"), ("max_connections", "300")]),
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
        log_path_in(&self.data_dir)
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

    fn log_len(&self) -> u64 {
        fs::metadata(self.log_path()).map_or(0, |metadata| metadata.len())
    }

    /// The end of the part of the server's log after its first `log_start` bytes.
    fn log_since(&self, log_start: u64) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let start = usize::try_from(log_start).unwrap_or(usize::MAX).min(log.len());
        let start = start.max(log.len().saturating_sub(LAST_WORDS_LEN_MAX));
        String::from_utf8_lossy(&log[start..]).trim().to_owned()
    }
}

/// The outcome of one try to start a server.
enum LaunchOutcome {
    /// The server is the one on the cluster. It may have to recover.
    Launched(Postmaster),
    /// The server ended, for a reason that may pass.
    Hindered(String),
}

/// The reason for a failed start, where another try cannot mend it.
#[derive(Debug)]
pub(crate) struct LastingError(String);

impl fmt::Display for LastingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LastingError {}
