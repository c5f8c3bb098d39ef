//! Services start in any order, report what they wait for, and become ready.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use domain::Stream;
use event_log::{EventLog as _, ExpectedRevision, NewEvent};
use event_log_postgres::PostgresLog;
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
    sync::watch,
};

use super::{ask, position, service, tier, unready_reason, value, wait_for_reason};
use crate::support::{
    DataDir, Program, StandIn, TestDatabase, bare_database,
    builders::{new_event, tier_assigned},
    database, eventually,
    ledger::assert_recorded,
    run,
    service_cluster::{ServiceCluster, ServiceName},
};

/// The projector starts last. The others report that they wait for it, and become ready without a
/// restart.
#[tokio::test]
async fn services_that_start_in_any_order_become_ready() {
    let (log, views) = (bare_database().await, bare_database().await);
    let command = service("command", &log.url, &views.url).await;
    let query = service("query", &log.url, &views.url).await;
    wait_for_reason(&command, "eventLog", "waiting for the projector to prepare the event log").await;
    wait_for_reason(&query, "views", "waiting for the projector to prepare the views").await;
    let refused = command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after").is_some()), (503, true), "{}", refused.text);
    let refused = query.client().get("/prisoners/A1234BC/responsibility").await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["code"]),
        (503, &json!("views-unavailable")),
        "{}",
        refused.text
    );

    let projector = service("projector", &log.url, &views.url).await.into_ready().await;
    let (command, query) = (command.into_ready().await, query.into_ready().await);
    let answer = command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await;
    let position = position(assert_recorded(&answer));
    let answer = ask(&query, "/prisoners/A1234BC/responsibility", &position).await;
    assert_eq!((answer.status.as_u16(), &answer.body["tier"]), (200, &json!("B2")), "{}", answer.text);

    // Each service does its own work only.
    assert_eq!(query.client().post("/prisoners/A1234BC/tier", &tier("A")).await.status, 404);
    assert_eq!(command.client().get("/prisoners/A1234BC/responsibility").await.status, 404);
    assert_eq!(projector.client().get("/prisoners/A1234BC/responsibility").await.status, 404);
    for (program, parts) in [
        (&command, &["accessLog", "eventLog", "policies"][..]),
        (&projector, &["accessLog", "eventLog", "projector"]),
        (&query, &["accessLog", "eventLog", "views"]),
    ] {
        let health = program.client().get("/health").await;
        let components = health.body["components"].as_object().expect("components");
        assert_eq!(components.keys().collect::<Vec<_>>(), parts, "{}", health.text);
        let metrics = program.client().get("/metrics").await.text;
        let connections = metrics.lines().filter(|line| line.starts_with("ledger_postgres_connections{pool=\"log\""));
        let open = connections.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>();
        assert!(open >= 1.0, "it has read the log: {metrics}");
    }
    let who = "SELECT coalesce(string_agg(DISTINCT application_name, ', '), '') FROM pg_stat_activity
               WHERE datname = current_database() AND application_name LIKE 'allocation-ledger%'";
    // The access log is written a moment after the answer.
    let expected = "allocation-ledger access log, allocation-ledger projector, allocation-ledger query";
    let of_three = async || (value::<String>(&views, who).await == expected).then_some(());
    eventually("the three that know the views, and nobody else", of_three).await;
    for program in [command, projector, query] {
        assert!(program.stop().await.success());
    }
}

/// All services start before any server does, as when everything starts at once.
#[tokio::test]
async fn services_that_start_before_their_stores_become_ready() {
    let nowhere = "postgres://ledger@127.0.0.1:1/ledger";
    for (role, component) in [
        ("command", "eventLog"),
        ("projector", "projector"),
        ("query", "views"),
        ("all", "eventLog"),
        ("all", "projector"),
    ] {
        let program = service(role, nowhere, nowhere).await;
        eventually("a reason", async || unready_reason(&program, component).await).await;
        assert_eq!(program.client().get("/health/liveness").await.status, 200, "{role}");
        assert!(program.stop().await.success(), "{role} ends all the same");
    }
}

/// With its views in a database elsewhere, and in an embedded Postgres.
#[tokio::test]
async fn a_single_program_waits_for_its_event_store() {
    let (elsewhere, embedded) = (bare_database().await, DataDir::new());
    let places = [["--views", &elsewhere.url], ["--data-dir", embedded.path().to_str().expect("a path in UTF-8")]];
    for views in places {
        let mut store = StandIn::start();
        store.kill();
        let url = store.url();
        let arguments = [&["--role", "all", "--event-store", &url], &views[..]].concat();
        let program = Program::start(&arguments).await;
        wait_for_reason(&program, "eventLog", "reach the event store: 127.0.0.1").await;
        assert_eq!(program.client().get("/health/liveness").await.status, 200);
        let refused = program.client().post("/prisoners/A1234BC/tier", &tier("B2")).await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after").is_some()), (503, true), "{}", refused.text);

        store.start_again();
        let program = program.into_ready().await;
        let answer = program.client().post("/prisoners/A1234BC/tier", &tier("B2")).await;
        let position = position(assert_recorded(&answer));
        let answer = ask(&program, "/prisoners/A1234BC/responsibility", &position).await;
        assert_eq!((answer.status.as_u16(), &answer.body["tier"]), (200, &json!("B2")), "{}", answer.text);
        assert!(program.stop().await.success());
    }
}

#[tokio::test]
async fn a_single_role_refuses_an_embedded_postgres() {
    let database = bare_database().await;
    for (arguments, missing) in [
        (&["--role", "command", "--data-dir", "/nowhere"][..], "needs --event-store"),
        (&["--role", "command", "--views", &database.url], "needs --event-store"),
        (&["--role", "query", "--event-store", &database.url], "needs --views"),
        (&["--role", "projector", "--event-store", &database.url], "needs --views"),
    ] {
        let ran = run(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat()).await;
        assert_eq!(ran.status.code(), Some(1), "{arguments:?}");
        assert!(ran.stderr.contains(missing), "{arguments:?}: {}", ran.stderr);
    }
}

/// A reader may use the views while the event store is away, unless the service does not know how
/// far they must go.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_service_is_ready_while_the_event_store_is_away() {
    let mut cluster = ServiceCluster::start().await;
    let command = cluster.part(ServiceName::Command(0)).client();
    let at = position(assert_recorded(&command.post("/prisoners/A1234BC/tier", &tier("B2")).await));
    let query = cluster.part(ServiceName::Query);
    assert_eq!(ask(query, "/prisoners/A1234BC/responsibility", &at).await.status, 200);
    assert_eq!(unready_reason(query, "views").await, None);

    cluster.store.stop().await;
    let query = cluster.part(ServiceName::Query);
    eventually("a service that misses the event store", async || {
        let health = query.client().get("/health").await;
        (health.status == 503 && health.body["components"]["eventLog"]["status"] == "DOWN").then_some(())
    })
    .await;
    assert_eq!(query.client().get("/health/readiness").await.status, 200);
    assert_eq!(query.client().get("/prisoners/A1234BC/responsibility").await.status, 200);

    // A service that has never reached the event store does not know the log's end.
    cluster.kill(ServiceName::Query);
    cluster.start_part(ServiceName::Query).await;
    wait_for_reason(cluster.part(ServiceName::Query), "views", "the event store is away").await;
    cluster.store.start_again().await;
    cluster.wait_until_ready().await;
}

/// No projector runs: the log grows, and the query service reports how far the views are behind.
#[tokio::test]
async fn a_query_service_far_behind_is_not_ready() {
    let database = bare_database().await;
    let serve = async |role| service(role, &database.url, &database.url).await;
    let projector = serve("projector").await.into_ready().await;
    let url = database.url.as_str();
    let lag = ["--role", "query", "--event-store", url, "--views", url, "--lag-max", "3600"];
    let query = Program::serve_with(&lag).await;
    assert!(projector.stop().await.success());

    // A lag of a moment does not count.
    let command = serve("command").await.into_ready().await;
    assert_recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await);
    assert_eq!(unready_reason(&query, "views").await, None);
    let health = query.client().get("/health").await;
    let lag_seconds = health.body["components"]["views"]["details"]["lagSeconds"].as_f64();
    assert!(lag_seconds.is_some_and(|lag| lag > 0.0), "{}", health.text);

    // The same event, as if recorded two hours ago.
    let earlier =
        "SET session_replication_role = replica; UPDATE log.event SET recorded_at = now() - interval '2 hours'";
    sqlx::raw_sql(earlier).execute(&database.pool).await.expect("make it earlier");
    let behind = wait_for_reason(&query, "views", "the views lack events, the first of them recorded 72").await;
    assert!(behind.ends_with(" s ago; 3600 s are allowed"), "{behind}");
    let answer = query.client().get("/prisoners/A1234BC/history").await;
    assert_eq!(answer.status, 200, "it answers nonetheless: {}", answer.text);

    let projector = serve("projector").await.into_ready().await;
    let query = query.into_ready().await;
    assert_eq!(ask(&query, "/prisoners/A1234BC/responsibility", "1").await.status, 200);

    // Lost views go back to the start, under a service that has seen a later position.
    assert!(projector.stop().await.success());
    sqlx::query("UPDATE views.checkpoint SET position = 0").execute(&database.pool).await.expect("take them back");
    wait_for_reason(&query, "views", "the views lack events, the first of them recorded 72").await;
    let answer = ask(&query, "/prisoners/A1234BC/responsibility", "1").await;
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (503, &json!("views-behind")), "{}", answer.text);
}

/// The service notices even if no client asks whether it is ready.
#[tokio::test]
async fn a_query_service_notices_that_the_views_went_back() {
    let database = bare_database().await;
    let serve = async |role| service(role, &database.url, &database.url).await.into_ready().await;
    let (projector, command, query) = (serve("projector").await, serve("command").await, serve("query").await);
    assert_recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await);
    assert_eq!(ask(&query, "/prisoners/A1234BC/responsibility", "1").await.status, 200);
    assert!(projector.stop().await.success());
    sqlx::query("UPDATE views.checkpoint SET position = 0").execute(&database.pool).await.expect("take them back");
    eventually("a refusal", async || {
        let answer = ask(&query, "/prisoners/A1234BC/responsibility", "1").await;
        (answer.body["code"] == "views-behind").then_some(())
    })
    .await;
}

/// The connection of a standby to Postgres falls silent. It reports the loss and stands by again
/// when the connection is back.
#[tokio::test]
async fn a_standby_with_a_silent_connection_to_postgres_becomes_unready() {
    let database = bare_database().await;
    let projector = service("projector", &database.url, &database.url).await.into_ready().await;
    let way = SilenceableProxy::to(&database).await;
    let stand_by = service("projector", &database.url, &way.url).await.into_ready().await;
    way.is_silent.send_replace(true);
    wait_for_reason(&stand_by, "projector", "timed out").await;
    way.is_silent.send_replace(false);
    let stand_by = stand_by.into_ready().await;
    for program in [stand_by, projector] {
        assert!(program.stop().await.success());
    }
}

/// A proxy in front of a database's server that can fall silent: it accepts connections and passes
/// nothing on.
struct SilenceableProxy {
    url: String,
    is_silent: watch::Sender<bool>,
}

impl SilenceableProxy {
    async fn to(database: &TestDatabase) -> Self {
        let options = database.pool.connect_options();
        let directory = options.get_socket().expect("a server on a socket");
        let socket = directory.join(format!(".s.PGSQL.{}", options.get_port()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let url = format!("postgres://{}@{address}/{}?sslmode=disable", options.get_username(), database.name);
        let (is_silent, silent) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (socket, mut silent) = (socket.clone(), silent.clone());
                tokio::spawn(async move {
                    let mut server = UnixStream::connect(socket).await.expect("the server");
                    tokio::select! {
                        biased;
                        _ = silent.wait_for(|silent| *silent) => {}
                        _ = copy_bidirectional(&mut client, &mut server) => return,
                    }
                    let _ = silent.wait_for(|silent| !*silent).await;
                });
            }
        });
        Self { url, is_silent }
    }
}

/// A clock that is two hours behind makes every event look old. Views that keep up are not behind
/// for that.
#[tokio::test]
async fn events_with_old_times_do_not_make_a_query_service_unready() {
    let database = database().await;
    let _projector = service("projector", &database.url, &database.url).await.into_ready().await;
    let query = service("query", &database.url, &database.url).await.into_ready().await;
    let log = PostgresLog::connect(&database.pool).await.expect("the log");
    let mut said = Vec::new();
    for number in ["A1234BC", "A1235BC", "A1236BC", "A1237BC", "A1238BC"] {
        // Keeps the projector waiting until the query service has seen that the views are behind.
        let mut waiting = database.pool.begin().await.expect("a transaction");
        sqlx::query("SELECT FROM views.checkpoint FOR UPDATE").execute(&mut *waiting).await.expect("a lock");
        let stream = Stream::Prisoner(number.parse().expect("a prisoner number"));
        let two_hours_ago = Utc::now().trunc_subsecs(6) - TimeDelta::hours(2);
        let event = NewEvent { recorded_at: two_hours_ago, ..new_event(&tier_assigned("D1")) };
        log.append(&stream, ExpectedRevision::NoStream, vec![event]).await.expect("append");
        let appended: DateTime<Utc> = value(&database, "SELECT clock_timestamp()").await;
        let released = async {
            eventually("the query service to look", async || {
                let looked = "SELECT count(*) FROM pg_stat_activity
                               WHERE datname = current_database() AND application_name = 'allocation-ledger query'
                                 AND query LIKE '%FROM checkpoint%' AND query_start > $1";
                let looked = sqlx::query_scalar::<_, i64>(looked).bind(appended).fetch_one(&database.pool).await;
                (looked.expect("who asks what") > 0).then_some(())
            })
            .await;
            waiting.commit().await.expect("let the projector go on");
        };
        let ask = || Box::pin(query.client().get("/health/readiness"));
        let (mut released, mut asking) = (std::pin::pin!(released), ask());
        let answer = loop {
            tokio::select! {
                biased;
                () = &mut released => break asking.await,
                // The result of a check before, which still counted.
                _ = &mut asking => asking = ask(),
            }
        };
        if answer.status == 200 {
            return;
        }
        // A busy machine may need longer than the second that the views have.
        said.push(answer.text);
        eventually("a ready service", async || unready_reason(&query, "views").await.is_none().then_some(())).await;
    }
    panic!("not ready although the views came along: {said:?}");
}
