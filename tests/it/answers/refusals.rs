//! Questions that are refused, by status and code.

use serde_json::json;

use crate::support::{
    ledger::{Ledger, assert_refused},
    questions::ask,
};

#[tokio::test]
async fn an_unknown_case_or_an_invalid_parameter_is_refused_by_code() {
    let ledger = Ledger::start_all_roles().await;
    ledger.tier("A1234BC").await;
    for (path, status, code) in [
        ("/prisoners/A9999ZZ/responsibility", 404, "prisoner-unknown"),
        ("/prisoners/A9999ZZ/history", 404, "prisoner-unknown"),
        ("/prisoners/A9999ZZ/responsibility/periods", 404, "prisoner-unknown"),
        ("/prisoners/A1234BC/responsibility?on=2025-12-31", 404, "prisoner-unknown"),
        ("/prisoners/A1234BC/history/7", 404, "entry-unknown"),
        ("/prisons/LEI/unallocated/A9999ZZ/suggestions", 404, "prisoner-unknown"),
        ("/prisons/LEI/unallocated/A1234BC/suggestions?on=2025-12-31", 404, "prisoner-unknown"),
        ("/prisons/MDI/unallocated/A1234BC/suggestions", 404, "case-not-waiting"),
        ("/prisons/LEI/unallocated/A1234BC/suggestions?limit=1", 400, "parameter-unknown"),
        ("/prisons/LEI/unallocated/a1234bc/suggestions", 400, "identifier-invalid"),
        ("/prisoners/a1234bc/responsibility", 400, "identifier-invalid"),
        ("/prisons/Leeds/cases", 400, "identifier-invalid"),
        ("/poms/nobody/cases", 400, "identifier-invalid"),
        ("/prisoners/A1234BC/responsibility?at=2026-03-01", 400, "parameter-unknown"),
        ("/prisoners/A1234BC/responsibility?on=2026-02-30", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/responsibility?known-at=then", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/history?type=Allocated", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/history?limit=0", 400, "parameter-invalid"),
        ("/prisons/LEI/cases?limit=1001", 400, "parameter-invalid"),
        ("/prisons/LEI/cases?sort=name", 400, "parameter-invalid"),
        ("/prisons/LEI/cases?tier=H", 400, "parameter-invalid"),
        ("/prisons/LEI/cases?after=00", 400, "cursor-invalid"),
        ("/prisons/LEI/handovers?within=soon", 400, "parameter-invalid"),
        ("/prisons/LEI/statistics?month=3", 400, "parameter-unknown"),
        ("/prisoners/A1234BC/responsibility?on=0001-01-01", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/responsibility?on=%2B262142-12-31", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/responsibility?known-at=9999-12-31", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/history?from=-4800-01-01", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/history?to=2200-01-01T00:00:00Z", 400, "parameter-invalid"),
        ("/prisons/LEI/cases?on=2026-03-01%00", 400, "parameter-invalid"),
        ("/subject-access-request?prn=A1234BC&toDate=%2B262142-12-31", 400, "parameter-invalid"),
        // A cursor whose key has the character NUL.
        ("/prisons/LEI/cases?after=5b225c7530303030222c2241225d", 400, "cursor-invalid"),
    ] {
        let answer = ask(&ledger, path).await;
        assert_refused(&answer, status, code);
        assert_eq!(answer.body["instance"], path.split('?').next().expect("a path"), "{path}");
    }
    let wrong_day = ask(&ledger, "/prisoners/A1234BC/responsibility?on=2026-02-30").await;
    assert_eq!(
        wrong_day.body["detail"],
        "on: `2026-02-30` is not a date or an instant in the years 1900 to 2199; write a date such as 2026-03-01 or an \
         instant such as 2026-03-01T09:00:00Z."
    );
    for instant in ["-4800-01-01T00:00:00Z", "2500-01-01T00:00:00Z"] {
        let tier = json!({"tier": "A", "source": "MANUAL", "effectiveAt": instant});
        assert_refused(&ledger.client().post("/prisoners/A1234BC/tier", &tier).await, 400, "date-invalid");
    }
}
