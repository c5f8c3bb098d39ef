//! Turns the day numbers of date cells into dates.

use chrono::{Days, NaiveDate};

use super::sheet::Cell;

/// The numbers of the days in the calendar of spreadsheet programs, which ends with the year 9999.
const DAYS: std::ops::Range<f64> = 0.0..2_958_466.0;

/// The first number after 29 February 1900, a day that never was and has the number 60.
const TRUE_DAYS: f64 = 61.0;

/// The cell of a day number, counted from 30 December 1899, in a cell that shows dates. A part of a
/// day is a time of day.
pub fn cell(number: f64) -> Cell {
    if !DAYS.contains(&number) {
        return Cell::Number(number);
    }
    // Programs show a time to the second, and keep a day less a little for the day itself.
    let days = (number + 0.5 / 86_400.0).floor();
    let shift = if days < TRUE_DAYS { 1.0 } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in the range above")]
    let date = NaiveDate::from_ymd_opt(1899, 12, 30)
        .and_then(|first| first.checked_add_days(Days::new((days + shift) as u64)));
    date.map_or(Cell::Number(number), Cell::Date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_number_is_its_date_and_one_beyond_the_calendar_is_none() {
        let day = |text: &str| Cell::Date(text.parse().expect("a date"));
        for (number, date) in [
            (1.0, "1900-01-01"),
            (59.0, "1900-02-28"),
            (61.0, "1900-03-01"),
            (43_739.5, "2019-10-01"),
            (43_738.999_99, "2019-09-30"),
            (43_738.999_999_999, "2019-10-01"),
            (2_958_465.0, "9999-12-31"),
        ] {
            assert_eq!(cell(number), day(date), "{number}");
        }
        for number in [-1.0, 2_958_466.0, 1e10, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(cell(number), Cell::Number(number));
        }
        assert!(matches!(cell(f64::NAN), Cell::Number(_)));
    }
}
