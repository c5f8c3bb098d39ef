//! Histories, put together event by event.

use domain::{Entry, Event, Stream, prison, prisoner};
use event_log::LogError;

/// The history of a case or of a prison.
#[derive(Debug, Clone)]
pub(crate) enum History {
    /// A case's.
    Case(prisoner::History),
    /// A prison's.
    Prison(prison::History),
}

impl History {
    /// The history of a stream in which nothing has happened.
    pub(crate) fn new(stream: &Stream) -> Self {
        match stream {
            Stream::Prisoner(number) => Self::Case(prisoner::History::new(number.clone())),
            Stream::Prison(code) => Self::Prison(prison::History::new(code.clone())),
        }
    }

    /// How many entries it has, which is the revision of the next.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Case(history) => history.entries().len(),
            Self::Prison(history) => history.entries().len(),
        }
    }

    /// Adds the entry that the log has next in this history's stream.
    ///
    /// # Errors
    /// [`LogError::Damaged`] where it is not the next: the log promises dense revisions.
    pub(crate) fn push(&mut self, entry: Entry<Event>) -> Result<(), LogError> {
        let (position, revision, due) = (entry.position, entry.revision, self.len() as u64);
        let damaged = |what: String| Err(LogError::Damaged { position, what });
        if revision != due {
            return damaged(format!("revision {revision} of its stream where {due} is due"));
        }
        let Entry { event_id, effective_at, recorded_at, recorded_by, command_id, event, .. } = entry;
        macro_rules! entry_of {
            ($event:ident) => {
                Entry {
                    event_id,
                    revision,
                    position,
                    effective_at,
                    recorded_at,
                    recorded_by,
                    command_id,
                    event: $event,
                }
            };
        }
        match (self, event) {
            (Self::Case(history), Event::Prisoner(event)) => history.push(entry_of!(event)),
            (Self::Prison(history), Event::Prison(event)) => history.push(entry_of!(event)),
            (Self::Case(_), Event::Prison(event)) => return damaged(format!("`{}` in a case", event.type_name())),
            (Self::Prison(_), Event::Prisoner(event)) => {
                return damaged(format!("`{}` in a prison", event.type_name()));
            }
        }
        Ok(())
    }
}
