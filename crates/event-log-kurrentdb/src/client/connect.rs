//! Connecting to a node.

use std::{error::Error, io, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::spawn_blocking,
    time::sleep,
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::{Node, ServerAddress, error::innermost};

/// The bytes that the server may send ahead for one answer, and for all answers on a connection. A
/// reader that is slow, or that reads ahead, must leave room for the others. HTTP/2 windows that
/// adapt are the same for both, so one reader could take all of it.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// How long the server may take to answer that it is there, where the URL turns the limit off.
const KEEP_ALIVE_TIMEOUT_OFF: Duration = Duration::from_secs(24 * 60 * 60);

/// How much later each further address of a name is tried: the first one may never answer.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// A connection's bytes, encrypted or not.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Opens channels to the nodes of a server.
pub(crate) struct Connector<'a> {
    pub(crate) address: &'a ServerAddress,
    /// Absent where connections are not encrypted.
    tls: Option<Arc<ClientConfig>>,
}

impl<'a> Connector<'a> {
    /// Reads the files that the URL names, which may have been renewed since they were last read.
    pub(crate) async fn new(address: &'a ServerAddress) -> Result<Self, String> {
        let tls = match address.tls.clone() {
            None => None,
            Some(settings) => {
                let read = spawn_blocking(move || settings.client_config()).await;
                Some(Arc::new(read.map_err(|error| error.to_string())??))
            }
        };
        Ok(Self { address, tls })
    }

    /// Opens a channel to a node. The error describes for an operator what happened and what to do
    /// about it.
    pub(crate) async fn open(&self, node: &Node) -> Result<Channel, String> {
        let uri = |scheme: &str| format!("{scheme}://{node}").parse::<Uri>().map_err(|error| error.to_string());
        // The library would want to encrypt by itself what is sent to an `https` URI.
        let mut endpoint = Endpoint::from(uri("http")?)
            .origin(uri(if self.tls.is_some() { "https" } else { "http" })?)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_while_idle(true);
        if let Some(interval) = self.address.keep_alive_interval {
            endpoint = endpoint.http2_keep_alive_interval(interval);
        }
        endpoint = endpoint.keep_alive_timeout(self.address.keep_alive_timeout.unwrap_or(KEEP_ALIVE_TIMEOUT_OFF));
        let (tls, node) = (self.tls.clone(), node.clone());
        let connector = service_fn(move |_: Uri| {
            let (tls, node) = (tls.clone(), node.clone());
            async move { open_socket(&node, tls).await.map(TokioIo::new) }
        });
        endpoint.connect_with_connector(connector).await.map_err(|error| describe(&error))
    }
}

async fn open_socket(node: &Node, tls: Option<Arc<ClientConfig>>) -> io::Result<Box<dyn Socket>> {
    let tcp = open_tcp(node).await?;
    // A call is several small writes, and the second must not wait for the first to be
    // acknowledged.
    tcp.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(node.host.clone()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(tls).connect(name, tcp).await?))
}

/// Connects to the first address of a node that answers.
async fn open_tcp(node: &Node) -> io::Result<TcpStream> {
    let addresses = lookup_host((node.host.as_str(), node.port)).await?;
    let mut connecting: FuturesUnordered<_> = (0..)
        .zip(addresses)
        .map(async |(number, address)| {
            sleep(NEXT_ADDRESS_AFTER * number).await;
            TcpStream::connect(address).await
        })
        .collect();
    let mut failed = io::Error::other("its name has no address");
    while let Some(connected) = connecting.next().await {
        match connected {
            Ok(tcp) => return Ok(tcp),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Describes the innermost cause of an error, with a hint. TLS errors pass through several
/// libraries, so this tells them apart by their text.
pub(super) fn describe(error: &(dyn Error + 'static)) -> String {
    let what = innermost(error).to_string();
    let hint = if what.contains("not valid for name") {
        ": use a name in the URL that it is valid for"
    } else if what.contains("invalid peer certificate") {
        ": has the one signed it whose certificate is in the file that `tlsCaFile=…` in the URL names, or is known to this \
         machine?"
    } else if what.contains("InvalidContentType") {
        ": it does not speak TLS, which `tls=false` in the URL turns off"
    } else if what.contains("received fatal alert") {
        ": does it accept the certificate that `userCertFile=…` in the URL names, or want one?"
    } else {
        ""
    };
    format!("{what}{hint}")
}
