//! The processes of a server, as the operating system describes them.
//!
//! A process id alone proves nothing. It may belong to another program by now, because ids repeat:
//! in a container they start from 1 again. It may also belong to a zombie, a dead process that its
//! parent has not waited for: Postgres takes it for a living one.
//!
//! Every process of a server works in the directory of the cluster and is named `postgres`.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

/// How long a server that starts or ends may do no work before a wait for it is given up.
const IDLE_TIME_MAX: Duration = Duration::from_secs(300);

/// A living process of a server.
#[derive(Debug)]
struct ServerProcess {
    pid: i32,
    parent: i32,
    /// Its work, in the words of Postgres; the command line for the postmaster.
    title: String,
    /// The processor time that it has used, in ticks of the kernel.
    ticks: u64,
}

/// Where a process of Postgres works, as far as this program may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WorkPlace {
    /// In the cluster.
    Cluster,
    /// Somewhere else.
    Elsewhere,
    /// The kernel does not tell: root in a container must not see where another user's process
    /// works.
    Unknown,
}

impl ServerProcess {
    /// The process, if it is one of Postgres and lives, with its place. Works with `/proc` only.
    fn read(pid: i32, cluster_dir: &Path) -> Option<(Self, WorkPlace)> {
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let command_line = String::from_utf8_lossy(&command_line);
        let arguments: Vec<&str> = command_line.trim_end_matches('\0').split('\0').collect();
        if !is_postgres(arguments.first()?) {
            return None;
        }
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let place = match (DirectoryNumber::of(&proc.join("cwd")), DirectoryNumber::of(cluster_dir)) {
            (Ok(its), Ok(cluster)) if its == cluster => WorkPlace::Cluster,
            (Ok(_), Ok(_)) => WorkPlace::Elsewhere,
            // A server works for the owner of its cluster alone.
            _ if !have_one_owner(&proc, cluster_dir) => WorkPlace::Elsewhere,
            _ => place_by_arguments(&arguments, cluster_dir),
        };
        let ProcessState { parent, ticks, .. } = ProcessState::read(pid)?;
        Some((Self { pid, parent, title: arguments.join(" "), ticks }, place))
    }

    /// The processes of all servers on `cluster_dir`; none on a machine without `/proc`.
    fn all(cluster_dir: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Self::in_cluster(pids.filter_map(|pid| Self::read(pid, cluster_dir)).collect())
    }

    /// Those that work in the cluster, and the children of those whose own place is unknown.
    fn in_cluster(found: Vec<(Self, WorkPlace)>) -> Vec<Self> {
        let is_there = |(_, place): &(Self, WorkPlace)| *place == WorkPlace::Cluster;
        let (there, others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_there);
        let mut all: Vec<Self> = there.into_iter().map(|(process, _)| process).collect();
        let parents: Vec<i32> = all.iter().map(|process| process.pid).collect();
        let children = others
            .into_iter()
            .filter(|(process, place)| *place == WorkPlace::Unknown && parents.contains(&process.parent));
        all.extend(children.map(|(process, _)| process));
        all
    }

    /// Whether it is the child of a postmaster that is dead.
    fn is_orphan(&self, all: &[Self]) -> bool {
        self.title.starts_with("postgres:") && all.iter().all(|other| other.pid != self.parent)
    }
}

/// The processes that work on a cluster though no postmaster answers for them.
#[derive(Debug)]
pub(crate) struct LeftOverProcesses(Vec<ServerProcess>);

impl LeftOverProcesses {
    /// Looks for them.
    pub(crate) fn find(cluster_dir: &Path) -> Self {
        Self(ServerProcess::all(cluster_dir))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The process ids, for a message.
    pub(crate) fn pids(&self) -> String {
        self.0.iter().map(|process| process.pid.to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Kills those whose postmaster is dead. No acknowledged commit is lost, and the memory that
    /// they share ends with the last of them. A postmaster is left alone.
    pub(crate) fn kill_orphans(&self) {
        for orphan in self.0.iter().filter(|process| process.is_orphan(&self.0)) {
            tracing::warn!(
                pid = orphan.pid,
                "killing process {} of a dead Postgres server, which does not end by itself",
                orphan.pid
            );
            // An error means that the process has just ended.
            let _ = signal::kill(Pid::from_raw(orphan.pid), Signal::SIGKILL);
        }
    }
}

/// A wait for a server that starts or ends. It may last as long as the server works: the recovery
/// of a large database, or a checkpoint on a slow disk, takes minutes.
#[derive(Debug)]
pub(crate) struct PatientWait {
    cluster_dir: PathBuf,
    ticks: u64,
    idle_since: Instant,
}

impl PatientWait {
    /// Begins to wait.
    pub(crate) fn begin(cluster_dir: &Path) -> Self {
        Self { cluster_dir: cluster_dir.to_owned(), ticks: 0, idle_since: Instant::now() }
    }

    /// Whether the server has done no work for too long. On a machine without `/proc`, whether the
    /// wait has lasted too long.
    pub(crate) fn is_in_vain(&mut self) -> bool {
        // Neither the postmaster nor the processes of clients, which are busy with the programs
        // that ask whether the server is ready.
        let works = |process: &ServerProcess| [": startup", ": checkpointer"].iter().any(|p| process.title.contains(p));
        let ticks = ServerProcess::all(&self.cluster_dir).iter().filter(|p| works(p)).map(|p| p.ticks).sum();
        if ticks != self.ticks {
            (self.ticks, self.idle_since) = (ticks, Instant::now());
        }
        self.idle_since.elapsed() > IDLE_TIME_MAX
    }
}

/// Whether the process belongs to a server on `cluster_dir` and lives.
pub(crate) fn is_server(pid: i32, cluster_dir: &Path) -> bool {
    if Path::new("/proc/self/cmdline").exists() {
        return matches!(ServerProcess::read(pid, cluster_dir), Some((_, WorkPlace::Cluster)));
    }
    // This machine has no /proc, as a Mac has none.
    let output = Command::new("ps").args(["-o", "args=", "-p", &pid.to_string()]).stdin(Stdio::null()).output();
    output.is_ok_and(|output| {
        let title = String::from_utf8_lossy(&output.stdout);
        title.split(' ').next().is_some_and(is_postgres) && names_cluster(&title, cluster_dir)
    })
}

/// Whether the process belongs to a server on `cluster_dir`, or may: its place is unknown.
pub(crate) fn may_be_server(pid: i32, cluster_dir: &Path) -> bool {
    let place = ServerProcess::read(pid, cluster_dir).map(|(_, place)| place);
    place == Some(WorkPlace::Unknown) || is_server(pid, cluster_dir)
}

/// Whether the process is exiting but has not released all its resources yet. Its command line is
/// gone by then.
pub(crate) fn is_exiting(pid: i32) -> bool {
    ProcessState::read(pid).is_some_and(|state| state.is_exiting)
}

/// Whether any process has this id, be it a zombie.
pub(crate) fn process_exists(pid: i32) -> bool {
    signal::kill(Pid::from_raw(pid), None).is_ok()
}

/// Whether a command line that begins like this is that of the server program: `…/bin/postgres`, or
/// its older name `…/bin/postmaster`, for a postmaster, `postgres: …` for its children.
fn is_postgres(program: &str) -> bool {
    let name = program.rsplit('/').next();
    program.starts_with("postgres:") || name.is_some_and(|name| matches!(name, "postgres" | "postmaster"))
}

/// The number of a directory: two containers may have equal paths.
#[derive(Debug, PartialEq, Eq)]
struct DirectoryNumber(u64, u64);

impl DirectoryNumber {
    fn of(dir: &Path) -> io::Result<Self> {
        fs::metadata(dir).map(|metadata| Self(metadata.dev(), metadata.ino()))
    }
}

fn have_one_owner(one: &Path, other: &Path) -> bool {
    let owner = |path: &Path| fs::metadata(path).map(|metadata| metadata.uid());
    matches!((owner(one), owner(other)), (Ok(one), Ok(other)) if one == other)
}

/// The place of a process by its command line. A postmaster names its cluster there, unless it was
/// started by hand with a variable; its children have a title in that place.
fn place_by_arguments(arguments: &[&str], cluster_dir: &Path) -> WorkPlace {
    let after = arguments.iter().skip_while(|argument| **argument != "-D").nth(1).copied();
    let joined = || arguments.iter().find_map(|argument| argument.strip_prefix("-D").filter(|dir| !dir.is_empty()));
    // A relative path is one of the directory in which the process was started.
    let named = after.or_else(joined).map(Path::new).filter(|dir| dir.is_absolute());
    let Some(named) = named else { return WorkPlace::Unknown };
    let is_same = match (DirectoryNumber::of(named), DirectoryNumber::of(cluster_dir)) {
        (Ok(named), Ok(cluster)) => named == cluster,
        _ => named == cluster_dir,
    };
    if is_same { WorkPlace::Cluster } else { WorkPlace::Elsewhere }
}

fn names_cluster(title: &str, cluster_dir: &Path) -> bool {
    format!("{} ", title.trim_end()).contains(&format!(" -D {} ", cluster_dir.display()))
}

/// A line of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct ProcessState {
    parent: i32,
    is_exiting: bool,
    ticks: u64,
}

impl ProcessState {
    /// The state of a living process.
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the program's name in parentheses. State, parent, flags, and the time in
    /// user and in system mode are the third, fourth, ninth, fourteenth and fifteenth.
    fn parse(stat: &str) -> Option<Self> {
        /// The kernel's flag for a process that is exiting.
        const PF_EXITING: u32 = 4;
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            is_exiting: fields.get(6)?.parse::<u32>().ok()? & PF_EXITING != 0,
            ticks: number(11)? + number(12)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_is_no_process() {
        let stat = "4711 (a (b) c) S 17 4711 4711 0 -1 4194304 90 0 1 0 30 12 0 0 20 0 1 0 99 1 1";
        assert_eq!(ProcessState::parse(stat), Some(ProcessState { parent: 17, is_exiting: false, ticks: 42 }));
        assert_eq!(
            ProcessState::parse(&stat.replace("4194304", "4194308")),
            Some(ProcessState { parent: 17, is_exiting: true, ticks: 42 })
        );
        assert_eq!(ProcessState::parse(&stat.replace(" S ", " Z ")), None);
        assert_eq!(ProcessState::parse(""), None);
    }

    #[test]
    fn a_process_of_a_server_is_known_by_its_name() {
        for (program, is) in [
            ("/usr/lib/postgresql/15/bin/postgres", true),
            ("/opt/my programs/bin/postgres", true),
            ("/usr/lib/postgresql/15/bin/postmaster", true),
            ("postgres: ledger ledger [local] idle", true),
            ("postgres: startup recovering 000000010000000000000003", true),
            ("vi", false),
            ("/data/postgres/backup", false),
            ("", false),
        ] {
            assert_eq!(is_postgres(program), is, "{program}");
        }
    }

    #[test]
    fn a_postmaster_whose_directory_is_not_shown_is_known_by_its_command_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let cluster = dir.path().join("data dir").join("postgres");
        fs::create_dir_all(&cluster).expect("a directory");
        let path = cluster.to_str().expect("a path in UTF-8");
        let (detour, other) = (format!("{path}/../postgres"), dir.path().to_str().expect("a path in UTF-8"));
        for (arguments, place) in [
            (&["postgres", "-D", path, "-k", "/run"][..], WorkPlace::Cluster),
            (&["/usr/lib/postgresql/15/bin/postgres", "-k", "/run", &format!("-D{detour}")], WorkPlace::Cluster),
            (&["postgres", "-D", other], WorkPlace::Elsewhere),
            (&["postgres", "-D", &format!("{path}.new")], WorkPlace::Elsewhere),
            (&["postgres", "-D", "data dir/postgres"], WorkPlace::Unknown),
            (&["postgres"], WorkPlace::Unknown),
            (&["postgres: checkpointer "], WorkPlace::Unknown),
            (&["postgres", "-D"], WorkPlace::Unknown),
        ] {
            assert_eq!(place_by_arguments(arguments, &cluster), place, "{arguments:?}");
        }
    }

    #[test]
    fn a_child_whose_directory_is_not_shown_belongs_to_the_server_of_its_parent() {
        let process =
            |pid, parent, title: &str, place| (ServerProcess { pid, parent, title: title.to_owned(), ticks: 0 }, place);
        let found = vec![
            process(12, 10, "postgres: startup", WorkPlace::Unknown),
            process(10, 1, "postgres -D /data/postgres", WorkPlace::Cluster),
            process(22, 20, "postgres: startup", WorkPlace::Unknown),
            process(20, 1, "postgres", WorkPlace::Unknown),
            process(13, 10, "postgres: checkpointer", WorkPlace::Elsewhere),
            process(30, 1, "postgres -D /other", WorkPlace::Elsewhere),
        ];
        let pids: Vec<i32> = ServerProcess::in_cluster(found).iter().map(|process| process.pid).collect();
        assert_eq!(pids, [10, 12], "a child of an unknown postmaster is never killed as an orphan");
    }

    #[test]
    fn a_live_process_that_is_not_postgres_is_no_server() {
        let own = i32::try_from(std::process::id()).expect("a process id");
        let dir = std::env::current_dir().expect("a directory");
        assert!(process_exists(own));
        assert!(!is_server(own, &dir) && !may_be_server(own, &dir));
        assert!(!is_exiting(own));
        assert!(LeftOverProcesses::find(&dir).is_empty());
    }
}
