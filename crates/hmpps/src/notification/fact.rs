//! The facts that messages tell.

use chrono::{DateTime, Utc};
use domain::{
    identifier::{Crn, PrisonCode, PrisonerNumber},
    prisoner::ReceptionReason,
};

use crate::lookup::TierVersion;

/// The fact that a message tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A person was released from a prison.
    Released(Movement),
    /// A person left a prison for another one, and is on the way.
    TransferredOut(Movement),
    /// A person came into a prison.
    Received(Movement, ReceptionReason),
    /// Two numbers are one person's.
    Merged {
        /// The number that stays.
        kept: PrisonerNumber,
        /// The number that goes.
        removed: PrisonerNumber,
        /// When.
        at: DateTime<Utc>,
    },
    /// A booking went from one number to another.
    BookingMoved {
        /// The number that had it.
        from: PrisonerNumber,
        /// The number that has it.
        to: PrisonerNumber,
    },
    /// The record of a person in prisoner search is another one.
    Updated(PrisonerUpdate),
    /// The data of a person are to be deleted.
    Deletion(Deletion),
    /// Something about a case in Delius: what follows from it has to be looked up.
    InDelius(DeliusFact),
    /// Nothing that the ledger records.
    Irrelevant,
}

/// A fact about a case in Delius. Such a message names the case by its CRN, and says that something
/// has changed, and not what it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliusFact {
    /// It has another tier.
    TierChanged {
        /// The case.
        crn: Crn,
        /// The version of the tier service's answers that the message's link leads to.
        version: Option<TierVersion>,
    },
    /// Its record is another one, perhaps in its COM or its risk of serious harm.
    RecordChanged {
        /// The case.
        crn: Crn,
    },
    /// It is the case of a person with a number in NOMIS.
    Matched {
        /// The case.
        crn: Crn,
        /// The person.
        number: PrisonerNumber,
        /// When that was found.
        at: DateTime<Utc>,
    },
    /// Two cases turned out to be one person's.
    Merged {
        /// The case that goes.
        source: Crn,
        /// The case that stays.
        target: Crn,
        /// When.
        at: DateTime<Utc>,
    },
    /// A merge was taken back.
    Unmerged {
        /// The case that is there again.
        reactivated: Crn,
        /// The case that it was merged into.
        unmerged: Crn,
    },
    /// It was deleted there, as the law on data protection demands.
    Deleted {
        /// The case.
        crn: Crn,
    },
}

/// A change of what prisoner search has of a person. It says in which respects, and not what it has
/// now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrisonerUpdate {
    /// The person.
    pub number: PrisonerNumber,
    /// Whether the status has changed: where the person is, or the legal status.
    pub status: bool,
    /// Whether the sentence has.
    pub sentence: bool,
    /// When.
    pub at: DateTime<Utc>,
}

/// The deletion of a person's data in NOMIS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The person.
    pub number: PrisonerNumber,
    /// The reason for it.
    pub reason: DeletionReason,
}

/// The reason for which NOMIS has no data of a person any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionReason {
    /// The number is gone, which a merge brings about, too.
    Removed,
    /// The rules on how long data are kept.
    Retention,
}

/// A person's coming or going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// The person.
    pub number: PrisonerNumber,
    /// The prison left, or come into.
    pub prison: PrisonCode,
    /// When.
    pub at: DateTime<Utc>,
}

impl Fact {
    /// The numbers that the message itself names, whose cases decide what is done.
    pub fn numbers(&self) -> impl Iterator<Item = &PrisonerNumber> {
        let numbers = match self {
            Self::Released(movement) | Self::TransferredOut(movement) | Self::Received(movement, _) => {
                [Some(&movement.number), None]
            }
            Self::Merged { kept, removed, .. } => [Some(kept), Some(removed)],
            Self::BookingMoved { from, to } => [Some(from), Some(to)],
            Self::InDelius(DeliusFact::Matched { number, .. })
            | Self::Updated(PrisonerUpdate { number, .. })
            | Self::Deletion(Deletion { number, .. }) => [Some(number), None],
            Self::InDelius(
                DeliusFact::TierChanged { .. }
                | DeliusFact::RecordChanged { .. }
                | DeliusFact::Merged { .. }
                | DeliusFact::Unmerged { .. }
                | DeliusFact::Deleted { .. },
            )
            | Self::Irrelevant => [None, None],
        };
        numbers.into_iter().flatten()
    }

    /// [`Self::numbers`] as texts.
    pub(crate) fn number_texts(&self) -> Vec<String> {
        self.numbers().map(ToString::to_string).collect()
    }

    /// The numbers of people and cases among which messages have their turns: two messages that
    /// share one are taken in one after the other.
    pub(crate) fn turn_keys(&self) -> Vec<String> {
        let crns = match self {
            Self::InDelius(
                DeliusFact::TierChanged { crn, .. }
                | DeliusFact::RecordChanged { crn }
                | DeliusFact::Matched { crn, .. }
                | DeliusFact::Deleted { crn },
            ) => [Some(crn), None],
            Self::InDelius(DeliusFact::Merged { source, target, .. }) => [Some(source), Some(target)],
            Self::InDelius(DeliusFact::Unmerged { reactivated, unmerged }) => [Some(reactivated), Some(unmerged)],
            Self::Released(_)
            | Self::TransferredOut(_)
            | Self::Received(..)
            | Self::Merged { .. }
            | Self::BookingMoved { .. }
            | Self::Updated(_)
            | Self::Deletion(_)
            | Self::Irrelevant => [None, None],
        };
        self.number_texts().into_iter().chain(crns.into_iter().flatten().map(ToString::to_string)).collect()
    }

    /// When the fact occurred, if that matters.
    pub(crate) fn occurred_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Released(movement) | Self::TransferredOut(movement) | Self::Received(movement, _) => {
                Some(movement.at)
            }
            Self::Merged { at, .. }
            | Self::InDelius(DeliusFact::Matched { at, .. } | DeliusFact::Merged { at, .. }) => Some(*at),
            Self::BookingMoved { .. } | Self::Updated(_) | Self::Deletion(_) | Self::InDelius(_) | Self::Irrelevant => {
                None
            }
        }
    }
}
