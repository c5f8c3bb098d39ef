//! Files with odd values in every column, from the command line to the views: what is recorded is
//! recorded whole and every view can hold it, and what is refused leaves nothing behind.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{
    DataDir, database,
    projections::{count, project},
    run,
    whole_log::read_stored,
};

const ODD_VALUES: [&str; 44] = [
    "",
    "\u{feff}",
    "\u{202e}",
    "a\u{202e}b",
    "\u{3164}\u{e0041}",
    "\u{1b}[2J",
    "\u{7}",
    "\u{9b}",
    "\u{85}",
    "\u{2028}",
    "\u{ffff}",
    "a\tb",
    "a\r\nb",
    "=1+1",
    "=HYPERLINK(\"x\")",
    "@x",
    "+5",
    "-1",
    "1e3",
    "1e400",
    "NaN",
    "0",
    "485926.0",
    "٤٨٥٩٢٦",
    "9007199254740992",
    "31/12/9999",
    "31/12/1899",
    "31/02/2019",
    "01/13/2019",
    "43739",
    "43739.99999",
    "-43739",
    "2019-10-01T23:59:60Z",
    "2019-10-01T23:30:00-23:59",
    "01/10/2019 99:99",
    "Total",
    "TRUE",
    "#N/A",
    "'",
    "\"",
    "NULL",
    "\\N",
    "\\.",
    "{\"a\":1}",
];

/// A file of rows, each with one odd value, and a good row after them.
fn file_of(headings: &[&str], good: impl Fn(usize) -> Vec<String>) -> (String, usize) {
    let mut rows = vec![headings.iter().map(|heading| (*heading).to_owned()).collect()];
    let long = "x".repeat(50_000);
    for value in ODD_VALUES.into_iter().chain([long.as_str()]) {
        for column in 0..headings.len() {
            let mut row = good(rows.len());
            value.clone_into(&mut row[column]);
            rows.push(row);
        }
    }
    rows.push(good(rows.len()));
    let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
    let lines: Vec<String> = rows.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(",")).collect();
    (lines.join("\r\n"), rows.len() - 1)
}

/// Checks each line of a report, and answers the numbers that were recorded and those refused.
fn check_report(report: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut recorded, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for line in report.lines() {
        assert!(line.len() < 4_000, "{:.4000}", line);
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let number = line["prisonerNumber"].as_str().map(str::to_owned);
        match line["outcome"].as_str() {
            Some("recorded") => assert!(recorded.insert(number.expect("a number")), "{line}"),
            Some("refused") => {
                assert!(
                    line["row"].is_u64() && line["reason"].as_str().is_some_and(|reason| reason.len() > 10),
                    "{line}"
                );
                refused.extend(number);
            }
            _ => panic!("{line}"),
        }
    }
    (recorded, refused)
}

#[tokio::test]
async fn odd_values_in_a_spreadsheet_are_recorded_whole_or_refused() {
    let database = database().await;
    let dir = DataDir::new();
    let headings = ["NOMS no", "Tier", "POM", "Staff id", "Type", "Date allocated", "Notes"];
    let good = |number: usize| {
        let cells = [&*format!("A{number:04}BC"), "A", "Okafor, Grace", "485926", "PO", "31/10/2019", "known"];
        cells.map(str::to_owned).to_vec()
    };
    let (text, rows) = file_of(&headings, good);
    let file = dir.path().join("cases.csv");
    std::fs::write(&file, text).expect("write a file");
    let file = file.to_str().expect("a path in UTF-8");
    let stores = database.store.arguments();
    let import: Vec<&str> = ["import", "spreadsheet", file, "--prison", "LEI", "--go-live", "2019-10-01", "--json"]
        .into_iter()
        .chain(stores.iter().map(String::as_str))
        .collect();
    let ran = run(&import).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    let (recorded, refused) = check_report(&ran.stdout);
    assert!(recorded.contains(&format!("A{rows:04}BC")), "the good row is recorded");
    assert!(recorded.len() > 60 && refused.len() > 100, "{} and {}", recorded.len(), refused.len());

    let log = database.log().await;
    let mut types = std::collections::BTreeMap::<String, Vec<&str>>::new();
    for event in read_stored(&*log).await {
        types.entry(event.stream.to_string()).or_default().push(event.entry.event.type_name());
    }
    let cases: BTreeSet<String> =
        types.keys().filter_map(|stream| stream.strip_prefix("prisoner-")).map(str::to_owned).collect();
    assert_eq!(cases, recorded, "a refused row leaves nothing behind");
    for number in &recorded {
        assert_eq!(types[&format!("prisoner-{number}")], ["TierAssigned", "AllocationMade"], "{number}");
    }
    project(&log, &database.pool).await;
    assert_eq!(count(&database.pool, "SELECT count(*) FROM views.stream_aside").await, 0);
    let held = "SELECT count(DISTINCT prisoner_number) FROM views.case_period WHERE prison = 'LEI'";
    assert_eq!(count(&database.pool, held).await, i64::try_from(recorded.len()).expect("few cases"));
}

#[tokio::test]
async fn odd_values_in_a_list_of_contacts_are_recorded_or_refused() {
    let database = database().await;
    let dir = DataDir::new();
    let good =
        |number: usize| [&*format!("A{number:04}BC"), "485926", "Okafor, Grace", "POM"].map(str::to_owned).to_vec();
    let (text, _) = file_of(&["Prisoner number", "Staff ID", "Name", "Contact type"], good);
    let file = dir.path().join("contacts.csv");
    std::fs::write(&file, text).expect("write a file");
    let file = file.to_str().expect("a path in UTF-8");
    let stores = database.store.arguments();
    let import: Vec<&str> = ["import", "nomis-contacts", file, "--prison", "LEI", "--json", "--complete"]
        .into_iter()
        .chain(stores.iter().map(String::as_str))
        .collect();
    let ran = run(&import).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    let (recorded, refused) = check_report(&ran.stdout);
    assert!(recorded.len() > 50 && refused.len() > 40, "{} and {}", recorded.len(), refused.len());
    let log = database.log().await;
    assert_eq!(read_stored(&*log).await.len(), recorded.len(), "one event a contact");
    project(&log, &database.pool).await;
    assert_eq!(count(&database.pool, "SELECT count(*) FROM views.stream_aside").await, 0);
    let held = count(&database.pool, "SELECT count(*) FROM views.nomis_contact").await;
    assert_eq!(held, i64::try_from(recorded.len()).expect("few contacts"));
}
