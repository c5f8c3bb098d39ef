//! Where publishing begins, and what is sent of the time before.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{
    ALLOCATION, PUBLIC_URL, Received, allocation, published, publisher, received, received_with_doubles,
    wait_until_published,
};
use crate::support::{
    Program, bare_database,
    estate::Estate,
    eventually,
    ledger::{Ledger, NOVAK, PRISON, SHAH},
    questions::record,
    run, run_in,
};

/// The ledger, started again with other arguments.
async fn restart(ledger: Ledger, estate: &Estate, arguments: &[&str]) -> Ledger {
    let Ledger { database, program } = ledger;
    assert!(program.stop().await.success());
    Ledger::start_all_roles_on(database, &estate.environment(), arguments).await
}

async fn tool(ledger: &Ledger, estate: &Estate, arguments: &[&str]) -> String {
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let ran = run_in(&estate.environment(), &[&["integration"], arguments, &stores].concat()).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    ran.stdout
}

fn staff_codes(messages: &[Received]) -> Vec<(u64, Value)> {
    let allocations = messages.iter().filter(|message| message.event_type == ALLOCATION);
    allocations.map(|message| (message.position, message.event["additionalInformation"]["staffCode"].clone())).collect()
}

/// Moves the case to another POM.
async fn reallocate(ledger: &Ledger, staff_id: i64, day: u8) {
    let moved = json!({"prison": PRISON, "pom": {"staffId": staff_id}, "reason": "Leave",
        "effectiveAt": format!("2026-02-{day:02}T09:00:00Z")});
    record(ledger, "POST /prisoners/A1111AA/reallocations", moved).await;
}

#[tokio::test]
async fn publishing_begins_at_the_end_of_the_log_and_shadow_mode_goes_on_silently() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = Ledger::start_all_roles_in(&[], &[]).await;
    ledger.case("A1111AA", SHAH).await;
    assert!(tool(&ledger, &estate, &["status"]).await.starts_with("No publisher has begun."));

    // No checkpoint.
    let send = ["--domain-events-topic", estate.topic(), "--public-url", PUBLIC_URL];
    let shadow = ["--domain-events-mode", "shadow", "--public-url", PUBLIC_URL];
    let ledger = restart(ledger, &estate, &shadow).await;
    wait_until_published(&ledger).await;
    assert!(ledger.program.log().contains("no publisher has begun before"), "{}", ledger.program.log());
    reallocate(&ledger, NOVAK, 5).await;
    wait_until_published(&ledger).await;
    let metrics = ledger.client().get("/metrics").await.text;
    let counted = format!("ledger_integration_published_total{{type=\"{ALLOCATION}\",outcome=\"shadow\"}} 1");
    assert!(metrics.contains(&counted), "{metrics}");
    assert!(metrics.contains("ledger_publisher_waiting 0.0\n"), "{metrics}");
    assert!(tool(&ledger, &estate, &["status"]).await.contains("mode shadow"));

    // The switch sends nothing old.
    let ledger = restart(ledger, &estate, &send).await;
    reallocate(&ledger, SHAH, 6).await;
    let messages = published(&ledger, &estate).await;
    assert_eq!(
        messages.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(),
        [allocation("A1111AA", Some(SHAH), PRISON, "user", "2026-02-06T09:00:00Z")]
    );
    let status: Value =
        serde_json::from_str(&tool(&ledger, &estate, &["status", "--json"]).await).expect("a JSON object");
    let end = ledger.event_count().await;
    assert_eq!(
        json!([
            status["publisher"]["position"],
            status["publisher"]["logEnd"],
            status["publisher"]["mode"],
            status["parked"]
        ]),
        json!([end, end, "send", 0]),
        "{status}"
    );
    assert_eq!(status["publisher"]["waitsFor"], Value::Null);

    // By hand, what was not sent, with the positions that it had.
    let positions: Vec<u64> = ledger.case_events("A1111AA").await.iter().map(|event| event.entry.position).collect();
    let publish = [&["publish", "--since", "0"], &send[..]].concat();
    assert!(tool(&ledger, &estate, &publish).await.contains("4 messages"));
    let again = received(&estate).await;
    let expected = [(positions[1], json!(SHAH)), (positions[2], json!(NOVAK)), (positions[3], json!(SHAH))];
    assert_eq!(staff_codes(&again), expected);
    let later = positions[2].to_string();
    tool(&ledger, &estate, &[&["publish", "--since", &later], &send[..]].concat()).await;
    assert_eq!(staff_codes(&received(&estate).await), expected[2..]);
}

#[tokio::test]
async fn one_publishes_and_another_takes_over() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = super::publishing(&estate).await;
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let role = ["--role", "integration", "--domain-events-topic", estate.topic(), "--public-url", PUBLIC_URL];
    let other = Program::start_in(&estate.environment(), &[&role[..], &stores].concat()).await.into_ready().await;
    let state = async || {
        let health = other.client().get("/health").await;
        health.body["components"]["publisher"]["details"]["state"].as_str().map(str::to_owned)
    };
    eventually("a stand-by", async || (state().await.as_deref() == Some("standby")).then_some(())).await;
    ledger.case("A1111AA", SHAH).await;
    assert_eq!(staff_codes(&published(&ledger, &estate).await).len(), 1, "each message once");
    let Ledger { database, program } = ledger;
    program.kill();
    eventually("the other to publish", async || (state().await.as_deref() == Some("publishing")).then_some(())).await;
    let ledger = Ledger::start_all_roles_on(database, &[], &[]).await;
    reallocate(&ledger, NOVAK, 5).await;
    eventually("its message", async || {
        let codes = staff_codes(&received(&estate).await);
        codes.first().map(|(_, staff_code)| assert_eq!(staff_code, NOVAK))
    })
    .await;
    assert_eq!(publisher(&ledger).await, Value::Null, "it has no topic");
    assert!(other.stop().await.success());
}

/// A topic without the URL for links, and a role without anything to do, are mistakes that show at
/// the start.
#[tokio::test]
async fn settings_that_lack_something_are_refused() {
    let topic = ["serve", "--domain-events-topic", "arn:aws:sns:eu-west-2:000000000000:topic"];
    let directory = tempfile::tempdir().expect("a directory");
    let data = ["--data-dir", directory.path().to_str().expect("UTF-8"), "--listen", "127.0.0.1:0"];
    let ran = run(&[&topic[..], &data, &["--public-url", "ledger.example"]].concat()).await;
    assert!(!ran.status.success() && ran.stderr.contains("--public-url must be a URL"), "{}", ran.stderr);
    let ran = run(&["serve", "--role", "integration", "--listen", "127.0.0.1:0"]).await;
    assert!(!ran.status.success() && ran.stderr.contains("--domain-events-topic"), "{}", ran.stderr);
}

/// A publisher that slept while another took over does not move the checkpoint back.
#[tokio::test]
async fn a_publisher_that_was_paused_gives_way_to_its_successor() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = Ledger::start_all_roles_in(&[], &[]).await;
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let role = ["--role", "integration", "--domain-events-topic", estate.topic(), "--public-url", PUBLIC_URL];
    let arguments = [&role[..], &stores].concat();
    let is = async |program: &Program, state: &str| {
        let details = async || program.client().get("/health").await.body["components"]["publisher"].clone();
        eventually(state, async || (details().await["details"]["state"] == state).then_some(())).await;
    };
    let first = Program::start_in(&estate.environment(), &arguments).await.into_ready().await;
    is(&first, "publishing").await;
    let second = Program::start_in(&estate.environment(), &arguments).await.into_ready().await;
    is(&second, "standby").await;
    first.signal(Signal::SIGSTOP);
    ledger.case("A1111AA", SHAH).await;
    is(&second, "publishing").await;
    eventually("a message", async || (!staff_codes(&received(&estate).await).is_empty()).then_some(())).await;
    let position = async || {
        let read = sqlx::query_scalar::<_, i64>("SELECT position FROM integration.publication");
        read.fetch_one(&ledger.database.pool).await.expect("the checkpoint")
    };
    let end = i64::try_from(ledger.event_count().await).expect("a position");
    eventually("the checkpoint", async || (position().await == end).then_some(())).await;
    first.signal(Signal::SIGCONT);
    is(&first, "standby").await;
    assert_eq!(position().await, end);
    for program in [first, second] {
        assert!(program.stop().await.success());
    }
}

/// A publisher whose epoch is past moves nothing. It begins again, and sends once more.
#[tokio::test]
async fn a_publisher_of_an_earlier_epoch_does_not_move_the_checkpoint() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = super::publishing(&estate).await;
    let raise = sqlx::query("UPDATE integration.publication SET epoch = epoch + 1");
    raise.execute(&ledger.database.pool).await.expect("another epoch");
    ledger.tier("A1111AA").await;
    wait_until_published(&ledger).await;
    let messages = received_with_doubles(&estate).await;
    assert!(messages.len() >= 2, "{messages:?}");
    assert!(messages.iter().all(|message| message.text == messages[0].text), "{messages:?}");
    let log = ledger.program.log();
    assert!(log.contains("another publisher has taken over"), "{log}");
}

/// A failure that lasts is shown from its first try to its last, and tried less and less often.
#[tokio::test]
async fn a_publisher_that_fails_again_and_again_says_so_all_the_time() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = super::publishing(&estate).await;
    let pool = &ledger.database.pool;
    let read = async || -> (i64, Option<String>) {
        let read = sqlx::query_as("SELECT epoch, waits_for FROM integration.publication");
        read.fetch_one(pool).await.expect("the checkpoint")
    };
    let (epoch, _) = read().await;
    let fault = "CREATE FUNCTION integration.refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.position > OLD.position THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER fault BEFORE UPDATE ON integration.publication
            FOR EACH ROW EXECUTE FUNCTION integration.refuse()";
    sqlx::raw_sql(fault).execute(pool).await.expect("a checkpoint that does not move");
    let begun = Instant::now();
    ledger.tier("A1111AA").await;
    let state = async || publisher(&ledger).await["details"]["state"].clone();
    eventually("a failure", async || (state().await == "waiting").then_some(())).await;
    eventually("five more tries", async || {
        // Between two tries it may stand by, until Postgres has noticed that the last one ended.
        assert_ne!(state().await, "publishing");
        assert_eq!(read().await.1.as_deref(), Some("reach the database of the views"));
        (read().await.0 >= epoch + 5).then_some(())
    })
    .await;
    let pauses = Duration::from_millis(100 + 200 + 400 + 800 + 1_600);
    assert!(begun.elapsed() >= pauses, "{:?}", begun.elapsed());
    eventually("the gauge", async || {
        ledger.client().get("/metrics").await.text.contains("ledger_publisher_waiting 1.0\n").then_some(())
    })
    .await;

    sqlx::raw_sql("DROP TRIGGER fault ON integration.publication").execute(pool).await.expect("no fault");
    assert_eq!(published(&ledger, &estate).await.len(), 1);
    assert_eq!(read().await.1, None);
}

mod log_in_postgres {
    use super::*;
    use crate::support::topology::require_log_in_postgres;

    #[tokio::test]
    async fn the_rights_of_its_roles_are_enough_to_publish() {
        require_log_in_postgres();
        let Some(estate) = Estate::start().await else { return };
        let database = bare_database().await;
        let ran = run(&["prepare", "--event-store", &database.url, "--views", &database.url]).await;
        assert!(ran.status.success(), "{}", ran.stderr);
        let login = format!("{}_publisher", database.name);
        let role = format!("CREATE ROLE {login} LOGIN IN ROLE ledger_append, ledger_integrate, ledger_read");
        sqlx::raw_sql(sqlx::AssertSqlSafe(role)).execute(&database.pool).await.expect("make a login");
        let ledger = Ledger::start_all_roles_on(database, &[], &[]).await;
        let url = ledger.database.url_for(&login);
        let arguments = [
            &["--role", "integration", "--event-store", &url, "--views", &url][..],
            &["--domain-events-topic", estate.topic(), "--public-url", PUBLIC_URL],
        ];
        let program = Program::start_in(&estate.environment(), &arguments.concat()).await.into_ready().await;
        let state =
            async || program.client().get("/health").await.body["components"]["publisher"]["details"]["state"].clone();
        eventually("a publisher", async || (state().await == "publishing").then_some(())).await;
        ledger.tier("A1111AA").await;
        eventually("a message", async || (!received(&estate).await.is_empty()).then_some(())).await;
        assert!(program.stop().await.success());
    }
}
