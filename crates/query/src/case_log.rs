//! Cases as the log has them: whole histories, what was known at a point, and merged numbers followed in both directions.

use std::collections::BTreeSet;

use domain::{
    Entry, Event, Stream,
    identifier::PrisonerNumber,
    prisoner::{History, PrisonerEvent},
};
use event_log::{SharedLog, StoredEvent, decode};
use http_api::instant::KnownAt;

use crate::Error;

/// A number's own events, in the order recorded.
pub(crate) async fn events(log: &SharedLog, number: &PrisonerNumber) -> Result<Vec<StoredEvent>, Error> {
    let read = log.read_streams(&[Stream::Prisoner(number.clone())]).await?;
    Ok(read.iter().flatten().map(decode).collect::<Result<_, _>>()?)
}

/// A number's history.
pub(crate) fn history(number: &PrisonerNumber, events: &[StoredEvent]) -> History {
    let entries = events.iter().filter_map(|stored| {
        let StoredEvent { entry, .. } = stored;
        // A number's stream has no other events; decoding sees to that.
        let Event::Prisoner(event) = &entry.event else { return None };
        Some(Entry {
            event_id: entry.event_id,
            revision: entry.revision,
            position: entry.position,
            effective_at: entry.effective_at,
            recorded_at: entry.recorded_at,
            recorded_by: entry.recorded_by.clone(),
            command_id: entry.command_id,
            event: event.clone(),
        })
    });
    History::from_entries(number.clone(), entries.collect())
}

/// What was known at a point of the case that the number belonged to then: its own, or the survivor's once it had been
/// merged. `None` where nothing was known.
pub(crate) async fn known_at(
    log: &SharedLog,
    number: &PrisonerNumber,
    known_at: KnownAt,
) -> Result<Option<History>, Error> {
    let mut number = number.clone();
    loop {
        let all = history(&number, &events(log, &number).await?);
        let known = match known_at {
            KnownAt::Position(position) => all.known_at_position(position),
            KnownAt::Instant(instant) => all.known_at_instant(instant),
        };
        // A circle of merges is refused, so this comes to an end.
        match known.state().retired_into {
            Some(survivor) => number = survivor,
            None => return Ok((!known.is_empty()).then_some(known)),
        }
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
    // A circle of merges is refused, so this comes to an end.
    while let Some(next) = history(&survivor, &own).state().retired_into {
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
