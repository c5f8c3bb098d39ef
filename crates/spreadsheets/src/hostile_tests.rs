//! Odd cells in every column: each row is refused with its number, its column and a reason that is
//! short and can be seen, or the rules take what it says and every store can hold it. The rows
//! around it are read as if it were not there.

use chrono::{Datelike as _, NaiveDate};
use domain::{
    Command,
    moment::YEARS,
    prisoner,
    text::{Lines, Text},
};

use super::{
    contacts,
    plan::{HeldHistories, Verdict, plan},
    reader::{Cell, Row, Sheet},
    row::{DataRow, FIELDS, RowCase},
    tests::{find, table, terms},
};

const HEADINGS: [&str; 7] = ["NOMS no", "Tier", "POM", "Staff id", "Type", "Date allocated", "Notes"];

fn good(number: u32) -> [Cell; 7] {
    [&*format!("A{number:04}BC"), "A", "Okafor, Grace", "485926", "PO", "31/10/2019", "known"].map(Cell::text)
}

fn odd_cells() -> Vec<Cell> {
    let long = "x".repeat(100_000);
    let mut texts = vec![
        "",
        " ",
        "\u{feff}",
        "\u{202e}",
        "\u{3164}\u{e0041}",
        "a\u{202e}b",
        "a\0b",
        "\u{1b}[2J",
        "\u{7}",
        "\u{9b}",
        "\u{85}",
        "\u{2028}",
        "\u{ffff}",
        "\u{fffd}",
        "a\tb",
        "a\r\nb",
        &long,
        "=1+1",
        "=HYPERLINK(\"x\")",
        "+5",
        "-1",
        "-0",
        "1e3",
        "1e400",
        "NaN",
        "inf",
        "0",
        "00485926",
        "485926.0",
        "485926.5",
        "٤٨٥٩٢٦",
        "１２３",
        "9007199254740992",
        "99999999999999999999",
        "31/12/9999",
        "01/01/1900",
        "31/12/1899",
        "00/00/0000",
        "31/02/2019",
        "01/13/2019",
        "1/1/20000",
        "-1/1/2019",
        "43739.99999",
        "2958466",
        "-43739",
        "2019-10-01T23:59:60Z",
        "2019-10-01T23:30:00-23:59",
        "01/10/2019 99:99",
        "ſ1234BC",
        "A1234ﬀ",
        "ß",
        "Total",
        "NOMS no",
        "TRUE",
        "#N/A",
        "'",
        "\"",
        "{\"a\":1}",
        "%s",
        "`",
        "` is not a ",
    ];
    let many = ", ".repeat(5_000);
    texts.push(&many);
    let numbers = [
        0.0,
        -0.0,
        -1.0,
        0.5,
        1e300,
        -1e300,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        43_739.999_999_9,
        20_000.0,
        79_999.9,
        80_000.0,
        2_958_465.0,
        9_007_199_254_740_992.0,
        1e18,
    ];
    let dates = [NaiveDate::MIN, NaiveDate::MAX, NaiveDate::default()];
    let texts = texts.into_iter().map(Cell::text);
    texts.chain(numbers.map(Cell::Number)).chain(dates.map(Cell::Date)).collect()
}

fn sheet(headings: &[&str], rows: Vec<Vec<Cell>>) -> Sheet {
    let headings = headings.iter().map(|heading| Cell::text(heading)).collect();
    let rows = (1..).zip([headings].into_iter().chain(rows)).map(|(number, cells)| Row { number, cells }).collect();
    Sheet { name: "cases".to_owned(), rows, ..Sheet::default() }
}

#[track_caller]
fn check_shown(what: &str, text: &str) {
    assert!(text.chars().count() < 1_000, "{what}: {} characters", text.chars().count());
    let unseen = |c: char| c.is_control() || "\u{202e}\u{feff}\u{3164}\u{e0041}\u{ffff}\u{2028}".contains(c);
    assert!(!text.contains(unseen), "{what}: {text:?}");
}

/// Checks that the ledger can hold what a row says: the types of the edge take each text and date.
#[track_caller]
fn check_held(what: &str, row: &DataRow) {
    let case = match row.case.as_ref().expect("a row that is recorded") {
        RowCase::Allocated(case) => case,
        RowCase::Waiting(case) => return assert_eq!(case.since, None, "{what}"),
    };
    assert!(YEARS.contains(&case.allocated_on.year()), "{what}");
    if let Some(name) = &case.pom_name {
        assert_eq!(Text::try_from(name.clone()).map(String::from).as_ref(), Ok(name), "{what}");
    }
    if let Some(note) = &case.note {
        assert!(Lines::try_from(note.clone()).is_ok() && note.chars().count() <= prisoner::NOTE_LEN_MAX, "{what}");
    }
}

#[test]
fn an_odd_cell_of_a_case_is_refused_by_column_or_can_be_held() {
    for cell in odd_cells() {
        for (column, heading) in HEADINGS.iter().enumerate() {
            let what = format!("{:.60} in {heading}", format!("{cell:?}"));
            let mut odd = good(2);
            odd[column] = cell.clone();
            let sheets = [sheet(&HEADINGS, vec![good(1).to_vec(), odd.to_vec(), good(3).to_vec()])];
            let layout = find(&sheets, None, &[], FIELDS).unwrap_or_else(|error| panic!("{what}: {error}"));
            let read = table(&sheets[0], &layout);
            let planned = plan(read.rows, HeldHistories::of_empty_ledger(&terms().prison), &terms()).rows;
            let numbers: Vec<u32> = planned.iter().map(|planned| planned.row.number).collect();
            // A row without a number, such as one of totals, is counted and not a case.
            assert!(numbers == [2, 3, 4] || column == 0 && numbers == [2, 4], "{what}: {numbers:?}");
            for planned in planned {
                let is_odd = planned.row.number == 3;
                match &planned.verdict {
                    Verdict::Record(step) => {
                        check_held(&what, &planned.row);
                        assert!(matches!(step.command, Command::Prisoner(..)), "{what}");
                    }
                    Verdict::Refused(problem) => {
                        assert!(is_odd, "{what}: row {} is refused, too", planned.row.number);
                        assert!(!problem.reason.is_empty() && !problem.code.is_empty(), "{what}");
                        assert!(problem.column.is_some() || problem.code == "detail-too-long", "{what}: {problem:?}");
                        for text in [Some(&problem.reason), problem.column.as_ref(), problem.value.as_ref()] {
                            check_shown(&what, text.map_or("", |text| text));
                        }
                    }
                    Verdict::AlreadyRecorded => panic!("{what}: the ledger is empty"),
                }
            }
        }
    }
}

#[test]
fn an_odd_heading_is_passed_over_or_refused_in_a_short_sentence() {
    for cell in odd_cells() {
        for (column, heading) in HEADINGS.iter().enumerate() {
            let what = format!("{:.60} for {heading}", format!("{cell:?}"));
            let mut sheets = [sheet(&HEADINGS, vec![good(1).to_vec()])];
            sheets[0].rows[0].cells[column] = cell.clone();
            match find(&sheets, None, &[], FIELDS) {
                Ok(layout) => assert!(table(&sheets[0], &layout).rows.len() <= 1, "{what}"),
                Err(error) => check_shown(&what, &format!("{error:#}")),
            }
        }
    }
}

#[test]
fn an_odd_cell_of_a_contact_is_refused_by_column_or_can_be_held() {
    const CONTACT_HEADINGS: [&str; 4] = ["Prisoner number", "Staff ID", "Name", "Contact type"];
    let good = |number: u32| [&*format!("A{number:04}BC"), "485926", "Okafor, Grace", "POM"].map(Cell::text);
    for cell in odd_cells() {
        for (column, heading) in CONTACT_HEADINGS.iter().enumerate() {
            let what = format!("{:.60} in {heading}", format!("{cell:?}"));
            let mut odd = good(2);
            odd[column] = cell.clone();
            let sheets = [sheet(&CONTACT_HEADINGS, vec![good(1).to_vec(), odd.to_vec(), good(3).to_vec()])];
            let layout = find(&sheets, None, &[], contacts::FIELDS).unwrap_or_else(|error| panic!("{what}: {error}"));
            let rows = contacts::contacts(&sheets[0], &layout, &terms().prison);
            for (number, row) in &rows {
                match row {
                    Ok(contacts::PersonContact { seen, .. }) => {
                        let texts = [seen.name.as_ref(), Some(&seen.contact_type)];
                        for text in texts.into_iter().flatten() {
                            assert_eq!(Text::try_from(text.clone()).map(String::from).as_ref(), Ok(text), "{what}");
                        }
                        assert!(seen.staff_id.is_some() || seen.name.is_some(), "{what}");
                    }
                    Err(line) => {
                        assert_eq!((*number, line.row), (3, Some(3)), "{what}");
                        for text in [&line.reason, &line.name, &line.contact_type] {
                            check_shown(&what, text.as_deref().unwrap_or_default());
                        }
                        assert!(line.reason.is_some(), "{what}");
                    }
                }
            }
            let planned = contacts::plan(rows, &terms().prison, &[], true, terms().now);
            let recorded = planned.iter().filter(|planned| planned.step.is_some()).count();
            assert!(recorded >= 2, "{what}: the good rows are recorded");
        }
    }
}
