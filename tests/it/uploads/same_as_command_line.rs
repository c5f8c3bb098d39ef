//! Both doors have the same rules: what one shows and records, the other does.

use serde_json::{Value, json};

use super::{data, events_by_stream, record, report, rows, upload, wait_for};
use crate::support::{DataDir, TestDatabase, ToolOutput, database, ledger::Ledger, run, whole_log::read_stored};

const USER: &str = "HOMD_LEI";

async fn import(database: &TestDatabase, prison: &str, file: &str, more: &[&str]) -> ToolOutput {
    let path = data(file);
    let import = ["import", "spreadsheet", path.to_str().expect("UTF-8"), "--prison", prison, "--json"];
    let stores = database.store.arguments();
    run(&[&import[..], &["--recorded-by", USER], more, &stores.iter().map(String::as_str).collect::<Vec<_>>()].concat())
        .await
}

/// The counts of a report, as the state of an upload has them.
fn counts(lines: &[Value]) -> Value {
    let count = |outcome: &str| lines.iter().filter(|line| line["outcome"] == outcome).count();
    json!({
        "rows": lines.len(), "toRecord": count("would-record"), "recorded": count("recorded"),
        "alreadyRecorded": count("already-recorded"), "refused": count("refused"),
    })
}

async fn check_both_doors(prison: &str, file: &str) {
    let by_tool = database().await;
    let files = DataDir::new();
    let refused_file = files.path().join("refused.csv");
    let go_live = ["--go-live", "2000-01-01", "--refused", refused_file.to_str().expect("UTF-8")];
    let (dry, reading) = report(&import(&by_tool, prison, file, &[&go_live[..], &["--dry-run"]].concat()).await);
    let refused_csv = std::fs::read_to_string(&refused_file).expect("the refused rows");

    let ledger = Ledger::empty().await;
    let client = ledger.client();
    let bytes = std::fs::read(data(file)).expect("the file");
    let path = upload(client, prison, &format!("file-name={file}&go-live=2000-01-01"), bytes.clone()).await;
    let state = wait_for(client, &path, &["READ"]).await;
    assert_eq!(rows(client, &path, "limit=100").await, dry);
    assert_eq!(state["counts"], counts(&dry));
    for member in ["sheet", "headerRow", "columns", "notes", "remarks"] {
        assert_eq!(state["reading"][member], reading[member], "{member}");
    }
    let refused: Vec<Value> = dry.iter().filter(|line| line["outcome"] == "refused").cloned().collect();
    assert_eq!(state["refusedRows"].as_array().expect("rows")[..], refused[..refused.len().min(50)]);
    assert_eq!(rows(client, &path, "outcome=refused").await, refused);
    let answer = client.get(&format!("{path}/refused-rows")).await;
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(answer.text, refused_csv);
    assert!(ledger.events().await.is_empty(), "a dry run records nothing");

    let recorded = report(&import(&by_tool, prison, file, &go_live).await).0;
    let headers = [("X-Recorded-By", USER), ("Idempotency-Key", "0b5b2c5e-6e0a-4a0e-9c55-2a3c6d1f8e11")];
    let record_path = format!("{path}/recording");
    let begun = client.send(reqwest::Method::POST, &record_path, &headers, None).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let done = wait_for(client, &path, &["DONE"]).await;
    assert_eq!((&done["counts"], &done["run"]), (&counts(&recorded), &state["run"]));
    assert_eq!(rows(client, &path, "limit=1000").await, recorded);
    assert_eq!(client.get(&format!("{path}/refused-rows")).await.text, refused_csv);
    let events = ledger.events().await;
    let of_tool = read_stored(&*by_tool.log().await).await;
    assert_eq!(events_by_stream(&events), events_by_stream(&of_tool));

    // Twice is once: the same recording, the same file, and the other door.
    let again = client.send(reqwest::Method::POST, &record_path, &headers, None).await;
    assert_eq!((again.status.as_u16(), &again.body["state"]), (200, &json!("DONE")), "{}", again.text);
    let second = upload(client, prison, &format!("file-name={file}&dry-run=false"), bytes).await;
    let done = wait_for(client, &second, &["DONE"]).await;
    assert_eq!(done["counts"]["alreadyRecorded"], counts(&recorded)["recorded"]);
    let by_other_door = report(&import(&ledger.database, prison, file, &[]).await).0;
    assert_eq!(counts(&by_other_door)["alreadyRecorded"], counts(&recorded)["recorded"]);
    assert_eq!(ledger.events().await, events, "nothing is recorded twice");
}

#[tokio::test]
async fn an_excel_file_is_the_same_at_both_doors() {
    check_both_doors("LEI", "LEI-allocations.xlsx").await;
}

#[tokio::test]
async fn an_opendocument_file_is_the_same_at_both_doors() {
    check_both_doors("HDI", "HDI-allocations.ods").await;
}

#[tokio::test]
async fn a_csv_file_is_the_same_at_both_doors() {
    check_both_doors("MDI", "MDI-allocations.csv").await;
}

/// A POM whom an import has registered is on the roster from an earlier day, once an earlier case
/// of the POM comes, whichever doors they came by.
#[tokio::test]
async fn an_import_knows_the_poms_of_one_by_the_other_door() {
    let ledger = Ledger::empty().await;
    let client = ledger.client();
    let path =
        upload(client, "LEI", "file-name=a.csv&go-live=2019-01-01&dry-run=false", super::one_case("A0001BC")).await;
    wait_for(client, &path, &["DONE"]).await;
    let files = DataDir::new();
    let file = files.path().join("b.csv");
    std::fs::write(&file, super::one_case("A0002BC").replace("01/10/2019", "01/03/2019")).expect("write a file");
    let ran = import(&ledger.database, "LEI", file.to_str().expect("UTF-8"), &[]).await;
    assert_eq!(counts(&report(&ran).0)["recorded"], 1, "{}", ran.stdout);
    let path = upload(
        client,
        "LEI",
        "file-name=c.csv&dry-run=false",
        super::one_case("A0003BC").replace("01/10/2019", "01/02/2019"),
    );
    let done = wait_for(client, &path.await, &["DONE"]).await;
    assert_eq!(done["counts"]["recorded"], 1, "{done}");
}

#[tokio::test]
async fn a_new_prison_is_taken_onto_omic_with_a_date_that_the_caller_sends() {
    let ledger = Ledger::empty().await;
    let client = ledger.client();
    let path = upload(client, "LEI", "file-name=a.csv", super::one_case("A0001BC")).await;
    let state = wait_for(client, &path, &["READ"]).await;
    assert_eq!(state["plan"]["goLiveDate"], "2019-10-01");
    assert_eq!(
        state["plan"]["registeredPoms"],
        json!([{"staffId": 485_926, "name": "Okafor, Grace", "kind": "PROBATION"}])
    );
    assert_eq!(state["plan"]["caseloads"][0]["byTier"], json!({"B": 1}));
    let refused = record(client, &path, None, None).await;
    assert_eq!((refused.status.as_u16(), &refused.body["code"]), (400, &json!("field-missing")), "{}", refused.text);
    assert_eq!(refused.body["errors"][0]["pointer"], "#/goLiveDate");
    assert!(refused.text.contains("LEI (Leeds) is new to this ledger"), "{}", refused.text);
    let begun = record(client, &path, None, Some(&json!({"goLiveDate": "2019-09-02"}))).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let done = wait_for(client, &path, &["DONE"]).await;
    assert_eq!((&done["plan"]["goLiveDate"], &done["counts"]["recorded"]), (&json!("2019-09-02"), &json!(1)));

    let other = upload(client, "LEI", "file-name=b.csv&go-live=2019-01-01", super::one_case("A0002BC")).await;
    let failed = wait_for(client, &other, &["FAILED"]).await;
    let detail = failed["detail"].as_str().expect("a sentence");
    assert!(detail.contains("LEI has the go-live date 2019-09-02 already, and 2019-01-01 was sent"), "{detail}");
}
