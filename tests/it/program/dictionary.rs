//! The tools of analysts: the data dictionary, which is made of the schema's comments; the role
//! `analyst`, which reads everything and changes nothing; and the queries in `docs/analysts.md` and
//! `docs/auditors.md`, which run as they are.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use command::{Clock, Request, Service};
use domain::{
    Confinement,
    identifier::{CommandId, PrisonerNumber, StaffId},
    prisoner::{self, Allocate, ChoiceReasons, TierAssigned},
    tier::TierSource,
};
use embedded_postgres::{Durability, Options, Server};
use event_log::request_digest;
use event_log_postgres::PostgresLog;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Row as _};
use uuid::Uuid;

use crate::support::{
    DataDir, TestDatabase,
    builders::recorded_by,
    checked_in::{assert_checked_in, document},
    database, run,
};

/// Set to update the dictionary instead of comparing it.
const UPDATE: &str = "UPDATE_DICTIONARY";

/// The text before the tables.
const INTRODUCTION: &str = "\
# Data dictionary

The tables that [analysts](analysts.md) read. This page is made from the comments in the database:
in `psql`, `\\d+ views.case_period` shows the same. A test fails if the page differs from the
schema. `UPDATE_DICTIONARY=1 cargo test -p tests --test it dictionary::` updates the page.

Instants are UTC, dates are London days. A column marked *always* is never null.
";

/// The schemas in the order of the document, with a description that the database does not have.
const SCHEMAS: [(&str, &str); 2] = [
    (
        "views",
        "The views follow from the log, as of the position in `views.checkpoint`. They may be dropped\n\
         and rebuilt. A schema made by `projections rebuild --as-of` has the same tables. Two of them hold\n\
         nothing of the log: `case_now` is a question to `case_period`, `establishment` a list of names.",
    ),
    ("log", "The log. Everything else follows from it."),
];

/// A table or an SQL view.
struct DictionaryTable {
    schema: String,
    name: String,
    is_view: bool,
    comment: Option<String>,
    key: Vec<String>,
    columns: Vec<DictionaryColumn>,
}

struct DictionaryColumn {
    name: String,
    r#type: String,
    is_never_null: bool,
    comment: Option<String>,
}

/// All tables of the schemas. Partitions are parts of their tables and are left out.
async fn tables(pool: &PgPool) -> Vec<DictionaryTable> {
    let mut tables = Vec::new();
    for (schema, _) in SCHEMAS {
        let rows = sqlx::query(
            "SELECT c.oid, c.relname::text AS name, c.relkind = 'v' AS is_view, obj_description(c.oid, 'pg_class') AS comment,
                    ARRAY(SELECT a.attname::text
                            FROM pg_index AS i
                           CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS part (number, place)
                            JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = part.number
                           WHERE i.indrelid = c.oid AND i.indisprimary
                           ORDER BY part.place) AS key
               FROM pg_class AS c
              WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
              ORDER BY c.relname",
        )
        .bind(schema)
        .fetch_all(pool)
        .await
        .expect("the tables");
        for row in rows {
            let oid: sqlx::postgres::types::Oid = row.get("oid");
            let columns = sqlx::query(
                "SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS is_never_null,
                        col_description(attrelid, attnum) AS comment
                   FROM pg_attribute
                  WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped
                  ORDER BY attnum",
            )
            .bind(oid)
            .fetch_all(pool)
            .await
            .expect("the columns");
            tables.push(DictionaryTable {
                schema: schema.to_owned(),
                name: row.get("name"),
                is_view: row.get("is_view"),
                comment: row.get("comment"),
                key: row.get("key"),
                columns: columns
                    .iter()
                    .map(|row| DictionaryColumn {
                        name: row.get("name"),
                        r#type: row.get("type"),
                        is_never_null: row.get("is_never_null"),
                        comment: row.get("comment"),
                    })
                    .collect(),
            });
        }
    }
    tables
}

/// The document.
fn dictionary(tables: &[DictionaryTable]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for (schema, about) in SCHEMAS {
        page.push_str(&format!("\n## Schema `{schema}`\n\n{about}\n"));
        for table in tables.iter().filter(|table| table.schema == schema) {
            let comment = table.comment.as_deref().unwrap_or_default();
            page.push_str(&format!("\n### `{schema}.{}`\n\n{comment}\n", table.name));
            if !table.key.is_empty() {
                let key: Vec<String> = table.key.iter().map(|column| format!("`{column}`")).collect();
                page.push_str(&format!("\nKey: {}.\n", key.join(", ")));
            }
            page.push_str("\n| column | type | | meaning |\n|---|---|---|---|\n");
            for DictionaryColumn { name, r#type, is_never_null, comment } in &table.columns {
                // Postgres does not know whether a column of an SQL view can be null.
                let always = if *is_never_null && !table.is_view { "*always*" } else { "" };
                let comment = comment.as_deref().unwrap_or_default().replace('|', "\\|");
                page.push_str(&format!("| `{name}` | {} | {always} | {comment} |\n", r#type));
            }
        }
    }
    page
}

#[tokio::test]
async fn the_checked_in_dictionary_equals_the_schema() {
    let database = database().await;
    let page = dictionary(&tables(&database.pool).await);
    assert_checked_in("data-dictionary.md", &page, UPDATE);
}

#[tokio::test]
async fn every_table_and_column_is_described() {
    let database = database().await;
    let tables = tables(&database.pool).await;
    let names: Vec<String> = tables.iter().map(|table| format!("{}.{}", table.schema, table.name)).collect();
    for expected in ["views.case_period", "views.checkpoint", "log.event", "log.event_json", "log.head"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
    let is_said = |comment: &Option<String>| comment.as_ref().is_some_and(|comment| comment.ends_with('.'));
    for (name, table) in names.iter().zip(&tables) {
        assert!(is_said(&table.comment), "{name} has no comment, or one that is no sentence: {:?}", table.comment);
        for column in &table.columns {
            assert!(is_said(&column.comment), "{name}.{}: no comment, or no sentence", column.name);
        }
    }
}

/// Runs statements as the user of a connection.
async fn execute(connection: &mut PgConnection, statements: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(connection).await.map(drop)
}

/// The URL for another user.
fn as_user(url: &str, user: &str) -> String {
    let (_, rest) = url.split_once('@').expect("a URL with a user");
    format!("postgres://{user}@{rest}")
}

/// A connection of a user who is a member of the role and has no other rights.
async fn analyst(database: &TestDatabase) -> PgConnection {
    // Logins belong to the whole server.
    let login = format!("analyst_in_{}", database.name);
    let mut owner = database.pool.acquire().await.expect("a connection");
    execute(&mut owner, &format!("CREATE ROLE {login} LOGIN IN ROLE analyst")).await.expect("make a login");
    PgConnection::connect(&as_user(&database.url, &login)).await.expect("log in as an analyst")
}

#[tokio::test]
async fn an_analyst_reads_everything() {
    let database = database().await;
    let mut analyst = analyst(&database).await;
    for DictionaryTable { schema, name, .. } in tables(&database.pool).await {
        // The program's own: of no meaning to the ledger.
        if schema == "log" && ["idempotency_key", "migration", "snapshot"].contains(&name.as_str()) {
            continue;
        }
        let select = format!("SELECT * FROM {schema}.{name} LIMIT 1");
        execute(&mut analyst, &select).await.unwrap_or_else(|error| panic!("{select}: {error}"));
    }
}

#[tokio::test]
async fn an_analyst_changes_nothing() {
    let database = database().await;
    // Servers before version 15 need this statement, as docs/operating.md says.
    let revoke = "REVOKE CREATE ON SCHEMA public FROM PUBLIC";
    sqlx::raw_sql(revoke).execute(&database.pool).await.expect(revoke);
    let mut analyst = analyst(&database).await;
    let mut statements: Vec<String> = [
        "INSERT INTO log.event VALUES (1, 'prison-LEI', 0, gen_random_uuid(), 'PrisonJoinedOmic', now(), '{}', '{}')",
        "INSERT INTO log.event_from_0 VALUES (1, 'prison-LEI', 0, gen_random_uuid(), 'PrisonJoinedOmic', now(), '{}', '{}')",
        "UPDATE log.head SET position = 0",
        "SELECT * FROM log.head FOR UPDATE",
        "SELECT log.append('{prison-LEI}', '{NULL}', '{0}', '{prison-LEI}', '{0}', ARRAY[gen_random_uuid()], '{x}',
                           ARRAY[now()], '{x}', '{x}', 1000)",
        "SELECT log.make_partition(90000000000, 90010000000)",
        "INSERT INTO views.prison (prison_code, revision, position) VALUES ('LEI', 0, 1)",
        "UPDATE views.checkpoint SET position = 7",
        "ALTER TABLE views.prison ADD COLUMN mine text",
        "CREATE TABLE views.mine (mine text)",
        "CREATE TABLE log.mine (mine text)",
        "CREATE TABLE public.mine (mine text)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "DROP SCHEMA views CASCADE",
        "ALTER TABLE log.event DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "SET ROLE ledger",
        "COPY views.prison TO PROGRAM 'cat'",
    ]
    .map(str::to_owned)
    .into();
    for DictionaryTable { schema, name, columns, .. } in tables(&database.pool).await {
        let column = &columns.first().expect("a column").name;
        statements.extend([
            format!("UPDATE {schema}.{name} SET {column} = {column}"),
            format!("DELETE FROM {schema}.{name}"),
            format!("DROP TABLE {schema}.{name}"),
        ]);
        if name != "event_json" {
            statements.push(format!("TRUNCATE {schema}.{name}"));
        }
    }
    for statement in statements {
        let refused = execute(&mut analyst, &statement).await;
        let code = refused.as_ref().err().and_then(sqlx::Error::as_database_error).and_then(|error| error.code());
        // 42809, 55000: an SQL view cannot be dropped or emptied as a table, and one of two tables
        // cannot be written, whatever the user's rights.
        assert!(matches!(code.as_deref(), Some("42501" | "42809" | "55000")), "{statement}: {refused:?}");
    }
}

/// The part of a page between two lines, as statements.
fn between(page: &str, first: &str, last: &str) -> Vec<String> {
    let parts = page.split(first).skip(1);
    parts.map(|part| part.split(last).next().unwrap_or_default().to_owned()).collect()
}

/// The SQL statements of a page.
fn statements(page: &str) -> Vec<String> {
    let blocks = between(page, "```sql\n", "```");
    let statements = blocks.iter().flat_map(|block| block.split_inclusive(";\n"));
    statements.filter(|statement| !statement.trim().is_empty()).map(str::to_owned).collect()
}

/// The program works without the right to create roles, and an administrator can create them later
/// as the page says.
#[tokio::test(flavor = "multi_thread")]
async fn roles_can_be_made_by_an_administrator() {
    let data_dir = DataDir::new();
    let options = Options { durability: Durability::ProcessDeath, ..Options::default() };
    let server = Server::start_with(data_dir.path(), options).await.expect("start a server without our roles");
    let mut owner = PgConnection::connect(&server.url("postgres")).await.expect("connect");
    for statement in ["CREATE ROLE plain LOGIN", "CREATE DATABASE plain OWNER plain"] {
        execute(&mut owner, statement).await.expect(statement);
    }
    let plain = PgPool::connect(&as_user(&server.url("plain"), "plain")).await.expect("connect as one without rights");
    event_log_postgres::migrate(&plain).await.expect("make the log");
    projector::migrate(&plain).await.expect("make the views");
    plain.close().await;
    let roles: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_roles WHERE rolname = 'analyst'")
        .fetch_one(&mut owner)
        .await
        .expect("count the roles");
    assert_eq!(roles, 0);

    let page = std::fs::read_to_string(document("analysts.md")).expect("the page");
    let by_hand = between(&page, "<<'SQL'\n", "\nSQL\n");
    let [login, role] = by_hand.as_slice() else { panic!("a login and a role: {by_hand:?}") };
    let mut administrator = PgConnection::connect(&server.url("plain")).await.expect("connect");
    for statements in [role, login] {
        execute(&mut administrator, statements).await.expect(statements);
    }
    let maria = PgPool::connect(&as_user(&server.url("plain"), "maria")).await.expect("log in");
    for table in ["log.event_json", "log.event", "log.head", "log.stream", "views.case_period", "views.checkpoint"] {
        let select = format!("SELECT count(*) FROM {table}");
        sqlx::query(AssertSqlSafe(select.clone())).fetch_one(&maria).await.expect(&select);
    }
    maria.close().await;
    administrator.close().await.expect("leave");
    owner.close().await.expect("leave");
    server.stop().await.expect("stop the server");
}

/// Records the demonstration on 5 March by a clock that the test sets, and on 20 March an event of
/// February.
async fn record_the_demonstration(database: &TestDatabase) {
    let log = Arc::new(PostgresLog::connect(&database.pool).await.expect("the log"));
    let at = |clock: &'static str| {
        let now: DateTime<Utc> = clock.parse().expect("an instant");
        let settings = command::ServiceSettings {
            clock: Clock::new(move || now),
            recommendation_policy: domain::prisoner::RecommendationPolicy::default(),
        };
        (Service::new(log.clone(), settings), now)
    };
    let (service, now) = at("2026-03-05T12:00:00Z");
    allocation_ledger::tools::demo::fill(&service, now).await.expect("record the demonstration");
    let (service, now) = at("2026-03-20T12:00:00Z");
    let number: PrisonerNumber = "Z1234ZZ".parse().expect("a number");
    let steps = [
        prisoner::Command::AssignTier(TierAssigned {
            tier: "C1".parse().expect("a tier"),
            rosh_level: None,
            source: TierSource::Manual,
            crn: None,
            prison: None,
        }),
        prisoner::Command::Allocate(Allocate {
            prison: "LEI".parse().expect("a prison"),
            staff_id: StaffId::try_from(485_926).expect("a staff id"),
            reasons: ChoiceReasons::default(),
        }),
    ];
    for (index, command) in (0u32..).zip(steps) {
        let command_id = CommandId(Uuid::from_u128(u128::from(index) + 1));
        let request = Request {
            request_digest: request_digest("test", "late", &index).into(),
            command: domain::Command::Prisoner(number.clone(), command),
            command_id,
            recorded_by: recorded_by("HOMD_LEI"),
            correlation_id: command_id.0,
            causation_id: None,
            provenance: None,
            effective_at: Some(now - Duration::from_secs(24 * 3600 * 25) + Duration::from_secs(u64::from(index))),
            if_match: None,
            confinement: Confinement::default(),
        };
        service.execute(request).await.expect("record what was late");
    }
}

/// An analyst runs each query of the page over the demonstration. A command from the page makes the
/// schema that one of the queries needs.
#[tokio::test(flavor = "multi_thread")]
async fn the_queries_in_the_analysts_guide_run_and_answer() {
    let database = database().await;
    record_the_demonstration(&database).await;
    let stores = ["--event-store", &database.url, "--views", &database.url];
    let ran = run(&[&["projections", "rebuild"], &stores[..]].concat()).await;
    assert!(ran.status.success(), "{ran:?}");
    let page = std::fs::read_to_string(document("analysts.md")).expect("the page");
    // The rest of the page is for DuckDB, over files.
    let page = page.split("\n## With DuckDB").next().unwrap_or_default();
    let rebuild = between(page, "allocation-ledger projections rebuild --as-of ", " --data-dir");
    let [rebuild] = rebuild.as_slice() else { panic!("one rebuild as of a date: {rebuild:?}") };
    let as_of: Vec<&str> = rebuild.split_whitespace().collect();
    let ran = run(&[&["projections", "rebuild", "--as-of"], &as_of[..], &stores[..]].concat()).await;
    assert!(ran.status.success(), "{ran:?}");

    let mut analyst = analyst(&database).await;
    let statements = statements(page);
    assert!(statements.len() >= 3, "{statements:?}");
    let mut late = Vec::new();
    for statement in &statements {
        let rows = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .fetch_all(&mut analyst)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
        // A query about today has no answer in a demonstration of that March.
        assert!(
            !rows.is_empty() || ["now()", "case_now"].iter().any(|now| statement.contains(now)),
            "no answer: {statement}"
        );
        if statement.contains(".case_period") && statement.contains("FULL JOIN") {
            late = rows
                .iter()
                .map(|row| (row.get("prisoner_number"), row.get("believed"), row.get("known_now")))
                .collect();
        }
    }
    let unknown_then: (String, Option<String>, Option<String>) =
        ("Z1234ZZ".to_owned(), None, Some("Okafor, Grace".to_owned()));
    assert_eq!(late, [unknown_then], "what was recorded on 20 March was not known on 5 March");
}

/// No check of the auditors' page reports anything about a sound log, and at least one reports each
/// removed or inserted event.
#[tokio::test(flavor = "multi_thread")]
async fn the_checks_for_auditors_find_what_is_missing() {
    let page = std::fs::read_to_string(document("auditors.md")).expect("the page");
    let checks = statements(&page);
    assert_eq!(checks.len(), 3, "{checks:?}");
    let found = async |database: &TestDatabase| {
        let mut found = 0;
        let mut analyst = analyst(database).await;
        for check in &checks {
            let rows = sqlx::raw_sql(AssertSqlSafe(check.clone())).fetch_all(&mut analyst).await;
            found += rows.unwrap_or_else(|error| panic!("{check}: {error}")).len();
        }
        found
    };
    assert_eq!(found(&database().await).await, 0, "of an empty log");
    for (damage, differences) in [
        ("SELECT", 0),
        // One event fewer than positions, and a gap in a stream.
        ("DELETE FROM log.event WHERE position = 40", 2),
        ("DELETE FROM log.event WHERE position = (SELECT position FROM log.head)", 2),
        ("UPDATE log.event SET revision = revision + 7 WHERE position = 40", 1),
        ("UPDATE log.event SET recorded_at = recorded_at - interval '1 day' WHERE position = 40", 1),
        ("UPDATE log.head SET position = position - 1", 1),
        ("DELETE FROM log.stream WHERE stream = 'prison-LEI'", 1),
    ] {
        let database = database().await;
        record_the_demonstration(&database).await;
        let mut owner = database.pool.acquire().await.expect("a connection").detach();
        execute(&mut owner, &format!("SET session_replication_role = replica; {damage}")).await.expect(damage);
        assert_eq!(found(&database).await, differences, "{damage}");
    }
}
