//! Cases as the log has them: whole histories, what was known at a point, and merged numbers followed in both directions.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use domain::{
    Event, Stream,
    identifier::PrisonerNumber,
    prisoner::{History, Period, PrisonerEvent, periods},
};
use event_log::{KnownAt, LogError, RecordedEvent, SharedLog, StoredEvent, decode};
use serde::Serialize;

use crate::{
    Error,
    http::ResponsibilityPeriod,
    present::{End, case::Case},
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
    let position = position_of(log, known_at).await?;
    let all = history(number, &events(log, number).await?);
    Ok(match position {
        None => all,
        Some(position) => all.known_at_position(position),
    })
}

/// The position up to which a point reaches. An instant is turned into one first, as for lists: what was known is the beginning
/// of the log, in the order of the log.
async fn position_of(log: &SharedLog, known_at: Option<KnownAt>) -> Result<Option<u64>, LogError> {
    Ok(match known_at {
        None => None,
        Some(KnownAt::Position(position)) => Some(position),
        Some(KnownAt::Instant(instant)) => Some(log.position_at(instant).await?),
    })
}

/// The periods that the numbers merged into this one had before its own first one, in order: while a case was not yet known
/// under the surviving number, it was known under those. Where several knew of one moment, the one merged last is
/// believed. They answer for the survivor.
pub(crate) async fn periods_before_merges(
    log: &SharedLog,
    survivor: &PrisonerNumber,
    known_at: Option<KnownAt>,
) -> Result<Vec<Case>, Error> {
    let known_at = position_of(log, known_at).await?.map(KnownAt::Position);
    let survivor = history_known_at(log, survivor, known_at).await?;
    let removed = removed_numbers(log, &survivor, known_at).await?;
    let found = before_merges(&survivor, removed.iter());
    Ok(found.iter().map(|found| found.case(&survivor)).collect())
}

/// A period under a number that was merged, as far as nothing better is known of that time.
struct Before<'a> {
    removed: &'a History,
    period: Period,
}

impl Before<'_> {
    /// The same as an answer for the survivor.
    fn case(&self, survivor: &History) -> Case {
        let revision = survivor.revision().unwrap_or_default();
        Case { number: survivor.number().clone(), revision, ..Case::of(self.removed, &self.period) }
    }
}

/// Fills the time before the survivor's own first period from the histories of the numbers merged into it, those merged
/// last first.
fn before_merges<'a>(survivor: &History, removed: impl Iterator<Item = &'a History>) -> Vec<Before<'a>> {
    let mut open = vec![Gap { from: None, to: periods(survivor).first().map(|first| first.from) }];
    let mut found = Vec::new();
    for removed in removed {
        for period in periods(removed) {
            for gap in std::mem::take(&mut open) {
                let (filled, left) = gap.fill(period.from, period.to);
                open.extend(left);
                if let Some((from, to)) = filled {
                    found.push(Before { removed, period: Period { from, to, ..period.clone() } });
                }
            }
        }
    }
    found.sort_by_key(|found| found.period.from);
    found
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
    Ok(happened(members(log, number, known_at).await?))
}

/// A case for a person who wants to know everything: who was responsible when, and everything that happened.
#[derive(Debug)]
pub struct WholeCase {
    /// The number under which the case is known: the survivor's, where it was merged.
    pub number: PrisonerNumber,
    /// Who was responsible from when to when, past and planned, in order. Those from before a merge need not adjoin.
    pub periods: Vec<CasePeriod>,
    /// Everything that happened, as [`whole_history`] has it.
    pub entries: Vec<Happened>,
}

/// A stretch of time in which nothing about a case changes.
#[derive(Debug)]
pub struct CasePeriod {
    /// The number under which it was known.
    pub number: PrisonerNumber,
    /// What held.
    pub period: Period,
    case: Case,
}

impl CasePeriod {
    /// The period in the shape that `GET /prisoners/{n}/responsibility/periods` answers.
    #[must_use]
    pub fn answer(&self) -> impl Serialize {
        ResponsibilityPeriod::from(&self.case)
    }
}

/// Everything about the case that the number belongs to, as it was known at a point; `None` where nothing was known.
///
/// # Errors
/// The log is out of reach or damaged.
pub async fn whole_case(
    log: &SharedLog,
    number: &PrisonerNumber,
    known_at: Option<KnownAt>,
) -> Result<Option<WholeCase>, Error> {
    let members = members(log, number, known_at).await?;
    let Some((survivor, removed)) = members.split_first().filter(|(first, _)| !first.events.is_empty()) else {
        return Ok(None);
    };
    // Those merged last first, as the answers over HTTP take them.
    let mut removed: Vec<&Member> = removed.iter().collect();
    removed.sort_by_key(|member| std::cmp::Reverse(member.merged_at));
    let survivor = &survivor.history;
    let before = before_merges(survivor, removed.into_iter().map(|member| &member.history));
    let mut of_case: Vec<CasePeriod> = before
        .into_iter()
        .map(|before| CasePeriod {
            number: before.removed.number().clone(),
            case: before.case(survivor),
            period: before.period,
        })
        .collect();
    of_case.extend(periods(survivor).into_iter().map(|period| CasePeriod {
        number: survivor.number().clone(),
        case: Case::of(survivor, &period),
        period,
    }));
    Ok(Some(WholeCase { number: survivor.number().clone(), periods: of_case, entries: happened(members) }))
}

/// The numbers of the case that a number belongs to: itself, and whatever was merged with it in either direction.
/// Reads nothing of their histories but the merges.
///
/// # Errors
/// The log is out of reach, or the record of a merge is damaged.
pub(crate) async fn numbers(log: &SharedLog, number: &PrisonerNumber) -> Result<BTreeSet<PrisonerNumber>, Error> {
    let mut found = BTreeSet::from([number.clone()]);
    let mut to_read = vec![number.clone()];
    while !to_read.is_empty() {
        let streams: Vec<Stream> = to_read.drain(..).map(Stream::Prisoner).collect();
        for recorded in log.read_streams(&streams).await?.iter().flatten() {
            if let Some(partner) = merge_partner(recorded)?
                && found.insert(partner.clone())
            {
                to_read.push(partner);
            }
        }
    }
    Ok(found)
}

/// The other number of a merge, where the event is of one. Of other events only the type is read.
pub(crate) fn merge_partner(recorded: &RecordedEvent) -> Result<Option<PrisonerNumber>, LogError> {
    if !["PrisonerNumberRetired", "PrisonerNumberMerged"].contains(&recorded.type_name.as_str()) {
        return Ok(None);
    }
    Ok(match decode(recorded)?.entry.event {
        Event::Prisoner(PrisonerEvent::PrisonerNumberRetired(retired)) => Some(retired.survivor),
        Event::Prisoner(PrisonerEvent::PrisonerNumberMerged(merged)) => Some(merged.removed_number),
        _ => None,
    })
}

/// A number of a case, with what was known of it.
struct Member {
    history: History,
    events: Vec<StoredEvent>,
    /// Where in the log it was merged into another; 0 for the survivor.
    merged_at: u64,
}

/// The numbers of the case that one belongs to, as far as they were known at a point; the survivor first. What was
/// recorded later counts for nothing, merges included.
async fn members(log: &SharedLog, number: &PrisonerNumber, known_at: Option<KnownAt>) -> Result<Vec<Member>, Error> {
    let position = position_of(log, known_at).await?;
    let member = async |number: &PrisonerNumber, merged_at: u64| {
        let mut events = events(log, number).await?;
        events.retain(|stored| position.is_none_or(|position| stored.entry.position <= position));
        Ok::<_, Error>(Member { history: history(number, &events), events, merged_at })
    };
    let mut survivor = member(number, 0).await?;
    let mut followed = BTreeSet::from([number.clone()]);
    while let Some(next) = survivor.history.state().retired_into {
        if !followed.insert(next.clone()) {
            return Err(Error::MergeCircle { number: next });
        }
        survivor = member(&next, 0).await?;
    }
    let mut seen = BTreeSet::from([survivor.history.number().clone()]);
    let mut members = vec![survivor];
    let mut next = 0;
    while let Some(of) = members.get(next) {
        for (merged_at, removed) in merges(&of.history) {
            if seen.insert(removed.clone()) {
                members.push(member(&removed, merged_at).await?);
            }
        }
        next += 1;
    }
    Ok(members)
}

/// What happened to all numbers of a case, in effective order; of one instant, in the order recorded.
fn happened(members: Vec<Member>) -> Vec<Happened> {
    let mut happened: Vec<Happened> = members
        .into_iter()
        .flat_map(|Member { history, events, .. }| {
            events.into_iter().map(move |stored| Happened {
                number: history.number().clone(),
                voided_by: history.voided_by(stored.entry.revision),
                stored,
            })
        })
        .collect();
    happened.sort_by_key(|happened| (happened.stored.entry.effective_at, happened.stored.entry.position));
    happened
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
