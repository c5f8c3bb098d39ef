//! Handover dates: when a case goes from prison to probation, worked out from sentence facts.

mod calculate;
mod facts;
mod overdue;
mod reason;

pub use calculate::*;
pub use facts::*;
pub use overdue::*;
pub use reason::*;
