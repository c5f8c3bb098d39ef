//! The stand-in for a KurrentDB server, as a process on a file of its own.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use super::{Proxy, watchdog::Watchdog};

/// Where `cargo` has built the stand-in.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_kurrentdb-stand-in");

/// A stand-in that listens. Dropping it kills it, as `kill -9` does, and removes its file; so does the end of this process.
#[derive(Debug)]
pub struct StandIn {
    /// `IP:PORT`; of the first start, and kept.
    address: String,
    directory: PathBuf,
    /// The only one who may read and write streams, `NAME:PASSWORD`.
    user: Option<String>,
    server: Option<Server>,
    directory_watchdog: Watchdog,
}

#[derive(Debug)]
struct Server {
    child: Child,
    watchdog: Watchdog,
}

impl StandIn {
    /// Starts one on a free port and an empty file.
    pub fn start() -> Self {
        Self::start_for(None)
    }

    /// Starts one that lets only this user, `NAME:PASSWORD`, read and write streams.
    pub fn start_for_user(user: &str) -> Self {
        Self::start_for(Some(user.to_owned()))
    }

    fn start_for(user: Option<String>) -> Self {
        let directory = tempfile::Builder::new().prefix("ledger-test-").tempdir().expect("make a directory").keep();
        let directory_watchdog = Watchdog::new("rm -rf \"$1\"", &[directory.as_os_str()]);
        let (server, address) = Server::start("127.0.0.1:0", &directory.join("events"), user.as_deref());
        Self { address, directory, user, server: Some(server), directory_watchdog }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("kurrentdb://{}?tls=false", self.address)
    }

    /// Makes it end all subscriptions without an error, which no server should do.
    pub fn end_subscriptions(&self) {
        let server = self.server.as_ref().expect("a server that runs");
        let pid = Pid::from_raw(i32::try_from(server.child.id()).expect("a process id"));
        signal::kill(pid, Signal::SIGUSR1).expect("signal the server");
    }

    /// A proxy in front of it.
    pub fn proxy(&self) -> Proxy {
        Proxy::to(&self.address)
    }

    /// `IP:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its file of events.
    pub fn file(&self) -> PathBuf {
        self.directory.join("events")
    }

    /// Kills it without a warning and waits until it is gone.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it again after [`Self::kill`], on the same port and file.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "the server still runs");
        let (server, address) = Server::start(&self.address, &self.file(), self.user.as_deref());
        assert_eq!(address, self.address);
        self.server = Some(server);
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.kill();
        self.directory_watchdog.dismiss();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Server {
    fn start(listen: &str, file: &Path, user: Option<&str>) -> (Self, String) {
        let mut child = Command::new(EXECUTABLE)
            .args(["--listen", listen, "--data"])
            .arg(file)
            .args(user.map(|user| ["--user", user]).into_iter().flatten())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the stand-in");
        let watchdog = Watchdog::new("kill -KILL \"$1\"", &[child.id().to_string().as_ref()]);
        let stdout = child.stdout.take().expect("its output");
        let line = BufReader::new(stdout).lines().next();
        let address = line.and_then(Result::ok).and_then(|line| {
            line.split_once("kurrentdb://")
                .and_then(|(_, url)| url.split_once('?'))
                .map(|(address, _)| address.to_owned())
        });
        let Some(address) = address else {
            let mut errors = String::new();
            let _ = child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut errors));
            panic!("the stand-in does not listen: {errors}");
        };
        (Self { child, watchdog }, address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // First, while the process id is still this server's.
        self.watchdog.dismiss();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
