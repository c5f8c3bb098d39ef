//! Why a look-up gave no answer that can be used.

use reqwest::StatusCode;

/// The failure of a look-up. It names a service and a kind, and so may be logged and shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookUpError {
    /// The service gives no answer for now: the same look-up must be tried again.
    #[error("{service} {problem}")]
    Unavailable {
        /// The service, as [`LookUpService::name`](super::LookUpService::name) has it.
        service: &'static str,
        /// The kind of the failure.
        problem: String,
    },
    /// The service gave an answer that makes no sense, and would give it again.
    #[error("{service} {problem}")]
    Unusable {
        /// The service.
        service: &'static str,
        /// The fault in its answer.
        problem: String,
    },
    /// The address of the service is not configured.
    #[error("the address of {service} is not configured: set {setting}")]
    NotConfigured {
        /// The service.
        service: &'static str,
        /// The setting that names it.
        setting: &'static str,
    },
}

/// A try that failed.
#[derive(Debug)]
pub(super) enum TryError {
    /// Another try may be luckier, at once.
    Again(String),
    /// Another try fails, for now.
    Unavailable(String),
    /// Another try gets the same answer.
    Unusable(String),
}

impl TryError {
    pub(super) fn into_look_up_error(self, service: &'static str) -> LookUpError {
        match self {
            Self::Again(problem) | Self::Unavailable(problem) => LookUpError::Unavailable { service, problem },
            Self::Unusable(problem) => LookUpError::Unusable { service, problem },
        }
    }
}

/// A request without an answer. The text of `reqwest` names the address, so it is not repeated.
impl From<reqwest::Error> for TryError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            // The time limit was long enough for a service that is well.
            return Self::Unavailable("does not answer in time".to_owned());
        }
        Self::Again(if error.is_connect() { "is out of reach" } else { "ends its answer early" }.to_owned())
    }
}

impl TryError {
    /// The failure that a status means, where the answer has nothing to read.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let problem = format!("answers with the status {}", status.as_u16());
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Self::Again(problem),
            status if status.is_server_error() => Self::Again(problem),
            // Settings are wrong, for all people: of the token, its roles, or the address.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Unavailable(problem),
            status if !status.is_client_error() => Self::Unavailable(problem),
            _ => Self::Unusable(problem),
        }
    }
}
