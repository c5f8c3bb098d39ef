//! Exports of all views at once, of one prison's rows, and of the cases as they are at an instant.

use projector::VIEWS;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{directory, export, export_arguments, export_to, files, path, rows_by_sql};
use crate::support::{
    TestDatabase, Tool, eventually,
    exported_file::{self, Cells, FORMATS, read},
    projections::{assert_failure, count, execute, project, projected_ledger},
    random_ledger::tier,
};

/// The tables of an export of all.
fn all_tables() -> Vec<&'static str> {
    VIEWS.map(|view| view.name()).into_iter().chain(["establishment"]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_views_are_exported_at_one_position() {
    let (database, ledger, _) = projected_ledger().await;
    let directory = directory();
    let (all, head) = (directory.path().join("all"), ledger.log.head().await.expect("the head"));
    for (options, position) in [(&[][..], head), (&["--as-of", "20"], 20)] {
        export_to(&database, "all", &all, options).await;
        let mut names: Vec<_> = all_tables().iter().map(|name| format!("{name}.parquet")).collect();
        names.sort();
        assert_eq!(files(&all), names);
        for table in all_tables() {
            let (one, of_all) = (directory.path().join("one.parquet"), all.join(format!("{table}.parquet")));
            export_to(&database, table, &one, options).await;
            assert!(std::fs::read(&one).expect("a file") == std::fs::read(&of_all).expect("a file"), "{table}");
            assert_eq!(exported_file::position(&of_all), position, "{table}");
        }
    }
    // Files of another format take the place of all that were there.
    export_to(&database, "all", &all, &["--format", "csv"]).await;
    assert!(files(&all).iter().all(|name| name.ends_with(".csv")), "{:?}", files(&all));
    let listed = read(&all.join("establishment.csv"));
    let leeds = ["LEI", "Leeds", "ENGLAND"].map(|text| Some(text.to_owned()));
    assert_eq!(listed.names, ["prison_code", "name", "country"]);
    assert!(listed.rows.len() > 100 && listed.rows.contains(&leeds.to_vec()), "{listed:?}");
}

/// Holds an export of all views up after it has read the position, and records and projects events
/// meanwhile: each file is as an export of that position is.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_all_is_of_one_position_throughout() {
    const HOLD: &str = "
        ALTER TABLE views.establishment RENAME TO held;
        CREATE VIEW views.establishment AS SELECT held.* FROM views.held, pg_advisory_xact_lock_shared(4711)";
    let (database, mut ledger, _) = projected_ledger().await;
    let (directory, position) = (directory(), ledger.log.head().await.expect("the head"));
    let all = directory.path().join("all");
    execute(&database.pool, HOLD).await;
    let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql("SELECT pg_advisory_lock(4711)").execute(&mut holder).await.expect("a lock");
    let tool = Tool::start(&export_arguments(&database, &["all", "--output", path(&all)]));
    let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
                    WHERE NOT granted AND locktype = 'advisory' AND datname = current_database()";
    eventually("an export that is held up", async || (count(&database.pool, waiting).await > 0).then_some(())).await;
    for number in ["Z0001ZZ", "Z0002ZZ"] {
        assert!(ledger.case(number, 70, tier("A", Some("LEI"))).await);
    }
    project(&ledger.log, &database.pool).await;
    sqlx::raw_sql("SELECT pg_advisory_unlock_all()").execute(&mut holder).await.expect("let go");
    let ran = tool.wait_for_end().await;
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    for view in VIEWS {
        let (then, of_all) = (directory.path().join("then.parquet"), all.join(format!("{view}.parquet")));
        export_to(&database, view.name(), &then, &["--as-of", &position.to_string()]).await;
        assert!(std::fs::read(&then).expect("a file") == std::fs::read(&of_all).expect("a file"), "{view}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_not_an_export_of_all_is_kept() {
    let (database, ..) = projected_ledger().await;
    let directory = directory();
    for other in ["notes.txt", "case_period.xlsx", "caseload.csv"] {
        let full = directory.path().join(other);
        std::fs::create_dir(&full).expect("a directory");
        export_to(&database, "all", &full, &["--format", "csv"]).await;
        std::fs::write(full.join(other), "mine").expect("a file");
        assert_failure(&export(&database, &["all", "--output", path(&full)]).await, &[other, "no such export"]);
        assert_eq!(files(&full).len(), all_tables().len() + 1);
    }
    // Tables that were exported one by one: in one format, and a full set in two.
    for alone in [&["case_period.csv"][..], &["establishment.csv", "prisoner_case.parquet"]] {
        let some = directory.path().join(format!("with {}", alone[0]));
        std::fs::create_dir(&some).expect("a directory");
        for name in alone {
            let (table, _) = name.split_once('.').expect("an ending");
            export_to(&database, table, &some.join(name), &[]).await;
        }
        assert_failure(&export(&database, &["all", "--output", path(&some)]).await, &["no such export"]);
        assert_eq!(files(&some).len(), alone.len());
    }
    for (wrong, words) in [
        (&["all"][..], &["--output"][..]),
        (&["all", "--on", "2026-03-01"], &["--on", "case_now"]),
        (&["all", "--partition", "month"], &["--partition"]),
    ] {
        assert_failure(&export(&database, wrong).await, words);
    }
}

/// The rows of a table at a prison, by SQL.
async fn rows_of_prison(database: &TestDatabase, table: &str, prison: &str) -> Cells {
    let condition = match table {
        "prison" | "pom_period" | "nomis_contact" | "establishment" => format!("WHERE prison_code = '{prison}'"),
        "prisoner_case" => {
            format!(
                "WHERE prisoner_number IN (SELECT prisoner_number FROM views.case_prison WHERE prison = '{prison}')"
            )
        }
        _ => format!("WHERE prison = '{prison}'"),
    };
    rows_by_sql(database, table, &condition).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_a_prison_has_its_rows_alone() {
    let (database, ..) = projected_ledger().await;
    let directory = directory();
    let all = directory.path().join("all");
    // Letter case makes no difference on a command line.
    export_to(&database, "all", &all, &["--prison", "lei"]).await;
    for table in all_tables() {
        let (expected, file) = (rows_of_prison(&database, table, "LEI").await, all.join(format!("{table}.parquet")));
        assert_eq!(read(&file), expected, "{table}");
        assert!(!expected.rows.is_empty(), "{table}");
        for format in FORMATS {
            let one = directory.path().join(format!("one.{format}"));
            export_to(&database, table, &one, &["--prison", "LEI"]).await;
            assert_eq!(read(&one).rows, expected.rows, "{table} as {format}");
        }
    }
    let everywhere = count(&database.pool, "SELECT count(*) FROM views.case_period").await;
    let here = read(&all.join("case_period.parquet")).rows.len();
    assert!((here as i64) < everywhere, "{here} of {everywhere}: some cases are elsewhere");
    // Of one instant, too.
    let file = directory.path().join("on.parquet");
    export_to(&database, "case_period", &file, &["--prison", "LEI", "--on", "2026-03-01"]).await;
    let condition = "WHERE prison = 'LEI' AND valid_from <= '2026-03-01' AND '2026-03-01' < valid_to";
    assert_eq!(read(&file), rows_by_sql(&database, "case_period", condition).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prison_that_is_not_known_is_refused_and_one_without_cases_is_empty() {
    let (database, ..) = projected_ledger().await;
    let directory = directory();
    let file = directory.path().join("it.csv");
    let unknown = export(&database, &["case_period", "--prison", "LEE", "--output", path(&file)]).await;
    assert_failure(&unknown, &["LEE is not in the list of prisons", "LEI (Leeds)"]);
    assert_failure(&export(&database, &["log", "--prison", "LEI"]).await, &["replay --prison"]);
    assert_eq!(files(directory.path()), [""; 0]);
    assert_eq!(count(&database.pool, "SELECT count(*) FROM views.case_prison WHERE prison = 'SWI'").await, 0);
    export_to(&database, "case_period", &file, &["--prison", "SWI"]).await;
    assert_eq!(read(&file).rows.len(), 0);
    // A prison that the list lacks and the views have.
    sqlx::query("INSERT INTO views.prison (prison_code, revision, position) VALUES ('XXI', 0, 1)")
        .execute(&database.pool)
        .await
        .expect("a prison");
    export_to(&database, "prison", &file, &["--prison", "XXI"]).await;
    assert_eq!(read(&file).rows.len(), 1);
}

/// The periods of an instant as `case_now` shows them: with the name of the prison.
async fn with_prison_names(database: &TestDatabase, periods: Cells) -> Cells {
    let names: Vec<(String, String)> = sqlx::query_as("SELECT prison_code, name FROM views.establishment")
        .fetch_all(&database.pool)
        .await
        .expect("the names");
    let prison = periods.names.iter().position(|name| name == "prison").expect("a prison");
    let mut cells = periods;
    cells.names.insert(prison + 1, "prison_name".to_owned());
    for row in &mut cells.rows {
        let name = names.iter().find(|(code, _)| Some(code) == row[prison].as_ref()).map(|(_, name)| name.clone());
        row.insert(prison + 1, name);
    }
    cells
}

#[tokio::test(flavor = "multi_thread")]
async fn case_now_is_exported_as_of_an_instant() {
    let (database, ..) = projected_ledger().await;
    let directory = directory();
    let (now, periods) = (directory.path().join("now.parquet"), directory.path().join("periods.parquet"));
    assert_failure(&export(&database, &["case_now", "--output", path(&now)]).await, &["case_now", "--on"]);
    for options in [
        &["--on", "2026-03-01"][..],
        &["--on", "2026-07-01T12:00:00Z", "--prison", "LEI"],
        &["--on", "2026-03-01", "--as-of", "30"],
        &["--on", "1950-01-01"],
    ] {
        export_to(&database, "case_now", &now, options).await;
        export_to(&database, "case_period", &periods, options).await;
        assert_eq!(read(&now), with_prison_names(&database, read(&periods)).await, "{options:?}");
        assert_eq!(exported_file::position(&now), exported_file::position(&periods), "{options:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_now_has_the_period_of_each_case_that_holds_now() {
    let (database, ..) = projected_ledger().await;
    let difference = "SELECT count(*) FROM (
        (SELECT prisoner_number, valid_from, revision, pom_staff_id, com_name FROM views.case_now
         EXCEPT SELECT prisoner_number, valid_from, revision, pom_staff_id, com_name FROM views.case_period
                 WHERE valid_from <= now() AND now() < valid_to)
        UNION ALL
        (SELECT prisoner_number, valid_from, revision, pom_staff_id, com_name FROM views.case_period
          WHERE valid_from <= now() AND now() < valid_to
         EXCEPT SELECT prisoner_number, valid_from, revision, pom_staff_id, com_name FROM views.case_now)) AS differing";
    assert_eq!(count(&database.pool, difference).await, 0);
    assert!(count(&database.pool, "SELECT count(*) FROM views.case_now WHERE prison_name = 'Leeds'").await > 0);
    let doubled: i64 = sqlx::query_scalar(AssertSqlSafe(
        "SELECT count(*) - count(DISTINCT prisoner_number) FROM views.case_now".to_owned(),
    ))
    .fetch_one(&database.pool)
    .await
    .expect("a count");
    assert_eq!(doubled, 0, "one row a case");
}
