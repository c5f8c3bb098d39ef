//! Handover dates: when a case goes from prison to probation, worked out from sentence facts.

mod facts;

pub use facts::*;
