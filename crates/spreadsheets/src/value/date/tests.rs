//! Dates as prisons write them, one by one and in columns.

use super::*;

/// The date of a cell in a column in which no other cell proves an order.
fn read(cell: &Cell) -> String {
    DateColumn::default().read(cell).map_or_else(|_| "-".to_owned(), |(date, _)| date.to_string())
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(read(&Cell::text(text)), expected, "{text}");
}

#[test]
fn dates_are_read_day_first_in_every_usual_spelling() {
    for text in [
        "31/12/2019",
        "31/12/19",
        "31-Dec-19",
        "31-DEC-2019",
        "31 December 2019",
        "31st Dec 2019",
        "31st of December, 2019",
        "2019-12-31",
        "2019/12/31",
        "31.12.2019",
        "31-12-2019",
        "Tue 31 Dec 2019",
        "Tuesday, 31/12/2019",
        "31/12/2019 (Tue)",
        "Dec 31, 2019",
        "2019-12-31T00:00:00",
        "2019-12-31 00:00:00.000",
        "31/12/2019 00:00",
        "31/12/2019 23:59:59",
        "31/12/2019 at 9:30",
        "31/12/2019 10:30 AM",
        "31/12/2019 10:30:00 pm",
        "43830",
        "43830.99",
        " 31 / 12 / 2019",
        "31Dec2019",
        "31/12/2019.",
        "'31/12/2019",
        "=\"31/12/2019\"",
        "\u{200e}31\u{200e}/\u{200e}12\u{200e}/2019",
    ] {
        check(text, "2019-12-31");
    }
    check("01/02/2019", "2019-02-01");
    check("1/2/19", "2019-02-01");
    check("01-Jan-91", "2091-01-01");
    check("4 Sept 2019", "2019-09-04");
    assert_eq!(read(&Cell::Number(43_830.0)), "2019-12-31");
}

#[test]
fn a_text_with_more_than_a_date_or_less_is_refused() {
    for wrong in [
        "",
        "31/02/2019",
        "2019",
        "TBC",
        "31/12",
        "31/12/019",
        "soon 2019",
        "12/2019",
        "31/12/2019 and later",
        "31/12/1899",
        "2200-01-01",
        "0001-01-01",
        "01/07/2019 03/04/2020",
        "01/07/2019 - 05/08/2019",
        "01/07/2019, 05/08/20",
        "01/07/2019\n03/04/2020",
        "01/07/2019 to 05/08/2019",
        "01/07/2019 99:99",
        "01/07/2019 24:00",
        "01/07/2019 13:00 PM",
        "01/07/2019 10:3",
        "01/07/2019 10:30-11:30",
        "01/07/2019 05.08",
        "01/07/2019 1030",
        "01/07/2019/2020",
        "01/07/2019 10:30 11:30",
        "01/07/2019-10",
        "Mon 31 Dec 2019",
        "31/12/2019 (Mon)",
        "12:05:19",
        "1e4",
        "inf",
    ] {
        check(wrong, "-");
    }
    for year in [-4_800, 1, 1_899, 2_200, 9_999, 262_142] {
        let cell = Cell::Date(NaiveDate::from_ymd_opt(year, 6, 1).expect("a date"));
        assert_eq!(read(&cell), "-", "{year}");
    }
    assert_eq!(read(&Cell::Number(2019.0)), "-");
}

/// An instant has one date in London, however its time zone is written.
#[test]
fn an_instant_is_its_date_in_london() {
    for midnight in [
        "2019-06-30T23:00:00Z",
        "2019-06-30T23:00:00.000Z",
        "2019-06-30t23:00:00z",
        "2019-06-30 23:00:00Z",
        "2019-06-30T23:00Z",
        "2019-06-30 23:00:00 UTC",
        "2019-06-30 23:00:00+00:00",
        "2019-06-30T23:00:00.000+0000",
        "Sun, 30 Jun 2019 23:00:00 GMT",
        "Sun, 30 Jun 2019 23:00:00 +0000",
        "30/06/2019 23:00Z",
        "2019-07-01T00:00:00+01:00",
        "2019-07-01T00:00:00.000+01:00",
        "2019-07-01T00:00:00+0100",
        "2019-07-01 00:00 +01",
        "2019-07-01 00:00 BST",
        "2019-06-30T19:00:00-04:00",
        "2019-07-01T00:00:00",
    ] {
        check(midnight, "2019-07-01");
    }
    for (instant, date) in [
        ("2019-12-31T23:59:59.999Z", "2019-12-31"),
        ("2019-12-31T00:30:00+01:00", "2019-12-30"),
        ("2019-12-30T23:59:60Z", "2019-12-31"),
    ] {
        check(instant, date);
    }
    for wrong in ["2019-06-30T23:00:00+25:00", "2019-06-30T23:00:00+01:99", "2019-06-30T23:00:00ZZ"] {
        check(wrong, "-");
    }
}

/// Reads a column of texts: each date, with `!` where a warning goes with it.
fn column(texts: &[&str]) -> Vec<String> {
    let cells: Vec<Cell> = texts.iter().map(|text| Cell::text(text)).collect();
    let column = DateColumn::of((2..).zip(&cells));
    let shown = |cell| match column.read(cell) {
        Ok((date, warning)) => format!("{date}{}", if warning.is_some() { "!" } else { "" }),
        Err(_) => "-".to_owned(),
    };
    cells.iter().map(shown).collect()
}

#[test]
fn a_column_is_read_month_first_where_only_that_is_proved_and_each_row_says_so() {
    assert_eq!(
        column(&["03/04/2019", "12/31/2018", "11/11/18", "4 July 2019", ""]),
        ["2019-03-04!", "2018-12-31!", "2018-11-11!", "2019-07-04!", "-"]
    );
    assert_eq!(column(&["03/04/2019", "11/11/18", "4 July 2019"]), ["2019-04-03", "2018-11-11", "2019-07-04"]);
    assert_eq!(column(&["03/04/2019", "31/12/2018"]), ["2019-04-03", "2018-12-31"]);
    assert_eq!(column(&["Wed 03/04/2019", "04/05/2019"]), ["2019-04-03", "2019-05-04"], "a weekday proves it, too");
    // A program may have taken the month for the day where it could, and left the rest as text.
    let typed = Cell::Date(NaiveDate::from_ymd_opt(2019, 4, 3).expect("a date"));
    let american = DateColumn { day_first_row: None, month_first_row: Some(3) };
    let (_, warning) = american.read(&typed).expect("a date");
    assert!(warning.expect("a warning").contains("has not taken the month for the day"));
}

#[test]
fn in_a_column_with_both_orders_each_date_that_may_be_two_is_refused() {
    assert_eq!(
        column(&["03/04/2019", "31/12/2018", "12/31/2018", "05/05/2019", "4 July 2019"]),
        ["-", "2018-12-31", "2018-12-31!", "2019-05-05", "2019-07-04"]
    );
    let column = DateColumn { day_first_row: Some(3), month_first_row: Some(4) };
    assert_eq!(
        column.read(&Cell::text("03/04/2019")).expect_err("ambiguous"),
        "it may be 3 April 2019 or 4 March 2019: the column has dates with the day first (row 3) and with the month \
         first (row 4). Write the month's name"
    );
}
