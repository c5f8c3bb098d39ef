//! Tools of operators: each that shows a person's data, or copies it out, has an entry.

use access_log::StoredAccess;

use super::entries;
use crate::support::{
    DataDir, ToolOutput, bare_database,
    ledger::{Ledger, SHAH},
    questions::ask,
    run,
};

const HEADINGS: &str = "NOMS no,Tier,POM,Staff id,Type,Date allocated\n";

/// A case that the ledger has, and one that it lacks.
const ROWS: &str = "A1111AA,C,\"Shah, Priya\",485928,PRO,01/07/2019\nA0002BC,B,\"Shah, Priya\",485928,PRO,01/10/2019\n";

async fn run_on(ledger: &Ledger, arguments: &[&str]) -> ToolOutput {
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    run(&[arguments, &stores[..]].concat()).await
}

/// The entries that were made meanwhile.
async fn entries_since(ledger: &Ledger, count: usize) -> Vec<StoredAccess> {
    entries(&ledger.database).await.split_off(count)
}

#[tokio::test]
async fn a_number_that_nothing_is_known_of_has_an_entry() {
    let ledger = Ledger::start_all_roles().await;
    for tool in ["history", "responsibility"] {
        let before = entries(&ledger.database).await.len();
        let ran = run_on(&ledger, &[tool, "A9999ZZ"]).await;
        assert!(!ran.status.success() && ran.stderr.contains("nothing is known of A9999ZZ"), "{}", ran.stderr);
        let made = entries_since(&ledger, before).await;
        assert_eq!(made.len(), 1);
        assert_eq!((made[0].operation.as_str(), &made[0].prisoners[..]), (tool, &["A9999ZZ".to_owned()][..]));
    }
}

#[tokio::test]
async fn a_copy_of_the_log_has_an_entry_with_its_range() {
    let ledger = Ledger::start_all_roles().await;
    ledger.tier("A1111AA").await;
    let head = ledger.event_count().await.cast_signed();
    let (target, [_, source]) = (bare_database().await, ledger.database.store.arguments());
    let ran = run(&["copy", "--from", &source, "--to", &target.url, "--views", &ledger.database.url]).await;
    assert!(ran.status.success() && !ran.stderr.contains("access log"), "{}", ran.stderr);
    let made = entries(&ledger.database).await;
    let entry = made.last().expect("an entry");
    assert_eq!((entry.operation.as_str(), entry.filter.as_deref()), ("copy", Some("copy of the log")));
    assert_eq!((entry.after_position, entry.to_position), (Some(0), Some(head)));
    let target = bare_database().await;
    let ran = run(&["copy", "--from", &source, "--to", &target.url]).await;
    assert!(ran.status.success() && ran.stderr.contains("This read is not in the access log"), "{}", ran.stderr);
}

#[tokio::test]
async fn an_import_has_an_entry_with_the_cases_that_its_report_is_about() {
    let ledger = Ledger::start_all_roles().await;
    for number in ["A1111AA", "A1112AA"] {
        ledger.case(number, SHAH).await;
    }
    let files = DataDir::new();
    let path = files.path().join("cases.csv");
    std::fs::write(&path, format!("{HEADINGS}{ROWS}")).expect("write the file");
    let file = path.to_str().expect("UTF-8");
    let import = ["import", "spreadsheet", file, "--prison", "LEI", "--go-live", "2019-07-01", "--json"];
    let [sheet, compared] = [&["A0002BC", "A1111AA"][..], &["A0002BC", "A1111AA", "A1112AA"]];
    for (more, expected) in [("--dry-run", sheet), ("--compare", compared)] {
        let before = entries(&ledger.database).await.len();
        let ran = run_on(&ledger, &[&import[..], &[more]].concat()).await;
        assert!(!ran.stderr.contains("access log"), "{more}: {}", ran.stderr);
        let made = entries_since(&ledger, before).await;
        assert_eq!(made.len(), 1, "{more}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(made[0].operation, "import spreadsheet");
        assert_eq!(made[0].prisoners, expected, "{more}");
    }
}

/// Imports the rows, and answers the run.
async fn import_rows(ledger: &Ledger, files: &DataDir) -> String {
    let path = files.path().join("cases.csv");
    std::fs::write(&path, format!("{HEADINGS}{ROWS}")).expect("write the file");
    let file = path.to_str().expect("UTF-8");
    let ran = run_on(ledger, &["import", "spreadsheet", file, "--prison", "LEI", "--json"]).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    let named = ran.stderr.lines().find_map(|line| line.strip_prefix("Run ")?.split(':').next());
    named.expect("the run").to_owned()
}

#[tokio::test]
async fn each_import_that_records_and_its_undo_have_an_entry() {
    let ledger = Ledger::start_all_roles().await;
    let files = DataDir::new();
    let import_run = import_rows(&ledger, &files).await;
    let path = files.path().join("contacts.csv");
    std::fs::write(&path, "Prisoner number,Staff ID,Name,Contact type\nA0003BC,485926,\"Okafor, Grace\",POM\n")
        .expect("write the file");
    let contacts = ["import", "nomis-contacts", path.to_str().expect("UTF-8"), "--prison", "LEI"];
    for tool in [&contacts[..], &["import", "undo", &import_run]] {
        let ran = run_on(&ledger, tool).await;
        assert!(ran.status.success(), "{tool:?}: {}{}", ran.stdout, ran.stderr);
    }
    let made = entries(&ledger.database).await;
    let made: Vec<_> = made.iter().map(|entry| (&*entry.operation, entry.prisoners.join(" "))).collect();
    let expected = [
        ("import spreadsheet", "A0002BC A1111AA"),
        ("import nomis-contacts", "A0003BC"),
        ("import undo", "A0002BC A1111AA"),
    ];
    assert_eq!(made, expected.map(|(tool, numbers)| (tool, numbers.to_owned())));
}

#[tokio::test]
async fn an_undo_that_could_have_no_entry_voids_nothing() {
    let ledger = Ledger::start_all_roles().await;
    let import_run = import_rows(&ledger, &DataDir::new()).await;
    let before = ledger.event_count().await;
    let [_, store] = ledger.database.store.arguments();
    let ran = run(&["import", "undo", &import_run, "--event-store", &store, "--views", "no-url"]).await;
    assert!(!ran.status.success() && ran.stderr.contains("--views"), "{}", ran.stderr);
    assert_eq!(ledger.event_count().await, before);
}

#[tokio::test]
async fn what_the_views_leave_out_or_hold_wrongly_has_an_entry_where_it_is_named() {
    let ledger = Ledger::start_all_roles().await;
    for number in ["A1111AA", "A1112AA"] {
        ledger.tier(number).await;
    }
    ask(&ledger, "/projections").await;
    let before = entries(&ledger.database).await.len();
    for tool in [["projections", "status"], ["projections", "verify"]] {
        assert!(run_on(&ledger, &tool).await.status.success());
    }
    assert_eq!(entries(&ledger.database).await.len(), before, "no person is named");
    sqlx::raw_sql(
        "UPDATE views.case_period SET tier = 'A' WHERE prisoner_number = 'A1111AA';
         INSERT INTO views.stream_aside
         VALUES ('prisoner-A1112AA', 'A1112AA', NULL, 2, 0, gen_random_uuid(), 'TierAssigned', NULL, '23514', 'a mistake')",
    )
    .execute(&ledger.database.pool)
    .await
    .expect("damage");
    for (tool, expected) in
        [(["projections", "status"], &["A1112AA"][..]), (["projections", "verify"], &["A1111AA", "A1112AA"])]
    {
        let before = entries(&ledger.database).await.len();
        let ran = run_on(&ledger, &tool).await;
        assert!(expected.iter().all(|number| ran.stdout.contains(number)), "{}{}", ran.stdout, ran.stderr);
        let made = entries_since(&ledger, before).await;
        assert_eq!(made.len(), 1, "{tool:?}");
        assert_eq!(
            (made[0].operation.as_str(), &made[0].prisoners[..]),
            (&*tool.join(" "), &expected.iter().map(|number| (*number).to_owned()).collect::<Vec<_>>()[..])
        );
    }
}
