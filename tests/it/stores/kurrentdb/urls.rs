//! URLs of a server: schemes, several nodes, users.

use chrono::Utc;
use event_log::{AppendError, AppendReceipt, EventLog as _, ExpectedRevision::NoStream, contract};
use uuid::Uuid;

use crate::support::StandIn;
use crate::support::log_at;

/// Appends one event to the log of a URL.
async fn append(url: &str) -> Result<AppendReceipt, AppendError> {
    let run = Uuid::new_v4();
    let event = contract::made_up_event(contract::made_up_event_id(run, 0), Utc::now());
    log_at(url).append(&contract::made_up_stream(run, 0), NoStream, vec![event]).await
}

#[tokio::test]
async fn a_server_is_found_by_each_form_of_url() {
    let server = StandIn::start();
    let address = server.address();
    for url in [
        format!("esdb://{address}?tls=false"),
        format!("kurrentdb+discover://{address}?tls=false"),
        format!("esdb+discover://{address}?tls=false"),
        // No server listens at the first address.
        format!("kurrentdb://127.0.0.1:1,{address}?tls=false"),
        format!("esdb://{address},127.0.0.1:1?tls=false&nodePreference=leader"),
    ] {
        append(&url).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    }
}

#[tokio::test]
async fn a_password_is_decoded_from_the_url_before_use() {
    let server = StandIn::start_for_user("ledger:p@ss/w%rd");
    let address = server.address();
    append(&format!("kurrentdb://ledger:p%40ss%2Fw%25rd@{address}?tls=false")).await.expect("append");
    for user in ["", "ledger:wrong@", "somebody:p%40ss%2Fw%25rd@"] {
        let refused = append(&format!("kurrentdb://{user}{address}?tls=false")).await;
        let Err(AppendError::Log(error)) = refused else { panic!("{user}: {refused:?}") };
        let chain = format!("{:#}", anyhow::Error::from(error));
        assert!(chain.contains("ccess denied") && !chain.contains("wrong"), "{chain}");
    }
}

#[tokio::test]
async fn tls_is_used_unless_the_url_turns_it_off() {
    let server = StandIn::start_secure("ledger:secret");
    let address = server.address();
    let authority = server.authority().display().to_string();
    let named = address.replace("127.0.0.1", "localhost");
    for url in [
        server.secure_url("ledger:secret"),
        format!("esdb://ledger:secret@{address}?tls=true&tlsCaFile={authority}"),
        format!("kurrentdb+discover://ledger:secret@{named}?tlsCaFile={authority}"),
        format!("kurrentdb://ledger:secret@127.0.0.1:1,{named}?tlsCaFile={authority}"),
        format!("kurrentdb://ledger:secret@{address}?tlsVerifyCert=false"),
    ] {
        append(&url).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    }
}
