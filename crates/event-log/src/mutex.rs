//! Locks over data that is consistent after every single change, so that a panic of one holder does
//! no harm.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, even where a holder has panicked. Callers must keep the data consistent at all
/// times.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
