//! Diagnosis: why no node was reached. The client does not say.

use std::{error::Error, time::Duration};

use futures::future::join_all;
use kurrentdb::{ClientSettings, Endpoint};
use tokio::time::timeout;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

/// How long a node may take to be connected to.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Connects to each node that a URL names, and describes for an operator what happened and what to
/// do about it.
pub(crate) async fn diagnose_unreached(settings: &ClientSettings) -> String {
    let nodes = settings.hosts().iter().map(|node| async move {
        let what = match connect(settings, node).await {
            Err(error) => describe(&*error),
            Ok(()) if settings.is_secure_mode_enabled() && !settings.is_tls_certificate_verification_enabled() => {
                "it can be connected to, and does not answer with TLS: perhaps it speaks none, which `tls=false` in the URL \
                 turns off; or the nodes do not say of one another where they are reached from here"
                    .to_owned()
            }
            Ok(()) if settings.is_secure_mode_enabled() => {
                "it can be connected to, and does not lead to a node that answers: do the nodes say of one another where \
                 they are reached from here?"
                    .to_owned()
            }
            Ok(()) => "it can be connected to, and does not answer: perhaps it wants TLS, which is used without \
                       `tls=false` in the URL"
                .to_owned(),
        };
        format!("{}:{}: {what}", node.host, node.port)
    });
    join_all(nodes).await.join("; ")
}

async fn connect(settings: &ClientSettings, node: &Endpoint) -> Result<(), Box<dyn Error + Send + Sync>> {
    let verifies = settings.is_secure_mode_enabled() && settings.is_tls_certificate_verification_enabled();
    let scheme = if verifies { "https" } else { "http" };
    let mut endpoint = Channel::from_shared(format!("{scheme}://{}:{}", node.host, node.port))?;
    if verifies {
        let tls = ClientTlsConfig::new();
        endpoint = endpoint.tls_config(match settings.tls_ca_file() {
            Some(path) => tls.ca_certificate(Certificate::from_pem(std::fs::read(path)?)),
            None => tls.with_native_roots(),
        })?;
    }
    timeout(CONNECT_MAX, endpoint.connect()).await.map_err(|_| "it does not answer")??;
    Ok(())
}

/// Describes the innermost cause of an error, with a hint. TLS errors pass through several
/// libraries, so this tells them apart by their text.
fn describe(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let what = innermost.to_string();
    let hint = if what.contains("not valid for name") {
        ": use a name in the URL that it is valid for"
    } else if what.contains("invalid peer certificate") {
        ": has the one signed it whose certificate is in the file that `tlsCaFile=…` in the URL names, or is known to this \
         machine?"
    } else if what.contains("InvalidContentType") {
        ": it does not speak TLS, which `tls=false` in the URL turns off"
    } else {
        ""
    };
    format!("{what}{hint}")
}
