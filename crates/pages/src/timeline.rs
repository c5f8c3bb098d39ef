//! The timeline of a case as a picture: responsible and supporting officers over the years, past
//! and planned.

use chrono::{DateTime, Months, Utc};
use domain::london;

use crate::{
    answers::{ShownOfficer, ShownPeriod},
    clocks::{day_of, year_of},
};

/// The width of the picture, in its own units.
const WIDTH: f64 = 1_000.0;

/// How far the picture goes beyond today and the last change.
const MONTHS_AHEAD: Months = Months::new(6);

/// A picture of a case.
pub(crate) struct Timeline {
    pub(crate) responsible: Vec<Bar>,
    pub(crate) supporting: Vec<Bar>,
    /// The first days of years, with the year.
    pub(crate) years: Vec<(f64, i32)>,
    /// Where the moment asked about is.
    pub(crate) now: f64,
    /// The picture in words.
    pub(crate) lines: Vec<TimelineLine>,
}

/// A stretch of time in which an officer has a part.
pub(crate) struct Bar {
    pub(crate) x: f64,
    pub(crate) width: f64,
    /// `pom`, `com`, `nobody` or `out`.
    pub(crate) style: &'static str,
    pub(crate) title: String,
}

/// A stretch of time in words.
pub(crate) struct TimelineLine {
    pub(crate) from: String,
    pub(crate) to: Option<String>,
    pub(crate) officer: String,
    pub(crate) prison: String,
    pub(crate) is_planned: bool,
    pub(crate) style: &'static str,
}

/// An officer as a name with the role.
pub(crate) fn officer_words(officer: &ShownOfficer) -> String {
    match (&officer.name, officer.vacancy.as_deref(), officer.role.as_deref()) {
        (Some(name), _, Some(role)) => format!("{name} ({role})"),
        (Some(name), ..) => name.clone(),
        (None, Some("NOT_ALLOCATED"), _) => "Nobody: not allocated to a POM".to_owned(),
        (None, Some("COM_NOT_NAMED"), _) => "Nobody: no COM is named".to_owned(),
        (None, Some("NOT_IN_CUSTODY"), _) => "Nobody: not in custody".to_owned(),
        (None, ..) => "Nobody".to_owned(),
    }
}

fn style_of(officer: &ShownOfficer) -> &'static str {
    match (officer.name.is_some(), officer.role.as_deref(), officer.vacancy.as_deref()) {
        (true, Some("COM"), _) => "com",
        (true, ..) => "pom",
        (false, _, Some("NOT_IN_CUSTODY")) => "out",
        (false, ..) => "nobody",
    }
}

/// Whether two officers are the same person in the same role.
fn is_same(one: &ShownOfficer, other: &ShownOfficer) -> bool {
    (&one.role, one.staff_id, &one.name, &one.vacancy) == (&other.role, other.staff_id, &other.name, &other.vacancy)
}

/// A stretch of adjoining periods with the same officer.
struct Stretch<'p> {
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
    officer: &'p ShownOfficer,
    prison: Option<&'p str>,
}

fn stretches<'p>(
    periods: &'p [ShownPeriod],
    officer: impl Fn(&'p ShownPeriod) -> Option<&'p ShownOfficer>,
) -> Vec<Stretch<'p>> {
    let mut stretches: Vec<Stretch<'p>> = Vec::new();
    for period in periods {
        let Some(officer) = officer(period) else { continue };
        let prison = period.prison.as_deref();
        match stretches.last_mut() {
            Some(last) if last.to == Some(period.from) && is_same(last.officer, officer) && last.prison == prison => {
                last.to = period.to;
            }
            _ => stretches.push(Stretch { from: period.from, to: period.to, officer, prison }),
        }
    }
    stretches
}

impl Timeline {
    /// The picture of a case's periods at the moment asked about; `None` where there is none.
    pub(crate) fn new(periods: &[ShownPeriod], now: DateTime<Utc>) -> Option<Self> {
        let begin = periods.first()?.from.min(now);
        let last = periods.last()?.from.max(now);
        let end = last.checked_add_months(MONTHS_AHEAD).unwrap_or(last);
        #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
        let place = |instant: DateTime<Utc>| {
            let length = (end - begin).num_seconds().max(1) as f64;
            (((instant.min(end) - begin).num_seconds() as f64 / length) * WIDTH * 10.0).round() / 10.0
        };
        let bar = |stretch: &Stretch<'_>| {
            let x = place(stretch.from);
            let to = stretch.to.map_or_else(|| "open".to_owned(), day_of);
            Bar {
                x,
                width: (stretch.to.map_or(WIDTH, place) - x).max(1.0),
                style: style_of(stretch.officer),
                title: format!("{}, {} to {to}", officer_words(stretch.officer), day_of(stretch.from)),
            }
        };
        let responsible = stretches(periods, |period| Some(&period.responsible));
        let supporting = stretches(periods, |period| period.supporting.as_ref());
        let years = (year_of(begin) + 1..=year_of(end))
            .filter_map(|year| Some((place(london::midnight(chrono::NaiveDate::from_ymd_opt(year, 1, 1)?)), year)))
            .collect();
        Some(Self {
            responsible: responsible.iter().map(bar).collect(),
            supporting: supporting.iter().map(bar).collect(),
            years,
            now: place(now),
            lines: responsible
                .iter()
                .map(|stretch| TimelineLine {
                    from: day_of(stretch.from),
                    to: stretch.to.map(day_of),
                    officer: officer_words(stretch.officer),
                    prison: stretch.prison.unwrap_or_default().to_owned(),
                    is_planned: stretch.from > now,
                    style: style_of(stretch.officer),
                })
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn adjoining_periods_of_one_officer_are_one_bar() {
        let pom = json!({"role": "POM", "staffId": 1, "name": "Okafor, Grace"});
        let com = json!({"role": "COM", "staffId": null, "name": "Lee, Sam"});
        let periods: Vec<ShownPeriod> = serde_json::from_value(json!([
            {"from": "2025-01-01T00:00:00Z", "to": "2025-06-01T00:00:00Z", "prison": "LEI", "phase": "CUSTODY_ONLY", "responsible": pom},
            {"from": "2025-06-01T00:00:00Z", "to": "2026-07-01T00:00:00Z", "prison": "LEI", "phase": "CUSTODY_WITH_COM", "responsible": pom, "supporting": com},
            {"from": "2026-07-01T00:00:00Z", "to": null, "prison": "LEI", "phase": "COMMUNITY", "responsible": com},
        ]))
        .expect("periods");
        let timeline = Timeline::new(&periods, "2026-01-01T00:00:00Z".parse().expect("an instant")).expect("a picture");
        let bars: Vec<_> = timeline.responsible.iter().map(|bar| (bar.style, bar.x)).collect();
        assert_eq!(bars.iter().map(|(style, _)| *style).collect::<Vec<_>>(), ["pom", "com"]);
        assert_eq!(timeline.supporting.len(), 1);
        assert!(timeline.now > 0.0 && timeline.now < bars[1].1, "{}", timeline.now);
        assert!(timeline.lines[1].is_planned && !timeline.lines[0].is_planned);
        assert_eq!(timeline.years.iter().map(|(_, year)| *year).collect::<Vec<_>>(), [2026, 2027]);
        assert!(Timeline::new(&[], DateTime::UNIX_EPOCH).is_none());
    }
}
