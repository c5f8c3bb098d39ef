//! Verifies tokens, and keeps those that were valid until they expire.

use std::{sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind, get_current_timestamp};
use quick_cache::sync::Cache;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    Caller, KeyServer, KeySet, PrisonSource, RoleMap, cryptography,
    key_set::PublicKey,
    right::{RoleClaims, Scopes},
};

/// How far the clocks of the sign-on and of this machine may be apart: the default of the libraries
/// that other HMPPS services verify tokens with.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Longest token that is looked at. A token with some two hundred roles has 8 kB.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// How many valid tokens are kept. Each takes some 300 bytes.
const KEPT_MAX: usize = 10_000;

/// Most bytes of the names in a token that is kept, so that all of them take a few megabytes.
const KEPT_NAMES_BYTES_MAX: usize = 1_024;

/// Where the keys are from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A file, read once.
    File(Arc<KeySet>),
    /// The server of the sign-on.
    Server(Arc<KeyServer>),
}

/// The sign-on: verifies tokens, and says whose they are.
#[derive(Debug)]
pub struct SignOn {
    keys: KeySource,
    validation: Validation,
    roles: RoleMap,
    prisons: PrisonSource,
    /// Valid tokens by their digest: a signature takes as long to verify as a short answer to make.
    kept: Cache<TokenDigest, Verified>,
}

type TokenDigest = [u8; SHA256_OUTPUT_LEN];

/// A valid token.
#[derive(Debug, Clone)]
struct Verified {
    caller: Arc<Caller>,
    key_id: Option<Arc<str>>,
    key: Arc<PublicKey>,
}

/// Why a token gives no caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// The token is not one of the sign-on. The text says why, without a part of the token.
    #[error("{0}")]
    Invalid(&'static str),
    /// The keys are not there, so it is not known whether the token is valid.
    #[error("{0}")]
    KeysUnavailable(String),
}

/// The claims of a token, as far as they matter here. The library checks `nbf` itself.
#[derive(Deserialize)]
struct Claims {
    exp: u64,
    /// The library would also take a list of issuers.
    #[expect(dead_code, reason = "the library compares it with the issuer that is configured")]
    iss: Option<String>,
    user_name: Option<String>,
    client_id: Option<String>,
    auth_source: Option<String>,
    authorities: Option<Vec<String>>,
    #[serde(default)]
    scope: Scopes,
    /// The id of an access token, in the refresh token that goes with it.
    ati: Option<IgnoredAny>,
}

impl SignOn {
    /// A sign-on with these keys. Where an issuer is given, tokens must be of it.
    #[must_use]
    pub fn new(keys: KeySource, issuer: Option<&str>, roles: RoleMap) -> Self {
        cryptography::install();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = CLOCK_SKEW.as_secs();
        validation.validate_nbf = true;
        // Tokens of HMPPS Auth are for all services; those of people name no audience at all.
        validation.validate_aud = false;
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
            validation.set_required_spec_claims(&["exp", "iss"]);
        }
        Self { keys, validation, roles, prisons: PrisonSource::default(), kept: Cache::new(KEPT_MAX) }
    }

    /// Has a source say which prisons are a caller's.
    #[must_use]
    pub fn with_prisons(mut self, prisons: PrisonSource) -> Self {
        self.prisons = prisons;
        self
    }

    /// The source of the prisons of callers.
    #[must_use]
    pub fn prisons(&self) -> &PrisonSource {
        &self.prisons
    }

    /// The roles and what they allow.
    #[must_use]
    pub fn roles(&self) -> &RoleMap {
        &self.roles
    }

    /// Whether there are keys to verify tokens with.
    ///
    /// # Errors
    /// Why not.
    pub fn check_keys(&self) -> Result<(), String> {
        match &self.keys {
            KeySource::File(_) => Ok(()),
            KeySource::Server(server) => server.keys().map(drop),
        }
    }

    /// Whose a token is.
    ///
    /// # Errors
    /// [`TokenRefusal`], where it is not valid or that cannot be said.
    pub async fn caller(&self, token: &str) -> Result<Arc<Caller>, TokenRefusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenRefusal::Invalid("the token is too long"));
        }
        let token_digest = digest_of(token);
        if let Some(caller) = self.kept_caller_of(&token_digest)? {
            return Ok(caller);
        }
        let verified = self.verify(token).await?;
        let caller = Arc::clone(&verified.caller);
        let names = [&caller.user_name, &caller.client_id, &caller.auth_source];
        if names.into_iter().flatten().map(String::len).sum::<usize>() <= KEPT_NAMES_BYTES_MAX {
            self.kept.insert(token_digest, verified);
        }
        Ok(caller)
    }

    /// Whose a token is that was verified before and still counts: the answer costs no signature's
    /// verification. `None` says nothing about the token.
    #[must_use]
    pub fn kept_caller(&self, token: &str) -> Option<Arc<Caller>> {
        let is_looked_at = token.len() <= TOKEN_BYTES_MAX;
        is_looked_at.then(|| self.kept_caller_of(&digest_of(token)).ok().flatten()).flatten()
    }

    fn kept_caller_of(&self, token_digest: &TokenDigest) -> Result<Option<Arc<Caller>>, TokenRefusal> {
        let Some(verified) = self.kept.get(token_digest) else { return Ok(None) };
        if self.is_current(&verified)? {
            return Ok(Some(verified.caller));
        }
        self.kept.remove(token_digest);
        Ok(None)
    }

    /// Whether a token that was valid still is: it has not expired, and its key still counts.
    fn is_current(&self, verified: &Verified) -> Result<bool, TokenRefusal> {
        if verified.caller.expires_at.saturating_add(CLOCK_SKEW.as_secs()) < get_current_timestamp() {
            return Ok(false);
        }
        let is_same =
            |keys: &KeySet| keys.find(verified.key_id.as_deref()).is_some_and(|key| Arc::ptr_eq(key, &verified.key));
        Ok(match &self.keys {
            KeySource::File(keys) => is_same(keys),
            KeySource::Server(server) => is_same(&*server.keys().map_err(TokenRefusal::KeysUnavailable)?),
        })
    }

    async fn verify(&self, token: &str) -> Result<Verified, TokenRefusal> {
        let header = decode_header(token).map_err(|error| refusal(error.kind()))?;
        if header.alg != Algorithm::RS256 {
            return Err(TokenRefusal::Invalid("the token is not signed with RS256"));
        }
        // A key comes from the configured source alone, and nothing else changes how it is used.
        let brings_key = header.jwk.is_some() || header.jku.is_some() || header.x5u.is_some() || header.x5c.is_some();
        if brings_key || header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
            return Err(TokenRefusal::Invalid("the header of the token has members that the sign-on does not use"));
        }
        let key_id = header.kid.as_deref();
        let key = match &self.keys {
            KeySource::File(keys) => keys.find(key_id).map(Arc::clone),
            KeySource::Server(server) => server.find(key_id).await.map_err(TokenRefusal::KeysUnavailable)?,
        };
        let key = key.ok_or(TokenRefusal::Invalid("the token is signed with a key that the sign-on does not have"))?;
        let decoded = decode::<Claims>(token, &key.0, &self.validation).map_err(|error| refusal(error.kind()))?;
        if decoded.claims.ati.is_some() {
            return Err(TokenRefusal::Invalid("it is a refresh token, which gets access tokens and nothing else"));
        }
        // It would else be a client's, which is confined to no prison.
        if decoded.claims.user_name.as_deref().is_some_and(|name| name.trim().is_empty()) {
            return Err(TokenRefusal::Invalid("its `user_name` is blank"));
        }
        let caller = self.caller_of(decoded.claims);
        let caller = caller.ok_or(TokenRefusal::Invalid("the token names neither a user nor a client"))?;
        Ok(Verified { caller: Arc::new(caller), key_id: key_id.map(Into::into), key })
    }

    fn caller_of(&self, claims: Claims) -> Option<Caller> {
        let named = |name: Option<String>| name.filter(|name| !name.trim().is_empty());
        let (user_name, client_id) = (named(claims.user_name), named(claims.client_id));
        if user_name.is_none() && client_id.is_none() {
            return None;
        }
        let rights = self.roles.rights(&RoleClaims {
            authorities: claims.authorities.as_deref().unwrap_or_default(),
            scopes: &claims.scope,
            is_person: user_name.is_some(),
            client_id: client_id.as_deref(),
        });
        let auth_source = named(claims.auth_source);
        Some(Caller { user_name, client_id, auth_source, rights, expires_at: claims.exp })
    }
}

fn digest_of(token: &str) -> TokenDigest {
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

/// Why the library refuses a token.
fn refusal(kind: &ErrorKind) -> TokenRefusal {
    TokenRefusal::Invalid(match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidSignature => "the signature of the token is wrong",
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => "the token is not signed with RS256",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
            "a claim of the token is missing or wrong"
        }
        _ => "it is not a token of the sign-on",
    })
}
