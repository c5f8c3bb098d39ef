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

    /// Whether the second part of a merge is recorded.
    fn has_taken_over(&self, survivor: &PrisonerNumber, removed: &PrisonerNumber, position: u64) -> bool {
        let mut entries = self.histories.get(survivor).map(History::entries).unwrap_or_default().iter();
        entries.any(|entry| {
            entry.position <= position
                && matches!(&entry.event, PrisonerEvent::PrisonerNumberMerged(merged) if merged.removed_number == *removed)
        })
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
