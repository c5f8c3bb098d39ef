//! All entries on the contacts of a person, and the contacts that they leave.

use std::{borrow::Cow, collections::BTreeMap};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{NomisContactEvent, NomisContactFound};
use crate::{event::Entry, identifier::PrisonerNumber};

/// The entries on one person's contacts in the order recorded; the entry at index `i` has revision
/// `i`.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    number: PrisonerNumber,
    entries: Vec<Entry<NomisContactEvent>>,
    /// The fold of all entries.
    contacts: BTreeMap<Uuid, Contact>,
    last_effective_at: Option<DateTime<Utc>>,
}

/// A POM contact in NOMIS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The contact.
    pub found: NomisContactFound,
    /// The time at which it was last found.
    pub found_at: DateTime<Utc>,
    /// The time at which it was confirmed removed, unless it was found again since.
    pub removed_at: Option<DateTime<Utc>>,
}

impl History {
    /// The history of a person without contacts.
    #[must_use]
    pub fn new(number: PrisonerNumber) -> Self {
        Self { number, entries: Vec::new(), contacts: BTreeMap::new(), last_effective_at: None }
    }

    /// The history made of these entries, in the order recorded.
    #[must_use]
    pub fn from_entries(number: PrisonerNumber, entries: Vec<Entry<NomisContactEvent>>) -> Self {
        let mut history = Self::new(number);
        entries.into_iter().for_each(|entry| history.push(entry));
        history
    }

    /// Adds the entry recorded next.
    ///
    /// # Panics
    /// If its revision is not the next: the log keeps revisions dense, so this is a bug.
    pub fn push(&mut self, entry: Entry<NomisContactEvent>) {
        assert_eq!(entry.revision, self.entries.len() as u64, "revisions of {} rise by one", self.number);
        self.entries.push(entry);
        let entry = self.entries.last().expect("just added");
        if self.last_effective_at.is_none_or(|last| last <= entry.effective_at) {
            apply(&mut self.contacts, entry);
            self.last_effective_at = Some(entry.effective_at);
        } else {
            self.contacts = self.fold(DateTime::<Utc>::MAX_UTC);
        }
    }

    /// The number of the person.
    #[must_use]
    pub fn number(&self) -> &PrisonerNumber {
        &self.number
    }

    /// The entries in the order recorded.
    #[must_use]
    pub fn entries(&self) -> &[Entry<NomisContactEvent>] {
        &self.entries
    }

    /// The contacts ever seen by all entries known, removed ones included.
    #[must_use]
    pub fn contacts(&self) -> &BTreeMap<Uuid, Contact> {
        &self.contacts
    }

    /// The contacts seen by an instant, by all entries known.
    #[must_use]
    pub fn contacts_at(&self, instant: DateTime<Utc>) -> Cow<'_, BTreeMap<Uuid, Contact>> {
        if self.last_effective_at.is_none_or(|last| last <= instant) {
            Cow::Borrowed(&self.contacts)
        } else {
            Cow::Owned(self.fold(instant))
        }
    }

    fn fold(&self, until: DateTime<Utc>) -> BTreeMap<Uuid, Contact> {
        let mut entries: Vec<_> = self.entries.iter().filter(|entry| entry.effective_at <= until).collect();
        entries.sort_by_key(|entry| entry.effective_at);
        let mut contacts = BTreeMap::new();
        entries.into_iter().for_each(|entry| apply(&mut contacts, entry));
        contacts
    }
}

/// Takes in the next event in effective order.
fn apply(contacts: &mut BTreeMap<Uuid, Contact>, entry: &Entry<NomisContactEvent>) {
    let at = entry.effective_at;
    match &entry.event {
        NomisContactEvent::NomisContactFound(found) => {
            let contact = Contact { found: found.clone(), found_at: at, removed_at: None };
            let known = contacts.entry(found.contact_id).or_insert_with(|| contact.clone());
            if known.removed_at.is_some() {
                *known = contact;
            }
        }
        NomisContactEvent::NomisContactRemovalConfirmed(removed) => {
            if let Some(contact) = contacts.get_mut(&removed.contact.contact_id) {
                contact.removed_at.get_or_insert(at);
            }
        }
    }
}
