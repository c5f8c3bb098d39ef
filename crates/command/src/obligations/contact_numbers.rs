//! Whose contacts in NOMIS are at each prison: a contact is found by its id, though it is in the
//! stream of a person.
//!
//! A hint, as the rest of the index: it lists every contact ever found, those that have gone from
//! NOMIS, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use domain::{
    Event, Stream,
    identifier::{PrisonCode, PrisonerNumber},
    nomis_contacts::NomisContactEvent,
};
use event_log::{LogError, RecordedEvent, SharedLog, decode};
use futures::{FutureExt as _, TryStreamExt as _, future::BoxFuture};
use uuid::Uuid;

use super::{SNAPSHOT, UnusableSnapshot, role_holders::PackedPrisonerNumber, saved_index};

/// The contacts of a prison, each with the number of its person.
pub(super) type ContactsOfPrison = BTreeMap<Uuid, PackedPrisonerNumber>;

/// The contacts of every prison. A clone shares those of each prison until they change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContactNumbers(BTreeMap<PrisonCode, Arc<ContactsOfPrison>>);

impl ContactNumbers {
    /// Reads the contacts of the whole log: those that the policies' snapshot has, and the events
    /// after it. For a tool, which follows no log.
    ///
    /// # Errors
    /// The log is out of reach, or an event of a contact is damaged.
    pub fn read(log: &SharedLog) -> BoxFuture<'_, Result<Self, LogError>> {
        async move {
            let (mut numbers, after) = match restore(log).await {
                Ok(restored) => restored.unwrap_or_default(),
                Err(unusable) => {
                    tracing::debug!("the whole log is read for its contacts in NOMIS: {unusable}");
                    (Self::default(), 0)
                }
            };
            let mut pages = log.read_pages(after, u64::MAX);
            while let Some(events) = pages.try_next().await? {
                events.iter().try_for_each(|recorded| numbers.add_recorded(recorded))?;
            }
            Ok(numbers)
        }
        .boxed()
    }

    fn add_recorded(&mut self, recorded: &RecordedEvent) -> Result<(), LogError> {
        // Most events are of other streams, and are not decoded.
        if let Stream::Contacts(number) = &recorded.stream
            && let Event::Contacts(event) = decode(recorded)?.entry.event
        {
            self.add(number, &event);
        }
        Ok(())
    }

    /// Adds the contact of an event.
    pub(super) fn add(&mut self, number: &PrisonerNumber, event: &NomisContactEvent) {
        let found = event.contact();
        Arc::make_mut(self.0.entry(found.prison.clone()).or_default()).insert(found.contact_id, number.into());
    }

    /// The number of the person whose contact it is.
    pub(super) fn number(&self, prison: &PrisonCode, contact_id: &Uuid) -> Option<PrisonerNumber> {
        self.0.get(prison)?.get(contact_id).map(|&number| number.into())
    }

    /// The prisons that ever had a contact.
    pub fn prisons(&self) -> impl Iterator<Item = &PrisonCode> {
        self.0.keys()
    }

    /// The persons who ever had a contact at a prison.
    #[must_use]
    pub fn persons_at(&self, prison: &PrisonCode) -> BTreeSet<PrisonerNumber> {
        let contacts = self.0.get(prison).into_iter().flat_map(|contacts| contacts.values());
        contacts.map(|&number| number.into()).collect()
    }

    pub(super) fn by_prison(&self) -> impl ExactSizeIterator<Item = (&PrisonCode, &ContactsOfPrison)> {
        self.0.iter().map(|(prison, contacts)| (prison, &**contacts))
    }
}

impl FromIterator<(PrisonCode, ContactsOfPrison)> for ContactNumbers {
    fn from_iter<I: IntoIterator<Item = (PrisonCode, ContactsOfPrison)>>(by_prison: I) -> Self {
        Self(by_prison.into_iter().map(|(prison, contacts)| (prison, Arc::new(contacts))).collect())
    }
}

/// The contacts of the policies' snapshot, and its position. `None` where there is no snapshot.
async fn restore(log: &SharedLog) -> Result<Option<(ContactNumbers, u64)>, UnusableSnapshot> {
    let Some(snapshot) = log.load_snapshot(SNAPSHOT).await? else { return Ok(None) };
    let (holders, last_event) = saved_index::decode_of_log(&snapshot, log).await?;
    Ok(Some((holders.contacts, last_event.position)))
}
