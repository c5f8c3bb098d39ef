//! Files that prisons have sent, or could: odd in one place, and right everywhere else. Each is
//! read up to its cases.

use std::path::PathBuf;

use super::{
    layout::reading,
    reader::{self, Marks, Sheet},
    remarks::remarks,
    row::{FIELDS, RowCase},
    tests::{find, sheet, table},
};

fn open(name: &str) -> reader::File {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/spreadsheets/odd")).join(name);
    reader::read(&path).unwrap_or_else(|error| panic!("{name}: {error:#}"))
}

/// The cases of a file, as `row: number tier staff-id date, name`; the reasons of the rows that are
/// refused; and the remarks.
fn read(name: &str) -> (Vec<String>, Vec<String>) {
    let file = open(name);
    let layout = find(&file.sheets, None, &[], FIELDS).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    let rows = table(&file.sheets[layout.sheet], &layout).rows;
    let rows = rows.iter().map(|row| match &row.case {
        Ok(RowCase::Waiting(case)) => format!("{}: {} waits", row.number, case.prisoner_number),
        Ok(RowCase::Allocated(case)) => format!(
            "{}: {} {} {}, {}",
            row.number,
            case.prisoner_number,
            case.tier,
            case.allocated_on,
            case.pom_name.as_deref().unwrap_or("-")
        ),
        Err(problem) => format!("{}: {}", row.number, problem.reason),
    });
    (rows.collect(), remarks(&file.sheets, &layout))
}

#[track_caller]
fn check(name: &str, expected: &[&str], expected_remarks: &[&str]) {
    let (rows, remarks) = read(name);
    assert_eq!(rows, expected, "{name}");
    assert_eq!(remarks, expected_remarks, "{name}");
}

const FIRST: &str = "2: A0001BC C 2019-07-01, Okafor, Grace";
const SECOND: &str = "3: A0002BC C 2019-07-01, Okafor, Grace";

#[test]
fn a_day_number_counts_from_the_workbooks_own_first_day() {
    check("days-from-1904.xlsx", &[FIRST, SECOND], &[]);
    // Of another program: twenty cases, one a day.
    let (rows, remarks) = read("days-from-1904.xls");
    assert_eq!((rows.len(), remarks), (20, Vec::new()));
    assert_eq!(rows[0], "2: A0001BC B 2019-07-02, Okafor, Zoë");
    assert_eq!(rows[19], "21: A0020BC A 2019-07-21, Okafor, Zoë");
}

#[test]
fn an_odd_cell_anywhere_costs_no_other_cell() {
    check("error-of-a-new-kind.xlsx", &[FIRST, SECOND], &[]);
    check("error-in-another-sheet.xlsx", &[FIRST, SECOND], &[]);
    check("damage-in-another-sheet.xlsx", &[FIRST], &[]);
}

#[test]
fn a_stray_cell_far_away_costs_nothing() {
    check("blank-in-the-last-cell.xlsx", &[FIRST], &[]);
    check("last-cell-of-another-sheet.xlsx", &[FIRST], &[]);
    check("wide-and-long.xlsx", &[FIRST], &[]);
}

#[test]
fn a_text_file_is_read_in_its_own_encoding_to_its_own_end() {
    check(
        "one-stray-byte.csv",
        &["2: A0001BC C 2019-07-01, Zoë, Renée", SECOND],
        &["The file is text in UTF-8 but for 1 byte in line 3, which was read as Windows-1252."],
    );
    check("bell.csv", &["2: note: the control character U+0007 is not allowed in text", SECOND], &[]);
    check("dos-end.csv", &[FIRST], &[]);
    check("utf-16-without-a-mark.csv", &[FIRST], &[]);
}

#[test]
fn what_a_spreadsheet_program_shows_beside_the_cells_is_read_or_said() {
    check(
        "hidden-rows.xlsx",
        &[FIRST, SECOND, "4: A0003BC C 2019-07-01, Okafor, Grace"],
        &["Row 3 is hidden in the sheet, and was read like the others."],
    );
    check(
        "merged-pom.xlsx",
        &[FIRST, SECOND, "4: A0003BC B 2019-07-01, Okafor, Grace"],
        &["2 rows (3 to 4) have cells that are merged with a row above, and took their values from there."],
    );
    check(
        "two-row-heading.xlsx",
        &["3: A0001BC C 2019-07-01, Okafor, Grace", "4: A0002BC C 2019-07-01, Okafor, Grace"],
        &[],
    );
    check("two-tiers.csv", &["2: A0001BC B 2019-07-01, Okafor, Grace"], &[]);
    let file = open("two-tiers.csv");
    let layout = find(&file.sheets, None, &[], FIELDS).expect("the cases are found");
    let text = reading(&file.sheets[layout.sheet], &layout, FIELDS).to_string();
    for expected in [
        "G \"Tier\" (column B was taken for the tier)",
        "H \"Date allocated\" (column F was taken for the date of allocation)",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_web_page_saved_as_a_spreadsheet_is_refused_for_what_it_is() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/spreadsheets/odd/web-page.xls"));
    let refused = format!("{:#}", reader::read(&path).expect_err("no spreadsheet"));
    assert!(refused.contains("it is a web page saved as a spreadsheet"), "{refused}");
    assert!(refused.ends_with("open it in a spreadsheet program and save it as .xlsx or .csv"), "{refused}");
}

#[test]
fn a_sheet_that_cannot_be_read_fails_the_file_only_where_the_cases_may_be_in_it() {
    let marks = Marks { unread: Some("it is damaged".to_owned()), ..Marks::default() };
    let unread = Sheet { name: "Lookup".to_owned(), marks, ..Sheet::default() };
    let cases = |name| sheet(name, "Prison no|Tier|Staff id|Date allocated\nA1234BC|B|485926|01/02/2019");
    let find = |sheets: &[Sheet], name| find(sheets, name, &[], FIELDS).map_err(|error| format!("{error:#}"));
    let may_be = "the sheet `Lookup` cannot be read, and may be the one to read: it is damaged. If another one is, name \
                  it with --sheet";

    let with_cases = [unread.clone(), cases("Cases")];
    assert_eq!(find(&with_cases, None).map(|layout| layout.sheet), Ok(1));
    assert_eq!(find(&with_cases, Some("lookup")), Err("the sheet `Lookup` cannot be read: it is damaged".to_owned()));
    let with_leavers = [cases("Leavers"), unread.clone()];
    assert_eq!(find(&with_leavers, None), Err(may_be.to_owned()));
    assert_eq!(find(&with_leavers, Some("Leavers")).map(|layout| layout.sheet), Ok(0));
    assert_eq!(find(&[sheet("Notes", "a note"), unread.clone()], None), Err(may_be.to_owned()));
    let hidden = [cases("Leavers"), Sheet { hidden: true, ..unread }];
    assert_eq!(find(&hidden, None).map(|layout| layout.sheet), Ok(0));
}
