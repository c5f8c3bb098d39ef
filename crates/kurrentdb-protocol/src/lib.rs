//! The protocol of KurrentDB (formerly EventStoreDB): the methods and messages that the store of
//! events and its stand-in server use, each declared once for both.
//!
//! Names of messages and fields are those of the server's public `.proto` files, which describe
//! them. Unused fields are left out, and messages that have the same form on the wire are declared
//! once.
//!
//! | module | what it holds |
//! |---|---|
//! | `method` | the paths of the methods |
//! | `reading` | reads and subscriptions |
//! | `writing` | appends and deletes |
//! | `server` | the server itself: its methods and its cluster |

#![allow(missing_docs, reason = "the server's `.proto` files describe the messages")]

pub mod method;
mod reading;
mod server;
mod writing;

use prost::{Message, Oneof};

pub use reading::*;
pub use server::*;
pub use writing::*;

#[derive(Clone, PartialEq, Message)]
pub struct Uuid {
    #[prost(oneof = "UuidValue", tags = "1, 2")]
    pub value: Option<UuidValue>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum UuidValue {
    #[prost(message, tag = "1")]
    Structured(StructuredUuid),
    #[prost(string, tag = "2")]
    Text(String),
}

#[derive(Clone, PartialEq, Message)]
pub struct StructuredUuid {
    #[prost(int64, tag = "1")]
    pub most_significant_bits: i64,
    #[prost(int64, tag = "2")]
    pub least_significant_bits: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct StreamIdentifier {
    #[prost(string, tag = "3")]
    pub stream_name: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Position {
    #[prost(uint64, tag = "1")]
    pub commit_position: u64,
    #[prost(uint64, tag = "2")]
    pub prepare_position: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}
