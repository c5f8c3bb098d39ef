//! The files that an import reads and writes: the file of the refused rows, the remarks on how a
//! file was read, and the prison that its rows are of.

use std::{os::unix::fs::PermissionsExt as _, process::Stdio};

use serde_json::json;

use super::import_runs::{HEADINGS, Office, Ran as _};
use crate::support::spawn;

/// A case, and a row that is refused.
const ROWS: &str = "A0001BC,C,\"Shah, Priya\",485928,PRO,01/07/2019\nA0002BC,,\"Shah, Priya\",485928,PRO,01/07/2019\n";

#[tokio::test]
async fn the_file_of_refused_rows_is_written_once_they_are_known() {
    let office = Office::new().await;
    let path = office.dir.path().join("refused.csv");
    let to_file = ["--refused", path.to_str().expect("a path in UTF-8")];
    let unconfirmed = office.import(ROWS, &to_file).await;
    assert!(unconfirmed.stderr.contains("--go-live DATE"), "{}", unconfirmed.stderr);
    assert!(!path.exists(), "no row is refused or recorded");
    std::fs::write(&path, "the rows of last month").expect("write a file");
    office.import(ROWS, &to_file).await;
    assert_eq!(std::fs::read_to_string(&path).expect("read the file"), "the rows of last month");

    std::fs::remove_file(&path).expect("remove the file");
    office.import(ROWS, &[&to_file[..], &["--go-live", "2019-07-01"]].concat()).await.run();
    let rows = std::fs::read_to_string(&path).expect("read the file");
    assert!(rows.lines().count() == 2 && rows.contains("A0002BC"), "{rows}");
    let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it has names of people");
    let nowhere = office.import(ROWS, &["--refused", "/nowhere/refused.csv"]).await;
    assert!(nowhere.stderr.contains("create /nowhere/refused.csv for the refused rows"), "{}", nowhere.stderr);
}

#[tokio::test]
async fn a_report_in_json_has_the_remarks_on_the_reading() {
    let office = Office::new().await;
    let hidden = concat!(env!("CARGO_MANIFEST_DIR"), "/data/spreadsheets/odd/hidden-rows.xlsx");
    let import = ["import", "spreadsheet", hidden, "--prison", "LEI", "--go-live", "2019-01-01", "--json"];
    for more in [&["--dry-run"][..], &["--compare"], &["--apply", "2020-01-06", "--dry-run"]] {
        let lines = office.tool(&[&import[..], more].concat()).await.lines();
        let remarks = &lines[0]["reading"]["remarks"];
        assert_eq!(*remarks, json!(["Row 3 is hidden in the sheet, and was read like the others."]), "{more:?}");
        assert_eq!(lines[1]["reading"], json!(null), "said once");
    }
    let two_sheets = concat!(env!("CARGO_MANIFEST_DIR"), "/data/spreadsheets/odd/two-tiers.csv");
    let import = ["import", "spreadsheet", two_sheets, "--prison", "LEI", "--compare", "--json"];
    let lines = office.tool(&import).await.lines();
    let columns = lines[0]["reading"]["columns"].as_array().expect("columns").clone();
    let unread = columns.iter().find(|column| column["column"] == "G").expect("the second column of tiers");
    assert_eq!(unread["note"], "column B was taken for the tier");

    let contacts = office.dir.path().join("contacts.csv");
    std::fs::write(&contacts, "Prisoner number,Staff ID,Contact type\nA0001BC,485926,POM\n").expect("write a file");
    let contacts = contacts.to_str().expect("a path in UTF-8");
    let lines = office.tool(&["import", "nomis-contacts", contacts, "--prison", "LEI", "--json"]).await.lines();
    assert_eq!(lines[0]["reading"]["columns"][1]["field"], "staffId");
}

#[tokio::test]
async fn contacts_of_nomis_do_not_make_a_prison_that_is_on_omic() {
    let office = Office::new().await;
    let contacts = office.dir.path().join("contacts.csv");
    std::fs::write(&contacts, "Prisoner number,Staff ID,Contact type\nA0001BC,485926,POM\n").expect("write a file");
    let contacts = ["import", "nomis-contacts", contacts.to_str().expect("a path in UTF-8"), "--prison", "LEE"];
    let seen = office.tool(&[&contacts[..], &["--unlisted-prison"]].concat()).await;
    assert!(seen.stdout.contains("1 recorded"), "{}{}", seen.stdout, seen.stderr);

    let cases = office.dir.path().join("cases.csv");
    std::fs::write(&cases, format!("{HEADINGS}{ROWS}")).expect("write a file");
    let cases = cases.to_str().expect("a path in UTF-8");
    let import = ["import", "spreadsheet", cases, "--prison", "LEE", "--go-live", "2019-07-01"];
    let refused = office.tool(&import).await;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stdout);
    assert!(
        refused.stderr.contains("LEI (Leeds)") && refused.stderr.contains("--unlisted-prison"),
        "{}",
        refused.stderr
    );
    let unlisted = office.tool(&[&import[..], &["--unlisted-prison"]].concat()).await;
    assert!(unlisted.stdout.contains("1 recorded, 1 refused"), "{}{}", unlisted.stdout, unlisted.stderr);
    assert!(office.tool(&contacts).await.stdout.contains("1 already recorded"), "the ledger has it by now");
}

/// `/dev/full` is a disk without room. It is written to and never replaced.
#[tokio::test]
async fn a_report_says_what_was_recorded_although_the_file_of_refused_rows_cannot_be_written() {
    let office = Office::new().await;
    let full = ["--refused", "/dev/full"];
    let imported = office.import(ROWS, &[&full[..], &["--go-live", "2019-07-01"]].concat()).await;
    let compared = office.import(ROWS, &[&full[..], &["--apply", "2020-01-06"]].concat()).await;
    for (ran, outcome) in [(imported, "\"outcome\":\"recorded\""), (compared, "\"outcome\":\"refused\"")] {
        assert_eq!(ran.status.code(), Some(1), "{}", ran.stderr);
        assert!(ran.stdout.contains(outcome), "{}", ran.stdout);
        for part in ["what it says was recorded is recorded", "/dev/full", "No space left"] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
    }
    assert_eq!(office.holders().await.len(), 1);
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_failure_of_an_import() {
    let office = Office::new().await;
    let (cases, contacts) = (office.dir.path().join("cases.csv"), office.dir.path().join("contacts.csv"));
    std::fs::write(&cases, format!("{HEADINGS}{ROWS}")).expect("write a file");
    std::fs::write(&contacts, "Prisoner number,Staff ID,Contact type\nA0001BC,485926,POM\n").expect("write a file");
    let (cases, contacts) = (cases.to_str().expect("UTF-8"), contacts.to_str().expect("UTF-8"));
    let stores = office.database.store.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let lose_reader = |command: &[&str]| {
        for more in [&[][..], &["--json"]] {
            let mut child = spawn(&[command, more, &stores].concat(), Stdio::piped());
            drop(child.stdout.take());
            let status = child.wait().expect("wait for the program");
            assert_eq!(status.code(), Some(0), "{command:?} {more:?}");
        }
    };
    lose_reader(&["import", "spreadsheet", cases, "--prison", "LEI", "--go-live", "2019-07-01"]);
    lose_reader(&["import", "spreadsheet", cases, "--prison", "LEI", "--apply", "2020-01-06"]);
    lose_reader(&["import", "nomis-contacts", contacts, "--prison", "LEI"]);
    lose_reader(&["nomis-contacts"]);
    assert_eq!(office.holders().await.len(), 1);
    let events = office.events().await;
    let provenance = events.iter().find_map(|event| event.metadata.provenance.as_ref()).expect("an imported event");
    lose_reader(&["import", "undo", &provenance.run.to_string(), "--dry-run"]);
}

/// Every event of an import has the names of its file and sheet, and each note is of one case.
#[tokio::test]
async fn an_import_names_no_prisoner_outside_of_the_prisoners_own_row() {
    let office = Office::new().await;
    let file = office.dir.path().join("moved with a0002bc.csv");
    for (kind, content, more) in [
        ("spreadsheet", format!("{HEADINGS}{ROWS}"), &["--go-live", "2019-07-01"][..]),
        ("nomis-contacts", "Prisoner number,Staff ID,Contact type\nA0001BC,485926,POM\n".to_owned(), &[]),
    ] {
        std::fs::write(&file, content).expect("write a file");
        let path = file.to_str().expect("a path in UTF-8");
        for more in [more, &[more, &["--dry-run"]].concat()] {
            let refused = office.tool(&[&["import", kind, path, "--prison", "LEI"], more].concat()).await;
            assert_eq!(refused.status.code(), Some(1), "{}", refused.stdout);
            let expected = "the name of the file, `moved with a0002bc.csv`, has a prisoner number in it";
            assert!(refused.stderr.contains(expected), "{}", refused.stderr);
        }
    }
    assert!(office.events().await.is_empty());

    let row = |number: &str, note: &str| format!("{number},C,\"Shah, Priya\",485928,PRO,01/07/2019,{note}\n");
    let rows = [row("A0001BC", "see A0001BC"), row("A0002BC", "brother of A0001BC")].concat();
    let sheet = format!("{},Note\n{rows}", HEADINGS.trim_end());
    let lines = office.import_sheet(&sheet, &["--go-live", "2019-07-01"]).await.lines();
    let outcomes: Vec<_> = lines.iter().filter_map(|line| line["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["recorded", "refused"], "{lines:?}");
    assert_eq!(lines[1]["code"], "text-names-prisoner", "{lines:?}");
}
