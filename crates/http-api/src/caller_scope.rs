//! The part of the ledger that is a caller's: the prisons that it is confined to, and the free
//! texts that it may read. Where there is no sign-on, everything is.

use domain::{Confinement, Event, Stream, confinement::Prisons, identifier::PrisonCode, prisoner::PrisonerEvent};
use event_log::StoredEvent;

/// The part of the ledger that a caller may see and change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallerScope {
    /// The prisons that the caller is confined to.
    pub confinement: Confinement,
    /// The free texts that the caller may read.
    pub texts: ReadableTexts,
}

/// The free texts that a caller may read: notes, details of overrides, reasons.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ReadableTexts {
    /// All of them.
    #[default]
    All,
    /// Those that one of these prisons wrote.
    OfPrisons(Prisons),
}

/// Whether free texts are in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// They are.
    Shown,
    /// They are null.
    Hidden,
}

impl ReadableTexts {
    /// Whether the caller reads the texts that this prison wrote. A text that no prison is known to
    /// have written is only for callers that read everything.
    #[must_use]
    pub fn of(&self, prison: Option<&PrisonCode>) -> Texts {
        match self {
            Self::All => Texts::Shown,
            Self::OfPrisons(prisons) if prison.is_some_and(|prison| prisons.contains(prison)) => Texts::Shown,
            Self::OfPrisons(_) => Texts::Hidden,
        }
    }

    /// Whether the caller reads the texts of an event, by what the event itself says of its prison.
    #[must_use]
    pub fn of_event(&self, stored: &StoredEvent) -> Texts {
        self.of(match (&stored.stream, &stored.entry.event) {
            (Stream::Prison(code), _) => Some(code),
            (_, Event::Prisoner(event)) => event.prison_of_text(),
            (_, Event::Contacts(event)) => Some(&event.contact().prison),
            (_, Event::Prison(_)) => None,
        })
    }

    /// Whether the caller reads the texts of an event that answers a command of its own. A caller
    /// of a prison reads what it sent, though the event does not name the prison.
    #[must_use]
    pub fn of_own_event(&self, stored: &StoredEvent) -> Texts {
        let is_as_sent = matches!(
            &stored.entry.event,
            Event::Prisoner(PrisonerEvent::ResponsibilityOverridden(_) | PrisonerEvent::EntryVoided(_))
        );
        match self {
            Self::OfPrisons(prisons) if is_as_sent && !prisons.is_empty() => Texts::Shown,
            Self::OfPrisons(_) | Self::All => self.of_event(stored),
        }
    }
}
