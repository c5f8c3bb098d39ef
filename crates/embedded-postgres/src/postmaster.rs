//! A postmaster, the server's first process, as `postmaster.pid` and the operating system describe
//! it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

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
    /// The process, if this program is its parent and must wait for it.
    pub(crate) child: Option<Child>,
}

impl Postmaster {
    /// Whether the server on `cluster_dir` has ended.
    pub(crate) fn has_ended(&mut self, cluster_dir: &Path) -> bool {
        match &mut self.child {
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => !is_postmaster(self.pid, cluster_dir) && !is_exiting(self.pid),
        }
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
    /// Starting or recovering.
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

    /// Reads the file; `None` if there is no file, or if the server is still writing it.
    pub(crate) fn read(cluster_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = Self::path(cluster_dir);
        match fs::read_to_string(&path) {
            Ok(content) => Ok(Self::parse(&content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// The lines are: process id, data directory, start time, port, socket directory, listen
    /// address, shared memory, status.
    fn parse(content: &str) -> Option<Self> {
        let lines: Vec<&str> = content.lines().collect();
        Some(Self {
            pid: lines.first()?.trim().parse().ok()?,
            socket_dir: lines.get(4).filter(|line| !line.is_empty()).map(PathBuf::from),
            status: match lines.get(7).map(|line| line.trim()) {
                Some("ready") => ServerStatus::Ready,
                Some("stopping") => ServerStatus::Stopping,
                _ => ServerStatus::Starting,
            },
        })
    }
}

/// Whether the process is a postmaster on `cluster_dir`. A process id alone proves nothing: it may
/// belong to another process by now, or to a dead one that its parent has not waited for.
pub(crate) fn is_postmaster(pid: i32, cluster_dir: &Path) -> bool {
    let arguments = match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(arguments) => String::from_utf8_lossy(&arguments).replace('\0', " "),
        Err(_) if Path::new("/proc/self/cmdline").exists() => return false,
        // This machine has no /proc, as a Mac has none.
        Err(_) => {
            match Command::new("ps").args(["-o", "args=", "-p", &pid.to_string()]).stdin(Stdio::null()).output() {
                Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
                Err(_) => return false,
            }
        }
    };
    arguments.contains("postgres") && format!("{arguments} ").contains(&format!(" -D {} ", cluster_dir.display()))
}

/// Whether the process is exiting but has not released all its resources yet. Its arguments are
/// gone by then.
pub(crate) fn is_exiting(pid: i32) -> bool {
    /// The kernel's flag for a process that is exiting.
    const PF_EXITING: u32 = 4;
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The second field is the program's name in parentheses. State and flags are the third and the
    // ninth.
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let mut fields = fields.split(' ');
    let (state, flags) = (fields.next(), fields.nth(5).and_then(|flags| flags.parse::<u32>().ok()));
    // A dead process that its parent has not waited for keeps its flags and nothing else.
    !matches!(state, Some("Z" | "X")) && flags.is_some_and(|flags| flags & PF_EXITING != 0)
}

/// Whether any process has this id.
pub(crate) fn process_exists(pid: i32) -> bool {
    signal::kill(Pid::from_raw(pid), None).is_ok()
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
            Some(PidFile { status: ServerStatus::Stopping, ..ready })
        );
        assert_eq!(
            PidFile::parse("4711\n/data/postgres\n1764000000\n"),
            Some(PidFile { pid: 4711, socket_dir: None, status: ServerStatus::Starting })
        );
        assert_eq!(PidFile::parse(""), None);
    }

    #[test]
    fn a_live_process_that_is_not_postgres_is_no_postmaster() {
        let own = i32::try_from(std::process::id()).expect("a process id");
        assert!(process_exists(own));
        assert!(!is_postmaster(own, Path::new("/data/postgres")));
        assert!(!is_exiting(own));
    }
}
