//! Starts on a log that is there already: no service reads it again.

use serde_json::Value;

use super::{client, made_up_data};
use crate::support::{Program, StandIn, bare_database, run};

#[tokio::test(flavor = "multi_thread")]
async fn no_service_reads_the_log_again_when_it_starts() {
    let (server, views) = (StandIn::start(), bare_database().await);
    let (client, url) = (client(&server), server.url());
    let sizes = ["--prisoners", "20", "--years", "1", "--prisons", "2", "--seed", "7"];
    let generated = run(&[&["generate", "--json", "--event-store", url.as_str()], &sizes[..]].concat()).await;
    assert!(generated.status.success(), "{}", generated.stderr);
    let stores = ["--event-store", &url, "--views", &views.url];
    let serve = async |role: &[&str]| Program::serve_with(&[role, &stores[..]].concat()).await;
    let reads_from_start = async || {
        let calls = made_up_data(&client, "$stand-in-calls").await;
        let calls = calls.as_array().expect("a list").iter().filter_map(Value::as_str);
        calls.filter(|call| call.ends_with(" $all from its start")).count()
    };
    let roles: [&[&str]; 4] = [&["--role", "projector"], &["--role", "command"], &["--role", "query"], &[]];
    let [projector, command, query, _] = roles.map(&serve);
    let (projector, command, query) = tokio::join!(projector, command, query);
    for program in [projector, command, query] {
        assert!(program.stop().await.success());
    }
    let before = reads_from_start().await;
    assert!(before > 0, "the first starts read all of it");
    for role in roles {
        assert!(serve(role).await.stop().await.success());
        assert_eq!(reads_from_start().await, before, "{role:?}");
    }
}
