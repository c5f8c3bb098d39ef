//! When a case that no COM is named for is overdue ("Waiting and overdue" in `docs/domain.md`).

use chrono::{Days, NaiveDate};

/// A case is overdue for a COM from the second day after its handover date.
const OVERDUE_AFTER_DAYS: u64 = 2;

/// The latest handover date of the cases that are overdue for a COM on a London date; `None` at the
/// beginning of the calendar.
#[must_use]
pub fn latest_overdue_date(today: NaiveDate) -> Option<NaiveDate> {
    today.checked_sub_days(Days::new(OVERDUE_AFTER_DAYS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_overdue_on_the_second_day_after_its_handover() {
        let date = |text: &str| text.parse::<NaiveDate>().expect("a date");
        assert_eq!(latest_overdue_date(date("2026-03-03")), Some(date("2026-03-01")));
        assert_eq!(latest_overdue_date(NaiveDate::MIN), None);
    }
}
