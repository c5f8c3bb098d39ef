//! Watches the server, alone or together with other programs on the same data directory.
//!
//! There are three locks, which the kernel releases when a program dies, however it dies:
//!
//! | lock | held | by |
//! |---|---|---|
//! | `locks/postgres-change` | exclusively | the program that starts or stops the server, meanwhile |
//! | `locks/postgres-use` | shared | each program that uses the server, while it does |
//! | `locks/postgres-server` | together | the processes of the server, which inherit it |
//!
//! A program that leaves stops the server if it can lock `postgres-use` exclusively, which means
//! that it is the last. Each program that finds the server dead starts it again, unless another
//! program was faster. It tries again and again, with a growing pause, until the server is ready
//! and stays so; it gives up only for a reason that another try cannot mend.
//!
//! A start takes the server to the point where it is the one server on the cluster. Recovery comes
//! after that, without a lock, and clients wait for it.
//!
//! The watch is a thread and not a task, because it must outlive the caller's async runtime.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};

use crate::{
    cluster::{Cluster, LastingError},
    data_dir,
    postmaster::Postmaster,
};

/// The pause between two looks at the server.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// The pause after the first failed try to start the server again. Each further one doubles it.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(500);

/// The longest pause between two tries. A server whose trouble has passed is back soon after.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// How long a server must have been ready before its end counts as a new trouble, and it is started
/// again at once. One that dies each time as soon as it is ready must not be started without end.
const STEADY_AFTER: Duration = Duration::from_secs(2);

/// The condition of a server, as its watch knows it.
#[derive(Debug, Clone)]
pub struct ServerCondition(Arc<Mutex<KnownCondition>>);

#[derive(Debug)]
struct KnownCondition {
    postmaster_pid: i32,
    failure: Option<StartFailure>,
}

/// The reason why a server is not there.
#[derive(Debug, Clone)]
pub struct StartFailure {
    /// Tries to start the server since it was last ready and stayed so.
    pub tries: u32,
    /// The reason of the last one.
    pub reason: String,
    /// Whether there will be no other try.
    pub is_final: bool,
}

impl ServerCondition {
    fn new(postmaster_pid: i32) -> Self {
        Self(Arc::new(Mutex::new(KnownCondition { postmaster_pid, failure: None })))
    }

    /// The reason why the server is not there; `None` while it is, or is about to be.
    #[must_use]
    pub fn failure(&self) -> Option<StartFailure> {
        self.lock().failure.clone()
    }

    /// The current process id of the server.
    pub(crate) fn postmaster_pid(&self) -> i32 {
        self.lock().postmaster_pid
    }

    /// A poisoned lock is as good as another: each change is one assignment.
    fn lock(&self) -> MutexGuard<'_, KnownCondition> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watch over a server, as the program that uses the server sees it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    condition: ServerCondition,
    socket_dir: PathBuf,
    /// Dropping the sender tells the thread to stop.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Supervisor {
    /// Starts the server, or joins a running one, and watches it from then on. The server may still
    /// have to recover.
    pub(crate) fn start(cluster: Cluster) -> anyhow::Result<Self> {
        let change = data_dir::open_lock(cluster.data_dir(), "postgres-change")?;
        let in_use = data_dir::open_lock(cluster.data_dir(), "postgres-use")?;
        if let Err(TryLockError::WouldBlock) = change.try_lock() {
            tracing::info!("waiting for another program that starts or stops Postgres");
        }
        change.lock().context("wait for another program to finish starting or stopping Postgres")?;
        in_use.lock_shared().context("mark Postgres as used")?;
        let postmaster = cluster.start()?;
        change.unlock().context("let others start and stop Postgres")?;

        let condition = ServerCondition::new(postmaster.pid);
        let socket_dir = postmaster.socket_dir.clone();
        let (stop, stopped) = mpsc::channel();
        let watch = Watch {
            cluster,
            change,
            in_use,
            socket_dir: socket_dir.clone(),
            postmaster: Some(postmaster),
            trouble: Trouble { tries: 1, ready_at: None },
            condition: condition.clone(),
        };
        let thread = thread::Builder::new()
            .name("postgres-watch".to_owned())
            .spawn(move || watch.run(&stopped))
            .context("start a thread")?;
        Ok(Self { condition, socket_dir, stop: Some(stop), thread: Some(thread) })
    }

    /// The directory of the server's socket. A restart does not change it.
    pub(crate) fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The condition of the server.
    pub(crate) fn condition(&self) -> &ServerCondition {
        &self.condition
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
    socket_dir: PathBuf,
    /// The server, unless it has ended.
    postmaster: Option<Postmaster>,
    trouble: Trouble,
    condition: ServerCondition,
}

impl Watch {
    fn run(mut self, stopped: &mpsc::Receiver<()>) -> anyhow::Result<()> {
        let mut pause = WATCH_INTERVAL;
        while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            pause = self.look();
        }
        self.leave()
    }

    /// Starts the server again if it has ended. Returns the pause before the next look.
    fn look(&mut self) -> Duration {
        let dir = self.cluster.dir();
        if let Some(mut postmaster) = self.postmaster.take() {
            if !postmaster.has_ended(&dir) {
                if self.trouble.tries > 0 && postmaster.has_been_ready(&dir) {
                    self.trouble.note_ready(Instant::now());
                    self.condition.lock().failure = None;
                }
                self.postmaster = Some(postmaster);
                return WATCH_INTERVAL;
            }
            let pid = postmaster.pid;
            tracing::warn!(pid, "the Postgres server (process {pid}) has ended");
            if self.trouble.tries > 0 {
                let when = if self.trouble.ready_at.is_some() { "as soon as" } else { "before" };
                let words = self.cluster.last_words(&postmaster);
                return self.put_off(&anyhow!("it ended {when} it was ready; it said: {words}"));
            }
        }
        self.trouble.begin_try();
        match self.restart() {
            Ok(postmaster) => {
                let pid = postmaster.pid;
                tracing::warn!(pid, "the Postgres server starts again, as process {pid}");
                self.condition.lock().postmaster_pid = pid;
                self.postmaster = Some(postmaster);
                WATCH_INTERVAL
            }
            Err(error) => self.put_off(&error),
        }
    }

    fn restart(&self) -> anyhow::Result<Postmaster> {
        self.change.lock().context("wait for another program to start Postgres")?;
        let postmaster = self.cluster.start_existing(&self.socket_dir);
        self.change.unlock().context("let others start and stop Postgres")?;
        postmaster
    }

    /// Reports a failed try. Returns the pause before the next one.
    fn put_off(&self, error: &anyhow::Error) -> Duration {
        let (tries, reason) = (self.trouble.tries, format!("{error:#}"));
        let is_final = error.is::<LastingError>();
        // Only the end of the watch ends a pause without end.
        let pause = if is_final { Duration::MAX } else { self.trouble.pause() };
        if is_final {
            tracing::error!("Postgres has ended and is not started again until this program is: {reason}");
        } else {
            tracing::error!(tries, "Postgres does not start (try {tries}), next try in {pause:?}: {reason}");
        }
        self.condition.lock().failure = Some(StartFailure { tries, reason, is_final });
        pause
    }

    fn leave(self) -> anyhow::Result<()> {
        self.change.lock().context("wait for another program to finish starting or stopping Postgres")?;
        self.in_use.unlock().context("mark Postgres as no longer used here")?;
        match self.in_use.try_lock() {
            Ok(()) => {
                let dir = self.cluster.dir();
                // If the server died, another program may have started it again and died since.
                let mut known = self.postmaster;
                let running = match known.take_if(|postmaster| !postmaster.has_ended(&dir)) {
                    None => self.cluster.find_running()?,
                    running => running,
                };
                running.map_or(Ok(()), |postmaster| postmaster.stop(&dir))
            }
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error).context("see whether another program uses Postgres"),
        }
    }
}

/// The starts of a server until it is ready and stays so.
#[derive(Debug)]
struct Trouble {
    /// How often it was started; 0 while there is no trouble.
    tries: u32,
    /// When the server of the last try was first seen to be ready.
    ready_at: Option<Instant>,
}

impl Trouble {
    fn begin_try(&mut self) {
        *self = Self { tries: self.tries.saturating_add(1), ready_at: None };
    }

    /// Takes in that the server is ready. The trouble ends if it has been so for long enough.
    fn note_ready(&mut self, now: Instant) {
        let ready_at = *self.ready_at.get_or_insert(now);
        if now.duration_since(ready_at) >= STEADY_AFTER {
            self.tries = 0;
        }
    }

    /// The pause before the next try.
    fn pause(&self) -> Duration {
        RETRY_PAUSE_MIN.saturating_mul(2_u32.saturating_pow(self.tries.saturating_sub(1))).min(RETRY_PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_tries_grows_to_its_bound() {
        let pause_after = |tries| Trouble { tries, ready_at: None }.pause();
        let pauses: Vec<u128> = (1..8).map(|tries| pause_after(tries).as_millis()).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(pause_after(u32::MAX), RETRY_PAUSE_MAX);
    }

    #[test]
    fn a_server_that_dies_as_soon_as_it_is_ready_is_started_with_a_growing_pause() {
        let mut now = Instant::now();
        let mut trouble = Trouble { tries: 0, ready_at: None };
        let mut pauses = Vec::new();
        for _ in 0..4 {
            trouble.begin_try();
            for _ in 0..15 {
                now += WATCH_INTERVAL;
                trouble.note_ready(now);
            }
            pauses.push(trouble.pause().as_millis());
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000]);
        now += STEADY_AFTER;
        trouble.note_ready(now);
        assert_eq!(trouble.tries, 0, "it has stayed ready");
    }
}
