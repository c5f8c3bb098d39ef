//! TLS to the server: whom the client trusts, and its own certificate.

use std::{error::Error, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

/// The settings of a URL that concern TLS.
#[derive(Clone)]
pub(crate) struct TlsSettings {
    pub(crate) verifies_certificates: bool,
    pub(crate) authorities_file: Option<String>,
    /// The files of the user's certificate and its key.
    pub(crate) user_files: Option<(String, String)>,
}

/// The reason why a file cannot be used.
type FileError = Box<dyn Error>;

impl TlsSettings {
    /// Reads the files. The error names the setting and the file that cannot be used.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let authorities =
            self.authorities_file.as_ref().map(|path| named("tlsCaFile", path, authorities(path))).transpose()?;
        let builder = if self.verifies_certificates {
            builder.with_root_certificates(authorities.unwrap_or_else(known_authorities))
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        };
        let mut config = match &self.user_files {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = named("userCertFile", certificate, certificates(certificate))?;
                let private = named("userKeyFile", key, PrivateKeyDer::from_pem_file(key).map_err(Into::into))?;
                named("userKeyFile", key, builder.with_client_auth_cert(chain, private).map_err(Into::into))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn named<T>(setting: &str, path: &str, read: Result<T, FileError>) -> Result<T, String> {
    read.map_err(|why| format!("`{setting}` names {path}: {why}"))
}

fn authorities(path: &str) -> Result<RootCertStore, FileError> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(path)? {
        authorities.add(certificate)?;
    }
    Ok(authorities)
}

/// The authorities that this machine knows. Where it knows none, no certificate is trusted, and
/// connecting says so.
fn known_authorities() -> RootCertStore {
    let mut known = RootCertStore::empty();
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        tracing::warn!(
            error = error as &dyn Error,
            "certificates of authorities that this machine knows cannot be read"
        );
    }
    known.add_parsable_certificates(loaded.certs);
    known
}

/// Reads the certificates in a file; there must be at least one.
fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let certificates = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() { Err("no certificate in PEM is in it".into()) } else { Ok(certificates) }
}

/// Trusts every certificate, as `tlsVerifyCert=false` in the URL asks for. The connection is still
/// signed with the certificate's key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
