//! Comparing a later sheet of a prison with the ledger, and recording the differences.

mod left_rows;
mod meanwhile;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    process::{Command, Stdio},
};

use domain::{
    Event,
    prisoner::{PrisonerEvent, State},
};
use serde_json::{Value, json};

use super::import_runs::{HEADINGS, Office, Ran, outcomes};
use crate::support::{ToolOutput, eventually};

const FOUR_CASES: &str = "A0001BC,C,\"Shah, Priya\",485928,PRO,01/07/2019\n\
                          A0002BC,B,\"Okafor, Grace\",485926,PO,01/10/2019\n\
                          A0003BC,C,\"Shah, Priya\",485928,PRO,01/10/2019\n\
                          A0004BC,C,\"Shah, Priya\",485928,PRO,01/10/2019\n";

const NEXT_MONTH: &str = "A0001BC,C,\"Shah, Priya\",485928,PRO,01/07/2019\n\
                          A0002BC,A,\"Okafor, Grace\",485926,PO,01/10/2019\n\
                          A0003BC,D,\"Novak, Jan\",485929,PRO,01/10/2019\n\
                          A0005BC,C,\"Novak, Jan\",485929,PRO,02/12/2019\n\
                          A0006BC,C,\"Novak, Jan\",485929,PRO,31/13/2019\n";

/// Each difference with its number and its outcome.
fn differences(lines: &[Value]) -> Vec<String> {
    let words = |value: &Value| {
        let words: Vec<_> = value.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        words.join("+")
    };
    let line = |line: &Value| {
        let number = line["prisonerNumber"].as_str().expect("a number");
        format!("{number} {} {}", words(&line["differences"]), line["outcome"].as_str().expect("an outcome"))
    };
    lines.iter().map(line).collect()
}

#[tokio::test]
async fn a_later_sheet_is_compared_with_the_ledger_and_applied() {
    let office = Office::new().await;
    office.import_first(FOUR_CASES).await;
    let before = office.events().await.len();
    let compared = office.import(NEXT_MONTH, &["--compare"]).await;
    assert_eq!(
        differences(&compared.lines()),
        [
            "A0002BC re-tiered listed",
            "A0003BC re-tiered+reallocated listed",
            "A0005BC new listed",
            "A0006BC unreadable refused",
            "A0004BC gone listed",
        ]
    );
    let summary = "1 new, 1 gone, 2 re-tiered, 1 reallocated, 0 unallocated, 1 unchanged, 1 unreadable.";
    assert!(compared.stderr.contains(summary), "{}", compared.stderr);
    assert_eq!(office.events().await.len(), before, "a comparison records nothing");

    let apply = ["--apply", "2019-12-05"];
    let dry = office.import(NEXT_MONTH, &[&apply[..], &["--dry-run"]].concat()).await;
    assert_eq!(differences(&dry.lines())[1], "A0003BC re-tiered+reallocated would-record");
    assert_eq!(office.events().await.len(), before, "a dry run records nothing");

    let applied = office.import(NEXT_MONTH, &apply).await;
    assert_eq!(
        differences(&applied.lines()),
        [
            "A0002BC re-tiered recorded",
            "A0003BC re-tiered+reallocated recorded",
            "A0005BC new recorded",
            "A0006BC unreadable refused",
            "A0004BC gone listed",
        ]
    );
    let holders: Vec<_> = office.holders().await.into_values().collect();
    assert_eq!(holders, ["485928 C", "485926 A", "485929 D", "485928 C", "485929 C"], "who is gone is not released");
    let events = office.events().await;
    let effective = |number: &str, revision: usize| {
        let of_case = events.iter().filter(|event| event.stream.to_string() == format!("prisoner-{number}"));
        of_case.map(|event| event.entry.effective_at.to_rfc3339()).nth(revision).expect("an entry")
    };
    assert_eq!(effective("A0002BC", 2), "2019-12-05T00:00:00+00:00");
    assert_eq!(effective("A0003BC", 3), "2019-12-05T00:00:00+00:00");
    assert_eq!(effective("A0005BC", 1), "2019-12-02T00:00:00+00:00", "a new case has the date of its row");

    let again = office.import(NEXT_MONTH, &apply).await;
    assert_eq!(differences(&again.lines()), ["A0006BC unreadable refused", "A0004BC gone listed"]);
    assert_eq!(office.events().await.len(), events.len(), "the ledger has it all");
}

#[tokio::test]
async fn cases_that_no_pom_has_are_undone_compared_and_applied_too() {
    let office = Office::new().await;
    let sheet = |rows: &str| format!("{},Received\n{rows}", HEADINGS.trim_end());
    let first = sheet(
        "A0001BC,B,,,,,02/12/2019\nA0002BC,C,Unallocated,,,,02/12/2019\n\
         A0003BC,C,\"Shah, Priya\",485928,PRO,01/07/2019,\n",
    );
    let run = office.import_sheet(&first, &["--go-live", "2019-07-01"]).await.run();
    let undone = office.tool(&["import", "undo", &run, "--json"]).await.lines();
    assert_eq!(outcomes(&undone), ["voided", "voided", "voided", "voided", "inactive", "kept"]);
    assert!(office.states().await.values().all(|state| *state == State::default()));
    let again = office.import_sheet(&first, &[]).await.lines();
    assert_eq!(outcomes(&again), ["recorded"; 3]);
    let said = "an earlier import recorded this row as entry 0, which was voided since (import undone)";
    assert_eq!(again[0]["warnings"], json!([said]));
    let compared = office.import_sheet(&first, &["--compare"]).await;
    assert!(compared.lines().is_empty() && compared.stderr.contains("3 unchanged"), "{}", compared.stderr);
    assert!(compared.stderr.starts_with("Read from the sheet `LEI cases`"), "{}", compared.stderr);

    let next = sheet(
        "A0001BC,A,,,,,02/12/2019\nA0002BC,C,,,,,02/12/2019\nA0003BC,C,,,,,\nA0004BC,B,,,,,03/12/2019\n\
         A0005BC,,,,,,03/12/2019\n",
    );
    let refused = office.dir.path().join("refused.csv");
    let to_file = ["--refused", refused.to_str().expect("a path in UTF-8")];
    let rows_in_file = || std::fs::read_to_string(&refused).expect("the refused rows").lines().count() - 1;
    let compared = office.import_sheet(&next, &[&["--compare"], &to_file[..]].concat()).await;
    let expected = |outcome: &str, unallocated: &str| {
        [
            format!("A0001BC re-tiered {outcome}"),
            format!("A0003BC unallocated {unallocated}"),
            format!("A0004BC new {outcome}"),
            "A0005BC unreadable refused".to_owned(),
        ]
    };
    assert_eq!(differences(&compared.lines()), expected("listed", "listed"));
    assert_eq!(rows_in_file(), 1);
    let apply = [&["--apply", "2019-12-20"], &to_file[..]].concat();
    let dry = office.import_sheet(&next, &[&apply[..], &["--dry-run"]].concat()).await;
    assert_eq!(differences(&dry.lines()), expected("would-record", "refused"));
    let applied = office.import_sheet(&next, &apply).await;
    assert_eq!(differences(&applied.lines()), expected("recorded", "refused"));
    assert_eq!(rows_in_file(), 2);
    let reason = applied.lines()[1]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("is allocated to Shah, Priya") && reason.contains("names no POM"), "{reason}");
    let holders: Vec<_> = office.holders().await.into_values().collect();
    assert_eq!(holders, ["- A", "- C", "485928 C", "- B"], "a row without a POM ends no allocation");
    let waiting = office.states().await["A0001BC"].waiting.expect("it waits");
    assert_eq!(waiting.since.to_rfc3339(), "2019-12-02T00:00:00+00:00");
    let re_tiered = office.events().await.into_iter().rfind(|event| event.stream.to_string() == "prisoner-A0001BC");
    assert_eq!(re_tiered.expect("an entry").entry.effective_at.to_rfc3339(), "2019-12-20T00:00:00+00:00");

    // The ledger has another tier by now than the row that was recorded before.
    let back = office.import_sheet(&first, &["--apply", "2019-12-27"]).await;
    assert_eq!(differences(&back.lines()), ["A0001BC re-tiered recorded", "A0004BC gone listed"]);
    let undone = office.tool(&["import", "undo", &back.run(), "--json"]).await.lines();
    assert_eq!(outcomes(&undone), ["voided"]);
    assert_eq!(office.holders().await["A0001BC"], "- A");
}

#[tokio::test]
async fn a_case_whose_row_says_when_it_was_released_is_released_by_that() {
    let office = Office::new().await;
    office.import_first(FOUR_CASES).await;
    let rows: String = FOUR_CASES
        .lines()
        .map(|row| format!("{row},{}\n", if row.starts_with("A0002BC") { "02/01/2020" } else { "" }))
        .collect();
    let sheet = |heading: &str| format!("{},{heading}\n{rows}", HEADINGS.trim_end());
    let compared = office.import_sheet(&sheet("Released"), &["--compare"]).await;
    assert_eq!(differences(&compared.lines()), ["A0002BC gone listed"]);
    let as_left = ["--map", "Released or transferred=leftOn", "--apply", "2020-01-06"];
    let unclear = office.import_sheet(&sheet("Released or transferred"), &as_left).await;
    assert_eq!(differences(&unclear.lines()), ["A0002BC gone listed"], "it may be a transfer");
    let applied = office.import_sheet(&sheet("Released"), &["--apply", "2020-01-06"]).await;
    assert_eq!(differences(&applied.lines()), ["A0002BC gone recorded"]);
    let left_at = office.states().await["A0002BC"].left_at.expect("released");
    assert_eq!(left_at.to_rfc3339(), "2020-01-02T00:00:00+00:00");
}

#[tokio::test]
async fn a_case_that_is_gone_leaves_only_as_the_user_says() {
    let office = Office::new().await;
    office.import_first(FOUR_CASES).await;
    let sheet = "A0001BC,C,\"Shah, Priya\",485928,PRO,01/07/2019\n";
    let wrong = office.import(sheet, &["--apply", "2020-01-06", "--released", "A0001BC=2020-01-02"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(wrong.stderr.contains("A0001BC is not gone"), "{}", wrong.stderr);
    for more in [&["--released", "A0002BC=2020-01-02"][..], &["--apply", "2020-01-06", "--released", "A0002BC"]] {
        assert_eq!(office.import(sheet, more).await.status.code(), Some(2));
    }
    let left = [
        &["--apply", "2020-01-06", "--released", "a0002bc=2020-01-02"][..],
        &["--transferred", "A0003BC=MDI@2020-01-03"],
    ];
    let ran = office.import(sheet, &left.concat()).await;
    assert_eq!(differences(&ran.lines()), ["A0002BC gone recorded", "A0003BC gone recorded", "A0004BC gone listed"]);
    let states = office.states().await;
    assert!(states["A0002BC"].left_at.is_some());
    assert_eq!(states["A0003BC"].prison.as_ref().map(|prison| prison.as_str()), Some("MDI"));
    assert!(states["A0004BC"].primary_pom.is_some());
    // The run is undone as any other.
    let undone = office.tool(&["import", "undo", &ran.run(), "--json"]).await.lines();
    assert_eq!(outcomes(&undone), ["voided", "voided"]);
    assert!(office.states().await.values().all(|state| state.primary_pom.is_some()));
}

#[tokio::test]
async fn a_departure_that_is_named_again_is_recorded_once_and_holds_nothing_up() {
    let office = Office::new().await;
    office.import_first(FOUR_CASES).await;
    let sheet = "A0001BC,C,\"Shah, Priya\",485928,PRO,01/07/2019\n";
    let first = ["--apply", "2020-01-06", "--released", "A0002BC=2020-01-02"];
    office.import(sheet, &first).await.run();
    // As after a crash behind the first departure.
    let both = [&first[..], &["--transferred", "A0003BC=MDI@2020-01-03"]].concat();
    let expected = |of_transfer: &str| {
        [
            "A0002BC gone already-recorded".to_owned(),
            format!("A0003BC gone {of_transfer}"),
            "A0004BC gone listed".to_owned(),
        ]
    };
    let dry = office.import(sheet, &[&both[..], &["--dry-run"]].concat()).await;
    assert_eq!(differences(&dry.lines()), expected("would-record"));
    assert_eq!(differences(&office.import(sheet, &both).await.lines()), expected("recorded"));
    let recorded = office.events().await.len();
    let changed = format!("{sheet}A0005BC,C,\"Shah, Priya\",485928,PRO,02/12/2019\n");
    let again = office.import(&changed, &both).await;
    assert_eq!(differences(&again.lines())[0], "A0005BC new recorded");
    assert_eq!(differences(&again.lines())[1..], expected("already-recorded"));
    assert_eq!(office.events().await.len(), recorded + 2, "the new case alone");

    // Another day, another way, and a case that the sheet has are other departures.
    for other in [
        ["--released", "A0002BC=2020-01-03"],
        ["--transferred", "A0002BC=MDI@2020-01-02"],
        ["--transferred", "A0003BC=WWI@2020-01-03"],
    ] {
        let refused = office.import(sheet, &[&["--apply", "2020-01-06"][..], &other].concat()).await;
        assert_eq!(refused.status.code(), Some(1), "{}", refused.stdout);
        assert!(
            refused.stderr.contains("BC is not gone from LEI on that day: by the ledger A000"),
            "{}",
            refused.stderr
        );
    }
    let unknown = office.import(sheet, &["--apply", "2020-01-06", "--released", "A0009BC=2020-01-02"]).await;
    assert!(unknown.stderr.contains("that day: the ledger knows nothing of A0009BC"), "{}", unknown.stderr);
    let there = office.import(FOUR_CASES, &first).await;
    assert!(there.stderr.contains("A0002BC is not gone: the sheet has it"), "{}", there.stderr);
    assert_eq!(office.events().await.len(), recorded + 2);
}

#[tokio::test]
async fn a_change_that_a_newer_tier_replaces_is_refused() {
    let office = Office::new().await;
    let sheet = |rows: &str| format!("{},Received\n{rows}", HEADINGS.trim_end());
    let four = FOUR_CASES.replace("2019\n", "2019,\n");
    office.import_sheet(&sheet(&format!("{four}A0005BC,C,,,,,02/12/2019\n")), &["--go-live", "2019-07-01"]).await.run();
    let with_tier = |number: &str, tier: &str, staff: &str| match number {
        "A0005BC" => sheet(&format!("{number},{tier},,,,,02/12/2019\n{}\n", four.lines().next().expect("a row"))),
        _ => sheet(&format!("{number},{tier},{staff},PO,01/10/2019,\n")),
    };
    let (same, other) = ("\"Okafor, Grace\",485926", "\"Novak, Jan\",485929");
    for (number, staff) in [("A0002BC", same), ("A0005BC", "")] {
        let newer = office.import_sheet(&with_tier(number, "A", staff), &["--apply", "2026-03-02"]).await;
        assert_eq!(differences(&newer.lines())[0], format!("{number} re-tiered recorded"));
    }
    let recorded = office.events().await.len();
    for (number, staff, kinds) in
        [("A0002BC", same, "re-tiered"), ("A0002BC", other, "re-tiered+reallocated"), ("A0005BC", "", "re-tiered")]
    {
        for more in [&["--apply", "2026-02-02", "--dry-run"][..], &["--apply", "2026-02-02"]] {
            let refused = office.import_sheet(&with_tier(number, "D", staff), more).await;
            assert_eq!(differences(&refused.lines())[0], format!("{number} {kinds} refused"));
            let reason = refused.lines()[0]["reason"].as_str().expect("a reason").to_owned();
            let expected = format!("The ledger has a newer tier of {number}: A since 2 March 2026, so that tier D ");
            assert!(reason.starts_with(&expected), "{reason}");
        }
    }
    assert_eq!(office.events().await.len(), recorded);
    // A change that is recorded is not listed again.
    for (number, staff) in [("A0002BC", other), ("A0005BC", "")] {
        let sheet = with_tier(number, "D", staff);
        let applied = office.import_sheet(&sheet, &["--apply", "2026-03-03"]).await;
        assert!(differences(&applied.lines())[0].ends_with(" recorded"), "{}", applied.stdout);
        let compared = office.import_sheet(&sheet, &["--compare"]).await;
        assert!(!compared.stdout.contains("re-tiered"), "{}", compared.stdout);
    }
}

#[tokio::test]
async fn two_rows_of_a_case_that_was_released_are_one_only_where_they_agree() {
    let office = Office::new().await;
    office.import_first(FOUR_CASES).await;
    let sheet = |second: &str| {
        let rows = FOUR_CASES.replace("01/10/2019\n", "01/10/2019,\n").replace("01/07/2019\n", "01/07/2019,\n");
        let row = "A0002BC,B,\"Okafor, Grace\",485926,PO,01/10/2019,";
        format!("{},Released\n{}", HEADINGS.trim_end(), rows.replace(row, &format!("{row}02/01/2020\n{row}{second}")))
    };
    let apply = ["--apply", "2020-01-06"];
    let before = office.events().await.len();
    for (second, said) in [("04/01/2020", "row 4 says released on 4 January 2020"), ("yes", "row 4 says no day")] {
        for more in [&["--compare"][..], &apply, &["--apply", "2020-01-06", "--dry-run"]] {
            let listed = office.import_sheet(&sheet(second), more).await;
            assert_eq!(differences(&listed.lines()), ["A0002BC gone listed"]);
            let reason = listed.lines()[0]["reason"].as_str().expect("a reason").to_owned();
            for part in ["row 3 says released on 2 January 2020", said, "--released"] {
                assert!(reason.contains(part), "{part}: {reason}");
            }
        }
    }
    assert_eq!(office.events().await.len(), before);
    let named = [&apply[..], &["--released", "A0002BC=2020-01-04"]].concat();
    let ran = office.import_sheet(&sheet("04/01/2020"), &named).await;
    assert_eq!(differences(&ran.lines()), ["A0002BC gone recorded"]);
    let left_at = office.states().await["A0002BC"].left_at.expect("released");
    assert_eq!(left_at.to_rfc3339(), "2020-01-04T00:00:00+00:00");

    office.tool(&["import", "undo", &ran.run()]).await;
    let ran = office.import_sheet(&sheet("02/01/2020"), &apply).await;
    assert_eq!(differences(&ran.lines()), ["A0002BC gone recorded"]);
    let left_at = office.states().await["A0002BC"].left_at.expect("released");
    assert_eq!(left_at.to_rfc3339(), "2020-01-02T00:00:00+00:00");
}

#[tokio::test]
async fn a_day_in_the_future_is_refused_before_anything_is_recorded() {
    let office = Office::new().await;
    office.import_first(FOUR_CASES).await;
    let before = office.events().await.len();
    // A new case, which would be recorded on its own.
    let sheet = "A0005BC,C,\"Shah, Priya\",485928,PRO,02/12/2019\n";
    for (option, more) in [
        ("--apply", &["--apply", "2199-01-01"][..]),
        ("--released", &["--apply", "2020-01-06", "--released", "A0002BC=2199-01-01"]),
        ("--transferred", &["--apply", "2020-01-06", "--transferred", "A0002BC=MDI@2199-01-01"]),
    ] {
        for more in [more.to_vec(), [more, &["--dry-run"]].concat()] {
            let refused: ToolOutput = office.import(sheet, &more).await;
            assert_eq!(refused.status.code(), Some(1), "{}", refused.stdout);
            let sentence = format!("{option} names 1 January 2199, which must not be in the future");
            assert!(refused.stderr.contains(&sentence), "{}", refused.stderr);
            assert!(refused.stdout.is_empty(), "{}", refused.stdout);
        }
    }
    assert_eq!(office.events().await.len(), before);
}

#[tokio::test]
async fn columns_that_say_when_and_how_a_case_left_are_applied() {
    let office = Office::new().await;
    office.import_first(FOUR_CASES).await;
    let sheet = |last: &str| {
        let left = ["", "02/01/2020,,", ",03/01/2020,HMP Moorland", last];
        let rows = FOUR_CASES.lines().zip(left).map(|(row, left)| format!("{row},{left}\n"));
        format!("{},Released on,Transferred on,Transferred to\n{}", HEADINGS.trim_end(), rows.collect::<String>())
    };
    let refused = office.dir.path().join("refused.csv");
    let to_file = ["--refused", refused.to_str().expect("a path in UTF-8")];
    let compared = office.import_sheet(&sheet(",03/01/2020,Scotland"), &["--compare"]).await.lines();
    let said: Vec<_> = compared.iter().map(|line| line["reason"].as_str().expect("a reason")).collect();
    let wrong = "row 5 does not name the prison: `Scotland` is neither the code nor the name of a prison";
    assert_eq!(said[..2], ["row 3 says released on 2 January 2020", "row 4 says transferred to MDI on 3 January 2020"]);
    assert!(said.len() == 3 && said[2].starts_with(wrong), "{said:?}");

    let apply = ["--apply", "2020-01-06"];
    let outcomes = |[second, third, fourth]: [&str; 3]| {
        [("A0002BC", second), ("A0003BC", third), ("A0004BC", fourth)].map(|(number, of)| format!("{number} gone {of}"))
    };
    let dry = office.import_sheet(&sheet(",03/01/2020,Scotland"), &[&apply[..], &["--dry-run"]].concat()).await;
    assert_eq!(differences(&dry.lines()), outcomes(["would-record", "would-record", "refused"]));
    let ran = office.import_sheet(&sheet(",03/01/2020,Scotland"), &[&apply[..], &to_file].concat()).await;
    assert_eq!(differences(&ran.lines()), outcomes(["recorded", "recorded", "refused"]));
    let file = std::fs::read_to_string(&refused).expect("the refused rows");
    assert!(file.lines().count() == 2 && file.contains(wrong), "{file}");
    let states = office.states().await;
    assert_eq!(states["A0002BC"].left_at.expect("released").to_rfc3339(), "2020-01-02T00:00:00+00:00");
    assert_eq!(states["A0003BC"].prison.as_ref().map(|prison| prison.as_str()), Some("MDI"));
    assert!(states["A0004BC"].primary_pom.is_some());

    // A day alone does not say how, and a person does not go to the prison where they are.
    for (last, outcome, reason) in [
        (",03/01/2020,", "listed", "row 5 does not say to which prison the person went. Say when and how it left"),
        (",03/01/2020,Leeds", "refused", "A0004BC is already held at LEI at that time."),
        ("03/01/2020,03/01/2020,MDI", "refused", "row 5 says that the person was released, and was transferred"),
    ] {
        let ran = office.import_sheet(&sheet(last), &apply).await.lines();
        assert_eq!(differences(&ran), outcomes(["already-recorded", "already-recorded", outcome]), "{last}");
        assert!(ran[2]["reason"].as_str().expect("a reason").starts_with(reason), "{last}: {ran:?}");
    }
    // The user's word counts before that of a row.
    let named = [&apply[..], &["--transferred", "A0004BC=WWI@2020-01-03"]].concat();
    let ran = office.import_sheet(&sheet("02/01/2020,,"), &named).await;
    assert_eq!(differences(&ran.lines()), outcomes(["already-recorded", "already-recorded", "recorded"]));
    assert_eq!(office.states().await["A0004BC"].prison.as_ref().map(|prison| prison.as_str()), Some("WWI"));
}

#[tokio::test]
async fn a_row_of_a_case_that_has_gone_on_is_refused_and_not_passed_over() {
    let office = Office::new().await;
    office.import_first(FOUR_CASES).await;
    let sheet = "A0001BC,C,\"Shah, Priya\",485928,PRO,01/07/2019\n";
    let gone = ["--apply", "2020-01-06", "--released", "A0002BC=2020-01-02", "--transferred", "A0003BC=MDI@2020-01-03"];
    office.import(sheet, &gone).await.run();
    let back = office.import(FOUR_CASES, &["--apply", "2020-02-03"]).await.lines();
    assert_eq!(differences(&back), ["A0002BC new refused", "A0003BC new refused"]);
    let reasons: Vec<_> = back.iter().map(|line| line["reason"].as_str().expect("a reason")).collect();
    assert!(reasons[0].contains("was released") && reasons[0].contains("on 2 January 2020"), "{reasons:?}");
    assert!(reasons[1].starts_with("By the ledger A0003BC is at MDI."), "{reasons:?}");
}

/// How often each case has left, by the log.
async fn departures(office: &Office) -> BTreeMap<String, usize> {
    let mut departures = BTreeMap::new();
    for stored in office.events().await {
        if let Event::Prisoner(PrisonerEvent::Deallocated(_)) = &stored.entry.event {
            *departures.entry(stored.stream.to_string()).or_default() += 1;
        }
    }
    departures
}

#[tokio::test]
async fn departures_that_are_killed_and_repeated_are_recorded_once() {
    const CASES: usize = 240;
    let office = Office::new().await;
    let number = |case: usize| format!("A{case:04}BC");
    let row = |case: usize| format!("{},C,\"Shah, Priya\",485928,PRO,01/07/2019", number(case));
    let rows: String = (0..CASES).map(|case| row(case) + "\n").collect();
    office.import_first(&rows).await;
    // The first case is there. Half of the others left by their rows, and the user names the rest.
    let mut sheet = format!("{},Released\n{},\n", HEADINGS.trim_end(), row(0));
    let mut arguments: Vec<String> = ["--apply", "2020-01-06"].map(str::to_owned).to_vec();
    for case in 1..CASES {
        if case % 2 == 0 {
            writeln!(sheet, "{},02/01/2020", row(case)).expect("write");
        } else {
            arguments.extend(["--released".to_owned(), format!("{}=2020-01-03", number(case))]);
        }
    }
    let file = office.dir.path().join("left.csv");
    std::fs::write(&file, sheet).expect("write a file");
    let import = ["import", "spreadsheet", file.to_str().expect("a path in UTF-8"), "--prison", "LEI", "--json"];
    let import: Vec<&str> = import.into_iter().chain(arguments.iter().map(String::as_str)).collect();
    for kill in 1..=2 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_allocation-ledger-under-test"))
            .args(&import)
            .args(office.database.store.arguments())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the program");
        let some = async || (departures(&office).await.len() >= 20 * kill).then_some(());
        eventually("some departures to be recorded", some).await;
        child.kill().expect("kill the program");
        child.wait().expect("wait for the program");
    }
    let ran = office.tool(&import).await.lines();
    let is_done = |line: &&Value| matches!(line["outcome"].as_str(), Some("recorded" | "already-recorded"));
    assert_eq!((ran.len(), ran.iter().filter(is_done).count()), (CASES - 1, CASES - 1), "{ran:?}");
    let left = departures(&office).await;
    assert_eq!(left.len(), CASES - 1);
    assert!(left.values().all(|times| *times == 1), "{left:?}");
    assert_eq!(office.states().await[&number(0)].left_at, None);
}
