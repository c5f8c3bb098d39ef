//! The schema `integration`: its migrations, which say who may do what with it.

use postgres_schema::Schema;

/// The schema of what the integration service keeps, beside the views, which no rebuild of views
/// touches.
pub const SCHEMA: Schema = Schema {
    name: "integration",
    migrations: &[
        ("parked messages", include_str!("../migrations/0001_parked_messages.sql")),
        ("publication", include_str!("../migrations/0002_publication.sql")),
    ],
};

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
