//! Sentences: the length of a stay, and the sentence facts that NOMIS would supply.

use chrono::{Days, Months, NaiveDate};
use domain::{handover::Facts, prison::Estate};

use crate::random::Random;

/// One stay in prison.
#[derive(Debug, Clone)]
pub(crate) struct Sentence {
    length: Length,
    start: NaiveDate,
    /// The release date in NOMIS: CRD, PED or TED.
    release: NaiveDate,
    parole: bool,
    recalled: bool,
    immigration: bool,
    early: bool,
    mappa_level: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Short,
    Medium,
    Long,
    Life,
}

impl Length {
    /// Draws a length in days.
    fn draw(self, random: &mut Random) -> i64 {
        match self {
            Self::Short => random.between(60, 280),
            Self::Medium => random.between(280, 950),
            Self::Long => random.between(950, 2_900),
            Self::Life => random.between(3_000, 7_500),
        }
    }
}

impl Sentence {
    /// The sentence of a person received on a day. The mean stay is some 17 months: of 88,000
    /// people, 60,000 leave in a year.
    pub(crate) fn of_reception(random: &mut Random, day: NaiveDate) -> Self {
        let length =
            random.weighted(&[(46, Length::Short), (39, Length::Medium), (13, Length::Long), (2, Length::Life)]);
        let days = length.draw(random);
        Self::new(random, length, day, days, false)
    }

    /// The sentence of a resident. Long sentences are more frequent than at reception, and a part
    /// of each is over.
    pub(crate) fn of_resident(random: &mut Random, day: NaiveDate) -> Self {
        let length =
            random.weighted(&[(15, Length::Short), (43, Length::Medium), (30, Length::Long), (12, Length::Life)]);
        let days = length.draw(random);
        let served = random.between(0, days - 45);
        Self::new(random, length, before(day, served), days, false)
    }

    /// The sentence after a recall, or after a return with a new sentence.
    pub(crate) fn of_return(random: &mut Random, day: NaiveDate) -> Self {
        let recalled = random.percent(60);
        let length = random.weighted(&[(70, Length::Short), (30, Length::Medium)]);
        let days = length.draw(random);
        Self::new(random, length, day, days, recalled)
    }

    fn new(random: &mut Random, length: Length, start: NaiveDate, days: i64, recalled: bool) -> Self {
        Self {
            length,
            start,
            release: after(start, days),
            parole: length == Length::Long && random.percent(40),
            recalled,
            immigration: random.percent(2),
            early: length == Length::Long && random.percent(6),
            mappa_level: random.weighted(&[(40, None), (25, Some(0)), (20, Some(1)), (11, Some(2)), (4, Some(3))]),
        }
    }

    /// The planned release date.
    pub(crate) fn release(&self) -> NaiveDate {
        self.release
    }

    /// Moves the release date a little, as a court or a recalculation does. It stays after `today`.
    pub(crate) fn recalculate(&mut self, random: &mut Random, today: NaiveDate) {
        self.release = after(self.release, random.between(-40, 60)).max(after(today, 20));
    }

    /// The sentence facts for a prison of an estate.
    pub(crate) fn facts(&self, random: &mut Random, estate: Estate) -> Facts {
        let open = estate == Estate::MensOpen;
        let facts = Facts {
            sentence_start_date: Some(self.start),
            recalled: self.recalled,
            immigration_case: self.immigration,
            early_allocation: self.early,
            mappa_level: self.mappa_level,
            in_open_conditions: open,
            womens_estate: estate == Estate::Womens,
            ..Facts::default()
        };
        if self.length == Length::Life {
            let hearing = random.percent(50).then(|| after(self.release, random.between(-30, 120)));
            return Facts {
                indeterminate: true,
                tariff_date: Some(self.release),
                target_hearing_date: hearing,
                additional_indeterminate_sentence: random.percent(2),
                parole_outcome_not_release: random.percent(10),
                open_prison_rules_apply: open,
                prison_arrival_date: open.then(|| before(self.release, 400)),
                ..facts
            };
        }
        Facts {
            parole_eligibility_date: self.parole.then_some(self.release),
            determinate_parole: self.parole,
            conditional_release_date: (!self.parole).then_some(self.release),
            automatic_release_date: random.percent(20).then(|| after(self.release, random.between(0, 90))),
            ..facts
        }
    }
}

pub(crate) fn after(day: NaiveDate, days: i64) -> NaiveDate {
    if days < 0 {
        return before(day, -days);
    }
    day.checked_add_days(Days::new(days.unsigned_abs())).unwrap_or(day)
}

pub(crate) fn before(day: NaiveDate, days: i64) -> NaiveDate {
    day.checked_sub_days(Days::new(days.unsigned_abs())).unwrap_or(day)
}

/// The day that many years before a day.
#[must_use]
pub fn years_before(day: NaiveDate, years: u32) -> NaiveDate {
    day.checked_sub_months(Months::new(12 * years)).unwrap_or(day)
}
