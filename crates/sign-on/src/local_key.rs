//! A key on this machine that signs tokens to try things out with.
//!
//! `openssl` makes it: `ring` makes no RSA keys, and a crate that does takes 50 s of a processor to
//! build.

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ring::{
    digest::{SHA256, digest},
    signature::{RsaKeyPair, RsaPublicKeyComponents},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::Serialize;
use serde_json::json;

use crate::cryptography;

/// A private RSA key.
pub struct LocalKey {
    pkcs8: PrivatePkcs8KeyDer<'static>,
    pair: RsaKeyPair,
}

/// The claims of a token, in the words of HMPPS Auth.
#[derive(Debug, Clone, Serialize)]
pub struct TokenClaims {
    /// The principal.
    pub sub: String,
    /// The person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// The client.
    pub client_id: String,
    /// Where the person signed on.
    pub auth_source: String,
    /// The roles.
    pub authorities: Vec<String>,
    /// The scopes.
    pub scope: Vec<String>,
    /// The issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// When it expires, in seconds since 1970.
    pub exp: u64,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum LocalKeyError {
    /// The file cannot be read or written.
    #[error("read or write {0}")]
    File(PathBuf, #[source] std::io::Error),
    /// It is no private RSA key.
    #[error("{0} is no private RSA key of 2,048 bits or more in PKCS #8 (`BEGIN PRIVATE KEY`)")]
    Format(PathBuf),
    /// `openssl` is not there.
    #[error("run openssl, which makes the key: install it, or name a key that is there")]
    NoOpenssl(#[source] std::io::Error),
    /// `openssl` failed.
    #[error("openssl made no key: {0}")]
    OpensslFailed(String),
}

impl LocalKey {
    /// The key in a file. If there is no file, makes a key, with its file for the user alone.
    ///
    /// # Errors
    /// [`LocalKeyError`].
    pub fn read_or_make(path: &Path) -> Result<Self, LocalKeyError> {
        if !path.exists() {
            make(path)?;
        }
        Self::read(path)
    }

    /// The key in a file.
    ///
    /// # Errors
    /// [`LocalKeyError`].
    pub fn read(path: &Path) -> Result<Self, LocalKeyError> {
        let text = std::fs::read(path).map_err(|error| LocalKeyError::File(path.to_owned(), error))?;
        let format = || LocalKeyError::Format(path.to_owned());
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|_| format())?;
        let pair = RsaKeyPair::from_pkcs8(pkcs8.secret_pkcs8_der()).map_err(|_| format())?;
        cryptography::install();
        Ok(Self { pkcs8, pair })
    }

    /// The id of the key: a digest of its public part.
    #[must_use]
    pub fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(&digest(&SHA256, self.pair.public().as_ref()).as_ref()[..12])
    }

    /// The public part, as a JWKS.
    #[must_use]
    pub fn jwks(&self) -> String {
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(self.pair.public());
        let [n, e] = [n, e].map(|number| URL_SAFE_NO_PAD.encode(number));
        json!({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id(), "n": n, "e": e}]}).to_string()
    }

    /// A token with these claims.
    ///
    /// # Panics
    /// Never for a key that [`LocalKey::read`] has read.
    #[must_use]
    pub fn sign(&self, claims: &TokenClaims) -> String {
        let header = Header { kid: Some(self.id()), ..Header::new(Algorithm::RS256) };
        let key = EncodingKey::from_rsa_der(self.pkcs8.secret_pkcs8_der());
        encode(&header, claims, &key).expect("the key was checked when it was read")
    }
}

fn make(path: &Path) -> Result<(), LocalKeyError> {
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .stdin(Stdio::null())
        .output()
        .map_err(LocalKeyError::NoOpenssl)?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        return Err(LocalKeyError::OpensslFailed(said));
    }
    let failed = |error| LocalKeyError::File(path.to_owned(), error);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(&made.stdout).map_err(failed)
}
