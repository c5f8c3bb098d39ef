//! Cases as the log has them: whole histories, what was known at a point, and merged numbers followed in both directions.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    Event, Stream,
    identifier::PrisonerNumber,
    prisoner::{History, PrisonerEvent, periods},
};
use event_log::{SharedLog, StoredEvent, decode};
use http_api::instant::KnownAt;

use crate::{
    Error,
    view::{End, case::Case},
};

/// A number's own events, in the order recorded.
pub(crate) async fn events(log: &SharedLog, number: &PrisonerNumber) -> Result<Vec<StoredEvent>, Error> {
    let read = log.read_streams(&[Stream::Prisoner(number.clone())]).await?;
    Ok(read.iter().flatten().map(decode).collect::<Result<_, _>>()?)
}

/// A number's history.
pub(crate) fn history(number: &PrisonerNumber, events: &[StoredEvent]) -> History {
    let entries = events.iter().filter_map(|stored| {
        stored
            .entry
            .clone()
            .try_map(|event| match event {
                Event::Prisoner(event) => Ok(event),
                // A number's stream has no other events; decoding sees to that.
                Event::Prison(_) => Err(()),
            })
            .ok()
    });
    History::from_entries(number.clone(), entries.collect())
}

/// A number's own history, as far as it was known at a point.
async fn history_known_at(
    log: &SharedLog,
    number: &PrisonerNumber,
    known_at: Option<KnownAt>,
) -> Result<History, Error> {
    let all = history(number, &events(log, number).await?);
    Ok(match known_at {
        None => all,
        Some(KnownAt::Position(position)) => all.known_at_position(position),
        Some(KnownAt::Instant(instant)) => all.known_at_instant(instant),
    })
}

/// What was known at a point of the case that the number belonged to then: its own, or the survivor's once it had been
/// merged. `None` where nothing was known.
pub(crate) async fn known_at(
    log: &SharedLog,
    number: &PrisonerNumber,
    known_at: KnownAt,
) -> Result<Option<History>, Error> {
    let mut number = number.clone();
    let mut seen = BTreeSet::new();
    loop {
        if !seen.insert(number.clone()) {
            return Err(Error::MergeCircle { number });
        }
        let known = history_known_at(log, &number, Some(known_at)).await?;
        match known.state().retired_into {
            Some(survivor) => number = survivor,
            None => return Ok((!known.is_empty()).then_some(known)),
        }
    }
}

/// The periods that the numbers merged into this one had before its own first one, in order: while a case was not yet known
/// under the surviving number, it was known under those. Where several knew of one moment, the one merged last is
/// believed. They answer for the survivor.
pub(crate) async fn periods_before_merges(
    log: &SharedLog,
    survivor: &PrisonerNumber,
    known_at: Option<KnownAt>,
) -> Result<Vec<Case>, Error> {
    let survivor = history_known_at(log, survivor, known_at).await?;
    let mut open = vec![Gap { from: None, to: periods(&survivor).first().map(|first| first.from) }];
    let mut found = Vec::new();
    for removed in removed_numbers(log, &survivor, known_at).await? {
        for period in periods(&removed) {
            for gap in std::mem::take(&mut open) {
                let (filled, left) = gap.fill(period.from, period.to);
                open.extend(left);
                if let Some((from, to)) = filled {
                    let case = Case::of(&removed, &period);
                    let revision = survivor.revision().unwrap_or_default();
                    found.push(Case { number: survivor.number().clone(), revision, from, to, ..case });
                }
            }
        }
    }
    found.sort_by_key(|case| case.from);
    Ok(found)
}

/// The histories of the numbers merged into one, and of those merged into them; those merged last first.
async fn removed_numbers(
    log: &SharedLog,
    survivor: &History,
    known_at: Option<KnownAt>,
) -> Result<Vec<History>, Error> {
    let mut seen = BTreeSet::from([survivor.number().clone()]);
    let mut to_read = merges(survivor);
    let mut removed = Vec::new();
    while let Some((merged_at, number)) = to_read.pop_last() {
        // A number that comes up twice has been read; a circle so ends.
        if seen.insert(number.clone()) {
            let history = history_known_at(log, &number, known_at).await?;
            to_read.extend(merges(&history));
            removed.push((merged_at, history));
        }
    }
    removed.sort_by_key(|(merged_at, _)| std::cmp::Reverse(*merged_at));
    Ok(removed.into_iter().map(|(_, history)| history).collect())
}

/// The numbers merged into this one, by the position of the merge.
fn merges(history: &History) -> BTreeMap<u64, PrisonerNumber> {
    let merged = history.entries().iter().filter_map(|entry| match &entry.event {
        PrisonerEvent::PrisonerNumberMerged(merged) => Some((entry.position, merged.removed_number.clone())),
        _ => None,
    });
    merged.collect()
}

/// A stretch of time for which nothing is known yet; without a start or an end where it is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

impl Gap {
    /// What a period fills of it, and what is left.
    fn fill(self, from: DateTime<Utc>, to: End) -> (Option<(DateTime<Utc>, End)>, Vec<Self>) {
        let start = self.from.map_or(from, |gap_from| gap_from.max(from));
        let end = match (self.to, to) {
            (Some(gap_to), Some(to)) => Some(gap_to.min(to)),
            (gap_to, to) => gap_to.or(to),
        };
        if end.is_some_and(|end| end <= start) {
            return (None, vec![self]);
        }
        let mut left = Vec::new();
        if self.from.is_none_or(|gap_from| gap_from < start) {
            left.push(Self { from: self.from, to: Some(start) });
        }
        if let Some(end) = end
            && self.to.is_none_or(|gap_to| end < gap_to)
        {
            left.push(Self { from: Some(end), to: self.to });
        }
        (Some((start, end)), left)
    }
}

/// An event of a whole history.
#[derive(Debug)]
pub struct Happened {
    /// The number that it was recorded under.
    pub number: PrisonerNumber,
    /// The event.
    pub stored: StoredEvent,
    /// The revision of the number's entry that voided this one.
    pub voided_by: Option<u64>,
}

/// Everything that happened to the case that the number belongs to, the histories of removed numbers included, in
/// effective order; of one instant, in the order recorded. Empty where nothing is known of the number.
///
/// # Errors
/// The log is out of reach or damaged.
pub async fn whole_history(log: &SharedLog, number: &PrisonerNumber) -> Result<Vec<Happened>, Error> {
    whole_history_known_at(log, number, None).await
}

/// [`whole_history`] as it was known at a point: what was recorded later counts for nothing, merges and voids included.
///
/// # Errors
/// The log is out of reach or damaged.
pub async fn whole_history_known_at(
    log: &SharedLog,
    number: &PrisonerNumber,
    known_at: Option<KnownAt>,
) -> Result<Vec<Happened>, Error> {
    let events = async |number: &PrisonerNumber| {
        let mut events = events(log, number).await?;
        events.retain(|stored| match known_at {
            None => true,
            Some(KnownAt::Position(position)) => stored.entry.position <= position,
            Some(KnownAt::Instant(instant)) => stored.entry.recorded_at <= instant,
        });
        Ok::<_, Error>(events)
    };
    let mut survivor = number.clone();
    let mut own = events(&survivor).await?;
    let mut followed = BTreeSet::from([survivor.clone()]);
    while let Some(next) = history(&survivor, &own).state().retired_into {
        if !followed.insert(next.clone()) {
            return Err(Error::MergeCircle { number: next });
        }
        survivor = next;
        own = events(&survivor).await?;
    }
    let mut happened = Vec::new();
    let mut seen = BTreeSet::from([survivor.clone()]);
    let mut to_read = vec![(survivor, own)];
    while let Some((number, own)) = to_read.pop() {
        let history = history(&number, &own);
        for entry in history.entries() {
            if let PrisonerEvent::PrisonerNumberMerged(merged) = &entry.event
                && seen.insert(merged.removed_number.clone())
            {
                to_read.push((merged.removed_number.clone(), events(&merged.removed_number).await?));
            }
        }
        happened.extend(own.into_iter().map(|stored| Happened {
            number: number.clone(),
            voided_by: history.voided_by(stored.entry.revision),
            stored,
        }));
    }
    happened.sort_by_key(|happened| (happened.stored.entry.effective_at, happened.stored.entry.position));
    Ok(happened)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::days(day)
    }

    #[track_caller]
    fn check(period: (i64, Option<i64>), filled: Option<(i64, Option<i64>)>, left: &[(Option<i64>, Option<i64>)]) {
        let gap = Gap { from: Some(day(10)), to: Some(day(20)) };
        let (is_filled, is_left) = gap.fill(day(period.0), period.1.map(day));
        assert_eq!(is_filled, filled.map(|(from, to)| (day(from), to.map(day))));
        let left: Vec<Gap> = left.iter().map(|(from, to)| Gap { from: from.map(day), to: to.map(day) }).collect();
        assert_eq!(is_left, left);
    }

    #[test]
    fn a_period_fills_what_it_covers_of_a_gap() {
        let whole = (Some(10), Some(20));
        check((0, Some(10)), None, &[whole]);
        check((20, None), None, &[whole]);
        check((0, None), Some((10, Some(20))), &[]);
        check((10, Some(12)), Some((10, Some(12))), &[(Some(12), Some(20))]);
        check((12, Some(15)), Some((12, Some(15))), &[(Some(10), Some(12)), (Some(15), Some(20))]);
        check((15, None), Some((15, Some(20))), &[(Some(10), Some(15))]);
        let ever = Gap { from: None, to: None };
        let before = Gap { from: None, to: Some(day(5)) };
        assert_eq!(ever.fill(day(5), None), (Some((day(5), None)), vec![before]));
    }
}
