//! The embedded Postgres as a library: a new cluster, restarts, and one server for one data
//! directory.

use std::path::Path;

use embedded_postgres::Server;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use sqlx::{Connection as _, PgConnection};

use crate::support::{self, DataDir, eventually};

/// Runs a statement on a fresh connection.
async fn execute(server: &Server, statement: &'static str) {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.expect("connect");
    sqlx::query(statement).execute(&mut connection).await.expect(statement);
}

async fn count(server: &Server) -> Option<i64> {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.ok()?;
    sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&mut connection).await.ok()
}

async fn setting(server: &Server, name: &str) -> String {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.expect("connect");
    sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(&mut connection).await.expect("a setting")
}

async fn collation(server: &Server) -> String {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.expect("connect");
    let collation = "SELECT datcollate::text FROM pg_database WHERE datname = current_database()";
    sqlx::query_scalar(collation).fetch_one(&mut connection).await.expect("a collation")
}

fn is_alive(pid: i32) -> bool {
    // A process that ended keeps its id until its parent has waited for it.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn start(data_dir: &Path) -> Server {
    Server::start(data_dir).await.expect("start Postgres")
}

#[tokio::test]
async fn a_new_server_is_durable_private_and_keeps_its_data() {
    let dir = DataDir::new();
    let server = start(dir.path()).await;
    for (name, value) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("data_checksums", "on"),
    ] {
        assert_eq!(setting(&server, name).await, value, "{name}");
    }
    assert_eq!(collation(&server).await, "C");
    server.create_database("twice").await.expect("make a database");
    server.create_database("twice").await.expect("a database that is there");
    execute(&server, "CREATE TABLE kept AS SELECT 1 AS n").await;
    let pid = server.postmaster_pid();
    server.stop().await.expect("stop Postgres");
    assert!(!is_alive(pid));

    let server = start(dir.path()).await;
    assert_eq!(count(&server).await, Some(1));
    server.stop().await.expect("stop Postgres");
}

#[tokio::test]
async fn a_killed_server_restarts_with_every_commit() {
    let dir = DataDir::new();
    let server = start(dir.path()).await;
    let url = server.url("postgres");
    execute(&server, "CREATE TABLE kept AS SELECT 1 AS n").await;
    let killed = server.postmaster_pid();
    signal::kill(Pid::from_raw(killed), Signal::SIGKILL).expect("kill Postgres");
    eventually("another server", async || (server.postmaster_pid() != killed).then_some(())).await;
    assert_eq!(eventually("an answer", async || count(&server).await).await, 1);
    assert_eq!(server.url("postgres"), url, "clients find it where it was");
    server.stop().await.expect("stop Postgres");
}

#[tokio::test]
async fn the_last_user_stops_the_server() {
    let dir = DataDir::new();
    let first = start(dir.path()).await;
    execute(&first, "CREATE TABLE kept AS SELECT 1 AS n").await;
    let second = start(dir.path()).await;
    let pid = first.postmaster_pid();
    assert_eq!(second.postmaster_pid(), pid, "one server for both");
    first.stop().await.expect("leave Postgres");
    assert_eq!(count(&second).await, Some(1));
    second.stop().await.expect("stop Postgres");
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn two_watchers_restart_one_server() {
    let dir = DataDir::new();
    let first = start(dir.path()).await;
    let second = start(dir.path()).await;
    let killed = first.postmaster_pid();
    signal::kill(Pid::from_raw(killed), Signal::SIGKILL).expect("kill Postgres");
    for server in [&first, &second] {
        eventually("another server", async || (server.postmaster_pid() != killed).then_some(())).await;
    }
    assert_eq!(first.postmaster_pid(), second.postmaster_pid());
    first.stop().await.expect("leave Postgres");
    second.stop().await.expect("stop Postgres");
}

#[tokio::test]
async fn a_start_succeeds_over_the_leftovers_of_a_crash() {
    let dir = DataDir::new();
    // The leftovers of a cluster that was being created.
    std::fs::create_dir_all(dir.path().join("postgres.new-0/base")).expect("make a directory");
    let server = start(dir.path()).await;
    assert!(!dir.path().join("postgres.new-0").exists());
    execute(&server, "CREATE TABLE kept AS SELECT 1 AS n").await;
    let pid_file = dir.path().join("postgres/postmaster.pid");
    let content = std::fs::read_to_string(&pid_file).expect("read postmaster.pid");
    let pid = server.postmaster_pid().to_string();
    server.stop().await.expect("stop Postgres");
    // A process id that belongs to another program now, and one that belongs to none.
    for other in [std::process::id().to_string(), i32::MAX.to_string()] {
        std::fs::write(&pid_file, content.replacen(&pid, &other, 1)).expect("write postmaster.pid");
        let server = start(dir.path()).await;
        assert_eq!(count(&server).await, Some(1));
        server.stop().await.expect("stop Postgres");
    }
}

#[tokio::test]
async fn a_start_succeeds_on_a_path_too_long_for_a_socket() {
    let dir = DataDir::new();
    let long = dir.path().join("a-directory-with-a-name-of-some-length".repeat(4));
    let server = start(&long).await;
    server.create_database("reached").await.expect("make a database");
    let socket_dir = std::fs::read_to_string(long.join("postgres/postmaster.pid")).expect("read postmaster.pid");
    let socket_dir = socket_dir.lines().nth(4).expect("a socket directory").to_owned();
    server.stop().await.expect("stop Postgres");
    std::fs::remove_dir(socket_dir).expect("an empty directory among the temporary files");
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, other) = (support::database().await, support::database().await);
    assert_ne!(one.url, other.url);
    sqlx::query("CREATE TABLE mine (n int)").execute(&one.pool).await.expect("make a table");
    let seen: Option<String> =
        sqlx::query_scalar("SELECT to_regclass('mine')::text").fetch_one(&other.pool).await.expect("look for it");
    assert_eq!(seen, None);
}
