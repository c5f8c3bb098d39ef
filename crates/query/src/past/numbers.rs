//! The numbers of a case, found by the merges alone.

use std::collections::BTreeSet;

use domain::{
    Event, Stream,
    identifier::PrisonerNumber,
    prisoner::{PrisonerEventType, lineage::CaseNumbers},
};
use event_log::{LogError, RecordedEvent, SharedLog, decode};

/// The numbers of the case that a number belongs to: itself, and every number merged with it in
/// either direction. Of their histories only the merges are decoded.
///
/// # Errors
/// The log is out of reach, or the record of a merge is damaged.
pub async fn case_numbers(log: &SharedLog, number: &PrisonerNumber) -> Result<BTreeSet<PrisonerNumber>, LogError> {
    let mut numbers = CaseNumbers::new(number.clone());
    loop {
        let unread: Vec<Stream> = numbers.take_unread().into_iter().map(Stream::Prisoner).collect();
        if unread.is_empty() {
            return Ok(numbers.into_numbers());
        }
        for recorded in log.read_streams(&unread).await?.iter().flatten() {
            merge_partner(recorded)?.into_iter().for_each(|partner| numbers.add(partner));
        }
    }
}

/// The other number of a merge, where the event is of one. Of other events only the type is read.
pub(crate) fn merge_partner(recorded: &RecordedEvent) -> Result<Option<PrisonerNumber>, LogError> {
    if !PrisonerEventType::from_name(&recorded.type_name).is_some_and(PrisonerEventType::is_of_merge) {
        return Ok(None);
    }
    Ok(match decode(recorded)?.entry.event {
        Event::Prisoner(event) => event.merge_partner().cloned(),
        Event::Prison(_) | Event::Contacts(_) => None,
    })
}
