//! Settings with secrets in them: read from files, and in no log.

use std::fs;

use crate::support::{DataDir, Program, database, run_in};

#[tokio::test(flavor = "multi_thread")]
async fn the_urls_of_the_stores_can_be_in_files() {
    let (database, directory) = (database().await, DataDir::new());
    let path = directory.path().join("url");
    fs::write(&path, format!("{}\n", database.url)).expect("write a file");
    let path = path.to_str().expect("a path in UTF-8");
    let files = [("LEDGER_EVENT_STORE_FILE", path), ("LEDGER_VIEWS_FILE", path)];
    let program = Program::start_in(&files, &[]).await.into_ready().await;
    // The schemas are where the file says.
    let sql = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('log', 'views')";
    let schemas: i64 = sqlx::query_scalar(sql).fetch_one(&database.pool).await.expect("the schemas");
    assert_eq!(schemas, 2);

    // A tool reads them, too; a flag goes before a file, and so does the variable itself.
    let prison = ["cases", "LEI"];
    assert_eq!(run_in(&files, &prison).await.status.code(), Some(0));
    let wrong = "postgres://nobody@127.0.0.1:1/nowhere?sslmode=disable";
    let by_flag = run_in(&files, &[&prison[..], &["--views", wrong]].concat()).await;
    assert!(by_flag.status.code() == Some(1) && by_flag.stderr.contains("--views"), "{by_flag:?}");
    let by_variable = run_in(&[files[0], files[1], ("LEDGER_VIEWS", wrong)], &prison).await;
    assert!(by_variable.status.code() == Some(1) && by_variable.stderr.contains("--views"), "{by_variable:?}");

    let missing = run_in(&[("LEDGER_VIEWS_FILE", "/nowhere/url"), files[0]], &prison).await;
    assert!(missing.stderr.contains("LEDGER_VIEWS_FILE names /nowhere/url, which cannot be read"), "{missing:?}");
    assert_eq!(missing.status.code(), Some(2));
    // `prepare` makes this file; whatever else reads it says that it is not there, and a subcommand
    // without the setting does not look.
    let key = [("LEDGER_NAMING_KEY", ""), ("LEDGER_NAMING_KEY_FILE", "/nowhere/key")];
    let missing = run_in(&key, &["serve", "--role", "query", "--event-store", "esdb://127.0.0.1:1"]).await;
    assert!(missing.stderr.contains("LEDGER_NAMING_KEY_FILE names /nowhere/key, which cannot be read"), "{missing:?}");
    let unread = run_in(&key, &["handover-dates", "--help"]).await;
    assert!(unread.status.success(), "{unread:?}");
    let help = run_in(&files, &["serve", "--help"]).await;
    assert!(help.status.success() && !help.stdout.contains(&database.url), "{}", help.stdout);
    assert!(program.stop().await.success());
}

/// A parameter of libpq that the program's client does not know, or a password that is misspelt.
#[tokio::test]
async fn no_log_has_the_value_of_an_unknown_parameter_of_a_url() {
    let wrong = "postgres://nobody@127.0.0.1:1/nowhere?sslmode=disable&sslpassword=hush";
    for level in ["warn", "trace"] {
        let tool = ["cases", "LEI", "--log", level, "--event-store", wrong, "--views", wrong];
        let ran = run_in(&[], &tool).await;
        let log = &ran.stderr;
        assert!(log.contains("sslpassword") && !log.contains("hush"), "{level}: {log}");
    }
}
