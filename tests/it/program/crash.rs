//! A start after a crash needs no help, whatever the crash left: lock files, processes, a server in
//! the middle of its recovery.

use std::{
    fs::{OpenOptions, Permissions},
    io::Write as _,
    os::unix::{
        fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt},
        net::UnixListener,
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use embedded_postgres::{Server, binaries_dir};
use futures::future::join_all;
use nix::{fcntl::OFlag, sys::stat::Mode, unistd::mkfifo};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::{client_process, kill, postmaster_pid};
use crate::support::{DataDir, Program, eventually};

async fn start(data_dir: &Path) -> Server {
    Server::start(data_dir).await.expect("start Postgres")
}

async fn connect(server: &Server) -> Option<PgConnection> {
    PgConnection::connect(&server.url("postgres")).await.ok()
}

async fn execute(server: &Server, statement: &'static str) {
    let mut connection = connect(server).await.expect("a connection");
    sqlx::query(statement).execute(&mut connection).await.expect(statement);
}

/// The rows of the table `kept`, once the server answers.
async fn count_kept(server: &Server) -> i64 {
    eventually("an answer", async || {
        let mut connection = connect(server).await?;
        sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&mut connection).await.ok()
    })
    .await
}

/// A dead process that its parent, this process, has not waited for. It keeps its id.
async fn zombie() -> Child {
    let child = Command::new("true").spawn().expect("start a process");
    eventually("the process to die", async || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("a state");
        stat.contains(") Z ").then_some(())
    })
    .await;
    child
}

/// The lock files of a server that runs: of its cluster and of its socket.
fn lock_files(dir: &DataDir) -> [PathBuf; 2] {
    ["postgres/postmaster.pid", "run/.s.PGSQL.5432.lock"].map(|name| dir.path().join(name))
}

#[tokio::test]
async fn a_start_succeeds_over_the_lock_files_of_a_dead_server() {
    let dir = DataDir::new();
    let server = start(dir.path()).await;
    execute(&server, "CREATE TABLE kept AS SELECT 1 AS n").await;
    let files = lock_files(&dir).map(|path| (std::fs::read_to_string(&path).expect("a lock file"), path));
    let pid = server.postmaster_pid().to_string();
    server.stop().await.expect("stop Postgres");
    let mut zombie = zombie().await;
    let mut other = std::process::Command::new("sleep").arg("infinity").spawn().expect("another program");
    let holders = [
        ("a zombie", Some(zombie.id().to_string())),
        ("another program", Some(other.id().to_string())),
        ("no process", Some(i32::MAX.to_string())),
        ("a server for a single user, dead", Some(format!("-{}", zombie.id()))),
        ("an unfinished file", None),
    ];
    for (what, holder) in holders {
        for (content, path) in &files {
            let left = holder.as_ref().map_or_else(String::new, |holder| content.replacen(&pid, holder, 1));
            std::fs::write(path, left).expect("write a lock file");
        }
        let server = Server::start(dir.path()).await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
        assert_eq!(count_kept(&server).await, 1, "{what}");
        server.stop().await.expect("stop Postgres");
    }
    zombie.wait().expect("wait for the zombie");
    other.kill().and_then(|()| other.wait()).expect("end the other program");
}

/// The command line of a server that an operator starts need not name the cluster as this program
/// does.
#[tokio::test]
async fn a_server_started_by_hand_is_joined_and_keeps_its_lock_files() {
    let dir = DataDir::new();
    let server = start(dir.path()).await;
    execute(&server, "CREATE TABLE kept AS SELECT 1 AS n").await;
    server.stop().await.expect("stop Postgres");
    let cluster = dir.path().join("postgres");
    let owner = std::fs::metadata(&cluster).expect("the cluster");
    let mut command = Command::new(binaries_dir().expect("server programs").join("postgres"));
    command.args(["-D", ".", "-k"]).arg(dir.path().join("run")).args(["-c", "listen_addresses="]);
    if std::fs::metadata("/proc/self").expect("this process").uid() != owner.uid() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut by_hand =
        command.current_dir(&cluster).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start Postgres");
    let [pid_file, _] = lock_files(&dir);
    eventually("the server", async || {
        std::fs::read_to_string(&pid_file).is_ok_and(|content| content.contains("ready")).then_some(())
    })
    .await;
    let server = start(dir.path()).await;
    assert_eq!(server.postmaster_pid().unsigned_abs(), by_hand.id());
    assert_eq!(count_kept(&server).await, 1);
    let content = std::fs::read_to_string(&pid_file).expect("the lock file of a living server");
    assert!(content.starts_with(&by_hand.id().to_string()), "{content}");
    let stopping = tokio::spawn(server.stop());
    eventually("the server to end", async || by_hand.try_wait().expect("wait for it")).await;
    stopping.await.expect("a task").expect("stop Postgres");
}

/// Its processes are invisible, but its lock and its socket are not. Only one of two containers
/// that share a volume may have a server.
#[tokio::test]
async fn no_server_starts_beside_one_in_another_container() {
    let (by_lock, by_socket) = (DataDir::new(), DataDir::new());
    for dir in [&by_lock, &by_socket] {
        start(dir.path()).await.stop().await.expect("stop Postgres");
    }
    let lock = std::fs::File::open(by_lock.path().join("locks/postgres-server")).expect("the lock of a server");
    lock.try_lock().expect("a lock that a stopped server has released");
    let _socket = UnixListener::bind(by_socket.path().join("run/.s.PGSQL.5432")).expect("listen");
    let starts = [&by_lock, &by_socket].map(|dir| Server::start(dir.path()));
    for refused in join_all(starts).await {
        let refusal = format!("{:#}", refused.expect_err("a start beside another server"));
        assert!(refusal.contains("is it in another container?"), "{refusal}");
    }
}

/// A process with a long statement does not notice that its server has died.
#[tokio::test]
async fn a_busy_process_of_a_killed_server_does_not_keep_the_next_one_from_starting() {
    let dir = DataDir::new();
    let server = start(dir.path()).await;
    execute(&server, "CREATE TABLE kept AS SELECT 1 AS n").await;
    let mut busy = connect(&server).await.expect("a connection");
    let busy = tokio::spawn(async move { sqlx::query("DO 'BEGIN LOOP END LOOP; END'").execute(&mut busy).await });
    let mut watching = connect(&server).await.expect("a connection");
    eventually("the statement to run", async || {
        let statement = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'";
        let running: i64 = sqlx::query_scalar(statement).fetch_one(&mut watching).await.expect("count");
        (running > 0).then_some(())
    })
    .await;
    let killed = server.postmaster_pid();
    kill(killed).expect("kill the server");
    eventually("another server", async || (server.postmaster_pid() != killed).then_some(())).await;
    assert_eq!(count_kept(&server).await, 1);
    busy.await.expect("a task").expect_err("the process was killed");
    server.stop().await.expect("stop Postgres");
}

/// Stops the next recovery of a cluster where it has hardly begun, until it is let go on: a pipe
/// takes the place of a file that every recovery reads.
struct RecoveryStop {
    pipe: PathBuf,
    file: PathBuf,
}

impl RecoveryStop {
    fn new(cluster: &Path) -> Self {
        let stop = Self { pipe: cluster.join("pg_logical/replorigin_checkpoint"), file: cluster.join("replorigin") };
        std::fs::rename(&stop.pipe, &stop.file).expect("move a file away that every cluster has");
        mkfifo(&stop.pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("make a pipe");
        std::fs::set_permissions(&stop.pipe, PermissionsExt::from_mode(0o644)).expect("let the server read it");
        stop
    }

    async fn let_go_on(self) {
        let content = std::fs::read(&self.file).expect("read the file");
        // Opens only once there is a reader.
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let mut pipe = eventually("a recovery", async || options.open(&self.pipe).ok()).await;
        // The end of the recovery cannot replace a pipe.
        std::fs::rename(&self.file, &self.pipe).expect("move the file back");
        pipe.write_all(&content).expect("write to the pipe");
    }
}

async fn join_omic(program: &Program, prison: &str) -> (u16, String) {
    let body = json!({"goLiveDate": "2019-09-02", "estate": "MENS_CLOSED"});
    let answer = program.client().post(&format!("/prisons/{prison}/onboarding"), &body).await;
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_program_started_while_the_server_recovers_waits_for_it() {
    let dir = DataDir::new();
    let program = Program::serve(dir.path()).await;
    assert_eq!(join_omic(&program, "LEI").await.0, 201);
    let postmaster = postmaster_pid(&dir).expect("a server");
    let stop = RecoveryStop::new(&dir.path().join("postgres"));
    eventually("a process with a client to kill", async || kill(client_process(postmaster)?)).await;
    program.kill();
    let data_dir = dir.path().to_owned();
    let starting = tokio::spawn(async move { Program::serve(&data_dir).await });
    // The server's log has a line for each client that it refused.
    let server_log = dir.path().join("postgres.log");
    let refusals =
        || std::fs::read_to_string(&server_log).expect("a log").matches("FATAL:  the database system").count();
    let before = refusals();
    eventually("the program to ask again and again", async || {
        (starting.is_finished() || refusals() > before + 10).then_some(())
    })
    .await;
    assert!(!starting.is_finished(), "it waits");
    stop.let_go_on().await;
    let program = starting.await.expect("a program that serves");
    assert!(program.log().contains("waiting for Postgres"), "{}", program.log());
    assert_eq!(postmaster_pid(&dir), Some(postmaster), "the server that recovered is used again");
    assert_eq!(join_omic(&program, "LEI").await, (422, "already-on-omic".to_owned()));
    assert!(program.stop().await.success());
}

#[tokio::test]
async fn a_server_that_does_not_start_is_started_again_until_it_does() {
    let dir = DataDir::new();
    let program = Program::serve(dir.path()).await;
    assert_eq!(join_omic(&program, "LEI").await.0, 201);
    // A server without this file ends at once.
    let (control, aside) = (dir.path().join("postgres/global/pg_control"), dir.path().join("pg_control"));
    std::fs::rename(&control, &aside).expect("move a file away");
    postmaster_pid(&dir).and_then(kill).expect("kill the server");
    eventually("three tries", async || program.log().contains("(try 3)").then_some(())).await;
    let health = program.client().get("/health").await;
    let event_log = &health.body["components"]["eventLog"];
    assert_eq!((health.status.as_u16(), &event_log["status"]), (503, &json!("DOWN")), "{}", health.text);
    let said = event_log["details"]["error"].as_str().expect("a reason");
    assert!(said.contains("it is tried again"), "{said}");
    assert_eq!(program.client().get("/health/liveness").await.status, 200);
    let (status, code) = join_omic(&program, "MDI").await;
    assert_eq!((status, code.as_str()), (503, "event-store-unavailable"));
    std::fs::rename(&aside, &control).expect("move the file back");
    let client = program.client();
    eventually("readiness", async || client.get("/health/readiness").await.status.is_success().then_some(())).await;
    assert_eq!(join_omic(&program, "LEI").await, (422, "already-on-omic".to_owned()));
    assert!(program.stop().await.success());
}

/// Another cluster in the place of the one that is gone may lack what the program has acknowledged.
#[tokio::test]
async fn a_server_whose_cluster_is_gone_is_given_up() {
    let dir = DataDir::new();
    let program = Program::serve(dir.path()).await;
    assert_eq!(join_omic(&program, "LEI").await.0, 201);
    let (cluster, aside) = (dir.path().join("postgres"), dir.path().join("aside"));
    let postmaster = postmaster_pid(&dir).expect("a server");
    std::fs::rename(&cluster, &aside).expect("move the cluster away");
    kill(postmaster).expect("kill the server");
    let given_up = eventually("the program to give up", async || {
        let health = program.client().send(Method::GET, "/health", &[], None).await;
        let error = health.body["components"]["eventLog"]["details"]["error"].as_str()?.to_owned();
        error.contains("cannot be started again").then_some(error)
    })
    .await;
    assert!(given_up.contains("restart"), "{given_up}");
    let log = program.log();
    assert!(log.contains("is gone: bring it back, or restore a backup there"), "{log}");
    std::fs::rename(&aside, &cluster).expect("move the cluster back");
    assert!(program.stop().await.success());
    let program = Program::serve(dir.path()).await;
    assert_eq!(join_omic(&program, "LEI").await, (422, "already-on-omic".to_owned()));
    assert!(program.stop().await.success());
}

#[tokio::test]
async fn a_new_data_directory_and_its_locks_are_closed_to_other_users() {
    let dir = DataDir::new();
    let data_dir = dir.path().join("new/ledger");
    let program = Program::serve(&data_dir).await;
    let mode = |path: &Path| std::fs::metadata(path).expect("a file").mode() & 0o777;
    // The server's user may have to pass through, which shows nothing.
    assert!([0o700, 0o701].contains(&mode(&data_dir)), "{:o}", mode(&data_dir));
    assert_eq!(mode(&data_dir.join("locks")), 0o700);
    for lock in std::fs::read_dir(data_dir.join("locks")).expect("the locks") {
        let path = lock.expect("a lock").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    // Started by hand, the server would let nobody in by TCP.
    let rules = std::fs::read_to_string(data_dir.join("postgres/pg_hba.conf")).expect("the rules for clients");
    let rules: Vec<_> = rules.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(rules.iter().any(|rule| rule.starts_with("local")), "{rules:?}");
    let by_tcp = rules.iter().filter(|rule| !rule.starts_with("local"));
    assert!(by_tcp.clone().all(|rule| rule.ends_with("reject")), "{rules:?}");
    assert!(!program.log().contains("chmod"), "{}", program.log());
    assert!(program.stop().await.success());
}

#[tokio::test]
async fn a_data_directory_that_others_may_read_keeps_its_mode_and_the_log_warns_of_it() {
    let dir = DataDir::new();
    let data_dir = dir.path().join("ledger");
    std::fs::create_dir(&data_dir).expect("make a directory");
    std::fs::set_permissions(&data_dir, Permissions::from_mode(0o755)).expect("change the mode");
    let program = Program::serve(&data_dir).await;
    assert_eq!(std::fs::metadata(&data_dir).expect("a directory").permissions().mode() & 0o777, 0o755);
    let log = program.log();
    let is_advised =
        |mode: &&str| log.contains(&format!("(mode 755): close it to them with `chmod {mode} {}`", data_dir.display()));
    assert!(["700", "711"].iter().any(is_advised), "{log}");
    assert!(program.stop().await.success());
}
