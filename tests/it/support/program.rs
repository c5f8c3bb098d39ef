//! The real program, as a process.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use reqwest::Method;

use super::{Client, NAMING_KEY, PATIENCE, TestDatabase, Topology, eventually, watchdog::Watchdog};

/// The program that `cargo` built.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_allocation-ledger-under-test");

/// A serving program, or the services of a cluster, which are asked and stopped together. Dropping
/// it kills it, as `kill -9` does. So does the end of this process.
#[derive(Debug)]
pub struct Program {
    services: Vec<RunningService>,
    client: Client,
}

/// A process that listens.
#[derive(Debug)]
struct RunningService {
    process: ProgramProcess,
    /// A client of this process alone.
    client: Client,
}

/// A program that may not listen yet, and its log.
#[derive(Debug)]
struct ProgramProcess {
    child: Child,
    log: PathBuf,
    watchdog: Watchdog,
}

/// The output of a program that ended.
#[derive(Debug)]
pub struct ToolOutput {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// Serves all roles over the embedded Postgres in a data directory, and waits until it is
    /// ready.
    pub async fn serve(data_dir: &Path) -> Self {
        let data_dir = data_dir.to_str().expect("a path in UTF-8");
        Self::serve_with(&["--data-dir", data_dir]).await
    }

    /// Serves all roles over a test's database, and waits until it is ready. The topology of the
    /// tests decides whether each role is a process.
    pub async fn serve_all(database: &TestDatabase) -> Self {
        let stores = database.arguments();
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        if !Topology::from_environment().are_services_apart {
            return Self::serve_with(&stores).await;
        }
        let [projector, command, query] = ["projector", "command", "query"].map(|role| {
            let arguments = [&["--role", role], &stores[..]].concat();
            async move { Self::start(&arguments).await }
        });
        let (projector, command, query) = tokio::join!(projector, command, query);
        let client = query.client.clone().with_commands_to(command.client.base_url());
        let services = [command, query, projector].into_iter().flat_map(|program| program.services).collect();
        Self { services, client }.into_ready().await
    }

    /// Serves with the given arguments on a free port, and waits until it is ready.
    pub async fn serve_with(arguments: &[&str]) -> Self {
        Self::start(arguments).await.into_ready().await
    }

    /// Serves with the given arguments on a free port, ready or not.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_in(&[], arguments).await
    }

    /// As [`Self::start`], with additions to its environment.
    pub async fn start_in(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut process = ProgramProcess::serve(environment, arguments, Stdio::piped());
        let stdout = process.child.stdout.take().expect("its output");
        let (address_found, address) = mpsc::channel();
        std::thread::spawn(move || {
            // Read to the end, so that the program never blocks on a full pipe.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(start) = line.find("http://").or_else(|| line.find("https://")) {
                    let address = line[start..].split_whitespace().next().unwrap_or_default().to_owned();
                    let _ = address_found.send(address);
                }
            }
        });
        let address = tokio::task::spawn_blocking(move || address.recv_timeout(PATIENCE)).await.expect("a thread");
        let Ok(address) = address else {
            let ended = process.child.try_wait();
            panic!("the program did not start to listen ({ended:?}); its log follows");
        };
        let client = Client::new(&address);
        Self { services: vec![RunningService { process, client: client.clone() }], client }
    }

    /// Waits until it is ready.
    pub async fn into_ready(mut self) -> Self {
        self.wait_until_ready().await;
        self
    }

    /// Waits until it is ready.
    pub async fn wait_until_ready(&mut self) {
        for service in &mut self.services {
            service.wait_until_ready().await;
        }
    }

    /// Starts to serve on a free port, and kills the program after this time, ready or not.
    pub async fn start_and_kill(arguments: &[&str], after: Duration) {
        let process = ProgramProcess::serve(&[], arguments, Stdio::null());
        tokio::time::sleep(after).await;
        drop(process);
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The process id of the program, or of the first of its services.
    pub fn pid(&self) -> i32 {
        self.services.first().expect("a process").pid()
    }

    /// The log of the program so far.
    pub fn log(&self) -> String {
        self.services.iter().map(|service| read(&service.process.log)).collect()
    }

    pub fn signal(&self, signal: Signal) {
        for service in &self.services {
            signal::kill(Pid::from_raw(service.pid()), signal).expect("signal the program");
        }
    }

    /// Kills it without a warning and waits until it is gone.
    pub fn kill(self) {
        drop(self);
    }

    /// Asks it to end and waits until it has. Returns the first failure of several services.
    pub async fn stop(self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_for_end().await
    }

    /// As [`Self::stop`], and returns its whole log, too.
    pub async fn stop_and_read_log(mut self) -> (ExitStatus, String) {
        self.signal(Signal::SIGTERM);
        let status = self.until_ended().await;
        (status, self.log())
    }

    /// Waits until it has ended for any reason.
    pub async fn wait_for_end(mut self) -> ExitStatus {
        self.until_ended().await
    }

    async fn until_ended(&mut self) -> ExitStatus {
        let mut failed = None;
        let mut ended = ExitStatus::default();
        for RunningService { process, .. } in &mut self.services {
            let status = async || process.child.try_wait().expect("wait for the program");
            ended = eventually("the program to end", status).await;
            failed = failed.or((!ended.success()).then_some(ended));
        }
        failed.unwrap_or(ended)
    }
}

impl RunningService {
    fn pid(&self) -> i32 {
        i32::try_from(self.process.child.id()).expect("a process id")
    }

    async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.client.try_send(Method::GET, "/health/readiness", &[], None).await;
            if answer.as_ref().is_ok_and(|answer| answer.status.is_success()) {
                return;
            }
            let ended = self.process.child.try_wait().expect("wait for the program");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "the program did not become ready ({ended:?}, {answer:?}); its log follows"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl ProgramProcess {
    fn serve(environment: &[(&str, &str)], arguments: &[&str], stdout: Stdio) -> Self {
        let log = std::env::temp_dir().join(format!("ledger-test-{}.log", uuid::Uuid::new_v4().simple()));
        let mut command = command(&["serve", "--listen", "127.0.0.1:0"]);
        set_environment(&mut command, environment);
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(File::create(&log).expect("make the program's log"))
            .spawn()
            .expect("start the program");
        let pid = child.id().to_string();
        let watchdog = Watchdog::new("kill -KILL \"$1\"\nrm -f \"$2\"", &[pid.as_ref(), log.as_os_str()]);
        Self { child, log, watchdog }
    }
}

impl Drop for ProgramProcess {
    fn drop(&mut self) {
        // First, while the process id still belongs to this program.
        self.watchdog.dismiss();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the program's log ---\n{}", read(&self.log));
        }
        let _ = std::fs::remove_file(&self.log);
    }
}

/// Starts the program as a tool, for a test that will end it.
pub fn spawn(arguments: &[&str], stdout: Stdio) -> Child {
    command(arguments).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).spawn().expect("start the program")
}

/// A running tool. Dropping it kills it, as `kill -9` does. So does the end of this process.
#[derive(Debug)]
pub struct Tool {
    child: Child,
    watchdog: Watchdog,
}

impl Tool {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(&[], arguments)
    }

    /// As [`Self::start`], with additions to its environment.
    pub fn start_in(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        set_environment(&mut command, environment);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the program");
        let watchdog = Watchdog::new("kill -KILL \"$1\"", &[child.id().to_string().as_ref()]);
        Self { child, watchdog }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait for the program").is_none()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        signal::kill(Pid::from_raw(pid), signal).expect("signal the program");
    }

    /// Waits until it ends by itself. It must not print more than a pipe holds.
    pub async fn wait_for_end(mut self) -> ToolOutput {
        let status = eventually("the program to end", async || self.child.try_wait().expect("wait for the program"));
        let status = status.await;
        let mut ran = ToolOutput { status, stdout: String::new(), stderr: String::new() };
        let (stdout, stderr) = (self.child.stdout.as_mut(), self.child.stderr.as_mut());
        stdout.expect("its output").read_to_string(&mut ran.stdout).expect("its output in UTF-8");
        stderr.expect("its errors").read_to_string(&mut ran.stderr).expect("its errors in UTF-8");
        ran
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // First, while the process id still belongs to this program.
        self.watchdog.dismiss();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program as a tool to its end.
pub async fn run(arguments: &[&str]) -> ToolOutput {
    run_command(command(arguments), "").await
}

/// As [`run`], with additions to its environment.
pub async fn run_in(environment: &[(&str, &str)], arguments: &[&str]) -> ToolOutput {
    let mut command = command(arguments);
    set_environment(&mut command, environment);
    run_command(command, "").await
}

/// As [`run`], with no more memory than this, in KiB.
pub async fn run_within(memory_kib: u64, arguments: &[&str]) -> ToolOutput {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -d {memory_kib} && exec \"$0\" \"$@\""), EXECUTABLE]).args(arguments);
    // Memory that the allocator and the threads reserve for later is not used, and would count.
    command.envs([("MIMALLOC_ARENA_EAGER_COMMIT", "0"), ("TOKIO_WORKER_THREADS", "2")]);
    run_command(command, "").await
}

/// As [`run`], with a terminal of 80 columns for its standard output. `script` of Debian is one.
pub async fn run_on_terminal(arguments: &[&str]) -> ToolOutput {
    let quoted: Vec<_> = [EXECUTABLE].iter().chain(arguments).map(|argument| format!("'{argument}'")).collect();
    let shell = format!("stty columns 80 rows 24; {} 2>/dev/null", quoted.join(" "));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &shell, "/dev/null"]).env("NO_COLOR", "1");
    run_command(command, "").await
}

/// As [`run`], with a standard input.
pub async fn run_with_input(arguments: &[&str], input: &str) -> ToolOutput {
    run_command(command(arguments), input).await
}

async fn run_command(mut command: Command, input: &str) -> ToolOutput {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start the program");
    let input = input.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut stdin = child.stdin.take().expect("its input");
        let writer = std::thread::spawn(move || {
            // A program that does not read to the end is no failure of the test.
            let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
        });
        let output = child.wait_with_output().expect("wait for the program");
        writer.join().expect("write the input");
        ToolOutput {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    })
    .await
    .expect("a thread")
}

/// The program, without the settings in the tests' own environment.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(EXECUTABLE);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LEDGER_") && name != "LEDGER_POSTGRES_BIN" {
            command.env_remove(name);
        }
    }
    // The width of a terminal that is none of the program's.
    command.env_remove("COLUMNS");
    for name in ["LEDGER_NAMING_KEY", "LEDGER_FROM_NAMING_KEY", "LEDGER_TO_NAMING_KEY"] {
        command.env(name, NAMING_KEY);
    }
    command.args(arguments);
    command
}

/// Adds to the environment of a program. An empty naming key takes the one of the tests away.
fn set_environment(command: &mut Command, environment: &[(&str, &str)]) {
    for (name, value) in environment {
        match value.is_empty() && name.ends_with("NAMING_KEY") {
            true => command.env_remove(name),
            false => command.env(name, value),
        };
    }
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    match File::open(path).and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) => text,
        Err(error) => format!("(no log: {error})"),
    }
}
