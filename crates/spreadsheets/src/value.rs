//! Reads values from cells, as prisons write them. Each function is pure. Its error is a fragment
//! that fits after the name of the field: "it is empty".
//!
//! White space, letter case and `Tier B` for `B` are tidied silently. Nothing is guessed: not the
//! month of `12/31/2019` (dates are read day first, and there is no month 31), and no letter for a
//! digit that looks like it.

use chrono::{Datelike as _, Days, NaiveDate};
use domain::{
    identifier::{PrisonerNumber, StaffId},
    london,
    moment::{Instant, YEARS},
    officer::PomKind,
    text::{Lines, Text},
    tier::Tier,
};

use super::reader::Cell;

/// The problem of a cell, in words.
pub type ValueProblem = String;

/// A prisoner number in any case, with stray spaces.
pub fn prisoner_number(cell: &Cell) -> Result<PrisonerNumber, ValueProblem> {
    require_filled(cell)?
        .to_uppercase()
        .parse()
        .map_err(|_| "one letter, four digits and two letters are needed, such as A1234BC".to_owned())
}

/// A tier in any case, with stray spaces, with or without the word.
pub fn tier(cell: &Cell) -> Result<Tier, ValueProblem> {
    let text = require_filled(cell)?.to_uppercase();
    text.strip_prefix("TIER")
        .unwrap_or(&text)
        .trim_start_matches([':', '-'])
        .parse()
        .map_err(|_| "a letter A to G is needed, with or without a change level 0 to 3, such as A or B2".to_owned())
}

/// A staff id as a number or as digits.
pub fn staff_id(cell: &Cell) -> Result<StaffId, ValueProblem> {
    let text = require_filled(cell)?;
    // Some programs write every number with decimals.
    let digits = text.strip_suffix(".0").unwrap_or(&text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten().ok_or_else(|| "a whole number is needed, such as 485926".to_owned())
}

/// Prison or probation, in the words that prisons use. `PRO` is NOMIS's code for a prison officer,
/// `PO` for a probation officer.
pub fn pom_kind(cell: &Cell) -> Result<PomKind, ValueProblem> {
    require_filled(cell)?;
    let text = cell.to_string().to_uppercase();
    let words: Vec<_> = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let squashed = words.concat();
    let prison =
        words.iter().any(|word| matches!(*word, "PRISON" | "PRIS" | "HMPS" | "HMPPS" | "UNIFORM" | "UNIFORMED"))
            || squashed.starts_with("PRISON")
            || matches!(&*squashed, "PRO" | "PR" | "PRPOM" | "PROPOM" | "PPOM" | "SO" | "CM" | "BAND4" | "OPERATIONAL");
    let probation = words.iter().any(|word| matches!(*word, "PROBATION" | "PROB" | "NPS" | "PS"))
        || squashed.starts_with("PROBATION")
        || matches!(&*squashed, "PO" | "PSO" | "SPO" | "POPOM" | "PB" | "PBN");
    match (prison, probation) {
        (true, false) => Ok(PomKind::Prison),
        (false, true) => Ok(PomKind::Probation),
        _ => Err("prison (PRO) or probation (PO) is needed".to_owned()),
    }
}

/// A date: a date cell, day first with `/`, `-`, `.` or spaces, with the month's name, ISO, or a
/// spreadsheet's serial number. A year of two digits is in this century, since OMiC is. An instant
/// with a time zone is a date in London.
pub fn date(cell: &Cell) -> Result<NaiveDate, ValueProblem> {
    let date = match cell {
        Cell::Empty => return Err(EMPTY.to_owned()),
        Cell::Date(date) => Some(*date),
        Cell::Number(serial) => date_of_serial(*serial),
        Cell::Text(text) => date_of_text(text),
    };
    date.filter(|date| YEARS.contains(&date.year()))
        .ok_or_else(|| "a date is needed, day first, such as 31/12/2019 or 31-Dec-19".to_owned())
}

/// Text in one line, by the rule that the ledger has for all text; `None` for an empty cell.
pub fn text(text: String) -> Result<Option<String>, ValueProblem> {
    let read = |text: String| Text::try_from(text).map(Into::into).map_err(|wrong| wrong.to_string());
    Some(text).filter(|text| !text.is_empty()).map(read).transpose()
}

/// Text in lines, by the rule that the ledger has for all text; `None` for an empty cell.
pub fn lines(cell: &Cell) -> Result<Option<String>, ValueProblem> {
    let read = |text: String| Lines::try_from(text).map(Into::into).map_err(|wrong| wrong.to_string());
    Some(cell.to_string()).filter(|text| !text.is_empty()).map(read).transpose()
}

/// A name as "Surname, Forename". `Grace Okafor` is turned round; a single word stays as it is.
pub fn person_name(text: &str) -> String {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((surname, forename)) = text.split_once(',') {
        let (surname, forename) = (words(surname), words(forename));
        return if forename.is_empty() { surname } else { format!("{surname}, {forename}") };
    }
    let text = words(text);
    let shouted = |word: &str| word.chars().count() > 1 && word.chars().all(|letter| !letter.is_lowercase());
    match text.split_once(' ') {
        // `OKAFOR Grace` has the surname first already.
        Some((first, rest)) if shouted(first) && !rest.split(' ').all(shouted) => format!("{first}, {rest}"),
        Some(_) => text.rsplit_once(' ').map_or(text.clone(), |(forenames, surname)| format!("{surname}, {forenames}")),
        None => text,
    }
}

const EMPTY: &str = "it is empty";

/// The cell without any white space in it.
fn require_filled(cell: &Cell) -> Result<String, ValueProblem> {
    let text: String = cell.to_string().chars().filter(|letter| !letter.is_whitespace()).collect();
    if text.is_empty() { Err(EMPTY.to_owned()) } else { Ok(text) }
}

/// The serial numbers that may be a date in a list of cases: 1954 to 2119. A bare year such as 2019
/// is outside the range.
const SERIALS: std::ops::Range<f64> = 20_000.0..80_000.0;

fn date_of_serial(serial: f64) -> Option<NaiveDate> {
    if !SERIALS.contains(&serial) {
        return None;
    }
    // Day 1 is 1 January 1900. Spreadsheet programs count a 29 February 1900, which comes before
    // these serial numbers.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in the range above")]
    NaiveDate::from_ymd_opt(1899, 12, 30)?.checked_add_days(Days::new(serial.floor() as u64))
}

fn date_of_text(text: &str) -> Option<NaiveDate> {
    if let Ok(serial) = text.parse::<f64>() {
        return date_of_serial(serial);
    }
    if let Ok(instant) = text.parse::<Instant>() {
        return Some(london::date(instant.into()));
    }
    let text = text.to_lowercase();
    // The parts are runs of digits or of letters, with any separators between them.
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let same = |letter: char| {
            if first.is_ascii_digit() { letter.is_ascii_digit() } else { letter.is_alphabetic() }
        };
        let len = rest.find(|letter| !same(letter)).unwrap_or(rest.len());
        if len == 0 {
            if !(first.is_whitespace() || matches!(first, '/' | '-' | '.' | ',' | '\'' | ':' | '–')) {
                return None;
            }
            rest = &rest[first.len_utf8()..];
            continue;
        }
        // Words around a date: `Mon 1st of July`, `T` before a time. A `z` is a time zone, which
        // only an instant as above has.
        let part = &rest[..len];
        if !matches!(part, "st" | "nd" | "rd" | "th" | "of" | "t") && !is_weekday(part) {
            parts.push(part);
        }
        rest = &rest[len..];
    }
    // The rest after the date must be a time of day.
    let (date, time) = parts.split_at_checked(3)?;
    if time.len() > 4 || !time.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let number = |part: &str| part.parse::<u32>().ok();
    let (year, month, day) = match date {
        [year, month, day] if year.len() == 4 && number(year).is_some() => {
            (*year, number(month).or_else(|| month_of_name(month))?, number(day)?)
        }
        [month, day, year] if month_of_name(month).is_some() => (*year, month_of_name(month)?, number(day)?),
        [day, month, year] => (*year, number(month).or_else(|| month_of_name(month))?, number(day)?),
        _ => return None,
    };
    let year = match year.len() {
        2 => 2000 + year.parse::<i32>().ok()?,
        4 => year.parse().ok()?,
        _ => return None,
    };
    NaiveDate::from_ymd_opt(year, month, day)
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

fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    word.len() >= 3 && DAYS.iter().any(|day| day.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prisoner_numbers_are_read_in_any_case() {
        let check = |text: &str, expected: Option<&str>| {
            let found = prisoner_number(&Cell::text(text)).ok();
            assert_eq!(found.as_ref().map(PrisonerNumber::as_str), expected, "{text}");
        };
        check("A1234BC", Some("A1234BC"));
        check(" a1234bc\u{a0}", Some("A1234BC"));
        check("A 1234 BC", Some("A1234BC"));
        check("A1234B", None);
        check("A12345BC", None);
        check("AO234BC", None);
        check("", None);
    }

    #[test]
    fn tiers_are_read_with_or_without_the_word() {
        let check = |text: &str, expected: Option<&str>| {
            let found = tier(&Cell::text(text)).ok().map(|tier| tier.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("B", Some("B"));
        check(" b ", Some("B"));
        check("Tier B", Some("B"));
        check("tier: b2", Some("B2"));
        check("B 2", Some("B2"));
        check("H", None);
        check("B4", None);
        check("A/B", None);
        check("", None);
        check("High", None);
    }

    #[test]
    fn staff_ids_are_read_from_numbers_and_digits() {
        let check = |cell: Cell, expected: Option<i64>| {
            assert_eq!(staff_id(&cell).ok().map(StaffId::get), expected, "{cell:?}");
        };
        check(Cell::Number(485_926.0), Some(485_926));
        check(Cell::text("485926 "), Some(485_926));
        check(Cell::text("485926.0"), Some(485_926));
        check(Cell::Number(485_926.5), None);
        check(Cell::Number(-1.0), None);
        check(Cell::text("0"), None);
        check(Cell::text("TBC"), None);
        check(Cell::text("+485926"), None);
        check(Cell::Empty, None);
    }

    #[test]
    fn pom_kinds_are_read_from_usual_words() {
        let check = |text: &str, expected: Option<PomKind>| {
            assert_eq!(pom_kind(&Cell::text(text)).ok(), expected, "{text}");
        };
        for prison in ["PRO", "pro ", "Prison", "PRISON POM", "Prison Officer", "Prison Offender Manager", "prison-POM"]
        {
            check(prison, Some(PomKind::Prison));
        }
        for probation in ["PO", "P.O.", "Probation", "Probation Officer", "NPS", "probation POM", "PSO"] {
            check(probation, Some(PomKind::Probation));
        }
        for neither in ["", "POM", "Prison/Probation", "n/a", "?"] {
            check(neither, None);
        }
    }

    #[test]
    fn dates_are_read_day_first() {
        let check = |cell: Cell, expected: &str| {
            let found = date(&cell).map_or_else(|_| "-".to_owned(), |date| date.to_string());
            assert_eq!(found, expected, "{cell:?}");
        };
        for text in [
            "31/12/2019",
            "31/12/19",
            "31-Dec-19",
            "31-DEC-2019",
            "31 December 2019",
            "31st Dec 2019",
            "2019-12-31",
            "31.12.2019",
            "31-12-2019",
            "Tue 31 Dec 2019",
            "Dec 31, 2019",
            "2019-12-31T00:00:00",
            "2019-12-31 00:00:00.000",
            "31/12/2019 00:00",
            "43830",
            " 31 / 12 / 2019",
            "31Dec2019",
            "2019/12/31",
        ] {
            check(Cell::text(text), "2019-12-31");
        }
        for instant in
            ["2019-12-31T00:00:00Z", "2019-12-31T23:59:59.999Z", "2019-12-31T00:30:00+01:00", "2019-12-30T23:59:60Z"]
        {
            let expected = if instant.ends_with("+01:00") { "2019-12-30" } else { "2019-12-31" };
            check(Cell::text(instant), expected);
        }
        check(Cell::text("2019-06-30T23:00:00Z"), "2019-07-01");
        check(Cell::text("2019-07-01T00:00:00+01:00"), "2019-07-01");
        check(Cell::Number(43_830.0), "2019-12-31");
        check(Cell::text("01/02/2019"), "2019-02-01");
        check(Cell::text("1/2/19"), "2019-02-01");
        check(Cell::text("01-Jan-91"), "2091-01-01");
        check(Cell::text("4 Sept 2019"), "2019-09-04");
        for wrong in [
            "12/31/2019",
            "31/02/2019",
            "2019",
            "TBC",
            "31/12",
            "31/12/019",
            "soon 2019",
            "12/2019",
            "",
            "31/12/2019 and later",
            // A time zone, but no instant: which London date it is, is not for us to guess.
            "2019-06-30 23:00:00Z",
            "2019-06-30T23:00Z",
            "31/12/1899",
            "2200-01-01",
            "0001-01-01",
        ] {
            check(Cell::text(wrong), "-");
        }
        for year in [-4_800, 1, 1_899, 2_200, 9_999, 262_142] {
            check(Cell::Date(NaiveDate::from_ymd_opt(year, 6, 1).expect("a date")), "-");
        }
        check(Cell::Number(2019.0), "-");
    }

    #[test]
    fn names_are_turned_to_surname_first() {
        for (written, expected) in [
            ("Okafor, Grace", "Okafor, Grace"),
            ("  Okafor ,Grace ", "Okafor, Grace"),
            ("Grace Okafor", "Okafor, Grace"),
            ("Mary Ann Okafor", "Okafor, Mary Ann"),
            ("OKAFOR Grace", "OKAFOR, Grace"),
            ("GRACE OKAFOR", "OKAFOR, GRACE"),
            ("Okafor", "Okafor"),
            ("G Okafor", "Okafor, G"),
        ] {
            assert_eq!(person_name(written), expected, "{written}");
        }
    }
}
