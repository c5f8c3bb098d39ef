//! The numbers of a case, found by the merges alone.

use std::collections::BTreeSet;

use domain::{Event, Stream, identifier::PrisonerNumber, prisoner::PrisonerEventType};
use event_log::{LogError, RecordedEvent, SharedLog, decode};

/// The numbers of the case that a number belongs to: itself, and whatever was merged with it in
/// either direction. Of their histories only the merges are decoded.
///
/// # Errors
/// The log is out of reach, or the record of a merge is damaged.
pub(crate) async fn case_numbers(
    log: &SharedLog,
    number: &PrisonerNumber,
) -> Result<BTreeSet<PrisonerNumber>, LogError> {
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
    if !PrisonerEventType::from_name(&recorded.type_name).is_some_and(PrisonerEventType::is_of_merge) {
        return Ok(None);
    }
    Ok(match decode(recorded)?.entry.event {
        Event::Prisoner(event) => event.merge_partner().cloned(),
        Event::Prison(_) => None,
    })
}
