//! Watches the server, alone or together with other programs on the same data directory.
//!
//! There are two locks, which the kernel releases when a program dies, however it dies:
//!
//! | lock | held | by |
//! |---|---|---|
//! | `locks/postgres-change` | exclusively | the program that starts or stops the server, meanwhile |
//! | `locks/postgres-use` | shared | each program that uses the server, while it does |
//!
//! A program that leaves stops the server if it can lock `postgres-use` exclusively, which means
//! that it is the last. Each program that finds the server dead starts it again, unless another
//! program was faster.
//!
//! The watch is a thread and not a task, because it must outlive the caller's async runtime.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, anyhow};

use crate::{cluster::Cluster, postmaster::Postmaster};

/// The pause between two looks at the server.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// The pause before another try to restart the server.
const RESTART_INTERVAL: Duration = Duration::from_secs(2);

/// The watch over a server.
#[derive(Debug)]
pub(crate) struct Supervisor {
    postmaster_pid: Arc<AtomicI32>,
    socket_dir: PathBuf,
    /// Dropping the sender tells the thread to stop.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Supervisor {
    /// Starts the server, or joins a running one, and watches it from then on.
    pub(crate) fn start(cluster: Cluster) -> anyhow::Result<Self> {
        fs::create_dir_all(cluster.locks_dir())
            .with_context(|| format!("make the directory {}", cluster.locks_dir().display()))?;
        let change = open_lock(&cluster, "postgres-change")?;
        let in_use = open_lock(&cluster, "postgres-use")?;
        change.lock().context("wait for another program to finish starting or stopping Postgres")?;
        in_use.lock_shared().context("mark Postgres as used")?;
        let postmaster = match cluster.find_running()? {
            Some(postmaster) => postmaster,
            None => cluster.start()?,
        };
        change.unlock().context("let others start and stop Postgres")?;

        let postmaster_pid = Arc::new(AtomicI32::new(postmaster.pid));
        let socket_dir = postmaster.socket_dir.clone();
        let (stop, stopped) = mpsc::channel();
        let watch = Watch { cluster, change, in_use, postmaster, postmaster_pid: Arc::clone(&postmaster_pid) };
        let thread = thread::Builder::new()
            .name("postgres-watch".to_owned())
            .spawn(move || watch.run(&stopped))
            .context("start a thread")?;
        Ok(Self { postmaster_pid, socket_dir, stop: Some(stop), thread: Some(thread) })
    }

    /// The directory of the server's socket. A restart does not change it.
    pub(crate) fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The current process id of the server.
    pub(crate) fn postmaster_pid(&self) -> i32 {
        self.postmaster_pid.load(Ordering::Acquire)
    }

    /// Leaves the server. Stops it and waits for its end if no other program uses it.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.leave()
    }

    fn leave(&mut self) -> anyhow::Result<()> {
        drop(self.stop.take());
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| anyhow!("the watch over Postgres panicked"))?,
            None => Ok(()),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            tracing::error!("failed to stop Postgres: {error:#}");
        }
    }
}

/// The state of the watching thread.
struct Watch {
    cluster: Cluster,
    change: File,
    in_use: File,
    postmaster: Postmaster,
    postmaster_pid: Arc<AtomicI32>,
}

impl Watch {
    fn run(mut self, stopped: &mpsc::Receiver<()>) -> anyhow::Result<()> {
        let mut interval = WATCH_INTERVAL;
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            interval = WATCH_INTERVAL;
            if !self.postmaster.has_ended(&self.cluster.dir()) {
                continue;
            }
            let pid = self.postmaster.pid;
            match self.restart() {
                Ok(()) => tracing::warn!(
                    pid,
                    new_pid = self.postmaster.pid,
                    "the Postgres server (process {pid}) had ended and runs again as process {}",
                    self.postmaster.pid
                ),
                Err(error) => {
                    tracing::error!(
                        pid,
                        "the Postgres server (process {pid}) ended and does not start again: {error:#}"
                    );
                    interval = RESTART_INTERVAL;
                }
            }
        }
        self.leave()
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        self.change.lock().context("wait for another program to start Postgres")?;
        let postmaster = self.cluster.find_running().and_then(|running| match running {
            Some(postmaster) => Ok(postmaster),
            None => self.cluster.start_existing(&self.postmaster.socket_dir),
        });
        self.change.unlock().context("let others start and stop Postgres")?;
        self.postmaster = postmaster?;
        self.postmaster_pid.store(self.postmaster.pid, Ordering::Release);
        Ok(())
    }

    fn leave(mut self) -> anyhow::Result<()> {
        self.change.lock().context("wait for another program to finish starting or stopping Postgres")?;
        self.in_use.unlock().context("mark Postgres as no longer used here")?;
        match self.in_use.try_lock() {
            Ok(()) => {
                let cluster_dir = self.cluster.dir();
                if self.postmaster.has_ended(&cluster_dir) {
                    // The server died. Another program may have restarted it and died since.
                    return self.cluster.find_running()?.map_or(Ok(()), |postmaster| postmaster.stop(&cluster_dir));
                }
                self.postmaster.stop(&cluster_dir)
            }
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error).context("see whether another program uses Postgres"),
        }
    }
}

fn open_lock(cluster: &Cluster, name: &str) -> anyhow::Result<File> {
    let path = cluster.locks_dir().join(name);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("open the lock {}", path.display()))
}
