//! Spreadsheets of confined callers: rows of cases at other prisons, and uploads of other callers.

use serde_json::json;

use super::Prisons;
use crate::support::{eventually, topology::require_single_program};

const OTHER: &str = "A2222BB";

#[tokio::test]
async fn a_row_of_a_case_at_another_prison_is_refused_and_tells_nothing_of_it() {
    require_single_program();
    let prisons = Prisons::start().await;
    prisons.case(OTHER, "MDI", "note of Moorland").await;
    let caller = prisons.head("HOMD_LEI");
    let client = prisons.program.program.client();
    let file = format!(
        "NOMS no,Tier,POM,Staff id,Type,Date allocated\n\
         {OTHER},C,\"Shah, Priya\",1,PRO,01/10/2026\n\
         A9999ZZ,C,\"Byrne, Liam\",77,PRO,01/10/2026\n"
    );
    let authorization = [("Authorization", caller.as_str())];
    let uploaded = client.upload("/prisons/LEI/spreadsheets?file-name=a.csv", &authorization, file).await;
    assert_eq!(uploaded.status, 202, "{}", uploaded.text);
    let path = uploaded.header("location").expect("a place").to_owned();
    let state_is = async |wanted: &str| {
        eventually(wanted, async || {
            let answer = prisons.get(&caller, &path).await;
            assert_ne!(answer.body["state"], "FAILED", "{}", answer.text);
            (answer.body["state"] == wanted).then_some(answer)
        })
        .await
    };
    let read = state_is("READ").await;
    assert_eq!(read.body["refusedRows"][0]["code"], "prison-not-yours", "{}", read.text);
    let rows = prisons.get(&caller, &format!("{path}/rows")).await;
    assert_eq!(rows.body[1]["outcome"], "would-record", "{}", rows.text);
    for answer in [&read, &rows] {
        assert!(!["MDI", "Novak", "Moorland"].iter().any(|trace| answer.text.contains(trace)), "{}", answer.text);
    }
    // Whoever may record at the prison sees it, and no other caller.
    assert_eq!(prisons.get(&prisons.head("HOMD_BOTH"), &path).await.status, 200);
    let at_other = path.replace("LEI", "MDI");
    assert_eq!(prisons.get(&prisons.head("HOMD_MDI"), &path).await.status, 403);
    assert_eq!(prisons.get(&prisons.head("HOMD_MDI"), &at_other).await.status, 404);

    // A plan that was made for another caller may tell of cases at other prisons.
    let of_both = [("Authorization", prisons.head("HOMD_BOTH"))];
    let of_both = of_both.each_ref().map(|(name, value)| (*name, value.as_str()));
    let file = "NOMS no,Tier,Staff id,Date allocated\nA9999ZZ,C,77,01/10/2026\n".to_owned();
    let wider = client.upload("/prisons/LEI/spreadsheets?file-name=b.csv", &of_both, file).await;
    let wider = wider.header("location").expect("a place");
    for part in ["", "/rows", "/refused-rows"] {
        let answer = prisons.get(&caller, &format!("{wider}{part}")).await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (404, &json!("import-unknown")), "{part}");
    }

    let begun = prisons.send(&caller, "POST", &format!("{path}/recording"), None).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let done = state_is("DONE").await;
    assert_eq!(
        done.body["counts"],
        json!({"rows": 2, "toRecord": 0, "recorded": 1, "alreadyRecorded": 0, "refused": 1})
    );
    // The event names the caller.
    let history = prisons.get(&prisons.auditor(), "/prisoners/A9999ZZ/history").await;
    assert_eq!(history.body[0]["recordedBy"]["username"], "HOMD_LEI", "{}", history.text);
}
