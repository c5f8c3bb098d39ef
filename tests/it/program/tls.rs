//! TLS for clients, and the health check that a container runs.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use reqwest::{Certificate, Method};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{io::AsyncReadExt as _, time::timeout};

use crate::support::{
    Client, DataDir, Program, ToolOutput,
    certificates::CertificateFiles,
    database, eventually,
    projections::assert_failure,
    raw_http::{connect_from, status},
    run,
};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Starts the program with the certificate, on a database of its own.
async fn start(stores: &[String], files: &CertificateFiles) -> Program {
    let stores = stores.iter().map(String::as_str);
    let tls = ["--tls-cert", text(&files.certificate), "--tls-key", text(&files.key)];
    Program::start(&stores.chain(tls).collect::<Vec<_>>()).await
}

/// Whether a new connection that trusts an authority is answered.
async fn is_answered(url: &str, authority: &[u8]) -> bool {
    let client = Client::trusting(url, authority);
    client.try_send(Method::GET, "/ping", &[], None).await.is_ok_and(|answer| answer.text == "pong")
}

fn address_of(url: &str) -> &str {
    url.split_once("://").expect("a URL").1
}

async fn check_health(arguments: &[&str]) -> ToolOutput {
    run(&[&["health"], arguments].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_speak_tls_with_a_certificate_that_can_be_renewed() {
    let (database, directory) = (database().await, DataDir::new());
    let first = CertificateFiles::make(directory.path(), &["127.0.0.1"]);
    let first_authority = fs::read(&first.authority).expect("the authority");
    let program = start(&database.arguments(), &first).await;
    let url = program.client().base_url().to_owned();
    assert!(url.starts_with("https://"), "{url}");
    assert!(is_answered(&url, &first_authority).await);
    assert!(!is_answered(&url.replace("https", "http"), &first_authority).await, "it speaks nothing else");

    let check = ["--listen", address_of(&url)];
    let with_tls = [&check[..], &["--tls-cert", text(&first.certificate)]].concat();
    let ready = async || (check_health(&with_tls).await.stdout == "ready\n").then_some(());
    eventually("the ledger to be ready", ready).await;
    assert_failure(&check_health(&check).await, &["is the ledger running", address_of(&url)]);

    let second = CertificateFiles::make(directory.path(), &["127.0.0.1"]);
    let second_authority = fs::read(&second.authority).expect("the authority");
    assert_ne!(first_authority, second_authority);
    eventually("the new certificate", async || is_answered(&url, &second_authority).await.then_some(())).await;
    assert!(!is_answered(&url, &first_authority).await);

    fs::write(&second.certificate, "rubbish").expect("write a file");
    let refusal = async || program.log().contains("so the old one stays").then_some(());
    eventually("the refusal of a certificate", refusal).await;
    assert!(is_answered(&url, &second_authority).await);
    assert!(program.stop().await.success());
}

/// A client at 127.0.0.N that trusts an authority.
fn client_at(client: u8, files: &CertificateFiles) -> reqwest::Client {
    let authority = Certificate::from_pem(&fs::read(&files.authority).expect("the authority"));
    let builder = reqwest::Client::builder().tls_certs_only([authority.expect("a certificate")]);
    builder.local_address(std::net::IpAddr::from([127, 0, 0, client])).build().expect("a client")
}

/// A connection over TLS that asks for a stream of events, and the status of the answer.
struct TlsStream {
    connection: StreamOwned<ClientConnection, TcpStream>,
    status: String,
}

impl TlsStream {
    /// Opens a stream and reads all that has come.
    fn open(url: &str, files: &CertificateFiles) -> Self {
        let mut authorities = RootCertStore::empty();
        authorities.add(CertificateDer::from_pem_file(&files.authority).expect("a certificate")).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(authorities)
            .with_no_client_auth();
        let name = "127.0.0.1".try_into().expect("an address");
        let tls = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let mut connection = StreamOwned::new(tls, TcpStream::connect(address_of(url)).expect("connect"));
        let request = "GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
        connection.write_all(request.as_bytes()).expect("send");
        let (mut begun, mut buffer) = (String::new(), [0; 4096]);
        while !begun.contains(": events of") && !begun.contains("\"moreInfo\"") {
            let read = connection.read(&mut buffer).expect("an answer");
            assert!(read > 0, "the connection ended: {begun}");
            begun.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        Self { connection, status: status(&begun).to_owned() }
    }

    /// Ends as a client does that has read everything: with a message of TLS, and without a reset.
    fn close(mut self) {
        self.connection.conn.send_close_notify();
        self.connection.flush().expect("send");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_over_tls_ends_soon_after_its_client_has_gone() {
    let (database, directory) = (database().await, DataDir::new());
    let files = CertificateFiles::make(directory.path(), &["127.0.0.1"]);
    let program = start(&database.arguments(), &files).await;
    let url = program.client().base_url().to_owned();
    let open = || TlsStream::open(&url, &files);
    let mut streams = vec![eventually("a stream", async || Some(open()).filter(|stream| stream.status == "200")).await];
    streams.extend((1..8).map(|_| open()));
    assert!(streams.iter().all(|stream| stream.status == "200"));
    assert_eq!(open().status, "503");
    streams.into_iter().for_each(TlsStream::close);
    // Before a sign of life could find out.
    let place = eventually("a place", async || (open().status == "200").then_some(()));
    timeout(Duration::from_secs(10), place).await.expect("the streams have ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_begins_tls_on_some_connections_at_a_time() {
    /// As many as one client may begin.
    const BEGUN: usize = 128;
    let (database, directory) = (database().await, DataDir::new());
    let files = CertificateFiles::make(directory.path(), &["127.0.0.1"]);
    let program = start(&database.arguments(), &files).await;
    let url = program.client().base_url().to_owned();
    let mut begun = Vec::new();
    for _ in 0..BEGUN {
        begun.push(connect_from(2, &url.replace("https", "http")).await);
    }
    let mut refused = connect_from(2, &url.replace("https", "http")).await;
    // An end, in order or by a reset, long before one comes that is silent for too long.
    let read = timeout(Duration::from_secs(20), refused.read(&mut [0])).await.expect("it is closed at once");
    assert!(!matches!(read, Ok(1..)));
    let ping = format!("{url}/ping");
    let is_answered = async |client: &reqwest::Client| client.get(&ping).send().await.is_ok();
    assert!(is_answered(&client_at(3, &files)).await, "another client is answered");
    drop(begun);
    let again = client_at(2, &files);
    eventually("the client may begin again", async || is_answered(&again).await.then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_is_refused_at_the_start() {
    let directory = DataDir::new();
    let [one, other] = ["one", "other"].map(|name| {
        let directory = directory.path().join(name);
        fs::create_dir(&directory).expect("make a directory");
        CertificateFiles::make(&directory, &["127.0.0.1"])
    });
    let missing = directory.path().join("missing.pem");
    let empty = directory.path().join("empty.pem");
    fs::write(&empty, "").expect("write a file");
    let data_dir = directory.path().join("ledger");
    for (arguments, reason) in [
        (vec!["--tls-cert", text(&one.certificate)], "--tls-cert needs --tls-key"),
        (vec!["--tls-key", text(&one.key)], "--tls-key needs --tls-cert"),
        (vec!["--tls-cert", text(&missing), "--tls-key", text(&one.key)], "missing.pem"),
        (vec!["--tls-cert", text(&empty), "--tls-key", text(&one.key)], "holds no certificate in PEM"),
        (vec!["--tls-cert", text(&one.certificate), "--tls-key", text(&empty)], "read the private key"),
        (vec!["--tls-cert", text(&one.certificate), "--tls-key", text(&other.key)], "with the key"),
    ] {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", text(&data_dir)];
        assert_failure(&run(&[&serve[..], &arguments].concat()).await, &[reason]);
        assert!(!data_dir.exists(), "nothing is made before the settings are known to be right");
    }
}
