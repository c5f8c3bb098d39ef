//! Rows of a later sheet that say that the person has left: each case has a line.

use serde_json::Value;

use super::{FOUR_CASES, HEADINGS, Office, Ran, differences};

/// The four cases with a day of release each, and more rows.
fn sheet(released: [&str; 4], more: &str) -> String {
    let rows = FOUR_CASES.lines().zip(released).map(|(row, on)| format!("{row},{on}\n"));
    format!("{},Released\n{}{more}", HEADINGS.trim_end(), rows.collect::<String>())
}

fn reason(line: &Value) -> &str {
    line["reason"].as_str().expect("a reason")
}

#[tokio::test]
async fn a_case_in_a_row_of_leaving_and_in_another_row_is_listed_and_left_alone() {
    let office = Office::new().await;
    office.import_first(FOUR_CASES).await;
    let before = office.events().await.len();
    // With another tier, and as the ledger has it.
    for tier in ["D", "B"] {
        let there = format!("A0002BC,{tier},\"Novak, Jan\",485929,PRO,01/10/2019,\n");
        let sheet = sheet(["", "02/01/2020", "", ""], &there);
        for more in [&["--compare"][..], &["--apply", "2020-01-06", "--dry-run"], &["--apply", "2020-01-06"]] {
            let ran = office.import_sheet(&sheet, more).await;
            assert_eq!(differences(&ran.lines()), ["A0002BC contradictory listed"], "{more:?}");
            for part in ["row 3 says released on 2 January 2020", "row 6 has the case as one that is here"] {
                assert!(reason(&ran.lines()[0]).contains(part), "{part}: {}", ran.stdout);
            }
            assert!(ran.stderr.contains("The sheet contradicts itself in 1 case"), "{}", ran.stderr);
        }
    }
    assert_eq!(office.events().await.len(), before, "neither row is recorded");

    // A case that came back after a release that the ledger has.
    office.import_sheet(&sheet(["", "02/01/2020", "", ""], ""), &["--apply", "2020-01-06"]).await.run();
    let back = sheet(["", "02/01/2020", "", ""], "A0002BC,D,\"Novak, Jan\",485929,PRO,03/02/2020,\n");
    let ran = office.import_sheet(&back, &["--apply", "2020-02-06"]).await;
    assert_eq!(differences(&ran.lines()), ["A0002BC new recorded", "A0002BC gone already-recorded"]);
    assert_eq!(office.holders().await["A0002BC"], "485929 D");
    for more in [&["--compare"][..], &["--apply", "2020-02-06"]] {
        let ran = office.import_sheet(&back, more).await;
        assert_eq!(differences(&ran.lines()), ["A0002BC gone already-recorded"], "{more:?}");
    }
}

#[tokio::test]
async fn a_row_of_leaving_has_a_line_wherever_the_ledger_has_the_case() {
    let office = Office::new().await;
    office.import_first(FOUR_CASES).await;
    let there = "A0001BC,C,\"Shah, Priya\",485928,PRO,01/07/2019\n";
    let named = ["--released", "A0002BC=2020-01-02", "--released", "A0003BC=2020-01-02"];
    let gone = [&["--apply", "2020-01-06"][..], &named, &["--transferred", "A0004BC=MDI@2020-01-02"]];
    office.import(there, &gone.concat()).await.run();
    let before = office.events().await.len();
    // Recorded so, recorded of another day, at another prison, and unknown.
    let unknown = "A0009BC,C,\"Shah, Priya\",485928,PRO,01/07/2019,02/01/2020\n";
    let sheet = sheet(["", "02/01/2020", "03/01/2020", "03/01/2020"], unknown);
    for more in [&["--compare"][..], &["--apply", "2020-01-06", "--dry-run"], &["--apply", "2020-01-06"]] {
        let ran = office.import_sheet(&sheet, more).await;
        let lines = ran.lines();
        let expected =
            ["A0002BC gone already-recorded", "A0003BC gone listed", "A0004BC gone listed", "A0009BC gone listed"];
        assert_eq!(differences(&lines), expected, "{more:?}");
        for (line, part) in lines[1..].iter().zip([
            "row 4 says released on 3 January 2020; by the ledger A0003BC was released, or left the scope of offender \
             management, on 2 January 2020",
            "row 5 says released on 3 January 2020; by the ledger A0004BC is at MDI",
            "row 6 says released on 2 January 2020; the ledger knows nothing of A0009BC",
        ]) {
            assert_eq!(reason(line), part);
        }
        assert!(ran.stderr.contains("4 gone") && !ran.stderr.contains("gone from the sheet"), "{}", ran.stderr);
    }
    assert_eq!(office.events().await.len(), before);
}
