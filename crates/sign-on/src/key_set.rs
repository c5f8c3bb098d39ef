//! The keys of the sign-on, as a JWKS or a PEM file has them.

use std::{collections::HashMap, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::Deserialize;
use webpki::RawPublicKeyEntity;

/// Shortest modulus of a key that is taken, in bytes.
const MODULUS_BYTES_MIN: usize = 2048 / 8;

/// Public RSA keys, by their ids.
#[derive(Debug, Default)]
pub struct KeySet {
    by_id: HashMap<String, Arc<PublicKey>>,
    /// The key of a file in PEM, which has no id: tokens may name any.
    without_id: Option<Arc<PublicKey>>,
}

/// A public key that verifies signatures.
#[derive(Debug)]
pub(crate) struct PublicKey(pub(crate) DecodingKey);

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("read the file")]
    Unreadable(#[source] std::io::Error),
    /// It is neither JSON nor PEM of the kinds that are taken.
    #[error("it is neither a JWKS nor a public RSA key in PEM (`BEGIN PUBLIC KEY`)")]
    Format,
    /// It is JSON, and no JWKS.
    #[error("it is no JWKS")]
    NoJwks(#[source] serde_json::Error),
    /// Two keys have the same id, so that a token does not say which of them it means.
    #[error("two keys have the id `{0}`")]
    SameId(String),
    /// It has no RSA key of at least 2,048 bits for RS256 signatures that has an id.
    #[error("it has no RSA key for RS256 signatures with a `kid` and at least 2,048 bits")]
    NoKey,
}

/// A JSON Web Key as far as it matters here: keys of other kinds are passed over.
#[derive(Deserialize)]
struct JsonKey {
    kty: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl KeySet {
    /// Reads a file: a JWKS, or one public key in PEM.
    ///
    /// # Errors
    /// [`KeyError`], where the file cannot be read or has no key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path).map_err(KeyError::Unreadable)?;
        if text.trim_start().starts_with('{') { Self::from_jwks(text.as_bytes()) } else { Self::from_pem(&text) }
    }

    /// Reads a JWKS. Keys that cannot sign tokens of the sign-on are passed over.
    ///
    /// # Errors
    /// [`KeyError`], where it is none, has no key, or has two keys of one id.
    pub fn from_jwks(json: &[u8]) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Jwks {
            keys: Vec<JsonKey>,
        }
        let jwks: Jwks = serde_json::from_slice(json).map_err(KeyError::NoJwks)?;
        let mut by_id = HashMap::new();
        for (id, key) in jwks.keys.iter().filter_map(JsonKey::public_key) {
            if by_id.insert(id.to_owned(), Arc::new(key)).is_some() {
                return Err(KeyError::SameId(id.to_owned()));
            }
        }
        if by_id.is_empty() { Err(KeyError::NoKey) } else { Ok(Self { by_id, without_id: None }) }
    }

    fn from_pem(text: &str) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyError::Format)?;
        let entity = RawPublicKeyEntity::try_from(&info).map_err(|_| KeyError::Format)?;
        // A signature that is none is refused for itself by a key that fits, and else for the key.
        match entity.verify_signature(webpki::ring::RSA_PKCS1_2048_8192_SHA256, &[], &[]) {
            Err(webpki::Error::InvalidSignatureForPublicKey) => {}
            _ => return Err(KeyError::Format),
        }
        let key = PublicKey(DecodingKey::from_rsa_der(info.as_ref()));
        Ok(Self { by_id: HashMap::new(), without_id: Some(Arc::new(key)) })
    }

    /// The key that a token with this `kid` must be signed with.
    pub(crate) fn find(&self, id: Option<&str>) -> Option<&Arc<PublicKey>> {
        self.without_id.as_ref().or_else(|| self.by_id.get(id?))
    }
}

impl JsonKey {
    /// The key with its id; `None` where it cannot sign tokens of the sign-on.
    fn public_key(&self) -> Option<(&str, PublicKey)> {
        let is = |member: &Option<String>, word: &str| member.as_deref().is_none_or(|given| given == word);
        if self.kty.as_deref() != Some("RSA") || !is(&self.alg, "RS256") || !is(&self.usage, "sig") {
            return None;
        }
        let decode = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let (modulus, exponent) = (decode(&self.n)?, decode(&self.e)?);
        // Some write a leading zero as a sign, which the verification would refuse.
        let modulus: Vec<u8> = modulus.into_iter().skip_while(|byte| *byte == 0).collect();
        let is_long_enough = modulus.len() >= MODULUS_BYTES_MIN;
        let key = PublicKey(DecodingKey::from_rsa_raw_components(&modulus, &exponent));
        is_long_enough.then_some((self.kid.as_deref()?, key))
    }
}
