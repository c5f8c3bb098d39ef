//! Requests that take more than one command: a bulk reallocation, a merge of two numbers.

pub(crate) mod bulk;
pub(crate) mod merge;
