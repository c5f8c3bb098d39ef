//! `export`: views and the log as files, read back and compared with SQL and with the log itself.

mod permissions;
mod refusals;
mod selections;

use std::path::{Path, PathBuf};

use chrono::{DateTime, Datelike as _, Utc};
use event_log::{RecordedEvent, SharedLog, stored_event::decode_metadata};
use projector::{ProjectorSettings, VIEWS};
use sqlx::{AssertSqlSafe, Row as _};
use tempfile::TempDir;

use crate::support::projections::{count, execute, filled_ledger, project, projected_ledger, schemas};
use crate::support::{
    TestDatabase, ToolOutput,
    controlled_log::ControlledLog,
    database,
    exported_file::{self, Cells, FORMATS, read},
    random_ledger::tier,
    run,
    running_projector::RunningProjector,
};

/// The arguments for an export from a test's database.
fn export_arguments<'a>(database: &'a TestDatabase, export: &[&'a str]) -> Vec<&'a str> {
    let url = database.url.as_str();
    [&["export"], export, &["--event-store", url, "--views", url]].concat()
}

async fn export(database: &TestDatabase, arguments_: &[&str]) -> ToolOutput {
    run(&export_arguments(database, arguments_)).await
}

/// Exports to a file and asserts success.
async fn export_to(database: &TestDatabase, what: &str, file: &Path, options: &[&str]) {
    let ran = export(database, &[&[what, "--output", path(file)], options].concat()).await;
    assert_eq!(ran.status.code(), Some(0), "{what} {options:?}: {}", ran.stderr);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// The names of everything below a directory, hidden files too.
fn files(directory: &Path) -> Vec<String> {
    fn visit(directory: &Path, before: &str, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = format!("{before}{}", entry.file_name().into_string().expect("a name in UTF-8"));
            if entry.file_type().expect("a type").is_dir() {
                visit(&entry.path(), &format!("{name}/"), names);
            } else {
                names.push(name);
            }
        }
    }
    let mut names = Vec::new();
    visit(directory, "", &mut names);
    names.sort();
    names
}

/// The rows of a view by SQL: instants in UTC to the microsecond, null for infinity, JSON for
/// lists.
async fn rows_by_sql(database: &TestDatabase, view: &str, condition: &str) -> Cells {
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
          WHERE attrelid = ('views.' || $1)::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    )
    .bind(view)
    .fetch_all(&database.pool)
    .await
    .expect("columns");
    let key: Vec<String> = sqlx::query_scalar(
        "SELECT attname::text
           FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
          WHERE indrelid = ('views.' || $1)::regclass AND indisprimary
          ORDER BY array_position(indkey::int2[], attnum)",
    )
    .bind(view)
    .fetch_all(&database.pool)
    .await
    .expect("a key");
    let text = |(name, kind): &(String, String)| match kind.as_str() {
        "timestamp with time zone" => format!(
            "CASE WHEN isfinite({name}) THEN to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') END"
        ),
        "text[]" => format!("array_to_json({name})::text"),
        _ => format!("{name}::text"),
    };
    let texts: Vec<String> = columns.iter().map(text).collect();
    let sql = format!("SELECT {} FROM views.{view} {condition} ORDER BY {}", texts.join(", "), key.join(", "));
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&database.pool).await.expect("rows");
    Cells {
        rows: rows.iter().map(|row| (0..columns.len()).map(|index| row.get(index)).collect()).collect(),
        names: columns.into_iter().map(|(name, _)| name).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_in_every_format_holds_what_sql_says() {
    let (database, ledger, _) = projected_ledger().await;
    execute(&database.pool, "UPDATE views.pom_period SET name = '=HYPERLINK(\"x\")' WHERE staff_id = 103").await;
    execute(&database.pool, "UPDATE views.allocation SET note = E'said \"no\",\\r\\n''tis é' WHERE note IS NOT NULL")
        .await;
    let directory = directory();
    let head = ledger.log.head().await.expect("the head");
    for view in VIEWS {
        let expected = rows_by_sql(&database, view.name(), "").await;
        assert!(!expected.rows.is_empty(), "{view}");
        for format in FORMATS {
            let file = directory.path().join(format!("{view}.{format}"));
            export_to(&database, view.name(), &file, &[]).await;
            assert_eq!(read(&file), expected, "{view} as {format}");
        }
        assert_eq!(exported_file::position(&directory.path().join(format!("{view}.parquet"))), head);
    }
    assert_eq!(files(directory.path()).len(), VIEWS.len() * FORMATS.len());
    let roster = std::fs::read_to_string(directory.path().join("pom_period.csv")).expect("text");
    assert!(roster.starts_with('\u{feff}') && roster.contains(r#""'=HYPERLINK(""x"")""#), "{roster}");
}

/// The column types that a spreadsheet or a database finds in the file.
#[tokio::test(flavor = "multi_thread")]
async fn parquet_has_types() {
    let (database, ..) = projected_ledger().await;
    let directory = directory();
    for (what, columns) in [
        (
            "pom_period",
            &["staff_id INT64", "valid_to TIMESTAMP_MICROS UTC", "working_pattern DECIMAL(2,1)", "returns_on DATE"][..],
        ),
        ("allocation", &["is_override BOOLEAN", "override_reasons LIST", "days_waited INT32", "note STRING"]),
        ("log", &["position INT64", "recorded_at TIMESTAMP_MICROS UTC", "type STRING", "data STRING"]),
    ] {
        let file = directory.path().join(format!("{what}.parquet"));
        export_to(&database, what, &file, &[]).await;
        let types = exported_file::types(&file);
        for column in columns {
            assert!(types.iter().any(|found| found == column), "{column} in {types:?}");
        }
    }
}

/// The events of the log, as the log returns them.
async fn events(log: &SharedLog) -> Vec<RecordedEvent> {
    let events = log.read_all(0, 10_000).await.expect("a page");
    assert_eq!(events.len() as u64, log.head().await.expect("the head"));
    events
}

fn instant(instant: DateTime<Utc>) -> Option<String> {
    Some(instant.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

/// The rows that an export of these events must have.
fn rows(events: &[RecordedEvent]) -> Cells {
    let names = [
        "position",
        "stream",
        "revision",
        "event_id",
        "type",
        "recorded_at",
        "effective_at",
        "recorded_by",
        "client",
        "command_id",
        "correlation_id",
        "causation_id",
        "schema_version",
        "prisoner_number",
        "prison_code",
        "data",
        "metadata",
    ];
    let row = |event: &RecordedEvent| {
        let metadata = decode_metadata(event).expect("metadata");
        let stream = event.stream.to_string();
        vec![
            Some(event.position.to_string()),
            Some(stream.clone()),
            Some(event.revision.to_string()),
            Some(event.event_id.0.to_string()),
            Some(event.type_name.clone()),
            instant(event.recorded_at),
            instant(metadata.effective_at),
            metadata.recorded_by.username.map(String::from),
            Some(metadata.recorded_by.client),
            Some(metadata.command_id.0.to_string()),
            Some(metadata.correlation_id.to_string()),
            metadata.causation_id.map(|id| id.0.to_string()),
            Some(metadata.schema_version.to_string()),
            stream.strip_prefix("prisoner-").or(stream.strip_prefix("contacts-")).map(str::to_owned),
            stream.strip_prefix("prison-").map(str::to_owned),
            Some(String::from_utf8(event.data.to_vec()).expect("text")),
            Some(String::from_utf8(event.metadata.to_vec()).expect("text")),
        ]
    };
    Cells { names: names.map(str::to_owned).to_vec(), rows: events.iter().map(row).collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_in_every_format_is_the_log_to_the_byte() {
    let (database, ledger) = filled_ledger().await;
    let directory = directory();
    let events = events(&ledger.log).await;
    for format in FORMATS {
        let file = directory.path().join(format!("log.{format}"));
        export_to(&database, "log", &file, &[]).await;
        assert_eq!(read(&file), rows(&events), "{format}");
    }
    let head = events.len() as u64;
    assert_eq!(exported_file::position(&directory.path().join("log.parquet")), head);
    // JSON lines contain data and metadata as they were recorded, not as strings and not serialized
    // again.
    let lines = std::fs::read_to_string(directory.path().join("log.jsonl")).expect("text");
    for (line, event) in lines.lines().zip(&events) {
        let data = format!("\"data\":{}", std::str::from_utf8(&event.data).expect("text"));
        assert!(line.contains(&data), "{data} in {line}");
    }
}

/// The export of an empty ledger has tables without rows.
#[tokio::test(flavor = "multi_thread")]
async fn empty_views_are_exported_too() {
    let (database, directory) = (database().await, directory());
    for what in ["log", "case_period"] {
        for format in FORMATS {
            let file = directory.path().join(format!("{what}.{format}"));
            export_to(&database, what, &file, &[]).await;
            let cells = read(&file);
            assert_eq!(cells.rows.len(), 0, "{what} as {format}");
            assert!(format == "jsonl" || cells.names.len() > 10, "{what} as {format}: {:?}", cells.names);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_export_twice_is_the_same_bytes() {
    let (database, ..) = projected_ledger().await;
    let directory = directory();
    for what in ["log", "case_period", "allocation"] {
        for format in FORMATS {
            let [first, second] =
                ["first", "second"].map(|name| directory.path().join(format!("{name}-{what}.{format}")));
            export_to(&database, what, &first, &[]).await;
            export_to(&database, what, &second, &[]).await;
            let [first, second] = [first, second].map(|file| std::fs::read(file).expect("a file"));
            assert!(!first.is_empty() && first == second, "{what} as {format}");
        }
    }
}

/// The projector and a rebuild write rows in different orders. The files must be equal.
#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_an_export_do_not_depend_on_the_order_of_rows() {
    let (database, ..) = projected_ledger().await;
    let directory = directory();
    let [before, after] = ["before", "after"].map(|name| directory.path().join(format!("{name}.parquet")));
    export_to(&database, "case_period", &before, &[]).await;
    let ran = crate::support::projections::run_projections(&database, &["rebuild"]).await;
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    export_to(&database, "case_period", &after, &[]).await;
    assert_eq!(std::fs::read(before).expect("a file"), std::fs::read(after).expect("a file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_on_an_instant_has_the_periods_of_that_instant() {
    let (database, ..) = projected_ledger().await;
    let directory = directory();
    let boundary: String = sqlx::query_scalar(
        "SELECT to_char(max(valid_from) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM views.case_period",
    )
    .fetch_one(&database.pool)
    .await
    .expect("an instant");
    // A date means its first instant in London, which is an hour before that of UTC in summer.
    for (on, instant) in
        [(boundary.as_str(), boundary.as_str()), ("2026-07-01", "2026-06-30T23:00:00Z"), ("1950-01-01", "1950-01-01")]
    {
        let condition = format!("WHERE valid_from <= '{instant}' AND '{instant}' < valid_to");
        for view in ["case_period", "pom_period"] {
            let file = directory.path().join("on.parquet");
            export_to(&database, view, &file, &["--on", on]).await;
            assert_eq!(read(&file), rows_by_sql(&database, view, &condition).await, "{view} on {on}");
        }
    }
    let all = count(&database.pool, "SELECT count(*) FROM views.case_period").await;
    let some =
        rows_by_sql(&database, "case_period", &format!("WHERE valid_from <= '{boundary}' AND '{boundary}' < valid_to"))
            .await;
    assert!((1..all).contains(&(some.rows.len() as i64)), "{} of {all} rows hold", some.rows.len());
}

/// An export as of a position equals, byte for byte, the export made when the log ended there.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_as_of_a_position_equals_the_export_made_then() {
    let (database, ledger) = filled_ledger().await;
    let (directory, log) = (directory(), ControlledLog::new(&ledger.log));
    let head = ledger.log.head().await.expect("the head");
    let then = head / 2;
    log.end_at(then);
    RunningProjector::start(&log.shared(), &database.pool, ProjectorSettings::default()).wait_for_position(then).await;
    let file = |name: &str, view: &str| directory.path().join(format!("{name}-{view}.parquet"));
    for view in VIEWS {
        export_to(&database, view.name(), &file("then", view.name()), &[]).await;
    }
    project(&ledger.log, &database.pool).await;
    let position = then.to_string();
    for view in VIEWS {
        let [then, later] = ["then", "later"].map(|name| file(name, view.name()));
        export_to(&database, view.name(), &later, &["--as-of", &position]).await;
        assert!(std::fs::read(&then).expect("a file") == std::fs::read(&later).expect("a file"), "{view}");
        assert_eq!(schemas(&database.pool).await, ["views"], "{view}");
    }
    // Both clocks: the periods of that day, as known at that position.
    let on = "2026-03-01";
    let both = file("both", "case_period");
    export_to(&database, "case_period", &both, &["--as-of", &position, "--on", on]).await;
    let known = read(&file("then", "case_period"));
    let [from, to] =
        ["valid_from", "valid_to"].map(|name| known.names.iter().position(|found| found == name).expect(name));
    let holds = |row: &&Vec<Option<String>>| {
        row[from].as_deref() <= Some("2026-03-01T00:00:00.000000Z")
            && row[to].as_deref().is_none_or(|end| end > "2026-03-01T00:00:00.000000Z")
    };
    let expected: Vec<_> = known.rows.iter().filter(holds).cloned().collect();
    assert_eq!(read(&both).rows, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_as_of_a_position_ends_there() {
    let (database, ledger) = filled_ledger().await;
    let directory = directory();
    let events = events(&ledger.log).await;
    let seventh = events[6].recorded_at;
    let by_then = events.iter().take_while(|event| event.recorded_at <= seventh).count();
    for (as_of, ends) in [("7".to_owned(), 7), ("0".to_owned(), 0), (seventh.to_rfc3339(), by_then)] {
        let file = directory.path().join("log.parquet");
        export_to(&database, "log", &file, &["--as-of", &as_of]).await;
        assert_eq!(read(&file), rows(&events[..ends]), "as of {as_of}");
        assert_eq!(exported_file::position(&file), ends as u64);
    }
}

/// One file a month. Together they are the whole log.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_exported_by_month() {
    let (database, ledger) = filled_ledger().await;
    let directory = directory();
    // Months as in a ledger of years, one of them without events.
    execute(
        &database.pool,
        "SET session_replication_role = replica;
         UPDATE log.event SET recorded_at = CASE WHEN position <= 5 THEN '2025-12-31T23:59:59.999999Z'
                                                 WHEN position <= 9 THEN '2026-01-01T00:00:00Z'
                                                 ELSE '2026-03-31T23:30:00Z' END::timestamptz;
         RESET session_replication_role",
    )
    .await;
    let events = events(&ledger.log).await;
    for format in FORMATS {
        let months = directory.path().join(format);
        export_to(&database, "log", &months, &["--partition", "month", "--format", format]).await;
        let names = ["2025-12", "2026-01", "2026-03"].map(|month| format!("month={month}/events.{format}"));
        assert_eq!(files(&months), names);
        let mut read_back = Vec::new();
        for name in names {
            let cells = read(&months.join(&name));
            let month: PathBuf = Path::new(&name).into();
            for row in &cells.rows {
                let recorded_at: DateTime<Utc> = row[5].as_deref().expect("an instant").parse().expect("an instant");
                let expected = format!("month={:04}-{:02}", recorded_at.year(), recorded_at.month());
                assert!(month.starts_with(&expected), "{recorded_at} in {name}");
            }
            read_back.extend(cells.rows);
        }
        assert_eq!(read_back, rows(&events).rows, "{format}");
    }
    // A second export gives the same files.
    let again = directory.path().join("again");
    export_to(&database, "log", &again, &["--partition", "month", "--format", "parquet"]).await;
    for name in files(&again) {
        let [first, second] =
            [directory.path().join("parquet"), again.clone()].map(|months| std::fs::read(months.join(&name)));
        assert!(first.expect("a file") == second.expect("a file"), "{name}");
    }
}

/// Exports a view while it is kept up: no row is later than the position of the file, and none is
/// missing.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_reads_one_position_throughout() {
    let (database, mut ledger, _) = projected_ledger().await;
    let directory = directory();
    let watched = RunningProjector::start(&ledger.log, &database.pool, ProjectorSettings::default());
    let file = directory.path().join("prisoner_case.parquet");
    for day in 0..6 {
        assert!(ledger.case("Z0001ZZ", 3 + day, tier(["A", "B2", "C"][day as usize % 3], None)).await);
        export_to(&database, "prisoner_case", &file, &[]).await;
        let cells = read(&file);
        let column = cells.names.iter().position(|name| name == "position").expect("a position");
        let last = cells.rows.iter().filter_map(|row| row[column].as_deref()?.parse::<u64>().ok()).max();
        let position = exported_file::position(&file);
        let newest =
            format!("SELECT max(position) FROM log.event WHERE stream LIKE 'prisoner-%' AND position <= {position}");
        assert_eq!(last, Some(count(&database.pool, &newest).await.unsigned_abs()), "at {position}");
    }
    drop(watched);
}
