//! Weighs headings of columns that say that people have left the prison, and in which way.

use super::{CERTAIN, Field, Heading};

const RELEASE_WORDS: &[&str] = &["released", "discharged", "discharge"];
const TRANSFER_WORDS: &[&str] = &["transferred", "transfer"];
/// Words of a column that may be about a release as well as about a transfer.
const ANY_WAY_WORDS: &[&str] = &["left", "leaving", "departed", "moved", "deallocated", "deallocation"];
const LEAVING_WORDS: &[&str] = &["left", "leaving", "released", "discharged", "discharge", "transferred", "departed"];
/// Words that make another thing of a date of leaving: a time to come, a time until then, another
/// event.
const NO_LEAVING_WORDS: &[&str] = &[
    "in",
    "from",
    "planned",
    "expected",
    "due",
    "not",
    "day",
    "days",
    "time",
    "weeks",
    "months",
    "years",
    "serve",
    "sentence",
    "licence",
    "conditional",
    "automatic",
    "tariff",
    "reception",
    "received",
    "review",
    "target",
    "early",
    "earliest",
    "eligible",
    "eligibility",
];

impl Heading {
    /// The weight with which the heading names a field of leaving.
    pub(super) fn leaving(&self, field: Field) -> u32 {
        match self.text.as_str() {
            "moved to" | "gone to" if field == Field::TransferredTo => 70,
            // Where its cells are prisons.
            "transferred" if field == Field::TransferredTo => 80,
            _ if field == self.way_of_leaving() => self.left_in_any_way(),
            _ => 0,
        }
    }

    /// The field of leaving that the heading names, if it names one.
    fn way_of_leaving(&self) -> Field {
        let is_of_one_way = !self.has(ANY_WAY_WORDS);
        match (self.has(RELEASE_WORDS), self.has(TRANSFER_WORDS)) {
            (true, false) if is_of_one_way => Field::ReleasedOn,
            (false, true) if is_of_one_way && self.has(&["to"]) && !self.when => Field::TransferredTo,
            (false, true) if is_of_one_way => Field::TransferredOn,
            _ => Field::LeftOn,
        }
    }

    fn left_in_any_way(&self) -> u32 {
        match self.text.as_str() {
            _ if self.other_person || self.other_time || self.has(NO_LEAVING_WORDS) => 0,
            "left" | "left on" | "date left" | "leaving date" | "date of leaving" | "date out" | "out date" => CERTAIN,
            _ if self.has(&["deallocated", "deallocation"]) => 90,
            _ if self.officer => 0,
            "transfer date" | "date of transfer" | "transfer out" | "leaver" | "gone" | "date gone" => 90,
            _ if self.has(LEAVING_WORDS) && (self.words.len() == 1 || self.when || self.has(&["out", "to"])) => 90,
            _ if self.has(RELEASE_WORDS) && self.has(TRANSFER_WORDS) => 90,
            "end date" | "date ended" | "ended" | "ended on" | "date to" | "to date" => 70,
            _ => 0,
        }
    }
}
