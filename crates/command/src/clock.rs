//! The source of the time, which no other place of the command side may ask for.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use domain::moment::normalise;

/// The machine's clock, or one that a test moves.
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
        normalise((self.0)())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
