//! Who a token is of.

use std::time::Duration;

use jsonwebtoken::get_current_timestamp;

use crate::{CLOCK_SKEW, Right, Rights};

/// A caller whose token is valid: a person, or a client that acts for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The person: the claim `user_name`. A client that acts for itself has none.
    pub user_name: Option<String>,
    /// The client: the claim `client_id`.
    pub client_id: Option<String>,
    /// Where the person signed on, e.g. `nomis`: the claim `auth_source`.
    pub auth_source: Option<String>,
    /// The rights that the roles of the token give.
    pub rights: Rights,
    /// When the token expires, by its own word: seconds since 1970.
    pub(crate) expires_at: u64,
}

impl Caller {
    /// The name of the caller: of the person, or else of the client.
    #[must_use]
    pub fn principal(&self) -> &str {
        self.user_name.as_deref().or(self.client_id.as_deref()).unwrap_or_default()
    }

    /// When the token expires, by its own word: seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// How long the token counts from now on, with [`CLOCK_SKEW`]; zero once it has expired.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        let counts_until = self.expires_at.saturating_add(CLOCK_SKEW.as_secs());
        Duration::from_secs(counts_until.saturating_sub(get_current_timestamp()))
    }

    /// Whether the caller has one of these rights.
    #[must_use]
    pub fn has_any(&self, rights: &[Right]) -> bool {
        rights.iter().any(|right| self.rights.contains(*right))
    }
}
