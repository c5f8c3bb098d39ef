//! Tiers as the tier service writes them.

use domain::{Event, prisoner::PrisonerEvent};
use serde_json::json;

use crate::support::ledger::{Ledger, PRISON, SHAH, assert_recorded};

/// `S` is for a case that is not supervised now. The ledger keeps it, and the rules look at the
/// letter.
#[tokio::test]
async fn a_tier_with_an_s_is_recorded_and_answered_as_it_was_given() {
    let ledger = Ledger::start().await;
    for tier in ["B2S", "AS", "G0S"] {
        let answer = ledger.client().post("/prisoners/A1234BC/tier", &json!({"tier": tier, "prison": PRISON})).await;
        assert_eq!(assert_recorded(&answer).body["events"][0]["data"]["tier"], json!(tier));
    }
    let allocation = json!({
        "nomis_staff_id": SHAH, "nomis_offender_id": "A1234BD", "nomis_booking_id": 1153753,
        "allocated_at_tier": "C2S", "prison": PRISON, "created_by": "PK000223",
    });
    let answer = ledger.client().post("/allocation", &allocation).await;
    assert_eq!((answer.status.as_u16(), &answer.body["status"]), (200, &json!("ok")), "{}", answer.text);
    let event = ledger.case_events("A1234BD").await.remove(0);
    let Event::Prisoner(PrisonerEvent::TierAssigned(assigned)) = &event.entry.event else { panic!("{event:?}") };
    assert_eq!(assigned.tier.to_string(), "C2S");
    for wrong in ["B2s", "SB", "B4S", "BSS"] {
        let answer = ledger.client().post("/prisoners/A1234BC/tier", &json!({ "tier": wrong })).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
}
