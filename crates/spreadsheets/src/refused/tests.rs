//! The file of refused rows is read again, alone, once a person has corrected it.

use super::*;
use crate::{
    meaning_tests::shorts,
    reader::{self, DAY_ZERO_OF_1904},
    row::DataRow,
    tests::{find, read, sheet, table},
};

/// The numbers of the rows that a sheet has refused, the file of them, and what that says once each
/// `(wrong, right)` is corrected. Each test has a file of its own name.
fn read_again(test: &str, sheet: Sheet, corrections: &[(&str, &str)]) -> (Vec<u32>, String, CaseTable) {
    let sheets = [sheet];
    let layout = find(&sheets, None, &[], FIELDS).expect("found");
    let whole = table(&sheets[0], &layout);
    let reason = |row: &DataRow| row.case.as_ref().err().map(|problem| problem.reason.clone());
    let reasons: Vec<_> = whole.rows.iter().filter_map(|row| Some((row.number, reason(row)?))).collect();
    let refused: Vec<_> = reasons.iter().map(|(number, reason)| RefusedRow { number: *number, reason }).collect();
    let csv = refused_csv(&sheets[0], &layout, &whole, &refused);
    assert!(reasons.iter().all(|(_, reason)| csv.contains(reason)), "{csv}");
    let corrected = corrections.iter().fold(csv.clone(), |csv, (wrong, right)| csv.replace(wrong, right));
    let path = std::env::temp_dir().join(format!("refused-{test}-{}.csv", std::process::id()));
    std::fs::write(&path, corrected).expect("write a file");
    let file = reader::read(&path);
    std::fs::remove_file(&path).expect("remove the file");
    let again = read(&file.expect("the file is read").sheets);
    (reasons.iter().map(|(number, _)| *number).collect(), csv, again)
}

/// The refused rows alone must be read as they were in the whole sheet.
#[test]
fn the_file_of_refused_rows_is_read_as_the_sheet_was() {
    let drawn = "#|Prisoner|||Offender manager||||\n\
                 No|Number|Name|Tier|Name|ID|Type|Start|Comments\n\
                 1|A0001BC|Ash|B|Okafor, Grace|485926|PO|12/31/2019|\n\
                 2|A0002BC|Bee|X|Okafor, Grace|485926|PO|03/04/2019|=1+1\n\
                 3|A0003BC|Cox|B|Okafor, Grace|485926|PO|05/06/2019|a \"b\", c\n\
                 9|A004BC|Dee|B|Okafor, Grace|485926|PO|07/08/2019|";
    let corrections = [("\"X\"", "\"A\""), ("A004BC", "A0004BC")];
    let (refused, csv, again) = read_again("whole", sheet("cases", drawn), &corrections);
    assert_eq!(refused, [4, 6]);
    assert_eq!(
        shorts(&again),
        ["2: A 485926 Okafor, Grace 2019-03-04", "3: B 485926 Okafor, Grace 2019-07-08"],
        "{csv}"
    );
    assert_eq!(again.rows[0].allocated().expect("a case").note.as_deref(), Some("=1+1"));
    assert!(csv.contains("\"Refused because\""), "{csv}");
}

const HEADINGS: &str = "Prison number|Tier|POM|Staff id|POM type|Date allocated|Left on|Received\n";

fn dated_sheet(rows: &str) -> Sheet {
    sheet("cases", &format!("{HEADINGS}{rows}"))
}

#[test]
fn day_numbers_of_1904_are_the_same_dates_in_the_file_of_refused_rows() {
    let mut dated = dated_sheet(
        "A0001BC|X|Okafor, Grace|485926|PRO|42185||\n\
         A0002BC|X|Okafor, Grace|485926|PRO|42185|45000|\n\
         A0003BC|X|||||0|42185\n\
         A0004BC|B|Okafor, Grace|485926|PRO|79000||",
    );
    dated.marks.day_zero = DAY_ZERO_OF_1904;
    let (refused, csv, again) = read_again("1904", dated, &[("\"X\"", "\"B\"")]);
    assert_eq!(refused, [2, 3, 4, 5]);
    assert_eq!(
        shorts(&again),
        [
            "2: B 485926 Okafor, Grace 2019-07-01",
            "3: B 485926 Okafor, Grace 2019-07-01",
            "4: B waits since 2019-07-01",
            // No date there, and none here.
            "5: allocated-on",
        ],
        "{csv}"
    );
    assert!(csv.contains("\"2027-03-16\""), "the date of leaving: {csv}");
}

#[test]
fn dates_of_arrival_and_leaving_that_are_month_first_are_the_same_in_the_file_of_refused_rows() {
    let (refused, csv, again) = read_again(
        "month-first",
        dated_sheet(
            "A0001BC|B|||||12/31/2026|12/31/2019\n\
             A0002BC|X||||||03/04/2019\n\
             A0003BC|B|Okafor, Grace|485926|PRO|01/07/2019|03/12/2026|\n\
             A0004BC|X|Okafor, Grace|485926|PRO|01/07/2019|12/03/2026|",
        ),
        &[("\"X\"", "\"B\"")],
    );
    assert_eq!(refused, [3, 4, 5]);
    assert_eq!(
        shorts(&again),
        ["2: B waits since 2019-03-04", "3: has-left", "4: B 485926 Okafor, Grace 2019-07-01"],
        "{csv}"
    );
    let problem = again.rows[1].case.as_ref().expect_err("has left");
    assert!(problem.reason.starts_with("has left on 12 March 2026"), "{}", problem.reason);
}

/// The rows that prove both orders are not in the file.
#[test]
fn a_date_that_may_be_two_stays_refused_in_the_file_of_refused_rows() {
    let proofs = "A0001BC|B|Okafor, Grace|485926|PRO|31/12/2018|31/12/2026|31/12/2018\n\
                  A0002BC|B|Okafor, Grace|485926|PRO|12/31/2018|12/31/2026|12/31/2018\n";
    let rows = "A0003BC|X|Okafor, Grace|485926|PRO|03/04/2019||\n\
                A0004BC|X||||||03/04/2019\n\
                A0005BC|X|Okafor, Grace|485926|PRO|01/01/2019|03/12/2026|\n\
                A0006BC|X|Okafor, Grace|485926|PRO|03/04/2019 10:30||\n\
                A0007BC|X|Okafor, Grace|485926|PRO|05/05/2019||";
    let (refused, csv, again) = read_again("two", dated_sheet(&format!("{proofs}{rows}")), &[("\"X\"", "\"B\"")]);
    assert_eq!(refused, [4, 5, 6, 7, 8]);
    assert_eq!(
        shorts(&again),
        ["2: allocated-on", "3: arrived-on", "4: has-left", "5: allocated-on", "6: B 485926 Okafor, Grace 2019-05-05"],
        "{csv}"
    );
    assert!(csv.contains("\"03/04/2019 ?\""), "{csv}");
}

#[test]
fn a_value_of_merged_columns_is_in_each_of_them_in_the_file_of_refused_rows() {
    let drawn = "Prison number|Tier|Date allocated|Received|POM|Staff id|POM type\n\
                 A0001BC|X|01/07/2019||Okafor, Grace|485926|PRO\nA0002BC|X|01/07/2019||||";
    let mut merged = sheet("cases", drawn);
    merged.marks.merged_columns.extend([(2, vec![(2, 3)]), (3, vec![(2, 3)])]);
    let (_, csv, again) = read_again("merged", merged, &[("\"X\"", "\"B\"")]);
    assert_eq!(shorts(&again), ["2: B 485926 Okafor, Grace 2019-07-01", "3: B waits since 2019-07-01 !"], "{csv}");
}
