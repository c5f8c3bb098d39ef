//! The rows of an uploaded spreadsheet are a prison's cases, and its state says what the ledger has
//! of them.

use reqwest::Method;
use uuid::Uuid;

use super::entry_of;
use crate::{
    support::ledger::{Ledger, SHAH},
    uploads::{one_case, upload, wait_for},
};

#[tokio::test]
async fn every_answer_about_an_upload_that_shows_a_row_has_an_entry() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A0002BC", SHAH).await;
    let file = format!("{}A0002BC,X,\"Okafor, Grace\",485926,PO,01/10/2019\n", one_case("A0001BC"));
    let path = upload(ledger.client(), "LEI", "file-name=a.csv", file).await;
    wait_for(ledger.client(), &path, &["READ"]).await;
    for (method, of, status, numbers) in [
        (Method::GET, "", 200, &["A0002BC"][..]),
        (Method::GET, "/rows", 200, &["A0001BC", "A0002BC"]),
        (Method::GET, "/rows?outcome=would-record", 200, &["A0001BC"]),
        (Method::GET, "/refused-rows", 200, &["A0002BC"]),
        (Method::POST, "/recording", 202, &["A0002BC"]),
    ] {
        let correlation_id = Uuid::new_v4();
        let id = correlation_id.to_string();
        let answer = ledger.client().send(method, &format!("{path}{of}"), &[("X-Correlation-Id", &id)], None).await;
        assert_eq!(answer.status, status, "{of}: {}", answer.text);
        let entry = entry_of(&ledger.database, correlation_id).await;
        assert_eq!(
            (entry.status, &entry.prisoners[..]),
            (i16::try_from(status).ok(), &numbers.iter().map(|&number| number.to_owned()).collect::<Vec<_>>()[..]),
            "{of}"
        );
        let operation = of.split('?').next().expect("a path");
        assert_eq!(entry.operation, format!("/prisons/{{prisonCode}}/spreadsheets/{{spreadsheetId}}{operation}"));
    }
}
