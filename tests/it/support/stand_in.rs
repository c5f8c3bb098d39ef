//! The stand-in for a KurrentDB server: one process with a file, or several that form a cluster.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use domain::Stream;
use event_log_kurrentdb::{KurrentLog, StreamPrefix};
use nix::{
    sys::{
        signal::{self, Signal},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use ring::hmac;

use super::{DataDir, Proxy, certificates::CertificateFiles, eventually, watchdog::Watchdog};

/// The stand-in that `cargo` built.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_kurrentdb-stand-in-under-test");

/// The naming key of the ledgers of tests, in the environment of each program.
pub const NAMING_KEY: &str = "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210";

/// The log with the default prefix on the server of a URL.
pub fn log_at(url: &str) -> KurrentLog {
    log_with_key(url, Some(NAMING_KEY))
}

/// As [`log_at`], with another naming key or none.
pub fn log_with_key(url: &str, key: Option<&str>) -> KurrentLog {
    let key = key.map(|key| key.parse().expect("a naming key"));
    KurrentLog::new(url, &StreamPrefix::default(), key).expect("a URL")
}

/// The name of a stream on the server, with the default prefix and [`NAMING_KEY`], worked out as
/// the documentation says.
pub fn server_name(stream: &Stream) -> String {
    server_name_of_generation(stream, 0)
}

/// [`server_name`] where streams of the names before were deleted.
pub fn server_name_of_generation(stream: &Stream, generation: u64) -> String {
    if let Stream::Prison(_) = stream {
        return format!("ledger-{stream}");
    }
    let key: Vec<u8> = NAMING_KEY
        .as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).expect("ASCII"), 16).expect("digits"))
        .collect();
    let digest = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{stream}/{generation}").as_bytes());
    let digits: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("ledger-person-{digits}")
}

/// A running stand-in. Dropping it kills it, as `kill -9` does, and removes its file. So does the
/// end of this process.
#[derive(Debug)]
pub struct StandIn {
    /// `IP:PORT`, the same after a restart.
    address: String,
    /// Further arguments, beside its address and its file.
    arguments: Vec<String>,
    server: Option<StandInProcess>,
    /// Last, so that the server is gone before its directory is.
    directory: Arc<DataDir>,
}

#[derive(Debug)]
struct StandInProcess {
    child: Child,
    /// Whether it has reported that it leads a cluster.
    leads: Arc<AtomicBool>,
    watchdog: Watchdog,
}

impl StandIn {
    /// Starts a stand-in on a free port and an empty file.
    pub fn start() -> Self {
        Self::start_with(Arc::new(DataDir::new()), "127.0.0.1:0", Vec::new())
    }

    /// Starts a stand-in that lets only this user, `NAME:PASSWORD`, read and write streams.
    pub fn start_for_user(user: &str) -> Self {
        Self::start_with(Arc::new(DataDir::new()), "127.0.0.1:0", vec!["--user".to_owned(), user.to_owned()])
    }

    /// Starts a stand-in that, on each batch call, does the append with this number after the one
    /// that follows it.
    pub fn start_with_late_append(number: usize) -> Self {
        let arguments = vec!["--late-append".to_owned(), number.to_string()];
        Self::start_with(Arc::new(DataDir::new()), "127.0.0.1:0", arguments)
    }

    /// As [`Self::start_for_user`], with TLS: see [`Self::secure_url`].
    pub fn start_secure(user: &str) -> Self {
        let directory = DataDir::new();
        let mut arguments = vec!["--user".to_owned(), user.to_owned()];
        arguments.extend(certificate(&directory, &["127.0.0.1", "localhost"]));
        Self::start_with(Arc::new(directory), "127.0.0.1:0", arguments)
    }

    /// Starts a stand-in with further arguments, such as those that make it slow.
    pub fn start_with_arguments(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::start_with(Arc::new(DataDir::new()), "127.0.0.1:0", arguments)
    }

    fn start_with(directory: Arc<DataDir>, listen: &str, arguments: Vec<String>) -> Self {
        let (server, address) = StandInProcess::start(listen, &directory.path().join("events"), &arguments);
        Self { address, arguments, server: Some(server), directory }
    }

    /// The URL without TLS.
    pub fn url(&self) -> String {
        format!("kurrentdb://{}?tls=false", self.address)
    }

    /// The URL with TLS for a user, `NAME:PASSWORD`, who trusts the authority that signed its
    /// certificate.
    pub fn secure_url(&self, user: &str) -> String {
        format!("kurrentdb://{user}@{}?tlsCaFile={}", self.address, self.authority().display())
    }

    /// The certificate of the authority that signed its own.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// Makes it end all subscriptions without an error, which no server should do.
    pub fn end_subscriptions(&self) {
        self.signal(Signal::SIGUSR1);
    }

    /// Stops the server's work until [`resume`](Self::resume). Its connections stay open.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        // On a busy machine its threads work on for a while after the signal.
        waitid(Id::Pid(self.pid()), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT).expect("wait until it has stopped");
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        signal::kill(self.pid(), signal).expect("signal the server");
    }

    fn pid(&self) -> Pid {
        let server = self.server.as_ref().expect("a server that runs");
        Pid::from_raw(server.child.id().cast_signed())
    }

    /// A proxy in front of it.
    pub fn proxy(&self) -> Proxy {
        Proxy::to(&self.address)
    }

    /// `IP:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The file with its events.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("events")
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it again after [`Self::kill`], on the same port and file.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "the server still runs");
        let (server, address) = StandInProcess::start(&self.address, &self.file(), &self.arguments);
        assert_eq!(address, self.address);
        self.server = Some(server);
    }

    fn leads(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.leads.load(Ordering::Relaxed))
    }
}

/// Stand-ins that are the nodes of one cluster.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<StandIn>,
}

impl Nodes {
    /// Starts three nodes and waits until one leads.
    pub async fn start() -> Self {
        Self::start_with(|_, _| Vec::new()).await
    }

    /// As [`Self::start`] with TLS, for one user, `NAME:PASSWORD`: see [`Self::secure_url`].
    pub async fn start_secure(user: &str) -> Self {
        let user = ["--user".to_owned(), user.to_owned()];
        Self::start_with(|directory, hosts| user.into_iter().chain(certificate(directory, hosts)).collect()).await
    }

    async fn start_with(arguments: impl FnOnce(&DataDir, &[&str]) -> Vec<String>) -> Self {
        // Nodes must know one another before they listen. On a loopback network of its own every
        // port is free.
        let [network, subnet, ..] = uuid::Uuid::new_v4().into_bytes();
        let hosts = [1, 2, 3].map(|host| format!("127.{}.{subnet}.{host}", network.clamp(1, 254)));
        let addresses = hosts.each_ref().map(|host| format!("{host}:2113"));
        let directory = Arc::new(DataDir::new());
        let mut arguments = arguments(&directory, &hosts.each_ref().map(String::as_str));
        arguments.extend(["--nodes".to_owned(), addresses.join(",")]);
        let start = |address: &String| StandIn::start_with(Arc::clone(&directory), address, arguments.clone());
        let nodes = Self { nodes: addresses.iter().map(start).collect() };
        nodes.leader().await;
        nodes
    }

    /// The URL without TLS.
    pub fn url(&self) -> String {
        format!("kurrentdb://{}?tls=false", self.addresses())
    }

    /// The URL with TLS for a user, `NAME:PASSWORD`, who trusts the authority that signed their
    /// certificate.
    pub fn secure_url(&self, user: &str) -> String {
        format!("kurrentdb://{user}@{}?tlsCaFile={}", self.addresses(), self.nodes[0].authority().display())
    }

    /// `IP:PORT,IP:PORT,IP:PORT`.
    pub fn addresses(&self) -> String {
        self.nodes.iter().map(StandIn::address).collect::<Vec<_>>().join(",")
    }

    /// Waits until a node leads, and returns its index.
    pub async fn leader(&self) -> usize {
        eventually("a leader", async || self.nodes.iter().position(StandIn::leads)).await
    }

    /// Makes the leader resign, waits until another node leads, and returns the index of the former
    /// leader.
    pub async fn resign(&self) -> usize {
        let before = self.leader().await;
        self.nodes[before].signal(Signal::SIGUSR2);
        eventually("another leader", async || {
            self.nodes.iter().position(StandIn::leads).filter(|leader| *leader != before)
        })
        .await;
        before
    }

    /// Kills the leader and returns its index.
    pub async fn kill_leader(&mut self) -> usize {
        let leader = self.leader().await;
        self.nodes[leader].kill();
        leader
    }

    pub fn node(&mut self, node: usize) -> &mut StandIn {
        &mut self.nodes[node]
    }
}

/// Makes a certificate for some hosts, and returns the arguments for the stand-in.
fn certificate(directory: &DataDir, hosts: &[&str]) -> [String; 4] {
    let files = CertificateFiles::make(directory.path(), hosts);
    let [certificate, key] = [files.certificate, files.key].map(|path| path.to_str().expect("UTF-8").to_owned());
    ["--certificate".to_owned(), certificate, "--key".to_owned(), key]
}

impl StandInProcess {
    fn start(listen: &str, file: &Path, arguments: &[String]) -> (Self, String) {
        let mut child = Command::new(EXECUTABLE)
            .args(["--listen", listen, "--data"])
            .arg(file)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the stand-in");
        let watchdog = Watchdog::new("kill -KILL \"$1\"", &[child.id().to_string().as_ref()]);
        let stdout = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let address = lines.next().and_then(|line| {
            line.split_once("kurrentdb://")
                .and_then(|(_, url)| url.split_once('?'))
                .map(|(address, _)| address.to_owned())
        });
        let Some(address) = address else {
            let mut errors = String::new();
            let _ = child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut errors));
            panic!("the stand-in does not listen: {errors}");
        };
        let leads = Arc::<AtomicBool>::default();
        let told = Arc::clone(&leads);
        std::thread::spawn(move || lines.for_each(|line| told.store(line == "leads", Ordering::Relaxed)));
        (Self { child, leads, watchdog }, address)
    }
}

impl Drop for StandInProcess {
    fn drop(&mut self) {
        // First, while the process id still belongs to this server.
        self.watchdog.dismiss();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
