//! TLS for clients that reach the program without a gateway in front.
//!
//! The certificate is read again when its files have changed, so that a renewal needs no restart. A
//! renewal that cannot be used leaves the certificate before in place.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The certificate that the program shows to clients. An empty value counts as none.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerTlsSettings {
    /// The certificate for TLS, in PEM, followed by those of its authorities. Without it, clients
    /// speak plain HTTP
    #[arg(long, env = "LEDGER_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, in PEM. Both files are read again when they change
    #[arg(long, env = "LEDGER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

impl ServerTlsSettings {
    /// Accepts connections with the certificate; `None` where there is none. Must be called in an
    /// async runtime.
    ///
    /// # Errors
    /// One of the files is missing or holds something else, or the key is another certificate's.
    pub(super) fn open(&self) -> anyhow::Result<Option<TlsAcceptor>> {
        let given = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        let (certificate, key) = match (given(&self.tls_cert), given(&self.tls_key)) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return Ok(None),
            (Some(_), None) => bail!("--tls-cert needs --tls-key, the file with the private key of the certificate"),
            (None, Some(_)) => bail!("--tls-key needs --tls-cert, the file with the certificate of the key"),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let files = CertificateFiles { certificate, key };
        // Before the files are read, so that a change meanwhile is seen.
        let stamp = files.stamp();
        let current = Arc::new(CurrentCertificate {
            key: RwLock::new(Arc::new(files.read(&provider)?)),
            provider: Arc::clone(&provider),
        });
        tokio::spawn(follow_changes(files, stamp, Arc::downgrade(&current)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("choose the versions of TLS")?
            .with_no_client_auth()
            .with_cert_resolver(current);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }

    /// Whether clients speak TLS.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.tls_cert.as_ref().is_some_and(|path| !path.as_os_str().is_empty())
    }
}

/// The files of a certificate.
#[derive(Debug)]
struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
}

impl CertificateFiles {
    fn read(&self, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let chain: Vec<_> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .with_context(|| format!("read the certificate {certificate}"))?;
        ensure!(!chain.is_empty(), "{certificate} holds no certificate in PEM (BEGIN CERTIFICATE)");
        let private = PrivateKeyDer::from_pem_file(&self.key).with_context(|| format!("read the private key {key}"))?;
        CertifiedKey::from_der(chain, private, provider)
            .with_context(|| format!("use the certificate {certificate} with the key {key}"))
    }

    /// A value that changes with the files.
    fn stamp(&self) -> FilesStamp {
        let stamp = |path: &Path| fs::metadata(path).ok().and_then(|file| Some((file.modified().ok()?, file.len())));
        [stamp(&self.certificate), stamp(&self.key)]
    }
}

/// The times and the sizes of the two files, where they are there.
type FilesStamp = [Option<(SystemTime, u64)>; 2];

/// The certificate that new connections get.
#[derive(Debug)]
struct CurrentCertificate {
    key: RwLock<Arc<CertifiedKey>>,
    provider: Arc<CryptoProvider>,
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Reads the files again whenever they have changed, until the certificate is used no more. `last`
/// is their stamp from before they were read.
async fn follow_changes(files: CertificateFiles, mut last: FilesStamp, current: Weak<CurrentCertificate>) {
    loop {
        sleep(LOOK_INTERVAL).await;
        let Some(current) = current.upgrade() else { return };
        let now = files.stamp();
        if now == last {
            continue;
        }
        last = now;
        match files.read(&current.provider) {
            Ok(key) => {
                *current.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!("the certificate has changed, and new connections get the new one");
            }
            Err(error) => {
                let reason = format!("{error:#}");
                tracing::warn!(
                    reason,
                    "the certificate has changed and cannot be used, so the old one stays: {reason}"
                );
            }
        }
    }
}
