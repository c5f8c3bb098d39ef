//! The meaning of sheets: each test is a kind of sheet that prisons keep, with its right reading.

use domain::{Command, officer::PomKind, prisoner};

use super::{
    heading::Field,
    layout::{UnreadSheet, mapping, reading},
    plan::{HeldHistories, PlannedRow, Verdict, plan},
    reader::{DAY_ZERO_OF_1904, Sheet},
    row::{CaseTable, DataRow, FIELDS, RowCase, TableTerms},
    staff::StaffDirectory,
    tests::{find, read, sheet, table, terms, today},
    value::PomKindWords,
};

const HEADINGS: &str = "Prison number|Tier|POM|Staff id|POM type|Date allocated|Notes\n";

/// A row in short: its number and what it says, or the code of its problem.
fn short(row: &DataRow) -> String {
    let said = match &row.case {
        Ok(RowCase::Allocated(case)) => {
            format!("{} {} {} {}", case.tier, case.staff_id, case.pom_name.as_deref().unwrap_or("-"), case.allocated_on)
        }
        Ok(RowCase::Waiting(case)) => {
            let since = case.since.map_or_else(|| "today".to_owned(), |since| since.to_string());
            format!("{} waits since {since}", case.tier)
        }
        Err(problem) => problem.code.clone(),
    };
    format!("{}: {said}{}", row.number, if row.doubts.is_empty() { "" } else { " !" })
}

pub(super) fn shorts(table: &CaseTable) -> Vec<String> {
    table.rows.iter().map(short).collect()
}

/// Reads rows below the usual headings.
#[track_caller]
fn check(rows: &str, expected: &[&str]) {
    assert_eq!(shorts(&read(&[sheet("cases", &format!("{HEADINGS}{rows}"))])), expected);
}

fn planned(table: CaseTable) -> Vec<PlannedRow> {
    plan(table.rows, HeldHistories::of_empty_ledger(&terms().prison), &terms()).rows
}

#[test]
fn a_cell_of_two_dates_is_refused_and_one_of_a_date_and_a_time_is_read() {
    check(
        "A0001BC|C|Okafor, Grace|485926|PRO|01/07/2019 03/04/2020|two dates\n\
         A0002BC|C|Okafor, Grace|485926|PRO|01/07/2019 - 05/08/2019|range\n\
         A0003BC|C|Okafor, Grace|485926|PRO|01/07/2019, 05/08/20|two\n\
         A0004BC|C|Okafor, Grace|485926|PRO|01/07/2019 99:99|no time\n\
         A0005BC|C|Okafor, Grace|485926|PRO|01/07/2019 10:30|time\n\
         A0006BC|C|Okafor, Grace|485926|PRO|01/07/2019/2020|?",
        &[
            "2: allocated-on",
            "3: allocated-on",
            "4: allocated-on",
            "5: allocated-on",
            "6: C 485926 Okafor, Grace 2019-07-01",
            "7: allocated-on",
        ],
    );
}

#[test]
fn a_column_that_can_only_be_month_first_is_read_so_with_a_warning_at_each_row() {
    let rows = "A0001BC|C|Okafor, Grace|485926|PRO|03/04/2019|\nA0002BC|C|Okafor, Grace|485926|PRO|12/31/2018|\n\
                A0003BC|C|Okafor, Grace|485926|PRO|11/11/2018|";
    check(
        rows,
        &[
            "2: C 485926 Okafor, Grace 2019-03-04 !",
            "3: C 485926 Okafor, Grace 2018-12-31 !",
            "4: C 485926 Okafor, Grace 2018-11-11 !",
        ],
    );
    let table = read(&[sheet("cases", &format!("{HEADINGS}{rows}"))]);
    assert!(table.notes().iter().any(|note| note.contains("month first, since row 3")), "{:?}", table.notes());
    let warned = planned(table);
    assert!(
        warned.iter().all(|row| matches!(row.verdict, Verdict::Record(_)) && row.warnings.len() == 1),
        "{warned:?}"
    );
    check(
        &format!("{rows}\nA0004BC|C|Okafor, Grace|485926|PRO|31/12/2018|"),
        &[
            "2: allocated-on",
            "3: C 485926 Okafor, Grace 2018-12-31 !",
            "4: C 485926 Okafor, Grace 2018-11-11",
            "5: C 485926 Okafor, Grace 2018-12-31",
        ],
    );
}

#[test]
fn an_error_a_placeholder_or_a_vacancy_beside_a_staff_id_registers_no_pom() {
    for absent in
        ["#N/A", "#SPILL!", "NULL", "TBC", "-", "n/a", "?", "0", "Vacant", "Unallocated", "Agency, TBC", "none"]
    {
        check(
            &format!(
                "A0001BC|C|{absent}|485926|PRO|01/07/2019|\nA0002BC|C|Okafor, Grace|485926|PRO|01/07/2019|#REF!\n\
                 A0003BC|C|{absent}|485927|PRO|01/07/2019|"
            ),
            &["2: pom-name", "3: C 485926 Okafor, Grace 2019-07-01", "4: pom-name"],
        );
    }
    let table = read(&[sheet("cases", &format!("{HEADINGS}A0001BC|C|Okafor, Grace|485926|PRO|01/07/2019|#REF!"))]);
    assert_eq!(table.rows[0].allocated().expect("a case").note, None, "an error is no note");
}

#[test]
fn a_case_that_no_pom_has_waits() {
    let drawn = "Prison number|Tier|POM|Staff id|POM type|Date allocated|Received|Notes\n\
                 A0001BC|B2||||||\n\
                 A0002BC|C|Unallocated||||02/03/2026|\n\
                 A0003BC|C|Vacant|||01/07/2019|02/03/2026|see file\n\
                 A0004BC|C|TBC|||||\n\
                 A0005BC|C|#N/A|||||\n\
                 A0006BC|C|Okafor, Grace|||||\n\
                 A0007BC|||||||\n\
                 A0008BC|C||485926||||\n\
                 A0009BC|C||||||03/03/2027\n\
                 A0010BC|C|Okafor, Grace|485926|PRO|01/07/2019|01/06/2019|";
    let table = read(&[sheet("cases", drawn)]);
    assert_eq!(
        shorts(&table),
        [
            "2: B2 waits since today !",
            "3: C waits since 2026-03-02",
            "4: C waits since 2026-03-02 !",
            "5: staff-id",
            "6: staff-id",
            "7: staff-id",
            "8: tier",
            "9: allocated-on",
            "10: C waits since today !",
            "11: C 485926 Okafor, Grace 2019-07-01",
        ]
    );
    let rows = planned(table);
    let Verdict::Record(step) = &rows[1].verdict else { panic!("{:?}", rows[1]) };
    assert_eq!(step.effective_at.to_rfc3339(), "2026-03-02T00:00:00+00:00");
    let Command::Prisoner(number, prisoner::Command::AssignTier(tier)) = &step.command else { panic!("{step:?}") };
    assert_eq!(
        (number.as_str(), tier.tier.to_string(), tier.prison.as_ref()),
        ("A0002BC", "C".to_owned(), Some(&terms().prison))
    );
    let Verdict::Record(step) = &rows[0].verdict else { panic!("{:?}", rows[0]) };
    assert_eq!(step.effective_at.to_rfc3339(), "2026-11-24T00:00:00+00:00", "since today");
}

#[test]
fn a_number_in_other_letters_or_of_invisible_marks_is_nobody_elses() {
    check(
        "A1234ß|C|Okafor, Grace|485926|PRO|01/07/2019|\nſA1234BC|C|Okafor, Grace|485926|PRO|01/07/2019|\n\
         A1234ſC|C|Okafor, Grace|485926|PRO|01/07/2019|\nA1234ﬀ|C|Okafor, Grace|485926|PRO|01/07/2019|\n\
         A00\u{200b}05BC|\u{ad}C|Okafor, Grace|\u{2060}485926|PRO|\u{200e}01/07/2019|",
        &[
            "2: prisoner-number",
            "3: prisoner-number",
            "4: prisoner-number",
            "5: prisoner-number",
            "6: C 485926 Okafor, Grace 2019-07-01",
        ],
    );
}

#[test]
fn marks_that_programs_put_around_texts_are_no_part_of_them() {
    check(
        "=\"A0001BC\"|=\"C\"|=\"Okafor, Grace\"|=\"485926\"|=\"PRO\"|=\"01/07/2019\"|=\"x\"\n\
         'A0002BC|'C|'Okafor, Grace|'485926|'PRO|'01/07/2019|x\n\
         A0003BC.|C.|Okafor, Grace|485926.|PRO.|01/07/2019.|x",
        &[
            "2: C 485926 Okafor, Grace 2019-07-01",
            "3: C 485926 Okafor, Grace 2019-07-01",
            "4: C 485926 Okafor, Grace 2019-07-01",
        ],
    );
}

#[test]
fn a_name_that_cannot_be_told_is_recorded_as_written_with_a_warning() {
    check(
        "A0001BC|C|DE SOUZA MARIA|485902|PRO|01/07/2019|\nA0002BC|C|VAN DER BERG Jan|485903|PRO|01/07/2019|\n\
         A0003BC|C|Mr J. Smith|485904|PRO|01/07/2019|",
        &[
            "2: C 485902 DE SOUZA MARIA 2019-07-01 !",
            "3: C 485903 VAN DER BERG, Jan 2019-07-01",
            "4: C 485904 Smith, J. 2019-07-01",
        ],
    );
}

const COUNTED: &str = "No|Prisoner|NOMIS no|Tier|POM|Grade|Date allocated\n\
                       1|Ash|A0001BC|C|Smith, John|PO|01/07/2019\n2|Bee|A0002BC|C|Patel, Anita|PRO|01/07/2019\n\
                       3|Cox|A0003BC|B|Smith, John|PO|01/07/2019\n4|Dee|A0004BC|B|Patel, Anita|PRO|01/07/2019";

#[test]
fn a_column_that_counts_the_rows_is_never_a_staff_id() {
    for heading in ["No", "#", "ID", "Staff id", "POM ID"] {
        let drawn = COUNTED.replacen("No|", &format!("{heading}|"), 1);
        let sheets = [sheet("cases", &drawn)];
        let layout = find(&sheets, None, &[], FIELDS).expect("the cases are found by name");
        assert_eq!(layout.columns.get(&Field::StaffId), None, "{heading}");
        let table = table(&sheets[0], &layout);
        assert!(
            table.rows.iter().all(|row| row.case.as_ref().is_err_and(|problem| problem.code == "staff-id")),
            "{heading}"
        );
    }
    let unique = COUNTED
        .replace("\n1|", "\n7001|")
        .replace("\n2|", "\n7002|")
        .replace("\n3|", "\n7010|")
        .replace("\n4|", "\n7044|");
    let sheets = [sheet("cases", &unique)];
    assert_eq!(find(&sheets, None, &[], FIELDS).expect("found").counters.len(), 1, "unique although names repeat");
    let mapped = [mapping("No=staffId", FIELDS).expect("a mapping")];
    let layout = find(&sheets, None, &mapped, FIELDS).expect("found");
    assert!(table(&sheets[0], &layout).rows[0].allocated().is_some(), "a user may say so");
}

#[test]
fn a_sheet_without_staff_ids_takes_them_from_a_list_of_poms_in_the_file() {
    let list = sheet(
        "POMs",
        "Our POMs\n#|Name|Staff number|Grade\n1|John Smith|485926|PSO\n2|PATEL Anita|485927|PRO\n3|Lee, Sam|485928|PRO\n4|Lee, Sam|485929|PRO",
    );
    let drawn =
        format!("{COUNTED}\n5|Eve|A0005BC|C|Lee, Sam|PRO|01/07/2019\n6|Fox|A0006BC|C|Newman, Una|PRO|01/07/2019");
    let sheets = [sheet("cases", &drawn), list];
    let layout = find(&sheets, None, &[], FIELDS).expect("the cases are found");
    let pom_kinds = PomKindWords::default();
    let staff = StaffDirectory::of_sheets(&sheets, layout.sheet, &pom_kinds);
    assert_eq!(staff.source(), Some("Staff ids are those of column C of the sheet `POMs`, by the POM's name."));
    let table =
        super::row::table(&sheets[0], &layout, TableTerms { today: today(), pom_kinds: &pom_kinds, staff: &staff });
    assert_eq!(
        shorts(&table),
        [
            "2: C 485926 Smith, John 2019-07-01",
            "3: C 485927 Patel, Anita 2019-07-01",
            "4: B 485926 Smith, John 2019-07-01",
            "5: B 485927 Patel, Anita 2019-07-01",
            "6: staff-id",
            "7: staff-id",
        ]
    );
    let reason = |row: usize| table.rows[row].case.as_ref().expect_err("refused").reason.clone();
    assert!(reason(4).contains("`Lee, Sam` has several: 485928, 485929"), "{}", reason(4));
    assert!(reason(5).contains("neither the roster nor another sheet has one for `Newman, Una`"), "{}", reason(5));
}

#[test]
fn each_column_of_dates_says_that_it_was_read_month_first() {
    let drawn = "Prison number|Tier|POM|Staff id|POM type|Date allocated|Received|Left on\n\
                 A0001BC|C|Okafor, Grace|485926|PRO|01/07/2018|12/31/2018|01/13/2046\n\
                 A0002BC|C|Okafor, Grace|485926|PRO|01/07/2018|01/02/2018|02/11/2045\n\
                 A0003BC|C|Okafor, Grace|485926|PRO|01/07/2018||#N/A";
    let table = read(&[sheet("cases", drawn)]);
    let expected = ["2: C 485926 Okafor, Grace 2018-07-01 !", "3: C 485926 Okafor, Grace 2018-07-01 !", "4: left-on"];
    assert_eq!(shorts(&table), expected);
    for dates in
        ["Dates of leaving were read month first, since row 2", "Dates of arrival were read month first, since row 2"]
    {
        assert!(table.notes().iter().any(|note| note.starts_with(dates)), "{:?}", table.notes());
    }
}

#[test]
fn people_who_have_left_are_refused_and_their_sheet_is_not_taken_for_the_current_one() {
    let drawn = "Prison number|Tier|POM|Staff id|POM type|Date allocated|Left on\n\
                 A0001BC|C|Okafor, Grace|485926|PRO|01/07/2019|03/03/2024\n\
                 A0002BC|C|Okafor, Grace|485926|PRO|01/07/2019|Yes, to Leeds\n\
                 A0003BC|C|Okafor, Grace|485926|PRO|01/07/2019|\n\
                 A0004BC|C|Okafor, Grace|485926|PRO|01/07/2019|n/a\n\
                 A0005BC|C|Okafor, Grace|485926|PRO|01/07/2019|03/03/2027\n\
                 A0006BC|C|Okafor, Grace|485926|PRO|01/07/2019|#N/A";
    let here = "C 485926 Okafor, Grace 2019-07-01";
    for heading in ["Left on", "Released", "Transferred", "Transferred out", "Date out", "Deallocated"] {
        let table = read(&[sheet("cases", &drawn.replace("Left on", heading))]);
        assert_eq!(
            shorts(&table),
            [
                "2: has-left".to_owned(),
                "3: has-left".to_owned(),
                format!("4: {here}"),
                format!("5: {here}"),
                format!("6: {here}"),
                "7: left-on".to_owned()
            ],
            "{heading}"
        );
        let problem = table.rows[0].case.as_ref().expect_err("has left");
        assert!(problem.reason.starts_with("has left on 3 March 2024"), "{}", problem.reason);
    }
    let case = |number: u32, left: &str| format!("A{number:04}BC|C|Okafor, Grace|485926|PRO|01/07/2019|{left}\n");
    let headings = "Prison number|Tier|POM|Staff id|POM type|Date allocated|Left on\n";
    let gone: String = (1..=9).map(|number| case(number, "03/03/2024")).collect();
    let sheets =
        [sheet("Sheet1", &format!("{headings}{gone}")), sheet("Sheet2", &format!("{headings}{}", case(11, "")))];
    let layout = find(&sheets, None, &[], FIELDS).expect("found");
    assert_eq!(layout.sheet, 1);
    assert_eq!(layout.passed_over, [UnreadSheet { name: "Sheet1".to_owned(), cases: 9, is_over: true }]);
}

#[test]
fn the_reading_names_each_column_by_its_letter_and_says_what_was_not_read() {
    let sheets: [Sheet; 1] = [sheet(
        "cases",
        "Wing list\n\n#|Prison number|Tier|POM|POM ID|POM type|Date allocated|Tier|Date allocated|COM\n\
         1|A0001BC|B|Okafor, Grace|485926|PO|01/07/2019|C|05/06/2020|x",
    )];
    let layout = find(&sheets, None, &[], FIELDS).expect("found");
    let reading = reading(&sheets[0], &layout, FIELDS);
    assert_eq!(
        reading.to_string(),
        "Read from the sheet `cases`, with its headings in row 3:\n\
        \x20 prisoner number    <- B  \"Prison number\"\n\
        \x20 tier               <- C  \"Tier\"\n\
        \x20 POM's name         <- D  \"POM\"\n\
        \x20 staff id           <- E  \"POM ID\"\n\
        \x20 POM kind           <- F  \"POM type\"\n\
        \x20 date of allocation <- G  \"Date allocated\"\n\
         Not read: A \"#\" (it counts the rows, and is no staff id), H \"Tier\" (column C was taken for the tier), \
         I \"Date allocated\" (column G was taken for the date of allocation), J \"COM\".\n"
    );
    let json = serde_json::to_value(&reading).expect("JSON");
    assert_eq!(json["columns"][1]["field"], "prisonerNumber");
    assert_eq!(json["columns"][7]["note"], "column C was taken for the tier");
}

#[test]
fn a_column_of_unknown_words_for_kinds_of_pom_is_explained() {
    let drawn = "Prison number|Tier|POM|Staff id|Type|Date allocated\n\
                 A0001BC|C|Okafor, Grace|485926|Band 6|01/07/2019";
    let sheets = [sheet("cases", drawn)];
    let layout = find(&sheets, None, &[], FIELDS).expect("found");
    let reading = reading(&sheets[0], &layout, FIELDS).to_string();
    assert!(reading.contains("E \"Type\" (its words are no known kinds of POM"), "{reading}");
    let rows = planned(table(&sheets[0], &layout));
    let Verdict::Refused(problem) = &rows[0].verdict else { panic!("{rows:?}") };
    assert!(problem.reason.contains("--pom-kind"), "{}", problem.reason);
}

#[test]
fn a_word_for_a_kind_of_pom_is_what_the_user_says() {
    let drawn = "Prison number|Tier|POM|Staff id|Type|Date allocated\n\
                 A0001BC|C|Okafor, Grace|485926|Band 6|01/07/2019\nA0002BC|C|Lee, Sam|485927|PO|01/07/2019";
    let sheets = [sheet("cases", drawn)];
    let pom_kinds: PomKindWords = ["band 6=PRISON", "po=PRISON"]
        .map(|text| super::value::pom_kind_word(text).expect("a word"))
        .into_iter()
        .collect();
    let layout = super::layout::find(&sheets, None, &[], FIELDS, &pom_kinds, today()).expect("found");
    let staff = StaffDirectory::default();
    let table =
        super::row::table(&sheets[0], &layout, TableTerms { today: today(), pom_kinds: &pom_kinds, staff: &staff });
    let kinds: Vec<_> = table.rows.iter().map(|row| row.allocated().and_then(|case| case.pom_kind)).collect();
    assert_eq!(kinds, [Some(PomKind::Prison), Some(PomKind::Prison)]);
    assert_eq!(table.notes(), ["`Band 6` was read as a prison POM, `PO` as a prison POM."]);
}

#[test]
fn a_person_may_have_arrived_before_the_first_allocations_and_waits_since_then() {
    let drawn = "Prison number|Tier|POM|Staff id|POM type|Date allocated|Received\n\
                 A0001BC|B||||| 04/05/1998\n\
                 A0002BC|B|Okafor, Grace|485926|PRO|01/07/1998|04/05/1998\n\
                 A0003BC|B|Okafor, Grace|485926|PRO|01/01/2000|04/05/1998";
    let table = read(&[sheet("cases", drawn)]);
    assert_eq!(
        shorts(&table),
        ["2: B waits since 1998-05-04", "3: date-too-early", "4: B 485926 Okafor, Grace 2000-01-01"]
    );
    let rows = planned(table);
    assert!(matches!(rows[0].verdict, Verdict::Record(_)), "{rows:?}");
}

/// A sheet is over for what its rows would be refused for, and for nothing else.
#[test]
fn a_sheet_is_over_only_where_nearly_all_of_its_rows_would_be_refused_as_left() {
    let headings = "Prison number|Tier|POM|Staff id|POM type|Date allocated|Released\n";
    let case = |number: u32, left: &str| format!("A{number:04}BC|C|Okafor, Grace|485926|PRO|01/07/2019|{left}\n");
    let sheets = |left: &str| {
        let all: String = (1..=9).map(|number| case(number, left)).collect();
        [sheet("Sheet1", &format!("{headings}{}", case(11, ""))), sheet("Sheet2", &format!("{headings}{all}"))]
    };
    for there in ["No", "N/A", "no", "-", "25/11/2026", "TBC", "0", "#N/A"] {
        assert_eq!(find(&sheets(there), None, &[], FIELDS).expect("found").sheet, 1, "{there}");
    }
    for gone in ["Yes", "24/11/2026", "to Leeds"] {
        let layout = find(&sheets(gone), None, &[], FIELDS).expect("found");
        assert_eq!((layout.sheet, layout.passed_over[0].is_over), (0, true), "{gone}");
    }
    let of_1904 = |day: &str| {
        let [one, mut many] = sheets(day);
        many.marks.day_zero = DAY_ZERO_OF_1904;
        [one, many]
    };
    assert_eq!(find(&of_1904("44889"), None, &[], FIELDS).expect("found").sheet, 1, "25 November 2026");
    assert_eq!(find(&of_1904("44888"), None, &[], FIELDS).expect("found").sheet, 0, "24 November 2026");
}
