//! RS256 by `ring`, which is the one algorithm that `jsonwebtoken` is given.
//!
//! A token that asks for another algorithm finds no verifier: neither `none`, nor HS256 with a
//! public key as its secret, nor another one of RSA.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{ErrorKind, new_error},
    signature::{Error, Signer, Verifier},
};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents},
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;

static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory, verifier_factory, key_utils: KeyUtils::new_unimplemented() };

/// Makes this the cryptography of `jsonwebtoken`. Further calls do nothing.
pub(crate) fn install() {
    let _ = PROVIDER.install_default();
}

fn verifier_factory(algorithm: &Algorithm, key: &DecodingKey) -> jsonwebtoken::errors::Result<Box<dyn JwtVerifier>> {
    match (algorithm, key.family()) {
        (Algorithm::RS256, AlgorithmFamily::Rsa) => Ok(Box::new(Rs256Verifier(key.clone()))),
        _ => Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    }
}

fn signer_factory(algorithm: &Algorithm, key: &EncodingKey) -> jsonwebtoken::errors::Result<Box<dyn JwtSigner>> {
    match (algorithm, key.family()) {
        (Algorithm::RS256, AlgorithmFamily::Rsa) => Ok(Box::new(Rs256Signer(key.clone()))),
        _ => Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    }
}

struct Rs256Verifier(DecodingKey);

impl Verifier<Vec<u8>> for Rs256Verifier {
    /// A key is a modulus with its exponent, as a JWKS has them, or a `SubjectPublicKeyInfo`, as a
    /// PEM file has it.
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        match self.0.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).map_err(|_| Error::new())
            }
            DecodingKeyKind::SecretOrDer(der) => {
                let info = SubjectPublicKeyInfoDer::from(der.as_slice());
                let key = RawPublicKeyEntity::try_from(&info).map_err(|_| Error::new())?;
                key.verify_signature(webpki::ring::RSA_PKCS1_2048_8192_SHA256, message, signature)
                    .map_err(|_| Error::new())
            }
        }
    }
}

impl JwtVerifier for Rs256Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

/// Signs with a key in PKCS #8.
struct Rs256Signer(EncodingKey);

impl Signer<Vec<u8>> for Rs256Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let key = RsaKeyPair::from_pkcs8(self.0.as_bytes()).map_err(|_| Error::new())?;
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| Error::new())?;
        Ok(signature)
    }
}

impl JwtSigner for Rs256Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}
