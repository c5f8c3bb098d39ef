//! The stores or SQS are away: no message is received, given up or lost.

use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::{RECEIVED, RELEASED, counted_by, movement, notification};
use crate::support::{
    Program, Proxy, TestDatabase, bare_database, database,
    estate::{Estate, QUEUE},
    eventually,
    ledger::{Ledger, PRISON, SHAH},
    queue::TestQueue,
    queue_proxy::QueueProxy,
    run,
    whole_log::read_stored,
};

/// The component of the health that tells of messages.
async fn component(program: &Program) -> Value {
    program.client().get("/health").await.body["components"]["messages"].clone()
}

async fn wait_for_state(program: &Program, state: &str) -> Value {
    let in_state = async || {
        let component = component(program).await;
        (component["details"]["state"] == state).then_some(component)
    };
    eventually(&format!("messages are {state}"), in_state).await
}

/// Waits until the metrics, which are gathered once for several requests, tell it.
async fn wait_for_gauge(program: &Program, waiting: u8) {
    let line = format!("ledger_messages_waiting {waiting}");
    let is_shown = async || program.client().get("/metrics").await.text.contains(&line).then_some(());
    eventually(&line, is_shown).await;
}

async fn start(environment: &[(&str, &str)], url: &str) -> Program {
    let arguments = ["--role", "integration", "--domain-events-queue", QUEUE, "--event-store", url, "--views", url];
    Program::start_in(environment, &arguments).await
}

#[tokio::test]
async fn while_postgres_is_away_messages_stay_in_the_queue() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1111AA", SHAH).await;
    let proxy = Proxy::to_postgres(&ledger.database.url);
    proxy.refuse();
    estate.publish(&movement(RELEASED, "A1111AA", PRISON, "RELEASED", 9)).await;
    let program = start(&estate.environment(), &proxy.postgres_url(&ledger.database.url)).await;
    let waiting = wait_for_state(&program, "waiting").await;
    assert_eq!(waiting["status"], "DEGRADED", "{waiting}");
    assert_eq!((estate.queued().await, estate.at_work().await), (1, 0));
    proxy.pass();
    estate.wait_until_taken_in().await;
    wait_for_state(&program, "receiving").await;
    // It goes away again while the service waits for a message: no other is asked for.
    proxy.refuse();
    proxy.cut();
    wait_for_state(&program, "waiting").await;
    estate.publish(&movement(RECEIVED, "A1111AA", PRISON, "READMISSION", 10)).await;
    assert_eq!((estate.queued().await, estate.at_work().await), (1, 0));
    proxy.pass();
    estate.wait_until_taken_in().await;
    assert_eq!(ledger.types("A1111AA").await, ["TierAssigned", "AllocationMade", "Deallocated", "Received"]);
    assert_eq!(estate.given_up().await, 0);
    assert!(program.stop().await.success());
}

/// Has the log of a database refuse all events, as a full disk does. Counts the refusals.
async fn fill_disk(database: &TestDatabase) {
    let sql = "CREATE SEQUENCE public.refusal;
        CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM nextval('public.refusal');
            RAISE EXCEPTION 'no space left' USING ERRCODE = '53100';
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON log.event FOR EACH ROW EXECUTE FUNCTION public.refuse()";
    sqlx::raw_sql(sql).execute(&database.pool).await.expect("fill the disk");
}

async fn wait_for_refusals(database: &TestDatabase, more: i64) {
    let count = async || {
        let count =
            sqlx::query_scalar::<_, i64>("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM public.refusal");
        count.fetch_one(&database.pool).await.expect("count refusals")
    };
    let before = count().await;
    eventually("further tries", async || (count().await >= before + more).then_some(())).await;
}

/// The log can be read and takes no events. The first messages are at work, in their order; no
/// other is received, and those at work stay hidden.
#[tokio::test]
async fn while_the_log_takes_no_events_no_further_message_is_received() {
    let Some(estate) = Estate::start().await else { return };
    let way = QueueProxy::serve(&estate).await;
    let database = database().await;
    fill_disk(&database).await;
    for message in [
        movement(RECEIVED, "A1111AA", PRISON, "NEW_ADMISSION", 2),
        movement(RELEASED, "A1111AA", PRISON, "RELEASED", 9),
    ] {
        estate.publish(&message).await;
    }
    let program = start(&Estate::environment_at(&way.url), &database.url).await.into_ready().await;
    let waiting = wait_for_state(&program, "waiting").await;
    assert_eq!(waiting["details"]["warning"], "the event log takes no events for now: unavailable", "{waiting}");
    // A request that was under way at the first refusal may still be answered.
    estate.publish(&movement(RECEIVED, "B2222BB", PRISON, "NEW_ADMISSION", 2)).await;
    wait_for_refusals(&database, 2).await;
    let asked = way.requests("ReceiveMessage").len();
    estate.publish(&movement(RECEIVED, "C3333CC", PRISON, "NEW_ADMISSION", 2)).await;
    wait_for_refusals(&database, 4).await;
    let hidden_anew = async || {
        let hidden = way.requests("ChangeMessageVisibility");
        (hidden.iter().filter(|asked| asked["VisibilityTimeout"] == 60).count() >= 2).then_some(())
    };
    eventually("messages at work are hidden anew", hidden_anew).await;
    assert_eq!((way.requests("ReceiveMessage").len(), estate.queued().await), (asked, 4));
    assert!(estate.at_work().await <= 3, "{}", estate.at_work().await);
    assert_eq!(component(&program).await["details"]["state"], "waiting");
    let log = program.log();
    assert_eq!(log.matches("messages are not received for now").count(), 1, "it does not change to and fro: {log}");

    sqlx::raw_sql("DROP TRIGGER refuse ON log.event").execute(&database.pool).await.expect("make room");
    estate.wait_until_taken_in().await;
    let events = read_stored(&*database.log().await).await;
    let released = events.iter().position(|event| event.entry.event.type_name() == "Deallocated");
    assert_eq!((events.len(), released.is_some()), (4, true));
    assert_eq!(counted_by(&program, RELEASED, "recorded").await, 1, "the release had its turn after the reception");
    assert_eq!(estate.given_up().await, 0);
    let log = program.log();
    assert!(!log.contains("A1111AA") && !log.contains("B2222BB"), "the log names a person: {log}");
    assert!(program.stop().await.success());
}

/// SQS vanishes without a word while the service waits for messages.
#[tokio::test]
async fn a_queue_that_falls_silent_is_noticed_and_found_again() {
    let Some(estate) = Estate::start().await else { return };
    let database = database().await;
    let proxy = Proxy::to(estate.url().trim_start_matches("http://"));
    let program = start(&Estate::environment_at(&proxy.http_url()), &database.url).await.into_ready().await;
    wait_for_state(&program, "receiving").await;
    proxy.freeze();
    let waiting = wait_for_state(&program, "waiting").await;
    assert_eq!(waiting["details"]["warning"], "SQS does not answer in time", "{waiting}");
    proxy.reset();
    proxy.pass();
    estate.publish(&movement(RECEIVED, "A1111AA", PRISON, "NEW_ADMISSION", 2)).await;
    estate.wait_until_taken_in().await;
    wait_for_state(&program, "receiving").await;
    assert_eq!(estate.given_up().await, 0);
    assert!(program.stop().await.success());
}

/// What is recorded and not deleted stays hidden: it would come again until it is given up.
#[tokio::test]
async fn while_sqs_deletes_nothing_no_further_message_is_received() {
    let queue = TestQueue::serve().await;
    let database = database().await;
    let program = start(&Estate::environment_at(&queue.url), &database.url).await.into_ready().await;
    wait_for_state(&program, "receiving").await;
    queue.refuse_deletions(true);
    let send = |last: u8, number: &str| {
        let id = format!("63ba0b4b-0000-4000-8000-{last:012}");
        queue.send_all([notification(&id, &movement(RECEIVED, number, PRISON, "NEW_ADMISSION", 2))]);
    };
    send(1, "A1111AA");
    let waiting = wait_for_state(&program, "waiting").await;
    assert_eq!(waiting["status"], "DEGRADED", "{waiting}");
    assert_eq!(waiting["details"]["warning"], "SQS did not delete a message: InternalError", "{waiting}");
    // A request that was under way may still be answered, but none follows it.
    send(2, "B2222BB");
    eventually("the request under way", async || (queue.receipts() == 2).then_some(())).await;
    send(3, "C3333CC");
    let count = async || read_stored(&*database.log().await).await.len();
    eventually("both are recorded", async || (count().await == 2).then_some(())).await;
    assert_eq!((queue.receipts(), queue.queued(), queue.visible()), (2, 3, 1));
    assert_eq!(component(&program).await["details"]["state"], "waiting");
    queue.refuse_deletions(false);
    queue.wait_until_left(0).await;
    wait_for_state(&program, "receiving").await;
    assert_eq!((queue.receipts(), count().await), (3, 3), "each came once");
    assert!(program.stop().await.success());
}

/// The queue does not exist: the health, which asks for no token, has the code and no more.
#[tokio::test]
async fn a_refusal_of_sqs_shows_as_its_code() {
    let Some(estate) = Estate::start().await else { return };
    let database = database().await;
    let arguments = ["--role", "integration", "--domain-events-queue", "arn-of-nobody", "--event-store", &database.url];
    let arguments = [&arguments[..], &["--views", &database.url]].concat();
    let program = Program::start_in(&estate.environment(), &arguments).await.into_ready().await;
    let waiting = wait_for_state(&program, "waiting").await;
    let warning = waiting["details"]["warning"].as_str().expect("a warning");
    assert!(warning.starts_with("SQS refuses: ") && warning.ends_with("NonExistentQueue"), "{warning}");
    assert!(!program.log().contains("arn-of-nobody"), "{}", program.log());
    assert!(program.stop().await.success());
}

#[tokio::test]
async fn a_schema_that_is_not_prepared_rings_and_is_waited_for() {
    let Some(estate) = Estate::start().await else { return };
    let database = bare_database().await;
    let login = format!("{}_unprepared", database.name);
    let made = sqlx::raw_sql(AssertSqlSafe(format!("CREATE ROLE {login} LOGIN"))).execute(&database.pool).await;
    made.expect("make a login");
    let program = start(&estate.environment(), &database.url_for(&login)).await;
    let waiting = wait_for_state(&program, "waiting").await;
    let warning = waiting["details"]["warning"].as_str().expect("a warning");
    assert!(warning.contains("allocation-ledger prepare"), "{warning}");
    wait_for_gauge(&program, 1).await;
    let ran = run(&["prepare", "--event-store", &database.url, "--views", &database.url]).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    let granted = format!("GRANT ledger_append, ledger_integrate TO {login}");
    sqlx::raw_sql(AssertSqlSafe(granted)).execute(&database.pool).await.expect("give it its roles");
    wait_for_state(&program, "receiving").await;
    wait_for_gauge(&program, 0).await;
    assert!(program.stop().await.success());
}
