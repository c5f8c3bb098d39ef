//! One run of an import after another: what the events say of a run, undoing it, and importing its
//! rows again.

use std::collections::BTreeMap;

use domain::{
    Event, Stream,
    officer::PomStatus,
    prison::PrisonEvent,
    prisoner::{History, State},
};
use event_log::{StoredEvent, history::push};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{DataDir, TestDatabase, ToolOutput, database, run, whole_log::read_stored};

pub(super) const HEADINGS: &str = "NOMS no,Tier,POM,Staff id,Type,Date allocated\n";

/// A prison's sheets, and the ledger that they are imported into.
pub(super) struct Office {
    pub(super) database: TestDatabase,
    pub(super) dir: DataDir,
}

impl Office {
    pub(super) async fn new() -> Self {
        Self { database: database().await, dir: DataDir::new() }
    }

    pub(super) async fn tool(&self, arguments: &[&str]) -> ToolOutput {
        let stores = self.database.arguments();
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        run(&[arguments, &stores].concat()).await
    }

    /// Runs an import of these rows of the prison LEI.
    pub(super) async fn import(&self, rows: &str, more: &[&str]) -> ToolOutput {
        self.import_sheet(&format!("{HEADINGS}{rows}"), more).await
    }

    pub(super) async fn import_sheet(&self, sheet: &str, more: &[&str]) -> ToolOutput {
        let file = self.dir.path().join("LEI cases.csv");
        std::fs::write(&file, sheet).expect("write a file");
        let file = file.to_str().expect("a path in UTF-8");
        self.tool(&[&["import", "spreadsheet", file, "--prison", "LEI", "--json"], more].concat()).await
    }

    /// Imports rows into a prison that joins by that, and answers the run.
    pub(super) async fn import_first(&self, rows: &str) -> String {
        self.import(rows, &["--go-live", "2019-07-01", "--recorded-by", "Mary.O'Neil@justice.gov.uk"]).await.run()
    }

    pub(super) async fn events(&self) -> Vec<StoredEvent> {
        read_stored(&*self.database.log().await).await
    }

    pub(super) async fn states(&self) -> BTreeMap<String, State> {
        let mut cases = BTreeMap::new();
        for stored in self.events().await {
            if let Stream::Prisoner(number) = &stored.stream {
                let case = cases.entry(number.to_string()).or_insert_with(|| History::new(number.clone()));
                push(case, stored.entry).expect("the next event of the case");
            }
        }
        cases.into_iter().map(|(number, case)| (number, case.state())).collect()
    }

    /// The staff id of the POM who holds each case, and the tier.
    pub(super) async fn holders(&self) -> BTreeMap<String, String> {
        let states = self.states().await.into_iter();
        let holder = |state: State| {
            let pom = state.primary_staff_id().map_or("-".to_owned(), |id| id.to_string());
            format!("{pom} {}", state.tier.map_or("-".to_owned(), |held| held.tier.to_string()))
        };
        states.map(|(number, state)| (number, holder(state))).collect()
    }
}

pub(super) trait Ran {
    fn lines(&self) -> Vec<Value>;
    fn run(&self) -> String;
}

impl Ran for ToolOutput {
    #[track_caller]
    fn lines(&self) -> Vec<Value> {
        assert!(self.status.success(), "{}", self.stderr);
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The run that the import names on standard error.
    #[track_caller]
    fn run(&self) -> String {
        let named = self.stderr.lines().find_map(|line| line.strip_prefix("Run ")?.split(':').next());
        named.unwrap_or_else(|| panic!("{}\n{}", self.stdout, self.stderr)).to_owned()
    }
}

pub(super) fn outcomes(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["outcome"].as_str().expect("an outcome")).collect()
}

const TWO_CASES: &str = "A0001BC,C,\"Shah, Priya\",485928,PRO,01/07/2019\n\
                         A0002BC,B,\"Okafor, Grace\",485926,PO,01/10/2019\n";

#[tokio::test]
async fn an_imported_event_names_its_file_sheet_row_and_run_and_its_recorder() {
    let office = Office::new().await;
    let run = office.import_first(TWO_CASES).await;
    let digest = |cells: [&str; 6]| {
        let digest = Sha256::digest(serde_json::to_vec(&cells).expect("JSON"));
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let of_row_2 = digest(["A0001BC", "C", "Shah, Priya", "485928", "PRO", "01/07/2019"]);
    let of_row_3 = digest(["A0002BC", "B", "Okafor, Grace", "485926", "PO", "01/10/2019"]);
    let events = office.events().await;
    assert_eq!(events.len(), 7);
    for event in &events {
        let metadata = serde_json::to_value(&event.metadata).expect("JSON");
        let mut expected = json!({"file": "LEI cases.csv", "sheet": "LEI cases", "run": run});
        // Those of a prison have nothing that is computed from the numbers in the file.
        if let Stream::Prisoner(number) = &event.stream {
            let (row, digest) = if number.as_str() == "A0001BC" { (2, &of_row_2) } else { (3, &of_row_3) };
            (expected["row"], expected["rowSha256"]) = (json!(row), json!(digest));
        }
        assert_eq!(metadata["provenance"], expected, "{metadata}");
        assert_eq!(metadata["correlationId"], json!(run), "random, and not made of the file");
        assert_eq!(metadata["recordedBy"]["username"], "MARY.O'NEIL@JUSTICE.GOV.UK");
    }
    let history = office.tool(&["history", "A0002BC"]).await.stdout;
    let named = format!("from LEI cases.csv, sheet LEI cases, row 3; run {run}, SHA-256 of the row {of_row_3}");
    assert!(history.contains(&named), "{history}");
    assert!(history.contains(" by MARY.O'NEIL@JUSTICE.GOV.UK with allocation-ledger import"), "{history}");
}

/// Such a digest would tell the second number to a reader who has the rest of the row.
#[tokio::test]
async fn the_digest_of_a_row_that_names_a_second_prisoner_is_left_out() {
    let office = Office::new().await;
    let sheet = "NOMS no,Tier,POM,Staff id,Type,Date allocated,Cellmates\n\
                 A0001BC,C,\"Shah, Priya\",485928,PRO,01/07/2019,\n\
                 A0002BC,B,\"Okafor, Grace\",485926,PO,01/10/2019,with a1234bc\n\
                 A0003 BC,B,\"Okafor, Grace\",485926,PO,01/10/2019,with A1234BC\n";
    office.import_sheet(sheet, &["--go-live", "2019-07-01"]).await.run();
    let mut told = Vec::new();
    for event in office.events().await {
        if let Stream::Prisoner(number) = &event.stream {
            let provenance = event.metadata.provenance.expect("a provenance");
            told.push((number.to_string(), provenance.row_sha256.is_some()));
        }
    }
    for (number, has_digest) in [("A0001BC", true), ("A0002BC", false), ("A0003BC", false)] {
        assert!(told.contains(&(number.to_owned(), has_digest)), "{number}: {told:?}");
    }
    assert!(told.iter().all(|(number, has_digest)| *has_digest == (number == "A0001BC")), "{told:?}");
}

#[tokio::test]
async fn an_import_without_a_recorder_says_that_no_user_was_named() {
    let office = Office::new().await;
    office.import(TWO_CASES, &["--go-live", "2019-07-01"]).await.run();
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
    let dry = office.import(TWO_CASES, &["--dry-run"]).await;
    assert!(dry.stderr.contains("The import asks whether it is right"), "{}", dry.stderr);

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

#[tokio::test]
async fn an_import_that_is_undone_can_be_imported_again() {
    let office = Office::new().await;
    let run = office.import_first(TWO_CASES).await;
    let undo = ["import", "undo", &run, "--json"];
    let dry = office.tool(&[&undo[..], &["--dry-run"]].concat()).await.lines();
    let expected = ["would-void"; 4].into_iter().chain(["would-become-inactive"; 2]).chain(["kept"]);
    assert_eq!(outcomes(&dry), expected.collect::<Vec<_>>());
    assert_eq!(office.events().await.len(), 7, "a dry run records nothing");

    let undone = office.tool(&undo).await.lines();
    let expected = ["voided"; 4].into_iter().chain(["inactive"; 2]).chain(["kept"]);
    assert_eq!(outcomes(&undone), expected.collect::<Vec<_>>());
    assert_eq!(undone[6]["goLiveDate"], "2019-07-01");
    let states = office.states().await;
    assert!(states.values().all(|state| *state == State::default()), "{states:?}");
    let statuses = office.events().await.into_iter().filter_map(|event| match event.entry.event {
        Event::Prison(PrisonEvent::PomStatusChanged(changed)) => Some((changed.status, changed.reason)),
        _ => None,
    });
    let undone_status = (PomStatus::Inactive, Some("import undone".to_owned()));
    assert_eq!(statuses.collect::<Vec<_>>(), [undone_status.clone(), undone_status]);
    let again = office.tool(&undo).await.lines();
    assert_eq!(again, undone, "an undo that is repeated has the same report");

    let imported = office.import(TWO_CASES, &[]).await;
    assert_eq!(outcomes(&imported.lines()), ["recorded", "recorded"]);
    let warning = &imported.lines()[0]["warnings"][0];
    let said = "an earlier import recorded this row as entry 1, which was voided since (import undone)";
    assert_eq!(warning, said);
    assert!(imported.stderr.contains("Shah, Priya (staff id 485928) is active again"), "{}", imported.stderr);
    let holders = office.holders().await;
    assert_eq!(holders["A0001BC"], "485928 C");
    assert_eq!(holders["A0002BC"], "485926 B");
    assert_eq!(outcomes(&office.import(TWO_CASES, &[]).await.lines()), ["already-recorded"; 2]);

    // The second run is another one, and is undone in the same way.
    let second = imported.run();
    assert_ne!(second, run);
    office.tool(&["import", "undo", &second]).await;
    assert!(office.states().await.values().all(|state| state.primary_pom.is_none()));
    assert_eq!(outcomes(&office.import(TWO_CASES, &[]).await.lines()), ["recorded", "recorded"]);
}

#[tokio::test]
async fn an_undo_keeps_what_later_entries_depend_on_and_says_so() {
    let office = Office::new().await;
    let run = office.import_first(TWO_CASES).await;
    // Another run moves one of the cases, and gives a new one to a POM of the first run.
    let moved = TWO_CASES.replace("\"Shah, Priya\",485928", "\"Novak, Jan\",485929");
    let moved = format!("{moved}A0003BC,B,\"Okafor, Grace\",485926,PO,02/12/2019\n");
    let later = office.import(&moved, &["--apply", "2020-01-06"]).await.run();
    assert_eq!(office.holders().await["A0001BC"], "485929 C");

    let ran = office.tool(&["import", "undo", &run]).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    for part in [
        "2 entries of cases voided, 2 not.",
        "The later entry 2 (Reallocated, effective 6 January 2020) would no longer be possible",
        "Okafor, Grace (staff id 485926) at LEI holds 1 case and stays on the roster.",
        "Shah, Priya (staff id 485928) at LEI stays on the roster: an entry of 1 case still names the POM",
        "LEI stays on OMiC with go-live date 2019-07-01",
    ] {
        assert!(ran.stdout.contains(part) || ran.stdout.replace('\n', " ").contains(part), "{part}: {}", ran.stdout);
    }
    let holders = office.holders().await;
    assert_eq!((holders["A0001BC"].as_str(), holders["A0002BC"].as_str()), ("485929 C", "- -"));

    // Undone in the order last first, all of it goes.
    for run in [&later, &run] {
        assert!(office.tool(&["import", "undo", run]).await.status.success());
    }
    assert!(office.holders().await.values().all(|holder| holder == "- -"));
    let nowhere = office.tool(&["import", "undo", "7d3f0b0e-7f3a-4a58-9d10-3c2b7d8b6c11"]).await;
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(nowhere.stderr.contains("the run that the import named on standard error"), "{}", nowhere.stderr);
}

#[tokio::test]
async fn an_import_names_its_run_once_and_before_it_records_and_only_where_it_does() {
    let office = Office::new().await;
    let named = |ran: &ToolOutput| format!("{}{}", ran.stdout, ran.stderr).matches("Run ").count();
    let dry = office.import(TWO_CASES, &["--go-live", "2019-07-01", "--dry-run"]).await;
    assert_eq!((dry.lines().len(), named(&dry)), (2, 0), "{}", dry.stderr);
    let first = office.import(TWO_CASES, &["--go-live", "2019-07-01"]).await;
    let sentence = format!("Run {run}: `allocation-ledger import undo {run}` takes it back.", run = first.run());
    assert_eq!(first.stderr.lines().next(), Some(sentence.as_str()), "before the report");
    assert_eq!(named(&first), 1, "{}", first.stderr);
    let again = office.import(TWO_CASES, &[]).await;
    assert_eq!((outcomes(&again.lines()), named(&again)), (vec!["already-recorded"; 2], 0), "{}", again.stderr);

    // A run that records that a case left, and nothing else, is named too.
    let row = TWO_CASES.lines().next().expect("a row");
    let released = ["--apply", "2020-01-06", "--released", "A0002BC=2020-01-02"];
    let dry = office.import(row, &[&released[..], &["--dry-run"]].concat()).await;
    assert_eq!((outcomes(&dry.lines()), named(&dry)), (vec!["would-record"], 0), "{}", dry.stderr);
    let left = office.import(row, &released).await;
    assert_eq!((outcomes(&left.lines()), named(&left)), (vec!["recorded"], 1), "{}", left.stderr);
    assert!(left.stderr.starts_with(&format!("Run {}: ", left.run())), "{}", left.stderr);
}
