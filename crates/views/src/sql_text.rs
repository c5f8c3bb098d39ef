//! Text in SQL statements.

/// A doc comment or a name as an SQL string.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.trim().replace('\'', "''"))
}
