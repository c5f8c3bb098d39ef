//! Stand-ins for SQS and SNS that are as fast as memory, for tests and benchmarks in which `moto`
//! would be what is measured, and that fail on demand. They speak the part of the protocols that
//! the ledger uses; `moto` is the judge of that.

#![forbid(unsafe_code)]

mod queue;
mod topic;

pub use queue::QueueStandIn;
pub use topic::{Die, TopicStandIn};
