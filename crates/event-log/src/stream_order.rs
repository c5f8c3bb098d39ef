//! The order within one stream: what every store checks of what it reads of a stream.

use crate::{LogError, RecordedEvent};

/// Checks that a stream's events follow one another, in the stream and in the log.
#[derive(Debug)]
pub struct StreamOrder {
    next_revision: u64,
    /// The position of the event before; 0 before the first.
    position: u64,
}

impl StreamOrder {
    /// For events that are read from a revision on.
    #[must_use]
    pub fn from_revision(revision: u64) -> Self {
        Self { next_revision: revision, position: 0 }
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// [`LogError::Damaged`], where it has another revision than the next, or is not after
    /// the event before it in the log.
    pub fn accept(&mut self, event: &RecordedEvent) -> Result<(), LogError> {
        let Self { next_revision, position } = *self;
        if event.revision != next_revision || event.position <= position {
            return Err(LogError::Damaged {
                position: event.position,
                what: format!(
                    "revision {} of its stream stands here, where revision {next_revision} was to follow position \
                     {position}",
                    event.revision
                ),
            });
        }
        *self = Self { next_revision: next_revision + 1, position: event.position };
        Ok(())
    }
}
