//! Reads dates. The whole text of a cell must be one date, with or without a time of day.
//!
//! `03/04/2019` may be two dates, and a cell alone cannot tell which. A [`DateColumn`] can: it
//! looks at all cells of the column.

use std::borrow::Borrow;

use chrono::{DateTime, Datelike as _, Days, NaiveDate, TimeDelta, Weekday};
use domain::{
    london,
    moment::{Instant, YEARS},
};

use super::{EMPTY, ValueProblem, visible_text};
use crate::{
    day_words::describe_day,
    reader::{Cell, Row, Sheet},
};

const NO_DATE: &str = "a date is needed, day first, such as 31/12/2019 or 31-Dec-19";

/// The order of day and month in a date that is written in digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOrder {
    /// As in Britain.
    DayFirst,
    /// As in America.
    MonthFirst,
}

/// The dates that a cell may mean, at least one. They are the same where the order of day and month
/// makes no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenDate {
    day_first: Option<NaiveDate>,
    month_first: Option<NaiveDate>,
}

impl WrittenDate {
    fn certain(date: NaiveDate) -> Self {
        Self { day_first: Some(date), month_first: Some(date) }
    }

    /// The order that the cell proves, since the other order gives no date.
    #[must_use]
    pub fn proven_order(self) -> Option<DateOrder> {
        match (self.day_first, self.month_first) {
            (Some(_), None) => Some(DateOrder::DayFirst),
            (None, Some(_)) => Some(DateOrder::MonthFirst),
            _ => None,
        }
    }

    fn map(self, change: impl Fn(NaiveDate) -> Option<NaiveDate>) -> Self {
        Self { day_first: self.day_first.and_then(&change), month_first: self.month_first.and_then(&change) }
    }

    fn some(self) -> Option<Self> {
        (self.day_first.is_some() || self.month_first.is_some()).then_some(self)
    }
}

/// How a column of a sheet writes its dates, as its cells prove it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DateColumn {
    /// A row in which only the day can come first.
    pub day_first_row: Option<u32>,
    /// A row in which only the month can come first.
    pub month_first_row: Option<u32>,
}

impl DateColumn {
    /// Looks at the cells of a column, each with its row number.
    pub fn of(cells: impl Iterator<Item = (u32, impl Borrow<Cell>)>) -> Self {
        let mut column = Self::default();
        for (row, cell) in cells {
            let known = match date(cell.borrow()).ok().and_then(WrittenDate::proven_order) {
                Some(DateOrder::DayFirst) => &mut column.day_first_row,
                Some(DateOrder::MonthFirst) => &mut column.month_first_row,
                None => continue,
            };
            known.get_or_insert(row);
        }
        column
    }

    /// Looks at the cells that rows of a sheet have in a column.
    pub fn of_rows<'a>(sheet: &Sheet, rows: impl Iterator<Item = &'a Row>, column: usize) -> Self {
        Self::of(rows.map(|row| (row.number, sheet.dated(sheet.data_row(row).cell(column)).into_owned())))
    }

    /// Whether the column is read month first.
    #[must_use]
    pub fn is_month_first(&self) -> bool {
        self.day_first_row.is_none() && self.month_first_row.is_some()
    }

    /// Reads a cell of the column. Beside the date comes a warning where a person should look at
    /// it.
    ///
    /// # Errors
    /// The cell holds no date, or may hold two.
    pub fn read(&self, cell: &Cell) -> Result<(NaiveDate, Option<String>), ValueProblem> {
        let written = date(cell)?;
        let needed = |date: Option<NaiveDate>| date.ok_or_else(|| NO_DATE.to_owned());
        match (self.day_first_row, self.month_first_row) {
            (_, None) => Ok((needed(written.day_first)?, None)),
            (None, Some(row)) => {
                let date = needed(written.month_first)?;
                let is_typed = matches!(cell, Cell::Date(_) | Cell::Number(_));
                let warning = if is_typed && date.day() <= 12 && date.day() != date.month() {
                    format!(
                        "the date is {}, but row {row} of the column is written month first: check that a program has \
                         not taken the month for the day",
                        describe_day(date)
                    )
                } else {
                    format!("the date was read month first, as {}: row {row} can only be meant so", describe_day(date))
                };
                Ok((date, Some(warning)))
            }
            (Some(day_row), Some(month_row)) => match (written.day_first, written.month_first) {
                (Some(one), Some(other)) if one != other => Err(format!(
                    "it may be {} or {}: the column has dates with the day first (row {day_row}) and with the month \
                     first (row {month_row}). Write the month's name",
                    describe_day(one),
                    describe_day(other)
                )),
                (Some(date), _) => Ok((date, None)),
                (None, date) => {
                    let date = needed(date)?;
                    Ok((date, Some(format!("the date was read month first, as {}", describe_day(date)))))
                }
            },
        }
    }
}

/// The dates that a cell may mean: a date cell, day or month first with `/`, `-`, `.` or spaces,
/// with the month's name, ISO, or a spreadsheet's serial number. A year of two digits is in this
/// century, since OMiC is. An instant with a time zone is a date in London.
///
/// # Errors
/// The cell holds something else, or more.
pub fn date(cell: &Cell) -> Result<WrittenDate, ValueProblem> {
    let written = match cell {
        Cell::Empty => return Err(EMPTY.to_owned()),
        Cell::Date(date) => Some(WrittenDate::certain(*date)),
        Cell::Number(serial) => date_of_serial(*serial).map(WrittenDate::certain),
        other => date_of_text(&visible_text(other)),
    };
    written
        .map(|written| written.map(|date| Some(date).filter(|date| YEARS.contains(&date.year()))))
        .and_then(WrittenDate::some)
        .ok_or_else(|| NO_DATE.to_owned())
}

/// The serial numbers that may be a date in a list of cases: 1954 to 2119. A bare year such as 2019
/// is outside the range.
const SERIALS: std::ops::Range<f64> = 20_000.0..80_000.0;

/// The length in bytes of the longest text that may be a date, which is far longer than any.
const DATE_LEN_MAX: usize = 100;

fn date_of_serial(serial: f64) -> Option<NaiveDate> {
    if !SERIALS.contains(&serial) {
        return None;
    }
    // Day 1 is 1 January 1900. Spreadsheet programs count a 29 February 1900, which comes before
    // these serial numbers.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in the range above")]
    NaiveDate::from_ymd_opt(1899, 12, 30)?.checked_add_days(Days::new(serial.floor() as u64))
}

fn date_of_text(text: &str) -> Option<WrittenDate> {
    if text.len() > DATE_LEN_MAX {
        return None;
    }
    if let Ok(instant) = text.parse::<Instant>() {
        return Some(WrittenDate::certain(london::date(instant.into())));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && let Ok(serial) = text.parse::<f64>()
    {
        return date_of_serial(serial).map(WrittenDate::certain);
    }
    let lower = text.to_ascii_lowercase();
    let mut scanner = Scanner { rest: &lower };
    let weekday = scanner.weekday();
    let written = scanner.date()?;
    scanner.skip(|letter| letter.is_whitespace() || matches!(letter, ',' | '@'));
    let time = if scanner.rest.is_empty() {
        None
    } else if let Some(weekday_after) = scanner.last_weekday() {
        return written.map(|date| (date.weekday() == weekday_after).then_some(date)).some();
    } else {
        for word in ["t", "at "] {
            scanner.rest = scanner.rest.strip_prefix(word).unwrap_or(scanner.rest).trim_start();
        }
        let is_year_first = lower.bytes().take(4).all(|byte| byte.is_ascii_digit());
        Some(scanner.time(is_year_first)?)
    };
    let is_its_day = |date: &NaiveDate| weekday.is_none_or(|weekday| date.weekday() == weekday);
    let in_london = |date: NaiveDate| match time {
        Some(TimeOfDay { since_midnight, offset: Some(offset) }) => {
            let instant = date.and_time(chrono::NaiveTime::MIN).and_utc();
            let instant: DateTime<_> = instant.checked_add_signed(since_midnight)?.checked_sub_signed(offset)?;
            Some(london::date(instant))
        }
        _ => Some(date),
    };
    written.map(|date| Some(date).filter(is_its_day).and_then(in_london)).some()
}

/// A time of day as it was written.
#[derive(Debug, Clone, Copy)]
struct TimeOfDay {
    since_midnight: TimeDelta,
    /// Ahead of UTC; `None` without a time zone.
    offset: Option<TimeDelta>,
}

/// Reads a text in lower case from its start.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// Takes the letters at the start that are `wanted`.
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let len = self.rest.find(|letter| !wanted(letter)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        self.take(unwanted);
    }

    /// Skips what may be between the parts of a date.
    fn skip_separators(&mut self) {
        self.skip(|letter| letter.is_whitespace() || matches!(letter, '/' | '-' | '.' | ',' | '\'' | '–'));
    }

    fn digits(&mut self) -> &'a str {
        self.take(|letter| letter.is_ascii_digit())
    }

    fn letters(&mut self) -> &'a str {
        self.take(char::is_alphabetic)
    }

    /// Takes a text, if it comes next.
    fn accept(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn weekday(&mut self) -> Option<Weekday> {
        let mut ahead = Scanner { rest: self.rest };
        let weekday = weekday_of_name(ahead.letters())?;
        ahead.skip_separators();
        self.rest = ahead.rest;
        Some(weekday)
    }

    /// The day of the week that is all of the rest, such as `(Tue)`.
    fn last_weekday(&self) -> Option<Weekday> {
        let word = self.rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(self.rest);
        weekday_of_name(word)
    }

    fn date(&mut self) -> Option<WrittenDate> {
        let first = self.part()?;
        let second = self.part()?;
        let third = self.part()?;
        let date = |year: &str, month: u32, day: u32| NaiveDate::from_ymd_opt(year_of(year)?, month, day);
        match (first, second, third) {
            (DatePart::Digits(year), month, DatePart::Digits(day)) if year.len() == 4 => {
                date(year, month.month()?, small(day)?).map(WrittenDate::certain)
            }
            (DatePart::Month(month), DatePart::Digits(day), DatePart::Digits(year))
            | (DatePart::Digits(day), DatePart::Month(month), DatePart::Digits(year)) => {
                date(year, month, small(day)?).map(WrittenDate::certain)
            }
            (DatePart::Digits(one), DatePart::Digits(other), DatePart::Digits(year)) => {
                let (one, other) = (small(one)?, small(other)?);
                WrittenDate { day_first: date(year, other, one), month_first: date(year, one, other) }.some()
            }
            _ => None,
        }
    }

    /// A number or the name of a month, and what is between it and the next.
    fn part(&mut self) -> Option<DatePart<'a>> {
        self.skip_separators_before_part();
        let digits = self.digits();
        if digits.is_empty() {
            return month_of_name(self.letters()).map(DatePart::Month);
        }
        let mut ahead = Scanner { rest: self.rest };
        if matches!(ahead.letters(), "st" | "nd" | "rd" | "th") {
            self.rest = ahead.rest;
        }
        Some(DatePart::Digits(digits))
    }

    /// Nothing before the first part, since the text has been trimmed; `of` before a month.
    fn skip_separators_before_part(&mut self) {
        self.skip_separators();
        if self.accept("of ") {
            self.skip_separators();
        }
    }

    /// The rest as a time of day, after a date that may begin with the year.
    fn time(&mut self, is_year_first: bool) -> Option<TimeOfDay> {
        let hour = small(self.digits())?;
        let (mut minute, mut second) = (0, 0);
        let has_minutes = self.accept(":");
        let mut has_seconds = false;
        if has_minutes {
            minute = two_digits(self.digits())?;
            has_seconds = self.accept(":");
            if has_seconds {
                second = two_digits(self.digits())?;
                if self.accept(".") || self.accept(",") {
                    (!self.digits().is_empty()).then_some(())?;
                }
            }
        }
        self.skip(char::is_whitespace);
        let half = ["am", "a.m.", "pm", "p.m."].into_iter().find(|half| self.accept(half));
        let hour = match half {
            Some(half) => (1..=12).contains(&hour).then_some(hour % 12 + if half.starts_with('p') { 12 } else { 0 })?,
            None => (has_minutes && hour <= 23).then_some(hour)?,
        };
        self.skip(char::is_whitespace);
        // `10:30-11:30` is a time from and to.
        if !has_seconds && !is_year_first && self.rest.starts_with(['+', '-']) {
            return None;
        }
        let offset = if self.rest.is_empty() { None } else { Some(self.offset()?) };
        let since_midnight = TimeDelta::seconds((hour * 3600 + minute * 60 + second).into());
        (minute <= 59 && second <= 59 && self.rest.is_empty()).then_some(TimeOfDay { since_midnight, offset })
    }

    fn offset(&mut self) -> Option<TimeDelta> {
        if self.accept("bst") {
            return Some(TimeDelta::hours(1));
        }
        let is_named = self.accept("z") || self.accept("utc") || self.accept("gmt");
        if is_named && self.rest.is_empty() {
            return Some(TimeDelta::zero());
        }
        let is_ahead = self.accept("+");
        (is_ahead || self.accept("-")).then_some(())?;
        let digits = self.digits();
        let (hours, minutes) = match digits.len() {
            1 | 2 if self.accept(":") => (digits, self.digits()),
            1 | 2 => (digits, "00"),
            4 => digits.split_at(2),
            _ => return None,
        };
        let (hours, minutes) = (small(hours)?, two_digits(minutes)?);
        let offset = TimeDelta::minutes((hours * 60 + minutes).into());
        (hours <= 14 && minutes <= 59).then_some(if is_ahead { offset } else { -offset })
    }
}

/// A part of a date.
#[derive(Debug, Clone, Copy)]
enum DatePart<'a> {
    Digits(&'a str),
    Month(u32),
}

impl DatePart<'_> {
    fn month(self) -> Option<u32> {
        match self {
            Self::Month(month) => Some(month),
            Self::Digits(digits) => small(digits),
        }
    }
}

/// A number of one digit or two.
fn small(digits: &str) -> Option<u32> {
    if digits.len() > 2 { None } else { digits.parse().ok() }
}

fn two_digits(digits: &str) -> Option<u32> {
    if digits.len() == 2 { digits.parse().ok() } else { None }
}

fn year_of(digits: &str) -> Option<i32> {
    match digits.len() {
        2 => Some(2000 + digits.parse::<i32>().ok()?),
        4 => digits.parse().ok(),
        _ => None,
    }
}

fn month_of_name(name: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    if name.len() < 3 {
        return None;
    }
    (1..)
        .zip(MONTHS)
        .find(|(_, month)| month.starts_with(name) || (*month == "september" && name == "sept"))
        .map(|(number, _)| number)
}

fn weekday_of_name(word: &str) -> Option<Weekday> {
    const DAYS: [(&str, Weekday); 7] = [
        ("monday", Weekday::Mon),
        ("tuesday", Weekday::Tue),
        ("wednesday", Weekday::Wed),
        ("thursday", Weekday::Thu),
        ("friday", Weekday::Fri),
        ("saturday", Weekday::Sat),
        ("sunday", Weekday::Sun),
    ];
    if word.len() < 3 {
        return None;
    }
    DAYS.into_iter().find(|(day, _)| day.starts_with(word)).map(|(_, weekday)| weekday)
}

#[cfg(test)]
mod tests;
