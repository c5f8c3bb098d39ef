//! Database roles: a service with the rights of its role can do its work, through rebuilds too, and
//! no service can do the work of another.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{ask, position, service, tier, value};
use crate::support::{Program, TestDatabase, bare_database, eventually, ledger::assert_recorded, run};

/// The roles, and the service of each.
const ROLES: [(&str, &str); 3] =
    [("ledger_append", "command"), ("ledger_project", "projector"), ("ledger_read", "query")];

/// A database that its owner has prepared as docs/operating.md says, with a login for each service.
async fn prepared_database() -> TestDatabase {
    let database = database_with_logins().await;
    for _ in 0..2 {
        prepare(&database).await;
    }
    database
}

/// Prepares a database as its owner, who may create roles and is no superuser.
async fn prepare(database: &TestDatabase) {
    let url = database.url_for(&owner(database));
    let ran = run(&["prepare", "--event-store", &url, "--views", &url]).await;
    assert!(ran.status.success(), "{}", ran.stderr);
}

/// An empty database, with a login for its owner and for each service.
async fn database_with_logins() -> TestDatabase {
    let database = bare_database().await;
    // Logins belong to the whole server, so those of another run or test must not matter.
    let owner = owner(&database);
    let mut admin = PgConnection::connect(&database.url).await.expect("connect as an administrator");
    let mut sql = format!("CREATE ROLE {owner} LOGIN CREATEROLE; ALTER DATABASE {} OWNER TO {owner};", database.name);
    for (role, service) in ROLES {
        // A strict server, on which only an administrator may create roles in the same way.
        sql.push_str(&format!(
            "DO $do$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $do$;
             CREATE ROLE {} LOGIN IN ROLE {role};",
            login(&database, service)
        ));
    }
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.expect("make logins");
    // From version 16 on, a role's creator must administer it. Before, the right to create roles is
    // enough.
    let version: i32 = value(&database, "SELECT current_setting('server_version_num')::integer").await;
    if version >= 160_000 {
        let sql = format!("GRANT ledger_project TO {owner} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.expect("let the owner grant it");
    }
    database
}

fn owner(database: &TestDatabase) -> String {
    format!("{}_owner", database.name)
}

fn login(database: &TestDatabase, service: &str) -> String {
    format!("{}_{service}", database.name)
}

/// Starts a service with its own login.
async fn start(database: &TestDatabase, role: &str) -> Program {
    let url = database.url_for(&login(database, role));
    service(role, &url, &url).await.into_ready().await
}

#[tokio::test]
async fn each_service_works_with_the_rights_of_its_database_role_alone() {
    let database = prepared_database().await;
    let projector = start(&database, "projector").await;
    let (command, query) = (start(&database, "command").await, start(&database, "query").await);
    let record = async |value: &str| {
        let answer = command.client().post("/prisoners/A1234BC/tier", &tier(value)).await;
        position(assert_recorded(&answer))
    };
    let answered = async |value: &str, position: &str| {
        for path in ["/prisoners/A1234BC/responsibility", "/prisoners/A1234BC/history", "/projections"] {
            let answer = ask(&query, path, position).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        }
        let answer = ask(&query, "/prisoners/A1234BC/responsibility", position).await;
        assert_eq!(answer.body["tier"], json!(value), "{}", answer.text);
    };
    let first = record("B2").await;
    answered("B2", &first).await;
    let owner_of_views: String =
        value(&database, "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'views'").await;
    assert_eq!(owner_of_views, "ledger_project", "so that any projector can replace the views");

    // A manual rebuild, by an administrator and with the projector's login, does not disturb the
    // running services.
    let projecting = database.url_for(&login(&database, "projector"));
    for url in [&database.url, &projecting] {
        for rebuild in [&["rebuild"][..], &["rebuild", "--view", "case_period"]] {
            let ran = run(&[&["projections"], rebuild, &["--event-store", url, "--views", url]].concat()).await;
            assert!(ran.status.success(), "{}", ran.stderr);
            let position = record("C1").await;
            answered("C1", &position).await;
            let position = record("B2").await;
            answered("B2", &position).await;
        }
    }
    // The projector records who takes the file of an export.
    let export = json!({"kind": "EXPORT", "view": "case_period", "knownAt": first});
    let begun = projector.client().post("/projections/jobs", &export).await;
    let job = begun.header("location").unwrap_or_else(|| panic!("{}", begun.text)).to_owned();
    eventually("the end of an export", async || {
        let file = projector.client().get(&format!("{job}/file")).await;
        (file.status == 200).then_some(())
    })
    .await;
    let reading = database.url_for(&login(&database, "query"));
    let ran = run(&["projections", "verify", "--event-store", &reading, "--views", &reading]).await;
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);

    // The query service has recorded its reads, and so does a tool with its login.
    let ran = run(&["history", "A1234BC", "--event-store", &reading, "--views", &reading]).await;
    assert!(ran.status.success() && ran.stderr.is_empty(), "{}", ran.stderr);
    let operations = "SELECT string_agg(DISTINCT operation, ' ' ORDER BY operation) FROM access.entry";
    eventually("the entries of reads", async || {
        let found: String = value(&database, operations).await;
        let wanted = "/prisoners/{prisonerNumber}/history /prisoners/{prisonerNumber}/responsibility \
                      /projections/jobs/{jobId}/file history";
        (found == wanted).then_some(())
    })
    .await;
    let owner_of_log: String =
        value(&database, "SELECT tableowner::text FROM pg_tables WHERE schemaname = 'access' AND tablename = 'entry'")
            .await;
    assert_eq!(owner_of_log, owner(&database), "no service may change entries");

    // The projector rebuilds views of another version itself.
    assert!(projector.stop().await.success());
    sqlx::query("UPDATE views.checkpoint SET version = -1").execute(&database.pool).await.expect("another version");
    let projector = start(&database, "projector").await;
    let last = record("A").await;
    answered("A", &last).await;
    for program in [command, query, projector] {
        let log = program.log();
        assert!(!log.contains("ERROR") && !log.contains("the access log"), "{log}");
        assert!(program.stop().await.success());
    }

    // The command service leaves a snapshot of its index, and starts with it.
    let command = start(&database, "command").await;
    assert!(command.log().contains(&format!("the policies read the log from position {last}")), "{}", command.log());
    assert!(command.stop().await.success());
}

/// `prepare` is a step of every upgrade. It then has nothing to do and needs no right to the views.
#[tokio::test]
async fn prepare_succeeds_again_after_the_projector_made_the_views() {
    let database = prepared_database().await;
    let projector = start(&database, "projector").await;
    assert_eq!(owners(&database).await, "ledger_project");
    prepare(&database).await;
    assert_eq!(owners(&database).await, "ledger_project");
    let sql = format!("SELECT pg_has_role('{}', 'ledger_project', 'USAGE')", owner(&database));
    let is_member: bool = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&database.pool).await.expect("a member?");
    assert!(!is_member, "the owner has got a right that it does not need");
    assert!(projector.stop().await.success());
}

/// Until now a single login did everything; from now on each service has its own.
#[tokio::test]
async fn views_made_by_the_owner_pass_to_the_projector() {
    let database = database_with_logins().await;
    let url = database.url_for(&owner(&database));
    let projector = service("projector", &url, &url).await.into_ready().await;
    assert_eq!(owners(&database).await, owner(&database));
    sqlx::query("CREATE VIEW views.mine AS SELECT 1 AS one").execute(&database.pool).await.expect("a view of another");
    let of_mine = "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'views.mine'::regclass";
    let before: String = value(&database, of_mine).await;
    for _ in 0..2 {
        prepare(&database).await;
        assert_eq!(value::<String>(&database, of_mine).await, before);
        assert_eq!(owners(&database).await, "ledger_project");
    }
    sqlx::query("DROP VIEW views.mine").execute(&database.pool).await.expect("drop it");
    assert!(projector.stop().await.success());

    sqlx::query("UPDATE views.checkpoint SET version = -1").execute(&database.pool).await.expect("another version");
    for url in [database.url_for(&login(&database, "projector")), url] {
        let projector = service("projector", &url, &url).await.into_ready().await;
        assert_eq!(owners(&database).await, "ledger_project");
        assert!(projector.stop().await.success());
    }
}

/// The owners of the views and of their schema.
async fn owners(database: &TestDatabase) -> String {
    value(
        database,
        "SELECT string_agg(DISTINCT owner::text, ', ')
           FROM (SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'views'
                 UNION ALL
                 SELECT relowner::regrole FROM pg_class
                  WHERE relnamespace = 'views'::regnamespace AND (relkind = 'r' OR relname = 'case_now')) AS owned (owner)",
    )
    .await
}

#[tokio::test]
async fn no_service_has_the_rights_of_another() {
    let database = prepared_database().await;
    let _projector = start(&database, "projector").await;
    let _command = start(&database, "command").await;
    let append =
        "SELECT log.append('{prison-LEI}', '{NULL}', '{0}', '{prison-LEI}', '{0}', ARRAY[gen_random_uuid()], '{x}',
                                    ARRAY[now()], '{x}', '{x}', 1000)";
    let nobody = [
        "INSERT INTO log.event VALUES (1, 'prison-LEI', 0, gen_random_uuid(), 'PrisonJoinedOmic', now(), '{}', '{}')",
        "INSERT INTO log.event_from_0 VALUES (1, 'prison-LEI', 0, gen_random_uuid(), 'PrisonJoinedOmic', now(), '{}', '{}')",
        "UPDATE log.event SET data = '{}'",
        "DELETE FROM log.event",
        "TRUNCATE log.event",
        "UPDATE log.head SET position = 0",
        "SELECT * FROM log.head FOR UPDATE",
        "INSERT INTO log.stream VALUES ('prison-LEI', 0)",
        "UPDATE log.migration SET success = false",
        "INSERT INTO log.snapshot VALUES ('policies', 1, 'x')",
        "UPDATE log.snapshot SET content = 'x'",
        "DELETE FROM log.snapshot",
        "SELECT log.make_partition(90000000000, 90010000000)",
        "SELECT log.grant_roles()",
        "ALTER TABLE log.event DISABLE TRIGGER ALL",
        "DROP SCHEMA log CASCADE",
        "UPDATE access.entry SET username = NULL",
        "DELETE FROM access.entry",
        "TRUNCATE access.entry",
        "SELECT * FROM access.entry",
        "SELECT access.grant_roles()",
        "SELECT * FROM access.read_unsent(1)",
        "INSERT INTO access.unsent_entry VALUES (now(), gen_random_uuid())",
        "DELETE FROM access.unsent_entry",
        "SELECT access.end_audit()",
        "DROP SCHEMA access CASCADE",
        "CREATE TABLE log.mine (mine text)",
        "CREATE ROLE mine",
        "SET session_replication_role = replica",
        "SET ROLE ledger",
    ];
    let not_the_projector = [
        "CREATE SCHEMA mine",
        "INSERT INTO views.prison (prison_code, revision, position) VALUES ('LEI', 0, 1)",
        "UPDATE views.checkpoint SET epoch = epoch + 1",
        "DROP SCHEMA views CASCADE",
        "ALTER SCHEMA views RENAME TO mine",
        "SET ROLE ledger_project",
    ];
    let save = "SELECT log.save_snapshot('policies', 1, 'x')";
    let load = "SELECT position FROM log.snapshot";
    let spend = "SELECT * FROM log.spend_keys(ARRAY[gen_random_uuid()], ARRAY['x'], ARRAY['x'], ARRAY[false])";
    let keys = "SELECT request FROM log.idempotency_key";
    let note = "INSERT INTO access.entry (at, id, operation, prisoners) VALUES (now(), gen_random_uuid(), 'x', '{}')";
    let read = "SELECT * FROM access.read(NULL, NULL, NULL, NULL, NULL, NULL, 1)";
    let remove = "SELECT access.remove_old(30)";
    let make_room = "SELECT log.make_room()";
    for (service, also) in [
        ("command", &["SELECT position FROM views.checkpoint", "SET ROLE ledger_read", note, read, remove][..]),
        ("projector", &[append, save, load, spend, keys, make_room, "SET ROLE ledger_append", read]),
        ("query", &[append, save, load, spend, keys, make_room, "SET ROLE ledger_append", remove]),
    ] {
        let login = login(&database, service);
        let mut connection = PgConnection::connect(&database.url_for(&login)).await.expect("log in");
        let others = if service == "projector" { &[][..] } else { &not_the_projector };
        for statement in nobody.iter().chain(others).chain(also) {
            let refused = sqlx::raw_sql(*statement).execute(&mut connection).await;
            let code = refused.as_ref().err().and_then(sqlx::Error::as_database_error).and_then(|error| error.code());
            assert_eq!(code.as_deref(), Some("42501"), "{service}: {statement}: {refused:?}");
        }
    }
    let events: i64 = value(&database, "SELECT count(*) FROM log.event").await;
    assert_eq!(events, 0);
}
