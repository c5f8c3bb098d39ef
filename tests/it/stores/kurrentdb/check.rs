//! `event-store check` on a KurrentDB server: its report, and the state in which it leaves the
//! server.

use std::collections::BTreeMap;

use event_log::EventLog as _;
use kurrentdb::{AppendToStreamOptions, ReadAllOptions, StreamMetadataBuilder, StreamPosition};
use nix::sys::signal::Signal;

use super::{append_nine, client, log};
use crate::support::{Nodes, Program, StandIn, Tool, eventually, run};

/// The type of the last event in each stream that a check made.
async fn last_types(server: &StandIn) -> BTreeMap<String, String> {
    let options = ReadAllOptions::default().position(StreamPosition::Start);
    let mut read = client(server).read_all(&options).await.expect("read");
    let mut streams = BTreeMap::new();
    while let Some(event) = read.next().await.expect("read") {
        let event = event.get_original_event();
        if event.stream_id().trim_start_matches('.').starts_with("check-") {
            streams.insert(event.stream_id().to_owned(), event.event_type.clone());
        }
    }
    streams
}

async fn is_cleaned_up(server: &StandIn) {
    let left = last_types(server).await;
    assert!(!left.is_empty(), "it tried nothing");
    assert!(left.values().all(|last| last == "$streamDeleted"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_a_good_server_succeeds_and_leaves_it_unchanged() {
    let server = StandIn::start();
    let ledger = log(&server);
    append_nine(&ledger).await;
    let before = ledger.read_all(0, 100).await.expect("read");
    let checked = run(&["event-store", "check", &server.url()]).await;
    assert!(checked.status.success(), "{}{}", checked.stdout, checked.stderr);
    let held = checked.stdout.lines().filter(|line| line.starts_with("held ")).count();
    assert_eq!((held, checked.stdout.lines().count()), (18, 18), "{}", checked.stdout);
    is_cleaned_up(&server).await;
    assert_eq!(ledger.read_all(0, 100).await.expect("read"), before, "a ledger on the same server");
}

/// Another client breaks the promises by truncating the streams of the check.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_the_broken_promise_and_leaves_the_server_unchanged() {
    let server = StandIn::start();
    let check = Tool::start(&["event-store", "check", &server.url()]);
    let streams =
        eventually("some streams", async || Some(last_types(&server).await).filter(|left| left.len() > 10)).await;
    let truncated = StreamMetadataBuilder::new().truncate_before(1).build();
    for stream in streams.into_keys() {
        let options = AppendToStreamOptions::default();
        client(&server).set_stream_metadata(stream, &options, &truncated).await.expect("truncate");
    }
    let ended = check.wait_for_end().await;
    assert_eq!(ended.status.code(), Some(1), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("NOT HELD  "), "{}", ended.stdout);
    assert_eq!(ended.stdout.lines().count(), 18, "all is tried: {}", ended.stdout);
    assert!(ended.stderr.contains("do not keep a ledger on it"), "{}", ended.stderr);
    is_cleaned_up(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_check_leaves_nothing_behind() {
    let server = StandIn::start();
    let check = Tool::start(&["event-store", "check", &server.url()]);
    eventually("some streams", async || (last_types(&server).await.len() > 10).then_some(())).await;
    check.signal(Signal::SIGINT);
    let ended = check.wait_for_end().await;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("interrupted: the streams tried with are deleted again"), "{}", ended.stderr);
    is_cleaned_up(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_works_on_a_cluster_with_tls_and_a_user() {
    let nodes = Nodes::start_secure("ledger:secret").await;
    let checked = run(&["event-store", "check", &nodes.secure_url("ledger:secret")]).await;
    assert!(checked.status.success(), "{}{}", checked.stdout, checked.stderr);
}

/// A database that is not there either.
const VIEWS: &str = "postgres://127.0.0.1:1/ledger";

/// Asserts the messages of `event-store check`, and of the readiness of `serve`, about a server
/// that they cannot reach.
async fn assert_reported(url: &str, what: &[&str]) {
    assert_refused(&["event-store", "check", url], what).await;
    let program = Program::start(&["--event-store", url, "--views", VIEWS]).await;
    eventually(url, async || {
        let readiness = program.client().get("/health/readiness").await;
        let said = readiness.body["components"]["eventLog"]["details"]["error"].as_str()?;
        assert!(!readiness.text.contains("secret"), "{url}: {said}");
        what.iter().all(|what| said.contains(what)).then_some(())
    })
    .await;
    let (_, log) = program.stop_and_read_log().await;
    assert!(!log.contains("secret"), "{url}: {log}");
}

/// Asserts the message of a program that ends.
async fn assert_refused(arguments: &[&str], what: &[&str]) {
    let ran = run(arguments).await;
    assert_eq!(ran.status.code(), Some(1), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    // A service reports it in its log.
    let is_reason = |line: &&str| line.starts_with("error: ") || line.contains("\"reason\":");
    let said = ran.stderr.lines().find(is_reason).unwrap_or_default();
    assert!(what.iter().all(|what| said.contains(what)), "{arguments:?}: {}", ran.stderr);
    assert!(!ran.stderr.contains("secret"), "{arguments:?}: {}", ran.stderr);
}

/// Asserts the messages of `event-store check` and of `serve` about a URL that they cannot use.
async fn assert_url_refused(url: &str, what: &[&str]) {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--event-store", url, "--views", VIEWS];
    for arguments in [&["event-store", "check", url][..], &serve] {
        assert_refused(arguments, what).await;
    }
}

#[tokio::test]
async fn a_check_names_a_server_that_is_not_there() {
    let mut server = StandIn::start();
    server.kill();
    let address = server.address().to_owned();
    let refused = format!("{address}: Connection refused");
    assert_reported(&server.url(), &["reach the event store", &refused]).await;
    assert_reported(
        &format!("kurrentdb://{address},127.0.0.1:1?tls=false"),
        &[&refused, "127.0.0.1:1: Connection refused"],
    )
    .await;
}

#[tokio::test]
async fn a_check_explains_a_mistake_in_tls_and_its_remedy() {
    let (server, other, open) =
        (StandIn::start_secure("ledger:secret"), StandIn::start_secure("ledger:secret"), StandIn::start());
    let (address, authority) = (server.address(), server.authority().display().to_string());
    let not_trusted = ["invalid peer certificate", "`tlsCaFile=…`"];
    assert_reported(&format!("kurrentdb://ledger:secret@{address}"), &not_trusted).await;
    let of_other = other.authority().display().to_string();
    assert_reported(&format!("kurrentdb+discover://ledger:secret@{address}?tlsCaFile={of_other}"), &not_trusted).await;
    assert_reported(&format!("kurrentdb://ledger:secret@{address},127.0.0.1:1"), &not_trusted).await;
    assert_reported(
        &format!("kurrentdb://ledger:secret@{address}?tls=false"),
        &["perhaps it wants TLS", "`tls=false`"],
    )
    .await;
    let without = format!("kurrentdb://ledger:secret@{}?tlsCaFile={authority}", open.address());
    assert_reported(&without, &["does not speak TLS", "`tls=false`"]).await;
}

#[tokio::test]
async fn a_check_names_an_unusable_file_from_the_url() {
    let directory = tempfile::tempdir().expect("make a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name).display().to_string();
        std::fs::write(&path, text).expect("write a file");
        path
    };
    let missing = directory.path().join("missing.pem").display().to_string();
    let empty = file("empty.pem", "");
    let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let none = file("none.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for path in [&missing, &empty, &broken, &none] {
        assert_url_refused(&format!("kurrentdb://127.0.0.1:1?tlsCaFile={path}"), &["`tlsCaFile`", path]).await;
    }
    let server = StandIn::start_secure("ledger:secret");
    let certificate = server.authority().display().to_string();
    for (certificate, key, name, path) in [
        (&broken, &certificate, "`userCertFile`", &broken),
        (&empty, &certificate, "`userCertFile`", &empty),
        (&certificate, &missing, "`userKeyFile`", &missing),
        (&certificate, &certificate, "`userKeyFile`", &certificate),
    ] {
        let user = format!("userCertFile={certificate}&userKeyFile={key}");
        assert_url_refused(&format!("kurrentdb://127.0.0.1:1?{user}"), &[name, path]).await;
    }
}

#[tokio::test]
async fn a_check_reports_a_user_who_is_refused() {
    let server = StandIn::start_secure("ledger:secret");
    let denied = ["access denied", "the user and the password in the URL"];
    assert_reported(&server.secure_url("ledger:wrong"), &denied).await;
    assert_reported(&server.secure_url("somebody:secret"), &denied).await;
}
