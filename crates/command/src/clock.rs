//! The one place of the command side that knows what time it is.

use std::{fmt, sync::Arc};

use chrono::{DateTime, SubsecRound, Utc};

/// Where the time comes from: the machine's clock, or one that a test moves.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn system() -> Self {
        Self::new(Utc::now)
    }

    /// A clock that asks `now`.
    pub fn new(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time, in whole microseconds: the finest that every store and view can keep.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        whole_microseconds((self.0)())
    }
}

/// An instant without what is finer than a microsecond.
pub(crate) fn whole_microseconds(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant.trunc_subsecs(6)
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
