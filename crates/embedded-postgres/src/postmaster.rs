//! A postmaster, the server's first process, as `postmaster.pid` and the operating system describe
//! it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::processes::{is_exiting, is_server};

/// The pause between two looks at a server that is starting or ending.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long a server may take for its shutdown checkpoint before it is forced to end. A forced end
/// loses nothing, but the next start must recover.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// A postmaster that this program started or found.
#[derive(Debug)]
pub(crate) struct Postmaster {
    /// Its process id.
    pub(crate) pid: i32,
    /// The directory of its socket.
    pub(crate) socket_dir: PathBuf,
    /// The length of the server's log when this program started or found it.
    pub(crate) log_start: u64,
    /// The process, if this program is its parent and must wait for it.
    pub(crate) child: Option<Child>,
}

impl Postmaster {
    /// Whether the server on `cluster_dir` has ended.
    pub(crate) fn has_ended(&mut self, cluster_dir: &Path) -> bool {
        match &mut self.child {
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => !is_server(self.pid, cluster_dir) && !is_exiting(self.pid),
        }
    }

    /// Whether it has become ready. It may recover again since, after the death of one of its
    /// processes, and still says that it is ready.
    pub(crate) fn has_been_ready(&self, cluster_dir: &Path) -> bool {
        let file = PidFile::read(cluster_dir);
        file.is_ok_and(|file| file.is_some_and(|file| file.pid == self.pid && file.status == ServerStatus::Ready))
    }

    /// Ends the server. It disconnects its clients and writes out committed data first.
    pub(crate) fn stop(mut self, cluster_dir: &Path) -> anyhow::Result<()> {
        for (signal, timeout) in [(Signal::SIGINT, STOP_TIMEOUT), (Signal::SIGQUIT, Duration::from_secs(10))] {
            if self.has_ended(cluster_dir) {
                return Ok(());
            }
            // An error means that the server has just ended, which the wait below notices.
            let _ = signal::kill(Pid::from_raw(self.pid), signal);
            let deadline = Instant::now() + timeout;
            while Instant::now() < deadline {
                if self.has_ended(cluster_dir) {
                    return Ok(());
                }
                thread::sleep(POLL_INTERVAL);
            }
        }
        bail!("the Postgres server (process {}) does not end: look into its log, and end it by hand", self.pid)
    }
}

/// The status of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerStatus {
    /// Taking its locks and its memory.
    Beginning,
    /// The one server on the cluster; recovering, if it has to.
    Starting,
    /// Taking connections.
    Ready,
    /// Ending.
    Stopping,
}

/// The content of `postmaster.pid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PidFile {
    pub(crate) pid: i32,
    /// Absent until the server has opened its socket.
    pub(crate) socket_dir: Option<PathBuf>,
    pub(crate) status: ServerStatus,
}

impl PidFile {
    /// The path of the file in a cluster.
    pub(crate) fn path(cluster_dir: &Path) -> PathBuf {
        cluster_dir.join("postmaster.pid")
    }

    /// Reads the file; `None` if there is no file, or if it is empty or no such file: a server that
    /// is killed may leave it unfinished.
    pub(crate) fn read(cluster_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = Self::path(cluster_dir);
        match fs::read(&path) {
            Ok(content) => Ok(Self::parse(&String::from_utf8_lossy(&content))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// The lines are: process id, data directory, start time, port, socket directory, listen
    /// address, shared memory, status.
    fn parse(content: &str) -> Option<Self> {
        let lines: Vec<&str> = content.lines().collect();
        Some(Self {
            pid: pid_in(content)?,
            socket_dir: lines.get(4).filter(|line| !line.is_empty()).map(PathBuf::from),
            status: match lines.get(7).map(|line| line.trim()) {
                Some("ready") => ServerStatus::Ready,
                Some("stopping") => ServerStatus::Stopping,
                Some(_) => ServerStatus::Starting,
                None => ServerStatus::Beginning,
            },
        })
    }
}

/// The process id on the first line of a lock file. It is negative if the process is no postmaster
/// but a server for a single user.
pub(crate) fn pid_in(lock_file: &str) -> Option<i32> {
    let pid: i32 = lock_file.lines().next()?.trim().parse().ok()?;
    pid.checked_abs().filter(|pid| *pid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_read_at_every_stage() {
        let written = "4711\n/data/postgres\n1764000000\n5432\n/data/run\n\n  1234567    65536\nready   \n";
        let ready = PidFile { pid: 4711, socket_dir: Some(PathBuf::from("/data/run")), status: ServerStatus::Ready };
        assert_eq!(PidFile::parse(written), Some(ready.clone()));
        assert_eq!(
            PidFile::parse(&written.replace("ready   ", "stopping")),
            Some(PidFile { status: ServerStatus::Stopping, ..ready.clone() })
        );
        assert_eq!(
            PidFile::parse("4711\n/data/postgres\n1764000000\n"),
            Some(PidFile { pid: 4711, socket_dir: None, status: ServerStatus::Beginning })
        );
        assert_eq!(
            PidFile::parse(&written.replace("ready   ", "starting")),
            Some(PidFile { status: ServerStatus::Starting, ..ready })
        );
        assert_eq!(PidFile::parse(""), None);
        assert_eq!(pid_in("-4711\n/data/postgres\n"), Some(4711));
        assert_eq!(pid_in("0\n"), None);
    }
}
