//! Request digests: tell a retry apart from a different request that re-uses the same id.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Lower-case hexadecimal SHA-256 of a request: its `operation`, its `target` (the case or prison)
/// and its `body`, in canonical JSON, so that neither spacing nor the order of members makes a
/// difference.
///
/// # Panics
/// Panics if the body has maps with keys other than text; JSON has none.
#[must_use]
pub fn request_digest(operation: &str, target: &str, body: &impl Serialize) -> String {
    let body = serde_json_canonicalizer::to_vec(body).expect("a request's body is plain JSON");
    let mut hasher = Sha256::new();
    for part in [operation.as_bytes(), target.as_bytes(), &body] {
        // The lengths keep the parts apart, whichever bytes they hold.
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut digest = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_digest_depends_on_operation_target_and_body_only() {
        let digest = request_digest("tier", "A1234BC", &json!({"tier": "A", "source": "DELIUS"}));
        assert_eq!(digest.len(), 64);
        assert_eq!(digest, request_digest("tier", "A1234BC", &json!({"source": "DELIUS", "tier": "A"})));
        assert_ne!(digest, request_digest("tier", "A1234BD", &json!({"source": "DELIUS", "tier": "A"})));
        assert_ne!(digest, request_digest("tiers", "A1234BC", &json!({"source": "DELIUS", "tier": "A"})));
        assert_ne!(digest, request_digest("tier", "A1234BC", &json!({"source": "MANUAL", "tier": "A"})));
    }
}
