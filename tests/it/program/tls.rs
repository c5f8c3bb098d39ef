//! TLS for clients, and the health check that a container runs.

use std::{fs, path::Path};

use reqwest::Method;

use crate::support::{
    Client, DataDir, Program, ToolOutput, certificates::CertificateFiles, database, eventually,
    projections::assert_failure, run,
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
