//! The schema `access`: its migrations, which say who may do what with it.

use postgres_schema::Schema;

/// The schema of the access log, beside the views, which no rebuild of views touches.
pub const SCHEMA: Schema = Schema {
    name: "access",
    migrations: &[
        ("access log", include_str!("../migrations/0001_access_log.sql")),
        ("audit queue", include_str!("../migrations/0002_audit_queue.sql")),
        ("exported files", include_str!("../migrations/0003_exported_files.sql")),
    ],
};

#[cfg(test)]
mod tests {
    /// A line here must never change: a new migration gets a new line.
    const FROZEN: [(i64, &str); 3] = [
        (1, "c0130b3fac787bc805e1ab6bff5f89c85fa4a84214ce0741f95d48fc1a2e8d52f58ef6a9058b1446ee29a5cea4fe7418"),
        (2, "b0ea87a77d1f317ca30b94895fcc5ed0c7ad85a3466fc83f2ede5d842febb80072cf8640ec6dda5f7697ff47ed3e1387"),
        (3, "b9ba0319312cd2a4677650ea30258d927f30b2dd333aa485748726222573a045108d4cb19db8d612e30eb3ef30698e05"),
    ];

    #[test]
    fn migrations_never_change() {
        assert_eq!(super::SCHEMA.checksums(), FROZEN.map(|(version, hex)| (version, hex.to_owned())));
    }
}
