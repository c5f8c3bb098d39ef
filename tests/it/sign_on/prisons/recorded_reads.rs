//! The entries of a caller that is confined to a prison: what it was shown, and no more.

use serde_json::{Value, json};

use super::{POM_LEI, POM_MDI, Prisons};
use crate::support::{eventually, questions::members, topology::require_single_program};

/// The numbers in the newest entry of a caller, once it has as many entries.
async fn newest_entry(prisons: &Prisons, user: &str, count: usize) -> Value {
    eventually("the entry", async || {
        let entries = prisons.get(&prisons.auditor(), &format!("/access-log?user={user}")).await;
        let shown = members(&entries, "prisonerNumbers");
        (shown.len() == count).then(|| shown[0].clone())
    })
    .await
}

#[tokio::test]
async fn an_entry_has_the_numbers_that_were_shown_to_a_confined_caller() {
    require_single_program();
    let prisons = Prisons::start().await;
    prisons.case("A1111AA", "LEI", "note of Leeds").await;
    prisons.case("A1112AA", "LEI", "note of Leeds").await;
    prisons.case("A2222BB", "MDI", "note of Moorland").await;
    let caller = prisons.user("HOMD_LEI", &["ROLE_ALLOC_MGR", "ROLE_VIEW_POM_ALLOCATIONS"]);
    let numbers = json!(["A1111AA", "A2222BB", "A9999ZZ"]);
    for (count, method, path, body, shown) in [
        (1, "POST", "/responsibilities".to_owned(), Some(&numbers), json!(["A1111AA"])),
        (2, "POST", "/allocation/active".to_owned(), Some(&numbers), json!(["A1111AA"])),
        (3, "GET", format!("/poms/{POM_LEI},{POM_MDI}"), None, json!(["A1111AA", "A1112AA"])),
        (4, "GET", format!("/poms/{POM_LEI}/cases"), None, json!(["A1111AA", "A1112AA"])),
    ] {
        let answer = prisons.send(&caller, method, &path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_eq!(newest_entry(&prisons, "HOMD_LEI", count).await, shown, "{path}");
    }
    // Nothing is shown of a case that is not the caller's, so these have no entry.
    for (method, path, body) in
        [("POST", "/responsibilities".to_owned(), Some(json!(["A2222BB"]))), ("GET", format!("/poms/{POM_MDI}"), None)]
    {
        assert_eq!(prisons.send(&caller, method, &path, body.as_ref()).await.status, 200, "{path}");
    }
    prisons.get(&caller, "/prisoners/A1111AA/history").await;
    assert_eq!(newest_entry(&prisons, "HOMD_LEI", 5).await, json!(["A1111AA"]));
    // A caller of all prisons is told, too, that nothing is known of a number.
    assert_eq!(prisons.send(&prisons.sync(), "POST", "/responsibilities", Some(&numbers)).await.status, 200);
    assert_eq!(newest_entry(&prisons, "prison-sync", 1).await, numbers);
}
