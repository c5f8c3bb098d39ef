//! `import`: files of prisons, from the command line to the events in the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use chrono::{DateTime, Utc};
use domain::{
    Event, Stream, london,
    officer::PomKind,
    prison::Estate,
    prisoner::{History, PrisonerEvent},
};
use event_log::{ExpectedRevision, StoredEvent, history::push};
use serde_json::{Value, json};

use crate::support::{
    DataDir, NAMING_KEY, TestDatabase, ToolOutput,
    builders::{new_event, number_retired},
    database, eventually, run,
    whole_log::read_stored,
};

fn data(name: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data/spreadsheets")).join(name);
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// Runs a subcommand on a test's database.
async fn tool(database: &TestDatabase, arguments: &[&str]) -> ToolOutput {
    let stores = database.store.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    run(&[arguments, &stores].concat()).await
}

/// Runs a subcommand with `--json`, asserts success, and returns the lines of its output.
#[track_caller]
fn lines(ran: &ToolOutput) -> Vec<Value> {
    assert!(ran.status.success(), "{}", ran.stderr);
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[track_caller]
fn refusal(ran: &ToolOutput) -> &str {
    assert_eq!(ran.status.code(), Some(1), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    &ran.stderr
}

/// All events of the log.
async fn events(database: &TestDatabase) -> Vec<StoredEvent> {
    read_stored(&*database.log().await).await
}

/// The events of each stream, without their positions, times of recording and runs, which are their
/// correlation ids, too.
fn events_by_stream(events: &[StoredEvent]) -> BTreeMap<String, Vec<Value>> {
    let mut told = BTreeMap::<String, Vec<Value>>::new();
    for event in events {
        let mut metadata = serde_json::to_value(&event.metadata).expect("JSON");
        let run = metadata["provenance"]["run"].take();
        assert!(run.is_string() && metadata["correlationId"].take() == run, "{metadata}");
        told.entry(event.stream.to_string()).or_default().push(json!([
            event.entry.event_id,
            event.entry.revision,
            metadata,
            event.entry.event.type_name(),
            serde_json::to_value(&event.entry.event).expect("JSON"),
        ]));
    }
    told
}

fn cases(events: Vec<StoredEvent>) -> BTreeMap<String, History> {
    let mut cases = BTreeMap::new();
    for stored in events {
        if let Stream::Prisoner(number) = &stored.stream {
            let case = cases.entry(number.to_string()).or_insert_with(|| History::new(number.clone()));
            push(case, stored.entry).expect("the next event of the case");
        }
    }
    cases
}

/// Imports a file into a new ledger and compares the report and the cases with the truth about its
/// rows.
async fn check_truth(prison: &str, file: &str, truth: &str) {
    let database = database().await;
    let file = data(file);
    let import = ["import", "spreadsheet", &file, "--prison", prison, "--go-live", "2000-01-01", "--json"];

    let dry = lines(&tool(&database, &[&import[..], &["--dry-run"]].concat()).await);
    assert!(events(&database).await.is_empty(), "a dry run records nothing");

    let ran = tool(&database, &import).await;
    let report = lines(&ran);
    let truth = std::fs::read_to_string(data(truth)).expect("the truth is read");
    let truth: Vec<Value> = truth.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(report.len(), truth.len());
    let recorded = events(&database).await;
    let mut cases = cases(recorded.clone());
    for ((line, dry), truth) in report.iter().zip(&dry).zip(&truth) {
        assert_eq!(line["dataRow"], truth["dataRow"]);
        if truth["ok"] == false {
            assert_eq!((&line["outcome"], &dry["outcome"]), (&json!("refused"), &json!("refused")), "{line}");
            let reason = line["reason"].as_str().expect("a reason");
            assert_eq!(reason.split(':').next(), truth["why"].as_str(), "{line}");
            continue;
        }
        assert_eq!((&line["outcome"], &dry["outcome"]), (&json!("recorded"), &json!("would-record")), "{line}");
        for member in ["prisonerNumber", "tier", "staffId", "pomKind", "allocatedOn"] {
            assert_eq!(line[member], truth[member], "{line}");
        }
        let case = cases.remove(line["prisonerNumber"].as_str().expect("a number")).expect("the case");
        let state = case.state();
        let role = state.primary_pom.expect("a POM");
        assert_eq!(json!(state.tier.expect("a tier").tier), truth["tier"]);
        assert_eq!(json!(role.pom.staff_id), truth["staffId"]);
        assert_eq!(json!(role.pom.kind), truth["pomKind"]);
        assert_eq!(json!(london::date(role.since)), truth["allocatedOn"]);
        let [_, made] = case.entries() else { panic!("{:?}", case.entries()) };
        let PrisonerEvent::AllocationMade(made) = &made.event else { panic!("{made:?}") };
        let against = made.choice.is_override(role.pom.kind);
        let detail = against.then_some("as it stood in the prison's spreadsheet");
        assert_eq!(made.choice.override_detail.as_deref(), detail);
    }
    assert!(cases.is_empty(), "nothing but the rows is recorded: {cases:?}");

    let again = lines(&tool(&database, &import).await);
    for (line, again) in report.iter().zip(&again) {
        let expected = if line["outcome"] == "recorded" { "already-recorded" } else { "refused" };
        assert_eq!(again["outcome"], expected);
    }
    assert_eq!(events(&database).await, recorded, "running it again records nothing new");
}

#[tokio::test]
async fn an_excel_file_imports_as_its_rows_say() {
    check_truth("LEI", "LEI-allocations.xlsx", "LEI-truth.jsonl").await;
}

#[tokio::test]
async fn an_opendocument_file_imports_as_its_rows_say() {
    check_truth("HDI", "HDI-allocations.ods", "HDI-truth.jsonl").await;
}

#[tokio::test]
async fn a_csv_file_imports_as_its_rows_say() {
    check_truth("MDI", "MDI-allocations.csv", "MDI-truth.jsonl").await;
}

#[tokio::test]
async fn the_report_in_text_has_a_summary() {
    let database = database().await;
    let file = data("LEI-allocations.xlsx");
    let import =
        ["import", "spreadsheet", &file, "--prison", "lei", "--estate", "MENS_OPEN", "--go-live", "2018-11-03"];
    let ran = tool(&database, &import).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    for expected in [
        "LEI taken onto OMiC, go-live date 2018-11-03.\n6 POMs new on the roster.\n\
         Sheet `OS allocations`: 220 rows of data: 204 recorded, 16 refused.\n\
         Passed over: 1 blank row, 1 row of totals, 0 rows of headings or notes.\n",
        "date in the future: 1 January 2091",
        "McAllister, Ross",
    ] {
        assert!(ran.stdout.contains(expected), "{}", ran.stdout);
    }
    let joined = events(&database).await.into_iter().find_map(|event| match event.entry.event {
        Event::Prison(domain::prison::PrisonEvent::PrisonJoinedOmic(joined)) => {
            Some((joined, event.entry.effective_at))
        }
        _ => None,
    });
    let (joined, from) = joined.expect("the prison joined");
    assert_eq!(joined.estate, Estate::MensOpen);
    assert_eq!(from, "2018-11-03T00:00:00Z".parse::<DateTime<Utc>>().expect("an instant"));
}

#[tokio::test]
async fn rows_before_the_go_live_date_are_refused() {
    let database = database().await;
    let dir = DataDir::new();
    let file = dir.path().join("cases.csv");
    let rows = "NOMS no,Tier,POM,Staff id,Type,Date allocated,Notes\n\
                A0001BC,A,\"Okafor, Grace\",485926,PO,01/07/2019,\n\
                A0002BC,A,\"Okafor, Grace\",485926,PO,01/10/2019,known to the team\n";
    std::fs::write(&file, rows).expect("write a file");
    let file = file.to_str().expect("a path in UTF-8");
    let import = ["import", "spreadsheet", file, "--prison", "LEI", "--go-live", "2019-09-02", "--json"];
    let report = lines(&tool(&database, &import).await);
    assert_eq!((&report[0]["outcome"], &report[0]["code"]), (&json!("refused"), &json!("prison-not-on-omic")));
    assert_eq!(report[1]["outcome"], "recorded");
    let cases = cases(events(&database).await);
    assert_eq!(cases.keys().collect::<Vec<_>>(), ["A0002BC"], "a refused row leaves nothing behind");
    let PrisonerEvent::AllocationMade(made) = &cases["A0002BC"].entries()[1].event else { panic!("an allocation") };
    assert_eq!(made.choice.note.as_deref(), Some("known to the team"));
    assert_eq!(made.pom.kind, PomKind::Probation);
}

#[tokio::test]
async fn a_row_of_a_number_that_was_merged_names_the_number_to_use() {
    let database = database().await;
    let log = database.log().await;
    for (removed, survivor) in [("A0001BC", "A0002BC"), ("A0002BC", "A0003BC")] {
        let stream = Stream::Prisoner(removed.parse().expect("a number"));
        let retired = new_event(&number_retired(survivor));
        log.append(&stream, ExpectedRevision::NoStream, vec![retired]).await.expect("append");
    }
    let dir = DataDir::new();
    let file = dir.path().join("cases.csv");
    let rows = "NOMS no,Tier,POM,Staff id,Type,Date allocated,Notes\n\
                A0001BC,A,\"Okafor, Grace\",485926,PO,01/10/2019,\n";
    std::fs::write(&file, rows).expect("write a file");
    let file = file.to_str().expect("a path in UTF-8");
    let import = ["import", "spreadsheet", file, "--prison", "LEI", "--go-live", "2019-09-02", "--json", "--dry-run"];
    let report = lines(&tool(&database, &import).await);
    assert_eq!(report[0]["code"], "prisoner-number-retired");
    let reason = report[0].to_string();
    assert!(reason.contains("Use A0003BC."), "{reason}");
}

/// Writes a file with many cases of six POMs.
fn large_file(path: &Path, cases: u32) {
    let mut text = "Prison number;Tier;POM;Staff ID;POM type;Date allocated;Comments\r\n".to_owned();
    for case in 0..cases {
        let (pom, day) = (case % 6, 1 + case % 28);
        let tier = ["A", "B2", "C", "D"][case as usize % 4];
        let kind = if pom < 3 { "PRO" } else { "PO" };
        let (letters, digits) = (case / 10_000, case % 10_000);
        let letter = char::from(b'A' + u8::try_from(letters).expect("few cases"));
        writeln!(text, "A{digits:04}{letter}C;{tier};Officer{pom}, Al;{};{kind};{day:02}/07/2019;\r", 485_900 + pom)
            .expect("write");
    }
    std::fs::write(path, text).expect("write a file");
}

/// The run of an import that recorded an event.
fn run_of(stored: &StoredEvent) -> String {
    let metadata = serde_json::to_value(&stored.metadata).expect("JSON");
    metadata["provenance"]["run"].as_str().expect("a run").to_owned()
}

/// Kills the import in the middle and repeats it a few times. The end must equal that of one run.
#[tokio::test]
async fn an_import_killed_half_way_and_repeated_ends_as_if_run_once() {
    const CASES: u32 = 4_000;
    let dir = DataDir::new();
    let file = dir.path().join("cases.csv");
    large_file(&file, CASES);
    let file = file.to_str().expect("a path in UTF-8");
    let import = ["import", "spreadsheet", file, "--prison", "LEI", "--go-live", "2019-07-01", "--json"];

    let once = database().await;
    assert_eq!(lines(&tool(&once, &import).await).len(), CASES as usize);

    let killed = database().await;
    let mut runs = BTreeSet::new();
    for _ in 0..3 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_allocation-ledger-under-test"))
            .args(import)
            .args(killed.store.arguments())
            .env("LEDGER_NAMING_KEY", NAMING_KEY)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the program");
        // Of this run: the store may have been writing for the last one when that was killed.
        let recorded_by_run = async || {
            let recorded = events(&killed).await;
            let new: Vec<_> = recorded.iter().map(run_of).filter(|run| !runs.contains(run)).collect();
            (new.len() >= 200).then(|| new[0].clone())
        };
        let run = eventually("some cases to be recorded", recorded_by_run).await;
        child.kill().expect("kill the program");
        let said = child.wait_with_output().expect("wait for the program").stderr;
        let said = String::from_utf8(said).expect("UTF-8");
        assert!(said.contains(&format!("`allocation-ledger import undo {run}` takes it back")), "{said}");
        runs.insert(run);
    }
    let recorded = events(&killed).await.len();
    assert!(recorded < 2 * CASES as usize, "it was killed half-way");

    let report = lines(&tool(&killed, &import).await);
    let count = |outcome: &str| report.iter().filter(|line| line["outcome"] == outcome).count();
    assert!(count("already-recorded") > 0 && count("recorded") > 0);
    assert_eq!(count("already-recorded") + count("recorded"), CASES as usize);
    assert_eq!(events_by_stream(&events(&killed).await), events_by_stream(&events(&once).await));
}

#[tokio::test]
async fn files_that_cannot_be_imported_are_refused_with_a_sentence() {
    let database = database().await;
    let dir = DataDir::new();
    let write = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).expect("write a file");
        path.to_str().expect("a path in UTF-8").to_owned()
    };
    let letter = write("letter.csv", b"Dear colleague,\nplease find the list enclosed.\n");
    let columns = write("columns.csv", b"Prison number,Band,Staff id,Date allocated\nA1234BC,B,485926,01/02/2019\n");
    let picture = write("picture.xlsx", b"\x89PNG\r\n\x1a\n\x00\x00");
    let damaged = write("damaged.xlsx", b"PK\x03\x04 and nothing else");
    let empty = write("empty.csv", b"");
    let nowhere = dir.path().join("nowhere.xlsx").to_str().expect("a path in UTF-8").to_owned();
    let spreadsheet = data("LEI-allocations.xlsx");
    let check = async |file: &str, more: &[&str], expected: &str| {
        let arguments = [&["import", "spreadsheet", file, "--prison", "LEI"], more].concat();
        let ran = tool(&database, &arguments).await;
        assert!(refusal(&ran).contains(expected), "{file}: {}", ran.stderr);
    };
    check(&letter, &[], "no row was found that heads the columns").await;
    check(&columns, &[], "no column was found for: tier (tier). Columns seen: `Prison number`, `Band`").await;
    check(&columns, &["--map", "Bund=tier"], "--map names the column `Bund`, which is not there").await;
    check(&picture, &[], "neither a workbook nor text").await;
    check(&damaged, &[], "is it damaged, or protected by a password?").await;
    check(&empty, &[], "is empty").await;
    check(&nowhere, &[], "is the name right?").await;
    check(&spreadsheet, &["--sheet", "Cases"], "The sheets are: `OS allocations`, `Leavers`").await;
    let usage = async |more: &[&str], expected: &str| {
        let ran = tool(&database, &[&["import", "spreadsheet", &columns], more].concat()).await;
        assert_eq!(ran.status.code(), Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    };
    usage(&["--prison", "Leeds"], "--prison").await;
    let fields = "Fields: prisonerNumber, tier, staffId";
    usage(&["--prison", "LEI", "--map", "Band=tire"], &format!("there is no field `tire`. {fields}")).await;
    usage(&["--prison", "LEI", "--map", "Band"], fields).await;

    let mapped = ["import", "spreadsheet", &columns, "--prison", "LEI", "--map", "Band=tier", "--json"];
    let report = lines(&tool(&database, &mapped).await);
    assert_eq!((&report[0]["outcome"], &report[0]["code"]), (&json!("refused"), &json!("pom-name")));
    assert!(events(&database).await.is_empty(), "nothing was recorded");
}

#[tokio::test]
async fn contacts_are_recorded_and_their_removal_is_confirmed() {
    let database = database().await;
    let dir = DataDir::new();
    let file = dir.path().join("contacts.csv");
    let path = file.to_str().expect("a path in UTF-8");
    let import = async |rows: &str, more: &[&str]| {
        std::fs::write(&file, format!("Prisoner number,Staff ID,Name,Contact type\n{rows}")).expect("write a file");
        let arguments = [&["import", "nomis-contacts", path, "--prison", "LEI", "--json"], more].concat();
        let report = lines(&tool(&database, &arguments).await);
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        report
            .iter()
            .map(|line| format!("{} {}", text(&line["prisonerNumber"]), text(&line["outcome"])))
            .collect::<Vec<_>>()
    };
    let outstanding = async |more: &[&str]| {
        let listed = lines(&tool(&database, &[&["nomis-contacts", "--json"], more].concat()).await);
        listed.iter().map(|line| line["prisonerNumber"].as_str().expect("a number").to_owned()).collect::<Vec<_>>()
    };
    let both = "A0001BC,485926,\"Okafor, Grace\",POM\na0002bc,,Grace Okafor,POM\n";
    assert_eq!(import(both, &["--dry-run"]).await, ["A0001BC would-record", "A0002BC would-record"]);
    assert_eq!(import(both, &[]).await, ["A0001BC recorded", "A0002BC recorded"]);
    assert_eq!(import(both, &[]).await, ["A0001BC already-recorded", "A0002BC already-recorded"]);
    assert!(outstanding(&[]).await.is_empty(), "the prison has not joined OMiC");

    let spreadsheet = data("LEI-allocations.xlsx");
    let import_cases = ["import", "spreadsheet", &spreadsheet, "--prison", "LEI", "--go-live", "2018-11-03"];
    assert!(tool(&database, &import_cases).await.status.success());
    let mut listed = outstanding(&[]).await;
    listed.sort();
    assert_eq!(listed, ["A0001BC", "A0002BC"]);
    assert_eq!(outstanding(&["--prison", "MDI"]).await, Vec::<String>::new());

    let one = "A0001BC,485926,\"Okafor, Grace\",POM\n";
    let unreadable = format!("{one}A002BC,,Grace Okafor,POM\n");
    assert_eq!(
        import(&unreadable, &["--complete"]).await,
        ["A0001BC already-recorded", "- refused", "A0002BC not-confirmed"],
        "a row that cannot be read may be the contact that seems gone"
    );
    assert_eq!(
        import(one, &["--complete", "--dry-run"]).await,
        ["A0001BC already-recorded", "A0002BC would-confirm-removed"]
    );
    assert_eq!(import(one, &[]).await, ["A0001BC already-recorded"], "not said to be complete");
    assert_eq!(import(one, &["--complete"]).await, ["A0001BC already-recorded", "A0002BC removal-confirmed"]);
    assert_eq!(import(one, &["--complete"]).await, ["A0001BC already-recorded"]);
    assert_eq!(outstanding(&[]).await, ["A0001BC"]);

    assert_eq!(import(both, &["--complete"]).await, ["A0001BC already-recorded", "A0002BC recorded"], "back again");
    assert_eq!(import("", &["--complete", "--none"]).await.len(), 2);
    assert!(outstanding(&[]).await.is_empty());
}

/// Questions and dry runs create no ledger, and tools need no database of views.
#[tokio::test]
async fn questions_and_dry_runs_create_no_ledger() {
    let dir = DataDir::new();
    let contacts = dir.path().join("contacts.csv");
    std::fs::write(&contacts, "Prisoner number,Name\nA0001BC,\"Okafor, Grace\"\n").expect("write a file");
    let contacts = contacts.to_str().expect("a path in UTF-8");
    let cases = data("LEI-allocations.xlsx");
    let ledger = dir.path().join("ledger");
    let data_dir = ["--data-dir", ledger.to_str().expect("a path in UTF-8")];
    let database = database().await;
    sqlx::raw_sql("DROP SCHEMA views CASCADE; DROP SCHEMA log CASCADE")
        .execute(&database.pool)
        .await
        .expect("an empty database");
    let event_store = ["--event-store", &database.url];
    let spreadsheet = ["import", "spreadsheet", &cases, "--prison", "LEI"];
    let nomis_contacts = ["import", "nomis-contacts", contacts, "--prison", "LEI"];

    for stores in [data_dir, event_store] {
        for asked in [&["nomis-contacts"][..], &["history", "A0001BC"]] {
            let ran = run(&[asked, &stores].concat()).await;
            assert!(refusal(&ran).contains("there is no ledger in"), "{}", ran.stderr);
        }
        let ran = run(&[&spreadsheet[..], &["--dry-run"], &stores].concat()).await;
        assert!(ran.stdout.contains("204 would be recorded, 16 refused"), "{}\n{}", ran.stdout, ran.stderr);
        let ran = run(&[&nomis_contacts[..], &["--dry-run"], &stores].concat()).await;
        assert!(ran.stdout.contains("1 would record"), "{}\n{}", ran.stdout, ran.stderr);
    }
    assert!(!ledger.exists(), "nothing was made");
    let schemas = async || -> Vec<String> {
        let schemas = "SELECT nspname::text FROM pg_namespace WHERE nspname IN ('log', 'views') ORDER BY 1";
        sqlx::query_scalar(schemas).fetch_all(&database.pool).await.expect("list the schemas")
    };
    assert_eq!(schemas().await, Vec::<String>::new());

    for asked in [&nomis_contacts[..], &["nomis-contacts"]] {
        let ran = run(&[asked, &event_store].concat()).await;
        assert!(ran.status.success(), "{}", ran.stderr);
    }
    assert_eq!(schemas().await, ["log"]);
}
