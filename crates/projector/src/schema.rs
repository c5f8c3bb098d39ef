//! The schemas that hold views: the serving one, and others beside it while a rebuild fills them.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};

use views::{VIEWS, VIEWS_VERSION, checkpoint::Checkpoint, create_keys_sql, create_tables_sql, stream_aside};

use crate::{BuildError, ProjectorError, checkpoint};

/// The schema that `query` reads.
pub const SCHEMA: &str = "views";

/// The role that the views belong to where projectors log in as members of it: the group role of
/// the projectors.
pub const OWNING_ROLE: &str = "ledger_project";

/// Roles that may read the views: the query side's, and the analysts'. Group roles without a login.
pub const READING_ROLES: [&str; 2] = ["ledger_read", "analyst"];

/// Begins the name of each schema that a projector is filling; its epoch ends it.
const NEXT_PREFIX: &str = "views_next_";

/// The schema that a tool fills: to replace the serving one, or to be kept beside it.
pub(crate) const BUILDING: &str = "views_building";

/// Makes the serving schema with empty views, unless it exists. A schema of another version stays:
/// see [`VIEWS_VERSION`].
///
/// # Errors
/// The views' database is out of reach or refuses.
pub async fn migrate(views: &PgPool) -> Result<(), ProjectorError> {
    let mut connection = PgConnection::connect_with(&as_owner(&views.connect_options()).await?).await?;
    migrate_on(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Makes the roles that the services log in as members of, where that is allowed, and lets
/// [`OWNING_ROLE`] make the views in this database. Views that the operator has made become its
/// own. An operator runs it, as the database's owner, as often as wanted.
///
/// # Errors
/// The views' database is out of reach or refuses.
pub async fn prepare(views: &PgPool) -> Result<(), ProjectorError> {
    let mut connection = views.acquire().await?;
    let mut transaction = connection.begin().await?;
    for role in [OWNING_ROLE].into_iter().chain(READING_ROLES) {
        execute(&mut transaction, format!("DO $do$ BEGIN {} END $do$", make_role_sql(role))).await?;
    }
    execute(
        &mut transaction,
        format!(
            "DO $do$
         DECLARE
             owning regrole := '{OWNING_ROLE}'::regrole;
             others text[];
             other text;
         BEGIN
             EXECUTE format('GRANT CREATE ON DATABASE %I TO {OWNING_ROLE}', current_database());
             -- What belongs to the role already is left alone: who is no member may not touch it. The schema first, as the
             -- tables' new owner must be allowed to make tables in it.
             -- SQL views that others have made stay theirs.
             others := ARRAY(SELECT 'SCHEMA {SCHEMA}' FROM pg_namespace
                              WHERE nspname = '{SCHEMA}' AND nspowner <> owning)
                    || ARRAY(SELECT 'TABLE ' || oid::regclass FROM pg_class
                              WHERE relnamespace = to_regnamespace('{SCHEMA}') AND (relkind = 'r' OR relname = 'case_now') AND relowner <> owning);
             IF others = '{{}}' THEN
                 RETURN;
             END IF;
             -- Only a member may give something to a role. It stays one, as a projector that has worked under this login
             -- goes on under it.
             IF current_setting('server_version_num')::integer < 160000 THEN
                 IF NOT pg_has_role(owning, 'MEMBER') THEN
                     EXECUTE format('GRANT {OWNING_ROLE} TO %I', current_user);
                 END IF;
             ELSIF NOT pg_has_role(owning, 'SET') THEN
                 EXECUTE format('GRANT {OWNING_ROLE} TO %I WITH INHERIT TRUE, SET TRUE', current_user);
             END IF;
             FOREACH other IN ARRAY others LOOP
                 EXECUTE format('ALTER %s OWNER TO {OWNING_ROLE}', other);
             END LOOP;
         END
         $do$"
        ),
    )
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Connection options under which new schemas and tables belong to the owner of the serving views,
/// so that any projector, and any rebuild by hand, can put its views in their place. Where there
/// are no views yet, the owner is [`OWNING_ROLE`], for its members.
pub(crate) async fn as_owner(options: &PgConnectOptions) -> Result<PgConnectOptions, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    // From version 16 on a member may be one without the right to act as the role.
    let owner: Option<String> = sqlx::query_scalar(
        "SELECT owner.rolname::text
           FROM pg_roles AS me, pg_roles AS owner
          WHERE me.rolname = session_user AND owner.rolname <> session_user
            AND owner.rolname = coalesce((SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $1),
                                         CASE WHEN NOT me.rolsuper THEN $2::name END)
            AND pg_has_role(me.oid, owner.oid,
                            CASE WHEN current_setting('server_version_num')::integer < 160000 THEN 'MEMBER' ELSE 'SET' END)",
    )
    .bind(SCHEMA)
    .bind(OWNING_ROLE)
    .fetch_optional(&mut connection)
    .await?;
    connection.close().await?;
    Ok(match owner {
        Some(owner) => options.clone().options([("role", owner)]),
        None => options.clone(),
    })
}

/// [`migrate`] on a connection.
pub(crate) async fn migrate_on(connection: &mut PgConnection) -> Result<(), ProjectorError> {
    let mut transaction = connection.begin().await?;
    // Two programs that start at once would both find nothing and both make it.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('allocation-ledger views migration', 0))")
        .execute(&mut *transaction)
        .await?;
    if !has_table(&mut transaction, "checkpoint").await? {
        // A schema without a checkpoint was left half made by hand; nothing in it is worth keeping.
        drop_schema(&mut transaction, SCHEMA).await?;
        create(&mut transaction, SCHEMA).await?;
        add_keys(&mut transaction).await?;
        let start = Checkpoint { version: VIEWS_VERSION, position: 0, event_id: None, recorded_at: None, epoch: 0 };
        checkpoint::insert(&mut transaction, start).await?;
    } else if !has_table(&mut transaction, "stream_aside").await? {
        // Views of an older version serve on until they are rebuilt, and questions ask for it.
        execute(&mut transaction, format!("SET LOCAL search_path TO {SCHEMA}; {}", stream_aside::CREATE_TABLE_SQL))
            .await?;
        let_read_table(&mut transaction, &format!("{SCHEMA}.stream_aside")).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Whether the serving schema has a table.
pub(crate) async fn has_table(connection: &mut PgConnection, table: &str) -> Result<bool, sqlx::Error> {
    let table = format!("{SCHEMA}.{table}");
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table).fetch_one(connection).await
}

/// The name of the schema that the projector with this epoch fills beside the serving one. No two
/// projectors share an epoch, so a paused one cannot write into another's.
pub(crate) fn next_name(epoch: i64) -> String {
    format!("{NEXT_PREFIX}{epoch}")
}

/// Makes a schema with empty views, without keys and checkpoint, and puts it first on the
/// connection's search path for the rest of the transaction.
pub(crate) async fn create(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    execute(connection, format!("CREATE SCHEMA {name}; SET LOCAL search_path TO {name}")).await?;
    execute(connection, create_tables_sql()).await?;
    let_read(connection, name).await
}

/// Lets [`READING_ROLES`] read all tables of a schema that is being made.
async fn let_read(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    for role in READING_ROLES {
        let grants = format!(
            "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};"
        );
        execute(connection, grant_sql(role, &grants)).await?;
    }
    Ok(())
}

/// Lets [`READING_ROLES`] read a table that is added to a schema: a right to another table that an
/// operator has taken away stays away.
pub(crate) async fn let_read_table(connection: &mut PgConnection, table: &str) -> Result<(), sqlx::Error> {
    for role in READING_ROLES {
        execute(connection, grant_sql(role, &format!("GRANT SELECT ON {table} TO {role};"))).await?;
    }
    Ok(())
}

/// Adds keys and indexes to the chosen schema's views.
pub(crate) async fn add_keys(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    execute(connection, create_keys_sql()).await
}

/// Puts a schema first on the connection's search path.
pub(crate) async fn choose(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    execute(connection, format!("SET search_path TO {name}")).await
}

/// Puts a schema first on the connection's search path until the transaction ends.
pub(crate) async fn choose_here(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    execute(connection, format!("SET LOCAL search_path TO {name}")).await
}

/// Checks that a schema of views exists; its name may come from anywhere.
pub(crate) async fn check_exists(views: &PgPool, name: &str) -> Result<(), BuildError> {
    let exists: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'checkpoint')
            AND $1 ~ '^[a-z][a-z0-9_]*$'",
    )
    .bind(name)
    .fetch_one(views)
    .await?;
    if exists { Ok(()) } else { Err(BuildError::NoSuchSchema(name.to_owned())) }
}

/// The schemas that are being filled at the moment, which is so while the program that fills them
/// holds a lock. The schema of a dead one is not listed.
pub(crate) async fn schemas_being_built(connection: &mut PgConnection, epoch: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT schema
           FROM (VALUES ($1, $2), ($3, $4)) AS filled (schema, lock)
          WHERE to_regnamespace(schema) IS NOT NULL
            AND EXISTS (SELECT FROM pg_locks
                         WHERE locktype = 'advisory' AND granted AND objsubid = 1
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                           AND classid::bigint << 32 | objid::bigint = hashtextextended(lock, 0))",
    )
    .bind(next_name(epoch))
    .bind(PROJECTING_LOCK)
    .bind(BUILDING)
    .bind(BUILDING_LOCK)
    .fetch_all(connection)
    .await
}

/// Ends the sessions that a projector's session waits for, where they are projectors' too. A
/// suspended projector would keep its successor waiting for ever. A successor without the right to
/// end them goes on waiting.
pub(crate) async fn end_predecessors(options: &PgConnectOptions, session: i32) -> Result<(), sqlx::Error> {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    let mut connection = PgConnection::connect_with(options).await?;
    // Found first and ended then: in one condition Postgres may take the second part before the
    // first.
    let ended = sqlx::query_scalar::<_, i32>(
        "WITH predecessor AS MATERIALIZED (SELECT pid
                                             FROM pg_stat_activity
                                            WHERE pid = ANY (pg_blocking_pids($1)) AND application_name = $2)
         SELECT pid FROM predecessor WHERE pg_terminate_backend(pid)",
    )
    .bind(session)
    .bind(options.get_application_name())
    .fetch_all(&mut connection)
    .await;
    match ended {
        Ok(ended) if ended.is_empty() => {
            tracing::info!("waiting for whoever holds the views' checkpoint, which is no projector's session");
        }
        Ok(ended) => {
            tracing::warn!(sessions = ?ended, "ended the sessions of a projector that stands still: {ended:?}")
        }
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE) => {
            tracing::warn!(%error, "cannot end the session of a projector that stands still: {error}");
        }
        Err(error) => return Err(error),
    }
    connection.close().await
}

/// The lock that the active projector holds.
pub(crate) const PROJECTING_LOCK: &str = "allocation-ledger projector of views";

/// Gives the planner statistics of the chosen schema's views before the first question.
pub(crate) async fn analyze(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for view in VIEWS {
        execute(connection, format!("ANALYZE {view}")).await?;
    }
    Ok(())
}

/// Drops the schemas that interrupted rebuilds have left, if the checkpoint's epoch is still in
/// force. A schema of a later epoch is a successor's work and stays, whatever the fence says.
pub(crate) async fn drop_leftovers(
    connection: &mut PgConnection,
    checkpoint: Checkpoint,
) -> Result<(), ProjectorError> {
    let mut transaction = connection.begin().await?;
    if !checkpoint::lock(&mut transaction, checkpoint.epoch, checkpoint.position).await? {
        return Err(ProjectorError::Fenced { epoch: checkpoint.epoch });
    }
    let names: Vec<String> =
        sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname::text, $1)")
            .bind(NEXT_PREFIX)
            .fetch_all(&mut *transaction)
            .await?;
    let epoch_of = |name: &str| name.strip_prefix(NEXT_PREFIX)?.parse::<i64>().ok();
    for name in names.iter().filter(|name| epoch_of(name).is_some_and(|epoch| epoch <= checkpoint.epoch)) {
        tracing::info!(schema = name, "dropping schema {name}, left over from an interrupted rebuild");
        drop_schema(&mut transaction, name).await?;
    }
    // The builder holds the lock, and loses it when it dies.
    let is_left: bool = sqlx::query_scalar(
        "SELECT to_regnamespace($1) IS NOT NULL AND pg_try_advisory_xact_lock(hashtextextended($2, 0))",
    )
    .bind(BUILDING)
    .bind(BUILDING_LOCK)
    .fetch_one(&mut *transaction)
    .await?;
    if is_left {
        tracing::info!(schema = BUILDING, "dropping schema {BUILDING}, left over from an interrupted rebuild");
        drop_schema(&mut transaction, BUILDING).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Takes the lock of the schema [`BUILDING`] for as long as the connection lasts, and drops the
/// schema that a dead holder left. False where another build is under way.
pub(crate) async fn begin_building(connection: &mut PgConnection) -> Result<bool, ProjectorError> {
    let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
        .bind(BUILDING_LOCK)
        .fetch_one(&mut *connection)
        .await?;
    if taken {
        drop_schema(connection, BUILDING).await?;
    }
    Ok(taken)
}

const BUILDING_LOCK: &str = "allocation-ledger builds views";

/// Renames a schema, and comments it.
pub(crate) async fn keep(connection: &mut PgConnection, from: &str, name: &str, what: &str) -> Result<(), sqlx::Error> {
    execute(
        connection,
        format!("ALTER SCHEMA {from} RENAME TO {name}; COMMENT ON SCHEMA {name} IS '{}'", what.replace('\'', "''")),
    )
    .await
}

pub(crate) async fn drop_schema(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    execute(connection, format!("DROP SCHEMA IF EXISTS {name} CASCADE")).await
}

/// Runs statements made of our own constants and numbers.
pub(crate) async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Grants rights to `role`, and makes the role first where it does not exist. Without the right to
/// make roles, it does nothing.
fn grant_sql(role: &str, grants: &str) -> String {
    format!("DO $do$ BEGIN {} {grants} END $do$", make_role_sql(role))
}

/// The part of a block that makes a role, or ends the block where that is not allowed. Roles belong
/// to the whole server, so another program may be making the same one.
fn make_role_sql(role: &str) -> String {
    format!(
        "IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
             BEGIN
                 CREATE ROLE {role} NOLOGIN;
             EXCEPTION
                 WHEN duplicate_object OR unique_violation THEN NULL;
                 WHEN insufficient_privilege THEN RETURN;
             END;
         END IF;"
    )
}
