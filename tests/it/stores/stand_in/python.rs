//! The example for auditors in the documentation, with the official Python client.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use domain::Stream;
use event_log::{
    EventLog as _,
    ExpectedRevision::{self, Exact, NoStream},
    NewEvent, Snapshot,
};
use kurrentdb::StreamState;
use serde_json::json;
use uuid::Uuid;

use super::{append, client};
use crate::support::{
    StandIn, log_at,
    python::{python_with, run_script},
    run,
};

/// Reads the ledger's events as an auditor does.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/kurrentdb_events.py");

#[tokio::test]
async fn an_auditor_reads_the_ledgers_events_byte_for_byte_with_python() {
    let Some(python) = python_with("kurrentdbclient") else { return };
    let server = StandIn::start();
    let log = log_at(&server.url());
    let run = Uuid::new_v4();
    let second = Utc::now().trunc_subsecs(0);
    // Times with no, three and six digits of a second; bytes that would change if they were
    // serialized again.
    let recorded: [(Stream, ExpectedRevision, DateTime<Utc>, &str); 3] = [
        ("prison-LEI".parse().expect("a stream"), NoStream, second, r#"{"a":1.0,"b":"\u00e9"}"#),
        (
            "prisoner-A1234BC".parse().expect("a stream"),
            NoStream,
            second + TimeDelta::milliseconds(500),
            r#"{"é":1e2}"#,
        ),
        ("prison-LEI".parse().expect("a stream"), Exact(0), second + TimeDelta::microseconds(500_001), "{}"),
    ];
    let mut expected = String::new();
    for (number, (stream, revision, recorded_at, data)) in recorded.into_iter().enumerate() {
        let event_id = event_log::contract::made_up_event_id(run, number);
        let metadata = r#"{"eventId":"y","ledger":"x","schemaVersion":1}"#;
        let event = NewEvent {
            event_id,
            type_name: "ContractTried".to_owned(),
            recorded_at,
            metadata: metadata.into(),
            data: data.into(),
        };
        log.append(&stream, revision, vec![event]).await.expect("append");
        append(&client(&server), "somebody-elses", StreamState::Any, [number as u64]).await.expect("append");
        expected += &format!(
            r#"{{"stream":"{stream}","revision":{},"eventId":"{}","type":"ContractTried","recordedAt":{},"metadata":{metadata},"data":{data}}}"#,
            revision.next(),
            event_id.0,
            json!(recorded_at),
        );
        expected.push('\n');
    }
    let snapshot = Snapshot { position: log.head().await.expect("the head"), content: "no event".into() };
    assert!(log.save_snapshot("policies", &snapshot).await.expect("save"), "an auditor sees no snapshot");

    assert_eq!(read(python, &server).await, expected);
}

#[tokio::test]
async fn python_prints_what_replay_prints() {
    let Some(python) = python_with("kurrentdbclient") else { return };
    let server = StandIn::start();
    let url = server.url();
    let sizes = ["--prisoners", "20", "--years", "1", "--prisons", "2", "--seed", "7"];
    let generated = run(&[&["generate", "--json", "--event-store", url.as_str()], &sizes[..]].concat()).await;
    assert!(generated.status.success(), "{}", generated.stderr);
    let replayed = run(&["replay", "--raw", "--event-store", &url]).await;
    assert!(replayed.status.success() && replayed.stdout.lines().count() > 100, "{replayed:?}");
    let read = read(python, &server).await;
    assert!(read == replayed.stdout, "the same bytes");
}

/// The output of the example for a server.
async fn read(python: String, server: &StandIn) -> String {
    run_script(python, vec![EXAMPLE.to_owned(), server.url()]).await
}
