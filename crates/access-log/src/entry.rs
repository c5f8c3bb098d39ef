//! The entries: one for each read that shows a person's data.

use std::{borrow::Cow, collections::BTreeSet};

use chrono::{DateTime, Utc};
use domain::identifier::PrisonerNumber;
use uuid::Uuid;

/// A read, by a request or by a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessEntry {
    /// When it was asked; with `id` the key of the entry.
    pub at: DateTime<Utc>,
    /// Tells apart entries of the same instant, and a repeated insert from another entry.
    pub id: Uuid,
    /// The reader.
    pub reader: Reader,
    /// The template of the route, or the name of the tool.
    pub operation: Cow<'static, str>,
    /// The method of the request; absent for a tool.
    pub method: Option<&'static str>,
    /// The status of the answer; absent for a tool.
    pub status: Option<u16>,
    /// The correlation id of the request; absent for a tool.
    pub correlation_id: Option<Uuid>,
    /// The data that was shown.
    pub shown: Shown,
    /// Reads of which this entry is all that is kept.
    pub lost: Option<LostReads>,
}

impl AccessEntry {
    /// A read by a tool of the program, which names the user of the operating system.
    #[must_use]
    pub fn of_tool(at: DateTime<Utc>, tool: &'static str, reader: Reader, shown: Shown) -> Self {
        Self {
            at,
            id: Uuid::now_v7(),
            reader,
            operation: tool.into(),
            method: None,
            status: None,
            correlation_id: None,
            shown,
            lost: None,
        }
    }

    /// The entry that stands for reads which could not be kept.
    pub(crate) fn of_lost(lost: LostReads) -> Self {
        let LostReads { first, .. } = lost;
        let entry = Self::of_tool(first, "reads not kept", Reader::default(), Shown::no_person());
        Self { lost: Some(lost), ..entry }
    }
}

/// The person or the program that reads, as far as it is known. Where there is no sign-on, no
/// member of it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reader {
    /// The username of the token, or of the operating system for a tool.
    pub username: Option<String>,
    /// The client that the token names.
    pub client: Option<String>,
    /// Where the user signed on, such as `nomis`; `os` for a user of the operating system.
    pub auth_source: Option<String>,
}

impl Reader {
    /// The name by which the reader is known: the user's, or that of a client for itself.
    pub(crate) fn name(&self) -> Option<&str> {
        self.username.as_deref().or(self.client.as_deref())
    }
}

/// The personal data that an answer shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// The prisoner numbers.
    pub prisoners: BTreeSet<PrisonerNumber>,
    /// The conditions of a question that does not name its numbers.
    pub filter: Option<String>,
    /// The events of the log: after the first position, up to the second one, which is absent for a
    /// stream that goes on.
    pub positions: Option<(u64, Option<u64>)>,
}

impl Shown {
    /// No person's data: such a read has no entry.
    #[must_use]
    pub fn no_person() -> Self {
        Self::default()
    }

    /// The cases of these numbers.
    #[must_use]
    pub fn prisoners<'a>(numbers: impl IntoIterator<Item = &'a PrisonerNumber>) -> Self {
        Self { prisoners: numbers.into_iter().cloned().collect(), ..Self::default() }
    }

    /// The events that pass a filter, after a position and up to another.
    #[must_use]
    pub fn events(filter: String, after: u64, to: Option<u64>) -> Self {
        Self { filter: Some(filter), positions: Some((after, to)), ..Self::default() }
    }

    /// The data that a filter selects.
    #[must_use]
    pub fn filtered(filter: String) -> Self {
        Self { filter: Some(filter), ..Self::default() }
    }

    /// Whether there is an entry to write.
    #[must_use]
    pub fn is_of_person(&self) -> bool {
        *self != Self::default()
    }

    /// The memory that it takes, in prisoner numbers.
    pub(crate) fn weight(&self) -> usize {
        1 + self.prisoners.len()
    }
}

/// Reads whose entries could not be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostReads {
    /// How many.
    pub reads: u64,
    /// When the first of them was asked.
    pub first: DateTime<Utc>,
    /// When the last of them was asked.
    pub last: DateTime<Utc>,
}

impl LostReads {
    /// One, asked at this instant.
    pub(crate) fn one(at: DateTime<Utc>) -> Self {
        Self { reads: 1, first: at, last: at }
    }

    /// Adds further ones.
    pub(crate) fn add(&mut self, further: Self) {
        self.reads += further.reads;
        self.first = self.first.min(further.first);
        self.last = self.last.max(further.last);
    }
}
