//! Rows without a POM, of cases of which the ledger holds something later.

use domain::prisoner::{Context, History, Release, Transfer};

use super::*;
use crate::{
    plan::{HeldHistories, PlannedRow, plan},
    row::RowCase,
    tests::{read, sheet, terms},
};

fn midnight(date: &str) -> DateTime<Utc> {
    london::midnight(date.parse().expect("a date"))
}

fn tier(tier: &str, prison: &str) -> prisoner::Command {
    prisoner::Command::AssignTier(TierAssigned {
        tier: tier.parse().expect("a tier"),
        rosh_level: None,
        source: TierSource::Delius,
        crn: None,
        prison: Some(prison.parse().expect("a prison")),
    })
}

fn transfer(to_prison: &str) -> prisoner::Command {
    prisoner::Command::Transfer(Transfer { to_prison: to_prison.parse().expect("a prison") })
}

fn release() -> prisoner::Command {
    prisoner::Command::Release(Release { prison: None })
}

/// The history of a case from dated commands.
fn history(commands: &[(&str, prisoner::Command)]) -> History {
    let mut history = History::new("A0001BC".parse().expect("a number"));
    for (date, command) in commands {
        let terms = terms();
        let effective_at = midnight(date);
        let context =
            Context { now: terms.now, effective_at, prison: None, recommendation_policy: terms.recommendation_policy };
        history = foresee(&history, command, &context, &terms).expect("a legal command");
    }
    history
}

/// The plan of the first row of a sheet.
fn planned(row: &str, held: &History) -> PlannedRow {
    let terms = terms();
    let drawn = format!("NOMS no|Tier|POM|Staff id|Type|Date allocated|Received\n{row}");
    // A second row, by which the columns are told.
    let drawn = format!("{drawn}\nA0002BC|C|Okafor, Grace|485926|PO|01/07/2019|01/06/2019");
    let mut histories = HeldHistories::of_empty_ledger(&terms.prison);
    histories.cases.insert(held.number().clone(), held.clone());
    plan(read(&[sheet("cases", &drawn)]).rows, histories, &terms).rows.swap_remove(0)
}

/// The outcome of the one row of a sheet: `recorded`, `already`, or the code and the sentence of
/// its refusal. A row that is recorded waits afterwards.
fn outcome(row: &str, commands: &[(&str, prisoner::Command)]) -> String {
    let (terms, held) = (terms(), history(commands));
    let planned = planned(row, &held);
    match planned.verdict {
        Verdict::AlreadyRecorded => "already".to_owned(),
        Verdict::Refused(problem) => format!("{}: {}", problem.code, problem.reason),
        Verdict::Record(step) => {
            let Command::Prisoner(_, command) = &step.command else { panic!("{step:?}") };
            let context = Context {
                now: terms.now,
                effective_at: step.effective_at,
                prison: None,
                recommendation_policy: terms.recommendation_policy,
            };
            let after = foresee(&held, command, &context, &terms).expect("a legal command");
            let Ok(RowCase::Waiting(case)) = &planned.row.case else { panic!("{:?}", planned.row) };
            assert!(waits_so(&after.state(), case, &terms), "{row}: {:?}", after.state());
            "recorded".to_owned()
        }
    }
}

#[test]
fn a_case_that_was_released_since_is_not_said_to_wait() {
    let released = [("2019-05-01", tier("B", "LEI")), ("2023-02-03", release())];
    for sheet_tier in ["B", "C"] {
        assert_eq!(
            outcome(&format!("A0001BC|{sheet_tier}|||||02/03/2020"), &released),
            "later-entry-conflict: A0001BC was released, or left the scope of offender management, on 3 February 2023, \
             and so does not wait at LEI since 2 March 2020. If the person has come back, give the date of the return \
             as the date of arrival; otherwise leave the row out."
        );
    }
    assert_eq!(outcome("A0001BC|C|||||02/03/2024", &released), "recorded");
    assert_eq!(outcome("A0001BC|C|||||", &released), "recorded");
}

#[test]
fn a_case_that_went_to_another_prison_since_is_not_said_to_wait() {
    let moved = [("2019-05-01", tier("B", "LEI")), ("2023-02-03", transfer("MDI"))];
    let refused = outcome("A0001BC|B|||||02/03/2020", &moved);
    assert!(
        refused.starts_with(
            "later-entry-conflict: By the ledger A0001BC is at MDI, and so does not wait at LEI since 2 March 2020. "
        ),
        "{refused}"
    );
    assert_eq!(outcome("A0001BC|B|||||02/03/2024", &moved), "recorded");
    let waits = [("2019-05-01", tier("B", "MDI"))];
    assert_eq!(outcome("A0001BC|B|||||02/03/2020", &waits), "recorded");
    let warning = |prison| {
        let (held, row) = (history(&[("2019-05-01", tier("B", prison))]), "A0001BC|C|||||02/03/2020");
        planned(row, &held).warnings
    };
    assert_eq!(warning("MDI"), ["by the ledger A0001BC waits at MDI; the row has it wait at LEI"]);
    assert!(warning("LEI").is_empty());
    let on_the_way = [("2019-05-01", tier("B", "LEI")), ("2023-02-03", transfer("TRN"))];
    assert!(outcome("A0001BC|B|||||02/03/2020", &on_the_way).contains("is at TRN"));
}

#[test]
fn a_tier_that_a_newer_one_replaces_is_not_said_to_hold() {
    for prison in ["LEI", "MDI"] {
        let newer = [("2019-05-01", tier("B", prison)), ("2021-02-03", tier("D1", "LEI"))];
        assert_eq!(
            outcome("A0001BC|C|||||02/03/2020", &newer),
            "later-entry-conflict: The ledger has a newer tier of A0001BC: D1 since 3 February 2021, so that tier C \
             from 2 March 2020 does not hold now. Give the tier that the case has now, or leave the row out. If entry 1 of \
             the case is wrong, void it first, with its revision and a reason: POST /prisoners/A0001BC/voids."
        );
        assert_eq!(outcome("A0001BC|D|||||02/03/2020", &newer), "already");
        assert_eq!(outcome("A0001BC|C|||||02/03/2022", &newer), "recorded");
    }
}
