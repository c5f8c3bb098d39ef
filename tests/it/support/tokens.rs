//! Tokens as the sign-on makes them, and as an attacker would.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto, get_current_timestamp};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use sign_on::LocalKey;
use tempfile::TempDir;

use super::{Program, TestDatabase, database};

/// The issuer of these tokens.
pub const ISSUER: &str = "https://sign-in.example/auth/issuer";

/// Roles that together allow every operation.
pub const ALL_ROLES: [&str; 8] = [
    "ROLE_ALLOCATION_LEDGER__RO",
    "ROLE_ALLOCATION_LEDGER__RW",
    "ROLE_ALLOCATION_LEDGER__AUDIT",
    "ROLE_ALLOCATION_LEDGER__EXPORT",
    "ROLE_ALLOCATION_LEDGER__OPERATE",
    "ROLE_QUEUE_ADMIN",
    "ROLE_VIEW_POM_ALLOCATIONS",
    "ROLE_SAR_DATA_ACCESS",
];

/// A key of the sign-on, or of an attacker, with the tokens that it signs.
pub struct TestKey {
    local: LocalKey,
    key: EncodingKey,
}

impl TestKey {
    /// The key of the sign-on.
    pub fn of_sign_on() -> Self {
        Self::read("key.pem")
    }

    /// Another key.
    pub fn other() -> Self {
        Self::read("other-key.pem")
    }

    fn read(name: &str) -> Self {
        let path = [env!("CARGO_MANIFEST_DIR"), "data/sign-on", name].iter().collect::<PathBuf>();
        let der = PrivatePkcs8KeyDer::from_pem_file(&path).expect("a key");
        let key = EncodingKey::from_rsa_der(der.secret_pkcs8_der());
        Self { local: LocalKey::read(&path).expect("a key"), key }
    }

    /// The id of the key.
    pub fn id(&self) -> String {
        self.local.id()
    }

    /// The public part, as a JWKS.
    pub fn jwks(&self) -> Value {
        serde_json::from_str(&self.local.jwks()).expect("JSON")
    }

    /// The header that the sign-on gives a token.
    pub fn header(&self) -> Value {
        json!({"alg": "RS256", "typ": "JWT", "kid": self.id()})
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A token of a header and claims as they are written, signed with RS256.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let text = unsigned(header, claims);
        let signature = crypto::sign(text.as_bytes(), &self.key, Algorithm::RS256).expect("a signature");
        format!("{text}.{signature}")
    }
}

/// The first two parts of a token.
pub fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// The claims of a person with these roles, as the sign-on has them.
pub fn person(roles: &[&str]) -> Value {
    json!({
        "sub": "HOMD_LEI", "user_name": "HOMD_LEI", "client_id": "manage-poms", "auth_source": "nomis",
        "grant_type": "authorization_code", "authorities": roles, "scope": ["read", "write"], "iss": ISSUER,
        "exp": seconds_from_now(600), "jti": "1",
    })
}

/// The claims of a client that acts for itself.
pub fn client(id: &str, roles: &[&str], scope: &str) -> Value {
    json!({
        "sub": id, "client_id": id, "auth_source": "none", "grant_type": "client_credentials", "authorities": roles,
        "scope": scope, "iss": ISSUER, "exp": seconds_from_now(600), "aud": "oauth2-resource",
    })
}

/// Claims with some of them changed.
pub fn changed(mut claims: Value, changes: Value) -> Value {
    let changes = changes.as_object().expect("claims").clone();
    claims.as_object_mut().expect("claims").extend(changes);
    claims
}

pub fn seconds_from_now(seconds: i64) -> u64 {
    get_current_timestamp().saturating_add_signed(seconds)
}

/// A program that serves all roles, with a sign-on or without.
pub struct GuardedProgram {
    pub program: Program,
    pub database: TestDatabase,
    _files: TempDir,
}

impl GuardedProgram {
    /// Starts a program that takes tokens of this key; without a key it asks for none.
    pub async fn serve(key: Option<&TestKey>, settings: &[&str]) -> Self {
        Self::serve_from(database().await, key, settings).await
    }

    /// As [`Self::serve`], from a database that may have events.
    pub async fn serve_from(database: TestDatabase, key: Option<&TestKey>, settings: &[&str]) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let path = files.path().join("jwks.json");
        let stores = database.arguments();
        let mut arguments: Vec<&str> = stores.iter().map(String::as_str).chain(settings.iter().copied()).collect();
        if let Some(key) = key {
            std::fs::write(&path, key.jwks().to_string()).expect("write the keys");
            arguments.extend(["--auth-key-file", path.to_str().expect("UTF-8")]);
        }
        let program = Program::serve_with(&arguments).await;
        Self { program, database, _files: files }
    }
}
