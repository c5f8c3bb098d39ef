//! The schema `log`: its migrations and the partitions of its events.

use futures::{FutureExt as _, future::BoxFuture};
use postgres_schema::{Schema, SchemaError};
use sqlx::{PgConnection, PgPool};

/// Positions in one partition of `log.event`. Ten years of a national ledger fill half of one.
///
/// This is part of the schema, and `log.make_room` has the same number. It must never change for a
/// log in use, because existing partitions keep their bounds.
pub const PARTITION_EVENTS: u64 = 10_000_000;

const SCHEMA: Schema = Schema { name: "log", migrations: &MIGRATIONS };

const MIGRATIONS: [(&str, &str); 9] = [
    ("log", include_str!("../migrations/0001_log.sql")),
    ("analysts read the log", include_str!("../migrations/0002_analysts_read_the_log.sql")),
    ("services have roles", include_str!("../migrations/0003_services_have_roles.sql")),
    ("copied logs", include_str!("../migrations/0004_copied_logs.sql")),
    ("snapshots", include_str!("../migrations/0005_snapshots.sql")),
    ("idempotency keys", include_str!("../migrations/0006_idempotency_keys.sql")),
    ("keys of recent events", include_str!("../migrations/0007_keys_of_recent_events.sql")),
    ("events have a salt", include_str!("../migrations/0008_events_have_a_salt.sql")),
    ("contacts are a stream", include_str!("../migrations/0009_contacts_are_a_stream.sql")),
];

/// Brings the schema up to date. Where it is, this does nothing, so a role that may only read the
/// log may call it. Several processes may call it at a time.
///
/// # Errors
/// The database is out of reach, or this role may not migrate it.
pub fn migrate(pool: &PgPool) -> BoxFuture<'_, Result<(), SchemaError>> {
    async move {
        if SCHEMA.migrate(pool).await? {
            let made = async { make_room(&mut *pool.acquire().await?).await };
            made.await.map_err(|source| SchemaError::Database { schema: SCHEMA.name, source })?;
        }
        Ok(())
    }
    .boxed()
}

/// Makes the roles of which the services' logins are members, and grants each its rights on the
/// log. Call it for a log that was [migrated](migrate) by a role that may not make roles.
///
/// # Errors
/// The database is out of reach, or this role may not grant rights.
pub async fn grant_roles(pool: &PgPool) -> Result<(), SchemaError> {
    SCHEMA.grant_roles(pool).await
}

/// Makes the partition for the next event and the one after it, where they are missing. Answers the
/// last position that has a partition.
pub(crate) async fn make_room(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let last_place: i64 = sqlx::query_scalar("SELECT log.make_room()").fetch_one(connection).await?;
    Ok(last_place.cast_unsigned())
}

/// Whether it is time to make the next partition: events go into the last one already.
pub(crate) fn partition_is_due(head: u64, last_place: u64) -> bool {
    head + PARTITION_EVENTS > last_place
}

#[cfg(test)]
mod tests {
    /// The version and the SHA-384 of each migration. Every database that was migrated holds them,
    /// and [`super::migrate`] refuses a migration that has changed. So a line here must never
    /// change: a new migration gets a new line.
    const FROZEN: [(i64, &str); 9] = [
        (1, "1b6652025ce377bfb71355c0d0d6447ce924d7a7ccd7735e0db3c74e9a55b4b628b5fe6f21988b6b4d32370b8933eb45"),
        (2, "87002ce9428cd0aa58b3c870d5264ea132a3fa52cc7f07fccbc18c91d5dcec08f72dfda1529492131072a904d9ea2074"),
        (3, "4fb1f2abffb56ca5db03cfafbfd1b47dbb349cad0b6c4309cdd81b4d1a0824d7bfec4c925f12270b6270737bbaa3d484"),
        (4, "53a6b70f7fe229a45ef326f4bec2ec807bb1f06a7e4da9885413bafe8d5570c013586e874bb70f168af0bf3336f174ba"),
        (5, "56c859fbb50454604367169147ca11d4e281eec4cd1a109404c8ef0e937642ee643291d7a9e4815d1b672f43a8198c08"),
        (6, "e421e70cfaaf0bbbfa94fbff6a2731f4d0af7351d1e48624bbc2bcf2d71092c26e1d4ae00d848a3ac95ad7e4e106237e"),
        (7, "5d20c665813ed54ded180c27592c3e07fde0b3e4f0b7f63638ea020b2ed7cabafe561006271bbb2339bd6bc87448eaed"),
        (8, "48005462b428422b603a79abc8df1dbd821c11a18b71a5e506ff103d07ccd86f20dfd8c663cfef1d24eb818f7e5abac7"),
        (9, "cf525d03ac5655de3dff68e6dc6b49538f794cc1648336711e89017f96798cbf8fcb483cc1db9dc4c527039ce7662370"),
    ];

    #[test]
    fn migrations_never_change() {
        assert_eq!(super::SCHEMA.checksums(), FROZEN.map(|(version, hex)| (version, hex.to_owned())));
    }
}
