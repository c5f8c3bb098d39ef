//! Everything about a case: every event under each of its numbers, and the periods that follow from
//! them.

use chrono::{DateTime, Utc};
use domain::{
    Stream,
    identifier::{PrisonCode, PrisonerNumber},
    prisoner::{History, Period, lineage::periods_before_merges, periods},
};
use event_log::{KnownAt, LogError, RecordedEvent, SharedLog, StoredEvent, decode, history::push};
use futures::{FutureExt as _, future::BoxFuture};
use views::{CasePeriodRow, PrisonerCaseRow};

use super::{
    PastError,
    case_at::case_before_merge,
    histories::{FromEvents, Histories},
    point::Point,
};
use crate::QueryError;

/// An entry of a case's history.
#[derive(Debug)]
pub struct CaseEntry {
    /// The number that it was recorded under.
    pub number: PrisonerNumber,
    /// The event.
    pub stored: StoredEvent,
    /// The revision of the number's entry that voided this one.
    pub voided_by: Option<u64>,
    /// The prison that wrote the free texts of the event, where one is known to have.
    pub(crate) text_prison: Option<PrisonCode>,
}

/// A case for a person that needs the whole of it: its periods of responsibility and its entries.
#[derive(Debug)]
pub struct WholeCase {
    /// The number under which the case is known: the survivor's, where it was merged.
    pub number: PrisonerNumber,
    /// The position in the log that all of this is of.
    pub position: u64,
    /// Its periods, past and planned, in order. Those from before a merge need not adjoin.
    pub periods: Vec<CasePeriod>,
    /// Every entry under each of the case's numbers, in effective order; of one instant, in the
    /// order recorded.
    pub entries: Vec<CaseEntry>,
}

/// A stretch of time in which nothing about a case changes.
#[derive(Debug)]
pub struct CasePeriod {
    /// The number under which it was known.
    pub number: PrisonerNumber,
    /// The state of the case in it.
    pub period: Period,
    /// The same as answers have it, under the surviving number.
    pub(crate) case: CasePeriodRow,
}

/// Everything about the case that the number belongs to, as it was known at a point; `None` where
/// nothing was known.
///
/// # Errors
/// [`PastError::Ahead`], or the log is out of reach or damaged.
pub fn whole_case<'a>(
    log: &'a SharedLog,
    number: &'a PrisonerNumber,
    known_at: Option<KnownAt>,
) -> BoxFuture<'a, Result<Option<WholeCase>, PastError>> {
    async move {
        let point = Point::of(log, known_at).await?;
        let Some(EventsOfCase { survivor, removed }) = events_of_case(log, number, point).await? else {
            return Ok(None);
        };
        let history = &survivor.history;
        let before = periods_before_merges(history, removed.iter().map(|(merged_at, of)| (*merged_at, &of.history)));
        let before = before.into_iter().filter_map(|before| {
            let case = case_before_merge(history, &before)?;
            Some(CasePeriod { number: before.removed.number().clone(), case, period: before.period })
        });
        let last = PrisonerCaseRow::of(history, history.state());
        let own = periods(&history.before_retirement()).into_iter().filter_map(|period| {
            let case = CasePeriodRow::of(last.as_ref()?, period.clone())?;
            Some(CasePeriod { number: history.number().clone(), case, period })
        });
        let (number, periods) = (history.number().clone(), before.chain(own).collect());
        let entries = entries_in_order(survivor, removed);
        Ok(Some(WholeCase { number, position: point.position, periods, entries }))
    }
    .boxed()
}

/// [`WholeCase::entries`] as they were known at a point, and its position; none where nothing was
/// known.
pub(crate) async fn case_history(
    log: &SharedLog,
    number: &PrisonerNumber,
    known_at: Option<KnownAt>,
) -> Result<(u64, Vec<CaseEntry>), PastError> {
    let position = Point::of(log, known_at).await?.position;
    Ok((position, case_history_to(log, number, position).await?))
}

/// [`WholeCase::entries`] up to a position that the log has reached.
pub(crate) async fn case_history_to(
    log: &SharedLog,
    number: &PrisonerNumber,
    position: u64,
) -> Result<Vec<CaseEntry>, QueryError> {
    let case = events_of_case(log, number, Point { position }).await?;
    Ok(case.map_or(Vec::new(), |case| entries_in_order(case.survivor, case.removed)))
}

/// Every entry recorded under this very number, in that order, and the position that they are of.
pub(crate) async fn own_entries(log: &SharedLog, number: &PrisonerNumber) -> Result<(u64, Vec<CaseEntry>), QueryError> {
    let position = log.head().await?;
    let read = log.read_streams_to(&[Stream::Prisoner(number.clone())], position).await?;
    let events = read.into_iter().flatten().collect::<Vec<_>>();
    Ok((position, EventsOfNumber::from_events(number.clone(), &events)?.into_entries().collect()))
}

/// The events recorded under one number, and the history that they make.
struct EventsOfNumber {
    history: History,
    events: Vec<StoredEvent>,
}

impl WholeCase {
    /// The period that holds at an instant, if anything was known of the case by then.
    #[must_use]
    pub fn period_at(&self, on: DateTime<Utc>) -> Option<&CasePeriod> {
        self.periods.iter().find(|of| of.period.from <= on && of.period.to.is_none_or(|to| on < to))
    }
}

impl FromEvents for EventsOfNumber {
    fn from_events(number: PrisonerNumber, events: &[RecordedEvent]) -> Result<Self, LogError> {
        let events = events.iter().map(decode).collect::<Result<Vec<StoredEvent>, _>>()?;
        let mut history = History::new(number);
        for stored in &events {
            push(&mut history, stored.entry.clone())?;
        }
        Ok(Self { history, events })
    }

    fn history(&self) -> &History {
        &self.history
    }
}

impl EventsOfNumber {
    fn into_entries(self) -> impl Iterator<Item = CaseEntry> {
        let Self { history, events } = self;
        let prisons = history.prisons_of_texts();
        events.into_iter().zip(prisons).map(move |(stored, text_prison)| CaseEntry {
            number: history.number().clone(),
            voided_by: history.voided_by(stored.entry.revision),
            text_prison,
            stored,
        })
    }
}

/// The events of a case under each of its numbers.
struct EventsOfCase {
    survivor: EventsOfNumber,
    /// With the position of each merge.
    removed: Vec<(u64, EventsOfNumber)>,
}

/// The events of the case that a number belongs to, as far as they were known at a point: those of
/// the number that answers, and those of every number under which the case was known before.
/// `None` where nothing was known.
async fn events_of_case(
    log: &SharedLog,
    asked: &PrisonerNumber,
    point: Point,
) -> Result<Option<EventsOfCase>, QueryError> {
    let mut histories = Histories::<EventsOfNumber>::new(log, point);
    histories.read_survivors(std::slice::from_ref(asked)).await?;
    let Some(survivor) = histories.answering_number(asked)? else { return Ok(None) };
    let removed = histories.read_removed(asked).await?;
    let removed =
        removed.into_iter().filter_map(|(merged_at, number)| Some((merged_at, histories.take(&number)?))).collect();
    Ok(histories.take(&survivor).map(|survivor| EventsOfCase { survivor, removed }))
}

/// The entries of all numbers of a case, in effective order; of one instant, in the order recorded.
fn entries_in_order(survivor: EventsOfNumber, removed: Vec<(u64, EventsOfNumber)>) -> Vec<CaseEntry> {
    let numbers = [survivor].into_iter().chain(removed.into_iter().map(|(_, of)| of));
    let mut entries: Vec<CaseEntry> = numbers.flat_map(EventsOfNumber::into_entries).collect();
    entries.sort_by_key(|entry| (entry.stored.entry.effective_at, entry.stored.entry.position));
    entries
}
