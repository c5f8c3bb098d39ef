//! A case: one prisoner number, its history, and what may happen to it.

mod event;

pub use event::*;
