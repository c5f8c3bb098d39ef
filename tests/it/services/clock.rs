//! The clock of a running command service is set back an hour.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::support::{
    command_load::CommandLoad,
    fake_clock::FakeClock,
    ledger::assert_recorded,
    service_cluster::{ServiceCluster, ServiceName},
    whole_log::read_stored,
};

#[tokio::test(flavor = "multi_thread")]
async fn no_command_is_lost_when_a_clock_is_set_back_an_hour() {
    let clock = FakeClock::new();
    let variables = clock.variables();
    let environment = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut cluster = ServiceCluster::start().await;
    let wrong = ServiceName::Command(0);
    cluster.kill(wrong);
    cluster.start_part_with(wrong, &environment).await;
    cluster.wait_until_ready().await;
    let load = CommandLoad::start(&cluster.command_clients, 100);
    load.wait_for_acknowledgements(100).await;
    clock.set(TimeDelta::hours(-1));
    load.wait_for_acknowledgements(200).await;

    // An event that the other service recorded a moment ago must be in this service's past.
    let (right, wrong) = (cluster.part(ServiceName::Command(1)).client(), cluster.part(wrong).client());
    let tier = |tier: &str| json!({"tier": tier, "source": "DELIUS"});
    for number in ["B0001AA", "B0002AA"] {
        let path = format!("/prisoners/{number}/tier");
        for (client, value) in [(right, "A"), (wrong, "B2"), (right, "C1"), (wrong, "D")] {
            assert_recorded(&client.post(&path, &tier(value)).await);
        }
    }
    // Alone, the service is an hour behind, but the times that it records are not: the log does not
    // go back.
    let alone = wrong.post("/prisoners/B0003AA/tier", &tier("A")).await;
    let event = &assert_recorded(&alone).body["events"][0];
    let ago = |member: &str| -> TimeDelta {
        Utc::now() - event[member].as_str().expect("a time").parse::<DateTime<Utc>>().expect("a time")
    };
    assert!(ago("recordedAt") < TimeDelta::minutes(1), "{event}");
    assert!(ago("effectiveAt") > TimeDelta::minutes(59), "the clock was set back: {event}");

    load.wait_for_acknowledgements(100).await;
    clock.set(TimeDelta::zero());
    load.wait_for_acknowledgements(100).await;
    let events = read_stored(&*cluster.log().await).await;
    for number in ["B0001AA", "B0002AA"] {
        let of_case = events.iter().filter(|event| event.stream.to_string().ends_with(number));
        let times: Vec<_> = of_case.map(|event| (event.entry.effective_at, event.entry.recorded_at)).collect();
        assert_eq!(times.len(), 4);
        assert!(times.is_sorted(), "{number}: {times:?}");
        assert!(times.iter().map(|(_, recorded_at)| recorded_at).is_sorted(), "{number}: {times:?}");
    }
    load.finish(&cluster).await;
}
