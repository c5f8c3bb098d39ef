//! Exports that are refused, fail or are interrupted: they leave no partial file under the final
//! name and no other file.

use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use sqlx::{Connection as _, PgConnection};

use super::{directory, events, export, export_arguments, export_to, files, path, rows};
use crate::support::dump_views;
use crate::support::projections::{
    assert_failure, assert_success, count, execute, filled_ledger, projected_ledger, run_projections, schemas,
    wait_until_free,
};
use crate::support::{
    PATIENCE, Tool, eventually,
    exported_file::{FORMATS, read},
};

/// The program that `cargo` built.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_allocation-ledger-under-test");

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_export_is_refused_with_a_sentence() {
    let (database, ledger, views) = projected_ledger().await;
    let directory = directory();
    let head = ledger.log.head().await.expect("the head");
    let file = directory.path().join("it.parquet");
    let output = ["--output", path(&file)];

    let past_end = (head + 1).to_string();
    for what in ["log", "prison"] {
        let ran = export(&database, &[&[what, "--as-of", &past_end], &output[..]].concat()).await;
        assert_failure(&ran, &[&format!("ends at position {head}"), &past_end]);
        let ran = export(&database, &[&[what, "--as-of", "2999-01-01"], &output[..]].concat()).await;
        assert_ne!(ran.status.code(), Some(0), "{ran:?}");
    }
    for what in ["prison", "prisoner_case", "allocation", "nomis_contact"] {
        let ran = export(&database, &[&[what, "--on", "2026-03-01"], &output[..]].concat()).await;
        assert_failure(&ran, &[what, "no periods", "case_period", "pom_period"]);
    }
    for wrong in [
        &["caseload"][..],
        &["log", "--on", "2026-03-01"],
        &["log", "--as-of", "last Tuesday"],
        &["case_period", "--on", "7"],
        &["case_period", "--format", "xlsx"],
        &["case_period", "--partition", "month"],
        &["log", "--partition", "week"],
    ] {
        let ran = export(&database, &[wrong, &output[..]].concat()).await;
        assert!(matches!(ran.status.code(), Some(1 | 2)) && ran.stdout.is_empty(), "{wrong:?}: {ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
    let unknown = export(&database, &["caseload"]).await;
    assert_eq!(unknown.status.code(), Some(2));
    for name in ["caseload", "case_period", "case_now", "establishment", "all", "log"] {
        assert!(unknown.stderr.contains(name), "{}", unknown.stderr);
    }
    assert_eq!(files(directory.path()), [""; 0]);
    assert_eq!(dump_views(&database.pool, "views").await, views);
    assert_eq!(schemas(&database.pool).await, ["views"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_output_path_is_refused() {
    let (database, _ledger, _) = projected_ledger().await;
    let directory = directory();
    let missing = directory.path().join("not there").join("log.csv");
    assert_failure(&export(&database, &["log", "--output", path(&missing)]).await, &["not there"]);
    // A directory is no file, and one that contains files is not replaced by months.
    assert_failure(
        &export(&database, &["prison", "--format", "csv", "--output", path(directory.path())]).await,
        &["directory"],
    );
    let full = directory.path().join("full");
    std::fs::create_dir(&full).expect("a directory");
    std::fs::write(full.join("mine.txt"), "mine").expect("a file");
    let by_month = ["log", "--partition", "month", "--format", "csv", "--output"];
    assert_failure(&export(&database, &[&by_month[..], &[path(&full)]].concat()).await, &["full"]);
    let ran = export(&database, &by_month[..5]).await;
    assert!(matches!(ran.status.code(), Some(1 | 2)) && ran.stdout.is_empty(), "months on standard output: {ran:?}");
    // Neither the name nor an option gives the format.
    let nameless = directory.path().join("nameless");
    let ran = export(&database, &["prison", "--output", path(&nameless)]).await;
    assert!(matches!(ran.status.code(), Some(1 | 2)), "{ran:?}");
    assert!(ran.stderr.contains("--format"), "{}", ran.stderr);
    assert_eq!(files(directory.path()), ["full/mine.txt"]);
}

/// `/dev/full` is a disk without room. It is written to and never replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_an_error() {
    let (database, ..) = projected_ledger().await;
    for what in ["log", "case_period"] {
        for format in FORMATS {
            let ran = export(&database, &[what, "--format", format, "--output", "/dev/full"]).await;
            assert_failure(&ran, &["/dev/full", "No space left"]);
        }
    }
    let device = std::fs::metadata("/dev/full").expect("a device");
    assert!(!device.is_file() && !device.is_dir());
}

/// The limit on the file size makes an export fail. The previous file stays, and no other file
/// does.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_fails_keeps_the_previous_file() {
    let (database, ledger) = filled_ledger().await;
    let directory = directory();
    let file = directory.path().join("log.jsonl");
    std::fs::write(&file, "what was there\n").expect("a file");
    let months = directory.path().join("months");
    for output in
        [&["--output", path(&file)][..], &["--partition", "month", "--format", "jsonl", "--output", path(&months)]]
    {
        let limited = Command::new("bash")
            .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"", EXECUTABLE])
            .args(export_arguments(&database, &[&["log"], output].concat()))
            .stdin(Stdio::null())
            .output()
            .expect("a shell");
        let stderr = String::from_utf8_lossy(&limited.stderr);
        assert_eq!(limited.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("File too large"), "{stderr}");
        assert_eq!(files(directory.path()), ["log.jsonl"]);
        assert!(!months.exists());
    }
    assert_eq!(std::fs::read_to_string(&file).expect("text"), "what was there\n");
    // Without the limit the file is replaced.
    export_to(&database, "log", &file, &[]).await;
    assert_eq!(read(&file), rows(&events(&ledger.log).await));
}

/// A reader that closes the pipe ends an export quietly.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_an_export_quietly() {
    let (database, ..) = projected_ledger().await;
    for (what, format) in [("log", "jsonl"), ("log", "csv"), ("case_period", "csv"), ("log", "parquet")] {
        let mut child = Command::new(EXECUTABLE)
            .args(export_arguments(&database, &[what, "--format", format]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the program");
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().expect("its errors").read_to_string(&mut stderr).expect("UTF-8");
        let status = child.wait().expect("wait for the program");
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "{what} as {format}");
    }
}

/// Standard output has the table and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn standard_output_is_csv_unless_told_otherwise() {
    let (database, ..) = projected_ledger().await;
    let rows = count(&database.pool, "SELECT count(*) FROM views.prison").await as usize;
    for output in [&[][..], &["--output", "-"]] {
        let ran = export(&database, &[&["prison"], output].concat()).await;
        assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
        let text = ran.stdout.trim_start_matches('\u{feff}');
        assert!(text.starts_with("prison_code,revision,position,"), "{text}");
        assert_eq!(text.lines().count(), rows + 1, "{text}");
    }
    let ran = export(&database, &["prison", "--format", "jsonl"]).await;
    assert_eq!(ran.stdout.lines().count(), rows);
    assert!(ran.stdout.starts_with("{\"prison_code\":"), "{}", ran.stdout);
}

/// Ctrl-C at each stage leaves no file under the final name, no other file and no schema.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_export_leaves_no_files() {
    let (database, _ledger, views) = projected_ledger().await;
    let directory = directory();
    let file = directory.path().join("it.parquet");
    let months = directory.path().join("months");
    let (file, months) = (path(&file), path(&months));
    for (export, hold) in [
        (&["log", "--output", file][..], "log.event"),
        (&["log", "--partition", "month", "--format", "csv", "--output", months], "log.event"),
        (&["case_period", "--output", file], "views.case_period"),
        (&["all", "--output", months], "views.case_period"),
        (&["all", "--as-of", "20", "--output", months], "log.event"),
        (&["case_period", "--as-of", "20", "--output", file], "log.event"),
    ] {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
            let lock = format!("BEGIN; LOCK TABLE {hold} IN ACCESS EXCLUSIVE MODE");
            sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut holder).await.expect("a lock");
            let tool = Tool::start(&export_arguments(&database, export));
            let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
                            WHERE NOT granted AND datname = current_database()";
            eventually("an export that waits", async || (count(&database.pool, waiting).await > 0).then_some(())).await;
            tool.signal(signal);
            // The program cannot clean up in the database while the lock is held.
            sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("let go");
            let ran = tool.wait_for_end().await;
            assert_failure(&ran, &["interrupted"]);
            assert_eq!(files(directory.path()), [""; 0], "{export:?}");
            assert!(!Path::new(months).exists());
            wait_until_free(&database.pool).await;
            assert_eq!(schemas(&database.pool).await, ["views"], "{export:?}");
        }
    }
    assert_eq!(dump_views(&database.pool, "views").await, views);
}

/// Kills an export as `kill -9` does while it builds the view as of a position. The next export
/// drops the leftovers.
#[tokio::test(flavor = "multi_thread")]
async fn the_leftovers_of_a_killed_export_are_removed_by_the_next() {
    let (database, _ledger, views) = projected_ledger().await;
    let directory = directory();
    let file = directory.path().join("it.parquet");
    let as_of = ["allocation", "--as-of", "20", "--output", path(&file)];
    // Makes a connection that creates indexes wait for a lock of this test, when the tables exist
    // already.
    execute(
        &database.pool,
        "CREATE FUNCTION hold() RETURNS event_trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); END $$;
         CREATE EVENT TRIGGER hold ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION hold()",
    )
    .await;
    let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql("SELECT pg_advisory_lock(4711)").execute(&mut holder).await.expect("a lock");
    let tool = Tool::start(&export_arguments(&database, &as_of));
    let building = async || (schemas(&database.pool).await.len() == 2).then_some(());
    eventually("a schema that is being filled", building).await;
    drop(tool);
    sqlx::raw_sql("SELECT pg_advisory_unlock_all(); DROP EVENT TRIGGER hold")
        .execute(&mut holder)
        .await
        .expect("let go");
    wait_until_free(&database.pool).await;
    assert!(!file.exists());
    assert_eq!(schemas(&database.pool).await.len(), 2, "what was left");

    export_to(&database, "allocation", &file, &as_of[1..3]).await;
    assert_eq!(schemas(&database.pool).await, ["views"]);
    assert_eq!(dump_views(&database.pool, "views").await, views);
    assert_success(run_projections(&database, &["rebuild"]).await);
}

/// A reader that stops reading delays neither Ctrl-C nor a rebuild that replaces the exported view.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_reader_of_an_export_delays_neither_interrupt_nor_rebuild() {
    let (database, ..) = projected_ledger().await;
    // More than a pipe and the buffers of the program hold.
    execute(
        &database.pool,
        "INSERT INTO views.prison (prison_code, revision, position, estate)
         SELECT lpad(to_hex(n), 5, '0'), n, n, repeat('x', 200) FROM generate_series(1, 20000) n",
    )
    .await;
    let mut child = Command::new(EXECUTABLE)
        .args(export_arguments(&database, &["prison"]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the program");
    let mut stdout = child.stdout.take().expect("its output");
    stdout.read_exact(&mut [0; 16]).expect("the beginning");
    let rebuild = tokio::time::timeout(PATIENCE, run_projections(&database, &["rebuild"]));
    let rebuilt = rebuild.await.expect("the rebuild waits for nobody");
    assert_eq!(rebuilt.status.code(), Some(0), "{}", rebuilt.stderr);
    assert!(child.try_wait().expect("wait for the program").is_none(), "it waits for its reader");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    nix::sys::signal::kill(pid, Signal::SIGINT).expect("signal the program");
    let ended = async || child.try_wait().expect("wait for the program");
    assert_eq!(eventually("the program to end", ended).await.code(), Some(1));
}

/// An unreadable event is reported, and no event is left out.
#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_log_ends_an_export_and_is_named() {
    for damage in [
        "DELETE FROM log.event WHERE position = 12",
        "UPDATE log.event SET data = '{' WHERE position = 12",
        "UPDATE log.event SET data = '\\xff' WHERE position = 12",
        "UPDATE log.event SET metadata = '{}' WHERE position = 12",
    ] {
        let (database, ledger) = filled_ledger().await;
        let before = events(&ledger.log).await;
        let without_guards =
            format!("SET session_replication_role = replica; {damage}; RESET session_replication_role");
        execute(&database.pool, &without_guards).await;
        let directory = directory();
        for format in FORMATS {
            let file = directory.path().join(format!("log.{format}"));
            assert_failure(&export(&database, &["log", "--output", path(&file)]).await, &["position 12"]);
            assert_eq!(files(directory.path()), [""; 0], "{damage}");
        }
        // Up to a position before the damage it succeeds.
        let file = directory.path().join("log.parquet");
        export_to(&database, "log", &file, &["--as-of", "11"]).await;
        assert_eq!(read(&file), rows(&before[..11]));
    }
}
