//! The statements that make the tables, and the version of what they make.
//!
//! The statements name no schema: the connection's search path does, so that the same statements
//! make the serving views, a rebuild beside them, and the views as of a past date. Only the
//! projector runs them.
//!
//! Instants are UTC. A period holds from `valid_from` (included) to `valid_to` (excluded, infinity
//! while nothing ends it). Planned handover dates already have their periods, so "now" and "on that
//! date" are the same look-up and no nightly job runs.

use std::fmt::Write as _;

use crate::{
    case_now, checkpoint, establishment,
    sql_text::literal,
    stream_aside,
    view::{VIEWS, View},
};

/// Version of the views' definition: of their tables, and of the rules by which a history gives
/// rows. It rises with every change of either; a projector that finds views of another version
/// rebuilds them when it starts.
///
/// `definition.sql` begins with it and keeps the SQL of the version, so a test fails where the
/// tables have changed under an old version.
pub const VIEWS_VERSION: i32 = version_of(include_str!("../definition.sql"));

/// The words before the version in `definition.sql`.
const BEFORE_VERSION: &str = "-- Version ";

/// The version that a definition begins with.
const fn version_of(definition: &str) -> i32 {
    let bytes = definition.as_bytes();
    let mut index = BEFORE_VERSION.len();
    let mut version = 0;
    while bytes[index].is_ascii_digit() {
        version = version * 10 + (bytes[index] - b'0') as i32;
        index += 1;
    }
    assert!(version > 0, "definition.sql begins with its version");
    version
}

const INDEXES_SQL: &str = include_str!("indexes.sql");

/// The statements that make the tables, those of the views without keys and indexes.
#[must_use]
pub fn create_tables_sql() -> String {
    let mut sql = format!("{}\n{}", checkpoint::CREATE_TABLE_SQL, stream_aside::CREATE_TABLE_SQL);
    for view in VIEWS {
        sql.push('\n');
        create_table(view, &mut sql).expect("a string takes all that is written");
    }
    for beside in [establishment::create_sql(), case_now::create_sql()] {
        sql.push('\n');
        sql.push_str(&beside);
    }
    sql
}

/// The statements that add primary keys and indexes. The last part of making a schema: adding them
/// after the rows takes half the time.
#[must_use]
pub fn create_keys_sql() -> String {
    let mut sql = String::new();
    for (table, key) in
        [("checkpoint", &["singleton"][..])].into_iter().chain(VIEWS.map(|view| (view.name(), view.key())))
    {
        let key = key.join(", ");
        writeln!(sql, "ALTER TABLE {table} ADD CONSTRAINT {table}_pkey PRIMARY KEY ({key});")
            .expect("a string takes all that is written");
    }
    sql.push('\n');
    sql.push_str(INDEXES_SQL);
    sql
}

fn create_table(view: View, sql: &mut String) -> std::fmt::Result {
    let mut parts: Vec<String> = view
        .columns()
        .zip(view.types())
        .map(|(column, r#type)| {
            let null = if r#type.is_nullable { "" } else { " NOT NULL" };
            format!("    {} {}{null}", column.name, r#type.name)
        })
        .collect();
    parts.extend(view.check().map(|(name, rule)| format!("    CONSTRAINT {name} CHECK ({rule})")));
    writeln!(sql, "CREATE TABLE {view} (\n{}\n);", parts.join(",\n"))?;
    writeln!(sql, "COMMENT ON TABLE {view} IS {};", literal(view.comment()))?;
    for column in view.columns() {
        let comment = literal(column.comment);
        writeln!(sql, "COMMENT ON COLUMN {view}.{} IS {comment};", column.name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use domain::{
        officer::{PomKind, PomStatus},
        prison::Estate,
        prisoner::{OverrideReason, Phase, WaitingReason},
        tier::RoshLevel,
        words::Words,
    };

    use super::*;

    /// Set to write tables that have changed, under the next version.
    const RENEW: &str = "UPDATE_VIEWS";

    /// The text of `definition.sql`. Its first line has a checksum beside the version, so that two
    /// branches which change the tables cannot both take the next version unnoticed: they conflict.
    fn definition(version: i32) -> String {
        let tables = format!("{}\n{}", create_tables_sql(), create_keys_sql());
        format!(
            "{BEFORE_VERSION}{version} of the views; checksum of the tables: {:016x}.\n\
             -- `UPDATE_VIEWS=1 cargo test -p views` wrote it. A change of the tables is another version; their\n\
             -- declarations are in `src/tables/`. Where only a rule changes that fills them, raise the version\n\
             -- here by hand.\n\n{tables}",
            checksum(&tables)
        )
    }

    /// FNV-1a, which tells changed tables apart and needs no dependency.
    fn checksum(text: &str) -> u64 {
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn tables_change_only_with_their_version() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/definition.sql");
        let kept = fs::read_to_string(path).expect("read definition.sql");
        if kept != definition(VIEWS_VERSION) && env::var_os(RENEW).is_some() {
            fs::write(path, definition(VIEWS_VERSION + 1)).expect("write definition.sql");
            return;
        }
        assert!(
            kept == definition(VIEWS_VERSION),
            "the tables are no longer those of version {VIEWS_VERSION}, which definition.sql keeps: {RENEW}=1 writes \
             them there with the next version, so that projectors rebuild the views"
        );
    }

    #[test]
    fn the_version_is_the_number_that_a_definition_begins_with() {
        assert_eq!(version_of("-- Version 4 of the views"), 4);
        assert_eq!(version_of("-- Version 120 of the views"), 120);
    }

    /// The columns whose comments list words of the enum, which must be all of them.
    fn columns_that_list<W: Words>() -> Vec<&'static str> {
        let listing = VIEWS.into_iter().flat_map(View::columns).filter(|column| {
            let listed = |variant: &&W| {
                column.comment.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == variant.word())
            };
            let count = W::ALL.iter().filter(listed).count();
            assert!(
                count < 2 || count == W::ALL.len(),
                "{} lists some words and not others: {}",
                column.name,
                column.comment
            );
            count == W::ALL.len()
        });
        listing.map(|column| column.name).collect()
    }

    #[test]
    fn a_comment_that_lists_the_words_of_an_enum_lists_them_all() {
        assert_eq!(columns_that_list::<Estate>(), ["estate"]);
        assert_eq!(columns_that_list::<OverrideReason>(), ["override_reasons"; 2]);
        assert_eq!(columns_that_list::<Phase>(), ["phase"]);
        assert_eq!(columns_that_list::<PomStatus>(), ["status"]);
        assert_eq!(columns_that_list::<RoshLevel>(), ["rosh_level"]);
        assert_eq!(columns_that_list::<WaitingReason>(), ["waiting_reason", "waited_because"]);
        assert!(columns_that_list::<PomKind>().contains(&"pom_kind"));
    }

    #[test]
    fn the_columns_with_free_texts_are_known() {
        for view in VIEWS {
            let is_text = |name: &&str| *name == "note" || *name == "reason" || name.ends_with("_detail");
            let named: Vec<_> = view.columns().map(|column| column.name).filter(is_text).collect();
            // The reason of a reception is a word.
            let expected: &[&str] = if view == View::Reception { &["reason"] } else { view.free_texts() };
            assert_eq!(named, expected, "{view}");
        }
    }

    #[test]
    fn a_key_is_the_first_columns_of_its_table() {
        for view in VIEWS {
            let names: Vec<_> = view.columns().map(|column| column.name).collect();
            assert!(names.starts_with(view.key()), "{view}");
        }
    }
}
