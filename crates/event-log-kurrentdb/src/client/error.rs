//! The outcomes of calls that have failed.

use std::{error::Error, sync::Arc};

use tonic::{Code, Status};

use super::Node;

/// The reason why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CallError {
    /// The node does not lead; the leader is the one named, where the node knows it.
    #[error("the node does not lead{}", .0.as_ref().map(|leader| format!(", and its leader, {leader}, was not reached")).unwrap_or_default())]
    NotLeader(Option<Node>),
    /// The server has no such user, or the user may not do this.
    #[error("access denied: are the user and the password in the URL right, and may this user read `$all`?")]
    AccessDenied,
    /// There is no such stream, or it was deleted, but not for good.
    #[error("there is no such stream")]
    StreamNotFound,
    /// The stream was deleted for good.
    #[error("the stream was deleted for good")]
    StreamDeleted,
    /// The stream is at another revision; nothing where there is no stream.
    #[error("the stream is at another revision")]
    WrongRevision { current: Option<u64> },
    /// No event begins at the position asked for.
    #[error("no event begins at this position")]
    InvalidPosition,
    /// The server does not know the method.
    #[error("the server does not know this method")]
    Unsupported,
    /// The server was silent for too long.
    #[error("the server does not answer in time")]
    Silent,
    /// No node was reached, or none that leads; the text says for each node why.
    #[error("{0}")]
    Unreached(String),
    /// The server answered what no server should.
    #[error("the server answers {0}")]
    Unexpected(&'static str),
    /// The append is larger than the server takes.
    #[error("the append is larger than the server takes")]
    TooLarge,
    /// A task of the store has panicked or was cancelled.
    #[error("a task of the store has ended: {0}")]
    TaskEnded(String),
    /// Any other refusal, or a lost connection.
    #[error("{}", describe(.0))]
    Status(Arc<Status>),
}

impl CallError {
    /// Whether the same call may succeed when it is tried again.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::NotLeader(_) | Self::Silent | Self::Unreached(_) => true,
            // A status with a source was made here, of a lost connection.
            Self::Status(status) => status.source().is_some() || !is_refusal(status.code()),
            Self::AccessDenied
            | Self::StreamNotFound
            | Self::StreamDeleted
            | Self::WrongRevision { .. }
            | Self::InvalidPosition
            | Self::Unsupported
            | Self::Unexpected(_)
            | Self::TooLarge
            | Self::TaskEnded(_) => false,
        }
    }
}

impl From<Status> for CallError {
    /// Goes by the trailer `exception` before the code, because the server uses one code for
    /// several things.
    fn from(status: Status) -> Self {
        let trailer = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
        match (trailer("exception"), status.code()) {
            (Some("not-leader"), _) => {
                let host = trailer("leader-endpoint-host").map(str::to_owned);
                let port = trailer("leader-endpoint-port").and_then(|port| port.parse().ok());
                Self::NotLeader(host.zip(port).map(|(host, port)| Node { host, port }))
            }
            (Some("stream-deleted"), _) => Self::StreamDeleted,
            (Some("maximum-append-size-exceeded"), _) => Self::TooLarge,
            (Some("access-denied"), _) | (_, Code::PermissionDenied | Code::Unauthenticated) => Self::AccessDenied,
            (_, Code::Unimplemented) => Self::Unsupported,
            (_, Code::DeadlineExceeded) => Self::Silent,
            _ if names_invalid_position(status.message()) => Self::InvalidPosition,
            _ => Self::Status(Arc::new(status)),
        }
    }
}

/// Whether a server that answers so would do it again.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::NotFound | Code::AlreadyExists
    )
}

/// Whether a position is within one of the server's records. The server says so in words only;
/// older versions say no more than that the read failed.
fn names_invalid_position(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["invalid position", "invalidposition", "readallresult: error"].iter().any(|words| message.contains(words))
}

/// The cause of an error that has none itself.
pub(super) fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    error.source().map_or(error, innermost)
}

fn describe(status: &Status) -> String {
    match status.source() {
        // The status of a call whose connection was lost says so in its cause alone.
        Some(_) => format!("the connection to the event store was lost: {}", innermost(status)),
        None => format!("the event store answers {:?}: {}", status.code(), status.message()),
    }
}

#[cfg(test)]
mod tests {
    use event_log::error_chain;
    use tonic::metadata::{AsciiMetadataKey, MetadataMap};

    use super::*;

    /// A status with trailers, as servers were seen to answer.
    fn answered(code: Code, message: &str, trailers: &[(&'static str, &str)]) -> CallError {
        let mut metadata = MetadataMap::new();
        for (name, value) in trailers {
            metadata.insert(AsciiMetadataKey::from_static(name), value.parse().expect("a value"));
        }
        Status::with_metadata(code, message, metadata).into()
    }

    #[test]
    fn an_error_is_told_by_its_trailer_before_its_code() {
        let leader = [("exception", "not-leader"), ("leader-endpoint-host", "b"), ("leader-endpoint-port", "2113")];
        let named = answered(Code::NotFound, "Leader info available", &leader);
        assert!(matches!(&named, CallError::NotLeader(Some(node)) if node.to_string() == "b:2113"), "{named:?}");
        assert!(named.is_outage());
        let unnamed = answered(Code::NotFound, "", &leader[..1]);
        assert!(matches!(unnamed, CallError::NotLeader(None)), "{unnamed:?}");
        let deleted = answered(Code::FailedPrecondition, "", &[("exception", "stream-deleted")]);
        assert!(matches!(deleted, CallError::StreamDeleted), "{deleted:?}");
        let large = answered(Code::InvalidArgument, "", &[("exception", "maximum-append-size-exceeded")]);
        assert!(matches!(large, CallError::TooLarge) && !large.is_outage(), "{large:?}");
        for code in [Code::PermissionDenied, Code::Unauthenticated] {
            assert!(matches!(answered(code, "", &[]), CallError::AccessDenied), "{code:?}");
        }
        for message in ["Unexpected FilteredReadAllResult: InvalidPosition", "Unexpected ReadAllResult: Error"] {
            assert!(matches!(answered(Code::Unknown, message, &[]), CallError::InvalidPosition), "{message}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(answered(Code::Unavailable, "Server Is Not Ready", &[]).is_outage());
        assert!(answered(Code::Unknown, "something else", &[]).is_outage());
        assert!(!answered(Code::InvalidArgument, "no", &[]).is_outage());
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(CallError::from(Status::from_error(lost.into())).is_outage());
    }

    #[test]
    fn a_lost_connection_is_said_once() {
        let lost = std::io::Error::other("the other side has gone");
        let chain = error_chain(&CallError::from(Status::from_error(lost.into())));
        assert_eq!(chain.matches("the other side has gone").count(), 1, "{chain}");
    }
}
