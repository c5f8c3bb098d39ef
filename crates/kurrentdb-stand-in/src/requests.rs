//! The common parts of requests: stream names, ids, and the statuses of those that are refused.

use tonic::{
    Code, Status,
    metadata::{AsciiMetadataKey, MetadataMap},
};
use uuid::Uuid;

use kurrentdb_protocol::{self as protocol, StreamIdentifier};

pub fn stream_name(stream: Option<StreamIdentifier>) -> Result<String, Status> {
    stream.map(|stream| stream.stream_name).filter(|name| !name.is_empty()).ok_or_else(|| not_given("a stream"))
}

pub fn stream_deleted(stream: &str) -> Status {
    let message = format!("Event stream '{stream}' is deleted.");
    status(Code::FailedPrecondition, message, &[("exception", "stream-deleted"), ("stream-name", stream)])
}

pub fn not_given(what: &str) -> Status {
    Status::invalid_argument(format!("the request does not give {what}"))
}

/// A status with the trailers by which clients recognise it.
pub fn status(code: Code, message: String, trailers: &[(&'static str, &str)]) -> Status {
    let mut metadata = MetadataMap::new();
    for (name, value) in trailers {
        // A name that a header cannot hold is left out.
        if let Ok(value) = value.parse() {
            metadata.insert(AsciiMetadataKey::from_static(name), value);
        }
    }
    Status::with_metadata(code, message, metadata)
}

pub fn uuid_from_client(id: Option<protocol::Uuid>) -> Result<Uuid, Status> {
    match id.and_then(|id| id.value) {
        Some(protocol::UuidValue::Structured(id)) => {
            Ok(Uuid::from_u64_pair(id.most_significant_bits.cast_unsigned(), id.least_significant_bits.cast_unsigned()))
        }
        Some(protocol::UuidValue::Text(id)) => id.parse().map_err(|_| Status::invalid_argument("an id is no UUID")),
        None => Err(not_given("an event's id")),
    }
}

pub fn uuid_from_server(id: Uuid, as_text: bool) -> protocol::Uuid {
    let value = if as_text {
        protocol::UuidValue::Text(id.to_string())
    } else {
        let (most, least) = id.as_u64_pair();
        protocol::UuidValue::Structured(protocol::StructuredUuid {
            most_significant_bits: most.cast_signed(),
            least_significant_bits: least.cast_signed(),
        })
    };
    protocol::Uuid { value: Some(value) }
}
