//! A point of the log given as a day or as an instant.

use crate::support::{
    ledger::{Ledger, assert_refused},
    questions::{ask, assert_ok},
};

#[tokio::test]
async fn known_at_a_day_means_the_end_of_that_day() {
    let ledger = Ledger::start_all_roles().await;
    let recorded = ledger.tier("A1234BC").await;
    let at = recorded.body["events"][0]["recordedAt"].as_str().expect("an instant").to_owned();
    let recorded_at: chrono::DateTime<chrono::Utc> = at.parse().expect("an instant");
    let today = domain::london::date(recorded_at);
    let known_at = async |point: &str| {
        let on = at.replace('+', "%2B");
        ask(&ledger, &format!("/prisoners/A1234BC/responsibility?on={on}&known-at={point}")).await
    };
    assert_eq!(assert_ok(&known_at(&today.to_string()).await)["tier"], "C1");
    assert_eq!(assert_ok(&known_at(&at).await)["tier"], "C1");
    let yesterday = today.pred_opt().expect("a day before").to_string();
    assert_refused(&known_at(&yesterday).await, 404, "prisoner-unknown");
}
