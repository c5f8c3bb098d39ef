//! One run of an import: the file, the sheet, the row, the run and the recorder that its events
//! name, and the prison that joins by it.

use domain::Stream;
use event_log::StoredEvent;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{DataDir, TestDatabase, ToolOutput, database, run, whole_log::read_stored};

const HEADINGS: &str = "NOMS no,Tier,POM,Staff id,Type,Date allocated\n";

/// A prison's sheets, and the ledger that they are imported into.
struct Office {
    database: TestDatabase,
    dir: DataDir,
}

impl Office {
    async fn new() -> Self {
        Self { database: database().await, dir: DataDir::new() }
    }

    async fn tool(&self, arguments: &[&str]) -> ToolOutput {
        let stores = self.database.arguments();
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        run(&[arguments, &stores].concat()).await
    }

    /// Runs an import of these rows of the prison LEI.
    async fn import(&self, rows: &str, more: &[&str]) -> ToolOutput {
        let file = self.dir.path().join("LEI cases.csv");
        std::fs::write(&file, format!("{HEADINGS}{rows}")).expect("write a file");
        let file = file.to_str().expect("a path in UTF-8");
        self.tool(&[&["import", "spreadsheet", file, "--prison", "LEI", "--json"], more].concat()).await
    }

    async fn events(&self) -> Vec<StoredEvent> {
        read_stored(&*self.database.log().await).await
    }
}

const TWO_CASES: &str = "A0001BC,C,\"Shah, Priya\",485928,PRO,01/07/2019\n\
                         A0002BC,B,\"Okafor, Grace\",485926,PO,01/10/2019\n";

#[tokio::test]
async fn an_imported_event_names_its_file_sheet_row_and_run_and_its_recorder() {
    let office = Office::new().await;
    let recorder = ["--go-live", "2019-07-01", "--recorded-by", "Mary.O'Neil@justice.gov.uk"];
    assert!(office.import(TWO_CASES, &recorder).await.status.success());
    let digest = Sha256::digest(format!("{HEADINGS}{TWO_CASES}"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let events = office.events().await;
    assert_eq!(events.len(), 7);
    let run = events[0].metadata.provenance.as_ref().expect("a provenance").run;
    for event in &events {
        let metadata = serde_json::to_value(&event.metadata).expect("JSON");
        let row = match &event.stream {
            Stream::Prison(_) => Value::Null,
            Stream::Prisoner(number) => json!(if number.as_str() == "A0001BC" { 2 } else { 3 }),
        };
        let mut expected =
            json!({"file": "LEI cases.csv", "sha256": digest, "sheet": "LEI cases", "row": row, "run": run});
        if row.is_null() {
            expected.as_object_mut().expect("an object").remove("row");
        }
        assert_eq!(metadata["provenance"], expected, "{metadata}");
        assert_eq!(metadata["recordedBy"]["username"], "MARY.O'NEIL@JUSTICE.GOV.UK");
    }
    let history = office.tool(&["history", "A0002BC"]).await.stdout;
    let named = format!("from LEI cases.csv, sheet LEI cases, row 3; run {run}, SHA-256 {digest}");
    assert!(history.contains(&named), "{history}");
    assert!(history.contains(" by MARY.O'NEIL@JUSTICE.GOV.UK with allocation-ledger import"), "{history}");
}

#[tokio::test]
async fn an_import_without_a_recorder_says_that_no_user_was_named() {
    let office = Office::new().await;
    assert!(office.import(TWO_CASES, &["--go-live", "2019-07-01"]).await.status.success());
    for event in office.events().await {
        let metadata = serde_json::to_value(&event.metadata).expect("JSON");
        assert_eq!(metadata["recordedBy"], json!({"username": null, "client": "allocation-ledger import"}));
    }
    let history = office.tool(&["history", "A0002BC"]).await.stdout;
    assert!(history.contains(" by no named user with allocation-ledger import"), "{history}");
    let wrong = office.import(TWO_CASES, &["--recorded-by", "Mary Smith"]).await;
    assert_eq!(wrong.status.code(), Some(2), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("is not a username"), "{}", wrong.stderr);
}

#[tokio::test]
async fn a_new_prison_needs_a_go_live_date_and_a_code_that_is_listed() {
    let office = Office::new().await;
    let refused = office.import(TWO_CASES, &[]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
    for part in ["LEI (Leeds) is new to this ledger", "--go-live DATE", "earliest date in the sheet is 2019-07-01"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    assert!(office.events().await.is_empty(), "nothing is recorded");

    let file = office.dir.path().join("cases.csv");
    std::fs::write(&file, format!("{HEADINGS}{TWO_CASES}")).expect("write a file");
    let file = file.to_str().expect("a path in UTF-8");
    let import = ["import", "spreadsheet", file, "--prison", "LEE", "--go-live", "2019-07-01"];
    let refused = office.tool(&import).await;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("LEI (Leeds)"), "{}", refused.stderr);
    assert!(office.events().await.is_empty(), "nothing is recorded");
    let unlisted = office.tool(&[&import[..], &["--unlisted-prison"]].concat()).await;
    assert!(unlisted.stdout.contains("2 recorded"), "{}\n{}", unlisted.stdout, unlisted.stderr);
    // The ledger has it by now.
    let again = office.tool(&import).await;
    assert!(again.stdout.contains("2 already recorded before"), "{}\n{}", again.stdout, again.stderr);
    let other_date = office.tool(&["import", "spreadsheet", file, "--prison", "LEE", "--go-live", "2019-06-01"]).await;
    assert!(other_date.stderr.contains("go-live date 2019-07-01 already"), "{}", other_date.stderr);
}
