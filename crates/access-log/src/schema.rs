//! The schema `access`: its migrations, and who may do what with it.

use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use postgres_schema::{Schema, SchemaError};
use sqlx::PgPool;

/// The schema of the access log, beside the views, which no rebuild of views touches.
const SCHEMA: Schema = Schema {
    name: "access",
    migrations: &[
        ("access log", include_str!("../migrations/0001_access_log.sql")),
        ("audit queue", include_str!("../migrations/0002_audit_queue.sql")),
    ],
};

/// Brings the schema up to date. Where it is, this does nothing, so any login that may use the
/// schema may call it. Where it is not, only the owner of the database may go on.
///
/// # Errors
/// The database is out of reach, or this login may not migrate it.
pub fn migrate(pool: &PgPool) -> BoxFuture<'_, Result<(), SchemaError>> {
    SCHEMA.migrate_as_owner(pool).map_ok(drop).boxed()
}

/// [`migrate`], and gives the roles of the services their rights, which a login that may not make
/// roles could not. An operator calls it, as often as wanted.
///
/// # Errors
/// The database is out of reach, or this login may not migrate it or grant rights.
pub async fn prepare(pool: &PgPool) -> Result<(), SchemaError> {
    migrate(pool).await?;
    SCHEMA.grant_roles(pool).await
}

#[cfg(test)]
mod tests {
    /// A line here must never change: a new migration gets a new line.
    const FROZEN: [(i64, &str); 2] = [
        (1, "c0130b3fac787bc805e1ab6bff5f89c85fa4a84214ce0741f95d48fc1a2e8d52f58ef6a9058b1446ee29a5cea4fe7418"),
        (2, "b0ea87a77d1f317ca30b94895fcc5ed0c7ad85a3466fc83f2ede5d842febb80072cf8640ec6dda5f7697ff47ed3e1387"),
    ];

    #[test]
    fn migrations_never_change() {
        assert_eq!(super::SCHEMA.checksums(), FROZEN.map(|(version, hex)| (version, hex.to_owned())));
    }
}
