//! The conventions of the HTTP API that the command side and the query side share.
//!
//! | question | module |
//! |---|---|
//! | how does an error answer look? | [`problem`] |
//! | which codes do error answers have, and what do they mean? | [`ProblemCode`] |
//! | how are bodies, paths and query parameters read, and refused? | [`extract`] |
//! | how do operations share query parameters? | [`ParamGroups`] |
//! | how does an event look in an answer? | [`event`] |
//! | which headers travel with a command? | [`headers`] |
//! | how does a URL write a point in time? | [`instant`] |
//! | how is a long list paged? | [`page`] |
//! | which facts do handover dates come from? | [`sentence_facts`] |
//! | which requests of browsers are refused? | [`HostNames`] |
//! | is the service well, and how busy is it? | [`health`], [`metrics`] |
//! | has the client closed its side of the connection? | [`InputEnd`] |
//! | which trace does a request belong to? | [`trace`] |
//! | who may use a route? | [`access`] |
//! | what of the ledger is a caller's? | [`CallerScope`] |
//! | which client does a request count for? | [`RequestClient`] |
//! | how much may one client ask, and all of them? | [`RequestLimits`], [`ClientQuota`], [`AnswerRoom`] |
//! | which middleware does every route have? | [`add_middleware`] |
//!
//! It knows no route and no answer of either side.

pub mod access;
mod access_table;
mod answer_room;
mod browser_guard;
mod caller_scope;
mod client;
mod client_quota;
pub mod event;
pub mod extract;
pub mod headers;
pub mod health;
mod input_end;
pub mod instant;
mod limits_description;
pub mod metrics;
mod middleware;
pub mod page;
mod param_groups;
pub mod problem;
mod problem_code;
mod rate_limit;
mod request_limits;
pub mod sentence_facts;
mod shared_check;
pub mod trace;

pub use access::{Access, GuardedRouter};
pub use answer_room::AnswerRoom;
pub use browser_guard::HostNames;
pub use caller_scope::{CallerScope, ReadableTexts, Texts};
pub use client::{InvalidAddressRange, PeerAddress, RequestClient, TrustedProxies};
pub use client_quota::{ClientQuota, QuotaExceeded, QuotaShare};
pub use extract::{JsonBody, Params, PathParams};
pub use headers::CommandHeaders;
pub use input_end::InputEnd;
pub use middleware::{BODY_BYTES_MAX, add_middleware};
pub use param_groups::ParamGroups;
pub use problem::Problem;
pub use problem_code::ProblemCode;
pub use request_limits::RequestLimits;
