//! The ledger's answers about persons, as of any position of the log: by these it is worked out
//! what an entry has changed.
//!
//! A number that was merged answers with the survivor, as in the ledger's API; as it was left,
//! until the survivor has taken its case over.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use domain::{
    identifier::PrisonerNumber,
    london,
    prisoner::{History, Period, PrisonerEvent, lineage::CaseNumbers, periods},
};
use event_log::{
    EventLog, LogError,
    history::{StreamHistory as _, read_cases},
};

/// The last instant of a day in London.
fn end_of(day: NaiveDate) -> DateTime<Utc> {
    day.succ_opt().map_or(DateTime::<Utc>::MAX_UTC, london::midnight) - TimeDelta::microseconds(1)
}

/// The answer about a number: the periods of its case up to the present one.
#[derive(Debug, Clone)]
pub(super) struct CaseAnswer {
    /// At least one, in order.
    periods: Vec<Period>,
}

impl CaseAnswer {
    fn of(history: &History, instant: DateTime<Utc>) -> Option<Self> {
        let mut periods = periods(&history.before_retirement());
        periods.truncate(periods.partition_point(|period| period.from <= instant));
        (!periods.is_empty()).then_some(Self { periods })
    }

    /// The period that holds.
    pub(super) fn now(&self) -> &Period {
        &self.periods[self.periods.len() - 1]
    }

    /// Since when a fact has been as it is now, without a break.
    pub(super) fn since<T: PartialEq>(&self, fact: impl Fn(&Period) -> T) -> DateTime<Utc> {
        let now = fact(self.now());
        let same = self.periods.iter().rev().take_while(|period| fact(period) == now);
        same.last().map_or(self.now().from, |first| first.from)
    }
}

/// The histories of some persons, under all of their numbers.
pub(super) struct KnownCases {
    histories: HashMap<PrisonerNumber, History>,
}

impl KnownCases {
    /// Reads the histories of these numbers, and of those that were merged with them.
    pub(super) async fn read(
        log: &dyn EventLog,
        numbers: impl IntoIterator<Item = PrisonerNumber>,
    ) -> Result<Self, LogError> {
        let mut histories = HashMap::new();
        let mut unread: BTreeSet<PrisonerNumber> = numbers.into_iter().collect();
        while !unread.is_empty() {
            let asked: Vec<_> = std::mem::take(&mut unread).into_iter().collect();
            let read = read_cases(log, &asked, None).await?;
            let partners = read.iter().flat_map(History::entries).filter_map(|entry| entry.event.merge_partner());
            unread.extend(partners.cloned());
            histories.extend(asked.into_iter().zip(read));
            unread.retain(|number| !histories.contains_key(number));
        }
        Ok(Self { histories })
    }

    /// The history under a number itself.
    pub(super) fn history(&self, number: &PrisonerNumber) -> Option<&History> {
        self.histories.get(number)
    }

    /// The answer about a number as it was told: by the log up to a position, at the end of the
    /// last day whose handovers were published, or with the last entry where that is later. `None`
    /// where nothing is known.
    ///
    /// The answer after an entry is the one before the next only with the same instant in both: a
    /// handover that comes between two instants would be told by neither.
    pub(super) fn answer(&self, number: &PrisonerNumber, position: u64, day: NaiveDate) -> Option<CaseAnswer> {
        let mut answering: Option<History> = None;
        let mut next = Some(number.clone());
        let mut met = BTreeSet::new();
        while let Some(number) = next.take() {
            let history = self.histories.get(&number)?;
            let mut known = history.known_at_position(position);
            if known.is_empty() {
                break;
            }
            let retired = known.retirement().map(|(entry, survivor)| (entry.command_id, survivor.clone()));
            if let Some((command_id, survivor)) = retired {
                if self.has_taken_over(&survivor, &number, position) {
                    next = Some(survivor);
                } else {
                    // Without the ends of its roles, which the survivor has from then on.
                    let of_merge = known.entries().iter().find(|entry| entry.command_id == command_id);
                    let left_at = of_merge.map_or(position, |first| first.position.saturating_sub(1));
                    known = history.known_at_position(left_at);
                }
            }
            // Two numbers that were merged into each other have no answer.
            if !met.insert(number) {
                return None;
            }
            answering = Some(known);
        }
        let answering = answering?;
        let instant = answering.last_recorded_at().map_or(end_of(day), |recorded_at| end_of(day).max(recorded_at));
        CaseAnswer::of(&answering, instant)
    }

    /// Whether the second part of a merge is recorded: under the survivor or, where that was merged
    /// itself in between, under the number that has the survivor's case.
    fn has_taken_over(&self, survivor: &PrisonerNumber, removed: &PrisonerNumber, position: u64) -> bool {
        let mut next = Some(survivor);
        let mut met = BTreeSet::new();
        while let Some(number) = next.filter(|number| met.insert(*number)) {
            let entries = self.histories.get(number).map(History::entries).unwrap_or_default();
            let known = || entries.iter().filter(|entry| entry.position <= position);
            let takes_over = |event: &PrisonerEvent| matches!(event, PrisonerEvent::PrisonerNumberMerged(merged) if merged.removed_number == *removed);
            if known().any(|entry| takes_over(&entry.event)) {
                return true;
            }
            next = known().find_map(|entry| match &entry.event {
                PrisonerEvent::PrisonerNumberRetired(retired) => Some(&retired.survivor),
                _ => None,
            });
        }
        false
    }

    /// The numbers that answer with the case of this one at a position: itself, and all that were
    /// merged into it.
    pub(super) fn answered_by(&self, number: &PrisonerNumber, position: u64) -> BTreeSet<PrisonerNumber> {
        let mut numbers = CaseNumbers::new(number.clone());
        loop {
            let unread = numbers.take_unread();
            if unread.is_empty() {
                return numbers.into_numbers();
            }
            let histories = unread.iter().filter_map(|number| self.histories.get(number));
            let known = histories.flat_map(History::entries).filter(|entry| entry.position <= position);
            for entry in known {
                if let PrisonerEvent::PrisonerNumberMerged(merged) = &entry.event {
                    numbers.add(merged.removed_number.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        Entry,
        event::RecordedBy,
        identifier::{CommandId, EventId},
    };
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn number(text: &str) -> PrisonerNumber {
        text.parse().expect("a number")
    }

    /// A case with events at these positions.
    fn case(of: &str, events: &[(u64, &str, Value)]) -> (PrisonerNumber, History) {
        let at: DateTime<Utc> = "2026-03-01T09:00:00Z".parse().expect("an instant");
        let entry = |(revision, (position, type_name, data)): (u64, &(u64, &str, Value))| Entry {
            event_id: EventId(Uuid::from_u128(u128::from(*position))),
            revision,
            position: *position,
            effective_at: at,
            recorded_at: at,
            recorded_by: RecordedBy { username: None, client: "tests".to_owned(), auth_source: None },
            command_id: CommandId(Uuid::from_u128(u128::from(*position))),
            event: PrisonerEvent::deserialize_data(type_name, data.clone()).expect("an event"),
        };
        (number(of), History::from_entries(number(of), (0..).zip(events).map(entry).collect()))
    }

    /// A is merged into B, and B into C before the second part of that is recorded: it is then C's.
    #[test]
    fn a_merge_whose_survivor_was_merged_before_its_second_part_is_told_of_with_that_part() {
        let received = |prison: &str| json!({"prison": prison, "reason": "NEW_ADMISSION"});
        let merged = |removed: &str| json!({"removedNumber": removed, "historyEndsAt": 0, "held": {"prison": "LEI"}});
        let histories = HashMap::from([
            case(
                "A1111AA",
                &[(1, "Received", received("LEI")), (4, "PrisonerNumberRetired", json!({"survivor": "B2222BB"}))],
            ),
            case(
                "B2222BB",
                &[(2, "Received", received("MDI")), (5, "PrisonerNumberRetired", json!({"survivor": "C3333CC"}))],
            ),
            case(
                "C3333CC",
                &[
                    (3, "Received", received("BXI")),
                    (6, "PrisonerNumberMerged", merged("B2222BB")),
                    (7, "PrisonerNumberMerged", merged("A1111AA")),
                ],
            ),
        ]);
        let cases = KnownCases { histories };
        let day = NaiveDate::from_ymd_opt(2026, 3, 2).expect("a day");
        let prison = |position| {
            let answer = cases.answer(&number("A1111AA"), position, day).expect("an answer");
            answer.now().state.prison.as_ref().map(ToString::to_string)
        };
        assert_eq!(prison(6).as_deref(), Some("LEI"), "as it was left");
        assert_eq!(prison(7).as_deref(), Some("BXI"));
    }
}
