//! Requests that are more than one command to one stream: each is a function over the service.

pub(crate) mod bulk;
pub(crate) mod contact_removal;
pub(crate) mod first_api_allocation;
pub(crate) mod go_live;
pub(crate) mod merge;
