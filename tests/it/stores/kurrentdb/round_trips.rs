//! Round trips: the calls to the server for which appends and commands wait.

use kurrentdb::{StreamMetadata, StreamMetadataBuilder};

use super::*;
use crate::support::{Program, ledger::assert_recorded};

/// The calls that concern a stream and its settings, in the order in which they came.
async fn calls(client: &Client, stream: &str) -> Vec<String> {
    let calls = made_up_data(client, "$stand-in-calls").await;
    let calls = calls.as_array().expect("a list").iter().filter_map(Value::as_str);
    let of_stream =
        calls.filter(|call| call.ends_with(&format!(" {stream}")) || call.ends_with(&format!("$${stream}")));
    of_stream.map(|call| call.replace(stream, "it")).collect()
}

#[tokio::test]
async fn an_append_of_one_event_is_one_call_and_a_repeat_is_read_back() {
    let server = StandIn::start();
    let (one, other, client) = (log(&server), log(&server), client(&server));
    let run = Uuid::new_v4();
    let (stream, name) = (stream(run, 0), server_name(&stream(run, 0)));
    let first = one.append(&stream, NoStream, vec![contract_event(run, 0)]).await.expect("append");
    let second = one.append(&stream, Exact(0), vec![contract_event(run, 1)]).await.expect("append");
    assert_eq!(calls(&client, &name).await, ["append it", "append it"]);
    // The position of the first of several events is in no answer.
    let third = one.append(&stream, Exact(1), vec![contract_event(run, 2), contract_event(run, 3)]).await;
    let third = third.expect("append");
    assert_eq!(calls(&client, &name).await[2..], ["append it", "read it"]);

    let read = other.read_stream(&stream, 0, 10).await.expect("read");
    let answered = [&first, &second, &third].into_iter().flat_map(|receipt| receipt.events.clone());
    assert!(read.iter().map(|event| (event.position, event.recorded_at)).eq(answered), "{read:?}");
    assert_eq!(calls(&client, &name).await[4..], ["read it"]);

    let again = other.append(&stream, NoStream, vec![contract_event(run, 0)]).await.expect("the same");
    assert_eq!(again, AppendReceipt { repeated: true, ..first });
    assert_eq!(calls(&client, &name).await[5..], ["append it", "read it"]);
    let conflict = one.append(&stream, Exact(4), vec![contract_event(run, 4)]).await;
    assert!(matches!(conflict, Err(AppendError::Conflict { actual: Exact(3), .. })), "{conflict:?}");
    assert_eq!(calls(&client, &name).await[8..], ["append it"], "nothing can be there");
}

/// A server refuses an append at a revision that it has taken, and shows the event there a moment
/// later. Here a client hides it for that moment.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_waits_until_the_server_shows_the_event_in_its_place() {
    let server = StandIn::start();
    let (writer, client) = (log(&server), client(&server));
    let run = Uuid::new_v4();
    let (stream, name) = (stream(run, 0), server_name(&stream(run, 0)));
    let begin = vec![contract_event(run, 0), contract_event(run, 1)];
    writer.append(&stream, NoStream, begin).await.expect("append");
    let [there, another] = [2, 3].map(|number| vec![contract_event(run, number)]);
    let first = writer.append(&stream, Exact(1), there.clone()).await.expect("append");
    let set = async |settings: StreamMetadata| {
        let options = AppendToStreamOptions::default();
        client.set_stream_metadata(name.as_str(), &options, &settings).await.expect("set");
    };
    for (event, is_repeat) in [(there, true), (another, false)] {
        set(StreamMetadataBuilder::new().truncate_before(3).build()).await;
        let other = log(&server);
        other.head().await.expect("a connection");
        let seen = calls(&client, &name).await.len();
        let appending = tokio::spawn({
            let stream = stream.clone();
            async move { other.append(&stream, Exact(1), event).await }
        });
        eventually("a look at the event", async || {
            let calls = calls(&client, &name).await;
            (calls[seen..].iter().filter(|call| *call == "read it").count() > 2).then_some(())
        })
        .await;
        set(StreamMetadataBuilder::new().build()).await;
        match appending.await.expect("no panic") {
            Ok(again) if is_repeat => assert_eq!(again, AppendReceipt { repeated: true, ..first.clone() }),
            Err(AppendError::Conflict { actual: Exact(2), .. }) if !is_repeat => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Answers are lost for a while, so the calls that are seen meanwhile did not wait for one another.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_on_a_known_case_is_one_call_and_on_a_new_case_two_in_sequence() {
    let server = StandIn::start();
    let (proxy, client) = (server.proxy(), client(&server));
    let serve = async || Program::serve_with(&["--role", "command", "--event-store", &proxy.url()]).await;
    let program = serve().await;
    let tier = async |program: &Program, number: &str, tier: &str| {
        let path = format!("/prisoners/{number}/tier");
        assert_recorded(&program.client().post(&path, &json!({ "tier": tier })).await);
    };
    let calls = async |number: &str| {
        let stream = format!("prisoner-{number}").parse().expect("a stream");
        calls(&client, &server_name(&stream)).await
    };
    let both_reads = async |number: &str| {
        eventually("a stream and its settings to be read", async || {
            let mut calls = calls(number).await;
            calls.sort();
            (calls == ["read $$it", "read it"]).then_some(())
        })
        .await;
    };
    tier(&program, "A1111AA", "A").await;

    proxy.swallow_answers();
    let recorded = async {
        let second = async {
            both_reads("A2222AA").await;
            tier(&program, "A3333AA", "A").await;
        };
        let faults = async {
            both_reads("A3333AA").await;
            assert_eq!(calls("A2222AA").await.len(), 2, "one load waited for the other");
            proxy.renew();
        };
        tokio::join!(tier(&program, "A2222AA", "A"), second, faults);
    };
    recorded.await;

    tier(&program, "A4444AA", "A").await;
    let mut of_new = calls("A4444AA").await;
    assert_eq!(of_new.pop().as_deref(), Some("append it"));
    of_new.sort();
    assert_eq!(of_new, ["read $$it", "read it"]);
    tier(&program, "A4444AA", "B").await;
    assert_eq!(calls("A4444AA").await[3..], ["append it"]);
    // A service that has yet to load the case, and knows from the log that it is none that is new.
    let other = serve().await;
    tier(&other, "A4444AA", "C").await;
    assert_eq!(calls("A4444AA").await[4..], ["read it", "append it"]);
}
