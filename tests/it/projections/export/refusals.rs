//! What cannot be exported, and exports that end before their time: nothing half done under the final name, and nothing
//! beside it.

use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use sqlx::{Connection as _, PgConnection};

use super::{arguments, directory, events, execute, export, exported, files, filled, path, projected, read, rows};
use crate::{
    projections::{count, dump, eventually_free, projections, refused, schemas, succeeded},
    support::{PATIENCE, Tool, eventually},
};

/// Where `cargo` has built the program.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_allocation-ledger-under-test");

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_with_a_sentence() {
    let (database, ledger, views) = projected().await;
    let directory = directory();
    let head = ledger.log.head().await.expect("the head");
    let file = directory.path().join("it.parquet");
    let output = ["--output", path(&file)];

    let past_end = (head + 1).to_string();
    for what in ["log", "prison"] {
        let ran = export(&database, &[&[what, "--as-of", &past_end], &output[..]].concat()).await;
        refused(&ran, &[&format!("ends at position {head}"), &past_end]);
        let ran = export(&database, &[&[what, "--as-of", "2999-01-01"], &output[..]].concat()).await;
        assert_ne!(ran.status.code(), Some(0), "{ran:?}");
    }
    for what in ["prison", "prisoner_case", "allocation", "nomis_contact"] {
        let ran = export(&database, &[&[what, "--on", "2026-03-01"], &output[..]].concat()).await;
        refused(&ran, &[what, "no periods", "case_period", "pom_period"]);
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
    for name in ["caseload", "case_period", "log"] {
        assert!(unknown.stderr.contains(name), "{}", unknown.stderr);
    }
    assert_eq!(files(directory.path()), [""; 0]);
    assert_eq!(dump(&database.pool, "views").await, views);
    assert_eq!(schemas(&database.pool).await, ["views"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_that_cannot_be_are_refused() {
    let (database, _ledger, _) = projected().await;
    let directory = directory();
    let missing = directory.path().join("not there").join("log.csv");
    refused(&export(&database, &["log", "--output", path(&missing)]).await, &["not there"]);
    // A directory is no file, and one with files in it is not replaced by months.
    refused(
        &export(&database, &["prison", "--format", "csv", "--output", path(directory.path())]).await,
        &["directory"],
    );
    let full = directory.path().join("full");
    std::fs::create_dir(&full).expect("a directory");
    std::fs::write(full.join("mine.txt"), "mine").expect("a file");
    let by_month = ["log", "--partition", "month", "--format", "csv", "--output"];
    refused(&export(&database, &[&by_month[..], &[path(&full)]].concat()).await, &["full"]);
    let ran = export(&database, &by_month[..5]).await;
    assert!(matches!(ran.status.code(), Some(1 | 2)) && ran.stdout.is_empty(), "months on standard output: {ran:?}");
    // A name that does not say which format, and nobody else does.
    let nameless = directory.path().join("nameless");
    let ran = export(&database, &["prison", "--output", path(&nameless)]).await;
    assert!(matches!(ran.status.code(), Some(1 | 2)), "{ran:?}");
    assert!(ran.stderr.contains("--format"), "{}", ran.stderr);
    assert_eq!(files(directory.path()), ["full/mine.txt"]);
}

/// `/dev/full` is a disk without room; it is written to and never replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_an_error() {
    let (database, ..) = projected().await;
    for what in ["log", "case_period"] {
        for format in read::FORMATS {
            let ran = export(&database, &[what, "--format", format, "--output", "/dev/full"]).await;
            refused(&ran, &["/dev/full", "No space left"]);
        }
    }
    let device = std::fs::metadata("/dev/full").expect("a device");
    assert!(!device.is_file() && !device.is_dir());
}

/// A file may grow no further than a few kilobytes: the one that was there stays, and nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_completed_leaves_the_one_that_was_there() {
    let (database, ledger) = filled().await;
    let directory = directory();
    let file = directory.path().join("log.jsonl");
    std::fs::write(&file, "what was there\n").expect("a file");
    let months = directory.path().join("months");
    for output in
        [&["--output", path(&file)][..], &["--partition", "month", "--format", "jsonl", "--output", path(&months)]]
    {
        let limited = Command::new("bash")
            .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"", EXECUTABLE])
            .args(arguments(&database, &[&["log"], output].concat()))
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
    // With room enough it is replaced.
    exported(&database, "log", &file, &[]).await;
    assert_eq!(read::read(&file), rows(&events(&ledger.log).await));
}

/// Whoever has seen enough of it ends an export, quietly.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_it_quietly() {
    let (database, ..) = projected().await;
    for (what, format) in [("log", "jsonl"), ("log", "csv"), ("case_period", "csv"), ("log", "parquet")] {
        let mut child = Command::new(EXECUTABLE)
            .args(arguments(&database, &[what, "--format", format]))
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

/// What goes to standard output is the table and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn standard_output_is_csv_unless_told_otherwise() {
    let (database, ..) = projected().await;
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

/// Ctrl-C at each stage: nothing under the final name, nothing beside it, no schema.
#[tokio::test(flavor = "multi_thread")]
async fn interrupted_it_leaves_nothing() {
    let (database, _ledger, views) = projected().await;
    let directory = directory();
    let file = directory.path().join("it.parquet");
    let months = directory.path().join("months");
    let (file, months) = (path(&file), path(&months));
    for (export, hold) in [
        (&["log", "--output", file][..], "log.event"),
        (&["log", "--partition", "month", "--format", "csv", "--output", months], "log.event"),
        (&["case_period", "--output", file], "views.case_period"),
        (&["case_period", "--as-of", "20", "--output", file], "log.event"),
    ] {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
            let lock = format!("BEGIN; LOCK TABLE {hold} IN ACCESS EXCLUSIVE MODE");
            sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut holder).await.expect("a lock");
            let tool = Tool::start(&arguments(&database, export));
            let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
                            WHERE NOT granted AND datname = current_database()";
            eventually("an export that waits", async || (count(&database.pool, waiting).await > 0).then_some(())).await;
            tool.signal(signal);
            // A program that has to tidy up in the database cannot while the lock is held.
            sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("let go");
            let ran = tool.ended().await;
            refused(&ran, &["interrupted"]);
            assert_eq!(files(directory.path()), [""; 0], "{export:?}");
            assert!(!Path::new(months).exists());
            eventually_free(&database.pool).await;
            assert_eq!(schemas(&database.pool).await, ["views"], "{export:?}");
        }
    }
    assert_eq!(dump(&database.pool, "views").await, views);
}

/// Killed as `kill -9` does while the view as it was is being built: the next export drops what was left.
#[tokio::test(flavor = "multi_thread")]
async fn killed_it_leaves_nothing_that_stays() {
    let (database, _ledger, views) = projected().await;
    let directory = directory();
    let file = directory.path().join("it.parquet");
    let as_of = ["allocation", "--as-of", "20", "--output", path(&file)];
    // Holds whoever makes indexes, when the tables are there already: the lock is this test's.
    execute(
        &database.pool,
        "CREATE FUNCTION hold() RETURNS event_trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); END $$;
         CREATE EVENT TRIGGER hold ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION hold()",
    )
    .await;
    let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql("SELECT pg_advisory_lock(4711)").execute(&mut holder).await.expect("a lock");
    let tool = Tool::start(&arguments(&database, &as_of));
    let building = async || (schemas(&database.pool).await.len() == 2).then_some(());
    eventually("a schema that is being filled", building).await;
    drop(tool);
    sqlx::raw_sql("SELECT pg_advisory_unlock_all(); DROP EVENT TRIGGER hold")
        .execute(&mut holder)
        .await
        .expect("let go");
    eventually_free(&database.pool).await;
    assert!(!file.exists());
    assert_eq!(schemas(&database.pool).await.len(), 2, "what was left");

    exported(&database, "allocation", &file, &as_of[1..3]).await;
    assert_eq!(schemas(&database.pool).await, ["views"]);
    assert_eq!(dump(&database.pool, "views").await, views);
    succeeded(projections(&database, &["rebuild"]).await);
}

/// A reader that stops reading holds up neither Ctrl-C nor a rebuild that wants to take the exported view's place.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_holds_nobody_up() {
    let (database, ..) = projected().await;
    // More than a pipe and the program's own buffers hold.
    execute(
        &database.pool,
        "INSERT INTO views.prison (prison_code, revision, position, estate)
         SELECT lpad(to_hex(n), 5, '0'), n, n, repeat('x', 200) FROM generate_series(1, 20000) n",
    )
    .await;
    let mut child = Command::new(EXECUTABLE)
        .args(arguments(&database, &["prison"]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the program");
    let mut stdout = child.stdout.take().expect("its output");
    stdout.read_exact(&mut [0; 16]).expect("the beginning");
    let rebuild = tokio::time::timeout(PATIENCE, projections(&database, &["rebuild"]));
    let rebuilt = rebuild.await.expect("the rebuild waits for nobody");
    assert_eq!(rebuilt.status.code(), Some(0), "{}", rebuilt.stderr);
    assert!(child.try_wait().expect("wait for the program").is_none(), "it waits for its reader");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    nix::sys::signal::kill(pid, Signal::SIGINT).expect("signal the program");
    let ended = async || child.try_wait().expect("wait for the program");
    assert_eq!(eventually("the program to end", ended).await.code(), Some(1));
}

/// An event that cannot be read is named, and nothing is left out.
#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_log_ends_an_export_and_is_named() {
    for damage in [
        "DELETE FROM log.event WHERE position = 12",
        "UPDATE log.event SET data = '{' WHERE position = 12",
        "UPDATE log.event SET data = '\\xff' WHERE position = 12",
        "UPDATE log.event SET metadata = '{}' WHERE position = 12",
    ] {
        let (database, ledger) = filled().await;
        let before = events(&ledger.log).await;
        let without_guards =
            format!("SET session_replication_role = replica; {damage}; RESET session_replication_role");
        execute(&database.pool, &without_guards).await;
        let directory = directory();
        for format in read::FORMATS {
            let file = directory.path().join(format!("log.{format}"));
            refused(&export(&database, &["log", "--output", path(&file)]).await, &["position 12"]);
            assert_eq!(files(directory.path()), [""; 0], "{damage}");
        }
        // Up to a position before it there is nothing wrong.
        let file = directory.path().join("log.parquet");
        exported(&database, "log", &file, &["--as-of", "11"]).await;
        assert_eq!(read::read(&file), rows(&before[..11]));
    }
}
