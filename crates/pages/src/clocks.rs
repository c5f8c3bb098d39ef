//! The two clocks of a question, and how times read.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Europe::London;
use domain::london;
use serde::Deserialize;

use crate::api::Path;

/// When in the world, and when in what the ledger knew, as the visitor has typed it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Clocks {
    pub(crate) on: String,
    pub(crate) known_at: String,
}

impl Clocks {
    /// Asks at these clocks.
    pub(crate) fn of(&self, path: Path) -> Path {
        path.with("on", Some(self.on.trim())).with("known-at", Some(self.known_at.trim()))
    }

    /// Whether the question is about now, as known now.
    pub(crate) fn are_now(&self) -> bool {
        self.on.trim().is_empty() && self.known_at.trim().is_empty()
    }

    /// The clocks as the query of a link; empty for now.
    pub(crate) fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("on", self.on.trim()), ("known-at", self.known_at.trim())] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        match query.finish() {
            query if query.is_empty() => query,
            query => format!("?{query}"),
        }
    }

    /// The clocks in words: `on 1 June 2026, as known on 2 July 2026`.
    pub(crate) fn words(&self) -> String {
        let word = |text: &str| text.trim().parse().map_or_else(|_| text.trim().to_owned(), day);
        let on = if self.on.trim().is_empty() { "now".to_owned() } else { format!("on {}", word(&self.on)) };
        match self.known_at.trim() {
            "" => on,
            known_at => format!("{on}, as it was known at the end of {}", word(known_at)),
        }
    }
}

/// A day: `3 March 2026`.
pub(crate) fn day(date: NaiveDate) -> String {
    date.format("%-d %B %Y").to_string()
}

/// The London day of an instant.
pub(crate) fn day_of(instant: DateTime<Utc>) -> String {
    day(london::date(instant))
}

/// An instant on London's clocks: `3 March 2026 at 9:05am`.
pub(crate) fn time(instant: DateTime<Utc>) -> String {
    let local = instant.with_timezone(&London);
    let clock = local.format("%-I:%M%P").to_string();
    match clock.as_str() {
        "12:00am" => day(local.date_naive()),
        clock => format!("{} at {clock}", day(local.date_naive())),
    }
}

/// The instant of a time on London's clocks as a browser writes it: `2026-03-01T09:30`, or a day.
pub(crate) fn instant_of(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(london::midnight(date));
    }
    let formats = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"];
    formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).map(london::instant)
}

/// The year of an instant in London.
pub(crate) fn year_of(instant: DateTime<Utc>) -> i32 {
    london::date(instant).year()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_londons_clocks_show_them() {
        let summer = "2026-07-01T08:05:00Z".parse().expect("an instant");
        assert_eq!(time(summer), "1 July 2026 at 9:05am");
        assert_eq!(time("2026-07-01T23:00:00Z".parse().expect("an instant")), "2 July 2026");
        assert_eq!(instant_of("2026-07-01T09:05"), Some(summer));
        assert_eq!(instant_of("2026-07-02"), "2026-07-01T23:00:00Z".parse().ok());
        assert_eq!(instant_of("yesterday"), None);
    }

    #[test]
    fn clocks_are_a_link_and_words() {
        let clocks = Clocks { on: " 2026-06-01 ".into(), known_at: "2026-07-02".into() };
        assert_eq!(clocks.query(), "?on=2026-06-01&known-at=2026-07-02");
        assert_eq!(clocks.words(), "on 1 June 2026, as it was known at the end of 2 July 2026");
        assert_eq!((Clocks::default().query(), Clocks::default().words()), (String::new(), "now".into()));
    }
}
