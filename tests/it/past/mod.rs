//! Questions about the past: a business instant and a point of the log.

mod known_at;
mod known_days;
