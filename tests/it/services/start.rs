//! Starting in any order, waiting aloud, ending in order.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use domain::{
    Event, Stream,
    event::RecordedBy,
    identifier::CommandId,
    prisoner::{PrisonerEvent, TierAssigned},
    tier::TierSource,
};
use event_log::{EventLog as _, ExpectedRevision, Metadata, NewEvent, encode};
use event_log_postgres::PostgresLog;
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
    sync::watch,
};
use uuid::Uuid;

use super::{
    ask,
    cluster::{Cluster, Part},
    position, says, service, tier, unready, value,
};
use crate::support::{Program, TestDatabase, bare_database, database, eventually, ledger::recorded, run};

/// The projector last: the others say that they wait for it, and are ready without being started again.
#[tokio::test]
async fn services_start_in_any_order() {
    let (log, views) = (bare_database().await, bare_database().await);
    let command = service("command", &log.url, &views.url).await;
    let query = service("query", &log.url, &views.url).await;
    says(&command, "eventLog", "waiting for the projector to prepare the event log").await;
    says(&query, "views", "waiting for the projector to prepare the views").await;
    let refused = command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after").is_some()), (503, true), "{}", refused.text);
    let refused = query.client().get("/prisoners/A1234BC/responsibility").await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["code"]),
        (503, &json!("views-unavailable")),
        "{}",
        refused.text
    );

    let projector = service("projector", &log.url, &views.url).await.ready().await;
    let (command, query) = (command.ready().await, query.ready().await);
    let answer = command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await;
    let position = position(recorded(&answer));
    let answer = ask(&query, "/prisoners/A1234BC/responsibility", &position).await;
    assert_eq!((answer.status.as_u16(), &answer.body["tier"]), (200, &json!("B2")), "{}", answer.text);

    // Each does its own work and no other.
    assert_eq!(query.client().post("/prisoners/A1234BC/tier", &tier("A")).await.status, 404);
    assert_eq!(command.client().get("/prisoners/A1234BC/responsibility").await.status, 404);
    assert_eq!(projector.client().get("/prisoners/A1234BC/responsibility").await.status, 404);
    for (program, parts) in [
        (&command, &["eventLog", "policies"][..]),
        (&projector, &["eventLog", "projector"]),
        (&query, &["eventLog", "views"]),
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
    let connected: String = value(&views, who).await;
    assert_eq!(connected, "allocation-ledger projector, allocation-ledger query", "nobody else knows the views");
    for program in [command, projector, query] {
        assert!(program.stop().await.success());
    }
}

/// With no server at all to begin with, as where everything is started at once.
#[tokio::test]
async fn services_start_before_their_stores() {
    let nowhere = "postgres://ledger@127.0.0.1:1/ledger";
    for (role, component) in [("command", "eventLog"), ("projector", "projector"), ("query", "views")] {
        let program = service(role, nowhere, nowhere).await;
        eventually("a reason", async || unready(&program, component).await).await;
        assert_eq!(program.client().get("/health/liveness").await.status, 200, "{role}");
        assert!(program.stop().await.success(), "{role} ends all the same");
    }
}

#[tokio::test]
async fn a_role_by_itself_needs_servers_that_others_reach_too() {
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

/// Whoever reads the views is not sent away from them, unless it is not known that they have all that was recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_service_is_ready_while_the_event_store_is_away() {
    let mut cluster = Cluster::start().await;
    let command = cluster.part(Part::Command(0)).client();
    let at = position(recorded(&command.post("/prisoners/A1234BC/tier", &tier("B2")).await));
    let query = cluster.part(Part::Query);
    assert_eq!(ask(query, "/prisoners/A1234BC/responsibility", &at).await.status, 200);
    assert_eq!(unready(query, "views").await, None);

    cluster.store.stop().await;
    let query = cluster.part(Part::Query);
    eventually("a service that misses the event store", async || {
        let health = query.client().get("/health").await;
        (health.status == 503 && health.body["components"]["eventLog"]["status"] == "DOWN").then_some(())
    })
    .await;
    assert_eq!(query.client().get("/health/readiness").await.status, 200);
    assert_eq!(query.client().get("/prisoners/A1234BC/responsibility").await.status, 200);

    // One that has never reached it knows nothing.
    cluster.kill(Part::Query);
    cluster.start_part(Part::Query).await;
    says(cluster.part(Part::Query), "views", "the event store is away").await;
    cluster.store.start_again().await;
    cluster.ready().await;
}

/// Views that nobody keeps up: the log moves on, and the query service says how far it is behind until they are.
#[tokio::test]
async fn a_query_service_far_behind_is_not_ready() {
    let database = bare_database().await;
    let serve = async |role| service(role, &database.url, &database.url).await;
    let projector = serve("projector").await.ready().await;
    let url = database.url.as_str();
    let lag = ["--role", "query", "--event-store", url, "--views", url, "--lag-max", "3600"];
    let query = Program::serve_with(&lag).await;
    assert!(projector.stop().await.success());

    // A short lag is none: of an event recorded just now.
    let command = serve("command").await.ready().await;
    recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await);
    assert_eq!(unready(&query, "views").await, None);
    let health = query.client().get("/health").await;
    let lag_seconds = health.body["components"]["views"]["details"]["lagSeconds"].as_f64();
    assert!(lag_seconds.is_some_and(|lag| lag > 0.0), "{}", health.text);

    // The same event, had it been recorded two hours ago.
    let earlier =
        "SET session_replication_role = replica; UPDATE log.event SET recorded_at = now() - interval '2 hours'";
    sqlx::raw_sql(earlier).execute(&database.pool).await.expect("make it earlier");
    let behind = says(&query, "views", "the views lack events, the first of them recorded 72").await;
    assert!(behind.ends_with(" s ago; 3600 s are allowed"), "{behind}");
    let answer = query.client().get("/prisoners/A1234BC/history").await;
    assert_eq!(answer.status, 200, "it answers nonetheless: {}", answer.text);

    let projector = serve("projector").await.ready().await;
    let query = query.ready().await;
    assert_eq!(ask(&query, "/prisoners/A1234BC/responsibility", "1").await.status, 200);

    // Views that are lost go back, under a service that has seen them further on.
    assert!(projector.stop().await.success());
    sqlx::query("UPDATE views.checkpoint SET position = 0").execute(&database.pool).await.expect("take them back");
    says(&query, "views", "the views lack events, the first of them recorded 72").await;
    let answer = ask(&query, "/prisoners/A1234BC/responsibility", "1").await;
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (503, &json!("views-behind")), "{}", answer.text);
}

/// The same where nobody asks whether the service is ready.
#[tokio::test]
async fn a_query_service_notices_by_itself_that_views_went_back() {
    let database = bare_database().await;
    let serve = async |role| service(role, &database.url, &database.url).await.ready().await;
    let (projector, command, query) = (serve("projector").await, serve("command").await, serve("query").await);
    recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await);
    assert_eq!(ask(&query, "/prisoners/A1234BC/responsibility", "1").await.status, 200);
    assert!(projector.stop().await.success());
    sqlx::query("UPDATE views.checkpoint SET position = 0").execute(&database.pool).await.expect("take them back");
    eventually("a refusal", async || {
        let answer = ask(&query, "/prisoners/A1234BC/responsibility", "1").await;
        (answer.body["code"] == "views-behind").then_some(())
    })
    .await;
}

/// The way to Postgres goes silent for a stand-by. It says that it has lost it, and stands by again once it is back.
#[tokio::test]
async fn a_stand_by_whose_way_to_postgres_goes_silent_says_so() {
    let database = bare_database().await;
    let projector = service("projector", &database.url, &database.url).await.ready().await;
    let way = Way::to(&database).await;
    let stand_by = service("projector", &database.url, &way.url).await.ready().await;
    way.is_silent.send_replace(true);
    says(&stand_by, "projector", "timed out").await;
    way.is_silent.send_replace(false);
    let stand_by = stand_by.ready().await;
    for program in [stand_by, projector] {
        assert!(program.stop().await.success());
    }
}

/// A way to a database's server that can go silent: connections are taken and kept, and nothing is passed on.
struct Way {
    url: String,
    is_silent: watch::Sender<bool>,
}

impl Way {
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

/// A recorder whose clock is two hours behind makes every event look old. Views that keep up are not behind for that.
#[tokio::test]
async fn a_recorder_whose_clock_is_behind_makes_no_query_service_unready() {
    let database = database().await;
    let _projector = service("projector", &database.url, &database.url).await.ready().await;
    let query = service("query", &database.url, &database.url).await.ready().await;
    let log = PostgresLog::connect(&database.pool).await.expect("the log");
    let mut said = Vec::new();
    for number in ["A1234BC", "A1235BC", "A1236BC", "A1237BC", "A1238BC"] {
        // Keeps the projector waiting until the query service has seen that the views are behind.
        let mut waiting = database.pool.begin().await.expect("a transaction");
        sqlx::query("SELECT FROM views.checkpoint FOR UPDATE").execute(&mut *waiting).await.expect("a lock");
        let stream = Stream::Prisoner(number.parse().expect("a prisoner number"));
        let two_hours_ago = Utc::now().trunc_subsecs(6) - TimeDelta::hours(2);
        let event = NewEvent { recorded_at: two_hours_ago, ..made_up_event() };
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
        let (answer, ()) = tokio::join!(query.client().get("/health/readiness"), released);
        if answer.status == 200 {
            return;
        }
        // A machine that has much else to do may take longer than the second that the views are given.
        said.push(answer.text);
        eventually("a ready service", async || unready(&query, "views").await.is_none().then_some(())).await;
    }
    panic!("not ready although the views came along: {said:?}");
}

fn made_up_event() -> NewEvent {
    let tier = TierAssigned {
        tier: "D1".parse().expect("a tier"),
        rosh_level: None,
        source: TierSource::Manual,
        crn: None,
        prison: None,
    };
    let recorded_by = RecordedBy { username: "TEST".parse().expect("a username"), client: "test".to_owned() };
    let (command, now) = (CommandId(Uuid::new_v4()), Utc::now().trunc_subsecs(6));
    let metadata = Metadata::new(now, recorded_by, command, String::new(), command.0, None);
    encode(&Event::Prisoner(PrisonerEvent::TierAssigned(tier)), 0, &metadata, now)
}
