//! Requests that take more than one command: each is a function over the service.

pub(crate) mod bulk;
pub(crate) mod first_allocation;
pub(crate) mod merge;
mod rehearsal;
