//! The schema `integration`: its migrations, and who may do what with it.

use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use postgres_schema::{Schema, SchemaError};
use sqlx::PgPool;

/// The schema of what the integration service keeps, beside the views, which no rebuild of views
/// touches.
const SCHEMA: Schema = Schema {
    name: "integration",
    migrations: &[
        ("parked messages", include_str!("../migrations/0001_parked_messages.sql")),
        ("publication", include_str!("../migrations/0002_publication.sql")),
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
        (1, "7616f2815b0e7f26cfd6132c27b6573575e2ed2203f5cb3e19ea33de188694d0c9383f04eccadadf38ae52d87a8c008d"),
        (2, "c5374d92c38e608f6a54fb1ff1c87853bbe9df73c5e0344eb54e796ffdf2a5aa584e9ff0a58fca38e66bd0db3c0974cd"),
    ];

    #[test]
    fn migrations_never_change() {
        assert_eq!(super::SCHEMA.checksums(), FROZEN.map(|(version, hex)| (version, hex.to_owned())));
    }
}
